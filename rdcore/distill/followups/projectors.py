"""What FreqD and Fit project the student's vectors with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """The mean of ``count`` MLPs from the student's vectors to the teacher's: (n, d_s) -> (n, d_t).

    Each is linear, ReLU, linear, with ``dropout`` in front of both layers; without a ``hidden`` size
    it is linear alone, and ``bias`` says whether it has one.
    """

    def __init__(
        self, d_s: int, d_t: int, hidden: int | None, count: int = 1, dropout: float = 0.0,
        bias: bool = True,
    ):  # fmt: skip
        super().__init__()

        def made() -> nn.Module:
            if hidden is None:
                return nn.Linear(d_s, d_t, bias=bias)
            first, second = nn.Linear(d_s, hidden), nn.Linear(hidden, d_t)
            return nn.Sequential(nn.Dropout(dropout), first, nn.ReLU(), nn.Dropout(dropout), second)

        self.parts = nn.ModuleList(made() for _ in range(count))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (n, d_s) -> (n, d_t)."""
        return torch.stack([part(vectors) for part in self.parts]).mean(0)
