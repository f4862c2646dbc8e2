"""Tables of the flexibility study: gains with intervals, trials, and what the gains go with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from rdcore.eval.significance import Comparison, compare
from rdcore.store.runs import Record
from studies.common.verdicts import holm
from studies.flexibility.matrices import IN_ORDER
from studies.flexibility.plan import V_SEED, Cell, Matrix, choose

METRICS = {"MAP": "AP", "nDCG@10": "nDCG@10", "P@10": "P@10"}
"""Metric -> the same of single users in a record."""
COLUMNS = ["dataset", "teacher", "student", "method", "metric", "gain", "low", "high", "seeds"]
CORRECTED = ["above 0, Holm", "below 0, Holm"]
VALIDATION = "MAP on validation"
EXPLAINED = ["gain and lead", "the same on validation", "gain and difference", "mean gain by teachers with order, %",
             "without order, %"]  # fmt: skip
Final = Mapping[tuple[Cell | str, int], Record]
"""(cell or student alone, seed) -> its record on stage F."""
Teaching = Mapping[tuple[str, int], Record]
"""(teacher, seed) -> its record on stage F."""


def together(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of several matrices below each other. Empty ones are left out: their columns have no types."""
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def users(record: Record, metric: str = "MAP", epoch: int | None = None) -> np.ndarray:
    """A metric of every user (n_users,), after an epoch, by default the last; NaN without test items."""
    return record.per_user(epoch)[METRICS[metric]].to_numpy(float)


def quality_alone(matrix: Matrix, final: Final, teaching: Teaching, tried: Iterable[Record]) -> pd.DataFrame:
    """MAP of each teacher after the epoch that it teaches from, and of each student alone, of those on record: the mean over
    seeds. A computed teacher is the same in every seed and counts as one. Beside it MAP on validation items, of one seed."""
    rows, validated = [], dict(zip(("teacher", "student"), on_validation(matrix, tried), strict=True))
    for role, names, found in (("teacher", matrix.teachers, teaching), ("student", matrix.students, final)):
        for name in names:
            curves = {record.key: record.metrics["MAP"] for (what, _), record in found.items() if what == name}.values()
            epoch = matrix.teachers[name].epoch if role == "teacher" else None
            values = [curve.iloc[-1] if epoch is None else curve.loc[epoch] for curve in curves]
            if values:
                rows.append([role, name, np.mean(values), len(values), validated[role].get(name, np.nan)])
    return pd.DataFrame(rows, columns=["role", "model", "MAP", "seeds", VALIDATION])


def on_validation(matrix: Matrix, tried: Iterable[Record]) -> tuple[dict[str, float], dict[Cell | str, float]]:
    """MAP on validation items with one seed, of those on record: of each teacher after the epoch that it teaches from; and of
    each student alone or taught (a cell) the better trial, where all of its trials are there."""
    curves = {record.key: record.metrics["MAP"] for record in tried}
    teachers, students = {}, {}
    for name, own in matrix.teachers.items():
        curve = curves.get(matrix.teacher(name, "V", V_SEED).key)
        if curve is not None:
            teachers[name] = curve.iloc[-1] if own.epoch is None else curve.loc[own.epoch]
    for what, trials in matrix.trials().items():
        found = [curves[run.key].iloc[-1] for run in trials.values() if run.key in curves]
        if len(found) == len(trials):
            students[what] = max(found)
    return teachers, students


def validation_points(matrix: Matrix, tried: Iterable[Record]) -> pd.DataFrame:
    """As `points`, without the difference: gains and leads on validation items, of one seed and each student's better trial."""
    (teachers, students), rows = on_validation(matrix, tried), []
    for cell in matrix.cells:
        if cell in students and cell.student in students and cell.teacher in teachers:
            alone = students[cell.student]
            ahead = (100 * (value / alone - 1) for value in (students[cell], teachers[cell.teacher]))
            rows.append([matrix.dataset, *cell, *ahead])
    return pd.DataFrame(rows, columns=["dataset", "teacher", "student", "method", "gain", "lead"])


