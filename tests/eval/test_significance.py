"""Tests and intervals against scipy, against values by hand, and on simulated data."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rdcore.eval import significance


def generator(seed=0):
    return np.random.default_rng(seed)


def simulate(difference=0.02, seeds=5, users=200, seed=1):
    """Two methods on common users: what a user is like matters most, then luck of the single run."""
    rng = generator(seed)
    base = rng.gamma(0.5, 0.2, users)
    b = base + 0.02 * rng.normal(size=(seeds, users))
    return b + difference + 0.02 * rng.normal(size=(seeds, users)), b


def test_p_values_are_scipys():
    a, b = simulate(0.004)
    found = significance.compare(a, b, rng=generator(), resamples=50)
    assert found.p_users == pytest.approx(stats.ttest_rel(a.mean(0), b.mean(0)).pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(a.mean(0), b.mean(0)).pvalue)
    assert found.p_seeds == pytest.approx(stats.ttest_rel(a.mean(1), b.mean(1)).pvalue)


def test_means_and_effect_size_by_hand():
    a, b = np.array([[3.0, 5.0, 4.0], [5.0, 7.0, 4.0]]), np.ones((2, 3))
    found = significance.compare(a, b, rng=generator(), resamples=50)
    # Differences of the users, averaged over seeds: 3, 5, 3.
    assert found.difference == pytest.approx(11 / 3)
    assert found.effect_size == pytest.approx(11 / 3 / np.std([3, 5, 3], ddof=1))
    assert found.seed_differences == pytest.approx((3, 13 / 3))
    assert (found.n_seeds, found.n_users) == (2, 3)
    assert found.mean_a - found.mean_b == pytest.approx(found.difference)


def test_users_without_a_value_are_dropped():
    a, b = simulate()
    full = significance.compare(a, b, rng=generator(), resamples=200)
    hole = np.full((5, 1), np.nan)
    holed = significance.compare(np.hstack([hole, a]), np.hstack([hole, b]), rng=generator(), resamples=200)
    assert holed == full


def test_order_of_users_and_roles_of_a_and_b():
    a, b = simulate(0.002)
    found = significance.compare(a, b, rng=generator(), resamples=2000)
    order = generator(5).permutation(a.shape[1])
    moved = significance.compare(a[:, order], b[:, order], rng=generator(), resamples=2000)
    assert moved.p_users == pytest.approx(found.p_users)
    assert moved.low == pytest.approx(found.low, abs=3e-4)
    swapped = significance.compare(b, a, rng=generator(), resamples=2000)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    assert swapped.p_users == pytest.approx(found.p_users)


def test_the_same_generator_gives_the_same_interval_whatever_the_block(monkeypatch):
    a, b = simulate()
    found = significance.compare(a, b, rng=generator(3))
    assert significance.compare(a, b, rng=generator(3)) == found
    monkeypatch.setattr(significance, "_USERS_PER_BLOCK", 7000)
    blocks = significance.compare(a, b, rng=generator(3))
    assert (blocks.low, blocks.high) == pytest.approx((found.low, found.high), abs=1e-4)


def test_draws_are_kept_only_where_they_would_be_the_same_again(monkeypatch):
    """By the generator's state, which is left as after drawing; by users, seeds and number; and not for ever."""
    monkeypatch.setattr(significance, "_kept", {})
    a, b = simulate(users=30, seeds=2)
    anew, again = generator(5), generator(5)
    first = [significance.compare(a, b, rng=anew, resamples=60) for _ in range(2)]
    assert len(significance._kept) == 2, "the second comparison went on where the first had stopped"
    assert [significance.compare(a, b, rng=again, resamples=60) for _ in range(2)] == first
    assert len(significance._kept) == 2 and again.random() == anew.random()
    significance.compare(a[:, :29], b[:, :29], rng=generator(5), resamples=60)
    significance.compare(a[:1], b[:1], rng=generator(5), resamples=60)
    significance.compare(a, b, rng=generator(5), resamples=61)
    assert len(significance._kept) == 5
    monkeypatch.setattr(significance, "_KEPT_BYTES", 30 * 60)
    assert significance.compare(a, b, rng=generator(6), resamples=60) != first[0]
    assert len(significance._kept) == 1


