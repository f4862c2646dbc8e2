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
from rdcore.store import runs

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


def test_sasrec_takes_the_epoch_that_ranks_the_last_but_one_best_among_all(tmp_path, monkeypatch):
    """Neither the test item nor a sample of items has a say; the test item is looked for behind the last but one."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    dataset, model, training, _ = published.TRAINED["SASRec-gbce"]
    longer = type(training)(epochs=4, batch_size=64, negatives=1, learning_rate=0.02)
    monkeypatch.setitem(published.TRAINED, "SASRec-gbce", (dataset, type(model)(dim=4), longer, 1))
    rows = {row["metric"]: row for row in published.measure("SASRec-gbce", lambda name: DATA)}
    fitted, judged = published.last_but_one(DATA)
    asked = published.experiment("SASRec-gbce", fitted)
    assert asked.stage == "V" and asked.key == rows["H@10"]["run"]
    models = {epoch: runs.load_or_train(asked, fitted).model(asked, fitted, epoch) for epoch in (1, 2, 3, 4)}
    last = DATA.positions() == np.repeat(DATA.counts() - 1, DATA.counts())
    assert (judged.judge.items == DATA.items[last]).all() and len(judged.fit.items) == (~last).sum()

    def ndcg(model, stage) -> float:
        """Of one held-out item, from the whole ranking of each user."""
        scores, found = model.score_all(model.encode(final_queries(stage.fit))), []
        for u in range(stage.fit.n_users):
            scores[u, stage.fit.items[stage.fit.offsets[u] : stage.fit.offsets[u + 1]]] = -torch.inf
            place = scores[u].argsort(descending=True).tolist().index(int(stage.judge.items[stage.judge.offsets[u]]))
            found.append(1 / math.log2(place + 2) if place < 10 else 0)
        return float(np.mean(found))

    with torch.no_grad():
        by_epoch = {epoch: ndcg(model, fitted) for epoch, model in models.items()}
        best = max(by_epoch, key=by_epoch.get)
        assert rows["N@10"]["epochs"] == best and rows["N@10"]["replicated"] == pytest.approx(ndcg(models[best], judged))


def test_other_rows_stay():
    one = [dict.fromkeys(published.COLUMNS) | {"model": "LightGCN", "replicated": 0.1, "epochs": 5}]
    two = [dict.fromkeys(published.COLUMNS) | {"model": "EASE", "replicated": 0.2}]
    table = published.together(published.together(None, one), two)
    assert table["model"].tolist() == ["EASE", "LightGCN"] and table["epochs"].tolist() == [pd.NA, 5]
    again = published.together(table, [two[0] | {"replicated": 0.3}])
    assert again["replicated"].tolist() == [0.3, 0.1]


def test_the_committed_numbers_are_the_published_ones():
    table = pd.read_csv(paths.figures() / "tables" / "published.csv")
    known = table.dropna(subset="published").set_index("model")
    assert set(known.index) == {*published.COUNTED, "LightGCN", "SASRec-ce"}
    counted = known.loc[list(published.COUNTED)]
    assert set(counted["metric"]) == {"R@20", "N@20"}
    np.testing.assert_allclose(counted["replicated"], counted["published"], atol=1e-4)
    sasrec = known.loc["SASRec-ce"]
    assert set(sasrec["metric"]) == {"H@10", "N@10"} and sasrec["difference"].between(-0.05, 0).all()


def test_a_published_number_is_that_after_as_many_epochs_and_old_rows_take_it():
    row = dict.fromkeys(published.COLUMNS) | {"dataset": published.GOWALLA, "model": "LightGCN", "metric": "R@20"}
    found = [published.known(row | {"epochs": epochs}) for epochs in (5, 1000, 6, pd.NA)]
    assert found == [pytest.approx(0.10711388), 0.1824, None, None]
    beauty = row | {"dataset": published.BEAUTY, "model": "SASRec-ce", "metric": "H@10"}
    assert published.known(beauty | {"epochs": 9}) == 0.0533, "validation chose the epoch here and there"
    old = pd.DataFrame([row | {"epochs": 5, "replicated": 0.12}, row | {"epochs": 6, "replicated": 0.12, "published": 0.1}])
    table = published.together(old, [])
    assert table["published"].fillna(-1).tolist() == pytest.approx([0.10711388, -1])
    assert table["difference"].fillna(-1).tolist() == pytest.approx([0.12 / 0.10711388 - 1, -1])
    assert published.together(table, []).equals(table)
