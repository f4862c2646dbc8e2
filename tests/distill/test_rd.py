"""Ranking Distillation: its loss, the teacher's lists, the student's ranks, and the whole official step in slow motion."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rdcore.data import Interactions
from rdcore.data.sampling import SeenItems, shared_items, stream, unseen_items
from rdcore.datasets import synthetic
from rdcore.distill import Batch, Discrepancy, Equal, Hybrid, Position, RDSettings, lists
from rdcore.distill.lists import exemplary_rankings, teacher_lists
from rdcore.distill.rd import RankingDistillation, distillation_loss
from rdcore.distill.rd_rank import exact_rank, sampled_rank
from rdcore.eval import topk as ranking
from rdcore.models import BPRMFSettings, Caser, CaserSettings, Model
from rdcore.store.list_cache import ListCache
from rdcore.train.loop import Training, TrainingData, batch_loss, make_optimizer, train, training_data

N_ITEMS = 40


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=12, n_items=N_ITEMS, min_length=8, max_length=14)


@pytest.fixture(scope="module")
def instances(data) -> TrainingData:
    return training_data(data, 5, "cpu", full_windows=True)


def model(seed: int, dim: int = 4) -> Caser:
    """A Caser with parameters so large that scores differ and dropout matters. Those of the items are multiples of 1/16:
    with a context of such numbers (`exactly`) a score has no rounding error, however its sum is ordered."""
    generator = torch.Generator().manual_seed(seed)
    caser = CaserSettings(dim=dim).build(12, N_ITEMS)
    with torch.no_grad():
        for parameter in caser.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        caser.item.weight[N_ITEMS] = 0
        for table in (caser.item_factors.weight, caser.item_bias):
            table.copy_(exactly(table))
    return caser


def exactly(numbers: Tensor) -> Tensor:
    return (numbers.detach() * 16).round() / 16


def batch_of(instances: TrainingData, index) -> Batch:
    index = torch.tensor(index)
    return Batch(index, instances.queries[index], instances.target[index], torch.zeros(len(index), 3, dtype=torch.long))


def seen_by(data: Interactions, user: int) -> set[int]:
    return set(data.items[data.offsets[user] : data.offsets[user + 1]].tolist())


# The loss -----------------------------------------------------------------------------------------------------------


def test_loss_equals_a_loop_over_instances_and_positions():
    weights, logits = torch.rand(5, 4), torch.randn(5, 4)
    for given in (weights, weights[0]):
        slow = []
        for b in range(5):
            row = given[b] if given.dim() == 2 else given
            slow.append(sum(-float(row[r]) * math.log(1 / (1 + math.exp(-float(logits[b, r])))) for r in range(4)))
        assert distillation_loss(given, logits).tolist() == pytest.approx(slow, rel=1e-5)


def test_loss_worked_out_by_hand():
    # 0.5 * -log sigmoid(0) + 0.25 * -log sigmoid(ln 3) = 0.5 ln 2 + 0.25 ln(4/3)
    loss = distillation_loss(torch.tensor([[0.5, 0.25]]), torch.tensor([[0.0, math.log(3)]]))
    assert loss.tolist() == pytest.approx([0.4184942], abs=1e-6)


def test_loss_gradient_is_weight_times_sigmoid_minus_one():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: distillation_loss(weights, x), (logits,))
    (gradient,) = torch.autograd.grad(distillation_loss(weights, logits).sum(), logits)
    torch.testing.assert_close(gradient, weights * (torch.sigmoid(logits.detach()) - 1))


def test_no_infinity_at_extreme_logits_and_zero_weights_give_zero():
    logits = torch.tensor([[1000.0, -1000.0], [-1000.0, -1000.0]], requires_grad=True)
    loss = distillation_loss(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), logits)
    assert loss.tolist() == [1000.0, 0.0]
    loss.sum().backward()
    assert logits.grad.tolist() == [[0.0, -1.0], [0.0, 0.0]]


# The teacher's lists --------------------------------------------------------------------------------------------------


def slow_lists(teacher, data, instances, K, exclude) -> list[list[int]]:
    teacher.eval()
    lists = []
    for b in range(len(instances.queries)):
        query = instances.queries[b : b + 1]
        scores = teacher.score_all(teacher.encode(query))[0].tolist()
        target = int(instances.target[b])
        left_out = {target} if exclude == "target" else seen_by(data, int(query.user)) | {target}
        lists.append(sorted(set(range(N_ITEMS)) - left_out, key=lambda item: -scores[item])[:K])
    return lists


@torch.no_grad()
@pytest.mark.parametrize("exclude", ["target", "seen"])
@pytest.mark.parametrize("block", [1, 7, 2048])
def test_lists_equal_sorting_all_items(data, instances, exclude, block):
    teacher = model(1).train()
    seen = instances.seen if exclude == "seen" else None
    lists = exemplary_rankings(teacher, instances.queries, 6, target=instances.target, seen=seen, block=block)
    assert teacher.training  # as it was; but the lists below are of evaluation mode
    assert lists.tolist() == slow_lists(teacher, data, instances, 6, exclude)


@torch.no_grad()
def test_the_two_exclusions_differ_where_the_released_code_and_the_paper_do(data, instances):
    target_only, all_seen = (
        exemplary_rankings(model(1), instances.queries, 6, target=instances.target, seen=seen)
        for seen in (None, instances.seen)
    )
    users = instances.queries.user
    assert not instances.seen.contains(users, all_seen.long()).any()
    assert instances.seen.contains(users, target_only.long()).any()
    assert not (target_only == instances.target[:, None]).any()


@pytest.mark.usefixtures("one_thread")
def test_a_teacher_without_memory_is_asked_once_a_user_and_teaches(data, tmp_path, monkeypatch):
    torch.manual_seed(1)
    teacher, asked = BPRMFSettings(dim=4).build(12, N_ITEMS), []
    with torch.no_grad():
        for table in (teacher.user.weight, teacher.item_factors.weight):
            table.copy_(torch.randn_like(table))
    encode = teacher.encode
    monkeypatch.setattr(teacher, "encode", lambda queries: asked.append(len(queries)) or encode(queries))
    for window in (0, 5):  # students without a memory and with one
        given = training_data(data, window, "cpu", full_windows=True)
        with torch.no_grad():
            slow = slow_lists(teacher, data, given, 6, "seen")
        asked.clear()
        made = teacher_lists(teacher, given, 6, "seen", cache=ListCache(tmp_path))
        assert made.per_user and made.items.shape == (12, 6) and sum(asked) == 12
        batch = batch_of(given, [30, 0, 1, 17])
        assert made.of(batch).tolist() == [slow[index] for index in (30, 0, 1, 17)]

    settings = Training(epochs=20, batch_size=64, learning_rate=0.03, negatives=1)
    given, common = training_data(data, 0, "cpu"), []
    for weight in (0.0, 1.0):
        torch.manual_seed(2)
        student = BPRMFSettings(dim=4).build(12, N_ITEMS)
        hybrid = Hybrid(discrepancy=Discrepancy(samples=20), start_epoch=5)
        distillation = RankingDistillation(RDSettings(K=6, weights=hybrid, exclude="seen", weight=weight))
        distillation.prepare(teacher, given, cache=ListCache(tmp_path))
        train(student, given, make_optimizer(student, distillation, settings), settings, seed=1, distillation=distillation)
        own = teacher_lists(student, given, 6, "seen").items
        common.append((own.unsqueeze(2) == made.items.unsqueeze(1)).any(2).double().mean().item())
    assert common[1] > common[0] + 0.2


def test_a_list_longer_than_there_are_items_is_refused(instances):
    with pytest.raises(ValueError, match="^K must be <= 39"):
        exemplary_rankings(model(1), instances.queries, 40, target=instances.target)
    fewest = N_ITEMS - int(instances.seen.offsets.diff().max())
    full = exemplary_rankings(model(1), instances.queries, fewest, target=instances.target, seen=instances.seen)
    assert not instances.seen.contains(instances.queries.user, full.long()).any()


def prepared(instances, cache, K=5, teacher=1, **settings):
    distillation = RankingDistillation(RDSettings(K=K, weights=Equal(), **settings))
    distillation.prepare(model(teacher), instances, cache=cache)
    return distillation.lists.items


def test_a_cached_file_gives_the_same_lists_without_asking_the_teacher(instances, tmp_path, monkeypatch):
    first = prepared(instances, ListCache(tmp_path / "lists"))
    assert torch.equal(first, prepared(instances, None))
    monkeypatch.setattr(lists, "exemplary_rankings", lambda *_, **__: pytest.fail("the cached file was not used"))
    again = prepared(instances, ListCache(tmp_path / "lists"))
    assert torch.equal(first, again) and first.dtype == again.dtype


def test_other_lists_under_the_same_teacher_are_not_taken_for_these(data, instances, tmp_path):
    shorter_window = training_data(data, 3, "cpu", full_windows=True)  # a student with another window has other instances
    cases = [(instances, {}), (instances, {"K": 6}), (instances, {"exclude": "seen"}), (shorter_window, {})]
    for given, settings in cases * 2:
        teacher_sees = given if given is instances else training_data(data, 3, "cpu", full_windows=True)
        assert torch.equal(prepared(teacher_sees, ListCache(tmp_path), **settings), prepared(given, None, **settings))
    assert len(list(tmp_path.glob("*.safetensors"))) == len(cases)


def test_an_interrupted_write_leaves_no_file(instances, tmp_path, monkeypatch):
    def interrupted(tensors, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("rdcore.store.list_cache.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(instances, ListCache(tmp_path))
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    monkeypatch.undo()
    assert torch.equal(prepared(instances, ListCache(tmp_path)), prepared(instances, None))


# The student's ranks --------------------------------------------------------------------------------------------------


def test_exact_rank_equals_counting():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 9, (4, 20), generator=generator).float()  # many ties
    valid = torch.rand(4, 20, generator=generator) < 0.6
    items = torch.randint(0, 20, (4, 3), generator=generator)
    slow = [
        [sum(bool(valid[b, j]) and bool(scores[b, j] > scores[b, i]) for j in range(20)) for i in items[b].tolist()]
        for b in range(4)
    ]
    assert exact_rank(items, scores, (~valid).nonzero(as_tuple=True)).tolist() == slow


def test_sampled_rank_worked_out_by_hand():
    logits = torch.tensor([[2.5, 0.0]])
    sample = torch.tensor([[3.0, 2.5, 1.0, -1.0]])  # 1 above 2.5 (a tie counts for the item), 3 above 0
    assert sampled_rank(logits, sample, None, 14_009).tolist() == [[14_009 // 4, 3 * 14_009 // 4]]
    valid = torch.tensor([[False, True, True, True]])  # 0 of 3 above 2.5, 2 of 3 above 0
    assert sampled_rank(logits, sample, valid, 14_009).tolist() == [[0, 2 * 14_009 // 3]]
    nothing = torch.zeros(1, 4, dtype=torch.bool)  # every sampled item is seen: nothing is known, nothing is above
    assert sampled_rank(logits, sample, nothing, 14_009).tolist() == [[0, 0]]


def test_sampled_rank_has_the_official_steps_on_gowalla():
    logits, sample = torch.zeros(1, 1), torch.full((1, 100), -1.0)
    steps = []
    for n in (0, 1, 2, 50, 100):
        sample[0, :n] = 1
        steps.append(sampled_rank(logits, sample, None, 14_009).item())
    assert steps == [0, 140, 280, 7004, 14_009]


def rank_of(estimate, samples, instances, data, student, batch, seed, step=0) -> tuple[Tensor, object]:
    """What RankingDistillation passes to its weights, and the distillation itself."""
    samples = Discrepancy.samples if estimate == "exact" else samples
    distillation = RankingDistillation(RDSettings(K=5, weights=Discrepancy(estimate=estimate, samples=samples)))
    distillation.prepare(model(1), instances)
    distillation.begin_epoch(student, 1, 4, stream(seed, "distillation", 1))
    with torch.no_grad():
        context = exactly(student.encode(batch.queries))
        logits = student.score(context, distillation.lists.of(batch))
        return distillation.rank(student, batch, step, context, logits), distillation


def test_no_item_stands_above_itself_however_its_score_is_rounded(data, instances, monkeypatch):
    student, batch = model(2).eval(), batch_of(instances, [0, 9, 30])
    expected, _ = rank_of("exact", 1, instances, data, student, batch, seed=1)
    plain = student.score_all
    monkeypatch.setattr(student, "score_all", lambda context: plain(context) + 1e-4)  # far less than any two scores differ
    rank, _ = rank_of("exact", 1, instances, data, student, batch, seed=1)
    assert rank.tolist() == expected.tolist()


def test_exact_estimate_counts_the_unseen_items_above(data, instances):
    student, batch = model(2).eval(), batch_of(instances, [0, 9, 30])
    rank, distillation = rank_of("exact", 1, instances, data, student, batch, seed=1)
    scores = student.score_all(exactly(student.encode(batch.queries))).tolist()
    for b, user in enumerate(batch.queries.user.tolist()):
        unseen = set(range(N_ITEMS)) - seen_by(data, user)
        for c, item in enumerate(distillation.lists.items[batch.index[b]].tolist()):
            assert rank[b, c] == sum(scores[b][j] > scores[b][item] for j in unseen)


def test_exact_ranks_are_counted_in_blocks_of_bytes(data, instances, monkeypatch):
    student, batch = model(2).eval(), batch_of(instances, [0, 9, 30, 1, 9])
    whole, _ = rank_of("exact", 1, instances, data, student, batch, seed=1)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 3 * 4 * N_ITEMS * 2)
    asked, plain = [], student.score_all
    monkeypatch.setattr(student, "score_all", lambda context: asked.append(len(context)) or plain(context))
    assert rank_of("exact", 1, instances, data, student, batch, seed=1)[0].tolist() == whole.tolist()
    assert asked == [2, 2, 1]


def test_lists_scored_with_the_batch_give_the_loss_and_gradients_of_lists_scored_alone(data, instances):
    student, batch = model(2).eval(), batch_of(instances, [0, 20, 50, 1, 2, 51])
    _, distillation = rank_of("shared", 20, instances, data, student, batch, seed=1)
    found = []
    for wants in (distillation.wants, lambda batch: None):
        distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
        distillation.wants = wants
        base, distilled = batch_loss(student, distillation, batch, 0, "mean")
        found.append((base, distilled, *torch.autograd.grad(base.sum() + distilled, list(student.parameters()))))
    torch.testing.assert_close(*found)
    assert distilled > 0.01


@pytest.mark.parametrize("estimate", ["shared", "instance"])
def test_sampled_ranks_estimate_the_exact_one(estimate):
    """Mean of many draws against n_items * (share of unseen items above), the quantity of the official formula.

    Half of the items are seen and score above everything: a rank that counted them would be far off.
    """
    n_items, samples, draws = 60, 10, 3000  # 60 / 10 is whole: 'instance' loses nothing to the floor
    scores = torch.cat([torch.linspace(5, 4, 30), torch.linspace(3, -3, 30)])
    chosen, exact = torch.tensor([[31, 38, 45, 59]]), torch.tensor([[1, 8, 15, 29]])
    logits = scores[chosen]
    seen = SeenItems(torch.arange(30), torch.tensor([0, 30]), n_items)
    assert exact_rank(chosen, scores[None], (torch.zeros(30, dtype=torch.long), torch.arange(30))).tolist() == exact.tolist()
    generator = stream(7, "distillation")
    if estimate == "instance":
        items = unseen_items(torch.zeros(draws, dtype=torch.long), samples, seen, generator)
        valid = None
    else:
        items = shared_items(draws, samples, n_items, generator)
        valid = ~seen.contains(torch.zeros(draws, dtype=torch.long), items)
        assert 0.3 < valid.double().mean() < 0.7
    ranks = sampled_rank(logits.expand(draws, -1), scores[items], valid, n_items).double()
    if valid is not None:  # 1 in 1700 samples holds seen items only and says nothing
        ranks = ranks[valid.any(1)]
    expected = exact[0].double() * n_items / 30
    error = 4 * ranks.std(0) / math.sqrt(len(ranks))
    floor = 0 if estimate == "instance" else 1
    assert (ranks.mean(0) <= expected + error).all()
    assert (ranks.mean(0) >= expected - error - floor).all()
    assert (error < 0.15 * expected.clamp(min=6)).all()  # the test can tell: 15 % off would show


@pytest.mark.parametrize("estimate", ["shared", "instance"])
def test_estimates_inside_the_method_average_to_the_exact_rank(data, instances, estimate):
    student, batch = model(2).eval(), batch_of(instances, [0, 20, 50])
    exact, _ = rank_of("exact", 1, instances, data, student, batch, seed=1)
    unseen = torch.tensor([N_ITEMS - len(seen_by(data, user)) for user in batch.queries.user.tolist()])[:, None]
    expected = exact.double() * N_ITEMS / unseen
    drawn = torch.stack([rank_of(estimate, 20, instances, data, student, batch, seed)[0] for seed in range(250)]).double()
    error = 4 * drawn.std(0) / math.sqrt(len(drawn)) + 0.01
    assert (drawn.mean(0) <= expected + error).all()
    assert (drawn.mean(0) >= expected - error - 1).all()
    assert expected.max() > 15 and error.max() < 3


@torch.no_grad()
@pytest.mark.parametrize("estimate", ["shared", "instance"])
def test_an_item_never_stands_above_itself_by_rounding(data, instances, estimate):
    """The list's scores come from one product and the sample's from another: here they differ, the first being lower."""
    student, batch = model(2).eval(), batch_of(instances, [0, 20, 50])
    context = exactly(student.encode(batch.queries))
    samples = N_ITEMS if estimate == "shared" else 400  # every unseen item is in the sample
    _, distillation = rank_of(estimate, samples, instances, data, student, batch, seed=1)
    lists = distillation.lists.of(batch)
    logits = student.score(context, lists)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    expected = distillation.rank(student, batch, 0, context, logits)
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation"))
    users = batch.queries.user.tolist()
    rows = [[item in seen_by(data, user) for item in row] for user, row in zip(users, lists.tolist(), strict=True)]
    seen = torch.tensor(rows)
    assert (~seen).sum() > 5
    lowered = distillation.rank(student, batch, 0, context, logits - 1e-4)
    assert torch.equal(lowered[~seen], expected[~seen])


@torch.no_grad()
def test_every_step_of_an_epoch_has_its_own_shared_sample_without_seen_items(data, instances):
    student, batch = model(2).eval(), batch_of(instances, [3, 40])
    context = exactly(student.encode(batch.queries))
    scores = student.score_all(context).tolist()
    _, distillation = rank_of("shared", 8, instances, data, student, batch, seed=5)
    ranks = []
    for step in range(3):  # one after the other: nothing of a step may be left over in the next
        rank = distillation.rank(student, batch, step, context, student.score(context, distillation.lists.of(batch)))
        for b, user in enumerate(batch.queries.user.tolist()):
            sample = [j for j in distillation.samples[step].tolist() if j not in seen_by(data, user)]
            for c, item in enumerate(distillation.lists.items[batch.index[b]].tolist()):
                n = sum(scores[b][j] > scores[b][item] for j in sample)
                assert rank[b, c] == n * N_ITEMS // len(sample)
        ranks.append(rank)
    assert not torch.equal(ranks[0], ranks[1])


# The whole step, slowly -----------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def official_step(scores, lists, dynamics, K, lam, mu, epoch, dynamic_start_epoch, n_real_items):
    """rd.md section 3, 'Per batch', in plain Python: (loss of distillation, weights). scores[b][item] of the student."""
    static = [math.exp(-r / lam) for r in range(1, K + 1)]
    static = [w / sum(static) for w in static]
    losses, all_weights = [], []
    for b, candidates in enumerate(lists):
        weights = []
        for c, candidate in enumerate(candidates):
            if epoch > dynamic_start_epoch:
                n = sum(scores[b][dynamic] > scores[b][candidate] for dynamic in dynamics[b])
                rank = math.floor(n_real_items * n / len(dynamics[b]))
                weights.append(max(math.tanh(mu * (rank - c)), 0) * static[c])
            else:
                weights.append(static[c])
        losses.append(sum(w * -math.log(sigmoid(scores[b][item])) for w, item in zip(weights, candidates, strict=True)))
        all_weights.append(weights)
    return sum(losses) / len(losses), np.mean(all_weights, axis=0)


@pytest.mark.parametrize("estimate", ["instance", "shared"])
@pytest.mark.parametrize("epoch", [2, 3])
def test_a_step_equals_the_official_one(data, instances, estimate, epoch):
    K, lam, mu, samples, alpha = 5, 1.5, 0.05, 12, 0.7
    hybrid = Hybrid(Position(lam=lam), Discrepancy(mu=mu, samples=samples, estimate=estimate), start_epoch=3)
    distillation = RankingDistillation(RDSettings(K=K, weights=hybrid, weight=alpha))
    distillation.prepare(model(1), instances)
    student, batch = model(2).train(), batch_of(instances, [4, 17, 44, 60])
    distillation.begin_epoch(student, epoch, 3, stream(9, "distillation", epoch))
    torch.manual_seed(3)
    context = exactly(student.encode(batch.queries))  # with dropout, once: base loss, lists and ranks share the mask
    loss = distillation.loss(student, batch, 1, context)

    users = batch.queries.user
    if estimate == "instance":
        dynamics = unseen_items(users, samples, instances.seen, stream(9, "distillation", epoch)).tolist()
    else:
        shared = shared_items(3, samples, N_ITEMS, stream(9, "distillation", epoch))[1].tolist()
        dynamics = [[j for j in shared if j not in seen_by(data, user)] for user in users.tolist()]
    lists = slow_lists(model(1), data, instances, K, "target")
    slow, weights = official_step(
        student.score_all(context).tolist(), [lists[i] for i in batch.index.tolist()], dynamics, K, lam, mu,
        epoch=epoch, dynamic_start_epoch=2, n_real_items=N_ITEMS,
    )  # fmt: skip
    assert loss.item() == pytest.approx(alpha * slow, rel=1e-5)
    assert distillation.log()["weights"] == pytest.approx(weights.tolist(), abs=2e-6)
    assert 0 < loss.item() and (np.count_nonzero(weights) >= 3)


def test_the_logged_weights_are_a_mean_over_queries_whatever_the_batches(instances):
    """A short last batch counts by its queries."""
    logged = []
    weights = Discrepancy(mu=0.01, estimate="exact")  # nothing is drawn
    student = model(2).eval()
    for size in (50, 7):
        distillation = RankingDistillation(RDSettings(K=5, weights=weights))
        distillation.prepare(model(1), instances)
        distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
        for step, index in enumerate(torch.arange(51).split(size)):
            batch = batch_of(instances, index.tolist())
            distillation.loss(student, batch, step, student.encode(batch.queries))
        logged.append(distillation.log()["weights"])
    assert logged[0] == pytest.approx(logged[1], abs=2e-6) and max(logged[0]) > 1e-3


def test_a_rank_sample_larger_than_the_catalogue_is_refused_before_training(instances):
    """And not in the first epoch that ranks, the eleventh by default."""
    for weights in (Hybrid(discrepancy=Discrepancy(samples=N_ITEMS + 1)), Discrepancy(samples=N_ITEMS + 1)):
        with pytest.raises(ValueError, match=f"samples must be <= {N_ITEMS}, .* got {N_ITEMS + 1}: .* estimate='exact'"):
            RankingDistillation(RDSettings(K=3, weights=weights)).prepare(model(1), instances)
    for weights in (Discrepancy(samples=N_ITEMS), Discrepancy(samples=N_ITEMS + 1, estimate="instance"), Equal()):
        RankingDistillation(RDSettings(K=3, weights=weights)).prepare(model(1), instances)


@pytest.mark.parametrize("estimate", ["shared", "instance", "exact"])
@pytest.mark.parametrize("scheme", [Discrepancy, Hybrid])
def test_no_gradient_flows_through_the_weights(instances, scheme, estimate):
    samples = {} if estimate == "exact" else {"samples": 15}
    discrepancy = Discrepancy(mu=0.01, **samples, estimate=estimate, normalise=scheme is Discrepancy)
    weights = discrepancy if scheme is Discrepancy else Hybrid(discrepancy=discrepancy, start_epoch=1, normalise=True)
    distillation = RankingDistillation(RDSettings(K=5, weights=weights))
    distillation.prepare(model(1), instances)
    student, batch = model(2).eval(), batch_of(instances, [4, 17, 44])
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    parameters = [p for name, p in student.named_parameters()]
    got = torch.autograd.grad(distillation.loss(student, batch, 0, context), parameters, retain_graph=True)

    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    logits = student.score(context, distillation.lists.of(batch))
    rank = distillation.rank(student, batch, 0, context, logits)
    assert not rank.requires_grad
    constant = weights(5, rank, 1).clone()
    expected = torch.autograd.grad((constant * -torch.nn.functional.logsigmoid(logits)).sum(1).mean(), parameters)
    torch.testing.assert_close(got, expected)
    assert max(part.abs().max() for part in got) > 1e-3


def test_the_teacher_is_no_part_of_what_is_trained(instances):
    distillation = RankingDistillation(RDSettings(weights=Equal(), K=3))
    distillation.prepare(model(1), instances)
    assert list(distillation.parameters()) == []
    assert distillation.state_dict() == {}


def test_the_discrepancy_before_the_switch_carries_no_gradient(instances):
    scheme = Hybrid(start_epoch=9, before="discrepancy", discrepancy=Discrepancy(samples=5))
    distillation = RankingDistillation(RDSettings(K=3, weights=scheme))
    distillation.prepare(model(1), instances)
    student, batch = model(2), batch_of(instances, [1, 2, 5])
    distillation.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    context = student.encode(batch.queries)
    logits = student.score(context, distillation.lists.of(batch))
    weights = scheme(3, distillation.rank(student, batch, 0, context.detach(), logits.detach()), 1)
    assert weights.any() and not weights.requires_grad
    parameters = list(student.parameters())
    as_constants = torch.autograd.grad(
        distillation_loss(weights, logits).mean(), parameters, retain_graph=True, allow_unused=True
    )
    for ours, constant in zip(
        torch.autograd.grad(distillation.loss(student, batch, 0, context), parameters, allow_unused=True), as_constants,
        strict=True,
    ):  # fmt: skip
        assert (ours is None) == (constant is None)
        if ours is not None:
            torch.testing.assert_close(ours, constant)


def test_ranks_are_not_asked_for_before_they_are_needed(instances, monkeypatch):
    distillation = RankingDistillation(RDSettings(K=3, weights=Hybrid(start_epoch=2, discrepancy=Discrepancy(samples=5))))
    distillation.prepare(model(1), instances)
    asked = []
    real = distillation.rank
    monkeypatch.setattr(distillation, "rank", lambda *args: asked.append(distillation.epoch) or real(*args))
    student, batch = model(2), batch_of(instances, [1, 2])
    for epoch in (1, 2, 3):
        distillation.begin_epoch(student, epoch, 1, stream(1, "distillation", epoch))
        distillation.loss(student, batch, 0, student.encode(batch.queries))
    assert asked == [2, 3]


# Settings -------------------------------------------------------------------------------------------------------------


BAD = [
    {"K": 0}, {"K": 2.5}, {"exclude": "none"}, {"weight": -1}, {"weight": math.nan},
    {"exclude": "seen", "lists": "random"},  # without effect there: one run would have two keys
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RDSettings(**bad)


def test_the_defaults_are_those_of_the_released_code():
    assert RDSettings() == RDSettings(
        K=10,
        weights=Hybrid(
            Position(lam=1.0, normalise=True),
            Discrepancy(mu=0.1, samples=100, estimate="shared", normalise=False),
            start_epoch=11,
            normalise=False,
        ),
        exclude="target",
        weight=1.0,
    )


# Controls: lists that are not the teacher's ---------------------------------------------------------------------------


class Silent(Caser):
    """A teacher who must not be asked."""

    def encode(self, queries):
        pytest.fail("the teacher was asked")


def control(instances, lists: str, cache=None, K=5, **settings) -> Tensor:
    distillation = RankingDistillation(RDSettings(K=K, weights=Equal(), lists=lists, **settings))
    distillation.prepare(Silent(12, N_ITEMS, CaserSettings(dim=4)), instances, cache=cache)
    made = distillation.lists
    lists = made.items[instances.queries.user] if made.per_user else made.items
    assert lists.dtype == torch.int32 and lists.shape == (len(instances.target), K)
    return lists


@pytest.mark.parametrize("exclude", ["target", "seen"])
def test_popular_lists_hold_the_most_popular_items_but_the_target(data, instances, exclude):
    """Compared by popularity, because equally popular items may stand in any order."""
    counts = np.bincount(data.items, minlength=N_ITEMS).tolist()
    lists = control(instances, "popular", exclude=exclude).tolist()
    cut = 0
    for b, (user, target) in enumerate(zip(instances.queries.user.tolist(), instances.target.tolist(), strict=True)):
        left_out = {target} if exclude == "target" else seen_by(data, user)
        assert left_out.isdisjoint(lists[b]) and len(set(lists[b])) == 5
        best = sorted((counts[item] for item in set(range(N_ITEMS)) - left_out), reverse=True)[:5]
        assert [counts[item] for item in lists[b]] == best
        cut += counts[target] > best[-1]
    assert cut > 10  # popular targets had to be left out


def test_popular_lists_do_not_shrink_with_the_share_of_the_instances(data, instances):
    whole, part = (control(training_data(data, 5, "cpu", full_windows=True, share=share), "popular") for share in (1.0, 0.2))
    kept = training_data(data, 5, "cpu", full_windows=True, share=0.2)
    places = {place: index for index, place in enumerate(instances.queries.end.tolist())}
    assert torch.equal(part, whole[[places[end] for end in kept.queries.end.tolist()]])


def test_random_lists_are_unseen_the_same_at_every_call_and_other_ones_for_every_query(data, instances):
    torch.manual_seed(1)
    lists = control(instances, "random")
    torch.manual_seed(2)
    assert torch.equal(lists, control(instances, "random"))
    for user, row in zip(instances.queries.user.tolist(), lists.tolist(), strict=True):
        assert seen_by(data, user).isdisjoint(row)
    assert len({tuple(row) for row in lists.tolist()}) == len(lists)
    assert len(lists.unique()) == N_ITEMS  # from the whole catalogue


def test_random_lists_favour_no_item(data):
    """Each unseen item is as likely as any other: over 200 queries of a user, 5 items a list."""
    user = torch.zeros(200, dtype=torch.long)
    instances = training_data(data, 5, "cpu", full_windows=True)
    many = TrainingData(instances.queries[user], instances.target[user], instances.seen)
    drawn = torch.bincount(control(many, "random").flatten(), minlength=N_ITEMS)
    unseen = sorted(set(range(N_ITEMS)) - seen_by(data, int(instances.queries.user[0])))
    expected = 1000 / len(unseen)
    assert drawn.sum() == drawn[unseen].sum() == 1000
    assert (drawn[unseen] - expected).abs().max() < 4.5 * math.sqrt(expected)


def test_cached_lists_are_never_taken_for_those_of_another_kind(instances, tmp_path):
    for _ in range(2):
        for exclude in ("target", "seen"):
            theirs = prepared(instances, ListCache(tmp_path), exclude=exclude)
            popular = control(instances, "popular", cache=ListCache(tmp_path), exclude=exclude)
            drawn = control(instances, "random", cache=ListCache(tmp_path))
            assert torch.equal(theirs, prepared(instances, None, exclude=exclude))
            assert torch.equal(popular, control(instances, "popular", exclude=exclude))
            assert torch.equal(drawn, control(instances, "random"))
            assert not torch.equal(theirs, popular) and not torch.equal(theirs, drawn)


def test_an_unknown_kind_of_lists_is_refused_by_name():
    with pytest.raises(ValueError, match="lists must be 'teacher', 'popular' or 'random', got 'best'"):
        RDSettings(lists="best")


class Known(Model):
    """A teacher that names the items 30 to 33 for everybody, in this order, and nothing else."""

    n_items, window = N_ITEMS, 0

    def encode(self, queries):
        return queries.user[:, None]

    def score_all(self, context):
        scores = torch.full((len(context), N_ITEMS), -torch.inf)
        scores[:, 30:34] = torch.arange(4.0, 0.0, -1.0)
        return scores


@pytest.mark.parametrize("exclude", ["target", "seen"])
@pytest.mark.parametrize("weights", [Position(), Discrepancy(mu=0.1, samples=20), Discrepancy(mu=0.1, estimate="exact")])
def test_a_place_where_the_teacher_names_nothing_has_no_weight(data, instances, exclude, weights):
    """Lists of 6 places and a teacher with 4 items: the loss is that of its items alone, in value and gradient."""
    distillation = RankingDistillation(RDSettings(K=6, weights=weights, exclude=exclude))
    distillation.prepare(Known(), instances)
    student = BPRMFSettings(dim=3).build(len(instances.seen.offsets) - 1, N_ITEMS)
    batch = batch_of(instances, list(range(len(instances.target))))
    distillation.begin_epoch(student, 9, 1, stream(1, "distillation"))
    context = student.encode(batch.queries)
    loss = distillation.loss(student, batch, 0, context)
    expected = []
    for row, (user, target) in enumerate(zip(batch.queries.user.tolist(), batch.target.tolist(), strict=True)):
        had = set(seen_by(data, user)) if exclude == "seen" else {target}
        listed = [item for item in (30, 31, 32, 33) if item not in had]
        named = distillation.lists.named(batch)[row]
        assert named.tolist() == [place < len(listed) for place in range(6)]
        assert distillation.lists.of(batch)[row][: len(listed)].tolist() == listed
        expected.append(listed)
    loss.backward(retain_graph=True)
    moved = student.item_factors.weight.grad.abs().sum(1)
    assert math.isfinite(loss.item()) and set(moved.nonzero().flatten().tolist()) <= {30, 31, 32, 33}
    if isinstance(weights, Position):
        w = weights(6, None, 9)
        scores = student.score_all(context)
        slow = sum(w[r] * torch.nn.functional.softplus(-scores[row, item])
                   for row, listed in enumerate(expected) for r, item in enumerate(listed)) / len(expected)  # fmt: skip
        torch.testing.assert_close(loss, slow)


def test_users_who_leave_fewer_items_get_shorter_lists(instances):
    fewest = N_ITEMS - int(instances.seen.offsets.diff().max())
    made = teacher_lists(model(1), instances, fewest + 1, "seen", partial=True)
    lengths = (made.items < N_ITEMS).sum(1)
    left = N_ITEMS - instances.seen.distinct[instances.queries.user]
    assert lengths.tolist() == left.clamp(max=fewest + 1).tolist() and made.padding == N_ITEMS
    had = instances.seen.contains(instances.queries.user, made.items.long().clamp(max=N_ITEMS - 1))
    assert not had[made.items < N_ITEMS].any()


def test_a_method_that_needs_whole_lists_says_so_before_training(instances):
    with pytest.raises(ValueError, match=r"fewer than 6 items for .* \(the shortest: .*\): take no more than that"):
        teacher_lists(Known(), instances, 6, "nothing")


def test_a_teacher_that_names_nothing_is_refused_before_training(instances):
    nothing = Known()
    for missing in (-torch.inf, torch.nan):
        nothing.score_all = lambda context, missing=missing: torch.full((len(context), N_ITEMS), missing)
        with pytest.raises(ValueError, match="the teacher names no item for anybody"):
            RankingDistillation(RDSettings(K=6, weights=Position())).prepare(nothing, instances)
