"""BD, bidirectional distillation (Kweon et al., WWW 2021): two trained models train on together, and each
follows the other where their rankings disagree."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import flag, integer, number, one_of
from rdcore.data.queries import final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.eval.topk import block_rows
from rdcore.models.base import Model, evaluating
from rdcore.settings import Settings


@dataclass(frozen=True, kw_only=True)
class BDSettings(Settings):
    """What each model learns from the other. The defaults are those of the released notebook for BPR on
    CiteULike, which trains both with ``Training(weight_decay=0.0, reduction="sum", batch_size=128)``.
    """

    revision = 1
    no_run: ClassVar[str] = (
        "BD goes on from two trained models and trains both; a run of the store trains one, from its start. Use "
        "rdcore.train.loop.train with a trained student (docs/methods/bd.md shows how)"
    )

    weight: float = 0.5
    """lambda, factor of the cross-entropies, which are sums over the batch."""
    temperature: float = 5.0
    """tau, which divides the other model's score in the label, and nothing else."""
    sharpness: float = 1e-2
    """eps_t of the student's weights tanh(max(eps_t d, 0)), d the places between the two rankings."""
    mildness: float = 1e-4
    """eps of the teacher's weights exp(-eps d)."""
    direction: str = "released"
    """Which items the student is taught: those that it ranks higher than the teacher does ('released'), or
    those that the teacher ranks higher ('paper', as we read the authors' comments and first version; the
    paper's text could not be read). The teacher is taught the reverse."""
    negatives: str = "drawn"
    """Of both ranking losses: the 'drawn' items themselves, or the loop's 'uniform' ones. With direction
    'paper' drawn ones are items that the teacher likes."""
    every: int = 10
    """Epochs for which rankings and weights stay."""
    teacher_learns: bool = True
    """Whether the teacher learns too. Off, it is the one direction, from a teacher that stays as it is."""
    as_released: bool = False
    """In the released code training items get the score 0 before they are ranked, so they are in the middle
    of the ranking and can be drawn, the positive item among them. Off, they are neither ranked nor
    drawn."""

    def __post_init__(self):
        integer("every", self.every)
        for name in ("weight", "sharpness", "mildness"):
            number(name, getattr(self, name))
        number("temperature", self.temperature, above=True)
        one_of("direction", self.direction, "released", "paper")
        one_of("negatives", self.negatives, "drawn", "uniform")
        for name in ("teacher_learns", "as_released"):
            flag(name, getattr(self, name))

    def build(self, student: Model, teacher: Model) -> Bidirectional:
        if self.teacher_learns and not any(True for _ in teacher.parameters()):
            raise ValueError(
                f"BD trains the teacher, but {type(teacher).__name__} has nothing to train: take another one, or "
                "teacher_learns=False"
            )
        return Bidirectional(self, copy.deepcopy(teacher))


