"""HetComp (Kang et al., WWW 2023): from the easy, early checkpoints of several teachers to their
last ones, for each user when the student is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rdcore.checks import flag, integer, number, short
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.followups.trajectories import Trajectories
from rdcore.distill.lists import exemplary_rankings, refuse_nothing
from rdcore.distill.rrd import partial_relaxed_loss, relaxed_loss
from rdcore.eval.topk import block_rows
from rdcore.losses import NOT_THERE
from rdcore.models.base import Model
from rdcore.settings import Settings, added

ROWS = 64  # users whose scores stay in a cache
FALL = 10.0  # ranks over which an item's importance, and the gain of a hit, fall by e


@dataclass(frozen=True, kw_only=True)
class HetCompSettings(Settings):
    """How lists are taught and when a user moves on. The defaults are those of the port to one
    teacher with three checkpoints (woriazzc/RCEKD, MF on CiteULike), whose base loss stays. The
    authors train without a base loss, ``Training(base_weight=0.0)``, with K=100, positives=10 and once=True.
    """

    revision = 2  # since a list keeps its order behind place 1,000

    K: int = 50
    """Length of the list that is taught. Its first half and its first tenth are taught in order."""
    positives: int | None = None
    """How many of the user's first training items are taught with it. None: as many as the user
    with the fewest has."""
    weight: float = 0.005
    """Factor of the loss, which is a sum over the rows of the batch (see ``once``)."""
    early: float = 2.0
    """Further factor in the early phase, which lasts until practically all users have reached the
    last checkpoints."""
    every: int = 10
    """Epochs between two looks at whether users move on."""
    alpha: float = 1.05
    """A user moves on where their distance to the next checkpoint has fallen by this factor."""
    decay: float = 0.995
    """Of that factor, from look to look."""
    cut: int = 50
    """Length of the student's list that the distance is measured on."""
    checkpoints: tuple[int, ...] = added(())
    """For a run of the store: earlier evaluated epochs of its one teacher, whose weights the store keeps
    on stages V and F. Empty: the run teaches the teacher's last list, fixed from the start. Several
    teachers are no run of the store; in Python they are given as `Trajectories`."""
    once: bool = added(False)
    """Whether a user counts once in a batch, as in the authors' loop. Off, a user counts as often as the batch
    has rows of them, as in the port. With a student that has a memory, rows count in both cases."""

    def __post_init__(self):
        integer("K", self.K, least=10)
        flag("once", self.once)
        for name in ("every", "cut"):
            integer(name, getattr(self, name))
        epochs = self.checkpoints
        if not isinstance(epochs, tuple) or any(type(e) is not int for e in epochs) or list(epochs) != sorted({*epochs}):
            raise ValueError(f"checkpoints must be a tuple of ascending epochs, got {short(epochs)}")
        if self.positives is not None:
            integer("positives", self.positives, least=0)
        if self.cut > self.K:
            raise ValueError(f"cut must be <= K = {self.K}, got {self.cut}")
        for name in ("weight", "early", "alpha", "decay"):
            number(name, getattr(self, name))

    def build(self, student: Model, teacher: Model) -> HeterogeneousCompression:
        if self.checkpoints and not isinstance(teacher, Trajectories):
            raise ValueError(
                f"checkpoints={self.checkpoints} are read by a run of the store alone: give Trajectories([[early, ..., last]]) "
                "as the teacher"
            )
        return HeterogeneousCompression(self)


def early_loss(
    positives: Tensor, top: Tensor, others: Tensor, named: Tensor | None = None
) -> Tensor:
    """sum_i log(e^{s_i} + E) - s_i over positives and list: scores (B, P), (B, K), and others (B,)
    = log E, of all items that are in neither nor in training -> (B,). The list's order is free.
    named (B, K) bool: where the list holds an item (None: everywhere)."""
    if named is not None:
        top = torch.where(named, top, -NOT_THERE)  # nothing is above it
    return F.softplus(others[:, None] - torch.cat([positives, top], dim=1)).sum(1)


