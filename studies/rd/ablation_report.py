"""The sweeps and controls of notebook 04 as tables and sentences. A run without a record has an empty place.

Sweeps of several seeds are means. The first seed is shown as far as it has run; a further one counts once as many of
its points are on record, so that all means of a picture are over the same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from rdcore.eval import significance
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from studies.common import text
from studies.common.gap import gap_recovered
from studies.common.plan import unique
from studies.common.verdicts import FEWEST_SEEDS
from studies.rd.ablations import POSITION, TAUGHT, Sweeps, papers_alpha, points

COLUMNS = ["sweep", "value", "role", "model", "MAP", "P@10", "nDCG@10", "seeds", "key"]
LONG = ["dataset", "model", "role", "sweep", "value", "metric", "mean", "std", "seeds", "stage"]  # for programs
QUALITY = ["MAP", "P@10", "nDCG@10"]
TWO_APART = 2 / math.sqrt(math.pi)  # mean distance of two normal numbers of spread 1: about 1.13
Records = Mapping[str, Record]
"""By the key of the planned run (a record of an earlier revision has another one); what was not run is not in it."""


def last(record: Record | None, metric: str = "MAP") -> float:
    """A metric after the last epoch; NaN without a record."""
    return float("nan") if record is None else float(record.metrics[metric].iloc[-1])


# ------------------------------------------------------------------------------------------------------------------ tables


def plan(sweeps: Sweeps) -> pd.DataFrame:
    """What is to be run: one row for each sweep. A run that several sweeps share is counted in each."""
    rows = [
        {"sweep": name, "values": "; ".join(values), "runs": len(unique(points({name: values})))}
        for name, values in sweeps.items()
    ]
    return pd.DataFrame(rows, columns=["sweep", "values", "runs"])


def shown(seeds: Sequence[Sweeps], found: Records) -> list[Sweeps]:
    """The first seed's sweeps, and those of every further seed that has as many points on record."""
    have = [sum(run.key in found for run in unique(points(sweeps))) for sweeps in seeds]
    return [sweeps for sweeps, n in zip(seeds, have, strict=True) if sweeps is seeds[0] or n >= have[0] > 0]


def _places(seeds: Sequence[Sweeps]) -> Iterator[tuple[str, str, str, list[Experiment]]]:
    """Sweep, value, role and the seeds' runs of every place of a table."""
    for sweep, values in seeds[0].items():
        for value, roles in values.items():
            for role in roles:
                yield sweep, value, role, [sweeps[sweep][value][role] for sweeps in seeds]


def _keys(runs: Sequence[Experiment], found: Records) -> str:
    """The records' keys; of what was not run the key with which it is made."""
    return " ".join(found[run.key].key if run.key in found else run.key for run in runs)


def table(seeds: Sequence[Sweeps], found: Records) -> pd.DataFrame:
    """One row for each sweep, value and role, as after the last epoch, mean over the seeds; the metrics of what was not run
    are empty. seeds: the sweeps of one seed or of several (`shown`)."""
    rows = []
    for sweep, value, role, runs in _places(seeds):
        quality = {metric: float(np.mean([last(found.get(run.key), metric) for run in runs])) for metric in QUALITY}
        named = {"sweep": sweep, "value": value, "role": role, "model": family(runs[0].description)}
        rows.append(named | quality | {"seeds": len(runs), "key": _keys(runs, found)})
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(QUALITY, float))


def long(seeds: Sequence[Sweeps], found: Records) -> pd.DataFrame:
    """The same for programs: a row for each metric, with the standard deviation over the seeds; what was not run has no row."""
    rows = []
    for sweep, value, role, runs in _places(seeds):
        records = [found[run.key] for run in runs if run.key in found]
        for metric in QUALITY if len(records) == len(runs) else ():
            values = [last(record, metric) for record in records]
            std = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            rows.append([runs[0].dataset, family(runs[0].description), role, sweep, value, metric, float(np.mean(values)), std,
                         len(values), runs[0].stage])  # fmt: skip
    return pd.DataFrame(rows, columns=LONG)


