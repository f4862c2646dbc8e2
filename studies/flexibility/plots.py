"""Pictures of the flexibility study."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdcore.eval.significance import Comparison
from studies.common.style import look, rows
from studies.flexibility.plan import Cell

WIDEST = 3  # a row of panels shows so many times its largest gain


def percent(one: Comparison) -> np.ndarray:
    """Gain and the ends of its interval in per cent of the student alone: (3,)."""
    return 100 * np.array([one.difference, one.low, one.high]) / one.mean_b


def matrix(found: Mapping[Cell, Comparison]) -> Figure:
    """The gain in MAP of every cell in per cent of the student alone, with its 95 % interval: a panel for each student and
    method, a row for each teacher. One seed is a hollow mark, whose interval is over users alone. With two seeds an interval
    may be wider than any axis; it then leaves the picture."""
    students, methods, teachers = (list(dict.fromkeys(names)) for names in (
        (cell.student for cell in found), (cell.method for cell in found), (cell.teacher for cell in found)))  # fmt: skip
    size = (8.3, 0.9 + len(students) * (0.6 + 0.27 * len(teachers)))
    fig, axes = plt.subplots(len(students), len(methods), figsize=size, squeeze=False, sharey=True, sharex="row")
    for line, student in zip(axes, students, strict=True):
        values = np.array([percent(one) for cell, one in found.items() if cell.student == student])  # (cells, 3)
        reach = max(WIDEST * np.abs(values[:, 0]).max(), 1.0)
        for ax, method in zip(line, methods, strict=True):
            colour, _, marker = look(method)
            own = {cell.teacher: one for cell, one in found.items() if (cell.student, cell.method) == (student, method)}
            for teacher, one in own.items():
                middle, low, high = np.clip(percent(one), -2 * reach, 2 * reach)
                ax.errorbar(middle, teachers.index(teacher), xerr=[[max(middle - low, 0)], [max(high - middle, 0)]], fmt=marker,
                            color=colour, capsize=3, markersize=6, markerfacecolor=colour if one.n_seeds > 1 else "white")
            if not own:
                ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color="#555555", fontsize=10)
            ax.axvline(0, color="black", linewidth=1)
            ax.set_title(f"{method} to {student}", fontsize=11)
        low, high = values.min(), values.max()
        margin = 0.05 * (min(high, reach) - max(low, -reach))
        line[0].set_xlim(max(low, -reach) - margin, min(high, reach) + margin)
        line[0].locator_params(axis="x", nbins=5)
        rows(line[0], teachers)
    fig.supxlabel("gain in MAP, % of the student alone, 95 % interval", fontsize=11)
    return fig


SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")


def scatter(cells: pd.DataFrame) -> Figure:
    """`tables.points`: every cell's gain over its teacher's lead and over its teacher's difference from the student; a row
    for each student, a colour for each method, a shape for each teacher."""
    students, teachers, methods = (list(cells[name].unique()) for name in ("student", "teacher", "method"))
    fig, axes = plt.subplots(len(students), 2, figsize=(8.3, 1.4 + 2.6 * len(students)), squeeze=False, sharey="row")
    for line, student in zip(axes, students, strict=True):
        own = cells[cells["student"] == student]
        for ax, name in zip(line, ("lead", "different"), strict=True):
            for cell in own.itertuples():
                shape = SHAPES[teachers.index(cell.teacher) % len(SHAPES)]
                colour = look(cell.method).colour
                face = colour if cell.seeds > 1 else "white"
                ax.plot(getattr(cell, name), cell.gain, shape, color=colour, markerfacecolor=face, markersize=7)
            ax.axhline(0, color="black", linewidth=1)
            ax.margins(0.1)
        line[0].axvline(0, color="black", linewidth=1)
        line[0].set_ylabel(f"{student}: gain, %")
    axes[-1, 0].set_xlabel("lead of the teacher over the student alone, %")
    axes[-1, 1].set_xlabel("difference: 1 - correlation of the users' AP")
    handles = [Line2D([], [], marker=SHAPES[i % len(SHAPES)], color="#555555", linestyle="none", label=name)
               for i, name in enumerate(teachers)]  # fmt: skip
    handles += [Line2D([], [], color=look(name).colour, linewidth=5, label=name) for name in methods]
    fig.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    return fig


def alike(overlap: pd.DataFrame) -> Figure:
    """How alike the teachers' first ten are: overlap (teachers x teachers) from `rdcore.store.agreement`."""
    n = len(overlap)
    fig, ax = plt.subplots(figsize=(1.8 + 0.75 * n, 1.0 + 0.5 * n))
    ax.imshow(overlap.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for row, column in np.ndindex(n, n):
        value = overlap.iloc[row, column]
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    ax.set_xticks(range(n), overlap.columns, rotation=30, ha="right")
    ax.set_yticks(range(n), overlap.index)
    ax.grid(visible=False)
    ax.set_title("share of common items in lists of ten", fontsize=11)
    return fig
