"""`rdcore distil` and `rdcore teach` on small made-up data, and the formats that people have."""

import argparse
import bz2
import errno
import gzip
import html
import lzma
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rdcore
from rdcore.data import DataError, Interactions, stage
from rdcore.data.queries import final_queries
from rdcore.datasets import synthetic
from rdcore.files.disk import writing
from rdcore.models import BPRMFSettings, CaserSettings, EASESettings
from rdcore.models.base import has_hints, scores_single_items
from rdcore.store.lists import read_lists, write_lists
from rdcore.train.loop import Training
from studies import cli
from studies.distil import command, distil, results, teachers, whole
from studies.distil import plan as plans
from studies.distil.plan import FROM_LISTS, FROM_SCORES, FROM_VECTORS, METHODS, Plan, carry_out
from studies.distil.tables import read_clicks
from studies.distil.teachers import given

QUICK = {"epochs": 1, "dim": 2, "teacher_dim": 3, "weights": (0.1,), "seeds": 1}
WORDS = "--teacher bpr --epochs 1 --dim 2 --teacher-dim 3 --weights 0.1 --seeds 1 --jobs 1".split()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    clicks = synthetic.generate(n_users=40, n_items=30, min_length=8, max_length=15, seed=1)
    users = np.repeat(np.arange(40), clicks.counts())
    return pd.DataFrame({
        "who": [f"u{user}" for user in users], "what": clicks.items + 1000, "when": clicks.positions() + 10**9,
    })  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------- formats

ROWS = "196,242,3,881250949\n186,302,3,891717742\n196,377,1,881250950\n"


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ROWS.replace(",", "\t"), ()),
        ("ratings.csv", "userId,movieId,rating,timestamp\n" + ROWS, ()),
        ("ratings.dat", ROWS.replace(",", "::"), ("1", "2", "4")),
        ("amazon.csv", ROWS, ("1", "2", "4")),
        ("u.data", ROWS.replace(",", "\t"), ("1", "2", "4")),
        ("All_Beauty.csv", "user_id,parent_asin,rating,timestamp\n" + ROWS, ()),
        ("other.tsv", "who\twhat\tx\twhen it was\n" + ROWS.replace(",", "\t"), ("who", "what", "when it was")),
    ],
)
def test_formats_as_they_come(tmp_path, name, text, columns):
    (tmp_path / name).write_text(text)
    clicks, rows, _ = read_clicks(tmp_path / name, *columns, min_actions=1)
    assert rows == 3 and clicks.user_ids.tolist() == [186, 196] and clicks.item_ids.tolist() == [242, 302, 377]
    assert clicks.items.tolist() == [1, 0, 2] and clicks.times is not None


HEAD = "user,item,time\n"


