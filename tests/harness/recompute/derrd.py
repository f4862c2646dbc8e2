"""DE-RRD on CiteULike: its Tables 2 to 5, the authors' logs, and notebook 07."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .layout import word
from .one_protocol import GRIDS, OFFICIAL, against, chosen, rows, trials
from .records import Run, device_of_students, paper, reported, runs
from .tables import summary, table

ROLES = ("T", "S", "RD", "CD", "CD-all", "DE", "RRD", "DE-RRD")
CUTOFFS = (5, 10, 20)
METRICS = tuple(f"{letter}@{n}" for n in CUTOFFS for letter in "HMN")
KEYS = ("dataset", "model", "role", "metric", "protocol")


def every() -> dict[tuple[str, str], list[Run]]:
    """(model, role) -> its runs in the tables on CiteULike."""
    found = {("BPR", role): list(rows("citeulike", role, "derrd").values()) for role in ROLES}
    found["POP", "baseline"] = [run for run in runs() if (run.stage, run.data, run.model) == ("L", "citeulike", "POP")]
    return {what: group for what, group in found.items() if group}


def by_validation(run: Run, n: int) -> dict:
    """What was measured at the epoch with the best H@n of the validation items, the first of equals: each n has its own."""
    best = None
    for entry in run.read("metrics"):
        if best is None or entry[f"H@{n}-validation"] > best[f"H@{n}-validation"]:
            best = entry
    return best


def values(run: Run, metric: str, protocol: str) -> float:
    """validation: from the users' ranks at the chosen epoch. code: at the best epoch of the metric's own n."""
    n = int(metric.partition("@")[2] or 0)
    if metric.startswith("epoch@"):
        return by_validation(run, n)["epoch"]
    if metric == "epochs":
        return run.last
    if metric == "seconds_per_epoch":
        return float(np.median(run.seconds))
    return by_validation(run, n)[metric] if protocol == "code" else float(np.nanmean(run.chosen_users(metric)))


def beside_the_paper(name: str, found: dict[tuple[str, str], list[Run]], metrics: tuple, protocols: tuple) -> Iterator[dict]:
    """Mean, spread and seeds of every row on CiteULike, and the paper's numbers, those without a run under the first
    protocol."""
    listed, device = set(), device_of_students([run for group in found.values() for run in group])
    for (model, role), group in found.items():
        for metric in metrics:
            timed = [run for run in group if metric != "seconds_per_epoch" or run.device == device]
            for protocol in protocols if timed else ():
                keys = {"dataset": "citeulike", "model": model, "role": role, "metric": metric}
                theirs, made = paper(name, **keys), summary([values(run, metric, protocol) for run in timed])
                listed.add((*keys.values(), protocol))
                yield {**keys, "protocol": protocol, "reported": theirs, **made, "difference": made["replicated"] / theirs - 1}
    for row in reported(name):
        keys = {column: row[column] for column in KEYS[:4]}
        if (*keys.values(), protocols[0]) not in listed:
            yield {**keys, "protocol": protocols[0], "reported": float(row["value"])}


@table("derrd_table2", *KEYS)
def table2(name: str) -> Iterator[dict]:
    return beside_the_paper(name, every(), METRICS, ("validation", "code"))


@table("derrd_logs", *KEYS)
def logs(name: str) -> Iterator[dict]:
    taught = {(model, role): group for (model, role), group in every().items() if role not in ("T", "baseline")}
    measured = (*METRICS, *(f"epoch@{n}" for n in CUTOFFS), "epochs", "seconds_per_epoch")
    return beside_the_paper(name, taught, measured, ("code",))


@table("derrd_table4", *KEYS)
def table4(name: str) -> Iterator[dict]:
    """DE and RRD with one part replaced, and both as they are in the seeds of those."""
    of_bpr = [run for run in runs() if (run.stage, run.data, run.model) == ("L", "citeulike", "BPR")]
    designs = {("BPR", role): [run for run in of_bpr if run.role == role]
               for role in ("DE-attention", "DE-large", "DE-small", "RRD-full", "RRD-interesting", "RRD-top")}  # fmt: skip
    seeds = {run.seed for group in designs.values() for run in group}
    base = {("BPR", role): [run for run in every()["BPR", role] if run.seed in seeds] for role in ("DE", "RRD")}
    found = {what: group for what, group in (base | designs).items() if group}
    return beside_the_paper(name, found, ("H@5", "N@5", "H@10", "N@10"), ("validation",))


def first_seed(dim: int, pair: tuple[float, float]) -> list[Run]:
    """The run of DE-RRD, seed 1, with a size and a pair of weights, if it is on record."""
    return [run for run in runs() if (run.stage, run.data, run.model, run.role, run.dim, run.seed)
            == ("L", "citeulike", "BPR", "DE-RRD", dim, 1) and run.pair == pair]  # fmt: skip


@table("derrd_table3", "dataset", "model", "role", "phi", "quantity")
def table3(name: str) -> Iterator[dict]:
    """Students of three sizes, seed 1: numbers for each user and item, seconds of an epoch, and H@5 over the teacher's."""
    teacher = rows("citeulike", "T", "derrd")[1]
    every_vector = teacher.read("size")["parameters"] / teacher.dim  # users and items
    for dim in (20, 100, 200):
        phi = dim / teacher.dim
        found = first_seed(dim, (OFFICIAL["DE"], OFFICIAL["RRD"]))
        ours = {"parameters": every_vector * dim, "seconds": math.nan, "seconds_per_epoch": math.nan, "H@5_ratio": math.nan}
        for run in found:
            hits = [float(np.nanmean(one.chosen_users("H@5"))) for one in (run, teacher)]
            ours |= {"seconds_per_epoch": float(np.median(run.seconds)), "H@5_ratio": hits[0] / hits[1]}
        for quantity, value in ours.items():
            keys = {"dataset": "citeulike", "model": "BPR", "role": "DE-RRD"}
            theirs = [float(row["value"]) for row in reported("derrd_table3")
                      if keys.items() <= row.items() and (float(row["phi"]), row["quantity"]) == (phi, quantity)]  # fmt: skip
            theirs = theirs[0] if theirs else math.nan
            yield {**keys, "phi": phi, "quantity": quantity, "reported": theirs, "replicated": value,
                   "difference": value / theirs - 1,
                   "seeds": math.nan if quantity == "parameters" or math.isnan(value) else 1}  # fmt: skip


