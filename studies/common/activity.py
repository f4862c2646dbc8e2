"""Where does a difference come from? Users by how much they did; a record is enough for that."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rdcore.eval.significance import compare
from rdcore.store.groups import N_GROUPS, quantile_groups, span


def by_activity(
    a: ArrayLike,
    b: ArrayLike,
    activity: ArrayLike,
    *,
    n_groups: int = N_GROUPS,
) -> dict:
    """a - b among users of like activity: group, named by its span, -> significance.Comparison.

    Args:
        a, b: (seeds, users) as `significance.compare` takes them; users without a value are in no group.
        activity: (users,), the number of a user's training items.
    """
    a, b, activity = np.asarray(a), np.asarray(b), np.asarray(activity)
    if activity.shape != a.shape[1:]:
        raise ValueError(f"activity of {len(activity)} users, metrics of {a.shape[1]}: they are not of the same data")
    counted = np.flatnonzero(~np.isnan(a[0]))
    group = quantile_groups(activity[counted], n_groups)
    found = {}
    for number in range(group.max() + 1):
        users = counted[group == number]
        found[span(activity[users])] = compare(a[:, users], b[:, users])
    return found
