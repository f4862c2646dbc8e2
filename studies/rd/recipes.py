"""Which recipe gave the paper's numbers? RD as released, with a later switch, and as in the code before the release.

That code (February 2018) trains for 100 epochs; the weights are w^b alone up to epoch 49, then the product of both, divided
by its sum. The teacher is that of the released recipe in all rows: 50 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from studies.common import text
from studies.common.matched import reported_value
from studies.common.plan import Plan, those_committed, unique

SEEDS = 3  # of the tables' seeds, the first
METRICS = ["P@10", "nDCG@10", "MAP"]
COLUMNS = ["dataset", "model", "role", "epochs", "metric", "reported", "replicated", "std", "seeds"]
WORDS = {
    "T": "teacher",
    "S": "student alone",
    "RD-hybrid": "hybrid weights as released: product from epoch 11 on",
    "RD-position": "position weights",
    "RD-prerelease": "before the release: w^b alone, from epoch 50 on the product divided by its sum",
    "RD-hybrid-start26": "as released, product from epoch 26 on",
    "RD-hybrid-start51": "as released, product from epoch 51 on",
}  # fmt: skip


def recipes(plan: Plan, seed: int) -> dict[str, Experiment]:
    """The recipes other than the released one: of 50 epochs in the plan, the switch after 25, or after 50 of 100; the one
    before the release; and S with 100 epochs, with which the long ones are compared."""
    half, whole = plan.training.epochs // 2 + 1, plan.training.epochs + 1
    long = plan.lengthened(2 * plan.training.epochs)
    released = plan.distilled("F", seed)
    rd = released.distillation

    def taught(role: str, of: Plan, **changes) -> Experiment:
        weights = replace(rd.weights, **changes)
        return replace(released, role=role, training=of.training, distillation=replace(rd, weights=weights))

    return {
        "RD-prerelease": taught("RD-prerelease", long, start_epoch=whole - 1, before="discrepancy", normalise=True),
        f"RD-hybrid-start{half}": taught(f"RD-hybrid-start{half}", plan, start_epoch=half),
        f"RD-hybrid-start{whole}": taught(f"RD-hybrid-start{whole}", long, start_epoch=whole),
        "S": long.student("F", seed),
    }


def recipe_runs(plan: Plan) -> list[Experiment]:
    """The recipes of the first seeds, of paper size alone."""
    seeds = plan.seeds["F"][:SEEDS] if plan.name == "paper" else ()
    return unique(run for seed in seeds for run in recipes(plan, seed).values())


def on_record(plan: Plan) -> list[Record]:
    """The committed records of the recipes, and those of T, S, hybrid and position weights as released, all at one
    revision of Caser; [] as long as no recipe is on record."""
    made = those_committed({run.key: run for run in recipe_runs(plan)})
    released = [run for seed in plan.seeds["F"][:SEEDS] for run in
                (plan.teacher("F", seed), plan.student("F", seed), plan.distilled("F", seed),
                 plan.distilled("F", seed, "RD-position"))]  # fmt: skip
    return [*those_committed({run.key: run for run in released}).values(), *made.values()] if made else []


def table(records: list[Record]) -> pd.DataFrame:
    """A row for each recipe and metric, after its last epoch: mean and spread over its seeds, and what the paper has for T, S
    and its RD, whichever recipe that was."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        groups.setdefault((record.description["role"], record.last_epoch), []).append(record)
    rows = []
    for (role, epochs), found in groups.items():
        d = found[0].description
        for metric in METRICS:
            values = pd.Series([record.metrics[metric].iloc[-1] for record in found])
            named = role if role in ("T", "S") else "RD-hybrid"
            theirs = reported_value(d["dataset"], family(d), named, metric)
            rows.append([d["dataset"], family(d), role, epochs, metric, theirs, values.mean(), values.std(), len(values)])
    return pd.DataFrame(rows, columns=COLUMNS)


def results(made: pd.DataFrame) -> str:
    """Its part of docs/results.md; "" without a run. made: from `table`."""
    if made.empty:
        return ""
    lines = []
    for (role, epochs), part in made.groupby(["role", "epochs"], sort=False):
        cells: Mapping[str, pd.Series] = part.set_index("metric").to_dict("index")
        line = {"": role, "recipe": WORDS.get(role, ""), "epochs": str(epochs)}
        for metric in METRICS:
            cell = cells[metric]
            line[f"{metric}, paper"] = text.number(cell["reported"])
            line[f"{metric}, ours"] = text.spread(cell["replicated"], cell["std"])
        lines.append(line | {"seeds": str(part["seeds"].iloc[0])})
    words = "Which recipe gave the paper's numbers? The paper's RD next to each, Caser, after the last epoch, T of 50 epochs:"
    return f"{words}\n\n{text.markdown(pd.DataFrame(lines))}"
