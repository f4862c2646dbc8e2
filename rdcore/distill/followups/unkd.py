"""UnKD, unbiased distillation (Chen et al., WSDM 2023): the teacher's order inside groups of
equally popular items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number, one_of
from rdcore.data.queries import Queries, final_queries_of
from rdcore.data.sampling import SeenItems
from rdcore.distill.base import Batch, Cache, Distillation, Frozen, TrainingData
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model
from rdcore.settings import Settings, added


@dataclass(frozen=True, kw_only=True)
class UnKDSettings(Settings):
    """How items are grouped and pairs are drawn. The defaults are those of the example in the
    released code's README, on Apps (groups, pairs, weight), and of its sampler."""

    revision = 1

    groups: int = 4
    """Groups of about equal total popularity. The released walk may end with one fewer, or one
    more."""
    pairs: int = 30
    """Pairs of a user in an epoch, over all groups; about as many, because every group has the same
    whole number."""
    depth: int = 1000
    """Length of the teacher's list in a group."""
    T: float = 20.0
    """Temperature of the draw: place i = 1, 2, ... of a group's list has the weight exp(-i / T)."""
    over_pairs: str = "mean"
    """The loss of a user: the 'mean' over the pairs, as released, or their 'sum', as in the
    paper."""
    weight: float = 1.0
    """lambda, factor of a mean over the rows of the batch."""
    as_released: bool = False
    """The released sampler's defect: where the first draw of a pair is the worse one, both become
    the better one, so that half of the pairs cost ln 2 and teach nothing. On, a weight acts about
    half as strongly."""
    lamda: float = added(0.0)
    """Above 0, groups of rare items get more of the pairs: `shares_of_groups`. The README's runs
    leave it at 0."""

    def __post_init__(self):
        for name in ("groups", "pairs", "depth"):
            integer(name, getattr(self, name))
        number("T", self.T, above=True)
        for name in ("weight", "lamda"):
            number(name, getattr(self, name))
        one_of("over_pairs", self.over_pairs, "mean", "sum")
        flag("as_released", self.as_released)

    def build(self, student: Model, teacher: Model) -> UnbiasedDistillation:
        return UnbiasedDistillation(self, per_user=student.window == 0 and teacher.window == 0)


def popularity_groups(items: Tensor, n_items: int, groups: int) -> list[Tensor]:
    """Items of every group, the most popular group first; what is never in training is in none.

    items (N,): the training interactions, in their order. Items are walked from the most frequent
    on (of equals, the one that comes first in training), and a group is closed before the item
    whose count lifts its sum above N / groups; an item that does so alone is a group. What is left
    at the end is a group where its sum is above half of that, else it joins the last.
    """
    counts = torch.bincount(items, minlength=n_items)
    first = torch.full((n_items,), len(items), device=items.device)
    first.scatter_reduce_(0, items, torch.arange(len(items), device=items.device), "amin")
    by_first = first.argsort(stable=True)
    order = by_first[counts[by_first].argsort(descending=True, stable=True)][
        : int((counts > 0).sum())
    ].tolist()
    size, target = counts.tolist(), len(items) / groups
    found, group, total = [], [], 0
    for item in order:
        if total + size[item] <= target:
            group.append(item)
            total += size[item]
        elif group:
            found.append(group)
            group, total = [item], size[item]
            if total > target:
                found.append(group)
                group, total = [], 0
        else:
            found.append([item])
    if group and (total > target / 2 or not found):
        found.append(group)
    elif group:
        found[-1] = found[-1] + group
    return [torch.tensor(each, device=items.device) for each in found]


def shares_of_groups(popularity: list[float], lamda: float) -> list[float]:
    """The groups' shares in a user's pairs, of sum 1, by the mean count p of a group's items.

    r = max p + min p - p, over the sum of all r, to two digits and at least .1; a share is
    proportional to r^lamda.
    """
    turned = [max(popularity) + min(popularity) - each for each in popularity]
    kept = [max(round(each / sum(turned), 2), 0.1) ** lamda for each in turned]
    return [each / sum(kept) for each in kept]


def pairs_of_groups(pairs: int, groups: int, shares: list[float] | None = None) -> list[int]:
    """Pairs in every group: Python's round(pairs / groups), or of pairs times the group's share,
    and one more in the first ones where the sum falls short."""
    each = [round(pairs / groups)] * groups if shares is None else [round(pairs * share) for share in shares]
    return [count + (place < pairs - sum(each)) for place, count in enumerate(each)]


def drawn_places(length: Tensor, T: float, generator: torch.Generator) -> Tensor:
    """One place of every list, with probability proportional to exp(-place / T): length (...) >= 1
    -> (...) int64."""
    uniform = torch.rand(
        length.shape, dtype=torch.float64, generator=generator, device=length.device
    )
    place = -T * torch.log1p(uniform * torch.expm1(-length.double() / T))
    return place.long().clamp(max=length - 1)


