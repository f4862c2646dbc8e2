"""What a row of the scorecard says in words: the parts that have numbers, or that numbers decide."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from .layout import MOST_SEEDS, power, seeds_needed

# None of these stands in words that are not computed.
COMPUTED = re.compile(r"\d%|Holm|seeds? needed|one seed|\d seeds;|margin|power|in common|lost:")


def percent(value: float) -> str:
    return f"{value:.0%}"


def of_comparison(c: Mapping, verdict: str, reported: float, wanted: float, p: float, family: int) -> list[str]:
    """Of a difference of two methods. wanted: the effect for which seeds are counted; p: the corrected one; family: the
    number of its claims."""
    found = []
    if ("confirmed" in verdict or "contradicted" in verdict) and p >= 0.05:
        found.append(f"not significant after Holm's correction over the {family} planned claims")
    if c["seeds"] == 1:
        found.append("one seed: the interval is over users alone")
    elif c["seeds"] == 2:
        found.append("2 seeds; 3 are the fewest for a verdict")
    if verdict.endswith("confirmed, smaller"):
        found.append(f"{percent(c['difference'] / reported)} of the reported effect")
    chance = power(c, wanted)
    if not math.isnan(chance):
        found.append("power " + ("over 99%" if chance >= 0.995 else "below 1%" if chance < 0.005 else percent(chance)))
        if c["seeds"] > 1 and math.isnan(seeds_needed(c, wanted)):
            found.append(f"more than {MOST_SEEDS:,} seeds needed")
    return found


def whole(parts: list[str], own: str, shown: str) -> str:
    """A row's note: its computed parts, and the claim's own words. Without ``own`` these are those shown, in which nothing may
    stand that is computed."""
    known = "; ".join([*parts, own] if own else parts)
    rest = shown.removeprefix(known).removeprefix("; " if known else "")
    if own or COMPUTED.search(rest):
        return known
    return "; ".join(filter(None, [known, rest]))


def of_the_gap(gap: Mapping, theirs: float, share: tuple[float, float, float], margin: float, sensitive: bool) -> str:
    """Of "no worse than the teacher". gap: our T - S; theirs: the paper's; share: of the gap that RD recovers."""
    if math.isnan(margin):
        return "our own teacher is worse than the student" if gap["high"] < 0 else "the interval of our own T - S includes 0"
    said = f"margin {margin:.4f}; {percent(share[0])} of the gap T - S recovered ({percent(share[1])} to {percent(share[2])})"
    if sensitive or gap["seeds"] < 3:
        return said
    return f"no assay sensitivity: our own T - S is {percent(gap['difference'] / theirs)} of the paper's {theirs:.4f}; {said}"


def of_strengths(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Of two methods that were tried at strengths that have none in common."""
    said = {role: " to ".join(f"{end:.0f}" if end >= 10 else f"{end:.2g}" for end in ends) for role, ends in ranges.items()}
    (a, one), (b, other) = said.items()
    return f"no strength in common: distillation over base loss was {one} in trials of {a}, {other} in those of {b}"
