"""Published numbers of models that need no training, on LightGCN's split of Gowalla.

By hand, one at a time: RDCORE_LARGE=1 pytest tests/models/more/test_published_gowalla.py -k EASE
EASE takes 4 GB of memory; both take minutes of one core. The numbers that `python -m benchmarks.published`
found stand in figures/tables/published.csv.
"""

import os

import pytest

from benchmarks import published

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RDCORE_LARGE" not in os.environ, reason="needs gigabytes and minutes"),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", published.COUNTED)
def test_recall_and_ndcg_are_the_published_ones(name):
    rows = {row["metric"]: row for row in published.measure(name)}
    for metric in ("R@20", "N@20"):
        assert rows[metric]["replicated"] == pytest.approx(rows[metric]["published"], abs=1e-4)
