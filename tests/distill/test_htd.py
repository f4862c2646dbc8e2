"""HTD: golden values of its three parts, slow loops, gradients, and what learns from what."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, DESettings, HTDSettings
from rdcore.distill.followups import htd
from rdcore.distill.followups.htd import entity_loss, group_loss
from rdcore.models import BPRMFSettings
from rdcore.train.loop import training_data

EXAMPLES = {
    "HTD": HTDSettings(K=3, weight=0.01, anneal_epochs=20),
    "HTD-paper": HTDSettings(K=3, weight=0.01, anneal_epochs=20, own_members=False, positive_only=False, groups="sampled"),
    "HTD-prototypes": HTDSettings(K=2, weight=0.01, anneal_epochs=20, level="prototypes"),
}
pytestmark = pytest.mark.usefixtures("one_thread")

TEACHER = torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 1]])
STUDENT = torch.tensor([[1.0, 0], [0, 1], [1, 1], [1, -1]])
GROUP = torch.tensor([0, 0, 3, 4])  # two users of one group, two items of a group each


def test_golden_values():
    E = entity_loss(TEACHER, STUDENT, GROUP)
    assert E.item() == pytest.approx(1.0, abs=1e-6)
    assert (E + group_loss(TEACHER, STUDENT, GROUP)).item() == pytest.approx(5.499021, abs=2e-6)
    assert (E + group_loss(TEACHER, STUDENT, GROUP, own_members=False)).item() == pytest.approx(5.405573, abs=2e-6)
    assert (E + group_loss(TEACHER, STUDENT, GROUP, "prototypes")).item() == pytest.approx(2.811146, abs=2e-6)
    for value, form in ((4.499021, {}), (4.405573, {"own_members": False}), (1.811146, {"level": "prototypes"})):
        assert group_loss(TEACHER, STUDENT, GROUP, **form).item() == pytest.approx(value, abs=2e-6)
    P = [[1, 0.5], [0, 1], [-1, 1]]
    assert [cosine(P[0], e) for e in TEACHER.tolist()] == pytest.approx([0.894427, 0.948683, 0.447214, -0.316228], abs=1e-6)


def test_golden_value_of_the_whole_loss(monkeypatch):
    """1e-3 (.5 x 5.499021 + .5 x .5), with a group assignment of .25 on each side."""
    method = HTDSettings().build(*(BPRMFSettings(dim=2).build(2, 2) for _ in range(2)))
    groups = iter([(GROUP[:2], torch.tensor(0.25)), (GROUP[2:] - 30, torch.tensor(0.25))])
    monkeypatch.setattr(method, "_assigned", lambda experts, shown, own: next(groups))
    parts = (TEACHER[:2], STUDENT[:2]), (TEACHER[2:], STUDENT[2:])
    monkeypatch.setattr(method, "entities", lambda student, batch, context: parts)
    method.begin_epoch(None, 1, 1, None)
    assert method.loss(None, None, 0, None).item() == pytest.approx(0.0029995, abs=1e-7)


def test_golden_gradient():
    own = STUDENT.clone().requires_grad_()
    (entity_loss(TEACHER, own, GROUP) + group_loss(TEACHER, own, GROUP)).backward()
    assert own.grad[0].tolist() == pytest.approx([0, -4.0933], abs=1e-4)
    assert own.grad[1].tolist() == pytest.approx([-4.1701, 0], abs=1e-4)


def test_golden_value_of_a_pair_that_the_teacher_sets_apart():
    """Cosine -.894 of the teacher, .707 of the student: left out as released, 2 (1.601534)^2 in the paper."""
    t, s, group = torch.tensor([[1.0, 0], [-1, 0.5]]), torch.tensor([[1.0, 0], [1, 1]]), torch.zeros(2, dtype=torch.long)
    assert entity_loss(t, s, group).item() == pytest.approx(0, abs=1e-6)
    assert entity_loss(t, s, group, positive_only=False).item() == pytest.approx(5.129822, abs=2e-6)


def cosine(a, b) -> float:
    norm = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm


def slow(teacher, student, group, positive_only, own_members, level):
    """E and G, one pair after the other."""
    n, E, G = len(teacher), 0.0, 0.0
    for i in range(n):
        for j in range(n):
            told = cosine(teacher[i], teacher[j])
            if group[i] == group[j] and (told > 0 or not positive_only):
                E += (told - cosine(student[i], student[j])) ** 2

    def mean(vectors, k):
        members = [v for v, g in zip(vectors, group, strict=True) if g == k]
        return [sum(column) / len(members) for column in zip(*members, strict=True)]

    for k in set(group):
        if level == "prototypes":
            for other in set(group):
                parts = [cosine(mean(each, k), mean(each, other)) for each in (teacher, student)]
                G += (parts[0] - parts[1]) ** 2
            continue
        for j in range(n):
            if own_members or group[j] != k:
                G += (cosine(mean(teacher, k), teacher[j]) - cosine(mean(student, k), student[j])) ** 2
    return E, G


@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), st.booleans(), st.sampled_from(["entities", "prototypes"]),
       st.integers(0, 2**31), st.sampled_from([512, 2]))  # fmt: skip
def test_losses_are_the_slow_loops(n, groups, positive_only, own_members, level, seed, rows):
    rng = torch.Generator().manual_seed(seed)
    t, s = (torch.randn(n, d, generator=rng, dtype=torch.float64) for d in (4, 3))
    group = torch.randint(groups, (n,), generator=rng)
    before, htd.ROWS = htd.ROWS, rows
    try:
        found = entity_loss(t, s, group, positive_only), group_loss(t, s, group, level, own_members)
    finally:
        htd.ROWS = before
    expected = slow(t.tolist(), s.tolist(), group.tolist(), positive_only, own_members, level)
    assert [value.item() for value in found] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("positive_only", [True, False])
@pytest.mark.parametrize("rows", [512, 2])
def test_gradients(positive_only, rows, monkeypatch):
    monkeypatch.setattr(htd, "ROWS", rows)
    rng = torch.Generator().manual_seed(1)
    t, s = (torch.randn(8, d, generator=rng, dtype=torch.float64) for d in (4, 3))
    group = torch.tensor([0, 1, 0, 1, 0, 5, 5, 0])
    assert torch.autograd.gradcheck(lambda s: entity_loss(t, s, group, positive_only), (s.requires_grad_(),))
    for level in ("entities", "prototypes"):
        assert torch.autograd.gradcheck(lambda s, level=level: group_loss(t, s, group, level, constant=False), (s,))


@given(st.integers(0, 2**31), st.floats(0.1, 10))
def test_the_teachers_vectors_cost_nothing_in_any_length_or_rotation(seed, factor):
    rng = torch.Generator().manual_seed(seed)
    t = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))[0]
    own, group = (factor * t @ rotation).requires_grad_(), torch.randint(3, (7,), generator=rng)
    loss = entity_loss(t, own, group) + group_loss(t, own, group)
    loss.backward()
    assert loss.item() < 1e-9 and own.grad.abs().max() < 1e-6


def prepared(settings, student="BPR"):
    torch.manual_seed(3)
    model = STUDENTS[student].build(DATA.n_users, DATA.n_items)
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    teacher, instances = with_opinions("BPR"), training_data(DATA, model.window, "cpu", full_windows=model.full_windows)
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.arange(30)[:, None] % 40)
    return model, teacher, method, batch


def test_the_total_is_of_different_users_and_of_positives_and_negatives_as_one_set():
    model, teacher, method, batch = prepared(HTDSettings(K=4, weight=0.5, gamma=1.0))
    users = sorted(set(batch.queries.user.tolist()))
    items = sorted(set(batch.target.tolist()) | set(batch.negatives.flatten().tolist()))
    assert len(users) < 30 and len(items) < 60  # there are repetitions
    parts = [(each.user.weight[users], each.item_factors.weight[items]) for each in (teacher, model)]
    group = torch.cat([method.users.alpha(parts[0][0]).argmax(1), 4 + method.items.alpha(parts[0][1]).argmax(1)])
    both = [torch.cat(part).tolist() for part in parts]
    expected = 0.5 * sum(slow(*both, group.tolist(), True, True, "entities"))
    assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(expected, rel=1e-4)
    assert method.log()["groups"] == len(set(group.tolist()))


def test_without_relations_it_is_de_on_the_union_of_items():
    """The same experts, noise and temperature: DE's items count half, and once as positives and once as negatives."""
    model, _, method, batch = prepared(HTDSettings(K=4, weight=0.5, gamma=0.0))
    teacher = with_opinions("BPR")
    de = DESettings(M=4, weight=0.5, hidden=5).build(model, teacher)
    de.load_state_dict(method.state_dict())
    de.prepare(teacher, training_data(DATA, 0, "cpu"))
    de.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    user = de._distance("user", de.users, *_vectors(model, teacher, batch))
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    found = method.loss(model, batch, 0, model.encode(batch.queries)).item()
    items = torch.unique(torch.cat([batch.target, batch.negatives.flatten()]))
    once = torch.ones(len(items))
    item = de._distance("item", de.items, model.item_factors(items), teacher.item_factors(items).detach(), once)
    assert found == pytest.approx(0.5 * (user + item).item(), rel=1e-5)


