"""Distillation: what a student learns from a teacher's ranking, one file a method."""

from rdcore.distill.base import Batch, Distillation
from rdcore.distill.ranking_distillation import RankingDistillation, RDSettings
from rdcore.distill.weights import Discrepancy, Equal, Hybrid, Position, Reciprocal

__all__ = [
    "Batch",
    "Discrepancy",
    "Distillation",
    "Equal",
    "Hybrid",
    "Position",
    "RDSettings",
    "RankingDistillation",
    "Reciprocal",
]
