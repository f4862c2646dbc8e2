"""Interactions: who acted on what, in which order. Every model is trained and evaluated on them."""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from rdcore.data.errors import DataError

MISSING_TIME = np.iinfo(np.int64).min  # what numpy and pandas make of a missing date


@dataclass(frozen=True, eq=False)
class Interactions:
    """All interactions of a data set, or of a part of one, grouped by user, oldest first.

    Raises DataError for arrays that do not fit together. Compare two objects by `sha256()`.
    """

    name: str
    """Shown in tables and messages."""
    items: np.ndarray = field(repr=False)
    """(N,) int64, codes 0..n_items-1. The padding id `n_items` never occurs here."""
    offsets: np.ndarray = field(repr=False)
    """(n_users + 1,) int64. User u owns the rows offsets[u] to offsets[u+1]; there may be none."""
    n_items: int
    """Size of the catalogue, which may hold items that do not occur here."""
    times: np.ndarray | None = field(default=None, repr=False)
    """(N,) int64, not decreasing within a user, in the unit of the source; or None."""
    user_ids: np.ndarray | None = field(default=None, repr=False)
    """(n_users,) labels of the source; by default the codes."""
    item_ids: np.ndarray | None = field(default=None, repr=False)
    """(n_items,) labels of the source; by default the codes."""
    time_unit: str | None = None
    """'s', 'ms', 'us' or 'ns' since 1970-01-01 UTC where the source had dates; None for plain numbers."""
    item_features: np.ndarray | None = field(default=None, repr=False)
    """(n_items, F) float32, what is known of each item; or None. See `with_item_features`."""

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        def check(ok: object, message: str) -> None:
            if not ok:
                raise DataError(f"interactions {self.name!r}: {message}")

        for name in ("items", "offsets", "times"):
            value = getattr(self, name)
            if value is None and name == "times":
                continue
            array = np.asarray(value)
            check(array.ndim == 1, f"{name} must have one dimension, not {array.ndim}")
            check(array.dtype.kind in "iu" or array.size == 0, f"{name} must be integers, not {array.dtype}")
            put(name, np.ascontiguousarray(array, dtype=np.int64))
        check(isinstance(self.n_items, (int, np.integer)), f"n_items must be an integer, not {self.n_items!r}")
        check(self.time_unit in (None, "s", "ms", "us", "ns"), f"time_unit must be s, ms, us or ns, not {self.time_unit!r}")
        put("n_items", int(self.n_items))
        offsets, n = self.offsets, len(self.items)
        check(len(offsets) >= 2, "offsets needs at least two entries, that is one user")
        check(offsets[0] == 0, f"offsets must begin with 0, not {offsets[0]}")
        check(offsets[-1] == n, f"offsets end at {offsets[-1]}, but there are {n} items")
        check((np.diff(offsets) >= 0).all(), "offsets must not decrease")
        if n:
            low, high = self.items.min(), self.items.max()
            check(low >= 0 and high < self.n_items, f"items must lie in 0..{self.n_items - 1}, found {low}..{high}")
        if self.times is not None:
            check(len(self.times) == n, f"{len(self.times)} times for {n} items")
            gaps = np.flatnonzero(self.times == MISSING_TIME)
            check(not len(gaps), f"no value in times, row {gaps[:1]}: {MISSING_TIME} is a missing date as an integer")
            # Compared, not subtracted: a difference of two int64 may overflow.
            backwards = (self.times[1:] < self.times[:-1]) & (np.diff(self.users()) == 0)
            check(not backwards.any(), "times must not decrease within a user")
        for name, count in (("user_ids", self.n_users), ("item_ids", self.n_items)):
            labels = getattr(self, name)
            labels = np.arange(count) if labels is None else np.asarray(labels)
            check(labels.shape == (count,), f"{name} has shape {labels.shape}, expected ({count},)")
            put(name, labels)
        if self.item_features is not None:
            check(np.asarray(self.item_features).dtype.kind in "biuf", "item_features must be numbers")
            table = np.asarray(self.item_features, dtype=np.float32)
            shaped = table.ndim == 2 and len(table) == self.n_items
            check(shaped, f"item_features has shape {table.shape}, expected ({self.n_items}, F)")
            check(np.isfinite(table).all(), "item_features must be finite numbers")
            put("item_features", np.ascontiguousarray(table))

    @property
    def n_users(self) -> int:
        """Number of users, those without a row included."""
        return len(self.offsets) - 1

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

    def select(self, rows: np.ndarray, name: str | None = None) -> "Interactions":
        """The rows where the mask `rows` (N,) bool holds, with the same users, items and order."""
        if (rows := np.asarray(rows)).dtype != bool or len(rows) != len(self):
            raise DataError(f"interactions {self.name!r}: rows must be {len(self)} bool, not {len(rows)} {rows.dtype}")
        kept, times = np.concatenate([[0], np.cumsum(rows)]), None if self.times is None else self.times[rows]
        return replace(self, name=name or self.name, items=self.items[rows], offsets=kept[self.offsets], times=times)

    def sha256(self) -> str:
        """Hash of items, offsets, n_items and item features, the same on every machine.

        A run is described by it. Labels and times are left out: no model sees them beyond the order.
        """
        digest = hashlib.sha256()
        for array in (self.items, self.offsets, np.array([self.n_items])):
            digest.update(array.astype("<i8").tobytes())
        if self.item_features is not None:
            digest.update(self.item_features.astype("<f4").tobytes())
        return digest.hexdigest()
