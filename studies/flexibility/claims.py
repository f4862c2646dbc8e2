"""The claim of Ranking Distillation's abstract that the method does not depend on the models."""

from __future__ import annotations

from studies.common import text, verdicts
from studies.common.claims import Claim
from studies.flexibility import tables
from studies.flexibility.matrices import MATRICES
from studies.flexibility.results import on_record

PAPERS_DATA = ("gowalla",)
METHOD = "RD-position"


def claims() -> list[Claim]:
    """How many pairs gain, in the note: the sentence has no number that pairs could confirm. Not run without pairs on the
    paper's data."""
    notes, on_the_papers = [], False
    for one in map(on_record, MATRICES["paper"]):
        gains = [c for cell, c in tables.gains(one.matrix, one.final).items() if cell.method == METHOD]
        on_the_papers |= bool(gains) and one.matrix.dataset in PAPERS_DATA
        if gains:
            above, below = sum(c.low > 0 for c in gains), sum(c.high < 0 for c in gains)
            pairs = text.count(len(gains), "pair")
            notes.append(f"{one.title}, position weights: of {pairs} the interval of {above} lies above 0, of {below} below 0, "
                         "before Holm's correction")  # fmt: skip
    return [Claim(claim="RD can be used with any ranking models as teacher and student (abstract: orthogonal to their choice)",
                  source="Tang & Wang 2018", verdict=verdicts.NOT_ASSESSABLE if on_the_papers else verdicts.NOT_RUN,
                  note="; ".join(notes), notebook="11_flexibility")]  # fmt: skip
