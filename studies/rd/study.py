"""Ranking Distillation as a study (studies/common/study.py): notebooks 01 to 06."""

from __future__ import annotations

from rdcore.store.experiment import Experiment
from studies.common import plan as plans
from studies.common.profiles import PROFILES
from studies.rd.ablations import ablation_runs
from studies.rd.plan import choices_of, table_runs
from studies.rd.results import findings, headline, results, tables, write_tables

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of", "write_tables"]


def runs(profile: str) -> list[Experiment]:
    """The runs of the tables, then Fossil's ablations, then Caser's."""
    planned = table_runs(profile, choices_of(profile))
    return plans.unique([*planned, *(run for plan in reversed(PROFILES[profile].rd) for run in ablation_runs(plan))])


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its stage and seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.rd])
