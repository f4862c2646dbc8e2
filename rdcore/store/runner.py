"""The life of a run: looked up, resumed or trained; evaluated while it trains; finished."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from rdcore.checks import short, trainable
from rdcore.data import Interactions, Stage
from rdcore.data.sampling import stream_seed
from rdcore.distill.base import Distillation, TrainingData
from rdcore.distill.followups import Trajectories
from rdcore.eval import leave_one_out
from rdcore.files import paths
from rdcore.files.disk import locked, remove_partials
from rdcore.files.progress import behind, silenced, tell
from rdcore.files.whole import write_json, write_whole
from rdcore.models.base import Model, built
from rdcore.store import checkpoints, contract, weights
from rdcore.store import jobs as sweeps
from rdcore.store.agreement import agreement
from rdcore.store.environment import commit, environment
from rdcore.store.estimate import Estimate
from rdcore.store.experiment import Experiment
from rdcore.store.groups import by_item_popularity
from rdcore.store.interrupt import explained
from rdcore.store.list_cache import ListCache
from rdcore.store.records import Run, run_of
from rdcore.store.stages import FullRanking, LeaveOneOut
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data


def load_or_train(
    experiment: Experiment,
    data: Interactions | Stage | None = None,
    *,
    device: str = "cpu",
    progress: bool = False,
    after_epoch: Callable[[int, dict], object] | None = None,
) -> Run:
    """The finished run of ``experiment``: from the store, resumed from its checkpoint, or trained
    from the start.

    The teacher is trained first where it is missing. A second process that asks for the same run
    waits for the first and takes its result. An interrupt keeps the last checkpoint, and the same
    call goes on from there.

    data: the interactions, by default those of the catalog under ``experiment.dataset``; or a stage of
    your own (`rdcore.datasets.stages_of_parts`, `stage_by_date`), described by its sha256().
    after_epoch: called after every epoch of this run with its number and what was measured: loss,
    seconds, and at an evaluated epoch its means (MAP, ...), for a logger such as TensorBoard or
    Weights & Biases:

    writer = SummaryWriter("logs")                     # torch.utils.tensorboard, or
    wandb.log(values, step=epoch)

    def log(epoch, values): for name, value in values.items(): if isinstance(value, float):
    writer.add_scalar(name, value, epoch)

    load_or_train(experiment, data, after_epoch=log)

    Raises ValueError, before anything is written, for data that the description does not name, a
    device that is not there, and a torch whose default is not float32.
    """
    if not isinstance(experiment, Experiment):
        raise ValueError(f"experiment must be an Experiment, got {short(experiment)}")
    if not (after_epoch is None or callable(after_epoch)):
        raise ValueError(f"after_epoch must be a function of an epoch and its values, got {short(after_epoch)}")
    run = run_of(experiment)
    if run.finished:
        if data is not None:
            contract.check_data(experiment, data)
            contract.check_stage(experiment.data_hash, data, run.folder)
        checkpoints.drop(run.folder)
        return run
    data = contract.check_all(experiment, data, device)
    contract.check_stage(experiment.data_hash, data, run.folder)
    if experiment.teacher is not None:
        load_or_train(experiment.teacher, data, device=device, progress=progress)
    with (
        explained(lambda: _kept(experiment, run)),
        locked(run.folder, f"{experiment.label}: another process is training this run, waiting for it"),
    ):
        if not run.finished:
            _train(experiment, data, run.folder, device, progress, after_epoch)
    return run


def _kept(experiment: Experiment, run: Run) -> str:
    """What an interrupted run has left."""
    epoch = checkpoints.state_of(run.folder, experiment.stage)["epoch"]
    if not epoch:
        return f"interrupted before the first epoch of {experiment.label} was over: nothing of this run is kept"
    return (
        f"interrupted: {experiment.label} is kept up to epoch {epoch} of {experiment.training.epochs}, "
        "and the same call goes on from there"
    )


def _train(
    experiment: Experiment, data: Interactions | Stage, folder: Path, device: str, progress: bool,
    after_epoch: Callable[[int, dict], object] | None = None,
) -> None:  # fmt: skip
    """Described, prepared, trained, finished."""
    started = time.time()
    entries: list[dict] = []
    with _described(experiment, data, folder):
        work = _prepare(experiment, data, folder, device, progress)
        if experiment.counted:  # evaluated here, where a model that answers wrongly leaves no run behind
            work.stages.evaluate(work.model, experiment.training.epochs, entries)
    if experiment.counted:
        state = {"history": [], "metrics": entries, "resumed": 0}
    else:
        state = _fit(experiment, work, folder, device, progress, after_epoch, started)
    work.stages.finish(work.model, state["metrics"])
    if work.teacher is not None:
        write_json(folder / "agreement.json", agreement(work.model, work.teacher, work.stages.stage, device=device))
    write_json(folder / "groups.json", by_item_popularity(work.model, work.stages.stage, device=device))
    _finish(folder, device, {"seconds": time.time() - started} | state)
    checkpoints.drop(folder)


@contextlib.contextmanager
def _described(experiment: Experiment, data: Interactions | Stage, folder: Path) -> Iterator[None]:
    """Writes the description first of all, so that the store knows whose teacher must stay; takes
    it back where the run then turns out to be impossible."""
    before = folder.exists()
    if isinstance(data, Stage) and data.sha256() != experiment.data_hash:
        write_json(folder / "stage.json", data.sha256())
    write_json(folder / "description.json", experiment.description)
    try:
        yield
    except (ValueError, TypeError):
        if not before:
            for file in [folder / "stage.json", folder / "description.json", folder]:
                with contextlib.suppress(OSError):  # something else is in the folder by now
                    file.rmdir() if file.is_dir() else file.unlink()
        raise


@dataclass
class _Work:
    """What a run works with."""

    stages: FullRanking | LeaveOneOut
    model: Model
    instances: TrainingData | None = None
    optimizer: torch.optim.Adam | None = None
    distillation: Distillation | None = None
    teacher: Model | None = None
    taught_by: str | None = None
    """sha256 of the teacher's file of weights."""


