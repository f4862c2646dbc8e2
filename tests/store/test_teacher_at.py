"""A teacher with a memory and a student without: the teacher is asked behind each user's last training item."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rdcore
from rdcore.data.queries import final_queries, training_queries
from rdcore.data.sampling import SeenItems
from rdcore.data.splits import stage
from rdcore.datasets import synthetic
from rdcore.distill.lists import exemplary_rankings
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, SASRecSettings
from rdcore.models.base import built, evaluating
from rdcore.store import runs
from rdcore.store.contract import at_last
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training

DATA = synthetic.generate(n_users=30, n_items=40, min_length=8, max_length=14, seed=3)
FIT = stage(DATA, "F").fit
ONCE = Training(epochs=1, batch_size=64)
WITH_MEMORY = [CaserSettings(dim=4, window=3), FossilSettings(dim=4, dropout=0.5), SASRecSettings(dim=4, window=3, blocks=1)]
METHODS = [
    rdcore.RDSettings(K=4, exclude="seen", weights=rdcore.Position(lam=2)),
    rdcore.RDSettings(K=4, weights=rdcore.Position(lam=2)), rdcore.RRDSettings(K=3, L=3, depth=8),
]


def teacher_of(settings) -> torch.nn.Module:
    torch.manual_seed(1)
    model = built(settings, FIT)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn_like(weights))
    return model.eval()


@pytest.mark.parametrize("settings", WITH_MEMORY, ids=lambda one: type(one).__name__)
def test_it_says_at_every_query_what_it_says_behind_the_users_last_item(settings):
    teacher = teacher_of(settings)
    queries = training_queries(FIT, 1)[0]
    last, expected = at_last(teacher, FIT), teacher.encode(final_queries(FIT))[queries.user]
    before = teacher.encode(queries)
    torch.testing.assert_close(last.encode(queries), expected)
    assert not torch.allclose(before, expected, atol=0.1) and last.window == 0 < teacher.window
    assert torch.equal(teacher.encode(queries), before), "the teacher itself has not changed"
    with torch.no_grad():
        next(teacher.parameters()).mul_(2)
    torch.testing.assert_close(last.encode(queries), teacher.encode(final_queries(FIT))[queries.user])  # they share weights
    teacher.train(), last.train()
    with evaluating(last):
        assert torch.equal(last.encode(queries), last.encode(queries)), "in evaluation nothing is dropped"


def test_a_teacher_without_memory_is_refused():
    with pytest.raises(ValueError, match="the teacher, BPRMF, has no memory .*leave teacher_at at 'query'"):
        at_last(built(BPRMFSettings(dim=2), FIT), FIT)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_rdcore_fit_asks_so_by_itself_and_only_for_a_student_without_memory(method, monkeypatch):
    teacher, how = teacher_of(WITH_MEMORY[2]), {"method": method, "training": ONCE}
    itself = rdcore.fit(DATA, BPRMFSettings(dim=3), teacher=teacher, **how)
    asked = rdcore.fit(DATA, BPRMFSettings(dim=3), teacher=at_last(teacher, FIT), **how)
    assert all(torch.equal(a, b) for a, b in zip(itself.parameters(), asked.parameters(), strict=True))
    never = "a student with a memory, or a teacher without"
    monkeypatch.setattr("rdcore.store.contract.at_last", lambda *given: pytest.fail(never))
    rdcore.fit(DATA, CaserSettings(dim=3, window=2), teacher=teacher, **how)
    rdcore.fit(DATA, BPRMFSettings(dim=3), teacher=built(BPRMFSettings(dim=2), FIT), **how)


def experiment(**given) -> Experiment:
    common = {"dataset": "mine", "data_hash": DATA.sha256(), "stage": "F", "evaluate_every": 1}
    teacher = Experiment(role="T", model=WITH_MEMORY[0], training=ONCE, **common)
    taught = {"distillation": METHODS[0], "teacher": teacher, "teacher_epoch": 1}
    return Experiment(role="x", model=BPRMFSettings(dim=3), training=ONCE, **common | taught | given)


def test_a_run_asks_as_it_is_described(tmp_path: Path, monkeypatch):
    """Both ways in one store: the lists of one are not those of the other."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    every, last = experiment(), experiment(teacher_at="last")
    assert "teacher_at" not in every.description and every.key != last.key
    done = [runs.load_or_train(one, DATA) for one in (every, last)]
    models = [run.model(one, DATA) for run, one in zip(done, (every, last), strict=True)]
    teacher = runs.load_or_train(every.teacher, DATA).model(every.teacher, DATA)
    expected = rdcore.fit(DATA, last.model, teacher=teacher, method=METHODS[0], training=ONCE)
    assert torch.allclose(models[1].user.weight, expected.user.weight, atol=1e-7)
    assert not torch.allclose(models[0].user.weight, expected.user.weight, atol=1e-4)
    folders = sorted(path.name for path in (tmp_path / every.teacher.key).glob("lists-*"))
    assert folders == ["lists-001", "lists-001-last"]
    lists = runs.load_or_train(replace(last, distillation=METHODS[1]), DATA)  # without the target: not one list a user
    assert lists.metrics["MAP"].notna().all()


def test_the_lists_are_those_of_the_last_moment():
    teacher, queries = at_last(teacher_of(WITH_MEMORY[1]), FIT), training_queries(FIT, 0)[0]
    seen = SeenItems(queries.items, queries.offsets, FIT.n_items)
    lists = exemplary_rankings(teacher, queries, 5, target=None, seen=seen)
    of_users = exemplary_rankings(teacher_of(WITH_MEMORY[1]), final_queries(FIT), 5, target=None, seen=seen)
    assert torch.equal(lists, of_users[queries.user])


@pytest.mark.parametrize(("given", "said"), [
    ({"teacher_at": "now"}, "teacher_at must be 'query' or 'last', got 'now'"),
    ({"teacher_at": "last", "teacher": None, "teacher_epoch": None, "distillation": None}, "no effect with no teacher"),
])  # fmt: skip
def test_bad_descriptions_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        replace(experiment(), **given)
