"""`rdcore distil` that is killed with SIGKILL, again and again: the same call goes on, with the same result."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rdcore.datasets import synthetic
from rdcore.files import paths

WORDS = "--teacher bpr --epochs 6 --dim 2 --teacher-dim 3 --weights 0.1,0.3 --seeds 2".split()
RUNS = (1 + 2 + 2) + (1 + 2 + 2)  # teacher, student alone and distilled: on validation data, on test data


def started(clicks: Path, out: Path, jobs: int) -> subprocess.Popen:
    words = [sys.executable, "-m", "studies", "distil", str(clicks), "--out", str(out), *WORDS, "--jobs", str(jobs)]
    return subprocess.Popen(words, cwd=paths.root(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said


def killed_when(process: subprocess.Popen, ready) -> None:
    """SIGKILL as soon as ``ready()``. Fails where the process ends before."""
    while not ready():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def written(out: Path) -> dict[str, object]:
    """All that a call leaves and that does not depend on time."""
    table = pd.read_csv(out / "table.csv", index_col="role").drop(columns="ms")
    page = re.sub(r"[\d.]+ ms|\d+ % of its time|[\d-]+ [\d:]+ UTC", "", (out / "report.html").read_text())
    page = page.replace(str(out), "")
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.name.startswith(("student.", "serve."))}
    weights = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("runs/*/weights-*")}
    return {"table": table.to_csv(), "page": page, "names": sorted(path.name for path in out.iterdir())} | files | weights


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_while_it_trains_and_while_it_writes_it_goes_on_with_the_same_result(tmp_path, jobs):
    made = synthetic.generate(n_users=60, n_items=40, min_length=8, max_length=15, seed=1)
    users = np.repeat(np.arange(made.n_users), made.counts())
    clicks, whole, out = tmp_path / "clicks.csv", tmp_path / "whole", tmp_path / "killed"
    pd.DataFrame({"user": users, "item": made.items, "time": made.positions()}).to_csv(clicks, index=False)
    finished(started(clicks, whole, jobs))
    assert len(list(whole.glob("runs/*/DONE"))) == RUNS

    def done() -> int:
        return len(list(out.glob("runs/*/DONE")))

    killed_when(started(clicks, out, jobs), lambda: any(out.glob("runs/*/weights-*")))
    assert done() < RUNS and not (out / "report.html").exists()
    before = done()
    killed_when(started(clicks, out, jobs), lambda: done() > before + 2)
    # The draft of the exported student, or the student: the draft alone is there for less time than a busy machine looks away.
    killed_when(started(clicks, out, jobs), lambda: any(out.glob("*student.onnx*")))
    assert done() == RUNS and not (out / "report.html").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/DONE")}
    finished(started(clicks, out, jobs))
    assert kept == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/DONE")}, "nothing is trained twice"
    assert written(out) == written(whole)
