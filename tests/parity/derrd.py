"""Our BPR-MF, DE and RRD and the released ones (SeongKu-Kang/DE-RRD_CIKM20), trained on the same draws.

Our loop runs as it always does. What it draws (order, negatives, Gumbel noise, RRD's samples) is recorded and fed to
the released models and losses. Their training loop asks for a GPU, so its step (forward, losses, Adam) is called here.
"""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from parity import official

from rdcore.data.sampling import stream
from rdcore.datasets import load
from rdcore.datasets.synthetic import generate
from rdcore.distill import DESettings, RRDSettings
from rdcore.distill import de as ours_de
from rdcore.models import BPRMFSettings
from rdcore.store.contract import fitted_part
from rdcore.train import loop as ours_loop
from studies.common.profiles import PROFILES

NAME, REPOSITORY = "DE-RRD_CIKM20", "SeongKu-Kang/DE-RRD_CIKM20"
SEED = 1
DIM, TEACHER_DIM = 4, 8
RATE, DECAY = 1e-2, 1e-3


def fresh(dim: int, data, seed: int):
    """A BPR-MF with vectors large enough that every loss has gradients from the first step on."""
    with ours_loop.seeded(seed, "cpu"):
        model = BPRMFSettings(dim=dim).build(len(data.seen.offsets) - 1, data.seen.n_items)
        with torch.no_grad():
            for table in (model.user, model.item_factors):
                table.weight.mul_(30)
    return model


