"""A table of clicks from a file, in the formats that people have."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rdcore.checks import short
from rdcore.data import DataError, Interactions, from_frame
from rdcore.datasets.times import ISO, REMEDY
from rdcore.datasets.times import NUMBER as DIGITS
from rdcore.store.lists import CLICKS, fields, plain_name, read_parquet, spaced

USUAL = {
    **CLICKS,
    "time": ("time", "timestamp", "ts", "date", "datetime", "unixreviewtime", "when", "day"),
    "rating": ("rating", "ratings", "ratingvalue", "score", "stars", "star", "starrating", "overall"),
}
"""Names that a column may have where none is given, compared in small letters without "_"."""
SEPARATORS = ("\t", ";", ",", "::", "|", " ")
SPELLED = {"tab": "\t", "\\t": "\t", "space": " "}
"""How a shell's user writes a separator that is hard to type."""
DATES = """say how dates are written, such as --time-format "%d.%m.%Y %H:%M:%S", or bring ISO dates or whole numbers"""
"""`REMEDY` for a file."""
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
    rating: str | None = None, min_rating: float | None = None, min_actions: int = 5, sep: str | None = None,
    time_format: str | None = None,
) -> Clicks:  # fmt: skip
    """The interactions of a file.

    path: .parquet; RecBole's .inter; any other text with a tab, comma, semicolon, "::", "|" or space
    between its fields, also compressed by gzip, bzip2 or xz. user, item, time: names of columns, or
    their numbers (the first is 1) where the file has no header; None: the column with a usual name.
    time 'none': there are no times, and the rows are in the order in which things happened.
    min_rating: rows with less than that in the column ``rating`` are left out. min_actions: see `from_frame`.
    sep: what stands between the fields of a text, where it is another than the first lines suggest.
    time_format: how dates are written, in the letters of `datetime.strptime`, where they are not ISO dates.

    In text, ids are numbers where all of a column are written as numbers, and else text: 007 stays 007.
    Raises DataError that names the file, the line or column, and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is no file: give the path of your table of clicks")
    if rating is not None and min_rating is None:
        raise DataError(f"--rating {rating} does nothing alone: add --min-rating with the least rating that counts")
    if sep == "":
        raise DataError("--sep is empty: give what stands between the fields of a line")
    if time_format is not None:
        _dates(pd.Series(dtype=str), time_format)  # refuses one that is none
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
        frame, columns, names = _text(path, given, SPELLED.get(sep, sep), time_format, header=not positions)
    if frame.empty:
        raise DataError(f"{path} has the names of columns and no rows: add the rows, one for each action")
    if time_format is not None and columns["time"]:
        frame[columns["time"]] = _read_dates(path, frame[columns["time"]], time_format)
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
        raise DataError(f"{path}: {str(error).replace(REMEDY, DATES)}") from None
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


def _dates(values: pd.Series, form: str) -> pd.Series:
    """Text as dates in UTC, NaT where it is not of this form. Raises DataError for a form that is none."""
    try:
        if "%" not in form:  # pandas would guess
            raise ValueError("it has no %")
        return pd.to_datetime(values, format=form, errors="coerce", utc=True)
    except ValueError as error:
        raise DataError(f"--time-format {form!r} is no form of dates ({error}): write it as in Python's strptime, such as "
                        '"%d.%m.%Y %H:%M:%S"') from None  # fmt: skip


def _read_dates(path: Path, column: pd.Series, form: str) -> pd.Series:
    """The dates of a column. Raises DataError with the row of the first that is not of this form."""
    dates = _dates(column.astype(str).str.strip(), form)
    if (wrong := (dates.isna() & column.notna()).to_numpy()).any():
        place = int(wrong.argmax())
        raise DataError(
            f"{path}, {column.index.name or 'row'} {column.index[place]}: column {column.name!r} has "
            f"{short(column.iloc[place])}, which is not written as --time-format {form!r} says: correct one of the two"
        )
    return dates


def _text(
    path: Path, given: dict, separator: str | None, time_format: str | None, *, header: bool
) -> tuple[pd.DataFrame, dict, list[str]]:
    """The rows of a file of text, which column each role has, and the names of all columns: without
    RecBole's types ("user_id:token"), or without a header the numbers "1", "2", ..."""
    packed, opened = _packed(path)
    try:
        separator, skip = _form(path, opened, separator)
        how = {"compression": packed, "encoding": "utf-8", "skipinitialspace": skip}
        if len(separator) == 1:
            how |= {"sep": separator, "engine": "c", "low_memory": False}
        else:
            how |= {"sep": re.escape(separator), "engine": "python"}
        rows = pd.read_csv(path, header=None, nrows=2, dtype=str, **how)
        names = _names(path, rows, header)
        about = f", fields separated by {separator!r} (else give --sep)"
        columns = {role: _column(path, names, role, name, about) for role, name in given.items()}
        if not header:
            _refuse_header(path, rows, columns, time_format)
        ids = {columns["user"]: str, columns["item"]: str}
        text = ids | ({columns["time"]: str} if time_format and columns["time"] else {})
        own = [name if name in columns.values() else place for place, name in enumerate(names)]  # others may share a name
        frame = pd.read_csv(path, header=0 if header else None, names=own, index_col=False, dtype=text, **how)
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if getattr(error, "errno", None):  # of the disk; those of gzip and bz2 have no number
            raise
        raise DataError(f"{path} is cut off or damaged ({error}): bring it again") from None
    except UnicodeError:
        raise _no_utf8(path, opened) from None
    except DataError:
        raise
    except ValueError as error:  # pandas' errors are ValueErrors, and name the line
        if longer := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
            expected, line, saw = longer.groups()
            raise DataError(
                f"{path}, line {line} has {saw} fields, and those before it {expected}, separated by {separator!r} (else give "
                "--sep): mend this line; a field with a separator in it needs quotes"
            ) from None
        raise DataError(f"{path}: {str(error).strip()}: mend this line, such as a quote that is not closed") from None
    first = 2 if header else 1
    _refuse_gaps(path, frame, columns, first=first)
    for column in ids:
        frame[column] = _as_numbers(frame[column])
    frame.index = pd.RangeIndex(first, first + len(frame), name="line")
    return frame, columns, names


