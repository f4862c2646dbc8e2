"""The runs behind `rdcore distil`: trials on validation data, then the final runs on test data.

The student alone and the distilled student get equally many trials: the one of its weight decay,
the other of its distillation weight. A trial is evaluated several times, and its best epoch counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from rdcore import distill
from rdcore.data import Interactions, stage
from rdcore.distill import Discrepancy, Hybrid, Position
from rdcore.store.experiment import Experiment
from rdcore.store.records import Run
from rdcore.store.runs import load_or_train_all
from rdcore.train.loop import Training
from studies.distil import teachers

METRIC = "nDCG@10"
"""What chooses, by full ranking of the validation rows."""

METHODS: dict[str, tuple[Callable, tuple[float, ...]]] = {
    "rd-position": (
        lambda w, room: distill.RDSettings(
            K=min(10, room), exclude="seen", weights=Position(lam=10), weight=w
        ), (0.1, 0.3, 1.0),
    ),
    "rd-hybrid": (
        lambda w, room: distill.RDSettings(
            K=min(10, room), exclude="seen", weight=w, weights=Hybrid(discrepancy=Discrepancy(samples=min(100, room)))
        ), (0.1, 0.3, 1.0),
    ),
    "rrd": (
        lambda w, room: distill.RRDSettings(
            depth=min(100, room // 2), K=min(40, room // 2), L=min(40, room // 2), weight=w
        ), (3e-4, 1e-3, 3e-3),
    ),
    "cd": (
        lambda w, room: distill.CDSettings(samples=min(20, room), depth=min(100, room), weight=w), (0.03, 0.1, 0.3)
    ),
    "rankdistil-c": (
        lambda w, room: distill.RankDistilSettings(p=min(10, room // 2), m=min(50, room // 2), weight=w),
        (0.03, 0.1, 0.3),
    ),
    "de": (lambda w, room: distill.DESettings(weight=w), (1e-3, 1e-2, 1e-1)),
}  # fmt: skip
"""Name on the command line -> settings for a weight and the new items that every user has at least;
and the weights that are tried."""


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
            METHODS[self.method][0](weight, self.room)  # refuses a weight that is none
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.method == "de" and not isinstance(self.teacher, Has_vectors):
            raise ValueError(
                f"method de needs a teacher with vectors, and {type(self.teacher).__name__} has none: "
                "take rd-position, rrd, cd or rankdistil-c, or a teacher such as bpr"
            )

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
        return self.weights or METHODS[self.method][1]

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
        method = METHODS[self.method][0](weight, self.room)
        role = {"rankdistil-c": "RankDistil-C"}.get(self.method, self.method.replace("rd-", "RD-"))
        role = role.upper() if role in ("rrd", "cd", "de") else role
        return self.run(role, stage, distillation=method, teacher=teacher, teacher_epoch=epoch, **how)


Has_vectors = tuple(teachers.MODELS[name] for name in teachers.STUDENTS)


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


def carry_out(plan: Plan, *, jobs: int = 1, progress: bool = False, tell: Callable[[str], object] = print) -> Done:
    """All runs of a plan: from the run store, or trained."""

    def trained(experiments: list[Experiment]) -> list[Run]:
        return load_or_train_all(experiments, data=plan.data, jobs=jobs, progress=progress)

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
