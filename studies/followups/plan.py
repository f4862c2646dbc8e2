"""Runs of the later methods that a record can describe: leave-one-out, on two folds of CiteULike.

UnKD and RCE-KD have splits of their own, and Topology Distillation's curves rank all items in every tenth
epoch; those are trained by `studies.followups.proofs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rdcore.distill import FTDSettings, HTDSettings, IRRRDSettings
from rdcore.models import BPRMFSettings
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common.plan import Plan, unique
from studies.common.profiles import PROFILES

SIZES = (10, 20, 100, 200)
"""Of Topology Distillation's students; the first one's runs come first."""

INSTANCES, BATCHES = 115_142, 113
"""Training pairs of DE-RRD's fold, and steps of 1,024 of them in an epoch."""


def topology(size: int = SIZES[0]) -> Plan:
    """Topology Distillation (KDD 2021) on its own fold. Nothing is selected: each run is evaluated once,
    after its last epoch, and the teacher's last weights teach."""
    return Plan(
        name="paper", dataset="citeulike-td",
        models={"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=size)},
        training=Training(
            epochs=101, batch_size=1024, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum"
        ),
        methods={"FTD": FTDSettings(), "HTD": HTDSettings()},
        seeds={"L": (1, 2, 3)}, evaluate_every=101,
    )  # fmt: skip


def item_side() -> Plan:
    """IR-RRD (Information Sciences 2021) on DE-RRD's fold: its T, S and RRD are DE-RRD's own runs."""
    plan = PROFILES["paper"].derrd[0]
    methods = {"RRD": plan.methods["RRD"], "IR-RRD": IRRRDSettings()}
    return replace(plan, methods=methods, grids={}, seeds={"L": plan.table_seeds[:3]})


PLANS: Mapping[str, tuple[Plan, ...]] = {
    "irrrd": (item_side(),),
    "td": tuple(topology(size) for size in SIZES),
}
"""Study -> its plans."""


def runs(profile: str) -> list[Experiment]:
    """Of profile paper: IR-RRD with every seed, then Topology Distillation, first seed and small
    students first."""
    if profile != "paper":
        return []
    found = []
    for plan in PLANS["irrrd"]:
        for seed in plan.table_seeds:
            found += [plan.teacher("L", seed), plan.student("L", seed)]
            found += [plan.distilled("L", seed, role) for role in plan.methods]
    for seed in topology().table_seeds:
        for plan in PLANS["td"]:
            found += [plan.teacher("L", seed), plan.student("L", seed)]
            found += [plan.distilled("L", seed, role) for role in plan.methods]
    return unique(found)
