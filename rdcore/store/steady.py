"""Lists that are the same on every machine, and their hash.

Two machines sum in another order, so that scores differ in their last digits: items with equal
scores change places, and items whose scores are 0 but for rounding do too. So before scores are
compared here they are rounded to a grid, and equal ones are ordered by item id. The grid is 2^-20
of the power of two just above the user's largest score: about a millionth of it.

What this cannot promise: a score that lies on the border of two grid points may still fall to
either side. Scores that are computed in float64 agree to about 1e-13 of the largest, so this
happens to one score in ten million, and matters only where another item of the list lies in the
next grid point.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from rdcore.checks import all_scores
from rdcore.data.interactions import Interactions
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, evaluating

STEPS = 2.0**20  # grid points up to the largest score


def steady_order(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best items of every row, best first, by rounded score and then by item id: scores (B,
    n), with -inf for what is never listed -> (B, k). Raises ValueError for NaN and +inf."""
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise ValueError("scores contain NaN or +inf: nothing can be ranked")
    largest = np.abs(scores).max(1, where=np.isfinite(scores), initial=0, keepdims=True)
    grid = np.ldexp(
        1 / STEPS, np.frexp(largest)[1]
    )  # (B, 1); a power of two, so that dividing is exact
    rounded = np.rint(scores / grid)
    if k < scores.shape[1]:  # sort only what can be in the list
        least = -np.partition(-rounded, k - 1, axis=1)[:, k - 1 : k]
        rounded = np.where(rounded >= least, rounded, -np.inf)
    return np.argsort(-rounded, axis=1, kind="stable")[:, :k]


@torch.no_grad()
def steady_lists(model: Model, fit: Interactions, k: int) -> np.ndarray:
    """The k best items of every user without those they have in ``fit``: (n_users, k) int32, best
    first; n_items behind the last unseen item."""
    queries = final_queries(fit)
    seen = SeenItems(queries.items, queries.offsets, fit.n_items)
    lists = np.full((len(queries), k), fit.n_items, dtype=np.int32)
    rows, width = block_rows(fit.n_items, 256, copies=6), min(k, fit.n_items)
    with evaluating(model):
        for start in range(0, len(queries), rows):
            asked = queries[start : start + rows]
            scores = all_scores(model, asked).contiguous()
            scores[seen.of(asked.user)] = -torch.inf
            scores = scores.numpy()
            items = steady_order(scores, width)
            lists[start : start + rows, :width] = np.where(
                np.take_along_axis(scores, items, 1) == -np.inf, fit.n_items, items
            )
    return lists


def lists_hash(lists: np.ndarray) -> str:
    """64 hex digits that identify lists (n, k), the same on every machine: the sha256 of their
    shape and items as little-endian 64-bit integers."""
    digest = hashlib.sha256(np.array(lists.shape, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(lists, dtype="<i8").tobytes())
    return digest.hexdigest()
