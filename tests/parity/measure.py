"""Writes figures/tables/parity.csv: how far we and the authors' own code agree, and how fast both are.

    RDCORE_OFFICIAL=~/checkouts python tests/parity/measure.py [--windows 20480] [--threads 2]

Every row of a repository whose checkout is there is measured again; rows of others stay. Differences are the largest
of all weights after so many steps on the same draws. Seconds are an epoch over the first windows of Gowalla, both
sides in turn, the median of three.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parity import derrd, official, rd  # noqa: E402

from rdcore.distill import Discrepancy, Hybrid, Position  # noqa: E402
from rdcore.files import paths  # noqa: E402

COLUMNS = ["method", "repository", "commit", "what", "steps", "max_difference", "seconds_official", "seconds_ours"]
SAMPLED = Discrepancy(samples=30, estimate="instance")
# method, what is compared, how the two sides say it, size and kind of the timed epoch
RD_ROWS = [
    ("Caser", "teacher, no distillation", {}, (100, None)),
    ("Caser", "student, no distillation", {}, (50, None)),
    ("RD", "position weights", {"weights": Position()}, (50, False)),
    ("RD", "hybrid weights as released", {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=1), "start": 0}, (50, True)),
    (
        "RD", "hybrid weights, normalised",
        {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=1, normalise=True), "start": 0, "normalise": True}, None,
    ),
]  # fmt: skip


def rd_rows(windows: int) -> list[dict]:
    """RD's Caser, after 1 and 51 steps."""
    found = []
    for method, what, given, clock in RD_ROWS:
        seconds = rd.timed(clock[0], windows, ranks=clock[1]) if clock and windows else (None, None)
        for steps, n in ((1, 100), (50, 300)):
            with tempfile.TemporaryDirectory() as folder:
                taken, difference, *_ = rd.compare(Path(folder), steps=steps, n=n, **given)
            row = [method, "graytowne/rank_distill", official.commit(rd.NAME), what, taken, difference]
            found.append(dict(zip(COLUMNS, [*row, *(seconds if steps > 1 else (None, None))], strict=True)))
            print(found[-1], flush=True)
    return found


def derrd_rows() -> list[dict]:
    """DE-RRD's BPR-MF, DE and RRD, after 1 and 51 steps."""
    found = []
    for method in ("BPR", "DE", "RRD"):
        for steps, n in ((1, 100), (50, 300)):
            taken, difference, _ = derrd.compare(method, steps=steps, n=n)
            row = [method, "SeongKu-Kang/DE-RRD_CIKM20", official.commit(derrd.NAME), "losses and one Adam", taken, difference]
            found.append(dict(zip(COLUMNS, [*row, None, None], strict=True)))
            print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--windows", type=int, default=20_480, help="training windows of a timed epoch; 0: time nothing")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = []
    for name, rows in ((derrd.NAME, derrd_rows), (rd.NAME, lambda: rd_rows(arguments.windows))):
        if reason := official.missing(name):
            print(f"left out: {reason}")
        else:
            found += rows()
    rows = pd.DataFrame(found, columns=COLUMNS)
    target = paths.figures() / "tables" / "parity.csv"
    if target.exists():
        kept = pd.read_csv(target, dtype={"commit": str})
        rows = pd.concat([rows, kept[~kept["repository"].isin(rows["repository"])]])
    target.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(target, index=False, float_format="%.3g")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