def list_loss(
    positives: Tensor, top: Tensor, others: Tensor, named: Tensor | None = None
) -> Tensor:
    """R(positives; rest_2) + 1/2 ( R(first half; rest_2) + R(first tenth; rest_10) ), as `early_loss`
    -> (B,).

    R is RRD's relaxed loss; rest_2 are the others and the second half, rest_10 the others and all
    of the list but its first tenth.
    """
    half, tenth = top.shape[1] // 2, top.shape[1] // 10

    def R(first: Tensor, there: Tensor | None, behind: int) -> Tensor:
        rest = torch.cat([others[:, None], top[:, behind:]], dim=1)
        if there is None:
            return relaxed_loss(first, rest)
        return partial_relaxed_loss(first, rest, there, F.pad(named[:, behind:], (1, 0), value=True))

    halves, tenths = (None if named is None else named[:, :k] for k in (half, tenth))
    ordered = R(top[:, :half], halves, half) + R(top[:, :tenth], tenths, tenth)
    if positives.shape[1] == 0:
        return ordered / 2
    every = None if named is None else torch.ones_like(positives, dtype=torch.bool)
    return R(positives, every, half) + ordered / 2


def agreement(ranking: Tensor, wanted: Tensor) -> Tensor:
    """The NDCG of rankings (U, n) for sets of items (U, m): a hit at place q = 0, 1, ... earns
    (2^exp(-q / 10) - 1) / log2(q + 2), over the sum of all places -> (U,) float64."""
    place = torch.arange(ranking.shape[1], dtype=torch.float64, device=ranking.device)
    gain = (2 ** torch.exp(-place / FALL) - 1) / torch.log2(place + 2)
    hits = (ranking.unsqueeze(2) == wanted.unsqueeze(1)).any(2)
    return (hits * gain).sum(1) / gain.sum()


def moves_on(before: Tensor, now: Tensor, threshold: float) -> Tensor:
    """Which distances have fallen by the factor ``threshold``, or have grown: nothing more can be
    learned. Also where nothing is left of it, where the released code divides by 0."""
    return (now == 0) | (before > threshold * now) | (before < now)


