"""How alike two models rank: kept of a student with its teacher when a run ends (agreement.json)."""

from __future__ import annotations

import torch
from torch import Tensor

from rdcore.checks import all_scores, of_its_users, teacher_scores
from rdcore.data.splits import Stage
from rdcore.eval.metrics import top_items, user_blocks
from rdcore.models.base import Model, evaluating


@torch.no_grad()
def agreement(student: Model, teacher: Model, stage: Stage, *, device="cpu", n: int = 10, depth: int = 50) -> dict:
    """How alike two models rank: means over all users of

    - ``overlap@n``: share of common items in their top-n lists of unseen items;
    - ``kendall@depth``: Kendall's tau-b of their scores on the teacher's top ``depth`` unseen items.

    Over what there is: of a user with fewer unseen items, and of a teacher that names fewer (the others
    have the score -inf or NaN), the shorter lists are compared. NaN where there is nothing to compare.
    """
    n_items = stage.fit.n_items
    overlap, correlation = [], []
    of_its_users(student, stage.fit, "the student")
    of_its_users(teacher, stage.fit, "the teacher")
    with evaluating(student), evaluating(teacher):
        for _, asked, seen in user_blocks(stage, device):
            scores_t, scores_s = (all_scores(model, asked) for model in (teacher, student))
            scores_t = teacher_scores(scores_t)
            top_t = top_items(scores_t, seen, min(max(n, depth), n_items))  # (b, depth)
            short = min(n, n_items)
            top_s = top_items(scores_s, seen, short)
            overlap.append(overlap_at(top_t[:, :short], top_s, padding=n_items))
            listed = top_t[:, :depth]
            named = listed < n_items
            listed = listed.masked_fill(~named, 0)
            both = scores_t.gather(1, listed), scores_s.gather(1, listed)
            correlation.append(rank_correlation(*both, named))
    both = {f"overlap@{n}": overlap, f"kendall@{depth}": correlation}
    return {name: float(torch.cat(blocks).nanmean()) for name, blocks in both.items()}


def overlap_at(list_a: Tensor, list_b: Tensor, padding: int = -1) -> Tensor:
    """Share of items that two top-n lists have in common: (b, n) and (b, n) -> (b,), in [0, 1].

    The lists must not repeat an item. Where one ends early, filled up with ``padding``, both are cut
    there; NaN where nothing is left.
    """
    if list_a.shape != list_b.shape:
        raise ValueError(f"lists differ in shape: {tuple(list_a.shape)}, {tuple(list_b.shape)}")
    both = (list_a != padding) & (list_b != padding)  # (b, n)
    common = (list_a[:, :, None] == list_b[:, None, :]) & both[:, :, None] & both[:, None, :]
    return common.any(2).double().sum(1) / both.sum(1)


def rank_correlation(scores_a: Tensor, scores_b: Tensor, valid: Tensor | None = None) -> Tensor:
    """Kendall's tau-b of two scorings of the same items, row by row: (b, n), (b, n) -> (b,).

    Pairs of items in the same order minus pairs in opposite order, over sqrt(pairs untied in a *
    pairs untied in b). Only of the items where ``valid`` (b, n) bool holds. NaN where one side is
    constant. Needs memory for b * n * n signs.
    """
    if scores_a.shape != scores_b.shape:
        raise ValueError(f"scores differ in shape: {tuple(scores_a.shape)}, {tuple(scores_b.shape)}")
    # torch.sign of a difference would lose pairs whose difference underflows, comparisons do not.
    a, b = (
        (s[:, :, None] > s[:, None, :]).to(torch.int8) - (s[:, :, None] < s[:, None, :]).to(torch.int8)
        for s in (scores_a, scores_b)
    )
    if valid is not None:
        pairs = valid[:, :, None] & valid[:, None, :]
        a, b = a * pairs, b * pairs
    agreement = (a * b).sum((1, 2)).double()
    return agreement / ((a != 0).sum((1, 2)).double() * (b != 0).sum((1, 2)).double()).sqrt()
