"""The data sets by their names. A new one is a file with a ``DATASET``, and its line in MODULES."""

from importlib import import_module

from rdcore.datasets.base import DataSet

MODULES = (
    "gowalla",
    "ml_100k",
    "foursquare_nyc",
    "citeulike",
    "foursquare",
    "citeulike_td",
    "citeulike_users",
    "gowalla_m1",
    "lastfm",
    "amazon_beauty",
    "synthetic",
)

CATALOG: dict[str, DataSet] = {
    dataset.name: dataset for dataset in (import_module(f"rdcore.datasets.{module}").DATASET for module in MODULES)
}
