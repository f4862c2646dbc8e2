"""The runs of DE-RRD's tables (Kang et al., CIKM 2020): leave-one-out, models without memory, five ways to distil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rdcore import data
from rdcore.distill import BothSettings, CDSettings, DESettings, Hybrid, RDSettings, RRDSettings
from rdcore.experiment import Experiment
from rdcore.models import BPRMFSettings
from rdcore.training import Training

# As in the official code: sums over a batch of 1024 pairs, one negative drawn anew every epoch, decay on all rows.
OFFICIAL = Training(
    epochs=1000, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum", patience=20
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """models: teacher (T) and student (S). seeds: of the runs; the first one's validation items also choose weights.

    de, rrd: the paper's own methods, with the official weights. competitors: RD and CD, whose settings the paper does not
    state; each is tried with every one of ``weights``.
    """

    name: str
    dataset: str
    models: dict[str, BPRMFSettings]
    training: Training = OFFICIAL
    seeds: Sequence[int] = (1,)
    de: DESettings = DESettings()
    rrd: RRDSettings = RRDSettings()
    competitors: dict[str, Any] = field(
        default_factory=lambda: {"RD": RDSettings(exclude="seen", weights=Hybrid()), "CD": CDSettings()}
    )
    weights: Sequence[float] = (0.1, 0.3, 1.0)

    def teacher(self, seed: int) -> Experiment:
        return Experiment(
            dataset=self.dataset, data_hash=data.content_hash(self.dataset), stage="L", seed=seed, role="T",
            model=self.models["T"], training=self.training, evaluate_every=1,
        )  # fmt: skip

    def student(self, seed: int) -> Experiment:
        return replace(self.teacher(seed), role="S", model=self.models["S"])

    def distilled(self, seed: int, role: str, settings=None) -> Experiment:
        """The student taught by the teacher of its seed, by the role's method or by other ``settings`` under that name."""
        return replace(
            self.student(seed), role=role, distillation=settings or self.methods()[role], teacher=self.teacher(seed),
            teacher_epoch="best",
        )  # fmt: skip

    def methods(self, chosen: Mapping[str, float] | None = None) -> dict[str, Any]:
        """The ways to distil by role; RD and CD with the weight ``chosen`` for them, without one left out."""
        found = {role: replace(self.competitors[role], weight=weight) for role, weight in (chosen or {}).items()}
        return found | {"DE": self.de, "RRD": self.rrd, "DE-RRD": BothSettings(first=self.de, second=self.rrd)}

    def trials(self) -> dict[str, dict[float, Experiment]]:
        """The runs that the competitors' weights are chosen from: role -> weight -> run of the first seed."""
        return {
            role: {weight: self.distilled(self.seeds[0], role, replace(settings, weight=weight)) for weight in self.weights}
            for role, settings in self.competitors.items()
        }


PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            name="paper", dataset="citeulike", models={"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=20)},
            seeds=(1, 2, 3),
        ),
    )
}  # fmt: skip
