"""The result tables of README.md, written from the committed records between two marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.files import paths
from rdcore.files.whole import write_whole
from rdcore.store.runs import Record
from studies import overview
from studies.common.profiles import PROFILES
from studies.common.report import rd_table2
from studies.common.reported import reported
from studies.common.selection import chosen_epochs
from studies.derrd.tables import derrd_table2
from studies.one_protocol.plan import METRIC as JUDGED
from studies.scorecard import OURS

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
METHODS = list(PROFILES["paper"].one_protocol[0].methods)
METRICS = ["P@10", "nDCG@10", "MAP"]
OF_ONE = ["H@5", "N@10"]
METHODS_OF_ONE = {
    "T": "teacher", "S": "student alone", "RD": "taught by RD", "CD": "by collaborative distillation", "DE": "by experts",
    "RRD": "by relaxed ranking distillation", "DE-RRD": "by both",
}  # fmt: skip
# Model -> role in the table -> what it is, and the rest of its label, which is the pattern of `rdcore train --only`.
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


def verdicts(card: pd.DataFrame) -> str:
    """How many claims have which verdict, in a sentence, and a Markdown table of those that runs speak about; then the same of
    the questions that no paper asks. card: the scorecard."""
    parts = []
    ours = card["source"] == OURS
    for what, part in (("claims of the papers", card[~ours]), ("questions of our own", card[ours])):
        counts = part["verdict"].value_counts()
        words = ("replicates", "indication", "no", "not run yet", "not testable")
        told = ", ".join(f"{counts[word]} *{word}*" for word in words if word in counts)
        known = overview.scorecard_text(part[part["ours"].notna()])
        shown = known[["claim", "paper", "ours (95 % interval)", "seeds", "verdict", "note"]]
        if part["paper"].isna().all():
            shown = shown.drop(columns="paper").rename(columns={"claim": "question"})
        parts.append(f"Of {len(part)} {what}: {told}.\n\n{shown.to_markdown(index=False, disable_numparse=True)}")
    return "\n\n".join(parts)


def results(records: Sequence[Record], model: str = "Caser", protocol: str = "fixed50") -> str:
    """A Markdown table of a model on Gowalla: for each role and metric the paper's number, ours with its difference, seeds, and
    the pattern that trains the row. Roles without a run show the paper's number alone."""
    ours = rd_table2(records, chosen_epochs())
    ours = ours[(ours["dataset"] == "gowalla") & (ours["model"] == model) & (ours["protocol"] == protocol)]
    ours = ours.set_index(["role", "metric"])
    weightings = reported("rd_table4")
    theirs = weightings[weightings["dataset"] == "gowalla"].set_index(["role", "metric"])["value"]
    lines = []
    for role, (words, pattern) in ROWS[model].items():
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
        line["--only"] = f"`gowalla-F-{pattern}`"
        lines.append(line)
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def de_rrd(records: Sequence[Record]) -> str:
    """The same for DE-RRD on CiteULike with BPR, from the rows of its Table 2."""
    ours = derrd_table2(records)
    ours = ours[(ours["dataset"] == "citeulike") & (ours["model"] == "BPR") & (ours["protocol"] == "validation")]
    ours = ours.set_index(["role", "metric"])
    theirs = reported("derrd_table2").query("dataset == 'citeulike' and model == 'BPR'").set_index(["role", "metric"])["value"]
    lines = []
    for role, words in METHODS_OF_ONE.items():
        line = {"": f"{role}: {words}"}
        for metric in OF_ONE:
            known = ours.loc[role, metric] if (role, metric) in ours.index else None
            line[f"{metric} paper"] = _number(theirs[role, metric])
            line[f"{metric} ours"] = _ours(known, theirs[role, metric])
        seeds = ours.loc[(role, "H@5"), "seeds"] if (role, "H@5") in ours.index else None
        line["seeds"] = "not run" if seeds is None or pd.isna(seeds) else str(seeds)
        line["--only"] = f"`citeulike-L-BPR-{role}-d{200 if role == 'T' else 20}-`"
        lines.append(line)
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def one_protocol(compared: Mapping[str, Sequence[Record]]) -> str:
    """What is compared -> its rows: each role's nDCG@10 among all items, how far above S of the same seeds, their number."""
    lines = [{"": role} for role in ("T", "S", *METHODS)]
    for name, records in compared.items():
        by_role = {line[""]: {} for line in lines}
        for record in records:
            by_role[record.description["role"]][record.description["seed"]] = record.chosen[JUDGED]
        alone = by_role["S"]
        for line in lines:
            found = by_role[line[""]]
            over = [found[seed] - alone[seed] for seed in found.keys() & alone.keys()] if line[""] != "S" else []
            line[name] = f"{np.mean(list(found.values())):.4f}" if found else ""
            line[f"{name}, over S"] = f"{np.mean(over):+.4f}" if over else ""
            line[f"{name}, seeds"] = str(len(found)) if found else "not run"
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def with_the_plans_decay(compared: Mapping[str, Sequence[Record]], alone: Mapping[str, Sequence[Record]]) -> str:
    """A sentence for every comparison in which S has another decay than the methods' students. alone: S with theirs."""
    said = []
    for name, own in alone.items():
        chosen = [record.chosen[JUDGED] for record in compared[name] if record.description["role"] == "S"]
        mean = np.mean([record.chosen[JUDGED] for record in own])
        file = f"figures/tables/09_plans_decay_{name.replace(' ', '_')}.md"
        said.append(
            f"On {name}, S has {mean:.4f} with the plan's decay, which the methods' students have too: over that one, all of "
            f"`over S` is {mean - np.mean(chosen):.4f} less ([table]({file}))."
        )
    return "\n".join(said)


