"""Methods of other papers than the three, one file a method; `rdcore.distill` has the same names."""

from rdcore.distill.followups.bd import BDSettings
from rdcore.distill.followups.cd import CDSettings, CollaborativeDistillation
from rdcore.distill.followups.dcd import DCDSettings
from rdcore.distill.followups.dllm2rec import DLLM2RecSettings
from rdcore.distill.followups.fit import FitSettings
from rdcore.distill.followups.freqd import FreqDSettings
from rdcore.distill.followups.ftd import FTDSettings
from rdcore.distill.followups.hetcomp import HetCompSettings
from rdcore.distill.followups.htd import HTDSettings
from rdcore.distill.followups.ir_rrd import IRRRDSettings
from rdcore.distill.followups.kd_ce import KDCESettings
from rdcore.distill.followups.pckd import PCKDSettings
from rdcore.distill.followups.rce_kd import RCEKDSettings
from rdcore.distill.followups.trajectories import Trajectories
from rdcore.distill.followups.unkd import UnKDSettings
from rdcore.distill.followups.vkd import VkDSettings

__all__ = [
    "BDSettings",
    "CDSettings",
    "CollaborativeDistillation",
    "DCDSettings",
    "DLLM2RecSettings",
    "FTDSettings",
    "FitSettings",
    "FreqDSettings",
    "HTDSettings",
    "HetCompSettings",
    "IRRRDSettings",
    "KDCESettings",
    "PCKDSettings",
    "RCEKDSettings",
    "Trajectories",
    "UnKDSettings",
    "VkDSettings",
]
