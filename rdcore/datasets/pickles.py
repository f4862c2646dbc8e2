"""Pickles of plain containers, and the split that DE-RRD's repository publishes as four of them.

A pickle is a program for a small machine, and may ask that machine to import and call anything. What is read here may only
build dict, list, tuple, set, numbers, text and None: its instructions are checked against a list of harmless ones before
the first is carried out, and the machine itself refuses to look up a class or a function (two locks, because the check and
the machine are two readers of one format). This guards against what a file may run, and against absurd sizes. It is no
guard against a file made to overflow the interpreter's stack, by a key nested a million tuples deep.
"""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np

from rdcore.checks import short
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions

# A file can take up to about 200 times its size in memory (empty sets). The largest one in use has 0.6 MB.
MOST_BYTES = 1 << 24
MOST_IDS = 10**8  # users or items: arrays of that length are made whatever the file holds

PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
PLAIN = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", *PUTS),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS"),
}
# What these ask for is known only to the machine when it gets there: `_Machine` names it, and goes no further.
NAMED = {"GLOBAL", "STACK_GLOBAL", "INST", "PERSID", "BINPERSID"}


def read_plain(path: str | Path) -> object:
    """The one object in a pickle of any protocol: dict, list, tuple, set, int, float, str, bool, None, and nested ones.

    Sets need protocol 4 or later; before it they are a call of a global. Raises DataError, and has run nothing, for a file
    that asks for anything else (naming it), that is cut off, damaged, no pickle, or longer than MOST_BYTES."""
    path = Path(path)
    content = _content(path)
    try:
        for instruction, argument, place in pickletools.genops(content):
            if instruction.name in NAMED:
                _Machine(path, content).load()
            if instruction.name not in PLAIN:
                raise _refused(path, f"the instruction {instruction.name} at byte {place}")
            if instruction.name in PUTS and argument >= len(content):  # the machine would make room for all before it
                raise ValueError(f"an object is filed under the number {argument}")
        if place + 1 < len(content):
            raise ValueError(f"{len(content) - place - 1} bytes follow its end")
        return _Machine(path, content).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly any of them, and by now nothing else can
        raise DataError(
            f"{path} is not a whole pickle ({str(error)[:200] or type(error).__name__}): is it cut off, still compressed, or a "
            "Git LFS pointer? delete it and fetch the data set again"
        ) from None


class _Machine(pickle.Unpickler):
    """An unpickler that looks nothing up."""

    def __init__(self, path: Path, content: bytes):
        super().__init__(io.BytesIO(content))
        self.path = path

    def find_class(self, module: str, name: str) -> object:
        raise _refused(self.path, f"the class or function {f'{module}.{name}'[:200]!r}")

    def persistent_load(self, identity: object) -> object:
        raise _refused(self.path, f"the persistent id {short(identity)}")


def _refused(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: found {what} in a pickle that may hold nothing but dict, list, tuple, set, numbers, text and None; nothing "
        "of it was run: delete the file and fetch the data set again, or save your own data as plain containers (sets with "
        "protocol 4 or later)"
    )


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
    counts: str | Path,
    name: str = "data",
) -> Interactions:
    """DE-RRD's published split: `train` {user: {item: 1}}, `validation` and `test` {user: item}, `counts` (users, items).

    Ids are kept as published, whether or not anything happens to them. A user's sequence is his training items in ascending
    order (they have none in time), then his validation item, then his test item, so that `leave_one_out` gives the split
    back. Raises DataError naming the file and the user."""
    train, validation, test, counts = map(Path, (train, validation, test, counts))
    sizes = read_plain(counts)
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
            raise _odd(path, f"user {user} has {have} here, but {lack} in {train}: all three files need the same users")
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
    found = read_plain(path)
    if not isinstance(found, dict):
        raise _odd(path, f"expected a dict with one entry a user, found {short(found)}")
    for user in found:
        if type(user) is not int or not 0 <= user < n_users:
            raise _odd(path, f"user {short(user)} is not an integer in 0..{n_users - 1}")
    return found


def _check_item(path: Path, user: int, item: object, n_items: int) -> None:
    if type(item) is not int or not 0 <= item < n_items:
        raise _odd(path, f"user {user}: item {short(item)} is not an integer in 0..{n_items - 1}")


def _odd(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; correct the file, or fetch the data set again")
