"""What a model costs when it is used (Table 3): measured by timing.py, recorded, and compared with the paper's numbers.

None of this depends on what a model has learnt. A matrix product takes as long with random numbers as with trained ones, so
models are built fresh from their settings and a seed, and nothing here needs a trained run.

What is compared with the paper are ratios, student / teacher: its seconds come from another machine and other code.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from rdcore import data, datasets
from rdcore.checks import is_number
from rdcore.data.interactions import Interactions
from rdcore.data.sampling import stream_seed
from rdcore.files import paths
from rdcore.files.whole import damaged, natural, not_negative, positive, read_json, write_whole
from rdcore.models import CaserSettings, FossilSettings
from rdcore.store import runs
from rdcore.store.description import describe
from rdcore.train.loop import seeded
from studies.common import text
from studies.common.reported import reported
from studies.rd.timing import PARTS, TIMED, devices, measure, rounded

COLUMNS = ["dataset", "model", "role", "device", "quantity", "reported", "replicated", "std", "repeats",
           "ratio_reported", "ratio_replicated"]  # fmt: skip
SIZES = ("parameters", "bytes")
QUANTITIES = (*SIZES, "latency_ms", "lists_seconds")
# The paper's sizes on Gowalla, which its printed counts imply. RD has the size of the student.
PAIRS = {
    "Caser": {"T": CaserSettings(dim=100), "RD": CaserSettings(dim=50)},
    "Fossil": {"T": FossilSettings(dim=50), "RD": FossilSettings(dim=20)},
}
DEVICES = {"cpu": "cpu", "cuda": "gpu"}  # torch's name -> the paper's
TIMES = ("latency_ms", "lists_seconds", *(f"{part}_seconds" for part in PARTS))


def measured_time(value: object) -> bool:
    """a number above 0 and below 1e9"""
    return is_number(value) and 0 < value < 1e9


def size(value: object) -> bool:
    """an integer from 1 to 1e15"""
    return positive(value) and value <= 10**15


# Of a measurement on file, and what to do about one that is damaged.
SHAPE = {
    **dict.fromkeys(("dataset", "data_hash", "note"), str),
    **dict.fromkeys(("users", "items", "interactions", "repeats", "queries", "block"), positive),
    "warmup": natural,
    "load_average": [not_negative],
    "environment": {
        **dict.fromkeys(("finished", "commit", "cpu"), str), "cores": positive, "threads": positive, "gpu": (str, None),
        "versions": {"torch": str},
    },
    "measured": [{**dict.fromkeys(("model", "device"), str), "role": ("T", "RD"), **dict.fromkeys(SIZES, size),
                  **dict.fromkeys(TIMES, [measured_time])}],
}  # fmt: skip
REMEDY = "restore the file from the repository, or measure again"


# ------------------------------------------------------------------------------------------------------------------ record


@dataclass(frozen=True)
class Ratio:
    """Student / teacher of one quantity. value: the median of the rounds' own ratios. low, high: its 95 % interval, from
    the order of the rounds alone (below six rounds their whole range, which covers less). A size has one round, and no width.
    reported: the paper's on Gowalla, where its models have these sizes; NaN where it has none. quiet: see `Efficiency`."""

    value: float
    low: float
    high: float
    rounds: tuple[float, ...]
    reported: float
    quiet: bool


