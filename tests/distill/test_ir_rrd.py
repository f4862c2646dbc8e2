"""IR-RRD: the item side in slow motion, against RRD, and against the released run's first train losses."""

import pytest
import torch
from small_contract import DATA, STUDENTS, fitted, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, IRRRDSettings, RRDSettings
from rdcore.distill.followups import item_side
from rdcore.distill.followups.item_side import scores_of_users, user_lists
from rdcore.distill.rrd import relaxed_loss
from rdcore.models import BPRMFSettings
from rdcore.train.loop import training_data

USERS = RRDSettings(K=3, L=4, depth=6, T=4.0, weight=0.1)
EXAMPLES = {
    "IR-RRD": IRRRDSettings(users=USERS, K=2, L=2, depth=4, T=3.0, weight=0.05),
    "IR-RRD-top": IRRRDSettings(users=USERS, K=2, L=2, depth=4, weight=0.05, interesting="top"),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def test_golden_values():
    """Item (1, 2), interesting users (1, 0), (0, .25), uninteresting ones (0, 0), (-1, 0): scores 1, .5 and 0, -1."""
    item, users = torch.tensor([1.0, 2]), torch.tensor([[1, 0], [0, 0.25], [0, 0], [-1, 0]])
    scores = (users @ item)[None].requires_grad_()
    loss = relaxed_loss(scores[:, :2], scores[:, 2:])
    loss.backward()
    assert loss.item() == pytest.approx(1.350698, abs=1e-6)
    assert scores.grad[0].tolist() == pytest.approx([-0.526009, -0.165961, 0.505870, 0.186099], abs=1e-6)
    assert scores.grad.sum().item() == pytest.approx(0, abs=1e-6)
    for n, expected in ((20, 67.985023), (40, 163.352485)):
        assert relaxed_loss(torch.zeros(1, n), torch.zeros(1, n)).item() == pytest.approx(expected, rel=1e-6)
    assert IRRRDSettings().weight * 67.985023 == pytest.approx(0.0339925, abs=1e-7)


def has(item: int) -> set[int]:
    return {user for user in range(DATA.n_users) if item in DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]]}


def test_lists_are_the_teachers_best_users_without_the_items_own(monkeypatch):
    teacher, data = with_opinions("BPR"), training_data(DATA, 0, "cpu")
    from rdcore.data.queries import final_queries_of

    scores = (teacher.user.weight @ teacher.item_factors.weight.T).T.tolist()
    for bytes_ in (2**28, 8 * 24 * 7):
        monkeypatch.setattr("rdcore.eval.topk.BLOCK_BYTES", bytes_)
        lists = user_lists(teacher, final_queries_of(data.queries), data.seen, 4, spare=2)
        for item in range(DATA.n_items):
            free = sorted(set(range(DATA.n_users)) - has(item), key=lambda user, item=item: -scores[item][user])
            assert lists.whole[item] == (len(free) >= 6)
            if lists.whole[item]:
                assert lists.users[item].tolist() == free[:4]
    with pytest.raises(ValueError, match="no item leaves 30 of the 24 users"):
        user_lists(teacher, final_queries_of(data.queries), data.seen, 28, spare=2)


