"""Taking runs out of the local store.

A run leaves its name by one rename, into runs/.deleted, and is removed there: killed at any moment,
the store holds a run whole or not at all. The next deletion removes what a kill left. The lock
files stay: another process may be waiting for one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from rdcore.files import paths
from rdcore.store.listing import SHORTEST_KEY, find, key_length, stored_runs, table
from rdcore.store.names import label
from rdcore.store.records import Run, being_trained


def to_delete(beginnings: Sequence[str], *, with_students: bool = False) -> list[Run]:
    """The runs that `delete` would take, students before their teachers. ``with_students``: also
    the runs that they taught.

    Raises ValueError for a beginning that fits no run or several, for a run that is being trained,
    and, without ``with_students``, for a teacher of another stored run.
    """
    wanted = {run.key: run for run in (find(beginning, committed=False) for beginning in beginnings)}
    taught = _taught_by(wanted)
    if taught and not with_students:
        raise ValueError(_teaches(taught))
    while taught:
        wanted |= {run.key: run for run in taught}
        taught = _taught_by(wanted)
    for key, run in wanted.items():
        if being_trained(key):
            raise ValueError(_busy(run))
    ordered: list[Run] = []
    while wanted:
        teachers = {run.description.get("teacher") for run in wanted.values()}
        free = [key for key in wanted if key not in teachers] or list(wanted)
        ordered += [wanted.pop(key) for key in free]
    return ordered


def delete(runs: Sequence[Run]) -> None:
    """Takes runs out of the store, in this order. All locks are held before the first run goes.

    Raises ValueError, and has deleted nothing, where one is being trained or has come to teach a
    run that is not among them.
    """
    store = paths.runs()
    aside = store / ".deleted"
    aside.mkdir(exist_ok=True)
    _remove_leftovers(store, aside)
    with ExitStack() as locks:
        for run in runs:
            try:
                locks.enter_context(FileLock(store / f"{run.key}.lock", timeout=0))
            except Timeout:
                raise ValueError(_busy(run)) from None
        if taught := _taught_by({run.key: run for run in runs}):
            raise ValueError(_teaches(taught))
        for run in runs:
            target = aside / run.key
            if target.exists():  # left by a kill since; its lock is ours
                shutil.rmtree(target)
            os.rename(run.folder, target)
            shutil.rmtree(target)


def _remove_leftovers(store: Path, aside: Path) -> None:
    for folder in aside.iterdir():
        try:
            with FileLock(store / f"{folder.name}.lock", timeout=0):
                shutil.rmtree(folder)
        except (Timeout, FileNotFoundError):  # another process is at it, or was faster
            pass


def size(run: Run) -> int:
    """Bytes of the run's files, those of its teacher lists included."""
    return sum(file.stat().st_size for file in run.folder.rglob("*") if file.is_file())


def deletion_table(runs: Sequence[Run]) -> str:
    """What would go, one line per run, and what that frees."""
    length = key_length([run.key for run in runs])
    sizes = [size(run) for run in runs]
    rows = [[run.key[:length], label(run.description), f"{n / 1e6:.1f}"] for run, n in zip(runs, sizes, strict=True)]
    rows.append(["", f"{len(runs)} run{'s' * (len(runs) > 1)}", f"{sum(sizes) / 1e6:.1f}"])
    return table(rows, ["key", "run", "MB"], "llr")


def _taught_by(teachers: Mapping[str, Run]) -> list[Run]:
    """Stored runs that name one of these as their teacher and are not among them."""
    return [run for run in stored_runs() if run.description.get("teacher") in teachers and run.key not in teachers]


def _teaches(taught: Sequence[Run]) -> str:
    teachers = ", ".join(dict.fromkeys(run.description["teacher"] for run in taught))
    shown = ", ".join(f"{label(run.description)} ({run.key[:SHORTEST_KEY]})" for run in taught[:5])
    more = f" and {len(taught) - 5} more" if len(taught) > 5 else ""
    return f"{teachers} taught stored runs: {shown}{more}. Add --with-students to delete them too, or keep the teacher"


def _busy(run: Run) -> str:
    return f"run {run.key} ({label(run.description)}) is being trained: let it finish, or stop it first"
