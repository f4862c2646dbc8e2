"""What a model is: encode a query once, then score any items for it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore import fast
from rdcore.checks import checked_scores, missing, short
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries

TILE = 1024  # items that are multiplied at a time on a CPU: their scores stay in its cache


class Model(nn.Module):
    """A recommender over items 0..n_items-1 (n_items is the padding id, which is never ranked). Scores are logits."""

    n_items: int
    window: int
    """How many past items the model looks at; 0: a model without memory."""
    full_windows: ClassVar[bool] = False
    """Whether it is trained only where ``window`` items come before the target, as the released Caser is. Otherwise it is
    trained on every prefix of at least one item, padded on the left."""
    graphable: ClassVar[bool] = False
    """Whether encoding and scoring single items have the same shapes for every batch and never wait for a GPU, so that a
    training step can be recorded as a CUDA graph."""

    def encode(self, queries: Queries) -> Tensor:
        """B queries -> context (B, D)."""
        raise missing(self, "encode(queries)")

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        """Context (B, D) and items, (B, n) each query's own or (n,) shared by all -> logits (B, n). By default from the
        scores of all items."""
        scores = checked_scores(self, self.score_all(context), len(context))
        return scores[:, items] if items.dim() == 1 else scores.gather(1, items)

    def score_all(self, context: Tensor) -> Tensor:
        """Context (B, D) -> logits of all items (B, n_items)."""
        raise missing(self, "score_all(context)")

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Logits (B, P) and (B, N) -> the loss of each query (B,)."""
        raise missing(self, "base_loss(positive, negative)")

    def query_loss(self, queries: Queries, context: Tensor, target: Tensor, negatives: Tensor) -> Tensor | None:
        """The loss of each query (B,), of a model whose loss needs more than logits of the target (B,) and of the training
        loop's negatives (B, n): all items, say, or vectors. None, the default, of a model whose loss is `base_loss`."""
        return None

    def served(self) -> Model:
        """The model that is exported in place of this one, with the same scores: itself, unless it needs more to train than
        to answer."""
        return self

    def hint(self, context: Tensor) -> Tensor:
        """Context (B, D) -> what a teacher may show of its representation of the query (B, H)."""
        raise NotImplementedError(f"{type(self).__name__} has no hint(context): its representations cannot be distilled")

    def item_hint(self, items: Tensor) -> Tensor:
        """Items (n,) -> what a teacher may show of its representation of them (n, H)."""
        raise NotImplementedError(f"{type(self).__name__} has no item_hint(items): its representations cannot be distilled")


def dot_products(context: Tensor, vectors: Tensor) -> Tensor:
    """Context (B, D) with each query's own vectors (B, n, D) -> (B, n)."""
    return (vectors * context.unsqueeze(1)).sum(2)


class DotProductModel(Model):
    """A model whose score is <context, item vector> + item bias: set the two attributes."""

    item_factors: nn.Embedding
    """(n_items, D)."""
    item_bias: nn.Parameter | None
    """(n_items,), or None for a model without."""

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        if items.dim() == 2 and items.shape[1] >= fast.MANY and fast.applies(context):
            return fast.dot_products(context, self.item_factors.weight, self.item_bias, items)
        vectors = self.item_factors(items)
        scores = context @ vectors.T if items.dim() == 1 else dot_products(context, vectors)
        if self.item_bias is None:
            return scores
        # A gather whose gradient is faster than that of item_bias[items].
        return scores + F.embedding(items, self.item_bias[:, None]).squeeze(-1)

    def score_all(self, context: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not fast.applies(context):
            return self._score_part(context, slice(None))
        scores = context.new_empty((len(context), self.n_items))
        for start in range(0, self.n_items, TILE):
            part = slice(start, start + TILE)
            scores[:, part] = self._score_part(context, part)
        return scores

    def _score_part(self, context: Tensor, part: slice) -> Tensor:
        vectors = self.item_factors.weight[part]
        if self.item_bias is None:
            return context @ vectors.T
        return torch.addmm(self.item_bias[part], context, vectors.T)

    def hint(self, context: Tensor) -> Tensor:
        return context

    def item_hint(self, items: Tensor) -> Tensor:
        return self.item_factors(items)


def wants_fit(settings: object) -> bool:
    """Whether ``settings.build`` asks for what the model is fitted on: it has a parameter ``fit``."""
    return "fit" in inspect.signature(settings.build).parameters


def built(settings, fit: Interactions) -> Model:
    """The model that ``settings`` describe, for the users and items of ``fit``, not trained.

    The simple form is ``build(n_users, n_items)``. A model that needs more, such as who has what (a graph) or
    ``fit.item_features``, declares ``build(n_users, n_items, fit)`` and gets the fitted part.
    """
    known = {"fit": fit} if wants_fit(settings) else {}
    model = settings.build(fit.n_users, fit.n_items, **known)
    check_model(model, fit.n_items)
    return model


def check_model(model: Model, n_items: int) -> None:
    """Raises ValueError where a model does not say how far it looks back, or ranks other items."""
    for name, least, what in (("window", 0, "how many past items it looks at"), ("n_items", 1, "how many items it ranks")):
        value = getattr(model, name, None)
        if type(value) is not int or value < least:
            raise ValueError(f"{type(model).__name__}.{name} must be an integer >= {least}, got {short(value)}: {what}")
    if model.n_items != n_items:
        raise ValueError(f"{type(model).__name__} ranks {model.n_items} items, and the data have {n_items}")


def has_hints(model: Model) -> bool:
    """Whether the model shows its representations, so that they can be distilled."""
    return type(model).hint is not Model.hint and type(model).item_hint is not Model.item_hint


def scores_single_items(model: Model) -> bool:
    """Whether the model can score some items without scoring all of them."""
    return type(model).score is not Model.score


def must_score_single_items(teacher: Model, who: str) -> None:
    """Raises ValueError where ``who`` asks the teacher for what it cannot give."""
    if not scores_single_items(teacher):
        raise ValueError(f"{who} asks the teacher for scores of single items, which {type(teacher).__name__} cannot give: take "
                         "another teacher, or define score(context, items) in a class of your own")  # fmt: skip


@contextlib.contextmanager
def evaluating(model: Model) -> Iterator[Model]:
    """The model, in evaluation mode inside and back in its own mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)
