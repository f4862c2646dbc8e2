"""What measure.py collects, without a checkout."""

import sys
from pathlib import Path

import numpy as np
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
    end = "1234567", "x", 1, 1e-8, np.nan, np.nan
    rows = [[f"m{place}", side.REPOSITORY, *end] for place, side in enumerate(measure.sides())]
    before = pd.DataFrame(rows, columns=official.COLUMNS)
    pd.testing.assert_frame_equal(measure.table(0, before), before, check_dtype=False)
    assert capsys.readouterr().out.count("left out: RDCORE_OFFICIAL is not set") == len(rows)


def test_seconds_stay_where_nothing_is_timed(monkeypatch, tmp_path):
    class Side:
        NAME, REPOSITORY = "x", "a/x"

        @staticmethod
        def rows(windows):
            return [[f"m{m}", "a/x", "7654321", "w", 51, 2e-7, None, None] for m in (1, 2)]

    (tmp_path / "x").mkdir()
    monkeypatch.setenv(official.VARIABLE, str(tmp_path))
    monkeypatch.setattr(measure, "sides", lambda: iter([Side]))
    before = pd.DataFrame([["m1", "a/x", "1234567", "w", 51, 1e-8, 6.0, 2.0]], columns=official.COLUMNS)
    after = measure.table(0, before)
    assert after["max_difference"].tolist() == [2e-7] * 2 and after["commit"].tolist() == ["7654321"] * 2
    assert after.loc[0, ["seconds_official", "seconds_ours"]].tolist() == [6.0, 2.0] and after.loc[1].isna().sum() == 2


def test_what_our_side_draws_is_recorded():
    """Else the released code gets other samples. The tests that see that need a checkout."""
    data, training = rd.instances(100), rd.ours_loop.Training(epochs=2, batch_size=50)
    model, teacher = rd.build(rd.DIM, data), rd.build(2 * rd.DIM, data)
    distillation = rd.RDSettings(weights=rd.Hybrid(discrepancy=rd.SAMPLED, start_epoch=2)).build(model, teacher)
    distillation.prepare(teacher, data)
    _, draws = rd.train_ours(model, data, training, distillation)
    assert [sample.shape for sample in draws.samples] == [(50, rd.SAMPLED.samples)] * 2, "the second epoch has ranks"
    assert [len(drawn) for drawn in draws.negatives] == [100] * 2

    model, teacher = derrd.fresh(4, data, 1), derrd.fresh(8, data, 2)
    for settings, noises, lists in ((derrd.DESettings(M=3), 8, 0), (derrd.RRDSettings(K=5, L=5, depth=20), 0, 2)):
        distillation = settings.build(model, teacher)
        distillation.prepare(teacher, data)
        draws = derrd._train_ours(model, data, training, distillation)
        assert (len(draws["noise"]), sum(each is not None for each in draws["lists"])) == (noises, lists)


def test_modules_of_a_checkout_leave_nothing_behind(monkeypatch, tmp_path):
    """Two repositories have a folder `modeling`, one of them without __init__.py."""
    for name in ("one", "two"):
        (tmp_path / name / "modeling" / "inner").mkdir(parents=True)
        (tmp_path / name / "modeling" / "inner" / f"{name}.py").write_text(f"NAME = {name!r}\n")
    (tmp_path / "two" / "modeling" / "__init__.py").write_text("")
    monkeypatch.setenv(official.VARIABLE, str(tmp_path))
    for name in ("one", "two", "one"):
        with official.modules(name, f"modeling.inner.{name}") as [module]:
            assert module.NAME == name
        assert not [module for module in sys.modules if module.split(".")[0] == "modeling"]


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
