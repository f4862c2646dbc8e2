"""The plan of the sweeps, what it refuses, what its reports say, and sweeps that are killed or run twice at once."""

import json
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import torch
from fabricated import ENVIRONMENT, USERS, record
from kill import kill_when

from rdcore.distill import Discrepancy
from rdcore.models.fossil import Fossil
from rdcore.store import runner, runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common import report
from studies.common.earlier import as_before
from studies.common.plan import Plan, unique
from studies.common.profiles import PROFILES, SWEEPS
from studies.common.style import look
from studies.notebooks import page
from studies.rd import ablation_report as reports
from studies.rd import ablation_results, sweep_plots
from studies.rd.ablations import (
    HYBRID,
    POSITION,
    TAUGHT,
    Grid,
    control_records,
    control_runs,
    controls,
    controls_on_record,
    of_tables,
    papers_alpha,
    points,
    sweep_runs,
    sweeps,
)
from studies.rd.claims import balance, holds
from studies.rd.plan import table_runs, values, varied

MODELS = ("Caser", "Fossil")
FAMILIES = {f"{name} {model}": PROFILES[name].rd[i] for name in PROFILES for i, model in enumerate(MODELS)}
PAPER = PROFILES["paper"].rd[1]


@pytest.fixture(params=FAMILIES)
def family(request) -> Plan:
    return FAMILIES[request.param]


# -------------------------------------------------------------------------------------------------------------------- plan


BY_HYBRID = {"mu", "rank samples", "start epoch", "weighting", "paper and code"}


def test_the_papers_grid_is_the_one_that_is_owed():
    assert Grid(**PAPER.sweeps) == Grid(
        K=(1, 5, 10, 20, 50), lam=(0.5, 1, 2, 5, 10), loss_weights=(0, 0.1, 0.3, 1, 3, "alone"), dims=(10, 20, 25, 50, 100),
        shares=(0.2, 0.5, 1), mu=(1e-3, 1e-2, 1e-1, 1), samples=(10, 100, 1000, "exact"), start_epochs=(1, 11, 26),
    )  # fmt: skip
    assert Grid(**PROFILES["paper"].rd[0].sweeps).dims == (10, 25, 50, 100)
    planned = {name: list(values) for name, values in sweeps(PAPER, "V", 101).items()}
    assert planned["mu"] == ["0.001", "0.01", "0.1", "1"] and planned["rank samples"] == ["10", "100", "1000", "exact"]
    assert planned["loss weight"] == ["0", "0.1", "0.3", "1", "3", "alone"] and planned["left out"] == ["target", "seen"]
    assert len(planned["weighting"]) == 9 and len(planned["paper and code"]) == 6


def test_a_point_that_changes_nothing_is_the_very_run_of_the_tables(family):
    tables, planned = of_tables(family, "V", 101), sweeps(family, "V", 101)
    rd = values(family)
    usual = {
        "K": str(rd.K), "lambda": f"{rd.lam:g}", "loss weight": "1", "student size": str(family.models["S"].dim),
        "share of data": "1", "left out": "target", "mu": f"{rd.mu:g}", "rank samples": str(rd.samples),
        "start epoch": str(rd.start_epoch), "weighting": "hybrid, raw", "paper and code": "as released",
    }  # fmt: skip
    at = {name: value for name, value in usual.items() if value in planned[name]}
    assert set(usual) - set(at) <= {"lambda", "start epoch"}, "Caser's own of profile small are not in the grids"
    for name, value in at.items():
        last = list(planned[name][value].values())[-1]
        assert last.key == tables[HYBRID if name in BY_HYBRID else POSITION].key, name
    assert planned["loss weight"]["0"][POSITION] == planned["student size"][usual["student size"]]["S"] == tables["S"]
    assert planned["share of data"]["1"] == {role: tables[role] for role in ("T", "S", POSITION)}
    for run in planned["weighting"].values():
        if run["RD"].role in family.methods:
            assert run["RD"] == family.distilled("V", 101, run["RD"].role)


def test_runs_of_the_hybrid_that_were_planned_before_keep_their_keys():
    """Caser's on V, seed 101: the sweeps that belong to the hybrid did not move."""
    planned = {run.role: run.key for run in points(sweeps(PROFILES["paper"].rd[0], "V", 101))}
    kept = {
        "RD-hybrid-mu0.001": "81bc7f19565df232", "RD-hybrid-mu0.01": "ef2cc12f6b0d4a39",
        "RD-hybrid-start26": "70545e41b9657cdb", "RD-hybrid-exact": "400d78561509e041",
    }  # fmt: skip
    assert {role: planned[role] for role in kept} == kept


def test_no_two_runs_share_a_label_and_none_is_planned_twice(family):
    plan = [*sweep_runs(family), *control_runs(family)]
    assert len({run.key for run in plan}) == len({run.label for run in plan}) == len(plan)
    assert {run.stage for run in points(sweeps(family, "V", 101))} == {"V"}, "the sweeps never see test"


