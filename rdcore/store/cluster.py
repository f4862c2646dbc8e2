"""Jobs on the workers of a Dask cluster, which share this machine's run store."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from rdcore.files import paths
from rdcore.files.disk import locked

WAIT_SECONDS = 10  # for an answer of the scheduler, and for its first worker
VERSIONS = ("rdcore", "torch")  # what decides the numbers of a run


def each(job: Callable, tasks: Sequence, address: str) -> Iterator:
    """Does ``job(task)`` for every task on the workers of the cluster, and yields the tasks as they
    are done, in any order.

    Raises what a job raises, ValueError for a cluster that cannot do it, and ChildProcessError
    where workers die again and again at one task.
    """
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
        sent = client.scatter([job], broadcast=True, hash=False)[0]  # once: it may hold a data set
        asked = {client.submit(_on_worker, here, sent, task, pure=False): task for task in tasks}
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
    """No garbage is collected inside. A client that did not start stays in its exception's
    traceback and stops its event loop when it is collected; where that happens while the next one
    starts, both want one lock of distributed, for ever."""
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
    """A lock held in the run store, by which workers know the store, and that locks work between
    them and this process."""
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
    """Raises ValueError where no worker comes, or one cannot train what belongs into this process's
    store."""
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
    """What keeps this worker from doing the jobs, in words; empty where nothing does. Dask fills in
    ``dask_worker``."""
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
