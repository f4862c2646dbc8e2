"""Several teachers in one: what HetComp learns from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rdcore.models.base import Model


class Trajectories(Model):
    """Teachers of any kinds, each as the checkpoints of its training, the earliest first. It is
    given to HetComp as the teacher, and answers nothing by itself.

    Raises ValueError where the teachers have no, or not equally many, checkpoints, or rank
    different items.
    """

    def __init__(self, teachers: Sequence[Sequence[Model]]):
        super().__init__()
        lengths = sorted({len(checkpoints) for checkpoints in teachers})
        if len(lengths) != 1 or lengths == [0]:
            raise ValueError(f"teachers must have equally many checkpoints, got {lengths}")
        models = [model for checkpoints in teachers for model in checkpoints]
        if len({model.n_items for model in models}) > 1:
            raise ValueError("teachers must rank the same items")
        self.n_items, self.window = models[0].n_items, max(model.window for model in models)
        self.teachers = nn.ModuleList(nn.ModuleList(checkpoints) for checkpoints in teachers)
