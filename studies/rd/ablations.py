"""The sweeps of notebook 04: one setting of Ranking Distillation varied at a time, and the controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from rdcore.distill import Discrepancy, Hybrid, Position, RDSettings, Reciprocal
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed
from studies.common.earlier import on_record
from studies.common.plan import Plan, unique
from studies.common.profiles import PROFILES
from studies.common.reported import HYBRID
from studies.rd.guided import GuidedNegativesSettings
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
    loss_weights: Sequence[float | str]
    """w, factor of the distillation loss, where the ranking loss has factor 1 (0 is S); 'alone' has no ranking loss."""
    dims: Sequence[int]
    """Sizes of the student."""
    shares: Sequence[float]
    """Shares of the training instances."""
    mu: Sequence[float]
    """mu of the discrepancy weights."""
    samples: Sequence[int | str]
    """Rank samples, or 'exact'."""
    start_epochs: Sequence[int]
    """First epochs of the hybrid weights."""

    def __post_init__(self):
        for field in fields(self):
            values = getattr(self, field.name)
            if not isinstance(values, (tuple, list)) or not values:
                raise ValueError(f"{field.name} must be a tuple of at least one value, got {values!r}")
            if len(set(values)) < len(values):
                raise ValueError(f"{field.name} names a value twice: {values}")
        for name, word in (("samples", "exact"), ("loss_weights", "alone")):
            for value in getattr(self, name):
                if isinstance(value, str) and value != word:
                    raise ValueError(f"{name} must be numbers or {word!r}, got {value!r}")


# Sweep -> value as shown -> role -> run.
Sweeps = dict[str, dict[str, dict[str, Experiment]]]
POSITION = "RD-position"
TAUGHT = "lists of the teacher (RD)"  # what the controls are held against
SEEDS = 2  # so many of the V seeds, as far as a profile has them


def sweeps(plan: Plan, stage: str, seed: int, grid: Grid | None = None) -> Sweeps:
    """Every sweep: around the plan's RD-position, whose weights stay on; around its RD-hybrid where the
    setting belongs to the ranks or to the switch, and where paper and released code are compared.

    A point that changes nothing is the run of the tables. Every other point has its own role, such as
    RD-position-K20, and is no row of a table. Students of other sizes differ by their size.

    Args:
        grid: by default the plan's ``sweeps``.

    Raises:
        ValueError: for a value out of range, and for one that would be the same run as another.
    """
    grid = grid or Grid(**plan.sweeps)
    late = [epoch for epoch in grid.start_epochs if isinstance(epoch, int) and epoch > plan.training.epochs]
    if late:
        raise ValueError(f"start_epochs must be <= {plan.training.epochs}, the epochs of a run, got {late}")
    hybrid, position = (plan.distilled(stage, seed, role) for role in (HYBRID, POSITION))
    student, teacher = plan.student(stage, seed), plan.teacher(stage, seed)
    rd = position.distillation

    def varied(base: Experiment, name: str, distillation: RDSettings, **more) -> dict[str, Experiment]:
        made = replace(base, distillation=distillation, **more)
        return {base.role: base if made == base else replace(made, role=f"{base.role}-{name}")}

    def by_hybrid(name: str, **changes) -> dict[str, Experiment]:
        settings = hybrid.distillation
        return varied(hybrid, name, replace(settings, weights=replace(settings.weights, **changes)))

    def by_ranks(name: str, **changes) -> dict[str, Experiment]:
        return by_hybrid(name, discrepancy=replace(hybrid.distillation.weights.discrepancy, **changes))

    def ranks(samples: int | str) -> dict[str, Experiment]:
        if samples == "exact":
            return by_ranks("exact", estimate="exact", samples=Discrepancy.samples)  # none are drawn
        return by_ranks(f"samples{samples}", samples=samples)

    def balanced(weight: float | str) -> dict[str, Experiment]:
        if weight == 0:
            return {POSITION: student}
        if weight == "alone":
            return varied(position, weight, rd, training=replace(position.training, base_weight=0.0))
        return varied(position, f"w{weight:g}", replace(rd, weight=weight))

    def sized(dim: int) -> dict[str, Experiment]:
        other = replace(plan, models={**plan.models, "S": replace(plan.models["S"], dim=dim)})
        return {"S": other.student(stage, seed), POSITION: other.distilled(stage, seed, POSITION)}

    def shared(share: float) -> dict[str, Experiment]:
        if share == 1:
            return {"T": teacher, "S": student, POSITION: position}
        part = replace(plan, training=replace(plan.training, share=share))
        made = {"T": part.teacher(stage, seed), "S": part.student(stage, seed)}
        made["T"] = replace(made["T"], role=f"T-share{share:g}")
        made["S"] = replace(made["S"], role=f"S-share{share:g}")
        taught = part.distilled(stage, seed, POSITION)
        made[POSITION] = replace(taught, teacher=made["T"], role=f"{POSITION}-share{share:g}")
        return made

    return {
        "K": {str(K): varied(position, f"K{K}", replace(rd, K=K)) for K in grid.K},
        "lambda": {f"{lam:g}": varied(position, f"lambda{lam:g}", replace(rd, weights=Position(lam))) for lam in grid.lam},
        "loss weight": {weight if isinstance(weight, str) else f"{weight:g}": balanced(weight) for weight in grid.loss_weights},
        "student size": {str(dim): sized(dim) for dim in grid.dims},
        "share of data": {f"{share:g}": shared(share) for share in grid.shares},
        "left out": {what: varied(position, what, replace(rd, exclude=what)) for what in ("target", "seen")},
        "mu": {f"{mu:g}": by_ranks(f"mu{mu:g}", mu=mu) for mu in grid.mu},
        "rank samples": {str(samples): ranks(samples) for samples in grid.samples},
        "start epoch": {str(epoch): by_hybrid(f"start{epoch}", start_epoch=epoch) for epoch in grid.start_epochs},
        "weighting": weightings(plan, stage, seed),
        "paper and code": paper_and_code(plan, stage, seed),
    }


def of_tables(plan: Plan, stage: str, seed: int) -> dict[str, Experiment]:
    """The runs of the tables around which the settings are varied, and S and T."""
    varied = {role: plan.distilled(stage, seed, role) for role in (POSITION, HYBRID)}
    return varied | {"S": plan.student(stage, seed), "T": plan.teacher(stage, seed)}


def papers_alpha(weight: str) -> float:
    """The paper's balance alpha of a value of the sweep over w: w / (1 + w), where the paper has (1 - alpha) and alpha.

    >>> [papers_alpha(weight) for weight in ("0", "1", "3", "alone")]
    [0.0, 0.5, 0.75, 1.0]
    """
    return 1.0 if weight == "alone" else float(weight) / (1 + float(weight))


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
        return {"RD": replace(base, role=f"{HYBRID}-{name}", distillation=distillation, training=training)}

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


def controls(plan: Plan, stage: str, seed: int, base: str = POSITION) -> dict[str, Experiment]:
    """What the student gains without the teacher's ranking: same K, same weights, other lists; and S with K further
    negatives, uniform or of those that it ranks high itself. 'another student' is S of the next seed (after the
    last the first), trained like any teacher.

    Args:
        base: the role whose weights they have. Those of the hybrid fade, so a control with them says little.
    """
    taught = plan.distilled(stage, seed, base)
    student = plan.student(stage, seed)

    def listed(lists: str) -> Experiment:
        return replace(taught, role=f"{base}-{lists}", distillation=replace(taught.distillation, lists=lists))

    others = [one for one in plan.seeds[stage] if one != seed]
    other = plan.student(stage, seed + 1 if seed + 1 in others or not others else others[0])
    more = replace(student.training, negatives=student.training.negatives + taught.distillation.K)
    guided = replace(student, role="S-guided", distillation=GuidedNegativesSettings(K=taught.distillation.K))
    return {
        "S": student,
        "S, K further negatives": replace(student, role="S-negatives", training=more),
        **({"S, K further negatives that it ranks high": guided} if base == POSITION else {}),
        "lists of random unseen items": listed("random"),
        "lists of popular items": listed("popular"),
        "lists of another student": replace(taught, role=f"{base}-student", teacher=other),
        TAUGHT: taught,
        "T": plan.teacher(stage, seed),
    }


def controls_with_position(plan: Plan) -> list[dict[str, Experiment]]:
    """The controls on F with position weights, of every seed of the tables."""
    return [controls(plan, "F", seed) for seed in plan.seeds["F"]]


def controls_on_record() -> tuple[str, list[dict[str, Experiment]]]:
    """The controls of paper size (Caser) that are on record, and whose weights they have: position weights once there is such
    a control, until then the hybrid's of the first seed."""
    caser, _ = PROFILES["paper"].rd
    with_position = controls_with_position(caser)
    others = [run for each in with_position for run in each.values() if run.role.startswith(f"{POSITION}-")]
    if any(map(is_committed, on_record(others))):
        return POSITION, with_position
    return HYBRID, [controls(caser, "F", caser.seeds["F"][0], HYBRID)]


