"""Random streams and samples: every draw is vectorised and its generator is passed in."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

LOOKED_UP = 2**21  # items looked up at once: memory for a few times so many, however many are drawn


def stream_seed(seed: int, name: str, epoch: int = 0) -> int:
    """The seed of one named random stream in one epoch: what makes a resumed run equal an undisturbed one."""
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, name: str, epoch: int = 0, device="cpu") -> torch.Generator:
    """A generator for the stream ``name`` of ``seed`` in ``epoch``, on ``device``."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, name, epoch))


class SeenItems:
    """Which items each user has in training, for exclusion: membership by binary search in sorted keys.

    offsets (n_users + 1,) and items (N,) as in Interactions; ``sorted_items`` holds each user's items ascending. An item may
    be there more than once (re-visits). distinct (n_users,): how many different items a user has; fewest_unseen: how many
    are left for him who has most, what bounds every list and every draw of different unseen items.
    Memory is O(interactions), never users times items.
    """

    def __init__(self, items: Tensor, offsets: Tensor, n_items: int):
        self.n_items = n_items
        self.offsets = offsets
        counts = offsets.diff()
        user = torch.repeat_interleave(torch.arange(len(counts), device=items.device), counts)
        self.keys = torch.sort(user * n_items + items).values
        self.sorted_items = self.keys % n_items
        self.distinct = torch.bincount(torch.unique_consecutive(self.keys) // n_items, minlength=len(counts))
        self.fewest_unseen = n_items - (int(self.distinct.max()) if len(counts) else 0)

    def check_unseen(self, user: Tensor) -> None:
        """Raises ValueError where one of the users (B,) has every item, so that nothing can be drawn for him. Ranking needs no
        such check: his ranking is empty."""
        if self.fewest_unseen > 0:  # known here, so that a GPU is not waited for
            return
        everything = user[self.distinct[user] == self.n_items]
        if len(everything):
            raise ValueError(
                f"user {int(everything[0])} has every one of the {self.n_items} items, so that no unseen item is left to draw "
                "for him: leave him out, or make n_items that of the whole catalogue"
            )

    def contains(self, user: Tensor, items: Tensor) -> Tensor:
        """(B,), (B, n) -> (B, n) bool."""
        keys = user[:, None] * self.n_items + items
        position = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return self.keys[position] == keys

    def of(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """All seen items of the users (B,) as (row (M,), item (M,)): row indexes ``user``."""
        return _owned(user, self.offsets, self.sorted_items)

    def among(self, user: Tensor, items: Tensor) -> Tensor:
        """Which of the items (S,), all different, each user (B,) has seen: (B, S) bool."""
        if user.is_cuda:  # nothing to wait for, and the same shapes in every step
            return self.contains(user, items.expand(len(user), -1))
        place = torch.full((self.n_items,), len(items))
        place[items] = torch.arange(len(items))
        row, item = self.of(user)
        among = torch.zeros((len(user), len(items) + 1), dtype=torch.bool)  # last: not in items
        among[row, place[item]] = True
        return among[:, :-1]


def _owned(owners: Tensor, offsets: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What each of the owners (B,) has in ``values``, whose rows offsets[owner] to offsets[owner + 1] are his: which of the
    owners (M,), value (M,)."""
    start = offsets[owners]
    counts = offsets[owners + 1] - start
    row = torch.repeat_interleave(torch.arange(len(owners), device=owners.device), counts)
    first = torch.cumsum(counts, 0) - counts
    position = torch.arange(len(row), device=owners.device) + (start - first)[row]
    return row, values[position]


def unseen_items(user: Tensor, n: int, seen: SeenItems, generator: torch.Generator) -> Tensor:
    """n items for each user (B,), uniform over the items he has not seen, with replacement: (B, n).

    Drawn from all items, then redrawn where they hit a seen one (the official code draws one by one in Python
    loops; same distribution). Raises ValueError where a user has every item.
    """
    seen.check_unseen(user)
    items = torch.randint(seen.n_items, (len(user), n), generator=generator, device=user.device)
    flat, rows = items.view(-1), max(1, LOOKED_UP // n)
    hits = [seen.contains(*part).view(-1) for part in zip(user.split(rows), items.split(rows), strict=True)]
    redraw = torch.nonzero(torch.cat(hits)).squeeze(1)
    while len(redraw):
        flat[redraw] = torch.randint(seen.n_items, (len(redraw),), generator=generator, device=user.device)
        hit = seen.contains(user[redraw // n], flat[redraw, None]).squeeze(1)
        redraw = redraw[hit]
    return items


def equal_draws(user: Tensor, generator: torch.Generator) -> Tensor:
    """Places (M,) of instances such that every user has equally many, drawn among theirs with replacement: user (N,) of each
    instance, ascending.

    Of U users with instances each has floor(N / U) draws: an epoch of LightGCN's C++ sampler (gusye1234/LightGCN-PyTorch
    947ca2b), which counts all users of the data.
    """
    counts = torch.unique_consecutive(user, return_counts=True)[1]
    first = counts.cumsum(0) - counts
    each = len(user) // max(1, len(counts))
    share = torch.rand((len(counts), each), generator=generator, device=user.device, dtype=torch.float64)
    return (first[:, None] + (share * counts[:, None]).long()).view(-1)


def shared_items(n_batches: int, n: int, n_items: int, generator: torch.Generator) -> Tensor:
    """One sample of n distinct items for each batch of an epoch: (n_batches, n).

    Consecutive slices of random permutations, so that one draw of all items serves many batches.
    """
    if n > n_items:
        raise ValueError(f"rank samples must be <= the number of items ({n_items}), got {n}: use the exact rank")
    per_permutation = n_items // n
    blocks = []
    for _ in range(-(-n_batches // per_permutation)):
        permutation = torch.randperm(n_items, generator=generator, device=generator.device)
        blocks.append(permutation[: per_permutation * n].view(per_permutation, n))
    return torch.cat(blocks)[:n_batches]
