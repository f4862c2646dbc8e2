"""Is method a better than method b? Differences of two methods with intervals and p-values.

Inputs are per-user metrics of several seeds, arrays (seeds, users): row s of `a` and row s of `b` are runs of one seed,
column u is the same user everywhere.

Users and seeds are both random: another sample of users, or another training run, gives another number. The difference
x[s, u] = a - b is therefore analysed as a two-way random layout without replication (Searle, Casella & McCulloch, Variance
Components, 1992):

    x[s, u] = mean + seed[s] + user[u] + noise[s, u]
    variance of the mean = MS_seed / (S U) + (MS_user - MS_noise) / (S U)

The first part is known from S - 1 degrees of freedom, the second (at least 0) from U - 1. The critical value is the mean of
Student's t for the two, weighted by the parts (Cochran & Cox, Experimental Designs, 1957). Satterthwaite's degrees of freedom,
the usual choice, are too many for three seeds: `studies.common.coverage` simulates how often intervals hold the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

LEVEL = 0.95
LEAST_P = 1e-100  # what is smaller counts as 0


@dataclass(frozen=True)
class Layout:
    """Mean squares of a two-way random layout, what they say of the spread, and of the mean's uncertainty."""

    n_seeds: int
    n_users: int
    ms_seed: float
    """Mean square of the seeds' means; NaN with one seed."""
    ms_user: float
    """Mean square of the users' means."""
    ms_noise: float
    """Mean square of what is left; NaN with one seed."""
    of_seeds: float
    """The seeds' part of the mean's variance; 0 with one seed."""
    of_users: float
    """The users' part; with one seed all that is known."""

    @property
    def variance(self) -> float:
        """Of the mean over seeds and users."""
        return self.of_seeds + self.of_users

    @property
    def critical(self) -> float:
        """How many standard errors the 95 % interval reaches to each side; 0 where nothing varies."""
        return float(critical(self.of_seeds, self.of_users, self.n_seeds, self.n_users)) if self.variance else 0.0

    @property
    def components(self) -> tuple[float, float, float]:
        """Variances of seeds, of users and of noise, estimates below 0 put at 0; NaN with one seed."""
        seed = (self.ms_seed - self.ms_noise) / self.n_users
        user = (self.ms_user - self.ms_noise) / self.n_seeds
        return tuple(part if np.isnan(part) else max(part, 0.0) for part in (seed, user, self.ms_noise))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """a - b on one metric, as `compare` returns it."""

    n_seeds: int
    n_users: int
    """Users with a value in every run."""
    mean_a: float
    mean_b: float
    difference: float
    """mean_a - mean_b."""
    low: float
    """Lower end of the 95 % interval of the difference; alone it is a lower 97.5 % bound."""
    high: float
    p: float
    """Two-sided, of "no difference", from the same layout; NaN with one seed."""
    effect_size: float
    """Cohen's d_z: mean / standard deviation of the users' differences, seeds averaged."""
    seed_differences: tuple[float, ...]
    """a - b seed by seed."""
    layout: Layout


# -------------------------------------------------------------------------------------------- intervals


def two_way(x: ArrayLike) -> Layout:
    """The two-way random layout of differences ``x`` (seeds, users), without NaN; of one seed that of the users alone."""
    x = np.asarray(x, dtype=np.float64)  # (S, U)
    n_seeds, n_users = x.shape
    if n_seeds == 1:
        squares, parts = (np.nan, x[0].var(ddof=1), np.nan), (0.0, x[0].var(ddof=1) / n_users)
    else:
        squares = mean_squares(x)
        parts = of_the_mean(*squares, n_seeds, n_users)
    return Layout(n_seeds, n_users, *map(float, (*squares, *parts)))


