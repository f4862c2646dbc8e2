"""`rdcore runs`: the tables, the comparison of two runs, and a deletion that leaves no half run, whenever it is killed.

The runs are made up, file by file; what `show` and `compare` must print follows from numbers chosen here.
"""

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fabricated import ENVIRONMENT, record
from filelock import FileLock

from rdcore.distill import RDSettings
from rdcore.eval import significance
from rdcore.models import BPRMFSettings, CaserSettings, PopularitySettings
from rdcore.store import deletion, listing, record_files, runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies import cli

TEACHER = Experiment(
    dataset="tiny", data_hash="0" * 64, stage="F", role="T", model=CaserSettings(dim=6), evaluate_every=2,
    training=Training(epochs=4),
)  # fmt: skip
STUDENT = replace(TEACHER, role="S", model=CaserSettings(dim=3))
SLOWER = replace(STUDENT, training=Training(epochs=4, learning_rate=2e-3))
DISTILLED = replace(STUDENT, role="RD", teacher=TEACHER, teacher_epoch=4, distillation=RDSettings(K=4))
ALONE = replace(TEACHER, stage="L", model=BPRMFSettings(dim=2), evaluate_every=1)
MADE = ENVIRONMENT | {"seconds": 61.4}
USERS = 40


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def put(store: Path, experiment: Experiment, means: dict, ap: np.ndarray | None = None, done: bool = True, **more) -> Path:
    """A run of the store; finished, unless ``done`` is False."""
    history = [{"epoch": epoch, "loss": 1.0} for epoch in range(1, max(means) + 1)]
    made = record(store, experiment, means, ap, **{"environment": MADE, "history": history, **more})
    folder = made.folder.rename(store / experiment.key)
    if done:
        (folder / "DONE").touch()
    return folder


def alone(store: Path, experiment: Experiment, ranks: np.ndarray) -> Path:
    """A finished run of stage L whose second epoch was chosen."""
    values = ((1, 0.2, 0.9), (2, 0.3, 0.4), (3, 0.3, 0.8))
    entries = [{"epoch": epoch, "H@5-validation": chooses, "H@5": hit, "N@5": 0.1} for epoch, chooses, hit in values]
    chosen = {"epoch": 2, "H@5": 0.4, "N@5": 0.1, "H@5-redraw": 0.7, "H@5-full": 0.05, "n_users": USERS, "n_left_out": 0}
    folder = put(store, experiment, {3: 0.0}, metrics=entries, chosen=chosen)
    pd.DataFrame({"rank": ranks}).to_parquet(folder / "per_user-002.parquet")
    return folder


def said(capsys, *words: str) -> str:
    assert cli.main(["runs", *words]) == 0
    return capsys.readouterr().out


