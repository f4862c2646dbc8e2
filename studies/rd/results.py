"""Ranking Distillation's part of the results page: both models on Gowalla, the paper's numbers and ours."""

from __future__ import annotations

import pandas as pd

from studies.common import text
from studies.common.report import rd_table2, rd_table4
from studies.common.reported import reported
from studies.common.selection import chosen_epochs
from studies.common.study import Result, as_table, gain, of_table
from studies.rd.plan import paper_records

METRICS = ["P@10", "nDCG@10", "MAP"]
PROTOCOLS = {"Caser": "fixed50", "Fossil": "validation"}
# Model -> role in the table -> what it is, and the pattern of `rdcore train --only` that trains it.
ROWS = {
    "Caser": {
        "T": ("teacher", "T-d100"),
        "S": ("student alone", "S-d50"),
        "RD": ("student taught by RD, hybrid weights (released code)", "RD-hybrid-d50"),
        "RD-hybrid-normalised": ("the same, weights divided by their sum (paper)", "RD-hybrid-normalised-d50"),
        "RD-position": ("position weights", "RD-position-d50"),
        "RD-discrepancy": ("discrepancy weights", "RD-discrepancy-d50"),
        "RD-equal": ("equal weights", "RD-equal-d50"),
    },
    "Fossil": {
        "T": ("teacher", "Fossil-T-d50"),
        "S": ("student alone", "Fossil-S-d20"),
        "RD": ("student taught by RD, hybrid weights", "Fossil-RD-hybrid-d20"),
    },
}


def tables() -> dict[str, pd.DataFrame]:
    """Tables 2 and 4 from the committed records."""
    records, chosen = paper_records(), chosen_epochs()
    return {"rd_table2": rd_table2(records, chosen), "rd_table4": rd_table4(records, chosen)}


def rows(table: pd.DataFrame, model: str, metric: str) -> list[Result]:
    """The roles of `ROWS` for a model, from Table 2; the paper's numbers of the weightings are in its Table 4."""
    table = table[(table["dataset"] == "gowalla") & (table["model"] == model) & (table["protocol"] == PROTOCOLS[model])]
    found = of_table(table, f"{text.MODELS.get(model, model)}, Gowalla: {metric}", list(ROWS[model]), metric)
    weightings = reported("rd_table4").query("dataset == 'gowalla' and metric == @metric").set_index("role")["value"]
    return [one if one.paper is not None else one._replace(paper=weightings.get(one.role)) for one in found]


def headline() -> list[Result]:
    """MAP of T, S and RD with both models."""
    table = rd_table2(paper_records(), chosen_epochs())
    return [one for model in ROWS for one in rows(table, model, "MAP") if one.role in ("T", "S", "RD")]


def findings() -> list[str]:
    """RD against the student alone, and the weighting that does best."""
    table, found = rd_table2(paper_records(), chosen_epochs()), []
    changes = {model: gain(rows(table, model, "MAP"), "RD") for model in ROWS}
    said = "; ".join(f"{model} {change}" for model, change in changes.items() if change)
    if said:
        found.append(f"Ranking Distillation (RD) against the student alone, MAP on Gowalla: {said}.")
    caser = rows(table, "Caser", "MAP")
    run = [one for one in caser if one.role.startswith("RD") and one.ours is not None]
    if len(run) > 1:
        best = max(run, key=lambda one: one.ours).role
        found.append(
            f"RD can weight the teacher's list in several ways. Of {len(run)} that have run with Caser, {best} has the best"
            f" MAP: {gain(caser, best)}."
        )
    return found


def results() -> str:
    """The section of docs/results.md."""
    table, parts = rd_table2(paper_records(), chosen_epochs()), ["## Ranking Distillation on Gowalla"]
    sizes = {"Caser": "at the settings of the released code (T d = 100, S d = 50)", "Fossil": "(T d = 50, S d = 20)"}
    for model, roles in ROWS.items():
        shown = [one for metric in METRICS for one in rows(table, model, metric)]
        words = [{"": role, "what it is": what, "`rdcore train --only`": f"`gowalla-F-{pattern}`"}
                 for role, (what, pattern) in roles.items()]  # fmt: skip
        parts += [f"{model} {sizes[model]}, protocol `{PROTOCOLS[model]}`:", as_table(shown, seeds=True),
                  text.markdown(pd.DataFrame(words))]  # fmt: skip
    return "\n\n".join(parts)
