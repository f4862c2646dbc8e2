"""KD-CE, knowledge distillation by cross-entropy (Hinton et al., 2015): the baseline of every later
method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rdcore.checks import integer, number, one_of
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.lists import Lists, check_length, exemplary_rankings, teacher_lists
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, must_score_single_items
from rdcore.settings import Settings, inert


@dataclass(frozen=True, kw_only=True)
class KDCESettings(Settings):
    """How the student copies the teacher's softmax. The defaults are those of the authors of RCE-KD
    for their baseline (woriazzc/RCEKD 771322a), but for the items: they take the student's list, we
    take the teacher's."""

    revision = 1

    items: str = "teacher"
    """'all' items, the 'teacher's top K, or the 'student's top K at the beginning of the epoch."""
    K: int = 50
    """Length of the list. Without effect with items='all', where it stays at its default."""
    exclude: str = "nothing"
    """What a list leaves out: 'nothing' (as released), or 'seen', all training items of the user.
    Without effect with items='all'."""
    temperature: float = 1.0
    """Both models' scores are divided by it before the softmax. Teachers with scores in [0, 1] need
    a small one."""
    weight: float = 1.0
    """Factor of the loss, which is a sum over the rows of the batch."""

    def __post_init__(self):
        one_of("items", self.items, "all", "teacher", "student")
        one_of("exclude", self.exclude, "nothing", "seen")
        integer("K", self.K)
        number("temperature", self.temperature, above=True)
        number("weight", self.weight)
        if self.items == "all":
            inert(self, "items='all'", "K", "exclude")

    def build(self, student: Model, teacher: Model) -> CrossEntropyDistillation:
        must_score_single_items(teacher, "KD-CE")
        return CrossEntropyDistillation(self, per_user=student.window == 0 and teacher.window == 0)


def soft_cross_entropy(
    teacher: Tensor, logits: Tensor, temperature: float = 1.0, kept: Tensor | None = None
) -> Tensor:
    """-sum_i softmax(t / tau)_i log softmax(s / tau)_i of every row: t (B, n), s (B, n) -> (B,).

    kept (B, n) bool: the items that count, by default all; both softmaxes are over them alone. 0 for
    a row without any.
    """
    some = 1.0 if kept is None else kept.any(1)
    if kept is not None:
        lowest = (
            torch.finfo(logits.dtype).min / 4
        )  # finite: minus infinity times a probability of 0 would be no number
        teacher, logits = (
            each.masked_fill(~kept, lowest * min(temperature, 1)) for each in (teacher, logits)
        )
    labels = torch.softmax(teacher / temperature, dim=1)
    return -(labels * torch.log_softmax(logits / temperature, dim=1)).sum(1) * some


class CrossEntropyDistillation(Distillation):
    """L = weight sum_rows CE(softmax(t / tau); s / tau), over all items or over a list.

    A user counts as often as the batch has rows of them, as in the released code. Over all items,
    memory holds the scores of one block of rows, which are computed a second time for the gradient.
    Items that the teacher does not name (-inf) are in neither softmax.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: KDCESettings, *, per_user: bool):
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
        self.seen = data.seen if self.settings.exclude == "seen" else None
        self.everyone = final_queries_of(data.queries)
        self.lists: Lists | None = None
        if self.settings.items == "student":
            check_length(self.settings.K, data.seen.n_items)
        if self.settings.items == "teacher":
            K, exclude = self.settings.K, self.settings.exclude
            self.lists = teacher_lists(
                teacher, data, K, exclude, cache=cache, partial=True, progress=progress
            )
            self.n_short = self.lists.n_short
            if self.per_user:
                self.labels = self.teacher.score(self.everyone, self.lists.items)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        if self.settings.items == "student" and self.per_user:
            students = self._students(student, self.everyone)
            self.lists = Lists(students, per_user=True, padding=student.n_items)
            self.labels = self.teacher.score(self.everyone, self.lists.items)

    def _students(self, student: Model, queries: Queries) -> Tensor:
        """Its first K items for queries (B): (B, K)."""
        return exemplary_rankings(student, queries, self.settings.K, target=None, seen=self.seen)

    def wants(self, batch: Batch) -> Tensor | None:
        return None if self.lists is None else self.lists.of(batch)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        if self.settings.items == "all":
            return self.settings.weight * self._over_all(student, batch, context)
        if self.lists is None:
            items = self._students(student, batch.queries).long()
        else:
            items = self.lists.rows(batch)
        logits = batch.wanted
        if logits is None:
            logits = student.score(context, items.masked_fill(items == student.n_items, 0))
        labels = (
            self.labels[batch.queries.user]
            if self.per_user
            else self.teacher.score(batch.queries, items)
        )
        kept, temperature = labels > -torch.inf, self.settings.temperature
        return self.settings.weight * soft_cross_entropy(labels, logits, temperature, kept).sum()

    def _over_all(self, student: Model, batch: Batch, context: Tensor) -> Tensor:
        def part(context: Tensor, queries: Queries) -> Tensor:
            labels, kept = self.teacher.score_all(queries), None
            if not (named := labels > -torch.inf).all():
                kept = named
            return soft_cross_entropy(
                labels, student.score_all(context), self.settings.temperature, kept
            ).sum()

        rows = block_rows(student.n_items, 256, copies=4)
        starts = range(0, len(context), rows)
        blocks = [(context[k : k + rows], batch.queries[k : k + rows]) for k in starts]
        return torch.stack(
            [checkpoint(part, *block, use_reentrant=False) for block in blocks]
        ).sum()
