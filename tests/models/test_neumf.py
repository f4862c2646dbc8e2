"""NeuMF against its formula in slow motion, the paper's parameter counts, and data that only a factorisation explains."""

import math

import numpy as np
import pytest
import torch
from test_bpr_mf import checkerboard
from torch.utils._python_dispatch import TorchDispatchMode

from rdcore.data import Interactions
from rdcore.data.queries import final_queries, training_queries
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import NeuMF, NeuMFSettings
from rdcore.models.base import has_hints
from rdcore.store.description import describe
from rdcore.store.experiment import family
from rdcore.train.loop import Training, make_optimizer, train, training_data

FIT = Interactions("few", np.array([3, 0, 5, 2, 1, 4]), np.array([0, 3, 3, 4, 6]), 6)


def neumf(signs: str = "mixed", dim=4) -> NeuMF:
    """Four users, six items, and parameters so large that scores differ by more than rounding. ``signs``: of what the
    output layer weighs the hidden units with."""
    torch.manual_seed(0)
    model = NeuMFSettings(dim=dim).build(4, 6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
        if signs != "mixed":
            weights = model.output.weight[0, dim:]
            weights.copy_(weights.abs() * (1 if signs == "positive" else -1))
    return model


def slow_scores(model: NeuMF) -> torch.Tensor:
    """Every score, number by number: (users, items)."""
    state = {name: value.double().tolist() for name, value in model.state_dict().items()}
    P, p, Q, q = (state[f"{side}.weight"] for side in ("user_gmf", "user_mlp", "item_gmf", "item_mlp"))
    W, c, (w,), (b,) = (state[name] for name in ("hidden.weight", "hidden.bias", "output.weight", "output.bias"))
    d, scores = model.dim, []
    for u in range(len(P)):
        scores.append([])
        for j in range(len(Q)):
            both = p[u] + q[j]  # side by side
            hidden = [max(sum(W[k][i] * both[i] for i in range(2 * d)) + c[k], 0.0) for k in range(d)]
            merged = [P[u][k] * Q[j][k] for k in range(d)] + hidden
            scores[-1].append(sum(w[k] * merged[k] for k in range(2 * d)) + b)
    return torch.tensor(scores)


@torch.no_grad()
@pytest.mark.parametrize("signs", ["mixed", "positive", "negative"])
def test_scores_equal_a_loop_over_users_and_items(signs):
    model = neumf(signs)
    slow = slow_scores(model)
    context = model.encode(final_queries(FIT))
    assert context.shape == (4, 8)
    torch.testing.assert_close(model.score_all(context), slow)
    some = torch.tensor([[0, 5], [1, 1], [4, 2], [3, 0]])
    torch.testing.assert_close(model.score(context, some), slow.gather(1, some))
    torch.testing.assert_close(model.score(context, some.int()), slow.gather(1, some))
    torch.testing.assert_close(model.score(context, some[0]), slow[:, some[0]])
    one = model.encode(final_queries(FIT)[torch.tensor([2])])
    assert model.score(one, torch.tensor([4])).tolist() == [[pytest.approx(slow[2, 4].item(), rel=1e-5)]]


def plain(model: NeuMF, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Scores (n,) of pairs, as the formula is written."""
    hidden = torch.relu(model.hidden(torch.cat([model.user_mlp(users), model.item_mlp(items)], dim=1)))
    return model.output(torch.cat([model.user_gmf(users) * model.item_gmf(items), hidden], dim=1)).squeeze(1)


@pytest.mark.parametrize("signs", ["mixed", "positive"])
def test_gradients_of_every_way_to_score_equal_those_of_the_plain_form(signs):
    model = neumf(signs).double()
    parameters = list(model.parameters())
    users, items = torch.tensor([1, 3]), torch.tensor([[3, 3, 0], [5, 3, 1]])
    context = model.encode(final_queries(FIT)[users])
    ways = [
        (model.score(context, items), items),
        (model.score(context, items[0]), items[:1].expand(2, -1)),
        (model.score_all(context), torch.arange(6).expand(2, -1)),
    ]
    for scores, scored in ways:
        coefficients = torch.randn(scores.shape, dtype=torch.float64)
        expected = plain(model, users.repeat_interleave(scored.shape[1]), scored.flatten()).view_as(scores)
        torch.testing.assert_close(scores, expected)
        fast = torch.autograd.grad((scores * coefficients).sum(), parameters, retain_graph=True)
        torch.testing.assert_close(fast, torch.autograd.grad((expected * coefficients).sum(), parameters))


@torch.no_grad()
def test_scoring_all_items_never_holds_their_hidden_units():
    model = NeuMFSettings(dim=32).build(20, 500)
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            sizes.extend(part.numel() for part in torch.utils._pytree.tree_leaves(made) if isinstance(part, torch.Tensor))
            return made

    context = torch.randn(20, 64)
    expected = model.score(context, torch.arange(500))
    with Sizes():
        scores = model.score_all(context)
    torch.testing.assert_close(scores, expected)
    assert max(sizes) == 500 * 32  # the items' share; the hidden units are twenty times as many


def test_the_six_parameter_counts_of_the_paper():
    """Table 3 of Kang et al. rounds them: 15.33, 7.63, 1.52 million (CiteULike), 24.16, 12.05, 2.40 (Foursquare)."""
    expected = {
        (5_220, 25_182): {250: 15_326_751, 125: 7_632_126, 25: 1_521_426},
        (19_466, 28_594): {250: 24_155_751, 125: 12_046_626, 25: 2_404_326},
    }
    for (users, items), counts in expected.items():
        with torch.device("meta"):
            found = {dim: NeuMFSettings(dim=dim).build(users, items) for dim in counts}
        assert {dim: sum(p.numel() for p in model.parameters()) for dim, model in found.items()} == counts


def test_initial_values():
    torch.manual_seed(0)
    model = NeuMFSettings(dim=40).build(600, 800)
    for table in (model.user_gmf, model.user_mlp, model.item_gmf, model.item_mlp):
        error = 4 / math.sqrt(2 * table.weight.numel())  # four standard errors of a standard deviation
        assert abs(table.weight.std().item() / 0.01 - 1) < error
        assert abs(table.weight.mean().item()) < 4 * 0.01 / math.sqrt(table.weight.numel())
    bound = 1 / math.sqrt(80)
    for layer in (model.hidden, model.output):
        for parameter in layer.parameters():
            assert parameter.abs().max() <= bound
        assert layer.weight.abs().max() > 0.9 * bound
        assert abs(layer.weight.mean().item()) < 4 * bound / math.sqrt(3 * layer.weight.numel())


def test_the_loss_worked_out_by_hand():
    """-log sigmoid(ln 3) - 2 log(1 - sigmoid(0)) = ln(4 / 3) + 2 ln 2; user 2: -log sigmoid(0) - log(1 - sigmoid(-ln 3))
    and nothing for the last: ln 2 + ln(4 / 3)."""
    positive, negative = torch.tensor([[math.log(3)], [0.0]]), torch.tensor([[0.0, 0.0], [-math.log(3), -1000.0]])
    assert neumf().base_loss(positive, negative).tolist() == pytest.approx([1.6739764, 0.9808293], abs=1e-6)


def test_it_shows_both_vectors_of_a_user_and_of_an_item():
    model = neumf()
    assert has_hints(model)
    context = model.encode(final_queries(FIT))
    assert model.hint(context).tolist() == torch.cat([model.user_gmf.weight, model.user_mlp.weight], 1).tolist()
    shown = model.item_hint(torch.tensor([5, 0]))
    assert shown.tolist() == [[*model.item_gmf.weight[i].tolist(), *model.item_mlp.weight[i].tolist()] for i in (5, 0)]


@torch.no_grad()
def test_it_has_no_memory():
    """Every interaction is an instance, and where a query ends is nothing to it."""
    model = neumf()
    assert model.window == 0
    queries, target = training_queries(FIT, model.window)
    assert target.tolist() == FIT.items.tolist()
    assert torch.equal(model.encode(queries), model.encode(final_queries(FIT))[queries.user])


def test_tables_call_it_by_its_name():
    assert family({"model": describe(NeuMFSettings(dim=4))}) == "NeuMF"


@pytest.mark.usefixtures("one_thread")
def test_it_learns_a_checkerboard_that_popularity_cannot_see():
    data = checkerboard()
    torch.manual_seed(0)
    model = NeuMFSettings(dim=4).build(data.fit.n_users, data.fit.n_items)
    untrained = mean(evaluate(model, data))["MAP"]
    settings = Training(epochs=12, batch_size=64, learning_rate=0.02, negatives=1, weight_decay=0.0, reduction="sum")
    train(model, training_data(data.fit, 0, "cpu"), make_optimizer(model, None, settings), settings, seed=1)
    trained, popular = mean(evaluate(model, data))["MAP"], mean(popularity(data))["MAP"]
    # Of 28 unseen items 8 are of the user's colour and 6 of them wanted: a model that knows the colour has about 0.8.
    assert trained > 0.7 and trained > 2 * max(popular, untrained)


@pytest.mark.parametrize("bad", [{"dim": 0}, {"dim": 2.0}, {"dim": True}], ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match="dim must be an integer >= 1"):
        NeuMFSettings(**bad)
