"""The store of runs: trained once, kept under the key of their description, resumed where they stopped.

    runs/<key>/description.json      what was asked for
               environment.json      versions, device, threads, commit, duration
               history.json          one entry an epoch: losses, weights, seconds
               metrics.json          means at every evaluated epoch
               per_user-EEE.parquet  metrics of every user at epoch EEE
               weights-EEE.safetensors
               agreement.json        with the teacher, at the last epoch
               groups.json           held-out items found, by their popularity, at the last epoch
               checkpoint.pt         model and optimizer after a finished epoch not long ago, while training
               chosen.json           stage L: the epoch that the validation items chose, and all means at it
               DONE                  written last
    runs/<key>.lock                  held while one process trains the run
    runs/.deleted/<key>/             on its way out (rdcore/store/run_tables.py)

On stage L the weights and the metrics of users (ranks of their held-out items) are those of the chosen epoch alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
import warnings
import zipfile
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from rdcore import datasets
from rdcore.data.interactions import Interactions
from rdcore.data.sampling import stream_seed
from rdcore.data.splits import Stage, stage
from rdcore.eval import leave_one_out, metrics
from rdcore.eval.full_ranking import agreement, evaluate
from rdcore.eval.groups import by_item_popularity
from rdcore.files import paths
from rdcore.files.disk import locked, remove_partials
from rdcore.files.progress import silenced, tell
from rdcore.files.whole import damaged, misfit, write_whole
from rdcore.files.whole import write_json as _write_json
from rdcore.models.base import Model, built, wants_fit
from rdcore.store import jobs as sweeps
from rdcore.store.experiment import Experiment, family, label
from rdcore.store.list_cache import ListCache
from rdcore.store.record_files import (
    REMEDY,
    as_table,
    read_record,
    read_users,
    without_nulls,
    wrong_with_means,
    wrong_with_state,
)
from rdcore.train.loop import make_optimizer, seeded, train, training_data

# A resumed run ends in the same bits wherever it goes on, so that a checkpoint after every epoch only costs: of a large model
# on stage L it took as long as a third of the epoch. Writing them may take this part of a training's time.
CHECKPOINT_SHARE = 0.05


@dataclass(frozen=True)
class Record:
    """What is kept of a finished run. ``folder`` holds the files listed above (of a committed record: some)."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name.rsplit("-", 1)[-1]

    @cached_property
    def description(self) -> dict:
        return read_record(self.folder, "description")

    @cached_property
    def environment(self) -> dict:
        return read_record(self.folder, "environment")

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch, indexed by epoch: loss, distillation_loss, weights (K numbers), seconds."""
        return as_table(read_record(self.folder, "history"))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Means over users, one row an evaluated epoch: MAP, P@3, ..., n_users, n_left_out. Raises ValueError where the chosen
        epoch is none of them."""
        found = as_table(self._means())
        if self.chosen and self.chosen["epoch"] not in found.index:
            wrong = f"has the epoch {self.chosen['epoch']}, of which there are no metrics"
            raise damaged(self.folder / "chosen.json", wrong, REMEDY)
        return found

    def _means(self) -> list[dict]:
        """Of every evaluated epoch, with all that a run of its stage is judged by."""
        entries = read_record(self.folder, "metrics")
        if wrong := wrong_with_means(entries, _needed(self.description["stage"])):
            raise damaged(self.folder / "metrics.json", wrong, REMEDY)
        return entries

    @cached_property
    def agreement(self) -> dict | None:
        """Overlap and rank correlation with the teacher's lists at the last epoch; None where not measured."""
        if not (self.folder / "agreement.json").exists():
            return None
        return without_nulls(read_record(self.folder, "agreement"))

    @property
    def parameters(self) -> int | None:
        """How many numbers were trained; None where it was not counted (publishing does)."""
        return read_record(self.folder, "size")["parameters"] if (self.folder / "size.json").exists() else None

    @property
    def last_epoch(self) -> int:
        return int(self.metrics.index[-1])

    @cached_property
    def chosen(self) -> dict | None:
        """Of a run on stage L the epoch that its validation items chose, and every mean at it; None for any other.

        From its own small file: plans ask hundreds of trials, and the metrics of all epochs take a hundred times as long.
        """
        if not (self.folder / "chosen.json").exists():
            return None
        found = read_record(self.folder, "chosen")
        if wrong := wrong_with_means([found], _needed(self.description["stage"])[:1]):
            raise damaged(self.folder / "chosen.json", wrong, REMEDY)
        return without_nulls(found)

    @property
    def epoch(self) -> int:
        """The epoch that the run is judged at unless another is named: the chosen one, else the last."""
        last = self.last_epoch  # the metrics, which know whether the chosen epoch is one of theirs
        return self.chosen["epoch"] if self.chosen else last

    def late_gain(self, metric: str = "MAP") -> float:
        """How much of its final value a metric gained over the last quarter of the epochs: about 0 once it is flat."""
        values = self.metrics[metric]
        before = values[values.index <= 0.75 * self.last_epoch]
        if before.empty:
            raise ValueError(f"run {self.key} has no evaluated epoch in its first three quarters")
        return float(1 - before.iloc[-1] / values.iloc[-1])

    def per_user(self, epoch: int | None = None) -> pd.DataFrame:
        """Metrics of every user (n_users rows) at an epoch, by default the last or chosen one. Of a run on stage L: ranks of
        the held-out items, as `leave_one_out.Judge.ranks` names them."""
        epoch = self.epoch if epoch is None else epoch
        file = self.folder / f"per_user-{epoch:03d}.parquet"
        if not file.exists():
            raise ValueError(f"{file} is missing: run {self.key} keeps no metrics of single users at epoch {epoch}")
        return read_users(file, _USERS_NEEDED.get(self.description["stage"], PUBLISHED))


