"""Splits of your own: from given parts, or at one date for all users."""

import datetime
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from rdcore.checks import one_of, short
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions
from rdcore.data.splits import Stage, again_rows, refuse_revisits
from rdcore.datasets.times import UNITS, missing_times, whole_times


def stages_of_parts(
    train: Interactions, test: Interactions, validation: Interactions | None = None
) -> dict[str, Stage]:
    """Stages from given parts: 'F' (fit train and validation, evaluate on test) and, with three, 'V'.

    The parts share users and items; of a user the validation rows are later than the training rows.
    Raises DataError for parts of other users or items, and for a held-out re-visit.
    """
    parts = [part for part in (train, validation, test) if part is not None]
    for part in parts:
        if not isinstance(part, Interactions):
            raise DataError(
                f"a part of a split must be Interactions, not {type(part).__name__}: mark the rows in one table, make "
                "all = from_frame(table, ...), and take all.select(rows)"
            )
    for part in parts[1:]:
        same = part.n_users == train.n_users and part.n_items == train.n_items
        if not (same and (part.user_ids == train.user_ids).all() and (part.item_ids == train.item_ids).all()):
            raise DataError(
                f"{train.name!r} and {part.name!r} do not have the same users and items: make the parts of one table by "
                "Interactions.select(rows), or give all of them the same user_ids and item_ids"
            )
        if part.time_unit != train.time_unit and part.times is not None and train.times is not None:
            raise DataError(f"{train.name!r} has times in {train.time_unit} and {part.name!r} in {part.time_unit}: "
                            "read the parts as one table, or take no times (times=None)")  # fmt: skip
        tables = [each.item_features for each in (train, part)]
        if not (tables[0] is tables[1] or np.array_equal(*tables)):
            raise DataError(f"{train.name!r} and {part.name!r} do not have the same item_features: give them to all parts")
    stages = {"F": _given("F", train if validation is None else _joined(train, validation), test)}
    return stages if validation is None else {"V": _given("V", train, validation), **stages}


def stage_by_date(interactions: Interactions, date: object, name: Literal["V", "F"] = "F") -> Stage:
    """A stage cut at one date for all users: fit what is before `date`, evaluate on the rest.

    No model sees what happened after the moment it is asked for. date: a number in the unit of
    `times`, or, where the source had dates, an ISO text, datetime or datetime64. Rows of a user on an
    item that they had before are left out of the evaluation. A user without a row before `date` is
    evaluated too: a model that knows its users has learnt nothing of them (docs/your-own.md#a-split).
    Raises DataError without times, and where no row is left on a side.
    """
    if not isinstance(interactions, Interactions):
        raise DataError(f"a date cuts Interactions, not a {type(interactions).__name__}: give all of them (data.from_frame)")
    where = f"data set {interactions.name!r}"
    one_of("name", name, "V", "F")
    if interactions.times is None:
        raise DataError(f"{where} has no times to be cut at a date: name the column of times, or use stage()")
    if isinstance(date, (int, np.integer)) and not isinstance(date, bool):
        cut = int(date)
    elif interactions.time_unit is None:
        raise DataError(f"{where} has plain numbers as times: give the date as a whole number in their unit, not {date!r}")
    else:
        given = pd.Series([date], name="date", dtype=object)
        if not isinstance(date, (str, datetime.date, np.datetime64)) or missing_times(given)[0]:
            raise DataError(f"{where}: date must be a date, as ISO text, datetime or datetime64, not {short(date)}")
        (number,), unit = whole_times(given, interactions.name)
        if unit is None:
            raise DataError(f"{where} has dates as times, and {date!r} is a number as text: give ISO text, or the number")
        cut = -(-int(number) * UNITS[unit] // UNITS[interactions.time_unit])
    before = interactions.times < cut
    after = ~before & ~again_rows(interactions)
    if not before.any() or not after.any():
        side, unit = "before" if not before.any() else "at or after", interactions.time_unit
        ends = [interactions.times.min(), interactions.times.max()]
        dates = f", in {unit}, that is {' to '.join(str(np.datetime64(int(end), unit)) for end in ends)}" if unit else ""
        raise DataError(f"{where} has no row {side} {date!r}: its times are {ends[0]} to {ends[1]}{dates}")
    label = f"{interactions.name}, {{}} {date}"
    return Stage(name, interactions.select(before, label.format("before")), interactions.select(after, label.format("from")))


def _given(name: str, fit: Interactions, judge: Interactions) -> Stage:
    """The stage of these parts; DataError where a user has an item in both, or twice in `judge`."""
    if not len(fit) or not len(judge):
        raise DataError(f"{(judge if len(fit) else fit).name!r} has no row: a stage needs rows to fit and rows to evaluate on")
    both = _joined(fit, judge)
    judged = both.positions() >= np.repeat(fit.counts(), both.counts())
    refuse_revisits(both, judged, f"judge stage {name}")
    return Stage(name, fit, judge)


def _joined(first: Interactions, second: Interactions) -> Interactions:
    """Each user's rows of `first`, then those of `second`."""
    order = np.argsort(np.concatenate([first.users(), second.users()]), kind="stable")
    timed = first.times is not None and second.times is not None
    times = np.concatenate([first.times, second.times])[order] if timed else None
    if times is not None:
        users = np.concatenate([first.users(), second.users()])[order]
        if ((times[1:] < times[:-1]) & (users[1:] == users[:-1])).any():
            times = None  # a split by chance: no order in time across the parts
    items = np.concatenate([first.items, second.items])[order]
    return replace(first, name=f"{first.name}+{second.name}", items=items, offsets=first.offsets + second.offsets, times=times)


def in_drawn_order(interactions: Interactions, seed: int) -> Interactions:
    """The same rows with every user's order drawn at random, for data without times.

    The draw depends on `seed` and on who has what, not on the order given. It uses the raw 64-bit
    numbers of PCG64, which numpy keeps the same in all versions and on all machines, unlike `shuffle`.
    Times would contradict it and are dropped.
    """
    users = interactions.users()
    order = np.lexsort((interactions.items, users))
    drawn = np.random.PCG64(seed).random_raw(len(order))
    order = order[np.lexsort((drawn, users))]  # by user, then by the drawn number
    return replace(interactions, items=interactions.items[order], times=None, time_unit=None)
