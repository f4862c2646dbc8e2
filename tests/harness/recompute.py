"""Computes the committed tables once more, from the committed records, by code that shares nothing with the project.

Only json, numpy and pandas are imported: what a record is, which record a row is about, the metrics from the ranks of
single users, the two-way layout, Student's t, Fieller's interval, Holm and the words of a verdict are all written again here. A
cell agrees when it is what the table prints, to its six digits. Tables of time and size (cost.csv, benchmark.csv, ...) are
measured by scripts, and no record is behind them. By hand, from the root of the repository (about a minute):

    python tests/harness/recompute.py            all tables; exit status 1 where a cell disagrees
    python tests/harness/recompute.py scorecard  some of them

`tests/studies/test_recompute.py` runs a few of them, and shows that a changed number is found.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
Cell = tuple[str, object, object]  # where, printed, computed
WEIGHTS = {  # grids from which weights are chosen: (table, role) -> weights
    "derrd": {"RD": (0.03, 0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3, 1.0, 3.0), "CD-all": (0.03, 0.1, 0.3, 1.0, 3.0)},
    "one": {
        "RD": (0.03, 0.1, 0.3, 1.0), "RD-position": (0.03, 0.1, 0.3, 1.0), "RD-equal": (0.03, 0.1, 0.3, 1.0),
        "CD": (0.1, 0.3, 1.0, 3.0), "RRD": (3e-4, 1e-3, 3e-3, 0.01), "DE": (0.003, 0.01, 0.03, 0.1),
        "DE-RRD": (0.003, 0.01, 0.03, 0.1), "RankDistil-C": (0.03, 0.1, 0.3, 1.0),
        "RankDistil-B": (1e-6, 1e-5, 1e-4, 1e-3), "RankDistil-P": (1e-7, 1e-6, 1e-5, 1e-4),
    },
}  # fmt: skip
SEEDS_OF_ONE = (1, 2, 3)


# ---------------------------------------------------------------------------------------------------- records


class Run:
    """A committed record: its files as they are."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.d = self.read("description")
        self.role, self.seed, self.stage, self.data = (self.d[name] for name in ("role", "seed", "stage", "dataset"))
        kind = self.d["model"]["type"].removesuffix("Settings")
        self.model = {"BPRMF": "BPR", "Popularity": "POP"}.get(kind, kind)
        self.epochs = self.d["training"]["epochs"]

    def read(self, name: str):
        """metrics and history are tables in newer records."""
        if (file := self.folder / f"{name}.parquet").exists():
            return pd.read_parquet(file).to_dict("records")
        return json.loads((self.folder / f"{name}.json").read_text())

    @property
    def protocol(self) -> tuple:
        """Data, stage, and whether everything is looked at after 50 epochs."""
        return self.data, self.stage, self.epochs == 50 and self.d["teacher_epoch"] in (None, 50)

    @property
    def weight(self) -> float:
        """Of the distillation; of DE-RRD that of DE."""
        distillation = self.d["distillation"]
        return distillation.get("weight", distillation.get("first", {}).get("weight"))

    def at(self, epoch: int) -> dict:
        return next(entry for entry in self.read("metrics") if entry["epoch"] == epoch)

    def users(self, epoch: int, metric: str, ranked: str = "") -> np.ndarray:
        """A metric of every user; on stage L from the rank of the test item."""
        table = pd.read_parquet(self.folder / f"per_user-{epoch:03d}.parquet")
        if self.stage == "L":
            return of_rank(table[f"rank{ranked}"].to_numpy(dtype=float), metric)
        return table[metric].to_numpy(dtype=float)


def of_rank(rank: np.ndarray, metric: str) -> np.ndarray:
    """H, M or N@n of the one test item, from its rank, 1 the best; NaN where there is none."""
    letter, n = metric.split("@")
    worth = {"H": np.ones_like(rank), "M": 1 / rank, "N": 1 / np.log2(1 + rank)}[letter]
    return np.where(np.isnan(rank), np.nan, np.where(rank <= int(n), worth, 0.0))


@cache
def every_run() -> list[Run]:
    return [Run(file.parent) for file in sorted((ROOT / "data" / "replicated").glob("*/description.json"))]


@cache
def runs() -> list[Run]:
    """All records that tables read. Caser's are those of revision 1 where a protocol has not all of them at revision 2."""
    every = every_run()
    twins: dict[tuple, dict[int, set[str]]] = {}
    for run in every:
        if run.model == "Caser":
            rest = {**run.d, "teacher": 0, "model": {**run.d["model"], "revision": 0}}
            twins.setdefault(run.protocol, {1: set(), 2: set()})[run.d["model"]["revision"]].add(repr(sorted(rest.items())))
    current = {protocol: 2 if found[1] <= found[2] else 1 for protocol, found in twins.items()}
    return [run for run in every if run.model != "Caser" or run.d["model"]["revision"] == current[run.protocol]]


@cache
def table(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / "tables" / f"{name}.csv")


