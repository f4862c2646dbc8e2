"""DE-RRD's published split itself."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from published import load_or_skip

from rdcore.data import DataError, leave_one_out
from rdcore.datasets import CATALOG, fetch, load
from rdcore.datasets.pickles import read_plain
from rdcore.files import paths
from studies import cli

fetching = sys.modules["rdcore.datasets.fetch"]  # the module; `rdcore.datasets.fetch` is the function


@pytest.fixture(scope="module")
def citeulike():
    return load_or_skip("citeulike")


def test_it_is_what_was_published(citeulike):
    """5,220 users and 25,182 items are the paper's Table 1 and what its parameter counts imply; 115,142 is its number of
    interactions, which is that of the training part. The other figures were counted in the files once."""
    assert (citeulike.n_users, citeulike.n_items, len(citeulike)) == (5220, 25_182, 115_142 + 2 * 5219)
    parts = leave_one_out(citeulike)
    assert (len(parts.fit), len(parts.validation), len(parts.test)) == (115_142, 5219, 5219)
    fitted, counts = parts.fit.item_counts(), parts.fit.counts()
    assert np.count_nonzero(fitted) == 24_742
    assert parts.n_cold == 258 and np.count_nonzero(fitted[parts.validation.items] == 0) == 257
    assert np.flatnonzero(citeulike.counts() == 0).tolist() == [5219] and parts.n_unjudged == 1
    assert (counts[:5219].min(), counts.max()) == (3, 1993)
    assert round(100 * (1 - len(parts.fit) / (5220 * 25_182)), 2) == 99.91  # the paper's sparsity, also of training alone
    assert (citeulike.user_ids == np.arange(5220)).all() and (citeulike.item_ids == np.arange(25_182)).all()
    assert citeulike.times is None and citeulike.name == "citeulike"
    # (2 * 5,220 + 25,182) * 20: the 608,040 parameters that the official log prints are those of both tables.
    assert (citeulike.n_users + citeulike.n_items) * 20 == 608_040


def test_leave_one_out_gives_the_files_back(citeulike):
    train, validation, test, counts = map(read_plain, fetch("citeulike"))
    assert counts == (5220, 25_182)
    parts = leave_one_out(citeulike)
    for user in range(5220):
        own = [part.items[slice(*part.offsets[user : user + 2])].tolist() for part in (parts.fit, parts.validation, parts.test)]
        if user == 5219:
            assert own == [[], [], []] and user not in train
        else:
            assert own == [sorted(train[user]), [validation[user]], [test[user]]]


def test_the_files_are_the_pinned_ones(citeulike):
    for path, file in zip(fetch("citeulike"), CATALOG["citeulike"].files, strict=True):
        fetching.verify(path, file)
        with pytest.raises(DataError, match=f"wrong git blob id: expected {'0' * 40}, found {file.git_blob}"):
            fetching.verify(path, replace(file, git_blob="0" * 40))
        assert "/97b6bf6fa70caecb26f22b539763f476a1843949/Dataset/citeULike/LOO/" in file.sources[0].url


def test_the_command_brings_it_from_a_mirror(citeulike, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RDCORE_MIRROR", str(paths.raw()))  # a folder with one folder a data set, as a mirror is
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setattr(fetching, "_download_url", lambda *arguments: pytest.fail("the mirror has it"))
    assert cli.main(["fetch", "citeulike"]) == 0
    assert capsys.readouterr().out.startswith("citeulike: 4 files, verified, in ")
    assert load("citeulike", download=False).sha256() == citeulike.sha256()


def test_it_takes_no_options(citeulike):
    with pytest.raises(DataError, match="one published data set and takes no options, got min_actions: leave them out"):
        load("citeulike", min_actions=5)
