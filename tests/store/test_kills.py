"""The short form of tests/harness/kills.py, and the faults that it must find."""

from pathlib import Path

import pytest
import workers
from harness import kills


@pytest.mark.slow
@pytest.mark.parametrize("what", ["fetch", "training"])
def test_a_call_after_kills_completes_with_the_same_bits(what: str, tmp_path: Path):
    with kills.services([what]) as services:
        count = kills.count_kills(what, 2, 1, tmp_path, services)
    assert count.good and count.kills >= count.in_the_middle >= 2, count


FAULTS = {
    workers.half_written: lambda count: count.problems and all(problem.endswith(": file.txt") for problem in count.problems),
    workers.another_result: lambda count: count.equal == 0 < count.completed,
    workers.orphan: lambda count: count.orphans > 0,
    workers.never_again: lambda count: count.completed == 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("call", FAULTS, ids=lambda call: call.__name__)
def test_the_harness_finds(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(kills.KINDS, "faulty", kills.Kind(call))
    monkeypatch.setattr(kills, "ORPHAN_SECONDS", 0.5)
    count = kills.count_kills("faulty", 1, 2, tmp_path, {})
    assert count.in_the_middle and not count.good and FAULTS[call](count), (count, capsys.readouterr().err)


def test_the_table_sums_up():
    counts = [kills.Count("a", 3, 2, 2, 2, 2), kills.Count("b", 4, 4, 3, 3, 2, 1, ["x"])]
    table = kills.table(counts)
    assert table.iloc[-1].tolist() == ["all", 7, 6, 5, 5, 4, 1, 1]
    assert [count.good for count in counts] == [True, False]
