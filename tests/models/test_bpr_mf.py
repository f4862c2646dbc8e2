"""BPR-MF against loops over users and items, its loss by hand, and data that only a factorisation explains."""

import math

import numpy as np
import pytest
import torch

from rdcore import fast
from rdcore.data import Interactions, Stage
from rdcore.data.queries import final_queries, training_queries
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import BPRMF, BPRMFSettings, base
from rdcore.train.loop import Training, make_optimizer, train, training_data

FIT = Interactions("few", np.array([3, 0, 5, 2, 1, 4]), np.array([0, 3, 3, 4, 6]), 6)


def bpr_mf(scale=0.7, **settings) -> BPRMF:
    """Four users, six items, and parameters so large that scores differ by more than rounding."""
    torch.manual_seed(0)
    model = BPRMFSettings(**({"dim": 3} | settings)).build(4, 6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * scale)
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_dot_products_and_their_gradients_are_the_plain_ones(monkeypatch, bias):
    """Item vectors gathered for two queries at a time."""
    monkeypatch.setattr(fast, "GATHERED", 2 * 4 * 2)
    tables = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 2), (6, 2), (6,))]
    items = torch.tensor([[1, 1, 5, 0], [5, 2, 0, 0], [4, 1, 2, 5]])
    given = tables if bias else tables[:2]
    context, table, offset = [*given, *[None] * (3 - len(given))]
    scores = fast.dot_products(context, table, offset, items)
    plain = base.dot_products(context, table[items]) + (offset[items] if bias else 0)
    torch.testing.assert_close(scores, plain)
    factor = torch.randn_like(plain)
    expected = torch.autograd.grad((plain * factor).sum(), given)
    torch.testing.assert_close(torch.autograd.grad((scores * factor).sum(), given), expected)


def test_many_items_of_a_query_are_scored_by_the_fast_form_and_few_by_the_plain_one(monkeypatch):
    model, asked = bpr_mf(), []
    monkeypatch.setattr(fast, "dot_products", lambda *given: asked.append(given[3].shape[1]) or torch.zeros(given[3].shape))
    for n in (fast.MANY - 1, fast.MANY):
        model.score(torch.zeros(2, 3), torch.zeros((2, n), dtype=torch.long))
    monkeypatch.setattr(fast, "ON", False)
    model.score(torch.zeros(2, 3), torch.zeros((2, fast.MANY), dtype=torch.long))
    assert asked == [fast.MANY]


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_all_items_in_tiles_have_the_scores_of_one_product(monkeypatch, bias):
    """To the bit at the sizes in use, on this machine; here tiles of four and a last one of two."""
    model = bpr_mf(bias=bias)
    monkeypatch.setattr(base, "TILE", 4)
    context = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    with torch.enable_grad():
        whole = model.score_all(context)
    assert whole.requires_grad and not model.score_all(context).requires_grad
    torch.testing.assert_close(model.score_all(context), whole.detach())


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_scores_equal_a_loop_over_users_and_items(bias):
    model = bpr_mf(bias=bias)
    state = {name: value.double().tolist() for name, value in model.state_dict().items()}
    P, Q, b = state["user.weight"], state["item_factors.weight"], state.get("item_bias", [0.0] * 6)
    assert ("item_bias" in state) is bias
    slow = torch.tensor([[sum(P[u][d] * Q[j][d] for d in range(3)) + b[j] for j in range(6)] for u in range(4)])
    context = model.encode(final_queries(FIT))
    assert context.shape == (4, 3)
    torch.testing.assert_close(model.score_all(context), slow)
    some = torch.tensor([[0, 5], [1, 1], [4, 2], [3, 0]])
    torch.testing.assert_close(model.score(context, some), slow.gather(1, some))
    torch.testing.assert_close(model.score(context, some.int()), slow.gather(1, some))
    torch.testing.assert_close(model.score(context, some[0]), slow[:, some[0]])
    one = model.encode(final_queries(FIT)[torch.tensor([2])])
    assert model.score(one, torch.tensor([4])).tolist() == [[pytest.approx(slow[2, 4].item())]]


