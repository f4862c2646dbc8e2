"""Teachers from outside that know part of the items, and users who have nearly all of them: every method, and the losses of the
three papers' methods against plain Python."""

import importlib
import math

import numpy as np
import pytest
import torch
from method_examples import examples
from small_contract import STUDENTS, with_opinions
from test_any_method_with_any_model import METHODS

from rdcore.data import Interactions, Stage, stage
from rdcore.data.queries import final_queries
from rdcore.data.sampling import different_unseen_items, stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch, CDSettings, Position, RankDistilSettings, RDSettings, RRDSettings
from rdcore.distill.base import Frozen, distinct_queries
from rdcore.eval.metrics import evaluate
from rdcore.models import BPRMFSettings, CaserSettings, Model
from rdcore.store.agreement import agreement
from rdcore.train.loop import Training, make_optimizer, train, training_data

pytestmark = pytest.mark.usefixtures("one_thread")
N_ITEMS = 40
DATA = synthetic.generate(n_users=24, n_items=N_ITEMS, min_length=6, max_length=10, seed=2)
LATER = ("kd_ce", "rce_kd", "ir_rrd", "unkd", "dcd", "pckd", "hetcomp", "dllm2rec")
OF_LISTS = {name: settings for name, settings in METHODS.items() if "DE" not in name}
LATER_ONES = {name: made for file in LATER for name, made in importlib.import_module(f"test_{file}").EXAMPLES.items()}
EVERY = METHODS | examples()
NEEDS_VECTORS = tuple(name for name in LATER_ONES if name.startswith("PCKD"))


def with_a_bot(left: int) -> Interactions:
    """`DATA` and one more user, who has all items but ``left``."""
    items = np.concatenate([DATA.items, np.random.default_rng(5).permutation(N_ITEMS)[left:]])
    return Interactions("bot", items, np.append(DATA.offsets, len(items)), N_ITEMS)


class Partial(Model):
    """A teacher that names 0 to 7 items of each user, of those that the user does not have and of those that they do."""

    window, n_items = 0, N_ITEMS

    def __init__(self, n_users: int, missing: float):
        super().__init__()
        rng = np.random.default_rng(3)
        self.table = torch.full((n_users, N_ITEMS), missing)
        for user in range(n_users):
            named = rng.permutation(N_ITEMS)[: user % 8]
            self.table[user, named] = torch.from_numpy(rng.normal(size=len(named))).float()

    def encode(self, queries):
        return queries.user[:, None]

    def score_all(self, context):
        return self.table[context[:, 0]]

    def score(self, context, items):
        return super().score(context, items)


def fitted(settings, data: Interactions, teacher: Model, student: str = "BPR"):
    """A student after two epochs, its distillation, and the logs."""
    torch.manual_seed(3)
    model = STUDENTS[student].build(data.n_users, data.n_items)
    distillation, logs = settings.build(model, teacher), []
    instances = training_data(data, model.window, "cpu", full_windows=model.full_windows)
    distillation.prepare(teacher, instances)
    plan = Training(epochs=2, batch_size=64, learning_rate=0.02)
    train(model, instances, make_optimizer(model, distillation, plan), plan, seed=1, distillation=distillation,
          after_epoch=lambda epoch, log: logs.append(log))  # fmt: skip
    return model, distillation, logs


@pytest.mark.parametrize("block", [1, 5, 23, 24, 512])
def test_a_teacher_asked_in_blocks_says_of_each_item_what_it_knows(block):
    """Against its table, item by item; 23 of 24 queries leave a block of one."""
    teacher, queries = Partial(DATA.n_users, math.nan), final_queries(DATA)
    items = torch.randint(N_ITEMS + 1, (DATA.n_users, 9), generator=stream(1, "items"))
    items[0] = N_ITEMS
    for user, (row, asked) in enumerate(zip(Frozen(teacher).score(queries, items, block), items.tolist(), strict=True)):
        known = [math.nan if item == N_ITEMS else teacher.table[user, item].item() for item in asked]
        assert row.tolist() == [-math.inf if math.isnan(score) else score for score in known]


