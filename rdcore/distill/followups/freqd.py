"""FreqD, feature distillation by graph frequency (Zhu and Zhang, KDD 2025): both models' vectors are
smoothed over a graph before they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number
from rdcore.data.queries import final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct
from rdcore.distill.de import hint_sizes
from rdcore.distill.followups.ftd import both_show_vectors, directions
from rdcore.distill.followups.projectors import Projector
from rdcore.models.base import Model
from rdcore.settings import Settings, inert

BLOCK = 1024  # rows of co-occurrences that are counted at a time


@dataclass(frozen=True, kw_only=True)
class FreqDSettings(Settings):
    """The graph, the filter and the projectors. The defaults are those of the one complete released
    configuration, MF on Gowalla."""

    revision = 1

    weight: float = 0.5
    """Factor of a sum over the batch's different users, positives and negatives (these two by
    half)."""
    alpha: float = 0.5
    """Share of the neighbours in a filtered vector. At 0 every vector is compared by itself."""
    neighbours: int = 5
    """How many users (items) with the most common items (users) each one is joined with. Without
    effect with alpha=0; so is ``keep``."""
    keep: float = 0.5
    """With what probability an edge is kept, drawn again for each use of the graph; 1 keeps all."""
    cosine: bool = True
    """Whether a row costs 1 - cosine; otherwise the squared distance."""
    projectors: int = 5
    """From how many MLPs the student's projection is the mean. The released code means to set the
    hidden size and hands this number over."""
    hidden: int | None = None
    """Size of their hidden layer. None is the size of the teacher's vectors, as released."""
    dropout: float = 0.2
    """In front of both layers of an MLP."""

    def __post_init__(self):
        for name in ("weight", "alpha", "dropout"):
            number(name, getattr(self, name))
        number("keep", self.keep, above=True)
        for name, value in (("alpha", self.alpha), ("keep", self.keep)):
            if value > 1:
                raise ValueError(f"{name} must be <= 1, got {value!r}")
        if self.dropout >= 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout!r}")
        integer("neighbours", self.neighbours)
        integer("projectors", self.projectors)
        if self.hidden is not None:
            integer("hidden", self.hidden)
        flag("cosine", self.cosine)
        if self.alpha == 0:
            inert(self, "alpha=0", "neighbours", "keep")

    def build(self, student: Model, teacher: Model) -> FrequencyDistillation:
        both_show_vectors("FreqD", student, teacher)
        for role, model in (("student", student), ("teacher", teacher)):
            if model.window > 0:
                raise ValueError(
                    "FreqD smooths users' vectors over a graph of users, so it needs models without "
                    f"a memory; the {role} ({type(model).__name__}) has one"
                )
        return FrequencyDistillation(self, hint_sizes(student), hint_sizes(teacher))


@dataclass(frozen=True)
class Graph:
    """The edges of n nodes, row after row: node k's are places offsets[k] to offsets[k + 1] of
    ``column`` (E,) and ``weight`` (E,)."""

    offsets: Tensor
    column: Tensor
    weight: Tensor

    def edges(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """All edges of ``nodes`` (n,), as place in ``nodes`` (M,) and place in ``column`` (M,)."""
        start, counts = self.offsets[nodes], self.offsets[nodes + 1] - self.offsets[nodes]
        place = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), counts)
        first = (counts.cumsum(0) - counts)[place]
        return place, torch.arange(len(place), device=nodes.device) - first + start[place]


def nearest_graph(chosen: sparse.csr_matrix, neighbours: int) -> Graph:
    """Who has most in common: D^-1/2 (G + G') / 2 D^-1/2, where G joins every row of ``chosen``
    (n, m) of zeros and ones with the ``neighbours`` others that share most ones with it; of equal
    ones those with lower ids.

    Memory for 2 n ``neighbours`` edges and the common ones of a block of rows. Only rows that share
    something are joined. The released code fills up with rows that share nothing, in an order that
    its sort leaves open, and drops the first of each list, which it takes for the row itself.
    """
    n, other = chosen.shape[0], chosen.T.tocsr()
    rows, columns = [], []
    for start in range(0, n, BLOCK):
        common = (chosen[start : start + BLOCK] @ other).tocsr()
        row = np.repeat(np.arange(common.shape[0]) + start, np.diff(common.indptr))
        kept = (row != common.indices) & (common.data > 0)
        row, column, count = row[kept], common.indices[kept], common.data[kept]
        order = np.lexsort((column, -count, row))
        row, column = row[order], column[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        rows.append(row[place < neighbours])
        columns.append(column[place < neighbours])
    row, column = np.concatenate(rows), np.concatenate(columns)
    G = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(n, n))
    G = ((G + G.T) / 2).tocsr()
    G.sort_indices()
    degree = np.asarray(G.sum(1)).ravel()
    weight = G.data / np.sqrt(
        degree[np.repeat(np.arange(n), np.diff(G.indptr))] * degree[G.indices]
    )
    return Graph(
        torch.from_numpy(G.indptr.astype(np.int64)),
        torch.from_numpy(G.indices.astype(np.int64)),
        torch.from_numpy(weight.astype(np.float32)),
    )


