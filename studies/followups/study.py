"""The later methods as a study (studies/common/study.py)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.runs import committed, is_committed
from studies.common import plan as plans
from studies.common.study import Result
from studies.followups.plan import PLANS, runs

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of"]

COLUMNS = ["study", "dataset", "model", "method", "student_dim", "epoch", "metric", "mean", "std", "seeds"]
KEYS = COLUMNS[:7]


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for group in PLANS.values() for plan in group])


def tables() -> Mapping[str, pd.DataFrame]:
    """followups.csv: metrics of the committed runs at their chosen epoch, mean over seeds; without a
    committed run it has no rows."""
    rows = []
    for study, group in PLANS.items():
        for plan in group:
            for seed in plan.table_seeds:
                trained = [plan.teacher("L", seed), plan.student("L", seed)]
                trained += [plan.distilled("L", seed, role) for role in plan.methods]
                for run in filter(is_committed, trained):
                    found = {name: value for name, value in committed(run).chosen.items() if "@" in name}
                    known = {"study": study, "dataset": run.dataset, "model": "BPR", "method": run.role,
                             "student_dim": run.model.dim, "epoch": "chosen"}  # fmt: skip
                    rows += [known | {"metric": name, "value": value} for name, value in found.items()]
    if not rows:
        return {"followups": pd.DataFrame(columns=COLUMNS)}
    grouped = pd.DataFrame(rows).groupby(KEYS, sort=False)["value"]
    return {"followups": grouped.agg(mean="mean", std="std", seeds="size").reset_index()[COLUMNS]}


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
