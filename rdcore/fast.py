"""Faster forms of a few plain ones, for a CPU: the same function and gradient but for rounding.

The plain form is what the papers say and what the notebooks print; it is in the file of the model or method and serves
everywhere else. A test holds each pair together. Times below are of one thread, forward and backward, plain -> fast.

| plain | here | used on a CPU for | time |
| --- | --- | --- | --- |
| `models.base.dot_products` | `dot_products` | 8 items or more a query | 80 items: 11 -> 6 ms |
| `models.caser.horizontal_filters` | `horizontal_filters` | Caser | d=100: 10 -> 7 ms |
| `F.dropout` | `dropout` | Caser, SASRec | 512 x 180: 1.0 -> .4 ms, bit for bit |
| `distill.rrd.relaxed_loss` | `relaxed_loss` | RRD | 760 x 80: 3.2 -> .5 ms |
| `distill.de.mixture` | `mixture` | DE | T=.01: 95 -> 16 ms; T=1: 248 -> 183 ms |
| `torch.topk` | `largest` | few of many scores | 10 of 14,009: 19 -> 11 ms |
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ON = True  # False: plain forms only, to compare them or to read a profile by the equations
MANY = 8  # items of a query from which on `dot_products` is faster than the plain form
GATHERED = 2**18  # numbers of item vectors that are gathered at once: 1 MB stays in a cache
NEGLIGIBLE = 1e-8  # a share that one rounding of a float32 sum of shares (6e-8) hides
SMALLEST = 32  # rows of a block: below, copying the experts costs more than it saves
AT_ONCE = 6  # experts whose hidden units stay in a cache
GROUP = 64  # scores whose largest is found at once


def applies(tensor: Tensor) -> bool:
    """Whether the fast forms are used: on a CPU, and not while a model is exported."""
    return ON and not tensor.is_cuda and not torch.compiler.is_compiling()


# Scores ------------------------------------------------------------------------------------------


class _DotProducts(torch.autograd.Function):
    """Products with a column of ones instead of one small matrix for each query; gradients summed item by item instead of
    added to the table one by one."""

    @staticmethod
    def forward(ctx, context: Tensor, table: Tensor, bias: Tensor | None, items: Tensor) -> Tensor:
        ctx.save_for_backward(context, table, items)
        ctx.has_bias = bias is not None
        B, n, D = *items.shape, context.shape[1]
        scores, ones = context.new_empty((B, n)), context.new_ones(D)
        rows = max(1, GATHERED // (n * D))
        for part in map(slice, range(0, B, rows), range(rows, B + rows, rows)):
            vectors = F.embedding(items[part], table).mul_(context[part].unsqueeze(1))
            torch.matmul(vectors, ones, out=scores[part])
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


def dot_products(context: Tensor, table: Tensor, bias: Tensor | None, items: Tensor) -> Tensor:
    """<context_b, table_i> + bias_i of every query's own items: context (B, D), table (n_items, D), bias (n_items,) or None,
    items (B, n) -> (B, n)."""
    return _DotProducts.apply(context, table, bias, items.int())  # int32 sorts twice as fast


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and places of the k largest of every row, largest first: (b, n) -> (b, k), (b, k).

    No more than k + 1 groups of scores can hold the k + 1 largest, those whose own largest are largest, and only they are
    searched. Equal scores come in no particular order, as in ``topk``: rows in which that matters are left to it.
    """
    groups = scores.shape[1] // GROUP
    if not applies(scores) or groups < 16 * (k + 1):
        return tuple(scores.topk(k, dim=1))
    tops = scores[:, : groups * GROUP].unflatten(1, (groups, GROUP)).amax(2)  # (b, groups)
    chosen = tops.topk(k + 1, dim=1, sorted=False).indices  # (b, k + 1)
    behind = torch.arange(groups * GROUP, scores.shape[1]).expand(len(scores), -1)
    inside = (chosen.unsqueeze(2) * GROUP + torch.arange(GROUP)).flatten(1)
    places = torch.cat([inside, behind], dim=1)
    values, order = scores.gather(1, places).topk(k + 1, dim=1)
    items = places.gather(1, order)[:, :k]
    tied = (values[:, 1:] == values[:, :-1]).any(1)  # (b,)
    values = values[:, :k]
    if tied.any():
        values[tied], items[tied] = scores[tied].topk(k, dim=1)
    return values, items


# Caser -------------------------------------------------------------------------------------------


def _positions(images: Tensor, weight: Tensor, L: int) -> list[tuple[slice, Tensor, Tensor]]:
    """For every position t: which filters begin there (heights up to L - t), what of the images they see, and their weight."""
    n, d = len(weight) // L, images.shape[1] // L
    return [(slice((L - t) * n), images[:, t * d :], weight[: (L - t) * n, : (L - t) * d]) for t in range(L)]


class _HorizontalFilters(torch.autograd.Function):
    """One product for each position, and comparisons of whole positions."""

    @staticmethod
    def forward(ctx, images: Tensor, weight: Tensor, bias: Tensor, L: int) -> Tensor:
        (_, seen, filters), *later = _positions(images, weight, L)
        best, above = torch.addmm(bias, seen, filters.T), []
        for which, seen, filters in later:
            outputs = torch.addmm(bias[which], seen, filters.T)
            above.append(torch.gt(outputs, best[:, which], out=torch.empty_like(outputs)))
            best[:, which] = torch.maximum(outputs, best[:, which])
        ctx.save_for_backward(images, weight, *above)
        ctx.L = L
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, *above = ctx.saved_tensors
        left = gradient.clone()  # what no later position has taken
        of_bias = gradient.sum(0)
        of_images, of_weight = torch.zeros_like(images), torch.zeros_like(weight)
        positions = _positions(images, weight, ctx.L)
        grads = _positions(of_images, of_weight, ctx.L)
        for t in range(ctx.L - 1, -1, -1):
            (which, seen, filters), (_, to_seen, to_filters) = positions[t], grads[t]
            share = left[:, which]
            if t:
                share = share * above[t - 1]
                left[:, which] -= share
            to_seen.addmm_(share, filters)
            to_filters.addmm_(share.T, seen)
        return of_images, of_weight, of_bias, None


