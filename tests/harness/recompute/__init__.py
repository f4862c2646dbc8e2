"""Computes the committed tables once more, from the committed records, by code that shares nothing with the project.

Only numpy, pandas and the standard library are imported: what a record is, which record a row is about, the metrics from the
ranks of single users, the two-way layout, Student's t, Fieller's interval, power, Holm and the words of a verdict are all
written again here. A table agrees when it has the rows that the records give, and each cell is what the table prints, to its
six digits; what rests on random draws may differ by what so many draws allow. By hand, from the root of the repository:

    python tests/harness/recompute            all tables; exit status 1 where a cell disagrees
    python tests/harness/recompute scorecard  some of them

`tests/studies/test_recompute.py` runs it, and shows that a changed number is found. Every table in figures/tables is in
`RECOMPUTED` or in `UNRECORDED`.
"""

from __future__ import annotations

from . import ablations, audit, claims, derrd, flexibility, followups, one_protocol, rd, records, significance
from .tables import RECOMPUTED, Absent, committed, disagreements, entry

__all__ = ["RECOMPUTED", "UNRECORDED", "Absent", "committed", "disagreements", "entry", "main", "records"]
STUDIES = (ablations, audit, claims, derrd, flexibility, followups, one_protocol, rd, significance)  # each enters its tables
UNRECORDED = {  # name of a table -> why no record is behind it
    "benchmark": "seconds of stages, measured by `python -m benchmarks`",
    "benchmark_parts": "parts of the same seconds",
    "cost": "quality, size and latency of models that benchmarks/cost.py trains",
    "fuzz": "counts of inputs that tests/harness/fuzz.py makes up",
    "growth": "seconds and memory on generated data, measured by `python -m benchmarks growth`",
    "kills": "counts of killed processes, from tests/harness/kill.py",
    "million": "seconds and memory on generated data, measured by benchmarks/million.py",
    "parity": "differences to the authors' code, which tests/parity/measure.py runs",
    "published": "models of other papers that benchmarks/published.py computes or trains; no record of them is committed",
    "serving": "sizes and latencies, measured by benchmarks/serving.py",
}


def main(names: list[str]) -> int:
    """Prints each table's name with its number of cells, and every cell that disagrees."""
    wrong = 0
    for name in names or [name for name in committed() if entry(name, RECOMPUTED)]:
        try:
            count, lines = disagreements(name)
        except Absent as what:
            print(f"{name}: not computed; {what}")
            continue
        wrong += len(lines)
        print(f"{name}: {count} cells, {len(lines)} disagree")
        print("".join(f"  {line}\n" for line in lines[:20]), end="")
    return wrong > 0
