"""Looking into the store of runs, and taking runs out of it: the tables of `rdcore runs`.

A run is named by its key or by the beginning of it. What is deleted leaves its name by one rename, into runs/.deleted, and
is removed there: killed at any moment, the store holds a run whole or not at all. The next deletion removes what a kill
left. The lock files stay, because another process may be waiting for one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from rdcore.eval import metrics, significance
from rdcore.files import paths
from rdcore.store.experiment import label
from rdcore.store.runs import Record, Run, being_trained, list_runs

SHORTEST_KEY = 8  # characters of a key in a table, more where runs begin alike
# Of the bootstrap, fewer than for a published table: 13,149 users and three metrics take 5 s, not 25.
RESAMPLES = 2_000
PAIRED = {"F": {"MAP": "AP", "P@10": "P@10", "nDCG@10": "nDCG@10"}, "L": {name: name for name in ("H@5", "H@10", "N@10")}}
SHOWN = {"L": ("H@5", "N@5", "H@10", "N@10", "H@5-validation"), "F": ("MAP", "P@10", "nDCG@10", "MRR")}
MOST_EPOCHS = 12  # rows of metrics that `show` prints


# ------------------------------------------------------------------------------------------------------------ list and show


def listing(patterns: str = "", width: int = 120) -> str:
    """One line a run, alike ones together: key; label, and what tells it from others of that label, cut to fit into
    ``width``; epochs done (of those asked for); the best metric and its epoch; seconds; when it was finished (UTC).

    ``patterns``: comma-separated parts of labels or keys. Raises ValueError for one that matches no run.
    """
    rows = sorted(list_runs(), key=lambda row: (row["label"], row.get("finished", "~"), row["key"]))
    differs = _differences({row["key"]: row["description"] for row in rows})
    length = _length([row["key"] for row in rows])
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(pattern in row["label"] or pattern in row["key"] for row in rows):
            raise ValueError(f"no run in {paths.runs()} has {pattern!r} in its label or key: `rdcore runs list` shows all")
    rows = [row for row in rows if not wanted or any(p in row["label"] or p in row["key"] for p in wanted)]
    if not rows:
        return f"no run in {paths.runs()} yet: `rdcore train` and the notebooks put them there"
    cells = [
        [row["key"][:length], row["label"], _epochs(row), _best(row["best"]), _seconds(row["seconds"]), _when(row)]
        for row in rows
    ]  # fmt: skip
    header = ["key", "run", "epochs", "best", "seconds", "finished"]
    room = width - 2 * (len(header) - 1) - sum(max(len(line[i]) for line in [header, *cells]) for i in (0, 2, 3, 4, 5))
    for line, row in zip(cells, rows, strict=True):
        line[1] = _fitted(line[1], differs[row["key"]], max(room, 20))
    return _table(cells, header, "llrrrl")


def _fitted(title: str, differs: Mapping[str, str], room: int) -> str:
    """The words of names shortened as far as it needs, so that every value is seen; else cut."""
    for letters in (99, 8, 6, 4, 3):
        short = {".".join(word[:letters] for word in name.split(".")): value for name, value in differs.items()}
        text = " ".join([title, *(f"{name}={value}" for name, value in short.items())])
        if len(text) <= room and len(short) == len(differs):
            return text
    return text[: room - 1] + "…"


def _epochs(row: Mapping) -> str:
    done = "?" if row["done"] is None else str(row["done"])  # a damaged checkpoint
    return done if row["done"] == row["epochs"] else f"{done}/{row['epochs']}"


def _best(best: tuple[str, float, int] | None) -> str:
    return "" if best is None else f"{best[0]} {best[1]:.4f} @{best[2]}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _when(row: Mapping) -> str:
    """As `ls` does: the hour of this year's, the year of older ones."""
    if row["status"] != "done":
        return row["status"]
    day, _, hour = row["finished"][:16].partition("T")
    return f"{day[5:]} {hour}" if day[:4] == time.strftime("%Y", time.gmtime()) else day


