"""SASRec by gBCE and the authors' training script (asash/gSASRec-pytorch), on the same batches.

Their script runs whole; what it would read from files is fed to it: the model, a batch of whole sequences a step, and the
negatives, the same for every position or each position's own. Ours gets every prefix of these sequences as a query. Set
alike: no position vectors on both sides; on ours no factor sqrt(d), no output projection of attention and their epsilon in
layer norms. What is left to compare: the encoder with its padding, one table of items or two, gBCE, and Adam's steps.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from parity import official
from torch import Tensor, nn

from rdcore.models import SASRecSettings
from rdcore.train.loop import Training, make_optimizer

NAME, REPOSITORY = "gSASRec-pytorch", "asash/gSASRec-pytorch"
N_ITEMS, LENGTH, ROWS = 40, 7, 12
OURS = SASRecSettings(
    dim=8, window=LENGTH, blocks=2, heads=2, dropout=0.0, norm="original", loss="gbce", sampled=10, calibration=0.75,
)  # fmt: skip


def batches(steps: int, shared: bool, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Sequences of 2 to LENGTH + 1 items, padded on the left (ROWS, LENGTH + 1), and negatives (ROWS, LENGTH + 1, k), where
    ``shared`` the same at all positions: our ids."""
    rng, made = np.random.RandomState(seed), []
    for _ in range(steps):
        rows = np.full((ROWS, LENGTH + 1), N_ITEMS)
        for row, n in zip(rows, rng.randint(2, LENGTH + 2, ROWS), strict=True):
            row[-n:] = rng.randint(N_ITEMS, size=n)
        drawn = rng.randint(N_ITEMS, size=(*((1, 1) if shared else rows.shape), OURS.sampled))
        made.append((torch.from_numpy(rows), torch.from_numpy(drawn).expand(*rows.shape, -1)))
    return made


