"""SASRec: self-attention over a user's last items (Kang and McAuley, ICDM 2018, arXiv
1808.09781)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore import fast
from rdcore.checks import flag, integer, one_of, within
from rdcore.data.queries import Queries
from rdcore.losses import log_loss
from rdcore.models.base import DotProductModel
from rdcore.settings import Settings, added, inert


@dataclass(frozen=True, kw_only=True)
class SASRecSettings(Settings):
    """Settings of SASRec. Size, blocks, heads and dropout as in "Turning Dross into Gold Loss"."""

    revision = 1

    dim: int
    """Size of all vectors; a multiple of ``heads``."""
    window: int = 50
    """How many of the user's last items it looks at."""
    blocks: int = 2
    """How many blocks of attention and feed-forward lie on each other."""
    heads: int = 1
    """Heads of every attention."""
    dropout: float = 0.1
    """p of every dropout: of inputs, attention weights and feed-forward nets."""
    norm: str = "original"
    """Where the layer norms are: 'original' (the paper's TensorFlow code), 'pre' or 'post' (both of
    pmixer/SASRec.pytorch)."""
    loss: str = "ce"
    """'ce': cross-entropy over all items. 'gbce': generalised BCE over the target and ``sampled``
    items (gSASRec). 'sampled-ce': cross-entropy over the same. 'bce': the paper's, with the
    negatives of the training loop, one of them as published: kept for comparison. It is expected to
    be weaker (Klenitskiy & Vasilev 2023; not measured here)."""
    sampled: int = 256
    """Items drawn uniformly for 'gbce' and 'sampled-ce': for all queries of a step together, or each."""
    shared: bool = added(True)
    """Whether a step's queries share one draw. False: each has its own, as in gSASRec."""
    calibration: float = 0.75
    """t of 'gbce', in [0, 1]; 0 is plain BCE."""
    tied: bool = added(True)
    """One table of items for input and output, as in SASRec. False: two, as in gSASRec; 'gbce' learns sooner with them."""

    def __post_init__(self):
        for name in ("dim", "window", "blocks", "heads", "sampled"):
            integer(name, getattr(self, name))
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), got {self.dim}")
        within("dropout", self.dropout, "[0, 1)")
        one_of("norm", self.norm, "original", "pre", "post")
        one_of("loss", self.loss, "ce", "gbce", "sampled-ce", "bce")
        within("calibration", self.calibration, "[0, 1]")
        flag("tied", self.tied)
        flag("shared", self.shared)
        if self.loss in ("ce", "bce"):
            inert(self, f"loss={self.loss!r}", "sampled", "shared")
        if self.loss != "gbce":
            inert(self, f"loss={self.loss!r}", "calibration")

    def build(self, n_users: int, n_items: int) -> SASRec:
        """An untrained model. It has nothing that depends on the number of users."""
        return SASRec(n_items, self)


def gbce_loss(positive: Tensor, negative: Tensor, n_items: int, calibration: float) -> Tensor:
    """Generalised BCE of every query: positive (B, 1), negative (B, k) logits -> (B,).

    [ beta softplus(-s+) + sum softplus(s-) ] / (k + 1) with beta = 1 - t (1 - alpha), alpha =
    k / (n_items - 1) and t = ``calibration`` (Petrov and Macdonald, RecSys 2023; as in their code,
    asash/gSASRec-pytorch 7e35028). Raises ValueError for one item, of which there are no negatives.
    """
    if n_items < 2:
        raise ValueError(f"n_items must be at least 2, got {n_items}: gBCE compares an item with others")
    k = negative.shape[1]
    beta = 1 - calibration * (1 - k / (n_items - 1))
    return (beta * F.softplus(-positive).sum(1) + F.softplus(negative).sum(1)) / (k + 1)


def sampled_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross-entropy of the positive among itself and the negatives: (B, 1), (B, k) -> (B,)."""
    logits = torch.cat([positive, negative], dim=1)  # (B, 1 + k)
    return logits.logsumexp(1) - positive.squeeze(1)


class Attention(nn.Module):
    """Scaled dot-product attention of ``heads`` heads: queries (B, m, d), the rest (B, n, d)."""

    def __init__(self, dim: int, heads: int, p: float):
        super().__init__()
        self.heads, self.p = heads, p
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, asking: Tensor, given: Tensor, allowed: Tensor) -> Tensor:
        """(B, m, d) from asking (B, m, d), given (B, n, d), allowed (B, 1, m, n) bool."""

        def split(x: Tensor) -> Tensor:  # (B, n, d) -> (B, heads, n, d / heads)
            return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

        query, key = split(self.query(asking)), split(self.key(given))
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5  # (B, heads, m, n)
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(3)
        mixed = fast.dropout(weights, self.p, self.training) @ split(self.value(given))
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a position-wise feed-forward net, each with a residual and a layer norm."""

    def __init__(self, settings: SASRecSettings):
        super().__init__()
        dim = settings.dim
        self.norm, self.p = settings.norm, settings.dropout
        self.attention = Attention(dim, settings.heads, settings.dropout)
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-8) for _ in range(2))

    def feed_forward(self, x: Tensor) -> Tensor:
        """(B, m, d) -> (B, m, d)."""
        hidden = fast.dropout(self.inner(x), self.p, self.training).relu()
        return fast.dropout(self.outer(hidden), self.p, self.training)

    def forward(self, x: Tensor, allowed: Tensor, last: bool) -> Tensor:
        """x (B, n, d) -> (B, n, d), or (B, 1, d) where only the ``last`` position is asked for."""
        first, second = self.norms
        asking, allowed = (x[:, -1:], allowed[:, :, -1:]) if last else (x, allowed)
        if self.norm == "post":
            y = first(asking + self.attention(asking, x, allowed))
            return second(y + self.feed_forward(y))
        if self.norm == "pre":
            y = asking + self.attention(first(asking), first(x), allowed)
            return y + self.feed_forward(second(y))
        asking = first(asking)  # the residual, too, is normalised; keys and values are not
        y = second(asking + self.attention(asking, x, allowed))
        return y + self.feed_forward(y)


