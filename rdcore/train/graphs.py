"""What surrounds the steps: on a GPU an epoch is recorded once as a CUDA graph and played back; on a CPU tiny numbers are 0.

A small model's step is a hundred kernels of some microseconds each; launching them one by one from
Python takes ten times as long as running them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


@contextlib.contextmanager
def recording_stream(device) -> Iterator[None]:
    """A CUDA stream for everything inside, because the default one cannot be recorded. On a CPU nothing."""
    if torch.device(device).type != "cuda":
        yield
        return
    outside, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    stream.wait_stream(outside)
    with torch.cuda.stream(stream):
        yield
    outside.wait_stream(stream)


@contextlib.contextmanager
def tiny_is_zero() -> Iterator[None]:
    """Numbers below 1.2e-38 are 0 inside, on a CPU and with one thread, as the store trains. Weight decay makes such numbers of
    weights that nothing uses, and with few of them a product takes many times as long. Further threads would not know."""
    outside = bool(torch.tensor(1e-38, dtype=torch.float32, device="cpu") * 0.1)
    torch.set_flush_denormal(torch.get_num_threads() == 1 or not outside)
    try:
        yield
    finally:
        torch.set_flush_denormal(not outside)


class Recorder:
    """Plays the steps of one epoch after another. Inside `recording_stream`."""

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()
        self.graph: torch.cuda.CUDAGraph | None = None

    def play(
        self, step: Callable[[Tensor, Tensor], None], order: Tensor, batch_size: int,
        generators: Sequence[torch.Generator],
    ) -> None:  # fmt: skip
        """Calls ``step(index, number)`` for every full batch of ``order`` (n,), and for the rest.

        index (batch_size,): the batch's part of ``order``; number (): 0, 1, ..., a tensor too. The step must have the same
        shapes in every call, wait for nothing, and keep its sums in tensors; it may draw from the default generator and from
        ``generators``. The first batch runs unrecorded: what is made at first use (the optimizer's moments) then exists.
        """
        full = len(order) // batch_size
        number = torch.zeros((), dtype=torch.long, device=order.device)
        places = torch.arange(batch_size, device=order.device)

        def one() -> None:
            step(order.index_select(0, number * batch_size + places), number)
            number.add_(1)

        if full:
            one()
        if full > 1:
            # Recorded again in every epoch, because schedules change numbers that a graph keeps.
            # It shares its memory with the one before, which has to live until then.
            graph = torch.cuda.CUDAGraph()
            for generator in generators:
                graph.register_generator_state(generator)
            torch.cuda.current_stream().synchronize()
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            try:
                one()
            finally:
                graph.capture_end()
            self.graph = graph
            for _ in range(full - 1):
                graph.replay()
        if len(order) % batch_size:
            step(order[full * batch_size :], number)
