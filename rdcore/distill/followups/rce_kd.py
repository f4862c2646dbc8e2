"""RCE-KD, rejuvenated cross-entropy (Zhu and Zhang, arXiv 2509.20989): the teacher's list and what
the student puts above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import integer, number, one_of
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.followups.cd import weighted_places
from rdcore.distill.followups.kd_ce import soft_cross_entropy
from rdcore.distill.lists import check_length, exemplary_rankings, teacher_lists
from rdcore.models.base import Model, must_score_single_items
from rdcore.settings import Settings

MOST_BEHIND = 50  # of the teacher's items that a weight counts


@dataclass(frozen=True, kw_only=True)
class RCEKDSettings(Settings):
    """Which items the two softmaxes are over. The defaults are those of the released configuration
    for MF to MF on CiteULike."""

    revision = 1

    K: int = 50
    """Length of the teacher's list, and of the student's."""
    L: int = 50
    """Items drawn in every epoch from the student's ranking."""
    depth: int = 200
    """How far down the student's ranking they are drawn."""
    T: float = 10.0
    """Temperature of that draw."""
    draw: str = "teacher"
    """What a place of the student's ranking weighs: 'teacher', exp((c + 1) / T), where c counts the
    teacher's items that are at this place or behind it (at most 50); or 'rank', exp(-(place + 1) /
    T)."""
    beta: float = 3.0
    """How fast the student's own list takes over while the draw comes to hold the teacher's items:
    its share is 1 - exp(-beta overlap)."""
    temperature: float = 1.0
    """Both models' scores are divided by it before the softmax."""
    exclude: str = "nothing"
    """What both lists leave out: 'nothing' (as released), or 'seen', all training items of the
    user."""
    weight: float = 500.0
    """Factor of the loss, which is a sum over the rows of the batch. It belongs to the scale of the
    teacher's scores: the released ones span five orders of magnitude."""

    def __post_init__(self):
        for name in ("K", "L", "depth"):
            integer(name, getattr(self, name))
        if max(self.K, self.L) > self.depth:
            raise ValueError(f"K and L must be <= depth = {self.depth}, got {self.K} and {self.L}")
        number("T", self.T, above=True)
        number("temperature", self.temperature, above=True)
        for name in ("beta", "weight"):
            number(name, getattr(self, name))
        one_of("draw", self.draw, "teacher", "rank")
        one_of("exclude", self.exclude, "nothing", "seen")

    def build(self, student: Model, teacher: Model) -> RejuvenatedCrossEntropy:
        must_score_single_items(teacher, "RCE-KD")
        return RejuvenatedCrossEntropy(self, per_user=student.window == 0 and teacher.window == 0)


def contained(items: Tensor, others: Tensor) -> Tensor:
    """Which items (B, n) are among the row's others (B, m): (B, n) bool. Memory for B m numbers,
    not B n m."""
    ordered = others.sort(dim=1).values
    place = torch.searchsorted(ordered, items.contiguous()).clamp(max=others.shape[1] - 1)
    return ordered.gather(1, place) == items


def draw_log_weights(ranking: Tensor, top: Tensor, T: float, draw: str = "teacher") -> Tensor:
    """Log-weights of the places of the student's rankings (B, depth), given the teacher's lists
    (B, K): (B, depth) float64."""
    if draw == "rank":
        return (
            -(
                torch.arange(ranking.shape[1], dtype=torch.float64, device=ranking.device) + 1
            ).expand(ranking.shape)
            / T
        )
    behind = contained(ranking, top).flip(1).cumsum(1).flip(1).clamp(max=MOST_BEHIND)
    return (behind.double() + 1) / T