def text(
    records: Sequence[Record], of_one: Sequence[Record], compared: Mapping[str, Sequence[Record]],
    alone: Mapping[str, Sequence[Record]], card: pd.DataFrame,
) -> str:
    """What stands between the marks. of_one: the rows of DE-RRD's Table 2. compared: as in `one_protocol`. alone: as in
    `with_the_plans_decay`. card: the scorecard."""
    return f"""### Which claims hold?

{verdicts(card)}

### The papers' tables

Caser on Gowalla at the settings of the released code (teacher d = 100, student d = 50), protocol `fixed50`:

{results(records)}

Fossil on Gowalla (d = 50 and d = 20), protocol `validation`:

{results(records, "Fossil", "validation")}

BPR on CiteULike as in DE-RRD (teacher d = 200, student d = 20), ranks among 499 sampled negatives; DE and RRD at the weights of
the released code, RD and CD at weights chosen on validation items:

{de_rrd(of_one)}

### All methods under one protocol

Notebook 09: BPR-MF with d = 200 and d = 20, on Gowalla with a split and batches of our own. Every method's weight is chosen
from four on validation items, and S's weight decay likewise (some are at an end of their four:
[DEVIATIONS.md](DEVIATIONS.md)); nDCG@10 (textbook's) of the test items among **all** items. RankDistil-C, -B, -P: its coupled,
binary and pairwise loss. `over S` is the mean over the seeds that both have, with a 95 % interval in
[09_methods.md](figures/tables/09_methods.md). `--only` of a cell: `citeulike-L-BPR-RRD-d20-`, or the same with gowalla.

{one_protocol(compared)}

{with_the_plans_decay(compared, alone)}

![Every method less the student alone, with 95 % intervals](figures/09_quality.png)"""


def _number(value) -> str:
    return "" if value is None or pd.isna(value) else f"{float(value):.4f}"


def _ours(row, paper) -> str:
    """Mean over seeds, its spread where there are several, and how far it is from the paper's number."""
    if row is None or pd.isna(row["replicated"]):
        return ""
    text = _number(row["replicated"]) + ("" if pd.isna(row["std"]) else f" ± {row['std']:.4f}")
    return text if paper is None or pd.isna(paper) else f"{text} ({row['replicated'] / float(paper) - 1:+.1%})"


def card_on_file() -> pd.DataFrame:
    """The scorecard as notebook 00 wrote it on profile ``paper``."""
    return pd.read_csv(paths.figures() / "tables" / "scorecard.csv").astype({"seeds": "Int64"}).fillna({"note": ""})


def write(
    records: Sequence[Record], of_one: Sequence[Record], compared: Mapping[str, Sequence[Record]],
    alone: Mapping[str, Sequence[Record]], card: pd.DataFrame,
) -> Path:
    """Puts the tables between the marks of README.md: `text`. Raises ValueError where a mark is missing."""
    file = paths.root() / "README.md"
    readme = file.read_text(encoding="utf-8")
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"{file} lacks the mark {BEGIN} or {END}: put both where the tables belong")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    readme = f"{before}{BEGIN}\n{text(records, of_one, compared, alone, card)}\n{END}{after}"
    write_whole(file, lambda draft: draft.write_text(readme, encoding="utf-8"))
    return file
