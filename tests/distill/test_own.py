"""Parts of your own that are wrong: each is refused by a message that names it and the remedy."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import rdcore
from rdcore.data import synthetic
from rdcore.distill import Distillation
from rdcore.distill.lists import teacher_lists
from rdcore.distill.rd import Scheme
from rdcore.models import Model
from rdcore.models.base import has_hints
from rdcore.store import runs
from rdcore.store.experiment import Experiment

DATA = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=12, seed=1)
TRAINING = rdcore.Training(epochs=1, batch_size=64, negatives=1)
SMALL = rdcore.BPRMFSettings(dim=2)
TEACHER = rdcore.fit(DATA, SMALL, training=TRAINING)


class Own(Distillation):
    """A loss of your own, with one part replaced."""

    exclude, answer = "seen", staticmethod(lambda scores: scores.square().mean())

    def __init__(self, student):
        super().__init__()

    def prepare(self, teacher, data, *, cache=None, progress=False):
        self.lists = teacher_lists(teacher, data, 3, self.exclude, cache=cache, partial=True)

    def loss(self, student, batch, step, context):
        return self.answer(student.score(context, self.lists.of(batch)))


class KeepsTeacher(Own):
    def prepare(self, teacher, data, *, cache=None, progress=False):
        super().prepare(teacher, data, cache=cache)
        self.teacher = teacher


class KeepsStudent(Own):
    def __init__(self, student):
        super().__init__(student)
        self.student = student


def settings_of(made):
    """Settings whose build returns what `made` makes of the student."""

    @dataclass(frozen=True)
    class OwnSettings:
        revision = 1

        def build(self, student, teacher):
            return made(student)

    return OwnSettings()


def distilled(method, model=SMALL):
    return rdcore.fit(DATA, model, teacher=TEACHER, method=method, training=TRAINING)


WRONG = {
    "rows": ({"answer": staticmethod(lambda scores: scores.mean(1))}, r"Wrong.loss must return one number, .* got shape \(\d"),
    "float": ({"answer": staticmethod(lambda scores: 1.0)}, "got 1.0: the mean over the batch, or its sum where the class"),
    "None": ({"answer": staticmethod(lambda scores: None)}, "got None"),
    "exclude": ({"exclude": "targets"}, "exclude must be 'target', 'seen' or 'nothing', got 'targets'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loss_is_refused(name):
    changes, message = WRONG[name]
    distilled(settings_of(Own))
    with pytest.raises(ValueError, match=message):
        distilled(settings_of(type("Wrong", (Own,), changes)))


@pytest.mark.parametrize(("made", "message"), [
    (KeepsTeacher, r"KeepsTeacher holds the teacher as a part of itself and would train it: self.freeze\(teacher\) in prepare"),
    (KeepsStudent, "KeepsStudent holds the student as a part of itself and would train it twice: loss and begin_epoch"),
    (lambda student: None, r"OwnSettings.build\(student, teacher\) must return a Distillation, got None"),
    (lambda student: nn.Linear(1, 1), "must return a Distillation, got a Linear"),
])  # fmt: skip
def test_a_distillation_that_holds_a_model_or_is_none_is_refused(tmp_path, monkeypatch, made, message):
    """The teacher would be trained with the student, without a word. Also in the store."""
    before = TEACHER.item_factors.weight.clone()
    with pytest.raises(ValueError, match=message):
        distilled(settings_of(made))
    assert torch.equal(TEACHER.item_factors.weight, before)
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    common = {"dataset": "mine", "data_hash": DATA.sha256(), "stage": "F", "training": TRAINING, "evaluate_every": 1, "seed": 1}
    teacher = Experiment(role="T", model=SMALL, **common)
    own = Experiment(role="own", model=SMALL, distillation=settings_of(made), teacher=teacher, teacher_epoch=1, **common)
    with pytest.raises(ValueError, match=message):
        runs.load_or_train(own, DATA)


class Ranked(Scheme):
    def needs_rank(self, epoch):
        return True


def weighing(answer):
    """A scheme that answers so."""
    return type("Mine", (Scheme,), {"__call__": lambda self, K, rank, epoch, device=None: answer})()


@pytest.mark.parametrize(("scheme", "message"), [
    (weighing(torch.ones(4)), r"Mine must return a tensor with a weight for each place of the lists, \(3,\) or .* shape \(4,"),
    (weighing(torch.ones(3, 3)), r"got shape \(3, 3\)"), (weighing([1.0] * 3), "got a list"),
    (Ranked(), r"Ranked needs the student's ranks: a field discrepancy = Discrepancy\(\) in it says how they are found"),
])  # fmt: skip
def test_weights_of_your_own_that_do_not_fit_are_refused(scheme, message):
    distilled(rdcore.RDSettings(K=3, weights=weighing(torch.tensor([1.0, 0.5, 0.2]))))
    with pytest.raises(ValueError, match=message):
        distilled(rdcore.RDSettings(K=3, weights=scheme))


class All(Model):
    """Scores of all items, from a table."""

    def __init__(self):
        super().__init__()
        self.n_items, self.window = DATA.n_items, 0
        self.scores = torch.rand(DATA.n_users, DATA.n_items)

    def encode(self, queries):
        return queries.user[:, None]

    def score_all(self, context):
        return self.scores[context[:, 0]]


class Single(All):
    def score(self, context, items):
        return super().score(context, items)


@pytest.mark.parametrize("method", [
    rdcore.CDSettings(depth=5, samples=3), rdcore.RankDistilSettings(p=2, m=2),
    rdcore.IRRRDSettings(depth=5, K=2, L=2, users=rdcore.RRDSettings(K=2, L=2, depth=5)),
    rdcore.RRDSettings(depth=5, K=2, L=2, order="full"),
])  # fmt: skip
def test_a_teacher_without_scores_of_single_items_is_told_how_to_have_them(method):
    """And with the method that the message names it teaches."""
    for teacher, message in ((All(), r"score\(context, items\)"), (Single(), None)):
        if message:
            with pytest.raises(ValueError, match=message):
                rdcore.fit(DATA, SMALL, teacher=teacher, method=method, training=TRAINING)
        else:
            rdcore.fit(DATA, SMALL, teacher=teacher, method=method, training=TRAINING)


def test_scores_in_another_shape_are_refused():
    class Sums(Single):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(self.scores)

        def score(self, context, items):
            return super().score(context, items).sum(1)

    made = type("OwnSettings", (), {"build": lambda self, n_users, n_items: Sums()})()
    with pytest.raises(ValueError, match=r"Sums.score must return a tensor of scores .* \(64, 2\), got shape \(64,\)"):
        rdcore.fit(DATA, made, training=TRAINING)


@pytest.mark.parametrize("settings, field, value", [
    (rdcore.RDSettings, "K", np.int64(5)), (rdcore.RDSettings, "weight", np.float32(0.5)),
    (rdcore.Training, "epochs", torch.tensor(3)), (rdcore.Training, "share", np.float32(0.5)),
])  # fmt: skip
def test_numbers_of_numpy_and_torch_are_told_how_to_become_pythons(settings, field, value):
    with pytest.raises(ValueError, match=f"{field} must .*: take its .item"):
        settings(**{field: value})
    settings(**{field: value.item()})


@pytest.mark.parametrize("settings, field, value", [
    (rdcore.RDSettings, "K", np.int64(0)), (rdcore.RDSettings, "K", np.float32(5)),
    (rdcore.RDSettings, "weight", np.float64(-1)), (rdcore.Training, "share", np.float32(2)),
])  # fmt: skip
def test_numbers_that_are_wrong_in_python_too_are_told_no_such_remedy(settings, field, value):
    with pytest.raises(ValueError, match=f"{field} must .*, got np.[a-z0-9]*.[-0-9.]*.$"):
        settings(**{field: value})


class Plain(nn.Module):
    """A model that is no `Model`."""

    n_items, window = DATA.n_items, 0

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(20, 2)


@pytest.mark.parametrize(("model", "message"), [
    (Plain, "Plain must be a subclass of rdcore.models.Model"),
    (type("Blind", (Model,), {}), "Blind.window must be an integer >= 0, got None: how many past items it looks at"),
    (type("Odd", (Model,), {"window": True}), "Odd.window must be an integer >= 0, got True"),
    (type("Fewer", (Model,), {"window": 0, "n_items": DATA.n_items - 1}), f"Fewer ranks {DATA.n_items - 1} items, and"),
    (type("More", (Model,), {"window": 0, "n_items": DATA.n_items + 1}), f"More ranks {DATA.n_items + 1} items, and"),
])  # fmt: skip
def test_a_model_that_is_none_is_refused(model, message):
    made = type("OwnSettings", (), {"build": lambda self, n_users, n_items: model()})()
    with pytest.raises(ValueError, match=message):
        rdcore.fit(DATA, made, training=TRAINING)


@pytest.mark.parametrize("items", [torch.arange(3), torch.arange(6).view(2, 3)], ids=["shared", "each its own"])
def test_single_scores_come_from_all_of_them_without_a_column_for_padding(items):
    class Padded(All):
        def score_all(self, context):
            return nn.functional.pad(super().score_all(context), (0, 1))

    model, context = All(), torch.tensor([[2], [0]])
    expected = [[model.scores[user, item].item() for item in row] for user, row in zip((2, 0), items.expand(2, 3), strict=True)]
    assert model.score(context, items).tolist() == expected
    with pytest.raises(ValueError, match=rf"Padded.score_all must return .* shape \(2, {DATA.n_items}\)"):
        Padded().score(context, items)


def test_vectors_are_shown_of_queries_and_of_items_or_not_at_all():
    hints = {"hint": lambda self, context: context, "item_hint": lambda self, items: items}
    for names in ([], ["hint"], ["item_hint"], ["hint", "item_hint"]):
        assert has_hints(type("Shown", (All,), {name: hints[name] for name in names})()) is (len(names) == 2)
