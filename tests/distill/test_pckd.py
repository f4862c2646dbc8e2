"""PCKD: golden values of its two regularisers, whom they teach, and what must hold for any method."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, DESettings, PCKDSettings, de
from rdcore.distill.followups import pckd
from rdcore.distill.followups.pckd import list_loss, pair_loss, regulariser
from rdcore.models import ItemCFSettings
from rdcore.train.loop import training_data

DE = DESettings(M=3, weight=0.1, anneal_epochs=20)
EXAMPLES = {
    "PCKD": PCKDSettings(experts=DE, alpha=0.5, Q=3, depth=12, tau=0.5, T=4.0),
    "PCKD-pair": PCKDSettings(experts=DE, alpha=0.5, form="pair", Q=2, depth=12, T=4.0),
    "PCKD-student": PCKDSettings(experts=DE, alpha=0.5, Q=3, depth=12, tau=0.5, T=4.0, guide="student", exclude="seen"),
    "PCKD-both": PCKDSettings(experts=DE, alpha=0.5, form="both", Q=3, depth=12, tau=0.5, T=4.0, guide="student", renew=2),
}
pytestmark = pytest.mark.usefixtures("one_thread")
FOUR = st.lists(st.floats(-4, 4), min_size=4, max_size=4)


def test_golden_values():
    """Plain Python after the released code."""
    pair = pair_loss(torch.tensor([[1.0, 0.4]]), torch.tensor([[0.2, -0.1]]))
    assert pair.item() == pytest.approx(0.60719172, abs=1e-6)
    after, before = torch.tensor([[1.0, 0.4, 0.6]]), torch.tensor([[0.2, -0.1, 0.05]])
    assert torch.softmax(before / 0.1, 1)[0].tolist() == pytest.approx([0.78559703, 0.03911257, 0.17529039], abs=1e-6)
    assert list_loss(after, before, 0.1).item() == pytest.approx(0.95641815, abs=1e-5)


@given(FOUR, st.sampled_from([0.1, 1.0]))
def test_a_list_costs_least_where_the_scores_are_kept(scores, tau):
    """There it is the entropy of the student's softmax; a constant more changes nothing."""
    b = torch.tensor([scores], dtype=torch.float64)
    p = torch.softmax(b / tau, 1)
    least = -(p * torch.log(p.clamp(min=1e-300))).sum().item()
    a = (b + 3).requires_grad_()
    loss = list_loss(a, b, tau)
    loss.backward()
    assert loss.item() == pytest.approx(least, abs=1e-9) and a.grad.abs().max() < 1e-9
    assert list_loss(b.flip(1), b, tau).item() >= least - 1e-9


@given(FOUR)
def test_a_pair_costs_less_than_ln_2_where_its_order_is_kept(scores):
    a, b = torch.tensor([scores[:2]], dtype=torch.float64), torch.tensor([scores[2:]], dtype=torch.float64)
    product = ((a[0, 0] - a[0, 1]) * (b[0, 0] - b[0, 1])).item()
    # torch's softplus is x itself above 20: 2e-9 less.
    assert pair_loss(a, b).item() == pytest.approx(math.log1p(math.exp(-product)), abs=3e-9)
    assert pair_loss(a.flip(1), b.flip(1)).item() == pytest.approx(pair_loss(a, b).item())


def test_a_pair_is_the_first_two_items_and_both_is_the_sum():
    after, before = torch.randn(3, 5).double(), torch.randn(3, 5).double()
    pair, listed = pair_loss(after[:, :2], before[:, :2]), list_loss(after, before, 0.3)
    for form, expected in (("pair", pair), ("list", listed), ("both", pair + listed)):
        torch.testing.assert_close(regulariser(after, before, form, 0.3), expected)
    named = torch.tensor([[True] * 5, [True, False, True, True, True], [False] * 5])
    found = regulariser(after, before, "both", 0.3, named)
    expected = [pair[0] + listed[0], list_loss(after[1:2, [0, 2, 3, 4]], before[1:2, [0, 2, 3, 4]], 0.3)[0], 0]
    assert found.tolist() == pytest.approx([float(each) for each in expected])


def test_gradients():
    a, b = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: list_loss(a, b, 0.5), (a,))
    assert torch.autograd.gradcheck(lambda a: pair_loss(a[:, :2], b[:, :2]), (a,))


def prepared(settings, student="BPR"):
    torch.manual_seed(3)
    model, teacher = STUDENTS[student].build(DATA.n_users, DATA.n_items), with_opinions("BPR")
    instances = training_data(DATA, model.window, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.full((30, 1), 5))
    return model, teacher, method, batch


def gradients(settings):
    model, _, method, batch = prepared(settings)
    loss = method.loss(model, batch, 0, model.encode(batch.queries))
    loss.backward()
    return loss.item(), [value.grad for value in model.parameters()], [value.grad for value in method.parameters()]


