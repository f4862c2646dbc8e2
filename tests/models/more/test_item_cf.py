"""Item-based collaborative filtering against slow loops over sets and against the library `implicit`."""

import math

import numpy as np
import pytest
import random_data as shared
import torch
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse

from rdcore.data import Interactions, stage
from rdcore.data.queries import final_queries, training_queries
from rdcore.datasets import synthetic
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import ItemCF, ItemCFSettings
from rdcore.models.more import item_cf
from rdcore.store.steady import lists_hash, steady_lists


def random_sequences(n_users=25, n_items=18, seed=0) -> Interactions:
    """Sequences of 0 to 9 items, re-visits among them; some items are chosen often, two (0 and the last) never."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(10, size=n_users)
    items = 1 + ((n_items - 2) * rng.random(lengths.sum()) ** 2).astype(int)
    return Interactions("random", items, np.cumsum([0, *lengths]), n_items)


def own(fit: Interactions, user: int) -> set[int]:
    return set(fit.items[fit.offsets[user] : fit.offsets[user + 1]].tolist())


def slow_scores(fit: Interactions, neighbours: int) -> list[list[float]]:
    """Of all items for every user, from the sets themselves. Of equally near items the one with the lower id counts."""
    sets = [own(fit, user) for user in range(fit.n_users)]
    chosen_by = [{user for user, items in enumerate(sets) if i in items} for i in range(fit.n_items)]
    nearest = []
    for i in range(fit.n_items):
        common = {j: len(chosen_by[i] & chosen_by[j]) for j in range(fit.n_items) if j != i}
        cosine = {j: n / math.sqrt(len(chosen_by[i]) * len(chosen_by[j])) for j, n in common.items() if n}
        kept = sorted(cosine, key=lambda j, cosine=cosine: (-cosine[j], j))[:neighbours]
        nearest.append({j: cosine[j] for j in kept})
    return [[sum(nearest[i].get(j, 0.0) for i in items) for j in range(fit.n_items)] for items in sets]


@pytest.mark.parametrize("neighbours", [1, 2, 3, 5, 17, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_equal_a_loop_over_sets(neighbours, seed):
    fit = random_sequences(seed=seed)
    model = ItemCF(fit, neighbours)
    scores = model.score_all(model.encode(final_queries(fit)))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor(slow_scores(fit, neighbours)), rtol=1e-6, atol=1e-7)


def test_the_data_of_the_loop_hold_what_could_go_wrong():
    fit = random_sequences()
    assert (fit.counts() == 0).any() and fit.item_counts()[[0, -1]].max() == 0
    assert any(len(own(fit, user)) < count for user, count in enumerate(fit.counts()))  # re-visits
    assert slow_scores(fit, 3) != slow_scores(fit, 4)


def test_worked_out_by_hand():
    """Item 0 goes with 1 twice and with 2 once: cosines 2 / sqrt(3 * 2) and 1 / sqrt(3 * 1)."""
    fit = Interactions("hand", np.array([0, 1, 1, 0, 0, 2]), np.array([0, 2, 4, 6]), 4)
    expected = {1: [0, 2 / math.sqrt(6), 0, 0], 2: [0, 2 / math.sqrt(6), 1 / math.sqrt(3), 0]}
    for neighbours, row in expected.items():
        assert ItemCF(fit, neighbours).similarity.toarray()[0].tolist() == pytest.approx(row)
    # The third user has 0 and 2: 1 gets what it shares with 0; 2 and 0 what they share with each other.
    third = ItemCF(fit, 2)
    assert third.score_all(torch.tensor([[2]]))[0].tolist() == pytest.approx(
        [1 / math.sqrt(3), 2 / math.sqrt(6), 1 / math.sqrt(3), 0]
    )


def test_each_of_a_users_items_votes_for_its_own_neighbours():
    """The direction of the cut: 0's nearest item is 1, 1's is 2. Who has 1 is told of 2 alone; who has 0 of 1."""
    pairs = [[1, 2]] * 5 + [[0, 1]] * 2 + [[0], [1], [2]]
    fit = Interactions("cut", np.array(sum(pairs, [])), np.cumsum([0, *map(len, pairs)]), 3)
    model = ItemCF(fit, 1)
    scores = model.score_all(model.encode(final_queries(fit)))
    assert (scores[-3:] > 0).tolist() == [[False, True, False], [False, False, True], [False, True, False]]


@pytest.mark.parametrize("entries", [1, 7, 60])
def test_blocks_of_any_size_give_the_same_numbers(entries, monkeypatch):
    fit = random_sequences()
    whole = ItemCF(fit, 3).similarity
    monkeypatch.setattr(item_cf, "ENTRIES", entries)
    blocks = ItemCF(fit, 3).similarity
    assert (whole != blocks).nnz == 0 and whole.shape == blocks.shape == (18, 18)


@pytest.mark.filterwarnings("ignore:Method expects CSR input")  # its own doing
@pytest.mark.parametrize("neighbours", [1, 5, 20, 119])
def test_similarities_and_scores_equal_those_of_the_library_implicit(neighbours):
    """`implicit` counts the item itself among its neighbours, and cuts equal similarities where it likes: rows are
    compared by value, by item where nothing is equal at the cut, and scores of users who have such items alone."""
    fit = synthetic.generate(n_users=300, n_items=120, skew=1.0)
    ones = np.ones(len(fit))
    chosen = sparse.csr_matrix((ones, fit.items, fit.offsets), shape=(fit.n_users, fit.n_items))
    library = CosineRecommender(K=neighbours + 1, num_threads=1)
    library.fit(chosen, show_progress=False)
    theirs, ours = library.similarity.toarray(), ItemCF(fit, neighbours).similarity.toarray()
    np.testing.assert_allclose(theirs.diagonal(), 1)
    np.fill_diagonal(theirs, 0)
    np.testing.assert_allclose(np.sort(ours, axis=1), np.sort(theirs, axis=1), rtol=1e-6, atol=1e-7)

    full = -np.sort(-ItemCF(fit, fit.n_items).similarity.toarray(), axis=1)
    clear = np.ones(120, bool) if neighbours >= 119 else full[:, neighbours - 1] > full[:, neighbours] * (1 + 1e-6)
    assert clear.mean() > 0.75
    np.testing.assert_allclose(ours[clear], theirs[clear], rtol=1e-6, atol=1e-7)

    model, compared = ItemCF(fit, neighbours), 0
    scores = model.score_all(model.encode(final_queries(fit)))
    for user in range(fit.n_users):
        items = np.array(sorted(own(fit, user)))
        if clear[items].all():
            found, values = library.recommend(user, chosen[user], N=120)
            expected = np.zeros(120)
            expected[found] = values
            unseen = np.setdiff1d(np.arange(120), items)
            np.testing.assert_allclose(scores[user, unseen], expected[unseen], rtol=1e-5, atol=1e-6)
            compared += 1
    assert compared >= 3


def test_its_lists_have_a_hash_that_stands_here():
    """Every machine has to meet it; another order of the users changes no list."""
    fit = shared.random_sequences(80, 60)
    lists = steady_lists(ItemCFSettings(neighbours=10).fit(fit), fit, 20)
    assert lists_hash(lists) == "d9c70d0ebe5c8ef71ae2310ca7ed2d855515c48984086103c4ffaa31de28e7a9"
    order = np.random.RandomState(0).permutation(80)
    moved = shared.renumbered(fit, order)
    assert (lists[order] == steady_lists(ItemCFSettings(neighbours=10).fit(moved), moved, 20)).all()


def test_a_large_catalogue_needs_no_matrix_of_items_by_items():
    n_items = 400_000  # 640 GB
    rng = np.random.default_rng(0)
    items = rng.integers(n_items, size=3000)
    fit = Interactions("large", items, np.arange(0, 3001, 10), n_items)
    model = ItemCF(fit)
    assert model.similarity.nnz < 10 * 3000
    assert model.score_all(torch.tensor([[3], [7]])).shape == (2, n_items)


def test_a_query_is_scored_by_its_user_wherever_it_ends():
    fit = random_sequences()
    model = ItemCF(fit, 3)
    queries, _ = training_queries(fit, model.window)
    context = model.encode(queries)
    assert context.shape == (len(queries), 1)
    whole = model.score_all(model.encode(final_queries(fit)))
    assert torch.equal(model.score_all(context), whole[queries.user])
    assert list(model.parameters()) == []


def test_it_finds_the_items_of_a_users_cluster_and_popularity_does_not():
    data = stage(synthetic.generate(n_users=300, n_items=80, taste=4.0, chain=0.0, min_length=10, max_length=15), "F")
    model = ItemCFSettings(neighbours=15).fit(data.fit)
    found, popular = mean(evaluate(model, data))["MAP"], mean(popularity(data))["MAP"]
    assert found > 2 * popular


def test_the_data_it_was_given_stay_as_they_are():
    fit = random_sequences()
    before = fit.sha256()
    ItemCF(fit, 2)
    assert fit.sha256() == before


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, None, "5"], ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match="neighbours must be an integer >= 1"):
        ItemCFSettings(neighbours=bad)
    with pytest.raises(ValueError, match="neighbours must be an integer >= 1"):
        ItemCF(random_sequences(), bad)


def test_the_default_is_that_of_recbole():
    assert ItemCFSettings().neighbours == ItemCF(random_sequences()).neighbours == 100