@dataclass(frozen=True)
class Run(Record):
    """A run in the local store: a record with its weights."""

    @property
    def finished(self) -> bool:
        return (self.folder / "DONE").exists()

    def model(self, experiment: Experiment, data: Interactions, epoch: int | str | None = None, device="cpu") -> Model:
        """The trained model of an evaluated epoch, by default the last or chosen one ('best'), in eval mode."""
        if experiment.counted:
            return experiment.model.fit(fitted_part(data, experiment.stage)).to(device).eval()
        fit = fitted_part(data, experiment.stage) if wants_fit(experiment.model) else data
        return self.restore(built(experiment.model, fit), epoch).to(device)

    def restore(self, model: Model, epoch: int | str | None = None) -> Model:
        """``model`` with the weights of an evaluated epoch, by default the last or chosen one ('best'), in eval mode."""
        _load_weights(model, self.weights(epoch))
        return model.eval()

    def weights(self, epoch: int | str | None = None) -> Path:
        """The file of an evaluated epoch's weights, by default those of the last or chosen one ('best')."""
        epoch = self.epoch if epoch in (None, "best") else epoch
        return self.folder / f"weights-{epoch:03d}.safetensors"


def load_or_train(
    experiment: Experiment,
    data: Interactions | None = None,
    *,
    device: str = "cpu",
    progress: bool = False,
) -> Run:
    """The finished run of ``experiment``: from the store, resumed from its checkpoint, or trained from the start.

    Trains the teacher first where there is none. A second process that asks for the same run waits for the first
    and takes its result. ``data``: the interactions, by default those of the catalog under ``experiment.dataset``.
    Raises ValueError when the data are not those of the description.
    """
    folder = paths.runs() / experiment.key
    if (folder / "DONE").exists():
        _drop_checkpoint(folder)
        return Run(folder)
    if data is None:
        data = datasets.load(experiment.dataset)
    if data.sha256() != experiment.data_hash:
        raise ValueError(
            f"data set {experiment.dataset!r} has hash {data.sha256()}, but the run describes {experiment.data_hash}: "
            "describe the run with the hash of the data at hand"
        )
    if experiment.teacher is not None:
        load_or_train(experiment.teacher, data, device=device, progress=progress)
    with locked(folder, f"{experiment.label}: another process is training this run, waiting for it"):
        if not (folder / "DONE").exists():
            _train(experiment, data, folder, device, progress)
    return Run(folder)


