"""What RankDistil does to free scores (notebook 08): a student whose every score is a parameter, and a fixed teacher.

Nothing is shared between items or lists, so that what a loss asks for is what it gets; a recommender has to compromise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rdcore.data.interactions import Interactions
from rdcore.data.queries import Queries
from rdcore.data.sampling import different_unseen_items, stream
from rdcore.distill.base import Batch
from rdcore.distill.rankdistil import POOL, RankDistilSettings, list_loss
from rdcore.models.base import Model
from rdcore.store.agreement import overlap_at, rank_correlation
from rdcore.train.loop import TrainingData, training_data
from studies.common import style
from studies.common.profiles import PROFILES
from studies.common.style import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY

# The losses in the order of the pictures: form, and what of the teacher's top is matched.
LOSSES = {
    "C, sampled orders": RankDistilSettings(form="C"),
    "C, exact order": RankDistilSettings(form="C", orders="exact"),
    "B, order": RankDistilSettings(form="B"),
    "B, scores": RankDistilSettings(form="B", psi="scores"),
    "P, order": RankDistilSettings(form="P"),
    "P, scores": RankDistilSettings(form="P", psi="scores"),
}
SWEPT = ("C, sampled orders", "B, order", "P, order")
COLOURS = dict(zip(LOSSES, (BLUE, SKY, RED, ORANGE, GREEN, PINK), strict=True))
MARKERS = dict(zip(LOSSES, "os^vDP", strict=True))


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much notebook 08 computes. steps: on the short list that is drawn whole. items, lists, budget: of the sweeps, over
    ``lists`` independent teachers and starts, for ``budget`` steps each. draws: samples of negatives for each m. ms, ps:
    the values that are tried; m: negatives while p is varied."""

    steps: int
    items: int
    lists: int
    budget: int
    draws: int
    ms: tuple[int, ...]
    ps: tuple[int, ...]
    m: int = 50


def size_of(profile: str) -> Size:
    """How much notebook 08 computes in a profile."""
    return Size(**PROFILES[profile].free_scores)


class FreeScores(Model):
    """scores (n_lists, n_items), each one a parameter; the context of a list is its scores."""

    def __init__(self, scores: Tensor):
        super().__init__()
        self.n_items, self.window = scores.shape[1], 0
        self.scores = nn.Parameter(scores.clone())

    def encode(self, queries: Queries) -> Tensor:
        return self.scores[queries.user]

    def score(self, context: Tensor, items: Tensor) -> Tensor:
        return context.gather(1, items) if items.dim() == 2 else context[:, items]

    def score_all(self, context: Tensor) -> Tensor:
        return context


def teachers(n_lists: int, n_items: int, seed: int, spread: float = 2.0) -> Tensor:
    """Teachers' scores (n_lists, n_items), normal with standard deviation ``spread``, best first: item 0 is the best."""
    drawn = torch.randn((n_lists, n_items), generator=stream(seed, "teachers"))
    return spread * drawn.sort(dim=1, descending=True).values


def starts(n_lists: int, n_items: int, seed: int) -> Tensor:
    """Scores to start from, normal with standard deviation 1: they know nothing of the teacher."""
    return torch.randn((n_lists, n_items), generator=stream(seed, "starts"))


