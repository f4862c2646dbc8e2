"""The protocol of DE-RRD (Kang et al., CIKM 2020): one validation and one test item per user, each ranked among 499 others.

One run serves choice and result: the validation items choose its epoch, and the test items are reported at that epoch.
Sampled ranks can change the order of methods (Krichene & Rendle, KDD 2020), so an item's rank among all items is kept too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rdcore.checks import of_its_users
from rdcore.data.interactions import Interactions
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems, different_unseen_items, stream
from rdcore.data.splits import Stage, leave_one_out
from rdcore.eval import metrics
from rdcore.models.base import DotProductModel, Model, evaluating

NEGATIVES = 499
# The first draw is the pinned one, the same for every run; the second shows what the draw alone is worth. The official
# draw was not published.
DRAW, REDRAW = 0, 1


class Judge:
    """Judges models by the held-out items of ``data``, which are fitted on ``fit`` alone.

    validation, test: the two stages. A test item is asked for behind the user's validation item, which is not ranked again; a
    model without memory is asked the same for both. n_short: how many users leave fewer than NEGATIVES items; they are ranked
    among what they leave. Raises ValueError where a user has every item: nothing is left to rank theirs among.
    """

    def __init__(self, data: Interactions, device="cpu"):
        parts = leave_one_out(data)
        newest = data.positions() == np.repeat(data.counts() - 1, data.counts())
        before = data.select(~(newest & np.repeat(parts.test.counts() > 0, data.counts())), f"{data.name}/before the test item")
        self.fit, self.device = parts.fit, device
        self.validation, self.test = Stage("L", parts.fit, parts.validation), Stage("L", before, parts.test)
        self.owned = SeenItems(torch.from_numpy(data.items), torch.from_numpy(data.offsets), data.n_items)
        self.owned.check_unseen(torch.arange(data.n_users), data.user_ids)
        self.n_short = int((self.owned.left < NEGATIVES).sum())

    @cached_property
    def drawn(self) -> Tensor:
        return candidates(self.owned, DRAW).to(self.device)

    @cached_property
    def redrawn(self) -> Tensor:
        return candidates(self.owned, REDRAW).to(self.device)

    def means(self, model: Model, *, full: bool = True) -> dict[str, float]:
        """What is kept of every evaluated epoch: H, M, N of the test items, '-validation' those of the others, with ``full``
        also among all items ('-validation-full'); and n_short, where there are such users: how many are ranked among fewer
        than NEGATIVES items."""
        ranks = dict(zip(("", "-validation"), self._sampled(model, self.drawn), strict=True))
        if full:
            ranks["-validation-full"] = full_ranks(model, self.validation, device=self.device)
        found = means(ranks)
        return found | ({"n_short": self.n_short} if self.n_short else {})

    def ranks(self, model: Model) -> dict[str, np.ndarray]:
        """What is kept of the chosen epoch, for every user (n_users,): the rank of their test item among the candidates
        (''), among others of another draw ('-redraw') and among all items ('-full'), and of their validation item."""
        test, validation = self._sampled(model, self.drawn)
        redrawn, _ = self._sampled(model, self.redrawn)
        test_all, validation_all = (full_ranks(model, part, device=self.device) for part in (self.test, self.validation))
        kinds = {"": test, "-redraw": redrawn, "-full": test_all}
        return kinds | {"-validation": validation, "-validation-full": validation_all}

    def _sampled(self, model: Model, drawn: Tensor) -> list[np.ndarray]:
        return sampled_ranks(model, [self.test, self.validation], drawn, device=self.device)


def candidates(owned: SeenItems, draw: int, n: int = NEGATIVES) -> Tensor:
    """n different items for every user that they have nowhere, held out or not: (n_users, n).

    Uniform, and the same for one ``draw`` in every run. A user who leaves fewer gets all of them, and
    the padding id n_items behind: how many others get does not depend on the most active user.
    """
    everyone = torch.arange(len(owned.offsets) - 1)
    n = min(n, int(owned.left.max()))  # a column for somebody
    return different_unseen_items(everyone, n, owned, stream(draw, "candidates"))


@torch.no_grad()
def sampled_ranks(model: Model, stages: Sequence[Stage], drawn: Tensor, *, device="cpu") -> list[np.ndarray]:
    """Rank of every user's held-out item among itself and their ``drawn`` (n_users, n), an array (n_users,) for each stage:
    from 1, NaN for a user without one. A tie counts against the item (the official code leaves it to an unstable sort).

    A model without memory answers all stages alike, and is asked once. The users of a block are so few that the vectors of
    their items stay in a CPU's cache (4 MB): with vectors of 200 numbers, blocks of 512 users took six times as long. Where
    scores are dot products, which see to that themselves, the scores alone count. On a GPU the vectors take 256 MB.
    """
    ranks = [np.full(stage.fit.n_users, np.nan) for stage in stages]
    judged = torch.from_numpy(np.flatnonzero(stages[0].judge.counts()))
    targets = [torch.from_numpy(stage.judge.items).to(device)[:, None] for stage in stages]
    with evaluating(of_its_users(model, stages[0].fit)):
        asked = stages if model.window > 0 else stages[:1]
        contexts = [model.encode(final_queries(stage.fit).to(device)[judged.to(device)]) for stage in asked]
        on_cpu = str(device) == "cpu"
        width = 1 if on_cpu and isinstance(model, DotProductModel) else contexts[0].shape[1]
        block = max(1, (2**20 if on_cpu else 2**26) // (drawn.shape[1] * width))
        for start in range(0, len(judged), block):
            part = slice(start, start + block)
            others = drawn[judged[part].to(drawn.device)].to(device)
            missing = others == stages[0].fit.n_items  # of users with fewer than n candidates
            scores = [model.score(context[part], others.masked_fill(missing, 0)) for context in contexts]
            for place, found in enumerate(ranks):
                context, theirs = (answers[place % len(asked)] for answers in (contexts, scores))
                own = model.score(context[part], targets[place][part])
                metrics.check_scores(torch.cat([own, theirs], dim=1))
                found[judged[part]] = (1 + ((theirs >= own) & ~missing).sum(1)).cpu()
    return ranks


def full_ranks(model: Model, stage: Stage, *, device="cpu") -> np.ndarray:
    """Rank of every user's held-out item among all items that they have not in ``stage.fit``: (n_users,), from 1, NaN for a
    user without one."""
    ranks = np.full(stage.fit.n_users, np.nan)
    found = [metrics.target_ranks(*given).cpu() for given in metrics.held_out(model, stage, device=device)]
    ranks[stage.judge.counts() > 0] = torch.cat(found)
    return ranks


def means(ranks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means over users of H, M and N at every cutoff, for each kind of rank behind its own suffix; and how many users were
    judged and how many left out."""
    found = {f"{name}{kind}": float(np.nanmean(values))
             for kind, of_kind in ranks.items() for name, values in metrics.of_one_item(of_kind).items()}  # fmt: skip
    judged = int(np.isfinite(ranks[""]).sum())
    return found | {"n_users": judged, "n_left_out": len(ranks[""]) - judged}
