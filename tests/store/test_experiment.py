"""The description of a run: what its key depends on and what it refuses."""

import hashlib
import json
import math
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest

from rdcore import distill, models
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.files import paths
from rdcore.models import CaserSettings
from rdcore.store import names
from rdcore.store.description import describe
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common.earlier import as_before

TEACHER = Experiment(dataset="d", data_hash="0" * 64, stage="F", role="T", model=CaserSettings(dim=8))
STUDENT = replace(TEACHER, role="S", model=CaserSettings(dim=4))
DISTILLED = replace(STUDENT, role="RD", teacher=TEACHER, teacher_epoch=50, distillation=RDSettings())


def test_the_key_of_a_description_is_pinned():
    """As long as it holds, committed records are found. It changes with every field and revision: then rewrite it here
    (and know that all records of that kind are out of date)."""
    text = json.dumps(TEACHER.description, sort_keys=True)
    assert TEACHER.description == {
        "type": "Experiment", "revision": Experiment.revision, "dataset": "d", "data_hash": "0" * 64, "stage": "F", "role": "T",
        "model": {"type": "CaserSettings", "revision": CaserSettings.revision, "dim": 8, "window": 5, "vertical": 2,
                  "horizontal": 16, "dropout": 0.5},
        "training": {"type": "Training", "epochs": 50, "batch_size": 512, "learning_rate": 0.001, "weight_decay": 1e-06,
                     "negatives": 3, "base_weight": 1.0},
        "distillation": None, "teacher": None, "teacher_epoch": None, "evaluate_every": 5, "seed": 1,
    }  # fmt: skip
    assert TEACHER.key == hashlib.sha256(text.encode()).hexdigest()[:16]


COMMITTED = {file.parent.name.rsplit("-", 1)[-1]: file for file in paths.replicated().glob("*/description.json")}
SETTINGS = {kind.__name__: kind for kind in (
    *vars(distill).values(), *vars(models).values(), Training, Experiment,
) if isinstance(kind, type)}  # fmt: skip


def made_again(described):
    """The objects that a description was made from."""
    if not isinstance(described, dict):
        return described
    given = {name: made_again(value) for name, value in described.items() if name not in ("type", "revision")}
    if given.get("teacher"):
        given["teacher"] = made_again(json.loads(COMMITTED[given["teacher"]].read_text()))
    return SETTINGS[described["type"]](**given)


@pytest.mark.parametrize("key", COMMITTED)
def test_a_committed_run_can_still_be_described_and_has_its_key(key):
    """Or it would be trained again, or be refused by settings that were sharpened since."""
    run = made_again(json.loads(COMMITTED[key].read_text()))
    assert key in (run.key, as_before(run).key)  # Caser's records are of its revision 1


OTHER = {
    "epochs": 45, "batch_size": 256, "learning_rate": 0.002, "weight_decay": 0.0, "negatives": 4, "base_weight": 0.5,
    "dim": 5, "window": 4, "vertical": 3, "horizontal": 8, "dropout": 0.4, "K": 11, "exclude": "seen", "weight": 0.5,
    "start_epoch": 12, "lam": 2.0, "mu": 0.2, "samples": 99, "estimate": "exact", "dataset": "e", "role": "RD-2",
    "reduction": "sum", "instances": "users", "share": 0.5,
    "lists": "popular", "before": "discrepancy", "evaluate_every": 10, "seed": 2, "teacher_epoch": 45,
    "teacher_at": "last",
}  # fmt: skip


def variations(value):
    """Every copy of a description with one field changed, however deep: (name, copy)."""
    for field in fields(value):
        old = getattr(value, field.name)
        if isinstance(old, Experiment):
            yield f"{field.name}.role", replace(value, teacher=replace(old, role="T-2"))
        elif is_dataclass(old):
            for name, changed in variations(old):
                yield f"{field.name}.{name}", replace(value, **{field.name: changed})
        elif isinstance(old, bool):
            yield field.name, replace(value, **{field.name: not old})
        elif field.name in OTHER:
            yield field.name, replace(value, **{field.name: OTHER[field.name]})
        elif field.name not in ("stage", "data_hash", "patience"):  # they depend on each other: changed together below
            raise AssertionError(f"no other value known for {field.name}: add it to OTHER")


