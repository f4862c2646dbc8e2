import datetime

import numpy as np
import pandas as pd
import pytest

from rdcore.data import DataError, Interactions, Stage, from_frame, split, stage
from rdcore.datasets import synthetic
from rdcore.datasets.own_splits import stage_by_date, stages_of_parts


def test_the_parts_of_the_papers_split_give_its_stages():
    whole = synthetic.generate(n_users=20)
    parts = split(whole)
    stages = stages_of_parts(parts.train, parts.test, parts.validation)
    for name in ("V", "F"):
        expected = stage(whole, name)
        assert stages[name].fit.sha256() == expected.fit.sha256()
        assert stages[name].judge.sha256() == expected.judge.sha256()
        assert stages[name].sha256() == expected.sha256()
    assert stages["V"].sha256() != stages["F"].sha256()
    two = stages_of_parts(parts.train, parts.test)
    assert list(two) == ["F"] and two["F"].fit is parts.train


def test_parts_that_do_not_fit_are_refused():
    train, test = Interactions("a", [0, 1], [0, 2], 3), Interactions("b", [2], [0, 1], 4)
    with pytest.raises(DataError, match="do not have the same users and items"):
        stages_of_parts(train, test)
    with pytest.raises(DataError, match="re-visits"):
        stages_of_parts(train, Interactions("b", [1], [0, 1], 3))


def test_parts_are_interactions_with_rows_and_of_one_size():
    train, none = Interactions("a", [0, 1], [0, 2], 3), Interactions("b", [], [0, 0], 3)
    for parts in ((train, none), (none, train)):
        with pytest.raises(DataError, match="'b' has no row"):
            stages_of_parts(*parts)
    with pytest.raises(DataError, match="must be Interactions, not DataFrame"):
        stages_of_parts(train, pd.DataFrame())
    with pytest.raises(DataError, match=r"'a' has \(1, 3\) users and items, and 'c' \(2, 3\): both need the same ones"):
        Stage("F", train, Interactions("c", [2], [0, 1, 1], 3))


def test_parts_have_times_of_one_unit_and_the_same_features():
    def part(items, **more):
        return Interactions("a", items, [0, len(items)], 3, **more)

    with pytest.raises(DataError, match="'a' has times in s and 'a' in ms"):
        stages_of_parts(part([0, 1], times=[1, 2], time_unit="s"), part([2], times=[3000], time_unit="ms"))
    features = np.ones((3, 1))
    with pytest.raises(DataError, match="do not have the same item_features"):
        stages_of_parts(part([0, 1], item_features=features), part([2]))
    assert stages_of_parts(part([0, 1], item_features=features), part([2], item_features=features))["F"].fit.n_items == 3


def test_a_date_cuts_interactions_and_says_what_dates_there_are():
    frame = pd.DataFrame({"user": 0, "item": [1, 2], "time": ["2020-01-01", "2020-01-03T00:00:00.5"]})
    for other in (frame, stage(synthetic.generate(n_users=5), "F")):
        with pytest.raises(DataError, match=f"a date cuts Interactions, not a {type(other).__name__}"):
            stage_by_date(other, "2020-01-02")
    with pytest.raises(DataError, match="in ms, that is 2020-01-01T00:00:00.000 to 2020-01-03T00:00:00.500"):
        stage_by_date(from_frame(frame), 1577836800)  # seconds, and the times are in milliseconds


@pytest.mark.parametrize("date, message", [
    ("2020-13-01", "'2020-13-01' in row 0, a date that cannot be read"), ("01.02.2020", "which is no ISO date"),
    ("1577836800", "is a number as text"), (None, "date must be a date"), (pd.NaT, "date must be a date"),
    ("", "date must be a date"),
    (1577836800.0, "date must be a date"), (True, "date must be a date"), ([1], "date must be a date, .* not a list"),
    ("2200-12-31", "no row at or after"), ("1700-01-01", "no row before"),
])  # fmt: skip
def test_a_date_that_is_none_is_refused(date, message):
    frame = pd.DataFrame({"user": 0, "item": [1, 2, 3], "time": ["2020-01-01", "2020-01-03", "2020-01-05"]})
    with pytest.raises(DataError, match=message):
        stage_by_date(from_frame(frame), date)


def test_a_date_of_any_kind_cuts_alike():
    moments = pd.to_datetime(pd.Series(["2020-01-01", "2020-01-03 00:00:00.001", "2020-01-05"], dtype=object), format="ISO8601")
    mine = from_frame(pd.DataFrame({"user": 0, "item": [1, 2, 3], "time": moments}))
    assert mine.time_unit == "ms"
    dates = ["2020-01-03T01:00:00.0005+01:00", np.datetime64("2020-01-03T00:00:00.000500"),
             pd.Timestamp("2020-01-03 00:00:00.0005"), datetime.datetime(2020, 1, 3, 0, 0, 0, 500), 1578009600001]  # fmt: skip
    assert {stage_by_date(mine, date).sha256() for date in dates} == {stage_by_date(mine, dates[0]).sha256()}
    assert len(stage_by_date(mine, datetime.date(2020, 1, 4)).fit) == 2
    with pytest.raises(ValueError, match="name must be 'V' or 'F'"):
        stage_by_date(mine, dates[0], "L")


def test_a_stage_by_date_leaks_nothing():
    frame = pd.DataFrame({"user": [0, 0, 0, 1, 1], "item": [1, 2, 3, 2, 4],
                          "time": ["2020-01-01", "2020-01-03", "2020-01-05", "2020-01-02", "2020-01-04"]})  # fmt: skip
    mine = from_frame(frame)
    cut = stage_by_date(mine, "2020-01-04")
    assert cut.fit.items.tolist() == [0, 1, 1] and cut.judge.items.tolist() == [2, 3]
    assert cut.fit.times.max() < cut.judge.times.min()
    assert stage_by_date(mine, int(pd.Timestamp("2020-01-04").timestamp())).sha256() == cut.sha256()
    assert stage_by_date(mine, "2020-01-04T01:00:00+01:00").sha256() == cut.sha256()
    assert stage_by_date(mine, "2020-01-05").sha256() != cut.sha256()
    for date, message in (("2019-01-01", "no row before"), ("2021-01-01", "no row at or after")):
        with pytest.raises(DataError, match=message):
            stage_by_date(mine, date)
    with pytest.raises(DataError, match="plain numbers as times"):
        stage_by_date(from_frame(frame.assign(time=np.arange(5))), "2020-01-04")
    with pytest.raises(DataError, match="has no times"):
        stage_by_date(from_frame(frame, time=None), 3)
