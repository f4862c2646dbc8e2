"""A claim of a paper, or a question of ours, and the row of the scorecard that it becomes.

Each study lists its claims in `studies/<paper>/claims.py`, also those that no run speaks about yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rdcore.eval.significance import Comparison
from studies.common import text, verdicts

COLUMNS = ["claim", "source", "verdict", "reported", "ours", "low", "high", "p", "seeds", "seeds_needed", "note", "notebook"]
OURS = "no paper: our question"
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the scorecard. Without a comparison and without a verdict it is not run.

    The fields from `verdict` on are for claims that are no difference of two methods.
    """

    claim: str
    source: str
    reported: float = NAN
    """The paper's effect, above 0 where it is what the claim says; NaN where there is none."""
    comparison: Comparison | None = None
    """Ours."""
    family: str = ""
    """Claims that answer one question: their p-values are corrected together, run or not."""
    note: str = ""
    notebook: str = ""
    verdict: str = ""
    """Instead of that of the comparison."""
    ours: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    seeds: int | None = None
    needs: float | None = None
    """The effect that `seeds_needed` is for, where it is not the reported one."""

    def row(self) -> dict:
        """Its values by column, p as it is before any correction."""
        c, values = self.comparison, {name: getattr(self, name) for name in ("ours", "low", "high", "p", "seeds")}
        word, needed, notes = self.verdict or verdicts.NOT_RUN, None, [self.note] if self.note else []
        if c is not None:
            word = self.verdict or verdicts.verdict(c, self.reported)
            effect = self.reported if self.needs is None else self.needs
            needed, power = verdicts.seeds_needed(c, effect), verdicts.power(c, effect)
            values = {"ours": c.difference, "low": c.low, "high": c.high, "p": c.p, "seeds": c.n_seeds}
            notes = [*_notes(c, word, self.reported, power, needed), *notes]
        return values | {
            "claim": self.claim, "source": self.source, "verdict": word, "reported": self.reported,
            "seeds_needed": needed, "note": "; ".join(notes), "notebook": self.notebook,
        }  # fmt: skip


def _notes(c: Comparison, word: str, reported: float, power: float, needed: int | None) -> list[str]:
    """What a reader must know of the numbers of a row, in words."""
    found = []
    if c.n_seeds == 1:
        found.append("one seed: the interval is over users alone")
    elif c.n_seeds < verdicts.FEWEST_SEEDS:
        found.append(f"{c.n_seeds} seeds; {verdicts.FEWEST_SEEDS} are the fewest for a verdict")
    if word.endswith(verdicts.SMALLER):
        found.append(f"{c.difference / reported:.0%} of the reported effect")
    if not np.isnan(power):
        found.append(f"power {text.probability(power)}")
        if needed is None:
            found.append(f"more than {verdicts.MOST_SEEDS:,} seeds needed")
    return found


def table(claims: Sequence[Claim]) -> pd.DataFrame:
    """The scorecard: one row per claim in their order, p after Holm's correction within each planned family.

    The verdict is that of the claim's own interval; where the corrected p is not below .05, the note says so. A claim of no
    family, and one that is not assessable, has no p. Raises ValueError where two claims have one name.
    """
    names = [claim.claim for claim in claims]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"claims with one name: {'; '.join(twice)}")
    rows = [claim.row() for claim in claims]
    families: dict[str, dict[str, float]] = {}
    for claim, row in zip(claims, rows, strict=True):
        if row["verdict"].endswith(verdicts.NOT_ASSESSABLE):
            row["p"] = NAN  # planned all the same, so it counts for the others
        if claim.family:
            families.setdefault(claim.family, {})[claim.claim] = row["p"]
    adjusted = {name: p for family in families.values() for name, p in verdicts.holm(family).items()}
    for row, claim in zip(rows, claims, strict=True):
        row["p"] = adjusted.get(row["claim"], NAN)
        if verdicts.taken_back(row["verdict"], row["p"]):
            planned = f"not significant after Holm's correction over the {len(families[claim.family])} planned claims"
            row["note"] = "; ".join(filter(None, [planned, row["note"]]))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"seeds": "Int64", "seeds_needed": "Int64", "p": float})
