"""What a distillation is: three moments in the life of a student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from rdcore.checks import all_scores, missing, teacher_scores
from rdcore.data.queries import Queries
from rdcore.data.sampling import SeenItems
from rdcore.models.base import Model, evaluating


@dataclass(frozen=True)
class Batch:
    """One training step."""

    index: Tensor
    """(B,) places of the step's instances among all."""
    queries: Queries
    """B queries."""
    target: Tensor
    """(B,) the item that came next."""
    negatives: Tensor
    """(B, n) items the user has not seen."""
    wanted: Tensor | None = None
    """(B, m) the student's logits of the items that the distillation ``wants``, if any."""


@dataclass(frozen=True)
class TrainingData:
    """All instances of a run, on its device."""

    queries: Queries
    """N queries."""
    target: Tensor
    """(N,) the item that came next."""
    seen: SeenItems
    """What each user has in training."""


class Cache(Protocol):
    """Keeps the lists of one teacher for all its students: `rdcore.store.list_cache.ListCache`."""

    def get(self, name: str, size: tuple[int, int], n_items: int, make: Callable[[], Tensor]) -> Tensor:
        """The int32 tensor kept under ``name``; made by ``make`` and kept where there is none."""


class Frozen:
    """A teacher that only answers: in evaluation mode, without gradients, never trained.

    It is no nn.Module, so its weights are no part of the distillation that holds it. A teacher from outside may have
    another dtype; its answers have the student's.
    """

    def __init__(self, model: Model):
        self.model = model

    def _asked(self, question: Callable[[Model], Tensor]) -> Tensor:
        with torch.no_grad(), evaluating(self.model) as teacher:
            return question(teacher).to(torch.get_default_dtype())

    def score(self, queries: Queries, items: Tensor, block: int = 512) -> Tensor:
        """Logits of each query's own items, some queries at a time: (B), (B, n) -> (B, n). The score of the id n_items is -inf,
        as is a missing one (NaN): the teacher names no such item. +inf is refused."""
        none = items >= self.model.n_items
        items = items.long().masked_fill(none, 0)
        parts = [slice(k, k + block) for k in range(0, len(queries), block)]
        scores = self._asked(lambda teacher: torch.cat([teacher.score(teacher.encode(queries[p]), items[p]) for p in parts]))
        return teacher_scores(scores).masked_fill(none, -torch.inf)

    def score_all(self, queries: Queries) -> Tensor:
        """Logits of all items: B queries -> (B, n_items), -inf where one is missing (NaN). +inf is refused."""
        return teacher_scores(self._asked(lambda teacher: all_scores(teacher, queries)))

    def hint(self, queries: Queries) -> Tensor:
        """The vectors it shows of queries: B queries -> (B, H)."""
        return self._asked(lambda teacher: teacher.hint(teacher.encode(queries)))

    def item_hint(self, items: Tensor) -> Tensor:
        """The vectors it shows of items: (n,) -> (n, H)."""
        return self._asked(lambda teacher: teacher.item_hint(items))


class Distillation(nn.Module):
    """Adds a term to the student's loss.

    Its settings make it, ``settings.build(student, teacher)``, and refuse there, with a ValueError, models that it
    cannot work with. The loop then calls ``prepare`` once, ``begin_epoch`` at the start of each epoch, and ``loss`` in
    each step with the context that the student has already encoded: a method costs only what it adds, and sees the same
    dropout mask as the base loss.
    """

    reduction: ClassVar[str] = "mean"
    """What ``loss`` returns over the batch, and what the method's weight belongs to: its 'mean' or its 'sum'. Where the
    base loss is reduced otherwise, the loop rescales the term."""
    graphable: ClassVar[bool] = False
    """Whether every step of the epoch that has begun can be recorded as a CUDA graph (`rdcore.train.graphs`): the same shapes,
    nothing that waits for the GPU, sums kept in tensors and added to in place. ``step`` is then a tensor ()."""
    n_short: int = 0
    """How many lists or samples are shorter than asked for, because the teacher names fewer items or the user leaves
    fewer: they count with what they have."""
    teacher: Frozen
    """What `freeze` was given."""

    def freeze(self, teacher: Model) -> Frozen:
        """Keeps the teacher as ``self.teacher``, which answers without gradients."""
        self.teacher = Frozen(teacher)
        return self.teacher

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        """Takes from the teacher, once, what training needs. ``cache`` keeps its lists for all its students."""
        raise missing(self, "prepare(teacher, data)")

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        """Schedules and samples of the coming epoch (1-based), from that epoch's generator."""

    def negatives(self, batch: Batch) -> Tensor | None:
        """Items (B, n) that take the place of the batch's negatives in the base loss, if any."""
        return None

    def wants(self, batch: Batch) -> Tensor | None:
        """Items (B, m), if any, that the loop scores together with the batch's own: one gradient of the item table instead of
        two. ``loss`` finds their logits in ``batch.wanted``."""
        return None

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        """The distillation loss of one step (0, 1, ...): weighted, reduced over the batch, ()."""
        raise missing(self, "loss(student, batch, step, context)")

    def log(self) -> dict:
        """Plain numbers about the epoch that just ended, for the history of the run."""
        return {}


def distinct(ids: Tensor, *, in_shape: bool | None = None) -> tuple[Tensor | slice, Tensor]:
    """First occurrences of ids (n,): their indices, and a weight for sums that count an id once.

    On a CPU the index (U,) of each id's first occurrence, ids ascending, and ones (U,). ``in_shape``, the default on a
    GPU, which would have to wait for U: all indices, and a weight (n,) of 1 at first occurrences and 0 at repetitions.

    >>> distinct(torch.tensor([7, 3, 7]))
    (tensor([1, 0]), tensor([1., 1.]))
    >>> distinct(torch.tensor([7, 3, 7]), in_shape=True)
    (slice(None, None, None), tensor([1., 1., 0.]))
    """
    if ids.is_cuda if in_shape is None else in_shape:
        ordered, index = ids.sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.float32)
        first[1:] = (ordered[1:] != ordered[:-1]).float()
        return slice(None), torch.empty_like(first).scatter_(0, index, first)
    values, inverse = torch.unique(ids, return_inverse=True)
    every = torch.arange(len(ids), device=ids.device)
    index = every.new_full((len(values),), len(ids)).scatter_reduce_(0, inverse, every, "amin")
    return index, torch.ones(len(values), device=ids.device)


def distinct_queries(student: Model, batch: Batch) -> tuple[Tensor | slice, Tensor]:
    """`distinct` of the batch's queries: one for each user where the student has no memory; otherwise every query."""
    user = batch.queries.user
    if student.window > 0:
        return slice(None), torch.ones(len(user), device=user.device)
    return distinct(user)
