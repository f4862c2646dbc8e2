"""Collaborative distillation, CD (Lee et al., ICDM 2019): the teacher's opinion of unseen items, drawn by their rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number, one_of
from rdcore.data.queries import Queries
from rdcore.distill.base import Batch, Cache, Frozen, TrainingData
from rdcore.distill.lists import exemplary_rankings, teacher_lists
from rdcore.distill.resampled import Resampled, noise, sampled_places
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, must_score_single_items
from rdcore.settings import Settings, added, inert


@dataclass(frozen=True, kw_only=True)
class CDSettings(Settings):
    """Settings of CD.

    The paper's text was not available. Notes on it give the formulas and a best weight near 0.1. Chosen here,
    because they are silent: ``samples`` and ``depth``, RRD's (500 places concentrate the draw six times more than
    the 3,000 of other people's code do); 'linear', which needs no gamma; gamma's default. temperature 2 and shift
    0 are those of woriazzc/KDs 01500ff for BPR on CiteULike.
    """

    revision = 1

    mode: str = "student"
    """Whose ranking the items are drawn from: the 'student's of the moment (CD-SG), or the
    'teacher's (CD-TG)."""
    samples: int = 80
    """Items of a query."""
    sampling: str = "linear"
    """Weight of the place r = 0, 1, ...: 1 - r / depth ('linear'), exp(-gamma r / depth) ('exponential'), the same
    for all ('uniform'; with depth=None CD-Base), or 1 - (r + 1/2) / depth ('tournament', the better of two uniform
    places: with depth=3000 as in other people's code)."""
    gamma: float = 10.0
    """Steepness of 'exponential'."""
    depth: int | None = 500
    """Length of the ranking; items behind it are not drawn. None is the published form: all unseen items of the
    user, whose number then takes the place of depth in the weights."""
    temperature: float = 2.0
    """The teacher's label is sigmoid((score + shift) / temperature)."""
    shift: float = 0.0
    """Added to the teacher's score."""
    weight: float = 0.1
    """lambda: factor of a sum over the batch's different users and their items."""
    positives: bool = added(False)
    """Whether the loss adds the published base loss, softplus(-score) of the batch's targets, a sum over rows. It
    belongs with Training(base_weight=0): what is missing is not known to be disliked, so the paper has no
    negatives."""

    def __post_init__(self):
        one_of("mode", self.mode, "student", "teacher")
        one_of("sampling", self.sampling, "linear", "exponential", "uniform", "tournament")
        integer("samples", self.samples)
        flag("positives", self.positives)
        if self.depth is not None:
            integer("depth", self.depth)
            if self.samples > self.depth:
                raise ValueError(f"samples must be <= depth = {self.depth}, the length of the ranking, got {self.samples}")
        for name in ("gamma", "temperature", "weight"):
            number(name, getattr(self, name), above=name == "temperature")
        number("shift", self.shift, least=None)
        if self.sampling != "exponential":
            inert(self, f"sampling={self.sampling!r}", "gamma")

    def log_weights(self, length: Tensor | None = None, places: int | None = None) -> Tensor:
        """Of the places of a ranking: (depth,) float64. Of the first ``places`` of rankings of length (B, 1):
        (B, places), minus infinity behind their ends."""
        length = torch.tensor(self.depth) if length is None else length
        place = torch.arange(places or self.depth, dtype=torch.float64, device=length.device)
        part = (place + (self.sampling == "tournament") / 2) / length
        weights = {"exponential": -self.gamma * part, "uniform": 0 * part}.get(self.sampling, torch.log1p(-part))
        return weights.masked_fill(place >= length, -torch.inf)

    def build(self, student: Model, teacher: Model) -> CollaborativeDistillation:
        must_score_single_items(teacher, "CD")
        per_user = student.window == 0 and teacher.window == 0
        return CollaborativeDistillation(self, per_user=per_user)


def soft_label_loss(labels: Tensor, logits: Tensor, named: Tensor | None = None) -> Tensor:
    """-sum_i [q_i log p_i + (1 - q_i) log(1 - p_i)], p = sigmoid(logits): (B, n) twice -> (B,), over the items that
    are ``named`` (B, n) bool, by default all."""
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses if named is None else losses * named).sum(1)


def positives_loss(logits: Tensor) -> Tensor:
    """The published base loss: -log sigmoid of the targets' logits (B,), summed -> ()."""
    return F.softplus(-logits).sum()


