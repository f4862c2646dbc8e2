"""Windows against a slow sliding loop, and what a query may never see."""

from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdcore.data import Interactions
from rdcore.data import queries as queries_module
from rdcore.data.queries import Queries, final_queries, training_queries
from rdcore.datasets.statistics import windows
from rdcore.serve import PaddedQueries

# Sequences in which every item occurs once in the whole table: an item then tells whose it is and when it was.
few = settings(max_examples=60, deadline=None)  # no deadline: the machine may be busy
lengths = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(sum)


def unique_items(lengths, seed=0):
    """Interactions of users with so many items each, all items different, and the same as lists."""
    offsets = np.cumsum([0, *lengths])
    items = np.random.default_rng(seed).permutation(int(offsets[-1]))
    return Interactions("unique", items, offsets, len(items)), [items[a:b].tolist() for a, b in pairwise(offsets)]


def slow_instances(sequences, window, padding):
    """The official sliding window (caser_pytorch 26ef449, T = 1) in words: (user, history, target), oldest first."""
    found = []
    for user, sequence in enumerate(sequences):
        if len(sequence) > window:
            for t in range(window, len(sequence)):
                found.append((user, sequence[t - window : t], sequence[t]))
        elif sequence:
            history = sequence[:-1]
            found.append((user, [padding] * (window - len(history)) + history, sequence[-1]))
    return found


@few
@given(lengths=lengths, window=st.integers(0, 6))
def test_training_queries_equal_the_slow_sliding_window(lengths, window):
    fit, sequences = unique_items(lengths)
    queries, target = training_queries(fit, window, full_windows=True)
    history = queries.history(window)
    assert history.shape == (len(queries), window)
    got = list(zip(queries.user.tolist(), history.tolist(), target.tolist(), strict=True))
    assert got == slow_instances(sequences, window, fit.n_items)


@few
@given(lengths=lengths, window=st.integers(0, 6), length=st.integers(1, 12))
def test_a_history_of_any_length_holds_only_the_users_own_items_before_the_target(lengths, window, length):
    fit, sequences = unique_items(lengths)
    queries, target = training_queries(fit, window, full_windows=True)
    for user, item, history in zip(queries.user.tolist(), target.tolist(), queries.history(length).tolist(), strict=True):
        before = sequences[user][: sequences[user].index(item)]
        seen = [i for i in history if i != fit.n_items]
        assert seen == before[max(0, len(before) - length) :]  # the most recent ones, oldest first
        assert history[: length - len(seen)] == [fit.n_items] * (length - len(seen))  # padded on the left only


@few
@given(lengths=lengths, length=st.integers(1, 12))
def test_final_queries_look_back_on_everything_the_user_has(lengths, length):
    fit, sequences = unique_items(lengths)
    queries = final_queries(fit)
    assert queries.user.tolist() == list(range(fit.n_users))
    padded = [[fit.n_items] * length + sequence for sequence in sequences]
    assert queries.history(length).tolist() == [sequence[len(sequence) - length :] for sequence in padded]


def test_users_at_and_around_the_window_length():
    fit, _ = unique_items([0, 1, 5, 6, 7])
    queries, _ = training_queries(fit, 5, full_windows=True)
    assert torch.bincount(queries.user, minlength=5).tolist() == [0, 1, 1, 1, 2]


def test_no_window_makes_every_interaction_an_instance():
    fit, _ = unique_items([3, 0, 2])
    queries, target = training_queries(fit, 0)
    assert target.tolist() == fit.items.tolist()
    assert queries.user.tolist() == [0, 0, 0, 2, 2]


def test_the_number_of_windows_is_that_of_the_data_layer_for_users_long_enough():
    fit, _ = unique_items([6, 9, 12])
    assert len(training_queries(fit, 5, full_windows=True)[0]) == windows(fit, 5) == 12


CHOICES = {"slice": slice(2, 5), "list": torch.tensor([4, 0, 0]), "mask": torch.tensor([1, 0, 1, 0, 1, 0]).bool()}


@pytest.mark.parametrize("index", CHOICES.values(), ids=CHOICES)
def test_a_selection_keeps_the_shared_table(index):
    fit, _ = unique_items([6, 3])
    queries, _ = training_queries(fit, 0)
    queries = queries[:6]
    chosen = queries[index]
    assert chosen.items is queries.items
    assert len(chosen) == 3
    torch.testing.assert_close(chosen.history(4), queries.history(4)[index], rtol=0, atol=0)


def test_moving_takes_every_tensor_along():
    fit, _ = unique_items([6, 3])
    moved = training_queries(fit, 2, full_windows=True)[0].to("meta")
    assert {part.device.type for part in (moved.user, moved.end, moved.items, moved.offsets)} == {"meta"}
    assert moved.padding == fit.n_items


# The whole past -------------------------------------------------------------------------------------------------------


def by_row(queries, **options) -> list[list[int]]:
    """What `past` gives for each query, as lists."""
    row, item = queries.past(**options)
    assert row.shape == item.shape and row.dtype == torch.int64
    found = [[] for _ in range(len(queries))]
    for each, value in zip(row.tolist(), item.tolist(), strict=True):
        found[each].append(value)
    assert row.tolist() == sorted(row.tolist())  # a query's items lie together
    return found


