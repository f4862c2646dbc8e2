"""Runs put side by side: the same model under the same protocol, seed by seed and user by user.

The scorecard and notebook 05 take their numbers from here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rdcore.eval import significance
from rdcore.eval.significance import Comparison
from rdcore.store.runs import Record
from studies.common import text, verdicts
from studies.common.gap import GapShare, gap_recovered
from studies.common.report import RunAtEpoch, at_epochs
from studies.common.reported import HYBRID, papers_name, reported

ROLES = ("T", "S", "RD-hybrid")
PAIRS = (("RD-hybrid", "S"), ("T", "S"), ("RD-hybrid", "T"))
MODELS = ("Caser", "Fossil")


@dataclass(frozen=True)
class Pairing:
    """What it is worth to compare two methods on the same users: standard errors of their difference, seeds averaged."""

    correlation: float  # of the users' AP with one method and with the other
    paired: float
    unpaired: float  # as if each method had users of its own


@dataclass
class Matched:
    """The runs of one model under one protocol, role -> seed -> run, and their comparisons, each made once.

    Two roles are compared over the seeds that both have; nothing of a role without runs is ever a number.
    """

    dataset: str
    model: str
    protocol: str
    by_role: dict[str, dict[int, RunAtEpoch]] = field(default_factory=dict)
    _made: dict[tuple, Comparison | GapShare] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.model}, {self.dataset}, {self.protocol}"

    @property
    def records(self) -> list[Record]:
        return [run.record for runs in self.by_role.values() for run in runs.values()]

    def seeds(self, *roles: str) -> list[int]:
        """Those that all of the roles have."""
        return sorted(set.intersection(*(set(self.by_role.get(role, {})) for role in roles)))

    def arrays(self, *roles: str, metric: str = "AP", among: Sequence[str] = ()) -> list[np.ndarray] | None:
        """(seeds, users) for each role, over the seeds that all of them, and those ``among`` which they are seen, have;
        None where there is no such seed."""
        seeds = self.seeds(*roles, *among)
        if not seeds:
            return None
        runs = [[self.by_role[role][seed] for seed in seeds] for role in roles]
        return [np.stack([j.record.per_user(j.epoch)[metric].to_numpy() for j in row]) for row in runs]

    def compare(self, a: str, b: str, metric: str = "AP", among: Sequence[str] = ()) -> Comparison | None:
        """Role a - role b; None where no seed has both."""
        arrays = self.arrays(a, b, metric=metric, among=among)
        if arrays is None:
            return None
        # Kept by its seeds too: with the same ones it is the same comparison.
        key = (a, b, metric, *self.seeds(a, b, *among))
        if key not in self._made:
            self._made[key] = significance.compare(*arrays)
        return self._made[key]

    def reported(self, a: str, b: str, metric: str = "MAP") -> float:
        """The effect a - b that Ranking Distillation reports for this model and data set; NaN where it has none."""
        values = [reported_value(self.dataset, self.model, role, metric) for role in (a, b)]
        return round(values[0] - values[1], 4)  # four digits are printed

    def pairing(self, a: str, b: str) -> Pairing | None:
        """Of two roles on AP; None where no seed has both."""
        arrays = self.arrays(a, b)
        if arrays is None:
            return None
        one, other = (array.mean(0)[~np.isnan(array[0])] for array in arrays)
        n = len(one)
        unpaired = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / n)
        return Pairing(float(np.corrcoef(one, other)[0, 1]), float((one - other).std(ddof=1) / np.sqrt(n)), float(unpaired))

    def gap(self, role: str = "RD-hybrid") -> GapShare | None:
        """The share of the gap in MAP between T and S that a role recovers."""
        arrays, key = self.arrays("T", "S", role), ("gap", role)
        if arrays is not None and key not in self._made:
            self._made[key] = gap_recovered(*arrays)
        return None if arrays is None else self._made[key]


def reported_value(dataset: str, model: str, role: str, metric: str) -> float:
    """A number of Ranking Distillation's Table 2, or of Table 4 for a weighting by its name; NaN where there is none.

    RD-hybrid is the RD of Table 2.
    """
    table = "rd_table4" if role.startswith("RD-") and role != HYBRID else "rd_table2"
    wanted = {"dataset": dataset, "model": model, "metric": metric, "role": papers_name(role)}
    values = reported(table)
    found = values.loc[(values[list(wanted)] == list(wanted.values())).all(axis=1), "value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def matched(
    records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, dataset: str = "gowalla"
) -> dict[tuple[str, str], Matched]:
    """(model, protocol) -> the F runs of Caser and Fossil on one data set, the fixed protocol before `validation`.

    Args:
        chosen: role -> epoch, for protocol `validation`.
    """
    found: dict[tuple[str, str], Matched] = {}
    for run in at_epochs(records, chosen):
        if run.dataset == dataset and run.model in MODELS:
            key = (run.model, run.protocol)
            runs = found.setdefault(key, Matched(dataset, *key))
            runs.by_role.setdefault(run.role, {})[run.seed] = run
    return dict(sorted(found.items(), key=lambda entry: (entry[0][1] == "validation", entry[0])))


@dataclass(frozen=True)
class NoWorse:
    """Whether RD is no worse than T, all three roles over the same seeds."""

    verdict: str
    comparison: Comparison  # RD - T
    gap: GapShare
    margin: float  # NaN where our own T - S is not above 0

    @property
    def below(self) -> bool:
        """Whether RD ranks worse than T all the same: its interval lies below 0, but not below minus the margin."""
        return self.comparison.high < 0 and self.verdict.endswith((verdicts.CONFIRMED, verdicts.INCONCLUSIVE))


def no_worse(runs: Matched, role: str = "RD-hybrid") -> NoWorse | None:
    """Is RD, with the weights of a role, no worse than T (rule 6)? None without runs, or where the paper reports no gap for
    these data.

    The margin is the smaller of half the paper's T - S and half the lower bound of our own. Where our own T - S is not
    the paper's, because it may be 0 or excludes the reported size and is less than half of it, there is no assay
    sensitivity: being as good as such a teacher says nothing about the claim, and it is not assessable.
    """
    gap, theirs = runs.gap(role), runs.reported("T", "S")
    if gap is None or np.isnan(theirs):
        return None
    c = runs.compare(role, "T", among=["S"])
    margin = verdicts.margin(theirs, gap.gap_low)
    lead = verdicts.verdict(runs.compare("T", "S", among=[role]), theirs)
    if lead.endswith(verdicts.CONFIRMED):
        return NoWorse(verdicts.no_worse(c, margin), c, gap, margin)
    return NoWorse(verdicts.with_seeds(verdicts.NOT_ASSESSABLE, c.n_seeds), c, gap, margin)


def answers(runs: Matched) -> str:
    """Does RD beat S, and is RD no worse than T? Two sentences, every number from the runs."""
    missing = [role for role in ("RD-hybrid", "S", "T") if not runs.by_role.get(role)]
    lacking = f"no record of {' and '.join(missing)} yet" if missing else "no seed has all of RD-hybrid, S and T"
    lines = [f"{runs.label}:"]
    c = runs.compare("RD-hybrid", "S")
    if c is None:
        lines.append(f"  Does RD beat S? Not known: {lacking}.")
    else:
        word = verdicts.verdict(c, runs.reported("RD-hybrid", "S")).capitalize()
        lines.append(f"  Does RD beat S? {word}: {_in_numbers(c, 'RD - S')}.")
    judgement, c = no_worse(runs), runs.compare("RD-hybrid", "T")
    if c is None:
        lines.append(f"  Is RD no worse than T? Not known: {lacking}.")
    elif np.isnan(runs.reported("T", "S")):
        lines.append(f"  Is RD no worse than T? The paper has no gap for these data, so no margin: {_in_numbers(c, 'RD - T')}.")
    elif judgement is None:
        lines.append(f"  Is RD no worse than T? Not known: {lacking}.")
    else:
        within = "no margin" if np.isnan(judgement.margin) else f"margin {judgement.margin:.4f}"
        word = judgement.verdict.capitalize()
        below = "; it does rank worse" if judgement.below else ""
        lines.append(f"  Is RD no worse than T? {word}: {_in_numbers(judgement.comparison, 'RD - T')}, {within}{below}.")
    gap = runs.gap()
    if gap is not None and np.isnan(gap.share):
        themselves = "T itself is worse than S" if gap.gap_high < 0 else "T and S themselves do not differ clearly"
        lines.append(f"  {themselves}: T - S lies between {gap.gap_low:+.4f} and {gap.gap_high:+.4f}.")
    elif gap is not None:
        lines.append(f"  Of the gap between T and S, RD recovers {gap.share:.0%} ({gap.low:.0%} to {gap.high:.0%}).")
    return "\n".join(lines)


def _in_numbers(c: Comparison, name: str) -> str:
    seeds = f"{c.n_seeds} seed{'s' * (c.n_seeds > 1)}"
    over = ", over users alone" if c.n_seeds == 1 else ""
    return (
        f"{name} = {c.difference:+.4f} in MAP ({c.difference / c.mean_b:+.1%}), 95 % interval {c.low:+.4f} to {c.high:+.4f}"
        f"{over}, effect size {c.effect_size:+.3f}, {seeds}"
    )


# -------------------------------------------------------------------------------------------------------------------- tables


def named(a: str, b: str) -> str:
    """A difference of two roles as it is written."""
    return " - ".join(role.removesuffix("-hybrid") for role in (a, b))


def per_seed(shown: Mapping[str, Matched]) -> pd.DataFrame:
    """MAP of every role, and the differences, one row for each set of runs and seed; NaN where there is no run."""
    lines = []
    for label, found in shown.items():
        for seed in sorted({seed for role in ROLES for seed in found.seeds(role)}):
            runs = {role: found.by_role.get(role, {}).get(seed) for role in ROLES}
            value = {role: run.record.metrics.loc[run.epoch, "MAP"] if run else np.nan for role, run in runs.items()}
            lines.append({"runs": label, "seed": seed} | value | {named(a, b): value[a] - value[b] for a, b in PAIRS})
    return pd.DataFrame(lines, columns=["runs", "seed", *ROLES, *(named(a, b) for a, b in PAIRS)])


def all_tests(shown: Mapping[str, Matched]) -> pd.DataFrame:
    """Every pair of roles that has runs, on AP: difference, interval, effect size, p (nothing is corrected here), the
    spread of seeds, users and noise, the verdict on "better", and for the paper's effect the power and the seeds needed."""
    lines = []
    for label, found in shown.items():
        for a, b in PAIRS:
            if (c := found.compare(a, b)) is not None:
                d = found.reported(a, b)
                # "no worse" is another question: RD - T is answered by `no_worse`.
                better = {}
                if (a, b) != ("RD-hybrid", "T"):
                    better = {"better": verdicts.verdict(c, d), "power": verdicts.power(c, d)}
                    better["seeds needed"] = verdicts.seeds_needed(c, d)
                seed, user, noise = np.sqrt(c.layout.components)
                lines.append({"runs": label, "what": named(a, b), "seeds": c.n_seeds, "users": c.n_users, **_effect(c),
                              "effect_size": c.effect_size, "p": c.p, "sd of seeds": seed, "sd of users": user,
                              "sd of noise": noise, **better})  # fmt: skip
    table = pd.DataFrame(lines)
    return table.astype({"seeds needed": "Int64"}) if "seeds needed" in table else table


