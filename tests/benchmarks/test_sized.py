"""Generated data of a given size, for measurements."""

import numpy as np
import pytest

from benchmarks.sized import of_size
from rdcore.data import DataError, stage


def test_data_of_a_size_have_it():
    data = of_size(300, 400, 6000, least=8)
    counts = data.counts()
    assert data.n_users == 300 and data.n_items == 400 and 5500 < len(data) <= 6000 and counts.min() == 8
    assert counts.max() > 3 * np.median(counts)  # activity differs
    assert len(np.unique(data.users() * 400 + data.items)) == len(data)  # no item twice
    popularity = np.sort(data.item_counts())
    assert popularity[-40:].sum() > 3 * popularity[:40].sum()
    assert data.sha256() == of_size(300, 400, 6000, least=8).sha256() != of_size(300, 400, 6000, least=8, seed=1).sha256()
    assert stage(data, "F").n_unjudged == 0


@pytest.mark.parametrize("given", [(0, 400, 10), (300, 400, 300), (300, 30, 6000), (10, 400, 6000)])
def test_data_of_an_impossible_size_are_refused(given):
    with pytest.raises(DataError, match="data of a size need"):
        of_size(*given)
