"""README's results, docs/results.md and docs/open.md, written from the committed records study by study."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import pandas as pd

import studies
from rdcore.files import paths
from rdcore.files.whole import write_whole
from studies import overview, unfinished
from studies.common import text
from studies.common.study import Finding, as_table, verdict_table
from studies.common.verdicts import PROVISIONAL, VERDICTS
from studies.scorecard import OURS

BEGIN, END = "<!-- results -->", "<!-- /results -->"
PAGE = """# Results

`rdcore readme` writes all tables here from the committed records, and a test compares them. All metrics and
protocols: [rd_table2.md](../figures/tables/rd_table2.md) and [derrd_table2.md](../figures/tables/derrd_table2.md). The claims
with effect sizes, p-values and sources: [notebook 00](../notebooks/00_overview.ipynb). What differs from the papers and why:
[DEVIATIONS.md](../DEVIATIONS.md). Every picture: [figures/README.md](../figures/README.md).

## How to read the tables

* **T** is the teacher and **S** the student trained alone. **RD**, **CD**, **DE** and so on are students of the size of S,
  taught by T with that method. **POP** (popularity), **ItemCF** (neighbouring items) and **BPR** (matrix factorisation) are
  baselines; **1/K** weighs all items of the teacher's list alike.
* **paper** is the number that the paper reports. The papers' full texts were not available: the numbers come from a poster,
  reading notes and logs. [data/reported](../data/reported/README.md) says how far to trust each of them.
* **ours** is the mean over seeds, ± the standard deviation over seeds. **difference** is ours / paper - 1. Rows of one table
  may have different seeds: the claims below compare two rows within the same ones.
* Intervals are 95 % intervals; they treat both users and seeds as random (notebook 05). With one seed they are over users
  alone, and too narrow. All seeds share one split, and one draw of the 499 items where items are sampled: intervals do not
  count that another split or draw would give other numbers.
* A **verdict** follows from the claim's own interval. Above 0: *confirmed*, or *confirmed, smaller* where the paper's effect
  lies above the interval and ours is less than half of it. Around 0: *inconclusive*, or *reported size excluded, sign open*
  where the paper's effect lies above the interval. Below 0: *contradicted*. Of *no worse than the teacher*, minus the margin in
  the note takes the place of 0: an interval around it is *inconclusive*, also where it lies below 0, so that the student does
  rank worse. *Not assessable*: our runs cannot answer it, and the note says why. *Provisional*: fewer than five seeds; with
  one seed it is the only word.
* The paper's effect is taken as it is printed: how uncertain it is itself, the sources do not say.
* **power**, in the notes: the share of studies with as many users and seeds as ours that would find the paper's effect, if it
  is true (p < .05, not corrected). Of *no worse*: the share whose interval would lie above minus the margin; where the paper
  has no number, the true difference is taken to be 0. Where power is low, a claim may hold although it is not confirmed.
* **seeds needed**: with that many seeds, 80 of 100 studies would find it (for a verdict at least three). Both numbers come from
  a noncentral t with the spread of our few seeds, so they are rough; the number of seeds is an order of magnitude.
* **Holm's correction**, in the notes, counts all planned claims of one question, also those not run. The questions are ours:
  RD against S by MAP; the same by P@10 and nDCG@10; the weightings against each other; they against S; RD against POP, ItemCF
  and BPR; DE-RRD; the controls of RD; the methods against RD under one protocol. *No worse*, ratios and curves have none.
* Protocol `fixed50`: every model after 50 epochs, as in the released code of RD; nothing is chosen. Protocol `validation`,
  with Caser and Fossil: the epoch with the best MAP on validation data, chosen in separate runs. BPR-MF takes the epoch with
  the best validation H@5 of the same run, as DE-RRD does.
* P@n, MAP and nDCG@n are precision, mean average precision and gain of all test items of a user, ranked among all items that
  the user has not had. nDCG@n is that of the released code of RD, which cuts both lists at min(test items, n). H@n and N@n
  are hit and gain of one held-out item.
* A label such as `gowalla-F-T-d100-seed1` names data set, stage, role, size and seed. Stage **F** (final): trained on training
  and validation data, measured on test data. **V** (choices): trained on training data, measured on validation data.
  **L**: leave-one-out, with one validation and one test item of each user in the same run."""


def verdicts(card: pd.DataFrame) -> str:
    """How many claims have which verdict, and a table of all of them, also those not run; then the same of the questions that
    no paper asks. card: the scorecard."""
    parts = []
    ours = card["source"] == OURS
    for what, part in (("claims of the papers", card[~ours]), ("questions of our own", card[ours])):
        counts = part["verdict"].value_counts()
        words = [before + word for before in ("", f"{PROVISIONAL} ") for word in VERDICTS] + [PROVISIONAL]
        listed = ", ".join(f"{counts[word]} *{word}*" for word in words if word in counts)
        shown = overview.scorecard_text(part)
        shown = shown[["claim", "paper", "ours (95 % interval)", "seeds", "seeds needed", "verdict", "note"]]
        if part["reported"].isna().all():
            shown = shown.drop(columns=["paper", "seeds needed"]).rename(columns={"claim": "question"})
        parts.append(f"Of {len(part)} {what}: {listed}.\n\n{text.markdown(shown)}")
    return "\n\n".join(parts)


def page(card: pd.DataFrame) -> str:
    """docs/results.md. card: the scorecard."""
    sections = [section for study in studies.rooms() if (section := study.results().strip())]
    return "\n\n".join([PAGE, "## Which claims hold?", verdicts(card), *sections]) + "\n"


def summary() -> str:
    """What README has between its marks: the verdicts, what else was found, and the numbers, two tables of five columns."""
    rooms = studies.rooms()
    found = [one for study in rooms for one in study.findings()]
    sentences = [one for one in found if isinstance(one, str)]
    lines = "\n".join(fill(f"* {sentence}", 110, subsequent_indent="  ") for sentence in sentences)
    compared = [one for one in found if isinstance(one, Finding)]
    rows = [row for study in rooms for row in study.headline()]
    return "\n\n".join(filter(None, [verdict_table(compared) if compared else "", lines, as_table(rows)]))


def card_on_file() -> pd.DataFrame:
    """The scorecard as notebook 00 wrote it on profile ``paper``."""
    card = pd.read_csv(paths.figures() / "tables" / "scorecard.csv")
    return card.astype({"seeds": "Int64", "seeds_needed": "Int64"}).fillna({"note": "", "notebook": ""})


def write(card: pd.DataFrame) -> list[Path]:
    """Writes docs/results.md, docs/open.md and the part of README.md between the marks. Raises ValueError where a mark is
    missing."""
    file, results, still_open = (paths.root() / name for name in ("README.md", "docs/results.md", "docs/open.md"))
    readme = file.read_text(encoding="utf-8")
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"{file} lacks the mark {BEGIN} or {END}: put both where the results belong")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    written = {
        results: page(card),
        still_open: unfinished.page(),
        file: f"{before}{BEGIN}\n{summary()}\n{END}{after}",
    }
    for target, content in written.items():
        write_whole(target, lambda draft, content=content: draft.write_text(content, encoding="utf-8"))
    return list(written)
