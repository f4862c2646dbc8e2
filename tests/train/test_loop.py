"""The training loop: the numbers of a step, its random streams and what it refuses."""

import contextlib
import math
from functools import partial

import pytest
import torch

from rdcore.data import Stage, stage
from rdcore.data.sampling import stream, stream_seed, unseen_items
from rdcore.datasets import synthetic
from rdcore.distill import DESettings, Discrepancy, Distillation, RankingDistillation, RDSettings
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.models import BPRMFSettings, CaserSettings
from rdcore.train import loop
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data

training_data = partial(training_data, full_windows=True)  # these tests train Caser

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny() -> Stage:
    return stage(synthetic.generate(n_users=20, n_items=40, min_length=10, max_length=16), "F")


def test_a_model_of_short_histories_may_look_further_back_than_anybody_has_come(tiny):
    counts = tiny.fit.counts()
    with pytest.raises(ValueError, match="nobody has the"):
        training_data(tiny.fit, int(counts.max()), "cpu")
    instances = training_data(tiny.fit, int(counts.max()), "cpu", full_windows=False)
    assert len(instances.target) == (counts - 1).sum()


def caser(data: Stage, **settings):
    torch.manual_seed(0)
    return CaserSettings(**({"dim": 4} | settings)).build(data.fit.n_users, data.fit.n_items)


def fit(data: Stage, model, seed=1, distillation=None, report=lambda text: None, **settings) -> list[dict]:
    """Trains and returns the logs without the seconds."""
    settings = Training(**({"epochs": 2, "batch_size": 16} | settings))
    logs = []
    train(
        model, training_data(data.fit, 5, "cpu"), make_optimizer(model, distillation, settings), settings, seed=seed,
        distillation=distillation, after_epoch=lambda epoch, log: logs.append(log), report=report,
    )  # fmt: skip
    for log in logs:
        assert log.pop("seconds") >= 0
    return logs


def same_bits(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class Spy(Distillation):
    """Notes what the loop hands it; adds `factor` times the mean of the scores of item 0 to the loss."""

    def __init__(self, factor=0.0):
        super().__init__()
        self.own = torch.nn.Parameter(torch.ones(2))
        self.factor, self.epochs, self.batches, self.contexts, self.seeds = factor, [], [], [], []

    def begin_epoch(self, student, epoch, n_batches, rng):
        self.epochs.append((epoch, n_batches, int(torch.randint(2**60, (1,), generator=rng))))

    def loss(self, student, batch, step, context):
        self.batches.append((step, batch))
        self.seeds.append(torch.initial_seed())
        self.contexts.append(context.detach().clone())
        item = torch.zeros(1, dtype=torch.long)
        return self.factor * (student.score(context, item).mean() + self.own.sum())


# The numbers of a step ------------------------------------------------------------------------------------------------


def test_an_epoch_of_one_batch_equals_the_official_step_written_out():
    tiny = stage(synthetic.generate(n_users=5, n_items=40, min_length=10, max_length=16), "F")
    settings = Training(epochs=1, batch_size=10_000, learning_rate=0.01, weight_decay=0.1, negatives=3, base_weight=0.8)
    model, reference = caser(tiny, dropout=0), caser(tiny, dropout=0)
    instances = training_data(tiny.fit, 5, "cpu")
    train(model, instances, make_optimizer(model, None, settings), settings, seed=4)

    negatives = unseen_items(instances.queries.user, 3, instances.seen, stream(4, "negatives", 1))
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01, weight_decay=0.1, foreach=False)  # coupled L2
    scores = reference.score_all(reference.encode(instances.queries))
    losses = []
    for b in range(len(instances.queries)):
        positive, negative = scores[b, instances.target[b]], scores[b, negatives[b]]
        losses.append(-torch.sigmoid(positive).log() - (1 - torch.sigmoid(negative)).log().sum())
    (0.8 * sum(losses) / len(losses)).backward()
    optimizer.step()
    for (name, got), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    start = caser(tiny, dropout=0)
    assert (model.item_factors.weight - start.item_factors.weight).abs().min() > 0  # every row decays in every step


