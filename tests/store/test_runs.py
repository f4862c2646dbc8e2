"""The store of runs: trained once, resumed exactly, refused with a reason."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from kill import kill_when
from safetensors.torch import load_file

from rdcore import datasets
from rdcore.data import stage
from rdcore.datasets import synthetic
from rdcore.distill import Discrepancy, Hybrid, RDSettings
from rdcore.eval.metrics import evaluate, popularity
from rdcore.files import disk, paths
from rdcore.files.whole import write_whole
from rdcore.models import BPRMFSettings, Caser, CaserSettings, PopularitySettings
from rdcore.store import checkpoints, deletion, runner, runs, stages
from rdcore.store.agreement import agreement
from rdcore.store.experiment import Experiment, label
from rdcore.store.runs import Run, load_or_train, load_or_train_all
from rdcore.train.loop import Training

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = synthetic.generate(n_users=25, n_items=40, min_length=10, max_length=18)
TEACHER = Experiment(
    dataset="tiny", data_hash=DATA.sha256(), stage="F", role="T", model=CaserSettings(dim=6), evaluate_every=1,
    training=Training(epochs=5, batch_size=32),
)  # fmt: skip
STUDENT = replace(TEACHER, role="S", model=CaserSettings(dim=3))
DISTILLED = replace(
    STUDENT, role="RD", teacher=TEACHER, teacher_epoch=4,
    distillation=RDSettings(K=4, weights=Hybrid(discrepancy=Discrepancy(samples=10), start_epoch=2)),
)  # fmt: skip
WHICH = {"student": STUDENT, "distilled": DISTILLED}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A store with the teacher, the student and the distilled student, trained without a break. Nobody writes into it."""
    store = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RDCORE_RUNS", str(store))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for experiment in (STUDENT, DISTILLED):
            load_or_train(experiment, DATA)
        torch.set_num_threads(threads)
    return store


@pytest.fixture
def store(tmp_path, monkeypatch, undisturbed) -> Path:
    """A store in which only the teacher is trained."""
    folder = tmp_path / "runs"
    shutil.copytree(undisturbed / TEACHER.key, folder / TEACHER.key)
    monkeypatch.setenv("RDCORE_RUNS", str(folder))
    return folder


def snapshot(folder: Path) -> dict:
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.rglob("*")}


def assert_same_run(one: Run, other: Run):
    """The same bits in all that does not tell where and how long."""
    for name in ("description.json", "metrics.json", "agreement.json"):
        files = [run.folder / name for run in (one, other)]
        assert files[0].exists() == files[1].exists()
        if files[0].exists():
            assert files[0].read_text() == files[1].read_text(), name
    assert one.history.drop(columns="seconds").equals(other.history.drop(columns="seconds"))
    for epoch in one.metrics.index:
        pd.testing.assert_frame_equal(one.per_user(epoch), other.per_user(epoch), check_exact=True)
        first, second = (load_file(run.folder / f"weights-{epoch:03d}.safetensors") for run in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), epoch


# What a run leaves ----------------------------------------------------------------------------------------------------


def test_a_finished_run_holds_what_it_promises(undisturbed):
    run = Run(undisturbed / DISTILLED.key)
    epochs = range(1, 6)
    assert {file.name for file in run.folder.iterdir()} == {
        "description.json", "environment.json", "history.json", "metrics.json", "agreement.json", "groups.json", "DONE",
        *(f"per_user-{e:03d}.parquet" for e in epochs), *(f"weights-{e:03d}.safetensors" for e in epochs),
    }  # fmt: skip
    assert run.key == DISTILLED.key and run.last_epoch == 5
    assert run.description == DISTILLED.description
    assert run.history.index.tolist() == run.metrics.index.tolist() == list(epochs)
    assert run.history["weights"].map(len).tolist() == [4] * 5
    assert sum(run.history["weights"][1]) == pytest.approx(1, abs=1e-5)  # position weights, before start_epoch
    assert run.environment["resumed"] == 0 and run.environment["device"] == "cpu" and run.environment["threads"] == 1
    assert run.environment["versions"]["torch"] == importlib.metadata.version("torch")
    teacher = undisturbed / TEACHER.key
    assert sorted(path.name for path in teacher.iterdir() if path.is_dir()) == ["lists-004"]  # of the teacher's epoch 4
    assert Run(undisturbed / STUDENT.key).agreement is None