# ---------------------------------------------------------------------------------------- which run is which row


@cache
def chosen_epochs() -> dict[str, int]:
    choices = json.loads((ROOT / "data" / "replicated" / "selection.json").read_text())
    return {role: choice["epoch"] for role, choice in choices.items() if not choice["at_border"]}


def rd_rows(model: str, role: str, protocol: str, data: str = "gowalla") -> dict[int, tuple[Run, int]]:
    """seed -> run of stage F and the epoch at which a protocol looks at it."""
    found: dict[int, tuple[Run, int]] = {}
    epochs, name = chosen_epochs(), "" if model == "Caser" else f"{model} "
    for run in sorted(runs(), key=lambda run: run.epochs):
        if (run.stage, run.data, run.model, run.role) != ("F", data, model, role):
            continue
        if protocol == "fixed50":
            counted = model in ("POP", "ItemCF")
            if counted or (run.epochs == 50 and run.d["teacher_epoch"] in (None, 50)):
                found.setdefault(run.seed, (run, run.epochs))
        elif (epoch := epochs.get(name + role)) and any(entry["epoch"] == epoch for entry in run.read("metrics")):
            if run.d["teacher"] is None or run.d["teacher_epoch"] == epochs.get(f"{name}T"):
                found.setdefault(run.seed, (run, epoch))
    return found


@cache
def chosen_weight(data: str, role: str, grid: str) -> float | None:
    """The weight whose trial (seed 1) is best on the validation items, the smaller one of equals; None where one is missing."""
    metric = {"derrd": "H@5-validation", "one": "N@10-validation-full"}[grid]
    tried = {run.weight: run.read("chosen")[metric] for run in of_one(data, role) if run.seed == 1}
    if not set(WEIGHTS[grid][role]) <= set(tried):
        return None
    return min(WEIGHTS[grid][role], key=lambda weight: (-tried[weight], weight))


def of_one(data: str, role: str) -> list[Run]:
    """Of DE-RRD only those whose weight of RRD is a tenth of that of DE, as in the released code: Table 5 has other pairs."""
    size = 200 if role == "T" else 20
    found = [run for run in runs() if (run.stage, run.data, run.role, run.model) == ("L", data, role, "BPR")
             and run.d["model"]["dim"] == size]  # fmt: skip
    pairs = {run: run.d["distillation"] for run in found if role == "DE-RRD"}
    return [run for run in found if run not in pairs
            or math.isclose(10 * pairs[run]["second"]["weight"], pairs[run]["first"]["weight"])]  # fmt: skip


def one_rows(data: str, role: str, grid: str, decay: float = 1.0) -> dict[int, Run]:
    """seed -> run: T, S with ``decay`` times the plan's weight decay, or a method with its chosen weight."""
    found = [run for run in of_one(data, role) if grid != "one" or run.seed in SEEDS_OF_ONE]
    if role in ("T", "S"):
        plan = of_one(data, "T")[0].d["training"]["weight_decay"] * (decay if role == "S" else 1)
        found = [run for run in found if math.isclose(run.d["training"]["weight_decay"], plan)]
    elif role in WEIGHTS[grid]:
        found = [run for run in found if run.weight == chosen_weight(data, role, grid)]
    else:  # DE, RRD and DE-RRD of DE-RRD's own table: the released code's weights
        official = {"DE": 0.01, "RRD": 0.001, "DE-RRD": 0.01}[role]
        found = [run for run in found if run.weight == official]
    return {run.seed: run for run in found}


# ------------------------------------------------------------------------------------------------- statistics


def beta_tail(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, from its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_tail(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    value, up, down, tiny = 1.0, 1.0, 0.0, 1e-300
    for step in range(4_000):
        m = step // 2
        if step == 0:
            part = 1.0
        elif step % 2 == 0:
            part = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            part = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        down = 1 / (1 + part * down or tiny)
        up = 1 + part / up or tiny
        value *= up * down
        if abs(up * down - 1) < 1e-14 and step > 2:
            break
    return front * (value - 1)


def two_sided(t: float, df: float) -> float:
    """P(|T| > t) of Student's t."""
    return beta_tail(df / (df + t * t), df / 2, 0.5)


def critical(df: float, level: float = 0.05) -> float:
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, df) > level else (low, middle)
    return (low + high) / 2


def compare(a: np.ndarray, b: np.ndarray) -> dict:
    """Difference of (seeds, users), its 95 % interval and p from the two-way random layout; of one seed over users alone.

    The critical value is that of t with seeds - 1 and that of t with users - 1 degrees of freedom, weighted by the seeds' and
    the users' part of the variance; p is the level at which the interval ends at 0, found by halving.
    """
    x = np.asarray(a) - np.asarray(b)
    x = x[:, ~np.isnan(x).any(0)]
    seeds, users = x.shape
    mean, variance, between = layout(x)
    reach, p = between(0.05) * math.sqrt(variance), math.nan
    if seeds > 1:
        t = abs(mean) / math.sqrt(variance)
        low, high = -300.0, 0.0  # of the logarithm of p
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if between(10**middle) > t else (low, middle)
        p = 10 ** ((low + high) / 2)
    spread = x.mean(0)
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "p": p, "seeds": seeds, "users": users,
            "effect_size": spread.mean() / spread.std(ddof=1)}  # fmt: skip


