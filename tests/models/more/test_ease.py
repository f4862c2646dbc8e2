"""EASE against golden values, the conditions of its optimum, and ridge regressions one by one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_data import all_scores, random_sequences, renumbered

from rdcore.data import Interactions, stage
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import EASE, EASESettings
from rdcore.models.more import ease
from rdcore.store.steady import lists_hash, steady_lists

EXAMPLES = {
    "EASE by item": EASESettings(lam=5.0, form="items"),
    "EASE by user": EASESettings(lam=5.0, form="users"),
}

# X = [[1,1,0], [1,1,1], [1,0,0], [0,1,1]], lam .5: this project's own numbers, from the closed form.
# The tests of the optimum and of ridge regressions do not need that form.
GOLDEN = Interactions("golden", np.array([0, 1, 0, 1, 2, 0, 1, 2]), np.array([0, 2, 5, 6, 8]), 3)
B = [[0, 0.38709677, -0.06060606], [0.63157895, 0, 0.60606061], [-0.10526316, 0.64516129, 0]]


def test_golden_weights_and_scores():
    model = EASESettings(lam=0.5, form="items").fit(GOLDEN)
    np.testing.assert_allclose(model.weights, B, atol=5e-9)
    for form in ("items", "users"):
        scores = all_scores(EASESettings(lam=0.5, form=form).fit(GOLDEN), GOLDEN)
        assert scores.dtype == torch.float32
        assert scores[0].tolist() == pytest.approx([0.63157895, 0.38709677, 0.54545455], abs=1e-7)


@pytest.mark.parametrize("lam", [0.1, 3.0, 80.0])
def test_the_weights_meet_the_conditions_of_the_optimum(lam):
    """Off the diagonal (X'X + lam I) B = X'X; on it B is 0 and the multipliers are free."""
    model = EASESettings(lam=lam, form="items").fit(random_sequences())
    gram = (model.chosen.T @ model.chosen).toarray()
    left = (gram + lam * np.eye(18)) @ model.weights - gram
    np.fill_diagonal(left, 0)
    np.testing.assert_allclose(left, 0, atol=1e-9)
    assert (model.weights.diagonal() == 0).all()


def test_every_column_is_a_ridge_regression_on_the_other_items():
    model = EASESettings(lam=2.0, form="items").fit(random_sequences())
    X = model.chosen.toarray()
    for j in range(18):
        others = np.delete(np.arange(18), j)
        A = X[:, others]
        column = np.linalg.solve(A.T @ A + 2.0 * np.eye(17), A.T @ X[:, j])
        np.testing.assert_allclose(model.weights[others, j], column, atol=1e-9)


@given(
    seed=st.integers(0, 10**6), lam=st.sampled_from([0.5, 10.0, 300.0]), n_items=st.integers(3, 40)
)
def test_both_forms_give_the_same_scores_of_seen_and_unseen_items(seed, lam, n_items):
    fit = random_sequences(n_items=n_items, seed=seed)
    users = np.arange(fit.n_users)
    one, other = (
        EASESettings(lam=lam, form=form).fit(fit).scores(users) for form in ("items", "users")
    )
    np.testing.assert_allclose(one, other, atol=1e-10)


def test_auto_takes_the_smaller_matrix():
    assert not EASESettings().fit(random_sequences(25, 18)).by_user
    assert EASESettings().fit(random_sequences(17, 18)).by_user


@pytest.mark.parametrize("rows", [1, 7, 18, 1024])
def test_the_inverse_is_written_in_blocks_of_any_size(rows, monkeypatch):
    monkeypatch.setattr(ease, "ROWS", rows)
    chosen = EASESettings().fit(random_sequences()).chosen
    inverse = ease.inverse_gram(chosen, 3.0)
    gram = (chosen @ chosen.T).toarray() + 3.0 * np.eye(25)
    np.testing.assert_allclose(inverse @ gram, np.eye(25), atol=1e-12)
    assert (inverse == inverse.T).all()


@pytest.mark.parametrize("form", ["items", "users"])
def test_every_user_twice_is_half_of_lam(form):
    fit = random_sequences()
    twice = renumbered(fit, np.concatenate([np.arange(25)] * 2))
    one, other = (
        EASESettings(lam=2.0, form=form).fit(fit),
        EASESettings(lam=4.0, form=form).fit(twice),
    )
    users = np.arange(fit.n_users)
    np.testing.assert_allclose(one.scores(users), other.scores(users), atol=1e-10)


def test_a_large_lam_counts_common_users():
    model = EASESettings(lam=1e9, form="items").fit(random_sequences())
    common = (model.chosen.T @ model.chosen).toarray()
    np.fill_diagonal(common, 0)
    np.testing.assert_allclose(model.weights * 1e9, common, atol=1e-5)


@pytest.mark.parametrize("form", ["items", "users"])
def test_items_that_nobody_has_get_a_users_lowest_score(form):
    fit = random_sequences()
    model = EASESettings(lam=2.0, form=form).fit(fit)
    scores = all_scores(model, fit)
    busy = torch.from_numpy(fit.counts() > 0)
    assert model.cold[[0, -1]].all() and (model.scores(np.arange(25)) < -0.01).any()
    assert (scores[:, [0, -1]] == scores.min(1, keepdim=True).values).all() and (
        scores[busy, 0] < 0
    ).any()
    assert (scores[~busy] == 0).all()


@pytest.mark.parametrize("form", ["items", "users"])
def test_float32_differs_by_rounding(form):
    fit = random_sequences()
    one, other = (
        all_scores(EASESettings(lam=2.0, form=form, precision=p).fit(fit), fit)
        for p in ("float64", "float32")
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.equal(one, other)


def test_its_lists_have_a_hash_that_rounding_does_not_change():
    """Both forms and another order of summation (users renumbered) round otherwise. The hash stands
    here so that every machine has to meet it."""
    fit = random_sequences(80, 60)
    lists = steady_lists(EASESettings(lam=10.0, form="items").fit(fit), fit, 20)
    assert lists_hash(lists) == "47b9d8642252f5731399e721ab494d22e08b8d8a86a863e53a829acfafe3f6ac"
    assert (lists == steady_lists(EASESettings(lam=10.0, form="users").fit(fit), fit, 20)).all()
    order = np.random.RandomState(0).permutation(80)
    moved = renumbered(fit, order)
    assert (lists[order] == steady_lists(EASESettings(lam=10.0).fit(moved), moved, 20)).all()


def test_it_finds_the_items_of_a_users_cluster_and_popularity_does_not():
    data = stage(
        synthetic.generate(
            n_users=300, n_items=80, taste=4.0, chain=0.0, min_length=10, max_length=15
        ),
        "F",
    )
    model = EASESettings(lam=20.0).fit(data.fit)
    assert isinstance(model, EASE) and list(model.parameters()) == []
    assert mean(evaluate(model, data))["MAP"] > 2 * mean(popularity(data))["MAP"]


def test_a_matrix_that_cannot_be_inverted_is_named():
    """Two users with the same four items, and a lam that float32 loses."""
    twins = Interactions("twins", np.array([0, 1, 2, 3] * 2), np.array([0, 4, 8]), 4)
    with pytest.raises(ValueError, match="not positive definite in float32: raise lam"):
        EASESettings(lam=1e-9, form="users", precision="float32").fit(twins)


@pytest.mark.parametrize(
    "bad",
    [
        {"lam": 0},
        {"lam": -1.0},
        {"lam": True},
        {"form": "rows"},
        {"precision": "float16"},
        {"form": None},
    ],
    ids=str,
)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EASESettings(**bad)