@dataclass(frozen=True)
class Efficiency:
    """One measurement as recorded. ``content`` is plain JSON: what was timed, on which data, where, and every repeat."""

    content: dict

    @cached_property
    def key(self) -> str:
        """16 hex digits of the sha256 of the content, for the manifest of figures."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]

    @property
    def dataset(self) -> str:
        return self.content["dataset"]

    @property
    def devices(self) -> list[str]:
        """'cpu', 'gpu' as far as they were measured."""
        return list(dict.fromkeys(entry["device"] for entry in self.content["measured"]))

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(entry["model"] for entry in self.content["measured"]))

    @property
    def quiet(self) -> bool:
        """Whether nothing else wanted the cores: the load was next to nothing before, and our own threads' at the end.

        Taking turns cancels what slows both models in proportion. It does not cancel what a busy machine adds to either, such
        as caches to be filled again: that moves the ratio towards 1, so that a busy machine can confirm a small ratio and
        cannot refute one. Where the system does not tell its load, it counts as busy."""
        load = self.content["load_average"]
        return len(load) == 2 and load[0] <= 0.5 and load[1] <= self.content["environment"]["threads"] + 0.5

    def entry(self, model: str, role: str, device: str = "cpu") -> dict:
        """What `measure` returned for one model, with its names; ValueError where it was not measured."""
        for entry in self.content["measured"]:
            if (entry["model"], entry["role"], entry["device"]) == (model, role, device):
                return entry
        raise ValueError(f"the measurement has no {role} of {model} on {device}")

    def ratio(self, model: str, quantity: str = "lists_seconds", device: str = "cpu") -> Ratio:
        """Student / teacher. quantity: any of QUANTITIES, or a part of the lists such as 'score_seconds'."""
        student, teacher = (np.atleast_1d(self.entry(model, role, device)[quantity]) for role in ("RD", "T"))
        rounds = np.sort(student / teacher)
        # The median lies between the k-th and the k-th last of n independent rounds, except with probability 5 % at most.
        k = max(int(stats.binom.ppf(0.025, len(rounds), 0.5)), 1)
        where = "" if quantity in SIZES else device
        theirs = _reported_ratios().get(("gowalla", model, where, quantity), float("nan"))
        return Ratio(float(np.median(rounds)), float(rounds[k - 1]), float(rounds[-k]),
                     tuple((student / teacher).tolist()), theirs, self.quiet)  # fmt: skip

    def ratios(self) -> dict[str, Ratio]:
        """What a picture shows, by label: of every model its parameters and, on each device, one query, the lists of all
        users, and of these the scoring alone."""
        shown = {"one query": "latency_ms", "lists of all users": "lists_seconds", "scoring alone": "score_seconds"}
        found = {}
        for model in self.models:
            found[f"{model}: parameters"] = self.ratio(model, "parameters", self.devices[0])
            for device in self.devices:
                found |= {f"{model}, {device}: {label}": self.ratio(model, name, device) for label, name in shown.items()}
        return found

    def parts(self) -> dict[str, dict[str, float]]:
        """Median seconds of each part of the lists, for every model, role and device."""
        return {
            f"{entry['model']} {entry['role']}, {entry['device']}": {
                part: float(np.median(entry[f"{part}_seconds"])) for part in PARTS
            }
            for entry in self.content["measured"]
        }

    def summary(self) -> str:
        """Where and how it was measured, in a few lines for people."""
        c, made = self.content, self.content["environment"]
        load = " to ".join(f"{value:.1f}" for value in c["load_average"])
        lines = [
            f"{c['dataset']}: {c['users']:,} users, {c['items']:,} items, {c['interactions']:,} actions; "
            f"measurement {self.key} of {made['finished']}, commit {made['commit']}",
            f"{made['cpu']}, {made['cores']} cores, {made['threads']} torch threads, GPU: {made['gpu'] or 'none'}; "
            f"torch {made['versions']['torch']}" + (f"; load average {load}" if load else ""),
            f"{c['repeats']} rounds after {c['warmup']} of warm-up; in each {c['queries']} single queries, and the lists in "
            f"blocks of {c['block']} users",
            *([f"note: {c['note']}"] if c["note"] else []),
        ]
        return "\n".join(lines)


def measure_pairs(
    dataset: str,
    *,
    repeats: int = 20,
    warmup: int = 3,
    queries: int = 50,
    block: int = 512,
    seed: int = 1,
    on: Sequence[str] = (),
    note: str = "",
    progress: bool = False,
    interactions: Interactions | None = None,
) -> Efficiency:
    """Measures PAIRS at the size of a data set, asked as on test (behind train and validation).

    Args:
        on: torch devices; by default all that this machine has.
        note: what else a reader should know, for instance that the machine was busy.
        interactions: by default those of the catalog under ``dataset``.
    """
    interactions = datasets.load(dataset) if interactions is None else interactions
    fit = data.stage(interactions, "F").fit
    on = list(on or devices())
    begun, load = time.time(), _load()
    measured = []
    for device in on:
        for name, pair in PAIRS.items():
            with seeded(stream_seed(seed, "initialisation"), "cpu"):
                models = {role: settings.build(fit.n_users, fit.n_items) for role, settings in pair.items()}
            found = measure(models, fit, device=device, repeats=repeats, warmup=warmup, queries=queries, block=block,
                            progress=progress, label=f"{name} on {device}")  # fmt: skip
            for role, numbers in found.items():
                names = {"model": name, "role": role, "device": DEVICES[device], "settings": describe(pair[role])}
                measured.append(names | numbers)
    made = runs.environment(on[-1], {"seconds": time.time() - begun, "resumed": 0})
    gpu = torch.cuda.get_device_name() if "cuda" in on else None
    made = {key: value for key, value in made.items() if key not in ("device", "resumed")}
    return Efficiency({
        "timed": TIMED, "dataset": dataset, "data_hash": interactions.sha256(),
        "users": fit.n_users, "items": fit.n_items, "interactions": len(fit),
        "seed": seed, "repeats": repeats, "warmup": warmup, "queries": min(queries, fit.n_users), "block": block, "note": note,
        "load_average": [*load, *_load()],
        "environment": made | {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": gpu},
        "measured": measured,
    })  # fmt: skip


def _load() -> list[float]:
    """How many processes have wanted a core over the last minute; nothing where the system does not tell."""
    try:
        return [round(os.getloadavg()[0], 2)]
    except (AttributeError, OSError):
        return []


def cpu_name() -> str:
    """The processor as the system calls it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file() -> Path:
    return paths.replicated() / "efficiency.json"


