"""Checkpoints: what a training needs to go on after its last finished epoch, with the same bits as
if it had never stopped."""

from __future__ import annotations

import contextlib
import time
import warnings
import zipfile
from pathlib import Path

import torch

from rdcore.files.whole import misfit, write_whole
from rdcore.store.record_files import wrong_with_state
from rdcore.store.records import needed

FILE = "checkpoint.pt"

# A resumed run ends in the same bits wherever it goes on, so a checkpoint after every epoch only costs time: for a large model
# on stage L it took a third of the epoch. Writing checkpoints may take this part of a training's time.
CHECKPOINT_SHARE = 0.05


class Checkpoints:
    """Writes a run's checkpoints, as often as CHECKPOINT_SHARE allows.

    parts: what has a state_dict: 'model', 'optimizer' and, with a distillation, 'distillation'.
    """

    def __init__(self, folder: Path, **parts):
        self.file = folder / FILE
        self.parts = {name: part for name, part in parts.items() if part is not None}
        self.saved_at, self.saving = time.monotonic(), 0.0  # when the last one was written, and the seconds that took

    def save(self, state: dict, *, now: bool) -> bool:
        """Whether the checkpoint was written: always ``now``, else when the last one was long
        enough ago."""
        begun = time.monotonic()
        if not now and self.saving > CHECKPOINT_SHARE * (begun - self.saved_at):
            return False
        saved = {name: part.state_dict() for name, part in self.parts.items()} | {"state": state}
        write_whole(self.file, lambda file: torch.save(saved, file))
        self.saved_at = time.monotonic()
        self.saving = self.saved_at - begun
        return True

    def resume(self, device: str, stage: str) -> dict | None:
        """Takes all parts to where the checkpoint left them, and returns its state; None where
        there is no checkpoint."""
        if not self.file.exists():
            return None
        saved = read(self.file, device, stage)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:  # of another model, or of none
            raise _useless(self.file, error) from error
        return saved["state"]


def read(path: Path, device: str, stage: str, *, mmap: bool = False) -> dict:
    """What a training left: 'model', 'optimizer', 'state' and, with a distillation, 'distillation'.

    mmap: leave tensors on disk until they are used, and their checksums unread. Raises
    FileNotFoundError, and ValueError with the remedy when the file is damaged (a full disk, a copy
    cut short).
    """
    try:
        if not mmap:
            with zipfile.ZipFile(path) as parts:  # torch writes checksums and does not read them
                if (bad := parts.testzip()) is not None:
                    raise zipfile.BadZipFile(f"bad checksum of {bad}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles that are none of its own, and then refuses them
            saved = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
        if wrong := misfit(saved, {"model": dict, "optimizer": dict, "state": dict}):
            raise ValueError(wrong)
        if wrong := wrong_with_state(saved["state"], needed(stage)):
            raise ValueError(wrong)
        return saved
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise nearly any of them
        raise _useless(path, error) from error


def _useless(path: Path, error: Exception) -> ValueError:
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ValueError(f"{path} cannot be read ({said}): delete this file, and the run starts from its first epoch")


def state_of(folder: Path, stage: str) -> dict:
    """How far an unfinished run has come: epoch, metrics, seconds.

    The epoch is 0 before the first one has ended, and None where the checkpoint is damaged
    (training the run says how).
    """
    try:
        return read(folder / FILE, "cpu", stage, mmap=True)["state"]
    except FileNotFoundError:
        return {"epoch": 0}
    except ValueError:
        return {"epoch": None}


def drop(folder: Path) -> None:
    """Removes the checkpoint of a finished run. A kill between the two last steps may have left it,
    and the store may be read-only by now."""
    checkpoint = folder / FILE
    if checkpoint.exists():
        with contextlib.suppress(OSError):
            checkpoint.unlink()
