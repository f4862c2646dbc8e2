"""Notebook 11: every teacher with every student, by every method."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .layout import compare
from .rd import OF_USERS
from .records import Run, every_run, kept
from .tables import table

STUDENTS = {  # data, model -> name, size, and the weight decay of taught students
    ("ml-100k", "BPR"): ("BPR-MF", 8, 1e-5), ("gowalla", "BPR"): ("BPR-MF", 32, 1e-6),
    ("ml-100k", "Caser"): ("Caser", 10, 1e-6), ("gowalla", "Caser"): ("Caser", 32, 1e-6),
    ("ml-100k", "SASRec"): ("SASRec", 8, 1e-6), ("gowalla", "SASRec"): ("SASRec", 32, 1e-6),
}  # fmt: skip
EPOCHS = {"BPR": 16, "Caser": 10, "SASRec": 6}  # on Gowalla, where other studies have students alone too
TEACHERS = ("EASE", "ItemCF", "LightGCN", "SASRec", "Fossil", "Caser")
METHODS = ("RD-position", "RRD", "RankDistil-C")
EVERY = ", every row"
TRIALS = 2  # of each cell, and of the student alone


WITH_MEMORY = ("SASRec", "Fossil", "Caser")


def cell(run: Run) -> tuple[str, str] | None:
    """Teacher and method of a run; ("", "alone") of a student alone; None for a run of another study. The method has a mark
    where a teacher with a memory taught a student without at every training row."""
    student = STUDENTS.get((run.data, run.model))
    if student is None or run.dim != student[1] or run.d["model"].get("revision") == 1 and run.model == "Caser":
        return None
    if run.role == "S":
        return ("", "alone") if run.data != "gowalla" or run.epochs == EPOCHS[run.model] else None
    method, _, teacher = run.role.rpartition("-")
    control = run.model == "BPR" and teacher in WITH_MEMORY and run.d.get("teacher_at") != "last"
    return (teacher, method + EVERY * control) if method in METHODS and teacher in TEACHERS else None


def value(run: Run) -> float:
    """The weight of the distillation, or of a student alone the factor of its weight decay."""
    return run.weight if run.role != "S" else round(run.decay / STUDENTS[run.data, run.model][2], 6)


@kept
def found(stage: str) -> dict[tuple, dict[tuple, Run]]:
    """(data, model, teacher, method) -> (value, seed) -> run."""
    every: dict[tuple, dict[tuple, Run]] = {}
    for run in every_run():
        if run.stage == stage and (run.seed == 101 or stage == "F") and (what := cell(run)):
            every.setdefault((run.data, run.model, *what), {})[value(run), run.seed] = run
    return every


def chosen(place: tuple) -> float | None:
    """The value with the best MAP on the validation items, the smaller one of equals; None where a trial is missing."""
    tried = {tried: run.read("metrics")[-1]["MAP"] for (tried, _), run in found("V").get(place, {}).items()}
    return min(tried, key=lambda one: (-tried[one], one)) if len(tried) == TRIALS else None


def keys(place: tuple) -> dict[str, str]:
    data, model, teacher, method = place
    return {"dataset": data, "teacher": teacher, "student": STUDENTS[data, model][0], "method": method}


@table("11_trials", "dataset", "teacher", "student", "method", "value")
def trials(name: str) -> Iterator[dict]:
    for place, tried in found("V").items():
        if place[3].endswith(EVERY):
            continue
        for (one, _), run in tried.items():
            quality = run.read("metrics")[-1]["MAP"]
            yield {**keys(place), "value": one, "MAP on validation": quality, "chosen": one == chosen(place)}


def final(place: tuple) -> dict[int, Run]:
    """seed -> run of stage F with the chosen value."""
    return {seed: run for (one, seed), run in found("F").get(place, {}).items() if one == chosen(place)}


@table("flexibility", "dataset", "teacher", "student", "method", "metric")
def flexibility(name: str) -> Iterator[dict]:
    """Gains of taught students over the student alone, from the users' metrics after the last epoch."""
    for place in found("F"):
        if not place[3].endswith(EVERY):
            for metric in OF_USERS:
                yield from gain(place, metric)


def gain(place: tuple, metric: str) -> Iterator[dict]:
    """One row, or none without seeds that both have, and none of a student alone."""
    both = final(place), final((*place[:2], "", "alone"))
    seeds = sorted(set(both[0]) & set(both[1]))
    if seeds and place[2]:
        c = compare(*(np.stack([of[seed].users(of[seed].epochs, OF_USERS[metric]) for seed in seeds]) for of in both))
        row = {**keys(place), "metric": metric, "gain": c["difference"], "seeds": len(seeds)}
        yield row | {key: c[key] if math.isfinite(c[key]) else math.nan for key in ("low", "high")}


@table("11_moments", "dataset", "teacher", "student", "method", "teacher_at")
def moments(name: str) -> Iterator[dict]:
    """Gains in MAP of students without memory by teachers with one, asked at every training row and behind the last item."""
    for place in found("F"):
        if place[1] == "BPR" and place[2] in WITH_MEMORY:
            at, method = "query" if place[3].endswith(EVERY) else "last", place[3].removesuffix(EVERY)
            for row in gain(place, "MAP"):
                del row["metric"]
                yield row | {"method": method, "teacher_at": at}
