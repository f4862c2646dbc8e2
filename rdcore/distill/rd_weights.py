"""Weights of the teacher's positions in Ranking Distillation: pure settings with one method each.

Every class maps the student's ranks of the teacher's K items to weights. Positions and ranks are 0-based on both
sides, as in the official code; the paper counts both from 1, which cancels in their difference, and in w^a only
changes the constant that normalisation removes (raw ``Position`` keeps the paper's exp(-r / lambda), r = 1..K).

``normalise=True`` divides by the sum over the K positions. Raw weights differ up to tenfold in scale between the
schemes, so comparing them raw also compares scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import flag, number, one_of, short, whole


def _sum_to_one(weights: Tensor) -> Tensor:
    """Along the positions (..., K); all-zero weights stay zero (0/0 is defined as 0, as torch's normalize does)."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)


@dataclass(frozen=True)
class Equal:
    """w_r = 1/K: the paper's naive scheme. It sums to 1, so raw and normalised are one."""

    def needs_rank(self, epoch: int) -> bool:
        return False

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        return torch.full((K,), 1 / K, device=device)


@dataclass(frozen=True)
class Reciprocal:
    """w_r = 1/r, r = 1..K (mentioned in the paper, absent from its Table 4)."""

    normalise: bool = True

    def __post_init__(self):
        flag("normalise", self.normalise)

    def needs_rank(self, epoch: int) -> bool:
        return False

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        weights = 1 / torch.arange(1, K + 1, device=device, dtype=torch.float32)
        return _sum_to_one(weights) if self.normalise else weights


@dataclass(frozen=True)
class Position:
    """w^a_r proportional to exp(-r / lam), r = 1..K: position importance (Eq. 8). The code divides by the sum."""

    lam: float = 1.0
    normalise: bool = True

    def __post_init__(self):
        number("lam", self.lam, above=True)
        flag("normalise", self.normalise)

    def needs_rank(self, epoch: int) -> bool:
        return False

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        logits = -torch.arange(1, K + 1, device=device, dtype=torch.float32) / self.lam
        # softmax is exp(.) over its sum, and does not underflow to 0/0 for a small lam.
        return torch.softmax(logits, 0) if self.normalise else logits.exp()


@dataclass(frozen=True)
class Discrepancy:
    """w^b_r = tanh(max(mu (student's rank - teacher's rank), 0)): ranking discrepancy (Eq. 9).

    The student's rank comes from a sample of ``samples`` items, of which those that the user has not seen count (``estimate``:
    'shared', one sample of different items a batch; 'instance', one of unseen items a query, with replacement, as in the
    official code), or from all unseen items ('exact'; ``samples`` is then without effect and stays at its default). As in
    the official code a sampled rank is n / S of all N items, an exact one counts the N - seen unseen items: on average it is
    smaller by the factor (N - seen) / N.
    """

    revision: ClassVar[int] = 2  # raise when the same settings begin to give other numbers

    mu: float = 0.1
    samples: int = 100
    estimate: str = "shared"
    normalise: bool = False

    def __post_init__(self):
        number("mu", self.mu, above=True)
        flag("normalise", self.normalise)
        one_of("estimate", self.estimate, "shared", "instance", "exact")
        whole("samples", self.samples)
        if self.estimate == "exact" and self.samples != type(self).samples:
            raise ValueError(f"samples={self.samples} has no effect beside estimate='exact': leave it at {type(self).samples}")

    def needs_rank(self, epoch: int) -> bool:
        return True

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        teacher = torch.arange(K, device=rank.device)
        weights = torch.tanh((self.mu * (rank - teacher)).clamp(min=0))
        return _sum_to_one(weights) if self.normalise else weights


@dataclass(frozen=True)
class Hybrid:
    """w_r = w^a_r w^b_r, used from ``start_epoch`` (1-based) on; before it w^a alone.

    The official ``dynamic_start_epoch=10`` means "in epochs above 10", so the first epoch with the product is 11:
    ``start_epoch=11``. Raw (the default) is the released code (``_weight_renormalize = False``); the paper's
    formula divides the product by its sum: ``normalise=True``.
    """

    position: Position = field(default_factory=Position)
    discrepancy: Discrepancy = field(default_factory=Discrepancy)
    start_epoch: int = 11
    normalise: bool = False

    def __post_init__(self):
        for name, kind in (("position", Position), ("discrepancy", Discrepancy)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {short(getattr(self, name))}")
        whole("start_epoch", self.start_epoch)
        flag("normalise", self.normalise)

    def needs_rank(self, epoch: int) -> bool:
        return epoch >= self.start_epoch

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        position = self.position(K, rank, epoch, device)
        if not self.needs_rank(epoch):
            return position
        weights = position * self.discrepancy(K, rank, epoch, device)
        return _sum_to_one(weights) if self.normalise else weights


Weights = Equal | Reciprocal | Position | Discrepancy | Hybrid


def discrepancy_of(weights: Weights) -> Discrepancy | None:
    """The part of a scheme that looks at the student's ranks, if it has one."""
    return weights.discrepancy if isinstance(weights, Hybrid) else weights if isinstance(weights, Discrepancy) else None
