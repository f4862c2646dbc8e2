"""The committed tables are what other code computes from the committed records (tests/harness/recompute)."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import record
from harness import recompute
from harness.recompute import layout, notes, records, tables

from studies.common.plan import unique
from studies.common.profiles import PROFILES
from studies.rd import ablation_report, ablations

ROOT = records.ROOT


@pytest.fixture
def at_root():
    """`records.use`, which is undone afterwards."""
    yield records.use
    records.use(ROOT)


def test_it_shares_nothing_with_the_project() -> None:
    names = set()
    for file in sorted((ROOT / "tests" / "harness" / "recompute").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{file} imports from outside of its folder"
                names |= {node.module.split(".")[0]} if node.level == 0 else set()
    assert names - set(sys.stdlib_module_names) == {"numpy", "pandas", "recompute"}


def test_every_table_is_computed_once_more_or_said_to_be_measured() -> None:
    """A new table has to be put into one of the two lists. One that the manifest knows records of is computed."""
    manifest = json.loads((ROOT / "figures" / "MANIFEST.json").read_text())
    for name in recompute.committed():
        lists = [recompute.entry(name, one) is not None for one in (recompute.RECOMPUTED, recompute.UNRECORDED)]
        assert sum(lists) == 1, f"put {name} into one list of tests/harness/recompute"
        if manifest.get(f"tables/{name}.csv", {"runs": []})["runs"]:
            assert lists[0], f"{name} is made from records"
    assert set(recompute.UNRECORDED) <= set(recompute.committed())
    assert recompute.entry("a_new_table", recompute.RECOMPUTED) is None


@pytest.mark.parametrize("name", [name for name in recompute.committed() if recompute.entry(name, recompute.RECOMPUTED)])
def test_the_committed_tables_agree(name: str) -> None:
    try:
        count, lines = recompute.disagreements(name)
    except recompute.Absent as what:
        pytest.skip(str(what))
    assert count and lines == []


CHANGED = {  # table -> a column of it
    "02_test_metrics": "popularity", "05_tests": "power", "09_trials": "chosen", "derrd_logs": "std", "derrd_table5": "H@5",
    "rd_table3": "ratio_replicated", "scorecard": "verdict", "controls_caser": "share high",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_cell_is_found_and_a_row_that_is_missing_or_there_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the sixth digit, or another word."""
    right, column = records.printed(name), CHANGED[name]
    place, text = next((place, row[column]) for place, row in enumerate(right) if row[column])
    try:
        wrong = f"{float(text) * 1.00002:.9g}"
    except ValueError:
        wrong = {"True": "False", "False": "True"}.get(text, "open")
    other = {"changed": [row | {column: wrong} if row is right[place] else row for row in right],
             "twice": [*right, right[place]], "missing": right[:place] + right[place + 1 :]}  # fmt: skip
    if name in ("scorecard", "controls_caser"):  # which claims and controls there are is no matter of records
        del other["missing"]
    for what, rows in other.items():
        monkeypatch.setattr(records, "printed", lambda _, rows=rows: rows)
        _, lines = recompute.disagreements(name)
        assert len(lines) == 1, what
        assert {"changed": column, "twice": "two rows", "missing": "no row"}[what] in lines[0]


def test_what_agrees() -> None:
    near = tables.Near(0.95, 0.02)
    assert tables.agrees("0.94", near) and not tables.agrees("0.92", near) and not tables.agrees("", near)
    assert tables.agrees("0.123457", 0.12345678) and not tables.agrees("0.123458", 0.1234567)
    assert tables.agrees("5583901", 5583901) and not tables.agrees("5583902", 5583901), "counts have all their digits"
    assert tables.agrees("", float("nan")) and not tables.agrees("", 0.0) and not tables.agrees("0", float("nan"))


def test_other_words_of_a_note_hold_nothing_that_is_computed() -> None:
    assert notes.whole(["power 50%"], "", "power 50%; as printed") == "power 50%; as printed"
    assert notes.whole(["power 50%"], "", "power 51%; as printed") == "power 50%"
    assert notes.whole([], "", "power 51%") == "" and notes.whole([], "lost: T 1", "lost: T 2") == "lost: T 1"


