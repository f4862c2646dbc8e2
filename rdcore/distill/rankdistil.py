"""RankDistil (Reddi et al., AISTATS 2021): the teacher's top p items in their order, and m sampled items below them.

A query's list holds the teacher's p best unseen items P and m different ones drawn from N, the unseen items behind them;
a step costs the same however many items there are. Three forms, with the student's scores s, n over the sampled
negatives and j over P:

    C  coupled   -log P_k(pi | s), averaged over the teacher's orders pi of the whole list
    B  binary    Psi(s_P) + |N|/m sum_n phi(-s_n): every negative is pushed below 0
    P  pairwise  Psi(s_P) + |N|/m sum_n sum_j phi(s_j - s_n): positives are to beat negatives

With uniform negatives the factor makes the sums over N unbiased. Mined ones are the m that the student scores highest of
5 m drawn uniformly, with the factor |N|/(5 m): an estimate of a part of the sum, about the fifth of N that the student
scores highest. C is biased with sampled negatives: what is missing from N is missing from every denominator. The bias
shrinks as m grows.

C follows its second author's loss in TF-Ranking (CoupledRankDistilLoss, tensorflow/ranking 5b1d133), where the whole list
of a query is given: orders by Gumbel noise on the teacher's scores, the mean over ``sample_size`` of them. Differences:
orders are drawn inside p + m items; k is p unless it is given, not the whole list; the temperature divides the teacher's
scores, not the student's; items with a negative score of the teacher's count, and no list is left out for a sum of scores
<= 0. orders='exact' is ours.

The paper's text was not available. The sum over pairs of P is in reading notes; that of B is what a summary suggests.
Chosen here: the factor of the sums, the weight 1 of Psi against them, what 'mined' means, phi(z) = log(1 + e^-z); the 0
that B pushes negatives below stands for a constant b of unknown meaning. Psi: the published abstract matches the order of
the teacher's top items, an earlier one their scores; both are offered. 'order' is the likelihood of the teacher's order
under Plackett-Luce (ListMLE); in B, where nothing else ties P to N, one more item of score 0 is last on the list. 'scores'
is the sum of squared differences. A discounted Psi, reported to help, is not offered: its discount is not known.
A teacher that names fewer than p items has a shorter P. What it does not name may be a negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import integer, number, one_of
from rdcore.data.sampling import different_unseen_items
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import teacher_lists
from rdcore.losses import NOT_THERE, bpr_loss
from rdcore.models.base import Model, scores_single_items
from rdcore.settings import Settings, inert

BLOCK = 2**16  # instances whose negatives are drawn at once on a GPU
POOL = 5  # mined negatives are the best of so many times m


@dataclass(frozen=True, kw_only=True)
class RankDistilSettings(Settings):
    """Settings of RankDistil. What has no effect must stay at its default."""

    revision = 1

    form: str = "C"
    """'C', 'B' or 'P'."""
    p: int = 10
    """The teacher's top items."""
    m: int = 50
    """Negatives of a query."""
    weight: float = 1.0
    """Factor of the loss. While all scores are equal the loss is about k log(p + m) in C, |N| log 2 in B and p |N| log 2
    in P (a fifth of these two with mined negatives)."""
    negatives: str = "uniform"
    """'uniform' over the unseen items behind the top, or 'mined': the m hardest of 5 m such."""
    temperature: float = 1.0
    """Divides the teacher's scores where they are used (orders 'sampled', psi 'scores'). The limit of low temperatures is
    orders='exact'."""
    orders: str = "sampled"
    """Form C: 'sampled' from the teacher's scores, or 'exact', the teacher's own order."""
    n_orders: int = 8
    """Form C: sampled orders of a query (TF-Ranking's default)."""
    k: int | None = None
    """Form C: how many first places count (None: p)."""
    psi: str = "order"
    """Forms B and P: what of the top is matched, its 'order' or its 'scores'."""

    def __post_init__(self):
        one_of("form", self.form, "C", "B", "P")
        one_of("negatives", self.negatives, "uniform", "mined")
        one_of("orders", self.orders, "sampled", "exact")
        one_of("psi", self.psi, "order", "scores")
        for name in ("p", "m", "n_orders"):
            integer(name, getattr(self, name))
        number("weight", self.weight)
        number("temperature", self.temperature, above=True)
        idle = {"orders", "k", "n_orders", "psi", "temperature"} - self._used()
        inert(self, f"form={self.form!r}, orders={self.orders!r}, psi={self.psi!r}", *sorted(idle))
        if self.k is not None:
            integer("k", self.k)
            most = self.p + self.m if self.orders == "sampled" else self.p
            if self.k > most:
                raise ValueError(f"k must be <= {most}, the items whose order the teacher gives, got {self.k}")

    def _used(self) -> set[str]:
        """Which of the settings that belong to some forms only have an effect here."""
        if self.form == "C":
            drawn = {"n_orders", "temperature"} if self.orders == "sampled" else set()
            return {"orders", "k"} | drawn
        return {"psi"} | ({"temperature"} if self.psi == "scores" else set())

    @property
    def asks_for_scores(self) -> bool:
        """Whether the teacher gives scores in every step, not only its lists."""
        return "temperature" in self._used()

    def build(self, student: Model, teacher: Model) -> RankDistil:
        if self.asks_for_scores and not scores_single_items(teacher):
            raise ValueError(f"the teacher, {type(teacher).__name__}, cannot score single items: of RankDistil it can teach "
                             "form 'C' with orders='exact', and 'B' and 'P' with psi='order'; a class of your own can with "
                             "score(context, items)")  # fmt: skip
        return RankDistil(self)


