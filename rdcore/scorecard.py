"""The papers' claims, one row each, and what our runs say about them.

A verdict is computed from the metrics of single users in the F runs, by the rules of significance.py; a claim without
runs says `not run yet`, one that cannot be tested with what the authors published says `not testable` and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rdcore import paths
from rdcore.report import Judged, judged
from rdcore.reported import reported
from rdcore.runs import Record
from rdcore.significance import SEEDS_TO_REPLICATE, compare, gap_recovered, holm, non_inferior, verdict

COLUMNS = ["claim", "source", "verdict", "paper", "ours", "low", "high", "p", "effect_size", "seeds", "note", "notebook"]
RD, NOT_RUN, NOT_TESTABLE = "Tang & Wang 2018", "not run yet", "not testable"
# Half the paper's own gap between teacher and student in MAP, fixed before any run.
MARGIN = 0.0020


@dataclass
class _Runs:
    """The runs of one protocol on Gowalla with Caser: role -> seed -> run."""

    protocol: str
    by_role: dict[str, dict[int, Judged]] = field(default_factory=dict)

    def arrays(self, *roles: str, metric: str) -> list[np.ndarray] | None:
        """(seeds, users) for each role, over the seeds that all of them have; None where there is no such seed."""
        seeds = set.intersection(*(set(self.by_role.get(role, {})) for role in roles))
        if not seeds:
            return None
        runs = [[self.by_role[role][seed] for seed in sorted(seeds)] for role in roles]
        return [np.stack([j.record.per_user(j.epoch)[metric].to_numpy() for j in row]) for row in runs]


def scorecard(
    records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, dataset: str = "gowalla", resamples: int = 10_000
) -> pd.DataFrame:
    """One row a claim: verdict, the paper's effect, ours with its 95 % interval, and the notebook that shows it.

    Effects are differences of means over users; p is that of the paired t over users after Holm's correction within its
    family (RD against S on MAP; the same on the other metrics; hybrid against the other weightings), empty elsewhere.

    Args:
        chosen: role -> epoch, for protocol `validation`.
        dataset: the one whose runs speak for the claims on Gowalla (another one in tests).
    """
    found: dict[str, _Runs] = {}
    for run in judged(records, chosen):
        if run.dataset == dataset and run.model == "Caser":
            runs = found.setdefault(run.protocol, _Runs(run.protocol))
            runs.by_role.setdefault(run.role, {})[run.seed] = run
    fixed = next((runs for protocol, runs in sorted(found.items()) if protocol != "validation"), _Runs("fixed50"))
    tested = [fixed, *([found["validation"]] if "validation" in found else [])]

    rows = []
    for runs in tested:
        where = f"Caser, Gowalla, {runs.protocol}"
        gain = _paper("MAP", "RD") - _paper("MAP", "S")
        claim = f"RD ranks better than the student alone: MAP ({where})"
        first = _better(runs, "RD-hybrid", "S", "AP", claim, gain, resamples)
        rows += _corrected([first])
        rows.append(_no_worse(runs, where, resamples))
    others = [
        _better(fixed, "RD-hybrid", "S", m, f"RD ranks better than the student alone: {m} (Caser, Gowalla, {fixed.protocol})",
                _paper(m, "RD") - _paper(m, "S"), resamples)
        for m in ("P@10", "nDCG@10")
    ]  # fmt: skip
    rows += _corrected(others)
    weightings = {"RD-equal": "1/K", "RD-position": "position importance", "RD-discrepancy": "ranking discrepancy"}
    against = [
        _better(fixed, "RD-hybrid", role, "AP", f"The hybrid weighting beats {name}: MAP ({fixed.protocol})",
                _paper("MAP", "RD-hybrid") - _paper("MAP", role), resamples)
        for role, name in weightings.items()
    ]  # fmt: skip
    rows += _corrected(against)
    for role in ("RD-position", "RD-discrepancy"):
        paper = _paper("MAP", role) - _paper("MAP", "RD-equal")
        claim = f"Weighting by {weightings[role]} beats 1/K: MAP ({fixed.protocol})"
        row = _better(fixed, role, "RD-equal", "AP", claim, paper, resamples)
        rows.append(row | {"p": np.nan})  # outside the families
    rows.append(_half_the_size(fixed))
    rows += _without_runs()
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["seeds"] = table["seeds"].astype("Int64")
    return table


def _better(runs: _Runs, a: str, b: str, metric: str, claim: str, paper: float, resamples: int) -> dict:
    row = _row(claim, paper=paper, notebook="03_ranking_distillation")
    arrays = runs.arrays(a, b, metric=metric)
    if arrays is None:
        return row
    c = compare(*arrays, rng=np.random.default_rng(0), resamples=resamples)
    note = "the opposite holds" if c.high < 0 else ""
    return row | {"verdict": verdict(c), "ours": c.difference, "low": c.low, "high": c.high, "p": c.p_users,
                  "effect_size": c.effect_size, "seeds": c.n_seeds, "note": note}  # fmt: skip


def _corrected(family: list[dict]) -> list[dict]:
    """The p-values of one family after Holm, over the tests that were run."""
    adjusted = holm({row["claim"]: row["p"] for row in family if not np.isnan(row["p"])})
    return [row | {"p": adjusted.get(row["claim"], np.nan)} for row in family]


def _no_worse(runs: _Runs, where: str, resamples: int) -> dict:
    """Non-inferiority against the teacher, with the share of the gap beside it."""
    paper = _paper("MAP", "RD") - _paper("MAP", "T")
    row = _row(f"RD ranks no worse than the teacher: MAP ({where})", paper=paper, notebook="03_ranking_distillation")
    arrays = runs.arrays("T", "S", "RD-hybrid", metric="AP")
    if arrays is None:
        return row
    teacher, student, distilled = arrays
    c = compare(distilled, teacher, rng=np.random.default_rng(0), resamples=resamples)
    gap = gap_recovered(teacher, student, distilled, rng=np.random.default_rng(0), resamples=resamples)
    row |= {"ours": c.difference, "low": c.low, "high": c.high, "effect_size": c.effect_size, "seeds": c.n_seeds}
    if np.isnan(gap.share):
        note = "our own teacher and student do not differ: the interval of T - S includes 0"
        return row | {"verdict": NOT_TESTABLE, "note": note}
    holds = "replicates" if c.n_seeds >= SEEDS_TO_REPLICATE else "indication"
    note = f"margin {MARGIN:.4f}; {gap.share:.0%} of the gap T - S recovered ({gap.low:.0%} to {gap.high:.0%})"
    return row | {"verdict": holds if non_inferior(c, MARGIN) else "no", "note": note}


def _half_the_size(runs: _Runs) -> dict:
    table = reported("rd_table3").query("dataset == 'gowalla' and model == 'Caser' and quantity == 'parameter_ratio'")
    row = _row("The distilled Caser has half the teacher's parameters (ratio, Gowalla)", paper=float(table["value"].iloc[0]),
               notebook="02_teacher_and_student")  # fmt: skip
    sizes = []
    for role in ("T", "RD-hybrid"):
        runs_of_role = list(runs.by_role.get(role, {}).values())
        sizes += [_parameters(run.record) for run in runs_of_role[:1]]
    if len(sizes) < 2 or None in sizes:
        return row
    ratio = sizes[1] / sizes[0]
    # A count has no sampling error: it holds or not, to the digits printed.
    return row | {"verdict": "replicates" if round(ratio, 3) == row["paper"] else "no", "ours": ratio,
                  "note": f"{sizes[1]:,} of {sizes[0]:,}"}  # fmt: skip


def _parameters(record: Record) -> int | None:
    return record._json("size.json")["parameters"] if (record.folder / "size.json").exists() else None


def _without_runs() -> list[dict]:
    """Claims that no run here speaks about. None has a number of ours."""
    fossil = reported("rd_table2").query("dataset == 'gowalla' and model == 'Fossil' and metric == 'MAP'")
    fossil = fossil.set_index("role")["value"]
    unpublished = "neither the data nor the way they were prepared could be found"
    drawn = "no numbers can be read from the figure"
    return [
        _row("RD ranks better than the student alone: MAP (Fossil, Gowalla)", paper=fossil["RD"] - fossil["S"]),
        _row("RD ranks no worse than the teacher: MAP (Fossil, Gowalla)", paper=fossil["RD"] - fossil["T"]),
        _row("The same on Foursquare (Caser, Fossil)", verdict=NOT_TESTABLE, note=unpublished),
        _row("A distilled model makes its lists in about half the time (Table 3)"),
        _row("A balance of both losses is best; either alone is worse (Figure 6)", note=drawn),
        _row("The gain holds over model sizes and amounts of training data (Figures 4, 5)",
             note=drawn),
        _row("Losses made for top-K lists distil better than earlier ones", source="RankDistil, AISTATS 2021"),
        _row("Distilling representations and relaxed rankings beats RD (CiteULike)", source="DE-RRD, CIKM 2020"),
        _row("The same on Foursquare", source="DE-RRD, CIKM 2020", verdict=NOT_TESTABLE, note=unpublished),
    ]  # fmt: skip


def _row(claim: str, *, paper=np.nan, source: str = RD, verdict: str = NOT_RUN, note: str = "", notebook: str = "") -> dict:
    exists = notebook and (paths.root() / "notebooks" / f"{notebook}.py").exists()
    empty = dict.fromkeys(("ours", "low", "high", "p", "effect_size"), np.nan)
    return empty | {"claim": claim, "source": source, "verdict": verdict, "paper": paper, "seeds": None, "note": note,
                    "notebook": notebook if exists else ""}  # fmt: skip


def _paper(metric: str, role: str) -> float:
    """The paper's own number for Caser on Gowalla; of a weighting from Table 4."""
    table = reported("rd_table4" if role.startswith("RD-") else "rd_table2")
    rows = table.query("dataset == 'gowalla' and model == 'Caser' and metric == @metric and role == @role")
    return float(rows["value"].iloc[0])