def horizontal_filters(images: Tensor, weight: Tensor, bias: Tensor, L: int) -> Tensor:
    """Arguments and result of `rdcore.models.caser.horizontal_filters`."""
    return _HorizontalFilters.apply(images, weight, bias, L)


def dropout(features: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`, the same numbers from the same generator: torch draws each of its Bernoulli variates as a uniform double,
    one at a time, in the order in which the features lie in memory."""
    if not (training and 0 < p < 1 and applies(features)):
        return F.dropout(features, p, training)
    uniform = torch.rand_like(features, dtype=torch.float64, requires_grad=False)
    kept = torch.lt(uniform, 1 - p, out=torch.empty_like(features, requires_grad=False))
    return features * kept.div_(1 - p)


# Lists -------------------------------------------------------------------------------------------


def narrow(logits: Tensor) -> bool:
    """Whether the fast forms are used, and a float32 holds the exponentials of all differences of these logits."""
    if not applies(logits):
        return False
    least, most = logits.detach().aminmax()
    return bool(most - least < 80)


def relaxed_loss(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """Arguments and result of `rdcore.distill.rrd.relaxed_loss`, for `narrow` logits: sums of plain exponentials."""
    logits, K = torch.cat([interesting, uninteresting], dim=1), interesting.shape[1]
    logits = logits - logits.detach().amax(1, keepdim=True)
    odds = logits.exp()  # (B, K + L), <= 1
    left = odds[:, :K].flip(1).cumsum(1) + odds[:, K:].sum(1, keepdim=True)  # (B, K), last item first
    return left.log().sum(1) - logits[:, :K].sum(1)


# Distillation experts ----------------------------------------------------------------------------


def mixture(vectors: Tensor, share: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Arguments and result of `rdcore.distill.de.mixture`. Where most shares are negligible, only the experts of the others
    are computed."""
    if share.shape[1] > 1:
        blocks = blocks_of(share.detach() > NEGLIGIBLE)
        # Rows to compute, with a third more for what surrounds the products, against all.
        if 4 / 3 * blocks[1].numel() < share.numel():
            return mixture_of_kept(vectors, share, blocks, w1, b1, w2, b2)
    return mixture_of_all(vectors, share, w1, b1, w2, b2)


def mixture_of_all(vectors: Tensor, share: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Every expert for every row, some experts at a time: one product for their first layers and one for their second ones,
    which also sums over them."""
    total, (_, d, hidden) = share @ b2, w1.shape
    parts = (share.split(AT_ONCE, dim=1), *(w.split(AT_ONCE) for w in (w1, b1, w2)))
    for part, first, bias, second in zip(*parts, strict=True):
        weight = first.transpose(0, 1).reshape(d, -1)
        units = torch.addmm(bias.flatten(), vectors, weight).relu_()
        scaled = units.view(-1, len(first), hidden) * part.unsqueeze(2)
        total = torch.addmm(total, scaled.flatten(1), second.flatten(0, 1))
    return total


def blocks_of(kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The (row, expert) pairs that ``kept`` (n, M) marks, in B blocks of one expert and equally many rows each: expert (B,),
    row (B, size), real (B, size). What is not real is filling. Blocks are half as large as an expert's mean number of rows:
    where some experts have many rows and others few, the filling is no more than half of what is kept."""
    counts = kept.sum(0)
    size = max(-(-int(counts.sum()) // (2 * len(counts))), SMALLEST)
    blocks = (counts + size - 1) // size
    expert = torch.repeat_interleave(blocks)
    # Which of its expert's blocks each one is, then which of the expert's rows it holds.
    nth = torch.arange(len(expert), device=kept.device) - (blocks.cumsum(0) - blocks)[expert]
    place = nth[:, None] * size + torch.arange(size, device=kept.device)
    rows = kept.T.nonzero()[:, 1]  # expert by expert
    first = (counts.cumsum(0) - counts)[expert, None]
    row = rows[(first + place).clamp(max=len(rows) - 1)]
    return expert, row, place < counts[expert, None]


def mixture_of_kept(
    vectors: Tensor, share: Tensor, blocks: tuple[Tensor, Tensor, Tensor],
    w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
) -> Tensor:  # fmt: skip
    """The experts in ``blocks`` alone: two products of as many matrices as there are blocks."""
    expert, row, real = blocks
    # Gathered as embeddings, whose gradient is faster than indexing's.
    w1, b1, w2 = (F.embedding(expert, w.flatten(1)).view(-1, *w.shape[1:]) for w in (w1, b1, w2))
    first = torch.baddbmm(b1.unsqueeze(1), F.embedding(row, vectors), w1).relu_()  # (B, size, h)
    part = torch.where(real, share[row, expert[:, None]], 0)
    second = torch.bmm(first * part.unsqueeze(2), w2)  # (B, size, d_t)
    return (share @ b2).index_add(0, row.flatten(), second.flatten(0, 1))
