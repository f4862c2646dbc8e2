"""Ranking Distillation on Gowalla: which run is which row, its tables, and notebooks 01 to 03 and 06."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np

from . import records
from .layout import compare
from .records import Run, every_run, kept, paper, reported, runs
from .tables import summary, table

WEIGHTINGS = ("RD-hybrid", "RD-hybrid-normalised", "RD-position", "RD-equal", "RD-reciprocal", "RD-discrepancy")
METRICS = ("P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10", "MAP", "nDCG@3-standard", "nDCG@5-standard", "nDCG@10-standard")
OF_TABLE4 = ("P@10", "nDCG@10", "MAP")
OF_USERS = {"MAP": "AP", "P@10": "P@10", "nDCG@10": "nDCG@10"}  # what a record has of single users
PROTOCOLS = ("fixed50", "validation")


@kept
def choices() -> dict[str, dict]:
    """The epochs on file that are final, with the grids they were chosen from."""
    found = json.loads((records.ROOT / "data" / "replicated" / "selection.json").read_text())
    return {role: choice for role, choice in found.items() if not choice["at_border"]}


@kept
def rows(model: str, role: str, protocol: str, data: str = "gowalla") -> dict[int, tuple[Run, int]]:
    """seed -> run of stage F and the epoch at which a protocol looks at it."""
    found: dict[int, tuple[Run, int]] = {}
    name = "" if model == "Caser" else f"{model} "
    choice, teacher = choices().get(name + role), choices().get(f"{name}T", {"epoch": None})
    for run in sorted(runs(), key=lambda run: run.epochs):
        if (run.stage, run.data, run.model, run.role) != ("F", data, model, role):
            continue
        if protocol == "fixed50":
            if model in ("POP", "ItemCF") or (run.epochs == 50 and run.d["teacher_epoch"] in (None, 50)):
                found.setdefault(run.seed, (run, run.epochs))
        elif choice and run.epochs in (50, max(map(int, choice["MAP"]))):
            taught = run.d["teacher"] is None or run.d["teacher_epoch"] == teacher["epoch"]
            if taught and any(entry["epoch"] == choice["epoch"] for entry in run.read("metrics")):
                found.setdefault(run.seed, (run, choice["epoch"]))
    return dict(sorted(found.items()))


def stacked(found: list[dict[int, tuple[Run, int]]], metric: str, among: tuple = ()) -> list[np.ndarray]:
    """(seeds, users) of each, over the seeds that all of them, and those ``among`` which they are seen, have; [] without
    any."""
    seeds = sorted(set.intersection(*map(set, [*found, *among])))
    return [np.stack([of[seed][0].users(of[seed][1], metric) for seed in seeds]) for of in found] if seeds else []


@kept
def against(model: str, protocol: str, a: str, b: str, metric: str = "AP", among: tuple[str, ...] = ()) -> dict | None:
    """Role a - role b; None where no seed has both."""
    others = tuple(rows(model, role, protocol) for role in among)
    both = stacked([rows(model, role, protocol) for role in (a, b)], metric, others)
    return compare(*both) if both else None


def replicated(name: str, roles: dict[str, str], metrics: tuple[str, ...]) -> Iterator:
    """Mean, spread and seeds of every row of the paper's table or of our runs. roles: ours -> as it is called in the table."""
    listed = set()
    for model in ("Fossil", "Caser", "POP", "ItemCF", "BPR"):
        for role, shown in roles.items():
            for protocol in PROTOCOLS:
                found = rows(model, role, protocol)
                for metric in metrics if found else ():
                    keys = {"dataset": "gowalla", "model": model, "role": shown, "metric": metric}
                    made = summary([run.at(epoch)[metric] for run, epoch in found.values()])
                    theirs = paper(name, **keys)
                    listed.add((*keys.values(), protocol))
                    yield {**keys, "protocol": protocol, "reported": theirs, **made,
                           "difference": made["replicated"] / theirs - 1}  # fmt: skip
                    if metric in OF_USERS:  # the users' own values say the same
                        for run, epoch in found.values():
                            mean = float(np.nanmean(run.users(epoch, OF_USERS[metric])))
                            yield f"{run.folder.name} {metric} of the users", f"{run.at(epoch)[metric]:.6g}", mean
    for row in reported(name):
        keys = {column: row[column] for column in ("dataset", "model", "role", "metric")}
        if (*keys.values(), "fixed50") not in listed:
            yield {**keys, "protocol": "fixed50", "reported": float(row["value"])}


