"""What may teach: models by name, and lists from a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from rdcore import models
from rdcore.data import Interactions
from rdcore.settings import Settings
from rdcore.store.lists import GivenLists, ListedTeacher, read_lists

MODELS = {
    "bpr": models.BPRMFSettings,
    "caser": models.CaserSettings,
    "fossil": models.FossilSettings,
    "sasrec": models.SASRecSettings,
    "lightgcn": models.LightGCNSettings,
    "ease": models.EASESettings,
    "itemcf": models.ItemCFSettings,
}
"""Name on the command line -> settings. Those of `STUDENTS` have a ``dim``."""
STUDENTS = ("bpr", "caser", "fossil", "sasrec", "lightgcn")

MOST_BYTES = 8e9


SHORT = {"sasrec": {"window": 10, "blocks": 1}}
"""What is smaller here than in the settings' defaults: an epoch of SASRec takes a quarter of the time."""


def model(name: str, dim: int):
    """Settings of a model of this name and size (which means nothing to ease and itemcf)."""
    return MODELS[name](dim=dim, **SHORT.get(name, {})) if name in STUDENTS else MODELS[name]()


def check_size(name: str, data: Interactions) -> None:
    """Raises ValueError where EASE's matrix would not fit into the memory of a usual machine."""
    needed = 8 * min(data.n_users, data.n_items) ** 2
    if name == "ease" and needed > MOST_BYTES:
        raise ValueError(
            f"teacher ease needs {needed / 1e9:.0f} GB for {data.n_users:,} users and {data.n_items:,} items: "
            "take itemcf, bpr or lightgcn, or raise min_actions"
        )


@dataclass(frozen=True, kw_only=True)
class ListsSettings(Settings):
    """A teacher that is known by the lists of a file."""

    revision = 2

    path: str
    """The file, as `rdcore.store.lists.read_lists` takes it."""
    sha256: str
    """Of the file: other lists are another teacher."""

    def fit(self, interactions: Interactions) -> ListedTeacher:
        """The teacher: what the lists do not name has the score -inf. Raises ValueError where the file has changed, and
        DataError where it cannot be read."""
        if (here := file_hash(self.path)) != self.sha256:
            raise ValueError(f"{self.path} has changed while it was used (its hash is {here[:12]}): start again")
        return self.read(interactions).teacher()

    def read(self, interactions: Interactions) -> GivenLists:
        """The lists of the file, which say what was left out of them."""
        return read_lists(self.path, interactions)


def given(path: Path | str) -> ListsSettings:
    """The teacher of a file of lists."""
    path = Path(path).resolve()
    return ListsSettings(path=str(path), sha256=file_hash(path))


def file_hash(path: Path | str) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
