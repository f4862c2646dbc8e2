"""What the matrices say: the runs of each, on record or trained here, and the section of the results page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed, load_or_train_all
from studies.common import text
from studies.common.plan import those_committed
from studies.common.study import Result
from studies.common.verdicts import SEEDS_FOR_A_VERDICT
from studies.flexibility import tables as of
from studies.flexibility.matrices import EVERY_MOMENT, FACTORS, MATRICES
from studies.flexibility.plan import V_SEED, Cell, Matrix, choose, chosen_on_file


@dataclass(frozen=True, kw_only=True)
class Found:
    """A matrix and its runs, as far as there are any."""

    matrix: Matrix
    tried: Sequence[Record]
    """Runs of stage V: the trials; from the committed records also the teachers of the trials."""
    chosen: dict[Cell | str, float]
    final: of.Final
    teaching: of.Teaching

    @property
    def records(self) -> list[Record]:
        """Each record once, those of the tables first."""
        every = [*self.teaching.values(), *self.final.values(), *self.tried]
        return list({record.key: record for record in every}.values())

    @property
    def title(self) -> str:
        """The data set's name."""
        return text.DATASETS.get(self.matrix.dataset, self.matrix.dataset)


def on_record(matrix: Matrix) -> Found:
    """The committed runs of a matrix, at the weights that committed trials choose."""
    chosen = chosen_on_file(matrix, committed_alone=True)
    tried = [*(matrix.teacher(name, "V", V_SEED) for name in matrix.teachers), *matrix.trial_runs()]
    return Found(
        matrix=matrix, tried=[committed(run) for run in tried if is_committed(run)], chosen=chosen,
        final=those_committed(matrix.final(chosen)), teaching=those_committed(matrix.teaching()),
    )  # fmt: skip


def to_train(profile: str, recompute: bool) -> tuple[Matrix, ...]:
    """The matrices that a notebook trains: none of profile paper, which shows committed records, unless ``recompute``."""
    return () if profile == "paper" and not recompute else MATRICES[profile]


def trained(matrix: Matrix, **options) -> Found:
    """All runs of a matrix, from the run store or trained: the trials, what they choose, then the final runs. options: of
    `load_or_train_all`."""

    def have(runs: dict) -> dict:
        return dict(zip(runs, load_or_train_all(list(runs.values()), **options), strict=True))

    trials = {(what, value): run for what, tried in matrix.trials().items() for value, run in tried.items()}
    tried = list(have(trials).values())
    chosen = choose(matrix, tried)
    found = have(matrix.teaching()), have(matrix.final(chosen))
    return Found(matrix=matrix, tried=tried, chosen=chosen, teaching=found[0], final=found[1])


def by_chance(found: Found, n: int = 4, **options) -> list[str]:
    """What seeds do without any teacher, a sentence for each student: n students alone that differ in the seed, trained where
    they are missing. options: of `load_or_train_all`."""
    every, sentences = of.gains(found.matrix, found.final), []
    for student in found.matrix.students:
        again = [found.matrix.alone(student, "F", seed, found.chosen[student]) for seed in range(1, n + 1)]
        quality = [run.metrics["MAP"].iloc[-1] for run in load_or_train_all(again, **options)]
        gains = [one.difference for cell, one in every.items() if cell.student == student]
        rare = 2 * 2**0.5 * np.std(quality, ddof=1)
        sentences.append(
            f"**{student}** alone with {n} seeds has a MAP of {min(quality):.4f} to {max(quality):.4f}. By this spread two"
            f" students that differ in the seed alone are rarely more than {rare:.4f} apart (two standard deviations of a"
            " difference)."
            f" {sum(abs(gain) > rare for gain in gains)} of {len(gains)} gains are larger."
        )
    return sentences


def one_seed_in_words(seeds: pd.DataFrame) -> str:
    """What one seed would have said of cells that have several. seeds: from `tables.first_seed_and_all`."""
    if seeds.empty:
        return "No cell with several seeds is on record yet, so the seeds cannot be held against each other here."
    better = [(seeds[says] == "better").sum() for says in ("it says", "they say")]
    return (
        f"In {(~seeds['same'].astype(bool)).sum()} of {len(seeds)} cells the first seed alone says something else than all"
        f" seeds together: it calls {better[0]} better, they {better[1]}. Its interval counts users alone."
        f" Between seeds, a cell's gain has a standard deviation of {seeds['std of seeds'].median():.4f} in MAP (median of"
        f" the cells); the median gain is {seeds['all seeds'].median():+.4f}."
    )


