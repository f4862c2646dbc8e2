"""Interactions from a table: labels and times as they come, or the line that helps."""

import itertools
import logging
import os
from dataclasses import replace

import numpy as np
import pandas as pd

from rdcore.checks import flag, integer, short
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions
from rdcore.datasets.labels import label_codes, refuse_missing
from rdcore.datasets.ties import cuts_in_ties, tie_keys
from rdcore.datasets.times import missing_times, whole_times

LOG = logging.getLogger(__name__)
TIME_LIKE = ("time", "date", "when", "stamp", "_ts", "_dt", "_at", "moment", "epoch", "created", "day")


def from_frame(
    frame: pd.DataFrame,
    user: str = "user",
    item: str = "item",
    time: str | None = "time",
    *,
    name: str = "data",
    merge_revisits: bool = True,
    min_actions: int = 1,
    ties: str = "hash",
    seed: int = 0,
) -> Interactions:
    """Interactions from a table with one row per action.

    user, item, time: names of its columns. `time=None` says that there are no times and that the rows
    of a user are in the order in which things happened.
    merge_revisits: keep only the first action of a user on an item, as in the papers' data. With False
    all are kept, for statistics and for models of your own: `stage` refuses to evaluate by a re-visit.
    min_actions: remove users with fewer different items and items with fewer different users, again
    and again until nobody is left to remove. Re-visits never count here.
    ties: how actions of one user at one time are ordered. 'hash': by a hash of `seed`, user, item and
    time that depends on no label (`rdcore.datasets.ties`); 'file': as they are in the table.

    Users and items get codes in ascending order of their labels. Float labels must be whole and exact,
    and become integers. Times follow `rdcore.datasets.times.whole_times`. How many users' split falls
    inside a tie is logged, and `rdcore.datasets.ties.n_tied` says of a stage.
    Raises DataError for a table without rows or columns, a missing value, labels without an order or
    damaged by rounding, times that cannot be read, or when nothing reaches `min_actions`.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"who": ["ann", "bob", "ann"], "what": ["tea", "tea", "cake"], "when": [1, 2, 3]})
    >>> clicks = from_frame(rows, user="who", item="what", time="when")
    >>> clicks.user_ids.tolist(), clicks.item_ids.tolist(), len(clicks)
    (['ann', 'bob'], ['cake', 'tea'], 3)
    """
    _check_table(frame, name, user, item)
    if ties not in ("hash", "file"):
        raise DataError(f"ties must be 'hash' or 'file', got {short(ties)}")
    flag("merge_revisits", merge_revisits)
    integer("seed", seed, least=0)
    integer("min_actions", min_actions, least=0)
    _check_columns(frame, {"user": user, "item": item, "time": time}, name)
    user_ids, users = label_codes(frame[user], name)
    item_ids, items = label_codes(frame[item], name)
    times = unit = None
    if time is not None:
        refuse_missing(missing_times(frame[time]), frame[time], name, "remove these rows, or complete their dates")
        times, unit = whole_times(frame[time], name)
    if min_actions > 1:
        rows = _frequent(users, items, min_actions)
        if not rows.any():
            raise DataError(
                f"data set {name!r}: no users and items with {min_actions} different actions each are left: "
                "lower min_actions"
            )
        # The codes ascend with the labels, so renumbering those that are left keeps that order.
        kept, users = np.unique(users[rows], return_inverse=True)
        user_ids = user_ids[kept]
        kept, items = np.unique(items[rows], return_inverse=True)
        item_ids = item_ids[kept]
        times = None if times is None else times[rows]
    if times is None:
        order = np.argsort(users, kind="stable")
    else:
        order = np.lexsort((times, users))  # stable: the order of the file within a tie
        if ties == "hash" and _ties(users[order], times[order]):
            order = np.lexsort((tie_keys(users, items, times, seed), times, users))
    if merge_revisits:
        _, first = np.unique((users * len(item_ids) + items)[order], return_index=True)
        order = order[np.sort(first)]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users[order], minlength=len(user_ids)))])
    times = None if times is None else times[order]
    made = Interactions(name, items[order], offsets, len(item_ids), times, user_ids, item_ids, unit)
    _log_ties(made)
    return made


