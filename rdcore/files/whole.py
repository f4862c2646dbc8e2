"""Files that are whole or absent, and how JSON and tables are read back that may be damaged or come from a stranger."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path

from rdcore.checks import is_number, short
from rdcore.files.disk import error_number, probe, writing


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make the file in a new folder next to ``path`` and moves it there: under its name a file is
    whole or absent. The parent folder is made where it is missing.

    A failure leaves nothing behind; a process killed in the middle leaves a ``*.partial`` and the old file as it was.
    Raises DiskError when the disk cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, because some libraries make a temporary file next to the one they are asked for.
        partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent))
        try:
            write(partial / path.name)
            os.replace(partial / path.name, path)
        except Exception as error:
            if error_number(error) is None:  # torch says only that it is not where in the file it expected to be
                probe(partial / "probe")
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def read_json(file: Path, shape: object, remedy: str) -> object:
    """What a JSON file holds, which must have the ``shape`` that `misfit` describes.

    Raises ValueError naming the file, what is wrong with it and the ``remedy``. Refused is also what JSON or Python let pass
    and a reader would take for something else: NaN and infinite numbers, a name that is twice in one object, and text
    with characters that steer a terminal.
    """
    try:
        text = file.read_bytes().decode()
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_once)
        wrong = _unprintable(found)
    except FileNotFoundError:
        raise damaged(file, "is missing", remedy) from None
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"is not JSON ({str(error)[:200]})", remedy) from None
    return _fitting(file, found, wrong, shape, remedy)


def read_rows(file: Path, shape: object, remedy: str) -> list[dict]:
    """The rows of a parquet file as objects, an empty cell as null. Raises ValueError as `read_json` does."""
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_table(file).to_pylist()
    except FileNotFoundError:
        raise damaged(file, "is missing", remedy) from None
    except Exception as error:  # a damaged file may raise nearly any of them
        raise damaged(file, f"is no whole parquet file ({' '.join(str(error).split())[:200]})", remedy) from None
    return _fitting(file, found, _unprintable(found), shape, remedy)


def _fitting(file: Path, found: object, unprintable: str | None, shape: object, remedy: str) -> object:
    """What was found, refused where it has a text that is ``unprintable``, or not the ``shape``."""
    if unprintable is not None:
        raise damaged(file, f"has the text {short(unprintable)}, whose characters cannot be printed", remedy)
    if wrong := misfit(found, shape):
        raise damaged(file, wrong, remedy)
    return found


def write_rows(path: Path, rows: Sequence[dict]) -> None:
    """Objects with the same names as a parquet file, whole or not at all; what they hold comes back bit by bit."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows))
    write_whole(path, lambda file: pyarrow.parquet.write_table(table, file, compression="zstd", compression_level=19))


def damaged(file: Path, what: str, remedy: str) -> ValueError:
    return ValueError(f"{file} {what}: {remedy}")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    if not is_number(value := float(digits)):
        raise ValueError(f"{short(digits)} is beyond all numbers")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{short(twice)} is twice in one object")
    return found


def _unprintable(value: object) -> str | None:
    """The first text in it whose characters cannot be printed."""
    if isinstance(value, str):
        return None if value.isprintable() else value
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            if type(inner) is not float and (found := _unprintable(inner)) is not None:
                return found
    return None


