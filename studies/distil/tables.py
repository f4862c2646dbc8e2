"""A table of clicks from a file, in the formats that people have."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd

from rdcore.data import DataError, Interactions, from_frame

USUAL = {
    "user": ("user", "userid", "uid", "customer", "customerid", "reviewerid", "visitorid"),
    "item": ("item", "itemid", "iid", "movieid", "product", "productid", "asin", "locationid"),
    "time": ("time", "timestamp", "ts", "date", "datetime", "unixreviewtime", "when", "day"),
}
"""Names that a column may have where none is given, compared in small letters without "_"."""
SEPARATORS = ("\t", ";", ",", "::", " ")


def read_clicks(
    path: Path | str, user: str | None = None, item: str | None = None, time: str | None = None, *,
    min_actions: int = 5,
) -> tuple[Interactions, int]:  # fmt: skip
    """The interactions of a file, and how many rows it has.

    path: .parquet; RecBole's .inter; any other text with a tab, comma, semicolon, "::" or space
    between its fields, also as .gz. user, item, time: names of columns, or their numbers (the first
    is 1) where the file has no header; None: the column with a usual name. time 'none': there are
    no times, and the rows are in the order in which things happened. min_actions: see `from_frame`.

    Raises DataError that names the file, the line or column, and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is no file: give the path of your table of clicks")
    given = {"user": user, "item": item, "time": time}
    named = [name for name in given.values() if name not in (None, "none")]
    positions = bool(named) and all(name.isdigit() for name in named)
    if positions and None in given.values():
        missing = next(role for role, name in given.items() if name is None)
        raise DataError(f"{path}: --{missing} is missing: without a header every column needs its number")
    frame = read_table(path, header=not positions)
    columns = {role: _column(path, frame, role, name) for role, name in given.items()}
    _refuse_gaps(path, frame, columns, first=1 if positions else 2)
    name = path.name.split(".")[0] or "data"
    try:
        clicks = from_frame(
            frame, columns["user"], columns["item"], columns["time"], name=name, min_actions=min_actions
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return clicks, len(frame)


def _refuse_gaps(path: Path, frame: pd.DataFrame, columns: dict, *, first: int) -> None:
    """Raises DataError for a row without user, item or time. first: the line of the first row."""
    for column in filter(None, columns.values()):
        gaps = frame[column].isna()
        if gaps.any():
            row = int(gaps.to_numpy().argmax())
            where = f"row {row + 1}" if path.suffix == ".parquet" else f"line {row + first}"
            raise DataError(
                f"{path}, {where}: column {column!r} is empty ({int(gaps.sum()):,} such rows): remove or complete them"
            )


def read_table(path: Path, *, header: bool = True) -> pd.DataFrame:
    """The rows of a file. Columns have their names, without RecBole's types ("user_id:token"), or
    without a header the numbers "1", "2", ..."""
    if path.suffix == ".parquet":
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no Parquet file ({error}): write it again") from None
    separator = _separator(path)
    try:
        frame = pd.read_csv(
            path, sep=separator, header=0 if header else None, engine="python" if separator == "::" else "c",
        )  # fmt: skip
    except (ValueError, UnicodeDecodeError) as error:  # pandas' errors are ValueErrors, and name the line
        raise DataError(f"{path}: {str(error).strip()}: mend this line, or write the table as UTF-8 text") from None
    if not header:
        frame.columns = [str(place + 1) for place in range(frame.shape[1])]
    if path.suffix == ".inter":
        frame = frame.rename(columns=lambda name: name.split(":")[0])
    return frame


def _separator(path: Path) -> str:
    """The first of `SEPARATORS` that is in the first line; a comma where none is."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace") as file:
        first = file.readline()
    if not first.strip():
        raise DataError(f"{path}, line 1 is empty: the first line names the columns, or is the first row")
    return next((separator for separator in SEPARATORS if separator in first.strip()), ",")


def _column(path: Path, frame: pd.DataFrame, role: str, name: str | None) -> str | None:
    """The column of a role, None for a time that is not there."""
    columns = [str(column) for column in frame.columns]
    if role == "time" and name == "none":
        return None
    if name is not None:
        if name in columns:
            return name
        raise DataError(f"{path} has no column {name!r}; it has {columns}: name the right one with --{role}")
    fitting = [name for name in columns if name.lower().replace("_", "") in USUAL[role]]
    if len(fitting) == 1:
        return fitting[0]
    wrong = f"several columns may be the {role}" if fitting else f"no column has a usual name of the {role}"
    none = ", or --time none if there are no times" if role == "time" else ""
    raise DataError(f"{path}: {wrong}; it has {columns}: name it with --{role}{none}")