def test_more_draws_than_may_be_kept_are_never_held_at_once(monkeypatch):
    """The same numbers, and the generator left in the same state, from one block of 2,000 draws after the other."""
    a, b = simulate(users=400, seeds=2)
    monkeypatch.setattr(significance, "_USERS_PER_BLOCK", 2000)
    kept, streamed = generator(5), generator(5)
    wanted = significance.compare(a, b, rng=kept, resamples=5000)
    monkeypatch.setattr(significance, "_kept", {})
    monkeypatch.setattr(significance, "_KEPT_BYTES", 400 * 5000 - 1)
    tracemalloc.start()
    try:
        found = significance.compare(a, b, rng=streamed, resamples=5000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == wanted and streamed.random() == kept.random()
    assert significance._kept == {} and peak < 400 * 5000 / 2, "bytes, where all the draws are 2 MB"


def test_identical_arrays_do_not_differ():
    a, _ = simulate()
    found = significance.compare(a, a, rng=generator(), resamples=100)
    assert found.difference == found.low == found.high == found.effect_size == 0
    assert found.p_users == found.p_wilcoxon == found.p_seeds == 1
    assert significance.verdict(found) == "no"


def test_a_constant_difference_is_certain():
    _, b = simulate()
    found = significance.compare(b + 0.5, b, rng=generator(), resamples=100)
    assert found.p_users < 1e-12 and found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)


def test_one_seed_bootstraps_users_alone():
    a, b = simulate(seeds=1)
    found = significance.compare(a, b, rng=generator())
    assert np.isnan(found.p_seeds) and significance.verdict(found) == "indication"
    spread = (a - b)[0].std() / np.sqrt(a.shape[1])
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_interval_equals_a_bootstrap_written_as_a_loop():
    a, b = simulate(seeds=3, users=40)
    rng, means = generator(8), []
    for _ in range(4000):
        seeds, users = rng.integers(3, size=3), rng.integers(40, size=40)
        means.append((a - b)[np.ix_(seeds, users)].mean())
    found = significance.compare(a, b, rng=generator(9))
    spread = np.std(means)
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.025, 0.975]), atol=0.15 * spread)


def test_interval_covers_the_truth():
    """Users make most of the variance: 95 % nominal; 400 simulations have a standard error of 1.1 %."""
    rng, truth, covered = generator(4), 0.02, 0
    for _ in range(400):
        users, runs = rng.normal(size=(1, 100)), rng.normal(size=(5, 100))
        difference = truth + 0.2 * users + 0.05 * runs + 0.005 * rng.normal(size=(5, 1))
        found = significance.compare(difference, np.zeros((5, 100)), rng=rng, resamples=300)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("seed_differences", "low", "expected"),
    [
        ((0.1,) * 5, 0.01, "replicates"),
        ((0.1,) * 4, 0.01, "indication"),
        ((0.1,), 0.01, "indication"),
        ((0.1,) * 5, -0.01, "no"),
        ((0.1,) * 5, 0.0, "no"),
        ((0.1, 0.1, 0.1, 0.1, -0.1), 0.01, "no"),
        ((-0.1,) * 5, -0.2, "no"),
    ],
)
def test_verdict_needs_the_interval_and_every_seed(seed_differences, low, expected):
    found = significance.compare(*simulate(), rng=generator(), resamples=10)
    found = replace(found, seed_differences=seed_differences, n_seeds=len(seed_differences), low=low)
    assert significance.verdict(found) == expected


@pytest.mark.parametrize(
    ("seed_differences", "high", "expected"),
    [
        ((-0.1,) * 5, -0.01, "the opposite holds"),
        ((-0.1,) * 4, -0.01, "indication of the opposite"),
        ((-0.1,), -0.01, "indication of the opposite"),
        ((-0.1,) * 5, 0.01, ""),
        ((-0.1,) * 5, 0.0, ""),
        ((-0.1, -0.1, -0.1, -0.1, 0.1), -0.01, ""),
        ((0.1,) * 5, 0.2, ""),
    ],
)
def test_the_opposite_needs_as_much_as_the_verdict(seed_differences, high, expected):
    found = significance.compare(*simulate(), rng=generator(), resamples=10)
    found = replace(found, seed_differences=seed_differences, n_seeds=len(seed_differences), low=-0.3, high=high)
    assert significance.opposite(found) == expected and significance.verdict(found) == "no"


