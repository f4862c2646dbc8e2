"""docs/your-own.md: its blocks run from top to bottom, and what it says of the parts is so."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdcore
from rdcore import datasets
from rdcore.store import runs
from rdcore.store.experiment import Experiment

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-own.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the page's blocks leave behind."""
    names = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("page"))
        patch.setenv("RDCORE_RUNS", str(folder / "runs"))
        for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            exec(compile(block, PAGE.name, "exec"), names)
    return names


def test_the_page_runs(page):
    assert {"S", "RD-position", "RRD", "RankDistil-C", "CD", "own", "discount"} == set(page["models"])
    assert page["c"].n_seeds == 3 and page["c"].low < page["c"].high
    assert set(page["parts"]) == {"F"} and page["early"].name == "V"
    assert page["run"].finished and len(page["everything"].fit) == len(page["clicks"])
    assert len(page["rows"]) == page["counts"].sum() == len(page["part"].fit)


def test_cold_users_are_evaluated_too():
    frame = pd.DataFrame({"user": [0, 0, 1, 1, 2], "item": [1, 2, 2, 3, 1], "time": [1, 5, 2, 6, 7]})
    part = datasets.stage_by_date(rdcore.from_frame(frame), 5)
    warm = part.fit.counts() > 0
    assert warm.tolist() == [True, True, False]
    assert np.isfinite(rdcore.evaluate(rdcore.fit(part, rdcore.BPRMFSettings(dim=2), epochs=1), part)["AP"]).all()


def test_its_metrics_are_those_of_their_definitions(page):
    part, lists, own = page["part"], page["lists"], page["table"].loc["own"]
    listed = {user: rows.sort_values("rank")["item"].tolist() for user, rows in lists.groupby("user")}
    held = {user: set() for user in range(part.fit.n_users)}
    for user, item in zip(part.judge.users(), part.judge.items, strict=True):
        held[int(user)].add(page["clicks"].item_ids[item])
    some = [user for user in held if held[user]]
    first = [next((1 / place for place, item in enumerate(listed[user], 1) if item in held[user]), 0) for user in some]
    assert own["MRR@10"] == pytest.approx(np.mean(first))
    longer = {user: set(rows["item"]) for user, rows in rdcore.recommend(page["student"], part, n=50).groupby("user")}
    assert own["R@50"] == pytest.approx(np.mean([len(longer[user] & held[user]) / len(held[user]) for user in some]))
    counts = lists["item"].value_counts().reindex(page["clicks"].item_ids, fill_value=0).to_numpy()
    assert own["coverage"] == np.mean(counts > 0)
    apart = np.abs(counts[:, None] - counts[None]).mean()  # Gini's mean difference
    assert own["Gini"] == pytest.approx(apart / (2 * counts.mean()))


@pytest.mark.parametrize("method, message", [
    (rdcore.DESettings(), "DE distils representations, but the teacher .Scores. shows none"),
    (rdcore.BDSettings(), "BD trains the teacher, but Scores has nothing to train"),
])  # fmt: skip
def test_scores_are_refused_where_the_page_says(page, method, message):
    with pytest.raises(ValueError, match=message):
        rdcore.fit(page["clicks"], rdcore.BPRMFSettings(dim=2), teacher=page["by_matrix"], method=method, training=page["how"])


@pytest.mark.parametrize("teacher", ["by_matrix", "by_sparse"])
@pytest.mark.parametrize("method", [
    rdcore.RRDSettings(depth=50), rdcore.RankDistilSettings(), rdcore.UnKDSettings(depth=50), rdcore.CDSettings(depth=100),
    rdcore.KDCESettings(), rdcore.RCEKDSettings(depth=100), rdcore.DLLM2RecSettings(),
])  # fmt: skip
def test_scores_teach_by_lists_and_by_scores(page, teacher, method):
    rdcore.fit(page["clicks"], rdcore.BPRMFSettings(dim=2), teacher=page[teacher], method=method, epochs=1)


def test_a_file_of_scores_teaches_in_the_store(page, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    np.save(tmp_path / "scores.npy", page["matrix"])
    clicks = page["clicks"]
    common = {"dataset": clicks.name, "data_hash": clicks.sha256(), "stage": "F", "seed": 1}
    common |= {"training": rdcore.Training(epochs=1), "evaluate_every": 1}
    teacher = Experiment(role="T", model=page["FileSettings"](file=str(tmp_path / "scores.npy")), **common)
    student = Experiment(
        role="own", model=page["small"], distillation=page["ListMLESettings"](), teacher=teacher, teacher_epoch=1, **common
    )
    run = runs.load_or_train(student, clicks)
    assert run.finished and run.agreement["overlap@10"] > 0
