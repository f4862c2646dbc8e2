"""Files from strangers: whatever they hold, a reader returns what a slow and obvious reading of the same bytes gives, or
raises the project's own error, which names the file and the line to blame. Nothing else, and nothing of a file is run.

What a reader has to do with an input is in bad_input.py and bad_records.py.

    RDCORE_FUZZ=100000 pytest tests/test_bad_input.py        that many inputs for each test (the long form); otherwise 150
    python tests/harness/fuzz.py                             inputs that look for new lines of the readers (atheris)
"""

import io
import json
import math
import os
import pickle
from pathlib import Path

import bad_input as data_files
import bad_records as made
import numpy as np
import pandas as pd
import pytest
import torch
from bad_input import INSERTED, ODD, SEPARATOR, SPLIT, mutated, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdcore.datasets import pickles
from rdcore.distill import CDSettings, Position
from rdcore.store import checkpoints
from rdcore.store.runs import Record, read_weights

EXAMPLES = int(os.environ.get("RDCORE_FUZZ", "150"))
LONG = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize="RDCORE_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

# ----------------------------------------------------------------------------------------------------------------- mutations

small, byte = st.integers(0, 2**16), st.integers(0, 255)
change = st.one_of(
    st.tuples(st.sampled_from(["byte", "copy"]), small, byte),
    st.tuples(st.just("insert"), small, st.integers(0, len(INSERTED) - 1)),
    st.tuples(st.just("field"), small, st.integers(0, len(ODD) - 1)),
    st.tuples(st.sampled_from(["drop line", "repeat line", "swap fields", "cut", "crlf", "bom", "end"]), small, small),
)
changes = st.lists(change, max_size=3)
texts = st.text(alphabet='0123 -+.\r\t\nx"#\x0c\u0664', max_size=30).map(str.encode)


def files(valid: bytes):
    """Anything: a few bytes of anything, of what such files are made of, or the valid file after accidents."""
    return st.one_of(st.binary(max_size=40), texts, *[changes.map(lambda done: mutated(valid, done))] * 4)


# ------------------------------------------------------------------------------------------------------------ files of numbers


@LONG
@given(files(data_files.TRIPLES))
def test_triples(tmp_path, content):
    data_files.check_triples(tmp_path, content)


@LONG
@given(files(data_files.UDATA))
def test_udata(tmp_path, content):
    data_files.check_udata(tmp_path, content)


@LONG
@given(files(data_files.ITEM_LISTS))
def test_item_lists(tmp_path, content):
    data_files.check_item_lists(tmp_path, content)


ITEMS, TIMES = data_files.ITEMS, data_files.TIMES


@LONG
@given(st.one_of(st.tuples(files(ITEMS), st.just(TIMES)), st.tuples(st.just(ITEMS), files(TIMES)),
                 changes.map(lambda done: (mutated(ITEMS, done), mutated(ITEMS, done)))))  # fmt: skip
def test_histories(tmp_path, contents):
    data_files.check_histories(tmp_path, SEPARATOR.join(contents))


@LONG
@given(files(data_files.PUBLISHED))
def test_fetched_files(tmp_path, content):
    data_files.check_fetch(tmp_path, content)


# ------------------------------------------------------------------------------------------------------------------- pickles


@LONG
@given(st.one_of(st.binary(max_size=40), *(changes.map(lambda done, p=p: mutated(p, done)) for p in data_files.PICKLED)))
def test_pickles(tmp_path, content):
    data_files.check_pickle(tmp_path, content)


values = st.one_of(st.integers(-2, 8), st.sampled_from([10**9, 2**64, 1.0, True, None, "1", (), [], {}]))
tables = st.one_of(values, st.dictionaries(st.integers(-1, 5), st.one_of(values, st.dictionaries(values.filter(
    lambda v: not isinstance(v, list | dict)), st.sampled_from([1, 1, 1, 0, True, 1.0]), max_size=3)), max_size=4))  # fmt: skip


@LONG
@given(st.dictionaries(st.sampled_from(["train", "validation", "test"]), tables, max_size=2),
       st.sampled_from([(5, 7)] * 6 + [(4, 6), (0, 7), (5, 10**9), [5, 7], 5, (5, 7, 1)]),
       st.lists(changes, max_size=4))  # fmt: skip
