"""Every file here is written by the tests; the published ones are read in test_citeulike.py."""

import collections
import copyreg
import io
import math
import os
import pickle

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rdcore.data import DataError, leave_one_out
from rdcore.datasets import pickles
from rdcore.datasets.pickles import read_leave_one_out, read_plain

SUPPRESS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
REMEDY = "delete the file and fetch the data set again, or save your own data as plain containers"


@pytest.fixture
def write(tmp_path):
    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=3))
        return path

    return write


def refused(path, *parts):
    with pytest.raises(DataError) as caught:
        read_plain(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert len(str(caught.value)) < 1000


# ------------------------------------------------------------------------------------------------------- what is admitted

edges = st.sampled_from([0, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**2040])  # where the writing changes
simple = st.one_of(st.none(), st.booleans(), st.integers(), edges, st.floats(allow_nan=False), st.text(max_size=5))
keys = simple | st.tuples(simple) | st.tuples(simple, simple) | st.tuples(simple, simple, st.tuples(simple, st.just(())))
plain = st.recursive(
    simple, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner, max_size=5), max_leaves=6
)
sets = st.lists(st.sets(keys, max_size=5))


def same(found, given):
    """Equal in type as well: True is no 1, and 0.0 is no 0."""
    return type(found) is type(given) and repr(found) == repr(given) and found == given


@SUPPRESS
@given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_any_plain_object_survives_a_round_trip(write, value, protocol):
    assert same(read_plain(write(pickle.dumps(value, protocol=protocol))), value)


@SUPPRESS
@given(sets, st.integers(4, pickle.HIGHEST_PROTOCOL))
def test_sets_survive_it_with_the_protocols_that_know_them(write, value, protocol):
    found = read_plain(write(pickle.dumps(value, protocol=protocol)))
    assert found == value and all(type(one) is set for one in found)


def test_long_and_odd_objects(write):
    many = {user: {item: 1 for item in range(user % 7)} for user in range(300)}  # memo numbers above 255
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_plain(write(pickle.dumps(many, protocol=protocol))) == many
        assert math.isnan(read_plain(write(pickle.dumps(float("nan"), protocol=protocol))))
    endless = []
    endless.append(endless)
    found = read_plain(write(endless))
    assert found[0] is found


# -------------------------------------------------------------------------------------------------------- what is refused


class Calls:
    """Pickled as a call, which every ordinary reader carries out."""

    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


class Own:
    pass


def asks_for(persistent):
    """A pickle with a persistent id, in both ways of writing it."""

    class Writer(pickle.Pickler):
        def persistent_id(self, thing):
            return persistent if isinstance(thing, Own) else None

    files = []
    for protocol in (0, 2):
        file = io.BytesIO()
        Writer(file, protocol=protocol).dump([1, Own()])
        files.append(file.getvalue())
    return files


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda call: call, lambda call: {1: [2, (call,)]}], ids=["bare", "nested"])
def test_a_malicious_pickle_is_named_and_does_nothing(write, tmp_path, protocol, wrap):
    victim = tmp_path / "victim"
    content = pickle.dumps(wrap(Calls(os.mkdir, str(victim))), protocol=protocol)
    pickle.loads(content)  # it does work
    victim.rmdir()
    refused(write(content), f"class or function '{os.mkdir.__module__}.mkdir'", "nothing of it was run", REMEDY)
    assert not victim.exists()


