"""Writes figures/tables/parity.csv: how far we and the authors' own code agree, and how fast both are.

    RDCORE_OFFICIAL=~/checkouts python tests/parity/measure.py [--windows 20480] [--threads 1]

Measured is every module here that has NAME (the folder of the checkout), REPOSITORY and rows(windows), or a list MEASURED
of such objects, where the checkout is there; rows of other repositories stay as they are. Differences are the largest of
all weights after so many steps on the same draws. Seconds are processor time of an epoch over the first ``windows``
training windows, theirs and ours in turn, the median of three: on a machine that others use too, wall time measures the
others. Of the later methods they are the steps alone, of an epoch over CiteULike (`parity.followups.timed`).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parity import official  # noqa: E402

from rdcore.files import paths  # noqa: E402
from studies.common import report, text  # noqa: E402


def sides() -> Iterator[ModuleType | NamedTuple]:
    """What measures one repository each: modules here, or what is in their MEASURED."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem != "measure" and not file.stem.startswith("test_"):
            module = importlib.import_module(f"parity.{file.stem}")
            yield from getattr(module, "MEASURED", [module] if hasattr(module, "rows") else [])


def table(windows: int, before: pd.DataFrame) -> pd.DataFrame:
    """Rows of every repository that is there, and of the others those ``before``."""
    found = []
    for side in sides():
        if reason := official.missing(side.NAME):
            print(f"left out: {reason}")
            found += before[before["repository"] == side.REPOSITORY].to_dict("records")
            continue
        for row in side.rows(windows):
            found.append(row)
            print(row, flush=True)
    rows = pd.DataFrame(found, columns=official.COLUMNS)
    return rows if windows else timed_before(rows, before)


def timed_before(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """With the seconds that the same rows had before, where nothing was timed anew."""
    same, seconds = ["method", "repository", "what", "steps"], ["seconds_official", "seconds_ours"]
    old = before.drop_duplicates(same)[same + seconds]
    merged = rows.drop(columns=seconds).merge(old, how="left", on=same)
    return merged.assign(**{name: merged[name].astype(float) for name in seconds})[official.COLUMNS]


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """For people: how many times as fast we are stands behind the seconds."""
    rows = rows.assign(ratio=rows["seconds_official"] / rows["seconds_ours"])
    return text.formatted(rows, max_difference=".1e", seconds_official=".2f", seconds_ours=".2f", ratio=".1f")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=20_480, help="training windows of a timed epoch; 0: seconds stay")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    target = paths.figures() / "tables" / "parity.csv"
    before = pd.read_csv(target, dtype={"commit": str}) if target.exists() else pd.DataFrame(columns=official.COLUMNS)
    rows = table(arguments.windows, before)
    print(f"written: {report.write_table(rows, 'parity', 'paper', [], 'tests/parity/measure.py', shown(rows))}")


if __name__ == "__main__":
    main()
