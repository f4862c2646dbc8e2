"""Records and arrays as pictures, all in one style; `save` puts them under figures/ with their origin.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; lines differ in dash and marker too. Every
function returns the figure and leaves showing it to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from rdcore.data.interactions import Interactions, Split
from rdcore.distill.rd_weights import Discrepancy, Hybrid, Weights
from rdcore.eval.significance import Comparison
from rdcore.files import paths
from rdcore.models.caser import CaserSettings
from rdcore.store.runs import Record
from studies.common import manifest
from studies.common.item_groups import recall

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"

# One look for every role in every picture: colour, dash, marker.
ROLES = {
    "T": (BLUE, "-", "o"),
    "S": (ORANGE, "--", "s"),
    "RD-hybrid": (GREEN, "-", "D"),
    "RD-hybrid-normalised": (PINK, "-.", "v"),
    "RD-position": (SKY, "--", "^"),
    "RD-discrepancy": (RED, "-.", "P"),
    "RD-equal": (BLACK, ":", "x"),
    "RD-reciprocal": (GREY, ":", "<"),
}
PARTS = {"train": BLUE, "validation": ORANGE, "test": GREEN}


def use_style() -> None:
    """The style of all pictures, set once at the beginning of a notebook."""
    mpl.rcParams.update({
        "figure.dpi": 100, "savefig.dpi": 150, "figure.constrained_layout.use": True,
        "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
        "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 5,
        "image.cmap": "cividis", "pdf.fonttype": 42,
    })  # fmt: skip


def save(fig: Figure, name: str, profile: str, records: Sequence[Record], source: str) -> None:
    """Writes <name>.png and <name>.pdf under the profile's figures and enters both in its manifest.

    The files carry neither date nor version, so that the same records give the same bytes.
    """
    folder = paths.figures(profile)
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    for kind, fixed in metadata.items():
        file = folder / f"{name}.{kind}"
        manifest.write(file, lambda draft, fixed=fixed: fig.savefig(draft, metadata=fixed), records, source)


# --------------------------------------------------------------------------------------------------------------------- data


def timelines(parts: Split, users: Sequence[int]) -> Figure:
    """The sequences of some users, one row each, coloured by the part of the split they fall in."""
    fig, ax = plt.subplots(figsize=(8, 0.9 + 0.38 * len(users)))
    pieces = {name: getattr(parts, name) for name in PARTS}
    for row, user in enumerate(users):
        left = 0
        for name, part in pieces.items():
            n = int(part.counts()[user])
            ax.barh(row, n, left=left, color=PARTS[name], edgecolor="white", height=0.7, label=name if row == 0 else None)
            if n:
                ax.text(left + n / 2, row, str(n), ha="center", va="center", fontsize=8,
                        color="black" if name == "validation" else "white")  # fmt: skip
            left += n
    ax.set_yticks(range(len(users)), [f"user {user}" for user in users])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("position in the user's sequence, oldest first")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return fig


def log_ticks(axis) -> None:
    """Plain numbers: at 1, 2 and 5 in each of a few decades, where matplotlib's own labels run into each other, else at 1."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5) if high / low < 2000 else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(mpl.ticker.NullLocator())


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
        ax.annotate(f"median {middle:g}", (middle, share[-1]), xytext=(5, 2), textcoords="offset points", fontsize=9)
        ax.set(xscale="log", yscale="log", xlabel=label, title=f"{len(counts):,} {who}")
        log_ticks(ax.xaxis)
    log_ticks(axes[0].yaxis)
    axes[0].set_ylabel("% with at least so many")
    return fig


# -------------------------------------------------------------------------------------------------------------------- Caser


def caser_diagram(settings: CaserSettings) -> Figure:
    """Caser's way from the last L items to the scores, drawn with few columns in the place of the d real ones."""
    fig, ax = plt.subplots(figsize=(10.5, 4.2))
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
        ax.text(left + width / 2, bottom - 0.55, f"({columns} columns drawn)", ha="center", fontsize=9)

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


