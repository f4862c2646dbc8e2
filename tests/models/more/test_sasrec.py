"""SASRec against golden values, a slow reference, and what a causal model must not see."""

import math

import numpy as np
import pytest
import torch
from random_data import random_sequences
from torch import nn
from torch.nn import functional as F

from rdcore import fast
from rdcore.data import Interactions, Stage
from rdcore.data.queries import final_queries, training_queries
from rdcore.eval.metrics import evaluate, mean, popularity
from rdcore.losses import log_loss
from rdcore.models import SASRec, SASRecSettings
from rdcore.models.more.sasrec import gbce_loss, sampled_cross_entropy
from rdcore.serve import PaddedQueries
from rdcore.train.loop import Training, make_optimizer, train, training_data

EXAMPLES = {
    "SASRec ce": SASRecSettings(dim=4, window=3, heads=2),
    "SASRec gbce": SASRecSettings(dim=4, window=3, blocks=1, loss="gbce", sampled=5, shared=False, tied=False),
    "SASRec bce pre": SASRecSettings(dim=4, window=3, loss="bce", norm="pre"),
    "SASRec sampled-ce post": SASRecSettings(
        dim=4, window=3, loss="sampled-ce", sampled=5, norm="post"
    ),
}


def built(n_items=18, scale=0.5, **settings) -> SASRec:
    """A model without dropout whose parameters are far from their initial values."""
    torch.manual_seed(0)
    given = {"dim": 6, "window": 5, "heads": 2, "dropout": 0.0} | settings
    model = SASRecSettings(**given).build(1, n_items)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * scale)
    return model


# One head, weights identity, biases 0, no dropout; both positions. The authors' code has the same, to
# rounding in float32: 'pre' and 'post' pmixer/SASRec.pytorch fde8a9c, 'original'
# antklen/sasrec-bert4rec-recsys23 29c272e.
GOLDEN = {
    "pre": [[1.34796911, -1.04443624, -0.30353288], [0.02045507, 1.21438922, -1.23484429]],
    "post": [[1.36654978, -0.99856248, -0.3679873], [-0.15898709, 1.29647437, -1.13748727]],
    "original": [[1.36654978, -0.99856248, -0.3679873], [-0.14643481, 1.29137898, -1.14494417]],
}


@torch.no_grad()
@pytest.mark.parametrize("norm", GOLDEN)
def test_golden_values_of_all_three_forms(norm):
    model = SASRecSettings(dim=3, window=2, blocks=1, dropout=0.0, norm=norm).build(1, 2).double()
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.weight.copy_(torch.eye(3))
    model.item_factors.weight.copy_(torch.tensor([[1, 0, 0.5], [0.5, 1.5, -1]]))
    model.position.weight.copy_(torch.tensor([[0.1, 0.2, 0], [0, 0.1, 0.3]]))
    second = model.encode_history(torch.tensor([[0, 1]]))
    assert second[0].tolist() == pytest.approx(GOLDEN[norm][1], abs=1e-6)
    x = model.item_factors(torch.tensor([[0, 1]])) * 3**0.5 + model.position.weight
    causal = torch.ones(1, 1, 2, 2, dtype=torch.bool).tril()
    both = model.norm(model.blocks[0](x, causal, last=False))
    torch.testing.assert_close(both[0], torch.tensor(GOLDEN[norm]).double(), atol=1e-6, rtol=0)


