"""The claims of RankDistil (Reddi et al., AISTATS 2021): none can be tested here, its losses can be tried.

The first is in the abstract, the others are in other people's notes."""

from __future__ import annotations

from studies.common import verdicts
from studies.common.claims import Claim

RANKDISTIL = "RankDistil, AISTATS 2021"


def claims() -> list[Claim]:
    """Its claims, each with the reason why it is out of scope."""
    scope = "out of scope: documents of search queries, which no model here ranks"
    rows = "of its rows that we know, WEB30K's is of the pairwise loss, Yahoo's and MS MARCO's are of the coupled one"
    theorem = "a theorem, whose text could not be read here; notebook 08 tries our forms on free scores"
    return [
        Claim(claim=claim, source=RANKDISTIL, verdict=verdicts.NOT_ASSESSABLE, note=note, notebook="08_rankdistil")
        for claim, note in {
            "RankDistil is better than commonly used baselines (WEB30K, Yahoo, Istella, MS MARCO)": scope,
            "RankDistil's pairwise loss is best on most of its four data sets, the coupled one on MS MARCO": f"{scope}; {rows}",
            "RankDistil's losses are least where the first p items have the teacher's order and all others are below": theorem,
        }.items()
    ]
