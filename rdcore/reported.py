"""The papers' own numbers, as transcribed in data/reported (its README.md says how far to trust them)."""

from __future__ import annotations

import pandas as pd

from rdcore import paths


def reported(table: str) -> pd.DataFrame:
    """One table of a paper, tidy: one row a number.

    Args:
        table: name of a file in data/reported without its ending, for example ``"rd_table2"``.
    """
    path = paths.reported() / f"{table}.csv"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none"
        raise ValueError(f"no reported table {table!r} in {path.parent}; there are: {known}")
    # An absent model, role or device is an empty string, so that it compares like any other.
    return pd.read_csv(path, keep_default_na=False)
