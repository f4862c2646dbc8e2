"""EASE: a linear model of items from items in closed form (Steck, WWW 2019, arXiv 1905.03375)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import get_lapack_funcs

from rdcore.checks import number, one_of
from rdcore.data.interactions import Interactions
from rdcore.models.more.counted import Counted
from rdcore.settings import Settings

ROWS = 1024  # of a large square matrix that are written at a time


@dataclass(frozen=True, kw_only=True)
class EASESettings(Settings):
    """Settings of EASE, which is computed and not trained."""

    revision = 1

    lam: float = 100.0
    """L2 weight, > 0. The best value is flat: 10 to 300 on CiteULike, 80 on Gowalla (BARS)."""
    form: str = "auto"
    """'items' inverts an (n_items, n_items) matrix, 'users' an (n_users, n_users) one: the same
    scores but for rounding. 'auto' takes the smaller."""
    precision: str = "float64"
    """Of the inverse. 'float32' halves memory and time."""

    def __post_init__(self):
        number("lam", self.lam, above=True)
        one_of("form", self.form, "auto", "items", "users")
        one_of("precision", self.precision, "float64", "float32")

    def fit(self, interactions: Interactions) -> EASE:
        """The model of these interactions."""
        return EASE(interactions, self)


def inverse_gram(rows: sparse.csr_matrix, lam: float, precision: str = "float64") -> np.ndarray:
    """(R R' + lam I)^-1 for R = ``rows`` (n, m): (n, n), symmetric. Memory: that matrix once, and
    blocks of it."""
    n, columns = rows.shape[0], rows.T.tocsc()
    matrix = np.empty((n, n), dtype=precision)
    for start in range(0, n, ROWS):
        matrix[start : start + ROWS] = (rows[start : start + ROWS] @ columns).toarray()
    matrix[np.diag_indices(n)] += lam
    factor, invert = get_lapack_funcs(("potrf", "potri"), (matrix,))
    # The transpose is the same matrix, in the order of LAPACK, which then works in place.
    lower, failed = factor(matrix.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        lower, failed = invert(lower, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(
            f"EASE: the matrix of {n} rows is not positive definite in {precision}: "
            f"raise lam (now {lam:g})"
        )
    inverse = lower.T  # its upper triangle is filled
    for start in range(0, n, ROWS):
        part = inverse[start : start + ROWS]  # (ROWS, n)
        part[:, start : start + ROWS] = np.triu(part[:, start : start + ROWS])
        part[:, start : start + ROWS] += np.triu(part[:, start : start + ROWS], 1).T
        inverse[start + ROWS :, start : start + ROWS] = part[:, start + ROWS :].T
    return inverse


class EASE(Counted):
    """score(u, j) = sum of B_ij over the user's items i, with B = -P_ij / P_jj off the diagonal and
    0 on it, where P = (X'X + lam I)^-1 and X (n_users, n_items) says who has what: by a summary of
    the paper, and as in BARS (reczoo/BARS 5b5e61f).

    The user-side form, for fewer users than items: with K = (X X' + lam I)^-1 it holds that X P = K
    X and P_jj = (1 - x_j' K x_j) / lam, so that score(u, j) = x_uj - (K X)_uj / P_jj. Exact, seen
    items included.
    """

    def __init__(self, fit: Interactions, settings: EASESettings):
        super().__init__(fit)
        smaller = "users" if fit.n_users < fit.n_items else "items"
        self.by_user = (smaller if settings.form == "auto" else settings.form) == "users"
        if self.by_user:
            # K (n_users, n_users)
            self.inverse = inverse_gram(self.chosen, settings.lam, settings.precision)
            by_item = self.chosen.tocsc()
            owners = np.split(by_item.indices, by_item.indptr[1:-1])
            explained = [self.inverse[np.ix_(own, own)].sum(dtype=np.float64) for own in owners]
            self.diagonal = (1 - np.array(explained)) / settings.lam  # P_jj (n_items,)
        else:
            weights = inverse_gram(self.chosen.T.tocsr(), settings.lam, settings.precision)
            weights /= -weights.diagonal().copy()
            np.fill_diagonal(weights, 0)
            self.weights = weights  # B (n_items, n_items)

    def scores(self, users: np.ndarray) -> np.ndarray:
        chosen = self.chosen[users]
        if not self.by_user:
            return np.asarray(chosen @ self.weights, dtype=np.float64)
        found = (self.chosen.T @ self.inverse[users].T).T  # (K X) of the users, (B, n_items)
        return chosen.toarray() - found / self.diagonal
