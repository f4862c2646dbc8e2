"""Train models and compare them in a few lines: no store, no hash, no stage.

The functions here call what the run store calls (rdcore/store), so the numbers are the same; they only keep
nothing on disk. Use the store when a run takes long: it resumes after an interrupt and never trains twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from rdcore.data.interactions import Interactions
from rdcore.data.sampling import stream_seed
from rdcore.data.splits import Stage, stage
from rdcore.eval import full_ranking, metrics
from rdcore.models.base import Model, built, check_model
from rdcore.store import contract
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data


def fit(
    data: Interactions | Stage, model, *, teacher: Model | None = None, method=None, training: Training | None = None,
    epochs: int | None = None, seed: int = 1, device: str = "cpu", progress: bool = False,
) -> Model:
    """A trained model.

    data: all interactions, of which each user's newest fifth is left out for `evaluate`; or a `Stage` that says
    what to fit. model: settings such as ``CaserSettings(dim=20)``. teacher, method: a trained model and the
    settings of a distillation such as ``RDSettings()``; both or neither. training: batch size, learning rate and
    so on; ``epochs`` replaces its number of epochs.

    Raises ValueError for settings that do not fit together, and FloatingPointError when the loss diverges.

    >>> import rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> student = rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), epochs=1)
    >>> student.n_items == clicks.n_items
    True
    """
    contract.check_device(device)
    contract.check_dtype()
    if (teacher is None) != (method is None):
        raise ValueError("teacher and method belong together: give both to distil, or neither")
    fitted = _stage(data).fit
    if not hasattr(model, "build"):  # counted from the data, such as POP and ItemCF
        return model.fit(fitted)
    settings = training or Training()
    settings = replace(settings, epochs=epochs) if epochs is not None else settings
    with seeded(stream_seed(seed, "initialisation"), "cpu"):
        student = built(model, fitted).to(device)
        distillation = method.build(student, teacher).to(device) if method else None
    instances = training_data(
        fitted, student.window, device, full_windows=student.full_windows, share=settings.share, seed=seed
    )
    if distillation:
        distillation.prepare(teacher, instances, progress=progress)
        if progress and distillation.n_short:
            tqdm.write(contract.SHORTER.format(distillation.n_short))
    optimizer = make_optimizer(student, distillation, settings)
    train(student, instances, optimizer, settings, seed=seed, distillation=distillation, progress=progress)
    return student.eval()


def evaluate(model: Model, data: Interactions | Stage, *, device: str = "cpu") -> dict[str, np.ndarray]:
    """Metrics of every user, each (n_users,); NaN for a user without a held-out item.

    All items are ranked that the user does not have in the fitted part (full ranking, no sampled candidates).
    """
    contract.check_device(device)
    part = _stage(data)
    check_model(model, part.fit.n_items)
    return full_ranking.evaluate(model, part, device=device)


def compare(
    models: Mapping[str, Model], data: Interactions | Stage, *, show=("MAP", "nDCG@10", "P@10"), device: str = "cpu"
) -> pd.DataFrame:
    """A table of the models: means over users of the metrics in ``show``, and the number of parameters.

    The order of the rows is that of ``models``. One training of each model says little about small differences:
    `rdcore.eval.significance` compares several seeds.
    """
    contract.check_device(device)
    part = _stage(data)
    rows = {}
    for model in models.values():  # all are checked before the first one is evaluated
        check_model(model, part.fit.n_items)
    for name, model in models.items():
        means = metrics.mean(full_ranking.evaluate(model, part, device=device))
        rows[name] = {metric: means[metric] for metric in show}
        rows[name]["parameters"] = sum(weights.numel() for weights in model.parameters())
    table = pd.DataFrame(rows).T
    return table.astype({"parameters": int})


def _stage(data: Interactions | Stage) -> Stage:
    return stage(data, "F") if isinstance(data, Interactions) else data
