"""Which experiments the notebooks and tables are made of: three profiles, and the runs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rdcore import data, paths, runs
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.experiment import Experiment
from rdcore.models import CaserSettings
from rdcore.selection import Choice, chosen_epochs, read_selection, select
from rdcore.training import Training

EXTENSION = 30  # epochs added to a grid whose best lies at its end


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What differs between a quick look and the paper.

    dims: size of teacher (T) and student (S). K, lam, mu, samples, start_epoch: of Ranking Distillation. seeds: of
    stage V (choices) and F (final).
    """

    name: str
    dataset: str
    dims: dict[str, int]
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
            dataset=self.dataset, data_hash=data.content_hash(self.dataset), stage=stage, seed=seed, role="T",
            model=CaserSettings(dim=self.dims["T"]), training=self.training, evaluate_every=self.evaluate_every,
        )  # fmt: skip

    def student(self, stage: str, seed: int) -> Experiment:
        """The same model at the student's size, trained without a teacher."""
        return replace(self.teacher(stage, seed), role="S", model=CaserSettings(dim=self.dims["S"]))

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
        epoch = chosen_epochs(choices)["T"]
        teacher = self._reaching(choices["T"], "F").teacher(stage, seed)
        run = self._reaching(choices.get("RD-hybrid"), stage).distilled(stage, seed)
        return replace(run, teacher=teacher, teacher_epoch=epoch)

    def _reaching(self, choice: Choice | None, stage: str) -> Profile:
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


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke", dataset="synthetic", dims={"T": 16, "S": 4}, training=Training(epochs=6, batch_size=128),
            evaluate_every=2, K=5, samples=20, start_epoch=3,
        ),
        Profile(
            # Chosen on stage V: with the official rate of 1e-3 both still rise after 20 epochs, with 3e-3 T passes its
            # best at half time. The hybrid starts after a fifth of the epochs, as in the official 50.
            name="small", dataset="ml-100k", dims={"T": 100, "S": 20}, training=Training(epochs=20, learning_rate=2e-3),
            evaluate_every=2, start_epoch=5,
        ),
        Profile(
            name="paper", dataset="gowalla", dims={"T": 100, "S": 50}, training=Training(), evaluate_every=5,
            seeds={"V": [101], "F": [1, 2, 3]},
        ),
    )
}  # fmt: skip


def runs_of(profile: Profile, choices: Mapping[str, Choice]) -> list[Experiment]:
    """All runs of a profile in the order they are owed: the choices' (V), then the tables' (F), most wanted first.

    What depends on a choice that has not been made, or that lies at the border of its grid, is left out; `open_choices`
    says so in words.
    """
    stands = "T" in chosen_epochs(choices)
    plan = []
    for seed in profile.seeds["V"]:
        plan += [p.teacher("V", seed) for p in (profile, profile._reaching(choices.get("T"), "V"))]
        plan += [p.student("V", seed) for p in (profile, profile._reaching(choices.get("S"), "V"))]
        plan.append(profile.distilled("V", seed))
        if stands:
            plan.append(profile.taught_as_chosen("V", seed, choices))
    first, *others = profile.seeds["F"]
    plan += [profile.teacher("F", first), profile.student("F", first)]
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-hybrid", "RD-hybrid-normalised", "RD-position")]
    for seed in others:
        plan += [profile.teacher("F", seed), profile.student("F", seed), profile.distilled("F", seed)]
    for seed in profile.seeds["F"]:
        plan.append(profile._reaching(choices.get("T"), "F").teacher("F", seed))
        plan.append(profile._reaching(choices.get("S"), "F").student("F", seed))
        if stands:
            plan.append(profile.taught_as_chosen("F", seed, choices))
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-equal", "RD-reciprocal", "RD-discrepancy")]
    return list({experiment.key: experiment for experiment in plan}.values())


def open_choices(choices: Mapping[str, Choice]) -> list[str]:
    """What still has to be chosen before every run of the plan is known, one sentence each."""
    said = []
    for role in ("T", "S", "RD-hybrid"):
        if role not in choices:
            said.append(f"no epoch is chosen for {role}: train its V runs, then `rdcore select`")
        elif choices[role].at_border:
            said.append(
                f"the best epoch of {role} is the last of its grid ({choices[role].epoch}): train its longer V run, then "
                "`rdcore select`"
            )
    return said


def title(experiment: Experiment) -> str:
    """One line that tells a run from every other of its profile."""
    taught = f", taught by epoch {experiment.teacher_epoch} of {experiment.teacher.key}" if experiment.teacher else ""
    return f"{experiment.label}  {experiment.key}  {experiment.training.epochs} epochs{taught}"


def choices_of(profile: str) -> dict[str, Choice]:
    """The choices on file, which are those of profile paper; the others choose nothing."""
    return read_selection() if profile == "paper" else {}


def matching(profile: str, patterns: str = "") -> list[Experiment]:
    """The runs of a profile whose label or key contains one of the comma-separated ``patterns``; all without any.

    Raises ValueError that lists the labels when a pattern matches nothing.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    plan = runs_of(PROFILES[profile], choices_of(profile))
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(pattern in e.label or pattern in e.key for e in plan):
            labels = ", ".join(dict.fromkeys(e.label for e in plan))
            raise ValueError(f"no run of profile {profile} has {pattern!r} in its label or key; there are: {labels}")
    return [e for e in plan if not wanted or any(pattern in e.label or pattern in e.key for pattern in wanted)]


def choose() -> dict[str, Choice]:
    """The epochs of profile paper, chosen from the V runs that are finished here or committed."""
    paper = PROFILES["paper"]
    first = paper.seeds["V"][0]
    wanted = {"T": paper.teacher("V", first), "S": paper.student("V", first), "RD-hybrid": paper.distilled("V", first)}
    return select(wanted, paper.seeds["V"], _finished())


def paper_runs() -> list[Experiment]:
    """The paper-size runs, with the choices on file."""
    return runs_of(PROFILES["paper"], read_selection())


def paper_records() -> list[runs.Record]:
    """The committed records among `paper_runs`, in that order: what the paper-size tables are made of."""
    return [runs.committed(experiment) for experiment in paper_runs() if runs.is_committed(experiment)]


def publish(experiments: Sequence[Experiment], choices: Mapping[str, Choice]) -> list[Path]:
    """Copies the finished ones of these runs into data/replicated; returns the folders.

    Metrics of single users go with F runs alone, at the last epoch and at the chosen one. The agreement of a student with
    the teacher of its stage and seed is measured where that one is finished too.
    """
    folders = []
    for experiment in experiments:
        if runs.stored(experiment) is None:
            continue
        epochs = []
        if experiment.stage == "F":
            wanted = {experiment.training.epochs, chosen_epochs(choices).get(experiment.role)}
            epochs = sorted(wanted & set(experiment.evaluated_epochs))
        beside = None
        if experiment.role == "S":
            (name,) = [name for name, p in PROFILES.items() if p.dataset == experiment.dataset]
            beside = PROFILES[name].teacher(experiment.stage, experiment.seed)
            beside = beside if runs.stored(beside) else None
        folders.append(runs.publish(experiment, epochs, teacher=beside))
    return folders


def _finished() -> list[runs.Record]:
    """Every run that is finished in the local store, and every committed record of another."""
    local = {file.parent.name: runs.Run(file.parent) for file in paths.runs().glob("*/DONE")}
    known = [runs.Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    found = {record.key: record for record in known} | local
    return [found[key] for key in sorted(found)]
