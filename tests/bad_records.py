"""Checks of one input, as in bad_input.py, for what the project writes itself and may get back damaged or from a stranger:
records, weights, checkpoints, tables, and for the description of a run, which is made of values instead of a file.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from bad_input import SEPARATOR, outcome
from method_examples import examples
from safetensors.torch import load_file

from rdcore.datasets import synthetic
from rdcore.distill import (
    BothSettings,
    CDSettings,
    DESettings,
    Discrepancy,
    Equal,
    Hybrid,
    Position,
    RankDistilSettings,
    RDSettings,
    Reciprocal,
    RRDSettings,
)
from rdcore.distill.lists import teacher_lists
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, NeuMFSettings, PopularitySettings
from rdcore.store import checkpoints, run_tables, runner, runs
from rdcore.store.experiment import Experiment
from rdcore.store.list_cache import ListCache
from rdcore.store.runs import Run
from rdcore.train.loop import Training, training_data
from studies.common import manifest, selection
from studies.common.item_groups import recorded
from studies.common.reported import reported
from studies.notebooks.batch import checked
from studies.rd import efficiency

MODEL = BPRMFSettings(dim=2)
DATA = synthetic.generate(n_users=6, n_items=12, min_length=7, max_length=8)
STUDENT = Experiment(dataset="tiny", data_hash=DATA.sha256(), stage="F", role="S", model=MODEL, training=Training(epochs=2))
ALONE = dataclasses.replace(STUDENT, stage="L", evaluate_every=1)
DISTILLED = dataclasses.replace(
    STUDENT, role="RD", teacher=STUDENT, teacher_epoch=2, distillation=RDSettings(K=2, weights=Position())
)  # fmt: skip
RUNS = {"F": STUDENT, "L": ALONE, "D": DISTILLED}
FINITE = (int, float)

# ------------------------------------------------------------------------------------------------------------------- records


@functools.cache
def store(folder: Path) -> Path:
    """A store of runs: one of stage F, one of stage L, and one that the first has taught."""
    with patch.dict(os.environ, RDCORE_RUNS=str(folder)), patch.object(runner, "commit", lambda: "0000000"):
        for experiment in RUNS.values():
            runs.load_or_train(experiment, DATA)
    return folder


@functools.cache
def valid_files(folder: Path) -> dict[str, bytes]:
    """Of the runs, 'F/metrics.json' -> content."""
    return {
        f"{stage}/{file.name}": file.read_bytes()
        for stage, experiment in RUNS.items()
        for file in sorted((store(folder) / experiment.key).iterdir())
        if file.is_file() and file.stat().st_size
    }


def record_seeds(folder: Path, suffix: str) -> list[bytes]:
    """Inputs of the checks below: the name of a file, and what is in it."""
    return [name.encode() + SEPARATOR + content for name, content in valid_files(folder).items() if name.endswith(suffix)]


def in_the_store(folder: Path, content: bytes, read: Callable[[Run], object]) -> bool:
    """A file of a run replaced by another content, while ``read`` has the run."""
    name, _, body = content.partition(SEPARATOR)
    valid = valid_files(folder / "store")
    name = name.decode(errors="replace")
    if name not in valid:
        name = "F/metrics.json"
    run = Run(folder / "store" / RUNS[name[0]].key)
    file = run.folder / name[2:]
    file.write_bytes(body)
    try:
        with patch.dict(os.environ, RDCORE_RUNS=str(folder / "store"), RDCORE_ROOT=str(folder)):
            # Where two files contradict each other, either may be named.
            found, message = outcome(lambda *_: read(run), file, run.folder / "chosen.json")
    finally:
        file.write_bytes(valid[name])
    return message is None


def measured(written: object, read: object) -> bool:
    """Whether a finite number, or a list of them, was read as it was written; null as NaN."""
    if isinstance(written, list):
        return isinstance(read, list) and all(map(measured, written, read))
    if written is None:
        return read is None or math.isnan(read)
    return type(written) in FINITE and math.isfinite(written) and float(read) == written


def everything(run: Run) -> None:
    """All that a record says, against a plain reading of its files."""

    def plain(name: str):
        return json.loads((run.folder / name).read_text(encoding="utf-8"))

    d = run.description
    assert repr(d) == repr(plain("description.json")) and d["stage"] in ("V", "F", "L") and type(d["seed"]) is int
    assert repr(run.environment) == repr(plain("environment.json"))
    for name, found in (("history.json", run.history), ("metrics.json", run.metrics)):
        entries = plain(name)
        epochs = [entry["epoch"] for entry in entries]
        assert epochs == sorted(set(epochs)) == found.index.tolist() and all(type(e) is int and e > 0 for e in epochs)
        for entry, (_, row) in zip(entries, found.iterrows(), strict=True):
            assert entry.keys() == {"epoch", *row.index}
            for field, value in entry.items():
                assert field == "epoch" or measured(value, row[field]), (field, value)
    chooses = "H@5-validation" if d["stage"] == "L" else "MAP"
    assert run.metrics[chooses].between(0, 1).all()
    assert type(run.epoch) is int and run.epoch in run.metrics.index
    for name, found in (("agreement.json", run.agreement), ("chosen.json", run.chosen)):
        assert found is None or all(measured(value, found[field]) for field, value in plain(name).items())
    groups = recorded(run)
    assert len({len(groups[name]) for name in ("least", "most", "items", "interactions", "held_out", "found", "recall")}) == 1


def check_record(folder: Path, content: bytes) -> bool:
    return in_the_store(folder, content, everything)


def check_users(folder: Path, content: bytes) -> bool:
    """Metrics of single users: numbers and nothing else, of everybody and of the columns that are asked for."""

    def look(run: Run) -> None:
        frame = run.per_user()
        assert {"F": {"AP", "P@10", "nDCG@10"}, "L": {"rank"}}[run.description["stage"]] <= set(frame)
        assert frame.map(lambda value: type(value) is float and not math.isinf(value)).all(axis=None)
        assert len(frame) == DATA.n_users

    return in_the_store(folder, content, look)


def check_commands(folder: Path, content: bytes) -> bool:
    """`rdcore runs list`, show and compare: what they print is text that a terminal can show, or the file is named."""

    def look(run: Run) -> None:
        said = [run_tables.listing(), run_tables.show(run.key), run_tables.compare(STUDENT.key, ALONE.key)]
        assert all(line.isprintable() for text in said for line in text.split("\n"))

    return in_the_store(folder, content, look)


# ------------------------------------------------------------------------------------------------------- weights, checkpoints


def check_weights(folder: Path, content: bytes) -> bool:
    file = folder / "weights" / STUDENT.key / "weights-001.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    found, message = outcome(lambda _: Run(file.parent).model(STUDENT, DATA, 1), file)
    if message is None:
        wanted = MODEL.build(DATA.n_users, DATA.n_items).state_dict()
        stored = load_file(file)
        assert {name: (value.shape, value.dtype) for name, value in stored.items()} == {
            name: (value.shape, value.dtype) for name, value in wanted.items()
        }
    return message is None


@functools.cache
def checkpoint(folder: Path) -> bytes:
    """As a run leaves it that was stopped behind its first epoch."""
    write = checkpoints.write_whole

    def stop(path: Path, content: Callable) -> None:
        write(path, content)
        if path.name == "checkpoint.pt":
            raise KeyboardInterrupt

    with patch.dict(os.environ, RDCORE_RUNS=str(folder)), patch.object(checkpoints, "write_whole", stop):
        try:
            runs.load_or_train(STUDENT, DATA)
        except KeyboardInterrupt:
            pass
    return (folder / STUDENT.key / "checkpoint.pt").read_bytes()


def check_checkpoint(folder: Path, content: bytes) -> bool:
    """A run goes on to the numbers of one that never stopped, or names the file. The list of runs reads it too."""
    run = Run(folder / "half" / STUDENT.key)
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    file = run.folder / "checkpoint.pt"
    file.write_bytes(content)
    (run.folder / "description.json").write_bytes(valid_files(folder / "store")["F/description.json"])
    with patch.dict(os.environ, RDCORE_RUNS=str(folder / "half")), patch.object(runner, "commit", lambda: "0000000"):
        run_tables.listing()
        _, message = outcome(lambda _: runs.load_or_train(STUDENT, DATA), file)
    if message is None:
        undisturbed = Run(folder / "store" / STUDENT.key)
        wanted = undisturbed.model(STUDENT, DATA).state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in run.model(STUDENT, DATA).state_dict().items())
        everything(run)
    return message is None


@functools.cache
def instances():
    """What a student of MODEL is trained on, and an untrained teacher."""
    torch.manual_seed(1)
    return training_data(DATA, 0, "cpu"), MODEL.build(DATA.n_users, DATA.n_items)


@functools.cache
def list_file(folder: Path) -> Path:
    data, teacher = instances()
    teacher_lists(teacher, data, 4, "target", cache=ListCache(folder))
    (file,) = folder.glob("*.safetensors")
    return file


def check_lists(folder: Path, content: bytes) -> bool:
    data, teacher = instances()
    file = list_file(folder / "lists")
    file.write_bytes(content)
    found, message = outcome(lambda _: teacher_lists(teacher, data, 4, "target", cache=ListCache(folder / "lists")).items, file)
    if message is None:
        assert found.dtype == torch.int32 and found.shape == (len(data.target), 4)
        assert found.min() >= 0 and found.max() < DATA.n_items
    return message is None


# -------------------------------------------------------------------------------------- choices, measurements, other tables

CHOICES = {
    "T": {"epoch": 10, "at_border": False, "MAP": {"5": 0.25, "10": 0.5, "15": 0.125}, "runs": ["0" * 16]},
    "S": {"epoch": 10, "at_border": True, "MAP": {"5": 0.25, "10": 0.5}, "runs": ["1" * 16, "2" * 16]},
}


def below(folder: Path, name: str, content: bytes, read: Callable) -> tuple[object, str | None]:
    """What ``read`` makes of a file at its place in a project."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with patch.dict(os.environ, RDCORE_ROOT=str(folder)):
        return outcome(lambda _: read(), file)


