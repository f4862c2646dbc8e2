"""All methods under one protocol: same data, teachers, students, training, number of trials and judgement for each.

Leave-one-out (leave_one_out.py). A run's epoch is chosen by its validation items, as everywhere on that stage; a method's
weight by nDCG@10 of the validation items among all items, in a grid of as many weights for each method, first seed; and
the test items are ranked among all items. The student alone has no such weight: it gets as many trials of its weight decay.
Nothing else is tuned: the teacher's lists, temperatures and samples are those of the papers or of the released codes, made
smaller with the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from rdcore.distill import BothSettings, Equal, Position, RankDistilSettings
from rdcore.eval.significance import Comparison, holm, opposite, verdict
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record, committed, is_committed
from studies.derrd import plan as derrd
from studies.derrd import tables as derrd_report
from studies.derrd.plan import Plan
from studies.rd.ablations import unique
from studies.rd.plan import PROFILES, Profile, fossil

CHOOSES = "N@10-validation-full"  # the weight of a method
JUDGED = "N@10-full"
RANKDISTIL = {form: f"RankDistil-{form}" for form in "CBP"}
METHODS = ["RD", "RD-position", "RD-equal", "CD", "RRD", "DE", "DE-RRD", *RANKDISTIL.values()]
SOURCES = {"RD, 2018": METHODS[:3], "CD, 2019": METHODS[3:4], "DE-RRD, 2020": METHODS[4:7], "RankDistil, 2021": METHODS[7:]}


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """What is compared on one data set with one model.

    plan: data, models, training, seeds, and the settings of DE, RRD, RD and CD. weights: role -> what its weight is tried at;
    of DE-RRD the factor of both weights of ``plan``, of S that of its weight decay. rankdistil: its forms' settings, of any
    weight.
    """

    plan: Plan
    weights: Mapping[str, Sequence[float]]
    rankdistil: Mapping[str, RankDistilSettings] = field(
        default_factory=lambda: {form: RankDistilSettings(form=form) for form in RANKDISTIL}
    )

    def __post_init__(self):
        if unknown := set(self.weights) - {"S", *METHODS}:
            raise ValueError(f"no method is called {', '.join(sorted(unknown))}; there are: {', '.join(['S', *METHODS])}")
        sizes = {len(set(tried)) for tried in self.weights.values()}
        if len(sizes) != 1 or any(len(set(tried)) != len(tried) for tried in self.weights.values()):
            raise ValueError("every method must be tried with the same number of different weights, or it is not one protocol")
        if 1 not in self.weights.get("S", ()):
            raise ValueError("S must be tried with the plan's own weight decay too, which the other methods have: factor 1")

    @property
    def name(self) -> str:
        """Data set and model, such as 'citeulike BPR'."""
        return f"{self.plan.dataset} {family(self.plan.teacher(self.plan.seeds[0]).description)}"

    @property
    def roles(self) -> list[str]:
        """Its methods: those without weights here cannot be run with this model."""
        return [role for role in METHODS if role in self.weights]

    def settings(self, role: str, weight: float) -> Any:
        """The distillation of a method at a weight."""
        plan = self.plan
        if role == "DE-RRD":  # rounded, so that a third and ten times a tenth are what they are written as
            scaled = [replace(part, weight=float(f"{part.weight * weight:.3g}")) for part in (plan.de, plan.rrd)]
            return BothSettings(first=scaled[0], second=scaled[1])
        if role in RANKDISTIL.values():
            return replace(self.rankdistil[role[-1]], weight=weight)
        hybrid = plan.competitors["RD"]
        known = {
            "RD": hybrid,
            "RD-position": replace(hybrid, weights=Position()),
            "RD-equal": replace(hybrid, weights=Equal()),
            "CD": plan.competitors["CD"],
            "RRD": plan.rrd,
            "DE": plan.de,
        }
        return replace(known[role], weight=weight)

    def run(self, role: str, weight: float, seed: int) -> Experiment:
        """A method, or S, at a weight."""
        if role != "S":
            return self.plan.distilled(seed, role, self.settings(role, weight))
        alone = self.plan.student(seed)
        decay = float(f"{alone.training.weight_decay * weight:.3g}")
        return replace(alone, training=replace(alone.training, weight_decay=decay))

    def alone(self, chosen: Mapping[str, float]) -> list[Experiment]:
        """T and S of every seed, S with the decay ``chosen`` for it, or else with the plan's."""
        decay = chosen.get("S", 1)
        return [run for seed in self.plan.seeds for run in (self.plan.teacher(seed), self.run("S", decay, seed))]

    def trials(self) -> dict[str, dict[float, Experiment]]:
        """role -> weight -> run of the first seed."""
        first = self.plan.seeds[0]
        return {role: {w: self.run(role, w, first) for w in self.weights[role]} for role in ("S", *self.roles)}

    def rows(self, chosen: Mapping[str, float]) -> list[Experiment]:
        """The runs of the table: T, S, and every method that has a ``chosen`` weight, of all seeds."""
        found = [self.run(role, chosen[role], seed) for seed in self.plan.seeds for role in self.roles if role in chosen]
        return [*self.alone(chosen), *found]


