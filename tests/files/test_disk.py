"""A full disk and a folder that may only be read: one sentence that says what to do, nothing half-written, and afterwards
the same call completes."""

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from stores import differences

from rdcore import datasets
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.catalog import CATALOG
from rdcore.files import paths
from rdcore.files.disk import DiskError
from rdcore.files.whole import write_whole
from rdcore.store import runs
from rdcore.train.loop import Training
from studies import cli, plans
from studies.common import plots, report
from studies.common.profiles import PROFILES
from studies.notebooks import batch as notebooks

FULL = "the disk is full: free some space, or set RDCORE_ROOT"
READ_ONLY = "(the file system is read-only|no permission to write there): set RDCORE_ROOT"
CONTENT = np.random.default_rng(0).bytes(300_000)


def mount(folder: Path, options: str) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes a disk of so many KiB in the project folder."""
    made = []

    def make(name: str, kib: int) -> Path:
        if not mount(tmp_path / name, f"size={kib}k"):
            pytest.skip("a small disk can be made by root alone, where mounting is allowed")
        made.append(tmp_path / name)
        return tmp_path / name

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a folder of the project that may only be read; root, who may write everywhere, gets a read-only disk."""
    made, mounted = [], []

    def make(name: str) -> Path:
        folder = tmp_path / name
        if mount(folder, "ro"):
            mounted.append(folder)
        elif hasattr(os, "geteuid") and os.geteuid() == 0:
            pytest.skip("root may write everywhere, and mounting is not allowed here")
        else:
            folder.chmod(0o555)
            made.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    for folder in made:
        folder.chmod(0o755)


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


# -------------------------------------------------------------------------------------------------------------- every writer

BIG = {"a": torch.from_numpy(np.random.default_rng(0).random(100_000))}
WRITERS = {
    "text.json": lambda file: file.write_text("x" * 800_000),
    "checkpoint.pt": lambda file: torch.save(BIG, file),
    "weights.safetensors": lambda file: save_file(BIG, file),
    "users.parquet": lambda file: pd.DataFrame(BIG).to_parquet(file, index=False),
    "figure.png": lambda file: plt.imsave(file, np.random.default_rng(0).random((600, 600))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_whatever_writes(name: str, small_disk):
    folder = small_disk("disk", 256)
    (folder / name).write_text("the old one")
    with pytest.raises(DiskError, match=f"cannot write {folder / name}: {FULL}"):
        write_whole(folder / name, WRITERS[name])
    assert names(folder) == [name] and (folder / name).read_text() == "the old one"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_may_only_be_read_is_named_whatever_writes(name: str, read_only):
    folder = read_only("disk")
    with pytest.raises(DiskError, match=f"cannot write {folder / name}: {READ_ONLY}"):
        write_whole(folder / name, WRITERS[name])
    assert names(folder) == []


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "runs").write_text("a file")
    for file in (tmp_path / "runs" / "text.json", tmp_path / "runs" / "key" / "text.json"):
        with pytest.raises(DiskError, match=f"cannot write {file}: a file is where a folder is needed: set RDCORE_ROOT"):
            write_whole(file, WRITERS["text.json"])


def test_an_error_that_has_nothing_to_do_with_the_disk_stays_what_it_is(tmp_path: Path):
    def fails(file: Path):
        file.write_text("half")
        raise RuntimeError("(os error 28) is what this text says, not the system")

    with pytest.raises(RuntimeError, match="is what this text says"):
        write_whole(tmp_path / "a", fails)
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "a", lambda file: file.mkdir() or file.write_text(""))
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def made_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of one file, on a mirror."""
    source = project / "mirror" / "made-up" / "file.bin"
    source.parent.mkdir(parents=True)
    source.write_bytes(CONTENT)
    monkeypatch.setenv("RDCORE_MIRROR", str(project / "mirror"))
    file = File("file.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), (Source(url="http://127.0.0.1:1/never"),))
    monkeypatch.setitem(CATALOG, "made-up", DataSet("made-up", "t", "none", "none", files=(file,)))


def test_fetching_onto_a_full_disk(made_up, small_disk, capsys):
    folder = small_disk("data", 200)
    assert cli.main(["fetch", "made-up"]) == 2
    said = capsys.readouterr().err
    assert f"cannot write {folder / 'raw/made-up/file.bin'}: {FULL}" in said and said.count("\n") == 1
    assert names(folder) == ["raw/made-up.lock"]
    subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)
    assert datasets.fetch("made-up")[0].read_bytes() == CONTENT


def test_fetching_into_a_folder_that_may_only_be_read(made_up, read_only, capsys):
    folder = read_only("data")
    assert cli.main(["fetch", "made-up"]) == 2
    said = capsys.readouterr().err
    assert f"cannot write {folder / 'raw/made-up'}: " in said and "set RDCORE_ROOT" in said and said.count("\n") == 1


# --------------------------------------------------------------------------------------------------------------------- train


@pytest.fixture
def tiny(project: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that `rdcore train --only tiny` trains in a second."""
    profile = replace(PROFILES["smoke"].rd[0], training=Training(epochs=2, batch_size=512), evaluate_every=1)
    experiment = profile.student("V", 1)
    monkeypatch.setattr(plans, "matching", lambda *_: [experiment])
    monkeypatch.delenv("RDCORE_RUNS", raising=False)
    return experiment


