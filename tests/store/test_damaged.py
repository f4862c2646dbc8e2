"""What was once taken from damaged files, or ended in a traceback, one test each: found by harness/fuzz.py.

Each input is a valid file with one change; the message names the file and says what is wrong with it.
"""

import io
import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import bad_records as made
import pandas as pd
import pytest
import torch
from safetensors.torch import load, save

from benchmarks import stages as benchmark
from rdcore.data import DataError, from_frame
from rdcore.datasets import formats
from rdcore.files.whole import write_rows
from rdcore.models import BPRMFSettings
from rdcore.store import runs
from rdcore.store.description import describe
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Run
from studies import cli
from studies.common import selection
from studies.common.reported import reported
from studies.notebooks.batch import checked
from studies.rd import efficiency


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return made.store(tmp_path_factory.mktemp("damaged") / "store")


@pytest.fixture
def changed(store, monkeypatch):
    """Changes a JSON file of a run by a function, returns the run, and puts the file back in the end."""
    monkeypatch.setenv("RDCORE_RUNS", str(store))
    before = {}

    def change(run: str, name: str, how) -> Run:
        folder = store / made.RUNS[run].key
        before[folder / name] = content = (folder / name).read_bytes()
        value = json.loads(content)
        new = how(value)
        (folder / name).write_text(json.dumps(value if new is None else new))
        return Run(folder)

    yield change
    for file, content in before.items():
        file.write_bytes(content)


def put(name: str, value: object, entry: int | None = None):
    """A change: a field of the file, or of one of its entries."""
    return lambda content: (content if entry is None else content[entry]).update({name: value})


@pytest.mark.parametrize(
    ("run", "file", "change", "said"),
    [
        ("F", "description.json", put("seed", 2), "describes run"),
        ("F", "description.json", put("teacher", []), "has a list as teacher, expected text or null"),
        ("F", "description.json", lambda d: d.pop("data_hash") and None, "has no 'data_hash'"),
        ("F", "environment.json", put("seconds", {}), "has a dict as seconds, expected a finite number >= 0"),
        ("F", "environment.json", put("versions", "2"), "has '2' as versions, expected an object"),
        ("F", "history.json", put("loss", "a", 1), "has 'a' as entry 2, loss, expected a finite number"),
        ("F", "history.json", put("epoch", 1, 1), "has epochs that do not follow one another"),
        ("D", "history.json", put("weights", [[1]], 0), "has a list as entry 1, weights"),
        ("D", "history.json", lambda h: h[1].pop("weights") and None, "has other names at epoch 2 than at epoch 1"),
        ("F", "metrics.json", lambda m: m[0].pop("MAP") and None, "has no MAP of epoch 2"),
        ("F", "metrics.json", put("MAP", 1.5, 0), "has 1.5 as MAP of epoch 2, expected a number from 0 to 1"),
        ("F", "metrics.json", put("P@10", math.nan, 0), "is not JSON (NaN is no number)"),
        ("F", "metrics.json", lambda m: [], "holds no epoch"),
        ("L", "metrics.json", put("H@5-validation", None, 0), "has no H@5-validation of epoch 1"),
        ("L", "chosen.json", put("epoch", 77), "has the epoch 77, of which there are no metrics"),
        ("L", "chosen.json", lambda c: c.pop("H@5") and None, "has no H@5 of epoch"),
        ("D", "agreement.json", put("overlap@10", "x"), "has 'x' as overlap@10, expected a finite number or null"),
        ("F", "groups.json", put("recall", [0.5]), "has lists of different lengths"),
        ("F", "groups.json", lambda g: g.pop("recall") and None, "has no 'recall'"),
    ],
)
def test_a_damaged_record_is_named(changed, run, file, change, said):
    found = changed(run, file, change)
    with pytest.raises(ValueError) as caught:
        made.everything(found)
    assert str(caught.value).startswith(f"{found.folder / file} {said}")
    assert str(caught.value).endswith("a damaged record; restore the file, or delete the folder and train the run again")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"epoch": 1, "MAP": 1.5}], "has 1.5 as MAP of epoch 1, expected a number from 0 to 1"),
        ([{"epoch": 1, "MAP": None}], "has no MAP of epoch 1"),
        ([{"epoch": "1", "MAP": 0.5}], "has '1' as entry 1, epoch"),
        ([{"epoch": 1, "MAP": math.nan}], "has nan as entry 1, MAP"),
        ([{"epoch": 1, "MAP": 0.5, "a\x1b": 0.5}], "has the text"),
        ([], "holds no epoch"),
        (b"no table", "is no whole parquet file"),
    ],
)
def test_a_damaged_table_is_named(store, tmp_path, rows, said):
    """What a published record has in the place of metrics.json."""
    folder = tmp_path / made.STUDENT.key
    folder.mkdir()
    (folder / "description.json").write_bytes((store / folder.name / "description.json").read_bytes())
    file = folder / "metrics.parquet"
    file.write_bytes(rows) if isinstance(rows, bytes) else write_rows(file, rows)
    with pytest.raises(ValueError) as caught:
        runs.Record(folder).metrics  # noqa: B018
    assert str(caught.value).startswith(f"{file} {said}")


