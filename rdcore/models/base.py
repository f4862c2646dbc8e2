"""What a model is: encode a query once, then score any items for it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, addmm, baddbmm, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries

TILE = 1024  # items that a CPU multiplies at a time
GATHERED = 2**18  # numbers of item vectors that are gathered at once: 1 MB stays in a cache
FEW = 2**18  # numbers in the gradients of item vectors that are added one by one sooner than sorted


class Model(nn.Module):
    """A recommender over ``n_items`` items, ids 0..n_items-1 (n_items itself is the padding id, never ranked).

    Scores are logits. ``window`` is the number of past items the model looks at (0: a model without memory).
    ``graphable``: whether encoding and scoring single items have the same shapes for every batch and never wait for a GPU, so
    that a training step can be recorded as a CUDA graph.
    """

    n_items: int
    window: int
    graphable: ClassVar[bool] = False

    def encode(self, queries: Queries) -> Tensor:
        """B queries -> context (B, D)."""
        raise NotImplementedError(f"{type(self).__name__} must implement encode(queries)")

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        """Context (B, D) and items, (B, n) each query's own or (n,) shared by all -> logits (B, n). From the scores of all
        items, where a model has no shorter way."""
        scores = self.score_all(context)
        return scores[:, items] if items.dim() == 1 else scores.gather(1, items)

    def score_all(self, context: Tensor) -> Tensor:
        """Context (B, D) -> logits of all items (B, n_items)."""
        raise NotImplementedError(f"{type(self).__name__} must implement score_all(context)")

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Logits (B, P) and (B, N) -> the loss of each query (B,)."""
        raise NotImplementedError(f"{type(self).__name__} must implement base_loss(positive, negative)")

    def hint(self, context: Tensor) -> Tensor:
        """Context (B, D) -> what a teacher may show of its representation of the query (B, H)."""
        raise NotImplementedError(f"{type(self).__name__} has no hint(context): its representations cannot be distilled")

    def item_hint(self, items: Tensor) -> Tensor:
        """Items (n,) -> what a teacher may show of its representation of them (n, H)."""
        raise NotImplementedError(f"{type(self).__name__} has no item_hint(items): its representations cannot be distilled")


class DotProducts(torch.autograd.Function):
    """<context_b, table_i> + bias_i of every query's own items, on a CPU: context (B, D), table (n_items, D), bias (n_items,)
    or None, items (B, n) int32, which are sorted in half the time of long ones -> (B, n).

    PyTorch multiplies one small matrix for each query, and adds the gradients of the B n item vectors to their table one by
    one. Here they are products with a column of ones, and the gradients, contexts times numbers, are summed item by item
    (unless they are few): a fifth of the time for lists of 80 items, two thirds for the 4 of a training step. The same
    function and gradient but for rounding.
    """

    @staticmethod
    def forward(ctx, context: Tensor, table: Tensor, bias: Tensor | None, items: Tensor) -> Tensor:
        """The scores, (B, n)."""
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
        """The gradient of every argument that has one."""
        context, table, items = ctx.saved_tensors
        flat, weights = items.flatten(), gradient.flatten()
        of_context = F.embedding_bag(items, table, mode="sum", per_sample_weights=gradient.contiguous())
        if items.numel() * context.shape[1] < FEW:
            of_table = torch.zeros_like(table).index_add_(0, flat, (gradient.unsqueeze(2) * context.unsqueeze(1)).flatten(0, 1))
        else:
            place = flat.sort(stable=True).indices
            counts = torch.bincount(flat, minlength=len(table))
            of_table = F.embedding_bag(
                place // items.shape[1], context, counts.cumsum(0) - counts, mode="sum",
                per_sample_weights=weights.index_select(0, place),
            )  # fmt: skip
        of_bias = torch.bincount(flat, weights, len(table)).to(table.dtype) if ctx.has_bias else None
        return of_context, of_table, of_bias, None


class DotProductModel(Model):
    """A model whose score is <context, item vector> + item bias: set ``item_factors`` and ``item_bias``.

    item_factors: Embedding (n_items, D); item_bias: Parameter (n_items,), or None for a model without.
    """

    item_factors: nn.Embedding
    item_bias: nn.Parameter | None

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        if items.dim() == 2 and not context.is_cuda:
            return DotProducts.apply(context, self.item_factors.weight, self.item_bias, items.int())
        factors = self.item_factors(items)
        if self.item_bias is None:
            return context @ factors.T if items.dim() == 1 else (factors @ context.unsqueeze(2)).squeeze(2)
        bias = F.embedding(items, self.item_bias[:, None]).squeeze(-1)  # the gradient of a gather beats indexing's
        if items.dim() == 1:
            return addmm(bias, context, factors.T)
        return baddbmm(bias.unsqueeze(2), factors, context.unsqueeze(2)).squeeze(2)

    def score_all(self, context: Tensor) -> Tensor:
        """Without gradients a CPU multiplies some items at a time: the same numbers, bit by bit, in three fifths of the time,
        because what a product writes then stays in a cache until it is whole."""
        if context.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._score_slice(context, slice(None))
        scores = context.new_empty((len(context), self.n_items))
        for start in range(0, self.n_items, TILE):
            part = slice(start, start + TILE)
            scores[:, part] = self._score_slice(context, part)
        return scores

    def _score_slice(self, context: Tensor, part: slice) -> Tensor:
        factors = self.item_factors.weight[part].T
        return context @ factors if self.item_bias is None else addmm(self.item_bias[part], context, factors)

    def hint(self, context: Tensor) -> Tensor:
        return context

    def item_hint(self, items: Tensor) -> Tensor:
        return self.item_factors(items)


def wants_fit(settings: object) -> bool:
    """Whether ``settings.build`` asks for what the model is fitted on: it has a parameter ``fit``."""
    return "fit" in inspect.signature(settings.build).parameters


def built(settings, fit: Interactions) -> Model:
    """The model that ``settings`` describe, for the users and items of ``fit``, not trained.

    The simple form is ``build(n_users, n_items)``. A model that needs more, such as who has what (a
    graph) or ``fit.item_features``, declares ``build(n_users, n_items, fit)`` and gets the fitted part.
    """
    known = {"fit": fit} if wants_fit(settings) else {}
    return settings.build(fit.n_users, fit.n_items, **known)


def has_hints(model: Model) -> bool:
    """Whether the model shows its representations, so that they can be distilled."""
    return type(model).hint is not Model.hint and type(model).item_hint is not Model.item_hint


def scores_single_items(model: Model) -> bool:
    """Whether the model can score some items without scoring all of them."""
    return type(model).score is not Model.score


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode inside, and back in its own afterwards, whatever happens."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def dropout(features: Tensor, p: float, training: bool) -> Tensor:
    """Dropout with p rounded to a multiple of 1/256 (at most 255/256): one random byte an element.

    PyTorch's own draws 32 random bits an element and took a seventh of a training step on a CPU; this one draws eight
    elements at once. For the usual p = 0.5 the distribution is the same. Uses torch's global generator.
    """
    if not training or p == 0:
        return features
    threshold = min(round(256 * p), 255)
    words = torch.empty(-(-features.numel() // 8), dtype=torch.int64, device=features.device)
    random = words.random_(-(2**63), None).view(torch.uint8)[: features.numel()].view_as(features)
    kept = torch.ge(random, threshold, out=torch.empty_like(features, requires_grad=False))
    return features * kept.mul_(256 / (256 - threshold))