def test_the_key_changes_with_every_field():
    # teacher_epoch=45 and training.epochs=45 are both among the teacher's evaluated epochs
    keys = {name: changed.key for name, changed in variations(DISTILLED)}
    assert len(keys) >= 27
    assert len({DISTILLED.key, *keys.values()}) == len(keys) + 1
    together = ({}, {"stage": "V"}, {"stage": "L"}, {"data_hash": "1" * 64}, {"stage": "L", "training": Training(patience=3)})
    assert len({replace(TEACHER, **change).key for change in together}) == 5


def test_stage_l_is_taught_by_the_best_epoch_and_alone_has_patience():
    teacher = replace(TEACHER, stage="L")
    taught = replace(DISTILLED, stage="L", teacher=teacher, teacher_epoch="best")
    assert taught.description["teacher_epoch"] == "best" and taught.description["teacher"] == teacher.key
    for wrong in (50, True):
        with pytest.raises(ValueError, match="teacher_epoch must be one of .*'best'"):
            replace(taught, teacher_epoch=wrong)
    with pytest.raises(ValueError, match="teacher_epoch"):
        replace(DISTILLED, teacher_epoch="best")
    with pytest.raises(ValueError, match="patience belongs to stage 'L'"):
        replace(TEACHER, training=Training(patience=3))


def test_the_key_changes_with_every_revision_also_the_teachers(monkeypatch):
    keys, teachers = {_fresh(DISTILLED).key}, _fresh(TEACHER).key
    for settings in (Experiment, CaserSettings, RDSettings):
        with monkeypatch.context() as patch:
            patch.setattr(settings, "revision", 99)
            keys.add(_fresh(DISTILLED).key)
            if settings is not RDSettings:
                assert _fresh(TEACHER).key != teachers
    assert len(keys) == 4
    assert _fresh(DISTILLED).key == DISTILLED.key


def _fresh(experiment: Experiment) -> Experiment:
    """The same without its cached key."""
    return replace(experiment, teacher=experiment.teacher and replace(experiment.teacher))


def test_whole_numbers_for_floats_are_the_same_run():
    spelled = replace(
        DISTILLED,
        training=Training(base_weight=1),
        distillation=RDSettings(weight=1, weights=Hybrid(position=Position(lam=1))),
    )
    assert spelled.key == DISTILLED.key


def test_schemes_with_equal_fields_are_different_runs():
    schemes = (Equal(), Reciprocal(), Position(), Discrepancy(), Hybrid(), Hybrid(normalise=True), Position(normalise=False))
    keys = {replace(DISTILLED, distillation=RDSettings(weights=scheme)).key for scheme in schemes}
    assert len(keys) == len(schemes)


def test_a_description_survives_json():
    assert json.loads(json.dumps(DISTILLED.description)) == DISTILLED.description
    assert DISTILLED.description["teacher"] == TEACHER.key
    assert DISTILLED.description["distillation"]["weights"]["discrepancy"]["type"] == "Discrepancy"


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [(50, 5, [*range(5, 51, 5)]), (7, 3, [3, 6, 7]), (4, 10, [4]), (1, 1, [1]), (6, 6, [6])],
)
def test_evaluated_epochs_are_the_grid_and_the_last(epochs, every, expected):
    experiment = replace(TEACHER, training=Training(epochs=epochs), evaluate_every=every)
    assert experiment.evaluated_epochs == expected


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", "T"), ("evaluate_every", 0), ("evaluate_every", 2.0), ("seed", -1), ("seed", 1.0),
        ("data_hash", "0" * 63), ("data_hash", "0" * 65), ("data_hash", "0" * 63 + "A"), ("data_hash", "0" * 64 + " "),
    ],
)  # fmt: skip
def test_bad_fields_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        replace(TEACHER, **{field: value})
    assert replace(TEACHER, seed=0).key != TEACHER.key, "0 is a seed"


@pytest.mark.parametrize("missing", ["teacher", "teacher_epoch", "distillation"])
def test_teacher_epoch_and_distillation_belong_together(missing):
    with pytest.raises(ValueError, match="belong together"):
        replace(DISTILLED, **{missing: None})


