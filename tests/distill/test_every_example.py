"""What must hold for every method, by the examples of its test: nobody has to add it here."""

import json

import pytest
import torch
from method_examples import examples
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore import distill
from rdcore.data.sampling import stream
from rdcore.distill import Batch, BothSettings, CDSettings, RRDSettings
from rdcore.settings import Settings
from rdcore.store.description import describe
from rdcore.train.loop import training_data

pytestmark = pytest.mark.usefixtures("one_thread")
GIVEN = examples()
OF_THE_PAPERS = {"BothSettings", "CDSettings", "DESettings", "RDSettings", "RRDSettings", "RankDistilSettings"}


def test_every_later_method_has_an_example():
    known = {name for name in distill.__all__ if name.endswith("Settings")}
    assert known - OF_THE_PAPERS == {type(settings).__name__ for settings in GIVEN.values()}


@pytest.mark.parametrize("name", GIVEN)
def test_it_teaches_the_student_and_its_own_parameters_alone(name):
    holds(GIVEN[name], "BPR", "BPR", experts=None)


@pytest.mark.parametrize("student", ["BPR", "Caser"])
@pytest.mark.parametrize("teacher", ["BPR", "Caser"])
def test_samples_belong_to_users_exactly_where_neither_model_has_a_memory(student, teacher):
    """Else what is taught of a query would be that of its user's last one."""
    asked, models = 0, (STUDENTS[student].build(DATA.n_users, DATA.n_items), with_opinions(teacher))
    for name, settings in {**GIVEN, "RRD": RRDSettings(K=2, L=2, depth=5), "CD": CDSettings(depth=5, samples=3)}.items():
        try:
            method = settings.build(*models)
        except ValueError as refused:  # what ranks users for an item
            assert "Caser" in (student, teacher) and "memory" in str(refused)
            continue
        if hasattr(method, "per_user"):
            asked += 1
            assert method.per_user is (student == teacher == "BPR"), name
    assert asked > 5


@pytest.mark.parametrize("name", GIVEN)
def test_its_settings_describe_a_run(name):
    settings = GIVEN[name]
    assert isinstance(settings, Settings) and type(settings).revision is not None
    assert json.loads(json.dumps(describe(settings), allow_nan=False))["type"] == type(settings).__name__


def loss_of_a_batch(settings, teacher) -> float:
    torch.manual_seed(3)
    model, instances = with_opinions("BPR", seed=4), training_data(DATA, 0, "cpu")
    method, index = settings.build(model, teacher), torch.arange(30)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    batch = Batch(index, instances.queries[index], instances.target[index], torch.arange(30)[:, None])
    return method.loss(model, batch, 0, model.encode(batch.queries)).item()


ORDER_ALONE, SCORES = ("DCD", "IR-RRD", "UnKD", "HetComp"), ("KD-CE", "RCE-KD", "DLLM2Rec")  # of the teacher


@pytest.mark.parametrize("name", [name for name in GIVEN if name.startswith(ORDER_ALONE + SCORES)])
def test_methods_that_read_an_order_do_not_care_for_the_scale_of_the_teachers_scores(name):
    """Those that read scores do: they need a temperature of their scale."""
    teacher, larger = with_opinions("BPR"), with_opinions("BPR")
    with torch.no_grad():
        for vectors in larger.parameters():
            vectors *= 10
    before, after = (loss_of_a_batch(GIVEN[name], each) for each in (teacher, larger))
    assert (after == pytest.approx(before, rel=1e-6)) == name.startswith(ORDER_ALONE)


def test_two_later_methods_are_added_up():
    """FreqD with cross-entropy beside it is what its authors call FreqAll."""
    both = BothSettings(first=GIVEN["FreqD"], second=GIVEN["KD-CE"])
    teacher, losses = with_opinions("BPR"), []
    for settings in (both, GIVEN["FreqD"], GIVEN["KD-CE"]):
        losses.append(loss_of_a_batch(settings, teacher))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-5)
