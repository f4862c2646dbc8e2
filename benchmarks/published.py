"""The models that came after the three papers on public data, with their published numbers.

    python -m benchmarks.published EASE GF-CF LightGCN SASRec-gbce SASRec-ce     # some or all of them
    python -m benchmarks.published                  # measures nothing, reads the published numbers again

On one quiet core EASE takes 4 GB and ten minutes, GF-CF minutes, LightGCN half an hour. On a busy one an epoch of
SASRec-gbce takes 65 s, of SASRec-ce 300 s, and an evaluation of both 12 s: 35 and 105 minutes. What is trained is kept in
the run store and goes on after an interrupt. What was measured of other models stays as it is.

gowalla-m1 is LightGCN's split: recall, nDCG and precision of the 20 best unseen items, as LightGCN's code has them.
Amazon Beauty is split by leave-last-out: the last item is looked for among all that the user does not have, and the
last but one, among all too, chooses the epoch by its nDCG@10.

Writes figures/tables/published.csv, .md and .tex.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from rdcore import datasets
from rdcore.data import Interactions, Stage
from rdcore.eval import leave_one_out
from rdcore.eval.leave_one_out import Judge
from rdcore.eval.metrics import held_out, target_ranks
from rdcore.files import paths
from rdcore.models import EASESettings, GFCFSettings, LightGCNSettings, SASRecSettings
from rdcore.models.base import Model
from rdcore.store import runs
from rdcore.train.loop import Training
from studies.common import report
from studies.common.reported import reported

SOURCE = "benchmarks/published.py"
COLUMNS = ["dataset", "model", "settings", "epochs", "metric", "published", "replicated", "difference", "run"]
GOWALLA, BEAUTY = "gowalla-m1", "amazon-beauty"
COUNTED = {
    "EASE": EASESettings(lam=80.0, precision="float32"),
    "GF-CF": GFCFSettings(),
}
"""On gowalla-m1."""
AS_LIGHTGCN = Training(epochs=5, batch_size=2048, learning_rate=1e-3, weight_decay=0.0, negatives=1, instances="users")
AS_SASREC = Training(epochs=20, batch_size=512, learning_rate=1e-3, weight_decay=0.0, negatives=1)
AS_GSASREC = Training(epochs=30, batch_size=512, learning_rate=1e-3, weight_decay=0.0, negatives=1)
GSASREC = SASRecSettings(dim=64, dropout=0.5, loss="gbce", shared=False, tied=False)
"""As gSASRec's authors have it on MovieLens-1M: 256 negatives of each query's own, t .75, two tables, dropout, rate. Their
step has 128 users, which is some 750 targets here. 64 numbers instead of 128, to stand beside cross-entropy."""
TRAINED = {
    "LightGCN": (GOWALLA, LightGCNSettings(), AS_LIGHTGCN, 5),
    "SASRec-gbce": (BEAUTY, GSASREC, AS_GSASREC, 3),
    "SASRec-ce": (BEAUTY, SASRecSettings(dim=64, loss="ce"), AS_SASREC, 1),
}
"""Data set, settings, training, and how often it is evaluated."""


@torch.no_grad()
def at_20(model: Model, stage: Stage, *, block: int = 256) -> dict[str, float]:
    """R@20, N@20 and P@20 among unseen items, means over users with a held-out item. The ideal list of nDCG is cut at
    min(20, held out)."""
    ranks = torch.cat([target_ranks(*given) for given in held_out(model, stage, block=block)]).numpy()
    counts, users = stage.judge.counts(), stage.judge.users()
    some = counts > 0
    hits = np.bincount(users, ranks <= 20, len(counts))[some]
    gains = np.bincount(users, np.where(ranks <= 20, 1 / np.log2(ranks + 1), 0), len(counts))[some]
    ideal = np.cumsum(1 / np.log2(np.arange(20) + 2))[np.minimum(counts[some], 20) - 1]
    return {"R@20": (hits / counts[some]).mean(), "N@20": (gains / ideal).mean(), "P@20": (hits / 20).mean()}


def experiment(name: str, data: Stage) -> runs.Experiment:
    """The run of a trained model, evaluated on the held-out items of ``data`` among all items."""
    dataset, model, training, every = TRAINED[name]
    return runs.Experiment(
        dataset=dataset, data_hash=data.sha256(), stage=data.name, role="S", model=model, training=training,
        evaluate_every=every,
    )  # fmt: skip


def last_but_one(data: Interactions) -> tuple[Stage, Stage]:
    """Leave-last-out: what chooses the epoch (V), and what is reported, whose users have their last but one item too."""
    judge = Judge(data)
    return Stage("V", judge.fit, judge.validation.judge), judge.test


def measure(name: str, load: Callable = datasets.load) -> list[dict]:
    """Rows of one model."""
    run, epochs = "", pd.NA
    if name in COUNTED:
        dataset, settings = GOWALLA, COUNTED[name]
        stage = load(dataset)
        found = at_20(settings.fit(stage.fit), stage)
    else:
        dataset, settings, training, _ = TRAINED[name]
        data = load(dataset)
        fitted, judged = (data, data) if isinstance(data, Stage) else last_but_one(data)
        asked = experiment(name, fitted)
        done = runs.load_or_train(asked, fitted, progress=True)
        run, epochs = asked.key, training.epochs
        if fitted is judged:
            found = at_20(done.model(asked, data), data)
        else:
            epochs = int(done.metrics["nDCG@10"].idxmax())  # the first of equals
            means = leave_one_out.means({"": leave_one_out.full_ranks(done.model(asked, fitted, epochs), judged)})
            found = {f"{metric}@{n}": means[f"{metric}@{n}"] for n in (10, 20) for metric in "HN"}
    rows = [
        {"dataset": dataset, "model": name, "settings": shown(settings), "epochs": epochs, "metric": metric,
         "replicated": value, "run": run}
        for metric, value in found.items()
    ]  # fmt: skip
    return [beside(row, known(row)) for row in rows]


def known(row: dict) -> float | None:
    """The published number of a row: of a model trained as long, or not trained at all, or, of Amazon Beauty, until the epoch
    that validation items chose. None where there is none."""
    numbers = reported("models")
    same = (numbers[["dataset", "model", "metric"]] == [row["dataset"], row["model"], row["metric"]]).all(axis=1)
    epochs = "" if pd.isna(row["epochs"]) else "chosen" if row["dataset"] == BEAUTY else str(int(row["epochs"]))
    same &= numbers["epochs"] == epochs
    return numbers.loc[same, "value"].item() if same.any() else None


def beside(row: dict, value: float | None) -> dict:
    """The row with this published number and the difference to it."""
    return {**row, "published": value, "difference": row["replicated"] / value - 1 if value else None}


def same(old: float | None, new: float | None) -> bool:
    """Whether two published numbers are equal in the digits of the table, or neither is there."""
    return pd.isna(old) if new is None else f"{old:.6g}" == f"{new:.6g}"


def shown(settings) -> str:
    """The settings that are not the defaults."""
    text = repr(settings)
    return text[text.index("(") + 1 : -1]


def together(old: pd.DataFrame | None, new: list[dict]) -> pd.DataFrame:
    """Old rows of models that are not among the new ones, with the published numbers as they are now, and the new ones; in
    the order of this file."""
    frame = pd.DataFrame(new, columns=COLUMNS)
    if old is not None:
        kept = old[~old["model"].isin(frame["model"])].astype(object).to_dict("records")
        again = [row if same(row["published"], known(row)) else beside(row, known(row)) for row in kept]
        frame = pd.concat([pd.DataFrame(again, columns=COLUMNS, dtype=object), frame.astype(object)])
    place = {name: n for n, name in enumerate([*COUNTED, *TRAINED])}
    frame = frame.sort_values("model", key=lambda column: column.map(place), kind="stable")
    kinds = {"epochs": "Int64"} | dict.fromkeys(["published", "replicated", "difference"], float)
    return frame.astype(kinds).reset_index(drop=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*COUNTED, *TRAINED]
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(names))
    asked = parser.parse_args().models
    if unknown := sorted(set(asked) - set(names)):
        parser.error(f"no model {unknown[0]!r}; there are: {', '.join(names)}")
    file = paths.figures() / "tables" / "published.csv"
    for name in asked or [""]:
        begun = time.perf_counter()
        rows = measure(name) if name else []
        frame = together(pd.read_csv(file) if file.exists() else None, rows)
        report.write_table(frame, "published", "paper", [], SOURCE)
        if not name:
            print(f"written: {file}")
            continue
        print(frame[frame["model"] == name].to_string(index=False, float_format="{:.4f}".format))
        print(f"{name}: {time.perf_counter() - begun:.0f} s; written: {file}", flush=True)


if __name__ == "__main__":
    main()