def mean_squares(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares of seeds, users and noise of x (..., S, U), at least two of each: each (...)."""
    n_seeds, n_users = x.shape[-2:]
    by_seed, by_user = x.mean(-1), x.mean(-2)
    noise = x - by_seed[..., None] - by_user[..., None, :] + x.mean((-2, -1))[..., None, None]  # (..., S, U)
    return (
        n_users * by_seed.var(-1, ddof=1),
        n_seeds * by_user.var(-1, ddof=1),
        (noise**2).sum((-2, -1)) / ((n_seeds - 1) * (n_users - 1)),
    )


def of_the_mean(seed: ArrayLike, user: ArrayLike, noise: ArrayLike, n_seeds: int, n_users: int) -> tuple:
    """The seeds' and the users' part of the variance of the mean, from the mean squares."""
    return seed / (n_seeds * n_users), np.maximum(user - noise, 0.0) / (n_seeds * n_users)


def critical(of_seeds: ArrayLike, of_users: ArrayLike, n_seeds: ArrayLike, n_users: int, tail: float = (1 - LEVEL) / 2):
    """Cochran and Cox's critical value of a mean whose variance has these two parts, not both 0. tail: the probability
    beyond it."""
    weight = of_seeds / (of_seeds + of_users)
    return weight * stats.t.isf(tail, np.maximum(n_seeds - 1, 1)) + (1 - weight) * stats.t.isf(tail, n_users - 1)


def compare(a: ArrayLike, b: ArrayLike, *, common_users: bool = False) -> Comparison:
    """The difference a - b of two methods on one metric, with its 95 % interval and p. With one seed the interval is over
    users alone, says nothing about other seeds, and p is NaN.

    Args:
        a, b: (seeds, users), paired in both directions; NaN where a user has no value.
        common_users: users that some runs have a value for and others have not are left out. Without it
            they are an error, because arrays that are not aligned look like that.
    """
    a, b = paired(a, b, common_users=common_users)
    layout = two_way(a - b)
    difference = float((a - b).mean())
    low, high = interval(difference, layout)
    of_users = (a - b).mean(0)
    with np.errstate(divide="ignore"):
        effect_size = float(of_users.mean() / of_users.std(ddof=1)) if of_users.any() else 0.0
    return Comparison(
        n_seeds=layout.n_seeds, n_users=layout.n_users, mean_a=float(a.mean()), mean_b=float(b.mean()),
        difference=difference, low=low, high=high, p=_p(difference, layout), effect_size=effect_size,
        seed_differences=tuple((a - b).mean(1).tolist()), layout=layout,
    )  # fmt: skip


def interval(mean: float, layout: Layout) -> tuple[float, float]:
    reach = layout.critical * np.sqrt(layout.variance)
    return float(mean - reach), float(mean + reach)


def _p(mean: float, layout: Layout) -> float:
    """The p whose critical value is the mean in standard errors: below .05 just where the interval excludes 0."""
    if layout.n_seeds == 1:
        return float("nan")
    if not layout.variance:
        return 1.0 if mean == 0 else 0.0
    t, parts = abs(mean) / np.sqrt(layout.variance), (layout.of_seeds, layout.of_users, layout.n_seeds, layout.n_users)

    def beyond(exponent: float) -> float:
        return float(critical(*parts, np.exp(exponent) / 2)) - t

    least = np.log(LEAST_P)
    return 0.0 if beyond(least) < 0 else float(np.exp(optimize.brentq(beyond, least, 0.0, xtol=1e-12)))


def paired(*arrays: ArrayLike, common_users: bool = False) -> list[np.ndarray]:
    """float64 arrays of one shape (seeds, users) without the users that have no value."""
    tables = [np.asarray(array, dtype=np.float64) for array in arrays]
    shapes = [table.shape for table in tables]
    if len(shapes[0]) != 2 or len(set(shapes)) != 1:
        raise ValueError(f"expected arrays of one shape (seeds, users), got {shapes}")
    absent = np.array([np.isnan(row) for table in tables for row in table])  # (runs, users)
    if not common_users and (absent != absent[0]).any():
        raise ValueError("the missing users differ between runs: the arrays are not aligned by user. If they are, and some "
                         "runs lack users, ask for common_users=True")  # fmt: skip
    kept = ~absent.any(0)
    if kept.sum() < 2:
        raise ValueError(f"a comparison needs at least 2 users with values, got {int(kept.sum())}")
    return [table[:, kept] for table in tables]
