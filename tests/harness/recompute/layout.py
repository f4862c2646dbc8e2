"""Student's t, the two-way random layout, Fieller's interval, power, Holm's correction and the words of a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

MOST_SEEDS = 1_000  # how far the number of needed seeds is looked for


def beta_tail(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, from its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_tail(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    value, up, down, tiny = 1.0, 1.0, 0.0, 1e-300
    for step in range(4_000):
        m = step // 2
        if step == 0:
            part = 1.0
        elif step % 2 == 0:
            part = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            part = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        down = 1 / (1 + part * down or tiny)
        up = 1 + part / up or tiny
        value *= up * down
        if abs(up * down - 1) < 1e-14 and step > 2:
            break
    return front * (value - 1)


def two_sided(t: float, df: float) -> float:
    """P(|T| > t) of Student's t."""
    return beta_tail(df / (df + t * t), df / 2, 0.5)


def root(falls: Callable[[float], float], low: float, step: float) -> float:
    """Where a falling function is 0, from above 0 at ``low``: steps that double, then secants. The value at an end that
    stays is halved, so that none stays for long."""
    f_low, high = falls(low), low + step
    while (f_high := falls(high)) > 0:
        low, f_low, step = high, f_high, 2 * step
        high += step
    middle, moved = low, 0
    for _ in range(100):
        before, middle = middle, high - f_high * (high - low) / (f_high - f_low)
        f = falls(middle)
        if abs(middle - before) < 1e-12 or f == 0:
            break
        if f > 0:
            low, f_low, f_high = middle, f, f_high / (2 if moved > 0 else 1)
        else:
            high, f_high, f_low = middle, f, f_low / (2 if moved < 0 else 1)
        moved = 1 if f > 0 else -1
    return middle


@lru_cache(maxsize=100_000)
def critical(df: float, level: float = 0.05) -> float:
    """What |T| exceeds with the probability ``level``."""
    return math.exp(root(lambda x: math.log(max(two_sided(math.exp(x), df), 1e-320) / level), -3.0, 1.0))


def layout(x: np.ndarray) -> tuple[float, float, Callable[[float], float], tuple[float, float, float]]:
    """Mean of (seeds, users), its variance, its critical value at a level, and the variances of seeds, users and noise.

    The critical value is that of t with seeds - 1 and that of t with users - 1 degrees of freedom, weighted by the seeds' and
    the users' part of the variance. With one seed there are users alone.
    """
    seeds, users = x.shape
    mean, size, spread = x.mean(), x.size, (math.nan,) * 3
    parts = [(x[0].var(ddof=1) / users, users - 1)]  # of the variance, with their degrees of freedom
    if seeds > 1:
        of_seeds, of_users, noise = squares(x)
        parts = [(of_seeds / size, seeds - 1), (max(of_users - noise, 0.0) / size, users - 1)]
        spread = max(of_seeds - noise, 0.0) / users, max(of_users - noise, 0.0) / seeds, noise
    variance = sum(part for part, _ in parts)

    def between(level: float) -> float:
        return sum(part / variance * critical(df, level) for part, df in parts) if variance else 0.0

    return mean, variance, between, spread


def squares(x: np.ndarray) -> tuple:
    """Mean squares of seeds, users and noise of (..., seeds, users)."""
    seeds, users = x.shape[-2:]
    rows, columns = x.mean(-1, keepdims=True), x.mean(-2, keepdims=True)
    mean = rows.mean(-2, keepdims=True)
    of_seeds = users * ((rows - mean) ** 2).sum((-2, -1)) / (seeds - 1)
    of_users = seeds * ((columns - mean) ** 2).sum((-2, -1)) / (users - 1)
    noise = ((x - rows - columns + mean) ** 2).sum((-2, -1)) / (seeds - 1) / (users - 1)
    return of_seeds, of_users, noise


