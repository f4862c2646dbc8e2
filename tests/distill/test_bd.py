"""BD: weights and losses worked out by hand, the whole step in slow motion, gradients that stay on their side, and the
contract: two models that go on training, stopped and not stopped."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import BDSettings, BothSettings, RRDSettings
from rdcore.distill.base import Batch
from rdcore.distill.followups.bd import draw_weights, drawn_items, follow_loss, ranks
from rdcore.models import ItemCFSettings
from rdcore.store.experiment import Experiment
from rdcore.train.loop import batch_loss, training_data

pytestmark = pytest.mark.usefixtures("one_thread")
T = torch.tensor([[2.0, 1.0, 0.5, -0.3, -1.0]])
S = torch.tensor([[-1.0, 0.2, 1.5, 0.4, 0.1]])
STRONG = BDSettings(sharpness=0.1, mildness=0.05, temperature=2.0, every=2)
EXAMPLES = {"BD": STRONG}


def test_ranks_and_weights_worked_out_by_hand():
    assert ranks(T).tolist() == [[1, 2, 3, 4, 5]] and ranks(S).tolist() == [[5, 3, 1, 2, 4]]
    w_S, w_T = draw_weights(ranks(S), ranks(T), 0.5, 0.1, "paper")
    assert w_S[0].tolist() == pytest.approx([0.964028, 0.462117, 0, 0, 0], abs=1e-6)
    assert w_T[0].tolist() == pytest.approx([0.670320, 0.904837, 1.221403, 1.221403, 1.105171], abs=1e-6)
    assert (w_S / w_S.sum())[0].tolist() == pytest.approx([0.675968, 0.324032, 0, 0, 0], abs=1e-6)
    w_S, w_T = draw_weights(ranks(S), ranks(T), 0.5, 0.1, "released")
    assert w_S[0].tolist() == pytest.approx([0, 0, 0.761594, 0.761594, 0.462117], abs=1e-6)
    assert w_T[0].tolist() == pytest.approx([1.491825, 1.105171, 0.818731, 0.818731, 0.904837], abs=1e-6)
    assert (w_S / w_S.sum())[0].tolist() == pytest.approx([0, 0, 0.383616, 0.383616, 0.232769], abs=1e-6)


def test_a_train_item_as_released_is_third_of_five():
    masked = T.clone()
    masked[0, 0] = 0
    assert (6 - ranks(masked))[0].tolist() == [3, 5, 4, 2, 1]


def test_a_loss_worked_out_by_hand():
    s_a = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    t_a = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    assert torch.sigmoid(t_a / 5).item() == pytest.approx(0.598688, abs=1e-6)
    H = follow_loss(s_a, t_a, 5.0)
    assert H.item() == pytest.approx(0.674733, abs=1e-6)
    H.backward()
    assert s_a.grad.item() == pytest.approx(0.023772, abs=1e-6) and t_a.grad is None
    least = follow_loss(torch.tensor([0.4], dtype=torch.float64), t_a, 5.0).item()
    assert least == pytest.approx(0.673540, abs=1e-6)
    base = math.log1p(math.exp(-(1.2 - 0.5)))
    assert base == pytest.approx(0.403186, abs=1e-6) and base + 0.5 * H.item() == pytest.approx(0.740553, abs=1e-6)


@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from(["paper", "released"]))
def test_weights_agree_with_a_slow_loop_and_swap_with_the_roles(n, seed, direction):
    rng = torch.Generator().manual_seed(seed)
    one, two = (torch.rand(3, n, generator=rng).round(decimals=1) for _ in range(2))
    a, b = ranks(one), ranks(two)
    for row in range(3):
        slow = sorted(range(n), key=lambda i, row=row: (-one[row, i].item(), i))
        assert [slow.index(i) + 1 for i in range(n)] == a[row].tolist()
    w_S, w_T = draw_weights(a, b, 0.3, 0.2, direction)
    sign = 1 if direction == "paper" else -1
    gap = sign * (a - b)
    assert torch.equal(w_S > 0, gap > 0) and (w_S[gap == 0] == 0).all() and (w_T[gap == 0] == 1).all()
    torch.testing.assert_close(w_T, torch.exp(-0.2 * gap))
    other = draw_weights(b, a, 0.3, 0.2, direction)[1]
    torch.testing.assert_close(w_T * other, torch.ones_like(w_T))


def test_no_weight_is_infinite_however_many_items_there_are():
    """1000 items in reverse order, eps = 1: weights e^999, e^997, ... keep their proportions as far as float32 goes."""
    places = torch.arange(1, 1001)[None]
    _, w_T = draw_weights(places, places.flip(1), 1.0, 1.0, "paper")
    assert w_T.isfinite().all() and w_T[0, 0].item() == pytest.approx(math.exp(80), rel=1e-4)
    assert (w_T[0, 1] / w_T[0, 0]).item() == pytest.approx(math.exp(-2), rel=1e-4)
    drawn = drawn_items(w_T, torch.zeros(1000, dtype=torch.long), 1, torch.Generator().manual_seed(1))
    assert drawn.max() < 8 and (drawn == 0).float().mean().item() == pytest.approx(1 - math.exp(-2), abs=0.06)


def test_draws_follow_their_weights_and_never_take_a_weight_of_0():
    weights = torch.tensor([[0.0, 1.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1e-6], [2.0, 0.0, 1.0, 1.0]])
    rows = torch.arange(3).repeat_interleave(40)
    drawn = drawn_items(weights, rows, 1000, stream(1, "draws"))
    assert (weights[rows].gather(1, drawn) > 0).all()
    share = torch.stack([drawn[rows == k].flatten().bincount(minlength=4) for k in range(3)]) / 40_000
    torch.testing.assert_close(share, weights / weights.sum(1, keepdim=True), atol=0.01, rtol=0)


def prepared(settings, student="BPR", teacher="BPR"):
    torch.manual_seed(3)
    shown, model = with_opinions(teacher), STUDENTS[student].build(DATA.n_users, DATA.n_items)
    for table in (model.user, model.item_factors) if student == "BPR" else ():
        torch.nn.init.normal_(table.weight)
    instances = training_data(DATA, model.window, "cpu", full_windows=model.full_windows)
    method = settings.build(model, shown)
    method.prepare(shown, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    negatives = torch.full((30, 1), 7)
    return model, shown, method, Batch(index, instances.queries[index], instances.target[index], negatives)


@pytest.mark.parametrize("negatives", ["drawn", "uniform"])
@pytest.mark.parametrize("direction", ["released", "paper"])
def test_a_step_is_the_slow_one(direction, negatives):
    settings = BDSettings(**{**vars(STRONG), "direction": direction, "negatives": negatives})
    model, shown, method, batch = prepared(settings)
    base, distilled = batch_loss(model, method, batch, 0, "sum")
    scores = {name: m.score_all(m.encode(batch.queries)).tolist() for name, m in (("S", model), ("T", shown))}
    of_S = of_T = 0.0
    for row, (user, i) in enumerate(zip(batch.queries.user.tolist(), batch.target.tolist(), strict=True)):
        a, c = method.for_student[row, 0].item(), method.for_teacher[row, 0].item()
        s, t = scores["S"][row], scores["T"][row]
        own = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
        ranking = {name: sorted(set(range(DATA.n_items)) - own, key=lambda j, o=o: -o[j]) for name, o in (("S", s), ("T", t))}
        assert a not in own and c not in own
        above = ranking["S"].index(a) < ranking["T"].index(a)
        assert above == (direction == "released") and ranking["S"].index(a) != ranking["T"].index(a)
        j_S, j_T = (a, c) if negatives == "drawn" else (7, 7)

        def H(score, other):
            q, p = 1 / (1 + math.exp(-other / 2)), 1 / (1 + math.exp(-score))
            return -q * math.log(p) - (1 - q) * math.log(1 - p)

        of_S += math.log1p(math.exp(s[j_S] - s[i]))
        of_T += math.log1p(math.exp(t[j_T] - t[i])) + 0.5 * (H(s[a], t[a]) + H(t[c], s[c]))
    assert base.sum().item() == pytest.approx(of_S, rel=1e-4) and distilled.item() == pytest.approx(of_T, rel=1e-4)


def test_no_gradient_crosses_over():
    """L_S reaches the student alone, L_T the partner alone."""
    model, _, method, batch = prepared(STRONG)
    base, distilled = batch_loss(model, method, batch, 0, "sum")
    (base.sum() + distilled).backward()
    both = [p.grad.clone() for p in model.parameters()], [p.grad.clone() for p in method.partner.parameters()]
    one_way = BDSettings(**{**vars(STRONG), "teacher_learns": False})
    model, _, alone, batch = prepared(one_way)
    alone.load_state_dict(method.state_dict())
    base, distilled = batch_loss(model, alone, batch, 0, "sum")
    (base.sum() + distilled).backward()
    for grad, p in zip(both[0], model.parameters(), strict=True):
        torch.testing.assert_close(grad, p.grad)
    assert all(p.grad is None for p in alone.partner.parameters()) and all(grad.any() for grad in both[1])


def test_equal_rankings_teach_the_student_nothing():
    model, shown, _, _ = prepared(STRONG, teacher="BPR")
    instances = training_data(DATA, 0, "cpu")
    method = STRONG.build(shown, shown)
    method.prepare(shown, instances)
    method.begin_epoch(shown, 1, 1, stream(1, "distillation", 1))
    assert method.log() == {"taught": 0.0}
    seen = [set(DATA.items[DATA.offsets[u] : DATA.offsets[u + 1]].tolist()) for u in range(DATA.n_users)]
    for place, user in enumerate(instances.queries.user.tolist()):
        assert not seen[user] & set(method.for_student[place].tolist())


def test_items_are_renewed_every_so_many_epochs_and_as_released_they_may_be_training_items():
    model, _, method, _ = prepared(STRONG)
    before = method.for_student.clone()
    method.begin_epoch(model, 2, 1, stream(1, "distillation", 2))
    assert torch.equal(before, method.for_student) and method.column == 1
    method.begin_epoch(model, 3, 1, stream(1, "distillation", 3))
    assert not torch.equal(before, method.for_student)
    _, _, released, _ = prepared(BDSettings(**{**vars(STRONG), "as_released": True}))
    row, item = released.seen.of(released.user)
    assert (released.for_teacher[row] == item[:, None]).any()


@pytest.mark.parametrize(("student", "teacher"), [("BPR", "Caser"), ("Caser", "BPR"), ("NeuMF", "BPR")])
def test_both_models_go_on_training_and_a_stopped_training_ends_in_the_same_bits(student, teacher):
    holds(STRONG, student, teacher, experts=True)
    shown = with_opinions(teacher)
    before = copy.deepcopy(shown.state_dict())
    partner = fitted(STRONG, student, shown, 3)[1].partner
    assert any(not torch.equal(before[name], value) for name, value in partner.state_dict().items())
    again = fitted(STRONG, student, shown, 3, stopped=1)[1].partner
    assert all(torch.equal(one, other) for one, other in zip(partner.parameters(), again.parameters(), strict=True))


def test_one_direction_leaves_the_teacher_as_it_is():
    settings = BDSettings(**{**vars(STRONG), "teacher_learns": False})
    shown = with_opinions("BPR")
    partner = fitted(settings, "BPR", shown, 3)[1].partner
    assert all(torch.equal(one, other) for one, other in zip(partner.parameters(), shown.parameters(), strict=True))
    counted = ItemCFSettings().fit(DATA)
    fitted(settings, "BPR", counted, 2)
    with pytest.raises(ValueError, match="ItemCF has nothing to train"):
        STRONG.build(STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), counted)


def test_weight_0_leaves_two_models_with_drawn_negatives():
    """The student's term is gone, and what is left is the partner's base loss."""
    settings = BDSettings(**{**vars(STRONG), "weight": 0.0})
    model, shown, method, batch = prepared(settings)
    distilled = batch_loss(model, method, batch, 0, "sum")[1]
    scores = shown.score(shown.encode(batch.queries), torch.stack([batch.target, method.for_teacher[:30, 0].long()], 1))
    assert distilled.item() == pytest.approx(shown.base_loss(scores[:, :1], scores[:, 1:]).sum().item(), rel=1e-5)


def test_beside_another_method_its_negatives_still_count():
    both = BothSettings(first=RRDSettings(K=3, L=4, depth=6, T=4.0), second=STRONG)
    model, _, method, batch = prepared(both)
    assert torch.equal(method.negatives(batch), method.parts["BD"].negatives(batch))
    base, distilled = batch_loss(model, method, batch, 0, "sum")
    alone = batch_loss(model, method.parts["BD"], batch, 0, "sum")
    torch.testing.assert_close(base, alone[0])
    assert distilled > alone[1]


def test_settings_are_checked_and_no_run_of_the_store_is_described_with_it():
    for wrong in (
        {"temperature": 0},
        {"weight": -1},
        {"every": 0},
        {"direction": "both"},
        {"negatives": 3},
        {"as_released": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BDSettings(**wrong)
    known = {"dataset": "x", "data_hash": "0" * 64, "stage": "L", "model": STUDENTS["BPR"]}
    teacher = Experiment(**known, role="T")
    with pytest.raises(ValueError, match="BD goes on from two trained models"):
        Experiment(**known, role="BD", teacher=teacher, teacher_epoch="best", distillation=BDSettings())
