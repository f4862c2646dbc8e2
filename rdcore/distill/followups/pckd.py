"""PCKD, preference-consistent distillation (Zhu and Zhang, TKDE 2025): DE whose experts may not
change whom the student prefers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rdcore.checks import integer, number, one_of, short
from rdcore.data.queries import Queries, final_queries_of
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData
from rdcore.distill.de import DESettings, DistillationExperts, Experts, gumbel_softmax, hint_sizes
from rdcore.distill.followups.ftd import both_show_vectors
from rdcore.distill.followups.kd_ce import soft_cross_entropy
from rdcore.distill.lists import check_length, exemplary_rankings, teacher_lists
from rdcore.distill.resampled import sampled_places
from rdcore.models.base import Model
from rdcore.settings import Settings, added, inert


@dataclass(frozen=True, kw_only=True)
class PCKDSettings(Settings):
    """DE and the order that its experts have to keep. The defaults are those of the released
    configuration for MF on CiteULike."""

    revision = 1

    experts: DESettings = DESettings(weight=0.05)
    """DE as it is. Its weight is also the regulariser's."""
    alpha: float = 0.1
    """Factor of the regulariser, on top of the experts' weight."""
    form: str = "list"
    """What has to agree before and after the experts: the softmax over a 'list' of items, the order
    of a 'pair', or 'both', whose losses are added."""
    Q: int = 5
    """Items drawn for each user in every epoch. A pair is the first two of them, in the guide's
    order, as released; with Q=2 it is any two, as in the paper."""
    tau: float = 0.1
    """Both softmaxes divide scores by it. Without effect with form='pair'."""
    T: float = 10.0
    """Temperature of the draw: place r = 1, 2, ... of the guide has the weight exp(-r / T)."""
    depth: int = 100
    """How far down the guide's ranking items are drawn."""
    guide: str = "teacher"
    """Whose ranking that is: the 'teacher's, or the 'student's of the moment (see ``renew``)."""
    exclude: str = "nothing"
    """What the ranking leaves out: 'nothing' (as released), or 'seen', all training items of the
    user."""
    renew: int = added(1)
    """Epochs for which the student's ranking stays; the paper renews it every few epochs. A model
    with a memory is asked in every step. Without effect with guide='teacher'."""

    def __post_init__(self):
        if not isinstance(self.experts, DESettings):
            raise ValueError(f"experts must be DESettings, got {short(self.experts)}")
        for name in ("Q", "depth"):
            integer(name, getattr(self, name), least=2)
        if self.Q > self.depth:
            raise ValueError(f"Q must be <= depth = {self.depth}, got {self.Q}")
        number("alpha", self.alpha)
        for name in ("tau", "T"):
            number(name, getattr(self, name), above=True)
        one_of("form", self.form, "list", "pair", "both")
        one_of("guide", self.guide, "teacher", "student")
        one_of("exclude", self.exclude, "nothing", "seen")
        if self.form == "pair":
            inert(self, "form='pair'", "tau")
        integer("renew", self.renew)
        if self.guide == "teacher":
            inert(self, "guide='teacher'", "renew")

    def build(self, student: Model, teacher: Model) -> PreferenceConsistent:
        both_show_vectors("PCKD", student, teacher)
        users, items = hint_sizes(teacher)
        if users != items:
            raise ValueError(
                "PCKD multiplies the teacher's vectors of users and items, but "
                f"{type(teacher).__name__} shows vectors of {users} and of {items} dimensions"
            )
        return PreferenceConsistent(self, student, teacher)


def pair_loss(after: Tensor, before: Tensor, named: Tensor | None = None) -> Tensor:
    """softplus(-(a_1 - a_2)(b_1 - b_2)): scores of two items behind the experts (B, 2), and the
    student's (B, 2) -> (B,). Below ln 2 where the order is kept; 0 where not both are ``named``."""
    losses = F.softplus(-(after[:, 0] - after[:, 1]) * (before[:, 0] - before[:, 1]))
    return losses if named is None else losses * named.all(1)


def list_loss(after: Tensor, before: Tensor, tau: float, named: Tensor | None = None) -> Tensor:
    """CE(softmax(b / tau); a / tau): scores behind the experts (B, Q), the student's (B, Q) ->
    (B,), over the items that are ``named`` (B, Q) bool, by default all."""
    return soft_cross_entropy(before, after, tau, named)


def regulariser(
    after: Tensor, before: Tensor, form: str, tau: float, named: Tensor | None = None
) -> Tensor:
    """`pair_loss` of the first two items, `list_loss` of all, or the sum of 'both', as ``form``
    says: scores (B, Q) -> (B,)."""
    total = after.new_zeros(len(after))
    if form != "list":
        total = total + pair_loss(after[:, :2], before[:, :2], None if named is None else named[:, :2])
    return total if form == "pair" else total + list_loss(after, before, tau, named)