def test_kept_weights_give_the_kept_metrics_at_every_epoch(undisturbed):
    run, final = Run(undisturbed / STUDENT.key), stage(DATA, "F")
    for epoch in (2, 5):
        users = evaluate(run.model(STUDENT, DATA, epoch), final)
        kept = run.per_user(epoch)
        assert len(kept) == DATA.n_users
        for name, values in users.items():
            np.testing.assert_array_equal(kept[name].to_numpy(), values.astype("float32"), err_msg=name)
        assert run.metrics.loc[epoch, "MAP"] == np.nanmean(users["AP"])
    assert run.per_user().equals(run.per_user(5)) and not run.per_user(2).equals(run.per_user(5))
    assert not run.model(STUDENT, DATA).training
    with pytest.raises(ValueError, match="keeps no metrics of single users at epoch 7"):
        run.per_user(7)


def test_the_kept_agreement_is_that_of_the_last_epoch_with_the_teachers_chosen_one(undisturbed):
    run, teacher = Run(undisturbed / DISTILLED.key), Run(undisturbed / TEACHER.key)
    final = stage(DATA, "F")
    expected = agreement(run.model(DISTILLED, DATA), teacher.model(TEACHER, DATA, 4), final)
    assert run.agreement == pytest.approx(expected, rel=0, abs=0, nan_ok=True)  # 40 items: no list of 50
    other = agreement(run.model(DISTILLED, DATA), teacher.model(TEACHER, DATA, 1), final)
    assert run.agreement["overlap@10"] != other["overlap@10"]


def test_a_finished_run_is_returned_without_touching_it_or_looking_at_data(store, undisturbed, monkeypatch):
    before = snapshot(store)
    monkeypatch.setattr(datasets, "load", lambda name: pytest.fail("data were loaded"))
    monkeypatch.setattr(runner, "train", lambda *_, **__: pytest.fail("it was trained again"))
    run = load_or_train(TEACHER)
    assert run.folder == store / TEACHER.key
    assert snapshot(store) == before


def test_student_and_distilled_begin_alike_and_end_apart(undisturbed):
    """One seed, one initialisation, one order: only the distillation differs."""
    student, distilled = (Run(undisturbed / WHICH[name].key) for name in WHICH)
    one, other = student.history["loss"], distilled.history["loss"]
    assert one[1] == pytest.approx(other[1], rel=0.02) and one[1] != other[1]
    assert list(distilled.history.columns) == ["loss", "distillation_loss", "weights", "seconds"]


def test_the_teacher_is_trained_first_where_there_is_none(tmp_path, monkeypatch, undisturbed):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    assert_same_run(load_or_train(DISTILLED, DATA), Run(undisturbed / DISTILLED.key))
    assert_same_run(Run(tmp_path / TEACHER.key), Run(undisturbed / TEACHER.key))


def test_wrong_data_are_refused_with_both_hashes(store):
    other = synthetic.generate(n_users=25, n_items=40, min_length=10, max_length=18, seed=1)
    with pytest.raises(ValueError, match=f"{other.sha256()}.*{DATA.sha256()}"):
        load_or_train(STUDENT, other)
    assert not (store / STUDENT.key).exists()


# Stopped and started again ----------------------------------------------------------------------------------------------

