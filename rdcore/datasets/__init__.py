"""The named data sets: fetched, verified, parsed. Each has a licence and a citation in the catalog.

    from rdcore import data, datasets
    final = data.stage(datasets.load("gowalla"), "F")        # final.fit, final.judge

Own data needs no registration: `rdcore.data.from_frame(frame, user="customer", item="product",
time="when")`. A split of your own is `stages_of_parts(train, test)` or `stage_by_date(mine, date)`."""

import functools
from typing import Any

from rdcore.data import DataError, Interactions, Stage
from rdcore.datasets.catalog import CATALOG
from rdcore.datasets.fetch import fetch, named
from rdcore.datasets.foursquare_nyc import MIN_ACTIONS as FOURSQUARE_MIN_ACTIONS
from rdcore.datasets.own_splits import in_drawn_order, stage_by_date, stages_of_parts

__all__ = [
    "CATALOG", "FOURSQUARE_MIN_ACTIONS", "content_hash", "fetch", "in_drawn_order", "load", "stage_by_date",
    "stages_of_parts",
]  # fmt: skip


def load(name: str, *, download: bool = True, **options: Any) -> Interactions | Stage:
    """The data set `name` of the catalog: fetched if it is missing, verified, parsed.

    A data set that is published with one split of its own (`gowalla-m1`, `lastfm`) is a `Stage`
    with `fit` and `judge`; every other one is `Interactions`. What the rows are and how they are
    ordered is said by the data set's file, such as rdcore/datasets/gowalla.py.

    download: whether missing files may be fetched; with False a missing file is a DataError.
    options: those of `synthetic.generate` for "synthetic", else of `from_frame` (merge_revisits,
    min_actions, ties, seed); a published split takes none. They make another data set than the catalog's: it
    shows the options in its name and has its own hash, with which a run is described
    (`Experiment(data_hash=mine.sha256(), ...)`, `runs.load_or_train(experiment, mine)`).

    >>> load("synthetic", n_users=20, n_items=50).n_users
    20
    """
    dataset = named(name)
    if options and not dataset.options:
        raise DataError(f"{name} is one published data set and takes no options, got {', '.join(options)}: leave them out")
    files = fetch(name, download=download)
    label = name + f" ({', '.join(f'{option}={value}' for option, value in options.items())})" * bool(options)
    return dataset.read(files, name=label, **options)


@functools.cache
def content_hash(name: str) -> str:
    """`load(name).sha256()`, known without the files for a data set that is fetched; computed once
    for generated data."""
    return (name in CATALOG and CATALOG[name].content) or load(name).sha256()
