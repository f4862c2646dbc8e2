"""NeuMF: a matrix factorisation and a small network, side by side (He et al., WWW 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore.checks import integer
from rdcore.data.queries import Queries
from rdcore.losses import log_loss
from rdcore.models.base import Model, dot_products
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class NeuMFSettings(Settings):
    """Settings of NeuMF."""

    revision = 1

    dim: int
    """d: size of each of the two vectors that a user and an item have, and of the hidden layer."""

    def __post_init__(self):
        integer("dim", self.dim)

    def build(self, n_users: int, n_items: int) -> NeuMF:
        return NeuMF(n_users, n_items, self)


class NeuMF(Model):
    """score(u, j) = w . [P_u * Q_j ; relu(W [p_u ; q_j] + c)] + b, a model without memory.

    P and Q are the vectors of the factorisation (GMF), p and q those of the network (MLP), all of size d; W is d x 2 d. The
    released code of DE-RRD has no NeuMF. One hidden layer of these sizes is what the six parameter counts in the paper
    (Table 3) imply: 2 d (U + I) + 2 d^2 + d + 2 d + 1 with d = 250, 125 and 25.

    Not verified, because the available text of the paper does not say it: the loss, here the point-wise log loss of NeuMF's
    authors over the positive and the negatives; the initialisation, here N(0, 0.01^2) for the vectors, as in DE-RRD's code
    for BPR-MF and NeuMF's own, and PyTorch's default for the layers, as for Caser; and which layer DE distils, here the two
    vectors side by side, (2 d), of users and of items.
    """

    graphable: ClassVar[bool] = True

    def __init__(self, n_users: int, n_items: int, settings: NeuMFSettings):
        super().__init__()
        dim = settings.dim
        self.n_items, self.window, self.dim = n_items, 0, dim
        self.user_gmf, self.user_mlp = nn.Embedding(n_users, dim), nn.Embedding(n_users, dim)
        self.item_gmf, self.item_mlp = nn.Embedding(n_items, dim), nn.Embedding(n_items, dim)
        self.hidden = nn.Linear(2 * dim, dim)
        self.output = nn.Linear(2 * dim, 1)
        for table in (self.user_gmf, self.user_mlp, self.item_gmf, self.item_mlp):
            nn.init.normal_(table.weight, std=0.01)

    def encode(self, queries: Queries) -> Tensor:
        """Context [P_u ; p_u] (B, 2 d)."""
        return torch.cat([self.user_gmf(queries.user), self.user_mlp(queries.user)], dim=1)

    def _parts(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The score's parts that do not depend on the item: P_u * w for the first half of the output's weights (B, d), the
        user's share of the hidden layer (B, d), the weights of the item's share (d, d), and the second half of the output's
        weights (d,)."""
        gmf, mlp = context.split(self.dim, dim=1)
        of_user, of_item = self.hidden.weight.split(self.dim, dim=1)
        output, of_hidden = self.output.weight[0].split(self.dim)
        return gmf * output, F.linear(mlp, of_user, self.hidden.bias), of_item, of_hidden

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        """Memory for B n d hidden units, which a gradient needs."""
        gmf, user, of_item, of_hidden = self._parts(context)
        vectors = self.item_gmf(items)
        product = gmf @ vectors.T if items.dim() == 1 else dot_products(gmf, vectors)  # (B, n)
        hidden = torch.relu(user.unsqueeze(1) + F.linear(self.item_mlp(items), of_item))
        return product + hidden @ of_hidden + self.output.bias

    def score_all(self, context: Tensor) -> Tensor:
        """Without the hidden units of all items, which would be B n_items d numbers: because of relu(x) = (x + |x|) / 2, the
        network's part of the score is a sum over users, one over items and, for the units with positive weights and for
        those with negative ones, a Manhattan distance between a user's share and an item's."""
        gmf, user, of_item, of_hidden = self._parts(context)
        item = F.linear(self.item_mlp.weight, of_item)  # (n_items, d)
        scores = gmf @ self.item_gmf.weight.T + self.output.bias  # (B, n_items)
        scores += (user @ of_hidden)[:, None] / 2 + item @ of_hidden / 2
        positive, size = of_hidden >= 0, of_hidden.abs() / 2  # (d,)
        user, item = user * size, -item * size
        scores += torch.cdist(user[:, positive], item[:, positive], p=1)
        scores -= torch.cdist(user[:, ~positive], item[:, ~positive], p=1)
        return scores

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return log_loss(positive, negative)

    def hint(self, context: Tensor) -> Tensor:
        return context

    def item_hint(self, items: Tensor) -> Tensor:
        return torch.cat([self.item_gmf(items), self.item_mlp(items)], dim=-1)
