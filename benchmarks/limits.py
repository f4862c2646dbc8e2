"""What this machine can do at best, and how a piece of work is watched: rates, peaks of memory, processes of their own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from studies.rd.timing import now

GIB = 2**30


@dataclass(frozen=True)
class Rates:
    """flops: of float32 matrix products, per second (a multiplication and an addition are two). bytes: read and written, per
    second, by copies."""

    flops: float
    bytes: float

    def seconds(self, flops: float, moved: float) -> float:
        """The least time for so many operations and so many bytes, one after the other."""
        return flops / self.flops + moved / self.bytes


def rates(device: str, working_set: int = 2**29, *, quick: bool = False) -> Rates:
    """The best of some tries, here and now.

    working_set: bytes that are copied among, because what fits a cache is copied faster: a stage is measured by the rate of
    what it works on. ``quick``: rough ones, in milliseconds.
    """
    tries, most = (1, 2**22) if quick else (5, 2**29)
    side = 256 if quick else 2048 if device == "cpu" else 8192
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    out = torch.empty_like(a)
    half = max(min(working_set, most) // 8, 2**12)  # float32 of each side of the copy
    here, there = torch.rand(half, device=device), torch.empty(half, device=device)
    repeats = max(1, most // 16 // half)

    def copies() -> None:
        for _ in range(repeats):
            there.copy_(here)

    product = _least(device, lambda: torch.mm(a, b, out=out), tries)
    copied = _least(device, copies, tries)
    return Rates(flops=2 * side**3 / product, bytes=2 * 4 * half * repeats / copied)


def _least(device: str, work: Callable[[], object], tries: int) -> float:
    """Seconds of the fastest try, behind one that does not count."""
    taken = []
    for _ in range(tries + 1):
        begun = now(device)
        work()
        taken.append(now(device) - begun)
    return min(taken[1:])


def device_name(device: str) -> str:
    """As tables call it: with what else decides how fast it is."""
    return torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def forget_peak(device: str) -> None:
    """Resets what `peak` counts, where the system can."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: then the peak is that of the whole process
        pass


def peak(device: str) -> int:
    """Highest memory since `forget_peak`, bytes: of this process, resident; on a GPU of its tensors."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would start from the peak of the process that started this one
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """``work(*arguments)`` in a process of its own, which starts afresh: its memory is its own. What it raises is raised here,
    and BrokenProcessPool where it was killed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def timed(device: str, work: Callable[[], object], repeats: int = 3, enough: float = 10.0) -> float:
    """Median seconds of some repeats behind one that does not count; of a single one where that takes ``enough``."""
    taken: list[float] = []
    begun = time.perf_counter()
    for _ in range(repeats + 1):
        start = now(device)
        work()
        taken.append(now(device) - start)
        if time.perf_counter() - begun > enough:
            break
    counted = sorted(taken[1:] or taken)
    return counted[len(counted) // 2]
