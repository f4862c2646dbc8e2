"""Committed records: copies of finished runs without weights, in data/replicated, which tables and
figures are made of."""

from __future__ import annotations

import shutil
from pathlib import Path

from rdcore.files import paths
from rdcore.files.whole import write_json, write_rows, write_whole
from rdcore.store.experiment import Experiment
from rdcore.store.record_files import TABLES, read_record
from rdcore.store.records import PUBLISHED, Record, stored


def publish(experiment: Experiment, epochs: list[int], *, teacher: Experiment | None = None, replace: bool = False) -> Path:
    """Copies a finished run's record to data/replicated/<label>-<key> and returns that folder.

    Metrics and history are copied whole, as tables, with the number of parameters; of single users AP, P@10
    and nDCG@10 at ``epochs`` and at no others (on stage L the ranks at the chosen epoch). teacher:
    measure the agreement of a student that was not distilled with this run. replace: also where a
    record of the run with other numbers is published already.

    Never trains: raises ValueError when a run is not finished in the local store, and, without
    ``replace``, when it would put other numbers in the place of published ones, on which tables and
    taught students rest.
    """
    for run in (experiment, teacher):
        if run is not None and stored(run) is None:
            raise ValueError(
                f"{run.label} (key {run.key}) is not finished in {paths.runs()}: train it with `rdcore train --only {run.key}`"
            )
    run = stored(experiment)
    if not replace and other_numbers(experiment):
        raise ValueError(
            f"{experiment.label} (key {experiment.key}) is published with other numbers than this machine's: look at both with "
            f"`rdcore runs show`; `rdcore publish --only {experiment.key} --replace` puts these in the place of those published"
        )
    target = _place(experiment)
    target.mkdir(parents=True, exist_ok=True)
    if other_numbers(experiment):  # killed from here on, it leaves no record, instead of one that is half the old one
        (target / "description.json").unlink()
    for name in ("environment.json", *(["chosen.json"] if run.chosen else [])):
        _copy(run.folder / name, target)
    for name in TABLES:
        write_rows(target / f"{name}.parquet", read_record(run.folder, name))
        (target / f"{name}.json").unlink(missing_ok=True)  # of a record published before
    write_json(target / "size.json", {"parameters": _parameters(experiment)})
    _keep_agreement(experiment, teacher, target)
    _keep_groups(experiment, target, measure=bool(epochs))
    users = {f"per_user-{epoch:03d}.parquet": run.per_user(epoch)[PUBLISHED] for epoch in epochs}
    if run.chosen:
        users = {f"per_user-{run.epoch:03d}.parquet": run.per_user()}
    for name, frame in users.items():
        write_whole(target / name, lambda file, frame=frame: frame.to_parquet(file, index=False, compression="zstd"))
    for file in target.glob("per_user-*.parquet"):
        if file.name not in users:
            file.unlink()
    _copy(run.folder / "description.json", target)  # last, because a folder with a description is a record
    return target


def _copy(file: Path, target: Path) -> None:
    write_whole(target / file.name, lambda draft: shutil.copyfile(file, draft))


def _parameters(experiment: Experiment) -> int:
    """How many numbers were trained."""
    from rdcore.store.weights import read_weights

    tables = read_weights(stored(experiment).weights())
    return 0 if experiment.counted else sum(table.numel() for table in tables.values())


def _keep_agreement(experiment: Experiment, teacher: Experiment | None, target: Path) -> None:
    agree = stored(experiment).agreement
    if agree is None and teacher is not None and not (target / "agreement.json").exists():
        from rdcore.store.agreement import agreement

        data, stage = _data(experiment)
        agree = agreement(stored(experiment).model(experiment, data), stored(teacher).model(teacher, data), stage)
    if agree is not None:
        write_json(target / "agreement.json", agree)


def _keep_groups(experiment: Experiment, target: Path, *, measure: bool) -> None:
    """``measure``: also for a run from before they were measured."""
    run = stored(experiment)
    if (run.folder / "groups.json").exists():
        _copy(run.folder / "groups.json", target)
    elif measure and not (target / "groups.json").exists():
        from rdcore.store.groups import by_item_popularity

        data, stage = _data(experiment)
        write_json(target / "groups.json", by_item_popularity(run.model(experiment, data), stage))


def _data(experiment: Experiment) -> tuple:
    """The run's data set of the catalog, and what models are evaluated on."""
    from rdcore import datasets
    from rdcore.store.contract import stage_of

    data = datasets.load(experiment.dataset)
    return data, stage_of(data, experiment.stage)


def _place(experiment: Experiment) -> Path:
    """Where the committed record of a run is or would be."""
    return paths.replicated() / f"{experiment.label}-{experiment.key}"


def other_numbers(experiment: Experiment) -> bool:
    """Whether a run of the local store is published with other metrics."""
    run = stored(experiment)
    return run is not None and is_committed(experiment) and not run.metrics.equals(Record(_place(experiment)).metrics)


def is_committed(experiment: Experiment) -> bool:
    """Whether there is a committed record of the run. Without a description a folder is not a
    record (yet)."""
    return (_place(experiment) / "description.json").exists()


def committed(experiment: Experiment) -> Record:
    """The committed record of a paper-size run. Raises ValueError naming the run and the command
    that makes it."""
    if not is_committed(experiment):
        raise ValueError(
            f"no committed record of {experiment.label} (key {experiment.key}) in {paths.replicated()}: train it with "
            f"`rdcore train --only {experiment.key} --publish` or set recompute"
        )
    return Record(_place(experiment))