class PreferenceConsistent(Distillation):
    """PCKD as in woriazzc/KDs a3a7a64, modeling/KD/cf/playground.py, class CPD:

    L = weight ( DE + alpha sum_rows R(<E(h_s(u)), E(h_s(i))>; s_ui) )

    over Q items i that are drawn for the user in every epoch, without replacement. R teaches the
    experts and their selection alone: the student's vectors and scores are constants in it. A user
    counts as often as the batch has rows of them, with one draw of the Gumbel noise for all of
    these (the released code: one for each), and each listed item has noise of its own. b is the
    student's score; in the released models it is the product of the student's vectors.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: PCKDSettings, student: Model, teacher: Model):
        super().__init__()
        self.settings = settings
        self.features = DistillationExperts(
            settings.experts, hint_sizes(student), hint_sizes(teacher)
        )
        self.per_user = student.window == 0 and teacher.window == 0

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.freeze(teacher)
        self.features.prepare(teacher, data, cache=cache, progress=progress)
        depth, exclude = self.settings.depth, self.settings.exclude
        check_length(depth, data.seen.n_items, "depth")
        self.everyone, self.lists = final_queries_of(data.queries), None
        self.seen = data.seen if exclude == "seen" else None
        places = torch.arange(depth, dtype=torch.float64, device=data.target.device)
        self.log_weights = -(places + 1) / self.settings.T
        if self.settings.guide == "teacher":
            self.lists = teacher_lists(
                teacher, data, depth, exclude, cache=cache, partial=True, progress=progress
            )
            self.n_short = self.lists.n_short
        elif self.seen:
            self.n_short = int((data.seen.left < depth).sum())
        if self.per_user and self.settings.renew > 1:  # kept in checkpoints
            shape = (len(self.everyone), depth)
            self.register_buffer("ranking", torch.zeros(shape, dtype=torch.int32, device=data.target.device))

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng = rng
        self.features.begin_epoch(student, epoch, n_batches, rng)
        self.sums = torch.zeros(2, dtype=torch.float64, device=rng.device)
        if self.per_user:
            listed = None if self.lists is None else self.lists.items
            if self.settings.renew > 1:
                if (epoch - 1) % self.settings.renew == 0:
                    self.ranking.copy_(self._students(student, self.everyone))
                listed = self.ranking
            self.items = self._drawn(student, self.everyone, listed)

    def _students(self, student: Model, queries: Queries) -> Tensor:
        """Its own ranking of queries (B): (B, depth)."""
        depth = self.settings.depth
        return exemplary_rankings(student, queries, depth, target=None, seen=self.seen)

    def _drawn(self, student: Model, queries: Queries, listed: Tensor | None) -> Tensor:
        """Q items of each query, in the guide's order: listed (B, depth), None for the student's
        ranking of the moment -> (B, Q)."""
        if listed is None:
            listed = self._students(student, queries)
        named = listed < student.n_items if self.n_short else None
        places = sampled_places(self.log_weights, len(listed), self.settings.Q, self.rng, named)
        return listed.gather(1, places)

    def _mapped(self, experts: Experts, vectors: Tensor, shown: Tensor) -> Tensor:
        """E of the student's vectors as constants, selected by the teacher's: (n, d_s), (n, d_t) ->
        (n, d_t)."""
        share = experts.alpha(shown)
        if self.settings.experts.selection == "gumbel" and self.settings.experts.M > 1:
            share = gumbel_softmax(share, self.features.temperature, self.rng)
        return experts(vectors.detach(), share)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        features = self.features.loss(student, batch, step, context)
        queries, context = batch.queries, context.detach()
        if self.per_user:
            user, times = torch.unique(queries.user, return_counts=True)
            queries, items = self.everyone[user], self.items[user]
            with torch.no_grad():
                context = student.encode(queries)
        else:
            times = torch.ones(len(context), device=context.device)
            listed = None if self.lists is None else self.lists.rows(batch)
            items = self._drawn(student, queries, listed)
        items, named = items.long(), None  # (B, Q)
        if self.n_short:
            named = items < student.n_items
            items = items.masked_fill(~named, 0)
        with torch.no_grad():
            before = student.score(context, items)
            own, vectors = student.hint(context), student.item_hint(items.flatten())
        of_users = self._mapped(self.features.users, own, self.teacher.hint(queries))
        shown = self.teacher.item_hint(items.flatten())
        of_items = self._mapped(self.features.items, vectors, shown).view(*items.shape, -1)
        after = (of_items @ of_users.unsqueeze(2)).squeeze(2)  # (B, Q)
        kept = regulariser(after, before, self.settings.form, self.settings.tau, named)
        right = ((after[:, 0] - after[:, 1]) * (before[:, 0] - before[:, 1]) > 0).double()
        self.sums += torch.stack([(times * right).sum(), times.sum()])
        return features + self.settings.experts.weight * self.settings.alpha * (times * kept).sum()

    def log(self) -> dict:
        """What DE logs; and consistent: of which share of the users the experts keep the order of
        the first two drawn items."""
        return self.features.log() | {"consistent": round(float(self.sums[0] / self.sums[1]), 6)}
