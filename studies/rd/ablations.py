"""The sweeps of notebook 04: one setting of Ranking Distillation varied at a time, and the controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from rdcore.distill import Discrepancy, Hybrid, Position, RDSettings, Reciprocal
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed
from studies.common.earlier import on_record
from studies.common.plan import Plan, unique
from studies.common.profiles import PROFILES
from studies.rd.plan import values


@dataclass(frozen=True)
class Grid:
    """The values of every sweep, each once.

    Each value is checked by the settings class that receives it. Only what no settings class can see is
    checked here.
    """

    K: Sequence[int]
    """Lengths of the teacher's list."""
    lam: Sequence[float]
    """lambda of the position weights."""
    mu: Sequence[float]
    """mu of the discrepancy weights."""
    samples: Sequence[int | str]
    """Rank samples, or 'exact'."""
    start_epochs: Sequence[int]
    """First epochs of the hybrid weights."""
    alphas: Sequence[float]
    """The paper's balance of the losses: 0 is the ranking loss alone, 1 the distillation loss alone."""
    dims: Sequence[int]
    """Sizes of the student."""
    shares: Sequence[float]
    """Shares of the training instances."""

    def __post_init__(self):
        for field in fields(self):
            values = getattr(self, field.name)
            if not isinstance(values, (tuple, list)) or not values:
                raise ValueError(f"{field.name} must be a tuple of at least one value, got {values!r}")
            if len(set(values)) < len(values):
                raise ValueError(f"{field.name} names a value twice: {values}")
        for samples in self.samples:
            if isinstance(samples, str) and samples != "exact":
                raise ValueError(f"samples must be whole numbers or 'exact', got {samples!r}")
        for alpha in self.alphas:
            if not (isinstance(alpha, (int, float)) and 0 <= alpha <= 1):
                raise ValueError(f"alphas must lie in [0, 1], got {alpha!r}")


# Sweep -> value as shown -> role -> run.
Sweeps = dict[str, dict[str, dict[str, Experiment]]]
BASE = "RD-hybrid"
TAUGHT = "lists of the teacher (RD)"  # what the controls are held against


def sweeps(plan: Plan, stage: str, seed: int, grid: Grid | None = None) -> Sweeps:
    """Every sweep around the plan's RD-hybrid.

    A point that changes nothing is the run of the tables. Every other point has its own role, such as
    RD-hybrid-K20, and is no row of a table. Students of other sizes differ by their size.

    Args:
        grid: by default the plan's ``sweeps``.

    Raises:
        ValueError: for a value out of range, and for one that would be the same run as another.
    """
    grid = grid or Grid(**plan.sweeps)
    late = [epoch for epoch in grid.start_epochs if isinstance(epoch, int) and epoch > plan.training.epochs]
    if late:
        raise ValueError(f"start_epochs must be <= {plan.training.epochs}, the epochs of a run, got {late}")
    base, student, teacher = (
        make(stage, seed) for make in (plan.distilled, plan.student, plan.teacher)
    )  # fmt: skip
    rd = base.distillation

    def varied(name: str, distillation: RDSettings, **more) -> dict[str, Experiment]:
        made = replace(base, distillation=distillation, **more)
        return {"RD": base if made == base else replace(made, role=f"{BASE}-{name}")}

    def weighted(name: str, **changes) -> dict[str, Experiment]:
        return varied(name, replace(rd, weights=replace(rd.weights, **changes)))

    def discrepancy(name: str, **changes) -> dict[str, Experiment]:
        return weighted(name, discrepancy=replace(rd.weights.discrepancy, **changes))

    def ranks(samples: int | str) -> dict[str, Experiment]:
        if samples == "exact":
            return discrepancy("exact", estimate="exact", samples=Discrepancy.samples)  # none are drawn
        return discrepancy(f"samples{samples}", samples=samples)

    def balanced(alpha: float) -> dict[str, Experiment]:
        if alpha == 0:
            return {"RD": student}
        training = replace(base.training, base_weight=1 - alpha)
        return varied(f"alpha{alpha:g}", replace(rd, weight=alpha), training=training)

    def sized(dim: int) -> dict[str, Experiment]:
        other = replace(plan, models={**plan.models, "S": replace(plan.models["S"], dim=dim)})
        return {"S": other.student(stage, seed), "RD": other.distilled(stage, seed)}

    def shared(share: float) -> dict[str, Experiment]:
        if share == 1:
            return {"T": teacher, "S": student, "RD": base}
        part = replace(plan, training=replace(plan.training, share=share))
        made = {"T": part.teacher(stage, seed), "S": part.student(stage, seed)}
        made["T"] = replace(made["T"], role=f"T-share{share:g}")
        made["S"] = replace(made["S"], role=f"S-share{share:g}")
        made["RD"] = replace(part.distilled(stage, seed), teacher=made["T"], role=f"{BASE}-share{share:g}")
        return made

    return {
        "K": {str(K): varied(f"K{K}", replace(rd, K=K)) for K in grid.K},
        "lambda": {f"{lam:g}": weighted(f"lambda{lam:g}", position=Position(lam)) for lam in grid.lam},
        "mu": {f"{mu:g}": discrepancy(f"mu{mu:g}", mu=mu) for mu in grid.mu},
        "rank samples": {str(samples): ranks(samples) for samples in grid.samples},
        "start epoch": {str(epoch): weighted(f"start{epoch}", start_epoch=epoch) for epoch in grid.start_epochs},
        "loss weight": {f"{alpha:g}": balanced(alpha) for alpha in grid.alphas},
        "student size": {str(dim): sized(dim) for dim in grid.dims},
        "share of data": {f"{share:g}": shared(share) for share in grid.shares},
        "weighting": weightings(plan, stage, seed),
        "paper and code": paper_and_code(plan, stage, seed),
    }


