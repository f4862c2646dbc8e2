"""The runs of DE-RRD's tables (Kang et al., CIKM 2020): leave-one-out, models without memory, five ways to distil.

T, S and the methods are Table 2; what is varied besides (design choices, the two weights, the student's size) is one run
each, of the first seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rdcore import datasets
from rdcore.checks import Named
from rdcore.distill import BothSettings, CDSettings, DESettings, Discrepancy, Hybrid, RDSettings, RRDSettings
from rdcore.models import BPRMFSettings, NeuMFSettings, PopularitySettings
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed, stored
from rdcore.train.loop import Training
from studies.rd.ablations import unique

# As in the official code: sums over a batch of 1024 pairs, one negative drawn anew every epoch, decay on all rows.
OFFICIAL = Training(
    epochs=1000, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum", patience=20
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """models: teacher (T) and student (S). seeds: of the runs; the first one's validation items also choose weights.

    de, rrd: the paper's own methods, with the official weights. competitors: RD and CD, whose settings the paper does not
    state; each is tried with every one of its ``weights``, which mean different things: CD's is of a sum over a user's items.
    grid: the weights of DE and of RRD that Table 5 crosses. sizes: of the student, in the sweep over phi = size / teacher's.
    elsewhere: further data sets, listed last.
    """

    name: str
    dataset: str
    models: dict[str, BPRMFSettings | NeuMFSettings]
    training: Training = OFFICIAL
    seeds: Sequence[int] = (1,)
    de: DESettings = DESettings()
    rrd: RRDSettings = RRDSettings()
    competitors: dict[str, Any] = field(
        default_factory=lambda: {"RD": RDSettings(exclude="seen", weights=Hybrid()), "CD": CDSettings()}
    )
    weights: Mapping[str, Sequence[float]] = field(
        default_factory=lambda: {"RD": (0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3)}
    )
    grid: tuple[Sequence[float], Sequence[float]] = ((1e-4, 1e-3, 1e-2, 1e-1), (1e-4, 1e-3, 1e-2, 1e-1))
    sizes: Sequence[int] = (20, 100, 200)
    elsewhere: Sequence[str] = ()

    def teacher(self, seed: int) -> Experiment:
        return Experiment(
            dataset=self.dataset, data_hash=datasets.content_hash(self.dataset), stage="L", seed=seed, role="T",
            model=self.models["T"], training=self.training, evaluate_every=1,
        )  # fmt: skip

    def student(self, seed: int) -> Experiment:
        return replace(self.teacher(seed), role="S", model=self.models["S"])

    def distilled(self, seed: int, role: str, settings=None) -> Experiment:
        """The student taught by the teacher of its seed, by the role's method or by other ``settings`` under that name."""
        return replace(
            self.student(seed), role=role, distillation=settings or self.methods()[role], teacher=self.teacher(seed),
            teacher_epoch="best",
        )  # fmt: skip

    def methods(self, chosen: Mapping[str, float] | None = None) -> dict[str, Any]:
        """The ways to distil by role; RD and CD with the weight ``chosen`` for them, without one left out."""
        found = {role: replace(self.competitors[role], weight=weight) for role, weight in (chosen or {}).items()}
        return found | {"DE": self.de, "RRD": self.rrd, "DE-RRD": BothSettings(first=self.de, second=self.rrd)}

    def trials(self) -> dict[str, dict[float, Experiment]]:
        """The runs that the competitors' weights are chosen from: role -> weight -> run of the first seed."""
        return {
            role: {w: self.distilled(self.seeds[0], role, replace(settings, weight=w)) for w in self.weights[role]}
            for role, settings in self.competitors.items()
        }

    def popularity(self) -> Experiment:
        """POP, which every trained model has to beat."""
        counted = Training(epochs=1)
        return replace(self.teacher(self.seeds[0]), role="baseline", model=PopularitySettings(), training=counted)

    def designs(self) -> dict[str, Experiment]:
        """Table 4: DE and RRD with one part replaced, under a name of their own each."""
        de, rrd = self.de, self.rrd
        changed = {
            "DE-attention": replace(de, selection="attention"),
            "DE-large": one_large(de, *(hint_size(self.models[role]) for role in ("S", "T"))),
            "DE-small": replace(de, M=1),
            "RRD-full": replace(rrd, order="full"),
            "RRD-interesting": replace(rrd, L=0),
            "RRD-top": replace(rrd, interesting="top", T=RRDSettings.T),
        }
        return {role: self.distilled(self.seeds[0], role, settings) for role, settings in changed.items()}

    def weight_grid(self) -> dict[tuple[float, float], Experiment]:
        """Table 5: DE-RRD with every pair of weights (lambda_DE, lambda_RRD); the plan's own pair is the run of Table 2."""
        return {
            (de, rrd): self.distilled(
                self.seeds[0], "DE-RRD",
                BothSettings(first=replace(self.de, weight=de), second=replace(self.rrd, weight=rrd)),
            )
            for de in self.grid[0]
            for rrd in self.grid[1]
        }  # fmt: skip

    def size_sweep(self) -> dict[int, dict[str, Experiment]]:
        """Student's size -> S and DE-RRD. A student of the teacher's size that is not distilled is the teacher."""
        found = {}
        for size in self.sizes:
            sized = replace(self, models=self.models | {"S": replace(self.models["S"], dim=size)})
            alone = self.teacher if sized.models["S"] == self.models["T"] else sized.student
            found[size] = {"S": alone(self.seeds[0]), "DE-RRD": sized.distilled(self.seeds[0], "DE-RRD")}
        return found


