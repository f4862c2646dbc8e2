import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdcore.data import DataError, from_frame, leave_one_out, stage
from rdcore.datasets.ties import n_tied


def sequence(data, user):
    return data.items[data.offsets[user] : data.offsets[user + 1]].tolist()


def test_frame_is_ordered_by_time():
    frame = pd.DataFrame({"user": [9, 5, 5, 5, 5], "item": [30, 30, 20, 100, 20], "time": [1, 7, 8, 3, 9]})
    data = from_frame(frame)
    assert data.user_ids.tolist() == [5, 9] and data.item_ids.tolist() == [20, 30, 100]
    assert data.item_ids[data.items].tolist() == [100, 30, 20, 30]  # the second 20 is a re-visit
    assert data.times.tolist() == [3, 7, 8, 1] and data.offsets.tolist() == [0, 3, 4]
    kept = from_frame(frame, merge_revisits=False)
    assert kept.item_ids[kept.items].tolist() == [100, 30, 20, 20, 30]


def test_frame_without_time_keeps_the_order_of_rows():
    frame = pd.DataFrame({"who": ["b", "a", "b", "a", "b"], "what": ["z", "z", "y", "x", "z"]})
    data = from_frame(frame, user="who", item="what", time=None, name="own")
    assert data.name == "own" and data.times is None
    assert data.user_ids.tolist() == ["a", "b"]
    assert data.item_ids[data.items].tolist() == ["z", "x", "z", "y"]


rows_with_ties = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40
)


def sequences_of(frame, **options):
    """{user: their items}, in the labels of the frame."""
    data = from_frame(frame, **options)
    return {user: data.item_ids[sequence(data, code)].tolist() for code, user in enumerate(data.user_ids.tolist())}


@given(rows_with_ties, st.booleans())
def test_rows_are_ordered_by_time_against_a_slow_loop(rows, merge):
    expected = {}
    for user, item, time in sorted(rows, key=lambda row: row[2]):
        if not (merge and item in [before for before, _ in expected.setdefault(user, [])]):
            expected.setdefault(user, []).append((item, time))
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    data = from_frame(frame, merge_revisits=merge)
    for code, user in enumerate(data.user_ids.tolist()):
        times = data.times[data.offsets[code] : data.offsets[code + 1]].tolist()
        found = list(zip(data.item_ids[sequence(data, code)].tolist(), times, strict=True))
        assert times == [time for _, time in expected[user]]
        assert sorted(found) == sorted(expected[user])
    in_file = sequences_of(frame, merge_revisits=merge, ties="file")
    assert in_file == {user: [item for item, _ in events] for user, events in expected.items()}


@given(rows_with_ties, st.permutations(range(7)), st.permutations(range(5)), st.integers(0, 3))
def test_names_of_users_and_items_change_no_order(rows, new_items, new_users, seed):
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    renamed = frame.assign(
        user=[f"u{new_users[user]}" for user in frame["user"]], item=[new_items[item] * 10.0 for item in frame["item"]]
    )
    expected = {
        f"u{new_users[user]}": [new_items[item] * 10 for item in items]
        for user, items in sequences_of(frame, seed=seed).items()
    }
    assert sequences_of(renamed, seed=seed) == expected


