"""Committed records of Caser are read at revision 1 until a protocol's runs are all there at revision 2."""

import json
from dataclasses import replace

import pytest

from rdcore.distill import RDSettings
from rdcore.files import paths
from rdcore.models import BPRMFSettings, CaserSettings
from rdcore.store.experiment import Experiment
from studies.common import earlier
from studies.common.earlier import as_before, on_record

TEACHER = Experiment(dataset="d", data_hash="0" * 64, stage="F", role="T", model=CaserSettings(dim=8))
STUDENT = replace(TEACHER, role="S", model=CaserSettings(dim=4))
OTHER = replace(TEACHER, model=BPRMFSettings(dim=4))


def commit(folder, *experiments):
    for run in experiments:
        place = folder / f"{run.label}-{run.key}"
        place.mkdir(parents=True)
        (place / "description.json").write_text(json.dumps(run.description))


def test_only_the_revision_of_caser_differs():
    assert as_before(TEACHER).description == TEACHER.description | {"model": TEACHER.description["model"] | {"revision": 1}}
    assert as_before(TEACHER).label == TEACHER.label and as_before(TEACHER).key != TEACHER.key
    assert as_before(OTHER).key == OTHER.key
    assert as_before(as_before(TEACHER)).key == as_before(TEACHER).key


def test_a_protocol_moves_to_the_new_revision_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    table, before = [TEACHER, STUDENT, OTHER], [as_before(run) for run in (TEACHER, STUDENT, OTHER)]
    assert on_record(table) == table, "no record: nothing to go on with"
    commit(tmp_path, *before)
    assert on_record(table) == before
    commit(tmp_path, TEACHER)
    assert on_record(table) == before, "half of the rows are not enough"
    assert on_record([TEACHER]) == [as_before(TEACHER)], "also where only that row is asked for"
    commit(tmp_path, STUDENT)
    assert on_record(table) == table


def test_protocols_move_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    longer = replace(TEACHER, training=replace(TEACHER.training, epochs=80))
    taught = replace(STUDENT, role="RD", distillation=RDSettings(), teacher=longer, teacher_epoch=70)
    commit(tmp_path, *(as_before(run) for run in (TEACHER, longer, taught)), TEACHER)
    assert on_record([TEACHER, longer, taught]) == [TEACHER, as_before(longer), as_before(taught)]
    assert as_before(taught).teacher == as_before(longer) and as_before(taught).key != taught.key
    commit(tmp_path, longer, taught)
    assert on_record([TEACHER, longer, taught]) == [TEACHER, longer, taught]


def test_nothing_is_trained_under_the_earlier_key():
    with pytest.raises(ValueError, match="revision 1 of Caser is on record only"):
        as_before(TEACHER).model.build(3, 4)


def test_what_is_trained_or_of_another_profile_is_asked_for_as_planned(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    monkeypatch.setattr(earlier.runs, "records", lambda asked, **options: (asked, options))
    commit(tmp_path, as_before(TEACHER))
    cases = ("paper", False, as_before(TEACHER)), ("paper", True, TEACHER), ("small", False, TEACHER)
    for profile, recompute, asked in cases:
        options = {"profile": profile, "recompute": recompute, "optional": True}
        assert earlier.records((TEACHER,), **options) == ([asked], options)
