"""Draws that several of the later methods share."""

from __future__ import annotations

import torch
from torch import Tensor

from rdcore.eval.topk import block_rows


def weighted_places(
    log_weights: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """``size`` different places of every row, drawn one after the other with probability
    proportional to the row's weights: log_weights (n, m), minus infinity for what is never drawn ->
    places (n, size) int64, in no particular order, and which of them are real (n, size) bool.

    Where a row has fewer than ``size`` places with a weight, all of them are drawn, and the others
    are not real.
    """
    places, real = [], []
    for part in log_weights.split(block_rows(4 * log_weights.shape[1], len(log_weights) or 1)):
        noise = torch.rand(
            part.shape, dtype=torch.float64, generator=generator, device=generator.device
        )
        noise.neg_().log1p_().neg_().log_()  # minus a Gumbel variate
        values, found = (part - noise).topk(size, dim=1)
        places.append(found)
        real.append(values > -torch.inf)
    return torch.cat(places), torch.cat(real)