def layout(x: np.ndarray) -> tuple[float, float, Callable[[float], float]]:
    """Mean of (seeds, users), its variance, and its critical value at a level."""
    seeds, users = x.shape
    mean = x.mean()
    parts = [(x[0].var(ddof=1) / users, users - 1)]  # of the variance, with their degrees of freedom
    if seeds > 1:
        rows, columns = x.mean(1), x.mean(0)
        of_seeds = users * ((rows - mean) ** 2).sum() / (seeds - 1)
        of_users = seeds * ((columns - mean) ** 2).sum() / (users - 1)
        noise = ((x - rows[:, None] - columns[None] + mean) ** 2).sum() / (seeds - 1) / (users - 1)
        size = seeds * users
        parts = [(of_seeds / size, seeds - 1), (max(of_users - noise, 0.0) / size, users - 1)]
    variance = sum(part for part, _ in parts)

    def between(level: float) -> float:
        return sum(part / variance * critical(df, level) for part, df in parts)

    return mean, variance, between


def share_of(gain: np.ndarray, gap: np.ndarray) -> tuple[float, float, float]:
    """mean(gain) / mean(gap) of (seeds, users) and the ends of Fieller's interval: the shares r at which the mean of
    gain - r gap is t standard errors from 0. NaN where the interval of the gap does not lie above 0."""
    lead, spread, between = layout(gap)
    if lead - between(0.05) * math.sqrt(spread) <= 0:
        return math.nan, math.nan, math.nan
    share = gain.mean() / lead
    t = max(between(0.05), layout(gain - share * gap)[2](0.05))
    both = (layout(gain + gap)[1] - layout(gain - gap)[1]) / 4  # covariance
    a, half, c = lead**2 - t**2 * spread, lead * gain.mean() - t**2 * both, gain.mean() ** 2 - t**2 * layout(gain)[1]
    if a <= 0:
        return share, -math.inf, math.inf
    root = math.sqrt(max(half**2 - a * c, 0.0))
    return share, (half - root) / a, (half + root) / a


def word(c: dict, reported: float) -> str:
    """The verdict on "a is better than b"."""
    if c["seeds"] == 1:
        return "provisional"
    if c["seeds"] == 2:
        return "not assessable"
    if c["low"] > 0:
        said = "confirmed, smaller" if c["high"] < reported and c["difference"] < reported / 2 else "confirmed"
    elif c["high"] < 0:
        said = "contradicted"
    else:
        said = "reported size excluded, sign open" if c["high"] < reported else "inconclusive"
    return said if c["seeds"] >= 5 else f"provisional {said}"


def holm(p: dict[str, float]) -> dict[str, float]:
    """Over all of a family, those that have not run (NaN) counted."""
    known, least = sorted((value, name) for name, value in p.items() if not math.isnan(value)), 0.0
    found = dict.fromkeys(p, math.nan)
    for place, (value, name) in enumerate(known):
        found[name] = least = max(least, min(1.0, value * (len(p) - place)))
    return found


# ----------------------------------------------------------------------------------------------------- tables


def rd_table2(name: str = "rd_table2") -> Iterator[Cell]:
    """Tables 2 and 4 of Ranking Distillation: mean, spread, seeds and difference of every row."""
    for row in table(name).itertuples():
        role = "RD-hybrid" if (row.role, name) == ("RD", "rd_table2") else row.role
        found = rd_rows(row.model, role, row.protocol, row.dataset)
        yield from summary(row, [run.at(epoch)[row.metric] for run, epoch in found.values()])
        if row.metric in ("MAP", "P@10", "nDCG@10"):  # the users' own values say the same
            column = {"MAP": "AP"}.get(row.metric, row.metric)
            for run, epoch in found.values():
                mean = np.nanmean(run.users(epoch, column))
                yield f"{run.folder.name} {row.metric}", f"{run.at(epoch)[row.metric]:.6g}", mean


def summary(row, values: list[float]) -> Iterator[Cell]:
    where = " ".join(str(part) for part in row[1:6])
    mean = np.mean(values) if values else math.nan
    yield f"{where} replicated", row.replicated, mean
    yield f"{where} std", row.std, np.std(values, ddof=1) if len(values) > 1 else math.nan
    yield f"{where} seeds", row.seeds, len(values) or math.nan
    yield f"{where} difference", row.difference, mean / row.reported - 1 if row.reported else math.nan


