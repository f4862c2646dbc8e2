"""What our own disk answers when it cannot be written, locks on it, and what a killed process leaves there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

_FREE = "free some space, or set RDCORE_ROOT (RDCORE_RUNS, for the run store alone) to a folder on another disk"
_WRITABLE = "set RDCORE_ROOT (RDCORE_RUNS, for the run store alone) to a folder that can be written"
_NO_FOLDER = f"a file is where a folder is needed: {_WRITABLE}"
DISK_ERRORS = {
    errno.ENOSPC: f"the disk is full: {_FREE}",
    errno.EDQUOT: f"the disk quota is used up: {_FREE}",
    errno.EROFS: f"the file system is read-only: {_WRITABLE}",
    errno.EACCES: f"no permission to write there: {_WRITABLE}",
    errno.EPERM: f"no permission to write there: {_WRITABLE}",
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
}


class DiskError(OSError):
    """A disk that cannot be written, in one sentence: which file, why, what to do."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises DiskError for whatever is raised inside because the disk is full or may not be written."""
    try:
        yield
    except Exception as error:
        reason = DISK_ERRORS.get(error_number(error))
        if reason is None:
            raise
        raise DiskError(f"cannot write {path}: {reason}") from error


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
            while not lock.is_locked:
                try:
                    lock.acquire()
                except FileNotFoundError:  # the folder was renamed meanwhile (`runs.set_aside`): the lock is a new one's
                    path.parent.mkdir(parents=True, exist_ok=True)
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


def error_number(error: Exception) -> int | None:
    """The system's number of an error, of one of safetensors out of its text; None where it has none."""
    said = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(said[1]) if said else getattr(error, "errno", None)


def probe(file: Path) -> None:
    """Raises the OSError that the disk answers to 64 KiB more, if it answers one."""
    with file.open("wb") as opened:
        opened.write(bytes(1 << 16))
        opened.flush()
        os.fsync(opened.fileno())