def hint_size(model: BPRMFSettings | NeuMFSettings) -> int:
    """Length of what DE distils of a user or item: NeuMF shows both of its vectors."""
    return model.dim * (2 if isinstance(model, NeuMFSettings) else 1)


def one_large(settings: DESettings, student: int, teacher: int) -> DESettings:
    """One expert with as many parameters as all of ``settings.M``, as nearly as a hidden layer can have them."""
    hidden = settings.hidden or max(student // 2 if student == teacher else (student + teacher) // 2, 1)
    ends = student + teacher + 1
    return replace(settings, M=1, hidden=round((settings.M * (hidden * ends + teacher) - teacher) / ends))


def neumf(plan: Plan) -> Plan:
    """The same with NeuMF, whose vectors are a quarter larger (250 and 25 on paper: the paper's parameter counts), and the
    pair of weights that is best in the paper's Table 5; the released code has no NeuMF."""
    models = {role: NeuMFSettings(dim=settings.dim * 5 // 4) for role, settings in plan.models.items()}
    return replace(
        plan, models=models, sizes=[size * 5 // 4 for size in plan.sizes], elsewhere=(),
        de=replace(plan.de, weight=1e-4), rrd=replace(plan.rrd, weight=1e-1),
    )  # fmt: skip


def chosen_weights(records: Sequence[Record]) -> dict[str, float]:
    """role -> weight of the trial that is best by H@5 on the validation items, the smaller one of equals.

    Raises ValueError where trials of one role differ in more than their weight: seed, model, data, other settings.
    """
    tried: dict[str, dict[float, float]] = {}
    alike: dict[str, dict] = {}
    for record in records:
        d = record.description
        role, weight = d["role"], d["distillation"]["weight"]
        rest = d | {"distillation": d["distillation"] | {"weight": None}}
        if alike.setdefault(role, rest) != rest or weight in tried.get(role, {}):
            raise ValueError(f"run {record.key} is no trial of {role}'s weight: others differ from it in more, or in nothing")
        tried.setdefault(role, {})[weight] = record.chosen["H@5-validation"]
    return {role: best_weight(found) for role, found in tried.items()}


def best_weight(values: Mapping[float, float]) -> float:
    """weight -> what its trial is worth on the validation items: the best weight, the smaller one of equals."""
    return min(values, key=lambda weight: (-values[weight], weight))


def at_border(weights: Mapping[str, Sequence[float]], chosen: Mapping[str, float]) -> list[str]:
    """Roles whose chosen weight is the smallest or the largest of the ``weights`` tried: a better one may lie beyond."""
    return [role for role, weight in chosen.items() if weight in (min(weights[role]), max(weights[role]))]


def weights_on_file(plan: Plan, *, committed_alone: bool = False) -> dict[str, float]:
    """What the trials choose that are finished here or committed; a role with a trial missing has no choice yet."""
    found = {}
    for trials in plan.trials().values():
        records = [on_file(run, committed_alone) for run in trials.values()]
        if None not in records:
            found |= chosen_weights(records)
    return found


def on_file(run: Experiment, committed_alone: bool = False) -> Record | None:
    """The run's record, if it is finished here or committed."""
    here = None if committed_alone else stored(run)
    return here or (committed(run) if is_committed(run) else None)


def committed_rows(name: str = "paper") -> list[Record]:
    """The committed records that are rows of Table 2, with the weights that committed trials choose."""
    plan = PLANS[name]
    rows = table_runs(plan, weights_on_file(plan, committed_alone=True))
    return [committed(run) for run in rows if is_committed(run)]


def runs_of(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """The runs of Table 2 in the order they are owed: T, S, the trials of RD and CD, RRD; the same of the other seeds, with the
    ``chosen`` weights (a role without one is left out there); DE and DE-RRD, whose experts cost most, last."""
    first, *others = plan.seeds
    found = [plan.teacher(first), plan.student(first)]
    found += [run for trials in plan.trials().values() for run in trials.values()]
    found.append(plan.distilled(first, "RRD"))
    for seed in others:
        found += [plan.teacher(seed), plan.student(seed)]
        found += [plan.distilled(seed, role, plan.methods(chosen)[role]) for role in ("RD", "CD") if role in chosen]
        found.append(plan.distilled(seed, "RRD"))
    return found + [plan.distilled(seed, role) for seed in plan.seeds for role in ("DE", "DE-RRD")]


def table_runs(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """Those of `runs_of` that are rows of Table 2: of the trials, only the one with the chosen weight."""
    trials = [run for role, tried in plan.trials().items() for weight, run in tried.items() if chosen.get(role) != weight]
    return [run for run in runs_of(plan, chosen) if run not in trials]


def sweep_runs(plan: Plan) -> list[Experiment]:
    """The runs of Tables 4 and 5 and of the sweep over the student's size."""
    sizes = [run for pair in plan.size_sweep().values() for run in pair.values()]
    return unique([*plan.designs().values(), *plan.weight_grid().values(), *sizes])


def related(plan: Plan) -> list[Plan]:
    """The plan, the same with NeuMF, and the first seed of the plan on other data sets."""
    return [plan, neumf(plan), *(replace(plan, dataset=other, seeds=plan.seeds[:1]) for other in plan.elsewhere)]


def all_runs(name: str) -> list[Experiment]:
    """Every run of a profile: Table 2 and POP, the same with NeuMF and elsewhere, then the sweeps."""
    plan = PLANS[name]
    found = [*runs_of(plan, weights_on_file(plan)), plan.popularity()]
    found += [run for further in related(plan)[1:] for run in runs_of(further, weights_on_file(further))]
    return unique([*found, *sweep_runs(plan)])


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers beside which a student that was not distilled stands."""
    plans = [plan for own in PLANS.values() for plan in related(own)]
    return [plan.teacher(student.seed) for plan in plans if plan.student(student.seed) == student]


PLANS = Named("profile", {
    plan.name: plan
    for plan in (
        Plan(
            name="smoke", dataset="synthetic", models={"T": BPRMFSettings(dim=16), "S": BPRMFSettings(dim=4)},
            training=replace(OFFICIAL, epochs=4, batch_size=512, learning_rate=2e-2),
            de=DESettings(M=3, anneal_epochs=20), rrd=RRDSettings(K=5, L=5, depth=20),
            competitors={
                "RD": RDSettings(K=5, exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=20), start_epoch=3)),
                "CD": CDSettings(samples=5, depth=20),
            },
            weights={"RD": (0.1, 1.0), "CD": (0.1, 1.0)}, grid=((1e-2,), (1e-3, 1e-2)), sizes=(4, 8),
        ),
        Plan(
            # Made for its minutes, by H@5 of the validation items, seed 1: half the epochs at a larger rate cost T and its best
            # students a hundredth. Weight 0.1 for DE and for RRD was the best of 0.01 and 0.1, and of 0.001, 0.01 and 0.1, with
            # the smaller rate. The temperature falls in as many epochs as lets it end where the official runs do, at 2e-3 or
            # 3e-3. Fewer rank samples, for time.
            name="small", dataset="ml-100k", models={"T": BPRMFSettings(dim=64), "S": BPRMFSettings(dim=8)},
            training=replace(OFFICIAL, epochs=14, batch_size=2048, learning_rate=1e-2, patience=4),
            de=DESettings(M=4, weight=0.1, anneal_epochs=56), rrd=RRDSettings(K=20, L=20, depth=100, weight=0.1),
            competitors={
                "RD": RDSettings(exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=30), start_epoch=3)),
                "CD": CDSettings(samples=20, depth=100),
            },
            grid=((1e-2, 1e-1), (1e-2, 1e-1)), sizes=(8, 32),
        ),
        Plan(
            name="paper", dataset="citeulike", models={"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=20)},
            seeds=(1, 2, 3), elsewhere=("foursquare",),
            # Of three weights, the largest was CD's best and the smallest RD's: widened on those sides.
            weights={"RD": (0.03, 0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3, 1.0, 3.0)},
        ),
    )
})  # fmt: skip
