"""iALS against its golden step, its objective, and a generic minimiser."""

import numpy as np
import pytest
import torch
from random_data import all_scores, random_sequences, renumbered
from scipy import optimize, sparse

from rdcore.data import stage
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import IALS, IALSSettings
from rdcore.models.more.counted import chosen_items
from rdcore.models.more.ials import half_step
from rdcore.store.steady import lists_hash, steady_lists

EXAMPLES = {"iALS": IALSSettings(dim=4, iterations=3)}

WEIGHTS = (0.1, 0.05, 1.0)  # alpha0, lam, nu


def test_golden_step():
    """H = [[1,0], [0,1], [1,1]], history {0, 2}, alpha0 .1, lam .01, nu 1; as the projection
    of google-research/ials (ncf_benchmarks/ials.py) gives them."""
    H = np.array([[1.0, 0], [0, 1], [1, 1]])
    w = half_step(sparse.csr_matrix([[1.0, 0, 1]]), H, 0.1, 0.01, 1.0)
    np.testing.assert_allclose(w, [[0.89214166, 0.01524462]], atol=5e-9)
    np.testing.assert_allclose(H @ w[0], [0.89214166, 0.01524462, 0.90738628], atol=5e-9)


def objective(chosen, users, items, alpha0, lam, nu) -> float:
    """What iALS minimises, pair by pair."""
    R, total = chosen.toarray(), 0.0
    n, m = R.shape
    for u in range(n):
        total += lam * (R[u].sum() + alpha0 * m) ** nu * (users[u] ** 2).sum()
        for i in range(m):
            s = users[u] @ items[i]
            total += R[u, i] * (s - 1) ** 2 + alpha0 * s**2
    return total + sum(
        lam * (R[:, i].sum() + alpha0 * n) ** nu * (items[i] ** 2).sum() for i in range(m)
    )


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_every_half_step_lowers_the_objective(nu):
    chosen, rng = chosen_items(random_sequences()), np.random.RandomState(0)
    users, items = rng.standard_normal((25, 3)), rng.standard_normal((18, 3))
    weights = (0.1, 0.05, nu)
    values = [objective(chosen, users, items, *weights)]
    for _ in range(4):
        users = half_step(chosen, items, *weights)
        values.append(objective(chosen, users, items, *weights))
        items = half_step(chosen.T.tocsr(), users, *weights)
        values.append(objective(chosen, users, items, *weights))
    assert (np.diff(values) < 1e-9).all() and values[-1] < 0.5 * values[0]


def test_a_half_step_is_the_minimum_over_the_users():
    chosen, rng = chosen_items(random_sequences(6, 10)), np.random.RandomState(1)
    items = rng.standard_normal((10, 2))

    def value(flat):
        return objective(chosen, flat.reshape(6, 2), items, *WEIGHTS)

    found = optimize.minimize(value, np.zeros(12), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(half_step(chosen, items, *WEIGHTS), found.x.reshape(6, 2), atol=1e-5)


def test_without_weights_on_what_is_missing_the_history_is_met():
    chosen, rng = chosen_items(random_sequences()), np.random.RandomState(2)
    items = rng.standard_normal((18, 18))
    users = half_step(chosen, items, 0.0, 1e-9, 1.0)
    np.testing.assert_allclose((users @ items.T)[chosen.nonzero()], 1, atol=1e-5)


def test_a_rotation_of_both_sides_changes_nothing():
    chosen, rng = chosen_items(random_sequences()), np.random.RandomState(3)
    items = rng.standard_normal((18, 4))
    turn, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    np.testing.assert_allclose(
        half_step(chosen, items @ turn, *WEIGHTS),
        half_step(chosen, items, *WEIGHTS) @ turn,
        atol=1e-10,
    )


def test_users_are_solved_for_the_last_items_and_empty_ones_are_zero():
    fit = random_sequences()
    settings = IALSSettings(dim=4, iterations=2, lam=0.05)
    model = settings.fit(fit)
    assert isinstance(model, IALS) and not any(value.requires_grad for value in model.parameters())
    items = model.item_factors.weight.double().numpy()
    users = half_step(chosen_items(fit), items, 0.1, 0.05, 1.0)
    np.testing.assert_allclose(model.user.weight.numpy(), users, atol=1e-6)
    assert (model.user.weight[torch.from_numpy(fit.counts() == 0)] == 0).all()
    assert (all_scores(model, fit)[:, [0, -1]] == 0).all(), "items that nobody has"


def test_the_beginning_is_drawn_from_the_seed():
    fit = random_sequences()
    one, same, other = (
        all_scores(IALSSettings(dim=4, iterations=1, seed=seed).fit(fit), fit) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_its_lists_have_a_hash_that_rounding_does_not_change():
    fit = random_sequences(80, 60)
    lists = steady_lists(IALSSettings(dim=8, lam=0.05).fit(fit), fit, 20)
    assert lists_hash(lists) == "a5c931a2a33a1c202be0e9ab964fbd577d3ae571a48890fe2c787ac6ddc8a955"
    order = np.random.RandomState(0).permutation(80)
    moved = renumbered(fit, order)
    assert (lists[order] == steady_lists(IALSSettings(dim=8, lam=0.05).fit(moved), moved, 20)).all()


def test_it_finds_the_items_of_a_users_cluster_and_popularity_does_not():
    data = stage(
        synthetic.generate(
            n_users=300, n_items=80, taste=4.0, chain=0.0, min_length=10, max_length=15
        ),
        "F",
    )
    model = IALSSettings(dim=8, lam=0.05).fit(data.fit)
    assert mean(evaluate(model, data))["MAP"] > 2 * mean(popularity(data))["MAP"]


@pytest.mark.parametrize(
    "bad", [{"dim": 0}, {"lam": 0}, {"sigma": 0.0}, {"alpha0": -1}, {"nu": None}, {"iterations": 0},
    {"seed": -1}, {"seed": 2**32}], ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        IALSSettings(**({"dim": 4} | bad))
