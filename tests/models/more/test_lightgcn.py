"""LightGCN against golden values, dense matrices, and the properties of its graph."""

import copy
import math

import numpy as np
import pytest
import torch
from random_data import random_sequences

from rdcore.data import Interactions, stage
from rdcore.data.queries import final_queries, training_queries
from rdcore.data.sampling import equal_draws
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import BPRMF, LightGCN, LightGCNSettings
from rdcore.train.loop import Training, make_optimizer, train, training_data

EXAMPLES = {
    "LightGCN": LightGCNSettings(dim=4, layers=2),
    "LightGCN flat": LightGCNSettings(dim=4, layers=0),
}

FIT = random_sequences()


def built(fit: Interactions = FIT, scale=0.7, **settings) -> LightGCN:
    """A model whose ego vectors are far from their initial values."""
    torch.manual_seed(0)
    model = LightGCNSettings(**({"dim": 3, "layers": 2} | settings)).build(
        fit.n_users, fit.n_items, fit
    )
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * scale)
    return model


def adjacency(fit: Interactions) -> np.ndarray:
    """D^-1/2 A D^-1/2 of users, then items: dense."""
    n = fit.n_users + fit.n_items
    A = np.zeros((n, n))
    for user in range(fit.n_users):
        for item in fit.items[fit.offsets[user] : fit.offsets[user + 1]]:
            A[user, fit.n_users + item] = A[fit.n_users + item, user] = 1
    root = np.sqrt(np.maximum(A.sum(1), 1))
    return A / root[:, None] / root


def dense(model: LightGCN, fit: Interactions) -> np.ndarray:
    """Propagated vectors of users, then items."""
    x = torch.cat([model.user_ego.weight, model.item_ego.weight]).detach().double().numpy()
    layers = [x]
    for _ in range(model.layers):
        layers.append(adjacency(fit) @ layers[-1])
    return np.mean(layers, axis=0)


