"""The store of runs: trained once, kept under the key of their description, resumed after an interrupt.

    from rdcore.store import runs
    run = runs.load_or_train(experiment)                     # from the store, or trained
    run.metrics, run.history, run.model(experiment, data)    # what is kept of it

What a run leaves:

    runs/<key>/description.json      what was asked for
               environment.json      versions, device, threads, commit, duration
               history.json          one entry per epoch: losses, weights, seconds
               metrics.json          means at every evaluated epoch
               per_user-EEE.parquet  metrics of every user at epoch EEE
               weights-EEE.safetensors
               agreement.json        with the teacher, at the last epoch
               groups.json           held-out items by their popularity, at the last epoch
               checkpoint.pt         model and optimizer after a recent epoch, while training
               chosen.json           stage L: the chosen epoch, and all means at it
               DONE                  written last
    runs/<key>.lock                  held while one process trains the run
    runs/.deleted/<key>/             being deleted (rdcore/store/deletion.py)

On stage L the weights and the metrics of users (ranks of their held-out items) are those of the
chosen epoch alone.
"""

from __future__ import annotations

from rdcore.store.contract import check_device, fitted_part
from rdcore.store.environment import VARIABLES, commit, environment
from rdcore.store.experiment import Experiment
from rdcore.store.listing import list_runs
from rdcore.store.publish import committed, is_committed, other_numbers, publish
from rdcore.store.records import PUBLISHED, Record, Run, being_trained, stored
from rdcore.store.runner import load_or_train, load_or_train_all, set_aside
from rdcore.store.weights import read_weights

__all__ = [
    "PUBLISHED", "VARIABLES", "Record", "Run", "being_trained", "check_device", "commit", "committed", "environment",
    "fitted_part", "is_committed", "list_runs", "load_or_train", "load_or_train_all", "other_numbers", "publish",
    "read_weights", "records", "set_aside", "stored",
]  # fmt: skip


def records(
    experiments: list[Experiment],
    *,
    profile: str,
    recompute: bool = False,
    jobs: int | str = 1,
    progress: bool = False,
    optional: bool = False,
) -> list[Record | None]:
    """What a notebook shows of these experiments: on profile ``paper`` the committed records,
    unless ``recompute``; else runs of the local store, trained where they are missing.

    optional: a record that was not committed is None instead of a ValueError.
    """
    if profile != "paper" or recompute:
        return load_or_train_all(experiments, jobs=jobs, progress=progress)
    return [committed(e) if not optional or is_committed(e) else None for e in experiments]
