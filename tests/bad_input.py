"""What the tests of bad input share: accidents that may befall a file, and for each reader of data a check of one input.

A check gets a folder of its own and the bytes of a file, and returns whether the reader took them. It fails when the reader
raises anything but the project's own error, when that does not name the file (and the line, where a line is to blame), and
when the reader took what a slow and obvious reading of the same bytes refuses, or read it otherwise.

Two things feed the checks: hypothesis (test_bad_input.py, in every run of the tests) and atheris, which looks for inputs
that reach new lines of the readers (harness/fuzz.py, by hand). Records and settings: bad_records.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from rdcore.data import DataError, from_frame
from rdcore.datasets import fetch as bring
from rdcore.datasets import formats, pickles
from rdcore.datasets.base import DataSet, File
from rdcore.datasets.catalog import CATALOG

SEPARATOR = b"\n=====\n"  # between the files of a reader that takes several

# ------------------------------------------------------------------------------------------------------------------ accidents

ODD = [
    b"-1", b"-0", b"+1", b"1.0", b"1e3", b"0x1", b"1_000", b"007", b"", b" ", b"9" * 18, b"9" * 19, b"9223372036854775808",
    b"9" * 5000, b"nan", b"inf", b"None",
    b"\xd9\xa4", b"\xc2\xb2", b"\xef\xbc\x91", b'"1"', b"1\x00", b"\xff",
    b"\x0c1", b"1 ",
]  # fmt: skip
INSERTED = [
    b"\x00", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xef\xbb\xbf", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8",
    b"-", b"+", b"#", b'"', b",",
]  # fmt: skip
# In the place of a value of a JSON file. The numbers as Python reads them, which is more than JSON allows.
ODD_VALUES = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1.5, 1e308, 10**400, 2**63, math.nan, math.inf, -math.inf, "", "1",
    "nan", "a\nb", "\x1b[31m", "\ud800", "\u202e", "../x", "0" * 64, [], [[]], [1], [None], {}, {"type": "X"}, {"epoch": 1},
]  # fmt: skip
KINDS = ("byte", "copy", "insert", "field", "drop line", "repeat line", "swap fields", "cut", "crlf", "bom", "end")


def mutated(content: bytes, made: Sequence[tuple]) -> bytes:
    """A valid file after some accidents: (kind, place, what) each."""
    for kind, place, what in made:
        lines = content.split(b"\n")
        at = place % max(len(content), 1)
        n = place % len(lines)
        if kind == "byte":
            content = content[:at] + bytes([what % 256]) + content[at + 1 :]
        elif kind == "copy":
            content = content[:at] + content[at : at + what] + content[at:]
        elif kind == "insert":
            content = content[:at] + INSERTED[what % len(INSERTED)] + content[at:]
        elif kind == "cut":
            content = content[:at]
        elif kind == "crlf":
            content = content.replace(b"\n", b"\r\n")
        elif kind == "bom":
            content = b"\xef\xbb\xbf" + content
        elif kind == "end":
            content = content.removesuffix(b"\n")
        elif kind == "drop line":
            content = b"\n".join(lines[:n] + lines[n + 1 :])
        elif kind == "repeat line":
            content = b"\n".join(lines[: n + 1] + lines[n:])
        else:
            fields = re.split(rb"([ \t,])", lines[n])
            spot = 2 * (place // len(lines) % (len(fields) // 2 + 1))
            if kind == "field":
                fields[spot] = ODD[what % len(ODD)]
            elif len(fields) > 2:
                other = 2 * (what % (len(fields) // 2 + 1))
                fields[spot], fields[other] = fields[other], fields[spot]
            lines[n] = b"".join(fields)
            content = b"\n".join(lines)
    return content


def accident(content: bytes, rng: random.Random) -> bytes:
    """To a file of lines, or of anything."""
    made = [(rng.choice(KINDS), rng.randrange(2**16), rng.randrange(2**10)) for _ in range(rng.randint(1, 3))]
    return mutated(content, made)


def json_accident(content: bytes, rng: random.Random) -> bytes:
    """To a JSON file: a value is replaced, lost, or doubled, or a name changes; what is no JSON has an accident of bytes."""
    head, _, body = content.rpartition(SEPARATOR)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return accident(content, rng)
    places = list(_places(value))
    for _ in range(rng.randint(1, 2)):
        if not places:
            break
        owner, name = rng.choice(places)
        kind = rng.choice(["replace"] * 5 + ["drop", "rename", "copy", "append"])
        try:
            if kind == "replace":
                owner[name] = rng.choice(ODD_VALUES)
            elif kind == "drop":
                del owner[name]
            elif kind == "copy":
                other, there = rng.choice(places)
                owner[name] = json.loads(_dumped(other[there]))
            elif isinstance(owner, list):
                owner.append(json.loads(_dumped(owner[name])))
            elif kind == "rename":
                owner[rng.choice(["", "type", "epoch", "MAP", "x\ud800", str(name).upper()])] = owner.pop(name)
        except (LookupError, ValueError):  # two accidents in one place
            continue
    text = _dumped(value)
    if rng.random() < 0.05 and isinstance(value, dict) and value:  # a name twice
        text = text.replace("{", "{" + json.dumps(rng.choice(list(value))) + ": 1, ", 1)
    return (head + SEPARATOR if head else b"") + text.encode()


def _places(value: object):
    """Every (owner, name or index) in a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(entries):
        yield value, name
        yield from _places(inner)


