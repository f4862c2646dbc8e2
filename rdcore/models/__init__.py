"""Recommenders: one file a model; base.py says what a model is."""

from rdcore.models.base import DotProductModel, Model
from rdcore.models.caser import Caser, CaserSettings

__all__ = ["Caser", "CaserSettings", "DotProductModel", "Model"]
