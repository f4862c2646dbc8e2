"""Many jobs: one after another, on processes of this machine, or on the workers of a Dask cluster
(rdcore/store/cluster.py).

A job is a function of one task that leaves its result in the run store and goes on where an earlier
attempt was stopped. So nothing has to travel back, and a job that is lost with its worker is simply
done again.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm.auto import tqdm

from rdcore.checks import integer

Task = TypeVar("Task")

LOSSES = 3  # so often workers may die without any task being done in between; a Dask scheduler allows a task as many


def each(job: Callable[[Task], object], tasks: Sequence[Task], where: int | str = 1) -> Iterator[Task]:
    """Does ``job(task)`` for every task and yields the tasks as they are done, in any order.

    where: 1: here, one after another; n > 1: on n processes of this machine; an address such as
    'tcp://host:8786': on all workers of the Dask cluster with that scheduler, also those that join
    later. A worker's task is done again by another when the worker dies; ChildProcessError when
    that happens again and again.

    What a job raises is raised here. Raises ValueError for a cluster that cannot do it: no
    scheduler or worker there, a worker that does not see the run store of this process, one with
    several threads or other versions.
    """
    if isinstance(where, str):
        from rdcore.store import cluster

        yield from cluster.each(job, tasks, where)
        return
    integer("jobs", where)
    if where > 1:
        yield from _on_processes(job, tasks, where)
        return
    for task in tasks:
        job(task)
        yield task


# -------------------------------------------------------------------------------------------------------- local processes


def _on_processes(job: Callable, tasks: Sequence, jobs: int) -> Iterator:
    import joblib  # here, so that a machine that only trains needs less

    left, losses = list(tasks), 0
    # Idle workers of an earlier call are taken again where they were begun alike: they must know the store of this call.
    variables = {name: value for name, value in os.environ.items() if name.startswith("RDCORE_")}
    while left:
        parallel = joblib.Parallel(
            n_jobs=jobs, backend="loky", batch_size=1, return_as="generator_unordered",
            initializer=_begin, initargs=(os.getpid(), variables),
            mmap_mode="c",  # large arrays of a task are shared; torch wants arrays that could be written to
        )  # fmt: skip
        asked, done = list(left), set()
        try:
            for place in parallel(joblib.delayed(_numbered)(job, place, task) for place, task in enumerate(asked)):
                done.add(place)
                yield asked[place]
        except BrokenProcessPool as error:  # of loky, which then ends the other workers too
            losses = 1 if done else losses + 1
            if losses == LOSSES:
                raise ChildProcessError(
                    f"{LOSSES} times a worker process was killed before any run was finished; where memory is short, "
                    "fewer jobs at a time need less"
                ) from error
            tqdm.write("a worker process was killed: the runs that were under way go on from their checkpoints")
        left = [task for place, task in enumerate(asked) if place not in done]


def _begin(parent: int, variables: dict[str, str]) -> None:
    """In a worker: the parent's variables. Ctrl-C goes to every process of a terminal, and the parent
    is the one to answer it."""
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def _numbered(job: Callable, place: int, task) -> int:
    job(task)
    return place


@functools.cache  # once a process
def end_with_parent(parent: int) -> None:
    """From now on this process ends within a second of ``parent``, the process that started it.
    Left alone, a worker would train on, or wait for work for ever, after its parent was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
