"""The two-way layout against a slow reference, statsmodels and scipy, values by hand, and simulated data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdcore.eval import significance
from studies.common.gap import gap_recovered


def generator(seed=0):
    return np.random.default_rng(seed)


def differences(n_seeds=5, n_users=200, sds=(0.002, 0.03, 0.06), mean=0.004, seed=1):
    """(S, U) with known spread of seeds, users and noise."""
    rng = generator(seed)
    x = mean + sds[0] * rng.normal(size=(n_seeds, 1)) + sds[1] * rng.normal(size=n_users)
    return x + sds[2] * rng.normal(size=(n_seeds, n_users))


def simulate(difference=0.02, n_seeds=5, n_users=200, seed=1):
    """Two methods on common users."""
    b = generator(seed).gamma(0.5, 0.2, n_users) + 0.02 * generator(seed + 1).normal(size=(n_seeds, n_users))
    return b + differences(n_seeds, n_users, mean=difference, seed=seed), b


def slowly(x):
    """Mean squares by their definition, one cell at a time: seeds, users, noise."""
    n_seeds, n_users = len(x), len(x[0])
    grand = sum(map(sum, x)) / (n_seeds * n_users)
    seeds = [sum(row) / n_users for row in x]
    users = [sum(x[s][u] for s in range(n_seeds)) / n_seeds for u in range(n_users)]
    seed = sum(n_users * (mean - grand) ** 2 for mean in seeds) / (n_seeds - 1)
    user = sum(n_seeds * (mean - grand) ** 2 for mean in users) / (n_users - 1)
    left = sum((x[s][u] - seeds[s] - users[u] + grand) ** 2 for s in range(n_seeds) for u in range(n_users))
    return seed, user, left / ((n_seeds - 1) * (n_users - 1))


# -------------------------------------------------------------------------------------------- the layout


def test_the_mean_squares_are_those_of_a_loop_and_of_statsmodels():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    x = differences(4, 25)
    layout = significance.two_way(x)
    squares = (layout.ms_seed, layout.ms_user, layout.ms_noise)
    assert squares == pytest.approx(slowly(x.tolist()))
    seed, user = np.indices(x.shape)
    frame = pd.DataFrame({"x": x.ravel(), "seed": seed.ravel(), "user": user.ravel()})
    table = anova_lm(ols("x ~ C(seed) + C(user)", frame).fit())
    assert squares == pytest.approx((table["sum_sq"] / table["df"]).tolist())


def by_hand(x, tail=0.025):
    """Standard error, critical value: the seeds' part with t of S - 1, the users' with t of U - 1."""
    (seed, user, noise), (n_seeds, n_users) = slowly(x.tolist()), x.shape
    parts = seed, max(user - noise, 0)
    values = stats.t.isf(tail, n_seeds - 1), stats.t.isf(tail, n_users - 1)
    critical = sum(part * value for part, value in zip(parts, values, strict=True)) / sum(parts)
    return np.sqrt(sum(parts) / (n_seeds * n_users)), critical


@pytest.mark.parametrize("sds", [(0.002, 0.03, 0.06), (0.01, 0.03, 0.06), (0.0, 0.0, 0.1), (0.0, 0.1, 0.01)])
def test_interval_and_p_by_their_formulas(sds):
    x = differences(3, 50, sds)
    c = significance.compare(x, np.zeros_like(x))
    error, critical = by_hand(x)
    seed, user, noise = slowly(x.tolist())
    assert c.layout.variance == pytest.approx(error**2) and c.layout.critical == pytest.approx(critical)
    assert (c.low, c.high) == pytest.approx((c.difference - critical * error, c.difference + critical * error))
    assert by_hand(x, c.p / 2)[1] * error == pytest.approx(abs(c.difference)), "p is the level whose interval ends at 0"
    assert c.layout.components == pytest.approx((max((seed - noise) / 50, 0), max((user - noise) / 3, 0), noise))


@pytest.mark.parametrize(("sds", "axis"), [((0, 0.03, 1e-9), 0), ((0.03, 0, 1e-9), 1)])
def test_where_one_part_makes_all_of_it_the_test_is_scipys_paired_t(sds, axis):
    """Only users differ: the paired t over users. Only seeds differ: that over seeds' means."""
    x = differences(5, 200, sds)
    c = significance.compare(x, np.zeros_like(x))
    assert c.p == pytest.approx(stats.ttest_1samp(x.mean(axis), 0).pvalue, rel=1e-3)
    low, high = stats.ttest_1samp(x.mean(axis), 0).confidence_interval(0.95)
    assert (c.low, c.high) == pytest.approx((low, high), rel=1e-4)


