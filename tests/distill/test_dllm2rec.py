"""DLLM2Rec's list loss: golden values, each weight by itself, and what must hold for any method."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, DLLM2RecSettings
from rdcore.distill.followups.dllm2rec import list_weights, weighted_loss
from rdcore.models import ItemCFSettings
from rdcore.store.description import describe
from rdcore.train.loop import training_data

EXAMPLES = {"DLLM2Rec": DLLM2RecSettings(K=5), "DLLM2Rec-released": DLLM2RecSettings(K=5, as_released=True)}
DRAW_NOTHING = {"DLLM2Rec", "DLLM2Rec-released"}
pytestmark = pytest.mark.usefixtures("one_thread")
DISTANCE = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64)
AGREES = torch.tensor([[True, False, False]])


def test_golden_values():
    """Plain Python after the released code."""
    p = list_weights(DISTANCE, AGREES, 1, 0, 0)[0].tolist()
    f = list_weights(DISTANCE, AGREES, 0, 1, 0)[0].tolist()
    assert p == pytest.approx([0.66524096, 0.24472847, 0.09003057], abs=1e-8)
    assert f == pytest.approx([0.54654938, 0.33149896, 0.12195166], abs=1e-8)
    w = list_weights(DISTANCE, AGREES, 0.3, 0.5, 0.1)
    assert w[0].tolist() == pytest.approx([0.63649664, 0.26574225, 0.09776111], abs=1e-8)
    s, negative = torch.tensor([[1, 0.2, -0.5]], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    assert weighted_loss(w, s, negative, as_released=True).item() == pytest.approx(0.85675368, abs=1e-7)
    assert weighted_loss(w, s, negative).item() == pytest.approx(1.30792287, abs=1e-7)


@given(st.lists(st.tuples(st.floats(0, 8), st.booleans()), min_size=1, max_size=6), st.tuples(*[st.floats(0.01, 2)] * 3))
def test_weights_are_the_slow_ones(pairs, shares):
    distance, agrees = [sorted(d for d, _ in pairs), [a for _, a in pairs]]
    K = len(pairs)
    p = [math.exp(-k) for k in range(1, K + 1)]
    f = [math.exp(-d) + 1e-8 for d in distance]
    w = [shares[0] * p[k] / sum(p) + shares[1] * f[k] / sum(f) + shares[2] * (agrees[k] + 1e-8) for k in range(K)]
    found = list_weights(torch.tensor([distance], dtype=torch.float64), torch.tensor([agrees]), *shares)
    assert found[0].tolist() == pytest.approx([each / sum(w) for each in w], abs=1e-9)
    assert found.sum().item() == pytest.approx(1)


@given(st.integers(1, 4), st.integers(0, 3), st.tuples(*[st.floats(0.01, 2)] * 3))
def test_weights_of_a_shorter_list_are_those_of_its_items(n, empty, shares):
    """What stands in the empty places does not matter. A row without items has no weights."""
    distance = torch.arange(n + empty, dtype=torch.float64)[None] / 2
    agrees, named = torch.arange(n + empty)[None] % 2 == 0, torch.arange(n + empty)[None] < n
    found = list_weights(distance, agrees & named, *shares, named)
    assert found[0, :n].tolist() == pytest.approx(list_weights(distance[:, :n], agrees[:, :n], *shares)[0].tolist())
    assert torch.equal(found, list_weights(distance.masked_fill(~named, 0), agrees & named, *shares, named))
    assert not found[:, n:].any() and not list_weights(distance, agrees, *shares, named & False).any()


def test_runs_from_before_that_have_other_keys():
    """At revision 1 the empty places had weights too."""
    assert describe(DLLM2RecSettings())["revision"] >= 2


@pytest.mark.parametrize("as_released", [False, True])
def test_gradient(as_released):
    w, s, n = torch.rand(2, 3).double(), torch.randn(2, 3).double(), torch.randn(2).double()
    assert torch.autograd.gradcheck(lambda s, n: weighted_loss(w, s, n, as_released), (s.requires_grad_(), n.requires_grad_()))
    assert weighted_loss(w, 1e4 * s, 1e4 * n, as_released).isfinite().all()


def test_the_loss_is_the_slow_mean_over_rows():
    torch.manual_seed(3)
    model, teacher = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), with_opinions("BPR")
    with torch.no_grad():  # else all items cost alike, whatever their weights
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    instances, settings = training_data(DATA, 0, "cpu"), DLLM2RecSettings(K=5, weight=0.7)
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(20)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.arange(40).view(20, 2) % 37)
    loss = method.loss(model, batch, 0, model.encode(batch.queries)).item()
    T, S = (each.score_all(each.encode(batch.queries)).tolist() for each in (teacher, model))
    expected, hits = 0.0, 0
    for t, s, target, negative in zip(T, S, batch.target.tolist(), batch.negatives[:, 0].tolist(), strict=True):
        listed = sorted((i for i in range(40) if i != target), key=lambda i: -t[i])[:5]
        own = sorted(range(40), key=lambda i: -s[i])[:5]
        hits += len(set(listed) & set(own))
        f = [math.exp(t[i] - t[listed[0]]) + 1e-8 for i in listed]
        p = [math.exp(-k) for k in range(5)]
        w = [0.3 * a / sum(p) + 0.5 * b / sum(f) + 0.1 * ((i in own) + 1e-8) for a, b, i in zip(p, f, listed, strict=True)]
        cost = [math.log1p(math.exp(-s[i])) + math.log1p(math.exp(s[negative])) for i in listed]
        expected += sum(a * c for a, c in zip(w, cost, strict=True)) / sum(w) / 20
    assert loss == pytest.approx(0.7 * expected, rel=1e-5)
    assert method.log() == {"agreement": pytest.approx(hits / 100)}


@pytest.mark.parametrize(("name", "student", "teacher"), [("DLLM2Rec", "Caser", "Caser"),
                                                        ("DLLM2Rec-released", "BPR", "Caser")])  # fmt: skip
def test_it_teaches_the_student_alone(name, student, teacher):
    holds(EXAMPLES[name], student, teacher)


def test_it_logs_the_agreement():
    logs = fitted(EXAMPLES["DLLM2Rec"], "BPR", with_opinions("BPR"), epochs=2)[2]
    assert all(0 <= log["agreement"] <= 1 for log in logs)


def test_settings_are_checked():
    for wrong in ({"K": 0}, {"weight": -1}, {"position": -1}, {"as_released": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DLLM2RecSettings(**wrong)
    none = {"position": 0, "confidence": 0, "agreement": 0}
    with pytest.raises(ValueError, match="must not all be 0"):
        DLLM2RecSettings(**none)
    for one in none:
        assert getattr(DLLM2RecSettings(**{**none, one: 1}), one) == 1, "one of them is enough"
    student, counted = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), ItemCFSettings().fit(DATA)
    with pytest.raises(ValueError, match="asks the teacher for scores of single items, which ItemCF cannot"):
        DLLM2RecSettings().build(student, counted)
