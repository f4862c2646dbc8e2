import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdcore.data import DataError, Interactions, Stage, leave_one_out, split, stage
from rdcore.datasets import in_drawn_order


def of_counts(counts, n_items=400, timed=True):
    """Users with that many rows each; nobody has an item twice unless he has more rows than there are items."""
    counts = np.array(counts)
    n = int(counts.sum())
    times = np.concatenate([np.arange(c) for c in counts]) if timed else None
    return Interactions("t", np.arange(n) % n_items, np.concatenate([[0], np.cumsum(counts)]), n_items, times)


def sequence(data, user):
    return data.items[data.offsets[user] : data.offsets[user + 1]].tolist()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_split_partitions_every_sequence_in_order(counts):
    whole = of_counts(counts)
    parts = split(whole)
    for user, n in enumerate(counts):
        pieces = [sequence(part, user) for part in (parts.train, parts.validation, parts.test)]
        assert sum(pieces, []) == sequence(whole, user)
        # floor(n / 5) and floor(3 n / 10), counted out by hand instead of divided
        fifth = sum(5 * k <= n for k in range(1, n + 1))
        three_tenths = sum(10 * k <= 3 * n for k in range(1, n + 1))
        assert [len(piece) for piece in pieces] == [n - three_tenths, three_tenths - fifth, fifth]
    for part in (parts.train, parts.validation, parts.test):
        assert (part.n_users, part.n_items) == (whole.n_users, whole.n_items)
        assert len(part.times) == len(part)


@given(st.lists(st.integers(7, 40), min_size=1, max_size=8))
def test_stages_are_made_of_the_parts(counts):
    whole = of_counts(counts)
    parts, choose, final = split(whole), stage(whole, "V"), stage(whole, "F")
    assert choose.fit.sha256() == parts.train.sha256() and choose.judge.sha256() == parts.validation.sha256()
    assert final.judge.sha256() == parts.test.sha256()
    for user in range(len(counts)):
        assert sequence(final.fit, user) == sequence(parts.train, user) + sequence(parts.validation, user)


def test_cold_items_keep_their_codes_and_unjudged_users_are_counted():
    # User 0: ten actions, of which the last two are items that occur nowhere else; user 1: too few for a test row.
    data = Interactions("t", np.array([0, 1, 2, 3, 4, 0 + 5, 6, 7, 8, 9, 0, 1, 2, 3]), [0, 10, 14], 10)
    final = stage(data, "F")
    assert final.judge.items.tolist() == [8, 9] and final.n_cold == 2 and final.n_unjudged == 1
    assert final.fit.n_items == 10
    assert stage(data, "V").n_cold == 1


def test_stage_errors():
    with pytest.raises(DataError, match="unknown stage 'X'"):
        stage(of_counts([10]), "X")
    with pytest.raises(DataError, match=r"no user has a row left to judge stage F by: .*\(5 are always enough"):
        stage(of_counts([4, 3]), "F")
    with pytest.raises(DataError, match=r"\(7 are always enough"):
        stage(of_counts([3, 5, 6]), "V")
    assert len(stage(of_counts([4]), "V").judge) == 1
    for cut in (split, leave_one_out, lambda given: stage(given, "F")):
        with pytest.raises(ValueError, match=r"give Interactions, not a dict: data.from_frame\(table, ...\) makes them"):
            cut({})
        with pytest.raises(ValueError, match="give Interactions, not a dict"):
            Stage("F", {}, {})
        with pytest.raises(ValueError, match="not a Stage .one part of a stage is stage.fit"):
            cut(stage(of_counts([10]), "F"))


def test_a_held_out_revisit_is_refused_before_anything_is_trained():
    # Ten rows: seven train, one validation (row 7), two test. The labels of the source stand in the message.
    def data(items):
        items = np.array(items)
        return Interactions("t", items, [0, 10, 10], 20, user_ids=[70, 80], item_ids=np.arange(20) + 100)

    in_training = data([0, 1, 2, 3, 4, 0, 0, 5, 6, 7])
    for name in ("V", "F"):
        assert len(stage(in_training, name).judge)  # a re-visit that is only fitted harms nothing
    in_validation = data([0, 1, 2, 3, 4, 5, 6, 2, 7, 8])
    with pytest.raises(
        DataError, match=r"'t': 1 of the 1 rows that judge stage V are re-visits \(the first: user 70, item 102\)"
    ):
        stage(in_validation, "V")
    assert len(stage(in_validation, "F").judge) == 2
    for twice in ([0, 1, 2, 3, 4, 5, 6, 7, 8, 7], [0, 1, 2, 3, 4, 5, 6, 7, 9, 9]):  # of validation; twice within test
        assert len(stage(data(twice), "V").judge) == 1
        with pytest.raises(DataError, match="1 of the 2 rows that judge stage F are re-visits.*merge_revisits=True"):
            stage(data(twice), "F")
    assert len(split(in_validation).validation) == 1  # a split alone is for statistics too


sequences = st.lists(st.lists(st.integers(0, 9), max_size=7, unique=True), min_size=1, max_size=8)


