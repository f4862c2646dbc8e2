"""HTD, hierarchical topology distillation (Kang et al., KDD 2021): coarse relations of groups, fine
ones inside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rdcore.checks import flag, integer, number, one_of
from rdcore.distill.base import Batch
from rdcore.distill.de import COLDEST, DESettings, Experts, gumbel_softmax, hint_sizes
from rdcore.distill.followups.ftd import Entities, both_show_vectors, directions
from rdcore.models.base import Model
from rdcore.settings import Settings

ROWS = 512  # of relations computed at a time


@dataclass(frozen=True, kw_only=True)
class HTDSettings(Settings):
    """How entities are grouped and which relations count. The defaults are those of the released
    code for BPR on CiteULike; a field that names the paper has as its other value what notes on the
    paper say."""

    revision = 1

    K: int = 30
    """Groups on each side, users and items: as many experts."""
    weight: float = 1e-3
    """lambda_TD, factor of gamma (E + G) + (1 - gamma) GA, all of them sums."""
    gamma: float = 0.5
    """Share of the relations in the loss; the rest is the group assignment's. At 1 nothing ever
    trains the groups."""
    level: str = "entities"
    """What is related to the groups' prototypes: all 'entities' of the batch, or the 'prototypes'
    themselves."""
    own_members: bool = True
    """Whether a prototype is also related to the members of its own group. The paper leaves them
    out."""
    positive_only: bool = True
    """Whether a pair of one group counts only where the teacher's cosine is above 0. The paper
    keeps every pair."""
    groups: str = "argmax"
    """An entity's group: the 'argmax' of its assignment, or one 'sampled' from it in each step, as
    in the paper."""
    start_temperature: float = 1.0
    """Of the Gumbel-softmax in the group assignment, in the first two epochs."""
    end_temperature: float = 1e-10
    """To which it falls geometrically."""
    anneal_epochs: int = 100
    """In how many epochs; as many as the released run has (DE-RRD's plans 1000)."""
    as_released: bool = False
    """With level 'prototypes' the released code cuts the student's gradient at its prototypes, so
    that the group level teaches nothing. Off, they carry it."""

    def __post_init__(self):
        integer("K", self.K)
        integer("anneal_epochs", self.anneal_epochs)
        for name in ("weight", "gamma", "start_temperature", "end_temperature"):
            number(name, getattr(self, name))
        if self.gamma > 1:
            raise ValueError(f"gamma must lie in [0, 1], got {self.gamma!r}")
        if not COLDEST <= self.end_temperature <= self.start_temperature:
            raise ValueError(
                f"end_temperature must lie in [{COLDEST:g}, start_temperature = {self.start_temperature}], "
                f"got {self.end_temperature!r}"
            )
        one_of("level", self.level, "entities", "prototypes")
        one_of("groups", self.groups, "argmax", "sampled")
        for name in ("own_members", "positive_only", "as_released"):
            flag(name, getattr(self, name))
        if self.level == "entities" and self.as_released:
            raise ValueError(
                "as_released=True has no effect with level='entities': leave it at False"
            )
        if self.level == "prototypes" and not self.own_members:
            raise ValueError(
                "own_members=False has no effect with level='prototypes': leave it at True"
            )

    def temperature(self, epoch: int) -> float:
        """In epoch 1, 2, ... The first two have the first one, as in DE."""
        part = min(max(epoch - 2, 0) / self.anneal_epochs, 1)
        return self.start_temperature * (self.end_temperature / self.start_temperature) ** part

    def build(self, student: Model, teacher: Model) -> HierarchicalTopology:
        both_show_vectors("HTD", student, teacher)
        return HierarchicalTopology(self, hint_sizes(student), hint_sizes(teacher))


class Relations(torch.autograd.Function):
    """sum over the ordered pairs of one group of (A^t_ij - A^s_ij)^2: T (b, d_t), S (b, d_s) of
    `directions`, groups (b,).

    The gradient, 4 sum_j (A^s_ij - A^t_ij) s_j, is made along with the sum, block of rows by block, so
    that memory holds one block of cosines.
    """

    @staticmethod
    def forward(ctx, T: Tensor, S: Tensor, group: Tensor, positive_only: bool) -> Tensor:
        """The sum, ()."""
        total, gradient = S.new_zeros(()), torch.empty_like(S)
        order = group.argsort(stable=True)
        for members in order.split(torch.unique(group, return_counts=True)[1].tolist()):
            shown, own = T[members], S[members]
            for rows in torch.arange(len(members), device=S.device).split(ROWS):
                told = shown[rows] @ shown.T
                error = own[rows] @ own.T - told
                if positive_only:
                    error *= told > 0
                total += error.square().sum()
                gradient[members[rows]] = 4 * (error @ own)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, factor: Tensor) -> tuple[Tensor | None, ...]:
        """Of S alone."""
        return None, factor * ctx.saved_tensors[0], None, None


