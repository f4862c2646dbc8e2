"""About how many core-hours a run takes, from the CPU records on file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rdcore.files import paths
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from studies.common import text

RESTS_ON = (
    "Estimates: median core-seconds an epoch, with its evaluations, of the CPU records on file of the same data set, stage, "
    "model and size, and method; where there are none, of the nearest kind on that data set. The machines were not quiet."
)


@dataclass(frozen=True)
class Known:
    """What a CPU record says about the time of its kind of run."""

    kind: tuple
    """`kind_of`."""
    epochs: int
    seconds: float
    """Core-seconds of the whole run."""


def kind_of(description: Mapping) -> tuple:
    """Data set, model, whether one item is left out, method, size, stage: runs that share all of it take about as long."""
    d, distillation = description, description["distillation"] or {}
    method = (distillation.get("type"), (distillation.get("weights") or {}).get("type"))
    return d["dataset"], family(d), d["stage"] == "L", method, d["model"].get("dim"), d["stage"]


def known_from(records: Iterable[Record]) -> list[Known]:
    """What those records say that were made on a CPU; the others say nothing about core-hours."""
    found = []
    for record in records:
        environment = record.environment
        if environment["device"] == "cpu":
            seconds = environment["seconds"] * environment["threads"]
            found.append(Known(kind_of(record.description), max(len(record.history), 1), seconds))
    return found


def on_file() -> list[Known]:
    """What the committed records say."""
    return known_from(Record(file.parent) for file in sorted(paths.replicated().glob("*/environment.json")))


def core_hours(run: Experiment, known: Sequence[Known]) -> float | None:
    """The estimate; None where no CPU record has the run's data set and model.

    From the records that share most with the run, in the order of `kind_of`. A run that may stop early takes as many epochs
    as they did.
    """
    kind = kind_of(run.description)
    for shared in range(len(kind), 1, -1):
        near = [one for one in known if one.kind[:shared] == kind[:shared]]
        if near:
            epochs = median(one.epochs for one in near) if run.training.patience else run.training.epochs
            return median(one.seconds / one.epochs for one in near) * epochs / 3600
    return None


def in_words(hours: float | None) -> str:
    """An estimate as the list of runs shows it.

    >>> in_words(0.234), in_words(None)
    ('0.23 core-hours', 'unknown')
    """
    return "unknown" if hours is None else f"{hours:.2g} core-hours"


def sums(estimates: Sequence[tuple[Experiment, float | None]]) -> list[str]:
    """One line for each data set and model, in order of appearance, and one for all: how many runs, and their estimate."""
    groups: dict[str, list[float | None]] = {}
    for run, hours in estimates:
        groups.setdefault(f"{run.dataset} {family(run.description)}", []).append(hours)
    groups["all"] = [hours for _, hours in estimates]
    lines = []
    for name, hours in groups.items():
        unknown = hours.count(None)
        total = sum(one for one in hours if one is not None)
        words = f"{total:.1f} core-hours" if len(hours) > unknown else "unknown"
        more = f", without {unknown} of which nothing is known" if 0 < unknown < len(hours) else ""
        lines.append(f"{name}: {text.count(len(hours), 'run')} left, {words}{more}")
    return lines