def pairs(ours: nn.Module, theirs: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights that both have; theirs of real items."""
    found = {"items": (ours.item_factors.weight, theirs.get_output_embeddings().weight[1 : N_ITEMS + 1])}
    if ours.inputs is not None:
        found["inputs"] = ours.inputs.weight, theirs.item_embedding.weight[1 : N_ITEMS + 1]
    parts = {"norm": (ours.norm, theirs.seq_norm)}
    for b, (one, two) in enumerate(zip(ours.blocks, theirs.transformer_blocks, strict=True)):
        attention, other = one.attention, two.multihead_attention
        parts |= {
            f"{b} first": (one.norms[0], two.first_norm), f"{b} second": (one.norms[1], two.second_norm),
            f"{b} query": (attention.query, other.query_proj), f"{b} key": (attention.key, other.key_proj),
            f"{b} value": (attention.value, other.val_proj), f"{b} inner": (one.inner, two.dense1),
            f"{b} outer": (one.outer, two.dense2),
        }  # fmt: skip
    for name, (one, two) in parts.items():
        found |= {f"{name} weight": (one.weight, two.weight), f"{name} bias": (one.bias, two.bias)}
    return {name: both for name, both in found.items() if not name.endswith("key bias")}  # nothing depends on a key's bias


def fresh(tied: bool) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs with one table of items or two, from their initial weights, in float64."""
    torch.manual_seed(3)
    with official.modules(NAME, "gsasrec") as [module]:
        theirs = module.GSASRec(
            N_ITEMS, LENGTH, OURS.dim, OURS.heads, OURS.blocks, OURS.dropout, reuse_item_embeddings=tied
        ).double()  # fmt: skip
    ours = replace(OURS, tied=tied).build(1, N_ITEMS).double()
    ours.dim = 1  # no factor sqrt(d)
    with torch.no_grad():
        for part in ours.modules():
            if isinstance(part, nn.LayerNorm):
                part.eps = theirs.seq_norm.eps
        for one, two in pairs(ours, theirs).values():
            one.copy_(two)
        for block, other in zip(ours.blocks, theirs.transformer_blocks, strict=True):
            block.attention.key.bias.copy_(other.multihead_attention.key_proj.bias)
            block.attention.out.weight.copy_(torch.eye(OURS.dim))
            block.attention.out.requires_grad_(False)
        for table in (ours.position, theirs.position_embedding):
            table.weight.zero_()
            table.requires_grad_(False)
    return ours, theirs


def train_theirs(model: nn.Module, given: list[tuple[Tensor, Tensor]], folder: Path) -> dict:
    """Their script over all batches: its variables at the end, of which are ``loss_sum`` and ``last_hidden_state``."""
    fed = [(rows + 1, negatives + 1) for rows, negatives in given]
    config = SimpleNamespace(
        dataset_name="", train_batch_size=ROWS, eval_batch_size=ROWS, sequence_length=LENGTH, negs_per_pos=OURS.sampled,
        gbce_t=OURS.calibration, max_batches_per_epoch=len(fed), max_epochs=1, metrics=[], recommendation_limit=10,
        filter_rated=True, val_metric="none", embedding_dim=OURS.dim, dropout_rate=OURS.dropout,
    )  # fmt: skip
    fakes = {
        "utils": SimpleNamespace(load_config=lambda _: config, build_model=lambda _: model, get_device=lambda: "cpu"),
        "dataset_utils": SimpleNamespace(
            get_num_items=lambda _: N_ITEMS, get_train_dataloader=lambda *_, **__: fed, get_val_dataloader=lambda *_, **__: []
        ),
        "eval_utils": SimpleNamespace(evaluate=lambda *_, **__: {"none": 0.0}),
        "torchinfo": SimpleNamespace(summary=lambda *_, **__: None),
    }
    with contextlib.chdir(folder), mock.patch.object(sys, "argv", ["train"]):
        sys.modules.update(fakes)
        try:
            return runpy.run_path(str(official.checkout(NAME) / "train_gsasrec.py"))
        finally:
            for name in fakes:
                del sys.modules[name]


def prefixes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of padded sequences (R, LENGTH + 1) every prefix (B, LENGTH), padded on the left, and the item that came next (B,)."""
    history, target = [], []
    for row in rows:
        items = row[row != N_ITEMS]
        for end in range(1, len(items)):
            history.append(torch.cat([torch.full((LENGTH - end,), N_ITEMS), items[:end]]))
            target.append(items[end])
    return torch.stack(history), torch.stack(target)


def compare(steps: int, folder: Path, *, tied: bool, shared: bool, calibration: float = 0.75) -> dict[str, float]:
    """Trains both for ``steps`` steps, ours with ``calibration``: the largest difference of the contexts in the last step
    and of the weights after it; that of the losses' sums; moved, how far the weights went."""
    ours, theirs = fresh(tied)
    ours.settings = replace(OURS, tied=tied, shared=shared, calibration=calibration)
    begin = {name: one.detach().clone() for name, (one, _) in pairs(ours, theirs).items()}
    given = batches(steps, shared)
    ran = train_theirs(theirs, given, folder)
    plan = Training(epochs=1, batch_size=1, learning_rate=1e-3, weight_decay=0.0, negatives=1)
    optimizer, total = make_optimizer(ours, None, plan), 0.0
    for rows, negatives in given:
        history, target = prefixes(rows)
        context = ours.encode_history(history)
        negatives = negatives[:, 1:][rows[:, :-1] != N_ITEMS]  # (B, k), row by row, as in `prefixes`
        negatives = negatives[0] if shared else negatives
        with mock.patch.object(torch, "randint", lambda *_, drawn=negatives, **__: drawn):
            loss = ours.query_loss(None, context, target, None).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    seen = given[-1][0][:, :-1] != N_ITEMS
    both = pairs(ours, theirs)
    return {
        "context": float((context - ran["last_hidden_state"][seen]).detach().abs().max()),
        "loss": abs(total - ran["loss_sum"]),
        "weights": max(float((one - two).detach().abs().max()) for one, two in both.values()),
        "moved": max(float((one - begin[name]).detach().abs().max()) for name, (one, _) in both.items()),
    }
