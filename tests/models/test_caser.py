"""Caser against a slow network written from its description, its parameters, its padding, and its dropout."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rdcore import fast
from rdcore.data import Interactions
from rdcore.data.queries import final_queries, training_queries
from rdcore.datasets import synthetic
from rdcore.models import Caser, CaserSettings
from rdcore.models.caser import horizontal_filters
from rdcore.train.loop import Training, make_optimizer, train, training_data


def caser(n_users=7, n_items=11, scale=1.0, **settings) -> Caser:
    """A small Caser in eval mode; `scale` spreads its parameters, so that scores differ by more than rounding."""
    torch.manual_seed(0)
    model = CaserSettings(**({"dim": 6} | settings)).build(n_users, n_items).eval()
    if scale != 1:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * scale)
            model.item.weight[n_items] = 0
    return model


def slow_scores(model: Caser, settings: CaserSettings, user: int, history: list[int]) -> torch.Tensor:
    """Scores of all items for one user and his last L items, layer by layer as the description has it."""
    state, d, L = model.state_dict(), settings.dim, settings.window
    image = torch.stack([state["item.weight"][i] for i in history])[None, None]  # one L x d picture
    vertical = nn.Conv2d(1, settings.vertical, (L, 1))
    vertical.load_state_dict({"weight": state["vertical.weight"], "bias": state["vertical.bias"]})
    features = [vertical(image).reshape(settings.vertical * d)]
    for height in range(1, L + 1):
        filters = nn.Conv2d(1, settings.horizontal, (height, d))
        filters.load_state_dict({part: state[f"horizontal.{height - 1}.{part}"] for part in ("weight", "bias")})
        over_time = filters(image)[0, :, :, 0]  # (n_h, L - height + 1), phi_c is the identity
        features.append(F.max_pool1d(over_time, over_time.shape[1])[:, 0])
    z = torch.sigmoid(state["dense.weight"] @ torch.cat(features) + state["dense.bias"])
    whole = torch.cat([z, state["user.weight"][user]])
    return torch.tensor([whole @ state["item_factors.weight"][j] + state["item_bias"][j] for j in range(model.n_items)])


SHAPES = [{}, {"window": 1, "dim": 3}, {"window": 4, "vertical": 3, "horizontal": 5, "dim": 4}, {"dim": 1, "vertical": 1}]


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_equal_those_of_the_slow_network(shape):
    settings = CaserSettings(**({"dim": 6} | shape))
    model = caser(scale=0.7, **shape)
    generator = torch.Generator().manual_seed(1)
    user = torch.randint(7, (9,), generator=generator)
    history = torch.randint(12, (9, settings.window), generator=generator)  # 11 is padding
    slow = torch.stack([slow_scores(model, settings, *one) for one in zip(user.tolist(), history.tolist(), strict=True)])
    context = model.encode_history(user, history)
    assert context.shape == (9, 2 * settings.dim)
    torch.testing.assert_close(model.score_all(context), slow, rtol=1e-4, atol=1e-5)
    some = torch.randint(11, (9, 4), generator=generator)
    torch.testing.assert_close(model.score(context, some), slow.gather(1, some), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.score(context, some.int()), slow.gather(1, some), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.score(context, some[0]), slow[:, some[0]], rtol=1e-4, atol=1e-5)


def test_gradients_of_scoring_equal_those_of_plain_indexing():
    model = caser(scale=0.7)
    items = torch.tensor([[3, 3, 0], [10, 3, 1]])
    context = torch.randn(2, 12, requires_grad=True)
    inputs = [context, model.item_factors.weight, model.item_bias]
    for shape in (items, items[0]):
        plain = (inputs[1][shape] * context[:, None]).sum(2) + inputs[2][shape]
        coefficients = torch.randn(2, 3)
        fast = torch.autograd.grad((model.score(context, shape) * coefficients).sum(), inputs)
        torch.testing.assert_close(fast, torch.autograd.grad((plain * coefficients).sum(), inputs))


@pytest.mark.parametrize(("dim", "official"), [(100, 5_584_102), (50, 2_794_102)])
def test_gowallas_parameter_count_less_the_padding_convention(dim, official):
    with torch.device("meta"):  # shapes without the memory
        parts = {name: tuple(p.shape) for name, p in Caser(13_149, 14_009, CaserSettings(dim=dim)).named_parameters()}
    total = sum(math.prod(shape) for shape in parts.values())
    # The official tables hold a padding row that is trained and ranked: d in the input table, 2 d in W2, 1 in b2.
    # Ours holds the first of these, fixed at zero.
    assert total == official - (2 * dim + 1)
    assert total - dim == official - (3 * dim + 1)
    assert parts["item.weight"] == (14_010, dim) and parts["item_factors.weight"] == (14_009, 2 * dim)


def test_initial_standard_deviations():
    torch.manual_seed(0)
    model = CaserSettings(dim=40).build(600, 800)
    for name, table, std in (
        ("user", model.user.weight, 1 / 40),
        ("item", model.item.weight[:-1], 1 / 40),
        ("W2", model.item_factors.weight, 1 / 80),
    ):
        error = 4 / math.sqrt(2 * table.numel())  # four standard errors of a standard deviation
        assert abs(table.std().item() / std - 1) < error, name
        assert abs(table.mean().item()) < 4 * std / math.sqrt(table.numel()), name
    assert model.item_bias.abs().max() == 0
    bound = 1 / math.sqrt(model.dense.in_features)  # PyTorch's Linear: uniform
    assert 0.98 * bound < model.dense.weight.abs().max() <= bound


# Horizontal filters ---------------------------------------------------------------------------------------------------


def pooled(images, weight, bias, L):
    """Slowly: every filter at every position, then the maximum over its positions."""
    n, d = len(weight) // L, images.shape[1] // L
    image = images.view(len(images), L, d)
    columns = []
    for number in range(len(weight)):
        height = number // n + 1
        rows = weight[number, : height * d].view(height, d)
        over_time = [(image[:, t : t + height] * rows).sum((1, 2)) for t in range(L - height + 1)]
        columns.append(torch.stack(over_time, dim=1).max(1).values + bias[number])
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize(("L", "n", "d"), [(1, 2, 3), (4, 3, 2), (5, 1, 1)])
def test_horizontal_filters_and_their_gradients_are_those_of_a_slow_loop(L, n, d):
    generator = torch.Generator().manual_seed(0)
    shapes = (6, L * d), (L * n, L * d), (L * n,)
    images, weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    for height in range(1, L):
        weight[(height - 1) * n : height * n, height * d :] = 0
    images[:2, : (L - 1) * d] = 0  # as in a padded history: positions tie, and the first one gets the gradient
    given = [part.requires_grad_() for part in (images, weight, bias)]
    coefficients = torch.randn((6, L * n), generator=generator, dtype=torch.float64)
    slow = pooled(*given, L)
    expected = torch.autograd.grad((slow * coefficients).sum(), given)
    for form in (fast.horizontal_filters, horizontal_filters):
        outputs = form(*given, L)
        torch.testing.assert_close(outputs, slow)
        gradients = list(torch.autograd.grad((outputs * coefficients).sum(), given))
        for height in range(1, L):  # what a filter does not have gets a gradient here, and none from the model's padding
            gradients[1][(height - 1) * n : height * n, height * d :] = 0
        torch.testing.assert_close(gradients, list(expected))


# Padding ------------------------------------------------------------------------------------------------------------


def test_the_padding_row_gets_no_gradient_and_stays_zero_through_training():
    # all users are short but the last
    fit = Interactions("short", np.array([0, 1, 2, 3, 4, 5, 0, 6, 1, 2, 3, 4, 5, 6]), np.array([0, 3, 5, 8, 14]), 8)
    model = caser(4, 8)
    queries, target = training_queries(fit, 5, full_windows=True)
    assert (queries.history(5) == 8).any()
    context = model.encode(queries)
    model.score(context, target[:, None]).sum().backward()
    assert model.item.weight.grad[8].abs().max() == 0
    assert model.item.weight.grad[:8].abs().max() > 0
    settings = Training(epochs=3, batch_size=2, weight_decay=0.1)
    before = model.item.weight[:8].clone()
    train(model, training_data(fit, 5, "cpu", full_windows=True), make_optimizer(model, None, settings), settings, seed=1)
    assert model.item.weight[8].abs().max() == 0
    assert (model.item.weight[:8] - before).abs().max() > 0


@torch.no_grad()
def test_a_short_history_is_an_image_with_zero_rows_on_top():
    fit = Interactions("short", np.array([4, 2]), np.array([0, 2, 2]), 11)
    model = caser(2, 11, scale=0.7)
    context = model.encode(final_queries(fit))
    by_hand = model.encode_history(torch.tensor([0, 1]), torch.tensor([[11, 11, 11, 4, 2], [11] * 5]))
    torch.testing.assert_close(context, by_hand, rtol=0, atol=0)
    other_way = model.encode_history(torch.tensor([0]), torch.tensor([[4, 2, 11, 11, 11]]))
    assert (context[0] - other_way[0]).abs().max() > 1e-3


@torch.no_grad()
def test_padding_is_not_among_the_items_that_are_ranked():
    model = caser()
    assert model.score_all(torch.zeros(2, 12)).shape == (2, 11)
    with pytest.raises(IndexError):
        model.score(torch.zeros(1, 12), torch.tensor([[11]]))


@torch.no_grad()
def test_a_batch_of_one_query_and_one_item():
    model = caser(scale=0.7)
    user, history = torch.tensor([1, 2]), torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    one = model.encode_history(user[:1], history[:1])
    assert one.shape == (1, 12)
    torch.testing.assert_close(one, model.encode_history(user, history)[:1])
    score = model.score(one, torch.tensor([[3]]))
    assert score.shape == model.score(one, torch.tensor([3])).shape == (1, 1)
    torch.testing.assert_close(score, model.score_all(one)[:, 3:4])
    assert model.base_loss(score, score).shape == (1,)


def test_a_last_batch_of_one_instance_trains():
    data = synthetic.generate(n_users=5, n_items=20, min_length=6, max_length=8)
    instances = training_data(data, 5, "cpu", full_windows=True)
    settings = Training(epochs=1, batch_size=len(instances.queries) - 1)
    model = caser(5, 20)
    before = model.dense.weight.clone()
    train(model, instances, make_optimizer(model, None, settings), settings, seed=1)
    assert (model.dense.weight - before).abs().max() > 0


# Dropout ------------------------------------------------------------------------------------------------------------


def test_the_model_drops_in_training_only():
    model = caser(scale=0.7)
    user, history = torch.tensor([1]), torch.tensor([[1, 2, 3, 4, 5]])
    assert torch.equal(model.encode_history(user, history), model.encode_history(user, history))
    model.train()
    one, two = (model.encode_history(user, history) for _ in range(2))
    assert (one - two)[:, :6].abs().max() > 0
    assert torch.equal(one[:, 6:], two[:, 6:])  # the user's vector is behind the dropout


@pytest.mark.parametrize("p", [0.5, 0.3, 0.9, 0.1, 1 / 3])
@pytest.mark.parametrize("columns", [1, 7, 180])
@pytest.mark.parametrize("turned", [False, True])
def test_the_fast_dropout_is_torchs_bit_for_bit(p, columns, turned):
    """The kept ones, the gradient, and what the generator gives next; also where rows do not lie one behind the other."""
    runs = []
    for form in (F.dropout, fast.dropout):
        features = torch.randn((33, columns), generator=torch.Generator().manual_seed(2)).requires_grad_()
        torch.manual_seed(1)
        kept = form(features.T if turned else features, p, True)
        (gradient,) = torch.autograd.grad(kept.square().sum(), features)
        runs.append((kept.detach(), gradient, torch.rand(3)))
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


def test_the_fast_dropout_serves_training_on_a_cpu_alone(monkeypatch):
    asked, plain = [], F.dropout
    monkeypatch.setattr(F, "dropout", lambda *given: asked.append(given[1:]) or plain(*given))
    features = torch.ones(3, 4)
    for on, p, training in ((True, 0.5, True), (True, 0.5, False), (True, 0.0, True), (False, 0.5, True)):
        monkeypatch.setattr(fast, "ON", on)
        torch.manual_seed(1)
        assert set(fast.dropout(features, p, training).unique().tolist()) == ({0.0, 2.0} if p and training else {1.0})
    assert asked == [(0.5, False), (0.0, True), (0.5, True)]
    monkeypatch.setattr(fast, "ON", True)
    assert fast.dropout(features, 1.0, True).tolist() == torch.zeros(3, 4).tolist()  # and no 0 / 0


# Settings -----------------------------------------------------------------------------------------------------------


BAD = [{"dim": 0}, {"dim": 2.0}, {"window": 0}, {"vertical": -1}, {"horizontal": 0}, {"dropout": 1}, {"dropout": -0.1}]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CaserSettings(**({"dim": 4} | bad))