def rd_recipes() -> Iterator[Cell]:
    """Recipes of RD but the released one, three seeds after their last epoch, all at revision 2 of Caser; none before any
    is on record."""
    if not (ROOT / "figures" / "tables" / "rd_recipes.csv").exists():
        return
    for row in table("rd_recipes").itertuples():
        found = [run for run in every_run() if (run.data, run.model, run.stage, run.role, run.epochs)
                 == (row.dataset, row.model, "F", row.role, row.epochs) and run.seed in (1, 2, 3)
                 and run.d["model"]["revision"] == 2 and run.d["teacher_epoch"] in (None, 50)]  # fmt: skip
        values = [run.at(row.epochs)[row.metric] for run in found]
        where = f"rd_recipes {row.role} {row.epochs} {row.metric}"
        yield f"{where} replicated", row.replicated, np.mean(values)
        yield f"{where} std", row.std, np.std(values, ddof=1) if len(values) > 1 else math.nan
        yield f"{where} seeds", row.seeds, len(values)


def derrd_table2() -> Iterator[Cell]:
    """Table 2 of DE-RRD on CiteULike under protocol `validation`, from the users' ranks."""
    rows = table("derrd_table2").query("dataset == 'citeulike' and model == 'BPR' and protocol == 'validation'")
    for row in rows.itertuples():
        found = one_rows("citeulike", row.role, "derrd").values()
        yield from summary(row, [np.nanmean(run.users(run.read("chosen")["epoch"], row.metric)) for run in found])


def one_protocol() -> Iterator[Cell]:
    """All methods under one protocol: mean, spread and seeds of every metric, from the users' ranks."""
    for row in table("one_protocol").itertuples():
        found = one_rows(row.dataset, row.method, "one").values()
        metric, _, ranked = row.metric.partition("-")
        values = [np.nanmean(run.users(run.read("chosen")["epoch"], metric, f"-{ranked}" if ranked else "")) for run in found]
        where = f"{row.dataset} {row.method} {row.metric}"
        yield f"{where} mean", row.mean, np.mean(values)
        yield f"{where} std", row.std, np.std(values, ddof=1) if len(values) > 1 else math.nan
        yield f"{where} seeds", row.seeds, len(values)


def against(data: str, a: str, b: str, grid: str, metric: str, ranked: str = "", decay: float = 1.0) -> dict | None:
    """Role a - role b on stage L over the seeds that both have."""
    both = [one_rows(data, role, grid, decay) for role in (a, b)]
    seeds = sorted(set(both[0]) & set(both[1]))
    if not seeds:
        return None
    of_seeds = [[rows[s].users(rows[s].read("chosen")["epoch"], metric, ranked) for s in seeds] for rows in both]
    return compare(*map(np.stack, of_seeds))


def methods() -> Iterator[Cell]:
    """Every method over the student alone, with interval, effect size, corrected p and verdict."""
    for runs_, part in table("09_methods").groupby("runs"):
        data, p = runs_.split(" ")[0], dict.fromkeys(WEIGHTS["one"], math.nan)
        made = {role: against(data, role, "S", "one", "N@10", "-full") for role in part["role"] if role != "S"}
        p |= {role: c["p"] for role, c in made.items() if role != "T"}
        adjusted = holm(p)
        for row in part.itertuples():
            if row.role == "S":
                continue
            c = made[row.role]
            where = f"09_methods {runs_} {row.role}"
            values = dict(zip(part.columns, row[1:], strict=True))
            for column, key in (("over S", "difference"), ("low", "low"), ("high", "high"), ("effect_size", "effect_size")):
                yield f"{where} {column}", values[column], c[key]
            yield f"{where} p", values["p"], adjusted.get(row.role, math.nan)
            yield f"{where} verdict", values["better than S"], word(c, math.nan)


def chosen_decay() -> Iterator[Cell]:
    """The same over the student with the weight decay that its own trials chose."""
    for file in sorted((ROOT / "figures" / "tables").glob("09_chosen_decay_*.csv")):
        data = file.stem.split("_")[3]
        decay = chosen_decay_of(data)
        for row in table(file.stem).itertuples():
            c = against(data, row.role, "S", "one", "N@10", "-full", decay)
            for column, key in ((row[3], "difference"), (row.low, "low"), (row.high, "high")):
                yield f"{file.stem} {row.role} {key}", column, c[key]


def chosen_decay_of(data: str) -> float:
    plan = of_one(data, "T")[0].d["training"]["weight_decay"]
    tried = {run.d["training"]["weight_decay"] / plan: run.read("chosen")["N@10-validation-full"]
             for run in of_one(data, "S") if run.seed == 1}  # fmt: skip
    return round(min(tried, key=lambda factor: (-tried[factor], factor)), 6)


def rd_against(model: str, protocol: str, a: str, b: str, metric: str, among: tuple[str, ...] = ()) -> dict | None:
    both = [rd_rows(model, role, protocol) for role in (a, b)]
    seeds = sorted(set(both[0]) & set(both[1]).intersection(*(rd_rows(model, role, protocol) for role in among)))
    if not seeds:
        return None
    return compare(*(np.stack([rows[s][0].users(rows[s][1], metric) for s in seeds]) for rows in both))