@pytest.mark.parametrize("name", ["PCKD", "PCKD-pair"])
def test_the_regulariser_teaches_the_experts_and_not_the_student(name):
    """The student's gradient is DE's to the last bit, whatever alpha is; the experts' is another one."""
    with_it = gradients(EXAMPLES[name])
    settings = {"form": "pair", "Q": 2} if name == "PCKD-pair" else {"Q": 3, "tau": 0.5}
    without = gradients(PCKDSettings(experts=DE, alpha=0, depth=12, T=4.0, **settings))
    assert with_it[0] > without[0]
    for one, other in zip(with_it[1], without[1], strict=True):
        assert torch.equal(one, other)
    assert any(not torch.equal(one, other) for one, other in zip(with_it[2], without[2], strict=True))


def test_with_alpha_0_it_is_de():
    _, _, method, batch = prepared(PCKDSettings(experts=DE, alpha=0, Q=3, depth=12))
    model, teacher, plain, _ = prepared(DE)
    method.features.load_state_dict(plain.state_dict())
    found = []
    for each in (method, plain):
        rng = torch.Generator().manual_seed(4)
        each.rng = rng
        getattr(each, "features", each).rng = rng
        found.append(each.loss(model, batch, 0, model.encode(batch.queries)).item())
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("M", [1, 3])
def test_it_is_the_slow_loop(M, monkeypatch):
    """Every row by itself, with one expert, or with noise that always takes the first of three."""
    one = torch.eye(M)[:1]
    for module in (de, pckd):
        monkeypatch.setattr(module, "gumbel_softmax", lambda alpha, temperature, rng: one.expand(len(alpha), -1))
    settings = PCKDSettings(experts=DESettings(M=M, weight=0.2), alpha=0.5, Q=3, depth=12, tau=0.5)
    model, _, method, batch = prepared(settings)
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    loss = method.loss(model, batch, 0, model.encode(batch.queries)).item()
    expected = method.features.loss(model, batch, 0, model.encode(batch.queries)).item()
    right = []
    with torch.no_grad():
        for user in batch.queries.user.tolist():
            items = method.items[user].long()
            s_u, s_i = model.user.weight[user], model.item_factors.weight[items]
            e_u = method.features.users(s_u[None], one)[0]
            after = [float(e_u @ method.features.items(v[None], one)[0]) / 0.5 for v in s_i]
            before = [float(b) / 0.5 for b in model.score(s_u[None], items[None])[0]]
            p = [math.exp(b) / sum(map(math.exp, before)) for b in before]
            right.append((after[0] > after[1]) == (before[0] > before[1]))
            kept = -sum(q * (a - math.log(sum(map(math.exp, after)))) for q, a in zip(p, after, strict=True))
            expected += 0.2 * 0.5 * kept
    assert loss == pytest.approx(expected, rel=1e-5)
    assert method.log()["consistent"] == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_items_are_drawn_from_the_guides_best():
    for name in ("PCKD", "PCKD-student"):
        model, teacher, method, batch = prepared(EXAMPLES[name])
        guide = teacher if name == "PCKD" else model
        scores = guide.score_all(guide.encode(method.everyone))
        if name == "PCKD-student":
            scores[method.seen.of(method.everyone.user)] = -torch.inf
        best = scores.topk(12, dim=1).indices
        assert method.items.shape == (DATA.n_users, 3)
        for row, listed in zip(method.items.tolist(), best.tolist(), strict=True):
            places = [listed.index(item) for item in row]
            assert places == sorted(set(places))


def test_the_students_ranking_stays_for_some_epochs_and_is_drawn_from_in_each():
    model, _, method, _ = prepared(EXAMPLES["PCKD-both"])
    kept, drawn = [], []
    for epoch in range(1, 5):
        method.begin_epoch(model, epoch, 1, stream(1, "distillation", epoch))
        kept, drawn = [*kept, method.ranking.clone()], [*drawn, method.items]
        torch.nn.init.normal_(model.user.weight)
    assert torch.equal(kept[0], kept[1]) and torch.equal(kept[2], kept[3]) and not torch.equal(kept[1], kept[2])
    assert not torch.equal(drawn[0], drawn[1]) and "ranking" in method.state_dict()


@pytest.mark.parametrize(
    ("name", "student", "teacher"),
    [*((name, "Caser", "Caser") for name in EXAMPLES), ("PCKD", "BPR", "Caser"), ("PCKD", "Caser", "BPR")],
)
def test_it_teaches_the_student_and_its_experts_alone(name, student, teacher):
    holds(EXAMPLES[name], student, teacher, experts=True)


def test_it_logs_how_often_the_order_is_kept():
    logs = fitted(EXAMPLES["PCKD"], "BPR", with_opinions("BPR"), epochs=2)[2]
    assert all(0 <= log["consistent"] <= 1 and "user_strongest" in log for log in logs)


def test_settings_are_checked():
    for wrong in ({"Q": 1}, {"tau": 0}, {"alpha": -1}, {"form": "some"}, {"guide": "me"}, {"exclude": "all"}, {"experts": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PCKDSettings(**wrong)
    with pytest.raises(ValueError, match="renew=3 has no effect with guide='teacher'"):
        PCKDSettings(renew=3)
    with pytest.raises(ValueError, match="Q must be <= depth = 4, got 5"):
        PCKDSettings(depth=4)
    student, counted = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), ItemCFSettings().fit(DATA)
    with pytest.raises(ValueError, match="PCKD distils representations"):
        EXAMPLES["PCKD"].build(student, counted)