def levels(seeds: Sequence[Mapping[str, Experiment]], found: Records) -> dict[str, float]:
    """MAP of the runs around which the settings are varied, mean over the seeds. seeds: `ablations.of_tables` of each."""
    return {role: float(np.mean([last(found.get(runs[role].key)) for runs in seeds])) for role in seeds[0]}


def balance(frame: pd.DataFrame) -> pd.DataFrame:
    """The sweep over w with the paper's alpha next to it."""
    rows = frame[frame["sweep"] == "loss weight"]
    alphas = [papers_alpha(value) for value in rows["value"]]
    return pd.DataFrame({"w": rows["value"], "the paper's alpha": alphas} | {metric: rows[metric] for metric in QUALITY})


def wide(frame: pd.DataFrame, sweep: str, metric: str = "MAP") -> pd.DataFrame:
    """One sweep, a row for each value, a column for each role, in the order of the plan."""
    part = frame[frame["sweep"] == sweep]
    return part.pivot(index="value", columns="role", values=metric).loc[part["value"].unique(), part["role"].unique()]


# ------------------------------------------------------------------------------------------------------------------- noise


class Noise(NamedTuple):
    """How far two runs are apart that differ by chance alone."""

    size: float
    """The mean distance in MAP; NaN: not known."""
    df: float
    """Degrees of freedom behind it: infinite for a guess, which is taken as it is."""
    said: str
    """Where it comes from, with its numbers."""


def noise(distilled: Record | None, student: Record | None, others: Sequence[Record]) -> Noise:
    """What the runs at hand say about chance.

    Several roles with the same seeds measure it: runs of one seed share their start and their negatives, as the runs of a
    sweep do, and what is left of MAP without the means of roles and of seeds is chance. Otherwise it is guessed in two ways,
    of which the larger counts: how far RD - S moves over the later half of the evaluated epochs (their common rise cancels),
    and how far the same role is apart with two seeds.

    Args:
        distilled, student: RD-position and S of a sweep.
        others: runs that no sweep varies.
    """
    table = pd.Series({(r.description["role"], r.description["seed"]): last(r) for r in others}, dtype=float)
    table = table.unstack().dropna(axis="columns") if len(table) else pd.DataFrame()
    roles, seeds = table.shape
    if min(roles, seeds) > 1:
        rest = table.sub(table.mean(axis=1), axis=0) - table.mean() + table.stack().mean()
        df = (roles - 1) * (seeds - 1)
        size = TWO_APART * math.sqrt(float((rest**2).sum().sum()) / df)
        return Noise(size, df, f"{size:.4f}, from {roles} weightings with the same {seeds} seeds (test)")
    found = {}
    if distilled and student:
        gain = (distilled.metrics["MAP"] - student.metrics["MAP"]).dropna()
        later = gain[gain.index >= gain.index[-1] / 2]
        if len(later) > 1:
            found["epochs"] = float(later.max() - later.min())
    if seeds > 1:
        found["seeds"] = float(table.iloc[0].max() - table.iloc[0].min())
    each = ", ".join(f"{value:.4f} by {what}" for what, value in found.items())
    return Noise(max(found.values(), default=float("nan")), np.inf, each or "not known")


def by_chance(values: int, df: float = np.inf) -> float:
    """How far the best and the worst of so many values lie apart in 95 of 100 sweeps in which the setting does nothing, in
    multiples of the distance of two: the range of normal numbers. With infinite ``df`` the noise is taken for known."""
    return float(stats.studentized_range.ppf(0.95, values, df)) / TWO_APART


