"""What the teacher says of items that are not his own choice."""

from __future__ import annotations

import torch
from torch import Tensor

from rdcore.data.queries import Queries
from rdcore.models.base import Model, evaluating


@torch.no_grad()
def teacher_scores(teacher: Model, queries: Queries, items: Tensor, block: int = 512) -> Tensor:
    """What the teacher says of each query's own items, block by block: queries (B), items (B, n) -> (B, n)."""
    starts = range(0, len(queries), block)
    with evaluating(teacher):
        parts = [teacher.score(teacher.encode(queries[k : k + block]), items[k : k + block].long()) for k in starts]
    return torch.cat(parts)
