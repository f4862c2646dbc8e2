"""Random streams and samples: every draw is vectorised and its generator is passed in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rdcore.data.queries import places

LOOKED_UP = 2**21  # items looked up at once: memory for a few times so many, however many are drawn


def stream_seed(seed: int, name: str, epoch: int = 0) -> int:
    """The seed of one named random stream in one epoch: what makes a resumed run equal an undisturbed one."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()[:8], "little") >> 1


def stream(seed: int, name: str, epoch: int = 0, device="cpu") -> torch.Generator:
    """A generator for the stream ``name`` of ``seed`` in ``epoch``, on ``device``."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, name, epoch))


class SeenItems:
    """Which items each user has in training, for exclusion. Memory is O(interactions).

    offsets (n_users + 1,), items (N,): as in Interactions; an item may be there more than once.
    keys (N,): user * n_items + item, ascending; membership is a binary search in them.
    sorted_items (N,): each user's items, ascending.
    distinct, left (n_users,): how many different items a user has, and how many they leave.
    fewest_unseen: how many items are left for the user who has most.
    """

    def __init__(self, items: Tensor, offsets: Tensor, n_items: int):
        self.n_items = n_items
        self.offsets = offsets
        counts = offsets.diff()
        user = torch.repeat_interleave(torch.arange(len(counts), device=items.device), counts)
        self.keys = torch.sort(user * n_items + items).values
        self.sorted_items = self.keys % n_items
        owner = torch.unique_consecutive(self.keys) // n_items
        self.distinct = torch.bincount(owner, minlength=len(counts))
        self.left = n_items - self.distinct
        self.fewest_unseen = int(self.left.min()) if len(counts) else n_items

    def check_unseen(self, user: Tensor, labels=None) -> None:
        """Raises ValueError where one of the users (B,) has every item: nothing can be drawn for them. labels: their ids."""
        if self.fewest_unseen > 0:  # known here, so that a GPU is not waited for
            return
        everything = user[self.distinct[user] == self.n_items]
        if len(everything):
            who = int(everything[0]) if labels is None else labels[int(everything[0])]
            raise ValueError(f"user {who} has every one of the {self.n_items} items, so that no unseen item is left to draw "
                             "for them: leave them out, or make n_items that of the whole catalogue")  # fmt: skip

    @cached_property
    def heavy(self) -> Tensor:
        """Which users have at least half of the catalogue, (n_users,) bool. For them an item drawn from the whole catalogue
        would be redrawn too often."""
        return 2 * self.distinct >= self.n_items

    @cached_property
    def unseen(self) -> OtherItems:
        """What each user has not seen."""
        return OtherItems([(self.keys // self.n_items, self.keys % self.n_items)], len(self.distinct), self.n_items)

    def contains(self, user: Tensor, items: Tensor) -> Tensor:
        """(B,), (B, n) -> (B, n) bool."""
        keys = user[:, None] * self.n_items + items
        return self.keys[torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)] == keys

    def of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """All seen items of the users (B,) as (row (M,), item (M,)): row indexes ``user``."""
        row, place = places(self.offsets[user], self.offsets[user + 1])
        return row, self.sorted_items[place]

    def among(self, user: Tensor, items: Tensor) -> Tensor:
        """Which of the items (S,), all different, each user (B,) has seen: (B, S) bool."""
        if user.is_cuda:  # nothing to wait for, and the same shapes in every step
            return self.contains(user, items.expand(len(user), -1))
        place = torch.full((self.n_items,), len(items))
        place[items] = torch.arange(len(items))
        row, item = self.of(user)
        column = place[item]
        hit = (column < len(items)).nonzero().squeeze(1)
        among = torch.zeros((len(user), len(items)), dtype=torch.bool)
        among[row[hit], column[hit]] = True
        return among


def unseen_items(user: Tensor, n: int, seen: SeenItems, generator: torch.Generator) -> Tensor:
    """n items for each user (B,), uniform over the items they have not seen, with replacement: (B, n).

    Drawn from all items, then redrawn where they hit a seen one (the official code draws one by one in Python loops; same
    distribution). For a user with at least half of the catalogue a place among their unseen items is drawn instead, so
    the time does not depend on any one user. Raises ValueError where a user has every item.
    """
    seen.check_unseen(user)
    items = torch.randint(seen.n_items, (len(user), n), generator=generator, device=user.device)
    flat, rows = items.view(-1), max(1, LOOKED_UP // n)
    parts = zip(user.split(rows), items.split(rows), strict=True)
    heavy = seen.heavy[user]  # (B,)
    hit = torch.cat([seen.contains(*part) for part in parts]) & ~heavy[:, None]  # (B, n)
    redraw = torch.nonzero(hit.view(-1)).squeeze(1)
    while len(redraw):
        flat[redraw] = torch.randint(seen.n_items, (len(redraw),), generator=generator, device=user.device)
        hit = seen.contains(user[redraw // n], flat[redraw, None]).squeeze(1)
        redraw = redraw[hit]
    if len(few := heavy.nonzero().squeeze(1)):
        left = seen.left[user[few], None]  # (b, 1)
        uniform = torch.rand((len(few), n), dtype=torch.float64, generator=generator, device=user.device)
        items[few] = seen.unseen.at(user[few], (uniform * left).long())
    return items


def equal_draws(user: Tensor, generator: torch.Generator) -> Tensor:
    """Places (M,) of instances such that every user has equally many, drawn among theirs with replacement: user (N,) of each
    instance, ascending. Of U users with instances each has floor(N / U) draws: an epoch of LightGCN's C++ sampler
    (gusye1234/LightGCN-PyTorch 947ca2b), which counts all users of the data."""
    counts = torch.unique_consecutive(user, return_counts=True)[1]
    first = counts.cumsum(0) - counts
    each = len(user) // max(1, len(counts))
    share = torch.rand((len(counts), each), generator=generator, device=user.device, dtype=torch.float64)
    return (first[:, None] + (share * counts[:, None]).long()).view(-1)


def different_unseen_items(
    user: Tensor, n: int, seen: SeenItems, generator: torch.Generator, listed: Tensor | None = None
) -> Tensor:
    """n different unseen items for each user (B,), every set of n as likely as any other: (B, n).

    listed (B, p): what is left out besides; the id n_items there is none. A user with fewer than n such items gets all of
    them, and the padding id n_items behind. For users with less than half of the catalogue and n such items or more,
    they are drawn by `unseen_items`, and what is listed or was drawn twice is drawn again. For the others places are
    drawn, so the time does not depend on any one user.
    """
    listed = user.new_empty((len(user), 0)) if listed is None else listed
    by_place = (seen.left[user] - (listed < seen.n_items).sum(1) < n) | seen.heavy[user]
    items = torch.full((len(user), n), seen.n_items, device=user.device)
    if len(rows := (~by_place).nonzero().squeeze(1)):
        items[rows] = unseen_items(user[rows], n, seen, generator)
    while len(rows):
        drawn = torch.cat([listed[rows], items[rows]], dim=1)
        values, place = drawn.sort(dim=1, stable=True)  # of equal ones the listed or first first
        again = torch.zeros_like(drawn, dtype=torch.bool)
        again.scatter_(1, place[:, 1:], values[:, 1:] == values[:, :-1])
        again = again[:, listed.shape[1] :]
        row, column = again.nonzero(as_tuple=True)
        items[rows[row], column] = unseen_items(user[rows[row]], 1, seen, generator)[:, 0]
        rows = rows[again.any(1)]
    if len(few := by_place.nonzero().squeeze(1)):
        items[few] = OtherItems.of(user[few], listed[few], seen).draw(n, generator)
    return items


class OtherItems:
    """The items that each row leaves when its excluded ones are taken away, in memory that grows with the excluded only.
    Made from parts, pairs of row (M,) and excluded item (M,): no row is in two parts, and later parts have later rows.
    left: how many items remain, (n_rows,)."""

    def __init__(self, parts: Iterable[tuple[Tensor, Tensor]], n_rows: int, n_items: int):
        self.n_items, self.first, self.left, kept = n_items, 0, n_items, []
        for row, item in parts:
            keys = row * n_items + item  # numpy sorts them up to twenty times as fast as torch
            keys = torch.unique(keys) if keys.is_cuda else torch.unique_consecutive(torch.from_numpy(np.sort(keys.numpy())))
            counts = torch.bincount(keys // n_items, minlength=n_rows)
            first = counts.cumsum(0) - counts
            # For every excluded item, how many that remain come before it. The keys stay ascending: a row has at most n_items.
            kept.append(keys - torch.arange(len(keys), device=keys.device) + first[keys // n_items])
            self.first, self.left = self.first + first, self.left - counts
        self.keys = torch.cat(kept)

    @classmethod
    def of(cls, user: Tensor, listed: Tensor, seen: SeenItems) -> OtherItems:
        """What users (B,) have neither seen nor in their lists (B, p), where n_items names nothing."""

        def part(rows: Tensor) -> tuple[Tensor, Tensor]:
            row, item = seen.of(user[rows])
            place, column = (listed[rows] < seen.n_items).nonzero(as_tuple=True)
            return torch.cat([row, place]) + rows[:1], torch.cat([item, listed[rows][place, column].long()])

        rows = torch.arange(len(user), device=user.device).split(max(1, LOOKED_UP // (1 + listed.shape[1])))
        return cls(map(part, rows), len(user), seen.n_items)

    def at(self, row: Tensor, place: Tensor) -> Tensor:
        """The place-th of what rows (B,) leave, from 0 and ascending: (B, n) -> (B, n)."""
        start = row[:, None] * self.n_items
        return place + torch.searchsorted(self.keys, start + place, right=True) - self.first[row][:, None]

    def draw(self, n: int, generator: torch.Generator, row: Tensor | None = None) -> Tensor:
        """n different items for each of the rows (B,), by default all, every set of n equally likely: (B, n), in no particular
        order. Of a row that leaves fewer all of them, and the id n_items behind.

        Floyd's algorithm draws places among what remains: with m = min(n, left), the c-th from the first left - m + c + 1
        ones, and where that is taken, the last of these.
        """
        left = self.left if row is None else self.left[row]
        size = left.clamp(max=n)
        places = torch.full((len(size), n), -1, device=size.device)
        uniform = torch.rand(places.shape, dtype=torch.float64, generator=generator, device=generator.device)
        for column in range(n):
            last = left - size + column
            place = (uniform[:, column] * (last + 1)).long()
            taken = (places[:, :column] == place[:, None]).any(1)
            places[:, column] = torch.where(column < size, torch.where(taken, last, place), -1)
        items = self.at(torch.arange(len(left), device=left.device) if row is None else row, places.clamp(min=0))
        return torch.where(places < 0, self.n_items, items)


def shared_items(n_batches: int, n: int, n_items: int, generator: torch.Generator) -> Tensor:
    """One sample of n distinct items for each batch of an epoch, (n_batches, n): consecutive slices of random permutations,
    so that one draw of all items serves many batches."""
    if n > n_items:
        raise ValueError(f"rank samples must be <= the number of items ({n_items}), got {n}: use the exact rank")
    each = n_items // n  # samples of a permutation
    drawn = [torch.randperm(n_items, generator=generator, device=generator.device) for _ in range(-(-n_batches // each))]
    return torch.cat([permutation[: each * n].view(each, n) for permutation in drawn])[:n_batches]