def learn_whole(
    settings: RankDistilSettings, teacher: Tensor, start: Tensor, steps: int, seed: int, decay: float = 1e-3
) -> dict[int, Tensor]:
    """Scores after some of the steps, the first and the last among them, under the loss of whole lists: no item is left out.

    teacher, start (n_lists, n), items in the teacher's order. Adam at a rate of 0.1 that falls to zero, so that what is drawn
    (sampled orders) averages out; ``decay``, a little L2, because the likelihood of an order alone has no maximum.
    """
    scores, rng = start.clone().requires_grad_(), stream(seed, "whole lists")
    optimizer = torch.optim.Adam([scores], lr=0.1, weight_decay=decay)
    asked = teacher / settings.temperature if settings.asks_for_scores else None
    factor, kept = torch.ones(len(start)), {0: start}
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - (step - 1) / steps)
        optimizer.zero_grad()
        list_loss(settings, scores, factor, asked, rng).sum().backward()
        optimizer.step()
        if step in (steps // 20, steps):
            kept[step] = scores.detach().clone()
    return kept


def _instances(n_lists: int, n_items: int) -> TrainingData:
    """One query a list. Each has seen the last item and no other: somebody who has seen nothing has no training."""
    last = np.full(n_lists, n_items - 1)
    return training_data(Interactions("lists", last, np.arange(n_lists + 1), n_items), 0, "cpu")


def learn(settings: RankDistilSettings, teacher: Tensor, start: Tensor, steps: int, seed: int) -> Tensor:
    """Scores after ``steps`` of RankDistil as in training, new negatives in every step: (n_lists, n). Adam at 0.1."""
    seen = torch.zeros((len(start), 1))
    student, master = (FreeScores(torch.cat([scores, seen], dim=1)) for scores in (start, teacher))
    instances = _instances(len(start), student.n_items)
    distillation = settings.build(student, master)
    distillation.prepare(master, instances)
    distillation.begin_epoch(student, 1, steps, stream(seed, "distillation"))
    index = torch.arange(len(start))
    batch = Batch(index, instances.queries, instances.target, index[:, None])
    optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        distillation.loss(student, batch, step, student.encode(batch.queries)).backward()
        optimizer.step()
    return student.scores.detach()[:, :-1]


# What has been learnt ------------------------------------------------------------------------------------------------------


def agreement(scores: Tensor, teacher: Tensor, top: int) -> pd.DataFrame:
    """How alike scores and teacher (n_lists, n) rank, one row for each list.

    ``overlap``: the share of the teacher's first ``top`` that are among the student's; ``order``: Kendall's tau on
    those of the teacher (1 the same, 0 none; NaN for top 1); ``above``: the share of the other items that are above the
    worst of them."""
    places = teacher.topk(top, dim=1).indices
    own = scores.gather(1, places)
    others = scores.shape[1] - top
    above = ((scores > own.amin(1, keepdim=True)).sum(1) - (own > own.amin(1, keepdim=True)).sum(1)) / others
    overlap = overlap_at(places, scores.topk(top, dim=1).indices)
    order = rank_correlation(own, teacher.gather(1, places))
    return pd.DataFrame({"overlap": overlap.numpy(), "order": order.numpy(), "above": above.numpy()})


def sweep(settings: Mapping[str, Sequence[RankDistilSettings]], size: Size, top: int, seed: int) -> pd.DataFrame:
    """Every setting tried on the same lists.

    One row for each label and setting: p, m, negatives, and mean and standard error of the agreement on the teacher's
    first ``top``. A label 'start' says what chance gives."""
    teacher, start = teachers(size.lists, size.items, seed), starts(size.lists, size.items, seed)
    rows = [_row("start", None, agreement(start, teacher, top))]
    for label, tried in settings.items():
        for given in tried:
            rows.append(_row(label, given, agreement(learn(given, teacher, start, size.budget, seed), teacher, top)))
    return pd.DataFrame(rows)


def _row(label: str, given: RankDistilSettings | None, found: pd.DataFrame) -> dict:
    about = {name: getattr(given, name, None) for name in ("p", "m", "negatives")}
    errors = found.sem().add_suffix(" error")
    return {"loss": label, **about, **found.mean(), **errors}


def over_m(size: Size, p: int) -> dict[str, list[RankDistilSettings]]:
    """The swept losses with uniform negatives, and with mined ones as far as there are enough items for their draw."""
    room = size.items - p
    plan = {label: [replace(LOSSES[label], p=p, m=m) for m in size.ms if m <= room] for label in SWEPT}
    for label in SWEPT:
        plan[f"{label}, mined"] = [replace(LOSSES[label], p=p, m=m, negatives="mined") for m in size.ms if POOL * m <= room]
    return plan


def over_p(size: Size, m: int) -> dict[str, list[RankDistilSettings]]:
    """The swept losses with more and more of the teacher's top."""
    return {label: [replace(LOSSES[label], p=p, m=m) for p in size.ps if p + m <= size.items] for label in SWEPT}


def of_samples(labels: Sequence[str], size: Size, p: int, seed: int) -> pd.DataFrame:
    """How a loss and its gradient on m sampled negatives relate to those on all of them, at scores half way to the teacher.

    One row for each label and m: ``share``, the mean over the draws as a part of the whole list's loss, and its standard error;
    ``gradient``, root mean square distance from the whole gradient, as a part of its length; ``bias``, the distance of the
    mean over the draws, which drawing more often does not remove. For losses that ask for no scores of the teacher's, so
    that negatives are all that is drawn.
    """
    teacher = teachers(1, size.items, seed)
    half = 0.5 * teacher + starts(1, size.items, seed)
    instances, rows = _instances(1, size.items + 1), []
    top = torch.arange(p).expand(size.draws, -1)
    for label in labels:
        settings = replace(LOSSES[label], p=p)

        def measured(items: Tensor, factor: float, settings=settings) -> tuple[Tensor, Tensor]:
            scores = half.expand(len(items), -1).clone().requires_grad_()
            losses = list_loss(settings, scores.gather(1, items), torch.full((len(items),), factor), None, None)
            return losses.detach().double(), torch.autograd.grad(losses.sum(), scores)[0].double()

        (whole,), (direction,) = measured(torch.arange(size.items)[None], 1.0)
        for m in (m for m in size.ms if m <= size.items - p):
            users = torch.zeros(size.draws, dtype=torch.long)
            negatives = different_unseen_items(users, m, instances.seen, stream(seed, f"negatives {m}"), top)
            losses, gradients = measured(torch.cat([top, negatives], dim=1), (size.items - p) / m)
            away, length = gradients - direction, direction.norm()
            rows.append({
                "loss": label, "m": m, "share": float(losses.mean() / whole),
                "share error": float(losses.std() / whole) / size.draws**0.5,
                "gradient": float(away.square().sum(1).mean().sqrt() / length),
                "bias": float(away.mean(0).norm() / length),
            })  # fmt: skip
    return pd.DataFrame(rows)


# Pictures --------------------------------------------------------------------------------------------------------------------


def _panels(height: float, **shared):
    return plt.subplots(2, 3, figsize=(11, height), **shared)


def score_panels(teacher: Tensor, learnt: Mapping[str, Mapping[int, Tensor]], p: int) -> Figure:
    """The scores of one list, a panel a loss: the teacher's line, and the student's at the start, early and at the end; for B
    the level 0. teacher (n,); learnt: loss -> {step: scores (n,)}, three steps."""
    fig, axes = _panels(6.4, sharex=True)
    place = np.arange(1, len(teacher) + 1)
    for column, (ax, (label, kept)) in enumerate(zip(axes.flat, learnt.items(), strict=True)):
        ax.plot(place, teacher.numpy(), color=BLACK, linewidth=1.2, label="teacher")
        for (step, scores), colour, marker in zip(kept.items(), (GREY, SKY, BLUE), ".xo", strict=True):
            name = f"student after {step:,} steps" if step else "student at the start"
            ax.plot(place, scores.numpy(), marker, color=colour, label=name)
        ax.axvline(p + 0.5, color=GREY, linestyle=":", linewidth=1, label=f"behind the teacher's top {p}")
        if label.startswith("B"):
            ax.axhline(0, color=RED, linestyle="--", linewidth=0.8, label="level 0 of B")
        ax.set_title(label)
        if column % 3 == 0:
            ax.set_ylabel("score")
        if column >= 3:
            ax.set_xlabel("item, by the teacher's rank")
    style.legend_below(fig, axes.flat, ncols=3)
    return fig


def rank_panels(scores: Mapping[str, Tensor], p: int) -> Figure:
    """Rank by the student against rank by the teacher, a panel a loss: filled the teacher's top p, hollow the rest."""
    fig, axes = _panels(7.2, sharex=True, sharey=True)
    for column, (ax, (label, own)) in enumerate(zip(axes.flat, scores.items(), strict=True)):
        n = len(own)
        rank = own.argsort(descending=True).argsort().numpy() + 1
        place = np.arange(1, n + 1)
        ax.plot([1, n], [1, n], color=GREY, linewidth=1)
        ax.plot(place[:p], rank[:p], "o", color=BLUE, label="the teacher's top p")
        ax.plot(place[p:], rank[p:], "o", color=RED, markerfacecolor="white", label="the rest")
        for line in (ax.axvline, ax.axhline):
            line(p + 0.5, color=GREY, linestyle=":", linewidth=1)
        ticks = [1, *range(5, n + 1, 5)]
        ax.set(title=label, xlim=(0, n + 1), ylim=(n + 1, 0), xticks=ticks, yticks=ticks, box_aspect=1)
        if column % 3 == 0:
            ax.set_ylabel("student's rank")
        if column >= 3:
            ax.set_xlabel("teacher's rank")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def sample_curves(table: pd.DataFrame) -> Figure:
    """`of_samples` as two panels over m: the loss as a part of the whole list's with its 95 % interval, and the gradient's
    distance from the whole one, of single draws and of their mean."""
    fig, (share, gradient) = plt.subplots(1, 2, figsize=(10.5, 4))
    for label, part in table.groupby("loss", sort=False):
        look = {"color": COLOURS[label], "marker": MARKERS[label], "label": label}
        share.errorbar(part["m"], part["share"], 1.96 * part["share error"], capsize=2, **look)
        gradient.plot(part["m"], part["gradient"], **look)
        gradient.plot(part["m"], part["bias"], **look | {"linestyle": ":", "markerfacecolor": "white", "label": None})
    gradient.plot([], [], color=GREY, linestyle=":", marker="o", markerfacecolor="white", label="mean over the draws")
    share.axhline(1, color=BLACK, linewidth=0.8)
    share.set(title="Loss on m negatives", ylabel="mean / loss on all negatives", ylim=(0, None))
    gradient.set(title="Distance to the gradient on all negatives", ylabel="distance / length of that gradient", yscale="log")
    for ax in (share, gradient):
        ax.set_xlabel("m, sampled negatives")
        _log_ticks(ax, table["m"].unique())
    fig.legend(*gradient.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def sweep_curves(table: pd.DataFrame, over: str, top: int) -> Figure:
    """`sweep` as two panels over p or m: overlap and order on the teacher's first ``top``, means and 95 % intervals."""
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.2))
    drawn = table[table["loss"] != "start"]
    for ax, what in zip(axes, ("overlap", "order"), strict=True):
        for label, part in drawn.groupby("loss", sort=False):
            base = label.removesuffix(", mined")
            look = {"color": COLOURS[base], "marker": MARKERS[base], "label": label, "capsize": 2}
            look |= {"linestyle": "--", "markerfacecolor": "white"} if base != label else {}
            ax.errorbar(part[over], part[what], 1.96 * part[f"{what} error"], **look)
        ax.axhline(table.loc[table["loss"] == "start", what].item(), color=GREY, linestyle=":", label="start")
        ax.set_xlabel({"p": "p, the teacher's items", "m": "m, sampled negatives"}[over])
        ax.set_ylim(min(-0.1, ax.get_ylim()[0]), 1.05)
        _log_ticks(ax, drawn[over].unique())
    axes[0].set(title=f"Are the teacher's first {top} among the student's?", ylabel="share of them")
    axes[1].set(title="Are they in the teacher's order?", ylabel="Kendall's τ")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _log_ticks(ax, values: Sequence[float]) -> None:
    """A log axis whose ticks are the values of a sweep."""
    ax.set_xscale("log")
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