def load_or_train_all(
    experiments: list[Experiment], *, jobs: int | str = 1, device: str = "cpu", progress: bool = False
) -> list[Run]:
    """The finished runs of all experiments, in their order; what is missing is trained, each run with one thread.

    jobs: 1: one run after another; n > 1: n processes of this machine; an address such as 'tcp://host:8786': the workers of
    the Dask cluster there, which must share this run store (docs/scale.md). The numbers do not depend on it.
    Teachers come first. Stopped at any moment, the next call goes on where this one was; a run whose worker dies goes on
    with another. What a run raises is raised here.
    """
    missing = {run.key: run for e in experiments for run in (e.teacher, e) if run is not None}
    missing = [e for e in missing.values() if not (paths.runs() / e.key / "DONE").exists()]
    for wave in ([e for e in missing if e.teacher is None], [e for e in missing if e.teacher is not None]):
        done = sweeps.each(partial(_job, device=device), wave, jobs) if wave else ()
        silent = not (progress and wave) or silenced()  # in batch the lines below are enough
        for finished in tqdm(done, total=len(wave), desc="runs", unit="run", disable=silent):
            tqdm.write(f"finished {finished.label}")
    return [Run(paths.runs() / e.key) for e in experiments]


def check_device(device: str) -> None:
    """Raises ValueError for a device that is not there: only 'cpu', and of GPUs 'cuda' and 'cuda:N' up to their number."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{n}" for n in range(gpus))]
    if device not in here:
        raise ValueError(
            f"there is no device {device!r} here: use 'cpu', or 'cuda' where a CUDA build of torch sees a GPU; there are: "
            f"{', '.join(here)}"
        )


def stored(experiment: Experiment) -> Run | None:
    """The finished run with its weights if the local store has it; never trains."""
    folder = paths.runs() / experiment.key
    return Run(folder) if (folder / "DONE").exists() else None


def records(
    experiments: list[Experiment],
    *,
    profile: str,
    recompute: bool = False,
    jobs: int | str = 1,
    progress: bool = False,
    optional: bool = False,
) -> list[Record | None]:
    """What a notebook shows of these experiments: on profile ``paper`` the committed records, unless ``recompute``;
    else runs of the local store, trained where they are missing. ``optional``: a record that was not committed is
    None instead of a ValueError."""
    if profile != "paper" or recompute:
        return load_or_train_all(experiments, jobs=jobs, progress=progress)
    return [committed(e) if not optional or is_committed(e) else None for e in experiments]


def _job(experiment: Experiment, device: str) -> None:
    if replace(experiment).key != experiment.key:  # a copy is hashed anew, here
        raise ValueError(f"{experiment.label}: the worker's rdcore describes it otherwise: install the same version there")
    check_device(device)  # of a worker's own machine
    # One thread a process: two runs on two cores beat one run on both by half, and results do not depend on `jobs`.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        load_or_train(experiment, device=device)
    finally:
        torch.set_num_threads(threads)


def _train(experiment: Experiment, data: Interactions, folder: Path, device: str, progress: bool) -> None:
    started = time.time()
    # First of all, so that the store knows whose teacher must stay.
    _write_json(folder / "description.json", experiment.description)
    settings, seed = experiment.training, experiment.seed
    judge = _judge_of(data, device) if experiment.stage == "L" else None
    stage = judge.test if judge else _stage(data, experiment.stage)
    fit = judge.fit if judge else stage.fit
    if experiment.counted:  # POP, ItemCF: counted from the data, nothing to train
        model = experiment.model.fit(fit)
        if judge:
            entries = [{"epoch": settings.epochs, **judge.means(model)}]
            _save_weights(model, folder, settings.epochs)
            _judge_chosen(model, judge, entries, folder)
        else:
            entries = [{"epoch": settings.epochs, **_judge(model, stage, folder, settings.epochs, device)}]
        _write_json(folder / "groups.json", by_item_popularity(model, stage, device=device))
        state = {"history": [], "metrics": entries, "resumed": 0}
        _finish(folder, device, state | {"seconds": time.time() - started})
        return
    teacher = taught_by = None
    if experiment.distillation:
        of_teacher = Run(paths.runs() / experiment.teacher.key)
        teacher = of_teacher.model(experiment.teacher, data, experiment.teacher_epoch, device)
        taught_by = _sha256(of_teacher.weights(experiment.teacher_epoch))
    with seeded(stream_seed(seed, "initialisation"), "cpu"):
        model = built(experiment.model, fit).to(device)
        distillation = experiment.distillation.build(model, teacher).to(device) if experiment.distillation else None
    instances = training_data(fit, model.window, device, share=settings.share, seed=seed)
    if distillation:
        cache = paths.runs() / experiment.teacher.key / f"lists-{experiment.teacher_epoch:0>3}"
        distillation.prepare(teacher, instances, cache=ListCache(cache), progress=progress)
    optimizer = make_optimizer(model, distillation, settings)

    state = {"epoch": 0, "history": [], "metrics": [], "seconds": 0.0, "resumed": -1}
    remove_partials(folder)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = _resume(checkpoint, device, experiment.stage, model, optimizer, distillation)
    state["resumed"] += 1
    state["teacher_weights"] = taught_by
    # Now, not at the end: the checkout may move on while the run trains. A resumed run may have seen several.
    state["commit"] = ", ".join(dict.fromkeys([*filter(None, state.get("commit", "").split(", ")), commit()]))
    earlier = state["seconds"]
    saved_at, saving = time.monotonic(), 0.0  # when the last checkpoint was written, and the seconds that it took

    def after_epoch(epoch: int, log: dict) -> bool:
        nonlocal saved_at, saving
        state["history"].append(log)
        if epoch in evaluated:
            means = judge.means(model) if judge else _judge(model, stage, folder, epoch, device)
            state["metrics"].append({"epoch": epoch, **means})
            if judge and leave_one_out.best_epoch(state["metrics"]) == epoch:
                _save_weights(model, folder, epoch)
            state["stopped"] = bool(judge) and leave_one_out.stalled(state["metrics"], settings.patience)
            if progress:
                shown = leave_one_out.CHOOSES if judge else "MAP"
                tqdm.write(f"{experiment.label} epoch {epoch}: loss {log['loss']:.4f}, {shown} {means[shown]:.4f}")
        state["epoch"], state["seconds"] = epoch, earlier + time.time() - started
        ends, begun = epoch == settings.epochs or state.get("stopped", False), time.monotonic()
        if not ends and saving > CHECKPOINT_SHARE * (begun - saved_at):
            return False
        saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
        if distillation:
            saved["distillation"] = distillation.state_dict()
        write_whole(checkpoint, lambda file: torch.save(saved, file))
        if judge:
            _drop_weights(folder, keep=leave_one_out.best_epoch(state["metrics"]) if state["metrics"] else 0)
        saved_at = time.monotonic()
        saving = saved_at - begun
        return state.get("stopped", False)

    evaluated = set(experiment.evaluated_epochs)
    if not state.get("stopped"):
        train(
            model, instances, optimizer, settings, seed=seed, distillation=distillation, first_epoch=state["epoch"] + 1,
            after_epoch=after_epoch, progress=progress, description=experiment.label, report=tell,
        )  # fmt: skip
    if judge:
        _judge_chosen(model, judge, state["metrics"], folder)
    if teacher is not None:
        _write_json(folder / "agreement.json", agreement(model, teacher, stage, device=device))
    _write_json(folder / "groups.json", by_item_popularity(model, stage, device=device))
    _finish(folder, device, state)
    _drop_checkpoint(folder)


def _drop_checkpoint(folder: Path) -> None:
    """Of a finished run. It may be there since a kill between the two last steps, now in a store that may only be read."""
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        with contextlib.suppress(OSError):
            checkpoint.unlink()


_judges: dict[tuple[str, str], leave_one_out.Judge] = {}


def _judge_of(data: Interactions, device: str) -> leave_one_out.Judge:
    """The one of stage L. The last is kept: many runs of a process have the same, and drawing its negatives takes longer than
    judging by them."""
    key = (data.sha256(), str(device))
    if key not in _judges:
        _judges.clear()
        _judges[key] = leave_one_out.Judge(data, device)
    return _judges[key]


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, which can hold nothing that runs. Raises ValueError where it is damaged, or anything
    else."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise damaged(file, f"holds no weights ({str(error)[:300]})", REMEDY) from None


def _load_weights(model: Model, file: Path) -> None:
    """Raises ValueError where the file does not hold this model's tensors, by name, size and kind of number."""
    weights = read_weights(file)
    kinds = {name: value.dtype for name, value in model.state_dict().items()}
    try:
        for name, value in weights.items():  # torch would convert them
            if value.dtype != kinds.get(name, value.dtype):
                raise RuntimeError(f"{name} is {value.dtype}, expected {kinds[name]}")
        model.load_state_dict(weights)
    except RuntimeError as error:  # other names or shapes
        raise damaged(file, f"does not fit the model ({' '.join(str(error).split())[:300]})", REMEDY) from None


