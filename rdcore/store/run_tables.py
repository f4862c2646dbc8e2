"""The tables of `rdcore runs`: all runs, one run, two runs compared. A run is named by the beginning of its key."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from rdcore.files import paths
from rdcore.store.listing import find, key_length, list_runs, table
from rdcore.store.names import label
from rdcore.store.record_files import file_of
from rdcore.store.records import Record, Run, being_trained

PAIRED = {"F": {"MAP": "AP", "P@10": "P@10", "nDCG@10": "nDCG@10"}, "L": {name: name for name in ("H@5", "H@10", "N@10")}}
SHOWN = {"L": ("H@5", "N@5", "H@10", "N@10", "H@5-validation"), "F": ("MAP", "P@10", "nDCG@10", "MRR")}
MOST_EPOCHS = 12  # rows of metrics that `show` prints


# ------------------------------------------------------------------------------------------------------------ list and show


def listing(patterns: str = "", width: int = 120) -> str:
    """One line per run, alike ones together: key; label, and what tells it from others of that label, cut to fit into
    ``width``; epochs done (of those asked for); the best metric and its epoch; seconds; when it was finished (UTC).

    ``patterns``: comma-separated parts of labels or keys. Raises ValueError for one that matches no run.
    """
    rows = sorted(list_runs(), key=lambda row: (row["label"], row.get("finished", "~"), row["key"]))
    differs = _differences({row["key"]: row["description"] for row in rows})
    length = key_length([row["key"] for row in rows])
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
    return table(cells, header, "llrrrl")


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
    lines += [table([(name, _text(value)) for name, value in _flat(run.description).items() if name != "type"]), ""]
    if isinstance(run, Run) and not run.finished:
        status = "running" if being_trained(run.key) else "unfinished"
        return "\n".join([*lines, f"{status}: metrics come with the end"])
    names = [name for name in SHOWN.get(run.description["stage"], SHOWN["F"]) if name in run.metrics]
    epochs = _some(list(run.metrics.index), run.epoch)
    rows = [[f"{e}{'*' if e == run.epoch else ''}", *(f"{run.metrics.loc[e, name]:.4f}" for name in names)] for e in epochs]
    what = "chosen by the validation items" if run.chosen else "the last"
    file = file_of(run.folder, "metrics").name
    lines += [table(rows, ["epoch", *names], "l" + "r" * len(names)), f"* {what}; all metrics are in {file}", ""]
    if n_short := run.metrics.get("n_short", {}).get(run.epoch):
        lines += [f"{n_short:.0f} users are ranked among fewer items than asked for: all that they leave", ""]
    if run.agreement:
        lines += ["agreement with the teacher: " + ", ".join(f"{k} {v:.3f}" for k, v in run.agreement.items()), ""]
    return "\n".join([*lines, table([(name, _text(value)) for name, value in _flat(run.environment).items()])])


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

    Raises ValueError for a run that is not finished, where both are one, and for runs on two data sets.
    """
    one, other = find(a), find(b)
    if one.key == other.key:
        raise ValueError(f"{a!r} and {b!r} are one run, {one.key}: compare needs two")
    if one.description["data_hash"] != other.description["data_hash"]:
        names = [run.description["dataset"] for run in (one, other)]
        raise ValueError(
            f"A is on {names[0]!r} and B on {names[1]!r}{' with other rows' * (names[0] == names[1])}: their numbers cannot be "
            "compared; `rdcore runs show` prints each"
        )
    for run in (one, other):
        if isinstance(run, Run) and not run.finished:
            raise ValueError(f"run {run.key} ({label(run.description)}) is not finished: there is nothing to compare yet")
    flats = [_flat(run.description) for run in (one, other)]
    fields = [[name, *(_text(flat[name]) if name in flat else "" for flat in flats)] for name in _fields_that_differ(flats)]
    lines = [f"{letter}  {run.key}  {label(run.description)}" for letter, run in (("A", one), ("B", other))]
    lines += ["", table(fields, ["differs in", "A", "B"], "lll") if fields else "the descriptions do not differ", ""]
    at = [f"{letter}'s epoch {run.epoch}" for letter, run in (("A", one), ("B", other))]
    lines += [f"Means over users at {at[0]} and {at[1]}", ""]
    means = [_means(run) for run in (one, other)]
    rows = [_beside(name, means[0][name], means[1][name]) for name in means[0] if name in means[1]]
    lines += [table(rows, ["metric", "A", "B", "A - B", "relative"], "lrrrr") if rows else "they have no metric in common", ""]
    return "\n".join(lines + _user_by_user(one, other))


def _means(run: Record) -> dict[str, float]:
    """At the epoch that the run is judged at; on stage L without the second draw and the validation items."""
    found = run.chosen or run.metrics.loc[run.epoch].to_dict()
    left_out = ("epoch", "n_users", "n_left_out", "n_short")
    ends = ("-redraw", "-validation", "-validation-full")
    return {name: value for name, value in found.items() if name not in left_out and not name.endswith(ends)}


def _beside(name: str, a: float, b: float) -> list[str]:
    return [name, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}", f"{a / b - 1:+.1%}" if b else ""]


def _user_by_user(one: Record, other: Record) -> list[str]:
    """The paired comparison in lines, or one that says why there is none."""
    from rdcore.eval import metrics, significance  # torch: not for those who only list runs

    pair = (one, other)
    if one.description["stage"] != other.description["stage"]:
        return ["No comparison user by user: their stages differ."]
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
        c = significance.compare(*arrays)
        rows.append([name, f"{c.difference:+.4f}", f"{c.low:+.4f} to {c.high:+.4f}", f"{c.effect_size:+.3f}"])
    when = f"epoch {epochs[0]}" if epochs[0] == epochs[1] else f"epochs {epochs[0]} and {epochs[1]}"
    return [
        f"User by user at {when}: {c.n_users} users, A - B",
        "",
        table(rows, ["metric", "difference", "95 % interval", "effect size"], "lrrr"),
        "One run each: the interval is over users and says nothing about other seeds, so there is no p and no verdict.",
    ]