WEIGHTINGS = {"1/K": "RD-equal", "position importance": "RD-position", "ranking discrepancy": "RD-discrepancy"}
CONTROLS = {"the lists of another student": "student", "lists of popular items": "popular", "lists of random items": "random"}


def claim(text: str) -> tuple[str, dict | None]:
    """Family of a claim, "" for none, and its comparison, None where it has not run. LookupError for another kind of claim."""
    if m := re.fullmatch(r"RD ranks better than the student alone: (\S+) \((\w+), Gowalla, (\w+)\)", text):
        metric = {"MAP": "AP"}.get(m[1], m[1])
        return "A" if m[1] == "MAP" else "B", rd_against(m[2], m[3], "RD-hybrid", "S", metric)
    if m := re.fullmatch(r"RD ranks no worse than the teacher: MAP \((\w+), Gowalla, (\w+)\)", text):
        return "", rd_against(m[1], m[2], "RD-hybrid", "T", "AP", among=("S",))
    if m := re.fullmatch(r"(The hybrid weighting|Weighting by .*) beats (.*): MAP \((\w+)\)", text):
        a = "RD-hybrid" if m[1].startswith("The") else WEIGHTINGS[m[1].removeprefix("Weighting by ")]
        return "C", rd_against("Caser", m[3], a, WEIGHTINGS[m[2]], "AP")
    if m := re.fullmatch(r"Weighting by (.*) ranks better than the student alone: MAP \((\w+)\)", text):
        return "D", rd_against("Caser", m[2], WEIGHTINGS[m[1]], "S", "AP")
    if m := re.fullmatch(r"RD ranks better than (POP|ItemCF|BPR): MAP \((\w+), Gowalla, (\w+)\)", text):
        ours, theirs = rd_rows(m[2], "RD-hybrid", m[3]), rd_rows(m[1], "baseline", "fixed50")
        if not ours or not theirs:
            return "baselines", None
        if m[1] != "BPR":  # counted: the same in every seed
            theirs = dict.fromkeys(ours, next(iter(theirs.values())))
        seeds = sorted(ours.keys() & theirs.keys())
        both = ([of[seed][0].users(of[seed][1], "AP") for seed in seeds] for of in (ours, theirs))
        return "baselines", compare(*map(np.stack, both)) if seeds else None
    if m := re.fullmatch(r"RD with (\w+) weights ranks better than (.*): MAP \((\w+), Gowalla, (\w+)\)", text):
        scheme, other = f"RD-{m[1]}", m[2].removeprefix("with ")
        ends = {"S with K further uniform negatives": "S-negatives",
                "S with K further negatives that S itself ranks high": "S-guided"}  # fmt: skip
        ends |= {words: f"{scheme}-{end}" for words, end in CONTROLS.items()}
        role = ends.get(other)
        return "controls", rd_against(m[3], m[4], scheme, role, "AP") if role else None
    if m := re.fullmatch(r"(\S+) ranks better than (the student alone|\S+): H@5 \(BPR, CiteULike\)", text):
        return "DE-RRD", against("citeulike", m[1], {"the student alone": "S"}.get(m[2], m[2]), "derrd", "H@5")
    if m := re.fullmatch(r"(\S+) ranks better than RD: nDCG@10 among all items \(BPR, (\w+)\)", text):
        return "one protocol", against(m[2].lower(), m[1], "RD", "one", "N@10", "-full")
    raise LookupError(text)


@cache
def strength(data: str, role: str) -> tuple[float, float]:
    """The smallest and the largest distillation loss over base loss of a method's trials (seed 1), in the epoch they chose."""
    ratios = []
    for run in of_one(data, role):
        if run.seed == 1 and run.weight in WEIGHTS["one"][role]:
            epoch = run.read("chosen")["epoch"]
            at = next(entry for entry in run.read("history") if entry["epoch"] == epoch)
            ratios.append(at["distillation_loss"] / at["loss"])
    return min(ratios), max(ratios)


def unassessable(text: str) -> bool:
    """Whether no number decides a claim: CD as published has not run, and methods under one protocol are compared only where
    they were tried at strengths that overlap."""
    if re.fullmatch(r"\S+ ranks better than CD: H@5 .*", text):
        return True
    if m := re.fullmatch(r"(\S+) ranks better than RD: nDCG@10 among all items \(BPR, (\w+)\)", text):
        if all(of_one(m[2].lower(), role) for role in (m[1], "RD")):
            (low, high), (lower, higher) = (strength(m[2].lower(), role) for role in (m[1], "RD"))
            return high < lower or higher < low
    return False


