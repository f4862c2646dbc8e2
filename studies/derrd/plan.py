"""The runs of DE-RRD's tables (Kang et al., CIKM 2020): leave-one-out, models without memory, five methods.

T, S and the methods are Table 2. What else is varied (the two weights, the student's size) is one run
each, with the first seed; the designs of Table 4 have three seeds, as far as a plan has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rdcore.distill import BothSettings, DESettings, RRDSettings
from rdcore.models import BPRMFSettings, NeuMFSettings, PopularitySettings
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed
from rdcore.train.loop import Training
from studies.common.plan import Plan, unique, weights_on_file
from studies.common.profiles import PROFILES


def popularity(plan: Plan) -> Experiment:
    """POP, which every trained model has to beat."""
    teacher = plan.teacher("L", plan.table_seeds[0])
    return replace(teacher, role="baseline", model=PopularitySettings(), training=Training(epochs=1))


DESIGN_SEEDS = 3


def designs(plan: Plan, seed: int | None = None) -> dict[str, Experiment]:
    """Table 4: DE and RRD with one part replaced, each under its own name. seed: by default the first."""
    de, rrd = plan.methods["DE"], plan.methods["RRD"]
    changed = {
        "DE-attention": replace(de, selection="attention"),
        "DE-large": one_large(de, *(hint_size(plan.models[role]) for role in ("S", "T"))),
        "DE-small": replace(de, M=1),
        "RRD-full": replace(rrd, order="full"),
        "RRD-interesting": replace(rrd, L=0),
        "RRD-top": replace(rrd, interesting="top", T=RRDSettings.T),
    }
    seed = seed or plan.table_seeds[0]
    return {role: plan.distilled("L", seed, role, settings) for role, settings in changed.items()}


def all_designs(plan: Plan) -> dict[str, Experiment]:
    """Those of Table 4's seeds, seed by seed."""
    seeds = plan.table_seeds[:DESIGN_SEEDS]
    return {f"{role}, seed {seed}": run for seed in seeds for role, run in designs(plan, seed).items()}


def weight_grid(plan: Plan) -> dict[tuple[float, float], Experiment]:
    """Table 5: DE-RRD with every pair of weights (lambda_DE, lambda_RRD). The plan's own pair is the
    run of Table 2."""

    def both(de: float, rrd: float) -> BothSettings:
        first, second = plan.methods["DE"], plan.methods["RRD"]
        return BothSettings(first=replace(first, weight=de), second=replace(second, weight=rrd))

    first = plan.table_seeds[0]
    return {
        (de, rrd): plan.distilled("L", first, "DE-RRD", both(de, rrd))
        for de in plan.sweeps["DE"]
        for rrd in plan.sweeps["RRD"]
    }


def size_sweep(plan: Plan) -> dict[int, dict[str, Experiment]]:
    """Student's size -> S and DE-RRD. A student of the teacher's size without distillation is the teacher."""
    runs, first = {}, plan.table_seeds[0]
    for size in plan.sweeps["dims"]:
        sized = replace(plan, models={**plan.models, "S": replace(plan.models["S"], dim=size)})
        alone = plan.teacher if sized.models["S"] == plan.models["T"] else sized.student
        runs[size] = {"S": alone("L", first), "DE-RRD": sized.distilled("L", first, "DE-RRD")}
    return runs


def hint_size(model: BPRMFSettings | NeuMFSettings) -> int:
    """Length of what DE distils of a user or item: NeuMF shows both of its vectors."""
    return model.dim * (2 if isinstance(model, NeuMFSettings) else 1)


def one_large(settings: DESettings, student: int, teacher: int) -> DESettings:
    """One expert with as many parameters as all of ``settings.M``, as nearly as a hidden layer can have them."""
    hidden = settings.hidden or max(student // 2 if student == teacher else (student + teacher) // 2, 1)
    ends = student + teacher + 1
    return replace(settings, M=1, hidden=round((settings.M * (hidden * ends + teacher) - teacher) / ends))


def runs_of(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """The runs of Table 2 in training order.

    T, S, the trials of RD and CD, RRD; the same of the other seeds with the ``chosen`` weights (a role
    without one is left out there); DE and DE-RRD, whose experts cost most, last.
    """
    first, *others = plan.table_seeds
    runs = [plan.teacher("L", first), plan.student("L", first)]
    runs += [run for trials in plan.trials().values() for run in trials.values()]
    runs.append(plan.distilled("L", first, "RRD"))
    for seed in others:
        runs += [plan.teacher("L", seed), plan.student("L", seed)]
        runs += [plan.tried(role, chosen[role], seed) for role in plan.grids if role in chosen]
        runs.append(plan.distilled("L", seed, "RRD"))
    return runs + [plan.distilled("L", seed, role) for seed in plan.table_seeds for role in ("DE", "DE-RRD")]


def table_runs(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """Those of `runs_of` that are rows of Table 2: of the trials, only the one with the chosen weight."""
    trials = [run for role, tried in plan.trials().items() for weight, run in tried.items()
              if chosen.get(role) != weight]  # fmt: skip
    return [run for run in runs_of(plan, chosen) if run not in trials]


def sweep_runs(plan: Plan) -> list[Experiment]:
    """The runs of Tables 4 and 5 and of the sweep over the student's size."""
    sizes = [run for pair in size_sweep(plan).values() for run in pair.values()]
    return unique([*all_designs(plan).values(), *weight_grid(plan).values(), *sizes])


def all_runs(name: str) -> list[Experiment]:
    """Every run of a profile: Table 2 and POP, the same with NeuMF and elsewhere, then the sweeps."""
    plan, *further = PROFILES[name].derrd
    runs = [*runs_of(plan, weights_on_file(plan)), popularity(plan)]
    runs += [run for other in further for run in runs_of(other, weights_on_file(other))]
    return unique([*runs, *sweep_runs(plan)])


def committed_rows(name: str = "paper") -> list[Record]:
    """The committed records that are rows of Table 2, with the weights that committed trials choose."""
    plan = PROFILES[name].derrd[0]
    rows = table_runs(plan, weights_on_file(plan, committed_alone=True))
    return [committed(run) for run in rows if is_committed(run)]
