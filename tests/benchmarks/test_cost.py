"""Quality against cost: how it is counted, on small numbers. No time is asserted."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import cost
from rdcore import serve
from rdcore.data import Interactions, stage, synthetic
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.eval import metrics
from rdcore.eval.metrics import evaluate
from rdcore.files import paths
from rdcore.models import BPRMFSettings

FAISS = importlib.util.find_spec("faiss") is not None
DATA = stage(synthetic.generate(n_users=30, n_items=60, min_length=8, max_length=20, seed=3), "F")


def made():
    model = BPRMFSettings(dim=4).build(30, 60).requires_grad_(False).eval()
    for table in (model.user, model.item_factors):
        table.weight.normal_()
    return model


def test_lists_of_the_file_and_their_ndcg_are_those_of_the_evaluation(tmp_path):
    model = made()
    files = serve.export(model, tmp_path / "x.onnx", n=cost.N)
    lists = cost.by_file(serve.session(files[0], 1), DATA.fit)(np.arange(30))
    queries = final_queries(DATA.fit)
    seen = SeenItems(queries.items, queries.offsets, 60).of(queries.user)
    assert (lists == metrics.top_items(model.score_all(model.encode(queries)), seen, 10).numpy()).all()
    expected = np.nanmean(evaluate(model, DATA)["nDCG@10-standard"])
    assert cost.ndcg(lists, DATA.judge) == pytest.approx(expected, abs=1e-12)


def test_pasts_are_padded_on_the_left():
    fit = Interactions("x", np.array([3, 1, 2]), np.array([0, 2, 3]), 5)
    assert cost.pasts(fit, np.array([1, 0])).tolist() == [[5, 2], [3, 1]]


def test_overlap():
    assert cost.overlap(np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])) == 0.75


@pytest.mark.skipif(not FAISS, reason="needs the extra `index`")
def test_an_index_that_visits_all_lists_is_exact(tmp_path):
    model = made()
    files = serve.export(model, tmp_path / "x.onnx", n=cost.N)
    exact = cost.by_file(serve.session(files[0], 1), DATA.fit)(np.arange(30))
    index = cost.inverted_lists(model.item_factors.weight.numpy())
    index.nprobe = index.nlist
    assert (cost.by_index(index, model, DATA.fit)(np.arange(30)) == exact).all()
    index.nprobe = 1
    fewer = cost.by_index(index, model, DATA.fit)(np.arange(30))
    assert cost.overlap(exact, fewer) < 1 and cost.index_bytes(index) > 4 * 60 * 4


def test_other_rows_stay_and_made_up_items_come_last():
    old = pd.DataFrame({"dataset": ["ml-100k", "gowalla", "1,000 made-up items"], "quality": [1, 2, 3]})
    new = pd.DataFrame({"dataset": ["gowalla"] * 2, "quality": [4, 5]})
    assert cost.together(old, new)["quality"].tolist() == [1, 4, 5, 3]
    assert cost.together(None, new)["quality"].tolist() == [4, 5]


def test_teachers_are_shared_and_settings_are_those_of_the_data_set():
    for size in (cost.Size(), cost.GOWALLA):
        runs = cost.experiments(size)
        (teacher,) = runs["T", size.teacher]
        assert len(runs) == 1 + 2 * len(size.students) and max(size.students) < size.teacher
        for dim in size.students:
            alone, taught = runs["S", dim], runs[cost.TAUGHT, dim]
            assert [run.seed for run in alone] == [run.seed for run in taught] == [1, 2, 3]
            assert all(run.teacher == teacher and run.training == size.how for run in taught)


@pytest.mark.slow
def test_the_trial_writes_a_row_for_every_model_batch_and_index(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    cost.main(["--trial"])
    table = pd.read_csv(tmp_path / "figures/smoke/tables/cost.csv")
    kinds = 1 + FAISS
    assert list(table) == cost.COLUMNS and len(table) == (5 + 3) * 2 * kinds
    assert (table[["bytes", "latency_ms", "quality"]] > 0).all(axis=None)
    assert (tmp_path / "figures/smoke/cost.png").exists()
    assert set(table.loc[table["role"] != "T", "dim"]) == {2, 3}


def test_readme_says_what_the_table_says():
    table = pd.read_csv(paths.figures() / "tables" / "cost.csv")
    table = table[(table["batch"] == 1) & (table["index"] == "exact")].set_index(["dataset", "role", "dim"])
    kept = {role: table.loc[("gowalla", role, 16)] for role in ("S", "RD-position")}
    teacher = table.loc[("gowalla", "T", 128)]
    assert teacher["bytes"] / kept["RD-position"]["bytes"] == pytest.approx(8, abs=0.05)
    shares = [f"{kept[role]['quality'] / teacher['quality']:.0%}".replace("%", " %") for role in ("RD-position", "S")]
    small = table.loc["ml-100k"]["quality"]
    assert (small["RD-position"] - small["S"]).max() < 0.001, "teaching adds nothing"
    readme = " ".join((paths.root() / "README.md").read_text(encoding="utf-8").split())
    said = f"a student of 16 numbers has {shares[0]} of T's standard nDCG@10 in an eighth of the bytes, alone"
    assert f"{said} {shares[1]}." in readme


def test_the_page_says_what_the_committed_table_has():
    """docs/serving.md, "Is it worth it?"."""
    root = Path(__file__).parents[2]
    said = (root / "docs" / "serving.md").read_text(encoding="utf-8").split("## Is it worth it?")[1].split("\n## ")[0]
    said = " ".join(said.split())
    table = pd.read_csv(root / "figures" / "tables" / "cost.csv")
    rows = {("made-up" if "made-up" in r.dataset else r.dataset, r.role, r.dim, r.batch, r.index): r
            for r in table.itertuples(index=False)}  # fmt: skip

    def quality(data, role, dim, index="exact"):
        return rows[data, role, dim, 1, index].quality

    def ms(data, role, dim, batch=1, index="exact"):
        return rows[data, role, dim, batch, index].latency_ms

    def short(value, digits):
        return f"{value:.{digits}f}".lstrip("0")

    small, shop, million = "ml-100k", "gowalla", "made-up"
    teacher = quality(small, "T", 64)
    sizes = (4, 8, 16, 32)
    of_shop = {role: [short(quality(shop, role, dim), 4) for dim in sizes] for role in ("S", "RD-position")}
    of_shop = {role: f"{', '.join(values[:-1])} and {values[-1]}" for role, values in of_shop.items()}
    lost = [1 - quality(shop, role, d, "ivf") / quality(shop, role, d) for role in of_shop for d in sizes]
    indexed = {short(ms(shop, role, d, 1, "ivf"), 2) for role in of_shop for d in sizes}
    assert len(indexed) == 1, "a list with the index takes as long at every size"
    listed = [r.latency_ms for place, r in rows.items() if place[0] == small and place[3:] == (1, "exact")]
    for words in (
        f"keeps {quality(small, 'S', 32) / teacher:.0%}".replace("%", " %"), f"({short(quality(small, 'S', 32), 4)} of",
        f"of {short(teacher, 4)})", f"and {quality(small, 'S', 4) / teacher:.0%}".replace("%", " %") + " with 4",
        f"the student alone has {of_shop['S']} with", f"the distilled one {of_shop['RD-position']}",
        f"the teacher {short(quality(shop, 'T', 128), 4)}.", f"{ms(small, 'S', 4, 512):.1f} ms with 4 numbers",
        f"{ms(small, 'T', 64, 512):.1f} ms with 64", f"the teacher takes {short(ms(shop, 'T', 128), 2)} ms a list",
        f"a student {short(ms(shop, 'S', 4), 2)} ms with 4 numbers and {short(ms(shop, 'S', 32), 2)} ms with 32",
        f"takes {min(indexed)} ms at all these sizes and {short(ms(shop, 'T', 128, 1, 'ivf'), 2)} ms for the teacher",
        f"costs students {min(lost):.0%} to {max(lost):.0%} of".replace("%", "", 1).replace("%", " %"),
        f"takes {short(min(listed), 2)} to {short(max(listed), 2)} ms at every size",
        f"{ms(million, 'T', 64):.0f} ms with 64 numbers and {ms(million, 'S', 4):.1f} ms with 4",
        f"{ms(million, 'T', 64, 512) / 512:.1f} ms and {short(ms(million, 'S', 4, 512) / 512, 1)} ms a user",
        f"{short(ms(million, 'T', 64, 1, 'ivf'), 1)} ms and {short(ms(million, 'S', 4, 1, 'ivf'), 1)} ms",
        f"a student of 16 with an index answers in {short(ms(million, 'S', 16, 1, 'ivf'), 1)} ms",
    ):  # fmt: skip
        assert words in said, words
