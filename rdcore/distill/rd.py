"""Ranking Distillation (Tang & Wang, KDD 2018): the teacher's top K items as weighted positives.

First the weights: settings with one method each, from the student's ranks of the teacher's K items to weights. Positions
and ranks count from 0 on both sides, as in the official code. The paper counts both from 1: that cancels in their
difference, and in w^a it only changes the constant that normalisation removes (raw ``Position`` keeps the paper's
exp(-r / lambda), r = 1..K). Raw weights differ up to tenfold in scale, so comparing schemes raw also compares scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number, one_of, place_weights, short
from rdcore.data.sampling import shared_items, stream, unseen_items
from rdcore.distill import rd_rank
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.lists import Lists, teacher_lists
from rdcore.models.base import Model
from rdcore.models.popularity import Popularity
from rdcore.settings import Settings, added, inert


def _sum_to_one(weights: Tensor) -> Tensor:
    """Weights (..., K) over their sum; all-zero weights stay zero (as torch's normalize does)."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)


class Scheme(Settings):
    """What a weighting is: settings that turn ranks into weights."""

    def needs_rank(self, epoch: int) -> bool:
        """Whether ``__call__`` looks at the student's ranks in this epoch (1-based). Its field ``discrepancy``,
        a `Discrepancy`, says how they are found."""
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

    As in the official code a sampled rank is floor(N n / S) for n of S samples above the item and N items in all. An exact
    rank counts the N - seen unseen items: it is smaller by the factor (N - seen) / N on average.
    """

    revision = 2

    mu: float = 0.1
    """Steepness of the tanh."""
    samples: int = 100
    """Size of the sample behind a rank. Without effect where ``estimate`` is 'exact'."""
    estimate: str = "shared"
    """How the student's rank is found. 'shared': from one sample of different items for the whole batch, of which those count
    that the user has not seen. 'instance': from a sample of unseen items for each query, with replacement, as in the
    official code. 'exact': from all unseen items."""
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
    """First epoch (1-based) with the product. The official ``dynamic_start_epoch=10`` means "in epochs above 10"."""
    normalise: bool = False
    """Divide the product by its sum: the paper's formula does, the released code does not."""
    before: str = added("position")
    """Before ``start_epoch``: w^a ('position') or w^b ('discrepancy', the code before the release)."""

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


@dataclass(frozen=True, kw_only=True)
class RDSettings(Settings):
    """Settings of Ranking Distillation. The defaults are those of the released code.

    >>> RDSettings(K=15, weights=Hybrid(start_epoch=1)).K
    15
    """

    revision = 1

    K: int = 10
    """Length of the teacher's list."""
    weights: Weights = field(default_factory=Hybrid)
    """How the K positions count: one of the schemes above."""
    exclude: str = "target"
    """What the list leaves out: 'target' (released code: only the instance's target) or 'seen' (the paper's unlabelled items:
    everything the user has in training)."""
    weight: float = 1.0
    """Factor of the loss: the released code's alpha; the paper's alpha is weight / (1 + weight)."""
    lists: str = added("teacher")
    """'teacher', or a control that ignores the teacher: the most 'popular' items, or 'random'
    unseen ones (drawn once with replacement, the same for all seeds and epochs)."""

    def __post_init__(self):
        integer("K", self.K)
        if not hasattr(self.weights, "needs_rank") or isinstance(self.weights, type):
            raise ValueError(f"weights must be a scheme such as Hybrid(), got {short(self.weights)}; your own is a Scheme")
        one_of("exclude", self.exclude, "target", "seen")
        number("weight", self.weight)
        one_of("lists", self.lists, "teacher", "popular", "random")
        if self.lists == "random":
            inert(self, "lists='random' (no item of the user is in them)", "exclude")

    def build(self, student: Model, teacher: Model) -> RankingDistillation:
        return RankingDistillation(self)


def distillation_loss(weights: Tensor, logits: Tensor) -> Tensor:
    """L^D = -sum_r w_r log sigmoid(yhat_{pi_r}): weights (B, K) or (K,), logits (B, K) -> (B,).

    >>> distillation_loss(torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 0.0]]))
    tensor([0.6931])
    """
    return (weights * F.softplus(-logits)).sum(1)


class RankingDistillation(Distillation):
    """The official algorithm (graytowne/rank_distill 4fb5237, distill_caser.py). Dropout is on while ranks are estimated, and
    weights carry no gradient, both as there."""

    def __init__(self, settings: RDSettings):
        super().__init__()
        self.settings = settings
        parts = settings.weights, getattr(settings.weights, "discrepancy", None)
        self.discrepancy = next((part for part in parts if isinstance(part, Discrepancy)), None)

    @property
    def graphable(self) -> bool:
        return not self.ranked or self.discrepancy.estimate == "shared"

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.seen, ranks, n_items = data.seen, self.discrepancy, data.seen.n_items
        if ranks and ranks.estimate == "shared" and ranks.samples > n_items:
            raise ValueError(f"samples must be <= {n_items}, the number of items, got {ranks.samples}: lower samples, or take "
                             "all of them with estimate='exact'")  # fmt: skip
        K, exclude, whose = self.settings.K, self.settings.exclude, self.settings.lists
        if whose == "random":
            items = unseen_items(data.queries.user, K, data.seen, stream(0, "random lists", device=data.target.device))
            self.lists = Lists(items.int(), per_user=False)
            return
        if whose == "popular":
            teacher = Popularity(torch.bincount(data.queries.items, minlength=n_items))
        name = "exemplary" if whose == "teacher" else whose
        self.lists = teacher_lists(teacher, data, K, exclude, cache=cache, name=name, partial=True, progress=progress)
        self.n_short = self.lists.n_short

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.epoch, self.rng = epoch, rng
        self.ranked = self.settings.weights.needs_rank(epoch)
        if self.ranked and self.discrepancy is None:
            raise ValueError(f"{type(self.settings.weights).__name__} needs the student's ranks: a field discrepancy = "
                             "Discrepancy() in it says how they are found")  # fmt: skip
        self.sum_weights = torch.zeros(self.settings.K, dtype=torch.float64, device=rng.device)
        self.n_queries = torch.zeros((), dtype=torch.float64, device=rng.device)
        if self.ranked and self.discrepancy.estimate == "shared":
            self.samples = shared_items(n_batches, self.discrepancy.samples, student.n_items, rng)

    def wants(self, batch: Batch) -> Tensor:
        return self.lists.of(batch)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        logits = batch.wanted  # (B, K)
        if logits is None:
            logits = student.score(context, self.lists.of(batch))
        rank = self.rank(student, batch, step, context, logits) if self.ranked else None
        weights = self.settings.weights(self.settings.K, rank, self.epoch, logits.device)
        weights = place_weights(self.settings.weights, weights, *logits.shape[::-1])
        if (named := self.lists.named(batch)) is not None:  # a place without an item has no weight
            weights = weights * named
        self.sum_weights += weights * len(logits) if weights.dim() == 1 else weights.sum(0)
        self.n_queries += len(logits)
        return self.settings.weight * distillation_loss(weights, logits).mean()

    @torch.no_grad()
    def rank(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor, logits: Tensor) -> Tensor:
        """The student's ranks of the batch's lists, (B, K)."""
        asked = student, self.seen, batch.queries.user, self.lists.of(batch), context
        if self.discrepancy.estimate == "exact":
            return rd_rank.rank_among_all(*asked)
        if self.discrepancy.estimate == "shared":
            # On a GPU step may be a tensor, whose value is not waited for.
            sample = self.samples[step] if isinstance(step, int) else self.samples.index_select(0, step.view(1))[0]
            return rd_rank.rank_in_shared(*asked, logits, sample)
        return rd_rank.rank_in_own(*asked, logits, self.discrepancy.samples, self.rng)

    def log(self) -> dict:
        """weights: the mean weight of each position over the epoch's queries, K numbers."""
        mean = self.sum_weights / self.n_queries
        return {"weights": [round(weight, 6) for weight in mean.tolist()]}
