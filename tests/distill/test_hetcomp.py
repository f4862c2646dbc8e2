"""HetComp: golden values of its two phases, who moves on and when, and what must hold for any method."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data import Interactions, synthetic
from rdcore.data.sampling import stream
from rdcore.distill import Batch, HetCompSettings, Trajectories
from rdcore.distill.followups.hetcomp import agreement, early_loss, list_loss, moves_on
from rdcore.distill.rrd import relaxed_loss
from rdcore.models import BPRMFSettings, ItemCFSettings
from rdcore.store.description import describe
from rdcore.store.experiment import Experiment
from rdcore.store.runs import load_or_train
from rdcore.train.loop import Training, training_data

EXAMPLES = {"HetComp": HetCompSettings(K=10, cut=6, weight=0.05, every=1)}
DRAW_NOTHING = {"HetComp"}
pytestmark = pytest.mark.usefixtures("one_thread")
TOP = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


def golden(dtype=torch.float64):
    """13 items with s_i = i / 10; item 12 is a training item, 10 and 11 are the others."""
    s = torch.arange(13, dtype=dtype) / 10
    return s[None, 12:], s[None, TOP], torch.logsumexp(s[None, 10:12], 1)


def test_golden_values():
    """Plain Python after the authors' code."""
    positives, top, others = golden()
    assert early_loss(positives, top, others).item() == pytest.approx(16.43765211, abs=1e-7)
    assert list_loss(positives, top, others).item() == pytest.approx(9.8983366, abs=1e-7)
    rest = torch.cat([others[:, None], top[:, 5:]], dim=1)
    assert relaxed_loss(positives, rest).item() == pytest.approx(1.73305778, abs=1e-7)
    none = positives[:, :0]
    assert list_loss(none, top, others).item() == pytest.approx((13.53677161 + 2.79378604) / 2, abs=1e-7)
    ranking, wanted = torch.tensor([[7, 1, 8, 2, 3]]), torch.tensor([[8, 7, 20, 21, 22]])
    assert agreement(ranking, wanted).item() == pytest.approx(0.56401956, abs=1e-8)
    settings = HetCompSettings()
    assert settings.alpha * settings.decay ** (20 // settings.every) == pytest.approx(1.03952625, abs=1e-8)


def slow(scores, positives, top, unobserved):
    """Both losses by sums of exponentials: of all items, minus those of the list."""
    e = [math.exp(s) for s in scores]
    everything = sum(e[i] for i in unobserved)
    E = everything - sum(e[i] for i in top)
    early = sum(math.log(e[i] + E) - scores[i] for i in [*positives, *top])

    def R(listed, rest):
        return sum(math.log(sum(e[i] for i in listed[k:]) + rest) - scores[listed[k]] for k in range(len(listed)))

    half, tenth = top[: len(top) // 2], top[: len(top) // 10]
    rest = [everything - sum(e[i] for i in part) for part in (half, tenth)]
    return early, R(positives, rest[0]) + (R(half, rest[0]) + R(tenth, rest[1])) / 2


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(10, 23))
def test_losses_are_the_slow_sums(seed, P, K):
    rng = np.random.default_rng(seed)
    scores, items = rng.normal(0, 2, 30), rng.permutation(30)
    positives, top, rest = items[:P], items[P : P + K], items[P + K :]
    early, listed = slow(scores.tolist(), positives.tolist(), top.tolist(), items[P:].tolist())
    s = torch.from_numpy(scores)[None]
    parts = s[:, positives], s[:, top], s[:, rest].logsumexp(1)
    assert early_loss(*parts).item() == pytest.approx(early, rel=1e-9)
    assert list_loss(*parts).item() == pytest.approx(listed, rel=1e-9)
    moved = [part + 5 for part in parts]
    assert early_loss(*moved).item() == pytest.approx(early, rel=1e-9)
    assert list_loss(*moved).item() == pytest.approx(listed, rel=1e-9)


def test_the_order_of_the_list_is_taught_in_the_second_phase_alone():
    positives, top, others = golden()
    assert early_loss(positives, top.flip(1), others).item() == pytest.approx(early_loss(positives, top, others).item())
    assert abs((list_loss(positives, top.flip(1), others) - list_loss(positives, top, others)).item()) > 0.01


def test_gradients_and_large_scores():
    parts = [part.requires_grad_() for part in golden()]
    assert torch.autograd.gradcheck(early_loss, parts) and torch.autograd.gradcheck(list_loss, parts)
    assert early_loss(*(1e4 * part for part in parts)).isfinite() and list_loss(*(1e4 * part for part in parts)).isfinite()


def test_who_moves_on():
    before = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0])
    now = torch.tensor([0.45, 0.49, 0.6, 0.0, 0.0])
    assert moves_on(before, now, 1.05).tolist() == [True, False, True, True, True]