# Other processes are forked from a server that has imported torch once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["rdcore.store.runs", "pytest", "torch._dynamo"])


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def in_another_process(experiment: Experiment, store: Path, how: str, report: Path):
    """What a child does: it asks for the run, in a way of its own, and writes down what happened."""
    os.environ["RDCORE_RUNS"] = str(store)
    torch.set_num_threads(1)
    checkpoints.CHECKPOINT_SHARE = math.inf  # after every epoch: the moments below are counted by them
    encode, move, write_json, train = Caser.encode, os.replace, runner.write_json, runner._train
    moved, trained = [], []

    def slow_encode(self, queries):
        time.sleep(0.01 * self.training)
        return encode(self, queries)

    def move_or_die(source, target):
        moved.extend([target] * (Path(target).name == "checkpoint.pt"))
        if len(moved) == 3:
            die()
        move(source, target)

    def write_json_or_die(path, value):
        if path.name == "metrics.json":
            die()
        write_json(path, value)

    def counted(*arguments):
        trained.append(arguments)
        train(*arguments)

    if how in ("slowly", "together"):
        Caser.encode, runner._train = slow_encode, counted
    if how == "while writing a checkpoint":
        os.replace = move_or_die
    if how == "before the record is whole":
        runner.write_json = write_json_or_die
    if how == "together":
        report.with_suffix(".ready").touch()
        while len(list(report.parent.glob("*.ready"))) < 2:
            time.sleep(0.005)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run = load_or_train(experiment, DATA)
    report.write_text(json.dumps({"trained": len(trained), "said": said.getvalue(), "epochs": len(run.metrics)}))


def child(experiment: Experiment, store: Path, how: str, report: Path):
    process = PROCESSES.Process(target=in_another_process, args=(experiment, store, how, report))
    process.start()
    return process


@pytest.mark.parametrize("which", WHICH)
def test_killed_in_the_middle_and_started_again_gives_the_same_bits(which, store, tmp_path, undisturbed):
    experiment = WHICH[which]
    folder = store / experiment.key
    process = child(experiment, store, "slowly", tmp_path / "report")
    kill_when(process, (folder / "weights-003.safetensors").exists)  # the checkpoint of epoch 2 stands
    assert not (folder / "DONE").exists()
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)["state"]["epoch"]
    assert 2 <= kept < 5
    run = load_or_train(experiment, DATA)
    assert run.environment["resumed"] == 1
    assert_same_run(run, Run(undisturbed / experiment.key))
    assert not (folder / "checkpoint.pt").exists()


@pytest.mark.parametrize("how", ["while writing a checkpoint", "before the record is whole"])
def test_killed_at_an_awkward_moment_leaves_nothing_that_matters(how, store, tmp_path, undisturbed):
    process = child(DISTILLED, store, how, tmp_path / "report")
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    folder = store / DISTILLED.key
    assert not (folder / "DONE").exists()
    assert bool(list(folder.glob("*.partial"))) == (how == "while writing a checkpoint")
    run = load_or_train(DISTILLED, DATA)
    assert run.environment["resumed"] == 1
    assert_same_run(run, Run(undisturbed / DISTILLED.key))
    assert {f.name for f in folder.iterdir()} == {f.name for f in (undisturbed / DISTILLED.key).iterdir()}


def test_two_processes_that_want_one_run_train_it_once(store, tmp_path, undisturbed):
    reports = [tmp_path / "one", tmp_path / "two"]
    both = [child(STUDENT, store, "together", report) for report in reports]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    waited, first = sorted((json.loads(report.read_text()) for report in reports), key=lambda found: found["trained"])
    assert (waited["trained"], first["trained"]) == (0, 1)
    assert "another process is training this run" in waited["said"]
    assert waited["epochs"] == first["epochs"] == 5  # the one that waited has the whole result
    assert_same_run(Run(store / STUDENT.key), Run(undisturbed / STUDENT.key))


