"""RankDistil: its losses against enumeration and by hand, what they are minimal at, its negatives, and the whole step."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from rdcore.data import Interactions
from rdcore.data.sampling import SeenItems, different_unseen_items, stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch, RankDistil, RankDistilSettings
from rdcore.distill.rankdistil import (
    POOL,
    binary_loss,
    coupled_loss,
    in_order,
    order_loss,
    pairwise_loss,
    plackett_luce,
    sampled_orders,
)
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, PopularitySettings
from rdcore.store.description import describe
from rdcore.train.loop import Training, TrainingData, make_optimizer, train, training_data
from studies.common.reported import reported

N_USERS, N_ITEMS = 12, 40
STUDENTS = {"BPR-MF": BPRMFSettings(dim=4), "Caser": CaserSettings(dim=4), "Fossil": FossilSettings(dim=4)}


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=N_USERS, n_items=N_ITEMS, min_length=8, max_length=14)


def model(seed: int, settings=STUDENTS["Caser"]):
    """A model with parameters so large that scores differ and dropout matters."""
    generator = torch.Generator().manual_seed(seed)
    made = settings.build(N_USERS, N_ITEMS)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        if made.window:
            made.item.weight[N_ITEMS] = 0
    return made


def batch_of(instances: TrainingData, index) -> Batch:
    index = torch.tensor(index)
    return Batch(index, instances.queries[index], instances.target[index], torch.zeros(len(index), 3, dtype=torch.long))


def seen_by(data: Interactions, user: int) -> set[int]:
    return set(data.items[data.offsets[user] : data.offsets[user + 1]].tolist())


def slow_log_probability(scores: list[float], order) -> float:
    """Of drawing the items of `order` first, each in proportion to exp(score) among those left: by the definition."""
    left, total = set(range(len(scores))), 0.0
    for item in order:
        total += math.log(math.exp(scores[item]) / sum(math.exp(scores[j]) for j in left))
        left.remove(item)
    return total


def slow_loss(form: str, psi: str, positive, negative, factor: float, teacher) -> float:
    """B or P of one query in plain Python."""
    if psi == "scores":
        total = sum((s - t) ** 2 for s, t in zip(positive, teacher, strict=True))
    else:
        total = -slow_log_probability([*positive, *([0.0] if form == "B" else [])], range(len(positive)))
    for n in negative:
        total += factor * sum(math.log(1 + math.exp(n - j)) for j in ([0.0] if form == "B" else positive))
    return total


# The likelihood and form C -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_likelihood_equals_its_definition_for_every_order_of_a_short_list(k):
    scores = torch.tensor([0.3, -1.2, 2.0, 0.5], dtype=torch.float64)
    orders = list(itertools.permutations(range(4), k))
    got = plackett_luce(scores[None], torch.tensor([orders]))[0]
    assert got.tolist() == pytest.approx([slow_log_probability(scores.tolist(), order) for order in orders], rel=1e-12)
    assert got.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_order_of_the_rest_plays_no_part_and_lists_do_not_mix():
    logits = torch.randn(3, 6, dtype=torch.float64)
    turned = logits[:, [0, 1, 5, 3, 2, 4]]
    torch.testing.assert_close(plackett_luce(logits, in_order(2, "cpu")), plackett_luce(turned, in_order(2, "cpu")))
    orders = sampled_orders(logits, 5, 3, stream(0, "orders"))
    alone = torch.cat([plackett_luce(logits[b : b + 1], orders[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(plackett_luce(logits, orders), alone)


def test_the_published_check_value_of_tf_ranking():
    """tfr.keras.losses.CoupledRankDistilLoss, documentation of topk=2, sample_size=1: 2.138333, and losses_test.py at 5b1d133,
    which spells it out: -(ln 2/6 + ln 1/4 + ln 3/3 + ln 3/6 + ln 1/3 + ln 2/2) / 2. Its Gumbel draws for the labels
    [[0, 2, 1], [1, 0, 2]] gave the order 2, 0, 1 twice, as those fractions show; draws of another library would differ."""
    logits = torch.log(torch.tensor([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]]))
    for k in (2, 3):  # the last factor is 1
        order = torch.tensor([[2, 0, 1][:k]]).expand(2, 1, k)
        assert coupled_loss(logits, order).mean().item() == pytest.approx(2.138333, abs=1e-6)


def expected_coupled(teacher: Tensor, logits: Tensor, k: int) -> Tensor:
    """E -log P_k(pi | logits) over the teacher's orders, by enumeration: (n,), (n,) -> ()."""
    orders = torch.tensor([list(itertools.permutations(range(len(teacher)), k))])
    likely = plackett_luce(teacher[None], orders).exp()
    return -(likely * plackett_luce(logits[None], orders)).sum()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sampled_orders_come_as_often_as_the_teachers_plackett_luce_says(k):
    teacher, draws = torch.tensor([1.5, 0.2, -0.7, 0.9]), 20_000
    drawn = sampled_orders(teacher[None], draws, k, stream(3, "orders"))[0].tolist()
    counts = {order: 0 for order in itertools.permutations(range(4), k)}
    for order in drawn:
        counts[tuple(order)] += 1
    for order, count in counts.items():
        expected = math.exp(slow_log_probability(teacher.tolist(), order))
        assert abs(count / draws - expected) < 4.5 * math.sqrt(expected * (1 - expected) / draws)


