"""A check that all settings share."""

from __future__ import annotations


def whole(name: str, value: object, least: int = 1) -> None:
    """Raises ValueError that names the setting unless ``value`` is an integer >= ``least``; True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
