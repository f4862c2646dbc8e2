"""The teacher's lists: what it ranks highest for every training query."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rdcore.checks import all_scores, one_of, teacher_scores
from rdcore.data.queries import Queries, final_queries_of
from rdcore.data.sampling import SeenItems
from rdcore.distill.base import Batch, Cache, TrainingData
from rdcore.eval.topk import block_rows
from rdcore.fast import largest
from rdcore.models.base import Model, evaluating

REVISION = 1  # raise when the same teacher begins to give other lists


@dataclass(frozen=True)
class Lists:
    """items (n_instances, K) int32, one list for each training instance, or (n_users, K) where ``per_user``; best first.
    n_short: how many are shorter than K. padding: the id behind them; None where all are full."""

    items: Tensor
    per_user: bool
    padding: int | None = None
    n_short: int = 0

    def users(self, data: TrainingData) -> Tensor:
        """Whose lists they are, (rows,)."""
        user = data.queries.user
        return torch.arange(len(self.items), device=user.device) if self.per_user else user

    def rows(self, batch: Batch) -> Tensor:
        """The lists of the batch's queries, (B, K), with the padding id behind shorter ones."""
        return self.items[batch.queries.user if self.per_user else batch.index].long()

    def of(self, batch: Batch) -> Tensor:
        """The same with item 0 where nothing is `named`."""
        items = self.rows(batch)
        return items if self.padding is None else items.masked_fill(items == self.padding, 0)

    def named(self, batch: Batch) -> Tensor | None:
        """Which places of these lists name an item, (B, K) bool; None where all do."""
        return None if self.padding is None else self.rows(batch) != self.padding


def teacher_lists(
    teacher: Model, data: TrainingData, K: int, exclude: str, *, cache: Cache | None = None,
    name: str = "exemplary", partial: bool = False, progress: bool = False, setting: str = "K",
) -> Lists:  # fmt: skip
    """The teacher's top K items for every query of ``data``.

    Left out are the query's target (``exclude`` 'target'), everything the user has in training ('seen'), or nothing
    ('nothing'). A teacher without memory gives all queries of a user one list, so without 'target' it is asked once for
    each user. ``name``: of the ranking, in the cache. ``setting``: what K is called. An item that the teacher scores -inf or
    NaN is never listed. Raises ValueError where a list is then shorter than K, unless ``partial``, and where all are empty.
    """
    one_of("exclude", exclude, "target", "seen", "nothing")
    per_user = exclude != "target" and teacher.window == 0
    queries = final_queries_of(data.queries) if per_user else data.queries
    seen = data.seen if exclude == "seen" else None
    target = None if per_user or exclude == "nothing" else data.target

    def make() -> Tensor:
        return exemplary_rankings(teacher, queries, K, target=target, seen=seen, progress=progress, setting=setting)

    if cache is None:
        items = make()
    else:
        kept = f"{name}-{K}-{exclude}{'-users' if per_user else ''}-{_instances_id(data)}"
        items = cache.get(kept, (len(queries), K), teacher.n_items, make).to(data.target.device)
    refuse_nothing(items, teacher.n_items)
    lengths = (items < teacher.n_items).sum(1)
    short = int((lengths < K).sum())
    if short and not partial:
        raise ValueError(f"the teacher's list has fewer than {K} items for {short} of {len(items)} "
                         f"{'users' if per_user else 'queries'} (the shortest: {int(lengths.min())}): take no more than that, "
                         "or a method that takes shorter lists (RD, RRD, RankDistil)")  # fmt: skip
    return Lists(items, per_user, teacher.n_items if short else None, short)


def check_length(K: int, n_items: int, setting: str = "K") -> None:
    """Raises ValueError where no list can be so long. ``setting``: what K is called where it was given."""
    if K >= n_items:
        raise ValueError(f"{setting} must be <= {n_items - 1}, all items but the target, got {K}: lower it")


def refuse_nothing(lists: Tensor, n_items: int) -> None:
    """Raises ValueError where no list names an item: nothing could be taught."""
    if (lists == n_items).all():
        raise ValueError("the teacher names no item for anybody: its scores of what is not left out are all -inf or missing")


def exemplary_rankings(
    teacher: Model, queries: Queries, K: int, *, target: Tensor | None,
    seen: SeenItems | None = None, block: int | None = None, progress: bool = False, setting: str = "K",
) -> Tensor:  # fmt: skip
    """The teacher's top K items for every query, best first: (B, K) int32.

    Left out are the query's ``target`` (B,), if any, and with ``seen`` all items its user has in training. Goes by blocks
    of ``block`` queries (by default 512, whose scores stay in a CPU's cache, or 2,048 on a GPU), fewer where there are
    many items. The official code lists 2 K items with the padding id among them and drops the target afterwards: the
    same list but for the padding id, which is never ranked here. Items scored -inf or NaN are not listed: behind the
    last one comes the id n_items. Raises ValueError for a score of +inf.
    """
    check_length(K, teacher.n_items, setting)
    lists = torch.empty((len(queries), K), dtype=torch.int32, device=queries.user.device)
    rows = block_rows(teacher.n_items, block or (2048 if queries.user.is_cuda else 512))
    starts = range(0, len(queries), rows)
    with torch.no_grad(), evaluating(teacher):
        for start in tqdm(starts, desc="teacher's lists", unit="block", disable=not progress, mininterval=5):
            part = slice(start, start + rows)
            scores = all_scores(teacher, queries[part]).contiguous()  # (rows, n_items)
            if target is not None:
                scores.scatter_(1, target[part, None], -torch.inf)
            if seen is not None:
                scores[seen.of(queries.user[part])] = -torch.inf
            values, items = largest(scores, K)
            if values[:, 0].isnan().any():  # the largest of all where there is any
                values, items = largest(scores.masked_fill_(scores.isnan(), -torch.inf), K)
            teacher_scores(values[:, 0], queries.user[part], items[:, 0])
            lists[part] = items.masked_fill(values == -torch.inf, teacher.n_items)
    return lists


def _instances_id(data: TrainingData) -> str:
    """The name of the training instances in a cache: a student with another window has others, in another order."""
    digest = hashlib.sha256(f"{REVISION}".encode())
    for part in (data.queries.user, data.queries.end, data.target):
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