@pytest.mark.parametrize("kind", ["BPR", "BPR bias", "NeuMF"])
def test_scores_of_users_are_the_students_scores(kind, monkeypatch):
    monkeypatch.setattr(item_side, "PAIRS", 8)
    torch.manual_seed(0)
    settings = BPRMFSettings(dim=4, bias=True) if kind == "BPR bias" else STUDENTS[kind]
    model = settings.build(DATA.n_users, DATA.n_items)
    with torch.no_grad():
        for value in model.parameters():
            value.normal_()
    data = training_data(DATA, 0, "cpu")
    from rdcore.data.queries import final_queries_of

    context = model.encode(final_queries_of(data.queries))
    users, items = torch.randint(24, (5, 3)), torch.tensor([7, 1, 7, 0, 39])
    expected = model.score_all(context)[users, items[:, None]]
    found = scores_of_users(model, context, users, items)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(5, 3)
    gradients = [torch.autograd.grad((each * weights).sum(), list(model.parameters()), allow_unused=True, retain_graph=True)
                 for each in (found, expected)]  # fmt: skip
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def prepared(settings):
    torch.manual_seed(3)
    model = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items)
    with torch.no_grad():
        model.user.weight.normal_(), model.item_factors.weight.normal_()
    teacher, instances = with_opinions("BPR"), training_data(DATA, 0, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(9)
    return model, method, Batch(index, instances.queries[index], instances.target[index], torch.zeros(9, 1, dtype=torch.long))


@pytest.mark.parametrize("size", [1, 300])  # at 300 a float32 holds no plain exponentials of the scores
def test_an_epoch_in_slow_motion(size):
    settings = EXAMPLES["IR-RRD"]
    model, method, batch = prepared(settings)
    with torch.no_grad():
        model.item_factors.weight.mul_(size)
    scores = model.user.weight @ model.item_factors.weight.T
    users = sorted(set(batch.queries.user.tolist()))
    expected, touched = 0.0, set()
    for user in users:
        drawn = method.users.sample[0][user].tolist()
        touched |= set(drawn)
        expected += 0.1 * relaxed_loss(scores[user, drawn[:3]][None], scores[user, drawn[3:]][None]).item()
    kept = [item for item in touched if len(has(item)) <= 24 - 6]
    for item in kept:
        drawn = method.drawn[method.row[item]].tolist()
        assert not set(drawn) & has(item) and len(set(drawn)) == 4
        listed = method.lists.users[item].tolist()
        assert set(drawn[:2]) <= set(listed) and not set(drawn[2:]) & set(listed)
        place = [listed.index(user) for user in drawn[:2]]
        assert place == sorted(place)  # in the teacher's order
        expected += 0.05 * relaxed_loss(scores[drawn[:2], item][None], scores[drawn[2:], item][None]).item()
    assert method.loss(model, batch, 0, model.encode(batch.queries)).item() == pytest.approx(expected, rel=1e-5)
    assert method.log()["items"] == len(kept)
    # Whom it did not touch, it does not teach.
    model.zero_grad()
    method.loss(model, batch, 0, model.encode(batch.queries)).backward()
    assert {int(i) for i in model.item_factors.weight.grad.abs().sum(1).nonzero()[:, 0]} <= touched


def test_without_weight_it_is_rrd_bit_by_bit():
    teacher = with_opinions("BPR")
    both = IRRRDSettings(users=USERS, K=2, L=2, depth=4, weight=0.0)
    runs = [fitted(each, "BPR", teacher, epochs=3) for each in (USERS, both)]
    for one, other in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)
    assert [log["distillation_loss"] for log in runs[0][2]] == pytest.approx([log["distillation_loss"] for log in runs[1][2]])


def test_the_first_users_are_taken_where_nothing_is_drawn():
    _, method, _ = prepared(EXAMPLES["IR-RRD-top"])
    assert torch.equal(method.drawn[:, :2], method.listed_users[:, :2])
    _, drawn, _ = prepared(EXAMPLES["IR-RRD"])
    assert not torch.equal(drawn.drawn[:, :2], drawn.listed_users[:, :2])


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_teaches_neumf_alone(name):
    holds(EXAMPLES[name], "NeuMF", "BPR")


def test_models_with_a_memory_are_refused():
    bpr, caser = (STUDENTS[name].build(DATA.n_users, DATA.n_items) for name in ("BPR", "Caser"))
    for pair, role in (((bpr, caser), "teacher"), ((caser, bpr), "student")):
        with pytest.raises(ValueError, match=f"without a memory .* the {role} .Caser."):
            EXAMPLES["IR-RRD"].build(*pair)


def test_settings_are_checked():
    wrongs = ({"users": 3}, "users must"), ({"K": 0}, "K must"), ({"K": 600}, "K must be <= depth"), ({"T": 0.0}, "T")
    wrongs += (({"interesting": "best"}, "interesting"), ({"interesting": "top", "T": 2.0}, "T=2.0 has no effect"))
    for wrong, match in wrongs:
        with pytest.raises(ValueError, match=match):
            IRRRDSettings(**wrong)
