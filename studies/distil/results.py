"""What the runs say: the table with intervals, the comparisons, size and time, and warnings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from rdcore.data import Interactions, Stage, stage
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.datasets.ties import n_tied
from rdcore.distill.base import Frozen
from rdcore.eval import metrics
from rdcore.eval.significance import Comparison, compare
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, evaluating
from studies.common.verdicts import FEWEST_SEEDS, SEEDS_FOR_A_VERDICT
from studies.distil.plan import FROM_SCORES, METRIC, Done
from studies.distil.teachers import ListsSettings

SHOWN = {"nDCG@10": "nDCG@10", "P@10": "P@10", "R@10": "R@10", "MAP": "AP"}
"""Column of the table -> metric of single users."""
NAMES = {"POP": "most popular items", "T": "teacher", "S": "student alone", "D": "distilled student"}
TIMED = 100  # users whose lists are timed
SAMPLED = 500  # users whose scores are looked at


def stages(data: Interactions) -> tuple[Stage, Stage]:
    """Stages V (trials) and F (final runs)."""
    return stage(data, "V"), stage(data, "F")


def per_user(done: Done, part: Stage) -> dict[str, dict[str, np.ndarray]]:
    """Model -> metric -> (runs, n_users), on test data."""
    users = {"POP": [pd.DataFrame(metrics.popularity(part))]}
    users |= {role: [run.per_user() for run in runs] for role, runs in done.runs.items()}
    return {
        role: {name: np.stack([frame[name].to_numpy(float) for frame in frames]) for name in SHOWN.values()}
        for role, frames in users.items()
    }


def difference(a: np.ndarray, b: np.ndarray | None = None) -> Comparison:
    """a - b with its interval, or a alone: (runs, n_users) each. One run of one is held against
    every run of the other."""
    b = np.where(np.isnan(a), np.nan, 0.0) if b is None else b
    a, b = np.broadcast_arrays(a, b)
    return compare(a, b)


def gains(users: dict) -> dict[str, Comparison]:
    """Column of the table -> distilled student minus student alone, compared user by user."""
    return {column: difference(users["D"][name], users["S"][name]) for column, name in SHOWN.items()}


def table(users: dict, cost: dict[str, dict]) -> pd.DataFrame:
    """A row for every model: its runs, each metric with its 95 % interval, and what ``cost`` says of it."""
    rows = {}
    for role, values in users.items():
        row: dict = {"model": NAMES[role], "runs": len(next(iter(values.values())))}
        for column, name in SHOWN.items():
            result = difference(values[name])
            row |= {column: result.difference, f"{column} low": result.low, f"{column} high": result.high}
        rows[role] = row | cost.get(role, {})
    return pd.DataFrame(rows).T.infer_objects()


@torch.no_grad()
def cost(model: Model, part: Stage) -> dict:
    """Bytes that a model needs to answer, and the median milliseconds of one user's list of ten
    items (batch 1, one thread, PyTorch)."""
    model = model.served()
    queries = final_queries(part.fit)
    seen = SeenItems(queries.items, queries.offsets, part.fit.n_items)
    asked = np.random.default_rng(0).integers(part.fit.n_users, size=TIMED)
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with evaluating(model):
            for user in asked.tolist():
                begun = time.perf_counter()
                query = queries[user : user + 1]
                scores = model.score_all(model.encode(query))
                metrics.top_items(scores, seen.of(query.user), min(10, part.fit.n_items))
                seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(threads)
    return {"bytes": size(model), "ms": float(np.median(seconds)) * 1e3}


def unknown_of_lists() -> dict:
    """What a table does not say of a teacher known by its lists: size, time, and MAP, which is over all items, where the lists
    end."""
    return dict.fromkeys(["MAP", "MAP low", "MAP high", "bytes", "ms"], float("nan"))


def size(model: Model) -> int:
    """Bytes of a model's tensors, and of the arrays and sparse matrices that a counted one keeps."""
    tensors = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    kept = [value for value in vars(model).values() if isinstance(value, np.ndarray)]
    for value in vars(model).values():
        if sparse.issparse(value):
            kept += [getattr(value, name) for name in ("data", "indices", "indptr")]
    return tensors + sum(array.nbytes for array in kept)