def check_selection(folder: Path, content: bytes) -> bool:
    found, message = below(folder, "data/replicated/selection.json", content, selection.read_selection)
    if message is None:
        plain = json.loads(content)
        assert found.keys() == plain.keys()
        for role, choice in found.items():
            assert choice.means == {int(epoch): value for epoch, value in plain[role]["MAP"].items()}
            assert type(choice.epoch) is int and choice.epoch in choice.means and all(map(math.isfinite, choice.means.values()))
            assert choice.at_border == plain[role]["at_border"] and all(type(key) is str for key in choice.keys)
            assert choice.means[choice.epoch] == max(choice.means.values()), "not the best one"
    return message is None


@functools.cache
def measurement() -> bytes:
    return (Path(__file__).parents[1] / "data/replicated/efficiency.json").read_bytes()


@functools.cache
def table_of_the_paper() -> bytes:
    return (Path(__file__).parents[1] / "data/reported/rd_table3.csv").read_bytes()


def check_measurement(folder: Path, content: bytes) -> bool:
    def look() -> str:
        record = efficiency.committed()
        said = [record.summary(), record.key, *map(str, (record.ratios(), record.parts(), record.quiet))]
        said += [efficiency.verdict(record, model, device) for model in record.models for device in record.devices]
        return "\n".join([*said, efficiency.side_by_side(efficiency.rd_table3(record)).to_csv()])

    (folder / "data/reported").mkdir(parents=True, exist_ok=True)
    (folder / "data/reported/rd_table3.csv").write_bytes(table_of_the_paper())
    said, message = below(folder, "data/replicated/efficiency.json", content, look)
    if message is None:
        assert all(line.isprintable() for line in said.split("\n"))
    return message is None