def _packed(path: Path) -> tuple[str | None, Callable]:
    """How a file is compressed, and what opens it. Raises DataError for a file of another kind than text."""
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK\x03\x04"):
        raise DataError(f"{path} is a ZIP archive: unpack it, and give the table")
    if start.startswith(b"PAR1"):
        raise DataError(f"{path} is a Parquet file: name it .parquet")
    if start.startswith(b"{"):
        raise DataError(f"{path} is JSON: pandas.read_json(path, lines=True).to_csv('clicks.csv') makes a table of it")
    return next((how for magic, how in PACKED.items() if start.startswith(magic)), (None, open))


def _form(path: Path, opened: Callable, separator: str | None) -> tuple[str, bool]:
    """The separator, where none is given, and whether a space follows it in the first line.

    Of `SEPARATORS`, that one counts by which most fields stand in lines with as many fields as the first line has; a space
    only where no other is between fields, and a comma where none is.
    """
    with opened(path, "rt", encoding="utf-8-sig") as file:
        lines = [line[:5000] for line in islice(file, 20)]
    if not lines:
        raise DataError(f"{path} is empty: give the path of your table of clicks")
    if not lines[0].strip():
        raise DataError(f"{path}, line 1 is empty: remove it; the first line names the columns, or is the first row")
    if separator is None:
        alike = {}
        for one in SEPARATORS:
            first, *others = (len(row) for row in fields(lines, one, skip=True))
            alike[one] = first * (1 + others.count(first)) if first > 1 else 0
        space = alike.pop(" ")
        separator = max(alike, key=alike.get) if any(alike.values()) else " " if space else ","
    return separator, spaced(lines[0], separator)


def _no_utf8(path: Path, opened: Callable) -> DataError:
    """The error of a text in another coding, with the first line that shows it."""
    with opened(path, "rb") as file:
        line, text = next((line, text) for line, text in enumerate(file, 1) if text != text.decode(errors="ignore").encode())
    coding = "utf-16" if text.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin1"
    return DataError(f"{path}, line {line} is no UTF-8 text: write the table as UTF-8, such as by "
                     f"`iconv -f {coding} -t utf-8 {path.name} > utf8.csv`")  # fmt: skip


def _names(path: Path, rows: pd.DataFrame, header: bool) -> list[str]:
    """Names of the columns. rows: the first two lines."""
    first = [str(name).strip() for name in rows.iloc[0]]
    if not header:
        return [str(place + 1) for place in range(len(first))]
    return [name.split(":")[0] for name in first] if ".inter" in path.suffixes else first


def _refuse_header(path: Path, rows: pd.DataFrame, columns: dict, time_format: str | None) -> None:
    """Raises DataError for a file without a header whose first line is one: it has a usual name, or it has no time where the
    second has one. rows: the first two lines."""
    first, *others = ([str(field).strip() for field in row] for row in rows.to_numpy())
    named = [name for name in first if any(plain_name(name) in names for names in USUAL.values())]
    if columns["time"] and others:
        times = pd.Series([row[int(columns["time"]) - 1] for row in (first, others[0])])
        right = times.str.fullmatch(f"{ISO}|{DIGITS}") if time_format is None else _dates(times, time_format).notna()
        named += [times[0]] if right[1] and not right[0] and times[0] != "nan" else []
    if named:
        user = first[int(columns["user"]) - 1]
        raise DataError(f"{path}, line 1: {named[0]!r} is the name of a column: give names, such as --user {user}")


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


def _column(path: Path, columns: list[str], role: str, name: str | None, about: str = "") -> str | None:
    """The column of a role, None for a time that is not there. about: what messages say of the columns."""
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
            raise DataError(f"{path}: {wrong}; it has {_listed(shown)}{about}: name it with --{role}{none}{number}")
        name = fitting[0]
    if name not in columns:
        shown = _listed(list(map(short, columns)))
        raise DataError(f"{path} has no column {name!r}; it has {shown}{about}: name the right one with --{role}")
    if columns.count(name) > 1:
        raise DataError(f"{path} has {columns.count(name)} columns named {name!r}: rename or remove one")
    return name


def _listed(columns: list[str]) -> str:
    """Names for a message: the first dozen."""
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return f"[{', '.join(columns[:12])}]{more}"
