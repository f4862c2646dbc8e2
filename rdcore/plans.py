"""Which experiments the notebooks and tables are made of: three profiles, and the runs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rdcore import data, paths, runs
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, RDSettings, Reciprocal
from rdcore.experiment import Experiment, choice_name
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, PopularitySettings
from rdcore.selection import Choice, chosen_epochs, read_selection, select
from rdcore.training import Training

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
            dataset=self.dataset, data_hash=data.content_hash(self.dataset), stage=stage, seed=seed, role="T",
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
        teacher = self._reaching(choices[self.named("T")], "F").teacher(stage, seed)
        run = self._reaching(choices.get(self.named("RD-hybrid")), stage).distilled(stage, seed)
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
            name="smoke", dataset="synthetic", models={"T": CaserSettings(dim=16), "S": CaserSettings(dim=4)},
            training=Training(epochs=6, batch_size=128), evaluate_every=2, K=5, samples=20, start_epoch=3,
        ),
        Profile(
            # Chosen on stage V: with the official rate of 1e-3 both still rise after 20 epochs, with 3e-3 T passes its
            # best at half time. The hybrid starts after a fifth of the epochs, as in the official 50.
            name="small", dataset="ml-100k", models={"T": CaserSettings(dim=100), "S": CaserSettings(dim=20)},
            training=Training(epochs=20, learning_rate=2e-3), evaluate_every=2, start_epoch=5,
        ),
        Profile(
            name="paper", dataset="gowalla", models={"T": CaserSettings(dim=100), "S": CaserSettings(dim=50)},
            training=Training(), evaluate_every=5, seeds={"V": [101], "F": [1, 2, 3, 4, 5]},
        ),
    )
}  # fmt: skip

# Dimensions of Fossil's teacher and student.
FOSSIL = {"smoke": (16, 4), "small": (50, 10), "paper": (50, 20)}


def fossil(profile: Profile) -> Profile:
    """The same with Fossil. What the paper leaves open (loss, exponent and span of the long-term sum) was chosen on stage
    V of Gowalla among `trials`, and is the same everywhere."""
    teacher, student = FOSSIL[profile.name]
    return replace(profile, models={"T": FossilSettings(dim=teacher), "S": FossilSettings(dim=student)})


def families(name: str) -> list[Profile]:
    """The profile with each model that is distilled."""
    return [PROFILES[name], fossil(PROFILES[name])]


def trials(profile: Profile) -> dict[str, list[Experiment]]:
    """The V runs that settings the paper does not state are chosen from: of Fossil's teacher and of BPR."""
    seed = profile.seeds["V"][0]
    teacher = fossil(profile).teacher("V", seed)
    settings = [{"loss": loss, "alpha": alpha} for loss in ("log", "bpr") for alpha in (0.2, 0.5, 1.0)]
    settings.append({"span": "all"})
    bpr = baselines(profile, "V", seed)["BPR"]
    decays = [replace(bpr, training=replace(bpr.training, weight_decay=decay)) for decay in (1e-6, 1e-5, 1e-4)]
    models = list(dict.fromkeys(replace(teacher.model, **each) for each in settings))
    return {"Fossil": [replace(teacher, model=model) for model in models], "BPR": decays}


def baselines(profile: Profile, stage: str, seed: int) -> dict[str, Experiment]:
    """The baselines of the paper's Table 2: POP, ItemCF and BPR, the latter at the size of the teacher's vectors."""
    bpr = replace(profile.teacher(stage, seed), role="baseline", model=BPRMFSettings(dim=profile.models["T"].dim, bias=True))
    counted = replace(bpr, training=Training(epochs=1), evaluate_every=1)
    return {
        "POP": replace(counted, model=PopularitySettings()),
        "ItemCF": replace(counted, model=ItemCFSettings()),
        "BPR": bpr,
    }


