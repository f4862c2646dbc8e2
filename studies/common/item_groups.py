"""Recall of items by their popularity, from run records: what the notebooks and plots show of groups.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from rdcore.store.groups import span
from rdcore.store.record_files import read_record


def recorded(record) -> dict | None:
    """What `rdcore.store.groups.by_item_popularity` gave when the run ended; None for a record that does not have it."""
    return read_record(record.folder, "groups") if (record.folder / "groups.json").exists() else None


def collect(runs, roles: Sequence[str], measure: Callable) -> dict[str, list[dict]]:
    """role -> what ``measure`` gives of its records, one entry a seed; without those that have nothing (None).

    Args:
        runs: matched.Matched, the runs of one model under one protocol.
    """
    found = {}
    for role in roles:
        measured = [measure(runs.by_role[role][seed].record) for seed in runs.seeds(role)]
        if kept := [one for one in measured if one is not None]:
            found[role] = kept
    return found


def recall(found: Mapping) -> dict[str, float]:
    """Recall of every group, named by the interactions of its items (NaN for an empty one)."""
    spans = [span(np.array(ends)) for ends in zip(found["least"], found["most"], strict=True)]
    return {name: np.nan if value is None else value for name, value in zip(spans, found["recall"], strict=True)}


def popularity_table(measured: Mapping[str, Mapping[str, Sequence[Mapping]]]) -> pd.DataFrame:
    """label -> role -> results of `by_item_popularity`, one a seed: recall of every group, mean over seeds, as rows."""
    parts = []
    for label, roles in measured.items():
        one = next(iter(roles.values()))[0]
        means = {role: pd.DataFrame([recall(each) for each in seeds]).mean() for role, seeds in roles.items()}
        part = pd.DataFrame(means).rename_axis("interactions of an item").reset_index()
        part.insert(0, "runs", label)
        part.insert(2, "items", one["items"])
        part.insert(3, "held out", one["held_out"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
