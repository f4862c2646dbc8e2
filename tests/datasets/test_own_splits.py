import numpy as np
import pandas as pd
import pytest

from rdcore.data import DataError, Interactions, from_frame, split, stage
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


def test_a_stage_by_date_leaks_nothing():
    frame = pd.DataFrame({"user": [0, 0, 0, 1, 1], "item": [1, 2, 3, 2, 4],
                          "time": ["2020-01-01", "2020-01-03", "2020-01-05", "2020-01-02", "2020-01-04"]})  # fmt: skip
    mine = from_frame(frame)
    cut = stage_by_date(mine, "2020-01-04")
    assert cut.fit.items.tolist() == [0, 1, 1] and cut.judge.items.tolist() == [2, 3] and cut.leak == 0
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
