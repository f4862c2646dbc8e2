"""What a distillation is: three moments in the life of a student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from rdcore.models.base import Model
from rdcore.queries import Queries
from rdcore.sampling import SeenItems


@dataclass(frozen=True)
class Batch:
    """One training step: index (B,) of its instances among all, their queries, target (B,), negatives (B, n)."""

    index: Tensor
    queries: Queries
    target: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class TrainingData:
    """All instances of a run on its device: queries (N), target (N,), and what each user has seen."""

    queries: Queries
    target: Tensor
    seen: SeenItems


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

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Path | None = None, progress: bool = False) -> None:
        """Takes from the teacher, once, what training needs. ``cache``: a folder for what depends on teacher and
        data alone, shared by all students of that teacher."""
        raise NotImplementedError(f"{type(self).__name__} must implement prepare(teacher, data)")

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        """Schedules and samples of the coming epoch (1-based), from the generator of that epoch."""

    def loss(self, student: Model, batch: Batch, step: int, context: Tensor) -> Tensor:
        """The distillation loss of one step, (), weighted, reduced over the batch as ``reduction`` says."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss(student, batch, step, context)")

    def log(self) -> dict:
        """Plain numbers worth keeping about the epoch that just ended, for the history of the run."""
        return {}


def unique_queries(student: Model, batch: Batch) -> Tensor:
    """Where the batch's different queries stand in it, (U,): for a student without memory the first of each user, users
    ascending, because all queries of a user are one; for any other every query."""
    user = batch.queries.user
    if student.window > 0:
        return torch.arange(len(user), device=user.device)
    found, inverse = torch.unique(user, return_inverse=True)
    place = torch.arange(len(user), device=user.device)
    return place.new_full((len(found),), len(user)).scatter_reduce_(0, inverse, place, "amin")
