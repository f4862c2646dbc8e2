"""Our questions to all methods on the same teachers, students and data. No paper made this comparison."""

from __future__ import annotations

from collections.abc import Mapping

from studies.common import verdicts
from studies.common.claims import OURS, Claim
from studies.common.profiles import PROFILES, RANKDISTIL
from studies.one_protocol import plan, tables

ROLES = ("CD", "RRD", "DE", "DE-RRD", *RANKDISTIL.values())


def claims() -> list[Claim]:
    """Does a later method rank better than RD? nDCG@10 of the test items among all items, BPR, both data sets. Not assessable
    where the two were tried at strengths that have none in common."""
    listed = []
    for comparable in PROFILES["paper"].one_protocol:
        if not comparable.label.endswith("BPR"):
            continue
        name = {"citeulike": "CiteULike", "gowalla": "Gowalla"}[comparable.dataset]
        records, strengths = plan.committed_rows(comparable), plan.strengths(comparable)
        for role in ROLES:
            comparison = tables.compared(records, role, "RD")
            apart = comparison is not None and not plan.comparable(strengths, role, "RD")
            listed.append(Claim(
                claim=f"{role} ranks better than RD: nDCG@10 among all items (BPR, {name})", source=OURS,
                family="one protocol", comparison=comparison, verdict=verdicts.NOT_ASSESSABLE if apart else "",
                note=not_comparable(strengths, role, "RD") if apart else "", notebook="09_one_protocol",
            ))  # fmt: skip
    return listed


def not_comparable(strengths: Mapping[str, tuple[float, float]], a: str, b: str) -> str:
    """Why two methods are not compared, with the strengths that each was tried at."""
    ranges = [" to ".join(f"{value:.0f}" if value >= 10 else f"{value:.2g}" for value in strengths[role]) for role in (a, b)]
    return f"no strength in common: distillation over base loss was {ranges[0]} in trials of {a}, {ranges[1]} in those of {b}"
