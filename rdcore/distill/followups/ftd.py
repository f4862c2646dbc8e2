"""FTD, full topology distillation (Kang et al., KDD 2021): the student keeps all relations among
the vectors of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import number
from rdcore.data.queries import final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct, distinct_queries
from rdcore.models.base import Model, has_hints
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class FTDSettings(Settings):
    """How strongly all relations are kept. The default is the released code's for BPR on
    CiteULike."""

    revision = 1

    weight: float = 1e-3
    """lambda_TD, factor of a sum over all ordered pairs of the batch's different users and
    items."""

    def __post_init__(self):
        number("weight", self.weight)

    def build(self, student: Model, teacher: Model) -> FullTopology:
        both_show_vectors("FTD", student, teacher)
        return FullTopology(self)


def both_show_vectors(method: str, student: Model, teacher: Model) -> None:
    """Raises ValueError where one of the models shows no vectors that ``method`` could distil."""
    for role, model in (("student", student), ("teacher", teacher)):
        if not has_hints(model):
            raise ValueError(
                f"{method} distils representations, but the {role} ({type(model).__name__}) shows none: it has to "
                "implement hint(context) and item_hint(items)"
            )


def directions(vectors: Tensor) -> Tensor:
    """Every row at length 1, so that a product of two rows is their cosine: (n, d) -> (n, d).

    A row of zeros stays one: all of its cosines are 0. The released code has no such guard, and one
    row of zeros turns its loss into NaN.
    """
    length = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(length > 0, length, 1)


def full_topology_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """sum_ij ( cos(t_i, t_j) - cos(s_i, s_j) )^2 over all ordered pairs: t (b, d_t), s (b, d_s) ->
    ().

    With T and S of `directions`, this is |TT' - SS'|^2 = |T'T|^2 - 2 |T'S|^2 + |S'S|^2: matrices of
    d by d in place of b by b. The three terms nearly cancel, so they are float64.
    """
    T, S = directions(teacher).double(), directions(student).double()
    return ((T.T @ T).square().sum() - 2 * (T.T @ S).square().sum() + (S.T @ S).square().sum()).to(
        student.dtype
    )


class Entities(Distillation):
    """What FTD and HTD share: the different users of a batch (queries, for a student with a
    memory), then its different items, positives and negatives together."""

    reduction: ClassVar[str] = "sum"

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.user_table = None
        if teacher.window == 0:  # all queries of a user are one
            self.user_table = self.teacher.hint(final_queries_of(data.queries))

    def entities(
        self, student: Model, batch: Batch, context: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Vectors of the teacher and of the student: users' (n, d_t) and (n, d_s), items' (m, d_t)
        and (m, d_s)."""
        place, once = distinct_queries(student, batch)
        if isinstance(place, slice):  # all queries, with repetitions where they are a GPU's
            place = once.nonzero()[:, 0]
        queries = batch.queries[place]
        table = self.user_table
        shown = self.teacher.hint(queries) if table is None else table[queries.user]
        both = torch.cat([batch.target, batch.negatives.flatten()])
        items = both[distinct(both, in_shape=False)[0]]
        return (shown, student.hint(context[place])), (
            self.teacher.item_hint(items),
            student.item_hint(items),
        )


class FullTopology(Entities):
    """FTD as in SeongKu-Kang/Topology_Distillation_KDD21 44a694a, model.py: L = weight sum_ij
    (A^t_ij - A^s_ij)^2, A the cosines of the batch's entities, users and items mixed. No parameters
    of its own."""

    def __init__(self, settings: FTDSettings):
        super().__init__()
        self.settings = settings

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        users, items = self.entities(student, batch, context)
        teacher, own = (torch.cat(parts) for parts in zip(users, items, strict=True))
        return self.settings.weight * full_topology_loss(teacher, own)
