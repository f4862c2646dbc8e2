"""The runs of Ranking Distillation's tables (Tang & Wang, KDD 2018), and which epoch of a run they take.

Protocol `validation` chooses T's epoch first; T teaches as it was then; S's and RD's epochs follow. A
choice at the end of its grid is not final: the grid is extended by longer runs first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from rdcore.files import paths
from rdcore.models import BPRMFSettings, ItemCFSettings, PopularitySettings
from rdcore.store.experiment import Experiment, choice_name
from rdcore.store.runs import Record, Run
from rdcore.train.loop import Training
from studies.common.earlier import as_before
from studies.common.plan import Plan, on_file, unique
from studies.common.profiles import PROFILES, schemes
from studies.common.selection import Choice, chosen_epochs, read_selection, select

EXTENSION = 30  # epochs added to a grid whose best lies at its end


def varied(plan: Plan, **changes) -> Plan:
    """The plan with other settings of RD: any of K, lam, mu, samples, start_epoch."""
    changed = schemes(**(values(plan)._asdict() | changes))
    return replace(plan, methods={role: changed[role] for role in plan.methods})


class Values(NamedTuple):
    """The settings of RD that the sweeps vary."""

    K: int
    lam: float
    mu: float
    samples: int
    start_epoch: int


def values(plan: Plan) -> Values:
    """K, lambda, mu, the number of rank samples and the hybrid's first epoch in a plan."""
    rd = plan.methods["RD-hybrid"]
    place, rank = rd.weights.position, rd.weights.discrepancy
    return Values(rd.K, place.lam, rank.mu, rank.samples, rd.weights.start_epoch)


def named(plan: Plan, role: str) -> str:
    """The name under which the epoch of a role is chosen."""
    return choice_name(plan.teacher("V", 0).description, role)


def reaching(plan: Plan, choice: Choice | None, stage: str) -> Plan:
    """The plan with runs long enough for a choice.

    On F they reach the chosen epoch. On V they cover the grid it was chosen from, and go beyond its
    end where the choice lies there.
    """
    epochs = plan.training.epochs
    if choice and stage == "V":
        epochs = choice.last_epoch + EXTENSION * choice.at_border
    elif choice and choice.epoch > epochs and not choice.at_border:
        epochs = choice.last_epoch
    return plan.lengthened(epochs)


def taught_as_chosen(plan: Plan, stage: str, seed: int, choices: Mapping[str, Choice]) -> Experiment:
    """RD-hybrid of protocol `validation`, taught by the teacher as it was after its chosen epoch.

    Where that is the plan's last epoch, it is the same run as `Plan.distilled`. The teacher's choice
    must be final.
    """
    epoch = chosen_epochs(choices)[named(plan, "T")]
    teacher = reaching(plan, choices[named(plan, "T")], "F").teacher(stage, seed)
    student = reaching(plan, choices.get(named(plan, "RD-hybrid")), stage)
    return replace(student.distilled(stage, seed), teacher=teacher, teacher_epoch=epoch)


# Every weighting of RD gets every seed, so that Table 4 has the seeds of Table 2.
WEIGHTINGS = (
    "RD-hybrid", "RD-hybrid-normalised", "RD-position", "RD-equal", "RD-reciprocal", "RD-discrepancy",
)  # fmt: skip


def runs_of(plan: Plan, choices: Mapping[str, Choice]) -> list[Experiment]:
    """All runs of a plan in training order: those of the choices (V), then those of the tables (F).

    Left out is what depends on a choice that is not made or not final; `open_choices` names it.
    """
    teacher, student = choices.get(named(plan, "T")), choices.get(named(plan, "S"))
    final = named(plan, "T") in chosen_epochs(choices)
    runs = []
    for seed in plan.seeds["V"]:
        runs += [reaching(plan, teacher, "V").teacher("V", seed), reaching(plan, student, "V").student("V", seed)]
        if seed == plan.seeds["V"][0]:  # what a first choice rests on
            runs += [plan.teacher("V", seed), plan.student("V", seed), plan.distilled("V", seed)]
        if final:
            runs.append(taught_as_chosen(plan, "V", seed, choices))
        elif teacher is None:
            runs.append(plan.distilled("V", seed))
    first, *others = plan.seeds["F"]
    runs += [plan.teacher("F", first), plan.student("F", first)]
    runs += [plan.distilled("F", first, role) for role in ("RD-hybrid", "RD-hybrid-normalised", "RD-position")]
    for seed in others:
        runs += [plan.teacher("F", seed), plan.student("F", seed), plan.distilled("F", seed)]
    for seed in plan.seeds["F"]:
        runs.append(reaching(plan, teacher, "F").teacher("F", seed))
        runs.append(reaching(plan, student, "F").student("F", seed))
        if final:
            runs.append(taught_as_chosen(plan, "F", seed, choices))
    for seed in plan.seeds["F"]:
        runs += [plan.distilled("F", seed, role) for role in WEIGHTINGS if role in plan.methods]
    return unique(runs)