def runs_of(profile: Profile, choices: Mapping[str, Choice]) -> list[Experiment]:
    """All runs of a profile in the order they are owed: the choices' (V), then the tables' (F), most wanted first.

    What depends on a choice that has not been made, or that lies at the border of its grid, is left out; `open_choices`
    says so in words.
    """
    teacher, student = choices.get(profile.named("T")), choices.get(profile.named("S"))
    stands = profile.named("T") in chosen_epochs(choices)
    plan = []
    for seed in profile.seeds["V"]:
        plan += [p.teacher("V", seed) for p in (profile, profile._reaching(teacher, "V"))]
        plan += [p.student("V", seed) for p in (profile, profile._reaching(student, "V"))]
        plan.append(profile.distilled("V", seed))
        if stands:
            plan.append(profile.taught_as_chosen("V", seed, choices))
    first, *others = profile.seeds["F"]
    plan += [profile.teacher("F", first), profile.student("F", first)]
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-hybrid", "RD-hybrid-normalised", "RD-position")]
    for seed in others:
        plan += [profile.teacher("F", seed), profile.student("F", seed), profile.distilled("F", seed)]
    for seed in profile.seeds["F"]:
        plan.append(profile._reaching(teacher, "F").teacher("F", seed))
        plan.append(profile._reaching(student, "F").student("F", seed))
        if stands:
            plan.append(profile.taught_as_chosen("F", seed, choices))
    plan += [profile.distilled("F", first, scheme) for scheme in ("RD-equal", "RD-reciprocal", "RD-discrepancy")]
    return list({experiment.key: experiment for experiment in plan}.values())


def all_runs(name: str, choices: Mapping[str, Choice]) -> list[Experiment]:
    """Every run behind the tables of a profile: both models', and the baselines'."""
    profile = PROFILES[name]
    plan = [experiment for family in families(name) for experiment in runs_of(family, choices)]
    plan += baselines(profile, "F", profile.seeds["F"][0]).values()
    plan += [experiment for group in trials(profile).values() for experiment in group]
    return list({experiment.key: experiment for experiment in plan}.values())


def open_choices(choices: Mapping[str, Choice]) -> list[str]:
    """What still has to be chosen before every run of the plan is known, one sentence each."""
    said = []
    for role in (profile.named(role) for profile in families("paper") for role in ("T", "S", "RD-hybrid")):
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
    plan = all_runs(profile, choices_of(profile))
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(pattern in e.label or pattern in e.key for e in plan):
            labels = ", ".join(dict.fromkeys(e.label for e in plan))
            raise ValueError(f"no run of profile {profile} has {pattern!r} in its label or key; there are: {labels}")
    return [e for e in plan if not wanted or any(pattern in e.label or pattern in e.key for pattern in wanted)]


def choose() -> dict[str, Choice]:
    """The epochs of profile paper, chosen from the V runs that are finished here or committed."""
    wanted, finished = {}, _finished()
    for paper in families("paper"):
        first = paper.seeds["V"][0]
        for run in (paper.teacher("V", first), paper.student("V", first), paper.distilled("V", first)):
            wanted[paper.named(run.role)] = run
    return select(wanted, paper.seeds["V"], finished)


def paper_runs() -> list[Experiment]:
    """The paper-size runs, with the choices on file."""
    return all_runs("paper", read_selection())


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
            wanted = {experiment.training.epochs, chosen_epochs(choices).get(choice_name(experiment.description))}
            epochs = sorted(wanted & set(experiment.evaluated_epochs))
        beside = None
        if experiment.role == "S":
            like = [p for name in PROFILES for p in families(name)]
            like = [p for p in like if p.student(experiment.stage, experiment.seed) == experiment]
            teachers = [p.teacher(experiment.stage, experiment.seed) for p in like]
            beside = next((teacher for teacher in teachers if runs.stored(teacher)), None)
        folders.append(runs.publish(experiment, epochs, teacher=beside))
    return folders


def _finished() -> list[runs.Record]:
    """Every run that is finished in the local store, and every committed record of another."""
    local = {file.parent.name: runs.Run(file.parent) for file in paths.runs().glob("*/DONE")}
    known = [runs.Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    found = {record.key: record for record in known} | local
    return [found[key] for key in sorted(found)]
