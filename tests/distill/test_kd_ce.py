"""KD-CE against a slow loop, its golden value, its gradient, and what must hold for any method."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, KDCESettings
from rdcore.distill.followups.kd_ce import soft_cross_entropy
from rdcore.train.loop import training_data

EXAMPLES = {
    "KD-CE": KDCESettings(K=6, temperature=0.5, weight=0.3),
    "KD-CE-all": KDCESettings(items="all", weight=0.3),
    "KD-CE-student": KDCESettings(items="student", K=6, exclude="seen", weight=0.3),
}
DRAW_NOTHING = set(EXAMPLES)
pytestmark = pytest.mark.usefixtures("one_thread")
SCORES = st.lists(st.floats(-6, 6), min_size=1, max_size=7)


def slow(teacher: list[float], student: list[float], temperature: float) -> float:
    """One row, in plain Python."""
    t, s = ([math.exp(value / temperature) for value in scores] for scores in (teacher, student))
    return -sum(a / sum(t) * math.log(b / sum(s)) for a, b in zip(t, s, strict=True))


@given(st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6)), min_size=1, max_size=7), st.sampled_from([0.5, 1.0, 3.0]))
def test_loss_is_the_slow_loops(pairs, temperature):
    teacher, student = (list(column) for column in zip(*pairs, strict=True))
    fast = soft_cross_entropy(*(torch.tensor([row], dtype=torch.float64) for row in (teacher, student)), temperature)
    assert fast.item() == pytest.approx(slow(teacher, student, temperature), rel=1e-9, abs=1e-9)


def test_golden_value():
    """Scores of RCE-KD's golden test, on the teacher's top three items 0, 5, 1: plain Python gave 1.30002962."""
    loss = soft_cross_entropy(torch.tensor([[2.0, 1.5, 1.0]]), torch.tensor([[0.1, 0.0, 0.9]]))
    assert loss.item() == pytest.approx(1.30002962, abs=1e-6)


def test_what_is_not_kept_does_not_count():
    t, s = torch.randn(3, 8), torch.randn(3, 8, requires_grad=True)
    kept = torch.arange(8) % 3 > 0
    loss = soft_cross_entropy(t, s, 0.5, kept.expand(3, -1))
    torch.testing.assert_close(loss, soft_cross_entropy(t[:, kept], s[:, kept], 0.5))
    loss.sum().backward()
    assert (s.grad[:, ~kept] == 0).all() and (s.grad[:, kept] != 0).all()


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_gradient(temperature):
    t, s = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    kept = torch.tensor([[True] * 5, [True, False, True, True, False]])
    assert torch.autograd.gradcheck(lambda s: soft_cross_entropy(t, s, temperature, kept), (s,))


@given(SCORES, st.floats(-3, 3))
def test_least_where_the_student_is_the_teacher_but_for_a_constant(scores, constant):
    t = torch.tensor([scores], dtype=torch.float64)
    s = (t + constant).requires_grad_()
    loss = soft_cross_entropy(t, s)
    p = torch.softmax(t, 1)
    assert loss.item() == pytest.approx(-(p * p.log()).sum().item(), abs=1e-9)
    loss.sum().backward()
    assert s.grad.abs().max() < 1e-9


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_large_scores_stay_finite(scale):
    loss = soft_cross_entropy(torch.tensor([[scale, -scale]]), torch.tensor([[-scale, scale]]), 0.5)
    assert loss.item() == pytest.approx(4 * scale)


@pytest.mark.parametrize(("student", "teacher"), [("Caser", "Caser"), ("BPR", "Caser"), ("Caser", "NeuMF")])
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_teaches_the_student_alone(name, student, teacher):
    holds(EXAMPLES[name], student, teacher)


def prepared(settings, student="BPR"):
    torch.manual_seed(3)
    model = STUDENTS[student].build(DATA.n_users, DATA.n_items)
    teacher, instances = with_opinions("BPR"), training_data(DATA, model.window, "cpu", full_windows=model.full_windows)
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(20)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(20, 1, dtype=torch.long))
    return model, teacher, method, batch


def test_over_all_items_it_is_a_sum_over_rows_in_blocks(monkeypatch):
    """A user with three rows counts three times; how many rows a block has changes nothing."""
    model, teacher, method, batch = prepared(KDCESettings(items="all", temperature=2.0, weight=0.5))
    scores = [each.score_all(each.encode(batch.queries)).tolist() for each in (teacher, model)]
    expected = 0.5 * sum(slow(t, s, 2.0) for t, s in zip(*scores, strict=True))
    found = []
    for bytes_ in (2**28, 4 * 40 * 4 * 7):
        monkeypatch.setattr("rdcore.eval.topk.BLOCK_BYTES", bytes_)
        model.zero_grad()
        loss = method.loss(model, batch, 0, model.encode(batch.queries))
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        loss.backward()
        found.append(model.user.weight.grad.clone())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("exclude", ["nothing", "seen"])
def test_lists_are_the_teachers_or_the_students_best(exclude):
    for items in ("teacher", "student"):
        model, teacher, method, batch = prepared(KDCESettings(items=items, K=6, exclude=exclude))
        ranked = teacher if items == "teacher" else model
        scores = ranked.score_all(ranked.encode(batch.queries)).tolist()
        for user, row, listed in zip(batch.queries.user.tolist(), scores, method.wants(batch).tolist(), strict=True):
            own = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist()) if exclude == "seen" else set()
            assert listed == sorted(set(range(40)) - own, key=lambda i: -row[i])[:6]


def test_settings_are_checked():
    for wrong in ({"items": "some"}, {"K": 0}, {"temperature": 0}, {"weight": -1}, {"items": "all", "K": 3}):
        with pytest.raises(ValueError, match=next(iter(reversed(wrong)))):
            KDCESettings(**wrong)


def test_without_weight_the_student_is_as_alone():
    alone = fitted(None, "BPR", with_opinions("BPR"), epochs=2)[0]
    taught = fitted(KDCESettings(K=6, weight=0), "BPR", with_opinions("BPR"), epochs=2)[0]
    for one, other in zip(alone.parameters(), taught.parameters(), strict=True):
        torch.testing.assert_close(one, other)
