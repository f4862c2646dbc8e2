"""A teacher's lists as files: read from anywhere, and written so that others can use and check
them."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from rdcore.checks import all_scores, integer, interactions, of_its_users, plain, short
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries, final_queries
from rdcore.datasets.labels import label_codes
from rdcore.files.whole import write_whole
from rdcore.models.base import Model, evaluating
from rdcore.store.steady import lists_hash, steady_lists

NAMES = {
    "user": ("user", "user_id", "query", "query_id", "qid"),
    "item": ("item", "item_id", "doc", "doc_id", "docid", "docno"),
    "rank": ("rank",),
    "score": ("score",),
    "confidence": ("confidence",),
}
"""What a column may be called."""
CLICKS = {
    "user": ("user", "userid", "uid", "customer", "customerid", "reviewerid", "visitorid"),
    "item": (
        "item", "itemid", "iid", "movieid", "product", "productid", "asin", "parentasin", "locationid", "venueid",
        "businessid", "artistid", "bookid",
    ),
}
"""Names in tables of clicks, as `plain_name` writes them. A file of lists may use them too: they count where no column
has one of the names above as they are written there; those count then also in other letters and with or without "_"."""
TREC = ["user", "Q0", "item", "rank", "score", "tag"]


@dataclass(frozen=True, eq=False)
class GivenLists:
    """Lists of a teacher from outside, in the codes of a data set.

    items (n_users, K) int32, best first, padded at the end with n_items. scores, confidence
    (n_users, K) float32, NaN where nothing is named, or None where the file has none. No method of
    rdcore reads confidence: DLLM2Rec takes it from how far scores fall.
    """

    items: np.ndarray
    scores: np.ndarray | None
    confidence: np.ndarray | None
    n_items: int
    counts: dict[str, int]
    """Rows of the file, and of them: duplicates, rows of unknown_users and of unknown_items, and
    without_score; users_without a list, and shortest, the length of the shortest list there is."""

    def __str__(self) -> str:
        return counted(self.counts)

    def teacher(self) -> ListedTeacher:
        """A model that answers with these lists."""
        return ListedTeacher(self)


def counted(counts: dict[str, int]) -> str:
    """Counts in words, such as 'rows: 1,203, unknown users: 1'."""
    return ", ".join(f"{name.replace('_', ' ')}: {n:,}" for name, n in counts.items())


class ListedTeacher(Model):
    """A teacher that is known by its lists alone: without a memory, without vectors.

    It scores what a user's list names, with the score of the file or, where it has none, with the
    length of the longest list minus the place, from 0; everything else is -inf.
    """

    def __init__(self, lists: GivenLists):
        super().__init__()
        self.n_items, self.window = lists.n_items, 0
        places = np.broadcast_to(np.arange(lists.items.shape[1], 0, -1.0), lists.items.shape)
        scores = places if lists.scores is None else lists.scores
        self.register_buffer("items", torch.from_numpy(lists.items).long())
        self.register_buffer("scores", torch.from_numpy(np.nan_to_num(scores)).float())

    def encode(self, queries: Queries) -> Tensor:
        """Context (B, 1): the users."""
        return queries.user[:, None]

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        return super().score(context, items)  # said here, because lists are short: methods may ask for single items

    def score_all(self, context: Tensor) -> Tensor:
        users = context[:, 0]
        scores = self.scores.new_full((len(users), self.n_items + 1), -torch.inf)
        scores.scatter_(1, self.items[users], self.scores[users])
        return scores[:, : self.n_items].contiguous()


def read_lists(path: Path | str, data: Interactions, *, columns: dict | None = None) -> GivenLists:
    """The lists of a file, for the users and items of ``data``.

    path: .parquet; .csv or .tsv with a header; anything else is a TREC run (user Q0 item rank score
    tag, without a header). Users and items are the labels of the source, compared as text; where
    those of the data are integers, 7.0 in a text is 7. A list is in the order of ``rank``, equal
    ranks (and all, without ranks) by falling ``score``, equal ones in the order of the file.
    columns: which column of the file is "user", "item", "rank", "score" or "confidence", where it
    does not have one of the usual names.

    What cannot be used is left out and counted: unknown users and items, a second row of the same
    user and item, a missing score (empty or NaN) or -inf, which stands for "never". Raises
    DataError, with the file, for a missing column, with the line too for a rank or score that is no
    number or +inf, and when nothing is left.

    >>> import tempfile, rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> path = Path(tempfile.mkdtemp()) / "lists.csv"
    >>> pd.DataFrame({"user": [0, 0], "item": [7, 3], "rank": [1, 2]}).to_csv(path, index=False)
    >>> read_lists(path, clicks).items[0].tolist()
    [7, 3]
    """
    if isinstance(path, pd.DataFrame):
        raise DataError("lists are read from a file: frame.to_parquet('lists.parquet'), and give its path")
    interactions(data)
    path = Path(path)
    frame = _frame(path, columns or {})
    if frame.empty:
        raise DataError(f"{path} has no rows: write the teacher's lists to it")
    counts = {"rows": len(frame)}
    known = {"user": data.user_ids, "item": data.item_ids}
    users, items = (_codes(labels, frame[name]) for name, labels in known.items())
    written = frame[["user", "item"]].head(1)
    frame = frame.assign(user=users, item=items)
    counts["unknown_users"] = int((users < 0).sum())
    counts["unknown_items"] = int((items < 0).sum())
    frame = frame[(users >= 0) & (items >= 0)]
    named = frame["score"] > -np.inf if "score" in frame else np.ones(len(frame), dtype=bool)
    counts["without_score"] = int((~named).sum())
    frame = frame[named]
    falls = frame.assign(score=-frame["score"]) if "score" in frame else frame
    frame = frame.iloc[np.lexsort([falls[name] for name in ("score", "rank", "user") if name in falls])]  # the last one first
    again = frame.duplicated(["user", "item"])  # the best place of an item stays
    counts["duplicates"] = int(again.sum())
    frame = frame[~again]
    if frame.empty and counts["without_score"]:
        raise DataError(
            f"{path}: all scores of users and items of {data.name!r} are empty, NaN or -inf ({counted(counts)}): has the "
            "teacher diverged? write finite scores, or ranks alone"
        )
    if frame.empty:
        first = [(name, row[0], str(known[name][0])) for name, row in written.to_dict("list").items()]
        such = " and ".join(f"{name} {short(theirs)} (the data have {short(ours)})" for name, theirs, ours in first)
        raise DataError(
            f"{path} names no user and item of {data.name!r} ({counted(counts)}): "
            f"its labels must be those of the data's source, such as {such}"
        )
    if {"rank", "score"} <= set(frame):
        largest = frame["score"].abs().groupby(frame["user"]).transform("max").to_numpy()
        rises = (np.diff(frame["score"]) > 1e-5 * largest[1:]) & (np.diff(frame["user"]) == 0)  # less is rounding
        if rises.any():
            user, score = (frame[name].iloc[int(rises.argmax()) + 1] for name in ("user", "score"))
            raise DataError(
                f"{path}: user {data.user_ids[user]}: score {score:g} is higher than that of the rank before: rank and score "
                "contradict each other (is it a distance?): give one of the two (a TREC run as .csv)"
            )
    lengths = np.bincount(frame["user"], minlength=data.n_users)
    counts["users_without"] = int((lengths == 0).sum())
    counts["shortest"] = int(lengths[lengths > 0].min())
    place = np.arange(len(frame)) - np.repeat(lengths.cumsum() - lengths, lengths)

    def table(name: str, empty: float, dtype: str) -> np.ndarray | None:
        if name not in frame:
            return None
        filled = np.full((data.n_users, lengths.max()), empty, dtype=dtype)
        filled[frame["user"], place] = frame[name]
        return filled

    listed = table("item", data.n_items, "int32")
    scores, confidence = (table(name, np.nan, "float32") for name in ("score", "confidence"))
    return GivenLists(listed, scores, confidence, data.n_items, counts)


def _codes(labels: np.ndarray, given: pd.Series) -> np.ndarray:
    """Places of labels of text (N,) among those of the data, -1 for unknown ones: (N,). A column of integers with a gap is
    written by pandas as 7.0."""
    if labels.dtype.kind in "iu":
        given = given.str.replace(r"^(-?[0-9]+)\.0+$", r"\1", regex=True)
    return pd.Index(pd.Series(labels).astype(str)).get_indexer(given)


def plain_name(column: object) -> str:
    """A column's name as usual names are compared: in small letters, without "_"."""
    return str(column).lower().replace("_", "")


