"""The best of many scores, and how many queries are ranked at a time."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 64  # scores whose largest is found at once
BLOCK_BYTES = 2**28


def block_rows(n_items: int, most: int, copies: int = 1) -> int:
    """How many queries are ranked at a time: ``most``, or fewer where their float32 scores of all items, ``copies`` times,
    would take more than a quarter of a GiB: memory does not grow with the number of items."""
    return max(1, min(most, BLOCK_BYTES // (4 * n_items * copies)))


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and places of the k largest of every row, largest first, as ``topk`` gives them: scores (b, n) -> (b, k), (b, k).

    On a CPU in about half the time where k is small: no more than k + 1 groups of scores can hold the k + 1 largest, those
    whose own largest are largest, and only they are searched. What is equal comes in no particular order, as in ``topk``:
    rows in which that matters are left to it.
    """
    groups = scores.shape[1] // GROUP
    if scores.is_cuda or groups < 16 * (k + 1):
        return tuple(scores.topk(k, dim=1))
    tops = scores[:, : groups * GROUP].unflatten(1, (groups, GROUP)).amax(2)
    chosen = tops.topk(k + 1, dim=1, sorted=False).indices
    behind = torch.arange(groups * GROUP, scores.shape[1]).expand(len(scores), -1)
    places = torch.cat([(chosen.unsqueeze(2) * GROUP + torch.arange(GROUP)).flatten(1), behind], dim=1)
    values, order = scores.gather(1, places).topk(k + 1, dim=1)
    items = places.gather(1, order)[:, :k]
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    values = values[:, :k]
    if tied.any():
        values[tied], items[tied] = scores[tied].topk(k, dim=1)
    return values, items