def with_item_features(interactions: Interactions, table: pd.DataFrame, item: str = "item") -> Interactions:
    """The same interactions with `item_features` (n_items, F): the other columns of `table`, by label.

    table: one row per item, its label in column `item`, numbers in all other columns. Rows of items
    that are not in the catalogue are left out. Raises DataError for an item without a row or with two,
    and for columns that are no finite numbers.
    """
    name = interactions.name
    _check_table(table, name, item)
    _check_columns(table, {"item": item}, name)
    labels, codes = label_codes(table[item], name)
    if len(labels) < len(codes):
        raise DataError(f"data set {name!r}: item {labels[np.bincount(codes).argmax()]} has two rows of features: keep one")
    place = pd.Series(codes.argsort(), index=labels).reindex(interactions.item_ids)
    if place.isna().any():
        lost = place.index[place.isna()][0]
        kinds = {type(labels[0]).__name__: None, type(lost).__name__: None}
        other = f" (its labels are {' and those of the data '.join(kinds)}: make them alike)" if len(kinds) > 1 else ""
        raise DataError(f"data set {name!r}: item {lost} has no row of features{other}: add one for every item")
    values = table.drop(columns=item)
    kinds = values.dtypes.tolist()
    if not kinds or not all(pd.api.types.is_any_real_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind) for kind in kinds):
        found = f"are {dict(values.dtypes.astype(str))}" if kinds else f"there is no column but {item!r}"
        raise DataError(f"data set {name!r}: item features must be real numbers, but {found}")
    with np.errstate(over="ignore"):  # what float32 does not hold is refused as infinite
        features = values.to_numpy(dtype=np.float32, na_value=np.nan)[place.to_numpy(dtype=np.int64)]
    return replace(interactions, item_features=features)


def _ties(users: np.ndarray, times: np.ndarray) -> int:
    """How many rows have the user and time of the row before."""
    return int(((users[1:] == users[:-1]) & (times[1:] == times[:-1])).sum())


def _log_ties(made: Interactions) -> None:
    """Logs for how many users the times do not say which rows are test rows."""
    if made.times is not None and (inside := cuts_in_ties(made)):
        LOG.info(
            "data set %r: %.0f %% of the rows have the time of the row before; for %d of %d users the cut before "
            "the test rows lies between two rows of one time",
            made.name, 100 * _ties(made.users(), made.times) / len(made), inside, made.n_users,
        )  # fmt: skip


LISTS = (
    "pandas.DataFrame([(user, item) for user, *items in map(str.split, open({path!r})) for item in items], "
    "columns=['user', 'item']), without times: time=None"
)  # a file with one user per line


WAYS = {
    "to_pandas": "frame.to_pandas()",  # polars, pyarrow
    "toPandas": "frame.toPandas()",  # Spark
    "collect": "frame.collect().to_pandas()",  # polars, not read yet
    "compute": "frame.compute()",  # Dask
    "tocoo": "pandas.DataFrame(dict(zip(['user', 'item'], matrix.nonzero()))), with time=None",  # a sparse matrix
    "to_frame": "series.reset_index(), with the names of its columns",
}  # what other tables have -> the line that makes them one of pandas


