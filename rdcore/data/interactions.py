"""Who acted on what, in which order: the arrays that every model is trained and judged on, and their splits."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from rdcore.data.errors import DataError


@dataclass(frozen=True, eq=False)
class Interactions:
    """All interactions of a data set (or of a part of one), grouped by user and oldest first.

    name: shown in tables and messages.
    items: (N,) int64, codes 0..n_items-1. The padding id is `n_items`; it never occurs here.
    offsets: (n_users+1,) int64; user u owns the rows offsets[u] to offsets[u+1]. A user may own none.
    n_items: size of the catalogue, which may hold items that do not occur here (those of the other parts of a split).
    times: (N,) int64 in the unit of the source (unix seconds as a rule), not decreasing within a user; or None.
    user_ids (n_users,), item_ids (n_items,): the labels of the source; by default the codes themselves.
    Raises DataError for arrays that do not fit together. Compare two of them by `sha256()`.
    """

    name: str
    items: np.ndarray
    offsets: np.ndarray
    n_items: int
    times: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    item_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        def put(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        def check(ok: object, message: str) -> None:
            if not ok:
                raise DataError(f"interactions {self.name!r}: {message}")

        for field in ("items", "offsets", "times"):
            value = getattr(self, field)
            if value is None and field == "times":
                continue
            array = np.asarray(value)
            check(array.ndim == 1, f"{field} must have one dimension, not {array.ndim}")
            check(array.dtype.kind in "iu" or array.size == 0, f"{field} must be integers, not {array.dtype}")
            put(field, np.ascontiguousarray(array, dtype=np.int64))
        put("n_items", int(self.n_items))
        check(len(self.offsets) >= 2, "offsets needs at least two entries, that is one user")
        check(self.offsets[0] == 0, f"offsets must begin with 0, not {self.offsets[0]}")
        check(self.offsets[-1] == len(self.items), f"offsets end at {self.offsets[-1]}, but there are {len(self.items)} items")
        check((np.diff(self.offsets) >= 0).all(), "offsets must not decrease")
        if len(self.items):
            low, high = self.items.min(), self.items.max()
            check(low >= 0 and high < self.n_items, f"items must lie in 0..{self.n_items - 1}, found {low}..{high}")
        if self.times is not None:
            check(len(self.times) == len(self.items), f"{len(self.times)} times for {len(self.items)} items")
            backwards = (np.diff(self.times) < 0) & (np.diff(self.users()) == 0)
            check(not backwards.any(), "times must not decrease within a user")
        for field, count in (("user_ids", self.n_users), ("item_ids", self.n_items)):
            labels = getattr(self, field)
            labels = np.arange(count) if labels is None else np.asarray(labels)
            check(labels.shape == (count,), f"{field} has shape {labels.shape}, expected ({count},)")
            put(field, labels)

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_interactions(self) -> int:
        return len(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def counts(self) -> np.ndarray:
        """Rows of each user, (n_users,)."""
        return np.diff(self.offsets)

    def users(self) -> np.ndarray:
        """The user of each row, (N,)."""
        return np.repeat(np.arange(self.n_users), self.counts())

    def positions(self) -> np.ndarray:
        """The position of each row in its user's sequence, from 0 (oldest), (N,)."""
        return np.arange(len(self)) - np.repeat(self.offsets[:-1], self.counts())

    def item_counts(self) -> np.ndarray:
        """Rows of each item, (n_items,): its popularity."""
        return np.bincount(self.items, minlength=self.n_items)

    def windows(self, length: int = 5, targets: int = 1) -> int:
        """How many windows of `length` + `targets` successive rows there are; a user with fewer rows has none."""
        return int(np.maximum(self.counts() - (length + targets - 1), 0).sum())

    def select(self, rows: np.ndarray, name: str | None = None) -> "Interactions":
        """The rows where the mask `rows` (N,) bool holds, with the same users and items and the same order."""
        kept = np.concatenate([[0], np.cumsum(rows)])
        return Interactions(
            name or self.name,
            self.items[rows],
            kept[self.offsets],
            self.n_items,
            None if self.times is None else self.times[rows],
            self.user_ids,
            self.item_ids,
        )

    def statistics(self, length: int = 5) -> dict[str, int | float]:
        """The figures of the paper's Table 1, for a whole data set (not for a part of a split).

        `sparsity` is 1 - interactions / (users * items). `windows` counts what the final models are trained on: the
        windows of `length` + 1 rows in each user's sequence without his test rows (Table 1's (u, S) pairs)."""
        users, items, counts = self.n_users, self.n_items, self.counts()
        popularity = self.item_counts()
        return {
            "users": users,
            "items": items,
            "interactions": len(self),
            "actions_per_user": len(self) / users,
            "sparsity": 1 - len(self) / (users * items) if items else 1.0,
            "windows": int(np.maximum(counts - 2 * counts // 10 - length, 0).sum()),
            "min_actions_per_user": int(counts.min()),
            "max_actions_per_user": int(counts.max()),
            "min_actions_per_item": int(popularity.min()),
            "max_actions_per_item": int(popularity.max()),
        }

    def sha256(self) -> str:
        """Hash of the content (items, offsets, n_items), the same on every machine. It stands for the data in the
        description of a run; labels and times are left out because no model sees them beyond the order."""
        digest = hashlib.sha256()
        for array in (self.items, self.offsets, np.array([self.n_items])):
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()


def from_frame(
    frame: pd.DataFrame,
    user: str = "user",
    item: str = "item",
    time: str = "time",
    *,
    name: str = "data",
    merge_revisits: bool = True,
    min_actions: int = 1,
) -> Interactions:
    """Interactions from a table with one row an action; `user`, `item` and `time` name its columns.

    With a time column, each user's rows are ordered by (time, item label), so that equal timestamps cannot depend on the
    order of the file; without one, the rows of a user stay in the order given. Users and items get codes in ascending
    order of their labels. `merge_revisits` keeps only the first action of a user on an item, as in the paper's data. With
    False all are kept, for statistics and for models of your own: `stage` refuses to judge by a re-visit.
    `min_actions` removes users with fewer different items and items with fewer different users, again and again until
    nobody is left to remove. Re-visits never count here, so whether they are merged does not change who stays.
    Raises DataError for an empty table, a missing column or value, times that are not whole numbers, or when nothing
    reaches `min_actions`.
    """
    if not len(frame):
        raise DataError(f"data set {name!r} has no rows")
    for column in [user, item] + [time] * (time != "time"):  # a name that was given must be there
        if column not in frame.columns:
            raise DataError(
                f"data set {name!r} has no column {column!r}; it has {list(map(str, frame.columns))}: "
                "name the right one with user=..., item=... or time=..."
            )
    timed = time in frame.columns
    for column in [user, item] + [time] * timed:
        missing = np.flatnonzero(frame[column].isna().to_numpy())
        if len(missing):
            raise DataError(
                f"data set {name!r}: no value in column {column!r}, row {missing[0]} "
                f"({len(missing)} such rows): remove them first"
            )
    user_ids, users = _codes(frame[user].to_numpy(), name, user)
    item_ids, items = _codes(frame[item].to_numpy(), name, item)
    times = _whole(frame[time].to_numpy(), name, time) if timed else None
    if min_actions > 1:
        rows = _frequent(users, items, min_actions)
        if not rows.any():
            raise DataError(
                f"data set {name!r}: no users and items with {min_actions} different actions each are left: lower min_actions"
            )
        # The codes ascend with the labels, so renumbering those that are left keeps that order.
        kept, users = np.unique(users[rows], return_inverse=True)
        user_ids = user_ids[kept]
        kept, items = np.unique(items[rows], return_inverse=True)
        item_ids = item_ids[kept]
        times = times[rows] if timed else None
    order = np.lexsort((items, times, users)) if timed else np.argsort(users, kind="stable")
    if merge_revisits:
        _, first = np.unique((users * len(item_ids) + items)[order], return_index=True)
        order = order[np.sort(first)]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users[order], minlength=len(user_ids)))])
    return Interactions(name, items[order], offsets, len(item_ids), times[order] if timed else None, user_ids, item_ids)


