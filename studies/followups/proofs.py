"""Curves of the later methods on their authors' splits, at their settings as far as these are known.

    python -m studies.followups.proofs td HTD --dim 10 --seed 1

trains one run and writes data/replicated/followups/NAME.json: a row of metrics for every evaluated epoch, and where the
run was made. Weights go to runs/followups. A teacher is trained first where its weights are not there; a finished run is
not repeated, and the same command goes on after an interrupt. A trial (--epochs) leaves its record in runs/followups too.
Three protocols:

- td (Topology Distillation): its own fold of CiteULike; the test item among all items without the user's training and
  validation items, at epochs 1, 11, ..., 101; nothing is selected; the last weights of the teacher teach.
- unkd (UnKD): a fifth of each user's items; the test users' items among all without training items; NDCG@20 of the
  validation users chooses the epoch, every 5 epochs, patience 20 evaluations.
- rcekd (RCE-KD): the split by item id; NDCG@10 of the validation items chooses the epoch, patience 30; means over all users.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rdcore import datasets
from rdcore.data import Interactions, Stage
from rdcore.data.sampling import stream_seed
from rdcore.distill import (
    CDSettings,
    DCDSettings,
    FTDSettings,
    HetCompSettings,
    HTDSettings,
    KDCESettings,
    Position,
    RCEKDSettings,
    RDSettings,
    RRDSettings,
    Trajectories,
    UnKDSettings,
)
from rdcore.distill.base import Batch, Distillation
from rdcore.distill.followups.unkd import popularity_groups
from rdcore.eval import metrics
from rdcore.eval.leave_one_out import Judge
from rdcore.eval.metrics import held_out
from rdcore.files import paths
from rdcore.files.whole import write_json, write_whole
from rdcore.models import BPRMFSettings
from rdcore.models.base import Model
from rdcore.store.checkpoints import Checkpoints
from rdcore.store.description import describe
from rdcore.store.environment import environment
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data
from studies.followups import splits

CUTOFFS = (10, 20, 50)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one paper trains and judges."""

    parts: Callable[[], tuple[Interactions, Stage | None, Stage]]
    """The training part; what the validation items and the test items are judged by."""
    training: Training
    """Of the student; the teacher's differs by ``teacher_decay`` alone."""
    dims: tuple[int, int]
    """Of the teacher and, unless asked for otherwise, of the student."""
    methods: dict[str, Any]
    """Role -> settings."""
    evaluated: Callable[[int], bool]
    """Whether an epoch is."""
    chooses: str = ""
    """Metric of the validation items that chooses the epoch; none: the last one is taken."""
    patience: int = 0
    """Evaluations without a better value after which training ends."""
    teacher_decay: float | None = None
    """The teacher's weight decay, where it is another."""
    distilled_decay: float | None = None
    """A distilled student's."""
    ego_decay: float = 0.0
    """L2 of the batch's own vectors, a part of the loss: decay (|u|^2 + |i|^2 + |j|^2) / 2, the mean over rows."""
    xavier: bool = False
    """Whether tables begin as Xavier's uniform ones instead of N(0, 0.01^2)."""
    empty_is_zero: bool = False
    """Whether users without a held-out item count as 0 in the means."""
    checkpoints: tuple[int, ...] = ()
    """Epochs of the teacher that are kept in addition to its chosen one, for HetComp."""

    def stalled(self, curve: list[dict]) -> bool:
        """Whether the last evaluations, as many as the patience, brought no better value of the metric that chooses."""
        if not self.patience or not curve:
            return False
        values = [row[self.chooses] for row in curve]
        return len(values) - 1 - values.index(max(values)) >= self.patience


def td_parts() -> tuple[Interactions, None, Stage]:
    judge = Judge(datasets.load("citeulike-td"))
    return judge.fit, None, judge.test


def split_parts(split: Callable[[], splits.Parts]) -> tuple[Interactions, Stage, Stage]:
    parts = split()
    return parts.fit, *(Stage("L", parts.fit, held) for held in (parts.validation, parts.test))


