"""RankDistil as a study (studies/common/study.py): notebook 08, which trains no model; its losses are compared in 09."""

from __future__ import annotations

from rdcore.store.experiment import Experiment


def runs(profile: str) -> list[Experiment]:
    """None: its scores are free parameters, learnt in the notebook."""
    return []


def teachers_of(student: Experiment) -> list[Experiment]:
    """None."""
    return []
