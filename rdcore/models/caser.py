"""Caser: convolutions over the embeddings of a user's last items (Tang & Wang, WSDM 2018), as Ranking Distillation has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore import fast
from rdcore.checks import integer, within
from rdcore.data.queries import Queries
from rdcore.losses import log_loss
from rdcore.models.base import DotProductModel
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CaserSettings(Settings):
    """Settings of Caser. The defaults are those of the released Ranking Distillation code.

    >>> CaserSettings(dim=4).build(n_users=10, n_items=20).item_factors
    Embedding(20, 8)
    """

    revision = 2

    dim: int
    """d: size of user and item vectors."""
    window: int = 5
    """L: how many past items the model looks at."""
    vertical: int = 2
    """Vertical filters."""
    horizontal: int = 16
    """Horizontal filters of each height 1..L."""
    dropout: float = 0.5
    """p: the part of the filters' outputs that is dropped in training."""

    def __post_init__(self):
        for name in ("dim", "window", "vertical", "horizontal"):
            integer(name, getattr(self, name))
        within("dropout", self.dropout, "[0, 1)")

    def build(self, n_users: int, n_items: int) -> Caser:
        return Caser(n_users, n_items, self)


def horizontal_filters(images: Tensor, weight: Tensor, bias: Tensor, L: int) -> Tensor:
    """n filters of each height h = 1..L, max-pooled over the positions where they can begin -> (B, L n). Of equal maxima
    the first one gets the gradient.

    Args:
        images: (B, L d), L item vectors side by side.
        weight: (L n, L d), the filters by height, each zero behind its h d numbers.
        bias: (L n,).
    """
    n, d = len(weight) // L, images.shape[1] // L
    best = images @ weight.T + bias  # all filters at the first position
    for t in range(1, L):
        fits = (L - t) * n  # filters of heights up to L - t can begin t items later
        output = images[:, t * d :] @ weight[:fits, : (L - t) * d].T + bias[:fits]
        higher = torch.where(output > best[:, :fits], output, best[:, :fits])
        best = torch.cat([higher, best[:, fits:]], dim=1)
    return best


class Caser(DotProductModel):
    """Caser as in the official Ranking Distillation code (graytowne/rank_distill 4fb5237, caser.py).

    The last L items form an L x d image E. Vertical filters (``vertical`` of them, L x 1) take weighted sums of the items;
    horizontal filters (``horizontal`` of each height h = 1..L, h x d) look at h items in a row and are max-pooled over
    time. Their outputs, after dropout, give z = sigmoid(W1 [.] + b1), and score(j) = W2_j . [z ; P_u] + b2_j with the
    user's vector P_u.

    Initialisation: vectors of users, items and W2 normal with standard deviation 1/size, b2 zero, filters and W1 by PyTorch's
    defaults. Convolutions are not activated, as there. The Caser authors' own release (graytowne/caser_pytorch c4e10e4)
    differs: relu, three targets, four vertical filters, means instead of sums. It is not offered here.

    Deviation: the official tables have a row for the padding id that is trained and can be ranked. Here it is a fixed zero
    row of the input table and absent from W2 and b2: 2 d + 1 parameters fewer, d of which never change.
    """

    full_windows: ClassVar[bool] = True  # as in the released code
    graphable: ClassVar[bool] = True

    def __init__(self, n_users: int, n_items: int, settings: CaserSettings):
        super().__init__()
        dim, window = settings.dim, settings.window
        vertical, horizontal = settings.vertical, settings.horizontal
        self.n_items, self.window, self.dim = n_items, window, dim
        self.dropout = settings.dropout
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.vertical = nn.Conv2d(1, vertical, (window, 1))
        heights = range(1, window + 1)
        self.horizontal = nn.ModuleList(nn.Conv2d(1, horizontal, (h, dim)) for h in heights)
        self.dense = nn.Linear(vertical * dim + horizontal * window, dim)
        self.item_factors = nn.Embedding(n_items, 2 * dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.user, self.item, self.item_factors):
            nn.init.normal_(table.weight, std=1 / table.embedding_dim)
        with torch.no_grad():
            self.item.weight[n_items] = 0

    def encode(self, queries: Queries) -> Tensor:
        return self.encode_history(queries.user, queries.history(self.window))

    def encode_history(self, user: Tensor, history: Tensor) -> Tensor:
        """Users (B,) and their last items (B, L) -> context [z ; P_u] (B, 2 d)."""
        L, size = self.window, self.window * self.dim
        image = self.item(history)  # (B, L, d)
        filters = self.vertical.weight.view(-1, L).expand(len(user), -1, -1)  # (B, nv, L)
        vertical = torch.baddbmm(self.vertical.bias[:, None], filters, image)  # (B, nv, d)
        # (L n, L d), filters by height, each filled up with zeros
        weight = torch.cat([F.pad(each.weight.flatten(1), (0, size - each.weight[0].numel())) for each in self.horizontal])
        bias = torch.cat([each.bias for each in self.horizontal])
        pool = fast.horizontal_filters if fast.applies(image) else horizontal_filters
        horizontal = pool(image.flatten(1), weight, bias, L)  # (B, L n)
        features = torch.cat([vertical.flatten(1), horizontal], dim=1)
        features = fast.dropout(features, self.dropout, self.training)  # (B, nv d + L n)
        z = torch.sigmoid(self.dense(features))  # (B, d)
        return torch.cat([z, self.user(user)], dim=1)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return log_loss(positive, negative)
