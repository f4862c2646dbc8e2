"""What measure.py collects, without a checkout."""

from pathlib import Path

import pandas as pd
from parity import derrd, measure, official, rd


def test_every_module_with_rows_is_measured():
    """A later method adds its file and nothing else."""
    sides = list(measure.sides())
    assert {rd, derrd} <= set(sides)
    assert all(side.NAME and side.REPOSITORY.count("/") == 1 and callable(side.rows) for side in sides)
    assert len({side.REPOSITORY for side in sides}) == len(sides), "rows are kept by repository"


def test_without_a_checkout_rows_stay_as_they_are(monkeypatch, capsys):
    monkeypatch.delenv(official.VARIABLE, raising=False)
    rows = [[f"m{place}", side.REPOSITORY, "1234567", "x", 1, 1e-8, None, None] for place, side in enumerate(measure.sides())]
    before = pd.DataFrame(rows, columns=official.COLUMNS)
    pd.testing.assert_frame_equal(measure.table(0, before), before, check_dtype=False)
    assert capsys.readouterr().out.count("left out: RDCORE_OFFICIAL is not set") == len(rows)


def test_people_see_how_many_times_as_fast_we_are():
    row = ["RD", "a/b", "1234567", "x", 51, 2.5e-7, 6.0, 2.0]
    shown = measure.shown(pd.DataFrame([row], columns=official.COLUMNS))
    assert shown.loc[0, ["max_difference", "ratio", "steps"]].tolist() == ["2.5e-07", "3.0", "51"]


def test_the_page_has_the_ratios_of_the_committed_table():
    """docs/reliability.md: how many times as fast RD is, the later methods with the smallest and the largest ratio, and all
    that are less than 3 times as fast."""
    root = Path(__file__).parents[2]
    said = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = pd.read_csv(root / "figures" / "tables" / "parity.csv").dropna(subset=["seconds_official"])
    table["ratio"] = table["seconds_official"] / table["seconds_ours"]
    rd = table[table["method"] == "RD"]["ratio"]
    assert f"({int(rd.min())} to {int(rd.max())} times as fast)" in said
    later = table[~table["method"].isin(["BPR", "DE", "RRD", "Caser", "RD"])].sort_values("ratio")
    least, most = later.iloc[0], later.iloc[-1]
    said_of = f"take {least.ratio:.1f} ({least.method}) to {most.ratio:.0f} ({most.method}) times as long in the released code"
    assert said_of in " ".join(said.split())
    slow = table[table["ratio"] < 3]
    slow = slow.loc[slow.groupby("method")["ratio"].idxmin()]
    below = said.split("| method | times as fast | where the time of a step goes |")[1]
    rows = [line.split(" | ") for line in below.splitlines()[2:]]
    listed = {row[0].strip("| "): row[1] for row in rows[: len(slow)]}
    assert listed == {row.method.replace("BPR", "BPR-MF"): f"{row.ratio:.1f}" for row in slow.itertuples()}