def by_activity(panels: Mapping[str, Mapping[str, Mapping[str, Comparison]]]) -> pd.DataFrame:
    """label -> role -> group of users -> comparison with S, as rows."""
    lines = [
        {"runs": label, "what": named(role, "S"), "training items": group, "users": c.n_users, **_effect(c)}
        for label, roles in panels.items()
        for role, found in roles.items()
        for group, c in found.items()
    ]
    return pd.DataFrame(lines)


def _effect(c: Comparison) -> dict[str, float]:
    return {"difference": c.difference, "low": c.low, "high": c.high, "relative": c.difference / c.mean_b}


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """A table for people: differences with their sign, p with two digits, nothing for what is not there."""
    signed = {"difference", "low", "high", *(named(a, b) for a, b in PAIRS)}
    forms = dict.fromkeys(signed, "{:+.4f}") | {"relative": "{:+.1%}", "effect_size": "{:+.3f}"}

    def cell(name: str, value) -> str:
        if pd.isna(value):
            return ""
        if name == "power":
            return text.probability(value)
        usual = "{:.4f}" if isinstance(value, float) else "{}"
        form = {"p": "{:.2g}", "sd of seeds": "{:.5f}"}.get(name, usual)
        return forms.get(name, form).format(value)

    return table.apply(lambda column: column.map(lambda value: cell(column.name, value)))
