"""The authors' own code as an oracle: found in a folder that the user names, imported, never copied.

    export RDCORE_OFFICIAL=~/checkouts     # holds rank_distill/, DE-RRD_CIKM20/, ..., cloned from their public repositories
    python -m pytest tests/parity
    python tests/parity/measure.py         # writes figures/tables/parity.csv

Without RDCORE_OFFICIAL the tests are skipped and say so.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from torch import Tensor

VARIABLE = "RDCORE_OFFICIAL"
COLUMNS = ["method", "repository", "commit", "what", "steps", "max_difference", "seconds_official", "seconds_ours"]


def missing(name: str) -> str:
    """Why the checkout cannot be used; "" when it can."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"{VARIABLE} is not set: it names a folder with a checkout of {name}"
    return "" if (Path(folder) / name).is_dir() else f"{folder} holds no checkout {name}"


def checkout(name: str) -> Path:
    """The folder of a checkout."""
    return (Path(os.environ[VARIABLE]) / name).resolve()


def commit(name: str) -> str:
    """The first 7 digits of the commit that is checked out."""
    done = subprocess.run(["git", "-C", str(checkout(name)), "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def row(
    name: str, repository: str, method: str, what: str, steps: int, difference: float, seconds: tuple = (None, None)
) -> dict:
    """One row of parity.csv. name: of the checkout; repository: owner/name on GitHub; seconds: theirs and ours."""
    values = [method, repository, commit(name), what, steps, difference, *seconds]
    return dict(zip(COLUMNS, values, strict=True))


@contextlib.contextmanager
def modules(name: str, *wanted: str) -> Iterator[list[ModuleType]]:
    """Imports modules of a checkout. Their names are general (`utils`, `losses`), so they leave sys.modules afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(checkout(name)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old code under a new Python: not ours to mend
            yield [importlib.import_module(module) for module in wanted]
    finally:
        # A folder without __init__.py has no file; its path is found by sys.path and its parent, so both are still there.
        new = {module: sys.modules[module] for module in set(sys.modules) - before}
        files = [getattr(made, "__file__", None) or next(iter(getattr(made, "__path__", [])), "") for made in new.values()]
        for module, file in zip(new, files, strict=True):
            if file.startswith(str(checkout(name))):
                del sys.modules[module]
        sys.path.remove(str(checkout(name)))


@contextlib.contextmanager
def fed(noise: list[Tensor]) -> Iterator[None]:
    """torch's Gumbel draws are ours, one after the other."""
    parts = list(noise)

    class Fed:
        def __init__(self, *given):
            pass

        def sample(self, size):
            made = parts.pop(0)
            assert made.shape == size, "ours and theirs look at other entities"
            return made

    with mock.patch.object(torch.distributions, "Gumbel", Fed):
        yield
    assert not parts, "ours drew more noise than theirs"
