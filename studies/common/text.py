"""Numbers and names as text: the one place that decides how they are written."""

from __future__ import annotations

import pandas as pd

DATASETS = {
    "gowalla": "Gowalla", "citeulike": "CiteULike", "ml-100k": "MovieLens-100K", "foursquare": "Foursquare",
    "foursquare-nyc": "Foursquare, New York", "synthetic": "generated data",
}  # fmt: skip
MODELS = {"BPR": "BPR-MF", "POP": "popularity"}


def where(dataset: str, model: str) -> str:
    """Data set and model as in a title.

    >>> where("citeulike", "BPR")
    'CiteULike, BPR-MF'
    """
    return f"{DATASETS.get(dataset, dataset)}, {MODELS.get(model, model)}"


def titled(label: str) -> str:
    """The title of a plan's label (`Plan.label`).

    >>> titled("citeulike BPR")
    'CiteULike, BPR-MF'
    """
    dataset, _, model = label.rpartition(" ")
    return where(dataset, model) if dataset else label


def missing(value: object) -> bool:
    """Whether there is no number to write."""
    return value is None or bool(pd.isna(value))


def number(value: float | None, form: str = ".4f") -> str:
    """A number in a form of `format`, "" where there is none.

    >>> number(0.09432), number(None), number(0.0017, "+.4f")
    ('0.0943', '', '+0.0017')
    """
    return "" if missing(value) else format(float(value), form)


def percent(value: float | None) -> str:
    """A relative difference.

    >>> percent(-0.0512)
    '-5.1%'
    """
    return number(value, "+.1%")


def spread(mean: float | None, std: float | None) -> str:
    """A mean over seeds with its standard deviation, where there is one.

    >>> spread(0.0943, 0.0007), spread(0.0943, None)
    ('0.0943 ± 0.0007', '0.0943')
    """
    return number(mean) + ("" if missing(std) else f" ± {number(std)}")


def effect(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A difference, or a ratio (which is larger), with its interval.

    >>> effect(0.0017, 0.0009, 0.0024), effect(0.777)
    ('+0.0017 (+0.0009 to +0.0024)', '0.777')
    """
    if missing(value):
        return ""
    form = "+.4f" if abs(value) < 0.1 else ".3f"
    return number(value, form) + ("" if missing(low) else f" ({number(low, form)} to {number(high, form)})")


def p_value(value: float | None, least: float = 0.001) -> str:
    """A p-value, never smaller than ``least``.

    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '< 0.001')
    """
    digits = len(f"{least:f}".rstrip("0")) - 2
    return "" if missing(value) else f"< {least:g}" if value < least else f"{value:.{digits}f}"


def probability(value: float | None) -> str:
    """A probability in percent, never 0 or 1.

    >>> probability(0.412), probability(0.9991), probability(0.001)
    ('41%', 'over 99%', 'below 1%')
    """
    return "" if missing(value) else "over 99%" if value >= 0.995 else "below 1%" if value < 0.005 else f"{value:.0%}"


def count(n: int, what: str) -> str:
    """How many of something.

    >>> count(1, "seed"), count(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{n} {what}{'s' * bool(n != 1)}"


def cell(column: str, value: object) -> str:
    """A cell of a table for people: counts as they are, metrics with four digits, large numbers with six."""
    if missing(value):
        return ""
    if column == "difference":
        return percent(value)
    if column == "power":
        return probability(value)
    if column in ("seeds", "users"):
        return f"{value:.0f}"
    if not isinstance(value, float):
        return str(value)
    if column == "p" and value < 0.0001:
        return "< 0.0001"
    if abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for people (`cell`). A difference next to an interval is one of metrics, and not relative."""
    signed = ["difference", "low", "high"] if {"difference", "low"} <= set(frame.columns) else []

    def one(column: str, value: object) -> str:
        return number(value, "+.4f") if column in signed else cell(column, value)

    return frame.apply(lambda column: column.map(lambda value: one(column.name, value)))


def formatted(frame: pd.DataFrame, **forms: str) -> pd.DataFrame:
    """A table for people: column -> form of its numbers, others with four digits, "" for what is not there."""

    def one(name: str, value: object) -> str:
        if missing(value):
            return ""
        return format(value, forms.get(name, ".4f")) if isinstance(value, float) or name in forms else str(value)

    return frame.apply(lambda column: column.map(lambda value: one(column.name, value)))


def markdown(shown: pd.DataFrame) -> str:
    """A Markdown table of a frame of text."""
    escaped = shown.map(lambda written: written.replace("|", "\\|"))
    return escaped.to_markdown(index=False, disable_numparse=True)
