"""Pictures of Caser and of Ranking Distillation's weights: notebooks 02 and 03."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from rdcore.distill.rd import Discrepancy, Hybrid, Weights
from rdcore.models.caser import CaserSettings
from rdcore.store.runs import Record
from studies.common.plots import draw
from studies.common.style import BLACK, BLUE, GREEN, GREY, PINK, RED, SKY, log_ticks, whole_epochs


def caser_diagram(settings: CaserSettings) -> Figure:
    """Caser's way from the last L items to the scores, drawn with few columns in the place of the d real ones."""
    fig, ax = plt.subplots(figsize=(10, 4.2))
    ax.set(xlim=(0.2, 20.4), ylim=(0.2, 7.2))
    ax.axis("off")
    L, d, columns = settings.window, settings.dim, 8
    cell = 3.9 / L
    left, bottom = 2.2, 2.1
    width, height = columns * 0.62, L * cell
    shades = 0.25 + 0.5 * np.random.default_rng(0).random((L, columns))
    for row in range(L):
        y = bottom + height - (row + 1) * cell
        for column in range(columns):
            shade = plt.cm.Greys(shades[row, column])
            ax.add_patch(Rectangle((left + column * 0.62, y), 0.62, cell, facecolor=shade, edgecolor="white"))
        ago = L - row
        ax.text(left - 0.15, y + cell / 2, "last item" if ago == 1 else f"{ago} ago", ha="right", va="center")
    ax.text(left + width / 2, bottom + height + 0.3, f"image E: L = {L} items, d = {d} columns", ha="center")
    if d > columns:
        ax.text(left + width / 2, bottom - 0.55, f"({columns} columns drawn)", ha="center", fontsize=10)

    # One filter of each kind, drawn where it lies on the image.
    rows = min(2, L)
    lie = ((left, bottom + height - rows * cell, width, rows * cell, RED), (left + 5 * 0.62, bottom, 0.62, height, BLUE))
    for x, y, wide, high, colour in lie:
        ax.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=colour, linewidth=2.5))

    def box(x: float, y: float, text: str, colour: str):
        style = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 1.5}
        return ax.text(x, y, text, ha="center", va="center", bbox=style)

    horizontal, vertical = settings.horizontal, settings.vertical
    across = box(10.4, 5.6, f"{horizontal} horizontal filters\nof each height 1..{L},\nmax over time: {horizontal * L}", RED)
    down = box(10.4, 2.5, f"{vertical} vertical filters,\nweighted sums:\n{vertical} x d = {vertical * d}", BLUE)
    dense = box(14.6, 4.05, f"dropout {settings.dropout:g}\n$z=\\sigma(W_1[.]+b_1)$\nd = {d}", BLACK)
    user = box(14.6, 1.2, f"user's vector $P_u$\nd = {d}", GREEN)
    score = box(18.5, 2.6, "score of item j\n$W_{2,j}\\cdot[z;P_u]+b_{2,j}$", BLACK)
    edge = left + width
    arrows = (
        ((edge, bottom + height - cell), across, RED), ((edge, bottom + cell), down, BLUE),
        (across, dense, RED), (down, dense, BLUE), (dense, score, BLACK), (user, score, GREEN),
    )  # fmt: skip
    for start, end, colour in arrows:
        look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0}
        look["patchB"] = end.get_bbox_patch()
        if not isinstance(start, tuple):
            look["patchA"], start = start.get_bbox_patch(), start.get_position()
        ax.annotate("", end.get_position(), start, arrowprops=look)
    return fig


def static_weights(schemes: Mapping[str, Weights], K: int) -> Figure:
    """Weight of each of the teacher's positions for schemes that need no rank of the student."""
    fig, ax = plt.subplots(figsize=(7, 3.6))
    position = np.arange(1, K + 1)
    for (label, scheme), marker in zip(schemes.items(), "os^Dv", strict=False):
        ax.plot(position, scheme(K, None, 1).numpy(), marker=marker, label=label)
    for line, colour in zip(ax.lines, (BLACK, GREY, SKY, BLUE, PINK), strict=False):
        line.set_color(colour)
    ax.set(xlabel="teacher's position r", ylabel="weight w", xticks=position)
    ax.set_ylim(bottom=0)
    ax.legend()
    return fig


