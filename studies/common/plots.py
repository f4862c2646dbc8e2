"""Pictures of data and of runs that several notebooks draw. Every function returns the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from rdcore.data.interactions import Interactions
from rdcore.data.splits import Split
from rdcore.eval.significance import Comparison
from rdcore.store.runs import Record
from studies.common.style import (
    BLUE,
    GREY,
    PARTS,
    RED,
    ROLES,
    interval,
    log_ticks,
    look,
    rows,
    save,
    use_style,
    whole_epochs,
)

__all__ = ["agreements", "differences", "distributions", "draw", "learning_curves", "save", "timelines", "use_style"]


def timelines(parts: Split, users: Sequence[int]) -> Figure:
    """The sequences of some users, a row for each, coloured by the part of the split they fall in."""
    fig, ax = plt.subplots(figsize=(8, 0.9 + 0.38 * len(users)))
    pieces = {name: getattr(parts, name) for name in PARTS}
    for row, user in enumerate(users):
        left = 0
        for name, part in pieces.items():
            n = int(part.counts()[user])
            ax.barh(row, n, left=left, color=PARTS[name], edgecolor="white", height=0.7, label=name if row == 0 else None)
            if n:
                ax.text(left + n / 2, row, str(n), ha="center", va="center", fontsize=10,
                        color="black" if name == "validation" else "white")  # fmt: skip
            left += n
    ax.set_yticks(range(len(users)), [f"user {user}" for user in users])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("position in the user's sequence, oldest first")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return fig


def distributions(interactions: Interactions) -> Figure:
    """Activity of users and popularity of items: each count against the share that have at least so many, log axes."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    sides = (
        ("users", interactions.counts(), "interactions of a user", BLUE),
        ("items", interactions.item_counts(), "interactions of an item", RED),
    )
    for ax, (who, counts, label, colour) in zip(axes, sides, strict=True):
        values = np.unique(counts[counts > 0])
        share = [100 * (counts >= value).mean() for value in values]
        ax.step(values, share, where="pre", color=colour)
        middle = float(np.median(counts))
        ax.axvline(middle, color="black", linestyle=":", linewidth=1)
        ax.annotate(f"median {middle:g}", (middle, share[-1]), xytext=(5, 2), textcoords="offset points", fontsize=10)
        ax.set(xscale="log", yscale="log", xlabel=label, title=f"{len(counts):,} {who}")
        log_ticks(ax.xaxis)
    log_ticks(axes[0].yaxis)
    axes[0].set_ylabel("% with at least so many")
    return fig


def draw(ax, record: Record, x, y, label: str | None = None) -> None:
    """A curve of a run in the look of its role."""
    colour, dash, marker = look(record.description["role"])
    every = max(1, len(x) // 10)
    ax.plot(x, y, color=colour, linestyle=dash, marker=marker, markevery=every, label=label or record.description["role"])


def learning_curves(
    records: Sequence[Record], popularity: float | None = None, *, measured_on: str, metric: str = "MAP"
) -> Figure:
    """Loss of every epoch and ``metric`` of every evaluated one. popularity: that metric of POP, a horizontal line.
    measured_on: what the metric was measured on ('validation', 'test')."""
    fig, (loss, quality) = plt.subplots(1, 2, figsize=(10, 3.8))
    for record in records:
        draw(loss, record, record.history.index, record.history["loss"])
        draw(quality, record, record.metrics.index, record.metrics[metric])
    if popularity is not None:
        quality.axhline(popularity, color=GREY, linestyle=":", label="popularity")
        quality.set_ylim(bottom=0)
    whole_epochs(loss, quality)
    loss.set(xlabel="epoch", ylabel="ranking loss per training example", title="Training")
    quality.set(xlabel="epoch", ylabel=f"{metric} on {measured_on}", title=measured_on.capitalize())
    # Outside the axes: with eight methods there is no free corner inside.
    fig.legend(*quality.get_legend_handles_labels(), loc="outside right center")
    return fig


def agreements(values: Mapping[str, Mapping[str, float]]) -> Figure:
    """How alike each role ranks to the teacher: role -> {measure: value}, one panel a measure."""
    measures = list(next(iter(values.values())))
    fig, axes = plt.subplots(1, len(measures), figsize=(9, 0.8 + 0.36 * len(values)), sharey=True, squeeze=False)
    place = np.arange(len(values))
    for ax, measure in zip(axes[0], measures, strict=True):
        heights = [entry[measure] for entry in values.values()]
        bars = ax.barh(place, heights, color=[look(role).colour for role in values], height=0.7)
        ax.bar_label(bars, fmt=" {:.2f}", fontsize=10)
        ax.set_xlim(min(0, *heights), 1.2 * max(heights))
        ax.set_xlabel(measure)
        rows(ax, list(values))
    return fig


def differences(comparisons: Mapping[str, Comparison], per_user: np.ndarray, *, metric: str, first: str) -> Figure:
    """Differences to the student with their 95 % intervals (role -> comparison), and the users' own differences of the
    method ``first``, (n_users,)."""
    fig, (means, users) = plt.subplots(1, 2, figsize=(10, 1.6 + 0.36 * len(comparisons)))
    for row, (role, c) in enumerate(comparisons.items()):
        interval(means, row, c, role)
    means.axvline(0, color="black", linewidth=1)
    rows(means, list(comparisons))
    means.locator_params(axis="x", nbins=4)
    over = " over users" * all(c.n_seeds == 1 for c in comparisons.values())
    means.set(xlabel=f"difference to S in {metric}, 95 % interval{over}", title="mean over users")
    bound = float(np.quantile(np.abs(per_user), 0.99)) or 1.0
    outside = int((np.abs(per_user) > bound).sum())
    sns.histplot(x=np.clip(per_user, -bound, bound), bins=61, color=ROLES.get(first, ROLES["RD"]).colour, alpha=1, ax=users)
    users.axvline(0, color="black", linewidth=1)
    users.set(yscale="log", xlabel=f"{first} - S in {metric} of one user", ylabel="users",
              title=f"{len(per_user):,} users ({outside} beyond the ends)")  # fmt: skip
    return fig
