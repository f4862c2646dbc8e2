"""The later methods on their authors' splits."""

from __future__ import annotations

import json
from collections.abc import Iterator

from . import records
from .one_protocol import of_role, rows
from .records import runs
from .tables import summary, table

INSTANCES, BATCHES = 115_142, 113  # of DE-RRD's fold: pairs, and steps of an epoch
KEYS = ("study", "dataset", "model", "method", "student_dim", "epoch", "metric")


def values() -> Iterator[tuple[tuple, float]]:
    """The keys of a row and the value of each record."""
    for file in sorted((records.ROOT / "data" / "replicated" / "followups").glob("*.json")):
        run = json.loads(file.read_text())
        study = run["study"]
        known = study, "ml-100k" if study == "bd" else f"citeulike-{study}", "BPR", run["role"], run["dim"]
        entries = [("chosen", run["chosen"])]
        if study == "td":
            entries = [(str(entry["epoch"] - 1), entry) for entry in run["curve"]]
        for epoch, entry in entries:
            for metric, value in entry.items():
                if metric != "epoch":
                    name = metric.replace("R@", "Recall@").replace("N@", "NDCG@") if study == "unkd" else metric
                    yield (*known, epoch, name), value
    groups = [("irrrd", list(rows("citeulike", role, "derrd").values())) for role in ("T", "S", "RRD")]
    groups += [("irrrd", of_role("citeulike", "IR-RRD"))]
    groups += [("td", [run for run in runs() if (run.stage, run.data) == ("L", "citeulike-td")])]
    for study, found in groups:
        for run in (run for run in found if run.seed in (1, 2, 3)):
            known = study, run.data, run.model, run.role, run.dim
            for metric, value in run.read("chosen").items():
                if "@" in metric:
                    yield (*known, "chosen", metric), value
            if study == "irrrd":
                first = run.read("history")[0]
                yield (*known, "0", "train_loss"), (first["loss"] + first.get("distillation_loss", 0)) * INSTANCES / BATCHES
                for entry in run.read("metrics"):
                    for metric in {"H@5", "H@5-validation"} & set(entry) if entry["epoch"] % 10 == 1 else ():
                        yield (*known, str(entry["epoch"] - 1), metric), entry[metric]


@table("followups", *KEYS)
def followups(name: str) -> Iterator[dict]:
    """Mean, spread and seeds of every value on record."""
    found: dict[tuple, list[float]] = {}
    for place, value in values():
        found.setdefault(place, []).append(value)
    for place, group in found.items():
        yield dict(zip(KEYS, place, strict=True)) | summary(group, "mean")
