"""How often intervals hold the truth: the two-way layout does, the rules before it do not."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rdcore.eval import significance
from studies.common import coverage
from studies.common.coverage import BOOTSTRAP, RULES, SATTERTHWAITE, SEEDS, TWO_WAY, USERS
from studies.common.matched import PAIRS, matched
from studies.common.selection import chosen_epochs
from studies.derrd import plan as derrd
from studies.derrd import tables as derrd_tables
from studies.one_protocol import plan as one_protocol
from studies.one_protocol import tables as protocol_tables
from studies.rd.study import paper_records

GOWALLA = 13_149


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def at_hand() -> dict:
    """Comparisons of the committed runs of Caser, Fossil and BPR-MF (DE-RRD; one protocol) with at least two seeds."""
    found = matched(paper_records(), chosen_epochs())
    every = {f"{runs.label}: {a} - {b}": runs.compare(a, b) for runs in found.values() for a, b in PAIRS
             if len(runs.seeds(a, b)) > 1}  # fmt: skip
    derrd_rows = derrd.committed_rows()
    every |= {f"DE-RRD: {role} - S": derrd_tables.compared(derrd_rows, role, "S", "H@5") for role in ("DE", "RRD", "DE-RRD")}
    for label, rows in one_protocol.committed_comparisons().items():
        roles = {row.description["role"] for row in rows} - {"T", "S"}
        every |= {f"{label}: {role} - S": protocol_tables.compared(rows, role, "S") for role in sorted(roles)}
    return every


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_the_truth_is_covered_as_often_as_is_promised(at_hand, n_seeds: int) -> None:
    """.93 to .97 at the spread of seeds, users and noise of the committed runs; 100,000 draws know it to .001. With three seeds
    a few comparisons of BPR-MF reach .971: intervals that are a little too wide."""
    assert len(at_hand) >= 28
    held = {name: coverage.of_the_layout(c.layout.components, n_seeds, c.n_users, rng()) for name, c in at_hand.items()}
    held = {name: by_rule[TWO_WAY] for name, by_rule in held.items()}
    assert min(held.values()) >= 0.93 and max(held.values()) <= (0.97 if n_seeds == 5 else 0.972)
    assert sum(share > 0.97 for share in held.values()) <= 3, held


def test_with_three_seeds_satterthwaites_degrees_of_freedom_are_too_many(at_hand) -> None:
    """The reason for Cochran and Cox's critical value; with five seeds both will do."""
    held = [coverage.of_the_layout(c.layout.components, 3, c.n_users, rng())[SATTERTHWAITE] for c in at_hand.values()]
    assert 0.915 <= min(held) < 0.93
    held = [coverage.of_the_layout(c.layout.components, 5, c.n_users, rng())[SATTERTHWAITE] for c in at_hand.values()]
    assert 0.93 <= min(held) and max(held) <= 0.97


SHARES = [0.0, 0.2, 0.4, 0.6, 0.8, 0.95]


@pytest.mark.parametrize("n_seeds", [3, 4, 5])
@pytest.mark.parametrize("seeds", SHARES)
@pytest.mark.parametrize("users", [0.05, 0.3, 1.0])
def test_whatever_the_parts_of_the_variance_are(n_seeds: int, seeds: float, users: float) -> None:
    """seeds: their share of the variance of the mean; users: theirs of the rest, noise has what is left."""
    parts = seeds * n_seeds, (1 - seeds) * users * GOWALLA, (1 - seeds) * (1 - users) * n_seeds * GOWALLA
    held = coverage.of_the_layout(parts, n_seeds, GOWALLA, rng(), draws=40_000)
    assert 0.945 <= held[TWO_WAY] <= 0.975


PARTS = {  # variances of seeds, users and noise, as shares of the variance of the mean
    "seeds": (0.9, 0.05, 0.05), "users": (0.0, 0.9, 0.1), "noise": (0.0, 0.05, 0.95), "all": (0.4, 0.3, 0.3),
}  # fmt: skip


def components(part: str, n_seeds: int, n_users: int = GOWALLA) -> tuple[float, float, float]:
    seed, user, noise = PARTS[part]
    return seed * n_seeds, user * n_users, noise * n_seeds * n_users


