"""The three profiles (smoke, small, paper): data, models and settings, and the runs that each of them can describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rdcore import datasets
from rdcore.checks import Named
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, PopularitySettings
from rdcore.store.experiment import Experiment, choice_name
from rdcore.train.loop import Training
from studies.common.selection import Choice, chosen_epochs

EXTENSION = 30  # epochs added to a grid whose best lies at its end


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What differs between a quick look and the paper.

    models: teacher (T) and student (S). K, lam, mu, samples, start_epoch: of Ranking Distillation. seeds: of stage V
    (choices) and F (final).
    """

    name: str
    dataset: str
    models: dict[str, CaserSettings | FossilSettings]
    training: Training
    evaluate_every: int
    K: int = 10
    lam: float = 1.0
    mu: float = 0.1
    samples: int = 100
    start_epoch: int = 11
    seeds: dict[str, list[int]] = field(default_factory=lambda: {"V": [101], "F": [1]})

    def teacher(self, stage: str, seed: int) -> Experiment:
        return Experiment(
            dataset=self.dataset, data_hash=datasets.content_hash(self.dataset), stage=stage, seed=seed, role="T",
            model=self.models["T"], training=self.training, evaluate_every=self.evaluate_every,
        )  # fmt: skip

    def student(self, stage: str, seed: int) -> Experiment:
        """The same model at the student's size, trained without a teacher."""
        return replace(self.teacher(stage, seed), role="S", model=self.models["S"])

    def named(self, role: str) -> str:
        """Under which name the epoch of a role is chosen."""
        return choice_name(self.teacher("V", 0).description, role)

    def distilled(self, stage: str, seed: int, scheme: str = "RD-hybrid", teacher_epoch: int | None = None) -> Experiment:
        """The student taught by the teacher of its stage and seed, as it was after ``teacher_epoch`` (default: last)."""
        teacher = self.teacher(stage, seed)
        return replace(
            self.student(stage, seed), role=scheme, teacher=teacher,
            teacher_epoch=teacher.training.epochs if teacher_epoch is None else teacher_epoch,
            distillation=RDSettings(K=self.K, weights=self.schemes()[scheme]),
        )  # fmt: skip

    def lengthened(self, epochs: int) -> Profile:
        """The same with longer runs: an extended grid."""
        return replace(self, training=replace(self.training, epochs=epochs))

    def taught_as_chosen(self, stage: str, seed: int, choices: Mapping[str, Choice]) -> Experiment:
        """RD-hybrid of protocol `validation`: its teacher teaches as it was after the epoch chosen for it. Where that is
        the last one of this profile, it is the very run that `distilled` gives. The teacher's choice must stand."""
        epoch = chosen_epochs(choices)[self.named("T")]
        teacher = self.reaching(choices[self.named("T")], "F").teacher(stage, seed)
        run = self.reaching(choices.get(self.named("RD-hybrid")), stage).distilled(stage, seed)
        return replace(run, teacher=teacher, teacher_epoch=epoch)

    def reaching(self, choice: Choice | None, stage: str) -> Profile:
        """With runs long enough: on F for the chosen epoch; on V for the grid it was chosen from, and beyond its border
        where the choice lies there."""
        epochs = self.training.epochs
        if choice and stage == "V":
            epochs = choice.last_epoch + EXTENSION * choice.at_border
        elif choice and choice.epoch > epochs and not choice.at_border:
            epochs = choice.last_epoch
        return self.lengthened(epochs)

    def schemes(self) -> dict:
        """Ranking Distillation's weighting schemes by role. The released code does not renormalise the hybrid
        product; the paper's formula is 'RD-hybrid-normalised'."""
        position, discrepancy = Position(lam=self.lam), Discrepancy(mu=self.mu, samples=self.samples)
        hybrid = Hybrid(position=position, discrepancy=discrepancy, start_epoch=self.start_epoch)
        return {
            "RD-hybrid": hybrid,
            "RD-hybrid-normalised": replace(hybrid, normalise=True),
            "RD-position": position,
            "RD-equal": Equal(),
            "RD-reciprocal": Reciprocal(),
            "RD-discrepancy": discrepancy,
        }


