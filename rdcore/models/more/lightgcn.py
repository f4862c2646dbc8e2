"""LightGCN: vectors smoothed over the graph of users and items (He et al., SIGIR 2020, arXiv
2002.02126)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rdcore.checks import integer, number
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.losses import bpr_loss
from rdcore.models.base import DotProductModel
from rdcore.models.bpr_mf import BPRMF, BPRMFSettings
from rdcore.models.more.counted import chosen_items
from rdcore.models.more.gf_cf import normalised
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LightGCNSettings(Settings):
    """Settings of LightGCN; the defaults are the authors' for Gowalla.

    They train with ``Training(batch_size=2048, learning_rate=1e-3, weight_decay=0.0, negatives=1,
    instances="users")``.
    """

    revision = 1

    dim: int = 64
    """Size of user and item vectors."""
    layers: int = 3
    """How often vectors are passed on to neighbours; with 0 it is BPR-MF."""
    l2: float = 1e-4
    """Weight of half the squared length of the ego vectors that a query names."""

    def __post_init__(self):
        integer("dim", self.dim)
        integer("layers", self.layers, least=0)
        number("l2", self.l2)

    def build(self, n_users: int, n_items: int, fit: Interactions) -> LightGCN:
        """An untrained model over the graph of ``fit``, the interactions it will be trained on."""
        return LightGCN(fit, self)


def propagate(
    users: Tensor, items: Tensor, down: Tensor, up: Tensor, layers: int
) -> tuple[Tensor, Tensor]:
    """The mean of the layers 0 to ``layers``, each the sum over neighbours of the one before, over
    the roots of both degrees: users (U, d), items (I, d), down (U, I) and up (I, U) sparse."""
    total_users, total_items = users, items
    for _ in range(layers):
        users, items = down @ items, up @ users
        total_users, total_items = total_users + users, total_items + items
    return total_users / (layers + 1), total_items / (layers + 1)


class Propagate(torch.autograd.Function):
    """`propagate` with its gradient. The graph is symmetric, so the gradient is passed on as the
    vectors are, and nothing has to be kept."""

    @staticmethod
    def forward(ctx, users: Tensor, items: Tensor, down: Tensor, up: Tensor, layers: int):
        """As `propagate`."""
        ctx.graph = down, up, layers
        return propagate(users, items, down, up, layers)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_users: Tensor, of_items: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the ego vectors."""
        return *propagate(of_users, of_items, *ctx.graph), None, None, None


class Table:
    """Vectors (n, d) that are computed, where `DotProductModel` expects an embedding."""

    def __init__(self, weight: Tensor):
        self.weight = weight

    def __call__(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)


class LightGCN(DotProductModel):
    """score(u, j) = <x_u, x_j>, where x is the mean of the layers 0..L of
    x^(l+1) = D^-1/2 A D^-1/2 x^l, A is the bipartite graph of the fitted interactions (a re-visit
    counts once), and only x^0 is trained, from N(0, .1).

    Loss of a query: softplus(s_negative - s_positive) + l2 / 2 (|x^0_u|^2 + |x^0_i|^2 + |x^0_j|^2),
    with ego vectors x^0, as in gusye1234/LightGCN-PyTorch 947ca2b. What is ranked, exported and
    shown to a distillation are the propagated vectors; while nothing is trained they are computed
    once. The official code ranks by the sigmoid of the score, which only adds ties.
    """

    def __init__(self, fit: Interactions, settings: LightGCNSettings):
        super().__init__()
        self.n_items, self.window, self.dim = fit.n_items, 0, settings.dim
        self.layers, self.l2 = settings.layers, settings.l2
        self.user_ego = nn.Embedding(fit.n_users, settings.dim)
        self.item_ego = nn.Embedding(fit.n_items, settings.dim)
        self.item_bias = None
        for table in (self.user_ego, self.item_ego):
            nn.init.normal_(table.weight, std=0.1)
        graph = normalised(chosen_items(fit))
        for name, matrix in (("down", graph), ("up", graph.T.tocsr())):
            # Not part of the weights: whoever builds the model knows the interactions. As parts,
            # because a sparse tensor in this form cannot be copied.
            for part in ("indptr", "indices", "data"):
                values = torch.from_numpy(getattr(matrix, part))
                values = values.float() if part == "data" else values
                self.register_buffer(f"{name}_{part}", values, persistent=False)
        self._kept = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": None}  # a copy propagates for itself

    def _matrix(self, name: str, shape: tuple[int, int]) -> Tensor:
        """A side of the graph as a sparse matrix."""
        parts = (getattr(self, f"{name}_{part}") for part in ("indptr", "indices", "data"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            return torch.sparse_csr_tensor(*parts, shape, check_invariants=False)

    def propagated(self, anew: bool = False) -> tuple[Tensor, Tensor]:
        """The vectors of all users (n_users, d) and items (n_items, d): kept until ego vectors, or
        the need for gradients, change."""
        tables = self.user_ego.weight, self.item_ego.weight
        state = torch.is_grad_enabled(), *((x.data_ptr(), x._version) for x in tables)
        if anew or self._kept is None or self._kept[0] != state:
            n_users, n_items = map(len, tables)
            down = self._matrix("down", (n_users, n_items))
            up = self._matrix("up", (n_items, n_users))
            self._kept = state, Propagate.apply(*tables, down, up, self.layers)
        return self._kept[1]

    @property
    def item_factors(self) -> Table:
        """The propagated item vectors."""
        return Table(self.propagated()[1])

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, d): the users' propagated vectors."""
        # With gradients the last graph may be used up, though no vector has changed.
        return F.embedding(queries.user, self.propagated(anew=torch.is_grad_enabled())[0])

    def query_loss(
        self, queries: Queries, context: Tensor, target: Tensor, negatives: Tensor
    ) -> Tensor:
        """BPR and the L2 of the ego vectors: target (B,), negatives (B, n) -> (B,)."""
        items = torch.cat([target[:, None], negatives], dim=1)  # (B, 1 + n)
        logits = self.score(context, items)
        users = self.user_ego(queries.user)  # (B, d)
        lengths = users.square().sum(1) + self.item_ego(items).square().sum((1, 2))
        return bpr_loss(logits[:, :1], logits[:, 1:]) + self.l2 / 2 * lengths

    @torch.no_grad()
    def served(self) -> BPRMF:
        """The model without its graph: a matrix factorisation of the propagated vectors."""
        users, items = self.propagated()
        model = BPRMF(len(users), len(items), BPRMFSettings(dim=self.dim))
        model.user.weight.copy_(users)
        model.item_factors.weight.copy_(items)
        return model.train(self.training)
