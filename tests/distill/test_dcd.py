"""DCD: golden values, plain Python, the draws, and what is kept between renewals."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, DCDSettings
from rdcore.distill.followups.dcd import correction_loss, error_weights, places_in_list
from rdcore.distill.rrd import relaxed_loss
from rdcore.train.loop import training_data

EXAMPLES = {
    "DCD-users": DCDSettings(samples=4, depth=12, weight=0.1, item_weight=0.0, sharpness=0.5),
    "DCD": DCDSettings(samples=3, depth=12, weight=0.1, item_depth=6, item_weight=0.05, sharpness=0.5),
}
pytestmark = pytest.mark.usefixtures("one_thread")
SCORES = torch.tensor([[0.1, 0.9, -0.2, 0.7, 0.5]])  # in the teacher's order


def loss_of(under: list[float], over: list[float]) -> float:
    real = torch.ones(1, len(under), dtype=torch.bool), torch.ones(1, len(over), dtype=torch.bool)
    return correction_loss(torch.tensor([under]), torch.tensor([over]), *real).item()


def test_golden_values():
    places = places_in_list(SCORES)
    assert places.tolist() == [[3, 0, 4, 1, 2]]
    under, over = error_weights(places, 0.5)
    assert under[0].tolist() == pytest.approx([0.905148, 0, 0.761594, 0, 0], abs=1e-6)
    assert over[0].tolist() == pytest.approx([0, 0.462117, 0, 0.761594, 0.761594], abs=1e-6)
    assert (under / under.sum())[0, [0, 2]].tolist() == pytest.approx([0.543064, 0.456936], abs=1e-6)
    assert (over / over.sum())[0, [1, 3, 4]].tolist() == pytest.approx([0.232769, 0.383616, 0.383616], abs=1e-6)
    assert loss_of([0.1, -0.2], [0.9, 0.7]) == pytest.approx(3.622082, abs=1e-6)
    assert loss_of([-0.2, 0.1], [0.9, 0.7]) == pytest.approx(3.674794, abs=1e-6)
    assert loss_of([0.1, -0.2], [0.7, 0.9]) == pytest.approx(3.622082, abs=1e-6)
    assert loss_of([0.1], [0.9]) == pytest.approx(1.171101, abs=1e-6)


def test_golden_gradients():
    a, b = torch.tensor([[0.1, -0.2]], requires_grad=True), torch.tensor([[0.9, 0.7]], requires_grad=True)
    real = torch.ones(1, 2, dtype=torch.bool)
    correction_loss(a, b, real, real).backward()
    assert a.grad[0].tolist() == pytest.approx([-0.827243, -0.717310], abs=1e-6)
    assert b.grad[0].tolist() == pytest.approx([0.849248, 0.695305], abs=1e-6)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))
def test_what_is_not_real_does_not_count(n, m, seed):
    rng = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(1, k, generator=rng, dtype=torch.float64, requires_grad=True) for k in (n, m))
    real = tuple(torch.rand(1, k, generator=rng) < 0.7 for k in (n, m))
    loss = correction_loss(a, b, *real)
    loss.sum().backward()
    if real[0].any() and real[1].any():
        kept = relaxed_loss(a[real[0]][None], b[real[1]][None]).item()
        assert loss.item() == pytest.approx(kept, abs=1e-9)
    if not real[0].any():
        assert loss.item() == 0
    assert not a.grad[~real[0]].any() and not b.grad[~real[1]].any()
    assert a.grad.isfinite().all() and b.grad.isfinite().all()


def test_gradient():
    a, b = (torch.randn(2, n, dtype=torch.float64, requires_grad=True) for n in (3, 2))
    real = torch.tensor([[True, False, True], [True] * 3]), torch.ones(2, 2, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda a, b: correction_loss(a, b, *real), (a, b))


@given(st.permutations(range(9)), st.floats(0.01, 5))
def test_an_entry_is_wrong_in_one_direction_at_most(order, sharpness):
    under, over = error_weights(torch.tensor([order]), sharpness)
    assert not (under * over).any()
    right = torch.tensor([order]) == torch.arange(9)
    assert not (under + over)[right].any() and ((under + over)[~right] > 0).all()
    assert int((torch.tensor([order]) - torch.arange(9)).sum()) == 0  # they balance


def prepared(settings, epochs=(1,)):
    torch.manual_seed(3)
    model = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items)
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    teacher, instances = with_opinions("BPR"), training_data(DATA, 0, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    for epoch in epochs:
        method.begin_epoch(model, epoch, 1, stream(1, "distillation", epoch))
    index = torch.arange(25)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(25, 1, dtype=torch.long))
    return model, teacher, method, batch


def plain(under: list[float], over: list[float]) -> float:
    left = [sum(map(math.exp, under[k:])) + sum(map(math.exp, over)) for k in range(len(under))]
    return sum(math.log(rest) - s for rest, s in zip(left, under, strict=True))


def of_errors(listed: list, score) -> float:
    """The loss of a list, all of whose entries out of place are drawn."""
    ranked = sorted(listed, key=lambda x: -score(x))
    under = [score(x) for place, x in enumerate(listed) if ranked.index(x) > place]
    over = [score(x) for place, x in enumerate(listed) if ranked.index(x) < place]
    return plain(under, over)


def test_with_room_for_all_errors_nothing_is_left_to_chance():
    """Lists of 12 items and 6 users and as many samples: every wrong entry is drawn, and the sum is plain Python's."""
    model, teacher, method, batch = prepared(
        DCDSettings(samples=6, depth=6, weight=0.1, item_depth=6, item_weight=0.05, sharpness=0.5)
    )
    own, told = ((each.user.weight @ each.item_factors.weight.T).tolist() for each in (model, teacher))
    users = {user: set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist()) for user in range(DATA.n_users)}

    expected = 0.0
    for user in sorted(set(batch.queries.user.tolist())):
        listed = sorted(set(range(40)) - users[user], key=lambda i: -told[user][i])[:6]
        expected += 0.1 * of_errors(listed, lambda i: own[user][i])  # noqa: B023
    for item in sorted(set(batch.target.tolist())):
        free = sorted((u for u in users if item not in users[u]), key=lambda u: -told[u][item])
        if len(free) >= 6:
            expected += 0.05 * of_errors(free[:6], lambda u: own[u][item])  # noqa: B023
    assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(expected, rel=1e-5)
    assert 0 < method.log()["drawn"] < 6


