"""Any teacher, any student, as a study (studies/common/study.py): notebook 11."""

from __future__ import annotations

from pathlib import Path

from rdcore.store.experiment import Experiment
from studies.common.plan import unique
from studies.flexibility.matrices import EVERY_MOMENT, MATRICES
from studies.flexibility.plan import chosen_on_file
from studies.flexibility.results import findings, headline, results, tables

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of", "write_tables"]


def runs(profile: str) -> list[Experiment]:
    """Every run of a profile's matrices and of their control in training order. What depends on trials that are not on file
    is left out."""
    every = (*MATRICES[profile], *EVERY_MOMENT[profile])
    return unique([run for matrix in every for run in matrix.runs(chosen_on_file(matrix))])


def teachers_of(student: Experiment) -> list[Experiment]:
    """None: a record has room for the agreement with one teacher, and here a student has six."""
    return []


def write_tables() -> list[Path]:
    """None: notebook 11 writes them."""
    return []
