"""The words of a verdict, the seeds that a claim needs against simulated studies, Holm against statsmodels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rdcore.eval import significance
from studies.common import verdicts


def made(low: float, high: float, n_seeds: int = 5) -> significance.Comparison:
    """A comparison with this interval, the difference in its middle."""
    x = np.random.default_rng(0).normal(size=(max(n_seeds, 1), 30))
    c = significance.compare(x, np.zeros_like(x))
    return replace(c, n_seeds=n_seeds, difference=(low + high) / 2, low=low, high=high)


# low, high, reported -> the word with five seeds
WORDS = [
    (0.2, 0.6, 0.5, "confirmed"),  # excludes 0, contains d
    (0.3, 0.5, 0.7, "confirmed"),  # excludes 0 and d, but ours is more than half of d
    (0.6, 0.8, 0.5, "confirmed"),  # larger than reported
    (0.1, 0.3, 0.5, "confirmed, smaller"),  # .2 is less than half of .5
    (0.1, 0.4, 0.5, "confirmed"),  # just half
    (-0.1, 0.4, 0.5, "reported size excluded, sign open"),
    (-0.1, 0.6, 0.5, "inconclusive"),
    (-0.1, 0.5, 0.5, "inconclusive"),  # an end at d does not exclude it
    (-0.3, -0.1, 0.5, "contradicted"),
    (0.0, 0.6, 0.5, "inconclusive"),  # an end at 0 does not exclude it
    (-0.6, 0.0, 0.5, "reported size excluded, sign open"),
    (0.1, 0.3, float("nan"), "confirmed"),  # nothing is reported
    (-0.1, 0.3, float("nan"), "inconclusive"),
    (-0.3, -0.1, float("nan"), "contradicted"),
    (-0.4, 0.4, 0.5, "reported size excluded, sign open"),  # a mean difference of 0 is no identity: users differ
]


@pytest.mark.parametrize(("low", "high", "reported", "word"), WORDS)
def test_every_case_of_the_rule(low, high, reported, word):
    assert verdicts.verdict(made(low, high), reported) == word
    assert verdicts.verdict(made(low, high, 4), reported) == f"provisional {word}"
    assert verdicts.verdict(made(low, high, 3), reported) == f"provisional {word}"
    assert verdicts.verdict(made(low, high, 2), reported) == "not assessable"
    assert verdicts.verdict(made(low, high, 1), reported) == "provisional"
    assert word in verdicts.VERDICTS


def test_seeds_that_disagree_are_no_rule():
    c = replace(made(0.2, 0.6), seed_differences=(-0.1, 0.5, 0.6, 0.5, 0.5))
    assert verdicts.verdict(c, 0.5) == "confirmed"


@pytest.mark.parametrize("reported", [0.0, -0.5])
def test_a_claimed_effect_is_above_0(reported):
    """Else two losses of one size would be called a contradiction."""
    with pytest.raises(ValueError, match="must be above 0"):
        verdicts.verdict(made(-0.6, -0.2), reported)


def test_two_runs_of_the_same_are_not_assessable():
    x = np.ones((5, 10))
    assert verdicts.verdict(significance.compare(x, x), 0.5) == "not assessable"
    assert verdicts.verdict(significance.compare(x, 0 * x), 0.5) == "confirmed"  # a gain, though the same for all


def test_holms_correction_takes_back_what_decides_and_nothing_else():
    """Significant is below .05; a p that is not known takes nothing back."""
    decided = {"confirmed", "confirmed, smaller", "contradicted"}
    for word in verdicts.VERDICTS:
        for before in ("", "provisional "):
            found = [verdicts.taken_back(before + word, p) for p in (0.049, 0.05, 0.9, float("nan"))]
            assert found == [False, word in decided, word in decided, False]


@pytest.mark.parametrize(
    ("low", "high", "margin", "word"),
    [
        (-0.10, 0.3, 0.2, "confirmed"),
        (-0.20, 0.3, 0.2, "inconclusive"),  # a bound at the margin is not above it
        (-0.30, 0.3, 0.2, "inconclusive"),
        (-0.50, -0.3, 0.2, "contradicted"),
        (-0.50, -0.2, 0.2, "inconclusive"),  # nor is it below
        (-0.30, -0.1, 0.2, "inconclusive"),  # worse, and by how much is open
        (-0.15, -0.1, 0.2, "confirmed"),  # worse, but by less than the margin
        (-0.10, 0.3, float("nan"), "not assessable"),
    ],
)
def test_no_worse_looks_at_the_margin(low, high, margin, word):
    assert verdicts.no_worse(made(low, high), margin) == word
    of_three = word if word == "not assessable" else f"provisional {word}"
    assert verdicts.no_worse(made(low, high, 3), margin) == of_three
    assert verdicts.no_worse(made(low, high, 1), margin) == "provisional"


def test_the_margin_is_half_the_smaller_of_the_papers_gap_and_our_lower_bound():
    assert verdicts.margin(0.4, 0.6) == 0.2 and verdicts.margin(0.4, 0.1) == 0.05
    assert np.isnan(verdicts.margin(0.4, 0.0)) and np.isnan(verdicts.margin(0.4, -0.1))
    with pytest.raises(ValueError, match="above 0"):
        verdicts.no_worse(made(-0.1, 0.1), 0.0)


# --------------------------------------------------------------------------------------- seeds needed


def comparison(sds=(0.001, 0.02, 0.05), n_seeds=5, n_users=2_000):
    rng = np.random.default_rng(3)
    x = sds[0] * rng.normal(size=(n_seeds, 1)) + sds[1] * rng.normal(size=n_users)
    x = x + sds[2] * rng.normal(size=(n_seeds, n_users))
    return significance.compare(x, np.zeros_like(x))


def power(components, n_users: int, n_seeds: int, effect: float, draws: int = 20_000) -> float:
    """Share of simulated studies that find the effect, from mean squares drawn by their definition."""
    rng = np.random.default_rng(0)
    seed, user, noise = components
    expected = (noise + n_users * seed, noise + n_seeds * user, noise)
    dfs = (n_seeds - 1, n_users - 1, (n_seeds - 1) * (n_users - 1))
    squares = [e * rng.chisquare(df, draws) / df for e, df in zip(expected, dfs, strict=True)]
    parts = significance.of_the_mean(*squares, n_seeds, n_users)
    critical = significance.critical(*parts, n_seeds, n_users)
    truth = np.sqrt((expected[0] + expected[1] - noise) / (n_seeds * n_users))
    mean = effect + truth * rng.standard_normal(draws)
    return float((mean - critical * np.sqrt(sum(parts)) > 0).mean())


@pytest.mark.parametrize("effect", [0.0015, 0.002, 0.003])
def test_so_many_seeds_find_the_effect_in_80_of_100_studies_and_one_fewer_do_not(effect):
    c = comparison()
    needed = verdicts.seeds_needed(c, effect)
    assert 2 < needed < 100
    assert power(c.layout.components, c.n_users, needed, effect) == pytest.approx(0.8, abs=0.06)
    assert power(c.layout.components, c.n_users, needed, effect) > 0.77
    assert power(c.layout.components, c.n_users, needed - 1, effect) < 0.8


@pytest.mark.parametrize("sds", [(0.001, 0.02, 0.05), (0.0, 0.05, 0.02), (0.003, 0.0, 0.05)])
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_power_is_the_share_of_simulated_studies_that_find_the_effect(sds, n_seeds):
    c = comparison(sds, n_seeds)
    shares = []
    for times in (0.5, 2, 3, 4):  # standard errors
        effect = times * np.sqrt(c.layout.variance)
        shares.append(verdicts.power(c, effect))
        assert shares[-1] == pytest.approx(power(c.layout.components, c.n_users, n_seeds, effect), abs=0.05)
    assert shares == sorted(shares) and shares[0] < 0.2 and shares[-1] > 0.5


@pytest.mark.parametrize(("n_seeds", "n_users"), [(5, 6), (3, 8)])
def test_power_knows_that_the_spread_of_few_users_is_known_badly(n_seeds, n_users):
    c = comparison((0.0, 0.05, 0.02), n_seeds, n_users)
    for times in (2, 3, 4):  # standard errors
        effect = times * np.sqrt(c.layout.variance)
        simulated = power(c.layout.components, n_users, n_seeds, effect)
        assert verdicts.power(c, effect) == pytest.approx(simulated, abs=0.015)


def test_power_belongs_to_the_seeds_needed_and_is_not_known_of_one_seed_or_no_effect():
    c = comparison(n_seeds=5)
    for effect in (0.0015, 0.002, 0.003):
        assert (verdicts.power(c, effect) >= verdicts.POWER) == (verdicts.seeds_needed(c, effect) <= 5)
        assert verdicts.power(c, -effect) == verdicts.power(c, effect)
    assert np.isnan(verdicts.power(comparison(n_seeds=1), 0.002))
    assert np.isnan(verdicts.power(c, 0.0)) and np.isnan(verdicts.power(c, float("nan")))


def test_a_larger_effect_needs_fewer_seeds_and_too_few_users_are_said():
    c = comparison()
    needed = [verdicts.seeds_needed(c, effect) for effect in (0.0015, 0.003, 0.01, 1.0)]
    assert needed == sorted(needed, reverse=True) and needed[-1] == 2
    assert verdicts.seeds_needed(c, 0.0001) is None, "users alone leave more than that"
    assert verdicts.seeds_needed(c, -0.003) == verdicts.seeds_needed(c, 0.003)
    assert verdicts.seeds_needed(c, float("nan")) is None and verdicts.seeds_needed(c, 0.0) is None
    x = np.random.default_rng(0).normal(size=(1, 20))
    assert verdicts.seeds_needed(significance.compare(x, 0 * x), 1.0) is None, "one seed does not know their spread"
    x = np.ones((5, 10))
    assert verdicts.seeds_needed(significance.compare(x, x), 0.1) == 2, "nothing varies"


# ------------------------------------------------------------------------------------------------ Holm


def test_holm_by_hand_and_by_statsmodels():
    from statsmodels.stats.multitest import multipletests

    # Sorted: .01 x 4, .02 x 3, .03 x 2, .5 x 1, never falling.
    p = {"c": 0.03, "a": 0.01, "d": 0.5, "b": 0.02}
    assert verdicts.holm(p) == pytest.approx({"c": 0.06, "a": 0.04, "d": 0.5, "b": 0.06})
    assert list(verdicts.holm({"z": 0.2, "a": 0.1})) == ["z", "a"] and verdicts.holm({}) == {}
    assert verdicts.holm({"a": 0.0, "b": 1.0}) == {"a": 0.0, "b": 1.0}, "as of two equal runs, or of a gain without any spread"
    many = dict(enumerate(np.random.default_rng(0).random(40) ** 3))
    theirs = multipletests(list(many.values()), method="holm")[1]
    assert list(verdicts.holm(many).values()) == pytest.approx(theirs.tolist())


def test_holm_counts_tests_that_have_not_run():
    nan = float("nan")
    found = verdicts.holm({"a": 0.01, "b": nan, "c": 0.02, "d": nan})
    assert found["a"] == pytest.approx(0.04) and found["c"] == pytest.approx(0.06)
    assert np.isnan(found["b"]) and np.isnan(found["d"])
    with pytest.raises(ValueError, match="MAP"):
        verdicts.holm({"MAP": 1.2})