def test_what_was_chosen_is_read_without_the_metrics_of_all_epochs(changed):
    """Plans ask hundreds of trials for it; whoever uses the epoch is still told that there is no such one."""
    run = changed("L", "metrics.json", lambda m: [])
    assert 0 <= run.chosen["H@5"] <= 1
    for use in (lambda run: run.metrics, lambda run: run.epoch, Run.per_user, Run.weights):
        with pytest.raises(ValueError, match="metrics.json holds no epoch"):
            use(Run(run.folder))


@pytest.mark.parametrize("use", [lambda run: run.metrics, lambda run: run.epoch, Run.per_user, Run.weights])
def test_a_chosen_epoch_without_metrics_is_named_by_all_that_use_it(changed, use):
    run = changed("L", "chosen.json", put("epoch", 77))
    with pytest.raises(ValueError, match=f"{run.key}/chosen.json has the epoch 77, of which there are no metrics"):
        use(run)


@pytest.mark.parametrize("action", [["list"], ["show", "KEY"], ["compare", "KEY", "OTHER"]])
@pytest.mark.parametrize("change", [lambda m: m[0].pop("MAP") and None, put("MAP", "x", 0), put("MAP", {}, 0)])
def test_the_commands_say_it_in_one_line(changed, capsys, action, change):
    found = changed("F", "metrics.json", change)
    words = [{"KEY": found.key, "OTHER": made.DISTILLED.key}.get(word, word) for word in action]
    assert cli.main(["runs", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"rdcore runs: {found.folder}/metrics.json has") and said.err.count("\n") == 1


def test_null_is_what_could_not_be_measured(changed):
    run = changed("D", "agreement.json", put("kendall@50", None))
    assert math.isnan(run.agreement["kendall@50"])
    assert changed("D", "agreement.json", put("kendall@50", 0.5)).agreement["kendall@50"] == 0.5
    assert changed("F", "metrics.json", put("P@3", None, 0)).metrics["P@3"].isna().all()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"AP": [0.5]}), "has no column 'P@10'"),
        (pd.DataFrame({"AP": ["x"], "P@10": 0.5, "nDCG@10": 0.5}), "has values of kind"),
        (pd.DataFrame({"AP": [math.inf], "P@10": 0.5, "nDCG@10": 0.5}), "has inf as AP of row 0"),
        (pd.DataFrame({"rank": [0.0], "AP": 0.5, "P@10": 0.5, "nDCG@10": 0.5}), "has 0.0 as rank of row 0"),
    ],
)
def test_metrics_of_users_are_numbers(store, frame, said):
    stream, folder = io.BytesIO(), store / made.STUDENT.key
    frame.to_parquet(stream, index=False)
    file = folder / "per_user-002.parquet"
    before = file.read_bytes()
    file.write_bytes(stream.getvalue())
    try:
        with pytest.raises(ValueError) as caught:
            Run(folder).per_user()
    finally:
        file.write_bytes(before)
    assert str(caught.value).startswith(f"{file} {said}")


