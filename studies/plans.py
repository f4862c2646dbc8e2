"""All studies' runs: which there are in a profile, what matches a pattern, and copying finished ones into data/replicated."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import studies
from rdcore.distill import BothSettings
from rdcore.store import runs
from rdcore.store.experiment import Experiment, choice_name
from studies.common.plan import unique
from studies.common.profiles import PROFILES
from studies.common.selection import Choice, chosen_epochs


def all_runs(profile: str) -> list[Experiment]:
    """Every run of a profile, study by study in training order; what can wait (`later_runs`, where a room has it) last."""
    rooms = studies.rooms()
    later = [study.later_runs for study in rooms if hasattr(study, "later_runs")]
    return unique(run for runs in [*(study.runs for study in rooms), *later] for run in runs(profile))


def title(experiment: Experiment) -> str:
    """One line that tells a run from every other of its profile."""
    taught = f", taught by epoch {experiment.teacher_epoch} of {experiment.teacher.key}" if experiment.teacher else ""
    if experiment.teacher and experiment.stage == "L":  # runs with several weights share a label
        method = experiment.distillation
        parts = (method.first, method.second) if isinstance(method, BothSettings) else (method,)
        taught += f", weight {' and '.join(f'{part.weight:g}' for part in parts)}"
    return f"{experiment.label}  {experiment.key}  {experiment.training.epochs} epochs{taught}"


def matching(profile: str, patterns: str = "") -> list[Experiment]:
    """The runs of a profile whose label or key contains one of the comma-separated ``patterns``; all without any.

    Raises ValueError with the closest names when a pattern matches nothing.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    plan = all_runs(profile)
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(pattern in e.label or pattern in e.key for e in plan):
            words = dict.fromkeys(word for e in plan for word in (e.role, e.dataset, e.label))
            close = difflib.get_close_matches(pattern, words, cutoff=0.5)
            meant = f"Did you mean {' or '.join(close)}? " if close else ""
            raise ValueError(
                f"no run of profile {profile} has {pattern!r} in its label or key. {meant}Labels are like {plan[0].label}; "
                f"`rdcore train --profile {profile} --list` shows all"
            )
    return [e for e in plan if not wanted or any(pattern in e.label or pattern in e.key for pattern in wanted)]


def publish(experiments: Sequence[Experiment], choices: Mapping[str, Choice], *, replace: bool = False) -> list[Path]:
    """Copies the finished ones of these runs into data/replicated and returns the folders.

    Metrics of single users go with F runs alone, at the last epoch and at the chosen one. A student's
    agreement with its teacher is measured where a teacher of its stage and seed is finished too.

    Raises ValueError at a run that is published with other numbers, unless ``replace`` (`runs.publish`).
    """
    folders = []
    for experiment in experiments:
        if runs.stored(experiment) is None:
            continue
        epochs = []
        if experiment.stage == "F":
            wanted = {experiment.training.epochs, chosen_epochs(choices).get(choice_name(experiment.description))}
            epochs = sorted(wanted & set(experiment.evaluated_epochs))
        teachers = []
        if experiment.role == "S":
            teachers = [teacher for study in studies.rooms() for teacher in study.teachers_of(experiment)]
        finished = next((teacher for teacher in teachers if runs.stored(teacher)), None)
        folders.append(runs.publish(experiment, epochs, teacher=finished, replace=replace))
    return folders
