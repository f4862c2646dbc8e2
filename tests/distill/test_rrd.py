"""Relaxed ranking distillation: its loss as a product of fractions, its two samples against exact probabilities, and
every batch against the data in slow motion."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rdcore import fast
from rdcore.data import Interactions, sampling
from rdcore.data.sampling import OtherItems, SeenItems, stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch, RRDSettings
from rdcore.distill.resampled import sampled_places
from rdcore.distill.rrd import RelaxedRankingDistillation, relaxed_loss
from rdcore.eval import topk as ranking
from rdcore.models import BPRMFSettings, CaserSettings, NeuMFSettings
from rdcore.models.base import Model
from rdcore.store.list_cache import ListCache
from rdcore.train.loop import Training, TrainingData, make_optimizer, train, training_data

N_USERS, N_ITEMS = 12, 40


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=N_USERS, n_items=N_ITEMS, min_length=8, max_length=14)


def model(kind: str, seed: int) -> Model:
    """A model with parameters so large that scores differ by more than rounding."""
    generator = torch.Generator().manual_seed(seed)
    made = {"bpr": BPRMFSettings, "biased": BPRMFSettings, "neumf": NeuMFSettings, "caser": CaserSettings}[kind](
        **({"dim": 4} | ({"bias": True} if kind == "biased" else {}) | ({"dropout": 0.0} if kind == "caser" else {}))
    ).build(N_USERS, N_ITEMS)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        if kind == "caser":
            made.item.weight[N_ITEMS] = 0
    return made


def batch_of(instances: TrainingData, index) -> Batch:
    index = torch.tensor(index)
    return Batch(index, instances.queries[index], instances.target[index], torch.zeros(len(index), 1, dtype=torch.long))


def seen_by(data: Interactions, user: int) -> set[int]:
    return set(data.items[data.offsets[user] : data.offsets[user + 1]].tolist())


# The loss -------------------------------------------------------------------------------------------------------------


def fractions(interesting: list[float], uninteresting: list[float]) -> float:
    """-log of the product, one fraction an interesting item."""
    product = 1.0
    for k in range(len(interesting)):
        left = sum(math.exp(s) for s in interesting[k:]) + sum(math.exp(u) for u in uninteresting)
        product *= math.exp(interesting[k]) / left
    return -math.log(product)


def compared(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """The loss in the form that RRD chooses for these logits, on a CPU mostly the fast one."""
    settings = RRDSettings(K=interesting.shape[1], L=uninteresting.shape[1])
    return RelaxedRankingDistillation(settings, per_user=True).compare(torch.cat([interesting, uninteresting], dim=1), None)


both_forms = pytest.mark.parametrize("relaxed_loss", [relaxed_loss, compared])


@both_forms
@pytest.mark.parametrize(("K", "L"), [(1, 1), (1, 3), (4, 1), (5, 6), (3, 0), (1, 0)])
def test_loss_equals_the_product_of_fractions(K, L, relaxed_loss):
    logits = torch.randn(6, K + L, generator=torch.Generator().manual_seed(1)) * 2
    slow = [fractions(row[:K], row[K:]) for row in logits.tolist()]
    assert relaxed_loss(logits[:, :K], logits[:, K:]).tolist() == pytest.approx(slow, rel=1e-5, abs=1e-6)


def test_loss_worked_out_by_hand():
    """Exponentials 2, 1 and, uninteresting, 1: 2 / (2 + 1 + 1) times 1 / (1 + 1) = 1 / 4. Without the last one
    2 / (2 + 1) times 1 / 1. In the other order 1 / 4 times 2 / 3 = 1 / 6."""
    two, one = math.log(2), 0.0
    assert relaxed_loss(torch.tensor([[two, one]]), torch.tensor([[one]])).item() == pytest.approx(math.log(4), abs=1e-6)
    assert relaxed_loss(torch.tensor([[two, one]]), torch.zeros(1, 0)).item() == pytest.approx(math.log(1.5), abs=1e-6)
    assert relaxed_loss(torch.tensor([[one, two]]), torch.tensor([[one]])).item() == pytest.approx(math.log(6), abs=1e-6)


def test_the_fast_form_serves_logits_whose_exponentials_a_float_holds(monkeypatch):
    asked, plain = [], fast.relaxed_loss
    monkeypatch.setattr(fast, "relaxed_loss", lambda *parts: asked.append(1) or plain(*parts))
    for spread in (79.0, 81.0, math.nan, 79.0):
        compared(torch.tensor([[0.0, spread]]), torch.tensor([[1.0]]))
    assert asked == [1, 1]


@both_forms
@pytest.mark.parametrize("L", [0, 3])
def test_loss_gradient(L, relaxed_loss):
    interesting, uninteresting = (torch.randn(3, n, dtype=torch.float64, requires_grad=True) for n in (4, L))
    assert torch.autograd.gradcheck(relaxed_loss, (interesting, uninteresting))


@both_forms
@pytest.mark.parametrize("L", [0, 1])
@pytest.mark.parametrize("spread", [79, 81, 100, 200, 700])
def test_loss_at_spreads_near_and_far_beyond_what_exponentials_hold(spread, L, relaxed_loss):
    """Scores in the teacher's order, and reversed, against logarithms in float64. In float32 exp(-100) has few digits left and
    exp(-200) is 0, whose logarithm no loss may have; where all are interesting (L = 0) the last one stands alone."""
    rows = torch.tensor([[0.0, -spread / 2, -spread], [-spread, -spread / 2, 0.0], [0.0, -spread, -spread]])
    interesting, uninteresting = rows.requires_grad_(), torch.full((3, L), -float(spread), requires_grad=True)
    exact = [each.detach().double().requires_grad_() for each in (interesting, uninteresting)]
    left = [torch.logsumexp(torch.cat([exact[0][:, k:], exact[1]], dim=1), dim=1) for k in range(3)]
    expected = sum(left) - exact[0].sum(1)
    loss = relaxed_loss(interesting, uninteresting)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-4)
    loss.sum().backward()
    expected.sum().backward()
    for got, wanted in zip((interesting, uninteresting), exact, strict=True):
        torch.testing.assert_close(got.grad.double(), wanted.grad, rtol=0, atol=1e-4)


def test_loss_and_gradient_at_extreme_logits():
    """-1000 before 1000: the first fraction is e^-2000, the second 1. 1000 before -1000, and -1000 behind: 1 and 1/2. Three
    equal ones: 1/3 and 1/2. Float32 knows a number of 1000 to 6e-5."""
    interesting = torch.tensor([[-1000.0, 1000], [1000, -1000], [-1000, -1000], [0, 0]], requires_grad=True)
    uninteresting = torch.tensor([[0.0], [-1000], [1000], [0]], requires_grad=True)
    loss = relaxed_loss(interesting, uninteresting)
    assert loss.tolist() == pytest.approx([2000, math.log(2), 4000, math.log(6)], abs=1e-4)
    loss.sum().backward()
    expected = [[-1, 1], [0, -0.5], [-1, -1], [-2 / 3, -1 / 6]]
    assert interesting.grad.tolist() == [pytest.approx(row, abs=1e-4) for row in expected]
    assert uninteresting.grad.flatten().tolist() == pytest.approx([0, 0.5, 2, 5 / 6], abs=1e-4)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=6, unique_by=lambda x: round(x, 2)),
    st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.randoms(use_true_random=False),
)  # fmt: skip
def test_order_matters_among_the_interesting_alone(interesting, uninteresting, random):
    def loss(s, u):
        return relaxed_loss(torch.tensor([s], dtype=torch.float64), torch.tensor([u], dtype=torch.float64)).item()

    best, given_order = sorted(interesting, reverse=True), loss(interesting, uninteresting)
    shuffled = random.sample(uninteresting, len(uninteresting))
    assert loss(interesting, shuffled) == pytest.approx(given_order)
    assert loss(best, uninteresting) <= given_order + 1e-9
    swapped = [best[1], best[0], *best[2:]]
    assert loss(swapped, uninteresting) > loss(best, uninteresting) + 1e-6
    # And nothing but the sum of exponentials is asked of the uninteresting.
    merged = [math.log(sum(map(math.exp, uninteresting)))]
    assert loss(interesting, merged) == pytest.approx(given_order)


# Interesting items ----------------------------------------------------------------------------------------------------


def inclusion(weights: list[float], size: int) -> dict[tuple[int, ...], float]:
    """Probability of every set of places, drawn one after the other without replacement."""
    found: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(len(weights)), size):
        probability, left = 1.0, sum(weights)
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        found[tuple(sorted(order))] = found.get(tuple(sorted(order)), 0.0) + probability
    return found


def check_frequencies(drawn: torch.Tensor, expected: dict[tuple[int, ...], float]) -> None:
    """Every set of items as often as its probability says, within 4.5 standard errors."""
    sets, counts = drawn.sort(1).values.unique(dim=0, return_counts=True)
    found = {tuple(row): count for row, count in zip(sets.tolist(), counts.tolist(), strict=True)}
    assert set(found) <= set(expected)
    for which, probability in expected.items():
        error = math.sqrt(len(drawn) * probability * (1 - probability))
        assert abs(found.get(which, 0) - len(drawn) * probability) < 4.5 * error + 1e-9


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("T", [1.0, 3.0])
def test_places_are_drawn_with_the_probabilities_of_drawing_one_after_the_other(T, size):
    weights = [math.exp(-rank / T) for rank in range(1, 6)]  # as the paper writes them, from rank 1 on
    log_weights = -torch.arange(5, dtype=torch.float64) / T
    drawn = sampled_places(log_weights, 20_000, size, torch.Generator().manual_seed(3))
    check_frequencies(drawn, inclusion(weights, size))


@pytest.mark.parametrize("T", [1e-300, 1e-3, 0.01])
def test_no_temperature_is_too_small(T):
    log_weights = -torch.arange(500, dtype=torch.float64) / T
    drawn = sampled_places(log_weights, 50, 40, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, torch.arange(40).expand(50, -1))


def test_how_many_rankings_are_drawn_from_at_once_changes_no_draw(monkeypatch):
    log_weights = -torch.arange(50, dtype=torch.float64) / 10
    whole = sampled_places(log_weights, 23, 8, torch.Generator().manual_seed(0))
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 8 * 50 * 7)  # seven at a time
    assert torch.equal(sampled_places(log_weights, 23, 8, torch.Generator().manual_seed(0)), whole)


def test_places_are_ascending_and_different_and_far_ones_rare():
    log_weights = -torch.arange(500, dtype=torch.float64) / 10
    drawn = sampled_places(log_weights, 2000, 40, torch.Generator().manual_seed(0))
    assert (drawn.diff(dim=1) > 0).all() and drawn.min() == 0
    # The mean last place of 40 is far above 39, and no place beyond 40 + 41 T can ever be drawn from 53 random bits.
    assert 60 < drawn[:, -1].double().mean() < 120 and drawn.max() < 450


# Uninteresting items --------------------------------------------------------------------------------------------------


def others(excluded: list[set[int]], n_items: int) -> OtherItems:
    pairs = [(row, item) for row, items in enumerate(excluded) for item in sorted(items, reverse=True)]
    pairs += pairs[:2]  # a pair may be given twice
    row, item = torch.tensor(pairs).T
    return OtherItems([(row, item)], len(excluded), n_items)


def test_every_set_of_the_other_items_is_equally_likely():
    excluded = [{0, 2, 3}, {6}, set(), {1, 2, 3, 4, 5}]
    made = others(excluded * 4000, 7)
    drawn = made.draw(2, torch.Generator().manual_seed(1))
    for row, items in enumerate(excluded):
        sets = list(itertools.combinations(sorted(set(range(7)) - items), 2))
        check_frequencies(drawn[row::4], dict.fromkeys(sets, 1 / len(sets)))
    assert made.left.tolist()[:4] == [4, 6, 7, 2]


@given(st.integers(1, 30), st.integers(1, 5), st.data())
def test_other_items_are_different_and_none_is_excluded(n_items, n_rows, more):
    excluded = more.draw(st.lists(st.sets(st.integers(0, n_items - 1)), min_size=n_rows, max_size=n_rows).filter(any))
    n = more.draw(st.integers(0, n_items - max(map(len, excluded))))
    asked = more.draw(st.none() | st.lists(st.integers(0, n_rows - 1)))
    rows = None if asked is None else torch.tensor(asked, dtype=torch.int64)
    drawn = others(excluded, n_items).draw(n, torch.Generator().manual_seed(0), rows)
    asked = range(n_rows) if asked is None else asked
    assert drawn.shape == (len(asked), n)
    for row, place in zip(drawn.tolist(), asked, strict=True):
        assert len(set(row)) == n and set(row) <= set(range(n_items)) - excluded[place]


@given(st.integers(2, 20), st.integers(0, 6), st.integers(0, 4), st.integers(1, 40), st.randoms(use_true_random=False))
def test_blocks_of_users_leave_what_all_at_once_leave(n_items, n_users, length, looked_up, chance):
    """Users are taken a few at a time, for memory. Lists may name nothing (n_items), and what is seen already."""
    seen = [[chance.randrange(n_items) for _ in range(chance.randrange(4))] for _ in range(n_users)] + [[0]]
    offsets = torch.tensor([0, *itertools.accumulate(map(len, seen))])
    items = SeenItems(torch.tensor(sum(seen, [])), offsets, n_items)
    user = torch.tensor([chance.randrange(n_users + 1) for _ in range(n_users)], dtype=torch.int64)  # one may come twice
    listed = torch.tensor([[chance.randint(0, n_items) for _ in range(length)] for _ in user], dtype=torch.int32)
    listed = listed.reshape(n_users, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "LOOKED_UP", looked_up)
        made = OtherItems.of(user, listed, items)
    left = [sorted(set(range(n_items)) - set(seen[who]) - set(row)) for who, row in zip(user, listed.tolist(), strict=True)]
    assert made.left.tolist() == list(map(len, left))
    for row, expected in enumerate(left):
        places = torch.arange(len(expected))[None]
        assert made.at(torch.tensor([row]), places)[0].tolist() == expected


# The method -----------------------------------------------------------------------------------------------------------

SMALL = {"K": 4, "L": 6, "T": 2.0, "depth": 9, "weight": 0.5}
PAIRS = [("bpr", "bpr"), ("neumf", "bpr"), ("caser", "caser"), ("bpr", "caser"), ("caser", "bpr")]


def prepared(data, student, teacher, cache=None, **settings):
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    distillation = RRDSettings(**(SMALL | settings)).build(student, teacher)
    distillation.prepare(teacher, instances, cache=cache)
    return distillation, instances


@torch.no_grad()
def teachers_list(teacher, data, instances, index: int, depth: int) -> list[int]:
    """The teacher's ranking of what the user of an instance has not seen, in plain Python."""
    query = instances.queries[index : index + 1]
    scores = teacher.score_all(teacher.encode(query))[0].tolist()
    unseen = set(range(N_ITEMS)) - seen_by(data, int(query.user))
    return sorted(unseen, key=lambda item: -scores[item])[:depth]


