"""Published numbers of later models: how they are counted, and the committed table."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import published
from rdcore.data import Stage, stage
from rdcore.data.queries import final_queries
from rdcore.datasets import synthetic
from rdcore.files import paths
from rdcore.models import EASESettings, GFCFSettings

DATA = synthetic.generate(n_users=40, n_items=60, min_length=8, max_length=30, seed=2)
SMALL = stage(DATA, "F")


def slow_at_20(model, data: Stage) -> dict:
    """User by user, from sorted lists."""
    scores = model.score_all(model.encode(final_queries(data.fit))).numpy()
    found = []
    for u in range(data.fit.n_users):
        own, held = (set(part.items[part.offsets[u] : part.offsets[u + 1]].tolist()) for part in (data.fit, data.judge))
        if held:
            best = [i for i in np.argsort(-scores[u], kind="stable").tolist() if i not in own][:20]
            gains = [1 / math.log2(place + 2) * (item in held) for place, item in enumerate(best)]
            ideal = sum(1 / math.log2(place + 2) for place in range(min(20, len(held))))
            hits = len(set(best) & held)
            found.append([hits / len(held), sum(gains) / ideal, hits / 20])
    return dict(zip(("R@20", "N@20", "P@20"), np.mean(found, axis=0), strict=True))


@torch.no_grad()
@pytest.mark.parametrize("block", [1, 7, 256])
def test_recall_ndcg_and_precision_equal_a_slow_reference(block):
    none = SMALL.judge.select(SMALL.judge.users() != 3, "one user without")
    for data in (SMALL, Stage("F", SMALL.fit, none)):
        model = EASESettings(lam=5.0).fit(data.fit)
        assert published.at_20(model, data, block=block) == pytest.approx(slow_at_20(model, data), abs=1e-12)


def test_rows_of_a_counted_and_of_a_trained_model(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    monkeypatch.setitem(published.COUNTED, "GF-CF", GFCFSettings(vectors=4))
    rows = published.measure("GF-CF", lambda name: SMALL)
    assert [row["metric"] for row in rows] == ["R@20", "N@20", "P@20"] and rows[0]["settings"] == "alpha=0.3, vectors=4"
    assert rows[0]["difference"] == pytest.approx(rows[0]["replicated"] / 0.1849 - 1) and rows[2]["difference"] is None
    for name, metrics in (("LightGCN", ["R@20", "N@20", "P@20"]), ("SASRec-gbce", ["H@10", "N@10", "H@20", "N@20"])):
        dataset, model, training, every = published.TRAINED[name]
        quick = type(training)(epochs=1, batch_size=64, negatives=1)
        monkeypatch.setitem(published.TRAINED, name, (dataset, type(model)(dim=4), quick, every))
        rows = published.measure(name, lambda name: SMALL if name == published.GOWALLA else DATA)
        assert [row["metric"] for row in rows] == metrics and all(0 < row["replicated"] < 1 for row in rows)
        assert {row["epochs"] for row in rows} == {1} and (tmp_path / rows[0]["run"]).is_dir()


def test_other_rows_stay():
    one = [dict.fromkeys(published.COLUMNS) | {"model": "LightGCN", "replicated": 0.1, "epochs": 5}]
    two = [dict.fromkeys(published.COLUMNS) | {"model": "EASE", "replicated": 0.2}]
    table = published.together(published.together(None, one), two)
    assert table["model"].tolist() == ["EASE", "LightGCN"] and table["epochs"].tolist() == [pd.NA, 5]
    again = published.together(table, [two[0] | {"replicated": 0.3}])
    assert again["replicated"].tolist() == [0.3, 0.1]


def test_the_committed_numbers_are_the_published_ones():
    table = pd.read_csv(paths.figures() / "tables" / "published.csv")
    known = table.dropna(subset="published")
    assert set(known["model"]) == set(published.COUNTED) and set(known["metric"]) == {"R@20", "N@20"}
    np.testing.assert_allclose(known["replicated"], known["published"], atol=1e-4)
