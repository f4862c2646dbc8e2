"""Models that came after the three papers, one file per model; `rdcore.models` has the same names."""

from rdcore.models.more.ease import EASE, EASESettings
from rdcore.models.more.gf_cf import GFCF, GFCFSettings
from rdcore.models.more.ials import IALS, IALSSettings
from rdcore.models.more.lightgcn import LightGCN, LightGCNSettings
from rdcore.models.more.sasrec import SASRec, SASRecSettings

__all__ = [
    "EASE",
    "EASESettings",
    "GFCF",
    "GFCFSettings",
    "IALS",
    "IALSSettings",
    "LightGCN",
    "LightGCNSettings",
    "SASRec",
    "SASRecSettings",
]
