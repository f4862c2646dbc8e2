"""Which epoch is chosen, from what, and what the choice does to the plan of runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fabricated import record

from rdcore.store.runs import is_committed
from studies import cli
from studies.common import selection
from studies.common.earlier import as_before
from studies.common.profiles import PROFILES
from studies.common.selection import Choice, choose_epoch
from studies.rd import plan as rd
from studies.rd import study as rd_study

PAPER = PROFILES["paper"].rd[0]


def choice(epoch: int, last: int = 50) -> Choice:
    return Choice(epoch=epoch, means={e: float(e == epoch) for e in range(5, last + 1, 5)}, keys=("k",))


def test_the_best_mean_over_seeds_is_chosen_not_the_best_of_a_seed(tmp_path: Path) -> None:
    a = record(tmp_path, PAPER.teacher("V", 101), {5: 0.50, 10: 0.30, 15: 0.10})
    b = record(tmp_path, PAPER.teacher("V", 102), {5: 0.00, 10: 0.30, 15: 0.10})
    chosen = choose_epoch([a, b])
    assert chosen.epoch == 10 and chosen.means == pytest.approx({5: 0.25, 10: 0.30, 15: 0.10})
    assert chosen.keys == (a.key, b.key) and not chosen.at_border


def test_a_tie_goes_to_the_earlier_epoch_and_the_last_is_the_border(tmp_path: Path) -> None:
    tied = record(tmp_path, PAPER.teacher("V", 101), {5: 0.1, 10: 0.3, 15: 0.3})
    assert choose_epoch([tied]).epoch == 10
    rising = record(tmp_path, PAPER.student("V", 101), {5: 0.1, 10: 0.2, 15: 0.3})
    assert choose_epoch([rising]).epoch == 15 and choose_epoch([rising]).at_border


def test_a_choice_at_either_end_of_its_grid_says_so(monkeypatch: pytest.MonkeyPatch, project: Path, capsys) -> None:
    """At the beginning in words alone: it stands, while one at the end waits for a longer grid."""
    ends = {"T": choice(5), "S": choice(50), "RD-hybrid": choice(25)}
    assert [ends[role].border for role in ends] == [
        "the first of the grid: an earlier one may be better", "the last of the grid: not final", ""
    ]  # fmt: skip
    assert selection.chosen_epochs(ends) == {"T": 5, "RD-hybrid": 25}
    assert choice(5, last=5).border == "the last of the grid: not final", "a grid of one epoch has both ends there"
    monkeypatch.setattr(rd, "choose", lambda: ends)
    assert cli.main(["select"]) == 0
    said = capsys.readouterr().out
    assert "T: epoch 5 of 5..50, MAP 1.00000; the first of the grid: an earlier one may be better\n" in said
    assert "S: epoch 50 of 5..50, MAP 1.00000; the last" in said and "RD-hybrid: epoch 25 of 5..50, MAP 1.00000\n" in said
    assert "first of" not in (project / "data/replicated/selection.json").read_text(), "not on file"


def test_a_run_of_stage_f_is_refused_by_name(tmp_path: Path) -> None:
    final = PAPER.teacher("F", 1)
    with pytest.raises(ValueError, match=f"gowalla-F-T-d100-seed1 .key {final.key}. is of stage F"):
        choose_epoch([record(tmp_path, PAPER.teacher("V", 101), {5: 0.1}), record(tmp_path, final, {5: 0.2})])


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    teacher = record(tmp_path, PAPER.teacher("V", 101), {5: 0.1})
    with pytest.raises(ValueError, match="more than the seed"):
        choose_epoch([teacher, record(tmp_path, PAPER.student("V", 102), {5: 0.1})])
    with pytest.raises(ValueError, match="a seed counts twice"):
        choose_epoch([teacher, teacher])
    with pytest.raises(ValueError, match="no run"):
        choose_epoch([])


def wanted() -> dict:
    return {"RD-hybrid": PAPER.distilled("V", 1), "T": PAPER.teacher("V", 1), "S": PAPER.student("V", 1)}


def test_the_distilled_run_counts_only_when_taught_at_the_chosen_epoch(tmp_path: Path) -> None:
    records = [
        record(tmp_path, PAPER.teacher("V", 101), {35: 0.1, 40: 0.3, 45: 0.2}),
        record(tmp_path, PAPER.distilled("V", 101), {35: 0.9, 40: 0.1, 45: 0.1}),  # by the teacher's last epoch
        record(tmp_path, PAPER.teacher("F", 1), {35: 0.9, 40: 0.1, 45: 0.1}),
    ]
    assert set(selection.select(wanted(), [101], records)) == {"T"}
    records.append(record(tmp_path, PAPER.distilled("V", 101, teacher_epoch=40), {35: 0.1, 40: 0.1, 45: 0.4, 50: 0.2}))
    chosen = selection.select(wanted(), [101], records)
    assert {role: c.epoch for role, c in chosen.items()} == {"T": 40, "RD-hybrid": 45}
    assert selection.select(wanted(), [101, 102], records) == {}, "seeds that are not there yet"


def test_an_extended_grid_takes_the_place_of_the_shorter_one(tmp_path: Path) -> None:
    records = [
        record(tmp_path, PAPER.teacher("V", 101), {45: 0.2, 50: 0.3}),
        record(tmp_path, PAPER.distilled("V", 101), {45: 0.2, 50: 0.1}),
    ]
    chosen = selection.select(wanted(), [101], records)
    assert chosen["T"].at_border and "RD-hybrid" not in chosen, "its teacher's epoch is not final"
    records.append(record(tmp_path, PAPER.lengthened(80).teacher("V", 101), {45: 0.2, 50: 0.3, 80: 0.1}))
    chosen = selection.select(wanted(), [101], records)
    assert not chosen["T"].at_border and chosen["T"].epoch == 50 and chosen["RD-hybrid"].epoch == 45


def test_the_choices_survive_the_file_and_those_at_the_border_do_not_stand(project: Path) -> None:
    assert selection.read_selection() == {} and selection.chosen_epochs() == {}
    choices = {"T": choice(40), "S": choice(50)}
    file = selection.write_selection(choices)
    assert selection.read_selection() == choices and selection.chosen_epochs() == {"T": 40}
    assert json.loads(file.read_text())["T"]["runs"] == ["k"]
    assert [path.name for path in file.parent.iterdir()] == ["selection.json"], "nothing partial is left"


# -------------------------------------------------------------------------------------------------------------------- plan


def test_the_order_of_the_plan_without_choices(project: Path) -> None:
    labels = [(e.stage, e.role, e.seed) for e in rd.runs_of(PAPER, {})]
    assert labels == [
        *[("V", role, seed) for seed in (101, 102, 103) for role in ("T", "S", "RD-hybrid")],
        ("F", "T", 1), ("F", "S", 1), ("F", "RD-hybrid", 1), ("F", "RD-hybrid-normalised", 1), ("F", "RD-position", 1),
        ("F", "T", 2), ("F", "S", 2), ("F", "RD-hybrid", 2), ("F", "T", 3), ("F", "S", 3), ("F", "RD-hybrid", 3),
        ("F", "T", 4), ("F", "S", 4), ("F", "RD-hybrid", 4), ("F", "T", 5), ("F", "S", 5), ("F", "RD-hybrid", 5),
        ("F", "RD-equal", 1), ("F", "RD-reciprocal", 1), ("F", "RD-discrepancy", 1),
        *[("F", role, seed) for seed in (2, 3, 4, 5) for role in rd.WEIGHTINGS if role != "RD-hybrid"],
    ]  # fmt: skip
    assert len(rd.open_choices({})) == 6, "three roles with each of two models"


def test_a_choice_adds_the_runs_that_need_it() -> None:
    before = {e.key for e in rd.runs_of(PAPER, {})}
    added = [e for e in rd.runs_of(PAPER, {"T": choice(40), "S": choice(30)}) if e.key not in before]
    assert [(e.stage, e.role, e.seed, e.teacher_epoch) for e in added] == [
        *(("V", "RD-hybrid", seed, 40) for seed in (101, 102, 103)), *(("F", "RD-hybrid", seed, 40) for seed in (1, 2, 3, 4, 5))
    ]  # fmt: skip


def test_a_teacher_chosen_at_the_last_fixed_epoch_needs_no_further_run() -> None:
    """Possible once a longer grid has shown that 50 is not at its border."""
    before = {e.key for e in rd.runs_of(PAPER, {})}
    added = [e for e in rd.runs_of(PAPER, {"T": choice(50, last=80)}) if e.key not in before]
    assert [(e.stage, e.role, e.training.epochs) for e in added] == [("V", "T", 80)] * 3


def test_a_choice_at_the_border_asks_for_a_longer_run_and_nothing_else() -> None:
    before = {e.key for e in rd.runs_of(PAPER, {})}
    choices = {"T": choice(50)}
    added = [e for e in rd.runs_of(PAPER, choices) if e.key not in before]
    assert [(e.stage, e.role, e.training.epochs) for e in added] == [("V", "T", 50 + rd.EXTENSION)] * 3
    assert "the best epoch of T is the last of its grid (50)" in rd.open_choices(choices)[0]


def test_a_choice_beyond_the_fixed_epochs_lengthens_the_final_runs() -> None:
    final = [e for e in rd.runs_of(PAPER, {"T": choice(60, last=80)}) if e.stage == "F" and e.seed == 1]
    assert [(e.role, e.training.epochs) for e in final if e.role == "T"] == [("T", 50), ("T", 80)]
    (taught,) = [e for e in final if e.teacher_epoch == 60]
    assert taught.teacher.training.epochs == 80 and taught.training.epochs == 50


def test_published_records_are_found_by_the_plan(project: Path) -> None:
    folder = project / "data" / "replicated"
    made = record(folder, PAPER.teacher("F", 1), {50: 0.1})
    record(folder, replace(PAPER.teacher("F", 1), role="ablation"), {50: 0.1})
    assert [r.key for r in rd_study.paper_records()] == [made.key], "what is not in the plan is no part of its tables"


# ------------------------------------------------------------------------------------------- three seeds, and before


def test_the_choice_rests_on_three_seeds_once_every_role_has_them(project: Path) -> None:
    """Until then on the first seed, and at the earlier revision where only that has all roles."""
    folder = project / "data/replicated"

    def runs(seed: int) -> list:
        return [PAPER.teacher("V", seed), PAPER.student("V", seed), PAPER.distilled("V", seed, teacher_epoch=40)]

    def add(made: list, best: int) -> None:
        for run in made:
            peak = 40 if run.role == "T" else best
            record(folder, run, {epoch: 0.1 + 0.1 * (epoch == peak) for epoch in range(5, 51, 5)})

    def chosen() -> dict[str, tuple[int, int]]:
        return {role: (choice.epoch, len(choice.keys)) for role, choice in rd.choose().items()}

    add([as_before(run) for run in runs(101)], 20)
    assert chosen() == {"T": (40, 1), "S": (20, 1), "RD-hybrid": (20, 1)}
    add(runs(101)[:2], 30)
    assert chosen()["S"] == (20, 1), "RD is not there yet at the new revision"
    add(runs(101)[2:], 30)
    assert chosen()["S"] == (30, 1)
    add([*runs(102), *runs(103)[:2]], 30)
    assert chosen()["RD-hybrid"] == (30, 1), "two of three seeds of RD"
    add(runs(103)[2:], 30)
    assert chosen() == {"T": (40, 3), "S": (30, 3), "RD-hybrid": (30, 3)}


def test_a_teachers_epoch_that_moves_asks_for_new_runs_of_rd(project: Path) -> None:
    roles = [f"{model}{role}" for model in ("", "Fossil ") for role in ("T", "S", "RD-hybrid")]
    selection.write_selection({role: choice(40) for role in roles})
    planned = [run for plan in PROFILES["paper"].rd for run in rd.runs_of(plan, rd.read_selection()) if run.stage == "V"]
    for run in planned[:-1]:
        peaks = {40: 0.3, 30: 0.2} if run.seed == 101 else {40: 0.2, 30: 0.4}
        record(project / "data/replicated", run, {epoch: peaks.get(epoch, 0.1) for epoch in range(5, 51, 5)})
    assert rd.choose()["T"].epoch == 40, "one V run is missing: the first seed decides"
    record(project / "data/replicated", planned[-1], {epoch: 0.1 for epoch in range(5, 51, 5)})
    moved = rd.choose()
    assert moved["T"].epoch == 30 and "RD-hybrid" not in moved
    added = {run.teacher_epoch for run in rd.runs_of(PAPER, moved) if run.stage == "V" and run.teacher}
    assert 30 in added and any("RD-hybrid" in sentence for sentence in rd.open_choices(moved))


def test_the_choices_on_file_still_follow_from_the_committed_records() -> None:
    assert rd.choose() == selection.read_selection() != {}


# ---------------------------------------------------------------------------------------------------- Fossil's trials

FOSSIL = PROFILES["paper"].rd[1]


def test_fossils_24_trials_lie_in_the_stated_space_and_hold_the_seven_on_record() -> None:
    tried = rd.trials(PAPER, FOSSIL)["Fossil"]
    assert len({run.key for run in tried}) == len(tried) == 24
    assert sum(is_committed(run) for run in tried[:7]) == 7
    for run in tried:
        model, training = run.model, run.training
        assert (run.stage, run.seed, run.role, model.dim, training.epochs) == ("V", 101, "T", 50, 50)
        assert model.loss in ("log", "bpr") and model.alpha in (0.2, 0.5, 1.0) and model.span in ("past", "all")
        assert training.weight_decay in (1e-6, 1e-5, 1e-4, 1e-3) and training.negatives in (1, 3, 10)
        assert training.learning_rate in (3e-4, 1e-3, 3e-3) and model.dropout in (0, 0.2, 0.5)
    values = [{getattr(of, name) for of in map(part, tried)} for part, name in (
        (lambda run: run.model, "loss"), (lambda run: run.model, "span"), (lambda run: run.training, "negatives"),
        (lambda run: run.training, "learning_rate"), (lambda run: run.model, "dropout"),
    )]  # fmt: skip
    assert [len(each) for each in values] == [2, 2, 3, 3, 3], "each setting is varied"
    assert len(rd.trials(*PROFILES["small"].rd)["Fossil"]) == 7


def test_fossil_is_planned_with_the_dropout_of_the_best_trial(project: Path) -> None:
    for run in rd.trials(PAPER, FOSSIL)["Fossil"]:
        record(project / "data/replicated", run, {5: 0.08 if run.model.dropout == 0.5 else 0.07, 50: 0.01})
    planned = rd.tuned_fossil(PAPER, FOSSIL)
    assert len(planned) == 24 and {run.model.dropout for run in planned} == {0.5}


def test_fossil_is_planned_anew_once_all_trials_are_on_file(project: Path) -> None:
    folder, tried = project / "data/replicated", rd.trials(PAPER, FOSSIL)["Fossil"]
    best = next(run for run in tried if run.model.loss == "bpr" and run.training.negatives == 10)
    for run in tried[:-1]:
        record(folder, run, {5: 0.06, 15: 0.08 if run is best else 0.07, 50: 0.01})
    assert rd.tuned_fossil(PAPER, FOSSIL) == []
    record(folder, tried[-1], {5: 0.01, 50: 0.075})
    planned = rd.tuned_fossil(PAPER, FOSSIL)
    labels = [(run.stage, run.seed, run.role) for run in planned]
    assert labels[:4] == [("V", 101, role) for role in ("T", "S-tuned", "RD-position-tuned", "RD-hybrid-tuned")]
    roles = ("T-tuned", "S-tuned", "RD-position-tuned", "RD-hybrid-tuned")
    assert planned[0] == best and labels[4:] == [("F", seed, role) for seed in (1, 2, 3, 4, 5) for role in roles]
    for run in planned[1:]:
        assert (run.model.loss, run.training.negatives, run.training.weight_decay) == ("bpr", 10, 1e-5)
        assert run.model.dim == (50 if run.role == "T-tuned" else 20)
        if run.teacher:
            assert run.teacher_epoch == 15 and run.teacher in planned
    assert not {run.key for run in planned[1:]} & {run.key for run in rd.table_runs("paper", {})}


def test_fossil_chosen_as_it_is_keeps_its_roles(project: Path) -> None:
    for run in rd.trials(PAPER, FOSSIL)["Fossil"]:
        as_it_is = run == FOSSIL.teacher("V", 101)
        record(project / "data/replicated", run, {10: 0.08 if as_it_is else 0.07, 50: 0.01})
    planned = rd.tuned_fossil(PAPER, FOSSIL)
    assert {run.role for run in planned} == {"T", "S", "RD-position", "RD-hybrid"}
    assert FOSSIL.teacher("F", 1) in planned and FOSSIL.distilled("F", 1, teacher_epoch=10) in planned
