"""A control of Ranking Distillation: the student alone, with further negatives that it ranks high itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import integer
from rdcore.data.sampling import unseen_items
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.models.base import Model, evaluating
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GuidedNegativesSettings(Settings):
    """Settings of the control. It takes the place of a distillation and has no teacher."""

    revision = 1
    alone: ClassVar[bool] = True

    K: int = 10
    """Further negatives of each training instance."""
    samples: int = 100
    """Unseen items drawn for each instance in each step, with replacement, of which the student's K best are taken."""

    def __post_init__(self):
        integer("K", self.K)
        integer("samples", self.samples)
        if self.K > self.samples:
            raise ValueError(f"K must be <= samples ({self.samples}), got {self.K}")

    def build(self, student: Model, teacher: None) -> GuidedNegatives:
        return GuidedNegatives(self)


def hardest(scores: Tensor, items: Tensor, K: int) -> Tensor:
    """Of each row's items (B, n) the K that are scored highest: (B, K).

    >>> hardest(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[7, 8, 9]]), 2)
    tensor([[8, 9]])
    """
    return items.gather(1, scores.topk(K, dim=1).indices)


class GuidedNegatives(Distillation):
    """Adds nothing to the loss; the base loss sees K negatives more, those of a sample that the student scores highest.

    It scores them without dropout and without gradient.
    """

    def __init__(self, settings: GuidedNegativesSettings):
        super().__init__()
        self.settings = settings

    def prepare(
        self, teacher: None, data: TrainingData, *, cache: Cache | None = None, progress: bool = False
    ) -> None:
        self.seen = data.seen

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.student, self.rng = (student,), rng  # in a tuple, so that it does not become a part of this module

    @torch.no_grad()
    def negatives(self, batch: Batch) -> Tensor:
        """The batch's negatives and the K further ones, (B, n + K)."""
        sample = unseen_items(batch.queries.user, self.settings.samples, self.seen, self.rng)  # (B, samples)
        with evaluating(self.student[0]) as student:
            scores = student.score(student.encode(batch.queries), sample)
        return torch.cat([batch.negatives, hardest(scores, sample, self.settings.K)], dim=1)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        return context.new_zeros(())
