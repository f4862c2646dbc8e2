"""All methods under one protocol, as a study (studies/common/study.py), notebook 09: its runs, and its part of the results
page: every method's quality, and its distance to the student alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies.common import plan as plans
from studies.common import report, text
from studies.common.profiles import PROFILES
from studies.common.study import Result, made_on
from studies.common.verdicts import SEEDS_FOR_A_VERDICT
from studies.one_protocol.plan import METRIC, all_runs, committed_comparisons, students_with_the_chosen_decay
from studies.one_protocol.tables import long_table, over_the_chosen_decay
from studies.one_protocol.tables import table as quality

METHODS = list(PROFILES["paper"].one_protocol[0].methods)


def runs(profile: str) -> list[Experiment]:
    """Every run of a profile, in training order."""
    return all_runs(profile)


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.one_protocol])


def tables() -> dict[str, pd.DataFrame]:
    """The table for programs, from the committed records."""
    plans, compared = PROFILES["paper"].one_protocol, committed_comparisons()
    parts = [long_table(plan, compared[plan.label]) for plan in plans if plan.label in compared]
    return {"one_protocol": pd.concat(parts, ignore_index=True)}


def write_tables() -> list[Path]:
    """Of every comparison in which S's trials chose another weight decay than the plan's: all methods less that S."""
    comparisons, students, written = committed_comparisons(), students_with_the_chosen_decay(), []
    for plan in PROFILES["paper"].one_protocol:
        if plan.label in students and plan.label in comparisons:
            both = comparisons[plan.label], students[plan.label]
            name = f"09_chosen_decay_{plan.label.replace(' ', '_')}"
            records = [*both[0], *both[1]]
            written.append(report.write_table(over_the_chosen_decay(plan, *both), name, "paper", records, "rdcore readme"))
    return written


def by_seed(records: Sequence[Record]) -> dict[str, dict[int, float]]:
    """Role -> seed -> nDCG@10 among all items."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        found.setdefault(record.description["role"], {})[record.description["seed"]] = record.chosen[METRIC]
    return found


def over_student(values: Mapping[str, Mapping[int, float]], role: str) -> list[float]:
    """A role minus S, for each seed that both have."""
    one, alone = values.get(role, {}), values.get("S", {})
    return [one[seed] - alone[seed] for seed in sorted(one.keys() & alone.keys())]


def table(compared: Mapping[str, Sequence[Record]]) -> str:
    """Label of a comparison -> its rows: each role's nDCG@10, its mean difference to S over the seeds that both have,
    and the number of seeds, as Markdown."""
    lines = [{"": role} for role in ("T", "S", *METHODS)]
    for name, records in compared.items():
        values = by_seed(records)
        for line in lines:
            own, over = values.get(line[""], {}), over_student(values, line[""]) if line[""] != "S" else []
            line[text.titled(name)] = text.number(np.mean(list(own.values()))) if own else ""
            line[f"minus S ({text.titled(name)})"] = text.number(np.mean(over), "+.4f") if over else ""
            line[f"seeds ({text.titled(name)})"] = str(len(own)) if own else "not run"
    return text.markdown(pd.DataFrame(lines))


def chosen_decay(compared: Mapping[str, Sequence[Record]], decayed: Mapping[str, Sequence[Record]]) -> str:
    """A sentence for every comparison in which S's trials chose another weight decay than the methods' students have.
    decayed: S with it."""
    sentences = []
    for name, others in decayed.items():
        own = by_seed(compared[name])["S"].values()
        mean = np.mean([record.chosen[METRIC] for record in others])
        change = np.mean(list(own)) - mean
        file = f"../figures/tables/09_chosen_decay_{name.replace(' ', '_')}.md"
        sentences.append(
            f"{text.titled(name)}: S has {mean:.4f} with the weight decay that its own trials chose, on another device than the"
            f" plan's. Over that S, each number under `minus S` is {abs(change):.4f} {'larger' if change > 0 else 'smaller'}"
            f" ([table]({file}))."
        )
    return "\n".join(sentences)


def headline() -> list[Result]:
    """None: no paper has these numbers."""
    return []


def findings() -> list[str]:
    """How many methods are clearly better than the student alone, at these settings; no ranking of methods."""
    found, least = [], 0
    for plan in PROFILES["paper"].one_protocol:
        rows = committed_comparisons().get(plan.label)
        if not rows:
            continue
        methods = quality(plan, rows).set_index("role").drop(index=["T", "S"], errors="ignore").dropna(subset="low")
        above = [role for role in methods.index if methods.loc[role, "low"] > 0]
        sure = [role for role in above if methods.loc[role, "p"] < 0.05]
        seeds = int(methods["seeds"].min())
        least = min(seeds, least or seeds)
        found.append(f"{text.titled(plan.label)}, {len(above)} of {len(methods)} (by Holm {', '.join(sure) or 'none'})")
    few = ", provisional" * (least < SEEDS_FOR_A_VERDICT)
    said = f"With as many trials each, methods clearly better than S ({text.count(least, 'seed')}{few}): {'; '.join(found)}."
    return [f"{said} Strengths differ: no ranking."] if found else []


def results() -> str:
    """The section of docs/results.md."""
    compared = committed_comparisons()
    devices = "\n".join(f"* {text.titled(name)}: {made_on(records)}" for name, records in compared.items())
    devices = devices and f"\n{devices}\n"
    return f"""## All methods under one protocol

Notebook 09: BPR-MF with d = 200 and d = 20, on Gowalla with a split and batches of our own. Every method's weight is chosen
from four on validation items; S has the weight decay of the methods' students. This compares these settings. It does not rank
the methods: the four weights differ much in strength from method to method, and most choices are the smallest or the largest
of the four ([DEVIATIONS.md](../DEVIATIONS.md)). The metric is the textbook's nDCG@10 of the test items among **all** items.
RankDistil-C, -B and -P are RankDistil's coupled, binary and pairwise loss, partly [our choice](../DEVIATIONS.md#rankdistil).
`minus S` is the mean difference over the seeds that both have; intervals: [09_methods.md](../figures/tables/09_methods.md). To
train a cell: `rdcore train --only citeulike-L-BPR-RRD-d20-`, or the same with gowalla.
{devices}
{table(compared)}

{chosen_decay(compared, students_with_the_chosen_decay())}

![Every method minus the student alone, with 95 % intervals](../figures/09_quality.png)"""