def of_sequences(rows, **labels):
    items = np.array([item for row in rows for item in row], dtype=np.int64)
    return Interactions("t", items, np.cumsum([0, *map(len, rows)]), 10, **labels)


@given(sequences)
def test_leave_one_out_against_a_slow_loop(rows):
    data = of_sequences(rows)
    fit, validation, test = [], [], []
    for row in rows:
        row = list(row)
        test.append([row.pop()] if len(row) >= 3 else [])
        validation.append([row.pop()] if test[-1] else [])
        fit.append(row)
    if not any(test):
        with pytest.raises(DataError, match="'t': no user has the 3 items that it takes to hold out two of them: bring users"):
            leave_one_out(data)
        return
    found = leave_one_out(data)
    assert found.name == "L"
    for part, expected in ((found.fit, fit), (found.validation, validation), (found.test, test)):
        assert [sequence(part, user) for user in range(len(rows))] == expected
        assert (part.n_users, part.n_items) == (data.n_users, data.n_items)
    fitted = {item for row in fit for item in row}
    assert found.n_cold == sum(item not in fitted for row in test for item in row)
    assert found.n_unjudged == sum(len(row) < 3 for row in rows)


def test_leave_one_out_keeps_times_labels_and_names():
    data = Interactions("t", np.array([4, 2, 0, 1]), [0, 4], 5, [5, 6, 7, 9], ["ann"], list("abcde"))
    found = leave_one_out(data)
    assert found.validation.times.tolist() == [7] and found.test.times.tolist() == [9]
    assert found.test.user_ids.tolist() == ["ann"] and found.test.item_ids[found.test.items].tolist() == ["b"]
    assert len({found.fit.name, found.validation.name, found.test.name}) == 3 and found.test.name.startswith("t/")


def test_a_revisit_is_not_left_out():
    labels = {"user_ids": [70, 80], "item_ids": np.arange(10) + 100}
    assert len(leave_one_out(of_sequences([[0, 0, 1, 2], [3, 3]], **labels)).test) == 1  # only fitted: harmless
    for row in ([0, 1, 2, 0, 3], [0, 1, 2, 3, 0], [0, 1, 2, 3, 3], [5, 5, 5]):
        n, first = (2, 105) if row == [5, 5, 5] else (1, 103 if row[-1] == 3 == row[-2] else 100)
        with pytest.raises(DataError, match="could never be found: merge re-visits") as caught:
            leave_one_out(of_sequences([[1, 2, 3], row], **labels))
        message = f"{n} of the 4 rows that leave-one-out holds out are re-visits (the first: user 80, item {first})"
        assert message in str(caught.value)


@given(sequences, st.integers(0, 2**64), st.randoms())
def test_the_drawn_order_is_of_the_seed_and_the_content(rows, seed, random):
    """Against a slow loop: one raw number a row, users in order and each one's items ascending; sorted by it."""
    source = np.random.PCG64(seed)
    expected = [[item for _, item in sorted((source.random_raw(), item) for item in sorted(row))] for row in rows]
    data = in_drawn_order(of_sequences(rows), seed)
    assert [sequence(data, user) for user in range(len(rows))] == expected
    for row in rows:
        random.shuffle(row)
    assert in_drawn_order(of_sequences(rows), seed).sha256() == data.sha256()


def test_the_drawn_order_keeps_everything_but_the_order():
    whole = Interactions("t", np.arange(60) % 30, [0, 0, 30, 60], 31, np.arange(60), [7, 8, 9], np.arange(31) + 100)
    data = in_drawn_order(whole, 3)
    assert data.times is None and data.name == "t" and data.offsets.tolist() == whole.offsets.tolist()
    assert data.user_ids.tolist() == [7, 8, 9] and data.item_ids.tolist() == whole.item_ids.tolist()
    assert sorted(sequence(data, 1)) == sorted(sequence(data, 2)) == list(range(30))
    assert sequence(data, 1) != sequence(data, 2) and sequence(data, 1) != list(range(30))
    assert in_drawn_order(whole, 4).sha256() != data.sha256()
    again = in_drawn_order(of_sequences([[4, 4, 4, 1]]), 0)
    assert sorted(again.items.tolist()) == [1, 4, 4, 4]  # re-visits stay


def test_every_item_is_left_out_equally_often():
    """20,000 users with the same five items: each is the test item of 4,000. The 99.99 % point of chi-squared with 4 degrees
    of freedom is 23.5, and the seed is fixed."""
    data = in_drawn_order(Interactions("t", np.tile(np.arange(5), 20_000), np.arange(20_001) * 5, 5), 0)
    parts = leave_one_out(data)
    for part in (parts.validation, parts.test):
        assert ((np.bincount(part.items, minlength=5) - 4000) ** 2 / 4000).sum() < 23.5
    pairs = np.bincount(parts.validation.items * 5 + parts.test.items, minlength=25).reshape(5, 5)
    assert (np.diag(pairs) == 0).all() and pairs[~np.eye(5, dtype=bool)].min() > 850  # 1,000 each, less 5 deviations