def _check_table(frame: object, name: str, *named: str) -> None:
    """Raises DataError with the line that helps where `frame` is no pandas table with rows.

    named: columns that it has to have.
    """
    if isinstance(frame, (str, os.PathLike)):
        path = os.fspath(frame)
        line = f"pandas.read_csv({path!r})"
        if str(path).endswith((".inter", ".tsv")):
            line = f'pandas.read_csv({path!r}, sep="\\t")'
        if str(path).endswith(".parquet"):
            line = f"pandas.read_parquet({path!r})"
        raise DataError(
            f"data set {name!r}: from_frame takes a table, not a path: give it {line}. A file with one user per line, "
            f"`user item item ...`, becomes one by frame = {LISTS.format(path=path)}"
        )
    if not isinstance(frame, pd.DataFrame):
        made = type(frame)
        line = "pandas.DataFrame(rows, columns=['user', 'item', 'time'])"
        if way := next((way for name, way in WAYS.items() if hasattr(frame, name)), None):
            line = way
        elif isinstance(frame, dict) and set(named) & set(frame):
            line = "pandas.DataFrame(given)"
        elif isinstance(frame, dict):
            line = (
                "pandas.DataFrame([(user, item) for user, items in given.items() for item in items], "
                "columns=['user', 'item']), with time=None"
            )
        raise DataError(
            f"data set {name!r}: from_frame takes a pandas DataFrame, not a {made.__module__}.{made.__qualname__}: "
            f"give it {line}"
        )
    if not len(frame):
        raise DataError(f"data set {name!r} has no rows: give a table with one row for each action")


def _check_columns(frame: pd.DataFrame, named: dict[str, str | None], name: str) -> None:
    """Raises DataError unless each named column is there once."""
    columns = list(frame.columns)
    shown = [column if isinstance(column, (str, int, tuple)) else str(column) for column in columns]
    for role, column in named.items():
        if column is None:
            if role != "time":
                raise DataError(f"data set {name!r}: {role}= must name a column, one of {shown}")
            continue
        if (times := columns.count(column)) > 1:
            raise DataError(
                f"data set {name!r} has {times} columns named {column!r}: rename or drop one "
                "(frame = frame.loc[:, ~frame.columns.duplicated()] keeps the first)"
            )
        if times == 0:
            raise DataError(f"data set {name!r} has no column {column!r}; it has {shown}: {_advice(frame, role, named)}")
    for one, other in itertools.combinations(named, 2):
        if named[one] == named[other]:
            raise DataError(f"data set {name!r}: {one} and {other} are both column {named[one]!r}: name two columns")


def _advice(frame: pd.DataFrame, role: str, named: dict[str, str | None]) -> str:
    """What to do about a column that is missing."""
    columns = [column for column in frame.columns if column not in named.values()]
    if named[role] in frame.index.names:
        return f"{named[role]!r} is the index: frame.reset_index() makes it a column"
    if role == "time" and isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        return f"the index holds dates: frame.reset_index(names={named[role]!r}) makes it a column"
    if len(frame.columns) == 1 and (separator := next((s for s in "\t;|, " if s in str(frame.columns[0])), None)):
        fields = {str(row).count(separator) for row in [frame.columns[0], *frame.iloc[:1000, 0]]}
        if len(fields) > 1:
            return f"if it has one user per line, `user item item ...`, give {LISTS.format(path='path')}"
        return f"read the file with its separator: pandas.read_csv(path, sep={separator!r})"
    if role != "time":
        return "name the right one with user=..., item=... or time=..."
    alike = [
        column
        for column in columns
        if pd.api.types.is_datetime64_any_dtype(frame[column].dtype if columns.count(column) == 1 else object)
        or any(part in str(column).lower() for part in TIME_LIKE)
        or str(column).lower() in ("ts", "at", "t")
    ]
    known = f"time={str(alike[0])!r} looks right; " if alike else ""
    return f"{known}name the column of times with time=..., or say time=None: the order of the rows is then that of events"


def _frequent(users: np.ndarray, items: np.ndarray, least: int) -> np.ndarray:
    """Which rows are left when users and items of fewer than `least` different pairs go, (N,) bool.

    A removed item may leave a user with too few, and the other way round, so this is repeated until it
    changes nothing.
    """
    n_users, n_items = users.max() + 1, items.max() + 1
    pairs = np.unique(users * n_items + items)
    while True:
        who, what = np.divmod(pairs, n_items)
        often_who = np.bincount(who, minlength=n_users) >= least
        often_what = np.bincount(what, minlength=n_items) >= least
        stay = often_who[who] & often_what[what]
        if stay.all():
            return often_who[users] & often_what[items]
        pairs = pairs[stay]