def ranks(scores: Tensor) -> Tensor:
    """Place of every item of a row, 1 is the largest score; equal scores in the order of the ids: (n, m) ->
    (n, m) int64."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand(order.shape)
    return torch.empty_like(order).scatter_(1, order, places)


def draw_weights(
    of_student: Tensor, of_teacher: Tensor, sharpness: float, mildness: float, direction: str
) -> tuple[Tensor, Tensor]:
    """w_S and w_T, by which items are drawn for the student and for the teacher: `ranks` (n, m) of both ->
    (n, m), (n, m).

    w_S = tanh(max(eps_t d, 0)) and w_T = exp(-eps d); d is r_S - r_T for 'paper', so that the student is
    taught what the teacher ranks higher, and r_T - r_S for 'released'. Where a w_T of a row would be above
    e^80, all w_T of the row are divided by the excess, so that none is infinite.
    """
    gap = (of_student - of_teacher).float()
    if direction == "released":
        gap = -gap
    grown = -mildness * gap
    excess = (grown.amax(1, keepdim=True) - 80).clamp(min=0)
    return torch.tanh((sharpness * gap).clamp(min=0)), torch.exp(grown - excess)


def follow_loss(logits: Tensor, other: Tensor, temperature: float) -> Tensor:
    """H(sigmoid(o / tau), sigmoid(s)), the cross-entropy with the other model's label, which gets no
    gradient: (n,), (n,) -> (n,)."""
    label = torch.sigmoid(other.detach() / temperature)
    return F.binary_cross_entropy_with_logits(logits, label, reduction="none")


def drawn_items(weights: Tensor, rows: Tensor, times: int, generator: torch.Generator) -> Tensor:
    """Items drawn with replacement by the weights (n, m) of their rows, each row with a weight above 0: rows
    (k,) -> (k, times) int64."""
    n, m = weights.shape
    total = weights.double().sum(1, keepdim=True)
    reached = (weights.double() / total).flatten().cumsum(0)
    end = reached[m - 1 :: m]
    begin = torch.cat([end.new_zeros(1), end[:-1]])
    random = torch.rand((len(rows), times), dtype=torch.float64, generator=generator, device=generator.device)
    begin, end = begin[rows, None], end[rows, None]
    wanted = torch.minimum(begin + random * (end - begin), torch.nextafter(end, begin))
    return torch.searchsorted(reached, wanted, right=True) - rows[:, None] * m


class Bidirectional(Distillation):
    """BD as in WonbinKweon/BD_WWW2021 0f22f9c, notebook for BPR. For every training pair (u, i) an item a is
    drawn for the student and an item c for the teacher:

    L_S = base(s_ui, s_ua) + weight H(sigmoid(t_ua / tau), sigmoid(s_ua))
    L_T = base(t_ui, t_uc) + weight H(sigmoid(s_uc / tau), sigmoid(t_uc))

    ``partner`` is the teacher that learns, a copy of the one given. Its parameters join the student's Adam:
    no gradient goes from one model's loss into the other, so one step is the two steps of the released
    loop. The student's base loss is the training loop's, with `negatives` in place of the uniform ones.
    Rankings are for the end of a user's training sequence. A user for whom both rankings agree has no
    lesson for the student; their a is a uniform item without H.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: BDSettings, partner: Model):
        super().__init__()
        self.settings, self.partner = settings, partner.train(settings.teacher_learns)
        self.partner.requires_grad_(settings.teacher_learns)

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.seen, self.user = data.seen, data.queries.user
        self.everyone = final_queries_of(data.queries)
        shape, device = (len(data.target), self.settings.every), data.target.device
        for name in ("for_student", "for_teacher"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32, device=device))
        self.register_buffer("lesson", torch.ones(len(self.everyone), dtype=torch.bool, device=device))
        self.register_buffer("renewed", torch.zeros((), dtype=torch.bool, device=device))

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.column = (epoch - 1) % self.settings.every
        if self.column == 0 or not self.renewed:
            self._renew(student, rng)
        drawn = [table[:, self.column] for table in (self.for_student, self.for_teacher)]
        self.drawn = torch.stack(drawn, dim=1).long()  # (N, 2): a and c of this epoch

    @torch.no_grad()
    def _renew(self, student: Model, rng: torch.Generator) -> None:
        """Ranks all items for all users with both models, and draws the items of the next epochs."""
        settings, device = self.settings, self.user.device
        order = self.user.argsort(stable=True)
        offsets = torch.bincount(self.user, minlength=len(self.everyone)).cumsum(0)
        everyone = torch.arange(len(self.everyone), device=device)
        with evaluating(student), evaluating(self.partner):
            for users in everyone.split(block_rows(self.seen.n_items, 256, copies=12)):
                queries, (row, item) = self.everyone[users], self.seen.of(users)
                first = int(offsets[users[0] - 1]) if users[0] else 0
                places = order[first : int(offsets[users[-1]])]
                lists = []
                for model in (student, self.partner):
                    scores = model.score_all(model.encode(queries))
                    scores[row, item] = 0.0 if settings.as_released else -torch.inf
                    lists.append(ranks(scores))
                both = draw_weights(*lists, settings.sharpness, settings.mildness, settings.direction)
                free = torch.ones_like(both[0])
                if not settings.as_released:
                    free[row, item] = 0
                for_student, for_teacher = (weights * free for weights in both)
                self.lesson[users] = lesson = for_student.sum(1) > 0
                for_student = torch.where(lesson[:, None], for_student, free)
                at = self.user[places] - users[0]
                for kept, weights in ((self.for_student, for_student), (self.for_teacher, for_teacher)):
                    kept[places] = drawn_items(weights, at, settings.every, rng).int()
        self.renewed.fill_(True)

    def negatives(self, batch: Batch) -> Tensor | None:
        return self.wants(batch)[:, :1] if self.settings.negatives == "drawn" else None

    def wants(self, batch: Batch) -> Tensor:
        """a and c, (B, 2)."""
        return self.drawn[batch.index]

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        settings, partner, items = self.settings, self.partner, self.wants(batch)
        drawn = settings.negatives == "drawn"
        shown = [items]
        if settings.teacher_learns:  # its own loss needs more, in the same look at its table
            shown += [batch.target[:, None]] if drawn else [batch.target[:, None], batch.negatives]
        with torch.set_grad_enabled(settings.teacher_learns):
            encoded = partner.encode(batch.queries)
            followed, positive, negative = partner.score(encoded, torch.cat(shown, dim=1)).tensor_split((2, 3), dim=1)
        t_a, t_c = followed.unbind(1)
        own = student.score(context, items) if batch.wanted is None else batch.wanted
        s_a, s_c = own.unbind(1)
        lesson = self.lesson[batch.queries.user]
        total = settings.weight * (lesson * follow_loss(s_a, t_a, settings.temperature)).sum()
        if not settings.teacher_learns:
            return total
        total = total + settings.weight * follow_loss(t_c, s_c, settings.temperature).sum()
        base = partner.query_loss(batch.queries, encoded, batch.target, items[:, 1:] if drawn else batch.negatives)
        if base is None:
            base = partner.base_loss(positive, t_c[:, None] if drawn else negative)
        return total + base.sum()

    def log(self) -> dict:
        """taught: the share of users for whom the rankings differ."""
        return {"taught": round(float(self.lesson.double().mean()), 4)}
