"""Checks anybody's losses against losses.json: python check.py ANSWERS.json

ANSWERS.json: {"id of an entry": {"loss": number, "gradient": the shape of the entry's}}; gradients may be left out.
Without it: whether losses.json is whole. Needs numpy alone. Exit status 1 where something is wrong."""

import json
import sys
from pathlib import Path

import numpy as np

TOLERANCE = 5e-6


def wrong(entries: list, answers: dict) -> list[str]:
    """One line for every answer that is not within the tolerance, or that answers nothing."""
    found, known = [], {entry["id"]: entry["expected"] for entry in entries}
    for name, given in answers.items():
        for what, answer in given.items():
            if (expected := known.get(name, {}).get(what)) is None:
                found.append(f"{name}, {what}: losses.json has no such value")
            elif np.shape(answer) != np.shape(expected) or not np.abs(np.subtract(answer, expected)).max() <= TOLERANCE:
                found.append(f"{name}, {what}: {answer} instead of {expected}")
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
