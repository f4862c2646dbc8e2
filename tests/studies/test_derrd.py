"""DE-RRD's plans: what is owed and in which order, what chooses a weight; and its tables from made-up records."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rdcore.distill import DESettings
from rdcore.distill.de import Experts
from rdcore.eval import metrics
from rdcore.files import paths
from rdcore.store import runs
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies import plans
from studies.common import report, selection
from studies.common.plan import at_border, chosen_weights, weights_on_file
from studies.common.profiles import BPR, PROFILES, neumf
from studies.common.report import COLUMNS
from studies.common.reported import reported
from studies.derrd import claims as derrd_claims
from studies.derrd import plan as derrd
from studies.derrd import plots as derrd_plots
from studies.derrd import study as derrd_study
from studies.derrd import tables as derrd_report
from studies.notebooks import page
from studies.rd import plan as rd
from studies.rd import study as rd_study
from studies.scorecard import scorecard

PAPER = PROFILES["paper"].derrd[0]
SMOKE = PROFILES["smoke"].derrd[0]
N = metrics.CUTOFFS_OF_ONE
NAMES = [f"{metric}@{n}{kind}" for metric in "HMN" for n in N for kind in ("", "-validation", "-redraw", "-full")]


def made_up(folder: Path, run: Experiment, curve=((1, 0.1),), ranks=None, device="cpu", **chosen) -> Record:
    """A record of stage L, made on ``device``. curve: (epoch, value of every metric) or (epoch, {metric: value}); the chosen
    epoch is the last of them and has ``chosen`` besides; ranks: of every user's test item."""
    target = folder / f"{run.label}-{run.key}"
    target.mkdir(parents=True)
    entries = [{"epoch": epoch} | (of if isinstance(of, dict) else dict.fromkeys(NAMES, of)) for epoch, of in curve]
    contents = {
        "description": run.description,
        "metrics": entries,
        "history": [{"epoch": entry["epoch"], "loss": 1.0, "seconds": float(place)} for place, entry in enumerate(entries, 1)],
        "chosen": entries[-1] | chosen,
        "environment": {"python": "3", "versions": {"torch": "2"}, "machine": "", "device": device, "threads": 1, "commit": "",
                        "finished": "", "seconds": 3.0, "resumed": 0},
    }  # fmt: skip
    for name, content in contents.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    if ranks is not None:
        frame = pd.DataFrame({f"rank{kind}": ranks for kind in ("", "-redraw", "-full")}).astype("float32")
        frame.to_parquet(target / f"per_user-{entries[-1]['epoch']:03d}.parquet", index=False)
    return Record(target)