def weighted_places(log_weights: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`sampled_places` of rows with weights of their own: log_weights (n, m), minus infinity for what is never drawn -> places
    (n, size) int64, in no particular order, and which of them are real (n, size) bool: where a row has fewer than
    ``size`` places with a weight, all of them are drawn, and the others are not real."""
    places, real = [], []
    for part in log_weights.split(block_rows(4 * log_weights.shape[1], len(log_weights) or 1)):
        values, found = (part - noise(part.shape, generator)).topk(size, dim=1)
        places.append(found)
        real.append(values > -torch.inf)
    return torch.cat(places), torch.cat(real)


def linear_places(length: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` different places of every row's list, drawn one after the other, place r = 0, 1, ... with probability
    proportional to length - r among those left: length (n,) -> (n, size), in the order drawn; -1 behind where
    length is below size.

    Drawn with replacement by the inverse of the distribution function, and again where the place is taken: the same
    law, in memory that does not grow with the lists' lengths. The last ones of a short list would be taken nearly
    always; lists below 2 size are drawn by `weighted_places`.
    """
    places = torch.full((len(length), size), -1, device=length.device)
    all_lengths = length.double()

    def drawn(rows: Tensor) -> Tensor:
        n = all_lengths[rows]
        uniform = torch.rand(n.shape, dtype=torch.float64, generator=generator, device=n.device)
        area = uniform * n * (n + 1) / 2
        place = (n + 0.5 - ((n + 0.5) ** 2 - 2 * area).sqrt()).long()
        return place.clamp(max=length[rows] - 1)

    long = (length >= 2 * size).nonzero().squeeze(1)
    for column in range(size):
        rows = long
        while len(rows):
            places[rows, column] = drawn(rows)
            taken = (places[rows, :column] == places[rows, column, None]).any(1)
            rows = rows[taken]
    short = (length < 2 * size).nonzero().squeeze(1)
    if len(short):
        left = all_lengths[short, None] - torch.arange(2 * size, device=length.device)
        found, real = weighted_places(left.clamp(min=0).log(), size, generator)
        places[short] = found.masked_fill(~real, -1)
    return places


def items_at(scores: Tensor, places: Tensor) -> Tensor:
    """Items at ``places`` (B, n), counted from 0, of every row's ranking, best first: scores (B, n_items) -> (B, n). Which one
    of equal scores comes first is left open."""
    if scores.is_cuda:
        return scores.argsort(dim=1, descending=True).gather(1, places)
    # numpy finds single places without ordering the others: 2 of 14,000 in a quarter of the time.
    rows = zip(scores.neg().numpy(), places.numpy(), strict=True)
    return torch.from_numpy(np.stack([np.argpartition(row, place)[place] for row, place in rows]))


class CollaborativeDistillation(Resampled):
    """CD: items drawn without replacement, from the student's ranking of unseen items at the beginning of the epoch
    (or of the step, see `Resampled`) or from the teacher's.

    The base loss is the experiment's, or the published one of positives alone. An item that the teacher does not
    name carries no weight, wherever it is ranked.
    """

    def prepare(
        self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False
    ) -> None:
        self.keep(data)
        self.freeze(teacher)
        left = data.seen.left[self.everyone.user]
        self.n_short = int((left < (self.settings.depth or self.settings.samples)).sum())
        if self.settings.depth is None:
            return
        self.log_weights = self.settings.log_weights().to(data.target.device)
        if self.settings.mode == "teacher":
            depth = self.settings.depth
            self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, partial=True, progress=progress)
            self.n_short = self.lists.n_short

    def draw(self, student: Model, queries: Queries, lists: Tensor | None) -> tuple[Tensor, ...]:
        """Items (B, samples) and the teacher's labels of them."""
        depth, samples = self.settings.depth, self.settings.samples
        if depth is None:
            guide = student if self.settings.mode == "student" else self.teacher.model
            items = self._drawn_of_all(guide, queries)
        else:
            if lists is None:
                lists = exemplary_rankings(student, queries, depth, target=None, seen=self.seen)
            named = lists < self.seen.n_items if self.n_short else None
            places = sampled_places(self.log_weights, len(lists), samples, self.rng, named)
            items = lists.gather(1, places)
        scores = self.teacher.score(queries, items)
        items = items.masked_fill(scores == -torch.inf, self.seen.n_items)
        return items, torch.sigmoid((scores + self.settings.shift) / self.settings.temperature)

    @torch.no_grad()
    def _drawn_of_all(self, guide: Model, queries: Queries) -> Tensor:
        """From the guide's whole ranking of what the users of queries (B) have not seen, block by
        block: (B, samples)."""
        length, samples = self.seen.left[queries.user], self.settings.samples
        linear = linear_places(length, samples, self.rng) if self.settings.sampling == "linear" else None
        rows, parts = block_rows(guide.n_items, 512, copies=4), []
        for start in range(0, len(queries), rows):
            part = queries[start : start + rows]
            scores = Frozen(guide).score_all(part)  # (rows, n_items)
            scores[self.seen.of(part.user)] = -torch.inf
            if linear is None:
                weights = self.settings.log_weights(length[start : start + rows, None], guide.n_items)
                places, real = weighted_places(weights, samples, self.rng)
                places = places.masked_fill(~real, -1)
            else:
                places = linear[start : start + rows]
            items = items_at(scores, places.clamp(min=0))
            none = (places < 0) | (scores.gather(1, items) == -torch.inf)
            parts.append(items.masked_fill(none, guide.n_items))
        return torch.cat(parts)

    def compare(self, logits: Tensor, named: Tensor | None, labels: Tensor) -> Tensor:
        return soft_label_loss(labels, logits, named)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        loss = super().loss(student, batch, step, context)
        if self.settings.positives:
            loss = loss + positives_loss(student.score(context, batch.target[:, None]))
        return loss
