"""Checks that all settings share: each raises a ValueError that names the setting and says what it must be."""

from __future__ import annotations

import math
from collections.abc import Mapping


def whole(name: str, value: object, least: int = 1) -> None:
    """An integer >= ``least``; True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {short(value)}")


def number(name: str, value: object, least: float | None = 0, *, above: bool = False) -> None:
    """A finite number >= ``least`` (None: any), or > ``least`` where ``above``; True and False are none."""
    if not is_number(value) or (least is not None and (value <= least if above else value < least)):
        bound = "" if least is None else f" {'>' if above else '>='} {least:g}"
        raise ValueError(f"{name} must be a finite number{bound}, got {short(value)}")


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def one_of(name: str, value: object, *known: str) -> None:
    """One of these words."""
    if not (isinstance(value, str) and value in known):
        words = [repr(word) for word in known]
        raise ValueError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {short(value)}")


def text(name: str, value: object) -> None:
    """A word or more for tables and names of files."""
    if not (isinstance(value, str) and value and value.isprintable() and not set(value) & set("/\\")):
        raise ValueError(f"{name} must be a text of printable characters without / and \\, got {short(value)}")


def flag(name: str, value: object) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {short(value)}")


def short(value: object) -> str:
    """A value for a message. Some by their type alone: containers may be endless, and Python prints no endless integer."""
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:100]


class Named(dict):
    """Things by their names; asking for one that is not there is a ValueError that says which are."""

    def __init__(self, what: str, things: Mapping):
        super().__init__(things)
        self.what = what

    def __missing__(self, name: object):
        raise ValueError(f"no {self.what} {short(name)}; there are: {', '.join(map(str, self))}")