def fixed_runs(plan: Plan) -> list[Experiment]:
    """T, S and every weighting on F, seed by seed: nothing is chosen for them."""
    roles = [role for role in WEIGHTINGS if role in plan.methods]
    runs = []
    for seed in plan.seeds["F"]:
        runs += [plan.teacher("F", seed), plan.student("F", seed), *(plan.distilled("F", seed, role) for role in roles)]
    return runs


def baselines(plan: Plan, stage: str, seed: int) -> dict[str, Experiment]:
    """The baselines of Table 2: POP, ItemCF, and BPR-MF at the size of the teacher's vectors."""
    model = BPRMFSettings(dim=plan.models["T"].dim, bias=True)
    bpr = replace(plan.teacher(stage, seed), role="baseline", model=model)
    counted = replace(bpr, training=Training(epochs=1), evaluate_every=1)
    return {
        "POP": replace(counted, model=PopularitySettings()),
        "ItemCF": replace(counted, model=ItemCFSettings()),
        "BPR": bpr,
    }


def trials(caser: Plan, fossil: Plan) -> dict[str, list[Experiment]]:
    """The V runs from which settings are chosen that the paper does not state: Fossil's and BPR-MF's.

    Fossil, at paper size: 24 trials of T with the first V seed, at the printed dimensions, 50 epochs. The space: loss 'log'
    or 'bpr'; exponent .2, .5 or 1; span 'past' or 'all'; weight decay 1e-6, 1e-5, 1e-4 or 1e-3; rate 3e-4, 1e-3 or 3e-3; 1, 3
    or 10 negatives; dropout 0, .2 or .5 (Caser's). Seven were made first (exponents and losses at the smallest decay, then
    decays); fifteen vary the best of those in one or two settings, and dropout joined the space because that one overfits;
    two put together what was better alone on V, 10 negatives and dropout.
    The trial with the best validation MAP of any epoch is chosen (`tuned_fossil`).
    """
    seed = caser.seeds["V"][0]
    chosen = fossil.teacher("V", seed)

    def teacher(weight_decay: float = 1e-5, *, learning_rate: float = 0, negatives: int = 0, **model) -> Experiment:
        rate, drawn = learning_rate or chosen.training.learning_rate, negatives or chosen.training.negatives
        training = replace(chosen.training, weight_decay=weight_decay, learning_rate=rate, negatives=drawn)
        return replace(chosen, model=replace(chosen.model, **model), training=training)

    decay = caser.training.weight_decay
    tried = [teacher(decay, alpha=alpha) for alpha in (0.2, 0.5, 1.0)] + [teacher(decay, alpha=0.2, loss="bpr")]
    tried += [teacher(other) for other in (1e-5, 1e-4, 1e-3)]
    if fossil.name == "paper":
        tried += [
            teacher(alpha=0.2), teacher(alpha=1.0), teacher(loss="bpr"), teacher(span="all"),
            teacher(learning_rate=3e-4), teacher(learning_rate=3e-3), teacher(negatives=1), teacher(negatives=10),
            teacher(1e-4, loss="bpr"), teacher(loss="bpr", span="all"), teacher(loss="bpr", negatives=10),
            teacher(alpha=1.0, span="all"), teacher(learning_rate=3e-4, negatives=10),
            teacher(dropout=0.5), teacher(dropout=0.2),
            teacher(negatives=10, dropout=0.5), teacher(negatives=10, dropout=0.2),
        ]  # fmt: skip
    bpr = baselines(caser, "V", seed)["BPR"]
    decays = [replace(bpr, training=replace(bpr.training, weight_decay=other)) for other in (1e-6, 1e-5, 1e-4)]
    return {"Fossil": tried, "BPR": decays}