@torch.no_grad()
def test_golden_values():
    """Users 0, 1 and items 2, 3, 4 with edges 0-2, 0-3, 1-3, 1-4; gusye1234/LightGCN-PyTorch 947ca2b
    has the same, to rounding in float32."""
    fit = Interactions("golden", np.array([0, 1, 1, 2]), np.array([0, 2, 4]), 3)
    model = LightGCNSettings(dim=1, layers=2).build(2, 3, fit)
    model.user_ego.weight.copy_(torch.tensor([[1.0], [2.0]]))
    model.item_ego.weight.copy_(torch.tensor([[0.5], [-1.0], [3.0]]))
    users, items = model.propagated()
    assert users.flatten().tolist() == pytest.approx([0.70118446, 1.79044011], abs=1e-6)
    assert items.flatten().tolist() == pytest.approx([0.36785113, 0.41247896, 1.85355339], abs=1e-6)
    scores = model.score_all(model.encode(final_queries(fit)))
    assert scores[0].tolist() == pytest.approx([0.2579315, 0.28922384, 1.29968284], abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_vectors_and_scores_equal_those_of_dense_matrices(layers):
    model = built(layers=layers)
    expected = torch.from_numpy(dense(model, FIT)).float()
    torch.testing.assert_close(torch.cat(model.propagated()), expected, rtol=1e-4, atol=1e-5)
    context = model.encode(final_queries(FIT))
    scores = expected[:25] @ expected[25:].T
    torch.testing.assert_close(context, expected[:25], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.score_all(context), scores, rtol=1e-4, atol=1e-5)
    items = torch.arange(50).view(25, 2) % 18
    torch.testing.assert_close(
        model.score(context, items), scores.gather(1, items), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_the_root_of_the_degrees_is_a_fixed_point_and_with_two_signs_an_odd_sum_cancels():
    fit = Interactions("one piece", np.array([0, 1, 1, 2, 0, 2, 3]), np.array([0, 2, 4, 7]), 4)
    model = LightGCNSettings(dim=1, layers=3).build(3, 4, fit)
    users, items = (
        torch.from_numpy(np.sqrt(n)).float()[:, None] for n in (fit.counts(), fit.item_counts())
    )
    model.user_ego.weight.copy_(users)
    model.item_ego.weight.copy_(items)
    torch.testing.assert_close(torch.cat(model.propagated()), torch.cat([users, items]))
    model.item_ego.weight.neg_()
    torch.testing.assert_close(torch.cat(model.propagated()), torch.zeros(7, 1), rtol=0, atol=1e-6)
    assert np.abs(np.linalg.eigvalsh(adjacency(FIT))).max() <= 1 + 1e-12


def test_gradients_of_scores_equal_those_of_dense_matrices():
    model = built(layers=3)
    tables = [model.user_ego.weight, model.item_ego.weight]
    coefficients = torch.randn(25, 18)
    found = torch.autograd.grad(
        (model.score_all(model.encode(final_queries(FIT))) * coefficients).sum(), tables
    )
    x, A = torch.cat(tables), torch.from_numpy(adjacency(FIT)).float()
    mixed = (x + A @ x + A @ A @ x + A @ A @ A @ x) / 4
    expected = torch.autograd.grad(((mixed[:25] @ mixed[25:].T) * coefficients).sum(), tables)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_has_the_l2_of_ego_vectors_alone():
    model = built(l2=0.3)
    queries, target = training_queries(FIT, 0)
    negatives = (target[:, None] + torch.tensor([1, 5])) % 18
    found = model.query_loss(queries, model.encode(queries), target, negatives)
    x, ego = dense(model, FIT), [model.user_ego.weight.data, model.item_ego.weight.data]
    for q in range(0, len(target), 9):
        u, i = int(queries.user[q]), int(target[q])
        slow = ego[0][u].square().sum() + ego[1][i].square().sum()
        slow = 0.15 * float(slow + sum(ego[1][j].square().sum() for j in negatives[q]))
        for j in negatives[q]:
            slow += math.log1p(math.exp(x[u] @ x[25 + int(j)] - x[u] @ x[25 + i]))
        assert found[q].item() == pytest.approx(slow, rel=1e-4)


def test_vectors_are_kept_until_something_changes():
    model = built().eval()
    queries = final_queries(FIT)
    with torch.no_grad():
        kept = model.propagated()
        model.score_all(model.encode(queries))
        assert model.propagated() is kept
        model.item_ego.weight.add_(1)
        assert model.propagated() is not kept
        other = built(scale=0.1)
        kept = model.propagated()
        model.load_state_dict(other.state_dict())
        assert torch.equal(model.propagated()[0], other.propagated()[0])
        assert set(other.state_dict()) == {"user_ego.weight", "item_ego.weight"}
    context = model.encode(queries)
    assert context.requires_grad and not kept[0].requires_grad
    for _ in range(2):  # the graph of the first is used up
        model.score_all(model.encode(queries)).sum().backward()
    copied = copy.deepcopy(model)
    assert torch.equal(
        copied.score_all(copied.encode(queries)), model.score_all(model.encode(queries))
    )


@torch.no_grad()
def test_it_is_served_as_its_propagated_vectors():
    model = built().eval()
    served, queries = model.served(), final_queries(FIT)
    assert type(served) is BPRMF and not served.training
    assert torch.equal(
        served.score_all(served.encode(queries)), model.score_all(model.encode(queries))
    )


def test_every_user_has_equally_many_draws_among_theirs():
    user = torch.tensor([0] * 7 + [2] * 1 + [3] * 4)
    draws = torch.stack([equal_draws(user, torch.Generator().manual_seed(s)) for s in range(400)])
    assert draws.shape == (400, 12)
    assert (user[draws].sort(1).values == torch.tensor([0] * 4 + [2] * 4 + [3] * 4)).all()
    share = torch.bincount(draws.flatten(), minlength=12) / 1600
    expected = torch.tensor([1 / 7] * 7 + [1.0] + [1 / 4] * 4)
    torch.testing.assert_close(share, expected, atol=0.05, rtol=0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("instances", ["all", "users"])
def test_it_finds_the_items_of_a_users_cluster_and_popularity_does_not(instances):
    data = stage(
        synthetic.generate(
            n_users=200, n_items=60, taste=4.0, chain=0.0, min_length=10, max_length=15
        ),
        "F",
    )
    torch.manual_seed(0)
    model = LightGCNSettings(dim=8, layers=2).build(200, 60, data.fit)
    plan = Training(
        epochs=6,
        batch_size=64,
        learning_rate=0.02,
        weight_decay=0.0,
        negatives=1,
        instances=instances,
    )
    losses = []
    train(model, training_data(data.fit, 0, "cpu"), make_optimizer(model, None, plan), plan, seed=1,
          after_epoch=lambda epoch, log: losses.append(log["loss"]))  # fmt: skip
    assert losses[-1] < losses[0]
    assert mean(evaluate(model, data))["MAP"] > 2 * mean(popularity(data))["MAP"]


@pytest.mark.parametrize(
    "bad", [{"dim": 0}, {"layers": -1}, {"layers": 1.0}, {"l2": -1e-4}], ids=str
)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LightGCNSettings(**bad)
