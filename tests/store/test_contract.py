"""What a run asks of data, device and numbers is checked at every door, before anything is written."""

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rdcore
from rdcore import serve
from rdcore.data import Interactions, split
from rdcore.data import leave_one_out as leave_one_out_split
from rdcore.datasets import stages_of_parts, synthetic
from rdcore.distill import CDSettings, Position, RDSettings, RRDSettings
from rdcore.eval import leave_one_out
from rdcore.models import BPRMFSettings, CaserSettings, Model
from rdcore.store import records, run_tables, runner, runs
from rdcore.store.agreement import agreement
from rdcore.store.estimate import Estimate
from rdcore.store.experiment import Experiment
from rdcore.store.steady import steady_lists
from rdcore.train.loop import Training

pytestmark = pytest.mark.usefixtures("one_thread")
MINE = synthetic.generate(n_users=20, n_items=30, min_length=10, max_length=14)
RUN = Experiment(
    dataset="mine", data_hash=MINE.sha256(), stage="F", role="T", model=BPRMFSettings(dim=3), evaluate_every=1,
    training=Training(epochs=3, batch_size=32),
)  # fmt: skip
OTHER = Interactions("other", MINE.items[::-1].copy(), MINE.offsets, MINE.n_items)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.mark.parametrize("given, remedy", [
    (pd.DataFrame(), r"not a DataFrame: give rdcore.from_frame\("), ("ml-100k", r"not a str: give rdcore.load\('ml-100k'\)"),
    (split(MINE), "not a Split: give the interactions that were split"),
    (leave_one_out_split(MINE), "not a LeaveOneOut: give the interactions that were split"),
])  # fmt: skip
def test_what_is_no_data_is_refused_at_every_door(store: Path, given: object, remedy: str) -> None:
    model = BPRMFSettings(dim=2).build(20, 30)
    for door in (
        lambda: runs.load_or_train(RUN, given), lambda: runs.load_or_train_all([RUN], data=given),
        lambda: rdcore.fit(given, BPRMFSettings(dim=2)), lambda: rdcore.evaluate(model, given),
        lambda: rdcore.compare({"m": model}, given),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"data must be Interactions or a Stage, {remedy}"):
            door()
    assert not store.exists()


def test_what_is_no_experiment_and_no_function_is_refused_before_training(store: Path) -> None:
    with pytest.raises(ValueError, match="experiment must be an Experiment, got a dict"):
        runs.load_or_train({"dataset": "mine"}, MINE)
    with pytest.raises(ValueError, match="after_epoch must be a function .* got 3"):
        runs.load_or_train(RUN, MINE, after_epoch=3)
    assert not store.exists()


@pytest.mark.parametrize("device", ["mps", "cuda:97", "gpu"])
def test_a_device_that_is_not_there_leaves_nothing(store: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"there is no device '{device}' here: use 'cpu'"):
        runs.load_or_train(RUN, MINE, device=device)
    assert not store.exists()


def test_other_data_are_refused_at_every_door(store: Path) -> None:
    with pytest.raises(ValueError, match=f"has hash {OTHER.sha256()}, but the run describes {RUN.data_hash}"):
        runs.load_or_train(RUN, OTHER)
    with pytest.raises(ValueError, match="but the run describes"):
        runs.load_or_train_all([RUN], data=OTHER, jobs=2)
    assert not store.exists()
    run = runs.load_or_train(RUN, MINE)
    with pytest.raises(ValueError, match="but the run describes"):
        runs.load_or_train(RUN, OTHER)  # finished or not
    with pytest.raises(ValueError, match="but the run describes"):
        run.model(RUN, OTHER)


def test_a_model_is_loaded_by_the_experiment_that_made_it(store: Path) -> None:
    run = runs.load_or_train(RUN, MINE)
    with pytest.raises(ValueError, match=f"not run {run.key}: ask with the experiment that made the run"):
        run.model(replace(RUN, seed=2), MINE)
    with pytest.raises(ValueError, match="there is no device 'mps' here"):
        run.model(RUN, MINE, device="mps")
    with pytest.raises(ValueError, match="keeps no weights of epoch 9; it has those of 1, 2, 3"):
        run.model(RUN, MINE, 9)
    assert run.weights(np.int64(2)) == run.weights(2)
    with pytest.raises(ValueError, match="was fitted to 20 users, and the data have 10: give it the same users"):
        rdcore.evaluate(run.model(RUN, MINE), synthetic.generate(n_users=10, n_items=30, min_length=6, max_length=12))
    for odd in ("1", 1.5, True):
        with pytest.raises(ValueError, match=f"epoch must be an integer >= 1, got {odd!r}"):
            run.model(RUN, MINE, odd)
    with pytest.raises(ValueError, match="data must be Interactions or a Stage, not a DataFrame"):
        serve.export_run(run, store / "x.onnx", data=pd.DataFrame())