def test_no_ablation_gets_into_a_table(tmp_path: Path):
    """Tables are of stage F, where the only ablations are the controls; put beside the runs of the tables, they have rows
    of their own."""
    tables = {run.key: run for run in table_runs("paper", {})}
    planned = [run for profile in PROFILES["paper"].rd for run in [*sweep_runs(profile), *control_runs(profile)]]
    ours = [run for run in planned if run.key not in tables]
    assert ours and not {run.key for run in ours} & {run.key for run in table_runs("paper", {})}
    everything = [*tables.values(), *ours]
    given = [record(tmp_path, run, {run.training.epochs: 0.1}) for run in everything if run.stage == "F"]
    for row in report.at_epochs(given):
        known = row.role in {"T", "S", "baseline", *PAPER.methods}
        assert known == (row.record.key in tables), f"{row.role} {row.record.key}"


def test_a_sweep_changes_one_setting(family):
    weights = "distillation.weights."
    samples = dict.fromkeys(map(str, family.sweeps["samples"]), {f"{weights}discrepancy.samples"})
    if samples.keys() >= {"exact"}:
        sized = {f"{weights}discrepancy.samples"} if values(family).samples != Discrepancy.samples else set()
        samples["exact"] = sized | {f"{weights}discrepancy.estimate"}
    balance = {f"{w}": {"distillation.weight"} for w in family.sweeps["loss_weights"]} | {"alone": {"training.base_weight"}}
    expected = {
        "K": {"distillation.K"}, "lambda": {f"{weights}lam"}, "mu": {f"{weights}discrepancy.mu"},
        "start epoch": {f"{weights}start_epoch"}, "rank samples": samples, "loss weight": balance,
        "student size": {"model.dim"}, "share of data": {"training.share", "teacher"}, "left out": {"distillation.exclude"},
    }  # fmt: skip
    tables = of_tables(family, "V", 101)
    for name, changed in expected.items():
        base = tables[HYBRID if name in BY_HYBRID else POSITION].description
        for value, roles in list(sweeps(family, "V", 101)[name].items())[name == "loss weight" :]:  # the first there is S
            different = differing(base, list(roles.values())[-1].description) - {"role"}
            assert different == (changed[value] if isinstance(changed, dict) else changed) or not different, (name, value)


def test_w_weighs_distillation_beside_an_unchanged_loss():
    planned = {value: roles[POSITION] for value, roles in sweeps(PAPER, "V", 101)["loss weight"].items()}
    assert planned.pop("0") == PAPER.student("V", 101)
    weights = {value: (run.training.base_weight, run.distillation.weight) for value, run in planned.items()}
    assert weights == {"0.1": (1, 0.1), "0.3": (1, 0.3), "1": (1, 1), "3": (1, 3), "alone": (0, 1)}


def test_the_papers_alpha_is_the_share_of_distillation():
    """(1 - alpha) L^R + alpha L^D is L^R + w L^D but for a factor."""
    for value in ("0", "0.1", "0.3", "1", "3"):
        alpha = papers_alpha(value)
        assert alpha / (1 - alpha) == pytest.approx(float(value))
    assert papers_alpha("alone") == 1


def test_a_share_of_the_data_is_the_teachers_share_too():
    for share, roles in sweeps(PAPER, "V", 101)["share of data"].items():
        assert {run.training.share for run in roles.values()} == {float(share)}
        assert roles[POSITION].teacher == roles["T"]


def test_a_control_differs_in_one_thing(family):
    for base in (POSITION, HYBRID):
        check_controls(family, controls(family, "F", 1, base), family.distilled("F", 1, base))
    assert controls(family, "F", 1) == controls(family, "F", 1, POSITION), "with weights that stay on, unless asked otherwise"


def test_the_other_student_is_one_of_the_tables_where_there_are_several():
    teachers = [controls(PAPER, "F", seed)["lists of another student"].teacher for seed in (1, 2, 3, 4, 5)]
    assert teachers == [PAPER.student("F", seed) for seed in (2, 3, 4, 5, 1)]


def check_controls(family: Plan, plan: dict, taught: Experiment) -> None:
    assert plan[TAUGHT] == taught
    for name in ("lists of random unseen items", "lists of popular items"):
        assert differing(taught.description, plan[name].description) == {"role", "distillation.lists"}
    other = plan["lists of another student"]
    assert differing(taught.description, other.description) == {"role", "teacher"}
    assert other.teacher == replace(plan["S"], seed=2), "same size, other seed"
    if taught.role == POSITION:
        guided = plan["S, K further negatives that it ranks high"]
        assert differing(plan["S"].description, guided.description) == {"role", "distillation"}
        assert guided.distillation.K == values(family).K and guided.teacher is None
    more = plan["S, K further negatives"]
    assert differing(plan["S"].description, more.description) == {"role", "training.negatives"}
    assert more.training.negatives == family.training.negatives + values(family).K


def differing(one: dict, other: dict, prefix: str = "") -> set[str]:
    """The fields, with dots, in which two descriptions differ; one that is absent has its default."""
    found = set()
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= differing(a, b, f"{prefix}{name}.")
        elif a != b:
            found.add(prefix + name)
    return found