def test_the_opposite_is_the_verdict_of_the_swapped_comparison():
    a, b = simulate()
    for seeds, words in ((5, ("replicates", "the opposite holds")), (3, ("indication", "indication of the opposite"))):
        one = significance.compare(a[:seeds], b[:seeds], rng=generator(), resamples=200)
        other = significance.compare(b[:seeds], a[:seeds], rng=generator(), resamples=200)
        assert (significance.verdict(one), significance.opposite(other)) == words
        assert (significance.verdict(other), significance.opposite(one)) == ("no", "")


def test_non_inferiority_looks_at_the_lower_bound():
    found = replace(significance.compare(*simulate(), rng=generator(), resamples=10), low=-0.0019)
    assert significance.non_inferior(found, 0.002)
    assert not significance.non_inferior(found, 0.0019)
    with pytest.raises(ValueError, match="margin must be positive"):
        significance.non_inferior(found, 0)


def test_share_of_the_gap_recovered():
    teacher, student = simulate(0.1)
    halfway = (teacher + student) / 2
    found = significance.gap_recovered(teacher, student, halfway, rng=generator(), resamples=500)
    assert (found.share, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.gap_low < (teacher - student).mean() < found.gap_high
    assert found.gap == pytest.approx((teacher - student).mean())
    noisy = halfway + 0.05 * generator(2).normal(size=halfway.shape)
    found = significance.gap_recovered(teacher, student, noisy, rng=generator(), resamples=500)
    assert found.low < found.share < found.high and found.high - found.low < 0.5


def test_no_share_of_a_gap_that_may_be_none():
    teacher, student = simulate(0.0)
    found = significance.gap_recovered(teacher, student, student + 0.1, rng=generator(), resamples=500)
    assert found.gap_low <= 0 <= found.gap_high
    assert np.isnan([found.share, found.low, found.high]).all()


def test_no_share_of_a_gap_that_a_worse_teacher_leaves():
    """RD at 90 % of the way from S down to T has recovered nothing."""
    _, student = simulate()
    found = significance.gap_recovered(student - 0.10, student, student - 0.09, rng=generator(), resamples=500)
    assert found.gap_high < 0 and found.gap == pytest.approx(-0.10)
    assert np.isnan([found.share, found.low, found.high]).all()


def test_holm_by_hand():
    # Sorted: .01 x 4, .02 x 3, .03 x 2, .5 x 1, never falling.
    assert significance.holm({"c": 0.03, "a": 0.01, "d": 0.5, "b": 0.02}) == pytest.approx(
        {"c": 0.06, "a": 0.04, "d": 0.5, "b": 0.06}
    )
    assert list(significance.holm({"z": 0.2, "a": 0.1})) == ["z", "a"]
    assert significance.holm({"alone": 0.04}) == pytest.approx({"alone": 0.04})
    assert significance.holm({}) == {}
    with pytest.raises(ValueError, match="MAP"):
        significance.holm({"MAP": float("nan")})


def test_unpaired_input_is_refused():
    a, b = simulate()
    missing = a.copy()
    missing[2, 7] = np.nan
    rng = generator()
    with pytest.raises(ValueError, match="not aligned by user"):
        significance.compare(missing, b, rng=rng)
    with pytest.raises(ValueError, match="one shape"):
        significance.compare(a[:3], b, rng=rng)
    with pytest.raises(ValueError, match="one shape"):
        significance.compare(a[0], b[0], rng=rng)
    with pytest.raises(ValueError, match="at least 2 users"):
        significance.compare(a[:, :1], b[:, :1], rng=rng)
    with pytest.raises(ValueError, match="resamples"):
        significance.compare(a, b, rng=rng, resamples=0)


def test_resampled_means_are_those_behind_the_interval():
    a, b = simulate()
    found = significance.compare(a, b, rng=generator(4), resamples=300)
    means = significance.resampled(a, b, rng=generator(4), resamples=300)
    assert means.shape == (300,) and (found.low, found.high) == tuple(np.quantile(means, [0.025, 0.975]))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_smallest_significant_difference_has_just_that_p(sign):
    a, b = simulate()
    found = significance.compare(a, b, rng=generator(), resamples=50)
    enough = significance.smallest_significant(found, p=0.001)
    moved = b + (a - b) - found.difference + sign * enough  # the same spread around another mean
    assert significance.compare(moved, b, rng=generator(), resamples=50).p_users == pytest.approx(0.001)
    with pytest.raises(ValueError, match="no user differs"):
        significance.smallest_significant(significance.compare(a, a, rng=generator(), resamples=50), p=0.001)
