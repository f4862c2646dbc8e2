"""Data of a given size, for measurements of time and memory."""

import numpy as np

from rdcore.data import DataError, Interactions


def of_size(
    n_users: int, n_items: int, n_interactions: int, *, least: int = 8, skew: float = 0.6, seed: int = 0
) -> Interactions:
    """Sequences without structure, for measurements of time and memory, which grow with n_interactions alone.

    Every user has at least ``least`` items, no item twice, and activity is log-normal as in real data (the most active ones
    have dozens of times the median). The items are drawn with probability proportional to place^-skew, in a random order of
    the items. Deterministic in `seed`. Raises DataError where users would have more than a quarter of the items.
    """
    rng = np.random.default_rng(seed)
    most = n_items // 4
    if not 0 <= skew < 1 or n_users < 1 or not 1 <= least <= most or not least <= n_interactions / n_users <= most / 2:
        raise DataError(
            "data of a size need n_users >= 1, 0 <= skew < 1, 1 <= least <= a quarter of n_items, and for a user between least "
            f"and an eighth of n_items on average; got {n_interactions} for {n_users} users, {n_items} items, least {least}, "
            f"skew {skew}"
        )
    activity = np.exp(rng.standard_normal(n_users))
    more = (n_interactions - least * n_users) * activity / activity.sum()
    counts = least + np.minimum(more.astype(np.int64), most - least)
    users = np.repeat(np.arange(n_users), counts)
    order = rng.permutation(n_items)

    def draw(n: int) -> np.ndarray:  # the inverse of the distribution of places
        return order[(n_items * rng.random(n) ** (1 / (1 - skew))).astype(np.int64)]

    items = draw(len(users))
    while True:  # what a user was given twice is drawn again, until nothing is
        _, first = np.unique(users * n_items + items, return_index=True)
        again = np.ones(len(items), dtype=bool)
        again[first] = False
        if not again.any():
            break
        items[again] = draw(int(again.sum()))
    return Interactions(f"{n_interactions} interactions", items, np.concatenate([[0], np.cumsum(counts)]), n_items)
