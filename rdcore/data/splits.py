"""Splits: what a model is fitted on and what it is evaluated by."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from rdcore import checks
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions


@dataclass(frozen=True)
class Split:
    """Each user's sequence cut in three, oldest first. All parts share users and items."""

    train: Interactions
    """The oldest rows."""
    validation: Interactions
    """The rows between."""
    test: Interactions
    """The newest rows."""


def split(interactions: Interactions) -> Split:
    """The RD paper's split of every user's sequence.

    Of a user's n actions the last floor(0.2 n) are test, the floor(0.3 n) - floor(0.2 n) before them
    validation, the rest train. Computed in integers, since 0.3 has no exact binary form. On Gowalla
    this gives the four files of the official repository byte for byte (tests/datasets/test_sources.py).
    """
    test, held = newest(interactions, 2), newest(interactions, 3)
    name = interactions.name
    return Split(
        interactions.select(~held, f"{name}/train"),
        interactions.select(held & ~test, f"{name}/validation"),
        interactions.select(test, f"{name}/test"),
    )


def newest(interactions: Interactions, tenths: int) -> np.ndarray:
    """Which rows are among the last floor(tenths / 10 * n) of their user's n, (N,) bool."""
    checks.interactions(interactions)
    n = np.repeat(interactions.counts(), interactions.counts())
    return n - interactions.positions() <= tenths * n // 10


class _Held:
    """What a split says about its fitted part and the rows that are held out."""

    fit: Interactions
    held: Interactions
    """The rows by which a model is evaluated."""

    @cached_property
    def n_cold(self) -> int:
        """Held-out rows whose item never occurs in `fit`: it is drawn as a negative, ranked, and counts as missed."""
        return int((self.fit.item_counts()[self.held.items] == 0).sum())

    @cached_property
    def n_unjudged(self) -> int:
        """Users without a held-out row, whom the metrics leave out."""
        return int((self.held.counts() == 0).sum())


@dataclass(frozen=True)
class Stage(_Held):
    """What a model is fitted on and what it is evaluated by."""

    name: str
    """'V' or 'F'."""
    fit: Interactions
    """The rows a model is fitted on."""
    judge: Interactions
    """The rows it is evaluated by: later than `fit`, with the same users and items."""

    def __post_init__(self) -> None:
        sizes = [(part.n_users, part.n_items) for part in map(checks.interactions, (self.fit, self.judge))]
        if sizes[0] != sizes[1]:
            names = [repr(part.name) for part in (self.fit, self.judge)]
            raise DataError(f"{names[0]} has {sizes[0]} users and items, and {names[1]} {sizes[1]}: both need the same ones")

    @property
    def held(self) -> Interactions:
        """`judge`."""
        return self.judge

    def sha256(self) -> str:
        """Hash of name and parts: a run on this stage is described by it (`Experiment.data_hash`)."""
        return hashlib.sha256("/".join([self.name, self.fit.sha256(), self.judge.sha256()]).encode()).hexdigest()


STAGES = {"V": ("train", "validation"), "F": ("train+validation", "test")}  # what is fitted, what judges


def stage(interactions: Interactions, name: Literal["V", "F"]) -> Stage:
    """Stage 'V' (fit train, evaluate on validation) or 'F' (fit both, evaluate on test) of `split`.

    Raises DataError when nobody has a row left to be evaluated by, or where such a row is a re-visit:
    items that a user has had are not ranked, so it could never be found.
    """
    if name not in STAGES:
        raise DataError(f"unknown stage {name!r}: it is 'V' (fit train, judge validation) or 'F' (fit both, judge test)")
    test, held = newest(interactions, 2), newest(interactions, 3)
    fitted, judged = (~held, held & ~test) if name == "V" else (~test, test)
    if not judged.any():
        raise DataError(f"data set {interactions.name!r}: no user has a row left to judge stage {name} by: bring users with "
                        f"more actions ({7 if name == 'V' else 5} are always enough)")  # fmt: skip
    refuse_revisits(interactions, judged, f"judge stage {name}")
    parts = zip((fitted, judged), STAGES[name], strict=True)
    return Stage(name, *(interactions.select(rows, f"{interactions.name}/{part}") for rows, part in parts))


@dataclass(frozen=True)
class LeaveOneOut(_Held):
    """Each user's last item is `test`, the one before `validation`, all others are `fit`."""

    name: str
    """'L'."""
    fit: Interactions
    """The rows a model is fitted on."""
    validation: Interactions
    """The rows that choose a run's epoch, one for each user."""
    test: Interactions
    """The rows that are reported, one for each user."""

    @property
    def held(self) -> Interactions:
        """`test`."""
        return self.test


def leave_one_out(interactions: Interactions) -> LeaveOneOut:
    """The split of DE-RRD (Kang et al., CIKM 2020), named 'L'.

    A user with fewer than 3 items keeps all of them in `fit`. The paper draws the two held-out items at random, so data
    without times come here in an order that says which they are: as `load("citeulike")` keeps the published draw, and
    `rdcore.datasets.in_drawn_order` makes one. Raises DataError when nobody has 3 items, and for a held-out re-visit.
    """
    checks.interactions(interactions)
    counts, name = interactions.counts(), interactions.name
    left = np.repeat(counts, counts) - interactions.positions()  # 1: the last row of its user
    held = (left <= 2) & np.repeat(counts >= 3, counts)
    if not held.any():
        raise DataError(f"data set {name!r}: no user has the 3 items that it takes to hold out two of them: bring users with "
                        "more actions")  # fmt: skip
    refuse_revisits(interactions, held, "leave-one-out holds out")
    return LeaveOneOut(
        "L",
        interactions.select(~held, f"{name}/leave-one-out fit"),
        interactions.select(held & (left == 2), f"{name}/leave-one-out validation"),
        interactions.select(held & (left == 1), f"{name}/leave-one-out test"),
    )


def refuse_revisits(interactions: Interactions, judged: np.ndarray, what: str) -> None:
    """Raises DataError where one of the rows `judged` (N,) bool is a re-visit."""
    again = np.flatnonzero(judged & again_rows(interactions))
    if len(again):
        user = interactions.user_ids[interactions.users()[again[0]]]
        item = interactions.item_ids[interactions.items[again[0]]]
        raise DataError(f"data set {interactions.name!r}: {len(again)} of the {judged.sum()} rows that {what} are re-visits "
                        f"(the first: user {user}, item {item}), but items that a user has had are not ranked, so they could "
                        "never be found: merge re-visits (merge_revisits=True); split() and statistics() work with "
                        "them")  # fmt: skip


def again_rows(interactions: Interactions) -> np.ndarray:
    """Which rows are not their user's first on their item, (N,) bool."""
    pairs = interactions.users() * interactions.n_items + interactions.items
    _, first = np.unique(pairs, return_index=True)
    rows = np.ones(len(interactions), dtype=bool)
    rows[first] = False
    return rows