def gain(final: Final, cell: Cell, metric: str = "MAP", seeds: Sequence[int] | None = None) -> Comparison | None:
    """The student of a cell minus the student alone, over the ``seeds`` that both have; None without any."""
    both = [seed for what, seed in final if what == cell and (cell.student, seed) in final]
    both = [seed for seed in both if seeds is None or seed in seeds]
    if not both:
        return None
    taught, alone = ([users(final[what, seed], metric) for seed in both] for what in (cell, cell.student))
    return compare(taught, alone)


def gains(matrix: Matrix, final: Final) -> dict[Cell, Comparison]:
    """The gain in MAP of every cell that is on record."""
    found = {cell: gain(final, cell) for cell in matrix.cells}
    return {cell: one for cell, one in found.items() if one is not None}


def flexibility(matrix: Matrix, final: Final) -> pd.DataFrame:
    """flexibility.csv: a row for every cell on record and every metric. gain: mean difference to the student alone
    over users and seeds, with its 95 % interval."""
    rows = []
    for cell in matrix.cells:
        for metric in METRICS:
            one = gain(final, cell, metric)
            if one is not None:
                rows.append([matrix.dataset, *cell, metric, one.difference, one.low, one.high, one.n_seeds])
    return pd.DataFrame(rows, columns=COLUMNS)


def wide(found: Mapping[Cell, Comparison]) -> pd.DataFrame:
    """The matrix for people: a row for each student and method, a column for each teacher, the gain in MAP in per cent
    of the student alone with its interval. An interval of two seeds that goes beyond 100 % is 'wide'."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell, one in found.items():
        gain_, low, high = (100 * value / one.mean_b for value in (one.difference, one.low, one.high))
        ends = f"{low:+.1f} to {high:+.1f}" if max(-low, high) < 100 else "wide"
        rows.setdefault((cell.student, cell.method), {})[cell.teacher] = f"{gain_:+.1f} ({ends})"
    table = pd.DataFrame([{"student": s, "method": m, **row} for (s, m), row in rows.items()])
    return table.fillna("")


def moments(matrix: Matrix, last: Final, every: Final) -> pd.DataFrame:
    """11_moments.csv: what a student without memory gains in MAP from a teacher with one, asked behind the user's last item
    (teacher_at 'last') and at every training row ('query'), over the seeds of each. matrix: of `every_moment`."""
    rows = []
    for cell in matrix.cells:
        for at, final in (("query", every), ("last", last)):
            if (one := gain(final, cell)) is not None:
                rows.append([matrix.dataset, *cell, at, one.difference, one.low, one.high, one.n_seeds])
    return pd.DataFrame(rows, columns=["dataset", "teacher", "student", "method", "teacher_at", "gain", "low", "high", "seeds"])


def moments_wide(matrix: Matrix, last: Final, every: Final) -> pd.DataFrame:
    """The same for people: `wide`, first the rows of the one way, then those of the other, of cells that have both."""
    found = [gains(matrix, final) for final in (every, last)]
    parts = [wide({cell: one for cell, one in own.items() if all(cell in other for other in found)}) for own in found]
    asked = ("at every training row", "behind the last item")
    return together([part.assign(asked=how)[["asked", *part]] for how, part in zip(asked, parts, strict=True)])


def counts(found: Mapping[Cell, Comparison]) -> pd.DataFrame:
    """A row for each student and method: its cells, in how many the interval lies above 0 and in how many below, and the
    same by p < .05 after Holm's correction over all cells of the matrix."""
    p = holm({cell: one.p for cell, one in found.items()})
    rows = []
    for student, method in dict.fromkeys((cell.student, cell.method) for cell in found):
        own = {cell: one for cell, one in found.items() if (cell.student, cell.method) == (student, method)}
        left = [one.difference for cell, one in own.items() if p[cell] < 0.05]
        above, below = sum(one.low > 0 for one in own.values()), sum(one.high < 0 for one in own.values())
        seeds = min(one.n_seeds for one in own.values())
        corrected = [sum(gain > 0 for gain in left), sum(gain < 0 for gain in left)] if seeds > 1 else [pd.NA] * 2
        rows.append([student, method, len(own), seeds, above, below, *corrected])
    return pd.DataFrame(rows, columns=["student", "method", "teachers", "seeds", "above 0", "below 0", *CORRECTED])


