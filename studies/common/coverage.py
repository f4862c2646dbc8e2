"""How often does a 95 % interval hold the truth? The two-way layout and other rules, those used before it among them.

The spread of seeds, users and noise is taken from comparisons that were made, data are drawn with
just that spread around a known difference, and each rule gives its interval. A rule that is right
covers the difference in 95 of 100 draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from rdcore.eval import significance
from rdcore.eval.significance import LEVEL, Comparison
from studies.common.style import BLACK, BLUE, GREY, ORANGE, RED

TWO_WAY, SATTERTHWAITE = "two-way layout", "two-way layout, Satterthwaite"
BOOTSTRAP, USERS, SEEDS = "bootstrap over users and seeds", "paired t over users", "paired t over seeds"
RULES = (TWO_WAY, SATTERTHWAITE, BOOTSTRAP, USERS, SEEDS)
SIMULATED_USERS = 300  # instead of thousands: only the parts of the variance matter, and they are kept
TAIL = (1 - LEVEL) / 2
BLOCK = 250  # draws held at once


def intervals(x: np.ndarray, draws: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """rule -> ends of the 95 % interval of the mean of differences x (..., seeds, users): (2, ...).

    draws: the resamples of the bootstrap, from `resamples_of`.
    """
    n_seeds, n_users = x.shape[-2:]
    squares = significance.mean_squares(x)
    mean, (seed, user, _) = x.mean((-2, -1)), squares
    seeds, users = draws
    means = np.einsum("...sr,rs->...r", x @ users.T, seeds) / (n_seeds * n_users)  # (..., resamples)
    return {
        **_of_squares(mean, squares, n_seeds, n_users),
        BOOTSTRAP: np.quantile(means, [TAIL, 1 - TAIL], axis=-1),
        USERS: _t(mean, user / (n_seeds * n_users), n_users - 1),
        SEEDS: _t(mean, seed / (n_seeds * n_users), n_seeds - 1),
    }


def resamples_of(rng: np.random.Generator, n_seeds: int, n_users: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each resample draws each seed and each user: (resamples, seeds), (resamples, users)."""
    return tuple(rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float) for n in (n_seeds, n_users))


def _of_squares(mean: np.ndarray, squares: Sequence[np.ndarray], n_seeds: int, n_users: int) -> dict[str, np.ndarray]:
    """Of the two rules that need nothing but mean squares: rule -> ends (2, ...)."""
    parts = significance.of_the_mean(*squares, n_seeds, n_users)
    return {
        TWO_WAY: _reach(mean, sum(parts), significance.critical(*parts, n_seeds, n_users)),
        SATTERTHWAITE: _t(mean, *satterthwaite(*squares, n_seeds, n_users)),
    }