@pytest.mark.parametrize("share", [0, math.inf])  # of the time: a checkpoint of the first and last epoch alone, or of all
def test_an_interrupt_keeps_the_checkpoint_and_lets_the_lock_go(share, store, undisturbed, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", share)
    real, seen = stages.evaluate, []

    def interrupted(*arguments, **options):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(stages, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_or_train(STUDENT, DATA)
    with FileLock(store / f"{STUDENT.key}.lock", timeout=0):
        pass
    (row,) = (row for row in runs.list_runs() if row["key"] == STUDENT.key)
    assert (row["status"], row["done"]) == ("unfinished", 2 if share else 1)
    monkeypatch.undo()
    monkeypatch.setenv("RDCORE_RUNS", str(store))
    run = load_or_train(STUDENT, DATA)
    assert run.environment["resumed"] == 1
    assert_same_run(run, Run(undisturbed / STUDENT.key))


def test_a_resumed_run_has_the_seconds_and_the_commits_of_all_its_parts(store, monkeypatch):
    """Each epoch takes ten seconds of the clock; the checkout has moved on between the two parts."""
    now = [1000.0]
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", math.inf)
    monkeypatch.setattr(runner, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(runner, "commit", lambda: "aaaaaaa")

    def ten_seconds(epoch, values):
        now[0] += 10
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_train(STUDENT, DATA, after_epoch=ten_seconds)
    monkeypatch.setattr(runner, "commit", lambda: "bbbbbbb")
    made = load_or_train(STUDENT, DATA, after_epoch=lambda epoch, values: now.append(now.pop() + 10)).environment
    assert made["seconds"] == 20 + 10, "before the third epoch's end and before the fifth's"
    assert made["commit"] == "aaaaaaa, bbbbbbb" and made["resumed"] == 1


def test_a_run_is_done_when_all_its_other_files_are_there(store, undisturbed, monkeypatch):
    real = runner.write_whole

    def last(path, write):
        names = {file.name for file in (undisturbed / DISTILLED.key).iterdir()} - {"DONE"}
        assert path.name == "DONE" and names <= {file.name for file in path.parent.iterdir()}
        real(path, write)

    monkeypatch.setattr(runner, "write_whole", last)
    assert load_or_train(DISTILLED, DATA).finished


@pytest.mark.parametrize("damage", ["cut short", "empty", "something else"])
def test_a_damaged_checkpoint_is_named_with_the_remedy_that_works(damage, store, undisturbed, monkeypatch):
    def interrupted(path, value, real=runner.write_json):
        if path.name == "history.json":
            raise KeyboardInterrupt
        real(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_or_train(STUDENT, DATA)
    file = store / STUDENT.key / "checkpoint.pt"
    whole = file.read_bytes()
    file.write_bytes({"cut short": whole[: len(whole) // 2], "empty": b"", "something else": b"garbage" * 50}[damage])
    with pytest.raises(ValueError, match="checkpoint.pt cannot be read .*delete this file") as caught:
        load_or_train(STUDENT, DATA)
    assert str(file) in str(caught.value)
    file.unlink()
    assert_same_run(load_or_train(STUDENT, DATA), Run(undisturbed / STUDENT.key))


def test_a_failed_write_leaves_neither_the_file_nor_its_half(tmp_path):
    target = tmp_path / "metrics.json"
    target.write_text("the old one")

    def fails(file: Path):
        file.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(target, fails)
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert target.read_text() == "the old one"


# Many runs --------------------------------------------------------------------------------------------------------------


def test_many_runs_come_back_in_their_order_with_teachers_trained_first(store, monkeypatch):
    shutil.rmtree(store / TEACHER.key)
    order = []

    def trained(experiment, data, device):
        order.append(experiment.key)
        (store / experiment.key).mkdir(parents=True)
        (store / experiment.key / "DONE").touch()

    monkeypatch.setattr(runner, "load_or_train", trained)
    other = replace(STUDENT, seed=2)
    (store / other.key).mkdir(parents=True)
    (store / other.key / "DONE").touch()
    found = load_or_train_all([DISTILLED, STUDENT, other, DISTILLED])
    assert [run.key for run in found] == [e.key for e in (DISTILLED, STUDENT, other, DISTILLED)]
    assert sorted(order) == sorted(e.key for e in (TEACHER, DISTILLED, STUDENT))  # each once, and not the finished one
    assert order.index(TEACHER.key) < order.index(DISTILLED.key)


def test_what_a_run_raises_is_raised_and_threads_are_put_back(store, monkeypatch):
    def diverges(experiment, data, device):
        assert device == "cpu" and torch.get_num_threads() == 1
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(runner, "load_or_train", diverges)
    torch.set_num_threads(2)
    with pytest.raises(FloatingPointError, match="not finite"):
        load_or_train_all([STUDENT])
    assert torch.get_num_threads() == 2


@pytest.mark.slow
def test_workers_know_the_store_of_their_own_call(tmp_path, monkeypatch):
    """Idle processes of an earlier call would write into the store of that one."""
    data = synthetic.generate()
    one = Experiment(
        dataset="synthetic", data_hash=data.sha256(), stage="V", role="S", model=BPRMFSettings(dim=2),
        training=Training(epochs=1),
    )  # fmt: skip
    for name in ("first", "second"):
        monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / name))
        load_or_train_all([one, replace(one, seed=2)], jobs=2)
        assert len(list((tmp_path / name).glob("*/DONE"))) == 2


@pytest.mark.slow
def test_two_jobs_train_data_of_the_catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    data = synthetic.generate()
    one = Experiment(
        dataset="synthetic", data_hash=data.sha256(), stage="V", role="S", model=CaserSettings(dim=2),
        training=Training(epochs=1),
    )  # fmt: skip
    experiments = [one, replace(one, seed=2)]
    found = load_or_train_all(experiments, jobs=2)
    assert [run.description["seed"] for run in found] == [1, 2]
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "alone"))
    for experiment, run in zip(experiments, found, strict=True):
        assert run.environment["threads"] == 1
        assert_same_run(run, load_or_train(experiment, data))


def test_a_run_that_begins_while_the_store_is_set_aside_is_trained_in_the_new_one(store, monkeypatch):
    """Not in the folder that was renamed under it: it waits for its lock until the rename is done."""
    waits, got = threading.Event(), threading.Event()
    monkeypatch.setattr(disk.tqdm, "write", lambda said: waits.set())

    def begin():
        with disk.locked(store / TEACHER.key, "waiting"):
            got.set()
            (store / TEACHER.key).mkdir(parents=True)

    run = threading.Thread(target=begin)

    def rename(source, target, real=os.rename):
        run.start()
        assert waits.wait(30) and not got.is_set(), "the lock was free"
        real(source, target)

    (store / f"{TEACHER.key}.lock").touch()
    monkeypatch.setattr(os, "rename", rename)
    aside = runs.set_aside()
    run.join(30)
    assert got.is_set() and {path.name for path in store.iterdir()} == {TEACHER.key, f"{TEACHER.key}.lock"}
    assert (aside / TEACHER.key / "DONE").exists()


def test_a_store_in_which_a_run_is_trained_is_not_set_aside(store):
    with FileLock(store / f"{STUDENT.key}.lock"), pytest.raises(ValueError, match=f"run {STUDENT.key} .* is being trained"):
        runs.set_aside()
    assert (store / TEACHER.key / "DONE").exists() and runs.set_aside().exists() and runs.set_aside() is None


def test_a_teacher_is_in_use_as_soon_as_it_is_loaded(store, monkeypatch):
    """Deletion goes by the descriptions in the store."""
    seen = []

    def load(run, *arguments, real=Run.model):
        with pytest.raises(ValueError, match=f"{TEACHER.key} taught stored runs"):
            deletion.delete(deletion.to_delete([TEACHER.key]))
        seen.append(run.key)
        return real(run, *arguments)

    monkeypatch.setattr(Run, "model", load)
    load_or_train(DISTILLED, DATA)
    assert seen == [TEACHER.key]


@pytest.mark.parametrize(("gpus", "here"), [(0, ["cpu"]), (2, ["cpu", "cuda", "cuda:0", "cuda:1"])])
def test_a_device_is_one_of_those_that_are_there(gpus, here, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:9", "cuda:", "cuda:x", "cudax", "mps", ""):
        if device in here:
            runs.check_device(device)
        else:
            with pytest.raises(ValueError, match=f"no device '{device}' here.*there are: {', '.join(here)}$"):
                runs.check_device(device)


def test_the_recorded_gpu_is_the_one_of_the_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"GPU of {device or 'the current device'}")
    assert runs.environment("cuda:1", {"seconds": 1.0, "resumed": 0})["device"] == "GPU of cuda:1"


# Records ----------------------------------------------------------------------------------------------------------------


def test_the_list_of_runs_tells_status_and_result(store):
    (row,) = runs.list_runs()
    expected = {"key": TEACHER.key, "status": "done", "dataset": "tiny", "stage": "F", "role": "T", "dim": 6, "seed": 1}
    assert expected.items() <= row.items()
    assert row["epochs"] == 5 and row["MAP"] == Run(store / TEACHER.key).metrics["MAP"].iloc[-1]


def test_a_published_record_reads_like_the_run_without_its_weights(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(undisturbed))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match=f"{STUDENT.label}.*{STUDENT.key}"):
        runs.committed(STUDENT)
    runs.publish(DISTILLED, [5])
    record, run = runs.committed(DISTILLED), Run(undisturbed / DISTILLED.key)
    assert record.key == DISTILLED.key and record.description == DISTILLED.description
    assert record.agreement == run.agreement
    pd.testing.assert_frame_equal(record.metrics, run.metrics)
    pd.testing.assert_frame_equal(record.history, run.history)
    pd.testing.assert_frame_equal(record.per_user(), run.per_user()[["AP", "P@10", "nDCG@10"]])
    assert not list(record.folder.glob("weights*"))
    with pytest.raises(ValueError, match="at epoch 4"):
        record.per_user(4)


def test_committed_records_stand_where_they_are_looked_for():
    """By label and key, not by searching: under another name a record would be taken for missing."""
    folders = [file.parent for file in paths.replicated().glob("*/description.json")]
    assert folders
    for folder in folders:
        record = runs.Record(folder)
        assert folder.name == f"{label(record.description)}-{record.key}"


def test_a_published_record_has_tables_and_one_published_before_has_json(undisturbed, tmp_path, monkeypatch):
    """Both are read alike, bit by bit."""
    monkeypatch.setenv("RDCORE_RUNS", str(undisturbed))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    for experiment in (STUDENT, DISTILLED):
        record, run = runs.Record(runs.publish(experiment, [5])), Run(undisturbed / experiment.key)
        assert not list(record.folder.glob("metrics.json")) and not list(record.folder.glob("history.json"))
        assert record.means() == run.means() and record.history.equals(run.history) and record.metrics.equals(run.metrics)
        for name in ("metrics", "history"):
            (record.folder / f"{name}.parquet").unlink()
            shutil.copyfile(run.folder / f"{name}.json", record.folder / f"{name}.json")
        before = runs.Record(record.folder)
        assert before.means() == run.means() and before.history.equals(run.history)
        assert runs.publish(experiment, [5]) == record.folder
        assert not list(record.folder.glob("metrics.json")), "published again, it takes the tables"


def test_published_numbers_are_not_replaced_by_others_unless_that_is_asked_for(undisturbed, tmp_path, monkeypatch):
    shutil.copytree(undisturbed, tmp_path / "runs")
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    folder = runs.publish(STUDENT, [5])
    assert runs.publish(STUDENT, [5]) == folder, "the same numbers once more"
    file = tmp_path / "runs" / STUDENT.key / "metrics.json"
    entries = json.loads(file.read_text())
    entries[-1]["MAP"] += 1e-9
    file.write_text(json.dumps(entries))
    before = (folder / "metrics.parquet").read_bytes()
    with pytest.raises(ValueError, match=f"published with other numbers.*--only {STUDENT.key} --replace"):
        runs.publish(STUDENT, [5])
    assert (folder / "metrics.parquet").read_bytes() == before
    runs.publish(STUDENT, [5], replace=True)
    assert runs.committed(STUDENT).metrics["MAP"].iloc[-1] == entries[-1]["MAP"]


def test_a_record_that_is_half_written_is_none(undisturbed, tmp_path, monkeypatch):
    """Stopped before any of its files is moved to its place: at first, and when other numbers replace those published."""
    shutil.copytree(undisturbed, tmp_path / "runs")
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    moved, move = [], os.replace

    def stopped(source, target):
        moved.append(target)
        if len(moved) == last:
            raise KeyboardInterrupt
        move(source, target)

    def stop_at_every_file() -> int:
        nonlocal last
        for last in range(1, 99):
            moved.clear()
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", stopped)
                try:
                    runs.publish(STUDENT, [4, 5], replace=True)
                    return last - 1
                except KeyboardInterrupt:
                    assert not runs.is_committed(STUDENT), moved[-1]

    last = 0
    files = stop_at_every_file()
    folder = runs.committed(STUDENT).folder
    assert files == len(list(folder.iterdir())) == 8
    file = tmp_path / "runs" / STUDENT.key / "metrics.json"
    entries = json.loads(file.read_text())
    entries[-1]["MAP"] += 1e-9
    file.write_text(json.dumps(entries))
    assert stop_at_every_file() == files and runs.committed(STUDENT).metrics["MAP"].iloc[-1] == entries[-1]["MAP"]


def test_a_record_published_again_keeps_users_of_the_named_epochs_alone(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(undisturbed))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    for epochs in ([2, 5], [4]):
        folder = runs.publish(STUDENT, epochs)
        assert sorted(file.name for file in folder.glob("per_user-*")) == [f"per_user-{epoch:03d}.parquet" for epoch in epochs]


def test_a_teacher_that_is_not_finished_is_named_when_a_student_is_published(store, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    shutil.copytree(undisturbed / STUDENT.key, store / STUDENT.key)
    shutil.rmtree(store / TEACHER.key)
    with pytest.raises(ValueError, match=f"{TEACHER.label} .key {TEACHER.key}. is not finished"):
        runs.publish(STUDENT, [], teacher=TEACHER)
    assert not runs.is_committed(STUDENT)


def test_a_record_knows_the_weights_that_taught_it(undisturbed):
    student, teacher = (Run(undisturbed / run.key) for run in (DISTILLED, TEACHER))
    epoch = f"{DISTILLED.teacher_epoch:03d}"
    file = undisturbed / TEACHER.key / f"weights-{epoch}.safetensors"
    assert student.environment["teacher_weights"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert teacher.environment["weights"][epoch] == student.environment["teacher_weights"]
    assert teacher.environment["teacher_weights"] is None and len(teacher.environment["weights"]) == 5


def test_a_student_that_was_not_distilled_is_published_with_its_agreement_beside_a_teacher(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(undisturbed))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setattr(datasets, "load", lambda name: DATA)
    runs.publish(STUDENT, [], teacher=TEACHER)
    student, teacher = Run(undisturbed / STUDENT.key).model(STUDENT, DATA), Run(undisturbed / TEACHER.key).model(TEACHER, DATA)
    expected = agreement(student, teacher, stage(DATA, "F"))
    assert runs.committed(STUDENT).agreement == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


# Where a run was made ---------------------------------------------------------------------------------------------------


def test_the_commit_is_unknown_outside_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runs.commit() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))  # and without git
    assert runs.commit() == "unknown"


def test_the_commit_is_marked_when_files_of_the_package_differ(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))

    def git(*arguments):
        name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "rdcore").mkdir()
    (tmp_path / "rdcore" / "a.py").write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    (tmp_path / "notes.txt").write_text("elsewhere")
    assert runs.commit() == git("rev-parse", "--short", "HEAD")
    (tmp_path / "rdcore" / "a.py").write_text("2")
    assert runs.commit() == git("rev-parse", "--short", "HEAD") + "+"


