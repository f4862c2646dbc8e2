"""Film titles of MovieLens-100K, so that a notebook shows names instead of numbers.

The file comes in the same wheel as the ratings (rdcore/datasets/ml_100k.py), under the same terms: fetched,
never shipped. Its first line is a header; the columns are item, title, year and genres, with tabs between.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rdcore.data import Interactions
from rdcore.data.errors import DataError
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.fetch import bring
from rdcore.datasets.ml_100k import DATASET

ITEMS = File(
    "ml-100k.item",
    66_632,
    "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    (
        Source(
            requirement="recbole==1.2.1",
            archive="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            member="recbole/dataset_example/ml-100k/ml-100k.item",
        ),
    ),
)


def item_names(interactions: Interactions) -> np.ndarray:
    """A name for every item (n_items,): film titles with their year for MovieLens-100K, else "item" and its label.

    Where the titles cannot be fetched the labels stay, because no number depends on them.
    """
    labels = interactions.item_ids
    plain = np.array([f"item {label}" for label in labels], dtype=object)
    if interactions.sha256() != DATASET.content:
        return plain
    try:
        titles = _titles(DATASET)
    except DataError:
        return plain
    return np.array([titles.get(int(label), name) for label, name in zip(labels, plain, strict=True)], dtype=object)


def _titles(dataset: DataSet) -> dict[int, str]:
    table = pd.read_csv(bring(dataset, ITEMS), sep="\t", header=0, names=["item", "title", "year", "genres"])
    return {int(item): _readable(str(title), str(year)) for item, title, year in table.iloc[:, :3].itertuples(index=False)}


def _readable(title: str, year: str) -> str:
    """ "Godfather, The" and "1972" as "The Godfather (1972)"."""
    for article in ("The", "A", "An"):
        title = f"{article} {title.removesuffix(f', {article}')}" if title.endswith(f", {article}") else title
    return f"{title} ({year})"
