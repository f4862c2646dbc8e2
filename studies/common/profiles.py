"""What a profile means: its data sets, and every study's plans with models, settings, seeds and grids.

`PROFILES` has three: smoke (generated data, seconds, for the tests), small (MovieLens-100K, minutes)
and paper (the papers' data and settings). A study that is added takes a field of `Profile`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rdcore.checks import Named
from rdcore.distill import (
    BothSettings,
    CDSettings,
    DESettings,
    Discrepancy,
    Equal,
    Hybrid,
    Position,
    RankDistilSettings,
    RDSettings,
    Reciprocal,
    RRDSettings,
)
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, NeuMFSettings
from rdcore.train.loop import Training
from studies.common.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The data sets of one profile and its plans, study by study."""

    data_sets: tuple[str, ...]
    """Fetched before the notebooks run."""
    to_recompute: tuple[str, ...]
    """Fetched too before everything is trained again; otherwise committed records show these runs."""
    rd: tuple[Plan, ...]
    """Ranking Distillation with Caser and with Fossil: notebooks 01 to 06."""
    derrd: tuple[Plan, ...]
    """DE-RRD with BPR-MF, with NeuMF, and on further data sets: notebook 07."""
    one_protocol: tuple[Plan, ...]
    """All methods with the same number of trials: notebook 09."""
    free_scores: Mapping[str, Any]
    """How much notebook 08 computes: the fields of `free_scores.Size`."""


# ------------------------------------------------------------------------- Ranking Distillation


def schemes(
    *, K: int = 10, lam: float = 1.0, mu: float = 0.1, samples: int = 100, start_epoch: int = 11
) -> dict[str, RDSettings]:
    """Role -> Ranking Distillation with one of its weighting schemes.

    The released code does not divide the hybrid's products by their sum. The paper's formula does:
    'RD-hybrid-normalised'.
    """
    position, discrepancy = Position(lam=lam), Discrepancy(mu=mu, samples=samples)
    hybrid = Hybrid(position=position, discrepancy=discrepancy, start_epoch=start_epoch)
    weights = {
        "RD-hybrid": hybrid,
        "RD-hybrid-normalised": replace(hybrid, normalise=True),
        "RD-position": position,
        "RD-equal": Equal(),
        "RD-reciprocal": Reciprocal(),
        "RD-discrepancy": discrepancy,
    }
    return {role: RDSettings(K=K, weights=scheme) for role, scheme in weights.items()}


def without(methods: dict[str, RDSettings], role: str) -> dict[str, RDSettings]:
    """The methods without one of them."""
    return {name: settings for name, settings in methods.items() if name != role}


# Small: few values of each setting, and none of the expensive ones (long lists, exact ranks).
SWEEPS = {
    "smoke": {
        "K": (1, 5), "lam": (1, 16), "loss_weights": (0, 1, "alone"), "dims": (2, 4), "shares": (0.5, 1),
        "mu": (1e-4, 1e-1), "samples": (20, "exact"), "start_epochs": (1, 3),
    },
    "small": {
        "K": (1, 5, 10, 20), "lam": (1, 10, 100), "loss_weights": (0, 0.3, 1, "alone"), "dims": (5, 10, 20),
        "shares": (0.5, 1), "mu": (1e-3, 1e-2, 1e-1), "samples": (10, 100), "start_epochs": (1, 3),
    },
    "paper": {
        "K": (1, 5, 10, 20, 50), "lam": (0.5, 1, 2, 5, 10), "loss_weights": (0, 0.1, 0.3, 1, 3, "alone"),
        "dims": (10, 25, 50, 100), "shares": (0.2, 0.5, 1), "mu": (1e-3, 1e-2, 1e-1, 1),
        "samples": (10, 100, 1000, "exact"), "start_epochs": (1, 11, 26),
    },
}  # fmt: skip

CASER = {
    "smoke": Plan(
        name="smoke", dataset="synthetic", models={"T": CaserSettings(dim=16), "S": CaserSettings(dim=4)},
        training=Training(epochs=6, batch_size=128), evaluate_every=2, seeds={"V": [101], "F": [1]},
        methods=schemes(K=5, samples=20, start_epoch=3), sweeps=SWEEPS["smoke"],
    ),
    # Chosen on stage V, seed 101, with twelve trials each for S (rates 5e-4 to 5e-3, weight decays 1e-6 to
    # 1e-4) and RD (weightings, loss weights, K, rates). T is best at rate 2e-3 after 15 epochs; there RD has
    # MAP .1207 and S .1178. At its own best rate, 5e-3, S has .1272, as RD at 3e-3 (.1269): the gain is one
    # at equal training.
    "small": Plan(
        name="small", dataset="ml-100k", models={"T": CaserSettings(dim=100), "S": CaserSettings(dim=20)},
        training=Training(epochs=15, learning_rate=2e-3), evaluate_every=5, seeds={"V": [101], "F": [1]},
        methods=without(schemes(lam=10, start_epoch=4), "RD-reciprocal"), sweeps=SWEEPS["small"],
    ),
    "paper": Plan(
        name="paper", dataset="gowalla", models={"T": CaserSettings(dim=100), "S": CaserSettings(dim=50)},
        training=Training(), evaluate_every=5, seeds={"V": [101, 102, 103], "F": [1, 2, 3, 4, 5]},
        methods=schemes(), sweeps=SWEEPS["paper"],
    ),
}  # fmt: skip

