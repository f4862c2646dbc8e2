"""Fit and what VkD shares with it: the slow sum, what is drawn, and what must hold for any method."""

import pytest
import torch
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, FitSettings
from rdcore.distill.followups.fit import feature_distance
from rdcore.models import ItemCFSettings
from rdcore.train.loop import training_data

EXAMPLES = {
    "Fit": FitSettings(hidden=6, weight=0.02),
    "Fit-linear": FitSettings(linear=True, bias=True, unit=True, weight=0.02),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def test_value_by_hand():
    """(1, 2) against (.5, 1.5), and (3, 0) against (3, 0). Centred: (-1, 1) and (1, -1) against the same."""
    t, s = torch.tensor([[1.0, 2], [3, 0]]), torch.tensor([[0.5, 1.5], [3, 0]])
    assert feature_distance(t, s).item() == pytest.approx(0.5)
    assert feature_distance(t, s, centred=True).item() == pytest.approx(1.5**2 + 0.5**2 + 2**2 + 1)
    assert feature_distance(t, 7 * t, unit=True).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("form", [{}, {"centred": True}, {"unit": True}])
def test_gradient(form):
    t, s = torch.randn(2, 4, 3, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(lambda s: feature_distance(t, s, **form), (s.requires_grad_(),))


def prepared(settings, student="BPR", rows=10):
    torch.manual_seed(3)
    model, teacher = STUDENTS[student].build(DATA.n_users, DATA.n_items), with_opinions("BPR")
    instances = training_data(DATA, model.window, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(rows)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(rows, 1, dtype=torch.long))
    return model, teacher, method, batch


def test_users_and_items_are_drawn_and_not_the_batchs():
    """All of them where the batch has more rows: then the loss is the sum over everything."""
    model, teacher, method, batch = prepared(FitSettings(linear=True, weight=0.3), rows=40)
    drawn = [method._drawn(24, 10) for _ in range(200)]
    assert all(len(set(each.tolist())) == 10 for each in drawn)
    counts = torch.bincount(torch.cat(drawn), minlength=24)
    assert counts.min() > 50 and counts.max() < 120
    loss = method.loss(model, batch, 0, model.encode(batch.queries)).item()
    with torch.no_grad():
        pairs = [(teacher.user, model.user, method.users), (teacher.item_factors, model.item_factors, method.items)]
        expected = sum((t.weight - p(s.weight)).square().sum().item() for t, s, p in pairs)
    assert loss == pytest.approx(0.3 * expected, rel=1e-5)


def test_it_teaches_a_sequential_student_and_its_projectors_alone():
    holds(EXAMPLES["Fit"], "Caser", "BPR", experts=True)


def test_the_hidden_layer_is_five_times_the_teachers_vectors():
    method = prepared(FitSettings())[2]
    assert [tuple(value.shape) for value in method.users.parameters()] == [(35, 4), (35,), (7, 35), (7,)]


def test_settings_are_checked():
    for wrong in ({"weight": -1}, {"dropout": 1}, {"linear": 1}, {"hidden": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FitSettings(**wrong)
    with pytest.raises(ValueError, match="hidden=3 has no effect with linear=True"):
        FitSettings(linear=True, hidden=3)
    with pytest.raises(ValueError, match="bias=True has no effect with linear=False"):
        FitSettings(bias=True)
    student, counted = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), ItemCFSettings().fit(DATA)
    with pytest.raises(ValueError, match="Fit distils representations"):
        FitSettings().build(student, counted)
