"""A table of clicks from a file, in the formats that people have."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rdcore.checks import short
from rdcore.data import DataError, Interactions, from_frame
from rdcore.store.lists import CLICKS, plain_name, read_parquet

USUAL = {
    **CLICKS,
    "time": ("time", "timestamp", "ts", "date", "datetime", "unixreviewtime", "when", "day"),
    "rating": ("rating", "ratings", "ratingvalue", "score", "stars", "star", "starrating", "overall"),
}
"""Names that a column may have where none is given, compared in small letters without "_"."""
SEPARATORS = ("\t", ";", ",", "::", "|", " ")
PACKED = {b"\x1f\x8b": ("gzip", gzip.open), b"BZh": ("bz2", bz2.open), b"\xfd7zXZ": ("xz", lzma.open)}
"""First bytes -> pandas' name of a compression, and what opens it."""
NUMBER = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0*)?")
"""A whole number as programs write it: not 007 or 1e5, which are labels."""


class Clicks(NamedTuple):
    """What a file says."""

    clicks: Interactions
    rows: int
    """Of the file."""
    notes: list[str]
    """What its user should know: what becomes of ratings."""


def read_clicks(
    path: Path | str, user: str | None = None, item: str | None = None, time: str | None = None, *,
    rating: str | None = None, min_rating: float | None = None, min_actions: int = 5,
) -> Clicks:  # fmt: skip
    """The interactions of a file.

    path: .parquet; RecBole's .inter; any other text with a tab, comma, semicolon, "::", "|" or space
    between its fields, also compressed by gzip, bzip2 or xz. user, item, time: names of columns, or
    their numbers (the first is 1) where the file has no header; None: the column with a usual name.
    time 'none': there are no times, and the rows are in the order in which things happened.
    min_rating: rows with less than that in the column ``rating`` are left out. min_actions: see `from_frame`.

    In text, ids are numbers where all of a column are written as numbers, and else text: 007 stays 007.
    Raises DataError that names the file, the line or column, and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is no file: give the path of your table of clicks")
    if rating is not None and min_rating is None:
        raise DataError(f"--rating {rating} does nothing alone: add --min-rating with the least rating that counts")
    given = {"user": user, "item": item, "time": time} | ({} if min_rating is None else {"rating": rating})
    named = [name for name in given.values() if name not in (None, "none")]
    positions = bool(named) and all(name.isdigit() for name in named)
    if positions and None in given.values():
        missing = next(role for role, name in given.items() if name is None)
        raise DataError(f"{path}: --{missing} is missing: without a header every column needs its number (or --time none)")
    if path.suffix == ".parquet":
        frame = _parquet(path)
        names = list(map(str, frame.columns))
        columns = {role: _column(path, names, role, name) for role, name in given.items()}
    else:
        frame, columns, names = _text(path, given, header=not positions)
    rows, notes = len(frame), []
    if min_rating is not None:
        frame = _rated(path, frame, columns["rating"], min_rating)
        notes.append(f"Only rows with at least {min_rating:g} in {columns['rating']!r} count: {len(frame):,} of {rows:,}.")
    elif note := about_ratings(frame, names, columns.values()):
        notes.append(note)
    if (times := columns["time"]) and len(frame) > 1_000 and _few_steps(frame[times]):
        notes.append(f"Column {times!r}, which says when, holds nothing but small numbers, as ratings do: is it the right one?")
    name = path.name.split(".")[0] or "data"
    try:
        clicks = from_frame(
            frame, columns["user"], columns["item"], columns["time"], name=name, min_actions=min_actions
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return Clicks(clicks, rows, notes)


def about_ratings(frame: pd.DataFrame, names: list[str], used: Collection[str | None]) -> str | None:
    """A sentence, where a column that is not ``used`` looks like ratings, which then do not matter. names: of the columns."""
    for name, values in zip(names, (frame.iloc[:, place] for place in range(len(names))), strict=True):
        usual = plain_name(name) in USUAL["rating"] or (name.isdigit() and _few_steps(values))
        if name not in used and usual and pd.api.types.is_numeric_dtype(values) and 0 <= values.min() < values.max():
            low, high = values.min(), values.max()
            option = f"--rating {name} " * name.isdigit() + f"--min-rating {0.8 * high:g}"
            return (
                f"Column {name!r} looks like ratings ({low:g} to {high:g}), but every row counts as liked, whatever its "
                f"rating: to leave out rows below {0.8 * high:g}, give {option}, or take them out of the table beforehand."
            )
    return None


def _few_steps(values: pd.Series) -> bool:
    """Whether numbers are whole or half ones from 0 to 10, at least three of them: 1 to 5 stars."""
    if not pd.api.types.is_numeric_dtype(values):
        return False
    steps = values.drop_duplicates()
    return len(steps) > 2 and bool((steps.between(0, 10) & (2 * steps % 1 == 0)).all())


def _rated(path: Path, frame: pd.DataFrame, column: str, least: float) -> pd.DataFrame:
    """The rows that have at least this rating."""
    values = pd.to_numeric(frame[column], errors="coerce")
    if (wrong := values.isna()).any():
        place = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{path}: --min-rating needs numbers, but column {column!r} has {short(frame[column].iloc[place])} in "
            f"{frame.index.name or 'row'} {frame.index[place]}: mend it, or name another column with --rating"
        )
    if not (values >= least).any():
        raise DataError(f"{path}: no row has {least:g} or more in column {column!r}, but at most {values.max():g}: lower "
                        "--min-rating")  # fmt: skip
    return frame[values >= least]


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no Parquet file ({error}): write it again") from None


def _text(path: Path, given: dict, *, header: bool) -> tuple[pd.DataFrame, dict, list[str]]:
    """The rows of a file of text, which column each role has, and the names of all columns: without
    RecBole's types ("user_id:token"), or without a header the numbers "1", "2", ..."""
    try:
        packed, separator, spaced = _form(path)
        how = {"sep": separator, "compression": packed, "encoding": "utf-8", "skipinitialspace": spaced}
        how |= {"engine": "python"} if separator == "::" else {"engine": "c", "low_memory": False}
        names = _names(path, pd.read_csv(path, header=None, nrows=2, dtype=str, **how), header)
        columns = {role: _column(path, names, role, name) for role, name in given.items()}
        ids = {columns["user"]: str, columns["item"]: str}
        own = [name if name in columns.values() else place for place, name in enumerate(names)]  # others may share a name
        frame = pd.read_csv(path, header=0 if header else None, names=own, index_col=False, dtype=ids, **how)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if getattr(error, "errno", None):  # of the disk; those of gzip and bz2 have no number
            raise
        raise DataError(f"{path} is cut off or damaged ({error}): bring it again") from None
    except UnicodeError as error:
        raise DataError(f"{path}: {str(error).strip()}: write the table as UTF-8 text") from None
    except DataError:
        raise
    except ValueError as error:  # pandas' errors are ValueErrors, and name the line
        raise DataError(f"{path}: {str(error).strip()}: mend this line, or write the table as UTF-8 text") from None
    first = 2 if header else 1
    _refuse_gaps(path, frame, columns, first=first)
    for column in ids:
        frame[column] = _as_numbers(frame[column])
    frame.index = pd.RangeIndex(first, first + len(frame), name="line")
    return frame, columns, names


