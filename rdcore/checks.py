"""Checks that all settings share: each raises a ValueError that names the setting and says what it must be."""

from __future__ import annotations

import math


def whole(name: str, value: object, least: int = 1) -> None:
    """An integer >= ``least``; True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")


def number(name: str, value: object, least: float | None = 0, *, above: bool = False) -> None:
    """A finite number >= ``least`` (None: any), or > ``least`` where ``above``; True and False are none."""
    if not is_number(value) or (least is not None and (value <= least if above else value < least)):
        bound = "" if least is None else f" {'>' if above else '>='} {least:g}"
        raise ValueError(f"{name} must be a finite number{bound}, got {value!r}")


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def flag(name: str, value: object) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
