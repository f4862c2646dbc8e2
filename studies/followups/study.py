"""The later methods as a study (studies/common/study.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.runs import committed, is_committed
from studies.common import plan as plans
from studies.common import report
from studies.common.study import Result
from studies.followups.plan import PLANS, runs

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of"]

COLUMNS = ["study", "dataset", "model", "method", "student_dim", "epoch", "metric", "mean", "std", "seeds"]
KEYS = COLUMNS[:7]


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for group in PLANS.values() for plan in group])


def table_runs() -> list[tuple[str, Experiment]]:
    """The runs of followups.csv that are on record, each with the name of its study."""
    planned = []
    for study, group in PLANS.items():
        for plan in group:
            for seed in plan.table_seeds:
                trained = [plan.teacher("L", seed), plan.student("L", seed)]
                trained += [plan.distilled("L", seed, role) for role in plan.methods]
                planned += [(study, run) for run in trained]
    return [(study, run) for study, run in planned if is_committed(run)]


def tables() -> Mapping[str, pd.DataFrame]:
    """followups.csv: metrics of the committed runs at their chosen epoch, mean over seeds; without a
    committed run it has no rows."""
    rows = []
    for study, run in table_runs():
        found = {name: value for name, value in committed(run).chosen.items() if "@" in name}
        known = {"study": study, "dataset": run.dataset, "model": "BPR", "method": run.role,
                 "student_dim": run.model.dim, "epoch": "chosen"}  # fmt: skip
        rows += [known | {"metric": name, "value": value} for name, value in found.items()]
    if not rows:
        return {"followups": pd.DataFrame(columns=COLUMNS)}
    grouped = pd.DataFrame(rows).groupby(KEYS, sort=False)["value"]
    return {"followups": grouped.agg(mean="mean", std="std", seeds="size").reset_index()[COLUMNS]}


def write_tables() -> Path:
    """Writes followups.csv, .md and .tex of paper size; `rdcore readme` calls it."""
    records = [committed(run) for _, run in table_runs()]
    return report.write_table(tables()["followups"], "followups", "paper", records, "rdcore readme")


def headline() -> list[Result]:
    """None: README's table has the three papers."""
    return []


def findings() -> list[str]:
    """None yet."""
    return []


def results() -> str:
    """The section on the later methods: how many of its runs are on record, and H@5 of each."""
    table = tables()["followups"]
    head = "## The later methods\n\n"
    new = table[table["method"].isin(["IR-RRD", "FTD", "HTD"])] if len(table) else table
    if not len(new):
        return head + "No run of them is on record yet: `rdcore train --only IR-RRD,citeulike-td` trains them.\n"
    shown = table[table["metric"] == "H@5"].drop(columns=["model", "epoch", "metric"])
    return head + shown.to_markdown(index=False, floatfmt=".4f") + "\n"