def scorecard() -> Iterator[Cell]:
    """Every claim that is a difference of two methods: ours, interval, corrected p, seeds and the verdict."""
    families: dict[str, dict[str, float]] = {}
    made, rows = {}, table("scorecard").set_index("claim")
    for text in rows.index:
        try:
            family, c = claim(text)
        except LookupError:
            continue
        made[text] = c
        if family:
            tested = c and not unassessable(text) and c["seeds"] > 2
            families.setdefault(family, {})[text] = c["p"] if tested else math.nan
    adjusted = {text: p for family in families.values() for text, p in holm(family).items()}
    for text, c in made.items():
        row = rows.loc[text]
        for column, key in (("ours", "difference"), ("low", "low"), ("high", "high"), ("seeds", "seeds")):
            yield f"{text}: {column}", row[column], c[key] if c else math.nan
        yield f"{text}: p", row["p"], adjusted.get(text, math.nan)
        if "no worse" not in text:
            said = "not assessable" if unassessable(text) else c and word(c, row["reported"])
            yield f"{text}: verdict", row["verdict"], said if c else "not run"


def tests() -> Iterator[Cell]:
    """Notebook 05's comparisons of T, S and RD on Gowalla."""
    roles = {"RD": "RD-hybrid"}
    for row in table("05_tests").itertuples():
        model, _, protocol = row.runs.split(", ")
        a, b = (roles.get(role, role) for role in row.what.split(" - "))
        c = rd_against(model, protocol, a, b, "AP")
        for key in ("difference", "low", "high", "p", "seeds", "users", "effect_size"):
            yield f"05_tests {row.runs} {row.what} {key}", getattr(row, key), c[key]


def flexibility() -> Iterator[Cell]:
    """Gains of taught students over the student alone, from the users' metrics after the last epoch."""
    names = {"MAP": "AP"}
    for row in table("flexibility").itertuples():
        student, role = {"BPR-MF": "BPR"}.get(row.student, row.student), f"{row.method}-{row.teacher}"
        of_student = [run for run in runs() if (run.data, run.stage, run.model) == (row.dataset, "F", student)]
        both = [{run.seed: run for run in of_student if run.role == who} for who in (role, "S")]
        seeds = sorted(set(both[0]) & set(both[1]))
        metric = names.get(row.metric, row.metric)
        c = compare(*(np.stack([of[seed].users(of[seed].epochs, metric) for seed in seeds]) for of in both))
        where = f"flexibility {row.dataset} {role} to {student} {row.metric}"
        for column, key in (("gain", "difference"), ("low", "low"), ("high", "high"), ("seeds", "seeds")):
            yield f"{where} {column}", getattr(row, column), c[key]


WEIGHTED = {  # value of the sweep over weightings, or between paper and code -> role of its run
    "equal, 1/K": "RD-equal", "reciprocal, normalised": "RD-reciprocal", "reciprocal, raw": "RD-reciprocal-raw",
    "position, normalised": "RD-position", "position, raw": "RD-position-raw", "discrepancy, raw": "RD-discrepancy",
    "discrepancy, normalised": "RD-discrepancy-normalised", "hybrid, raw": "RD-hybrid",
    "hybrid, normalised": "RD-hybrid-normalised", "as released": "RD-hybrid",
    "weights divided by their sum": "RD-hybrid-normalised", "lists of unlabelled items only": "RD-hybrid-seen",
    "both losses halved": "RD-hybrid-alpha0.5", "ranks from samples of each query": "RD-hybrid-instance",
    "all as in the paper": "RD-hybrid-paper",
}  # fmt: skip
VARIED = {  # sweep -> what stands before the value in the role of a run that is in no other table, and where its value is
    "K": ("K", lambda d: d["distillation"]["K"]), "lambda": ("lambda", lambda d: d["distillation"]["weights"]["lam"]),
    "loss weight": ("w", lambda d: d["distillation"]["weight"] if d["training"]["base_weight"] else "alone"),
    "student size": ("", lambda d: d["model"]["dim"]), "share of data": ("share", lambda d: d["training"].get("share", 1)),
    "left out": ("", lambda d: d["distillation"]["exclude"]),
    "mu": ("mu", lambda d: d["distillation"]["weights"]["discrepancy"]["mu"]),
    "rank samples": ("samples", lambda d: samples(d["distillation"]["weights"]["discrepancy"])),
    "start epoch": ("start", lambda d: d["distillation"]["weights"]["start_epoch"]),
}  # fmt: skip


def samples(discrepancy: dict) -> int | str:
    return "exact" if discrepancy["estimate"] == "exact" else discrepancy["samples"]


def plain_settings(run: Run, *free: str) -> tuple[dict, dict]:
    """Settings of model and training without revision and what a sweep may vary."""
    drop = {"revision", "share", "base_weight", *free}
    return tuple({key: value for key, value in run.d[part].items() if key not in drop} for part in ("model", "training"))


def of_the_tables(data: str, stage: str, model: str) -> list[Run]:
    """Records after 50 epochs; on V those with the settings that T and S have on F: trials of others are there as well."""
    found = [run for run in runs() if (run.data, run.stage, run.model) == (data, stage, model) and run.protocol[2]]
    final = {run.role: run for run in runs() if (run.data, run.stage, run.model) == (data, "F", model) and run.protocol[2]}

    def planned(run: Run) -> bool:
        same = final.get("T" if run.role.startswith("T") else "S")
        return same is None or plain_settings(run, "dim") == plain_settings(same, "dim")

    return [run for run in found if stage == "F" or planned(run)]