def sweep_runs(plan: Plan) -> list[Experiment]:
    """The sweeps on V, seed by seed."""
    return unique(run for seed in plan.seeds["V"][:SEEDS] for run in points(sweeps(plan, "V", seed)))


def control_runs(plan: Plan) -> list[Experiment]:
    """The controls on F, with the students that teach."""
    runs = [*faded_controls(plan), *(run for each in controls_with_position(plan) for run in each.values())]
    return unique(one for run in runs for one in (run.teacher, run) if one is not None)


def faded_controls(plan: Plan) -> list[Experiment]:
    """The controls with hybrid weights, first seed, paper size alone. They are on record at revision 1 of Caser, and the tables
    of their protocol stay at that revision until these are there at revision 2 too (`studies.common.earlier`)."""
    return list(controls(plan, "F", plan.seeds["F"][0], HYBRID).values()) if plan.name == "paper" else []


def points(planned: Sweeps) -> list[Experiment]:
    """The runs of all sweeps; a run in several sweeps is named several times."""
    return [run for values in planned.values() for roles in values.values() for run in roles.values()]


def control_records() -> list[Record]:
    """The committed records of Caser's controls on F that are in no table: RD with other lists, S with further negatives."""
    caser, _ = PROFILES["paper"].rd
    planned = [*controls_with_position(caser), controls(caser, "F", caser.seeds["F"][0], HYBRID)]
    others = [run for each in planned for run in each.values() if run.role not in ("T", "S", HYBRID, POSITION)]
    return [committed(run) for run in on_record(unique(others)) if is_committed(run)]
