"""Collaborative distillation: its loss and its weights by hand, and every batch against the data in slow motion."""

import math

import numpy as np
import pytest
import torch
from small_contract import holds
from test_rrd import (
    N_ITEMS,
    N_USERS,
    batch_of,
    check_frequencies,
    data,
    inclusion,
    model,
    seen_by,
    straight_and_resumed,
    teachers_list,
)

from rdcore.data.sampling import stream
from rdcore.distill import CDSettings
from rdcore.distill.followups.cd import items_at, linear_places, positives_loss, soft_label_loss
from rdcore.distill.lists import exemplary_rankings
from rdcore.models import Caser, CaserSettings, Popularity
from rdcore.store.list_cache import ListCache
from rdcore.train.loop import Training, make_optimizer, train, training_data

__all__ = ["data"]  # the fixture

SMALL = {"samples": 4, "depth": 9, "temperature": 1.5, "shift": 0.25, "weight": 0.5}
PAIRS = [("bpr", "bpr"), ("neumf", "bpr"), ("caser", "caser"), ("bpr", "caser"), ("caser", "bpr")]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(labels: list[float], logits: list[float]) -> float:
    pairs = zip(labels, map(sigmoid, logits), strict=True)
    return -sum(q * math.log(p) + (1 - q) * math.log(1 - p) for q, p in pairs)


# The published form ---------------------------------------------------------------------------------------------------


def test_golden_values_of_the_published_form():
    """t = 1, -1 at temperature 2: labels .622459, .377541; s = .2, .4: .673647 + .761999. Positives 2 and -.5."""
    labels = torch.sigmoid(torch.tensor([[1.0, -1.0]]) / 2)
    assert labels[0].tolist() == pytest.approx([0.622459, 0.377541], abs=1e-6)
    assert soft_label_loss(labels, torch.tensor([[0.2, 0.4]])).item() == pytest.approx(1.435646, abs=1e-6)
    for place, value in ((0, 0.673647), (1, 0.761999)):
        one = soft_label_loss(labels[:, place : place + 1], torch.tensor([[(0.2, 0.4)[place]]]))
        assert one.item() == pytest.approx(value, abs=1e-6)
    assert positives_loss(torch.tensor([2.0, -0.5])).item() == pytest.approx(1.101005, abs=1e-6)
    assert [positives_loss(torch.tensor([s])).item() for s in (2.0, -0.5)] == pytest.approx([0.126928, 0.974077], abs=1e-6)


def test_linear_places_are_successive_draws():
    """Four places weigh 4, 3, 2, 1: all pairs as often as drawing one after the other says. Other rows do not matter."""
    length = torch.tensor([4, 9]).repeat(20_000)
    drawn = linear_places(length, 2, torch.Generator().manual_seed(1))
    check_frequencies(drawn[::2], inclusion([4.0, 3.0, 2.0, 1.0], 2))
    shorter = linear_places(torch.full((20_000,), 3), 2, torch.Generator().manual_seed(3))  # below twice the draw
    check_frequencies(shorter, inclusion([3.0, 2.0, 1.0], 2))
    assert (shorter[:, 0] == 0).double().mean() == pytest.approx(3 / 6, abs=4.5 * math.sqrt(0.25 / 20_000))
    first = torch.bincount(drawn[1::2, 0], minlength=9).double() / 20_000
    assert first.tolist() == pytest.approx([(9 - r) / 45 for r in range(9)], abs=4.5 * math.sqrt(0.16 / 20_000))
    every = linear_places(torch.full((50,), 6), 6, torch.Generator().manual_seed(2))
    assert (every.sort(1).values == torch.arange(6)).all()
    short = linear_places(torch.tensor([3, 0, 9]), 4, torch.Generator().manual_seed(2)).tolist()
    assert sorted(short[0]) == [-1, 0, 1, 2] and short[0][-1] == -1 and short[1] == [-1] * 4 and min(short[2]) >= 0


def test_items_at_places_are_those_of_the_whole_ranking():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 300, generator=generator)
    scores[:, ::7] = -torch.inf  # seen: at the end
    places = torch.stack([torch.randperm(250, generator=generator)[:9] for _ in scores])
    expected = scores.argsort(dim=1, descending=True, stable=True).gather(1, places)
    assert torch.equal(items_at(scores, places), expected)


