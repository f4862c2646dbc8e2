"""CiteULike as the authors of UnKD and of RCE-KD split it: rebuilt from the libraries, row by row.

Both keep users with at least 5 items, number users by their lines and items by first appearance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdcore import datasets
from rdcore.data import Interactions
from rdcore.datasets.formats import read_item_lists

FEWEST = 5  # items of a user
SEED = 2022  # of UnKD's draw


@dataclass(frozen=True)
class Parts:
    """Training, validation and test items of the same users."""

    fit: Interactions
    validation: Interactions
    test: Interactions


def libraries() -> list[list[int]]:
    """The items of every user with at least 5, in the order of the file: 5,219 lists of ids below
    25,181."""
    frame = read_item_lists(datasets.fetch("citeulike-users")[0])
    of_user = [group.tolist() for _, group in frame.groupby("user", sort=False)["item"]]
    return numbered([items for items in of_user if len(items) >= FEWEST])


def numbered(lists: Sequence[Sequence[int]]) -> list[list[int]]:
    """The lists with items numbered by their first appearance."""
    ids: dict[int, int] = {}
    return [[ids.setdefault(item, len(ids)) for item in items] for items in lists]


def interactions(name: str, rows: Sequence[Sequence[int]], n_items: int) -> Interactions:
    """Users' items as they are in ``rows``, one list for each user."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    items = np.array([item for row in rows for item in row], dtype=np.int64)
    return Interactions(name, items, offsets, n_items)


def by_item_id(lists: Sequence[Sequence[int]] | None = None) -> Parts:
    """RCE-KD's (also PCKD's and FreqD's): the first floor(.8 n) items train, up to floor(.9 n)
    validate, the rest is test. Lines are in ascending item id, so the test items have the largest
    ids, and 73.5 % of them are in nobody's training items. ``lists``: cut instead of `libraries`."""
    lists = libraries() if lists is None else lists
    n_items = 1 + max(map(max, lists))
    bounds = [(max(len(items) * 8 // 10, 1), len(items) * 9 // 10) for items in lists]
    parts = {
        "train": [items[:a] for items, (a, _) in zip(lists, bounds, strict=True)],
        "validation": [items[a:b] for items, (a, b) in zip(lists, bounds, strict=True)],
        "test": [items[max(a, b) :] for items, (a, b) in zip(lists, bounds, strict=True)],
    }
    return Parts(*(interactions(f"citeulike by item/{k}", v, n_items) for k, v in parts.items()))


def by_user_group() -> Parts:
    """UnKD's: ceil(.2 n) items of every user are held out, drawn with NumPy's generator of 2022;
    then a fifth of the users is drawn, whose held-out items validate. All others' are test."""
    lists, generator = libraries(), np.random.RandomState(SEED)
    n_items = 1 + max(map(max, lists))
    held = [set(generator.choice(items, size=math.ceil(0.2 * len(items)), replace=False).tolist()) for items in lists]
    validating = set(generator.choice(len(lists), size=len(lists) // 5, replace=False).tolist())
    train = [list(set(items) - out) for items, out in zip(lists, held, strict=True)]
    rows = [[sorted(out) if (user in validating) == which else [] for user, out in enumerate(held)]
            for which in (True, False)]  # fmt: skip
    named = zip(("train", "validation", "test"), (train, *rows), strict=True)
    return Parts(*(interactions(f"citeulike by user/{name}", part, n_items) for name, part in named))
