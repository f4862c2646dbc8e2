"""UnKD: groups as published, pairs against exact probabilities, the loss, and the released sampler's defect."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import load_or_skip
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data import Interactions, leave_one_out
from rdcore.data.sampling import stream
from rdcore.distill import Batch, UnKDSettings
from rdcore.distill.followups.unkd import (
    drawn_pairs,
    drawn_places,
    pair_loss,
    pairs_of_groups,
    popularity_groups,
    shares_of_groups,
)
from rdcore.train.loop import training_data

EXAMPLES = {
    "UnKD": UnKDSettings(groups=3, pairs=9, depth=12, T=4.0, weight=0.5),
    "UnKD-released": UnKDSettings(groups=3, pairs=9, depth=12, T=4.0, weight=0.5, as_released=True),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def groups_of(counts: list[int], groups: int) -> list[list[int]]:
    items = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return [group.tolist() for group in popularity_groups(items, len(counts) + 1, groups)]


def test_golden_groups():
    assert groups_of([6, 4, 3, 2, 2, 1], 3) == [[0], [1], [2, 3, 4, 5]]
    assert groups_of([12, 3, 2, 2, 1], 2) == [[0], [1, 2, 3, 4]]


@pytest.mark.parametrize(("groups", "sizes"), [
    (2, [(3354, 57566), (21388, 57576)]),
    (3, [(1425, 38380), (5324, 38377), (17993, 38385)]),
    (4, [(817, 28784), (2537, 28782), (5995, 28785), (15393, 28791)]),
    (5, [(542, 23020), (1525, 23019), (3079, 23024), (6116, 23027), (13480, 23052)]),
])  # fmt: skip
def test_groups_of_a_published_split(groups, sizes):
    """Items and interactions of every group in DE-RRD's training part of CiteULike, counted by others in the same files."""
    fit = leave_one_out(load_or_skip("citeulike")).fit
    found, counts = popularity_groups(torch.from_numpy(fit.items), fit.n_items, groups), torch.from_numpy(fit.item_counts())
    assert [(len(group), int(counts[group].sum())) for group in found] == sizes


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 6))
def test_groups_hold_every_trained_item_once_and_the_popular_first(counts, groups):
    found = groups_of(counts, groups)
    assert sorted(itertools.chain(*found)) == list(range(len(counts)))
    sizes = [[counts[item] for item in group] for group in found]
    assert all(min(one) >= max(other) for one, other in itertools.pairwise(sizes))
    target = sum(counts) / groups
    for group in sizes[:-1]:
        assert sum(group) <= target or len(group) == 1


def test_of_equally_popular_items_the_first_in_training_comes_first():
    assert [group.tolist() for group in popularity_groups(torch.tensor([3, 1, 0, 2]), 4, 4)] == [[3], [1], [0], [2]]


def test_pairs_of_groups_round_as_python_does():
    assert [pairs_of_groups(30, groups) for groups in (2, 3, 4, 5, 8)] == [[15] * 2, [10] * 3, [8] * 4, [6] * 5, [4] * 8]
    assert pairs_of_groups(30, 7) == [5, 5, 4, 4, 4, 4, 4]


def test_rare_groups_get_more_pairs_where_that_is_asked_for():
    """Mean counts 10, 4, 1: 11 less these is 1, 7, 10 of 18, so .06, .39, .56, the first one raised to .1."""
    assert shares_of_groups([10, 4, 1], 1) == pytest.approx([0.1 / 1.05, 0.39 / 1.05, 0.56 / 1.05])
    roots = [math.sqrt(each) for each in (0.1, 0.39, 0.56)]
    assert shares_of_groups([10, 4, 1], 0.5) == pytest.approx([each / sum(roots) for each in roots])
    assert shares_of_groups([10, 4, 1], 0) == pytest.approx([1 / 3] * 3) and shares_of_groups([3], 2) == [1]
    assert pairs_of_groups(30, 3, [0.1 / 1.05, 0.39 / 1.05, 0.56 / 1.05]) == [3, 11, 16]
    assert pairs_of_groups(10, 4, [0.04, 0.06, 0.45, 0.45]) == [1, 1, 4, 4]  # 0, 1, 4, 4: one more in the first
    _, _, method, _ = prepared(UnKDSettings(groups=3, pairs=30, depth=12, lamda=2.0))
    found = torch.bincount(method.group_of_pair).tolist()
    assert found == sorted(found) and found[-1] > found[0] > 0


def test_pairs_have_the_published_probabilities():
    """exp(-i / 20) on a list of three: (1, 2) .350132, (1, 3) .333056, (2, 3) .316812; within 4.5 standard errors."""
    better, worse = drawn_pairs(torch.full((60_000,), 3), 20.0, torch.Generator().manual_seed(1))
    assert (better < worse).all()
    for pair, p in (((0, 1), 0.350132), ((0, 2), 0.333056), ((1, 2), 0.316812)):
        share = float(((better == pair[0]) & (worse == pair[1])).double().mean())
        assert share == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / 60_000))


def test_places_have_the_published_mass():
    places = drawn_places(torch.full((200_000,), 1000), 20.0, torch.Generator().manual_seed(1))
    for n, p in ((20, 0.632121), (100, 0.993262)):
        assert float((places < n).double().mean()) == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / 200_000))
    assert drawn_places(torch.ones(1000, dtype=torch.long), 20.0, torch.Generator()).max() == 0


def test_lists_of_one_or_none_give_no_pair_and_end():
    better, worse = drawn_pairs(torch.tensor([[0, 1, 2]] * 50), 20.0, torch.Generator().manual_seed(0))
    assert better.tolist() == [[0, 0, 0]] * 50 and worse.tolist() == [[0, 0, 1]] * 50
    method = prepared(UnKDSettings(groups=2, pairs=8, depth=6))[2]
    method.lengths[:3] = torch.tensor([[0, 0], [1, 1], [2, 2]])
    assert method._drawn(method.lists, method.lengths)[2][:3].tolist() == [[False] * 8, [False] * 8, [True] * 8]


