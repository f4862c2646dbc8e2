"""What must hold for every method, by the examples of its test: nobody has to add it here."""

import json

import pytest
from method_examples import examples
from small_contract import holds

from rdcore import distill
from rdcore.settings import Settings, describe

pytestmark = pytest.mark.usefixtures("one_thread")
GIVEN = examples()
OF_THE_PAPERS = {"BothSettings", "CDSettings", "DESettings", "RDSettings", "RRDSettings", "RankDistilSettings"}


def test_every_later_method_has_an_example():
    known = {name for name in distill.__all__ if name.endswith("Settings")}
    assert known - OF_THE_PAPERS == {type(settings).__name__ for settings in GIVEN.values()}


@pytest.mark.parametrize("name", GIVEN)
def test_it_teaches_the_student_and_its_own_parameters_alone(name):
    holds(GIVEN[name], "BPR", "BPR", experts=None)


@pytest.mark.parametrize("name", GIVEN)
def test_its_settings_describe_a_run(name):
    settings = GIVEN[name]
    assert isinstance(settings, Settings) and type(settings).revision is not None
    assert json.loads(json.dumps(describe(settings), allow_nan=False))["type"] == type(settings).__name__