def measure_and_record(dataset: str = "gowalla", **options) -> Efficiency:
    """`measure_pairs`, written to data/replicated/efficiency.json, from which the committed table and figure are drawn."""
    measured = measure_pairs(dataset, **options)
    file = _file()
    write_whole(file, lambda draft: draft.write_text(_as_text(measured.content)))
    return measured


def _as_text(content: dict) -> str:
    """JSON with a line for each field and, of what was measured, a line for each field of an entry."""
    entries = content["measured"]
    shell = json.dumps(content | {"measured": []}, indent=1, allow_nan=False)
    blocks = [",\n".join(f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in entry.items()) for entry in entries]
    body = ",\n".join(f"  {{\n{block}\n  }}" for block in blocks)
    return shell.replace('"measured": []', f'"measured": [\n{body}\n ]') + "\n"


def is_committed() -> bool:
    return _file().exists()


def committed() -> Efficiency:
    """The measurement on record. Raises ValueError with the command that makes one."""
    if not is_committed():
        raise ValueError(
            f"no measurement in {_file()}: make it with "
            "`papermill notebooks/06_efficiency.ipynb out.ipynb -p profile paper -p recompute True`"
        )
    content = read_json(_file(), SHAPE, REMEDY)
    for entry in content["measured"]:
        who = f"{entry['model']} {entry['role']} on {entry['device']}"
        rounds = {name: len(entry[name]) for name in TIMES}
        if set(rounds.values()) != {content["repeats"]}:
            raise damaged(_file(), f"has of {who} not the {content['repeats']} rounds it speaks of: {rounds}", REMEDY)
        partners = [one["role"] for one in content["measured"]
                    if (one["model"], one["device"]) == (entry["model"], entry["device"])]  # fmt: skip
        if sorted(partners) != ["RD", "T"]:
            raise damaged(_file(), f"has {', '.join(partners)} next to {who}, expected T and RD", REMEDY)
    return Efficiency(content)


def committed_ratio(model: str = "Caser", quantity: str = "lists_seconds", device: str = "cpu") -> Ratio | None:
    """Student / teacher in the measurement on record, with its interval and the paper's ratio; None where there is none."""
    if not is_committed():
        return None
    record = committed()
    return record.ratio(model, quantity, device) if device in record.devices and model in record.models else None


# ------------------------------------------------------------------------------------------------------------------- table


def _reported() -> pd.DataFrame:
    table = reported("rd_table3")
    return table.assign(quantity=table["quantity"].replace({"seconds": "lists_seconds"}))


def _reported_ratios() -> dict[tuple[str, str, str, str], float]:
    """(dataset, model, device, quantity) -> student / teacher: as printed for the parameters, else of the printed seconds."""
    ratios, seconds = {}, {}
    for row in _reported().itertuples():
        if row.quantity == "parameter_ratio":
            ratios[row.dataset, row.model, "", "parameters"] = row.value
        elif row.quantity == "lists_seconds":
            seconds.setdefault((row.dataset, row.model, row.device, row.quantity), {})[row.role] = row.value
    return ratios | {key: roles["RD"] / roles["T"] for key, roles in seconds.items()}


def largest_reported(device: str = "cpu") -> float:
    """The largest of the paper's own ratios of seconds on a device. "About half" can claim no less than what the paper
    itself shows, so this is where it ends."""
    return max(value for key, value in _reported_ratios().items() if key[2:] == (device, "lists_seconds"))


def reported_ratio(model: str, device: str) -> float:
    """The paper's student / teacher in seconds on Gowalla."""
    return _reported_ratios()["gowalla", model, device, "lists_seconds"]


def about_half(ratio: Ratio, device: str = "cpu") -> str:
    """Of a ratio of the lists: 'holds' when its whole interval lies at or below `largest_reported`, 'does not hold' when it
    lies above; 'open' in between, and instead of 'does not hold' where the machine was not quiet."""
    limit = largest_reported(device)
    if ratio.high <= limit:
        return "holds"
    return "does not hold" if ratio.low > limit and ratio.quiet else "open"


def load_in_words(record: Efficiency) -> str:
    """One sentence: how busy the machine was (load average before and at the end), and whether its ratios count."""
    load = record.content["load_average"]
    said = f"load average {load[0]:.1f} before, {load[1]:.1f} at the end" if len(load) == 2 else "its load is not known"
    if record.quiet:
        return f"The machine was quiet ({said})."
    return f"**The machine was busy** ({said}): other work moves these ratios, so they do not count as a measurement."