def test_weights_of_another_kind_of_number_are_not_converted(store, tmp_path):
    weights = load((store / made.STUDENT.key / "weights-002.safetensors").read_bytes())
    folder = tmp_path / made.STUDENT.key
    folder.mkdir()
    for kind in (torch.float64, torch.int32, torch.bfloat16):
        (folder / "weights-001.safetensors").write_bytes(save({name: value.to(kind) for name, value in weights.items()}))
        with pytest.raises(ValueError, match="weights-001.safetensors does not fit the model .*expected torch.float32"):
            Run(folder).model(made.STUDENT, made.DATA, 1)


# ---------------------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    return made.checkpoint(tmp_path_factory.mktemp("stopped"))


def refusal(content: bytes, folder: Path, monkeypatch) -> str:
    monkeypatch.setenv("RDCORE_RUNS", str(folder))
    file = folder / made.STUDENT.key / "checkpoint.pt"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        runs.load_or_train(made.STUDENT, made.DATA)
    assert str(caught.value).startswith(f"{file} cannot be read (")
    assert str(caught.value).endswith("): delete this file, and the run starts from its first epoch")
    return str(caught.value)


def test_a_checkpoint_with_one_bit_changed_is_refused(checkpoint, tmp_path, monkeypatch):
    """torch writes checksums and does not read them: the run would end in other numbers, and nobody would know."""
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as parts:
        for name in ("data.pkl", "data/0"):
            inside = next(part for part in parts.infolist() if part.filename.endswith(name))
            place = checkpoint.index(parts.read(inside)) + inside.file_size // 2
            damaged = checkpoint[:place] + bytes([checkpoint[place] ^ 1]) + checkpoint[place + 1 :]
            assert "bad checksum" in refusal(damaged, tmp_path, monkeypatch) or name == "data.pkl"


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["state"].pop("history"), "has no 'history'"),
        (lambda c: c["state"].update(epoch=2), "has not the epochs 1 to 2 in its history"),
        (lambda c: c["state"].update(seconds="long"), "has 'long' as seconds"),
        (lambda c: c["state"].update(metrics=[{"epoch": 1, "P@3": 0.5}]), "has no MAP of epoch 1"),
        (lambda c: c.pop("optimizer"), "has no 'optimizer'"),
        (lambda c: c["model"].popitem(), "Error(s) in loading state_dict"),
        (lambda c: c["optimizer"].update(param_groups=[]), "different number of parameter groups"),
        (lambda c: c["optimizer"].pop("state"), "KeyError"),
    ],
)
def test_a_checkpoint_without_what_a_run_needs_is_refused(checkpoint, change, said, tmp_path, monkeypatch):
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    change(content)
    assert said in refusal(saved(content), tmp_path, monkeypatch)


# ------------------------------------------------------------------------------------------------------- teacher's lists


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"lists": torch.zeros(3, 4, dtype=torch.int32)}, "does not hold the lists asked for"),
        ({"lists": None}, "does not hold the lists asked for"),
        ({"lists": torch.int64}, "does not hold the lists asked for"),
        ({"lists": made.DATA.n_items + 1}, f"names items beyond the teacher's {made.DATA.n_items}"),
        ({"lists": -1}, "names items beyond"),
        ({"other": 0}, "does not hold the lists asked for"),
    ],
)
def test_lists_that_are_not_the_teachers_are_named(lists, said, tmp_path):
    data, teacher = made.instances()
    right = made.teacher_lists(teacher, data, 4, "target", cache=made.ListCache(tmp_path)).items.clone()  # the file is mapped
    (file,) = tmp_path.glob("*.safetensors")
    ((name, value),) = lists.items()
    if isinstance(value, int):
        value = torch.full_like(right, value)
    elif isinstance(value, torch.dtype):
        value = right.to(value)
    file.write_bytes(save({name: value} if value is not None else {}))
    with pytest.raises(ValueError) as caught:
        made.teacher_lists(teacher, data, 4, "target", cache=made.ListCache(tmp_path))
    assert str(caught.value).startswith(f"{file} {said}")
    assert str(caught.value).endswith(": delete this file, and the teacher is asked again")
    file.unlink()
    assert torch.equal(made.teacher_lists(teacher, data, 4, "target", cache=made.ListCache(tmp_path)).items, right)


