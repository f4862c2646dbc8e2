"""Checks anybody's losses against losses.json: python check.py ANSWERS.json

ANSWERS.json: {"id of an entry": {"loss": number, "gradient": the shape of the entry's}}; gradients may be left out.
Needs numpy alone. Exit status 1 where an answer is wrong."""

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


if __name__ == "__main__":
    losses = json.loads(Path(__file__).with_name("losses.json").read_text(encoding="utf-8"))
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    bad = wrong(losses, given)
    print(*bad, f"{len(given)} of {len(losses)} entries answered, {len(bad)} wrong", sep="\n")
    sys.exit(bool(bad))
