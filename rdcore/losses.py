"""Losses of single queries, as pure functions of logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# Of a score that does not count: its exponential is 0, and a difference of two is still a number.
NOT_THERE = -1e30


def log_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Point-wise log loss, summed over a query's items: (B, P), (B, N) logits -> (B,).

    ``-sum log sigmoid(positive) - sum log(1 - sigmoid(negative))``, the ranking loss L^R of Tang & Wang (KDD 2018). The
    official code takes the logarithm of a sigmoid, which is infinite from logits of about 88 on; softplus is the same
    function without the overflow.

    >>> import torch
    >>> log_loss(torch.tensor([[0.0]]), torch.tensor([[0.0, 100.0]]))
    tensor([101.3863])
    """
    return F.softplus(-positive).sum(1) + F.softplus(negative).sum(1)


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking, summed over a query's pairs: (B, P), (B, N) logits -> (B,).

    ``-sum_p sum_n log sigmoid(positive_p - negative_n)`` (Rendle et al., UAI 2009).

    >>> import torch
    >>> bpr_loss(torch.tensor([[1.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([1.3863])
    """
    return F.softplus(negative.unsqueeze(1) - positive.unsqueeze(2)).sum((1, 2))
