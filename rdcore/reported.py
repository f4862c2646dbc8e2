"""The papers' own numbers, as transcribed in data/reported (its README.md says how far to trust them)."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

from rdcore import paths
from rdcore.checks import short
from rdcore.files import damaged

NEEDED = ("table", "dataset", "model", "role", "value", "source", "trust")
NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,20})?")
REMEDY = "restore the file from the repository"


def reported(table: str) -> pd.DataFrame:
    """One table of a paper, tidy: one row a number.

    Args:
        table: name of a file in data/reported without its ending, for example ``"rd_table2"``.

    Raises ValueError naming the file, and the line where one is to blame.
    """
    path = paths.reported() / f"{table}.csv"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none"
        raise ValueError(f"no reported table {table!r} in {path.parent}; there are: {known}")
    _check(path)
    # An absent model, role or device is an empty string, so that it compares like any other.
    return pd.read_csv(path, keep_default_na=False)


def _check(path: Path) -> None:
    """pandas fills up short lines, moves the columns of long ones and takes any text for a value: here that is a ValueError
    naming the line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = next(lines, [])
            for name in NEEDED:
                if names.count(name) != 1:
                    raise damaged(path, f"has {names.count(name)} columns called {name!r}, expected one", REMEDY)
            row = None
            for row in lines:
                where = f"{path}, line {lines.line_num}:"
                if len(row) != len(names):
                    raise ValueError(f"{where} {len(row)} fields, expected {len(names)} as in the first line: {REMEDY}")
                if not NUMBER.fullmatch(value := row[names.index("value")]):
                    raise ValueError(f"{where} the value {short(value)} is no number: {REMEDY}")
                if not "".join(row).isprintable():
                    raise ValueError(f"{where} characters that cannot be printed: {REMEDY}")
            if row is None:
                raise damaged(path, "has no rows", REMEDY)
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(path, f"is no table ({str(error)[:200]})", REMEDY) from None