@table("derrd_table5", "dataset", "model", "lambda_de", "lambda_rrd")
def table5(name: str) -> Iterator[dict]:
    """Every pair of weights, seed 1."""
    weights = (1e-4, 1e-3, 1e-2, 1e-1)
    for pair in ((de, rrd) for de in weights for rrd in weights):
        keys = {"dataset": "citeulike", "model": "BPR"}
        theirs = [float(row["value"]) for row in reported("derrd_table5") if keys.items() <= row.items()
                  and (float(row["lambda_de"]), float(row["lambda_rrd"])) == pair]  # fmt: skip
        row = {**keys, "lambda_de": pair[0], "lambda_rrd": pair[1], "reported": theirs[0] if theirs else math.nan}
        for run in first_seed(20, pair):
            row["H@5"] = float(np.nanmean(run.chosen_users("H@5")))
            row["H@5-validation"] = float(np.nanmean(run.chosen_users("H@5", "-validation")))
        yield row


@table("07_trials", "role", "weight")
def all_trials(name: str) -> Iterator[dict]:
    """The trials of RD's and CD's weights."""
    for role in GRIDS["derrd"]:
        for weight, run in trials("citeulike", role, "derrd").items():
            yield {"role": role, "weight": weight, "H@5-validation": run.read("chosen")["H@5-validation"],
                   "epoch": run.read("chosen")["epoch"], "chosen": weight == chosen("citeulike", role, "derrd")}  # fmt: skip


@table("07_against_student", "what", "metric", "ranked among")
def against_student(name: str) -> Iterator[dict]:
    for role in ROLES:
        for metric, among, ranked in (("H@5", "sampled", ""), ("N@10", "sampled", ""), ("N@10", "all items", "-full")):
            c = against("citeulike", role, "S", "derrd", metric, ranked) if role != "S" else None
            if c:
                same = {key: c[key] for key in ("seeds", "users", "difference", "low", "high", "effect_size", "p")}
                yield {"what": f"{role} - S", "metric": metric, "ranked among": among, **same, "better": word(c)}
