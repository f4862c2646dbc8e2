"""Relaxed ranking distillation, RRD (Kang et al., CIKM 2020): the teacher's order at the top, above all the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rdcore import fast
from rdcore.checks import integer, number, one_of
from rdcore.data.queries import Queries
from rdcore.data.sampling import OtherItems
from rdcore.distill.base import Cache, TrainingData
from rdcore.distill.lists import teacher_lists
from rdcore.distill.resampled import Resampled, sampled_places
from rdcore.losses import NOT_THERE
from rdcore.models.base import Model, must_score_single_items
from rdcore.settings import Settings, added, inert


@dataclass(frozen=True, kw_only=True)
class RRDSettings(Settings):
    """Settings of RRD. The defaults are those of the released code for BPR on CiteULike."""

    revision = 1

    K: int = 40
    """Interesting items of a query, from the teacher's list."""
    L: int = 40
    """Uninteresting ones, neither seen nor on that list (0: the list alone is learnt)."""
    T: float = 10.0
    """Temperature of the draw of interesting items."""
    depth: int = 500
    """Length of the teacher's list."""
    weight: float = 1e-3
    """lambda_RRD: factor of a sum over the batch's different users."""
    interesting: str = "sampled"
    """'sampled': K of the list, drawn with probability proportional to exp(-rank / T). 'top': its
    first K (the authors' advice of 2023; T is then without effect)."""
    order: str = added("relaxed")
    """'relaxed', or 'full': also the teacher's order among the uninteresting items (the paper's
    Table 4: ListMLE over all K + L)."""

    def __post_init__(self):
        integer("K", self.K)
        integer("L", self.L, least=0)
        integer("depth", self.depth)
        if self.K > self.depth:
            raise ValueError(f"K must be <= depth = {self.depth}, the length of the teacher's list, got {self.K}")
        for name in ("T", "weight"):
            number(name, getattr(self, name))
        if self.T < 1e-300:
            raise ValueError(f"T must be >= 1e-300, got {self.T!r}: the limit of low temperatures is interesting='top'")
        one_of("interesting", self.interesting, "sampled", "top")
        one_of("order", self.order, "relaxed", "full")
        if self.interesting == "top":
            inert(self, "interesting='top'", "T")

    def build(self, student: Model, teacher: Model) -> RelaxedRankingDistillation:
        if self.order == "full":
            must_score_single_items(teacher, "order='full'")
        per_user = student.window == 0 and teacher.window == 0
        return RelaxedRankingDistillation(self, per_user=per_user)


def relaxed_loss(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """-log of the probability that the interesting items are drawn first and in their order, whatever comes behind
    them: logits s (B, K) and u (B, L) -> (B,). With L = 0: ListMLE.

    -sum_k [ s_k - log( sum_{i >= k} exp s_i + sum_l exp u_l ) ]

    The second sum begins behind the interesting items, as in the released code; as printed it would count the K-th twice.

    >>> relaxed_loss(torch.tensor([[0.0]]), torch.tensor([[0.0]]))
    tensor([0.6931])
    """
    below = uninteresting.logsumexp(1, keepdim=True)  # (B, 1)
    left = torch.logaddexp(interesting.flip(1).logcumsumexp(1), below)  # (B, K), last item first
    return left.sum(1) - interesting.sum(1)


def partial_relaxed_loss(interesting: Tensor, uninteresting: Tensor, named: Tensor, others: Tensor) -> Tensor:
    """`relaxed_loss` of what is there: logits (B, K), (B, L), and which of them count, (B, K) and (B, L) bool -> (B,).
    0 for a row without interesting items."""
    s = torch.where(named, interesting, NOT_THERE)
    below = torch.where(others, uninteresting, NOT_THERE).logsumexp(1, keepdim=True)
    left = torch.logaddexp(s.flip(1).logcumsumexp(1).flip(1), below)
    return torch.where(named, left - interesting, 0).sum(1)


class RelaxedRankingDistillation(Resampled):
    """RRD as in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6 (there URRD: Utils/loss.py, Utils/dataset.py).

    Uninteresting items are neither on the teacher's whole list nor among the user's training items; held-out items are
    not protected. The list is without training items (the released list is missing; its description says unobserved).
    What a teacher does not name is uninteresting; with order='full' it carries no weight. A query with fewer items of
    either kind is taught by those.

    Deviation: exact log-probabilities where the code takes plain exponentials, which overflow.
    """

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.keep(data)
        self.freeze(teacher)
        depth, L = self.settings.depth, self.settings.L
        self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, partial=True, progress=progress)
        length = (self.lists.items < data.seen.n_items).sum(1)
        others = data.seen.left[self.lists.users(data)] - length
        self.n_short = int(((length < depth) | (others < L)).sum())
        self.log_weights = -torch.arange(depth, dtype=torch.float64, device=data.target.device) / self.settings.T
        if self.lists.per_user:  # the same in every epoch; 8 bytes for every item seen or listed
            self.everyones_others = OtherItems.of(self.everyone.user, self.lists.items, self.seen)

    def draw(self, student: Model, queries: Queries, lists: Tensor) -> tuple[Tensor, ...]:
        """K interesting items, in the teacher's order, and L uninteresting ones: (B, K + L)."""
        K, L, n_items = self.settings.K, self.settings.L, self.seen.n_items
        if self.settings.interesting == "top":
            interesting = lists[:, :K]
        else:
            named = lists < n_items if self.n_short else None
            places = sampled_places(self.log_weights, len(lists), K, self.rng, named)
            interesting = lists.gather(1, places)
        others = self.everyones_others if self.lists.per_user else OtherItems.of(queries.user, lists, self.seen)
        uninteresting = others.draw(L, self.rng, queries.user if self.lists.per_user else None)
        if self.settings.order == "full" and L:
            scores = self.teacher.score(queries, uninteresting)
            order = scores.argsort(dim=1, descending=True, stable=True)
            nameless = scores.gather(1, order) == -torch.inf
            uninteresting = uninteresting.gather(1, order).masked_fill(nameless, n_items)
        return (torch.cat([interesting.int(), uninteresting.int()], dim=1),)

    def compare(self, logits: Tensor, named: Tensor | None) -> Tensor:
        ordered = self.settings.K if self.settings.order == "relaxed" else logits.shape[1]
        parts = logits.tensor_split((ordered,), dim=1)
        if named is None:
            return (fast.relaxed_loss if fast.narrow(logits) else relaxed_loss)(*parts)
        return partial_relaxed_loss(*parts, *named.tensor_split((ordered,), dim=1))
