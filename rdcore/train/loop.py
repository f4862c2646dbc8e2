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

from rdcore.checks import is_number, number, one_of, short, whole
from rdcore.data.interactions import Interactions
from rdcore.data.queries import training_queries
from rdcore.data.sampling import SeenItems, stream, stream_seed, unseen_items
from rdcore.distill.base import Batch, Distillation, TrainingData
from rdcore.models.base import Model
from rdcore.settings import added
from rdcore.train.graphs import Recorder, recording_stream


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is fitted. Defaults are those of the official Ranking Distillation code.

    weight_decay is coupled L2 (added to the gradient), on every row of every table in every step, as there.
    base_weight: factor of the ranking loss (1 in the released code, 1 - alpha in the paper).
    reduction: of the ranking loss, 'mean' over the batch's queries (Ranking Distillation) or 'sum' (DE-RRD); every
    distillation keeps the one its weight belongs to. share: the part of the training instances that is used, drawn
    once a run. patience: on stage L, for how many epochs training goes on without a new best on the validation items
    (0: to the last epoch).
    """

    epochs: int = 50
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    negatives: int = 3
    base_weight: float = 1.0
    reduction: str = added("mean")
    share: float = added(1.0)
    patience: int = added(0)

    def __post_init__(self):
        for name in ("epochs", "batch_size", "negatives"):
            whole(name, getattr(self, name))
        whole("patience", self.patience, least=0)
        for name in ("learning_rate", "weight_decay", "base_weight"):
            number(name, getattr(self, name))
        one_of("reduction", self.reduction, "mean", "sum")
        if not (is_number(self.share) and 0 < self.share <= 1):
            raise ValueError(f"share must lie in (0, 1], got {short(self.share)}")
        if self.learning_rate == 0:
            raise ValueError("learning_rate must be > 0, got 0")


def training_data(fit: Interactions, window: int, device, *, share: float = 1.0, seed: int = 0) -> TrainingData:
    """All training instances of ``fit`` for a model that looks at ``window`` items, on ``device``.

    ``share`` < 1: a random part of them, the same for every model of this window and ``seed``, and part of every larger
    share. What counts as seen does not shrink. Raises ValueError where a user has every item: he has no negatives.
    """
    queries, target = training_queries(fit, window)
    if share < 1:
        kept = torch.randperm(len(target), generator=stream(seed, "share"))[: max(1, round(share * len(target)))]
        kept = kept.sort().values
        queries, target = queries[kept], target[kept]
    queries = queries.to(device)
    seen = SeenItems(queries.items, queries.offsets, fit.n_items)
    seen.check_unseen(queries.user)  # before any method prepares for him
    return TrainingData(queries, target.to(device), seen)


@contextlib.contextmanager
def seeded(seed: int, device) -> Iterator[None]:
    """Torch's global generators (which dropout and initialisation use) seeded inside, restored afterwards."""
    devices = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def make_optimizer(model: Model, distillation: Distillation | None, settings: Training) -> torch.optim.Adam:
    """Adam over the model's parameters and the distillation's own (DE's experts), in one fused step."""
    parameters = [*model.parameters(), *(distillation.parameters() if distillation else ())]
    return torch.optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True,
                            capturable=parameters[0].is_cuda)  # fmt: skip


