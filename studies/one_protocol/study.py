"""All methods under one protocol, as a study (studies/common/study.py): notebook 09."""

from __future__ import annotations

from rdcore.store.experiment import Experiment
from studies.common import plan as plans
from studies.common.profiles import PROFILES
from studies.one_protocol.plan import all_runs as runs
from studies.one_protocol.results import findings, headline, results, tables, write_tables

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of", "write_tables"]


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.one_protocol])