def entity_loss(
    teacher: Tensor, student: Tensor, group: Tensor, positive_only: bool = True
) -> Tensor:
    """E, the relations inside groups: t (b, d_t), s (b, d_s), group (b,) -> ()."""
    return Relations.apply(directions(teacher), directions(student), group, positive_only)


def prototypes(vectors: Tensor, member: Tensor, count: int) -> Tensor:
    """Means of the groups' members: vectors (b, d), member (b,) in 0..count-1 -> (count, d)."""
    total = vectors.new_zeros((count, vectors.shape[1])).index_add(0, member, vectors)
    return total / torch.bincount(member, minlength=count)[:, None]


def group_loss(
    teacher: Tensor,
    student: Tensor,
    group: Tensor,
    level: str = "entities",
    own_members: bool = True,
    constant: bool = True,
) -> Tensor:
    """G, the relations of the groups that are there: t (b, d_t), s (b, d_s), group (b,) -> ().

    sum_kj ( cos(P^t_k, t_j) - cos(P^s_k, s_j) )^2 over all entities j ('entities'), or over the
    other groups' prototypes ('prototypes'). own_members=False leaves out the entities of group k.
    ``constant``: no gradient goes through the student's prototypes.
    """
    present, member = torch.unique(group, return_inverse=True)
    P_t, P_s = (prototypes(each, member, len(present)) for each in (teacher, student))
    if constant:
        P_s = P_s.detach()
    P_t, P_s = directions(P_t), directions(P_s)
    if level == "prototypes":
        return (P_t @ P_t.T - P_s @ P_s.T).square().sum()
    error = P_t @ directions(teacher).T - P_s @ directions(student).T  # (groups, b)
    if not own_members:
        error = error * (torch.arange(len(present), device=group.device)[:, None] != member)
    return error.square().sum()


class HierarchicalTopology(Entities):
    """HTD as in SeongKu-Kang/Topology_Distillation_KDD21 44a694a, model.py: for the batch's
    entities

    L = weight ( gamma (E + G) + (1 - gamma) (GA_users + GA_items) )
    GA = sum_e || h_t(e) - sum_k z^e_k f_k(h_s(e)) ||^2

    z is DE's Gumbel-softmax of a selection network on the teacher's vector, and the groups of E and
    G are its strongest entry, without noise. The networks and experts learn from GA alone; no
    gradient goes through groups or prototypes.
    """

    def __init__(
        self, settings: HTDSettings, student_sizes: tuple[int, int], teacher_sizes: tuple[int, int]
    ):
        super().__init__()
        self.settings = settings
        made = [
            Experts(s, t, DESettings(M=settings.K, hidden=max((s + t) // 2, 1)))
            for s, t in zip(student_sizes, teacher_sizes, strict=True)
        ]
        self.users, self.items = made

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.rng, self.temperature = rng, self.settings.temperature(epoch)
        self.present, self.steps = 0, 0

    def _assigned(self, experts: Experts, shown: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Groups (n,) and the loss of the assignment ()."""
        alpha = experts.alpha(shown)
        share = gumbel_softmax(alpha, self.temperature, self.rng) if self.settings.K > 1 else alpha
        chosen = alpha if self.settings.groups == "argmax" else share
        return chosen.detach().argmax(1), (shown - experts(own, share)).square().sum()

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        settings = self.settings
        users, items = self.entities(student, batch, context)
        of_users, assigned_users = self._assigned(self.users, *users)
        of_items, assigned_items = self._assigned(self.items, *items)
        group = torch.cat([of_users, of_items + settings.K])
        teacher, own = (torch.cat(parts) for parts in zip(users, items, strict=True))
        E = entity_loss(teacher, own, group, settings.positive_only)
        constant = settings.level == "entities" or settings.as_released
        G = group_loss(teacher, own, group, settings.level, settings.own_members, constant)
        self.present, self.steps = self.present + len(torch.unique(group)), self.steps + 1
        relations, assignment = (
            settings.gamma * (E + G),
            (1 - settings.gamma) * (assigned_users + assigned_items),
        )
        return settings.weight * (relations + assignment)

    def log(self) -> dict:
        """temperature; and how many of the 2 K groups had a member, in the mean over the epoch's
        steps."""
        return {"temperature": self.temperature, "groups": round(self.present / self.steps, 3)}