def drawn_pairs(length: Tensor, T: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two independent draws of `drawn_places` for every list, drawn again until they differ, the
    better place first and the other: length (...) -> (...), (...). A list of fewer than two gives 0
    and 0."""
    two = torch.stack([drawn_places(length.clamp(min=1), T, generator) for _ in range(2)])
    while len(again := ((two[0] == two[1]) & (length > 1)).flatten().nonzero()[:, 0]):
        for draw in two:
            draw.view(-1)[again] = drawn_places(length.flatten()[again], T, generator)
    return two.amin(0), two.amax(0)


def pair_loss(better: Tensor, worse: Tensor, real: Tensor, over_pairs: str = "mean") -> Tensor:
    """-log sigmoid(better - worse), over the ``real`` pairs of a row: logits (B, P), real (B, P)
    bool -> (B,). A row without any is 0."""
    total = (F.softplus(worse - better) * real).sum(1)
    return total / real.sum(1).clamp(min=1) if over_pairs == "mean" else total


class UnbiasedDistillation(Distillation):
    """UnKD as in chengang95/UnKD 57abd1a (dataloader.py, sample.py, model.py).

    For every user and group the teacher's order of the group's items that the user has not in
    training; pairs are drawn from it once an epoch (in every step, for models with a memory). The
    teacher's scores matter by their order alone. Memory: lists of up to depth x groups items a
    user. Deviations: a pair with equal members is drawn again by itself, where the released code
    draws the whole set again (the same distribution); a group in which a user has one item or none
    gives no pair (the released code never ends there).
    """

    reduction: ClassVar[str] = "mean"

    def __init__(self, settings: UnKDSettings, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.seen, self.everyone = data.seen, final_queries_of(data.queries)
        self.groups = popularity_groups(data.queries.items, data.seen.n_items, self.settings.groups)
        shares = None
        if self.settings.lamda > 0:
            counts = torch.bincount(data.queries.items, minlength=data.seen.n_items).double()
            popularity = [float(counts[group].mean()) for group in self.groups]
            shares = shares_of_groups(popularity, self.settings.lamda)
        counts = pairs_of_groups(self.settings.pairs, len(self.groups), shares)
        self.group_of_pair = (
            torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(data.target.device)
        )
        if self.per_user:
            self.lists, self.lengths = self._grouped(self.everyone)
            if not (self.lengths > 1).any():
                raise ValueError(
                    "no pair can be drawn: for nobody does the teacher name two unseen items of one group; bring longer lists, "
                    "or take fewer groups"
                )

    @torch.no_grad()
    def _grouped(self, queries: Queries) -> tuple[Tensor, Tensor]:
        """The teacher's lists of queries (B) in every group, (B, G, depth) int32, and their lengths
        (B, G)."""
        return grouped_lists(self.teacher.model, queries, self.seen, self.groups, self.settings.depth)

    def _drawn(self, lists: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Better and worse items (B, P) and which pairs are real (B, P)."""
        length = lengths[:, self.group_of_pair]
        better, worse = drawn_pairs(length, self.settings.T, self.rng)
        if self.settings.as_released:
            void = torch.rand(length.shape, generator=self.rng, device=length.device) < 0.5
            worse = torch.where(void, better, worse)
        rows = torch.arange(len(lists), device=length.device)[:, None]
        return (
            lists[rows, self.group_of_pair, better],
            lists[rows, self.group_of_pair, worse],
            length > 1,
        )

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        if self.per_user:
            *pairs, self.real = self._drawn(self.lists, self.lengths)
            self.pairs = torch.cat(pairs, dim=1)  # (U, 2 P)
            self.better, self.worse = self.pairs.chunk(2, dim=1)  # parts of it, no copies

    def wants(self, batch: Batch) -> Tensor | None:
        return self.pairs.index_select(0, batch.queries.user).long() if self.per_user else None

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        if self.per_user:
            items, real = self.wants(batch), self.real.index_select(0, batch.queries.user)
        else:
            *pairs, real = self._drawn(*self._grouped(batch.queries))
            items = torch.cat(pairs, dim=1).long()
        logits = student.score(context, items) if batch.wanted is None else batch.wanted
        loss = pair_loss(*logits.chunk(2, dim=1), real, self.settings.over_pairs)
        return self.settings.weight * loss.mean()


def grouped_lists(
    teacher: Model, queries: Queries, seen: SeenItems, groups: list[Tensor], depth: int
) -> tuple[Tensor, Tensor]:
    """The teacher's order of every group's items that the query's user has not seen, cut at
    ``depth``: lists (B, G, depth) int32, best first, and their lengths (B, G)."""
    width = min(depth, max(map(len, groups)))
    lists = torch.zeros(
        (len(queries), len(groups), width), dtype=torch.int32, device=queries.user.device
    )
    lengths = torch.zeros(lists.shape[:2], dtype=torch.long, device=lists.device)
    rows = block_rows(teacher.n_items, 512, copies=2)
    for start in range(0, len(queries), rows):
        asked = queries[start : start + rows]
        scores = Frozen(teacher).score_all(asked)
        scores[seen.of(asked.user)] = -torch.inf
        for place, items in enumerate(groups):
            of_group = scores[:, items]
            k = min(width, len(items))
            lists[start : start + rows, place, :k] = items[of_group.topk(k, dim=1).indices].int()
            lengths[start : start + rows, place] = (of_group > -torch.inf).sum(1).clamp(max=k)
    return lists, lengths