def _vectors(model, teacher, batch):
    users = torch.unique(batch.queries.user)
    return model.user(users), teacher.user(users).detach(), torch.ones(len(users))


def test_networks_and_experts_learn_from_the_assignment_alone():
    for gamma in (0.0, 0.5, 1.0):
        model, _, method, batch = prepared(HTDSettings(K=4, gamma=gamma))
        method.loss(model, batch, 0, model.encode(batch.queries)).backward()
        touched = [bool(value.grad.any()) for value in method.parameters()]
        assert all(touched) if gamma < 1 else not any(touched)


def test_as_released_prototypes_teach_nothing():
    own = STUDENT.clone().requires_grad_()
    assert not group_loss(TEACHER, own, GROUP, "prototypes").requires_grad
    assert group_loss(TEACHER, own, GROUP, "prototypes", constant=False).requires_grad


@pytest.mark.parametrize("level", ["entities", "prototypes"])
def test_a_row_of_zeros_and_a_group_whose_members_cancel_give_no_nan(level):
    """Their cosines are 0. The released code divides by the length 0."""
    t = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [2, 1]])
    s = torch.tensor([[1.0, 1], [-1, -1], [0, 0], [1, 0]], requires_grad=True)
    group = torch.tensor([0, 0, 1, 2])
    loss = entity_loss(t, s, group) + group_loss(t, s, group, level, constant=level == "entities")
    loss.backward()
    assert loss.isfinite() and s.grad.isfinite().all()