# ------------------------------------------------------------------------------------------ choices, measurements, tables


def edited(content: object, change) -> bytes:
    value = json.loads(json.dumps(content))
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["T"].pop("runs"), "has no 'runs' in T"),
        (lambda c: c["T"]["MAP"].update({"x": 0.1}), "has 'x' as an epoch of T"),
        (lambda c: c["T"]["MAP"].update({"": 0.1}), "has '' as an epoch of T"),
        (lambda c: c["T"]["MAP"].update({"5": "0.1"}), "has '0.1' as T, MAP, 5, expected a number from 0 to 1"),
        (lambda c: c["T"].update(epoch=15), "names for T an epoch 15 that does not follow from its MAP"),
        (lambda c: c["S"].update(at_border=False), "names for S an epoch 10 that does not follow from its MAP"),
        (lambda c: c["T"].update(MAP={}), "names for T an epoch 10"),
        (lambda c: c.update(T=[]), "has a list as T, expected an object"),
    ],
)
def test_a_choice_that_is_none_is_named(change, said, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    file = tmp_path / "data/replicated/selection.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(edited(made.CHOICES, change))
    with pytest.raises(ValueError) as caught:
        selection.read_selection()
    assert str(caught.value).startswith(f"{file} {said}") and str(caught.value).endswith("`rdcore select`")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["measured"][0]["latency_ms"].append(1.0), "has of Caser T on cpu not the 20 rounds"),
        (lambda m: m["measured"][0].update(latency_ms=[1e308] * 20), "has 1e+308 as measured, entry 1, latency_ms, entry 1"),
        (lambda m: m["measured"].pop(), "has T next to Fossil T on cpu, expected T and RD"),
        (lambda m: m["environment"].pop("cpu"), "has no 'cpu' in environment"),
        (lambda m: m.update(load_average=3), "has 3 as load_average, expected a list"),
    ],
)
def test_a_damaged_measurement_is_named(change, said, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    file = tmp_path / "data/replicated/efficiency.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(edited(json.loads(made.measurement()), change))
    with pytest.raises(ValueError) as caught:
        efficiency.committed()
    assert str(caught.value).startswith(f"{file} {said}")


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"a.csv": {"runs": []}}', b'{"a.csv": {"runs": [1], "source": ""}}'])
def test_a_damaged_manifest_is_named_and_left_alone(content, tmp_path):
    assert not made.check_manifest(tmp_path, content)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b",9.32,", b",9.32,1,", ", line 2: 10 fields, expected 9"),
        (b",9.32,", b",", ", line 2: 8 fields, expected 9"),
        (b",9.32,", b",nan,", ", line 2: the value 'nan' is no number"),
        (b",9.32,", b",1_0,", ", line 2: the value '1_0' is no number"),
        (b",value,", b",values,", " has 0 columns called 'value', expected one"),
        (b",device,", b",value,", " has 2 columns called 'value', expected one"),
        (b",device,", b",dev\x0bice,", r" has 1 columns called 'dev\x0bice'"),
        (b",gowalla,", b",go\x1bwalla,", ", line 2: characters that cannot be printed"),
        (b"table,", b"\xfftable,", " is no table ("),
    ],
)
def test_a_damaged_table_of_the_papers_is_named_with_its_line(old, new, said, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    file = tmp_path / "data/reported/rd_table3.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(made.table_of_the_paper().replace(old, new, 1))
    with pytest.raises(ValueError) as caught:
        reported("rd_table3")
    assert str(caught.value).startswith(f"{file}{said}")
    file.write_bytes(made.table_of_the_paper().split(b"\n")[0])
    with pytest.raises(ValueError, match="has no rows"):
        reported("rd_table3")


def test_a_damaged_benchmark_is_named_and_kept(tmp_path):
    file = tmp_path / "benchmark.csv"
    new = pd.DataFrame({"stage": ["teacher epoch"], "device": ["cpu"], "seconds": [1.0]})
    short = b"stage,device\nx\n", "line 2: 1 fields, expected 2"
    for content, said in ((b"stage,seconds\nx,1\n", "has 0 columns called 'device'"), short):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=said) as caught:
            benchmark.write(new, new, file)
        assert str(file) in str(caught.value) and file.read_bytes() == content


