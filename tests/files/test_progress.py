"""Where a notebook is, and what a terminal or a file gets to see of it."""

import io
import os
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tqdm import tqdm

from rdcore.files import progress
from rdcore.files.progress import Step, View, step

HERE = Path("03_any.ipynb")


def written(folder: Path, done: int, name: str = HERE.name) -> Path:
    """The output whose draft has ``done`` cells behind it and is in the next one, as papermill marks them."""
    cells = [
        new_markdown_cell("# 03 A title\n\nWords, and a # that is none."),
        new_code_cell("# no heading"),
        new_markdown_cell("## One part\n\n### Its beginning"),
        new_code_cell("2"),
    ]
    for place, cell in enumerate(cells):
        cell.metadata["papermill"] = {"status": ["completed", "running", "pending"][(place >= done) + (place > done)]}
    nbformat.write(new_notebook(cells=cells), progress.draft(folder / name))
    return folder / name


def test_a_step_knows_its_cell_its_heading_and_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert step(written(tmp_path, 1)) == Step(cell=2, of=4, heading="03 A title")
    output = written(tmp_path, 3)
    progress.tell("nobody listens")
    monkeypatch.setenv(progress.FILE, str(progress.told(output)))
    progress.tell("S, epoch 1 of 6")
    progress.tell("S, epoch 2 of 6")
    assert step(output) == Step(cell=4, of=4, heading="Its beginning", told="S, epoch 2 of 6")
    monkeypatch.setenv(progress.FILE, str(tmp_path / "no folder" / "file"))
    progress.tell("and this is no failure")


def test_what_is_not_there_or_half_written_is_no_step(tmp_path: Path):
    assert step(tmp_path / HERE) is None
    draft = progress.draft(written(tmp_path, 1))
    draft.write_text(draft.read_text()[:100])
    assert step(tmp_path / HERE) is None
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), draft)
    assert step(tmp_path / HERE) == Step(cell=1, of=1), "papermill has not begun: nothing is marked, nor above it"


def test_a_terminal_sees_every_notebook_that_runs_and_keeps_the_lines_of_those_that_ended(tmp_path: Path):
    shown = View(live=True, file=io.StringIO())
    both = [written(tmp_path, 1), written(tmp_path, 3, "04_two.ipynb")]
    progress.told(both[1]).write_text("S, epoch 2 of 6")
    shown.look([*both, tmp_path / "05_waits.ipynb"])
    drawn = shown.file.getvalue()
    assert "03_any" in drawn and "cell 2 of 4 [00:00], 03 A title" in drawn and "05" not in drawn
    assert "04_two" in drawn and "cell 4 of 4 [00:00], S, epoch 2 of 6" in drawn
    shown.end("03_any", "done after 5 s (1 of 2)")
    assert list(shown.bars) == ["04_two"] and "03_any: done after 5 s (1 of 2)\n" in shown.file.getvalue()
    shown.close()
    assert not shown.bars


def test_a_file_gets_two_lines_a_notebook_and_nothing_is_redrawn(tmp_path: Path):
    shown = View(live=False, file=io.StringIO())
    for done in range(4):
        shown.look([written(tmp_path, done)])
    shown.end("03_any", "done after 5 s (1 of 1)")
    shown.close()
    assert shown.file.getvalue() == "03_any: started\n03_any: done after 5 s (1 of 1)\n"


@pytest.mark.parametrize(
    ("terminal", "disabled", "live"), [(True, "", True), (True, "0", True), (True, "1", False), (False, "0", False)]
)
def test_it_is_live_on_a_terminal_unless_told_otherwise(terminal, disabled, live, monkeypatch: pytest.MonkeyPatch):
    output = io.StringIO()
    output.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", output)
    monkeypatch.setenv("TQDM_DISABLE", disabled)
    assert progress.view().live == live


def test_what_workers_tell_stands_behind_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.FILE, raising=False)
    written = io.StringIO()
    with tqdm(total=2, desc="runs", file=written, disable=False) as bar, progress.behind(bar, tmp_path, every=0.01):
        progress.tell("T, epoch 3 of 20")
        for _ in range(1_000):
            if "T, epoch 3 of 20" in written.getvalue():
                break
            time.sleep(0.01)
    assert "runs:   0%" in written.getvalue() and "T, epoch 3 of 20" in written.getvalue()
    assert progress.FILE not in os.environ and list(tmp_path.iterdir()) == []


def test_a_bar_that_is_off_and_one_in_a_notebooks_view_leave_what_is_told_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(progress.FILE, raising=False)
    with tqdm(disable=True) as bar, progress.behind(bar, tmp_path):
        assert progress.FILE not in os.environ
    monkeypatch.setenv(progress.FILE, str(tmp_path / "view"))
    with tqdm(disable=False, file=io.StringIO()) as bar, progress.behind(bar, tmp_path):
        progress.tell("for the view")
        assert "for the view" not in bar.fp.getvalue()
    assert (tmp_path / "view").read_text() == "for the view" and os.environ[progress.FILE] == str(tmp_path / "view")