def choose(comparable: Comparable, records: Iterable[Record | None]) -> dict[str, float]:
    """role -> the weight that is best on the validation items, the smaller one of equals. A role of which a trial is missing
    among the ``records`` has no choice yet."""
    by_key = {record.key: record for record in records if record is not None}
    found = {}
    for role, tried in comparable.trials().items():
        if all(run.key in by_key for run in tried.values()):
            found[role] = derrd.best_weight({weight: by_key[run.key].chosen[CHOOSES] for weight, run in tried.items()})
    return found


def weights_on_file(comparable: Comparable, *, committed_alone: bool = False) -> dict[str, float]:
    """What the trials choose that are finished here or committed (`choose`)."""
    trials = [run for tried in comparable.trials().values() for run in tried.values()]
    return choose(comparable, [derrd.on_file(run, committed_alone) for run in trials])


def runs_of(comparable: Comparable) -> list[Experiment]:
    """All runs of a comparison, in the order they are owed: T and S, the trials, and the rows with the weights that trials on
    file choose (a role with a trial missing has none yet)."""
    trials = [run for tried in comparable.trials().values() for run in tried.values()]
    return unique([*comparable.alone({}), *trials, *comparable.rows(weights_on_file(comparable))])


def all_runs(name: str) -> list[Experiment]:
    """Every run of a profile's comparisons."""
    return unique([run for comparable in comparables(name) for run in runs_of(comparable)])


def committed_rows(comparable: Comparable) -> list[Record]:
    """The committed records that are rows of the table, with the weights that committed trials choose."""
    chosen = weights_on_file(comparable, committed_alone=True)
    return [committed(run) for run in comparable.rows(chosen) if is_committed(run)]