# ----------------------------------------------------------------------------------------------------------------- training


def _draw(ax, record: Record, x, y, label: str | None = None) -> None:
    colour, dash, marker = ROLES.get(record.description["role"], (BLACK, "-", "."))
    every = max(1, len(x) // 10)
    ax.plot(x, y, color=colour, linestyle=dash, marker=marker, markevery=every, label=label or record.description["role"])


def learning_curves(records: Sequence[Record], popularity: float | None = None, *, judged: str, metric: str = "MAP") -> Figure:
    """Loss of every epoch and ``metric`` of every evaluated one. popularity: that metric of POP, a horizontal line.
    judged: what the metric was measured on ('validation', 'test')."""
    fig, (loss, quality) = plt.subplots(1, 2, figsize=(10, 3.8))
    for record in records:
        _draw(loss, record, record.history.index, record.history["loss"])
        _draw(quality, record, record.metrics.index, record.metrics[metric])
    if popularity is not None:
        quality.axhline(popularity, color=GREY, linestyle=":", label="popularity")
        quality.set_ylim(bottom=0)
    for ax in (loss, quality):
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    loss.set(xlabel="epoch", ylabel="ranking loss a training instance", title="Training")
    quality.set(xlabel="epoch", ylabel=f"{metric} on {judged}", title=judged.capitalize())
    # Beside the axes: with eight methods there is no free corner inside.
    fig.legend(*quality.get_legend_handles_labels(), loc="outside right center")
    return fig


# ------------------------------------------------------------------------------------------------------------------ weights


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
    fig, axes = plt.subplots(1, 3, figsize=(11.5, 3.9))
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
    ticks = [f"{r}\n({int(rank) + 1})" for r, rank in zip(place, ranks, strict=True)]
    axes[2].set_xticks(place, ticks, fontsize=7)
    axes[2].set(xlabel="teacher's rank (student's below)", title="hybrid on one query", ylim=(0, 1))
    axes[2].legend()
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
    for ax, record in zip(panels, records, strict=True):
        weights = np.array(record.history["weights"].tolist())
        shades = plt.cm.cividis(np.linspace(0, 0.9, weights.shape[1]))
        for position, colour in enumerate(shades):
            ax.plot(record.history.index, weights[:, position], color=colour, linewidth=1.3)
        ax.set(xlabel="epoch", title=record.description["role"], ylim=(0, 1.02))
        _draw(totals, record, record.history.index, weights.sum(1))
    for ax in (*panels, totals):
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
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


# --------------------------------------------------------------------------------------------------------------- comparison


def agreements(values: Mapping[str, Mapping[str, float]]) -> Figure:
    """How alike each role ranks to the teacher: role -> {measure: value}, one panel a measure."""
    measures = list(next(iter(values.values())))
    fig, axes = plt.subplots(1, len(measures), figsize=(9, 0.8 + 0.36 * len(values)), sharey=True, squeeze=False)
    place = np.arange(len(values))
    for ax, measure in zip(axes[0], measures, strict=True):
        heights = [entry[measure] for entry in values.values()]
        colours = [ROLES.get(role, (GREY,))[0] for role in values]
        ax.barh(place, heights, color=colours, height=0.7)
        for y, height in zip(place, heights, strict=True):
            ax.text(max(height, 0), y, f" {height:.2f}", va="center", fontsize=9)
        ax.set_xlim(min(0, *heights), 1.15 * max(heights))
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(measure)
    axes[0, 0].set_yticks(place, list(values))
    axes[0, 0].invert_yaxis()
    return fig


def differences(comparisons: Mapping[str, Comparison], per_user: np.ndarray, *, metric: str, first: str) -> Figure:
    """Differences to the student with their 95 % intervals (role -> comparison), and the users' own differences of the
    method ``first``, (n_users,)."""
    fig, (means, users) = plt.subplots(1, 2, figsize=(10, 1.6 + 0.36 * len(comparisons)))
    for row, (role, c) in enumerate(comparisons.items()):
        colour, _, marker = ROLES.get(role, (BLACK, "-", "o"))
        error = [[c.difference - c.low], [c.high - c.difference]]
        means.errorbar(c.difference, row, xerr=error, fmt=marker, color=colour, capsize=3)
    means.axvline(0, color="black", linewidth=1)
    means.set_yticks(range(len(comparisons)), list(comparisons))
    means.set_ylim(len(comparisons) - 0.5, -0.5)
    means.grid(axis="y", visible=False)
    means.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    means.set(xlabel=f"difference to S in {metric}, 95 % interval", title="mean over users")
    bound = float(np.quantile(np.abs(per_user), 0.99)) or 1.0
    outside = int((np.abs(per_user) > bound).sum())
    users.hist(np.clip(per_user, -bound, bound), bins=61, color=ROLES.get(first, (GREEN,))[0])
    users.axvline(0, color="black", linewidth=1)
    users.set(yscale="log", xlabel=f"{first} - S in {metric} of one user", ylabel="users",
              title=f"{len(per_user):,} users ({outside} beyond the ends)")  # fmt: skip
    return fig


# --------------------------------------------------------------------------------------------------------------- efficiency


def efficiency(ratios: Mapping, parts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Student over teacher, and where the seconds go. ratios: label -> efficiency.Ratio, drawn with its interval, its rounds,
    and the paper's where it has one. parts: model and role -> part of the lists -> seconds."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 1.5 + 0.36 * len(ratios)), width_ratios=(1.35, 1))
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
    left.set_yticks(range(len(ratios)), list(ratios))
    left.set(xlim=(0, edge), ylim=(len(ratios) - 0.5, -0.5), xlabel="student / teacher")
    left.grid(axis="y", visible=False)
    if beyond:
        left.set_title(f"({beyond} rounds beyond the right edge)", fontsize=9)
    left.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.35, 1.06))

    names = list(next(iter(parts.values())))
    ends = np.zeros(len(parts))
    for name, colour in zip(names, (GREY, BLUE, ORANGE), strict=False):
        seconds = np.array([entry[name] for entry in parts.values()])
        right.barh(range(len(parts)), seconds, left=ends, color=colour, height=0.7, label=name)
        ends += seconds
    for row, end in enumerate(ends):
        right.text(end, row, f" {end:.3g}", va="center", fontsize=9)
    right.set_yticks(range(len(parts)), list(parts))
    right.set(ylim=(len(parts) - 0.5, -0.5), xlim=(0, 1.15 * ends.max()), xlabel="seconds for the lists of all users")
    right.grid(axis="y", visible=False)
    right.legend(ncols=len(names), loc="lower center", bbox_to_anchor=(0.5, 1.06))
    return fig