def _stage(data: Interactions, name: str) -> Stage:
    """What a model is judged by over all items: on stage L the test items."""
    return leave_one_out.Judge(data).test if name == "L" else stage(data, name)


def fitted_part(data: Interactions, name: str) -> Interactions:
    """What models are fitted to on stage ``name``."""
    return leave_one_out.Judge(data).fit if name == "L" else stage(data, name).fit


def _judge(model: Model, stage: Stage, folder: Path, epoch: int, device: str) -> dict:
    """Means over the users; metrics of every user and the model's weights go to ``folder``."""
    users = evaluate(model, stage, device=device)
    write_whole(folder / f"per_user-{epoch:03d}.parquet", _to_parquet(users))
    _save_weights(model, folder, epoch)
    return metrics.mean(users)


def _judge_chosen(model: Model, judge: leave_one_out.Judge, entries: list[dict], folder: Path) -> None:
    """Takes the model to the chosen epoch and keeps the ranks of every user's held-out items, and their means."""
    epoch = leave_one_out.best_epoch(entries)
    _load_weights(model, folder / f"weights-{epoch:03d}.safetensors")
    ranks = judge.ranks(model)
    write_whole(folder / f"per_user-{epoch:03d}.parquet", _to_parquet({f"rank{kind}": found for kind, found in ranks.items()}))
    _write_json(folder / "chosen.json", {"epoch": epoch, **leave_one_out.means(ranks)})