def spread(frame: pd.DataFrame, sweep: str, noise: Noise) -> dict[str, object]:
    """Best value, worst value and their distance in MAP of one sweep, and whether that is beyond chance.

    In a sweep that varies S and T too, the values are those of RD-position.
    """
    values = wide(frame, sweep).iloc[:, -1].dropna()
    if len(values) < 2:
        return {"best": "", "worst": "", "best - worst": np.nan, "beyond chance": ""}
    distance = values.max() - values.min()
    beyond = "yes" if distance > by_chance(len(values), noise.df) * _of_means(frame, sweep, noise) else "no"
    return {"best": values.idxmax(), "worst": values.idxmin(), "best - worst": distance, "beyond chance": beyond}


def _of_means(frame: pd.DataFrame, sweep: str, noise: Noise) -> float:
    """The noise of a mean over the sweep's seeds."""
    return noise.size / math.sqrt(frame.loc[frame["sweep"] == sweep, "seeds"].max())


def beyond_chance(spreads: Sequence[Mapping[str, object]]) -> str:
    """Which settings of `spread` matter, the largest distance first, and which do not, as two sentences."""
    known = sorted((s for s in spreads if s["beyond chance"]), key=lambda s: -s["best - worst"])
    yes, no = ([s for s in known if s["beyond chance"] == word] for word in ("yes", "no"))
    matter = ", ".join(f"{s['setting']} ({s['best - worst']:.4f} between {s['best']} and {s['worst']})" for s in yes)
    return (f"Beyond chance: {matter or 'no setting'}. Within it, so that these runs give no reason to tune them: "
            f"{', '.join(s['setting'] for s in no) or 'no setting'}.")  # fmt: skip


def gains(frame: pd.DataFrame, sweep: str, noise: Noise) -> str:
    """One sentence on a sweep that has S and RD-position at every value: where is RD better?"""
    values = wide(frame, sweep)
    gain = (values[POSITION] - values["S"]).dropna()
    if gain.empty:
        return "no point has both S and RD on record: nothing can be said."
    each = ", ".join(f"{value}: {difference:+.4f}" for value, difference in gain.items())
    said = f"RD - S is {each}"
    if math.isnan(noise.size):
        return f"{said}. How much of that is noise is not known."
    # Each is a difference of two runs; the largest of several is to be surprising, hence Bonferroni's division.
    chance = float(stats.t.isf(0.025 / len(gain), noise.df)) * math.sqrt(2) / TWO_APART
    floor = _of_means(frame, sweep, noise)
    above, below = (list(gain.index[side]) for side in (gain > chance * floor, gain < -chance * floor))
    parts = [f"{words} at {', '.join(at)}" for words, at in (("better", above), ("worse", below)) if at]
    return (f"{said}. By more than {chance:.1f} times the noise of {floor:.4f}, which {len(gain)} gains reach by chance, it is "
            f"{' and '.join(parts) or 'nowhere better or worse'}.")  # fmt: skip


def at_another_rate(student: float, level: Mapping[str, float], factor: float) -> str:
    """One sentence: does S alone reach RD-position with another learning rate than all others? "" where it has not run.

    Args:
        student: MAP of S at ``factor`` times their rate.
        level: from `levels`.
    """
    if math.isnan(student) or math.isnan(level[POSITION]):
        return ""
    said = f"S alone at {factor:g} times the learning rate has MAP {student:.4f}, RD-position at theirs {level[POSITION]:.4f}"
    if student < level[POSITION]:
        return f"{said}: RD-position is better than both students alone."
    return f"{said}. So RD-position's gain is one at equal training: S reaches it alone with a rate of its own."


# ---------------------------------------------------------------------------------------------------------------- controls