def committed_comparisons() -> dict[str, list[Record]]:
    """Of the comparisons at paper size that have committed rows: name -> rows."""
    found = {comparable.name: committed_rows(comparable) for comparable in comparables("paper")}
    return {name: rows for name, rows in found.items() if rows}


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers beside which a student that was not distilled stands."""
    every = [comparable for name in derrd.PLANS for comparable in comparables(name)]
    return [c.plan.teacher(student.seed) for c in every if student in [c.run("S", w, student.seed) for w in c.weights["S"]]]


def trial_table(comparable: Comparable, records: Iterable[Record | None]) -> pd.DataFrame:
    """One row a role: nDCG@10 of the validation items at the weights tried, ascending, and the chosen one."""
    records = [record for record in records if record is not None]
    by_key, chosen, rows = {record.key: record for record in records}, choose(comparable, records), []
    for role, tried in comparable.trials().items():
        for weight, run in sorted(tried.items()):
            value = by_key[run.key].chosen[CHOOSES] if run.key in by_key else np.nan
            rows.append([comparable.name, role, weight, value, chosen.get(role) == weight])
    return pd.DataFrame(rows, columns=["runs", "role", "weight", CHOOSES, "chosen"])


# ------------------------------------------------------------------------------------------------------------------- table


def compared(records: Sequence[Record], a: str, b: str, resamples: int = 10_000) -> Comparison | None:
    """Role a - role b in nDCG@10 among all items, over the seeds that both have; None where there is none."""
    return derrd_report.compared(records, a, b, "N@10", "-full", resamples)


def table(comparable: Comparable, records: Sequence[Record], resamples: int = 10_000) -> pd.DataFrame:
    """One row a role, of one comparable's ``records`` (its rows): quality, difference to S with a 95 % interval, p after Holm's
    correction over the methods, agreement with the teacher, and what training cost.

    H@10-full and N@10-full: of the test items among all items, mean over users and seeds. over S: N@10-full less that of S.
    seconds: a run's training time, mean over the seeds that ran on the device of S (the teacher's not included; empty where
    none did). overlap@10 and kendall@50: of the teacher's and the student's lists, empty for T. Roles without a run are left
    out.
    """
    rows, said = [], {}
    devices = derrd_report.students_devices(records)
    for role in ("T", "S", *comparable.roles):
        runs = [record for record in records if record.description["role"] == role]
        if not runs:
            continue
        means = {name: np.mean([run.chosen[name] for run in runs]) for name in ("H@10-full", JUDGED, "N@10")}
        agreement = [run.agreement for run in runs if run.agreement]
        row = {"runs": comparable.name, "role": role, "seeds": len(runs), **means}
        c = None if role == "S" else compared(records, role, "S", resamples)
        if c is not None:
            row |= {"over S": c.difference, "low": c.low, "high": c.high, "effect_size": c.effect_size}
            row["better than S"] = verdict(c)
            if role != "T":
                said[role] = c.p_users
        for name in ("overlap@10", "kendall@50") if agreement else ():  # a small catalogue may lack one
            row[name] = np.mean([one.get(name, np.nan) for one in agreement])
        row |= {"epochs": np.mean([run.last_epoch for run in runs]), "seconds": _seconds(runs, devices)}
        rows.append(row)
    adjusted = holm(said)
    columns = ["runs", "role", "seeds", "H@10-full", JUDGED, "N@10", "over S", "low", "high", "effect_size", "p",
               "better than S", "overlap@10", "kendall@50", "epochs", "seconds"]  # fmt: skip
    found = pd.DataFrame(rows).reindex(columns=columns)
    return found.assign(p=found["role"].map(adjusted))


def _seconds(runs: Sequence[Record], devices: set[str]) -> float:
    """Mean training time of those that ran on one of the ``devices``: a GPU's seconds over a CPU's are no ratio."""
    found = [run.history["seconds"].sum() for run in runs if run.environment["device"] in devices]
    return np.mean(found) if found else np.nan


LONG = ["dataset", "model", "method", "metric", "mean", "std", "seeds", "trials", "train_seconds"]


def long_table(comparable: Comparable, records: Sequence[Record]) -> pd.DataFrame:
    """one_protocol.csv, for programs: one row a method and metric, of one comparable's ``records`` (its rows).

    metric: as in a run's chosen.json, of the test items (H@5 among the drawn items, H@5-full among all). mean, std: over seeds,
    the latter with one degree of freedom less, empty for one seed. trials: how many weights (S: decays) it had; T has none: 1.
    train_seconds: as ``seconds`` in `table`.
    """
    rows = []
    devices = derrd_report.students_devices(records)
    for role in ("T", "S", *comparable.roles):
        runs = [record for record in records if record.description["role"] == role]
        if not runs:
            continue
        seconds = _seconds(runs, devices)
        trials = len(comparable.weights.get(role, (1,)))
        named = {name for run in runs for name in run.chosen if name[:2] in ("H@", "M@", "N@")}
        for metric in sorted(name for name in named if not name.endswith(("-redraw", "-validation", "-validation-full"))):
            values = pd.Series([run.chosen[metric] for run in runs])
            what = [comparable.plan.dataset, family(runs[0].description), role, metric]
            rows.append([*what, values.mean(), values.std(), len(runs), trials, seconds])
    return pd.DataFrame(rows, columns=LONG)


def over_the_plans_own(
    comparable: Comparable, records: Sequence[Record], alone: Sequence[Record], resamples: int = 10_000
) -> pd.DataFrame:
    """Every method less S with the plan's own weight decay, which the methods' students have too: role, difference in nDCG@10
    among all items, its 95 % interval, verdict. Beside `table`, whose S has the decay that its trials chose.

    records: the rows of the table. alone: S with the plan's decay. Roles that have no seed with them are left out.
    """
    rows, others = [], [record for record in records if record.description["role"] != "S"]
    for role in ("T", *comparable.roles):
        c = compared([*others, *alone], role, "S", resamples)
        if c is not None:
            rows.append([comparable.name, role, c.difference, c.low, c.high, verdict(c)])
    return pd.DataFrame(rows, columns=["runs", "role", "over S, plan's decay", "low", "high", "better than S"])


def plans_own_students() -> dict[str, list[Record]]:
    """Of the committed comparisons in which S's trials chose another decay than the plan's: name -> S with the plan's."""
    found = {}
    for comparable in comparables("paper"):
        if weights_on_file(comparable, committed_alone=True).get("S", 1) != 1:
            alone = [comparable.plan.student(seed) for seed in comparable.plan.seeds]
            found[comparable.name] = [committed(run) for run in alone if is_committed(run)]
    return found


