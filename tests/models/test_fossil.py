"""Fossil against its formula in slow motion, what a training query may see, and a planted order of the chain."""

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from rdcore.data import Interactions, Stage
from rdcore.data.queries import Queries, final_queries, training_queries
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.losses import bpr_loss, log_loss
from rdcore.models import Fossil, FossilSettings
from rdcore.train.loop import Training, make_optimizer, train, training_data

N_ITEMS = 11
SEQUENCES = [[4, 2, 9, 0, 1, 3, 7, 5], [], [6], [8, 3], [10, 9, 8, 7, 6, 5], [1, 0, 2, 4, 6]]


def interactions(sequences=SEQUENCES, n_items=N_ITEMS) -> Interactions:
    offsets = np.cumsum([0, *map(len, sequences)])
    return Interactions("few", np.array([item for sequence in sequences for item in sequence]), offsets, n_items)


def fossil(n_users=6, n_items=N_ITEMS, **settings) -> Fossil:
    """A Fossil with parameters so large that scores differ by more than rounding."""
    torch.manual_seed(0)
    model = FossilSettings(**({"dim": 4} | settings)).build(n_users, n_items)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
        model.item.weight[n_items] = 0
    return model


def every_query(fit: Interactions) -> Queries:
    """Training queries at every point of every sequence, the first item's without a past, and those of evaluation."""
    training, final = training_queries(fit, 0)[0], final_queries(fit)
    return Queries(
        torch.cat([training.user, final.user]), torch.cat([training.end, final.end]),
        training.items, training.offsets, training.padding,
    )  # fmt: skip


def slow_scores(model: Fossil, settings: FossilSettings, sequence: list[int], user: int, place: int) -> list[float]:
    """Scores of all items for a query that stands before the item at `place` of the user's sequence, term by term."""
    state = {name: value.double().tolist() for name, value in model.state_dict().items()}
    P, Q, beta = state["item.weight"], state["item_factors.weight"], state["item_bias"]
    long_term = sequence[:place] if settings.span == "past" else sequence[:place] + sequence[place + 1 :]
    scores = []
    for j in range(model.n_items):
        score = beta[j]
        for d in range(settings.dim):
            taste = sum(P[i][d] for i in long_term)
            if long_term:
                taste /= len(long_term) ** settings.alpha
            chain = 0.0
            for k in range(1, settings.order + 1):  # counted back from the query
                if place - k >= 0:
                    weight = state["markov"][settings.order - k] + state["user_markov.weight"][user][settings.order - k]
                    chain += weight * P[sequence[place - k]][d]
            score += (taste + chain) * Q[j][d]
        scores.append(score)
    return scores


