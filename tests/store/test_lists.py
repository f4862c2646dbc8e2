"""Lists of a teacher from anywhere: three formats, what is counted and left out, and the way
back."""

import json
import lzma

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from rdcore.data import DataError, Interactions
from rdcore.data.queries import final_queries
from rdcore.datasets import synthetic
from rdcore.models import EASESettings
from rdcore.store.lists import read_lists, write_lists
from rdcore.store.steady import lists_hash, steady_lists

DATA = Interactions(
    "shop", np.array([0, 1, 2]), np.array([0, 1, 2, 3]), 5,
    user_ids=np.array(["ann", "bob", "cy"]), item_ids=np.array([10, 20, 30, 40, 50]),
)  # fmt: skip
# bob has a duplicate (40, worse the second time), a stranger, an unknown item; cy has no list.
ROWS = [
    ("ann", 20, 2, 0.5),
    ("ann", 30, 1, 0.9),
    ("bob", 40, 1, 3.0),
    ("bob", 40, 3, 1.0),
    ("bob", 10, 2, 2.0),
    ("bob", 99, 4, 0.1),
    ("zoe", 10, 1, 1.0),
    ("bob", 50, 5, -np.inf),
]
FRAME = pd.DataFrame(ROWS, columns=["user", "item", "rank", "score"])


def written(folder, kind: str):
    path = folder / f"lists.{kind}"
    if kind == "parquet":
        FRAME.to_parquet(path)
    elif kind == "run":
        lines = [f"{u} Q0 {i} {r} {s} mine" for u, i, r, s in ROWS]
        path.write_text("\n".join(lines) + "\n")
    else:
        FRAME.to_csv(path, sep={"csv": ",", "tsv": "\t"}[kind], index=False)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "run"])
def test_every_format_gives_the_same_lists_and_counts(tmp_path, kind):
    lists = read_lists(written(tmp_path, kind), DATA)
    assert lists.items.tolist() == [[2, 1], [3, 0], [5, 5]] and lists.items.dtype == np.int32
    np.testing.assert_allclose(lists.scores, [[0.9, 0.5], [3, 2], [np.nan, np.nan]])
    assert lists.confidence is None
    assert lists.counts == {
        "rows": 8, "unknown_users": 1, "unknown_items": 1, "without_score": 1, "duplicates": 1,
        "users_without": 1, "shortest": 2,
    }  # fmt: skip
    assert "unknown users: 1" in str(lists)


