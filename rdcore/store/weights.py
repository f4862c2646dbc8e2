"""Weights of a model on disk: one safetensors file per epoch, which can hold nothing that runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rdcore.files.whole import damaged, write_whole
from rdcore.models.base import Model
from rdcore.store.record_files import REMEDY


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights. Raises ValueError where it is damaged, or anything else."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise damaged(file, f"holds no weights ({str(error)[:300]})", REMEDY) from None


def load(model: Model, file: Path) -> None:
    """Fills ``model``. Raises ValueError where the file does not hold its tensors, by name, size
    and kind of number."""
    weights = read_weights(file)
    kinds = {name: value.dtype for name, value in model.state_dict().items()}
    try:
        for name, value in weights.items():  # torch would convert them
            if value.dtype != kinds.get(name, value.dtype):
                raise RuntimeError(f"{name} is {value.dtype}, expected {kinds[name]}")
        model.load_state_dict(weights)
    except RuntimeError as error:  # other names or shapes
        raise damaged(file, f"does not fit the model ({' '.join(str(error).split())[:300]})", REMEDY) from None


def save(model: Model, folder: Path, epoch: int) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_whole(folder / f"weights-{epoch:03d}.safetensors", lambda file: save_file(weights, file))


def files(folder: Path) -> list[Path]:
    """The files of weights in a run's folder, by epoch."""
    return sorted(folder.glob("weights-[0-9]*.safetensors"))


def epoch_of(file: Path) -> int:
    return int(file.stem.removeprefix("weights-"))


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
