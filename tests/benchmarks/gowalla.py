"""Times every stage of Ranking Distillation at Gowalla's size, beside what this machine could do at best.

    python tests/benchmarks/gowalla.py [--threads 2] [--steps 100] [--out FILE.csv]

Each stage runs in a process of its own (its peak memory is its own) on random interactions of Gowalla's shape. Training
stages time some steps and scale them to an epoch of 718 steps. The floor is what the stage's matrix products and the
optimizer's memory traffic would take at this machine's rates, measured in the same run: figures are comparable as
ratios only. Writes stage, device, seconds, floor_seconds, ratio, target (columns of figures/tables/benchmark.csv);
prints the same with peak memory and the share of the time by kind of work.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rdcore.data.interactions import Interactions, stage
from rdcore.distill import Hybrid, RankingDistillation, RDSettings
from rdcore.distill.lists import exemplary_rankings
from rdcore.evaluation import evaluate
from rdcore.models import CaserSettings
from rdcore.sampling import stream
from rdcore.training import Training, TrainingData, make_optimizer, seeded, train, training_data

USERS, ITEMS, ACTIONS = 13_149, 14_009, 41
BATCH, CANDIDATES = 512, 10
# Seconds, or a factor on another stage ("student epoch") or on the stage's own floor.
TARGETS = {
    "teacher epoch, d=100": "12 s",
    "student epoch, d=50": "6 s",
    "RD epoch, d=50, K=10, 100 rank samples": "1.3 x student epoch",
    "evaluation, d=100, all users": "3 s",
    "teacher lists, d=100, all windows": "1.5 x floor",
}
KINDS = {
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "optimizer": ("aten::_fused_adam_", "Optimizer.step#Adam.step", "Optimizer.zero_grad#Adam.zero_grad"),
    "gather, scatter": ("aten::embedding_dense_backward", "aten::index", "aten::index_select", "aten::_index_put_impl_"),
    "clearing gradients": ("aten::fill_", "aten::zero_"),
    "random numbers": ("aten::random_", "aten::randperm", "aten::searchsorted"),
}


def interactions() -> Interactions:
    """Random sequences of Gowalla's shape; every user has ACTIONS items, popular ones more often."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, ITEMS + 1) ** 0.6
    draws = rng.choice(ITEMS, size=(USERS, ACTIONS * 2), p=popularity / popularity.sum())
    rows = [np.unique(row, return_index=True) for row in draws]
    items = np.concatenate([row[np.sort(first)][:ACTIONS] for row, (_, first) in zip(draws, rows, strict=True)])
    counts = np.array([min(len(first), ACTIONS) for _, first in rows])
    return Interactions("random", items, np.concatenate([[0], np.cumsum(counts)]), ITEMS)


def rates() -> dict[str, float]:
    """This machine's best of several tries: FLOP/s of float32 products, bytes/s of copies (read and written)."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    big, copy = torch.rand(2**26), torch.empty(2**26)

    def best(work, amount):
        seconds = []
        for _ in range(7):
            begun = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begun)
        return amount / min(seconds)

    return {"flops": best(lambda: a @ b, 2 * 2048**3), "bytes": best(lambda: copy.copy_(big), 2 * 4 * 2**26)}


def floor(name: str, dim: int, queries: int, rate: dict[str, float]) -> float:
    """Seconds that the stage's products, and in training Adam's traffic, take at the machine's rates."""
    encode = 2 * dim * (5 * 240 + 2 * 5 + (2 * dim + 80))  # horizontal filters as one product, vertical, dense layer
    if "epoch" not in name:
        return queries * (encode + 2 * ITEMS * 2 * dim) / rate["flops"]
    scored = 4 + (CANDIDATES if name.startswith("RD") else 0)
    flops = 3 * (encode + 2 * scored * 2 * dim) + (2 * 100 * 2 * dim if name.startswith("RD") else 0)
    parameters = USERS * dim + ITEMS * 3 * dim + ITEMS
    # Adam reads parameter, gradient and both moments and writes three of them; the gradient is cleared and written.
    traffic = 9 * 4 * parameters * queries / BATCH
    return queries * flops / rate["flops"] + traffic / rate["bytes"]