@table("rd_table2", "dataset", "model", "role", "metric", "protocol")
def table2(name: str) -> Iterator:
    roles = {role: role for role in ("T", "S", "baseline", *WEIGHTINGS)}
    return replicated(name, roles | {"RD-hybrid": "RD"}, METRICS)


@table("rd_table4", "dataset", "model", "role", "metric", "protocol")
def table4(name: str) -> Iterator:
    return replicated(name, {role: role for role in WEIGHTINGS}, OF_TABLE4)


@table("rd_recipes", "dataset", "model", "role", "epochs", "metric")
def recipes(name: str) -> Iterator:
    """Recipes of RD but the released one, three seeds after their last epoch, all at revision 2 of Caser."""
    names = ("T", "S", "RD-hybrid", "RD-position", "RD-prerelease", "RD-hybrid-start26", "RD-hybrid-start51")
    found: dict[tuple, list[Run]] = {}
    for run in every_run():
        kind = (run.data, run.model, run.stage, run.d["model"].get("revision"), run.dim) == (
            "gowalla", "Caser", "F", 2, 100 if run.role == "T" else 50)  # fmt: skip
        if kind and run.role in names and run.seed <= 3 and run.d["teacher_epoch"] in (None, 50):
            if run.epochs == 50 or (run.epochs == 100 and run.role != "T"):
                found.setdefault((run.role, run.epochs), []).append(run)
    for (role, epochs), group in found.items():
        for metric in OF_TABLE4:
            known = {"dataset": "gowalla", "model": "Caser", "metric": metric}
            theirs = paper("rd_table2", **known, role=role if role in ("T", "S") else "RD")
            yield {**known, "role": role, "epochs": epochs, "reported": theirs,
                   **summary([run.at(epochs)[metric] for run in group])}  # fmt: skip


@table("rd_released", "dataset", "model", "role", "metric")
def released(name: str) -> Iterator[dict]:
    """The released code at the last epoch at which it has numbers for every seed, next to ours after 50."""
    found: dict[str, list[dict[int, dict]]] = {}
    for run in json.loads((records.ROOT / "data" / "replicated" / "released.json").read_text()):
        found.setdefault(run["role"], []).append({at["epoch"]: at for at in run["metrics"] if at["MAP"] is not None})
    for role, seeds in found.items():
        last = max(set.intersection(*map(set, seeds)))
        for metric in OF_TABLE4:
            of_role = "rd_table4" if role == "RD-position" else "rd_table2"
            known = {"dataset": "gowalla", "model": "Caser", "metric": metric}
            theirs = paper(of_role, **known, role=role.removesuffix("-hybrid"))
            ours = summary([run.at(epoch)[metric] for run, epoch in rows("Caser", role, "fixed50").values()])
            yield {**known, "role": role.removesuffix("-hybrid"), "epoch": last, "reported": theirs,
                   "released": sum(at[last][metric] for at in seeds) / len(seeds), "released_seeds": len(seeds),
                   "replicated": ours["replicated"], "seeds": ours["seeds"]}  # fmt: skip


# ------------------------------------------------------------------------------------------- notebooks 01 to 03


@table("01_table1", "quantity")
def data(name: str) -> Iterator[dict]:
    """Gowalla's figures, from what a record counted when its run ended: items and interactions that were fitted, and those
    held out. A window of Caser has five items before its target."""
    run = next(run for run in runs() if (run.data, run.stage, run.model, run.role) == ("gowalla", "F", "Caser", "T"))
    counts, users = run.read("groups"), len(run.users(run.last, "AP"))
    items, fitted = sum(counts["items"]), sum(counts["interactions"])
    every = fitted + sum(counts["held_out"])
    ours = {"users": users, "items": items, "actions_per_user": every / users, "training_instances": fitted - 5 * users,
            "sparsity": 1 - every / (users * items)}  # fmt: skip
    for quantity, value in ours.items():
        theirs = paper("rd_table1", dataset="gowalla", metric=quantity)
        yield {"quantity": quantity, "gowalla, paper": float(f"{theirs:.6g}"), "gowalla, here": float(f"{value:.6g}")}


def of_first_seed(role: str) -> tuple[Run, int] | None:
    return rows("Caser", role, "fixed50").get(1)


