"""Ranking Distillation's weights against values worked out by hand from the formulas."""

import math

import pytest
import torch

from rdcore.distill import Discrepancy, Equal, Hybrid, Position, Reciprocal
from rdcore.store.description import describe

K = 10
# exp(-r) / sum over r = 1..10, to four digits: (1 - 1/e) e^(1-r) / (1 - e^-10); also printed in papers/rd.md.
POSITION = [0.6321, 0.2326, 0.0856, 0.0315, 0.0116, 0.0043, 0.0016, 0.0006, 0.0002, 0.0001]
# The poster's example: teacher's ranks 1, 2, 3; student's 1, 5, 156. Both counted from 0 here.
POSTER = torch.tensor([[0, 4, 155]])


def raw(r, lam=1.0):
    return math.exp(-r / lam)


def weights_of(scheme, rank=None, epoch=1, k=K):
    return scheme(k, rank, epoch)


def test_equal_is_one_over_k_and_sums_to_one():
    assert weights_of(Equal()).tolist() == pytest.approx([0.1] * 10)
    assert weights_of(Equal(), k=4).tolist() == [0.25] * 4
    assert not hasattr(Equal(), "normalise")  # raw and normalised are one


def test_reciprocal():
    harmonic = sum(1 / r for r in range(1, 11))
    assert weights_of(Reciprocal(normalise=False)).tolist() == pytest.approx([1 / r for r in range(1, 11)])
    assert weights_of(Reciprocal()).tolist() == pytest.approx([1 / r / harmonic for r in range(1, 11)])


def test_position_with_the_official_defaults():
    assert weights_of(Position()).tolist() == pytest.approx(POSITION, abs=5e-5)


def test_position_raw_counts_from_one_as_the_paper_does():
    assert weights_of(Position(normalise=False)).tolist() == pytest.approx([raw(r) for r in range(1, 11)])
    assert weights_of(Position(lam=4, normalise=False), k=2).tolist() == pytest.approx([0.7788008, 0.6065307])


def test_position_normalised_is_raw_over_its_sum_for_any_lambda():
    for lam in (0.5, 1, 7.5, 1000):
        expected = [raw(r, lam) / sum(raw(i, lam) for i in range(1, 11)) for r in range(1, 11)]
        assert weights_of(Position(lam=lam)).tolist() == pytest.approx(expected, rel=1e-5)


def test_position_does_not_vanish_for_a_tiny_lambda():
    assert weights_of(Position(lam=1e-3)).tolist() == [1.0] + [0.0] * 9  # exp(-1000) is 0 in float32


def test_discrepancy_of_the_posters_example():
    weights = weights_of(Discrepancy(), POSTER, k=3)[0].tolist()
    assert weights == pytest.approx([math.tanh(0), math.tanh(0.1 * 3), math.tanh(0.1 * 153)])
    assert weights == pytest.approx([0, 0.2913126, 1], abs=1e-6)
    assert weights[2] > 3 * weights[1] and weights[1] > weights[0]  # w3 >> w2 > w1


def test_counting_both_ranks_from_one_or_from_zero_is_the_same():
    from_one = [math.tanh(0.1 * max(student - teacher, 0)) for student, teacher in zip((1, 5, 156), (1, 2, 3), strict=True)]
    assert weights_of(Discrepancy(), POSTER, k=3)[0].tolist() == pytest.approx(from_one)


def test_an_item_the_student_ranks_as_high_as_the_teacher_or_higher_weighs_nothing():
    rank = torch.tensor([[0, 0, 2, 1]])
    assert weights_of(Discrepancy(), rank, k=4).tolist() == [[0.0] * 4]
    # the first rank below the teacher's gives tanh(mu): a rank counted from 1 would already give it above
    assert weights_of(Discrepancy(), rank + torch.arange(4) * 0 + 1, k=4)[0, 0].item() == pytest.approx(math.tanh(0.1))


def test_gowallas_sampled_ranks_make_the_discrepancy_an_indicator():
    rank = torch.tensor([[0, 140, 280, 14_009]])  # floor(14009 n / 100)
    assert weights_of(Discrepancy(), rank, k=4)[0].tolist() == [0.0, 1.0, 1.0, 1.0]


def test_mu_scales_the_discrepancy_before_the_tanh():
    assert weights_of(Discrepancy(mu=0.5), torch.tensor([[3]]), k=1).item() == pytest.approx(math.tanh(1.5))


def test_discrepancy_normalised():
    values = [0, math.tanh(0.3), math.tanh(15.3)]
    weights = weights_of(Discrepancy(normalise=True), POSTER, k=3)[0].tolist()
    assert weights == pytest.approx([value / sum(values) for value in values])


