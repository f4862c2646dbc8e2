"""gBCE and SASRec's encoder step by step as gSASRec's authors released them."""

import pytest
from parity import gsasrec, official

pytestmark = pytest.mark.skipif(bool(official.missing(gsasrec.NAME)), reason=official.missing(gsasrec.NAME))


@pytest.mark.parametrize(("tied", "shared"), [(True, True), (False, False)])
@pytest.mark.parametrize("steps", [1, 50])
def test_contexts_losses_and_weights_are_theirs_to_rounding(steps, tied, shared, tmp_path):
    """In float64."""
    found = gsasrec.compare(steps, tmp_path, tied=tied, shared=shared)
    assert found["context"] < 1e-9 and found["loss"] < 1e-9 * steps
    assert found["weights"] < 1e-9 < 0.01 * found["moved"]


def test_another_calibration_is_told_apart(tmp_path):
    found = gsasrec.compare(1, tmp_path, tied=False, shared=False, calibration=0.7)
    assert found["loss"] > 1e-3 and found["context"] < 1e-9
