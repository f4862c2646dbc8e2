"""Runs put side by side: the same model under the same protocol, seed by seed and user by user.

The scorecard and notebook 05 take their numbers from here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rdcore.eval import significance
from rdcore.eval.significance import Comparison, GapShare
from rdcore.store.runs import Record
from studies.common.report import Judged, judged

NOT_TESTABLE = "not testable"
# Half the paper's own gap between teacher and student in MAP on Gowalla, fixed before any run.
MARGINS = {"Caser": 0.0020, "Fossil": 0.0037}
ROLES = ("T", "S", "RD-hybrid")
PAIRS = (("RD-hybrid", "S"), ("T", "S"), ("RD-hybrid", "T"))


@dataclass(frozen=True)
class Pairing:
    """What it is worth to judge two methods on the same users: standard errors of their difference, seeds averaged."""

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
    resamples: int = 10_000
    by_role: dict[str, dict[int, Judged]] = field(default_factory=dict)
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
            self._made[key] = significance.compare(*arrays, rng=np.random.default_rng(0), resamples=self.resamples)
        return self._made[key]

    def pairing(self, a: str, b: str) -> Pairing | None:
        """Of two roles on AP; None where no seed has both."""
        arrays = self.arrays(a, b)
        if arrays is None:
            return None
        one, other = (array.mean(0)[~np.isnan(array[0])] for array in arrays)
        n = len(one)
        unpaired = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / n)
        return Pairing(float(np.corrcoef(one, other)[0, 1]), float((one - other).std(ddof=1) / np.sqrt(n)), float(unpaired))

    def gap(self) -> GapShare | None:
        """The share of the gap in MAP between T and S that RD-hybrid recovers."""
        arrays = self.arrays("T", "S", "RD-hybrid")
        if arrays is not None and "gap" not in self._made:
            self._made["gap"] = significance.gap_recovered(*arrays, rng=np.random.default_rng(0), resamples=self.resamples)
        return None if arrays is None else self._made["gap"]


def matched(
    records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, dataset: str = "gowalla", resamples: int = 10_000
) -> dict[tuple[str, str], Matched]:
    """(model, protocol) -> the F runs of Caser and Fossil on one data set, the fixed protocol before `validation`.

    Args:
        chosen: role -> epoch, for protocol `validation`.
    """
    found: dict[tuple[str, str], Matched] = {}
    for run in judged(records, chosen):
        if run.dataset == dataset and run.model in MARGINS:
            key = (run.model, run.protocol)
            runs = found.setdefault(key, Matched(dataset, *key, resamples=resamples))
            runs.by_role.setdefault(run.role, {})[run.seed] = run
    return dict(sorted(found.items(), key=lambda entry: (entry[0][1] == "validation", entry[0])))


def no_worse(runs: Matched, margin: float) -> tuple[str, Comparison, GapShare] | None:
    """Is RD-hybrid no worse than T by more than ``margin``: verdict, RD - T, share of the gap; None without runs.

    All three roles over the same seeds. Where the interval of T - S does not lie above 0 there is nothing to be as good as,
    and nothing is said. Where it does, but ``margin`` is wider than T - S, little is said (`says_little`).
    """
    gap = runs.gap()
    if gap is None:
        return None
    c = runs.compare("RD-hybrid", "T", among=["S"])
    if np.isnan(gap.share):
        return NOT_TESTABLE, c, gap
    holds = "replicates" if c.n_seeds >= significance.SEEDS_TO_REPLICATE else "indication"
    return holds if significance.non_inferior(c, margin) else "no", c, gap


def says_little(gap: GapShare, margin: float) -> str:
    """That S itself would nearly pass for no worse than T, because the margin, fixed by the paper's T - S, is wider than ours;
    "" where it is not."""
    wide = margin > gap.gap
    return f"the margin is wider than our own gap T - S = {gap.gap:+.4f}, so that this says little" if wide else ""


def answers(runs: Matched, margin: float | None = None) -> str:
    """Does RD beat S, and is RD no worse than T? Two sentences, every number from the runs.

    Args:
        margin: None for a data set that none was fixed for; there is no verdict on the second question then.
    """
    words = {"replicates": "yes", "indication": "an indication", "no": "no", NOT_TESTABLE: "cannot be said"}
    missing = [role for role in ("RD-hybrid", "S", "T") if not runs.by_role.get(role)]
    lacking = f"no record of {' and '.join(missing)} yet" if missing else "no seed has all of RD-hybrid, S and T"
    lines = [f"{runs.label}:"]

    c = runs.compare("RD-hybrid", "S")
    if c is None:
        lines.append(f"  Does RD beat S? Not known: {lacking}.")
    else:
        said = words[significance.verdict(c)].capitalize()
        word = ", ".join(filter(None, (said, significance.opposite(c))))
        lines.append(f"  Does RD beat S? {word}: {_in_numbers(c, 'RD - S')}.")
    found = None if margin is None else no_worse(runs, margin)
    if margin is None and (c := runs.compare("RD-hybrid", "T")) is not None:
        lines.append(f"  Is RD no worse than T? No margin was fixed for this data set: {_in_numbers(c, 'RD - T')}.")
    elif found is None:
        lines.append(f"  Is RD no worse than T? Not known: {lacking}.")
    else:
        said, c, gap = found
        little = "" if said in ("no", NOT_TESTABLE) else says_little(gap, margin)
        within = f"margin {margin:.4f}" + (f"; {little}" if little else "")
        lines.append(f"  Is RD no worse than T? {words[said].capitalize()}: {_in_numbers(c, 'RD - T')}, {within}.")
    gap = runs.gap()
    if gap is not None and np.isnan(gap.share):
        themselves = "T itself is worse than S" if gap.gap_high < 0 else "T and S themselves do not differ"
        lines.append(f"  {themselves}: T - S lies between {gap.gap_low:+.4f} and {gap.gap_high:+.4f}.")
    elif gap is not None:
        lines.append(f"  Of the gap between T and S, RD recovers {gap.share:.0%} ({gap.low:.0%} to {gap.high:.0%}).")
    return "\n".join(lines)


def _in_numbers(c: Comparison, name: str) -> str:
    seeds = f"{c.n_seeds} seed{'s' * (c.n_seeds > 1)}"
    return (
        f"{name} = {c.difference:+.4f} in MAP ({c.difference / c.mean_b:+.1%}), 95 % interval {c.low:+.4f} to {c.high:+.4f}, "
        f"effect size {c.effect_size:+.3f}, {seeds}"
    )


# -------------------------------------------------------------------------------------------------------------------- tables


def named(a: str, b: str) -> str:
    """A difference of two roles as it is written."""
    return " - ".join(role.removesuffix("-hybrid") for role in (a, b))


def per_seed(shown: Mapping[str, Matched]) -> pd.DataFrame:
    """MAP of every role, and the differences, one row a set of runs and seed; NaN where there is no run."""
    lines = []
    for label, found in shown.items():
        for seed in sorted({seed for role in ROLES for seed in found.seeds(role)}):
            runs = {role: found.by_role.get(role, {}).get(seed) for role in ROLES}
            value = {role: run.record.metrics.loc[run.epoch, "MAP"] if run else np.nan for role, run in runs.items()}
            lines.append({"runs": label, "seed": seed} | value | {named(a, b): value[a] - value[b] for a, b in PAIRS})
    return pd.DataFrame(lines, columns=["runs", "seed", *ROLES, *(named(a, b) for a, b in PAIRS)])


def all_tests(shown: Mapping[str, Matched]) -> pd.DataFrame:
    """Every pair of roles that has runs, on AP: difference, interval, effect size, the three p-values as they are (nothing is
    corrected here), and the verdict on "better"."""
    lines = []
    for label, found in shown.items():
        for a, b in PAIRS:
            if (c := found.compare(a, b)) is not None:
                lines.append({"runs": label, "what": named(a, b), "seeds": c.n_seeds, "users": c.n_users, **_effect(c),
                              "effect_size": c.effect_size, "p users": c.p_users, "p Wilcoxon": c.p_wilcoxon,
                              "p seeds": c.p_seeds, "better": significance.verdict(c)})  # fmt: skip
    return pd.DataFrame(lines)


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
        form = "{:.2g}" if name.startswith("p ") else "{:.4f}" if isinstance(value, float) else "{}"
        return forms.get(name, form).format(value)

    return table.apply(lambda column: column.map(lambda value: cell(column.name, value)))
