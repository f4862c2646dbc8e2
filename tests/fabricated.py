"""Made-up records for tests: a description of the paper's plan, and metrics that the test chooses."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies.common.report import METRICS

USERS = 40
ENVIRONMENT = {
    "python": "3", "versions": {"torch": "2"}, "machine": "x", "device": "cpu", "threads": 1, "commit": "0000000",
    "finished": "2001-02-03T04:05:06Z", "seconds": 1.0, "resumed": 0,
}  # fmt: skip


def record(folder: Path, experiment: Experiment, means: Mapping[int, float], ap: np.ndarray | None = None, **more) -> Record:
    """A record under ``folder`` whose every metric is ``means[epoch]``, at the epochs of ``means``; MAP of single users
    ``ap`` (users,), parameters and anything else of a record's files as given."""
    target = folder / f"{experiment.label}-{experiment.key}"
    target.mkdir(parents=True)
    rows = [{"epoch": epoch} | dict.fromkeys(METRICS, value) for epoch, value in means.items()]
    contents = {"description": experiment.description, "metrics": rows, **more}
    for name, content in contents.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    if ap is not None:
        for epoch in means:
            frame = pd.DataFrame({"AP": ap, "P@10": ap, "nDCG@10": ap})
            frame.to_parquet(target / f"per_user-{epoch:03d}.parquet", index=False)
    return Record(target)