@pytest.mark.parametrize(("of_student", "of_teacher"), PAIRS)
@pytest.mark.parametrize(("interesting", "order"), [("sampled", "relaxed"), ("top", "relaxed"), ("sampled", "full")])
def test_a_batch_in_slow_motion(data, monkeypatch, of_student, of_teacher, interesting, order):
    student, teacher = model(of_student, 2), model(of_teacher, 1).eval()
    settings = {"interesting": interesting, "order": order} | ({} if interesting == "sampled" else {"T": RRDSettings.T})
    distillation, instances = prepared(data, student, teacher, **settings)
    scored = []
    score = student.score
    monkeypatch.setattr(student, "score", lambda *given: scored.append(given[1].tolist()) or score(*given))
    index = [0, 5, 20, 1, 30, 21] if student.window else [0, 9, 30, 1, 31, 2]
    batch = batch_of(instances, index)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    loss = distillation.loss(student, batch, 0, context)

    if student.window:
        queries = range(len(index))
    else:  # every user once
        users = batch.queries.user.tolist()
        queries = [users.index(user) for user in sorted(set(users))]
        assert len(queries) < len(index)
    (lists,) = scored
    assert len(lists) == len(queries)
    slow, places = 0.0, []
    for query, items in zip(queries, lists, strict=True):
        listed = teachers_list(teacher, data, instances, index[query], SMALL["depth"])
        chosen, rest = items[:4], items[4:]
        places.append([listed.index(item) for item in chosen])
        assert places[-1] == sorted(set(places[-1]))
        assert set(rest).isdisjoint(seen_by(data, int(batch.queries.user[query])) | set(listed)) and len(set(rest)) == 6
        scores = student.score_all(context[query : query + 1])[0].tolist()
        if order == "full":
            opinion = teacher.score_all(teacher.encode(batch.queries[query : query + 1]))[0].tolist()
            assert rest == sorted(rest, key=lambda item: -opinion[item])
            chosen, rest = items, []
        slow += fractions([scores[item] for item in chosen], [scores[item] for item in rest])
    assert loss.item() == pytest.approx(SMALL["weight"] * slow, rel=1e-5)
    assert (places == [[0, 1, 2, 3]] * len(places)) is (interesting == "top")


