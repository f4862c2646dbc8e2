"""Metrics against an obvious loop, against ir-measures, and against values worked out by hand."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, nDCG

from rdcore.eval import metrics
from rdcore.store.agreement import overlap_at, rank_correlation

CUTOFFS = (3, 5, 10)


def ragged(lists):
    """Lists of items, one a user -> (flat, offsets)."""
    flat = torch.tensor([x for one in lists for x in one], dtype=torch.int64)
    return flat, torch.tensor(np.r_[0, np.cumsum([len(one) for one in lists])])


def pairs(lists):
    """Lists of items, one a user -> (rows, items)."""
    return (
        torch.tensor([u for u, one in enumerate(lists) for _ in one], dtype=torch.int64),
        torch.tensor([x for one in lists for x in one], dtype=torch.int64),
    )


def ranks_of(scores, seen, targets):
    """`target_ranks` on a copy -> one list a user."""
    flat, offsets = ragged(targets)
    ranks = metrics.target_ranks(torch.as_tensor(scores).clone(), pairs(seen), (flat, offsets))
    return [ranks[lo:hi].tolist() for lo, hi in zip(offsets[:-1], offsets[1:], strict=True)]


def evaluate(scores, seen, targets):
    flat, offsets = ragged(targets)
    scores = torch.as_tensor(scores).clone()
    return metrics.per_user(metrics.target_ranks(scores, pairs(seen), (flat, offsets)), offsets)


def slow_ranking(scores, seen, targets):
    """All unseen items of one user from best to worst, targets behind everything that equals them."""
    unseen = [i for i in range(len(scores)) if i not in seen]
    return sorted(unseen, key=lambda i: (-scores[i], i in targets))


def slow_metrics(ranking, targets):
    """One user, term by term."""
    hit = [int(i in targets) for i in ranking]
    out = {}
    for n in CUTOFFS:
        k = min(len(targets), n)
        ideal = sum(1 / np.log2(i + 2) for i in range(k))
        out[f"P@{n}"] = sum(hit[:n]) / n
        out[f"R@{n}"] = sum(hit[:n]) / len(targets)
        out[f"HR@{n}"] = float(any(hit[:n]))
        out[f"nDCG@{n}"] = sum(h / np.log2(i + 2) for i, h in enumerate(hit[:k])) / ideal
        out[f"nDCG@{n}-standard"] = sum(h / np.log2(i + 2) for i, h in enumerate(hit[:n])) / ideal
    out["MRR"] = 1 / (1 + hit.index(1))
    out["AP"] = sum(sum(hit[: i + 1]) / (i + 1) for i, h in enumerate(hit) if h) / len(targets)
    return out


@st.composite
def blocks(draw, min_targets=1, tied=True):
    """A block of users: scores, seen items, targets (disjoint from seen)."""
    n_users, n_items = draw(st.integers(1, 4)), draw(st.integers(12, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # A coarse grid makes ties frequent.
    scores = rng.integers(-6, 7, (n_users, n_items)) / 2 if tied else rng.normal(size=(n_users, n_items))
    seen, targets = [], []
    for _ in range(n_users):
        n_seen, n_targets = rng.integers(0, 5), rng.integers(min_targets, 7)
        drawn = rng.permutation(n_items)
        seen.append(drawn[:n_seen].tolist())
        targets.append(drawn[n_seen : n_seen + n_targets].tolist())
    return scores, seen, targets


@given(blocks())
def test_ranks_and_metrics_equal_the_slow_loop(block):
    scores, seen, targets = block
    ranks, users = ranks_of(*block), evaluate(*block)
    for u in range(len(scores)):
        ranking = slow_ranking(scores[u], seen[u], targets[u])
        assert ranks[u] == [1 + r for r, i in enumerate(ranking) if i in targets[u]]
        expected = slow_metrics(ranking, targets[u])
        assert users.keys() == expected.keys()
        for name, value in expected.items():
            assert users[name][u] == pytest.approx(value, abs=1e-12), name


@given(blocks())
def test_both_ways_of_counting_agree(block):
    """The accelerator's way runs on the CPU as well; one chunk a target."""
    scores, seen, targets = block
    scores = torch.as_tensor(scores)
    flat, offsets = ragged(targets)
    rows = torch.repeat_interleave(torch.arange(len(scores)), offsets.diff())
    values = scores[rows, flat]
    whole = metrics._count_by_chunk(scores, rows, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_SCORES_PER_CHUNK", 1)
        assert torch.equal(metrics._count_by_chunk(scores, rows, values), whole)
    assert torch.equal(metrics._count_by_row(scores, rows, values), whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_gives_the_same_ranks():
    rng = np.random.default_rng(0)
    scores = torch.tensor(rng.integers(0, 50, (64, 500)), dtype=torch.float32)
    drawn = [rng.permutation(500) for _ in range(64)]
    seen, targets = pairs([d[:20] for d in drawn]), ragged([d[20 : 20 + i] for i, d in enumerate(drawn)])
    on_gpu = metrics.target_ranks(scores.cuda(), seen, targets)
    assert on_gpu.is_cuda and torch.equal(on_gpu.cpu(), metrics.target_ranks(scores, seen, targets))


@given(blocks())
def test_values_lie_between_0_and_1(block):
    for name, values in evaluate(*block).items():
        assert np.all((values >= 0) & (values <= 1)), name


@given(blocks(), st.integers(0, 2**32 - 1))
def test_raising_a_target_never_lowers_ap(block, seed):
    scores, seen, targets = block
    before = evaluate(scores, seen, targets)["AP"]
    rng = np.random.default_rng(seed)
    raised = scores.copy()
    for u, one in enumerate(targets):
        raised[u, rng.choice(one)] += rng.integers(1, 8) / 2
    assert np.all(evaluate(raised, seen, targets)["AP"] >= before - 1e-12)


@given(blocks(), st.integers(0, 2**32 - 1))
def test_renaming_items_and_reordering_users_changes_nothing(block, seed):
    scores, seen, targets = block
    rng = np.random.default_rng(seed)
    users, items = rng.permutation(scores.shape[0]), rng.permutation(scores.shape[1])
    renamed = np.empty_like(scores)
    renamed[:, items] = scores
    moved = evaluate(
        renamed[users],
        [[items[i] for i in seen[u]] for u in users],
        [[items[i] for i in rng.permutation(targets[u])] for u in users],
    )
    for name, values in evaluate(*block).items():
        np.testing.assert_array_equal(moved[name], values[users], err_msg=name)


@given(blocks(min_targets=3))
def test_official_ndcg_at_3_is_the_standard_one_from_three_targets_on(block):
    users = evaluate(*block)
    np.testing.assert_array_equal(users["nDCG@3"], users["nDCG@3-standard"])


@given(blocks(tied=False))
def test_agrees_with_ir_measures(block):
    """ir-measures ranks what it is given: only unseen items are handed to it."""
    scores, seen, targets = block
    measures = {AP: "AP", RR: "MRR"}
    for n in CUTOFFS:
        measures |= {P @ n: f"P@{n}", R @ n: f"R@{n}", nDCG @ n: f"nDCG@{n}-standard"}
    qrels = {str(u): {str(i): 1 for i in one} for u, one in enumerate(targets)}
    run = {str(u): {str(i): float(row[i]) for i in range(len(row)) if i not in seen[u]} for u, row in enumerate(scores)}
    users = evaluate(*block)
    for result in ir_measures.iter_calc(list(measures), qrels, run):
        ours = users[measures[result.measure]][int(result.query_id)]
        assert ours == pytest.approx(result.value, abs=1e-9), str(result.measure)


@pytest.mark.parametrize(
    ("ranks", "standard"),
    [([2], 0.6309), ([4, 5, 6], 0.5508)],
    ids=["one target at rank 2", "three targets at ranks 4 to 6"],
)
def test_official_ndcg_differs_from_the_textbook(ranks, standard):
    users = metrics.per_user(ranks, [0, len(ranks)])
    assert users["nDCG@10"][0] == 0.0
    assert users["nDCG@10-standard"][0] == pytest.approx(standard, abs=5e-5)


def test_values_worked_out_by_hand():
    """Targets at ranks 1, 4 and 12."""
    users = {name: values[0] for name, values in metrics.per_user([1, 4, 12], [0, 3]).items()}
    assert users["P@3"] == pytest.approx(1 / 3)
    assert users["P@10"] == pytest.approx(2 / 10)
    assert users["R@5"] == pytest.approx(2 / 3)
    assert users["HR@3"] == 1 and users["MRR"] == 1
    assert users["AP"] == pytest.approx((1 / 1 + 2 / 4 + 3 / 12) / 3)
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert users["nDCG@10"] == pytest.approx(1 / ideal)
    assert users["nDCG@10-standard"] == pytest.approx((1 + 1 / np.log2(5)) / ideal)


def test_constant_scores_give_the_worst_ranks():
    assert ranks_of(torch.zeros(2, 10), [[0, 1], []], [[4, 7], [3]]) == [[7, 8], [10]]


def test_ties_count_against_the_target_and_not_among_targets():
    # Item 0 beats all; 1, 2, 3 are equal, of which 1 and 2 are targets: 3 comes before both.
    assert ranks_of([[9.0, 5.0, 5.0, 5.0, 1.0]], [[]], [[1, 2]]) == [[3, 4]]


def test_seen_items_are_not_ranked_even_where_they_score_best():
    assert ranks_of([[9.0, 8.0, 7.0, 1.0]], [[0, 1]], [[2]]) == [[1]]


def test_items_at_minus_infinity_rank_last():
    assert ranks_of([[-torch.inf, 0.0, -torch.inf]], [[2]], [[0]]) == [[2]]


def test_users_without_targets_are_nan_and_left_out_of_the_mean():
    scores = torch.tensor([[3.0, 2.0, 1.0]] * 3)
    users = evaluate(scores, [[], [], []], [[0], [], [1]])
    assert all(np.isnan(values[1]) and not np.isnan(values[[0, 2]]).any() for values in users.values())
    means = metrics.mean(users)
    assert means["MAP"] == pytest.approx((1 + 1 / 2) / 2) and "AP" not in means
    assert (means["n_users"], means["n_left_out"]) == (2, 1)
    with pytest.raises(ValueError, match="no user has a held-out item"):
        metrics.mean(evaluate(scores, [[], [], []], [[], [], []]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_diverged_scores_are_refused(bad):
    scores = torch.zeros(1, 4)
    scores[0, 1] = bad
    with pytest.raises(ValueError, match="NaN or"):
        ranks_of(scores, [[]], [[0]])
    with pytest.raises(ValueError, match="NaN or"):
        metrics.top_items(scores, pairs([[]]), 2)


@pytest.mark.parametrize(
    ("seen", "targets", "message"),
    [
        ([[1]], [[1]], "item 1 of row 0 is a target and seen"),
        ([[]], [[1, 1]], "same target twice"),
        ([[]], [[4]], "target items must lie in 0..3"),
        ([[-1]], [[0]], "seen items must lie in 0..3"),
        ([[]], [[0], [1]], "target offsets"),
    ],
)
def test_impossible_input_is_refused(seen, targets, message):
    with pytest.raises(ValueError, match=message):
        ranks_of(torch.zeros(1, 4), seen, targets)


def test_wrong_type_or_ranks_are_refused():
    with pytest.raises(ValueError, match="float32 or float64"):
        ranks_of(torch.zeros(1, 4, dtype=torch.bfloat16), [[]], [[0]])
    for ranks in ([0], [2, 2], [3, 1]):
        with pytest.raises(ValueError, match="strictly increasing"):
            metrics.per_user(ranks, [0, len(ranks)])


@given(blocks())
def test_top_items_is_the_head_of_the_stable_sort(block):
    scores, seen, _ = block
    kept = torch.as_tensor(scores).clone()
    top = metrics.top_items(kept, pairs(seen), 8)
    assert torch.equal(kept, torch.as_tensor(scores))  # the argument is left as it was
    for u, row in enumerate(scores):
        unseen = [i for i in range(len(row)) if i not in seen[u]]
        expected = sorted(unseen, key=lambda i: (-row[i], i))[:8]
        assert top[u].tolist() == expected + [len(row)] * (8 - len(expected))


def test_top_items_fills_short_lists_with_padding():
    assert metrics.top_items(torch.tensor([[1.0, 3.0, 2.0]]), pairs([[1]]), 3).tolist() == [[2, 0, 3]]
    with pytest.raises(ValueError, match="n must lie in 1..3"):
        metrics.top_items(torch.zeros(1, 3), pairs([[]]), 4)


def test_overlap_counts_common_items_in_any_order():
    a, b = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4]]), torch.tensor([[4, 3, 9, 8], [2, 1, 4, 3]])
    assert overlap_at(a, b).tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match="differ in shape"):
        overlap_at(a, b[:, :2])


def test_rank_correlation_is_kendalls_tau_b():
    from scipy.stats import kendalltau

    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 6, (20, 9)), rng.integers(0, 6, (20, 9))
    ours = rank_correlation(torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(ours, [kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)])
    assert torch.isnan(rank_correlation(torch.zeros(1, 3), torch.arange(3.0)[None])).all()
    with pytest.raises(ValueError, match="differ in shape"):
        rank_correlation(torch.zeros(1, 3), torch.zeros(1, 4))
