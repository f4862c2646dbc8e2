"""Amazon Beauty: one sequence per user, oldest first, as the papers on BERT4Rec and SASRec use it.

The blob id is computed from the file.
"""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github, grouped
from rdcore.datasets.formats import read_pairs

USERS, ITEMS = 40_226, 54_542

_file = github("antklen/sasrec-bert4rec-recsys23", "29c272e155cad52c8958b04e9e98557526a646e5", "data")


def read(files: list[Path], name: str) -> Interactions:
    """Each user's rows in the order of the file, which is that of time; nobody has an item twice.
    Ids count from 1."""
    rows = read_pairs(files[0])
    return grouped(name, rows["user"].to_numpy(), rows["item"].to_numpy(), USERS, ITEMS, first=1)


DATASET = DataSet(
    name="amazon-beauty",
    title="Amazon Beauty: reviewed products in the order of time, without the times",
    licence="no licence stated, as far as known, by the repository that publishes this file; fetched, never shipped",
    citation="J. McAuley, C. Targett, Q. Shi, A. van den Hengel: Image-Based Recommendations on Styles and Substitutes. "
    "SIGIR 2015, doi:10.1145/2766462.2767755; file: A. Klenitskiy, A. Vasilev: Turning Dross Into Gold Loss: is BERT4Rec "
    "really better than SASRec? RecSys 2023, doi:10.1145/3604915.3610644",
    homepage="https://github.com/antklen/sasrec-bert4rec-recsys23",
    content="4a73158078279e1d9e75a181e515542485c17bf0f6f7448e3ac1eb7f55bebd54",
    files=(
        _file(
            "beauty.txt",
            3_912_093,
            "f480b7a7403852342ffd8f9809bb30697dd669be31813d0e204b698fec86ef49",
            "16718a33ebdb33504f257421b18ae8bf3ddfe327",
        ),
    ),
    read=read,
    options=False,
)