def test_golden_losses():
    real = torch.ones(1, 2, dtype=torch.bool)
    found = pair_loss(torch.tensor([[0.5, -1.0]]), torch.zeros(1, 2), real).item()
    assert found == pytest.approx(0.893669, abs=1e-6)
    singles = [pair_loss(torch.tensor([[d]]), torch.zeros(1, 1), real[:, :1]).item() for d in (0.5, -1.0, 0.0)]
    assert singles == pytest.approx([0.474077, 1.313262, 0.693147], abs=1e-6)
    released = pair_loss(torch.tensor([[0.5, 0.0]]), torch.zeros(1, 2), real).item()
    assert released == pytest.approx(0.583612, abs=1e-6)
    total = pair_loss(torch.tensor([[0.5, -1.0]]), torch.zeros(1, 2), real, "sum").item()
    assert total == pytest.approx(2 * 0.893669, abs=2e-6)
    assert pair_loss(torch.ones(1, 2), torch.ones(1, 2), ~real).item() == 0


def test_gradient():
    real = torch.tensor([[True, False, True]])
    two = [torch.randn(1, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    for over in ("mean", "sum"):
        assert torch.autograd.gradcheck(lambda a, b, over=over: pair_loss(a, b, real, over), two)


def prepared(settings, teacher=None):
    torch.manual_seed(3)
    model = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items)
    teacher, instances = teacher or with_opinions("BPR"), training_data(DATA, 0, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(30, 1, dtype=torch.long))
    return model, teacher, method, batch


def test_pairs_are_of_one_group_unseen_and_in_the_teachers_order():
    model, teacher, method, _ = prepared(EXAMPLES["UnKD"])
    scores = teacher.score_all(teacher.encode(method.everyone))
    group = torch.full((DATA.n_items,), -1)
    for place, items in enumerate(method.groups):
        group[items] = place
    for user in range(DATA.n_users):
        own = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
        left = [len(set(items.tolist()) - own) for items in method.groups]
        assert method.lengths[user].tolist() == [min(n, EXAMPLES["UnKD"].depth) for n in left], "all users have their lists"
        pairs = (each[user].tolist() for each in (method.better, method.worse, method.real))
        for better, worse, real in zip(*pairs, strict=True):
            if real:
                assert group[better] == group[worse] >= 0 and not {better, worse} & own
                assert scores[user, better] > scores[user, worse]


def test_the_loss_is_a_mean_over_rows_and_ln_2_for_a_student_without_opinions():
    model, _, method, batch = prepared(EXAMPLES["UnKD"])
    with torch.no_grad():
        model.item_factors.weight.zero_()
    loss = method.loss(model, batch, 0, model.encode(batch.queries))
    share = float(method.real[batch.queries.user].any(1).float().mean())
    assert loss.item() == pytest.approx(0.5 * share * math.log(2), rel=1e-5)
    with torch.no_grad():
        model.item_factors.weight.normal_(), model.user.weight.normal_()
    scores, expected = (model.user.weight @ model.item_factors.weight.T).tolist(), []
    for user in batch.queries.user.tolist():
        pairs = zip(method.better[user], method.worse[user], method.real[user], strict=True)
        costs = [math.log1p(math.exp(scores[user][w] - scores[user][b])) for b, w, real in pairs if real]
        expected.append(sum(costs) / len(costs) if costs else 0.0)
    loss = method.loss(model, batch, 0, model.encode(batch.queries))
    assert loss.item() == pytest.approx(0.5 * sum(expected) / len(expected), rel=1e-5)


def test_as_released_half_of_the_pairs_are_void():
    settings = UnKDSettings(groups=2, pairs=400, depth=30)
    sound, void = (prepared(UnKDSettings(**{**vars(settings), "as_released": each}))[2] for each in (False, True))
    assert not ((sound.better == sound.worse) & sound.real).any()
    share = float((void.better == void.worse)[void.real].double().mean())
    assert share == pytest.approx(0.5, abs=4.5 * math.sqrt(0.25 / int(void.real.sum())))


def test_only_the_teachers_order_matters():
    teacher = with_opinions("BPR")
    louder = with_opinions("BPR")
    with torch.no_grad():
        louder.user.weight.mul_(3)
    one, other = (prepared(EXAMPLES["UnKD"], each)[2] for each in (teacher, louder))
    assert torch.equal(one.better, other.better) and torch.equal(one.worse, other.worse)


@pytest.mark.parametrize(("student", "teacher"), [("Caser", "Caser"), ("Caser", "BPR")])
def test_it_teaches_the_student_alone(student, teacher):
    holds(EXAMPLES["UnKD"], student, teacher)


def test_where_no_pair_can_be_drawn_it_says_so():
    """The only user has every item that is in a group."""
    data = Interactions("one", [3, 1, 4], [0, 3], 9)
    teacher, student = with_opinions("BPR", data=data), STUDENTS["BPR"].build(1, 9)
    with pytest.raises(ValueError, match="no pair can be drawn: for nobody does the teacher name two unseen items"):
        UnKDSettings().build(student, teacher).prepare(teacher, training_data(data, 0, "cpu"))


def test_settings_are_checked():
    wrongs = {"groups": 0, "pairs": 0, "depth": 0, "T": 0.0, "weight": -1, "over_pairs": "x", "as_released": 1, "lamda": -1}
    for wrong in ({name: value} for name, value in wrongs.items()):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            UnKDSettings(**wrong)
