"""DE: its schedule and its noise, the loss in slow motion with separate experts, the sparse form against the dense one."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rdcore import fast
from rdcore.data import Interactions
from rdcore.data.sampling import stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch, DESettings, DistillationExperts
from rdcore.distill.de import COLDEST, Experts, gumbel_softmax, hint_sizes, mixture
from rdcore.models import BPRMF, BPRMFSettings, Caser, CaserSettings, FossilSettings, Popularity
from rdcore.train.loop import Training, TrainingData, make_optimizer, train, training_data

N_USERS, N_ITEMS = 12, 40
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=N_USERS, n_items=N_ITEMS, min_length=8, max_length=14)


def bpr(dim: int, seed: int = 0) -> BPRMF:
    """A BPR-MF with vectors of length about 1."""
    torch.manual_seed(seed)
    model = BPRMFSettings(dim=dim).build(N_USERS, N_ITEMS)
    for table in (model.user, model.item_factors):
        nn.init.normal_(table.weight)
    return model


def caser(dim: int, seed: int = 0) -> Caser:
    torch.manual_seed(seed)
    return CaserSettings(dim=dim).build(N_USERS, N_ITEMS)


def built(student, teacher, instances: TrainingData, **settings) -> DistillationExperts:
    torch.manual_seed(5)
    distillation = DESettings(**({"M": 4} | settings)).build(student, teacher)
    distillation.prepare(teacher, instances)
    return distillation


def batch_of(instances: TrainingData, n: int, seed: int = 0) -> Batch:
    """n instances of the first users, so that users, positives and negatives occur twice, and some items on both sides."""
    rng = stream(seed, "batch")
    index = torch.randint(len(instances.target) // 2, (n,), generator=rng)
    negatives = torch.randint(N_ITEMS // 2, (n, 2), generator=rng)
    return Batch(index, instances.queries[index], instances.target[index], negatives)


# Schedule and noise ---------------------------------------------------------------------------------------------------


def test_temperatures_worked_out_by_hand():
    """T0 (T_end / T0)^(e / 1000) = 10^(-e / 100), and the released code is one epoch late, and counts from 0."""
    settings = DESettings()
    by_hand = {1: 1.0, 2: 1.0, 3: 10**-0.01, 52: 10**-0.5, 102: 0.1, 202: 0.01, 272: 10**-2.7, 1002: 1e-10, 5000: 1e-10}
    assert [settings.temperature(epoch) for epoch in by_hand] == pytest.approx(list(by_hand.values()), rel=1e-12)
    halves = DESettings(start_temperature=8, end_temperature=0.5, anneal_epochs=4)
    assert [halves.temperature(epoch) for epoch in range(1, 9)] == pytest.approx([8, 8, 4, 2, 1, 0.5, 0.5, 0.5])


def test_temperatures_are_those_of_the_released_loop():
    settings, T, seen = DESettings(anneal_epochs=50), 1.0, []
    for epoch in range(60):
        seen.append(T)
        T = max(1e-10, 1.0 * (1e-10 / 1.0) ** (epoch / 50))
    assert [settings.temperature(epoch) for epoch in range(1, 61)] == pytest.approx(seen)


@given(st.integers(1, 3000), st.integers(1, 2000))
def test_the_temperature_never_rises_and_stays_within_its_bounds(epoch, anneal_epochs):
    settings = DESettings(anneal_epochs=anneal_epochs)
    assert 1 >= settings.temperature(epoch) >= settings.temperature(epoch + 1) >= 1e-10 * (1 - 1e-12)


def test_a_hot_mixture_is_uniform_and_a_cold_one_a_single_expert():
    alpha = torch.softmax(3 * torch.randn(50, 6, generator=stream(1, "alpha")), dim=1)
    hot = gumbel_softmax(alpha, 1e6, stream(1, "noise"))
    torch.testing.assert_close(hot, torch.full((50, 6), 1 / 6), rtol=0, atol=1e-4)
    cold = gumbel_softmax(alpha, 1e-10, stream(1, "noise"))
    assert (cold.amax(1) == 1).all() and (cold.sum(1) == 1).all()
    assert len(cold.argmax(1).unique()) > 2
    # The same noise at every temperature: only how far it is told apart changes.
    assert torch.equal(cold.argmax(1), hot.argmax(1))


def test_experts_are_drawn_with_probability_alpha():
    """The Gumbel-max property. With 40,000 draws four standard errors are 4 sqrt(p (1 - p) / 40,000) < 0.01."""
    alpha = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = gumbel_softmax(alpha.expand(40_000, 4), 1e-6, stream(2, "noise")).argmax(1).bincount(minlength=4) / 40_000
    assert ((drawn - alpha).abs() < 4 * (alpha * (1 - alpha) / 40_000).sqrt()).all()


def test_the_noise_of_a_mixture_has_the_mean_and_spread_of_gumbel_differences():
    """log s_0 - log s_1 = (log alpha_0 - log alpha_1 + g_0 - g_1) / T; the difference is logistic: deviation pi / sqrt 3."""
    share = gumbel_softmax(torch.tensor([0.8, 0.2]).expand(40_000, 2).double(), 2.0, stream(3, "noise"))
    difference = share[:, 0].log() - share[:, 1].log()
    deviation = math.pi / math.sqrt(3) / 2
    assert difference.mean().item() == pytest.approx(math.log(4) / 2, abs=4 * deviation / 200)
    assert difference.std().item() == pytest.approx(deviation, rel=0.03)


def test_an_expert_of_probability_zero_gives_no_infinity():
    alpha = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    share = gumbel_softmax(alpha, 0.01, stream(1, "noise"))
    assert share.tolist() == [[1, 0, 0]]
    share[0, 0].backward()
    assert alpha.grad.isfinite().all()


# Experts --------------------------------------------------------------------------------------------------------------


def separate(experts: Experts) -> list[nn.Sequential]:
    """The same experts as modules of their own."""
    (_, d, hidden), size = experts.w1.shape, experts.b2.shape[1]
    made = []
    for m in range(len(experts.w1)):
        expert = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, size)).to(experts.w1.dtype)
        with torch.no_grad():
            expert[0].weight.copy_(experts.w1[m].T)
            expert[0].bias.copy_(experts.b1[m])
            expert[2].weight.copy_(experts.w2[m].T)
            expert[2].bias.copy_(experts.b2[m])
        made.append(expert)
    return made


def experts_of(M: int, student: int, teacher: int, **settings) -> Experts:
    torch.manual_seed(3)
    return Experts(student, teacher, DESettings(M=M, **settings))


FORMS = {  # of vectors, share, which pairs are kept, and the experts' weights
    "plain": lambda vectors, share, kept, *weights: mixture(vectors, share, *weights),
    "all": lambda vectors, share, kept, *weights: fast.mixture_of_all(vectors, share, *weights),
    "kept": lambda vectors, share, kept, *weights: fast.mixture_of_kept(vectors, share, fast.blocks_of(kept), *weights),
}


def selecting(n: int, M: int, temperature: float, spread: float = 1.0) -> Tensor:
    """Shares (n, M) of entities whose selection logits deviate by ``spread``, in float64."""
    alpha = torch.softmax(spread * torch.randn(n, M, generator=stream(1, "logits"), dtype=torch.float64), dim=1)
    return gumbel_softmax(alpha, temperature, stream(1, "noise"))


@pytest.mark.parametrize("form", FORMS)
def test_a_mixture_equals_a_loop_over_entities_and_experts(form):
    experts = experts_of(5, 3, 7).double()
    vectors, share = torch.randn(9, 3, dtype=torch.float64), selecting(9, 5, 0.5)
    share[:, 2] = 0  # an expert without entities
    weights = experts.w1, experts.b1, experts.w2, experts.b2
    got = FORMS[form](vectors, share, share > 0, *weights)
    modules = separate(experts)
    for n in range(9):
        slow = sum(share[n, m] * modules[m](vectors[n]) for m in range(5))
        torch.testing.assert_close(got[n], slow, rtol=1e-12, atol=1e-14)


def values_and_gradients(experts: Experts, vectors: Tensor, logits: Tensor, temperature: float, form: str) -> list[Tensor]:
    """The mixture and the gradients of its squared distance to a target: of vectors, selection logits and experts."""
    vectors, logits = vectors.clone().requires_grad_(), logits.clone().requires_grad_()
    share = gumbel_softmax(torch.softmax(logits, dim=1), temperature, stream(4, "noise"))
    weights = experts.w1, experts.b1, experts.w2, experts.b2
    kept = share.detach() > (1e-8 if share.dtype == torch.float32 else 1e-16)
    mixed = FORMS[form](vectors, share, kept, *weights)
    target = torch.randn(mixed.shape, generator=stream(5, "target"), dtype=torch.float64).to(mixed)
    gradients = torch.autograd.grad((target - mixed).square().sum(), [vectors, logits, *weights])
    return [mixed.detach(), *gradients]


@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.1, 0.01, 1e-10])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-12)])
def test_the_fast_forms_equal_the_plain_one_to_rounding(dtype, tolerance, temperature):
    """Each tensor by its largest entry: sums of many products cancel in the small ones."""
    experts = experts_of(12, 6, 20).to(dtype)
    vectors = torch.randn(150, 6, generator=stream(1, "x"), dtype=torch.float64).to(dtype)
    logits = 2 * torch.randn(150, 12, generator=stream(1, "logits"), dtype=torch.float64).to(dtype)
    dense, *others = (values_and_gradients(experts, vectors, logits, temperature, form) for form in FORMS)
    for other_form in others:
        for one, other in zip(dense, other_form, strict=True):
            assert (one - other).abs().max() <= tolerance * one.abs().max()
    gradients = [part.abs().max() > 0 for part in dense]
    # A single expert is not chosen by degrees: only its selection has no gradient.
    assert gradients == [True, True, temperature > 1e-10, *[True] * 4]


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_of_all_forms(form):
    experts = experts_of(3, 2, 4, hidden=3).double()
    vectors = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    share = selecting(4, 3, 1.0).requires_grad_()

    def of(vectors, share, *weights):
        return FORMS[form](vectors, share, torch.ones(4, 3, dtype=torch.bool), *weights)

    weights = [part.detach().requires_grad_() for part in (experts.w1, experts.b1, experts.w2, experts.b2)]
    assert torch.autograd.gradcheck(of, (vectors, share, *weights))


def test_gradcheck_of_the_selection():
    alpha = torch.softmax(torch.randn(3, 4, dtype=torch.float64), dim=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: gumbel_softmax(given, 0.7, stream(1, "noise")), (alpha,))


@given(st.integers(1, 120), st.integers(2, 12), st.floats(0, 1), st.integers(0, 9))
def test_blocks_hold_every_kept_pair_once_and_pad_by_half_at_most(n, M, density, seed):
    rng = stream(seed, "kept")
    likely = density * torch.rand(M, generator=rng) ** 3  # some experts much, some never
    kept = torch.rand(n, M, generator=rng) < likely
    kept[torch.arange(n), torch.randint(M, (n,), generator=rng)] = True
    expert, row, real = fast.blocks_of(kept)
    pairs = sorted((r, e) for e, rows, real in zip(*map(Tensor.tolist, (expert, row, real)), strict=True)
                   for r, is_real in zip(rows, real, strict=True) if is_real)  # fmt: skip
    assert pairs == [tuple(pair) for pair in kept.nonzero().tolist()]
    size, smallest = row.shape[1], fast.SMALLEST
    assert size == max(smallest, math.ceil(len(pairs) / (2 * M)))
    assert row.numel() <= len(pairs) + M * (size - 1)  # of an expert only the last block is padded
    if size > smallest:
        assert row.numel() <= 1.5 * len(pairs) + M


@pytest.mark.parametrize("rows", [1, 30, 400])
def test_only_what_is_not_negligible_is_computed_where_that_saves_work(monkeypatch, rows):
    asked, plain = [], fast.mixture_of_kept
    watched = lambda v, s, blocks, *w: asked.append(blocks) or plain(v, s, blocks, *w)  # noqa: E731
    monkeypatch.setattr(fast, "mixture_of_kept", watched)
    experts, vectors = experts_of(10, 4, 6), torch.randn(rows, 4)
    one = torch.zeros(rows, 10)
    one[:, 3] = 1  # all rows with the same expert: one full matrix, and no more
    for share in (selecting(rows, 10, 1.0).float(), selecting(rows, 10, 0.02).float(), one):
        torch.testing.assert_close(experts(vectors, share), mixture(vectors, share, *list(experts.parameters())[:4]))
    if rows == 400:
        cold, single = asked
        expected = selecting(rows, 10, 0.02).float() > 1e-8
        assert cold[2].sum() == expected.sum() < 800 and single[1].numel() == 416
    else:  # few rows: padded, an expert's are as many as all, unless they have one expert only
        assert len(asked) == (0 if rows == 1 else 1)


def test_parameters_are_counted_as_in_the_official_log():
    """DE.log of the released code, d_s = 20, d_t = 200, M = 30: selection networks 12,060, experts 1,470,600 together."""
    sides = [experts_of(30, 20, 200) for _ in range(2)]
    select = sum(p.numel() for side in sides for p in side.select.parameters())
    assert select == 12_060
    assert sum(p.numel() for side in sides for p in side.parameters()) - select == 1_470_600
    large = experts_of(1, 20, 200, hidden=3326)  # 'one large expert': as many within a ten-thousandth
    assert large.select is None
    assert 2 * sum(p.numel() for p in large.parameters()) == pytest.approx(1_470_600, rel=1e-4)
    assert experts_of(1, 20, 200).w1.shape == (1, 20, 110)


def test_where_both_sizes_are_one_the_hidden_layer_has_half_of_it():
    assert experts_of(2, 8, 8).w1.shape == (2, 8, 4)
    assert experts_of(2, 8, 13).w1.shape == (2, 8, 10)
    assert experts_of(2, 1, 1).w1.shape == (2, 1, 1)


def test_initialised_as_separate_linear_layers_would_be():
    """Uniform in +-1/sqrt(fan-in): the largest of n draws lies within 10/n of the bound, the deviation is bound / sqrt 3."""
    experts = experts_of(30, 20, 60)
    for part, fan_in in ((experts.w1, 20), (experts.b1, 20), (experts.w2, 40), (experts.b2, 40)):
        bound, n = 1 / math.sqrt(fan_in), part.numel()
        assert bound * (1 - 10 / n) < part.abs().max() <= bound
        assert part.std().item() == pytest.approx(bound / math.sqrt(3), rel=4 / math.sqrt(n))
        assert abs(part.mean().item()) < 4 * bound / math.sqrt(3 * n)


# The loss -------------------------------------------------------------------------------------------------------------


def slow_loss(distillation, student, teacher, batch, seed: int, epoch: int) -> float:
    """The loss as a sum over entities, one after the other; the noise in the order in which it is drawn."""
    settings, rng = distillation.settings, stream(seed, "distillation", epoch)
    users, positives = batch.queries.user.tolist(), sorted(set(batch.target.tolist()))
    negatives = sorted(set(batch.negatives.flatten().tolist()))
    assert set(positives) & set(negatives) and len(positives) < len(batch.target)
    if student.window == 0:
        places = [users.index(user) for user in sorted(set(users))]
        assert len(places) < len(users)
    else:
        places = range(len(users))
    sides = [(distillation.users, [("q", place) for place in places], [1.0] * len(places))]
    factors = [0.5] * (len(positives) + len(negatives))
    sides.append((distillation.items, [("i", item) for item in positives + negatives], factors))
    total = 0.0
    for experts, entities, factor in sides:
        modules, M = separate(experts), settings.M
        noise = -torch.empty(len(entities), M).exponential_(generator=rng).log() if M > 1 else None
        for row, (kind, which) in enumerate(entities):
            vector, shown = (
                model.hint(model.encode(batch.queries[which : which + 1]))[0]
                if kind == "q"
                else model.item_factors.weight[which]
                for model in (student, teacher)
            )
            share = [1.0]
            if M > 1:
                weights = torch.softmax(experts.select.weight @ shown + experts.select.bias, 0).tolist()
                if settings.selection == "gumbel":
                    T = settings.temperature(epoch)
                    powers = [(math.log(w + 1e-10) + float(g)) / T for w, g in zip(weights, noise[row], strict=True)]
                    weights = [math.exp(power - max(powers)) for power in powers]
                share = [weight / sum(weights) for weight in weights]
            mixed = sum(s * module(vector) for s, module in zip(share, modules, strict=True))
            apart = sum((float(t) - float(v)) ** 2 for t, v in zip(shown, mixed, strict=True))
            total += factor[row] * (math.sqrt(apart) if settings.distance == "root" else apart)
    return settings.weight * total


MODELS = {
    "memoryless": (bpr(3), bpr(8, 1)), "sequential": (caser(2).eval(), caser(5, 1)), "mixed": (caser(2).eval(), bpr(8, 1)),
}  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"M": 1}, {"M": 1, "hidden": 9}, {"selection": "attention"}, {"start_temperature": 0.05}, {"distance": "root"}],
    ids=str,
)
def test_the_loss_equals_a_loop_over_the_batchs_different_entities(data, kind, settings):
    student, teacher = MODELS[kind]
    instances = training_data(data, student.window, "cpu", full_windows=student.full_windows)
    distillation = built(student, teacher, instances, weight=0.3, anneal_epochs=10, **settings)
    batch = batch_of(instances, 30)
    distillation.begin_epoch(student, 3, 1, stream(7, "distillation", 3))
    loss = distillation.loss(student, batch, 0, student.encode(batch.queries))
    teacher.eval()
    assert loss.item() == pytest.approx(slow_loss(distillation, student, teacher, batch, 7, 3), rel=1e-5)
    assert loss.shape == () and loss.item() > 0


def test_the_loss_worked_out_by_hand():
    """One expert and vectors of one number: E(x) = 3 relu(2 x + 1) - 1. User 2 -> 14, item 0: 1 -> 8, item 1: -4 -> -1.

    The teacher shows 15 of the user, 5 of item 0 (positive in both instances) and 0 of item 1 (negative of both):
    0.1 (1^2 + (3^2 + 1^2) / 2) = 0.6.
    """
    student, teacher = (BPRMFSettings(dim=1).build(1, 3) for _ in range(2))
    distillation = DESettings(M=1, weight=0.1).build(student, teacher)
    fit = Interactions("hand", torch.tensor([0, 0]).numpy(), torch.tensor([0, 2]).numpy(), 3)
    with torch.no_grad():
        for model, user, items in ((student, 2.0, [1.0, -4.0, 9.0]), (teacher, 15.0, [5.0, 0.0, 9.0])):
            model.user.weight.fill_(user)
            model.item_factors.weight.copy_(torch.tensor(items)[:, None])
        for experts in (distillation.users, distillation.items):
            for part, value in ((experts.w1, 2.0), (experts.b1, 1.0), (experts.w2, 3.0), (experts.b2, -1.0)):
                part.fill_(value)
    instances = training_data(fit, 0, "cpu")
    distillation.prepare(teacher, instances)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    batch = Batch(torch.arange(2), instances.queries, instances.target, torch.tensor([[1], [1]]))
    loss = distillation.loss(student, batch, 0, student.encode(batch.queries))
    assert loss.item() == pytest.approx(0.6)
    loss.backward()
    # d/du 0.1 (15 - 3 (2 u + 1) + 1)^2 = -0.1 * 2 * 1 * 6; items alike, halved: -0.1 * (5 - 8) * 6 and a dead relu.
    assert student.user.weight.grad.item() == pytest.approx(-1.2)
    assert student.item_factors.weight.grad.flatten().tolist() == pytest.approx([1.8, 0, 0])


def test_student_experts_and_selection_get_gradients_and_the_teacher_none(data):
    student, teacher = caser(2), caser(5, 1).train()
    instances = training_data(data, 5, "cpu", full_windows=True)
    distillation = built(student, teacher, instances)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    batch = batch_of(instances, 30)
    loss = distillation.loss(student, batch, 0, student.encode(batch.queries))
    loss.backward()
    assert teacher.training and all(p.grad is None for p in teacher.parameters())  # back in its mode, and not asked
    for name, parameter in distillation.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    for parameter in (student.user.weight, student.dense.weight, student.item_factors.weight, student.horizontal[0].weight):
        assert parameter.grad.abs().max() > 0


def test_a_teacher_in_training_mode_shows_what_it_shows_in_evaluation(data):
    student, teacher = caser(2).eval(), caser(5, 1)
    instances = training_data(data, 5, "cpu", full_windows=True)
    losses = []
    for mode in (True, False):
        distillation = built(student, teacher.train(mode), instances)
        distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
        batch = batch_of(instances, 30)
        losses.append(distillation.loss(student, batch, 0, student.encode(batch.queries)).item())
    assert losses[0] == losses[1]


def test_the_noise_comes_from_the_epochs_generator_and_is_new_in_every_step(data):
    student, teacher = bpr(3), bpr(8, 1)
    instances = training_data(data, 0, "cpu")
    distillation, batch = built(student, teacher, instances), batch_of(instances, 30)

    def losses(seed: int) -> list[float]:
        torch.manual_seed(torch.seed())
        distillation.begin_epoch(student, 1, 2, stream(seed, "distillation"))
        return [distillation.loss(student, batch, step, student.encode(batch.queries)).item() for step in range(2)]

    first = losses(1)
    assert first == losses(1) and first != losses(2) and first[0] != first[1]


def test_the_log_is_of_the_epoch_that_just_ended(data):
    student, teacher = bpr(3), bpr(8, 1)
    instances = training_data(data, 0, "cpu")
    distillation = built(student, teacher, instances, anneal_epochs=100)
    batches, shares = [batch_of(instances, 30, seed) for seed in (0, 1)], {"user": [], "item": []}
    for epoch in (1, 22):
        rng = stream(1, "distillation", epoch)
        distillation.begin_epoch(student, epoch, 2, stream(1, "distillation", epoch))
        for kind in shares.values():
            kind.clear()
        for step, batch in enumerate(batches):
            distillation.loss(student, batch, step, student.encode(batch.queries))
            users = batch.queries.user.unique()
            items = torch.cat([batch.target.unique(), batch.negatives.unique()])
            for side, experts, shown in (
                ("user", distillation.users, teacher.user.weight[users]),
                ("item", distillation.items, teacher.item_factors.weight[items]),
            ):
                share = gumbel_softmax(experts.alpha(shown), distillation.settings.temperature(epoch), rng)
                shares[side] += share.tolist()
        log = distillation.log()
        assert log["temperature"] == pytest.approx(10 ** (-10 * max(epoch - 2, 0) / 100))
        for side, rows in shares.items():
            assert log[f"{side}_strongest"] == pytest.approx(sum(map(max, rows)) / len(rows), abs=2e-6)
            used = sum(share > 1e-8 for row in rows for share in row)
            assert log[f"{side}_experts"] == pytest.approx(used / len(rows), abs=1e-4)
    assert log["item_strongest"] > 0.9 and 1 <= log["item_experts"] < 3  # of the last epoch, a cold one, alone
    assert list(log) == ["temperature", "user_strongest", "user_experts", "item_strongest", "item_experts"]


# In the training loop -------------------------------------------------------------------------------------------------


def test_the_experts_join_optimiser_and_checkpoint_and_the_teacher_neither(data):
    student, teacher = bpr(3), bpr(8, 1)
    distillation = built(student, teacher, training_data(data, 0, "cpu"))
    names = ["w1", "b1", "w2", "b2", "select.weight", "select.bias"]
    assert set(distillation.state_dict()) == {f"{side}.{name}" for side in ("users", "items") for name in names}
    optimiser = make_optimizer(student, distillation, Training())
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert trained == {id(p) for p in (*student.parameters(), *distillation.parameters())}
    assert not trained & {id(p) for p in teacher.parameters()}


def test_a_run_stopped_after_an_epoch_goes_on_as_if_undisturbed(data):
    def run(first_epoch: int, saved: list[bytes]) -> tuple[list[bytes], dict, list[Tensor]]:
        """What is kept after epoch 1, and the log and all numbers after epoch 2."""
        settings = Training(epochs=2, batch_size=32, learning_rate=0.01, weight_decay=1e-3, negatives=1, reduction="sum")
        student, teacher = bpr(3), bpr(8, 1)
        instances, before = training_data(data, 0, "cpu"), [part.clone() for part in teacher.state_dict().values()]
        distillation = built(student, teacher, instances, start_temperature=0.5)
        parts = [student, distillation, make_optimizer(student, distillation, settings)]
        for part, state in zip(parts, saved, strict=False):
            part.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        kept, logs = [], []

        def keep(epoch: int, log: dict) -> None:
            logs.append({name: value for name, value in log.items() if name != "seconds"})
            if epoch == 1:
                for part in parts:
                    torch.save(part.state_dict(), file := io.BytesIO())
                    kept.append(file.getvalue())

        train(
            student, instances, parts[2], settings, seed=3, distillation=distillation, first_epoch=first_epoch,
            after_epoch=keep,
        )  # fmt: skip
        assert all(torch.equal(a, b) for a, b in zip(before, teacher.state_dict().values(), strict=True))
        return kept, logs[-1], [*student.state_dict().values(), *distillation.state_dict().values()]

    saved, log, numbers = run(1, [])
    _, log_resumed, resumed = run(2, saved)
    assert log == log_resumed and log["distillation_loss"] > 0
    assert len(numbers) == 14 and all(torch.equal(a, b) for a, b in zip(numbers, resumed, strict=True))


def test_experts_learn_to_give_back_what_the_teacher_shows(data):
    """Vectors that are a linear image of a few numbers can be given back from as many."""
    student, teacher = bpr(4), bpr(6, 1)
    with torch.no_grad():
        for table in (teacher.user, teacher.item_factors):
            table.weight.copy_(table.weight[:, :2] @ torch.randn(2, 6))
    instances = training_data(data, 0, "cpu")
    distillation = built(student, teacher, instances, weight=1.0, anneal_epochs=20, end_temperature=0.1)
    settings = Training(epochs=40, batch_size=32, learning_rate=0.02, negatives=1, reduction="sum", base_weight=0)
    logs = []
    train(
        student, instances, make_optimizer(student, distillation, settings), settings, seed=3, distillation=distillation,
        after_epoch=lambda epoch, log: logs.append(log["distillation_loss"]),
    )  # fmt: skip
    assert logs[-1] < 0.05 * logs[0]


# Settings -------------------------------------------------------------------------------------------------------------


BAD = [
    {"M": 0}, {"M": 2.0}, {"weight": -1}, {"weight": math.nan}, {"weight": "1"}, {"start_temperature": math.inf},
    {"start_temperature": 1e-11}, {"end_temperature": 0}, {"end_temperature": 2.0}, {"anneal_epochs": 0}, {"selection": "hard"},
    {"distance": "l1"},
    {"hidden": 0}, {"hidden": True}, {"end_temperature": 1e-40, "start_temperature": 1e-40}, {"end_temperature": 9e-17},
    # Without effect:
    {"selection": "attention", "M": 1}, {"start_temperature": 2.0, "M": 1}, {"end_temperature": 1e-3, "M": 1},
    {"start_temperature": 2.0, "selection": "attention"}, {"end_temperature": 1e-3, "selection": "attention"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        DESettings(**bad)


def test_the_coldest_temperature_of_all_is_finite_forth_and_back_and_through_the_optimiser():
    """Also where two experts tie exactly, as the rounded sums of two logits and their noise sometimes do."""
    tied = torch.zeros(1, 2, requires_grad=True)
    share = torch.softmax(tied / COLDEST, dim=1)
    (share[0, 0] - share[0, 1]).backward()
    assert share.tolist() == [[0.5, 0.5]] and tied.grad.isfinite().all() and tied.grad.square().isfinite().all()
    alpha = torch.softmax(torch.randn(500, 30, generator=stream(1, "logits")), dim=1).requires_grad_()
    settings = DESettings(start_temperature=COLDEST, end_temperature=COLDEST)
    share = gumbel_softmax(alpha, settings.temperature(1), stream(2, "noise"))
    share[:, 0].sum().backward()
    assert share.isfinite().all() and alpha.grad.isfinite().all()
    assert (share.amax(1) == 1).all()


def test_models_that_show_no_representation_are_refused():
    shown, hidden = bpr(3), Popularity(torch.ones(N_ITEMS))
    with pytest.raises(ValueError, match=r"the teacher \(Popularity\) shows none"):
        DESettings().build(shown, hidden)
    with pytest.raises(ValueError, match=r"the student \(Popularity\) shows none"):
        DESettings().build(hidden, shown)


@pytest.mark.parametrize("settings", [FossilSettings(dim=3), FossilSettings(dim=3, span="all"), CaserSettings(dim=3)], ids=str)
def test_sizes_are_asked_of_any_model_without_a_trace(settings):
    model = settings.build(N_USERS, N_ITEMS).train()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    size = 6 if isinstance(model, Caser) else 3
    assert hint_sizes(model) == (size, size)
    assert model.training and torch.equal(torch.get_rng_state(), state)
