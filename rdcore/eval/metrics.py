"""Full ranking: metrics of every user, over all items that they do not have in training.

`evaluate` goes through the users in blocks. `target_ranks` turns a block's scores into the ranks of the users' held-out
items (their *targets*); it counts the items that score at least as high and sorts nothing. `per_user` turns ranks into one
array for each metric; `mean` is the last step and the only one that forgets the users: significance tests need them.

A ragged block, here and below, is a flat array and its `offsets` (b+1,): what belongs to row u is
`flat[offsets[u]:offsets[u + 1]]`.

Source: evaluation.py of the official code (github.com/graytowne/rank_distill, commit 4fb5237). Two deliberate differences:

- the official code ranks its padding id together with the items; here `scores` has one column for each real item and none
  for padding;
- it leaves ties to numpy's unstable argsort; here a tie counts against the target, so that a model with constant scores
  gets the worst result and not a random one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rdcore.checks import all_scores, of_its_users
from rdcore.data.queries import Queries, final_queries
from rdcore.data.sampling import SeenItems
from rdcore.data.splits import Stage
from rdcore.eval.topk import block_rows
from rdcore.fast import largest
from rdcore.models.base import Model, evaluating
from rdcore.models.popularity import PopularitySettings

CUTOFFS = (3, 5, 10)
CUTOFFS_OF_ONE = (5, 10, 20)

# Scores compared at once on an accelerator: 0.25 GB in float32, whatever the number of items.
_SCORES_PER_CHUNK = 2**26


def check_scores(scores: Tensor) -> None:
    """Raises ValueError for anything but (users, items) of float32 or float64 without NaN and +inf."""
    if scores.ndim != 2 or scores.dtype not in (torch.float32, torch.float64):
        raise ValueError("scores must be a (users, items) tensor of float32 or float64, got shape "
                         f"{tuple(scores.shape)} of {scores.dtype}")  # fmt: skip
    # One pass: amax hands NaN on.
    if scores.numel() and not scores.amax() < float("inf"):
        raise ValueError("scores contain NaN or +inf: the model has diverged (items that it does not rank have the score -inf)")


def _check_ids(name: str, items: Tensor, n_items: int) -> None:
    # Negative ids would wrap around without a word, and ids too large abort a CUDA process.
    if items.numel() and not (0 <= int(items.min()) and int(items.max()) < n_items):
        raise ValueError(f"{name} items must lie in 0..{n_items - 1} (the padding id is not an item), got "
                         f"{int(items.min())}..{int(items.max())}")  # fmt: skip


def target_ranks(scores: Tensor, seen: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    """Ranks of the held-out items among all items that the user has not in training.

    The i-th best of a user's targets (i = 1, 2, ...) has rank

        i + #{items, neither target nor seen, whose score is >= its score}

    Args:
        scores: (b, n_items), float32 or float64. USED UP: the entries of seen items and of targets are overwritten with
            NaN. -inf is allowed; NaN and +inf are refused.
        seen: rows (S,) and items (S,) of the pairs that are left out of the ranking.
        targets: flat items (T,) and offsets (b+1,).

    Returns:
        (T,) int64 on the device of `scores`: 1-based ranks, strictly increasing within each user (so they follow the user's
        targets from best to worst, not the order given).

    Raises:
        ValueError: for scores that are not finite, ids out of range, a target given twice, or one that is also seen: it
            could never be ranked (data sets have repeated visits merged).
    """
    scores = scores.detach()
    check_scores(scores)
    (n_users, n_items), device = scores.shape, scores.device
    seen_rows, seen_items = (part.to(device) for part in seen)
    items, offsets = (part.to(device) for part in targets)
    _check_ids("seen", seen_items, n_items)
    _check_ids("target", items, n_items)
    counts = offsets.diff()
    if len(counts) != n_users or int(offsets[0]) != 0 or int(offsets[-1]) != len(items):
        raise ValueError(f"target offsets must run from 0 to {len(items)} in {n_users + 1} steps, got {len(offsets)} from "
                         f"{int(offsets[0])} to {int(offsets[-1])}")  # fmt: skip
    rows = torch.repeat_interleave(torch.arange(n_users, device=device), counts)
    if torch.unique(rows * n_items + items).numel() != items.numel():
        raise ValueError("a user has the same target twice")

    # NaN is neither above, below nor equal to anything: such an entry is never counted below.
    scores[seen_rows, seen_items] = float("nan")
    values = scores[rows, items]
    if bool(values.isnan().any()):
        first = int(values.isnan().nonzero()[0])
        raise ValueError(f"item {int(items[first])} of row {int(rows[first])} is a target and seen: it can never be ranked, "
                         "merge repeated visits before splitting")  # fmt: skip
    scores[rows, items] = float("nan")

    order = values.argsort(descending=True)
    order = order[rows[order].argsort(stable=True)]  # by user, and within each from best to worst
    position = torch.arange(1, len(items) + 1, device=device) - offsets[rows]
    count = _count_by_row if device.type == "cpu" else _count_by_chunk
    return position + count(scores, rows, values[order])


def _count_by_row(scores: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """For every target the number of scores in its row that are >= its value; for the CPU.

    numpy compares a row of 14,009 scores and counts the hits in 2 microseconds, while the row lies in the cache. Sorting the
    rows, or comparing whole blocks in torch, took three times as long.
    """
    table = scores.numpy()
    counts = [np.count_nonzero(table[row] >= value) for row, value in zip(rows.tolist(), values.numpy(), strict=True)]
    return torch.tensor(counts, dtype=torch.int64)


def _count_by_chunk(scores: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """The same numbers in a few large operations, for an accelerator."""
    size = max(1, _SCORES_PER_CHUNK // scores.shape[1])
    chunks = zip(rows.split(size), values.split(size), strict=True)
    return torch.cat([(scores[row] >= value[:, None]).sum(1) for row, value in chunks])


def per_user(ranks: Tensor | ArrayLike, offsets: Tensor | ArrayLike) -> dict[str, np.ndarray]:
    """Metrics of each user from the ranks of their targets T_u.

    For n in 3, 5, 10, with "hits" the targets of rank <= n:

    - ``P@n`` = hits / n, ``R@n`` = hits / |T_u|, ``HR@n`` = 1 if there is any hit;
    - ``nDCG@n``: the official code's. With k = min(|T_u|, n) BOTH lists are cut at k:
      sum of 1 / log2(rank + 1) over targets of rank <= k, over the same sum for ranks 1..k.
      So a user with one target is measured by the first place alone;
    - ``nDCG@n-standard``: the textbook's. Predictions are cut at n, the ideal list at k.

    Over the whole list: ``MRR`` = 1 / rank of the first target, and ``AP`` = the mean over T_u of
    (targets up to and with this one) / (its rank); the mean of AP over users is MAP.

    Args:
        ranks: (T,) as `target_ranks` returns them, blocks of users put one after the other.
        offsets: (b+1,).

    Returns:
        float64 arrays (b,), NaN in every metric for a user without targets.
    """
    ranks, offsets = (np.asarray(x.cpu() if isinstance(x, Tensor) else x, dtype=np.int64) for x in (ranks, offsets))
    counts = np.diff(offsets)
    n_users = len(counts)
    rows = np.repeat(np.arange(n_users), counts)
    position = np.arange(1, len(ranks) + 1) - offsets[rows]
    if np.any(ranks < position) or np.any((np.diff(ranks) <= 0) & (np.diff(rows) == 0)):
        raise ValueError("ranks must be 1-based and strictly increasing within each user")

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows, weights=values, minlength=n_users).astype(float)  # integers, where there is no target

    size = np.maximum(counts, 1)
    gain = 1 / np.log2(ranks + 1)
    ideal = np.cumsum(1 / np.log2(np.arange(max(CUTOFFS)) + 2))  # ideal[k - 1]: DCG of k hits
    out: dict[str, np.ndarray] = {}
    for n in CUTOFFS:
        hits = total(ranks <= n)
        k = np.minimum(size, n)
        out[f"P@{n}"] = hits / n
        out[f"R@{n}"] = hits / size
        out[f"HR@{n}"] = (hits > 0).astype(float)
        out[f"nDCG@{n}"] = total(gain * (ranks <= k[rows])) / ideal[k - 1]
        out[f"nDCG@{n}-standard"] = total(gain * (ranks <= n)) / ideal[k - 1]
    out["MRR"] = total((position == 1) / ranks)
    out["AP"] = total(position / ranks) / size
    for values in out.values():
        values[counts == 0] = np.nan
    return out


def of_one_item(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of users with a single held-out item each, from its rank: (n_users,), from 1, NaN for a user without.

    For n in 5, 10, 20, where the rank is <= n (else 0): ``H@n`` = 1, ``M@n`` = 1 / rank, ``N@n`` = 1 / log2(rank + 1)
    (Kang et al., CIKM 2020, code 97b6bf6). NaN stays NaN.
    """
    ranks = np.asarray(ranks, dtype=float)
    if np.any(ranks < 1):
        raise ValueError(f"ranks begin with 1, got {np.nanmin(ranks)}")
    out: dict[str, np.ndarray] = {}
    for n in CUTOFFS_OF_ONE:
        hit = np.where(np.isnan(ranks), np.nan, ranks <= n)
        out |= {f"H@{n}": hit, f"M@{n}": hit / ranks, f"N@{n}": hit / np.log2(ranks + 1)}
    return out


