"""Writes the list of papers from papers.csv: python docs/papers.py"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE, PAGE = HERE / "papers.csv", HERE / "papers.md"
COLUMNS = [
    "title", "authors", "year", "venue", "link", "distilled", "idea", "idea_source", "from", "to", "code", "status",
    "because", "card", "cites_derrd",
]  # fmt: skip
DISTILLED = ("order of items", "scores", "vectors", "relations", "several kinds", "", "nothing (background)")
IDEA_SOURCE = {
    "reading": "the code, or notes on the text, read for this project",
    "abstract": "its abstract",
    "readme": "the README of its code",
    "summary": "somebody else's summary",
    "": "",
}
STATUS = {
    "built and matched": "in this project, and compared step by step with the released code "
    "([tests/parity](../tests/parity/official.py))",
    "built": "in this project, with golden values in [data/golden](../data/golden/README.md)",
    "read": "its code or text was read for this project",
    "not read yet": "known by title, abstract or README alone",
    "out of scope": "with the reason",
}

HEAD = """# The list of papers

Works on distillation for recommenders, and works that cite DE-RRD. They are sorted by **what is distilled**: the order of
items, scores, vectors, relations between vectors, several of these; then works of which we do not know it; then background.
Two works tie the field together: the [survey of 2025](https://doi.org/10.3390/electronics14081538) and
[Kang's dissertation](https://arxiv.org/abs/2407.13952), which tells DE-RRD, Topology Distillation, IR-RRD and HetComp as one
story.

What is built and has not run, and what is not built, with the reason: [open.md](open.md).

An empty cell means that we do not know. Ideas are in our words. The list is written by [papers.py](papers.py) from
[papers.csv](papers.csv); add a line there and run `python docs/papers.py`.

| status here | meaning | works |
|---|---|---|
"""


def rows() -> list[dict[str, str]]:
    """The works, in the order of the page. Raises ValueError, naming the line, for a row that breaks the rules of the list."""
    with open(SOURCE, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{SOURCE.name}, line 1: the columns must be {', '.join(COLUMNS)}, got {reader.fieldnames}")
        works = list(reader)
    titles: set[str] = set()
    for line, work in enumerate(works, start=2):
        for problem in _problems(work, titles):
            raise ValueError(f"{SOURCE.name}, line {line} ({work['title'] or 'no title'}): {problem}")
        titles.add(work["title"])
    return sorted(works, key=_place)


def _place(work: dict[str, str]) -> tuple:
    status = list(STATUS).index(work["status"])
    return DISTILLED.index(work["distilled"]), status, work["year"] or "9999", work["title"]


def _problems(work: dict[str, str], titles: set[str]) -> list[str]:
    found = []
    if None in work or None in work.values():
        return [f"a row has {len(COLUMNS)} cells: quote cells that have a comma"]
    if not work["title"] or work["title"] in titles:
        found.append("every work needs a title of its own")
    for column, known in (("distilled", DISTILLED), ("status", STATUS), ("cites_derrd", ("", "yes"))):
        if work[column] not in known:
            found.append(f"{column} must be one of {', '.join(map(repr, known))}, got {work[column]!r}")
    if work["status"] == "out of scope" and not work["because"]:
        found.append("out of scope needs a reason (because)")
    if work["year"] and not work["year"].isdigit():
        found.append(f"year must be a number, got {work['year']!r}")
    if work["idea_source"] not in IDEA_SOURCE or bool(work["idea"]) != bool(work["idea_source"]):
        known = ", ".join(filter(None, IDEA_SOURCE))
        found.append(f"an idea needs an idea_source ({known}), no idea has none; got {work['idea_source']!r}")
    found += [f"{c} must begin with https://, got {work[c]!r}" for c in ("link", "code") if work[c] and not work[c].startswith("https://")]
    return found


def line(work: dict[str, str]) -> str:
    """One row of the table, in Markdown."""
    title = f"[{work['title']}]({work['link']})" if work["link"] else work["title"]
    dated = re.search(r"\b(19|20)\d\d\b", work["venue"])  # a venue of a later year than the preprint
    venue = work["venue"] if dated else f"{work['venue']} {work['year']}"
    origin = ", ".join(filter(None, (work["authors"], venue.strip())))
    way = " → ".join(part or "?" for part in (work["from"], work["to"])) if work["from"] or work["to"] else ""
    known = [title + "." * bool(origin or work["code"]), origin + "." * bool(origin and work["code"])]
    known.append(f"[Code]({work['code']})" if work["code"] else "")
    cards = ", ".join(f"[card](methods/{card}.md)" for card in work["card"].split(", ") if card)
    here = f"**{work['status']}**" if work["status"].startswith("built") else work["status"]
    here += f": {work['because']}" * bool(work["because"]) + f" ({cards})" * bool(cards)
    mark = f" *({work['idea_source']})*" if work["idea_source"] not in ("", "reading") else ""
    cells = [work["distilled"], " ".join(filter(None, known)), work["idea"] + mark, way, here]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """The whole page."""
    works = rows()
    counts = Counter(work["status"] for work in works)
    text = HEAD + "".join(f"| {status} | {meaning} | {counts[status]} |\n" for status, meaning in STATUS.items())
    citing = sum(work["cites_derrd"] == "yes" for work in works)
    text += f"\n{len(works)} works; {citing} of them cite DE-RRD.\n\n" + _sources(works) + "\n\n"
    text += "| distilled | work | idea | from → to | here |\n|---|---|---|---|---|\n"
    return text + "\n".join(map(line, works)) + "\n"


def _sources(works: list[dict[str, str]]) -> str:
    """Where the ideas come from, and how many works have none."""
    counts = Counter(work["idea_source"] for work in works)
    text = f"Ideas without a mark ({counts['reading']}) rest on {IDEA_SOURCE['reading']}; a mark names another source:\n"
    marks = [f"*{source}*, {IDEA_SOURCE[source]} ({counts[source]})" for source in ("abstract", "readme", "summary")]
    text += "; ".join(marks) + ".\n"
    return text + f"{counts['']} works have no idea: no text of them could be read, and their status rests on the title."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.name}", file=sys.stderr)
