"""What gets killed: calls of rdcore that take a second or a few, each safe to repeat in the folder it was killed in.

They run in a process of their own whose RDCORE_ROOT is that folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from rdcore import datasets
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.catalog import CATALOG
from rdcore.store import runner, runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common import plots, report
from studies.common.profiles import PROFILES
from studies.notebooks import batch as notebooks

PARTS = 3
SIZE = 2_000_000

HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
profile: str = "smoke"  # smoke, small or paper
"""
NOTEBOOK = f"""{HEADER}
# %%
import matplotlib.pyplot as plt
from harness import victims

from rdcore import plots, report, runs

plan = victims.plan()
found = runs.records(plan, profile=profile, progress=False)

# %% tags=["nbval-check-output"]
table = victims.table(found)
print(report.write_table(table, "kills", profile, found, "01_kills").read_text())

# %%
fig, ax = plt.subplots()
for run in found:
    ax.plot(run.metrics["MAP"])
plots.save(fig, "kills", profile, found, "01_kills")
"""
SHORT = """
# %%
import time

from rdcore import paths
from rdcore.files.whole import write_whole

# %% tags=["nbval-check-output"]
time.sleep(1)
print(profile)

# %%
write_whole(paths.build() / "text.txt", lambda file: file.write_text("both write the same"))
"""


def plan() -> list[Experiment]:
    """S and RD, and RD's teacher: Caser, ten epochs each, two or three seconds in all."""
    settings = Training(epochs=10, batch_size=128)
    profile = replace(PROFILES["smoke"].rd[0], training=settings, evaluate_every=2)
    return [profile.student("V", 1), profile.distilled("V", 1)]


def table(found: list[runs.Record]) -> pd.DataFrame:
    rows = [{"role": run.description["role"], "MAP": float(run.metrics["MAP"].iloc[-1])} for run in found]
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------------------------------------------- the calls


def part(number: int) -> bytes:
    """A file of the made-up data set."""
    return np.random.default_rng(number).bytes(SIZE)


def fetch(folder: Path, services: dict[str, str]) -> None:
    """Brings a data set of PARTS files from the server ``services['server']``."""
    files = []
    for number in range(PARTS):
        digest, source = hashlib.sha256(part(number)).hexdigest(), Source(url=f"{services['server']}/{number}")
        files.append(File(f"part/{number}.bin", SIZE, digest, (source,)))
    CATALOG["kills"] = DataSet("kills", "made up", "none", "none", files=tuple(files))
    datasets.fetch("kills")


def train(folder: Path, services: dict[str, str]) -> None:
    """RD and before it its teacher; writes down, beside the folder, which run it begins to train."""
    begin = runner._train

    def noted(experiment: Experiment, *rest) -> None:
        with folder.with_suffix(".trained").open("a") as file:
            file.write(f"{experiment.key}\n")
        begin(experiment, *rest)

    runner._train = noted
    try:
        runs.load_or_train(plan()[1])
    finally:
        runner._train = begin


def sweep(folder: Path, services: dict[str, str]) -> None:
    runs.load_or_train_all(plan(), jobs=2)


def sweep_on_cluster(folder: Path, services: dict[str, str]) -> None:
    runs.load_or_train_all(plan(), jobs=services["cluster"])


def notebook(folder: Path, services: dict[str, str]) -> None:
    """Trains, writes a table and draws a figure, in a kernel."""
    source = folder / "notebooks" / "01_kills.py"
    notebooks.execute(source, folder / "build" / "01_kills.ipynb", {"profile": "smoke"})


def two_notebooks(folder: Path, services: dict[str, str]) -> None:
    """Two notebooks at a time, each in a process and a kernel of its own."""
    outcomes = notebooks.run("smoke", "02,03", jobs=2)
    assert all(outcome.ok for outcome in outcomes), notebooks.summary(outcomes)


def tables(folder: Path, services: dict[str, str]) -> None:
    """Tables in three forms, figures in two, and their manifest."""
    for number in range(5):
        frame = pd.DataFrame({"user": np.arange(500), "AP": np.random.default_rng(number).random(500)})
        made_from = [SimpleNamespace(key=f"{number:016x}")]
        report.write_table(frame, f"table{number}", "smoke", made_from, "kills")
        fig, ax = plt.subplots()
        ax.plot(frame["AP"])
        plots.save(fig, f"figure{number}", "smoke", made_from, "kills")
        plt.close(fig)


def lay_out(folder: Path) -> None:
    """What is there before any call: the notebooks' sources."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "01_kills.py").write_text(NOTEBOOK)
    for name in ("02_short", "03_short"):
        (folder / "notebooks" / f"{name}.py").write_text(HEADER + SHORT)

