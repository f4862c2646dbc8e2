"""Pickles of plain containers, and the leave-one-out splits that some repositories publish as such
files.

A pickle is a program: an ordinary reader imports and calls whatever it names. The reader here
builds dicts, lists, tuples, sets, numbers and text, and refuses every class and function (the
restricted `Unpickler` of Python's documentation)."""

import io
import pickle
from pathlib import Path

import numpy as np

from rdcore.checks import short
from rdcore.data import DataError, Interactions

MOST_BYTES = 1 << 24
"""A pickle can take 200 times its size in memory (empty sets). The largest one in use has 0.6
MB."""

MOST_IDS = 10**8
"""Users or items: arrays of that length are made, whatever else the files hold."""


class _Plain(pickle._Unpickler):
    """Looks nothing up. The reader in Python (which joblib uses too) because the one in C makes
    room for as many objects as a file of ten bytes says it has."""

    def find_class(self, module: str, name: str) -> object:
        raise DataError(f"the class or function {f'{module}.{name}'[:200]!r}")

    def persistent_load(self, identity: object) -> object:
        raise DataError(f"the persistent id {short(identity)}")


def read_plain(path: str | Path) -> object:
    """The one object in a pickle: a dict, list, tuple, set, number, text, None, and such objects
    nested.

    Sets need protocol 4 or later; before it they are a call of a class. Raises DataError for a file
    that asks for any class or function (naming it; nothing of it is run), that is cut off, damaged,
    no pickle, or longer than MOST_BYTES."""
    path = Path(path)
    content = io.BytesIO(_content(path))
    try:
        value = _Plain(content).load()
        if rest := len(content.read()):
            raise ValueError(f"{rest} bytes follow its end")
        return value
    except DataError as asked:
        raise DataError(
            f"{path}: found {asked} in a pickle that may hold nothing but dict, list, tuple, set, numbers, text and None; "
            "nothing of it was run: delete the file and fetch the data set again, or save your own data as plain containers "
            "(sets with protocol 4 or later)"
        ) from None
    except Exception as error:  # a damaged pickle may raise nearly any of them
        raise DataError(
            f"{path} is not a whole pickle ({str(error)[:200] or type(error).__name__}): is it cut off, still compressed, or a "
            "Git LFS pointer? delete it and fetch the data set again"
        ) from None


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} has {size} bytes, more than the {MOST_BYTES} that a pickle may have: split the file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: fetch the data set, or correct the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if not content:
        raise DataError(f"{path} is empty: delete it and fetch the data set again")
    return content


def read_leave_one_out(
    train: str | Path,
    validation: str | Path,
    test: str | Path,
    counts: str | Path | tuple[int, int],
    name: str = "data",
) -> Interactions:
    """A published split: `train` {user: {item: 1}}, `validation` and `test` {user: item}, and how
    many users and items there
    are: (users, items), or the file that holds these two numbers.

    Ids are kept as published, whether or not anything happens to them. A user's sequence is their
    training items in ascending order (they have no times), then their validation item, then their
    test item, so that `leave_one_out` gives the split back. Raises DataError naming the file and
    the user."""
    train, validation, test = map(Path, (train, validation, test))
    sizes = counts if isinstance(counts, tuple) else read_plain(counts)
    if not (isinstance(sizes, tuple) and len(sizes) == 2 and all(type(n) is int and 0 < n <= MOST_IDS for n in sizes)):
        raise _odd(counts, f"expected (users, items), two integers in 1..{MOST_IDS}, found {short(sizes)}")
    n_users, n_items = sizes
    table = _by_user(train, n_users)
    owned: dict[int, list[int]] = {}
    for user, items in table.items():
        if not isinstance(items, dict):
            raise _odd(train, f"user {user} needs a dict of items, found {short(items)}")
        for item, flag in items.items():
            _check_item(train, user, item, n_items)
            if type(flag) is not int or flag != 1:  # a 0 would mean "not an interaction", which no later step could see
                raise _odd(train, f"user {user}, item {item}: expected 1, found {short(flag)}")
        if items:
            owned[user] = sorted(items)
    for path in (validation, test):
        held = _by_user(path, n_users)
        for user in sorted(held.keys() ^ owned.keys()):
            have, lack = ("an item", "no training item") if user in held else ("no item", "training items")
            raise _odd(
                path,
                f"user {user} has {have} here, but {lack} in {train}: all three files need the same users",
            )
        for user, item in held.items():
            _check_item(path, user, item, n_items)
            if item in table[user] or item == owned[user][-1]:
                raise _odd(path, f"user {user} has item {item} in another of the three files too")
            owned[user].append(item)
    offsets = np.zeros(n_users + 1, dtype=np.int64)
    offsets[1 + np.array(list(owned), dtype=np.int64)] = [len(items) for items in owned.values()]
    items = np.array([item for user in sorted(owned) for item in owned[user]], dtype=np.int64)
    return Interactions(name, items, np.cumsum(offsets), n_items)


def _by_user(path: Path, n_users: int) -> dict[int, object]:
    table = read_plain(path)
    if not isinstance(table, dict):
        raise _odd(path, f"expected a dict with one entry per user, found {short(table)}")
    for user in table:
        if type(user) is not int or not 0 <= user < n_users:
            raise _odd(path, f"user {short(user)} is not an integer in 0..{n_users - 1}")
    return table


def _check_item(path: Path, user: int, item: object, n_items: int) -> None:
    if type(item) is not int or not 0 <= item < n_items:
        raise _odd(path, f"user {user}: item {short(item)} is not an integer in 0..{n_items - 1}")


def _odd(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; correct the file, or fetch the data set again")
