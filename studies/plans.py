"""Which experiments the tables and figures are made of, in the order they are owed; what is missing, and what is on record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from rdcore.distill import BothSettings
from rdcore.files import paths
from rdcore.store import runs
from rdcore.store.experiment import Experiment, choice_name
from studies.common.selection import Choice, chosen_epochs, read_selection, select
from studies.derrd import plan as derrd
from studies.one_protocol import plan as one_protocol
from studies.rd.ablations import ablation_runs, controls, unique
from studies.rd.plan import EXTENSION, PROFILES, Profile, baselines, fossil, trials

__all__ = ["EXTENSION", "PROFILES", "Profile", "fossil"]


def families(name: str) -> list[Profile]:
    """The profile with each model that is distilled."""
    return [PROFILES[name], fossil(PROFILES[name])]


def runs_of(profile: Profile, choices: Mapping[str, Choice]) -> list[Experiment]:
    """All runs of a profile in the order they are owed: the choices' (V), then the tables' (F), most wanted first.

    What depends on a choice that has not been made, or that lies at the border of its grid, is left out; `open_choices`
    says so in words.
    """
    teacher, student = choices.get(profile.named("T")), choices.get(profile.named("S"))
    stands = profile.named("T") in chosen_epochs(choices)
    plan = []
    for seed in profile.seeds["V"]:
        plan += [p.teacher("V", seed) for p in (profile, profile.reaching(teacher, "V"))]
        plan += [p.student("V", seed) for p in (profile, profile.reaching(student, "V"))]
        plan.append(profile.distilled("V", seed))
        if stands:
            plan.append(profile.taught_as_chosen("V", seed, choices))
    first, *others = profile.seeds["F"]
    plan += [profile.teacher("F", first), profile.student("F", first)]
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-hybrid", "RD-hybrid-normalised", "RD-position")]
    for seed in others:
        plan += [profile.teacher("F", seed), profile.student("F", seed), profile.distilled("F", seed)]
    for seed in profile.seeds["F"]:
        plan.append(profile.reaching(teacher, "F").teacher("F", seed))
        plan.append(profile.reaching(student, "F").student("F", seed))
        if stands:
            plan.append(profile.taught_as_chosen("F", seed, choices))
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-equal", "RD-reciprocal", "RD-discrepancy")]
    return unique(plan)


def table_runs(name: str, choices: Mapping[str, Choice]) -> list[Experiment]:
    """Every run behind the papers' tables in a profile: both models', the baselines', and the trials of settings."""
    profile = PROFILES[name]
    plan = [experiment for family in families(name) for experiment in runs_of(family, choices)]
    plan += baselines(profile, "F", profile.seeds["F"][0]).values()
    plan += [experiment for group in trials(profile).values() for experiment in group]
    return unique(plan)


def all_runs(name: str, choices: Mapping[str, Choice]) -> list[Experiment]:
    """Every run of a profile: those of the tables, then Fossil's ablations, then Caser's, then DE-RRD's and those
    of the one protocol (stage L)."""
    plan = table_runs(name, choices)
    plan += [experiment for family in reversed(families(name)) for experiment in ablation_runs(family)]
    return unique([*plan, *derrd.all_runs(name), *one_protocol.all_runs(name)])


def open_choices(choices: Mapping[str, Choice]) -> list[str]:
    """What still has to be chosen before every run of the plan is known, one sentence each."""
    said = []
    for role in (profile.named(role) for profile in families("paper") for role in ("T", "S", "RD-hybrid")):
        if role not in choices:
            said.append(f"no epoch is chosen for {role}: train its V runs, then `rdcore select`")
        elif choices[role].at_border:
            said.append(
                f"the best epoch of {role} is the last of its grid ({choices[role].epoch}): train its longer V run, then "
                "`rdcore select`"
            )
    return said


