"""The released code of Ranking Distillation, trained as a whole (tests/parity/train_released.py), next to the paper and us.

Its runs are no records of ours: data/replicated/released.json has them all, and does not exist before the first.
"""

from __future__ import annotations

import pandas as pd

from rdcore.files import paths
from rdcore.files.whole import natural, positive, read_json
from studies.common import text
from studies.common.matched import reported_value
from studies.common.reported import papers_name

METRICS = ["P@10", "nDCG@10", "MAP"]
COLUMNS = ["dataset", "model", "role", "metric", "epoch", "reported", "released", "released_seeds", "replicated", "seeds"]
MEANS = {"epoch": positive, str: (float, None)}
SHAPE = [{"role": str, "seed": natural, "dataset": str, "model": str, "commit": str, "epochs": positive, "metrics": [MEANS]}]
REMEDY = "restore the file from the repository, or train the released code again with tests/parity/train_released.py"


def runs() -> list[dict]:
    """Every run of the released code that is on file."""
    file = paths.replicated() / "released.json"
    return read_json(file, SHAPE, REMEDY) if file.exists() else []


def table(table2: pd.DataFrame) -> pd.DataFrame:
    """One row per role and metric: the paper's number, the released code's, ours under `fixed50`, each mean over seeds.

    epoch: the last one at which all seeds of the released code have numbers (its loss may overflow, after which there are
    none). table2: `report.rd_table2`, which has ours.
    """
    rows, ours = [], table2[table2["protocol"] == "fixed50"].set_index(["dataset", "model", "role", "metric"])
    found: dict[tuple, list[dict[int, dict]]] = {}
    for run in runs():
        epochs = {entry["epoch"]: entry for entry in run["metrics"] if entry["MAP"] is not None}
        found.setdefault((run["dataset"], run["model"], papers_name(run["role"])), []).append(epochs)
    for where, seeds in found.items():
        common = set.intersection(*(set(epochs) for epochs in seeds))
        for metric in METRICS if common else ():
            values = [epochs[max(common)][metric] for epochs in seeds]
            own = ours.loc[(*where, metric)] if (*where, metric) in ours.index else {}
            theirs = reported_value(*where, metric)  # Table 4's for position weights
            rows.append([*where, metric, max(common), theirs, sum(values) / len(values), len(values), own.get("replicated"),
                         own.get("seeds")])  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def results(table2: pd.DataFrame) -> str:
    """Its part of docs/results.md; "" without a run."""
    made = table(table2)
    if made.empty:
        return ""
    shown = made.drop(columns=["dataset", "model"])
    shown = shown.rename(columns={"released_seeds": "seeds, released", "replicated": "ours", "seeds": "seeds, ours"})
    words = "The released code itself (Caser), trained by [train_released.py](../tests/parity/train_released.py):"
    overflowed = {papers_name(run["role"]) for run in runs() if any(entry["MAP"] is None for entry in run["metrics"])}
    notes = [f"{row.role} has no numbers after epoch {row.epoch}: the released loss overflows. Ours is after its last epoch."
             for row in made[made["role"].isin(overflowed)].drop_duplicates("role").itertuples()]  # fmt: skip
    return "\n\n".join([words, text.markdown(text.formatted(shown)), *notes])
