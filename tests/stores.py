"""Comparing two stores of runs, bit by bit."""

import json
from pathlib import Path


def contents(store: Path) -> dict[str, object]:
    """What every file of a store holds, by its path; without what tells where and how long a run was trained, and locks."""
    found: dict[str, object] = {}
    for file in sorted(store.rglob("*")):
        if file.is_dir() or file.name == "environment.json" or file.suffix == ".lock":
            continue
        content: object = file.read_bytes()
        if file.name == "history.json":
            content = [{name: value for name, value in entry.items() if name != "seconds"} for entry in json.loads(content)]
        found[file.relative_to(store).as_posix()] = content
    return found


def differences(store: Path, other: Path) -> list[str]:
    """The files that one of two stores has and the other has not, or has otherwise."""
    one, two = contents(store), contents(other)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