def test_the_coupled_loss_averages_to_the_exact_expectation():
    teacher, logits = torch.tensor([1.5, 0.2, -0.7, 0.9]), torch.tensor([-0.5, 1.0, 0.4, 0.0])
    for k in (1, 2, 3):
        orders = sampled_orders(teacher[None], 20_000, k, stream(4, "orders"))
        single = -plackett_luce(logits[None], orders)
        assert coupled_loss(logits[None], orders).item() == pytest.approx(single.mean().item(), rel=1e-5)
        error = 4 * single.std().item() / math.sqrt(20_000)
        exact = expected_coupled(teacher, logits, k).item()
        assert abs(single.mean().item() - exact) < error < 0.03 * exact


# What the losses are minimal at: free scores, nothing shared ----------------------------------------------------------------


def minimised(loss, n: int, decay: float = 0.0) -> Tensor:
    scores = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scores], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(scores) + decay / 2 * scores.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    return scores.detach()


TEACHER = torch.tensor([0.4, 2.1, -1.3, 1.2, -0.2], dtype=torch.float64)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_with_sampled_orders_c_is_least_at_the_teachers_scores_plus_a_constant(k):
    scores = minimised(lambda s: expected_coupled(TEACHER, s, k), 5)
    torch.testing.assert_close(scores - scores.mean(), TEACHER - TEACHER.mean(), atol=1e-5, rtol=0)


def test_with_drawn_orders_c_is_least_near_the_teachers_scores_plus_a_constant():
    orders = sampled_orders(TEACHER[None], 30_000, 2, stream(5, "orders"))
    scores = minimised(lambda s: coupled_loss(s[None], orders)[0], 5)
    torch.testing.assert_close(scores - scores.mean(), TEACHER - TEACHER.mean(), atol=0.06, rtol=0)


@pytest.mark.parametrize("form", ["C", "B", "P"])
def test_the_teachers_own_order_is_kept_at_the_top_and_the_rest_lies_below(form):
    """Items 0, 1, 2 are the teacher's top in this order, 3 to 6 the rest. Without the small L2 there is no minimum: the
    likelihood of an order grows as the gaps do."""
    losses = {
        "C": lambda s: coupled_loss(s[None], in_order(3, "cpu"))[0],
        "B": lambda s: binary_loss(s[None, :3], s[None, 3:], torch.ones(1))[0],
        "P": lambda s: pairwise_loss(s[None, :3], s[None, 3:], torch.ones(1))[0],
    }
    scores = minimised(losses[form], 7, decay=0.01)
    assert scores[0] > scores[1] + 0.5 > scores[2] + 1.0 > scores[3:].max() + 1.5
    torch.testing.assert_close(scores[3:], scores[3:].mean().expand(4), atol=1e-4, rtol=0)  # their order is not learnt
    if form == "B":
        assert scores[2] > 0 > scores[3]


@pytest.mark.parametrize("loss", [binary_loss, pairwise_loss])
def test_scores_are_matched_where_they_are_asked_for(loss):
    teacher = torch.tensor([[3.0, 1.5, 1.0]], dtype=torch.float64)
    scores = minimised(lambda s: loss(s[None, :3], s[None, 3:], torch.ones(1), teacher)[0], 7, decay=1e-3)
    torch.testing.assert_close(scores[:3], teacher[0], atol=0.02, rtol=0)
    assert scores[3:].max() < 0


