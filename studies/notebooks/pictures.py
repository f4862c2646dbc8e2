"""Pictures that belong to one notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rdcore.eval.significance import Comparison
from studies.common import style


def calendar(times: Mapping[str, np.ndarray]) -> Figure:
    """When the rows of each part happened: the share of them up to each day. times: part -> unix seconds (N,)."""
    fig, ax = plt.subplots(figsize=(8, 3.2))
    for name, dash, colour in (("train", "-", style.BLUE), ("test", "--", style.GREEN)):
        days = np.sort(times[name]).astype("datetime64[s]")
        ax.plot(days, np.arange(1, len(days) + 1) / len(days), dash, color=colour, label=name)
    ax.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(ax.xaxis.get_major_locator()))
    ax.set(ylabel="share of the rows so far", ylim=(0, 1))
    ax.legend()
    return fig


def intervals(compared: Mapping[str, Comparison]) -> Figure:
    """Differences in MAP with their 95 % intervals, one row each, and every seed's own difference as a small mark."""
    fig, ax = plt.subplots(figsize=(8.5, 0.9 + 0.52 * len(compared)))
    for row, c in enumerate(compared.values()):
        ax.plot([c.low, c.high], [row, row], color=style.BLUE, linewidth=2.5, label="95 % interval")
        ax.plot(c.difference, row, "o", color=style.BLUE, markersize=7, label="mean")
        ax.plot(c.seed_differences, [row + 0.22] * c.n_seeds, "|", color=style.RED, markersize=9, label="one seed")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(compared)), list(compared), fontsize=8.5)
    ax.set(ylim=(len(compared) - 0.4, -0.6), xlabel="difference in MAP")
    ax.grid(axis="y", visible=False)
    shown = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3)
    return fig


def rows_of(compared: Mapping[str, Comparison], xlabel: str, taught: str = "RD-hybrid") -> Figure:
    """Differences with their 95 % intervals, one row each. taught: the role in whose look the row of RD is drawn."""
    fig, ax = plt.subplots(figsize=(8, 1.0 + 0.4 * len(compared)))
    for row, (name, c) in enumerate(compared.items()):
        role = "T" if name == "T" else taught if "(RD)" in name else ""
        colour, _, marker = style.look(role) if role else style.Look(style.GREY, "", "s")
        error = np.maximum([[c.difference - c.low], [c.high - c.difference]], 0)
        ax.errorbar(c.difference, row, xerr=error, fmt=marker, color=colour, capsize=3)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(compared)), list(compared))
    ax.set(ylim=(len(compared) - 0.5, -0.5), xlabel=xlabel)
    ax.grid(axis="y", visible=False)
    return fig


def around_the_student(reached: Mapping[str, float], methods: Sequence[str], metric: str = "nDCG@10 among all items") -> Figure:
    """What each method's student reaches, the best at the top, with the teacher (T) and the student alone, whose seeds
    (names that begin with S) make a band. reached: name -> value."""
    ordered = sorted(methods, key=lambda role: -reached[role])
    alone = [value for name, value in reached.items() if name.split(",")[0] == "S"]
    fig, ax = plt.subplots(figsize=(8, 1.3 + 0.3 * len(ordered)))
    ax.axvspan(min(alone), max(alone), color=style.look("S").colour, alpha=0.25, label=f"student alone, {len(alone)} seeds")
    ax.axvline(reached["T"], color=style.look("T").colour, label="teacher")
    for row, role in enumerate(ordered):
        colour, _, marker = style.look(role)
        ax.plot(reached[role], row, marker=marker, color=colour, markersize=9, linestyle="none")
    style.rows(ax, ordered)
    ax.set(xlabel=metric)
    fig.legend(loc="outside lower center", ncols=2)
    return fig
