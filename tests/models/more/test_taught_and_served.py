"""The later models as teachers and students, in the store, and exported to ONNX."""

import math

import pytest
import torch

from rdcore import serve
from rdcore.data import stage
from rdcore.datasets import synthetic
from rdcore.distill import DESettings, Position, RankDistilSettings, RDSettings, RRDSettings
from rdcore.models import (
    BPRMFSettings,
    CaserSettings,
    EASESettings,
    GFCFSettings,
    IALSSettings,
    LightGCNSettings,
    SASRecSettings,
)
from rdcore.models.base import built
from rdcore.store import runs, stages
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training, make_optimizer, train, training_data

DATA = synthetic.generate(n_users=14, n_items=40, min_length=8, max_length=14, seed=2)
STUDENTS = {
    "SASRec ce": SASRecSettings(dim=4, window=3, dropout=0.1),
    "SASRec gbce": SASRecSettings(dim=4, window=3, blocks=1, loss="gbce", sampled=8, tied=False),
    "LightGCN": LightGCNSettings(dim=4, layers=2),
    "BPR": BPRMFSettings(dim=4),
    "Caser": CaserSettings(dim=4, window=3, horizontal=2),
}
TEACHERS = {
    "EASE": EASESettings(lam=5.0),
    "GF-CF": GFCFSettings(vectors=5),
    "iALS": IALSSettings(dim=6, iterations=2),
    "LightGCN": LightGCNSettings(dim=7, layers=1),
    "SASRec": SASRecSettings(dim=8, window=5),
}
METHODS = {
    "RD": RDSettings(K=4, exclude="seen", weights=Position(lam=4.0)),
    "RRD": RRDSettings(K=3, L=4, depth=6, T=4.0, weight=0.1),
    "RankDistil-C": RankDistilSettings(form="C", p=4, m=6, orders="exact"),
    "DE": DESettings(M=2, anneal_epochs=50, weight=0.1),
}


def made(settings):
    """A model of DATA: computed, or untrained with large vectors."""
    if hasattr(settings, "fit"):
        return settings.fit(DATA)
    torch.manual_seed(1)
    model = built(settings, DATA)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(5)
    return model


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("method", METHODS)
def test_any_teacher_teaches_any_student(method, teacher):
    taught_by = made(TEACHERS[teacher])
    for name, settings in STUDENTS.items():
        student = made(settings)
        if method == "DE" and teacher in ("EASE", "GF-CF"):
            with pytest.raises(ValueError, match="(?i)represent|hint|vectors"):
                METHODS[method].build(student, taught_by)
            continue
        distillation = METHODS[method].build(student, taught_by)
        data = training_data(DATA, student.window, "cpu")
        distillation.prepare(taught_by, data)
        plan, logs = Training(epochs=1, batch_size=64, learning_rate=0.01, negatives=2), []
        before = [value.clone() for value in student.parameters()]
        train(
            student,
            data,
            make_optimizer(student, distillation, plan),
            plan,
            seed=1,
            distillation=distillation,
            after_epoch=lambda epoch, log, logs=logs: logs.append(log),
        )
        assert math.isfinite(logs[0]["loss"]) and logs[0]["distillation_loss"] > 0, name
        assert all(
            value.isfinite().all() and not torch.equal(value, old)
            for value, old in zip(student.parameters(), before, strict=True)
        ), name


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["SASRec ce", "SASRec gbce", "LightGCN"])
def test_a_run_of_the_store_that_is_stopped_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    common = {"dataset": "own", "data_hash": DATA.sha256(), "stage": "F", "role": "S"}
    plan = Training(epochs=3, batch_size=32, learning_rate=0.01, negatives=1)
    run = Experiment(**common, model=STUDENTS[name], training=plan, evaluate_every=1)
    found = []
    evaluate = stages.FullRanking.evaluate

    def interrupted(self, model, epoch, entries):
        if epoch == 3:
            raise KeyboardInterrupt
        return evaluate(self, model, epoch, entries)

    for folder in ("whole", "stopped"):
        monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / folder))
        if folder == "stopped":
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(stages.FullRanking, "evaluate", interrupted)
                runs.load_or_train(run, DATA)
        found.append(runs.load_or_train(run, DATA))
    assert found[1].environment["resumed"] == 1
    one, other = (each.model(run, DATA).state_dict() for each in found)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SASRec ce", "LightGCN", "iALS"])
def test_the_exported_file_gives_the_models_lists(name, tmp_path):
    model = made((STUDENTS | TEACHERS)[name]).eval()
    path = tmp_path / "model.onnx"
    serve.export(model, path, n=12)
    fit = stage(DATA, "F").fit
    assert serve.check(path, model, fit, range(fit.n_users)) <= serve.TOLERANCE


def test_models_that_are_counted_for_their_users_say_that_they_cannot_be_exported(tmp_path):
    with pytest.raises(ValueError, match="EASE cannot be exported"):
        serve.export(made(TEACHERS["EASE"]), tmp_path / "model.onnx", n=5)
