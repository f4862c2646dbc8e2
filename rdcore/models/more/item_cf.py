"""ItemCF: items that the same users have chosen are alike (Deshpande & Karypis, TOIS 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from rdcore.checks import integer
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.models.base import Model
from rdcore.models.more.counted import chosen_items
from rdcore.settings import Settings

ENTRIES = 4_000_000  # of co-occurrence counts held at once; one item's row is held whole


def cosine_neighbours(chosen: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Cosine similarity of the items in ``chosen`` (users x items, ones), cut to k neighbours:
    (items x items).

    Row i holds the similarities of i's k nearest other items, n_ij / sqrt(n_i n_j), with n_ij the
    users who chose both. Equal similarities at the cut: the lower item id stays. Items without a
    common user are no neighbours.
    """
    counts = np.bincount(chosen.indices, minlength=chosen.shape[1])
    by_item = chosen.T.tocsr()
    # A row can have no more entries than there are items, nor than its users' sets together.
    most = np.minimum(by_item @ np.diff(chosen.indptr), chosen.shape[1])
    bounds = np.flatnonzero(np.diff(np.cumsum(most) // ENTRIES, prepend=-1, append=np.inf))
    blocks = []
    for start, stop in pairwise(bounds):
        common = (by_item[start:stop] @ chosen).tocsr()  # integers: exact
        common.sort_indices()
        row = np.repeat(np.arange(start, stop), np.diff(common.indptr))
        product = counts[row] * counts[common.indices].astype(np.float64)
        common.data = common.data / np.sqrt(product)
        common.data[common.indices == row] = 0
        blocks.append(_largest(common, k).astype(np.float32))
    return sparse.vstack(blocks, format="csr")


def _largest(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Keeps the k largest positive entries of every row; of equal ones the first."""
    kept = matrix.data > 0
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        if stop - start > k:
            values = matrix.data[start:stop]
            least = np.partition(values, -k)[-k]
            above = values > least
            equal = np.flatnonzero(values == least)[: k - np.count_nonzero(above)]
            above[equal] = True
            kept[start:stop] &= above
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


@dataclass(frozen=True, kw_only=True)
class ItemCFSettings(Settings):
    """Settings of ItemCF."""

    revision = 1

    neighbours: int = 100
    """How many nearest items of each item count. Neither the paper nor its code says how many: 100
    is the default of RecBole's ItemKNN; the library `implicit` takes 20, one of them the item
    itself."""

    def __post_init__(self):
        integer("neighbours", self.neighbours)

    def fit(self, interactions: Interactions) -> ItemCF:
        return ItemCF(interactions, self.neighbours)


class ItemCF(Model):
    """score(u, j) = sum of cos(i, j) over those of the user's items i that have j among their
    nearest neighbours.

    The cut is taken on the side of the user's items, as in Deshpande & Karypis' top-N algorithm
    and in `implicit`: each of them votes for its own ``neighbours`` nearest items. (RecBole keeps
    the nearest ones of the item that is scored.) The similarity is that of the items' sets of
    users, where a re-visit counts once; an item is no neighbour of itself.

    Nothing is trained: the model knows the users of ``fit`` by what they have there, wherever a
    query ends.
    """

    def __init__(self, fit: Interactions, neighbours: int = ItemCFSettings.neighbours):
        super().__init__()
        ItemCFSettings(neighbours=neighbours)  # validates
        self.n_items, self.window, self.neighbours = fit.n_items, 0, neighbours
        self.chosen = chosen_items(fit).astype(np.float32)
        self.similarity = cosine_neighbours(self.chosen, neighbours)

    def encode(self, queries: Queries) -> Tensor:
        return queries.user[:, None]

    def score_all(self, context: Tensor) -> Tensor:
        users = context[:, 0].cpu().numpy()
        scores = (self.chosen[users] @ self.similarity).toarray()
        return torch.from_numpy(scores).to(context.device)
