"""What the files of a record hold: their shapes, by which what was damaged or comes from a stranger is told from a record.

A shape says what readers rely on. It cannot know a digit that changed inside of a likely number, except in the description,
whose hash is the run's key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.files.whole import damaged, misfit, natural, not_negative, positive, read_json, read_rows, share

REMEDY = "a damaged record; restore the file, or delete the folder and train the run again"
TABLES = ("metrics", "history")
"""What has an entry for every epoch."""
COUNTS = ("n_users", "n_left_out", "n_short")
HISTORY = [{"epoch": positive, "loss": float, str: (float, None, [(float, None)])}]
MEANS = {"epoch": positive, str: (float, None)}
SHAPES = {
    "description": {
        "dataset": str, "data_hash": str, "stage": ("V", "F", "L"), "role": str, "seed": natural, "model": {"type": str},
        "training": {"epochs": positive}, "distillation": ({"type": str}, None), "teacher": (str, None),
        "teacher_epoch": (positive, "best", None),
    },
    "environment": {
        "python": str, "versions": {"torch": str, str: str}, "machine": str, "device": str, "threads": positive, "commit": str,
        "finished": str, "seconds": not_negative, "resumed": natural,
    },
    "history": HISTORY,
    "metrics": [MEANS],
    "chosen": MEANS,
    "agreement": {str: (float, None)},
    "size": {"parameters": natural},
    "groups": {
        "n": positive, "recall": [(share, None)],
        **dict.fromkeys(("least", "most", "items", "interactions", "held_out", "found"), [natural]),
    },
}  # fmt: skip
STATE = {"epoch": natural, "history": [{"epoch": positive, "loss": float}], "metrics": [MEANS], "seconds": not_negative,
         "resumed": natural}  # fmt: skip


def file_of(folder: Path, name: str) -> Path:
    """Where a record keeps ``name``: in JSON, or, of every epoch and once published, as a table in parquet, which has a third
    of the size. Records published before November 29, 2026 have JSON alone."""
    table = folder / f"{name}.parquet"
    return table if name in TABLES and table.exists() else folder / f"{name}.json"


def read_record(folder: Path, name: str):
    """What the folder of a record holds under ``name``. Raises ValueError naming the file and what is wrong with it."""
    file = file_of(folder, name)
    found = (read_rows if file.suffix == ".parquet" else read_json)(file, SHAPES[name], REMEDY)
    wrong = ""
    if name == "description":
        key = key_of(found)
        wrong = "" if folder.name.endswith(key) else f"describes run {key}, which is not the one that its folder is named after"
    elif name == "history":
        wrong = _not_a_course(found)
    elif name == "groups":
        lengths = {field: len(value) for field, value in found.items() if isinstance(value, list)}
        wrong = "" if len(set(lengths.values())) == 1 else f"has lists of different lengths: {lengths}"
    if wrong:
        raise damaged(file, wrong, REMEDY)
    return found


def key_of(description: dict) -> str:
    """A run's key: 16 hex digits of the sha256 of its description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def wrong_with_means(entries: Sequence[dict], needed: Sequence[str]) -> str:
    """What is wrong with the metrics of evaluated epochs, which all must have the metrics ``needed``; '' where nothing is."""
    if not entries:
        return "holds no epoch"
    for entry in entries:
        for name in needed:
            if entry.get(name) is None:
                return f"has no {name} of epoch {entry['epoch']}"
        for name, value in entry.items():
            if name not in ("epoch", *COUNTS) and value is not None and not share(value):
                return f"has {value!r} as {name} of epoch {entry['epoch']}, expected {share.__doc__}"
    return _not_a_course(entries)


def wrong_with_state(state: object, needed: Sequence[str]) -> str:
    """The same of the state in a checkpoint."""
    if wrong := misfit(state, STATE):
        return wrong
    if [entry["epoch"] for entry in state["history"]] != list(range(1, state["epoch"] + 1)):
        return f"has not the epochs 1 to {state['epoch']} in its history"
    return wrong_with_means(state["metrics"], needed) if state["metrics"] else ""


def _not_a_course(entries: Sequence[dict]) -> str:
    epochs = [entry["epoch"] for entry in entries]
    if epochs != sorted(set(epochs)):
        return "has epochs that do not follow one another"
    other = next((entry for entry in entries if entry.keys() != entries[0].keys()), None)
    return f"has other names at epoch {other['epoch']} than at epoch {epochs[0]}" if other else ""


def as_table(entries: Sequence[dict]) -> pd.DataFrame:
    """One row an epoch, indexed by it; null is NaN."""
    rows = [without_nulls(entry) for entry in entries]
    return pd.DataFrame(rows, columns=None if rows else ["epoch"]).set_index("epoch")


def without_nulls(entry: dict) -> dict:
    """NaN in the place of null, which stands for what could not be measured."""
    return {name: np.nan if value is None else value for name, value in entry.items()}


def read_users(file: Path, needed: Sequence[str]) -> pd.DataFrame:
    """The metrics of single users, one row for each: finite numbers, in columns 'rank...' from 1; NaN for a user who was not
    measured. Raises ValueError naming the file, also where a column of ``needed`` is missing."""
    try:
        frame = pd.read_parquet(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise nearly any of them
        raise damaged(file, f"is no whole parquet file ({' '.join(str(error).split())[:200]})", REMEDY) from None
    for name in needed:
        if name not in frame:
            raise damaged(file, f"has no column {name!r}", REMEDY)
    for name, column in frame.items():
        if not pd.api.types.is_float_dtype(column):
            raise damaged(file, f"has values of kind {column.dtype} in column {str(name)[:100]!r}, expected numbers", REMEDY)
        odd = column[np.isinf(column) | (str(name).startswith("rank") & (column < 1))]
        if len(odd):
            raise damaged(file, f"has {odd.iloc[0]} as {name} of row {odd.index[0]}", REMEDY)
    return frame
