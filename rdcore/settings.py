"""What settings are, and how they become part of a run's description and its key."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from rdcore.checks import is_number, short


class Settings:
    """Base class of settings: frozen dataclasses that validate themselves.

    Each field has a docstring under it.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class MySettings(Settings):
    ...     '''One line that says whose settings these are.'''
    ...
    ...     revision = 1
    ...
    ...     weight: float = 1.0
    ...     '''Factor of the loss.'''
    >>> describe(MySettings(weight=2))
    {'type': 'MySettings', 'revision': 1, 'weight': 2.0}

    Annotate a number with the plain word ``float``. Only then is an integer that was given for it described as a float (2
    and 2.0 are one run); ``Annotated[float, ...]`` or ``float | None`` give the two spellings two keys.
    """

    revision: ClassVar[int | None] = None
    """Raise it when the same settings begin to give other numbers: their runs then have other keys. A class without a
    revision must stay without: gaining one changes its keys too."""
    record_name: ClassVar[str | None] = None
    """The name of the class in descriptions, where it is not the class's own. Set it when you rename a class whose runs are
    on record."""


def added(default: Any) -> Any:
    """A field that joined a class after runs were published: it is omitted from the description while it has its default, so
    existing keys do not change. The default is what was done before the field existed, so it can never change."""
    return dataclasses.field(default=default, metadata={"added": True})


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


def inert(settings: Any, because: str, *names: str) -> None:
    """Raises ValueError where a setting that has no effect is not left at its default: two descriptions of one computation
    would have two keys. ``because``: the other setting that takes the effect away, such as "M=1"."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in names:
        if (value := getattr(settings, name)) != defaults[name]:
            raise ValueError(f"{name}={short(value)} has no effect with {because}: leave it at {defaults[name]!r}")
