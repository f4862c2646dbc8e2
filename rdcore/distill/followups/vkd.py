"""VkD (Miles, Elezi, Deng, CVPR 2024, arXiv 2403.06213) as a control: feature matching with an
orthogonal projection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from rdcore.checks import flag, number
from rdcore.distill.de import hint_sizes
from rdcore.distill.followups.fit import UniformFeatures
from rdcore.distill.followups.ftd import both_show_vectors
from rdcore.models.base import Model
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class VkDSettings(Settings):
    """How vectors are compared. The defaults are those of the released configuration for MF on
    CiteULike (woriazzc/KDs a3a7a64)."""

    revision = 1

    weight: float = 5e-4
    """Factor of a sum over the drawn users and items."""
    centred: bool = True
    """Whether the mean of the teacher's drawn vectors is taken away from them."""
    unit: bool = False
    """Whether both vectors are brought to length 1 before they are compared."""

    def __post_init__(self):
        number("weight", self.weight)
        for name in ("centred", "unit"):
            flag(name, getattr(self, name))

    def build(self, student: Model, teacher: Model) -> UniformFeatures:
        """The projections have orthonormal columns, or rows where the student's vectors are the
        larger ones, at the start and after every step."""
        both_show_vectors("VkD", student, teacher)
        sizes = zip(hint_sizes(student), hint_sizes(teacher), strict=True)
        made = (orthogonal(nn.Linear(s, t, bias=False)) for s, t in sizes)
        return UniformFeatures(self.weight, *made, centred=self.centred, unit=self.unit)
