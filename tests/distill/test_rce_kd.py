"""RCE-KD: the published golden values, every part against plain Python, and what must hold of A, S and J."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, RCEKDSettings
from rdcore.distill.followups.cd import weighted_places
from rdcore.distill.followups.rce_kd import contained, draw_log_weights, rejuvenated_loss, taught_items
from rdcore.models import Popularity
from rdcore.train.loop import training_data

EXAMPLES = {
    "RCE-KD": RCEKDSettings(K=4, L=5, depth=12, weight=0.5),
    "RCE-KD-rank": RCEKDSettings(K=4, L=5, depth=12, weight=0.5, draw="rank", exclude="seen", temperature=0.5),
}
pytestmark = pytest.mark.usefixtures("one_thread")

T = [2, 1, 0.5, 0, -0.5, 1.5, -1, 0.2]
S = [0.1, 0.9, 0.3, 1.2, -0.2, 0, 0.6, -0.4]
TOP, RANKING, DRAWN = [0, 5, 1], [3, 1, 6, 2], [1, 6]


def best(scores, n):
    return sorted(range(len(scores)), key=lambda i: -scores[i])[:n]


def ce(t, s, items, tau=1.0):
    p, q = ([math.exp(scores[i] / tau) for i in items] for scores in (t, s))
    return -sum(a / sum(p) * math.log(b / sum(q)) for a, b in zip(p, q, strict=True))


def slow(t, s, K, drawn, beta, tau=1.0) -> float:
    """One row, by sets."""
    own, top = best(s, K), best(t, K)
    both = [*drawn, *(i for i in top if i not in drawn and i not in own)]
    g = math.exp(-beta * sum(i in drawn for i in top) / K)
    return (1 - g) * ce(t, s, own, tau) + g * ce(t, s, both, tau)


def fast(t, s, K, depth, drawn, beta, tau=1.0) -> torch.Tensor:
    t, s = (torch.as_tensor([each], dtype=torch.float64) for each in (t, s))
    top, ranking = t.topk(K).indices, s.topk(depth).indices
    items, other, overlap = taught_items(ranking, torch.tensor([drawn]), top)
    return rejuvenated_loss(t.gather(1, items), s.gather(1, items), other, overlap, beta, tau)


def test_golden_values():
    assert (best(T, 3), best(S, 4)) == (TOP, RANKING)
    weights = draw_log_weights(torch.tensor([RANKING]), torch.tensor([TOP]), T=10.0).exp()
    assert weights[0].tolist() == pytest.approx([1.22140276, 1.22140276, 1.10517092, 1.10517092], abs=1e-8)
    items, other, overlap = taught_items(torch.tensor([RANKING]), torch.tensor([DRAWN]), torch.tensor([TOP]))
    assert items.tolist() == [[3, 1, 6, *DRAWN, *TOP]] and other.tolist() == [[True, True, False]]
    assert overlap.tolist() == pytest.approx([1 / 3]) and math.exp(-3 * overlap.item()) == pytest.approx(0.36787944, abs=1e-8)
    assert fast(T, S, 3, 4, DRAWN, 3.0).item() == pytest.approx(1.28230602, abs=1e-8)
    assert fast(T, S, 3, 4, DRAWN, 1e9).item() == pytest.approx(1.0819808, abs=1e-7)  # S alone
    assert fast(T, S, 3, 4, DRAWN, 0.0).item() == pytest.approx(1.6265212, abs=1e-7)  # J alone


def test_a_shorter_list_of_the_teachers_has_its_share_of_what_is_there():
    """One of two items is drawn; the third place names none."""
    items, other, overlap = taught_items(torch.tensor([RANKING]), torch.tensor([[5, 6]]), torch.tensor([[0, 5, -1]]))
    assert overlap.tolist() == pytest.approx([1 / 2]) and other[0, :2].tolist() == [True, False]


def test_places_before_the_teachers_last_item_weigh_more_and_at_most_so_much():
    ranking, top = torch.arange(200)[None], torch.arange(100, 180)[None]
    weights = draw_log_weights(ranking, top, T=10.0)[0]
    assert weights[:131].tolist() == [5.1] * 131 and weights[179] == 0.2 and weights[180:].tolist() == [0.1] * 20
    assert draw_log_weights(ranking, top, 10.0, "rank")[0, [0, 199]].tolist() == pytest.approx([-0.1, -20])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31), st.floats(0, 6), st.sampled_from([0.5, 1.0, 4.0]))
def test_loss_is_the_slow_one(K, L, seed, beta, tau):
    rng = torch.Generator().manual_seed(seed)
    t, s = (torch.randn(9, generator=rng, dtype=torch.float64).tolist() for _ in range(2))
    ranking = best(s, 6)
    drawn = [ranking[i] for i in torch.randperm(6, generator=rng)[:L]]
    assert fast(t, s, K, 6, drawn, beta, tau).item() == pytest.approx(slow(t, s, K, drawn, beta, tau), abs=1e-9)
    moved = fast([x + 2 for x in t], [x - 3 for x in s], K, 6, drawn, beta, tau).item()
    assert moved == pytest.approx(slow(t, s, K, drawn, beta, tau), abs=1e-9)


def test_no_gradient_where_the_student_is_the_teacher_but_for_a_constant():
    t = torch.randn(1, 9, dtype=torch.float64)
    s = (t + 5).requires_grad_()
    items = torch.tensor([[3, 1, 6, 1, 6, 0, 5, 1]])
    other = torch.tensor([[True, True, False]])
    rejuvenated_loss(t.gather(1, items), s.gather(1, items), other, torch.tensor([0.4]), 3.0).sum().backward()
    assert s.grad.abs().max() < 1e-12


def test_gradient_and_large_scores():
    t = torch.randn(2, 8, dtype=torch.float64)
    s = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    other, overlap = torch.tensor([[True, False, True], [False] * 3]), torch.tensor([0.3, 0.0])
    assert torch.autograd.gradcheck(lambda s: rejuvenated_loss(t, s, other, overlap, 2.0, 0.7), (s,))
    large = rejuvenated_loss(100 * t.float(), -300 * t.float(), other, overlap, 2.0)
    assert large.isfinite().all()


def test_contained_is_membership():
    items, others = torch.randint(9, (5, 4)), torch.randint(9, (5, 3))
    expected = [[i in row for i in mine] for mine, row in zip(items.tolist(), others.tolist(), strict=True)]
    assert contained(items, others).tolist() == expected


def test_weighted_places_follow_the_weights_and_say_what_is_missing():
    log_weights = torch.tensor([[0.5, 0.3, 0.2, 0.0]], dtype=torch.float64).log().expand(20_000, -1)
    places, real = weighted_places(log_weights, 1, torch.Generator().manual_seed(1))
    share = torch.bincount(places[:, 0], minlength=4) / 20_000
    assert share.tolist() == pytest.approx([0.5, 0.3, 0.2, 0], abs=4.5 * math.sqrt(0.25 / 20_000)) and real.all()
    places, real = weighted_places(log_weights[:50], 4, torch.Generator().manual_seed(1))
    assert real.sum(1).tolist() == [3] * 50 and (places[~real] == 3).all()
    assert (places.sort(1).values == torch.arange(4)).all()


@pytest.mark.parametrize("exclude", ["nothing", "seen"])
def test_what_an_epoch_teaches(exclude):
    settings = RCEKDSettings(K=4, L=5, depth=12, weight=0.5, exclude=exclude)
    torch.manual_seed(3)
    model, teacher = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), with_opinions("BPR")
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    instances = training_data(DATA, 0, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(20)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros(20, 1, dtype=torch.long))
    assert method.n_short == 0
    wanted, expected = method.wants(batch).tolist(), 0.0
    told, said = (each.score_all(each.encode(batch.queries)).tolist() for each in (teacher, model))
    for user, t, s, items in zip(batch.queries.user.tolist(), told, said, wanted, strict=True):
        own = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist()) if exclude == "seen" else set()
        t, s = ([-1e9 if i in own else x for i, x in enumerate(each)] for each in (t, s))
        S, A, top = items[:4], items[4:9], items[9:]
        assert S == best(s, 4) and top == best(t, 4) and set(A) <= set(best(s, 12)) and len(set(A)) == 5
        expected += 0.5 * slow(t, s, 4, A, 3.0)
    assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(expected, rel=1e-5)
    assert 0 <= method.log()["overlap"] <= 1


@pytest.mark.parametrize(("student", "teacher"), [("Caser", "Caser"), ("BPR", "Caser")])
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_teaches_the_student_alone(name, student, teacher):
    holds(EXAMPLES[name], student, teacher)


def test_settings_are_checked():
    for wrong, match in (
        ({"K": 0}, "K must"), ({"L": 300}, "K and L"), ({"T": 0}, "T must"), ({"beta": -1}, "beta"), ({"draw": "x"}, "draw"),
        ({"temperature": 0.0}, "temperature"), ({"exclude": "target"}, "exclude"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            RCEKDSettings(**wrong)
    model = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items)
    with pytest.raises(ValueError, match="RCE-KD asks the teacher for scores of single items"):
        RCEKDSettings().build(model, Popularity(torch.arange(DATA.n_items)))
    with pytest.raises(ValueError, match="^depth must be <= 39"):
        RCEKDSettings(K=4, L=4, depth=40).build(model, model).prepare(model, training_data(DATA, 0, "cpu"))