def against_each_other(records: Sequence[Record], roles: Sequence[str], resamples: int = 10_000) -> dict[str, Comparison]:
    """The best role, by nDCG@10 among all items, against every other of ``roles``: other -> best - other."""
    mean = {role: np.mean([r.chosen[JUDGED] for r in records if r.description["role"] == role]) for role in roles}
    best = max(mean, key=mean.get)
    found = {role: compared(records, best, role, resamples) for role in roles if role != best}
    return {role: c for role, c in found.items() if c is not None}


# The papers' own conclusions that this comparison can speak about: (source, sentence, a, b): a ranks better than b.
CONCLUSIONS = [
    ("RD, 2018", "RD ranks better than the student alone", "RD", "S"),
    ("RD, 2018", "the hybrid weighting beats position weights", "RD", "RD-position"),
    ("RD, 2018", "position weights beat equal ones", "RD-position", "RD-equal"),
    ("DE-RRD, 2020", "RRD beats RD", "RRD", "RD"),
    ("DE-RRD, 2020", "RRD beats CD", "RRD", "CD"),
    ("DE-RRD, 2020", "DE ranks better than the student alone", "DE", "S"),
    ("DE-RRD, 2020", "DE-RRD beats RRD", "DE-RRD", "RRD"),
    ("DE-RRD, 2020", "DE-RRD beats DE", "DE-RRD", "DE"),
    ("RankDistil, 2021", "the coupled loss beats RD", "RankDistil-C", "RD"),
    ("RankDistil, 2021", "the binary loss beats RD", "RankDistil-B", "RD"),
    ("RankDistil, 2021", "the pairwise loss beats RD", "RankDistil-P", "RD"),
]


def conclusions(comparable: Comparable, records: Sequence[Record], resamples: int = 10_000) -> pd.DataFrame:
    """What becomes of `CONCLUSIONS`, in the words of significance.py: replicates or indication, the same of the opposite, else
    open, or not run."""
    rows = []
    for source, sentence, a, b in CONCLUSIONS:
        c = compared(records, a, b, resamples)
        if c is None:
            rows.append([comparable.name, source, sentence, np.nan, np.nan, np.nan, "not run"])
            continue
        said = verdict(c)
        said = said if said != "no" else opposite(c) or "open"
        rows.append([comparable.name, source, sentence, c.difference, c.low, c.high, said])
    return pd.DataFrame(rows, columns=["runs", "source", "conclusion", "effect", "low", "high", "here"])


