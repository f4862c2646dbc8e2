"""What notebook 13 reads, with and without the files."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from words import smallest_words

from rdcore import datasets
from rdcore.data.errors import DataError
from studies.common import style
from studies.followups import splits
from studies.notebooks import audit


@pytest.fixture
def nothing_can_be_fetched(monkeypatch):
    """Only generated data, which have no files, can be had."""
    fetch = datasets.fetch

    def refuse(name, **options):
        if name == "synthetic":
            return fetch(name, **options)
        raise DataError(f"{name}: no source can be reached")

    monkeypatch.setattr(datasets, "fetch", refuse)


def test_without_the_file_made_up_lines_have_its_form(nothing_can_be_fetched):
    lines, real = audit.library_lines()
    assert not real and len(lines) == 200
    assert all(n == len(items) and items == sorted(set(items)) for n, *items in lines)


def test_smoke_asks_for_no_file(monkeypatch):
    fetch = datasets.fetch
    monkeypatch.setattr(
        datasets, "fetch", lambda name, **o: fetch(name, **o) if name == "synthetic" else pytest.fail(f"{name} was asked for")
    )
    assert audit.library_lines(made_up=True)[1] is False


def test_without_files_there_is_no_version_of_gowalla(nothing_can_be_fetched):
    assert audit.versions() == {}


def test_a_cut_of_given_lists_is_by_their_order():
    lists = splits.numbered([[30, 10, 20, 50, 40, 60, 70, 90, 80, 11], [70, 10, 99, 98, 97]])
    assert lists == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [6, 1, 10, 11, 12]]
    parts = splits.by_item_id(lists)
    held = [[part.items[a:b].tolist() for a, b in zip(part.offsets, part.offsets[1:], strict=False)]
            for part in (parts.fit, parts.validation, parts.test)]  # fmt: skip
    assert held == [[[0, 1, 2, 3, 4, 5, 6, 7], [6, 1, 10, 11]], [[8], []], [[9], [12]]]


def test_the_picture_shows_what_a_split_by_id_does():
    with plt.rc_context():
        style.use_style()
        items = np.arange(100)
        fig = audit.shares_by_id({"by id": [(items[:80], items[80:90], items[90:])]}, bins=10)
        train, _, test = (area.get_paths()[0].vertices[:, 1] for area in fig.axes[0].collections)
        assert train.max() == 1 and test.max() == 1, "low ids are all training, the last ones all test"
        assert smallest_words(fig) >= 8
    plt.close("all")


def test_splits_of_citeulike_are_by_their_rules(nothing_can_be_fetched, monkeypatch):
    """Files that cannot be had are left out. BD's test is the last number but one, and its training part has the count."""
    lists = [[11, 12, 13, 14, 15, 16], [6, 11, 12, 13, 20]]
    monkeypatch.setattr(splits, "libraries", lambda: splits.numbered(lists))
    found = audit.splits_of_citeulike(lists, [[len(items), *items] for items in lists])
    assert list(found) == ["BD, counts as items", "UnKD", "RCE-KD, PCKD, FreqD"]
    as_bd = found["BD, counts as items"]
    rows = [list(user) for part in (as_bd.fit, as_bd.judge) for user in np.split(part.items, part.offsets[1:-1])]
    assert rows == [[0, 1, 2, 3, 4], [7, 0, 1, 2], [5], [3]]  # 6, the first count, is the second user's first item
    assert [stage.judge.counts().tolist() for stage in found.values()][2] == [1, 1]
    assert sum(found["UnKD"].judge.counts()) == 3 and len(found["UnKD"].fit) == 8