@table("02_test_metrics", "metric")
def test_metrics(name: str) -> Iterator[dict]:
    """T, S and popularity on the test items."""
    (teacher, last), (student, _) = of_first_seed("T"), of_first_seed("S")
    popular, epoch = rows("POP", "baseline", "fixed50")[1]
    for metric in ("P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10", "nDCG@10-standard", "MAP"):
        ours = {"T": teacher.at(last)[metric], "S": student.at(last)[metric]}
        yield {"metric": metric, **ours, "popularity": popular.at(epoch)[metric], "S / T": ours["S"] / ours["T"]}


@table("03_schemes", "role")
def schemes(name: str) -> Iterator[dict]:
    """Every weighting: quality, distance to S, and its share of T's."""
    lead = {role: of_first_seed(role)[0].at(50)["MAP"] for role in ("T", "S")}
    for role in ("T", "S", *WEIGHTINGS):
        if one := of_first_seed(role):
            ours = {metric: one[0].at(50)[metric] for metric in OF_TABLE4}
            gain = ours["MAP"] - lead["S"]
            yield {"role": role, **ours, "MAP - S": gain, "share of the gap": gain / (lead["T"] - lead["S"]), "seed": 1}


@table("03_against_student", "role")
def against_student(name: str) -> Iterator[dict]:
    """The same with an interval over users."""
    student = of_first_seed("S")[0].users(50, "AP")[None]
    for role in ("T", *WEIGHTINGS):
        if one := of_first_seed(role):
            c = compare(one[0].users(50, "AP")[None], student)
            yield {"role": role, "MAP - S": c["difference"], "low": c["low"], "high": c["high"], "seed": 1}


# ------------------------------------------------------------------------------------------- notebook 06

QUANTITIES = ("parameters", "bytes", "latency_ms", "lists_seconds")


@kept
def efficiency() -> dict:
    """The measurement on record."""
    return json.loads((records.ROOT / "data" / "replicated" / "efficiency.json").read_text())


def ratios(model: str, device: str, quantity: str) -> np.ndarray | None:
    """Student / teacher in every round; None where it was not measured."""
    found = {entry["role"]: np.atleast_1d(entry[quantity]) for entry in efficiency()["measured"]
             if (entry["model"], entry["device"]) == (model, device)}  # fmt: skip
    return found["RD"] / found["T"] if found else None


def paper_ratio(data: str, model: str, device: str, quantity: str = "lists_seconds") -> float:
    """The paper's student / teacher: as printed for parameters, else of the printed seconds."""
    if quantity == "parameters":
        return paper("rd_table3", dataset=data, model=model, quantity="parameter_ratio")
    if quantity != "lists_seconds":
        return math.nan
    return (paper("rd_table3", dataset=data, model=model, device=device, quantity="seconds", role="RD")
            / paper("rd_table3", dataset=data, model=model, device=device, quantity="seconds", role="T"))  # fmt: skip


@table("rd_table3", "dataset", "model", "role", "device", "quantity")
def table3(name: str) -> Iterator[dict]:
    """Sizes, and medians of the times over the rounds; ratios in the student's rows."""
    found: dict[tuple, dict] = {}
    for entry in efficiency()["measured"]:
        for quantity in QUANTITIES:
            size, values = quantity in QUANTITIES[:2], np.atleast_1d(entry[quantity])
            row = {"replicated": int(values[0])} if size else {
                "replicated": float(np.median(values)), "std": float(values.std(ddof=1)), "repeats": len(values)}  # fmt: skip
            if entry["role"] == "RD":
                row["ratio_replicated"] = float(np.median(ratios(entry["model"], entry["device"], quantity)))
            device = "" if size else entry["device"]
            found[efficiency()["dataset"], entry["model"], entry["role"], device, quantity] = row
    for line in reported(name):
        quantity = line["quantity"].replace("seconds", "lists_seconds")
        if quantity in QUANTITIES:
            row = found.setdefault((line["dataset"], line["model"], line["role"], line["device"], quantity), {})
            row["reported"] = float(line["value"])
            if line["role"] == "RD":
                row["ratio_reported"] = paper_ratio(line["dataset"], line["model"], line["device"], quantity)
    for key, row in found.items():
        yield dict(zip(("dataset", "model", "role", "device", "quantity"), key, strict=True)) | row
