"""iALS: matrix factorisation of all pairs by alternating least squares (Hu et al., ICDM 2008;
Rendle et al., RecSys 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor, nn

from rdcore.checks import integer, number
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.models.base import DotProductModel
from rdcore.models.more.counted import chosen_items
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class IALSSettings(Settings):
    """Settings of iALS, which is solved and not trained by steps. The defaults are those that
    google-research/ials has for MovieLens-20M; for the Million Song Data it has alpha0 .02, lam .002."""

    revision = 1

    dim: int
    """Size of user and item vectors."""
    alpha0: float = 0.1
    """Weight of a pair that was not observed; an observed one has 1 more."""
    lam: float = 0.003
    """L2 weight, multiplied for each user and item as ``nu`` says."""
    nu: float = 1.0
    """0: the same weight for everybody; 1: in proportion to how much of the loss is theirs."""
    iterations: int = 16
    """Rounds over users and items."""
    sigma: float = 0.1
    """The item vectors begin with standard deviation sigma / sqrt(dim)."""
    seed: int = 0
    """Of the initial item vectors. A run's own seed does not change them."""

    def __post_init__(self):
        for name in ("dim", "iterations"):
            integer(name, getattr(self, name))
        integer("seed", self.seed, least=0)
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2^32, got {self.seed}")
        for name in ("lam", "sigma"):
            number(name, getattr(self, name), above=True)
        for name in ("alpha0", "nu"):
            number(name, getattr(self, name))

    def fit(self, interactions: Interactions) -> IALS:
        """The model of these interactions."""
        return IALS(interactions, self)


def half_step(
    chosen: sparse.csr_matrix, other: np.ndarray, alpha0: float, lam: float, nu: float
) -> np.ndarray:
    """The best vectors of one side, given those of the other: chosen (n, m), other (m, d) -> (n,
    d).

    For every row w solves ( sum over its items h h' + alpha0 H'H + reg I ) w = sum over its items
    h, with H = ``other`` and reg = lam (n_row + alpha0 m)^nu, as in google-research/ials. Rows
    without an item are 0.
    """
    m, d = other.shape
    everywhere, unit = alpha0 * (other.T @ other), np.eye(d)
    solved = np.zeros((chosen.shape[0], d))
    for row in np.flatnonzero(np.diff(chosen.indptr)):
        own = other[chosen.indices[chosen.indptr[row] : chosen.indptr[row + 1]]]  # (n_row, d)
        system = own.T @ own + everywhere + lam * (len(own) + alpha0 * m) ** nu * unit  # (d, d)
        solved[row] = cho_solve(
            cho_factor(system, overwrite_a=True, check_finite=False), own.sum(0), check_finite=False
        )
    return solved


class IALS(DotProductModel):
    """score(u, j) = <w_u, h_j>: the loss (s - 1)^2 on observed pairs and alpha0 s^2 on all pairs,
    minimised for users and items in turn, and once more for users at the end.

    As in google-research/ials (Rendle et al. 2022). The last half-step is that of their evaluation
    in C++; their Python code for the data of NCF scores without it. All is computed in float64 and
    kept in float32. An item that nobody has in ``fit`` has the score 0, in the middle of the others.
    Here the model knows the users of ``fit`` alone.
    """

    def __init__(self, fit: Interactions, settings: IALSSettings):
        super().__init__()
        self.n_items, self.window, self.dim = fit.n_items, 0, settings.dim
        by_user = chosen_items(fit)
        by_item = by_user.T.tocsr()
        weights = settings.alpha0, settings.lam, settings.nu
        # RandomState's numbers are the same in every version of numpy.
        start = np.random.RandomState(settings.seed).standard_normal((fit.n_items, settings.dim))
        items = settings.sigma / settings.dim**0.5 * start
        for _ in range(settings.iterations):
            users = half_step(by_user, items, *weights)
            items = half_step(by_item, users, *weights)
        users = half_step(by_user, items, *weights)
        self.user = nn.Embedding.from_pretrained(torch.from_numpy(users).float())
        self.item_factors = nn.Embedding.from_pretrained(torch.from_numpy(items).float())
        self.item_bias = None

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, dim): the users' vectors."""
        return self.user(queries.user)
