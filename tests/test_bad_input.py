"""Files from strangers: whatever they hold, a reader returns what a slow and obvious reading of the same bytes gives, or
raises the project's own error, which names the file and the line to blame. Nothing else, and nothing of a file is run.

    RDCORE_FUZZ=100000 pytest tests/test_bad_input.py        that many inputs for each test (the long form); otherwise 150
"""

import dataclasses
import io
import json
import math
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from rdcore.data import DataError, formats, from_frame, pickles, synthetic
from rdcore.distill import (
    BothSettings,
    CDSettings,
    DESettings,
    Discrepancy,
    Hybrid,
    Position,
    RankDistilSettings,
    RDSettings,
    Reciprocal,
    RRDSettings,
)
from rdcore.experiment import Experiment
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, ItemCFSettings, NeuMFSettings, PopularitySettings
from rdcore.runs import Record, Run, _read_checkpoint, read_weights
from rdcore.training import Training

EXAMPLES = int(os.environ.get("RDCORE_FUZZ", "150"))
LONG = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize="RDCORE_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

# ----------------------------------------------------------------------------------------------------------------- mutations

ODD = [
    b"-1", b"-0", b"+1", b"1.0", b"1e3", b"0x1", b"1_000", b"007", b"", b" ", b"9" * 18, b"9" * 19, b"9223372036854775808",
    b"9" * 400, b"nan", b"inf", b"None",
    b"\xd9\xa4", b"\xc2\xb2", b"\xef\xbc\x91", b'"1"', b"1\x00", b"\xff",
    b"\x0c1", b"1 ",
]  # fmt: skip
INSERTED = [
    b"\x00", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xef\xbb\xbf", b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8",
    b"-", b"+", b"#", b'"', b",",
]  # fmt: skip
small, byte = st.integers(0, 2**16), st.integers(0, 255)
change = st.one_of(
    st.tuples(st.sampled_from(["byte", "copy"]), small, byte),
    st.tuples(st.just("insert"), small, st.sampled_from(INSERTED)),
    st.tuples(st.just("field"), small, st.sampled_from(ODD)),
    st.tuples(st.sampled_from(["drop line", "repeat line", "swap fields", "cut", "crlf", "bom", "end", "none"]), small, small),
)
changes = st.lists(change, min_size=1, max_size=3)


