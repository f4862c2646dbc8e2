"""Checks anybody's losses against losses.json, with numpy alone: python check.py ANSWERS.json

ANSWERS.json: {"id of an entry": {"loss": number, "gradient": the shape of the entry's}}; gradients may be left out."""

import json
import sys
from pathlib import Path

import numpy as np


def wrong(entries: list, answers: dict, tolerance: float = 5e-6) -> list[str]:
    """One line for every answer that is not within the tolerance, or that answers nothing."""
    found, known = [], {entry["id"]: entry["expected"] for entry in entries}
    for name, what, answer in [(name, *pair) for name, given in answers.items() for pair in given.items()]:
        if (expected := known.get(name, {}).get(what)) is None:
            found.append(f"{name}, {what}: losses.json has no such value")
        elif np.shape(answer) != np.shape(expected) or not np.allclose(np.array(answer, float), expected, 0, tolerance):
            found.append(f"{name}, {what}: {answer} instead of {expected}")
    return found


if __name__ == "__main__":
    files = [Path(__file__).with_name("losses.json"), *map(Path, sys.argv[1:])]
    entries, *given = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    (answers,) = given or [{entry["id"]: entry["expected"] for entry in entries}]  # its own
    lines = wrong(entries, answers)
    print(*lines, f"{len(answers)} of {len(entries)} entries answered, {len(lines)} wrong", sep="\n")
    sys.exit(bool(lines))
