"""DE-RRD as a study (studies/common/study.py), notebook 07: its runs, and its part of the results page: BPR-MF on CiteULike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies.common import plan as plans
from studies.common import report, text
from studies.common.claims import table as table_of
from studies.common.plan import on_file, those_committed
from studies.common.profiles import PROFILES
from studies.common.study import Finding, Result, as_table, made_on, of_table, over
from studies.derrd.claims import claimed, claims
from studies.derrd.plan import all_runs, committed_rows, size_sweep, weight_grid
from studies.derrd.tables import ROLES, compared, derrd_logs, derrd_table2, derrd_table3, derrd_table5, trial_table

METRICS = ["H@5", "N@10"]
WORDS = {
    "T": "teacher", "S": "student alone", "RD": "taught by RD",
    "CD": "by collaborative distillation, items of the student's first 500",
    "CD-all": "the same, drawn from all unseen items, as published", "DE": "by experts",
    "RRD": "by relaxed ranking distillation", "DE-RRD": "by both",
}  # fmt: skip


def runs(profile: str) -> list[Experiment]:
    """Every run of a profile, in training order."""
    return all_runs(profile)


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.derrd])


def tables() -> dict[str, pd.DataFrame]:
    """The trials of RD's and CD's weights, from the committed records."""
    plan = PROFILES["paper"].derrd[0]
    trials = [run for tried in plan.trials().values() for run in tried.values()]
    return {"07_trials": trial_table(plan, [on_file(run, committed_alone=True) for run in trials])}


def write_tables() -> list[Path]:
    """The authors' logs, Table 3 and Table 5 next to ours; what has not run is empty there."""
    plan = PROFILES["paper"].derrd[0]
    teacher = those_committed({"T": plan.teacher("L", plan.table_seeds[0])})
    sizes = those_committed({size: pair["DE-RRD"] for size, pair in size_sweep(plan).items()})
    weights = those_committed(weight_grid(plan))
    made = {
        "derrd_logs": (derrd_logs(committed_rows()), committed_rows()),
        "derrd_table3": (derrd_table3(plan, sizes, teacher.get("T"), _shape(teacher)), [*teacher.values(), *sizes.values()]),
        "derrd_table5": (derrd_table5(plan, weights), [*weights.values()]),
    }
    return [report.write_table(table, name, "paper", records, "rdcore readme") for name, (table, records) in made.items()]


def _shape(teacher: Mapping[str, Record]) -> tuple[int, int] | None:
    """(users, items) of the data, from T's record: BPR-MF has ``dim`` numbers for each of them."""
    record = teacher.get("T")
    if record is None or record.parameters is None:
        return None
    users = len(record.per_user())
    return users, record.parameters // record.description["model"]["dim"] - users


def of_bpr() -> pd.DataFrame:
    """Table 2 of BPR-MF on CiteULike from the committed records, protocol `validation`."""
    table = derrd_table2(committed_rows())
    return table[(table["dataset"] == "citeulike") & (table["model"] == "BPR") & (table["protocol"] == "validation")]


def rows(table: pd.DataFrame, metric: str) -> list[Result]:
    """The roles of Table 2 by one metric. table: from `of_bpr`."""
    return of_table(table, f"BPR-MF, CiteULike: {metric}", ROLES, metric)


def headline() -> list[Result]:
    """H@5 of T, S and the paper's methods."""
    return [one for one in rows(of_bpr(), "H@5") if one.role in ("T", "S", "DE", "RRD", "DE-RRD")]


def findings() -> list[Finding]:
    """The paper's methods against the student alone, where there are seeds enough for a verdict."""
    records, paper = committed_rows(), {one.role: one.paper for one in rows(of_bpr(), "H@5")}
    p = table_of(claims(records)).set_index("claim")["p"]
    return [
        one for role in ("DE", "RRD", "DE-RRD")
        for one in over(f"{role} - S, BPR-MF", compared(records, role, "S", "H@5"), round(paper[role] - paper["S"], 4),
                        paper["S"], p[claimed(role, "S")])
    ]  # fmt: skip


def results() -> str:
    """The section of docs/results.md."""
    table = of_bpr()
    words = [{"": role, "what it is": what, "`rdcore train --only`": f"`citeulike-L-BPR-{role}-d{200 if role == 'T' else 20}-`"}
             for role, what in WORDS.items()]  # fmt: skip
    return "\n\n".join([
        "## DE-RRD on CiteULike",
        "BPR-MF (T d = 200, S d = 20), ranks among 499 sampled negatives. DE and RRD have the weights of the released code,\n"
        "DE-RRD both of them (no code of it was released): none of these is tuned here. Those of RD and CD are chosen on\n"
        f"validation items. {made_on(committed_rows())}".strip(),
        as_table([one for metric in METRICS for one in rows(table, metric)], seeds=True),
        text.markdown(pd.DataFrame(words)),
    ])  # fmt: skip
