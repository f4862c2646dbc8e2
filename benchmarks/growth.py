"""How time and memory grow with the data: `python -m benchmarks growth`.

On generated data, each piece of work in a process of its own: time must be linear in the interactions and in the items, and
memory bounded by the data, the parameters (four times in training: with their gradients and Adam's two moments) and one
block of scores. Time is the processor's, all threads together, so that a busy machine shows little of it.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.limits import GIB, alone, forget_peak, peak
from benchmarks.workloads import NUMBER, Size
from rdcore.data.interactions import Interactions
from rdcore.data.sampling import stream, unseen_items
from rdcore.data.splits import Stage, stage
from rdcore.distill import Hybrid, RankingDistillation, RDSettings
from rdcore.distill.base import TrainingData
from rdcore.distill.lists import exemplary_rankings
from rdcore.eval.metrics import evaluate
from rdcore.models import CaserSettings
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data

STEPS, QUERIES = 50, 1000
ACTIONS = 40  # of a user, on average
INTERACTIONS, ITEMS = (10**4, 10**5, 10**6, 10**7), (10**3, 10**4, 10**5, 10**6)
FIXED_ITEMS, FIXED_INTERACTIONS = 10**4, 10**6
SOURCE = "python -m benchmarks growth"
COLUMNS = ["varied", "interactions", "users", "items", "work", "queries", "seconds", "peak_gib", "parameters_gib", "data_gib"]


def _caser(dim: int, fit: Interactions):
    with seeded(1, "cpu"):
        return CaserSettings(dim=dim).build(fit.n_users, fit.n_items)


def _first_users(part: Interactions, n: int) -> Interactions:
    n = min(n, part.n_users)
    return Interactions(part.name, part.items[: part.offsets[n]], part.offsets[: n + 1], part.n_items)


# Each returns what it asked or trained, how many queries that was, and the bytes of parameters and of data that it needs.


def _nothing(data: Interactions, quick: bool) -> tuple[Callable, int, int]:
    return lambda: None, 1, 0


def _draws(data: Interactions, quick: bool) -> tuple[Callable, int, int]:
    """Order and negatives of an epoch: what a training step does not pay for."""
    instances = training_data(data, 5, "cpu", full_windows=True)

    def draw():
        torch.randperm(len(instances.queries), generator=stream(1, "order", 1))
        unseen_items(instances.queries.user, 3, instances.seen, stream(1, "negatives", 1))

    return draw, len(instances.queries), 0


def _steps(data: Interactions, quick: bool, distil: bool) -> tuple[Callable, int, int]:
    """Training steps of a Caser student, d=50, alone or by Ranking Distillation."""
    settings = Training()
    instances = training_data(data, 5, "cpu", full_windows=True)
    part = instances.queries[: STEPS * settings.batch_size], instances.target[: STEPS * settings.batch_size]
    instances = TrainingData(*part, instances.seen)
    model, distillation = _caser(50, data), None
    if distil:
        distillation = RankingDistillation(RDSettings(weights=Hybrid(start_epoch=1), lists="random"))
        distillation.prepare(None, instances)
    optimizer = make_optimizer(model, distillation, settings)
    epochs = 1 if quick else math.ceil(STEPS * settings.batch_size / len(instances.queries))

    def steps():
        train(model, instances, optimizer, replace(settings, epochs=epochs), seed=1, distillation=distillation)

    return steps, epochs * len(instances.queries), 4 * _bytes(model)


def _evaluation(data: Interactions, quick: bool) -> tuple[Callable, int, int]:
    """All metrics of users, Caser student, d=50."""
    final = stage(data, "F")
    some = Stage("F", _first_users(final.fit, QUERIES), _first_users(final.judge, QUERIES))
    model = _caser(50, final.fit)
    return lambda: evaluate(model, some), some.fit.n_users, _bytes(model)


def _lists(data: Interactions, quick: bool) -> tuple[Callable, int, int]:
    """The lists of a Caser teacher, d=100, K=10."""
    instances = training_data(data, 5, "cpu", full_windows=True)
    model = _caser(100, data)
    queries, target = instances.queries[:QUERIES], instances.target[:QUERIES]
    return lambda: exemplary_rankings(model, queries, 10, target=target), len(queries), _bytes(model)


def _bytes(model: torch.nn.Module) -> int:
    return NUMBER * sum(table.numel() for table in model.parameters())


WORK: dict[str, Callable[[Interactions, bool], tuple[Callable, int, int]]] = {
    "empty process": _nothing,
    "draws of an epoch": _draws,
    f"{STEPS} steps, student": partial(_steps, distil=False),
    f"{STEPS} steps, RD": partial(_steps, distil=True),
    f"evaluation, {QUERIES:,} users": _evaluation,
    f"teacher lists, {QUERIES:,} queries": _lists,
}
# To how many queries seconds are scaled; the draws are an epoch's.
SCALED = {name: STEPS * Training.batch_size if "steps" in name else QUERIES for name in list(WORK)[2:]}


def _measure(name: str, file: str, threads: int, quick: bool) -> dict:
    """In a process of its own: the second of two times, which finds memory laid out and caches filled."""
    torch.set_num_threads(threads)
    forget_peak("cpu")
    with np.load(file) as saved:
        data = Interactions("generated", saved["items"], saved["offsets"], int(saved["n_items"]))
    work, queries, parameters = WORK[name](data, quick)
    for _ in range(1 if quick else 2):
        begun = time.process_time()
        work()
        seconds = time.process_time() - begun
    # Sequences, instances (user, end, target) and what is seen, in numbers of eight bytes.
    kept = 0 if name == "empty process" else 8 * (6 * len(data) + 3 * data.n_users)
    return {
        "queries": queries, "seconds": seconds * SCALED.get(name, queries) / queries, "peak_gib": peak("cpu") / GIB,
        "parameters_gib": parameters / GIB, "data_gib": kept / GIB,
    }  # fmt: skip


def measure(*, quick: bool = False, threads: int | None = None) -> pd.DataFrame:
    """Table with COLUMNS; seconds are scaled to the 50 steps or 1,000 queries where there are more or fewer, peak_gib is that
    of the whole process.

    ``quick``: small sizes, in one process, for a look whether everything works.
    """
    threads = threads or torch.get_num_threads()
    interactions, items, fixed_interactions, fixed_items = INTERACTIONS, ITEMS, FIXED_INTERACTIONS, FIXED_ITEMS
    if quick:
        interactions, items, fixed_interactions, fixed_items = (2000, 4000), (400, 800), 2000, 400
    points = [("interactions", n, fixed_items) for n in interactions] + [("items", fixed_interactions, n) for n in items]
    rows = []
    with tempfile.TemporaryDirectory(prefix="rdcore-growth-") as folder:
        file = str(Path(folder) / "data.npz")
        for varied, n_interactions, n_items in points:
            size = Size(n_interactions // ACTIONS, n_items, n_interactions, 8)
            data = size.make()
            np.savez(file, items=data.items, offsets=data.offsets, n_items=n_items)
            known = {"varied": varied, "interactions": len(data), "users": size.users, "items": n_items}
            for name in WORK:
                print(f"measuring: {len(data):,} interactions, {n_items:,} items: {name}", file=sys.stderr, flush=True)
                given = name, file, threads, quick
                rows.append(known | {"work": name} | (_measure(*given) if quick else alone(_measure, *given)))
    return pd.DataFrame(rows)[COLUMNS]


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Growth of the last step of each series: log(seconds ratio) / log(size ratio), 1 where time is linear; and the same of
    memory above that of an empty process."""
    found = []
    empty = table.loc[table["work"] == "empty process", "peak_gib"].min()
    for (varied, work), series in table[table["work"] != "empty process"].groupby(["varied", "work"], sort=False):
        last = series.sort_values(varied).tail(2)
        step = np.log(last[varied].iloc[1] / last[varied].iloc[0])
        memory = np.maximum(last["peak_gib"] - empty, 1e-3)
        grown = [float(np.log(values.iloc[1] / values.iloc[0]) / step) for values in (last["seconds"], memory)]
        found.append({"varied": varied, "work": work, "time": grown[0], "memory": grown[1]})
    return pd.DataFrame(found)


def unbounded(table: pd.DataFrame, *, block_gib: float = 0.75) -> list[str]:
    """Pieces of work whose memory exceeds that of an empty process, the parameters, twice the data (it is sorted once) and
    three blocks of a quarter GiB (scores, a copy of them and what is picked), as sentences."""
    empty = table.loc[table["work"] == "empty process", "peak_gib"].max()
    said = []
    for row in table.itertuples():
        bound = empty + row.parameters_gib + 2 * row.data_gib + block_gib
        if row.peak_gib > bound:
            said.append(f"{row.work}, {row.interactions:,} interactions, {row.items:,} items: {row.peak_gib:.2f} GiB, above "
                        f"{bound:.2f}")  # fmt: skip
    return said


def write(table: pd.DataFrame) -> list[Path]:
    """figures/tables/growth.csv (.md, .tex) and figures/growth.png (.pdf)."""
    import matplotlib

    matplotlib.use("agg")  # no window: this is a command
    from benchmarks import growth_plots
    from rdcore.files import paths
    from studies.common import report, style

    style.use_style()
    style.save(growth_plots.growth(table), "growth", "paper", [], SOURCE)
    return [report.write_table(table, "growth", "paper", [], SOURCE), paths.figures() / "growth.png"]