def test_temperatures_of_the_released_schedule():
    """Epochs 0 and 1 there, 1 and 2 here: 1. Epoch 2 has .794, epoch 50 1.26e-5."""
    found = [HTDSettings().temperature(epoch) for epoch in (1, 2, 3, 51)]
    assert found == pytest.approx([1, 1, 10**-0.1, 10**-4.9], rel=1e-9)


def test_experts_are_as_many_as_the_released_ones():
    """1,341,300 parameters for vectors of 10 numbers, 1,470,600 for 20, 4,824,000 for 200; 12,060 select."""
    teacher = BPRMFSettings(dim=200).build(2, 3)
    for dim, expected in ((10, 1_341_300), (20, 1_470_600), (100, 2_721_000), (200, 4_824_000)):
        method = HTDSettings().build(BPRMFSettings(dim=dim).build(2, 3), teacher)
        assert sum(value.numel() for value in method.parameters()) == expected + 12_060


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_teaches_neumf_and_its_experts_alone(name):
    holds(EXAMPLES[name], "NeuMF", "BPR", experts=True)


def test_settings_are_checked():
    for wrong, match in (
        ({"K": 0}, "K must"), ({"gamma": 1.5}, "gamma must"), ({"level": "x"}, "level must"), ({"groups": "x"}, "groups must"),
        ({"as_released": True}, "no effect"), ({"level": "prototypes", "own_members": False}, "no effect"),
        ({"end_temperature": 2.0}, "end_temperature must"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            HTDSettings(**wrong)
