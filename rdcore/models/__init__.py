"""Recommenders: one file for each model; base.py says what a model is."""

from rdcore.models import more
from rdcore.models.base import DotProductModel, Model
from rdcore.models.bpr_mf import BPRMF, BPRMFSettings
from rdcore.models.caser import Caser, CaserSettings
from rdcore.models.fossil import Fossil, FossilSettings
from rdcore.models.more import *  # noqa: F403
from rdcore.models.neumf import NeuMF, NeuMFSettings
from rdcore.models.popularity import Popularity, PopularitySettings

__all__ = [
    *more.__all__, "BPRMF", "BPRMFSettings", "Caser", "CaserSettings", "DotProductModel", "Fossil", "FossilSettings",
    "Model", "NeuMF", "NeuMFSettings", "Popularity", "PopularitySettings",
]  # fmt: skip
