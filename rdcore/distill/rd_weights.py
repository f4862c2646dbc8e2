"""Weights of the teacher's positions in Ranking Distillation: settings with one method each.

Every class maps the student's ranks of the teacher's K items to weights. Positions and ranks count
from 0 on both sides, as in the official code. The paper counts both from 1: that cancels in their
difference, and in w^a it only changes the constant that normalisation removes (raw ``Position``
keeps the paper's exp(-r / lambda), r = 1..K).

``normalise=True`` divides by the sum over the K positions. Raw weights differ up to tenfold in
scale between the schemes, so comparing them raw also compares scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rdcore.checks import flag, integer, number, one_of, short
from rdcore.settings import Settings, added, inert


def _sum_to_one(weights: Tensor) -> Tensor:
    """Weights (..., K) over their sum; all-zero weights stay zero (as torch's normalize does)."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)


class Scheme(Settings):
    """What a weighting is: settings that turn ranks into weights."""

    def needs_rank(self, epoch: int) -> bool:
        """Whether ``__call__`` looks at the student's ranks in this epoch (1-based)."""
        return False

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        """Weights (K,), or (B, K) where they depend on the student's ``rank`` (B, K)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Equal(Scheme):
    """w_r = 1/K: the paper's naive scheme. Its sum is 1, so raw and normalised are the same."""

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        return torch.full((K,), 1 / K, device=device)


@dataclass(frozen=True)
class Reciprocal(Scheme):
    """w_r = 1/r, r = 1..K (mentioned in the paper, absent from its Table 4)."""

    normalise: bool = True
    """Divide by the sum over the positions."""

    def __post_init__(self):
        flag("normalise", self.normalise)

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        weights = 1 / torch.arange(1, K + 1, device=device, dtype=torch.float32)
        return _sum_to_one(weights) if self.normalise else weights


@dataclass(frozen=True)
class Position(Scheme):
    """w^a_r proportional to exp(-r / lam), r = 1..K: position importance (Eq. 8).

    >>> [round(weight, 3) for weight in Position()(3, None, 1).tolist()]
    [0.665, 0.245, 0.09]
    """

    lam: float = 1.0
    """lambda: the smaller, the more the first positions count."""
    normalise: bool = True
    """Divide by the sum over the positions, as the official code does."""

    def __post_init__(self):
        number("lam", self.lam, above=True)
        flag("normalise", self.normalise)

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        logits = -torch.arange(1, K + 1, device=device, dtype=torch.float32) / self.lam
        # softmax is exp over its sum, and does not underflow to 0/0 for a small lam.
        return torch.softmax(logits, 0) if self.normalise else logits.exp()


@dataclass(frozen=True)
class Discrepancy(Scheme):
    """w^b_r = tanh(max(mu (student's rank - teacher's rank), 0)): ranking discrepancy (Eq. 9).

    As in the official code a sampled rank is floor(N n / S) for n of S samples above the item and
    N items in all. An exact rank counts the N - seen unseen items: it is smaller by the factor
    (N - seen) / N on average.
    """

    revision = 2

    mu: float = 0.1
    """Steepness of the tanh."""
    samples: int = 100
    """Size of the sample behind a rank. Without effect where ``estimate`` is 'exact'."""
    estimate: str = "shared"
    """How the student's rank is found. 'shared': from one sample of different items for the whole
    batch, of which those count that the user has not seen. 'instance': from a sample of unseen
    items for each query, with replacement, as in the official code. 'exact': from all unseen
    items."""
    normalise: bool = False
    """Divide by the sum over the positions."""

    def __post_init__(self):
        number("mu", self.mu, above=True)
        flag("normalise", self.normalise)
        one_of("estimate", self.estimate, "shared", "instance", "exact")
        integer("samples", self.samples)
        if self.estimate == "exact":
            inert(self, "estimate='exact'", "samples")

    def needs_rank(self, epoch: int) -> bool:
        return True

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        teacher = torch.arange(K, device=rank.device)  # (K,)
        weights = torch.tanh((self.mu * (rank - teacher)).clamp(min=0))  # (B, K)
        return _sum_to_one(weights) if self.normalise else weights


@dataclass(frozen=True)
class Hybrid(Scheme):
    """w_r = w^a_r w^b_r from ``start_epoch`` on; before it one of the two alone."""

    position: Position = field(default_factory=Position)
    """w^a."""
    discrepancy: Discrepancy = field(default_factory=Discrepancy)
    """w^b."""
    start_epoch: int = 11
    """First epoch (1-based) with the product. The official ``dynamic_start_epoch=10`` means "in
    epochs above 10", which is 11 here."""
    normalise: bool = False
    """Divide the product by its sum: the paper's formula does, the released code does not."""
    before: str = added("position")
    """Before ``start_epoch``: w^a ('position') or w^b ('discrepancy', the code before its release)."""

    def __post_init__(self):
        for name, kind in (("position", Position), ("discrepancy", Discrepancy)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {short(getattr(self, name))}")
        integer("start_epoch", self.start_epoch)
        flag("normalise", self.normalise)
        one_of("before", self.before, "position", "discrepancy")
        if self.start_epoch == 1:
            inert(self, "start_epoch=1", "before")

    def needs_rank(self, epoch: int) -> bool:
        return epoch >= self.start_epoch or self.before == "discrepancy"

    def __call__(self, K: int, rank: Tensor | None, epoch: int, device=None) -> Tensor:
        if epoch < self.start_epoch:
            return getattr(self, self.before)(K, rank, epoch, device)
        weights = self.position(K, rank, epoch, device) * self.discrepancy(K, rank, epoch, device)
        return _sum_to_one(weights) if self.normalise else weights


Weights = Equal | Reciprocal | Position | Discrepancy | Hybrid


def discrepancy_of(weights: Weights) -> Discrepancy | None:
    """The part of a scheme that looks at the student's ranks, if it has one."""
    if isinstance(weights, Hybrid):
        return weights.discrepancy
    return weights if isinstance(weights, Discrepancy) else None
