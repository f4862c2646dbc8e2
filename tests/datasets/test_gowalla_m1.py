"""LightGCN's split of Gowalla against the files, read in another way."""

import numpy as np
import pytest
import scipy.sparse
from published import load_or_skip

from rdcore.data import DataError
from rdcore.datasets import fetch, load
from rdcore.datasets.formats import read_adjacency


@pytest.fixture(scope="module")
def gowalla():
    return load_or_skip("gowalla-m1")


def test_it_is_the_published_split(gowalla):
    fit, judge = gowalla.fit, gowalla.judge
    assert (gowalla.name, fit.n_users, fit.n_items, len(fit), len(judge)) == ("F", 29_858, 40_981, 810_128, 217_242)
    assert (gowalla.n_cold, gowalla.n_unjudged, fit.counts().min(), judge.counts().min()) == (0, 0, 8, 1)
    matrix, test = fetch("gowalla-m1")
    pairs = scipy.sparse.load_npz(matrix)[:29_858, 29_858:].tocoo()
    assert set(zip(pairs.row.tolist(), pairs.col.tolist(), strict=True)) == set(
        zip(fit.users().tolist(), fit.items.tolist(), strict=True)
    )
    for user, line in enumerate(test.read_text().splitlines()):
        assert line.split()[0] == str(user)
        assert judge.items[slice(*judge.offsets[user : user + 2])].tolist() == list(map(int, line.split()[1:]))


def test_nothing_is_in_both_parts(gowalla):
    pairs = [set(zip(part.users().tolist(), part.items.tolist(), strict=True)) for part in (gowalla.fit, gowalla.judge)]
    assert not pairs[0] & pairs[1] and [len(part) for part in pairs] == [810_128, 217_242]


def test_it_takes_no_options():
    with pytest.raises(DataError, match="gowalla-m1 is one published data set and takes no options, got min_actions"):
        load("gowalla-m1", min_actions=5)


# ------------------------------------------------------------------------------------------------------------ the matrix

PAIRS = scipy.sparse.csr_matrix(np.array([[0, 1, 1], [1, 0, 0]], dtype=np.float32))
WHOLE = scipy.sparse.bmat([[None, PAIRS], [PAIRS.T, None]], format="csr")


@pytest.fixture
def saved(tmp_path):
    def save(matrix=WHOLE, **change):
        file = tmp_path / "matrix.npz"
        scipy.sparse.save_npz(file, matrix)
        if change:
            with np.load(file) as parts:
                parts = dict(parts)
            np.savez(file, **parts | change)
        return file

    return save


def test_a_small_matrix(saved):
    rows = read_adjacency(saved(), 2, 3)
    assert rows.to_numpy().tolist() == [[0, 1], [0, 2], [1, 0]] and list(rows) == ["user", "item"]


def test_a_bad_matrix_is_named(saved, tmp_path):
    with pytest.raises(DataError, match="expected a csr matrix of 6 x 6"):
        read_adjacency(saved(), 2, 4)
    with pytest.raises(DataError, match="expected a csr matrix"):
        read_adjacency(saved(WHOLE.tocsc()), 2, 3)
    with pytest.raises(DataError, match="may hold items alone, from 3 to 4"):
        read_adjacency(saved(), 3, 2)
    with pytest.raises(DataError, match="may hold items alone"):
        read_adjacency(saved(indptr=np.array([0, 2, 1, 4, 5, 6], dtype=np.int32)), 2, 3)
    with pytest.raises(DataError, match="is not a sparse matrix of scipy .*fetch the data set again"):
        read_adjacency(saved(indices=np.array([print], dtype=object)), 2, 3)  # a pickle inside: it is not read
    for content in (b"", b"PK\x03\x04", saved().read_bytes()[:-40]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match="bad.npz is not a sparse matrix of scipy"):
            read_adjacency(tmp_path / "bad.npz", 2, 3)
    with pytest.raises(DataError, match="does not exist"):
        read_adjacency(tmp_path / "nothing.npz", 2, 3)
