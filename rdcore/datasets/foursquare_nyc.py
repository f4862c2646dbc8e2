"""Foursquare check-ins in New York, with times: a stand-in for the Ranking Distillation paper's
Foursquare, which is not public.

The repository re-publishes the check-ins for another paper. The blob ids, computed from the files,
say that nothing changed since, not that RD's authors ever saw them. It holds 179,468 of the
original 227,428 check-ins (its authors' count), and no place with fewer than 5 of them."""

from pathlib import Path

import pandas as pd

from rdcore.data import Interactions
from rdcore.datasets.base import DataSet, github
from rdcore.datasets.formats import read_histories
from rdcore.datasets.frames import from_frame

MIN_ACTIONS = 5
"""Our choice, not the paper's: with 5 actions a user always has something held out. The paper's own
minimum for Foursquare (probably 10, not verified) would leave 1,089 of these 9,989 places
(notebooks/01_data)."""

_file = github("tanloc49/SEP-GCN", "2ca16e1cf009efb3553b7cc81d1f1e172b30dee9", "data/nyc")


def read(files: list[Path], name: str, **options) -> Interactions:
    """The repository's two parts, put back together and ordered by time. A user's first check-in at
    a place counts.

    ``options``: those of `from_frame`, where ``min_actions`` is 5 unless given: users and places
    with fewer are removed, repeatedly. ``merge_revisits=False`` keeps all check-ins of those who
    stay, ``min_actions=1`` keeps everybody."""
    frame = pd.concat([read_histories(*files[:2]), read_histories(*files[2:])])
    return from_frame(frame, name=name, **{"min_actions": MIN_ACTIONS, **options})


DATASET = DataSet(
    name="foursquare-nyc",
    title="Foursquare check-ins in New York: a stand-in for the Ranking Distillation paper's Foursquare, not its data",
    licence="no licence stated, as far as known, by the repository that publishes these files; fetched, never shipped",
    citation="D. Yang, D. Zhang, V. W. Zheng, Z. Yu: Modeling User Activity Preference by Leveraging User Spatial "
    "Temporal Characteristics in LBSNs. IEEE TSMC: Systems 45(1), 2015, doi:10.1109/TSMC.2014.2327053; "
    "files: T. L. Nguyen, T. T. Tran: SEP-GCN. ICTIR 2025, doi:10.1145/3731120.3744576",
    homepage="https://github.com/tanloc49/SEP-GCN",
    content="afcc10b1213bce23ab374e735e64a4fb35ebdfd8828236f5fd559ddcc99d50ee",
    files=(  # items and times of one part, then of the other
        _file(
            "train.txt",
            614_604,
            "326e0a5025634c175a111f364bbae20a1de2c32a177d805d3b7c14b92ec45a77",
            "c858b010d7b54243ca33eb038dcccb48ef49046a",
        ),
        _file(
            "time_train.txt",
            1_380_614,
            "b86d2886073952e2050bbd453812d96bd1014ecae5c633a9802b9371a6bc7af4",
            "369f126eebd37476323c8514c512531d62b39d75",
        ),
        _file(
            "test.txt",
            269_591,
            "ab31a5570539344292cc543923381c654042bb6d613edf4efffb24ceeb73a266",
            "bd050c58f3de6d4bd1801027128aed39f70d74ca",
        ),
        _file(
            "time_test.txt",
            602_144,
            "d5c4ba71a3f964f08284a15ee79b424af7865c52eb67b256917d8166775d92b2",
            "f2dcc5e8abedf39ca8e38a2ed453f9335d219649",
        ),
    ),
    read=read,
)
