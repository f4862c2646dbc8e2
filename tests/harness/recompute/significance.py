"""Notebook 05: differences of T, S and RD on Gowalla with their intervals, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import records
from .layout import compare, critical, power, seeds_needed, squares, word
from .rd import PROTOCOLS, against, paper, rows, stacked
from .tables import Absent, Near, table

ROLES = ("T", "S", "RD-hybrid")
PAIRS = (("RD-hybrid", "S"), ("T", "S"), ("RD-hybrid", "T"))
SHOWN = [(model, protocol) for protocol in PROTOCOLS for model in ("Caser", "Fossil")]


def label(model: str, protocol: str) -> str:
    return f"{model}, gowalla, {protocol}"


def what(a: str, b: str) -> str:
    return f"{a} - {b}".replace("RD-hybrid", "RD")


def effect(model: str, a: str, b: str, metric: str = "MAP") -> float:
    """What the paper reports of the released RD, T and S: the difference of two printed numbers."""
    values = [paper("rd_table2", dataset="gowalla", model=model, role=role.replace("RD-hybrid", "RD"), metric=metric)
              for role in (a, b)]  # fmt: skip
    return round(values[0] - values[1], 4)


@table("05_per_seed", "runs", "seed")
def per_seed(name: str) -> Iterator[dict]:
    """MAP of every run, and the differences."""
    for model, protocol in SHOWN:
        found = {role: rows(model, role, protocol) for role in ROLES}
        for seed in sorted(set().union(*found.values())):
            value = {role: of[seed][0].at(of[seed][1])["MAP"] if seed in of else math.nan for role, of in found.items()}
            yield {"runs": label(model, protocol), "seed": seed, **value, **{what(a, b): value[a] - value[b] for a, b in PAIRS}}


@table("05_tests", "runs", "what")
def tests(name: str) -> Iterator[dict]:
    for model, protocol in SHOWN:
        for a, b in PAIRS:
            if c := against(model, protocol, a, b):
                d, of_seeds = effect(model, a, b), [math.sqrt(part) for part in c["spread"]]
                said = {} if (a, b) == ("RD-hybrid", "T") else {
                    "better": word(c, d), "power": power(c, d), "seeds needed": seeds_needed(c, d)}  # fmt: skip
                same = {key: c[key] for key in ("seeds", "users", "difference", "low", "high", "relative", "effect_size", "p")}
                yield {"runs": label(model, protocol), "what": what(a, b), **same, "sd of seeds": of_seeds[0],
                       "sd of users": of_seeds[1], "sd of noise": of_seeds[2], **said}  # fmt: skip


# ------------------------------------------------------------------------------------------------- other rules

RULES = ("two-way layout", "two-way layout, Satterthwaite", "bootstrap over users and seeds", "paired t over users",
         "paired t over seeds")  # fmt: skip
DRAWS, OF_SQUARES, RESAMPLES = 1_000, 100_000, 300  # of the simulations behind the committed table, and of these
ERRORS = 5  # standard errors by which two simulations may differ: less than one of 10**6 pairs does by chance
GRID = np.geomspace(0.02, 1e5, 300)  # degrees of freedom


def quantiles(df: np.ndarray) -> np.ndarray:
    """The critical value of 95 % at one, or from a grid at many degrees of freedom."""
    if np.size(df) == 1:
        return critical(float(df))
    return np.exp(np.interp(np.log(np.clip(df, GRID[0], GRID[-1])), np.log(GRID), np.log([critical(one) for one in GRID])))


def satterthwaite(of_seeds, of_users, noise, seeds: int, users: int) -> tuple:
    """Variance of the mean, and Satterthwaite's degrees of freedom; where the mean squares do not add up to a variance, the
    larger of the two one-way ones."""
    total = of_seeds + of_users - noise
    parts = of_seeds**2 / (seeds - 1) + of_users**2 / (users - 1) + noise**2 / ((seeds - 1) * (users - 1))
    usual, seeds_lead = total > 0, of_seeds >= of_users
    df = np.where(usual, total**2 / parts, np.where(seeds_lead, seeds - 1, users - 1))
    return np.where(usual, total, np.maximum(of_seeds, of_users)) / (seeds * users), df


def reaches(of_seeds, of_users, noise, seeds: int, users: int) -> dict[str, np.ndarray]:
    """How far the intervals reach that need the mean squares alone."""
    size = seeds * users
    parts = of_seeds / size, np.maximum(of_users - noise, 0) / size
    both = parts[0] * critical(seeds - 1) + parts[1] * critical(users - 1)
    variance, df = satterthwaite(of_seeds, of_users, noise, seeds, users)
    return {RULES[0]: both / np.sqrt(parts[0] + parts[1]), RULES[1]: quantiles(df) * np.sqrt(variance),
            RULES[3]: critical(users - 1) * np.sqrt(of_users / size), RULES[4]: critical(seeds - 1) * np.sqrt(of_seeds / size)}


def resampled(rng: np.random.Generator, x: np.ndarray, times: int) -> np.ndarray:
    """Ends of the bootstrap's interval of each mean of x (..., seeds, users): seeds and users drawn with replacement."""
    seeds, users = x.shape[-2:]
    of_seeds, of_users = (rng.multinomial(n, np.full(n, 1 / n), size=times) / n for n in (seeds, users))
    return np.quantile(((x @ of_users.T) * of_seeds.T).sum(-2), (0.025, 0.975), axis=-1)


