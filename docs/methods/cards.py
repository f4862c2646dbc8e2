"""Writes the cards of the later methods: python docs/methods/cards.py

From facts.toml, the docstrings of the settings' fields, data/golden/losses.json and the records of runs."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
import tomllib
from pathlib import Path

from rdcore import distill
from studies.followups.study import of_method, tables

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[1] / "data" / "golden" / "losses.json"

# From a teacher to a student; a method may name other teachers.
CODE = """\
{imports}import rdcore

clicks = rdcore.load("ml-100k")
how = rdcore.Training(epochs=2, batch_size=512, learning_rate=5e-3, negatives=1)
{teacher}
method = rdcore.{method}
student = rdcore.fit(clicks, rdcore.BPRMFSettings(dim=8), teacher=teacher, method=method, training=how)
print(rdcore.compare({{"T": {shown}, "student": student}}, clicks).round(4))
"""
TEACHER = "teacher = rdcore.fit(clicks, rdcore.BPRMFSettings(dim=64), training=how)"

UNTRAINED = "no run of paper size. [Notebook 12](../../notebooks/12_followups.ipynb) trains it on MovieLens-100K."


def fields(settings: type) -> list[tuple[str, str, str]]:
    """Name, default and docstring of every field; without a docstring its last part is empty."""
    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0].body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or ast.unparse(node.annotation).startswith("ClassVar"):
            continue
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = " ".join(after.value.value.split())
        default = ast.unparse(node.value) if node.value else ""
        if default.startswith("added("):
            default = default.removeprefix("added(").removesuffix(")")
        found.append((node.target.id, default, said))
    return found


def code(facts: dict) -> str:
    """A few lines that train a student by the method."""
    method = f"{facts['settings']}({facts.get('arguments', '')})"
    teacher, shown = facts.get("teachers", TEACHER).strip(), facts.get("shown", "teacher")
    return CODE.format(imports=facts.get("imports", ""), teacher=teacher, method=method, shown=shown)


def card(facts: dict, golden: dict[str, dict], here: str) -> str:
    """One card, in Markdown. here: what our runs on record say, "" without one."""
    settings = getattr(distill, facts["settings"])
    lines = [f"# {facts['title']}", "", facts["idea"], "", facts["paper"] + ".", "", "$$", facts["equation"], "$$", ""]
    lines += ["| symbol | meaning |", "|---|---|"]
    lines += [f"| ${symbol}$ | {meaning} |" for symbol, meaning in facts["symbols"]]
    lines += ["", f"**What is sampled, and when.** {facts['samples']}", "", f"**Sum or mean.** {facts['reduction']}", ""]
    lines += [f"**No gradient goes through:** {facts['stopped']}", ""]
    if "cost" in facts:
        lines += [f"**What a step costs.** {facts['cost']} [Notebook 12](../../notebooks/12_followups.ipynb) measures it.", ""]
    lines += ["## Settings", ""]
    where = f"rdcore/distill/followups/{facts['file']}.py"
    lines += [f"`rdcore.distill.{facts['settings']}`, [{where}](../../{where}).", ""]
    lines += [" ".join(inspect.cleandoc(settings.__doc__).replace("``", "`").split()), ""]
    documented = [(n, d, s) for n, d, s in fields(settings) if s]
    lines += ["| field | default | meaning |", "|---|---|---|"]
    lines += [f"| `{n}` | `{d}` | {s.replace('|', chr(92) + '|')} |" for n, d, s in documented]
    lines += ["", "## In code", ""]
    lines += ["Two epochs, to see it run. A useful student needs more, and a weight chosen on validation data.", ""]
    lines += ["```python", *code(facts).splitlines(), "```"]
    lines += ["", "## Where paper, released code and this code differ", ""]
    lines += [f"What is called the paper's on this page rests on: {facts['basis']}", ""]
    lines += [*(f"- {line}" for line in facts["differs"]), ""]
    lines += ["## Golden values", ""]
    lines += ["The loss for small fixed inputs, with which any implementation can be checked. Inputs and gradients:"]
    lines += ["[data/golden/losses.json](../../data/golden/losses.json).", ""]
    lines += ["| entry | form | loss | origin |", "|---|---|---|---|"]
    for entry in (golden[key] for key in facts["golden"]):
        lines.append(f"| `{entry['id']}` | {entry['form']} | {entry['expected']['loss']} | {entry['origin']} |")
    lines += ["", "## Numbers", "", f"- Published: {facts['published']}", f"- Here: {here or UNTRAINED}"]
    lines += ["- What is missing, and why: [open.md](../open.md)", ""]
    lines += ["## When to use it", "", facts["when"], ""]
    return "\n".join(lines)


def cards() -> dict[Path, str]:
    """File -> text of every card."""
    golden = {entry["id"]: entry for entry in json.loads(GOLDEN.read_text(encoding="utf-8"))}
    facts = tomllib.loads((HERE / "facts.toml").read_text(encoding="utf-8"))
    table = tables()["followups"]
    return {
        HERE / f"{name.lower().replace('-', '_')}.md": card(each, golden, of_method(name, table))
        for name, each in facts.items()
    }


if __name__ == "__main__":
    for file, text in cards().items():
        file.write_text(text, encoding="utf-8")
        print(f"written: {file.name}", file=sys.stderr)