def first_seed_and_all(final: Final, found: Mapping[Cell, Comparison]) -> pd.DataFrame:
    """What one seed would have said: a row for every cell with at least two seeds: the gain of the first seed alone with
    the interval over users, that of all seeds, how the gains of single seeds spread, and whether both say the same."""
    rows = []
    for cell, one in found.items():
        if one.n_seeds > 1:
            first = gain(final, cell, seeds=[min(seed for what, seed in final if what == cell)])
            words = [_word(first), _word(one)]
            rows.append([*cell, first.difference, words[0], one.difference, words[1], np.std(one.seed_differences, ddof=1),
                         words[0] == words[1]])  # fmt: skip
    names = ["teacher", "student", "method", "one seed", "it says", "all seeds", "they say", "std of seeds", "same"]
    return pd.DataFrame(rows, columns=names)


def _word(one: Comparison) -> str:
    return "better" if one.low > 0 else "worse" if one.high < 0 else "open"


def trial_table(matrix: Matrix, records: Sequence[Record | None]) -> pd.DataFrame:
    """A row for every trial on record: MAP on validation items after the last epoch, and whether it is chosen. Of a student
    alone the value is a factor of its weight decay."""
    by_key, chosen = {record.key: record for record in records if record is not None}, choose(matrix, records)
    rows = []
    for what, tried in matrix.trials().items():
        names = what if isinstance(what, Cell) else ("", what, "alone")
        for value, run in sorted(tried.items()):
            if run.key in by_key:
                quality = by_key[run.key].metrics["MAP"].iloc[-1]
                rows.append([matrix.dataset, *names, value, quality, chosen.get(what) == value])
    return pd.DataFrame(rows, columns=["dataset", "teacher", "student", "method", "value", "MAP on validation", "chosen"])


def points(matrix: Matrix, final: Final, teaching: Teaching) -> pd.DataFrame:
    """A row for every cell on record: its gain, what its teacher is ahead of the student alone (both in per cent of the
    student's MAP), and how different the two are: 1 minus the correlation of the users' AP, mean over seeds."""
    rows = []
    for cell, one in gains(matrix, final).items():
        epoch, leads, different = matrix.teachers[cell.teacher].epoch, [], []
        for seed in (seed for what, seed in final if what == cell and (cell.student, seed) in final):
            if (cell.teacher, seed) in teaching:
                teacher, student = users(teaching[cell.teacher, seed], epoch=epoch), users(final[cell.student, seed])
                both = ~np.isnan(teacher) & ~np.isnan(student)
                leads.append(np.mean(teacher[both]) - np.mean(student[both]))
                different.append(1 - np.corrcoef(teacher[both], student[both])[0, 1])
        if leads:
            relative = 100 / one.mean_b
            rows.append([matrix.dataset, *cell, relative * one.difference, relative * np.mean(leads), np.mean(different),
                         one.n_seeds])  # fmt: skip
    return pd.DataFrame(rows, columns=["dataset", "teacher", "student", "method", "gain", "lead", "different", "seeds"])


def explained(cells: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
    """What the gain goes with, a row for each student and method: Spearman's rank correlation with the teacher's lead, on test
    and on validation items, and with its difference from the student, and the mean gain by teachers that look at the order of
    items and by the others. cells: from `points`; validation: from `validation_points`. No p: one student and the same few
    teachers stand behind all cells of a row."""
    rows = []
    for (student, method), part in cells.groupby(["student", "method"], sort=False):
        if len(part) > 2:
            tried = validation[(validation["student"] == student) & (validation["method"] == method)]
            pairs = ((part, "lead"), (tried, "lead"), (part, "different"))
            found = [stats.spearmanr(own["gain"], own[name]).statistic if len(own) > 2 else np.nan for own, name in pairs]
            ordered = part["teacher"].isin(IN_ORDER)
            found += [part.loc[own, "gain"].mean() for own in (ordered, ~ordered)]
            rows.append([student, method, len(part), *found])
    return pd.DataFrame(rows, columns=["student", "method", "teachers", *EXPLAINED])
