"""The runs behind `rdcore distil`: trials on validation data, then the final runs on test data.

The student alone and the distilled student get equally many trials: the one of its weight decay,
the other of its distillation weight. A trial is evaluated several times, and its best epoch counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from rdcore import distill
from rdcore.data import Interactions, stage
from rdcore.distill import Discrepancy, Hybrid, Position
from rdcore.models.base import has_hints, scores_single_items
from rdcore.store import contract
from rdcore.store.experiment import Experiment
from rdcore.store.records import Run
from rdcore.store.runs import load_or_train_all
from rdcore.train.loop import Training
from studies.distil import teachers

METRIC = "nDCG@10"
"""What chooses, by full ranking of the validation rows."""


class Method(NamedTuple):
    """A method as it is offered."""

    settings: Callable[[float, int, int], Any]
    """Of a weight, of the number of new items that every user has at least, and of the number of all items."""
    weights: tuple[float, ...]
    """Those that are tried: with a trained teacher, the method's loss is then about a hundredth to ten times the clicks'."""
    role: str
    """Its name in the records of runs."""


FROM_LISTS = {
    "rd-position": Method(
        lambda w, room, n: distill.RDSettings(K=min(10, room), exclude="seen", weights=Position(lam=10), weight=w),
        (0.1, 0.3, 1.0), "RD-position",
    ),
    "rd-hybrid": Method(
        lambda w, room, n: distill.RDSettings(
            K=min(10, room), exclude="seen", weight=w, weights=Hybrid(discrepancy=Discrepancy(samples=min(100, room)))
        ), (0.1, 0.3, 1.0), "RD-hybrid",
    ),
    "rrd": Method(lambda w, room, n: _rrd(w, room), (3e-4, 1e-3, 3e-3), "RRD"),
    "rankdistil-b": Method(lambda w, room, n: _rankdistil("B", w / n, room), (0.1, 0.3, 1.0), "RankDistil-B"),
    "rankdistil-p": Method(
        lambda w, room, n: _rankdistil("P", w / n / min(10, room // 2), room), (0.1, 0.3, 1.0), "RankDistil-P"
    ),
    "dcd": Method(
        lambda w, room, n: distill.DCDSettings(
            samples=min(30, room), depth=min(100, room), item_weight=0.0, weight=w
        ), (3e-4, 1e-3, 3e-3), "DCD",
    ),
    "unkd": Method(lambda w, room, n: distill.UnKDSettings(weight=w), (0.1, 0.3, 1.0), "UnKD"),
}  # fmt: skip
"""Methods that need no more than the teacher's lists. RankDistil-B and -P sum over all items behind the list: their
weight is divided by how many there are."""

FROM_SCORES = {
    "cd": Method(
        lambda w, room, n: distill.CDSettings(samples=min(20, room), depth=min(100, room), weight=w),
        (0.03, 0.1, 0.3), "CD",
    ),
    "rankdistil-c": Method(lambda w, room, n: _rankdistil("C", w, room), (0.003, 0.01, 0.03), "RankDistil-C"),
    "kd-ce": Method(
        lambda w, room, n: distill.KDCESettings(K=min(50, room), exclude="seen", weight=w), (0.03, 0.1, 0.3), "KD-CE"
    ),
    "rce-kd": Method(
        lambda w, room, n: distill.RCEKDSettings(
            K=min(50, room), L=min(50, room), depth=min(200, room), exclude="seen", weight=w
        ), (0.03, 0.1, 0.3), "RCE-KD",
    ),
    "dllm2rec": Method(lambda w, room, n: distill.DLLM2RecSettings(K=min(10, room), weight=w), (0.1, 0.3, 1.0), "DLLM2Rec"),
}  # fmt: skip
"""Methods that ask the teacher for scores of single items."""

FROM_VECTORS = {
    "de": Method(lambda w, room, n: distill.DESettings(weight=w), (0.03, 0.1, 0.3), "DE"),
    "de-rrd": Method(
        lambda w, room, n: distill.BothSettings(first=distill.DESettings(weight=w), second=_rrd(w / 100, room)),
        (0.03, 0.1, 0.3), "DE-RRD",
    ),
    "pckd": Method(
        lambda w, room, n: distill.PCKDSettings(
            experts=distill.DESettings(weight=w), Q=min(5, room), depth=min(100, room)
        ), (0.03, 0.1, 0.3), "PCKD",
    ),
    "ftd": Method(lambda w, room, n: distill.FTDSettings(weight=w), (1e-4, 1e-3, 1e-2), "FTD"),
    "htd": Method(lambda w, room, n: distill.HTDSettings(weight=w), (1e-3, 1e-2, 1e-1), "HTD"),
    "freqd": Method(lambda w, room, n: distill.FreqDSettings(weight=w), (0.03, 0.1, 0.3), "FreqD"),
    "fit": Method(lambda w, room, n: distill.FitSettings(weight=w), (0.03, 0.1, 0.3), "Fit"),
    "vkd": Method(lambda w, room, n: distill.VkDSettings(weight=w), (0.03, 0.1, 0.3), "VkD"),
}  # fmt: skip
"""Methods that compare the vectors of teacher and student."""

METHODS = FROM_LISTS | FROM_SCORES | FROM_VECTORS
"""Name on the command line -> method."""


def _rrd(weight: float, room: int) -> distill.RRDSettings:
    half = room // 2
    return distill.RRDSettings(depth=min(100, half), K=min(40, half), L=min(40, half), weight=weight)


def _rankdistil(form: str, weight: float, room: int) -> distill.RankDistilSettings:
    return distill.RankDistilSettings(form=form, p=min(10, room // 2), m=min(50, room // 2), weight=weight)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for."""

    data: Interactions
    """All interactions."""
    teacher: object
    """Settings of the teacher."""
    student: object
    """Settings of the student."""
    method: str = "rd-position"
    """One of `METHODS`."""
    training: Training = Training(epochs=20, learning_rate=5e-3, weight_decay=1e-5, negatives=1)
    """Of all runs, but for what is tuned."""
    weights: tuple[float, ...] = ()
    """Distillation weights to try; () for those of the method."""
    seeds: int = 2
    """Final runs of the student, alone and distilled."""

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.room < 2:
            raise ValueError(f"a user of {self.data.name} has all items but {self.room}: nothing is left to rank for them")
        for weight in self.tried():
            self.distillation(weight)  # refuses a weight that is none
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        self._refuse_what_does_not_fit()

    def _refuse_what_does_not_fit(self) -> None:
        """Raises ValueError where the teacher cannot teach, or the student not learn, by the method. Models of made-up data
        show it before anything is trained."""
        teacher, student = teachers.example(self.teacher), teachers.example(self.student)
        kind = "a file of lists" if isinstance(self.teacher, teachers.ListsSettings) else type(teacher).__name__
        instead = "or a method from lists, such as rd-position"
        if self.method in FROM_VECTORS and not has_hints(teacher):
            some = ", ".join(teachers.WITH_VECTORS)
            raise ValueError(f"method {self.method} needs a teacher with vectors, and {kind} has none: "
                             f"take {some}, {instead}")  # fmt: skip
        if self.method in FROM_SCORES and not scores_single_items(teacher):
            some = ", ".join(teachers.WITH_VECTORS)
            raise ValueError(f"method {self.method} needs a teacher that scores single items, and {kind} "
                             f"cannot: take {some}, a file of lists, {instead}")  # fmt: skip
        try:
            self.distillation(self.tried()[0]).build(student, teacher)
        except ValueError as error:
            raise ValueError(f"method {self.method}: {error}; take another model, {instead}") from None

    @cached_property
    def room(self) -> int:
        """How many items are new to the user who has most, in what the final runs learn from."""
        return self.data.n_items - int(stage(self.data, "F").fit.counts().max())

    def decays(self) -> tuple[float, ...]:
        """Weight decays that the student alone tries: as many as distillation weights, around that
        of `training`."""
        n, middle = len(self.tried()), self.training.weight_decay or 1e-6
        return tuple(middle * 10.0 ** (place - (n - 1) // 2) for place in range(n))

    def tried(self) -> tuple[float, ...]:
        """Distillation weights that are tried."""
        return self.weights or METHODS[self.method].weights

    def distillation(self, weight: float) -> Any:
        """Settings of the method with a weight."""
        return METHODS[self.method].settings(weight, self.room, self.data.n_items)

    def run(self, role: str, stage: str, *, seed: int = 1, epochs: int | None = None, **parts) -> Experiment:
        """One run of T, S or the distilled student."""
        model = self.teacher if role == "T" else self.student
        training = parts.pop("training", self.training)
        counted = not hasattr(model, "build")
        epochs = 1 if counted else epochs or training.epochs
        return Experiment(
            dataset=self.data.name, data_hash=self.data.sha256(), stage=stage, role=role, model=model,
            training=replace(training, epochs=epochs), evaluate_every=max(1, self.training.epochs // 10),
            seed=seed, **parts,
        )  # fmt: skip

    def alone(self, decay: float, stage: str, **how) -> Experiment:
        """The student without a teacher."""
        return self.run("S", stage, training=replace(self.training, weight_decay=decay), **how)

    def taught(self, weight: float, teacher: Experiment, epoch: int, stage: str, **how) -> Experiment:
        """The student with a teacher."""
        role, method = METHODS[self.method].role, self.distillation(weight)
        at = contract.teacher_at(teachers.example(self.student), teachers.example(self.teacher))
        return self.run(role, stage, distillation=method, teacher=teacher, teacher_epoch=epoch, teacher_at=at, **how)


@dataclass(frozen=True)
class Trial:
    """One setting, tried on validation data."""

    value: float
    """The weight decay or the distillation weight."""
    run: Run
    epoch: int
    """Its best one."""
    score: float
    """`METRIC` there."""


@dataclass(frozen=True)
class Done:
    """The runs of a plan."""

    plan: Plan
    trials: dict[str, list[Trial]]
    """Of "T", "S" and "D"."""
    chosen: dict[str, Trial]
    """The best trial of each."""
    experiments: dict[str, list[Experiment]]
    """The final runs of each, a seed each (the teacher has one)."""
    runs: dict[str, list[Run]]


def _many(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n > 1)}"


def carry_out(
    plan: Plan, *, jobs: int = 1, device: str = "cpu", progress: bool = False, tell: Callable[[str], object] = print
) -> Done:
    """All runs of a plan: from the run store, or trained."""

    def trained(experiments: list[Experiment]) -> list[Run]:
        return load_or_train_all(experiments, data=plan.data, jobs=jobs, device=device, progress=progress)

    decays, weights = plan.decays(), plan.tried()
    tell(f"1 of 3: the teacher (T) and the student alone (S, {_many(len(decays), 'weight decay')}), on validation data (V)")
    teacher = plan.run("T", "V")
    first = trained([teacher, *(plan.alone(decay, "V") for decay in decays)])
    trials = {"T": [best(float("nan"), first[0])], "S": list(map(best, decays, first[1:]))}
    epoch = trials["T"][0].epoch
    tell(f"2 of 3: the distilled student, on validation data (V), weights {', '.join(f'{w:g}' for w in weights)}")
    runs = trained([plan.taught(weight, teacher, epoch, "V") for weight in weights])
    trials["D"] = list(map(best, weights, runs))
    chosen = {role: max(tried, key=lambda trial: trial.score) for role, tried in trials.items()}
    tell(f"3 of 3: final runs of {_many(plan.seeds, 'seed')}, on test data (F)")
    final = plan.run("T", "F", epochs=epoch)
    seeds = range(1, plan.seeds + 1)
    s, d = chosen["S"], chosen["D"]
    experiments = {
        "T": [final],
        "S": [plan.alone(s.value, "F", seed=seed, epochs=s.epoch) for seed in seeds],
        "D": [plan.taught(d.value, final, epoch, "F", seed=seed, epochs=d.epoch) for seed in seeds],
    }
    done = iter(trained([experiment for group in experiments.values() for experiment in group]))
    found = {role: [next(done) for _ in group] for role, group in experiments.items()}
    return Done(plan, trials, chosen, experiments, found)


def best(value: float, run: Run) -> Trial:
    """The trial of a run on validation data."""
    scores = run.metrics[METRIC]
    epoch = int(scores.idxmax())
    return Trial(value, run, epoch, float(scores[epoch]))