def misfit(value: object, shape: object, where: str = "") -> str:
    """Where a value read from JSON departs from its shape, as the rest of a sentence that begins with the file's name; ''
    where it has it. A shape is

    - a type: str, bool, int, or float for any finite number (True and False are no numbers); object for anything;
    - a value that is asked for as it is, such as None or 'F';
    - a function that says by True or False whether the value will do, and what it asks for in its docstring;
    - a tuple of shapes, any of which will do;
    - [shape], a list of such values;
    - {name: shape, ...}, an object with at least these names; {str: shape}, an object with any names.
    """
    if isinstance(shape, list) and isinstance(value, list):
        parts = ((entry, shape[0], place) for place, entry in enumerate(value, start=1))
    elif isinstance(shape, dict) and isinstance(value, dict):
        if missing := [name for name in shape if isinstance(name, str) and name not in value]:
            return f"has no {missing[0]!r}" + (f" in {where}" if where else "")
        common = shape.get(str, object)
        parts = ((inner, shape.get(name, common), name) for name, inner in value.items())
    else:
        what = f" as {where}" if where else ""
        return "" if _fits(value, shape) else f"has {short(value)}{what}, expected {_asked_for(shape)}"
    for inner, wanted, name in parts:
        if type(inner) is float and isfinite(inner) and (wanted is float or (isinstance(wanted, tuple) and float in wanted)):
            continue  # nearly all that records hold
        here = f"entry {name}" if isinstance(value, list) else name
        if wrong := misfit(inner, wanted, f"{where}, {here}" if where else here):
            return wrong
    return ""


def _fits(value: object, shape: object) -> bool:
    if isinstance(shape, tuple):
        return any(not misfit(value, one) for one in shape)
    if shape is float:
        # A column of numbers is one of floats, which would round a longer integer.
        return is_number(value) and not (isinstance(value, int) and abs(value) > 2**53)
    if shape is object:
        return True
    if isinstance(shape, type):
        return isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    if isinstance(shape, list | dict):
        return False
    return shape(value) if callable(shape) else type(value) is type(shape) and value == shape


def _asked_for(shape: object) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_asked_for, shape))
    if isinstance(shape, list | dict):
        return "a list" if isinstance(shape, list) else "an object"
    names = {str: "text", bool: "true or false", int: "an integer", float: "a finite number", None: "null"}
    if shape is None or isinstance(shape, type):
        return names[shape]
    return shape.__doc__ if callable(shape) else repr(shape)


def write_json(path: Path, value: object) -> None:
    """JSON for people too, whole or not at all. A number that JSON does not have, because there was nothing to measure,
    becomes null."""
    write_whole(path, lambda file: file.write_text(json.dumps(_with_nulls(value), indent=1, allow_nan=False) + "\n"))


def _with_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(inner) for inner in value]
    return None if isinstance(value, float) and not is_number(value) else value


NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,20})?(e[-+]?[0-9]{1,2})?")


def check_csv(file: Path, names: Sequence[str], remedy: str, *, numbers: Sequence[str] = ()) -> None:
    """Looks through a CSV file before pandas reads it, which fills up short lines, moves the columns of long ones and takes
    any text for a value. Raises ValueError naming the file, and the line where one is to blame.

    names: columns that must be there, once each. numbers: those of them that hold numbers alone.
    """
    try:
        with file.open(encoding="utf-8", newline="") as content:
            lines = csv.reader(content, strict=True)
            header = next(lines, [])
            for name in [*names, *header]:
                if header.count(name) != 1 or not name.isprintable():
                    raise damaged(file, f"has {header.count(name)} columns called {short(name)}, expected one", remedy)
            for row in lines:
                where = f"{file}, line {lines.line_num}:"
                if len(row) != len(header):
                    raise ValueError(f"{where} {len(row)} fields, expected {len(header)} as in the first line: {remedy}")
                for name in numbers:
                    if not NUMBER.fullmatch(value := row[header.index(name)]):
                        raise ValueError(f"{where} the {name} {short(value)} is no number: {remedy}")
                if not "".join(row).isprintable():
                    raise ValueError(f"{where} characters that cannot be printed: {remedy}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(file, f"is no table ({str(error)[:200]})", remedy) from None


# Shapes of numbers, for `misfit`.


def natural(value: object) -> bool:
    """an integer >= 0 of at most 63 bits"""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def positive(value: object) -> bool:
    """an integer >= 1 of at most 63 bits"""
    return natural(value) and value >= 1


def not_negative(value: object) -> bool:
    """a finite number >= 0"""
    return is_number(value) and value >= 0


def share(value: object) -> bool:
    """a number from 0 to 1"""
    return is_number(value) and 0 <= value <= 1 + 1e-6  # a mean of ones may be rounded to more
