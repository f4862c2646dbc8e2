"""What the RD paper's Table 1 says of a data set."""

import numpy as np

from rdcore.data import Interactions


def windows(interactions: Interactions, length: int = 5) -> int:
    """Number of windows of `length` + 1 successive rows; a user with fewer rows has none."""
    return int(np.maximum(interactions.counts() - length, 0).sum())


def statistics(interactions: Interactions, length: int = 5) -> dict[str, int | float]:
    """The figures of the RD paper's Table 1, for a whole data set (not for a part of a split).

    `sparsity` is 1 - interactions / (users * items). `windows` counts the instances of the final models: windows of
    `length` + 1 rows in each user's sequence without their test rows.
    """
    users, items = interactions.n_users, interactions.n_items
    counts, popularity = interactions.counts(), interactions.item_counts()
    return {
        "users": users,
        "items": items,
        "interactions": len(interactions),
        "actions_per_user": len(interactions) / users,
        "sparsity": 1 - len(interactions) / (users * items) if items else 1.0,
        "windows": int(np.maximum(counts - 2 * counts // 10 - length, 0).sum()),
        "min_actions_per_user": int(counts.min()),
        "max_actions_per_user": int(counts.max()),
        "min_actions_per_item": int(popularity.min()),
        "max_actions_per_item": int(popularity.max()),
    }