def slow_encode(model: SASRec, items: list[int]) -> list[float]:
    """One query, without padding: vector by vector, head by head, in float64."""
    state = {name: value.double() for name, value in model.state_dict().items()}
    heads, d, norm = model.settings.heads, model.dim, model.settings.norm
    items = items[-model.window :]

    def layer_norm(x, name):
        centred = x - x.mean()
        scaled = centred / (centred.square().mean() + 1e-8).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x, name):
        return state[f"{name}.weight"] @ x + state[f"{name}.bias"]

    place = state["position.weight"][model.window - len(items) :]
    table = state["item_factors.weight" if model.settings.tied else "inputs.weight"]
    xs = [
        table[i] * math.sqrt(d) + p
        for i, p in zip(items, place, strict=True)
    ]
    for b in range(len(model.blocks)):
        name, out = f"blocks.{b}", []

        def attend(asking, given, name=name):
            q = linear(asking, f"{name}.attention.query")
            ks = [linear(x, f"{name}.attention.key") for x in given]
            vs = [linear(x, f"{name}.attention.value") for x in given]
            parts = []
            for h in range(heads):
                part = slice(h * d // heads, (h + 1) * d // heads)
                weights = torch.stack(
                    [q[part] @ k[part] / math.sqrt(d / heads) for k in ks]
                ).softmax(0)
                parts.append(sum(w * v[part] for w, v in zip(weights, vs, strict=True)))
            return linear(torch.cat(parts), f"{name}.attention.out")

        def feed(x, name=name):
            return linear(linear(x, f"{name}.inner").relu(), f"{name}.outer")

        def norm1(x, name=name):
            return layer_norm(x, f"{name}.norms.0")

        def norm2(x, name=name):
            return layer_norm(x, f"{name}.norms.1")

        for t, x in enumerate(xs):
            past = xs[: t + 1]
            if norm == "pre":
                y = x + attend(norm1(x), [norm1(v) for v in past])
                out.append(y + feed(norm2(y)))
            elif norm == "post":
                y = norm1(x + attend(x, past))
                out.append(norm2(y + feed(y)))
            else:
                y = norm2(norm1(x) + attend(norm1(x), past))
                out.append(y + feed(y))
        xs = out
    return layer_norm(xs[-1], "norm").tolist()


@torch.no_grad()
@pytest.mark.parametrize("norm", GOLDEN)
@pytest.mark.parametrize(("blocks", "tied"), [(1, True), (2, False), (3, True)])
def test_contexts_equal_a_slow_reference_at_every_prefix(norm, blocks, tied):
    model = built(norm=norm, blocks=blocks, tied=tied).eval()
    fit = random_sequences()
    queries, _ = training_queries(fit, 1)
    some = torch.nonzero(queries.end > queries.offsets[queries.user]).squeeze(1)[::7]
    contexts = model.encode(queries[some])
    assert len(some) > 10
    for context, user, end in zip(contexts, queries.user[some], queries.end[some], strict=True):
        items = fit.items[fit.offsets[user] : end].tolist()
        assert context.tolist() == pytest.approx(slow_encode(model, items), abs=2e-4)


@torch.no_grad()
def test_the_length_of_the_padding_and_the_company_of_other_queries_change_nothing():
    model, fit = built().eval(), random_sequences()
    queries = final_queries(fit)
    together = model.encode(queries)
    alone = torch.cat([model.encode(queries[torch.tensor([u])]) for u in range(fit.n_users)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        model.encode_history(queries.history(5)), together, rtol=1e-4, atol=1e-5
    )
    pasts = PaddedQueries(queries.user, queries.history(9), fit.n_items)
    torch.testing.assert_close(model.encode(pasts), together, rtol=1e-4, atol=1e-5)
    assert model.encode(queries[torch.tensor([], dtype=torch.long)]).shape == (0, 6)


@torch.no_grad()
def test_users_with_no_item_or_one_have_finite_contexts():
    fit = Interactions("short", np.array([3]), np.array([0, 0, 1]), 18)
    model = built().eval()
    contexts = model.encode(final_queries(fit))
    assert contexts.isfinite().all() and not torch.equal(contexts[0], contexts[1])
    model.item_factors.weight += 1  # nobody's items say anything about a user without one
    assert torch.equal(model.encode(final_queries(fit))[0], contexts[0])


@torch.no_grad()
def test_later_items_are_not_seen():
    model = built().eval()
    one = Interactions("one", np.array([1, 2, 3, 4]), np.array([0, 4]), 18)
    other = Interactions("other", np.array([1, 2, 9, 8]), np.array([0, 4]), 18)
    contexts = [model.encode(training_queries(fit, 1)[0]) for fit in (one, other)]
    assert torch.equal(contexts[0][:2], contexts[1][:2])
    assert not torch.allclose(contexts[0][2], contexts[1][2])


@torch.no_grad()
def test_without_positions_one_block_sees_a_set_and_two_blocks_an_order():
    """The earlier items [4, 7, 2] and [7, 2, 4], before the same last one."""
    history = torch.tensor([[4, 7, 2, 5], [7, 2, 4, 5]])
    for blocks, same in ((1, True), (2, False)):
        model = built(blocks=blocks).eval()
        model.position.weight.zero_()
        first, second = model.encode_history(history)
        assert torch.allclose(first, second, atol=1e-5) is same


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_scores_are_products_with_the_output_table(tied):
    model, fit = built(tied=tied).eval(), random_sequences()
    context = model.encode(final_queries(fit))
    expected = context @ model.item_factors.weight.T
    torch.testing.assert_close(model.score_all(context), expected, rtol=1e-5, atol=1e-5)
    assert sum(value.numel() for value in model.parameters()) == (
        (1 if tied else 2) * 18 * 6 + 5 * 6 + 2 * (6 * (36 + 6) + 4 * 6) + 2 * 6
    )


def test_golden_losses():
    """gBCE with both t as in asash/gSASRec-pytorch 7e35028; sampled cross-entropy by its definition."""
    positive, negative = torch.tensor([[1.0]]), torch.tensor([[0.5, -0.2]])
    assert gbce_loss(positive, negative, 101, 0.75).item() == pytest.approx(0.5517434, abs=1e-6)
    assert gbce_loss(positive, negative, 101, 0.0).item() == pytest.approx(0.62849251, abs=1e-6)
    with pytest.raises(ValueError, match="n_items must be at least 2, got 1"):
        gbce_loss(positive, negative, 1, 0.75)
    assert sampled_cross_entropy(positive, negative).item() == pytest.approx(0.64591137, abs=1e-6)


def test_properties_of_the_losses():
    """k = N - 1 gives beta 1; with t = 0 gBCE is BCE; equal logits over m items cost ln m."""
    positive, negative = torch.randn(4, 1), torch.randn(4, 9)
    whole = gbce_loss(positive, negative, 10, 1.0)
    torch.testing.assert_close(whole * 10, log_loss(positive, negative))
    torch.testing.assert_close(gbce_loss(positive, negative, 99, 0.0), whole)
    equal = sampled_cross_entropy(torch.zeros(2, 1), torch.zeros(2, 6))
    assert equal.tolist() == pytest.approx([math.log(7)] * 2)
    up = positive.clone().requires_grad_(), negative.clone().requires_grad_()
    for loss in (gbce_loss(*up, 99, 0.75), sampled_cross_entropy(*up)):
        of_positive, of_negative = torch.autograd.grad(loss.sum(), up)
        assert (of_positive < 0).all() and (of_negative > 0).all()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loss", ["ce", "gbce", "sampled-ce", "bce"])
def test_the_loss_of_a_query_by_hand(loss, shared):
    model = built(loss=loss, **({"sampled": 7, "shared": shared} if loss in ("gbce", "sampled-ce") else {}))
    queries, target = training_queries(random_sequences(), 1)
    context = model.encode(queries)
    torch.manual_seed(5)
    found = model.query_loss(queries, context, target, torch.zeros(len(target), 1).long())
    if loss == "bce":
        assert found is None
        return
    scores = context @ model.item_factors.weight.T
    positive = scores.gather(1, target[:, None])
    torch.manual_seed(5)
    drawn = torch.randint(18, (7,) if shared else (len(target), 7))
    negative = scores[:, drawn] if shared else scores.gather(1, drawn)
    expected = {
        "ce": -scores.log_softmax(1).gather(1, target[:, None]).squeeze(1),
        "gbce": gbce_loss(positive, negative, 18, 0.75),
        "sampled-ce": F.cross_entropy(
            torch.cat([positive, negative], 1), torch.zeros_like(target), reduction="none"
        ),
    }[loss]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", GOLDEN)
def test_gradients_reach_every_parameter_and_are_right(norm):
    model = built(n_items=5, dim=4, window=3, blocks=2, norm=norm).double()
    history = torch.tensor([[5, 1, 2], [0, 3, 4]])
    names, values = zip(*model.named_parameters(), strict=True)

    def contexts(*given):
        given = dict(zip(names, given, strict=True))
        return torch.func.functional_call(
            _Encoder(model), {f"model.{k}": v for k, v in given.items()}, (history,)
        )

    assert torch.autograd.gradcheck(contexts, values, fast_mode=True)
    model.query_loss(
        None, model.encode_history(history), torch.tensor([0, 2]), None
    ).sum().backward()
    assert all(
        value.grad.any() for name, value in model.named_parameters() if "key.bias" not in name
    )


class _Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, history):
        return self.model.encode_history(history)


def test_dropout_is_off_in_evaluation_and_on_in_training():
    model, history = built(dropout=0.5), torch.tensor([[1, 2, 3]])
    assert not torch.equal(model.encode_history(history), model.encode_history(history))
    model.eval()
    assert torch.equal(model.encode_history(history), model.encode_history(history))


def test_dropout_is_of_inputs_attention_weights_and_nets(monkeypatch):
    """Three items, two heads; the last of two blocks is asked for one position alone."""
    model, dropped = built(dropout=0.5), []

    def drop(x, p, training):
        dropped.append((*x.shape, p, training))
        return x

    monkeypatch.setattr(fast, "dropout", drop)
    model.encode_history(torch.tensor([[1, 2, 3]]))
    first, last = [(1, 2, 3, 3), (1, 3, 6), (1, 3, 6)], [(1, 2, 1, 3), (1, 1, 6), (1, 1, 6)]
    assert dropped == [(*shape, 0.5, True) for shape in [(1, 3, 6), *first, *last]]


def test_initial_values():
    torch.manual_seed(0)
    model = SASRecSettings(dim=32, window=10).build(3, 500)
    assert model.item_factors.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[1].inner.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert all(not value.any() for name, value in model.named_parameters() if name.endswith("bias"))


def chain(n_users=80, n_items=24, length=10) -> Stage:
    """Every item is followed by the next one of a fixed round; all are equally popular."""
    rng = np.random.RandomState(0)
    following = rng.permutation(n_items)
    start = np.arange(n_users) % n_items
    rows = following[(start[:, None] + np.arange(length + 1)) % n_items]  # (n_users, length + 1)
    fit, judge = (
        Interactions("chain", part.ravel(), np.arange(n_users + 1) * part.shape[1], n_items)
        for part in (rows[:, :-1], rows[:, -1:])
    )
    return Stage("F", fit, judge)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("loss", ["ce", "gbce", "sampled-ce", "bce"])
def test_it_learns_an_order_that_popularity_cannot_see(loss):
    data = chain()
    sampled = {"sampled": 8} if loss in ("gbce", "sampled-ce") else {}
    settings = SASRecSettings(dim=16, window=5, blocks=1, dropout=0.0, loss=loss, **sampled)
    torch.manual_seed(0)
    model = settings.build(data.fit.n_users, data.fit.n_items)
    epochs = 20 if loss == "gbce" else 8  # for long it only lowers all scores
    plan = Training(epochs=epochs, batch_size=64, learning_rate=0.01, weight_decay=0.0, negatives=1)
    train(model, training_data(data.fit, 1, "cpu"), make_optimizer(model, None, plan), plan, seed=1)
    assert mean(evaluate(model, data))["MAP"] > 0.8 > 2 * mean(popularity(data))["MAP"]


@pytest.mark.parametrize(
    "bad",
    [{"dim": 0}, {"heads": 3}, {"window": 0}, {"blocks": 0}, {"dropout": 1.0}, 
     {"norm": "none"}, {"loss": "bpr"}, {"loss": "gbce", "calibration": 1.5}, {"sampled": 5},
     {"loss": "sampled-ce", "calibration": 0.5}, {"loss": "gbce", "sampled": 0},
     {"tied": 1}, {"loss": "gbce", "shared": 0}, {"shared": False}, {"loss": "bce", "sampled": 5}, {"calibration": 0.5}],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=list(bad)[-1]):
        SASRecSettings(**({"dim": 4} | bad))
