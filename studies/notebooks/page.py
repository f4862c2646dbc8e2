"""What a notebook's page shows: sentences, tables, pictures, what is missing in one line, and folded details.

Notebooks call these instead of branching: a picture without its data becomes one line that says what is missing.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from rdcore import data, datasets
from rdcore.data import Stage
from rdcore.data.errors import DataError
from rdcore.datasets.statistics import statistics
from rdcore.eval import metrics
from rdcore.eval.significance import Comparison
from rdcore.store import groups, runs
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies.common import earlier, item_groups, manifest, report, style
from studies.common.matched import Matched
from studies.common.plan import Plan
from studies.common.profiles import PROFILES
from studies.notebooks.titles import item_names
from studies.one_protocol import plan as protocol
from studies.rd import efficiency


def say(*sentences: str, when: bool = True) -> None:
    """Shows sentences as one paragraph of Markdown; empty ones are left out, and all of them unless ``when``."""
    text = " ".join(filter(None, sentences))
    if text and when:
        display(Markdown(text))


def say_lines(lines: Iterable[str]) -> None:
    """Shows sentences as a Markdown list."""
    display(Markdown("\n".join(f"* {line}" for line in lines)))


def show(table: pd.DataFrame, index: bool = False, **formats: str) -> None:
    """Shows a table as Markdown. Floats have four decimals, or the form in ``formats`` of their column (`"{:+.4f}"`);
    a missing number is an empty cell."""
    shown = table.reset_index() if index else table.copy()
    for column in shown.columns:
        if pd.api.types.is_float_dtype(shown[column]):
            form = formats.get(column, "{:.4f}")
            shown[column] = [("" if pd.isna(value) else form.format(value)) for value in shown[column]]
    display(Markdown(report.markdown(shown.astype(object).fillna("").astype(str))))


def folded(title: str, text: str) -> None:
    """Shows text under a title that opens with a click."""
    display(HTML(f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"))


def folded_table(title: str, table: pd.DataFrame) -> None:
    """Shows a table under a title that opens with a click."""
    display(HTML(f"<details><summary>{html.escape(title)}</summary>{table.to_html(index=False, na_rep='')}</details>"))


def provenance(records: Sequence[Record], data_hash: str, seed: int, started: float) -> None:
    """Shows versions, device and time in two lines, and the runs behind the notebook folded away."""
    lines = manifest.provenance(records, data_hash, seed, started).splitlines()
    print("\n".join(lines[:2]))
    if lines[2:]:
        folded(f"the {len(lines) - 2} runs behind this notebook", "\n".join(lines[2:]))


def picture(
    draw: Callable[[], Figure | None], name: str, profile: str, records: Sequence[Record], notebook: str
) -> None:
    """Draws a picture, saves it under the profile's figures and shows it at once: at the end of the cell the pictures of a
    loop would stand without their headings. One line says so where there are no records, or too few for a picture."""
    fig = draw() if records else None
    if fig is None:
        say("*No picture: its runs are not on record.*")
    else:
        style.save(fig, name, profile, [record for record in records if record is not None], notebook)
        display(fig)
        plt.close(fig)


def save_if(fig: Figure | None, name: str, profile: str, notebook: str) -> None:
    """Saves a picture that needs no runs; says in one line that there is none."""
    if fig is None:
        say("*No picture: the data have no times.*")
    else:
        style.save(fig, name, profile, [], notebook)


def preparation(dataset: str, download: bool) -> pd.DataFrame | None:
    """What is left of a data set of check-ins after each step of its preparation; None where its files are not there."""
    try:
        datasets.fetch(dataset, download=download)
    except DataError:
        return None
    steps = {
        "all check-ins": {"merge_revisits": False, "min_actions": 1},
        "the first at each place": {"min_actions": 1},
        "at least five of each user and place": {},
    }
    rows = []
    for step, options in steps.items():
        found = statistics(datasets.load(dataset, **options))
        counted = {"rows": found["interactions"], "users": found["users"], "places": found["items"]}
        rows.append({"step": step} | {name: f"{count:,}" for name, count in counted.items()})
    return pd.DataFrame(rows)


def have(experiments: Mapping[str, Experiment], *, folded: bool = False, **options) -> dict[str, Record]:
    """The records of named runs, trained where the profile trains (`runs.records`). Runs without a record are left out
    and named in one line, or counted where there are many (``folded``)."""
    given = dict(zip(experiments, earlier.records(list(experiments.values()), optional=True, **options), strict=True))
    missing = [name for name, record in given.items() if record is None]
    if missing and folded:
        say(f"*{len(missing)} of {len(experiments)} runs are not on record and left out.*")
    elif missing:
        say(f"*Not on record, so left out: {', '.join(map(str, missing))}.*")
    return {name: record for name, record in given.items() if record is not None}


def in_words(c: Comparison, a: str, b: str, metric: str = "MAP", *, seeds: bool = False) -> str:
    """A comparison as one sentence: what is higher, by how much, and whether the 95 % interval excludes 0; with ``seeds``
    also over how many."""
    word = "ranks better than" if c.low > 0 else "ranks worse than" if c.high < 0 else "is not clearly different from"
    return (
        f"**{a}** {word} **{b}**: {c.difference:+.4f} in {metric} ({c.difference / c.mean_b:+.1%}), "
        f"95 % interval {c.low:+.4f} to {c.high:+.4f}" + f", {c.n_seeds} seed{'s' * (c.n_seeds != 1)}" * seeds + "."
    )


def show_or_note(table: pd.DataFrame | None, note: str, **formats: str) -> None:
    """Shows a table, or where there is none one line that says why."""
    say(f"*Nothing to show: {note}.*") if table is None else show(table, **formats)


def popularity(dataset: str, stage: str) -> dict[str, float]:
    """The metrics of showing everybody the most popular items; empty where the data are not on this machine."""
    try:
        interactions = datasets.load(dataset)
    except DataError:
        return {}
    return metrics.mean(metrics.popularity(data.stage(interactions, stage)))


def with_weights(plan: Plan, study: str = "rd") -> Plan:
    """The profile whose trained models a walk-through uses: the given one, but smoke's for `paper`, whose weights are not
    part of the repository (smoke's models train in seconds)."""
    return getattr(PROFILES["smoke"], study)[0] if plan.name == "paper" else plan



def example_frame(size: str) -> pd.DataFrame:
    """The table that notebook 10 starts from: visitor, film, stars (small: MovieLens-100K) and when."""
    interactions = datasets.load("ml-100k" if size == "small" else "synthetic")
    names = item_names(interactions)[interactions.items]
    return pd.DataFrame({"visitor": interactions.user_ids[interactions.users()], "film": names, "when": interactions.times})


def trained_here(experiments: Sequence[Experiment], profile: str, *, recompute: bool = False, **options) -> list[Record]:
    """The runs of a profile; none for `paper`, whose committed records a notebook shows anyway, unless ``recompute``."""
    if profile == "paper" and not recompute:
        return []
    return runs.load_or_train_all(list(experiments), **options)


def most_seeds(shown: Mapping[str, Matched], a: str, b: str) -> Matched:
    """The runs in which most seeds have both roles, the first of equals."""
    return max(shown.values(), key=lambda found: len(found.seeds(a, b)))


def stage_of(dataset: str, stage: str, download: bool) -> Stage | None:
    """A stage of a data set; None, and a line that says so, where the files are not there."""
    try:
        return data.stage(datasets.load(dataset, download=download), stage)
    except DataError:
        say(f"*{dataset} is not on this machine (`rdcore fetch {dataset}` brings it), so its users cannot be grouped.*")
        return None


def popularity_groups(described: Mapping[str, Experiment], n_groups: int) -> Callable[[Record], Mapping | None]:
    """What finds a run's items by popularity: from its weights where it has some and is one of ``described``, else from its
    record."""

    def measure(record: Record) -> Mapping | None:
        if record.key not in described or not isinstance(record, runs.Run):
            return item_groups.recorded(record)
        interactions = datasets.load(described[record.key].dataset)
        model = record.model(described[record.key], interactions)
        return groups.by_item_popularity(model, data.stage(interactions, "F"), n_groups=n_groups)

    return measure


_writes = {"profile": "small"}


def to_figures(profile: str) -> None:
    """From here on `save` and `write` write files on profile `paper` alone: for a notebook that shows the same on all."""
    _writes["profile"] = profile


def save(fig: Figure, name: str, records: Sequence[Record], notebook: str) -> None:
    """Saves a picture of paper-size records, on profile `paper` alone."""
    if _writes["profile"] == "paper":
        style.save(fig, name, "paper", records, notebook)


def write(
    table: pd.DataFrame, name: str, records: Sequence[Record], notebook: str, shown: pd.DataFrame | None = None
) -> None:
    """Writes a table of paper-size records, on profile `paper` alone. shown: what people see instead."""
    if _writes["profile"] == "paper":
        report.write_table(table, name, "paper", records, notebook, shown)


def measured(profile: str, recompute: bool, dataset: str, **options) -> efficiency.Efficiency:
    """The times of teacher and student: the committed ones on profile `paper` unless ``recompute``, else measured now."""
    if profile != "paper":
        return efficiency.measure_pairs(dataset, progress=True, **options)
    return efficiency.measure_and_record(dataset, progress=True, **options) if recompute else efficiency.committed()


def by_role(records: Sequence[Record], roles: Sequence[str], measure: Callable) -> dict[str, list]:
    """Role -> what ``measure`` finds of each of its records; a role of which one has nothing is left out."""
    found = {role: [measure(r) for r in records if r.description["role"] == role] for role in roles}
    return {role: values for role, values in found.items() if values and None not in values}


def better_in_words(label: str, plan: Plan, table: pd.DataFrame) -> str:
    """Which methods rank better or worse than S, and which better after Holm's correction; it does not order them."""
    by_name = table.set_index("role")
    methods = [role for role in protocol.roles(plan) if role in by_name.index]
    better = [role for role in methods if by_name.loc[role, "low"] > 0]
    worse = [role for role in methods if by_name.loc[role, "high"] < 0]
    sure = [role for role in better if by_name.loc[role, "p"] < 0.05]
    return (
        f"**{label}**: {len(better)} of {len(methods)} methods {'is' if len(better) == 1 else 'are'} clearly better than S "
        f"({', '.join(better) or 'none'})"
        + (f", {', '.join(worse)} worse" if worse else "") + f"; better after Holm's correction: {', '.join(sure) or 'none'}."
    )  # fmt: skip


def records_of(seeds: Sequence[Mapping], sweep: str, by_key: Mapping[str, Record]) -> list[Record]:
    """The records of one sweep of all seeds, as far as there are any."""
    runs = [run for sweeps in seeds for roles in sweeps[sweep].values() for run in roles.values()]
    return [by_key[run.key] for run in runs if run.key in by_key]
