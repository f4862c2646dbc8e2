"""The best of many scores against a plain topk, and how many queries are ranked at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdcore.data import stage
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.datasets import synthetic
from rdcore.distill.lists import exemplary_rankings
from rdcore.eval import topk as ranking
from rdcore.eval.metrics import evaluate
from rdcore.eval.topk import BLOCK_BYTES, block_rows
from rdcore.fast import GROUP, largest
from rdcore.models import BPRMF, BPRMFSettings
from rdcore.store.agreement import agreement
from rdcore.store.groups import by_item_popularity
from studies.rd.timing import top_lists


@given(st.integers(1, 5), st.integers(0, GROUP - 1), st.integers(0, 2**31), st.integers(1, 12))
def test_the_largest_are_those_of_topk(k, behind, seed, distinct):
    """Scores with few different values, some of them excluded: everything that topk alone can decide is left to it."""
    generator = torch.Generator().manual_seed(seed)
    n = 16 * (k + 1) * GROUP + behind
    scores = torch.randn((3, n), generator=generator)
    scores[1] = torch.randint(distinct, (n,), generator=generator).float()
    scores[2, torch.rand(n, generator=generator) < 0.999] = -torch.inf
    values, places = largest(scores.clone(), k)
    expected = scores.topk(k, dim=1)
    assert torch.equal(values, expected.values) and torch.equal(places, expected.indices)


def test_the_largest_may_stand_anywhere():
    n = 32 * GROUP + 3
    scores = torch.randn(n)
    for place in (0, GROUP - 1, GROUP, n - 4, n - 3, n - 1):
        row = scores.clone()
        row[place] = 100
        assert largest(row[None], 1)[1].tolist() == [[place]]


def test_few_scores_or_many_wanted_are_topks(monkeypatch):
    """The two ways are told apart, so that the test above tests the one that it means."""
    calls = []
    plain = torch.Tensor.topk
    monkeypatch.setattr(torch.Tensor, "topk", lambda s, *rest, **more: calls.append(s.shape[1]) or plain(s, *rest, **more))
    largest(torch.randn(2, 32 * GROUP), 1)
    assert calls == [32, 2 * GROUP]
    calls.clear()
    largest(torch.randn(2, 32 * GROUP), 2)
    assert calls == [32 * GROUP]


@pytest.mark.parametrize(
    ("items", "most", "rows"), [(14_009, 2048, 2048), (28_593, 2048, 2048), (10**6, 2048, 67), (10**9, 512, 1)]
)
def test_blocks_are_bounded_in_bytes(items, most, rows):
    """The data sets of the papers are ranked in the blocks that they always were."""
    assert block_rows(items, most) == rows
    assert rows == 1 or 4 * items * rows <= BLOCK_BYTES
    assert block_rows(10**6, most, copies=3) == min(most, 22)


def exact(seed: int) -> BPRMF:
    """Scores without rounding errors, which would depend on how many queries a product has."""
    model = BPRMFSettings(dim=6, bias=True).build(23, 40)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in model.parameters():
            table.copy_((torch.randn(table.shape, generator=generator) * 256).round() / 256)
    return model


def test_every_ranking_goes_by_blocks_of_bytes_and_they_change_nothing(monkeypatch):
    data = stage(synthetic.generate(n_users=23, n_items=40, min_length=8, max_length=20), "F")
    model, other = exact(0), exact(1)
    queries = final_queries(data.fit)
    seen = SeenItems(queries.items, queries.offsets, 40)
    sizes, plain = [], BPRMF.score_all
    monkeypatch.setattr(BPRMF, "score_all", lambda self, context: sizes.append(len(context)) or plain(self, context))

    def everything() -> list:
        lists = exemplary_rankings(model, queries, 5, target=None, seen=seen), top_lists(model, queries, seen)
        users = {name: values.tolist() for name, values in evaluate(model, data).items()}
        return [*(each.tolist() for each in lists), users, by_item_popularity(model, data), agreement(model, other, data)]

    whole = everything()
    assert set(sizes) == {23} and len(sizes) == 6
    sizes.clear()
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * 40 * 5)
    assert everything() == whole
    assert set(sizes) == {5, 3} and len(sizes) == 6 * 5