def test_a_run_that_is_not_finished_is_called_that(store: Path) -> None:
    def stop(epoch: int, values: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="is kept up to epoch 1 of 3"):
        runs.load_or_train(RUN, MINE, after_epoch=stop)
    run = records.run_of(RUN)
    for door in (lambda: run.model(RUN, MINE), lambda: run.metrics, lambda: serve.export_run(run, store / "x.onnx", data=MINE)):
        with pytest.raises(ValueError, match=f"run {run.key} in .* is not finished: runs.load_or_train"):
            door()
    assert not (store / "x.onnx").exists()


def test_only_float32_is_trained(store: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match="torch's default is torch.float64, and runs are .* in torch.float32"):
            runs.load_or_train(RUN, MINE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not store.exists()


def test_data_without_anything_to_evaluate_on_leave_no_unfinished_run(store: Path) -> None:
    few = Interactions("few", [0, 1, 2], [0, 1, 2, 3], 9)
    with pytest.raises(ValueError, match="no user has a row left to judge stage F by"):
        runs.load_or_train(replace(RUN, data_hash=few.sha256()), few)
    assert runs.list_runs() == [] and not list(store.glob("*/"))


def test_another_dtype_is_refused_where_a_model_is_loaded_and_exported(store: Path, tmp_path: Path) -> None:
    run = runs.load_or_train(RUN, MINE)
    torch.set_default_dtype(torch.float64)
    try:
        for door in (
            lambda: run.model(RUN, MINE), lambda: serve.export_run(run, tmp_path / "out.onnx", data=MINE),
            lambda: runs.load_or_train_all([replace(RUN, seed=2)], data=MINE),
            lambda: rdcore.fit(MINE, BPRMFSettings(dim=2), epochs=1),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="torch's default is torch.float64"):
                door()
    finally:
        torch.set_default_dtype(torch.float32)
    assert not list(tmp_path.glob("out*"))


def test_a_device_that_is_not_there_is_refused_without_a_store_and_for_many_runs(store: Path) -> None:
    model = rdcore.fit(MINE, BPRMFSettings(dim=2), epochs=1)
    for door in (
        lambda: rdcore.fit(MINE, BPRMFSettings(dim=2), epochs=1, device="mps"),
        lambda: rdcore.evaluate(model, MINE, device="mps"),
        lambda: rdcore.compare({"x": model}, MINE, device="mps"),
        lambda: runs.load_or_train_all([RUN], data=MINE, jobs=2, device="mps"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="there is no device 'mps' here"):
            door()
    assert not store.exists()


@dataclass(frozen=True, kw_only=True)
class OddSettings:
    """A model of your own that says something wrong about itself."""

    window: object = 0
    more: int = 0

    def build(self, n_users, n_items):
        model = BPRMFSettings(dim=2).build(n_users, n_items)
        model.window, model.n_items = self.window, n_items + self.more
        return model


@pytest.mark.parametrize("odd, message", [
    (OddSettings(window=-1), "BPRMF.window must be an integer >= 0, got -1"),
    (OddSettings(window=2.5), "got 2.5"), (OddSettings(window=None), "got None"), (OddSettings(window=True), "got True"),
    (OddSettings(more=1), "BPRMF ranks 31 items, and the data have 30"),
    (CaserSettings(dim=2, window=14), r"nobody has the 14 items before a target .*\(the longest history has 1[0-3]\): take a"),
])  # fmt: skip
def test_a_window_that_fits_nobody_leaves_nothing(store: Path, odd: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runs.load_or_train(replace(RUN, model=odd), MINE)
    assert not list(store.glob("*/"))
    with pytest.raises(ValueError, match=message):
        rdcore.fit(MINE, odd, epochs=1)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """A model whose loss has some shape, or that has nothing to train."""

    loss: str

    def build(self, n_users, n_items):
        if self.loss == "nothing to train":
            return Answers("plain")
        model = BPRMFSettings(dim=2).build(n_users, n_items)
        each = model.base_loss
        model.base_loss = {
            "mean": lambda *given: each(*given).mean(), "column": lambda *given: each(*given)[:, None],
            "number": lambda *given: 1.0,
        }[self.loss]  # fmt: skip
        return model


@pytest.mark.parametrize("loss, message", [
    ("mean", r"BPRMF.base_loss must return the loss of each query, \(32,\), got shape \(\)"),
    ("column", r"got shape \(32, 1\)"),
    ("number", "got 1.0"), ("nothing to train", r"Answers has no parameters to train: its settings need fit\(interactions\)"),
])  # fmt: skip
def test_a_loss_is_one_number_for_each_query(store: Path, loss: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rdcore.fit(MINE, LossSettings(loss=loss), training=Training(epochs=1, batch_size=32))
    with pytest.raises(ValueError, match=message):
        runs.load_or_train(replace(RUN, model=LossSettings(loss=loss)), MINE)
    assert not list(store.glob("*/*.safetensors"))


def test_a_run_on_a_stage_of_ones_own_is_loaded_and_exported_with_that_stage_alone(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    mine, other = (stages_of_parts(MINE.select(rows < 6), MINE.select(rows == test))["F"]
                   for rows, test in ((MINE.positions(), 6), (MINE.positions(), 7)))  # fmt: skip
    for described in (mine.sha256(), mine.fit.sha256()):  # by both parts, or by the fitted one
        asked = replace(RUN, data_hash=described)
        run = runs.load_or_train(asked, mine)
        assert run.model(asked, mine).n_items == MINE.n_items
        serve.export_run(run, tmp_path / "out.onnx", data=mine)
        for file in tmp_path.glob("out*"):
            file.unlink()
        with pytest.raises(ValueError, match="data_hash="):
            run.model(asked, other)
        with pytest.raises(ValueError, match="data_hash="):
            serve.export_run(run, tmp_path / "out.onnx", data=other)
    assert not list(tmp_path.glob("out*"))


class Answers(Model):
    """Scores of all items in some form."""

    n_items, window = MINE.n_items, 0

    def __init__(self, form: str):
        super().__init__()
        self.form = form

    def encode(self, queries):
        return queries.user[:, None]

    def score(self, context, items):
        return super().score(context, items)

    def score_all(self, context):
        return FORMS[self.form](torch.arange(float(self.n_items)).roll(7).repeat(len(context), 1))


FORMS = {
    "padding": lambda scores: torch.cat([scores, scores[:, :1]], 1), "too few": lambda scores: scores[:, 1:],
    "one": lambda scores: scores[0], "numpy": lambda scores: scores.numpy(), "complex": lambda scores: scores + 0j,
    "none": lambda scores: None, "half": torch.Tensor.half, "whole": torch.Tensor.long,
    "plain": lambda scores: scores, "first": lambda scores: scores.index_fill(1, torch.tensor([3]), 1e30),
    "infinite": lambda scores: scores.index_fill(1, torch.tensor([3]), torch.inf),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AnswersSettings:
    form: str

    def fit(self, fit):
        return Answers(self.form)


@pytest.mark.parametrize("form", ["padding", "too few", "one", "numpy", "complex", "none"])
def test_a_model_that_answers_in_another_shape_is_refused_everywhere_and_leaves_nothing(store: Path, form: str) -> None:
    said = r"Answers.score_all must return a tensor of real numbers in the shape \(20, 30\)"
    odd, final = Answers(form), rdcore.stage(MINE, "F")
    for door in (
        lambda: runs.load_or_train(replace(RUN, model=AnswersSettings(form=form), training=Training(epochs=1)), MINE),
        lambda: rdcore.evaluate(odd, MINE), lambda: agreement(BPRMFSettings(dim=2).build(20, 30), odd, final),
        lambda: steady_lists(odd, final.fit, 3), lambda: leave_one_out.Judge(MINE).means(odd),
        *(lambda method=method: rdcore.fit(MINE, BPRMFSettings(dim=2), teacher=odd, method=method, epochs=1)
          for method in (RDSettings(K=2, weights=Position(), exclude="seen"), CDSettings(samples=2, depth=5))),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            door()
    assert not list(store.glob("*/"))


@pytest.mark.parametrize("form", ["half", "whole", "first"])
def test_what_may_teach_does_not_end_the_run_when_it_is_compared(form: str) -> None:
    """Half precision, whole numbers, and an item that always comes first."""
    plain, odd = Answers("plain"), Answers(form)
    student = rdcore.fit(MINE, BPRMFSettings(dim=2), teacher=odd, method=RDSettings(K=2, weights=Position()), epochs=1)
    found = agreement(student, odd, rdcore.stage(MINE, "F"))
    assert all(-1 <= value <= 1 for value in found.values())
    if form != "first":
        assert found == agreement(student, plain, rdcore.stage(MINE, "F"))
    infinite, settings = Answers("infinite"), RDSettings(K=2, weights=Position())
    for door in (lambda: agreement(student, infinite, rdcore.stage(MINE, "F")),
                 lambda: rdcore.fit(MINE, BPRMFSettings(dim=2), teacher=infinite, method=settings, epochs=1)):  # fmt: skip
        with pytest.raises(ValueError, match=r"the teacher's score .*item.* is \+inf: give finite scores"):
            door()


class Known(Model):
    """Names two items of everybody."""

    n_items, window = MINE.n_items, 0

    def encode(self, queries):
        return queries.user[:, None]

    def score_all(self, context):
        scores = torch.full((len(context), self.n_items), -torch.inf)
        scores[:, :2] = torch.tensor([1.0, 0.0])
        return scores


@dataclass(frozen=True, kw_only=True)
class KnownSettings:
    def fit(self, fit):
        return Known()


def test_how_many_lists_are_short_is_on_record_and_shown(store: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    teacher = replace(RUN, model=KnownSettings(), training=Training(epochs=1))
    asked = replace(RUN, role="RRD", teacher=teacher, teacher_epoch=1, distillation=RRDSettings(K=2, L=4, depth=6))
    run = runs.load_or_train(asked, MINE, progress=True)
    assert run.environment["n_short"] == MINE.n_users and runs.load_or_train(RUN, MINE).environment["n_short"] is None
    assert "20 of the lists or samples are shorter than asked for" in capsys.readouterr().out
    assert "n_short" in run_tables.show(run.key)
    on_L = replace(RUN, stage="L")  # of 30 items nobody leaves 499
    run = runs.load_or_train(on_L, MINE, progress=True)
    assert "20 users are ranked among fewer than 499 items" in capsys.readouterr().out
    assert "20 users are ranked among fewer items than asked for" in run_tables.show(run.key)


def test_how_many_rows_were_used_is_on_record_and_said_where_they_are_few(store: Path, capsys: pytest.CaptureFixture) -> None:
    counts = rdcore.stage(MINE, "F").fit.counts()  # whoever is too short for a window keeps one row
    for window, few in ((3, False), (8, True)):
        asked = replace(RUN, model=CaserSettings(dim=2, window=window), training=Training(epochs=1))
        used = runs.load_or_train(asked, MINE, progress=True).environment["rows_used"]
        assert used == round(np.maximum(counts - window, 1).sum() / counts.sum(), 4) and (used < 0.5) == few
        said = f"trained on {used:.0%} of the rows, those with {window} items before them"
        assert (said in capsys.readouterr().out) == few


def test_a_split_for_another_stage_is_refused(store: Path) -> None:
    other = rdcore.stage(MINE, "V")
    with pytest.raises(ValueError, match="the data are a split for stage 'V', and the run is on stage 'F'"):
        runs.load_or_train(replace(RUN, data_hash=other.sha256()), other)
    assert not list(store.glob("*/"))


# ------------------------------------------------------------------------------------------------------ loggers, interrupts


def test_a_logger_is_called_after_every_epoch_with_what_was_measured(store: Path) -> None:
    seen = []
    run = runs.load_or_train(replace(RUN, evaluate_every=2), MINE, after_epoch=lambda *given: seen.append(given))
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    for epoch, values in seen:
        assert values["loss"] == run.history.loc[epoch, "loss"] and values["seconds"] >= 0
        assert ("MAP" in values) == (epoch > 1)
    assert seen[-1][1]["MAP"] == run.metrics.loc[3, "MAP"]
    assert list(run.history) == ["loss", "seconds"] and set(run.metrics) >= {"MAP"}, "the record does not change"


def test_what_a_logger_raises_stops_the_run_after_its_checkpoint(store: Path) -> None:
    def full(epoch: int, values: dict) -> None:
        raise OSError("the logger's disk is full")

    with pytest.raises(OSError, match="the logger's disk is full"):
        runs.load_or_train(RUN, MINE, after_epoch=full)
    run = runs.load_or_train(RUN, MINE)
    assert run.environment["resumed"] == 1 and len(run.history) == 3


SCRIPT = """
    import os, signal, sys
    from rdcore.datasets import synthetic
    from rdcore.models import BPRMFSettings
    from rdcore.store import runs
    from rdcore.store.experiment import Experiment
    from rdcore.train.loop import Training

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    mine = synthetic.generate(n_users=20, n_items=30, min_length=10, max_length=14)
    run = Experiment(dataset="mine", data_hash=mine.sha256(), stage="F", role="T", model=BPRMFSettings(dim=3),
                     evaluate_every=1, training=Training(epochs=3, batch_size=32))

    def interrupt(epoch, values):
        if epoch == 2:
            os.kill(os.getpid(), 2)

    if sys.argv[1] == "run":
        runs.load_or_train(run, mine, after_epoch=interrupt)
    if sys.argv[1] == "error":
        raise LookupError("not an interrupt")
"""


def test_an_interrupted_script_ends_with_one_line_and_keeps_its_epochs(store: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script), "run"], capture_output=True, text=True)
    # Epoch 2 where the disk is fast enough for a checkpoint after it (checkpoints.CHECKPOINT_SHARE).
    said = f"interrupted: {RUN.label} is kept up to epoch [12] of 3, and the same call goes on from there\n"
    assert re.fullmatch(said, done.stderr), done.stderr
    assert done.returncode != 0
    assert runs.load_or_train(RUN, MINE).environment["resumed"] == 1


def test_jupyter_shows_the_same_line() -> None:
    from rdcore.store.interrupt import Interrupted, explained

    hook = sys.excepthook
    try:
        with pytest.raises(Interrupted) as caught, explained(lambda: "two runs are kept"):
            raise KeyboardInterrupt
        assert caught.value._render_traceback_() == ["two runs are kept"]
        with pytest.raises(ValueError), explained(lambda: "nothing"):
            raise ValueError
    finally:
        sys.excepthook = hook


# ------------------------------------------------------------------------------------------------------------ many own runs


@pytest.mark.slow
def test_two_processes_train_own_data_to_the_same_bits(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [replace(RUN, seed=seed) for seed in (1, 2, 3)]
    found = runs.load_or_train_all(plan, data=MINE, jobs=2)
    assert [run.key for run in found] == [e.key for e in plan]
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "alone"))
    for run, experiment in zip(found, plan, strict=True):
        alone = runs.load_or_train(experiment, MINE)
        assert alone.metrics.equals(run.metrics)
        one, other = (runs.read_weights(each.weights()) for each in (alone, run))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_sweep_says_where_it_is_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    long, short, other = (replace(RUN, seed=s, training=Training(epochs=e)) for s, e in ((1, 30), (2, 10), (3, 20)))
    estimate = Estimate([long, short, other])
    now[0] += 60
    assert estimate.after(long) == "1 of 3 runs, about 60 s left"
    now[0] += 600
    assert estimate.after(short) == "2 of 3 runs, about 6 min left"  # 660 s for 40 epochs, 20 are left
    assert estimate.after(other) == "3 of 3 runs" and estimate.kept().startswith("interrupted: 3 of 3 runs are finished")
    now[0] += 40_000
    estimate = Estimate([long, other])
    now[0] += 18_000
    assert estimate.after(long) == "1 of 2 runs, about 3.3 h left"


def test_the_lines_of_a_sweep(store: Path, capsys) -> None:
    runs.load_or_train_all([RUN, replace(RUN, seed=2)], data=MINE)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"finished {RUN.label}: 1 of 2 runs, about ") and said[1].endswith(": 2 of 2 runs")


# -------------------------------------------------------------------------------------------------------------- the store


def test_looking_at_runs_needs_no_torch(store: Path) -> None:
    runs.load_or_train(RUN, MINE)
    look = f"from rdcore.store import run_tables; run_tables.listing(); run_tables.show({RUN.key!r})"
    script = f"import sys, studies.cli; {look}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_everything_of_a_run_is_in_its_folder(store: Path) -> None:
    run = runs.load_or_train(RUN, MINE)
    assert sorted(file.name for file in run.folder.iterdir()) == [
        "DONE", "description.json", "environment.json", "groups.json", "history.json", "metrics.json",
        *(f"per_user-00{epoch}.parquet" for epoch in (1, 2, 3)), *(f"weights-00{epoch}.safetensors" for epoch in (1, 2, 3)),
    ]  # fmt: skip
    assert runner.run_of(RUN) == run and np.isfinite(run.metrics["MAP"]).all()