def test_a_table_prints_six_digits() -> None:
    """As many as are compared; a count has all of its own."""
    for name in recompute.committed():
        for row in records.printed(name):
            for column, text in row.items():
                if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text):
                    digits = re.sub(r"e.*|\D", "", text).lstrip("0")
                    assert len(digits) <= 6, f"{name}: {column} {text}"


@pytest.fixture
def made_up(tmp_path: Path, at_root):
    """A function that looks at a root with made-up records of all sweeps, two seeds, and of the controls of three seeds, one of
    them without 'another student'; and their two tables."""
    _, plan = PROFILES["paper"].rd
    rng, folder, written = np.random.default_rng(1), tmp_path / "data" / "replicated", tmp_path / "figures" / "tables"
    written.mkdir(parents=True)
    by_seed = [ablations.sweeps(plan, "V", seed) for seed in (101, 102)]
    others = [ablations.controls(plan, "F", seed) for seed in (1, 2, 3)]
    last = others[-1]["lists of another student"]
    planned = unique(run for sweeps in by_seed for run in ablations.points(sweeps))
    planned += unique(run for each in others for run in each.values() if run != last)
    level = {"S": 0.1, "S-negatives": 0.11, "S-guided": 0.12, "RD-position": 0.15}
    found = {}
    for run in planned:
        ap = level.get(run.role, 0.13) + rng.normal(0, 0.02, 60)
        found[run.key] = record(folder, run, {50: ap.mean()}, ap if run.stage == "F" else None)
    record(folder, replace(plan.teacher("V", 101), training=replace(plan.training, weight_decay=1e-3)), {50: 0.9})  # a trial
    frames = {"ablations": ablation_report.long(ablation_report.shown(by_seed, found), found),
              "controls": ablation_report.controls(others, found)[0]}  # fmt: skip
    for name, frame in frames.items():
        frame.to_csv(written / f"{name}.csv", index=False, float_format="%.6g")

    def look(name: str) -> tuple[int, list[str]]:
        at_root(tmp_path)
        return recompute.disagreements(name)

    return look


def test_every_sweep_and_control_is_computed_once_more(made_up, tmp_path: Path) -> None:
    """Also the sweeps that have no record yet."""
    for name, least in (("ablations", 300), ("controls", 40)):
        count, lines = made_up(name)
        assert count > least and lines == []
    controls = pd.read_csv(tmp_path / "figures" / "tables" / "controls.csv")
    assert controls["share of RD - S"].notna().sum() == 5 and set(controls["seeds"]) == {2, 3}


@pytest.mark.parametrize("name", ["ablations", "controls"])
def test_a_wrong_table_is_found_and_a_sweep_without_a_row(made_up, tmp_path: Path, name: str) -> None:
    file = tmp_path / "figures" / "tables" / f"{name}.csv"
    right = pd.read_csv(file, dtype={"value": str})
    column = {"ablations": "mean", "controls": "share high"}[name]
    wrong = right.copy()
    wrong.loc[wrong[column].first_valid_index(), column] *= 1.0001
    wrong.to_csv(file, index=False)
    assert len(made_up(name)[1]) == 1
    if name == "ablations":
        right[(right["sweep"] != "K") | (right["value"] != "20")].to_csv(file, index=False)
        lines = made_up(name)[1]
        assert len(lines) == 2 and all("RD-position-K20" in line and "printed no row" in line for line in lines)  # two seeds


@pytest.mark.parametrize("name", ["ablations", "controls"])
def test_a_table_that_its_records_do_not_say_is_found(made_up, tmp_path: Path, name: str) -> None:
    which = {"ablations": "*-K20-*", "controls": "*-F-*RD-position-popular-*"}[name]
    folder = next((tmp_path / "data" / "replicated").glob(which))
    rows = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps([row | {"MAP": row["MAP"] + 0.01} for row in rows]))
    lines = made_up(name)[1]
    assert lines and all("MAP" in line for line in lines)


def test_students_t_its_quantile_and_the_noncentral_one_are_scipys() -> None:
    from scipy import stats

    for df in (1.3, 2.0, 4.7, 40.0, 13148.0):
        assert layout.critical(df) == pytest.approx(stats.t.isf(0.025, df), rel=1e-9)
        for t in (0.01, 0.7, 2.5, 12.0):
            assert layout.two_sided(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-8)
        assert layout.beyond(2.5, df, 3.1) == pytest.approx(stats.nct.sf(2.5, df, 3.1), rel=1e-6)
