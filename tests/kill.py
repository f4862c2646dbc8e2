"""Killing a process in the middle of its work."""

import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess


def kill_when(process: BaseProcess, ready: Callable[[], bool], seconds: float = 120) -> None:
    """SIGKILL as soon as ``ready`` says so; fails when the process ends by itself or ``ready`` never comes."""
    deadline = time.time() + seconds
    while not ready():
        assert process.is_alive(), process.exitcode
        assert time.time() < deadline
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
