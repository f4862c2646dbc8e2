"""BPR-MF: matrix factorisation for implicit feedback (Rendle et al., UAI 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rdcore.checks import flag, integer
from rdcore.data.queries import Queries
from rdcore.losses import bpr_loss
from rdcore.models.base import DotProductModel
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class BPRMFSettings(Settings):
    """Settings of BPR-MF."""

    revision = 1

    dim: int
    """Size of user and item vectors."""
    bias: bool = False
    """Whether items have a bias (DE-RRD's code has none)."""

    def __post_init__(self):
        integer("dim", self.dim)
        flag("bias", self.bias)

    def build(self, n_users: int, n_items: int) -> BPRMF:
        return BPRMF(n_users, n_items, self)


class BPRMF(DotProductModel):
    """score(u, j) = <P_u, Q_j> (+ b_j): a model without memory, which ignores where a query ends.

    As in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6, Models/BPR.py: vectors N(0, 0.01^2), no bias, loss
    -sum log sigmoid(positive - negative).
    """

    graphable: ClassVar[bool] = True

    def __init__(self, n_users: int, n_items: int, settings: BPRMFSettings):
        super().__init__()
        self.n_items, self.window, self.dim = n_items, 0, settings.dim
        self.user = nn.Embedding(n_users, settings.dim)
        self.item_factors = nn.Embedding(n_items, settings.dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items)) if settings.bias else None
        for table in (self.user, self.item_factors):
            nn.init.normal_(table.weight, std=0.01)

    def encode(self, queries: Queries) -> Tensor:
        return self.user(queries.user)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return bpr_loss(positive, negative)
