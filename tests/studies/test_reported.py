"""The transcribed numbers hold together: complete, in range, and consistent with one another."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rdcore.eval.metrics import CUTOFFS
from studies.common.reported import reported

KEY = ["dataset", "model", "role", "metric"]
DATASETS = {"gowalla", "foursquare"}


def wide(table):
    """One row a method, one column a metric."""
    return reported(table).pivot(index=["dataset", "model", "role"], columns="metric", values="value")


@pytest.mark.parametrize(("table", "rows"), [("rd_table1", 10), ("rd_table2", 126), ("rd_table3", 28), ("rd_table4", 24)])
def test_tables_are_complete(table, rows):
    numbers = reported(table)
    key = KEY if "metric" in numbers else ["dataset", "model", "role", "device", "quantity"]
    assert len(numbers) == rows and not numbers.duplicated(key).any()
    assert set(numbers["dataset"]) == DATASETS
    assert set(numbers["table"]) == {int(table[-1])}
    assert set(numbers["trust"]) <= {"poster", "notes", "doubtful"}
    assert numbers["value"].dtype == float and (numbers["value"] > 0).all()


@pytest.mark.parametrize("table", ["rd_table2", "rd_table4"])
def test_metrics_lie_between_0_and_1(table):
    assert reported(table)["value"].between(0, 1).all()


def test_figure_6_is_in_words_a_range_of_alpha():
    figure = reported("rd_figure6")
    assert set(figure["trust"]) == {"notes"} and figure["value"].between(0, 1).all()
    alpha = figure.groupby("quantity")["value"].agg(list)
    assert alpha["bad_alpha"] == [0, 1] and 0 < alpha["best_alpha_from"][0] < alpha["best_alpha_to"][0] < 1


def test_no_notebook_has_a_number_of_a_paper_in_its_prose():
    """It is read from data/reported; 95 % belongs to intervals. Tables say what a protocol is, with its source."""
    for file in sorted((Path(__file__).parents[2] / "notebooks").glob("*.py")):
        cells = file.read_text(encoding="utf-8").split("\n# %%")
        prose = [re.sub(r"\n# \|.*", "", cell).replace("\n#", "") for cell in cells if cell.startswith(" [markdown]")]
        for sentence in (one for cell in prose for one in re.split(r"(?<=[.:;?])\s", cell)):
            if re.search(r"\bpapers?\b|\bauthors\b", sentence):
                numbers = re.findall(r"(?<![\w.])\d*\.\d+M?\b|\d+ %", sentence)
                assert set(numbers) <= {"95 %"}, f"{file.name}: {sentence}"


def test_hybrid_row_of_table_4_is_the_caser_rd_row_of_table_2():
    for dataset in DATASETS:
        hybrid = wide("rd_table4").loc[(dataset, "Caser", "RD-hybrid")]
        assert hybrid.to_dict() == wide("rd_table2").loc[(dataset, "Caser", "RD"), hybrid.index].to_dict()


def test_the_papers_order_of_methods():
    """Distilled above student, on every metric; above the other weightings, on every metric of Table 4."""
    table = wide("rd_table2")
    for dataset in DATASETS:
        for model in ("Fossil", "Caser"):
            assert (table.loc[(dataset, model, "RD")] > table.loc[(dataset, model, "S")]).all()
        weightings = wide("rd_table4").loc[(dataset, "Caser")]
        assert (weightings.idxmax() == "RD-hybrid").all()


def test_half_the_gap_between_teacher_and_student_is_the_margin_of_the_no_loss_test():
    table = wide("rd_table2")["MAP"].loc["gowalla"]
    assert (table["Caser", "T"] - table["Caser", "S"]) / 2 == pytest.approx(0.0020, abs=6e-5)
    assert (table["Fossil", "T"] - table["Fossil", "S"]) / 2 == pytest.approx(0.0037, abs=6e-5)


def test_more_places_hold_no_fewer_hits():
    table = wide("rd_table2")
    hits = np.stack([table[f"P@{n}"] * n for n in CUTOFFS])
    assert (np.diff(hits, axis=0) > 0).all()


def test_one_ndcg_of_popularity_is_impossible_and_marked():
    """Gowalla's users have 3 targets or more, so with at most one hit each nDCG@3 <= 3 P@3 / DCG of 3 hits."""
    popularity = wide("rd_table2").loc[("gowalla", "POP", "baseline")]
    assert popularity["nDCG@3"] > 3 * popularity["P@3"] / (1 + 1 / np.log2(3) + 1 / 2)
    numbers = reported("rd_table2")
    doubtful = numbers[numbers["trust"] == "doubtful"]
    assert doubtful[KEY].to_numpy().tolist() == [["gowalla", "POP", "baseline", "nDCG@3"]]


