"""Pictures of DE-RRD: how experts are selected and lists sampled, and what the runs of its tables show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rdcore.data.sampling import stream
from rdcore.distill import RRDSettings
from rdcore.distill.de import gumbel_softmax
from rdcore.distill.resampled import sampled_places
from rdcore.eval.significance import Comparison
from rdcore.store.runs import Record
from studies.common import text
from studies.common.style import BLACK, GREEN, GREY, RED, ROLES, SKY, interval, look, rows, whole_epochs


def selections(alpha: Tensor, temperatures: Sequence[float], seed: int) -> Figure:
    """What the Gumbel-softmax makes of the shares ``alpha`` (users, M), drawn with the same noise at every temperature:
    one column for each user, one row for each expert."""
    columns = {r"$\alpha$": alpha}
    columns |= {f"$\\tau$ = {t:g}": gumbel_softmax(alpha, t, stream(seed, "shown noise")) for t in temperatures}
    fig, axes = plt.subplots(len(columns), 1, figsize=(9, 0.55 + 1.15 * len(columns)), sharex=True)
    for ax, (title, share) in zip(axes, columns.items(), strict=True):
        picture = ax.imshow(share.T.numpy(), vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_yticks(range(alpha.shape[1]), [str(m) if m in (1, alpha.shape[1]) else "" for m in range(1, alpha.shape[1] + 1)])
        ax.text(1.01, 0.5, title, transform=ax.transAxes, va="center")
        ax.grid(visible=False)
    axes[-1].set_xlabel("made-up user")
    fig.supylabel("expert", fontsize=10)
    fig.colorbar(picture, ax=axes, label="share", pad=0.02, shrink=0.8)
    return fig


def sampled_lists(settings: RRDSettings, temperatures: Sequence[float], draws: int, seed: int) -> Figure:
    """How often each rank of the teacher's list is among the K interesting items, for several temperatures."""
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    rank = np.arange(1, settings.depth + 1)
    looks = zip((SKY, BLACK, RED, GREEN), ("--", "-", "-.", ":"), strict=True)
    for temperature, (colour, dash) in zip(temperatures, looks, strict=False):
        places = torch.arange(settings.depth, dtype=torch.float64)
        drawn = sampled_places(-places / temperature, draws, settings.K, stream(seed, "shown lists"))
        share = torch.bincount(drawn.flatten(), minlength=settings.depth).numpy() / draws
        name = f"T = {temperature:g}" + ", used here" * (temperature == settings.T)
        ax.plot(rank, share, color=colour, linestyle=dash, label=name)
    ax.step(rank, rank <= settings.K, where="mid", color=GREY, linewidth=1, label=f"the first K = {settings.K} ('top')")
    ax.set(xlabel="rank on the teacher's list", ylabel="probability of being drawn", ylim=(0, 1.04), xlim=(1, 4 * settings.K))
    ax.legend(loc="upper right")
    return fig


def curves(records: Sequence[Record], popularity: float | None = None, metric: str = "H@5-validation") -> Figure:
    """A metric of the validation items by epoch, one line for each role (first seed), a mark at the chosen epoch."""
    fig, ax = plt.subplots(figsize=(8.6, 4.2))
    for record in records:
        role = record.description["role"]
        colour, dash, marker = look(role)
        ax.plot(record.metrics.index, record.metrics[metric], color=colour, linestyle=dash, label=role, linewidth=1.3)
        ax.plot(record.epoch, record.metrics.loc[record.epoch, metric], marker, color=colour, markersize=9)
    if popularity is not None:
        ax.axhline(popularity, color=GREY, linestyle=":", label="popularity")
    ax.set(xlabel="epoch (a mark: the chosen one)", ylabel="H@5 of the validation items")
    whole_epochs(ax)
    ax.set_ylim(bottom=0)
    fig.legend(loc="outside right center")
    return fig


def sampled_and_full(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """metric -> its `tables.rankings`: every role's value among all items over that among 499, and (hollow) over that
    among 499 others."""
    fig, axes = plt.subplots(1, len(tables), figsize=(4.8 * len(tables), 3.9), squeeze=False)
    for ax, (metric, table) in zip(axes[0], tables.items(), strict=True):
        for role, row in table.iterrows():
            colour, _, marker = look(role)
            ax.plot([row["sampled"], row["drawn again"]], [row["all items"]] * 2, color=colour, linewidth=1, alpha=0.6)
            ax.plot(row["drawn again"], row["all items"], marker, color=colour, markerfacecolor="white", markersize=7)
            ax.plot(row["sampled"], row["all items"], marker, color=colour, markersize=8, label=role)
        ax.set(xlabel=f"{metric} among 499 drawn items", ylabel=f"{metric} among all items")
        ax.margins(0.08)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    fig.supxlabel("hollow: among 499 others", fontsize=10)
    return fig


def differences(compared: Mapping[str, Comparison], metric: str) -> Figure:
    """Every role's difference to S with its 95 % interval, and how many seeds it rests on where they are not all as many."""
    fig, ax = plt.subplots(figsize=(7.5, 0.9 + 0.4 * len(compared)))
    for row, (role, c) in enumerate(compared.items()):
        interval(ax, row, c, role)
    ax.axvline(0, color=ROLES["S"].colour, linestyle="--", linewidth=1.3)
    mixed = len({c.n_seeds for c in compared.values()}) > 1
    rows(ax, [f"{role} - S" + f" ({text.count(c.n_seeds, 'seed')})" * mixed for role, c in compared.items()])
    ax.set(xlabel=f"difference in {metric} of the test items, 95 % interval")
    return fig