@few
@given(lengths=lengths, window=st.integers(0, 6), data=st.data())
def test_the_past_equals_a_slow_loop_with_and_without_what_comes_behind_the_target(lengths, window, data):
    fit, sequences = unique_items(lengths)
    queries, target = training_queries(fit, window, full_windows=True)
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(queries) - 1), max_size=8)), dtype=torch.long)
    past, others = [], []
    for user, item in zip(queries.user[chosen].tolist(), target[chosen].tolist(), strict=True):
        place = sequences[user].index(item)
        past.append(sequences[user][:place])
        others.append(sequences[user][:place] + sequences[user][place + 1 :])
    assert by_row(queries[chosen]) == past
    assert by_row(queries[chosen], everything=True) == others


@few
@given(lengths=lengths)
def test_the_past_of_final_queries_is_all_that_the_user_has(lengths):
    fit, sequences = unique_items(lengths)
    assert by_row(final_queries(fit)) == by_row(final_queries(fit), everything=True) == sequences


def test_the_past_of_no_queries_or_of_queries_without_one_is_empty():
    fit, _ = unique_items([1, 0, 2])
    queries, _ = training_queries(fit, 0)
    assert by_row(queries[:0]) == by_row(queries[:0], everything=True) == []
    assert by_row(queries[:1]) == by_row(queries[:1], everything=True) == [[]]


@few
@given(lengths=lengths, length=st.integers(1, 6), more=st.integers(0, 3))
def test_queries_that_bring_their_past_answer_the_same(lengths, length, more):
    fit, sequences = unique_items(lengths)
    queries = final_queries(fit)
    longest = max(lengths) + more
    padded = torch.tensor([[fit.n_items] * (longest - len(row)) + row for row in sequences]).view(len(sequences), longest)
    theirs = PaddedQueries(queries.user, padded, fit.n_items)
    assert torch.equal(theirs.history(length), queries.history(length))
    table = torch.arange(1.0, 2 * fit.n_items + 3).view(-1, 2)  # whole numbers: every sum is exact
    table[fit.n_items] = 0
    for everything in (False, True):
        expected = torch.stack([table[row].sum(0) for row in sequences])
        for asked in (queries, theirs):
            total, counts = asked.past_sum(table, everything)
            assert torch.equal(total, expected) and counts.tolist() == lengths


def test_the_sum_of_everything_leaves_out_the_target_alone():
    fit, sequences = unique_items([4, 2])
    queries, target = training_queries(fit, 0)
    table = torch.arange(1.0, fit.n_items + 2)[:, None]
    total, counts = queries.past_sum(table, everything=True)
    instances = zip(queries.user.tolist(), target.tolist(), strict=True)
    expected = [float(table[sequences[user]].sum() - table[item]) for user, item in instances]
    assert total[:, 0].tolist() == expected and counts.tolist() == [3, 3, 3, 3, 1, 1]


@few
@given(lengths=lengths, window=st.integers(1, 6))
def test_every_prefix_is_an_instance_unless_full_windows_are_asked_for(lengths, window):
    fit, sequences = unique_items(lengths)
    queries, target = training_queries(fit, window)
    expected = [(row[:end], row[end]) for row in sequences for end in range(min(1, len(row) - 1), len(row)) if row]
    assert target.tolist() == [item for _, item in expected]
    for row, (before, _) in zip(queries.history(window).tolist(), expected, strict=True):
        assert row == [fit.n_items] * (window - len(before)) + before[-window:]


@few
@given(lengths=lengths, data=st.data(), everything=st.booleans())
def test_pasts_summed_piece_by_piece_are_those_summed_one_by_one(lengths, data, everything):
    fit, _ = unique_items(lengths)
    instances, _ = training_queries(fit, 0)
    parts = instances, final_queries(fit)
    user, end = (torch.cat([getattr(part, name) for part in parts]) for name in ("user", "end"))
    queries = Queries(user, end, instances.items, instances.offsets, instances.padding)
    queries = queries[torch.tensor(data.draw(st.lists(st.integers(0, len(queries) - 1), max_size=12)), dtype=torch.long)]
    weights = torch.arange(1.0, 1 + 2 * len(queries)).view(-1, 2)
    found = []
    for repeated in (0, 10**9):  # always piece by piece, never
        table = torch.arange(1.0, 2 * fit.n_items + 3).view(-1, 2).requires_grad_()  # whole numbers: every sum is exact
        with patch.object(queries_module, "REPEATED", repeated):
            total, counts = queries.past_sum(table, everything)
        (total * weights).sum().backward()
        found.append((total.detach(), counts, table.grad))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("everything", [False, True])
def test_the_time_for_pasts_does_not_grow_with_the_square_of_what_one_user_has(everything, monkeypatch):
    fit, _ = unique_items([400, 3, 3])
    queries, _ = training_queries(fit, 0)
    summed, plain = [], queries_module.F.embedding_bag
    monkeypatch.setattr(queries_module.F, "embedding_bag", lambda items, *rest, **more: (
        summed.append(len(items)), plain(items, *rest, **more))[1])  # fmt: skip
    queries.past_sum(torch.ones(fit.n_items + 1, 2), everything)
    assert summed[0] <= len(fit)  # and not 400 * 399 / 2
    few = queries[torch.tensor([3, 200, 401, 404])]
    few.past_sum(torch.ones(fit.n_items + 1, 2), everything)
    assert summed[1] == len(few.past(everything)[0])  # as ever, to the bit
