"""Recommenders: one file for each model; base.py says what a model is."""

from rdcore.models.base import DotProductModel, Model
from rdcore.models.bpr_mf import BPRMF, BPRMFSettings
from rdcore.models.caser import Caser, CaserSettings
from rdcore.models.fossil import Fossil, FossilSettings
from rdcore.models.item_cf import ItemCF, ItemCFSettings
from rdcore.models.more.ease import EASE, EASESettings
from rdcore.models.more.gf_cf import GFCF, GFCFSettings
from rdcore.models.more.ials import IALS, IALSSettings
from rdcore.models.more.lightgcn import LightGCN, LightGCNSettings
from rdcore.models.more.sasrec import SASRec, SASRecSettings
from rdcore.models.neumf import NeuMF, NeuMFSettings
from rdcore.models.popularity import Popularity, PopularitySettings

__all__ = [
    "BPRMF",
    "BPRMFSettings",
    "Caser",
    "CaserSettings",
    "DotProductModel",
    "EASE",
    "EASESettings",
    "Fossil",
    "FossilSettings",
    "GFCF",
    "GFCFSettings",
    "IALS",
    "IALSSettings",
    "ItemCF",
    "ItemCFSettings",
    "LightGCN",
    "LightGCNSettings",
    "Model",
    "NeuMF",
    "NeuMFSettings",
    "Popularity",
    "PopularitySettings",
    "SASRec",
    "SASRecSettings",
]
