"""Records of Caser from before its revision 2, which changed the random stream of its dropout.

Tables go on reading them until every run of a table that is on record at revision 1 is on record
at revision 2 too: what is compared in one table was made at one revision. Delete this file then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from rdcore.models import CaserSettings
from rdcore.models.caser import Caser
from rdcore.store import runs
from rdcore.store.experiment import Experiment


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


def on_record(
    experiments: Sequence[Experiment], table: Sequence[Experiment] | None = None
) -> list[Experiment]:
    """These runs as their records describe them.

    As given where every run of the ``table`` (by default these) that is committed at revision 1 is
    committed at revision 2 too; else all at revision 1.
    """
    table = experiments if table is None else table
    if all(runs.is_committed(run) for run in table if runs.is_committed(as_before(run))):
        return list(experiments)
    return [as_before(run) for run in experiments]


def records(
    experiments: Sequence[Experiment], *, profile: str, recompute: bool = False,
    table: Sequence[Experiment] | None = None, **options,
) -> list[runs.Record | None]:  # fmt: skip
    """`rdcore.store.runs.records`; on profile paper of the revision that is `on_record`."""
    if profile == "paper" and not recompute:
        experiments = on_record(experiments, table)
    return runs.records(list(experiments), profile=profile, recompute=recompute, **options)
