"""Records of Caser from before its revision 2, which changed the random stream of its dropout.

What is compared in one table was made at one revision. So the runs of a protocol are read at
revision 1 until each of them that is on record there is on record at revision 2 too. Delete this
file when all are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace

from rdcore.files import paths
from rdcore.models import CaserSettings
from rdcore.models.caser import Caser
from rdcore.store import runs
from rdcore.store.experiment import Experiment

Protocol = tuple[str, str, bool]


class EarlierCaserSettings(CaserSettings):
    """Describes a run of Caser at revision 1; nothing can be trained with it."""

    revision = 1
    record_name = "CaserSettings"

    def build(self, n_users: int, n_items: int) -> Caser:
        raise ValueError("revision 1 of Caser is on record only: train the run at its revision 2")


def as_before(run: Experiment) -> Experiment:
    """The same run, and its teacher, at Caser's revision 1."""
    if run.teacher is not None:
        run = replace(run, teacher=as_before(run.teacher))
    if type(run.model) is CaserSettings:
        values = {field.name: getattr(run.model, field.name) for field in fields(run.model)}
        run = replace(run, model=EarlierCaserSettings(**values))
    return run


def protocol(description: dict) -> Protocol:
    """Data set, stage, and whether the run and its teacher are looked at after 50 epochs: the other
    runs are those whose epochs were chosen."""
    fixed = description["training"]["epochs"] == 50 and description["teacher_epoch"] in (None, 50)
    return description["dataset"], description["stage"], fixed


def waiting() -> set[Protocol]:
    """The protocols with a run of Caser that is on record at revision 1 and not at revision 2."""
    known: dict[int, set[tuple[Protocol, str]]] = {1: set(), 2: set()}
    for file in paths.replicated().glob("*/description.json"):
        run = json.loads(file.read_text(encoding="utf-8"))
        if run["model"]["type"] == "CaserSettings":
            rest = run | {"model": run["model"] | {"revision": 0}, "teacher": None}
            known[run["model"]["revision"]].add((protocol(run), json.dumps(rest, sort_keys=True)))
    return {which for which, _ in known[1] - known[2]}


def on_record(experiments: Sequence[Experiment]) -> list[Experiment]:
    """These runs as their records describe them: at revision 1 where their protocol is `waiting`."""
    late = waiting()
    return [as_before(run) if protocol(run.description) in late else run for run in experiments]


def records(
    experiments: Sequence[Experiment], *, profile: str, recompute: bool = False, **options
) -> list[runs.Record | None]:
    """`rdcore.store.runs.records`; on profile paper of the revision that is `on_record`."""
    if profile == "paper" and not recompute:
        experiments = on_record(experiments)
    return runs.records(list(experiments), profile=profile, recompute=recompute, **options)