def conclusion(users: dict) -> list[str]:
    """Did the teacher help, and how much of its lead did the student take over? In sentences; the first one says so where the
    distilled student is not clearly better than the most popular items."""
    s, d, t, pop = (users[role][METRIC] for role in ("S", "D", "T", "POP"))
    gain, lead = difference(d, s), difference(t, s)
    percent = 100 / gain.mean_b if gain.mean_b else float("nan")
    word = "better than" if gain.low > 0 else "worse than" if gain.high < 0 else "not distinguishable from"
    caution = ""
    if gain.n_seeds < FEWEST_SEEDS:  # as in `verdicts.with_seeds`
        caution = " in these runs; no verdict: with fewer than three seeds their spread is hardly known"
    elif gain.n_seeds < SEEDS_FOR_A_VERDICT and not gain.low <= 0 <= gain.high:
        caution = ", which is provisional: fewer than five seeds"
    over, sentences = difference(d, pop), []
    if over.low <= 0:
        sentences.append(
            f"The distilled student is not {'certainly ' * (over.difference > 0)}better than a list of the most popular items "
            f"({METRIC} {over.mean_a:.4f} and {over.mean_b:.4f})."
        )
    sentences += [
        f"On test data the distilled student has {METRIC} {gain.mean_a:.4f}, the student alone {gain.mean_b:.4f}: "
        f"{percent * gain.difference:+.1f} % (95 % interval {percent * gain.low:+.1f} % to {percent * gain.high:+.1f} %).",
        f"With {gain.n_seeds} seed{'s' * (gain.n_seeds > 1)} and {gain.n_users:,} users, the distilled student is "
        f"{word} the student alone{caution}.",
    ]
    if lead.low > 0 and gain.low > 0:
        it = "It" if gain.n_seeds >= FEWEST_SEEDS else "In these runs it"
        sentences.append(f"{it} wins back {100 * gain.difference / lead.difference:.0f} % of the teacher's lead.")
    return sentences


def warnings(done: Done, users: dict, part: Stage, teacher: Model) -> list[str]:
    """What a reader should know before believing the table."""
    return [*_warnings(done, users, part), *_about_scores(done, part, teacher)]


def _about_scores(done: Done, part: Stage, teacher: Model) -> Iterator[str]:
    if done.plan.method not in FROM_SCORES:
        return
    queries = final_queries(part.fit)[:SAMPLED]
    asked, n, block = Frozen(teacher), min(10, part.fit.n_items), block_rows(part.fit.n_items, SAMPLED)
    scores = torch.cat([asked.score_all(queries[k : k + block]).topk(n).values for k in range(0, len(queries), block)])
    apart = [float(row[0] - row[-1]) for row in (row[row > -torch.inf] for row in scores) if len(row) > 1]
    listed = isinstance(done.plan.teacher, ListsSettings)
    if listed and done.plan.teacher.read(part.fit).scores is None:
        yield (
            f"The teacher's file has no scores. {done.plan.method} reads scores: an item counts with the length of the list "
            "minus its place."
        )
    if apart and (middle := float(np.median(apart))) < 1:
        yield (
            f"From the first to the last of its first {scores.shape[1]} items the teacher's scores fall by {middle:.2g} "
            f"(median of users), so {done.plan.method}, which reads scores, hardly tells them apart: "
            f"{'multiply the scores, or ' * listed}take a method from lists, such as rd-position."
        )


