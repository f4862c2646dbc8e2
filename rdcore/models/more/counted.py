"""What models without a training loop share: who has chosen what, and scores from that."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.models.base import Model


def chosen_items(fit: Interactions) -> sparse.csr_matrix:
    """Who has what, (n_users, n_items) of float64 ones; a re-visit counts once."""
    # Copies: duplicates leave in place.
    rows = np.ones(len(fit)), fit.items.copy(), fit.offsets.copy()
    matrix = sparse.csr_matrix(rows, shape=(fit.n_users, fit.n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


class Counted(Model):
    """A model that scores users by what they have in ``fit``, wherever a query ends: set
    ``scores``.

    An item that nobody has in ``fit`` would get the score 0, above every negative one. It gets the
    user's lowest score.
    """

    def __init__(self, fit: Interactions):
        super().__init__()
        self.n_items, self.window = fit.n_items, 0
        self.chosen = chosen_items(fit)
        self.cold = fit.item_counts() == 0  # (n_items,)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Users (B,) -> scores of all items, (B, n_items)."""
        raise NotImplementedError(f"{type(self).__name__} must implement scores(users)")

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, 1): the users."""
        return queries.user[:, None]

    def score_all(self, context: Tensor) -> Tensor:
        scores = self.scores(context[:, 0].cpu().numpy())  # (B, n_items)
        if self.cold.any() and len(scores):
            scores[:, self.cold] = scores.min(1, keepdims=True)
        return torch.from_numpy(scores.astype(np.float32)).to(context.device)
