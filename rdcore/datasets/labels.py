"""Labels of users and items from a column: in order, undamaged, or the line that helps."""

import logging
import re
import unicodedata

import numpy as np
import pandas as pd

from rdcore.data.errors import DataError
from rdcore.datasets.times import TEXT_GAPS, row_of

LOG = logging.getLogger(__name__)
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
    refuse_missing(codes < 0, column, name, f"{remedy}, which cannot hold large ids")  # NaN inside an Arrow column
    unordered = labels.dtype == object and any(isinstance(label, (complex, frozenset)) for label in labels)
    try:
        if labels.dtype.kind == "c" or unordered:
            raise TypeError("numpy sorts complex numbers by their parts, and sets are only compared with their subsets")
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
    empty = [
        place for place, label in enumerate(labels)
        if isinstance(label, (str, bytes)) and (not label.strip() or (label[0] == "\0" and not label.strip("\0")))
    ]  # fmt: skip
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
    _log_alike([label for label in labels if isinstance(label, str)], column, name)


def _log_alike(labels: list[str], column: pd.Series, name: str) -> None:
    """Warns of labels that look like another one. They stay: nobody but the owner knows whether they are one."""
    plain = ((label, (label if label.isascii() else unicodedata.normalize("NFC", label)).strip()) for label in labels)
    if not (other := [(label, same) for label, same in plain if label != same]):
        return
    found = {label: label for label in labels}
    if alike := [(label, same) for label, same in other if found.setdefault(same, label) != label]:
        LOG.warning(
            "data set %r: %d labels of column %r differ from another one only in blanks around them or in their Unicode form "
            "(the first: %s and %s), and stay different: if they are one, frame[%r] = "
            "frame[%r].str.normalize('NFC').str.strip() before",
            name, len(alike), column.name, ascii(found[alike[0][1]]), ascii(alike[0][0]), column.name, column.name,
        )  # fmt: skip


def _distinct_labels(column: pd.Series, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Code of each row (N,) in order of appearance, and the labels; exact whole floats as integers."""
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True).startswith("mixed"):
        kinds = {type(label) for label in column}
        if kinds & {bool, np.bool_} and kinds - {bool, np.bool_}:  # Python takes True for 1
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise DataError(
                f"data set {name!r}: column {column.name!r} mixes True and False with other labels ({names}): make them all "
                "text or all numbers"
            )
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
