"""The words for a comparison, its power and the seeds that a claim needs, and many tests at once.

One set of words for every claim, here and in the tables (`VERDICTS`). They rest on the interval of
`significance.compare` and on the effect that the paper reports, and never on how many seeds agree.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from rdcore.eval.significance import Comparison, critical, of_the_mean

SEEDS_FOR_A_VERDICT = 5  # with fewer, "provisional" comes before it
FEWEST_SEEDS = 3  # with fewer, the spread of seeds is hardly known: not assessable
POWER = 0.80
ALPHA = 0.05  # a corrected p below it is called significant
MOST_SEEDS = 1_000  # how far `seeds_needed` looks

CONFIRMED, SMALLER = "confirmed", "confirmed, smaller"
SIGN_OPEN, INCONCLUSIVE = "reported size excluded, sign open", "inconclusive"
CONTRADICTED, NOT_ASSESSABLE, NOT_RUN = "contradicted", "not assessable", "not run"
VERDICTS = (CONFIRMED, SMALLER, SIGN_OPEN, INCONCLUSIVE, CONTRADICTED, NOT_ASSESSABLE, NOT_RUN)
PROVISIONAL = "provisional"


def verdict(comparison: Comparison, reported: float = float("nan")) -> str:
    """What our runs say about "a is better than b", in the words of `VERDICTS`.

    ``reported``: the effect d > 0 that the paper reports; NaN where there is none. By the interval:

        excludes 0 on the claimed side      confirmed; where it excludes d too and our effect is
                                            below d/2: confirmed, smaller
        contains 0                          inconclusive; where it excludes d: reported size
                                            excluded, sign open
        excludes 0 on the other side        contradicted

    Two equal runs (no difference at all) and two seeds are not assessable. With fewer than five seeds
    "provisional" comes before the other words, and with one seed it is the only word.

    Raises ValueError for a ``reported`` effect that is not above 0: the claim has to be turned round.
    """
    if reported <= 0:
        raise ValueError(f"the reported effect must be above 0, or NaN, got {reported}: compare b with a instead")
    c = comparison
    if c.low > 0:
        # The interval reaches as far up as down, so that below d/2 it excludes d too. False for NaN.
        word = SMALLER if c.difference < reported / 2 else CONFIRMED
    elif c.high < 0:
        word = CONTRADICTED
    else:
        word = SIGN_OPEN if c.high < reported else INCONCLUSIVE
    identical = c.difference == 0 and not c.layout.variance
    return with_seeds(NOT_ASSESSABLE if identical else word, c.n_seeds)


def with_seeds(word: str, n_seeds: int) -> str:
    """A verdict with what so many seeds allow: see `verdict`."""
    if n_seeds == 1:
        return PROVISIONAL
    if n_seeds < FEWEST_SEEDS or word == NOT_ASSESSABLE:
        return NOT_ASSESSABLE
    return word if n_seeds >= SEEDS_FOR_A_VERDICT else f"{PROVISIONAL} {word}"


def taken_back(word: str, p: float) -> bool:
    """Whether a verdict that decides something does not survive Holm's correction (``p``; NaN: not corrected)."""
    return any(decided in word for decided in (CONFIRMED, CONTRADICTED)) and bool(p >= ALPHA)


def margin(reported_gap: float, our_gap_low: float) -> float:
    """How far below the teacher is still "no worse" (rule 6): the smaller of half the paper's T - S and half the
    lower bound of ours; NaN where ours does not lie above 0, and nothing can be as good as the teacher."""
    return min(reported_gap, our_gap_low) / 2 if our_gap_low > 0 else float("nan")


def no_worse(comparison: Comparison, margin: float) -> str:
    """What our runs say of "a is no worse than b by more than ``margin``", in the words of `VERDICTS`.

    confirmed: the interval lies above -margin; contradicted: below; inconclusive: it contains -margin.
    A margin of NaN is not assessable. Raises ValueError for a margin that is not above 0.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be above 0, got {margin}")
    c = comparison
    word = CONFIRMED if c.low > -margin else CONTRADICTED if c.high < -margin else INCONCLUSIVE
    return with_seeds(NOT_ASSESSABLE if np.isnan(margin) else word, c.n_seeds)


def seeds_needed(comparison: Comparison, effect: float) -> int | None:
    """The fewest seeds with which ``effect`` is found (p < .05, not corrected) in 80 of 100 studies of these users.

    It rests on the spread of few seeds, which is itself badly known: an order of magnitude, not a promise.
    None where it cannot be said (one seed; no effect given) and where `MOST_SEEDS` do not suffice, because
    there are too few users.
    """
    seeds = np.arange(2, MOST_SEEDS + 1)
    enough = np.flatnonzero(_found(comparison, effect, seeds) >= POWER)  # none where it is NaN
    return int(seeds[enough[0]]) if len(enough) else None


def power(comparison: Comparison, effect: float) -> float:
    """The share of studies with as many users and seeds as this one that find ``effect``, if it is true, on its own side
    (p < .05, not corrected).

    As rough as `seeds_needed`, and an approximation: simulated studies find it as often to within .05. NaN where it cannot
    be said: one seed, or no effect given.
    """
    return float(_found(comparison, effect, np.array([comparison.n_seeds]))[0])


def _found(comparison: Comparison, effect: float, seeds: np.ndarray) -> np.ndarray:
    """`power` with so many ``seeds`` (n,) each: (n,). The mean over its standard error follows a noncentral t."""
    seed, user, noise = comparison.layout.components
    if np.isnan(effect) or np.isnan(seed) or effect == 0:
        return np.full(len(seeds), np.nan)
    n_users = comparison.n_users
    squares = noise + n_users * seed, noise + seeds * user, noise + 0.0 * seeds  # expected, of so many seeds
    of_seeds, of_users = of_the_mean(*squares, seeds, n_users)
    variance = of_seeds + of_users
    if not variance.all():
        return np.ones(len(seeds))
    needed = critical(of_seeds, of_users, seeds, n_users)
    # How much the standard error varies from study to study, as degrees of freedom.
    df = variance**2 / (of_seeds**2 / (seeds - 1) + of_users**2 / (n_users - 1))
    with np.errstate(all="ignore"):
        shift = abs(effect) / np.sqrt(variance)
        found = stats.nct.sf(needed, df, shift)
    # Far out the noncentral t has no value in floating point; there the normal one is near enough.
    return np.where(np.isnan(found), stats.norm.sf(needed - shift), found)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction over a planned family: name -> adjusted p, in the order given.

    NaN: planned and not run. It counts as a test, so that what has run is not tested more mildly for
    what has not, and stays NaN.
    """
    wrong = [name for name, p in p_values.items() if not (np.isnan(p) or 0 <= p <= 1)]
    if wrong:
        raise ValueError(f"not a p-value in [0, 1]: {', '.join(wrong)}")
    adjusted, largest, size = {}, 0.0, len(p_values)
    known = {name: p for name, p in p_values.items() if not np.isnan(p)}
    for place, name in enumerate(sorted(known, key=known.get)):
        largest = max(largest, min(1.0, (size - place) * known[name]))
        adjusted[name] = largest
    return {name: adjusted.get(name, float("nan")) for name in p_values}
