"""Caser: convolutions over the embeddings of a user's last items (Tang & Wang, WSDM 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rdcore.checks import is_number, short, whole
from rdcore.data.queries import Queries
from rdcore.losses import log_loss
from rdcore.models.base import DotProductModel, dropout


@dataclass(frozen=True, kw_only=True)
class CaserSettings:
    """dim: size d of user and item vectors; window: L; vertical, horizontal: filters (of each height); dropout: p, which is
    rounded to a multiple of 1/256, at most 255/256 (`rdcore.models.base.dropout` draws a byte an element)."""

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
        if self.dropout > 0 and round(256 * self.dropout) == 0:
            raise ValueError(f"dropout is rounded to a multiple of 1/256: give 0 or more than 1/512, got {short(self.dropout)}")

    def build(self, n_users: int, n_items: int) -> Caser:
        return Caser(n_users, n_items, self)


def _positions(images: Tensor, weight: Tensor, L: int) -> list[tuple[slice, Tensor, Tensor]]:
    """Of every position t = 0, 1, ...: which filters begin there (heights up to L - t), what of the images they see, and their
    weight."""
    n, d = len(weight) // L, images.shape[1] // L
    return [(slice((L - t) * n), images[:, t * d :], weight[: (L - t) * n, : (L - t) * d]) for t in range(L)]


def horizontal_filters(images: Tensor, weight: Tensor, bias: Tensor, L: int) -> tuple[Tensor, list[Tensor]]:
    """n filters of each height 1..L, max-pooled over the positions where they can begin: images (B, L d), weight (L n, L d) of
    the filters by height, zero behind their h d numbers, bias (L n,) -> (B, L n).

    And, of the positions behind the first, where they exceed all before them: (B, (L - t) n) of 1 and 0.
    """
    (_, seen, filters), *later = _positions(images, weight, L)
    best, above = torch.addmm(bias, seen, filters.T), []
    for which, seen, filters in later:
        outputs = torch.addmm(bias[which], seen, filters.T)
        above.append(torch.gt(outputs, best[:, which], out=torch.empty_like(outputs)))
        best[:, which] = torch.maximum(outputs, best[:, which])
    return best, above


class HorizontalFilters(torch.autograd.Function):
    """`horizontal_filters` with its gradient; of equal maxima the first one gets it.

    One product for each position, and comparisons of whole positions: ``max`` over the positions of every height took five
    times as long, forth and back.
    """

    @staticmethod
    def forward(ctx, images: Tensor, weight: Tensor, bias: Tensor, L: int) -> Tensor:
        """As `horizontal_filters`, the best alone."""
        best, above = horizontal_filters(images, weight, bias, L)
        ctx.save_for_backward(images, weight, *above)
        ctx.L = L
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of every argument that has one."""
        images, weight, *above = ctx.saved_tensors
        of_bias, left = gradient.sum(0), gradient.clone()
        later = _positions(images, weight, ctx.L)[1:]
        shares = []
        for (which, _, _), is_above in zip(reversed(later), reversed(above), strict=True):
            shares.append(left[:, which] * is_above)
            left[:, which] -= shares[-1]  # what is not above the best before it leaves its gradient to that
        of_images, of_weight = left @ weight, left.T @ images
        into = _positions(of_images, of_weight, ctx.L)[1:]
        for share, (_, seen, filters), (_, to_seen, to_filters) in zip(reversed(shares), later, into, strict=True):
            to_seen.addmm_(share, filters)
            to_filters.addmm_(share.T, seen)
        return of_images, of_weight, of_bias, None


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
        self.horizontal = nn.ModuleList(nn.Conv2d(1, horizontal, (h, dim)) for h in range(1, window + 1))
        self.dense = nn.Linear(vertical * dim + horizontal * window, dim)
        self.item_factors = nn.Embedding(n_items, 2 * dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        nn.init.normal_(self.user.weight, std=1 / dim)
        nn.init.normal_(self.item.weight, std=1 / dim)
        nn.init.normal_(self.item_factors.weight, std=1 / (2 * dim))
        with torch.no_grad():
            self.item.weight[n_items] = 0

    def encode(self, queries: Queries) -> Tensor:
        return self.encode_history(queries.user, queries.history(self.window))

    def encode_history(self, user: Tensor, history: Tensor) -> Tensor:
        """Users (B,) and their last items (B, L) -> context [z ; P_u] (B, 2 d)."""
        image = self.item(history)  # (B, L, d)
        filters = self.vertical.weight.view(-1, self.window).expand(len(user), -1, -1)
        vertical = torch.baddbmm(self.vertical.bias[:, None], filters, image)  # (B, nv, d)
        size = self.window * self.dim
        weight = torch.cat([F.pad(each.weight.flatten(1), (0, size - each.weight[0].numel())) for each in self.horizontal])
        bias = torch.cat([each.bias for each in self.horizontal])
        given = image.flatten(1), weight, bias, self.window
        # Exported, the model is a graph of plain operations.
        horizontal = horizontal_filters(*given)[0] if torch.compiler.is_compiling() else HorizontalFilters.apply(*given)
        features = torch.cat([vertical.flatten(1), horizontal], dim=1)
        z = torch.sigmoid(self.dense(dropout(features, self.dropout, self.training)))
        return torch.cat([z, self.user(user)], dim=1)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return log_loss(positive, negative)
