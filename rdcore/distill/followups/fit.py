"""Fit, plain feature matching (Romero et al., 2015, arXiv 1412.6550): the control that DE and what
followed have to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rdcore.checks import flag, integer, number
from rdcore.data.queries import final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.de import hint_sizes
from rdcore.distill.followups.ftd import both_show_vectors, directions
from rdcore.distill.followups.projectors import Projector
from rdcore.models.base import Model
from rdcore.settings import Settings, inert


@dataclass(frozen=True, kw_only=True)
class FitSettings(Settings):
    """The projector. The defaults are those of the released configuration for MF on CiteULike
    (woriazzc/KDs a3a7a64)."""

    revision = 1

    weight: float = 0.05
    """Factor of a sum over the drawn users and items."""
    linear: bool = False
    """Whether the projector is linear; otherwise an MLP with one hidden layer."""
    bias: bool = False
    """Whether a linear projector has a bias. Without effect in an MLP, which has biases."""
    hidden: int | None = None
    """Size of the hidden layer. None is five times the size of the teacher's vectors, as released.
    Without effect with linear=True; so is ``dropout``."""
    dropout: float = 0.2
    """In front of both layers of the MLP."""
    unit: bool = False
    """Whether both vectors are brought to length 1 before they are compared."""

    def __post_init__(self):
        for name in ("weight", "dropout"):
            number(name, getattr(self, name))
        if self.dropout >= 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout!r}")
        for name in ("linear", "bias", "unit"):
            flag(name, getattr(self, name))
        if self.hidden is not None:
            integer("hidden", self.hidden)
        if self.linear:
            inert(self, "linear=True", "hidden", "dropout")
        else:
            inert(self, "linear=False", "bias")

    def build(self, student: Model, teacher: Model) -> UniformFeatures:
        both_show_vectors("Fit", student, teacher)

        def made(s: int, t: int) -> Projector:
            hidden = None if self.linear else self.hidden or 5 * t
            return Projector(s, t, hidden, dropout=self.dropout, bias=self.bias)

        sizes = zip(hint_sizes(student), hint_sizes(teacher), strict=True)
        return UniformFeatures(self.weight, *(made(*each) for each in sizes), unit=self.unit)


def feature_distance(
    teacher: Tensor, student: Tensor, *, centred: bool = False, unit: bool = False
) -> Tensor:
    """sum_e |t_e - s_e|^2: the teacher's vectors and the student's projected ones (n, d) -> ().

    ``centred``: the mean of the teacher's is taken away first. ``unit``: then both have length 1.
    """
    if centred:
        teacher = teacher - teacher.mean(0)
    if unit:
        teacher, student = directions(teacher), directions(student)
    return (teacher - student).square().sum()


class UniformFeatures(Distillation):
    """Fit and VkD as in woriazzc/KDs a3a7a64, modeling/KD/cf/baseline.py:

    L = weight ( sum_u |t_u - p(s_u)|^2 + sum_i |t_i - q(s_i)|^2 )

    over users and over items drawn uniformly in every step, as many as the batch has rows (at most
    all), without replacement. The batch's own do not matter. A user with a memory is taken behind
    their last training item.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(
        self, weight: float, users: nn.Module, items: nn.Module, *, centred: bool = False,
        unit: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.weight, self.users, self.items = weight, users, items
        self.form = {"centred": centred, "unit": unit}

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.everyone = final_queries_of(data.queries)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng

    def _drawn(self, n: int, size: int) -> Tensor:
        """Different numbers below n, (size,)."""
        return torch.randperm(n, generator=self.rng, device=self.rng.device)[:size]

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        queries = self.everyone[self._drawn(len(self.everyone), len(context))]
        items = self._drawn(student.n_items, len(context))
        own = self.users(student.hint(student.encode(queries)))
        users = feature_distance(self.teacher.hint(queries), own, **self.form)
        own = self.items(student.item_hint(items))
        of_items = feature_distance(self.teacher.item_hint(items), own, **self.form)
        return self.weight * (users + of_items)