def test_b_lifts_positives_above_the_level_that_negatives_are_pushed_below_from_wherever_they_start():
    """The order alone says nothing about the level: without the floor there would be no gradient at all here."""
    positive = torch.tensor([[-9.0, -29.0, -49.0]], requires_grad=True)  # in perfect order, far below
    order_loss(positive, floor=True).sum().backward()
    assert (positive.grad < -0.9).all()
    positive.grad = None
    order_loss(positive).sum().backward()
    assert positive.grad.abs().max() < 1e-6


# B and P by hand, and how they see a sample ---------------------------------------------------------------------------------


def test_binary_and_pairwise_worked_out_by_hand():
    """Positives ln 2 and 0, negatives 0 and ln 3, a factor of 5. Order: of exp 2, 1 (and the floor's 1) 2/4 then 1/2 in B,
    2/3 then 1 in P. B: softplus is ln 2 and ln 4. P: softplus(n - j) is ln 3/2, ln 5/2 for j = ln 2; ln 2, ln 4 for j = 0.
    Scores 1 and -1 of the teacher are missed by ln 2 - 1 and 1."""
    ln = math.log
    positive, negative = torch.tensor([[ln(2), 0.0]]), torch.tensor([[0.0, ln(3)]])
    factor, teacher = torch.tensor([5.0]), torch.tensor([[1.0, -1.0]])
    pairs, missed = 5 * ln(3 / 2 * 5 / 2 * 2 * 4), (ln(2) - 1) ** 2 + 1
    assert binary_loss(positive, negative, factor).item() == pytest.approx(ln(4) + 5 * ln(8), rel=1e-5)
    assert pairwise_loss(positive, negative, factor).item() == pytest.approx(ln(3 / 2) + pairs, rel=1e-5)
    assert binary_loss(positive, negative, factor, teacher).item() == pytest.approx(missed + 5 * ln(8), rel=1e-5)
    assert pairwise_loss(positive, negative, factor, teacher).item() == pytest.approx(missed + pairs, rel=1e-5)


@pytest.mark.parametrize("psi", ["order", "scores"])
@pytest.mark.parametrize("form", ["B", "P"])
def test_binary_and_pairwise_equal_a_slow_loop(form, psi):
    generator = torch.Generator().manual_seed(0)
    positive, negative, teacher = (torch.randn(4, n, generator=generator) * 2 for n in (3, 5, 3))
    factor = torch.tensor([1.0, 2.5, 10.0, 0.3])
    loss = {"B": binary_loss, "P": pairwise_loss}[form](positive, negative, factor, teacher if psi == "scores" else None)
    rows = zip(positive.tolist(), negative.tolist(), factor.tolist(), teacher.tolist(), strict=True)
    assert loss.tolist() == pytest.approx([slow_loss(form, psi, *row) for row in rows], rel=1e-5)


RANKED = torch.tensor([2.0, 1.0, 0.5, 0.8, -0.3, 0.1, -1.5, 0.9, 0.0], dtype=torch.float64)  # three positives, six negatives


def over_samples(loss, m: int) -> Tensor:
    """The loss of every one of the samples of m of the six negatives, each as likely as the others."""
    negatives = RANKED[torch.tensor(list(itertools.combinations(range(3, 9), m)))]
    return loss(RANKED[:3].expand(len(negatives), -1), negatives, torch.full((len(negatives),), 6 / m))


def coupled(positive: Tensor, negative: Tensor, factor: Tensor) -> Tensor:
    return coupled_loss(torch.cat([positive, negative], 1), in_order(positive.shape[1], "cpu"))


@pytest.mark.parametrize("loss", [binary_loss, pairwise_loss])
def test_sampled_negatives_leave_binary_and_pairwise_unbiased(loss):
    whole = loss(RANKED[None, :3], RANKED[None, 3:], torch.ones(1))[0].item()
    for m in (1, 2, 5):
        samples = over_samples(loss, m)
        assert samples.mean().item() == pytest.approx(whole, rel=1e-6)
        assert samples.std() > 0.01 * whole