@pytest.mark.parametrize("training", [True, False])
def test_a_teacher_answers_without_dropout_and_stays_in_its_mode(training):
    torch.manual_seed(0)
    teacher = CaserSettings(dim=4, window=3, dropout=0.5).build(DATA.n_users, N_ITEMS)
    queries, items = final_queries(DATA), torch.arange(9).expand(DATA.n_users, 9)
    teacher.eval()
    expected = teacher.score(teacher.encode(queries), items).detach()
    asked = Frozen(teacher.train(training))
    torch.testing.assert_close(asked.score(queries, items), expected)
    torch.testing.assert_close(asked.score_all(queries)[:, :9], expected)
    assert teacher.training is training and not asked.score(queries, items).requires_grad


def test_a_user_is_one_query_only_for_a_student_without_a_memory():
    """Also one that looks at a single item encodes a user's two queries into two vectors."""
    users = torch.tensor([3, 1, 3])
    batch = Batch(torch.arange(3), final_queries(DATA)[users], users, users[:, None])
    for window, expected in ((0, [1, 3]), (1, [3, 1, 3]), (5, [3, 1, 3])):
        student = Partial(DATA.n_users, 0.0)
        student.window = window
        place, once = distinct_queries(student, batch)
        assert users[place].tolist() == expected and once.tolist() == [1] * len(expected)


def is_finite(model: Model, logs: list[dict]) -> bool:
    losses = [log[name] for log in logs for name in ("loss", "distillation_loss")]
    return all(map(math.isfinite, losses)) and all(weights.isfinite().all() for weights in model.parameters())


@pytest.mark.parametrize("missing", [-math.inf, math.nan])
@pytest.mark.parametrize("name", [*OF_LISTS, *(name for name in LATER_ONES if name not in NEEDS_VECTORS)])
def test_every_method_of_lists_takes_a_teacher_that_knows_part_of_the_items(name, missing):
    settings = (OF_LISTS | LATER_ONES)[name]
    teacher = Partial(DATA.n_users, missing)
    if name.startswith("DCD") and settings.item_weight > 0:  # whose items have too few users here
        with pytest.raises(ValueError, match="of no item the teacher names .* users: make the lists of users shorter"):
            fitted(settings, DATA, teacher)
        return
    for student in ("BPR", "Caser") if name in OF_LISTS else ("BPR",):
        model, distillation, logs = fitted(settings, DATA, teacher, student)
        assert is_finite(model, logs) and logs[0]["distillation_loss"] > 0
        assert distillation.n_short > 0 or name.startswith(("UnKD", "KD-CE-", "CD-student"))
    final = Stage("F", DATA, Interactions("j", [int(DATA.items[0])], [0] + [1] * DATA.n_users, N_ITEMS))
    assert 0 <= agreement(model, teacher, final)["overlap@10"] <= 1


@pytest.mark.parametrize("left", [1, 5])
@pytest.mark.parametrize("name", [*METHODS, *LATER_ONES])
def test_every_method_takes_a_user_who_has_nearly_everything(name, left):
    data = with_a_bot(left)
    model, distillation, logs = fitted((METHODS | LATER_ONES)[name], data, with_opinions("BPR", data=data))
    assert is_finite(model, logs) and logs[0]["distillation_loss"] > 0