def _frame(path: Path, columns: dict) -> pd.DataFrame:
    """user and item as text, the others as numbers, under their own names."""
    if unknown := set(columns) - set(NAMES):
        raise DataError(
            f"columns must be among {', '.join(NAMES)}, got {', '.join(sorted(map(str, unknown)))}"
        )
    try:
        frame = _table(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: correct the path") from None
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:  # pandas' and pyarrow's are ValueErrors
        raise DataError(
            f"{path} cannot be read as lists ({str(error).strip()}): write it again, as .csv with commas (a text with a "
            "comma in quotes), as .tsv with tabs, or as .parquet"
        ) from None
    found = {}
    for name, usual in NAMES.items():
        wanted = [columns[name]] if name in columns else usual
        here = [column for column in frame.columns if column in wanted]
        if not here and name not in columns:
            plain = {*map(plain_name, usual), *CLICKS.get(name, ())}
            here = [column for column in frame.columns if plain_name(column) in plain]
        if len(here) > 1 or (here and f"{here[0]}.1" in frame.columns):  # pandas' name of a second one
            raise DataError(
                f"{path} has several columns that may be the {name}: {list(map(str, frame.columns))}: remove one, or in Python "
                f"say which with columns={{{name!r}: ...}}"
            )
        if here:
            found[name] = frame[here[0]]
        elif len(frame.columns) == 1:
            raise DataError(
                f"{path} has one column, {str(frame.columns[0])!r}: separate the fields of a .csv file by commas, those of a "
                ".tsv file by tabs"
            )
        elif name in ("user", "item") or name in columns:
            raise DataError(
                f"{path} has no column {' or '.join(map(repr, wanted))}; it has "
                f"{list(map(str, frame.columns))}: rename the right one, or in Python say which with columns={{{name!r}: ...}}"
            )
    if not {"rank", "score"} & set(found):
        raise DataError(
            f"{path} has neither a rank nor a score; it has {list(map(str, frame.columns))}: add a column 'rank' "
            "(1 is the best), or in Python say which with columns={'score': ...}"
        )
    out = {name: _labels(path, found[name]) for name in ("user", "item")}
    for name in ("rank", "score", "confidence"):
        if name in found:
            out[name] = _numbers(path, name, found[name])
    return pd.DataFrame(out)


def _opened(path: Path) -> TextIO:
    """A text, also a packed one."""
    return (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8")


def fields(lines: Iterable[str], separator: str, *, skip: bool) -> Iterator[list[str]]:
    """The fields of each row of a text; a separator in quotes is none. skip: spaces behind a separator count for nothing."""
    if len(separator) > 1:
        lines, separator = [line.replace(separator, "\x1f") for line in lines], "\x1f"
    return csv.reader(lines, delimiter=separator, skipinitialspace=skip)


def spaced(line: str, separator: str) -> bool:
    """Whether spaces follow a separator of the line."""
    return list(fields([line], separator, skip=False)) != list(fields([line], separator, skip=True))


def _suffix(path: Path) -> str:
    """What says how a file is written, in small letters: .csv of X.CSV and of x.csv.gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_parquet(path: Path) -> pd.DataFrame:
    """The table of a Parquet file. An index with a name is a column: pandas writes one after ``set_index`` or ``groupby``."""
    frame = pd.read_parquet(path)
    names = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(names) if names else frame


def _table(path: Path) -> pd.DataFrame:
    suffix = _suffix(path)
    if suffix == ".parquet":
        return read_parquet(path)
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            raise DataError(f"{path} is a Parquet file: name it .parquet")
    if suffix in (".csv", ".tsv"):
        with _opened(path) as file:
            skip = suffix == ".csv" and spaced(file.readline(5000), ",")  # then in all lines
        sep = "," if suffix == ".csv" else "\t"
        return pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, skipinitialspace=skip)
    frame = pd.read_csv(path, sep=r"\s+", header=None, dtype=str, keep_default_na=False)
    if frame.shape[1] != len(TREC):
        raise DataError(
            f"{path} has {frame.shape[1]} columns; a TREC run has {len(TREC)} "
            f"({' '.join(TREC)}): name other files .csv, .tsv or .parquet"
        )
    return frame.set_axis(TREC, axis=1)


def _labels(path: Path, column: pd.Series) -> pd.Series:
    """As text; whole floats as `from_frame` takes them, without the .0."""
    if not pd.api.types.is_float_dtype(column.dtype):
        return column.astype(str)
    labels, codes = label_codes(column, str(path))
    return pd.Series(labels[codes], index=column.index, name=column.name).astype(str)


def _numbers(path: Path, name: str, values: pd.Series) -> pd.Series:
    """As float64; an empty score is NaN."""
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    empty = values.isna() | values.astype(str).str.lower().isin(["", "nan"])
    wrong = (numbers.isna() & ~empty) | (numbers == np.inf)
    wrong |= numbers.abs().between(np.finfo(np.float32).max, np.inf, inclusive="neither")  # a score is kept in float32
    wrong |= empty if name == "rank" else False
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        highest = name == "score" and numbers.iloc[row] == np.inf
        remedy = "; the item that comes first needs a higher score than the others, no more" if highest else ""
        raise DataError(
            f"{path}, {_place(path, row)}: {name} {_shown(values.iloc[row])} is no finite number: mend or remove the row"
            f"{remedy}"
        )
    return numbers


def _shown(value: object) -> str:
    """A value for a message."""
    if isinstance(value, np.ndarray):
        return "a list (frame.explode of pandas gives every item a row)"
    return short(plain(value))


def _place(path: Path, row: int) -> str:
    """Where a reader finds a row of the table: its line in a text, where blank ones count, too; elsewhere its place from 0."""
    suffix = _suffix(path)
    if suffix == ".parquet":
        return f"row {row}"
    blank = " \r\n" if suffix == ".tsv" else None  # there a tab is no blank: it ends an empty field
    with _opened(path) as file:
        lines = [number for number, line in enumerate(file, 1) if line.strip(blank)]
    return f"line {lines[row + (suffix in ('.csv', '.tsv'))]}"


def _arrow(labels: np.ndarray) -> pa.Array:
    """Labels as they are, or as text where Arrow has no type for them."""
    try:
        return pa.array(labels.tolist() if labels.dtype == object else labels)
    except (pa.ArrowException, OverflowError):  # integers beyond 64 bits, periods
        return pa.array(labels.astype(str))


@torch.no_grad()
def write_lists(
    path: Path | str, model: Model, fit: Interactions, *, k: int = 100, licence: str, command: str
) -> str:
    """Writes the model's top ``k`` items of every user, without those they have in ``fit``, as
    Parquet, and returns the hash of the lists (`lists_hash` of their codes).

    Columns user and item (labels of the source), rank (from 1) and score. The file's metadata,
    under "rdcore", hold the hash, the hash of the data, the ``licence`` note of the data and the
    ``command`` that made it.
    """
    path = Path(path)
    integer("k", k)
    if path.suffix != ".parquet":
        raise ValueError(f"lists are written as Parquet: name the file .parquet, not {str(path)!r}")
    lists = steady_lists(of_its_users(model, fit), fit, k)
    queries, scores = final_queries(fit), np.full(lists.shape, np.nan, dtype=np.float32)
    with evaluating(model):
        for start in range(0, len(lists), 256):
            part = slice(start, start + 256)
            block = all_scores(model, queries[part]).numpy()
            known = np.minimum(lists[part], fit.n_items - 1)
            scores[part] = np.take_along_axis(block, known, 1)
    user, place = np.nonzero(lists < fit.n_items)
    about = {
        "hash": lists_hash(lists),
        "data_hash": fit.sha256(),
        "k": k,
        "licence": licence,
        "command": command,
    }
    table = pa.table(
        {
            "user": _arrow(fit.user_ids[user]),
            "item": _arrow(fit.item_ids[lists[user, place]]),
            "rank": pa.array(place + 1, pa.int32()),
            "score": pa.array(scores[user, place]),
        }
    )
    table = table.replace_schema_metadata({"rdcore": json.dumps(about)})
    write_whole(path, lambda draft: pq.write_table(table, draft))
    return about["hash"]
