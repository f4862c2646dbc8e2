"""A million users and ten million rows: time and memory of each step from a frame to the served student.

    python -m benchmarks.million            # some minutes of one core, some GB; --trial: seconds, a thousandth of the data

The data are generated: every user has ten rows on average, items are drawn by a Zipf law. Steps that take long are done in
part, `done` of the whole, and `whole_seconds` is worked out from that: they take equal time for each training step, or for each
user. Seconds are the processor's, so that a busy machine shows little of it; the model is BPR-MF with 32 numbers a vector.

Writes figures/tables/million.csv, .md and .tex; with --trial into figures/smoke/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.limits import alone, forget_peak, peak
from rdcore import serve
from rdcore.data import Interactions, Stage, from_frame, stage
from rdcore.data.sampling import stream
from rdcore.distill import Position, RDSettings, RRDSettings
from rdcore.distill.base import TrainingData
from rdcore.eval.metrics import evaluate
from rdcore.models import BPRMFSettings
from rdcore.train.loop import Training, make_optimizer, train, training_data
from studies.common import report

SOURCE = "benchmarks/million.py"
COLUMNS = ["step", "done", "seconds", "whole_seconds", "peak_gb"]
DIM = 32


@dataclass(frozen=True)
class Size:
    """How much there is, and how much of it is done."""

    users: int = 1_000_000
    items: int = 100_000
    rows: int = 10_000_000
    batch: int = 16_384
    steps: int = 20
    judged: int = 2_000
    depth: int = 500
    """Of RRD's lists."""


TRIAL = Size(1_000, 500, 10_000, 256, 3, 50, 100)


def frame(size: Size) -> pd.DataFrame:
    """Rows in the order of time, users and items with labels that are no codes."""
    rng = np.random.default_rng(0)
    popular = np.minimum(rng.zipf(1.3, size=size.rows), 2**40) % size.items
    return pd.DataFrame({
        "who": 10**9 + 7 * rng.integers(size.users, size=size.rows), "what": 3 * popular + 5,
        "when": 10**9 + np.arange(size.rows),
    })  # fmt: skip


def first_users(part: Interactions, n: int) -> Interactions:
    """The first ``n`` users of a part, with all items."""
    return Interactions(part.name, part.items[: part.offsets[n]], part.offsets[: n + 1], part.n_items)


class RandomLists:
    """Made-up lists, so that the teacher's need not be worked out."""

    def get(self, name: str, shape: tuple[int, int], n_items: int, make: Callable[[], Tensor]) -> Tensor:
        """A random item and those behind it."""
        start, place = torch.randint(n_items, (shape[0], 1), dtype=torch.int32), torch.arange(shape[1], dtype=torch.int32)
        return start.add(place).remainder_(n_items)


def measure(size: Size) -> list[dict]:
    """A row for each step; in a process of its own, because its memory counts."""
    torch.set_num_threads(1)
    rows: list[dict] = []

    def step(name: str, work: Callable[[], object], done: int = 1, whole: int = 1) -> object:
        forget_peak("cpu")
        begun = time.process_time()
        result = work()
        taken = time.process_time() - begun
        share = f"{done:,} of {whole:,}" if whole > done else "all"
        rows.append(dict(zip(COLUMNS, [name, share, taken, taken * whole / done, peak("cpu") / 1e9], strict=True)))
        print(rows[-1], flush=True)
        return result

    made = frame(size)
    clicks = step("from_frame", partial(from_frame, made, "who", "what", "when", name="million", min_actions=5))
    del made
    part: Stage = step("split", lambda: stage(clicks, "F"))
    instances: TrainingData = step("training instances", lambda: training_data(part.fit, 0, "cpu"))
    plan = Training(epochs=1, batch_size=size.batch, learning_rate=5e-3, weight_decay=1e-5, negatives=1)
    n, steps = len(instances.target), -(-len(instances.target) // size.batch)
    done = min(size.steps, steps)
    some = replace(instances, queries=instances.queries[: done * size.batch], target=instances.target[: done * size.batch])
    torch.manual_seed(0)
    student, teacher = (BPRMFSettings(dim=dim).build(part.fit.n_users, part.fit.n_items) for dim in (DIM, 2 * DIM))
    optimizer = make_optimizer(student, None, plan)
    word = f"epoch of {n:,} instances in steps of {size.batch:,}"
    step(f"{word}, student alone", partial(train, student, some, optimizer, plan, seed=1), done, steps)
    teacher = teacher.requires_grad_(False).eval()
    method = RDSettings(K=10, exclude="seen", weights=Position(lam=10)).build(student, teacher)
    judged = min(size.judged, part.fit.n_users)
    few = Stage("F", first_users(part.fit, judged), first_users(part.judge, judged))
    asked = training_data(few.fit, 0, "cpu")
    step("the teacher's lists (64 numbers a vector)", partial(method.prepare, teacher, asked), judged, part.fit.n_users)
    del optimizer, method
    step("evaluation, all items ranked", lambda: evaluate(student.eval(), few), judged, part.fit.n_users)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "student.onnx"
        step("export to ONNX", lambda: serve.export(student, file))
        step("check of 200 users' lists", lambda: serve.check(file, student, part.fit, range(min(200, judged))))
        step("labels, and who has what", lambda: serve.write_users(clicks, Path(folder) / "student.npz"))
    method, random = RRDSettings(depth=size.depth).build(student, teacher), RandomLists()
    step(f"RRD: what every user leaves beside a list of {size.depth}", lambda: method.prepare(teacher, instances, cache=random))
    step("RRD: an epoch's sample, 40 and 40 items", lambda: method.begin_epoch(student, 1, steps, stream(1, "distillation", 1)))
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trial", action="store_true", help="a thousandth of the data, to see that it works")
    trial = parser.parse_args(argv).trial
    found = pd.DataFrame(alone(measure, TRIAL if trial else Size()), columns=COLUMNS)
    print(found.to_string(index=False, float_format="{:.3g}".format))
    print(f"written: {report.write_table(found, 'million', 'smoke' if trial else 'paper', [], SOURCE)}")


if __name__ == "__main__":
    main()
