"""The same numbers again: in another process, after a stop at any epoch, and within a tolerance on another number of threads.

Every distillation and every model that a run can be described with is here; a new one that is not fails the first test.

What the number of threads changes. All random numbers are drawn by one thread, sums over a batch are of fewer numbers than
PyTorch shares among threads (32,768), and its products were the same bits on one and two threads here. What differs is a
function of each number of a large tensor (softplus over users x positives x negatives in RankDistil-P): a thread computes its
part by vector instructions, and the last few numbers of the part, whose place depends on how many parts there are, one by
one, rounded otherwise. A sum of more than 32,768 numbers differs too. So weights differ by roundings, which grow with the
steps, and a metric differs where two items change places that were all but tied. On one number of threads all bits are the
same, whatever it is. The number is recorded with a run, as are the variables that choose it or the instructions.
"""

import hashlib
import json
import os
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_any_method_with_any_model import LARGER, METHODS, STUDENTS, fitted

from rdcore.data import Interactions, stage
from rdcore.datasets import synthetic
from rdcore.distill import RankDistilSettings
from rdcore.eval.metrics import evaluate, mean
from rdcore.models import ItemCFSettings, PopularitySettings
from rdcore.store import checkpoints, runner, runs
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Run
from rdcore.train.loop import Training

COUNTED = {"ItemCF": ItemCFSettings(neighbours=5), "POP": PopularitySettings()}
DATA = synthetic.generate(n_users=14, n_items=40, min_length=8, max_length=14, seed=2)
# Large enough for PyTorch to share what it computes among threads, in one method: of a batch about 50 users x 17 x 59 items.
LARGE = synthetic.generate(n_users=150, n_items=120, min_length=12, max_length=16, seed=3)
PAIRS = [(student, method) for student in STUDENTS for method in (None, *METHODS)]
SOME = [(list(STUDENTS)[place % len(STUDENTS)], method) for place, method in enumerate((None, *METHODS))]


def test_every_method_and_every_model_is_here():
    types = typing.get_type_hints(Experiment)
    wanted = {name: set(typing.get_args(types[name])) - {type(None)} for name in ("model", "distillation")}
    assert {type(one) for one in METHODS.values()} == wanted["distillation"]
    assert {type(one) for one in (*STUDENTS.values(), *COUNTED.values())} == wanted["model"]


# ------------------------------------------------------------------------------------- again, elsewhere, and on more threads


def trained(data: Interactions, student: str, method: str | None, settings=None) -> torch.nn.Module:
    """A student after two epochs with a teacher of its own kind."""
    torch.manual_seed(1)
    teacher = LARGER[student].build(data.n_users, data.n_items)
    for part in teacher.modules():
        if isinstance(part, torch.nn.Embedding):
            torch.nn.init.normal_(part.weight[: data.n_items], std=0.5)
    settings = settings or (METHODS[method] if method else None)
    return fitted(data, student, teacher, settings, epochs=2, rate=0.02)[0]


def everything(threads: int, pairs=PAIRS) -> dict[str, tuple[dict, dict]]:
    """Weights and metrics of students, and of what is counted, on a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        models = {f"{student} {method}": (DATA, trained(DATA, student, method)) for student, method in pairs}
        pairwise = RankDistilSettings(form="P", p=17, m=59)
        models["BPR large"] = LARGE, trained(LARGE, "BPR", "", pairwise)
        models |= {name: (DATA, settings.fit(stage(DATA, "F").fit)) for name, settings in COUNTED.items()}
        return {name: (model.state_dict(), mean(evaluate(model, stage(data, "F")))) for name, (data, model) in models.items()}
    finally:
        torch.set_num_threads(before)


def digests(found: dict[str, tuple[dict, dict]]) -> dict[str, str]:
    """What stands for all bits of the weights and metrics."""
    return {
        name: hashlib.sha256(b"".join(value.numpy().tobytes() for value in weights.values()) + repr(means).encode()).hexdigest()
        for name, (weights, means) in found.items()
    }


def elsewhere(file: str) -> None:
    """In another process: everything on one thread, and each method once on two, twice."""
    numbers = [torch.randn(200_000, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
    found: dict = {"one": everything(1), "sums": []}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found["sums"].append([float(values.sum()) for values in numbers])
    found |= {"two": everything(2, SOME), "two again": everything(2, SOME)}
    torch.save(found, file)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """From a process with another seed of Python's hashes, by which sets and dictionaries could differ in their order.
    Threads that wait sleep there: on a busy machine they would else stand in each other's way."""
    file = tmp_path_factory.mktemp("elsewhere") / "found"
    tests = Path(__file__).parents[1]
    here = [tests / "train", tests / "distill", tests / "models", tests, Path(runs.__file__).parents[2]]
    path = os.pathsep.join(map(str, here))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "5", "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "2"}
    code = f"import test_determinism; test_determinism.elsewhere({str(file)!r})"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return torch.load(file, weights_only=True)


