"""The result table of README.md, written from the committed records between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rdcore import paths
from rdcore.files import write_whole
from rdcore.report import rd_table2
from rdcore.reported import reported
from rdcore.runs import Record

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
METRICS = ["P@10", "nDCG@10", "MAP"]
# Role in the table -> what it is, and the role in labels, which is the pattern of `rdcore train --only`.
ROWS = {
    "T": ("teacher", "T-d"),
    "S": ("student alone", "S-d"),
    "RD": ("student taught by RD, hybrid weights (released code)", "RD-hybrid-d"),
    "RD-hybrid-normalised": ("the same, weights divided by their sum (paper)", "RD-hybrid-normalised"),
    "RD-position": ("position weights", "RD-position-d"),
    "RD-discrepancy": ("discrepancy weights", "RD-discrepancy-d"),
    "RD-equal": ("equal weights", "RD-equal"),
}


def results(records: Sequence[Record]) -> str:
    """A Markdown table: for each role and metric the paper's number, ours with its difference, seeds, and the pattern
    that trains the row. Roles without a run show the paper's number alone."""
    ours = rd_table2(records)
    ours = ours[(ours["dataset"] == "gowalla") & (ours["model"] == "Caser") & (ours["protocol"] == "fixed50")]
    ours = ours.set_index(["role", "metric"])
    weightings = reported("rd_table4")
    theirs = weightings[weightings["dataset"] == "gowalla"].set_index(["role", "metric"])["value"]
    lines = []
    for role, (words, pattern) in ROWS.items():
        line = {"": f"{role}: {words}"}
        for metric in METRICS:
            known = ours.loc[(role, metric)] if (role, metric) in ours.index else None
            paper = known["reported"] if known is not None else None
            if paper is None or pd.isna(paper):
                paper = theirs.get((role, metric))
            line[f"{metric} paper"] = _number(paper)
            line[f"{metric} ours"] = _ours(known, paper)
        seeds = ours.loc[(role, "MAP"), "seeds"] if (role, "MAP") in ours.index else None
        line["seeds"] = "not run" if seeds is None or pd.isna(seeds) else str(seeds)
        line["--only"] = f"`F-{pattern}`"
        lines.append(line)
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def _number(value) -> str:
    return "" if value is None or pd.isna(value) else f"{float(value):.4f}"


def _ours(row, paper) -> str:
    if row is None or pd.isna(row["replicated"]):
        return ""
    text = _number(row["replicated"])
    return text if paper is None or pd.isna(paper) else f"{text} ({row['replicated'] / float(paper) - 1:+.1%})"


def write(records: Sequence[Record]) -> Path:
    """Puts the table between the marks of README.md. Raises ValueError where a mark is missing."""
    file = paths.root() / "README.md"
    text = file.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{file} lacks the mark {BEGIN} or {END}: put both where the table belongs")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    text = f"{before}{BEGIN}\n{results(records)}\n{END}{after}"
    write_whole(file, lambda draft: draft.write_text(text, encoding="utf-8"))
    return file
