"""Foursquare check-ins without times: a stand-in for DE-RRD's Foursquare, which is not public.

The repository belongs to another paper; the blob id is computed. Every user has at least 9 places
and every place 9 users. The numbers of users and places are those of the check-ins of Liu et al.,
which DE-RRD's authors name as their source too. But no minimum of places per user turns them into
DE-RRD's 19,466 users with 609,655 interactions (tests/datasets/test_foursquare.py)."""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.formats import read_item_lists
from rdcore.datasets.frames import from_frame
from rdcore.datasets.own_splits import in_drawn_order

ORDER_SEED = 0
"""Of each user's order, and so of their two held-out places. Any other number makes another data
set."""

_file = github("hieunm44/hyperkdma", "2b4c38b881549d3b09e551a2ba77c695e22cf55d", "datasets/Foursquare")


def read(files: list[Path], name: str, **options) -> Interactions:
    """One line per user. Each user's order is drawn with ORDER_SEED, among the rows that
    ``options`` (of `from_frame`) leave."""
    return in_drawn_order(from_frame(read_item_lists(files[0]), time=None, name=name, **options), ORDER_SEED)


DATASET = DataSet(
    name="foursquare",
    title="Foursquare check-ins without times: a stand-in for DE-RRD's Foursquare, not its data",
    licence="no licence stated, as far as known, by the repository that publishes this file; fetched, never shipped",
    citation="Y. Liu, T.-A. N. Pham, G. Cong, Q. Yuan: An Experimental Evaluation of Point-of-interest Recommendation "
    "in Location-based Social Networks. PVLDB 10(10), 2017 (as the numbers of users and places suggest); "
    "file: the repository of HyperKDMA: Distilling Recommender Systems via Hypernetwork-based Teacher Assistants",
    homepage="https://github.com/hieunm44/hyperkdma",
    content="566fd1faf96ae592d461156496c1242bae81d34149dcb6d26a53c8fd59c2cd0a",
    files=(
        _file(
            "users.dat",
            3_937_712,
            "808c42ee414bdef5990e4f61143e2e02f1d266c59b303f37b4050a99d2536c78",
            "54d41e1a5d9681da287a3b4a66a3c0df608d936e",
        ),
    ),
    read=read,
)
