"""Pictures of the one protocol: every method against the student alone, its cost, and its agreement with the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from studies.common.item_groups import recall
from studies.common.style import REFERENCE_T, ROLES, SOURCES, log_ticks, look, rows
from studies.common.text import titled
from studies.one_protocol.plan import METRIC


def quality(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """label -> `one_protocol.table`: nDCG@10 of T and of every method minus that of S, with 95 % intervals."""
    roles = list(dict.fromkeys(role for table in tables.values() for role in table["role"] if role != "S"))
    size = (max(7.0, 3.4 + 3.3 * len(tables)), 1.5 + 0.36 * len(roles))
    fig, axes = plt.subplots(1, len(tables), figsize=size, squeeze=False, sharey=True)
    for ax, (label, table) in zip(axes[0], tables.items(), strict=True):
        by_role = table.set_index("role")
        for place, role in enumerate(roles):
            if role in by_role.index and np.isfinite(by_role.loc[role, "over S"]):
                row, (colour, _, marker) = by_role.loc[role], look(role)
                reach = [[row["over S"] - row["low"]], [row["high"] - row["over S"]]]
                ax.errorbar(row["over S"], place, xerr=reach, fmt=marker, color=colour, capsize=4, markersize=7)
            elif role not in by_role.index:
                ax.text(0.02, place, "not run", transform=ax.get_yaxis_transform(), va="center", color="#555555", fontsize=10)
        ax.axvline(0, color=ROLES["S"].colour, linestyle="--", linewidth=1.3, label="S, the student alone")
        if "T" in by_role.index:
            ax.axvline(by_role.loc["T", "over S"], **REFERENCE_T, label="T, the teacher")
        rows(ax, [f"{role} ({SOURCES[role]})" if role in SOURCES else role for role in roles])
        ax.set(title=titled(label))
        ax.locator_params(axis="x", nbins=4)
    fig.supxlabel("nDCG@10 minus that of S, 95 % interval", fontsize=11)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def cost_and_agreement(table: pd.DataFrame) -> Figure:
    """One `one_protocol.table`: nDCG@10 over the training time (S: 1), and over the overlap with the teacher's first ten."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True)
    table = table.set_index("role")
    table["cost"] = table["seconds"] / table.loc["S", "seconds"]
    for ax, column in zip(axes, ("cost", "overlap@10"), strict=True):
        shown = table.dropna(subset=[column])
        for role, row in shown.iterrows():
            colour, _, marker = look(role)
            ax.plot(row[column], row[METRIC], marker, color=colour, markersize=9)
        ax.axhline(table.loc["S", METRIC], color=ROLES["S"].colour, linestyle="--", linewidth=1)
        if "T" in table.index:
            ax.axhline(table.loc["T", METRIC], **REFERENCE_T)
    axes[0].set(xscale="log", xlabel="training time, student alone = 1 (without the teacher's)")
    axes[0].set_ylabel("nDCG@10 among all items")
    axes[0].margins(x=0.1, y=0.08)
    log_ticks(axes[0].xaxis)
    axes[1].set(xlabel="overlap of the first ten with the teacher's")
    axes[1].margins(x=0.1)
    named = [plt.Line2D([], [], color=look(role).colour, marker=look(role).marker, linestyle="none", markersize=8, label=role)
             for role in table.index]  # fmt: skip
    fig.legend(handles=named, loc="outside lower center", ncols=-(-len(named) // 2))
    return fig


def popularity(found: Mapping[str, Sequence[Mapping]]) -> Figure:
    """role -> what `groups.by_item_popularity` gave, one a seed: recall among items of like popularity, and (colour) how it
    differs from that of S."""
    means = pd.DataFrame({role: pd.DataFrame([recall(one) for one in seeds]).mean() for role, seeds in found.items()}).T
    differences = means - means.loc["S"]
    most = np.nanmax(differences.abs()) or 1.0
    fig, ax = plt.subplots(figsize=(1.8 + 1.3 * means.shape[1], 1.4 + 0.36 * len(means)))
    sns.heatmap(
        differences, annot=means, fmt=".3f", cmap="PuOr_r", vmin=-most, vmax=most,
        cbar_kws={"label": "minus that of S"}, ax=ax,
    )  # fmt: skip
    n = next(iter(found.values()))[0]["n"]
    ax.set(xlabel="training interactions of an item", title=f"share of held-out items among the first {n}")
    return fig
