"""Ranking Distillation step by step as its authors released it."""

import pytest
from parity import official, rd

from rdcore.distill import Discrepancy, Hybrid, Position

pytestmark = pytest.mark.skipif(bool(official.missing(rd.NAME)), reason=official.missing(rd.NAME))

SAMPLED = Discrepancy(samples=30, estimate="instance")
SCHEMES = {
    "teacher or student alone": {},
    "position": {"weights": Position()},
    "hybrid as released": {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=1), "start": 0},
    "hybrid, ranks from the second epoch on": {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=2), "start": 1},
    "hybrid, normalised": {
        "weights": Hybrid(discrepancy=SAMPLED, start_epoch=1, normalise=True), "start": 0, "normalise": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_one_step_both_are_equal_to_rounding(scheme, tmp_path):
    """A first step of Adam is the sign of the gradient, so a weight with a tiny gradient may differ more than rounding."""
    steps, difference, ours, theirs, moved = rd.compare(tmp_path, steps=1, n=100, **SCHEMES[scheme])
    assert steps == 1
    assert ours == pytest.approx(theirs, abs=6e-5)  # theirs are printed with four digits
    assert difference < 1e-5 < 0.01 * moved


@pytest.mark.parametrize("scheme", SCHEMES)
def test_after_fifty_steps_they_differ_by_what_rounding_grows_to(scheme, tmp_path):
    steps, difference, ours, theirs, moved = rd.compare(tmp_path, steps=50, **SCHEMES[scheme])
    assert steps >= 50
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert difference < 1e-3 < 0.05 * moved


def test_another_scheme_is_told_apart(tmp_path):
    """The tolerance above would not hide a wrong weight: position against hybrid from the first epoch on."""
    _, difference, _, _, _ = rd.compare(tmp_path, steps=50, weights=Hybrid(discrepancy=SAMPLED, start_epoch=1), start=10**6)
    assert difference > 1e-2
