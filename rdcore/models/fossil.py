"""Fossil: long-term taste by similarity, and a short-term Markov chain (He & McAuley, ICDM 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rdcore import fast
from rdcore.checks import integer, one_of, within
from rdcore.data.queries import Queries
from rdcore.losses import bpr_loss, log_loss
from rdcore.models.base import DotProductModel
from rdcore.settings import Settings, added

LOSSES = {"log": log_loss, "bpr": bpr_loss}


@dataclass(frozen=True, kw_only=True)
class FossilSettings(Settings):
    """Settings of Fossil."""

    revision = 1

    dim: int
    """d: size of the item vectors."""
    order: int = 5
    """L: items in the Markov chain."""
    alpha: float = 0.2
    """How far a long history is divided (0: a sum, 1: a mean)."""
    span: str = "past"
    """Items of the long-term sum: 'past', before the query's end, or 'all' but the target, so that training looks ahead."""
    loss: str = "log"
    """'log' (point-wise) or 'bpr'."""
    dropout: float = added(0.0)
    """The part of the context that is dropped in training; rdevooght's code drops none. Caser, trained beside it, has .5."""

    def __post_init__(self):
        integer("dim", self.dim)
        integer("order", self.order)
        within("alpha", self.alpha, "[0, 1]")
        within("dropout", self.dropout, "[0, 1)")
        one_of("span", self.span, "past", "all")
        one_of("loss", self.loss, *LOSSES)

    def build(self, n_users: int, n_items: int) -> Fossil:
        return Fossil(n_users, n_items, self)


class Fossil(DotProductModel):
    """Fossil in the variant that Ranking Distillation's parameter counts imply; RD's authors released no Fossil.

    score(j) = beta_j
             + < |I|^-alpha sum_{i in I} P_i + sum_{k=1..L} (eta_k + eta^u_k) P_{s_k} , Q_j >

    with I the user's items before the query (``span``), s_k the k-th item counted back from its end, two item tables P and
    Q, an item bias, and Markov weights of order L, global and for each user: 2 I d + I + L U + L parameters.

    Initialisation (RD's is not known): P, Q and eta^u normal with standard deviation 1/d, as RD's code does it for Caser; eta
    and beta zero, as in rdevooght/sequence-based-recommendations 0dfefed, whose Fossil has the same tables. The defaults are
    not the Fossil paper's: by notes on it, its sum has all the user's items but the target (``span='all'``) and its loss is
    pairwise ('bpr'). 'past' is rdevooght's. RD's counts include a padding row in both tables and a bias of it, here a fixed
    zero row of P alone (d + 1 parameters fewer).
    """

    full_windows: ClassVar[bool] = True  # as our records of it were made

    def __init__(self, n_users: int, n_items: int, settings: FossilSettings):
        super().__init__()
        self.n_items, self.window, self.loss = n_items, settings.order, LOSSES[settings.loss]
        self.dim, self.alpha, self.span, self.dropout = settings.dim, settings.alpha, settings.span, settings.dropout
        self.item = nn.Embedding(n_items + 1, settings.dim, padding_idx=n_items)
        self.item_factors = nn.Embedding(n_items, settings.dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.markov = nn.Parameter(torch.zeros(settings.order))  # most recent last
        self.user_markov = nn.Embedding(n_users, settings.order)
        for table in (self.item, self.item_factors, self.user_markov):
            nn.init.normal_(table.weight, std=1 / settings.dim)
        with torch.no_grad():
            self.item.weight[n_items] = 0

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, d)."""
        total, counts = queries.past_sum(self.item.weight, everything=self.span == "all")
        long_term = total * counts.clamp(min=1)[:, None] ** -self.alpha  # (B, d)
        weights = self.markov + self.user_markov(queries.user)  # (B, L)
        recent = self.item(queries.history(self.window))  # (B, L, d)
        return fast.dropout(long_term + (weights.unsqueeze(2) * recent).sum(1), self.dropout, self.training)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return self.loss(positive, negative)
