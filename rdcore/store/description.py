"""How settings become part of a run's description, which is hashed to its key."""

from __future__ import annotations

import dataclasses
from typing import Any

from rdcore.checks import is_number, short


def describe(value: Any, name: str = "") -> Any:
    """Plain JSON that describes a value: an object with type, revision and fields for settings.

    A run inside a run (the teacher of an experiment) becomes its key. Raises ValueError for anything else that is not plain
    JSON, with the ``name`` of the field that holds it.
    """
    if isinstance(value, (list, tuple)):
        return [describe(part, name) for part in value]
    if dataclasses.is_dataclass(value):
        revision = getattr(value, "revision", None)
        return {
            "type": getattr(value, "record_name", None) or type(value).__name__,
            **({} if revision is None else {"revision": revision}),
            **{
                field.name: describe(_plain(getattr(value, field.name), field.type), field.name)
                for field in dataclasses.fields(value)
                if not (field.metadata.get("added") and getattr(value, field.name) == field.default)
            },
        }
    if value is None or isinstance(value, (str, bool)) or (is_number(value) and abs(value) < 2**63):
        return value
    kind = short(value) if isinstance(value, (int, float)) else type(value).__name__
    raise ValueError(
        f"{kind} cannot be part of a run's description{f' ({name})' if name else ''}: "
        "make it a frozen dataclass of numbers, texts and such"
    )


def _plain(value: Any, annotation: str | type) -> Any:
    """A run as its key, and a number for a float field as a float."""
    if isinstance(key := getattr(value, "key", None), str):
        return key
    # The annotation is a text in modules with postponed annotations, else (in notebooks) a type.
    return float(value) if annotation in ("float", float) else value
