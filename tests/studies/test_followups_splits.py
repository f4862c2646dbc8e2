"""The rebuilt splits against the counts of those who use them."""

import numpy as np
import pytest
import torch
from published import load_or_skip

from rdcore.distill.followups.unkd import popularity_groups
from studies.followups import splits


@pytest.fixture(scope="module", autouse=True)
def files():
    load_or_skip("citeulike-users")


def reachable(parts, held) -> np.ndarray:
    return parts.fit.item_counts()[held.items] > 0


def test_the_split_by_item_id_has_the_published_counts_and_its_flaw():
    parts = splits.by_item_id()
    assert (parts.fit.n_users, parts.fit.n_items) == (5219, 25_181)
    assert [len(part) for part in (parts.fit, parts.validation, parts.test)] == [98_405, 12_451, 14_724]
    assert int((parts.fit.item_counts() > 0).sum()) == 21_109
    assert int((~reachable(parts, parts.test)).sum()) == 10_829 and int((~reachable(parts, parts.validation)).sum()) == 4_485
    found = np.add.reduceat(reachable(parts, parts.test).astype(float), parts.test.offsets[:-1]) / parts.test.counts()
    assert found.mean() == pytest.approx(0.3667, abs=5e-5) and int((found == 0).sum()) == 2_477
    assert int((parts.validation.counts() == 0).sum()) == 701


def test_the_split_by_user_group_has_the_published_counts():
    parts = splits.by_user_group()
    assert [len(part) for part in (parts.fit, parts.validation, parts.test)] == [98_405, 5_938, 21_237]
    assert [int((part.counts() > 0).sum()) for part in (parts.validation, parts.test)] == [1_043, 4_176]
    counts = torch.from_numpy(parts.fit.item_counts())
    assert int((counts > 0).sum()) == 23_879
    items = torch.from_numpy(parts.fit.items)
    sizes = {G: [(len(g), int(counts[g].sum())) for g in popularity_groups(items, parts.fit.n_items, G)] for G in (2, 4)}
    assert sizes[2] == [(3319, 49196), (20560, 49209)]
    assert sizes[4] == [(803, 24593), (2515, 24596), (5834, 24601), (14727, 24615)]


@pytest.mark.parametrize("split", [splits.by_item_id, splits.by_user_group])
def test_parts_have_nothing_in_common(split):
    parts = split()
    every = parts.fit, parts.validation, parts.test
    keys = [np.repeat(np.arange(p.n_users), p.counts()) * p.n_items + p.items for p in every]
    assert len(np.unique(np.concatenate(keys))) == sum(map(len, keys)) == 125_580
