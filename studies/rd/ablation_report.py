"""The sweeps and controls of notebook 04 as tables and sentences. A run without a record has an empty place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from rdcore.eval import significance
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from studies.common.gap import gap_recovered
from studies.common.plan import unique
from studies.rd.ablations import TAUGHT, Sweeps, points

COLUMNS = ["sweep", "value", "role", "model", "MAP", "P@10", "nDCG@10", "key"]
QUALITY = ["MAP", "P@10", "nDCG@10"]
SATURATED = math.atanh(0.99)  # where tanh is .99: about 2.65
TWO_APART = 2 / math.sqrt(math.pi)  # mean distance of two normal numbers of spread 1: about 1.13
Records = Mapping[str, Record]  # by key; what was not run is not in it


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


def table(sweeps: Sweeps, found: Records) -> pd.DataFrame:
    """One row for each sweep, value and role, as after the last epoch; the metrics of what was not run are empty."""
    rows = []
    for sweep, values in sweeps.items():
        for value, roles in values.items():
            for role, run in roles.items():
                quality = {metric: last(found.get(run.key), metric) for metric in QUALITY}
                named = {"sweep": sweep, "value": value, "role": role, "model": family(run.description)}
                rows.append(named | quality | {"key": run.key})
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(QUALITY, float))


def wide(frame: pd.DataFrame, sweep: str, metric: str = "MAP") -> pd.DataFrame:
    """One sweep, a row for each value, a column for each role, in the order of the plan."""
    part = frame[frame["sweep"] == sweep]
    return part.pivot(index="value", columns="role", values=metric).loc[part["value"].unique(), part["role"].unique()]


def not_run(frame: pd.DataFrame) -> list[str]:
    """One line for each sweep with points that are not on record."""
    missing = frame[frame["MAP"].isna()]
    points = (missing["value"] + " (" + missing["role"] + ")").groupby(missing["sweep"], sort=False)
    return [f"{sweep}: {'; '.join(part)}" for sweep, part in points]


def last_weight_sums(runs: Mapping[str, Experiment], found: Records) -> dict[str, float]:
    """How much weight the positions of a list had together, on average over the queries of the last epoch."""
    return {name: sum(found[run.key].history["weights"].iloc[-1]) if run.key in found else float("nan")
            for name, run in runs.items()}  # fmt: skip


def first_steps(mus: Sequence[float], step: float, counts: Sequence[int] = (0, 1, 2, 5)) -> pd.DataFrame:
    """w^b at the teacher's first position when so many of the samples are scored higher, ranks being multiples of step."""
    weights = {f"{n} higher": [math.tanh(mu * step * n) for mu in mus] for n in counts}
    return pd.DataFrame(weights, index=pd.Index([f"{mu:g}" for mu in mus], name="mu"))


def over_epochs(records: Mapping[str, Record]) -> pd.DataFrame:
    """The best evaluated epoch of each run, and what it has lost of that by its last."""
    maps = {name: record.metrics["MAP"] for name, record in records.items()}
    rows = [(int(each.idxmax()), each.max(), int(each.index[-1]), each.max() - each.iloc[-1]) for each in maps.values()]
    return pd.DataFrame(rows, index=list(maps), columns=["best epoch", "MAP there", "last epoch", "lost"])


# ------------------------------------------------------------------------------------------------------------------- noise


def noise(distilled: Record | None, student: Record | None, seeds: Sequence[Record | None]) -> dict[str, float]:
    """How much two runs differ for no reason, by the two measures that one seed allows; what cannot be had is left out.

    'epochs': how far RD - S moves over the later half of the evaluated epochs (their common rise cancels).
    'seeds': the difference between the same student from two seeds.
    """
    found = {}
    if distilled and student:
        gain = (distilled.metrics["MAP"] - student.metrics["MAP"]).dropna()
        later = gain[gain.index >= gain.index[-1] / 2]
        if len(later) > 1:
            found["epochs"] = float(later.max() - later.min())
    if all(seeds):
        found["seeds"] = float(abs(last(seeds[0]) - last(seeds[1])))
    return found


def by_chance(values: int) -> float:
    """How far the best and the worst of so many values lie apart in 95 of 100 sweeps in which the setting does nothing, in
    multiples of the distance of two: the range of normal numbers. It takes the noise for known; two guesses at it are not."""
    return float(stats.studentized_range.ppf(0.95, values, np.inf)) / TWO_APART