CONTROL = """when a teacher with a memory is asked. BPR-MF has no memory and cannot tell the moments of a user apart. So
SASRec, Fossil and Caser teach it by the list behind the user's last training item. They teach a student with a memory by a list
for each training row, made from the items before it. This is what BPR-MF gains from either:"""


def by_moment(found: Sequence[Found], profile: str = "paper") -> list[tuple[Found, Found]]:
    """Of each matrix found whose control `every_moment` has runs on record: the matrix itself and the control."""
    own = {one.matrix.dataset: one for one in found}
    both = [(own[control.dataset], on_record(control)) for control in EVERY_MOMENT[profile]]
    return [(last, every) for last, every in both if not of.moments_wide(every.matrix, last.final, every.final).empty]


def missing(found: Found) -> list[Experiment]:
    """The planned runs that are not on record: trials, teachers, and final runs of what is chosen."""
    return [run for run in found.matrix.runs(found.chosen) if not is_committed(run)]


def progress(found: Sequence[Found]) -> pd.DataFrame:
    """A row for each matrix and student: how many of its cells have all their trials, and how many which number of seeds, on
    record."""
    rows = []
    for one in found:
        for student, settings in one.matrix.students.items():
            cells = [cell for cell in one.matrix.cells if cell.student == student]
            seeds = [sum((cell, seed) in one.final for seed in settings.seeds) for cell in cells]
            rows.append([one.title, student, len(cells), sum(cell in one.chosen for cell in cells),
                         *(sum(count >= n for count in seeds) for n in (1, 3))])  # fmt: skip
    return pd.DataFrame(rows, columns=["data set", "student", "cells", "with trials", "with a seed", "with three seeds"])


def in_words(found: Found) -> list[str]:
    """What a matrix says of each student: in how many cells it gains, and taught by whom."""
    every, sentences = of.gains(found.matrix, found.final), []
    for student in dict.fromkeys(cell.student for cell in every):
        own = {cell: one for cell, one in every.items() if cell.student == student}
        above = [cell for cell, one in own.items() if one.low > 0]
        below = [cell for cell, one in own.items() if one.high < 0]
        teachers = list(dict.fromkeys(cell.teacher for cell in own))
        by_all = [name for name in teachers if all(cell in above for cell in own if cell.teacher == name)]
        by_any = [name for name in teachers if any(cell.teacher == name for cell in above)]
        sentences.append(
            f"**{student}** is clearly better than alone in {len(above)} of {text.count(len(own), 'cell')} (the interval lies"
            f" above 0) and clearly worse in {len(below)} (below 0); chance alone gives about {0.025 * len(own):.1f} of each."
            f" {who_helps(teachers, by_any, by_all)}"
        )
    return sentences


def who_helps(teachers: Sequence[str], by_any: Sequence[str], by_all: Sequence[str]) -> str:
    """One sentence: which of the ``teachers`` make a student clearly better by any method, and which by all.

    >>> who_helps(["EASE", "POP"], [], []), who_helps(["EASE", "POP"], ["EASE"], [])
    ('No teacher makes it clearly better.', 'EASE makes it clearly better by at least one method, but not by every method.')
    """

    def joined(names: Sequence[str]) -> str:
        return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

    if not by_any:
        return "No teacher makes it clearly better."
    every, one = len(by_any) == len(teachers) > 1, len(by_any) == 1
    head = f"{'Every teacher' if every else joined(by_any)} {'makes' if every or one else 'make'} it clearly better by"
    if len(by_all) == len(by_any):
        return f"{head} every method."
    few = f"{joined(by_all)} by" if by_all else "but not by" if one else "none of them by"
    return f"{head} at least one method, {few} every method."


