"""The frozen description of a run: everything its numbers depend on, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from rdcore.checks import integer, one_of, short, text
from rdcore.distill.both import BothSettings
from rdcore.distill.de import DESettings
from rdcore.distill.followups.cd import CDSettings
from rdcore.distill.rankdistil import RankDistilSettings
from rdcore.distill.rd import RDSettings
from rdcore.distill.rrd import RRDSettings
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, NeuMFSettings, PopularitySettings
from rdcore.settings import added, inert
from rdcore.store.description import describe
from rdcore.store.names import choice_name, family, label, trained
from rdcore.store.record_files import key_of
from rdcore.train.loop import Training

__all__ = ["Experiment", "choice_name", "family", "label", "trained"]


def _settings(value: object, makes: tuple[str, ...]) -> bool:
    """Whether it is an object of settings (not their class) with one of these methods."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and any(hasattr(value, name) for name in makes)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run.

    dataset, data_hash: name of the data set and the sha256 of its interactions (a run refuses other data).
    stage: 'V' (fit train, judge validation) or 'F' (fit both, judge test), of a chronological split; or 'L' (leave-one-out:
    fit train, the validation items choose the run's epoch, the test items are measured at it).
    role: what the run is in tables: 'T', 'S', 'RD', ... A label, but part of the description.
    teacher, teacher_epoch: the run that teaches and which of its evaluated epochs; both or neither. On stage L that is
    'best', the one that its own validation items chose. A distillation needs them, unless its settings say ``alone``: it is
    then a control that asks nobody.
    teacher_at: 'query', the teacher sees what the training query sees; or 'last', whatever the query, all that the user has in
    training: for a student without memory, which cannot tell a user's moments apart (`contract.at_last`).
    evaluate_every: metrics and weights are kept at every such epoch, and at the last; on stage L the weights of the best.
    Device, threads, versions, commit and duration are recorded with the run and not hashed.
    """

    revision: ClassVar[int] = 1  # of the training loop and the evaluation

    dataset: str
    data_hash: str
    stage: str
    role: str
    model: CaserSettings | FossilSettings | BPRMFSettings | NeuMFSettings | ItemCFSettings | PopularitySettings
    training: Training = Training()
    distillation: RDSettings | RankDistilSettings | DESettings | RRDSettings | CDSettings | BothSettings | None = None
    teacher: Experiment | None = None
    teacher_epoch: int | str | None = None
    teacher_at: str = added("query")
    evaluate_every: int = 5
    seed: int = 1

    def __post_init__(self):
        for name in ("dataset", "role"):
            text(name, getattr(self, name))
        if not (isinstance(self.data_hash, str) and re.fullmatch("[0-9a-f]{64}", self.data_hash)):
            raise ValueError(f"data_hash must be the 64 hex digits of Interactions.sha256(), got {short(self.data_hash)}")
        one_of("stage", self.stage, "V", "F", "L")
        one_of("teacher_at", self.teacher_at, "query", "last")
        if self.teacher is None:
            inert(self, "no teacher", "teacher_at")
        for name, kind in (("training", Training), ("teacher", Experiment | None)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {name.capitalize()} object, got {short(getattr(self, name))}")
        for name, makes in (("model", ("build", "fit")), ("distillation", ("build",))):
            if not _settings(value := getattr(self, name), makes) and not (name == "distillation" and value is None):
                raise ValueError(f"{name} must be the settings of a {name}, got {short(value)}")
        if reason := getattr(self.distillation, "no_run", ""):
            raise ValueError(reason)
        if self.training.patience and self.stage != "L":
            raise ValueError(f"patience belongs to stage 'L', whose validation items it watches; stage {self.stage!r} has none")
        integer("evaluate_every", self.evaluate_every)
        integer("seed", self.seed, least=0)
        has_teacher, alone = self.teacher is not None, getattr(self.distillation, "alone", False)
        if alone and (has_teacher or self.teacher_epoch is not None):
            raise ValueError(f"{type(self.distillation).__name__} asks no teacher: leave teacher and teacher_epoch out")
        if not alone and ((self.distillation is not None) != has_teacher or (self.teacher_epoch is not None) != has_teacher):
            raise ValueError("distillation, teacher and teacher_epoch belong together: give all three or none")
        if has_teacher:
            epochs = ["best"] if self.stage == "L" else self.teacher.evaluated_epochs
            if type(self.teacher_epoch) not in (int, str) or self.teacher_epoch not in epochs:
                raise ValueError(
                    f"teacher_epoch must be one of the teacher's evaluated epochs {epochs}, got {short(self.teacher_epoch)}"
                )
            earlier = getattr(self.distillation, "checkpoints", ())
            if lost := [epoch for epoch in earlier if self.stage == "L" or epoch not in epochs or epoch >= self.teacher_epoch]:
                raise ValueError(
                    f"checkpoints must be evaluated epochs of the teacher before {self.teacher_epoch!r}, got {short(lost)}; on "
                    "stage L only the weights of the chosen epoch are kept"
                )
            for name in ("stage", "data_hash"):
                if getattr(self, name) != getattr(self.teacher, name):
                    raise ValueError(f"the teacher's {name} differs from the student's: it would know other data")

    @property
    def counted(self) -> bool:
        """Whether the model is counted from the data (its settings have ``fit``) instead of built and trained."""
        return not hasattr(self.model, "build")

    @property
    def evaluated_epochs(self) -> list[int]:
        """Epochs (1-based) whose metrics and weights are kept."""
        last = self.training.epochs
        return sorted({*range(self.evaluate_every, last + 1, self.evaluate_every), last})

    @cached_property
    def description(self) -> dict:
        return describe(self)

    @cached_property
    def key(self) -> str:
        """16 hex digits of the sha256 of the description."""
        return key_of(self.description)

    @property
    def label(self) -> str:
        return label(self.description)