def test_every_instance_is_used_once_an_epoch_in_a_new_order(tiny):
    spy, n = Spy(), len(training_data(tiny.fit, 5, "cpu").queries)
    fit(tiny, caser(tiny), distillation=spy, epochs=2, batch_size=16)
    steps = -(-n // 16)
    assert [step for step, _ in spy.batches] == [*range(steps)] * 2
    epochs = [torch.cat([batch.index for _, batch in spy.batches[e * steps : (e + 1) * steps]]).tolist() for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(n))
    assert epochs[0] != epochs[1] != list(range(n)) != epochs[0]
    assert {len(batch.index) for _, batch in spy.batches} == {16, n % 16}


def test_a_batch_holds_the_query_target_and_unseen_negatives_of_its_instances(tiny):
    spy, instances = Spy(), training_data(tiny.fit, 5, "cpu")
    fit(tiny, caser(tiny), distillation=spy, epochs=2, negatives=4)
    drawn = []
    for _, batch in spy.batches:
        assert torch.equal(batch.queries.history(5), instances.queries[batch.index].history(5))
        assert torch.equal(batch.target, instances.target[batch.index])
        assert batch.negatives.shape == (len(batch.index), 4)
        assert not instances.seen.contains(batch.queries.user, batch.negatives).any()
        drawn += zip(batch.index.tolist(), map(tuple, batch.negatives.tolist()), strict=True)
    assert len(set(drawn)) > 0.95 * len(drawn)  # other negatives in the second epoch


def test_the_distillation_is_told_epochs_and_batches_and_has_its_own_stream(tiny):
    spy, n = Spy(), len(training_data(tiny.fit, 5, "cpu").queries)
    fit(tiny, caser(tiny), distillation=spy, epochs=3)
    first_draw = [int(torch.randint(2**60, (1,), generator=stream(1, "distillation", epoch))) for epoch in (1, 2, 3)]
    assert spy.epochs == [(epoch, -(-n // 16), draw) for epoch, draw in zip((1, 2, 3), first_draw, strict=True)]


def test_the_view_of_a_notebook_is_told_every_epoch_and_the_end(tiny):
    told = []
    fit(tiny, caser(tiny), report=told.append)
    assert told == ["training, epoch 1 of 2", "training, epoch 2 of 2", ""]


def test_the_distillation_is_added_to_the_weighted_base_loss_and_trains_its_own_parameters(tiny):
    plain, pushed = caser(tiny), caser(tiny)
    without, spy = Spy(factor=0.0), Spy(factor=5.0)
    fit(tiny, plain, distillation=without, learning_rate=0.01, weight_decay=0)
    logs = fit(tiny, pushed, distillation=spy, learning_rate=0.01, weight_decay=0)
    assert pushed.item_bias[0] < plain.item_bias[0] - 0.01  # its gradient arrives
    assert (spy.own < without.own - 0.01).all() and (without.own == 1).all()
    assert {"epoch", "loss", "distillation_loss"} == set(logs[0])
    assert logs[0]["distillation_loss"] == pytest.approx(10, rel=0.1)  # 5 * (about 0 + 1 + 1)


def test_the_logged_loss_is_the_mean_over_instances_before_weighting(tiny):
    # With a vanishing learning rate, nothing dropped and negatives known, the loss can be computed afterwards.
    model, instances = caser(tiny, dropout=0), training_data(tiny.fit, 5, "cpu")
    (log,) = fit(tiny, model, epochs=1, learning_rate=1e-12, base_weight=0.25)
    negatives = unseen_items(instances.queries.user, 3, instances.seen, stream(1, "negatives", 1))
    with torch.no_grad():
        context = model.encode(instances.queries)
        losses = model.base_loss(model.score(context, instances.target[:, None]), model.score(context, negatives))
    assert log["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert len(instances.queries) % 16 != 0  # a mean over batches would weigh the last one too much


# Streams and bits -----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_whatever_happened_before(tiny):
    one, other, third = caser(tiny), caser(tiny), caser(tiny)
    logs = fit(tiny, one)
    torch.manual_seed(12345)
    torch.rand(7)
    assert fit(tiny, other) == logs
    assert same_bits(one, other)
    assert fit(tiny, third, seed=2) != logs
    assert not same_bits(one, third)


def test_going_on_from_an_epoch_gives_the_same_bits_as_never_stopping(tiny):
    instances, settings = training_data(tiny.fit, 5, "cpu"), Training(epochs=4, batch_size=16)

    def go(model, optimizer, settings, first_epoch=1):
        train(model, instances, optimizer, settings, seed=1, first_epoch=first_epoch)

    whole = caser(tiny)
    go(whole, make_optimizer(whole, None, settings), settings)
    half = caser(tiny)
    optimizer = make_optimizer(half, None, settings)
    go(half, optimizer, Training(epochs=2, batch_size=16))
    resumed = caser(tiny)
    resumed_optimizer = make_optimizer(resumed, None, settings)
    resumed.load_state_dict(half.state_dict())
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    go(resumed, resumed_optimizer, settings, first_epoch=3)
    assert same_bits(whole, resumed)
    assert not same_bits(whole, half)


def test_a_distillation_of_no_weight_leaves_the_student_as_it_is_alone(tiny):
    """S and RD of one seed share order, negatives and dropout: with weight 0 they are one model, bit for bit."""
    alone, distilled = caser(tiny), caser(tiny)
    settings = RDSettings(K=3, weight=0.0, weights=Discrepancy(samples=10, estimate="instance"))
    distillation = RankingDistillation(settings)
    distillation.prepare(caser(tiny, dim=8), training_data(tiny.fit, 5, "cpu"))
    logs, logs_distilled = fit(tiny, alone), fit(tiny, distilled, distillation=distillation)
    assert [log["loss"] for log in logs] == [log["loss"] for log in logs_distilled]
    assert same_bits(alone, distilled)


def test_dropout_is_new_in_every_step_and_shared_between_base_loss_and_distillation(tiny):
    spy = Spy()
    fit(tiny, caser(tiny), distillation=spy, epochs=1, learning_rate=1e-12, batch_size=10_000)
    model = caser(tiny).train()
    batch = spy.batches[0][1]
    context = model.encode(batch.queries)
    assert (context - spy.contexts[0])[:, :4].abs().max() > 1e-4  # it was on
    spy = Spy()
    fit(tiny, caser(tiny), distillation=spy, epochs=2, learning_rate=1e-12, batch_size=10_000)
    places = [batch.index.argsort() for _, batch in spy.batches]
    one, two = (context[place] for context, place in zip(spy.contexts, places, strict=True))
    assert (one - two)[:, :4].abs().max() > 1e-4


def test_dropout_has_a_stream_of_its_own_in_every_epoch(tiny):
    spy = Spy()
    fit(tiny, caser(tiny), distillation=spy, epochs=3, batch_size=10_000)
    assert spy.seeds == [stream_seed(1, "dropout", epoch) for epoch in (1, 2, 3)]


def test_seeding_is_undone_afterwards():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(5, "cpu"):
        first = torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
    with seeded(5, "cpu"):
        assert torch.equal(first, torch.rand(3))


# Numbers below 1.2e-38 -------------------------------------------------------------------------------------------------


def counts() -> bool:
    """Whether so small a number is more than 0 now."""
    return bool(torch.tensor(1e-38) * 0.1)


def test_tiny_numbers_are_zero_in_training_and_only_there(tiny):
    seen = []

    def stop(text: str) -> None:
        seen.append(counts())
        if text.endswith("epoch 2 of 2"):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit(tiny, caser(tiny), report=stop)
    assert seen == [False, False] and counts()
    torch.set_flush_denormal(True)
    try:
        fit(tiny, caser(tiny))
        assert not counts()  # as it was
    finally:
        torch.set_flush_denormal(False)


def test_with_several_threads_tiny_numbers_stay(tiny):
    """Others than the first would not drop them, or would go on doing so afterwards."""
    torch.set_num_threads(2)  # `one_thread` sets it back
    seen = []
    fit(tiny, caser(tiny), report=lambda text: seen.append(counts()))
    assert seen and all(seen)


def test_dropping_tiny_numbers_of_units_that_stay_dead_changes_no_bit(tiny, monkeypatch):
    """DE with hidden units that are 0 for every vector and stay so, with weights that weight decay has made tiny."""

    def taught() -> tuple[list[dict], torch.nn.Module]:
        torch.manual_seed(0)
        teacher, student = (BPRMFSettings(dim=dim).build(tiny.fit.n_users, tiny.fit.n_items) for dim in (8, 3))
        method = DESettings(M=3, weight=0.1).build(student, teacher)
        for experts in (method.users, method.items):
            experts.w1.data[..., ::2], experts.b1.data[:, ::2], experts.w2.data[:, ::2] = 1e-40, -1, -1e-40
        data = training_data(tiny.fit, 0, "cpu")
        method.prepare(teacher, data)
        settings, logs = Training(epochs=3, batch_size=16, weight_decay=0.01, negatives=1), []
        train(student, data, make_optimizer(student, method, settings), settings, seed=1, distillation=method,
              after_epoch=lambda epoch, log: logs.append(log | {"seconds": 0}))  # fmt: skip
        return logs, student

    logs, student = taught()
    monkeypatch.setattr(loop, "tiny_is_zero", contextlib.nullcontext)
    kept, other = taught()
    assert logs == kept and same_bits(student, other)


# Does it learn, and what does it refuse -------------------------------------------------------------------------------


def test_the_loss_falls(tiny):
    losses = [log["loss"] for log in fit(tiny, caser(tiny, dim=8), epochs=12, learning_rate=0.01)]
    assert losses[0] == pytest.approx(4 * math.log(2), rel=0.1)  # all logits about 0: one positive and three negatives
    assert losses[-1] < 0.8 * losses[0]


def test_a_trained_student_clearly_beats_popularity():
    """Every item leads to one other: who reads the last items finds the next one. About 4.1 times popularity is usual."""
    data = stage(synthetic.generate(n_users=400, n_items=80, successors=1, chain=8.0), "F")
    model = caser(data, dim=16)
    untrained = mean(evaluate(model, data))["MRR"]
    fit(data, model, epochs=3, batch_size=128, learning_rate=0.02)
    trained, popular = mean(evaluate(model, data))["MRR"], mean(popularity(data))["MRR"]
    assert trained > 3.5 * max(popular, untrained)


@pytest.mark.parametrize("broken", ["item_bias", "dense.weight"])
def test_a_loss_that_is_not_finite_stops_with_the_epoch_and_before_anything_is_kept(tiny, broken):
    model = caser(tiny)
    with torch.no_grad():
        dict(model.named_parameters())[broken].fill_(math.nan)
    kept = []
    settings = Training(epochs=2)
    with pytest.raises(FloatingPointError, match="not finite in epoch 1.*learning rate"):
        train(
            model, training_data(tiny.fit, 5, "cpu"), make_optimizer(model, None, settings), settings, seed=1,
            after_epoch=lambda *both: kept.append(both),
        )  # fmt: skip
    assert kept == []


def test_a_distillation_loss_that_is_not_finite_stops_too(tiny):
    with pytest.raises(FloatingPointError, match="epoch 1"):
        fit(tiny, caser(tiny), distillation=Spy(factor=math.inf))


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0}, {"epochs": 2.0}, {"epochs": True}, {"batch_size": 0}, {"negatives": 0}, {"learning_rate": 0},
        {"learning_rate": math.nan}, {"learning_rate": "1"}, {"weight_decay": -1}, {"base_weight": math.inf},
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Training(**bad)


def test_the_defaults_are_those_of_the_released_code():
    assert Training() == Training(
        epochs=50, batch_size=512, learning_rate=1e-3, weight_decay=1e-6, negatives=3, base_weight=1.0
    )


# The share of the instances, and the reduction ------------------------------------------------------------------------


def instances_of(data) -> list[tuple]:
    """What is trained on, as (user, history, target)."""
    histories = map(tuple, data.queries.history(5).tolist())
    return list(zip(data.queries.user.tolist(), histories, data.target.tolist(), strict=True))


@pytest.mark.parametrize("window", [0, 5])
def test_a_share_is_a_part_of_every_larger_one(tiny, window):
    whole = instances_of(training_data(tiny.fit, window, "cpu"))
    assert len(set(whole)) == len(whole)
    larger = whole
    for share in (0.999, 0.7, 0.5, 0.25, 1e-9):
        part = instances_of(training_data(tiny.fit, window, "cpu", share=share, seed=3))
        assert len(part) == max(1, round(share * len(whole)))
        assert part == [each for each in larger if each in set(part)]  # some of them, in their order
        larger = part


def test_a_share_is_drawn_once_a_seed(tiny):
    one, again, other = (instances_of(training_data(tiny.fit, 5, "cpu", share=0.4, seed=seed)) for seed in (1, 1, 2))
    assert one == again != other
    whole = instances_of(training_data(tiny.fit, 5, "cpu"))
    places = [whole.index(each) / len(whole) for each in one]
    assert abs(sum(places) / len(places) - 0.5) < 4 / math.sqrt(12 * len(places))  # from everywhere, not a beginning
    assert instances_of(training_data(tiny.fit, 5, "cpu", share=1.0, seed=9)) == whole


def test_what_counts_as_seen_does_not_shrink_with_the_share(tiny):
    whole, part = (training_data(tiny.fit, 5, "cpu", share=share) for share in (1.0, 0.1))
    everyone, items = torch.arange(tiny.fit.n_users), torch.arange(tiny.fit.n_items).expand(tiny.fit.n_users, -1)
    assert torch.equal(whole.seen.contains(everyone, items), part.seen.contains(everyone, items))
    assert part.seen.contains(everyone, items).sum() == len(tiny.fit)
    assert torch.equal(whole.queries.items, part.queries.items)  # nor do the histories


def step_of(tiny: Stage, reduction: str, factor: float = 0.0, **settings) -> tuple[dict, dict]:
    """The gradient of the only step of an epoch, a name each (from plain gradient descent at rate 1), and the log."""
    model, logs = caser(tiny, dropout=0), []
    settings = Training(epochs=1, batch_size=10_000, reduction=reduction, **settings)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    train(
        model, training_data(tiny.fit, 5, "cpu"), torch.optim.SGD(model.parameters(), lr=1.0), settings, seed=4,
        distillation=Spy(factor), after_epoch=lambda epoch, log: logs.append(log),
    )  # fmt: skip
    return {name: before[name] - value.detach() for name, value in model.named_parameters()}, logs[0]


def test_a_sum_is_the_mean_times_the_batch_in_every_gradient(tiny):
    n = len(training_data(tiny.fit, 5, "cpu").target)
    (mean_step, mean_log), (sum_step, sum_log) = (step_of(tiny, reduction) for reduction in ("mean", "sum"))
    for name, gradient in mean_step.items():
        torch.testing.assert_close(sum_step[name], n * gradient, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
        assert sum_step[name].abs().max() > 1e-2
    assert sum_log["loss"] == pytest.approx(mean_log["loss"], rel=1e-6)  # logged for an instance either way


def test_a_distillation_comes_to_the_scale_of_the_base_loss(tiny, monkeypatch):
    """Whichever reduction its weight belongs to: where the base loss is a sum instead of a mean, both grow by the batch."""
    n = len(training_data(tiny.fit, 5, "cpu").target)
    for own in ("mean", "sum"):
        monkeypatch.setattr(Spy, "reduction", own)
        (mean_step, mean_log), (sum_step, sum_log) = (
            step_of(tiny, reduction, 5.0, base_weight=0) for reduction in ("mean", "sum")
        )
        for name, gradient in mean_step.items():
            torch.testing.assert_close(sum_step[name], n * gradient, rtol=1e-3, atol=1e-4)
        assert sum_step["item_bias"].abs().max() > (n if own == "mean" else 1)
        assert sum_log["distillation_loss"] == pytest.approx(mean_log["distillation_loss"], rel=1e-6)
        assert (mean_log["distillation_loss"] > 5) == (own == "mean")  # Spy's 5 and more is then said of an instance


@pytest.mark.parametrize(
    "bad", [{"reduction": "max"}, {"share": 0}, {"share": 1.1}, {"share": "1"}, {"share": math.nan}], ids=str
)
def test_bad_reductions_and_shares_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Training(**bad)
