"""The paper-size runs: which experiments make the committed tables, with the official settings."""

from __future__ import annotations

import json

from rdcore import data, paths
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.experiment import Experiment
from rdcore.models import CaserSettings

# Ranking Distillation's weighting schemes with the official K = 10, lambda = 1, mu = 0.1 and 100 rank samples.
# Hybrid is not renormalised in the released code; the paper's formula is 'RD-hybrid-normalised'.
SCHEMES = {
    "RD-hybrid": Hybrid(),
    "RD-hybrid-normalised": Hybrid(normalise=True),
    "RD-position": Position(),
    "RD-equal": Equal(),
    "RD-reciprocal": Reciprocal(),
    "RD-discrepancy": Discrepancy(),
}
DIMS = {"T": 100, "S": 50}
SEEDS = {"V": [101], "F": [1, 2, 3]}


def teacher(stage: str, seed: int, **changes) -> Experiment:
    """Caser, d = 100, 50 epochs, on Gowalla; ``changes`` replace fields (a student: role and model)."""
    fields = {
        "dataset": "gowalla", "data_hash": data.content_hash("gowalla"), "stage": stage, "seed": seed,
        "role": "T", "model": CaserSettings(dim=DIMS["T"]),
    }  # fmt: skip
    return Experiment(**(fields | changes))


def student(stage: str, seed: int) -> Experiment:
    """The same Caser at d = 50, without a teacher."""
    return teacher(stage, seed, role="S", model=CaserSettings(dim=DIMS["S"]))


def distilled(stage: str, seed: int, scheme: str = "RD-hybrid", teacher_epoch: int = 50) -> Experiment:
    """The student taught by the teacher of its stage and seed."""
    return teacher(
        stage, seed, role=scheme, model=CaserSettings(dim=DIMS["S"]), teacher=teacher(stage, seed),
        teacher_epoch=teacher_epoch, distillation=RDSettings(weights=SCHEMES[scheme]),
    )  # fmt: skip