@table("05_older_rules", "comparison", "rule")
def older_rules(name: str) -> Iterator[dict]:
    """What each rule says of RD - S of the runs with most seeds. The bootstrap's ends are quantiles of 2,000 draws, here
    of 1,000. The 2.5 % quantile of n draws has a standard error of 2.67 / sqrt(n) standard deviations: sqrt(.025 .975) over the
    normal density there."""
    both = {shown: stacked([rows(shown[0], role, shown[1]) for role in ("RD-hybrid", "S")], "AP") for shown in SHOWN}
    shown = max((one for one in SHOWN if both[one]), key=lambda one: len(both[one][0]))
    x = both[shown][0] - both[shown][1]
    x = x[:, ~np.isnan(x).any(0)]
    mean, seeds, users = x.mean(), *x.shape
    ends = {rule: (mean - reach, mean + reach) for rule, reach in reaches(*squares(x), seeds, users).items()}
    low, high = map(float, resampled(np.random.default_rng(12), x, 1_000))
    within = ERRORS * 2.67 * (high - low) / (2 * 1.96) * math.sqrt(1 / 2_000 + 1 / 1_000)
    ends[RULES[2]] = Near(low, within), Near(high, within)
    for rule, two in ends.items():
        low, high = (end.value if isinstance(end, Near) else end for end in two)
        yield {"comparison": f"RD - S, {label(*shown)}", "rule": rule, "effect": mean, "low": two[0], "high": two[1],
               "excludes 0": bool(low > 0 or high < 0)}  # fmt: skip


@table("05_coverage", "comparison", "seeds")
def coverage(name: str) -> Iterator[dict]:
    """How often each rule's interval holds the truth, by another simulation than the committed one.

    A share p of n draws has the standard error sqrt(p (1 - p) / n). Both tables have as many draws, so they may differ by
    `ERRORS` times sqrt(2) of it. The spread of seeds, users and noise is that of `tests`.
    """
    rng = np.random.default_rng(12)
    for model, protocol in SHOWN:
        for pair in PAIRS:
            c = against(model, protocol, *pair)
            for seeds in (3, 5) if c and c["seeds"] > 1 else ():
                of_seed, of_user, noise = c["spread"]
                parts = of_seed / seeds, of_user / c["users"], noise / (seeds * c["users"])
                held = simulated(c["spread"], seeds, c["users"], rng)
                within = {rule: ERRORS * math.sqrt(2 * max(p * (1 - p), 0.01) / n) for rule, (p, n) in held.items()}
                yield {"comparison": f"{what(*pair)}, {label(model, protocol)}", "seeds": seeds,
                       "share of seeds": parts[0] / sum(parts),
                       **{rule: Near(p, within[rule]) for rule, (p, _) in held.items()}}  # fmt: skip


