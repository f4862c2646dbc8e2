"""The training loop: one, for teacher, student and every distillation."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rdcore.checks import integer, number, one_number, one_of, per_query, single_scores, within
from rdcore.data.interactions import Interactions
from rdcore.data.queries import training_queries
from rdcore.data.sampling import SeenItems, equal_draws, stream, stream_seed, unseen_items
from rdcore.distill.base import Batch, Distillation, TrainingData
from rdcore.models.base import Model
from rdcore.settings import Settings, added
from rdcore.train.graphs import Recorder, recording_stream, tiny_is_zero


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """How a model is fitted. The defaults are those of the official Ranking Distillation code.

    >>> Training(epochs=3).batch_size
    512
    """

    epochs: int = 50
    """Passes over the training instances."""
    batch_size: int = 512
    """Instances of a step."""
    learning_rate: float = 1e-3
    """Adam's."""
    weight_decay: float = 1e-6
    """Coupled L2 (added to the gradient), on every row of every table in every step."""
    negatives: int = 3
    """Unseen items drawn for each instance, again in every epoch."""
    base_weight: float = 1.0
    """Factor of the ranking loss (1 in the released code, 1 - alpha in the paper)."""
    reduction: str = added("mean")
    """Of the ranking loss over the batch: 'mean' (Ranking Distillation) or 'sum' (DE-RRD). Every distillation keeps the one
    its weight belongs to."""
    share: float = added(1.0)
    """The part of the training instances that is used, drawn once for a run."""
    patience: int = added(0)
    """On stage L: after how many epochs without a new best on the validation items training ends (0: never early)."""
    instances: str = added("all")
    """Of an epoch: 'all' once each, or for all 'users' equally many, drawn among theirs with replacement (as LightGCN's
    authors train)."""

    def __post_init__(self):
        for name in ("epochs", "batch_size", "negatives"):
            integer(name, getattr(self, name))
        integer("patience", self.patience, least=0)
        for name in ("learning_rate", "weight_decay", "base_weight"):
            number(name, getattr(self, name), above=name == "learning_rate")
        one_of("reduction", self.reduction, "mean", "sum")
        one_of("instances", self.instances, "all", "users")
        within("share", self.share, "(0, 1]")


def training_data(
    fit: Interactions, window: int, device, *, full_windows: bool = False, share: float = 1.0, seed: int = 0
) -> TrainingData:
    """All training instances of ``fit`` for a model that looks at ``window`` items, on ``device``.

    ``full_windows``: only those with ``window`` items before the target (`Model.full_windows`). ``share`` < 1: a random part
    of them, the same for every model of this window and ``seed``, and contained in every larger share. What counts as seen
    does not shrink. Raises ValueError where a user has every item: no negative is left for them, and where nobody has a
    full window.
    """
    longest = int(fit.counts().max())
    if full_windows and window >= longest:
        raise ValueError(f"nobody has the {window} items before a target that the model is trained on (the longest history "
                         f"has {longest}): take a shorter window")  # fmt: skip
    queries, target = training_queries(fit, window, full_windows=full_windows)
    if share < 1:
        order = torch.randperm(len(target), generator=stream(seed, "share"))
        kept = order[: max(1, round(share * len(target)))].sort().values
        queries, target = queries[kept], target[kept]
    queries = queries.to(device)
    seen = SeenItems(queries.items, queries.offsets, fit.n_items)
    seen.check_unseen(queries.user, fit.user_ids)
    return TrainingData(queries, target.to(device), seen)


@contextlib.contextmanager
def seeded(seed: int, device) -> Iterator[None]:
    """Torch's global generators (of dropout and initialisation) seeded inside, restored after."""
    devices = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def make_optimizer(model: Model, distillation: Distillation | None, settings: Training) -> torch.optim.Adam:
    """Adam over the model's parameters and the distillation's own (DE's experts), in one fused step."""
    parameters = [*model.parameters(), *(distillation.parameters() if distillation else ())]
    rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    return torch.optim.Adam(parameters, **rates, fused=True, capturable=parameters[0].is_cuda)