@SUPPRESS
@given(
    st.sampled_from([Own(), Own, len, collections.OrderedDict(a=1), collections.defaultdict(int), 1j, range(3)]),
    st.lists(simple, max_size=3),
    st.lists(simple, max_size=3),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
@example(bytearray(b"x"), [], [], 4)
@example(frozenset([1]), [], [], 3)
@example({1}, [], [], 3)
def test_whatever_is_not_plain_is_refused(write, odd, before, after, protocol):
    path = write(pickle.dumps([*before, odd, *after], protocol=protocol))
    refused(path, "nothing but dict, list, tuple, set, numbers, text and None", REMEDY)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_is_asked_for_is_named(write, protocol):
    for value, name in (
        (collections.defaultdict(int), "collections.defaultdict"),
        ([1, Own], f"{__name__}.Own"),
        (len, "builtin"),  # protocols 0 to 2 say __builtin__
    ):
        refused(write(pickle.dumps(value, protocol=protocol)), "the class or function", name)


def test_other_ways_of_asking(write):
    for content in asks_for("tag 7"):
        refused(write(content), "the persistent id 'tag 7'")
    refused(write(b"\x80\x02\x82\x05."), "unregistered extension code 5")  # the extension registry
    refused(write(b"(ios\nmkdir\nV/x\no."), "the class or function 'os.mkdir'")  # INST, of protocol 0
    refused(write(b"\x80\x02K\x01K\x02R."), "is not a whole pickle")  # REDUCE: a number is called
    refused(write(b"\x80\x02}}K\x01K\x01sb."), "is not a whole pickle")  # BUILD: the state of a dict
    refused(write(b"\x80\x04\x8c\x02os\x8c" + b"\xff" + b"y" * 255 + b"\x93."), "'os.yyy")  # a long name is cut


def test_a_registered_extension_is_a_class_too(write):
    copyreg.add_extension("os", "mkdir", 77)
    try:
        refused(write(b"\x80\x02\x82M."), "the class or function 'os.mkdir'")
    finally:
        copyreg.remove_extension("os", "mkdir", 77)


def test_a_small_file_takes_little_memory(write):
    """The number under which an object is filed makes no room for all numbers before it (34 GB in C)."""
    assert read_plain(write(b"\x80\x02]r\xff\xff\xff\x7f.")) == read_plain(write(b"\x80\x02]p2147483647\n.")) == []


WHOLE = pickle.dumps({1: {2: 1}, 3: [4.5, "text"]}, protocol=3)


@pytest.mark.parametrize(
    "content, parts",
    [
        (b"", ["is empty", "fetch the data set again"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["is not a whole pickle", "Git LFS pointer"]),
        (b"\x1f\x8b\x08", ["is not a whole pickle", "still compressed"]),
        (WHOLE + b"x", ["is not a whole pickle", "1 bytes follow its end"]),
        (b"\x80\x02.", ["is not a whole pickle"]),
        (b"\x80\x02}]K\x01s.", ["is not a whole pickle"]),  # a list as a key
        (b"\x80\x02]q\x00(h\x07e.", ["is not a whole pickle"]),  # an object that nobody filed
        (b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", ["is not a whole pickle"]),  # an integer of 2 GB
        (b"I" + b"9" * 5000 + b"\n.", ["is not a whole pickle"]),
        (b"\x80\x09N.", ["is not a whole pickle", "protocol"]),
    ],
)
def test_what_is_no_pickle_is_refused(write, content, parts):
    refused(write(content), *parts)


def test_every_cut_is_noticed(write):
    assert read_plain(write(WHOLE)) == {1: {2: 1}, 3: [4.5, "text"]}
    for end in range(len(WHOLE)):
        refused(write(WHOLE[:end]))


@SUPPRESS
@given(st.one_of(st.binary(), st.tuples(st.just(WHOLE), st.integers(0, len(WHOLE) - 1), st.binary(max_size=3))))
def test_garbage_gives_no_other_error(write, content):
    if isinstance(content, tuple):
        base, place, new = content
        content = base[:place] + new + base[place + 1 :]
    try:
        read_plain(write(content))
    except DataError:
        pass


def test_files_that_cannot_be_read(write, tmp_path, monkeypatch):
    refused(tmp_path / "nothing", "does not exist", "fetch the data set")
    refused(tmp_path, "cannot be read")
    monkeypatch.setattr(pickles, "MOST_BYTES", len(WHOLE) - 1)
    refused(write(WHOLE), f"has {len(WHOLE)} bytes, more than the {len(WHOLE) - 1}")
    monkeypatch.setattr(pickles, "MOST_BYTES", len(WHOLE))
    read_plain(write(WHOLE))


# ------------------------------------------------------------------------------------------------ the split of DE-RRD

FILES = ("train", "validation", "test", "counts")
GOOD = {
    "train": {2: {4: 1, 0: 1}, 0: {3: 1}, 3: {}},
    "validation": {0: 1, 2: 3},
    "test": {2: 5, 0: 0},
    "counts": (5, 7),
}


@pytest.fixture
def four(write):
    return lambda **change: [write({**GOOD, **change}[name], name) for name in FILES]


def test_the_split_is_one_sequence_a_user(four):
    data = read_leave_one_out(*four(), name="mine")
    assert data.name == "mine" and data.times is None
    # By hand: user 0 has 3, then 1, then 0; user 2 has 0 and 4, then 3, then 5; users 1, 3 and 4 nothing, item 6 nobody.
    assert data.items.tolist() == [3, 1, 0, 0, 4, 3, 5] and data.offsets.tolist() == [0, 3, 3, 7, 7, 7]
    assert data.n_items == 7 and data.user_ids.tolist() == [0, 1, 2, 3, 4]
    parts = leave_one_out(data)
    assert (parts.validation.items.tolist(), parts.test.items.tolist()) == ([1, 3], [0, 5])
    assert parts.fit.items.tolist() == [3, 0, 4] and parts.n_unjudged == 3 and parts.n_cold == 1


@pytest.mark.parametrize(
    "change, place, message",
    [
        ({"counts": [5, 7]}, "counts", "expected (users, items), two integers in 1..100000000, found a list"),
        ({"counts": (5,)}, "counts", "expected (users, items), two integers in 1..100000000, found a tuple"),
        ({"counts": (0, 7)}, "counts", "expected (users, items)"),
        ({"counts": (5, True)}, "counts", "expected (users, items)"),
        ({"counts": (5, 10**9)}, "counts", "expected (users, items)"),
        ({"counts": (5, 2**20000)}, "counts", "expected (users, items)"),
        ({"train": [1]}, "train", "expected a dict with one entry per user, found a list"),
        ({"test": 7}, "test", "expected a dict with one entry per user, found 7"),
        ({"train": {5: {1: 1}}}, "train", "user 5 is not an integer in 0..4"),
        ({"train": {-1: {1: 1}}}, "train", "user -1 is not an integer"),
        ({"train": {"2": {1: 1}}}, "train", "user '2' is not an integer"),
        ({"train": {True: {1: 1}}}, "train", "user True is not an integer"),
        ({"train": {2**20000: {1: 1}}}, "train", "user an integer of 20001 bits is not an integer in 0..4"),
        ({"train": {2: [1]}}, "train", "user 2 needs a dict of items, found a list"),
        ({"train": {2: {7: 1}}}, "train", "user 2: item 7 is not an integer in 0..6"),
        ({"train": {2: {-1: 1}}}, "train", "user 2: item -1 is not an integer in 0..6"),
        ({"train": {2: {1.0: 1}}}, "train", "user 2: item 1.0 is not an integer"),
        ({"train": {2: {1: 0}}}, "train", "user 2, item 1: expected 1, found 0"),
        ({"train": {2: {1: True}}}, "train", "user 2, item 1: expected 1, found True"),
        ({"validation": {0: 1, 2: 7}}, "validation", "user 2: item 7 is not an integer in 0..6"),
        ({"validation": {0: 1, 2: [3]}}, "validation", "user 2: item a list is not an integer"),
        ({"test": {0: 0, 2: None}}, "test", "user 2: item None is not an integer"),
        ({"test": {9: 0}}, "test", "user 9 is not an integer in 0..4"),
        ({"validation": {0: 1}}, "validation", "user 2 has no item here, but training items in "),
        ({"test": {0: 0, 2: 5, 3: 1}}, "test", "user 3 has an item here, but no training item in "),
        ({"validation": {0: 1, 2: 4}}, "validation", "user 2 has item 4 in another of the three files too"),
        ({"test": {0: 3, 2: 5}}, "test", "user 0 has item 3 in another of the three files too"),
        ({"test": {0: 0, 2: 3}}, "test", "user 2 has item 3 in another of the three files too"),
    ],
)
def test_a_bad_split_is_named(four, change, place, message):
    paths = four(**change)
    with pytest.raises(DataError) as caught:
        read_leave_one_out(*paths)
    assert str(caught.value).startswith(f"{paths[FILES.index(place)]}: {message}")
    assert str(caught.value).endswith("correct the file, or fetch the data set again")


def test_the_counts_may_be_given(four):
    *files, counts = four()
    assert read_leave_one_out(*files, (5, 7)).sha256() == read_leave_one_out(*files, counts).sha256()
    with pytest.raises(DataError, match="expected .users, items., two integers"):
        read_leave_one_out(*files, (5, 0))


@pytest.mark.parametrize("name", FILES)
def test_all_four_files_are_read_with_the_same_care(four, name):
    paths = four(**{name: Calls(len, "x")})
    with pytest.raises(DataError, match=f"{name}: found the class or function 'builtins.len'"):
        read_leave_one_out(*paths)
    paths[FILES.index(name)].unlink()
    with pytest.raises(DataError, match=f"{name} does not exist"):
        read_leave_one_out(*paths)
