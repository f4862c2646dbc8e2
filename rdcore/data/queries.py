"""Queries: the points in users' sequences for which items are ranked.

The papers rank documents for a query. Here a query is a user at a point of their sequence: everything a model may look at
lies before that point. A query is two integers over one flat, time-ordered table: windows are never materialised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.data.interactions import Interactions

REPEATED = 8  # times that an item is in the pasts of one batch, from which on `past_sum` sums each of them once


@dataclass(frozen=True)
class Queries:
    """B queries over one sequence table."""

    user: Tensor
    """(B,) user of each query."""
    end: Tensor
    """(B,) position in ``items`` just behind the last item the query may see."""
    items: Tensor
    """(N,) all sequences, one user after the other, oldest item first."""
    offsets: Tensor
    """(n_users + 1,) where each user's sequence begins in ``items``."""
    padding: int
    """The id that fills missing history (= n_items)."""

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, index) -> Queries:
        return replace(self, user=self.user[index], end=self.end[index])

    def to(self, device) -> Queries:
        return replace(self, **{name: getattr(self, name).to(device) for name in ("user", "end", "items", "offsets")})

    def past(self, everything: bool = False) -> tuple[Tensor, Tensor]:
        """All items before each query, oldest first, as (row (M,), item (M,)): row indexes the queries. ``everything``: all
        that the user has in the table but the item at the query's end, the target of a training query."""
        start, stop = self.offsets[self.user], self.offsets[self.user + 1] if everything else self.end
        row, position = places(start, stop)
        if everything:
            kept = position != self.end[row]
            row, position = row[kept], position[kept]
        return row, self.items[position]

    def past_sum(self, table: Tensor, everything: bool = False) -> tuple[Tensor, Tensor]:
        """The sum over `past` of its items' rows in ``table`` (n, D), and their number: (B, D), (B,). Memory for the pasts and
        their sums, not for users times items. Where few users have nearly all pasts, each of theirs is the sum of the one
        before and what was added, so that time does not grow with the square of what one user has."""
        start, stop = self.offsets[self.user], self.offsets[self.user + 1] if everything else self.end
        order = (self.user * (len(self.items) + 1) + stop).argsort()  # by user, then by how much of theirs is past
        start, stop = start[order], stop[order]
        begin = torch.cat([start[:1], stop[:-1]]).maximum(start)  # what the query before has not summed
        if REPEATED * int((stop - begin).sum()) < int((stop - start).sum()):
            row, position = places(begin, stop)
            added = torch.bincount(row, minlength=len(self))
            added = F.embedding_bag(self.items[position], table, added.cumsum(0) - added, mode="sum").double()
            total, place = added.cumsum(0), torch.arange(len(self), device=start.device)
            of_user = place.masked_fill(start == torch.cat([start[:1] - 1, start[:-1]]), 0).cummax(0).values  # its first query
            total, back = (total - (total - added)[of_user]).to(table.dtype), order.argsort()
            target = everything & (self.end < self.offsets[self.user + 1])  # it is among everything, and left out
            total = total[back] - target[:, None] * table[self.items[self.end.clamp(max=len(self.items) - 1)]]
            return total, (stop - start)[back] - target.long()
        row, item = self.past(everything)
        counts = torch.bincount(row, minlength=len(self))
        return F.embedding_bag(item, table, counts.cumsum(0) - counts, mode="sum"), counts

    def history(self, length: int) -> Tensor:
        """The last ``length`` items before each query: (B, length), most recent last, padded on the left."""
        position = self.end[:, None] + torch.arange(-length, 0, device=self.end.device)
        inside = position >= self.offsets[self.user][:, None]
        return torch.where(inside, self.items[position.clamp(min=0)], self.padding)


def places(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """All places from start (B,) to stop (B,), as (row (M,), place (M,))."""
    counts = stop - start
    row = torch.repeat_interleave(torch.arange(len(start), device=start.device), counts)
    return row, torch.arange(len(row), device=start.device) - (torch.cumsum(counts, 0) - counts - start)[row]


def _table(fit: Interactions) -> dict:
    return {"items": torch.from_numpy(fit.items), "offsets": torch.from_numpy(fit.offsets), "padding": fit.n_items}


def training_queries(fit: Interactions, window: int, *, full_windows: bool = False) -> tuple[Queries, Tensor]:
    """Every training instance of ``fit``: queries (B) and their targets (B,), the item that came next.

    ``window=0`` makes every interaction an instance. Otherwise an instance has at least one item before its target, and a
    history shorter than ``window`` is padded on the left. ``full_windows``: it has ``window`` items, as in the released
    Caser and Ranking Distillation. A user too short for that keeps one instance, padded, for their last item
    (graytowne/caser_pytorch 26ef449; the released Ranking Distillation code drops the user).
    """
    counts = np.diff(fit.offsets)
    shortest = window if full_windows else min(window, 1)
    first = np.minimum(shortest, np.maximum(counts - 1, 0))
    n_instances = counts - first
    user = np.repeat(np.arange(fit.n_users), n_instances)
    start = np.repeat(np.cumsum(n_instances) - n_instances, n_instances)
    end = np.arange(len(user)) - start + np.repeat(fit.offsets[:-1] + first, n_instances)
    target = fit.items[end]
    return Queries(torch.from_numpy(user), torch.from_numpy(end), **_table(fit)), torch.from_numpy(target)


def final_queries_of(queries: Queries) -> Queries:
    """One query per user of the same table, behind all of their items: (n_users,) queries."""
    offsets = queries.offsets
    return replace(queries, user=torch.arange(len(offsets) - 1, device=offsets.device), end=offsets[1:])


def final_queries(fit: Interactions) -> Queries:
    """One query per user, behind all of their items in ``fit``: what is asked at evaluation. (n_users,) queries."""
    return Queries(torch.arange(fit.n_users), torch.from_numpy(fit.offsets[1:]), **_table(fit))
