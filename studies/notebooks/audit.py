"""What notebook 13 reads. Where a file cannot be fetched, made-up data stand in, and the page says so."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rdcore import data, datasets
from rdcore.data import Stage
from rdcore.data.errors import DataError
from studies.common import style
from studies.followups import splits

MADE_UP = (
    "*The file was not fetched, so made-up data stand in to show the code. The numbers of this section mean nothing; "
    "what the real file gives is [here](../figures/tables/protocol_audit.md).*"
)


def library_lines(made_up: bool = False) -> tuple[list[list[int]], bool]:
    """The lines of CiteULike's users.dat as numbers, `n item item ...`, and whether they are real.

    Otherwise (``made_up``, or the file cannot be fetched) 200 users whose items are in ascending
    order, as in the file.
    """
    try:
        if not made_up:
            (file,) = datasets.fetch("citeulike-users")
            return [[int(number) for number in line.split()] for line in file.read_text(encoding="ascii").splitlines()], True
    except DataError:
        pass
    generated = datasets.load("synthetic")
    items = np.split(generated.items, generated.offsets[1:-1])
    return [[len(own), *sorted(own.tolist())] for own in items], False


def versions() -> dict[str, Stage]:
    """The two versions of Gowalla that can be fetched; without those that cannot be had at the moment."""
    makers = {
        "gowalla": lambda: data.stage(datasets.load("gowalla"), "F"),
        "gowalla-m1": lambda: datasets.load("gowalla-m1"),
    }
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except DataError:
            continue
    return found


def splits_of_citeulike(lists: Sequence[Sequence[int]], lines: Sequence[Sequence[int]]) -> dict[str, Stage]:
    """Who splits CiteULike -> what is fitted and what is tested, of those whose files can be had.

    lists: the items of users with at least 5. lines: `n item item ...`, each of more than 5 numbers, which BD reads as items.
    """
    found = {}
    for name, folds in {"DE-RRD, IR-RRD": "citeulike", "Topology Distillation": "citeulike-td"}.items():
        try:
            parts = data.leave_one_out(datasets.load(folds))
        except DataError:
            continue
        found[name] = Stage("F", parts.fit, parts.test)
    rows = splits.numbered(lines)
    n_items = 1 + max(map(max, rows))
    ends = ([list(dict.fromkeys(row[:-2])) for row in rows], [row[-2:-1] for row in rows])
    found["BD, counts as items"] = Stage("F", *(splits.interactions("as BD reads it", end, n_items) for end in ends))
    by_user, by_id = splits.by_user_group(), splits.by_item_id(splits.numbered(lists))
    found["UnKD"] = Stage("F", by_user.fit, by_user.test)
    found["RCE-KD, PCKD, FreqD"] = Stage("F", by_id.fit, by_id.test)
    return found


def shares_by_id(cuts: dict[str, Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]], bins: int = 40) -> Figure:
    """Which share of the interactions of low and of high item ids is in training, validation and test, a panel a cut.

    cuts: title -> for each user the items of the three parts.
    """
    fig, axes = plt.subplots(1, len(cuts), figsize=(8.3, 3.0), sharey=True, squeeze=False)
    for ax, (title, users) in zip(axes[0], cuts.items(), strict=True):
        parts = [np.concatenate([np.asarray(user[k], dtype=int) for user in users]) for k in range(3)]
        every = np.concatenate(parts)
        edges = np.quantile(every, np.linspace(0, 1, bins + 1))
        counts = np.array([np.histogram(part, edges)[0] for part in parts])
        middle = (np.arange(bins) + 0.5) / bins
        shares = counts / np.maximum(counts.sum(0), 1)
        ax.stackplot(middle, shares, labels=list(style.PARTS), colors=list(style.PARTS.values()), alpha=0.85)
        ax.set(title=title, xlabel="interactions in order of the item's id", xlim=(0, 1), ylim=(0, 1))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes[0][0].set_ylabel("share of the part")
    style.legend_below(fig, axes[0])
    return fig
