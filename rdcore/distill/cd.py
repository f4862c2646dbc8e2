"""Collaborative distillation, CD (Lee et al., ICDM 2019): the teacher's opinion of unseen items drawn by their rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import number, one_of, whole
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import Lists, exemplary_rankings, teacher_lists
from rdcore.distill.rrd import sampled_places
from rdcore.distill.scores import teacher_scores
from rdcore.models.base import Model, scores_single_items


@dataclass(frozen=True, kw_only=True)
class CDSettings:
    """mode: whose ranking the items are drawn from, the 'student's of the moment (CD-SG) or the 'teacher's (CD-TG). samples:
    items of a query. depth: length of the ranking; what stands behind is not drawn. sampling: the place r = 0, 1, ... has the
    weight 1 - r / depth ('linear') or exp(-gamma r / depth) ('exponential'; beside 'linear' gamma stays at its default).
    temperature, shift: the teacher's label is sigmoid((score + shift) / temperature). weight: lambda, of a sum over the
    batch's different users and their items.

    The paper's text was not at hand; notes on it give the formulas and a best weight near 0.1. They are silent about, so that
    it is chosen here: ``samples``, as many as RRD has; ``depth``, RRD's (the paper's ranking is that of all unseen items:
    their number can be given, for the price of sorting them); 'linear', which needs no gamma, and gamma's default.
    temperature 2 and shift 0 are those of woriazzc/KDs 01500ff for BPR on CiteULike. Places count from 0 (the last one of a
    ranking that counts from 1 would have the weight 0)."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    mode: str = "student"
    samples: int = 80
    sampling: str = "linear"
    gamma: float = 10.0
    depth: int = 500
    temperature: float = 2.0
    shift: float = 0.0
    weight: float = 0.1

    def __post_init__(self):
        one_of("mode", self.mode, "student", "teacher")
        one_of("sampling", self.sampling, "linear", "exponential")
        whole("samples", self.samples)
        whole("depth", self.depth)
        if self.samples > self.depth:
            raise ValueError(f"samples must be <= depth = {self.depth}, the length of the ranking, got {self.samples}")
        for name in ("gamma", "temperature", "shift", "weight"):
            number(name, getattr(self, name), least=None if name == "shift" else 0)
        if self.temperature == 0:
            raise ValueError("temperature must be > 0, got 0")
        if self.sampling == "linear" and self.gamma != type(self).gamma:
            raise ValueError(f"gamma={self.gamma!r} has no effect beside sampling='linear': leave it at {type(self).gamma!r}")

    def log_weights(self) -> Tensor:
        """Of the places of a ranking: (depth,) float64."""
        part = torch.arange(self.depth, dtype=torch.float64) / self.depth
        return torch.log1p(-part) if self.sampling == "linear" else -self.gamma * part

    def build(self, student: Model, teacher: Model) -> CollaborativeDistillation:
        if not scores_single_items(teacher):
            raise ValueError(f"CD asks the teacher for scores of single items, which {type(teacher).__name__} cannot give")
        return CollaborativeDistillation(self, per_user=student.window == 0 and teacher.window == 0)


def soft_label_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """-sum_i [ q_i log p_i + (1 - q_i) log(1 - p_i) ], p the sigmoid of the logits: q (B, n), logits (B, n) -> (B,)."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)


class CollaborativeDistillation(Distillation):
    """Items are drawn without replacement, anew in every epoch, for every user; guided by the student, from his ranking of
    unseen items at the beginning of the epoch. Where student or teacher have a memory, every query is ranked and sampled
    in its step, so that memory holds one batch of rankings and no more.

    A user counts once in every batch that he is in, as in RRD, with which the weight shares its meaning. The base loss is the
    experiment's; the paper's takes positives alone, because what is missing is not known to be disliked.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: CDSettings, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user

    @property
    def graphable(self) -> bool:
        return self.per_user

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        depth = self.settings.depth
        fewest = data.seen.fewest_unseen
        if depth > fewest:
            raise ValueError(f"depth must be <= {fewest}, the unseen items of the most active user, got {depth}")
        self.teacher = (teacher,)  # in a tuple, so that it is no part of this module
        self.seen, self.everyone = data.seen, final_queries_of(data.queries)
        self.log_weights = self.settings.log_weights().to(data.target.device)
        self.lists: Lists | None = None
        if self.settings.mode == "teacher":
            self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, progress=progress)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        if self.per_user:
            rankings = self._students(student, self.everyone) if self.lists is None else self.lists.items
            self.items = self._drawn(rankings)
            self.labels = self._labels(self.everyone, self.items)

    def _students(self, student: Model, queries: Queries) -> Tensor:
        """His first items for queries (B): (B, depth)."""
        return exemplary_rankings(student, queries, self.settings.depth, target=None, seen=self.seen)

    def _drawn(self, rankings: Tensor) -> Tensor:
        """(B, depth) -> (B, samples)."""
        return rankings.gather(1, sampled_places(self.log_weights, len(rankings), self.settings.samples, self.rng))

    def _labels(self, queries: Queries, items: Tensor) -> Tensor:
        """The teacher's, of items (B, samples) for queries (B)."""
        scores = teacher_scores(*self.teacher, queries, items)
        return torch.sigmoid((scores + self.settings.shift) / self.settings.temperature)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        place, once = distinct_queries(student, batch)
        queries = batch.queries[place]
        if self.per_user:
            items, labels = self.items[queries.user], self.labels[queries.user]
        else:
            items = self._drawn(self._students(student, queries) if self.lists is None else self.lists.of(batch)[place])
            labels = self._labels(queries, items)
        logits = student.score(context[place], items)
        return self.settings.weight * (once * soft_label_loss(labels, logits)).sum()