@pytest.mark.parametrize("bias", [False, True])
def test_gradients_of_scoring_equal_those_of_plain_indexing(bias):
    model = bpr_mf(bias=bias)
    parameters = list(model.parameters())
    user, items, coefficients = torch.tensor([1, 3]), torch.tensor([[3, 3, 0], [5, 3, 1]]), torch.randn(2, 3)
    for shape in (items, items[0]):
        plain = (model.user.weight[user][:, None] * model.item_factors.weight[shape]).sum(2)
        plain = plain + model.item_bias[shape] if bias else plain
        fast = torch.autograd.grad((model.score(model.user(user), shape) * coefficients).sum(), parameters)
        torch.testing.assert_close(fast, torch.autograd.grad((plain * coefficients).sum(), parameters))


def test_the_loss_worked_out_by_hand():
    """-log sigmoid(1 - 1) - log sigmoid(1 - (1 - ln 3)) = ln 2 + ln(4 / 3); user 2: -log sigmoid(0 - 2)."""
    positive = torch.tensor([[1.0], [0.0]])
    negative = torch.tensor([[1.0, 1 - math.log(3)], [2.0, -1e9]])
    assert bpr_mf().base_loss(positive, negative).tolist() == pytest.approx([0.9808293, 2.1269280], abs=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_initial_values_and_the_number_of_parameters(bias):
    torch.manual_seed(0)
    model = BPRMFSettings(dim=40, bias=bias).build(600, 800)
    for table in (model.user.weight, model.item_factors.weight):
        error = 4 / math.sqrt(2 * table.numel())  # four standard errors of a standard deviation
        assert abs(table.std().item() / 0.01 - 1) < error
        assert abs(table.mean().item()) < 4 * 0.01 / math.sqrt(table.numel())
    assert sum(p.numel() for p in model.parameters()) == (600 + 800) * 40 + 800 * bias
    assert model.item_bias.abs().max() == 0 if bias else model.item_bias is None


@torch.no_grad()
def test_it_has_no_memory():
    """Every interaction is an instance, and where a query ends is nothing to it."""
    model = bpr_mf()
    assert model.window == 0
    queries, target = training_queries(FIT, model.window)
    assert target.tolist() == FIT.items.tolist() and queries.user.tolist() == [0, 0, 0, 2, 3, 3]
    assert torch.equal(model.encode(queries), model.encode(final_queries(FIT))[queries.user])


def checkerboard(n_users=200, n_items=40, kept=12, seed=0) -> Stage:
    """Even users take even items, odd users odd ones, all alike often: popularity knows nothing. Six of each user's 18
    are held out."""
    rng = np.random.default_rng(seed)
    taken = np.stack([2 * rng.permutation(n_items // 2)[:18] + user % 2 for user in range(n_users)])
    fit, judge = (
        Interactions("checkerboard", part.ravel(), np.arange(n_users + 1) * part.shape[1], n_items)
        for part in (taken[:, :kept], taken[:, kept:])
    )
    return Stage("F", fit, judge)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("bias", [False, True])
def test_it_learns_a_checkerboard_that_popularity_cannot_see(bias):
    data = checkerboard()
    torch.manual_seed(0)
    model = BPRMFSettings(dim=4, bias=bias).build(data.fit.n_users, data.fit.n_items)
    untrained = mean(evaluate(model, data))["MAP"]
    settings = Training(epochs=8, batch_size=64, learning_rate=0.02, reduction="sum")
    instances = training_data(data.fit, model.window, "cpu", full_windows=model.full_windows)
    assert len(instances.target) == len(data.fit)
    train(model, instances, make_optimizer(model, None, settings), settings, seed=1)
    trained, popular = mean(evaluate(model, data))["MAP"], mean(popularity(data))["MAP"]
    # Of 28 unseen items 8 are of the user's colour and 6 of them wanted: a model that knows the colour has about 0.8.
    assert trained > 0.7 and trained > 2 * max(popular, untrained)


@pytest.mark.parametrize("bad", [{"dim": 0}, {"dim": 2.0}, {"dim": True}, {"bias": 1}, {"bias": None}], ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BPRMFSettings(**({"dim": 4} | bad))