def title(experiment: Experiment) -> str:
    """One line that tells a run from every other of its profile."""
    taught = f", taught by epoch {experiment.teacher_epoch} of {experiment.teacher.key}" if experiment.teacher else ""
    if experiment.teacher and experiment.stage == "L":  # one label has runs with several weights
        method = experiment.distillation
        parts = (method.first, method.second) if isinstance(method, BothSettings) else (method,)
        taught += f", weight {' and '.join(f'{part.weight:g}' for part in parts)}"
    return f"{experiment.label}  {experiment.key}  {experiment.training.epochs} epochs{taught}"


def choices_of(profile: str) -> dict[str, Choice]:
    """The choices on file, which are those of profile paper; the others choose nothing."""
    return read_selection() if profile == "paper" else {}


def matching(profile: str, patterns: str = "") -> list[Experiment]:
    """The runs of a profile whose label or key contains one of the comma-separated ``patterns``; all without any.

    Raises ValueError that says what comes close when a pattern matches nothing.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    plan = all_runs(profile, choices_of(profile))
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


def choose() -> dict[str, Choice]:
    """The epochs of profile paper, chosen from the V runs that are finished here or committed."""
    wanted, finished = {}, _finished()
    for paper in families("paper"):
        first = paper.seeds["V"][0]
        for run in (paper.teacher("V", first), paper.student("V", first), paper.distilled("V", first)):
            wanted[paper.named(run.role)] = run
    return select(wanted, paper.seeds["V"], finished)


def paper_runs() -> list[Experiment]:
    """The paper-size runs, with the choices on file."""
    return all_runs("paper", read_selection())


def paper_records() -> list[runs.Record]:
    """The committed records of the paper-size tables, in the order of the plan; no ablation is among them."""
    plan = table_runs("paper", read_selection())
    return [runs.committed(experiment) for experiment in plan if runs.is_committed(experiment)]


def control_records() -> list[runs.Record]:
    """The committed records of Caser's controls on F that are in no table: RD with other lists, S with further negatives."""
    profile = PROFILES["paper"]
    planned = controls(profile, "F", profile.seeds["F"][0]).values()
    others = [run for run in planned if run.role.partition("-")[2] not in ("", "hybrid")]
    return [runs.committed(run) for run in others if runs.is_committed(run)]


def publish(experiments: Sequence[Experiment], choices: Mapping[str, Choice], *, replace: bool = False) -> list[Path]:
    """Copies the finished ones of these runs into data/replicated; returns the folders. Raises ValueError at one that is
    published with other numbers, unless ``replace`` (`runs.publish`).

    Metrics of single users go with F runs alone, at the last epoch and at the chosen one. The agreement of a student with
    the teacher of its stage and seed is measured where that one is finished too.
    """
    folders = []
    for experiment in experiments:
        if runs.stored(experiment) is None:
            continue
        epochs = []
        if experiment.stage == "F":
            wanted = {experiment.training.epochs, chosen_epochs(choices).get(choice_name(experiment.description))}
            epochs = sorted(wanted & set(experiment.evaluated_epochs))
        beside = None
        if experiment.role == "S":
            if experiment.stage == "L":
                teachers = [*derrd.teachers_of(experiment), *one_protocol.teachers_of(experiment)]
            else:
                like = [p for name in PROFILES for p in families(name)]
                like = [p for p in like if p.student(experiment.stage, experiment.seed) == experiment]
                teachers = [p.teacher(experiment.stage, experiment.seed) for p in like]
            beside = next((teacher for teacher in teachers if runs.stored(teacher)), None)
        folders.append(runs.publish(experiment, epochs, teacher=beside, replace=replace))
    return folders


def _finished() -> list[runs.Record]:
    """Every run that is finished in the local store, and every committed record of another."""
    local = {file.parent.name: runs.Run(file.parent) for file in paths.runs().glob("*/DONE")}
    known = [runs.Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    found = {record.key: record for record in known} | local
    return [found[key] for key in sorted(found)]
