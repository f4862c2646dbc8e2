"""Our Caser and Ranking Distillation and the released ones (graytowne/rank_distill), trained on the same draws.

Our loop runs as it always does; what it draws (order, negatives, rank samples) is recorded and fed to the released
loop, which runs unchanged but for its three sources of chance. Item i here is item i + 1 there, where 0 is padding.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import scipy.sparse
import torch
from parity import official

from rdcore.data import stage
from rdcore.data.sampling import stream
from rdcore.datasets import load
from rdcore.datasets.synthetic import generate
from rdcore.distill import Discrepancy, Hybrid, Position, RDSettings, rd_rank
from rdcore.distill.lists import Lists
from rdcore.models import CaserSettings
from rdcore.train import loop as ours_loop

NAME, REPOSITORY = "rank_distill", "graytowne/rank_distill"
SEED = 1
DIM = 16
PADDED = ("item_embeddings", "W2", "b2")  # their tables with a row for the padding id
SAMPLED = Discrepancy(samples=30, estimate="instance")
# method, what is compared, how `compare` says it, size and kind of the epoch that `timed` takes
ROWS = [
    ("Caser", "teacher, no distillation", {}, (100, None)),
    ("Caser", "student, no distillation", {}, (50, None)),
    ("RD", "position weights", {"weights": Position()}, (50, False)),
    ("RD", "hybrid weights as released", {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=1), "start": 0}, (50, True)),
    (
        "RD", "hybrid weights, normalised",
        {"weights": Hybrid(discrepancy=SAMPLED, start_epoch=1, normalise=True), "start": 0, "normalise": True}, None,
    ),
]  # fmt: skip


@dataclass
class Draws:
    """What our run drew: per epoch the order (N,) and the negatives (N, n); the rank samples of each step (B, S)."""

    order: list[np.ndarray] = field(default_factory=list)
    negatives: list[np.ndarray] = field(default_factory=list)
    samples: list[np.ndarray] = field(default_factory=list)


@dataclass
class Trained:
    """Weights by the name that the released code gives them, and the mean loss of each epoch."""

    weights: dict[str, np.ndarray]
    losses: list[float]


def instances(n: int):
    """The first n training windows of generated data, which both sides train on."""
    data = ours_loop.training_data(generate(), 5, "cpu", full_windows=True)
    kept = torch.arange(n)
    return ours_loop.TrainingData(data.queries[kept], data.target[kept], data.seen)


def views(model) -> dict[str, torch.Tensor]:
    """Our weights under the released names, without the rows for the padding id; what is written into them is the model's."""
    names = {
        "user_embeddings.weight": model.user.weight,
        "item_embeddings.weight": model.item.weight[:-1],
        "conv_v.weight": model.vertical.weight,
        "conv_v.bias": model.vertical.bias,
        "fc1.weight": model.dense.weight,
        "fc1.bias": model.dense.bias,
        "W2.weight": model.item_factors.weight,
        "b2.weight": model.item_bias[:, None],
    }
    for place, conv in enumerate(model.horizontal):
        names |= {f"conv_h.{place}.weight": conv.weight, f"conv_h.{place}.bias": conv.bias}
    return {name: weight.detach() for name, weight in names.items()}


def in_their_names(model) -> dict[str, torch.Tensor]:
    """Copies of our weights under the released names. Their item tables have a row for the padding id in front."""

    def first(table: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(table[:1]), table])

    return {name: first(own) if name.split(".")[0] in PADDED else own.clone() for name, own in views(model).items()}


def build(dim: int, data, seed: int = SEED):
    """A Caser without dropout, whose masks would be other draws."""
    with ours_loop.seeded(seed, "cpu"):
        return CaserSettings(dim=dim, dropout=0.0).build(len(data.seen.offsets) - 1, data.seen.n_items)


def train_ours(model, data, training, distillation=None) -> tuple[Trained, Draws]:
    """Our loop, with a record of its draws."""
    draws, losses, drawn, n = Draws(), [], ours_loop.unseen_items, len(data.target)

    def negatives(*given):
        draws.negatives.append((made := drawn(*given)).numpy().copy())
        return made

    def samples(*given):
        draws.samples.append((made := drawn(*given)).numpy().copy())
        return made

    optimizer = ours_loop.make_optimizer(model, distillation, training)
    with mock.patch.object(ours_loop, "unseen_items", negatives), mock.patch.object(rd_rank, "unseen_items", samples):
        ours_loop.train(
            model, data, optimizer, training, seed=SEED, distillation=distillation,
            after_epoch=lambda epoch, log: losses.append(log["loss"] + log.get("distillation_loss", 0.0)) and None,
        )  # fmt: skip
    for epoch in range(1, training.epochs + 1):
        draws.order.append(torch.randperm(n, generator=stream(SEED, "order", epoch)).numpy())
    return Trained({name: weight.numpy() for name, weight in in_their_names(model).items()}, losses), draws


