"""Gowalla with the split of NGCF, LightGCN and most graph papers; no times. Another selection than
the data set `gowalla`.

The training pairs come from the adjacency matrix that LightGCN's repository publishes: users first,
then items. The blob ids are computed from the files."""

from pathlib import Path

from rdcore.data import Stage
from rdcore.datasets.base import DataSet, github, grouped
from rdcore.datasets.formats import read_adjacency, read_user_lists

USERS, ITEMS = 29_858, 40_981

_file = github("gusye1234/LightGCN-PyTorch", "947ca2b3b1d2d3545b114145710cb06c4e57b3d2", "data/gowalla")


def read(files: list[Path], name: str) -> Stage:
    """The published split as stage F: fit on 810,128 training pairs (ascending by item), judge
    217,242 test pairs."""
    train, test = read_adjacency(files[0], USERS, ITEMS), read_user_lists(files[1])
    return Stage(
        "F",
        grouped(f"{name}/train", train["user"].to_numpy(), train["item"].to_numpy(), USERS, ITEMS),
        grouped(f"{name}/test", test["user"].to_numpy(), test["item"].to_numpy(), USERS, ITEMS),
    )


DATASET = DataSet(
    name="gowalla-m1",
    title="Gowalla check-ins, the split of NGCF and LightGCN",
    licence="no licence stated for the data by the repository or by SNAP (check-ins); fetched, never shipped",
    citation="E. Cho, S. A. Myers, J. Leskovec: Friendship and Mobility. KDD 2011, doi:10.1145/2020408.2020579; "
    "split: X. Wang, X. He, M. Wang, F. Feng, T.-S. Chua: Neural Graph Collaborative Filtering. SIGIR 2019, "
    "doi:10.1145/3331184.3331267; files: X. He et al.: LightGCN. SIGIR 2020, doi:10.1145/3397271.3401063",
    homepage="https://github.com/gusye1234/LightGCN-PyTorch",
    content="4a8a0aab1529dbdff584c8728a33e7722dcc799ace4105101e7f361ce87c03bd",
    files=(
        _file(
            "s_adj_mat.npz",
            3_635_865,
            "6ab3ab7aa1278da3717054c60258d88d2d2d78914fa62db2b13da9321e397cab",
            "cbf3d4e7d3cbcab3791dd94d5a2090b4fe6b082d",
        ),
        _file(
            "test.txt",
            1_372_559,
            "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
            "9ed5af4b5d21511f33740b4e22e3852f45671800",
        ),
    ),
    read=read,
    options=False,
)
