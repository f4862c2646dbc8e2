"""What is left on disk, in a form that can be compared bit by bit."""

import json
from pathlib import Path

# Locks, and files that are not there under a final name yet.
UNFINISHED = (".lock", ".partial")


def contents(folder: Path) -> dict[str, object]:
    """What every file below ``folder`` holds, by its path: bytes, or of a notebook its cells and what those tagged
    nbval-check-output printed (others say what they had still to train). Without what tells where and how long a run was
    trained, without locks, and without what a killed process was writing."""
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_dir() or file.name == "environment.json" or any(leftover(part) for part in path.parts):
            continue
        try:
            content: object = file.read_bytes()
        except FileNotFoundError:  # removed in this moment, by a process that goes on
            continue
        if file.name == "history.json":
            content = [{name: value for name, value in entry.items() if name != "seconds"} for entry in json.loads(content)]
        if file.suffix == ".ipynb":
            cells = json.loads(content)["cells"]
            checked = [cell for cell in cells if "nbval-check-output" in cell["metadata"].get("tags", [])]
            content = [cell["source"] for cell in cells], [cell["outputs"] for cell in checked]
        found[path.as_posix()] = content
    return found


def leftover(name: str) -> bool:
    return name.endswith(UNFINISHED) or ".partial." in name or name.startswith(".fetch-")


def differences(one: Path, other: Path) -> list[str]:
    """The files that one of two folders has and the other has not, or has otherwise."""
    here, there = contents(one), contents(other)
    return sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
