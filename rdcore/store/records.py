"""What is kept of a run, and how it is read back: `Record` (committed, without weights) and `Run`
(of the local store).

Reading a record needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from filelock import FileLock, Timeout

from rdcore.checks import integer, plain
from rdcore.files import paths
from rdcore.files.whole import damaged
from rdcore.store.record_files import (
    REMEDY,
    as_table,
    file_of,
    read_record,
    read_users,
    without_nulls,
    wrong_with_means,
)

if TYPE_CHECKING:
    from rdcore.data import Interactions, Stage
    from rdcore.models.base import Model
    from rdcore.store.experiment import Experiment

PUBLISHED = ["AP", "P@10", "nDCG@10"]
"""The metrics of single users that a committed record of stages V and F has."""
RANKS = ["rank"]
"""The same of stage L: the rank of each user's test item among the sampled ones."""
CHOOSES = "H@5-validation"
"""The metric of the validation items by which a run on stage L chooses its epoch."""


def needed(stage: str) -> tuple[str, ...]:
    """The means that every evaluated epoch of a run must have: what it is measured by first, what
    it is chosen by last."""
    return ("H@5", CHOOSES) if stage == "L" else ("MAP",)


@dataclass(frozen=True)
class Record:
    """What is kept of a finished run: files in a folder whose name ends in the run's key (listed in
    `rdcore.store.runs`)."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name.rsplit("-", 1)[-1]

    @cached_property
    def description(self) -> dict:
        """What the experiment asked for, as plain JSON."""
        return read_record(self.folder, "description")

    @cached_property
    def environment(self) -> dict:
        """Where and how the run was made: versions, device, threads, commit, seconds."""
        return read_record(self.folder, "environment")

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch, indexed by epoch: loss, distillation_loss, weights (K numbers),
        seconds."""
        return as_table(read_record(self.folder, "history"))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Means over users, one row per evaluated epoch: MAP, P@3, ..., n_users, n_left_out.

        Raises ValueError where the chosen epoch is none of them.
        """
        table = as_table(self.means())
        if self.chosen and self.chosen["epoch"] not in table.index:
            wrong = f"has the epoch {self.chosen['epoch']}, of which there are no metrics"
            raise damaged(self.folder / "chosen.json", wrong, REMEDY)
        return table

    def means(self) -> list[dict]:
        """The same as plain JSON. Raises ValueError where an epoch lacks a mean that its stage
        needs."""
        entries = read_record(self.folder, "metrics")
        if wrong := wrong_with_means(entries, needed(self.description["stage"])):
            raise damaged(file_of(self.folder, "metrics"), wrong, REMEDY)
        return entries

    @cached_property
    def agreement(self) -> dict | None:
        """Overlap and rank correlation with the teacher's lists at the last epoch; None where not
        measured."""
        if not (self.folder / "agreement.json").exists():
            return None
        return without_nulls(read_record(self.folder, "agreement"))

    @property
    def parameters(self) -> int | None:
        """How many numbers were trained; None where they were not counted (publishing counts
        them)."""
        return read_record(self.folder, "size")["parameters"] if (self.folder / "size.json").exists() else None

    @property
    def last_epoch(self) -> int:
        return int(self.metrics.index[-1])

    @cached_property
    def chosen(self) -> dict | None:
        """On stage L the epoch that the validation items chose, and every mean at it; None on other
        stages.

        It has a small file of its own: plans ask for it of hundreds of trials, and reading the
        metrics of all epochs takes a hundred times as long."""
        if not (self.folder / "chosen.json").exists():
            return None
        entry = read_record(self.folder, "chosen")
        if wrong := wrong_with_means([entry], needed(self.description["stage"])[:1]):
            raise damaged(self.folder / "chosen.json", wrong, REMEDY)
        return without_nulls(entry)

    @property
    def epoch(self) -> int:
        """The epoch whose results count unless another is named: the chosen one, else the last."""
        last = self.last_epoch  # reads the metrics, which know whether the chosen epoch is one of theirs
        return self.chosen["epoch"] if self.chosen else last

    def late_gain(self, metric: str = "MAP") -> float:
        """Which part of its final value a metric gained in the last quarter of the epochs: about 0
        once it is flat."""
        values = self.metrics[metric]
        before = values[values.index <= 0.75 * self.last_epoch]
        if before.empty:
            raise ValueError(f"run {self.key} has no evaluated epoch in its first three quarters")
        return float(1 - before.iloc[-1] / values.iloc[-1])

    def per_user(self, epoch: int | None = None) -> pd.DataFrame:
        """Metrics of every user (n_users rows) at an epoch, by default the last or chosen one.

        On stage L: ranks of the held-out items, named as in `leave_one_out.Judge.ranks`. Raises
        ValueError where there are none."""
        epoch = self.epoch if epoch is None else epoch
        file = self.folder / f"per_user-{epoch:03d}.parquet"
        if not file.exists():
            raise ValueError(f"{file} is missing: run {self.key} keeps no metrics of single users at epoch {epoch}")
        return read_users(file, RANKS if self.description["stage"] == "L" else PUBLISHED)


@dataclass(frozen=True)
class Run(Record):
    """A run in the local store: a record with its weights."""

    @property
    def finished(self) -> bool:
        return (self.folder / "DONE").exists()

    def means(self) -> list[dict]:
        """As of a record. Raises ValueError for a run that is not finished: its metrics come with the end."""
        if not self.finished and not (self.folder / "metrics.json").exists():
            raise ValueError(
                f"run {self.key} in {self.folder} is not finished: runs.load_or_train(experiment, data) goes on with it, or "
                "trains it"
            )
        return super().means()

    def model(self, experiment: Experiment, data: Interactions | Stage, epoch: int | str | None = None, device="cpu") -> Model:
        """The trained model of an evaluated epoch, by default the last or chosen one ('best'), in
        eval mode.

        Raises ValueError for another experiment than this run's, other data than it describes, a
        device that is not there, another default dtype than float32, and an epoch without weights."""
        from rdcore.store import contract

        contract.check_key(experiment, self.key)
        contract.check_device(device)
        contract.check_dtype()
        contract.check_data(experiment, data)
        contract.check_stage(experiment.data_hash, data, self.folder)
        if experiment.counted:
            made = experiment.model.fit(contract.fitted_part(data, experiment.stage)).to(device).eval()
        else:
            made = self.restore(contract.built_for(experiment, data), epoch).to(device)
        return contract.knowing_users(made, data)

    def restore(self, model: Model, epoch: int | str | None = None) -> Model:
        """``model`` with the weights of an evaluated epoch, by default the last or chosen one
        ('best'), in eval mode."""
        from rdcore.store import weights

        file = self.weights(epoch)
        if not file.exists():
            kept = [str(weights.epoch_of(other)) for other in weights.files(self.folder)]
            raise ValueError(
                f"{self.folder} keeps no weights of epoch {weights.epoch_of(file)}; it has those of {', '.join(kept) or 'none'}"
            )
        weights.load(model, file)
        return model.eval()

    def weights(self, epoch: int | str | None = None) -> Path:
        """The file of an evaluated epoch's weights, by default those of the last or chosen one
        ('best')."""
        if epoch in (None, "best"):
            epoch = self.epoch
        epoch = plain(epoch)
        integer("epoch", epoch)
        return self.folder / f"weights-{epoch:03d}.safetensors"


def run_of(experiment: Experiment) -> Run:
    """Where the run of an experiment is or will be in the local store."""
    return Run(paths.runs() / experiment.key)


def stored(experiment: Experiment) -> Run | None:
    """The finished run with its weights if the local store has it; never trains."""
    run = run_of(experiment)
    return run if run.finished else None


def being_trained(key: str) -> bool:
    """Whether a process holds the run's lock at this moment."""
    file = paths.runs() / f"{key}.lock"
    if not file.exists():
        return False
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a store that may only be read: nobody trains in it
        return False
