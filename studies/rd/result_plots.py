"""Pictures of what Ranking Distillation's runs show: notebooks 05 and 06."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rdcore.eval.significance import Comparison
from studies.common.item_groups import recall
from studies.common.style import BLUE, GREY, ORANGE, RED, ROLES, SKY, interval, legend_below, rows


def efficiency(ratios: Mapping, parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Student over teacher, and where the seconds go. ratios: label -> efficiency.Ratio, drawn with its interval, its rounds,
    and the paper's where it has one. parts: model and role -> part of the lists -> seconds."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 1.7 + 0.36 * len(ratios)), width_ratios=(1.35, 1))
    # A round that something interrupted may lie far out: the axis ends where the intervals do.
    edge = 1.1 * max(1.0, *(ratio.high for ratio in ratios.values()))
    beyond = sum(value > edge for ratio in ratios.values() for value in ratio.rounds)
    for row, ratio in enumerate(ratios.values()):
        if len(ratio.rounds) > 1:
            inside = [value for value in ratio.rounds if value <= edge]
            left.plot(inside, [row] * len(inside), "|", color=SKY, markersize=11, zorder=2,
                      label="one round" if "one round" not in left.get_legend_handles_labels()[1] else None)  # fmt: skip
        error = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        left.errorbar(ratio.value, row, xerr=error, fmt="o", color=BLUE, capsize=4, zorder=3,
                      label="ours: median, 95 % interval" if row == 0 else None)  # fmt: skip
    theirs = [(ratio.reported, row) for row, ratio in enumerate(ratios.values()) if not np.isnan(ratio.reported)]
    if theirs:
        left.plot(*zip(*theirs, strict=True), "D", color=RED, markerfacecolor="none", markersize=9, markeredgewidth=1.6,
                  zorder=4, label="the paper's, on Gowalla")  # fmt: skip
    for x in (0.5, 1):
        left.axvline(x, color="black", linestyle=":", linewidth=1)
    rows(left, list(ratios))
    left.set(xlim=(0, edge), xlabel="student / teacher")
    if beyond:
        left.set_title(f"({beyond} rounds beyond the right edge)", fontsize=10)
    left.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.35, 1.06))

    names = list(next(iter(parts.values())))
    ends = np.zeros(len(parts))
    for name, colour in zip(names, (GREY, BLUE, ORANGE), strict=False):
        seconds = np.array([entry[name] for entry in parts.values()])
        right.barh(range(len(parts)), seconds, left=ends, color=colour, height=0.7, label=name)
        ends += seconds
    for row, end in enumerate(ends):
        right.text(end, row, f" {end:.3g}", va="center", fontsize=10)
    rows(right, list(parts))
    right.set(xlim=(0, 1.2 * ends.max()), xlabel="seconds for the lists of all users")
    right.legend(ncols=len(names), fontsize=9, columnspacing=0.8, handlelength=1, loc="lower right", bbox_to_anchor=(1, 1.06))
    return fig


def margins(panels: Mapping[str, Mapping[str, tuple[Comparison | None, Comparison | None, float | None]]]) -> Figure:
    """No worse than the teacher? data set -> label -> (RD - T, S - T, margin), each difference with its 95 % interval; the
    margin is a line of its own in every row. None: not there. Data sets have axes of their own: their MAPs differ in scale."""
    sizes = [len(of_data) for of_data in panels.values()]
    fig, axes = plt.subplots(len(panels), 1, figsize=(8.2, sum(1.2 + 0.55 * size for size in sizes) + 0.4), squeeze=False,
                             height_ratios=[0.6 + size for size in sizes])  # fmt: skip
    for ax, of_data in zip(axes[:, 0], panels.values(), strict=True):
        for row, (distilled, student, margin) in enumerate(of_data.values()):
            for c, role, label, shift in ((distilled, "RD-hybrid", "RD - T", -0.13), (student, "S", "S - T", 0.13)):
                if c is not None:
                    interval(ax, row + shift, c, role, label=label)
            if margin is not None:
                ax.plot([-margin] * 2, [row - 0.42, row + 0.42], color=RED, linestyle="--", label="minus the margin")
        ax.axvline(0, color=ROLES["T"][0], linewidth=1.3, label="as good as T")
        rows(ax, list(of_data))
        ax.set(xlabel="difference to T in MAP, 95 % interval")
    legend_below(fig, axes[:, 0])
    return fig


def by_activity(panels: Mapping[str, Mapping[str, Mapping[str, Comparison]]]) -> Figure:
    """Difference to the student among users of like activity. panels: label -> role -> group of users -> comparison."""
    fig, axes = plt.subplots(1, len(panels), figsize=(max(5.2, 4.6 * len(panels)), 4.2), squeeze=False)
    for ax, (label, roles) in zip(axes[0], panels.items(), strict=True):
        for number, (role, groups) in enumerate(roles.items()):
            name = f"{role.removesuffix('-hybrid')} - S"
            for place, c in enumerate(groups.values()):
                shifted = place + 0.18 * (number - (len(roles) - 1) / 2)
                interval(ax, shifted, c, role, upright=True, label=name if place == 0 else None)
        ticks = [f"{group}\n({c.n_users:,})" for group, c in groups.items()]
        ax.set_xticks(range(len(groups)), ticks, fontsize=10)
        ax.axhline(0, color="black", linewidth=1)
        ax.grid(axis="x", visible=False)
        ax.set(title=label, xlabel="training items of a user (users in the group)")
    axes[0, 0].set_ylabel("difference in MAP, 95 % interval")
    legend_below(fig, axes[0])
    return fig


def by_popularity(panels: Mapping[str, Mapping[str, Sequence[Mapping]]]) -> Figure:
    """How many of the held-out items are found, among items of like popularity: label -> role -> what
    `groups.by_item_popularity` gave, one a seed. Seeds are small marks, the line is their mean."""
    fig, axes = plt.subplots(1, len(panels), figsize=(max(5.2, 4.6 * len(panels)), 4.2), squeeze=False)
    for ax, (label, roles) in zip(axes[0], panels.items(), strict=True):
        for role, seeds in roles.items():
            colour, dash, marker = ROLES[role]
            values = np.array([list(recall(found).values()) for found in seeds])
            groups = list(recall(seeds[0]))
            place = np.arange(len(groups))
            ax.plot(place, values.mean(0), color=colour, linestyle=dash, marker=marker, label=role.removesuffix("-hybrid"))
            if len(seeds) > 1:
                ax.plot(np.tile(place, len(seeds)), values.ravel(), ".", color=colour, alpha=0.5, markersize=4)
        ax.set_xticks(range(len(groups)), groups, fontsize=10)
        ax.set_ylim(bottom=0)
        ax.grid(axis="x", visible=False)
        ax.set(title=label, xlabel="training interactions of an item")
    n = next(iter(next(iter(panels.values())).values()))[0]["n"]
    axes[0, 0].set_ylabel(f"share of held-out items in the top {n}")
    legend_below(fig, axes[0])
    return fig