# --------------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"K": (10, 0)}, "K must be an integer >= 1, got 0"),
        ({"K": ("ten",)}, "K must be an integer >= 1, got 'ten'"),
        ({"K": 10}, "K must be a tuple of at least one value, got 10"),
        ({"lam": ()}, "lam must be a tuple of at least one value"),
        ({"lam": (-1,)}, "lam must be a finite number > 0, got -1"),
        ({"mu": (0,)}, "mu must be a finite number > 0, got 0"),
        ({"mu": (0.1, 0.1)}, "mu names a value twice"),
        ({"samples": (10, "exat")}, "samples must be numbers or 'exact', got 'exat'"),
        ({"samples": (0,)}, "samples must be an integer >= 1, got 0"),
        ({"start_epochs": (0,)}, "start_epoch must be an integer >= 1, got 0"),
        ({"start_epochs": (1, 51)}, r"start_epochs must be <= 50, the epochs of a run, got \[51\]"),
        ({"loss_weights": (0, -1)}, "weight must be a finite number >= 0, got -1"),
        ({"loss_weights": (1, "only")}, "loss_weights must be numbers or 'alone', got 'only'"),
        ({"dims": (0,)}, "dim"),
        ({"shares": (0, 1)}, r"share must lie in \(0, 1\], got 0"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_runs(given: dict, said: str):
    with pytest.raises(ValueError, match=said):
        sweeps(PAPER, "V", 101, Grid(**{**PAPER.sweeps, **given}))


def test_a_grid_with_a_typo_is_refused():
    with pytest.raises(TypeError, match="lambda_"):
        Grid(lambda_=(1,))


# ----------------------------------------------------------------------------------------------------------------- reports


@pytest.fixture
def found(tmp_path: Path) -> dict[str, runs.Record]:
    """Records of two values of K, MAP .20 and .21, and of S; the third value was not run."""
    planned = {"K": {K: roles for K, roles in sweeps(PAPER, "V", 101)["K"].items() if K in ("1", "20")}}
    made = [record(tmp_path, run, {50: 0.20 + 0.01 * i}) for i, run in enumerate(points(planned))]
    made.append(record(tmp_path, PAPER.student("V", 101), {25: 0.1, 50: 0.19}))
    return {each.key: each for each in made}


def test_what_was_not_run_is_listed_empty_in_the_table_and_absent_from_the_picture(found):
    planned = {"K": sweeps(PAPER, "V", 101)["K"]}
    table = reports.table([planned], found)
    assert list(table.columns) == "sweep value role model MAP P@10 nDCG@10 seeds key".split()
    assert table["key"].tolist() == [run.key for run in points(planned)], "also of what was not run: the key makes it"
    assert table["MAP"].tolist() == pytest.approx([0.20, np.nan, np.nan, 0.21, np.nan], nan_ok=True)
    level = {"RD-position": float("nan"), "RD-hybrid": 0.2, "S": 0.19}
    (panel, *_), small = sweep_plots.panels(table, reference=level).axes, sweep_plots.panels(table.iloc[:1], reference={})
    missing = np.isnan(panel.lines[0].get_ydata()).tolist()
    assert missing == [False, True, True, False, True], "no line across what was not run"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["1", "5", "10", "20", "50"]
    assert len(panel.lines) == 2, "S has a level, RD-position of the tables has no record, RD-hybrid is not varied here"
    assert panel.get_xlabel() == sweep_plots.AXES["K"] and small is None
    apart = reports.spread(table, "K", reports.Noise(0.001, np.inf, ""))
    assert apart == {"best": "20", "worst": "1", "best - worst": pytest.approx(0.01), "beyond chance": "yes"}
    plt.close("all")


def test_a_second_seed_counts_once_it_has_as_many_points(tmp_path: Path):
    both = [{"K": sweeps(PAPER, "V", seed)["K"]} for seed in (101, 102)]
    made = {run.key: record(tmp_path, run, {50: 0.2 + 0.01 * i}) for i, run in enumerate(points(both[0]))}
    second = points(both[1])
    made |= {run.key: record(tmp_path, run, {50: 0.3}) for run in second[:-1]}
    assert reports.shown(both, made) == both[:1] and reports.shown(both, {}) == both[:1]
    assert reports.levels([of_tables(PAPER, "V", 101)], made)[POSITION] == pytest.approx(0.22), "K = 10, the third value"
    made |= {second[-1].key: record(tmp_path, second[-1], {50: 0.4})}
    shown = reports.shown(both, made)
    table, rows = reports.table(shown, made), reports.long(shown, made)
    assert shown == both and table["MAP"].tolist() == pytest.approx([0.25, 0.255, 0.26, 0.265, 0.32])
    assert set(table["seeds"]) == {2} and list(rows.columns) == reports.LONG
    row = rows[(rows["metric"] == "MAP") & (rows["value"] == "50")].iloc[0]
    assert row[["dataset", "model", "role", "sweep", "seeds", "stage"]].tolist() == ["gowalla", "Fossil", POSITION, "K", 2, "V"]
    assert (row["mean"], row["std"]) == pytest.approx((0.32, np.std([0.24, 0.4], ddof=1)))


def test_a_sweep_has_the_look_and_the_level_of_what_it_varies(tmp_path: Path):
    planned = {name: sweeps(PAPER, "V", 101)[name] for name in ("loss weight", "mu")}
    made = {run.key: record(tmp_path, run, {50: 0.2}) for run in points(planned)}
    level = {POSITION: 0.3, HYBRID: 0.4, "S": 0.1, "T": 0.5}
    weight, mu, *_ = sweep_plots.panels(reports.table([planned], made), reference=level).axes
    for ax, role, other in ((weight, POSITION, HYBRID), (mu, HYBRID, POSITION)):
        lines = {line.get_label(): line for line in ax.lines}
        assert lines[role].get_color() == look(role).colour and other not in lines
        assert {f"{name}, settings of the tables" for name in ("S", "T", role)} == lines.keys() - {role}
    assert [text.get_text() for text in weight.get_xticklabels()][-2:] == ["3\n(0.75)", "alone\n(1)"]
    assert not weight.texts and weight.get_ylim()[0] < 0.1
    plt.close("all")


def test_distillation_alone_flattens_no_panel(tmp_path: Path):
    planned = {name: sweeps(PAPER, "V", 101)[name] for name in ("loss weight", "mu")}
    made = {run.key: record(tmp_path, run, {50: 0.01 if run.role.endswith("alone") else 0.2}) for run in points(planned)}
    weight, mu, *_ = sweep_plots.panels(reports.table([planned], made), reference={"S": 0.19, "T": float("nan")}).axes
    assert [text.get_text() for text in weight.texts] == ["0.010"] and not mu.texts
    assert 0.18 < weight.get_ylim()[0] < 0.19 and weight.get_ylim() == mu.get_ylim()
    plt.close("all")


def test_without_any_record_there_is_a_table_and_no_picture():
    planned = sweeps(PAPER, "V", 101)
    table = reports.table([planned], {})
    assert table["MAP"].isna().all() and set(table["sweep"]) == set(planned)
    noise = reports.Noise(0.001, np.inf, "")
    assert not any(reports.spread(table, sweep, noise)["best"] for sweep in planned)
    assert sweep_plots.dots(table, "weighting", reference={}) is None and sweep_plots.panels(table, reference={}) is None
    assert "nothing can be said" in reports.gains(table, "student size", noise)
    assert np.isnan(reports.noise(None, None, []).size)
    frame, compared = reports.controls([controls(PAPER, "F", 1)], {})
    assert compared == {} and frame["MAP"].isna().all()
    assert reports.attribution(frame) == "S or RD is not on record: nothing can be said."
    assert "nothing can be said" in reports.attribution(reports.controls([], {})[0])


def test_the_plan_counts_each_run_of_a_sweep_once():
    planned = reports.plan(sweeps(PAPER, "V", 101)).set_index("sweep")["runs"]
    assert planned["K"] == 5 and planned["student size"] == 10 and planned["share of data"] == 9


def test_noise_is_judged_by_the_later_epochs_and_by_two_seeds(tmp_path: Path):
    rd = record(tmp_path, PAPER.distilled("V", 101), {10: 0.9, 25: 0.20, 50: 0.31})
    student = record(tmp_path, PAPER.student("V", 101), {10: 0.1, 25: 0.19, 50: 0.27})
    seeds = [record(tmp_path, PAPER.student("F", seed), {50: value}) for seed, value in ((1, 0.30), (2, 0.32))]
    assert reports.noise(rd, student, seeds) == (pytest.approx(0.03), np.inf, "0.0300 by epochs, 0.0200 by seeds")
    assert reports.noise(rd, student, seeds[:1]).size == reports.noise(rd, student, []).size == pytest.approx(0.03)
    assert reports.noise(None, student, seeds).size == pytest.approx(0.02)


def test_noise_is_measured_where_weightings_have_the_same_seeds(tmp_path: Path):
    """What the means of weightings and of seeds leave, by statsmodels; a seed that one of them lacks is left out."""
    rng = np.random.default_rng(7)
    values = {(role, seed): 0.2 + 0.05 * seed + 0.01 * len(role) + rng.normal(0, 0.003)
              for role in PAPER.methods for seed in (1, 2, 3, 4, 5)}  # fmt: skip
    made = [record(tmp_path, PAPER.distilled("F", seed, role), {50: value}) for (role, seed), value in values.items()]
    frame = pd.DataFrame([(*where, value) for where, value in values.items()], columns=["role", "seed", "map"])
    fitted = smf.ols("map ~ C(role) + C(seed)", frame).fit()
    noise = reports.noise(None, None, made)
    assert noise.df == fitted.df_resid > 1 and noise.size == pytest.approx(2 * np.sqrt(fitted.mse_resid / np.pi))
    assert reports.noise(None, None, made[:-1]).df == (len(PAPER.methods) - 1) * 3


def test_a_mean_over_more_seeds_has_less_noise():
    rows = [("K", value, POSITION, at) for value, at in (("1", 0.2), ("5", 0.25))]
    table = pd.DataFrame(rows, columns=["sweep", "value", "role", "MAP"])
    noise = reports.Noise(0.025, np.inf, "")  # two values: 2.5 times by chance
    assert [reports.spread(table.assign(seeds=n), "K", noise)["beyond chance"] for n in (1, 2)] == ["no", "yes"]


@pytest.mark.parametrize("count", [2, 6, 9])
def test_one_sweep_of_twenty_spreads_further_by_chance(count):
    drawn = np.random.default_rng(count).normal(size=(40_000, count))
    noise = np.abs(np.diff(np.random.default_rng(1).normal(size=(40_000, 2)))).mean()  # of two runs, if it were known
    assert (np.ptp(drawn, axis=1) > reports.by_chance(count) * noise).mean() == pytest.approx(0.05, abs=0.005)


def test_with_few_degrees_of_freedom_more_is_chance():
    """Tukey's table has 4.60 for three values and 3 degrees of freedom at .10 and 5.91 at .05."""
    assert reports.by_chance(3, 3) * 2 / np.sqrt(np.pi) == pytest.approx(5.91, abs=0.01)


@pytest.fixture
def at_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that looks at the paper's size, after it has put sweeps of a seed on record: K and the loss weight."""
    caser, folder = PROFILES["paper"].rd[0], tmp_path / "data" / "replicated"
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))

    def look(*seeds: int, alone: float = 0.05) -> ablation_results.OnRecord:
        for seed in seeds:
            planned = sweeps(caser, "V", seed)
            by_role = {"S": 0.09, "RD-position-alone": alone, "RD-position-K50": 0.12}
            for run in unique([*points({name: planned[name] for name in ("K", "loss weight")}), caser.teacher("V", seed)]):
                record(folder, run, {50: by_role.get(run.role, 0.1) + (seed - 101) / 100}, environment=ENVIRONMENT)
        for i, role in enumerate(caser.methods):
            for seed in (1, 2, 3):
                record(folder, caser.distilled("F", seed, role), {50: 0.1 + 0.001 * ((i * seed) % 3)})
        return ablation_results.at_size()

    return look


