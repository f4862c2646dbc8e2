"""Collaborative distillation, CD (Lee et al., ICDM 2019): the teacher's opinion of unseen items drawn by their rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, number, one_of, whole
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import Lists, exemplary_rankings, teacher_lists
from rdcore.distill.rrd import sampled_places
from rdcore.distill.scores import teacher_scores
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, evaluating, scores_single_items
from rdcore.settings import added


@dataclass(frozen=True, kw_only=True)
class CDSettings:
    """mode: whose ranking the items are drawn from, the 'student's of the moment (CD-SG) or the 'teacher's (CD-TG). samples:
    items of a query. depth: length of the ranking; what stands behind is not drawn; None is the published form, all unseen
    items of the user, with weights that fall linearly to the last one. sampling: the place r = 0, 1, ... has the
    weight 1 - r / depth ('linear') or exp(-gamma r / depth) ('exponential'; beside 'linear' gamma stays at its default).
    temperature, shift: the teacher's label is sigmoid((score + shift) / temperature). weight: lambda, of a sum over the
    batch's different users and their items.

    The paper's text was not at hand; notes on it give the formulas and a best weight near 0.1. They are silent about, so that
    it is chosen here: ``samples``, as many as RRD has; ``depth``, RRD's (500 places concentrate the draw six times more than
    the 3,000 of other people's code do); 'linear', which needs no gamma, and gamma's default.
    temperature 2 and shift 0 are those of woriazzc/KDs 01500ff for BPR on CiteULike. Places count from 0 (the last one of a
    ranking that counts from 1 would have the weight 0).

    positives: whether the loss adds the published base loss, softplus(-score) of the batch's targets, a sum over rows. With it
    belongs Training(base_weight=0): what is missing is not known to be disliked, so the paper's has no negatives."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    mode: str = "student"
    samples: int = 80
    sampling: str = "linear"
    gamma: float = 10.0
    depth: int | None = 500
    temperature: float = 2.0
    shift: float = 0.0
    weight: float = 0.1
    positives: bool = added(False)

    def __post_init__(self):
        one_of("mode", self.mode, "student", "teacher")
        one_of("sampling", self.sampling, "linear", "exponential")
        whole("samples", self.samples)
        flag("positives", self.positives)
        if self.depth is None and self.sampling != "linear":
            raise ValueError(f"depth=None is the published form, which is 'linear', got sampling={self.sampling!r}")
        if self.depth is not None:
            whole("depth", self.depth)
        if self.depth is not None and self.samples > self.depth:
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


def positives_loss(logits: Tensor) -> Tensor:
    """The published base loss: -log sigmoid of the targets' logits (B,), summed -> ()."""
    return F.softplus(-logits).sum()


def linear_places(length: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` different places of every row's list, drawn one after the other, place r = 0, 1, ... with probability
    proportional to length - r among those left: length (n,) -> (n, size), in the order drawn. No length may be below size.

    Drawn with replacement by the inverse of the distribution function, and again where the place is taken: the same law, for
    no memory of the lists' lengths.
    """
    places = torch.empty((len(length), size), dtype=torch.long, device=length.device)
    whole_length = length.double()

    def drawn(rows: Tensor) -> Tensor:
        n = whole_length[rows]
        area = torch.rand(n.shape, dtype=torch.float64, generator=generator, device=n.device) * n * (n + 1) / 2
        place = (n + 0.5 - ((n + 0.5) ** 2 - 2 * area).sqrt()).long()
        return place.clamp(max=length[rows] - 1)

    for column in range(size):
        rows = torch.arange(len(length), device=length.device)
        while len(rows):
            places[rows, column] = drawn(rows)
            taken = (places[rows, :column] == places[rows, column, None]).any(1)
            rows = rows[taken]
    return places


class CollaborativeDistillation(Distillation):
    """Items are drawn without replacement, anew in every epoch, for every user; guided by the student, from his ranking of
    unseen items at the beginning of the epoch. Where student or teacher have a memory, every query is ranked and sampled
    in its step, so that memory holds one batch of rankings and no more.

    A user counts once in every batch that he is in, as in RRD, with which the weight shares its meaning. The base loss is the
    experiment's, or the published one of positives alone.
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
        if depth is None and self.settings.samples > fewest:
            raise ValueError(
                f"samples must be <= {fewest}, the unseen items of the most active user, got {self.settings.samples}"
            )
        if depth is not None and depth > fewest:
            raise ValueError(f"depth must be <= {fewest}, the unseen items of the most active user, got {depth}")
        self.teacher = (teacher,)  # in a tuple, so that it is no part of this module
        self.seen, self.everyone = data.seen, final_queries_of(data.queries)
        self.lists: Lists | None = None
        if depth is None:
            return
        self.log_weights = self.settings.log_weights().to(data.target.device)
        if self.settings.mode == "teacher":
            self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, progress=progress)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        if self.per_user:
            self.items = self._items(student, self.everyone, self.lists.items if self.lists else None)
            self.labels = self._labels(self.everyone, self.items)

    def _items(self, student: Model, queries: Queries, lists: Tensor | None) -> Tensor:
        """Drawn for queries (B), whose teacher's lists (B, depth) there may be: (B, samples)."""
        if self.settings.depth is None:
            return self._drawn_of_all(*((student,) if self.settings.mode == "student" else self.teacher), queries)
        return self._drawn(self._students(student, queries) if lists is None else lists)

    @torch.no_grad()
    def _drawn_of_all(self, guide: Model, queries: Queries) -> Tensor:
        """From the guide's whole ranking of what the users of queries (B) have not seen, block by block: (B, samples)."""
        length = guide.n_items - self.seen.distinct[queries.user]
        places = linear_places(length, self.settings.samples, self.rng)
        found, rows = [], block_rows(guide.n_items, 512, copies=4)
        with evaluating(guide):
            for start in range(0, len(queries), rows):
                asked = queries[start : start + rows]
                scores = guide.score_all(guide.encode(asked))
                scores[self.seen.of(asked.user)] = -torch.inf
                found.append(scores.argsort(dim=1, descending=True).gather(1, places[start : start + rows]))
        return torch.cat(found)

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
            items = self._items(student, queries, self.lists.of(batch)[place] if self.lists else None)
            labels = self._labels(queries, items)
        logits = student.score(context[place], items)
        loss = self.settings.weight * (once * soft_label_loss(labels, logits)).sum()
        if self.settings.positives:
            loss = loss + positives_loss(student.score(context, batch.target[:, None]))
        return loss