class SASRec(DotProductModel):
    """score(j) = <h, e_j>, where h is the last position's output of a causal transformer over
    sqrt(d) e_i + p_t for the user's last ``window`` items i, and e is one table for input and
    output, or with ``tied=False`` another one for the input.

    Positions t are counted from the right end of the window, as in kang205/SASRec e373896, the
    paper's TensorFlow code. In antklen/sasrec-bert4rec-recsys23 29c272e they are counted from the
    left: a history shorter than the window gets other scores there, a full one the same.
    One training query is one prefix: in the original a row is a user's whole sequence, cut at
    ``window``, with a loss at each position.

    Initialisation: N(0, .02) for tables and weights, biases zero, as in antklen but for the
    matrices of queries, keys and values: there they keep PyTorch's Xavier form, with a standard
    deviation of .088 at 64 numbers. Padded positions are masked as keys (as in kang205/SASRec;
    pmixer/SASRec.pytorch lets them in), so that results do not depend on the padding.

    Other deviations: attention has an output projection in all forms (the TensorFlow code has
    none). Negatives of 'gbce' and 'sampled-ce' may be positives, even the target, as in gSASRec;
    antklen draws those of 'sampled-ce' from items that the user does not have, in its released runs
    one set for each sequence, every item once. kang205 trains with Adam's beta2 = .98, here it is .999.
    """

    def __init__(self, n_items: int, settings: SASRecSettings):
        super().__init__()
        self.n_items, self.window, self.dim = n_items, settings.window, settings.dim
        self.settings = settings
        self.item_factors = nn.Embedding(n_items, settings.dim)
        self.item_bias = None
        self.inputs = None if settings.tied else nn.Embedding(n_items, settings.dim)
        self.position = nn.Embedding(settings.window, settings.dim)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dim, eps=1e-8)
        for part in self.modules():
            if isinstance(part, nn.Embedding | nn.Linear):
                nn.init.normal_(part.weight, std=0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, d). Queries with histories of like lengths are encoded together."""
        history = queries.history(self.window)  # (B, L)
        if history.is_cuda or torch.compiler.is_compiling():
            return self.encode_history(history)
        length = (history != self.n_items).sum(1).clamp(min=1)
        group = length.log2().ceil()  # up to 1, 2, 4, 8, ... items
        rows = [torch.nonzero(group == each).squeeze(1) for each in group.unique()]
        parts = [self.encode_history(history[row, -int(length[row].max()) :]) for row in rows]
        return torch.cat(parts)[torch.cat(rows).argsort()] if rows else self.item_factors.weight[:0]

    def encode_history(self, history: Tensor) -> Tensor:
        """Last items (B, n), n <= window, most recent last, padded on the left -> (B, d)."""
        real = history != self.n_items  # (B, n)
        n = history.shape[1]
        table = self.item_factors if self.inputs is None else self.inputs
        x = table(history.clamp(max=self.n_items - 1)) * self.dim**0.5
        x = (x + self.position.weight[-n:]) * real.unsqueeze(2)  # (B, n, d)
        x = fast.dropout(x, self.settings.dropout, self.training)
        before = torch.ones(n, n, dtype=torch.bool, device=history.device).tril()
        itself = torch.eye(n, dtype=torch.bool, device=history.device)
        allowed = ((before & real.unsqueeze(1)) | itself).unsqueeze(1)  # (B, 1, n, n)
        for block in self.blocks[:-1]:
            x = block(x, allowed, last=False)
        return self.norm(self.blocks[-1](x, allowed, last=True)).squeeze(1)

    def base_loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss 'bce': as published the mean over positives plus the mean over negatives."""
        return log_loss(positive, negative)

    def query_loss(
        self, queries: Queries, context: Tensor, target: Tensor, negatives: Tensor
    ) -> Tensor | None:
        """The other losses, of every query (B,): context (B, d), target (B,). They leave the
        training loop's ``negatives`` aside."""
        settings = self.settings
        if settings.loss == "bce":
            return None
        if settings.loss == "ce":
            return F.cross_entropy(self.score_all(context), target, reduction="none")
        rows = () if settings.shared else (len(context),)
        drawn = torch.randint(self.n_items, (*rows, settings.sampled), device=context.device)
        positive = self.score(context, target[:, None])  # (B, 1)
        negative = self.score(context, drawn)  # (B, k)
        if settings.loss == "gbce":
            return gbce_loss(positive, negative, self.n_items, settings.calibration)
        return sampled_cross_entropy(positive, negative)
