"""DE, distillation experts (Kang et al., CIKM 2020): the student learns to give back the teacher's representations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore.checks import number, one_of, whole
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct, distinct_queries
from rdcore.models.base import Model, evaluating, has_hints

# Where two experts tie exactly, the gradient of a share is 1/4 of an inverse temperature, which Adam squares in float32: this
# leaves it seven decimals of room. The released schedule ends at 1e-10.
COLDEST = 1e-16
NEGLIGIBLE = 1e-8  # a share that one rounding of a float32 sum of shares (6e-8) hides
SMALLEST = 32  # rows of a block
AT_ONCE = 6  # experts, where all are computed


@dataclass(frozen=True, kw_only=True)
class DESettings:
    """M: number of experts on each side, users and items. weight: lambda_DE.
    start_temperature, end_temperature, anneal_epochs: the temperature falls geometrically from one to the other in this
    many epochs. It is a property of the schedule and not of how long is trained: the released code plans 1000 epochs and
    stops near 270, at 2e-3. selection: how a row's experts are mixed, by 'gumbel' (annealed Gumbel-softmax) or by
    'attention' (the softmax alone: no noise, no temperature). Where nothing is drawn, by attention or with M=1, the
    temperatures are without effect and stay at their defaults; so does selection where M=1. (anneal_epochs is without
    effect there too, but plans whose schedule is another one carry it along.)
    hidden: size of an expert's hidden layer; None is the released code's, (d_s + d_t) // 2, or d_s // 2 where both
    sizes are one. The paper's 'one large expert' is M=1 with so many hidden units that the parameters of M experts are
    there, about M h (h = their hidden size; 3326 for d_s=20, d_t=200, M=30), its 'one small expert' M=1 alone."""

    revision: ClassVar[int] = 1  # raise when the same settings begin to give other numbers

    M: int = 30
    weight: float = 0.01
    start_temperature: float = 1.0
    end_temperature: float = 1e-10
    anneal_epochs: int = 1000
    selection: str = "gumbel"
    hidden: int | None = None

    def __post_init__(self):
        whole("M", self.M)
        whole("anneal_epochs", self.anneal_epochs)
        if self.hidden is not None:
            whole("hidden", self.hidden)
        for name in ("weight", "start_temperature", "end_temperature"):
            number(name, getattr(self, name))
        if not 0 < self.end_temperature <= self.start_temperature:
            raise ValueError(
                f"end_temperature must lie in (0, start_temperature = {self.start_temperature}], got {self.end_temperature!r}"
            )
        if self.end_temperature < COLDEST:
            raise ValueError(f"end_temperature must be >= {COLDEST:g}, for float32's sake, got {self.end_temperature!r}")
        one_of("selection", self.selection, "gumbel", "attention")
        nothing_drawn = "M=1" if self.M == 1 else "selection='attention'" if self.selection == "attention" else ""
        for name in ("start_temperature", "end_temperature", *(["selection"] if self.M == 1 else [])):
            value, default = getattr(self, name), getattr(type(self), name)
            if nothing_drawn and value != default:
                raise ValueError(f"{name}={value!r} has no effect beside {nothing_drawn}: leave it at {default!r}")

    def temperature(self, epoch: int) -> float:
        """In epoch 1, 2, ... The released code counts from 0 and sets it behind each epoch e to that of e, so that its
        epochs 0 and 1, here 1 and 2, have the first one; here epoch e has that of e - 2."""
        part = min(max(epoch - 2, 0) / self.anneal_epochs, 1)
        return self.start_temperature * (self.end_temperature / self.start_temperature) ** part

    def build(self, student: Model, teacher: Model) -> DistillationExperts:
        for role, model in (("student", student), ("teacher", teacher)):
            if not has_hints(model):
                raise ValueError(
                    f"DE distils representations, but the {role} ({type(model).__name__}) shows none: it has to implement "
                    "hint(context) and item_hint(items)"
                )
        return DistillationExperts(self, hint_sizes(student), hint_sizes(teacher))


@torch.no_grad()
def hint_sizes(model: Model) -> tuple[int, int]:
    """Sizes of the vectors that the model shows of a query and of an item; it is asked for a user without a past."""
    zero = torch.zeros(1, dtype=torch.long, device=next(model.parameters()).device)
    query = Queries(zero, zero, items=zero, offsets=torch.cat([zero, zero + 1]), padding=model.n_items)
    with evaluating(model):
        return model.hint(model.encode(query)).shape[1], model.item_hint(zero).shape[1]


def gumbel_softmax(alpha: Tensor, temperature: float, rng: torch.Generator) -> Tensor:
    """softmax((log alpha + g) / T) with g ~ Gumbel(0, 1) from ``rng``: (n, M) -> (n, M). A row tends to the uniform mixture
    for a large T, to one expert drawn with probability alpha for a small one. 1e-10 keeps the log finite, as released."""
    noise = torch.empty_like(alpha).exponential_(generator=rng)  # -log of it is Gumbel(0, 1)
    noise = -noise.clamp_(min=torch.finfo(alpha.dtype).tiny).log_()
    return torch.softmax(((alpha + 1e-10).log() + noise) / temperature, dim=1)


def mixture_of_all(vectors: Tensor, share: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """sum_m s_m E_m(x), every expert for every row: vectors (n, d_s), share (n, M) -> (n, d_t).

    Experts as in ``Experts``. One product for all first layers, one for all second ones, which also sums over m; on a CPU for
    some experts at a time, whose hidden units then stay in its cache.
    """
    n_experts, d, hidden = w1.shape
    size = n_experts if vectors.is_cuda else AT_ONCE
    total = share @ b2
    for part, first, bias, second in zip(share.split(size, dim=1), w1.split(size), b1.split(size), w2.split(size), strict=True):
        units = torch.addmm(bias.flatten(), vectors, first.transpose(0, 1).reshape(d, -1)).relu_()
        scaled = units.view(-1, len(first), hidden) * part.unsqueeze(2)
        total = torch.addmm(total, scaled.flatten(1), second.flatten(0, 1))
    return total


def blocks_of(kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The (row, expert) pairs that ``kept`` (n, M) marks, in B blocks of one expert and equally many rows each:
    expert (B,), row (B, size), real (B, size). What is not real only fills a block up.

    Blocks are half as large as an expert's mean number of rows: where some experts have many rows and others few, that
    still pads by no more than half of what is kept. Below ``SMALLEST`` copying the experts would cost more than it saves.
    """
    counts = kept.sum(0)
    size = max(-(-int(counts.sum()) // (2 * len(counts))), SMALLEST)
    blocks = (counts + size - 1) // size
    expert = torch.repeat_interleave(blocks)
    nth = torch.arange(len(expert), device=kept.device) - (blocks.cumsum(0) - blocks)[expert]  # of its expert's blocks
    place = nth[:, None] * size + torch.arange(size, device=kept.device)
    rows = kept.T.nonzero()[:, 1]  # expert by expert
    row = rows[((counts.cumsum(0) - counts)[expert, None] + place).clamp(max=len(rows) - 1)]
    return expert, row, place < counts[expert, None]


def mixture_of_kept(
    vectors: Tensor, share: Tensor, blocks: tuple[Tensor, Tensor, Tensor], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    """The same sum without the experts that are no part of ``blocks``: two products of as many matrices as blocks."""
    expert, row, real = blocks
    # Gathered as embeddings, whose gradient beats indexing's.
    w1, b1, w2 = (F.embedding(expert, w.flatten(1)).view(-1, *w.shape[1:]) for w in (w1, b1, w2))
    first = torch.baddbmm(b1.unsqueeze(1), F.embedding(row, vectors), w1).relu_()
    part = torch.where(real, share[row, expert[:, None]], 0)
    second = torch.bmm(first * part.unsqueeze(2), w2)  # (B, size, d_t)
    return (share @ b2).index_add(0, row.flatten(), second.flatten(0, 1))


class Experts(nn.Module):
    """M experts from the student's vectors to the teacher's, and what selects among them by the teacher's vector.

    E_m(x) = relu(x w1_m + b1_m) w2_m + b2_m, in one tensor for all experts: w1 (M, d_s, h), b1 (M, h), w2 (M, h, d_t),
    b2 (M, d_t), initialised as M separate pairs of nn.Linear would be. One expert needs no selection.
    """

    def __init__(self, student_size: int, teacher_size: int, settings: DESettings):
        super().__init__()
        M, same = settings.M, student_size == teacher_size
        hidden = settings.hidden or max(student_size // 2 if same else (student_size + teacher_size) // 2, 1)
        self.select = nn.Linear(teacher_size, M) if M > 1 else None
        self.w1, self.b1 = (_uniform(M, *shape, fan_in=student_size) for shape in ((student_size, hidden), (hidden,)))
        self.w2, self.b2 = (_uniform(M, *shape, fan_in=hidden) for shape in ((hidden, teacher_size), (teacher_size,)))

    def alpha(self, shown: Tensor) -> Tensor:
        """How much each expert is meant for the entities whose teacher's vectors are ``shown`` (n, d_t): (n, M)."""
        return torch.softmax(self.select(shown), dim=1) if self.select else shown.new_ones((len(shown), 1))

    def forward(self, vectors: Tensor, share: Tensor) -> Tensor:
        """sum_m s_m E_m(x): vectors (n, d_s), share (n, M) -> (n, d_t).

        Where most shares are negligible, only the others' experts are computed. A GPU does not wait for their count.
        """
        weights = self.w1, self.b1, self.w2, self.b2
        if share.device.type == "cpu" and share.shape[1] > 1:
            blocks = blocks_of(share.detach() > NEGLIGIBLE)
            # Rows of an expert to compute: a third more for what surrounds the products, against all.
            if 4 / 3 * blocks[1].numel() < share.numel():
                return mixture_of_kept(vectors, share, blocks, *weights)
        return mixture_of_all(vectors, share, *weights)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """nn.Linear's initial weights and biases: U(-1, 1) / sqrt(fan_in)."""
    return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan_in))


class DistillationExperts(Distillation):
    """DE as in SeongKu-Kang/DE-RRD_CIKM20 97b6bf6, Models/DE.py: for the batch's different users u (queries, where the
    student has a memory), positives i and negatives j,

    L = weight (sum_u D(u) + 1/2 (sum_i D(i) + sum_j D(j))),  D(e) = || h_t(e) - sum_m s^e_m E_m(h_s(e)) ||^2

    with the squared distance (the paper prints the distance) and soft s to the end. Users and items have experts and a
    selection network each; they are trained with the student, by the same optimiser, and not part of it.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: DESettings, student_sizes: tuple[int, int], teacher_sizes: tuple[int, int]):
        super().__init__()
        self.settings = settings
        self.users, self.items = (Experts(s, t, settings) for s, t in zip(student_sizes, teacher_sizes, strict=True))

    @property
    def graphable(self) -> bool:
        return self.user_table is not None or self.teacher[0].graphable

    def prepare(self, teacher: Model, data: TrainingData, *, cache: Cache | None = None, progress: bool = False) -> None:
        self.teacher = (teacher,)  # in a tuple, so that it is no part of this module
        self.user_table = None
        if teacher.window == 0:  # all queries of a user are one
            self.user_table = self._shown_queries(final_queries_of(data.queries))

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng, self.temperature = rng, self.settings.temperature(epoch)
        self.sums = {side: torch.zeros(3, dtype=torch.float64, device=rng.device) for side in ("user", "item")}

    @torch.no_grad()
    def _shown_queries(self, queries: Queries) -> Tensor:
        (teacher,) = self.teacher
        with evaluating(teacher):
            return teacher.hint(teacher.encode(queries))

    @torch.no_grad()
    def _shown_items(self, items: Tensor) -> Tensor:
        (teacher,) = self.teacher
        with evaluating(teacher):
            return teacher.item_hint(items)

    def _distance(self, side: str, experts: Experts, vectors: Tensor, shown: Tensor, once: Tensor) -> Tensor:
        """Sum over the entities of D, each ``once`` (n,) times."""
        share = experts.alpha(shown)
        if self.settings.selection == "gumbel" and self.settings.M > 1:
            share = gumbel_softmax(share, self.temperature, self.rng)
        told = share.detach()
        self.sums[side] += torch.stack([(once * told.amax(1)).sum(), once @ (told > NEGLIGIBLE).sum(1).float(), once.sum()])
        return (once[:, None] * (shown - experts(vectors, share)).square()).sum()

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        place, once = distinct_queries(student, batch)
        queries = batch.queries[place]
        shown = self._shown_queries(queries) if self.user_table is None else self.user_table[queries.user]
        user = self._distance("user", self.users, student.hint(context[place]), shown, once)
        kinds = batch.target, batch.negatives.flatten()
        places = [distinct(items) for items in kinds]
        items = torch.cat([items[place] for items, (place, _) in zip(kinds, places, strict=True)])
        once = torch.cat([once for _, once in places])
        item = self._distance("item", self.items, student.item_hint(items), self._shown_items(items), once)
        return self.settings.weight * (user + item / 2)

    def log(self) -> dict:
        """temperature; of users and of items the mean share of an entity's strongest expert, and how many experts have a
        share that is not negligible."""
        log = {"temperature": self.temperature}
        for side, sums in self.sums.items():
            strongest, used, entities = sums.tolist()
            log |= {f"{side}_strongest": round(strongest / entities, 6), f"{side}_experts": round(used / entities, 4)}
        return log
