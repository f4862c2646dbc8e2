"""Notebook 04: the sweeps of Ranking Distillation's settings, and the controls of its lists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layout import compare, share_of
from .records import Run, every_run, printed, runs
from .tables import summary, table

WEIGHTED = {  # value of the sweep over weightings, or between paper and code -> role of its run
    "equal, 1/K": "RD-equal", "reciprocal, normalised": "RD-reciprocal", "reciprocal, raw": "RD-reciprocal-raw",
    "position, normalised": "RD-position", "position, raw": "RD-position-raw", "discrepancy, raw": "RD-discrepancy",
    "discrepancy, normalised": "RD-discrepancy-normalised", "hybrid, raw": "RD-hybrid",
    "hybrid, normalised": "RD-hybrid-normalised", "as released": "RD-hybrid",
    "weights divided by their sum": "RD-hybrid-normalised", "lists of unlabelled items only": "RD-hybrid-seen",
    "both losses halved": "RD-hybrid-alpha0.5", "ranks from samples of each query": "RD-hybrid-instance",
    "all as in the paper": "RD-hybrid-paper",
}  # fmt: skip
VARIED = {  # sweep -> what stands before the value in the role of a run that is in no other table, and where its value is
    "K": ("K", lambda d: d["distillation"]["K"]), "lambda": ("lambda", lambda d: d["distillation"]["weights"]["lam"]),
    "loss weight": ("w", lambda d: d["distillation"]["weight"] if d["training"]["base_weight"] else "alone"),
    "student size": ("", lambda d: d["model"]["dim"]), "share of data": ("share", lambda d: d["training"].get("share", 1)),
    "left out": ("", lambda d: d["distillation"]["exclude"]),
    "mu": ("mu", lambda d: d["distillation"]["weights"]["discrepancy"]["mu"]),
    "rank samples": ("samples", lambda d: samples(d["distillation"]["weights"]["discrepancy"])),
    "start epoch": ("start", lambda d: d["distillation"]["weights"]["start_epoch"]),
}  # fmt: skip


def samples(discrepancy: dict) -> int | str:
    return "exact" if discrepancy["estimate"] == "exact" else discrepancy["samples"]


def plain_settings(run: Run, *free: str) -> tuple[dict, dict]:
    """Settings of model and training without revision and what a sweep may vary."""
    drop = {"revision", "share", "base_weight", *free}
    return tuple({key: value for key, value in run.d[part].items() if key not in drop} for part in ("model", "training"))


def of_the_tables(data: str, stage: str, model: str) -> list[Run]:
    """Records after 50 epochs; on V those with the settings that T and S have on F: trials of others are there as well."""
    found = [run for run in runs() if (run.data, run.stage, run.model) == (data, stage, model) and run.protocol[2]]
    final = {run.role: run for run in runs() if (run.data, run.stage, run.model) == (data, "F", model) and run.protocol[2]}

    def planned(run: Run) -> bool:
        same = final.get("T" if run.role.startswith("T") else "S")
        return same is None or plain_settings(run, "dim") == plain_settings(same, "dim")

    return [run for run in found if stage == "F" or planned(run)]


def swept(row: dict[str, str], among: list[Run]) -> list[Run]:
    """The runs of a place of ablations.csv, by their roles and by the varied setting itself."""
    role, sweep, shown = row["role"], row["sweep"], row["value"]
    usual = {run.role: run.dim for run in runs() if run.stage == "F" and run.protocol[2]
             and (run.data, run.model) == (row["dataset"], row["model"])}  # fmt: skip
    size = usual.get("T" if role == "T" else "S")
    if sweep in ("weighting", "paper and code"):
        return [run for run in among if run.role == WEIGHTED[shown] and run.dim == size]
    if (sweep, shown) == ("loss weight", "0"):
        return [run for run in among if run.role == "S" and run.dim == size]
    before, value = VARIED[sweep]
    before = "" if shown in ("alone", "exact") else before
    roles = {role} if sweep == "student size" else {role, f"{role}-{before}{shown}"}
    found = [run for run in among if run.role in roles and (sweep == "student size" or run.dim == size)]
    return [run for run in found if same_value(value(run.d), shown)]


def same_value(setting: float | str, shown: str) -> bool:
    return setting == shown or (not isinstance(setting, str) and f"{setting:g}" == shown)


@table("ablations*", "dataset", "model", "role", "sweep", "value", "metric", "stage")
def ablations(name: str) -> Iterator:
    """The sweeps: mean and spread of every place; every run that was made for a sweep has its place.

    A further seed counts once it has as many points on record as the first one.
    """
    parts: dict[tuple, list[dict[str, str]]] = {}
    for row in printed(name):
        parts.setdefault((row["dataset"], row["stage"], row["model"]), []).append(row)
    for where, part in parts.items():
        among = of_the_tables(*where)
        places = [swept(row, among) for row in part]
        have: dict[int, set[str]] = {}
        for run in (run for found in places for run in found):
            have.setdefault(run.seed, set()).add(run.folder.name)
        shown = [seed for seed in have if len(have[seed]) >= len(have[min(have)])]
        for row, found in zip(part, places, strict=True):
            values = [run.read("metrics")[-1][row["metric"]] for run in found if run.seed in shown]
            keys = {column: row[column] for column in ("dataset", "model", "role", "sweep", "value", "metric", "stage")}
            yield keys | summary(values, "mean")
        for run in among:
            if run.seed in shown and run.role.startswith(("RD-position", "RD-hybrid-")):
                there = "has a row" if run.folder.name in have[run.seed] else "no row"
                yield f"{name} {run.folder.name}", there, "has a row"


@table("controls*", "role", words=("control",))
def controls(name: str) -> Iterator:
    """Each control's MAP, its difference to S, and which share of RD - S that is, on the test rows."""
    rows = printed(name)
    keys = {row["role"]: row["key"].split() for row in rows}  # one for each planned seed
    beside = next(run for run in every_run() if run.key == keys["S"][0])
    among = [run for run in of_the_tables(beside.data, beside.stage, beside.model)
             if run.seed <= len(keys["S"]) and (run.role == "T" or run.dim == beside.dim)]  # fmt: skip
    found = {role: {run.seed: run for run in among if run.role == role} for role in keys}
    taught = next(row["role"] for row in rows if row["control"] == "lists of the teacher (RD)")

    def stacked(*roles: str) -> list[np.ndarray]:
        seeds = sorted(set.intersection(*(set(found[role]) for role in roles)))
        return [np.stack([found[role][seed].users(50, "AP") for seed in seeds]) for role in roles] if seeds else []

    for role, own in keys.items():
        made = summary([run.at(50)["MAP"] for run in found[role].values()], "MAP")
        named = all(run.key in own for run in found[role].values())
        row = {"role": role, "MAP": made["MAP"], "seeds": made["seeds"]}
        row["key"] = " ".join(own) if named else "those of its records"
        both, three = stacked(role, "S"), stacked(taught, "S", role)
        if both and role != "S":
            c = compare(*both)
            row |= {"MAP - S": c["difference"], "low": c["low"], "high": c["high"]}
        if three and role not in ("S", taught, "T"):
            kept = ~np.isnan(np.concatenate(three)).any(0)
            rd, student, control = (x[:, kept] for x in three)
            shares = share_of(control - student, rd - student)
            row |= dict(zip(("share of RD - S", "share low", "share high"), shares, strict=True))
        yield row