def test_the_sweeps_at_the_papers_size_are_those_on_record(at_size):
    found = at_size(101)
    assert len(found.shown) == 1 and found.level["T"] == found.level[POSITION] == pytest.approx(0.1)
    assert np.isnan(found.level[HYBRID]) and found.noise.df == 10
    shown = ablation_results.by_setting(found).set_index("setting")
    assert list(shown.index) == ["K", "loss weight w"] and set(shown["varied around"]) == {POSITION}
    assert shown.loc["K", "MAP by value"] == "1: 0.1000 · 5: 0.1000 · 10: **0.1000** · 20: 0.1000 · 50: 0.1200"
    assert shown.loc["loss weight w", "MAP by value"].startswith("0: 0.0900 · 0.1: 0.1000")
    assert list(shown["beyond chance"]) == ["yes", "yes"] and shown.loc["K", "best - worst"] == "0.0200"
    said = ablation_results.in_words(found)
    assert said.startswith("Beyond chance: loss weight w (0.0500 between 0.1 and alone), K (0.0200 between 50 and 1).")
    assert "With λ = 1 the first 3 places of a list have 95% of the weight" in said
    assert said.endswith("Of the paper's α on record (0.00, 0.09, 0.23, 0.50, 0.75, 1.00), 0.09 is best.")
    page_of_results = ablation_results.results(found)
    assert "1 seed; nothing is chosen" in page_of_results and "Caser is at revision 2" in page_of_results


