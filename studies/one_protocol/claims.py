"""Our questions to all methods on the same teachers, students and data. No paper made this comparison."""

from __future__ import annotations

from studies.common.claims import OURS, Claim
from studies.common.profiles import PROFILES, RANKDISTIL
from studies.one_protocol import plan, tables

SETTINGS = "at these settings: the methods' strengths differ (DEVIATIONS.md)"
ROLES = ("CD", "RRD", "DE", "DE-RRD", *RANKDISTIL.values())


def claims() -> list[Claim]:
    """Does a later method rank better than RD? nDCG@10 of the test items among all items, BPR, both data sets."""
    listed = []
    for comparable in PROFILES["paper"].one_protocol:
        if not comparable.label.endswith("BPR"):
            continue
        name = {"citeulike": "CiteULike", "gowalla": "Gowalla"}[comparable.dataset]
        records = plan.committed_rows(comparable)
        listed += [
            Claim(claim=f"{role} ranks better than RD: nDCG@10 among all items (BPR, {name})", source=OURS,
                  family="one protocol", comparison=tables.compared(records, role, "RD"), note=SETTINGS,
                  notebook="09_one_protocol")
            for role in ROLES
        ]  # fmt: skip
    return listed
