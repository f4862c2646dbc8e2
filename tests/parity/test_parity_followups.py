"""The later methods step by step as their authors released them."""

import pytest
from parity import followups, official


@pytest.fixture(params=followups.METHODS)
def name(request) -> str:
    if reason := official.missing(followups.METHODS[request.param].checkout):
        pytest.skip(reason)
    return request.param


def test_a_step_has_their_loss_and_gradient_and_leaves_their_weights(name):
    found = followups.compare(name, steps=1, n=100)
    assert found["steps"] == 1 and found["loss"] < 1e-5 and found["gradient"] < 1e-4
    assert found["difference"] < 1e-5 < 0.01 * found["moved"]


def test_after_fifty_steps_they_differ_by_what_rounding_grows_to(name):
    found = followups.compare(name, steps=50)
    assert found["steps"] >= 50 and found["loss"] < 1e-3
    assert found["difference"] < 1e-3 < 0.05 * found["moved"]
