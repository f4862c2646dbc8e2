"""Columns as people bring them: labels arrive undamaged, times keep their order, and a refusal names the line that helps."""

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from rdcore.data import DataError, from_frame
from rdcore.datasets.times import whole_times


def labels(column):
    """The labels of users that a column gives."""
    rows = range(len(column))
    return from_frame(pd.DataFrame({"user": column, "item": rows, "time": rows})).user_ids.tolist()


def objects(*values):
    return pd.Series(values, dtype=object)


@pytest.mark.parametrize("column, wanted", [
    ([1.0, 2.0, 1.0], [1, 2]), ([0.0, -0.0], [0]), ([float(2**53 - 1)], [2**53 - 1]),
    (objects(1, 2.0), [1, 2]), (objects(np.float32(3), 2.0), [2, 3]), (pd.Categorical([2.0, 1.0]), [1, 2]),
    (pd.Series([2**60 + 1, 2**60], dtype="Int64"), [2**60, 2**60 + 1]),
    (pd.Series([1.0, 2.0]).astype("double[pyarrow]"), [1, 2]), (np.array([2**64 - 1, 5], dtype="uint64"), [5, 2**64 - 1]),
    (pd.Categorical(["b", "a"], categories=["z", "b", "a"], ordered=True), ["a", "b"]), ([True, False], [False, True]),
    ([b"b", b"a"], [b"a", b"b"]), (["1.0", "1.1"], ["1.0", "1.1"]), (["a", "a "], ["a", "a "]),
])  # fmt: skip
def test_labels_arrive_undamaged(column, wanted):
    found = labels(column)
    assert found == wanted and [type(one) for one in found] == [type(one) for one in wanted]


@pytest.mark.parametrize("column, message", [
    ([1.5, 1.0], r"the float 1.5 in row 0.*below 2\^53.*dtype=\{'user': 'Int64'\}"),
    ([1.0, float(2**53)], "the float 9007199254740992.0 in row 1"),
    (np.array([1, 2**24], dtype="float32"), r"in row 1.*below 2\^24"),
    (objects(1, float(2**60)), "the float 1.152921504606847e[+]18 in row 1"), (objects(1, 2.5), "the float 2.5 in row 1"),
    (["9e+16", "9e+16"], "the text of a float '9e[+]16' in row 0"), (["2", "1.0"], "the text of a float '1.0' in row 1"),
    (["a", "nan"], "no value in column 'user', row 1.*what a gap becomes"), (["a", "None"], "row 1.*what a gap becomes"),
    (objects(1, True), r"column 'user' mixes True and False with other labels \(bool, int\)"),
    (pd.Series(pa.array([1.0, np.nan]), dtype=pd.ArrowDtype(pa.float64())), "no value in column 'user', row 1"),
    (objects(frozenset([1]), frozenset([2])), r"no order \(frozenset\)"),
    (["a", " "], "row 1 .*empty text is no id"), (pd.Series([1, None], dtype="Int64"), "no value in column 'user', row 1"),
    (objects(1, "1"), r"no order \(int, str\)"), (objects([1], [2]), r"one row per action: frame.explode\('user'\)"),
])  # fmt: skip
def test_damaged_labels_are_refused_with_the_remedy(column, message):
    with pytest.raises(DataError, match=message):
        labels(column)


def test_labels_that_look_alike_stay_and_are_named(caplog):
    assert labels(["a", "a ", "e\u0301", "\u00e9", "b"]) == ["a", "a ", "b", "e\u0301", "\u00e9"]
    said = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert len(said) == 1 and "2 labels of column 'user'" in said.pop()
    caplog.clear()
    assert labels(["a ", "b", "\u00e9"]) == ["a ", "b", "\u00e9"] and not caplog.records


def test_a_row_is_named_by_its_place_and_its_index():
    frame = pd.DataFrame({"user": [1, 2, 3, None], "item": 1, "time": 1})
    with pytest.raises(DataError, match=r"column 'user', row 2 \(index 3\)"):
        from_frame(frame[frame["user"] != 2])


# One moment in many spellings: 2010-10-19 23:55:27 UTC.
MOMENT = 1287532527
SPELLINGS = [
    "2010-10-19T23:55:27Z", "2010-10-19 23:55:27", "2010-10-20 01:55:27+02:00", "2010-10-19 18:55:27-0500",
    "2010-10-19T23:55:27.000", "2010-10-19 23:55:27,0 UTC", "2010-10-20T01:55:27+02",
]  # fmt: skip