class HeterogeneousCompression(Distillation):
    """HetComp as in SeongKu-Kang/HetComp_WWW23 59568a9 and, for one teacher, as in woriazzc/RCEKD
    771322a, which has the class of woriazzc/KDs a3a7a64 unchanged.

    Each user has a checkpoint of each teacher, at first the earliest. Their list is the K items
    with the largest sum over teachers of exp(-rank / 10), training items left out. Every ``every``
    epochs, user and teacher go to the next checkpoint where the student `moves_on`; which ones they
    have reached is kept in checkpoints. The loss is `early_loss`, and `list_loss` once all are at
    the last ones. A plain model is one teacher with one checkpoint: its list, from the start.

    The authors' importances are in a file that cannot be had; the sum is our reading of their
    earlier code. They clamp scores and logarithms, which are exact here. A teacher with a memory
    gives its list for the end of a user's training sequence. A user with a shorter list is taught
    that.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: HetCompSettings):
        super().__init__()
        self.settings = settings

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        K, queries, self.seen = self.settings.K, data.queries, data.seen
        self.everyone = final_queries_of(queries)
        fewest = int(queries.offsets.diff().min())
        P = fewest if self.settings.positives is None else self.settings.positives
        if fewest < P:
            raise ValueError(
                f"positives must be <= {fewest}, the items of the least active user, got {P}"
            )
        first = torch.arange(P, device=queries.items.device)
        self.positives = queries.items[queries.offsets[:-1, None] + first]  # (U, P)
        teachers = teacher.teachers if isinstance(teacher, Trajectories) else [[teacher]]
        self.lists = torch.stack([
            torch.stack([
                exemplary_rankings(each, self.everyone, K, target=None, seen=data.seen, progress=progress)
                for each in checkpoints
            ])
            for checkpoints in teachers
        ])  # (teachers, checkpoints, U, K)  # fmt: skip
        refuse_nothing(self.lists, data.seen.n_items)
        self.n_short = int((self.lists[..., -1] == data.seen.n_items).flatten(0, 1).any(0).sum())
        shape, device = (len(teachers), len(self.everyone)), data.target.device
        self.register_buffer("reached", torch.zeros(shape, dtype=torch.long, device=device))
        self.register_buffer(
            "distance", torch.full(shape, -1.0, dtype=torch.float64, device=device)
        )
        self.top = None

    @property
    def last(self) -> int:
        """Number of the last checkpoint."""
        return self.lists.shape[1] - 1

    @property
    def is_early(self) -> bool:
        """Whether users are still on their way to a teacher's last checkpoint, in the mean to two digits."""
        return any(round(mean, 2) < self.last for mean in self.reached.double().mean(1).tolist())

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        trained = epoch - 1
        if trained and trained % self.settings.every == 0 and self.is_early:
            self._look(
                student,
                self.settings.alpha * self.settings.decay ** (trained // self.settings.every),
            )
            self.top = None
        if self.top is None:
            self.top = self._ensemble()

    def _to(self, ranking: Tensor, teacher: int, step: int) -> Tensor:
        """Distances of the student's ranking (U, cut) to a teacher's checkpoints ``step`` behind
        those reached, (U,)."""
        number = (self.reached[teacher] + step).clamp(max=self.last)
        users = torch.arange(len(number), device=number.device)
        wanted = self.lists[teacher][number, users, : self.settings.cut]
        return 1 - agreement(ranking, wanted).round(decimals=4)  # as released

    def _look(self, student: Model, threshold: float) -> None:
        ranking = exemplary_rankings(
            student, self.everyone, self.settings.cut, target=None, seen=self.seen
        )
        ranking = ranking.masked_fill(ranking == student.n_items, -1)  # no item, and no hit
        for teacher in range(len(self.reached)):
            before, now = self.distance[teacher], self._to(ranking, teacher, 1)
            first = before < 0
            move = moves_on(before, now, threshold) & ~first & (self.reached[teacher] < self.last)
            following = self._to(ranking, teacher, 2)
            self.distance[teacher] = torch.where(first, now, torch.where(move, following, before))
            self.reached[teacher] += move

    def _ensemble(self) -> Tensor:
        """The list of every user at the checkpoints they have reached, (U, K)."""
        teachers, _, n_users, K = self.lists.shape
        rank = torch.arange(K, device=self.lists.device).repeat(teachers)
        parts = []
        for users in torch.arange(n_users, device=rank.device).split(
            block_rows(self.seen.n_items, 512, copies=2)
        ):
            listed = torch.cat(
                [self.lists[k][self.reached[k, users], users] for k in range(teachers)], dim=1
            ).long()  # (rows, teachers * K)
            none = listed == self.seen.n_items
            # float64: in float32 places behind the thousandth are worth nothing.
            worth = torch.exp(-rank.double() / FALL).expand(listed.shape).masked_fill(none, 0)
            importance = worth.new_zeros((len(users), self.seen.n_items))
            importance.scatter_add_(1, listed.masked_fill(none, 0), worth)
            worth, items = importance.topk(K, dim=1)
            parts.append(items.masked_fill(worth == 0, self.seen.n_items))
        return torch.cat(parts)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        user, times, queries = batch.queries.user, None, batch.queries
        if student.window == 0:  # all queries of a user are one
            user, times = torch.unique(user, return_counts=True)
            queries = self.everyone[user]
            context = student.encode(queries)
        if times is None or self.settings.once:
            times = torch.ones(len(user), device=user.device)

        def part(context: Tensor, queries: Queries, top: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
            """Scores of positives and list (b, P + K), and log E (b,)."""
            scores = student.score_all(context)  # (b, n_items)
            row, item = self.seen.of(queries.user)
            known = torch.cat([row, named.nonzero()[:, 0]]), torch.cat([item, top[named]])
            others = scores.index_put(known, scores.new_tensor(NOT_THERE)).logsumexp(1)
            taught = torch.cat([self.positives[queries.user], top.masked_fill(~named, 0)], dim=1)
            return scores.gather(1, taught), others

        top = self.top[user]
        named = top < student.n_items
        # The backward pass needs two copies of all scores. Where they are too large, it computes them again.
        kept = block_rows(student.n_items, len(user), copies=2) == len(user)
        rows, parts = block_rows(student.n_items, ROWS, copies=4), []
        for b in (slice(k, k + rows) for k in range(0, len(user), rows)):
            given = context[b], queries[b], top[b], named[b]
            parts.append(part(*given) if kept else checkpoint(part, *given, use_reentrant=False))
        taught, others = map(torch.cat, zip(*parts, strict=True))
        compare = early_loss if self.is_early else list_loss
        lists = taught.tensor_split((self.positives.shape[1],), dim=1)
        losses = compare(*lists, others, named if self.n_short else None)  # (B,)
        factor = self.settings.weight * (self.settings.early if self.is_early else 1.0)
        return factor * (times * losses).sum()

    def log(self) -> dict:
        """reached: the mean number of the checkpoint, 0 the earliest; early: whether lists are still
        taught without their order."""
        mean = round(float(self.reached.double().mean()), 4)
        return {"reached": mean, "early": float(self.is_early)}
