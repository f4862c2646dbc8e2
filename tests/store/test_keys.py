"""Keys of planned runs: a record is found by its key, so a key may only change with the numbers behind it."""

import json
from pathlib import Path

import pytest

from rdcore.files import paths
from studies import plans
from studies.common.earlier import as_before

SNAPSHOT = json.loads((Path(__file__).parent / "keys.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def no_local_runs(tmp_path, monkeypatch):
    """Finished trials of this machine choose weights, so they add runs to a plan."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))


def planned(profile: str) -> list[str]:
    """Label and key of every planned run of a profile, in training order."""
    return [f"{run.label} {run.key}" for run in plans.all_runs(profile)]


@pytest.mark.parametrize("profile", SNAPSHOT)
def test_planned_runs_keep_their_labels_and_keys(profile):
    assert planned(profile) == SNAPSHOT[profile]


def test_every_committed_record_is_planned_or_behind_a_choice():
    """The choices on file name the V runs they came from; those stay as long as the choice does."""
    choices = json.loads((paths.replicated() / "selection.json").read_text(encoding="utf-8"))
    chosen_from = {key for choice in choices.values() for key in choice["runs"]}
    names = {run.replace(" ", "-") for run in planned("paper")}
    names |= {f"{before.label}-{before.key}" for before in map(as_before, plans.all_runs("paper"))}  # of Caser
    committed = {folder.parent.name for folder in paths.replicated().glob("*/description.json")}
    assert {name for name in committed - names if name.rsplit("-", 1)[-1] not in chosen_from} == set()