@pytest.mark.parametrize("settings", [
    RRDSettings(K=3, L=4, depth=9, T=4.0), RRDSettings(K=3, L=4, depth=9, interesting="top"),
    CDSettings(samples=6, depth=12), CDSettings(samples=6, depth=None), RankDistilSettings(form="C", p=4, m=6, orders="exact"),
    RankDistilSettings(form="B", p=4, m=4, negatives="mined"),
])  # fmt: skip
def test_how_many_items_a_user_gets_does_not_depend_on_the_bot(settings):
    """The draws of all others have as many items as without the bot, whose are all that there are."""
    data = with_a_bot(5)
    student, teacher = (with_opinions("BPR", seed, data) for seed in (1, 2))
    distillation = settings.build(student, teacher)
    instances = training_data(data, 0, "cpu")
    distillation.prepare(teacher, instances)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    users = torch.arange(data.n_users)
    if isinstance(settings, RankDistilSettings):
        top = distillation.lists.items.long()
        drawn = different_unseen_items(users, distillation.drawn, instances.seen, stream(1, "x"), top)
        items = torch.cat([top, drawn], dim=1)
    else:
        items = distillation.sample[0].long()
    counts = (items < N_ITEMS).sum(1).tolist()
    assert counts[:-1] == [items.shape[1]] * DATA.n_users and 0 < counts[-1] <= 5
    assert distillation.n_short == 1
    for user, row in enumerate(items.tolist()):
        named = [item for item in row if item < N_ITEMS]
        had = set(data.items[data.offsets[user] : data.offsets[user + 1]].tolist())
        assert len(set(named)) == len(named) and not had & set(named)


# The losses against plain Python ----------------------------------------------------------------------------------------------


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def relaxed(s: list[float], u: list[float]) -> float:
    """-log P(s first and in order), of what there is."""
    return -sum(s[k] - math.log(sum(map(math.exp, s[k:] + u))) for k in range(len(s)))


@pytest.fixture(scope="module")
def asked():
    """Student, teacher, instances and a batch of one instance of each user."""
    student, teacher = BPRMFSettings(dim=3).build(DATA.n_users, N_ITEMS), Partial(DATA.n_users, -math.inf)
    torch.nn.init.normal_(student.item_factors.weight)
    torch.nn.init.normal_(student.user.weight)
    instances = training_data(DATA, 0, "cpu")
    index = torch.from_numpy(DATA.offsets[:-1])
    batch = Batch(index, instances.queries[index], instances.target[index], torch.zeros((len(index), 1), dtype=torch.long))
    return student, teacher, instances, batch


def ready(settings, asked):
    student, teacher, instances, _ = asked
    distillation = settings.build(student, teacher)
    distillation.prepare(teacher, instances)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    return distillation


def listed(teacher: Partial, user: int) -> list[int]:
    """What the teacher names and the user has not, best first."""
    had = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
    scores = teacher.table[user].tolist()
    named = [item for item in range(N_ITEMS) if scores[item] > -math.inf and item not in had]
    return sorted(named, key=lambda item: -scores[item])


def test_rrd_of_a_shorter_list_is_that_of_its_items(asked):
    student, teacher, _, batch = asked
    distillation = ready(RRDSettings(K=3, L=4, depth=6, interesting="top", weight=1.0), asked)
    context = student.encode(batch.queries)
    scores = student.score_all(context).tolist()
    expected = 0.0
    for user, row in enumerate(distillation.sample[0].tolist()):
        top = listed(teacher, user)[:3]
        assert row[:3] == top + [N_ITEMS] * (3 - len(top)) and not set(row[3:]) & set(top)
        expected += relaxed([scores[user][item] for item in top], [scores[user][item] for item in row[3:]])
    assert distillation.loss(student, batch, 0, context).item() == pytest.approx(expected, rel=1e-5)
    assert distillation.n_short == sum(len(listed(teacher, user)) < 6 for user in range(DATA.n_users))


