"""Train models and compare them in a few lines: no store, no hash, no stage.

The functions here call what the run store calls (rdcore/store), so the numbers are the same; they only keep
nothing on disk. Use the store when a run takes long: it resumes after an interrupt and never trains twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from rdcore.checks import all_scores, integer, of_its_users, plain, short, trainable
from rdcore.data.interactions import Interactions
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems, stream_seed
from rdcore.data.splits import Stage, stage
from rdcore.distill.followups.trajectories import Trajectories
from rdcore.eval import metrics
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, built, check_model, evaluating
from rdcore.store import contract
from rdcore.store.interrupt import explained
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data


def fit(
    data: Interactions | Stage, model, *, teacher: Model | None = None, method=None, training: Training | None = None,
    epochs: int | None = None, seed: int = 1, device: str = "cpu", progress: bool = False,
) -> Model:
    """A trained model.

    data: all interactions, of which each user's newest fifth is left out for `evaluate`; or a `Stage` that says
    what to fit. model: settings such as ``CaserSettings(dim=20)``. teacher, method: a trained model and the
    settings of a distillation such as ``RDSettings()``; both or neither. training: batch size, learning rate and
    so on; ``epochs`` replaces its number of epochs. Models, teachers and methods of your own: docs/your-own.md.

    A teacher that looks at the order of a user's items teaches a student that does not (``window`` 0) by what it says behind
    the user's last item, because such a student cannot tell moments apart.

    Raises ValueError for settings that do not fit together, and FloatingPointError when the loss diverges.

    >>> import rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> student = rdcore.fit(clicks, rdcore.BPRMFSettings(dim=4), epochs=1)
    >>> student.n_items == clicks.n_items
    True
    """
    contract.check_device(device)
    contract.check_dtype()
    seed = plain(seed)
    integer("seed", seed, least=0)
    if (teacher is None) != (method is None):
        raise ValueError("teacher and method belong together: give both to distil, or neither")
    fitted = _stage(data).fit
    _settings("model", model, "build", "fit", such="BPRMFSettings(dim=20)")
    if method is not None:
        _settings("method", method, "build", such="RDSettings()")
        _check(teacher, fitted, device, "the teacher")
    settings = Training() if training is None else training
    if not isinstance(settings, Training):
        raise ValueError(f"training must be a Training object such as Training(epochs=3), got {short(training)}")
    if not hasattr(model, "build"):  # counted from the data, such as POP and ItemCF
        if method is not None:
            raise ValueError(f"{type(model).__name__} is counted from the data, and no teacher can change it: leave it out")
        return contract.knowing_users(model.fit(fitted), fitted)
    settings = replace(settings, epochs=epochs) if epochs is not None else settings
    with seeded(stream_seed(seed, "initialisation"), "cpu"):
        student = built(model, fitted).to(device)
        trainable(student)
        if method and not isinstance(teacher, Trajectories) and contract.teacher_at(student, teacher) == "last":
            teacher = contract.at_last(teacher, fitted)
        distillation = contract.distillation_of(method, student, teacher, device) if method else None
    instances = training_data(
        fitted, student.window, device, full_windows=student.full_windows, share=settings.share, seed=seed
    )
    if distillation:
        distillation.prepare(teacher, instances, progress=progress)
        contract.check_apart(distillation, student, teacher)
        if progress and distillation.n_short:
            tqdm.write(contract.SHORTER.format(distillation.n_short))
    optimizer = make_optimizer(student, distillation, settings)
    with explained(lambda: "interrupted: rdcore.fit keeps nothing; load_or_train (docs/your-data.md) keeps a checkpoint"):
        train(student, instances, optimizer, settings, seed=seed, distillation=distillation, progress=progress)
    return contract.knowing_users(student.eval(), fitted)


def evaluate(model: Model, data: Interactions | Stage, *, device: str = "cpu") -> dict[str, np.ndarray]:
    """Metrics of every user, each (n_users,); NaN for a user without a held-out item.

    Their names: AP (its mean is MAP), MRR, and, for n in 3, 5 and 10, P@n, R@n, HR@n, nDCG@n (as the official code cuts it)
    and nDCG@n-standard; `rdcore.eval.metrics.per_user` defines them.
    All items are ranked that the user does not have in the fitted part (full ranking, no sampled candidates).

    >>> import rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> popular = rdcore.fit(clicks, rdcore.PopularitySettings())
    >>> rdcore.evaluate(popular, clicks)["AP"].shape == (clicks.n_users,)
    True
    """
    contract.check_device(device)
    part = _stage(data)
    _check(model, part.fit, device)
    return metrics.evaluate(model, part, device=device)


def compare(
    models: Mapping[str, Model], data: Interactions | Stage, *, show=("MAP", "nDCG@10", "P@10"), device: str = "cpu"
) -> pd.DataFrame:
    """A table of the models: means over users of the metrics in ``show``, and the number of parameters.

    The order of the rows is that of ``models``. One training of each model says little about small differences:
    `rdcore.eval.significance` compares several seeds.

    >>> import rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> popular = rdcore.fit(clicks, rdcore.PopularitySettings())
    >>> rdcore.compare({"POP": popular}, clicks).columns.tolist()
    ['MAP', 'nDCG@10', 'P@10', 'parameters']
    """
    contract.check_device(device)
    part = _stage(data)
    rows = {}
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models must be a dict such as {{'teacher': teacher, 'student': student}}, got {short(models)}")
    for name, model in models.items():  # all are checked before the first one is evaluated
        _check(model, part.fit, device, f"models[{name!r}]")
    known = metrics.mean(metrics.per_user(torch.ones(1, dtype=torch.int64), np.array([0, 1])))
    show = (show,) if isinstance(show, str) else tuple(show)
    if lost := [metric for metric in show if metric not in known]:
        raise ValueError(f"show names no metric {short(lost[0])}; there are: {', '.join(known)}. docs/your-own.md has others")
    for name, model in models.items():
        means = metrics.mean(metrics.evaluate(model, part, device=device))
        rows[name] = {metric: means[metric] for metric in show}
        rows[name]["parameters"] = sum(weights.numel() for weights in model.parameters())
    table = pd.DataFrame(rows).T
    return table.astype({"parameters": int})


@torch.no_grad()
def recommend(model: Model, data: Interactions | Stage, users=None, *, n: int = 10, device: str = "cpu") -> pd.DataFrame:
    """The n best items of each user that they do not have yet: columns user, item, rank (from 1) and score, with the
    labels of the data.

    data: what users have, and what a model with a memory looks at: all interactions, or the fitted part of a
    `Stage`. users: labels; by default all users.

    >>> import rdcore
    >>> clicks = rdcore.load("synthetic")
    >>> model = rdcore.fit(clicks, rdcore.PopularitySettings())
    >>> rdcore.recommend(model, clicks, users=[3], n=2)["rank"].tolist()
    [1, 2]
    """
    contract.check_device(device)
    contract.check_kind(data)
    had = data if isinstance(data, Interactions) else data.fit
    _check(model, had, device)
    integer("n", n)
    wanted = had.user_ids if users is None else list(users)
    codes = pd.Index(had.user_ids).get_indexer(wanted)
    if (codes < 0).any():
        raise ValueError(f"users: the data have no user {short(wanted[int(codes.argmin())])}: take labels of the data, such "
                         f"as {had.user_ids[0]}")  # fmt: skip
    queries, n = final_queries(had).to(device), min(n, had.n_items)
    seen = SeenItems(queries.items, queries.offsets, had.n_items)
    rows, parts = block_rows(had.n_items, 512), []
    with evaluating(model):
        for codes_of_block in torch.from_numpy(codes).to(device).split(rows):
            query = queries[codes_of_block]
            scores = all_scores(model, query)
            items = metrics.top_items(scores, seen.of(query.user), n)
            known = items < had.n_items  # else nothing is left
            found = scores.gather(1, items.clamp(max=had.n_items - 1))[known].cpu().numpy()
            row, place = (each.cpu().numpy() for each in known.nonzero(as_tuple=True))
            parts.append(pd.DataFrame({
                "user": had.user_ids[query.user.cpu().numpy()[row]], "item": had.item_ids[items[known].cpu().numpy()],
                "rank": place + 1, "score": found,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _stage(data: Interactions | Stage) -> Stage:
    contract.check_kind(data)
    return stage(data, "F") if isinstance(data, Interactions) else data


def _settings(what: str, value: object, *makes: str, such: str) -> None:
    """Raises ValueError unless it is an object of settings, not their class, a name or a model."""
    if isinstance(value, (type, Model)) or not any(hasattr(value, name) for name in makes):
        raise ValueError(f"{what} must be settings such as {such}, got {short(value)}; docs/your-own.md writes others")


def _check(model: Model, fitted: Interactions, device: str, what: str = "the model") -> None:
    """Raises ValueError for a model of other items, or of other users where it knows each of them; on another device, or with
    weights that are no numbers."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{what} must be a trained model, such as rdcore.fit returns, got {short(model)}; docs/your-own.md "
                         "makes one of scores in a matrix or a function")  # fmt: skip
    check_model(model, fitted.n_items)
    of_its_users(model, fitted, what)
    if places := {weights.device.type for weights in model.parameters()} - {torch.device(device).type}:
        raise ValueError(f"{what} is on {places.pop()!r}, and device is {device!r}: give model.to({device!r})")
    if not all(weights.isfinite().all() for weights in model.parameters()):
        raise ValueError(f"{what} has weights that are not finite: train it again with a lower learning rate")