def controls(
    seeds: Sequence[Mapping[str, Experiment]], found: Records
) -> tuple[pd.DataFrame, dict[str, significance.Comparison]]:
    """Each control's MAP, its difference to S, and which share of RD - S that is, with 95 % intervals: over users and seeds
    where there are several, over users alone with one. Two are compared over the seeds that both have.

    Args:
        seeds: `ablations.controls` of each seed.
    """
    runs = {name: {run.seed: found[run.key] for run in (plan[name] for plan in seeds) if run.key in found}
            for name in (seeds[0] if seeds else ())}  # fmt: skip

    def stacked(*names: str) -> list[np.ndarray]:  # AP (seeds, users) of each
        common = sorted(set.intersection(*(set(runs[name]) for name in names)))
        return [np.stack([runs[name][seed].per_user()["AP"].to_numpy() for seed in common]) if common else None
                for name in names]  # fmt: skip

    rows, compared = [], {}
    for name, run in seeds[0].items() if seeds else ():
        mean = float(np.mean([last(record) for record in runs[name].values()])) if runs[name] else float("nan")
        row = {"control": name, "role": run.role, "MAP": mean, "seeds": len(runs[name])}
        row["key"] = _keys([plan[name] for plan in seeds], found)
        if name != "S" and (both := stacked(name, "S"))[0] is not None:
            c = compared[name] = significance.compare(*both)
            row |= {"MAP - S": c.difference, "low": c.low, "high": c.high}
            if name not in (TAUGHT, "T") and (three := stacked(TAUGHT, "S", name))[0] is not None:
                share = gap_recovered(*three)
                row |= {"share of RD - S": share.share, "share low": share.low, "share high": share.high}
        rows.append(row)
    numbers = ["MAP", "MAP - S", "low", "high", "share of RD - S", "share low", "share high"]
    frame = pd.DataFrame(rows, columns=["control", "role", *numbers, "seeds", "key"]).astype(dict.fromkeys(numbers, float))
    return frame, compared


def share_in_words(row: pd.Series) -> str:
    """A control's share of RD - S with its interval; 'none' where it does not rank better than S, because a share of nothing is
    noise; "" where there is no gain to share."""
    if math.isnan(row["share of RD - S"]):
        return ""
    if row["MAP - S"] <= 0:
        return "none"
    return f"{row['share of RD - S']:.0%} ({row['share low']:.0%} to {row['share high']:.0%})"


def controls_in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of `controls` as text for people: shares as `share_in_words`, without roles and keys."""
    forms = {"MAP": ".4f", "MAP - S": "+.4f", "low": "+.4f", "high": "+.4f"}
    shown = {"control": frame["control"]}
    shown |= {column: [text.number(value, form) for value in frame[column]] for column, form in forms.items()}
    shown |= {"share of RD - S": [share_in_words(row) for _, row in frame.iterrows()], "seeds": frame["seeds"].astype(str)}
    return pd.DataFrame(shown)


def attribution(frame: pd.DataFrame) -> str:
    """How much of RD - S is the teacher's doing, in words, from the table of `controls`."""
    rows = frame.set_index("control")
    if TAUGHT not in rows.index or math.isnan(rows.loc[TAUGHT, "MAP - S"]):
        return "S or RD is not on record: nothing can be said."
    gain, low, high = rows.loc[TAUGHT, ["MAP - S", "low", "high"]]
    said = f"RD - S is {gain:+.4f} (95 % interval {low:+.4f} to {high:+.4f}). "
    if low <= 0 <= high:
        return said + "The interval includes 0: there is no gain that could be attributed to the teacher, or to anything else."
    if gain < 0:
        return said + "RD is worse than S: there is no gain to attribute, to the teacher or to anything else."
    shares = rows["share of RD - S"].dropna()
    if shares.empty:
        return said + "No control is on record: what the teacher has to do with it cannot be said."
    each = [f"{name}: {share_in_words(rows.loc[name])}" for name in shares.index]
    most = shares.idxmax()
    rest = max(0.0, 1 - max(0.0, float(shares[most])))
    said += f"Without the teacher, this share of it is had by {'; '.join(each)}. The best of them is {most}: "
    if rows.loc[[TAUGHT, "S", most], "seeds"].min() < FEWEST_SEEDS:
        return said + "with so few seeds this does not say how much of the gain needs the teacher."
    doubt = "" if rows.loc[most, "share high"] < 1 else ", and the interval leaves open that nothing does"
    return said + f"{rest:.0%} of the gain needs the teacher{doubt}."
