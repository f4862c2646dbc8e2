from dataclasses import replace

import numpy as np
import pytest

from rdcore.data import DataError, Interactions, stage
from rdcore.datasets.statistics import statistics, windows


def of_counts(counts, n_items=400, timed=True):
    """Users with that many rows each; nobody has an item twice unless he has more rows than there are items."""
    counts = np.array(counts)
    n = int(counts.sum())
    times = np.concatenate([np.arange(c) for c in counts]) if timed else None
    return Interactions("t", np.arange(n) % n_items, np.concatenate([[0], np.cumsum(counts)]), n_items, times)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"items": [0, 1, 3]}, "items must lie in 0..2, found 0..3"),
        ({"items": [0, -1, 2]}, "items must lie in 0..2, found -1..2"),
        ({"items": [0.0, 1.5, 2.0]}, "items must be integers, not float64"),
        ({"items": [[0, 1, 2]]}, "items must have one dimension, not 2"),
        ({"offsets": [0, 2]}, "offsets end at 2, but there are 3 items"),
        ({"offsets": [1, 3]}, "offsets must begin with 0, not 1"),
        ({"offsets": [0, 4, 3]}, "offsets must not decrease"),
        ({"offsets": [0]}, "at least two entries"),
        ({"times": [1, 2]}, "2 times for 3 items"),
        ({"times": [1, 0, 5]}, "times must not decrease within a user"),
        ({"times": [2**63 - 1, 1 - 2**63, 5]}, "times must not decrease within a user"),  # their difference overflows
        ({"n_items": 3.5}, "n_items must be an integer, not 3.5"),
        ({"n_items": "3"}, "n_items must be an integer, not '3'"),
        ({"time_unit": "min"}, "time_unit must be s, ms, us or ns, not 'min'"),
        ({"item_features": [["a"]] * 3}, "item_features must be numbers"),
        ({"item_features": [[1j]] * 3}, "item_features must be numbers"),
        ({"item_features": [[1.0]] * 2}, r"item_features has shape \(2, 1\), expected \(3, F\)"),
        ({"item_features": [[1.0], [np.inf], [2.0]]}, "item_features must be finite numbers"),
        ({"user_ids": [[1], [2]]}, r"user_ids has shape \(2, 1\), expected \(2,\)"),
        ({"user_ids": [1]}, r"user_ids has shape \(1,\), expected \(2,\)"),
        ({"item_ids": [1, 2]}, r"item_ids has shape \(2,\), expected \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    good = {"items": [0, 1, 2], "offsets": [0, 2, 3], "n_items": 3, "times": [1, 1, 0]}
    Interactions("t", **good)  # a user may do two things at one time, and another one earlier
    with pytest.raises(DataError, match=message) as caught:
        Interactions("mine", **{**good, **change})
    assert "'mine'" in str(caught.value)


@pytest.mark.parametrize("rows", [[True, False], [0, 1, 2], [[True, False, True]]])
def test_rows_are_selected_by_a_mask(rows):
    with pytest.raises(DataError, match="'t': rows must be 3 bool, not"):
        of_counts([2, 1]).select(rows)
    assert of_counts([2, 1]).select([True, False, True]).counts().tolist() == [1, 1]


def test_data_are_shown_in_one_line():
    data = of_counts([10, 7], n_items=70)
    assert repr(data) == "Interactions(name='t', n_items=70, time_unit=None)" and len(repr(stage(data, "F"))) < 200


def test_statistics_by_hand():
    data = of_counts([10, 6, 4], n_items=12)
    found = statistics(data)
    assert found["users"] == 3 and found["items"] == 12 and found["interactions"] == 20
    assert found["actions_per_user"] == pytest.approx(20 / 3) and found["sparsity"] == pytest.approx(1 - 20 / 36)
    # Without the test rows 8, 5 and 4 are left: 8 rows hold three windows of 5 + 1, the others none.
    assert found["windows"] == 3 == windows(stage(data, "F").fit, 5)
    assert (found["min_actions_per_user"], found["max_actions_per_user"]) == (4, 10)
    assert (found["min_actions_per_item"], found["max_actions_per_item"]) == (1, 2)
    assert windows(data, 3) == 7 + 3 + 1
    assert data.positions().tolist() == [*range(10), *range(6), *range(4)]


def test_hash_is_of_the_content():
    data = of_counts([3, 4])
    assert data.sha256() == of_counts([3, 4], timed=False).sha256()
    others = [of_counts([4, 3]), of_counts([3, 4], n_items=401), of_counts([3, 4, 0])]
    others += [replace(data, item_features=np.full((400, 1), value)) for value in (0.0, 1.0)]
    assert len({data.sha256(), *(other.sha256() for other in others)}) == 6


def test_users_without_a_row_are_data():
    empty = Interactions("t", [], [0, 0, 0], 3, [])
    assert len(empty) == 0 and empty.counts().tolist() == [0, 0] and empty.item_counts().tolist() == [0, 0, 0]
