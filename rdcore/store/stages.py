"""How a run is evaluated while it trains, and what is kept of that: one class for stages V and F,
one for stage L.

Both have the same parts: ``fit``, what a model is fitted to; ``stage``, what it is evaluated on
over all items; `evaluate` at an evaluated epoch; `stalled`, whether to stop early; `tidy` after a
checkpoint; `finish` after the last epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rdcore.data import Interactions, Stage
from rdcore.eval import leave_one_out, metrics
from rdcore.eval.metrics import evaluate
from rdcore.files.whole import write_json, write_whole
from rdcore.models.base import Model
from rdcore.store import weights
from rdcore.store.contract import stage_of
from rdcore.store.records import CHOOSES

WATCHED = (CHOOSES, "H@10-validation", "H@20-validation")  # on stage L training goes on while any of them rises


class FullRanking:
    """Stages V and F: all items are ranked; metrics of users and weights are kept at every
    evaluated epoch."""

    shows = "MAP"

    def __init__(self, data: Interactions | Stage, name: str, folder: Path, device: str):
        self.stage, self.folder, self.device = stage_of(data, name), folder, device
        self.fit = self.stage.fit

    def evaluate(self, model: Model, epoch: int, entries: list[dict]) -> dict:
        """The means of this epoch, which are added to ``entries``."""
        users = evaluate(model, self.stage, device=self.device)
        keep_users(users, self.folder, epoch)
        weights.save(model, self.folder, epoch)
        entries.append({"epoch": epoch, **metrics.mean(users)})
        return entries[-1]

    def stalled(self, entries: list[dict], patience: int) -> bool:
        return False

    def tidy(self, entries: list[dict]) -> None:
        """Every evaluated epoch keeps its weights."""

    def finish(self, model: Model, entries: list[dict]) -> None:
        """The last epoch is the result, and everything of it is kept already."""


class LeaveOneOut:
    """Stage L: held-out items are ranked among sampled ones. The validation items choose an epoch,
    and what is kept of users, and the weights, are those of that epoch alone."""

    shows = CHOOSES

    def __init__(self, data: Interactions, folder: Path, device: str):
        self.judge, self.folder = _judge_of(data, device), folder
        self.n_short = self.judge.n_short
        self.fit, self.stage = self.judge.fit, self.judge.test

    def evaluate(self, model: Model, epoch: int, entries: list[dict]) -> dict:
        """The means of this epoch, which are added to ``entries``. A run that was begun before November 29, 2026 goes on
        without the ranks among all items: every epoch of a run has the same means."""
        full = not entries or "N@10-validation-full" in entries[0]
        entries.append({"epoch": epoch, **self.judge.means(model, full=full)})
        if best_epoch(entries) == epoch:
            weights.save(model, self.folder, epoch)
        return entries[-1]

    def stalled(self, entries: list[dict], patience: int) -> bool:
        return stalled(entries, patience)

    def tidy(self, entries: list[dict]) -> None:
        """Removes weights that are no longer the best; after the checkpoint, because a resumed run
        may need them until then."""
        best = best_epoch(entries) if entries else 0
        for file in weights.files(self.folder):
            if weights.epoch_of(file) != best:
                file.unlink()

    def finish(self, model: Model, entries: list[dict]) -> None:
        """Takes the model to the chosen epoch; keeps the ranks of every user's held-out items, and
        their means."""
        epoch = best_epoch(entries)
        weights.load(model, self.folder / f"weights-{epoch:03d}.safetensors")
        ranks = self.judge.ranks(model)
        keep_users({f"rank{kind}": values for kind, values in ranks.items()}, self.folder, epoch)
        write_json(self.folder / "chosen.json", {"epoch": epoch, **leave_one_out.means(ranks)})


def best_epoch(entries: Sequence[Mapping], metric: str = CHOOSES) -> int:
    """The evaluated epoch with the best value of a validation metric, the earliest of equals. Raises ValueError for a metric
    of test items: nothing is chosen by them."""
    if "-validation" not in metric:
        raise ValueError(f"an epoch is chosen by the validation items, not by {metric!r}")
    return max(entries, key=lambda entry: (entry[metric], -entry["epoch"]))["epoch"]


def stalled(entries: Sequence[Mapping], patience: int) -> bool:
    """Whether none of the watched metrics has reached a new best for ``patience`` epochs, as in the official code (where
    any of the three resets the count). Never with patience 0."""
    latest = max(best_epoch(entries, metric) for metric in WATCHED)
    return patience > 0 and entries[-1]["epoch"] - latest >= patience


def keep_users(users: dict, folder: Path, epoch: int) -> None:
    """Writes one row per user, in float32."""
    frame = pd.DataFrame(users).astype("float32")
    write_whole(folder / f"per_user-{epoch:03d}.parquet", lambda file: frame.to_parquet(file, index=False))


_judges: dict[tuple[str, str], leave_one_out.Judge] = {}


def _judge_of(data: Interactions, device: str) -> leave_one_out.Judge:
    """The evaluation of stage L. The last one is kept: many runs of a process share it, and drawing
    its negatives takes longer than evaluating on them."""
    key = (data.sha256(), str(device))
    if key not in _judges:
        _judges.clear()
        _judges[key] = leave_one_out.Judge(data, device)
    return _judges[key]