def line(table: pd.DataFrame, role: str, metric: str, protocol: str, dataset="citeulike", model="BPR") -> pd.Series:
    found = table[(table[COLUMNS[:5]] == [dataset, model, role, metric, protocol]).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


# ------------------------------------------------------------------------------------------------------------------- plans


def test_the_runs_of_table_2_stand_in_the_order_they_are_owed() -> None:
    plan = derrd.runs_of(PAPER, {"RD": 0.3})
    said = [f"{run.role}{run.seed}" for run in plan]
    trials = ["RD1"] * 4 + ["CD1"] * 5 + ["CD-all1"] * 5
    assert said[:17] == ["T1", "S1", *trials, "RRD1"]
    later = [f"{role}{seed}" for seed in (2, 3, 4, 5) for role in ("T", "S", "RD", "RRD")]
    assert said[17:33] == later, "CD has no weight yet"
    assert said[33:] == [f"{role}{seed}" for seed in (1, 2, 3, 4, 5) for role in ("DE", "DE-RRD")]
    assert len({run.key for run in plan}) == len(plan)
    for run in plan:
        assert run.stage == "L" and run.evaluate_every == 1
        if run.teacher is not None:
            assert run.teacher == PAPER.teacher("L", run.seed) and run.teacher_epoch == "best"
    assert {run.distillation.weight for run in plan if run.role == "RD" and run.seed > 1} == {0.3}


def test_the_official_settings_are_the_papers() -> None:
    """From the released code: run.py's defaults, and the printed sizes 200 and 20."""
    training, de, rrd = PAPER.training, PAPER.methods["DE"], PAPER.methods["RRD"]
    assert (training.epochs, training.batch_size, training.patience, training.reduction) == (1000, 1024, 20, "sum")
    assert (training.learning_rate, training.weight_decay, training.negatives) == (1e-3, 1e-3, 1)
    assert (de.M, de.weight, rrd.K, rrd.L, rrd.T, rrd.depth, rrd.weight) == (30, 0.01, 40, 40, 10, 500, 1e-3)
    assert [PAPER.models[role].dim for role in "TS"] == [200, 20] and list(PAPER.table_seeds) == [1, 2, 3, 4, 5]


def test_the_trial_with_the_chosen_weight_is_the_row_of_the_first_seed() -> None:
    chosen = {"RD": 1.0, "CD": 0.1}
    rows = derrd.table_runs(PAPER, chosen)
    for role, weight in chosen.items():
        of_role = [run for run in rows if run.role == role]
        assert [run.seed for run in of_role] == [1, 2, 3, 4, 5] and of_role[0] == PAPER.trials()[role][weight]
        assert {run.distillation for run in of_role} == {of_role[0].distillation}
    assert {run.role for run in derrd.table_runs(PAPER, {})} == {"T", "S", "DE", "RRD", "DE-RRD"}, "nothing is guessed"


@pytest.mark.parametrize("name", PROFILES)
def test_every_run_of_a_profile_is_described_once_and_every_table_finds_its_own(name: str) -> None:
    plan, planned = PROFILES[name].derrd[0], derrd.all_runs(name)
    keys = [run.key for run in planned]
    assert len(set(keys)) == len(keys)
    grid = derrd.weight_grid(plan)
    assert {run.key for run in derrd.sweep_runs(plan)} <= set(keys) and derrd.popularity(plan).key in keys
    own = plan.distilled("L", plan.table_seeds[0], "DE-RRD")
    assert grid[plan.methods["DE"].weight, plan.methods["RRD"].weight].key == own.key, "one run, two tables"
    sizes = derrd.size_sweep(plan)
    assert sizes[plan.models["S"].dim]["S"] == plan.student("L", plan.table_seeds[0])
    assert sizes[plan.models["S"].dim]["DE-RRD"] == plan.distilled("L", plan.table_seeds[0], "DE-RRD")
    same = plan.models["T"].dim
    if same in sizes:
        assert sizes[same]["S"] == plan.teacher("L", plan.table_seeds[0])
    assert {run.teacher.key for run in planned if run.teacher} <= set(keys)


def test_cd_as_published_stands_beside_the_other_and_nowhere_else() -> None:
    everything, usual = PAPER.methods["CD-all"], PAPER.methods["CD"]
    assert everything == replace(usual, depth=None) and PAPER.grids["CD-all"] == PAPER.grids["CD"], "as many trials"
    others = [*PROFILES["paper"].derrd[1:], *PROFILES["paper"].one_protocol]
    assert all("CD-all" not in {*plan.methods, *plan.grids} for plan in others)
    assert {len(plan.table_seeds) for plan in PROFILES["paper"].one_protocol} == {3}, "the comparison keeps its seeds"
    assert list(neumf(PAPER).grids) == ["RD", "CD"]


def test_table_4_has_three_seeds() -> None:
    planned = derrd.all_designs(PAPER)
    assert sorted({run.seed for run in planned.values()}) == [1, 2, 3] and len(planned) == 18
    assert {run.key for run in planned.values()} <= {run.key for run in derrd.sweep_runs(PAPER)}
    assert list(derrd.all_designs(SMOKE).values()) == list(derrd.designs(SMOKE).values()), "as many as there are"


def test_one_large_expert_has_the_parameters_of_all() -> None:
    """30 experts 20 -> 110 -> 200 are 30 (20 110 + 110 + 110 200 + 200) = 735,300 numbers, half of the 1,470,600 that the
    released code prints for users and items; one with h hidden units has 221 h + 200."""
    large = derrd.one_large(DESettings(), 20, 200)
    assert (large.M, large.hidden) == (1, 3326) and large.weight == DESettings().weight
    for settings, s, t in ((DESettings(M=3), 4, 16), (DESettings(M=7), 10, 10), (DESettings(M=5, hidden=9), 3, 8)):
        alone, together = (
            sum(p.numel() for name, p in Experts(s, t, given).named_parameters() if not name.startswith("select"))
            for given in (derrd.one_large(settings, s, t), settings)
        )
        assert abs(alone - together) <= (s + t + 1) / 2


def test_neumf_has_the_papers_sizes() -> None:
    """250, 125 and 25 give the six printed counts of Table 3, those of CiteULike with 5,220 users and 25,182 items."""
    plan = neumf(PAPER)
    assert [plan.models[role].dim for role in "TS"] == [250, 25] and list(plan.sweeps["dims"]) == [25, 125, 250]
    sweep = {size: pair["DE-RRD"] for size, pair in derrd.size_sweep(plan).items()}
    counted = {size: derrd_report.parameters(run, 5220, 25182) for size, run in sweep.items()}
    assert counted == {250: 15_326_751, 125: 7_632_126, 25: 1_521_426}
    large = derrd.designs(plan)["DE-large"].distillation
    assert large.hidden == derrd.one_large(plan.methods["DE"], 50, 500).hidden, "both vectors of a user are distilled"


def test_neumf_has_the_weights_that_are_best_in_the_paper() -> None:
    """By H@5 in Table 5, which stands in data/reported; no other pair of the grid is as good."""
    table = reported("derrd_table5").query("model == 'NeuMF' and metric == 'H@5'").sort_values("value")
    assert len(table) == 16 and table["value"].iloc[-2] < table["value"].iloc[-1]
    best = table.iloc[-1]
    for plan in (neumf(PAPER), neumf(BPR["small"])):
        weights = [plan.methods[role].weight for role in ("DE", "RRD")]
        assert weights == [best["lambda_de"], best["lambda_rrd"]] == [1e-4, 1e-1]
    assert (PAPER.methods["DE"].weight, PAPER.methods["RRD"].weight) == (1e-2, 1e-3), "BPR's are the released code's"


# ----------------------------------------------------------------------------------------------------------------- weights


def trial_records(folder: Path, values: dict, **more) -> list[Record]:
    trials = SMOKE.trials()
    return [
        made_up(folder, trials[role][weight], **{"H@5-validation": value}, **more)
        for role, tried in values.items()
        for weight, value in tried.items()
    ]


def test_weights_are_the_best_on_validation_the_smaller_of_equals(tmp_path: Path) -> None:
    records = trial_records(tmp_path, {"RD": {0.1: 0.2, 1.0: 0.2}, "CD": {0.1: 0.2, 1.0: 0.3}})
    assert chosen_weights(SMOKE, records) == chosen_weights(SMOKE, records[::-1]) == {"RD": 0.1, "CD": 1.0}
    assert chosen_weights(SMOKE, []) == {}
    table = derrd_report.trial_table(SMOKE, records)
    assert table["chosen"].tolist() == [True, False, False, True]
    assert at_border(PAPER, {"RD": 0.3, "CD": 3.0}) == ["CD"] and at_border(PAPER, {"RD": 0.03}) == ["RD"]


def test_a_test_item_never_chooses_a_weight(tmp_path: Path) -> None:
    """Every metric but H@5-validation, all those of the test items among them, says the other weight."""
    best, other = (made_up(tmp_path / str(value), SMOKE.trials()["RD"][weight], ((1, value),), **{"H@5-validation": judged})
                   for weight, value, judged in ((0.1, 0.1, 0.51), (1.0, 0.9, 0.50)))  # fmt: skip
    assert chosen_weights(SMOKE, [best, other]) == {"RD": 0.1}


def test_a_role_with_a_trial_missing_or_of_other_settings_has_no_choice(tmp_path: Path) -> None:
    one, other = SMOKE.trials()["RD"].values()
    settings = replace(other.distillation, K=4)
    wrong = (replace(other, seed=2), replace(other, distillation=settings))
    for number, changed in enumerate(wrong):
        folder = tmp_path / str(number)
        values = {"H@5-validation": 0.9}
        assert chosen_weights(SMOKE, [made_up(folder, one, **values), made_up(folder, changed, **values)]) == {}


def test_on_file_a_role_is_chosen_when_all_its_trials_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    trial_records(tmp_path, {"RD": {0.1: 0.2, 1.0: 0.4}, "CD": {1.0: 0.3}})
    assert weights_on_file(SMOKE) == {"RD": 1.0}


# -------------------------------------------------------------------------------------------------------------- other plans


def test_the_tables_of_rd_and_its_choices_never_see_a_run_of_stage_l(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    ours = derrd.all_runs("paper")
    records = [made_up(tmp_path, run) for run in ours[:4]]
    assert {run.key for run in ours} <= {run.key for run in plans.all_runs("paper")}
    assert not {run.key for run in ours} & {run.key for run in rd.table_runs("paper", {})}
    assert rd_study.paper_records() == [] and rd.choose() == {}
    assert report.at_epochs(records, {"BPR T": 1, "BPR S": 1}) == []
    family = PROFILES["paper"].rd[0]
    assert selection.select({"T": family.teacher("V", 101)}, [101], records) == {}


def test_rdcore_train_finds_them_and_tells_them_apart() -> None:
    found = plans.matching("paper", "citeulike-L-BPR-RD-d20-seed1")  # of the other seeds the chosen weight alone
    assert [run.distillation.weight for run in found] == [0.03, 0.1, 0.3, 1.0]
    assert len({plans.title(run).split("  ", 2)[2] for run in found}) == 4
    (both,) = plans.matching("paper", PAPER.distilled("L", 1, "DE-RRD").key)
    assert plans.title(both).endswith("weight 0.01 and 0.001")


def test_a_student_is_published_beside_the_teacher_of_his_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(runs, "stored", lambda run: run)
    monkeypatch.setattr(runs, "other_numbers", lambda run: False)
    monkeypatch.setattr(runs, "publish", lambda run, epochs, teacher, replace: asked.update({run.role: (epochs, teacher)}))
    plans.publish([PAPER.teacher("L", 2), PAPER.student("L", 2), PAPER.distilled("L", 2, "RRD")], {})
    assert asked == {"T": ([], None), "S": ([], PAPER.teacher("L", 2)), "RRD": ([], None)}


# ------------------------------------------------------------------------------------------------------------------ tables


def test_table_2_by_hand(tmp_path: Path) -> None:
    values = {1: 0.44, 2: 0.46, 3: 0.47}
    records = [made_up(tmp_path, PAPER.student("L", seed), ((1, 0.9), (2, value))) for seed, value in values.items()]
    table = derrd_report.derrd_table2(records)
    assert list(table.columns) == COLUMNS
    row = line(table, "S", "H@5", "validation")
    mean = (0.44 + 0.46 + 0.47) / 3
    assert (row["reported"], row["seeds"]) == (0.4441, 3) and row["replicated"] == pytest.approx(mean)
    assert row["std"] == pytest.approx(np.std(list(values.values()), ddof=1))
    assert row["difference"] == pytest.approx(mean / 0.4441 - 1)
    four = line(table, "DE-RRD", "N@10", "validation", "foursquare", "NeuMF")
    assert four["reported"] == 0.4139 and four[["replicated", "std", "seeds", "difference"]].isna().all()
    validation = table[table["protocol"] == "validation"]
    assert validation["reported"].notna().sum() == len(reported("derrd_table2")) == 252, "every number of the paper, once"
    assert table["role"].drop_duplicates().tolist() == [role for role in derrd_report.ROLES if role != "CD-all"]
    assert table["metric"].drop_duplicates().tolist() == derrd_report.METRICS
    shown = report.wide(table)
    assert list(shown.columns[-9:]) == derrd_report.METRICS and "ours, 3 seeds" in set(shown[""])


def test_data_the_paper_does_not_have_leave_its_rows_out(tmp_path: Path) -> None:
    table = derrd_report.derrd_table2([made_up(tmp_path, SMOKE.student("L", 1)), made_up(tmp_path, derrd.popularity(SMOKE))])
    assert set(table["dataset"]) == {"synthetic"} and table["reported"].isna().all()
    assert table["model"].drop_duplicates().tolist() == ["BPR", "POP"]


def test_two_trials_are_never_one_row(tmp_path: Path) -> None:
    records = [made_up(tmp_path, run) for run in SMOKE.trials()["RD"].values()]
    with pytest.raises(ValueError, match=f"{records[0].key} and {records[1].key} are both seed 1 of RD on synthetic"):
        derrd_report.derrd_table2(records)


def test_code_takes_every_n_at_its_own_best_epoch(tmp_path: Path) -> None:
    """Against a loop as in the released code: a strictly better H@N of the validation items takes over all three."""
    rng = np.random.default_rng(0)
    curve = [(epoch, dict(zip(NAMES, rng.integers(1, 6, len(NAMES)) / 10, strict=True))) for epoch in range(1, 13)]
    record = made_up(tmp_path, PAPER.student("L", 1), curve)
    best = {n: {"H-validation": -1.0} for n in N}
    for epoch, entry in curve:
        for n in N:
            if entry[f"H@{n}-validation"] > best[n]["H-validation"]:
                best[n] = {"H-validation": entry[f"H@{n}-validation"], "epoch": epoch, **{m: entry[f"{m}@{n}"] for m in "HMN"}}
    assert len({found["epoch"] for found in best.values()}) > 1, "else this shows nothing"
    table = derrd_report.derrd_table2([record])
    for n, found in best.items():
        for metric in "HMN":
            assert line(table, "S", f"{metric}@{n}", "code")["replicated"] == pytest.approx(found[metric])
            assert line(table, "S", f"{metric}@{n}", "validation")["replicated"] == pytest.approx(curve[-1][1][f"{metric}@{n}"])
    logs = derrd_report.derrd_logs([record])
    for n, found in best.items():
        assert line(logs, "S", f"epoch@{n}", "code")["replicated"] == found["epoch"]
    assert line(logs, "S", "epochs", "code")[["reported", "replicated"]].tolist() == [397, 12]
    assert line(logs, "S", "seconds_per_epoch", "code")["replicated"] == 6.5, "the median of 1 to 12"


def test_the_logs_stand_against_the_student_and_the_methods_alone(tmp_path: Path) -> None:
    records = [made_up(tmp_path, run) for run in (PAPER.teacher("L", 1), PAPER.student("L", 1), derrd.popularity(PAPER))]
    logs = derrd_report.derrd_logs(records)
    assert set(logs["role"]) == {"S", "DE", "RRD", "IR-RRD"} and set(logs["protocol"]) == {"code"}
    assert line(logs, "S", "H@5", "code")["difference"] == pytest.approx(0.1 / 0.4486 - 1)


def test_seconds_of_another_device_than_the_students_are_left_out(tmp_path: Path) -> None:
    records = [made_up(tmp_path, run, device="a GPU") for run in (PAPER.student("L", 1), PAPER.distilled("L", 1, "DE"))]
    records.append(made_up(tmp_path, PAPER.distilled("L", 1, "RRD"), device="cpu"))
    logs = derrd_report.derrd_logs(records).query("metric == 'seconds_per_epoch'").set_index("role")["replicated"]
    assert logs["S"] == logs["DE"] == 1.0 and "RRD" not in logs.dropna()
    assert line(derrd_report.derrd_logs(records), "RRD", "H@5", "code")["replicated"] == 0.1


def test_where_the_students_ran_on_two_devices_the_one_of_most_counts(tmp_path: Path) -> None:
    devices = {1: "cpu", 2: "a GPU", 3: "a GPU"}
    made = [made_up(tmp_path, PAPER.student("L", seed), device=device) for seed, device in devices.items()]
    assert derrd_report.students_device(made) == "a GPU" and derrd_report.students_device(made[:2]) == "a GPU"
    assert derrd_report.students_device(made[:1]) == "cpu" and derrd_report.students_device([]) == ""
    logs = derrd_report.derrd_logs([*made, made_up(tmp_path, PAPER.distilled("L", 1, "DE"))])
    names = report.wide(logs).set_index("role")[""]
    assert "ours, 3 seeds, seconds_per_epoch of 2" in set(names["S"]), "not those of all three"
    assert logs.query("metric == 'seconds_per_epoch' and role == 'DE'")["replicated"].isna().all()


def test_table_3_counts_to_the_digit_and_forms_no_ratio_of_times(tmp_path: Path) -> None:
    run = PAPER.distilled("L", 1, "DE-RRD")
    record = made_up(tmp_path, run, ((1, 0.3), (2, 0.4)))
    teacher = made_up(tmp_path, PAPER.teacher("L", 1), ((1, 0.5),))
    table = derrd_report.derrd_table3(PAPER, {20: record}, teacher, (5220, 25182)).set_index(["phi", "quantity"])
    assert table.loc[(0.1, "parameters"), "replicated"] == 608_040, "as the released code prints"
    assert table.loc[(1.0, "parameters"), "replicated"] == 6_080_400
    assert table.loc[(1.0, "parameters"), "difference"] == pytest.approx(6_080_400 / 6_080_000 - 1)
    assert table.loc[(0.1, "H@5_ratio"), ["reported", "replicated"]].tolist() == [0.94, pytest.approx(0.8)]
    theirs, ours = table.loc[(0.1, "seconds")], table.loc[(0.1, "seconds_per_epoch")]
    assert theirs["reported"] == 55.39 and ours["replicated"] == 1.5
    assert np.isnan([theirs["replicated"], ours["reported"], theirs["difference"], ours["difference"]]).all()
    assert np.isnan(table.loc[(0.5, "seconds_per_epoch"), "replicated"]), "not run"
    unknown = derrd_report.derrd_table3(PAPER, {20: record}, None, None)
    assert unknown["replicated"].notna().sum() == 1, "the time alone"
    (record.folder / "size.json").write_text(json.dumps({"parameters": 7}))
    assert 7 in derrd_report.derrd_table3(PAPER, {20: record}, None, None)["replicated"].tolist()


def test_tables_4_and_5_take_their_own_runs(tmp_path: Path) -> None:
    designs = [made_up(tmp_path, run, ((1, 0.1 * place),)) for place, run in enumerate(derrd.designs(PAPER).values(), 1)]
    table = derrd_report.derrd_table4([*designs, made_up(tmp_path, PAPER.teacher("L", 1))])
    assert set(table["metric"]) == {"H@5", "N@5", "H@10", "N@10"} and "T" not in set(table["role"])
    assert line(table, "DE-large", "H@5", "validation")["replicated"] == pytest.approx(0.2)
    assert line(table, "RRD-full", "H@10", "validation", "foursquare")["reported"] == 0.6474
    grid = derrd.weight_grid(PAPER)
    pair = (1e-1, 1e-4)
    record = made_up(tmp_path, grid[pair], ((1, 0.3),), **{"H@5-validation": 0.2})
    fifth = derrd_report.derrd_table5(PAPER, {pair: record}).set_index(["lambda_de", "lambda_rrd"])
    assert len(fifth) == 16 and fifth.loc[pair, ["H@5", "H@5-validation"]].tolist() == [0.3, 0.2]
    assert fifth["H@5"].notna().sum() == 1 and fifth["reported"].isna().all(), "the paper's are of Foursquare"
    elsewhere = derrd_report.derrd_table5(replace(PAPER, dataset="foursquare"), {}).set_index(["lambda_de", "lambda_rrd"])
    assert elsewhere.loc[(1e-1, 1e-4), "reported"] == 0.5269 and elsewhere.loc[(1e-4, 1e-1), "reported"] == 0.3901


# ------------------------------------------------------------------------------------------------------- sampled, significance


def test_the_order_of_roles_under_other_rankings(tmp_path: Path) -> None:
    by_role = {"T": (0.5, 0.5, 0.20), "S": (0.3, 0.4, 0.10), "RRD": (0.4, 0.3, 0.15)}
    runs_of = {"T": PAPER.teacher("L", 1), "S": PAPER.student("L", 1), "RRD": PAPER.distilled("L", 1, "RRD")}
    records = [made_up(tmp_path, runs_of[role], ((1, one),), **{"H@10": one, "H@10-redraw": two, "H@10-full": full})
               for role, (one, two, full) in by_role.items()]  # fmt: skip
    records.append(made_up(tmp_path, PAPER.teacher("L", 2), ((1, 0.7),)))
    table = derrd_report.rankings(records, "H@10")
    assert table.loc["T", "sampled"] == 0.5, "a seed that T alone has is left out"
    alone = derrd_report.rankings([records[0], records[3]], "H@10")
    assert alone.loc["T", "sampled"] == pytest.approx(0.6), "the mean over seeds"
    assert table["place, drawn again"].to_dict() == {"T": 1, "S": 2, "RRD": 3}
    changes = derrd_report.order_changes(table).set_index("compared with")
    assert changes.loc["drawn again", ["turned", "pairs turned"]].tolist() == [1, "S and RRD"]
    assert changes.loc["drawn again", "tau"] == pytest.approx(1 / 3), "of three pairs two agree: (2 - 1) / 3"
    assert changes.loc["all items", ["turned", "tau"]].tolist() == [0, 1]
    assert changes.loc["drawn again", "largest change"] == pytest.approx(0.1)


def test_users_are_paired_by_the_ranks_of_their_items(tmp_path: Path) -> None:
    ranks = {"S": [1, 6, 30, np.nan, 3], "RRD": [2, 5, 30, np.nan, 3]}
    of_role = {"S": (PAPER.student("L", 1), PAPER.student("L", 2)), "RRD": (PAPER.distilled("L", 1, "RRD"),)}
    records = [made_up(tmp_path, run, ranks=ranks[role]) for role, of in of_role.items() for run in of]
    c = derrd_report.compared(records, "RRD", "S", "H@5")
    assert (c.n_seeds, c.n_users, c.difference) == (1, 4, pytest.approx(0.25)), "one of four users gains a hit"
    n10 = derrd_report.compared(records, "RRD", "S")
    assert n10.difference == pytest.approx((1 / np.log2(3) - 1 + 1 / np.log2(6) - 1 / np.log2(7)) / 4)
    assert derrd_report.compared(records, "DE", "S") is None
    table, first = derrd_report.against_student(records)
    assert table[["what", "metric", "ranked among"]].to_numpy().tolist() == [
        ["RRD - S", "H@5", "sampled"], ["RRD - S", "N@10", "sampled"], ["RRD - S", "N@10", "all items"],
    ]  # fmt: skip
    assert first["RRD"].difference == c.difference


def test_each_ranking_has_ranks_of_its_own(tmp_path: Path) -> None:
    """Of 16 users S has 8 hits among the pinned items, 4 among others and 2 among all; RRD has 12, 8 and 3."""
    hits, records = {"S": (8, 4, 2), "RRD": (12, 8, 3)}, []
    for role, run in (("S", PAPER.student("L", 1)), ("RRD", PAPER.distilled("L", 1, "RRD"))):
        record = made_up(tmp_path, run)
        ranks = {f"rank{kind}": np.where(np.arange(16) < n, 5.0, 6.0)
                 for kind, n in zip(("", "-redraw", "-full"), hits[role], strict=True)}  # fmt: skip
        pd.DataFrame(ranks).to_parquet(record.folder / "per_user-001.parquet", index=False)
        records.append(record)
    for kind, gain in (("", 4), ("-redraw", 4), ("-full", 1)):
        assert derrd_report.compared(records, "RRD", "S", "H@5", kind).difference == pytest.approx(gain / 16)
    table, first = derrd_report.against_student(records)
    of_n10 = table.set_index(["metric", "ranked among"]).loc["N@10"]
    gains = {name: derrd_report.compared(records, "RRD", "S", "N@10", kind) for name, kind in
             (("sampled", ""), ("all items", "-full"))}  # fmt: skip
    assert gains["sampled"].difference > gains["all items"].difference > 0
    for name, c in gains.items():
        shown = ["difference", "low", "high", "effect_size", "seeds", "users"]
        assert of_n10.loc[name, shown].tolist() == [c.difference, c.low, c.high, c.effect_size, 1, 16]


def test_without_a_common_seed_every_seed_counts(tmp_path: Path) -> None:
    records = [made_up(tmp_path, PAPER.teacher("L", 1)), made_up(tmp_path, PAPER.student("L", 2))]
    assert derrd_report.common_seeds(records) == {1, 2}
    assert derrd_report.common_seeds([*records, made_up(tmp_path, PAPER.student("L", 1))]) == {1}


def test_a_real_run_has_what_the_tables_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread) -> None:
    """The smallest one, distilled: from the plan through the loop to every table."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    plan = replace(SMOKE, training=replace(SMOKE.training, epochs=2))
    found = [runs.load_or_train(run) for run in (plan.teacher("L", 1), plan.student("L", 1), plan.distilled("L", 1, "DE-RRD"))]
    assert set(derrd_report.derrd_table2(found)["role"]) == {"T", "S", "DE-RRD"}
    assert derrd_report.derrd_logs(found)["replicated"].notna().all()
    table, _ = derrd_report.against_student(found)
    assert len(table) == 6 and derrd_report.rankings(found, "N@10").notna().all(axis=None)
    with torch.no_grad():
        assert derrd_report.parameters(plan.student("L", 1), 200, 120) == 4 * 320


# --------------------------------------------------------------------------------------------------------------- scorecard


def test_the_scorecard_says_what_the_rows_of_table_2_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 users; S has the test item of every third among the first five, RRD of every second, DE of every fourth. Three
    seeds, so every word is provisional; without RD and CD nothing is said of them."""
    users, records = np.arange(300), []
    for role, every in {"S": 3, "RRD": 2, "DE": 4}.items():
        for seed in (1, 2, 3):
            run = PAPER.student("L", seed) if role == "S" else PAPER.distilled("L", seed, role)
            records.append(made_up(tmp_path, run, ranks=np.where(users % every == 0, 1 + seed, 9)))
    monkeypatch.setattr(derrd, "committed_rows", lambda: records)
    card = scorecard([]).query("notebook == '07_de_rrd'").set_index("claim")
    assert len(card) == 19, "of them NeuMF, Tables 3 to 5 and the figures, which no run speaks about"
    rrd, de = (card.loc[f"{role} ranks better than the student alone: H@5 (BPR, CiteULike)"] for role in ("RRD", "DE"))
    assert (rrd["verdict"], de["verdict"]) == ("provisional confirmed", "provisional contradicted")
    assert de["note"].endswith("; more than 1,000 seeds needed") and "Holm" in de["note"], "300 users"
    assert rrd["ours"] == pytest.approx(1 / 2 - 1 / 3) and de["ours"] == pytest.approx(1 / 4 - 1 / 3)
    assert rrd["reported"] == pytest.approx(0.4622 - 0.4441) and rrd["seeds"] == 3
    rest = card.drop(index=[rrd.name, de.name, "Smaller DE-RRD students have fewer parameters and take less time (Table 3)"])
    assert (rest["verdict"] == "not run").all()
    alone = derrd_report.compared(records, "RRD", "S", "H@5")
    assert rrd["p"] == pytest.approx(11 * alone.p), "Holm over the eleven planned tests, the smallest p"


@pytest.mark.parametrize(("tenths", "verdict"), [((4,), "contradicted"), ((5,), "confirmed"), ((4, 5, 6), "inconclusive")])
def test_the_students_share_of_the_teachers_hits_is_held_against_the_papers(tmp_path: Path, tenths, verdict: str) -> None:
    """Five seeds; the teacher finds the item of five users in ten, the student that of so many."""
    users, records = np.arange(300), []
    for seed in (1, 2, 3, 4, 5):
        for role, n in (("T", 5), ("DE-RRD", tenths[seed % len(tenths)])):
            run = PAPER.teacher("L", seed) if role == "T" else PAPER.distilled("L", seed, role)
            records.append(made_up(tmp_path, run, ranks=np.where((users + seed) % 10 < n, 1, 9)))
    claims = {claim.claim: claim.row() for claim in derrd_claims.claims(records)}
    row = claims["A DE-RRD student of 20 dimensions has at least 94% of its teacher's H@5 (Table 3; BPR, CiteULike)"]
    ours = np.mean([tenths[seed % len(tenths)] for seed in (1, 2, 3, 4, 5)]) / 5
    assert (row["verdict"], row["seeds"], row["reported"]) == (verdict, 5, 0.94) and row["ours"] == pytest.approx(ours)
    assert row["low"] <= row["ours"] <= row["high"]
    assert f"our own teacher has {0.5 / 0.5135:.1%} of the paper's H@5" in row["note"]
    larger = [row for claim, row in claims.items() if claim.startswith(("A DE-RRD student of 100", "A DE-RRD student of 200"))]
    assert [row["verdict"] for row in larger] == ["not run"] * 2, "these are of the student of 20 alone"


def test_five_seeds_of_some_roles_and_three_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 users; every seed of a role hits the test items of another part of them. RD has three seeds, the others five: each
    comparison is over the seeds that both have, and table, picture, sentence and verdict say how many these are."""
    users, seeds, records = np.arange(300), {"T": 5, "S": 5, "RD": 3, "RRD": 5}, []
    for place, (role, n_seeds) in enumerate(seeds.items()):
        for seed in range(1, n_seeds + 1):
            alone = {"T": PAPER.teacher, "S": PAPER.student}
            run = alone[role]("L", seed) if role in alone else PAPER.distilled("L", seed, role)
            hit = users % 30 < {"T": 20, "S": 9, "RD": 12, "RRD": 15}[role] + seed % 2
            value = float(hit.mean())
            records.append(made_up(tmp_path, run, ((1, value),), ranks=np.where(hit, 1 + place, 40), device="cpu"))
    monkeypatch.setattr(derrd, "committed_rows", lambda: records)
    monkeypatch.setattr(derrd_study, "committed_rows", lambda: records)

    _, of_role = derrd_report.against_student(records)
    assert {role: c.n_seeds for role, c in of_role.items()} == {"T": 5, "RD": 3, "RRD": 5}
    assert of_role["RD"].mean_b == pytest.approx(np.mean([10, 9, 10]) / 30), "S of RD's three seeds alone"
    assert derrd_report.common_seeds(records) == {1, 2, 3}
    ranked = derrd_report.rankings(records, "H@5")
    assert ranked.loc["S", "sampled"] == pytest.approx(np.mean([10, 9, 10]) / 30), "roles are ordered within the same seeds"

    (ax,) = derrd_plots.differences(of_role, "H@5").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["T - S (5 seeds)", "RD - S (3 seeds)", "RRD - S (5 seeds)"]
    alike = {role: of_role[role] for role in ("T", "RRD")}
    (ax,) = derrd_plots.differences(alike, "H@5").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["T - S", "RRD - S"]
    assert page.in_words(of_role["RD"], "RD", "S", "H@5", seeds=True).endswith(", 3 seeds.")
    assert page.in_words(of_role["RD"], "RD", "S", "H@5").endswith(f"{of_role['RD'].high:+.4f}.")

    table = derrd_report.derrd_table2(records)
    assert {role: line(table, role, "H@5", "validation")["seeds"] for role in seeds} == seeds
    lines = report.wide(table.query("model == 'BPR' and protocol == 'validation'")).set_index("role")[""]
    assert "ours, 3 seeds" in set(lines["RD"]) and "ours, 5 seeds" in set(lines["RRD"])
    rows_of_page = [row.split("|") for row in derrd_study.results().splitlines() if "BPR-MF, CiteULike: H@5" in row]
    assert {row[2].strip(): row[6].strip() for row in rows_of_page if row[2].strip() in seeds} == {
        role: str(n_seeds) for role, n_seeds in seeds.items()}  # fmt: skip

    card = scorecard([]).query("notebook == '07_de_rrd'").set_index("claim")
    alone, over_rd = (card.loc[f"RRD ranks better than {other}: H@5 (BPR, CiteULike)"] for other in ("the student alone", "RD"))
    assert (alone["seeds"], alone["verdict"]) == (5, "confirmed")
    assert (over_rd["seeds"], over_rd["verdict"]) == (3, "provisional confirmed")
    found = {one.compared: one for one in derrd_study.findings()}
    assert found["RRD - S, BPR-MF"].seeds == 5 and "provisional" not in found["RRD - S, BPR-MF"].verdict


def test_rows_are_those_of_committed_trials_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    values = {0.03: 0.1, 0.1: 0.2, 0.3: 0.4, 1.0: 0.3}
    made = [made_up(tmp_path, PAPER.trials()["RD"][weight], **{"H@5-validation": value}) for weight, value in values.items()]
    other = made_up(tmp_path, PAPER.trials()["CD"][0.1], **{"H@5-validation": 0.9})
    student = made_up(tmp_path, PAPER.student("L", 2))
    assert [record.key for record in derrd.committed_rows()] == [made[2].key, student.key]
    assert other.key not in [record.key for record in derrd.committed_rows()], "the grid of CD is not complete"
