"""Pictures of the sweeps of notebook 04. A run without a record has no place: no line is drawn across it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.common.style import legend_below, look, rows
from studies.rd.ablation_report import wide
from studies.rd.ablations import POSITION, papers_alpha

# Sweep -> what its axis says; those that are missing here have words as values.
AXES = {
    "K": "K, length of the teacher's list",
    "lambda": r"$\lambda$ of the position weights",
    "loss weight": r"$w$ of distillation (the paper's $\alpha$)",
    "student size": "size of the student",
    "share of data": "share of the training data",
    "left out": "what the lists leave out",
    "mu": r"$\mu$ of the discrepancy weights",
    "rank samples": "items sampled for a rank",
    "start epoch": "first epoch with hybrid weights",
}


def panels(
    frame: pd.DataFrame, *, reference: Mapping[str, float], floor: float = math.nan, columns: int = 3
) -> Figure | None:
    """MAP over the values of every sweep in `AXES`, a panel for each with at least two values on record;
    None where there is no such sweep.

    Args:
        frame: from `ablation_report.table`.
        reference: role -> MAP of the tables' run, a level line: of S and T in every panel, of a form of RD where it is varied.
        floor: half the height of the band around RD's line, in which a difference is noise.
    """
    shown = [sweep for sweep in AXES if sweep in set(frame["sweep"]) and _known(frame, sweep) > 1]
    if not shown:
        return None
    columns = min(columns, len(shown))
    lines = -(-len(shown) // columns)
    size = (2.75 * columns, 2.3 * lines + 0.7)
    fig, axes = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    for ax, sweep in zip(axes.flat, shown, strict=False):
        _panel(ax, frame, sweep, reference, floor)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    _leave_out_alone(axes.flat[shown.index("loss weight")] if "loss weight" in shown else None, frame, shown, reference)
    fig.supylabel("MAP on validation", fontsize=11)
    legend_below(fig, axes.flat, ncols=3)
    return fig


def _leave_out_alone(ax: Axes | None, frame: pd.DataFrame, shown: Sequence[str], reference: Mapping[str, float]) -> None:
    """Distillation alone is so far below all others that it would flatten every panel: where it is, an arrow says its MAP."""
    shared = frame[frame["sweep"].isin(shown)]
    alone, rest = (shared.loc[part, "MAP"].dropna() for part in (shared["value"] == "alone", shared["value"] != "alone"))
    levels = [level for level in reference.values() if not math.isnan(level)]
    low, high = min([*rest, *levels]), max([*rest, *levels])
    margin = 0.08 * (high - low)
    if ax is None or alone.empty or alone.iloc[0] >= low - margin or not margin:
        return
    ax.set_ylim(low - margin, high + margin)
    place = ax.get_xticks()[-1]
    ax.annotate(f"{alone.iloc[0]:.3f}", (place, low - margin), (place, low + 3 * margin), ha="right", fontsize=10,
                arrowprops={"arrowstyle": "->"})  # fmt: skip


def _known(frame: pd.DataFrame, sweep: str) -> int:
    """How many values of a sweep are on record."""
    return int(wide(frame, sweep).notna().any(axis=1).sum())


def _panel(
    ax: Axes, frame: pd.DataFrame, sweep: str, reference: Mapping[str, float], floor: float
) -> None:
    values = wide(frame, sweep)
    place = np.arange(len(values))
    for role in values:
        colour, dash, marker = look(role)
        ax.plot(place, values[role], color=colour, linestyle=dash, marker=marker, label=role)
    levels = {role: level for role, level in reference.items() if role in ("S", "T") or role in values}
    _levels(ax.axhline, ax.axhspan, levels, floor)
    alpha = {value: f"\n({round(papers_alpha(value), 2):g})" for value in values.index} if sweep == "loss weight" else {}
    ax.set_xticks(place, [value + alpha.get(value, "") for value in values.index])
    ax.grid(axis="x", visible=False)
    ax.set(xlabel=AXES[sweep])


def dots(
    frame: pd.DataFrame, sweep: str, *, reference: Mapping[str, float], floor: float = math.nan,
    notes: Mapping[str, str] | None = None,
) -> Figure | None:  # fmt: skip
    """MAP of a sweep whose values are words, a row for each, with a note at the right; None with fewer
    than two on record. reference: as in `panels`; RD is the hybrid here."""
    values = wide(frame, sweep)["RD"]
    if values.notna().sum() < 2:
        return None
    fig, ax = plt.subplots(figsize=(8.3, 1.3 + 0.36 * len(values)))
    colour, _, marker = look("RD")
    ax.plot(values, np.arange(len(values)), color=colour, marker=marker, linestyle="none", label="RD")
    _levels(ax.axvline, ax.axvspan, {role: level for role, level in reference.items() if role != POSITION}, floor)
    rows(ax, list(values.index))
    ax.set(xlabel="MAP on validation")
    for row, value in enumerate(values.index):
        ax.annotate((notes or {}).get(value, ""), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=10)
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return fig


def _levels(line, span, reference: Mapping[str, float], floor: float) -> None:
    for role, level in reference.items():
        if not math.isnan(level):
            colour, dash, _ = look(role)
            line(level, color=colour, linestyle=dash, linewidth=1, label=f"{role}, settings of the tables")
            if role.startswith("RD") and not math.isnan(floor):
                span(level - floor, level + floor, color=colour, alpha=0.12, linewidth=0, label="noise")
