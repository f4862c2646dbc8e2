"""Every room has what the loops over all papers ask for; examples in docstrings are true."""

import doctest

import pytest

import studies
from studies.common import study, text


@pytest.mark.parametrize("room", studies.rooms(), ids=studies.STUDIES)
def test_a_room_has_everything_that_the_loops_ask_for(room):
    asked = [name for name in vars(study.Study) if not name.startswith("_")]
    assert len(asked) >= 6 and [name for name in asked if not callable(getattr(room, name, None))] == []


@pytest.mark.parametrize("module", [text, study])
def test_examples_are_true(module):
    assert doctest.testmod(module).attempted > 0 == doctest.testmod(module).failed