def satterthwaite(seed: np.ndarray, user: np.ndarray, noise: np.ndarray, n_seeds: int, n_users: int) -> tuple:
    """The variance of the mean and Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946), from the mean squares;
    where their combination is not above 0, the larger of the two one-way variances with its own degrees of freedom."""
    total = seed + user - noise
    parts = seed**2 / (n_seeds - 1) + user**2 / (n_users - 1) + noise**2 / ((n_seeds - 1) * (n_users - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(total > 0, total**2 / parts, np.where(seed >= user, n_seeds - 1, n_users - 1))
    return np.where(total > 0, total, np.maximum(seed, user)) / (n_seeds * n_users), df


def _t(mean: np.ndarray, variance: np.ndarray, df: np.ndarray) -> np.ndarray:
    return _reach(mean, variance, stats.t.isf(TAIL, df))


def _reach(mean: np.ndarray, variance: np.ndarray, critical: np.ndarray) -> np.ndarray:
    reach = critical * np.sqrt(variance)
    return np.stack([mean - reach, mean + reach])


def simulate(
    components: tuple[float, float, float], n_seeds: int, n_users: int, rng: np.random.Generator, *,
    draws: int = 1_000, resamples: int = 300,
) -> dict[str, float]:  # fmt: skip
    """rule -> share of ``draws`` whose interval holds the true difference.

    components: variances of seeds, users and noise (`Layout.components`). More than `SIMULATED_USERS` users are
    drawn as so many, with a spread that is smaller by as much: each part of the variance of the mean is what
    it was.
    """
    fewer = min(SIMULATED_USERS, n_users)
    seed, user, noise = np.sqrt(np.multiply(components, [1, fewer / n_users, fewer / n_users]))
    resampled = resamples_of(rng, n_seeds, fewer, resamples)
    held = dict.fromkeys(RULES, 0)
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        x = noise * rng.standard_normal((size, n_seeds, fewer))  # (draws, S, U), true difference 0
        x += seed * rng.standard_normal((size, n_seeds, 1)) + user * rng.standard_normal((size, 1, fewer))
        for rule, (low, high) in intervals(x, resampled).items():
            held[rule] += int(((low <= 0) & (high >= 0)).sum())
    return {rule: count / draws for rule, count in held.items()}


def of_the_layout(
    components: tuple[float, float, float], n_seeds: int, n_users: int, rng: np.random.Generator, draws: int = 100_000
) -> dict[str, float]:
    """Rule -> share of ``draws`` whose interval holds the true difference, of the two that need nothing but mean squares,
    which are drawn themselves.

    In normal data they are independent multiples of chi-squared numbers, and independent of the mean: much
    faster than `simulate`, and as many users as there are.
    """
    seed, user, noise = components
    expected = (noise + n_users * seed, noise + n_seeds * user, noise)
    dfs = (n_seeds - 1, n_users - 1, (n_seeds - 1) * (n_users - 1))
    squares = [value * rng.chisquare(df, draws) / df for value, df in zip(expected, dfs, strict=True)]
    spread = np.sqrt((expected[0] + expected[1] - noise) / (n_seeds * n_users))
    made = _of_squares(spread * rng.standard_normal(draws), squares, n_seeds, n_users)
    return {rule: float(((low <= 0) & (high >= 0)).mean()) for rule, (low, high) in made.items()}


def coverage(
    comparisons: Mapping[str, Comparison], rng: np.random.Generator, *, seeds: tuple[int, ...] = (3, 5), draws: int = 1_000
) -> pd.DataFrame:
    """One row per comparison (of at least two seeds) and number of seeds: what each rule covers, and which share of the
    variance of the mean comes from seeds."""
    rows = []
    for name, c in comparisons.items():
        if c.n_seeds < 2:
            continue
        for n in seeds:
            seed, user, noise = components = c.layout.components
            parts = seed / n, user / c.n_users, noise / (n * c.n_users)
            row = {"comparison": name, "seeds": n, "share of seeds": parts[0] / sum(parts) if sum(parts) else np.nan}
            held = simulate(components, n, c.n_users, rng, draws=draws)
            rows.append(row | held | of_the_layout(components, n, c.n_users, rng))
    return pd.DataFrame(rows, columns=["comparison", "seeds", "share of seeds", *RULES])


def older_rules(arrays: Mapping[str, tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> pd.DataFrame:
    """name -> (a, b), each (seeds, users), at least two seeds: a row for each rule with its interval of a - b."""
    rows = []
    for name, (a, b) in arrays.items():
        x = np.asarray(a) - np.asarray(b)
        x = x[:, ~np.isnan(x[0])]
        for rule, (low, high) in intervals(x, resamples_of(rng, *x.shape, 2_000)).items():
            rows.append([name, rule, x.mean(), float(low), float(high), bool(low > 0 or high < 0)])
    return pd.DataFrame(rows, columns=["comparison", "rule", "effect", "low", "high", "excludes 0"])


def picture(table: pd.DataFrame) -> Figure:
    """What each rule covers (`coverage`), a mark a comparison, over the share of the variance that comes from seeds."""
    numbers = list(dict.fromkeys(table["seeds"]))
    fig, axes = plt.subplots(1, len(numbers), figsize=(4.6 * len(numbers), 3.8), sharey=True, squeeze=False)
    looks = zip(RULES, (BLUE, BLACK, RED, ORANGE, GREY), "oDs^x", strict=True)
    looks = {rule: (colour, marker) for rule, colour, marker in looks}
    for ax, n in zip(axes[0], numbers, strict=True):
        part = table[table["seeds"] == n]
        ax.axhspan(0.93, 0.97, color=GREY, alpha=0.2, linewidth=0)
        ax.axhline(LEVEL, color="black", linewidth=1)
        for rule, (colour, marker) in looks.items():
            ax.plot(part["share of seeds"], part[rule], marker, color=colour, label=rule, linestyle="none")
        ax.set(title=f"{n} seeds", xlabel="share of the variance that comes from seeds", xlim=(-0.04, 1.04))
    axes[0, 0].set(ylabel="intervals that hold the truth", ylim=(min(0.5, table[list(RULES)].min().min()) - 0.02, 1.01))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig
