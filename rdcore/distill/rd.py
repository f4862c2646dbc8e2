"""Ranking Distillation (Tang & Wang, KDD 2018): the teacher's top K unlabelled items as weighted positives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import number, one_of, short, whole
from rdcore.data.sampling import shared_items, stream, unseen_items
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.lists import Lists, teacher_lists
from rdcore.distill.rd_weights import Hybrid, Weights, discrepancy_of
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model
from rdcore.models.popularity import Popularity
from rdcore.settings import added


@dataclass(frozen=True, kw_only=True)
class RDSettings:
    """K: length of the exemplary ranking. exclude: what the teacher's list leaves out, 'target' (released code:
    only the instance's target) or 'seen' (the paper's unlabelled items: everything the user has in training).
    weight: factor of the distillation loss (released code's alpha; the paper's alpha is weight / (1 + weight)).
    lists: whose ranking is distilled, the 'teacher's, or as a control of how much it is the teacher who teaches, the most
    'popular' items or 'random' unseen ones (he is then named, but not asked). Teacher's and popular lists are K different
    items and leave out what ``exclude`` says: at its default only the target, so that they may hold other items that the user
    has in training. Random lists never do (``exclude`` is without effect and stays at its default); they are drawn with
    replacement, so that an item may be there twice, and once: the same for all seeds and epochs."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    K: int = 10
    weights: Weights = field(default_factory=Hybrid)
    exclude: str = "target"
    weight: float = 1.0
    lists: str = added("teacher")

    def __post_init__(self):
        whole("K", self.K)
        if not hasattr(self.weights, "needs_rank") or isinstance(self.weights, type):
            raise ValueError(f"weights must be a scheme such as Hybrid(), got {short(self.weights)}")
        one_of("exclude", self.exclude, "target", "seen")
        number("weight", self.weight)
        one_of("lists", self.lists, "teacher", "popular", "random")
        if self.lists == "random" and self.exclude != type(self).exclude:
            raise ValueError(
                f"exclude={self.exclude!r} has no effect beside lists='random', which hold no item of the user: leave it at "
                f"{type(self).exclude!r}"
            )

    def build(self, student: Model, teacher: Model) -> RankingDistillation:
        return RankingDistillation(self)


def distillation_loss(weights: Tensor, logits: Tensor) -> Tensor:
    """L^D = -sum_r w_r log sigmoid(yhat_{pi_r}): weights (B, K) or (K,), logits (B, K) -> (B,)."""
    return (weights * F.softplus(-logits)).sum(1)


def sampled_rank(logits: Tensor, sample_logits: Tensor, valid: Tensor | None, n_items: int) -> Tensor:
    """The student's 0-based rank of each item, estimated from a sample: floor(n_items * n / S).

    logits (B, K); sample_logits (B, S); valid (B, S) marks the sampled items that count (unseen by the user; None:
    all). n counts the samples scored strictly above the item, S the valid ones. Official code: floor((N - 1) n / S)
    with N - 1 the number of real items.
    """
    if valid is None:
        size = sample_logits.shape[1]
    else:
        sample_logits = sample_logits.masked_fill(~valid, -torch.inf)
        size = valid.sum(1, keepdim=True).clamp(min=1)
    # Compared into floats and summed as such: five times as fast on a CPU as a sum of booleans, and as exact.
    above = logits.new_empty((*logits.shape, sample_logits.shape[1]))
    n = torch.gt(sample_logits.unsqueeze(1), logits.unsqueeze(2), out=above).sum(2).long()
    return torch.div(n * n_items, size, rounding_mode="floor")


def exact_rank(items: Tensor, all_logits: Tensor, valid: Tensor) -> Tensor:
    """The student's 0-based rank of items (B, K) among all unseen items: all_logits and valid (B, I) -> (B, K).

    An item's score is taken from ``all_logits``: the same product computed elsewhere may be rounded otherwise, and the
    item would stand above itself.
    """
    logits = all_logits.gather(1, items)
    scores = all_logits.masked_fill(~valid, -torch.inf)
    return torch.stack([(scores > item).sum(1) for item in logits.unsqueeze(2).unbind(1)], dim=1)


class RankingDistillation(Distillation):
    """The official algorithm (graytowne/rank_distill 4fb5237, distill_caser.py); settings say where it may differ.

    Dropout is on while ranks are estimated, and weights carry no gradient, both as there.
    """

    def __init__(self, settings: RDSettings):
        super().__init__()
        self.settings = settings
        self.discrepancy = discrepancy_of(settings.weights)

    @property
    def graphable(self) -> bool:
        return not self.ranked or self.discrepancy.estimate == "shared"

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.seen, ranks, n_items = data.seen, self.discrepancy, data.seen.n_items
        if ranks and ranks.estimate == "shared" and ranks.samples > n_items:  # now, not in the first epoch that ranks
            raise ValueError(
                f"samples must be <= {n_items}, the number of items, got {ranks.samples}: lower samples, or take all of them "
                "with estimate='exact'"
            )
        K, exclude, whose = self.settings.K, self.settings.exclude, self.settings.lists
        if whose == "random":
            rng = stream(0, "random lists", device=data.target.device)
            self.lists = Lists(unseen_items(data.queries.user, K, data.seen, rng).to(torch.int32), per_user=False)
            return
        if whose == "popular":
            teacher = Popularity(torch.bincount(data.queries.items, minlength=data.seen.n_items))
        name = "exemplary" if whose == "teacher" else whose
        self.lists = teacher_lists(teacher, data, K, exclude, cache=cache, name=name, progress=progress)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.epoch, self.rng = epoch, rng
        self.ranked = self.settings.weights.needs_rank(epoch)
        self.sum_weights = torch.zeros(self.settings.K, dtype=torch.float64, device=rng.device)
        self.n_queries = torch.zeros((), dtype=torch.float64, device=rng.device)
        if self.ranked and self.discrepancy.estimate == "shared":
            self.samples = shared_items(n_batches, self.discrepancy.samples, student.n_items, rng)
            self.slot = torch.full((student.n_items,), -1, dtype=torch.long, device=rng.device)
            self.row = torch.full((len(self.seen.offsets) - 1,), -1, dtype=torch.long, device=rng.device)

    @torch.no_grad()
    def _rank(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor, logits: Tensor) -> Tensor:
        """(B, K). Where an item of the list is itself in the sample, both its scores come from there: computed as part
        of another product it may be rounded otherwise, and would stand above itself."""
        user, listed = batch.queries.user, self.lists.of(batch)
        if self.discrepancy.estimate == "instance":
            items = unseen_items(user, self.discrepancy.samples, self.seen, self.rng)
            scores = student.score(context, items)
            own = scores.unsqueeze(1).masked_fill(items.unsqueeze(1) != listed.unsqueeze(2), -torch.inf).amax(2)
            return sampled_rank(torch.where(own > -torch.inf, own, logits), scores, None, student.n_items)
        if self.discrepancy.estimate == "exact":
            rows = block_rows(student.n_items, len(user), copies=3)  # scores, theirs without seen items, and masks
            parts = zip(user.split(rows), listed.split(rows), context.split(rows), strict=True)
            return torch.cat([self._exact_rank(student, *part) for part in parts])
        items = self.samples.index_select(0, torch.as_tensor(step, device=listed.device).view(1))[0]
        self.slot.scatter_(0, items, torch.arange(len(items), device=items.device))
        own, valid = self.slot[listed], self._unseen(user, items)
        self.slot.index_fill_(0, items, -1)
        scores = student.score(context, items)
        logits = torch.where(own < 0, logits, scores.gather(1, own.clamp(min=0)))
        return sampled_rank(logits, scores, valid, student.n_items)

    def _exact_rank(self, student: Model, user: Tensor, listed: Tensor, context: Tensor) -> Tensor:
        user, query = user.unique(return_inverse=True)
        valid = torch.ones((len(user), student.n_items), dtype=torch.bool, device=user.device)
        valid[self.seen.of(user)] = False
        return exact_rank(listed, student.score_all(context), valid[query])

    def _unseen(self, user: Tensor, items: Tensor) -> Tensor:
        """Which of the items (S,) each user (B,) has not seen: (B, S) bool."""
        if user.is_cuda:  # nothing to wait for, and the same shapes in every step
            return ~self.seen.contains(user, items.expand(len(user), -1))
        # Some items have fewer users than a batch of users has items. Of a user who is in the batch twice any row will do.
        self.row.scatter_(0, user, torch.arange(len(user)))
        place, who = self.seen.by(items)
        valid = torch.ones((len(user) + 1, len(items)), dtype=torch.bool)  # most users are not in the batch: the last row
        valid[self.row[who], place] = False
        valid = valid[self.row[user]]
        self.row.index_fill_(0, user, -1)
        return valid

    def wants(self, batch: Batch) -> Tensor:
        return self.lists.of(batch)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        logits = student.score(context, self.lists.of(batch)) if batch.logits is None else batch.logits
        rank = self._rank(student, batch, step, context.detach(), logits.detach()) if self.ranked else None
        weights = self.settings.weights(self.settings.K, rank, self.epoch, logits.device)
        self.sum_weights += weights * len(logits) if weights.dim() == 1 else weights.sum(0)
        self.n_queries += len(logits)
        return self.settings.weight * distillation_loss(weights, logits).mean()

    def log(self) -> dict:
        """weights: the mean weight at each of the teacher's positions over the queries of the epoch, K numbers."""
        return {"weights": [round(value, 6) for value in (self.sum_weights / self.n_queries).tolist()]}