def test_without_a_record_at_the_papers_size_nothing_is_said(at_size):
    found = at_size()
    assert ablation_results.results(found) == ablation_results.in_words(found) == ""
    assert ablation_results.balance_gains(found) == []


@pytest.mark.parametrize(
    ("seeds", "alone", "said", "ours"),
    [((), 0, "", None), ((101,), 0.05, "provisional", 0.01), ((101, 102), 0.05, "not assessable", 0.01),
     ((101,), 0.13, "provisional", -0.03)],
)  # fmt: skip
def test_a_balance_of_both_losses_is_held_against_the_better_of_either(at_size, seeds, alone, said, ours):
    at_size(*seeds, alone=alone)
    claim = balance(ablation_results.at_size())
    assert (claim.verdict or "") == said and "no numbers can be read" in claim.note
    assert claim.ours == pytest.approx(np.nan if ours is None else ours, nan_ok=True)


def sizes_on_record(folder: Path, gains: dict[str, tuple[float, ...]]) -> ablation_results.OnRecord:
    """Sizes of the student on record: value -> gains over S of the first seeds."""
    caser = PROFILES["paper"].rd[0]
    shown = [sweeps(caser, "V", seed) for seed in caser.seeds["V"][: max(map(len, gains.values()))]]
    found = {}
    for value, by_seed in gains.items():
        for each, gain in zip(shown, by_seed, strict=False):
            for role, run in each["student size"][value].items():
                found[run.key] = record(folder, run, {50: 0.05 + gain * (role == POSITION)})
    return ablation_results.OnRecord(shown, found, {}, reports.Noise(0.001, 20, ""), set())


