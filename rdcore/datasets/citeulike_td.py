"""CiteULike with Topology Distillation's own leave-one-out split: the interactions of `citeulike`
in another draw, the same ids.

The repository itself records the blob ids.
"""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.pickles import read_leave_one_out

SIZE = 5220, 25_182
"""Users and items, as the authors' notebook sets them; the last user and one item occur nowhere."""

_file = github(
    "SeongKu-Kang/Topology_Distillation_KDD21",
    "44a694a724d9a483249a77874980ea05450b35fa",
    "dataset",
)


def read(files: list[Path], name: str) -> Interactions:
    """A user's training items in ascending order, then their validation item, then their test item,
    for `leave_one_out`."""
    return read_leave_one_out(*files, SIZE, name=name)


DATASET = DataSet(
    name="citeulike-td",
    title="CiteULike libraries, Topology Distillation's own leave-one-out split",
    licence="the repository's licence is about its code and names no data; fetched, never shipped",
    citation="H. Wang, B. Chen, W.-J. Li: Collaborative Topic Regression with Social Regularization for Tag "
    "Recommendation. IJCAI 2013; split: S. Kang, J. Hwang, W. Kweon, H. Yu: Topology Distillation for Recommender System. "
    "KDD 2021, doi:10.1145/3447548.3467319",
    homepage="https://github.com/SeongKu-Kang/Topology_Distillation_KDD21",
    content="898a8a9924dbd934d390bd2d1c7c2bc58b4aabd3b6fe87bf1a785e23fddf09f6",
    files=(
        _file(
            "Train",
            627_788,
            "4ff316eb275346131c38b218f281d944552c1de61d7bf7008134ba82262bf16b",
            "a9f42619edc2b501afa0503b40dd720ecb20ff6c",
        ),
        _file(
            "Valid",
            30_872,
            "9f7920c83158f69c69e5887b1a01f7346087f3690fb54e8930861ba0765b93b9",
            "1d23d358569517bfd073895302f897eb61defebc",
        ),
        _file(
            "Test",
            30_879,
            "b1375faa9e1fcccf7f8e481d9e350c11604be41f330b3fd4c663576ce71175c5",
            "b0a4a97aecb6557b91e4417a86fb214f26df8d69",
        ),
    ),
    read=read,
    options=False,
)
