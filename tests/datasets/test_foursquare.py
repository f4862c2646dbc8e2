"""The check-ins that stand in for DE-RRD's Foursquare."""

import sys

import numpy as np
import pytest
from published import load_or_skip

from rdcore.data import leave_one_out
from rdcore.datasets import CATALOG, fetch, load
from rdcore.files import paths
from studies import cli

fetching = sys.modules["rdcore.datasets.fetch"]  # the module; `rdcore.datasets.fetch` is the function


@pytest.fixture(scope="module")
def foursquare():
    return load_or_skip("foursquare")


@pytest.fixture(scope="module")
def lines(foursquare):
    """The file, read in another way: the places of each line, without the count."""
    return [np.array(line.split(), dtype=np.int64)[1:] for line in fetch("foursquare")[0].read_text().splitlines()]


def test_it_is_what_was_published(foursquare):
    """Counted in the file once, and by those who publish the data, as far as users and places go."""
    assert (foursquare.n_users, foursquare.n_items, len(foursquare)) == (24_941, 28_593, 717_086)
    assert (foursquare.counts().min(), foursquare.counts().max()) == (9, 445)
    assert (foursquare.item_counts().min(), foursquare.item_counts().max()) == (9, 2912)
    assert (foursquare.user_ids == np.arange(24_941)).all() and (foursquare.item_ids == np.arange(28_593)).all()
    assert foursquare.times is None and "stand-in" in CATALOG["foursquare"].title
    fetching.verify(fetch("foursquare")[0], CATALOG["foursquare"].files[0])
    assert len(CATALOG["foursquare"].files[0].git_blob) == 40


def test_every_user_is_judged_and_every_place_is_fitted(foursquare):
    parts = leave_one_out(foursquare)
    assert (len(parts.fit), len(parts.validation), len(parts.test)) == (667_204, 24_941, 24_941)
    assert parts.n_unjudged == 0 and parts.n_cold == 0 and parts.fit.counts().min() == 7
    assert np.count_nonzero(parts.fit.item_counts()) == 28_593


def test_a_line_is_a_user_in_an_order_drawn_for_him(foursquare, lines):
    """The drawn numbers, one a row, users in order and their places ascending, decide each user's order."""
    numbers = np.random.PCG64(0).random_raw(717_086)
    start, ascending = 0, 0
    for user, places in enumerate(lines):
        drawn = numbers[start : start + len(places)]
        start += len(places)
        own = foursquare.items[slice(*foursquare.offsets[user : user + 2])]
        assert (own == np.sort(places)[np.argsort(drawn)]).all()
        ascending += int((np.diff(own) > 0).sum())
    # Nothing is left of an order: half of the 692,145 steps go up, within five deviations (which are sqrt(n / 12)).
    assert abs(ascending - 692_145 / 2) < 5 * (692_145 / 12) ** 0.5


def test_it_is_not_the_papers_data(lines):
    """DE-RRD: 19,466 users, 28,594 places, 609,655 interactions (one user and one place fewer, and the training part alone,
    if it counted as it did for CiteULike). No minimum of places a user gives any of these pairs."""
    lengths = np.array([len(places) for places in lines])
    for least in range(1, lengths.max()):
        kept = lengths[lengths >= least]
        assert len(kept) not in (19_465, 19_466)
        assert 609_655 not in (kept.sum(), kept.sum() - len(kept), kept.sum() - 2 * len(kept))


def test_options_make_another_data_set(foursquare):
    fewer = load("foursquare", min_actions=20)
    assert fewer.name == "foursquare (min_actions=20)" and fewer.sha256() != foursquare.sha256()
    assert fewer.counts().min() >= 20 and fewer.item_counts().min() >= 20


def test_the_command_brings_it_from_a_mirror(foursquare, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RDCORE_MIRROR", str(paths.raw()))  # a folder with one folder a data set, as a mirror is
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setattr(fetching, "_download_url", lambda *arguments: pytest.fail("the mirror has it"))
    assert cli.main(["fetch", "foursquare"]) == 0
    assert capsys.readouterr().out.startswith("foursquare: 1 files, verified, in ")