@torch.no_grad()
@pytest.mark.parametrize("alpha", [0, 0.2, 1.0])
@pytest.mark.parametrize("span", ["past", "all"])
@pytest.mark.parametrize("order", [1, 3, 5])
def test_scores_equal_the_formula_in_a_slow_loop(order, span, alpha):
    settings = FossilSettings(dim=4, order=order, span=span, alpha=alpha)
    model, queries = fossil(order=order, span=span, alpha=alpha), every_query(interactions())
    places = (queries.end - queries.offsets[queries.user]).tolist()
    slow = torch.tensor([
        slow_scores(model, settings, SEQUENCES[user], user, place)
        for user, place in zip(queries.user.tolist(), places, strict=True)
    ])  # fmt: skip
    context = model.encode(queries)
    assert context.shape == (len(queries), 4) and {0, 1, 8} <= set(places)
    torch.testing.assert_close(model.score_all(context), slow, rtol=1e-4, atol=1e-5)
    some = torch.randint(N_ITEMS, (len(queries), 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.score(context, some), slow.gather(1, some), rtol=1e-4, atol=1e-5)
    alone = torch.cat([model.encode(queries[i : i + 1]) for i in range(len(queries))])
    torch.testing.assert_close(context, alone)


@torch.no_grad()
def test_the_long_term_sum_is_worked_out_by_hand():
    """Two items at distance 1 and 2, tables of one number: (2 + 3) / 2^alpha + 10 * 3 + 100 * 2, times 7, plus 0.5."""
    model = fossil(1, 3, dim=1, order=2, alpha=0.5)
    model.item.weight.copy_(torch.tensor([[2.0], [3.0], [5.0], [0.0]]))
    model.markov.copy_(torch.tensor([99.0, 11.0]))
    model.user_markov.weight.copy_(torch.tensor([[1.0, -1.0]]))
    model.item_factors.weight.fill_(7.0)
    model.item_bias.fill_(0.5)
    context = model.encode(final_queries(interactions([[0, 1]], 3)))
    assert model.score_all(context)[0].tolist() == pytest.approx([7 * (5 / math.sqrt(2) + 30 + 200) + 0.5] * 3)


# Parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "published"), [(50, "1.48M"), (20, "0.64M")])
def test_gowallas_parameter_count_less_the_padding_convention(dim, published):
    users, items = 13_149, 14_009
    with torch.device("meta"):  # shapes without the memory
        parts = {name: tuple(p.shape) for name, p in Fossil(users, items, FossilSettings(dim=dim)).named_parameters()}
    total = sum(math.prod(shape) for shape in parts.values())
    paper = 2 * (items + 1) * dim + (items + 1) + 5 * users + 5
    assert f"{paper / 1e6:.2f}M" == published
    # The paper's tables and bias hold a padding row; ours holds that of P alone, fixed at zero.
    assert total == paper - (dim + 1)
    assert total - dim == 2 * items * dim + items + 5 * users + 5
    assert parts["item.weight"] == (items + 1, dim) and parts["item_factors.weight"] == (items, dim)
    assert parts["user_markov.weight"] == (users, 5) and parts["markov"] == (5,)


def test_initial_standard_deviations():
    torch.manual_seed(0)
    model = FossilSettings(dim=40).build(2000, 800)
    tables = {"P": model.item.weight[:-1], "Q": model.item_factors.weight, "eta^u": model.user_markov.weight}
    for name, table in tables.items():
        error = 4 / math.sqrt(2 * table.numel())  # four standard errors of a standard deviation
        assert abs(table.std().item() * 40 - 1) < error, name
        assert abs(table.mean().item()) < 4 / 40 / math.sqrt(table.numel()), name
    for zero in (model.markov, model.item_bias, model.item.weight[-1]):
        assert zero.abs().max() == 0


def test_the_padding_row_gets_no_gradient_and_stays_zero_through_training():
    fit = interactions()
    model, settings = fossil(), Training(epochs=3, batch_size=4, weight_decay=0.1)
    queries, target = training_queries(fit, 5, full_windows=True)
    assert (queries.history(5) == N_ITEMS).any()
    model.score(model.encode(queries), target[:, None]).sum().backward()
    assert model.item.weight.grad[N_ITEMS].abs().max() == 0 < model.item.weight.grad[:N_ITEMS].abs().max()
    before = model.item.weight[:N_ITEMS].clone()
    train(model, training_data(fit, 5, "cpu", full_windows=True), make_optimizer(model, None, settings), settings, seed=1)
    assert model.item.weight[N_ITEMS].abs().max() == 0 < (model.item.weight[:N_ITEMS] - before).abs().min()


@pytest.mark.parametrize("loss", ["log", "bpr"])
@pytest.mark.parametrize("span", ["past", "all"])
def test_gradcheck_in_float64_for_every_parameter(span, loss):
    model = fossil(dim=2, order=2, alpha=0.3, span=span, loss=loss).double()
    queries = every_query(interactions())[torch.tensor([0, 1, 5, 8, 10, 20, -1])]
    items = torch.tensor([[0, 3, 9]]).expand(7, 3)
    names, tables = zip(*model.named_parameters(), strict=True)

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fossil = model

        def forward(self):
            logits = model.score(model.encode(queries), items)
            return model.base_loss(logits[:, :1], logits[:, 1:])

    def of(*given: torch.Tensor) -> torch.Tensor:
        state = {f"fossil.{name}": table for name, table in zip(names, given, strict=True)}
        # The padding row is a constant: its gradient is defined to be none.
        state["fossil.item.weight"] = torch.cat([state["fossil.item.weight"], torch.zeros(1, 2, dtype=torch.float64)])
        return functional_call(Loss(), state, ())

    free = [table[:N_ITEMS] if name == "item.weight" else table for name, table in zip(names, tables, strict=True)]
    assert torch.autograd.gradcheck(of, [table.detach().clone().requires_grad_() for table in free])


def test_the_named_loss_is_the_one_that_is_used():
    positive, negative = torch.tensor([[0.3], [-2.0]]), torch.tensor([[1.0, -1.0], [0.2, 3.0]])
    torch.testing.assert_close(fossil(loss="log").base_loss(positive, negative), log_loss(positive, negative))
    torch.testing.assert_close(fossil(loss="bpr").base_loss(positive, negative), bpr_loss(positive, negative))
    assert not torch.allclose(log_loss(positive, negative), bpr_loss(positive, negative))


# What a query sees ----------------------------------------------------------------------------------------------------


def contexts(model: Fossil, changed: dict[int, int]) -> torch.Tensor:
    """Contexts of user 0's training queries (targets at places 5, 6, 7), with the items at some places exchanged."""
    first = [changed.get(place, item) for place, item in enumerate(SEQUENCES[0])]
    return model.encode(training_queries(interactions([first, *SEQUENCES[1:]]), 5, full_windows=True)[0][:3])


@torch.no_grad()
@pytest.mark.parametrize("span", ["past", "all"])
def test_a_training_query_never_sees_its_target(span):
    model = fossil(span=span)
    plain = contexts(model, {})
    for query, place in enumerate((5, 6, 7)):
        for item in (8, 10):
            assert torch.equal(contexts(model, {place: item})[query], plain[query])


@torch.no_grad()
def test_the_past_ends_before_the_target_and_all_goes_on_behind_it():
    past, whole = fossil(span="past"), fossil(span="all")
    for query, behind in ((0, 6), (0, 7), (1, 7)):
        assert torch.equal(contexts(past, {behind: 10})[query], contexts(past, {})[query])
        assert (contexts(whole, {behind: 10}) - contexts(whole, {}))[query].abs().max() > 1e-2
    for model in (past, whole):  # both look back on more than the chain holds
        assert (contexts(model, {0: 10}) - contexts(model, {}))[1:].abs().amax(1).min() > 1e-2


@torch.no_grad()
def test_a_query_of_evaluation_looks_back_on_everything_with_either_span():
    fit = interactions()
    one, two = fossil(span="past"), fossil(span="all")
    assert torch.equal(one.encode(final_queries(fit)), two.encode(final_queries(fit)))
    last = fit.select(np.arange(len(fit)) != 7)  # without user 0's last item
    difference = (one.encode(final_queries(last)) - one.encode(final_queries(fit))).abs().amax(1)
    assert difference[0] > 1e-2 and difference[1:].max() == 0


@torch.no_grad()
def test_a_user_with_nothing_behind_him_gets_the_items_biases():
    model = fossil()
    context = model.encode(final_queries(interactions()))
    assert context[1].abs().max() == 0
    torch.testing.assert_close(model.score_all(context)[1], model.item_bias)


# Does it learn --------------------------------------------------------------------------------------------------------


def chains(lag: int, n_users=500, n_items=60, length=15, seed=0) -> Stage:
    """Sequences without re-visits in which an item is the successor, on one ring, of the item `lag` places back, with
    probability 0.9, and else any. The last item of everybody is held out."""
    rng = np.random.default_rng(seed)
    ring = rng.permutation(n_items)
    successor = np.empty(n_items, dtype=int)
    successor[ring] = np.roll(ring, -1)
    sequences = []
    for _ in range(n_users):
        sequence = []
        while len(sequence) < length:
            follows = len(sequence) >= lag and rng.random() < 0.9
            item = successor[sequence[-lag]] if follows else rng.integers(n_items)
            if item not in sequence:
                sequence.append(int(item))
        sequences.append(sequence)
    whole = interactions(sequences, n_items)
    last = whole.positions() == length - 1
    return Stage("F", whole.select(~last), whole.select(last))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("lag", "loss"), [(3, "log"), (1, "log"), (5, "bpr")])
