"""IR-RRD, item-side ranking regularisation (Kang et al., Information Sciences 2021): RRD, and the
same for an item's users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rdcore import fast
from rdcore.checks import integer, number, one_of, short
from rdcore.data.queries import final_queries_of
from rdcore.data.sampling import OtherItems
from rdcore.distill.base import Batch, Cache, Distillation, TrainingData, distinct_queries
from rdcore.distill.followups.item_side import Owners, scores_of_users, user_lists
from rdcore.distill.resampled import sampled_places
from rdcore.distill.rrd import RelaxedRankingDistillation, RRDSettings, relaxed_loss
from rdcore.models.base import Model, scores_single_items
from rdcore.settings import Settings, added, inert


@dataclass(frozen=True, kw_only=True)
class IRRRDSettings(Settings):
    """RRD on users' lists of items, and on items' lists of users. The defaults are those of the
    released code for BPR on CiteULike."""

    revision = 1

    users: RRDSettings = RRDSettings()
    """The user side: RRD as it is, with its own weight."""
    K: int = 20
    """Interesting users of an item, from the teacher's list."""
    L: int = 20
    """Uninteresting ones, from users who neither have the item nor are on its list."""
    T: float = 10.0
    """Temperature of the draw: place r = 1, 2, ... has the weight exp(-r / T)."""
    depth: int = 500
    """Length of the teacher's list of users."""
    weight: float = 5e-4
    """lambda_I, factor of a sum over the items that the sampled lists of the batch's users hold."""
    interesting: str = added("sampled")
    """'sampled': K users of the list, drawn. 'top': its first K (T is then without effect). The user
    side has a field of that name, too; both at 'top' is what CCD's first stage does."""

    def __post_init__(self):
        if not isinstance(self.users, RRDSettings):
            raise ValueError(f"users must be RRDSettings, got {short(self.users)}")
        for name in ("K", "L", "depth"):
            integer(name, getattr(self, name))
        if self.K > self.depth:
            raise ValueError(
                f"K must be <= depth = {self.depth}, the length of the teacher's list, got {self.K}"
            )
        number("T", self.T, above=True)
        number("weight", self.weight)
        one_of("interesting", self.interesting, "sampled", "top")
        if self.interesting == "top":
            inert(self, "interesting='top'", "T")

    def build(self, student: Model, teacher: Model) -> ItemSideRanking:
        without_memory("IR-RRD", student, teacher)
        return ItemSideRanking(self, self.users.build(student, teacher))


def without_memory(method: str, student: Model, teacher: Model) -> None:
    """Raises ValueError where a model cannot rank users for an item, because a user is many queries
    or scores come only for all items at once."""
    for role, model in (("student", student), ("teacher", teacher)):
        if model.window > 0 or not scores_single_items(model):
            raise ValueError(
                f"{method} ranks users for an item, so it needs models without a memory that score single items; "
                f"the {role} ({type(model).__name__}) is none; a class of your own is one with window = 0 and "
                "score(context, items)"
            )


class ItemSideRanking(Distillation):
    """IR-RRD as in SeongKu-Kang/IR-RRD_INS21 f829327 (main_IR_RRD.py, Utils/dataset.py) and the
    loop of DE-RRD 97b6bf6:

    L = RRD + weight sum_{i in J} R(interesting users of i; uninteresting ones), R RRD's relaxed
    loss

    J: the different items on the sampled lists of the batch's different users, interesting and
    uninteresting together: most of the catalogue. Users are drawn once an epoch for every item.
    Held-out users of an item are neither left out nor protected; whether the released lists leave
    out its training users cannot be seen (the file is missing): here they do. An item that leaves
    too few users for a list is taught nothing (`log` says how many are).
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, settings: IRRRDSettings, users: RelaxedRankingDistillation):
        super().__init__()
        self.settings, self.users = settings, users

    def prepare(
        self,
        teacher: Model,
        data: TrainingData,
        *,
        cache: Cache | None = None,
        progress: bool = False,
    ) -> None:
        self.users.prepare(teacher, data, cache=cache, progress=progress)
        self.n_short = self.users.n_short
        settings, self.everyone = self.settings, final_queries_of(data.queries)
        self.lists = user_lists(teacher, self.everyone, data.seen, settings.depth, spare=settings.L)
        listed = self.lists.whole.nonzero()[:, 0]
        self.row = torch.full((teacher.n_items,), -1, device=listed.device).index_put_(
            (listed,), torch.arange(len(listed))
        )
        self.listed_users = self.lists.users[listed]
        place, user = Owners(data.seen).of(listed)
        taken = torch.arange(len(listed), device=listed.device).repeat_interleave(settings.depth)
        rows, users = torch.cat([place, taken]), torch.cat([user, self.listed_users.flatten()])
        self.others = OtherItems([(rows, users)], len(listed), len(self.everyone))
        self.log_weights = (
            -torch.arange(settings.depth, dtype=torch.float64, device=listed.device) / settings.T
        )

    def begin_epoch(self, student: Model, epoch: int, n_batches: int, rng: torch.Generator) -> None:
        self.users.begin_epoch(
            student, epoch, n_batches, rng
        )  # first, so that RRD draws what it draws alone
        settings, listed = self.settings, self.listed_users
        if settings.interesting == "top":
            interesting = listed[:, : settings.K]
        else:
            interesting = listed.gather(1, sampled_places(self.log_weights, len(listed), settings.K, rng))
        self.drawn = torch.cat([interesting, self.others.draw(settings.L, rng).int()], dim=1)
        self.sums = torch.zeros(2, dtype=torch.float64, device=rng.device)

    def loss(self, student: Model, batch: Batch, step: int | Tensor, context: Tensor) -> Tensor:
        of_users = self.users.loss(student, batch, step, context)
        place, _ = distinct_queries(student, batch)
        items = torch.unique(self.users.sample[0][batch.queries.user[place]])
        items = items[items < student.n_items]
        row = self.row[items]
        items, row = items[row >= 0], row[row >= 0]
        self.sums += torch.tensor([len(items), 1.0], device=items.device)
        logits = scores_of_users(student, student.encode(self.everyone), self.drawn[row], items)
        ranked = fast.relaxed_loss if fast.narrow(logits) else relaxed_loss
        K = self.settings.K
        return of_users + self.settings.weight * ranked(logits[:, :K], logits[:, K:]).sum()

    def log(self) -> dict:
        """items: how many a step taught, in the mean of the epoch; unlisted: how many leave too few
        users for a list."""
        return {
            "items": round(float(self.sums[0] / self.sums[1]), 1),
            "unlisted": int((~self.lists.whole).sum()),
        }
