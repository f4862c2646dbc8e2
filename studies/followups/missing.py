"""Which proofs of the later methods are on record, which are not, and about what those would cost."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

import pandas as pd

from rdcore.files import paths
from rdcore.store.runs import committed, is_committed
from studies.common import text
from studies.followups import study
from studies.followups.plan import PLANS, SIZES
from studies.followups.proofs import PROTOCOLS

TITLES = {
    "td": "a. Topology Distillation, its own fold: 101 epochs",
    "irrrd": "b. IR-RRD, DE-RRD's fold: three seeds",
    "unkd": "c. UnKD, its split: until 20 evaluations bring nothing better",
    "rcekd": "d. RCE-KD, its split by item id: until 30 epochs bring nothing better",
}
TIMED = {"S": "BPR", "HTD-prototypes": "HTD", "HTD-released": "HTD", "UnKD-released": "UnKD"}
"""Role -> its method's name in parity.csv, where it is another."""
EVERY_SIZE = ("S", "FTD", "HTD")
"""Roles of Topology Distillation that are trained at all of its sizes; other forms at the smallest."""


class Proof(NamedTuple):
    """A planned run."""

    study: str
    role: str
    dim: int
    command: str
    content: dict[str, Any] | None
    """Its record, if there is one."""


def planned() -> list[Proof]:
    """Every run of `studies.followups.proofs`, each with the first seed."""
    known = {(p.content["study"], p.content["role"], p.content["dim"]): p.content for p in reversed(study.proofs())}
    found = []
    for name, protocol in PROTOCOLS.items():
        large, small = protocol.dims
        sizes = {role: SIZES if name == "td" and role in EVERY_SIZE else (small,) for role in ("S", *protocol.methods)}
        rows = [("T", large), *((role, size) for role, own in sizes.items() for size in own)]
        for role, size in rows:
            command = f"python -m studies.followups.proofs {name} {role}"
            if role != "T" and size != small:
                command += f" --dim {size}"
            found.append(Proof(name, role, size, command, known.get((name, role, size))))
    return found


def seconds(content: dict[str, Any]) -> float:
    """How long a run took."""
    return content["environment"]["seconds"]


def steps(content: dict[str, Any]) -> float:
    """Seconds of a run's training steps: without its evaluations and what is in front of them."""
    return sum(row["seconds"] for row in content["history"])


def step_costs() -> dict[str, float]:
    """Method -> processor seconds of an epoch's steps over CiteULike (parity.csv), of its first form that is timed."""
    timed = pd.read_csv(paths.figures() / "tables" / "parity.csv").dropna(subset="seconds_ours").drop_duplicates("method")
    timed = timed[~timed["method"].isin(["Caser", "RD"])]  # over other data
    return dict(zip(timed["method"], timed["seconds_ours"], strict=True))


def cost(proof: Proof, every: list[Proof]) -> str:
    """In seconds, in words: of a run that is not on record from its relatives, those of the same study.

    Another size or form of the same method says it directly. Otherwise the taught students (S, where there is none): the
    seconds of their steps times the ratio of both methods' steps, where parity.csv has both, and the rest of their seconds as
    it was; at the least what S took.
    """
    there = [other for other in every if other.study == proof.study and other.content and other.role != "T"]
    method = {other.role: TIMED.get(other.role, other.role) for other in [*there, proof]}
    same = [seconds(other.content) for other in there if method[other.role] == method[proof.role]]
    if same:
        return f"{interval(same)} (its other runs)"
    costs, alone = step_costs(), [other for other in there if other.role == "S"]
    taught = [other for other in there if other.role != "S" and method[other.role] in costs]
    if method[proof.role] in costs and (taught or alone):
        factor = {role: costs[method[proof.role]] / costs[method[role]] for role in {other.role for other in taught or alone}}
        scaled = [seconds(one.content) + steps(one.content) * (factor[one.role] - 1) for one in taught or alone]
        return f"{interval(scaled)} (by its steps)"
    return f"more than S: {interval([seconds(other.content) for other in alone])}" if alone else "unknown"


def interval(values: list[float]) -> str:
    """One number of seconds, or the smallest and the largest.

    >>> interval([1164.3, 1260.5]), interval([86.6])
    ('1,164 to 1,260', '87')
    """
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def item_side() -> list[dict[str, str]]:
    """IR-RRD's runs, which `rdcore train` makes: of each role, how many of the seeds are on record. A run of IR-RRD costs an
    epoch's steps in parity.csv times the epochs that RRD took."""
    (plan,) = PLANS["irrrd"]
    seeds, rows, epochs = plan.table_seeds, [], []
    roles = {"T": plan.teacher, "S": plan.student}
    roles |= {role: lambda stage, seed, role=role: plan.distilled(stage, seed, role) for role in plan.methods}
    for role, of in roles.items():
        runs = [of("L", seed) for seed in seeds]
        there = [committed(run) for run in runs if is_committed(run)]
        if role == "RRD":
            epochs = [len(record.history) for record in there]
        steps = step_costs().get(role)
        guess = f"{steps * median(epochs):,.0f} a seed (its steps, RRD's epochs)" if steps and epochs else "unknown"
        command = f"`rdcore train --only {runs[0].label.rsplit('-', 1)[0]} --publish`"
        left = len(there) < len(seeds)
        rows.append({
            "run": role, "d": str(runs[0].model.dim), "on record": text.count(len(there), "seed") if there else "no",
            "command": command * left, "seconds": guess if left else "",
        })  # fmt: skip
    return rows


def state(proof: Proof) -> str:
    """Whether a run is on record."""
    if proof.content is None:
        return "no"
    epoch = study.cut_short(proof.content)
    return f"ended by hand after epoch {epoch}" if epoch else "yes"


def row_of(proof: Proof, every: list[Proof]) -> dict[str, str]:
    """A run in its study's table. every: all planned runs, of which a missing one takes its cost."""
    there = state(proof)
    return {
        "run": proof.role, "d": str(proof.dim), "on record": there, "command": "" if there == "yes" else f"`{proof.command}`",
        "seconds": f"{seconds(proof.content):,.0f}" if proof.content else cost(proof, every),
    }  # fmt: skip


def section() -> str:
    """Of docs/open.md: a table for each study."""
    every, parts = planned(), []
    for name, title in TITLES.items():
        if name == "irrrd":
            rows = item_side()
        else:
            rows = [row_of(one, every) for one in every if one.study == name]
        frame = pd.DataFrame(rows)
        parts.append(f"### {title}\n\n{text.markdown(frame.loc[:, (frame != '').any()])}")
    return "\n\n".join(parts)


def counts() -> tuple[int, int]:
    """How many proofs with a single seed are on record, and how many there are."""
    every = planned()
    return sum(one.content is not None for one in every), len(every)
