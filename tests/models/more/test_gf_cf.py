"""GF-CF against dense matrices, and the properties of its two filters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_data import all_scores, random_sequences, renumbered
from scipy import sparse

from rdcore.data import Interactions, stage
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import GFCF, GFCFSettings
from rdcore.models.more import gf_cf
from rdcore.models.more.counted import chosen_items
from rdcore.store.steady import lists_hash, steady_lists

EXAMPLES = {"GF-CF": GFCFSettings(vectors=4), "GF-CF linear": GFCFSettings(alpha=0.0)}


def plain(fit: Interactions, alpha: float, vectors: int) -> np.ndarray:
    """The formula with dense matrices, the projection from eigenvectors instead of singular
    ones."""
    R = chosen_items(fit).toarray()
    users, items = R.sum(1), R.sum(0)
    inverse_users, inverse_items = (
        np.where(d > 0, 1 / np.sqrt(np.maximum(d, 1)), 0) for d in (users, items)
    )
    normal = inverse_users[:, None] * R * inverse_items
    values, eigenvectors = np.linalg.eigh(normal.T @ normal)
    kept = eigenvectors[:, np.argsort(-values)[:vectors]]
    kept = kept[:, np.sort(values)[::-1][:vectors] > 1e-12]
    return R @ (
        normal.T @ normal + alpha * inverse_items[:, None] * (kept @ kept.T) * np.sqrt(items)
    )


def test_golden_values_by_hand():
    """User 0 has item 0, user 1 has 0 and 1: R~ = [[1/sqrt 2, 0], [1/2, 1/sqrt 2]], R~'R~ = [[3/4,
    1/(2 sqrt 2)], [1/(2 sqrt 2), 1/2]]. Its eigenvalues are 1 and 1/4; that of 1 is (sqrt 2, 1) /
    sqrt 3, the root of the items' degrees, so that D_I^-1/2 v v' D_I^1/2 = [[2/3, 1/3], [2/3,
    1/3]]."""
    fit = Interactions("hand", np.array([0, 0, 1]), np.array([0, 1, 3]), 2)
    r = 1 / (2 * np.sqrt(2))
    linear = GFCFSettings(alpha=0.0).fit(fit).scores(np.arange(2))
    np.testing.assert_allclose(linear, [[0.75, r], [0.75 + r, r + 0.5]], atol=1e-12)
    scores = GFCFSettings(alpha=0.3, vectors=1).fit(fit).scores(np.arange(2))
    np.testing.assert_allclose(
        scores, linear + 0.3 * np.array([[2 / 3, 1 / 3], [4 / 3, 2 / 3]]), atol=1e-12
    )


@pytest.mark.parametrize("vectors", [1, 3, 7, 256])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 2.0])
def test_scores_equal_those_of_dense_matrices(alpha, vectors):
    fit = random_sequences()
    scores = GFCFSettings(alpha=alpha, vectors=vectors).fit(fit).scores(np.arange(25))
    np.testing.assert_allclose(scores, plain(fit, alpha, vectors), atol=1e-10)


def test_few_vectors_of_a_large_matrix_are_the_same(monkeypatch):
    fit = random_sequences(60, 40, seed=2)
    monkeypatch.setattr(gf_cf, "DENSE", 0)
    for vectors in (1, 5, 20):
        scores = GFCFSettings(vectors=vectors).fit(fit).scores(np.arange(60))
        np.testing.assert_allclose(scores, plain(fit, 0.3, vectors), atol=1e-9)


@given(seed=st.integers(0, 10**6))
def test_all_vectors_together_leave_what_a_user_has(seed):
    """V V' is then the projection on the rows of R~, and R_u D_I^-1/2 is such a row but for a
    number: the ideal filter gives R_u back."""
    fit = random_sequences(seed=seed)
    users = np.arange(25)
    whole, linear = (GFCFSettings(alpha=alpha).fit(fit).scores(users) for alpha in (1.0, 0.0))
    np.testing.assert_allclose(whole - linear, chosen_items(fit).toarray(), atol=1e-9)


def test_the_largest_singular_value_is_one_and_its_vector_the_root_of_the_degrees():
    fit = Interactions("one piece", np.array([0, 1, 1, 2, 0, 2, 3]), np.array([0, 2, 4, 7]), 4)
    normal = gf_cf.normalised(chosen_items(fit))
    vector = gf_cf.right_vectors(normal, 1)[:, 0]
    degrees = np.sqrt(fit.item_counts())
    np.testing.assert_allclose(np.abs(vector), degrees / np.linalg.norm(degrees), atol=1e-12)
    assert np.linalg.norm(normal @ vector) == pytest.approx(1)


def test_a_matrix_without_entries_has_no_vectors():
    assert gf_cf.right_vectors(sparse.csr_matrix((5, 4)), 3).shape == (4, 0)


def test_items_that_nobody_has_get_a_users_lowest_score():
    fit = random_sequences()
    scores = all_scores(GFCFSettings(alpha=5.0, vectors=4).fit(fit), fit)
    assert (scores[:, [0, -1]] == scores.min(1, keepdim=True).values).all() and (
        scores[:, 0] < 0
    ).any()


def test_its_lists_have_a_hash_that_rounding_does_not_change():
    fit = random_sequences(80, 60)
    lists = steady_lists(GFCFSettings(vectors=12).fit(fit), fit, 20)
    assert lists_hash(lists) == "ea1fa41698d23b41c4da7ed2e7c652f50d556a1d8ea6742bb9db1eaa9d271a71"
    order = np.random.RandomState(0).permutation(80)
    moved = renumbered(fit, order)
    assert (lists[order] == steady_lists(GFCFSettings(vectors=12).fit(moved), moved, 20)).all()


def test_it_finds_the_items_of_a_users_cluster_and_popularity_does_not():
    data = stage(
        synthetic.generate(
            n_users=300, n_items=80, taste=4.0, chain=0.0, min_length=10, max_length=15
        ),
        "F",
    )
    model = GFCFSettings(vectors=8).fit(data.fit)
    assert isinstance(model, GFCF) and list(model.parameters()) == []
    assert mean(evaluate(model, data))["MAP"] > 2 * mean(popularity(data))["MAP"]


@pytest.mark.parametrize(
    "bad",
    [{"alpha": -0.1}, {"alpha": None}, {"vectors": 0}, {"vectors": 2.0}, {"vectors": True}],
    ids=str,
)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GFCFSettings(**bad)