def test_a_teacher_of_another_stage_is_refused():
    with pytest.raises(ValueError, match="teacher's stage differs"):
        replace(DISTILLED, teacher=replace(TEACHER, stage="V"))


def test_a_teacher_of_other_data_is_refused():
    with pytest.raises(ValueError, match="teacher's data_hash differs"):
        replace(DISTILLED, teacher=replace(TEACHER, data_hash="1" * 64))


def test_an_epoch_the_teacher_keeps_nothing_of_is_refused_with_those_it_keeps():
    with pytest.raises(ValueError, match=r"evaluated epochs \[5, 10, .*50\], got 7"):
        replace(DISTILLED, teacher_epoch=7)


def test_a_class_without_postponed_annotations_has_one_key_for_both_spellings_of_a_number():
    """This module has none, like a notebook."""

    @dataclass(frozen=True, kw_only=True)
    class Own:
        temperature: float = 1.0

    assert describe(Own(temperature=2)) == describe(Own(temperature=2.0)) == {"type": "Own", "temperature": 2.0}
    assert isinstance(describe(Own(temperature=2))["temperature"], float)


def test_settings_that_are_no_dataclass_are_refused():
    with pytest.raises(ValueError, match="Plain cannot be part of a run's description: make it a frozen dataclass"):
        describe(type("Plain", (), {})())


def test_a_whole_number_has_64_bits_with_its_sign():
    """Other programs read descriptions, and not all of them know longer ones."""
    assert describe([2**63 - 1, 1 - 2**63]) == [2**63 - 1, 1 - 2**63]
    for value in (2**63, -(2**63)):
        with pytest.raises(ValueError, match="cannot be part of a run's description"):
            describe(value)


def test_a_number_that_json_does_not_know_is_refused():
    with pytest.raises(ValueError):
        replace(DISTILLED, distillation=RDSettings(weight=math.inf)).key  # noqa: B018


def test_a_description_cannot_be_changed_nor_given_by_position():
    with pytest.raises(AttributeError):
        TEACHER.seed = 2
    with pytest.raises(TypeError):
        Experiment("d", "0", "F", "T", CaserSettings(dim=4))


def test_a_field_that_came_later_changes_no_key_at_its_default():
    """Runs on record before `reduction`, `share` and `lists` existed did what their defaults do, and keep their keys."""
    assert not {"reduction", "share"} & set(TEACHER.description["training"])
    assert "lists" not in DISTILLED.description["distillation"]
    changed = replace(TEACHER, training=Training(share=0.5))
    assert changed.description["training"]["share"] == 0.5 and changed.key != TEACHER.key


@pytest.mark.parametrize(
    ("settings", "role", "label", "choice", "trained"),
    [
        ({"type": "CaserSettings", "dim": 50}, "RD-hybrid", "gowalla-F-RD-hybrid-d50-seed1", "RD-hybrid", True),
        ({"type": "FossilSettings", "dim": 50}, "S", "gowalla-F-Fossil-S-d50-seed1", "Fossil S", True),
        ({"type": "BPRMFSettings", "dim": 20}, "T", "gowalla-F-BPR-T-d20-seed1", "BPR T", True),
        ({"type": "PopularitySettings"}, "baseline", "gowalla-F-POP-baseline-seed1", "POP baseline", False),
        ({"type": "ItemCFSettings"}, "baseline", "gowalla-F-ItemCF-baseline-seed1", "ItemCF baseline", False),
        ({"type": "EASESettings"}, "T", "gowalla-F-EASE-T-seed1", "EASE T", False),
        ({"type": "GFCFSettings"}, "T", "gowalla-F-GF-CF-T-seed1", "GF-CF T", False),
        ({"type": "IALSSettings", "dim": 8}, "T", "gowalla-F-iALS-T-d8-seed1", "iALS T", False),
    ],
)
def test_names_of_a_run_by_hand(settings, role, label, choice, trained):
    """Caser, the paper's first model, goes without its name."""
    description = {"dataset": "gowalla", "stage": "F", "model": settings, "role": role, "seed": 1}
    assert (names.label(description), names.choice_name(description), names.trained(description)) == (label, choice, trained)
    assert names.choice_name(description, "V") == choice.removesuffix(role) + "V", "of another role of the same model"