def test_the_environment_is_recorded_for_packages_that_are_not_installed_too(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    found = runs.environment("cpu", {"seconds": 1.26, "resumed": 2})
    assert set(found["versions"].values()) == {"not installed"}
    assert (found["seconds"], found["resumed"], found["device"]) == (1.3, 2, "cpu")
    assert json.loads(json.dumps(found)) == found


NEEDED = {"torch", "numpy", "pandas", "scipy", "pyarrow", "safetensors", "tqdm", "filelock"}
NOT_NEEDED = (
    "pooch papermill jupytext joblib statsmodels matplotlib seaborn nbformat nbclient nbval ipykernel ipywidgets IPython "
    "tabulate jinja2 sklearn hypothesis pytest"
).split()


@pytest.mark.slow
def test_training_needs_few_packages(tmp_path):
    """Import and a whole run, in an interpreter that cannot import the others."""
    assert not NEEDED & set(NOT_NEEDED)
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((replace(STUDENT, training=Training(epochs=1)), DATA)))
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED}))\n"
        "import rdcore, rdcore.train.loop, rdcore.store.runs, studies.plans, pickle, pathlib\n"
        f"run = rdcore.store.runs.load_or_train(*pickle.loads(pathlib.Path({str(job)!r}).read_bytes()))\n"
        "print(run.last_epoch, [name for name in studies.plans.PROFILES])"
    )
    environment = os.environ | {
        "PYTHONPATH": str(Path(runs.__file__).parents[2]), "OMP_NUM_THREADS": "1", "RDCORE_RUNS": str(tmp_path / "runs"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 ['smoke', 'small', 'paper']"


def test_what_is_counted_from_the_data_is_a_run_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    pop = replace(TEACHER, role="baseline", model=PopularitySettings(), training=Training(epochs=1))
    run = load_or_train(pop, DATA)
    assert list(run.metrics.index) == [1] and len(run.history) == 0
    expected = popularity(stage(DATA, "F"))
    assert run.metrics.loc[1, "MAP"] == pytest.approx(np.nanmean(expected["AP"]), rel=1e-9)
    assert torch.equal(run.model(pop, DATA).counts, torch.from_numpy(stage(DATA, "F").fit.item_counts()).float())
    record = runs.Record(runs.publish(pop, [1]))
    assert len(record.per_user(1)) == DATA.n_users
    assert json.loads((record.folder / "size.json").read_text()) == {"parameters": 0}, "nothing was trained"
    assert pop.label == "tiny-F-POP-baseline-seed1"


def test_a_run_from_before_the_groups_gets_them_when_it_is_published(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    shutil.copytree(undisturbed / STUDENT.key, tmp_path / "runs" / STUDENT.key)
    kept = json.loads((undisturbed / STUDENT.key / "groups.json").read_text())
    assert json.loads((runs.publish(STUDENT, [5]) / "groups.json").read_text()) == kept
    (tmp_path / "runs" / STUDENT.key / "groups.json").unlink()
    shutil.rmtree(tmp_path / "data")
    monkeypatch.setattr(datasets, "load", lambda name: DATA)
    assert json.loads((runs.publish(STUDENT, [5]) / "groups.json").read_text()) == kept