PROFILES = Named("profile", {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke", dataset="synthetic", models={"T": CaserSettings(dim=16), "S": CaserSettings(dim=4)},
            training=Training(epochs=6, batch_size=128), evaluate_every=2, K=5, samples=20, start_epoch=3,
        ),
        Profile(
            # Made for its minutes: large batches at a large rate, chosen on stage V. With 8e-3 T passes its best at half
            # time; S and RD still rise a little at the end. The hybrid starts after a fifth of the epochs, as in the official
            # 50.
            name="small", dataset="ml-100k", models={"T": CaserSettings(dim=50), "S": CaserSettings(dim=10)},
            training=Training(epochs=10, batch_size=1024, learning_rate=6e-3), evaluate_every=2, start_epoch=3,
        ),
        Profile(
            name="paper", dataset="gowalla", models={"T": CaserSettings(dim=100), "S": CaserSettings(dim=50)},
            training=Training(), evaluate_every=5, seeds={"V": [101], "F": [1, 2, 3, 4, 5]},
        ),
    )
})  # fmt: skip

# Dimensions of Fossil's teacher and student.
FOSSIL = {"smoke": (16, 4), "small": (50, 10), "paper": (50, 20)}


def fossil(profile: Profile) -> Profile:
    """The same with Fossil. What the paper leaves open was chosen on stage V of Gowalla among `trials`, by the best MAP of
    any epoch: point-wise log loss, exponent 0.5, weight decay 1e-5. After some ten epochs its teacher overfits under any
    of them, so that protocol `validation` is the one that speaks about Fossil."""
    teacher, student = FOSSIL[profile.name]
    models = {"T": FossilSettings(dim=teacher, alpha=0.5), "S": FossilSettings(dim=student, alpha=0.5)}
    if profile.name == "small":  # forty runs in three minutes; chosen on stage V, where all three rise to the end
        shorter = replace(profile.training, epochs=6, learning_rate=8e-3)
        return replace(profile, models=models, training=shorter)
    return replace(profile, models=models, training=replace(profile.training, weight_decay=1e-5))


def trials(profile: Profile) -> dict[str, list[Experiment]]:
    """The V runs that settings the paper does not state are chosen from: of Fossil's teacher and of BPR."""
    seed = profile.seeds["V"][0]
    chosen = fossil(profile).teacher("V", seed)

    def teacher(weight_decay: float, **settings) -> Experiment:
        model = replace(chosen.model, **settings)
        return replace(chosen, model=model, training=replace(chosen.training, weight_decay=weight_decay))

    decay = profile.training.weight_decay
    tried = [teacher(decay, alpha=alpha) for alpha in (0.2, 0.5, 1.0)] + [teacher(decay, alpha=0.2, loss="bpr")]
    tried += [teacher(other) for other in (1e-5, 1e-4, 1e-3)]
    bpr = baselines(profile, "V", seed)["BPR"]
    decays = [replace(bpr, training=replace(bpr.training, weight_decay=other)) for other in (1e-6, 1e-5, 1e-4)]
    return {"Fossil": tried, "BPR": decays}


def baselines(profile: Profile, stage: str, seed: int) -> dict[str, Experiment]:
    """The baselines of the paper's Table 2: POP, ItemCF and BPR, the latter at the size of the teacher's vectors."""
    bpr = replace(profile.teacher(stage, seed), role="baseline", model=BPRMFSettings(dim=profile.models["T"].dim, bias=True))
    counted = replace(bpr, training=Training(epochs=1), evaluate_every=1)
    return {
        "POP": replace(counted, model=PopularitySettings()),
        "ItemCF": replace(counted, model=ItemCFSettings()),
        "BPR": bpr,
    }
