import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdcore.data import DataError
from rdcore.datasets import formats
from rdcore.datasets.formats import read_histories, read_item_lists, read_triples, read_udata


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "file.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(reader, path, *parts):
    with pytest.raises(DataError) as caught:
        reader(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_triples(write):
    for text in ("1 106 1\n1 105 1\n2 7 1\n", "1 106 1\n1 105 1\n2 7 1", "1 106 1\r\n1 105 1\r\n2 7 1\r\n"):
        frame = read_triples(write(text))
        assert frame.columns.tolist() == ["user", "item"] and (frame.dtypes == "int64").all()
        assert frame.to_numpy().tolist() == [[1, 106], [1, 105], [2, 7]]


def test_one_line_is_a_table(write):
    assert read_triples(write("1 2 1\n")).to_numpy().tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "line, parts",
    [
        ("3 4", ["expected `user item 1`, found '3 4'", "correct or remove the line, or fetch the data set again"]),
        ("3 4 1 1", ["expected `user item 1`, found '3 4 1 1'"]),
        ("3  4 1", ["expected `user item 1`"]),
        ("3\t4\t1", ["expected `user item 1`"]),
        ("3 x7 1", ["item 'x7' is not an integer in '3 x7 1'", "correct the line, or fetch the data set again"]),
        ("3.0 4 1", ["user '3.0' is not an integer"]),
        ("3 1_000 1", ["item '1_000' is not an integer"]),
        ("3 99999999999999999999 1", ["item '99999999999999999999' is not an integer"]),
        ("3 -4 1", ["item '-4' is negative", "ids and times count from 0 upwards"]),
        ("3 4 0", ["the third field is 0, not 1", "keep only the lines of interactions"]),
    ],
)
@pytest.mark.parametrize("end", ["\n5 6 1\n", "\n", ""])
def test_a_bad_triple_is_named(write, line, parts, end):
    refused(read_triples, write(f"1 2 1\n{line}{end}"), "line 2", *parts)


def test_an_empty_line_within_is_malformed(write):
    refused(read_triples, write("1 2 1\n\n5 6 1\n"), "line 2", "expected `user item 1`, found ''")


@pytest.mark.parametrize("reader", [read_triples, read_udata, read_item_lists])
@pytest.mark.parametrize(
    "content, parts",
    [
        ("", ["is empty", "delete it and fetch the data set again"]),
        ("\n \n", ["is empty"]),
        (b"\x1f\x8b\xff", ["is not a text file", "unpack it"]),
    ],
)
def test_files_without_text_are_refused(write, reader, content, parts):
    refused(reader, write(content), *parts)


@pytest.mark.parametrize("reader", [read_triples, read_udata, read_item_lists])
def test_missing_file_and_folder(tmp_path, reader):
    refused(reader, tmp_path / "nothing", "does not exist", "fetch the data set")
    refused(reader, tmp_path, "cannot be read")


def test_udata(write):
    frame = read_udata(write("196\t242\t3\t881250949\n186\t302\t3\t891717742\n"))
    assert frame.columns.tolist() == ["user", "item", "time"]
    assert frame.to_numpy().tolist() == [[196, 242, 881250949], [186, 302, 891717742]]


@pytest.mark.parametrize(
    "line, parts",
    [
        ("1\t2\t3", ["expected `user<TAB>item<TAB>rating<TAB>timestamp`", r"found '1\t2\t3'"]),
        ("1 2 3 4", ["expected `user<TAB>item<TAB>rating<TAB>timestamp`"]),
        ("1\t2\tx\t4", ["rating 'x' is not an integer"]),
        ("1\t2\t3\t-4", ["time '-4' is negative"]),
    ],
)
def test_a_bad_rating_is_named(write, line, parts):
    refused(read_udata, write(f"1\t2\t3\t4\n1\t3\t3\t4\n{line}\n"), "line 3", *parts)


@pytest.fixture
def histories(tmp_path):
    def histories(items, times):
        paths = tmp_path / "items.txt", tmp_path / "times.txt"
        for path, content in zip(paths, (items, times), strict=True):
            path.write_bytes(content.encode())
        return paths

    return histories


def refused_histories(paths, *parts):
    with pytest.raises(DataError) as caught:
        read_histories(*paths)
    for part in parts:
        assert part in str(caught.value)


