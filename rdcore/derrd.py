"""The runs of DE-RRD's tables (Kang et al., CIKM 2020): leave-one-out, memoryless models, four ways to distil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rdcore import data
from rdcore.distill import RDSettings
from rdcore.experiment import Experiment
from rdcore.models import BPRMFSettings
from rdcore.training import Training


@dataclass(frozen=True, kw_only=True)
class Plan:
    """models: teacher (T) and student (S). Early stopping and the choice of the epoch are `leave_one_out`'s.

    weights: the factors of the distillation loss that the paper's competitors are tried with, on the validation items of the
    first seed; the paper does not state its own.
    """

    name: str
    dataset: str
    models: dict[str, BPRMFSettings]
    training: Training
    seeds: Sequence[int] = (1,)
    weights: Sequence[float] = (0.1, 0.3, 1.0)

    def teacher(self, seed: int) -> Experiment:
        return Experiment(
            dataset=self.dataset, data_hash=data.content_hash(self.dataset), stage="L", seed=seed, role="T",
            model=self.models["T"], training=self.training, evaluate_every=1,
        )  # fmt: skip

    def student(self, seed: int) -> Experiment:
        return replace(self.teacher(seed), role="S", model=self.models["S"])

    def distilled(self, seed: int, role: str, settings) -> Experiment:
        return replace(
            self.student(seed), role=role, distillation=settings, teacher=self.teacher(seed), teacher_epoch="best"
        )  # fmt: skip


# As in the official code: sums over a batch of 1024 pairs, one negative drawn anew every epoch, decay on all rows.
OFFICIAL = Training(
    epochs=1000, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum", patience=20
)

PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            name="paper", dataset="citeulike", models={"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=20)},
            training=OFFICIAL, seeds=(1, 2, 3),
        ),
    )
}  # fmt: skip
