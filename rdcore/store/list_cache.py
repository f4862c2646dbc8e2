"""Teachers' lists on disk: made once, then read by every student of the same teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rdcore.files.disk import locked, remove_partials
from rdcore.files.whole import damaged, write_whole

REMEDY = "delete this file, and the teacher is asked again"


@dataclass(frozen=True)
class ListCache:
    """Keeps lists in ``folder``, one file for each name; see `rdcore.distill.base.Cache`."""

    folder: Path

    def get(
        self, name: str, size: tuple[int, int], n_items: int, make: Callable[[], Tensor]
    ) -> Tensor:
        """The lists kept under ``name``, int32 of ``size`` with ids below ``n_items``, which
        itself fills up shorter lists.

        Where there are none, ``make`` makes them; of several processes that ask, one does.
        Raises ValueError naming the file where it holds something else.
        """
        file = self.folder / f"{name}.safetensors"
        with locked(file):
            if not file.exists():
                remove_partials(file.parent, file.name)
                lists = make().cpu()
                write_whole(file, lambda draft: save_file({"lists": lists}, draft))
        return _read(file, size, n_items)


def _read(file: Path, size: tuple[int, int], n_items: int) -> Tensor:
    try:
        lists = load_file(file).get("lists")
    except SafetensorError as error:
        raise damaged(file, f"holds no lists ({str(error)[:200]})", REMEDY) from None
    if lists is None or lists.dtype != torch.int32 or tuple(lists.shape) != size:
        kind = "none" if lists is None else f"{lists.dtype} {tuple(lists.shape)}"
        wrong = f"does not hold the lists asked for, torch.int32 {size}, but {kind}"
        raise damaged(file, wrong, REMEDY)
    if lists.numel() and (lists.min() < 0 or lists.max() > n_items):
        raise damaged(file, f"names items beyond the teacher's {n_items}", REMEDY)
    return lists
