"""The runner on tiny notebooks that pass, fail, or ask for nonsense; the guard on every fault; then the real notebooks."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest

from studies.notebooks import batch as notebooks
from studies.notebooks import pairing

Add = Callable[..., Path]
REAL = notebooks.files()


# ------------------------------------------------------------------------------------------------------------------ runner


@pytest.mark.slow
def test_a_failure_keeps_its_partial_output_and_lets_the_others_run(add_notebook: Add, project: Path, capsys) -> None:
    add_notebook("01_bad", "# %%\nraise RuntimeError('out of tea')", "# %%\nprint('never')")
    add_notebook("02_good")
    assert notebooks.reproduce("smoke") == 1
    said = capsys.readouterr().out
    lines = said.split("\n\n")[0].splitlines()
    assert [re.sub(r"\d+ s", "_ s", line) for line in lines] == [
        "profile smoke: 2 notebooks", "01_bad: started", "01_bad: FAILED after _ s (1 of 2)", "02_good: started",
        "02_good: done after _ s (2 of 2)",
    ]  # fmt: skip
    assert "out of tea" in said.split("01_bad failed:")[1], "the summary tells the error"
    assert "build/notebooks/smoke/01_bad.ipynb" in said, "and where to look"
    bad = nbformat.read(project / "build/notebooks/smoke/01_bad.ipynb", as_version=4)
    texts = [output.get("text", "") for cell in bad.cells for output in cell.get("outputs", [])]
    assert "smoke 1 0.5 a False\n" in texts and "never\n" not in texts
    good = nbformat.read(project / "build/notebooks/smoke/02_good.ipynb", as_version=4)
    assert all(cell.execution_count for cell in good.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_two_at_a_time_with_parameters_recompute_and_one_thread_each(add_notebook: Add, project: Path, capfd) -> None:
    for name in ("01_one", "02_two"):
        add_notebook(name, "# %%\nprint(os.environ['OMP_NUM_THREADS'], os.path.basename(os.getcwd()), os.sys.executable)")
    given = {"seed": np.int64(7), "rate": 2, "tag": "0012"}
    assert notebooks.reproduce("small", "01,02", jobs=2, recompute=True, parameters=given) == 0
    assert capfd.readouterr().out.count(" ok ") == 2
    for name in ("01_one", "02_two"):
        text = (project / f"build/notebooks/small/{name}.ipynb").read_text()
        assert "small 7 2.0 0012 True" in text
        assert f"1 notebooks {notebooks.sys.executable}" in text, "one thread, in notebooks/, in this very environment"


@pytest.mark.slow
def test_an_exit_in_the_middle_is_a_failure(add_notebook: Add) -> None:
    add_notebook("01_quits", "# %%\nraise SystemExit(0)", "# %%\nprint('the result')")
    (outcome,) = notebooks.run("smoke")
    assert not outcome.ok and "did not run" in outcome.error


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_that_is_said(add_notebook: Add, project: Path, capfd) -> None:
    add_notebook("01_kills", "# %%\nimport signal\n\nos.kill(os.getppid(), signal.SIGKILL)")
    assert notebooks.reproduce("smoke", jobs=2) == 1
    said = capfd.readouterr().out.split("01_kills failed:")[1].strip()
    assert said == "a process that ran notebooks was killed (memory?): run this one again, or fewer at a time"
    assert [path.name for path in (project / "build/notebooks/smoke").iterdir()] == ["01_kills.partial.ipynb"]


@pytest.mark.slow
def test_an_interrupt_stops_those_that_run_starts_no_other_and_leaves_no_file(add_notebook: Add, project: Path) -> None:
    for name in ("01_one", "02_two", "03_three", "04_four"):
        add_notebook(name, "# %%\nimport time\n\nopen(f'{os.getpid()}.kernel', 'w').close()\ntime.sleep(600)")
    command = [sys.executable, "-m", "studies", "reproduce", "--profile", "smoke", "--jobs", "2"]
    # As from a terminal: a process that a shell has put into the background passes on that it ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        while len(kernels := list((project / "notebooks").glob("*.kernel"))) < 2:
            assert started.poll() is None, started.communicate()
            time.sleep(0.1)
        started.send_signal(signal.SIGINT)
        said, errors = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130 and errors.endswith("rdcore reproduce: interrupted; what is trained so far is kept\n")
    assert "Traceback" not in errors and "03_three" not in said
    assert list((project / "build/notebooks/smoke").iterdir()) == []
    for kernel in kernels:
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel.stem), 0)


@pytest.mark.parametrize(("failures", "said"), [(2, ""), (3, "died before replying"), (1, "a cell's own error")])
def test_a_kernel_that_does_not_come_up_is_tried_again(
    add_notebook: Add, project: Path, monkeypatch: pytest.MonkeyPatch, failures: int, said: str
) -> None:
    source, output, calls = add_notebook("01_ports", "# %%\nprint(1)"), project / "build" / "01_ports.ipynb", []

    def execute(path, out, values, **_):
        calls.append(path)
        if len(calls) <= failures:
            raise RuntimeError(said or "Kernel died before replying to kernel_info")
        done = notebooks.read(Path(path))
        for cell in done.cells:
            cell["execution_count"] = 1
        return done

    monkeypatch.setattr("papermill.execute_notebook", execute)
    if said:
        with pytest.raises(RuntimeError, match=said):
            notebooks.execute(source, output)
    else:
        notebooks.execute(source, output)
    assert len(calls) == (1 if "own" in said else 3) and output.exists()


@pytest.mark.slow
def test_a_cell_that_takes_too_long_is_stopped(add_notebook: Add, project: Path) -> None:
    source = add_notebook("01_slow", "# %%\nimport time\ntime.sleep(60)")
    with pytest.raises(Exception, match="(?i)time"):
        notebooks.execute(source, project / "build" / "odd {name}.ipynb", timeout=1)
    assert (project / "build" / "odd {name}.ipynb").exists(), "kept, and braces in a path are only braces"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sed": 2}, r"no parameter 'sed'; it has: profile, recompute, seed, rate, tag"),
        ({"seed": 2.5}, r"'seed' must be a whole number \(int\), got 2.5"),
        ({"seed": "two"}, r"'seed' must be a whole number \(int\), got 'two'"),
        ({"seed": True}, r"'seed' must be a whole number \(int\), got True"),
        ({"rate": None}, r"'rate' must be a number \(float\), got None"),
        ({"recompute": "maybe"}, r"'recompute' must be true or false \(bool\), got 'maybe'"),
        ({"tag": Path("x")}, r"'tag' must be a text \(str\), got"),
        ({"profile": "small"}, r"the profile is no parameter here: it is given by --profile"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(add_notebook: Add, project: Path, given: dict, said: str) -> None:
    add_notebook("01_any")
    with pytest.raises(ValueError, match=said):
        notebooks.reproduce("smoke", parameters=given)
    assert not (project / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"profile": "huge"}, "no profile 'huge'; there are: smoke, small, paper"),
        ({"profile": "smoke", "notebooks": "01,07"}, "no notebook 07; there are: 01_any"),
        ({"profile": "smoke", "jobs": 0}, "jobs must be at least 1"),
    ],
)
def test_bad_requests_are_refused(add_notebook: Add, arguments: dict, said: str) -> None:
    add_notebook("01_any")
    with pytest.raises(ValueError, match=said):
        notebooks.reproduce(**arguments)


def test_a_parameter_that_some_have_asks_for_their_names(add_notebook: Add, project: Path) -> None:
    add_notebook("01_any")
    add_notebook("02_other", cells=['# %% tags=["parameters"]\nprofile: str = "small"  # smoke, small or paper'])
    with pytest.raises(ValueError, match="not every notebook has a parameter 'seed': choose among --notebooks 01$"):
        notebooks.reproduce("smoke", parameters={"seed": 2})
    with pytest.raises(ValueError, match="no notebook has a parameter 'sed'; there are: profile, recompute, seed, rate, tag$"):
        notebooks.reproduce("smoke", parameters={"sed": 2})
    assert not (project / "build").exists()


def test_parameters_take_the_declared_type_and_defaults_are_not_injected(add_notebook: Add) -> None:
    known = pairing.declared(pairing.read(add_notebook("01_any")))
    given = {"profile": "small", "seed": "3", "rate": "1e-3", "tag": "0012", "recompute": "True"}
    assert notebooks.checked("01_any", known, given) == {"seed": 3, "rate": 0.001, "tag": "0012", "recompute": True}
    assert type(notebooks.checked("01_any", known, {"seed": np.int64(3)})["seed"]) is int


# ----------------------------------------------------------------------------------------------------------------- pairing


@pytest.mark.slow
def test_write_back_gives_a_guarded_pair_and_a_second_time_the_same_bytes(add_notebook: Add) -> None:
    source = add_notebook("01_any", "# %%\nprint('a')\nprint('b', flush=True)\nprint('c')")
    assert notebooks.write_back() == 0
    pair = source.with_suffix(".ipynb")
    assert notebooks.guard(pair) == []
    first = pair.read_bytes()
    assert b"papermill" not in first and b"timestamp" not in first
    assert notebooks.write_back() == 0
    assert pair.read_bytes() == first
    assert notebooks.sync() == [], "and there is nothing to bring up to date"


@pytest.mark.slow
def test_write_back_refuses_what_the_guard_refuses(add_notebook: Add, capsys) -> None:
    source = add_notebook("01_any", "# %%\nprint(os.path.join('/', 'home', 'someone'))")
    assert notebooks.write_back() == 1
    assert "printed an absolute path: /home/" in capsys.readouterr().err
    assert not source.with_suffix(".ipynb").exists()


def test_sync_takes_the_source_and_keeps_ids_and_outputs(add_notebook: Add, project: Path) -> None:
    source = add_notebook("01_any")
    (pair,) = notebooks.sync()
    before = nbformat.read(pair, as_version=4)
    before.cells[3].outputs = [nbformat.v4.new_output("stream", text="2\n")]
    pairing.write(before, pair)
    source.write_text(source.read_text().replace("A small notebook", "A renamed notebook"))
    assert notebooks.sync() == [pair]
    after = nbformat.read(pair, as_version=4)
    assert after.cells[0].source == "# A renamed notebook"
    assert [c.id for c in after.cells[1:]] == [c.id for c in before.cells[1:]]
    assert after.cells[3].outputs[0].text == "2\n"
    assert notebooks.sync() == [], "a second time there is nothing to do"


def test_sync_takes_tags_from_the_source(add_notebook: Add) -> None:
    source = add_notebook("01_any")
    (pair,) = notebooks.sync()
    source.write_text(source.read_text().replace('tags=["nbval-check-output"]', 'tags=["nbval-skip"]'))
    notebooks.sync()
    assert nbformat.read(pair, as_version=4).cells[3].metadata.tags == ["nbval-skip"]


# ------------------------------------------------------------------------------------------------------------------- guard


def _warned(cell) -> None:
    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="x.py:3: FutureWarning: soon gone\n"))


def _failed(cell) -> None:
    cell.outputs.append(nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=["KeyError: 'x'"]))


def _html(cell) -> None:
    cell.outputs.append(nbformat.v4.new_output("display_data", {"text/html": "<b>/work/x</b>", "text/plain": "x"}))


FAULTS = {
    "was not executed": lambda nb: nb.cells[2].update(execution_count=None),
    "ended in an error: KeyError": lambda nb: _failed(nb.cells[2]),
    "printed a warning": lambda nb: _warned(nb.cells[2]),
    "was injected": lambda nb: nb.cells[2].metadata.update(tags=["injected-parameters"]),
    "0 cells are tagged parameters": lambda nb: nb.cells[1].metadata.update(tags=[]),
    "no parameter `profile`": lambda nb: nb.cells[1].update(source="seed: int = 1"),
    "more than typed scalars: seed = 1": lambda nb: nb.cells[1].update(source='profile: str = "small"\nseed = 1'),
    "more than typed scalars: k: list": lambda nb: nb.cells[1].update(source='profile: str = "small"\nk: list = [1]'),
    "papermill cannot read the parameter": lambda nb: nb.cells[1].update(source='profile: str = "small"  # not = paper'),
    "no cell is tagged nbval-check-output": lambda nb: nb.cells[3].metadata.update(tags=[]),
    "names an absolute path: /home/": lambda nb: nb.cells[2].update(source="open('/home/me/x')"),
    "names an absolute path: C:": lambda nb: nb.cells[2].update(source=r"open(r'C:\Users\me')"),
    "printed an absolute path: /work/": lambda nb: _html(nb.cells[2]),
    "its cells differ from 01_any.py": lambda nb: nb.cells[0].update(source="# Other words"),
}


@pytest.fixture
def good(add_notebook: Add) -> Path:
    """A pair in which there is nothing to find."""
    add_notebook("01_any")
    (pair,) = notebooks.sync()
    notebook = nbformat.read(pair, as_version=4)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    pairing.write(notebook, pair)
    assert notebooks.guard(pair) == []
    return pair


@pytest.mark.parametrize("said", FAULTS)
def test_guard_finds(good: Path, said: str) -> None:
    notebook = nbformat.read(good, as_version=4)
    FAULTS[said](notebook)
    pairing.write(notebook, good)
    assert [p for p in notebooks.guard(good) if said in p], notebooks.guard(good)


def test_guard_finds_size_and_missing_halves(good: Path) -> None:
    notebook = nbformat.read(good, as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="x" * 1_600_000)]
    pairing.write(notebook, good)
    assert notebooks.guard(good) == [f"{good.stat().st_size // 1000} kB, more than 1500"]
    good.with_suffix(".py").unlink()
    assert notebooks.files() == [good.with_suffix(".py")]
    assert notebooks.guard(good) == ["unpaired: 01_any.py is missing"]


@pytest.mark.parametrize("text", ["https://example.org/home/x", "a/work/b", "and/or", "data/tmp.csv", "K:\\n", "../work/x"])
def test_guard_lets_harmless_text_pass(text: str) -> None:
    assert not pairing.ABSOLUTE.search(text)


# ------------------------------------------------------------------------------------------------------ the real notebooks


@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_committed_notebook_is_in_order(path: Path) -> None:
    assert notebooks.guard(path) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_notebook_runs_on_smoke(path: Path, tmp_path: Path, shared_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDCORE_RUNS", str(shared_runs))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    committed = path.with_suffix(".ipynb").read_bytes()
    given = {"profile": "smoke"}
    if "jobs" in pairing.declared(pairing.read(path)):  # runs of a second each: worker processes would only cost time
        given["jobs"] = 1
    done = notebooks.execute(path, tmp_path / "out.ipynb", given, timeout=120)
    assert done.metadata.papermill.exception is None
    assert path.with_suffix(".ipynb").read_bytes() == committed


# What a reader may put into the cell "your data" of notebook 10.
TABLES = {
    "whole numbers, a time of another name": """
