"""All methods under leave-one-out: which run is which row, and the tables of notebook 09."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .layout import compare, holm, word
from .records import Run, device_of_students, kept, runs
from .tables import table

# The grids from which weights are chosen, of S factors of the plan's weight decay; of DE-RRD the weight of DE.
GRIDS = {
    "derrd": {"RD": (0.03, 0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3, 1.0, 3.0), "CD-all": (0.03, 0.1, 0.3, 1.0, 3.0)},
    "one": {
        "S": (0.3, 1.0, 3.0, 10.0),
        "RD": (0.03, 0.1, 0.3, 1.0), "RD-position": (0.03, 0.1, 0.3, 1.0), "RD-equal": (0.03, 0.1, 0.3, 1.0),
        "CD": (0.1, 0.3, 1.0, 3.0), "RRD": (3e-4, 1e-3, 3e-3, 0.01), "DE": (0.003, 0.01, 0.03, 0.1),
        "DE-RRD": (0.003, 0.01, 0.03, 0.1), "RankDistil-C": (0.03, 0.1, 0.3, 1.0),
        "RankDistil-B": (1e-6, 1e-5, 1e-4, 1e-3), "RankDistil-P": (1e-7, 1e-6, 1e-5, 1e-4),
    },
}  # fmt: skip
CHOSEN_BY = {"derrd": "H@5-validation", "one": "N@10-validation-full"}
OFFICIAL = {"DE": 0.01, "RRD": 0.001, "DE-RRD": 0.01}  # weights of the released code
METHODS = tuple(role for role in GRIDS["one"] if role != "S")
SIZES = {"BPR": (200, 20), "Fossil": (50, 20), "Caser": (100, 50)}  # of T and S
SEEDS = (1, 2, 3)
COMPARED = [("citeulike", "BPR"), ("gowalla", "BPR"), ("gowalla", "Fossil"), ("gowalla", "Caser")]


def of_role(data: str, role: str, model: str = "BPR") -> list[Run]:
    """Of DE-RRD only those whose weight of RRD is a tenth of that of DE, as in the released code: Table 5 has other pairs."""
    size = SIZES[model][role != "T"]
    found = [run for run in runs() if (run.stage, run.data, run.role, run.model, run.dim) == ("L", data, role, model, size)]
    return [run for run in found if role != "DE-RRD" or math.isclose(10 * run.pair[1], run.pair[0])]


def value(run: Run) -> float:
    """What the trials of its role vary."""
    if run.role != "S":
        return run.weight
    teachers = of_role(run.data, "T", run.model)
    return run.decay / teachers[0].decay if teachers else math.nan


@kept
def trials(data: str, role: str, grid: str, model: str = "BPR") -> dict[float, Run]:
    """A role's weights -> their runs of seed 1, as far as they are on record, in the order of the grid."""
    found = [run for run in of_role(data, role, model) if run.seed == 1]
    return {weight: run for weight in GRIDS[grid][role] for run in found if math.isclose(value(run), weight, rel_tol=2e-3)}


@kept
def chosen(data: str, role: str, grid: str, model: str = "BPR") -> float | None:
    """The weight whose trial is best on the validation items, the smaller one of equals; None where one is missing."""
    tried = {weight: run.read("chosen")[CHOSEN_BY[grid]] for weight, run in trials(data, role, grid, model).items()}
    return min(tried, key=lambda weight: (-tried[weight], weight)) if len(tried) == len(GRIDS[grid][role]) else None


@kept
def rows(data: str, role: str, grid: str, model: str = "BPR", decay: float = 1.0) -> dict[int, Run]:
    """seed -> run: T, S with ``decay`` times the plan's weight decay, or a method with its chosen weight; in DE-RRD's own
    tables (grid "derrd") DE, RRD and DE-RRD with the weights of the released code."""
    found = [run for run in of_role(data, role, model) if grid != "one" or run.seed in SEEDS]
    if role == "S":
        found = [run for run in found if math.isclose(value(run), decay, rel_tol=2e-3)]
    elif role != "T":
        weight = chosen(data, role, grid, model) if role in GRIDS[grid] else OFFICIAL[role]
        found = [run for run in found if run.weight == weight]
    return {run.seed: run for run in found}