def _prepare(experiment: Experiment, data: Interactions | Stage, folder: Path, device: str, progress: bool) -> _Work:
    settings, seed = experiment.training, experiment.seed
    if experiment.stage == "L" and isinstance(data, Interactions):
        stages = LeaveOneOut(data, folder, device)
    else:
        stages = FullRanking(data, experiment.stage, folder, device)
    if experiment.counted:  # POP, ItemCF: counted from the data, nothing to train
        return _Work(stages, experiment.model.fit(stages.fit))
    teachers = teacher = taught_by = distillation = cache = None
    if experiment.teacher:
        of_teacher = run_of(experiment.teacher)
        last = experiment.teacher_at == "last"

        def teaching(epoch: int | str) -> Model:
            model = of_teacher.model(experiment.teacher, data, epoch, device)
            return contract.at_last(model, stages.fit) if last else model

        teacher = teaching(experiment.teacher_epoch)
        taught_by = weights.sha256(of_teacher.weights(experiment.teacher_epoch))
        teachers = teacher
        if epochs := getattr(experiment.distillation, "checkpoints", ()):
            teachers = Trajectories([[*map(teaching, epochs), teacher]])
        cache = ListCache(paths.runs() / experiment.teacher.key / f"lists-{experiment.teacher_epoch:0>3}{'-last' * last}")
    with seeded(stream_seed(seed, "initialisation"), "cpu"):
        model = built(experiment.model, stages.fit).to(device)
        trainable(model)
        if experiment.distillation:
            distillation = contract.distillation_of(experiment.distillation, model, teachers, device)
    instances = training_data(
        stages.fit, model.window, device, full_windows=model.full_windows, share=settings.share, seed=seed
    )
    if distillation:
        distillation.prepare(teachers, instances, cache=cache, progress=progress)
        contract.check_apart(distillation, model, teachers)
    optimizer = make_optimizer(model, distillation, settings)
    return _Work(stages, model, instances, optimizer, distillation, teacher, taught_by)


def _fit(
    experiment: Experiment, work: _Work, folder: Path, device: str, progress: bool,
    after_epoch: Callable[[int, dict], object] | None, started: float,
) -> dict:  # fmt: skip
    """Trains from the last checkpoint, or from the start, to the last epoch; returns the state at
    the end."""
    settings, stages, evaluated = experiment.training, work.stages, set(experiment.evaluated_epochs)
    remove_partials(folder)
    kept = checkpoints.Checkpoints(folder, model=work.model, optimizer=work.optimizer, distillation=work.distillation)
    state = kept.resume(device, experiment.stage) or {"epoch": 0, "history": [], "metrics": [], "seconds": 0.0, "resumed": -1}
    state["resumed"] += 1
    state["rows_used"] = round(len(work.instances.target) / len(stages.fit), 4)
    state["n_short"] = work.distillation.n_short if work.distillation else None
    if progress:
        for remark in _remarks(work, settings, state):
            tqdm.write(f"{experiment.label}: {remark}")
    state["teacher_weights"] = work.taught_by
    # Now, not at the end: the checkout may move on while the run trains. A resumed run may have seen several.
    state["commit"] = ", ".join(dict.fromkeys([*filter(None, state.get("commit", "").split(", ")), commit()]))
    earlier = state["seconds"]

    def keep(epoch: int, log: dict) -> bool:
        state["history"].append(log)
        means = {}
        if epoch in evaluated:
            means = stages.evaluate(work.model, epoch, state["metrics"])
            state["stopped"] = stages.stalled(state["metrics"], settings.patience)
            if progress:
                shown = f"{stages.shows} {means[stages.shows]:.4f}"
                tqdm.write(f"{experiment.label} epoch {epoch}: loss {log['loss']:.4f}, {shown}")
        state["epoch"], state["seconds"] = epoch, earlier + time.time() - started
        stops = state.get("stopped", False)
        if kept.save(state, now=stops or epoch == settings.epochs):
            stages.tidy(state["metrics"])
        if after_epoch:
            after_epoch(epoch, log | means)
        return stops

    if not state.get("stopped"):
        train(
            work.model, work.instances, work.optimizer, settings, seed=experiment.seed, distillation=work.distillation,
            first_epoch=state["epoch"] + 1, after_epoch=keep, progress=progress, description=experiment.label, report=tell,
        )  # fmt: skip
    return state


