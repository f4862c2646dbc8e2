"""Ranking Distillation as a study (studies/common/study.py), notebooks 01 to 06: its runs, and its part of the results page:
both models on Gowalla, the paper's numbers and ours."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rdcore.store.experiment import Experiment
from rdcore.store.publish import committed, is_committed
from rdcore.store.records import Record
from studies.common import claims, report, text
from studies.common import plan as plans
from studies.common.earlier import on_record
from studies.common.matched import Matched, matched, no_worse, reported_value
from studies.common.profiles import PROFILES
from studies.common.report import at_epochs, rd_table2, rd_table4
from studies.common.reported import papers_name, reported
from studies.common.selection import chosen_epochs, read_selection
from studies.common.study import Finding, Result, as_table, made_on, of_table, over
from studies.common.verdicts import FEWEST_SEEDS, NOT_ASSESSABLE
from studies.rd import ablation_results, recipes, released
from studies.rd import claims as rd_claims
from studies.rd.ablations import control_runs, faded_controls, sweep_runs
from studies.rd.plan import choices_of, fixed_runs, runs_of, table_runs, trials, tuned_fossil

METRICS = ["P@10", "nDCG@10", "MAP"]
PROTOCOLS = {"Caser": "fixed50", "Fossil": "validation"}
# Model -> role in the table -> what it is, and the pattern of `rdcore train --only` that trains it.
ROWS = {
    "Caser": {
        "T": ("teacher", "T-d100"),
        "S": ("student alone", "S-d50"),
        "RD": ("student taught by RD, hybrid weights (released code)", "RD-hybrid-d50"),
        "RD-hybrid-normalised": ("the same, weights divided by their sum (paper)", "RD-hybrid-normalised-d50"),
        "RD-position": ("position weights", "RD-position-d50"),
        "RD-discrepancy": ("discrepancy weights", "RD-discrepancy-d50"),
        "RD-equal": ("equal weights", "RD-equal-d50"),
        "RD-reciprocal": ("weights 1/r, r: the place on the list", "RD-reciprocal-d50"),
    },
    "Fossil": {
        "T": ("teacher", "Fossil-T-d50"),
        "S": ("student alone", "Fossil-S-d20"),
        "RD": ("student taught by RD, hybrid weights", "Fossil-RD-hybrid-d20"),
    },
}


def runs(profile: str) -> list[Experiment]:
    """In the order in which they are wanted: Caser under the fixed protocol, with the controls that keep its tables at an
    earlier revision; other recipes, protocol `validation`, sweeps, controls; Fossil's trials and tables; the baselines."""
    choices = choices_of(profile)
    caser, fossil = PROFILES[profile].rd
    of_caser = [*fixed_runs(caser), *faded_controls(caser), *recipes.recipe_runs(caser), *runs_of(caser, choices)]
    of_caser += [*sweep_runs(caser), *control_runs(caser)]
    of_fossil = [*trials(caser, fossil)["Fossil"], *tuned_fossil(caser, fossil), *runs_of(fossil, choices)]
    return plans.unique([*of_caser, *of_fossil, *table_runs(profile, choices)])


def later_runs(profile: str) -> list[Experiment]:
    """Fossil's sweeps and controls: the papers' figures are asked of Caser first."""
    _, fossil = PROFILES[profile].rd
    return plans.unique([*sweep_runs(fossil), *control_runs(fossil)])


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its stage and seed."""
    return plans.teachers_of(student, [plan for profile in PROFILES.values() for plan in profile.rd])


def paper_records() -> list[Record]:
    """The committed records of the paper-size tables, in training order; no ablation is among them."""
    table = on_record(table_runs("paper", read_selection()))
    return [committed(run) for run in table if is_committed(run)]


def tables() -> dict[str, pd.DataFrame]:
    """Tables 2 and 4 from the committed records."""
    records, chosen = paper_records(), chosen_epochs()
    return {"rd_table2": rd_table2(records, chosen), "rd_table4": rd_table4(records, chosen)}


def _of_released() -> pd.DataFrame:
    """The released code's numbers with the paper's and ours."""
    return released.table(rd_table2(paper_records(), chosen_epochs()))


def write_tables() -> list[Path]:
    """The released code next to the paper and us, and other recipes, each once it has been trained."""
    others = recipes.on_record(PROFILES["paper"].rd[0])
    ours, roles = matched(paper_records(), chosen_epochs()).get(("Caser", "fixed50")), {run["role"] for run in released.runs()}
    shown = [run.record for role in sorted(roles) for run in ours.by_role.get(role, {}).values()] if ours else []
    made = {
        "rd_released": (_of_released(), shown),
        "rd_recipes": (recipes.table(others), others),
    }
    return [report.write_table(table, name, "paper", records, "rdcore readme") for name, (table, records) in made.items()
            if len(table)]  # fmt: skip


def rows(table: pd.DataFrame, model: str, metric: str) -> list[Result]:
    """The roles of `ROWS` for a model, from Table 2; the paper's numbers of the weightings are in its Table 4."""
    table = table[(table["dataset"] == "gowalla") & (table["model"] == model) & (table["protocol"] == PROTOCOLS[model])]
    found = of_table(table, f"{text.MODELS.get(model, model)}, Gowalla: {metric}", list(ROWS[model]), metric)
    weightings = reported("rd_table4").query("dataset == 'gowalla' and metric == @metric").set_index("role")["value"]
    return [one if one.paper is not None else one._replace(paper=weightings.get(one.role)) for one in found]