def taught_items(ranking: Tensor, drawn: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All items of a row, S (its first K) then A (drawn) then the teacher's: (B, K + L + K); which
    of the teacher's are in neither S nor A, (B, K) bool; and the share of the teacher's that are in
    A, (B,). In ``top`` -1 is no item.

    ranking (B, depth) and top (B, K) best first, drawn (B, L).
    """
    own = ranking[:, : top.shape[1]]
    in_drawn = contained(top, drawn)
    return (
        torch.cat([own, drawn, top], dim=1),
        ~(in_drawn | contained(top, own)),
        in_drawn.double().mean(1) * (top.shape[1] / (top >= 0).sum(1).clamp(min=1)),
    )


def rejuvenated_loss(
    teacher: Tensor,
    logits: Tensor,
    other: Tensor,
    overlap: Tensor,
    beta: float,
    temperature: float = 1.0,
) -> Tensor:
    """(1 - g) CE over S + g CE over J of every row, g = exp(-beta overlap): the scores of
    `taught_items`, teacher and logits (B, K + L + K), ``other`` (B, K) and overlap (B,) from there
    -> (B,). J is A and the ``other`` of the teacher's items."""
    K, named = other.shape[1], teacher > -torch.inf
    own = soft_cross_entropy(teacher[:, :K], logits[:, :K], temperature, named[:, :K])
    kept = torch.cat([other.new_ones((len(other), logits.shape[1] - 2 * K)), other], dim=1)
    both = soft_cross_entropy(teacher[:, K:], logits[:, K:], temperature, kept & named[:, K:])
    share = torch.exp(-beta * overlap).to(logits.dtype)
    return (1 - share) * own + share * both


class RejuvenatedCrossEntropy(Distillation):
    """RCE-KD as in woriazzc/RCEKD 771322a, modeling/KD/playground.py.

    The teacher's list is made once, the student's ranking at the beginning of every epoch, from
    which A is drawn without replacement; a student or teacher with a memory is asked in every step.
    A user counts as often as the batch has rows of them. The released code takes exponentials of raw
    scores, which overflow; the value is the same. Items that the teacher does not name (-inf), and
    places that a user leaves empty, are in no softmax.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: RCEKDSettings, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.everyone, self.n_items = final_queries_of(data.queries), data.seen.n_items
        K, exclude = self.settings.K, self.settings.exclude
        self.seen = data.seen if exclude == "seen" else None
        check_length(self.settings.depth, data.seen.n_items, "depth")
        self.lists = teacher_lists(teacher, data, K, exclude, cache=cache, partial=True, progress=progress)
        left = data.seen.left[self.lists.users(data)]
        few = left < self.settings.depth if self.seen else left < 0
        self.n_short = int((few | (self.lists.items[:, -1] == data.seen.n_items)).sum())

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        self.sums = torch.zeros(2, dtype=torch.float64, device=rng.device)
        if self.per_user:
            self.items, self.other, self.overlap, self.labels = self._taught(
                student, self.everyone, self.lists.items
            )

    def _taught(
        self, student: Model, queries: Queries, top: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`taught_items` of queries (B) with teacher's lists (B, K), and the teacher's scores of
        the items."""
        ranking = exemplary_rankings(
            student, queries, self.settings.depth, target=None, seen=self.seen
        )
        top, n_items = top.to(ranking.dtype), student.n_items
        top = top.masked_fill(top == n_items, -1)  # no item, and none of the student's ranking
        weights = draw_log_weights(ranking, top, self.settings.T, self.settings.draw)
        weights = weights.masked_fill(ranking == n_items, -torch.inf)
        drawn = ranking.gather(1, weighted_places(weights, self.settings.L, self.rng)[0])
        items, other, overlap = taught_items(ranking, drawn, top)
        items = items.masked_fill(items < 0, n_items)
        return items, other, overlap, self.teacher.score(queries, items)

    def wants(self, batch: Batch) -> Tensor | None:
        return self._valid(self.items[batch.queries.user]) if self.per_user else None

    def _valid(self, items: Tensor) -> Tensor:
        """Items that can be scored: item 0 where there is none."""
        return items.long().masked_fill(items == self.n_items, 0)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        if self.per_user:
            user = batch.queries.user
            items, other, overlap, labels = (
                each[user] for each in (self.items, self.other, self.overlap, self.labels)
            )
        else:
            items, other, overlap, labels = self._taught(
                student, batch.queries, self.lists.rows(batch)
            )
        logits = student.score(context, self._valid(items)) if batch.wanted is None else batch.wanted
        self.sums += torch.stack([overlap.sum(), overlap.new_tensor(len(overlap))])
        loss = rejuvenated_loss(
            labels, logits, other, overlap, self.settings.beta, self.settings.temperature
        )
        return self.settings.weight * loss.sum()

    def log(self) -> dict:
        """overlap: the mean share of the teacher's items in the draw."""
        return {"overlap": round(float(self.sums[0] / self.sums[1]), 6)}
