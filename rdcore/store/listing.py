"""Which runs there are, finished or not, and the one whose key begins so. Needs no torch unless a
run is half done."""

from __future__ import annotations

from collections.abc import Sequence

from rdcore.files import paths
from rdcore.store.names import family, label
from rdcore.store.record_files import read_record
from rdcore.store.records import Record, Run, being_trained, needed

SHORTEST_KEY = 8  # characters of a key in a table, more where runs begin alike


def list_runs() -> list[dict]:
    """One entry for every run in the local store: key, status ('done', 'running' while a process
    holds its lock, 'unfinished'), label and its parts, epochs asked for and epochs done, seconds,
    when it was finished.

    MAP: of the last epoch, or H@5: of the chosen one. best: (metric, value, epoch), of the best
    evaluated epoch so far, on stage L of the one that the validation items choose; None before the
    first.
    """
    rows = []
    for run in stored_runs():
        d = run.description
        row = {"key": run.key, "status": "done", "label": label(d), "dataset": d["dataset"], "stage": d["stage"],
               "role": d["role"], "model": family(d), "dim": d["model"].get("dim"), "seed": d["seed"],
               "epochs": d["training"]["epochs"]}  # fmt: skip
        if run.finished:
            entries, environment = run.means(), run.environment
            quality = {"H@5": run.chosen["H@5"]} if run.chosen else {"MAP": entries[-1]["MAP"]}
            # Counted models have no history; the others may have stopped early.
            done = len(read_record(run.folder, "history")) or row["epochs"]
            row |= {**quality, "done": done, "seconds": environment["seconds"], "finished": environment["finished"]}
        else:
            state = {"epoch": 0}
            if (run.folder / "checkpoint.pt").exists():
                from rdcore.store import checkpoints

                state = checkpoints.state_of(run.folder, d["stage"])
            entries = state.get("metrics", [])
            status = "running" if being_trained(run.key) else "unfinished"
            row |= {"status": status, "done": state.get("epoch"), "seconds": state.get("seconds")}
        rows.append(row | {"best": _best(entries, d["stage"]), "description": d})
    return rows


def _best(entries: list[dict], stage: str) -> tuple[str, float, int] | None:
    if not entries:
        return None
    name, chooser = needed(stage)[0], needed(stage)[-1]
    best = max(entries, key=lambda entry: (entry[chooser], -entry["epoch"]))
    return name, best[name], best["epoch"]


def stored_runs() -> list[Run]:
    """Every run of the local store that has a description, by key."""
    return [Run(file.parent) for file in sorted(paths.runs().glob("*/description.json"))]


def find(beginning: str, *, committed: bool = True) -> Record:
    """The one run whose key begins so: from the store, or where that has none finished, the
    ``committed`` record.

    Raises ValueError that names the candidates where it is none or several.
    """
    runs: dict[str, Record] = {run.key: run for run in stored_runs()}
    where = str(paths.runs())
    if committed:
        where += f" or {paths.replicated()}"
        for file in sorted(paths.replicated().glob("*/description.json")):
            record = Record(file.parent)
            if record.key not in runs or not runs[record.key].finished:
                runs[record.key] = record
    keys = [key for key in runs if beginning and key.startswith(beginning)]
    if not keys:
        raise ValueError(f"no run in {where} has a key that begins with {beginning!r}; `rdcore runs list` shows the store's")
    if len(keys) > 1:
        shown = ", ".join(f"{key} ({label(runs[key].description)})" for key in keys[:5])
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        raise ValueError(f"{len(keys)} runs have a key that begins with {beginning!r}: {shown}{more}; give more of the key")
    return runs[keys[0]]


def key_length(keys: Sequence[str]) -> int:
    """How many characters tell these keys apart."""
    return next(n for n in range(SHORTEST_KEY, 99) if len({key[:n] for key in keys}) == len(set(keys)))


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), align: str = "ll") -> str:
    """Columns of text, two spaces between them; ``align``: l or r for each."""
    from tabulate import SEPARATING_LINE, tabulate  # here, so that a machine that only trains needs less

    sides = [{"l": "left", "r": "right"}[side] for side in align]
    if not header:
        text = tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=sides)
        return "\n".join(line.rstrip() for line in text.splitlines())
    # The header as a row: as a header it would widen its column.
    text = tabulate([header, SEPARATING_LINE, *rows], tablefmt="simple", disable_numparse=True, colalign=sides)
    return "\n".join(line.rstrip() for line in text.splitlines()[1:-1])
