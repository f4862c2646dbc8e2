"""Many jobs: one after another, on processes of this machine, or on the workers of a Dask cluster.

A job is a function of one task that leaves its result in the run store and goes on where an earlier attempt
was stopped. So nothing has to travel back, and a job that is lost with its worker is simply done again.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from rdcore.checks import whole
from rdcore.files import paths
from rdcore.files.disk import locked

Task = TypeVar("Task")

LOSSES = 3  # so often workers may die without any task being done in between; a Dask scheduler allows a task as many
WAIT_SECONDS = 10  # for an answer of the scheduler, and for its first worker
VERSIONS = ("rdcore", "torch")  # what decides the numbers of a run


def each(job: Callable[[Task], object], tasks: Sequence[Task], where: int | str = 1) -> Iterator[Task]:
    """Does ``job(task)`` for every task and yields the tasks as they are done, in any order.

    where: 1: here, one after another; n > 1: on n processes of this machine; an address such as 'tcp://host:8786': on all
    workers of the Dask cluster with that scheduler, also those that join later. A worker's task is done again by another
    when the worker dies; ChildProcessError when that happens again and again.

    What a job raises is raised here. Raises ValueError for a cluster that cannot do it: no scheduler or worker there, a
    worker that does not see the run store of this process, one with several threads or other versions.
    """
    if isinstance(where, str):
        yield from _on_cluster(job, tasks, where)
        return
    whole("jobs", where)
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
    while left:
        parallel = joblib.Parallel(
            n_jobs=jobs, backend="loky", batch_size=1, return_as="generator_unordered",
            initializer=end_with_parent, initargs=(os.getpid(),),
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


def _numbered(job: Callable, place: int, task) -> int:
    job(task)
    return place


@functools.cache  # once a process
def end_with_parent(parent: int) -> None:
    """From now on this process ends within a second of ``parent``, the process that started it. Left alone, a worker would
    train on, or wait for work for ever, after its parent was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


# ---------------------------------------------------------------------------------------------------------------- cluster


def _on_cluster(job: Callable, tasks: Sequence, address: str) -> Iterator:
    try:
        import distributed
    except ImportError:
        raise ValueError(f"the cluster {address} needs dask[distributed], the extra `cluster` of rdcore") from None
    try:
        with _without_collection():
            client = distributed.Client(address, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # nobody there, or no address
        raise ValueError(f"no Dask scheduler answers at {address!r}, such as tcp://host:8786: {error}") from error
    with client, _sign() as sign:
        here = (sign, *map(_version, VERSIONS))
        _check(client, address, here)
        # Not by joblib's Dask backend: where it finds one worker, as after the loss of the others, it does everything in this
        # process.
        asked = {client.submit(_on_worker, here, job, task, pure=False): task for task in tasks}
        try:
            for future in distributed.as_completed(list(asked), loop=client.loop):
                future.result()
                yield asked[future]
        except distributed.KilledWorker as error:
            raise ChildProcessError(
                f"{' '.join(str(error).split())} The workers' logs tell why; it may have been memory (--memory-limit)."
            ) from error


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage is collected inside. A client that did not start stays in its exception's traceback and stops its event loop
    when it is collected; where that happens while the next one starts, both want one lock of distributed, for ever."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _sign() -> Iterator[Path]:
    """A lock held in the run store, by which workers know the store, and that locks work between them and this process."""
    sign = paths.runs() / f".cluster-{uuid.uuid4().hex}"
    for old in paths.runs().glob(".cluster-*.lock"):
        with contextlib.suppress(Timeout), FileLock(old, timeout=0):
            old.unlink(missing_ok=True)  # of a process that was killed
    with locked(sign):
        try:
            yield sign
        finally:
            Path(f"{sign}.lock").unlink(missing_ok=True)


def _check(client, address: str, here: tuple) -> None:
    """Raises ValueError where no worker comes, or one cannot train what belongs into this process's store."""
    try:
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
    except TimeoutError:
        raise ValueError(f"the Dask cluster {address} has no worker: start one there with `dask worker`") from None
    try:
        found = client.run(_unfit, here)
    except Exception as error:
        if "ModuleNotFoundError" not in repr(error):  # which Dask passes on as text
            raise
        raise ValueError(f"a worker of {address} cannot import rdcore ({error}): install the same version there") from error
    unfit = [f"worker {worker} {problem}" for worker, problem in found.items() if problem]
    if unfit:
        more = f" (and {len(unfit) - 1} more workers)" if len(unfit) > 1 else ""
        raise ValueError(f"{unfit[0]}{more}")


def _unfit(here: tuple, dask_worker) -> str:
    """What keeps this worker from doing the jobs, in words; empty where nothing does. Dask fills in ``dask_worker``."""
    (sign, *versions), threads = here, dask_worker.state.nthreads
    store = sign.parent
    if threads != 1:  # torch's global generators belong to the process: two runs in one would take each other's numbers
        return f"has {threads} threads, and a run needs a process of its own: start it with --nthreads 1 --nworkers {threads}"
    for name, wanted in zip(VERSIONS, versions, strict=True):
        if _version(name) != wanted:
            return f"has {name} {_version(name)}, not {wanted} as here: install the same version there"
    lock = Path(f"{sign}.lock")
    if not lock.exists():
        return f"does not see the run store {store} of this machine: name a folder that all workers share (RDCORE_RUNS)"
    try:
        with FileLock(lock, timeout=0):
            return f"holds a lock in {store} that this machine holds too: file locks must work on the shared file system"
    except Timeout:
        return ""
    except OSError as error:
        return f"cannot lock files in the run store {store} ({error.strerror or error}): it must be able to write there"


def _on_worker(here: tuple, job: Callable, task) -> None:
    from distributed import get_worker

    if problem := _unfit(here, get_worker()):  # of a worker that came later
        raise ValueError(f"a worker {problem}")
    before = os.environ.get("RDCORE_RUNS")
    os.environ["RDCORE_RUNS"] = str(here[0].parent)
    try:
        job(task)
    finally:
        if before is None:
            del os.environ["RDCORE_RUNS"]
        else:
            os.environ["RDCORE_RUNS"] = before


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
