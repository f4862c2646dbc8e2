"""One parser per format. Each returns a table with the columns user, item and, where the format has
it, time.

A file is first read the fast way. When that fails in any way, the file is read line by line, which
either names the line that is wrong or settles the matter: the slow reading defines what a valid
file is."""

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.checks import short
from rdcore.data.errors import DataError

WEIGHT = re.compile(r"[0-9]{1,18}\t[0-9]{1,18}\t[0-9]{1,18}(?:\.[0-9]{1,18})?(?:e[+-]?[0-9]{1,2})?\Z")
INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
HISTORY = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18})+\Z")
ITEM_LIST = re.compile(r"[0-9]{1,18}(?: [0-9]{1,18})*\Z")


def read_triples(path: str | Path) -> pd.DataFrame:
    """Lines `user item 1`, separated by one space, each user's rows oldest first (the format of the
    official split). Columns user, item (int64). Raises DataError naming file, line and value."""
    return _read_integers(Path(path), ("user", "item", "flag"), " ", "`user item 1`", _check_triple)[["user", "item"]]


def read_pairs(path: str | Path) -> pd.DataFrame:
    """Lines `user item`, separated by one space. Columns user, item (int64), in the order of the
    file. Raises DataError naming file, line and value."""
    return _read_integers(Path(path), ("user", "item"), " ", "`user item`")


def read_weighted(path: str | Path) -> pd.DataFrame:
    """Lines `user item weight`, separated by tabs; the weight, a number such as 13883 or
    3.2466e+05, is left out. Columns user, item (int64), in the order of the file. Raises DataError
    naming file, line and value."""
    path, shape, rows = Path(path), "`user<TAB>item<TAB>weight`", []
    for number, line in enumerate(_lines(path), start=1):
        text = line.rstrip("\r")
        fields = text.split("\t")
        if not WEIGHT.match(text):
            for column, field in zip(("user", "item"), fields, strict=False):
                _check_integer(path, number, line, column, field, shape)
            raise _malformed(path, number, line, shape)
        rows.append((int(fields[0]), int(fields[1])))
    return pd.DataFrame(np.array(rows, dtype=np.int64), columns=["user", "item"])


def read_udata(path: str | Path) -> pd.DataFrame:
    """MovieLens' u.data: `user item rating timestamp`, separated by tabs, in no order; every rating
    is an interaction. Columns user, item, time (int64; unix seconds). Raises DataError naming file,
    line and value."""
    shape = "`user<TAB>item<TAB>rating<TAB>timestamp`"
    return _read_integers(Path(path), ("user", "item", "rating", "time"), "\t", shape)[["user", "item", "time"]]


def read_user_lists(path: str | Path) -> pd.DataFrame:
    """One line per user, `user item item ...`, separated by one space; every user once. Columns
    user, item (int64), in the order of the file. Raises DataError naming file, line and value."""
    lists = _histories(Path(path), "item")
    lengths = [len(items) for _, items in lists.values()]
    return pd.DataFrame(
        {
            "user": np.repeat(list(lists), lengths),
            "item": np.concatenate([items for _, items in lists.values()]),
        }
    )


def read_adjacency(path: str | Path, n_users: int, n_items: int) -> pd.DataFrame:
    """The pairs of a symmetric adjacency matrix of users and then items, a sparse matrix as scipy
    saves it (.npz, csr). Columns user, item (int64), by user, each user's items ascending. Raises
    DataError naming the file; nothing in it is run."""
    path, size = Path(path), n_users + n_items
    try:
        with np.load(path, allow_pickle=False) as parts:
            kind, shape, starts, columns = (parts[part] for part in ("format", "shape", "indptr", "indices"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: fetch the data set, or correct the path") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a sparse matrix of scipy ({error}): delete it and fetch the data set again") from None
    whole = starts.dtype.kind in "iu" and columns.dtype.kind in "iu" and starts.shape == (size + 1,) and columns.ndim == 1
    if kind.tobytes().rstrip(b"\0") != b"csr" or shape.tolist() != [size, size] or not whole:
        raise DataError(f"{path}: expected a csr matrix of {size} x {size}, found {kind} {shape}: fetch the data set again")
    counts = np.diff(starts[: n_users + 1].astype(np.int64))
    items = columns[: starts[n_users]].astype(np.int64) - n_users
    if starts[0] != 0 or (counts < 0).any() or counts.sum() != len(items) or not ((items >= 0) & (items < n_items)).all():
        raise DataError(
            f"{path}: the rows of users may hold items alone, from {n_users} to {size - 1}: fetch the data set again"
        )
    rows = pd.DataFrame({"user": np.repeat(np.arange(n_users), counts), "item": items})
    return rows.sort_values(["user", "item"], ignore_index=True)


def read_histories(items: str | Path, times: str | Path) -> pd.DataFrame:
    """Two files, one line for each user: `user item item ...`, and as many times in the same order, `user
    time time ...`; one space between fields. The users may come in any order, and in another one
    in the second file. Columns user, item, time (int64), in the order of the first file. Raises
    DataError naming file, line and value."""
    items, times = Path(items), Path(times)
    places, moments = _histories(items, "item"), _histories(times, "time")
    for path, here, other, there in (
        (items, places, times, moments),
        (times, moments, items, places),
    ):
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
    """For each user the number of their line and what follows the user there, (n,) int64."""
    shape = f"`user {what} {what} ...`"
    found: dict[int, tuple[int, np.ndarray]] = {}
    for number, line in enumerate(_lines(path), start=1):
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
    """One line a user, `n item item ...` with n different items in no order; one space between
    fields, and one more may end the line. Users have no ids: they are numbered by their lines, from
    0; one with the line `0` has no rows. Columns user, item (int64). Raises DataError naming file,
    line and value."""
    path = Path(path)
    shape = "`n item item ...`"
    counts, found = [], []
    for number, line in enumerate(_lines(path), start=1):
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
                f"{path}, line {number}: item {twice} is there twice: remove one and lower the count, "
                "or fetch the data set again"
            )
        counts.append(count)
        found += items
    return pd.DataFrame(
        {
            "user": np.repeat(np.arange(len(counts)), counts),
            "item": np.array(found, dtype=np.int64),
        },
        dtype=np.int64,
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
    # numpy also reads `+1`, blanks around a number, and 19 digits; possessive, so that long files
    # need no memory.
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


def _lines(path: Path) -> list[str]:
    return _text(path).removesuffix("\n").split("\n")


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
