"""GF-CF: graph filters over who has chosen what, without training (Shen et al., CIKM 2021, arXiv
2108.07567)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from rdcore.checks import integer, number
from rdcore.data.interactions import Interactions
from rdcore.models.more.counted import Counted
from rdcore.settings import Settings

DENSE = (
    512  # with a side this short, all singular vectors are computed: quicker and without a limit
)


@dataclass(frozen=True, kw_only=True)
class GFCFSettings(Settings):
    """Settings of GF-CF, which is computed and not trained."""

    revision = 1

    alpha: float = 0.3
    """Weight of the ideal low-pass filter; with 0 the linear filter is left."""
    vectors: int = 256
    """How many singular vectors the ideal low-pass filter keeps. Fewer where the matrix has a lower
    rank."""

    def __post_init__(self):
        number("alpha", self.alpha)
        integer("vectors", self.vectors)

    def fit(self, interactions: Interactions) -> GFCF:
        """The model of these interactions."""
        return GFCF(interactions, self)


def normalised(chosen: sparse.csr_matrix) -> sparse.csr_matrix:
    """D_U^-1/2 R D_I^-1/2 for R = ``chosen`` (n_users, n_items): every one over the root of both
    degrees."""
    of_user, of_item = (np.asarray(chosen.sum(axis)).ravel() for axis in (1, 0))
    weights = 1 / np.sqrt(
        of_user[np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))]
        * of_item[chosen.indices]
    )
    return sparse.csr_matrix((weights, chosen.indices, chosen.indptr), shape=chosen.shape)


def right_vectors(matrix: sparse.csr_matrix, k: int) -> np.ndarray:
    """The k right singular vectors of ``matrix`` (n_users, n_items) with the largest singular
    values, fewer where its rank is lower: (n_items, k), largest first. Their signs are
    arbitrary."""
    n = min(matrix.shape)
    if n <= max(DENSE, k + 1):
        _, values, rows = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        # A fixed start: the same vectors every time.
        _, values, rows = svds(
            matrix, k=k, v0=np.full(n, n**-0.5), solver="arpack", return_singular_vectors="vh"
        )
        order = np.argsort(-values, kind="stable")
        values, rows = values[order], rows[order]
    kept = values[:k] > 1e-10 * max(values[0], 1e-300)
    return rows[:k][kept].T


class GFCF(Counted):
    """score_u = R_u ( R~' R~ + alpha D_I^-1/2 V V' D_I^1/2 ) with R~ = D_U^-1/2 R D_I^-1/2, R
    (n_users, n_items) who has what, and V the first ``vectors`` right singular vectors of R~, as in
    the official code (yshenaw/GF_CF 0f56771), which takes 256 and .3, and on Amazon-Book the linear
    filter alone.

    The first part is a linear filter, the second an ideal low-pass one. Where the last kept
    singular value occurs more than once, which of its vectors are kept is arbitrary; on real data
    it does not.
    """

    def __init__(self, fit: Interactions, settings: GFCFSettings):
        super().__init__(fit)
        self.alpha = settings.alpha
        self.normal = normalised(self.chosen)
        if self.alpha:
            vectors = right_vectors(self.normal, settings.vectors)  # (n_items, k)
            root = np.sqrt(np.asarray(self.chosen.sum(0)).ravel())[:, None]  # (n_items, 1)
            self.into = vectors / np.where(root, root, 1)  # D_I^-1/2 V
            self.out = (root * vectors).T  # V' D_I^1/2, (k, n_items)

    def scores(self, users: np.ndarray) -> np.ndarray:
        chosen = self.chosen[users]
        alike = (chosen @ self.normal.T).toarray()  # (B, n_users)
        linear = (self.normal.T @ alike.T).T  # (B, n_items)
        return linear + self.alpha * ((chosen @ self.into) @ self.out) if self.alpha else linear