def simulated(spread: tuple[float, float, float], seeds: int, users: int, rng: np.random.Generator) -> dict[str, tuple]:
    """rule -> share of draws whose interval holds 0, which is true, and the number of draws.

    300 users stand for all, with a spread that is smaller by as much, as in the committed table. The first two rules have
    draws of mean squares of all users: independent chi-squared numbers, independent of the mean.
    """
    few = min(300, users)
    sd = np.sqrt(np.multiply(spread, (1, few / users, few / users)))
    x = sd[2] * rng.standard_normal((DRAWS, seeds, few))
    x += sd[0] * rng.standard_normal((DRAWS, seeds, 1)) + sd[1] * rng.standard_normal((DRAWS, 1, few))
    means = x.mean((-2, -1))
    made = reaches(*squares(x), seeds, few)
    held = {rule: float((np.abs(means) <= made[rule]).mean()) for rule in RULES[3:]}
    low, high = np.concatenate([resampled(rng, part, RESAMPLES) for part in np.split(x, 4)], axis=1)
    found = {rule: (share, DRAWS) for rule, share in (held | {RULES[2]: float(((low <= 0) & (high >= 0)).mean())}).items()}
    expected = (spread[2] + users * spread[0], spread[2] + seeds * spread[1], spread[2])
    dfs = (seeds - 1, users - 1, (seeds - 1) * (users - 1))
    drawn = [value * rng.chisquare(df, OF_SQUARES) / df for value, df in zip(expected, dfs, strict=True)]
    means = math.sqrt((expected[0] + expected[1] - expected[2]) / (seeds * users)) * rng.standard_normal(OF_SQUARES)
    made = reaches(*drawn, seeds, users)
    return found | {rule: (float((np.abs(means) <= made[rule]).mean()), OF_SQUARES) for rule in RULES[:2]}


# ------------------------------------------------------------------------------------------------- who gains


def files_of_gowalla() -> list[Path]:
    """The two files of the final split, where they have been fetched."""
    found = [records.ROOT / "data" / "raw" / "gowalla" / "test" / f"{part}.txt" for part in ("train", "test")]
    return found if all(file.exists() for file in found) else []


@table("05_by_popularity", "runs", "interactions of an item")
def by_popularity(name: str) -> Iterator[dict]:
    """Which share of each group's test items is found, from what a record counted when its run ended."""
    for model in ("Caser", "Fossil"):
        found = {role: [run.read("groups") for run, _ in rows(model, role, "fixed50").values()] for role in ROLES}
        counted = {role: [one for one in groups if one] for role, groups in found.items()}
        first = next((groups[0] for groups in counted.values() if groups), None)
        for place in range(len(first["items"])) if first else ():
            row = {"runs": label(model, "fixed50"), "items": first["items"][place], "held out": first["held_out"][place]}
            ends = first["least"][place], first["most"][place]
            row["interactions of an item"] = f"{ends[0]}-{ends[1]}" if ends[0] != ends[1] else str(ends[0])
            for role, groups in counted.items():
                shares = [one["found"][place] / one["held_out"][place] for one in groups]
                row[role] = sum(shares) / len(shares) if shares else math.nan
            yield row


@table("05_by_activity", "runs", "what", "training items")
def by_activity(name: str) -> Iterator[dict]:
    """Differences among users with as many training items: five groups of about equal size, users with as many items together.

    A user's training items are counted in the files of the data set, which are not committed.
    """
    if not files_of_gowalla():
        raise Absent("a user's training items stand in Gowalla's files, which `rdcore fetch gowalla` brings")
    ids, counts = np.unique(np.loadtxt(files_of_gowalla()[0], usecols=0, dtype=int), return_counts=True)
    for model in ("Caser", "Fossil"):
        for role in ("T", "RD-hybrid"):
            both = stacked([rows(model, one, "fixed50") for one in (role, "S")], "AP")
            if not both:
                continue
            assert (np.diff(ids) > 0).all() and len(counts) == both[0].shape[1], "users of a record stand in the order of ids"
            there = ~np.isnan(both[0]).any(0)
            below = np.searchsorted(np.sort(counts[there]), counts, "left")
            above = np.searchsorted(np.sort(counts[there]), counts, "right")
            group = np.where(there, 5 * (below + above) // (2 * there.sum()), -1)  # where the middle of each count's users is
            for number in range(5):
                own = group == number
                c, ends = compare(*(x[:, own] for x in both)), (counts[own].min(), counts[own].max())
                span = f"{ends[0]}-{ends[1]}" if ends[0] != ends[1] else str(ends[0])
                yield {"runs": label(model, "fixed50"), "what": what(role, "S"), "training items": span,
                       **{key: c[key] for key in ("users", "difference", "low", "high", "relative")}}  # fmt: skip
