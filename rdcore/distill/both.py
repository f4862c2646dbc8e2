"""A sum of two distillations: DE-RRD is DE, of representations, and RRD, of rankings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rdcore.checks import short
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.models.base import Model
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class BothSettings(Settings):
    """Settings of two different methods, each with its own weight."""

    revision = 1

    first: Any
    """Settings of the one: anything with ``build(student, teacher)``."""
    second: Any
    """Settings of the other."""

    def __post_init__(self):
        for name in ("first", "second"):
            value = getattr(self, name)
            if not hasattr(value, "build") or isinstance(value, BothSettings | type):
                raise ValueError(f"{name} must be the settings of one distillation, got {short(value)}")
        if _method(self.first) == _method(self.second):
            raise ValueError(f"first and second must be two methods, got {_method(self.first)} twice")

    def build(self, student: Model, teacher: Model) -> Both:
        return Both({_method(part): part.build(student, teacher) for part in (self.first, self.second)})


def _method(settings: object) -> str:
    return type(settings).__name__.removesuffix("Settings")


class Both(Distillation):
    """L = L_first + L_second, in the reduction both share; of the epoch's generator the first draws first.

    Made from name of the method -> distillation. Raises ValueError where one is none, or their reductions differ.
    """

    def __init__(self, parts: dict[str, Distillation]):
        super().__init__()
        if none := [name for name, part in parts.items() if not isinstance(part, Distillation)]:
            raise ValueError(f"the settings of {none[0]} must build a Distillation, got {short(parts[none[0]])}")
        reductions = {name: part.reduction for name, part in parts.items()}
        if len(set(reductions.values())) > 1:
            raise ValueError(f"first and second must have one reduction, got {reductions}: a sum of two has one scale")
        self.parts = nn.ModuleDict(parts)
        (self.reduction,) = set(reductions.values())

    @property
    def graphable(self) -> bool:
        return all(part.graphable for part in self.parts.values())

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        for part in self.parts.values():
            part.prepare(teacher, data, cache=cache, progress=progress)
        self.n_short = max(part.n_short for part in self.parts.values())

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        for part in self.parts.values():
            part.begin_epoch(student, epoch, n_batches, rng)

    def negatives(self, batch: Batch) -> Tensor | None:
        """Those of the first one that has some."""
        found = (part.negatives(batch) for part in self.parts.values())
        return next((negatives for negatives in found if negatives is not None), None)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        return sum(part.loss(student, batch, step, context) for part in self.parts.values())

    def log(self) -> dict:
        """What both log, under the name of the method: DE_temperature."""
        return {f"{name}_{key}": value for name, part in self.parts.items() for key, value in part.log().items()}
