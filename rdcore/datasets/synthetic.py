"""Generated sequences with a planted structure: no files, for tests and for profile `smoke`."""

from pathlib import Path

import numpy as np

from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions
from rdcore.datasets.base import DataSet


def generate(
    n_users: int = 200,
    n_items: int = 120,
    *,
    n_clusters: int = 4,
    successors: int = 3,
    min_length: int = 15,
    max_length: int = 35,
    chain: float = 6.0,
    taste: float = 1.0,
    skew: float = 0.5,
    seed: int = 0,
) -> Interactions:
    """Sequences in which the next item depends on the last one, on the user, and on popularity.

    The items lie on one ring (a random order) and are cut into clusters of neighbours. A user prefers one cluster. They
    never take an item twice (items already seen are not ranked), and take item i after item j with probability
    proportional to

        popularity(i)^skew * exp(chain * [i is one of the `successors` items after j]) * exp(taste * [i in their cluster])

    with popularity(i) = 1 / (place of i in a random order). So popularity alone helps a little, and a model that sees
    the last items does far better. Deterministic in `seed`; times are 0, 1, 2, ... for each user. Time and memory grow
    with n_users * n_items: meant for small sizes. Raises DataError when a sequence could run out of items.
    """
    if not 1 <= min_length <= max_length < n_items:
        raise DataError(
            f"synthetic data needs 1 <= min_length <= max_length < n_items, got {min_length}, {max_length}, {n_items}"
        )
    if n_users < 1 or not 1 <= n_clusters <= n_items or not 0 <= successors < n_items:
        raise DataError(
            f"synthetic data needs n_users >= 1, 1 <= n_clusters <= n_items and 0 <= successors < n_items, "
            f"got {n_users}, {n_clusters}, {successors}"
        )
    rng = np.random.default_rng(seed)
    ring = rng.permutation(n_items)
    place = np.argsort(ring)
    cluster = place * n_clusters // n_items
    popularity = -skew * np.log1p(rng.permutation(n_items))
    # follows[j] = the items that item j leads to, (n_items, successors)
    follows = ring[(place[:, None] + np.arange(1, successors + 1)) % n_items]
    lengths = rng.integers(min_length, max_length, size=n_users, endpoint=True)
    preferred = rng.integers(n_clusters, size=n_users)

    everyone = np.arange(n_users)
    base = popularity + taste * (cluster == preferred[:, None])
    sequences = np.empty((n_users, max_length), dtype=np.int64)
    for step in range(max_length):
        scores = base.copy()
        if step:
            scores[everyone[:, None], follows[sequences[:, step - 1]]] += chain
            scores[everyone[:, None], sequences[:, :step]] = -np.inf
        # The largest of log-weight + Gumbel noise is a draw with probability proportional to the weight.
        sequences[:, step] = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)

    kept = np.arange(max_length) < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.broadcast_to(np.arange(max_length), kept.shape)[kept]
    return Interactions("synthetic", sequences[kept], offsets, n_items, times)


def read(files: list[Path], name: str, **options) -> Interactions:
    """``options``: those of `generate`."""
    return generate(**options)


DATASET = DataSet(
    name="synthetic",
    title="generated sequences with a planted structure (rdcore.datasets.synthetic)",
    licence="none needed",
    citation="none needed",
    read=read,
)
