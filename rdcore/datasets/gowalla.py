"""Gowalla with the Ranking Distillation paper's own split.

The commit is the last one of the official repository. It records the blob ids, so they prove that
these are the authors' files."""

from pathlib import Path

import pandas as pd

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.formats import read_triples
from rdcore.datasets.frames import from_frame

_file = github("graytowne/rank_distill", "4fb52376858b22f89f8d2b8b59e19b46fa6584a0", "datasets/gowalla")


def read(files: list[Path], name: str, **options) -> Interactions:
    """The two files of the final split, joined: each user's test rows follow their training rows,
    in the order of the files.

    ``options``: those of `from_frame`.
    """
    frame = pd.concat([read_triples(file) for file in files[:2]])
    return from_frame(frame, time=None, name=name, **options)


DATASET = DataSet(
    name="gowalla",
    title="Gowalla check-ins, the Ranking Distillation paper's own split",
    licence="no licence stated by the repository or by SNAP, which published the check-ins; fetched, never shipped",
    citation="E. Cho, S. A. Myers, J. Leskovec: Friendship and Mobility. KDD 2011, doi:10.1145/2020408.2020579; "
    "split: J. Tang, K. Wang: Ranking Distillation. KDD 2018, doi:10.1145/3219819.3220021",
    homepage="https://github.com/graytowne/rank_distill",
    content="5cb75d14c1c39425ed557bf5f631d7633d4bfc6808b2e3cf6bbc215ff1aae32f",
    files=(
        _file(
            "test/train.txt",
            5_204_194,
            "5598d1fe18d9e7fe8d3301d9da566b7ef144efa54677c871bc811b5a0ca0ffcb",
            "0be3446a61c0841109aec2c9ab70db0797737e0f",
        ),
        _file(
            "test/test.txt",
            1_223_882,
            "5cc03ad74b486933568f5153eeb9715c1c469b9bcafff1b3524fdd8605a366bc",
            "325262b29d182ea4062b641866a77fe77e129987",
        ),
        _file(
            "validation/train.txt",
            4_575_259,
            "1eb20e41ea0e7e39c74eb028d283853854860bbb2852ce08d8938c48e98f074d",
            "c762a1270dd64ba18c8612b22419fd124ebce63e",
        ),
        _file(
            "validation/test.txt",
            628_935,
            "fd0b6af1b9f6d9c77c6766a1392774b0414ec21203e3f2015fca6e69af2c1dcb",
            "24db5da696cbaa99ef8c38f0d97ee8b0d9bc0e36",
        ),
    ),
    read=read,
)
