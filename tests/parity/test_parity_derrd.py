"""BPR-MF, DE and RRD step by step as their authors released them."""

import pytest
from parity import derrd, official

pytestmark = pytest.mark.skipif(bool(official.missing(derrd.NAME)), reason=official.missing(derrd.NAME))


@pytest.mark.parametrize("method", ["BPR", "DE", "RRD"])
def test_after_one_step_both_are_equal_to_rounding(method):
    steps, difference, moved = derrd.compare(method, steps=1, n=100)
    assert steps == 1 and difference < 1e-5 < 0.01 * moved


@pytest.mark.parametrize("method", ["BPR", "DE", "RRD"])
def test_after_fifty_steps_they_differ_by_what_rounding_grows_to(method):
    steps, difference, moved = derrd.compare(method, steps=50)
    assert steps >= 50 and difference < 1e-3 < 0.05 * moved