def test_the_components_are_found_again():
    truth = (0.01, 0.02, 0.05)
    found = [significance.two_way(differences(6, 400, truth, seed=seed)).components for seed in range(200)]
    assert np.sqrt(np.mean(found, axis=0)) == pytest.approx(truth, rel=0.06)


def test_a_users_part_below_0_counts_as_0():
    """Every seed has the other's users turned round: all means are alike, and only noise is left."""
    x = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.2]])
    seed, user, noise = slowly(x.tolist())
    assert user < noise and seed + user < noise
    layout = significance.two_way(x)
    assert layout.variance == layout.of_seeds == pytest.approx(seed / 8) and layout.of_users == 0
    assert layout.critical == pytest.approx(stats.t.isf(0.025, 1)) and layout.components[:2] == (0, 0)


def test_a_difference_far_from_0_has_a_p_that_is_a_number():
    x = 1.0 + differences(5, 200, (1e-9, 1e-6, 1e-6))
    assert 0 <= significance.compare(x, np.zeros_like(x)).p < 1e-12
    x = 1.0 + differences(2, 200, (0.0, 1e-12, 1e-12))
    assert 0 <= significance.compare(x, np.zeros_like(x)).p < 1e-6


def test_one_seed_has_an_interval_over_users_and_no_p():
    a, b = simulate(n_seeds=1)
    c = significance.compare(a, b)
    assert (c.low, c.high) == pytest.approx(stats.ttest_rel(a[0], b[0]).confidence_interval(0.95))
    assert np.isnan(c.p) and np.isnan(c.layout.components[0]) and c.n_seeds == 1


def test_no_difference_at_all_and_one_that_never_varies():
    a, b = simulate()
    same = significance.compare(a, a)
    assert same.difference == same.low == same.high == same.effect_size == 0 and same.p == 1
    certain = significance.compare(b * 0 + 0.5, b * 0)
    assert (certain.low, certain.high, certain.p) == (0.5, 0.5, 0)


def test_two_users_and_two_seeds_are_enough_for_a_number():
    c = significance.compare([[1.0, 2.0], [3.0, 5.0]], np.zeros((2, 2)))
    assert c.low < c.difference == 2.75 < c.high and 0 < c.p < 1


def test_means_and_effect_size_by_hand():
    a, b = np.array([[3.0, 5.0, 4.0], [5.0, 7.0, 4.0]]), np.ones((2, 3))
    found = significance.compare(a, b)
    assert found.difference == pytest.approx(11 / 3)  # users' differences, averaged over seeds: 3, 5, 3
    assert found.effect_size == pytest.approx(11 / 3 / np.std([3, 5, 3], ddof=1))
    assert found.seed_differences == pytest.approx((3, 13 / 3))
    assert (found.n_seeds, found.n_users) == (2, 3)
    assert found.mean_a - found.mean_b == pytest.approx(found.difference)


tables = st.integers(0, 2**32 - 1).map(lambda seed: differences(3, 7, (0.5, 1.0, 1.0), seed=seed))


