"""Checks anybody's losses against losses.json: python check.py ANSWERS.json

ANSWERS.json: {"id of an entry": {"loss": number, "gradient": the shape of the entry's}}; gradients may be left out.
Without it: whether losses.json is whole. Needs numpy alone. Exit status 1 where something is wrong."""

import json
import sys
from pathlib import Path

import numpy as np

TOLERANCE = 5e-6


def wrong(entries: list, answers: dict) -> list[str]:
    """One line for every answer that is not within the tolerance."""
    found = []
    for entry in entries:
        for what, expected in entry["expected"].items():
            if (answer := answers.get(entry["id"], {}).get(what)) is None:
                continue
            difference = np.abs(np.asarray(answer, float) - np.asarray(expected, float)).max()
            if not difference <= TOLERANCE:
                found.append(f"{entry['id']}, {what}: {answer} instead of {expected}")
    return found


def broken(entries: list) -> list[str]:
    """One line for everything that is wrong with the file itself."""
    ids = [entry["id"] for entry in entries]
    found = [f"{name}: the id is there twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    for entry in entries:
        of, expected = entry.get("gradient_of"), entry["expected"]
        if not all(np.isfinite(np.asarray(value, float)).all() for value in expected.values()):
            found.append(f"{entry['id']}: a value is no number")
        if of and (shape := np.shape(expected.get("gradient"))) != np.shape(entry["inputs"][of]):
            found.append(f"{entry['id']}: the gradient has the shape {shape}, {of} has another")
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python check.py [ANSWERS.json]")
    losses = json.loads(Path(__file__).with_name("losses.json").read_text(encoding="utf-8"))
    if given := sys.argv[1:]:
        answers = json.loads(Path(given[0]).read_text(encoding="utf-8"))
        bad, done = wrong(losses, answers), f"{len(answers)} of {len(losses)} entries answered"
    else:
        bad, done = broken(losses), f"{len(losses)} entries"
    print(*bad, f"{done}, {len(bad)} wrong", sep="\n")
    sys.exit(bool(bad))
