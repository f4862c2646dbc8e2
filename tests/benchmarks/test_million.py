"""A million users: that every step is measured, on a thousandth of the data. No time is asserted."""

import pandas as pd
import pytest

from benchmarks import million


@pytest.mark.slow
def test_the_trial_measures_every_step(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    million.main(["--trial"])
    table = pd.read_csv(tmp_path / "figures/smoke/tables/million.csv")
    assert list(table) == million.COLUMNS and len(table) == 11
    assert (table[["seconds", "whole_seconds", "peak_gb"]] > 0).all(axis=None)
    partly = table["done"] != "all"
    assert partly.sum() == 3 and (table.loc[~partly, "seconds"] == table.loc[~partly, "whole_seconds"]).all()
    assert (table.loc[partly, "seconds"] < table.loc[partly, "whole_seconds"]).all()


def test_generated_rows_are_in_the_order_of_time():
    clicks = million.frame(million.TRIAL)
    assert len(clicks) == 10_000 and clicks["when"].is_monotonic_increasing and not clicks.isna().any(axis=None)