def _dumped(value: object) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # an integer that Python prints only when asked twice
        return json.dumps(str(type(value)))


# --------------------------------------------------------------------------------------------------- what a reader has made


class Wrong(Exception):
    """Of the slow readers below: the number of the line to blame, None for the file as a whole."""


def outcome(read, *paths: Path):
    """What a reader makes of files: its result, or the message of its refusal."""
    try:
        return read(*paths), None
    except ValueError as error:
        assert type(error) in (DataError, ValueError), repr(error)
        message = str(error)
        assert any(str(path) in message for path in paths), f"the message does not name the file: {message}"
        assert len(message) < 3000, "a message is read by people"
        return None, message


# ------------------------------------------------------------------------------------------------ the slow, obvious readings


def lines_of(content: bytes) -> list[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Wrong(None) from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise Wrong(None)
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def number(word: str, line: int) -> int:
    if not (1 <= len(word) <= 18 and set(word) <= set("0123456789")):
        raise Wrong(line)
    return int(word)


def slow_numbers(content: bytes, separator: str, columns: int) -> list[list[int]]:
    rows = []
    for place, line in enumerate(lines_of(content), start=1):
        words = line.split(separator)
        if len(words) != columns:
            raise Wrong(place)
        rows.append([number(word, place) for word in words])
        if columns == 3 and rows[-1][2] != 1:
            raise Wrong(place)
    return rows


def slow_triples(content: bytes):
    return [row[:2] for row in slow_numbers(content, " ", 3)]


def slow_udata(content: bytes):
    return [[row[0], row[1], row[3]] for row in slow_numbers(content, "\t", 4)]


def slow_item_lists(content: bytes):
    rows = []
    for place, line in enumerate(lines_of(content), start=1):
        count, *items = [number(word, place) for word in line.removesuffix(" ").split(" ")]
        if count != len(items) or len(set(items)) != count:
            raise Wrong(place)
        rows += [[place - 1, item] for item in items]
    return rows


def slow_histories(content: bytes) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, line in enumerate(lines_of(content), start=1):
        words = line.split(" ")
        if len(words) < 2:
            raise Wrong(place)
        user, *values = [number(word, place) for word in words]
        if user in found:
            raise Wrong(place)
        found[user] = values
    return found


# ------------------------------------------------------------------------------------------------------- checks of data files

TRIPLES = b"1 106 1\n1 105 1\n2 7 1\n30 0 1\n"
UDATA = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
ITEM_LISTS = b"2 9 8 \n0 \n3 8 0 7 \n1 5\n"
ITEMS, TIMES = b"4 9 8 9\n0 7\n12 1 2\n", b"0 50\n4 100 200 200\n12 5 6\n"


def agrees(read: Callable, slow: Callable) -> Callable[[Path, bytes], bool]:
    """The check of a reader of one file against its slow reading."""

    def check(folder: Path, content: bytes) -> bool:
        path = folder / "file"
        path.write_bytes(content)
        found, message = outcome(read, path)
        try:
            expected = slow(content)
        except Wrong as wrong:
            assert message is not None, f"accepted silently: {content!r}"
            (line,) = wrong.args
            assert line is None or f"{path}, line {line}:" in message, (line, message)
            return False
        assert message is None, message
        assert found.to_numpy().tolist() == expected, content
        return True

    return check


check_triples = agrees(formats.read_triples, slow_triples)
check_udata = agrees(formats.read_udata, slow_udata)
check_item_lists = agrees(formats.read_item_lists, slow_item_lists)


def check_histories(folder: Path, content: bytes) -> bool:
    contents = content.partition(SEPARATOR)[::2]
    files = folder / "items", folder / "times"
    for file, own in zip(files, contents, strict=True):
        file.write_bytes(own)
    found, message = outcome(formats.read_histories, *files)
    slow = []
    for file, own in zip(files, contents, strict=True):
        try:
            slow.append(slow_histories(own))
        except Wrong as wrong:
            assert message is not None, f"accepted silently: {contents!r}"
            assert str(file) in message and (wrong.args[0] is None or f"{file}, line {wrong.args[0]}:" in message)
            return False
    items, times = slow
    if {user: len(values) for user, values in items.items()} != {user: len(values) for user, values in times.items()}:
        assert message is not None and ", line " in message, contents
        return False
    assert message is None, message
    expected = [[user, *pair] for user in items for pair in zip(items[user], times[user], strict=True)]
    assert found.to_numpy().tolist() == expected
    return True


# -------------------------------------------------------------------------------------------------------------------- frames

TABLE = (
    b"user,item,time\n1,10,2010-10-19 23:55:27\n1,11,2010-10-19T23:55:27Z\n2.0,10,2010-10-17\n2.0,12,2010-10-18\n"
    b"90000000000000001,10,2010-10-20 01:55:27+02:00\n"
)
NUMBERS_TABLE = b"user,item,time\nann,a,5\nann,b,5\nbob,a,1287532527.5\nbob,c,7\n"


def check_frame(folder: Path, content: bytes) -> bool:
    """A table with the columns user, item, time, as pandas reads it."""
    try:
        frame = pd.read_csv(io.BytesIO(content))
    except (ValueError, OverflowError):  # pandas' own refusals
        return False
    if list(frame.columns) != ["user", "item", "time"] or not len(frame):
        return False
    return check_table(frame)


def check_table(frame: pd.DataFrame) -> bool:
    """Whether `from_frame` takes the table; every user's events must then be in the order of their times, and labels whole."""
    try:
        found = from_frame(frame, name="mine")
    except DataError as error:
        assert "mine" in str(error) and re.search("'user'|'item'|'time'", str(error)), str(error)
        return False
    with np.errstate(over="ignore"):  # numbers beyond a float32 beside one
        expected = slow_sequences(frame)
        users, items = sorted(expected), sorted(set(frame["item"].tolist()))
    assert found.user_ids.tolist() == users and found.item_ids.tolist() == items
    for place, name in enumerate(found.user_ids.tolist()):
        own = slice(found.offsets[place], found.offsets[place + 1])
        pairs = list(zip(found.item_ids[found.items[own]].tolist(), found.times[own].tolist(), strict=True))
        assert at_one_time(pairs) == at_one_time(expected[name])
    return True


def slow_sequences(frame: pd.DataFrame) -> dict:
    """{user: [(item, time), ...]}, oldest first, first actions only, of labels and times as they are in the table."""
    rows = list(zip(frame["user"].tolist(), frame["item"].tolist(), frame["time"].tolist(), strict=True))
    found: dict = {}
    for user, item, time in sorted(rows, key=lambda row: moment(row[2])):
        if item not in [before for before, _ in found.setdefault(user, [])]:
            found[user].append((item, moment(time)))
    return found


def moment(time) -> Fraction:
    """A number, text of digits, or date, as an exact number."""
    if isinstance(time, str) and not re.fullmatch(r"[+-]?\d+(\.\d*)?", time):
        time = pd.Timestamp(time)
    if isinstance(time, pd.Timestamp):
        return Fraction(int(time.asm8.view("i8")), {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[time.unit])
    return Fraction(time if isinstance(time, str) else float(time) if isinstance(time, float) else int(time))


def at_one_time(pairs: list) -> list:
    """(item, time) of one user, oldest first, as the sets of what happened at one time."""
    return [{item for item, t in pairs if t == time} for time in dict.fromkeys(time for _, time in pairs)]


# ------------------------------------------------------------------------------------------------------------------- pickles

SPLIT = {"train": {2: {4: 1, 0: 1}, 0: {3: 1}, 3: {}}, "validation": {0: 1, 2: 3}, "test": {2: 5, 0: 0}, "counts": (5, 7)}
PICKLED = [pickle.dumps(SPLIT | {"more": [1.5, None, True, "text", 2**70]}, protocol=protocol) for protocol in (0, 2, 3, 4, 5)]


class Calls:
    """Pickled as a call, which an ordinary reader carries out."""

    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


def payloads(victim: Path) -> dict[str, bytes]:
    """Pickles that would make the file ``victim``."""
    code = f"open({str(victim)!r}, 'w')"
    touch, array = f"touch {victim}", np.empty(1, dtype=object)
    array[0] = Calls(os.system, touch)
    found = {f"system, protocol {p}": pickle.dumps({1: Calls(os.system, touch)}, protocol=p) for p in range(6)}
    found |= {f"eval, protocol {p}": pickle.dumps([Calls(eval, code)], protocol=p) for p in range(6)}
    found["numpy"] = pickle.dumps(array)
    text = code.encode()
    short = b"\x8c" + bytes([len(text)]) + text if len(text) < 256 else b"X" + len(text).to_bytes(4, "little") + text
    found["names from the memo"] = b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94h\x00h\x01\x93" + short + b"\x85R."
    found["names joined late"] = b"\x80\x04(\x8c\x02ab1\x8c\x08builtins\x8c\x04eval\x93" + short + b"\x85R."
    found["INST"] = b"(S" + repr(code).encode() + b"\nibuiltins\neval\n."
    found["OBJ"] = b"(cbuiltins\neval\nS" + repr(code).encode() + b"\no."
    found["after a whole object"] = pickle.dumps({}) + pickle.dumps(Calls(os.system, touch))
    return found


def check_pickle(folder: Path, content: bytes) -> bool:
    path = folder / "file"
    path.write_bytes(content)
    found, message = outcome(pickles.read_plain, path)
    if message is None:  # safe: by the file's own instructions it is made of plain containers
        assert repr(found) == repr(pickle.loads(content))
    return message is None


def check_split(folder: Path, content: bytes) -> bool:
    """Four pickles, in the order of SPLIT."""
    contents = content.split(SEPARATOR)
    files = [folder / name for name in SPLIT]
    for place, file in enumerate(files):
        file.write_bytes(contents[place] if place < len(contents) else b"")
    found, message = outcome(pickles.read_leave_one_out, *files)
    if message is None:
        train, validation, test, (n_users, n_items) = map(pickles.read_plain, files)
        owned = {user: sorted(items) for user, items in train.items() if items}
        assert owned.keys() == validation.keys() == test.keys() and found.n_items == n_items and found.n_users == n_users
        for user in range(n_users):
            expected = [*owned[user], validation[user], test[user]] if user in owned else []
            assert found.items[found.offsets[user] : found.offsets[user + 1]].tolist() == expected
            assert len(set(expected)) == len(expected)
    return message is None


def split_content(split: dict, protocol: int = 3) -> bytes:
    return SEPARATOR.join(pickle.dumps(split[name], protocol=protocol) for name in SPLIT)


# ---------------------------------------------------------------------------------------------------- what fetching lets pass

PUBLISHED = b"1 2 1\n1 3 1\n2 2 1\n"


def check_fetch(folder: Path, content: bytes) -> bool:
    """A file that a mirror offers: as published it comes to its place; any other leaves nothing and is named. The same of a
    file that lies in the place already, which stays as it is."""
    blob = hashlib.sha1(b"blob %d\0" % len(PUBLISHED) + PUBLISHED).hexdigest()
    file = File("part/file.txt", len(PUBLISHED), hashlib.sha256(PUBLISHED).hexdigest(), (), blob)
    offered, place = folder / "mirror/tiny/part/file.txt", folder / "root/data/raw/tiny/part/file.txt"
    offered.parent.mkdir(parents=True, exist_ok=True)
    offered.write_bytes(content)
    right = content == PUBLISHED
    where = {"RDCORE_ROOT": str(folder / "root"), "RDCORE_MIRROR": str(folder / "mirror")}
    with patch.dict(os.environ, where), patch.dict(CATALOG, tiny=DataSet("tiny", "", "", "", "", (file,))):
        place.unlink(missing_ok=True)
        found, message = outcome(lambda *_: bring("tiny"), place, offered)
        assert (message is None) == right == place.exists(), (content, message)
        assert [path.name for path in place.parent.iterdir()] == ["file.txt"] * right, "something is left behind"
        place.write_bytes(content)
        found, message = outcome(lambda *_: bring("tiny"), place)
        assert (message is None) == right and place.read_bytes() == content
    return right