# ------------------------------------------------------------------------------------------------------------------- plans

# Of RD's three weightings the weights share a scale. Those of CD, DE and RRD are of sums; of DE-RRD both official weights are
# scaled at once. B and P sum over all items behind the list: their weights go down with the size of the catalogue.
WEIGHTS = {
    "smoke": {"S": (1.0, 3.0)} | dict.fromkeys(METHODS[:3], (0.1, 1.0)) | {
        "CD": (0.1, 1.0), "RRD": (1e-3, 1e-2), "DE": (1e-3, 1e-2), "DE-RRD": (0.1, 1.0), "RankDistil-C": (0.1, 1.0),
        "RankDistil-B": (1e-4, 1e-3), "RankDistil-P": (1e-5, 1e-4),
    },
    "small": {"S": (1.0, 3.0)} | dict.fromkeys(METHODS[:3], (0.3, 1.0)) | {
        "CD": (0.1, 0.3), "RRD": (0.03, 0.1), "DE": (0.03, 0.1), "DE-RRD": (0.3, 1.0), "RankDistil-C": (0.03, 0.1),
        "RankDistil-B": (1e-4, 1e-3), "RankDistil-P": (1e-5, 1e-4),
    },
    "paper": {"S": (0.3, 1.0, 3.0, 10.0)} | dict.fromkeys(METHODS[:3], (0.03, 0.1, 0.3, 1.0)) | {
        "CD": (0.1, 0.3, 1.0, 3.0), "RRD": (3e-4, 1e-3, 3e-3, 0.01), "DE": (0.003, 0.01, 0.03, 0.1),
        "DE-RRD": (0.3, 1.0, 3.0, 10.0), "RankDistil-C": (0.03, 0.1, 0.3, 1.0), "RankDistil-B": (1e-6, 1e-5, 1e-4, 1e-3),
        "RankDistil-P": (1e-7, 1e-6, 1e-5, 1e-4),
    },
}  # fmt: skip


def _forms(**sizes: int) -> dict[str, RankDistilSettings]:
    """RankDistil's forms with p and m of these ``sizes``; C with one order a query, which is drawn anew in every step."""
    return {form: RankDistilSettings(form=form, **sizes, **({"n_orders": 1} if form == "C" else {})) for form in RANKDISTIL}


def _of(name: str, plan: Plan, **sizes: int) -> Comparable:
    return Comparable(plan=plan, weights=WEIGHTS[name], rankdistil=_forms(**sizes))


def _sequential(profile: Profile) -> Plan:
    """RD's models at its settings, but judged by leave-one-out; its code does not choose an epoch, this protocol does."""
    return replace(derrd.PLANS["paper"], dataset=profile.dataset, models=profile.models, training=profile.training)


def _gowalla(plan: Plan) -> Plan:
    """DE-RRD's models on the data set of RD. There are four times as many interactions: with batches, rate and decay (which is
    weighed against a sum over the batch) four times as large, an epoch has as many steps, and a run takes a quarter of the
    time (DEVIATIONS.md)."""
    official = plan.training
    larger = replace(
        official, batch_size=4 * official.batch_size, learning_rate=4 * official.learning_rate,
        weight_decay=4 * official.weight_decay,
    )  # fmt: skip
    return replace(plan, dataset="gowalla", training=larger)


def comparables(name: str) -> list[Comparable]:
    """What a profile compares, in the order in which its runs are owed."""
    if name != "paper":
        plan = derrd.PLANS[name]
        seeds = (1, 2) if name == "smoke" else (1, 2, 3)
        return [_of(name, replace(plan, seeds=seeds), **({"p": 5, "m": 5} if name == "smoke" else {"m": 10}))]
    citeulike = derrd.PLANS["paper"]
    caser = PROFILES["paper"]
    plans = [citeulike, _gowalla(citeulike), _sequential(fossil(caser)), _sequential(caser)]
    return [_of(name, plan) for plan in plans]