def show(beginning: str) -> str:
    """Everything that is on record of one run, for reading: its description, where and how it was made, and the main metrics
    of its evaluated epochs, or of a dozen of them."""
    run = find(beginning)
    lines = [f"{run.key}  {label(run.description)}", f"in {run.folder}", ""]
    lines += [_table([(name, _text(value)) for name, value in _flat(run.description).items() if name != "type"]), ""]
    if isinstance(run, Run) and not run.finished:
        status = "running" if being_trained(run.key) else "unfinished"
        return "\n".join([*lines, f"{status}: metrics come with the end"])
    names = [name for name in SHOWN.get(run.description["stage"], SHOWN["F"]) if name in run.metrics]
    epochs = _some(list(run.metrics.index), run.epoch)
    rows = [[f"{e}{'*' if e == run.epoch else ''}", *(f"{run.metrics.loc[e, name]:.4f}" for name in names)] for e in epochs]
    what = "chosen by the validation items" if run.chosen else "the last"
    lines += [_table(rows, ["epoch", *names], "l" + "r" * len(names)), f"* {what}; all metrics are in metrics.json", ""]
    if run.agreement:
        lines += ["agreement with the teacher: " + ", ".join(f"{k} {v:.3f}" for k, v in run.agreement.items()), ""]
    return "\n".join([*lines, _table([(name, _text(value)) for name, value in _flat(run.environment).items()])])


def _some(epochs: list[int], always: int) -> list[int]:
    """At most about MOST_EPOCHS of them, evenly, with the last and ``always``."""
    if len(epochs) <= MOST_EPOCHS:
        return epochs
    places = np.linspace(0, len(epochs) - 1, MOST_EPOCHS).round().astype(int)
    return sorted({*(epochs[place] for place in places), always})


def _flat(description: Mapping, before: str = "") -> dict:
    """{'model': {'type': 'X', 'dim': 4}} as {'model': 'X', 'model.dim': 4}."""
    found = {}
    for name, value in description.items():
        place = before if name == "type" and before else f"{before}.{name}" if before else name
        found |= _flat(value, place) if isinstance(value, Mapping) else {place: value}
    return found


