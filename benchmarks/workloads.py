"""The stages of the pipeline as they are measured, each with its floor: the least that it has to compute and to move.

On generated data of Gowalla's and of CiteULike's size; what they hold costs nothing. A training stage runs some steps and is
scaled to an epoch. A floor counts

- the stage's products, 2 operations a multiplication, and in training the two products of each gradient;
- in training the optimizer's traffic: Adam reads parameter, gradient and both moments and writes three of them, the gradient
  is cleared and written, 9 numbers a parameter; and the vectors that are looked up: read, and their gradients added;
- in sampled evaluation the vectors of the candidates, read once.

Drawing, sorting, excluding and picking are not in the floor, nor are scores that are written and read again: in principle
they need not leave a cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from benchmarks.limits import forget_peak, peak, timed
from benchmarks.sized import of_size
from rdcore.data.splits import stage
from rdcore.distill import DESettings, Hybrid, RankingDistillation, RDSettings, RRDSettings
from rdcore.distill.base import Distillation, TrainingData
from rdcore.distill.lists import exemplary_rankings
from rdcore.eval.leave_one_out import Judge, full_ranks
from rdcore.eval.metrics import evaluate
from rdcore.models import BPRMFSettings, CaserSettings, Model, NeuMFSettings
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data
from studies.common.profiles import OFFICIAL
from studies.rd.timing import now

NUMBER = 4  # bytes of a float32


@dataclass(frozen=True)
class Size:
    """Of generated data. least: interactions of the least active user."""

    users: int
    items: int
    interactions: int
    least: int

    def part(self, quick: bool) -> Size:
        """``quick``: a fiftieth of the users and a twentieth of the items, for a look whether everything works."""
        if not quick:
            return self
        return replace(self, users=self.users // 50, items=self.items // 20, interactions=self.interactions // 50)

    def make(self):
        return of_size(self.users, self.items, self.interactions, least=self.least)


GOWALLA = Size(13_149, 14_009, 535_650, 15)
CITEULIKE = Size(5_219, 25_181, 125_580, 5)


@dataclass(frozen=True)
class Measured:
    """seconds of the whole stage; flops and moved bytes of its floor, and the working_set they are moved in; peak: memory,
    bytes; parts: kind of work -> its share of the time."""

    seconds: float
    flops: float
    moved: float
    working_set: int
    peak: int
    parts: dict[str, float]


# ----------------------------------------------------------------------------------------------------------- kinds of work

# What the profiler calls them: PyTorch's operations on a CPU, kernels on a GPU. The first that matches counts.
KINDS = {
    "products": ("::mm", "::addmm", "::bmm", "::baddbmm", "::mv", "::_cdist", "gemm", "gemv", "cutlass", "xmma", "cublas"),
    "optimizer": ("adam", "optimizer."),
    "clearing": ("::fill_", "::zero_", "fillfunctor", "memset"),
    "random numbers": ("::random_", "::randperm", "::uniform_", "::exponential_", "philox", "distribution"),
    "picking": ("::topk", "::sort", "topk", "radix", "bitonic"),
    "gather, scatter": ("embedding", "::index", "::gather", "::scatter", "searchsorted", "index", "gather", "scatter"),
}


def shares(device: str, work: Callable[[], object]) -> dict[str, float]:
    """Kind of work -> share of the time that ``work`` took under the profiler; 'rest' is everything else, Python and waiting
    included."""
    activities = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * (device == "cuda")
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        begun = now(device)
        work()
        total = 1e6 * (now(device) - begun)
    found = dict.fromkeys(KINDS, 0.0)
    for event in profiler.key_averages():
        on_gpu = event.device_type == torch.autograd.DeviceType.CUDA
        kind = next((kind for kind, names in KINDS.items() if any(name in event.key.lower() for name in names)), None)
        if kind and on_gpu == (device == "cuda"):
            found[kind] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / total
    return found | {"rest": 1 - sum(found.values())}


# ---------------------------------------------------------------------------------------------------------------- training


def _epoch(
    model: Model, data: TrainingData, settings: Training, distillation: Distillation | None, device: str, steps: int | None,
    *, flops: float, moved: float,
) -> Measured:  # fmt: skip
    """flops, moved: of a step, without the optimizer's traffic. steps: how many are timed (None: all of an epoch)."""
    n, size = len(data.queries), settings.batch_size
    optimizer = make_optimizer(model, distillation, settings)
    part = data
    if steps and steps * size < n:
        part = TrainingData(data.queries[: steps * size], data.target[: steps * size], data.seen)
    forget_peak(device)
    ends: list[float] = []  # an epoch's losses are known when a GPU has done all of it

    def epochs(count: int) -> None:
        train(model, part, optimizer, replace(settings, epochs=count), seed=1, distillation=distillation,
              after_epoch=lambda *_: ends.append(time.perf_counter()))  # fmt: skip

    epochs(6)
    seconds = sorted(end - begun for begun, end in pairwise(ends))[2]  # of five, behind one that warms up
    highest = peak(device)
    scale = n / len(part.queries)
    parameters = sum(table.numel() for group in optimizer.param_groups for table in group["params"])
    whole = n / size
    return Measured(
        seconds * scale, flops * whole, (moved + 9 * NUMBER * parameters) * whole, 4 * NUMBER * parameters, highest,
        shares(device, lambda: epochs(1)),
    )  # fmt: skip


def _built(settings, users: int, items: int, device: str) -> Model:
    with seeded(1, "cpu"):
        return settings.build(users, items).to(device)


