"""What a room's module `study` has: whatever loops over all papers asks for these, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from rdcore.store.experiment import Experiment
from studies.common import text

FEW = 5  # with fewer seeds a number is provisional


class Result(NamedTuple):
    """One number of a paper and ours."""

    what: str
    """Model, data set and metric: 'Caser, Gowalla: MAP'."""
    role: str
    paper: float | None
    ours: float | None
    std: float | None = None
    """Over the seeds."""
    seeds: int = 0


class Study(Protocol):
    """One paper, or one question of our own."""

    def runs(self, profile: str) -> list[Experiment]:
        """Every run of a profile, in training order."""

    def teachers_of(self, student: Experiment) -> list[Experiment]:
        """The teachers with which a student trained alone is compared."""

    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Name of a file in figures/tables -> that table, computed from the committed records."""

    def headline(self) -> Sequence[Result]:
        """Its rows of README's one table: T, S and the paper's methods."""

    def findings(self) -> Sequence[str]:
        """What it found, a sentence each, with numbers from the records."""

    def results(self) -> str:
        """Its section of docs/results.md, in Markdown, written from the committed records."""


def of_table(frame: pd.DataFrame, what: str, roles: Sequence[str], metric: str) -> list[Result]:
    """Rows of one data set, model and protocol of a replication table (`report.COLUMNS`) as results."""
    by_role = frame[frame["metric"] == metric].set_index("role")
    found = []
    for role in roles:
        row = by_role.loc[role] if role in by_role.index else pd.Series(dtype=float)
        values = [None if text.missing(row.get(name)) else row.get(name) for name in ("reported", "replicated", "std", "seeds")]
        found.append(Result(what, role, *values[:3], int(values[3] or 0)))
    return found


def as_table(results: Sequence[Result], *, seeds: bool = False) -> str:
    """Results as a Markdown table: what, role, paper, ours, difference, and the number of ``seeds``."""
    lines = []
    for one in results:
        both = one.paper is not None and one.ours is not None
        line = {
            "model, data: metric": one.what,
            "": one.role,
            "paper": text.number(one.paper),
            "ours": text.spread(one.ours, one.std) or "not run",
            "difference": text.percent(one.ours / one.paper - 1) if both else "",
        }
        lines.append(line | ({"seeds": str(one.seeds or "")} if seeds else {}))
    return text.markdown(pd.DataFrame(lines))


def gain(results: Sequence[Result], role: str, over: str = "S") -> str:
    """How far a role lies above another, in per cent, ours and the paper's; "" where it was not run.

    >>> rows = [Result("x", "S", 0.08, 0.10, None, 3), Result("x", "RD", 0.10, 0.11, None, 3)]
    >>> gain(rows, "RD")
    '+10.0% (paper: +25.0%; 3 seeds, provisional)'
    """
    by_role = {one.role: one for one in results}
    a, b = by_role[role], by_role[over]
    if a.ours is None or b.ours is None:
        return ""
    paper = "no number" if a.paper is None or b.paper is None else text.percent(a.paper / b.paper - 1)
    seeds = min(a.seeds, b.seeds)
    few = ", provisional" * (seeds < FEW)
    return f"{text.percent(a.ours / b.ours - 1)} (paper: {paper}; {text.count(seeds, 'seed')}{few})"