def _text(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differences(descriptions: Mapping[str, Mapping]) -> dict[str, dict[str, str]]:
    """For every key the fields that tell the run from others with its label: last words of the name -> value."""
    alike: dict[str, dict[str, dict]] = {}
    for key, description in descriptions.items():
        alike.setdefault(label(description), {})[key] = _flat(description)
    found: dict[str, dict[str, str]] = {}
    for group in alike.values():
        fields = _fields_that_differ(list(group.values()))
        for key, flat in group.items():
            found[key] = {_last_words(name, fields): _text(flat[name])[:16] for name in fields if name in flat}
    return found


def _fields_that_differ(flats: Sequence[Mapping]) -> list[str]:
    absent = object()
    fields = dict.fromkeys(name for flat in flats for name in flat)
    return [name for name in fields if any(flat.get(name, absent) != flats[0].get(name, absent) for flat in flats)]


def _last_words(name: str, names: Sequence[str]) -> str:
    words = name.split(".")
    for n in range(1, len(words)):
        short = ".".join(words[-n:])
        if not any(other != name and f".{other}".endswith(f".{short}") for other in names):
            return short
    return name


# ------------------------------------------------------------------------------------------------------------------- compare


def compare(a: str, b: str) -> str:
    """Two finished runs side by side: the fields in which their descriptions differ, their metrics at the epoch that each is
    judged at, and, where both keep metrics of the same users, the paired comparison (`significance`), a - b.

    Raises ValueError for a run that is not finished, and where both are one.
    """
    one, other = find(a), find(b)
    if one.key == other.key:
        raise ValueError(f"{a!r} and {b!r} are one run, {one.key}: compare needs two")
    for run in (one, other):
        if isinstance(run, Run) and not run.finished:
            raise ValueError(f"run {run.key} ({label(run.description)}) is not finished: there is nothing to compare yet")
    flats = [_flat(run.description) for run in (one, other)]
    fields = [[name, *(_text(flat[name]) if name in flat else "" for flat in flats)] for name in _fields_that_differ(flats)]
    lines = [f"{letter}  {run.key}  {label(run.description)}" for letter, run in (("A", one), ("B", other))]
    lines += ["", _table(fields, ["differs in", "A", "B"], "lll") if fields else "the descriptions do not differ", ""]
    at = [f"{letter}'s epoch {run.epoch}" for letter, run in (("A", one), ("B", other))]
    lines += [f"Means over users at {at[0]} and {at[1]}", ""]
    means = [_means(run) for run in (one, other)]
    rows = [_beside(name, means[0][name], means[1][name]) for name in means[0] if name in means[1]]
    lines += [_table(rows, ["metric", "A", "B", "A - B", "relative"], "lrrrr") if rows else "they have no metric in common", ""]
    return "\n".join(lines + _user_by_user(one, other))


def _means(run: Record) -> dict[str, float]:
    """At the epoch that the run is judged at; on stage L without the second draw and the validation items."""
    found = run.chosen or run.metrics.loc[run.epoch].to_dict()
    left_out = ("epoch", "n_users", "n_left_out")
    ends = ("-redraw", "-validation", "-validation-full")
    return {name: value for name, value in found.items() if name not in left_out and not name.endswith(ends)}


def _beside(name: str, a: float, b: float) -> list[str]:
    return [name, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}", f"{a / b - 1:+.1%}" if b else ""]


def _user_by_user(one: Record, other: Record) -> list[str]:
    """The paired comparison in lines, or one that says why there is none."""
    pair = (one, other)
    for field, said in (("data_hash", "their data differ"), ("stage", "their stages differ")):
        if one.description[field] != other.description[field]:
            return [f"No comparison user by user: {said}."]
    stage = one.description["stage"]
    if stage not in PAIRED:
        return ["No comparison user by user: stage V is for choices; results are compared on F and L."]
    kept = [{int(file.stem[-3:]) for file in run.folder.glob("per_user-[0-9]*.parquet")} for run in pair]
    if stage == "L":
        epochs = [run.epoch if run.epoch in there else None for run, there in zip(pair, kept, strict=True)]
    else:
        epochs = [max(kept[0] & kept[1], default=None)] * 2
    if None in epochs:
        return ["No comparison user by user: they keep metrics of single users at no epoch in common."]
    frames = [run.per_user(epoch) for run, epoch in zip(pair, epochs, strict=True)]
    if stage == "L":
        frames = [metrics.of_one_item(frame["rank"].to_numpy()) for frame in frames]
    rows = []
    for name, column in PAIRED[stage].items():
        arrays = [np.asarray(frame[column], dtype=float)[None] for frame in frames]
        c = significance.compare(*arrays, rng=np.random.default_rng(0), resamples=RESAMPLES)
        rows.append([name, f"{c.difference:+.4f}", f"{c.low:+.4f} to {c.high:+.4f}", f"{c.effect_size:+.3f}", _p(c.p_users),
                     _p(c.p_wilcoxon)])  # fmt: skip
    when = f"epoch {epochs[0]}" if epochs[0] == epochs[1] else f"epochs {epochs[0]} and {epochs[1]}"
    return [
        f"User by user at {when}: {c.n_users} users, A - B",
        "",
        _table(rows, ["metric", "difference", "95 % interval", "effect size", "p (t)", "p (Wilcoxon)"], "lrrrrr"),
        "One run each: the interval is over users and says nothing about other seeds. Many users make any difference",
        "significant: read its size first.",
    ]


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


# -------------------------------------------------------------------------------------------------------------------- delete


def to_delete(beginnings: Sequence[str], *, with_students: bool = False) -> list[Run]:
    """The runs that `delete` would take, students before their teachers. ``with_students``: also the runs that they taught.

    Raises ValueError for a beginning that fits no run or several, for a run that is being trained, and, without
    ``with_students``, for a teacher of another stored run.
    """
    wanted = {run.key: run for run in (find(beginning, committed=False) for beginning in beginnings)}
    taught = _taught_by(wanted)
    if taught and not with_students:
        raise ValueError(_teaches(taught))
    while taught:
        wanted |= {run.key: run for run in taught}
        taught = _taught_by(wanted)
    for key, run in wanted.items():
        if being_trained(key):
            raise ValueError(_busy(run))
    ordered: list[Run] = []
    while wanted:
        teachers = {run.description.get("teacher") for run in wanted.values()}
        free = [key for key in wanted if key not in teachers] or list(wanted)
        ordered += [wanted.pop(key) for key in free]
    return ordered


def delete(runs: Sequence[Run]) -> None:
    """Takes runs out of the store, in this order. All locks are held before the first run goes.

    Raises ValueError, and has deleted nothing, where one is being trained or has come to teach a run that is not among them.
    """
    store = paths.runs()
    aside = store / ".deleted"
    aside.mkdir(exist_ok=True)
    _remove_leftovers(store, aside)
    with ExitStack() as locks:
        for run in runs:
            try:
                locks.enter_context(FileLock(store / f"{run.key}.lock", timeout=0))
            except Timeout:
                raise ValueError(_busy(run)) from None
        if taught := _taught_by({run.key: run for run in runs}):
            raise ValueError(_teaches(taught))
        for run in runs:
            target = aside / run.key
            if target.exists():  # left by a kill since; its lock is ours
                shutil.rmtree(target)
            os.rename(run.folder, target)
            shutil.rmtree(target)


def _remove_leftovers(store: Path, aside: Path) -> None:
    for folder in aside.iterdir():
        try:
            with FileLock(store / f"{folder.name}.lock", timeout=0):
                shutil.rmtree(folder)
        except (Timeout, FileNotFoundError):  # another process is at it, or was faster
            pass


def size(run: Run) -> int:
    """Bytes of the run's files, those of its teacher lists included."""
    return sum(file.stat().st_size for file in run.folder.rglob("*") if file.is_file())


def deletion_table(runs: Sequence[Run]) -> str:
    """What would go, one line a run, and what that frees."""
    length = _length([run.key for run in runs])
    sizes = [size(run) for run in runs]
    rows = [[run.key[:length], label(run.description), f"{n / 1e6:.1f}"] for run, n in zip(runs, sizes, strict=True)]
    rows.append(["", f"{len(runs)} run{'s' * (len(runs) > 1)}", f"{sum(sizes) / 1e6:.1f}"])
    return _table(rows, ["key", "run", "MB"], "llr")


def _taught_by(teachers: Mapping[str, Run]) -> list[Run]:
    """Stored runs that name one of these as their teacher and are not among them."""
    return [run for run in _stored() if run.description.get("teacher") in teachers and run.key not in teachers]


def _teaches(taught: Sequence[Run]) -> str:
    teachers = ", ".join(dict.fromkeys(run.description["teacher"] for run in taught))
    shown = ", ".join(f"{label(run.description)} ({run.key[:SHORTEST_KEY]})" for run in taught[:5])
    more = f" and {len(taught) - 5} more" if len(taught) > 5 else ""
    return f"{teachers} taught stored runs: {shown}{more}. Add --with-students to delete them too, or keep the teacher"


def _busy(run: Run) -> str:
    return f"run {run.key} ({label(run.description)}) is being trained: let it finish, or stop it first"


# -------------------------------------------------------------------------------------------------------------------- common


def find(beginning: str, *, committed: bool = True) -> Record:
    """The one run whose key begins so: from the store, or where that has none finished, the ``committed`` record.

    Raises ValueError that names the candidates where it is none or several.
    """
    found: dict[str, Record] = {run.key: run for run in _stored()}
    where = str(paths.runs())
    if committed:
        where += f" or {paths.replicated()}"
        for file in sorted(paths.replicated().glob("*/description.json")):
            record = Record(file.parent)
            if record.key not in found or not found[record.key].finished:
                found[record.key] = record
    keys = [key for key in found if beginning and key.startswith(beginning)]
    if not keys:
        raise ValueError(f"no run in {where} has a key that begins with {beginning!r}; `rdcore runs list` shows the store's")
    if len(keys) > 1:
        shown = ", ".join(f"{key} ({label(found[key].description)})" for key in keys[:5])
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        raise ValueError(f"{len(keys)} runs have a key that begins with {beginning!r}: {shown}{more}; give more of the key")
    return found[keys[0]]


def _stored() -> list[Run]:
    return [Run(file.parent) for file in sorted(paths.runs().glob("*/description.json"))]


def _length(keys: Sequence[str]) -> int:
    """How many characters tell these keys apart."""
    return next(n for n in range(SHORTEST_KEY, 99) if len({key[:n] for key in keys}) == len(set(keys)))


def _table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), align: str = "ll") -> str:
    """Columns of text, two spaces between them; ``align``: l or r for each."""
    widths = [max(len(line[i]) for line in [*rows, header] if line) for i in range(len(align))]
    lines = [header, ["-" * width for width in widths]] if header else []
    sides = {"l": "<", "r": ">"}
    return "\n".join(
        "  ".join(f"{cell:{sides[side]}{width}}" for cell, side, width in zip(line, align, widths, strict=True)).rstrip()
        for line in [*lines, *rows]
    )
