"""The committed tables are what other code computes from the committed records (tests/harness/recompute.py)."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import record

from studies.common.plan import unique
from studies.common.profiles import PROFILES
from studies.rd import ablation_report, ablations

FILE = Path(__file__).resolve().parents[1] / "harness" / "recompute.py"


def loaded():
    spec = importlib.util.spec_from_file_location("recompute", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recompute():
    return loaded()


def test_it_shares_nothing_with_the_project() -> None:
    names = set()
    for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"numpy", "pandas"}


@pytest.mark.parametrize("name", ["rd_table4", "05_tests", "scorecard", "flexibility", "ablations", "controls", "followups"])
def test_the_committed_tables_agree(recompute, name: str) -> None:
    count, lines = recompute.disagreements(name)
    assert count >= 36 and lines == []


@pytest.fixture
def made_up(tmp_path: Path):
    """A function that loads the script for a root with made-up records of all sweeps, two seeds, and of the controls of three
    seeds, one of them without 'another student'; and their two tables."""
    _, plan = PROFILES["paper"].rd
    rng, records, tables = np.random.default_rng(1), tmp_path / "data" / "replicated", tmp_path / "figures" / "tables"
    tables.mkdir(parents=True)
    by_seed = [ablations.sweeps(plan, "V", seed) for seed in (101, 102)]
    others = [ablations.controls(plan, "F", seed) for seed in (1, 2, 3)]
    last = others[-1]["lists of another student"]
    planned = unique(run for sweeps in by_seed for run in ablations.points(sweeps))
    planned += unique(run for each in others for run in each.values() if run != last)
    level = {"S": 0.1, "S-negatives": 0.11, "S-guided": 0.12, "RD-position": 0.15}
    found = {}
    for run in planned:
        ap = level.get(run.role, 0.13) + rng.normal(0, 0.02, 60)
        found[run.key] = record(records, run, {50: ap.mean()}, ap if run.stage == "F" else None)
    record(records, replace(plan.teacher("V", 101), training=replace(plan.training, weight_decay=1e-3)), {50: 0.9})  # a trial
    written = {"ablations": ablation_report.long(ablation_report.shown(by_seed, found), found),
               "controls": ablation_report.controls(others, found)[0]}  # fmt: skip
    for name, frame in written.items():
        frame.to_csv(tables / f"{name}.csv", index=False, float_format="%.6g")

    def load():
        module = loaded()
        module.ROOT = tmp_path
        return module

    return load


def test_every_sweep_and_control_is_computed_once_more(made_up, tmp_path: Path) -> None:
    """Also the sweeps that have no record yet."""
    for name, least in (("ablations", 300), ("controls", 70)):
        count, lines = made_up().disagreements(name)
        assert count > least and lines == []
    controls = pd.read_csv(tmp_path / "figures" / "tables" / "controls.csv")
    assert controls["share of RD - S"].notna().sum() == 5 and set(controls["seeds"]) == {2, 3}


@pytest.mark.parametrize("name", ["ablations", "controls"])
def test_a_wrong_table_is_found_and_a_row_that_is_missing(made_up, tmp_path: Path, name: str) -> None:
    file = tmp_path / "figures" / "tables" / f"{name}.csv"
    right = pd.read_csv(file, dtype={"value": str})
    column = {"ablations": "mean", "controls": "share high"}[name]
    wrong = right.copy()
    wrong.loc[wrong[column].first_valid_index(), column] *= 1.0001
    wrong.to_csv(file, index=False)
    assert len(made_up().disagreements(name)[1]) == 1
    if name == "ablations":
        right[(right["sweep"] != "K") | (right["value"] != "20")].to_csv(file, index=False)
        lines = made_up().disagreements(name)[1]
        assert len(lines) == 2 and all("RD-position-K20" in line and "printed no row" in line for line in lines)  # two seeds


@pytest.mark.parametrize("name", ["ablations", "controls"])
def test_a_table_that_its_records_do_not_say_is_found(made_up, tmp_path: Path, name: str) -> None:
    which = {"ablations": "*-K20-*", "controls": "*-F-*RD-position-popular-*"}[name]
    folder = next((tmp_path / "data" / "replicated").glob(which))
    rows = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps([row | {"MAP": row["MAP"] + 0.01} for row in rows]))
    lines = made_up().disagreements(name)[1]
    assert lines and all("MAP" in line for line in lines)


def test_a_changed_digit_is_found(recompute, monkeypatch: pytest.MonkeyPatch) -> None:
    table = recompute.table("05_tests").copy()
    table.loc[0, "low"] *= 1.00001
    monkeypatch.setattr(recompute, "table", lambda name: table)
    _, lines = recompute.disagreements("05_tests")
    assert len(lines) == 1 and "low: printed" in lines[0]


def test_students_t_and_its_quantile_are_scipys(recompute) -> None:
    from scipy import stats

    for df in (1.3, 2.0, 4.7, 40.0, 13148.0):
        assert recompute.critical(df) == pytest.approx(stats.t.isf(0.025, df), rel=1e-9)
        for t in (0.01, 0.7, 2.5, 12.0):
            assert recompute.two_sided(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-8)