def test_without_a_memory_of_the_teacher_the_uninteresting_items_are_those_a_batch_would_draw(data):
    """What everybody leaves is worked out once; a query's draw is the one from what its own batch leaves."""
    distillation, instances = prepared(data, model("caser", 2), model("bpr", 1))
    queries = instances.queries[torch.tensor([20, 0, 20, 5])]
    lists = distillation.lists.items[queries.user].long()
    distillation.rng, again = (torch.Generator().manual_seed(5) for _ in range(2))
    (items,) = distillation.draw(model("caser", 2), queries, lists)
    sampled_places(distillation.log_weights, len(lists), SMALL["K"], again)
    own = OtherItems.of(queries.user, lists, instances.seen).draw(SMALL["L"], again)
    assert queries.user.unique().tolist() != [0] and torch.equal(items[:, SMALL["K"] :], own.int())


def items_of(distillation) -> torch.Tensor:
    return distillation.sample[0].clone()


def test_every_epoch_has_its_own_samples_and_a_fresh_start_finds_the_same(data, tmp_path):
    student, teacher = model("bpr", 2), model("bpr", 1)
    straight, _ = prepared(data, student, teacher, cache=ListCache(tmp_path))
    epochs = []
    for epoch in (1, 2, 3):
        straight.begin_epoch(student, epoch, 1, stream(1, "distillation", epoch))
        epochs.append(items_of(straight))
    resumed, _ = prepared(data, student, teacher, cache=ListCache(tmp_path))
    resumed.begin_epoch(student, 3, 1, stream(1, "distillation", 3))
    assert torch.equal(items_of(resumed), epochs[2])
    for one, other in itertools.pairwise(epochs):
        assert not torch.equal(one[:, :4], other[:, :4]) and not torch.equal(one[:, 4:], other[:, 4:])


