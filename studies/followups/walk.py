"""The runs of notebook 12: a small student taught by every later method, with the models and the training of DE-RRD's
plans, whose T and S they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rdcore.distill import (
    CDSettings,
    DCDSettings,
    DESettings,
    DLLM2RecSettings,
    FitSettings,
    FreqDSettings,
    FTDSettings,
    HetCompSettings,
    HTDSettings,
    IRRRDSettings,
    KDCESettings,
    PCKDSettings,
    RCEKDSettings,
    RRDSettings,
    UnKDSettings,
    VkDSettings,
)
from studies.common.plan import Plan
from studies.common.profiles import PROFILES


def _methods(*, K: int, depth: int, experts: int, anneal_epochs: int, neighbours: int) -> dict[str, Any]:
    """Role -> settings with the released weights: lists of ``depth``, of which ``K`` items are taught, and
    so many ``experts``."""
    return {
        "KD-CE": KDCESettings(K=K),
        "CD": CDSettings(samples=K, depth=depth),
        "RCE-KD": RCEKDSettings(K=K, L=K, depth=depth),
        "DCD": DCDSettings(samples=K, depth=depth, item_depth=depth),
        "IR-RRD": IRRRDSettings(users=RRDSettings(K=K, L=K, depth=depth), K=K, L=K, depth=depth),
        "UnKD": UnKDSettings(depth=depth),
        "HetComp": HetCompSettings(K=max(K, 10), cut=K),
        "DLLM2Rec": DLLM2RecSettings(K=min(K, 10)),
        "FTD": FTDSettings(),
        "HTD": HTDSettings(K=experts, anneal_epochs=anneal_epochs),
        "PCKD": PCKDSettings(experts=DESettings(M=experts, anneal_epochs=anneal_epochs, weight=0.05), depth=depth),
        "FreqD": FreqDSettings(neighbours=neighbours),
        "Fit": FitSettings(),
        "VkD": VkDSettings(),
    }


def weight(settings: Any) -> float:
    """The weight of a method's settings: PCKD's is that of its experts."""
    return settings.experts.weight if isinstance(settings, PCKDSettings) else settings.weight


def scaled(settings: Any, factor: float) -> Any:
    """The settings with every weight times ``factor``, to one digit."""

    def times(value: float) -> float:
        return float(f"{value * factor:.1g}")

    if isinstance(settings, PCKDSettings):
        return replace(settings, experts=scaled(settings.experts, factor))
    changed = {"weight": times(settings.weight)}
    if isinstance(settings, DCDSettings):
        changed["item_weight"] = times(settings.item_weight)
    if isinstance(settings, IRRRDSettings):
        changed["users"] = scaled(settings.users, factor)
    return replace(settings, **changed)


OTHER_SEEDS = (2, 3)
"""Of further students without a teacher: how far a seed alone moves the result."""

_SMALL = {
    "smoke": _methods(K=5, depth=20, experts=3, anneal_epochs=20, neighbours=3),
    "small": _methods(K=20, depth=100, experts=4, anneal_epochs=56, neighbours=5),
}

PLANS: Mapping[str, Plan] = {
    name: replace(PROFILES[name].derrd[0], methods=methods, seeds={"L": (1,)}) for name, methods in _SMALL.items()
}