def made_of(folder, content, name="x.csv"):
    """The interactions of a file with this content."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_clicks(folder / name, min_actions=1)[0]


@pytest.mark.parametrize(("ids", "kept"), [
    (["007", "7", "07"], ["007", "07", "7"]), (["1", "20", "3"], [1, 3, 20]), (["1.0", "2.0"], [1, 2]),
    (["1.10", "1.1"], ["1.1", "1.10"]), (["90000000000000001", "90000000000000002"], [90000000000000001, 90000000000000002]),
    (["99999999999999999999", "1"], ["1", "99999999999999999999"]), (["12", "1e5", "x"], ["12", "1e5", "x"]),
    (["True", "False"], ["False", "True"]), (['"a, b"', '" a"'], [" a", "a, b"]), (["0x1f", "31"], ["0x1f", "31"]),
])  # fmt: skip
def test_ids_of_a_file_stay_what_they_are(tmp_path, ids, kept):
    assert made_of(tmp_path, HEAD + "".join(f"{one},5,{place}\n" for place, one in enumerate(ids))).user_ids.tolist() == kept


@pytest.mark.parametrize("form", [
    bytes, gzip.compress, bz2.compress, lzma.compress, lambda text: text.replace(b"\n", b"\r\n"),
    lambda text: b"\xef\xbb\xbf" + text,
    lambda text: text.replace(b",", b", "), lambda text: text.replace(b",", b"|"), lambda text: text.replace(b",", b";"),
    lambda text: re.sub(rb"\w+", rb'"\g<0>"', text),
    lambda text: text.replace(b"\n", b",,\n"), lambda text: text.replace(b"\n", b",note,note\n"),  # not asked for
])  # fmt: skip
def test_one_table_in_every_dress(tmp_path, form):
    content = form(f"user,item,rating,time\n{ROWS}".encode())
    mine = made_of(tmp_path, content, "my clicks \u00fc.csv")  # known by its content, not by its name
    assert mine.user_ids.tolist() == [186, 196] and mine.items.tolist() == [1, 0, 2] and mine.name == "my clicks \u00fc"


@pytest.mark.parametrize(("content", "message"), [
    (gzip.compress((HEAD + "1,2,3\n" * 999).encode(), mtime=0)[:40], r"x.csv is cut off or damaged .*: bring it again"),
    (b"PK\x03\x04rest", "x.csv is a ZIP archive: unpack it"), (b"PAR1", "x.csv is a Parquet file: name it .parquet"),
    (b'{"user": 1}', "x.csv is JSON: pandas.read_json"),
    ("0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847\n" * 2, r"it has \[1: '0', 2: '2010-10-19T.*give numbers: --user N"),
    ("caf\u00e9,item,time\n1,2,3\n".encode("latin-1"), "x.csv, line 1 is no UTF-8 text: .*`iconv -f latin1 -t utf-8 x.csv"),
    (HEAD.encode() + b"1,2,3\nStra\xdfe,4,5\n", "x.csv, line 3 is no UTF-8 text"),
    (HEAD.encode("utf-16"), "x.csv, line 1 is no UTF-8 text: .*`iconv -f utf-16 "),
    (HEAD, "x.csv has the names of columns and no rows: add the rows"),
    (HEAD + '1,2,3\n1,"4,5\n', "EOF inside string .*: mend this line, such as a quote that is not closed"),
    ("user,item,when it was\n1,2,3\n", r"fields separated by ',' .else give --sep.: name it with --time"),
    (HEAD + "1,2,07.11.1997\n", "has '07.11.1997' in line 2, .*: say how dates are written, such as --time-format .%d.%m.%Y"),
    ("user,item,time,user\n1,2,3,1\n", "x.csv has 2 columns named 'user'"),
    (HEAD + "1,2,3,\n1,3,4,\n", "x.csv, line 2 has 4 fields, and those before it 3, separated by ',' "),
    (HEAD + "1,2,3\n1,4,soon\n", "has 'soon' in line 3, which is no number, as the others are"),
    (HEAD + "1,2,2020-01-01\n1,4,soon\n", "has 'soon' in line 3, which is no ISO date"),
    (HEAD + "1,2,3\nNA,4,5\n", "x.csv, line 3: column 'user' is empty or says NA"), (HEAD + "1,\0,3\n", "empty text is no id"),
    (HEAD + "9e+16,2,3\n9e+16,3,4\n", "the text of a float '9e[+]16' in line 2"),
    ("1,2,3\n1,3,4\n", r"it has \[1: '1', 2: '2', 3: '3'\].*, if the file has no header line, give numbers: --user N"),
])  # fmt: skip
def test_what_cannot_be_read_is_named_by_file_line_and_value(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        made_of(tmp_path, content)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_packed_file_is_named(tmp_path, pack):
    content = bytearray(pack(b"".join(b"%d,%d,%d\n" % (k % 7, k * k % 1009, k) for k in range(9000))))
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match="x.csv.*: (bring it again|mend this line)"):
        read_clicks(tmp_path / "x.csv", "1", "2", "3", min_actions=1)


def test_numbers_of_columns_are_for_files_without_a_header(tmp_path):
    (tmp_path / "x.csv").write_text(HEAD + "1,2,3\n")
    with pytest.raises(DataError, match="x.csv, line 1: 'user' is the name of a column: give names, such as --user user"):
        read_clicks(tmp_path / "x.csv", "1", "2", "none")
    (tmp_path / "x.csv").write_text("u,i,t\n1,2,3\n")
    with pytest.raises(DataError, match="x.csv, line 1: 't' is the name of a column: give names, such as --user u"):
        read_clicks(tmp_path / "x.csv", "1", "2", "3")
    (tmp_path / "x.csv").write_text("u,i,t\n1,2,31.01.2020\n")
    with pytest.raises(DataError, match="x.csv, line 1: 't' is the name of a column"):
        read_clicks(tmp_path / "x.csv", "1", "2", "3", time_format="%d.%m.%Y")


@pytest.mark.parametrize(("header", "row", "user"), [
    ("user,item,r,time,title;year", "7,8,9,10,a;b", 7), ('user,"item, of; all",time', '"a;b, c","x, y",1', "a;b, c"),
    ('"user; or, not",item,time', '" a",8,9', " a"), ("user;item;time", "1,5;2;3", "1,5"), ("user  item  time", "7   8 9", 7),
    ("user\titem\ttime of, it", "a b\t2\t3", "a b"), ("user, item, time", '7, "8, 9", 10', 7),
])  # fmt: skip
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_the_separator_is_the_one_that_counts_alike_in_all_lines(tmp_path, header, row, user, bom):
    (tmp_path / "x.csv").write_text(f"{bom}{header}\n{row}\n", encoding="utf-8")
    names = [name for name in ("user; or, not", "item, of; all", "time of, it") if name in header]
    given = {name[:4]: name for name in names}
    assert read_clicks(tmp_path / "x.csv", **given, min_actions=1).clicks.user_ids.tolist() == [user]


def test_a_separator_that_is_given_counts(tmp_path):
    (tmp_path / "x.csv").write_text("user,x|item,x|time\n1,2|3,4|5\n")
    assert read_clicks(tmp_path / "x.csv", "user,x", "item,x", sep="|", min_actions=1).clicks.user_ids.tolist() == ["1,2"]
    (tmp_path / "x.csv").write_text("user\titem\ttime, or\n1\t2\t3\n")
    for sep in ("tab", "\\t"):
        assert read_clicks(tmp_path / "x.csv", time="time, or", sep=sep, min_actions=1).rows == 1
    with pytest.raises(DataError, match="fields separated by ';'"):
        read_clicks(tmp_path / "x.csv", sep=";")
    with pytest.raises(DataError, match="--sep is empty"):
        read_clicks(tmp_path / "x.csv", sep="")


def test_dates_of_another_form(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,time\n1,2,07.11.1997 07:18:36\n1,3,31.10.1997 21:16:53\n")
    german, how = "%d.%m.%Y %H:%M:%S", {"min_actions": 1}
    clicks = read_clicks(tmp_path / "x.csv", time_format=german, **how).clicks
    assert clicks.item_ids[clicks.items].tolist() == [3, 2] and clicks.times.tolist() == [878332613, 878887116]
    pd.read_csv(tmp_path / "x.csv").to_parquet(tmp_path / "x.parquet")
    assert read_clicks(tmp_path / "x.parquet", time_format=german, **how).clicks.times.tolist() == clicks.times.tolist()
    (tmp_path / "y.csv").write_text("user,item,time\n1,2,07111997\n1,3,31101997\n")  # no number
    assert read_clicks(tmp_path / "y.csv", time_format="%d%m%Y", **how).clicks.times.tolist() == [878256000, 878860800]
    for form, said in (
        ("%d.%m.%Y", "x.csv, line 2: column 'time' has '07.11.1997 07:18:36', which is not written as"),
        ("%m.%d.%Y %H:%M:%S", "x.csv, line 3: column 'time' has '31.10.1997 21:16:53'"),
        ("mixed", "--time-format 'mixed' is no form of dates .it has no %.: write it as in"), ("%Q", "is no form of dates"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            read_clicks(tmp_path / "x.csv", time_format=form, **how)


def test_amazon_with_dates(tmp_path):
    rows = "reviewerID,asin,overall,reviewTime\nA1,B2,5.0,2011-08-04\nA1,B7,4.0,2010-01-31\n"
    (tmp_path / "reviews.csv").write_text(rows)
    clicks = read_clicks(tmp_path / "reviews.csv", time="reviewTime", min_actions=1).clicks
    assert clicks.item_ids[clicks.items].tolist() == ["B7", "B2"]


def test_check_ins_as_snap_has_them(tmp_path):
    rows = "0\t2010-10-19T23:55:27Z\t30.23\t-97.79\t22847\n0\t2010-10-18T22:17:43Z\t30.26\t-97.76\t420315\n"
    with gzip.open(tmp_path / "checkins.txt.gz", "wt") as file:
        file.write(rows)
    clicks = read_clicks(tmp_path / "checkins.txt.gz", "1", "5", "2", min_actions=1).clicks
    assert clicks.item_ids[clicks.items].tolist() == [420315, 22847]


def test_an_index_with_a_name_is_a_column_of_parquet(tmp_path, frame):
    frame.set_index(["who", "what"]).to_parquet(tmp_path / "x.parquet")
    clicks = read_clicks(tmp_path / "x.parquet", "who", "what", "when").clicks
    assert clicks.user_ids.tolist() == sorted(frame["who"].unique())


def test_parquet_and_no_times(tmp_path, frame):
    frame.to_parquet(tmp_path / "x.parquet")
    clicks, rows, _ = read_clicks(tmp_path / "x.parquet", "who", "what", "none")
    assert rows == len(frame) and clicks.times is None


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", (), "x.csv is empty: give the path"),
        ("\nuser,item,time\n", (), "x.csv, line 1 is empty"),
        ("user,item,time\n1,2,3\n1,2,3,4\n", (), "x.csv, line 3 has 4 fields, and .*: mend this line"),
        ("user,thing,time\n1,2,3\n", (), r"x.csv: no column has a usual name of the item"),
        ("user,item,time,date\n1,2,3,4\n", (), "several columns may be the time.*--time"),
        ("user,item,time\n1,2,3\n", ("customer",), "no column 'customer'.*--user"),
        ("1,2,3\n", ("1", "2"), "--time is missing"),
        ("user,item,time\n1,2,3\n1,,3\n", (), "x.csv, line 3: column 'item' is empty"),
        ("1,2,3\n1,2,\n", ("1", "2", "3"), "x.csv, line 2: column '3' is empty"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, text, columns, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_clicks(tmp_path / "x.csv", *columns)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="is no file"):
        read_clicks(tmp_path / "nothing.csv")


# ---------------------------------------------------------------------------------------------------------------- ratings

STARS = "userId,movieId,rating,timestamp\n" + "".join(f"{k},{k % 3},{k % 5 + 1},{k}\n" for k in range(20))


def test_a_column_of_ratings_is_told(tmp_path):
    (tmp_path / "x.csv").write_text(STARS)
    (tmp_path / "u.data").write_text(STARS.split("\n", 1)[1])
    pd.read_csv(tmp_path / "x.csv").to_parquet(tmp_path / "x.parquet")
    for name, columns, option in (
        ("x.csv", (), "give --min-rating 4,"), ("x.parquet", (), "give --min-rating 4,"),
        ("u.data", "124", "give --rating 3 --min-rating 4,"),
    ):  # fmt: skip
        read = read_clicks(tmp_path / name, *columns, min_actions=1)
        assert len(read.notes) == 1 and option in read.notes[0] and "(1 to 5)" in read.notes[0] and len(read.clicks) == 20


@pytest.mark.parametrize("text", [
    STARS.replace("rating", "price"), re.sub(r"(?<=,)\d(?=,\d+\n)", "1", STARS),  # another name; all the same
    re.sub(r"(?<=,)\d(?=,\d+\n)", r"-\g<0>", STARS),  # below 0
    STARS.replace("movieId,rating", "x,item").replace("timestamp", "time"), re.sub(r"(\d)(?=,\d+\n)", r"\1*", STARS),
])  # fmt: skip
def test_what_is_no_rating(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    assert read_clicks(tmp_path / "x.csv", min_actions=1).notes == []


def test_ratings_in_the_place_of_times_are_asked_about(tmp_path):
    rows = "".join(f"{k % 20},{k},{k % 5 + 1},{10**9 + k}\n" for k in range(2000))
    (tmp_path / "u.csv").write_text(rows)
    asked = [read_clicks(tmp_path / "u.csv", "1", "2", time, min_actions=1).notes for time in "34"]
    assert asked[0] == ["Column '3', which says when, holds nothing but small numbers, as ratings do: is it the right one?"]
    assert "looks like ratings" in asked[1][0] and len(asked[1]) == 1


@pytest.mark.parametrize("other", ["0\t{}\t40.5\t{}", "0\t{}\t1\t{}", "0\t{}\t77\t{}"])
def test_other_numbers_without_a_header_are_no_ratings(tmp_path, other):
    (tmp_path / "x.tsv").write_text("\n".join(other.format(k, k) for k in range(9)))
    assert read_clicks(tmp_path / "x.tsv", "1", "2", "4", min_actions=1).notes == []


def test_low_ratings_are_left_out(tmp_path):
    (tmp_path / "x.csv").write_text(STARS)
    (tmp_path / "u.data").write_text(STARS.split("\n", 1)[1])
    pd.read_csv(tmp_path / "x.csv").rename(columns={"rating": "how good"}).to_parquet(tmp_path / "x.parquet")
    for name, columns, rating in (("x.csv", (), None), ("u.data", "124", "3"), ("x.parquet", (), "how good")):
        clicks, rows, notes = read_clicks(tmp_path / name, *columns, rating=rating, min_rating=4, min_actions=1)
        assert rows == 20 and clicks.user_ids.tolist() == [3, 4, 8, 9, 13, 14, 18, 19]
        assert notes == [f"Only rows with at least 4 in {rating or 'rating'!r} count: 8 of 20."]


@pytest.mark.parametrize(("text", "how", "message"), [
    (STARS, {"min_rating": 9}, "no row has 9 or more in column 'rating', but at most 5: lower --min-rating"),
    (STARS, {"rating": "rating"}, "--rating rating does nothing alone: add --min-rating"),
    (STARS.replace("rating", "price"), {"min_rating": 4}, "no column has a usual name of the rating; .*name it with --rating"),
    (STARS.replace(",1,0\n", ",good,0\n"), {"min_rating": 4}, "but column 'rating' has 'good' in line 2: mend it"),
])  # fmt: skip
def test_ratings_that_cannot_be_used(tmp_path, text, how, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_clicks(tmp_path / "x.csv", min_actions=1, **how)


# ------------------------------------------------------------------------------------------------------------ the command


def test_the_command_writes_everything_and_goes_on(tmp_path, frame, capsys, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "elsewhere"))
    source, out = tmp_path / "clicks.csv", tmp_path / "shop"
    frame.assign(stars=frame["what"] % 5).to_csv(source, index=False)
    words = ["distil", str(source), "--user", "who", "--item", "what", "--time", "when", "--out", str(out), *WORDS]
    assert cli.main(words) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert told.count("note: Column 'stars' looks like ratings (0 to 4)") == 1 and "note: One seed is too few" in told
    assert "Column &#39;stars&#39; looks like ratings" in (out / "report.html").read_text()
    files = ["report.html", "serve.py", "student.npz", "student.onnx", "student.onnx.data", "table.csv"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*files, "runs"])
    assert sorted(line.split("/")[-1] for line in told.splitlines() if line.startswith("written: ")) == files
    assert not (tmp_path / "elsewhere").exists() and os.environ["RDCORE_RUNS"] == str(tmp_path / "elsewhere")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2 and "distilled student" in page
    _, quality, size, learn, tried, split, _, made = page.split("<h2>")
    assert "<h1>A distilled recommender</h1>" in page and "<p>Data: clicks.csv. Teacher: BPR-MF" in page
    assert "left out: repeated rows, users" in split
    for line in (f"rdcore distil {source}", "--batch-size 512 --learning-rate 0.005", "--epochs 1",
                 teachers.file_hash(source), f"torch {torch.__version__}", " UTC<"):  # fmt: skip
        assert line in made
    assert quality.count("most popular items") == size.count("most popular items") + 1 == 2  # in the picture, too
    assert quality.count("distilled minus alone") == 2 and re.search(r"alone</td>[^+-]*[+-][\d.]{6}\s*<br><small>[+-]", quality)
    ticks = re.findall(r">([\d.]+)</text>", learn)
    assert "stroke-dasharray" not in learn and ticks[0] == "1" and float(ticks[1]) < 1, "one epoch: marks, and no line"
    assert not re.search(r'(?:src|href)="http|@import|<script', page), "the page asks nobody for anything"
    table = pd.read_csv(out / "table.csv", index_col="role")
    assert table.index.tolist() == ["POP", "T", "S", "D"] and table.loc["POP", "bytes"] == 4 * 30
    assert table.loc["D", "bytes"] < table.loc["T", "bytes"]
    assert ((table["MAP low"] <= table["MAP"]) & (table["MAP"] <= table["MAP high"])).all()
    done = {run: (run / "DONE").stat().st_mtime_ns for run in (out / "runs").iterdir() if run.is_dir()}
    assert len(done) == 6 and cli.main(words) == 0
    assert done == {run: (run / "DONE").stat().st_mtime_ns for run in done}, "nothing is trained twice"
    served = subprocess.run([sys.executable, out / "serve.py", "u3"], capture_output=True, text=True)
    mine = set(frame.loc[frame["who"] == "u3", "what"])
    lines = [line.split("\t") for line in served.stdout.splitlines()]
    assert len(lines) == 10 and not {int(item) for _, item, _ in lines} & mine, served.stderr
    stranger = subprocess.run([sys.executable, out / "serve.py", "zoe"], capture_output=True, text=True)
    assert stranger.returncode == 1 and "are left out" in stranger.stderr
    assert "there is no user 'zoe': take a label of your data, such as 'u" in stranger.stderr


def test_the_command_on_the_page_says_all_that_counts(tmp_path):
    given = ["a file.csv", "--min-rating", "-1", "--user=-x", "--weights", "0.1,1", "--out", "my shop"]
    parser = cli.parser()
    words = shlex.split(command.as_typed(parser.parse_args(["distil", *given])))
    assert words[:2] == ["rdcore", "distil"] and "--min-actions" in words and "--only-split" not in words
    assert parser.parse_args(words[1:]) == parser.parse_args(["distil", *given])
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=12, seed=1)
    lines = whole.facts(data, *results.stages(data), None, rated=True)
    assert lines[0][0] == "rows used (left out: repeated rows, too low ratings, users or items with too few)"


def test_from_python_with_lists_of_a_teacher(tmp_path, frame):
    clicks, columns = tmp_path / "lists.parquet", {"user": "who", "item": "what", "time": "when"}
    from rdcore.data import from_frame

    fit = stage(from_frame(frame, **columns, name="clicks", min_actions=5), "F").fit
    write_lists(clicks, EASESettings(lam=5.0).fit(fit), fit, k=12, licence="made up", command="test")
    strange = pd.DataFrame({"user": ["ghost", "u3"], "item": ["1005", "ghost"], "rank": [1, 99], "score": [0.0, -9.0]})
    pd.concat([pd.read_parquet(clicks).astype({"user": str, "item": str}), strange]).to_parquet(clicks)
    told = []
    rated = frame.assign(score=frame["what"] % 5)
    result = distil(rated, **columns, out=tmp_path / "out", teacher=str(clicks), **QUICK, tell=told.append)
    assert "Column 'score' looks like ratings" in result.warnings[0]
    assert result.table.loc["T", "nDCG@10"] > 0 and np.isnan(result.table.loc["T", "bytes"])
    assert any("come from outside" in line for line in result.warnings) and "rows: " in told[0]
    (line,) = [line for line in result.warnings if "Rows of lists.parquet: " in line]
    assert "of unknown users: 1, of unknown items: 1, without a score: 0, repeated: 0. Users without a list: 0. " in line
    assert "Items in the shortest list: 12. Unknown is what is not in the data" in line
    page = result.files["report"].read_text()
    assert line in page and "It has no MAP" in page
    made = html.unescape(page.split("<h2>")[-1])
    for line in ("distil(clicks, user='who', item='what', time='when', out=",
                 "weights=(0.1,), seeds=1, epochs=1, batch_size=512",
                 teachers.file_hash(clicks), from_frame(frame, **columns, name="clicks", min_actions=5).sha256()):  # fmt: skip
        assert line in made
    csv = pd.read_csv(result.files["table"], index_col="role")
    assert csv["MAP"].isna().tolist() == csv["MAP low"].isna().tolist() == [False, True, False, False]
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert len(re.findall(r"<td>-\s*</td>", page)) == 1 + 2 + 1
    assert all(path.exists() for path in result.files.values())


def test_what_is_left_out_of_lists_is_all_counted(tmp_path, frame, monkeypatch):
    rows = [(f"u{user}", item + 1000, 30 - item) for user in range(39) for item in range(12)]
    rows += [("u1", 1000, 1), ("u1", 1001, 1), ("u2", 1020, np.nan), ("ghost", 1000, 1)]
    pd.DataFrame(rows, columns=["user", "item", "score"]).to_csv(tmp_path / "x.csv", index=False)
    plan = Plan(data=rdcore.from_frame(frame, "who", "what", "when", name="x"), teacher=given(tmp_path / "x.csv"),
                student=BPRMFSettings(dim=2), training=Training(epochs=1), weights=(0.1,), seeds=1)  # fmt: skip
    (line,) = [line for line in warned(plan, monkeypatch, tmp_path / "runs") if "Rows of x.csv" in line]
    assert "Rows of x.csv: 472. Left out: of unknown users: 1, of unknown items: 0, without a score: 1, repeated: 2. " in line
    assert "Users without a list: 1. Items in the shortest list: 12." in line


@pytest.mark.parametrize(("given", "said"), [
    (["--dim", "0"], "rdcore distil: --dim must be an integer >= 1, got 0"),
    (["--method", "x"], "--method must be one of rd-position"),
    (["--min-actions", "99"], "are left: lower --min-actions"), (["--weights", "-1"], "--weights must be a finite number"),
    (["--teacher", "x"], "--teacher must be one of bpr"), (["--teacher", "no.csv"], "got 'no.csv', which is no file"),
    (["--teacher", "bpr", "--teacher-dim", "0"], "rdcore distil: --teacher-dim must be an integer >= 1, got 0"),
    (["--device", "cuda:9"], "there is no device 'cuda:9' here"),
])  # fmt: skip
def test_a_wrong_option_is_named_as_it_was_given(tmp_path, frame, capsys, given, said):
    frame.to_csv(tmp_path / "clicks.csv", index=False)
    words = ["distil", str(tmp_path / "clicks.csv"), "--out", str(tmp_path / "out"), "--user", "who", "--item", "what"]
    assert cli.main([*words, *given]) == 2 and said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "said"), [
    (["--dim", "-3"], "--dim must be"), (["--epochs", "0"], "--epochs must be"), (["--weights", "-1"], "--weights must be"),
    (["--method", "foo"], "--method must be one of"), (["--teacher", "nofile.csv"], "which is no file"),
    (["--student", "foo"], "--student must be one of"), (["--seeds", "0"], "--seeds must be"), (["--jobs", "0"], "--jobs"),
    (["--min-actions", "-1"], "--min-actions must be"), (["--method", "de"], "method de needs a teacher with vectors"),
    (["--learning-rate", "0"], "--learning-rate must be"), (["--out", ""], "--out is empty"),
    (["--time-format", "%Q"], "--time-format '%Q' is no form of dates"),
])  # fmt: skip
def test_an_option_that_is_wrong_for_any_data_is_refused_before_the_file_is_read(tmp_path, capsys, given, said):
    (tmp_path / "x.csv").write_text("no table\n")
    assert cli.main(["distil", str(tmp_path / "x.csv"), "--out", str(tmp_path / "out"), *given]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["report.html", "table.csv", "serve.py", "student.npz", "student.onnx", "student.onnx.data"])
@pytest.mark.parametrize("runs", [None, "runs/tensorboard", "runs/0123456789abcdef"])
def test_files_of_others_stay_what_they_are(tmp_path, name, runs):
    if runs:
        (tmp_path / runs).mkdir(parents=True)
    (tmp_path / name).write_text("MINE")
    with pytest.raises(ValueError, match=f"{name} is there already, and would be replaced"):
        whole.refuse_strangers(whole.files_of(tmp_path))


def test_a_folder_of_runs_is_ours_by_its_mark_or_by_a_run(tmp_path, frame):
    files = whole.files_of(tmp_path)
    (tmp_path / "runs" / "tensorboard").mkdir(parents=True)
    with pytest.raises(ValueError, match="runs is there already, and holds no runs of rdcore distil: give another folder"):
        distil(frame, user="who", item="what", time="when", out=tmp_path, **QUICK)
    (tmp_path / "runs" / "tensorboard" / "description.json").touch()
    with pytest.raises(ValueError, match="holds no runs"):
        whole.refuse_strangers(files)
    (tmp_path / "runs" / "tensorboard").rename(tmp_path / "runs" / "0123456789abcdef")  # as before there was a mark
    (tmp_path / "table.csv").touch()
    whole.refuse_strangers(files)
    (tmp_path / "runs" / "0123456789abcdef" / "description.json").unlink()
    (tmp_path / "runs" / whole.MARK).touch()
    whole.refuse_strangers(files)


def test_every_training_is_on_the_device(tmp_path, frame, monkeypatch):
    asked, load_or_train_all = [], plans.load_or_train_all

    def on_a_cpu(experiments, *, device, **given):
        asked.append((len(experiments), device))
        return load_or_train_all(experiments, device="cpu", **given)

    monkeypatch.setattr(plans, "load_or_train_all", on_a_cpu)
    monkeypatch.setattr(whole, "check_device", lambda device: None)
    distil(frame, user="who", item="what", time="when", out=tmp_path / "out", device="cuda", **QUICK)
    assert asked == [(2, "cuda"), (1, "cuda"), (3, "cuda")]


def test_a_full_disk_is_said_with_the_option_that_helps(tmp_path, frame, capsys, monkeypatch):
    def full(*given, **options):
        with writing(tmp_path / "o"):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(whole, "distil", full)
    frame.rename(columns={"who": "user", "what": "item", "when": "time"}).to_csv(tmp_path / "x.csv", index=False)
    assert cli.main(["distil", str(tmp_path / "x.csv"), "--out", str(tmp_path / "o")]) == 2
    assert "the disk is full: free some space, or give --out a folder on another disk" in capsys.readouterr().err


def test_other_wrong_calls(tmp_path, frame):
    columns = {"user": "who", "item": "what", "time": "when", "out": tmp_path / "out"}
    with pytest.raises(ValueError, match="teacher must be one of bpr.*or the path"):
        distil(frame, **columns, teacher="gpt")
    with pytest.raises(ValueError, match="student must be one of"):
        distil(frame, **columns, student="ease")
    with pytest.raises(ValueError, match="method must be one of"):
        distil(frame, **columns, method="magic")
    for method, need in (("de", "with vectors"), ("vkd", "with vectors"), ("cd", "that scores single items")):
        with pytest.raises(ValueError, match=f"method {method} needs a teacher {need}, and EASE .*: take bpr, .*rd-position"):
            distil(frame, **columns, method=method, teacher="ease")
    with pytest.raises(ValueError, match="weight must be a finite number >= 0, got nan"):
        distil(frame, **columns, weights=(0.1, float("nan")))
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=f"cannot write to the folder {out} .*: give another one with --out"):
            distil(frame, **columns | {"out": out}, teacher="itemcf")
    for name, make in (("serve.py", Path.touch), ("report.html", Path.mkdir)):
        (tmp_path / name / "shop").mkdir(parents=True)
        make(tmp_path / name / "shop" / name)
        with pytest.raises(ValueError, match=f"{name} is there already, and would be replaced: move it, or give another"):
            distil(frame, **columns | {"out": tmp_path / name / "shop"}, teacher="itemcf")
        assert [path.name for path in (tmp_path / name / "shop").iterdir()] == [name]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "runs").touch()
    with pytest.raises(ValueError, match="cannot write to the folder .*runs .*: give another one with --out"):
        distil(frame, **columns | {"out": tmp_path / "taken"}, teacher="itemcf")
    one = frame[frame["who"] == "u3"]
    with pytest.raises(ValueError, match="users with test rows, and clicks has 1: bring the rows of more users$"):
        distil(one, **columns | {"out": tmp_path / "one"}, min_actions=1)
    assert not (tmp_path / "one").exists()
    with pytest.raises(ValueError, match="give Interactions, not a str"):
        distil("clicks.csv", **columns)
    with pytest.raises(ValueError, match="--out is empty"):
        distil(frame, **columns | {"out": ""})


def test_student_alone_and_distilled_get_equally_many_trials():
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=12, seed=1)
    for method in METHODS:
        for weights in ((), (0.1, 1.0)):
            plan = Plan(data=data, teacher=BPRMFSettings(dim=4), student=BPRMFSettings(dim=2), method=method, weights=weights)
            assert len(plan.decays()) == len(plan.tried()) and plan.training.weight_decay in plan.decays()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_where_users_have_most_items(method):
    """With a student that looks at the last items, where the method can."""
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=13, seed=1)
    student = BPRMFSettings(dim=20) if method == "freqd" else CaserSettings(dim=2, window=2)
    plan = Plan(data=data, teacher=BPRMFSettings(dim=4), student=student, method=method)
    part, training = stage(data, "F"), Training(epochs=1)
    assert plan.room == 15 - part.fit.counts().max()
    teacher = rdcore.fit(part, plan.teacher, training=training)
    assert_learns(plan, part, teacher)


def assert_learns(plan: Plan, part, teacher) -> None:
    assert len(plan.tried()) == 3 and plan.tried() == tuple(sorted(plan.tried()))
    run = plan.run("T", "F")
    how = plan.taught(plan.tried()[-1], run, run.training.epochs, "F").distillation
    student = rdcore.fit(part, plan.student, teacher=teacher, method=how, training=Training(epochs=1))
    assert all(torch.isfinite(table).all() for table in student.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_three_users_are_enough(method):
    data = synthetic.generate(n_users=3, n_items=15, min_length=8, max_length=13, seed=1)
    plan = Plan(data=data, teacher=BPRMFSettings(dim=4), student=BPRMFSettings(dim=20), method=method)
    part = stage(data, "F")
    assert_learns(plan, part, rdcore.fit(part, plan.teacher, training=Training(epochs=1)))


@pytest.mark.parametrize("name", teachers.MODELS)
def test_every_teacher(name):
    """What is said of it (vectors, scores) is what its model does, and it teaches whom it can."""
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=13, seed=1)
    settings, part = teachers.model(name, 4), stage(data, "F")
    assert teachers.memory(name, 4, data) < teachers.MOST_BYTES
    example = teachers.example(settings)
    assert has_hints(example) == scores_single_items(example) == (name in teachers.WITH_VECTORS)
    assert hasattr(settings, "build") == (name in teachers.STUDENTS)
    fitted = settings.fit(part.fit) if name not in teachers.STUDENTS else None
    plan = Plan(data=data, teacher=settings, student=BPRMFSettings(dim=2))
    assert_learns(plan, part, fitted or rdcore.fit(part, settings, training=Training(epochs=1)))
    for methods in (FROM_VECTORS, FROM_SCORES):
        method = next(iter(methods))
        if name in teachers.WITH_VECTORS:
            Plan(data=data, teacher=settings, student=BPRMFSettings(dim=2), method=method)
            continue
        with pytest.raises(ValueError, match=f"method {method} needs a teacher .*: take bpr, .*, such as rd-position"):
            Plan(data=data, teacher=settings, student=BPRMFSettings(dim=2), method=method)


@pytest.mark.parametrize(("teacher", "student", "at"), [
    ("sasrec", "bpr", "last"), ("caser", "lightgcn", "last"), ("sasrec", "fossil", "query"), ("ease", "bpr", "query"),
    ("lightgcn", "caser", "query"),
])  # fmt: skip
def test_a_student_without_memory_asks_a_teacher_with_one_behind_the_last_item(teacher, student, at):
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=13, seed=1)
    plan = Plan(data=data, teacher=teachers.model(teacher, 4), student=teachers.model(student, 2))
    run = plan.run("T", "F")
    assert plan.taught(0.1, run, run.training.epochs, "F").teacher_at == at


def test_what_no_group_says_is_refused_by_the_method_itself(tmp_path):
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=13, seed=1)
    for roles in ({"teacher": CaserSettings(dim=2)}, {"student": CaserSettings(dim=2)}):
        models = {"teacher": BPRMFSettings(dim=4), "student": BPRMFSettings(dim=2)} | roles
        role = next(iter(roles))
        message = rf"method freqd: .* the {role} \(Caser\) has one; take another model, or a method from lists"
        with pytest.raises(ValueError, match=message):
            Plan(data=data, **models, method="freqd")
    (tmp_path / "x.csv").write_text("user,item,score\n0,1,8\n")
    for method in FROM_VECTORS:
        with pytest.raises(ValueError, match=f"method {method} needs a teacher with vectors, and a file of lists has none"):
            Plan(data=data, teacher=given(tmp_path / "x.csv"), student=BPRMFSettings(dim=2), method=method)


def test_the_help_and_the_page_name_every_method_and_teacher():
    """In their groups: from lists, from scores, from vectors."""
    groups = [set(FROM_LISTS), set(FROM_SCORES), set(FROM_VECTORS)]
    _, *parts = re.split(r"From the (?:top|teacher's)", command.LEARNING)
    rows = [re.match(r" {2}(\S.*?)(?: {2,}|$)", line) for part in parts for line in part.splitlines()[1:]]
    assert {name for row in rows if row for name in row[1].split(", ")} == set(METHODS)
    for part, group in zip(parts, groups, strict=True):
        found = [re.match(r" {2}(\S.*?)(?: {2,}|$)", line) for line in part.splitlines()[1:]]
        assert {name for row in found if row for name in row[1].split(", ")} == group
    page = (Path(cli.__file__).parents[1] / "docs" / "your-data.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| from (?:lists|scores|vectors) \| (.*?) \| (.*?) \|", page, re.MULTILINE)
    assert [set(re.findall(r"`(\S+?)`", methods)) for methods, _ in table] == groups
    every, some, vectors = (set(re.findall(r"`(\S+?)`", names)) for _, names in table)
    assert every == set(teachers.MODELS) and some == vectors == set(teachers.WITH_VECTORS)
    parser = argparse.ArgumentParser()
    command.add_distil(parser.add_subparsers())
    option = {action.dest: action for action in parser._subparsers._group_actions[0].choices["distil"]._actions}
    assert set(re.findall(r"[a-z]+", option["teacher"].help)) >= set(teachers.MODELS)
    assert set(re.findall(r"[a-z]+", option["student"].help)) >= set(teachers.STUDENTS)


@pytest.mark.parametrize(("name", "needed", "remedy"), [
    ("ease", 8 * 15**2, "take itemcf"), ("ials", 8 * 3 * 256 * 35, "lower teacher_dim, take itemcf"),
    ("gfcf", 8 * 2 * (256 * 15 + 256 * 15 + 512 * 20), "take itemcf"),
])  # fmt: skip
def test_a_matrix_beyond_memory_is_refused(monkeypatch, name, needed, remedy):
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=12, seed=1)
    monkeypatch.setattr(teachers, "MOST_BYTES", needed)
    teachers.check_size(name, 256, data)
    monkeypatch.setattr(teachers, "MOST_BYTES", needed - 1)
    with pytest.raises(ValueError, match=f"teacher {name} needs 0 GB for 20 users and 15 items: {remedy}"):
        distil(data, out="nowhere", teacher=name)


def test_size_counts_arrays_and_sparse_matrices():
    data = synthetic.generate(n_users=20, n_items=15, min_length=8, max_length=12, seed=1)
    model = EASESettings().fit(data)
    matrix = model.chosen.data.nbytes + model.chosen.indices.nbytes + model.chosen.indptr.nbytes
    assert 0 <= results.size(model) - 8 * 15**2 - matrix < 50  # the rest is small change
    assert results.size(BPRMFSettings(dim=3).build(20, 15)) == 4 * 3 * (20 + 15)


# ---------------------------------------------------------------------------------------------------------------- teachers

SHOP = Interactions(
    "shop", np.array([0, 1, 0, 1, 2]), np.array([0, 2, 4, 5]), 5,
    user_ids=np.array(["ann", "bob", "cy"]), item_ids=np.array([10, 20, 30, 40, 50]),
)  # fmt: skip


def test_lists_teach_what_they_name_and_nothing_else(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,score\nann,50,8\nann,40,4\nbob,30,1\n")
    teacher = given(tmp_path / "x.csv").fit(SHOP)
    scores = teacher.score_all(teacher.encode(final_queries(SHOP)))
    assert scores[0, [4, 3]].tolist() == [8, 4] and scores[1, 2] == 1
    assert (scores > -torch.inf).sum(1).tolist() == [2, 1, 0]


def test_a_student_of_partial_lists(tmp_path, frame):
    lists = pd.DataFrame({"user": ["u1", "u1", "u2", "nobody"], "item": [1003, 1004, 1001, 1002], "rank": [1, 2, 1, 1]})
    lists.to_csv(tmp_path / "lists.csv", index=False)
    made = distil(frame, "who", "what", "when", out=tmp_path / "out", teacher=tmp_path / "lists.csv", **QUICK)
    assert made.table.loc["D", "nDCG@10"] > 0
    assert any("For 40 of 40 users the lists name fewer than 10 items" in line for line in made.warnings)
    clicks = rdcore.from_frame(frame, "who", "what", "when", min_actions=5)
    part = stage(clicks, "F")
    longer = pd.DataFrame([(f"u{user}", item + 1000, 30 - item) for user in range(9) for item in range(30)],
                          columns=["user", "item", "score"])  # fmt: skip
    longer.to_csv(tmp_path / "longer.csv", index=False)
    for method in FROM_LISTS | FROM_SCORES:
        settings = given(tmp_path / ("longer.csv" if method == "unkd" else "lists.csv"))
        for model in (BPRMFSettings(dim=2), CaserSettings(dim=2, window=2)):
            plan = Plan(data=clicks, teacher=settings, student=model, method=method)
            assert_learns(plan, part, settings.fit(part.fit))


def warned(plan: Plan, monkeypatch, folder) -> list[str]:
    """Warnings of a plan that is carried out."""
    monkeypatch.setenv("RDCORE_RUNS", str(folder))
    done, part = carry_out(plan, tell=lambda text: None), stage(plan.data, "F")
    teacher = done.runs["T"][0].model(done.experiments["T"][0], plan.data)
    return results.warnings(done, results.per_user(done, part), part, teacher)


def test_users_without_a_list_and_scores_that_are_alike_are_said(tmp_path, frame, monkeypatch):
    rows = [(f"u{user}", item + 1000, 1 - item / 99) for user in range(30) for item in range(30)]
    pd.DataFrame(rows, columns=["user", "item", "score"]).to_csv(tmp_path / "x.csv", index=False)
    shared = {
        "data": rdcore.from_frame(frame, "who", "what", "when", name="x"), "teacher": given(tmp_path / "x.csv"),
        "student": BPRMFSettings(dim=2), "training": Training(epochs=1), "weights": (0.1,), "seeds": 1,
    }  # fmt: skip
    for method, without, alike in (("rankdistil-b", True, False), ("kd-ce", False, True), ("rd-position", False, False)):
        lines = warned(Plan(**shared, method=method), monkeypatch, tmp_path / "runs")
        assert any("For 10 users the lists name nothing new" in line for line in lines) == without
        assert any("hardly tells them apart: multiply" in line for line in lines) == alike
    pd.read_csv(tmp_path / "x.csv").rename(columns={"score": "rank"}).to_csv(tmp_path / "y.csv", index=False)
    lines = warned(Plan(**shared | {"teacher": given(tmp_path / "y.csv")}, method="kd-ce"), monkeypatch, tmp_path / "runs")
    assert any("The teacher's file has no scores. kd-ce reads scores" in line for line in lines)


def test_popularity_as_a_teacher(tmp_path, frame, monkeypatch):
    data = rdcore.from_frame(frame, "who", "what", "when", name="x")
    plan = Plan(data=data, teacher=teachers.model("pop", 4), student=BPRMFSettings(dim=2), training=Training(epochs=1),
                weights=(0.1,), seeds=1)  # fmt: skip
    assert "The teacher is not better than the most popular items." in warned(plan, monkeypatch, tmp_path)


def test_the_split_for_a_teacher_of_your_own(tmp_path, frame, capsys):
    frame.to_csv(tmp_path / "x.csv", index=False)
    words = ["distil", str(tmp_path / "x.csv"), "--out", str(tmp_path / "o"), "--only-split"]
    assert cli.main([*words, "--user", "who", "--item", "what", "--time", "when"]) == 0, capsys.readouterr().err
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["split.csv"]
    for out, said in (("", "--out is empty"), (str(tmp_path / "x.csv"), "cannot write to the folder")):
        words[words.index("--out") + 1] = out
        assert cli.main([*words, "--user", "who", "--item", "what", "--time", "when"]) == 2 and said in capsys.readouterr().err
    words[words.index("--out") + 1] = str(tmp_path / "o")
    names = ["--user", "who", "--item", "what"]
    before = (tmp_path / "o" / "split.csv").read_bytes()
    assert cli.main([*words, *names, "--time", "when"]) == 0, "the same split once more"
    frame[::-1].to_csv(tmp_path / "x.csv", index=False)
    assert cli.main([*words, *names, "--time", "none"]) == 2 and "split.csv is there already" in capsys.readouterr().err
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert (tmp_path / "o" / "split.csv").read_bytes() == before
    split = pd.read_csv(tmp_path / "o" / "split.csv")
    clicks = read_clicks(tmp_path / "x.csv", "who", "what", "when").clicks
    part = stage(clicks, "F")
    assert split["part"].value_counts()["test"] == len(part.judge) and len(split) == len(clicks)
    train = split[split["part"] == "train"]
    expected = stage(clicks, "V").fit
    assert train["user"].tolist() == expected.user_ids[expected.users()].tolist()
    assert train["item"].tolist() == expected.item_ids[expected.items].tolist()


def test_lists_that_do_not_fit_are_named_in_the_words_of_the_command(tmp_path, frame):
    call = {"user": "who", "item": "what", "time": "when", "out": tmp_path / "out", "teacher": tmp_path / "x.csv"}
    for text, said in (
        ("user,item\nu1,1001\n", "add a column 'rank' .1 is the best.$"), ("who,item,rank\nu1,1,1\n", "rename the right one$"),
        ("user,user_id,item,rank\nu1,u1,1001,1\n", "remove one$"), ("user,item,rank\nx,1,1\n", "no user and item of 'clicks' "),
    ):  # fmt: skip
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(DataError, match=said):
            distil(frame, **call)


def test_lists_that_change_meanwhile(tmp_path):
    (tmp_path / "x.csv").write_text("user,item,score\nann,50,8\n")
    settings = given(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("user,item,score\nann,40,8\n")
    with pytest.raises(ValueError, match="has changed"):
        settings.fit(SHOP)


def test_teach_writes_the_lists_of_a_run(tmp_path, monkeypatch, capsys):
    from rdcore import datasets
    from rdcore.store import runs

    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    data = datasets.load("synthetic")
    experiment = runs.Experiment(
        dataset="synthetic", data_hash=data.sha256(), stage="F", role="T", model=CaserSettings(dim=2, window=2),
        training=Training(epochs=1),
    )  # fmt: skip
    run = runs.load_or_train(experiment, data)
    assert cli.main(["teach", run.key, str(tmp_path / "lists.parquet"), "-k", "7"]) == 0, capsys.readouterr().err
    fit = stage(data, "F").fit
    lists = read_lists(tmp_path / "lists.parquet", fit)
    assert lists.items.shape == (data.n_users, 7) and lists.counts["unknown_items"] == 0
    write_lists(tmp_path / "again.parquet", run.model(experiment, data), fit, k=7, licence="", command="")
    assert (read_lists(tmp_path / "again.parquet", fit).items == lists.items).all()


@pytest.mark.parametrize(("seeds", "said"), [
    (1, " in these runs; no verdict: with fewer than three seeds their spread is hardly known."),
    (2, " in these runs; no verdict: with fewer than three seeds their spread is hardly known."),
    (3, ", which is provisional: fewer than five seeds."), (4, ", which is provisional: fewer than five seeds."),
    (5, " the student alone."),
])  # fmt: skip
def test_what_few_seeds_say_is_provisional(seeds: int, said: str) -> None:
    users = {role: {results.METRIC: level + np.random.default_rng(seeds).normal(0, 0.01, (seeds, 300)) + noise}
             for role, level, noise in (("POP", 0, 0), ("S", 0.1, 0), ("D", 0.2, np.linspace(0, 0.01, 300)), ("T", 0.3, 0))}
    sentence = results.conclusion(users)[1]
    assert "is better than the student alone" in sentence and sentence.endswith(said)


@pytest.mark.parametrize(("popular", "said"), [
    (0.1, "On test data the distilled student has"), (0.2, "The distilled student is not certainly better than a list of the"),
    (0.3, "The distilled student is not better than a list of the most popular items (nDCG@10 0.2"),
])  # fmt: skip
def test_a_student_no_better_than_popular_items_is_said_first(popular: float, said: str) -> None:
    draw = np.random.default_rng(1)
    users = {role: {results.METRIC: level + draw.normal(0, 0.01, (3, 300))}
             for role, level in (("S", 0.1), ("D", 0.2002), ("T", 0.3))}  # fmt: skip
    users["POP"] = {results.METRIC: np.tile([popular - 0.1, popular + 0.1], 150)[None]}
    first, second = results.conclusion(users)[:2]
    assert first.startswith(said) and "the student alone" in (first if popular == 0.1 else second)
