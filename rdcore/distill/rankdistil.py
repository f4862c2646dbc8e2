"""RankDistil (Reddi et al., AISTATS 2021): the teacher's top p items in their order, and m sampled items below them.

A query's list holds the teacher's p best unseen items P and m different ones drawn from N, the unseen items behind them;
a step costs the same however many items there are. Three forms, which differ in how the two parts are tied:

    C  coupled   -log P_k(pi | s), averaged over the teacher's orders pi of the whole list (one normaliser for P and N)
    B  binary    Psi(s_P) + |N|/m sum_n phi(-s_n): every negative is pushed below 0
    P  pairwise  Psi(s_P) + |N|/m sum_n sum_j phi(s_j - s_n): every positive is to beat every negative

with the student's scores s, n over the sampled negatives and j over P. With uniform negatives the factor makes the sums over N
unbiased. Mined ones are the m that the student scores highest of 5 m drawn uniformly, and the factor is |N|/(5 m): what is
estimated then is a part of the sum over N, that of its hardest items, about the fifth that the student scores highest. (An item
that a share q of the others stand above counts as often as fewer than m of 5 m - 1 draws do: always for q near 0, half
the time near 1/5, seldom beyond.) The sum over all of N is larger, because phi > 0.

C follows its second author's loss in TF-Ranking (CoupledRankDistilLoss, tensorflow/ranking 5b1d133), where the whole list
of a query is at hand: orders by Gumbel noise on the teacher's scores, the mean over ``sample_size`` of them. Otherwise
than there, orders are drawn inside p + m items, the temperature divides the teacher's scores instead of the student's, and
no list is left out for a teacher's sum of scores <= 0 (the likelihood does not know a shift of the scores). With sampled
negatives C is biased: what is missing from N is missing from every denominator. The bias shrinks as m grows.

The paper's text was not at hand, so of B and P only the sums above are its own. Chosen here:
phi(z) = log(1 + e^-z), the smooth decreasing loss of the field. (The paper has a constant b beside p and m whose meaning is
not known; the 0 that B pushes negatives below takes its place.)
Psi: the published abstract matches the order of the teacher's top items, an earlier one their scores; both are offered.
'order' is the likelihood of the teacher's order under Plackett-Luce (ListMLE), so that C and P differ in the negatives alone;
in B, where nothing else ties P to N, one more item of score 0 stands behind the list, and positives end above the
level that negatives are pushed below. 'scores' is the sum of squared differences, not a cross-entropy of softmaxes: it
fixes the level as well, which B needs. A discounted Psi, reported to help, is not offered: its discount is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import number, one_of, short, whole
from rdcore.data.queries import Queries
from rdcore.data.sampling import SeenItems, unseen_items
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import teacher_lists
from rdcore.losses import bpr_loss
from rdcore.models.base import Model, evaluating, scores_single_items

BLOCK = 2**16  # instances whose negatives are drawn at once on a GPU
POOL = 5  # mined negatives are the best of so many times m


CHOICES = {
    "form": ("C", "B", "P"), "negatives": ("uniform", "mined"), "orders": ("sampled", "exact"), "psi": ("order", "scores"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RankDistilSettings:
    """form: 'C', 'B' or 'P'. p: the teacher's top items. m: negatives a query, 'uniform' over all others that the user has not
    seen, or 'mined': of 5 m such the m that the student scores highest, which in B and P stand for about the fifth of N that he
    scores highest, and no longer for all of N. weight: factor of the loss, whose size differs between the forms: while all
    scores are equal about k log(p + m) in C, |N| log 2 in B and p |N| log 2 in P (with mined negatives a fifth of these two).
    Of C: ``orders`` 'sampled' from the teacher's scores, ``n_orders`` a query (TF-Ranking's default), or 'exact', his own
    order; ``k``, how many first places count (None: p). Of B and P: ``psi``, what of the top is matched, its 'order' or its
    'scores'. temperature: divides the teacher's scores where they are used (orders 'sampled', psi 'scores').
    A setting that has no effect beside the others must stay at its default, so that equal runs have equal keys."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    form: str = "C"
    p: int = 10
    m: int = 50
    weight: float = 1.0
    negatives: str = "uniform"
    temperature: float = 1.0
    orders: str = "sampled"
    n_orders: int = 8
    k: int | None = None
    psi: str = "order"

    def __post_init__(self):
        for name, known in CHOICES.items():
            one_of(name, getattr(self, name), *known)
        for name in ("p", "m", "n_orders"):
            whole(name, getattr(self, name))
        for name in ("weight", "temperature"):
            number(name, getattr(self, name))
        if self.temperature == 0:
            raise ValueError("temperature must be > 0, got 0: the limit of low temperatures is orders='exact'")
        for name in ("orders", "k", "n_orders", "psi", "temperature"):
            value, default = getattr(self, name), getattr(type(self), name)
            if value != default and name not in self._used():
                given = f"form={self.form!r}, orders={self.orders!r}, psi={self.psi!r}"
                raise ValueError(f"{name}={short(value)} has no effect beside {given}: leave it at {default!r}")
        if self.k is not None:
            whole("k", self.k)
            most = self.p + self.m if self.orders == "sampled" else self.p
            if self.k > most:
                raise ValueError(f"k must be <= {most}, the items whose order the teacher gives, got {self.k}")

    def _used(self) -> set[str]:
        """Which of the settings that belong to some forms only have an effect here."""
        if self.form == "C":
            return {"orders", "k", *(("n_orders", "temperature") if self.orders == "sampled" else ())}
        return {"psi", *(("temperature",) if self.psi == "scores" else ())}

    @property
    def asks_for_scores(self) -> bool:
        """Whether the teacher is asked for scores in every step, or gives his lists alone."""
        return "temperature" in self._used()

    def build(self, student: Model, teacher: Model) -> RankDistil:
        if self.asks_for_scores and not scores_single_items(teacher):
            raise ValueError(f"the teacher, {type(teacher).__name__}, cannot score single items: of RankDistil it can teach "
                             "form 'C' with orders='exact', and 'B' and 'P' with psi='order'")  # fmt: skip
        return RankDistil(self)