def _encode_flops(settings: CaserSettings) -> float:
    """Of one query: the products of the horizontal filters (one for each item where they can begin), of the vertical ones and
    of the dense layer."""
    d, L, h, v = settings.dim, settings.window, settings.horizontal, settings.vertical
    return 2 * d * (h * sum(heights**2 for heights in range(1, L + 1)) + v * L + (v * d + L * h))


def caser_epoch(quick: bool, device: str, steps: int | None, *, dim: int, K: int = 0, samples: int = 100) -> Measured:
    """K: of Ranking Distillation from the first epoch with dynamic weights on; 0 is none."""
    size, settings = GOWALLA.part(quick), CaserSettings(dim=dim)
    data = training_data(stage(size.make(), "F").fit, settings.window, device, full_windows=True)
    model = _built(settings, size.users, size.items, device)
    distillation = None
    if K:
        distillation = RankingDistillation(RDSettings(K=K, weights=Hybrid(start_epoch=1), lists="random"))
        distillation.prepare(None, data)
    training = Training()
    scored, ranks = 1 + training.negatives + K, 2 * samples * 2 * dim if K else 0
    flops = 3 * (_encode_flops(settings) + 2 * scored * 2 * dim) + ranks
    moved = 3 * NUMBER * (settings.window * dim + dim + scored * (2 * dim + 1))
    return _epoch(model, data, training, distillation, device, steps,
                  flops=training.batch_size * flops, moved=training.batch_size * moved)  # fmt: skip


def bpr_epoch(quick: bool, device: str, steps: int | None, *, dim: int, method: str = "", teacher_dim: int = 200) -> Measured:
    """method: 'RRD' or 'DE', of a teacher of random vectors; '' is none."""
    size = CITEULIKE.part(quick)
    judge = Judge(size.make(), device)
    data = training_data(judge.fit, 0, device)
    model = _built(BPRMFSettings(dim=dim), size.users, size.items, device)
    training = OFFICIAL
    n, batch = len(data.queries), training.batch_size
    flops, moved = batch * 3 * 2 * 2 * dim, batch * 3 * NUMBER * 3 * dim
    distillation = None
    if method:
        teacher = _built(BPRMFSettings(dim=teacher_dim), size.users, size.items, device)
        chosen = {"RRD": RRDSettings(), "DE": DESettings()}[method]
        distillation = chosen.build(model, teacher).to(device)
        distillation.prepare(teacher, data)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1)).to(device)[:batch]
        users = len(data.queries.user[order].unique())
        listed = chosen.K + chosen.L if method == "RRD" else 0
        flops += users * 3 * 2 * listed * dim
        moved += users * 3 * NUMBER * listed * dim
        if method == "DE":
            items = len(data.target[order].unique()) + size.items * (1 - (1 - 1 / size.items) ** batch)
            hidden = (dim + teacher_dim) // 2
            flops += 3 * 2 * (users + items) * chosen.M * (dim * hidden + hidden * teacher_dim + teacher_dim)
    return _epoch(model, data, training, distillation, device, steps, flops=flops, moved=moved)


# --------------------------------------------------------------------------------------------------------- lists, evaluation


def _asked(device: str, work: Callable[[], object], *, flops: float, moved: float = 0, working_set: int = 2**29, scale=1.0):
    forget_peak(device)
    seconds = timed(device, work)
    highest = peak(device)
    return Measured(seconds * scale, flops, moved, working_set, highest, shares(device, work))


def caser_lists(quick: bool, device: str, steps: int | None, *, dim: int, K: int = 10) -> Measured:
    """steps: how many blocks of 2,048 windows are timed."""
    size, settings = GOWALLA.part(quick), CaserSettings(dim=dim)
    data = training_data(stage(size.make(), "F").fit, settings.window, device, full_windows=True)
    model = _built(settings, size.users, size.items, device)
    n = len(data.queries)
    part = min(2048 * steps, n) if steps else n
    queries, target = data.queries[:part], data.target[:part]
    return _asked(
        device, lambda: exemplary_rankings(model, queries, K, target=target),
        flops=n * (_encode_flops(settings) + 2 * size.items * 2 * dim), scale=n / part,
    )  # fmt: skip


def caser_evaluation(quick: bool, device: str, steps: int | None, *, dim: int) -> Measured:
    size, settings = GOWALLA.part(quick), CaserSettings(dim=dim)
    final = stage(size.make(), "F")
    model = _built(settings, size.users, size.items, device)
    flops = size.users * (_encode_flops(settings) + 2 * size.items * 2 * dim)
    return _asked(device, lambda: evaluate(model, final, device=device), flops=flops)


def sampled_evaluation(quick: bool, device: str, steps: int | None, *, dim: int) -> Measured:
    """Validation and test item of every user among the same candidates."""
    size = CITEULIKE.part(quick)
    judge = Judge(size.make(), device)
    model = _built(BPRMFSettings(dim=dim), size.users, size.items, device)
    scored = size.users * (judge.drawn.shape[1] + 2)
    return _asked(device, lambda: judge.means(model, full=False), flops=scored * 2 * dim, moved=NUMBER * scored * dim,
                  working_set=NUMBER * size.items * dim)  # fmt: skip


def full_evaluation(quick: bool, device: str, steps: int | None, *, dim: int, model: str) -> Measured:
    """Of NeuMF, whose hidden units are no product, a unit counts three operations: a difference, its size, a sum."""
    size = CITEULIKE.part(quick)
    judge = Judge(size.make(), device)
    built = _built({"BPR": BPRMFSettings, "NeuMF": NeuMFSettings}[model](dim=dim), size.users, size.items, device)
    flops = size.users * size.items * (2 + 3 * (model == "NeuMF")) * dim
    return _asked(device, lambda: full_ranks(built, judge.test, device=device), flops=flops)