@pytest.mark.parametrize(
    ("gains", "verdict", "ours", "at"),
    [({"10": (0.01,), "25": (0.01,), "50": (0.01,)}, "", np.nan, ""),  # 100 has not run
     ({"10": (0.01,), "25": (-0.02,), "50": (0.01,), "100": (0.03,)}, "provisional", -0.02, "25"),
     ({"10": (0.01, 0.05), "25": (0.02, 0.01), "50": (0.04, 0.03), "100": (0.01, 0.03)}, "not assessable", 0.015, "25"),
     # The second seed lacks a size.
     ({"10": (0.01, 0.05), "25": (0.02, 0.01), "50": (0.04, 0.03), "100": (0.03,)}, "provisional", 0.01, "10")],
)  # fmt: skip
def test_a_gain_at_every_value_is_judged_by_the_least(tmp_path: Path, gains, verdict, ours, at):
    claim = holds(sizes_on_record(tmp_path, gains), "student size", "The gain holds", "Figure 5a")
    assert (claim.verdict or "", claim.ours) == (verdict, pytest.approx(ours, nan_ok=True))
    assert claim.claim == "The gain holds (Figure 5a; Caser, Gowalla)" and "no numbers can be read" in claim.note
    assert f"RD - S at {at}, the least of the gains at 10, 25, 50, 100" in claim.note if at else "RD - S" not in claim.note
    assert ("two seeds: no verdict" in claim.note) == (verdict == "not assessable") == (not np.isnan(claim.low))


def test_where_rd_gains_is_said_by_value():
    rows = [("size", value, role, at) for value, s, rd in (("10", 0.1, 0.2), ("20", 0.2, 0.21), ("50", 0.3, 0.2))
            for role, at in (("S", s), (POSITION, rd))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["sweep", "value", "role", "MAP"]).assign(seeds=1)
    assert reports.gains(table, "size", reports.Noise(0.02, np.inf, "")) == (
        "RD - S is 10: +0.1000, 20: +0.0100, 50: -0.1000. By more than 3.0 times the noise of 0.0200, which 3 gains reach by "
        "chance, it is better at 10 and worse at 50."
    )
    assert reports.gains(table, "size", reports.Noise(0.1, np.inf, "")).endswith("it is nowhere better or worse.")


def test_one_step_of_the_rank_saturates_the_weight_from_the_stated_mu_on():
    """Notebook 04: 2.65 over the step of a rank makes it .99."""
    step = 140
    for mu, weight in ((2.65 / step, 0.99), (0.9 * 2.65 / step, 0.983)):
        assert float(Discrepancy(mu=mu)(1, torch.tensor([[step]]), 1)) == pytest.approx(weight, abs=5e-4)


# Of 0.02 that RD gains over S, the lists of popular items give a quarter and those of another student three quarters.
GAINS = {"S": 0, TAUGHT: 0.02, "T": 0.05, "lists of popular items": 0.005, "lists of another student": 0.015}


def judged_controls(folder: Path, gains: dict[str, float], jitter: float = 0.0):
    """The table of the controls where each gains so much over S with every user; ``jitter`` makes RD's users differ."""
    plan = controls(PAPER, "F", 1)
    base = np.linspace(0.1, 0.3, USERS)
    made = {}
    for name, gain in gains.items():
        ap = base + gain + (jitter * np.where(np.arange(USERS) % 2, 1, -1) if name == TAUGHT else 0)
        each = record(folder, plan[name], {50: float(ap.mean())}, ap)
        made[each.key] = each
    return reports.controls([plan], made)


def test_the_share_that_the_teacher_explains(tmp_path: Path):
    frame, compared = judged_controls(tmp_path, GAINS)
    rows = frame.set_index("control")
    assert rows.loc["lists of popular items", "share of RD - S"] == pytest.approx(0.25)
    assert rows.loc["lists of another student", ["share of RD - S", "share low", "share high"]].tolist() == pytest.approx(
        [0.75] * 3
    )
    assert rows.loc[TAUGHT, ["MAP - S", "low", "high"]].tolist() == pytest.approx([0.02] * 3)
    assert rows.loc[["S", "T", TAUGHT], "share of RD - S"].isna().all() and "S" not in compared
    assert np.isnan(rows.loc["lists of random unseen items", "MAP"]), "not run, and in the table"
    assert reports.attribution(frame).endswith("with so few seeds this does not say how much of the gain needs the teacher.")
    fewer = [2 if name == "lists of another student" else 5 for name in frame["control"]]
    assert "with so few seeds" in reports.attribution(frame.assign(seeds=fewer)), "those of the control count, too"
    said = reports.attribution(frame.assign(seeds=3))
    assert "lists of popular items: 25% (25% to 25%); lists of another student: 75% (75% to 75%)" in said
    assert said.endswith("The best of them is lists of another student: 25% of the gain needs the teacher.")


def test_a_control_that_is_not_above_s_has_no_share_in_words(tmp_path: Path):
    frame, _ = judged_controls(tmp_path, GAINS | {"lists of popular items": -0.09})
    assert frame.set_index("control").loc["lists of popular items", "share of RD - S"] == pytest.approx(-4.5)
    assert "lists of popular items: none; lists of another student: 75% (75% to 75%)" in reports.attribution(frame)
    shown = reports.controls_in_words(frame).set_index("control")["share of RD - S"]
    assert shown[["lists of popular items", "lists of another student"]].tolist() == ["none", "75% (75% to 75%)"]
    assert shown[["S", TAUGHT]].tolist() == ["", ""]