def by_quality(found: Found) -> str:
    """Do better teachers give more? One sentence over all cells of a matrix; "" without cells."""
    cells = of.points(found.matrix, found.final, found.teaching)
    if len(cells) < 3:
        return ""
    ahead, behind = cells[cells["lead"] > 0], cells[cells["lead"] <= 0]
    parts = [f"{(part['gain'] > 0).sum()} of {text.count(len(part), 'cell')} whose teacher is {word} of the student alone"
             for part, word in ((ahead, "ahead"), (behind, "not ahead")) if len(part)]  # fmt: skip
    lead, different = (stats.spearmanr(cells["gain"], cells[name]).statistic for name in ("lead", "different"))
    return (
        f"{found.title}: the mean gain is above 0 in {' and in '.join(parts)}. Over all {len(cells)} cells the rank correlation"
        f" of the gain is {lead:+.2f} with the teacher's lead and {different:+.2f} with its difference from the student."
    )


def still_rising(found: Found) -> str:
    """How much the students alone still gained in MAP between their last two evaluations, mean over seeds; "" without any."""
    parts = []
    for student in found.matrix.students:
        curves = [record.metrics["MAP"] for (what, _), record in found.final.items() if what == student]
        curves = [curve for curve in curves if len(curve) > 1]
        if curves:
            rise = 100 * np.mean([curve.iloc[-1] / curve.iloc[-2] - 1 for curve in curves])
            parts.append(f"{student} {rise:+.1f} % (epochs {curves[0].index[-2]} to {curves[0].index[-1]})")
    if not parts:
        return ""
    return ("Trainings are short: between their last two evaluations the students alone still changed their MAP by"
            f" {', '.join(parts)}. So a part of a gain may be that a taught student learns faster.")  # fmt: skip


# -------------------------------------------------------------------------------- for the loops over all rooms


def tables() -> dict[str, pd.DataFrame]:
    """flexibility.csv, from the committed records."""
    found = [of.flexibility(one.matrix, one.final) for one in map(on_record, MATRICES["paper"])]
    return {"flexibility": of.together(found)}


def headline() -> list[Result]:
    """None: no paper has these numbers."""
    return []


def findings() -> list[str]:
    """None: the section of the results page says it, with intervals."""
    return []


def results() -> str:
    """The section of docs/results.md."""
    head = """## Any teacher, any student

Notebook 11: does distillation work "orthogonally to the choice of ranking models for teacher and student", as the abstract of
Ranking Distillation says? Every teacher teaches every student by RD with position weights, by RRD and by RankDistil-C (here
with the teacher's own order, not with orders drawn from its scores). Gains in MAP over the student alone, in per cent of its
MAP, with 95 % intervals over users and seeds. Each cell has as many trials of its weight on validation data as the student
alone has of its weight decay."""
    beyond = "\nTwo are tried, so the one that is taken is always the smaller or the larger: a better one may lie beyond."
    parts = [head + beyond * (len(FACTORS) == 2)]
    found = [on_record(matrix) for matrix in MATRICES["paper"]]
    for one in found:
        every = of.gains(one.matrix, one.final)
        todo = len(missing(one))
        if every:
            counts = of.counts(every)
            above, below, gained, lost = (counts[name].sum() for name in ("above 0", "below 0", *of.CORRECTED))
            corrected = f"; after Holm's correction {gained} above and {lost} below"
            corrected *= bool(counts[of.CORRECTED].notna().all(axis=None))
            seeds = min(c.n_seeds for c in every.values())
            quality = of.quality_alone(one.matrix, one.final, one.teaching, one.tried)
            teachers, students = (
                ", ".join(f"{row['model']} {row['MAP']:.4f} ({row[of.VALIDATION]:.4f})"
                          for row in quality[quality["role"] == role].to_dict("records"))
                for role in ("teacher", "student")
            )
            parts.append(
                f"{one.title}, {text.count(seeds, 'seed')}{', provisional' * (seeds < SEEDS_FOR_A_VERDICT)}: of {len(every)}"
                f" intervals {above} lie above 0 and {below} below{corrected}. MAP of the teachers: {teachers}; of the students"
                f" alone: {students}; in brackets on validation items, with one seed. {still_rising(one)}\n\n"
                + text.markdown(of.wide(every))
            )
        if todo:
            command = f"`rdcore train --only {one.matrix.only} --publish`"
            parts.append(f"{one.title}: {todo} planned runs are not on record; {command} trains them (twice: the final runs are"
                         " planned when the trials are done).")  # fmt: skip
    for last, every in by_moment(found):
        table = text.markdown(of.moments_wide(every.matrix, last.final, every.final))
        parts.append(f"{last.title}: {CONTROL}\n\n{table}")
    return "\n\n".join(parts)
