"""The point-wise log loss and that of BPR against values and gradients worked out by hand."""

import math

import pytest
import torch

from rdcore.losses import bpr_loss, log_loss


def test_values_worked_out_by_hand():
    # -log sigmoid(0) = ln 2; -log sigmoid(2) = ln(1 + e^-2); -log(1 - sigmoid(-1)) = ln(1 + e^-1).
    loss = log_loss(torch.tensor([[0.0], [2.0]]), torch.tensor([[-1.0, 0.0, 1.0], [-1.0, -1.0, -1.0]]))
    softplus = {x: math.log(1 + math.exp(x)) for x in (-2, -1, 0, 1)}
    expected = [softplus[0] + softplus[-1] + softplus[0] + softplus[1], softplus[-2] + 3 * softplus[-1]]
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx([3.0128176, 1.0667131], abs=1e-6)  # typed in from a pocket calculator


def test_the_items_of_a_query_are_summed_and_its_neighbours_play_no_part():
    positive, negative = torch.randn(4, 2), torch.randn(4, 3)
    whole = log_loss(positive, negative)
    assert whole.shape == (4,)
    alone = torch.stack([log_loss(positive[i : i + 1], negative[i : i + 1])[0] for i in range(4)])
    parts = log_loss(positive[:, :1], negative) + log_loss(positive[:, 1:], negative[:, :0])
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(whole, parts)


def test_it_is_the_official_formula_where_that_one_is_finite():
    positive, negative = torch.linspace(-12, 12, 9).double()[:, None], torch.linspace(12, -12, 18).double().view(9, 2)
    official = -torch.sigmoid(positive).log().sum(1) - (1 - torch.sigmoid(negative)).log().sum(1)
    torch.testing.assert_close(log_loss(positive, negative), official)


def test_gradients_are_sigmoid_minus_label():
    positive, negative = torch.tensor([[1.5]], requires_grad=True), torch.tensor([[-0.5, 3.0]], requires_grad=True)
    log_loss(positive, negative).sum().backward()
    torch.testing.assert_close(positive.grad, torch.sigmoid(positive.detach()) - 1)
    torch.testing.assert_close(negative.grad, torch.sigmoid(negative.detach()))


def test_gradcheck_in_float64():
    generator = torch.Generator().manual_seed(0)
    positive, negative = (torch.randn(3, n, generator=generator, dtype=torch.float64, requires_grad=True) for n in (1, 3))
    assert torch.autograd.gradcheck(log_loss, (positive, negative))


def test_no_infinity_and_a_bounded_gradient_at_extreme_logits():
    positive = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    negative = torch.tensor([[-1000.0], [1000.0]], requires_grad=True)
    loss = log_loss(positive, negative)
    assert loss.tolist() == [0.0, 2000.0]
    loss.sum().backward()
    assert positive.grad.flatten().tolist() == [0.0, -1.0]
    assert negative.grad.flatten().tolist() == [0.0, 1.0]


# BPR ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 3), (2, 3), (3, 0)])
def test_bpr_equals_a_loop_over_pairs(positives, negatives):
    generator = torch.Generator().manual_seed(0)
    positive, negative = (3 * torch.randn(4, n, generator=generator) for n in (positives, negatives))
    slow = [
        sum(-math.log(1 / (1 + math.exp(n - p))) for p in positive[b].tolist() for n in negative[b].tolist()) for b in range(4)
    ]
    assert bpr_loss(positive, negative).tolist() == pytest.approx(slow, rel=1e-5)


def test_bpr_worked_out_by_hand():
    # -log sigmoid(0) = ln 2; -log sigmoid(ln 3) = ln(4 / 3); -log sigmoid(-ln 3) = ln 4.
    loss = bpr_loss(torch.tensor([[5.0], [0.0]]), torch.tensor([[5.0, 5 - math.log(3)], [math.log(3), -1e9]]))
    assert loss.tolist() == pytest.approx([math.log(8 / 3), math.log(4)], abs=1e-6)


def test_bpr_gradients_in_float64():
    generator = torch.Generator().manual_seed(0)
    positive, negative = (torch.randn(3, n, generator=generator, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    assert torch.autograd.gradcheck(bpr_loss, (positive, negative))
    bpr_loss(positive, negative).sum().backward()
    wrong = torch.sigmoid(negative.detach()[:, None] - positive.detach()[:, :, None])  # how far each pair is wrong
    torch.testing.assert_close(positive.grad, -wrong.sum(2))
    torch.testing.assert_close(negative.grad, wrong.sum(1))


def test_bpr_at_extreme_logits_is_no_infinity_and_has_a_bounded_gradient():
    positive = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    negative = torch.tensor([[-1000.0], [1000.0]], requires_grad=True)
    loss = bpr_loss(positive, negative)
    assert loss.tolist() == [0.0, 2000.0]
    loss.sum().backward()
    assert positive.grad.flatten().tolist() == [0.0, -1.0]
    assert negative.grad.flatten().tolist() == [0.0, 1.0]
