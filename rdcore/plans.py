"""Which experiments the notebooks and tables are made of: three profiles, and the runs of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rdcore import data
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.experiment import Experiment
from rdcore.models import CaserSettings
from rdcore.training import Training


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What differs between a quick look and the paper.

    dims: size of teacher (T) and student (S). K, samples, start_epoch: of Ranking Distillation (lambda = 1 and
    mu = 0.1 throughout). seeds: of stage V (choices) and F (final).
    """

    name: str
    dataset: str
    dims: dict[str, int]
    training: Training
    evaluate_every: int
    K: int = 10
    samples: int = 100
    start_epoch: int = 11
    seeds: dict[str, list[int]] = field(default_factory=lambda: {"V": [101], "F": [1]})

    def teacher(self, stage: str, seed: int) -> Experiment:
        return Experiment(
            dataset=self.dataset, data_hash=data.content_hash(self.dataset), stage=stage, seed=seed, role="T",
            model=CaserSettings(dim=self.dims["T"]), training=self.training, evaluate_every=self.evaluate_every,
        )  # fmt: skip

    def student(self, stage: str, seed: int) -> Experiment:
        """The same model at the student's size, trained without a teacher."""
        return replace(self.teacher(stage, seed), role="S", model=CaserSettings(dim=self.dims["S"]))

    def distilled(
        self, stage: str, seed: int, scheme: str = "RD-hybrid", teacher_epoch: int | None = None
    ) -> Experiment:
        """The student taught by the teacher of its stage and seed, as it was after ``teacher_epoch`` (default: last)."""
        teacher = self.teacher(stage, seed)
        return replace(
            self.student(stage, seed), role=scheme, teacher=teacher,
            teacher_epoch=teacher_epoch or teacher.training.epochs,
            distillation=RDSettings(K=self.K, weights=self.schemes()[scheme]),
        )  # fmt: skip

    def schemes(self) -> dict:
        """Ranking Distillation's weighting schemes by role. The released code does not renormalise the hybrid
        product; the paper's formula is 'RD-hybrid-normalised'."""
        discrepancy = Discrepancy(samples=self.samples)
        hybrid = Hybrid(discrepancy=discrepancy, start_epoch=self.start_epoch)
        return {
            "RD-hybrid": hybrid,
            "RD-hybrid-normalised": replace(hybrid, normalise=True),
            "RD-position": Position(),
            "RD-equal": Equal(),
            "RD-reciprocal": Reciprocal(),
            "RD-discrepancy": discrepancy,
        }


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke", dataset="synthetic", dims={"T": 16, "S": 4}, training=Training(epochs=6, batch_size=128),
            evaluate_every=2, K=5, samples=20, start_epoch=3,
        ),
        Profile(
            name="small", dataset="ml-100k", dims={"T": 100, "S": 20}, training=Training(epochs=20), evaluate_every=2,
        ),
        Profile(
            name="paper", dataset="gowalla", dims={"T": 100, "S": 50}, training=Training(), evaluate_every=5,
            seeds={"V": [101], "F": [1, 2, 3]},
        ),
    )
}  # fmt: skip
