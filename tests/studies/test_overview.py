"""What notebook 00 says of runs that are missing, and what it draws."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from studies import overview
from studies.common.profiles import PROFILES
from studies.common.report import RunAtEpoch


def test_missing_runs_are_counted_by_data_set_stage_and_model_without_the_varied_setting() -> None:
    plan = PROFILES["smoke"].derrd[0]
    runs = [plan.teacher("L", 1), plan.student("L", 1), plan.student("L", 2), replace(plan.student("L", 1), role="S-share0.25"),
            replace(plan.student("L", 1), role="DE-RRD"),
            replace(plan.student("L", 1), dataset="other", role="RD-hybrid-K5")]  # fmt: skip
    table = overview.not_run(runs)
    assert table.to_dict("list") == {
        "data set": ["synthetic", "other"], "stage": ["L", "L"], "model": ["BPR", "BPR"], "runs": [5, 1],
        "roles": ["T, S, DE-RRD", "RD-hybrid"],
    }  # fmt: skip
    assert overview.not_run([]).empty


def test_the_papers_numbers_of_both_tables_and_our_seeds_are_drawn(monkeypatch) -> None:
    monkeypatch.setattr(RunAtEpoch, "model", "Caser")
    of_seeds = [pd.DataFrame({"MAP": [value]}, index=[50]) for value in (0.092, 0.094)]
    runs = [RunAtEpoch(SimpleNamespace(description={"role": "S"}, metrics=metrics), "fixed50", 50) for metrics in of_seeds]
    roles = {"S": "S", "RD-hybrid": "RD", "RD-position": "position", "RD-reciprocal": "1/r"}
    (ax,) = overview.against_the_paper(runs, roles, "gowalla", ["MAP"]).axes
    lines = {place: line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "-"
             for place in [round(sum(line.get_xdata()) / 2)]}  # fmt: skip
    assert lines == {0: 0.0919, 1: 0.0969, 2: 0.0945}, "Table 2 has S and RD, Table 4 position weights, and neither has 1/r"
    marks = [list(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "None" and len(line.get_ydata())]
    assert marks == [pytest.approx([0.092, 0.094])]
    assert [label.get_text() for label in ax.get_xticklabels()] == list(roles.values())