def weightings(plan: Plan, stage: str, seed: int) -> dict[str, dict[str, Experiment]]:
    """The schemes of Table 4, raw and divided by their sum."""
    named = {
        "equal, 1/K": "RD-equal",
        "reciprocal, normalised": "RD-reciprocal",
        "position, normalised": "RD-position",
        "discrepancy, raw": "RD-discrepancy",
        "hybrid, raw": "RD-hybrid",
        "hybrid, normalised": "RD-hybrid-normalised",
    }
    found = {value: {"RD": plan.distilled(stage, seed, scheme)} for value, scheme in named.items() if scheme in plan.methods}
    known = values(plan)
    discrepancy = Discrepancy(mu=known.mu, samples=known.samples, normalise=True)
    others = {
        "reciprocal, raw": ("RD-reciprocal-raw", Reciprocal(normalise=False)),
        "position, raw": ("RD-position-raw", Position(known.lam, normalise=False)),
        "discrepancy, normalised": ("RD-discrepancy-normalised", discrepancy),
    }
    base = plan.distilled(stage, seed)
    for value, (role, weights) in others.items():
        if role.rpartition("-")[0] not in plan.methods:
            continue
        found[value] = {"RD": replace(base, role=role, distillation=replace(base.distillation, weights=weights))}
    return found


def paper_and_code(plan: Plan, stage: str, seed: int) -> dict[str, dict[str, Experiment]]:
    """One point for each difference between the paper's text and the released code that changes numbers, the code's way
    first, and all of the paper's ways together."""
    base = plan.distilled(stage, seed)
    rd, hybrid = base.distillation, base.distillation.weights
    halves = replace(base.training, base_weight=0.5)

    def changed(name: str, distillation: RDSettings, training=base.training) -> dict[str, Experiment]:
        return {"RD": replace(base, role=f"{BASE}-{name}", distillation=distillation, training=training)}

    normalised: Hybrid = replace(hybrid, normalise=True)
    by_instance = replace(hybrid, discrepancy=replace(hybrid.discrepancy, estimate="instance"))
    return {
        "as released": {"RD": base},
        "weights divided by their sum": {"RD": plan.distilled(stage, seed, "RD-hybrid-normalised")},
        "lists of unlabelled items only": changed("seen", replace(rd, exclude="seen")),
        "both losses halved": changed("alpha0.5", replace(rd, weight=0.5), halves),
        "ranks from samples of each query": changed("instance", replace(rd, weights=by_instance)),
        "all as in the paper": changed("paper", RDSettings(K=rd.K, weights=normalised, exclude="seen", weight=0.5), halves),
    }


def controls(plan: Plan, stage: str, seed: int) -> dict[str, Experiment]:
    """What the student gains without the teacher's ranking: same K, same weights, other lists; and S with K further
    negatives. 'another student' is S of the next seed, trained like any teacher."""
    base = plan.distilled(stage, seed)
    student = plan.student(stage, seed)

    def listed(lists: str) -> Experiment:
        return replace(base, role=f"{BASE}-{lists}", distillation=replace(base.distillation, lists=lists))

    other = plan.student(stage, seed + 1)
    more = replace(student.training, negatives=student.training.negatives + base.distillation.K)
    return {
        "S": student,
        "S, K further negatives": replace(student, role="S-negatives", training=more),
        "lists of random unseen items": listed("random"),
        "lists of popular items": listed("popular"),
        "lists of another student": replace(base, role=f"{BASE}-student", teacher=other),
        TAUGHT: base,
        "T": plan.teacher(stage, seed),
    }


def ablation_runs(plan: Plan) -> list[Experiment]:
    """Every run of notebook 04, each once: sweeps on V, controls on F."""
    runs = list(controls(plan, "F", plan.seeds["F"][0]).values())
    runs += points(sweeps(plan, "V", plan.seeds["V"][0]))
    return unique(runs)


def points(planned: Sweeps) -> list[Experiment]:
    """The runs of all sweeps; a run in several sweeps is named several times."""
    return [run for values in planned.values() for roles in values.values() for run in roles.values()]


def control_records() -> list[Record]:
    """The committed records of Caser's controls on F that are in no table: RD with other lists, S with further negatives."""
    caser, _ = PROFILES["paper"].rd
    planned = controls(caser, "F", caser.seeds["F"][0]).values()
    others = [run for run in planned if run.role.partition("-")[2] not in ("", "hybrid")]
    return [committed(run) for run in on_record(others) if is_committed(run)]


def chosen(names: Iterable[str], only: str) -> list[str]:
    """Those of ``names`` that the comma-separated ``only`` names, in their order; all, where it is empty.

    Raises ValueError that lists the names when one is unknown.
    """
    names = list(names)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"no sweep {', '.join(map(repr, unknown))}; there are: {', '.join(names)}")
    return [name for name in names if not wanted or name in wanted]