@pytest.mark.parametrize("part", PARTS)
def test_drawn_mean_squares_say_what_drawn_data_say(part: str) -> None:
    """2,000 draws know it to .005."""
    held = coverage.simulate(components(part, 5, 300), 5, 300, rng(), draws=2_000, resamples=50)
    for rule, share in coverage.of_the_layout(components(part, 5, 300), 5, 300, rng()).items():
        assert held[rule] == pytest.approx(share, abs=0.02)


def test_the_older_rules_fail_where_they_must() -> None:
    held = {part: coverage.simulate(components(part, 5), 5, GOWALLA, rng(), draws=1_000) for part in PARTS}
    assert all(0.92 < held[part][TWO_WAY] < 0.98 for part in PARTS)
    assert held["seeds"][USERS] < 0.5 < held["seeds"][BOOTSTRAP] < 0.92, "both are too sure where seeds differ"
    assert held["noise"][BOOTSTRAP] > 0.97, "and the bootstrap is too careful where noise does"
    assert all(0.92 < held["users"][rule] < 0.98 for rule in (USERS, BOOTSTRAP))
    assert all(0.92 < held[part][SEEDS] < 0.98 for part in ("seeds", "noise"))


def test_each_rule_by_its_own_formula() -> None:
    from scipy import stats

    x = rng(3).normal(0.1, 1, (4, 60)) + rng(4).normal(size=60)
    found = coverage.intervals(x, coverage.resamples_of(rng(), 4, 60, 4_000))
    c = significance.compare(x, 0 * x)
    assert tuple(found[TWO_WAY]) == pytest.approx((c.low, c.high))
    assert tuple(found[USERS]) == pytest.approx(tuple(stats.ttest_1samp(x.mean(0), 0).confidence_interval()))
    assert tuple(found[SEEDS]) == pytest.approx(tuple(stats.ttest_1samp(x.mean(1), 0).confidence_interval()))
    loop, draws = [], rng(8)
    for _ in range(4_000):
        loop.append(x[np.ix_(draws.integers(4, size=4), draws.integers(60, size=60))].mean())
    assert tuple(found[BOOTSTRAP]) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.15 * np.std(loop))
    many = coverage.intervals(np.stack([x, 2 * x]), coverage.resamples_of(rng(), 4, 60, 4_000))
    for rule in RULES:
        np.testing.assert_allclose(many[rule][:, 0], found[rule])
        np.testing.assert_allclose(many[rule][:, 1], 2 * np.asarray(found[rule]))


def test_the_tables_and_the_picture(at_hand) -> None:
    name, c = next(iter(at_hand.items()))
    table = coverage.coverage({name: c, "one seed": significance.compare(*rng().normal(size=(2, 1, 9)))}, rng(), draws=20)
    assert table["seeds"].tolist() == [3, 5] and set(table["comparison"]) == {name}, "one seed has no spread to draw from"
    assert table["share of seeds"].between(0, 1).all() and table[list(RULES)].notna().all(axis=None)
    fig = coverage.picture(table)
    assert [ax.get_title() for ax in fig.axes] == ["3 seeds", "5 seeds"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(RULES)
    np.testing.assert_allclose(fig.axes[1].lines[1].get_ydata(), table[TWO_WAY].iloc[[1]])
    plt.close("all")
    a, b = rng().normal(0.5, 1, (3, 40)), np.zeros((3, 40))
    a[:, 4] = b[:, 4] = np.nan
    older = coverage.older_rules({"x": (a, b)}, rng()).set_index("rule")
    assert list(older.index) == list(RULES) and older["effect"].nunique() == 1
    c = significance.compare(a, b)
    assert (older.loc[TWO_WAY, "low"], older.loc[TWO_WAY, "high"]) == pytest.approx((c.low, c.high))
    assert (older["excludes 0"] == ((older["low"] > 0) | (older["high"] < 0))).all()


def test_deviations_say_what_the_committed_table_has() -> None:
    """Why the critical value is not Satterthwaite's, in numbers."""
    root = Path(__file__).parents[2]
    table = pd.read_csv(root / "figures" / "tables" / "05_coverage.csv").query("seeds == 3")
    said = " ".join((root / "DEVIATIONS.md").read_text(encoding="utf-8").split())
    ranges = [f"{table[rule].min():.0%} to {table[rule].max():.0%}".replace("%", " %") for rule in (SATTERTHWAITE, TWO_WAY)]
    assert f"with them {ranges[0]} of the intervals hold the truth, with Cochran and Cox's value {ranges[1]}" in said
    assert table[TWO_WAY].min() >= 0.945 > table[SATTERTHWAITE].max()
