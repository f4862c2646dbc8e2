"""The committed records, tables and reported numbers as they are, and which of the records tables read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[3]
KEPT: list[Callable] = []  # functions that remember what they have found


def kept(function: Callable) -> Callable:
    """The function, each call made once for a root."""
    KEPT.append(cache(function))
    return KEPT[-1]


def use(root: Path) -> None:
    """From here on the records and tables of another root."""
    global ROOT
    ROOT = root
    for function in KEPT:
        function.cache_clear()


class Run:
    """A committed record: its files as they are."""

    def __init__(self, folder: Path):
        self.folder, self._read = folder, {}
        self.d = self.read("description")
        self.role, self.seed, self.stage, self.data = (self.d[name] for name in ("role", "seed", "stage", "dataset"))
        kind = self.d["model"]["type"].removesuffix("Settings")
        self.model = {"BPRMF": "BPR", "Popularity": "POP"}.get(kind, kind)
        self.epochs, self.dim = self.d["training"]["epochs"], self.d["model"].get("dim")
        self.decay = self.d["training"]["weight_decay"]

    def read(self, name: str):
        """metrics and history are tables in newer records; None where the record has no such file."""
        if name not in self._read:
            table, text = (self.folder / f"{name}.{kind}" for kind in ("parquet", "json"))
            found = pd.read_parquet(table).to_dict("records") if table.exists() else None
            self._read[name] = json.loads(text.read_text()) if found is None and text.exists() else found
        return self._read[name]

    @property
    def key(self) -> str:
        return self.folder.name.rsplit("-", 1)[1]

    @property
    def protocol(self) -> tuple:
        """Data, stage, and whether everything is looked at after 50 epochs."""
        return self.data, self.stage, self.epochs == 50 and self.d["teacher_epoch"] in (None, 50)

    @property
    def weight(self) -> float | None:
        """Of the distillation; of DE-RRD that of DE."""
        distillation = self.d["distillation"] or {}
        return distillation.get("weight", distillation.get("first", {}).get("weight"))

    @property
    def pair(self) -> tuple[float, float]:
        """The weights of DE and RRD in DE-RRD."""
        return self.d["distillation"]["first"]["weight"], self.d["distillation"]["second"]["weight"]

    @property
    def last(self) -> int:
        """The last evaluated epoch."""
        return self.read("metrics")[-1]["epoch"]

    @property
    def device(self) -> str:
        return self.read("environment")["device"]

    @property
    def seconds(self) -> list[float]:
        """Of every epoch."""
        return [entry["seconds"] for entry in self.read("history")]

    def at(self, epoch: int) -> dict:
        return next(entry for entry in self.read("metrics") if entry["epoch"] == epoch)

    def users(self, epoch: int, metric: str, ranked: str = "") -> np.ndarray:
        """A metric of every user; on stage L from the rank of the test item."""
        file = self.folder / f"per_user-{epoch:03d}.parquet"
        if file.name not in self._read:
            self._read[file.name] = pd.read_parquet(file)
        table = self._read[file.name]
        if self.stage == "L":
            return of_rank(table[f"rank{ranked}"].to_numpy(dtype=float), metric)
        return table[metric].to_numpy(dtype=float)

    def chosen_users(self, metric: str, ranked: str = "") -> np.ndarray:
        """The same at the epoch that the validation items chose."""
        return self.users(self.read("chosen")["epoch"], metric, ranked)


def of_rank(rank: np.ndarray, metric: str) -> np.ndarray:
    """H, M or N@n of the one test item, from its rank, 1 the best; NaN where there is none."""
    letter, n = metric.split("@")
    worth = {"H": np.ones_like(rank), "M": 1 / rank, "N": 1 / np.log2(1 + rank)}[letter]
    return np.where(np.isnan(rank), np.nan, np.where(rank <= int(n), worth, 0.0))


@kept
def every_run() -> list[Run]:
    return [Run(file.parent) for file in sorted((ROOT / "data" / "replicated").glob("*/description.json"))]


@kept
def runs() -> list[Run]:
    """All records that tables read. Caser's are those of revision 1 where a protocol has not all of them at revision 2."""
    twins: dict[tuple, dict[int, set[str]]] = {}
    for run in every_run():
        if run.model == "Caser":
            rest = {**run.d, "teacher": 0, "model": {**run.d["model"], "revision": 0}}
            twins.setdefault(run.protocol, {1: set(), 2: set()})[run.d["model"]["revision"]].add(repr(sorted(rest.items())))
    current = {protocol: 2 if found[1] <= found[2] else 1 for protocol, found in twins.items()}
    return [run for run in every_run() if run.model != "Caser" or run.d["model"]["revision"] == current[run.protocol]]


def device_of_students(found: list[Run]) -> str:
    """Where most runs of S were made, the first by name of equals: seconds of other machines have no part in a mean."""
    devices = sorted(run.device for run in found if run.role == "S")
    return max(devices, key=devices.count, default="")


@kept
def printed(name: str) -> list[dict[str, str]]:
    """The rows of a committed table, as text."""
    with (ROOT / "figures" / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@kept
def reported(name: str) -> list[dict[str, str]]:
    """The rows of a paper's table, as text."""
    with (ROOT / "data" / "reported" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def paper(name: str, **where: str) -> float:
    """A paper's number; NaN where it has none."""
    found = [row for row in reported(name) if all(row[column] == value for column, value in where.items())]
    return float(found[0]["value"]) if found else math.nan