def measure(name: str, steps: int, threads: int, results) -> None:
    torch.set_num_threads(threads)
    dim = 100 if "d=100" in name else 50
    final = stage(interactions(), "F")
    with seeded(1, "cpu"):
        model = CaserSettings(dim=dim).build(USERS, ITEMS)
    data = training_data(final.fit, 5, "cpu")
    n = len(data.queries)
    shares = {}
    if name.startswith("evaluation"):
        begun = time.perf_counter()
        evaluate(model, final)
        seconds, n = time.perf_counter() - begun, USERS
    elif name.startswith("teacher lists"):
        part = steps * 2048
        begun = time.perf_counter()
        exemplary_rankings(model, data.queries[:part], CANDIDATES, target=data.target[:part])
        seconds = (time.perf_counter() - begun) * n / min(part, n)
    else:
        seconds, shares = _epoch(name, model, data, steps)
    results.put((seconds, n, dim, _peak(), shares))


def _peak() -> float:
    """Highest resident memory of this process, GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would start from the parent's peak, which the measurement of the rates has raised
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _epoch(name: str, model, data: TrainingData, steps: int) -> tuple[float, dict[str, float]]:
    distillation = None
    if name.startswith("RD"):  # from the first epoch with dynamic weights on, with random lists: their content costs nothing
        distillation = RankingDistillation(RDSettings(weights=Hybrid(start_epoch=1)))
        distillation.seen = data.seen
        lists = torch.randint(ITEMS, (len(data.queries), CANDIDATES), generator=stream(1, "lists"))
        distillation.lists = lists.to(torch.int32)
    settings = Training(epochs=1)
    optimizer = make_optimizer(model, distillation, settings)
    part = TrainingData(data.queries[: BATCH * steps], data.target[: BATCH * steps], data.seen)
    logs = []

    def epoch():
        train(model, part, optimizer, settings, seed=1, distillation=distillation,
              after_epoch=lambda _, log: logs.append(log))  # fmt: skip

    for _ in range(4):
        epoch()
    with torch.profiler.profile() as profiler:
        epoch()
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(spent.values())
    shares = {kind: sum(spent.get(key, 0) for key in keys) / total for kind, keys in KINDS.items()}
    seconds = np.median([log["seconds"] for log in logs[1:-1]])  # without the first, which warms up, and the profiled
    return seconds * len(data.queries) / len(part.queries), shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=100, help="training steps timed (blocks of 2,048 for the lists)")
    parser.add_argument("--out", help="CSV file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rate = rates()
    print(f"{arguments.threads} threads, {rate['flops'] / 1e9:.0f} GFLOP/s, copies {rate['bytes'] / 1e9:.0f} GB/s")
    context, rows, notes = multiprocessing.get_context("spawn"), [], []
    for name, target in TARGETS.items():
        results = context.Queue()
        process = context.Process(target=measure, args=(name, arguments.steps, arguments.threads, results))
        process.start()
        seconds, n, dim, peak, shares = results.get()
        process.join()
        at_best = floor(name, dim, n, rate)
        rows.append([name, f"cpu, {arguments.threads} threads", seconds, at_best, seconds / at_best, target])
        parts = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
        notes.append(f"{name}: peak {peak:.2f} GiB" + (f"; {parts}, rest {1 - sum(shares.values()):.0%}" if parts else ""))
    frame = pd.DataFrame(rows, columns=["stage", "device", "seconds", "floor_seconds", "ratio", "target"])
    print(frame.to_string(index=False, float_format="{:.2f}".format))
    by_name = frame.set_index("stage")["seconds"]
    print(f"RD epoch / student epoch: {by_name.filter(like='RD').iloc[0] / by_name.filter(like='student').iloc[0]:.2f}")
    print("\n".join(notes))
    if arguments.out:
        frame.to_csv(arguments.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
