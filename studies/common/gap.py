"""How much of the teacher's lead over the student a distilled student recovers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rdcore.eval.significance import Layout, interval, paired, two_way


@dataclass(frozen=True, kw_only=True)
class GapShare:
    """Share of the gap between teacher and student that a distilled student recovers."""

    share: float
    """(RD - S) / (T - S): 0 is as good as the student alone, 1 as good as the teacher."""
    low: float
    """Lower end of the share's 95 % interval (Fieller's); -inf and inf where the data leave it open."""
    high: float
    gap: float
    """T - S."""
    gap_low: float
    """Lower end of the 95 % interval of T - S."""
    gap_high: float


def gap_recovered(teacher: ArrayLike, student: ArrayLike, distilled: ArrayLike) -> GapShare:
    """How much of the teacher's lead over the student distillation wins back, all (seeds, users).

    The interval is Fieller's (1954): the shares r for which RD - S - r (T - S), itself a two-way layout,
    may be 0. Where the interval of T - S does not lie above 0 there may be nothing to recover, or less
    than nothing where it lies below: share and interval are then NaN.
    """
    teacher, student, distilled = paired(teacher, student, distilled)
    gain, gap = distilled - student, teacher - student
    lead = two_way(gap)
    gap_low, gap_high = interval(float(gap.mean()), lead)
    share = low = high = float("nan")
    if gap_low > 0:
        share = float(gain.mean() / gap.mean())
        low, high = _fieller(gain, gap, share, lead)
    ends = {"low": low, "high": high, "gap_low": gap_low, "gap_high": gap_high}
    return GapShare(share=share, gap=float(gap.mean()), **ends)


def _fieller(gain: np.ndarray, gap: np.ndarray, share: float, lead: Layout) -> tuple[float, float]:
    """Ends of the shares r with |mean(gain - r gap)| <= t sd(gain - r gap); the variance of the
    difference is a quadratic in r, known from three layouts."""
    own, rest = two_way(gain), two_way(gain - share * gap)
    t = max(rest.critical, lead.critical) ** 2
    covariance = (two_way(gain + gap).variance - two_way(gain - gap).variance) / 4
    square = gap.mean() ** 2 - t * lead.variance
    linear = -2 * (gain.mean() * gap.mean() - t * covariance)
    constant = gain.mean() ** 2 - t * own.variance
    if square <= 0:
        return -np.inf, np.inf
    inner = max(linear**2 - 4 * square * constant, 0.0)
    low, high = ((-linear + side * np.sqrt(inner)) / (2 * square) for side in (-1, 1))
    # The share itself is never rejected. By rounding, or where a users' part was put at 0, the quadratic may leave it out.
    return float(min(low, share)), float(max(high, share))
