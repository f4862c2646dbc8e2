"""DCD, dual correction (Lee and Kim, CIKM 2021): what the student gets wrong inside the teacher's
list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import integer, number
from rdcore.data.queries import final_queries_of
from rdcore.distill.base import (
    Batch,
    Cache,
    Distillation,
    Frozen,
    TrainingData,
    distinct,
    distinct_queries,
)
from rdcore.distill.followups.cd import weighted_places
from rdcore.distill.followups.ir_rrd import without_memory
from rdcore.distill.followups.item_side import scores_of_users, user_lists
from rdcore.distill.lists import teacher_lists
from rdcore.distill.rrd import partial_relaxed_loss
from rdcore.models.base import Model
from rdcore.settings import Settings, inert


@dataclass(frozen=True, kw_only=True)
class DCDSettings(Settings):
    """How errors are drawn. Lists of 500 and places that are renewed every third epoch are in the
    released code. It holds the loss and the loop, but no value of any other setting: those here are
    ours, the weights those of IR-RRD."""

    revision = 1

    samples: int = 30
    """p_n: under-estimated items drawn in every step, and as many over-estimated ones."""
    sharpness: float = 0.1
    """epsilon: a place that is wrong by n weighs tanh(epsilon n)."""
    depth: int = 500
    """Length of the teacher's lists of items."""
    weight: float = 1e-3
    """lambda_UCD, factor of a sum over the batch's different users."""
    item_depth: int = 500
    """Length of the teacher's lists of users."""
    item_weight: float = 5e-4
    """lambda_ICD, factor of a sum over the batch's different positive items. 0: the user side
    alone, which models with a memory can learn too."""
    renew: int = 3
    """Every so many epochs the student's places are taken again. A model with a memory is asked in
    every step."""

    def __post_init__(self):
        for name in ("samples", "depth", "item_depth", "renew"):
            integer(name, getattr(self, name))
        for name in ("weight", "item_weight"):
            number(name, getattr(self, name))
        number("sharpness", self.sharpness, above=True)
        if self.item_weight == 0:
            inert(self, "item_weight=0", "item_depth")
        shortest = self.depth if self.item_weight == 0 else min(self.depth, self.item_depth)
        if self.samples > shortest:
            raise ValueError(
                f"samples must be <= {shortest}, the length of the lists, got {self.samples}"
            )

    def build(self, student: Model, teacher: Model) -> DualCorrection:
        if self.item_weight > 0:
            without_memory("DCD's item side (item_weight > 0)", student, teacher)
        return DualCorrection(self, per_user=student.window == 0 and teacher.window == 0)


def places_in_list(scores: Tensor) -> Tensor:
    """The student's place, 0 for the highest, of every entry of a list among the entries of that
    list: (n, depth) scores in the teacher's order -> (n, depth). Of equal ones the teacher's order
    decides."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    place = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
    return torch.empty_like(order).scatter_(1, order, place)


def error_weights(places: Tensor, sharpness: float) -> tuple[Tensor, Tensor]:
    """How strongly every entry is under-estimated and over-estimated: the student's places (n,
    depth) -> two (n, depth) float64. tanh(max(epsilon (r_S - r_T), 0)) and the same of r_T - r_S,
    r_T = 0, 1, ..."""
    wrong = sharpness * (places - torch.arange(places.shape[1], device=places.device)).double()
    return wrong.clamp(min=0).tanh(), (-wrong).clamp(min=0).tanh()


correction_loss = partial_relaxed_loss
"""RRD's relaxed loss of the entries that are real: logits (B, n), (B, m) and which of them count ->
(B,). 0 for a row without any.

-sum_k [ a_k - log( sum_{i >= k} exp a_i + sum_l exp b_l ) ], a the under-estimated in the teacher's
order, b the others.
"""


class DualCorrection(Distillation):
    """DCD as in dudwns511/DCD_CIKM21 16a73de, run_dcd.py:

    L = weight sum_u R(under-estimated items; over-estimated ones)
        + item_weight sum_i R(under-estimated users; over-estimated ones)

    Entries are drawn in every step, without replacement, by `error_weights`; the places come from
    the student of every third epoch and are kept in checkpoints. No gradient goes through places or
    weights. Where fewer than ``samples`` entries are wrong in one direction, those are taken (the
    released sampler stops with an error); where none is, the loss is 0. The lists leave out what
    the user has in training (the released ones are missing). Places behind a shorter list are
    never wrong: the student's come last, too.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: DCDSettings, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user
        self.both = settings.item_weight > 0

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.everyone = final_queries_of(data.queries)
        self.lists = teacher_lists(
            teacher, data, self.settings.depth, "seen", cache=cache, partial=True, progress=progress, setting="depth"
        )
        self.n_short = self.lists.n_short
        if self.per_user:
            self.register_buffer("item_places", torch.zeros_like(self.lists.items))
        if self.both:
            self.users = user_lists(teacher, self.everyone, data.seen, self.settings.item_depth)
            self.register_buffer("user_places", torch.zeros_like(self.users.users))

    @torch.no_grad()
    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        self.sums = torch.zeros(2, dtype=torch.float64, device=rng.device)
        if (epoch - 1) % self.settings.renew:
            return
        if self.per_user:
            self.item_places.copy_(
                places_in_list(Frozen(student).score(self.everyone, self.lists.items))
            )
        if self.both:
            training, context = student.training, student.eval().encode(self.everyone)
            for items in torch.arange(student.n_items, device=rng.device).split(1024):
                scores = scores_of_users(student, context, self.users.users[items], items)
                self.user_places[items] = places_in_list(scores).int()
            student.train(training)

    def _drawn(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Places in the teacher's list of the under-estimated, in its order, and of the
        over-estimated, (B, samples) each; and which of both are real."""
        drawn = []
        for weights in error_weights(places, self.settings.sharpness):
            found, real = weighted_places(weights.log(), self.settings.samples, self.rng)
            found, order = found.sort(dim=1)
            drawn.append((found, real.gather(1, order)))
        (under, real_under), (over, real_over) = drawn
        self.sums += torch.tensor(
            [float(real_under.sum() + real_over.sum()), 2 * len(places)], device=places.device
        )
        return under, over, real_under, real_over

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        place, once = distinct_queries(student, batch)
        queries, context = batch.queries[place], context[place]
        lists = self.lists.of(batch)[place]
        if self.per_user:
            places = self.item_places[queries.user]
        else:
            scores = student.score(context.detach(), lists).detach()
            if (named := self.lists.named(batch)) is not None:
                scores = scores.masked_fill(~named[place], -torch.inf)
            places = places_in_list(scores)
        under, over, *real = self._drawn(places)
        logits = student.score(context, lists.gather(1, torch.cat([under, over], dim=1)))
        total = (
            self.settings.weight * (once * correction_loss(*logits.chunk(2, dim=1), *real)).sum()
        )
        return total + self._of_items(student, batch) if self.both else total

    def _of_items(self, student: Model, batch: Batch) -> Tensor:
        items = batch.target[distinct(batch.target, in_shape=False)[0]]
        items = items[self.users.whole[items]]
        under, over, *real = self._drawn(self.user_places[items])
        users = self.users.users[items].gather(1, torch.cat([under, over], dim=1))
        logits = scores_of_users(student, student.encode(self.everyone), users, items)
        return self.settings.item_weight * correction_loss(*logits.chunk(2, dim=1), *real).sum()

    def log(self) -> dict:
        """drawn: the mean number of entries in a draw, of ``samples``."""
        return {"drawn": round(float(self.sums[0] / self.sums[1]), 3)}
