"""Ties in time: an order of simultaneous events that depends on no label, and the users whose split falls inside a tie."""

import numpy as np

from rdcore.data.interactions import Interactions
from rdcore.data.splits import LeaveOneOut, Stage, newest


def n_tied(part: Stage | LeaveOneOut) -> int:
    """Users whose split follows the draw that orders equal times (`from_frame`), not the clock: their last fitted row and
    their first held-out row have one time, or their validation and test row. 0 without times."""
    if isinstance(part, LeaveOneOut):
        return int((_tied(part.fit, part.validation) | _tied(part.validation, part.test)).sum())
    return int(_tied(part.fit, part.judge).sum())


def cuts_in_ties(interactions: Interactions) -> int:
    """Users whose cut before the test rows lies between two rows of one time; 0 without times."""
    test = newest(interactions, 2)
    return int(_tied(interactions.select(~test), interactions.select(test)).sum())


def _tied(before: Interactions, after: Interactions) -> np.ndarray:
    """Whether each user's last time in `before` is their first in `after`, (n_users,) bool."""
    if before.times is None or after.times is None:
        return np.zeros(before.n_users, dtype=bool)
    tied = (before.counts() > 0) & (after.counts() > 0)
    tied[tied] = before.times[before.offsets[1:][tied] - 1] == after.times[after.offsets[:-1][tied]]
    return tied


def tie_keys(users: np.ndarray, items: np.ndarray, times: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random number for each event (N,) uint64: the order of events of one user and time.

    users, items (N,) codes, times (N,). The key is a hash of `seed`, user, item and time. A hash of
    the labels would change when an item is renamed. So users and items are known by what happened to
    them: a user by the times of their events, an item by the users and times of its events, and then
    users again by their items. Where two of them are alike in all of this, the one that comes first in
    the file counts as the first. Times enter by their rank: their unit does not matter.

    So the keys stay when users or items are renamed or renumbered. They stay too when rows change
    places in the file, except for users or items that nothing but their labels tells apart (the items
    of a single receipt, each bought once). User and item are both in the hash, so no item comes
    before another for all users, which a model could learn.
    """
    moment = _mixed(np.unique(times, return_inverse=True)[1].astype(np.uint64))
    who = _summed(users, moment)
    what = _summed(items, _mixed(who[users] + moment))
    who = _summed(users, _mixed(what[items] + moment))
    who, what = _distinct(who, users), _distinct(what, items)
    start = _mixed(np.full(1, seed % 2**64, dtype=np.uint64))
    return _mixed(_mixed(_mixed(start + moment) + who[users]) + what[items])


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """A one-to-one scrambling of uint64 numbers: the output step of SplitMix64 (Steele et al., 2014)."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _summed(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The sum modulo 2^64 of each code's numbers: the same in every order, (number of codes,)."""
    sums = np.zeros(codes.max() + 1, dtype=np.uint64)
    np.add.at(sums, codes, numbers)
    return sums


def _distinct(signatures: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Signatures (n,) made different: of equal ones the first, second, ... in the file gets 0, 1, ..."""
    first = np.empty(len(signatures), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last write is the first row
    order = np.lexsort((first, signatures))
    new = np.ones(len(order), dtype=bool)
    new[1:] = signatures[order][1:] != signatures[order][:-1]
    place = np.arange(len(order))
    ordinal = place - np.maximum.accumulate(np.where(new, place, 0))
    found = np.empty_like(signatures)
    found[order] = _mixed(signatures[order]) + ordinal.astype(np.uint64)
    return _mixed(found)
