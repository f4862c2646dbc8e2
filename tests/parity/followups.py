"""The later methods and the code of their authors, trained side by side on the same draws.

Our loop runs as it always does. In each of its steps the released functions (`parity.released`) get the same batch,
lists, samples and noise, and their own copy of the weights takes the step that their loss asks for.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from parity import derrd, official
from parity.released import SIDES
from torch import Tensor, nn

from rdcore.datasets import load
from rdcore.datasets.synthetic import generate
from rdcore.distill import (
    BDSettings,
    DESettings,
    FreqDSettings,
    FTDSettings,
    HetCompSettings,
    HTDSettings,
    IRRRDSettings,
    PCKDSettings,
    RCEKDSettings,
    RRDSettings,
    Trajectories,
    UnKDSettings,
)
from rdcore.distill import de as ours_de
from rdcore.distill.followups import htd as ours_htd
from rdcore.distill.followups import pckd as ours_pckd
from rdcore.store.contract import fitted_part
from rdcore.train import loop as ours_loop

# What the released modules import and the compared functions do not use.
UNUSED = ("mlflow", "sklearn", "sklearn.decomposition", "sklearn.gaussian_process",
          "sklearn.gaussian_process.kernels", "torch_cluster")  # fmt: skip
LISTS = RRDSettings(K=5, L=5, depth=20, weight=0.05)
EXPERTS = DESettings(M=3, weight=0.05, anneal_epochs=10)


@dataclass(frozen=True)
class Compared:
    """One comparison."""

    repository: str
    checkout: str
    """Folder of the checkout, under what the variable names."""
    wanted: tuple[str, ...]
    """Modules of it."""
    settings: object
    """Ours."""
    reduction: str = "sum"
    checkpoints: int = 1
    """How many the teacher has."""
    form: str = ""
    """What parity.csv calls the row that is timed. The others are called by their names."""


WZ, RCE = ("woriazzc/KDs", "KDs"), ("woriazzc/RCEKD", "RCEKD")
TD = ("SeongKu-Kang/Topology_Distillation_KDD21", "Topology_Distillation_KDD21", ("model",))
HETCOMP = HetCompSettings(K=10, cut=5, every=1, weight=0.05)
METHODS = {
    "FTD": Compared(*TD, FTDSettings(weight=0.01)),
    "HTD": Compared(*TD, HTDSettings(K=3, weight=0.05, anneal_epochs=10)),
    "HTD prototypes": Compared(*TD, HTDSettings(K=3, weight=0.05, anneal_epochs=10, level="prototypes", as_released=True)),
    "IR-RRD": Compared("SeongKu-Kang/DE-RRD_CIKM20, loop of IR-RRD", "DE-RRD_CIKM20", ("Models.BPR", "Utils.loss"),
                       IRRRDSettings(users=LISTS, K=3, L=3, depth=10, weight=0.02)),
    "UnKD": Compared("chengang95/UnKD", "UnKD/UnKD", ("sample", "model"), UnKDSettings(groups=2, depth=40), "mean"),
    "UnKD as released": Compared("chengang95/UnKD", "UnKD/UnKD", ("sample", "model"),
                                 UnKDSettings(groups=2, depth=40, as_released=True), "mean"),
    "RCE-KD": Compared(*RCE, ("modeling.KD.playground",), RCEKDSettings(K=5, L=6, depth=20, weight=0.5)),
    "HetComp": Compared("SeongKu-Kang/HetComp_WWW23", "HetComp_WWW23", ("Models.HetComp",),
                        replace(HETCOMP, early=1.0, once=True), checkpoints=3, form="users once"),
    "HetComp list phase": Compared("SeongKu-Kang/HetComp_WWW23", "HetComp_WWW23", ("Models.HetComp",),
                                   replace(HETCOMP, once=True)),
    "HetComp port": Compared(*RCE, ("modeling.KD.baseline",), HETCOMP, checkpoints=3, form="port"),
    "PCKD list": Compared(*WZ, ("modeling.KD.cf.playground",), PCKDSettings(experts=EXPERTS, depth=20), form="list"),
    "PCKD pair": Compared(*WZ, ("modeling.KD.cf.playground",), PCKDSettings(experts=EXPERTS, depth=20, form="pair", Q=2)),
    "FreqD": Compared(*WZ, ("modeling.KD.cf.playground",), FreqDSettings(keep=1.0, dropout=0.0, projectors=2, weight=0.05)),
    "FreqD squared": Compared(*WZ, ("modeling.KD.cf.playground",),
                              FreqDSettings(keep=1.0, dropout=0.0, projectors=2, weight=0.05, cosine=False)),
    "BD": Compared("WonbinKweon/BD_WWW2021", "BD_WWW2021", (), BDSettings(sharpness=0.05, mildness=0.01, every=2)),
}  # fmt: skip


@contextlib.contextmanager
def stubs() -> Iterator[None]:
    """Empty modules for those of `UNUSED` that are not there."""
    made = {name for name in UNUSED if name not in sys.modules}
    sys.modules.update({name: mock.MagicMock() for name in made})
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


@contextlib.contextmanager
def on_cpu(wanted: Compared) -> Iterator[list[ModuleType]]:
    """The modules, with `.cuda()` without effect."""
    stay = mock.patch.object(torch.Tensor, "cuda", lambda self, *given: self)
    moved = mock.patch.object(nn.Module, "cuda", lambda self, *given: self)
    arguments = mock.patch.object(sys, "argv", ["parity"])  # UnKD's world.py reads them
    with contextlib.ExitStack() as stack:
        with stubs(), arguments:
            modules = stack.enter_context(official.modules(wanted.checkout, *wanted.wanted))
        stack.enter_context(stay)
        stack.enter_context(moved)
        yield modules


def compare(name: str, *, steps: int, n: int = 300, batch: int = 100) -> dict[str, float]:
    """Trains both for about ``steps`` steps: steps taken; the largest relative difference of a step's loss; that of the
    student's gradients in the first step; difference, the largest of the student's weights at the end; moved, how far
    ours went."""
    every = ours_loop.training_data(generate(), 0, "cpu")
    index = torch.arange(n)
    data = ours_loop.TrainingData(every.queries[index], every.target[:n], every.seen)
    wanted = METHODS[name]
    epochs = -(-steps // -(-n // batch))
    return side_by_side(name, wanted.settings, data, epochs, batch, (derrd.DIM, derrd.TEACHER_DIM), wanted.checkpoints)


def timed(name: str, steps: int = 9) -> tuple[float, float]:
    """Processor seconds of the steps of an epoch over CiteULike, theirs and ours: students of 20 dimensions, teachers of
    200, batches of 1,024, our default settings (HetComp's users once, where they are in the comparison). Draws and
    rankings in front of an epoch are left out on both sides. The median of a few steps, times their number."""
    every = ours_loop.training_data(fitted_part(load("citeulike"), "L"), 0, "cpu")
    index = torch.randperm(len(every.target), generator=torch.Generator().manual_seed(0))[: 1024 * steps]
    data = ours_loop.TrainingData(every.queries[index], every.target[index], every.seen)
    settings = METHODS[name].settings
    ours = replace(type(settings)(), once=True) if getattr(settings, "once", False) else type(settings)()
    found = side_by_side(name, ours, data, 1, 1024, (20, 200), 1)
    steps_of_epoch = -(-len(every.target) // 1024)
    return tuple(float(np.median(found[side][1:])) * steps_of_epoch for side in ("official", "ours"))


def side_by_side(name, settings, data, epochs: int, batch: int, dims: tuple[int, int], checkpoints: int) -> dict:
    """See `compare`; also processor seconds of every step, "official" and "ours"."""
    wanted, seed = METHODS[name], derrd.SEED
    training = ours_loop.Training(
        epochs=epochs, batch_size=batch, learning_rate=derrd.RATE, weight_decay=derrd.DECAY, negatives=1,
        reduction=wanted.reduction,
    )  # fmt: skip
    sizes = [dims[0]] + [dims[1]] * checkpoints
    model, *teachers = (derrd.fresh(dim, data, seed + k) for k, dim in enumerate(sizes))
    teacher = teachers[-1] if len(teachers) == 1 else Trajectories([teachers])
    with ours_loop.seeded(seed, "cpu"):
        method = settings.build(model, teacher)
    method.prepare(teacher, data)
    begin = [table.weight.detach().clone() for table in (model.user, model.item_factors)]
    shown = [table.weight.detach().clone() for table in (teachers[-1].user, teachers[-1].item_factors)]
    noise: list[Tensor] = []
    found = {"steps": 0, "loss": 0.0, "gradient": 0.0, "official": [], "ours": []}
    mixed, ours, clock = ours_de.gumbel_softmax, ours_loop.batch_loss, time.process_time

    def recorded(alpha, temperature, rng):
        again = torch.Generator().set_state(rng.get_state())
        exponential = torch.empty_like(alpha).exponential_(generator=again)
        noise.append(-exponential.clamp_(min=torch.finfo(alpha.dtype).tiny).log_())
        return mixed(alpha, temperature, rng)

    with on_cpu(wanted) as modules, contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(io.StringIO()):
            side = SIDES[name.split(" ")[0]](modules, begin, shown, method)
        optimizer = torch.optim.Adam(side.trained, lr=derrd.RATE, weight_decay=derrd.DECAY)

        def both(model, distillation, step_batch, step, reduction):
            noise.clear()
            distillation.batch = step_batch
            started = clock()
            if found["ours"]:  # our backward pass and step were in between
                found["ours"][-1] += started - found["left"]
            base, distilled = ours(model, distillation, step_batch, step, reduction)
            own = (base.sum() if reduction == "sum" else base.mean()) + distilled
            found["ours"].append(clock() - started)
            given = step_batch.queries.user, step_batch.target, step_batch.negatives[:, 0]
            begun = clock()
            theirs = side.loss(*given, noise)
            forward = clock() - begun
            found["loss"] = max(found["loss"], float((own - theirs).detach().abs() / theirs.detach().abs()))
            if not found["steps"]:
                tables = [model.user.weight, model.item_factors.weight]
                pairs = zip(torch.autograd.grad(own, tables, retain_graph=True),
                            torch.autograd.grad(theirs, side.tables, retain_graph=True), strict=True)  # fmt: skip
                found["gradient"] = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
            found["steps"] += 1
            begun = clock()
            optimizer.zero_grad()
            theirs.backward()
            optimizer.step()
            found["left"] = clock()
            found["official"].append(forward + found["left"] - begun)
            return base, distilled

        for place in (ours_de, ours_htd, ours_pckd):
            stack.enter_context(mock.patch.object(place, "gumbel_softmax", recorded))
        stack.enter_context(mock.patch.object(ours_loop, "batch_loss", both))
        adam = ours_loop.make_optimizer(model, method, training)
        ours_loop.train(model, data, adam, training, seed=seed, distillation=method)
        found["ours"].pop()  # without its backward pass
        tables = (model.user.weight, model.item_factors.weight)
        found["difference"] = max(float((one - two).detach().abs().max()) for one, two in zip(tables, side.tables, strict=True))
    found["moved"] = max(float((one - before).detach().abs().max()) for one, before in zip(tables, begin, strict=True))
    return found


class Measured(NamedTuple):
    """One repository, as measure.py asks for it."""

    NAME: str
    REPOSITORY: str

    def rows(self, windows: int) -> list[dict]:
        """Of parity.csv: its methods after 1 and 51 steps; with 0 windows without the time of an epoch."""
        found = []
        for name, wanted in METHODS.items():
            if wanted.repository != self.REPOSITORY:
                continue
            method, _, form = name.partition(" ")
            seconds = timed(name) if windows and (wanted.form or not form) else (None, None)
            for steps, n in ((1, 100), (50, 300)):
                measured = compare(name, steps=steps, n=n)
                what = f"{wanted.form or form or 'as our default'}, losses and steps"
                of_row = seconds if steps > 1 else (None, None)
                taken, difference = measured["steps"], measured["difference"]
                found.append(official.row(self.NAME, self.REPOSITORY, method, what, taken, difference, of_row))
        return found


MEASURED = [Measured(*pair) for pair in dict.fromkeys((wanted.checkout, wanted.repository) for wanted in METHODS.values())]