def test_interesting_items_are_drawn_for_every_user_as_their_weights_say(data):
    student, teacher = model("bpr", 2), model("bpr", 1)
    distillation, _ = prepared(data, student, teacher, K=2, depth=4, T=1.5)
    lists = [teachers_list(teacher, data, training_data(data, 0, "cpu"), int(data.offsets[u]), 4) for u in range(N_USERS)]
    places = []
    for epoch in range(700):
        distillation.begin_epoch(student, epoch, 1, stream(1, "distillation", epoch))
        for user, items in enumerate(distillation.sample[0][:, :2].tolist()):
            places.append([lists[user].index(item) for item in items])
    check_frequencies(torch.tensor(places), inclusion([math.exp(-rank / 1.5) for rank in range(1, 5)], 2))


def straight_and_resumed(prepared, data, of_student: str) -> list[dict]:
    """The student after three epochs, undisturbed and resumed after the first; ``prepared`` makes the distillation."""
    settings = Training(epochs=3, batch_size=32, learning_rate=0.01, negatives=1, reduction="sum")
    teacher, results = model("bpr", 1), []
    for stops in ([3], [1, 3]):
        student, first, optimizer_state = model(of_student, 2), 1, None
        for stop in stops:
            distillation, instances = prepared(data, student, teacher)
            optimizer = make_optimizer(student, distillation, settings)
            if optimizer_state:
                optimizer.load_state_dict(optimizer_state)
            part = Training(**(vars(settings) | {"epochs": stop}))
            train(student, instances, optimizer, part, seed=1, distillation=distillation, first_epoch=first)
            first, optimizer_state = stop + 1, optimizer.state_dict()
        results.append(student.state_dict())
    return results


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("of_student", ["bpr", "caser"])
def test_a_resumed_training_equals_an_undisturbed_one(data, of_student):
    straight, resumed = straight_and_resumed(prepared, data, of_student)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@torch.no_grad()
