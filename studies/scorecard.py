"""The papers' claims, one row each, and what our runs say about them.

A verdict is computed from the metrics of single users in the F runs (DE-RRD's claims: in the runs of stage L), by the rules
of significance.py; a claim without runs says `not run yet`, one that cannot be tested with what the authors published says
`not testable` and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rdcore.eval.significance import Comparison, holm, opposite, verdict
from rdcore.files import paths
from rdcore.store.runs import Record
from studies.common.matched import MARGINS, NOT_TESTABLE, Matched, matched, no_worse, says_little
from studies.common.profiles import PROFILES
from studies.common.profiles import RANKDISTIL as FORMS
from studies.common.reported import reported
from studies.derrd import plan as derrd
from studies.derrd import tables as derrd_report
from studies.one_protocol import plan as one_protocol
from studies.one_protocol import tables as one_protocol_tables
from studies.rd import efficiency

COLUMNS = ["claim", "source", "verdict", "paper", "ours", "low", "high", "p", "effect_size", "seeds", "note", "notebook"]
RD, DE_RRD, RANKDISTIL, NOT_RUN = "Tang & Wang 2018", "DE-RRD, CIKM 2020", "RankDistil, AISTATS 2021", "not run yet"
OURS = "no paper: our question"
_TESTS, _SCHEMES, _SWEEPS = "05_significance", "03_ranking_distillation", "04_ablations"


def scorecard(
    records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, dataset: str = "gowalla", resamples: int = 10_000
) -> pd.DataFrame:
    """One row a claim: verdict, the paper's effect, ours with its 95 % interval, and the notebook that shows it.

    Effects are differences of means over users; p is that of the paired t over users after Holm's correction within its
    family (A: RD against S on MAP, of both models and protocols; B: the same on the other metrics; C: hybrid against the
    other weightings; D: DE-RRD's methods against S, each other and their competitors; E: RankDistil's forms against RD),
    empty elsewhere. The last rows are no claims of a paper: our controls, and RankDistil's losses on data of this field.

    Args:
        chosen: role -> epoch, for protocol `validation`.
        dataset: the one whose runs speak for the claims on Gowalla (another one in tests).
    """
    return scorecard_of(matched(records, chosen, dataset=dataset, resamples=resamples), resamples=resamples)


def scorecard_of(found: Mapping[tuple[str, str], Matched], *, resamples: int = 10_000) -> pd.DataFrame:
    """The scorecard from runs that `matched` has put together; comparisons made before are not made again."""
    found = dict(found)
    name = next((protocol for _, protocol in found if protocol != "validation"), "fixed50")
    fixed = [found.get((model, name), Matched("gowalla", model, name)) for model in MARGINS]
    chosen = [runs for (_, protocol), runs in found.items() if protocol == "validation"]
    caser = fixed[0]

    rows = []
    every = [*fixed, *chosen]
    for runs, row in zip(every, _corrected([_beats_student(runs, "AP", "MAP") for runs in every]), strict=True):  # A
        rows += [row, _no_worse(runs)]
    rows += _corrected([_beats_student(runs, metric, metric) for runs in fixed for metric in ("P@10", "nDCG@10")])  # B
    weightings = {"RD-equal": "1/K", "RD-position": "position importance", "RD-discrepancy": "ranking discrepancy"}
    against = [
        _better(caser, "RD-hybrid", role, "AP", f"The hybrid weighting beats {name}: MAP ({caser.protocol})",
                _paper("MAP", "RD-hybrid") - _paper("MAP", role), _TESTS)
        for role, name in weightings.items()
    ]  # fmt: skip
    rows += _corrected(against)  # C
    for role in ("RD-position", "RD-discrepancy"):
        paper = _paper("MAP", role) - _paper("MAP", "RD-equal")
        claim = f"Weighting by {weightings[role]} beats 1/K: MAP ({caser.protocol})"
        rows.append(_better(caser, role, "RD-equal", "AP", claim, paper, _SCHEMES) | {"p": np.nan})  # outside the families
    rows.append(_half_the_size(caser))
    rows += _without_runs()
    rows += _corrected(_de_rrd(derrd.committed_rows(), resamples))  # D
    rows += _controls(caser)
    rows += _corrected(_rankdistil(resamples))  # E
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["seeds"] = table["seeds"].astype("Int64")
    return table


def _better(runs: Matched, a: str, b: str, metric: str, claim: str, paper: float, notebook: str) -> dict:
    return _row(claim, paper=paper, notebook=notebook) | _said(runs.compare(a, b, metric))


def _said(c: Comparison | None) -> dict:
    """What a comparison adds to the row of its claim."""
    if c is None:
        return {}
    return {"verdict": verdict(c), "ours": c.difference, "low": c.low, "high": c.high, "p": c.p_users,
            "effect_size": c.effect_size, "seeds": c.n_seeds, "note": opposite(c) or _why_not(c)}  # fmt: skip


def _why_not(c: Comparison) -> str:
    """What keeps a difference from holding, or its opposite: the interval, or seeds that lie on the other side of it."""
    if verdict(c) != "no":
        return ""
    if c.low <= 0 <= c.high:
        return "the interval includes 0"
    agree = sum(difference * c.difference > 0 for difference in c.seed_differences)
    below = "the interval lies below 0, but " if c.high < 0 else ""
    return f"{below}{c.n_seeds - agree} of {c.n_seeds} seeds disagree"


def _beats_student(runs: Matched, metric: str, name: str) -> dict:
    """metric: as in the records; name: of its mean, as in the tables."""
    claim = f"RD ranks better than the student alone: {name} ({_where(runs)})"
    paper = _paper(name, "RD", runs.model) - _paper(name, "S", runs.model)
    return _better(runs, "RD-hybrid", "S", metric, claim, paper, _TESTS)


def _corrected(family: list[dict]) -> list[dict]:
    """The p-values of one family after Holm, over the tests that were run."""
    adjusted = holm({row["claim"]: row["p"] for row in family if not np.isnan(row["p"])})
    return [row | {"p": adjusted.get(row["claim"], np.nan)} for row in family]


def _no_worse(runs: Matched) -> dict:
    """Non-inferiority against the teacher, with the share of the gap beside it."""
    paper = _paper("MAP", "RD", runs.model) - _paper("MAP", "T", runs.model)
    row = _row(f"RD ranks no worse than the teacher: MAP ({_where(runs)})", paper=paper, notebook=_TESTS)
    margin = MARGINS[runs.model]
    found = no_worse(runs, margin)
    if found is None:
        return row
    said, c, gap = found
    note = f"margin {margin:.4f}; {gap.share:.0%} of the gap T - S recovered ({gap.low:.0%} to {gap.high:.0%})"
    if said != "no" and (little := says_little(gap, margin)):
        note += f"; {little}"
    if said == NOT_TESTABLE:
        note = "our own teacher is worse than the student" if gap.gap_high < 0 else "the interval of our own T - S includes 0"
    return row | {"verdict": said, "ours": c.difference, "low": c.low, "high": c.high, "effect_size": c.effect_size,
                  "seeds": c.n_seeds, "note": note}  # fmt: skip


def _where(runs: Matched) -> str:
    return f"{runs.model}, Gowalla, {runs.protocol}"


def _half_the_size(runs: Matched) -> dict:
    table = reported("rd_table3").query("dataset == 'gowalla' and model == 'Caser' and quantity == 'parameter_ratio'")
    row = _row("The distilled Caser has half the teacher's parameters (ratio, Gowalla)", paper=float(table["value"].iloc[0]),
               notebook="02_teacher_and_student")  # fmt: skip
    sizes = []
    for role in ("T", "RD-hybrid"):
        runs_of_role = list(runs.by_role.get(role, {}).values())
        sizes += [run.record.parameters for run in runs_of_role[:1]]
    if len(sizes) < 2 or None in sizes:
        return row
    ratio = sizes[1] / sizes[0]
    # A count has no sampling error: it holds or not, to the digits printed.
    return row | {"verdict": "replicates" if round(ratio, 3) == row["paper"] else "no", "ours": ratio,
                  "note": f"{sizes[1]:,} of {sizes[0]:,}"}  # fmt: skip


def _half_the_time(model: str) -> dict:
    """Table 3, from the measurement on record. A time is no metric of users: its interval comes from repeated rounds, and
    where it leaves the question open the claim does not hold yet."""
    row = _row(f"A distilled {model} makes its lists in about half the time (Table 3)", notebook="06_efficiency")
    ratio = efficiency.committed_ratio(model)
    if ratio is None:
        return row
    found = efficiency.about_half(ratio)
    note = f"CPU; the paper's own ratios go up to {efficiency.largest_reported():.2f}"
    said = "replicates" if found == "holds" else "no"
    if found == "open":
        said, note = (said, note + "; open") if ratio.quiet else (NOT_TESTABLE, note + "; measured on a busy machine")
    return row | {"verdict": said, "paper": ratio.reported, "ours": ratio.value, "low": ratio.low, "high": ratio.high,
                  "note": note}  # fmt: skip


def _without_runs() -> list[dict]:
    """Claims that are not about the users of a run, and those that no run here speaks about."""
    unpublished = "neither the data nor the way they were prepared could be found"
    drawn = "no numbers can be read from the figure"
    return [
        _row("The same on Foursquare (Caser, Fossil)", verdict=NOT_TESTABLE, note=unpublished),
        *(_half_the_time(model) for model in MARGINS),
        _row("A balance of both losses is best; either alone is worse (Figure 6)", note=drawn, notebook=_SWEEPS),
        _row("The gain holds over model sizes and amounts of training data (Figures 4, 5)", note=drawn, notebook=_SWEEPS),
        _row("RankDistil's own tables (WEB30K, Yahoo, MS MARCO)", source=RANKDISTIL, verdict=NOT_TESTABLE,
             note="documents with features: no model here ranks them", notebook="08_rankdistil"),
        _row("DE-RRD's claims on Foursquare", source=DE_RRD, verdict=NOT_TESTABLE, note=unpublished),
        _row("DE-RRD's claims with NeuMF on CiteULike", source=DE_RRD, notebook="07_de_rrd"),
        _row("Each part of DE and of RRD is needed (Table 4; here on CiteULike)", source=DE_RRD, notebook="07_de_rrd"),
    ]


def _de_rrd(records: Sequence[Record], resamples: int) -> list[dict]:
    """Kang et al.'s on CiteULike with BPR: H@5 of the test items among 499 others, at the epoch that validation chose."""
    paper = reported("derrd_table2").query("dataset == 'citeulike' and model == 'BPR' and metric == 'H@5'")
    paper = paper.set_index("role")["value"]
    names = {"S": "the student alone"}
    rows = []
    pairs = [("DE", "S"), ("RRD", "S"), ("DE-RRD", "S"), ("RRD", "RD"), *(("DE-RRD", b) for b in ("RD", "CD", "DE", "RRD"))]
    for a, b in pairs:
        claim = f"{a} ranks better than {names.get(b, b)}: H@5 (BPR, CiteULike)"
        row = _row(claim, paper=paper[a] - paper[b], source=DE_RRD, notebook="07_de_rrd")
        rows.append(row | _said(derrd_report.compared(records, a, b, "H@5", resamples=resamples)))
    return rows