def test_a_planted_markov_order_is_recovered(lag, loss):
    """Only the item `lag` places back tells the next one: its weight must grow, and the next item be found."""
    data = chains(lag)
    torch.manual_seed(0)
    model = FossilSettings(dim=16, loss=loss).build(data.fit.n_users, data.fit.n_items)
    settings = Training(epochs=10, batch_size=128, learning_rate=0.02)
    train(model, training_data(data.fit, 5, "cpu", full_windows=True), make_optimizer(model, None, settings), settings, seed=1)
    weights = (model.markov + model.user_markov.weight.mean(0)).abs().detach().flip(0)  # by distance, nearest first
    others = torch.cat([weights[: lag - 1], weights[lag:]])
    assert weights[lag - 1] > 2 * others.max()
    assert mean(evaluate(model, data))["HR@3"] > 5 * mean(popularity(data))["HR@3"]


# Dropout --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", ["past", "all"])
def test_the_whole_context_is_dropped_in_training_only(span):
    plain, dropping = fossil(span=span), fossil(span=span, dropout=0.5)
    queries = every_query(interactions())
    expected = plain.encode(queries)
    assert torch.equal(dropping.eval().encode(queries), expected) and torch.equal(plain.train().encode(queries), expected)
    kept = dropping.train().encode(queries)
    assert torch.equal(kept, torch.where(kept == 0, 0, 2 * expected))  # what stays is doubled
    assert 0.3 < (kept == 0).float().mean() - (expected == 0).float().mean() / 2 < 0.7


# Settings -------------------------------------------------------------------------------------------------------------


BAD = [
    {"dim": 0}, {"dim": 2.0}, {"dim": True}, {"order": 0}, {"order": "5"}, {"alpha": -0.1}, {"alpha": 1.1}, {"alpha": "1"},
    {"alpha": math.nan}, {"span": "future"}, {"loss": "hinge"}, {"dropout": 1}, {"dropout": -0.1},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FossilSettings(**({"dim": 4} | bad))