def test_a_place_without_an_item_is_the_last_whether_a_user_or_a_query_is_asked_for():
    """Every other list has three items in six places: no error, and item 0 does not stand in for them."""
    model, _, method, batch = prepared(DCDSettings(samples=6, depth=6, weight=0.1, item_weight=0.0, sharpness=0.5))
    items, expected = method.lists.items.clone(), 0.0
    items[::2, 3:] = DATA.n_items
    method.lists = replace(method.lists, items=items, padding=DATA.n_items)
    with torch.no_grad():
        model.item_factors.weight[0] *= 9
    own = (model.user.weight @ model.item_factors.weight.T).tolist()
    for user in set(batch.queries.user.tolist()):
        listed = [item for item in items[user].tolist() if item < DATA.n_items]
        expected += 0.1 * of_errors(listed, lambda i: own[user][i])  # noqa: B023
    for method.per_user in (True, False):
        method.begin_epoch(model, 1, 1, stream(1, "distillation"))
        assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(expected, rel=1e-5)


def test_a_very_sharp_draw_takes_all_errors_alike_and_only_listed_items_are_taught():
    order = torch.tensor([[3, 0, 1, 2, 5, 4]])
    assert [weights[0].tolist() for weights in error_weights(order, 1e6)] == [[1, 0, 0, 0, 1, 0], [0, 1, 1, 1, 0, 1]]
    model, _, method, batch = prepared(DCDSettings(samples=4, depth=6, weight=0.1, item_weight=0.0))
    method.loss(model, batch, 0, model.encode(batch.queries)).backward()
    listed = set(method.lists.items[batch.queries.user].flatten().tolist())
    taught = set(model.item_factors.weight.grad.abs().sum(1).nonzero()[:, 0].tolist())
    assert taught and taught <= listed and listed < set(range(DATA.n_items))


def test_a_student_that_ranks_as_its_teacher_has_nothing_to_learn():
    settings = DCDSettings(samples=4, depth=12, weight=0.1, item_weight=0.0)
    teacher, instances = with_opinions("BPR"), training_data(DATA, 0, "cpu")
    method = settings.build(teacher, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(teacher, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(9)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(9, 1, dtype=torch.long))
    assert method.loss(teacher, batch, 0, teacher.encode(batch.queries)).item() == 0


def test_places_are_renewed_every_third_epoch_and_kept_in_between():
    model, _, method, batch = prepared(EXAMPLES["DCD"])
    before = method.item_places.clone(), method.user_places.clone()
    with torch.no_grad():
        model.user.weight.normal_()
    for epoch, changed in ((2, False), (3, False), (4, True)):
        method.begin_epoch(model, epoch, 1, stream(1, "distillation", epoch))
        assert torch.equal(method.item_places, before[0]) != changed and torch.equal(method.user_places, before[1]) != changed


@pytest.mark.parametrize(("name", "student", "teacher"), [
    ("DCD", "NeuMF", "BPR"), ("DCD-users", "Caser", "Caser"),
])  # fmt: skip
def test_it_teaches_the_student_alone(name, student, teacher):
    holds(EXAMPLES[name], student, teacher)


def test_the_item_side_refuses_models_with_a_memory():
    bpr, caser = (STUDENTS[name].build(DATA.n_users, DATA.n_items) for name in ("BPR", "Caser"))
    with pytest.raises(ValueError, match="item_weight > 0.* the student .Caser."):
        EXAMPLES["DCD"].build(caser, bpr)


def test_settings_are_checked():
    for wrong, match in (
        ({"samples": 0}, "samples"), ({"samples": 600}, "samples must be <= 500"), ({"sharpness": 0.0}, "sharpness"),
        ({"item_weight": 0.0, "item_depth": 9}, "item_depth=9 has no effect"), ({"renew": 0}, "renew"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            DCDSettings(**wrong)