def test_columns_of_other_names_a_confidence_and_scores_alone(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("who,item_id,score,sure\nann,20,1,.5\nann,10,1,.25\nann,30,2,1\nbob,50,,1\n")
    lists = read_lists(path, DATA, columns={"user": "who", "confidence": "sure"})
    assert lists.items.tolist() == [[2, 1, 0], [5, 5, 5], [5, 5, 5]], "ties keep the file's order"
    assert lists.confidence[0].tolist() == [1, 0.5, 0.25] and lists.counts["without_score"] == 1


HEADERS = [
    "userId,movieId,Rank", "USER_ID,ParentAsin,rank", "qid,docid,rank", "user_id,item_id,rank,asin", "reviewerID,BookId,rank",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_usual_names_in_any_case_and_without_underscores(tmp_path, header):
    (tmp_path / "x.csv").write_text(f"{header}\nann,20,1{',x' * (header.count(',') - 2)}\n")
    assert read_lists(tmp_path / "x.csv", DATA).items[0].tolist() == [1]


@pytest.mark.parametrize(("first", "second", "fits"), [
    ("-2", "-2", True), ("-0.5", "-0.499996", True), ("0.5", "0.500004", True), ("-2", "-1.999", False), ("2", "2.001", False),
])  # fmt: skip
def test_scores_that_fall_with_the_rank_up_to_rounding(tmp_path, first, second, fits):
    """Also those below 0, such as logarithms of probabilities."""
    (tmp_path / "x.csv").write_text(f"user,item,rank,score\nann,20,1,{first}\nann,30,2,{second}\n")
    if fits:
        assert read_lists(tmp_path / "x.csv", DATA).items[0].tolist() == [1, 2]
    else:
        with pytest.raises(DataError, match=f"user ann: score {second} is higher than that of the rank before"):
            read_lists(tmp_path / "x.csv", DATA)


def test_the_shortest_list_is_counted_among_those_there_are(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,rank\nann,20,1\nann,30,2\nann,10,3\nbob,10,1\nbob,20,2\n")
    assert read_lists(tmp_path / "x.csv", DATA).counts["shortest"] == 2


@pytest.mark.parametrize(("name", "text", "items"), [
    ("x.csv", "user,item,rank\nann,20.0,2\nann,30.0,1\n", [2, 1]),  # pandas writes integers so, if one is missing
    ("X.CSV", "user,item,rank\nann,20,2\nann,30,1\n", [2, 1]), ("x.csv", "user, item, rank\nann, 20, 2\nann, 30, 1\n", [2, 1]),
    ("x.run", "ann Q0 20 1 .5 mine\nann Q0 30 1 .9 mine\nann Q0 40 1 .5 mine\n", [2, 1, 3]),  # trec_eval reads no ranks
    ("x.csv", "user,item,rank\nann,20,1\nann,30,0\n", [2, 1]),
])  # fmt: skip
def test_lists_as_programs_write_them(tmp_path, name, text, items):
    (tmp_path / name).write_text(text)
    assert read_lists(tmp_path / name, DATA).items[0].tolist() == items


def test_ids_of_text_are_compared_as_they_are(tmp_path):
    data = Interactions("x", np.array([0, 1]), np.array([0, 1, 2]), 2, user_ids=np.array([" a", "7.0"], dtype=object),
                        item_ids=np.array(["07", "7"], dtype=object))  # fmt: skip
    (tmp_path / "x.csv").write_text("user,item,rank\n a,07,1\n a,7,2\n7,7,1\n7.0,7.0,1\n7.0,7,2\n")
    lists = read_lists(tmp_path / "x.csv", data)
    assert lists.items.tolist() == [[0, 1], [1, 2]] and lists.counts["unknown_users"] == lists.counts["unknown_items"] == 1


def test_an_index_with_a_name_is_a_column(tmp_path):
    FRAME.set_index(["user", "item"]).to_parquet(tmp_path / "x.parquet")
    assert read_lists(tmp_path / "x.parquet", DATA).items.tolist() == [[2, 1], [3, 0], [5, 5]]


def test_a_teacher_of_lists_scores_what_they_name(tmp_path):
    queries = final_queries(DATA)
    teacher = read_lists(written(tmp_path, "csv"), DATA).teacher()
    scores = teacher.score_all(teacher.encode(queries))
    inf = -torch.inf
    expected = [[inf, 0.5, 0.9, inf, inf], [2, inf, inf, 3, inf], [inf] * 5]
    torch.testing.assert_close(scores, torch.tensor(expected))
    FRAME[["user", "item", "rank"]].to_csv(tmp_path / "ranks.csv", index=False)
    lists = read_lists(tmp_path / "ranks.csv", DATA)
    assert lists.items.tolist() == [[2, 1, 5], [3, 0, 4], [5, 5, 5]]
    scores = lists.teacher().score_all(torch.tensor([[1], [0]]))
    assert scores.tolist() == [[2, inf, inf, 3, 1], [inf, 2, 3, inf, inf]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,score\nann,1\n", r"x.csv has no column 'item' or 'item_id'"),
        ("user,item\nann,10\n", "neither a rank nor a score"),
        ("user,item,rank\nann,10,1\nann,20,first\n", "x.csv, line 3: rank 'first' is no finite number: mend .* row$"),
        ("user,item,rank\n\nann,10,\n", "x.csv, line 3: rank '' is no finite number"),
        ("user,item,score\nann,10,inf\n", "x.csv, line 2: score 'inf' is no .* the item that comes first needs a higher score"),
        ("user,item,score\nann,10,nan\nann,20,-inf\n", "all scores of .*without score: 2.*: has the teacher diverged"),
        ("user,item,score\nann,77,1\n", "no user and item .* users: 0, unknown items: 1, .* item '77' .the data have '10'"),
        ("user,item,score\nann,10,1e39\n", "x.csv, line 2: score '1e39' is no finite number"),
        ("user;item;rank\nann;10;1\n", "x.csv has one column, 'user;item;rank': separate the fields of a .csv file by commas"),
        ("user,item,rank\nann,10,1\nann,20,2,3\n", "cannot be read .*in line 3, saw 4.*: write it again, as .csv with commas"),
        ("", "x.csv cannot be read as lists"), ("user,item,rank\n", "x.csv has no rows"),
        ("user,user_id,item,rank\nann,bob,10,1\n", r"several columns that may be the user.*Python say which with columns=\{'u"),
        ("user,item,rank,rank\nann,10,1,2\n", "several columns that may be the rank"),
        ("user,item,rank,score\nann,10,1,.1\nann,20,2,.9\n", "user ann: score 0.9 is higher than that of the rank before"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_lists(tmp_path / "x.csv", DATA)


def test_a_line_of_tabs_is_a_row_of_a_tsv(tmp_path):
    (tmp_path / "x.tsv").write_text("user\titem\tscore\n\t\t\nann\t10\tinf\n")
    with pytest.raises(DataError, match="x.tsv, line 3: score 'inf'"):
        read_lists(tmp_path / "x.tsv", DATA)


def test_a_comma_in_a_quoted_name_is_no_space_behind_commas(tmp_path):
    (tmp_path / "x.csv").write_text('user,item,rank,"score, of it"\n ann,10,1,2\nann,20,1,2\n')
    assert read_lists(tmp_path / "x.csv", DATA).counts["unknown_users"] == 1


def test_a_trec_run_has_no_header_that_counts_as_a_line(tmp_path):
    (tmp_path / "x.run").write_text("ann Q0 10 1 .5 mine\n\nann Q0 20 second .4 mine\n")
    with pytest.raises(DataError, match="x.run, line 3: rank 'second'"):
        read_lists(tmp_path / "x.run", DATA)


def test_a_confidence_may_be_empty(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,rank,confidence\nann,20,1,\nann,30,2,.5\n")
    np.testing.assert_array_equal(read_lists(tmp_path / "x.csv", DATA).confidence[0], [np.nan, 0.5])


def test_other_wrong_calls(tmp_path):
    (tmp_path / "x.run").write_text("ann 10 1\n")
    with pytest.raises(DataError, match="has 3 columns; a TREC run has 6"):
        read_lists(tmp_path / "x.run", DATA)
    with pytest.raises(DataError, match="columns must be among"):
        read_lists(written(tmp_path, "csv"), DATA, columns={"place": "rank"})
    with pytest.raises(DataError, match="has no column 'points'"):
        read_lists(written(tmp_path, "csv"), DATA, columns={"score": "points"})
    with pytest.raises(DataError, match="nothing.csv does not exist"):
        read_lists(tmp_path / "nothing.csv", DATA)
    (tmp_path / "x.parquet").write_bytes(b"user")
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe")
    for name in ("x.parquet", "x.tsv"):
        with pytest.raises(DataError, match=f"{name} cannot be read as lists"):
            read_lists(tmp_path / name, DATA)
    FRAME.to_parquet(tmp_path / "x.pq")
    FRAME.groupby("user", as_index=False).agg(list).to_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.csv.xz").write_bytes(lzma.compress(b"user,item,rank\n")[:-9] + bytes(9))
    for name, message in (("x.pq", "is a Parquet file: name it .parquet"), ("x.csv.xz", "cannot be read as lists"),
                          ("x.parquet", "row 0: rank a list .frame.explode of pandas gives every item a row.")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            read_lists(tmp_path / name, DATA)
    with pytest.raises(DataError, match=r"frame.to_parquet\('lists.parquet'\)"):
        read_lists(FRAME, DATA)
    with pytest.raises(ValueError, match="give Interactions, not a DataFrame"):
        read_lists(written(tmp_path, "csv"), FRAME)
    with pytest.raises(ValueError, match="k must be an integer >= 1, got 0"):
        write_lists(tmp_path / "x.parquet", EASESettings().fit(DATA), DATA, k=0, licence="", command="")
    with pytest.raises(ValueError, match="name the file .parquet"):
        write_lists(tmp_path / "x.csv", EASESettings().fit(DATA), DATA, licence="", command="")


def test_ids_that_became_floats_are_those_of_the_data_and_packed_lists_are_read(tmp_path):
    FRAME.astype({"item": float}).to_parquet(tmp_path / "x.parquet")
    FRAME.to_csv(tmp_path / "x.csv.gz", index=False)
    for name in ("x.parquet", "x.csv.gz"):
        lists = read_lists(tmp_path / name, DATA)
        assert lists.items.tolist() == [[2, 1], [3, 0], [5, 5]] and lists.counts["unknown_items"] == 1
    FRAME.astype({"item": float}).replace({"item": {99.0: 2.0**60}}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="column 'item' has the float 1.15.*in row 5"):
        read_lists(tmp_path / "x.parquet", DATA)


@pytest.mark.parametrize("labels", [
    [2**70, 5, 7], np.array([2**64 - 1, 5, 7], dtype=np.uint64), list(pd.period_range("2020-01", periods=3, freq="M")),
    [b"a", b"b", b"c"],
])  # fmt: skip
def test_labels_of_any_kind_find_back(tmp_path, labels):
    labels = labels if isinstance(labels, np.ndarray) else np.array(labels, dtype=object)
    data = Interactions("x", DATA.items, DATA.offsets, 5, user_ids=labels)
    write_lists(tmp_path / "x.parquet", EASESettings().fit(data), data, k=2, licence="", command="")
    counts = read_lists(tmp_path / "x.parquet", data).counts
    assert counts["unknown_users"] == counts["users_without"] == 0


def test_what_is_written_is_read_again(tmp_path):
    fit = synthetic.generate(n_users=20, n_items=15, min_length=4, max_length=13, seed=1)
    model = EASESettings(lam=5.0).fit(fit)
    path = tmp_path / "lists.parquet"
    digest = write_lists(path, model, fit, k=12, licence="made up", command="rdcore teach")
    expected = steady_lists(model, fit, 12)
    about = json.loads(pq.read_schema(path).metadata[b"rdcore"])
    assert digest == about["hash"] == lists_hash(expected)
    assert about["licence"] == "made up" and about["data_hash"] == fit.sha256() and about["k"] == 12
    lists = read_lists(path, fit)
    width = lists.items.shape[1]
    assert (lists.items == expected[:, :width]).all() and (expected[:, width:] == 15).all()
    scores = model.score_all(model.encode(final_queries(fit))).numpy()
    named = lists.items < 15
    found = np.take_along_axis(scores, np.minimum(lists.items, 14), 1)
    assert (found[named] == lists.scores[named]).all()
    assert lists.counts["unknown_users"] == lists.counts["duplicates"] == 0


def test_written_ranks_begin_with_1_and_every_users_scores_are_the_models(tmp_path):
    """More users than are asked at once."""
    fit = synthetic.generate(n_users=260, n_items=12, min_length=4, max_length=9, seed=1)
    model, path = EASESettings(lam=5.0).fit(fit), tmp_path / "lists.parquet"
    write_lists(path, model, fit, k=3, licence="made up", command="rdcore teach KEY lists.parquet")
    table = pd.read_parquet(path)
    assert table.columns.tolist() == ["user", "item", "rank", "score"]
    assert table.groupby("user")["rank"].agg(list).tolist() == [[1, 2, 3]] * 260
    scores = model.score_all(model.encode(final_queries(fit))).numpy()
    assert table["score"].tolist() == scores[table["user"], table["item"]].tolist()
    assert json.loads(pq.read_schema(path).metadata[b"rdcore"])["command"] == "rdcore teach KEY lists.parquet"
