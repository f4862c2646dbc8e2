"""DE, distillation experts (Kang et al., CIKM 2020): the student learns to reproduce the teacher's representations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from rdcore import fast
from rdcore.checks import integer, number, one_of
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, Frozen, TrainingData, distinct, distinct_queries
from rdcore.models.base import Model, has_hints
from rdcore.settings import Settings, added, inert

# Where two experts tie exactly, the gradient of a share is 1/4 of an inverse temperature, which Adam squares in float32:
# this leaves it seven decimals of room. The released schedule ends at 1e-10.
COLDEST = 1e-16


@dataclass(frozen=True, kw_only=True)
class DESettings(Settings):
    """Settings of DE.

    The paper's 'one large expert' is M=1 with as many parameters as M experts have, about M times
    their hidden units (3326 for d_s=20, d_t=200, M=30). Its 'one small expert' is M=1 alone.
    """

    revision = 1

    M: int = 30
    """Experts on each side, users and items."""
    weight: float = 0.01
    """lambda_DE: factor of a sum over the batch's different users and items."""
    start_temperature: float = 1.0
    """Of the Gumbel-softmax in the first epoch. Without effect by attention or with M=1; so is ``end_temperature``."""
    end_temperature: float = 1e-10
    """Of the Gumbel-softmax after ``anneal_epochs``."""
    anneal_epochs: int = 1000
    """In how many epochs the temperature falls geometrically from start to end. It belongs to the schedule, not to
    the length of the training: the released code plans 1000 epochs and stops near 270, at 2e-3."""
    selection: str = "gumbel"
    """How experts are mixed: 'gumbel' (annealed Gumbel-softmax) or 'attention' (the softmax alone,
    without noise and temperature). Without effect with M=1."""
    hidden: int | None = None
    """Size of an expert's hidden layer. None is the released code's: (d_s + d_t) // 2, or d_s // 2 where both
    sizes are equal."""
    distance: str = added("squared")
    """Of the teacher's vector from the mixture: 'squared', as released, or 'root', the distance itself, as printed
    in the paper. 'root' belongs to another weight."""

    def __post_init__(self):
        integer("M", self.M)
        integer("anneal_epochs", self.anneal_epochs)
        if self.hidden is not None:
            integer("hidden", self.hidden)
        for name in ("weight", "start_temperature", "end_temperature"):
            number(name, getattr(self, name))
        if not 0 < self.end_temperature <= self.start_temperature:
            raise ValueError(f"end_temperature must lie in (0, start_temperature = {self.start_temperature}], got "
                             f"{self.end_temperature!r}")  # fmt: skip
        if self.end_temperature < COLDEST:
            raise ValueError(f"end_temperature must be >= {COLDEST:g}, because of float32, got {self.end_temperature!r}")
        one_of("selection", self.selection, "gumbel", "attention")
        one_of("distance", self.distance, "squared", "root")
        temperatures = ("start_temperature", "end_temperature")
        if self.M == 1:
            inert(self, "M=1", *temperatures, "selection")
        elif self.selection == "attention":
            inert(self, "selection='attention'", *temperatures)

    def temperature(self, epoch: int) -> float:
        """In epoch 1, 2, ... The released code counts from 0 and sets the temperature of epoch e at that epoch's end,
        so that its epochs 0 and 1, here 1 and 2, have the first one; here epoch e has that of e - 2."""
        part = min(max(epoch - 2, 0) / self.anneal_epochs, 1)
        return self.start_temperature * (self.end_temperature / self.start_temperature) ** part

    def build(self, student: Model, teacher: Model) -> DistillationExperts:
        for role, model in (("student", student), ("teacher", teacher)):
            if not has_hints(model):
                raise ValueError(f"DE distils representations, but the {role} ({type(model).__name__}) shows none: it has to "
                                 "implement hint(context) and item_hint(items)")  # fmt: skip
        return DistillationExperts(self, hint_sizes(student), hint_sizes(teacher))


def hint_sizes(model: Model) -> tuple[int, int]:
    """Sizes of the vectors that the model shows of a query (a user without a past) and an item."""
    zero = torch.zeros(1, dtype=torch.long, device=next((w.device for w in [*model.parameters(), *model.buffers()]), None))
    query = Queries(zero, zero, items=zero, offsets=torch.cat([zero, zero + 1]), padding=model.n_items)
    frozen = Frozen(model)
    return frozen.hint(query).shape[1], frozen.item_hint(zero).shape[1]


def gumbel_softmax(alpha: Tensor, temperature: float, rng: torch.Generator) -> Tensor:
    """softmax((log alpha + g) / T) with g ~ Gumbel(0, 1) from ``rng``: (n, M) -> (n, M).

    A row tends to the uniform mixture for a large T, and for a small one to one expert, drawn with probability
    alpha. 1e-10 keeps the logarithm finite, as released.
    """
    noise = torch.empty_like(alpha).exponential_(generator=rng)  # -log of it is Gumbel(0, 1)
    noise = -noise.clamp_(min=torch.finfo(alpha.dtype).tiny).log_()
    return torch.softmax(((alpha + 1e-10).log() + noise) / temperature, dim=1)


