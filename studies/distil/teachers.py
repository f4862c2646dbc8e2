"""What may teach: models by name, and lists from a file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdcore import models
from rdcore.data import DataError, Interactions
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model
from rdcore.settings import Settings
from rdcore.store.lists import GivenLists, ListedTeacher, read_lists
from studies.common.example import example as of_settings

MODELS = {
    "bpr": models.BPRMFSettings,
    "caser": models.CaserSettings,
    "fossil": models.FossilSettings,
    "sasrec": models.SASRecSettings,
    "lightgcn": models.LightGCNSettings,
    "ease": models.EASESettings,
    "gfcf": models.GFCFSettings,
    "ials": models.IALSSettings,
    "itemcf": models.ItemCFSettings,
    "pop": models.PopularitySettings,
}
"""Name on the command line -> settings. Those of `WITH_VECTORS` have a ``dim``."""
STUDENTS = ("bpr", "caser", "fossil", "sasrec", "lightgcn")
WITH_VECTORS = (*STUDENTS, "ials")
"""Teachers that have vectors and score single items; the others have neither."""

MOST_BYTES = 8e9


SHORT = {"sasrec": {"window": 10, "blocks": 1}}
"""What is smaller here than in the settings' defaults: an epoch of SASRec takes a quarter of the time."""


def model(name: str, dim: int):
    """Settings of a model of this name and size (which means nothing to a teacher without vectors)."""
    return MODELS[name](dim=dim, **SHORT.get(name, {})) if name in WITH_VECTORS else MODELS[name]()


def example(settings) -> Model:
    """`studies.common.example`, also of lists."""
    if isinstance(settings, ListsSettings):
        return ListedTeacher(GivenLists(np.zeros((4, 1), np.int32), None, None, 6, {}))
    return of_settings(settings)


def memory(name: str, dim: int, data: Interactions) -> int:
    """Bytes that a computed teacher needs, beyond the data; 0 where it is less than a trained one's."""
    users, items = data.n_users, data.n_items
    if name == "ease":
        return 8 * min(users, items) ** 2
    if name == "gfcf":  # singular vectors twice and the basis they come from; scores of one block of users
        return 8 * (2 * 256 * items + 2 * 256 * min(users, items) + 2 * block_rows(items, 512) * users)
    return 8 * 3 * dim * (users + items) if name == "ials" else 0


def check_size(name: str, dim: int, data: Interactions) -> None:
    """Raises ValueError where a computed teacher would not fit into the memory of a usual machine."""
    needed = memory(name, dim, data)
    if needed > MOST_BYTES:
        lower = "lower teacher_dim, " if name == "ials" else ""
        raise ValueError(
            f"teacher {name} needs {needed / 1e9:.0f} GB for {data.n_users:,} users and {data.n_items:,} items: "
            f"{lower}take itemcf, bpr or lightgcn, or raise min_actions"
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
        """The teacher: what the lists do not name has the score -inf. Raises as ``read``."""
        return self.read(interactions).teacher()

    def read(self, interactions: Interactions) -> GivenLists:
        """The lists of the file, which say what was left out of them. Raises ValueError where the file has changed, and
        DataError where it cannot be read."""
        if (here := file_hash(self.path)) != self.sha256:
            raise ValueError(f"{self.path} has changed while it was used (its hash is {here[:12]}): start again")
        try:
            return read_lists(self.path, interactions)
        except DataError as error:  # here nothing gives its argument
            raise DataError(re.sub(r", or in Python say which with columns=\{.*\}", "", str(error))) from None


def given(path: Path | str) -> ListsSettings:
    """The teacher of a file of lists."""
    path = Path(path).resolve()
    return ListsSettings(path=str(path), sha256=file_hash(path))


def file_hash(path: Path | str) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
