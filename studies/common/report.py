"""Records to tables: the paper's number, ours, and the difference; as CSV for programs, Markdown and LaTeX for people.

Which number of a run enters is the protocol: `fixed50` (`fixed20` where all runs have 20 epochs, and so on) takes every
run as it was after its last epoch, and nothing is chosen; `validation` takes the epochs chosen on stage V, in a distilled
run also for its teacher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from rdcore.files import paths
from rdcore.store.experiment import choice_name, family, trained
from rdcore.store.runs import Record
from studies.common import manifest, text
from studies.common.reported import papers_name, reported

NO_DATA = ("foursquare",)  # reported, but neither the data nor the way they were prepared could be found
COLUMNS = ["dataset", "model", "role", "metric", "protocol", "reported", "replicated", "std", "seeds", "difference"]
METRICS = [f"{metric}{kind}" for kind in ("", "-standard") for metric in ("P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10")
           if not (metric.startswith("P") and kind)] + ["MAP"]  # fmt: skip
# Rows in the order of the paper; what it does not have comes last.
ORDER = {
    "dataset": ["gowalla", "foursquare"],
    "model": ["Fossil", "Caser", "POP", "ItemCF", "BPR"],
    "role": ["T", "RD", "S", "RD-equal", "RD-position", "RD-discrepancy", "RD-hybrid", "RD-hybrid-normalised", "RD-reciprocal"],
    "metric": METRICS,
}


@dataclass(frozen=True)
class RunAtEpoch:
    """A run at the epoch that a protocol looks at."""

    record: Record
    protocol: str
    epoch: int

    @property
    def dataset(self) -> str:
        return self.record.description["dataset"]

    @property
    def model(self) -> str:
        return family(self.record.description)

    @property
    def role(self) -> str:
        return self.record.description["role"]

    @property
    def seed(self) -> int:
        return self.record.description["seed"]


def at_epochs(records: Sequence[Record], chosen: Mapping[str, int] | None = None, stage: str = "F") -> list[RunAtEpoch]:
    """Every run of ``stage`` under every protocol it belongs to.

    Where a model has runs of several lengths on one data set, the shortest are those of the fixed protocol; longer ones,
    made because a best epoch lay at the border of the grid, serve `validation` alone. What is counted from the data has no
    epochs and is listed under the first protocol of its data set.

    Args:
        chosen: role -> epoch, as `selection.chosen_epochs` gives it; without it nothing is `validation`.

    Raises:
        ValueError: where two runs would count as the same seed of the same row, an ablation among them for example.
    """
    chosen = chosen or {}
    records = sorted((r for r in records if r.description["stage"] == stage), key=lambda r: r.description["training"]["epochs"])
    fixed: dict[tuple[str, str], int] = {}  # (data set, model) -> epochs, the shortest first
    first: dict[str, int] = {}  # data set -> epochs
    for record in records:
        d = record.description
        if trained(d):
            fixed.setdefault((d["dataset"], family(d)), d["training"]["epochs"])
            first.setdefault(d["dataset"], d["training"]["epochs"])
    found: dict[tuple, RunAtEpoch] = {}
    for record in records:
        d = record.description
        own = d["training"]["epochs"]
        length = fixed[d["dataset"], family(d)] if trained(d) else first.get(d["dataset"], own)
        under = []
        if not trained(d) or (own == length and d["teacher_epoch"] in (None, length)):
            under.append(RunAtEpoch(record, f"fixed{length}", own))
        epoch = chosen.get(choice_name(d))
        if epoch in record.metrics.index and (d["teacher"] is None or d["teacher_epoch"] == chosen.get(choice_name(d, "T"))):
            under.append(RunAtEpoch(record, "validation", epoch))
        for entry in under:
            row = (entry.dataset, entry.model, entry.role, entry.protocol, entry.seed)
            other = found.setdefault(row, entry)
            # A longer run passes through the same epochs as the shorter one, which comes first.
            if other is not entry and other.record.description["training"]["epochs"] == d["training"]["epochs"]:
                raise ValueError(
                    f"runs {other.record.key} and {record.key} are both seed {entry.seed} of {entry.role} on "
                    f"{entry.dataset}, protocol {entry.protocol}: a table takes one of them"
                )
    return list(found.values())


def rd_table2(records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, stage: str = "F") -> pd.DataFrame:
    """Table 2 of Ranking Distillation: quality of every run. The paper's RD is our RD-hybrid and is called RD here.

    Reported rows without a run are listed with an empty ``replicated``, under the fixed protocol; they are left out when
    all records are of data sets that the paper does not have.
    """
    return _table("rd_table2", METRICS, records, chosen, stage, papers_name)


def rd_table4(records: Sequence[Record], chosen: Mapping[str, int] | None = None, *, stage: str = "F") -> pd.DataFrame:
    """Table 4 of Ranking Distillation: the weightings of the distillation loss, each under its own name."""
    records = [record for record in records if record.description["role"].startswith("RD-")]
    return _table("rd_table4", ["P@10", "nDCG@10", "MAP"], records, chosen, stage, str)


def _table(name, metrics, records, chosen, stage, named) -> pd.DataFrame:
    values = [
        {"dataset": j.dataset, "model": j.model, "role": named(j.role), "metric": metric,
         "protocol": j.protocol, "replicated": j.record.metrics.loc[j.epoch, metric]}
        for j in at_epochs(records, chosen, stage)
        for metric in metrics
    ]  # fmt: skip
    # Every protocol is compared with the paper's number, which is alone where the fixed protocol has no run of it.
    fixed = next((value["protocol"] for value in values if value["protocol"].startswith("fixed")), "fixed50")
    return with_reported(values, reported(name), fixed, ORDER)


def with_reported(
    values: Sequence[Mapping], theirs: pd.DataFrame, protocol: str, order: Mapping, datasets: Iterable[str] | None = None
) -> pd.DataFrame:
    """Mean, spread and number of the seeds of every row, and the paper's number: the columns `COLUMNS`.

    Args:
        values: a run's metric each, under the first five of `COLUMNS` and ``replicated``.
        theirs: reported rows; those without a run are listed under ``protocol``, unless no run is of the paper's ``datasets``
            (by default those of the rows).
        order: column -> its values as they are sorted; what is not listed comes last.
    """
    keys = COLUMNS[:5]
    runs = pd.DataFrame(values, columns=[*keys, "replicated"]).astype({"replicated": float})
    ours = runs.groupby(keys, sort=False)["replicated"].agg(["mean", "std", "count"]).reset_index()  # std: ddof = 1
    ours.columns = [*keys, "replicated", "std", "seeds"]
    theirs = theirs.rename(columns={"value": "reported"})[[*keys[:4], "reported"]]
    if len(ours) and not set(ours["dataset"]) & set(theirs["dataset"] if datasets is None else datasets):
        theirs = theirs.iloc[:0]
    rows = pd.concat([ours[keys], theirs.assign(protocol=protocol)[keys]]).drop_duplicates()
    table = rows.merge(ours, how="left", on=keys).merge(theirs, how="left", on=keys[:4])
    table["seeds"] = table["seeds"].astype("Int64")
    table["difference"] = table["replicated"] / table["reported"] - 1

    def position(column: pd.Series) -> pd.Series:
        known = order.get(column.name, [])
        return column.map(lambda value: f"{known.index(value):03d}" if value in known else f"~{value}")

    return table.sort_values(keys, key=position, kind="stable")[COLUMNS].reset_index(drop=True)


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """A table in the shape of the paper's: one column for each metric; of every row the reported numbers, ours below them, then
    the standard deviation over seeds and the relative difference, as far as there are any. A metric that fewer seeds have than
    the others is named with its number. Text, for people."""
    names = ["dataset", "model", "role", "protocol"]
    lines = []
    for key, part in table.groupby(names, sort=False):
        part = part.set_index("metric")
        seeds = part["seeds"].dropna()
        fewer = "".join(f", {metric} of {count}" for metric, count in seeds[seeds < seeds.max()].items())
        ours = f"ours, {text.count(seeds.max(), 'seed')}{fewer}" if len(seeds) else ""
        theirs = "paper" if ours else "paper (no data)" if part["dataset"].iloc[0] in NO_DATA else "paper (not run)"
        for column, what in (("reported", theirs), ("replicated", ours), ("std", "std"), ("difference", "difference")):
            if part[column].notna().any():
                cells = {metric: text.cell(column, part.loc[metric, column]) for metric in part.index}
                lines.append(dict(zip(names, key, strict=True)) | {"": what} | cells)
    named = list(dict.fromkeys(table["metric"]))
    metrics = [metric for metric in METRICS if metric in named] + [metric for metric in named if metric not in METRICS]
    return pd.DataFrame(lines, columns=[*names, "", *metrics]).fillna("")


def write_table(
    frame: pd.DataFrame, name: str, profile: str, records: Sequence[Record], source: str, shown: pd.DataFrame | None = None
) -> Path:
    """figures/<profile>/tables/<name>.csv, .md and .tex, entered in the manifest. Returns the CSV's path.

    The CSV has six significant digits; the others are for people: ``shown`` (cells of text), by default the same frame,
    and replication tables (those with COLUMNS) in the paper's shape. The same frame gives the same bytes.
    """
    folder = paths.figures(profile) / "tables"
    if shown is None:
        shown = wide(frame) if list(frame.columns) == COLUMNS else text.cells(frame)
    contents = {
        "csv": frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "md": markdown(shown),
        "tex": latex(shown),
    }
    for ending, content in contents.items():
        path = folder / f"{name}.{ending}"
        write = partial(Path.write_text, data=content, encoding="utf-8", newline="\n")
        manifest.write(path, write, records, source)
    return folder / f"{name}.csv"


def markdown(shown: pd.DataFrame) -> str:
    """A Markdown table of a frame of text, with its closing line break."""
    return text.markdown(shown) + "\n"


def latex(shown: pd.DataFrame) -> str:
    """A booktabs tabular of a frame of text, every special character escaped; \\usepackage{booktabs} is all it needs."""
    numbers = [column in METRICS for column in shown.columns]
    form = "".join("r" if number else "l" for number in numbers)
    return "% needs \\usepackage{booktabs}\n" + shown.to_latex(index=False, escape=True, column_format=form)