def released(kind, data, training, dim: int, folder: Path, rd: dict | None, dropout: float = 0.0):
    """The released trainer (an object of class ``kind``) and the instances as it takes them, with fresh weights."""
    sequences = SimpleNamespace(
        sequences=data.queries.history(5).numpy() + 1, targets=data.target.numpy()[:, None] + 1,
        user_ids=data.queries.user.numpy(), L=5, T=1,
    )  # fmt: skip
    n_users, n_items = len(data.seen.offsets) - 1, data.seen.n_items
    train = SimpleNamespace(sequences=sequences, num_items=n_items + 1, num_users=n_users, test_sequences=None)
    sizes = SimpleNamespace(L=5, d=dim, nv=2, nh=16, drop=dropout, ac_conv="iden", ac_fc="sigm")
    common = dict(
        n_iter=training.epochs, batch_size=training.batch_size, l2=training.weight_decay,
        neg_samples=training.negatives, learning_rate=training.learning_rate,
    )  # fmt: skip
    (folder / "checkpoints").mkdir(exist_ok=True)  # the released loop saves a checkpoint there
    if rd is None:
        trainer = kind(model_args=sizes, **common)
        trainer._initialize(train)
        return trainer, train
    lists = folder / "lists.npy"
    np.save(lists, rd["lists"] + 1)
    trainer = kind(
        teacher_model_path="", teacher_topk_path=str(lists), lamda=rd["lam"], mu=rd["mu"],
        num_dynamic_samples=rd["samples"], dynamic_start_epoch=rd["start"], K=rd["lists"].shape[1],
        teach_alpha=rd["alpha"], student_model_args=sizes, teacher_model_args=sizes, **common,
    )  # fmt: skip
    trainer._weight_renormalize = rd["normalise"]
    trainer._initialize_student(train)
    return trainer, train


def network(trainer) -> torch.nn.Module:
    """What it trains."""
    return trainer._student_net if hasattr(trainer, "_student_net") else trainer._net