def verdict(values: pd.Series, floor: float, base: str | None = None) -> str:
    """One sentence on a sweep: MAP by value, and what counts as noise (NaN: not known). base: the value of the tables."""
    known = values.dropna()
    if len(known) < 2:
        return f"{len(known)} of {len(values)} points on record: nothing can be said."
    best, worst = known.idxmax(), known.idxmin()
    spread = known[best] - known[worst]
    said = f"best at {best} ({known[best]:.4f}), worst at {worst} ({known[worst]:.4f}), {spread:.4f} apart"
    if base in known and known[best] - known[base] >= 0.00005:
        said += f"; {base}, as in the tables, is {known[best] - known[base]:.4f} below the best"
    if len(known) < len(values):
        said += f"; {len(values) - len(known)} of {len(values)} points are not on record"
    if math.isnan(floor):
        return f"{said}. How much of that is noise is not known."
    chance = by_chance(len(known))
    times = f"{spread / floor:.1f} times the noise of {floor:.4f}" if floor else "and no noise was measured"
    ending = "the setting seems to matter here." if spread > chance * floor else "no difference can be told from noise."
    return f"{said}. That is {times}, and {len(known)} values spread by {chance:.1f} times by chance: {ending}"


def gains(frame: pd.DataFrame, sweep: str, floor: float) -> str:
    """One sentence on a sweep that has S and RD at every value: where is RD better?"""
    values = wide(frame, sweep)
    gain = (values["RD"] - values["S"]).dropna()
    if gain.empty:
        return "no point has both S and RD on record: nothing can be said."
    each = ", ".join(f"{value}: {difference:+.4f}" for value, difference in gain.items())
    said = f"RD - S is {each}"
    if math.isnan(floor):
        return f"{said}. How much of that is noise is not known."
    # Each is a difference of two runs; the largest of several is to be surprising, hence Bonferroni's division.
    chance = float(stats.norm.isf(0.025 / len(gain))) * math.sqrt(2) / TWO_APART
    above, below = (list(gain.index[side]) for side in (gain > chance * floor, gain < -chance * floor))
    parts = [f"{words} at {', '.join(at)}" for words, at in (("better", above), ("worse", below)) if at]
    return (f"{said}. By more than {chance:.1f} times the noise of {floor:.4f}, which {len(gain)} gains reach by chance, it is "
            f"{' and '.join(parts) or 'nowhere better or worse'}.")  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- controls


def controls(plan: Mapping[str, Experiment], found: Records) -> tuple[pd.DataFrame, dict[str, significance.Comparison]]:
    """Each control's MAP, its difference to S, and which share of RD - S that is, with 95 % intervals over users."""
    ap = {name: found[run.key].per_user()["AP"].to_numpy()[None] for name, run in plan.items() if run.key in found}
    rows, compared = [], {}
    for name, run in plan.items():
        row = {"control": name, "role": run.role, "MAP": last(found.get(run.key)), "key": run.key}
        if name != "S" and {"S", name} <= set(ap):
            c = compared[name] = significance.compare(ap[name], ap["S"])
            row |= {"MAP - S": c.difference, "low": c.low, "high": c.high}
            if name not in (TAUGHT, "T") and TAUGHT in ap:
                share = gap_recovered(ap[TAUGHT], ap["S"], ap[name])
                row |= {"share of RD - S": share.share, "share low": share.low, "share high": share.high}
        rows.append(row)
    numbers = ["MAP", "MAP - S", "low", "high", "share of RD - S", "share low", "share high"]
    frame = pd.DataFrame(rows, columns=["control", "role", *numbers, "key"]).astype(dict.fromkeys(numbers, float))
    return frame, compared


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
    each = [f"{name}: {share:.0%} ({rows.loc[name, 'share low']:.0%} to {rows.loc[name, 'share high']:.0%})"
            for name, share in shares.items()]  # fmt: skip
    most = shares.idxmax()
    rest = max(0.0, 1 - max(0.0, float(shares[most])))
    doubt = "" if rows.loc[most, "share high"] < 1 else ", and the interval leaves open that nothing does"
    said += f"Without the teacher, this share of it is had by {'; '.join(each)}. The best of them is {most}: "
    return said + f"{rest:.0%} of the gain needs the teacher{doubt}."
