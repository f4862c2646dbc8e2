"""The matrices of each profile, with their settings and where these come from."""

from __future__ import annotations

from dataclasses import replace

from rdcore.checks import Named
from rdcore.distill import Position, RankDistilSettings, RDSettings, RRDSettings
from rdcore.models import (
    BPRMFSettings,
    CaserSettings,
    EASESettings,
    FossilSettings,
    ItemCFSettings,
    LightGCNSettings,
    SASRecSettings,
)
from rdcore.train.loop import Training
from studies.common.example import example
from studies.common.profiles import PROFILES
from studies.flexibility.plan import Matrix, Student, Teacher


def methods(*, lam: float, rrd: RRDSettings, p: int, m: int) -> dict:
    """Name -> a method that needs of a teacher its lists alone. RankDistil-C takes the teacher's order instead of orders
    drawn from its scores, because scores of single items are not what every teacher has, and their scales differ."""
    return {
        "RD-position": RDSettings(weights=Position(lam=lam), exclude="seen"),
        "RRD": rrd,
        "RankDistil-C": RankDistilSettings(form="C", orders="exact", p=p, m=m),
    }


FACTORS = (0.1, 1.0)  # of the weight decay of a student alone
IN_ORDER = ("SASRec", "Fossil", "Caser")  # the teachers that look at the order of a user's items

SMOKE = Matrix(
    dataset="synthetic",
    teachers={
        "EASE": Teacher(model=EASESettings(lam=20)),
        "ItemCF": Teacher(model=ItemCFSettings(neighbours=20)),
        "Fossil": Teacher(model=FossilSettings(dim=16, alpha=0.5), training=Training(epochs=2, learning_rate=8e-3)),
    },
    students={
        "BPR-MF": Student(
            model=BPRMFSettings(dim=4), training=Training(epochs=2, batch_size=512, learning_rate=2e-2, negatives=1),
            weights={"RD-position": (0.1, 1.0), "RRD": (0.01, 0.1), "RankDistil-C": (0.1, 1.0)}, decays=FACTORS, seeds=(1, 2),
        ),
        "SASRec": Student(
            model=SASRecSettings(dim=4, window=5, blocks=1), training=Training(epochs=1, learning_rate=1e-2, negatives=1),
            weights={"RD-position": (0.1, 1.0)}, decays=FACTORS, seeds=(1,),
        ),
    },
    methods=methods(lam=10, rrd=RRDSettings(K=5, L=5, depth=20), p=5, m=5),
)  # fmt: skip

# MovieLens-100K. Sizes, rates and epochs were chosen on stage V, seed 101, for teachers and students alone, by MAP and
# by seconds. The weights of BPR-MF are the best and a neighbour of three or four that EASE and Fossil taught it with; those
# of Caser are two with which Fossil's student was better than Caser alone; those of SASRec were not looked at.
COMPLETE = Matrix(
    dataset="ml-100k", only="ml-100k",
    teachers={
        "EASE": Teacher(model=EASESettings(lam=300)),
        "ItemCF": Teacher(model=ItemCFSettings()),
        "LightGCN": Teacher(
            model=LightGCNSettings(dim=64, layers=2), evaluate_every=4,
            training=Training(epochs=12, batch_size=2048, learning_rate=2e-2, weight_decay=0.0, negatives=1),
        ),
        "SASRec": Teacher(
            model=SASRecSettings(dim=48, window=10, blocks=1, dropout=0.2), evaluate_every=3,
            training=Training(epochs=3, learning_rate=3e-3, negatives=1),
        ),
        "Fossil": Teacher(
            model=FossilSettings(dim=50, alpha=0.5), evaluate_every=2,
            training=Training(epochs=5, batch_size=1024, learning_rate=8e-3),
        ),
        "Caser": Teacher(
            model=CaserSettings(dim=50), evaluate_every=2, training=Training(epochs=6, batch_size=1024, learning_rate=8e-3)
        ),
    },
    students={
        "BPR-MF": Student(
            model=BPRMFSettings(dim=8), evaluate_every=3, decays=FACTORS, seeds=(1, 2, 3),
            training=Training(epochs=6, batch_size=1024, learning_rate=1e-2, weight_decay=1e-5, negatives=1),
            weights={"RD-position": (0.05, 0.2), "RRD": (0.1, 0.3), "RankDistil-C": (0.03, 0.1)},
        ),
        "Caser": Student(
            model=CaserSettings(dim=10), evaluate_every=3, decays=FACTORS, seeds=(1, 2, 3),
            training=Training(epochs=6, batch_size=1024, learning_rate=8e-3),
            weights={"RD-position": (0.1, 1.0), "RRD": (0.03, 0.1), "RankDistil-C": (0.1, 0.3)},
        ),
        "SASRec": Student(
            model=SASRecSettings(dim=8, window=5, blocks=1), evaluate_every=2, decays=FACTORS, seeds=(1, 2, 3),
            training=Training(epochs=4, batch_size=1024, learning_rate=8e-3, negatives=1),
            weights={"RD-position": (0.1, 0.3), "RRD": (0.01, 0.03), "RankDistil-C": (0.03, 0.1)},
        ),
    },
    methods=methods(lam=10, rrd=RRDSettings(K=10, L=10, depth=50), p=10, m=10),
)  # fmt: skip


