"""The earlier name of `rdcore.distill.base.Frozen.score`."""

from __future__ import annotations

from torch import Tensor

from rdcore.data.queries import Queries
from rdcore.distill.base import Frozen
from rdcore.models.base import Model


def teacher_scores(teacher: Model, queries: Queries, items: Tensor, block: int = 512) -> Tensor:
    """The teacher's scores of each query's own items: queries (B), items (B, n) -> (B, n)."""
    return Frozen(teacher).score(queries, items, block)