def test_an_order_is_taught_only_among_items_that_the_teacher_names(asked):
    student, teacher, _, batch = asked
    distillation = ready(RRDSettings(K=2, L=9, depth=2, interesting="top", weight=1.0, order="full"), asked)
    context = student.encode(batch.queries)
    scores, expected = student.score_all(context).tolist(), 0.0
    for user, row in enumerate(distillation.sample[0].tolist()):
        named = [item for item in row if item < N_ITEMS]
        assert named == [item for item in listed(teacher, user) if item in named] and named[:2] == listed(teacher, user)[:2]
        expected += relaxed([scores[user][item] for item in named], [])
    assert distillation.loss(student, batch, 0, context).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", [
    CDSettings(samples=30, depth=30, weight=1.0), CDSettings(samples=6, depth=6, mode="teacher", weight=1.0),
    CDSettings(samples=30, depth=None, weight=1.0), CDSettings(samples=6, depth=None, mode="teacher", weight=1.0),
])  # fmt: skip
def test_cd_asks_for_the_opinion_of_named_items_alone(asked, settings):
    student, teacher, _, batch = asked
    distillation = ready(settings, asked)
    context = student.encode(batch.queries)
    scores, expected = student.score_all(context).tolist(), 0.0
    for user, row in enumerate(distillation.sample[0].tolist()):
        named = [item for item in row if item < N_ITEMS]
        assert len(set(named)) == len(named) and set(named) <= set(listed(teacher, user))
        assert settings.depth != 6 or sorted(named) == sorted(listed(teacher, user)[:6])
        for item in named:
            q, z = 1 / (1 + math.exp(-float(teacher.table[user, item]) / 2)), scores[user][item]
            expected += softplus(z) - q * z
    assert expected > 0
    assert distillation.loss(student, batch, 0, context).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", [
    RankDistilSettings(form="C", p=4, m=50, orders="exact"),
    RankDistilSettings(form="C", p=4, m=50, n_orders=1, temperature=1e-6),
    RankDistilSettings(form="B", p=4, m=50), RankDistilSettings(form="P", p=4, m=50),
    RankDistilSettings(form="B", p=4, m=50, psi="scores"), RankDistilSettings(form="P", p=4, m=50, psi="scores"),
])  # fmt: skip
def test_rankdistil_of_shorter_lists_is_that_of_their_items(asked, settings):
    """With more negatives than there are, each form is a sum over all unseen items that are not listed."""
    student, teacher, _, batch = asked
    distillation = ready(settings, asked)
    context = student.encode(batch.queries)
    scores, losses = student.score_all(context).tolist(), []
    for user in range(DATA.n_users):
        had = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
        top = listed(teacher, user)[:4]
        s = [scores[user][item] for item in top]
        n = [scores[user][item] for item in range(N_ITEMS) if item not in had and item not in top]
        psi = relaxed(s, [0.0] if settings.form == "B" else [])
        if settings.psi == "scores":
            psi = sum((score - float(teacher.table[user, item])) ** 2 for score, item in zip(s, top, strict=True))
        losses.append({
            "C": relaxed(s, n), "B": psi + sum(map(softplus, n)), "P": psi + sum(softplus(b - a) for a in s for b in n),
        }[settings.form])  # fmt: skip
    loss = distillation.loss(student, batch, 0, context)
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, student.item_factors.weight)
    assert gradient.isfinite().all()