def agreement(student, teacher, data) -> float:
    """Mean share of common items among the first four of unseen items."""
    instances, common = training_data(data, 0, "cpu"), 0
    for user in range(N_USERS):
        first = int(data.offsets[user])
        one, other = (set(teachers_list(who, data, instances, first, 4)) for who in (student, teacher))
        common += len(one & other)
    return common / (4 * N_USERS)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("interesting", ["sampled", "top"])
def test_the_student_comes_to_rank_as_the_teacher(data, interesting):
    settings = Training(epochs=30, batch_size=64, learning_rate=0.03, negatives=1, reduction="sum")
    temperature = {"T": 2.0} if interesting == "sampled" else {"T": RRDSettings.T}
    found = []
    for weight in (0.0, 3.0):
        student, teacher = model("bpr", 2), model("bpr", 1)
        distillation, instances = prepared(data, student, teacher, weight=weight, interesting=interesting, **temperature)
        train(student, instances, make_optimizer(student, distillation, settings), settings, seed=1, distillation=distillation)
        found.append(agreement(student, teacher, data))
    without, taught = found
    assert taught > 0.6 and taught > without + 0.3


def test_nothing_of_it_is_trained_or_stored(data):
    distillation, _ = prepared(data, model("bpr", 2), model("bpr", 1))
    assert list(distillation.parameters()) == [] and distillation.state_dict() == {}
    assert distillation.reduction == "sum"