def test_histories(histories):
    items, times = "4 9 8 9\n0 7\n", "4 100 200 200\n0 50\n"
    for change in (lambda text: text, lambda text: text[:-1], lambda text: text.replace("\n", "\r\n")):
        frame = read_histories(*histories(change(items), change(times)))
        assert frame.columns.tolist() == ["user", "item", "time"] and (frame.dtypes == "int64").all()
        assert frame.to_numpy().tolist() == [[4, 9, 100], [4, 8, 200], [4, 9, 200], [0, 7, 50]]
    # The files go together by user, not by line.
    frame = read_histories(*histories(items, "0 50\n4 100 200 200\n"))
    assert frame.to_numpy().tolist() == [[4, 9, 100], [4, 8, 200], [4, 9, 200], [0, 7, 50]]


BAD_HISTORIES = [
    ("3", ["expected `user WHAT WHAT ...`, found '3'", "correct or remove the line, or fetch the data set again"]),
    ("", ["expected `user WHAT WHAT ...`, found ''"]),
    ("3\t4", ["expected `user WHAT WHAT ...`", r"found '3\t4'"]),
    ("3  4", ["WHAT '' is not an integer in '3  4'"]),
    ("3 4 ", ["WHAT '' is not an integer in '3 4 '"]),
    (" 3 4", ["user '' is not an integer"]),
    ("x3 4", ["user 'x3' is not an integer in 'x3 4'", "correct the line, or fetch the data set again"]),
    ("3 4.0", ["WHAT '4.0' is not an integer"]),
    ("3 1_000", ["WHAT '1_000' is not an integer"]),
    ("3 \u0664", ["WHAT '\u0664' is not an integer"]),  # a digit, but not one of ours
    ("3 99999999999999999999", ["WHAT '99999999999999999999' is not an integer"]),
    ("3 -4", ["WHAT '-4' is negative", "ids and times count from 0 upwards"]),
    ("-3 4", ["user '-3' is negative"]),
    ("1 4", ["user 1 has a line already, line 1", "join the two"]),
]


@pytest.mark.parametrize("line, parts", BAD_HISTORIES)
@pytest.mark.parametrize("end", ["\n5 6\n", "\n"])
def test_a_bad_history_is_named(histories, line, parts, end):
    good, bad = "1 2\n3 4\n5 6\n", f"1 2\n{line}{end}"
    for what, files in (("item", (bad, good)), ("time", (good, bad))):
        paths = histories(*files)
        refused_histories(paths, f"{paths[what == 'time']}, line 2", *(part.replace("WHAT", what) for part in parts))


def test_histories_that_do_not_fit_together(histories):
    paths = histories("1 2\n7 4 5 6\n", "7 4 5\n1 2\n")
    refused_histories(
        paths, f"{paths[0]}, line 2: user 7 has 3 items, but 2 times in {paths[1]}, line 1", "every item needs its own time"
    )
    paths = histories("1 2\n7 4\n", "1 2\n")
    refused_histories(paths, f"{paths[0]}, line 2: user 7 has no line in {paths[1]}", "add or remove the line")
    paths = histories("1 2\n", "3 4\n1 2\n")
    refused_histories(paths, f"{paths[1]}, line 1: user 3 has no line in {paths[0]}", "fetch the data set again")


def test_histories_without_text(histories):
    paths = histories("1 2\n", "\n")
    refused_histories(paths, f"{paths[1]} is empty", "fetch the data set again")
    refused_histories((paths[1], paths[0]), f"{paths[1]} is empty")
    refused_histories((paths[0], paths[0].parent / "none"), "none does not exist")


def test_a_long_line_is_not_repeated_whole(histories):
    with pytest.raises(DataError) as caught:
        read_histories(*histories("1 " + "2 " * 5000 + "x\n", "1 2\n"))
    assert "item 'x' is not an integer" in str(caught.value) and len(str(caught.value)) < 1000


def test_item_lists(write):
    text = "2 9 8 \n0 \n3 8 0 7 \n"
    for change in (lambda t: t, lambda t: t[:-1], lambda t: t.replace(" \n", "\n"), lambda t: t.replace("\n", "\r\n")):
        frame = read_item_lists(write(change(text)))
        assert frame.columns.tolist() == ["user", "item"] and (frame.dtypes == "int64").all()
        assert frame.to_numpy().tolist() == [[0, 9], [0, 8], [2, 8], [2, 0], [2, 7]]
    assert read_item_lists(write("0\n0\n")).dtypes.tolist() == ["int64", "int64"]  # nobody has anything