@pytest.mark.parametrize("mode", ["student", "teacher"])
@pytest.mark.parametrize(("student", "teacher"), [("BPR", "BPR"), ("Caser", "Caser"), ("BPR", "Caser")])
def test_the_published_form_teaches_the_student_alone(mode, student, teacher):
    holds(CDSettings(samples=6, depth=None, weight=0.2, mode=mode), student, teacher)


def test_the_published_form_draws_unseen_items_from_the_top_down_to_the_last(data, monkeypatch):
    student, teacher = model("bpr", 2), model("bpr", 1)
    distillation, instances = prepared(data, student, teacher, depth=None, samples=8)
    index = list(range(0, 60, 3))
    batch = batch_of(instances, index)
    rng = stream(1, "distillation", 1)
    places = []
    for epoch in range(300):
        distillation.begin_epoch(student, epoch + 1, 1, rng)
        for user in range(0, N_USERS, 4):
            own, scores = seen_by(data, user), student.score_all(student.encode(distillation.everyone))[user].tolist()
            ranking = sorted(set(range(N_ITEMS)) - own, key=lambda i: -scores[i])
            places += [ranking.index(item) / len(ranking) for item in distillation.sample[0][user].tolist()]
    assert 0.3 < sum(places) / len(places) < 0.45 and max(places) > 0.9
    with_base = CDSettings(samples=8, depth=None, positives=True).build(student, teacher)
    with_base.prepare(teacher, instances)
    with_base.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    scores = student.score(context, batch.target[:, None]).tolist()
    base = sum(math.log1p(math.exp(-s)) for (s,) in scores)
    whole = with_base.loss(student, batch, 0, context).item()
    labels = torch.sigmoid(teacher.score(teacher.encode(batch.queries), with_base.sample[0][batch.queries.user]) / 2)
    once = {user: k for k, user in enumerate(batch.queries.user.tolist())}.values()
    own = soft_label_loss(labels, student.score(context, with_base.sample[0][batch.queries.user]))[list(once)].sum().item()
    assert whole == pytest.approx(0.1 * own + base, rel=1e-5)


LAWS = {
    "linear": lambda r, n: 1 - r / n, "exponential": lambda r, n: math.exp(-3 * r / n), "uniform": lambda r, n: 1.0,
    "tournament": lambda r, n: 1 - (r + 0.5) / n,
}  # fmt: skip


@pytest.mark.parametrize("sampling", LAWS)
def test_every_law_holds_over_all_that_a_user_has_not_seen(data, sampling):
    """In the published form the number of unseen items takes the place of depth."""
    student = model("bpr", 2)
    settings = {"gamma": 3.0} if sampling == "exponential" else {}
    distillation, _ = prepared(data, student, model("bpr", 1), depth=None, samples=1, sampling=sampling, **settings)
    guide = student.score_all(student.encode(distillation.everyone)).tolist()
    rankings = [sorted(set(range(N_ITEMS)) - seen_by(data, u), key=lambda i: -guide[u][i]) for u in range(3)]
    distillation.rng = stream(1, "many draws")
    rows = torch.arange(3).repeat(8_000)
    drawn = distillation._drawn_of_all(student, distillation.everyone[rows])[:, 0]
    for u, ranking in enumerate(rankings):
        weights = [LAWS[sampling](r, len(ranking)) for r in range(len(ranking))]
        places = torch.tensor([[ranking.index(item)] for item in drawn[rows == u].tolist()])
        check_frequencies(places, inclusion(weights, 1))


