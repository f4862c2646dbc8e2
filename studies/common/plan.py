"""One plan for every study: who teaches whom, on which data, with which settings. Its methods describe the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from rdcore import datasets
from rdcore.distill import BothSettings
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record, committed, is_committed, stored
from rdcore.train.loop import Training


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A teacher, a student and the methods that are compared, on one data set."""

    name: str
    """The profile: smoke, small or paper."""
    dataset: str
    """A data set's name in rdcore.datasets."""
    models: Mapping[str, Any]
    """Settings of the teacher (T) and the student (S)."""
    training: Training
    """How T, S and every distilled student are trained."""
    methods: Mapping[str, Any]
    """Role -> settings of the distillation, in the order of the tables."""
    seeds: Mapping[str, Sequence[int]]
    """Stage -> seeds. V (choices) and F (final) rank all items; L leaves one item out."""
    evaluate_every: int = 1
    """Epochs between evaluations."""
    grids: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Role -> the weights that it is tried at with the first seed (`tried`)."""
    chosen_by: str = ""
    """The metric on validation items that chooses among them."""
    sweeps: Mapping[str, Sequence] = field(default_factory=dict)
    """Setting -> the values that the study varies it over, one setting at a time."""

    @property
    def stage(self) -> str:
        """The stage of the tables: L (leave-one-out) or F (full ranking)."""
        return "L" if "L" in self.seeds else "F"

    @property
    def table_seeds(self) -> Sequence[int]:
        """The seeds of the tables. The first one also serves trials and sweeps."""
        return self.seeds[self.stage]

    @property
    def label(self) -> str:
        """Data set and model, such as 'citeulike BPR'."""
        return f"{self.dataset} {family(self.teacher(self.stage, 0).description)}"

    def teacher(self, stage: str, seed: int) -> Experiment:
        """The large model, trained on the data."""
        return Experiment(
            dataset=self.dataset, data_hash=datasets.content_hash(self.dataset), stage=stage, seed=seed,
            role="T", model=self.models["T"], training=self.training, evaluate_every=self.evaluate_every,
        )  # fmt: skip

    def student(self, stage: str, seed: int) -> Experiment:
        """The small model, trained without a teacher."""
        return replace(self.teacher(stage, seed), role="S", model=self.models["S"])

    def distilled(
        self, stage: str, seed: int, role: str = "RD-hybrid", settings: Any = None,
        teacher_epoch: int | None = None,
    ) -> Experiment:  # fmt: skip
        """The student taught by the teacher of its stage and seed.

        settings: of the distillation; by default those of the role in ``methods``.
        teacher_epoch: by default the last one, and on stage L the one its validation items chose.
        """
        teacher = self.teacher(stage, seed)
        last = "best" if stage == "L" else teacher.training.epochs
        return replace(
            self.student(stage, seed), role=role, teacher=teacher,
            teacher_epoch=last if teacher_epoch is None else teacher_epoch,
            distillation=settings or self.methods[role],
        )  # fmt: skip

    def lengthened(self, epochs: int) -> Plan:
        """The same with runs of so many epochs."""
        return replace(self, training=replace(self.training, epochs=epochs))

    def tried(self, role: str, weight: float, seed: int) -> Experiment:
        """A role's run of the tables at a weight. Where two methods are added up, and for the weight
        decay of S, ``weight`` is a factor of the plan's own values."""
        if role != "S":
            return self.distilled(self.stage, seed, role, weighted(self.methods[role], weight))
        alone = self.student(self.stage, seed)
        decay = rounded(alone.training.weight_decay * weight)
        return replace(alone, training=replace(alone.training, weight_decay=decay))

    def trials(self) -> dict[str, dict[float, Experiment]]:
        """Role -> weight -> run of the first seed."""
        first = self.table_seeds[0]
        return {
            role: {weight: self.tried(role, weight, first) for weight in weights}
            for role, weights in self.grids.items()
        }


