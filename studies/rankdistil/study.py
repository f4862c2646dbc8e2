"""RankDistil as a study (studies/common/study.py): notebook 08, which trains no model; its losses are compared in 09."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rdcore.store.experiment import Experiment
from studies.common.study import Result


def runs(profile: str) -> list[Experiment]:
    """None: its scores are free parameters, learnt in the notebook."""
    return []


def teachers_of(student: Experiment) -> list[Experiment]:
    """None."""
    return []


def tables() -> dict[str, pd.DataFrame]:
    """None."""
    return {}


def write_tables() -> list[Path]:
    """None."""
    return []


def headline() -> list[Result]:
    """None: the paper's data have features, which no model here takes."""
    return []


def findings() -> list[str]:
    """None."""
    return []


def results() -> str:
    """No section."""
    return ""
