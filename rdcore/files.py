"""Files that are whole or absent, locks that die with their process, and what to say when the disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

# What our own disk answers. RDCORE_RUNS names another run store alone, RDCORE_ROOT another place for everything.
_FREE = "free some space, or set RDCORE_ROOT (or RDCORE_RUNS, for the run store) to a folder on another disk"
_WRITABLE = "set RDCORE_ROOT (or RDCORE_RUNS, for the run store) to a folder that can be written"
DISK_ERRORS = {
    errno.ENOSPC: f"the disk is full: {_FREE}",
    errno.EDQUOT: f"the disk quota is used up: {_FREE}",
    errno.EROFS: f"the file system is read-only: {_WRITABLE}",
    errno.EACCES: f"no permission to write there: {_WRITABLE}",
    errno.EPERM: f"no permission to write there: {_WRITABLE}",
}


class DiskError(OSError):
    """A disk that cannot be written, in one sentence: which file, why, what to do."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises DiskError for whatever is raised inside because the disk is full or may not be written."""
    try:
        yield
    except Exception as error:
        reason = DISK_ERRORS.get(_errno(error))
        if reason is None:
            raise
        raise DiskError(f"cannot write {path}: {reason}") from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make the file in a folder of its own beside ``path`` and moves it there: under its name a file is
    whole or absent. The parent folder is made where it is missing.

    A failure leaves nothing behind; a process killed in the middle leaves a ``*.partial`` and the old file as it was.
    Raises DiskError when the disk cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, because some libraries make a temporary file of their own beside the one they are asked for.
        partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent))
        try:
            write(partial / path.name)
            os.replace(partial / path.name, path)
        except Exception as error:
            if _errno(error) is None:  # torch says only that the position in the file is not the expected one
                _probe(partial / "probe")
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Holds the lock ``<path>.lock``, which the system takes away from a process that dies. ``waiting``: what to say when
    another process holds it and this one has to wait.

    Raises DiskError where the lock's file cannot be made.
    """
    lock = FileLock(f"{path}.lock")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                tqdm.write(waiting)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_partials(folder: Path, name: str = "") -> None:
    """Removes what processes left in ``folder`` that were killed while they wrote ``name`` (any file without one). The caller
    holds the lock under which these files are written."""
    for leftover in folder.glob("*.partial"):
        if leftover.is_dir() and leftover.name.startswith(name):
            shutil.rmtree(leftover)


def _errno(error: Exception) -> int | None:
    """The system's error number, also out of the text of an error of safetensors."""
    said = re.search(r"\(os error (\d+)\)", str(error))
    return getattr(error, "errno", None) or (int(said[1]) if said else None)


def _probe(file: Path) -> None:
    """Raises the OSError that the disk answers to 64 KiB more, if it answers one."""
    with file.open("wb") as opened:
        opened.write(bytes(1 << 16))
        opened.flush()
        os.fsync(opened.fileno())
