"""Interactions, their splits, queries and samples: the arrays that everything else works on.

    from rdcore.data import from_frame, stage
    mine = from_frame(frame, user="customer", item="product", time="when")
    final = stage(mine, "F")        # final.fit, final.judge

Tables are read in `rdcore.datasets.frames`, whose two functions have their names here, too."""

import importlib

from rdcore.data.errors import DataError
from rdcore.data.interactions import Interactions
from rdcore.data.splits import LeaveOneOut, Split, Stage, leave_one_out, split, stage

__all__ = [
    "DataError", "Interactions", "LeaveOneOut", "Split", "Stage", "from_frame", "leave_one_out", "split", "stage",
    "with_item_features",
]  # fmt: skip


def __getattr__(name: str):
    if name not in ("from_frame", "with_item_features"):
        raise AttributeError(f"module 'rdcore.data' has no attribute {name!r}")
    return getattr(importlib.import_module("rdcore.datasets.frames"), name)
