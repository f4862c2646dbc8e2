"""Lists that do not depend on how a machine rounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdcore.data import Interactions
from rdcore.models import PopularitySettings
from rdcore.store.steady import lists_hash, steady_lists, steady_order


def test_worked_out_by_hand():
    """Equal but for rounding: by item id. -inf: last. The grid is 2^-20 for a largest score in [.5,
    1)."""
    scores = np.array([[0.1 + 0.2, 0.3, 0.9, -np.inf, 0.3 - 1e-15, 0.3 + 2**-19]])
    assert steady_order(scores, 6).tolist() == [[2, 5, 0, 1, 4, 3]]
    assert steady_order(scores, 3).tolist() == [[2, 5, 0]]
    assert steady_order(np.array([[1e-17, 0.0, -1e-18, 0.7]]), 4).tolist() == [[3, 0, 1, 2]]


@given(seed=st.integers(0, 10**6), k=st.integers(1, 12))
def test_it_is_a_sort_of_rounded_scores_and_ids(seed, k):
    rng = np.random.RandomState(seed)
    scores = rng.randint(-5, 6, size=(4, 12)) / 8.0
    scores[rng.random_sample((4, 12)) < 0.2] = -np.inf
    slow = [sorted(range(12), key=lambda i, row=row: (-row[i], i))[:k] for row in scores]
    assert steady_order(scores, k).tolist() == slow


@given(seed=st.integers(0, 10**6))
def test_noise_of_float64_changes_no_list(seed):
    """Of sums of few numbers, with many exact ties among them."""
    rng = np.random.RandomState(seed)
    parts = rng.randint(1, 4, size=(3, 40, 5)) / 7.0
    one = parts.sum(2)
    other = parts[:, :, ::-1].cumsum(2)[:, :, -1] * (1 + 1e-14 * rng.standard_normal((3, 40)))
    assert (steady_order(one, 15) == steady_order(other, 15)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_cannot_be_ranked_is_refused(bad):
    with pytest.raises(ValueError, match="NaN or"):
        steady_order(np.array([[1.0, bad]]), 1)


def test_lists_of_users_end_where_their_unseen_items_end():
    fit = Interactions("few", np.array([2, 0, 2, 1, 2, 0, 3]), np.array([0, 2, 4, 7, 7]), 4)
    lists = steady_lists(PopularitySettings().fit(fit), fit, 5)
    assert lists.dtype == np.int32
    assert lists.tolist() == [
        [1, 3, 4, 4, 4],
        [0, 3, 4, 4, 4],
        [1, 4, 4, 4, 4],
        [2, 0, 1, 3, 4],
    ]


def test_the_hash_knows_shape_and_order_but_not_the_type():
    lists = np.array([[1, 2], [3, 4]], dtype=np.int32)
    assert (
        lists_hash(lists)
        == lists_hash(lists.astype(np.int64))
        == lists_hash(np.asfortranarray(lists))
    )
    assert len({lists_hash(x) for x in (lists, lists[::-1], lists.reshape(1, 4))}) == 3