@settings(deadline=None, max_examples=40)
@given(x=tables, shift=st.floats(-5, 5), scale=st.floats(0.1, 10), order=st.permutations(range(7)))
def test_shift_scale_order_and_sign(x, shift, scale, order):
    zero = np.zeros_like(x)
    c = significance.compare(x, zero)
    moved = significance.compare(x[::-1, order] * scale + shift, zero)
    assert (moved.low, moved.high) == pytest.approx((c.low * scale + shift, c.high * scale + shift), abs=1e-8)
    turned = significance.compare(zero, x)
    assert (turned.low, turned.high) == pytest.approx((-c.high, -c.low)) and turned.p == pytest.approx(c.p)
    assert (c.p < 0.05) == (c.low > 0 or c.high < 0)


# -------------------------------------------------------------------------------------------------- input


def test_users_without_a_value_are_dropped():
    a, b = simulate()
    hole = np.full((5, 1), np.nan)
    assert significance.compare(np.hstack([hole, a]), np.hstack([hole, b])) == significance.compare(a, b)


def test_unpaired_input_is_refused_and_common_users_are_taken_where_that_is_asked_for():
    a, b = simulate()
    missing = a.copy()
    missing[2, 7] = np.nan
    with pytest.raises(ValueError, match="not aligned by user"):
        significance.compare(missing, b)
    common = significance.compare(missing, b, common_users=True)
    assert common == significance.compare(np.delete(a, 7, 1), np.delete(b, 7, 1))
    with pytest.raises(ValueError, match="one shape"):
        significance.compare(a[:3], b)
    with pytest.raises(ValueError, match="one shape"):
        significance.compare(a[0], b[0])
    with pytest.raises(ValueError, match="at least 2 users"):
        significance.compare(a[:, :1], b[:, :1])


# ---------------------------------------------------------------------------------------- share of the gap


def test_share_of_the_gap_recovered():
    teacher, student = simulate(0.1)
    halfway = (teacher + student) / 2
    found = gap_recovered(teacher, student, halfway)
    assert (found.share, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)
    assert found.gap_low < (teacher - student).mean() < found.gap_high
    assert found.gap == pytest.approx((teacher - student).mean())


def test_a_share_lies_in_its_own_interval_where_users_have_no_part_in_the_variance():
    """Each seed finds the items of other users: in means over seeds users are more alike than chance makes them."""
    users, seeds = np.arange(300), np.arange(5)[:, None]
    teacher, student = (((users + seeds) % 10 < n).astype(float) for n in (5, 4))  # (5, 300)
    found = gap_recovered(teacher, 0 * teacher, student)
    assert found.share == pytest.approx(0.8) and found.low <= found.share <= found.high


def test_the_shares_inside_fiellers_interval_are_those_that_are_not_rejected():
    """At its ends RD - S - r (T - S) lies just as far from 0 as t allows."""
    teacher, student = simulate(0.1)
    distilled = (teacher + student) / 2 + differences(5, 200, (0.01, 0.02, 0.05), 0.0, seed=9)
    found = gap_recovered(teacher, student, distilled)
    assert found.low < found.share < found.high
    gain, gap = distilled - student, teacher - student
    t = max(significance.two_way(gain - found.share * gap).critical, significance.two_way(gap).critical)
    for end in (found.low, found.high):
        rest = gain - end * gap
        assert abs(rest.mean()) == pytest.approx(t * np.sqrt(significance.two_way(rest).variance))


def test_no_share_of_a_gap_that_may_be_none_or_that_a_worse_teacher_leaves():
    teacher, student = simulate(0.0)
    for better, worse in ((teacher, student), (student, teacher)):  # by chance the one mean lies above 0, the other below
        found = gap_recovered(better, worse, worse + 0.1)
        assert found.gap_low <= 0 <= found.gap_high
        assert np.isnan([found.share, found.low, found.high]).all()
    found = gap_recovered(student - 0.10, student, student - 0.09)
    assert found.gap_high < 0 and np.isnan([found.share, found.low, found.high]).all()


def test_a_share_of_runs_that_are_not_aligned_by_user_is_refused():
    teacher, student = simulate(0.1)
    teacher[0, 3] = np.nan
    with pytest.raises(ValueError, match="not aligned by user"):
        gap_recovered(teacher, student, student)