# The losses, of single queries -------------------------------------------------------------------------------------------


def plackett_luce(logits: Tensor, order: Tensor) -> Tensor:
    """log P_k: items are drawn one after the other, each with probability proportional to exp(score) among those left, and
    the first k are those at the positions ``order``. logits (B, n), order (B or 1, R, k) -> (B, R).

    The paper's P_k is that of a whole order, smaller by the constant 1/(n-k)! that shares this among the orders of the rest.
    """
    lists = logits.unsqueeze(1).expand(-1, order.shape[1], -1)
    order = order.expand(len(logits), -1, -1)
    first = lists.gather(2, order)
    if first.shape[2] < logits.shape[1]:
        left = lists.scatter(2, order, -torch.inf).logsumexp(2)
    else:
        left = torch.full_like(first[..., 0], -torch.inf)
    if logits.is_cuda:  # a tenth of the kernels
        return (first - torch.logaddexp(first.flip(2).logcumsumexp(2).flip(2), left.unsqueeze(2))).sum(2)
    total = torch.zeros_like(left)
    for item in reversed(first.unbind(2)):  # a third faster than logcumsumexp, whose backward pass is long
        left = torch.logaddexp(left, item)
        total = total + item - left
    return total


def in_order(k: int, device) -> Tensor:
    """The one order of lists that have the teacher's order already, as `plackett_luce` takes it: (1, 1, k)."""
    return torch.arange(k, device=device).view(1, 1, k)


def sampled_orders(scores: Tensor, n_orders: int, k: int, generator: torch.Generator) -> Tensor:
    """The first k positions of orders drawn from the Plackett-Luce distribution of scores (B, n): (B, n_orders, k).

    Sorting scores plus Gumbel noise, minus the log of an exponential variate, draws exactly that.
    """
    uniform = torch.rand((len(scores), n_orders, scores.shape[1]), generator=generator, device=scores.device)
    wait = -torch.log1p(-uniform)
    return (scores.unsqueeze(1) - wait.log()).topk(k, dim=2).indices


def coupled_loss(logits: Tensor, orders: Tensor) -> Tensor:
    """C: logits (B, n) and the first k positions of R orders, (B or 1, R, k) -> (B,), the mean over the orders."""
    return -plackett_luce(logits, orders).mean(1)


def order_loss(positive: Tensor, floor: bool = False) -> Tensor:
    """Psi 'order': logits (B, p), in the teacher's order -> (B,). ``floor``: each is to beat a score of 0 as well."""
    listed = F.pad(positive, (0, 1)) if floor else positive
    return coupled_loss(listed, in_order(positive.shape[1], positive.device))


def score_loss(positive: Tensor, teacher: Tensor) -> Tensor:
    """Psi 'scores': logits (B, p) and the teacher's (B, p) -> (B,)."""
    return (positive - teacher).square().sum(1)


def binary_loss(positive: Tensor, negative: Tensor, factor: Tensor, teacher: Tensor | None = None) -> Tensor:
    """B: logits (B, p), (B, m), factor (B,) -> (B,). With the teacher's scores (B, p) psi matches them, else the order."""
    psi = order_loss(positive, floor=True) if teacher is None else score_loss(positive, teacher)
    return psi + factor * F.softplus(negative).sum(1)


def pairwise_loss(positive: Tensor, negative: Tensor, factor: Tensor, teacher: Tensor | None = None) -> Tensor:
    """P: as `binary_loss`, with every pair of a positive and a negative instead of the negatives alone."""
    psi = order_loss(positive) if teacher is None else score_loss(positive, teacher)
    return psi + factor * bpr_loss(positive, negative)