# Refusals -------------------------------------------------------------------------------------------------------------


def test_more_items_than_there_are_is_refused(data):
    student, teacher = model("bpr", 2), model("bpr", 1)
    fewest = N_ITEMS - int(data.counts().max())
    with pytest.raises(ValueError, match="depth must be <= 39, all items but the target, got 40: lower it"):
        prepared(data, student, teacher, depth=40, L=0)
    most = int((data.counts() == data.counts().max()).sum())
    assert prepared(data, student, teacher, L=fewest - 8)[0].n_short == most
    distillation, instances = prepared(data, student, teacher, L=fewest - 9)
    assert distillation.n_short == 0
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    active = int(np.argmax(data.counts()))  # he gets all there is
    listed = teachers_list(teacher, data, instances, int(data.offsets[active]), 9)
    assert set(distillation.sample[0][active, 4:].tolist()) == set(range(N_ITEMS)) - seen_by(data, active) - set(listed)


BAD = [
    {"K": 0}, {"K": 2.5}, {"K": True}, {"K": 501}, {"L": -1}, {"L": 1.0}, {"depth": 0}, {"T": 0}, {"T": -1.0}, {"T": math.inf},
    {"T": "10"}, {"T": 1e-301}, {"weight": -1}, {"weight": math.nan}, {"weight": True}, {"interesting": "best"},
    {"T": 5.0, "interesting": "top"}, {"order": "none"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RRDSettings(**bad)


def test_the_defaults_are_those_of_the_released_code():
    assert RRDSettings() == RRDSettings(K=40, L=40, T=10.0, depth=500, weight=1e-3, interesting="sampled", order="relaxed")
