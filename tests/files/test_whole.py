"""Files that are whole or absent, and JSON that is refused with its file, its place and a remedy wherever it is not what was
asked for."""

import json
import math

import pytest

from rdcore.checks import integer, one_of, short, text
from rdcore.files.whole import misfit, natural, positive, read_json, share, write_json

REMEDY = "write it again"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1, NaN]", "is not JSON (NaN is no number)"),
        (b"[-Infinity]", "is not JSON (-Infinity is no number)"),
        (b"[1e999]", "is not JSON ('1e999' is beyond all numbers)"),
        (b'{"a": 1, "b": 2, "a": 3}', "is not JSON ('a' is twice in one object)"),
        (b'{"a": "\\u001b[31m"}', r"has the text '\x1b[31m', whose characters cannot be printed"),
        (b'{"\\ud800": 1}', r"has the text '\ud800', whose characters cannot be printed"),
        (b'[["\xe2\x80\xae"]]', r"has the text '\u202e', whose characters cannot be printed"),
        (b"[1,", "is not JSON (Expecting value: line 1 column 4 (char 3))"),
        (b"\xff\xfe", "is not JSON ('utf-8' codec can't decode byte 0xff in position 0"),
        (b"[" * 200_000, "is not JSON ("),
        (b"[" + b"9" * 5000 + b"]", "is not JSON (Exceeds the limit"),
        (b"", "is not JSON ("),
        (None, "is missing"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(tmp_path, content, said):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_json(file, object, REMEDY)
    assert str(caught.value).startswith(f"{file} {said}") and str(caught.value).endswith(f": {REMEDY}")
    assert len(str(caught.value)) < 500


def test_whole_json_is_read_as_it_stands(tmp_path):
    file, content = tmp_path / "a.json", {"ä": [1, 2.5, -0.0, True, None, "x y"], "empty": {}}
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert repr(read_json(file, {"empty": {}}, REMEDY)) == repr(content)


SHAPE = [{"epoch": positive, "weights": ([float], None), "stage": ("V", "F"), "model": {"type": str}, str: object}]
FITS = {"epoch": 1, "weights": [1, 0.5], "stage": "V", "model": {"type": "X", "dim": 4}, "more": [{}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": 0}, "has 0 as entry 2, epoch, expected an integer >= 1 of at most 63 bits"),
        ({"epoch": True}, "has True as entry 2, epoch"),
        ({"epoch": 2**63}, "has 9223372036854775808 as entry 2, epoch"),
        ({"epoch": 10**5000}, "has an integer of 16610 bits as entry 2, epoch"),
        ({"weights": [1, "x"]}, "has a list as entry 2, weights, expected a list or null"),
        ({"weights": 3}, "has 3 as entry 2, weights, expected a list or null"),
        ({"stage": "L"}, "has 'L' as entry 2, stage, expected 'V' or 'F'"),
        ({"model": {"dim": 1}}, "has no 'type' in entry 2, model"),
        ({"model": {"type": 5}}, "has 5 as entry 2, model, type, expected text"),
        ({"model": []}, "has a list as entry 2, model, expected an object"),
    ],
)
def test_what_has_another_shape_is_named_by_its_place(change, said):
    assert misfit([FITS], SHAPE) == misfit([], SHAPE) == misfit([FITS, FITS | {"weights": None}], SHAPE) == ""
    assert misfit([FITS, FITS | change], SHAPE).startswith(said)


def test_shapes_of_numbers():
    assert misfit(5, [int]) == "has 5, expected a list" and misfit({}, [int]) == "has a dict, expected a list"
    assert not misfit(5, float) and not misfit(5, int) and misfit(5.0, int) and misfit(True, float) and misfit(True, int)
    assert not misfit(2**53, float) and misfit(2**53 + 1, float), "a float holds no longer integer"
    assert misfit(math.inf, float) and misfit(10**400, float) and not misfit(False, bool) and misfit(0, bool)
    assert [natural(value) for value in (0, 3, -1, 1.0, False, 2**63)] == [True, True, False, False, False, False]
    assert [share(value) for value in (0, 1, 0.5, 1 + 1e-9, -1e-9, 1.1, math.nan, None)] == [True] * 4 + [False] * 4


def test_what_could_not_be_measured_is_written_as_null(tmp_path):
    """JSON has no NaN, and `read_json` refuses it: a run must not write what nobody can read."""
    file = tmp_path / "a.json"
    write_json(file, {"kendall@50": math.nan, "rows": [(1.0, math.inf)], "n": 3})
    assert read_json(file, {str: object}, REMEDY) == {"kendall@50": None, "rows": [[1.0, None]], "n": 3}
    assert file.read_text().endswith("}\n") and [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_value_in_a_message_is_short():
    assert short(10**5000) == "an integer of 16610 bits" and short("x" * 500) == repr("x" * 500)[:100]
    assert short([1] * 10**6) == "a list" and short(7) == "7" and short(-(2**64)) == "an integer of 65 bits"
    with pytest.raises(ValueError, match="dim must be an integer >= 1, got an integer of 16610 bits"):
        integer("dim", -(10**5000))
    with pytest.raises(ValueError, match="order must be 'relaxed' or 'full', got an integer of"):
        one_of("order", 10**5000, "relaxed", "full")
    with pytest.raises(ValueError, match="form must be 'C', 'B' or 'P', got 'A'"):
        one_of("form", "A", "C", "B", "P")


@pytest.mark.parametrize("value", ["", "a/b", "..\\x", "a\nb", "\x1b[31m", 5, None, ["a"]])
def test_a_name_is_a_text_that_can_be_printed_and_is_no_path(value):
    text("role", "RD-hybrid (mine)")
    with pytest.raises(ValueError, match="role must be a text of printable characters"):
        text("role", value)
