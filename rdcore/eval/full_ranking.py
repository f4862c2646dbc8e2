"""Judging a model: full ranking of all unseen items for every user, in blocks."""

from __future__ import annotations

import numpy as np
import torch

from rdcore.checks import all_scores
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.data.splits import Stage
from rdcore.eval import metrics
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, evaluating
from rdcore.models.popularity import PopularitySettings


def _blocks(stage: Stage, device, block: int):
    """Blocks of users, at most ``block``: their queries behind the last fitted item, what they have seen as (row, item)."""
    queries = final_queries(stage.fit).to(device)
    seen = SeenItems(queries.items, queries.offsets, stage.fit.n_items)
    rows = block_rows(stage.fit.n_items, block)
    for start in range(0, len(queries), rows):
        asked = queries[start : start + rows]
        yield start, asked, seen.of(asked.user)


@torch.no_grad()
def held_out(model: Model, stage: Stage, *, device="cpu", block: int = 512):
    """What `metrics.target_ranks` takes, for one block of users after the other: scores of all items, what the users have
    seen, and their held-out items of ``stage.judge``."""
    offsets = torch.from_numpy(stage.judge.offsets)
    items = torch.from_numpy(stage.judge.items)
    with evaluating(model):
        for start, asked, seen in _blocks(stage, device, block):
            bounds = offsets[start : start + len(asked) + 1]
            targets = items[bounds[0] : bounds[-1]].to(device)
            # A tensor that may be written to: a model may answer with one row for all.
            yield all_scores(model, asked).contiguous(), seen, (targets, (bounds - bounds[0]).to(device))


@torch.no_grad()
def evaluate(model: Model, stage: Stage, *, device="cpu", block: int = 512) -> dict[str, np.ndarray]:
    """Metrics of every user on ``stage.judge``, each (n_users,); NaN for users without a held-out item.

    All items are ranked but those the user has in ``stage.fit``; one query per user serves all of their held-out items,
    as in the official evaluation.py. Memory: the scores of one block, ``block`` users or fewer where there are many items.
    """
    ranks = [metrics.target_ranks(*given).cpu() for given in held_out(model, stage, device=device, block=block)]
    return metrics.per_user(torch.cat(ranks), stage.judge.offsets)


def popularity(stage: Stage) -> dict[str, np.ndarray]:
    """Metrics of every user, each (n_users,), when all are given the most frequent items of ``stage.fit`` (POP)."""
    return evaluate(PopularitySettings().fit(stage.fit), stage)


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
    with evaluating(student), evaluating(teacher):
        for _, asked, seen in _blocks(stage, device, 512):
            scores_t, scores_s = (all_scores(model, asked) for model in (teacher, student))
            scores_t = scores_t.nan_to_num(-torch.inf, torch.finfo(scores_t.dtype).max, -torch.inf)
            top_t = metrics.top_items(scores_t, seen, min(max(n, depth), n_items))  # (b, depth)
            short = min(n, n_items)
            top_s = metrics.top_items(scores_s, seen, short)
            overlap.append(metrics.overlap_at(top_t[:, :short], top_s, padding=n_items))
            listed = top_t[:, :depth]
            named = listed < n_items
            listed = listed.masked_fill(~named, 0)
            both = scores_t.gather(1, listed), scores_s.gather(1, listed)
            correlation.append(metrics.rank_correlation(*both, named))
    both = {f"overlap@{n}": overlap, f"kendall@{depth}": correlation}
    return {name: float(torch.cat(blocks).nanmean()) for name, blocks in both.items()}
