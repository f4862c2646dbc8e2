"""Random streams, seen items and samples."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdcore.data import sampling
from rdcore.data.sampling import (
    SeenItems,
    different_unseen_items,
    shared_items,
    stream,
    stream_seed,
    unseen_items,
)

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
    with pytest.raises(ValueError, match="user 1 has every one of the 3 items, .* leave them out, or make n_items that of the"):
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


def crawler(n_items=1000, left=2, n_users=200):
    """Users with 20 items each, and at the end one who has all but ``left``."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(n_items, 20, replace=False) for _ in range(n_users)] + [rng.permutation(n_items)[: n_items - left]]
    return rows, seen_items(rows, n_items)


def test_the_place_of_an_unseen_item_against_a_list():
    rows, seen = crawler(50, left=7, n_users=3)
    for user, row in enumerate(rows):
        unseen = sorted(set(range(50)) - set(row.tolist()))
        places = torch.arange(len(unseen))
        assert seen.unseen.at(torch.tensor([user]), places[None])[0].tolist() == unseen


def test_a_user_with_nearly_everything_gets_unseen_items_evenly_and_in_no_time(monkeypatch):
    rows, seen = crawler()
    draws = []
    randint = torch.randint
    monkeypatch.setattr(torch, "randint", lambda *given, **more: draws.append(1) or randint(*given, **more))
    user = torch.full((3000,), 200)
    items = unseen_items(user, 2, seen, stream(0, "x"))
    left = sorted(set(range(1000)) - set(rows[-1].tolist()))
    counts = [int((items == item).sum()) for item in left]
    assert sum(counts) == 6000 and abs(counts[0] - 3000) < 5 * 39
    unseen_items(torch.arange(201), 50, seen, stream(0, "x"))
    assert len(draws) < 10, "redrawn until the few unseen items of one user are hit"


def test_where_nobody_has_half_the_draws_are_those_of_plain_rejection():
    """As drawn by the version whose records are committed."""
    rows, seen = crawler(n_users=200, left=960)
    assert not seen.heavy.any()
    user, rng = torch.arange(201), stream(7, "x")
    expected = torch.randint(1000, (201, 30), generator=rng)
    while (hit := seen.contains(user, expected)).any():
        expected[hit] = torch.randint(1000, (int(hit.sum()),), generator=rng)
    assert torch.equal(unseen_items(user, 30, seen, stream(7, "x")), expected)


@few
@given(sequences=users, n=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_different_unseen_items_are_sets_of_the_size_there_is(sequences, n, seed):
    seen = seen_items(sequences)
    drawn = different_unseen_items(torch.arange(len(sequences)), n, seen, stream(seed, "x"))
    for row, sequence in zip(drawn.tolist(), sequences, strict=True):
        unseen = set(range(N_ITEMS)) - set(sequence)
        items = row[: min(n, len(unseen))]
        assert set(items) <= unseen and len(set(items)) == len(items) and row[len(items) :] == [N_ITEMS] * (n - len(items))


def test_every_set_of_the_few_unseen_items_is_equally_likely():
    """Two of four: six sets, 1,000 of 6,000 draws each; the 99.99 % point of chi-squared with 5 degrees is 25.7."""
    _, seen = crawler(40, left=4, n_users=1)
    drawn = different_unseen_items(torch.full((6000,), 1), 2, seen, stream(1, "x")).sort(dim=1).values
    _, counts = torch.unique(drawn, dim=0, return_counts=True)
    assert len(counts) == 6 and ((counts - 1000.0) ** 2 / 1000).sum() < 25.7


@given(st.data())
def test_different_unlisted_items_whoever_the_users_are(data):
    """Users who have nothing, half, nearly all or all of the items, with lists of any length: each gets n different items that
    they have neither seen nor listed, or all of these."""
    n_items, n = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 6))
    had = data.draw(st.lists(st.sets(st.integers(0, n_items - 1), max_size=n_items - 1), min_size=1, max_size=5).filter(any))
    lists = [data.draw(st.lists(st.integers(0, n_items - 1), max_size=4, unique=True)) for _ in had]
    seen = SeenItems(
        torch.tensor([item for items in had for item in sorted(items)], dtype=torch.long),
        torch.tensor([0, *np.cumsum([len(items) for items in had])]), n_items,
    )  # fmt: skip
    listed = torch.tensor([row + [n_items] * (4 - len(row)) for row in lists])
    drawn = different_unseen_items(torch.arange(len(had)), n, seen, stream(data.draw(st.integers(0, 99)), "x"), listed)
    for row, own, named in zip(drawn.tolist(), had, lists, strict=True):
        left = set(range(n_items)) - own - set(named)
        there = [item for item in row if item < n_items]
        assert len(set(there)) == len(there) == min(n, len(left)) and set(there) <= left
