"""The named data sets: fetched, verified, parsed. Each has a licence and a citation in the catalog.

    from rdcore import data, datasets
    final = data.stage(datasets.load("gowalla"), "F")        # final.fit, final.judge

Own data needs no registration: `rdcore.data.from_frame(frame, user="customer", item="product", time="when")`.
"""

import functools
from typing import Any

import pandas as pd

from rdcore.data import synthetic
from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions, from_frame, in_drawn_order
from rdcore.datasets import formats, pickles
from rdcore.datasets.catalog import CATALOG
from rdcore.datasets.fetch import fetch

__all__ = ["CATALOG", "FOURSQUARE_MIN_ACTIONS", "content_hash", "fetch", "load"]

# Of `foursquare-nyc`. Ours, not the paper's: 5 actions always leave a user something to be judged by. The paper's own minimum
# for Foursquare (probably 10, not verified) would leave 1,089 of these 9,989 places (notebooks/01_data).
FOURSQUARE_MIN_ACTIONS = 5

# Of `foursquare`, which has no times: of each user's order, and so of his two held-out places. Any number would do; another
# one makes another data set.
ORDER_SEED = 0


def load(name: str, *, download: bool = True, **options: Any) -> Interactions:
    """The data set `name` of the catalog: fetched when it is not there, verified, parsed.

    download: whether missing files may be fetched; with False a missing file is a DataError.
    options: those of `synthetic.generate` for "synthetic", else of `from_frame` (merge_revisits, min_actions). What they
    give is another data set than the catalog's: it shows the options in its name and has a hash of its own, by which a
    run describes it (`Experiment(data_hash=mine.sha256(), ...)`, `runs.load_or_train(experiment, mine)`).

    gowalla: the two files of the final split, joined; each user's rows in the order of the files.
    ml-100k: every rating is an interaction, whatever its value; equal timestamps are ordered by item id.
    foursquare-nyc: the repository's two parts put back together, ordered like ml-100k; a user's first check-in at a
    place counts; users and places with fewer than 5 are removed, repeatedly (`merge_revisits=False` keeps all check-ins
    of those who stay, `min_actions=1` everybody).
    citeulike: DE-RRD's published split, for `leave_one_out`: a user's training items in ascending order, then his
    validation item, then his test item. All 5,220 users and 25,182 items, also the user without anything and the items
    that nobody has. It takes no options.
    foursquare: one line a user; each user's order is drawn with ORDER_SEED, among the rows that the options leave. Every
    user has at least 9 places.
    """
    if name == "synthetic":
        return synthetic.generate(**options)
    files = fetch(name, download=download)
    if name == "citeulike":
        if options:
            raise DataError(f"citeulike is one published split and takes no options, got {', '.join(options)}: leave them out")
        return pickles.read_leave_one_out(*files, name=name)
    label = name + f" ({', '.join(f'{option}={value}' for option, value in options.items())})" * bool(options)
    if name == "ml-100k":
        return from_frame(formats.read_udata(files[0]), name=label, **options)
    if name == "foursquare-nyc":
        frame = pd.concat([formats.read_histories(*files[:2]), formats.read_histories(*files[2:])])
        return from_frame(frame, name=label, **{"min_actions": FOURSQUARE_MIN_ACTIONS, **options})
    if name == "foursquare":
        return in_drawn_order(from_frame(formats.read_item_lists(files[0]), name=label, **options), ORDER_SEED)
    # Each user's test rows follow his training rows, so joining the files keeps every user's order.
    frame = pd.concat([formats.read_triples(file) for file in files[:2]])
    return from_frame(frame, name=label, **options)


@functools.cache
def content_hash(name: str) -> str:
    """`load(name).sha256()`, known without the files for a data set that is fetched. A plan asks for it with every run, so
    that generated data are made once."""
    known = CATALOG[name].content if name in CATALOG else ""
    return known or load(name).sha256()