def list_loss(
    settings: RankDistilSettings, logits: Tensor, factor: Tensor, teacher: Tensor | None, generator: torch.Generator
) -> Tensor:
    """The loss of lists of p positives, in the teacher's order, and any number of negatives: logits (B, n) -> (B,).

    factor (B,): of the sum over negatives. teacher (B, n): his scores over the temperature, where they are asked for.
    """
    p, k = settings.p, settings.k or settings.p
    if settings.form == "C":
        orders = in_order(k, logits.device) if teacher is None else sampled_orders(teacher, settings.n_orders, k, generator)
        return coupled_loss(logits, orders)
    of_form = {"B": binary_loss, "P": pairwise_loss}[settings.form]
    return of_form(logits[:, :p], logits[:, p:], factor, None if teacher is None else teacher[:, :p])


# The method --------------------------------------------------------------------------------------------------------------


def unlisted_items(user: Tensor, listed: Tensor, n: int, seen: SeenItems, generator: torch.Generator) -> Tensor:
    """n different items for each user (B,), uniform over those that he has not seen and that are not in his list (B, p).

    Drawn anew until nothing is listed or drawn twice. No item is treated otherwise than another on the way, so every
    choice of n items is equally likely. There must be n of them.
    """
    items, rows = unseen_items(user, n, seen, generator), torch.arange(len(user), device=user.device)
    while len(rows):
        drawn = torch.cat([listed[rows], items[rows]], dim=1)
        ordered, place = drawn.sort(dim=1, stable=True)  # of equal ones the listed or the first one first
        again = torch.zeros_like(drawn, dtype=torch.bool).scatter_(1, place[:, 1:], ordered[:, 1:] == ordered[:, :-1])
        row, column = again[:, listed.shape[1] :].nonzero(as_tuple=True)
        items[rows[row], column] = unseen_items(user[rows[row]], 1, seen, generator).squeeze(1)
        rows = rows[again.any(1)]
    return items


class RankDistil(Distillation):
    """The loss of a batch is the mean over its different queries, each with negatives and orders of its own, drawn anew in
    every step: TF-Ranking's mean is over lists, of which a query has one. A student without memory asks one query a user, so
    that a user counts once in a batch that he is in, as in RRD. On a GPU the negatives of an epoch are drawn at its beginning,
    for every training instance, so that no step waits for what has to be drawn again."""

    def __init__(self, settings: RankDistilSettings):
        super().__init__()
        self.settings = settings
        self.drawn = settings.m * (POOL if settings.negatives == "mined" else 1)

    @property
    def graphable(self) -> bool:
        teachers = self._teacher[0].graphable or not self.settings.asks_for_scores
        return self.ahead is not None and teachers

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        p, seen = self.settings.p, data.seen
        self.n_negatives = seen.n_items - p - seen.distinct
        room = int(self.n_negatives[data.queries.user].min())
        if room < self.drawn:
            times = f"{POOL} m" if self.drawn > self.settings.m else "m"
            raise ValueError(f"p + {times} must be <= {room + p}, the unseen items of the most active user, "
                             f"got {p} + {self.drawn}: lower p or m")  # fmt: skip
        self.seen, self.instances = seen, data.queries.user
        self.lists = teacher_lists(teacher, data, p, "seen", cache=cache, progress=progress)
        self._teacher = (teacher,)  # in a tuple, so that its parameters are none of this module's

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng, self.ahead = rng, None
        if rng.device.type == "cuda":
            everything = torch.arange(len(self.instances), device=rng.device)
            self.ahead = torch.cat([self._drawn_for(index) for index in everything.split(BLOCK)])

    def _drawn_for(self, index: Tensor) -> Tensor:
        """Negatives of the training instances ``index`` (n,): (n, drawn) int32."""
        user = self.instances[index]
        top = self.lists.items[user if self.lists.per_user else index].long()
        return unlisted_items(user, top, self.drawn, self.seen, self.rng).to(torch.int32)

    @torch.no_grad()
    def _negatives(self, student: Model, user: Tensor, index: Tensor, context: Tensor, top: Tensor) -> Tensor:
        """Of users (B,) in the instances ``index`` (B,): (B, m). Mined ones are the largest terms of the sum over everything
        drawn."""
        if self.ahead is None:
            items = unlisted_items(user, top, self.drawn, self.seen, self.rng)
        else:
            items = self.ahead[index].long()
        if self.drawn == self.settings.m:
            return items
        return items.gather(1, student.score(context, items).topk(self.settings.m, dim=1).indices)

    @torch.no_grad()
    def _teachers_scores(self, queries: Queries, items: Tensor) -> Tensor:
        (teacher,) = self._teacher
        with evaluating(teacher):
            return teacher.score(teacher.encode(queries), items) / self.settings.temperature

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        place, once = distinct_queries(student, batch)
        queries, context, top = batch.queries[place], context[place], self.lists.of(batch)[place]
        items = torch.cat([top, self._negatives(student, queries.user, batch.index[place], context, top)], dim=1)
        teachers = self._teachers_scores(queries, items) if self.settings.asks_for_scores else None
        factor = self.n_negatives[queries.user] / self.drawn
        losses = list_loss(self.settings, student.score(context, items), factor, teachers, self.rng)
        return self.settings.weight * ((once * losses).sum() / once.sum())
