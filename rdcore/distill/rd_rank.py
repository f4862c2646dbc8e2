"""The student's rank of the teacher's items, for RD's discrepancy weights: from a sample, or among all items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.data.sampling import SeenItems, unseen_items
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model


def sampled_rank(logits: Tensor, sample: Tensor, unseen: Tensor | None, n_items: int, own: Tensor | float = 0) -> Tensor:
    """The student's rank of the listed items, estimated from a sample: floor(n_items n / S).

    n counts the unseen samples scored strictly above the item, S the unseen ones. The official
    code has floor((N - 1) n / S), where N - 1 is the number of real items.

    Args:
        logits: (B, K) of the listed items.
        sample: (B, S) logits of the sampled items.
        unseen: (B, S), which of them the user has not seen; None: all.
        own: (B, K), how many of those above are the listed item itself, whose score another product
            rounded otherwise: they do not count.
    """
    size = sample.shape[1]
    if unseen is not None:
        sample = sample.masked_fill(~unseen, -torch.inf)
        size = unseen.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    # Ones and zeros in floats, whose sum is exact and, on a CPU, faster than that of bools.
    above = logits.new_empty((*logits.shape, sample.shape[1]))  # (B, K, S)
    torch.gt(sample.unsqueeze(1), logits.unsqueeze(2), out=above)
    return (above.sum(2) - own).long() * n_items // size  # (B, K)


def rank_in_shared(
    student: Model, seen: SeenItems, user: Tensor, listed: Tensor, context: Tensor, logits: Tensor, sample: Tensor
) -> Tensor:
    """Of users (B,) with contexts (B, D): rank of their listed items, with their logits, both (B, K), by one sample of
    different items for all of them (S,) -> (B, K)."""
    unseen = ~seen.among(user, sample)  # (B, S)
    scores = student.score(context, sample)  # (B, S)
    place = sample.new_full((student.n_items,), len(sample))  # of each item in the sample
    place[sample] = torch.arange(len(sample), device=sample.device)
    known = scores.masked_fill(~unseen, -torch.inf)
    own = F.pad(known, (0, 1), value=-torch.inf).gather(1, place[listed]) > logits  # (B, K)
    return sampled_rank(logits, scores, unseen, student.n_items, own.float())


def rank_in_own(
    student: Model, seen: SeenItems, user: Tensor, listed: Tensor, context: Tensor, logits: Tensor, n: int, rng: torch.Generator
) -> Tensor:
    """The same by n unseen items of each user's own, drawn with replacement, as in the official code."""
    sample = unseen_items(user, n, seen, rng)  # (B, S)
    scores = student.score(context, sample)  # (B, S)
    itself = listed.unsqueeze(2) == sample.unsqueeze(1)  # (B, K, S)
    own = (itself & (scores.unsqueeze(1) > logits.unsqueeze(2))).sum(2)  # (B, K)
    return sampled_rank(logits, scores, None, student.n_items, own.float())


def exact_rank(items: Tensor, scores: Tensor, seen: tuple[Tensor, Tensor]) -> Tensor:
    """The student's 0-based rank of items (B, K) among all unseen ones: scores of all items (B, n_items), and what is seen
    as (row (M,), item (M,)) -> (B, K)."""
    unseen = scores.index_put(seen, scores.new_tensor(-torch.inf))
    return torch.stack([(unseen > item.unsqueeze(1)).sum(1) for item in scores.gather(1, items).unbind(1)], dim=1)


def rank_among_all(student: Model, seen: SeenItems, user: Tensor, listed: Tensor, context: Tensor) -> Tensor:
    """`exact_rank` of users (B,) with contexts (B, D) and listed items (B, K), some users at a time -> (B, K)."""
    rows = block_rows(student.n_items, len(user), copies=3)  # scores, a copy, and masks
    parts = zip(user.split(rows), listed.split(rows), context.split(rows), strict=True)
    return torch.cat([exact_rank(items, student.score_all(part), seen.of(who)) for who, items, part in parts])
