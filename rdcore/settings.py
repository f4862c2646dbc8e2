"""What settings are. `rdcore.store.description` says how they become part of a run's description and its key."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from rdcore.checks import short


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
    >>> MySettings(weight=2)
    MySettings(weight=2)

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


def inert(settings: Any, because: str, *names: str) -> None:
    """Raises ValueError where a setting that has no effect is not left at its default: two descriptions of one computation
    would have two keys. ``because``: the other setting that takes the effect away, such as "M=1"."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in names:
        if (value := getattr(settings, name)) != defaults[name]:
            raise ValueError(f"{name}={short(value)} has no effect with {because}: leave it at {defaults[name]!r}")