def _remarks(work: _Work, settings: Training, state: dict) -> Iterator[str]:
    """What whoever starts the run should know of their data."""
    if state["rows_used"] < 0.5 * settings.share:
        yield (
            f"trained on {state['rows_used']:.0%} of the rows, those with {work.model.window} items before them: take a "
            "shorter window, or a model that is trained on every prefix (full_windows = False)"
        )
    if state["n_short"]:
        yield contract.SHORTER.format(state["n_short"])
    if n_short := getattr(work.stages, "n_short", 0):
        yield f"{n_short} users are ranked among fewer than {leave_one_out.NEGATIVES} items, all that they leave"


def _finish(folder: Path, device: str, state: dict) -> None:
    write_json(folder / "history.json", state["history"])
    write_json(folder / "metrics.json", state["metrics"])
    hashes = {f"{weights.epoch_of(file):03d}": weights.sha256(file) for file in weights.files(folder)}
    write_json(folder / "environment.json", environment(device, state) | {"weights": hashes})
    write_whole(folder / "DONE", lambda file: file.touch())


# ---------------------------------------------------------------------------------------------------------------- many runs


def load_or_train_all(
    experiments: list[Experiment],
    *,
    data: Interactions | Stage | None = None,
    jobs: int | str = 1,
    device: str = "cpu",
    progress: bool = False,
) -> list[Run]:
    """The finished runs of all experiments, in their order; what is missing is trained, each run
    with one thread.

    data: your own interactions, those that all experiments describe; by default each run's data set
    of the catalog. jobs: 1: one run after another; n > 1: n processes of this machine; an address
    such as 'tcp://host:8786': the workers of the Dask cluster there, which must share this run
    store (docs/scale.md). The numbers do not depend on it. Teachers come first. Stopped at any
    moment, the next call goes on where this one was; a run whose worker dies goes on with another.
    What a run raises is raised here.
    """
    if isinstance(jobs, int):  # else a cluster, whose workers have devices of their own
        contract.check_device(device)
    contract.check_dtype()
    if data is not None:
        for experiment in experiments:
            contract.check_data(experiment, data)
    missing = {run.key: run for e in experiments for run in (e.teacher, e) if run is not None}
    missing = [e for e in missing.values() if not run_of(e).finished]
    estimate = Estimate(missing)
    silent = not (progress and missing) or silenced()  # in batch the lines below are enough
    with (
        explained(lambda: estimate.kept()),
        tqdm(total=len(missing), desc="runs", unit="run", disable=silent) as bar,
        behind(bar, paths.runs()),
    ):
        for wave in ([e for e in missing if e.teacher is None], [e for e in missing if e.teacher is not None]):
            for run in sweeps.each(partial(_job, device=device, data=data), wave, jobs) if wave else ():
                bar.update()
                tqdm.write(f"finished {run.label}: {estimate.after(run)}")
    return [run_of(e) for e in experiments]


def _job(experiment: Experiment, device: str, data: Interactions | Stage | None = None) -> None:
    if replace(experiment).key != experiment.key:  # a copy is hashed again, here
        raise ValueError(f"{experiment.label}: the worker's rdcore describes it otherwise: install the same version there")
    # One thread a process: two runs on two cores beat one run on both by half, and results do not depend on `jobs`.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        load_or_train(experiment, data, device=device)
    finally:
        torch.set_num_threads(threads)


def set_aside() -> Path | None:
    """Renames the run store, so that everything is trained again and nothing is lost; None where
    there is no store.

    All locks are held meanwhile: a run that is asked for waits, and finds the new store. Raises
    ValueError while another process is training in it.
    """
    store = paths.runs()
    if not store.exists():
        return None
    with contextlib.ExitStack() as locks:
        for file in store.glob("*.lock"):
            try:
                locks.enter_context(FileLock(file, timeout=0))
            except Timeout:
                raise ValueError(f"run {file.stem} in {store} is being trained: let it finish or stop it first") from None
        aside = store.with_name(f"{store.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        os.rename(store, aside)
    return aside