def _controls(caser: Matched) -> list[dict]:
    """Is it the teacher's ranking? RD with its lists against the same with others'."""
    rows = []
    for other, words in {"student": "another student's", "popular": "popular items", "random": "random items"}.items():
        claim = f"RD with the teacher's lists ranks better than with {words}: MAP ({_where(caser)})"
        row = _better(caser, "RD-hybrid", f"RD-hybrid-{other}", "AP", claim, np.nan, _SWEEPS)
        rows.append(row | {"p": np.nan, "source": OURS})
    return rows


def _rankdistil(resamples: int) -> list[dict]:
    """RankDistil's forms against RD on data of this field, by nDCG@10 of the test items among all items, under the one
    protocol. The paper claims no more than that its losses distil better than earlier ones, on other data."""
    rows = []
    for plan in PROFILES["paper"].one_protocol:
        if not plan.label.endswith(" BPR"):
            continue
        where = {"citeulike": "CiteULike", "gowalla": "Gowalla"}[plan.dataset]
        records = one_protocol.committed_rows(plan)
        for role in FORMS.values():
            claim = f"{role} ranks better than RD: nDCG@10 among all items (BPR, {where})"
            row = _row(claim, source=OURS, notebook="09_one_protocol")
            rows.append(row | _said(one_protocol_tables.compared(records, role, "RD", resamples)))
    return rows


def _row(claim: str, *, paper=np.nan, source: str = RD, verdict: str = NOT_RUN, note: str = "", notebook: str = "") -> dict:
    exists = notebook and (paths.root() / "notebooks" / f"{notebook}.py").exists()
    empty = dict.fromkeys(("ours", "low", "high", "p", "effect_size"), np.nan)
    return empty | {"claim": claim, "source": source, "verdict": verdict, "paper": paper, "seeds": None, "note": note,
                    "notebook": notebook if exists else ""}  # fmt: skip


def _paper(metric: str, role: str, model: str = "Caser") -> float:
    """The paper's own number on Gowalla; of a weighting from Table 4, which has Caser alone."""
    table = reported("rd_table4" if role.startswith("RD-") else "rd_table2")
    wanted = {"dataset": "gowalla", "model": model, "metric": metric, "role": role}
    return float(table.loc[(table[list(wanted)] == list(wanted.values())).all(axis=1), "value"].iloc[0])
