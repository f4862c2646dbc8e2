"""FTD against all pairs one by one, its golden value, and what leaves cosines as they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import holds

from rdcore.distill import FTDSettings
from rdcore.distill.followups.ftd import directions, full_topology_loss
from rdcore.models import ItemCFSettings

EXAMPLES = {"FTD": FTDSettings(weight=0.01)}
DRAW_NOTHING = {"FTD"}
pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))


def drawn(shape, dtype=torch.float64):
    b, d_t, d_s, seed = shape
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(b, d_t, generator=rng, dtype=dtype), torch.randn(b, d_s, generator=rng, dtype=dtype)


def slow(teacher, student) -> float:
    """Pair by pair."""
    cosine, pairs = torch.nn.functional.cosine_similarity, range(len(teacher))
    return sum(
        float(cosine(teacher[i], teacher[j], dim=0) - cosine(student[i], student[j], dim=0)) ** 2 for i in pairs for j in pairs
    )


def test_golden_value():
    """Cosines 0, .7071, .7071 of the teacher's pairs and .7071, .7071, 0 of the student's: 2 (.5 + .5 + 0)."""
    t, s = torch.tensor([[1.0, 0], [0, 1], [1, 1]]), torch.tensor([[1.0, 0], [1, 1], [0, 1]])
    assert full_topology_loss(t, s).item() == pytest.approx(2.0, abs=1e-6)


@given(SHAPES)
def test_loss_is_the_sum_over_all_pairs(shape):
    t, s = drawn(shape)
    assert full_topology_loss(t, s).item() == pytest.approx(slow(t, s), abs=1e-9)


@given(SHAPES, st.floats(0.1, 10))
def test_what_leaves_the_cosines_costs_nothing(shape, factor):
    """The teacher's own vectors, longer or shorter, and rotated. The order of the entities is free."""
    t, s = drawn(shape)
    rotation = torch.linalg.qr(torch.randn(t.shape[1], t.shape[1], dtype=torch.float64))[0]
    copied = (factor * t @ rotation).requires_grad_()
    loss = full_topology_loss(t, copied)
    loss.backward()
    assert abs(loss.item()) < 1e-9 and copied.grad.abs().max() < 1e-6
    order = torch.randperm(len(t))
    assert full_topology_loss(t[order], s[order]).item() == pytest.approx(full_topology_loss(t, s).item(), abs=1e-9)


def test_gradient():
    t, s = drawn((6, 4, 3, 1))
    assert torch.autograd.gradcheck(lambda s: full_topology_loss(t, s), (s.requires_grad_(),))


def test_float32_scores_of_a_large_batch_keep_their_digits():
    """2,600 entities, a student near its teacher: the three terms are 1e5 times their difference."""
    rng = torch.Generator().manual_seed(0)
    t = torch.randn(2600, 50, generator=rng)
    s = t + 0.01 * torch.randn(2600, 50, generator=rng)
    exact = full_topology_loss(t.double(), s.double()).item()
    assert full_topology_loss(t, s).item() == pytest.approx(exact, rel=1e-3)


def test_a_row_of_zeros_has_cosines_of_0_and_no_nan():
    s = torch.zeros(3, 2).index_fill_(0, torch.tensor([1]), 1.0).requires_grad_()
    loss = full_topology_loss(torch.tensor([[1.0, 0], [0, 1], [1, 1]]), s)
    loss.backward()
    assert loss.isfinite() and s.grad.isfinite().all()
    assert directions(torch.zeros(1, 2)).tolist() == [[0, 0]]


def test_it_teaches_neumf_alone():
    holds(EXAMPLES["FTD"], "NeuMF", "BPR")


def test_models_without_vectors_are_refused():
    from small_contract import DATA, STUDENTS

    student, counted = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), ItemCFSettings().fit(DATA)
    with pytest.raises(ValueError, match="FTD distils representations, but the teacher .ItemCF. shows none"):
        EXAMPLES["FTD"].build(student, counted)
    with pytest.raises(ValueError, match="weight must be"):
        FTDSettings(weight=-1)
