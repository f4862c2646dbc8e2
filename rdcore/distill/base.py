"""What a distillation is: three moments in the life of a student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from rdcore.data.queries import Queries
from rdcore.data.sampling import SeenItems
from rdcore.models.base import Model


@dataclass(frozen=True)
class Batch:
    """One training step: index (B,) of its instances among all, their queries, target (B,), negatives (B, n). logits: the
    student's scores of what the distillation ``wants`` (B, m), where the loop has computed them with its own."""

    index: Tensor
    queries: Queries
    target: Tensor
    negatives: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class TrainingData:
    """All instances of a run on its device: queries (N), target (N,), and what each user has seen."""

    queries: Queries
    target: Tensor
    seen: SeenItems


class Cache(Protocol):
    """Keeps the lists of one teacher for all its students; `rdcore.store.list_cache` has one."""

    def get(
        self, name: str, size: tuple[int, int], n_items: int, make: Callable[[], Tensor]
    ) -> Tensor:
        """The int32 tensor kept under ``name``; made by ``make`` and kept where there is none."""


class Distillation(nn.Module):
    """Adds a term to the student's loss. The teacher must not become part of ``parameters()``.

    Its settings make it, ``settings.build(student, teacher)``, and refuse there, with a ValueError, models that it cannot
    work with. ``reduction``: what ``loss`` returns over the batch, and what the weight of the method belongs to: its
    'mean' or its 'sum'. Where the base loss is reduced otherwise, the loop brings the term to the base loss's scale.

    The loop calls ``prepare`` once, ``begin_epoch`` at the start of each epoch (1-based), and ``loss`` in each step
    with the context that the student has already encoded: a method costs only what it adds, and sees the same
    dropout mask as the base loss.
    """

    reduction: ClassVar[str] = "mean"

    @property
    def graphable(self) -> bool:
        """Whether ``loss``, in the epoch that has begun, has the same shapes in every step and never waits for a GPU, so
        that a step can be recorded as a CUDA graph. ``step`` is then a tensor () on the device, and everything that
        adds up over steps must be added in place."""
        return False

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        """Takes from the teacher, once, what training needs. ``cache``: keeps the teacher's lists for all students of that
        teacher (`rdcore.distill.lists.teacher_lists` asks it)."""
        raise NotImplementedError(f"{type(self).__name__} must implement prepare(teacher, data)")

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        """Schedules and samples of the coming epoch (1-based), from the generator of that epoch."""

    def wants(self, batch: Batch) -> Tensor | None:
        """Items (B, m) that ``loss`` scores for every query, if any: scored together with the batch's own, with one gradient of
        the item table instead of two, they cost half."""
        return None

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        """The distillation loss of one step (0, 1, ...), (), weighted, reduced over the batch as ``reduction`` says."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss(student, batch, step, context)")

    def log(self) -> dict:
        """Plain numbers worth keeping about the epoch that just ended, for the history of the run."""
        return {}


def distinct(ids: Tensor, *, in_shape: bool | None = None) -> tuple[Tensor | slice, Tensor]:
    """The different ones of ids (n,): an index of the places where they stand, and a factor for what is summed over them.

    On a CPU the first place of each, (U,), ids ascending, and ones. ``in_shape``, the default on a GPU, which would have to
    wait for their number: all places, and a factor (n,) of 1 at the first one of an id and 0 at its repetitions. The same
    sum, in shapes that do not change.
    """
    if ids.is_cuda if in_shape is None else in_shape:
        ordered, place = ids.sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.float32)
        first[1:] = (ordered[1:] != ordered[:-1]).float()
        return slice(None), torch.empty_like(first).scatter_(0, place, first)
    found, inverse = torch.unique(ids, return_inverse=True)
    place = torch.arange(len(ids), device=ids.device)
    place = place.new_full((len(found),), len(ids)).scatter_reduce_(0, inverse, place, "amin")
    return place, torch.ones(len(found), device=ids.device)


def distinct_queries(student: Model, batch: Batch) -> tuple[Tensor | slice, Tensor]:
    """`distinct` of the batch's queries: for a student without memory one of each user, because all queries of a user are
    one; for any other every query."""
    user = batch.queries.user
    if student.window > 0:
        return slice(None), torch.ones(len(user), device=user.device)
    return distinct(user)