@kept
def against(data: str, a: str, b: str, grid: str, metric: str, ranked: str = "", model: str = "BPR", decay: float = 1.0):
    """Role a - role b over the seeds that both have; None where there is none."""
    both = [rows(data, role, grid, model, decay) for role in (a, b)]
    seeds = sorted(set(both[0]) & set(both[1]))
    return compare(*(np.stack([of[s].chosen_users(metric, ranked) for s in seeds]) for of in both)) if seeds else None


def every(data: str, model: str) -> dict[str, list[Run]]:
    """Role -> its runs, of a comparison."""
    found = {role: list(rows(data, role, "one", model).values()) for role in ("T", "S", *METHODS)}
    return {role: group for role, group in found.items() if group}


def training_seconds(group: list[Run], device: str) -> float:
    """A run's whole training, mean over those of the students' device."""
    totals = [sum(run.seconds) for run in group if run.device == device]
    return sum(totals) / len(totals) if totals else math.nan


@table("one_protocol", "dataset", "model", "method", "metric")
def one_protocol(name: str) -> Iterator[dict]:
    """Mean, spread and seeds of every metric, from the users' ranks."""
    for data, model in COMPARED:
        found = every(data, model)
        device = device_of_students([run for group in found.values() for run in group])
        for role, group in found.items():
            for letter in "HMN":
                for n in (5, 10, 20):
                    for ranked in ("", "-full"):
                        metric = f"{letter}@{n}"
                        values = np.array([np.nanmean(run.chosen_users(metric, ranked)) for run in group])
                        std = values.std(ddof=1) if len(group) > 1 else math.nan
                        yield {"dataset": data, "model": model, "method": role, "metric": metric + ranked,
                               "mean": values.mean(), "std": std, "seeds": len(group),
                               "trials": len(GRIDS["one"].get(role, (1,))),
                               "train_seconds": training_seconds(group, device)}  # fmt: skip


@table("09_methods", "runs", "role")
def methods(name: str) -> Iterator[dict]:
    """Every method over the student alone, with interval, effect size, corrected p and verdict; agreement and cost."""
    for data, model in COMPARED:
        found = every(data, model)
        device = device_of_students([run for group in found.values() for run in group])
        made = {role: against(data, role, "S", "one", "N@10", "-full", model) for role in found if role != "S"}
        p = holm({role: made[role]["p"] if made.get(role) else math.nan for role in METHODS})
        for role, group in found.items():
            row = {"runs": f"{data} {model}", "role": role, "seeds": len(group), "p": p.get(role, math.nan)}
            for metric, ranked in (("H@10", "-full"), ("N@10", "-full"), ("N@10", "")):
                row[metric + ranked] = float(np.mean([np.nanmean(run.chosen_users(metric, ranked)) for run in group]))
            if c := made.get(role):
                row |= {"over S": c["difference"], "better than S": word(c)}
                row |= {key: c[key] for key in ("low", "high", "effect_size")}
            agreed = [run.read("agreement") for run in group if run.read("agreement")]
            for measure in ("overlap@10", "kendall@50") if agreed else ():
                row[measure] = sum(one[measure] for one in agreed) / len(agreed)
            row |= {"epochs": float(np.mean([run.last for run in group])), "seconds": training_seconds(group, device)}
            yield row


@table("09_trials", "runs", "role", "weight")
def all_trials(name: str) -> Iterator[dict]:
    """Each trial on record by what chooses. Of DE-RRD the table shows factors of the released code's weights."""
    for data, model in COMPARED:
        for role in GRIDS["one"] if of_role(data, "T", model) else ():
            for weight, run in trials(data, role, "one", model).items():
                shown = weight / OFFICIAL["DE"] if role == "DE-RRD" else weight
                yield {"runs": f"{data} {model}", "role": role, "weight": round(shown, 9), CHOSEN_BY["one"]: run.read("chosen")[
                    CHOSEN_BY["one"]], "chosen": weight == chosen(data, role, "one", model)}  # fmt: skip


@table("09_chosen_decay_*", "runs", "role")
def chosen_decay(name: str) -> Iterator[dict]:
    """Every method over the student with the weight decay that its own trials chose."""
    data, model = name.split("_")[-2:]
    decay = chosen(data, "S", "one", model)
    for role in ("T", *METHODS):
        if c := against(data, role, "S", "one", "N@10", "-full", model, decay):
            yield {"runs": f"{data} {model}", "role": role, "over S, chosen decay": c["difference"], "low": c["low"],
                   "high": c["high"], "better than S": word(c)}  # fmt: skip
