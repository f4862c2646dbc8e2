"""POP: everybody is given what most have chosen."""

import numpy as np
import pytest
import torch
from random_data import random_sequences

from rdcore.data import Interactions, Stage
from rdcore.data.queries import final_queries
from rdcore.eval.metrics import evaluate
from rdcore.models import Popularity, PopularitySettings
from rdcore.store.steady import lists_hash, steady_lists

FIT = Interactions("few", np.array([2, 0, 2, 1, 2, 0]), np.array([0, 2, 4, 5, 6, 6]), 5)  # the last user has nothing


@pytest.fixture
def model() -> Popularity:
    return PopularitySettings().fit(FIT)


def test_an_items_score_is_how_often_it_occurs_for_everybody(model):
    scores = model.score_all(model.encode(final_queries(FIT)))
    assert scores.dtype == torch.float32
    assert scores.tolist() == [[2.0, 1.0, 3.0, 0.0, 0.0]] * 5
    assert model.score_all(model.encode(final_queries(FIT)[torch.tensor([3])])).shape == (1, 5)


def test_scores_may_be_written_to_without_changing_the_model(model):
    context = model.encode(final_queries(FIT))
    model.score_all(context).fill_(-torch.inf)
    assert model.score_all(context)[0].tolist() == [2.0, 1.0, 3.0, 0.0, 0.0]
    assert model.score_all(context)[0].data_ptr() != model.score_all(context)[1].data_ptr()


def test_nothing_is_trained_and_the_counts_travel_with_the_model(model):
    assert list(model.parameters()) == [] and model.window == 0 and model.n_items == 5
    other = Popularity(torch.zeros(5))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.counts, model.counts)
    assert model.to("meta").counts.device.type == "meta"


def test_evaluation_ranks_what_is_unseen_by_popularity(model):
    """Of user 0's unseen items 1, 3, 4 the first is the most popular; user 2 wants item 1, behind item 0."""
    wanted = Interactions("judge", np.array([1, 1]), np.array([0, 1, 1, 2, 2, 2]), 5)
    users = evaluate(model, Stage("F", FIT, wanted))
    assert users["MRR"][[0, 2]].tolist() == [1.0, 0.5]
    assert np.isnan(users["MRR"][[1, 3, 4]]).all()


def test_its_lists_have_a_hash_that_stands_here():
    """Every machine has to meet it."""
    fit = random_sequences(80, 60)
    lists = steady_lists(PopularitySettings().fit(fit), fit, 20)
    assert lists_hash(lists) == "80e1e3cc0bf5dcfa05523a6798a1290baf00b96a7e35461e6e8de2463f068aa4"
    assert (np.diff(fit.item_counts()[lists[fit.counts() == 0][0]]) <= 0).all()
