"""The papers' own numbers, as transcribed in data/reported (its README.md says how far to trust them)."""

from __future__ import annotations

import pandas as pd

from rdcore.files import paths
from rdcore.files.whole import check_csv, damaged

NEEDED = ("table", "dataset", "model", "role", "value", "source", "trust")
REMEDY = "restore the file from the repository"
HYBRID = "RD-hybrid"  # the paper's RD has hybrid weights


def papers_name(role: str) -> str:
    """What Ranking Distillation's Table 2, and README, call a role.

    >>> [papers_name(role) for role in ("RD-hybrid", "RD-position")]
    ['RD', 'RD-position']
    """
    return "RD" if role == HYBRID else role


def reported(table: str) -> pd.DataFrame:
    """One table of a paper, tidy: one row for each number.

    Args:
        table: name of a file in data/reported without its ending, for example ``"rd_table2"``.

    Raises ValueError naming the file, and the line where one is to blame.
    """
    path = paths.reported() / f"{table}.csv"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none"
        raise ValueError(f"no reported table {table!r} in {path.parent}; there are: {known}")
    check_csv(path, NEEDED, REMEDY, numbers=("value",))
    # An absent model, role or device is an empty string, so that it compares like any other.
    found = pd.read_csv(path, keep_default_na=False)
    if found.empty:
        raise damaged(path, "has no rows", REMEDY)
    return found
