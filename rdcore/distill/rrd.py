"""Relaxed ranking distillation, RRD (Kang et al., CIKM 2020): the teacher's order at the top,
above all the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rdcore.checks import integer, number, one_of
from rdcore.data.queries import Queries
from rdcore.distill.base import Cache, TrainingData
from rdcore.distill.lists import teacher_lists
from rdcore.distill.resampled import Resampled, sampled_places
from rdcore.models.base import Model, scores_single_items
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
            raise ValueError(
                f"K must be <= depth = {self.depth}, the length of the teacher's list, "
                f"got {self.K}"
            )
        for name in ("T", "weight"):
            number(name, getattr(self, name))
        if self.T < 1e-300:
            raise ValueError(
                f"T must be >= 1e-300, got {self.T!r}: "
                "the limit of low temperatures is interesting='top'"
            )
        one_of("interesting", self.interesting, "sampled", "top")
        one_of("order", self.order, "relaxed", "full")
        if self.interesting == "top":
            inert(self, "interesting='top'", "T")

    def build(self, student: Model, teacher: Model) -> RelaxedRankingDistillation:
        if self.order == "full" and not scores_single_items(teacher):
            raise ValueError(
                "order='full' asks the teacher for scores of single items, which "
                f"{type(teacher).__name__} cannot give"
            )
        per_user = student.window == 0 and teacher.window == 0
        return RelaxedRankingDistillation(self, per_user=per_user)


def relaxed_loss(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """-log of the probability that the interesting items are drawn first and in their order,
    whatever comes behind them: logits s (B, K) and u (B, L) -> (B,). With L = 0: ListMLE.

    -sum_k [ s_k - log( sum_{i >= k} exp s_i + sum_l exp u_l ) ]

    The second sum begins behind the interesting items, as in the released code; as printed in the
    paper it would count the K-th one twice.

    >>> relaxed_loss(torch.tensor([[0.0]]), torch.tensor([[0.0]]))
    tensor([0.6931])
    """
    below = uninteresting.logsumexp(1, keepdim=True)  # (B, 1)
    left = torch.logaddexp(interesting.flip(1).logcumsumexp(1), below)  # (B, K), last item first
    return left.sum(1) - interesting.sum(1)


class OtherItems:
    """The items that each row leaves when its excluded ones are taken away, in memory that grows
    with the excluded items only.

    Made from pairs of row (M,) and excluded item (M,). left: how many items remain, (n_rows,).
    """

    def __init__(self, row: Tensor, item: Tensor, n_rows: int, n_items: int):
        self.n_items = n_items
        keys = torch.unique(row * n_items + item)
        row = keys // n_items
        counts = torch.bincount(row, minlength=n_rows)
        self.first = counts.cumsum(0) - counts
        self.left = n_items - counts
        # For every excluded item, how many remaining ones come before it. The keys stay ascending,
        # because a row has at most n_items.
        self.keys = keys - (torch.arange(len(keys), device=keys.device) - self.first[row])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n different items for each row, every set of n equally likely: (n_rows, n), in no
        particular order. Every row must leave n.

        Floyd's algorithm draws places among what remains: the c-th from the first left - n + c
        ones, and where that is taken, the last of these. A place becomes an item by the excluded
        items before it.
        """
        shape = (len(self.left), n)
        places = torch.empty(shape, dtype=torch.long, device=self.left.device)
        uniform = torch.rand(
            shape, dtype=torch.float64, generator=generator, device=generator.device
        )
        for column in range(n):
            last = self.left - n + column
            place = (uniform[:, column] * (last + 1)).long()
            taken = (places[:, :column] == place[:, None]).any(1)
            places[:, column] = torch.where(taken, last, place)
        start = torch.arange(len(places), device=places.device)[:, None] * self.n_items
        before = torch.searchsorted(self.keys, start + places, right=True) - self.first[:, None]
        return places + before


class RelaxedRankingDistillation(Resampled):
    """RRD as in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6 (there URRD: Utils/loss.py, Utils/dataset.py).

    Uninteresting items are neither on the teacher's whole list nor among the user's training
    items; held-out items are not protected. The list is without training items (the released list
    is missing; its description says unobserved).

    Deviation: exact log-probabilities where the code takes plain exponentials, which overflow.
    """

    def prepare(
        self, teacher: Model, data: TrainingData, *, cache: Cache | None = None,
        progress: bool = False,
    ) -> None:  # fmt: skip
        self.keep(data)
        depth, L, fewest = self.settings.depth, self.settings.L, data.seen.fewest_unseen
        if depth + L > fewest:
            raise ValueError(
                f"L must be <= {fewest - depth}, what the most active user has neither seen nor "
                f"on the teacher's list of depth {depth}, got {L}: lower L or depth"
            )
        self.freeze(teacher)
        self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, progress=progress)
        places = torch.arange(depth, dtype=torch.float64, device=data.target.device)
        self.log_weights = -places / self.settings.T
        if self.per_user:
            self.everyones_others = self._others(self.everyone.user, self.lists.items)

    def _others(self, user: Tensor, lists: Tensor) -> OtherItems:
        """What remains for users (B,) with lists (B, depth)."""
        row, item = self.seen.of(user)
        listed = torch.arange(len(user), device=user.device).repeat_interleave(lists.shape[1])
        excluded = torch.cat([row, listed]), torch.cat([item, lists.flatten()])
        return OtherItems(*excluded, len(user), self.seen.n_items)

    def draw(self, student: Model, queries: Queries, lists: Tensor) -> tuple[Tensor, ...]:
        """K interesting items, in the teacher's order, and L uninteresting ones: (B, K + L)."""
        K, L = self.settings.K, self.settings.L
        if self.settings.interesting == "top":
            interesting = lists[:, :K]
        else:
            places = sampled_places(self.log_weights, len(lists), K, self.rng)
            interesting = lists.gather(1, places)
        if self.per_user:
            others = self.everyones_others
        else:
            others = self._others(queries.user, lists)
        uninteresting = others.draw(L, self.rng)
        if self.settings.order == "full" and L:
            scores = self.teacher.score(queries, uninteresting)
            order = scores.argsort(dim=1, descending=True, stable=True)
            uninteresting = uninteresting.gather(1, order)
        return (torch.cat([interesting.int(), uninteresting.int()], dim=1),)

    def compare(self, logits: Tensor) -> Tensor:
        ordered = self.settings.K if self.settings.order == "relaxed" else logits.shape[1]
        return relaxed_loss(logits[:, :ordered], logits[:, ordered:])
