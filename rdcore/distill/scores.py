"""Scores of long lists: what the model says, with gradients that cost a CPU a fraction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rdcore.models.base import DotProductModel, Model, evaluating
from rdcore.queries import Queries


@torch.no_grad()
def teacher_scores(teacher: Model, queries: Queries, items: Tensor, block: int = 512) -> Tensor:
    """What the teacher says of each query's own items, block by block: queries (B), items (B, n) -> (B, n)."""
    starts = range(0, len(queries), block)
    with evaluating(teacher):
        parts = [teacher.score(teacher.encode(queries[k : k + block]), items[k : k + block].long()) for k in starts]
    return torch.cat(parts)


def list_scores(student: Model, context: Tensor, items: Tensor) -> Tensor:
    """``student.score(context, items)`` of every query's own items (B, n): (B, n).

    PyTorch adds the gradients of the B n item vectors to their table one by one, which takes a CPU longer than the rest of a
    step. Those of a dot product are contexts times numbers, and are summed here item by item instead. The same function
    and gradient but for rounding.
    """
    if type(student).score is not DotProductModel.score or context.device.type != "cpu":
        return student.score(context, items)
    return _DotProducts.apply(context, student.item_factors.weight, student.item_bias, items.int())


class _DotProducts(torch.autograd.Function):
    """<context_b, table_i> + bias_i: context (B, D), table (n_items, D), bias (n_items,) or None, items (B, n) int32, which
    are sorted in half the time of long ones -> (B, n)."""

    @staticmethod
    def forward(ctx, context: Tensor, table: Tensor, bias: Tensor | None, items: Tensor) -> Tensor:
        ctx.save_for_backward(context, table, items)
        ctx.has_bias = bias is not None
        products = F.embedding(items, table).mul_(context.unsqueeze(1))
        scores = products @ context.new_ones(context.shape[1])  # twice as fast as one small product for each query
        return scores.add_(bias[items]) if ctx.has_bias else scores

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        context, table, items = ctx.saved_tensors
        flat, weights = items.flatten(), gradient.flatten()
        of_context = F.embedding_bag(items, table, mode="sum", per_sample_weights=gradient.contiguous())
        place = flat.sort(stable=True).indices
        counts = torch.bincount(flat, minlength=len(table))
        of_table = F.embedding_bag(
            place // items.shape[1], context, counts.cumsum(0) - counts, mode="sum",
            per_sample_weights=weights.index_select(0, place),
        )  # fmt: skip
        of_bias = torch.bincount(flat, weights, len(table)).to(table.dtype) if ctx.has_bias else None
        return of_context, of_table, of_bias, None