@pytest.mark.parametrize(
    "line, parts",
    [
        ("", ["expected `n item item ...`, found ''", "correct or remove the line"]),
        (" ", ["expected `n item item ...`, found ' '"]),
        ("2 4", ["the count is 2, but 1 items follow in '2 4'", "cut off? correct it, or fetch the data set again"]),
        ("2 4 5 6 ", ["the count is 2, but 3 items follow"]),
        ("1", ["the count is 1, but 0 items follow"]),
        ("0 4", ["the count is 0, but 1 items follow"]),
        ("3 4 5 4", ["item 4 is there twice", "remove one and lower the count"]),
        ("2 4 04", ["item 4 is there twice"]),
        ("2 4  5", ["item '' is not an integer in '2 4  5'", "expected `n item item ...`"]),
        ("2 4 5  ", ["item '' is not an integer"]),
        (" 1 4", ["count '' is not an integer"]),
        ("2\t4\t5", [r"count '2\t4\t5' is not an integer"]),
        ("x 4", ["count 'x' is not an integer in 'x 4'", "correct the line, or fetch the data set again"]),
        ("1 4.0", ["item '4.0' is not an integer"]),
        ("1 \u0664", ["item '\u0664' is not an integer"]),
        ("1 99999999999999999999", ["item '99999999999999999999' is not an integer"]),
        ("1 -4", ["item '-4' is negative", "ids and times count from 0 upwards"]),
        ("-1 4", ["count '-1' is negative"]),
    ],
)
@pytest.mark.parametrize("end", ["\n1 6\n", "\n"])
def test_a_bad_item_list_is_named(write, line, parts, end):
    refused(read_item_lists, write(f"1 2\n{line}{end}"), "line 2", *parts)


def test_a_long_item_list_is_not_repeated_whole(write):
    with pytest.raises(DataError) as caught:
        read_item_lists(write("1 " + "2 " * 5000))
    assert "but 5000 items follow" in str(caught.value) and len(str(caught.value)) < 1000


texts = st.lists(st.text(alphabet='0123 -.\r\tx"#', max_size=8), min_size=1, max_size=4).map("\n".join)
ids = st.integers(0, 10**18 - 1)


@given(st.one_of(texts, st.lists(st.tuples(ids, ids), min_size=1).map(lambda rows: "".join(f"{u} {i} 1\n" for u, i in rows))))
def test_the_fast_way_never_disagrees_with_the_slow_way(text):
    fast = formats._fast(text, 3, " ")
    try:
        slow = formats._slow("f", text, ("user", "item", "flag"), " ", "", None).tolist()
    except DataError:
        slow = None
    if fast is not None and (fast >= 0).all():  # a negative number sends the reader to the slow way
        assert fast.tolist() == slow
    if slow is not None and re.fullmatch(r"([0-9]+ [0-9]+ [0-9]+\n)+", text):
        assert fast is not None  # ordinary files are not read twice


ragged = st.dictionaries(ids, st.lists(st.tuples(ids, ids), min_size=1, max_size=5), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ragged, st.randoms())
def test_histories_survive_a_round_trip(histories, content, random):
    def text(users, column):
        return "".join(f"{user} {' '.join(str(row[column]) for row in content[user])}\n" for user in users)

    shuffled = list(content)
    random.shuffle(shuffled)
    frame = read_histories(*histories(text(content, 0), text(shuffled, 1)))
    assert frame.to_numpy().tolist() == [[user, *row] for user, rows in content.items() for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_no_odd_history_slips_through(histories, text):
    """Whatever is read is of the one shape; everything else is refused, and never by another error."""
    paths = histories(text, text)
    try:
        found = formats._histories(paths[0], "item")
    except DataError:
        return
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    assert all(re.fullmatch("[0-9]{1,18}( [0-9]{1,18})+", line) for line in lines)
    assert [[user, *values] for user, (_, values) in found.items()] == [[int(n) for n in line.split()] for line in lines]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ids, unique=True, max_size=6), min_size=1, max_size=6), st.sampled_from(["", " "]))
def test_item_lists_survive_a_round_trip(write, content, end):
    frame = read_item_lists(write("".join(" ".join(map(str, [len(items), *items])) + end + "\n" for items in content)))
    assert frame.to_numpy().tolist() == [[user, item] for user, items in enumerate(content) for item in items]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_no_odd_item_list_slips_through(write, text):
    try:
        frame = read_item_lists(write(text))
    except DataError:
        return
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    assert all(re.fullmatch("[0-9]{1,18}( [0-9]{1,18})* ?", line) for line in lines)
    rows = [[int(number) for number in line.split()] for line in lines]
    assert all(count == len(items) == len(set(items)) for count, *items in rows)
    assert frame.to_numpy().tolist() == [[user, item] for user, (_, *items) in enumerate(rows) for item in items]