def mean(users: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means over the users who have targets. ``AP`` becomes ``MAP``; ``n_users`` counts the users in the mean, ``n_left_out``
    the others."""
    evaluated = ~np.isnan(users["AP"])
    if not evaluated.any():
        raise ValueError("no user has a held-out item: there is nothing to evaluate")
    means = {"MAP" if k == "AP" else k: float(v[evaluated].mean()) for k, v in users.items()}
    return means | {"n_users": int(evaluated.sum()), "n_left_out": int((~evaluated).sum())}


def top_items(scores: Tensor, seen: tuple[Tensor, Tensor], n: int) -> Tensor:
    """The n best unseen items of every user, best first; among equal scores the lower id first.

    Args:
        scores: (b, n_items), left as they are. An item at -inf counts as seen.
        seen: rows (S,) and items (S,) of the pairs that are left out.
        n: length of the lists, at most n_items.

    Returns:
        (b, n) int64. Where a user has fewer than n unseen items the padding id n_items fills the list up.
    """
    check_scores(scores)
    n_items = scores.shape[1]
    if not 1 <= n <= n_items:
        raise ValueError(f"n must lie in 1..{n_items}, got {n}")
    seen_rows, seen_items = (part.to(scores.device) for part in seen)
    _check_ids("seen", seen_items, n_items)
    scores = scores.detach().clone()
    scores[seen_rows, seen_items] = -float("inf")
    # topk orders equal scores as it likes, but where the first n + 1 scores all differ there is only one answer. The few
    # other rows go through the slower stable sort.
    values, items = largest(scores, min(n + 1, n_items))
    items = items[:, :n].clone()
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    items[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :n]
    items[scores.gather(1, items) == -float("inf")] = n_items
    return items


# -------------------------------------------------------------------------------------- of a model, in blocks


def user_blocks(stage: Stage, device, block: int = 512) -> Iterator[tuple[int, Queries, tuple[Tensor, Tensor]]]:
    """Blocks of users, at most ``block`` in each: the first one's code, their queries behind the last fitted item, and what
    they have seen, as (row, item)."""
    queries = final_queries(stage.fit).to(device)
    seen = SeenItems(queries.items, queries.offsets, stage.fit.n_items)
    rows = block_rows(stage.fit.n_items, block)
    for start in range(0, len(queries), rows):
        asked = queries[start : start + rows]
        yield start, asked, seen.of(asked.user)


@torch.no_grad()
def held_out(model: Model, stage: Stage, *, device="cpu", block: int = 512) -> Iterator[tuple]:
    """The arguments of `target_ranks`, for one block of users after the other: scores of all items, what the users have
    seen, and their held-out items of ``stage.judge``."""
    offsets, items = torch.from_numpy(stage.judge.offsets), torch.from_numpy(stage.judge.items)
    with evaluating(of_its_users(model, stage.fit)):
        for start, asked, seen in user_blocks(stage, device, block):
            bounds = offsets[start : start + len(asked) + 1]
            targets = items[bounds[0] : bounds[-1]].to(device)
            # A tensor that may be written to: a model may answer with one row for all.
            yield all_scores(model, asked).contiguous(), seen, (targets, (bounds - bounds[0]).to(device))


@torch.no_grad()
def evaluate(model: Model, stage: Stage, *, device="cpu", block: int = 512) -> dict[str, np.ndarray]:
    """Metrics of every user on ``stage.judge``, each (n_users,); NaN for users without a held-out item.

    All items are ranked but those the user has in ``stage.fit``; one query per user serves all of their held-out items,
    as in the official evaluation.py. Memory: the scores of one block, ``block`` users or fewer where there are many items.
    """
    ranks = [target_ranks(*given).cpu() for given in held_out(model, stage, device=device, block=block)]
    return per_user(torch.cat(ranks), stage.judge.offsets)


def popularity(stage: Stage) -> dict[str, np.ndarray]:
    """Metrics of every user, each (n_users,), when all are given the most frequent items of ``stage.fit`` (POP)."""
    return evaluate(PopularitySettings().fit(stage.fit), stage)