# The losses, of single queries -------------------------------------------------------------------


def plackett_luce(logits: Tensor, order: Tensor, named: Tensor | None = None) -> Tensor:
    """log P_k: items are drawn one after the other, with probability proportional to exp(score) among those left, and the
    first k are those at the positions ``order``: logits (B, n), order (B or 1, R, k) -> (B, R). TF-Ranking's P_k is that
    of a whole order: smaller by 1/(n-k)!. ``named`` (B, n) bool: only these items are in an order."""
    lists = logits.unsqueeze(1).expand(-1, order.shape[1], -1)  # (B, R, n)
    order = order.expand(len(logits), -1, -1)  # (B, R, k)
    first = lists.gather(2, order)
    if first.shape[2] < logits.shape[1]:
        rest = lists.scatter(2, order, -torch.inf).logsumexp(2, keepdim=True)  # (B, R, 1)
    else:
        rest = torch.full_like(first[..., :1], -torch.inf)
    left = torch.logaddexp(first.flip(2).logcumsumexp(2).flip(2), rest)  # (B, R, k)
    if named is None:
        return (first - left).sum(2)
    counted = named.unsqueeze(1).expand_as(lists).gather(2, order)
    return torch.where(counted, first - left, 0).sum(2)


def in_order(k: int, device) -> Tensor:
    """The one order of lists that have the teacher's order already: (1, 1, k)."""
    return torch.arange(k, device=device).view(1, 1, k)


def sampled_orders(scores: Tensor, n_orders: int, k: int, generator: torch.Generator) -> Tensor:
    """The first k positions of orders drawn from the Plackett-Luce distribution of scores (B, n), by sorting scores plus
    Gumbel noise: (B, n_orders, k)."""
    shape = (len(scores), n_orders, scores.shape[1])
    wait = -torch.log1p(-torch.rand(shape, generator=generator, device=scores.device))
    return (scores.unsqueeze(1) - wait.log()).topk(k, dim=2).indices


def coupled_loss(logits: Tensor, orders: Tensor, named: Tensor | None = None) -> Tensor:
    """C: logits (B, n), first k positions of R orders (B or 1, R, k) -> their mean (B,)."""
    return -plackett_luce(logits, orders, named).mean(1)


def order_loss(positive: Tensor, floor: bool = False, named: Tensor | None = None) -> Tensor:
    """Psi 'order': logits (B, p), in the teacher's order -> (B,). ``floor``: above 0 as well."""
    order = in_order(positive.shape[1], positive.device)
    if floor:
        positive, named = F.pad(positive, (0, 1)), None if named is None else F.pad(named, (0, 1))
    return coupled_loss(positive, order, named)


def score_loss(positive: Tensor, teacher: Tensor, named: Tensor | None = None) -> Tensor:
    """Psi 'scores': logits (B, p) and the teacher's (B, p) -> (B,)."""
    error = positive - teacher
    return (error if named is None else torch.where(named, error, 0)).square().sum(1)


def binary_loss(
    positive: Tensor, negative: Tensor, factor: Tensor, teacher: Tensor | None = None, named: Tensor | None = None
) -> Tensor:
    """B: logits (B, p), (B, m), factor (B,) -> (B,). Psi matches the teacher's scores (B, p) where they are given, else
    the order. ``named`` (B, p) bool: which positives there are; the logits of other items are NOT_THERE."""
    psi = order_loss(positive, True, named) if teacher is None else score_loss(positive, teacher, named)
    return psi + factor * F.softplus(negative).sum(1)


def pairwise_loss(
    positive: Tensor, negative: Tensor, factor: Tensor, teacher: Tensor | None = None, named: Tensor | None = None
) -> Tensor:
    """P: as `binary_loss`, with every pair of a positive and a negative."""
    psi = order_loss(positive, False, named) if teacher is None else score_loss(positive, teacher, named)
    if named is not None:
        positive = torch.where(named, positive, -NOT_THERE)  # no negative is above it
    return psi + factor * bpr_loss(positive, negative)