def mixture(vectors: Tensor, share: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """sum_m s_m E_m(x): vectors x (n, d_s), share s (n, M), weights as in `Experts` -> (n, d_t)."""
    hidden = torch.relu(torch.einsum("nd,mdh->nmh", vectors, w1) + b1)  # (n, M, h)
    return torch.einsum("nm,nmh,mht->nt", share, hidden, w2) + share @ b2  # (n, d_t)


class Experts(nn.Module):
    """M experts from the student's vectors to the teacher's, and what selects among them by the teacher's vector.

    E_m(x) = relu(x w1_m + b1_m) w2_m + b2_m, in one tensor for all experts: w1 (M, d_s, h), b1 (M, h), w2 (M, h, d_t),
    b2 (M, d_t), initialised as M separate pairs of nn.Linear would be. One expert needs no selection.
    """

    def __init__(self, student_size: int, teacher_size: int, settings: DESettings):
        super().__init__()
        M, d_s, d_t = settings.M, student_size, teacher_size
        released = d_s // 2 if d_s == d_t else (d_s + d_t) // 2
        h = settings.hidden or max(released, 1)
        self.select = nn.Linear(d_t, M) if M > 1 else None
        self.w1, self.b1 = _uniform(M, d_s, h, fan_in=d_s), _uniform(M, h, fan_in=d_s)
        self.w2, self.b2 = _uniform(M, h, d_t, fan_in=h), _uniform(M, d_t, fan_in=h)

    def alpha(self, shown: Tensor) -> Tensor:
        """Each expert's probability for the teacher's vectors ``shown``: (n, d_t) -> (n, M)."""
        if self.select is None:
            return shown.new_ones((len(shown), 1))
        return torch.softmax(self.select(shown), dim=1)

    def forward(self, vectors: Tensor, share: Tensor) -> Tensor:
        """`mixture`: vectors (n, d_s), share (n, M) -> (n, d_t)."""
        mixed = fast.mixture if fast.applies(vectors) else mixture
        return mixed(vectors, share, self.w1, self.b1, self.w2, self.b2)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """nn.Linear's initial weights and biases: U(-1, 1) / sqrt(fan_in)."""
    return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan_in))


class DistillationExperts(Distillation):
    """DE as in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6, Models/DE.py: for the batch's different users u (queries, where the
    student has a memory), positives i and negatives j,

    L = weight (sum_u D(u) + 1/2 (sum_i D(i) + sum_j D(j)))
    D(e) = || h_t(e) - sum_m s^e_m E_m(h_s(e)) ||^2

    with the squared distance (or the distance, see the settings) and soft s to the end. Users and items have experts
    and a selection network each; they are trained with the student, by the same optimiser, and not part of it.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: DESettings, student_sizes: tuple[int, int], teacher_sizes: tuple[int, int]):
        super().__init__()
        self.settings = settings
        (user_s, item_s), (user_t, item_t) = student_sizes, teacher_sizes
        self.users = Experts(user_s, user_t, settings)
        self.items = Experts(item_s, item_t, settings)

    @property
    def graphable(self) -> bool:
        return self.user_table is not None or self.teacher.model.graphable

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.freeze(teacher)
        # of all users, where a user's queries are the same
        self.user_table = self.teacher.hint(final_queries_of(data.queries)) if teacher.window == 0 else None

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng, self.temperature = rng, self.settings.temperature(epoch)
        zeros = torch.zeros((2, 3), dtype=torch.float64, device=rng.device)
        self.sums = {"user": zeros[0], "item": zeros[1]}

    def _distance(self, side: str, experts: Experts, vectors: Tensor, shown: Tensor, once: Tensor) -> Tensor:
        """Sum of D over n entities, each ``once`` (n,) times, ()."""
        share = experts.alpha(shown)  # (n, M)
        if self.settings.selection == "gumbel" and self.settings.M > 1:
            share = gumbel_softmax(share, self.temperature, self.rng)
        strongest = (once * share.detach().amax(1)).sum()
        used = once @ (share.detach() > fast.NEGLIGIBLE).sum(1).float()
        self.sums[side] += torch.stack([strongest, used, once.sum()])
        apart = shown - experts(vectors, share)
        return (once * apart.norm(dim=1)).sum() if self.settings.distance == "root" else (once[:, None] * apart.square()).sum()

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        index, once = distinct_queries(student, batch)
        queries = batch.queries[index]
        shown = self.teacher.hint(queries) if self.user_table is None else self.user_table[queries.user]  # (U, d_t)
        user = self._distance("user", self.users, student.hint(context[index]), shown, once)
        kinds = (batch.target, batch.negatives.flatten())
        firsts = [distinct(items) for items in kinds]
        items = torch.cat([items[index] for items, (index, _) in zip(kinds, firsts, strict=True)])
        once = torch.cat([once for _, once in firsts])
        vectors, shown = student.item_hint(items), self.teacher.item_hint(items)
        item = self._distance("item", self.items, vectors, shown, once)
        return self.settings.weight * (user + item / 2)

    def log(self) -> dict:
        """temperature; of users and of items the mean share of an entity's strongest expert, and how many experts have a
        share that is not negligible."""
        log = {"temperature": self.temperature}
        for side, sums in self.sums.items():
            strongest, used, entities = sums.tolist()
            log[f"{side}_strongest"] = round(strongest / entities, 6)
            log[f"{side}_experts"] = round(used / entities, 4)
        return log
