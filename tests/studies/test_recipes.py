"""The recipes beside the released one: what they change, and what is shown of them."""

import shutil
from pathlib import Path

import pytest
from fabricated import ENVIRONMENT, record
from harness import recompute

from studies.common.profiles import PROFILES
from studies.rd import recipes, study
from studies.rd.plan import table_runs

CASER = PROFILES["paper"].rd[0]


def test_what_each_recipe_changes():
    planned = recipes.recipes(CASER, 2)
    released = CASER.distilled("F", 2)
    weights = {role: run.distillation.weights for role, run in planned.items() if run.distillation}
    assert {role: run.training.epochs for role, run in planned.items()} == {
        "RD-prerelease": 100, "RD-hybrid-start26": 50, "RD-hybrid-start51": 100, "S": 100,
    }  # fmt: skip
    assert {role: (w.start_epoch, w.before, w.normalise) for role, w in weights.items()} == {
        "RD-prerelease": (50, "discrepancy", True), "RD-hybrid-start26": (26, "position", False),
        "RD-hybrid-start51": (51, "position", False),
    }  # fmt: skip
    for run in planned.values():
        if run.distillation:
            assert run.teacher == released.teacher and run.teacher_epoch == 50, "the teacher of the released recipe"
            assert run.distillation.K == 10 and run.distillation.weight == 1


def test_three_seeds_of_paper_size_are_planned_and_none_is_a_row_of_the_tables():
    planned = recipes.recipe_runs(CASER)
    assert len(planned) == 12 and {run.seed for run in planned} == {1, 2, 3} and {run.stage for run in planned} == {"F"}
    assert recipes.recipe_runs(PROFILES["small"].rd[0]) == []
    assert not {run.key for run in planned} & {run.key for run in table_runs("paper", {})}


def test_the_table_has_a_row_for_each_recipe_beside_the_papers_numbers(tmp_path: Path):
    assert recipes.table([]).empty and recipes.results(recipes.table([])) == ""
    made = [record(tmp_path / str(seed), recipes.recipes(CASER, seed)["RD-prerelease"], {50: 0.2, 100: 0.09 + seed / 1000})
            for seed in (1, 2, 3)]  # fmt: skip
    made.append(record(tmp_path, CASER.student("F", 1), {50: 0.0926}))
    table = recipes.table(made)
    assert list(table.columns) == recipes.COLUMNS
    rows = table[table["metric"] == "MAP"].set_index("role")
    one = rows.loc["RD-prerelease"]
    assert (one["epochs"], one["seeds"], one["reported"]) == (100, 3, 0.0969)
    assert (one["replicated"], one["std"]) == pytest.approx((0.092, 0.001))
    assert (rows.loc["S", "reported"], rows.loc["S", "epochs"]) == (0.0919, 50)
    said = recipes.results(table)
    assert "before the release: w^b alone" in said and "0.0920 ± 0.0010" in said


def test_nothing_is_shown_as_long_as_no_recipe_is_on_record(project: Path):
    assert recipes.on_record(CASER) == []


def test_what_is_written_is_what_other_code_computes(project: Path):
    folder, tests = project / "data/replicated", Path(__file__).resolve().parents[1]
    shutil.copytree(tests.parent / "data/reported", project / "data/reported")
    assert study.write_tables() == []
    for seed in (1, 2, 4):
        runs = [*recipes.recipes(CASER, seed).values(), CASER.teacher("F", seed), CASER.distilled("F", seed)]
        for place, run in enumerate(runs):
            record(folder, run, {50: 0.08 + place / 100, run.training.epochs: 0.09 + place / 100 + seed / 1000},
                   environment=ENVIRONMENT)  # fmt: skip
    assert [file.name for file in study.write_tables()] == ["rd_recipes.csv"]
    assert "which recipe" in study.results().lower()
    before = recompute.records.ROOT
    recompute.records.use(project)
    count, lines = recompute.disagreements("rd_recipes")
    recompute.records.use(before)
    assert lines == [] and count == 6 * 3 * 4, "six rows of three metrics, in four columns; seed 4 is none of the three"
