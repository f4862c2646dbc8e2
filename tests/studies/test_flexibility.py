"""Any teacher, any student: planned runs, choices on validation data alone, tables against slow references, pictures."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdcore import data, datasets
from rdcore.data.sampling import stream
from rdcore.models.base import built
from rdcore.store.runs import Record
from rdcore.train.loop import training_data
from studies import plans
from studies.common.verdicts import holm
from studies.flexibility import plan, plots, results, study, tables
from studies.flexibility.matrices import COMPLETE, EVERY_MOMENT, GOWALLA, IN_ORDER, MATRICES, SMOKE, every_moment
from studies.flexibility.plan import V_SEED, Cell, Student
from tests import fabricated

EVERY = [matrix for group in MATRICES.values() for matrix in group]
USERS = 60
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def no_local_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))


# ------------------------------------------------------------------------------------------------------------------- plan


@pytest.mark.parametrize("matrix", EVERY, ids=lambda matrix: matrix.dataset)
def test_a_student_alone_has_as_many_trials_as_a_cell_and_trials_differ_in_one_number(matrix) -> None:
    trials = matrix.trials()
    assert set(trials) == {*matrix.students, *matrix.cells}
    assert {len(tried) for tried in trials.values()} == {2}
    for what, tried in trials.items():
        assert {(run.stage, run.seed) for run in tried.values()} == {("V", V_SEED)}
        for value, run in tried.items():
            if isinstance(what, Cell):
                assert run.distillation.weight == value
                assert run.training == matrix.students[what.student].training, "taught with the decay of factor 1"
            else:
                own = matrix.students[what].training
                assert run.training.weight_decay == pytest.approx(value * own.weight_decay)
                assert replace(run.training, weight_decay=own.weight_decay) == own


@pytest.mark.parametrize("matrix", EVERY, ids=lambda matrix: matrix.dataset)
def test_a_taught_student_is_the_student_alone_and_its_teacher_has_its_seed_or_is_computed(matrix) -> None:
    chosen = {what: next(iter(tried)) for what, tried in matrix.trials().items()}
    for (what, seed), run in matrix.final(chosen).items():
        assert (run.stage, run.seed) == ("F", seed)
        if isinstance(what, Cell):
            alone = matrix.alone(what.student, "F", seed)
            assert (run.model, run.training) == (alone.model, alone.training)
            assert run.teacher == matrix.teaching()[what.teacher, seed] and run.role == f"{what.method}-{what.teacher}"
            assert run.teacher.seed == (1 if matrix.teachers[what.teacher].computed else seed)
            assert run.distillation.exclude == "seen" if what.method == "RD-position" else True
    keys = [run.key for run in matrix.runs(chosen)]
    assert len(set(keys)) == len(keys)


def test_every_named_teacher_meets_every_named_student() -> None:
    for matrix in (COMPLETE, GOWALLA):
        assert list(matrix.teachers) == ["EASE", "ItemCF", "LightGCN", "SASRec", "Fossil", "Caser"]
        assert list(matrix.students) == ["BPR-MF", "Caser", "SASRec"]
        assert len(matrix.cells) == len(set(matrix.cells)) == 6 * 3 * 3


def test_only_a_student_without_memory_asks_a_teacher_with_one_behind_the_last_item() -> None:
    for matrix in (COMPLETE, GOWALLA):
        at = {cell: matrix.taught(cell, "V", V_SEED, 1.0).teacher_at for cell in matrix.cells}
        assert {cell for cell, one in at.items() if one == "last"} == {
            cell for cell in matrix.cells if cell.student == "BPR-MF" and cell.teacher in IN_ORDER}
        control = every_moment(matrix)
        assert control.cells == [cell for cell in matrix.cells if at[cell] == "last"]
        for cell in control.cells:
            asked = control.taught(cell, "V", V_SEED, 1.0)
            assert asked.teacher_at == "query" and replace(asked, teacher_at="last") == matrix.taught(cell, "V", V_SEED, 1.0)


def test_the_small_matrix_is_a_part_of_the_complete_one() -> None:
    (small,) = MATRICES["small"]
    chosen = {what: next(iter(tried)) for what, tried in COMPLETE.trials().items()}
    assert {run.key for run in small.runs(chosen)} < {run.key for run in COMPLETE.runs(chosen)}


def test_teachers_of_other_studies_are_the_same_runs() -> None:
    """Their weights and records serve both."""
    known = {run.key for name in ("rd",) for run in plans.all_runs("paper") if run.role in ("T", "S", "baseline")}
    for name in ("Caser", "Fossil", "ItemCF"):
        assert GOWALLA.teacher(name, "F", 1).key in known


def test_what_the_command_takes_finds_all_runs_but_those_of_other_studies() -> None:
    for matrix in MATRICES["paper"]:
        chosen = {what: next(iter(tried)) for what, tried in matrix.trials().items()}
        patterns = matrix.only.split(",")
        left = [run for run in matrix.runs(chosen) if not any(pattern in run.label for pattern in patterns)]
        assert {(run.role, type(run.model).__name__) for run in left} <= {("T", "CaserSettings"), ("T", "FossilSettings")}


UNEQUAL = [((0.1, 1.0, 10.0), (0.1, 1.0)), ((0.1, 10.0), (0.1, 1.0)), ((1.0, 0.1), (1, 1))]


@pytest.mark.parametrize(("decays", "weights"), UNEQUAL)
def test_unequal_trials_are_refused(decays, weights) -> None:
    own = SMOKE.students["BPR-MF"]
    with pytest.raises(ValueError, match="equally many different trials"):
        Student(model=own.model, training=own.training, weights={"RRD": weights}, decays=decays, seeds=(1,))


def test_every_method_takes_every_teacher_and_every_student() -> None:
    """Also RankDistil from teachers that cannot score single items, and lists of windows for students with a memory."""
    fit = data.stage(datasets.load("synthetic"), "F").fit
    teachers = [one.model.fit(fit) if one.computed else built(one.model, fit) for one in SMOKE.teachers.values()]
    for student in SMOKE.students.values():
        model = built(student.model, fit)
        instances = training_data(fit, model.window, "cpu")
        for teacher in teachers:
            for settings in SMOKE.methods.values():
                method = settings.build(model, teacher)
                method.prepare(teacher, instances)
                method.begin_epoch(model, 1, 1, stream(1, "x"))


# ---------------------------------------------------------------------------------------------------------------- choices


def test_the_best_validation_map_chooses_the_smaller_of_equals(tmp_path: Path) -> None:
    trials = SMOKE.trials()
    better, equal, half = list(SMOKE.cells)[:3]
    made = []
    for what, values in ((better, (0.1, 0.2)), (equal, (0.3, 0.3)), ("BPR-MF", (0.5, 0.4))):
        made += [fabricated.record(tmp_path, run, {1: 0.9, 2: value}) for run, value in
                 zip(trials[what].values(), values, strict=True)]  # fmt: skip
    made.append(fabricated.record(tmp_path, next(iter(trials[half].values())), {2: 0.9}))
    chosen = plan.choose(SMOKE, [*made, None])
    assert chosen == {better: max(trials[better]), equal: min(trials[equal]), "BPR-MF": min(trials["BPR-MF"])}
    table = tables.trial_table(SMOKE, made)
    assert len(table) == 7 and table["chosen"].sum() == 3
    assert table[table["method"] == "alone"]["chosen"].tolist() == [True, False]


def test_no_choice_sees_a_final_run(tmp_path: Path) -> None:
    final = fabricated.record(tmp_path, SMOKE.alone("BPR-MF", "F", 1), {2: 0.5})
    with pytest.raises(ValueError, match="choices are made on stage V alone"):
        plan.choose(SMOKE, [final])


# ----------------------------------------------------------------------------------------------------------------- tables


@pytest.fixture
def final(tmp_path: Path) -> dict[tuple[Cell | str, int], Record]:
    """Final runs of two methods of BPR-MF by two teachers: EASE's students gain, Fossil's lose; one cell lacks seed 2. A user
    has no test item."""
    found = {}
    base = RNG.uniform(0.05, 0.2, USERS)
    base[3] = np.nan
    for seed in (1, 2):
        alone = base + RNG.normal(0, 0.01, USERS)
        run = SMOKE.alone("BPR-MF", "F", seed)
        found["BPR-MF", seed] = fabricated.record(tmp_path, run, {2: float(np.nanmean(alone))}, alone)
        for teacher, shift in (("EASE", 0.04), ("Fossil", -0.04)):
            for method in ("RD-position", "RRD"):
                if (teacher, method, seed) != ("EASE", "RRD", 2):
                    cell = Cell(teacher, "BPR-MF", method)
                    ap = alone + shift + RNG.normal(0, 0.005, USERS)
                    run = SMOKE.taught(cell, "F", seed, 0.1)
                    found[cell, seed] = fabricated.record(tmp_path, run, {2: float(np.nanmean(ap))}, ap)
    return found


@pytest.fixture
def teaching(tmp_path: Path) -> dict[tuple[str, int], Record]:
    made = {}
    for name in ("EASE", "Fossil"):
        for seed in (1, 2):
            run = SMOKE.teacher(name, "F", seed)
            ap, quality = RNG.uniform(0.1, 0.3, USERS), {1: 0.1 * seed, 2: 0.2 * seed}
            made[name, seed] = made.get((name, 1)) if run.seed != seed else fabricated.record(tmp_path, run, quality, ap)
    return made


def test_gains_are_mean_differences_over_the_seeds_that_both_have(final) -> None:
    cell = Cell("EASE", "BPR-MF", "RRD")
    slow = np.nanmean(tables.users(final[cell, 1]) - tables.users(final["BPR-MF", 1]))
    one = tables.gain(final, cell)
    assert one.difference == pytest.approx(slow, abs=1e-9) and one.n_seeds == 1 and one.n_users == USERS - 1
    cell = Cell("EASE", "BPR-MF", "RD-position")
    by_seed = [np.nanmean(tables.users(final[cell, seed]) - tables.users(final["BPR-MF", seed])) for seed in (1, 2)]
    assert tables.gain(final, cell).difference == pytest.approx(np.mean(by_seed), abs=1e-9)
    assert tables.gain(final, Cell("ItemCF", "BPR-MF", "RRD")) is None


def test_the_table_for_programs(final) -> None:
    table = tables.flexibility(SMOKE, final)
    assert list(table.columns) == "dataset,teacher,student,method,metric,gain,low,high,seeds".split(",")
    assert len(table) == 4 * 3 and set(table["metric"]) == {"MAP", "nDCG@10", "P@10"} and set(table["dataset"]) == {"synthetic"}
    assert ((table["low"] < table["gain"]) & (table["gain"] < table["high"])).all()
    seeds = table.set_index(["teacher", "method", "metric"])["seeds"]
    assert seeds["EASE", "RRD", "MAP"] == 1 and seeds["EASE", "RD-position", "MAP"] == 2


def test_counts_and_words_follow_from_the_intervals(final) -> None:
    every = tables.gains(SMOKE, final)
    table = tables.counts(every).set_index("method")
    for method in ("RD-position", "RRD"):
        own = [one for cell, one in every.items() if cell.method == method]
        assert table.loc[method, "above 0"] == sum(one.low > 0 for one in own)
        assert table.loc[method, "below 0"] == sum(one.high < 0 for one in own)
    corrected = holm({cell: one.p for cell, one in every.items()})
    assert table.loc["RD-position", "above 0, Holm"] == int(corrected[Cell("EASE", "BPR-MF", "RD-position")] < 0.05)
    assert table.loc["RD-position", "below 0, Holm"] == int(corrected[Cell("Fossil", "BPR-MF", "RD-position")] < 0.05)
    assert table.loc["RRD", tables.CORRECTED].isna().all(), "one of its cells has one seed, whose interval has no p"
    found = results.Found(matrix=SMOKE, tried=[], chosen={}, final=final, teaching={})
    (sentence,) = results.in_words(found)
    above = sum(one.low > 0 for one in every.values())
    assert f"is clearly better than alone in {above} of 4 cells" in sentence and "about 0.1 of each" in sentence
    helped = {name: [one.low > 0 for cell, one in every.items() if cell.teacher == name] for name in ("EASE", "Fossil")}
    groups = [[name for name, better in helped.items() if which(better)] for which in (any, all)]
    assert sentence.endswith(results.who_helps(list(helped), *groups))
    assert tables.wide(every).loc[0, "EASE"].startswith("+")


@pytest.mark.parametrize(("by_any", "by_all", "said"), [
    ("", "", "No teacher makes it clearly better."),
    ("A", "", "A makes it clearly better by at least one method, but not by every method."),
    ("A", "A", "A makes it clearly better by every method."),
    ("AB", "", "A and B make it clearly better by at least one method, none of them by every method."),
    ("AB", "B", "A and B make it clearly better by at least one method, B by every method."),
    ("ABC", "AC", "A, B and C make it clearly better by at least one method, A and C by every method."),
    ("ABC", "ABC", "A, B and C make it clearly better by every method."),
    ("ABCD", "", "Every teacher makes it clearly better by at least one method, none of them by every method."),
    ("ABCD", "B", "Every teacher makes it clearly better by at least one method, B by every method."),
    ("ABCD", "ABCD", "Every teacher makes it clearly better by every method."),
])  # fmt: skip
def test_which_teachers_help_in_one_sentence(by_any, by_all, said) -> None:
    assert results.who_helps("ABCD", list(by_any), list(by_all)) == said


def test_one_seed_is_held_against_all(final) -> None:
    table = tables.first_seed_and_all(final, tables.gains(SMOKE, final))
    assert len(table) == 3, "of the cell with one seed there is nothing to compare"
    row = table.set_index(["teacher", "method"]).loc[("Fossil", "RRD")]
    cell = Cell("Fossil", "BPR-MF", "RRD")
    of_seeds = [np.nanmean(tables.users(final[cell, seed]) - tables.users(final["BPR-MF", seed])) for seed in (1, 2)]
    assert row["one seed"] == pytest.approx(of_seeds[0]) and row["it says"] == "worse"
    assert row["std of seeds"] == pytest.approx(np.std(of_seeds, ddof=1))
    unsure = {cell: replace(tables.gain(final, cell), low=-1.0, high=1.0)}
    (other,) = tables.first_seed_and_all(final, unsure)[["it says", "they say", "same"]].to_numpy().tolist()
    assert other == ["worse", "open", False]


def test_one_seed_in_words(final) -> None:
    table = tables.first_seed_and_all(final, tables.gains(SMOKE, final))
    said = results.one_seed_in_words(table)
    assert said.startswith(f"In {(table['it says'] != table['they say']).sum()} of 3 cells")
    assert f"deviation of {table['std of seeds'].median():.4f}" in said
    assert f"it calls {(table['it says'] == 'better').sum()} better, they {(table['they say'] == 'better').sum()}." in said
    assert "on record yet" in results.one_seed_in_words(table.iloc[:0])


def test_what_seeds_do_without_a_teacher(final, tmp_path, monkeypatch) -> None:
    quality = {1: 0.10, 2: 0.11, 3: 0.12, 4: 0.11}

    def have(experiments, **options):
        assert options == {"jobs": 3} and [run.seed for run in experiments] == [1, 2, 3, 4]
        assert {run.role for run in experiments} == {"S"} and {run.stage for run in experiments} == {"F"}
        return [fabricated.record(tmp_path / "again", run, {2: quality[run.seed]}) for run in experiments]

    monkeypatch.setattr(results, "load_or_train_all", have)
    one = replace(SMOKE, students={"BPR-MF": SMOKE.students["BPR-MF"]})
    found = results.Found(matrix=one, tried=[], chosen={"BPR-MF": 1.0}, final=final, teaching={})
    (said,) = results.by_chance(found, jobs=3)
    rare = 2 * np.sqrt(2) * np.std(list(quality.values()), ddof=1)
    larger = sum(abs(gain.difference) > rare for gain in tables.gains(one, final).values())
    assert "0.1000 to 0.1200" in said and f"more than {rare:.4f} apart" in said and f"{larger} of 4 gains" in said


def test_how_good_everybody_is_alone(final, teaching) -> None:
    whole = tables.quality_alone(SMOKE, final, teaching, []).set_index(["role", "model"])
    assert whole.pop(tables.VALIDATION).isna().all(), "none is on record"
    table = whole
    assert table.loc[("teacher", "EASE")].tolist() == [0.2, 1], "computed: the same in every seed"
    assert table.loc[("teacher", "Fossil")].tolist() == pytest.approx([(0.2 + 0.4) / 2, 2])
    student = [final["BPR-MF", seed].metrics["MAP"].iloc[-1] for seed in (1, 2)]
    assert table.loc[("student", "BPR-MF")].tolist() == pytest.approx([np.mean(student), 2]) and len(table) == 3
    early = replace(SMOKE, teachers={"Fossil": replace(SMOKE.teachers["Fossil"], epoch=1)})
    of_epoch = tables.quality_alone(early, final, teaching, []).loc[0, "MAP"]
    assert of_epoch == pytest.approx((0.1 + 0.2) / 2), "after the epoch that teaches"
    assert tables.quality_alone(SMOKE, {}, {}, []).empty


def test_both_moments_stand_beside_each_other(final, tmp_path, monkeypatch) -> None:
    (control,) = EVERY_MOMENT["smoke"]
    assert [*control.teachers] == ["Fossil"] and [*control.students] == ["BPR-MF"]
    cell = Cell("Fossil", "BPR-MF", "RRD")
    worse = {key: record for key, record in final.items() if key[0] == "BPR-MF"}
    ap = tables.users(final[cell, 1]) - 0.05
    run = control.taught(cell, "F", 1, 0.1)
    worse[cell, 1] = fabricated.record(tmp_path, run, {2: float(np.nanmean(ap))}, ap)
    table = tables.moments(control, final, worse)
    assert list(table["teacher_at"]) == ["last", "query", "last"], "by position weights there is one of them alone"
    rows = table[table["method"] == "RRD"].set_index("teacher_at")
    assert rows.loc["last", "gain"] == pytest.approx(tables.gain(final, cell).difference) and rows["seeds"].tolist() == [1, 2]
    first = np.nanmean(ap - tables.users(final["BPR-MF", 1]))
    assert rows.loc["query", "gain"] == pytest.approx(first, abs=1e-9)
    wide = tables.moments_wide(control, final, worse)
    assert wide[["asked", "method"]].to_numpy().tolist() == [["at every training row", "RRD"], ["behind the last item", "RRD"]]
    per_cent = 100 * first / tables.gain(worse, cell).mean_b
    assert wide.loc[0, "Fossil"].startswith(f"{per_cent:+.1f} (")
    assert tables.moments_wide(control, final, {}).empty
    found = {at: results.Found(matrix=matrix, tried=[], chosen={}, final=of, teaching={})
             for at, matrix, of in ((True, SMOKE, final), (False, control, worse))}  # fmt: skip
    monkeypatch.setattr(results, "on_record", lambda matrix: found[matrix.at_last])  # asked for the control alone
    assert results.by_moment([found[True]], "smoke") == [(found[True], found[False])]
    found[False] = replace(found[False], final={})
    assert results.by_moment([found[True]], "smoke") == []


def test_how_much_students_alone_still_gain(tmp_path) -> None:
    means = {1: {1: 0.1, 2: 0.11}, 2: {1: 0.2, 2: 0.26}}
    final = {("BPR-MF", seed): fabricated.record(tmp_path, SMOKE.alone("BPR-MF", "F", seed), means[seed]) for seed in means}
    final["SASRec", 1] = fabricated.record(tmp_path, SMOKE.alone("SASRec", "F", 1), {1: 0.3})
    found = results.Found(matrix=SMOKE, tried=[], chosen={}, final=final, teaching={})
    assert "changed their MAP by BPR-MF +20.0 % (epochs 1 to 2). So" in results.still_rising(found)
    assert results.still_rising(replace(found, final={})) == ""


def test_gains_and_leads_on_validation_items_are_of_the_better_trial(final, teaching, tmp_path) -> None:
    matrix = replace(SMOKE, teachers=SMOKE.teachers | {"Fossil": replace(SMOKE.teachers["Fossil"], epoch=1)})
    trials, full, half = matrix.trials(), Cell("Fossil", "BPR-MF", "RRD"), Cell("EASE", "BPR-MF", "RRD")
    quality = {("BPR-MF", 0): 0.1, ("BPR-MF", 1): 0.2, (full, 0): 0.3, (full, 1): 0.05, (half, 0): 0.9}
    tried = [fabricated.record(tmp_path / "tried", list(trials[what].values())[place], {2: value})
             for (what, place), value in quality.items()]  # fmt: skip
    tried.append(fabricated.record(tmp_path / "tried", matrix.teacher("Fossil", "V", V_SEED), {1: 0.5, 2: 0.7}))
    (row,) = tables.validation_points(matrix, tried).to_dict("records")
    assert row == {"dataset": "synthetic", **full._asdict(), "gain": pytest.approx(50), "lead": pytest.approx(150)}
    table = tables.quality_alone(matrix, final, teaching, tried).set_index(["role", "model"])[tables.VALIDATION]
    assert table["teacher", "Fossil"] == 0.5 and table["student", "BPR-MF"] == 0.2 and np.isnan(table["teacher", "EASE"])


def test_lead_and_difference_by_hand(final, teaching) -> None:
    table = tables.points(SMOKE, final, teaching).set_index(["teacher", "method"])
    assert len(table) == 4
    leads, different = [], []
    for seed in (1, 2):
        teacher, student = (tables.users(record) for record in (teaching["Fossil", seed], final["BPR-MF", seed]))
        both = ~np.isnan(student)
        leads.append(teacher[both].mean() - student[both].mean())
        different.append(1 - stats.pearsonr(teacher[both], student[both]).statistic)
    row = table.loc[("Fossil", "RRD")]
    mean = np.mean([np.nanmean(tables.users(final["BPR-MF", seed])) for seed in (1, 2)])
    assert row["lead"] == pytest.approx(100 * np.mean(leads) / mean) and row["different"] == pytest.approx(np.mean(different))
    assert row["gain"] == pytest.approx(100 * tables.gain(final, Cell("Fossil", "BPR-MF", "RRD")).difference / mean)
    assert table.loc[("EASE", "RRD"), "seeds"] == 1
    made = pd.DataFrame({"student": "x", "method": "y", "gain": [1.0, 2, 5], "lead": [3.0, 2, 1], "different": [0.1, 0.2, 0.3],
                         "teacher": ["EASE", "Fossil", "Caser"]})  # fmt: skip
    other = made.assign(lead=[1.0, 2, 3])
    others = pd.concat([other, other.assign(method="z", lead=0.0)])
    assert tables.explained(made, others).iloc[0].tolist() == ["x", "y", 3, -1.0, 1.0, 1.0, 3.5, 1.0]
    assert np.isnan(tables.explained(made, other.iloc[:2]).iloc[0]["the same on validation"]), "two points always correlate"


def test_the_teachers_that_look_at_the_order_of_items_are_those_with_a_window() -> None:
    fit = data.stage(datasets.load("synthetic"), "F").fit
    for matrix in EVERY:
        windows = {name: built(one.model, fit).window for name, one in matrix.teachers.items() if not one.computed}
        assert {name for name, window in windows.items() if window} == {name for name in matrix.teachers if name in IN_ORDER}


# --------------------------------------------------------------------------------------------------------------- pictures


def test_the_matrix_shows_every_cell_and_cuts_what_is_too_wide(final) -> None:
    every = tables.gains(SMOKE, final)
    cell = Cell("Fossil", "BPR-MF", "RRD")
    every[cell] = replace(every[cell], low=-1e150, high=1e150)
    fig = plots.matrix(every)
    assert [ax.get_title() for ax in fig.axes] == ["RD-position to BPR-MF", "RRD to BPR-MF"]
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["EASE", "Fossil"]
    assert [len(ax.containers) for ax in fig.axes] == [2, 2]
    left, right = fig.axes[0].get_xlim()
    assert -500 < left < 0 < right < 500
    hollow = {ax.get_title(): [bar[0].get_markerfacecolor() for bar in ax.containers].count("white") for ax in fig.axes}
    assert hollow == {"RD-position to BPR-MF": 0, "RRD to BPR-MF": 1}, "one seed"
    plt.close("all")


def test_the_scatter_has_a_mark_for_every_cell_in_both_panels(final, teaching) -> None:
    cells = tables.points(SMOKE, final, teaching)
    fig = plots.scatter(cells)
    for ax, name in zip(fig.axes, ("lead", "different"), strict=True):
        lines = [line for line in ax.lines if line.get_marker() != "None"]
        marks = sorted((line.get_xdata()[0], line.get_ydata()[0]) for line in lines)
        assert marks == sorted(zip(cells[name], cells["gain"], strict=True))
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {"EASE", "Fossil", "RD-position", "RRD"}
    fig = plots.alike(pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], index=["a", "b"], columns=["a", "b"]))
    assert [text.get_text() for text in fig.axes[0].texts] == ["1.00", "0.25", "0.25", "1.00"]
    plt.close("all")


# -------------------------------------------------------------------------------------------------- for the loops over rooms


def test_tables_below_each_other_keep_their_types(final) -> None:
    table = tables.flexibility(SMOKE, final)
    both = tables.together([table.iloc[:0].astype(object), table, table])
    assert len(both) == 2 * len(table) and both.dtypes.equals(table.dtypes)
    assert tables.together([table.iloc[:0]]).empty


def test_without_records_the_page_says_what_is_missing(project) -> None:
    assert study.findings() == [] and study.headline() == [] and study.tables()["flexibility"].empty
    assert list(study.tables()["flexibility"].columns) == tables.COLUMNS
    said = study.results()
    for matrix in MATRICES["paper"]:
        assert f"`rdcore train --only {matrix.only} --publish`" in said
    found = results.on_record(COMPLETE)
    assert found.records == [] and len(results.missing(found)) == len(COMPLETE.runs({}))
    assert results.progress([found])["with a seed"].tolist() == [0, 0, 0]
    cell, seeds = COMPLETE.cells[0], COMPLETE.students[COMPLETE.cells[0].student].seeds
    for there, counted in ((seeds[:1], [1, 0]), (seeds[:2], [1, 0]), (seeds, [1, 1])):
        some = replace(found, final={(cell, seed): None for seed in there})
        first = results.progress([some]).iloc[0]
        assert first[["with a seed", "with three seeds"]].tolist() == counted and first["student"] == cell.student
    assert results.to_train("paper", False) == () and results.to_train("paper", True) == MATRICES["paper"]
    assert results.to_train("small", False) == MATRICES["small"] != ()
    assert study.teachers_of(COMPLETE.alone("BPR-MF", "F", 1)) == []
