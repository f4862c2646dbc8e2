"""Models that the three papers do not distil, one file per model; `rdcore.models` has the same names."""

from rdcore.models.more.ease import EASE, EASESettings
from rdcore.models.more.gf_cf import GFCF, GFCFSettings
from rdcore.models.more.ials import IALS, IALSSettings
from rdcore.models.more.item_cf import ItemCF, ItemCFSettings
from rdcore.models.more.lightgcn import LightGCN, LightGCNSettings
from rdcore.models.more.sasrec import SASRec, SASRecSettings

__all__ = [
    "EASE",
    "EASESettings",
    "GFCF",
    "GFCFSettings",
    "IALS",
    "IALSSettings",
    "ItemCF",
    "ItemCFSettings",
    "LightGCN",
    "LightGCNSettings",
    "SASRec",
    "SASRecSettings",
]
