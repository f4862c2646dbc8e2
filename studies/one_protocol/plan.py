"""All methods under one protocol: the same data, teachers, students, training and number of trials.

Leave-one-out (rdcore/eval/leave_one_out.py). The validation items choose a run's epoch, as everywhere on
that stage, and a method's weight, by nDCG@10 among all items, in a grid of as many weights for each
method, with the first seed. The test items are ranked among all items. The student alone has no such
weight; it gets as many trials of its weight decay. Nothing else is tuned: the teacher's lists,
temperatures and samples are those of the papers or of the released codes, smaller on smaller data;
RankDistil's, which are not known, are our own.
"""

from __future__ import annotations

from collections.abc import Mapping

from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed
from studies.common.plan import Plan, strength, those_committed, unique, weights_on_file
from studies.common.profiles import PROFILES

METRIC = "N@10-full"  # by which methods are compared


def roles(plan: Plan) -> list[str]:
    """The methods that have weights in this plan."""
    return [role for role in plan.methods if role in plan.grids]


def alone(plan: Plan) -> list[Experiment]:
    """T and S of every seed, S with the plan's weight decay, which the methods' students have too."""
    return [run for seed in plan.table_seeds for run in (plan.teacher("L", seed), plan.tried("S", 1, seed))]


def decayed(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """S of every seed with the weight decay that its trials chose; none where they chose the plan's, or nothing."""
    decay = chosen.get("S", 1)
    return [plan.tried("S", decay, seed) for seed in plan.table_seeds] if decay != 1 else []


def table_runs(plan: Plan, chosen: Mapping[str, float]) -> list[Experiment]:
    """The runs of the table: T, S, and every method that has a ``chosen`` weight, of all seeds."""
    taught = [plan.tried(role, chosen[role], seed) for seed in plan.table_seeds for role in roles(plan) if role in chosen]
    return [*alone(plan), *taught]


def runs_of(plan: Plan) -> list[Experiment]:
    """All runs of a comparison in training order: T and S, the trials, and the rows of the table with the
    weights that trials on file choose (a role with a trial missing has none)."""
    trials = [run for tried in plan.trials().values() for run in tried.values()]
    chosen = weights_on_file(plan)
    return unique([*alone(plan), *trials, *decayed(plan, chosen), *table_runs(plan, chosen)])


def all_runs(name: str) -> list[Experiment]:
    """Every run of a profile's comparisons."""
    return unique([run for plan in PROFILES[name].one_protocol for run in runs_of(plan)])


def committed_rows(plan: Plan) -> list[Record]:
    """The committed records that are rows of the table, with the weights that committed trials choose."""
    rows = table_runs(plan, weights_on_file(plan, committed_alone=True))
    return [committed(run) for run in rows if is_committed(run)]


def strengths(plan: Plan) -> dict[str, tuple[float, float]]:
    """Role -> the smallest and the largest strength of its trials on record: distillation loss over base loss, in the epoch
    that the validation items chose. Methods whose trials have no strength in common are not compared (`comparable`)."""
    found: dict[str, tuple[float, float]] = {}
    for role in roles(plan):
        tried = those_committed(plan.trials()[role]).values()
        ratios = list(map(strength, tried))
        if ratios:
            found[role] = min(ratios), max(ratios)
    return found


def comparable(strengths: Mapping[str, tuple[float, float]], a: str, b: str) -> bool:
    """Whether the strengths that two methods were tried at have any in common; the student alone has none and no limit."""
    if not {a, b} <= strengths.keys():
        return True
    (low, high), (lower, higher) = strengths[a], strengths[b]
    return low <= higher and lower <= high


def committed_comparisons() -> dict[str, list[Record]]:
    """The paper-size comparisons with committed rows: label -> rows."""
    rows = {plan.label: committed_rows(plan) for plan in PROFILES["paper"].one_protocol}
    return {name: records for name, records in rows.items() if records}


def students_with_the_chosen_decay() -> dict[str, list[Record]]:
    """The committed comparisons in which S's trials chose another decay than the plan's: label -> S with that."""
    students = {}
    for plan in PROFILES["paper"].one_protocol:
        runs = decayed(plan, weights_on_file(plan, committed_alone=True))
        if records := [committed(run) for run in runs if is_committed(run)]:
            students[plan.label] = records
    return students
