"""Small random data that the tests of counted models share."""

import numpy as np
import torch

from rdcore.data import Interactions
from rdcore.data.queries import final_queries
from rdcore.models import Model


def random_sequences(n_users=25, n_items=18, seed=0) -> Interactions:
    """0 to 9 items a user, re-visits among them; items 0 and the last are never chosen."""
    rng = np.random.RandomState(seed)  # its numbers are the same in every version of numpy
    lengths = rng.randint(10, size=n_users)
    items = 1 + ((n_items - 2) * rng.random_sample(lengths.sum()) ** 2).astype(int)
    return Interactions("random", items, np.cumsum([0, *lengths]), n_items)


def all_scores(model: Model, fit: Interactions) -> torch.Tensor:
    """Scores of all items for every user, (n_users, n_items)."""
    return model.score_all(model.encode(final_queries(fit)))


def renumbered(fit: Interactions, users: np.ndarray) -> Interactions:
    """The same data with user ``users[u]`` in place u: sums over users then have another order."""
    rows = [fit.items[fit.offsets[user] : fit.offsets[user + 1]] for user in users]
    return Interactions(
        "renumbered", np.concatenate(rows), np.cumsum([0, *map(len, rows)]), fit.n_items
    )