def path(seeds, kinds=("BPR",), counted=0):
    """Trajectories of these models, every checkpoint another one."""
    teachers = [[with_opinions(kind, seed + 10 * place) for seed in seeds] for place, kind in enumerate(kinds)]
    return Trajectories(teachers + [[ItemCFSettings().fit(DATA)] * len(seeds)] * counted)


def prepared(teacher, settings=EXAMPLES["HetComp"], student="BPR"):
    torch.manual_seed(3)
    model = STUDENTS[student].build(DATA.n_users, DATA.n_items)
    instances = training_data(DATA, model.window, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    return model, method, Batch(index, instances.queries[index], instances.target[index], torch.zeros(30, 1, dtype=torch.long))


def test_the_list_is_the_sum_over_teachers_at_the_checkpoints_reached():
    """Of a single teacher it is the list itself; training items are in none."""
    _, method, _ = prepared(path([1, 2, 3], ("BPR", "Caser"), counted=1))
    method.reached[:] = torch.randint(0, 3, method.reached.shape, generator=torch.Generator().manual_seed(0))
    top = method._ensemble()
    for user in range(DATA.n_users):
        importance = dict.fromkeys(range(DATA.n_items), 0.0)
        for teacher in range(3):
            for rank, item in enumerate(method.lists[teacher, method.reached[teacher, user], user].tolist()):
                importance[item] += math.exp(-rank / 10)
        found = [importance[item] for item in top[user].tolist()]
        assert found == pytest.approx(sorted(importance.values(), reverse=True)[:10], rel=1e-5)
        assert not set(top[user].tolist()) & set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
    alone = prepared(with_opinions("BPR"))[1]
    assert torch.equal(alone.top, alone.lists[0, 0].long()) and not alone.is_early


def test_a_long_list_is_kept_to_its_end():
    """Place 1499 is worth exp(-150), which is 0 in float32."""
    data = Interactions("long", [0, 1], [0, 2], 1600)
    teacher, student = with_opinions("BPR", data=data), STUDENTS["BPR"].build(1, 1600)
    method = HetCompSettings(K=1500).build(student, teacher)
    method.prepare(teacher, training_data(data, 0, "cpu"))
    assert torch.equal(method._ensemble(), method.lists[0, 0].long())
    assert HetCompSettings.revision >= 2, "at revision 1 its end was lost: runs of that are others"


def test_the_loss_is_the_slow_sum_over_rows(monkeypatch):
    """Also in blocks of a few rows, whose scores are kept or computed again: with the same gradient."""
    monkeypatch.setattr("rdcore.distill.followups.hetcomp.ROWS", 4)
    for teacher, phase in ((path([1, 2, 3]), 0), (with_opinions("BPR"), 1)):
        model, method, batch = prepared(teacher)
        scores = model.score_all(model.encode(batch.queries)).tolist()
        expected = 0.0
        for row, user in enumerate(batch.queries.user.tolist()):
            own = DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist()
            unobserved = [item for item in range(DATA.n_items) if item not in own]
            expected += slow(scores[row], own[: method.positives.shape[1]], method.top[user].tolist(), unobserved)[phase]
        expected *= 0.05 * (2 if phase == 0 else 1)
        gradients = []
        for size in (2**28, 4 * 40 * 4 * 3):
            monkeypatch.setattr("rdcore.eval.topk.BLOCK_BYTES", size)
            loss = method.loss(model, batch, 0, model.encode(batch.queries))
            assert loss.item() == pytest.approx(expected, rel=1e-4)
            gradients.append(torch.autograd.grad(loss, model.item_factors.weight)[0])
        torch.testing.assert_close(*gradients)


def test_a_user_counts_once_in_the_authors_loop():
    """Rows 0 to 29 are of a few users: as the port counts, each by their rows."""
    model, method, batch = prepared(path([1, 2, 3]), replace(EXAMPLES["HetComp"], once=True))
    users, rows = batch.queries.user.unique(return_counts=True)
    assert rows.max() > 1
    scores, expected = model.score_all(model.encode(method.everyone[users])).tolist(), 0.0
    for own, user in zip(scores, users.tolist(), strict=True):
        seen = DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist()
        unobserved = [item for item in range(DATA.n_items) if item not in seen]
        expected += slow(own, seen[: method.positives.shape[1]], method.top[user].tolist(), unobserved)[0]
    assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(0.05 * 2 * expected, rel=1e-4)
    with pytest.raises(ValueError, match="once must be True or False"):
        HetCompSettings(once=1)


def test_the_early_phase_ends_by_the_mean_of_every_teacher():
    """Each is taken to two digits, and then all are compared: 1.996 is 2, twice; their sum 3.992 is not 4."""
    _, method, _ = prepared(path([1, 2, 3], ("BPR", "NeuMF")))
    method.reached = torch.full((2, 1000), 2)
    method.reached[:, :4] = 1
    assert not method.is_early
    method.reached[1, :6] = 1
    assert method.is_early


def test_users_move_on_by_themselves_and_never_back():
    """The first look only measures. A student that is the second checkpoint is there at once, and its users move on."""
    teacher = path([1, 2, 3])
    model, method, _ = prepared(teacher, HetCompSettings(K=10, cut=10, every=2))
    rng = stream(1, "distillation", 1)
    method.begin_epoch(model, 2, 1, rng)
    assert (method.distance == -1).all()
    method.begin_epoch(model, 3, 1, rng)
    assert (method.reached == 0).all() and (method.distance > 0).all()
    first, before = method.top.clone(), method.distance.clone()
    method.begin_epoch(model, 5, 1, rng)  # nothing has changed, so that 1 is not above the threshold
    assert (method.reached == 0).all() and torch.equal(before, method.distance)
    method.begin_epoch(teacher.teachers[0][1], 7, 1, rng)
    assert (method.reached == 1).all() and not torch.equal(first, method.top) and method.is_early
    method.begin_epoch(teacher.teachers[0][2], 9, 1, rng)
    assert (method.reached == 2).all() and not method.is_early and method.log() == {"reached": 2.0, "early": 0.0}
    method.begin_epoch(model, 11, 1, rng)
    assert (method.reached == 2).all()


@pytest.mark.parametrize(("student", "teacher"), [("BPR", "Caser"), ("Caser", "BPR")])
def test_it_teaches_the_student_alone(student, teacher):
    holds(EXAMPLES["HetComp"], student, teacher)


def test_a_stopped_training_goes_on_where_its_users_were():
    teacher = path([1, 2, 3, 4], ("BPR", "NeuMF"))
    whole, method, logs = fitted(EXAMPLES["HetComp"], "BPR", teacher, 6)
    again, resumed, logs_again = fitted(EXAMPLES["HetComp"], "BPR", teacher, 6, stopped=4)
    assert method.reached.any() and torch.equal(method.reached, resumed.reached)
    for log in (*logs, *logs_again):
        del log["seconds"]
    assert logs == logs_again
    assert [log["reached"] for log in logs] == sorted(log["reached"] for log in logs)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_settings_and_teachers_are_checked():
    for wrong in ({"K": 9}, {"every": 0}, {"positives": -1}, {"weight": -1}, {"cut": 51}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HetCompSettings(**wrong)
    with pytest.raises(ValueError, match=r"equally many checkpoints, got \[1, 2\]"):
        Trajectories([[with_opinions("BPR")], [with_opinions("BPR")] * 2])
    with pytest.raises(ValueError, match="K must be <= 39, all items but the target, got 40: lower it"):
        prepared(with_opinions("BPR"), HetCompSettings(K=40, cut=6))
    with pytest.raises(ValueError, match="positives must be <= 6"):
        prepared(with_opinions("BPR"), HetCompSettings(K=10, cut=6, positives=7))
    for wrong in ([1, 2], (2, 1), (1, 1), (True,)):
        with pytest.raises(ValueError, match="checkpoints must be a tuple of ascending epochs"):
            HetCompSettings(checkpoints=wrong)
    with pytest.raises(ValueError, match="give Trajectories"):
        prepared(with_opinions("BPR"), HetCompSettings(K=10, cut=6, checkpoints=(1,)))


def test_a_run_of_the_store_is_taught_by_its_teachers_checkpoints(tmp_path, monkeypatch):
    """On stage L, or with an epoch that is not kept, it is refused when it is described, before anything is trained."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    data = synthetic.generate(n_users=24, n_items=60, min_length=12, max_length=20, seed=2)
    plan = Training(epochs=4, batch_size=64, learning_rate=0.02, negatives=1, reduction="sum")
    known = {"dataset": "x", "data_hash": data.sha256(), "stage": "F", "training": plan, "evaluate_every": 1}
    teacher = Experiment(**known, role="T", model=BPRMFSettings(dim=8))
    settings = HetCompSettings(K=10, cut=6, every=1, weight=0.05, checkpoints=(1, 2))
    given = {**known, "role": "HetComp", "model": BPRMFSettings(dim=4), "teacher": teacher, "teacher_epoch": 4}
    run = load_or_train(Experiment(**given, distillation=settings), data)
    alone = load_or_train(Experiment(**given, distillation=HetCompSettings(K=10, cut=6, every=1, weight=0.05)), data)
    assert run.history["early"].iloc[0] == 1 and run.history["reached"].iloc[-1] > 0 == alone.history["early"].iloc[0]
    assert "checkpoints" not in describe(HetCompSettings())
    for wrong in ({"checkpoints": (4,)}, {"checkpoints": (0,)}, {"stage": "L", "checkpoints": (1,)}):
        stage = {"stage": wrong.get("stage", "F")}
        bad = {**given, **stage, "teacher": replace(teacher, **stage), "teacher_epoch": "best" if len(wrong) > 1 else 4}
        with pytest.raises(ValueError, match="checkpoints must be evaluated epochs of the teacher before"):
            Experiment(**bad, distillation=HetCompSettings(K=10, cut=6, checkpoints=wrong["checkpoints"]))
