"""Last.fm as LightGCN's repository publishes and splits it; no times.

The blob ids are computed from the files. 14 of the 1,880 users who occur have test rows only.
"""

from pathlib import Path

from rdcore.data import Stage
from rdcore.datasets.base import DataSet, github, grouped
from rdcore.datasets.formats import read_weighted

USERS, ITEMS = 1892, 4489

_file = github("gusye1234/LightGCN-PyTorch", "947ca2b3b1d2d3545b114145710cb06c4e57b3d2", "data/lastfm")


def read(files: list[Path], name: str) -> Stage:
    """The published split as stage F: fit on 42,135 training pairs, judge 10,533 test pairs; how
    often is not used.

    Ids count from 1 in the files. 12 of the 1,892 users occur in neither.
    """
    train, test = map(read_weighted, files)
    return Stage(
        "F",
        grouped(
            f"{name}/train",
            train["user"].to_numpy(),
            train["item"].to_numpy(),
            USERS,
            ITEMS,
            first=1,
        ),
        grouped(f"{name}/test", test["user"].to_numpy(), test["item"].to_numpy(), USERS, ITEMS, first=1),
    )


DATASET = DataSet(
    name="lastfm",
    title="Last.fm: users and the artists they listened to, LightGCN's split",
    licence="no licence stated for the data by the repository; fetched, never shipped",
    citation="I. Cantador, P. Brusilovsky, T. Kuflik: Second Workshop on Information Heterogeneity and Fusion in Recommender "
    "Systems (HetRec 2011). RecSys 2011, doi:10.1145/2043932.2044016 (as the number of users suggests); "
    "files: X. He et al.: LightGCN. SIGIR 2020, doi:10.1145/3397271.3401063",
    homepage="https://github.com/gusye1234/LightGCN-PyTorch",
    content="6992b478ef6c58b3133a099c7cd3fbbbffe6916f1c0ff4b5f0bdbed001ed8f3d",
    files=(
        _file(
            "data1.txt",
            579_727,
            "c82af3228cbbda2f55a39244de09ed93292894f1d0d9f1908ebb57e27598fded",
            "35bf4551dfd63df6d68be9b09214fafd0927212d",
        ),
        _file(
            "test1.txt",
            144_867,
            "de4417c0e6123284ce59a0934bcf5288ec1ec8774a18a1eef453c9952dfa48f9",
            "c4227df62457fa5b3bf2926d13cae0218f2bebea",
        ),
    ),
    read=read,
    options=False,
)
