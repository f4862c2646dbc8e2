"""The command line: what it prints, where, and with which exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdcore import __version__, data, datasets
from studies import cli, plans
from studies.notebooks import batch as notebooks


@pytest.mark.parametrize(
    "words",
    ["", "fetch", "reproduce", "notebooks", "notebooks guard", "runs", "runs show", "export", "distil", "teach"],
)
def test_help_is_there(words: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words.split(), "--help"])
    assert stopped.value.code == 0 and "usage: rdcore" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [[], ["fetch"], ["brew"], ["reproduce", "--jobs", "many"], ["notebooks"], ["runs", "show"], ["export", "key"]],
)
def test_nonsense_is_a_usage_error(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2 and "usage: rdcore" in capsys.readouterr().err


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "studies", "--version"], capture_output=True, text=True)
    assert done.stdout == f"rdcore {__version__}\n"


def test_an_error_is_one_line_on_stderr_and_a_traceback_on_request(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["fetch", "nonesuch"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("rdcore fetch: ") and captured.err.count("\n") == 1
    assert "nonesuch" in captured.err
    monkeypatch.setenv("RDCORE_TRACEBACK", "1")
    with pytest.raises(data.DataError):
        cli.main(["fetch", "nonesuch"])


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(28, "No space left on device"), 2, "rdcore fetch: [Errno 28] No space left on device\n"),
        (ValueError("one reason:\n   - another\n\nremedy"), 2, "rdcore fetch: one reason:\n  - another\n  remedy\n"),
        (ValueError(), 2, "rdcore fetch: ValueError\n"),
        (FloatingPointError("the loss is not finite"), 1, "rdcore fetch: the loss is not finite\n"),
        (KeyboardInterrupt(), 130, "rdcore fetch: interrupted\n"),
    ],
)
def test_errors_are_said_without_a_traceback(error, status: int, said: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "fetch", _raising(error))
    assert cli.main(["fetch", "any"]) == status
    assert capsys.readouterr().err == said


def test_reproduce_passes_on_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(notebooks, "reproduce", lambda *given: asked.append(given) or 1)
    words = ["reproduce", "--profile", "smoke", "--notebooks", "02,03", "--jobs", "2", "--recompute", "-p", "seed", "2"]
    assert cli.main(words) == 1
    assert asked == [("smoke", "02,03", 2, True, {"seed": "2"})]


def test_reproduce_goes_on_without_data_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(datasets, "fetch", _raising(data.DataError("no network and no mirror")))
    monkeypatch.setattr(notebooks, "reproduce", lambda *given: 0)
    assert cli.main(["reproduce"]) == 0
    assert "going on without ml-100k: no network and no mirror" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "names"), [([], {"gowalla", "foursquare-nyc"}), (["--recompute"], {"citeulike"})])
def test_reproduce_brings_first_what_the_notebooks_will_need(words, names, monkeypatch: pytest.MonkeyPatch) -> None:
    """On profile paper: what they read, and to train again also what is otherwise shown from records alone."""
    brought = []
    monkeypatch.setattr(datasets, "fetch", lambda name: brought.append(name) or [])
    monkeypatch.setattr(notebooks, "reproduce", lambda *given: 0)
    assert cli.main(["reproduce", "--profile", "paper", *words]) == 0
    assert names <= set(brought) and ("citeulike" in brought) == bool(words)
    if words:
        assert {run.dataset for run in plans.all_runs("paper")} <= set(brought), "every run can be trained"


def test_reproduce_refuses_an_unknown_profile(capsys) -> None:
    assert cli.main(["reproduce", "--profile", "huge"]) == 2
    assert "there are: smoke, small, paper" in capsys.readouterr().err


def test_notebooks_sync_and_guard(add_notebook, project: Path, capsys) -> None:
    add_notebook("01_any")
    assert cli.main(["notebooks", "guard"]) == 1
    assert capsys.readouterr().out == "01_any: unpaired: 01_any.ipynb is missing\n"
    assert cli.main(["notebooks", "sync"]) == 0
    assert capsys.readouterr().out == "written: 01_any.ipynb\n"
    assert cli.main(["notebooks", "guard"]) == 1
    assert "was not executed" in capsys.readouterr().out


def _raising(error: BaseException):
    def fetch(name: str) -> list[Path]:
        raise error

    return fetch