def test_a_student_with_another_rate_reaches_rd_or_does_not():
    assert "one at equal training" in reports.at_another_rate(0.125, {POSITION: 0.121}, 2)
    assert reports.at_another_rate(0.12, {POSITION: 0.121}, 2).endswith("better than both students alone.")
    assert reports.at_another_rate(np.nan, {POSITION: 0.121}, 2) == reports.at_another_rate(0.1, {POSITION: np.nan}, 2) == ""


def test_settings_are_named_by_what_their_sweeps_show():
    sweeps = (("K", 0.001, "no"), ("w", 0.02, "yes"), ("size", 0.08, "yes"), ("x", np.nan, ""))
    rows = [{"setting": name, "best": "a", "worst": "b", "best - worst": apart, "beyond chance": word}
            for name, apart, word in sweeps]  # fmt: skip
    assert reports.beyond_chance(rows) == (
        "Beyond chance: size (0.0800 between a and b), w (0.0200 between a and b). "
        "Within it, so that these runs give no reason to tune them: K."
    )


def test_controls_of_several_seeds_are_compared_over_those_that_both_have(tmp_path: Path):
    plans = [controls(PAPER, "F", seed) for seed in (1, 2, 3)]
    base, made = np.linspace(0.1, 0.3, USERS), {}
    for seed, plan in enumerate(plans, 1):
        for name, gain in {"S": 0, TAUGHT: 0.036 + 0.002 * seed, "lists of popular items": 0.01}.items():
            if name != "lists of popular items" or seed > 1:
                each = record(tmp_path / str(seed), plan[name], {50: 0.1 * seed}, base + gain)
                made[each.key] = each
    frame, compared = reports.controls(plans, made)
    rows = frame.set_index("control")
    assert rows.loc[[TAUGHT, "lists of popular items", "T"], "seeds"].tolist() == [3, 2, 0]
    assert rows.loc[TAUGHT, ["MAP", "MAP - S"]].tolist() == pytest.approx([0.2, 0.04])
    assert compared[TAUGHT].n_seeds == 3 and rows.loc[TAUGHT, "low"] < 0.038, "seeds that differ widen the interval"
    assert rows.loc["lists of popular items", "share of RD - S"] == pytest.approx(0.01 / 0.041), "RD's seeds 2 and 3"


def test_the_controls_that_are_shown_have_position_weights_once_one_is_on_record(project: Path):
    caser = PROFILES["paper"].rd[0]
    assert controls_on_record() == (HYBRID, [controls(caser, "F", 1, HYBRID)])
    one = controls(caser, "F", 2)["lists of popular items"]
    place = project / "data/replicated" / f"{one.label}-{one.key}"
    place.mkdir(parents=True)
    (place / "description.json").write_text(json.dumps(one.description))
    shown, seeds = controls_on_record()
    assert shown == POSITION and seeds == [controls(caser, "F", seed) for seed in (1, 2, 3, 4, 5)]


def test_the_controls_on_record_are_found_at_the_revision_they_have():
    """Committed, Caser, seed 1, hybrid weights: revision 1, until all of that protocol are at revision 2."""
    roles = [made.description["role"] for made in control_records() if made.description["seed"] == 1]
    assert {"S-negatives", "RD-hybrid-random", "RD-hybrid-popular", "RD-hybrid-student"} <= set(roles)


def test_a_record_of_an_earlier_revision_stands_for_the_planned_run(tmp_path: Path):
    """Caser's are read at revision 1 until a protocol is there at revision 2: under another key than the plan has."""
    caser = PROFILES["paper"].rd[0]
    plan, base = controls(caser, "F", 1), np.linspace(0.1, 0.3, USERS)
    made = {plan[name].key: record(tmp_path, as_before(plan[name]), {50: 0.1}, base + gain)
            for name, gain in {"S": 0, TAUGHT: 0.02}.items()}  # fmt: skip
    rows = reports.controls([plan], made)[0].set_index("control")
    assert rows.loc[TAUGHT, "MAP - S"] == pytest.approx(0.02) and rows.loc[TAUGHT, "key"] == as_before(plan[TAUGHT]).key
    assert rows.loc["T", "key"] == plan["T"].key, "what was not run has the key that makes it"
    sweep = {"K": {"10": {POSITION: caser.distilled("V", 101, "RD-position")}}}
    run = sweep["K"]["10"][POSITION]
    table = reports.table([sweep], {run.key: record(tmp_path, as_before(run), {50: 0.2})})
    assert table.loc[0, ["MAP", "key"]].tolist() == [0.2, as_before(run).key]


def test_a_control_as_good_as_rd_leaves_nothing_to_the_teacher(tmp_path: Path):
    frame, _ = judged_controls(tmp_path, GAINS | {"lists of another student": 0.03})
    assert reports.attribution(frame.assign(seeds=3)).endswith(
        "0% of the gain needs the teacher, and the interval leaves open that nothing does."
    )


def test_no_gain_is_attributed_where_there_is_none(tmp_path: Path):
    frame, _ = judged_controls(tmp_path / "unsure", GAINS, jitter=1.0)
    assert "The interval includes 0: there is no gain that could be attributed" in reports.attribution(frame)
    assert frame["share of RD - S"].isna().all()
    frame, _ = judged_controls(tmp_path / "worse", GAINS | {TAUGHT: -0.02})
    assert "RD is worse than S" in reports.attribution(frame)
    frame, _ = judged_controls(tmp_path / "alone", {"S": 0, TAUGHT: 0.02})
    assert reports.attribution(frame).endswith("No control is on record: what the teacher has to do with it cannot be said.")