def rank_weights(hybrid: Hybrid, K: int, ranks: Tensor) -> Figure:
    """Raw w^b and raw hybrid over (teacher's rank, student's rank), and the hybrid's weights of one query's list, raw and
    normalised. ranks (K,): the student's 0-based ranks of that list."""
    depth = np.unique(np.geomspace(1, 200, 60).astype(int))
    grid = torch.from_numpy(depth - 1)[:, None].expand(-1, K)
    epoch = hybrid.start_epoch
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.9))
    edges = np.concatenate([[0.9], np.sqrt(depth[1:] * depth[:-1]), [depth[-1] * 1.1]])
    panels = ((axes[0], hybrid.discrepancy, "discrepancy $w^b$"), (axes[1], hybrid, "hybrid $w^a w^b$, raw"))
    for ax, scheme, title in panels:
        picture = ax.pcolormesh(np.arange(K + 1) + 0.5, edges, scheme(K, grid, epoch).numpy(), vmin=0, vmax=1, rasterized=True)
        ax.set(yscale="log", xlabel="teacher's rank", title=title, xticks=range(1, K + 1))
        log_ticks(ax.yaxis)
        ax.grid(visible=False)
    axes[0].set_ylabel("student's rank")
    axes[1].set_yticklabels([])
    fig.colorbar(picture, ax=axes[:2], shrink=0.9, pad=0.02, label="weight")
    raw = hybrid(K, ranks[None], epoch)[0].numpy()
    normalised = replace(hybrid, normalise=True)(K, ranks[None], epoch)[0].numpy()
    place = np.arange(1, K + 1)
    axes[2].bar(place - 0.2, raw, 0.4, color=GREEN, label="raw (released code)")
    axes[2].bar(place + 0.2, normalised, 0.4, color=PINK, label="normalised (paper)")
    ticks = [f"{r}\n{int(rank) + 1}" for r, rank in zip(place, ranks, strict=True)]
    axes[2].set_xticks(place, ticks, fontsize=10)
    axes[2].set(xlabel="teacher's rank, below it the student's", title="hybrid on one query")
    axes[2].set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6))
    axes[2].legend(loc="upper right")  # above the highest bar there can be
    return fig


def rank_estimates(exact: Tensor, sampled: Tensor, discrepancy: Discrepancy, n_items: int) -> Figure:
    """Exact against estimated ranks of the same items (0-based, any equal shape), and what w^b makes of either at the
    teacher's first position."""
    fig, (ranks, weights) = plt.subplots(1, 2, figsize=(10, 3.9))
    step = n_items / discrepancy.samples
    x, y = (ranks_of.flatten().numpy() + 1 for ranks_of in (exact, sampled))
    ranks.plot(x, y, ".", color=BLUE, alpha=0.15, markersize=5, label="an item of a teacher's list", rasterized=True)
    ranks.plot([1, n_items], [1, n_items], color="black", linewidth=1, label="estimate = exact rank")
    ranks.set(xscale="log", yscale="log", xlabel="student's exact rank", ylabel="rank estimated from the sample",
              title=f"{discrepancy.samples} samples of {n_items:,} items: steps of {step:.3g}")  # fmt: skip
    log_ticks(ranks.xaxis)
    log_ticks(ranks.yaxis)
    ranks.legend(loc="upper left")

    rank = torch.arange(n_items)
    weight = discrepancy(1, rank[:, None], 1)[:, 0]
    weights.plot(rank.numpy() + 1, weight.numpy(), color="black", label="with the exact rank")
    # An estimate is above 0 as soon as one sample is scored higher, so the mean weight follows the chance of that.
    counts = torch.arange(discrepancy.samples + 1)
    values = discrepancy(1, torch.div(counts * n_items, discrepancy.samples, rounding_mode="floor")[:, None], 1)[:, 0]
    above = torch.distributions.Binomial(discrepancy.samples, (rank / n_items)[:, None])
    expected = (above.log_prob(counts.float()).exp() * values).sum(1)
    weights.plot(rank.numpy() + 1, expected.numpy(), color=RED, linestyle="--", label="with the estimate, on average")
    weights.axhline(float(values[1]), color=GREY, linestyle=":", label=f"one sample scored higher: {float(values[1]):.3f}")
    weights.set(xscale="log", xlabel="student's exact rank", ylabel="weight $w^b$ at the teacher's first position",
                title=f"$\\mu$ = {discrepancy.mu:g}")  # fmt: skip
    log_ticks(weights.xaxis)
    weights.set_ylim(0, 1.05)
    weights.legend(loc="lower right")
    return fig


def weight_curves(records: Sequence[Record]) -> Figure:
    """Mean weights over the epochs: at each of the teacher's positions, one panel a run, and their sum over positions."""
    fig = plt.figure(figsize=(10, 6.4))
    grid = fig.add_gridspec(2, len(records), height_ratios=(1.2, 1))
    panels = [fig.add_subplot(grid[0, column]) for column in range(len(records))]
    totals = fig.add_subplot(grid[1, :])
    highest = max(np.max(record.history["weights"].tolist()) for record in records)
    for ax, record in zip(panels, records, strict=True):
        weights = np.array(record.history["weights"].tolist())
        shades = plt.cm.cividis(np.linspace(0, 0.9, weights.shape[1]))
        for position, colour in enumerate(shades):
            ax.plot(record.history.index, weights[:, position], color=colour, linewidth=1.3)
        ax.set(xlabel="epoch", title=record.description["role"], ylim=(0, 1.05 * highest))
        draw(totals, record, record.history.index, weights.sum(1))
    whole_epochs(*panels, totals, most=5)
    panels[0].set_ylabel("mean weight of a position")
    for ax in panels[1:]:
        ax.set_yticklabels([])
    K = len(shades)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0.5, K + 0.5), mpl.colors.ListedColormap(shades))
    fig.colorbar(scale, ax=panels, ticks=range(1, K + 1), pad=0.01).ax.set_title("r", fontsize=10)
    totals.set(xlabel="epoch", ylabel="sum over positions")
    totals.set_ylim(bottom=0)
    totals.legend(ncols=len(records), loc="lower center", bbox_to_anchor=(0.5, 1))
    return fig