PROTOCOLS = {
    "td": Protocol(
        parts=td_parts, dims=(200, 10), evaluated=lambda epoch: epoch % 10 == 1,
        training=Training(epochs=101, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum"),
        methods={
            "FTD": FTDSettings(), "HTD": HTDSettings(), "HTD-prototypes": HTDSettings(level="prototypes"),
            "HTD-released": HTDSettings(level="prototypes", as_released=True),
        },
    ),
    "unkd": Protocol(
        parts=lambda: split_parts(splits.by_user_group), dims=(100, 10), evaluated=lambda epoch: epoch % 5 == 0,
        training=Training(epochs=1000, batch_size=2048, learning_rate=1e-3, weight_decay=0.0, negatives=1),
        chooses="N@20", patience=20, ego_decay=1e-3, xavier=True,
        methods={
            "RD": RDSettings(exclude="seen", weights=Position()), "CD": CDSettings(weight=0.1), "RRD": RRDSettings(),
            "HTD": HTDSettings(), "UnKD": UnKDSettings(), "UnKD-released": UnKDSettings(as_released=True),
        },
    ),
    "rcekd": Protocol(
        parts=lambda: split_parts(splits.by_item_id), dims=(400, 20), evaluated=lambda epoch: True,
        training=Training(epochs=1000, batch_size=2048, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum"),
        chooses="N@10", patience=30, distilled_decay=1e-5, empty_is_zero=True, checkpoints=(51, 101),
        methods={
            "CD": CDSettings(weight=0.5, samples=2, depth=None), "RRD": RRDSettings(K=100, L=200, weight=0.1),
            "DCD": DCDSettings(), "HetComp": HetCompSettings(), "KD-CE": KDCESettings(items="student"),
            "RCE-KD": RCEKDSettings(),
        },
    ),
}  # fmt: skip


class Decayed(Distillation):
    """A term of the loss for the batch's own vectors, with or without a distillation."""

    def __init__(self, decay: float, inner: Distillation | None):
        super().__init__()
        self.decay, self.inner, self.reduction = decay, inner, "mean"

    def begin_epoch(self, student, epoch, n_batches, rng) -> None:
        if self.inner:
            self.inner.begin_epoch(student, epoch, n_batches, rng)

    def wants(self, batch: Batch) -> Tensor | None:
        return self.inner.wants(batch) if self.inner else None

    def loss(self, student, batch: Batch, step, context: Tensor) -> Tensor:
        items = student.item_factors(torch.cat([batch.target[:, None], batch.negatives], dim=1))
        total = self.decay * (context.square().sum() + items.square().sum()) / (2 * len(context))
        if self.inner is None:
            return total
        term = self.inner.loss(student, batch, step, context)
        return total + (term if self.inner.reduction == "mean" else term / len(context))

    def log(self) -> dict:
        return self.inner.log() if self.inner else {}


def judged(model: nn.Module, stage: Stage, groups: list[Tensor], empty_is_zero: bool) -> dict[str, float]:
    """R@k and N@k (ideal cut at min(k, held-out)), means over users with a held-out item or over all users. With two
    ``groups`` of items also R@k of each, over the users who have such a held-out item."""
    ranks = torch.cat([metrics.target_ranks(*given) for given in held_out(model, stage)]).numpy()
    # target_ranks sorts a user's ranks, so which item has which is asked of the model again where groups are wanted.
    counts, n_users = stage.judge.counts(), stage.judge.n_users
    user = np.repeat(np.arange(n_users), counts)
    among = n_users if empty_is_zero else int((counts > 0).sum())
    ideal, found = np.cumsum(1 / np.log2(np.arange(max(CUTOFFS)) + 2)), {}
    for k in CUTOFFS:
        hit = ranks <= k
        of_user = np.bincount(user, hit, n_users) / np.maximum(counts, 1)
        gain = np.bincount(user, hit / np.log2(ranks + 1), n_users) / ideal[np.minimum(np.maximum(counts, 1), k) - 1]
        found |= {f"R@{k}": of_user.sum() / among, f"N@{k}": gain.sum() / among}
    for name, group in zip(("popular", "unpopular"), groups, strict=False):
        keep = np.isin(stage.judge.items, group.numpy())
        offsets = np.concatenate([[0], np.cumsum(np.bincount(user[keep], minlength=n_users))])
        part = Stage(stage.name, stage.fit, Interactions(name, stage.judge.items[keep], offsets, stage.judge.n_items))
        of_group = judged(model, part, [], False)
        found |= {f"{metric}-{name}": value for metric, value in of_group.items() if metric.startswith("R@")}
    return {name: round(float(value), 6) for name, value in found.items()}


def _file(study: str, role: str, size: int, seed: int, epochs: int | None, end: str) -> Path:
    """Where a run's record or weights are; without an ``end``, the folder of its checkpoint."""
    name = f"{study}-{role}-d{size}-seed{seed}" + (f"-{epochs}epochs" if epochs else "")
    committed = end == ".json" and not epochs
    return (paths.replicated() if committed else paths.runs()) / "followups" / f"{name}{end}"


def _teacher(study: str, role: str, seed: int, epochs: int | None, fit: Interactions) -> Model:
    """The trained teacher of a method; HetComp gets its checkpoints too, at most three."""
    protocol = PROTOCOLS[study]
    chosen = run(study, "T", seed=seed, epochs=epochs)["chosen"]["epoch"]
    ends = [f"-epoch{k}.safetensors" for k in protocol.checkpoints if role == "HetComp" and k < chosen]
    found = []
    for end in [*ends, ".safetensors"][:3]:
        teacher = BPRMFSettings(dim=protocol.dims[0]).build(fit.n_users, fit.n_items)
        teacher.load_state_dict(load_file(_file(study, "T", protocol.dims[0], seed, epochs, end)))
        found.append(teacher)
    return Trajectories([found]) if len(found) > 1 else found[0]


def run(study: str, role: str, *, dim: int | None = None, seed: int = 1, epochs: int | None = None) -> dict:
    """The record of one run, trained where it is not there yet; a teacher also where its weights are not."""
    protocol, started = PROTOCOLS[study], time.perf_counter()
    size = protocol.dims[0] if role == "T" else dim or protocol.dims[1]
    file, weights = (_file(study, role, size, seed, epochs, end) for end in (".json", ".safetensors"))
    if file.exists() and (role != "T" or weights.exists()):
        return json.loads(file.read_text(encoding="utf-8"))
    fit, validation, test = protocol.parts()
    decays = {"T": protocol.teacher_decay, "S": None}
    decay = decays.get(role, protocol.distilled_decay)
    training = protocol.training if decay is None else replace(protocol.training, weight_decay=decay)
    training = replace(training, epochs=epochs or training.epochs)
    teacher = None if role in ("T", "S") else _teacher(study, role, seed, epochs, fit)
    with seeded(stream_seed(seed, "initialisation"), "cpu"):
        model = BPRMFSettings(dim=size).build(fit.n_users, fit.n_items)
        if protocol.xavier:
            for table in (model.user, model.item_factors):
                nn.init.xavier_uniform_(table.weight)
        method = None
        data = training_data(fit, 0, "cpu")
        if teacher is not None:
            method = protocol.methods[role].build(model, teacher)
            method.prepare(teacher, data)
    if protocol.ego_decay:
        method = Decayed(protocol.ego_decay, method)
    optimizer = make_optimizer(model, method, training)
    described = {"training": describe(training), "method": None if teacher is None else describe(protocol.methods[role])}
    folder = _file(study, role, size, seed, epochs, "")
    checkpoints = Checkpoints(folder, model=model, optimizer=optimizer, distillation=method)
    best = {"epoch": 0, "value": -1.0, "weights": None}
    start = {"epoch": 0, "history": [], "metrics": [], "seconds": 0.0, "resumed": -1, "curve": [], "best": best}
    state = checkpoints.resume("cpu", "L") or start | {"described": described}
    if state["described"] != described:
        raise ValueError(f"{checkpoints.file} has another training or method: delete this file, and the run starts anew")
    state["resumed"] += 1
    earlier, curve, best = state["seconds"], state["curve"], state["best"]

    def kept(path: Path, tensors: dict[str, Tensor]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda draft: save_file(tensors, draft))

    def after(epoch: int, log: dict) -> bool:
        state["history"].append({key: value for key, value in log.items() if not isinstance(value, list)})
        if role == "T" and epoch in protocol.checkpoints:
            kept(_file(study, role, size, seed, epochs, f"-epoch{epoch}.safetensors"), model.state_dict())
        if protocol.evaluated(epoch) or epoch == training.epochs:
            stage = test if validation is None else validation
            curve.append({"epoch": epoch, **judged(model, stage, [], protocol.empty_is_zero)})
            value = curve[-1][protocol.chooses] if protocol.chooses else epoch
            if value > best["value"]:
                tensors = {key: tensor.clone() for key, tensor in model.state_dict().items()}
                best.update(epoch=epoch, value=value, weights=tensors)
            print(json.dumps(curve[-1] | {"seconds": log["seconds"]}), flush=True)
        state["epoch"], state["seconds"] = epoch, earlier + time.perf_counter() - started
        stalled = protocol.stalled(curve)
        checkpoints.save(state, now=stalled or epoch == training.epochs)
        return stalled

    if not protocol.stalled(curve):
        train(
            model, data, optimizer, training, seed=seed, distillation=method, first_epoch=state["epoch"] + 1, after_epoch=after
        )
    model.load_state_dict(best["weights"])
    groups = popularity_groups(torch.from_numpy(fit.items), fit.n_items, 2) if study == "unkd" else []
    chosen = {"epoch": best["epoch"], **judged(model, test, groups, protocol.empty_is_zero)}
    state["seconds"] = earlier + time.perf_counter() - started
    record = {
        "study": study, "role": role, "dim": size, "seed": seed, **described, "environment": environment("cpu", state),
        "chosen": chosen, "judged": "test" if validation is None else "validation", "curve": curve,
        "history": state["history"],
    }  # fmt: skip
    kept(weights, best["weights"])
    write_json(file, record)
    shutil.rmtree(folder)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.followups.proofs", description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=PROTOCOLS)
    parser.add_argument("role", help="T, S, or a method of the study")
    parser.add_argument("--dim", type=int, help="of the student")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="fewer than the protocol's, for a trial; the teacher's too")
    given = parser.parse_args()
    known = ("T", "S", *PROTOCOLS[given.study].methods)
    if given.role not in known:
        parser.error(f"{given.study} has no {given.role}; it has {', '.join(known)}")
    torch.set_num_threads(1)
    record = run(given.study, given.role, dim=given.dim, seed=given.seed, epochs=given.epochs)
    print(json.dumps(record["chosen"]))


if __name__ == "__main__":
    main()