FOSSIL_SIZES = {"smoke": (16, 4), "small": (50, 5), "paper": (50, 20)}


def fossil(caser: Plan) -> Plan:
    """The same with Fossil.

    The paper leaves some of its settings open. They were chosen on stage V of Gowalla among
    `rd.plan.trials`, by the best MAP of any epoch: point-wise log loss, exponent 0.5, weight decay
    1e-5. Under all of them the teacher overfits after some ten epochs; protocol `validation` is
    therefore the one that says something about Fossil.
    """
    teacher, student = FOSSIL_SIZES[caser.name]
    models = {role: FossilSettings(dim=dim, alpha=0.5) for role, dim in (("T", teacher), ("S", student))}
    if caser.name == "small":
        # Forty runs in some minutes. Chosen on stage V, seed 101: with vectors of 10 numbers RD gains nothing,
        # with 5 it has MAP .1220 and S .1165 at this rate. At twice the rate S alone has .1250.
        training = Training(epochs=6, learning_rate=4e-3)
        methods = without(schemes(lam=10, start_epoch=3), "RD-reciprocal")
        return replace(caser, models=models, training=training, evaluate_every=2, methods=methods)
    if caser.name == "paper":  # its own size is none of Caser's
        caser = replace(caser, sweeps={**caser.sweeps, "dims": (10, 20, 25, 50, 100)})
    return replace(caser, models=models, training=replace(caser.training, weight_decay=1e-5))


# ---------------------------------------------------------------------------------------- DE-RRD

# As in the released code: sums over a batch of 1024 pairs, a new negative every epoch, decay on all rows.
OFFICIAL = Training(
    epochs=1000, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum", patience=20
)


def taught(rd: RDSettings, cd: CDSettings, de: DESettings, rrd: RRDSettings) -> dict[str, Any]:
    """Role -> settings of the five methods in DE-RRD's tables. The weights of RD and CD, which the
    paper does not state, are chosen from the plan's grids."""
    return {"RD": rd, "CD": cd, "RRD": rrd, "DE": de, "DE-RRD": BothSettings(first=de, second=rrd)}


BPR = {
    "smoke": Plan(
        name="smoke", dataset="synthetic", models={"T": BPRMFSettings(dim=16), "S": BPRMFSettings(dim=4)},
        training=replace(OFFICIAL, epochs=4, batch_size=512, learning_rate=2e-2),
        methods=taught(
            RDSettings(K=5, exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=20), start_epoch=3)),
            CDSettings(samples=5, depth=20),
            DESettings(M=3, anneal_epochs=20),
            RRDSettings(K=5, L=5, depth=20),
        ),
        seeds={"L": (1,)}, chosen_by="H@5-validation", grids={"RD": (0.1, 1.0), "CD": (0.1, 1.0)},
        sweeps={"DE": (1e-2,), "RRD": (1e-3, 1e-2), "dims": (4, 8)},
    ),
    # Chosen for its minutes, by H@5 of the validation items, seed 1. Half the epochs at a larger rate
    # cost T and its best students a hundredth. With the smaller rate, weight 0.1 was the best of 0.01
    # and 0.1 for DE, and of 0.001, 0.01 and 0.1 for RRD. The temperature falls in as many epochs as
    # let it end where the official runs do, at 2e-3 or 3e-3. Fewer rank samples, for time.
    "small": Plan(
        name="small", dataset="ml-100k", models={"T": BPRMFSettings(dim=64), "S": BPRMFSettings(dim=4)},
        training=replace(OFFICIAL, epochs=14, batch_size=2048, learning_rate=1e-2, patience=4),
        methods=taught(
            RDSettings(exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=30), start_epoch=3)),
            CDSettings(samples=20, depth=100),
            DESettings(M=4, weight=0.1, anneal_epochs=56),
            RRDSettings(K=20, L=20, depth=100, weight=0.1),
        ),
        seeds={"L": (1,)}, chosen_by="H@5-validation", grids={"RD": (0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3)},
        sweeps={"DE": (1e-2, 1e-1), "RRD": (1e-2, 1e-1), "dims": (4, 16)},
    ),
    # Of three weights, the largest was the best for CD and the smallest for RD: both grids are wider there.
    "paper": Plan(
        name="paper", dataset="citeulike", models={"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=20)},
        training=OFFICIAL,
        methods=taught(RDSettings(exclude="seen", weights=Hybrid()), CDSettings(), DESettings(), RRDSettings()),
        seeds={"L": (1, 2, 3)}, chosen_by="H@5-validation",
        grids={"RD": (0.03, 0.1, 0.3, 1.0), "CD": (0.03, 0.1, 0.3, 1.0, 3.0)},
        sweeps={"DE": (1e-4, 1e-3, 1e-2, 1e-1), "RRD": (1e-4, 1e-3, 1e-2, 1e-1), "dims": (20, 100, 200)},
    ),
}  # fmt: skip