def test_spellings_of_one_moment_are_one_moment():
    times, unit = whole_times(pd.Series(SPELLINGS), "x")
    assert times.tolist() == [MOMENT] * len(SPELLINGS) and unit == "s"


def test_dates_of_every_kind_are_taken():
    later, sooner = datetime.datetime(2010, 10, 19, 23, 55, 27), datetime.datetime(2010, 10, 17)
    dates = pd.Series([later, sooner])
    columns = [
        dates.astype(f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")
    ] + [
        dates.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"), dates.astype("timestamp[ms][pyarrow]"),
        objects(later, sooner), objects(later.replace(tzinfo=datetime.UTC), sooner),
        objects(pd.Timestamp(later), np.datetime64(sooner)),
        pd.Series(pd.Categorical(dates)), dates.astype(str), dates.astype(str).astype("category"),
        dates.astype(str).astype("string[pyarrow]"),
    ]  # fmt: skip
    for column in columns:
        times, unit = whole_times(column, "x")
        assert (times.tolist(), unit) == ([MOMENT, 1287273600], "s"), column.dtype


@pytest.mark.parametrize("column, wanted", [
    ([MOMENT * 1000 + 1, MOMENT * 1000], [MOMENT * 1000 + 1, MOMENT * 1000]), ([1.5, 1.25], [150, 125]),
    (["12", "7"], [12, 7]), (["1.5", "2"], [15, 20]), ([Decimal("1.5"), Decimal("0.25")], [150, 25]),
    (["1.123456789012345678", "1.123456789012345677"], [1123456789012345678, 1123456789012345677]),
    (["-0.5", "+2.", "1"], [-5, 20, 10]), ([Decimal(2**60 + 1), Decimal("1E+3")], [2**60 + 1, 1000]),
    (np.array([2**24 - 1, 5], dtype="float32"), [2**24 - 1, 5]),
    (pd.Series([3, 1], dtype="Int64"), [3, 1]), ([-5, 5], [-5, 5]), (objects(5, 6.5), [50, 65]),
])  # fmt: skip
def test_numbers_are_scaled_together_and_never_cut(column, wanted):
    times, unit = whole_times(pd.Series(column), "x")
    assert times.tolist() == wanted and unit is None


def test_seconds_beside_milliseconds_are_named(caplog):
    times, _ = whole_times(pd.Series([1600000001, 1600000000000, 5]), "x")
    assert times.tolist() == [1600000001, 1600000000000, 5] and "seconds (row 0) and milliseconds (row 1)" in caplog.text
    caplog.clear()
    whole_times(pd.Series([1600000001, 5]), "x")
    assert not caplog.records


def test_the_start_of_a_period_and_text_kept_once_are_dates():
    months = pd.Series(pd.PeriodIndex(["2010-11", "2010-10"], freq="M"))
    once = pd.Series(["2010-11-01", "2010-10-01"]).astype(pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))
    for column in (months, months.astype(object), once):
        times, unit = whole_times(column, "x")
        assert (times.tolist(), unit) == ([1288569600, 1285891200], "s")


@given(st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)), min_size=1, max_size=8),
       st.integers(-14, 14))  # fmt: skip
