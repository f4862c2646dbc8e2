"""DLLM2Rec's list loss (Cui et al., RecSys 2024): a list from any source, weighted by place, by its
confidence and by where the student agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.followups.rce_kd import contained
from rdcore.distill.lists import teacher_lists
from rdcore.eval.topk import block_rows
from rdcore.fast import largest
from rdcore.models.base import Model, must_score_single_items
from rdcore.settings import Settings

LEAST = 1e-8  # of a confidence or an agreement, as released


@dataclass(frozen=True, kw_only=True)
class DLLM2RecSettings(Settings):
    """How the K places of the teacher's list count. The defaults are those of the released code
    (its example has weight 0.7), but for ``as_released``."""

    revision = 2  # since lists shorter than K share weights among their items

    K: int = 10
    """Length of the teacher's list."""
    weight: float = 0.8
    """lambda, factor of a mean over the rows of the batch."""
    position: float = 0.3
    """Share of the place: e^-k, k = 1..K."""
    confidence: float = 0.5
    """Share of the teacher's confidence: e^-distance, where our teachers' distance is their best
    listed score minus the item's."""
    agreement: float = 0.1
    """Share of what is in the student's own first K too, at the moment."""
    as_released: bool = False
    """The released code takes -log sigma(1 - s) of the negative, where the paper has
    -log(1 - sigma(s))."""

    def __post_init__(self):
        integer("K", self.K)
        shares = ("position", "confidence", "agreement")
        for name in ("weight", *shares):
            number(name, getattr(self, name))
        if not any(getattr(self, name) for name in shares):
            raise ValueError("position, confidence and agreement must not all be 0")
        flag("as_released", self.as_released)

    def build(self, student: Model, teacher: Model) -> WeightedList:
        must_score_single_items(teacher, "DLLM2Rec")
        return WeightedList(self)


def list_weights(
    distance: Tensor, agrees: Tensor, position: float, confidence: float, agreement: float,
    named: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Weights of the K places, of sum 1: the list's distances (B, K), from best to worst, and which
    of its items the student has in its own list (B, K) bool -> (B, K).

    w = position p + confidence f + agreement a over its sum; p and f have sum 1, a is 1 or 0.
    named (B, K) bool: the places that hold an item; the others are in no sum. A row without any has
    no weights.
    """

    def shares(x: Tensor) -> Tensor:  # of sum 1
        x = x if named is None else x * named
        return x / x.sum(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)

    K = distance.shape[1]
    p = torch.softmax(-torch.arange(K, dtype=distance.dtype, device=distance.device), 0)
    p = p if named is None else shares(p.expand_as(distance))
    f = shares(torch.exp(-distance) + LEAST)
    return shares(position * p + confidence * f + agreement * (agrees.to(distance.dtype) + LEAST))


def weighted_loss(
    weights: Tensor, logits: Tensor, negative: Tensor, as_released: bool = False
) -> Tensor:
    """-sum_k w_k [ log sigma(s_k) + log(1 - sigma(s_neg)) ]: weights (B, K), logits (B, K) of the
    list and (B,) of one negative -> (B,). ``as_released``: log sigma(1 - s_neg)."""
    below = F.softplus(negative - 1) if as_released else F.softplus(negative)
    return (weights * (F.softplus(-logits) + below[:, None])).sum(1)


class WeightedList(Distillation):
    """The ranking part of DLLM2Rec as in istarryn/DLLM2Rec b78cc65, main.py, with its alpha = 0 (at 1,
    its default, a term for robustness joins this loss): L = weight mean_rows `weighted_loss`, with
    the batch's first negative.

    There the list and its distances are a language model's; here they are any teacher's. No
    gradient goes through the weights. The student's own list is asked in every step, in blocks of
    rows, from all items, as released. The part that adds a language model's vectors to the
    student's input is not a loss and not here.
    """

    reduction: ClassVar[str] = "mean"

    def __init__(self, settings: DLLM2RecSettings):
        super().__init__()
        self.settings = settings

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        K = self.settings.K
        self.lists = teacher_lists(
            teacher, data, K, "target", cache=cache, partial=True, progress=progress
        )
        self.n_short = self.lists.n_short

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=rng.device)

    def wants(self, batch: Batch) -> Tensor:
        return torch.cat([self.lists.of(batch), batch.negatives[:, :1]], dim=1)

    @torch.no_grad()
    def _agrees(self, student: Model, context: Tensor, listed: Tensor) -> Tensor:
        """Which of the listed items (B, K) are in the student's own first K."""
        rows = block_rows(student.n_items, 512)
        K = listed.shape[1]
        own = [largest(student.score_all(part), K)[1] for part in context.detach().split(rows)]
        return contained(listed, torch.cat(own).to(listed.dtype))

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        settings, listed = self.settings, self.lists.of(batch)
        logits = batch.wanted
        if logits is None:
            logits = student.score(context, self.wants(batch))
        score, named = self.teacher.score(batch.queries, listed), self.lists.named(batch)
        agrees, distance = self._agrees(student, context, listed), score[:, :1] - score
        if named is not None:
            agrees, distance = agrees & named, distance.masked_fill(~named, 0)
        shares = settings.position, settings.confidence, settings.agreement
        weights = list_weights(distance, agrees, *shares, named)
        self.sums += torch.stack(
            [agrees.double().sum(), agrees.new_tensor(agrees.numel(), dtype=torch.float64)]
        )
        losses = weighted_loss(weights, logits[:, :-1], logits[:, -1], settings.as_released)
        return settings.weight * losses.mean()

    def log(self) -> dict:
        """agreement: the mean share of the teacher's list in the student's."""
        return {"agreement": round(float(self.sums[0] / self.sums[1]), 6)}
