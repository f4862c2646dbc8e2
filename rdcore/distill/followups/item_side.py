"""Rankings seen from the item: which users a teacher would give it to, and scores of many users for
an item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rdcore import fast
from rdcore.data.queries import Queries
from rdcore.data.sampling import SeenItems
from rdcore.eval.topk import block_rows
from rdcore.models.base import DotProductModel, Model, evaluating

PAIRS = 2**18  # of user and item that a model is asked for at a time


@dataclass(frozen=True)
class UserLists:
    """users (n_items, depth) int32: the teacher's users of every item, best first. whole (n_items,)
    bool: which items have so many; the rows of the others are no lists."""

    users: Tensor
    whole: Tensor


class Owners:
    """Which users have an item in training; `SeenItems` answers the other way round."""

    def __init__(self, seen: SeenItems):
        pairs = torch.unique(seen.keys)
        item = pairs % seen.n_items
        self.counts = torch.bincount(item, minlength=seen.n_items)
        self.first = self.counts.cumsum(0) - self.counts
        self.users = (pairs // seen.n_items)[item.argsort(stable=True)]

    def of(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """All users who have the items (n,), as (place (M,), user (M,)): place indexes ``items``."""
        counts = self.counts[items]
        place = torch.repeat_interleave(torch.arange(len(items), device=items.device), counts)
        start = self.first[items] - (counts.cumsum(0) - counts)
        return place, self.users[torch.arange(len(place), device=items.device) + start[place]]


@torch.no_grad()
def user_lists(
    teacher: Model, everyone: Queries, seen: SeenItems, depth: int, spare: int = 0
) -> UserLists:
    """The teacher's first ``depth`` users for every item, of those who have it not in training.

    An item that leaves fewer than ``depth + spare`` such users, or of whom the teacher names fewer
    than ``depth`` (the score of the others is -inf), has no list. Raises ValueError where that is
    every item. ``everyone``: one query a user, of a teacher without memory. Memory for one
    block of items times users.
    """
    device, n_users, n_items = everyone.user.device, len(everyone), teacher.n_items
    owners = Owners(seen)
    left = n_users - owners.counts
    whole = left >= depth + spare
    too_long = "make the lists of users shorter"
    if not whole.any():
        raise ValueError(f"no item leaves {depth + spare} of the {n_users} users who do not have it: {too_long}")
    users = torch.zeros((n_items, depth), dtype=torch.int32, device=device)
    with evaluating(teacher):
        context = teacher.encode(everyone)
        for items in torch.arange(n_items, device=device).split(
            block_rows(n_users, 1024, copies=2)
        ):
            scores = teacher.score(context, items).T.contiguous()  # (items, users)
            scores.masked_fill_(scores.isnan(), -torch.inf)
            place, user = owners.of(items)
            scores[place, user] = -torch.inf
            values, found = scores.topk(min(depth, n_users), dim=1)
            users[items] = found.int()
            whole[items] &= values[:, -1] > -torch.inf
    if not whole.any():
        raise ValueError(f"of no item the teacher names {depth} users: {too_long}")
    return UserLists(users, whole)


def scores_of_users(student: Model, context: Tensor, users: Tensor, items: Tensor) -> Tensor:
    """What each item scores for its own users: context (U, D) of all users, users (n, m), items
    (n,) -> (n, m).

    A dot product does not care which side is the query: on a CPU such a model is asked the other
    way round, with memory for one block of gathered vectors.
    """
    if isinstance(student, DotProductModel) and not context.is_cuda:
        vectors = student.item_factors(items)
        scores = fast.dot_products(vectors, context, None, users)
        return scores if student.item_bias is None else scores + student.item_bias[items][:, None]
    parts = []
    for rows in torch.arange(len(items), device=items.device).split(
        max(1, PAIRS // users.shape[1])
    ):
        asked = users[rows].long()
        parts.append(
            student.score(
                context[asked.flatten()], items[rows].repeat_interleave(users.shape[1])[:, None]
            )
        )
    return torch.cat(parts).view(users.shape)
