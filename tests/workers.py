"""Jobs for worker processes: light to import, and told by files what they did."""

import os
import signal
import subprocess
import time
from pathlib import Path

from rdcore.store import jobs as sweeps


def note(task: tuple[Path, str]) -> None:
    """Writes this process's id into the folder of the task, in a file of the task's name, a line an attempt."""
    folder, name = task
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


def attempts(folder: Path, name: str) -> list[int]:
    return [int(line) for line in (folder / name).read_text().split()] if (folder / name).exists() else []


def die_once(task: tuple[Path, str]) -> None:
    """The task 'dies' kills its process at the first attempt."""
    note(task)
    if task[1] == "dies" and len(attempts(*task)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def always_die(task: tuple[Path, str]) -> None:
    note(task)
    os.kill(os.getpid(), signal.SIGKILL)


def fail(task: tuple[Path, str]) -> None:
    raise FloatingPointError(f"the loss of {task[1]} is not finite")


def wait(task: tuple[Path, str]) -> None:
    note(task)
    time.sleep(60)


def parent(folder: Path) -> None:
    """Has two processes at work that would take a minute."""
    list(sweeps.each(wait, [(folder, "one"), (folder, "two")], 2))


# Calls with a fault, which tests/harness/kills.py must find.


def half_written(folder: Path, services: dict[str, str]) -> None:
    with (folder / "file.txt").open("w") as file:
        for part in ("one", "two"):
            file.write(part)
            file.flush()
            time.sleep(0.3)


def another_result(folder: Path, services: dict[str, str]) -> None:
    """The second attempt in a folder leaves something else than the first."""
    again = (folder / "begun.lock").exists()
    (folder / "begun.lock").touch()
    (folder / "first.txt").write_text("here")
    time.sleep(0.5)
    (folder / "file.txt").write_text(f"again: {again}")


def orphan(folder: Path, services: dict[str, str]) -> None:
    (folder / "first.txt").write_text("here")
    started = subprocess.Popen(["sleep", "20"])
    time.sleep(0.5)
    started.kill()
    (folder / "file.txt").write_text("here")


def never_again(folder: Path, services: dict[str, str]) -> None:
    """Fails where an earlier attempt has been."""
    (folder / "begun.lock").touch(exist_ok=False)
    (folder / "first.txt").write_text("here")
    time.sleep(0.5)
    (folder / "file.txt").write_text("here")
