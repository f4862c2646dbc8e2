"""The papers' claims, one row each, and what our runs say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from rdcore.store.runs import Record
from studies.common.claims import OURS, table
from studies.common.matched import Matched, matched
from studies.derrd import claims as derrd_claims
from studies.derrd import plan as derrd
from studies.flexibility import claims as flexibility_claims
from studies.one_protocol import claims as one_protocol_claims
from studies.rankdistil import claims as rankdistil_claims
from studies.rd import claims as rd_claims

__all__ = ["OURS", "scorecard", "scorecard_of"]


def scorecard(
    records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, dataset: str = "gowalla"
) -> pd.DataFrame:
    """One row per claim: verdict, the paper's effect, ours with its 95 % interval, and the notebook that shows it.

    Effects are differences of means over users and seeds. p is that of the two-way layout, after Holm's correction
    over the planned family, and empty for one seed. The rows at the end are no claims of a paper: controls of RD,
    and the methods under one protocol.

    Args:
        chosen: role -> epoch, for protocol `validation`.
        dataset: the one whose runs speak for the claims on Gowalla (another one in tests).
    """
    return scorecard_of(matched(records, chosen, dataset=dataset), records)


def scorecard_of(found: Mapping[tuple[str, str], Matched], records: Sequence[Record] = ()) -> pd.DataFrame:
    """The scorecard from runs that `matched` has put together; records: those of the baselines are among them."""
    claims = [
        *rd_claims.claims(found, records),
        *flexibility_claims.claims(),
        *derrd_claims.claims(derrd.committed_rows()),
        *rankdistil_claims.claims(),
        *one_protocol_claims.claims(),
    ]
    return table(sorted(claims, key=lambda claim: claim.source == OURS))