@pytest.mark.parametrize("sampling", LAWS)
def test_a_user_with_few_unseen_items_gets_all_of_them(data, sampling):
    fewest = N_ITEMS - int(data.counts().max())
    settings = {"depth": None, "samples": fewest + 1, "sampling": sampling}
    distillation, _ = prepared(data, model("bpr", 2), model("bpr", 1), **settings)
    distillation.begin_epoch(model("bpr", 2), 1, 1, stream(1, "distillation"))
    left = [set(range(N_ITEMS)) - seen_by(data, user) for user in range(N_USERS)]
    for drawn, own in zip(distillation.sample[0].tolist(), left, strict=True):
        named = [item for item in drawn if item < N_ITEMS]
        assert len(set(named)) == len(named) == min(len(own), fewest + 1) and set(named) <= own
    assert distillation.n_short == sum(len(own) <= fewest for own in left) > 0


# The loss and the weights ---------------------------------------------------------------------------------------------


def test_loss_equals_a_loop():
    labels, logits = torch.rand(5, 3), torch.randn(5, 3)
    slow = [cross_entropy(*rows) for rows in zip(labels.tolist(), logits.tolist(), strict=True)]
    assert soft_label_loss(labels, logits).tolist() == pytest.approx(slow, rel=1e-5)


def test_loss_worked_out_by_hand():
    """Label 1/4, p = 3/4: -1/4 ln(3/4) - 3/4 ln(1/4) = 1.1116413. Label 1, p = 1/2: ln 2. Label 0 at -1000: nothing."""
    loss = soft_label_loss(torch.tensor([[0.25, 1.0, 0.0]]), torch.tensor([[math.log(3), 0.0, -1000.0]]))
    assert loss.tolist() == pytest.approx([1.1116413 + math.log(2)], abs=1e-6)
    assert soft_label_loss(torch.tensor([[1.0]]), torch.tensor([[-1000.0]])).tolist() == [1000.0]


def test_loss_gradient_is_what_the_student_believes_less_what_the_teacher_does():
    labels, logits = torch.rand(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_label_loss(labels, x), (logits,))
    (gradient,) = torch.autograd.grad(soft_label_loss(labels, logits).sum(), logits)
    torch.testing.assert_close(gradient, torch.sigmoid(logits.detach()) - labels)


def test_weights_worked_out_by_hand():
    linear = CDSettings(depth=4, samples=1).log_weights().exp().tolist()
    assert linear == pytest.approx([1, 0.75, 0.5, 0.25])
    falling = CDSettings(depth=4, samples=1, sampling="exponential", gamma=4 * math.log(2)).log_weights().exp().tolist()
    assert falling == pytest.approx([1, 0.5, 0.25, 0.125])
    better_of_two = CDSettings(depth=4, samples=1, sampling="tournament").log_weights().softmax(0).tolist()
    assert better_of_two == pytest.approx([0.4375, 0.3125, 0.1875, 0.0625])
    assert CDSettings(depth=4, samples=1, sampling="uniform").log_weights().tolist() == [0] * 4
    assert CDSettings(depth=4, samples=1).log_weights(torch.tensor([[2]]), 3).exp().tolist() == [[1, 0.5, 0]]


# The method -----------------------------------------------------------------------------------------------------------


def prepared(data, student, teacher, cache=None, **settings):
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    distillation = CDSettings(**(SMALL | settings)).build(student, teacher)
    distillation.prepare(teacher, instances, cache=cache)
    return distillation, instances


@pytest.mark.parametrize(("of_student", "of_teacher"), PAIRS)
@pytest.mark.parametrize("mode", ["student", "teacher"])
def test_a_batch_in_slow_motion(data, monkeypatch, of_student, of_teacher, mode):
    student, teacher = model(of_student, 2).train(), model(of_teacher, 1).train()
    distillation, instances = prepared(data, student, teacher, mode=mode)
    scored = []
    score = student.score
    monkeypatch.setattr(student, "score", lambda *given: scored.append(given[1].tolist()) or score(*given))
    index = [0, 5, 20, 1, 30, 21] if student.window else [0, 9, 30, 1, 31, 2]
    batch = batch_of(instances, index)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    loss = distillation.loss(student, batch, 0, context)
    assert student.training and teacher.training  # as they were

    queries = range(len(index))
    if not student.window:  # every user once
        users = batch.queries.user.tolist()
        queries = [users.index(user) for user in sorted(set(users))]
        assert len(queries) < len(index)
    (lists,) = scored
    assert len(lists) == len(queries)
    slow, guide, chosen = 0.0, {"student": student, "teacher": teacher}[mode], []
    for query, items in zip(queries, lists, strict=True):
        ranking = teachers_list(guide, data, instances, index[query], SMALL["depth"])
        chosen.append([ranking.index(item) for item in items])
        assert len(set(items)) == 4
        asked = batch.queries[query : query + 1]
        theirs = teacher.score_all(teacher.encode(asked))[0].tolist()
        own = student.score_all(context[query : query + 1])[0].tolist()
        slow += cross_entropy([sigmoid((theirs[item] + 0.25) / 1.5) for item in items], [own[item] for item in items])
    assert loss.item() == pytest.approx(0.5 * slow, rel=1e-5)
    assert len({tuple(places) for places in chosen}) > 1  # drawn, not the first ones


