"""Ranking Distillation (Tang & Wang, KDD 2018): the teacher's top K items as weighted positives."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore import fast
from rdcore.checks import integer, number, one_of, short
from rdcore.data.sampling import shared_items, stream, unseen_items
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.lists import Lists, teacher_lists
from rdcore.distill.rd_weights import Hybrid, Weights, discrepancy_of
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model
from rdcore.models.popularity import Popularity
from rdcore.settings import Settings, added, inert


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
    """How the K positions count: a scheme of `rdcore.distill.rd_weights`."""
    exclude: str = "target"
    """What the list leaves out: 'target' (released code: only the instance's target) or 'seen'
    (the paper's unlabelled items: everything the user has in training)."""
    weight: float = 1.0
    """Factor of the loss: the released code's alpha; the paper's alpha is weight / (1 + weight)."""
    lists: str = added("teacher")
    """'teacher', or a control that ignores the teacher: the most 'popular' items, or 'random'
    unseen ones (drawn once with replacement, the same for all seeds and epochs)."""

    def __post_init__(self):
        integer("K", self.K)
        if not hasattr(self.weights, "needs_rank") or isinstance(self.weights, type):
            raise ValueError(f"weights must be a scheme such as Hybrid(), got {short(self.weights)}")
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


def sampled_rank(
    logits: Tensor, sample: Tensor, unseen: Tensor | None, n_items: int, own: Tensor | float = 0
) -> Tensor:
    """The student's rank of the listed items, estimated from a sample: floor(n_items n / S).

    n counts the unseen samples scored strictly above the item, S the unseen ones. The official
    code has floor((N - 1) n / S), where N - 1 is the number of real items.

    Args:
        logits: (B, K) of the listed items.
        sample: (B, S) logits of the sampled items.
        unseen: (B, S), which of them the user has not seen; None: all.
        own: (B, K), how many of those above are the listed item itself, whose score another product
            rounded otherwise: they do not count.
    """
    size = sample.shape[1]
    if unseen is not None:
        sample = sample.masked_fill(~unseen, -torch.inf)
        size = unseen.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    # Ones and zeros in floats, whose sum is exact and, on a CPU, faster than that of bools.
    above = logits.new_empty((*logits.shape, sample.shape[1]))  # (B, K, S)
    torch.gt(sample.unsqueeze(1), logits.unsqueeze(2), out=above)
    return (above.sum(2) - own).long() * n_items // size  # (B, K)


def exact_rank(items: Tensor, scores: Tensor, unseen: Tensor) -> Tensor:
    """The student's 0-based rank of items (B, K) among all unseen ones: scores of all items and
    unseen, both (B, n_items) -> (B, K)."""
    logits = scores.gather(1, items)  # (B, K)
    scores = scores.masked_fill(~unseen, -torch.inf)
    ranks = [(scores > item.unsqueeze(1)).sum(1) for item in logits.unbind(1)]
    return torch.stack(ranks, dim=1)


class RankingDistillation(Distillation):
    """The official algorithm (graytowne/rank_distill 4fb5237, distill_caser.py).

    Dropout is on while ranks are estimated, and weights carry no gradient, both as there.
    """

    def __init__(self, settings: RDSettings):
        super().__init__()
        self.settings = settings
        self.discrepancy = discrepancy_of(settings.weights)

    @property
    def graphable(self) -> bool:
        return not self.ranked or self.discrepancy.estimate == "shared"

    def prepare(
        self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False
    ) -> None:
        self.seen, ranks, n_items = data.seen, self.discrepancy, data.seen.n_items
        if ranks and ranks.estimate == "shared" and ranks.samples > n_items:
            raise ValueError(
                f"samples must be <= {n_items}, the number of items, got {ranks.samples}: "
                "lower samples, or take all of them with estimate='exact'"
            )
        K, exclude, whose = self.settings.K, self.settings.exclude, self.settings.lists
        if whose == "random":
            rng = stream(0, "random lists", device=data.target.device)
            items = unseen_items(data.queries.user, K, data.seen, rng)
            self.lists = Lists(items.int(), per_user=False)
            return
        if whose == "popular":
            teacher = Popularity(torch.bincount(data.queries.items, minlength=n_items))
        name = "exemplary" if whose == "teacher" else whose
        self.lists = teacher_lists(
            teacher, data, K, exclude, cache=cache, name=name, partial=True, progress=progress
        )
        self.n_short = self.lists.n_short

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.epoch, self.rng = epoch, rng
        self.ranked = self.settings.weights.needs_rank(epoch)
        self.sum_weights = torch.zeros(self.settings.K, dtype=torch.float64, device=rng.device)
        self.n_queries = torch.zeros((), dtype=torch.float64, device=rng.device)
        if self.ranked and self.discrepancy.estimate == "shared":
            samples = self.discrepancy.samples
            self.samples = shared_items(n_batches, samples, student.n_items, rng)

    def wants(self, batch: Batch) -> Tensor:
        return self.lists.of(batch)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        logits = batch.wanted  # (B, K)
        if logits is None:
            logits = student.score(context, self.lists.of(batch))
        rank = None
        if self.ranked:
            rank = self.rank(student, batch, step, context.detach(), logits.detach())
        weights = self.settings.weights(self.settings.K, rank, self.epoch, logits.device)
        if (named := self.lists.named(batch)) is not None:  # a place without an item has no weight
            weights = weights * named
        self.sum_weights += weights * len(logits) if weights.dim() == 1 else weights.sum(0)
        self.n_queries += len(logits)
        return self.settings.weight * distillation_loss(weights, logits).mean()

    @torch.no_grad()
    def rank(
        self, student: Model, batch: Batch, step: int | Tensor, context: Tensor, logits: Tensor
    ) -> Tensor:
        """The student's ranks of the batch's lists, (B, K)."""
        user, listed = batch.queries.user, self.lists.of(batch)  # (B,), (B, K)
        if self.discrepancy.estimate == "exact":
            return self._exact_rank(student, user, listed, context)
        if self.discrepancy.estimate == "shared":
            sample = fast.pick(self.samples, step)  # (S,)
            unseen = ~self.seen.among(user, sample)  # (B, S)
            scores = student.score(context, sample)  # (B, S)
            place = sample.new_full((student.n_items,), len(sample))  # of each item in the sample
            place[sample] = torch.arange(len(sample), device=sample.device)
            known = scores.masked_fill(~unseen, -torch.inf)
            own = F.pad(known, (0, 1), value=-torch.inf).gather(1, place[listed]) > logits  # (B, K)
        else:
            sample = unseen_items(user, self.discrepancy.samples, self.seen, self.rng)  # (B, S)
            scores, unseen = student.score(context, sample), None  # (B, S)
            itself = listed.unsqueeze(2) == sample.unsqueeze(1)  # (B, K, S)
            own = (itself & (scores.unsqueeze(1) > logits.unsqueeze(2))).sum(2)  # (B, K)
        return sampled_rank(logits, scores, unseen, student.n_items, own.float())

    def _exact_rank(self, student: Model, user: Tensor, listed: Tensor, context: Tensor) -> Tensor:
        ranks = []
        rows = block_rows(student.n_items, len(user), copies=3)  # scores, a copy, and masks
        for part in zip(user.split(rows), listed.split(rows), context.split(rows), strict=True):
            user, listed, context = part
            unseen = torch.ones((len(user), student.n_items), dtype=torch.bool, device=user.device)
            unseen[self.seen.of(user)] = False
            ranks.append(exact_rank(listed, student.score_all(context), unseen))
        return torch.cat(ranks)

    def log(self) -> dict:
        """weights: the mean weight of each position over the epoch's queries, K numbers."""
        mean = self.sum_weights / self.n_queries
        return {"weights": [round(weight, 6) for weight in mean.tolist()]}