def train(
    model: Model, data: TrainingData, optimizer: torch.optim.Adam, settings: Training, *,
    seed: int, distillation: Distillation | None = None, first_epoch: int = 1,
    after_epoch: Callable[[int, dict], bool | None] = lambda epoch, log: None, progress: bool = False,
    description: str = "training", report: Callable[[str], None] = lambda text: None, graphs: bool = True,
) -> None:  # fmt: skip
    """Trains ``model`` in place for the epochs ``first_epoch`` .. ``settings.epochs`` (1-based).

    Every random stream comes from (seed, name, epoch), so starting at ``first_epoch`` with the model and the optimizer of the
    epoch before gives the same numbers as never having stopped. Raises FloatingPointError when a loss is not finite.

    Args:
        distillation: must have been prepared.
        after_epoch: called with the epoch and its losses and seconds; where it returns True, the training ends. Raising
            there stops it between epochs.
        report: called with a line before each epoch, and with "" at the end, for a live view.
        graphs: on a GPU, record the steps of an epoch as a CUDA graph where model and distillation allow it (``graphable``):
            the same numbers in a fraction of the time.
    """
    device = data.target.device
    recorder = Recorder() if graphs and device.type == "cuda" else None
    epochs = range(first_epoch, settings.epochs + 1)
    bar = tqdm(epochs, desc=description, unit="epoch", disable=not progress, mininterval=5)
    with recording_stream(device), tiny_is_zero():
        for epoch in bar:
            report(f"{description}, epoch {epoch} of {settings.epochs}")
            start = time.perf_counter()
            losses = _epoch(epoch, model, data, optimizer, settings, seed, distillation, recorder, progress)
            if not math.isfinite(losses["loss"] + losses.get("distillation_loss", 0.0)):
                raise FloatingPointError(f"the loss is not finite in epoch {epoch}: lower the learning rate, or see what a "
                                         "teacher answers")  # fmt: skip
            seconds = round(time.perf_counter() - start, 3)
            bar.set_postfix(loss=f"{losses['loss']:.4f}", refresh=False)
            if after_epoch(epoch, {"epoch": epoch, **losses, "seconds": seconds}):
                break
    report("")


def batch_loss(
    model: Model, distillation: Distillation | None, batch: Batch, step: int | Tensor, reduction: str
) -> tuple[Tensor, Tensor | None]:
    """The two terms of a step: the ranking loss of every query (B,), and the distillation loss (), if any, over the batch as
    ``reduction`` says. Every query is encoded once."""
    context = model.encode(batch.queries)  # (B, D)
    if distillation and (negatives := distillation.negatives(batch)) is not None:
        batch = replace(batch, negatives=negatives)
    wanted = distillation.wants(batch) if distillation else None
    base = model.query_loss(batch.queries, context, batch.target, batch.negatives)  # (B,) or None
    if base is None:
        items = torch.cat([batch.target[:, None], batch.negatives, *(() if wanted is None else [wanted])], dim=1)
        logits = single_scores(model, model.score(context, items), items)
        n = 1 + batch.negatives.shape[1]
        positive, negative, rest = logits.tensor_split((1, n), dim=1)
        base = per_query(model, model.base_loss(positive, negative), len(batch.index))  # (B,)
    elif wanted is not None:
        rest = model.score(context, wanted)
    if distillation is None:
        return base, None
    if wanted is not None:
        batch = replace(batch, wanted=rest)
    distilled = one_number(distillation, distillation.loss(model, batch, step, context))
    if distillation.reduction != reduction:
        distilled = distilled * len(batch.target) if reduction == "sum" else distilled / len(batch.target)
    return base, distilled


def _epoch(
    epoch: int, model: Model, data: TrainingData, optimizer: torch.optim.Adam, settings: Training,
    seed: int, distillation: Distillation | None, recorder: Recorder | None, progress: bool,
) -> dict:  # fmt: skip
    """All steps of one epoch; its losses. ``progress``: a bar where it takes ten seconds or more."""
    device, size, mean = data.target.device, settings.batch_size, settings.reduction == "mean"
    user, drawn = data.queries.user, None
    if settings.instances == "users":
        drawn = equal_draws(user, stream(seed, "instances", epoch, device))
        user = user[drawn]
    n = len(user)
    order = torch.randperm(n, generator=stream(seed, "order", epoch, device), device=device)
    negatives = unseen_items(user, settings.negatives, data.seen, stream(seed, "negatives", epoch, device))
    rng = stream(seed, "distillation", epoch, device)
    if distillation:
        distillation.begin_epoch(model, epoch, -(-n // size), rng)
    total, total_distilled = torch.zeros(2, dtype=torch.float64, device=device)

    def step(place: Tensor, number: int | Tensor) -> None:
        index = place if drawn is None else drawn[place]
        batch = Batch(index, data.queries[index], data.target[index], negatives[place])
        base, distilled = batch_loss(model, distillation, batch, number, settings.reduction)
        total.add_(base.detach().sum())
        loss = settings.base_weight * (base.mean() if mean else base.sum())
        if distillation:
            loss = loss + distilled
            total_distilled.add_(distilled.detach() * (len(index) if mean else 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.train()
    with seeded(stream_seed(seed, "dropout", epoch), device):
        if recorder and model.graphable and (distillation is None or distillation.graphable):
            recorder.play(step, order, size, [rng] if distillation else [])
        else:
            bar = {"unit": "step", "leave": False, "delay": 10, "mininterval": 5, "disable": not progress}
            for number, index in enumerate(tqdm(order.split(size), f"epoch {epoch}", **bar)):
                step(index, number)
    log = {"loss": float(total) / n}
    if distillation:
        log |= {"distillation_loss": float(total_distilled) / n, **distillation.log()}
    return log