def refused(capsys, *words: str) -> str:
    assert cli.main(["runs", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


# ------------------------------------------------------------------------------------------------------------ list and show


def test_an_empty_store_says_where_runs_come_from(capsys, store):
    assert "no run in" in said(capsys, "list") and "rdcore train" in said(capsys, "list")
    store.rmdir()
    assert "no run in" in said(capsys, "list")


def test_a_line_a_run_tells_alike_ones_apart(capsys, store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # the test runner may have another
    put(store, TEACHER, {2: 0.31, 4: 0.25})
    put(store, STUDENT, {2: 0.1, 4: 0.2})
    put(store, SLOWER, {2: 0.15, 4: 0.15})
    alone(store, ALONE, np.ones(USERS))
    header, _, *lines = said(capsys, "list").splitlines()
    assert header.split() == ["key", "run", "epochs", "best", "seconds", "finished"]
    cells = {line.split()[0]: line.split()[1:] for line in lines}
    end = ["61", "2001-02-03"]
    assert cells[TEACHER.key[:8]] == ["tiny-F-T-d6-seed1", "4", "MAP", "0.3100", "@2", *end], "the best, not the last"
    assert cells[STUDENT.key[:8]] == ["tiny-F-S-d3-seed1", "learning_rate=0.001", "4", "MAP", "0.2000", "@4", *end]
    assert cells[SLOWER.key[:8]] == ["tiny-F-S-d3-seed1", "learning_rate=0.002", "4", "MAP", "0.1500", "@2", *end]
    # By the validation items, where 2 and 3 are equal; the better test items of 1 and 3 choose nothing.
    assert cells[ALONE.key[:8]] == ["tiny-L-BPR-T-d2-seed1", "3/4", "H@5", "0.4000", "@2", *end]
    assert [line.split()[1] for line in lines] == sorted(line.split()[1] for line in lines)


def test_only_some_and_a_pattern_without_a_run(capsys, store):
    put(store, TEACHER, {4: 0.3})
    put(store, STUDENT, {4: 0.2})
    lines = said(capsys, "list", "--only", f"F-S,{STUDENT.key[:5]}").splitlines()
    assert len(lines) == 3 and STUDENT.key[:8] in lines[2]
    assert "'F-X'" in refused(capsys, "list", "--only", "F-S,F-X")


@pytest.mark.parametrize("width", [75, 100, 120])
def test_no_line_is_wider_than_the_terminal_and_values_are_cut_last(width, capsys, store, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    for rate in (1e-3, 2e-3):
        for decay in (0.0, 1e-5):
            training = Training(epochs=4, learning_rate=rate, weight_decay=decay)
            put(store, replace(STUDENT, role="RD-hybrid", training=training), {4: 0.2})
    lines = said(capsys, "list").splitlines()
    assert max(map(len, lines)) <= width and len(lines) == 6
    found = {" ".join(line.split()[2:4]) for line in lines[2:]}
    if width == 120:
        assert "learning=0.001 weight_d=1e-05" in found or "learning_rate=0.001 weight_decay=1e-05" in found
    elif width == 100:
        assert len(found) == 4 and not any("…" in line for line in lines)
    else:
        assert all("…" in line for line in lines[2:])


def test_running_unfinished_and_damaged(capsys, store):
    folder = put(store, TEACHER, {2: 0.3}, done=False)
    for name in ("metrics", "environment", "history"):
        (folder / f"{name}.json").unlink()
    assert said(capsys, "list").split()[-2:] == ["0/4", "unfinished"]
    history = [{"epoch": epoch, "loss": 1.0} for epoch in (1, 2, 3)]
    state = {"epoch": 3, "seconds": 12.2, "resumed": 0, "history": history, "metrics": [{"epoch": 2, "MAP": 0.25}]}
    torch.save({"model": {"w": torch.zeros(9)}, "optimizer": {}, "state": state}, folder / "checkpoint.pt")
    assert said(capsys, "list").split()[-6:] == ["3/4", "MAP", "0.2500", "@2", "12", "unfinished"]
    with FileLock(store / f"{TEACHER.key}.lock"):
        assert said(capsys, "list").split()[-1] == "running"
        assert "running: metrics come" in said(capsys, "show", TEACHER.key)
    assert "unfinished: metrics come" in said(capsys, "show", TEACHER.key)
    (folder / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert said(capsys, "list").split()[-2:] == ["?/4", "unfinished"]
    (folder / "description.json").write_text("{")
    assert str(folder / "description.json") in refused(capsys, "list")


def test_show_has_the_description_the_metrics_and_where_it_was_made(capsys, store):
    put(store, DISTILLED, {2: 0.125, 4: 0.0625}, agreement={"overlap@10": 0.25})
    shown = said(capsys, "show", DISTILLED.key[:4])
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in (f"{DISTILLED.key} tiny-F-RD-d3-seed1", "model.dim 3", f"teacher {TEACHER.key}", "distillation.K 4", "python 3",
                 "2 0.1250 0.1250 0.1250", "4* 0.0625 0.0625 0.0625"):  # fmt: skip
        assert line in lines, shown
    assert "overlap@10 0.250" in shown


def test_show_of_stage_l_marks_the_chosen_epoch_and_thins_many(capsys, store):
    folder = alone(store, ALONE, np.ones(USERS))
    assert "2*     0.4000" in said(capsys, "show", ALONE.key)
    entries = [{"epoch": e, "H@5": e / 1000, "H@5-validation": 0.1} for e in range(1, 301)]
    (folder / "metrics.json").write_text(json.dumps(entries))
    (folder / "chosen.json").write_text(json.dumps({"epoch": 143, "H@5": 0.143}))
    shown = said(capsys, "show", ALONE.key).splitlines()
    epochs = [line.split()[0] for line in shown if line.endswith("0.1000")]
    assert epochs[0] == "1" and epochs[-1] == "300" and "143*" in epochs and 12 <= len(epochs) <= 13


def test_a_key_that_fits_none_or_several(capsys, store, monkeypatch):
    monkeypatch.setattr(record_files, "key_of", lambda description: "")  # no two real runs have keys so much alike
    put(store, TEACHER, {4: 0.3})
    twin = store / (TEACHER.key[:9] + "0000000")
    shutil.copytree(store / TEACHER.key, twin)
    for action in (["show"], ["delete"], ["compare", twin.name]):
        assert "no run in" in refused(capsys, *action, "zz")
        message = refused(capsys, *action, TEACHER.key[:9])
        assert "2 runs have a key that begins with" in message and TEACHER.key in message and twin.name in message
        assert "no run in" in refused(capsys, *action, "")
    lines = said(capsys, "list").splitlines()[2:]
    assert sorted(line.split()[0] for line in lines) == sorted([TEACHER.key[:10], twin.name[:10]]), "enough of the key"


def test_a_finished_run_of_the_store_comes_before_its_committed_record(store, tmp_path):
    committed = record(tmp_path / "data" / "replicated", STUDENT, {4: 0.2}, environment=MADE)
    folder = put(store, STUDENT, {4: 0.3})
    assert listing.find(STUDENT.key[:6]).folder == folder
    (folder / "DONE").unlink()
    assert listing.find(STUDENT.key[:6]) == committed, "which an unfinished one does not"
    assert listing.find(STUDENT.key[:6], committed=False).folder == folder


def test_what_is_counted_from_the_data_has_all_its_epochs(capsys, store):
    put(store, replace(TEACHER, role="baseline", model=PopularitySettings(), training=Training(epochs=1)), {1: 0.1}, history=[])
    assert said(capsys, "list").splitlines()[2].split()[1:4] == ["tiny-F-POP-baseline-seed1", "1", "MAP"]


# ------------------------------------------------------------------------------------------------------------------- compare

AP = np.random.default_rng(0).random(USERS)


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def test_compare_shows_what_differs_the_metrics_and_the_users(capsys, store, tmp_path):
    better = AP + np.random.default_rng(1).normal(0.05, 0.05, USERS)
    put(store, DISTILLED, {2: 0.5, 4: 0.25}, better)
    record(tmp_path / "data" / "replicated", STUDENT, {4: 0.2}, AP, environment=MADE)  # a committed record, with one epoch
    text = said(capsys, "compare", DISTILLED.key[:6], STUDENT.key[:6])
    found = rows(text)
    assert found["A"] == [DISTILLED.key, "tiny-F-RD-d3-seed1"] and found["B"] == [STUDENT.key, "tiny-F-S-d3-seed1"]
    assert found["role"] == ["RD", "S"] and found["teacher_epoch"] == ["4", "none"] and found["distillation.K"] == ["4"]
    assert "dataset" not in found and "model.dim" not in found, "alike in both"
    assert "A's epoch 4 and B's epoch 4" in text and found["nDCG@3"] == ["0.2500", "0.2000", "+0.0500", "+25.0%"]
    assert f"User by user at epoch 4: {USERS} users, A - B" in text
    c = significance.compare(better[None], AP[None])
    users = rows(text[text.index("User by user") :])
    assert users["MAP"][:4] == [f"{c.difference:+.4f}", f"{c.low:+.4f}", "to", f"{c.high:+.4f}"]
    assert users["MAP"][4:] == [f"{c.effect_size:+.3f}"], "one run each: no p"
    assert users["P@10"] == users["MAP"] == users["nDCG@10"], "the fabricated users have one value for all three"


def test_compare_on_stage_l_ranks_users_at_each_ones_own_epoch(capsys, store):
    other = replace(ALONE, seed=2)
    alone(store, ALONE, np.where(np.arange(USERS) < 30, 1.0, 9.0))
    alone(store, other, np.where(np.arange(USERS) < 20, 1.0, 9.0))
    text = said(capsys, "compare", ALONE.key, other.key)
    # 30 and 20 of 40 users have their item among 5; all among 10; 1 / log2(10) = 0.30103 for rank 9
    users = rows(text[text.index("User by user") :])
    assert users["H@5"][0] == "+0.2500" and users["H@10"][0] == "+0.0000" and users["N@10"][0] == "+0.1747"
    assert rows(text)["H@5-full"] == ["0.0500", "0.0500", "+0.0000", "+0.0%"] and "H@5-redraw" not in text


@pytest.mark.parametrize(
    "change, reason",
    [({"stage": "V"}, "their stages differ"), ({}, "at no epoch in common")],
)
def test_without_common_users_it_says_why(change, reason, capsys, store):
    put(store, TEACHER, {4: 0.3}, AP)
    other = replace(STUDENT, **change)
    put(store, other, {4: 0.2}, AP if change else None)
    text = said(capsys, "compare", TEACHER.key, other.key)
    assert f"No comparison user by user: {reason}" in " ".join(text.split()) or reason in text
    assert rows(text)["MAP"] == ["0.3000", "0.2000", "+0.1000", "+50.0%"]


@pytest.mark.parametrize("change, where", [({"data_hash": "1" * 64}, "'tiny' with other rows"), ({"dataset": "other"}, None)])
def test_runs_on_two_data_sets_are_not_compared(change, where, capsys, store):
    """Not even their means: nothing is printed but the reason."""
    put(store, TEACHER, {4: 0.3}, AP)
    other = replace(STUDENT, **change)
    put(store, other, {4: 0.2}, AP)
    if where is None:  # the same rows under another name
        assert "User by user" in said(capsys, "compare", TEACHER.key, other.key)
        return
    assert cli.main(["runs", "compare", TEACHER.key, other.key]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and f"A is on 'tiny' and B on {where}: their numbers cannot be compared" in printed.err


def test_compare_needs_two_finished_runs(capsys, store):
    put(store, TEACHER, {4: 0.3})
    put(store, STUDENT, {4: 0.3}, done=False)
    assert "are one run" in refused(capsys, "compare", TEACHER.key, TEACHER.key[:5])
    assert "is not finished" in refused(capsys, "compare", TEACHER.key, STUDENT.key)


# -------------------------------------------------------------------------------------------------------------------- delete


def keys(store: Path) -> set[str]:
    return {row["key"] for row in runs.list_runs()}


def test_without_yes_nothing_goes_and_with_it_the_run(capsys, store):
    folder = put(store, STUDENT, {4: 0.3})
    put(store, TEACHER, {4: 0.3})
    (folder / "weights-004.safetensors").write_bytes(b"0" * 5_000_000)
    text = said(capsys, "delete", STUDENT.key[:5])
    assert STUDENT.label in text and "5.0" in text and "--yes" in text and keys(store) == {STUDENT.key, TEACHER.key}
    assert "deleted" in said(capsys, "delete", STUDENT.key[:5], "--yes")
    assert keys(store) == {TEACHER.key} and not folder.exists()
    assert not list((store / ".deleted").iterdir())
    assert STUDENT.key not in said(capsys, "list")


def test_a_teacher_goes_only_with_its_students(capsys, store):
    put(store, TEACHER, {4: 0.3})
    put(store, DISTILLED, {4: 0.3}, done=False)  # one that is not finished needs its teacher too
    put(store, STUDENT, {4: 0.3})
    for yes in ([], ["--yes"]):
        message = refused(capsys, "delete", TEACHER.key, *yes)
        assert DISTILLED.key[:8] in message and "--with-students" in message and len(keys(store)) == 3
    text = said(capsys, "delete", TEACHER.key, "--with-students")
    assert text.index(DISTILLED.key[:8]) < text.index(TEACHER.key[:8]), "the student goes first" and len(keys(store)) == 3
    said(capsys, "delete", TEACHER.key, "--with-students", "--yes")
    assert keys(store) == {STUDENT.key}


def test_students_of_students_go_too_and_the_sizes_are_those_of_all_files(store):
    """A run's folder may hold a folder of its teacher's lists."""
    taught = replace(DISTILLED, role="RD-2", teacher=DISTILLED)
    for experiment in (TEACHER, DISTILLED, taught):
        put(store, experiment, {4: 0.3})
    (store / TEACHER.key / "lists-004").mkdir()
    (store / TEACHER.key / "lists-004" / "target.safetensors").write_bytes(b"0" * 3_000_000)
    (store / taught.key / "weights-004.safetensors").write_bytes(b"0" * 2_000_000)
    with pytest.raises(ValueError, match=f"taught stored runs: {DISTILLED.label}"):
        deletion.to_delete([TEACHER.key])
    found = deletion.to_delete([TEACHER.key], with_students=True)
    assert [run.key for run in found] == [taught.key, DISTILLED.key, TEACHER.key]
    assert [line.split()[-1] for line in deletion.deletion_table(found).splitlines()[2:]] == ["2.0", "0.0", "3.0", "5.0"]


def test_teacher_and_student_together_need_no_option(capsys, store):
    put(store, TEACHER, {4: 0.3})
    put(store, DISTILLED, {4: 0.3})
    text = said(capsys, "delete", TEACHER.key, DISTILLED.key, TEACHER.key, "--yes")
    assert text.index(DISTILLED.key[:8]) < text.index(TEACHER.key[:8]) and text.count(TEACHER.key[:8]) == 1
    assert keys(store) == set()


def test_a_run_in_training_stays_and_so_does_all_else(capsys, store):
    put(store, TEACHER, {4: 0.3})
    put(store, STUDENT, {4: 0.3}, done=False)
    chosen = deletion.to_delete([TEACHER.key, STUDENT.key])
    with FileLock(store / f"{STUDENT.key}.lock"):
        assert "is being trained" in refused(capsys, "delete", TEACHER.key, STUDENT.key, "--yes")
        with pytest.raises(ValueError, match="is being trained"):  # it began after it was looked at
            deletion.delete(chosen)
    assert keys(store) == {TEACHER.key, STUDENT.key}
    put(store, DISTILLED, {4: 0.3})
    with pytest.raises(ValueError, match="taught stored runs"):  # so did a student
        deletion.delete(chosen)
    assert len(keys(store)) == 3


def test_committed_records_are_never_deleted(capsys, tmp_path):
    made = record(tmp_path / "data" / "replicated", TEACHER, {4: 0.3}, environment=MADE)
    assert "no run in" in refused(capsys, "delete", TEACHER.key, "--yes")
    assert made.folder.exists() and TEACHER.key in said(capsys, "show", TEACHER.key)


# The child is forked from a server that has imported torch once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["rdcore.store.run_tables", "fabricated"])


def killed_at(step: int, key: str, store: Path) -> None:
    """A child that deletes a run and dies before its ``step``-th change of the store."""
    os.environ["RDCORE_RUNS"] = str(store)
    changes = []

    def or_die(real):
        def change(*arguments, **options):
            changes.append(arguments)
            if len(changes) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return change

    os.rename, os.unlink, os.rmdir = or_die(os.rename), or_die(os.unlink), or_die(os.rmdir)
    deletion.delete(deletion.to_delete([key]))


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_killed_in_the_middle_a_run_is_whole_or_gone(step, store, capsys):
    put(store, TEACHER, {4: 0.3}, AP)
    put(store, STUDENT, {4: 0.3}, AP)
    whole = {file.name for file in (store / STUDENT.key).iterdir()}
    process = PROCESSES.Process(target=killed_at, args=(step, STUDENT.key, store))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    left = list((store / ".deleted").glob("*/*"))
    if step == 1:  # before the rename
        assert {file.name for file in (store / STUDENT.key).iterdir()} == whole and not left
    else:
        assert not (store / STUDENT.key).exists() and keys(store) == {TEACHER.key} and left
        assert STUDENT.key[:8] not in said(capsys, "list")
    if step == 5:  # what is left of the first goes, though the run was trained and is deleted again
        put(store, STUDENT, {4: 0.3}, AP)
        deletion.delete(deletion.to_delete([STUDENT.key]))
    deletion.delete(deletion.to_delete([TEACHER.key]))
    assert not list((store / ".deleted").iterdir()), "the next deletion cleans up"
    assert keys(store) == ({STUDENT.key} if step == 1 else set())


def test_leftovers_that_another_process_removes_are_left_to_it(store):
    put(store, TEACHER, {4: 0.3})
    left = store / ".deleted" / STUDENT.key
    left.mkdir(parents=True)
    with FileLock(store / f"{STUDENT.key}.lock"):
        deletion.delete(deletion.to_delete([TEACHER.key]))
        assert left.exists()
    deletion.delete([])
    assert not left.exists()
