"""What RRD shares with CD and others: a sample of items for each query, drawn again in every epoch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from rdcore.checks import missing
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Distillation, TrainingData, distinct_queries
from rdcore.distill.lists import Lists, check_length
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model


class Resampled(Distillation):
    """L = weight * sum over the batch's different users of a loss of their sampled items.

    Without a memory in student and teacher (``per_user``), every user has one sample, drawn when the epoch begins.
    Otherwise every query is sampled in its step, so that memory holds the samples of one batch. A user counts once in
    every batch they are in.

    A subclass draws (``draw``) and compares (``compare``). ``lists`` are the teacher's, if any. A draw may be shorter
    than asked, where user or teacher have no more: the id n_items fills it up, and such places have no weight.
    """

    reduction: ClassVar[str] = "sum"
    lists: Lists | None = None

    def __init__(self, settings: Any, *, per_user: bool):
        super().__init__()
        self.settings, self.per_user = settings, per_user

    @property
    def graphable(self) -> bool:
        return self.per_user

    def keep(self, data: TrainingData) -> None:
        """Takes what drawing needs from the data. Raises ValueError where no list can be so long."""
        how, self.seen, self.everyone = self.settings, data.seen, final_queries_of(data.queries)
        check_length(how.depth or how.samples, data.seen.n_items, "depth" if how.depth else "samples")

    def draw(self, student: Model, queries: Queries, lists: Tensor | None) -> tuple[Tensor, ...]:
        """The sample of B queries: items (B, n) first, then whatever `compare` needs of them.
        lists: (B, depth) of the teacher, if it has given any."""
        raise missing(self, "draw(student, queries, lists)")

    def compare(self, logits: Tensor, named: Tensor | None, *sampled: Tensor) -> Tensor:
        """Logits (B, n) of the items, which of these are there (B, n) bool (None: all), and the rest of the sample -> the
        loss of each query (B,)."""
        raise missing(self, "compare(logits, named)")

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        if self.per_user:
            self.sample = self.draw(student, self.everyone, self.lists and self.lists.items)
            self.full = bool((self.sample[0] < student.n_items).all())

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        index, once = distinct_queries(student, batch)
        queries = batch.queries[index]
        if self.per_user:
            items, *rest = (part[queries.user] for part in self.sample)
        else:
            items, *rest = self.draw(student, queries, self.lists and self.lists.rows(batch)[index])
            self.full = bool((items < student.n_items).all())
        named = None if self.full else items < student.n_items
        if named is not None:
            items = items.masked_fill(~named, 0)
        losses = self.compare(student.score(context[index], items), named, *rest)  # (B,)
        return self.settings.weight * (once * losses).sum()


def noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Minus Gumbel variates: logarithms of exponential ones, in float64."""
    uniform = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
    return uniform.neg_().log1p_().neg_().log_()


def sampled_places(log_weights: Tensor, n: int, size: int, generator: torch.Generator, named: Tensor | None = None) -> Tensor:
    """``size`` different places of a list, drawn one after the other, each with probability proportional to its weight
    among those left; n times: log_weights (depth,) float64 -> (n, size), ascending. ``named`` (n, depth): which places
    of the n lists are drawn first, those at the front; behind them others where there are fewer.

    The largest values of log-weight plus Gumbel noise are such a draw, and no weight is too small for it.
    """
    depth, parts = len(log_weights), []
    for rows in torch.arange(n).split(block_rows(2 * depth, n)):
        drawn = noise((len(rows), depth), generator)
        noisy = torch.sub(log_weights, drawn, out=drawn)
        if named is not None:
            noisy.masked_fill_(~named[rows], -torch.inf)
        parts.append(noisy.topk(size, dim=1).indices.sort(dim=1).values)
    return torch.cat(parts)