def verdict(record: Efficiency, model: str, device: str = "cpu") -> str:
    """One sentence on the paper's claim that the student makes its lists in about half the time; asked at the size of the
    paper's data alone."""
    whole, scoring = (record.ratio(model, name, device) for name in ("lists_seconds", "score_seconds"))
    student = record.entry(model, "RD", device)
    select = np.median(np.divide(student["select_seconds"], student["lists_seconds"]))
    found = about_half(whole, device)
    judged = f'in our code "about half" {found}'
    if found == "open":
        judged = '"about half" is open' + ("" if record.quiet else ", because the machine was busy")
    if record.dataset != "gowalla":
        judged = "not the paper's data"
    return (
        f"{model} on {record.dataset}, {device}: the student takes {whole.value:.2f} of the teacher's time for all lists "
        f"({whole.low:.2f} to {whole.high:.2f}; paper, on Gowalla: {whole.reported:.2f}): {judged}.\n"
        f"   For scoring alone it is {scoring.value:.2f}; picking the best items, which no small model makes cheaper, takes "
        f"{select:.0%} of the student's time."
    )


def rd_table3(record: Efficiency | None) -> pd.DataFrame:
    """Table 3 of Ranking Distillation. ``replicated``: a size, or the median of a time over the repeats; ``std``: of the
    repeats; ratios are student / teacher and are in the student's row; a time's is the median of the rounds' own ratios.

    Reported rows that were not measured have an empty ``replicated``; they are left out where the measurement is of a data
    set that the paper does not have.
    """
    keys = COLUMNS[:5]
    rows: dict[tuple, dict] = {}
    if record is not None:
        for entry in record.content["measured"]:
            for quantity in QUANTITIES:
                size = quantity in SIZES
                key = (record.dataset, entry["model"], entry["role"], "" if size else entry["device"], quantity)
                values = np.atleast_1d(entry[quantity])
                row = {"replicated": int(values[0]) if size else rounded(np.median(values))}
                if not size:
                    row["repeats"] = len(values)
                    row["std"] = values.std(ddof=1) if len(values) > 1 else np.nan
                if entry["role"] == "RD":
                    row["ratio_replicated"] = record.ratio(entry["model"], quantity, entry["device"]).value
                rows[key] = row
    theirs = _reported()
    if record is None or record.dataset in set(theirs["dataset"]):
        ratios = _reported_ratios()
        for line in theirs.itertuples():
            if line.quantity in QUANTITIES:
                row = rows.setdefault((line.dataset, line.model, line.role, line.device, line.quantity), {})
                row["reported"] = int(line.value) if line.quantity == "parameters" else line.value
                if line.role == "RD":
                    row["ratio_reported"] = ratios[line.dataset, line.model, line.device, line.quantity]
    lines = [dict(zip(keys, key, strict=True)) | row for key, row in rows.items()]
    # Counts and seconds share two columns, which hold objects so that a count keeps all its digits.
    kinds = dict.fromkeys(keys, str) | {"reported": object, "replicated": object, "repeats": "Int64"}
    columns = {name: pd.Series([line.get(name) for line in lines], dtype=kinds.get(name, float)) for name in COLUMNS}
    table = pd.DataFrame(columns)
    return table.sort_values(keys, key=_position, kind="stable").reset_index(drop=True)


def _position(column: pd.Series) -> pd.Series:
    known = {"dataset": ["gowalla", "foursquare"], "model": ["Fossil", "Caser"], "role": ["T", "RD"],
             "quantity": list(QUANTITIES), "device": ["", "cpu", "gpu"]}[column.name]  # fmt: skip
    return column.map(lambda value: known.index(value) if value in known else len(known))


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Table 3 in the shape of the paper's, for people: a line a model, quantity and device; T, student, their ratio."""
    names = ["dataset", "model", "quantity", "device"]
    lines = []
    for key, part in table.groupby(names, sort=False):
        part = part.set_index("role")
        cells = {}
        for who, column in (("paper", "reported"), ("ours", "replicated")):
            for role in ("T", "RD"):
                cells[f"{who}: {role}"] = _cell(part[column].get(role), key[2], printed=who == "paper")
            ratio = part[f"ratio_{column}"].get("RD")
            cells[f"{who}: RD / T"] = text.number(ratio, ".3f")
        lines.append(dict(zip(names, key, strict=True)) | cells)
    return pd.DataFrame(lines)


def _cell(value, quantity: str, printed: bool) -> str:
    if text.missing(value):
        return ""
    if quantity in SIZES or value >= 100:
        return f"{value:,.0f}"
    return f"{value:g}" if printed else f"{value:#.3g}"
