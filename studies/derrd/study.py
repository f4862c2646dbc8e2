"""DE-RRD as a study (studies/common/study.py): notebook 07."""

from __future__ import annotations

from rdcore.store.experiment import Experiment
from studies.common import plan as plans
from studies.common.profiles import PROFILES
from studies.derrd.plan import all_runs as runs
from studies.derrd.results import findings, headline, results, tables, write_tables

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of", "write_tables"]


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.derrd])
