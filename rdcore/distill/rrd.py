"""Relaxed ranking distillation, RRD (Kang et al., CIKM 2020): the teacher's order at the top, above all the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore.checks import number, one_of, whole
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import teacher_lists
from rdcore.distill.scores import teacher_scores
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, scores_single_items
from rdcore.settings import added

SAFE = 80  # exp of a float32 difference up to this has all its digits


@dataclass(frozen=True, kw_only=True)
class RRDSettings:
    """K: interesting items of a query, from the teacher's list. L: uninteresting ones, from what is neither on that list nor
    seen (0: none, the list alone is learnt). depth: length of the teacher's list. interesting: 'sampled', K of the list drawn
    with probability proportional to exp(-rank / T), or 'top', its first K (the authors' advice of 2023: better than sampled
    ones; T is then without effect and stays at its default). order: 'relaxed', or 'full', which asks for the teacher's order
    among the uninteresting items too (as in the paper's Table 4: ListMLE over all K + L). weight: lambda_RRD, of a sum over
    the batch's different users. The defaults are those of the released code for BPR on CiteULike."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    K: int = 40
    L: int = 40
    T: float = 10.0
    depth: int = 500
    weight: float = 1e-3
    interesting: str = "sampled"
    order: str = added("relaxed")

    def __post_init__(self):
        whole("K", self.K)
        whole("L", self.L, least=0)
        whole("depth", self.depth)
        if self.K > self.depth:
            raise ValueError(f"K must be <= depth = {self.depth}, the length of the teacher's list, got {self.K}")
        for name in ("T", "weight"):
            number(name, getattr(self, name))
        if self.T < 1e-300:
            raise ValueError(f"T must be >= 1e-300, got {self.T!r}: the limit of low temperatures is interesting='top'")
        one_of("interesting", self.interesting, "sampled", "top")
        if self.interesting == "top" and self.T != type(self).T:
            raise ValueError(f"T={self.T!r} has no effect beside interesting='top': leave it at {type(self).T!r}")
        one_of("order", self.order, "relaxed", "full")

    def build(self, student: Model, teacher: Model) -> RelaxedRankingDistillation:
        if self.order == "full" and not scores_single_items(teacher):
            raise ValueError(
                f"order='full' asks the teacher for scores of single items, which {type(teacher).__name__} cannot give"
            )
        return RelaxedRankingDistillation(self, per_user=student.window == 0 and teacher.window == 0)


def relaxed_loss(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """-log of the probability that the interesting items are drawn first and in their order, whatever comes behind them:

    -sum_k [ s_k - log( sum_{i >= k} exp s_i + sum_l exp u_l ) ], logits s (B, K) and u (B, L) -> (B,). L may be 0: ListMLE.

    The second sum begins behind the interesting items, as in the released code; as printed it would count the K-th one twice.
    """
    if not interesting.is_cuda:
        least, largest = torch.aminmax(torch.cat([interesting, uninteresting], dim=1).detach(), dim=1, keepdim=True)
        if bool((largest - least < SAFE).all()):  # a tenth of the time of the logarithms, forth and back
            below = (uninteresting - largest).exp().sum(1, keepdim=True)
            left = ((interesting - largest).exp().flip(1).cumsum(1) + below).log() + largest
            return left.sum(1) - interesting.sum(1)
    below = uninteresting.logsumexp(1, keepdim=True)
    left = torch.logaddexp(interesting.flip(1).logcumsumexp(1), below)
    return left.sum(1) - interesting.sum(1)


def sampled_places(log_weights: Tensor, n: int, size: int, generator: torch.Generator) -> Tensor:
    """``size`` different places of a list, drawn one after the other, each with probability proportional to its weight among
    those left, n times: log_weights (depth,) float64 -> (n, size), ascending.

    The largest of log-weight plus Gumbel noise (minus the log of an exponential variate) are exactly such a draw, and no
    weight is too small for it (a sampler of plain weights fails where fewer than ``size`` are above 0).
    """
    depth, found = len(log_weights), []
    for rows in torch.arange(n).split(block_rows(2 * depth, n)):
        noise = torch.rand((len(rows), depth), dtype=torch.float64, generator=generator, device=generator.device)
        noise.neg_().log1p_().neg_().log_()
        found.append(torch.sub(log_weights, noise, out=noise).topk(size, dim=1).indices.sort(dim=1).values)
    return torch.cat(found)


class OtherItems:
    """The items that are left for each row when its excluded ones, pairs of row (M,) and item (M,), are taken away.

    Memory for the excluded pairs, never for rows times items. left: how many they are, (n_rows,).
    """

    def __init__(self, row: Tensor, item: Tensor, n_rows: int, n_items: int):
        self.n_items = n_items
        keys = torch.unique(row * n_items + item)
        row = keys // n_items
        counts = torch.bincount(row, minlength=n_rows)
        self.first = counts.cumsum(0) - counts
        self.left = n_items - counts
        # Of every excluded item, how many that are left stand before it: ascending, because a row has at most n_items.
        self.keys = keys - (torch.arange(len(keys), device=keys.device) - self.first[row])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n different ones for each row, every set of n as likely as any other: (n_rows, n), in no particular order.

        Floyd's algorithm draws places among what is left (the c-th place from the first left - n + c ones; one that is taken
        already stands for the last of these), and a place becomes an item by the excluded ones before it. There must be n.
        """
        places = torch.empty((len(self.left), n), dtype=torch.long, device=self.left.device)
        uniform = torch.rand(places.shape, dtype=torch.float64, generator=generator, device=generator.device)
        for column in range(n):
            last = self.left - n + column
            place = (uniform[:, column] * (last + 1)).long()
            taken = (places[:, :column] == place[:, None]).any(1)
            places[:, column] = torch.where(taken, last, place)
        start = torch.arange(len(places), device=places.device)[:, None] * self.n_items
        return places + torch.searchsorted(self.keys, start + places, right=True) - self.first[:, None]


class RelaxedRankingDistillation(Distillation):
    """RRD as in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6 (there URRD: Utils/loss.py, Utils/dataset.py).

    Every user has a sample of K + L items, drawn anew in every epoch; the loss is a sum over the batch's different users, so
    a user counts once in every batch that he is in. Where student or teacher have a memory, every query has a list and
    is sampled in its step.

    Uninteresting are items that are neither on the teacher's whole list nor among the user's training items; held-out items
    are not protected. The list is without training items (the released list is missing; its description says unobserved).
    Deviation: exact log-probabilities where the code takes plain exponentials, which overflow.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: RRDSettings, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user

    @property
    def graphable(self) -> bool:
        return self.per_user

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        depth, L = self.settings.depth, self.settings.L
        fewest = data.seen.fewest_unseen
        if depth > fewest:
            raise ValueError(f"depth must be <= {fewest}, the unseen items of the most active user, got {depth}")
        if depth + L > fewest:
            raise ValueError(
                f"L must be <= {fewest - depth}, what the most active user has neither seen nor on the teacher's list of "
                f"depth {depth}, got {L}: lower L or depth"
            )
        self.teacher = (teacher,)  # in a tuple, so that it is no part of this module
        self.seen, self.everyone = data.seen, final_queries_of(data.queries)
        self.lists = teacher_lists(teacher, data, depth, "seen", cache=cache, progress=progress)
        places = torch.arange(depth, dtype=torch.float64, device=data.target.device)
        self.log_weights = -places / self.settings.T
        if self.per_user:
            everyone = torch.arange(len(self.lists.items), device=data.target.device)
            self.others = self._others(everyone, self.lists.items)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        if self.per_user:
            self.drawn = self._drawn(self.everyone, self.lists.items, self.others)

    def _others(self, user: Tensor, lists: Tensor) -> OtherItems:
        """What is left for queries of users (B,) with lists (B, depth)."""
        row, item = self.seen.of(user)
        listed = torch.arange(len(user), device=user.device).repeat_interleave(lists.shape[1])
        return OtherItems(torch.cat([row, listed]), torch.cat([item, lists.flatten()]), len(user), self.seen.n_items)

    def _drawn(self, queries: Queries, lists: Tensor, others: OtherItems) -> Tensor:
        """K interesting items, in the teacher's order, and L uninteresting ones for each query's list: (B, K + L) int32."""
        K, L = self.settings.K, self.settings.L
        if self.settings.interesting == "top":
            interesting = lists[:, :K]
        else:
            interesting = lists.gather(1, sampled_places(self.log_weights, len(lists), K, self.rng))
        uninteresting = others.draw(L, self.rng)
        if self.settings.order == "full" and L:
            order = teacher_scores(*self.teacher, queries, uninteresting).argsort(dim=1, descending=True, stable=True)
            uninteresting = uninteresting.gather(1, order)
        return torch.cat([interesting.int(), uninteresting.int()], dim=1)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        place, once = distinct_queries(student, batch)
        queries = batch.queries[place]
        if self.per_user:
            items = self.drawn[queries.user]
        else:
            lists = self.lists.of(batch)[place]
            items = self._drawn(queries, lists, self._others(queries.user, lists))
        logits = student.score(context[place], items)
        ordered = self.settings.K if self.settings.order == "relaxed" else logits.shape[1]
        interesting, uninteresting = logits[:, :ordered], logits[:, ordered:]
        return self.settings.weight * (once * relaxed_loss(interesting, uninteresting)).sum()
