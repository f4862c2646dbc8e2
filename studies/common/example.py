"""What models of some settings can do, known before anything is trained."""

from __future__ import annotations

from functools import cache
from typing import Any

from rdcore.datasets import synthetic
from rdcore.models.base import Model, built


@cache
def example(settings: Any) -> Model:
    """A model of these settings on made-up data, not trained: it shows what the real one can do."""
    data = synthetic.generate(n_users=4, n_items=6, min_length=3, max_length=4, seed=1)
    return built(settings, data) if hasattr(settings, "build") else settings.fit(data)
