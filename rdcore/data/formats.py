"""One parser a format. Each returns a table with the columns user, item and, where the format has it, time.

A file is first read the fast way. When that fails in any way, the file is read line by line, which either names the line
that is wrong or settles the matter: the slow reading defines what a valid file is.
"""

import re
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.checks import short

from .errors import DataError

INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
HISTORY = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18})+\Z")
ITEM_LIST = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18})*\Z")


def read_triples(path: str | Path) -> pd.DataFrame:
    """Lines `user item 1`, separated by one space, each user's rows oldest first (the format of the official split).
    Columns user, item (int64). Raises DataError naming file, line and value."""
    return _read_integers(Path(path), ("user", "item", "flag"), " ", "`user item 1`", _check_triple)[["user", "item"]]


def read_udata(path: str | Path) -> pd.DataFrame:
    """MovieLens' u.data: `user item rating timestamp`, separated by tabs, in no order; every rating is an interaction.
    Columns user, item, time (int64; unix seconds). Raises DataError naming file, line and value."""
    shape = "`user<TAB>item<TAB>rating<TAB>timestamp`"
    return _read_integers(Path(path), ("user", "item", "rating", "time"), "\t", shape)[["user", "item", "time"]]


def read_atomic(
    path: str | Path,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
) -> pd.DataFrame:
    """RecBole's atomic .inter file: a header of tab-separated `name:type`, then one line an interaction.

    `user`, `item` and `time` name the columns; without one called `time`, the result has none and the file's order
    counts. Labels become integers when all of a column are, and stay text otherwise; times must be whole numbers
    (`881250949` or `881250949.0`). Raises DataError naming file, line and value."""
    path = Path(path)
    lines = _text(path).split("\n")
    names = [field.split(":")[0] for field in lines[0].rstrip("\r").split("\t")]
    for wanted in (user, item):
        if wanted not in names:
            raise DataError(
                f"{path}, line 1: no column {wanted!r} in the header {lines[0][:200]!r}; expected tab-separated "
                "`name:type` fields: name the columns with user=..., item=... or time=..."
            )
    for wanted in (user, item, time):
        if names.count(wanted) > 1:
            raise DataError(f"{path}, line 1: {names.count(wanted)} columns are called {wanted!r}: rename all but one")
    if lines[-1] == "":
        lines.pop()
    if len(lines) < 2:
        raise DataError(f"{path} has a header but no rows: replace it, or fetch the data set again")
    columns = {"user": names.index(user), "item": names.index(item)}
    if time in names:
        columns["time"] = names.index(time)
    rows = [line.rstrip("\r").split("\t") for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise _malformed(path, number, lines[number - 1], f"{len(names)} tab-separated fields, as in the header")
    table = {label: [row[place] for row in rows] for label, place in columns.items()}
    return pd.DataFrame(
        {
            "user": _labels(path, "user", table["user"]),
            "item": _labels(path, "item", table["item"]),
            **({"time": _times(path, table["time"])} if "time" in table else {}),
        }
    )


def read_histories(items: str | Path, times: str | Path) -> pd.DataFrame:
    """Two files, one line a user: `user item item ...`, and as many times in the same order, `user time time ...`; one
    space between fields. The users may stand in any order, and in another one in the second file.
    Columns user, item, time (int64), in the order of the first file. Raises DataError naming file, line and value."""
    items, times = Path(items), Path(times)
    places, moments = _histories(items, "item"), _histories(times, "time")
    for path, here, other, there in ((items, places, times, moments), (times, moments, items, places)):
        for user, (number, _) in here.items():
            if user not in there:
                raise DataError(
                    f"{path}, line {number}: user {user} has no line in {other}: the two files need the same users; "
                    "add or remove the line, or fetch the data set again"
                )
    for user, (number, values) in places.items():
        line, others = moments[user]
        if len(values) != len(others):
            raise DataError(
                f"{items}, line {number}: user {user} has {len(values)} items, but {len(others)} times in {times}, "
                f"line {line}: every item needs its own time; correct the lines, or fetch the data set again"
            )
    return pd.DataFrame(
        {
            "user": np.repeat(list(places), [len(values) for _, values in places.values()]),
            "item": np.concatenate([values for _, values in places.values()]),
            "time": np.concatenate([moments[user][1] for user in places]),
        }
    )


def _histories(path: Path, what: str) -> dict[int, tuple[int, np.ndarray]]:
    """For each user the number of his line and what follows him there, (n,) int64."""
    shape = f"`user {what} {what} ...`"
    lines = _text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    found: dict[int, tuple[int, np.ndarray]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r")
        fields = text.split(" ")
        if len(fields) < 2:
            raise _malformed(path, number, line, shape)
        if not HISTORY.match(text):  # something is wrong: which field?
            for place, field in enumerate(fields):
                _check_integer(path, number, line, what if place else "user", field, shape)
        user, *values = map(int, fields)
        if user in found:
            raise DataError(
                f"{path}, line {number}: user {user} has a line already, line {found[user][0]}: "
                "join the two, or fetch the data set again"
            )
        found[user] = number, np.array(values, dtype=np.int64)
    return found


def read_item_lists(path: str | Path) -> pd.DataFrame:
    """One line a user, `n item item ...` with n different items in no order; one space between fields, and one more may end
    the line. Users have no ids: they are numbered by their lines, from 0; one with the line `0` has no rows.
    Columns user, item (int64). Raises DataError naming file, line and value."""
    path = Path(path)
    shape = "`n item item ...`"
    lines = _text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    counts, found = [], []
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r").removesuffix(" ")
        fields = text.split(" ")
        if text == "":
            raise _malformed(path, number, line, shape)
        if not ITEM_LIST.match(text):  # something is wrong: which field?
            for place, field in enumerate(fields):
                _check_integer(path, number, line, "item" if place else "count", field, shape)
        count, *items = map(int, fields)
        if count != len(items):
            raise DataError(
                f"{path}, line {number}: the count is {count}, but {len(items)} items follow in {line[:200]!r}: "
                "is the line cut off? correct it, or fetch the data set again"
            )
        if len(set(items)) < count:
            twice = next(item for place, item in enumerate(items) if item in items[:place])
            raise DataError(
                f"{path}, line {number}: item {twice} stands there twice: remove one and lower the count, "
                "or fetch the data set again"
            )
        counts.append(count)
        found += items
    return pd.DataFrame(
        {"user": np.repeat(np.arange(len(counts)), counts), "item": np.array(found, dtype=np.int64)}, dtype=np.int64
    )


def _read_integers(
    path: Path,
    columns: tuple[str, ...],
    separator: str,
    shape: str,
    check: Callable[..., None] | None = None,
) -> pd.DataFrame:
    text = _text(path)
    table = _fast(text, len(columns), separator)
    if table is None or (table < 0).any() or (check and (table[:, 2] != 1).any()):
        table = _slow(path, text, columns, separator, shape, check)
    return pd.DataFrame(table, columns=list(columns))


def _fast(text: str, n_columns: int, separator: str) -> np.ndarray | None:
    """The table (rows, n_columns) int64, or None when there is anything unusual about the text."""
    rows = text.count("\n") + (not text.endswith("\n"))
    # numpy also reads `+1`, blanks around a number, and 19 digits; possessive, so that long files need no memory.
    row = separator.join(["[0-9]{1,18}"] * n_columns)
    if not re.fullmatch(rf"(?:{row}\r*+(?:\n|\Z))++", text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # some versions of numpy only warn where they read `1.0` as 1
            table = np.loadtxt(BytesIO(text.encode()), dtype=np.int64, delimiter=separator, comments=None, ndmin=2)
    except (ValueError, OverflowError, Warning):
        return None
    return table if table.shape == (rows, n_columns) else None


def _slow(
    path: Path,
    text: str,
    columns: tuple[str, ...],
    separator: str,
    shape: str,
    check: Callable[..., None] | None,
) -> np.ndarray:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    table = np.empty((len(lines), len(columns)), dtype=np.int64)
    for number, line in enumerate(lines, start=1):
        fields = line.rstrip("\r").split(separator)
        if len(fields) != len(columns):
            raise _malformed(path, number, line, shape)
        for column, field in zip(columns, fields, strict=True):
            _check_integer(path, number, line, column, field, shape)
        table[number - 1] = [int(field) for field in fields]
        if check:
            check(path, number, line, table[number - 1])
    return table


def _check_integer(path: Path, number: int, line: str, column: str, field: str, shape: str) -> None:
    if not INTEGER.match(field):
        raise DataError(
            f"{path}, line {number}: {column} {short(field)} is not an integer in {line[:200]!r}; "
            f"expected {shape}: correct the line, or fetch the data set again"
        )
    if field.startswith("-"):  # -0 too
        raise DataError(
            f"{path}, line {number}: {column} {short(field)} is negative in {line[:200]!r}: ids and times count "
            "from 0 upwards; correct the line, or fetch the data set again"
        )


def _check_triple(path: Path, number: int, line: str, row: np.ndarray) -> None:
    # A 0 here would mean "not an interaction", which no later step could see.
    if row[2] != 1:
        raise DataError(
            f"{path}, line {number}: the third field is {row[2]}, not 1, in {line[:200]!r}: "
            "keep only the lines of interactions, each with a 1"
        )


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: fetch the data set, or correct the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text file (byte {error.start} is not UTF-8): "
            "is it still compressed? unpack it, or fetch the data set again"
        ) from None
    if not text.strip():
        raise DataError(f"{path} is empty: delete it and fetch the data set again")
    return text


def _malformed(path: Path, number: int, line: str, shape: str) -> DataError:
    return DataError(
        f"{path}, line {number}: expected {shape}, found {line[:200]!r}: "
        "correct or remove the line, or fetch the data set again"
    )


def _labels(path: Path, column: str, values: list[str]) -> np.ndarray | list[str]:
    for number, value in enumerate(values, start=2):
        if not value.strip():
            raise DataError(f"{path}, line {number}: no {column}: correct or remove the line")
    if not all(map(INTEGER.match, values)):
        return values
    for number, value in enumerate(values, start=2):
        if value.startswith("-"):  # -0 too
            raise DataError(
                f"{path}, line {number}: {column} {value!r} is negative: ids count from 0 upwards; correct or remove the line"
            )
    return np.array(values, dtype=np.int64)


def _times(path: Path, values: list[str]) -> np.ndarray:
    for number, value in enumerate(values, start=2):
        if not re.match(r"[0-9]{1,18}(\.0*)?\Z", value):
            raise DataError(
                f"{path}, line {number}: timestamp {short(value)} is not a whole number (for instance unix "
                "seconds): correct or remove the line"
            )
    return np.array([value.split(".")[0] for value in values], dtype=np.int64)
