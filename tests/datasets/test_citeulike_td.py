"""Topology Distillation's split of CiteULike against its files, and against DE-RRD's."""

import pickle

import pytest
from published import load_or_skip

from rdcore.data import leave_one_out
from rdcore.datasets import fetch


@pytest.fixture(scope="module")
def citeulike():
    return load_or_skip("citeulike-td")


def test_leave_one_out_gives_the_files_back(citeulike):
    train, validation, test = (pickle.loads(file.read_bytes()) for file in fetch("citeulike-td"))  # verified by hash
    parts = leave_one_out(citeulike)
    assert (len(parts.fit), len(parts.validation), len(parts.test), parts.n_unjudged) == (115_142, 5219, 5219, 1)
    for user in range(5219):
        own = [part.items[slice(*part.offsets[user : user + 2])].tolist() for part in (parts.fit, parts.validation, parts.test)]
        assert own == [sorted(train[user]), [validation[user]], [test[user]]]


def test_it_is_another_draw_of_the_same_interactions(citeulike):
    other = load_or_skip("citeulike")
    assert (citeulike.n_users, citeulike.n_items) == (other.n_users, other.n_items) == (5220, 25_182)
    assert citeulike.sha256() != other.sha256()
    for user in range(5220):
        assert sorted(citeulike.items[slice(*citeulike.offsets[user : user + 2])]) == sorted(
            other.items[slice(*other.offsets[user : user + 2])]
        )
