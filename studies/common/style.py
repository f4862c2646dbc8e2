"""How pictures look: one style, one look for every role in every picture, and how they are saved.

A role has its own colour and its own marker. The first nine colours are Okabe and Ito's, which
colour-blind readers can tell apart; the others are Paul Tol's and darker or lighter shades of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdcore.eval.significance import Comparison
from rdcore.files import paths
from rdcore.store.runs import Record
from studies.common import manifest

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"


class Look(NamedTuple):
    """How a role is drawn."""

    colour: str
    dash: str
    marker: Any


# Role -> its look, paper by paper. "RD" is the hybrid weighting, as in the papers' tables.
ROLES = {
    "T": Look(BLUE, "-", "o"),
    "S": Look(ORANGE, "--", "s"),
    "RD-hybrid": Look(GREEN, "-", "D"),
    "RD-hybrid-normalised": Look(PINK, "-.", "v"),
    "RD-position": Look(SKY, "--", "^"),
    "RD-discrepancy": Look(RED, "-.", "P"),
    "RD-equal": Look(BLACK, ":", "x"),
    "RD-reciprocal": Look(GREY, ":", "<"),
    "CD": Look("#882255", "--", ">"),
    "CD-all": Look("#B0304A", ":", (3, 0, 90)),
    "RRD": Look("#999933", "-", "X"),
    "DE": Look("#AA4499", "-.", "d"),
    "DE-RRD": Look("#332288", "-", "*"),
    "RankDistil-C": Look("#117733", "-", "p"),
    "RankDistil-B": Look("#661100", "--", "h"),
    "RankDistil-P": Look("#44AA99", "-.", "8"),
    "FTD": Look("#B35806", "-", (4, 1, 0)),
    "HTD": Look("#E08214", "--", (4, 1, 45)),
    "IR-RRD": Look("#6B6B00", "-.", (6, 1, 0)),
    "DCD": Look("#CC6677", "-", (3, 1, 0)),
    "UnKD": Look("#5E3C99", "--", (3, 1, 180)),
    "KD-CE": Look("#4D4D4D", "-.", (5, 2, 0)),
    "RCE-KD": Look("#1B7837", "-", (8, 2, 0)),
    "PCKD": Look("#88CCEE", "--", (7, 1, 0)),
    "FreqD": Look("#7F3B08", "-.", "+"),
    "HetComp": Look("#3F6FB5", "-", "1"),
    "DLLM2Rec": Look("#B2182B", ":", "3"),
    "Fit": Look("#80B1D3", ":", "4"),
    "VkD": Look("#5AAE61", ":", (5, 1, 36)),
    "EASE": Look("#2166AC", ":", "$E$"),
    "iALS": Look("#053061", ":", "$A$"),
    "GF-CF": Look("#67A9CF", ":", "$G$"),
    "SASRec": Look("#01665E", ":", "$S$"),
    "LightGCN": Look("#35978F", ":", "$L$"),
    "POP": Look("#BDBDBD", ":", "_"),
    "ItemCF": Look("#737373", ":", "|"),
    "BPR": Look("#252525", ":", "2"),
}
ROLES["RD"] = ROLES["RD-hybrid"]
# The teacher's value as a line across a picture of other roles: in its full colour, since a paler one would be RD-position's.
REFERENCE_T = {"color": BLUE, "linestyle": "-", "linewidth": 1.8, "zorder": 1}
# Method -> the paper it comes from.
SOURCES = {
    **dict.fromkeys(("RD", "RD-position", "RD-equal"), "RD, 2018"),
    **dict.fromkeys(("CD", "CD-all"), "CD, 2019"),
    **dict.fromkeys(("RRD", "DE", "DE-RRD"), "DE-RRD, 2020"),
    **dict.fromkeys(("RankDistil-C", "RankDistil-B", "RankDistil-P"), "RankDistil, 2021"),
}
PARTS = {"train": BLUE, "validation": ORANGE, "test": GREEN}


def look(role: str) -> Look:
    """The look of a role; of a variant such as RD-hybrid-K20 that of the role it varies; else black dots."""
    parts = role.split("-")
    names = ("-".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((ROLES[name] for name in names if name in ROLES), Look(BLACK, "-", "."))


def use_style() -> None:
    """The style of all pictures, set once at the beginning of a notebook."""
    mpl.rcParams.update({
        "figure.dpi": 100, "savefig.dpi": 150, "figure.constrained_layout.use": True,
        "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "legend.fontsize": 10,
        "xtick.labelsize": 10, "ytick.labelsize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
        "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 5,
        "image.cmap": "cividis", "pdf.fonttype": 42,
    })  # fmt: skip


def save(fig: Figure, name: str, profile: str, records: Sequence[Record], source: str) -> None:
    """Writes <name>.png and <name>.pdf under the profile's figures and enters both in its manifest.

    The files carry neither date nor version: the same records give the same bytes.
    """
    folder = paths.figures(profile)
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    for kind, fixed in metadata.items():
        file = folder / f"{name}.{kind}"
        manifest.write(file, lambda draft, fixed=fixed: fig.savefig(draft, metadata=fixed), records, source)


# --------------------------------------------------------------------------------- parts of pictures


def log_ticks(axis) -> None:
    """Plain numbers on a log axis: at 1, 2 and 5 in each of a few decades, else at 1."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5) if high / low < 2000 else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(mpl.ticker.NullLocator())


def whole_epochs(*axes: Axes, most: int | str = "auto") -> None:
    """Whole numbers on the x axis."""
    for ax in axes:
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(most, integer=True))


def interval(ax: Axes, place: float, c: Comparison, role: str, *, upright: bool = False, **options) -> None:
    """A difference with its 95 % interval, in the look of a role: in a row, or ``upright`` above a place."""
    colour, _, marker = look(role)
    reach = np.maximum([[c.difference - c.low], [c.high - c.difference]], 0)  # rounding may give -0.0
    style = {"fmt": marker, "color": colour, "capsize": 4, "markersize": 7} | options
    if upright:
        ax.errorbar(place, c.difference, yerr=reach, **style)
    else:
        ax.errorbar(c.difference, place, xerr=reach, **style)


def rows(ax: Axes, names: Sequence[str]) -> None:
    """One row for each name, the first at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)


def legend_below(fig: Figure, axes: Iterable[Axes], ncols: int = 5) -> None:
    """One legend for all panels, below them; each label once."""
    shown: dict[str, object] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=min(ncols, max(len(shown), 1)))
