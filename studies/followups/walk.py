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


def _methods(
    *, K: int, depth: int, experts: int, anneal_epochs: int, neighbours: int, weights: Mapping[str, float]
) -> dict[str, Any]:
    """Role -> settings: lists of ``depth``, of which ``K`` items are taught, and so many ``experts``."""
    of_users = RRDSettings(K=K, L=K, depth=depth, weight=weights["RRD"])
    de = DESettings(M=experts, anneal_epochs=anneal_epochs, weight=weights["PCKD"])
    w = weights
    return {
        "KD-CE": KDCESettings(K=K, weight=w["KD-CE"]),
        "CD": CDSettings(samples=K, depth=depth, weight=w["CD"]),
        "DCD": DCDSettings(samples=K, depth=depth, item_depth=depth, weight=w["DCD"], item_weight=w["DCD"] / 2),
        "IR-RRD": IRRRDSettings(users=of_users, K=K, L=K, depth=depth, weight=w["IR-RRD"]),
        "UnKD": UnKDSettings(depth=depth, weight=w["UnKD"]),
        "HetComp": HetCompSettings(K=max(K, 10), cut=K, weight=w["HetComp"]),
        "RCE-KD": RCEKDSettings(K=K, L=K, depth=depth, weight=w["RCE-KD"]),
        "DLLM2Rec": DLLM2RecSettings(K=min(K, 10), weight=w["DLLM2Rec"]),
        "FTD": FTDSettings(weight=w["FTD"]),
        "HTD": HTDSettings(K=experts, anneal_epochs=anneal_epochs, weight=w["HTD"]),
        "PCKD": PCKDSettings(experts=de, depth=depth),
        "FreqD": FreqDSettings(neighbours=neighbours, weight=w["FreqD"]),
        "Fit": FitSettings(weight=w["Fit"]),
        "VkD": VkDSettings(weight=w["VkD"]),
    }


OTHER_SEEDS = (2, 3)
"""Of further students without a teacher: how far a seed alone moves the result."""

RELEASED = {
    "KD-CE": 1.0, "CD": 0.1, "RRD": 1e-3, "DCD": 1e-3, "IR-RRD": 5e-4, "UnKD": 1.0, "HetComp": 5e-3, "RCE-KD": 500.0,
    "DLLM2Rec": 0.8, "FTD": 1e-3, "HTD": 1e-3, "PCKD": 0.05, "FreqD": 0.5, "Fit": 0.05, "VkD": 5e-4,
}  # fmt: skip

PLANS: Mapping[str, Plan] = {
    "smoke": replace(
        PROFILES["smoke"].derrd[0],
        methods=_methods(K=5, depth=20, experts=3, anneal_epochs=20, neighbours=3, weights=RELEASED), seeds={"L": (1,)},
    ),
    "small": replace(
        PROFILES["small"].derrd[0],
        methods=_methods(K=20, depth=100, experts=4, anneal_epochs=56, neighbours=5, weights=RELEASED | {"RRD": 0.1}),
        seeds={"L": (1,)},
    ),
}  # fmt: skip
