"""What a room's module `study` has: whatever loops over all papers asks for these, and for nothing else. A room may also have
`later_runs(profile)`: runs that come behind those of all rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from rdcore.eval.significance import Comparison
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from studies.common import text, verdicts


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


class Finding(NamedTuple):
    """One comparison with its verdict, a row of README."""

    compared: str
    """What with what: 'RD - S, Caser'."""
    ours: str
    """How far the first lies above the second, with its 95 % interval."""
    paper: str
    verdict: str
    seeds: int


class Study(Protocol):
    """One paper, or one question of our own."""

    def runs(self, profile: str) -> list[Experiment]:
        """Every run of a profile, in training order."""

    def teachers_of(self, student: Experiment) -> list[Experiment]:
        """The teachers with which a student trained alone is compared."""

    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Name of a file in figures/tables -> that table, computed from the committed records."""

    def write_tables(self) -> Sequence[Path]:
        """Writes those of its tables that no notebook writes; the CSV files."""

    def headline(self) -> Sequence[Result]:
        """Its rows of README's one table: T, S and the paper's methods."""

    def findings(self) -> Sequence[Finding | str]:
        """What it found, with numbers from the records: comparisons, and sentences about everything else."""

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


def made_on(records: Sequence[Record]) -> str:
    """Where the runs of a table were made, and Caser's revision: a sentence, "" without a run.

    The runs of one table should be from one kind of device and one revision; where they are not, a reader has to know.
    """
    devices = Counter("a CPU" if record.environment["device"] == "cpu" else record.environment["device"] for record in records)
    revisions = {record.description["model"]["revision"] for record in records if family(record.description) == "Caser"}
    places = [f"{device} ({text.count(count, 'run')})" for device, count in devices.most_common()]
    caser = f"; Caser is at revision {' and '.join(map(str, sorted(revisions)))}" if revisions else ""
    return f"Made on {', '.join(places)}{caser}." if places else ""


def over(
    compared: str, c: Comparison | None, reported: float = float("nan"), of: float = float("nan"), p: float = float("nan"),
    verdict: str = "",
) -> list[Finding]:  # fmt: skip
    """A comparison a - b as a finding, in per cent of b; [] where there is none, and with fewer seeds than a verdict takes.

    reported: the effect a - b that the paper reports; of: its number for b. NaN where it has none. p: after Holm's correction
    over the planned claims; where the verdict does not survive it, the finding says so. verdict: in the place of the usual one.

    >>> import numpy as np
    >>> from rdcore.eval import significance
    >>> x = 0.1 + np.array([[1, 2, 1, 2.0], [2, 3, 2, 2.5], [2, 2, 1, 2.5]]) / 100
    >>> c = significance.compare(x, 0 * x + 0.1)
    >>> over("RD - S", c, reported=0.05, of=0.1, p=0.07)[0]._asdict() == {
    ...     "compared": "RD - S", "ours": "+19.2% (+6.1% to +32.2%)", "paper": "+50.0%",
    ...     "verdict": "provisional confirmed, smaller; not by Holm", "seeds": 3}
    True
    """
    if c is None or c.n_seeds < verdicts.FEWEST_SEEDS:
        return []
    ours, low, high = (text.percent(value / c.mean_b) for value in (c.difference, c.low, c.high))
    paper = "" if text.missing(reported) or text.missing(of) else text.percent(reported / of)
    word = verdict or verdicts.verdict(c, reported)
    word += "; not by Holm" * verdicts.taken_back(word, p)
    return [Finding(compared, f"{ours} ({low} to {high})", paper, word, c.n_seeds)]


def verdict_table(findings: Sequence[Finding]) -> str:
    """Findings as a Markdown table."""
    table = pd.DataFrame(findings, columns=list(Finding._fields)).astype(str)
    return text.markdown(table.rename(columns={"ours": "ours (95 % interval)"}))
