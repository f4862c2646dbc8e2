"""Sizes of models, and how long they take when they are used; several models take turns, so that they can be compared.

A second on one machine says nothing about another, and on a busy machine little about the next minute. Models that are to
be compared therefore take turns (A B A B ...) in one run: what disturbs one disturbs the other, and the ratio of the two in
each round means something where neither time does. What a busy machine adds to both alike still moves it towards 1.
Every repeat is returned.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from rdcore.checks import integer
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries, final_queries
from rdcore.data.sampling import SeenItems
from rdcore.eval import metrics
from rdcore.eval.topk import block_rows
from rdcore.models.base import DotProductModel, Model, evaluating

TIMED = (
    "Timed is the way from a user to the ids of his ten best unseen items in main memory (encode the query, score all items, "
    "leave out what he has seen, pick the best): for one user at a time (latency) and for all users in blocks (lists)."
)
LENGTH = 10  # of the lists, as TIMED says
PARTS = ("encode", "score", "select")


# -------------------------------------------------------------------------------------------------------------------- size


def parameters(model: Model) -> int:
    """Numbers that the model stores in its parameters, a shared one once."""
    return sum(table.numel() for table in model.parameters())


def parameters_with_padding(model: DotProductModel) -> int:
    """What the paper counts: its tables have a row for the padding id everywhere, and a score of it. Here the input table
    alone has one, so that the row of the output table and its bias are missing from `parameters`."""
    return parameters(model) + model.item_factors.embedding_dim + (model.item_bias is not None)


def stored_bytes(model: Model) -> int:
    """Memory of the parameters and buffers, a shared one once."""
    return sum(table.numel() * table.element_size() for table in chain(model.parameters(), model.buffers()))


# -------------------------------------------------------------------------------------------------------------------- time


def devices() -> list[str]:
    """What can be measured on this machine."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def now(device: str) -> float:
    """The clock, once the device has done what it was given: a CUDA call returns before its work is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def top_lists(
    model: Model,
    queries: Queries,
    seen: SeenItems,
    *,
    n: int = LENGTH,
    block: int = 512,
    lap: Callable[[str], object] = lambda part: None,
) -> Tensor:
    """The n best unseen items of every query, (len(queries), n) on the CPU. In blocks of ``block`` queries, or fewer where
    there are many items. ``lap`` is called behind each part of each block with its name, one of PARTS."""
    found, rows = [], block_rows(model.n_items, block)
    for start in range(0, len(queries), rows):
        asked = queries[start : start + rows]
        context = model.encode(asked)
        lap("encode")
        scores = model.score_all(context)
        lap("score")
        found.append(metrics.top_items(scores, seen.of(asked.user), n).cpu())
        lap("select")
    return torch.cat(found)


class _Laps:
    """Adds up the seconds of each part of the way."""

    def __init__(self, device: str):
        self.device, self.seconds, self.last = device, dict.fromkeys(PARTS, 0.0), 0.0

    def start(self) -> None:
        self.last = now(self.device)

    def __call__(self, part: str) -> None:
        time = now(self.device)
        self.seconds[part] += time - self.last
        self.last = time


def _latency(model: Model, singles: Sequence[Queries], seen: SeenItems, n: int, device: str) -> float:
    """Milliseconds of one query: the median, because whatever interrupts the process hits few of them, and those hard."""
    taken = []
    for query in singles:
        begun = now(device)
        top_lists(model, query, seen, n=n)
        taken.append(1000 * (now(device) - begun))
    return float(np.median(taken))


def _lists(
    models: Mapping[str, Model], queries: Queries, seen: SeenItems, n: int, block: int, device: str
) -> dict[str, dict[str, float]]:
    """role -> part -> seconds for all queries. The models take turns block by block: a block writes far more scores than a
    cache holds, so that taking turns costs nothing, and what disturbs the machine for a second hits all of them."""
    laps = {role: _Laps(device) for role in models}
    for start in range(0, len(queries), block):
        asked = queries[start : start + block]
        for role, model in models.items():
            laps[role].start()
            top_lists(model, asked, seen, n=n, block=block, lap=laps[role])
    return {role: lap.seconds for role, lap in laps.items()}


def measure(
    models: Mapping[str, Model],
    fit: Interactions,
    *,
    device: str = "cpu",
    repeats: int = 20,
    warmup: int = 3,
    queries: int = 50,
    n: int = LENGTH,
    block: int = 512,
    progress: bool = False,
    label: str = "rounds",
) -> dict[str, dict]:
    """Size and times of some models that take turns: in every round each makes its single queries, then the lists of all
    users, block by block. TIMED says what is inside the clock.

    Args:
        models: role -> model; moved to ``device``.
        fit: the users' sequences. Every query is at a user's last item; their own items are left out of their list.
        repeats: rounds that count, behind ``warmup`` that do not (memory is laid out, caches fill, a GPU wakes up).
        queries: single queries in a round, of users evenly spread; the round's latency is their median.

    Returns:
        role -> parameters, parameters_with_padding, bytes, and lists of ``repeats`` numbers: latency_ms, lists_seconds and
        its parts encode_seconds, score_seconds, select_seconds. Round i of one role belongs to round i of another.

    Raises ValueError for counts that are not positive and for a device that is not there.
    """
    for name, value, least in (("repeats", repeats, 1), ("warmup", warmup, 0), ("queries", queries, 1), ("n", n, 1),
                               ("block", block, 1)):  # fmt: skip
        integer(name, value, least)
    if device not in devices():
        raise ValueError(f"no device {device!r} to measure on; this machine has: {', '.join(devices())}")
    everyone = final_queries(fit).to(device)
    seen = SeenItems(everyone.items, everyone.offsets, fit.n_items)
    chosen = torch.linspace(0, fit.n_users - 1, min(queries, fit.n_users)).long().tolist()
    singles = [everyone[user : user + 1] for user in chosen]
    found = {}
    for role, model in models.items():
        model.to(device)
        padded = parameters_with_padding(model) if isinstance(model, DotProductModel) else parameters(model)
        found[role] = {"parameters": parameters(model), "parameters_with_padding": padded, "bytes": stored_bytes(model)}
        found[role] |= {name: [] for name in ("latency_ms", "lists_seconds", *(f"{part}_seconds" for part in PARTS))}
    with contextlib.ExitStack() as modes:
        for model in models.values():
            modes.enter_context(evaluating(model))
        for count in tqdm(range(warmup + repeats), desc=label, unit="round", disable=not progress, mininterval=5):
            latency = {role: _latency(model, singles, seen, n, device) for role, model in models.items()}
            lists = _lists(models, everyone, seen, n, block, device)
            if count < warmup:
                continue
            for role in models:
                found[role]["latency_ms"].append(rounded(latency[role]))
                found[role]["lists_seconds"].append(rounded(sum(lists[role].values())))
                for part in PARTS:
                    found[role][f"{part}_seconds"].append(rounded(lists[role][part]))
    return found


def rounded(value: float) -> float:
    """Six significant digits, as in the tables: no clock has more to say."""
    return float(f"{value:.6g}")
