"""Labels of users and items from a column: in order, undamaged, or the line that helps."""

import re

import numpy as np
import pandas as pd

from rdcore.data.errors import DataError
from rdcore.datasets.times import TEXT_GAPS, row_of

EXACT = "read the column as text or Int64 (dtype={%r: 'Int64'} in pandas.read_csv)"
NUMBER = re.compile(r"-?\d+(\.0|(\.\d+)?[eE]\+?\d+)?")  # a whole number, or what a whole float becomes by astype(str)


def refuse_missing(missing: np.ndarray, column: pd.Series, name: str, remedy: str) -> None:
    """Raises DataError where `missing` (N,) bool holds for a row."""
    rows = np.flatnonzero(missing)
    if len(rows):
        raise DataError(
            f"data set {name!r}: no value in column {column.name!r}, {row_of(column, rows[0])} ({len(rows)} such rows): "
            + remedy
        )


def label_codes(column: pd.Series, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The different labels in ascending order, and the place of each row's label among them.

    Raises DataError where a label is missing, was rounded, or cannot be compared with the others.
    """
    remedy = f"remove these rows; where ids are numbers, first {EXACT % str(column.name)}, because a gap makes them floats"
    refuse_missing(column.isna().to_numpy(dtype=bool), column, name, f"{remedy}, which cannot hold large ids")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    codes, labels = _distinct_labels(column, name)
    try:
        if labels.dtype.kind == "c" or any(isinstance(label, complex) for label in labels if labels.dtype == object):
            raise TypeError("numpy sorts complex numbers by their parts")
        with np.errstate(over="ignore"):  # a large number among float32 objects: only their order counts
            order = np.argsort(labels, kind="stable")
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise DataError(
            f"data set {name!r}: the labels in column {column.name!r} have no order ({kinds}): make them all text or "
            "all numbers"
        ) from None
    labels = labels[order]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    codes = place[codes]
    _check_texts(labels, codes, column, name)
    return labels, codes


def _check_texts(labels: np.ndarray, codes: np.ndarray, column: pd.Series, name: str) -> None:
    """Raises DataError for labels (n,) that are gaps or rounded numbers turned into text."""
    if labels.dtype != object:
        return
    empty = [place for place, label in enumerate(labels) if isinstance(label, (str, bytes)) and not label.strip()]
    if empty:
        refuse_missing(np.isin(codes, empty), column, name, "empty text is no id: remove these rows")
    gaps = [place for place, label in enumerate(labels) if isinstance(label, str) and label in TEXT_GAPS]
    if gaps:
        what = f"the text {str(labels[gaps[0]])!r} is what a gap becomes by astype(str), and no id"
        remedy = f"{what}: remove these rows before, or give a thing of this name another one; {EXACT % str(column.name)}"
        refuse_missing(np.isin(codes, gaps), column, name, remedy)
    if all(isinstance(label, str) and NUMBER.fullmatch(label) for label in labels):
        floats = [place for place, label in enumerate(labels) if not label.removeprefix("-").isdigit()]
        if floats:
            row = int(np.isin(codes, floats).argmax())
            raise _rounded(column, row, name, f"the text of a float {labels[codes[row]]!r}", 53)


def _distinct_labels(column: pd.Series, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Code of each row (N,) in order of appearance, and the labels; exact whole floats as integers."""
    try:
        codes, labels = pd.factorize(column.to_numpy())
    except TypeError as error:  # lists, dicts
        first = column.iloc[0]
        remedy = "make them all text or all numbers"
        if isinstance(first, (list, tuple, set, np.ndarray)):
            remedy = f"one row per action: frame.explode({column.name!r}), with time=None where lists are in order"
        raise DataError(
            f"data set {name!r}: column {column.name!r} holds labels that cannot be compared ({error}): {remedy}"
        ) from None
    labels = np.asarray(labels)
    if labels.dtype == object:
        floats = np.array([isinstance(label, (float, np.floating)) for label in labels], dtype=bool)
    else:
        floats = np.full(len(labels), labels.dtype.kind == "f")
    if not floats.any():
        return codes, labels
    bits = 1 + min(np.finfo(kind).nmant for kind in {np.result_type(label) for label in labels[floats]})
    values = labels[floats].astype(float)
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[floats] = ~(np.abs(values) < 2.0**bits) | (values != np.floor(values))  # beyond, neighbours are one float
    if wrong.any():
        row = int(np.flatnonzero(wrong[codes])[0])
        raise _rounded(column, row, name, f"the float {float(column.iloc[row])!r}", bits)
    if floats.all():
        return codes, values.astype(np.int64)
    labels = labels.copy()
    labels[floats] = [int(value) for value in values]
    return codes, labels


def _rounded(column: pd.Series, row: int, name: str, what: str, bits: int) -> DataError:
    return DataError(
        f"data set {name!r}: column {column.name!r} has {what} in {row_of(column, row)}: ids that are not whole or not "
        f"below 2^{bits} were or may have been rounded, and different ones merged: " + EXACT % str(column.name)
    )
