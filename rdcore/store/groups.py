"""Groups of items by how often they were chosen: which held-out items does a model find?

Which of a user's held-out items were found is in no record, so `by_item_popularity` needs the model, and its result is kept
with the run (groups.json). Groups of users come from records (`studies.common.activity`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from rdcore.data.splits import Stage
from rdcore.eval import metrics
from rdcore.eval.metrics import held_out
from rdcore.models.base import Model

N_GROUPS = 5


def quantile_groups(values: ArrayLike, n_groups: int = N_GROUPS, weights: ArrayLike | None = None) -> np.ndarray:
    """The group of every entry, (n,) of 0, 1, ...: ascending in value and of about equal total weight.

    Entries of equal value stay together, so that a group can be named by its values. A value that outweighs a whole group
    leaves fewer groups than asked for.

    Args:
        values: (n,).
        weights: (n,) integers >= 0, by default 1 each: groups of about equal size.
    """
    distinct, inverse = np.unique(np.asarray(values), return_inverse=True)
    mass = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(mass, inverse, 1 if weights is None else np.asarray(weights, dtype=np.int64))
    if n_groups < 1 or not mass.sum() > 0:
        raise ValueError(f"nothing to divide: {n_groups} groups, total weight {mass.sum()}")
    # Where the middle of each value's share falls; in whole numbers, because a rounded share may fall on either side.
    group = (2 * np.cumsum(mass) - mass) * n_groups // (2 * mass.sum())
    group = np.minimum(group, n_groups - 1)  # values of no weight at the end
    return np.unique(group, return_inverse=True)[1][inverse]


def span(values: np.ndarray) -> str:
    """A group by its least and greatest value."""
    least, most = int(values.min()), int(values.max())
    return str(least) if least == most else f"{least}-{most}"


@torch.no_grad()
def by_item_popularity(
    model: Model, stage: Stage, *, device="cpu", n_groups: int = N_GROUPS, n: int = metrics.CUTOFFS[-1], block: int = 512
) -> dict:
    """How many of the held-out items a model finds, for items of like popularity.

    Popularity is the number of interactions in ``stage.fit``. The groups hold about equal shares of those, so that the last
    one is few items which everybody has, and the first one many that few have. An item is found when it is among the first
    ``n`` unseen items of its user, a tie counting against it as in all metrics: over all groups the hits are those of P@n.

    Returns:
        Plain JSON, one list entry a group, least popular first: ``least`` and ``most`` interactions of an item, ``items``,
        ``interactions``, ``held_out`` (rows of stage.judge), ``found`` of them, and ``recall`` (null for a group without
        held-out items); and ``n``.
    """
    popularity = stage.fit.item_counts()
    group = quantile_groups(popularity, n_groups, popularity)
    size = int(group.max()) + 1
    hits = np.zeros(size, dtype=np.int64)
    for scores, seen, (targets, offsets) in held_out(model, stage, device=device, block=block):
        rows = torch.repeat_interleave(torch.arange(len(scores), device=scores.device), offsets.diff())
        # target_ranks answers from each user's best target to the worst: put the items in that order too.
        order = scores[rows, targets].argsort(descending=True)
        order = order[rows[order].argsort(stable=True)]
        ranks = metrics.target_ranks(scores, seen, (targets, offsets))
        found = targets[order][ranks <= n].cpu().numpy()
        hits += np.bincount(group[found], minlength=size)
    members = [popularity[group == number] for number in range(size)]
    rows = np.bincount(group[stage.judge.items], minlength=size).tolist()
    return {
        "n": n,
        "least": [int(counts.min()) for counts in members],
        "most": [int(counts.max()) for counts in members],
        "items": [len(counts) for counts in members],
        "interactions": [int(counts.sum()) for counts in members],
        "held_out": rows,
        "found": hits.tolist(),
        "recall": [hit / out if out else None for hit, out in zip(hits.tolist(), rows, strict=True)],
    }