def list_loss(
    settings: RankDistilSettings, logits: Tensor, factor: Tensor, teacher: Tensor | None,
    generator: torch.Generator, there: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The loss of lists of p positives, in the teacher's order, and any number of negatives.

    logits (B, n), factor (B,) of the sum over negatives, teacher (B, n): its scores over the
    temperature, where they are used, there (B, n) bool: which places hold an item (None: all) -> (B,).
    """
    p, k, named = settings.p, settings.k or settings.p, there
    if there is not None:
        logits = torch.where(there, logits, NOT_THERE)
        named = there if teacher is None else there & (teacher > -torch.inf)
    if settings.form == "C":
        orders = in_order(k, logits.device)
        if teacher is not None:
            orders = sampled_orders(teacher, settings.n_orders, k, generator)
        return coupled_loss(logits, orders, named)
    loss = binary_loss if settings.form == "B" else pairwise_loss
    of_top = (None if part is None else part[:, :p] for part in (teacher, named))
    return loss(logits[:, :p], logits[:, p:], factor, *of_top)


# The method --------------------------------------------------------------------------------------


class RankDistil(Distillation):
    """The mean over the batch's different queries, each with negatives and orders of its own, drawn again in every step.
    For a student without memory a user counts once in a batch, as in RRD. On a GPU the negatives of an epoch are drawn
    when it begins, so that no step waits."""

    def __init__(self, settings: RankDistilSettings):
        super().__init__()
        self.settings = settings
        self.drawn = settings.m * (POOL if settings.negatives == "mined" else 1)

    @property
    def graphable(self) -> bool:
        asks = self.settings.asks_for_scores
        return self.ahead is not None and (self.teacher.model.graphable or not asks)

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.freeze(teacher)
        self.seen, self.instances, p = data.seen, data.queries.user, self.settings.p
        self.lists = teacher_lists(teacher, data, p, "seen", cache=cache, partial=True, progress=progress, setting="p")
        few = self.n_negatives(self.lists.users(data), self.lists.items) < self.drawn
        self.n_short = int((few | (self.lists.items[:, -1] == data.seen.n_items)).sum())
        self.partial = self.n_short > 0 or (self.settings.k or p) > p

    def n_negatives(self, user: Tensor, top: Tensor) -> Tensor:
        """|N|: how many items users (B,) have neither seen nor on their lists (B, p), (B,)."""
        return self.seen.left[user] - (top < self.seen.n_items).sum(1)

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng, self.ahead = rng, None
        if rng.device.type == "cuda":
            everything = torch.arange(len(self.instances), device=rng.device)
            self.ahead = torch.cat([self._drawn_for(index) for index in everything.split(BLOCK)])

    def _drawn_for(self, index: Tensor) -> Tensor:
        """Negatives of the training instances ``index`` (n,): (n, drawn) int32."""
        user = self.instances[index]
        top = self.lists.items[user if self.lists.per_user else index].long()
        return different_unseen_items(user, self.drawn, self.seen, self.rng, top).int()

    @torch.no_grad()
    def below(self, student: Model, user: Tensor, index: Tensor, context: Tensor, top: Tensor) -> Tensor:
        """Of users (B,) in the instances ``index`` (B,) with lists ``top``: (B, m); n_items: no item."""
        ahead = self.ahead is not None
        items = self.ahead[index].long() if ahead else different_unseen_items(user, self.drawn, self.seen, self.rng, top)
        if self.drawn == self.settings.m:
            return items
        there = items < student.n_items
        scores = student.score(context, items.masked_fill(~there, 0))
        hardest = scores.masked_fill(~there, -torch.inf).topk(self.settings.m, dim=1).indices
        return items.gather(1, hardest)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        index, once = distinct_queries(student, batch)
        queries, context = batch.queries[index], context[index]
        top = self.lists.rows(batch)[index]  # (U, p)
        negatives = self.below(student, queries.user, batch.index[index], context, top)
        items = torch.cat([top, negatives], dim=1)  # (U, p + m)
        teacher = None
        if self.settings.asks_for_scores:
            teacher = self.teacher.score(queries, items) / self.settings.temperature
        n_negatives = self.n_negatives(queries.user, top)
        factor = n_negatives / n_negatives.clamp(min=1, max=self.drawn)  # (U,)
        there = items < student.n_items if self.partial else None
        logits = student.score(context, items if there is None else items.masked_fill(~there, 0))
        losses = list_loss(self.settings, logits, factor, teacher, self.rng, there)  # (U,)
        return self.settings.weight * ((once * losses).sum() / once.sum())
