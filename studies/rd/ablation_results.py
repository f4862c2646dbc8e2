"""The sweeps at the paper's size, Caser on Gowalla: what is on record of them, for notebook 04, docs/results.md and the
claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.records import Record
from studies.common import text
from studies.common.earlier import on_record
from studies.common.plan import Plan, those_committed
from studies.common.profiles import PROFILES
from studies.common.study import made_on
from studies.rd import ablation_report as reports
from studies.rd.ablations import HYBRID, POSITION, SEEDS, Sweeps, of_tables, points, sweeps

SETTINGS = {  # sweep -> its name on a page, and what is varied
    "K": ("K", POSITION), "lambda": ("λ", POSITION), "loss weight": ("loss weight w", POSITION),
    "student size": ("student size", POSITION), "share of data": ("share of data", POSITION),
    "left out": ("left out", POSITION), "mu": ("μ", HYBRID), "rank samples": ("rank samples", HYBRID),
    "start epoch": ("start epoch", HYBRID),
}  # fmt: skip
ENOUGH = 0.95  # of the weight of a list


class OnRecord(NamedTuple):
    """The sweeps of some seeds, and what is on record of them."""

    shown: list[Sweeps]
    """One for each seed that is shown."""
    found: dict[str, Record]
    """By the key of the planned run, with the runs around which they vary."""
    level: dict[str, float]
    """MAP of those runs: role -> mean over the seeds."""
    noise: reports.Noise
    usual: set[str]
    """Keys of the records of RD around which they vary."""

    @property
    def table(self) -> pd.DataFrame:
        """A row for each sweep, value and role."""
        return reports.table(self.shown, self.found)

    @property
    def records(self) -> list[Record]:
        """Everything that the picture and the table rest on."""
        return list(self.found.values())


def weightings(plan: Plan) -> list[Experiment]:
    """The runs of every weighting, all seeds: on them it is measured how far runs of one seed differ by chance."""
    return [plan.distilled("F", seed, role) for role in plan.methods for seed in plan.seeds["F"]]


def at_size() -> OnRecord:
    """What is on record at the paper's size."""
    caser, _ = PROFILES["paper"].rd
    seeds = caser.seeds["V"][:SEEDS]
    by_seed, tables = [sweeps(caser, "V", seed) for seed in seeds], [of_tables(caser, "V", seed) for seed in seeds]
    found = _committed([*(run for each in by_seed for run in points(each)), *(run for each in tables for run in each.values())])
    shown = reports.shown(by_seed, found)
    tables = tables[: len(shown)]
    distilled, student = (found.get(tables[0][role].key) for role in (POSITION, "S"))
    noise = reports.noise(distilled, student, list(_committed(weightings(caser)).values()))
    varied = [each[role].key for each in tables for role in (POSITION, HYBRID)]
    usual = {found[key].key for key in varied if key in found}
    return OnRecord(shown, found, reports.levels(tables, found), noise, usual)


def _committed(planned: Sequence[Experiment]) -> dict[str, Record]:
    """Key of the planned run -> its record, of the revision that is on record."""
    kept = {run.key: one for run, one in zip(planned, on_record(planned), strict=True)}
    return those_committed(kept)


def by_setting(on_file: OnRecord) -> pd.DataFrame:
    """A row for each setting with at least two values on record: MAP by value (that of the tables in bold), the distance of
    the best and the worst, and whether it is beyond chance."""
    table, rows = on_file.table, []
    for sweep, (name, base) in SETTINGS.items():
        apart = reports.spread(table, sweep, on_file.noise)
        if not apart["best"]:
            continue
        part, values = table[(table["sweep"] == sweep) & table["MAP"].notna()], {}
        for _, row in part.iterrows():
            number = f"{row['MAP']:.4f}"
            number = f"**{number}**" if set(row["key"].split()) <= on_file.usual else number
            values.setdefault(row["value"], []).append(f"{row['role']} {number}" if part["role"].nunique() > 1 else number)
        rows.append({
            "setting": name, "varied around": base,
            "MAP by value": " · ".join(f"{value}: {', '.join(each)}" for value, each in values.items()),
            "best - worst": f"{apart['best - worst']:.4f}", "beyond chance": apart["beyond chance"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def in_words(on_file: OnRecord) -> str:
    """Which settings matter, and where the balance of both losses is best; "" without two values of a setting."""
    table = on_file.table
    apart = [{"setting": name} | reports.spread(table, sweep, on_file.noise) for sweep, (name, _) in SETTINGS.items()]
    if not any(one["best"] for one in apart):
        return ""
    said = f"{reports.beyond_chance(apart)} {_reach()}"
    balance = reports.balance(table).dropna(subset="MAP").set_index("the paper's alpha")["MAP"]
    if len(balance) > 1:
        tried = ", ".join(f"{alpha:.2f}" for alpha in balance.index)
        said += f" Of the paper's α on record ({tried}), {balance.idxmax():.2f} is best."
    return said


def _reach() -> str:
    """How far down a list the position weights of the tables reach: why K can hardly matter."""
    settings = PROFILES["paper"].rd[0].methods[POSITION]
    share = settings.weights(settings.K, None, 1).cumsum(0)
    places = int((share < ENOUGH).sum()) + 1
    enough = f"the first {places} places of a list have {share[places - 1]:.0%} of the weight"
    return f"With λ = {settings.weights.lam:g} {enough}, so that K beyond them can hardly matter."


def balance_gains(on_file: OnRecord) -> list[float]:
    """MAP of both losses at equal weights (the paper's alpha .5) minus the better of S and distillation alone, seed by seed, as
    far as all three are on record."""
    found = []
    for each in on_file.shown:
        runs = [on_file.found.get(each["loss weight"][value][POSITION].key) for value in ("0", "1", "alone")]
        if all(runs):
            alone, both, taught = map(reports.last, runs)
            found.append(both - max(alone, taught))
    return found


def gains_at(on_file: OnRecord, sweep: str) -> dict[str, list[float]]:
    """MAP of RD - S at each value of a sweep that varies S too, of the seeds that have both runs of every value on record; {}
    where none has."""
    gains: dict[str, list[float]] = {}
    for each in on_file.shown:
        runs = {value: [on_file.found.get(roles[role].key) for role in (POSITION, "S")] for value, roles in each[sweep].items()}
        if all(map(all, runs.values())):
            for value, (taught, alone) in runs.items():
                gains.setdefault(value, []).append(reports.last(taught) - reports.last(alone))
    return gains


def results(on_file: OnRecord) -> str:
    """Its part of docs/results.md; "" without two values of a setting."""
    rows = by_setting(on_file)
    if rows.empty:
        return ""
    seeds = text.count(len(on_file.shown), "seed")
    level = ", ".join(f"{role} {value:.4f}" for role, value in on_file.level.items())
    words = (
        f"One setting at a time, Caser, 50 epochs, MAP on **validation** data, {seeds}; nothing is chosen by it. The runs "
        f"around which it varies: {level}; their value is bold. Two runs are apart by chance: {on_file.noise.said}. *Beyond "
        "chance*: the best and the worst of so many values are further apart than that explains. What each setting means: "
        f"[notebook 04](../notebooks/04_ablations.ipynb). {_reach()} [The picture](../figures/04_sweeps.png)."
    )
    return "\n\n".join(["### Ablations of RD with Caser", f"{words} {made_on(on_file.records)}", text.markdown(rows)])
