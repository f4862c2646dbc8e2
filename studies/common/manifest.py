"""Where numbers come from: figures/MANIFEST.json for pictures and tables, and a notebook's closing lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rdcore.files import paths
from rdcore.files.disk import locked, remove_partials
from rdcore.files.whole import read_json, write_whole
from rdcore.store.runs import Record, environment

REMEDY = "restore the file from the repository; one that the notebooks wrote here can be deleted, and they write it again"


def write(path: Path, draw: Callable[[Path], object], records: Sequence, source: str) -> None:
    """Lets ``draw`` make one file under a profile's figures folder, whole or not at all (`write_whole`), and enters it into the
    MANIFEST.json of that folder.

    The folder is the nearest one above ``path`` that is a profile's (figures/ or figures/<profile>/).

    Args:
        path: the file.
        records: the runs it was computed from, anything with a ``key`` (records, experiments); may be empty.
        source: the notebook, or whatever else wrote it.

    The entry depends on nothing but these three: the same figure from the same runs leaves the manifest as it was.
    Several processes may write at once; what one left that was killed meanwhile goes.
    """
    folder = _profile_folder(path)
    file = folder / "MANIFEST.json"
    entry = {"runs": sorted({record.key for record in records}), "source": source}
    with locked(paths.build() / "MANIFEST"):
        remove_partials(path.parent, f"{path.name}.")
        remove_partials(folder, f"{file.name}.")
        entries = read_json(file, {str: {"runs": [str], "source": str}}, REMEDY) if file.exists() else {}
        write_whole(path, draw)
        entries[path.relative_to(folder).as_posix()] = entry
        write_whole(file, lambda draft: draft.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n"))


def _profile_folder(path: Path) -> Path:
    top = paths.figures()
    if not path.is_relative_to(top):
        raise ValueError(f"{path} does not lie under {top}: only figures and tables are entered")
    first = path.relative_to(top).parts[0]
    # `tables` belongs to profile paper, whose files are at the top; every other folder there is a profile.
    return top if path.parent == top or first == "tables" else top / first


def provenance(records: Sequence[Record], data_hash: str, seed: int, started: float) -> str:
    """What a notebook prints last: versions, device, seed, hash of the data, commit, duration, and its runs.

    Args:
        records: the runs that were shown; their own device, commit and duration are in their lines.
        started: time.perf_counter() at the notebook's beginning.
    """
    here = environment("cpu", {"seconds": time.perf_counter() - started, "resumed": 0})
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines = [
        f"python {here['python']}, {versions}; {here['machine']}, {here['device']}, {here['threads']} threads",
        f"seed {seed}; data {data_hash[:16]}; commit {here['commit']}; this notebook {here['seconds']} s",
    ]
    for record in {record.key: record for record in records}.values():
        made, asked = record.environment, record.description
        lines.append(
            f"run {record.key}  {asked['stage']} {asked['role']} seed {asked['seed']}: {made['device']}, "
            f"torch {made['versions']['torch']}, commit {made['commit']}, {made['seconds']} s"
        )
    return "\n".join(lines)