def part(matrix: Matrix, seeds: dict[str, tuple[int, ...]]) -> Matrix:
    """A matrix with some of its students, each with the ``seeds`` given. All that stays is the same runs."""
    return replace(matrix, students={name: replace(matrix.students[name], seeds=own) for name, own in seeds.items()})


# Gowalla, RD's split. The teachers Caser, Fossil and ItemCF are the runs of RD's own tables; Fossil teaches after the epoch
# that stage V chose there. Students have 32 numbers a vector. Their batches are four times RD's and their epochs fewer, so
# that the whole matrix takes some 8 hours of a core; with RD's training it would take 58. Rates and epochs were chosen on
# stage V, seed 101, for students of 50 numbers alone: MAP .0672 after 16 epochs of BPR-MF (.0583 at the rate .01), .0712
# after 10 of Caser (.0691 at .002), .0785 after 6 of SASRec. SASRec has 'sampled-ce': 'gbce' stayed at .011 there. LightGCN
# has the training of its authors with batches and rate four times as large, for time. Weights and decays are those of the
# trials alone.
_CASER, _FOSSIL = PROFILES["paper"].rd
_ATTENTION = {"window": 10, "blocks": 1, "loss": "sampled-ce"}
_ATTENDING = Training(epochs=6, batch_size=2048, learning_rate=2e-3, negatives=1)
_STUDENT = {
    "decays": FACTORS, "seeds": (1, 2, 3),
    "weights": {"RD-position": (0.3, 1.0), "RRD": (0.03, 0.1), "RankDistil-C": (0.1, 0.3)},
}  # fmt: skip
GOWALLA = Matrix(
    dataset="gowalla", only="gowalla-F-BPR,gowalla-V-BPR,SASRec,LightGCN,EASE,ItemCF,-Fossil-d,-Caser-d,-S-d32",
    teachers={
        "EASE": Teacher(model=EASESettings()),
        "ItemCF": Teacher(model=ItemCFSettings()),
        "LightGCN": Teacher(
            model=LightGCNSettings(), evaluate_every=10,
            training=Training(
                epochs=100, batch_size=8192, learning_rate=4e-3, weight_decay=0.0, negatives=1, instances="users"
            ),
        ),
        "SASRec": Teacher(model=SASRecSettings(dim=100, **_ATTENTION), training=_ATTENDING, evaluate_every=2),
        "Fossil": Teacher(model=_FOSSIL.models["T"], training=_FOSSIL.training, evaluate_every=5, epoch=10),
        "Caser": Teacher(model=_CASER.models["T"], training=_CASER.training, evaluate_every=5),
    },
    students={
        "BPR-MF": Student(
            model=BPRMFSettings(dim=32, bias=True), evaluate_every=4, **_STUDENT,
            training=Training(epochs=16, batch_size=2048, learning_rate=3e-3, negatives=1),
        ),
        "Caser": Student(
            model=replace(_CASER.models["S"], dim=32), evaluate_every=5, **_STUDENT,
            training=Training(epochs=10, batch_size=2048, learning_rate=4e-3),
        ),
        "SASRec": Student(
            model=SASRecSettings(dim=32, **_ATTENTION), evaluate_every=2, **_STUDENT, training=_ATTENDING,
        ),
    },
    methods=methods(lam=1, rrd=RRDSettings(K=10, L=10, depth=100), p=10, m=50),
)  # fmt: skip


def every_moment(matrix: Matrix) -> Matrix:
    """The cells whose teacher has a memory and whose student has none, taught by what the teacher says at every moment."""
    teachers = {name: one for name, one in matrix.teachers.items() if example(one.model).window > 0}
    students = {name: one for name, one in matrix.students.items() if example(one.model).window == 0}
    return replace(matrix, teachers=teachers, students=students, at_last=False)


MATRICES = Named("profile", {
    "smoke": (SMOKE,),
    "small": (part(COMPLETE, {"BPR-MF": (1,)}),),
    "paper": (COMPLETE, GOWALLA),
})  # fmt: skip
EVERY_MOMENT = {"smoke": (every_moment(SMOKE),), "small": (), "paper": (every_moment(COMPLETE), every_moment(GOWALLA))}
"""A control: what a student loses that is taught by all moments at once. Nothing of it is trained on profile small."""
