"""The committed tables are what other code computes from the committed records (tests/harness/recompute.py)."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "harness" / "recompute.py"


@pytest.fixture(scope="module")
def recompute():
    spec = importlib.util.spec_from_file_location("recompute", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_shares_nothing_with_the_project() -> None:
    names = set()
    for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"numpy", "pandas"}


@pytest.mark.parametrize("name", ["rd_table4", "05_tests", "scorecard", "flexibility"])
def test_the_committed_tables_agree(recompute, name: str) -> None:
    count, lines = recompute.disagreements(name)
    assert count > 50 and lines == []


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