def fitted(trainer, train, folder: Path) -> str:
    """Runs the released loop in ``folder``; what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.chdir(folder):
        trainer.fit(train, None, verbose=False)
    return said.getvalue()


def losses_of(said: str) -> list[float]:
    """Of each epoch, from what `fitted` returns."""
    return [float(value) for value in re.findall(r"\tloss=([0-9.naif]+)", said)]


def train_theirs(start: dict, data, training, draws: Draws, dim: int, folder: Path, rd: dict | None = None) -> Trained:
    """The released loop from the weights ``start``, fed with the draws. ``rd``: the settings and lists of a distillation."""
    with official.modules(NAME, "train_caser", "distill_caser") as (train_caser, distill_caser):
        at = [np.arange(len(data.target)), 0, 0]  # the order that theirs is in; epochs shuffled; steps sampled

        def shuffle(*arrays, indices=False):
            order = draws.order[at[1]]
            relative = np.argsort(at[0])[order]
            at[0], at[1] = order, at[1] + 1
            moved = tuple(array[relative] for array in arrays)
            return (moved, relative) if indices else moved

        class Fed(distill_caser.DistilledRecommender if rd else train_caser.Recommender):
            def _generate_negative_samples(self, users, interactions, n):
                if n == training.negatives:
                    return draws.negatives[at[1] - 1][at[0]] + 1
                steps = -(-len(users) // training.batch_size)
                if not draws.samples or at[1] <= rd["start"]:  # no rank is estimated: any sample will do
                    return np.ones((len(users), n), dtype=np.int64)
                drawn = draws.samples[at[2] : at[2] + steps]
                at[2] += steps
                return np.concatenate(drawn) + 1

        trainer, train = released(Fed, data, training, dim, folder, rd)
        network(trainer).load_state_dict(start)
        with mock.patch.object(train_caser, "shuffle", shuffle), mock.patch.object(distill_caser, "shuffle", shuffle):
            said = fitted(trainer, train, folder)
        weights = {name: value.numpy().copy() for name, value in network(trainer).state_dict().items()}
        return Trained(weights, losses_of(said))


def largest_difference(ours: Trained, theirs: Trained) -> float:
    """Of all weights. The padding rows in front are left out: no instance uses them, and weight decay moves theirs alone."""
    worst = 0.0
    for name, weight in ours.weights.items():
        skip = 1 if name.split(".")[0] in PADDED else 0
        worst = max(worst, float(np.abs(weight[skip:] - theirs.weights[name][skip:]).max()))
    return worst


def compare(
    folder: Path, *, steps: int, weights=None, start: int = 10**6, normalise: bool = False, n: int = 300, batch: int = 100
) -> tuple[int, float, list[float], list[float], float]:
    """Trains both for about ``steps`` steps. Returns (steps taken, largest difference of weights, our and their losses, how
    far our weights moved). ``weights``: a scheme of RD, and as theirs say it: ``start`` epochs without ranks, ``normalise``."""
    per_epoch = -(-n // batch)
    training = ours_loop.Training(epochs=-(-steps // per_epoch), batch_size=batch)
    data = instances(n)
    model = build(DIM, data)
    begin = in_their_names(model)
    distillation = rd = None
    if weights is not None:
        teacher = build(2 * DIM, data, seed=SEED + 1)
        distillation = RDSettings(weights=weights).build(model, teacher)
        distillation.prepare(teacher, data)
        discrepancy = getattr(weights, "discrepancy", None)
        rd = {
            "lists": distillation.lists.items.numpy().astype(np.int64), "lam": 1.0, "alpha": 1.0, "start": start,
            "mu": discrepancy.mu if discrepancy else 0.1, "samples": discrepancy.samples if discrepancy else 7,
            "normalise": normalise,
        }  # fmt: skip
    ours, draws = train_ours(model, data, training, distillation)
    theirs = train_theirs(begin, data, training, draws, DIM, folder, rd)
    moved = max(float((torch.from_numpy(ours.weights[name]) - before).abs().max()) for name, before in begin.items())
    return training.epochs * per_epoch, largest_difference(ours, theirs), ours.losses, theirs.losses, moved


def rows(windows: int) -> list[dict]:
    """Of parity.csv: after 1 and 51 steps; windows: of a timed epoch, 0 to time nothing."""
    found = []
    for method, what, given, clock in ROWS:
        seconds = timed(clock[0], windows, ranks=clock[1]) if clock and windows else (None, None)
        for steps, n in ((1, 100), (50, 300)):
            with tempfile.TemporaryDirectory() as folder:
                taken, difference, *_ = compare(Path(folder), steps=steps, n=n, **given)
            of_row = seconds if steps > 1 else (None, None)
            found.append(official.row(NAME, REPOSITORY, method, what, taken, difference, of_row))
    return found


def timed(dim: int, n: int, *, ranks: bool | None = None, repeats: int = 3) -> tuple[float, float]:
    """Processor seconds of an epoch over the first n windows of Gowalla, theirs and ours in turn: the medians.

    Both draw as they always do. ``ranks``: None for a model alone, False for RD by position, True for the released
    hybrid with its rank samples. Lists are made before the clock starts; an epoch takes as long with any lists.
    """
    gowalla = stage(load("gowalla"), "F").fit
    every = ours_loop.training_data(gowalla, 5, "cpu", full_windows=True)
    data = ours_loop.TrainingData(every.queries[torch.arange(n)], every.target[:n], every.seen)
    training = ours_loop.Training(epochs=1)
    lists = torch.randint(gowalla.n_items, (n, 10))
    rd = None
    if ranks is not None:
        rd = dict(lists=lists.numpy(), lam=1.0, alpha=1.0, mu=0.1, samples=100, start=0 if ranks else 1, normalise=False)
    shape = (gowalla.n_users, gowalla.n_items + 1)
    matrix = scipy.sparse.csr_matrix((np.ones(len(gowalla.items)), gowalla.items + 1, gowalla.offsets), shape)
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats):
        with (
            tempfile.TemporaryDirectory() as folder,
            official.modules(NAME, "train_caser", "distill_caser") as (train_caser, distill_caser),
        ):  # fmt: skip
            kind = train_caser.Recommender if ranks is None else distill_caser.DistilledRecommender
            trainer, train = released(kind, data, training, dim, Path(folder), rd)
            train.tocsr = lambda: matrix
            trainer._generate_negative_samples(train.sequences.user_ids[:2], train, 1)  # each user's candidates, once
            begun = time.process_time()
            fitted(trainer, train, Path(folder))
            seconds[0].append(time.process_time() - begun)
        model = build(dim, data, seed=repeat)
        distillation = None
        if ranks is not None:
            weights = Hybrid(start_epoch=1) if ranks else Position()
            distillation = RDSettings(weights=weights).build(model, model)
            distillation.seen, distillation.lists = data.seen, Lists(lists.int(), per_user=False)
        optimizer = ours_loop.make_optimizer(model, distillation, training)
        begun = time.process_time()
        ours_loop.train(model, data, optimizer, training, seed=repeat, distillation=distillation)
        seconds[1].append(time.process_time() - begun)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))