def headline() -> list[Result]:
    """MAP of T, S and RD with both models; of RD with position weights too, where it has been trained."""
    table = rd_table2(paper_records(), chosen_epochs())
    found = [one for model in ROWS for one in rows(table, model, "MAP")]
    return [one for one in found if one.role in ("T", "S", "RD") or (one.role == "RD-position" and one.ours is not None)]


def findings() -> list[Finding | str]:
    """RD against the student alone and against the teacher, and position weights against both and against the hybrid, where
    there are seeds enough for a verdict."""
    runs = matched(paper_records(), chosen_epochs())
    p = claims.table(rd_claims.claims(runs)).set_index("claim")["p"]
    caser, fossil = (runs.get((model, protocol)) for model, protocol in PROTOCOLS.items())
    found = []
    for of in filter(None, (caser, fossil)):
        found += _over(of, "RD-hybrid", "S", p)
    for of in filter(None, (caser, fossil)):
        found += _no_worse(of, "RD-hybrid")
    if caser:
        found += _over(caser, "RD-position", "S", p) + _no_worse(caser, "RD-position")
        found += _over(caser, "RD-hybrid", "RD-position", p)
    return found + _fading(caser)


def _over(runs: Matched, a: str, b: str, p: pd.Series) -> list[Finding]:
    """One role against another. p: of every claim."""
    name = f"{papers_name(a)} - {papers_name(b)}, {runs.model}"
    effect, of = runs.reported(a, b), reported_value("gowalla", runs.model, b, "MAP")
    return over(name, runs.compare(a, b), effect, of, p.get(rd_claims.claimed(runs, a, b), float("nan")))


def _no_worse(runs: Matched, role: str) -> list[Finding]:
    """Whether RD with the weights of a role is no worse than the teacher, and by which margin."""
    answer = no_worse(runs, role)
    if answer is None or answer.comparison.n_seeds < FEWEST_SEEDS:
        return []
    name, c = f"{papers_name(role)} - T, {runs.model}", answer.comparison
    if answer.verdict.endswith(NOT_ASSESSABLE):
        return [Finding(name, "", "", f"{answer.verdict} (no worse)", c.n_seeds)]
    said = f"{answer.verdict} ({'worse' if answer.below else 'no worse'}; margin {answer.margin / c.mean_b:.1%})"
    return over(name, c, runs.reported(role, "T"), reported_value("gowalla", runs.model, "T", "MAP"), verdict=said)


def _fading(caser: Matched | None) -> list[str]:
    """How little the hybrid distils once it multiplies both weights, from the histories of its runs."""
    runs = caser.by_role.get("RD-hybrid", {}) if caser else {}
    if len(runs) < FEWEST_SEEDS:
        return []
    sums = pd.concat({seed: run.record.history["weights"].map(sum) for seed, run in runs.items()}, axis=1).mean(axis=1)
    first, last = PROFILES["paper"].rd[0].methods["RD-hybrid"].weights.start_epoch, sums.index[-1]
    return [f"The released hybrid nearly switches distillation off: its weights sum to {sums[first - 1]:.2f} up to epoch "
            f"{first - 1}, to {sums[first]:.2f} in epoch {first}, to {sums[last]:.2f} in epoch {last} (Caser).{_theirs()}"
            f"{_divided(caser)} [Every weighting](figures/00_weightings.png)."]


def _divided(caser: Matched) -> str:
    """What the form of the paper's text reaches, whose weights are divided by their sum; "" without enough seeds."""
    c = caser.compare("RD-hybrid-normalised", "S")
    if c is None or c.n_seeds < FEWEST_SEEDS:
        return ""
    return f" Divided by their sum, as in the paper's formula: {c.mean_a:.4f}, S {c.mean_b:.4f}."


def _theirs() -> str:
    """What the authors' own code reaches with either weights; "" without both at the same epoch."""
    means = _of_released().query("metric == 'MAP'").set_index("role")
    if not {"RD", "RD-position"} <= set(means.index):
        return ""
    hybrid, position = (means.loc[role] for role in ("RD", "RD-position"))
    if hybrid["epoch"] != position["epoch"]:
        return ""
    seeds = text.count(min(hybrid["released_seeds"], position["released_seeds"]), "seed")
    with_each = f"MAP {hybrid['released']:.4f}, with position weights {position['released']:.4f}"
    return f" Authors' code: {with_each} ({seeds})."


def results() -> str:
    """The section of docs/results.md."""
    table, parts = rd_table2(paper_records(), chosen_epochs()), ["## Ranking Distillation on Gowalla"]
    sizes = {"Caser": "at the settings of the released code (T d = 100, S d = 50)", "Fossil": "(T d = 50, S d = 20)"}
    for model, roles in ROWS.items():
        shown = [one for metric in METRICS for one in rows(table, model, metric)]
        words = [{"": role, "what it is": what, "`rdcore train --only`": f"`gowalla-F-{pattern}`"}
                 for role, (what, pattern) in roles.items()]  # fmt: skip
        own = [run.record for run in at_epochs(paper_records(), chosen_epochs())
               if (run.model, run.protocol) == (model, PROTOCOLS[model]) and run.role in (*roles, "RD-hybrid")]  # fmt: skip
        said = f"{model} {sizes[model]}, protocol `{PROTOCOLS[model]}`. {made_on(own)}".strip()
        parts += [said, as_table(shown, seeds=True),
                  text.markdown(pd.DataFrame(words))]  # fmt: skip
    others = recipes.results(recipes.table(recipes.on_record(PROFILES["paper"].rd[0])))
    swept = ablation_results.results(ablation_results.at_size())
    return "\n\n".join(filter(None, [*parts, released.results(table), others, swept]))
