"""Published numbers of models that need no training, on LightGCN's split of Gowalla.

By hand, one at a time: RDCORE_LARGE=1 pytest tests/models/more/test_published_gowalla.py -k EASE
EASE takes 4 GB of memory; both take minutes of one core.
"""

import os

import numpy as np
import pytest
import torch

from rdcore import datasets
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.eval.metrics import target_ranks
from rdcore.models import EASESettings, GFCFSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RDCORE_LARGE" not in os.environ, reason="needs gigabytes and minutes"),
]


@torch.no_grad()
def at_20(model, stage, block=256) -> tuple[float, float]:
    """Mean recall and nDCG of the 20 best unseen items, as LightGCN's code has them."""
    fit, judge = stage.fit, stage.judge
    queries, ranks = final_queries(fit), []
    seen = SeenItems(queries.items, queries.offsets, fit.n_items)
    for start in range(0, len(queries), block):
        asked = queries[start : start + block]
        bounds = torch.from_numpy(judge.offsets[start : start + len(asked) + 1])
        targets = torch.from_numpy(judge.items)[bounds[0] : bounds[-1]]
        scores = model.score_all(model.encode(asked))
        ranks.append(target_ranks(scores, seen.of(asked.user), (targets, bounds - bounds[0])))
    ranks, counts = torch.cat(ranks).numpy(), judge.counts()
    gains = np.where(ranks <= 20, 1 / np.log2(ranks + 1), 0)
    hits, gains = (np.bincount(judge.users(), x, len(counts)) for x in (ranks <= 20, gains))
    ideal = np.concatenate([[1], np.cumsum(1 / np.log2(np.arange(20) + 2))])
    some = counts > 0
    ndcg = gains / ideal[np.minimum(counts, 20)]
    return float((hits / np.maximum(counts, 1))[some].mean()), float(ndcg[some].mean())


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("settings", "recall", "ndcg"),
    [
        pytest.param(EASESettings(lam=80.0, precision="float32"), 0.1765, 0.1467, id="EASE"),
        pytest.param(GFCFSettings(), 0.1849, 0.1518, id="GF-CF"),
    ],
)
def test_recall_and_ndcg_are_the_published_ones(settings, recall, ndcg):
    stage = datasets.load("gowalla-m1")
    found = at_20(settings.fit(stage.fit), stage)
    assert found == (pytest.approx(recall, abs=1e-4), pytest.approx(ndcg, abs=1e-4))
