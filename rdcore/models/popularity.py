"""POP: every user is shown the most popular items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.models.base import Model
from rdcore.settings import Settings


@dataclass(frozen=True)
class PopularitySettings(Settings):
    """Nothing to set: an item's score is how often it occurs in what is fitted."""

    revision = 1

    def fit(self, interactions: Interactions) -> Popularity:
        return Popularity(torch.from_numpy(interactions.item_counts()))


class Popularity(Model):
    """Scores every item by how often it occurs, counts (n_items,), the same for every user. Nothing is trained."""

    def __init__(self, counts: Tensor):
        super().__init__()
        self.n_items, self.window = len(counts), 0
        self.register_buffer("counts", counts.float())

    def encode(self, queries: Queries) -> Tensor:
        return queries.user[:, None]

    def score_all(self, context: Tensor) -> Tensor:
        return self.counts.repeat(len(context), 1)