def test_the_published_split(tmp_path, change, counts, accidents):
    parts = data_files.split_content(SPLIT | {"counts": counts} | change).split(SEPARATOR)
    for place, done in enumerate(accidents):
        parts[place] = mutated(parts[place], done)
    data_files.check_split(tmp_path, SEPARATOR.join(parts))


NAMES = list(data_files.payloads(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_pickle_runs_nothing(name, tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "file"
    content = data_files.payloads(victim)[name]
    stream = io.BytesIO(content)
    while stream.tell() < len(content):  # with an ordinary reader it works, else this would test nothing
        pickle.load(stream)
    assert victim.exists()
    victim.unlink()
    file.write_bytes(content)
    (tmp_path / "description.json").write_bytes(content)
    readers = [pickles.read_plain, read_weights, lambda file: checkpoints.read(file, "cpu", "F")]
    for read in readers:
        assert outcome(read, file)[1] is not None
    assert outcome(lambda _: Record(tmp_path).description, tmp_path / "description.json")[1] is not None
    for place in range(4):
        paths = [tmp_path / word for word in SPLIT]
        for word, target in zip(SPLIT, paths, strict=True):
            target.write_bytes(pickle.dumps(SPLIT[word], protocol=3))
        paths[place].write_bytes(content)
        assert outcome(pickles.read_leave_one_out, *paths)[1] is not None
    torch.save({"model": data_files.Calls(os.system, f"touch {victim}")}, file)  # the form of a checkpoint, with a call inside
    for read in readers:
        assert outcome(read, file)[1] is not None
    assert not victim.exists()


# -------------------------------------------------------------------------------------------------------------------- frames

cells = st.one_of(
    st.integers(0, 5), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=2),
    st.binary(max_size=2),
    st.sampled_from([(1,), [1], {}, pd.NA, pd.NaT, np.int64(3), np.float32(2), 1j, pd.Timestamp(0), Ellipsis]),
)  # fmt: skip
DATES = ["2010-10-19T23:55:27Z", "2010-10-19 23:55:27", "2010-10-20 01:55:27+02:00", "2010-10-19", "2010-10-19T23:55:27.5Z", "",
         "19.10.2010", "1287532527", "NaT", "9999-12-31"]  # fmt: skip
LABELS = [1.0, 2.0, 2.0**53, 2.0**53 + 2, 1.5, math.nan, -0.0]
column = st.one_of(
    st.lists(st.integers(0, 4), min_size=6, max_size=6), st.lists(st.text(max_size=1), min_size=6, max_size=6),
    st.lists(st.floats(), min_size=6, max_size=6), st.lists(st.integers(2**63 - 2, 2**63 + 2), min_size=6, max_size=6),
    st.lists(cells, min_size=6, max_size=6), cells.map(lambda cell: [0, 1, 2, 3, 4, cell]),
    st.lists(st.sampled_from(DATES), min_size=6, max_size=6), st.lists(st.sampled_from(LABELS), min_size=6, max_size=6),
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


@LONG
@given(st.one_of(files(data_files.TABLE), files(data_files.NUMBERS_TABLE)))
def test_tables(tmp_path, content):
    data_files.check_frame(tmp_path, content)


def test_valid_tables_are_taken(tmp_path):
    assert data_files.check_frame(tmp_path, data_files.NUMBERS_TABLE)
    assert data_files.check_frame(tmp_path, data_files.TABLE.replace(b"90000000000000001", b"3"))
    assert not data_files.check_frame(tmp_path, data_files.TABLE), "a float label beyond 2^53"


@LONG
@given(st.tuples(column, kinds), st.tuples(column, kinds), st.tuples(column, kinds))
def test_frames(user, item, time):
    with np.errstate(all="ignore"):
        frame = pd.DataFrame({"user": series(*user), "item": series(*item), "time": series(*time)})
    data_files.check_table(frame)


# ------------------------------------------------------------------------------------------------------- records and weights

anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["epoch", "MAP", "x"]), inner),
    max_leaves=5,
)




