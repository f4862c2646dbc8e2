"""`rdcore train`, `publish`, `select` and `runs`, with smoke-sized runs in the place of the paper's."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rdcore.models import CaserSettings
from rdcore.store import runs
from rdcore.train.loop import Training
from studies import cli, plans
from studies.common import selection
from studies.common.plan import Plan
from studies.common.profiles import PROFILES, fossil
from studies.flexibility.matrices import MATRICES
from studies.rd.plan import varied


@pytest.fixture
def tiny(project: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """An empty project whose paper profile takes seconds."""
    models = {"T": CaserSettings(dim=4), "S": CaserSettings(dim=2)}
    plan = replace(
        varied(PROFILES["smoke"].rd[0], start_epoch=2), name="paper", models=models,
        training=Training(epochs=2, batch_size=512), evaluate_every=1, seeds={"V": [101], "F": [1]},
    )  # fmt: skip
    plan = replace(plan, sweeps={**plan.sweeps, "start_epochs": (1, 2)})
    monkeypatch.setitem(PROFILES, "paper", replace(PROFILES["paper"], rd=(plan, fossil(plan))))
    monkeypatch.setitem(MATRICES, "paper", ())
    monkeypatch.delenv("RDCORE_RUNS", raising=False)
    return plan


@pytest.mark.parametrize("word", ["train", "publish", "select"])
def test_help_is_there(word: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([word, "--help"])
    assert stopped.value.code == 0 and f"usage: rdcore {word}" in capsys.readouterr().out


@pytest.mark.slow
def test_train_publish_select_and_look(tiny: Plan, project: Path, capsys) -> None:
    teacher, student = tiny.teacher("F", 1), tiny.student("F", 1)
    assert cli.main(["train", "--only", f"{teacher.key},{student.key}", "--publish"]) == 0
    folder = project / "data/replicated"
    assert {path.name for path in folder.iterdir()} == {f"{e.label}-{e.key}" for e in (teacher, student)}
    record = runs.committed(student)
    assert record.metrics.equals(runs.stored(student).metrics) and list(record.per_user()) == ["AP", "P@10", "nDCG@10"]
    assert 0 <= record.agreement["overlap@10"] <= 1, "beside the teacher of its stage and seed"
    assert json.loads((record.folder / "size.json").read_text())["parameters"] > 0
    assert not list(record.folder.glob("weights*"))
    with pytest.raises(ValueError, match="keeps no metrics of single users at epoch 1"):
        record.per_user(1)

    selection.write_selection({"S": selection.Choice(epoch=1, means={1: 0.2, 2: 0.1}, keys=("k",))})
    capsys.readouterr()
    assert cli.main(["publish"]) == 0
    said = capsys.readouterr().out
    assert "published: synthetic-F-S" in said and "not finished here: synthetic-V-T" in said
    assert len(record.per_user(1)) == len(record.per_user(2)), "the chosen epoch has come in"

    file = record.folder / "metrics.parquet"
    published = file.read_bytes()
    table = pd.read_parquet(file)
    table.loc[0, "MAP"] += 0.1
    table.to_parquet(file, index=False)
    assert cli.main(["publish", "--only", student.key]) == 0
    assert f"left as it is: {record.folder.name}" in capsys.readouterr().out
    assert cli.main(["publish", "--only", student.key, "--replace"]) == 0
    assert file.read_bytes() == published

    assert cli.main(["select"]) == 2, "no V run is there"
    assert "rdcore train --only" in capsys.readouterr().err
    assert cli.main(["train", "--only", "synthetic-V-T-d"]) == 0
    assert cli.main(["select"]) == 0
    assert "T: epoch" in capsys.readouterr().out and set(selection.read_selection()) == {"T"}

    assert cli.main(["runs", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split() == ["key", "run", "epochs", "best", "seconds", "finished"]
    assert [line.split()[:3] for line in listed[2:]] == [
        [student.key[:8], student.label, "2"], [teacher.key[:8], teacher.label, "2"],
        [tiny.teacher("V", 101).key[:8], tiny.teacher("V", 101).label, "2"],
    ]  # fmt: skip
    assert cli.main(["runs", "show", student.key[:6]]) == 0
    shown = capsys.readouterr().out
    assert student.key in shown and f"2*     {record.metrics.loc[2, 'MAP']:.4f}" in shown


def test_two_at_a_time_publish_what_has_finished_even_after_a_failure(tiny, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    asked, published = [], []

    def fails(experiments: list, *, jobs: int, device: str, progress: bool) -> None:
        asked.append(([e.role for e in experiments], jobs))
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(runs, "load_or_train_all", fails)
    monkeypatch.setattr(plans, "publish", lambda experiments, choices, replace: published.extend(experiments) or [])
    both = f"{tiny.teacher('F', 1).key},{tiny.student('F', 1).key}"
    assert cli.main(["train", "--only", both, "--jobs", "2", "--publish"]) == 1
    assert capsys.readouterr().err == "rdcore train: the loss is not finite\n"
    assert asked == [(["T", "S"], 2)] and [e.role for e in published] == ["T", "S"]


def test_an_unfinished_run_is_listed_with_what_it_lacks(tiny: Plan, project: Path, capsys) -> None:
    experiment = tiny.student("F", 1)
    folder = project / "runs" / experiment.key
    folder.mkdir(parents=True)
    (folder / "description.json").write_text(json.dumps(experiment.description))
    assert cli.main(["runs", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[-2:] == ["0/2", "unfinished"]
    assert cli.main(["runs", "show", experiment.key]) == 0
    assert "unfinished: metrics come with the end" in capsys.readouterr().out


def test_a_pattern_that_matches_nothing_is_told_what_comes_close(tiny: Plan, capsys) -> None:
    assert cli.main(["train", "--only", "F-T,RD-hybird"]) == 2
    said = capsys.readouterr().err
    assert "'RD-hybird'" in said and "Did you mean RD-hybrid or" in said and "`rdcore train --profile paper --list`" in said
    assert cli.main(["train", "--only", "12345678"]) == 2
    assert "Did you mean" not in (said := capsys.readouterr().err) and f"like {tiny.teacher('F', 1).label};" in said


def test_nonsense_is_refused_before_anything_is_trained(tiny: Plan, project: Path, capsys) -> None:
    assert cli.main(["train", "--profile", "huge"]) == 2
    assert cli.main(["train", "--jobs", "0"]) == 2
    assert cli.main(["train", "--profile", "small", "--publish"]) == 2
    assert "no profile 'huge'" in (said := capsys.readouterr().err) and "--jobs" in said and "--publish" in said
    assert cli.main(["train", "--list"]) == 0
    listed = capsys.readouterr().out
    assert not (project / "runs").exists()
    *_, total, basis = listed.splitlines()
    assert total == f"all: {len(plans.all_runs('paper'))} runs left, unknown" and basis.startswith("Estimates: ")
    assert f"{tiny.teacher('F', 1).key}  2 epochs  (unknown)\n" in listed
    experiment = tiny.student("F", 1)
    record = project / "data/replicated" / f"{experiment.label}-{experiment.key}"
    record.mkdir(parents=True)
    (record / "description.json").write_text(json.dumps(experiment.description))
    assert cli.main(["train", "--list", "--only", experiment.key]) == 0
    assert f"on record  {experiment.label}" in capsys.readouterr().out
    assert listed.count("to do") == len(plans.all_runs("paper")) and "left out for now: no epoch is chosen for T" in listed
    assert not (project / "runs").exists()


def test_a_notebook_with_an_unknown_profile_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="^no profile 'huge'; there are: smoke, small, paper$"):
        PROFILES["huge"]


def test_publishing_never_trains_and_says_the_command_that_does(tiny: Plan, project: Path, capsys) -> None:
    experiment = tiny.student("F", 1)
    with pytest.raises(ValueError, match=f"is not finished in .*`rdcore train --only {experiment.key}`"):
        runs.publish(experiment, [2])
    with pytest.raises(ValueError, match=f"`rdcore train --only {experiment.key} --publish`"):
        runs.committed(experiment)
    assert cli.main(["publish"]) == 2 and "nothing to publish" in capsys.readouterr().err
    assert not (project / "runs").exists() and not (project / "data").exists()
