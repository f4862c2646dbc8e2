"""Who teaches whom: every teacher of a matrix teaches every student by every method.

Stage V chooses, stage F is reported. A cell (teacher, student, method) has a few trials of its weight on
stage V, and the student alone has as many of its weight decay; the best MAP on validation items counts.
All else is the same for a student alone and taught: size, training, epochs. Lists leave out what the user
has in training. A teacher with a memory gives a student with one a list for each training row, made from the
items before it. A student without memory cannot tell these rows apart: it gets the list behind the user's
last training item, as a teacher without memory makes it from all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rdcore import datasets
from rdcore.store import contract
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from rdcore.train.loop import Training
from studies.common.example import example
from studies.common.plan import on_file, rounded, unique, weighted

V_SEED = 101  # of all trials


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher: its model and how it is made."""

    model: Any
    """Settings of a model that is trained, or of one that is computed from the data."""
    training: Training = Training(epochs=1)
    evaluate_every: int = 1
    epoch: int | None = None
    """The epoch that teaches; None: the last."""

    @property
    def computed(self) -> bool:
        """Whether nothing is trained, so that every seed has the same teacher."""
        return not hasattr(self.model, "build")


@dataclass(frozen=True, kw_only=True)
class Student:
    """A student: its model, how it is trained, what its trials are, and with which seeds it is reported."""

    model: Any
    training: Training
    weights: Mapping[str, Sequence[float]]
    """Method -> the weights it is tried at. A method that is not named here does not teach this student."""
    decays: Sequence[float]
    """Factors of the weight decay that the student alone is tried with; 1 is that of the taught students."""
    seeds: Sequence[int]
    evaluate_every: int = 1

    def __post_init__(self):
        if {len(set(tried)) for tried in self.weights.values()} != {len(self.decays)} or 1 not in self.decays:
            raise ValueError("the student alone and every method need equally many different trials, one decay with factor 1")


class Cell(NamedTuple):
    """A cell of the matrix, by names."""

    teacher: str
    student: str
    method: str


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All that is compared on one data set."""

    dataset: str
    teachers: Mapping[str, Teacher]
    students: Mapping[str, Student]
    methods: Mapping[str, Any]
    """Name -> settings of the distillation, whose weight the trials replace."""
    at_last: bool = True
    """Whether a teacher with a memory teaches a student without by what it says behind a user's last item; else by what it
    says at every moment, all of which such a student takes for the same."""
    only: str = ""
    """What `rdcore train --only` takes for its runs (paper size)."""

    @property
    def cells(self) -> list[Cell]:
        """Student by student and method by method."""
        return [
            Cell(teacher, name, method)
            for name, student in self.students.items() for method in student.weights for teacher in self.teachers
        ]  # fmt: skip

    def seeds(self) -> list[int]:
        """Those of any student."""
        return sorted({seed for student in self.students.values() for seed in student.seeds})

    def teacher(self, name: str, stage: str, seed: int) -> Experiment:
        """The run of a teacher. A computed one has seed 1 on both stages."""
        own = self.teachers[name]
        return Experiment(
            dataset=self.dataset, data_hash=datasets.content_hash(self.dataset), stage=stage,
            role="baseline" if own.computed else "T", model=own.model, training=own.training,
            evaluate_every=own.evaluate_every, seed=1 if own.computed else seed,
        )  # fmt: skip

    def alone(self, name: str, stage: str, seed: int, factor: float = 1) -> Experiment:
        """A student without a teacher, with its weight decay times ``factor``."""
        own = self.students[name]
        decay = rounded(own.training.weight_decay * factor)
        return Experiment(
            dataset=self.dataset, data_hash=datasets.content_hash(self.dataset), stage=stage, role="S", model=own.model,
            training=replace(own.training, weight_decay=decay), evaluate_every=own.evaluate_every, seed=seed,
        )  # fmt: skip

    def taught(self, cell: Cell, stage: str, seed: int, weight: float) -> Experiment:
        """The student of a cell, taught with a weight."""
        teacher, model = self.teacher(cell.teacher, stage, seed), self.students[cell.student].model
        at = contract.teacher_at(example(model), example(teacher.model)) if self.at_last else "query"
        return replace(
            self.alone(cell.student, stage, seed), role=f"{cell.method}-{cell.teacher}", teacher=teacher,
            teacher_epoch=self.teachers[cell.teacher].epoch or teacher.training.epochs,
            teacher_at=at,
            distillation=weighted(self.methods[cell.method], weight),
        )  # fmt: skip

    def trials(self) -> dict[Cell | str, dict[float, Experiment]]:
        """Cell, or name of a student alone -> weight, or factor of its decay -> run on stage V."""
        tried: dict[Cell | str, dict[float, Experiment]] = {
            name: {factor: self.alone(name, "V", V_SEED, factor) for factor in student.decays}
            for name, student in self.students.items()
        }
        for cell in self.cells:
            weights = self.students[cell.student].weights[cell.method]
            tried[cell] = {weight: self.taught(cell, "V", V_SEED, weight) for weight in weights}
        return tried

    def trial_runs(self) -> list[Experiment]:
        """The runs of all trials."""
        return [run for tried in self.trials().values() for run in tried.values()]

    def final(self, chosen: Mapping[Cell | str, float]) -> dict[tuple[Cell | str, int], Experiment]:
        """(cell or student alone, seed) -> run on stage F, of what has a ``chosen`` value."""
        found: dict[tuple[Cell | str, int], Experiment] = {}
        for name, student in self.students.items():
            cells = [cell for cell in self.cells if cell.student == name and cell in chosen]
            for seed in student.seeds:
                if name in chosen:
                    found[name, seed] = self.alone(name, "F", seed, chosen[name])
                found |= {(cell, seed): self.taught(cell, "F", seed, chosen[cell]) for cell in cells}
        return found

    def teaching(self) -> dict[tuple[str, int], Experiment]:
        """(teacher, seed) -> its run on stage F."""
        return {(name, seed): self.teacher(name, "F", seed) for name in self.teachers for seed in self.seeds()}

    def runs(self, chosen: Mapping[Cell | str, float]) -> list[Experiment]:
        """All runs in training order: teachers and trials on stage V, then what the choices lead to."""
        teachers = [self.teacher(name, "V", V_SEED) for name in self.teachers]
        return unique([*teachers, *self.trial_runs(), *self.teaching().values(), *self.final(chosen).values()])


def choose(matrix: Matrix, records: Iterable[Record | None]) -> dict[Cell | str, float]:
    """Cell or student alone -> the value with the best MAP after the last epoch on stage V, the smaller one of
    equals. Without all its trials among the records nothing is chosen.

    Raises ValueError for a record of stage F: its numbers are for the end, no choice may see them.
    """
    by_key = {record.key: record for record in records if record is not None}
    for record in by_key.values():
        if record.description["stage"] != "V":
            raise ValueError(f"run {record.key} is of stage {record.description['stage']}: choices are made on stage V alone")
    chosen = {}
    for what, tried in matrix.trials().items():
        if all(run.key in by_key for run in tried.values()):
            quality = {value: by_key[run.key].metrics["MAP"].iloc[-1] for value, run in tried.items()}
            chosen[what] = min(quality, key=lambda value: (-quality[value], value))
    return chosen


def chosen_on_file(matrix: Matrix, *, committed_alone: bool = False) -> dict[Cell | str, float]:
    """What the trials choose that are finished here or committed."""
    return choose(matrix, [on_file(run, committed_alone) for run in matrix.trial_runs()])
