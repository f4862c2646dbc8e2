"""What may teach: models by name, and lists from a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

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


def model(name: str, dim: int):
    """Settings of a model of this name and size (which means nothing to ease and itemcf)."""
    return MODELS[name](dim=dim) if name in STUDENTS else MODELS[name]()


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

    revision = 1

    path: str
    """The file, as `rdcore.store.lists.read_lists` takes it."""
    sha256: str
    """Of the file: other lists are another teacher."""

    def fit(self, interactions: Interactions) -> CompletedLists:
        """The teacher. Raises ValueError where the file has changed, and DataError where it cannot be read."""
        if (here := file_hash(self.path)) != self.sha256:
            raise ValueError(f"{self.path} has changed while it was used (its hash is {here[:12]}): start again")
        return CompletedLists(self.read(interactions), interactions)

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


class CompletedLists(ListedTeacher):
    """Lists from a file; behind them come all other items, the popular ones first.

    Lists are often too short: for a user that the file does not name, or because it names items
    that the user has. A method that asks for ten items then gets popular ones in the last places.
    Their scores lie below the user's lowest, within the range that the listed ones span.
    """

    def __init__(self, lists: GivenLists, fit: Interactions):
        super().__init__(lists)
        counts = torch.from_numpy(fit.item_counts())
        place = counts.argsort(descending=True, stable=True).argsort()
        self.register_buffer("below", (1 + place).float() / self.n_items)  # (n_items,) in (0, 1]

    def score_all(self, context: Tensor) -> Tensor:
        scores = super().score_all(context)  # (B, n_items)
        listed = scores > -torch.inf
        low = scores.masked_fill(~listed, torch.inf).amin(1, keepdim=True)
        low = low.masked_fill(low == torch.inf, 0)
        high = scores.amax(1, keepdim=True).clamp(min=low)
        span = torch.where(high > low, high - low, 1.0)
        return torch.where(listed, scores, low - span * self.below)
