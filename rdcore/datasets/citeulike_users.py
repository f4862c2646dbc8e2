"""All CiteULike libraries (citeulike-t), without a split: what HetComp, UnKD and RCE-KD split in
their own ways.

The blob id is computed from the file.
"""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.formats import read_item_lists
from rdcore.datasets.frames import from_frame
from rdcore.datasets.own_splits import in_drawn_order

ORDER_SEED = 0
"""Of each user's order: the file has none. Any other number makes another data set."""

_file = github("SeongKu-Kang/HetComp_WWW23", "59568a9dfc0132c94e6d85a4520655308c27adae", "Data")


def read(files: list[Path], name: str, **options) -> Interactions:
    """One line per user. Each user's order is drawn with ORDER_SEED, among the rows that
    ``options`` (of `from_frame`) leave."""
    return in_drawn_order(from_frame(read_item_lists(files[0]), time=None, name=name, **options), ORDER_SEED)


DATASET = DataSet(
    name="citeulike-users",
    title="CiteULike libraries without a split: 7,947 users, 25,584 articles, 134,860 interactions",
    licence="no licence stated, as far as known, by the repository that publishes this file; fetched, never shipped",
    citation="H. Wang, B. Chen, W.-J. Li: Collaborative Topic Regression with Social Regularization for Tag "
    "Recommendation. IJCAI 2013; file: S. Kang, W. Kweon, D. Lee, J. Lian, X. Xie, H. Yu: Distillation from Heterogeneous "
    "Models for Top-K Recommendation. WWW 2023, doi:10.1145/3543507.3583209",
    homepage="https://github.com/SeongKu-Kang/HetComp_WWW23",
    content="40b1bea569d197256056efb8e0f3a0b422da2bb60054a6cf5bbc8cd2c98226a4",
    folder="citeulike",
    files=(
        _file(
            "users.dat",
            770_649,
            "02d5d429b2c0362e0ed79f6ef204666b4092563d21493abf4dfb521e8a7078bf",
            "a363574955fa4def72e3025ee79c2e36b9a05fd0",
        ),
    ),
    read=read,
)