def test_a_full_list_with_nothing_named_behind_it_has_no_order_there(asked):
    """An order of k = 4 places, of which the teacher names two, teaches what one of two places does."""
    student, _, instances, batch = asked
    teacher, losses = Partial(DATA.n_users, -math.inf), []
    for user in range(DATA.n_users):
        had = set(DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]].tolist())
        items = [item for item in range(N_ITEMS) if item not in had][3:5]
        teacher.table[user] = -math.inf
        teacher.table[user, items] = torch.tensor([0.5, 1.0])
    for k in (2, 4):
        distillation = ready(RankDistilSettings(p=2, m=6, k=k, n_orders=3), (student, teacher, instances, batch))
        assert distillation.n_short == 0
        losses.append(distillation.loss(student, batch, 0, student.encode(batch.queries)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and losses[0] > 0


def test_a_place_without_an_item_moves_nothing(asked):
    """RD's and DLLM2Rec's weights, KD-CE's softmax: items that nobody's list names get no gradient from the distillation."""
    student, _, instances, batch = asked
    teacher = Partial(DATA.n_users, -math.inf)
    teacher.table[:, 7] = -math.inf
    for settings in (RDSettings(K=5, exclude="seen", weights=Position()), LATER_ONES["KD-CE"], LATER_ONES["DLLM2Rec"]):
        distillation = ready(settings, (student, teacher, instances, batch))
        negatives = torch.ones((len(batch.index), 1), dtype=torch.long)
        given = Batch(batch.index, batch.queries, batch.target, negatives)
        loss = distillation.loss(student, given, 0, student.encode(batch.queries))
        (gradient,) = torch.autograd.grad(loss, student.item_factors.weight)
        assert not gradient[7].any() and gradient.any()


class Answers(Partial):
    """The same answers in another form."""

    def __init__(self, n_users: int, form):
        super().__init__(n_users, -math.inf)
        self.form = form

    def score_all(self, context):
        return self.form(super().score_all(context))


@pytest.mark.parametrize("name", ["RD-position", "CD-student", "RRD", "RankDistil-C"])
def test_a_teacher_may_answer_in_another_dtype(name):
    """As arrays from elsewhere do, in float64; or in whole numbers."""
    once = [fitted(METHODS[name], DATA, teacher)[2] for teacher in (Partial(DATA.n_users, -math.inf),
            Answers(DATA.n_users, torch.Tensor.double))]  # fmt: skip
    for one, other in zip(*once, strict=True):
        assert one["distillation_loss"] == pytest.approx(other["distillation_loss"], rel=1e-5)
    whole = Answers(DATA.n_users, lambda scores: scores.nan_to_num(neginf=-9).round().long())
    assert math.isfinite(fitted(METHODS[name], DATA, whole)[2][0]["distillation_loss"])


class Bare(Answers):
    """Scores and vectors from elsewhere, in half precision, in nothing that is trained; one item comes first for everybody."""

    def __init__(self):
        first = torch.tensor([3])
        super().__init__(DATA.n_users, lambda scores: scores.nan_to_num(neginf=-9).index_fill(1, first, 6e4).half())
        drawn = torch.Generator().manual_seed(1)
        self.users, self.vectors = (torch.randn(n, 6, generator=drawn).half() for n in (DATA.n_users, N_ITEMS))

    def hint(self, context):
        return self.users[context[:, 0]]

    def item_hint(self, items):
        return self.vectors[items]


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("BD")])  # BD trains the teacher
def test_every_method_takes_a_teacher_without_parameters_and_an_item_that_is_always_first(name):
    model, _, logs = fitted(EVERY[name], DATA, Bare())
    assert is_finite(model, logs)


OF_VECTORS = ("BD", "DE", "Fit", "VkD", "FTD", "HTD", "FreqD", "PCKD-student", "PCKD-both")  # no score of the teacher


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith(OF_VECTORS)])
def test_a_score_of_plus_infinity_is_refused(name):
    """As of half precision beyond 65,504: which of two such items comes first is not known, and no loss has a value."""

    class Overflown(Bare):
        def score_all(self, context):
            return super().score_all(context) * 10

    with pytest.raises(ValueError, match=r"the teacher's score of .* item.* is \+inf: give finite scores .half precision"):
        fitted(EVERY[name], DATA, Overflown())


def test_a_teacher_may_answer_with_one_row_for_all():
    """A tensor that must not be written to: what is left out for one user is not left out for others."""
    scores = torch.arange(float(N_ITEMS))
    popular, expanded = (Answers(DATA.n_users, form) for form in (
        lambda answer: scores.repeat(len(answer), 1), lambda answer: scores.expand(len(answer), -1)))  # fmt: skip
    one, other = (fitted(METHODS["RRD"], DATA, teacher)[2] for teacher in (popular, expanded))
    assert [log["distillation_loss"] for log in one] == [log["distillation_loss"] for log in other]
    final = stage(DATA, "F")
    for metric, values in evaluate(popular, final).items():
        np.testing.assert_array_equal(evaluate(expanded, final)[metric], values)