def neumf(bpr: Plan) -> Plan:
    """The same with NeuMF. Its vectors are a quarter longer (on paper 250 and 25, which give the
    paper's parameter counts), and DE and RRD have the weights that are best in the paper's Table 5:
    the released code has no NeuMF."""
    models = {role: NeuMFSettings(dim=settings.dim * 5 // 4) for role, settings in bpr.models.items()}
    as_before = bpr.methods
    de, rrd = replace(as_before["DE"], weight=1e-4), replace(as_before["RRD"], weight=1e-1)
    methods = taught(as_before["RD"], as_before["CD"], de, rrd)
    return replace(
        bpr, models=models, methods=methods, grids={role: bpr.grids[role] for role in bpr.grids if role in methods},
        sweeps={**bpr.sweeps, "dims": [size * 5 // 4 for size in bpr.sweeps["dims"]]},
    )  # fmt: skip


def with_published_cd(bpr: Plan) -> Plan:
    """The same with five seeds, and with a CD next to the other that draws from all unseen items, as published (the published
    base loss has positives alone, ours is BPR's). Its weight is chosen among as many."""
    methods = {}
    for role, settings in bpr.methods.items():  # their order is that of the tables
        methods[role] = settings
        if role == "CD":
            methods["CD-all"] = replace(settings, depth=None)
    grids = {**bpr.grids, "CD-all": bpr.grids["CD"]}
    return replace(bpr, methods=methods, grids=grids, seeds={"L": (1, 2, 3, 4, 5)})


ELSEWHERE = {"paper": ("foursquare",)}  # further data sets, with the first seed alone


def de_rrd(name: str) -> tuple[Plan, ...]:
    """The plans of DE-RRD in a profile: BPR-MF, NeuMF, and BPR-MF on further data sets."""
    bpr = BPR[name]
    others = [replace(bpr, dataset=other, seeds={"L": (1,)}) for other in ELSEWHERE.get(name, ())]
    return (with_published_cd(bpr) if name == "paper" else bpr, neumf(bpr), *others)


# ------------------------------------------------------------------------------------ one protocol

RANKDISTIL = {form: f"RankDistil-{form}" for form in "CBP"}

# RD's three weightings share a scale. Those of CD, DE and RRD are weights of sums; DE-RRD scales both
# official weights. B and P sum over all items behind the list, so their weights fall with the catalogue.
WEIGHTS = {
    "smoke": {"S": (1.0, 3.0)} | dict.fromkeys(("RD", "RD-position", "RD-equal"), (0.1, 1.0)) | {
        "CD": (0.1, 1.0), "RRD": (1e-3, 1e-2), "DE": (1e-3, 1e-2), "DE-RRD": (0.1, 1.0),
        "RankDistil-C": (0.1, 1.0), "RankDistil-B": (1e-4, 1e-3), "RankDistil-P": (1e-5, 1e-4),
    },
    "small": {"S": (1.0, 3.0)} | dict.fromkeys(("RD", "RD-position", "RD-equal"), (0.3, 1.0)) | {
        "CD": (0.1, 0.3), "RRD": (0.03, 0.1), "DE": (0.03, 0.1), "DE-RRD": (0.3, 1.0),
        "RankDistil-C": (0.03, 0.1), "RankDistil-B": (1e-4, 1e-3), "RankDistil-P": (1e-5, 1e-4),
    },
    "paper": {"S": (0.3, 1.0, 3.0, 10.0)}
    | dict.fromkeys(("RD", "RD-position", "RD-equal"), (0.03, 0.1, 0.3, 1.0)) | {
        "CD": (0.1, 0.3, 1.0, 3.0), "RRD": (3e-4, 1e-3, 3e-3, 0.01), "DE": (0.003, 0.01, 0.03, 0.1),
        "DE-RRD": (0.3, 1.0, 3.0, 10.0), "RankDistil-C": (0.03, 0.1, 0.3, 1.0),
        "RankDistil-B": (1e-6, 1e-5, 1e-4, 1e-3), "RankDistil-P": (1e-7, 1e-6, 1e-5, 1e-4),
    },
}  # fmt: skip


def under_one_protocol(plan: Plan, weights: Mapping[str, Sequence[float]], **sizes: int) -> Plan:
    """A plan of DE-RRD with all methods, each tried at as many ``weights``.

    Args:
        weights: role -> weights; of DE-RRD factors of both weights, of S factors of its weight decay.
        sizes: RankDistil's p and m. Its form C takes one order a query, drawn again in every step.
    """
    hybrid = plan.methods["RD"]
    methods = {
        "RD": hybrid,
        "RD-position": replace(hybrid, weights=Position()),
        "RD-equal": replace(hybrid, weights=Equal()),
        **{role: plan.methods[role] for role in ("CD", "RRD", "DE", "DE-RRD")},
        **{
            role: RankDistilSettings(form=form, **sizes, **({"n_orders": 1} if form == "C" else {}))
            for form, role in RANKDISTIL.items()
        },
    }
    if unknown := set(weights) - {"S", *methods}:
        known = ", ".join(["S", *methods])
        raise ValueError(f"no method is called {', '.join(sorted(unknown))}; there are: {known}")
    if len({len(tried) for tried in weights.values()}) != 1 or any(
        len(set(tried)) != len(tried) for tried in weights.values()
    ):
        raise ValueError("every method must be tried with the same number of different weights")
    if 1 not in weights.get("S", ()):
        raise ValueError("S must also be tried with the weight decay that the other methods have: factor 1")
    return replace(plan, methods=methods, grids=weights, chosen_by="N@10-validation-full")


def on_gowalla(bpr: Plan) -> Plan:
    """DE-RRD's models on the data set of RD, which has four times as many interactions.

    Batches, rate and decay (which weighs against a sum over the batch) are four times as large. An
    epoch then has as many steps, and a run takes a quarter of the time (DEVIATIONS.md).
    """
    official = bpr.training
    larger = replace(
        official, batch_size=4 * official.batch_size, learning_rate=4 * official.learning_rate,
        weight_decay=4 * official.weight_decay,
    )  # fmt: skip
    return replace(bpr, dataset="gowalla", training=larger)


def leaving_one_out(bpr: Plan, sequential: Plan) -> Plan:
    """RD's models and training under leave-one-out. The released code chooses no epoch; this protocol does."""
    return replace(bpr, dataset=sequential.dataset, models=sequential.models, training=sequential.training)


def one_protocol(name: str) -> tuple[Plan, ...]:
    """What a profile compares under one protocol, in training order."""
    bpr, caser = BPR[name], CASER[name]
    if name == "smoke":
        return (under_one_protocol(replace(bpr, seeds={"L": (1, 2)}), WEIGHTS[name], p=5, m=5),)
    if name == "small":
        return (under_one_protocol(replace(bpr, seeds={"L": (1, 2, 3)}), WEIGHTS[name], m=10),)
    plans = (bpr, on_gowalla(bpr), leaving_one_out(bpr, fossil(caser)), leaving_one_out(bpr, caser))
    return tuple(under_one_protocol(plan, WEIGHTS[name]) for plan in plans)


# ---------------------------------------------------------------------------------------- profiles

FREE_SCORES = {
    "smoke": dict(steps=40, items=60, lists=4, budget=20, draws=40, ms=(2, 5, 10), ps=(2, 10, 20), m=20),
    "small": dict(
        steps=500, items=400, lists=30, budget=40, draws=1000, ms=(2, 5, 20, 50), ps=(1, 2, 5, 10, 20, 50)
    ),
    "paper": dict(
        steps=3000, items=3000, lists=100, budget=200, draws=2000, ms=(2, 5, 10, 20, 50, 100, 200, 500),
        ps=(1, 2, 5, 10, 20, 50, 100, 200),
    ),
}  # fmt: skip

DATA_SETS = {"smoke": (), "small": ("ml-100k",), "paper": ("gowalla", "foursquare-nyc")}
TO_RECOMPUTE = {"paper": ("citeulike", "citeulike-td", "foursquare", "ml-100k")}

PROFILES = Named("profile", {
    name: Profile(
        data_sets=DATA_SETS[name], to_recompute=TO_RECOMPUTE.get(name, ()),
        rd=(CASER[name], fossil(CASER[name])), derrd=de_rrd(name), one_protocol=one_protocol(name),
        free_scores=FREE_SCORES[name],
    )
    for name in DATA_SETS
})  # fmt: skip