def test_training_onto_a_full_disk_and_again_when_there_is_room(tiny, small_disk, tmp_path, monkeypatch, capsys, one_thread):
    store = small_disk("runs", 60)
    assert cli.main(["train", "--profile", "smoke"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"rdcore train: cannot write {store / tiny.key}/") and FULL in said
    assert not [name for name in names(store) if "partial" in name] and not (store / tiny.key / "DONE").exists()
    assert runs.list_runs()[0]["status"] == "unfinished"
    subprocess.run(["mount", "-o", "remount,size=1m", str(store)], check=True)
    assert cli.main(["train", "--profile", "smoke"]) == 0
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "undisturbed"))
    runs.load_or_train(tiny)
    assert differences(store, tmp_path / "undisturbed") == []


def test_training_into_a_store_that_may_only_be_read(tiny, read_only, capsys):
    store = read_only("runs")
    assert cli.main(["train", "--profile", "smoke"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"rdcore train: cannot write {store / tiny.key}: ") and "RDCORE_RUNS" in said


def test_a_finished_run_is_read_from_a_store_that_may_only_be_read(tiny, project, monkeypatch):
    store = project / "runs"
    run = runs.load_or_train(tiny)
    (run.folder / "checkpoint.pt").write_bytes(b"left by a kill between the last two steps")
    if mount(project / "disk", "size=4m"):
        subprocess.run(["cp", "-r", f"{store}/.", str(project / "disk")], check=True)
        subprocess.run(["mount", "-o", "remount,ro", str(project / "disk")], check=True)
        monkeypatch.setenv("RDCORE_RUNS", str(project / "disk"))
        try:
            assert runs.load_or_train(tiny).metrics.equals(run.metrics)
        finally:
            subprocess.run(["umount", "-l", str(project / "disk")], check=True)
        monkeypatch.delenv("RDCORE_RUNS")
    runs.load_or_train(tiny)
    assert not (run.folder / "checkpoint.pt").exists(), "where it can be removed, it is"


# ------------------------------------------------------------------------------------------------------- tables and figures


def test_tables_and_figures_onto_a_full_disk(project, small_disk):
    folder, made_from = small_disk("figures", 24), [SimpleNamespace(key="a")]
    frame = pd.DataFrame({"AP": np.random.default_rng(0).random(4000)})
    with pytest.raises(DiskError, match=f"cannot write {folder / 'smoke/tables/t.csv'}: {FULL}"):
        report.write_table(frame, "t", "smoke", made_from, "test")
    fig, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).random((300, 300)))
    with pytest.raises(DiskError, match=f"cannot write {folder / 'smoke/f.png'}: {FULL}"):
        plots.save(fig, "f", "smoke", made_from, "test")
    assert names(folder) == []
    plt.close(fig)


def test_tables_into_a_folder_that_may_only_be_read(project, read_only):
    folder = read_only("figures")
    with pytest.raises(DiskError, match=f"cannot write {folder / 'smoke/tables/t.csv'}: {READ_ONLY}"):
        report.write_table(pd.DataFrame({"AP": [0.5]}), "t", "smoke", [], "test")


# ----------------------------------------------------------------------------------------------------------------- notebooks


@pytest.mark.slow
def test_a_notebook_that_does_not_fit_onto_the_disk(add_notebook, small_disk, project, capsys):
    folder = small_disk("build", 60)
    add_notebook("01_long", "# %%\nfor n in range(4000):\n    print(n, 'a line of a long output')")
    assert notebooks.reproduce("smoke") == 1
    said = capsys.readouterr().out.split("01_long failed:")[1].strip().splitlines()
    assert len(said) == 1 and said[0].startswith(f"cannot write {folder}/notebooks/smoke/01_long") and FULL in said[0]


def test_a_notebook_in_a_folder_that_may_only_be_read(add_notebook, read_only, project, capsys):
    folder = read_only("build")
    add_notebook("01_any")
    assert notebooks.reproduce("smoke") == 1
    said = capsys.readouterr().out.split("01_any failed:")[1].strip()
    assert said.startswith(f"cannot write {folder}/notebooks/smoke/01_any") and "set RDCORE_ROOT" in said
    assert paths.build() == folder
