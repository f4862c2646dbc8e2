"""The measurement of growth: that all of it runs, and what is said of its numbers. No time is asserted."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from benchmarks import growth, growth_plots
from benchmarks.__main__ import main
from rdcore.datasets import synthetic


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return growth.measure(quick=True, threads=1)


def test_every_piece_of_work_is_measured_at_every_size(measured):
    assert list(measured.columns) == growth.COLUMNS
    assert len(measured) == 4 * len(growth.WORK)
    assert (measured[["seconds", "peak_gib"]] > 0).all(axis=None) and (measured["peak_gib"] < 8).all()
    training = measured[measured["work"] == "50 steps, RD"].iloc[0]
    users, items = training["users"], training["items"]
    numbers = users * 50 + (items + 1) * 50 + items * 101  # tables and biases; filters and dense layer beside them
    filters = 2 * 5 + 2 + sum(16 * (50 * height + 1) for height in range(1, 6)) + 50 * (2 * 50 + 16 * 5 + 1)
    assert training["parameters_gib"] * 2**30 == pytest.approx(4 * 4 * (numbers + filters))
    assert growth.unbounded(measured) == []


def test_slopes_and_bounds_of_known_growth():
    rows = []
    for n in (10**4, 10**5, 10**6):
        rows.append(["interactions", n, 10, 10, "empty process", 1, 1e-6, 0.25, 0.0, 0.0])
        rows.append(["interactions", n, 10, 10, "linear", 1, n / 1e5, 0.25 + n / 1e6, 0.0, n / 1e6])
        rows.append(["interactions", n, 10, 10, "quadratic", 1, (n / 1e5) ** 2, 0.25 + 5 * (n / 1e6) ** 2, 0.0, n / 1e6])
    table = pd.DataFrame(rows, columns=growth.COLUMNS)
    found = growth.slopes(table).set_index("work")
    np.testing.assert_allclose(found.loc["linear", ["time", "memory"]].astype(float), 1)
    np.testing.assert_allclose(found.loc["quadratic", ["time", "memory"]].astype(float), 2)
    (said,) = growth.unbounded(table)
    assert said == "quadratic, 1,000,000 interactions, 10 items: 5.25 GiB, above 3.00"


def test_the_picture_shows_every_series_and_the_guides(measured):
    figure = growth_plots.growth(measured)
    try:
        works = [name for name in growth.WORK if name != "empty process"]
        for ax in figure.axes:
            drawn = {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}
            assert list(drawn) == works and (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        seconds = figure.axes[0].get_lines()[0].get_ydata()
        rows = measured[(measured["varied"] == "interactions") & (measured["work"] == works[0])]
        np.testing.assert_array_equal(seconds, rows["seconds"])
        assert figure.axes[0].get_ylabel() == "processor seconds" and "GiB" in figure.axes[2].get_ylabel()
    finally:
        plt.close(figure)


def test_a_million_items_are_ranked_in_blocks_of_a_quarter_of_a_gib():
    """The peak itself is measured by `python -m benchmarks growth`; here what bounds it."""
    from rdcore.eval.topk import block_rows

    assert 4 * 10**6 * block_rows(10**6, 2048) <= 2**28 < 4 * 10**6 * (block_rows(10**6, 2048) + 1)


def test_the_command_writes_only_when_it_measures(tmp_path, monkeypatch, measured, capsys):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setattr(growth, "measure", lambda **given: measured)
    assert main(["growth", "--quick"]) == 0 and not list(tmp_path.iterdir())
    assert main(["growth"]) == 0
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"figures/growth.png", "figures/growth.pdf", "figures/tables/growth.csv", "figures/tables/growth.md"} <= written
    assert main(["growth", "--only", "RD"]) == 2
    assert "leave out --only" in capsys.readouterr().err


def test_the_first_users_keep_their_sequences():
    data = synthetic.generate(n_users=9, n_items=40)
    some = growth._first_users(data, 4)
    assert some.n_users == 4 and some.n_items == 40
    np.testing.assert_array_equal(some.items, data.items[: data.offsets[4]])
    assert growth._first_users(data, 100).n_users == 9
