"""Pictures of the one protocol: every method beside the student alone; what it costs; how close to the teacher it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.common.item_groups import recall
from studies.common.plots import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, log_ticks
from studies.one_protocol.plan import JUDGED, METHODS, SOURCES

COLOURS = dict(zip(SOURCES, (GREEN, SKY, RED, PINK), strict=True))
MARKERS = dict(zip(METHODS, "D><^PX*vdh", strict=True))
# One look for every role: the colour of its paper and a marker of its own. T and S as everywhere.
LOOKS = {"T": (BLUE, "o"), "S": (ORANGE, "s")}
LOOKS |= {role: (COLOURS[paper], MARKERS[role]) for paper, roles in SOURCES.items() for role in roles}


def quality(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """label -> `one_protocol.table`: nDCG@10 of T and of every method less that of S, with 95 % intervals."""
    roles = list(dict.fromkeys(role for table in tables.values() for role in table["role"] if role != "S"))
    fig, axes = plt.subplots(1, len(tables), figsize=(max(7.0, 4.6 * len(tables)), 1.5 + 0.36 * len(roles)), squeeze=False)
    for ax, (label, table) in zip(axes[0], tables.items(), strict=True):
        by_role = table.set_index("role")
        for place, role in enumerate(roles):
            if role in by_role.index and np.isfinite(by_role.loc[role, "over S"]):
                row, (colour, marker) = by_role.loc[role], LOOKS[role]
                reach = [[row["over S"] - row["low"]], [row["high"] - row["over S"]]]
                ax.errorbar(row["over S"], place, xerr=reach, fmt=marker, color=colour, capsize=4, markersize=7)
            elif role not in by_role.index:
                ax.text(0.02, place, "not run", transform=ax.get_yaxis_transform(), va="center", color="grey", fontsize=9)
        ax.axvline(0, color=ORANGE, linestyle="--", linewidth=1.3)
        if "T" in by_role.index:
            ax.axvline(by_role.loc["T", "over S"], color=BLUE, linewidth=1, alpha=0.6)
        ax.set_yticks(range(len(roles)), roles)
        ax.set(ylim=(len(roles) - 0.5, -0.5), title=label, xlabel="nDCG@10 less the student's, 95 % interval")
        ax.grid(axis="y", visible=False)
    _papers_below(fig)
    return fig


def cost_and_agreement(table: pd.DataFrame) -> Figure:
    """One `one_protocol.table`: nDCG@10 over the training time (S: 1), and over the overlap with the teacher's first ten."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True)
    table = table.set_index("role")
    table["cost"] = table["seconds"] / table.loc["S", "seconds"]
    for ax, column in zip(axes, ("cost", "overlap@10"), strict=True):
        shown = table.dropna(subset=[column])
        for role, row in shown.iterrows():
            colour, marker = LOOKS[role]
            ax.plot(row[column], row[JUDGED], marker, color=colour, markersize=9, markeredgecolor="white", markeredgewidth=0.6)
        ax.axhline(table.loc["S", JUDGED], color=ORANGE, linestyle="--", linewidth=1)
        if "T" in table.index:
            ax.axhline(table.loc["T", JUDGED], color=BLUE, linewidth=1, alpha=0.6)
    axes[0].set(xscale="log", xlabel="training time, student alone = 1 (without the teacher's)")
    axes[0].set_ylabel("nDCG@10 among all items")
    axes[0].margins(x=0.1, y=0.08)
    log_ticks(axes[0].xaxis)
    axes[1].set(xlabel="overlap of the first ten with the teacher's")
    axes[1].margins(x=0.1)
    named = [plt.Line2D([], [], color=LOOKS[role][0], marker=LOOKS[role][1], linestyle="none", markersize=8, label=role)
             for role in LOOKS if role in table.index]  # fmt: skip
    fig.legend(handles=named, loc="outside lower center", ncols=-(-len(named) // 2))
    return fig


def popularity(found: Mapping[str, Sequence[Mapping]]) -> Figure:
    """role -> what `groups.by_item_popularity` gave, one a seed: recall among items of like popularity, and (colour) how it
    differs from that of S."""
    means = pd.DataFrame({role: pd.DataFrame([recall(one) for one in seeds]).mean() for role, seeds in found.items()}).T
    differences = (means - means.loc["S"]).to_numpy()
    most = np.nanmax(np.abs(differences)) or 1.0
    fig, ax = plt.subplots(figsize=(1.8 + 1.3 * means.shape[1], 1.4 + 0.36 * len(means)))
    picture = ax.imshow(differences, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
    for (y, x), value in np.ndenumerate(means.to_numpy()):
        if np.isfinite(value):
            dark = abs(differences[y, x]) > 0.7 * most
            ax.text(x, y, f"{value:.3f}", ha="center", va="center", color="white" if dark else BLACK)
    n = next(iter(found.values()))[0]["n"]
    ax.set_xticks(range(means.shape[1]), means.columns)
    ax.set_yticks(range(len(means)), means.index)
    ax.set(xlabel="training interactions of an item", title=f"share of held-out items among the first {n}")
    ax.grid(visible=False)
    fig.colorbar(picture, ax=ax, label="less the student's")
    return fig


def _papers_below(fig: Figure) -> None:
    handles = [plt.Line2D([], [], color=colour, linewidth=5, label=paper) for paper, colour in COLOURS.items()]
    handles += [plt.Line2D([], [], color=BLUE, label="T"), plt.Line2D([], [], color=ORANGE, linestyle="--", label="S")]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
