"""Which epoch of a run is used: chosen on stage V by MAP, written down before stage F starts.

data/replicated/selection.json maps a role (T, S, RD-hybrid) to its choice; protocol `validation` of the tables, and the
epoch at which the teacher of that protocol teaches, come from there and from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdcore.checks import short
from rdcore.files import paths
from rdcore.files.whole import damaged, positive, read_json, share, write_json
from rdcore.store.experiment import Experiment, choice_name, label
from rdcore.store.runs import Record

SHAPE = {"epoch": positive, "at_border": bool, "MAP": {str: share}, "runs": [str]}  # of a role's choice on file
REMEDY = "restore the file from the repository, or choose again with `rdcore select`"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen epoch of one role, and what it was chosen from."""

    epoch: int
    means: dict[int, float]  # MAP of every epoch of the grid, mean over the V seeds
    keys: tuple[str, ...]  # the V runs

    def records(self) -> list[Record]:
        """The committed records of the V runs."""
        return [Record(folder) for key in self.keys for folder in paths.replicated().glob(f"*-{key}")]

    @property
    def last_epoch(self) -> int:
        """The end of the grid."""
        return max(self.means)

    @property
    def at_border(self) -> bool:
        """Chosen at the end of the grid: the best may lie beyond, so the grid has to be extended first."""
        return self.epoch == self.last_epoch

    @property
    def border(self) -> str:
        """A remark on a choice at either end of its grid; "" for any other. One at the beginning is final: the grid
        begins with the first evaluated epoch."""
        if self.at_border:
            return "the last of the grid: not final"
        return "the first of the grid: an earlier one may be better" if self.epoch == min(self.means) else ""


def choose_epoch(records: Sequence[Record]) -> Choice:
    """The epoch with the best MAP, mean over the seeds; the earlier one of a tie.

    Args:
        records: V runs that differ in nothing but their seed.

    Raises:
        ValueError: for a run of stage F (its numbers are for the end, no choice may see them), for runs that differ in
            more than the seed, and for none at all.
    """
    if not records:
        raise ValueError("no run to choose an epoch from")
    for record in records:
        if record.description["stage"] != "V":
            raise ValueError(
                f"run {label(record.description)} (key {record.key}) is of stage {record.description['stage']}: choices are "
                "made on stage V alone"
            )
    first = records[0]
    for record in records[1:]:
        if _without(record.description, "seed", "teacher") != _without(first.description, "seed", "teacher"):
            raise ValueError(f"runs {first.key} and {record.key} differ in more than the seed: choose for each by itself")
    seeds = [record.description["seed"] for record in records]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed counts twice among the runs {', '.join(r.key for r in records)}: {seeds}")
    found = sum(record.metrics["MAP"] for record in records) / len(records)
    means = {int(epoch): float(value) for epoch, value in found.items()}
    return Choice(epoch=_best(means), means=means, keys=tuple(record.key for record in records))


def select(wanted: Mapping[str, Experiment], seeds: Sequence[int], records: Iterable[Record]) -> dict[str, Choice]:
    """The choices that can be made from the given V runs: the teacher's first, then the student's and the distilled one's.

    Of runs that differ in their number of epochs only, the longest one finished for all ``seeds`` counts: a longer one is
    an extended grid. A distilled run counts when its teacher taught at the teacher's chosen epoch; without such a run, or
    as long as the teacher's choice lies at the border of its grid, there is no choice for it.

    Args:
        wanted: role -> a run of that role; its seed, epochs and teacher do not matter.
    """
    records = [record for record in records if record.description["stage"] == "V"]
    choices: dict[str, Choice] = {}
    for role in sorted(wanted, key=lambda role: wanted[role].teacher is not None):
        like = _shape(wanted[role].description)
        found = [r for r in records if _shape(r.description) == like]
        if wanted[role].teacher is not None:
            teacher = choices.get(choice_name(wanted[role].teacher.description))
            found = [r for r in found if teacher and not teacher.at_border and r.description["teacher_epoch"] == teacher.epoch]
        by_length: dict[int, dict[int, Record]] = {}
        for record in found:
            by_length.setdefault(record.description["training"]["epochs"], {})[record.description["seed"]] = record
        complete = [length for length, runs in by_length.items() if set(seeds) <= set(runs)]
        if complete:
            choices[role] = choose_epoch([by_length[max(complete)][seed] for seed in seeds])
    return choices


def _shape(description: dict) -> dict:
    shape = _without(description, "seed", "teacher", "teacher_epoch", "stage")
    return shape | {"training": _without(description["training"], "epochs")}


def _without(description: dict, *names: str) -> dict:
    return {key: value for key, value in description.items() if key not in names}


def _file() -> Path:
    return paths.replicated() / "selection.json"


def write_selection(choices: Mapping[str, Choice]) -> Path:
    """data/replicated/selection.json, whole or not at all: role -> epoch, MAP of every epoch, keys of the V runs."""
    content = {
        role: {
            "epoch": choice.epoch,
            "at_border": choice.at_border,
            "MAP": {str(epoch): value for epoch, value in choice.means.items()},
            "runs": list(choice.keys),
        }
        for role, choice in choices.items()
    }
    file = _file()
    write_json(file, content)
    return file


def read_selection() -> dict[str, Choice]:
    """The choices as written; empty while there are none. Raises ValueError naming the file where it is damaged."""
    file = _file()
    if not file.exists():
        return {}
    choices = {}
    for role, entry in read_json(file, {str: SHAPE}, REMEDY).items():
        for epoch in entry["MAP"]:
            if not re.fullmatch("[1-9][0-9]{0,8}", epoch):
                raise damaged(file, f"has {short(epoch)} as an epoch of {role}", REMEDY)
        means = {int(epoch): value for epoch, value in entry["MAP"].items()}
        choice = Choice(epoch=entry["epoch"], means=means, keys=tuple(entry["runs"]))
        if choice.epoch != _best(means) or choice.at_border != entry["at_border"]:
            raise damaged(file, f"names for {role} an epoch {choice.epoch} that does not follow from its MAP", REMEDY)
        choices[role] = choice
    return choices


def _best(means: Mapping[int, float]) -> int:
    """The epoch with the best mean; the earlier one of a tie."""
    return max(means, key=lambda epoch: (means[epoch], -epoch), default=0)


def chosen_epochs(choices: Mapping[str, Choice] | None = None) -> dict[str, int]:
    """role -> epoch, of the final choices: one at the end of its grid is not final. Default: those on file."""
    choices = read_selection() if choices is None else choices
    return {role: choice.epoch for role, choice in choices.items() if not choice.at_border}
