"""Random streams, seen items and samples."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdcore.data import sampling
from rdcore.data.sampling import SeenItems, shared_items, stream, stream_seed, unseen_items

few = settings(max_examples=60, deadline=None)
N_ITEMS = 12
users = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS - 1), min_size=1, max_size=5).filter(any)


def seen_items(sequences, n_items=N_ITEMS):
    offsets = torch.tensor(np.cumsum([0, *map(len, sequences)]))
    return SeenItems(torch.tensor([i for sequence in sequences for i in sequence]), offsets, n_items)


# Streams ------------------------------------------------------------------------------------------------------------


def test_the_seed_of_a_stream_is_pinned():
    # Origin: first 8 bytes of `printf 1/order/1 | sha256sum`, little endian, halved. Another value would change every run.
    assert stream_seed(1, "order", 1) == 7605079523363444036
    assert stream_seed(1, "initialisation") == 4468653932358678002


def test_a_stream_is_reproducible_and_different_for_every_seed_name_and_epoch():
    def draw(*where):
        return tuple(torch.randint(2**62, (3,), generator=stream(*where)).tolist())

    places = [(seed, name, epoch) for seed in (1, 2, 11) for name in ("order", "negatives", "dropout") for epoch in (0, 1, 11)]
    assert [draw(*place) for place in places] == [draw(*place) for place in places]
    assert len({draw(*place) for place in places}) == len(places)


def test_a_stream_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    torch.rand(3, generator=stream(1, "order", 1))
    assert torch.equal(before, torch.get_rng_state())


# Seen items ---------------------------------------------------------------------------------------------------------


@few
@given(sequences=users)
def test_contains_of_and_among_equal_sets(sequences):
    seen = seen_items(sequences)
    everyone = torch.arange(len(sequences))
    contains = seen.contains(everyone, torch.arange(N_ITEMS).expand(len(sequences), -1))
    assert [set(np.flatnonzero(row)) for row in contains.numpy()] == [set(sequence) for sequence in sequences]
    row, item = seen.of(everyone)
    assert sorted(zip(row.tolist(), item.tolist(), strict=True)) == sorted((u, i) for u, s in enumerate(sequences) for i in s)
    items = torch.tensor([3, 0, N_ITEMS - 1])
    twice = torch.cat([everyone, everyone])
    assert torch.equal(seen.among(twice, items), seen.contains(twice, items.expand(len(twice), -1)))


def test_of_numbers_the_rows_by_place_in_the_question_and_not_by_user():
    row, item = seen_items([[3, 1], [], [5], [7, 2, 9]]).of(torch.tensor([3, 0, 1, 3]))
    assert row.tolist() == [0, 0, 0, 1, 1, 3, 3, 3]
    assert item.tolist() == [2, 7, 9, 1, 3, 2, 7, 9]


@few
@given(sequences=users)
def test_a_second_visit_to_an_item_is_no_further_item(sequences):
    once, again = seen_items(sequences), seen_items([sequence + sequence[:3] for sequence in sequences])
    for seen in (once, again):
        assert seen.distinct.tolist() == [len(set(sequence)) for sequence in sequences]
        assert seen.fewest_unseen == N_ITEMS - max(len(set(sequence)) for sequence in sequences)


def test_nothing_is_drawn_for_a_user_who_has_every_item_and_for_others_it_is():
    seen = seen_items([[0, 1], [0, 1, 2, 2], [0, 1, 1]], n_items=3)
    assert seen.fewest_unseen == 0
    assert unseen_items(torch.tensor([0, 2]), 2, seen, stream(1, "negatives")).tolist() == [[2, 2], [2, 2]]
    with pytest.raises(ValueError, match="user 1 has every one of the 3 items, .* leave him out, or make n_items that of the"):
        unseen_items(torch.tensor([0, 1, 2]), 2, seen, stream(1, "negatives"))


# Unseen items -------------------------------------------------------------------------------------------------------


@few
@given(sequences=users, n=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_unseen_items_are_never_seen_ones(sequences, n, seed):
    user = torch.arange(len(sequences)).repeat(3)
    drawn = unseen_items(user, n, seen_items(sequences), stream(seed, "negatives"))
    assert drawn.shape == (len(user), n)
    assert 0 <= int(drawn.min()) and int(drawn.max()) < N_ITEMS
    assert not [i for u, row in zip(user.tolist(), drawn.tolist(), strict=True) for i in row if i in sequences[u]]


def test_unseen_items_are_uniform_for_every_user():
    # One user has seen most of the items: where redrawing were biased, he would show it.
    sequences = [[0, 1, 2, 3, 4, 5, 6, 7], [11], []]
    drawn = unseen_items(torch.arange(3), 6000, seen_items(sequences), stream(3, "negatives"))
    for sequence, row in zip(sequences, drawn, strict=True):
        counts = np.delete(torch.bincount(row, minlength=N_ITEMS).numpy(), sequence)
        assert counts.sum() == 6000
        assert stats.chisquare(counts).pvalue > 0.001


def test_neighbouring_draws_of_a_user_are_independent():
    drawn = unseen_items(torch.zeros(4000, dtype=torch.long), 2, seen_items([list(range(8))]), stream(4, "negatives")) - 8
    table = np.bincount((drawn[:, 0] * 4 + drawn[:, 1]).numpy(), minlength=16).reshape(4, 4)
    assert stats.chi2_contingency(table).pvalue > 0.001
    assert np.trace(table) > 0  # with replacement


@pytest.mark.parametrize("looked_up", [1, 7, 64])
def test_how_many_items_are_looked_up_at_once_changes_no_draw(monkeypatch, looked_up):
    seen, user = seen_items([[0, 1, 2, 3, 4, 5, 6, 7, 8], [2], [9, 10]]), torch.arange(3).repeat(9)
    whole = unseen_items(user, 5, seen, stream(1, "negatives", 1))
    monkeypatch.setattr(sampling, "LOOKED_UP", looked_up)
    assert torch.equal(unseen_items(user, 5, seen, stream(1, "negatives", 1)), whole)


def test_unseen_items_follow_their_generator():
    seen, user = seen_items([[0, 1, 2], [5]]), torch.tensor([0, 1, 0])
    first, again, other = (unseen_items(user, 50, seen, stream(1, "negatives", epoch)) for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_unseen_item_is_found_among_many():
    drawn = unseen_items(torch.zeros(5, dtype=torch.long), 4, seen_items([list(range(199))], 200), stream(1, "negatives"))
    assert drawn.unique().tolist() == [199]


# Shared items -------------------------------------------------------------------------------------------------------


@few
@given(n_batches=st.integers(1, 12), n=st.integers(1, N_ITEMS), seed=st.integers(0, 2**32))
def test_shared_items_are_distinct_within_a_batch(n_batches, n, seed):
    drawn = shared_items(n_batches, n, N_ITEMS, stream(seed, "distillation"))
    assert drawn.shape == (n_batches, n)
    assert all(len(set(row)) == n and set(row) <= set(range(N_ITEMS)) for row in drawn.tolist())


def test_shared_items_are_uniform_also_where_a_permutation_does_not_divide():
    drawn = shared_items(3000, 5, N_ITEMS, stream(1, "distillation"))  # 12 = 2 * 5 + 2: two items of each are left over
    for column in drawn.T:  # the rows of one permutation are not independent, those of a column two apart are
        for half in (column[::2], column[1::2]):
            assert stats.chisquare(torch.bincount(half, minlength=N_ITEMS).numpy()).pvalue > 0.001


def test_batches_of_one_permutation_share_nothing_and_permutations_differ():
    drawn = shared_items(4, 6, N_ITEMS, stream(1, "distillation")).tolist()
    for first, second in (drawn[:2], drawn[2:]):
        assert not set(first) & set(second)
    assert len({tuple(row) for row in drawn}) == 4
    assert any(set(a) & set(b) for a, b in pairwise(drawn))


def test_more_shared_items_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"<= the number of items \(12\), got 13"):
        shared_items(1, 13, N_ITEMS, stream(1, "distillation"))
