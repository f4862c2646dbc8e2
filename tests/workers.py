"""Jobs for worker processes: light to import, and told by files what they did."""

import os
import signal
import time
from pathlib import Path

from rdcore import sweeps


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