@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One for all inputs, with the runs that they are part of; a check leaves them as they were."""
    return tmp_path_factory.mktemp("records")


@LONG
@given(st.data())
def test_records(folder, data):
    seed = data.draw(st.sampled_from(made.record_seeds(folder / "store", ".json")))
    name, _, valid = seed.partition(SEPARATOR)
    content = st.one_of(files(valid), anything.map(lambda value: json.dumps(value).encode()),
                        st.randoms(use_true_random=False).map(lambda rng: data_files.json_accident(valid, rng)))  # fmt: skip
    made.check_record(folder, name + SEPARATOR + data.draw(content))


def test_valid_records_are_taken(folder):
    """Or the others would test nothing."""
    for seed in made.record_seeds(folder / "store", ".json"):
        assert made.check_record(folder, seed) and made.check_commands(folder, seed)


def test_json_nested_beyond_the_stack(folder):
    assert not made.check_record(folder, b"F/metrics.json" + SEPARATOR + b"[" * 200_000)


@LONG
@given(st.data())
def test_metrics_of_users(folder, data):
    seed = data.draw(st.sampled_from(made.record_seeds(folder / "store", ".parquet")))
    name, _, valid = seed.partition(SEPARATOR)
    made.check_users(folder, name + SEPARATOR + data.draw(files(valid)))


@LONG
@given(st.data())
def test_weights(folder, data):
    valid = made.record_seeds(folder / "store", ".safetensors")[0].partition(SEPARATOR)[2]
    header = len(valid) // 2
    content = st.one_of(files(valid), changes.map(lambda done: mutated(valid[:header], done) + valid[header:]))
    made.check_weights(folder, data.draw(content))


@settings(LONG, max_examples=max(EXAMPLES // 5, 30))  # a run is trained to its end wherever a checkpoint is taken
@given(st.data())
def test_checkpoints(folder, data):
    made.check_checkpoint(folder, data.draw(files(made.checkpoint(folder / "stopped"))))


def test_a_valid_checkpoint_is_taken(folder):
    assert made.check_checkpoint(folder, made.checkpoint(folder / "stopped"))


@LONG
@given(st.data())
def test_teacher_lists(folder, data):
    made.check_lists(folder, data.draw(files(made.list_file(folder / "lists").read_bytes())))


JSON_FILES = {
    "choices": (made.check_selection, json.dumps(made.CHOICES).encode()),
    "manifest": (made.check_manifest, json.dumps(made.MANIFEST).encode()),
    "measurement": (made.check_measurement, made.measurement()),
}


@pytest.mark.parametrize("which", JSON_FILES)
@settings(LONG, max_examples=max(EXAMPLES // 5, 30))
@given(rng=st.randoms(use_true_random=False), bytewise=st.integers(0, 4))
def test_other_json(tmp_path, which, rng, bytewise):
    check, valid = JSON_FILES[which]
    check(tmp_path, data_files.accident(valid, rng) if bytewise == 0 else data_files.json_accident(valid, rng))


@LONG
@given(changes.map(lambda done: mutated(made.table_of_the_paper(), done)))
def test_reported_tables(tmp_path, content):
    made.check_reported(tmp_path, content)


@pytest.mark.parametrize("which", JSON_FILES)
def test_valid_ones_are_taken(tmp_path, which):
    check, valid = JSON_FILES[which]
    assert check(tmp_path, valid) and made.check_reported(tmp_path, made.table_of_the_paper())


# ------------------------------------------------------------------------------------------------------ what a run is asked for

nonsense = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=2),
    st.lists(st.integers(), max_size=2),
    st.sampled_from([0, -1, 1, 10**400, -(10**5000), 1e308, -0.0, math.nan, math.inf, "all", "mean", 1j, (), {},
                     CDSettings(), Position()]),
)  # fmt: skip



@LONG
@given(st.sampled_from(made.FIELDS), nonsense)
def test_settings(which, value):
    made.check_setting(*which, value)


@LONG
@given(st.dictionaries(st.sampled_from(made.EXPERIMENT_FIELDS), nonsense, max_size=2))
def test_descriptions(changed):
    made.check_description(changed)


@LONG
@given(st.dictionaries(st.sampled_from(list(made.PARAMETERS)), st.one_of(nonsense, st.from_regex(r"[-+0-9.einf]{1,8}"))))
def test_parameters_of_notebooks(given):
    made.check_given(given)