MANIFEST = {"a.csv": {"runs": ["0" * 16], "source": "03"}, "tables/b.csv": {"runs": [], "source": "rdcore readme"}}


def check_manifest(folder: Path, content: bytes) -> bool:
    def note() -> dict:
        manifest.write(folder / "figures/tables/new.csv", Path.touch, [], "test")
        return json.loads((folder / "figures/MANIFEST.json").read_text())

    found, message = below(folder, "figures/MANIFEST.json", content, note)
    if message is None:
        new = {"tables/new.csv": {"runs": [], "source": "test"}}
        assert found == json.loads(content) | new and all({"runs", "source"} <= entry.keys() for entry in found.values())
    else:
        assert (folder / "figures/MANIFEST.json").read_bytes() == content
    return message is None


def check_reported(folder: Path, content: bytes) -> bool:
    found, message = below(folder, "data/reported/rd_table3.csv", content, lambda: reported("rd_table3"))
    if message is None:
        assert {"dataset", "model", "role", "value"} <= set(found) and found["value"].map(math.isfinite).all()
        assert not found.isna().any(axis=None) and found.index.tolist() == list(range(len(found)))
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
        assert len(lines) == 1 + len(found) and len(found), "rows lost"
    return message is None


# ------------------------------------------------------------------------------------------------------ what a run is asked for

SETTINGS = [
    CaserSettings(dim=4), FossilSettings(dim=4), BPRMFSettings(dim=4), NeuMFSettings(dim=4), ItemCFSettings(),
    PopularitySettings(), Training(), RDSettings(), RankDistilSettings(), DESettings(), RRDSettings(), CDSettings(),
    Position(), Discrepancy(), Hybrid(), Reciprocal(), Equal(),
    BothSettings(first=DESettings(), second=RRDSettings()), *examples().values(),
]  # fmt: skip
FIELDS = [(one, field.name) for one in SETTINGS for field in dataclasses.fields(one)]
ACTIONS = dict.fromkeys(("first", "second", "experts", "users"), "build")
ACTIONS |= dict.fromkeys(("weights", "position", "discrepancy"), "needs_rank")