@dataclass(frozen=True)
class Filter:
    """The rows of H = (1 - alpha) I + alpha A that belong to some nodes.

    needed (m,): all nodes that they read. own (n,): places of the rows' own nodes among these.
    first (n,), neighbour (M,), weight (M,): each row's neighbours, by place in ``needed``, begin at
    first.
    """

    alpha: float
    needed: Tensor
    own: Tensor
    first: Tensor
    neighbour: Tensor
    weight: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """H x: vectors of the needed nodes (m, d) -> (n, d)."""
        passed = F.embedding_bag(
            self.neighbour, vectors, self.first, mode="sum",
            per_sample_weights=self.weight.to(vectors.dtype),
        )  # fmt: skip
        return (1 - self.alpha) * vectors[self.own] + self.alpha * passed


def filter_of(
    graph: Graph, nodes: Tensor, alpha: float, keep: float = 1.0, rng: torch.Generator | None = None
) -> Filter:
    """The `Filter` of ``nodes`` (n,), which are different. An edge is kept with probability
    ``keep``, and then weighs 1 / keep times as much."""
    place, edge = graph.edges(nodes if alpha > 0 else nodes[:0])
    if keep < 1:
        kept = torch.rand(len(edge), generator=rng, device=edge.device) < keep
        place, edge = place[kept], edge[kept]
    needed, at = torch.unique(torch.cat([nodes, graph.column[edge]]), return_inverse=True)
    own, neighbour = at[: len(nodes)], at[len(nodes) :]
    counts = torch.bincount(place, minlength=len(nodes))
    weight = graph.weight[edge] / keep
    return Filter(alpha, needed, own, counts.cumsum(0) - counts, neighbour, weight)


def feature_loss(teacher: Tensor, student: Tensor, cosine: bool) -> Tensor:
    """1 - cos(t, s), or |t - s|^2, of every row: filtered t and s (n, d) -> (n,)."""
    if cosine:
        return 1 - (directions(teacher) * directions(student)).sum(1)
    return (teacher - student).square().sum(1)


class FrequencyDistillation(Distillation):
    """FreqD as in woriazzc/KDs a3a7a64, modeling/KD/cf/playground.py: for the batch's different
    users u, positives i and negatives j, with rows of H t against rows of H p(s),

    L = weight ( sum_u D(u) + 1/2 (sum_i D(i) + sum_j D(j)) ),  H = (1 - alpha) I + alpha A.

    p is a projector for users and one for items, trained with the student and not part of it. The
    three sums use three draws of edges. Only the rows of a step are filtered and only the vectors
    they read are projected; the released code does both for all users and items, three times a
    step, with dense graphs at first. It distils LightGCN's ego vectors; here a student shows the
    vectors that it ranks by.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(
        self,
        settings: FreqDSettings,
        student_sizes: tuple[int, int],
        teacher_sizes: tuple[int, int],
    ):
        super().__init__()
        self.settings = settings
        self.users, self.items = (
            Projector(s, t, settings.hidden or t, settings.projectors, settings.dropout)
            for s, t in zip(student_sizes, teacher_sizes, strict=True)
        )

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.everyone = final_queries_of(data.queries)
        self.user_table = self.teacher.hint(self.everyone)
        pairs = torch.unique(data.seen.keys).cpu().numpy()
        user, item = pairs // data.seen.n_items, pairs % data.seen.n_items
        shape = (len(self.everyone), data.seen.n_items)
        chosen = sparse.csr_matrix((np.ones(len(user)), (user, item)), shape=shape)
        n, device = self.settings.neighbours, data.target.device
        self.graphs = []
        for matrix in (chosen, chosen.T.tocsr()):
            graph = nearest_graph(matrix, n)
            parts = (graph.offsets, graph.column, graph.weight)
            self.graphs.append(Graph(*(part.to(device) for part in parts)))

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng

    def _filter(self, graph: Graph, nodes: Tensor) -> Filter:
        nodes = nodes[distinct(nodes, in_shape=False)[0]]
        return filter_of(graph, nodes, self.settings.alpha, self.settings.keep, self.rng)

    def _of_items(self, student: Model, items: Tensor) -> Tensor:
        """Sum over the different ones of items (n,), ()."""
        H = self._filter(self.graphs[1], items)
        own = self.items(student.item_hint(H.needed))
        teacher = H(self.teacher.item_hint(H.needed))
        return feature_loss(teacher, H(own), self.settings.cosine).sum()

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        H = self._filter(self.graphs[0], batch.queries.user)
        own = self.users(student.hint(student.encode(self.everyone[H.needed])))
        users = feature_loss(H(self.user_table[H.needed]), H(own), self.settings.cosine).sum()
        kinds = (batch.target, batch.negatives.flatten())
        positive, negative = (self._of_items(student, items) for items in kinds)
        return self.settings.weight * (users + (positive + negative) / 2)