def test_order_and_distance_of_dates_stay(moments, hours):
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    shown = pd.Series([moment.replace(tzinfo=zone).isoformat() for moment in moments])
    times, unit = whole_times(shown, "x")
    steps = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    micro = [(moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1) for moment in moments]
    assert times.tolist() == [(one - hours * 3600 * 10**6) * steps // 10**6 for one in micro]


@pytest.mark.parametrize("gap", [None, "", "NaT", "nan", "null", "\\N", "0000-00-00 00:00:00"])
def test_a_missing_date_is_named_with_its_row(gap):
    frame = pd.DataFrame({"user": 1, "item": [1, 2, 3], "time": ["2010-10-19", gap, "2010-10-17"]})
    with pytest.raises(DataError, match="no value in column 'time', row 1 "):
        from_frame(frame)
    with pytest.raises(DataError, match=r"no value in column 'time', row 0 \(index 1\)"):
        from_frame(frame.iloc[1:])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_missing_date_that_became_a_number_is_missing(unit):
    when = pd.to_datetime(pd.Series(["2010-10-19", None])).astype(f"datetime64[{unit}]").astype("int64")
    for divided in (1, 10**3, 10**6, 10**9):
        with pytest.raises(DataError, match="no value in column 'time', row 1 "):
            from_frame(pd.DataFrame({"user": 1, "item": [1, 2], "time": when // divided}))


@pytest.mark.parametrize("column, message", [
    (["2010-10-19", "19/10/2010"], "'19/10/2010' in row 1, which is no ISO date"),
    (["2010-10-19", "2010-13-01"], "'2010-13-01' in row 1, a date that cannot be read"),
    (["2010-10-19", "1287532527"], "'1287532527' in row 1, which is no ISO date"),
    ([1.0, np.inf], "has inf in row 1, more than 64 bits"), ([True, False], "has boolean values"),
    (np.array([3, 2**63 + 1], dtype="uint64"), "has 9223372036854775809 in row 1, more than 64 bits"),
    (pd.to_timedelta([1, 2], unit="s"), "has timedelta64 values"),
    (np.array([5, 1.6e9], dtype="float32"), "has the float32 1600000000.0 in row 1, which was or may have been rounded"),
    (pd.Series(pa.array([1.0, np.nan]), dtype=pd.ArrowDtype(pa.float64())), "no value in column 'time', row 1"),
    ([Decimal("1"), Decimal("Infinity")], "has Infinity in row 1"),
    (["1.5", "0." + "1" * 30], "more than 64 bits"),
])  # fmt: skip
def test_other_times_are_refused_by_row_and_value(column, message):
    with pytest.raises(DataError, match=message):
        from_frame(pd.DataFrame({"user": 1, "item": [1, 2], "time": column}))


class Foreign:
    """As a polars frame or an arrow table."""

    def to_pandas(self):
        raise AssertionError


DATED = pd.DataFrame({"user": [1], "item": 1}, index=pd.DatetimeIndex(["2020-01-01"]))


@pytest.mark.parametrize("given, line", [
    (Path("a/ml.inter"), r'read_csv\(.a/ml.inter., sep="\\t"\)'), ("x.csv", r"read_csv\('x.csv'\).*one user per line"),
    ("x.parquet", r"read_parquet\('x.parquet'\)"), (Foreign(), r"give it frame.to_pandas\(\)"),
    ({"user": [1], "item": [2], "time": [3]}, r"give it pandas.DataFrame\(given\)"),
    ({"ann": ["a", "b"], "bob": ["a", "c"]}, r"for user, items in given.items\(\)"),
    ([(1, 2, 3)], r"DataFrame\(rows, columns="), (pd.Series([1]), r"series.reset_index\(\)"),
    (sparse.coo_array((2, 2)), r"matrix.nonzero\(\)"), (DATED, r"the index holds dates: frame.reset_index\(names='time'\)"),
    (pd.DataFrame([[1, 2, 3]]), r"has no column 'user'; it has \[0, 1, 2\]"),
    (pd.DataFrame({"u;i;t": ["1;2;3", "1;3;4"]}), r"pandas.read_csv\(path, sep=';'\)"),
    (pd.DataFrame({"1 10 11": ["2 10", "3 4 5 6"]}), "one user per line.*map"),
    (pd.DataFrame({"item": [1], "time": 1}, index=pd.Index([1], name="user")), r"frame.reset_index\(\)"),
    (pd.DataFrame([[1, 2, 3, 4]], columns=["user", "item", "time", "time"]), "2 columns named 'time': rename or drop"),
    (pd.DataFrame({"user": [1], "time": [2]}).assign(item=1).rename(columns={"item": "thing"}), "no column 'item'"),
])  # fmt: skip
def test_what_is_no_table_of_rows_is_refused_with_the_line_that_helps(given, line):
    with pytest.raises(DataError, match=line):
        from_frame(given)


def test_a_word_is_no_answer_to_whether_revisits_are_merged():
    with pytest.raises(ValueError, match="merge_revisits must be True or False, got 'no'"):
        from_frame(pd.DataFrame({"user": [1], "item": [2], "time": [3]}), merge_revisits="no")


def test_two_roles_are_two_columns():
    with pytest.raises(DataError, match="user and time are both column 'user'"):
        from_frame(pd.DataFrame({"user": [1], "item": [2]}), time="user")