@pytest.mark.parametrize("sampling", LAWS)
@pytest.mark.parametrize("mode", ["student", "teacher"])
def test_items_are_drawn_for_every_user_as_their_weights_say(data, mode, sampling):
    student, teacher = model("bpr", 2), model("bpr", 1)
    settings = {"gamma": 3.0} if sampling == "exponential" else {}
    distillation, instances = prepared(data, student, teacher, mode=mode, sampling=sampling, samples=2, depth=5, **settings)
    guide = student if mode == "student" else teacher
    lists = [teachers_list(guide, data, instances, int(data.offsets[user]), 5) for user in range(N_USERS)]
    places = []
    for epoch in range(600):
        distillation.begin_epoch(student, epoch, 1, stream(1, "distillation", epoch))
        for user, items in enumerate(distillation.sample[0].tolist()):
            places.append([lists[user].index(item) for item in items])
    weights = [LAWS[sampling](r, 5) for r in range(5)]
    check_frequencies(torch.tensor(places), inclusion(weights, 2))


def test_the_students_ranking_is_that_of_the_moment_and_the_teachers_stays(data):
    teacher = model("bpr", 1)
    for mode in ("student", "teacher"):
        student = model("bpr", 2)
        distillation, instances = prepared(data, student, teacher, mode=mode, samples=9)  # the whole ranking
        sets = []
        for change in (False, True):
            if change:
                student.load_state_dict(model("bpr", 3).state_dict())
            distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
            sets.append([set(row) for row in distillation.sample[0].tolist()])
        guide = model("bpr", 3) if mode == "student" else teacher
        expected = [set(teachers_list(guide, data, instances, int(data.offsets[u]), 9)) for u in range(N_USERS)]
        assert sets[1] == expected and (sets[0] == sets[1]) is (mode == "teacher")


@pytest.mark.parametrize("mode", ["student", "teacher"])
def test_every_epoch_has_its_own_sample_and_a_fresh_start_finds_the_same(data, tmp_path, mode):
    student, teacher = model("bpr", 2), model("bpr", 1)
    straight, _ = prepared(data, student, teacher, cache=ListCache(tmp_path), mode=mode)
    epochs = []
    for epoch in (1, 2):
        straight.begin_epoch(student, epoch, 1, stream(1, "distillation", epoch))
        epochs.append(straight.sample)
    resumed, _ = prepared(data, student, teacher, cache=ListCache(tmp_path), mode=mode)
    resumed.begin_epoch(student, 2, 1, stream(1, "distillation", 2))
    assert all(map(torch.equal, resumed.sample, epochs[1]))
    assert not torch.equal(epochs[0][0], epochs[1][0])


@pytest.mark.parametrize("of_teacher", ["bpr", "caser"])
def test_no_gradient_reaches_the_teacher_and_labels_carry_none(data, of_teacher):
    student, teacher = model("bpr", 2), model(of_teacher, 1)
    distillation, instances = prepared(data, student, teacher)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    batch = batch_of(instances, [0, 9, 30])
    distillation.loss(student, batch, 0, student.encode(batch.queries)).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert min(parameter.grad.abs().max() for parameter in student.parameters()) > 1e-3


