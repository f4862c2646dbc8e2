"""Times as they come: dates, text and numbers become whole numbers; nothing is cut off or reordered."""

import datetime
import logging
import re

import numpy as np
import pandas as pd

from rdcore.checks import short
from rdcore.data.errors import DataError

LOG = logging.getLogger(__name__)
TEXT_GAPS = ("nan", "NaN", "NaT", "<NA>", "None")  # what a missing value becomes as text

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
# year-month-day, or with a time of day, a fraction of at most nine digits, and a zone
ISO = (
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?"
)
NUMBER = r"[+-]?\d+(?:\.\d*)?"
# A missing date that became an integer, before and after a division by 1000, 10^6 or 10^9.
MISSING = [sign // 10**k for sign in (-(2**63),) for k in (0, 3, 6, 9)] + [-(2**63 // 10**k) for k in (3, 6, 9)]
REMEDY = "bring dates as ISO text or datetime64 (pandas.to_datetime(frame[column], format=...)), or whole numbers"


def missing_times(column: pd.Series) -> np.ndarray:
    """Which rows have no time, (N,) bool: NaN, NaT, empty text, and what a missing date becomes as a number."""
    missing = column.isna().to_numpy(dtype=bool, copy=True)
    if pd.api.types.is_bool_dtype(column.dtype):
        return missing
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        if pd.api.types.is_float_dtype(column.dtype):  # NaN inside an Arrow column is no gap to pandas
            values = column.to_numpy(dtype=float, na_value=np.nan)
            return missing | np.isnan(values) | np.isin(values, np.array(MISSING, dtype=float))
        return missing | column.isin(MISSING).to_numpy(dtype=bool, na_value=False)
    if pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty"):
        gaps = ["", *TEXT_GAPS, "null", "NULL", "\\N", "0000-00-00", "0000-00-00 00:00:00"]
        missing |= column.astype("string[pyarrow]").str.strip().isin(gaps).to_numpy(dtype=bool, na_value=True)
    return missing


def row_of(column: pd.Series, place: int) -> str:
    """How a message names a row: by its place from 0, and by its index where that is another; by its line where the index
    counts lines."""
    label = column.index[place]
    if column.index.name == "line":
        return f"line {label}"
    return f"row {place}" if str(label) == str(place) else f"row {place} (index {label})"


def whole_times(column: pd.Series, name: str) -> tuple[np.ndarray, str | None]:
    """Times (N,) int64 in the order of `column`, and their unit: 's', 'ms', 'us', 'ns', or None for numbers.

    Whole numbers stay as they are. Numbers with a fraction are multiplied by 10, 100, ... until all
    are whole. Dates (datetime64 of any unit and zone, Python's date and datetime, ISO text, the start
    of a pandas Period) become whole numbers since 1970-01-01 UTC, in the largest of s, ms, us and ns
    in which all are whole. A date without a zone counts as UTC. Text of digits counts as numbers. No
    value may be missing.
    Raises DataError naming column, row and value for anything else.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if isinstance(column.dtype, pd.ArrowDtype) and str(column.dtype).startswith("dictionary"):
        column = column.astype(object)
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind == "string":
        codes, text = pd.factorize(column)  # days repeat
        text = pd.Series(text, dtype="string[pyarrow]")  # matched in a tenth of the time that Python's re takes
        if text.str.fullmatch(NUMBER).all():
            return whole_times(_numbers(column.astype(object)), name)
        is_date, is_number = (text.str.fullmatch(form).to_numpy(dtype=bool) for form in (ISO, NUMBER))
        if not is_date.all():
            fits, what = (is_date, "ISO date") if is_date.sum() >= is_number.sum() else (is_number, "number, as the others are")
            wrong = int(fits.argmin())
            row = row_of(column, int((codes == wrong).argmax()))
            raise _refused(name, column, f"{short(text.iloc[wrong])} in {row}, which is no {what}")
        text = text.str.replace(" ?UTC$", "Z", regex=True).str.replace(",", ".")
        # Every text gets a zone: pandas 2 reads one without in the zone of the text before it.
        text = text.str.replace("^(.{10})$", r"\1T00:00", regex=True).str.replace("^(.{10}[T ][0-9:.]+)$", r"\1Z", regex=True)
        numbers, unit = _dates(text, column, name, codes)
        return numbers[codes], unit
    if kind == "mixed" and all(isinstance(one, (datetime.date, np.datetime64)) for one in column):
        kind = "datetime"
    if kind == "period":
        starts = pd.PeriodIndex(column).to_timestamp()
        return _dates(pd.Series(starts, index=column.index, name=column.name), column, name)
    if kind in ("datetime", "datetime64", "date"):
        return _dates(column, column, name)
    if kind == "decimal":
        text = column.map("{:f}".format)
        if wrong := [place for place, one in enumerate(text) if not re.fullmatch(NUMBER, one)]:
            raise _refused(name, column, f"{column.iloc[wrong[0]]} in {row_of(column, wrong[0])}")
        return whole_times(_numbers(text), name)
    if kind not in ("integer", "floating", "mixed-integer-float"):
        raise _refused(name, column, f"{kind} values such as {short(column.iloc[0])}")
    numbers = _whole(column, name)
    _log_two_units(numbers, column, name)
    return numbers, None


def _log_two_units(numbers: np.ndarray, column: pd.Series, name: str) -> None:
    """Warns where some numbers (N,) look like unix seconds and others like milliseconds: the former then come first."""
    seconds, milliseconds = ((numbers >= low) & (numbers < 10 * low) for low in (10**9, 10**12))
    if seconds.any() and milliseconds.any():
        places = [row_of(column, int(found.argmax())) for found in (seconds, milliseconds)]
        LOG.warning(
            "data set %r: column %r seems to mix unix seconds (%s) and milliseconds (%s): they are ordered as numbers",
            name, column.name, *places,
        )  # fmt: skip


def _refused(name: str, column: pd.Series, what: str) -> DataError:
    return DataError(f"data set {name!r}: column {column.name!r} must hold times, but has {what}: {REMEDY}")


def _numbers(text: pd.Series) -> pd.Series:
    """Text of digits as integers: multiplied by the smallest power of ten that makes all of them whole. A float would cut off
    what it cannot hold."""
    parts = [one.partition(".") for one in text]
    digits = max(len(fraction.rstrip("0")) for _, _, fraction in parts)
    whole = [int(whole + fraction[:digits].ljust(digits, "0")) for whole, _, fraction in parts]
    return pd.Series(whole, index=text.index, name=text.name, dtype=object)


def _dates(dates: pd.Series, column: pd.Series, name: str, codes: np.ndarray | None = None) -> tuple[np.ndarray, str]:
    """Dates (n,) as whole numbers since 1970-01-01 UTC, (n,) int64, and their unit. codes: which of
    them each row of the column has, by default its own."""
    read = {"utc": True} | ({"format": "ISO8601"} if pd.api.types.infer_dtype(dates) == "string" else {})
    try:
        moments = pd.DatetimeIndex(pd.to_datetime(dates, **read)).tz_localize(None)
    except (ValueError, TypeError, OverflowError) as error:  # month 13; nanoseconds beyond the year 2262
        place = int(pd.isna(pd.to_datetime(dates, errors="coerce", **read)).to_numpy().argmax())
        place = place if codes is None else int((codes == place).argmax())
        wrong = f"{short(column.iloc[place])} in {row_of(column, place)}, a date that cannot be read"
        raise _refused(name, column, f"{wrong} ({str(error).splitlines()[0][:120]})") from None
    numbers, unit = moments.to_numpy().astype("int64"), moments.unit
    for larger in UNITS:
        factor = UNITS[larger] // UNITS[unit]
        if factor and not (numbers % factor).any():
            return numbers // factor, larger
    raise AssertionError("a unit divides itself")


def _whole(column: pd.Series, name: str) -> np.ndarray:
    """Numbers as int64, (N,): multiplied by the smallest power of ten that makes them whole."""
    values = column.to_numpy()
    if values.dtype == object:
        values = np.array(values.tolist())  # Python's integers, or floats among them
    if values.dtype.kind == "O":  # integers beyond 64 bits
        beyond = np.array([not -(2**63) < value < 2**63 for value in values])
    else:
        beyond = np.abs(values.astype(float)) >= 2.0**63 if values.dtype.kind in "fu" else np.zeros(len(values), bool)
    if beyond.any():
        raise DataError(
            f"data set {name!r}: column {column.name!r} has {values[beyond][0]} in {row_of(column, np.argmax(beyond))}, "
            "more than 64 bits hold: bring smaller whole numbers"
        )
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    bits = 1 + np.finfo(values.dtype).nmant
    if bits < 53 and (np.abs(values) >= 2.0**bits).any():  # unix seconds in float32 are multiples of 128
        row = int(np.argmax(np.abs(values) >= 2.0**bits))
        what = f"the {values.dtype} {values[row]} in {row_of(column, row)}, which was or may have been rounded"
        raise _refused(name, column, f"{what} (read the column as float64 or Int64)")
    values = values.astype(np.float64)
    apart = len(np.unique(values))
    for power in range(19):
        scaled = np.rint(values * 10.0**power)
        if (np.abs(scaled) >= 2.0**63).any():
            break
        if (np.abs(scaled / 10.0**power - values) <= np.spacing(np.abs(values))).all():
            if len(np.unique(scaled)) == apart:
                return scaled.astype(np.int64)
    row = int(np.argmax(values != np.rint(values)))
    raise _refused(name, column, f"the fraction {values[row]} in {row_of(column, row)}, which 64 bits do not hold as a whole")