def train(
    model: Model,
    data: TrainingData,
    optimizer: torch.optim.Adam,
    settings: Training,
    *,
    seed: int,
    distillation: Distillation | None = None,
    first_epoch: int = 1,
    after_epoch: Callable[[int, dict], bool | None] = lambda epoch, log: None,
    progress: bool = False,
    description: str = "training",
    report: Callable[[str], None] = lambda text: None,
    graphs: bool = True,
) -> None:
    """Trains ``model`` in place for the epochs ``first_epoch`` .. ``settings.epochs`` (1-based).

    ``distillation`` must have been prepared. After each epoch ``after_epoch(epoch, log)`` is called with the losses
    and seconds of the epoch; where it returns True the training ends, and raising there (or an interrupt) stops it between
    epochs. ``report`` is called with a line before each epoch, and with "" at the end, for a live view.
    Every random stream comes from (seed, name, epoch), so that starting at ``first_epoch`` with the model and the
    optimizer of the epoch before gives the same numbers as never having stopped.
    On a GPU the steps of an epoch are recorded as a CUDA graph where model and distillation allow it (``graphable``) and
    ``graphs`` is True: the same numbers, in a fraction of the time.
    Raises FloatingPointError when a loss is not finite.
    """
    device = data.target.device
    recorder = Recorder() if graphs and device.type == "cuda" else None
    bar = tqdm(range(first_epoch, settings.epochs + 1), desc=description, unit="epoch", disable=not progress,
               mininterval=5)  # fmt: skip
    with recording_stream(device):
        for epoch in bar:
            report(f"{description}, epoch {epoch} of {settings.epochs}")
            begun = time.perf_counter()
            log = {"epoch": epoch, **_epoch(epoch, model, data, optimizer, settings, seed, distillation, recorder)}
            if not math.isfinite(log["loss"] + log.get("distillation_loss", 0.0)):
                raise FloatingPointError(f"the loss is not finite in epoch {epoch}: lower the learning rate")
            log["seconds"] = round(time.perf_counter() - begun, 3)
            bar.set_postfix(loss=f"{log['loss']:.4f}", refresh=False)
            if after_epoch(epoch, log):
                break
    report("")


def batch_loss(
    model: Model, distillation: Distillation | None, batch: Batch, number: int | Tensor, reduction: str
) -> tuple[Tensor, Tensor | None]:
    """The two terms of a step, the ``number``-th of its epoch: the ranking loss of every query (B,), and the distillation loss
    (), if any, over the batch as ``reduction`` says. Every query is encoded once."""
    context = model.encode(batch.queries)
    items = [batch.target[:, None], batch.negatives]
    wanted = distillation.wants(batch) if distillation else None
    logits = model.score(context, torch.cat([*items, *(() if wanted is None else [wanted])], dim=1))
    positive, negative, rest = logits.tensor_split((1, 1 + batch.negatives.shape[1]), dim=1)
    base = model.base_loss(positive, negative)
    if distillation is None:
        return base, None
    distilled = distillation.loss(model, batch if wanted is None else replace(batch, logits=rest), number, context)
    if distillation.reduction != reduction:
        distilled = distilled * len(batch.index) if reduction == "sum" else distilled / len(batch.index)
    return base, distilled


def _epoch(
    epoch: int, model: Model, data: TrainingData, optimizer: torch.optim.Adam, settings: Training, seed: int,
    distillation: Distillation | None, recorder: Recorder | None,
) -> dict:
    """All steps of one epoch; its losses."""
    device, n = data.target.device, len(data.queries)
    order = torch.randperm(n, generator=stream(seed, "order", epoch, device), device=device)
    negatives = unseen_items(data.queries.user, settings.negatives, data.seen, stream(seed, "negatives", epoch, device))
    rng = stream(seed, "distillation", epoch, device)
    if distillation:
        distillation.begin_epoch(model, epoch, -(-n // settings.batch_size), rng)
    total, total_distilled = torch.zeros(2, dtype=torch.float64, device=device)

    def step(index: Tensor, number: int | Tensor) -> None:
        batch = Batch(index, data.queries[index], data.target[index], negatives[index])
        base, distilled = batch_loss(model, distillation, batch, number, settings.reduction)
        total.add_(base.detach().sum())
        loss = settings.base_weight * (base.mean() if settings.reduction == "mean" else base.sum())
        if distillation:
            loss = loss + distilled
            total_distilled.add_(distilled.detach() * (len(index) if settings.reduction == "mean" else 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.train()
    with seeded(stream_seed(seed, "dropout", epoch), device):
        if recorder and model.graphable and (distillation is None or distillation.graphable):
            recorder.play(step, order, settings.batch_size, [rng] if distillation else [])
        else:
            for number, index in enumerate(order.split(settings.batch_size)):
                step(index, number)
    log = {"loss": float(total) / n}
    return log | {"distillation_loss": float(total_distilled) / n, **distillation.log()} if distillation else log