def _form(path: Path) -> tuple[str | None, str, bool]:
    """How a file is compressed, the first of `SEPARATORS` that is in its first line (a comma where none is), and whether a
    space follows it there."""
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK\x03\x04"):
        raise DataError(f"{path} is a ZIP archive: unpack it, and give the table")
    if start.startswith(b"PAR1"):
        raise DataError(f"{path} is a Parquet file: name it .parquet")
    if start.startswith(b"{"):
        raise DataError(f"{path} is JSON: pandas.read_json(path, lines=True).to_csv('clicks.csv') makes a table of it")
    packed, opened = next((how for magic, how in PACKED.items() if start.startswith(magic)), (None, open))
    with opened(path, "rt", encoding="utf-8") as file:
        first = file.readline()
    if not first:
        raise DataError(f"{path} is empty: give the path of your table of clicks")
    if not first.strip():
        raise DataError(f"{path}, line 1 is empty: remove it; the first line names the columns, or is the first row")
    separator = next((separator for separator in SEPARATORS if separator in first.strip()), ",")
    return packed, separator, f"{separator} " in first


def _names(path: Path, rows: pd.DataFrame, header: bool) -> list[str]:
    """Names of the columns. rows: the first two lines."""
    first = [str(name).strip() for name in rows.iloc[0]]
    if not header:
        usual = [name for name in first if any(plain_name(name) in names for names in USUAL.values())]
        if usual:
            raise DataError(f"{path}, line 1: {usual[0]!r} is the name of a column: give names, such as --user {first[0]}")
        return [str(place + 1) for place in range(len(first))]
    return [name.split(":")[0] for name in first] if ".inter" in path.suffixes else first


def _refuse_gaps(path: Path, frame: pd.DataFrame, columns: dict, *, first: int) -> None:
    """Raises DataError for a row without user, item or time. first: the line of the first row."""
    for column in filter(None, columns.values()):
        gaps = frame[column].isna()
        if gaps.any():
            line = int(gaps.to_numpy().argmax()) + first
            raise DataError(
                f"{path}, line {line}: column {column!r} is empty or says NA, null or the like ({int(gaps.sum()):,} such "
                "rows): remove or complete them, and rename an id that is really called so"
            )


def _as_numbers(ids: pd.Series) -> pd.Series:
    """Whole numbers where all ids (N,) of text are written as such, also as 7.0; else the same text."""
    codes, labels = pd.factorize(ids)
    found = [NUMBER.fullmatch(label.strip()) for label in labels]
    if not all(found) or any("." in match[0] and abs(int(match[1])) >= 2**53 for match in found):
        return ids  # from_frame says what is wrong with a float that was rounded
    values = np.array([int(match[1]) for match in found], dtype=np.int64)
    return pd.Series(values[codes], index=ids.index, name=ids.name)


def _column(path: Path, columns: list[str], role: str, name: str | None) -> str | None:
    """The column of a role, None for a time that is not there."""
    if role == "time" and name == "none":
        return None
    if name is None:
        fitting = [name for name in columns if plain_name(name) in USUAL[role]]
        if len(set(fitting)) != 1:
            wrong = f"several columns may be the {role}" if fitting else f"no column has a usual name of the {role}"
            none = ", or --time none if there are no times" if role == "time" else ""
            bare = any(map(str.isdigit, columns))  # the first row, it seems
            shown = [f"{place}: {short(name)}" for place, name in enumerate(columns, 1)] if bare else list(map(short, columns))
            number = ", or, if the file has no header line, give numbers: --user N --item N --time N" * bare
            raise DataError(f"{path}: {wrong}; it has {_listed(shown)}: name it with --{role}{none}{number}")
        name = fitting[0]
    if name not in columns:
        shown = _listed(list(map(short, columns)))
        raise DataError(f"{path} has no column {name!r}; it has {shown}: name the right one with --{role}")
    if columns.count(name) > 1:
        raise DataError(f"{path} has {columns.count(name)} columns named {name!r}: rename or remove one")
    return name


def _listed(columns: list[str]) -> str:
    """Names for a message: the first dozen."""
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return f"[{', '.join(columns[:12])}]{more}"