# ------------------------------------------------------------------------------------------- killed, and two at once

# Other processes are forked from a server that has imported torch once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["studies.rd.ablations", "rdcore.store.runs", "pytest", "matplotlib.pyplot", "torch._dynamo"])


def small_sweep() -> list:
    """Five runs of a second in all: T, S, RD, and RD with two other K."""
    profile = replace(
        varied(PROFILES["smoke"].rd[1], start_epoch=2), training=Training(epochs=3, batch_size=512), evaluate_every=1,
    )  # fmt: skip
    grid = Grid(K=(2, 3), lam=(1,), mu=(0.1,), loss_weights=(1,), dims=(2,), shares=(1,), samples=(20,), start_epochs=(1,))
    planned = sweeps(profile, "V", 101, grid)
    return unique(points({name: planned[name] for name in ("K", "share of data")}))


def sweep_in_another_process(store: Path, slowly: bool, report: Path) -> None:
    """What a child does: it runs the sweep and writes down how often it trained which run."""
    os.environ["RDCORE_RUNS"] = str(store)
    encode, train, trained = Fossil.encode, runner._train, []

    def slow_encode(self, queries):
        time.sleep(0.02 * self.training)
        return encode(self, queries)

    def counted(experiment, *arguments):
        trained.append(experiment.key)
        train(experiment, *arguments)

    Fossil.encode, runner._train = slow_encode if slowly else encode, counted
    runs.load_or_train_all(small_sweep())
    report.write_text(json.dumps(trained))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RDCORE_RUNS", str(store))
        runs.load_or_train_all(small_sweep())
    return store


def assert_complete(store: Path, undisturbed: Path) -> None:
    """Every run of the sweep, each once, with the numbers of the undisturbed one."""
    wanted = {run.key for run in small_sweep()}
    assert {folder.name for folder in store.iterdir() if folder.is_dir()} == wanted
    for key in wanted:
        assert (store / key / "DONE").exists() and not (store / key / "checkpoint.pt").exists()
        for name in ("description.json", "metrics.json"):
            assert (store / key / name).read_bytes() == (undisturbed / key / name).read_bytes()


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_goes_on_and_trains_nothing_twice(tmp_path, undisturbed, monkeypatch):
    store = tmp_path / "runs"
    process = PROCESSES.Process(target=sweep_in_another_process, args=(store, True, tmp_path / "report"))
    process.start()
    # Two done, a third begun (a finished one has a checkpoint for another moment).
    def begun() -> bool:
        return any(not file.with_name("DONE").exists() for file in store.glob("*/checkpoint.pt"))

    kill_when(process, lambda: len(list(store.glob("*/DONE"))) >= 2 and begun())
    done = {file.parent.name: file.stat().st_mtime_ns for file in store.glob("*/DONE")}
    assert 2 <= len(done) < len(small_sweep())

    monkeypatch.setenv("RDCORE_RUNS", str(store))
    trained, train = [], runner._train
    monkeypatch.setattr(runner, "_train", lambda run, *rest: (trained.append(run.key), train(run, *rest)))
    found = runs.load_or_train_all(small_sweep())
    assert sorted(trained) == sorted({run.key for run in small_sweep()} - set(done)), "each that was missing, once"
    assert {key: (store / key / "DONE").stat().st_mtime_ns for key in done} == done, "what was finished was left alone"
    assert max(run.environment["resumed"] for run in found) == 1, "the one that was interrupted went on from its checkpoint"
    assert_complete(store, undisturbed)


@pytest.mark.slow
def test_two_sweeps_at_once_on_one_store_lose_and_double_nothing(tmp_path, undisturbed):
    store, told = tmp_path / "runs", [tmp_path / "one", tmp_path / "two"]
    both = [PROCESSES.Process(target=sweep_in_another_process, args=(store, True, each)) for each in told]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    trained = [key for each in told for key in json.loads(each.read_text())]
    assert sorted(trained) == sorted(run.key for run in small_sweep())
    assert_complete(store, undisturbed)


def test_what_the_notebook_shows_of_the_paper_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No record at all: nothing is trained, and every run is None."""
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setattr(runs, "load_or_train_all", lambda *_, **__: pytest.fail("it began to train"))
    plan = unique([*sweep_runs(PAPER), *control_runs(PAPER)])
    assert runs.records(plan, profile="paper", optional=True) == [None] * len(plan)
    assert SWEEPS.keys() == PROFILES.keys()


def test_a_committed_record_says_its_own_groups_of_items(tmp_path: Path) -> None:
    """Also where the run is one of those that a notebook describes: a record without weights cannot be asked for scores."""
    run = PROFILES["paper"].rd[0].student("F", 1)
    counts = ("least", "most", "items", "interactions", "held_out", "found")
    kept = {"n": 2, "recall": [0.1, 0.2]} | {name: [1, 2] for name in counts}
    of_record = record(tmp_path, run, {50: 0.1}, groups=kept)
    assert page.popularity_groups({run.key: run}, 2)(of_record) == kept
