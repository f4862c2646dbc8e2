"""rdcore.fit, evaluate and compare: the same numbers as the store's, without a store."""

import doctest
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import rdcore
from rdcore import api, models, serve
from rdcore.data import stage
from rdcore.data.queries import final_queries
from rdcore.eval import metrics
from rdcore.eval.leave_one_out import Judge
from rdcore.store import runs
from rdcore.store.agreement import agreement
from rdcore.store.experiment import Experiment
from rdcore.store.lists import write_lists

TRAINING = rdcore.Training(epochs=2, batch_size=256, learning_rate=1e-2)


@pytest.fixture(scope="module")
def clicks():
    return rdcore.load("synthetic")


def test_the_numbers_are_those_of_the_run_store(clicks, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    common = dict(
        dataset="synthetic", data_hash=clicks.sha256(), stage="F", training=TRAINING, evaluate_every=2, seed=3
    )
    teaches = Experiment(role="T", model=rdcore.CaserSettings(dim=8), **common)
    learns = Experiment(
        role="RD", model=rdcore.CaserSettings(dim=4), teacher=teaches, teacher_epoch=2,
        distillation=rdcore.RDSettings(), **common,
    )  # fmt: skip
    kept = runs.load_or_train(learns, clicks)

    teacher = rdcore.fit(clicks, rdcore.CaserSettings(dim=8), training=TRAINING, seed=3)
    student = rdcore.fit(
        clicks, rdcore.CaserSettings(dim=4), teacher=teacher, method=rdcore.RDSettings(), training=TRAINING, seed=3
    )
    table = rdcore.compare({"T": teacher, "RD": student}, clicks)
    assert table.loc["RD", "MAP"] == kept.metrics["MAP"][2]
    assert list(table.index) == ["T", "RD"] and table["parameters"]["T"] > table["parameters"]["RD"]


def test_a_seed_gives_the_same_model_and_another_seed_another(clicks):
    one, again, other = (rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), epochs=1, seed=seed) for seed in (1, 1, 2))
    users = [rdcore.evaluate(model, clicks)["nDCG@10"] for model in (one, again, other)]
    assert np.array_equal(users[0], users[1], equal_nan=True)
    assert not np.array_equal(users[0], users[2], equal_nan=True)


def test_a_stage_says_what_to_fit(clicks):
    part = rdcore.stage(clicks, "V")
    pop = rdcore.fit(part, rdcore.PopularitySettings())
    expected = np.bincount(part.fit.items, minlength=clicks.n_items)
    assert np.array_equal(np.argsort(-expected, kind="stable")[:1], [int(pop.score_all(pop.encode(_first(part)))[0].argmax())])
    assert np.isfinite(rdcore.compare({"POP": pop}, part)["MAP"]).all()


def _first(part):
    from rdcore.data.queries import final_queries

    return final_queries(part.fit)[:1]


def other_teacher(what):
    """A model that cannot teach on `clicks`."""
    model = rdcore.BPRMFSettings(dim=2).build(100, 50 if what == "items" else 120)
    if what == "numbers":
        torch.nn.init.constant_(model.item_factors.weight, torch.nan)
    return model.to("meta") if what == "device" else model


RD = rdcore.RDSettings(weights=rdcore.Position())


