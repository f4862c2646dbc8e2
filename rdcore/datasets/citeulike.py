"""CiteULike with DE-RRD's own leave-one-out split.

The commit is the last one of DE-RRD's repository; the blob ids are computed from the files. The 499
sampled negatives per user, among which the paper ranks the held-out items, could not be found."""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.pickles import read_leave_one_out

_file = github(
    "SeongKu-Kang/DE-RRD_CIKM20",
    "97b6bf6fa70caecb26f22b539763f476a1843949",
    "Dataset/citeULike/LOO",
)


def read(files: list[Path], name: str) -> Interactions:
    """A user's training items in ascending order, then their validation item, then their test item,
    for `leave_one_out`.

    All 5,220 users and 25,182 items, also the user without anything and the items that nobody has.
    """
    return read_leave_one_out(*files, name=name)


DATASET = DataSet(
    name="citeulike",
    title="CiteULike libraries, DE-RRD's own leave-one-out split (fold 0, the only one published)",
    licence="no licence stated, as far as known, by the repository that publishes the split; fetched, never shipped",
    citation="H. Wang, B. Chen, W.-J. Li: Collaborative Topic Regression with Social Regularization for Tag "
    "Recommendation. IJCAI 2013; split: S. Kang, J. Hwang, W. Kweon, H. Yu: DE-RRD. CIKM 2020, "
    "doi:10.1145/3340531.3412005",
    homepage="https://github.com/SeongKu-Kang/DE-RRD_CIKM20",
    content="1dcc62d4364e39b43444fc71e609c7c1973854eb3e85a3331f1414372fd31773",
    files=(
        _file(
            "train_mat_0",
            627_799,
            "b69e4a93a0a3f01dfe7668358d96eb866af9a28b61461798c19958af5750aedd",
            "0d057a829eb9d38fa35598ee957eb6fba763b59e",
        ),
        _file(
            "valid_sample_0",
            30_863,
            "8f258804ffeb3ddc5aff8d669e5ed98377010346cedbf3186f18c0523499d441",
            "67ede3ee68b4f38154b02c91116ce36781dfa45d",
        ),
        _file(
            "test_sample_0",
            30_877,
            "34f3ab9dba594c0b8ff43145e6d7e08e121fc6217b9bd13444a1c27f93a4f0b1",
            "e0ae542b7874b28f1b9207f18ca2f007aec2d369",
        ),
        _file(
            "counts",
            12,
            "c40bc00288a6a4dbd58980572ae71e0ccc2619b4f3b3da2de02305fc3e831dc6",
            "5633a45cc339605cb04e0138bf580caa8cb58741",
        ),
    ),
    read=read,
    options=False,
)
