"""The claims of RankDistil (Reddi et al., AISTATS 2021): none can be tested here, its losses can be tried."""

from __future__ import annotations

from studies.common import verdicts
from studies.common.claims import Claim

RANKDISTIL = "RankDistil, AISTATS 2021"


def claims() -> list[Claim]:
    """Its claims, each with the reason why it is out of scope."""
    features = "out of scope: documents with features, which no model here ranks"
    return [
        Claim(claim=claim, source=RANKDISTIL, verdict=verdicts.NOT_ASSESSABLE, note=note, notebook="08_rankdistil")
        for claim, note in {
            "RankDistil's losses distil better than earlier ones (WEB30K, Yahoo, MS MARCO)": features,
            "The pairwise loss is best on most of these data, the coupled one on MS MARCO": features,
            "Each loss keeps the teacher's order at the top (k-consistency)": "a theorem; its text could not be read here",
        }.items()
    ]