@pytest.mark.parametrize("given, message", [
    ({"model": rdcore.BPRMFSettings}, "model must be settings such as BPRMFSettings.dim=20., got <class"),
    ({"model": "bpr"}, "got 'bpr'"), ({"model": rdcore.BPRMFSettings(dim=2).build(3, 3)}, "got a BPRMF"),
    ({"training": 3}, "training must be a Training object .* got 3"), ({"training": {"epochs": 1}}, "got a dict"),
    ({"training": rdcore.Training}, "got <class"), ({"seed": -1}, "seed must be an integer >= 0"),
    ({"method": "rd", "teacher": other_teacher("")}, r"method must be settings such as RDSettings\(\), got 'rd'"),
    ({"method": rdcore.RDSettings, "teacher": other_teacher("")}, "method must be settings"),
    ({"method": RD, "teacher": "t.pt"}, "the teacher must be a trained model, .* got 't.pt'"),
    ({"method": RD, "teacher": rdcore.BPRMFSettings(dim=2)}, "the teacher must be a trained model"),
    ({"method": RD, "teacher": other_teacher("items")}, "ranks 50 items, and the data have 120"),
    ({"method": RD, "teacher": other_teacher("device")}, "the teacher is on 'meta', and device is 'cpu': give model.to"),
    ({"method": RD, "teacher": other_teacher("numbers")}, "the teacher has weights that are not finite"),
    ({"method": RD, "teacher": other_teacher(""), "model": rdcore.PopularitySettings()}, "is counted from the data"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_by_name(clicks, given, message):
    with pytest.raises(ValueError, match=message):
        rdcore.fit(clicks, **{"model": rdcore.BPRMFSettings(dim=2), "training": rdcore.Training(epochs=1)} | given)


def test_a_model_without_memory_is_evaluated_on_its_own_users(clicks):
    few = rdcore.load("synthetic", n_users=40)
    model = rdcore.fit(few, rdcore.BPRMFSettings(dim=2), epochs=1)
    with pytest.raises(ValueError, match="was fitted to 40 users, and the data have"):
        rdcore.evaluate(model, clicks)
    counted = rdcore.fit(clicks, rdcore.ItemCFSettings())  # would answer for the first 40 with what others have
    with pytest.raises(ValueError, match="and the data have 40: give it the same users"):
        rdcore.evaluate(counted, few)
    assert len(rdcore.evaluate(rdcore.fit(clicks, rdcore.PopularitySettings()), few)["AP"]) == 40
    sequences = rdcore.fit(few, rdcore.CaserSettings(dim=2), epochs=1)
    assert len(rdcore.evaluate(sequences, few)["AP"]) == 40


def renamed(data, **fields):
    return replace(data, user_ids=np.array([f"u{k}" for k in range(data.n_users)]), **fields)


KNOWING = (models.BPRMFSettings(dim=2), models.NeuMFSettings(dim=2), models.CaserSettings(dim=2), models.FossilSettings(dim=2),
           models.ItemCFSettings(), models.EASESettings(), models.GFCFSettings(vectors=2), models.IALSSettings(dim=2),
           models.LightGCNSettings(dim=2))  # fmt: skip


@pytest.mark.parametrize("settings", KNOWING, ids=lambda each: type(each).__name__)
def test_a_model_is_asked_about_the_users_that_it_knows(settings, tmp_path):
    """Not about as many others, whose labels are others or, where labels only count, whose first items are."""
    mine, theirs = (rdcore.load("synthetic", n_users=40, n_items=60, seed=seed) for seed in (1, 2))
    counted = {} if not hasattr(settings, "build") else {"epochs": 1}
    model = rdcore.fit(mine, settings, **counted)
    message = "was fitted to 40 users, and the data have as many others: give it the same users, in the same order"
    for other in (theirs, renamed(mine)):
        for door in (
            lambda other=other: rdcore.evaluate(model, other), lambda other=other: rdcore.compare({"m": model}, other),
            lambda other=other: agreement(model, model, stage(other, "F")),
            lambda other=other: serve.check("x.onnx", model, other, [0]),
            lambda other=other: write_lists(tmp_path / "x.parquet", model, other, licence="", command=""),
            lambda other=other: Judge(other).means(model), lambda other=other: metrics.evaluate(model, stage(other, "F")),
            lambda other=other: rdcore.fit(other, rdcore.BPRMFSettings(dim=2), teacher=model, method=RD, epochs=1),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                door()
    for same in (stage(mine, "V"), stage(mine, "F"), Judge(mine).test):  # other parts of the same users' rows
        assert len(rdcore.evaluate(model, same)["AP"]) == 40


def test_labels_name_users_whatever_they_did(clicks):
    """A later month of the same people; and a model saved whole by an earlier version, which knows their number alone."""
    later = replace(clicks, items=(clicks.items + 1) % clicks.n_items)
    fewer = clicks.select(clicks.users() % 3 > 0)  # some came later than what the model was fitted to: nothing is known of them
    assert len(rdcore.evaluate(rdcore.fit(fewer, rdcore.BPRMFSettings(dim=2), epochs=1), clicks)["AP"]) == clicks.n_users
    model = rdcore.fit(renamed(clicks), rdcore.BPRMFSettings(dim=2), epochs=1)
    assert np.isfinite(rdcore.evaluate(model, renamed(later))["AP"]).any()
    with pytest.raises(ValueError, match="as many others"):
        rdcore.evaluate(model, clicks)
    model.fitted_users = clicks.n_users
    rdcore.evaluate(model, clicks)
    with pytest.raises(ValueError, match="was fitted to 200 users, and the data have 40"):
        rdcore.evaluate(model, rdcore.load("synthetic", n_users=40))
    del model.fitted_users  # as of a state_dict
    rdcore.evaluate(model, later)
    for knows_nobody in (models.PopularitySettings(), models.SASRecSettings(dim=2, window=3, heads=1)):
        model = rdcore.fit(clicks, knows_nobody, epochs=1)
        rdcore.evaluate(model, later)
    model.fitted_users = 40  # SASRec, saved whole by an earlier version
    rdcore.evaluate(model, later)


def test_a_seed_may_be_an_integer_of_numpy(clicks):
    one, other = (rdcore.fit(clicks, rdcore.BPRMFSettings(dim=2), epochs=1, seed=seed) for seed in (3, np.arange(4)[3]))
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("models, show, message", [
    ([], ("MAP",), "models must be a dict .* got a list"), ({}, ("MAP",), "models must be a dict"),
    (None, ("MAP",), "got None"), ({"m": None}, ("MAP",), r"models\['m'\] must be a trained model, .* got None"),
    ({"m": other_teacher("")}, ("NDCG@10",), "show names no metric 'NDCG@10'; there are: P@3, .* MAP"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_name(clicks, models, show, message):
    with pytest.raises(ValueError, match=message):
        rdcore.compare(models, clicks, show=show)


def test_an_interrupt_says_that_nothing_is_kept(clicks, monkeypatch):
    def stop(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "train", stop)
    with pytest.raises(KeyboardInterrupt, match="rdcore.fit keeps nothing; load_or_train"):
        rdcore.fit(clicks, rdcore.BPRMFSettings(dim=2), epochs=1)


def test_one_metric_may_be_named_alone(clicks):
    popular = rdcore.fit(clicks, rdcore.PopularitySettings())
    assert list(rdcore.compare({"POP": popular}, clicks, show="MAP")) == ["MAP", "parameters"]


def test_a_user_with_all_items_is_named_as_the_data_name_them():
    all_items = np.tile(np.arange(3), 2)
    fit = rdcore.stage(rdcore.load("synthetic"), "F").fit
    mine = type(fit)("mine", all_items, [0, 3, 6], 3, user_ids=np.array(["ann", "bob"]))
    part = rdcore.data.Stage("F", mine, type(fit)("test", [], [0, 0, 0], 3))
    with pytest.raises(ValueError, match="user ann has every one of the 3 items"):
        rdcore.fit(part, rdcore.BPRMFSettings(dim=2), epochs=1)


@pytest.mark.parametrize("given", [{"method": rdcore.RDSettings()}, {"teacher": object()}])
def test_teacher_and_method_belong_together(clicks, given):
    with pytest.raises(ValueError, match="teacher and method belong together"):
        rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), epochs=1, **given)


def test_recommended_are_the_best_items_that_a_user_does_not_have(clicks):
    """The lists are those of `write_lists`, and of every item with its score."""
    labels = {"user_ids": np.array([f"u{k}" for k in range(clicks.n_users)]), "item_ids": np.arange(clicks.n_items) + 1000}
    named = type(clicks)("named", clicks.items, clicks.offsets, clicks.n_items, **labels)
    model = rdcore.fit(named, rdcore.CaserSettings(dim=4), training=TRAINING)
    lists = rdcore.recommend(model, named, ["u7", "u2"], n=5)
    assert lists["user"].tolist() == ["u7"] * 5 + ["u2"] * 5 and lists["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    for place, user in enumerate((7, 2)):
        with torch.no_grad():
            scores = model.score_all(model.encode(final_queries(named)[torch.tensor([user])]))[0]
        scores[named.items[named.offsets[user] : named.offsets[user + 1]]] = -torch.inf
        best = scores.topk(5)
        mine = lists[5 * place : 5 * place + 5]
        assert mine["item"].tolist() == (best.indices + 1000).tolist()
        assert np.allclose(mine["score"], best.values, atol=1e-6)
    part = rdcore.stage(named, "F")
    shorter = rdcore.recommend(model, part, n=5)
    assert len(shorter) == 5 * named.n_users and not shorter.equals(rdcore.recommend(model, named, n=5))
    assert len(rdcore.recommend(model, named, ["u3"], n=10_000)) == named.n_items - len(set(items_of(named, 3)))
    assert len(rdcore.recommend(model, named, [])) == 0
    with pytest.raises(ValueError, match="users: the data have no user 'zoe': take labels of the data, such as u0"):
        rdcore.recommend(model, named, ["u1", "zoe"])
    with pytest.raises(ValueError, match="n must be an integer >= 1, got 0"):
        rdcore.recommend(model, named, n=0)


def items_of(data, user):
    return data.items[data.offsets[user] : data.offsets[user + 1]].tolist()


def test_a_file_of_lists_teaches(clicks, tmp_path):
    """As docs/your-data.md has it."""
    write_lists(tmp_path / "lists.parquet", rdcore.fit(clicks, rdcore.EASESettings()), clicks, k=30, licence="", command="")
    teacher = rdcore.read_lists(tmp_path / "lists.parquet", clicks).teacher()
    student = rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), teacher=teacher, method=rdcore.UnKDSettings(depth=20), epochs=1)
    assert student.n_items == clicks.n_items
    with pytest.raises(ValueError, match="DE distils representations, but the teacher .ListedTeacher. shows none"):
        rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), teacher=teacher, method=rdcore.DESettings(), epochs=1)


def test_every_method_and_model_has_a_public_name():
    from rdcore import distill

    named = {name for module in (distill, models) for name in module.__all__ if name.endswith("Settings")}
    assert named <= rdcore.PUBLIC.keys()


def test_the_example_runs():
    assert doctest.testmod(api).attempted > 0 and doctest.testmod(api).failed == 0


@pytest.mark.parametrize("name", rdcore.PUBLIC)
def test_every_public_name_is_there(name):
    assert getattr(rdcore, name).__module__.startswith("rdcore.") and name in dir(rdcore)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, rdcore; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_models_of_other_data_are_refused_before_anything_is_evaluated(clicks):
    other = rdcore.fit(rdcore.load("synthetic", n_items=50), rdcore.BPRMFSettings(dim=2), epochs=1)
    for door in (lambda: rdcore.evaluate(other, clicks), lambda: rdcore.compare({"mine": other}, clicks)):
        with pytest.raises(ValueError, match="BPRMF ranks 50 items, and the data have 120"):
            door()
