"""Every location of the project, in one place.

`RDCORE_ROOT` moves all of them at once. Nothing is remembered at import: each call asks again, so a test or a notebook
may change the variable (or the working directory) at any time. No function creates a folder; whoever writes does.
"""

import os
from pathlib import Path


def root() -> Path:
    """The project's folder: `RDCORE_ROOT`; else the nearest folder at or above the working directory that holds
    pyproject.toml and rdcore/ (so that notebooks work from any folder of a checkout); else the one above this package."""
    chosen = os.environ.get("RDCORE_ROOT")
    if chosen:
        return Path(chosen).expanduser().resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "rdcore").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def raw() -> Path:
    """Fetched data sets, one folder each."""
    return root() / "data" / "raw"


def reported() -> Path:
    """The papers' own numbers (CSV, committed)."""
    return root() / "data" / "reported"


def replicated() -> Path:
    """Committed records of our paper-size runs."""
    return root() / "data" / "replicated"


def runs() -> Path:
    """The store of runs trained on this machine; `RDCORE_RUNS` names another one (the tests use an empty one)."""
    chosen = os.environ.get("RDCORE_RUNS")
    return Path(chosen).expanduser().resolve() if chosen else root() / "runs"


def figures(profile: str = "paper") -> Path:
    """Tables and pictures of a profile; those of `paper` are the committed ones, at the top."""
    folder = root() / "figures"
    return folder if profile == "paper" else folder / profile


def build() -> Path:
    """Executed notebooks and other throw-away output."""
    return root() / "build"