def _warnings(done: Done, users: dict, part: Stage) -> Iterator[str]:
    plan, values = done.plan, {role: metric[METRIC] for role, metric in users.items()}
    lead = difference(values["T"], values["S"])
    other = "another teacher" + ", a larger --teacher-dim" * hasattr(plan.teacher, "dim") + " or a smaller --dim"
    if lead.difference <= 0:
        yield f"The teacher is not better than the student alone, so there is little to learn from it: choose {other}."
    elif lead.low <= 0:
        yield (
            f"It is not certain that the teacher is better than the student alone ({METRIC} {lead.mean_a:.4f} and "
            f"{lead.mean_b:.4f}): more --seeds show whether it is, {other} may make it so."
        )
    for role in ("T", "S"):  # of D the conclusion says it
        over = difference(values[role], values["POP"])
        if over.low <= 0:
            certain = "certainly " * (over.difference > 0)
            yield f"The {NAMES[role]} is not {certain}better than the most popular items."
    if plan.seeds < 5:
        few = "One seed is" if plan.seeds == 1 else f"{plan.seeds} seeds are"
        yield f"{few} too few to say which is better in general: take --seeds 5."
    for role, option in (("S", "weight decay"), ("D", "weight")):
        tried = [trial.value for trial in done.trials[role]]
        if len(tried) > 1 and done.chosen[role].value in (min(tried), max(tried)):
            yield (
                f"The best {option} of the {NAMES[role]}, {done.chosen[role].value:g}, is at the end of those tried "
                f"({', '.join(f'{value:g}' for value in tried)}): a better one may lie beyond. "
                + ("As many weight decays are tried as there are --weights." if role == "S" else "Give others with --weights.")
            )
        if done.chosen[role].epoch == plan.training.epochs:
            yield f"The {NAMES[role]} was best after its last epoch, and may get better with more --epochs."
    judged = part.fit.n_users - part.n_unjudged
    if (tied := n_tied(part)) > 0.05 * judged:
        yield (
            f"For {tied:,} of {judged:,} users the last row to learn from and the first test row have the "
            "same time: a fixed draw decides which is which."
        )
    if part.n_cold > 0.05 * len(part.judge):
        yield (
            f"{100 * part.n_cold / len(part.judge):.0f} % of the test rows have an item that nobody had before: "
            "no model here can find them."
        )
    yield from _about_lists(done, part)


def _about_lists(done: Done, part: Stage) -> Iterator[str]:
    if not isinstance(done.plan.teacher, ListsSettings):
        return
    lists = done.plan.teacher.read(part.fit)
    teacher, counts = lists.teacher(), lists.counts
    yield (
        "The teacher's lists come from outside. If it has learnt from rows that are test rows here, its numbers are "
        "too good, and the student's may be. It has no MAP: that is over all items, and the lists end."
    )
    n = {name: f"{count:,}" for name, count in counts.items()}
    labels = (
        " Unknown is what is not in the data, or was left out of them (--min-actions). Labels have to be those of your table, "
        "character by character."
    )
    yield (
        f"Rows of {Path(done.plan.teacher.path).name}: {n['rows']}. Left out: of unknown users: {n['unknown_users']}, "
        f"of unknown items: {n['unknown_items']}, without a score: {n['without_score']}, repeated: {n['duplicates']}. "
        f"Users without a list: {n['users_without']}. Items in the shortest list: {n['shortest']}."
        + labels * (counts["unknown_users"] + counts["unknown_items"] > 0)
    )
    n_items = part.fit.n_items
    lengths = (teacher.items < n_items).sum(1)
    seen = np.repeat(np.arange(part.fit.n_users), part.fit.counts())
    had = torch.from_numpy(seen * n_items + part.fit.items)
    rows = torch.arange(len(teacher.items))[:, None] * n_items + teacher.items
    lengths -= (torch.isin(rows, had) & (teacher.items < n_items)).sum(1)
    if short := int((lengths < 10).sum()):
        yield (
            f"For {short:,} of {part.fit.n_users:,} users the lists name fewer than 10 items that are new to them. The "
            "student learns from those that there are; in the teacher's numbers all others count as missed."
        )
    if done.plan.method == "rankdistil-b" and (none := int((lengths == 0).sum())):
        yield (
            f"For {none:,} users the lists name nothing new, and rankdistil-b pushes all items down that a list does not "
            "name: take rd-position or rankdistil-p, which teach these users nothing."
        )
    on_v, on_f = done.chosen["T"].score, float(done.runs["T"][0].metrics[METRIC].iloc[-1])
    if on_v < 0.5 * on_f:
        yield (
            f"The lists find validation rows much less often than test rows ({METRIC} {on_v:.4f} and {on_f:.4f}). "
            "Perhaps they leave out what the teacher knew; the weight was then chosen against them. Let the teacher learn "
            "from the part train alone (--only-split)."
        )