# ------------------------------------------------------------------------------------------------------------------ the rest


@pytest.mark.parametrize("kind", ["category", "complex128", object])
def test_labels_without_an_order_are_refused(kind):
    """numpy would sort complex numbers by their parts, where they are a column of their own kind."""
    frame = pd.DataFrame({"user": [0, 0, 1], "item": pd.Series([1, 2, 1j]).astype(kind), "time": [1, 2, 3]})
    with pytest.raises(DataError, match="'mine': the labels in column 'item' have no order .complex"):
        from_frame(frame, name="mine")


def test_a_field_without_end_is_cut_in_the_message(tmp_path):
    for read in (formats.read_triples, formats.read_item_lists):
        (tmp_path / "file").write_text("9" * 5000 + " 1 1\n")
        with pytest.raises(DataError) as caught:
            read(tmp_path / "file")
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": 5}, "dataset must be a text of printable characters"),
        ({"role": "../T"}, "role must be a text of printable characters"),
        ({"data_hash": "0"}, "data_hash must be the 64 hex digits"),
        ({"training": "long"}, "training must be a Training object, got 'long'"),
        ({"teacher": 3, "teacher_epoch": 3, "distillation": made.RDSettings()}, "teacher must be a Teacher object, got 3"),
        ({"model": BPRMFSettings}, "model must be the settings of a model"),
        ({"model": None}, "model must be the settings of a model, got None"),
        ({"distillation": math.nan}, "distillation must be the settings of a distillation, got nan"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_a_run_is_described_by_values_of_the_right_kind(change, said):
    given = {"dataset": "tiny", "data_hash": "0" * 64, "stage": "F", "role": "T", "model": BPRMFSettings(dim=2)} | change
    with pytest.raises(ValueError, match=said):
        describe(Experiment(**given))


def test_an_epoch_of_the_teacher_is_a_whole_number():
    with pytest.raises(ValueError, match="teacher_epoch must be one of .*, got 2.0"):
        made.dataclasses.replace(made.DISTILLED, teacher_epoch=2.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, "nan", "1e999", 10**400, "9" * 5000, True, [1]])
def test_a_parameter_that_is_no_number_is_refused_before_a_kernel_starts(value):
    with pytest.raises(ValueError, match="nb: parameter 'rate' must be a number \\(float\\), got ") as caught:
        checked("nb", made.PARAMETERS, {"rate": value})
    assert len(str(caught.value)) < 300


def piped(action: str) -> tuple[int, str]:
    """What becomes of `rdcore runs list | head -0` when listing is this action."""
    code = f"import sys; from studies import cli; cli.runs_list = lambda _: {action}; sys.exit(cli.main(['runs', 'list']))"
    environment = os.environ | {"PYTHONPATH": str(Path(runs.__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as it:
        it.stdout.close()
        return it.wait(60), it.stderr.read().decode()


def test_a_reader_that_has_seen_enough_is_no_error():
    """Left to Python, it would be said at the very end, when nobody can catch it."""
    assert piped("print('a line') or 0") == (141, "")
    assert piped("print('a line\\n' * 100_000) or 0") == (141, "")
    status, said = piped("open('nowhere/to/be/found')")
    assert status == 2 and said.startswith("rdcore runs: [Errno 2]") and said.count("\n") == 1


def test_another_broken_pipe_is_an_error(capfd, monkeypatch):
    def broken(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "runs_list", broken)
    assert cli.main(["runs", "list"]) == 2
    assert capfd.readouterr().err == "rdcore runs: [Errno 32] Broken pipe\n"
