"""Ranking Distillation (Tang & Wang, KDD 2018)."""