def test_hybrid_is_the_product_with_normalised_position_weights_and_no_more():
    position = [raw(r) / (raw(1) + raw(2) + raw(3)) for r in (1, 2, 3)]
    expected = [position[0] * 0, position[1] * math.tanh(0.3), position[2] * math.tanh(15.3)]
    weights = weights_of(Hybrid(), POSTER, epoch=11, k=3)[0].tolist()
    assert weights == pytest.approx(expected)
    assert weights == pytest.approx([0, 0.0712925, 0.0900306], abs=1e-6)
    normalised = weights_of(Hybrid(normalise=True), POSTER, epoch=11, k=3)[0].tolist()
    assert normalised == pytest.approx([value / sum(expected) for value in expected])


@pytest.mark.parametrize("normalise", [False, True])
def test_hybrid_begins_with_position_and_switches_in_epoch_eleven(normalise):
    hybrid = Hybrid(normalise=normalise)
    assert hybrid.start_epoch == 11  # the official dynamic_start_epoch=10 means: in epochs above 10
    for epoch in (1, 10):
        assert not hybrid.needs_rank(epoch)
        assert weights_of(hybrid, None, epoch).tolist() == pytest.approx(POSITION, abs=5e-5)
    for epoch in (11, 50):
        assert hybrid.needs_rank(epoch)
        assert weights_of(hybrid, POSTER, epoch, k=3)[0, 0] == 0
    assert Hybrid(start_epoch=1).needs_rank(1)


def test_before_the_switch_the_code_before_the_release_has_the_discrepancy_alone():
    hybrid = Hybrid(start_epoch=51, before="discrepancy", normalise=True)
    for epoch in (1, 50):
        assert hybrid.needs_rank(epoch)
        weights = weights_of(hybrid, POSTER, epoch, k=3)
        assert weights.tolist() == weights_of(Discrepancy(), POSTER, k=3).tolist(), "not divided by its sum"
    later = weights_of(hybrid, POSTER, 51, k=3)
    assert later.tolist() == weights_of(Hybrid(normalise=True), POSTER, 51, k=3).tolist()


def test_what_stands_before_the_switch_is_in_no_key_unless_it_is_the_discrepancy():
    assert "before" not in describe(Hybrid()) and describe(Hybrid(before="discrepancy"))["before"] == "discrepancy"
    with pytest.raises(ValueError, match="before='discrepancy' has no effect with start_epoch=1"):
        Hybrid(start_epoch=1, before="discrepancy")


def test_which_schemes_look_at_the_student():
    assert [scheme.needs_rank(1) for scheme in (Equal(), Reciprocal(), Position(), Discrepancy())] == [False] * 3 + [True]


SCHEMES = [Reciprocal(), Position(), Position(lam=30), Discrepancy(normalise=True), Hybrid(normalise=True), Equal()]


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_normalised_weights_sum_to_one_for_every_query(scheme):
    rank = torch.tensor([[5 + 3 * i for i in range(K)], [14_009] * K, [1] + [0] * 9])
    total = scheme(K, rank, 11).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert total.dim() == (1 if scheme.needs_rank(11) else 0)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("make", [Discrepancy, Hybrid])
def test_a_student_that_agrees_gets_zero_weights_and_not_nan(make, normalise):
    agreed, differs = [0, 1, 2], [9, 9, 9]
    weights = make(normalise=normalise)(3, torch.tensor([agreed, differs]), 11)
    assert weights[0].tolist() == [0.0, 0.0, 0.0]
    assert (weights[1] > 0).all()


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (Position, {"lam": 0}), (Position, {"lam": -1.0}), (Position, {"lam": math.nan}), (Position, {"lam": math.inf}),
        (Position, {"lam": "1"}), (Discrepancy, {"mu": 0}), (Discrepancy, {"mu": math.nan}), (Discrepancy, {"samples": 0}),
        (Discrepancy, {"samples": 1.5}), (Discrepancy, {"estimate": "guess"}), (Hybrid, {"start_epoch": 0}),
        (Hybrid, {"start_epoch": 1.0}), (Hybrid, {"before": "equal"}),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(make, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        make(**bad)


def test_a_number_of_samples_that_nothing_is_drawn_by_is_refused():
    """Or one run would have as many keys as there are numbers."""
    with pytest.raises(ValueError, match="samples=7 has no effect with estimate='exact': leave it at 100"):
        Discrepancy(estimate="exact", samples=7)
    assert Discrepancy(estimate="exact", samples=100) == Discrepancy(estimate="exact")
    assert Discrepancy(estimate="instance", samples=7).samples == 7