# ------------------------------------------------------------------------------------------------------------- significance


def _legend_below(fig: Figure, axes, ncols: int = 5) -> None:
    """One legend for all panels, each label once."""
    shown: dict[str, object] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(ncols, max(len(shown), 1)))


def _reach(c: Comparison) -> np.ndarray:
    """How far the interval reaches to either side, (2,); never below 0, which rounding may give where nothing varies."""
    return np.maximum([c.difference - c.low, c.high - c.difference], 0)


def resampled_means(means: Mapping[str, np.ndarray], compared: Mapping[str, Comparison]) -> Figure:
    """The bootstrap: mean differences of all resamples, one panel a set of runs (label -> (resamples,)), with the interval
    that was taken from them and the differences of the single seeds."""
    fig, axes = plt.subplots(1, len(means), figsize=(max(5.2, 4.2 * len(means)), 3.8), squeeze=False)
    for ax, (label, values) in zip(axes[0], means.items(), strict=True):
        c = compared[label]
        ax.hist(values, bins=60, color=SKY, label="resamples of users and seeds")
        for bound in (c.low, c.high):
            ax.axvline(bound, color=BLUE, linestyle="--", label="95 % interval")
        ax.axvline(0, color="black", linewidth=1, label="no difference")
        top = ax.get_ylim()[1]
        ax.plot(c.seed_differences, [-0.035 * top] * c.n_seeds, "^", color=RED, markersize=7, label="one seed", clip_on=False)
        ax.set_ylim(-0.07 * top, top)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        ax.set(title=label, xlabel="difference in MAP", yticks=[])
    _legend_below(fig, axes[0], ncols=2 if len(means) == 1 else 5)
    return fig