def test_sampled_negatives_bias_the_coupled_loss_the_less_the_more_there_are():
    whole = coupled(RANKED[None, :3], RANKED[None, 3:], torch.ones(1))[0].item()
    bias = [whole - over_samples(coupled, m).mean().item() for m in (1, 2, 3, 4, 5, 6)]
    assert bias[0] > 0.3 * whole > 0
    assert all(more < 0.8 * fewer for fewer, more in itertools.pairwise(bias[:5]))
    assert bias[5] == pytest.approx(0, abs=1e-12)


# Numerically ------------------------------------------------------------------------------------------------------------


def all_losses(positive: Tensor, negative: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    n = positive.shape[1] + negative.shape[1]
    backwards = torch.arange(n - 1, -1, -1).view(1, 1, n)
    logits, factor = torch.cat([positive, negative], 1), torch.full((len(positive),), 3.0, dtype=positive.dtype)
    return {
        "C": coupled_loss(logits, in_order(positive.shape[1], "cpu")),
        "C, whole list": coupled_loss(logits, backwards),
        "B": binary_loss(positive, negative, factor),
        "P": pairwise_loss(positive, negative, factor),
        "B, scores": binary_loss(positive, negative, factor, teacher),
        "P, scores": pairwise_loss(positive, negative, factor, teacher),
    }


def test_losses_and_gradients_are_finite_at_extreme_logits():
    """Each query's loss is a sum of differences of 1000s: nothing overflows, and nothing small is lost in float64."""
    high, low = [1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 1000.0]
    for first, rest in ((high, low), (low, high), ([1000.0] * 3, [-1000.0] * 3), ([-1000.0] * 3, [1000.0] * 3)):
        positive, negative = (torch.tensor([part], requires_grad=True) for part in (first, rest))
        for name, loss in all_losses(positive, negative, torch.zeros(1, 3)).items():
            gradients = torch.autograd.grad(loss.sum(), (positive, negative), retain_graph=True)
            assert loss.isfinite().all() and all(part.isfinite().all() for part in gradients), name
    far = torch.tensor([[1000.0, 0.0, -1000.0, -1000.0]], dtype=torch.float64)
    assert coupled_loss(far, in_order(2, "cpu")).item() == 0
    assert coupled_loss(far, in_order(3, "cpu")).item() == pytest.approx(math.log(2))
    assert coupled_loss(-far, in_order(2, "cpu")).item() == pytest.approx(2000 + math.log(2) + 1000 + math.log(2))


def test_gradcheck_in_float64():
    generator = torch.Generator().manual_seed(1)
    positive, negative, teacher = (torch.randn(2, n, dtype=torch.float64, generator=generator) for n in (3, 4, 3))
    inputs = positive.requires_grad_(), negative.requires_grad_()
    for name in all_losses(*inputs, teacher):
        assert torch.autograd.gradcheck(lambda p, n, name=name: all_losses(p, n, teacher)[name], inputs), name
    orders = sampled_orders(torch.randn(2, 7, generator=generator), 3, 4, generator)
    assert torch.autograd.gradcheck(lambda p, n: coupled_loss(torch.cat([p, n], 1), orders), inputs)


def test_the_gradient_of_the_coupled_loss_adds_up_to_nothing():
    logits = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(coupled_loss(logits, in_order(3, "cpu")).sum(), logits)
    torch.testing.assert_close(gradient.sum(1), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert gradient.abs().min() > 1e-4


# The negatives --------------------------------------------------------------------------------------------------------------


def test_negatives_are_different_unseen_and_not_listed():
    generator = torch.Generator().manual_seed(0)
    seen = SeenItems(torch.arange(20), torch.tensor([0, 12, 20]), 30)  # 0..11 by user 0, 12..19 by user 1
    user = torch.tensor([0, 1, 0, 1] * 50)
    listed = torch.tensor([[12, 29, 20], [0, 1, 29], [13, 14, 15], [28, 27, 26]] * 50)
    allowed = [set(range(12, 30)), {*range(12), *range(20, 30)}] * 100
    for n in (1, 6, 15):  # 15: all that user 0 has left
        drawn = different_unseen_items(user, n, seen, generator, listed)
        for row, own, left in zip(drawn.tolist(), listed.tolist(), allowed, strict=True):
            assert len(set(row)) == n and set(row) <= left - set(own)
        assert n < 15 or set(drawn[0].tolist()) == allowed[0] - set(listed[0].tolist())


def test_every_choice_of_negatives_is_equally_likely():
    """Seven items are left, two are drawn: 42 ordered pairs. 99.9 % of chi-square with 41 degrees of freedom is 74.7."""
    seen, draws = SeenItems(torch.arange(2), torch.tensor([0, 2]), 12), 42_000
    user, listed = torch.zeros(draws, dtype=torch.long), torch.tensor([[4, 7, 11]]).expand(draws, -1)
    drawn = different_unseen_items(user, 2, seen, stream(1, "negatives"), listed)
    counts = torch.bincount(drawn[:, 0] * 12 + drawn[:, 1])
    counts = counts[counts > 0]
    assert len(counts) == 42
    assert ((counts - 1000) ** 2 / 1000).sum() < 74.7


def prepared(instances: TrainingData, teacher=None, epoch: int = 1, **settings) -> RankDistil:
    teacher = teacher or model(1)
    distillation = RankDistilSettings(**({"p": 3, "m": 4} | settings)).build(model(2), teacher)
    distillation.prepare(teacher, instances)
    distillation.begin_epoch(model(2), epoch, 4, stream(7, "distillation", epoch))
    return distillation


def test_mined_negatives_are_the_students_best_of_the_draw(data):
    instances = training_data(data, 5, "cpu", full_windows=True)
    student, batch = model(2), batch_of(instances, [0, 9, 30])
    context = student.encode(batch.queries).detach()
    distillation = prepared(instances, m=4, negatives="mined")
    top = distillation.lists.of(batch)
    negatives = distillation.below(student, batch.queries.user, batch.index, context, top)
    pool = different_unseen_items(batch.queries.user, 4 * POOL, instances.seen, stream(7, "distillation", 1), top)
    scores = student.score_all(context).tolist()
    for b in range(3):
        assert negatives[b].tolist() == sorted(pool[b].tolist(), key=lambda item: -scores[b][item])[:4]


def test_queries_with_fewer_items_than_asked_for_are_counted(data):
    instances = training_data(data, 5, "cpu", full_windows=True)
    left = N_ITEMS - instances.seen.distinct[instances.queries.user]
    fewest = int(left.min())
    assert prepared(instances, p=fewest - 4, m=4).n_short == 0
    assert prepared(instances, p=fewest - 3, m=4).n_short == int((left == fewest).sum()) > 0
    mined = prepared(instances, p=fewest - 4, m=4, negatives="mined")
    assert mined.n_short == int((left < fewest - 4 + 4 * POOL).sum())


def test_revisited_items_leave_as_many_negatives_as_they_should():
    twice = Interactions("few", np.array([0, 1, 0, 0, 2, 3]), np.array([0, 4, 6]), 9)
    distillation = prepared(training_data(twice, 0, "cpu"), BPRMFSettings(dim=2).build(2, 9), p=3, m=4, form="B")
    assert distillation.n_negatives(torch.arange(2), distillation.lists.items).tolist() == [4, 4]


# The whole step -----------------------------------------------------------------------------------------------------------


FORMS = [
    {"form": "C", "n_orders": 3, "temperature": 2.0},
    {"form": "C", "k": 6},
    {"form": "C", "orders": "exact"},
    {"form": "C", "orders": "exact", "k": 2},
    {"form": "B"},
    {"form": "B", "psi": "scores", "temperature": 0.5},
    {"form": "P"},
    {"form": "P", "psi": "scores"},
    {"form": "B", "negatives": "mined"},
    {"form": "P", "negatives": "mined"},
    {"form": "C", "negatives": "mined", "orders": "exact"},
]


def name_of(settings: dict) -> str:
    return "-".join(map(str, settings.values()))


@pytest.mark.parametrize("settings", FORMS, ids=name_of)
@pytest.mark.parametrize("teacher_kind", ["Caser", "BPR-MF"])
@pytest.mark.parametrize("student_kind", ["Caser", "BPR-MF"])
def test_a_step_equals_its_formula_in_a_slow_loop(data, settings, student_kind, teacher_kind):
    teacher, student = model(1, STUDENTS[teacher_kind]), model(2, STUDENTS[student_kind]).train()
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    distillation = prepared(instances, teacher, weight=0.7, **settings)
    teacher.train()  # whoever left it so: it is asked without its dropout
    batch = batch_of(instances, [4, 17, 44, 17])
    torch.manual_seed(3)
    context = student.encode(batch.queries)  # with dropout, once
    loss = distillation.loss(student, batch, 1, context)
    assert teacher.training and loss.requires_grad

    users = batch.queries.user.tolist()
    # Without a memory, two queries of a user are one.
    asked = list(range(4)) if student.window else sorted({user: b for b, user in reversed([*enumerate(users)])}.values(),
                                                         key=users.__getitem__)  # fmt: skip
    assert len(asked) == (4 if student.window else len(set(users)) < 4 and len(set(users)))
    queries, users = batch.queries[torch.tensor(asked)], [users[b] for b in asked]
    teacher.eval()
    teachers = teacher.score_all(teacher.encode(queries)).tolist()
    scores = student.score_all(context[asked]).tolist()
    rng, given = stream(7, "distillation", 1), RankDistilSettings(p=3, m=4, **settings)
    top = []
    for b, user in enumerate(users):
        top.append(sorted(set(range(N_ITEMS)) - seen_by(data, user), key=lambda item, b=b: -teachers[b][item])[:3])
    drawn = 4 * POOL if given.negatives == "mined" else 4
    negatives = different_unseen_items(queries.user, drawn, instances.seen, rng, torch.tensor(top)).tolist()
    if given.negatives == "mined":
        negatives = [sorted(row, key=lambda item, b=b: -scores[b][item])[:4] for b, row in enumerate(negatives)]
    items = [first + rest for first, rest in zip(top, negatives, strict=True)]
    k = given.k or 3
    if given.form == "C" and given.orders == "sampled":
        soft = torch.tensor([[teachers[b][item] / given.temperature for item in row] for b, row in enumerate(items)])
        orders = sampled_orders(soft, given.n_orders, k, rng).tolist()
    else:
        orders = [[range(k)]] * len(items)
    losses = []
    for b, row in enumerate(items):
        logits = [scores[b][item] for item in row]
        if given.form == "C":
            losses.append(-np.mean([slow_log_probability(logits, order) for order in orders[b]]))
        else:
            factor = (N_ITEMS - len(seen_by(data, users[b])) - 3) / drawn
            wanted = [teachers[b][item] / given.temperature for item in top[b]]
            losses.append(slow_loss(given.form, given.psi, logits[:3], logits[3:], factor, wanted))
    assert loss.item() == pytest.approx(0.7 * np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("form", ["B", "P"])
def test_steps_average_to_the_loss_over_all_negatives(data, form):
    teacher, student = model(1, STUDENTS["BPR-MF"]), model(2, STUDENTS["Caser"]).eval()  # with a memory: 2,000 queries
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    # His negatives are all that p and m leave room for.
    busiest = instances.queries.user.tolist().index(int(data.counts().argmax()))
    batch = batch_of(instances, [busiest] * 2000)
    with torch.no_grad():
        context = student.encode(batch.queries)
        few = prepared(instances, teacher, form=form, m=4)
        most = int(few.n_negatives(few.lists.users(instances), few.lists.items).min())
        everything = prepared(instances, teacher, form=form, m=most)
        losses = [few.loss(student, batch, 0, context).item() for _ in range(12)]
        whole = everything.loss(student, batch_of(instances, [busiest]), 0, context[:1]).item()
    error = 4 * np.std(losses, ddof=1) / math.sqrt(12)
    assert abs(np.mean(losses) - whole) < error < 0.02 * whole


def test_steps_with_mined_negatives_average_to_the_hardest_part_of_the_sum(data):
    """A negative that r others stand above counts by the probability that fewer than m of the 5 m - 1 drawn beside it are among
    those, which is a hypergeometric one; so it is less than the whole sum that uniform negatives estimate."""
    m, teacher, student = 2, model(1, STUDENTS["BPR-MF"]), model(2, STUDENTS["Caser"]).eval()
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    busiest = instances.queries.user.tolist().index(int(data.counts().argmax()))
    batch = batch_of(instances, [busiest] * 2000)
    with torch.no_grad():
        context = student.encode(batch.queries)
        mined = prepared(instances, teacher, form="B", m=m, negatives="mined")
        losses = [mined.loss(student, batch, 0, context).item() for _ in range(12)]
        scores = student.score_all(context[:1])[0]
    top = mined.lists.of(batch)[0].tolist()
    listed = [scores[item].item() for item in top]
    left = set(range(N_ITEMS)) - set(top) - seen_by(data, int(batch.queries.user[0]))
    others = sorted((scores[item].item() for item in left), reverse=True)
    counts = stats.hypergeom(len(others) - 1, np.arange(len(others)), POOL * m - 1).cdf(m - 1)
    assert counts[0] == 1 and np.all(np.diff(counts) <= 0) and counts.sum() == pytest.approx(len(others) / POOL)
    terms = np.logaddexp(0, others)
    psi = slow_loss("B", "order", listed, [], 1.0, listed)
    error = 4 * np.std(losses, ddof=1) / math.sqrt(12)
    assert abs(np.mean(losses) - psi - counts @ terms) < error < 0.02 * counts @ terms
    assert counts @ terms < 0.6 * terms.sum()


def test_the_teacher_is_no_part_of_what_is_trained(data):
    instances = training_data(data, 5, "cpu", full_windows=True)
    student, teacher = model(2), model(1)
    distillation = prepared(instances, teacher, form="P", psi="scores")
    assert list(distillation.parameters()) == [] and distillation.state_dict() == {}
    batch = batch_of(instances, [0, 5])
    distillation.loss(student, batch, 0, student.encode(batch.queries)).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert student.item_factors.weight.grad.abs().max() > 1e-3


@pytest.mark.parametrize("settings", [FORMS[2], FORMS[4], FORMS[6]], ids=name_of)
def test_a_teacher_who_gives_lists_alone_is_not_asked_in_training(data, settings, monkeypatch):
    instances, teacher, student = training_data(data, 5, "cpu", full_windows=True), model(1), model(2)
    distillation = prepared(instances, teacher, **settings)
    monkeypatch.setattr(teacher, "encode", lambda queries: pytest.fail("the teacher was asked"))
    batch = batch_of(instances, [0, 5])
    assert distillation.loss(student, batch, 0, student.encode(batch.queries)) > 0


def test_an_epoch_depends_on_its_generator_alone(data):
    """What a resumed run needs: prepare() and begin_epoch() of the next epoch give what an undisturbed run has."""
    instances, student = training_data(data, 5, "cpu", full_windows=True), model(2).eval()
    batch = batch_of(instances, [0, 9, 30])
    context = student.encode(batch.queries).detach()
    through = prepared(instances, epoch=1)
    first = through.loss(student, batch, 0, context)
    through.begin_epoch(student, 2, 4, stream(7, "distillation", 2))
    assert torch.equal(through.loss(student, batch, 0, context), prepared(instances, epoch=2).loss(student, batch, 0, context))
    assert not torch.equal(first, prepared(instances, epoch=2).loss(student, batch, 0, context))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("form", ["C", "B", "P"])
@pytest.mark.parametrize("kind", STUDENTS)
def test_students_of_every_kind_learn_from_it(data, kind, form):
    """The distillation alone, without a base loss: it falls, and the teacher's first items rise into the student's."""
    weight = {"C": 1.0, "B": 0.05, "P": 0.02}[form]
    student, teacher = STUDENTS[kind].build(N_USERS, N_ITEMS), model(1, STUDENTS[kind])
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    settings, logs = Training(epochs=8, batch_size=16, learning_rate=0.03, base_weight=0.0), []
    distillation = RankDistilSettings(form=form, p=3, m=8, weight=weight).build(student, teacher)
    distillation.prepare(teacher, instances)
    lists = distillation.lists.of(batch_of(instances, range(len(instances.target))))

    def reached() -> float:
        student.eval()
        with torch.no_grad():
            scores = student.score_all(student.encode(instances.queries))
        student.train()
        return (scores.gather(1, lists).unsqueeze(2) < scores.unsqueeze(1)).sum(2).float().mean().item()

    before = reached()
    train(student, instances, make_optimizer(student, distillation, settings), settings, seed=1, distillation=distillation,
          after_epoch=lambda epoch, log: logs.append(log["distillation_loss"]))  # fmt: skip
    assert logs[-1] < 0.9 * logs[0] and all(math.isfinite(value) for value in logs)
    assert reached() < 0.6 * before  # mean rank, from 0


# Settings -------------------------------------------------------------------------------------------------------------------


BAD = [
    ({"form": "A"}, "form must be 'C', 'B' or 'P', got 'A'"),
    ({"negatives": "hard"}, "negatives must be 'uniform' or 'mined', got 'hard'"),
    ({"orders": "best"}, "orders must be 'sampled' or 'exact'"),
    ({"form": "B", "psi": "ranks"}, "psi must be 'order' or 'scores'"),
    ({"p": 0}, "p must be an integer >= 1, got 0"),
    ({"m": 2.5}, "m must be an integer >= 1, got 2.5"),
    ({"n_orders": True}, "n_orders must be an integer"),
    ({"k": 0}, "k must be an integer >= 1"),
    ({"k": 61}, "k must be <= 60, the items whose order the teacher gives, got 61"),
    ({"k": 11, "orders": "exact"}, "k must be <= 10"),
    ({"weight": -1}, "weight must be a finite number >= 0, got -1"),
    ({"weight": math.nan}, "weight must be a finite number"),
    ({"weight": True}, "weight must be a finite number"),
    ({"temperature": 0}, "temperature must be a finite number > 0, got 0"),
    ({"temperature": math.inf}, "temperature must be a finite number"),
    ({"psi": "scores"}, "psi='scores' has no effect with form='C'.*leave it at 'order'"),
    ({"form": "B", "orders": "exact"}, "orders='exact' has no effect with form='B'"),
    ({"form": "P", "n_orders": 4}, "n_orders=4 has no effect"),
    ({"form": "P", "k": 4}, "k=4 has no effect"),
    ({"form": "P", "temperature": 2.0}, "temperature=2.0 has no effect"),
    ({"orders": "exact", "n_orders": 1}, "n_orders=1 has no effect with form='C', orders='exact'"),
    ({"orders": "exact", "temperature": 2.0}, "temperature=2.0 has no effect"),
]


@pytest.mark.parametrize(("bad", "said"), BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad, said):
    with pytest.raises(ValueError, match=said):
        RankDistilSettings(**bad)


def test_what_is_hashed():
    description = describe(RankDistilSettings(form="P", psi="scores", temperature=2))
    assert description == {
        "type": "RankDistilSettings", "revision": 1, "form": "P", "p": 10, "m": 50, "weight": 1.0, "negatives": "uniform",
        "temperature": 2.0, "orders": "sampled", "n_orders": 8, "k": None, "psi": "scores",
    }  # fmt: skip


def test_a_teacher_that_cannot_score_single_items_is_refused_where_he_would_have_to(data):
    popular = PopularitySettings().fit(data)
    for settings in (RankDistilSettings(), RankDistilSettings(form="B", psi="scores")):
        with pytest.raises(ValueError, match="the teacher, Popularity, cannot score single items"):
            settings.build(model(2), popular)
    instances, student = training_data(data, 5, "cpu", full_windows=True), model(2)
    for settings in ({"form": "C", "orders": "exact"}, {"form": "B"}, {"form": "P"}):
        batch = batch_of(instances, [1, 2])
        assert prepared(instances, popular, **settings).loss(student, batch, 0, student.encode(batch.queries)) > 0


# The paper's own numbers ------------------------------------------------------------------------------------------------------


def test_the_reported_rows_are_complete():
    """Three rows of notes: one form on each of three data sets, at three cut-offs."""
    numbers = reported("rankdistil")
    assert list(numbers) == ["table", "dataset", "model", "role", "metric", "value", "source", "trust"]
    wide = numbers.pivot(index=["dataset", "role"], columns="metric", values="value")
    assert list(wide) == ["NDCG@1", "NDCG@10", "NDCG@5"] and wide.notna().all(axis=None)
    assert set(wide.index) == {("web30k", "RankDistil-P"), ("yahoo", "RankDistil-C"), ("ms-marco", "RankDistil-C")}
    assert numbers["value"].between(0, 1).all() and set(numbers["trust"]) == {"notes"}
