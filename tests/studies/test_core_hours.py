"""About how many core-hours a run takes: which records count, and which are nearest."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from rdcore.models import CaserSettings
from studies.common.cost import Known, core_hours, kind_of, known_from, sums
from studies.common.profiles import PROFILES

CASER, FOSSIL = PROFILES["paper"].rd
TEACHER, STUDENT = CASER.teacher("F", 1), CASER.student("F", 1)
HYBRID, POSITION = (CASER.distilled("F", 1, role) for role in ("RD-hybrid", "RD-position"))


def known(run, seconds: float, epochs: int = 50) -> Known:
    return Known(kind_of(run.description), epochs, seconds * epochs)


def record(run, seconds: float, epochs: int, device: str = "cpu", threads: int = 1) -> SimpleNamespace:
    environment = {"device": device, "threads": threads, "seconds": seconds}
    return SimpleNamespace(description=run.description, environment=environment, history=pd.DataFrame({"loss": [1.0] * epochs}))


def test_only_what_a_cpu_made_counts_with_all_its_threads():
    found = known_from([record(TEACHER, 100, 50), record(TEACHER, 10, 50, "NVIDIA H200"), record(STUDENT, 30, 10, threads=2)])
    assert [(one.kind[4], one.epochs, one.seconds) for one in found] == [(100, 50, 100), (50, 10, 60)]
    assert known_from([record(TEACHER, 3, 0)])[0].epochs == 1, "what is counted from the data has no epochs"


def test_the_median_of_the_same_kind_times_the_epochs():
    files = [known(HYBRID, seconds) for seconds in (20, 30, 100)] + [known(POSITION, 1), known(TEACHER, 2)]
    assert core_hours(HYBRID, files) == pytest.approx(30 * 50 / 3600)
    twice = replace(HYBRID, seed=4, training=replace(HYBRID.training, epochs=100))
    assert core_hours(twice, files) == pytest.approx(30 * 100 / 3600), "a longer run of another seed"


def test_the_nearest_kind_stands_in():
    on_v = CASER.distilled("V", 101, "RD-position")
    wide = replace(POSITION, model=CaserSettings(dim=200))
    files = [known(TEACHER, 1), known(POSITION, 4), known(on_v, 5), known(HYBRID, 9)]
    assert core_hours(POSITION, files) == pytest.approx(4 * 50 / 3600)
    assert core_hours(on_v, files[:2]) == pytest.approx(4 * 50 / 3600), "the other stage"
    assert core_hours(wide, files) == pytest.approx(4.5 * 50 / 3600), "another size"
    assert core_hours(CASER.distilled("F", 1, "RD-equal"), files[:2]) == pytest.approx(2.5 * 50 / 3600), "another method"
    assert core_hours(FOSSIL.teacher("F", 1), files) is None, "not another model"
    assert core_hours(replace(TEACHER, dataset="other"), files) is None, "not another data set"


def test_how_a_run_is_evaluated_says_more_of_its_time_than_its_method():
    """A run on stage L ranks fewer items each time; it stands in only where there is nothing nearer."""
    dataset, model, _, method, dim, _ = kind_of(POSITION.description)
    left_out = Known((dataset, model, True, method, dim, "L"), 50, 9 * 50)
    assert core_hours(POSITION, [left_out, known(TEACHER, 2)]) == pytest.approx(2 * 50 / 3600)
    assert core_hours(POSITION, [left_out]) == pytest.approx(9 * 50 / 3600)


def test_a_run_that_may_stop_early_takes_as_many_epochs_as_others_did():
    run = PROFILES["paper"].derrd[0].student("L", 1)
    assert run.training.epochs == 1000 and run.training.patience
    files = [known(run, 2, epochs) for epochs in (100, 300, 900)]
    assert core_hours(run, files) == pytest.approx(2 * 300 / 3600)


def test_sums_name_each_data_set_and_model_and_what_is_not_known():
    fossil = FOSSIL.teacher("F", 1)
    assert sums([(TEACHER, 1.0), (fossil, None), (STUDENT, 0.5), (HYBRID, None)]) == [
        "gowalla Caser: 3 runs left, 1.5 core-hours, without 1 of which nothing is known",
        "gowalla Fossil: 1 run left, unknown",
        "all: 4 runs left, 1.5 core-hours, without 2 of which nothing is known",
    ]