def test_ratios_of_table_3_follow_from_its_parameters():
    table = reported("rd_table3").pivot(index=["dataset", "model"], columns=["role", "device", "quantity"], values="value")
    ratio = table["RD", "", "parameters"] / table["T", "", "parameters"]
    np.testing.assert_allclose(ratio, table["RD", "", "parameter_ratio"], atol=6e-4)
    for device in ("cpu", "gpu"):
        assert (table["RD", device, "seconds"] < table["T", device, "seconds"]).all()


def test_sparsity_of_table_1_follows_from_its_counts():
    table = reported("rd_table1").pivot(index="dataset", columns="metric", values="value")
    np.testing.assert_allclose(1 - table["actions_per_user"] / table["items"], table["sparsity"], atol=6e-5)


DERRD = {"derrd_table2": 252, "derrd_table3": 36, "derrd_table4": 56, "derrd_table5": 32, "derrd_logs": 56}


@pytest.mark.parametrize(("table", "rows"), DERRD.items())
def test_tables_of_derrd_are_complete(table, rows):
    numbers = reported(table)
    columns = [name for name in numbers.columns if name not in ("value", "source", "trust", "table")]
    assert len(numbers) == rows and not numbers.duplicated(columns).any()
    assert set(numbers["trust"]) <= ({"log"} if table == "derrd_logs" else {"notes", "doubtful"})
    assert numbers["value"].dtype == float and (numbers["value"] > 0).all()
    shares = numbers[numbers["metric"].str.fullmatch("[HMN]@(5|10|20)")] if "metric" in numbers else numbers.iloc[:0]
    assert shares["value"].between(0, 1).all()


def test_derrd_metrics_do_not_fall_with_n_but_for_one_marked_number():
    table = wide("derrd_table2")
    falls = [(*row, f"{metric}@{n}") for metric in "HMN" for less, n in ((5, 10), (10, 20))
             for row in table.index[table[f"{metric}@{n}"] <= table[f"{metric}@{less}"]]]  # fmt: skip
    assert falls == [("foursquare", "BPR", "CD", "N@10")]
    numbers = reported("derrd_table2")
    assert numbers[numbers["trust"] == "doubtful"][KEY].to_numpy().tolist() == [list(falls[0])]


def test_derrd_tables_4_and_5_repeat_rows_of_table_2():
    second, fourth = wide("derrd_table2"), wide("derrd_table4")
    fifth = reported("derrd_table5").groupby("model")["value"].max()
    for model in ("BPR", "NeuMF"):
        assert fifth[model] == second.loc[("foursquare", model, "DE-RRD"), "H@5"]
        for role in ("DE", "RRD"):
            row = fourth.loc[("foursquare", model, role)]
            assert row.to_dict() == second.loc[("foursquare", model, role), row.index].to_dict()


def test_derrd_parameters_follow_from_users_items_and_sizes():
    table = reported("derrd_table3").query("quantity == 'parameters'").set_index(["dataset", "model", "phi"])["value"]
    for dataset, entities in (("citeulike", 5220 + 25182), ("foursquare", 19466 + 28594)):
        for phi, bpr, neumf in ((1.0, 200, 250), (0.5, 100, 125), (0.1, 20, 25)):
            assert abs(table[dataset, "BPR", phi] - bpr * entities) <= 5000
            assert abs(table[dataset, "NeuMF", phi] - (2 * neumf * entities + 2 * neumf**2 + 3 * neumf + 1)) <= 5000


def test_numbers_of_later_models_are_each_there_once_and_say_after_how_many_epochs():
    numbers = reported("models")
    assert len(numbers) == 12 and not numbers.duplicated(["dataset", "model", "metric", "epochs"]).any()
    assert numbers["value"].between(0, 1).all() and set(numbers["trust"]) == {"leaderboard", "quoted", "log", "readme"}
    of = numbers.groupby("model")["epochs"].agg(set)
    assert of.to_dict() == {"EASE": {""}, "GF-CF": {""}, "LightGCN": {"5", "1000"}, "SASRec-ce": {"chosen"}}
    early, late = (numbers[numbers["epochs"] == epochs].set_index("metric")["value"] for epochs in ("5", "1000"))
    assert (early < late).all() and (numbers.loc[numbers["epochs"] == "5", "trust"] == "log").all()


def test_an_unknown_table_names_those_that_exist():
    with pytest.raises(ValueError, match="no reported table 'rd_table9'.*rd_table1"):
        reported("rd_table9")