def tuned_fossil(caser: Plan, fossil: Plan) -> list[Experiment]:
    """Fossil at the settings that its trials choose: T, S, RD-position and RD-hybrid, of the first V seed and of every F seed;
    [] until all trials are on file. T teaches as it was after the epoch at which its trial was best.

    Where the trials choose other settings than the plan's, the roles end in -tuned: no row of the tables is among them.
    """
    tried = trials(caser, fossil)["Fossil"]
    records = [on_file(run) for run in tried]
    if None in records:
        return []
    best = max(range(len(tried)), key=lambda place: records[place].metrics["MAP"].max())  # the first of equals
    settings, epoch = tried[best], int(records[best].metrics["MAP"].idxmax())
    model = {name: getattr(settings.model, name) for name in ("alpha", "span", "loss", "dropout")}
    models = {role: replace(own, **model) for role, own in fossil.models.items()}
    plan = replace(fossil, models=models, training=settings.training)
    end = "" if settings == fossil.teacher("V", settings.seed) else "-tuned"
    runs = []
    for stage, seeds in (("V", plan.seeds["V"][:1]), ("F", plan.seeds["F"])):
        for seed in seeds:
            teacher = plan.teacher(stage, seed)
            if stage == "F":  # on V the trial itself teaches
                teacher = replace(teacher, role=f"T{end}")
            made = [teacher, replace(plan.student(stage, seed), role=f"S{end}")]
            for role in ("RD-position", "RD-hybrid"):
                taught = plan.distilled(stage, seed, role, teacher_epoch=epoch)
                made.append(replace(taught, role=f"{role}{end}", teacher=teacher))
            runs += made
    return unique(runs)


def table_runs(name: str, choices: Mapping[str, Choice]) -> list[Experiment]:
    """The runs behind the paper's tables in a profile: both models, the baselines, and the trials."""
    caser, fossil = PROFILES[name].rd
    runs = [run for plan in (caser, fossil) for run in runs_of(plan, choices)]
    runs += baselines(caser, "F", caser.seeds["F"][0]).values()
    runs += [run for group in trials(caser, fossil).values() for run in group]
    return unique(runs)


# ------------------------------------------------------------------------------ choice of epochs


def choices_of(profile: str) -> dict[str, Choice]:
    """The choices on file, which are those of profile paper; the other profiles choose nothing."""
    return read_selection() if profile == "paper" else {}


def choose() -> dict[str, Choice]:
    """The epochs of profile paper, chosen from the V runs that are finished here or committed.

    From all V seeds once every role has them, or every planned V run is there (T's epoch may move, and RD then needs runs with
    that one); until then from the first seed, at whichever revision of Caser that has more roles.
    """
    wanted = {}
    for plan in PROFILES["paper"].rd:
        first = plan.seeds["V"][0]
        for run in (plan.teacher("V", first), plan.student("V", first), plan.distilled("V", first)):
            wanted[named(plan, run.role)] = run
    local = {file.parent.name: Run(file.parent) for file in paths.runs().glob("*/DONE")}
    known = [Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    finished = {record.key: record for record in known} | local
    records = [finished[key] for key in sorted(finished)]
    before = {role: as_before(run) for role, run in wanted.items()}
    seeds = plan.seeds["V"]
    earlier, first = select(before, seeds[:1], records), select(wanted, seeds[:1], records)
    planned = [run for plan in PROFILES["paper"].rd for run in runs_of(plan, read_selection()) if run.stage == "V"]
    choices = select(wanted, seeds, records)
    if choices.keys() >= earlier.keys() | first.keys() or all(run.key in finished for run in planned):
        return choices
    return first if first.keys() >= earlier.keys() else earlier


def open_choices(choices: Mapping[str, Choice]) -> list[str]:
    """What still has to be chosen before every run of the plan is known, one sentence each."""
    sentences = []
    for role in (named(plan, role) for plan in PROFILES["paper"].rd for role in ("T", "S", "RD-hybrid")):
        if role not in choices:
            sentences.append(f"no epoch is chosen for {role}: train its V runs, then `rdcore select`")
        elif choices[role].at_border:
            sentences.append(
                f"the best epoch of {role} is the last of its grid ({choices[role].epoch}): train its longer V run, then "
                "`rdcore select`"
            )
    return sentences