frame = pd.DataFrame({"user_id": 7 * clicks.users() + 3, "item_id": 5 * clicks.items, "timestamp": clicks.times})
USER, ITEM, TIME = "user_id", "item_id", "timestamp"
""",
    "any text": """
frame = pd.DataFrame({"who": [f"u{u}@x.org" for u in clicks.users()], "what": [f"böok {i}" for i in clicks.items],
                      "t": pd.to_datetime(clicks.times, unit="s")}).sample(frac=1, random_state=0)
USER, ITEM, TIME = "who", "what", "t"
""",
    "no time": """
frame = pd.DataFrame({"a": clicks.users(), "b": [f"{i:05d}" for i in clicks.items]})
USER, ITEM, TIME = "a", "b", None
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TABLES)
def test_notebook_10_works_with_any_table(
    what: str, tmp_path: Path, shared_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDCORE_RUNS", str(shared_runs))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    notebook = pairing.read(next(path for path in REAL if path.stem == "10_your_own"))
    (cell,) = [cell for cell in notebook.cells if "your-data" in cell.metadata.get("tags", [])]
    cell.source = f"from rdcore import datasets\n\nclicks = datasets.load('synthetic')\n{TABLES[what]}"
    copy = tmp_path / "10_mine.ipynb"
    pairing.write(notebook, copy)
    done = notebooks.execute(copy, tmp_path / "out.ipynb", {"profile": "smoke", "epochs": 2}, timeout=300)
    assert done.metadata.papermill.exception is None


def shown(stem: str, question: str) -> str:
    """What a committed notebook answers to a question in one of its sentences."""
    notebook = nbformat.read(notebooks.folder() / f"{stem}.ipynb", as_version=4)
    texts = [output.get("data", {}).get("text/markdown", "") for cell in notebook.cells
             for output in cell.get("outputs", [])]  # fmt: skip
    (answer,) = [text for text in texts if question in text]
    return answer.split(question)[1].strip()


def test_the_small_models_have_learnt_something() -> None:
    """T, S and RD beat popularity, and T beats S, or the default run shows nothing about distillation."""
    assert shown("02_teacher_and_student", "Do both beat popularity on validation?") == "Yes."
    assert shown("03_ranking_distillation", "Do T, S and every distilled student beat popularity?") == "Yes."
    assert shown("03_ranking_distillation", "Is the teacher better than the student alone?") == "Yes."
    assert shown("07_de_rrd", "Do teacher and student beat popularity on the validation items?") == "Yes."