def compare(method: str, *, steps: int, n: int = 300, batch: int = 100) -> tuple[int, float, float]:
    """Trains both for about ``steps`` steps: (steps taken, largest difference of the student's weights, how far ours moved).

    method: 'BPR' (no distillation), 'DE' or 'RRD'.
    """
    every = ours_loop.training_data(generate(), 0, "cpu")
    kept = torch.arange(n)
    data = ours_loop.TrainingData(every.queries[kept], every.target[:n], every.seen)
    training = ours_loop.Training(
        epochs=-(-steps // -(-n // batch)), batch_size=batch, learning_rate=RATE, weight_decay=DECAY, negatives=1,
        reduction="sum",
    )  # fmt: skip
    model, teacher = fresh(DIM, data, SEED), fresh(TEACHER_DIM, data, SEED + 1)
    settings = {
        "BPR": None, "DE": DESettings(M=3, weight=0.05, anneal_epochs=10), "RRD": RRDSettings(K=5, L=5, depth=20, weight=0.05),
    }[method]  # fmt: skip
    with ours_loop.seeded(SEED, "cpu"):
        distillation = settings.build(model, teacher) if settings else None
    if distillation:
        distillation.prepare(teacher, data)
    begin = [model.user.weight.detach().clone(), model.item_factors.weight.detach().clone()]
    with official.modules(NAME, "Models.BPR", "Models.DE", "Utils.loss") as (bpr, de, loss):
        theirs = _released(method, bpr, de, begin, teacher, distillation)
        draws = _train_ours(model, data, training, distillation)
        _train_theirs(method, theirs, loss, data, training, settings, draws)
        pairs = [(model.user.weight, theirs.user_emb.weight), (model.item_factors.weight, theirs.item_emb.weight)]
        worst = max(float((ours - released).abs().max()) for ours, released in pairs)
    moved = max(float((ours - before).abs().max()) for (ours, _), before in zip(pairs, begin, strict=True))
    return training.epochs * -(-n // batch), worst, moved


def rows(windows: int) -> list[dict]:
    """Of parity.csv: after 1 and 51 steps; with 0 windows without the time of an epoch over all of CiteULike."""
    found = []
    for method in ("BPR", "DE", "RRD"):
        seconds = timed(method) if windows else (None, None)
        for steps, n in ((1, 100), (50, 300)):
            taken, difference, _ = compare(method, steps=steps, n=n)
            of_row = seconds if steps > 1 else (None, None)
            found.append(official.row(NAME, REPOSITORY, method, "BPR-MF, losses and steps", taken, difference, of_row))
    return found


def timed(method: str, repeats: int = 3) -> tuple[float, float]:
    """Processor seconds of an epoch over CiteULike at the paper's sizes, theirs and ours in turn: the medians.

    Theirs is the sum of what an epoch of their loop does: their data set draws, their loader hands out the batches, and
    each batch is a step. Lists are made before the clock starts.
    """
    plan = PROFILES["paper"].derrd[0]
    data = ours_loop.training_data(fitted_part(load("citeulike"), "L"), 0, "cpu")
    training = replace(plan.training, epochs=1)
    settings = plan.methods.get(method)
    seconds: tuple[list[float], list[float]] = ([], [])
    for seed in range(repeats):
        for side, clock in enumerate((_their_epoch, _our_epoch)):
            model, teacher = fresh(plan.models["S"].dim, data, seed), fresh(plan.models["T"].dim, data, seed + 1)
            with ours_loop.seeded(seed, "cpu"):
                distillation = settings.build(model, teacher) if settings else None
            if distillation:
                distillation.prepare(teacher, data)
            seconds[side].append(clock(method, model, teacher, data, training, distillation))
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


def _our_epoch(method: str, model, teacher, data, training, distillation) -> float:
    optimizer = ours_loop.make_optimizer(model, distillation, training)
    begun = time.process_time()
    ours_loop.train(model, data, optimizer, training, seed=SEED, distillation=distillation)
    return time.process_time() - begun


def _their_epoch(method: str, model, teacher, data, training, distillation) -> float:
    begin = [model.user.weight.detach().clone(), model.item_factors.weight.detach().clone()]
    settings = distillation.settings if distillation else None
    with official.modules(NAME, "Models.BPR", "Models.DE", "Utils.loss", "Utils.dataset") as (bpr, de, loss, dataset):
        theirs = _released(method, bpr, de, begin, teacher, distillation)
        pairs = [(user, item, 1) for user, item in zip(data.queries.user.tolist(), data.target.tolist(), strict=True)]
        rated: dict[int, dict[int, int]] = {}
        for user, item, _ in pairs:
            rated.setdefault(user, {})[item] = 1
        given = len(begin[0]), len(begin[1]), rated, pairs, training.negatives
        if method == "RRD":
            lists = dict(enumerate(distillation.lists.items.tolist()))
            made = dataset.implicit_CF_dataset_URRD(*given, "cpu", lists, settings.T, settings.K, settings.L)
        else:
            made = dataset.implicit_CF_dataset(*given)
        draws = _train_ours(model, data, training, distillation)
        begun = time.process_time()
        made.negative_sampling()
        if method == "RRD":
            made.URRD_sampling()
        for _ in torch.utils.data.DataLoader(made, batch_size=training.batch_size, shuffle=True):
            pass
        _train_theirs(method, theirs, loss, data, training, settings, draws)
        return time.process_time() - begun


def _released(method: str, bpr, de, begin, teacher, distillation):
    """The released model with our initial weights, experts included."""
    (n_users, dim), n_items = begin[0].shape, len(begin[1])
    with contextlib.redirect_stdout(io.StringIO()):
        if method != "DE":
            model = bpr.BPR(n_users, n_items, dim, None)
        else:
            shown = teacher.user.weight.detach(), teacher.item_factors.weight.detach()
            model = de.BPR_DE(n_users, n_items, *shown, "cpu", dim, distillation.settings.M)
    with torch.no_grad():
        model.user_emb.weight.copy_(begin[0])
        model.item_emb.weight.copy_(begin[1])
        if method == "DE":
            for own, experts, select in (
                (distillation.users, model.user_experts, model.user_selection_net),
                (distillation.items, model.item_experts, model.item_selection_net),
            ):
                select[0].load_state_dict(own.select.state_dict())
                for m, expert in enumerate(experts):
                    for layer, w, b in ((expert.mlp[0], own.w1, own.b1), (expert.mlp[2], own.w2, own.b2)):
                        layer.weight.copy_(w[m].T)
                        layer.bias.copy_(b[m])
    return model


def _train_ours(model, data, training, distillation) -> dict[str, list]:
    """Our loop, with a record of what it draws."""
    draws: dict[str, list] = {"negatives": [], "noise": [], "lists": [], "temperature": []}
    drawn, mixed = ours_loop.unseen_items, ours_de.gumbel_softmax

    def negatives(*given):
        draws["negatives"].append(drawn(*given))
        return draws["negatives"][-1]

    def noise(alpha, temperature, rng):
        again = torch.Generator().set_state(rng.get_state())
        exponential = torch.empty_like(alpha).exponential_(generator=again)
        draws["noise"].append(-exponential.clamp_(min=torch.finfo(alpha.dtype).tiny).log_())
        return mixed(alpha, temperature, rng)

    def after_epoch(epoch, log):
        draws["lists"].append(getattr(distillation, "sample", (None,))[0])
        draws["temperature"].append(getattr(distillation, "temperature", None))

    optimizer = ours_loop.make_optimizer(model, distillation, training)
    with mock.patch.object(ours_loop, "unseen_items", negatives), mock.patch.object(ours_de, "gumbel_softmax", noise):
        ours_loop.train(model, data, optimizer, training, seed=SEED, distillation=distillation, after_epoch=after_epoch)
    return draws


def _train_theirs(method: str, model, losses, data, training, settings, draws) -> None:
    """The step of their run.py (LOO_run, LOO_DE_run, LOO_URRD_run) on our draws."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    noise = iter(draws["noise"])
    model.train()
    for epoch in range(training.epochs):
        order = torch.randperm(len(data.target), generator=stream(SEED, "order", epoch + 1))
        for index in order.split(training.batch_size):
            user, positive = data.queries.user[index], data.target[index]
            negative = draws["negatives"][epoch][index, 0]
            total = model.get_loss(model(user, positive, negative))
            if method == "DE":
                model.T = draws["temperature"][epoch]
                total = total + settings.weight * _experts(model, user, positive, negative, noise)
            if method == "RRD":
                lists = draws["lists"][epoch][user.unique()].long()
                interesting, other = lists[:, : settings.K], lists[:, settings.K :]
                scores = [model.forward_multi_items(user.unique(), items) for items in (interesting, other)]
                total = total + settings.weight * losses.relaxed_ranking_loss(*scores)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()


def _experts(model, user, positive, negative, noise) -> torch.Tensor:
    """Their DE loss of a batch. Ours draws the noise of users in one call, of positives and negatives in another."""
    kinds = user.unique(), positive.unique(), negative.unique()
    of_users, of_items = next(noise), next(noise)
    with official.fed([of_users, *of_items.split([len(kinds[1]), len(kinds[2])])]):
        user_loss = model.get_DE_loss(kinds[0], is_user=True)
        item_losses = [model.get_DE_loss(items, is_user=False) for items in kinds[1:]]
    return user_loss + sum(item_losses) * 0.5
