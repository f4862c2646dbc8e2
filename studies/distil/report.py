"""The page that `rdcore distil` writes: self-contained, with pictures inside."""

from __future__ import annotations

import io
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rdcore import __version__
from rdcore.eval.significance import Comparison
from rdcore.files.whole import write_whole
from studies.distil.plan import METRIC, Done, Plan
from studies.distil.results import NAMES, SHOWN
from studies.distil.teachers import ListsSettings

GAIN = "distilled minus alone"
COLOURS = {"POP": "#8C8C8C", "T": "#0072B2", "S": "#E69F00", "D": "#009E73"}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
 h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ddd }
 table { border-collapse: collapse; width: 100% } th, td { padding: .3rem .6rem; text-align: right }
 th { border-bottom: 1px solid #888 } tr:nth-child(even) td { background: #f6f6f6 }
 th:first-child, td:first-child { text-align: left } small { color: #555; white-space: nowrap }
 .warnings { background: #fff6e0; border-left: 4px solid #E69F00; padding: .5rem 1rem }
 .result { font-size: 1.1rem } svg { max-width: 100%; height: auto } code { background: #f2f2f2; padding: 0 .2rem }
 .made td:last-child { text-align: left; font-family: monospace; overflow-wrap: anywhere } .made td { vertical-align: top }
 .wide { overflow-x: auto }
 h1 { overflow-wrap: anywhere }
 @media (max-width: 40rem) {
  table { font-size: .8rem } th, td { padding: .3rem .2rem } ul { padding-left: 1.2rem }
  td small { white-space: normal; font-size: .65rem }
 }
</style></head><body>
<h1>A distilled recommender</h1>
<p class="result">{{ conclusion | join(" ") }}</p>
<p>{{ who }}</p>
{% if warnings %}<div class="warnings"><b>Before you believe it</b><ul>
{% for line in warnings %}<li>{{ line }}</li>
{% endfor %}</ul></div>{% endif %}
<h2>Quality on test data</h2>
<div class="wide"><table><tr><th>model</th><th>runs</th>{% for name in metrics %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr><td>{{ row.name }}</td><td>{{ row.runs }}</td>
{% for value, low, high in row.metrics %}<td>{{ value }}
{% if low %}<br><small>{{ low }}&nbsp;to {{ high }}</small>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</table></div>
<p>Every user's test rows are looked for among all items that are new to them; more is better. P@10: which share of
the first ten items are test rows. R@10: which share of the test rows are among the first ten. nDCG@10: as P@10, but higher
places count more, and of a user with fewer than ten test rows only that many places. MAP: over the whole list. In small
print: 95 % intervals over users and seeds, or over users alone where
a model has one run. The intervals of two models may overlap though one is clearly better, because both are
measured on the same users. The last row compares the two students user by user: the teacher helped where its interval lies
above 0.</p>
{{ intervals | safe }}
<h2>Size and time</h2>
<table><tr><th>model</th><th>size</th><th>one user's list</th></tr>
{% for row in costs %}<tr><td>{{ row.name }}</td><td>{{ row.size }}</td><td>{{ row.ms }}</td></tr>
{% endfor %}</table>
<p>{{ saving }} Time: median of {{ timed }} users, one at a time, on one core, PyTorch.</p>
<h2>How they learn</h2>
{{ curves | safe }}
<p>{{ metric }} on validation data after each evaluated epoch (pass over the data), the chosen setting of each model. The
mark is the epoch that the final runs are trained for.
{% if computed %}The teacher is computed and not trained: a line.{% endif %}</p>
<h2>What was tried</h2>
<table><tr><th>model</th><th>setting</th><th>best epoch</th><th>{{ metric }}, validation</th></tr>
{% for row in trials %}<tr><td>{{ row.name }}</td><td>{{ row.setting }}</td><td>{{ row.epoch }}</td>
<td>{% if row.chosen %}<b>{{ row.score }}</b>{% else %}{{ row.score }}{% endif %}</td></tr>
{% endfor %}</table>
<p>Bold: chosen. The student alone gets as many trials as the distilled one: of its weight decay, which keeps its vectors
small. A distillation weight says how much the teacher counts, compared with the data.</p>
<h2>Data and split</h2>
<table><tr><th></th><th>number</th></tr>
{% for name, count in data %}<tr><td>{{ name }}</td><td>{{ count }}</td></tr>
{% endfor %}</table>
<p>Each user's rows are cut by time: the oldest 70 % to learn from, the next 10 % to choose settings by (validation),
the newest 20 % to report on (test). The final runs learn from the first 80 %. Of several rows of one user and item,
the first counts.</p>
<h2>Use it</h2>
<p><code>python serve.py USER</code> in this folder prints a user's list; it needs numpy and onnxruntime alone.
<code>student.onnx</code> and <code>student.onnx.data</code> are the distilled student (seed 1), <code>student.npz</code>
has the labels and who has what. The runs with all their numbers are in <code>runs</code>.</p>
<h2>How this was made</h2>
<details><summary>The whole {{ made[0][0] }}, versions and hashes</summary>
<table class="made">
{% for name, value in made %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}</table></details>
</body></html>
"""


class Source(NamedTuple):
    """The file behind the clicks, and the command that read it."""

    path: Path
    sha256: str
    command: str
    """With all options."""
    rated: bool
    """Whether rows with low ratings were left out."""


def how_made(plan: Plan, arguments: dict, source: Source | None) -> list[tuple[str, str]]:
    """What is needed to make the page again, name and value: the command or, without one, the call of `distil` with its
    ``arguments``; versions and hashes."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    call = f"distil(clicks, {', '.join(f'{name}={value!r}' for name, value in given.items())})"
    lines = [("command", source.command) if source else ("call", call)]
    lines.append(("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))
    lines.append(("versions", f"rdcore {__version__}, Python {platform.python_version()}, torch {torch.__version__}"))
    if source:
        lines += [("file", str(source.path.resolve())), ("its sha256", source.sha256)]
    lines.append(("sha256 of the rows used", plan.data.sha256()))
    if isinstance(plan.teacher, ListsSettings):
        lines += [("teacher's lists", plan.teacher.path), ("their sha256", plan.teacher.sha256)]
    return lines


def write_report(
    path: Path, done: Done, table: pd.DataFrame, gains: dict[str, Comparison], conclusion: list[str], warnings: list[str],
    facts: list[tuple[str, str]], timed: int, source: str, made: list[tuple[str, str]],
) -> None:  # fmt: skip
    """Writes the page. source: what the data are called; made: lines of `how_made`."""
    rows = [
        {
            "name": row["model"], "runs": row["runs"],
            "metrics": [
                ["-", "", ""] if pd.isna(row[name]) else [f"{row[f'{name}{end}']:.4f}" for end in ("", " low", " high")]
                for name in SHOWN
            ],
        }
        for _, row in table.iterrows()
    ]  # fmt: skip
    paired = [[f"{value:+.4f}" for value in (gain.difference, gain.low, gain.high)] for gain in gains.values()]
    rows.append({"name": GAIN, "runs": table.loc["D", "runs"], "metrics": paired})
    costs = [
        {"name": row["model"], "size": _bytes(row["bytes"]), "ms": "-" if pd.isna(row["ms"]) else f"{row['ms']:.2f} ms"}
        for _, row in table.iterrows()
    ]  # fmt: skip
    words = {"S": "weight decay {:g}", "D": f"{done.plan.method}, weight {{:g}}", "T": _name(done.plan.teacher)}
    computed = not hasattr(done.plan.teacher, "build")
    trials = [
        {
            "name": NAMES[role], "setting": words[role].replace("{:g}", f"{trial.value:g}"),
            "epoch": "-" if role == "T" and computed else trial.epoch,
            "score": f"{trial.score:.4f}", "chosen": trial == done.chosen[role],
        }
        for role, group in done.trials.items() for trial in group
    ]  # fmt: skip
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(PAGE)
    text = page.render(
        title=f"A distilled recommender: {source}", conclusion=conclusion, warnings=warnings,
        metrics=list(SHOWN), rows=rows, intervals=_intervals(table, gains[METRIC]), costs=costs, saving=_saving(table),
        timed=timed, curves=_curves(done), metric=METRIC, computed=computed, who=_who(done, source), trials=trials, data=facts,
        made=made,
    )  # fmt: skip
    write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))


def _saving(table: pd.DataFrame) -> str:
    t, d = table.loc["T"], table.loc["D"]
    if pd.isna(t["bytes"]) or pd.isna(t["ms"]):
        return "The teacher's own size and time are not known."
    return (
        f"The distilled student takes {100 * d['bytes'] / t['bytes']:.1f} % of the teacher's bytes and "
        f"{100 * d['ms'] / t['ms']:.0f} % of its time."
    )


def _who(done: Done, source: str) -> str:
    """Data, teacher, student and method, in a few sentences."""
    plan = done.plan
    return (
        f"Data: {source}. Teacher: {_name(plan.teacher)}. Student: {_name(plan.student)}, taught by {plan.method} with weight "
        f"{done.chosen['D'].value:g}."
    )


def _name(settings) -> str:
    """What a model is, in a word or two."""
    if isinstance(settings, ListsSettings):
        return f"lists of {Path(settings.path).name}"
    size = f", {settings.dim} numbers a vector" if hasattr(settings, "dim") else ""
    return type(settings).__name__.removesuffix("Settings").replace("BPRMF", "BPR-MF") + size


def _bytes(n: float) -> str:
    if pd.isna(n):
        return "-"
    return f"{n / 1e6:.2f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB"


def _intervals(table: pd.DataFrame, gain: Comparison) -> str:
    """Above, the models; below, the gain of the distilled student over the student alone."""
    figure = Figure(figsize=(5.5, 0.45 * len(table) + 1.9), layout="constrained")
    axes, below = figure.subplots(2, height_ratios=[len(table), 1])
    for place, (role, row) in enumerate(table.iloc[::-1].iterrows()):
        low, high = row[METRIC] - row[f"{METRIC} low"], row[f"{METRIC} high"] - row[METRIC]
        axes.errorbar(
            row[METRIC], place, xerr=[[max(low, 0)], [max(high, 0)]], fmt="o", color=COLOURS[role], capsize=4, lw=2
        )
    axes.set_yticks(range(len(table)), table["model"].iloc[::-1])
    axes.set_ylim(-0.5, len(table) - 0.5)
    axes.set_xlabel(f"{METRIC} with 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    low, high = gain.difference - gain.low, gain.high - gain.difference
    below.axvline(0, color="#8C8C8C", lw=1)
    below.errorbar(gain.difference, 0, xerr=[[max(low, 0)], [max(high, 0)]], fmt="o", color=COLOURS["D"], capsize=4, lw=2)
    below.set_yticks([0], [GAIN])
    below.set_ylim(-0.5, 0.5)
    below.set_xlabel(f"difference in {METRIC} with 95 % interval")
    below.grid(axis="x", alpha=0.3)
    return _svg(figure, "intervals")


def _curves(done: Done) -> str:
    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for role, trial in done.chosen.items():
        scores = trial.run.metrics[METRIC]
        if role == "T" and not hasattr(done.plan.teacher, "build"):  # nothing is trained
            axes.axhline(trial.score, color=COLOURS[role], ls="--", label=NAMES[role])
            continue
        axes.plot(scores.index, scores, color=COLOURS[role], label=NAMES[role])
        axes.plot(trial.epoch, trial.score, "o", color=COLOURS[role])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{METRIC}, validation")
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, loc="outside upper center", ncols=len(done.chosen))  # inside, it hides a line
    return _svg(figure, "curves")


def _svg(figure: Figure, name: str) -> str:
    """A picture as SVG for the inside of a page, the same bytes every time. ``name`` keeps its ids apart from others."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