def _frequent(users: np.ndarray, items: np.ndarray, least: int) -> np.ndarray:
    """Which rows are left when users and items of fewer than `least` different (user, item) pairs go, (N,) bool. A removed
    item may leave a user with too few, and the other way round, so this is repeated until it changes nothing."""
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


def _codes(labels: np.ndarray, name: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The different labels in ascending order, and the place of each row's among them."""
    try:
        if labels.dtype.kind == "c":
            raise TypeError("numpy sorts complex numbers by their parts")
        with np.errstate(over="ignore"):  # a large number beside a float32 among mixed objects: their order is all that counts
            return np.unique(labels, return_inverse=True)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise DataError(
            f"data set {name!r}: the labels in column {column!r} have no order ({kinds}): make them all text or all numbers"
        ) from None


def _whole(values: np.ndarray, name: str, column: str) -> np.ndarray:
    if values.dtype.kind in "fu" and (beyond := np.abs(values) >= 2.0**63).any():
        raise DataError(
            f"data set {name!r}: column {column!r} has {values[beyond][0]} in row {np.argmax(beyond)}, more than 64 bits hold"
        )
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        return values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise DataError(
            f"data set {name!r}: column {column!r} must hold whole numbers (for instance unix seconds), "
            f"but has {values.dtype} values such as {values[0]}"
        )
    return values.astype(np.int64)


@dataclass(frozen=True)
class Split:
    """Each user's sequence cut in three, oldest first. All parts share the users and the items of the whole."""

    train: Interactions
    validation: Interactions
    test: Interactions


def split(interactions: Interactions) -> Split:
    """The paper's split: of a user's n actions, the last floor(0.2 n) are test, the floor(0.3 n) - floor(0.2 n) before
    them validation, the rest train. Computed in integers, since 0.3 has no exact binary form. On Gowalla this gives the
    four files of the official repository byte for byte (tests/data/test_sources.py)."""
    test, held = _newest(interactions, 2), _newest(interactions, 3)
    name = interactions.name
    return Split(
        interactions.select(~held, f"{name}/train"),
        interactions.select(held & ~test, f"{name}/validation"),
        interactions.select(test, f"{name}/test"),
    )


def _newest(interactions: Interactions, tenths: int) -> np.ndarray:
    """Which rows are among the last floor(tenths / 10 * n) of their user's n, (N,) bool."""
    n = np.repeat(interactions.counts(), interactions.counts())
    return n - interactions.positions() <= tenths * n // 10


@dataclass(frozen=True)
class Stage:
    """What a model is fitted on and what it is judged by.

    Items that occur in `judge` but never in `fit` are ordinary items of the catalogue: they keep their own code, are
    drawn as negatives, are ranked, and count as missed when they are not found. `n_cold` says how many rows of `judge`
    they make up. Users without a row in `judge` are left out of the metrics; `n_unjudged` says how many there are.
    """

    name: str
    fit: Interactions
    judge: Interactions

    @cached_property
    def n_cold(self) -> int:
        return int((self.fit.item_counts()[self.judge.items] == 0).sum())

    @cached_property
    def n_unjudged(self) -> int:
        return int((self.judge.counts() == 0).sum())


def stage(interactions: Interactions, name: Literal["V", "F"]) -> Stage:
    """Stage V (choose): fit train, judge validation. Stage F (final): fit train and validation, judge test.
    Raises DataError when no user has anything to be judged by, and when a held-out row is a re-visit: the task is to find
    items that the user has not had, his own are not ranked, and a model would only be told after its training."""
    if name not in ("V", "F"):
        raise DataError(f"unknown stage {name!r}: it is 'V' (fit train, judge validation) or 'F' (fit both, judge test)")
    parts = split(interactions)
    if name == "V":
        fit, judge = parts.train, parts.validation
    else:
        fit = interactions.select(~_newest(interactions, 2), f"{interactions.name}/train+validation")
        judge = parts.test
    if not len(judge):
        enough = 7 if name == "V" else 5
        raise DataError(
            f"data set {interactions.name!r}: no user has a row left to judge stage {name} by: bring users with "
            f"more actions ({enough} are always enough)"
        )
    judged = _newest(interactions, 2) if name == "F" else _newest(interactions, 3) & ~_newest(interactions, 2)
    _refuse_revisits(interactions, judged, f"judge stage {name}")
    return Stage(name, fit, judge)


@dataclass(frozen=True)
class LeaveOneOut:
    """Each user's last item is `test`, the one before it `validation`, all others are `fit`. The parts share the users and
    the items of the whole.

    Users of whom nothing is held out are left out of the metrics; `n_unjudged` says how many there are. Held-out items
    that never occur in `fit` are ordinary items, as in a `Stage`; `n_cold` says how many of `test` they are.
    """

    name: str
    fit: Interactions
    validation: Interactions
    test: Interactions

    @cached_property
    def n_cold(self) -> int:
        return int((self.fit.item_counts()[self.test.items] == 0).sum())

    @cached_property
    def n_unjudged(self) -> int:
        return int((self.test.counts() == 0).sum())


def leave_one_out(interactions: Interactions) -> LeaveOneOut:
    """The split of DE-RRD (Kang et al., CIKM 2020), named "L". A user with fewer than 3 items keeps all of them in `fit`.

    The paper draws the two held-out items at random, so data without times come here in an order that says which they are:
    as `load("citeulike")` keeps the published draw, and `in_drawn_order` makes one. Raises DataError when nobody has 3
    items, and for a held-out re-visit (see `stage`)."""
    counts, name = interactions.counts(), interactions.name
    left = np.repeat(counts, counts) - interactions.positions()  # 1: the last row of its user, 2: the one before it
    held = (left <= 2) & np.repeat(counts >= 3, counts)
    if not held.any():
        raise DataError(
            f"data set {name!r}: no user has the 3 items that it takes to hold out two of them: bring users with more actions"
        )
    _refuse_revisits(interactions, held, "leave-one-out holds out")
    return LeaveOneOut(
        "L",
        interactions.select(~held, f"{name}/leave-one-out fit"),
        interactions.select(held & (left == 2), f"{name}/leave-one-out validation"),
        interactions.select(held & (left == 1), f"{name}/leave-one-out test"),
    )


def in_drawn_order(interactions: Interactions, seed: int) -> Interactions:
    """The same rows with every user's order drawn at random, for data that have none (`leave_one_out` goes by the order).

    The draw depends on `seed` and on who has what, not on the order given. It uses the raw 64-bit numbers of PCG64, which
    numpy keeps the same in all versions and on all machines, unlike `shuffle`. Times would contradict it and are dropped.
    """
    users = interactions.users()
    order = np.lexsort((interactions.items, users))
    order = order[np.lexsort((np.random.PCG64(seed).random_raw(len(order)), users))]  # by user, the drawn number second
    return replace(interactions, items=interactions.items[order], times=None)


def _refuse_revisits(interactions: Interactions, judged: np.ndarray, what: str) -> None:
    again = np.flatnonzero(judged & _again(interactions))
    if len(again):
        user = interactions.user_ids[interactions.users()[again[0]]]
        item = interactions.item_ids[interactions.items[again[0]]]
        raise DataError(
            f"data set {interactions.name!r}: {len(again)} of the {judged.sum()} rows that {what} are re-visits "
            f"(the first: user {user}, item {item}), but items that a user has had are not ranked, so they could never be "
            "found: merge re-visits (merge_revisits=True); split() and statistics() work with them"
        )


def _again(interactions: Interactions) -> np.ndarray:
    """Which rows are not their user's first on their item, (N,) bool."""
    _, first = np.unique(interactions.users() * interactions.n_items + interactions.items, return_index=True)
    rows = np.ones(len(interactions), dtype=bool)
    rows[first] = False
    return rows
