"""The teacher's lists: what it ranks highest for every training query."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rdcore.data.queries import Queries, final_queries_of
from rdcore.data.sampling import SeenItems
from rdcore.distill.base import Batch, Cache, TrainingData
from rdcore.eval.topk import block_rows
from rdcore.fast import largest
from rdcore.models.base import Model, evaluating

REVISION = 1  # raise when the same teacher begins to give other lists


@dataclass(frozen=True)
class Lists:
    """items (n_instances, K) int32, one list for each training instance, or (n_users, K) where
    ``per_user``; best first."""

    items: Tensor
    per_user: bool

    def of(self, batch: Batch) -> Tensor:
        """The lists of the batch's queries, (B, K)."""
        return self.items[batch.queries.user if self.per_user else batch.index].long()


def teacher_lists(
    teacher: Model, data: TrainingData, K: int, exclude: str, *, cache: Cache | None = None,
    name: str = "exemplary", progress: bool = False,
) -> Lists:  # fmt: skip
    """The teacher's top K items for every query of ``data``.

    Left out are the query's target (``exclude`` 'target'), everything the user has in training
    ('seen'), or nothing ('nothing'). A teacher without memory gives all queries of a user one list,
    so without 'target' it is asked once for each user. ``name``: of the ranking, in the cache.
    """
    per_user = exclude != "target" and teacher.window == 0
    seen = data.seen if exclude == "seen" else None
    target = None if exclude == "nothing" else data.target

    def make() -> Tensor:
        if per_user:
            queries = final_queries_of(data.queries)
            return exemplary_rankings(
                teacher, queries, K, target=None, seen=seen, progress=progress
            )
        return exemplary_rankings(
            teacher, data.queries, K, target=target, seen=seen, progress=progress
        )

    if cache is None:
        return Lists(make(), per_user)
    users = "-users" if per_user else ""
    rows = len(data.seen.offsets) - 1 if per_user else len(data.target)
    kept = f"{name}-{K}-{exclude}{users}-{_instances_id(data)}"
    items = cache.get(kept, (rows, K), teacher.n_items, make)
    return Lists(items.to(data.target.device), per_user)


def exemplary_rankings(
    teacher: Model, queries: Queries, K: int, *, target: Tensor | None,
    seen: SeenItems | None = None, block: int | None = None, progress: bool = False,
) -> Tensor:  # fmt: skip
    """The teacher's top K items for every query, best first: (B, K) int32.

    Left out are the query's ``target`` (B,), if any, and with ``seen`` all items its user has in
    training. Goes by blocks of ``block`` queries (by default 512, whose scores stay in a CPU's
    cache, or 2,048 on a GPU), fewer where there are many items. The official code lists 2 K items
    with the padding id among them and drops the target afterwards: the same list but for the
    padding id, which is never ranked here.
    """
    room = teacher.n_items - 1
    if K > room:
        raise ValueError(f"K must be <= {room} (the number of items less the target), got {K}")
    if seen is not None and K > seen.fewest_unseen:
        raise ValueError(
            f"K must be <= {seen.fewest_unseen}, the unseen items of the most active user, got {K}"
        )
    lists = torch.empty((len(queries), K), dtype=torch.int32, device=queries.user.device)
    rows = block_rows(teacher.n_items, block or (2048 if queries.user.is_cuda else 512))
    starts = range(0, len(queries), rows)
    bar = tqdm(starts, desc="teacher's lists", unit="block", disable=not progress, mininterval=5)
    with torch.no_grad(), evaluating(teacher):
        for start in bar:
            part = slice(start, start + rows)
            scores = teacher.score_all(teacher.encode(queries[part]))  # (rows, n_items)
            if target is not None:
                scores.scatter_(1, target[part, None], -torch.inf)
            if seen is not None:
                scores[seen.of(queries.user[part])] = -torch.inf
            lists[part] = largest(scores, K)[1]
    return lists


def _instances_id(data: TrainingData) -> str:
    """Stands for the training instances in a cache: under the same teacher, a student with another
    window has others, in another order."""
    digest = hashlib.sha256(f"{REVISION}".encode())
    for part in (data.queries.user, data.queries.end, data.target):
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