def check_setting(one: object, name: str, value: object) -> bool:
    """A value is refused by name, or it is of the kind that the field has, and the description can be hashed."""
    try:
        made = dataclasses.replace(one, **{name: value})
    except ValueError as error:
        assert type(error) is ValueError and name in str(error) and len(str(error)) < 3000, repr(error)
        return False
    default, kept = getattr(one, name), getattr(made, name)
    kind = str(next(field.type for field in dataclasses.fields(one) if field.name == name))
    if kept is None:
        assert "None" in kind, (name, value)
    elif isinstance(default, bool | str):
        assert type(kept) is type(default), (name, value)
    elif isinstance(default, int | float):
        allowed = (int, float) if isinstance(default, float) else int
        assert isinstance(kept, allowed) and not isinstance(kept, bool), (name, value)
        assert isinstance(kept, int) or math.isfinite(kept), (name, value)
    elif default is None:
        assert type(kept) is int or (type(kept) is float and "float" in kind), (name, value)
    else:
        assert hasattr(kept, ACTIONS[name]), (name, value)
    return True


def check_settings(folder: Path, content: bytes) -> bool:
    """[number of a field, value]."""
    try:
        place, value = json.loads(content)
        one, name = FIELDS[int(place) % len(FIELDS)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return all([check_setting(one, name, value), *([check_setting(one, name, tuple(value))] if type(value) is list else [])])


EXPERIMENT = Experiment(
    dataset="tiny", data_hash=STUDENT.data_hash, stage="F", role="RD", model=MODEL, distillation=RDSettings(), teacher=STUDENT,
    teacher_epoch=2,
)  # fmt: skip
EXPERIMENT_FIELDS = [field.name for field in dataclasses.fields(Experiment)]
KNOWN = {type(one).__name__: one for one in SETTINGS} | {"student": STUDENT, "alone": ALONE}


def check_description(changes: dict) -> bool:
    """Refused with the name of a field, or a run with a key that its description gives again."""
    try:
        made = dataclasses.replace(EXPERIMENT, **changes)
        key = made.key
    except ValueError as error:
        message = str(error)
        assert type(error) is ValueError and any(name in message for name in EXPERIMENT_FIELDS), repr(error)
        assert len(message) < 3000
        return False
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert json.loads(json.dumps(made.description, allow_nan=False)) == made.description
    for name in ("dataset", "role"):
        assert getattr(made, name).isprintable() and "/" not in getattr(made, name), name
    assert re.fullmatch("[0-9a-f]{64}", made.data_hash) and made.stage in ("V", "F", "L") and type(made.seed) is int
    assert type(made.training) is Training and (made.teacher is None or type(made.teacher) is Experiment)
    assert hasattr(made.model, "build") or hasattr(made.model, "fit")
    assert made.distillation is None or hasattr(made.distillation, "build")
    assert all(type(epoch) is int for epoch in made.evaluated_epochs) and made.label
    return True


def check_experiment(folder: Path, content: bytes) -> bool:
    """{field: value, ...}; a name of KNOWN is what it names."""
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(given, dict):
        return False
    changes = {name: value for name, value in given.items() if name in EXPERIMENT_FIELDS}
    for name in ("model", "training", "distillation", "teacher"):
        if isinstance(changes.get(name), str):
            changes[name] = KNOWN.get(changes[name], changes[name])
    return check_description(changes)


DECLARED = {"profile": ("str", "'small'"), "seed": ("int", "1"), "rate": ("float", "0.5"), "on": ("bool", "False")}
PARAMETERS = {name: {"inferred_type_name": kind, "default": default} for name, (kind, default) in DECLARED.items()}


def check_parameters(folder: Path, content: bytes) -> bool:
    """{parameter of a notebook: value}."""
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(given, dict) and check_given(given)


def check_given(given: dict) -> bool:
    """Parameters are refused with the notebook's name, or become what it declares them to be."""
    try:
        found = checked("notebook", PARAMETERS, given)
    except ValueError as error:
        assert type(error) is ValueError and "notebook" in str(error) and len(str(error)) < 3000, repr(error)
        return False
    for name, value in found.items():
        assert type(value).__name__ == PARAMETERS[name]["inferred_type_name"]
        assert not isinstance(value, float) or math.isfinite(value)
    return True