def weighted(settings: Any, weight: float) -> Any:
    """Settings of a distillation with another weight; of a sum, both weights times ``weight``."""
    if not isinstance(settings, BothSettings):
        return replace(settings, weight=weight)
    parts = [
        replace(part, weight=rounded(part.weight * weight))
        for part in (settings.first, settings.second)
    ]
    return BothSettings(first=parts[0], second=parts[1])


def rounded(value: float) -> float:
    """Three significant digits: a third and ten times a tenth are what they are written as."""
    return float(f"{value:.3g}")


def unique(runs: Iterable[Experiment]) -> list[Experiment]:
    """Each run once, at its first place."""
    return list({run.key: run for run in runs}.values())


def teachers_of(student: Experiment, plans: Iterable[Plan]) -> list[Experiment]:
    """The teachers of plans that have this student: of its stage and seed, whatever weight decay it has."""
    found = []
    for plan in plans:
        if student.stage not in plan.seeds:
            continue
        alone = plan.student(student.stage, student.seed)
        decays = [] if "S" not in plan.grids else [
            plan.tried("S", factor, student.seed) for factor in plan.grids["S"]
        ]  # fmt: skip
        if student in (alone, *decays):
            found.append(plan.teacher(student.stage, student.seed))
    return found


# ------------------------------------------------------------------------------ choice of weights


def on_file(run: Experiment, committed_alone: bool = False) -> Record | None:
    """The run's record, if it is finished here or committed."""
    here = None if committed_alone else stored(run)
    return here or (committed(run) if is_committed(run) else None)


def those_committed(runs: Mapping[Any, Experiment]) -> dict[Any, Record]:
    """The committed records of named runs, as far as there are any."""
    return {name: committed(run) for name, run in runs.items() if is_committed(run)}


def chosen_weights(plan: Plan, records: Iterable[Record | None]) -> dict[str, float]:
    """Role -> the weight with the best value of ``plan.chosen_by``, the smaller one of equals. A role
    with a trial missing among the records has no choice."""
    by_key = {record.key: record for record in records if record is not None}
    chosen = {}
    for role, tried in plan.trials().items():
        if all(run.key in by_key for run in tried.values()):
            values = {w: by_key[run.key].chosen[plan.chosen_by] for w, run in tried.items()}
            chosen[role] = min(values, key=lambda weight: (-values[weight], weight))
    return chosen


def weights_on_file(plan: Plan, *, committed_alone: bool = False) -> dict[str, float]:
    """The weights that the trials choose which are finished here or committed (`chosen_weights`)."""
    trials = [run for tried in plan.trials().values() for run in tried.values()]
    return chosen_weights(plan, [on_file(run, committed_alone) for run in trials])


def at_border(plan: Plan, chosen: Mapping[str, float]) -> list[str]:
    """Roles whose chosen weight is the smallest or the largest of its grid: a better one may lie beyond."""
    grids = plan.grids
    return [role for role, weight in chosen.items() if weight in (min(grids[role]), max(grids[role]))]


def trial_table(plan: Plan, records: Iterable[Record | None]) -> pd.DataFrame:
    """A row for each role and weight, ascending: the metric that chooses, NaN where the trial is not
    on record, the trial's epoch, and whether the weight is chosen."""
    records = [record for record in records if record is not None]
    by_key, chosen, rows = {record.key: record for record in records}, chosen_weights(plan, records), []
    for role, tried in plan.trials().items():
        for weight, run in sorted(tried.items()):
            record = by_key.get(run.key)
            value, epoch = (record.chosen[plan.chosen_by], record.epoch) if record else (np.nan, pd.NA)
            rows.append([plan.label, role, weight, value, epoch, chosen.get(role) == weight])
    return pd.DataFrame(rows, columns=["runs", "role", "weight", plan.chosen_by, "epoch", "chosen"])


def strength(record: Record) -> float:
    """How strongly a run is taught: distillation loss over base loss, in the epoch that the validation items chose."""
    at = record.history.loc[record.chosen["epoch"]]
    return float(at["distillation_loss"] / at["loss"])