def _save_weights(model: Model, folder: Path, epoch: int) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_whole(folder / f"weights-{epoch:03d}.safetensors", lambda file: save_file(weights, file))


def _drop_weights(folder: Path, keep: int) -> None:
    """After the checkpoint was written: until then a resumed run may need what it had."""
    for file in folder.glob("weights-*.safetensors"):
        if file.name != f"weights-{keep:03d}.safetensors":
            file.unlink()


def _finish(folder: Path, device: str, state: dict) -> None:
    _write_json(folder / "history.json", state["history"])
    _write_json(folder / "metrics.json", state["metrics"])
    weights = {file.stem.removeprefix("weights-"): _sha256(file) for file in sorted(folder.glob("weights-*.safetensors"))}
    _write_json(folder / "environment.json", environment(device, state) | {"weights": weights})
    write_whole(folder / "DONE", lambda file: file.touch())


def set_aside() -> Path | None:
    """Renames the run store, so that everything is trained anew and nothing is lost; None where there is no store.

    All locks are held meanwhile: a run that is asked for again waits, and finds the new store. Raises ValueError while
    another process is training in it.
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


def _read_checkpoint(path: Path, device: str, stage: str, *, mmap: bool = False) -> dict:
    """What a training left: 'model', 'optimizer', 'state' and, with a distillation, 'distillation'. ``mmap`` leaves tensors on
    disk until they are used, and their checksums unread. Raises FileNotFoundError, and ValueError with the remedy when the
    file is damaged (a full disk, a copy cut short)."""
    try:
        if not mmap:
            with zipfile.ZipFile(path) as parts:  # torch writes checksums and does not read them
                if (bad := parts.testzip()) is not None:
                    raise zipfile.BadZipFile(f"bad checksum of {bad}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles that are none of its own, and then refuses them
            saved = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
        if wrong := misfit(saved, {"model": dict, "optimizer": dict, "state": dict}):
            raise ValueError(wrong)
        if wrong := wrong_with_state(saved["state"], _needed(stage)):
            raise ValueError(wrong)
        return saved
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise nearly any of them
        raise _useless(path, error) from error


def _useless(path: Path, error: Exception) -> ValueError:
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ValueError(f"{path} cannot be read ({said}): delete this file, and the run starts from its first epoch")


def _resume(path: Path, device: str, stage: str, model: Model, optimizer, distillation) -> dict:
    """Takes all three to where a checkpoint left them, and returns its state."""
    saved = _read_checkpoint(path, device, stage)
    try:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        if distillation:
            distillation.load_state_dict(saved["distillation"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:  # of another model, or of none
        raise _useless(path, error) from error
    return saved["state"]


# Which of them are set is recorded: they choose threads, or the instructions by which numbers are rounded.
VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR", "MKL_DYNAMIC", "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF", "PYTHONHASHSEED",
)  # fmt: skip


def environment(device: str, state: dict) -> dict:
    """Where and how a run was made: recorded, not hashed. teacher_weights: sha256 of the file of weights that taught it, None
    without a teacher: a teacher that was trained anew elsewhere has other weights under the same key."""
    packages = ("rdcore", "torch", "numpy", "scipy", "pandas")
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    gpu = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None
    return {
        "python": platform.python_version(),
        "versions": found,
        "machine": platform.machine(),
        "device": gpu or "cpu",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": state.get("commit") or commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(state["seconds"], 1),
        "resumed": state["resumed"],
        "teacher_weights": state.get("teacher_weights"),
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def commit() -> str:
    """The commit of the checkout, '+' behind it when files differ from it; 'unknown' outside of one."""
    try:
        git = ["git", "-C", str(paths.root())]
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "rdcore"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _to_parquet(users: dict):
    frame = pd.DataFrame(users).astype("float32")
    return lambda file: frame.to_parquet(file, index=False)


# Committed records -------------------------------------------------------------------------------------------------

PUBLISHED = ["AP", "P@10", "nDCG@10"]
_USERS_NEEDED = {"L": ["rank"]}  # of a stage; PUBLISHED of the others


def publish(
    experiment: Experiment, epochs: list[int], *, teacher: Experiment | None = None, replace: bool = False
) -> Path:
    """Copies a finished run's record (no weights) to data/replicated/<label>-<key>: metrics and history whole, of
    single users AP, P@10 and nDCG@10 at ``epochs`` and at no others, and the number of parameters. ``teacher``: measure
    the agreement of a student that was not distilled with the teacher it stands beside. replace: also where a record of
    the run with other numbers is published already.

    Never trains: raises ValueError when a run is not finished in the local store, and, without ``replace``, when it would
    put other numbers in the place of published ones, by which tables and taught students stand.
    """
    for needed in (experiment, teacher):
        if needed is not None and stored(needed) is None:
            raise ValueError(
                f"{needed.label} (key {needed.key}) is not finished in {paths.runs()}: train it with "
                f"`rdcore train --only {needed.key}`"
            )
    run = stored(experiment)
    if not replace and other_numbers(experiment):
        raise ValueError(
            f"{experiment.label} (key {experiment.key}) is published with other numbers than this machine's: look at both "
            f"metrics.json; `rdcore publish --only {experiment.key} --replace` puts these in the place of the published ones"
        )
    target = _place(experiment)
    target.mkdir(parents=True, exist_ok=True)
    for name in ("environment.json", "history.json", "metrics.json", *(["chosen.json"] if run.chosen else [])):
        write_whole(target / name, lambda file, name=name: shutil.copyfile(run.folder / name, file))
    weights = read_weights(run.weights())
    trained = 0 if experiment.counted else sum(table.numel() for table in weights.values())
    _write_json(target / "size.json", {"parameters": trained})
    agree = run.agreement
    if agree is None and teacher is not None and not (target / "agreement.json").exists():
        data = datasets.load(experiment.dataset)
        model, other = run.model(experiment, data), stored(teacher).model(teacher, data)
        agree = agreement(model, other, _stage(data, experiment.stage))
    if agree is not None:
        _write_json(target / "agreement.json", agree)
    groups = target / "groups.json"
    if (run.folder / "groups.json").exists():
        write_whole(groups, lambda file: shutil.copyfile(run.folder / "groups.json", file))
    elif epochs and not groups.exists():  # a run from before they were measured
        data = datasets.load(experiment.dataset)
        model = run.model(experiment, data)
        _write_json(groups, by_item_popularity(model, _stage(data, experiment.stage)))
    wanted = {f"per_user-{epoch:03d}.parquet": run.per_user(epoch)[PUBLISHED] for epoch in epochs}
    if run.chosen:
        wanted = {f"per_user-{run.epoch:03d}.parquet": run.per_user()}
    for name, frame in wanted.items():
        write_whole(target / name, lambda file, frame=frame: frame.to_parquet(file, index=False))
    for file in target.glob("per_user-*.parquet"):
        if file.name not in wanted:
            file.unlink()
    # Last, because a folder with a description is a record.
    write_whole(target / "description.json", lambda file: shutil.copyfile(run.folder / "description.json", file))
    return target


def _place(experiment: Experiment) -> Path:
    """Where the committed record of a run is or would be."""
    return paths.replicated() / f"{experiment.label}-{experiment.key}"


def other_numbers(experiment: Experiment) -> bool:
    """Is a run of the local store published with other metrics?"""
    run = stored(experiment)
    return run is not None and is_committed(experiment) and not run.metrics.equals(Record(_place(experiment)).metrics)


def is_committed(experiment: Experiment) -> bool:
    """Whether there is a committed record of the run: without a description a folder is not a record (yet)."""
    return (_place(experiment) / "description.json").exists()


def committed(experiment: Experiment) -> Record:
    """The committed record of a paper-size run. Raises ValueError naming the run and the command that makes it."""
    if not is_committed(experiment):
        raise ValueError(
            f"no committed record of {experiment.label} (key {experiment.key}) in {paths.replicated()}: train it with "
            f"`rdcore train --only {experiment.key} --publish` or set recompute"
        )
    return Record(_place(experiment))


def list_runs() -> list[dict]:
    """One entry for every run in the local store, finished or not: key, status ('done', 'running' while a process holds its
    lock, 'unfinished'), label and its parts, epochs asked for and epochs done, seconds, when it was finished.

    MAP: of the last epoch, or H@5: of the chosen one. best: (metric, value, epoch), of the best evaluated epoch so far, on
    stage L of the one that the validation items choose; None before the first.
    """
    rows = []
    for folder in sorted(paths.runs().glob("*/")):
        if not (folder / "description.json").exists():
            continue
        run = Run(folder)
        d = run.description
        row = {"key": run.key, "status": "done", "label": label(d), "dataset": d["dataset"], "stage": d["stage"],
               "role": d["role"], "model": family(d), "dim": d["model"].get("dim"), "seed": d["seed"],
               "epochs": d["training"]["epochs"]}  # fmt: skip
        if run.finished:
            entries, environment = run._means(), run.environment
            quality = {"H@5": run.chosen["H@5"]} if run.chosen else {"MAP": entries[-1]["MAP"]}
            # Counted models have no history; the others may have stopped early.
            row |= {**quality, "done": len(read_record(folder, "history")) or row["epochs"], "seconds": environment["seconds"],
                    "finished": environment["finished"]}  # fmt: skip
        else:
            state = _state(folder, d["stage"])
            entries = state.get("metrics", [])
            row |= {"status": "running" if being_trained(run.key) else "unfinished", "done": state.get("epoch"),
                    "seconds": state.get("seconds")}  # fmt: skip
        rows.append(row | {"best": _best(entries, d["stage"]), "description": d})
    return rows


def _needed(stage: str) -> tuple[str, ...]:
    """The means that a run of this stage is judged and chosen by."""
    return ("H@5", leave_one_out.CHOOSES) if stage == "L" else ("MAP",)


def _best(entries: list[dict], stage: str) -> tuple[str, float, int] | None:
    if not entries:
        return None
    name, chooser = _needed(stage)[0], _needed(stage)[-1]
    best = max(entries, key=lambda entry: (entry[chooser], -entry["epoch"]))
    return name, best[name], best["epoch"]


def _state(folder: Path, stage: str) -> dict:
    """How far an unfinished run has come: epoch, metrics, seconds. Empty before its first epoch; the epoch is None where the
    checkpoint is damaged, which training it would say."""
    try:
        return _read_checkpoint(folder / "checkpoint.pt", "cpu", stage, mmap=True)["state"]
    except FileNotFoundError:
        return {"epoch": 0}
    except ValueError:
        return {"epoch": None}


def being_trained(key: str) -> bool:
    """Whether a process holds the run's lock at this moment."""
    file = paths.runs() / f"{key}.lock"
    if not file.exists():
        return False
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a store that may only be read: nobody trains in it
        return False