def swept(row, among: list[Run]) -> list[Run]:
    """The runs of a place of ablations.csv, by their roles and by the varied setting itself."""
    usual = {run.role: run.d["model"]["dim"] for run in runs() if run.stage == "F" and run.protocol[2]
             and (run.data, run.model) == (row.dataset, row.model)}  # fmt: skip
    size = usual.get("T" if row.role == "T" else "S")
    if row.sweep in ("weighting", "paper and code"):
        return [run for run in among if run.role == WEIGHTED[row.value] and run.d["model"]["dim"] == size]
    if (row.sweep, row.value) == ("loss weight", "0"):
        return [run for run in among if run.role == "S" and run.d["model"]["dim"] == size]
    before, value = VARIED[row.sweep]
    before = "" if row.value in ("alone", "exact") else before
    roles = {row.role} if row.sweep == "student size" else {row.role, f"{row.role}-{before}{row.value}"}
    found = [run for run in among if run.role in roles and (row.sweep == "student size" or run.d["model"]["dim"] == size)]
    return [run for run in found if same_value(value(run.d), row.value)]


def same_value(setting: float | str, shown: str) -> bool:
    return setting == shown or (not isinstance(setting, str) and f"{setting:g}" == shown)


def ablations() -> Iterator[Cell]:
    """The sweeps of notebook 04: mean and spread of every place; every run that was made for a sweep has its place.

    A further seed counts once it has as many points on record as the first one.
    """
    for file in sorted((ROOT / "figures" / "tables").glob("ablations*.csv")):
        rows = pd.read_csv(file, dtype={"value": str})
        for (data, model, stage), part in rows.groupby(["dataset", "model", "stage"]):
            among = of_the_tables(data, stage, model)
            places = {row.Index: swept(row, among) for row in part.itertuples()}
            have: dict[int, set[str]] = {}
            for run in (run for found in places.values() for run in found):
                have.setdefault(run.seed, set()).add(run.folder.name)
            shown = [seed for seed in have if len(have[seed]) >= len(have[min(have)])]
            for row in part.itertuples():
                values = [run.read("metrics")[-1][row.metric] for run in places[row.Index] if run.seed in shown]
                where = f"{file.stem} {model} {row.role} {row.sweep} {row.value} {row.metric}"
                yield f"{where} mean", row.mean, np.mean(values) if values else math.nan
                yield f"{where} std", row.std, np.std(values, ddof=1) if len(values) > 1 else math.nan
                yield f"{where} seeds", row.seeds, len(values)
            for run in among:
                if run.seed in shown and run.role.startswith(("RD-position", "RD-hybrid-")):
                    there = "has a row" if run.folder.name in have[run.seed] else "no row"
                    yield f"{file.stem} {run.folder.name}", there, "has a row"


def controls() -> Iterator[Cell]:
    """Each control's MAP, its difference to S, and which share of RD - S that is, on the test rows."""
    for file in sorted((ROOT / "figures" / "tables").glob("controls*.csv")):
        rows = pd.read_csv(file)
        first = rows.set_index("role").loc["S", "key"].split()[0]
        beside = next(run for run in every_run() if run.folder.name.endswith(first))
        last, size = len(rows["key"][0].split()), beside.d["model"]["dim"]  # a key for each planned seed
        among = [run for run in of_the_tables(beside.data, beside.stage, beside.model)
                 if run.seed <= last and (run.role == "T" or run.d["model"]["dim"] == size)]  # fmt: skip
        found = {row.role: {run.seed: run for run in among if run.role == row.role} for row in rows.itertuples()}
        taught = next(row.role for row in rows.itertuples() if row.control == "lists of the teacher (RD)")

        def stacked(*roles: str, found=found) -> list[np.ndarray]:
            seeds = sorted(set.intersection(*(set(found[role]) for role in roles)))
            return [np.stack([found[role][seed].users(50, "AP") for seed in seeds]) for role in roles] if seeds else []

        for row in rows.to_dict("records"):
            of_role, values = found[row["role"]], [run.at(50)["MAP"] for run in found[row["role"]].values()]
            where = f"{file.stem} {row['role']}"
            yield f"{where} MAP", row["MAP"], np.mean(values) if values else math.nan
            yield f"{where} seeds", row["seeds"], len(values)
            named = all(run.folder.name.rsplit("-", 1)[1] in row["key"].split() for run in of_role.values())
            yield f"{where} key", "its records'" if named else row["key"], "its records'"
            both, ends = stacked(row["role"], "S"), dict.fromkeys(("difference", "low", "high"), math.nan)
            if both and row["role"] != "S":
                ends = compare(*both)
            for column, key in (("MAP - S", "difference"), ("low", "low"), ("high", "high")):
                yield f"{where} {column}", row[column], ends[key]
            three, share = stacked(taught, "S", row["role"]), (math.nan,) * 3
            if three and row["role"] not in ("S", taught, "T"):
                kept = ~np.isnan(np.concatenate(three)).any(0)
                rd, student, control = (x[:, kept] for x in three)
                share = share_of(control - student, rd - student)
            for column, value in zip(("share of RD - S", "share low", "share high"), share, strict=True):
                yield f"{where} {column}", row[column], value