def test_a_students_dropout_neither_blurs_his_ranking_nor_spends_the_loops_random_numbers(data):
    """A Caser with dropout is ranked as at evaluation, and the mask of the next step is what it would have been."""
    student, teacher = model("caser", 2), model("bpr", 1)
    student.dropout = 0.5
    distillation, instances = prepared(data, student, teacher, samples=9)
    batch = batch_of(instances, [0, 20])
    distillation.begin_epoch(student.train(), 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    before = torch.random.get_rng_state()
    rankings = exemplary_rankings(student, batch.queries, 9, target=None, seen=instances.seen)
    distillation.loss(student, batch, 0, context)
    assert torch.equal(torch.random.get_rng_state(), before)
    student.eval()
    assert rankings.tolist() == [teachers_list(student, data, instances, index, 9) for index in (0, 20)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("of_student", ["bpr", "caser"])
def test_a_resumed_training_equals_an_undisturbed_one(data, of_student):
    straight, resumed = straight_and_resumed(prepared, data, of_student)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("mode", ["student", "teacher"])
def test_the_student_comes_to_believe_what_the_teacher_does(data, mode):
    """Mean difference of his probabilities from the teacher's labels, over everything unseen."""
    settings = Training(epochs=30, batch_size=64, learning_rate=0.03, negatives=1, reduction="sum")
    depth = N_ITEMS - int(data.counts().max())
    found = []
    for weight in (0.0, 3.0):
        student, teacher = model("bpr", 2), model("bpr", 1)
        distillation, instances = prepared(data, student, teacher, mode=mode, samples=10, depth=depth, weight=weight)
        train(student, instances, make_optimizer(student, distillation, settings), settings, seed=1, distillation=distillation)
        users = [user for user in range(N_USERS) for item in range(N_ITEMS) if item not in seen_by(data, user)]
        items = [item for user in range(N_USERS) for item in range(N_ITEMS) if item not in seen_by(data, user)]
        with torch.no_grad():
            own, theirs = (who.user.weight @ who.item_factors.weight.T for who in (student, teacher))
        difference = torch.sigmoid(own) - torch.sigmoid((theirs + 0.25) / 1.5)
        found.append(float(difference[users, items].abs().mean()))
    without, taught = found
    assert taught < 0.15 and taught < without / 2


def test_nothing_of_it_is_trained_or_stored(data):
    distillation, _ = prepared(data, model("bpr", 2), model("bpr", 1))
    assert list(distillation.parameters()) == [] and distillation.state_dict() == {}
    assert distillation.reduction == "sum"


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_ranking_of_more_items_than_there_are_is_refused(data):
    fewest = N_ITEMS - int(data.counts().max())
    with pytest.raises(ValueError, match="depth must be <= 39, all items but the target, got 40: lower it"):
        prepared(data, model("bpr", 2), model("bpr", 1), depth=40)
    with pytest.raises(ValueError, match="samples must be <= 39, all items but the target, got 40: lower it"):
        prepared(data, model("bpr", 2), model("bpr", 1), depth=None, samples=40)
    distillation, _ = prepared(data, model("bpr", 2), model("bpr", 1), depth=fewest, samples=fewest)
    distillation.begin_epoch(model("bpr", 2), 1, 1, stream(1, "distillation"))
    active = int(np.argmax(data.counts()))
    assert set(distillation.sample[0][active].tolist()) == set(range(N_ITEMS)) - seen_by(data, active)


def test_a_teacher_that_scores_all_items_only_is_refused():
    student = Caser(N_USERS, N_ITEMS, CaserSettings(dim=4))
    with pytest.raises(ValueError, match="scores of single items, which Popularity cannot give"):
        CDSettings().build(student, Popularity(torch.arange(N_ITEMS)))


BAD = [
    {"mode": "both"}, {"sampling": "random"}, {"samples": 0}, {"samples": 2.0}, {"samples": 501}, {"depth": 0},
    {"gamma": -1.0}, {"gamma": 2.0}, {"temperature": 0}, {"temperature": -1}, {"temperature": math.inf},
    {"shift": math.nan}, {"shift": "0"}, {"weight": -0.1}, {"weight": True},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CDSettings(**bad)


def test_a_negative_shift_is_none():
    assert CDSettings(shift=-3.0).shift == -3.0
