"""LightGCN's Last.fm against the files, read in another way."""

import pytest
from published import load_or_skip

from rdcore.data import DataError
from rdcore.datasets import fetch
from rdcore.datasets.formats import read_weighted


@pytest.fixture(scope="module")
def lastfm():
    return load_or_skip("lastfm")


def test_it_is_the_published_split(lastfm):
    assert (lastfm.fit.n_users, lastfm.fit.n_items, len(lastfm.fit), len(lastfm.judge)) == (1892, 4489, 42_135, 10_533)
    pairs = []
    for file, part in zip(fetch("lastfm"), (lastfm.fit, lastfm.judge), strict=True):
        rows = [tuple(map(int, line.split("\t")[:2])) for line in file.read_text().split("\n") if line]
        users, items = part.user_ids[part.users()], part.item_ids[part.items]
        assert list(zip(users.tolist(), items.tolist(), strict=True)) == sorted(rows, key=lambda row: row[0])
        pairs.append(set(rows))
    assert not pairs[0] & pairs[1]
    own = lastfm.fit.counts() > 0
    assert own.sum() == 1878 and (lastfm.judge.counts() > 0).sum() == 1858
    assert ((lastfm.judge.counts() > 0) & ~own).sum() == 2 and lastfm.n_cold == 41


@pytest.mark.parametrize(
    "line, message",
    [
        ("1\t2", "expected `user<TAB>item<TAB>weight`"),
        ("1\t2\t3\t4", "expected `user<TAB>item<TAB>weight`"),
        ("1\tx\t3", "item 'x' is not an integer"),
        ("-1\t2\t3", "user '-1' is negative"),
        ("1\t2\tnan", "expected `user<TAB>item<TAB>weight`"),
        ("", "user '' is not an integer"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    file = tmp_path / "data.txt"
    file.write_text(f"1\t2\t3.5e+05\r\n{line}\n7\t8\t1\n")
    with pytest.raises(DataError) as caught:
        read_weighted(file)
    assert str(caught.value).startswith(f"{file}, line 2: {message}")
    file.write_text("1\t2\t3.5e+05\r\n7\t8\t1\n")
    assert read_weighted(file).to_numpy().tolist() == [[1, 2], [7, 8]]