def random_ties(n_rows=3000, seed=0):
    """A table in which most rows share their time with others of their user."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"user": rng.integers(0, 60, n_rows), "item": rng.integers(0, 200, n_rows),
                         "time": rng.integers(0, 15, n_rows)})  # fmt: skip


def test_the_order_of_the_file_does_not_matter_where_rows_can_be_told_apart():
    frame = random_ties()
    data = from_frame(frame)
    assert frame.duplicated(["user", "time"]).mean() > 0.5
    for seed in range(3):
        assert from_frame(frame.sample(frac=1, random_state=seed)).sha256() == data.sha256()
    assert from_frame(frame, ties="file").sha256() != data.sha256() != from_frame(frame, seed=1).sha256()
    assert from_frame(frame.assign(time=frame["time"] * 1000)).sha256() == data.sha256()  # another unit


def test_what_cannot_be_told_apart_is_drawn_evenly():
    """5,000 receipts with the same five items: each item is last on 1,000 of them, whatever its label; items that follow
    each other do so for all pairs alike. The 99.99 % point of chi-squared with 4 degrees of freedom is 23.5."""
    frame = pd.DataFrame({"user": np.repeat(np.arange(5000), 5), "item": np.tile(np.arange(5), 5000), "time": 7})
    data = from_frame(frame)
    items = data.items.reshape(5000, 5)
    for place in (0, 4):
        assert ((np.bincount(items[:, place], minlength=5) - 1000) ** 2 / 1000).sum() < 23.5
    pairs = np.bincount((items[:, :-1] * 5 + items[:, 1:]).ravel(), minlength=25).reshape(5, 5)
    assert pairs[~np.eye(5, dtype=bool)].min() > 850  # 1,000 each, minus five deviations


def test_an_item_does_not_come_first_for_everybody():
    """Two popular items bought together: half of their buyers have them in one order, half in the other."""
    frame = pd.concat([random_ties(), pd.DataFrame({"user": np.repeat(np.arange(100, 2100), 2), "time": 99,
                                                    "item": np.tile([500, 600], 2000)})])  # fmt: skip
    first = [items[0] for user, items in sequences_of(frame).items() if user >= 100]
    assert abs(np.mean(np.array(first) == 500) - 0.5) < 5 * 0.5 / np.sqrt(2000)


def test_cuts_inside_ties_are_counted_and_logged(caplog):
    times = [0, 1, 2, 3, 4, 5, 6, 7, 7, 9] + [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]  # the cut lies behind the eighth row
    frame = pd.DataFrame({"user": np.repeat([0, 1], 10), "item": np.arange(20), "time": times})
    with caplog.at_level("INFO"):
        data = from_frame(frame, name="mine")
    assert "'mine'" in caplog.text and "for 1 of 2 users" in caplog.text
    assert tuple(map(n_tied, (stage(data, "F"), stage(data, "V"), leave_one_out(data)))) == (1, 0, 2)
    assert n_tied(stage(from_frame(frame, time=None), "F")) == 0


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(10, 16), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.booleans(),
)
def test_too_rare_users_and_items_go_until_none_is_left(rows, least, merge):
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    pairs = {(user, item) for user, item, _ in rows}
    while True:  # the slow way: one at a time, whichever comes first
        users, items = [user for user, _ in pairs], [item for _, item in pairs]
        rare = [pair for pair in pairs if users.count(pair[0]) < least or items.count(pair[1]) < least]
        if not rare:
            break
        pairs.discard(rare[0])
    if not pairs:
        with pytest.raises(DataError, match=f"no users and items with {least} different actions each are left: lower"):
            from_frame(frame, min_actions=least, merge_revisits=merge)
        return
    data = from_frame(frame, min_actions=least, merge_revisits=merge)
    found = list(zip(data.user_ids[data.users()].tolist(), data.item_ids[data.items].tolist(), strict=True))
    assert set(found) == pairs
    assert len(found) == (len(pairs) if merge else sum((user, item) in pairs for user, item, _ in rows))
    assert data.user_ids.tolist() == sorted({user for user, _ in pairs})
    assert data.item_ids.tolist() == sorted({item for _, item in pairs})
    # Removing before or after merging, and without times, is the same to those who stay.
    assert len(from_frame(frame, time=None, min_actions=least)) == len(pairs)


def test_a_removal_may_cause_another_and_revisits_do_not_count():
    # Item 3 has one user only; without it user 8 has one item, and without him item 2 has one user. User 9 comes often
    # to one place: that is one action.
    rows = [(6, 1), (6, 4), (7, 1), (7, 4), (7, 2), (8, 3), (8, 2), (9, 1), (9, 1), (9, 1)]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    for merge in (True, False):
        data = from_frame(frame, time=None, min_actions=2, merge_revisits=merge)
        assert data.user_ids.tolist() == [6, 7] and data.item_ids.tolist() == [1, 4] and len(data) == 4


@pytest.mark.parametrize(
    "frame, message",
    [
        ({"user": [], "item": []}, "has no rows"),
        ({"user": [1], "thing": [1]}, r"no column 'item'; it has \['user', 'thing'\]: name the right one with"),
        ({"user": [1, None], "item": [1, 2], "time": [1, 2]}, "no value in column 'user', row 1"),
        ({"user": [1], "item": [1]}, "no column 'time'.*say time=None"),
        ({"user": [1], "item": [1], "Timestamp": [1]}, "no column 'time'.*time='Timestamp' looks right"),
        ({"user": [1], "item": [1], "time": ["19.10.1997"]}, "'19.10.1997' in row 0, which is no ISO date"),
        ({"user": [1], "item": [1], "time": [True]}, "column 'time' must hold times, but has boolean"),
    ],
)
def test_bad_frames_are_refused(frame, message):
    with pytest.raises(DataError, match=message):
        from_frame(pd.DataFrame(frame))


def test_whole_floats_are_times():
    assert from_frame(pd.DataFrame({"user": [1, 1], "item": [1, 2], "time": [2.0, 1.0]})).items.tolist() == [1, 0]