def compare(a: np.ndarray, b: np.ndarray) -> dict:
    """Difference of (seeds, users), its 95 % interval, and p: the level at which the interval ends at 0."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    there = ~np.isnan(a - b).any(0)
    x = (a - b)[:, there]
    seeds, users = x.shape
    mean, variance, between, spread = layout(x)
    reach, p, of_users = between(0.05) * math.sqrt(variance), math.nan, x.mean(0)
    if seeds > 1 and variance:
        t = abs(mean) / math.sqrt(variance)
        p = 10 ** -root(lambda power: t - between(10**-power), 0.0, 1.0) if t else 1.0
    elif seeds > 1:
        p = float(mean == 0)
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "p": p, "seeds": seeds, "users": users,
            "effect_size": of_users.mean() / of_users.std(ddof=1) if of_users.any() else 0.0,
            "relative": mean / b[:, there].mean(), "spread": spread, "equal": mean == 0 and not variance}  # fmt: skip


def share_of(gain: np.ndarray, gap: np.ndarray) -> tuple[float, float, float]:
    """mean(gain) / mean(gap) of (seeds, users) and the ends of Fieller's interval: the shares r at which the mean of
    gain - r gap is t standard errors from 0. NaN where the interval of the gap does not lie above 0."""
    lead, spread, between, _ = layout(gap)
    if lead - between(0.05) * math.sqrt(spread) <= 0:
        return math.nan, math.nan, math.nan
    share = gain.mean() / lead
    t = max(between(0.05), layout(gain - share * gap)[2](0.05))
    both = (layout(gain + gap)[1] - layout(gain - gap)[1]) / 4  # covariance
    a, half, c = lead**2 - t**2 * spread, lead * gain.mean() - t**2 * both, gain.mean() ** 2 - t**2 * layout(gain)[1]
    if a <= 0:
        return share, -math.inf, math.inf
    inner = math.sqrt(max(half**2 - a * c, 0.0))
    return share, (half - inner) / a, (half + inner) / a


# ------------------------------------------------------------------------------------------------- power


def beyond(t: float, df: float, shift: float) -> float:
    """P(T > t) of the noncentral t: the normal part over all standard errors w, whose density is that of chi."""
    width = 10 / math.sqrt(2 * df)
    x = np.linspace(-max(45 / df, width), math.log1p(width), 4_001)  # log w
    weight = df * x - df * np.exp(2 * x) / 2
    weight = np.exp(weight - weight.max())
    normal = np.array([math.erfc((t * w - shift) / math.sqrt(2)) / 2 for w in np.exp(x)])
    return float((weight * normal).sum() / weight.sum())


def power(c: Mapping, effect: float, seeds: int | None = None) -> float:
    """The share of studies with so many seeds (by default its own) and users that find an effect, on its own side."""
    seeds, users, (of_seed, of_user, noise) = seeds or c["seeds"], c["users"], c["spread"]
    if math.isnan(effect) or math.isnan(of_seed) or effect == 0:
        return math.nan
    parts = (of_seed / seeds + noise / (seeds * users), of_user / users)
    variance = sum(parts)
    if not variance:
        return 1.0
    dfs = (seeds - 1, users - 1)
    needed = sum(part / variance * critical(df) for part, df in zip(parts, dfs, strict=True))
    df = variance**2 / sum(part**2 / df for part, df in zip(parts, dfs, strict=True))
    return beyond(needed, df, abs(effect) / math.sqrt(variance))


def seeds_needed(c: Mapping, effect: float) -> float:
    """The fewest seeds with a power of 80 %; NaN where `MOST_SEEDS` do not suffice, or it cannot be said."""
    if math.isnan(power(c, effect)) or power(c, effect, MOST_SEEDS) < 0.8:
        return math.nan
    return next(seeds for seeds in range(2, MOST_SEEDS + 1) if power(c, effect, seeds) >= 0.8)


# ------------------------------------------------------------------------------------------------- words


def with_seeds(said: str, seeds: int) -> str:
    """A verdict with what so many seeds allow."""
    if seeds == 1:
        return "provisional"
    if seeds == 2 or said == "not assessable":
        return "not assessable"
    return said if seeds >= 5 else f"provisional {said}"


def word(c: Mapping, paper: float = math.nan) -> str:
    """The verdict on "a is better than b". paper: the reported effect."""
    if c["equal"]:
        said = "not assessable"
    elif c["low"] > 0:
        said = "confirmed, smaller" if c["high"] < paper and c["difference"] < paper / 2 else "confirmed"
    elif c["high"] < 0:
        said = "contradicted"
    else:
        said = "reported size excluded, sign open" if c["high"] < paper else "inconclusive"
    return with_seeds(said, c["seeds"])


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Over all of a family, those that have not run (NaN) counted."""
    known, least = sorted((value, name) for name, value in p.items() if not math.isnan(value)), 0.0
    found = dict.fromkeys(p, math.nan)
    for place, (value, name) in enumerate(known):
        found[name] = least = max(least, min(1.0, value * (len(p) - place)))
    return found