def margins(panels: Mapping[str, Mapping[str, tuple[Comparison | None, Comparison | None, float | None]]]) -> Figure:
    """No worse than the teacher? data set -> label -> (RD - T, S - T, margin), each difference with its 95 % interval; the
    margin is a line of its own in every row. None: not there. Data sets have axes of their own: their MAPs differ in scale."""
    sizes = [len(rows) for rows in panels.values()]
    fig, axes = plt.subplots(len(panels), 1, figsize=(8.2, sum(1.2 + 0.55 * size for size in sizes) + 0.4), squeeze=False,
                             height_ratios=[0.6 + size for size in sizes])  # fmt: skip
    for ax, rows in zip(axes[:, 0], panels.values(), strict=True):
        for row, (distilled, student, margin) in enumerate(rows.values()):
            for c, role, label, shift in ((distilled, "RD-hybrid", "RD - T", -0.13), (student, "S", "S - T", 0.13)):
                if c is not None:
                    colour, _, marker = ROLES[role]
                    error = _reach(c)[:, None]
                    ax.errorbar(c.difference, row + shift, xerr=error, fmt=marker, color=colour, capsize=4, label=label)
            if margin is not None:
                ax.plot([-margin] * 2, [row - 0.42, row + 0.42], color=RED, linestyle="--", label="minus the margin")
        ax.axvline(0, color=ROLES["T"][0], linewidth=1.3, label="as good as T")
        ax.set_yticks(range(len(rows)), list(rows))
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference to T in MAP, 95 % interval")
        ax.grid(axis="y", visible=False)
    _legend_below(fig, axes[:, 0])
    return fig


def by_activity(panels: Mapping[str, Mapping[str, Mapping[str, Comparison]]]) -> Figure:
    """Difference to the student among users of like activity. panels: label -> role -> group of users -> comparison."""
    fig, axes = plt.subplots(1, len(panels), figsize=(max(5.2, 4.6 * len(panels)), 4.2), squeeze=False)
    for ax, (label, roles) in zip(axes[0], panels.items(), strict=True):
        for number, (role, groups) in enumerate(roles.items()):
            colour, _, marker = ROLES[role]
            place = np.arange(len(groups)) + 0.18 * (number - (len(roles) - 1) / 2)
            middle = [c.difference for c in groups.values()]
            error = np.column_stack([_reach(c) for c in groups.values()])
            name = f"{role.removesuffix('-hybrid')} - S"
            ax.errorbar(place, middle, yerr=error, fmt=marker, color=colour, capsize=3, label=name)
        ticks = [f"{group}\n({c.n_users:,})" for group, c in groups.items()]
        ax.set_xticks(range(len(groups)), ticks, fontsize=8.5)
        ax.axhline(0, color="black", linewidth=1)
        ax.grid(axis="x", visible=False)
        ax.set(title=label, xlabel="training items of a user (users in the group)")
    axes[0, 0].set_ylabel("difference in MAP, 95 % interval")
    _legend_below(fig, axes[0])
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
        ax.set_xticks(range(len(groups)), groups, fontsize=8.5)
        ax.set_ylim(bottom=0)
        ax.grid(axis="x", visible=False)
        ax.set(title=label, xlabel="training interactions of an item")
    n = next(iter(next(iter(panels.values())).values()))[0]["n"]
    axes[0, 0].set_ylabel(f"share of held-out items in the top {n}")
    _legend_below(fig, axes[0])
    return fig
