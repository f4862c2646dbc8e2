"""The picture of growth.py: time and memory over the sizes of the data, log-log."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.common.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED

LOOKS = ((RED, "x"), (ORANGE, "s"), (GREEN, "D"), (BLACK, "^"), (BLUE, "o"))
AXES = {"interactions": "interactions", "items": "items"}


def growth(table: pd.DataFrame) -> Figure:
    """Above processor seconds, below the peak of memory, over interactions (left) and items (right). Dashed: what would double
    with every doubling of the size. Dotted: parameters (in training four times), data and an empty process, without which
    nothing runs."""
    fig, axes = plt.subplots(2, 2, figsize=(10, 7.4), sharex="col", sharey="row")
    works = [name for name in table["work"].unique() if name != "empty process"]
    looks = dict(zip(works, LOOKS, strict=False))
    empty = table.loc[table["work"] == "empty process", "peak_gib"].median()
    for column, (varied, label) in enumerate(AXES.items()):
        part = table[table["varied"] == varied]
        time, memory = axes[:, column]
        for name in works:
            series = part[part["work"] == name].sort_values(varied)
            colour, marker = looks[name]
            x = series[varied]
            time.plot(x, series["seconds"], color=colour, marker=marker, label=name)
            memory.plot(x, series["peak_gib"], color=colour, marker=marker, label=name)
            memory.plot(x, empty + series["parameters_gib"] + series["data_gib"], color=colour, linestyle=":", linewidth=1)
        for ax in (time, memory):
            ax.set(xscale="log", yscale="log")
        fixed = part["items" if varied == "interactions" else "interactions"].iloc[0]
        time.set_title(f"{fixed:,} items" if varied == "interactions" else f"{fixed:,} interactions", fontsize=10)
        memory.set_xlabel(label)
    axes[0, 0].set_ylabel("processor seconds")
    axes[1, 0].set_ylabel("peak memory of the process, GiB")
    axes[1, 1].axhline(4, color=GREY, linewidth=0.8)
    axes[1, 1].annotate("4 GiB", (part[varied].min(), 4), xytext=(0, 3), textcoords="offset points", color=GREY, fontsize=10)
    for ax in axes.flat:  # when all is drawn: the columns share their vertical axes
        _guides(ax)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    handles += [plt.Line2D([], [], color=GREY, linestyle="--", linewidth=0.8), plt.Line2D([], [], color=GREY, linestyle=":")]
    labels += ["linear growth", "empty process + parameters + data"]
    fig.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    return fig


def _guides(ax: Axes) -> None:
    """Lines of slope 1, one for each two decades of the vertical axis, behind everything and without moving the view."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    for start in 10.0 ** np.arange(np.floor(np.log10(low)) - 4, np.ceil(np.log10(high)) + 1, 2):
        ax.plot((left, right), (start, start * right / left), color=GREY, linestyle="--", linewidth=0.6, alpha=0.5, zorder=0)
    ax.set(xlim=(left, right), ylim=(low, high))
