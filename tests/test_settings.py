"""What becomes of settings in a description, and what keeps a key."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from rdcore.settings import Settings, added, inert
from rdcore.store.description import describe


@dataclass(frozen=True, kw_only=True)
class Plain(Settings):
    size: int = 3
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Later(Settings):
    revision = 2

    size: int = 3
    rate: float = 1.0
    share: float = added(1.0)


def test_a_class_without_a_revision_is_described_without_one():
    assert describe(Plain()) == {"type": "Plain", "size": 3, "rate": 1.0}
    assert describe(Later())["revision"] == 2


def test_an_added_field_is_left_out_at_its_default_alone():
    assert "share" not in describe(Later())
    assert describe(Later(share=0.5))["share"] == 0.5


def test_a_renamed_class_keeps_its_recorded_name():
    @dataclass(frozen=True, kw_only=True)
    class Renamed(Plain):
        record_name = "Plain"

    assert describe(Renamed()) == describe(Plain())


def test_only_the_plain_annotation_float_makes_one_run_of_two_spellings():
    @dataclass(frozen=True, kw_only=True)
    class Annotation(Settings):
        rate: Annotated[float, "a trap"] = 1.0

    assert repr(describe(Plain(rate=2))["rate"]) == "2.0"
    assert repr(describe(Annotation(rate=2))["rate"]) == "2"  # another key than 2.0


def test_what_has_no_effect_stays_at_its_default():
    inert(Plain(), "form='C'", "size", "rate")
    with pytest.raises(ValueError, match="^rate=2.0 has no effect with form='C': leave it at 1.0$"):
        inert(Plain(rate=2.0), "form='C'", "size", "rate")
