"""Distillation: what a student learns from a teacher's ranking, one file a method."""

from rdcore.distill.base import Batch, Distillation
from rdcore.distill.both import Both, BothSettings
from rdcore.distill.cd import CDSettings, CollaborativeDistillation
from rdcore.distill.de import DESettings, DistillationExperts
from rdcore.distill.followups.dcd import DCDSettings
from rdcore.distill.followups.freqd import FreqDSettings
from rdcore.distill.followups.ftd import FTDSettings
from rdcore.distill.followups.htd import HTDSettings
from rdcore.distill.followups.ir_rrd import IRRRDSettings
from rdcore.distill.followups.kd_ce import KDCESettings
from rdcore.distill.followups.pckd import PCKDSettings
from rdcore.distill.followups.rce_kd import RCEKDSettings
from rdcore.distill.followups.unkd import UnKDSettings
from rdcore.distill.rankdistil import RankDistil, RankDistilSettings
from rdcore.distill.rd import RankingDistillation, RDSettings
from rdcore.distill.rd_weights import Discrepancy, Equal, Hybrid, Position, Reciprocal
from rdcore.distill.rrd import RelaxedRankingDistillation, RRDSettings

__all__ = [
    "Batch",
    "Both",
    "BothSettings",
    "CDSettings",
    "CollaborativeDistillation",
    "DCDSettings",
    "DESettings",
    "Discrepancy",
    "Distillation",
    "DistillationExperts",
    "Equal",
    "FTDSettings",
    "FreqDSettings",
    "HTDSettings",
    "Hybrid",
    "IRRRDSettings",
    "KDCESettings",
    "PCKDSettings",
    "Position",
    "RCEKDSettings",
    "RDSettings",
    "RRDSettings",
    "RankDistil",
    "RankDistilSettings",
    "RankingDistillation",
    "Reciprocal",
    "RelaxedRankingDistillation",
    "UnKDSettings",
]