INSTANCES, BATCHES = 115_142, 113  # of DE-RRD's fold: pairs, and steps of an epoch


def later_values() -> Iterator[tuple[tuple, float]]:
    """(study, data, model, method, size, epoch, metric) and the value of each record of a later method."""
    for file in sorted((ROOT / "data" / "replicated" / "followups").glob("*.json")):
        run = json.loads(file.read_text())
        study = run["study"]
        known = study, "ml-100k" if study == "bd" else f"citeulike-{study}", "BPR", run["role"], run["dim"]
        entries = [("chosen", run["chosen"])]
        if study == "td":
            entries = [(str(entry["epoch"] - 1), entry) for entry in run["curve"]]
        for epoch, entry in entries:
            for metric, value in entry.items():
                if metric != "epoch":
                    name = metric.replace("R@", "Recall@").replace("N@", "NDCG@") if study == "unkd" else metric
                    yield (*known, epoch, name), value
    groups = [("irrrd", list(one_rows("citeulike", role, "derrd").values())) for role in ("T", "S", "RRD")]
    groups += [("irrrd", of_one("citeulike", "IR-RRD"))]
    groups += [("td", [run for run in runs() if (run.stage, run.data) == ("L", "citeulike-td")])]
    for study, found in groups:
        for run in (run for run in found if run.seed in (1, 2, 3)):
            known = study, run.data, run.model, run.role, run.d["model"]["dim"]
            for metric, value in run.read("chosen").items():
                if "@" in metric:
                    yield (*known, "chosen", metric), value
            if study == "irrrd":
                first = run.read("history")[0]
                yield (*known, "0", "train_loss"), (first["loss"] + first.get("distillation_loss", 0)) * INSTANCES / BATCHES
                for entry in run.read("metrics"):
                    for metric in {"H@5", "H@5-validation"} & set(entry) if entry["epoch"] % 10 == 1 else ():
                        yield (*known, str(entry["epoch"] - 1), metric), entry[metric]


def followups() -> Iterator[Cell]:
    """The later methods: mean, spread and seeds of every row, and a row for every value on record."""
    values: dict[tuple, list[float]] = {}
    for place, value in later_values():
        values.setdefault(place, []).append(value)
    for row in table("followups").itertuples():
        found = values.pop((row.study, row.dataset, row.model, row.method, row.student_dim, str(row.epoch), row.metric), [])
        where = " ".join(map(str, row[1:8]))
        yield f"{where} mean", row.mean, np.mean(found) if found else math.nan
        yield f"{where} std", row.std, np.std(found, ddof=1) if len(found) > 1 else math.nan
        yield f"{where} seeds", row.seeds, len(found)
    for place in values:
        yield " ".join(map(str, place)), "no row", "has a row"


TABLES: dict[str, Callable[[], Iterator[Cell]]] = {
    "rd_table2": rd_table2, "rd_table4": lambda: rd_table2("rd_table4"), "rd_recipes": rd_recipes, "derrd_table2": derrd_table2,
    "one_protocol": one_protocol, "09_methods": methods, "09_chosen_decay": chosen_decay, "scorecard": scorecard,
    "05_tests": tests, "flexibility": flexibility, "ablations": ablations, "controls": controls, "followups": followups,
}  # fmt: skip


def agrees(printed, computed) -> bool:
    """To the six digits that a table prints; words as they are; empty where nothing was computed."""
    if isinstance(computed, str):
        return printed == computed
    printed, computed = float(printed), float(computed)
    if not math.isfinite(printed) or not math.isfinite(computed):
        return printed == computed or (math.isnan(printed) and math.isnan(computed))
    return abs(printed - computed) <= 0.51 * 10 ** (math.floor(math.log10(max(abs(printed), 1e-12))) - 5) + 1e-12


def disagreements(name: str) -> tuple[int, list[str]]:
    """How many cells of a table were computed, and a line for each that disagrees."""
    cells = list(TABLES[name]())
    lines = [f"{where}: printed {printed}, computed {computed}" for where, printed, computed in cells
             if not agrees(printed, computed)]  # fmt: skip
    return len(cells), lines


def main(names: list[str]) -> int:
    wrong = 0
    for name in names or TABLES:
        count, lines = disagreements(name)
        wrong += len(lines)
        print(f"{name}: {count} cells, {len(lines)} disagree")
        print("".join(f"  {line}\n" for line in lines[:20]), end="")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