def mutated(content: bytes, made: list[tuple]) -> bytes:
    """A valid file after some accidents."""
    for kind, place, what in made:
        lines = content.split(b"\n")
        at = place % max(len(content), 1)
        n = place % len(lines)
        if kind == "byte":
            content = content[:at] + bytes([what]) + content[at + 1 :]
        elif kind == "copy":
            content = content[:at] + content[at : at + what] + content[at:]
        elif kind == "insert":
            content = content[:at] + what + content[at:]
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
        elif kind in ("field", "swap fields"):
            fields = re.split(rb"([ \t])", lines[n])
            spot = 2 * (place // len(lines) % (len(fields) // 2 + 1))
            if kind == "field":
                fields[spot] = what
            elif len(fields) > 2:
                other = 2 * (what % (len(fields) // 2 + 1))
                fields[spot], fields[other] = fields[other], fields[spot]
            lines[n] = b"".join(fields)
            content = b"\n".join(lines)
    return content


texts = st.text(alphabet='0123 -+.\r\t\nx"#\x0c\u0664', max_size=30).map(str.encode)


def files(valid: bytes):
    """Anything: a few bytes of anything, of what such files are made of, or the valid file after accidents."""
    return st.one_of(st.binary(max_size=40), texts, *[changes.map(lambda made: mutated(valid, made))] * 4)


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


def agree(read, slow, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found, message = outcome(read, path)
    try:
        expected = slow(content)
    except Wrong as wrong:
        assert message is not None, f"accepted silently: {content!r}"
        (line,) = wrong.args
        assert line is None or f"{path}, line {line}:" in message, (line, message)
    else:
        assert message is None, message
        assert found.to_numpy().tolist() == expected, content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


# ------------------------------------------------------------------------------------------------- the slow, obvious readings


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


def slow_atomic(content: bytes):
    header, *lines = lines_of(content)
    names = [field.split(":")[0] for field in header.split("\t")]
    if names.count("user_id") != 1 or names.count("item_id") != 1 or names.count("timestamp") > 1:
        raise Wrong(1)
    if not lines:
        raise Wrong(None)
    rows = [line.split("\t") for line in lines]
    for place, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise Wrong(place)
    columns = []
    for name in ("user_id", "item_id"):
        values = [row[names.index(name)] for row in rows]
        for place, value in enumerate(values, start=2):
            if not value.strip():
                raise Wrong(place)
        if all(re.fullmatch("-?[0-9]{1,18}", value) for value in values):
            values = [number(value, place) for place, value in enumerate(values, start=2)]
        columns.append(values)
    if "timestamp" in names:
        times = [row[names.index("timestamp")] for row in rows]
        for place, value in enumerate(times, start=2):
            if not re.fullmatch(r"[0-9]{1,18}(\.0*)?", value):
                raise Wrong(place)
        columns.append([int(value.split(".")[0]) for value in times])
    return [list(row) for row in zip(*columns, strict=True)]


TRIPLES = b"1 106 1\n1 105 1\n2 7 1\n30 0 1\n"
UDATA = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
ITEM_LISTS = b"2 9 8 \n0 \n3 8 0 7 \n1 5\n"
HEADER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ATOMIC = HEADER + b"196\t242\t3\t881250949\n22\t9\t1\t878887116.0\n5\t7\t2\t1\n"
LABELS = b"shop:token\tuser_id:token\titem_id:token\na\tann\t7\nb\tbob\t9\n"


@LONG
@given(files(TRIPLES))
def test_triples(path, content):
    agree(formats.read_triples, slow_triples, path, content)


@LONG
@given(files(UDATA))
def test_udata(path, content):
    agree(formats.read_udata, slow_udata, path, content)


@LONG
@given(files(ITEM_LISTS))
def test_item_lists(path, content):
    agree(formats.read_item_lists, slow_item_lists, path, content)


@LONG
@given(st.one_of(files(ATOMIC), files(LABELS)))
def test_atomic(path, content):
    agree(formats.read_atomic, slow_atomic, path, content)


ITEMS, TIMES = b"4 9 8 9\n0 7\n12 1 2\n", b"0 50\n4 100 200 200\n12 5 6\n"


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


@LONG
@given(st.one_of(st.tuples(files(ITEMS), st.just(TIMES)), st.tuples(st.just(ITEMS), files(TIMES)),
                 changes.map(lambda made: (mutated(ITEMS, made), mutated(ITEMS, made)))))  # fmt: skip
def test_histories(tmp_path, contents):
    paths = tmp_path / "items", tmp_path / "times"
    for file, content in zip(paths, contents, strict=True):
        file.write_bytes(content)
    found, message = outcome(formats.read_histories, *paths)
    slow = []
    for file, content in zip(paths, contents, strict=True):
        try:
            slow.append(slow_histories(content))
        except Wrong as wrong:
            assert message is not None, f"accepted silently: {contents!r}"
            assert str(file) in message and (wrong.args[0] is None or f"{file}, line {wrong.args[0]}:" in message)
            return
    items, times = slow
    if {user: len(values) for user, values in items.items()} != {user: len(values) for user, values in times.items()}:
        assert message is not None and ", line " in message, contents
        return
    assert message is None, message
    expected = [[user, *pair] for user in items for pair in zip(items[user], times[user], strict=True)]
    assert found.to_numpy().tolist() == expected


# ------------------------------------------------------------------------------------------------------------------- pickles

SPLIT = {"train": {2: {4: 1, 0: 1}, 0: {3: 1}, 3: {}}, "validation": {0: 1, 2: 3}, "test": {2: 5, 0: 0}, "counts": (5, 7)}
PICKLED = [pickle.dumps(SPLIT | {"more": [1.5, None, True, "text", 2**70]}, protocol=protocol) for protocol in (0, 2, 3, 4, 5)]


@LONG
@given(st.one_of(st.binary(max_size=40), *(changes.map(lambda made, p=p: mutated(p, made)) for p in PICKLED)))
def test_pickles(path, content):
    path.write_bytes(content)
    found, message = outcome(pickles.read_plain, path)
    if message is None:  # safe: by the file's own instructions it is made of plain containers
        assert repr(found) == repr(pickle.loads(content))


values = st.one_of(st.integers(-2, 8), st.sampled_from([10**9, 2**64, 1.0, True, None, "1", (), [], {}]))
tables = st.one_of(values, st.dictionaries(st.integers(-1, 5), st.one_of(values, st.dictionaries(values.filter(
    lambda v: not isinstance(v, list | dict)), st.sampled_from([1, 1, 1, 0, True, 1.0]), max_size=3)), max_size=4))  # fmt: skip


@LONG
@given(st.dictionaries(st.sampled_from(["train", "validation", "test"]), tables, max_size=2),
       st.sampled_from([(5, 7)] * 6 + [(4, 6), (0, 7), (5, 10**9), [5, 7], 5, (5, 7, 1)]), st.data())  # fmt: skip
def test_the_published_split(tmp_path, change, counts, data):
    split = SPLIT | {"counts": counts} | change
    paths = [tmp_path / name for name in SPLIT]
    for file in paths:
        content = pickle.dumps(split[file.name], protocol=3)
        if not change and data.draw(st.booleans()):
            content = mutated(content, data.draw(changes))
        file.write_bytes(content)
    found, message = outcome(pickles.read_leave_one_out, *paths)
    if message is None:
        train, validation, test, (n_users, n_items) = map(pickles.read_plain, paths)
        owned = {user: sorted(items) for user, items in train.items() if items}
        assert owned.keys() == validation.keys() == test.keys() and found.n_items == n_items and found.n_users == n_users
        for user in range(n_users):
            expected = [*owned[user], validation[user], test[user]] if user in owned else []
            assert found.items[found.offsets[user] : found.offsets[user + 1]].tolist() == expected
            assert len(set(expected)) == len(expected)


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


NAMES = list(payloads(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_pickle_runs_nothing(name, tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "file"
    content = payloads(victim)[name]
    stream = io.BytesIO(content)
    while stream.tell() < len(content):  # with an ordinary reader it works, else this would test nothing
        pickle.load(stream)
    assert victim.exists()
    victim.unlink()
    file.write_bytes(content)
    for read in (pickles.read_plain, read_weights, lambda file: _read_checkpoint(file, "cpu"), Record(tmp_path)._json):
        assert outcome(read, file)[1] is not None
    for place in range(4):
        paths = [tmp_path / word for word in SPLIT]
        for word, target in zip(SPLIT, paths, strict=True):
            target.write_bytes(pickle.dumps(SPLIT[word], protocol=3))
        paths[place].write_bytes(content)
        assert outcome(pickles.read_leave_one_out, *paths)[1] is not None
    torch.save({"model": Calls(os.system, f"touch {victim}")}, file)  # the form of a checkpoint, with a call inside
    for read in (pickles.read_plain, read_weights, lambda file: _read_checkpoint(file, "cpu")):
        assert outcome(read, file)[1] is not None
    assert not victim.exists()


# -------------------------------------------------------------------------------------------------------------------- frames

cells = st.one_of(
    st.integers(0, 5), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=2),
    st.binary(max_size=2),
    st.sampled_from([(1,), [1], {}, pd.NA, pd.NaT, np.int64(3), np.float32(2), 1j, pd.Timestamp(0), Ellipsis]),
)  # fmt: skip
column = st.one_of(
    st.lists(st.integers(0, 4), min_size=6, max_size=6), st.lists(st.text(max_size=1), min_size=6, max_size=6),
    st.lists(st.floats(), min_size=6, max_size=6), st.lists(st.integers(2**63 - 2, 2**63 + 2), min_size=6, max_size=6),
    st.lists(cells, min_size=6, max_size=6), cells.map(lambda cell: [0, 1, 2, 3, 4, cell]),
)  # fmt: skip
kinds = st.sampled_from([None, None, None, "Int64", "Float64", "string", "category", "uint64", "float32", "bool"])


def series(given: list, kind: str | None) -> pd.Series:
    """A column of that kind where its values allow it."""
    if kind is not None:
        try:
            return pd.Series(given).astype(kind)
        except Exception:  # pandas' own refusals
            pass
    return pd.Series(given, dtype=None if len({type(one) for one in given}) == 1 else object)


def slow_sequences(frame: pd.DataFrame) -> dict:
    """{user: [(item, time), ...]}, oldest first, first actions only; labels as they stand in the table."""
    rows = list(zip(frame["user"].tolist(), frame["item"].tolist(), frame["time"].tolist(), strict=True))
    found: dict = {}
    for user, item, time in sorted(rows, key=lambda row: (int(row[2]), row[1])):
        if item not in [before for before, _ in found.setdefault(user, [])]:
            found[user].append((item, int(time)))
    return found


@LONG
@given(st.tuples(column, kinds), st.tuples(column, kinds), st.tuples(column, kinds))
def test_frames(user, item, time):
    with np.errstate(all="ignore"):
        frame = pd.DataFrame({"user": series(*user), "item": series(*item), "time": series(*time)})
    try:
        found = from_frame(frame, name="mine")
    except DataError as error:
        assert "mine" in str(error) and re.search("'user'|'item'|'time'", str(error)), str(error)
        return
    with np.errstate(over="ignore"):  # numbers beyond a float32 beside one
        expected = slow_sequences(frame)
        users, items = sorted(expected), sorted(set(frame["item"].tolist()))
    assert found.user_ids.tolist() == users and found.item_ids.tolist() == items
    for place, name in enumerate(found.user_ids.tolist()):
        own = slice(found.offsets[place], found.offsets[place + 1])
        pairs = list(zip(found.item_ids[found.items[own]].tolist(), found.times[own].tolist(), strict=True))
        assert pairs == expected[name]


# ------------------------------------------------------------------------------------------------------- records and weights

DESCRIPTION = Experiment(dataset="tiny", data_hash="0" * 64, stage="F", role="T", model=CaserSettings(dim=6)).description
RECORD = {
    "description": DESCRIPTION,
    "environment": {"seconds": 1.5, "finished": "2026-01-01T00:00:00Z"},
    "history": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}],
    "metrics": [{"epoch": 1, "MAP": 0.5}, {"epoch": 2, "MAP": 0.25}],
    "chosen": {"epoch": 2, "H@5": 0.5},
    "agreement": {"overlap@10": 0.5},
}
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["epoch", "MAP", "x"]), inner),
    max_leaves=5,
)


@LONG
@given(st.sampled_from(list(RECORD)), st.data())
def test_records(tmp_path, name, data):
    valid = json.dumps(RECORD[name], indent=1).encode()
    content = data.draw(st.one_of(files(valid), anything.map(lambda value: json.dumps(value).encode())))
    file = tmp_path / f"{name}.json"
    file.write_bytes(content)
    found, message = outcome(lambda _: getattr(Record(tmp_path), name), file)
    if message is None:
        given = json.loads(content)
        if name in ("history", "metrics"):
            assert found.index.tolist() == [entry["epoch"] for entry in given]
            assert all(type(epoch) is int for epoch in found.index.tolist())
        else:
            assert repr(found) == repr(given) and isinstance(found, dict)
    if name == "description" and message is None:
        assert type(found["training"]["epochs"]) is int and type(found["seed"]) is int


def test_json_nested_beyond_the_stack(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_bytes(b"[" * 200_000)
    assert "is not JSON" in outcome(lambda _: Record(tmp_path).metrics, file)[1]


MODEL = BPRMFSettings(dim=2)
DATA = synthetic.generate(n_users=6, n_items=12, min_length=7, max_length=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("weights") / "file"
    save_file(MODEL.build(DATA.n_users, DATA.n_items).state_dict(), file)
    return file.read_bytes()


@LONG
@given(st.data())
def test_weights(tmp_path, weights, data):
    header = len(weights) // 2
    content = data.draw(st.one_of(st.binary(max_size=40), changes.map(lambda made: mutated(weights, made)),
                                  changes.map(lambda made: mutated(weights[:header], made) + weights[header:])))  # fmt: skip
    file = tmp_path / "weights-001.safetensors"
    file.write_bytes(content)
    experiment = Experiment(dataset="x", data_hash="0" * 64, stage="F", role="T", model=MODEL)
    found, message = outcome(lambda _: Run(tmp_path).model(experiment, DATA, 1), file)
    if message is None:
        assert {name: tuple(value.shape) for name, value in found.state_dict().items()} == {
            name: tuple(value.shape) for name, value in MODEL.build(DATA.n_users, DATA.n_items).state_dict().items()
        }


@LONG
@given(st.data())
def test_metrics_of_users(tmp_path, data):
    frame = pd.DataFrame({"AP": [0.5, 0.25], "P@10": [0.1, 0.2]}, dtype="float32")
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    file = tmp_path / "per_user-001.parquet"
    file.write_bytes(data.draw(st.one_of(st.binary(max_size=40), changes.map(lambda made: mutated(stream.getvalue(), made)))))
    found, message = outcome(lambda _: Record(tmp_path).per_user(1), file)
    assert message is not None or isinstance(found, pd.DataFrame)


# ------------------------------------------------------------------------------------------------------ what a run is asked for

SETTINGS = [
    CaserSettings(dim=4), FossilSettings(dim=4), BPRMFSettings(dim=4), NeuMFSettings(dim=4), ItemCFSettings(),
    PopularitySettings(), Training(), RDSettings(), RankDistilSettings(), DESettings(), RRDSettings(), CDSettings(),
    Position(), Discrepancy(), Hybrid(), Reciprocal(),
    BothSettings(first=DESettings(), second=RRDSettings()),
]  # fmt: skip
FIELDS = [(one, field.name) for one in SETTINGS for field in dataclasses.fields(one)]
nonsense = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=2),
    st.lists(st.integers(), max_size=2),
    st.sampled_from([0, -1, 1, 10**400, 1e308, -0.0, math.nan, math.inf, "all", "mean", 1j, (), {}, CDSettings(), Position()]),
)  # fmt: skip


@LONG
@given(st.sampled_from(FIELDS), nonsense)
def test_settings(which, value):
    """A value is refused by name, or it is of the kind that the field has, and the description can be hashed."""
    one, name = which
    try:
        made = dataclasses.replace(one, **{name: value})
    except ValueError as error:
        assert name in str(error), str(error)
        return
    default, kept = getattr(one, name), getattr(made, name)
    if isinstance(default, bool | str):
        assert type(kept) is type(default), (which, value)
    elif isinstance(default, int | float):
        allowed = (int, float) if isinstance(default, float) else int
        assert isinstance(kept, allowed) and not isinstance(kept, bool), (which, value)
        assert isinstance(kept, int) or math.isfinite(kept), (which, value)


experiment = Experiment(dataset="tiny", data_hash="0" * 64, stage="F", role="T", model=MODEL)


@LONG
@given(st.sampled_from(["stage", "evaluate_every", "seed", "teacher_epoch"]), nonsense)
def test_descriptions(name, value):
    try:
        made = dataclasses.replace(experiment, **{name: value})
    except ValueError as error:
        assert name in str(error), str(error)
        return
    assert re.fullmatch("[0-9a-f]{16}", made.key) and type(getattr(made, name)) is type(getattr(experiment, name))
    assert Counter(made.description) == Counter(json.loads(json.dumps(made.description)))
