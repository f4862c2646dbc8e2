"""Caser: convolutions over the embeddings of a user's last items (Tang & Wang, WSDM 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore.checks import is_number, short, whole
from rdcore.losses import log_loss
from rdcore.models.base import DotProductModel, dropout
from rdcore.queries import Queries


@dataclass(frozen=True, kw_only=True)
class CaserSettings:
    """dim: size d of user and item vectors; window: L; vertical, horizontal: filters (of each height); dropout: p."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    dim: int
    window: int = 5
    vertical: int = 2
    horizontal: int = 16
    dropout: float = 0.5

    def __post_init__(self):
        for name in ("dim", "window", "vertical", "horizontal"):
            whole(name, getattr(self, name))
        if not (is_number(self.dropout) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must lie in [0, 1), got {short(self.dropout)}")

    def build(self, n_users: int, n_items: int) -> Caser:
        return Caser(n_users, n_items, self)


class Caser(DotProductModel):
    """Caser as in the official Ranking Distillation code (graytowne/rank_distill 4fb5237, caser.py).

    The last L items form an L x d image E. Vertical filters (``vertical`` of them, L x 1) take weighted sums of the
    items; horizontal filters (``horizontal`` of each height h = 1..L, h x d) look at h items in a row and are
    max-pooled over time. Their outputs, after dropout, give z = sigmoid(W1 [.] + b1), and
    score(j) = W2_j . [z ; P_u] + b2_j with the user's vector P_u.

    Initialisation: user, item and W2 vectors N(0, 1/size) with standard deviation 1/size of the vector, b2 zero,
    filters and W1 by PyTorch's defaults for Conv2d and Linear. Convolutions are not activated (identity), as there.

    Deviation: the official tables have a row for the padding id that is trained and can be ranked. Here it is a
    fixed zero row of the input table and absent from W2 and b2, so the model holds 2 d + 1 parameters fewer
    (5,583,901 instead of 5,584,102 on Gowalla at d=100), d of which never change.
    """

    def __init__(self, n_users: int, n_items: int, settings: CaserSettings):
        super().__init__()
        dim, window = settings.dim, settings.window
        vertical, horizontal = settings.vertical, settings.horizontal
        self.n_items, self.window, self.dim = n_items, window, dim
        self.n_horizontal, self.dropout = horizontal, settings.dropout
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.vertical = nn.Conv2d(1, vertical, (window, 1))
        self.horizontal = nn.ModuleList(nn.Conv2d(1, horizontal, (h, dim)) for h in range(1, window + 1))
        self.dense = nn.Linear(vertical * dim + horizontal * window, dim)
        self.item_factors = nn.Embedding(n_items, 2 * dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        nn.init.normal_(self.user.weight, std=1 / dim)
        nn.init.normal_(self.item.weight, std=1 / dim)
        nn.init.normal_(self.item_factors.weight, std=1 / (2 * dim))
        with torch.no_grad():
            self.item.weight[n_items] = 0

    def _horizontal_weight(self) -> tuple[Tensor, Tensor]:
        """All horizontal filters at all positions as one matrix (L d, positions n_horizontal) and its bias.

        A filter of height h at position t is zero outside rows t..t+h-1 of the image: one matrix product over the
        flattened image then does the work of L small convolutions.
        """
        columns, biases = [], []
        for height, filters in enumerate(self.horizontal, start=1):
            rows = filters.weight.view(self.n_horizontal, height * self.dim)
            for t in range(self.window - height + 1):
                columns.append(F.pad(rows, (t * self.dim, (self.window - height - t) * self.dim)))
                biases.append(filters.bias)
        return torch.cat(columns), torch.cat(biases)

    def encode(self, queries: Queries) -> Tensor:
        return self.encode_history(queries.user, queries.history(self.window))

    def encode_history(self, user: Tensor, history: Tensor) -> Tensor:
        """Users (B,) and their last items (B, L) -> context [z ; P_u] (B, 2 d)."""
        image = self.item(history)  # (B, L, d)
        vertical = self.vertical.weight.view(-1, self.window) @ image + self.vertical.bias[:, None]  # (B, nv, d)
        positions = F.linear(image.flatten(1), *self._horizontal_weight())
        positions = positions.view(len(user), -1, self.n_horizontal)
        lengths = [self.window - h for h in range(self.window)]
        pooled = [block.max(1).values for block in positions.split(lengths, dim=1)]
        features = torch.cat([vertical.flatten(1), *pooled], dim=1)
        z = torch.sigmoid(self.dense(dropout(features, self.dropout, self.training)))
        return torch.cat([z, self.user(user)], dim=1)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return log_loss(positive, negative)
