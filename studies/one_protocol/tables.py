"""Tables of the one protocol: quality, differences to S, cost; and what becomes of the papers' conclusions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from rdcore.eval.significance import Comparison
from rdcore.store.experiment import family
from rdcore.store.runs import Record
from studies.common.plan import Plan
from studies.common.plan import trial_table as all_trials
from studies.common.verdicts import NOT_ASSESSABLE, NOT_RUN, holm, verdict
from studies.derrd import tables as derrd_report
from studies.one_protocol.plan import METRIC, comparable, roles, strengths


def compared(records: Sequence[Record], a: str, b: str) -> Comparison | None:
    """Role a - role b in nDCG@10 among all items, over the seeds that both have; None where there is none."""
    return derrd_report.compared(records, a, b, "N@10", "-full")


def table(plan: Plan, records: Sequence[Record]) -> pd.DataFrame:
    """One row per role, of one comparable's ``records`` (its rows): quality, difference to S with a 95 % interval, p after
    Holm's correction over the methods, agreement with the teacher, and what training cost.

    H@10-full and N@10-full: of the test items among all items, mean over users and seeds. over S: N@10-full minus that of S.
    seconds: a run's training time, mean over the seeds that ran where most of S did (the teacher's not included; empty where
    none did). overlap@10 and kendall@50: of the teacher's and the student's lists, empty for T. Roles without a run are left
    out.
    """
    rows, said = [], dict.fromkeys(roles(plan), np.nan)  # a method that has not run counts for Holm too
    device = derrd_report.students_device(records)
    for role in ("T", "S", *roles(plan)):
        runs = [record for record in records if record.description["role"] == role]
        if not runs:
            continue
        means = {name: np.mean([run.chosen[name] for run in runs]) for name in ("H@10-full", METRIC, "N@10")}
        agreement = [run.agreement for run in runs if run.agreement]
        row = {"runs": plan.label, "role": role, "seeds": len(runs), **means}
        c = None if role == "S" else compared(records, role, "S")
        if c is not None:
            row |= {"over S": c.difference, "low": c.low, "high": c.high, "effect_size": c.effect_size}
            row["better than S"] = verdict(c)
            if role != "T":
                said[role] = c.p
        for name in ("overlap@10", "kendall@50") if agreement else ():  # a small catalogue may lack one
            row[name] = np.mean([one.get(name, np.nan) for one in agreement])
        row |= {"epochs": np.mean([run.last_epoch for run in runs]), "seconds": _seconds(runs, device)}
        rows.append(row)
    adjusted = holm(said)
    columns = ["runs", "role", "seeds", "H@10-full", METRIC, "N@10", "over S", "low", "high", "effect_size", "p",
               "better than S", "overlap@10", "kendall@50", "epochs", "seconds"]  # fmt: skip
    found = pd.DataFrame(rows).reindex(columns=columns)
    return found.assign(p=found["role"].map(adjusted))


def _seconds(runs: Sequence[Record], device: str) -> float:
    """Mean training time of those that ran on the ``device``: a GPU's seconds over a CPU's are no ratio."""
    found = [run.history["seconds"].sum() for run in runs if run.environment["device"] == device]
    return np.mean(found) if found else np.nan


LONG = ["dataset", "model", "method", "metric", "mean", "std", "seeds", "trials", "train_seconds"]


def long_table(plan: Plan, records: Sequence[Record]) -> pd.DataFrame:
    """one_protocol.csv, for programs: one row for each method and metric, of one comparable's ``records`` (its rows).

    metric: as in a run's chosen.json, of the test items (H@5 among the drawn items, H@5-full among all). mean, std: over seeds,
    the latter with one degree of freedom less, empty for one seed. trials: how many weights (S: decays) it had; T has none: 1.
    train_seconds: as ``seconds`` in `table`.
    """
    rows = []
    device = derrd_report.students_device(records)
    for role in ("T", "S", *roles(plan)):
        runs = [record for record in records if record.description["role"] == role]
        if not runs:
            continue
        seconds = _seconds(runs, device)
        trials = len(plan.grids.get(role, (1,)))
        named = {name for run in runs for name in run.chosen if name[:2] in ("H@", "M@", "N@")}
        for metric in sorted(name for name in named if not name.endswith(("-redraw", "-validation", "-validation-full"))):
            values = pd.Series([run.chosen[metric] for run in runs])
            what = [plan.dataset, family(runs[0].description), role, metric]
            rows.append([*what, values.mean(), values.std(), len(runs), trials, seconds])
    kinds = dict.fromkeys(["mean", "std", "train_seconds"], float)  # also without rows, or a table beside it gets 17 digits
    return pd.DataFrame(rows, columns=LONG).astype(kinds)


def over_the_chosen_decay(plan: Plan, records: Sequence[Record], alone: Sequence[Record]) -> pd.DataFrame:
    """Every method minus S with the weight decay that S's trials chose: role, difference in nDCG@10 among all items, its 95 %
    interval, verdict. It completes `table`, whose S has the plan's decay.

    records: the rows of the table. alone: S with the chosen decay. Roles that have no seed with them are left out.
    """
    rows, others = [], [record for record in records if record.description["role"] != "S"]
    for role in ("T", *roles(plan)):
        c = compared([*others, *alone], role, "S")
        if c is not None:
            rows.append([plan.label, role, c.difference, c.low, c.high, verdict(c)])
    return pd.DataFrame(rows, columns=["runs", "role", "over S, chosen decay", "low", "high", "better than S"])


# Conclusions of the two papers whose data are of this kind: (source, sentence, a, b): a ranks better than b. RankDistil's data
# are documents of search queries.
CONCLUSIONS = [
    ("RD, 2018", "RD ranks better than the student alone", "RD", "S"),
    ("RD, 2018", "the hybrid weighting beats position weights", "RD", "RD-position"),
    ("RD, 2018", "position weights beat equal ones", "RD-position", "RD-equal"),
    ("DE-RRD, 2020", "RRD beats RD", "RRD", "RD"),
    ("DE-RRD, 2020", "RRD beats CD", "RRD", "CD"),
    ("DE-RRD, 2020", "DE ranks better than the student alone", "DE", "S"),
    ("DE-RRD, 2020", "DE-RRD beats RRD", "DE-RRD", "RRD"),
    ("DE-RRD, 2020", "DE-RRD beats DE", "DE-RRD", "DE"),
]


def conclusions(plan: Plan, records: Sequence[Record]) -> pd.DataFrame:
    """What becomes of `CONCLUSIONS`, in the words of `verdicts`. The papers' effects are of other data and metrics, so none
    is next to ours. Two methods whose trials have no strength in common are not assessable."""
    rows, strong = [], strengths(plan)
    for source, sentence, a, b in CONCLUSIONS:
        c = compared(records, a, b)
        if c is None:
            rows.append([plan.label, source, sentence, np.nan, np.nan, np.nan, NOT_RUN])
            continue
        word = verdict(c) if comparable(strong, a, b) else NOT_ASSESSABLE
        rows.append([plan.label, source, sentence, c.difference, c.low, c.high, word])
    return pd.DataFrame(rows, columns=["runs", "source", "conclusion", "effect", "low", "high", "here"])


def strengths_in_words(plan: Plan) -> str:
    """The smallest and the largest strength of every method's trials."""
    ranges = {role: [f"{value:.3g}" for value in ends] for role, ends in strengths(plan).items()}
    return ", ".join(f"{role} {low} to {high}" for role, (low, high) in ranges.items())


def trial_table(plan: Plan, records: Iterable[Record | None]) -> pd.DataFrame:
    """A row for each role and weight that is on record: nDCG@10 of the validation items, and whether the weight is chosen."""
    return all_trials(plan, records).dropna(subset="epoch").drop(columns="epoch")
