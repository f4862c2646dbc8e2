"""Distillation: what a student learns from a teacher's ranking, one file a method."""

from rdcore.distill import followups
from rdcore.distill.base import Batch, Distillation
from rdcore.distill.both import Both, BothSettings
from rdcore.distill.de import DESettings, DistillationExperts
from rdcore.distill.followups import *  # noqa: F403
from rdcore.distill.rankdistil import RankDistil, RankDistilSettings
from rdcore.distill.rd import Discrepancy, Equal, Hybrid, Position, RankingDistillation, RDSettings, Reciprocal
from rdcore.distill.rrd import RelaxedRankingDistillation, RRDSettings

__all__ = [
    *followups.__all__, "Batch", "Both", "BothSettings", "DESettings", "Discrepancy", "Distillation",
    "DistillationExperts", "Equal", "Hybrid", "Position", "RDSettings", "RRDSettings", "RankDistil",
    "RankDistilSettings", "RankingDistillation", "Reciprocal", "RelaxedRankingDistillation",
]  # fmt: skip
