"""The teacher's lists: what it ranks highest for every training query, made once and kept beside the teacher."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from rdcore.data.queries import Queries, final_queries_of
from rdcore.data.sampling import SeenItems
from rdcore.distill.base import Batch, TrainingData
from rdcore.eval.topk import block_rows, largest
from rdcore.files.disk import locked, remove_partials
from rdcore.files.whole import damaged, write_whole
from rdcore.models.base import Model, evaluating

REMEDY = "delete this file, and the teacher is asked again"
REVISION = 1  # raise when the same teacher begins to give other lists


@dataclass(frozen=True)
class Lists:
    """items (n_instances, K) int32, one list a training instance, or (n_users, K) where ``per_user``; best first."""

    items: Tensor
    per_user: bool

    def of(self, batch: Batch) -> Tensor:
        """The lists of the batch's queries, (B, K)."""
        return self.items[batch.queries.user if self.per_user else batch.index].long()


def teacher_lists(
    teacher: Model, data: TrainingData, K: int, exclude: str, *, cache: Path | None = None, name: str = "exemplary",
    progress: bool = False,
) -> Lists:
    """The teacher's top K items for every query of ``data``, without the query's target (``exclude`` 'target'), without
    everything the user has in training ('seen'), or of all items ('nothing').

    A teacher without memory gives all queries of a user one list, so without 'target' it is asked once a user. ``cache``: a
    folder in which the lists are kept, and found by every student that has the same instances.
    """
    per_user = exclude != "target" and teacher.window == 0
    seen = data.seen if exclude == "seen" else None
    target = None if exclude == "nothing" else data.target

    def make() -> Tensor:
        if per_user:
            asked = final_queries_of(data.queries)
            return exemplary_rankings(teacher, asked, K, target=None, seen=seen, progress=progress)
        return exemplary_rankings(teacher, data.queries, K, target=target, seen=seen, progress=progress)

    if cache is None:
        return Lists(make(), per_user)
    users = "-users" if per_user else ""
    file = cache / f"{name}-{K}-{exclude}{users}-{_instances_id(data)}.safetensors"
    with locked(file):  # of several students that want the same lists, one makes them
        if not file.exists():
            remove_partials(file.parent, file.name)
            made = make().cpu()
            write_whole(file, lambda draft: save_file({"lists": made}, draft))
    rows = len(data.seen.offsets) - 1 if per_user else len(data.target)
    return Lists(_read(file, (rows, K), teacher.n_items).to(data.target.device), per_user)


def _read(file: Path, size: tuple[int, int], n_items: int) -> Tensor:
    """Kept lists. Raises ValueError naming the file where it holds none of this ``size`` with items below ``n_items``."""
    try:
        found = load_file(file).get("lists")
    except SafetensorError as error:
        raise damaged(file, f"holds no lists ({str(error)[:200]})", REMEDY) from None
    if found is None or found.dtype != torch.int32 or tuple(found.shape) != size:
        kind = "none" if found is None else f"{found.dtype} {tuple(found.shape)}"
        raise damaged(file, f"does not hold the lists asked for, torch.int32 {size}, but {kind}", REMEDY)
    if found.numel() and (found.min() < 0 or found.max() >= n_items):
        raise damaged(file, f"names items beyond the teacher's {n_items}", REMEDY)
    return found


def exemplary_rankings(
    teacher: Model,
    queries: Queries,
    K: int,
    *,
    target: Tensor | None,
    seen: SeenItems | None = None,
    block: int | None = None,
    progress: bool = False,
) -> Tensor:
    """The teacher's top K items for every query, best first: (B, K).

    Left out are the query's target (B,), if any, and with ``seen`` all items its user has in training. In blocks of ``block``
    queries (by default 512, whose scores stay in the cache of a CPU, or 2,048 on a GPU), fewer where there are many items, so
    that memory holds one block of scores. The official code lists 2 K items with the padding id among them and drops the
    target afterwards: the same list but for the padding id, which is never ranked here.
    """
    room = teacher.n_items - 1
    if K > room:
        raise ValueError(f"K must be <= {room} (the number of items less the target), got {K}")
    if seen is not None:
        if K > seen.fewest_unseen:
            raise ValueError(f"K must be <= {seen.fewest_unseen}, the unseen items of the most active user, got {K}")
    lists = torch.empty((len(queries), K), dtype=torch.int32, device=queries.user.device)
    rows = block_rows(teacher.n_items, block or (2048 if queries.user.is_cuda else 512))
    starts = range(0, len(queries), rows)
    with torch.no_grad(), evaluating(teacher):
        for start in tqdm(starts, desc="teacher's lists", unit="block", disable=not progress, mininterval=5):
            part = slice(start, start + rows)
            asked = queries[part]
            scores = teacher.score_all(teacher.encode(asked))
            if target is not None:
                scores.scatter_(1, target[part, None], -torch.inf)
            if seen is not None:
                scores[seen.of(asked.user)] = -torch.inf
            lists[part] = largest(scores, K)[1]
    return lists


def _instances_id(data: TrainingData) -> str:
    """Stands for the instances in the name of a cached file: a student with another window has others, in another
    order, under the same teacher."""
    digest = hashlib.sha256(f"{REVISION}".encode())
    for part in (data.queries.user, data.queries.end, data.target):
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
