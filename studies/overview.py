"""What notebook 00 shows: the way through the notebooks, the scorecard as text, our numbers and the paper's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdcore.store.experiment import Experiment, family
from studies.common import text
from studies.common.report import RunAtEpoch
from studies.common.reported import HYBRID, papers_name, reported
from studies.common.selection import Choice
from studies.common.style import look
from studies.notebooks import pairing

HEADING = re.compile(r"^# # (?:\d\d )?(.+)$", re.MULTILINE)


def reading_guide() -> str:
    """The notebooks that exist, as a Markdown list of links with their titles."""
    lines = []
    for source in pairing.discover():
        heading = HEADING.search(source.read_text())
        lines.append(f"* [{source.stem}]({source.stem}.ipynb): {heading[1] if heading else source.stem}")
    return "\n".join(lines)


def scorecard_text(card: pd.DataFrame) -> pd.DataFrame:
    """The scorecard for people: effect and interval in one cell, links as Markdown."""
    return pd.DataFrame({
        "claim": card["claim"],
        "verdict": card["verdict"].map(lambda verdict: verdict if verdict.startswith("not") else f"**{verdict}**"),
        "paper": card["reported"].map(text.effect),
        "ours (95 % interval)": [text.effect(row.ours, row.low, row.high) for row in card.itertuples()],
        "p, Holm": card["p"].map(text.p_value),
        "seeds": card["seeds"].map(lambda value: "" if pd.isna(value) else str(value)),
        "seeds needed": card["seeds_needed"].map(lambda value: "" if pd.isna(value) else str(value)),
        "note": card["note"],
        "source": card["source"],
        "notebook": card["notebook"].map(lambda name: f"[{name[:2]}]({name}.ipynb)" if name else ""),
    })  # fmt: skip


def not_run(missing: Sequence[Experiment]) -> pd.DataFrame:
    """How many runs are missing, and of which roles (without the varied setting), a row for each data set, stage and model."""

    def short(role: str) -> str:
        return "-".join(part for part in role.split("-")[:2] if not any(letter.isdigit() for letter in part))

    rows = [(e.dataset, e.stage, family(e.description), short(e.role)) for e in missing]
    frame = pd.DataFrame(rows, columns=["data set", "stage", "model", "roles"])
    groups = frame.groupby(["data set", "stage", "model"], sort=False)["roles"]
    return groups.agg(runs="size", roles=lambda found: ", ".join(dict.fromkeys(found))).reset_index()


def against_the_paper(
    runs: Sequence[RunAtEpoch], roles: Mapping[str, str], dataset: str, metrics: Sequence[str]
) -> Figure:
    """One data set, a row for each model: of every role the paper's number, and ours seed by seed under each protocol.
    roles: role -> its label."""
    tables = [reported("rd_table2").replace({"role": {papers_name(HYBRID): HYBRID}}), reported("rd_table4")]
    reported_here = pd.concat(tables).query("dataset == @dataset").drop_duplicates(["model", "role", "metric"])
    models = sorted({run.model for run in runs}) or ["Caser"]
    protocols = sorted({run.protocol for run in runs})
    width = len(metrics) * max(5, 0.9 * len(roles))
    fig, axes = plt.subplots(len(models), len(metrics), figsize=(width, 3.4 * len(models) + 0.4), squeeze=False)
    for row, model in zip(axes, models, strict=True):
        theirs = reported_here.query("model == @model").set_index(["role", "metric"])["value"]
        of_model = [run for run in runs if run.model == model]
        for ax, metric in zip(row, metrics, strict=True):
            for place, role in enumerate(roles):
                if (role, metric) in theirs.index:
                    ax.plot([place - 0.32, place + 0.32], [theirs[role, metric]] * 2, color="black", linewidth=1.5)
                for column, protocol in enumerate(protocols):
                    x = place + 0.24 * (column - (len(protocols) - 1) / 2)
                    values = [j.record.metrics.loc[j.epoch, metric] for j in of_model
                              if (j.role, j.protocol) == (role, protocol)]  # fmt: skip
                    colour, _, marker = look(role)
                    ax.plot([x] * len(values), values, marker, color=colour, alpha=0.85, linestyle="none",
                            markerfacecolor=colour if column == 0 else "white")  # fmt: skip
            ax.set_xticks(range(len(roles)), list(roles.values()))
            ax.set(ylabel=metric, xlim=(-0.5, len(roles) - 0.5), title=text.where(dataset, model))
            ax.grid(axis="x", visible=False)
            ax.margins(y=0.15)
    handles = [Line2D([], [], color="black", linewidth=1.5, label="paper")]
    for column, protocol in enumerate(protocols):
        handles.append(Line2D([], [], color="grey", marker="o", linestyle="none", label=f"ours, {protocol}, one mark per seed",
                              markerfacecolor="grey" if column == 0 else "white"))  # fmt: skip
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig


def choice_curves(choices: Mapping[str, Choice]) -> Figure:
    """MAP on validation over the epochs of the grid, a panel for each model, and the epoch chosen; a hollow mark lies at the
    border."""
    by_model: dict[str, dict[str, Choice]] = {}
    for name, choice in choices.items():
        *model, role = name.split(" ")
        by_model.setdefault(" ".join(model) or "Caser", {})[role] = choice
    fig, axes = plt.subplots(1, max(len(by_model), 1), figsize=(5 * max(len(by_model), 1), 3.6), squeeze=False)
    for ax, (model, of_model) in zip(axes[0], by_model.items(), strict=False):
        for role, choice in of_model.items():
            colour, dash, marker = look(role)
            ax.plot(list(choice.means), list(choice.means.values()), color=colour, linestyle=dash, label=role)
            ax.plot(choice.epoch, choice.means[choice.epoch], marker, color=colour, markersize=9,
                    markerfacecolor="white" if choice.at_border else colour)  # fmt: skip
        ax.set(xlabel="epoch", ylabel="MAP on validation", title=text.where("gowalla", model))
        ax.legend()
    return fig