@pytest.mark.slow
def test_another_process_finds_the_same_bits(found):
    here = digests(everything(1))
    assert digests(found["one"]) == here
    assert len(set(here.values())) == len(here), "two methods make one student"


@pytest.mark.slow
def test_two_threads_find_the_same_bits_twice(found):
    assert digests(found["two"]) == digests(found["two again"])


@pytest.mark.slow
def test_another_number_of_threads_changes_roundings_alone(found):
    """Tolerance: weights of about 1 within 1e-5 after two epochs (1.2e-7 were seen), a metric by what one user is worth."""
    assert found["sums"][0] != found["sums"][1], "two threads compute as one: nothing is compared here"
    for name, (weights, means) in found["two"].items():
        others, other_means = found["one"][name]
        for part, value in weights.items():
            gap = float((value - others[part]).abs().max())
            assert gap <= 1e-5, (name, part, gap)
        for metric, value in means.items():
            assert abs(value - other_means[metric]) <= 1 / means["n_users"], (name, metric)


# ----------------------------------------------------------------------------------------------------------- stopped runs


def contents(folder: Path) -> dict:
    """All that a finished run leaves, but where and how long it ran."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".safetensors":
            found[file.name] = {name: value.numpy().tobytes() for name, value in load_file(file).items()}
        elif file.is_file() and file.name != "environment.json":
            found[file.name] = file.read_bytes()
    history = json.loads(found["history.json"])
    return found | {"history.json": [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> Path:
    """A store in which all share the teachers."""
    return tmp_path_factory.mktemp("stopped") / "runs"


STOPPED = [(method, list(STUDENTS)[place % len(STUDENTS)], "FL"[place % 2]) for place, method in enumerate(METHODS)]


@pytest.mark.parametrize(("method", "student", "stage_name"), STOPPED)
def test_a_run_that_was_stopped_ends_in_the_same_files(method, student, stage_name, teachers, monkeypatch, one_thread):
    monkeypatch.setenv("RDCORE_RUNS", str(teachers))
    monkeypatch.setattr(runner, "commit", lambda: "0000000")
    teacher = Experiment(
        dataset="tiny", data_hash=DATA.sha256(), stage=stage_name, role="T", model=LARGER[student], evaluate_every=2,
        training=Training(epochs=3, batch_size=64, learning_rate=0.02),
    )  # fmt: skip
    run = replace(
        teacher, role=method, model=STUDENTS[student], teacher=teacher, teacher_epoch="best" if stage_name == "L" else 3,
        distillation=METHODS[method],
    )  # fmt: skip
    folder, write = teachers / run.key, checkpoints.write_whole
    runs.load_or_train(run, DATA)
    whole = contents(folder.rename(teachers / f"whole-{run.key}"))
    left = [1, 2]  # epochs after which it is stopped, by turns

    def stop(path: Path, content) -> None:
        write(path, content)
        if path.name == "checkpoint.pt" and left:
            left.pop()
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write_whole", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            runs.load_or_train(run, DATA)
    assert runs.load_or_train(run, DATA).environment["resumed"] == 2
    assert contents(folder) == whole


# ------------------------------------------------------------------------------------------------------------- on record


def test_threads_and_the_variables_that_choose_instructions_are_on_record(monkeypatch, teachers, one_thread):
    for name in runs.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("RDCORE_SECRET", "x")
    found = runs.environment("cpu", {"seconds": 1.0, "resumed": 0})
    assert found["threads"] == 1 and found["variables"] == {"OMP_NUM_THREADS": "3", "ATEN_CPU_CAPABILITY": "avx2"}
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability() and found["matmul_precision"] == "highest"
    (run, *_) = [Run(file.parent) for file in teachers.glob("*/DONE")]
    assert {"threads", "variables", "instructions", "matmul_precision"} <= run.environment.keys()
