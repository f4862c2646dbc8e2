"""VkD: its projection stays orthogonal while it is trained, and what must hold for any method."""

import pytest
import torch
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.distill import VkDSettings
from rdcore.models import BPRMFSettings, ItemCFSettings

EXAMPLES = {"VkD": VkDSettings(weight=0.02)}
pytestmark = pytest.mark.usefixtures("one_thread")


def assert_orthogonal(method, size: int):
    for projection in (method.users, method.items):
        weight = projection.weight.detach()
        product = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
        torch.testing.assert_close(product, torch.eye(size), atol=1e-5, rtol=0)


def test_the_projections_are_orthogonal_before_and_after_training():
    method = fitted(EXAMPLES["VkD"], "BPR", with_opinions("BPR"), epochs=3)[1]
    assert_orthogonal(method, 4)
    built = [BPRMFSettings(dim=dim).build(DATA.n_users, DATA.n_items) for dim in (5, 3)]
    assert_orthogonal(VkDSettings().build(*built), 3)


def test_lengths_and_angles_survive_the_projection():
    method = VkDSettings().build(STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), with_opinions("BPR"))
    x = torch.randn(6, 4)
    y = method.users(x)
    torch.testing.assert_close(y @ y.T, x @ x.T, atol=1e-5, rtol=1e-4)


def test_it_teaches_a_sequential_student_and_its_projections_alone():
    holds(EXAMPLES["VkD"], "Caser", "BPR", experts=True)


def test_settings_are_checked():
    for wrong in ({"weight": -1}, {"centred": 1}, {"unit": None}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            VkDSettings(**wrong)
    student, counted = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), ItemCFSettings().fit(DATA)
    with pytest.raises(ValueError, match="VkD distils representations"):
        VkDSettings().build(student, counted)
