"""A table that is computed once more, and whether each of its cells is what the committed one prints."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from . import records

Cell = tuple[str, object, object]  # where, printed, computed


class Near(NamedTuple):
    """A number from random draws: it may differ from the printed one, which has draws of its own."""

    value: float
    within: float


class Absent(Exception):
    """What a table needs besides the repository is not on this machine."""


class Table(NamedTuple):
    """How a table is computed: its rows, as column -> value, or whole cells for what is no row."""

    rows: Callable[[str], Iterable[Mapping | Cell]]
    keys: tuple[str, ...]
    """The columns that name a row."""
    words: tuple[str, ...]
    """Columns of words that are not computed."""
    rest: Mapping[str, tuple[str, ...]]
    """Column -> values whose rows are not computed."""


RECOMPUTED: dict[str, Table] = {}
"""Name of a table, * for any ending -> how it is computed."""


def table(name: str, *keys: str, words: tuple[str, ...] = (), rest: Mapping[str, tuple[str, ...]] | None = None) -> Callable:
    """Enters what computes the rows of a table, given its name."""

    def enter(rows: Callable[[str], Iterable[Mapping | Cell]]) -> Callable:
        RECOMPUTED[name] = Table(rows, keys, words, rest or {})
        return rows

    return enter


def committed() -> list[str]:
    """The names of all tables that are there."""
    return sorted(file.stem for file in (records.ROOT / "figures" / "tables").glob("*.csv"))


def entry(name: str, among: Iterable[str]) -> str | None:
    """The entry that a table is in; one with its very name before one with a *."""
    found = [one for one in among if fnmatch.fnmatchcase(name, one)]
    return min(found, key=lambda one: "*" in one, default=None)


def named(value: object) -> str:
    """A key as it is compared: numbers by their value."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return f"{value:.6g}" if isinstance(value, float | int) else str(value)


def cells(name: str) -> Iterator[Cell]:
    """Every cell of a table: each column of each row, where any side has something. A row that only one side has is one."""
    how = RECOMPUTED[entry(name, RECOMPUTED)]
    there: dict[tuple[str, ...], dict[str, str]] = {}
    for row in records.printed(name):
        place = tuple(named(row[key]) for key in how.keys)
        if place in there:
            yield f"{name} {' '.join(place)}", "two rows", "one row"
        there[place] = row
    for row in how.rows(name):
        if isinstance(row, tuple):
            yield row
            continue
        place = tuple(named(row[key]) for key in how.keys)
        where = f"{name} {' '.join(place)}"
        if place not in there:
            yield where, "no row", "has a row"
            continue
        shown = there.pop(place)
        for column in (shown.keys() | row.keys()) - set(how.keys) - set(how.words):
            text, value = shown.get(column, ""), row.get(column, math.nan)
            if text or not absent(value):
                yield f"{where} {column}", text, value
    for place, row in there.items():
        if not any(row[column] in values for column, values in how.rest.items()):
            yield f"{name} {' '.join(place)}", "has a row", "no row"


def absent(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def agrees(printed: object, computed: object) -> bool:
    """To the six digits that a table prints; words and counts as they are; empty where nothing was computed."""
    if absent(computed):
        return printed == ""
    if isinstance(computed, str | bool):
        return str(printed) == str(computed)
    try:
        printed = float(printed)
    except ValueError:
        return False
    if isinstance(computed, Near):
        return abs(printed - computed.value) <= computed.within
    if isinstance(computed, int) or not math.isfinite(computed):
        return printed == computed
    return abs(printed - computed) <= 0.51 * 10 ** (math.floor(math.log10(max(abs(printed), 1e-12))) - 5) + 1e-12


def disagreements(name: str) -> tuple[int, list[str]]:
    """How many cells of a table were computed, and a line for each that disagrees."""
    every = list(cells(name))
    lines = [f"{where}: printed {shown or 'nothing'}, computed {value}" for where, shown, value in every
             if not agrees(shown, value)]  # fmt: skip
    return len(every), lines


def summary(values: list[float], ours: str = "replicated", none: object = 0) -> dict[str, object]:
    """Mean, spread with one degree of freedom less, and number of the seeds, under the names that tables have for them."""
    mean = sum(values) / len(values) if values else math.nan
    spread = math.nan
    if len(values) > 1:
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return {ours: mean, "std": spread, "seeds": len(values) or none}
