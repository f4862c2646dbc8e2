"""POP: everybody is shown what most have chosen."""

from __future__ import annotations

from torch import Tensor

from rdcore.models.base import Model
from rdcore.queries import Queries


class Popularity(Model):
    """Scores every item by how often it occurs, counts (n_items,), for everybody alike. Nothing is trained."""

    def __init__(self, counts: Tensor):
        super().__init__()
        self.n_items, self.window = len(counts), 0
        self.register_buffer("counts", counts.float())

    def encode(self, queries: Queries) -> Tensor:
        return queries.user[:, None]

    def score_all(self, context: Tensor) -> Tensor:
        return self.counts.repeat(len(context), 1)
