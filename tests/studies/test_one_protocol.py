"""One protocol: as many trials for each method, choices by validation items alone, tables from made-up records."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rdcore.distill import BothSettings, RankDistilSettings
from rdcore.eval import metrics
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record
from studies.common import verdicts
from studies.common.plan import at_border, chosen_weights, weighted
from studies.common.profiles import BPR, PROFILES, under_one_protocol
from studies.derrd import plan as derrd
from studies.notebooks import page
from studies.one_protocol import plan as one_protocol
from studies.one_protocol import plots as one_protocol_plots
from studies.one_protocol import study, tables
from studies.one_protocol.tables import CONCLUSIONS

(SMOKE,) = PROFILES["smoke"].one_protocol
(SMALL,) = PROFILES["small"].one_protocol
METHODS, CHOOSES = list(SMOKE.methods), SMOKE.chosen_by
USERS = np.arange(240)


def made_up(folder: Path, run: Experiment, ranks=None, seconds=(1.0, 2.0), agreement=None, device="cpu", **chosen) -> Record:
    """A finished run of stage L; ``ranks`` of every user's test item among all items, and of its means those of the ranks."""
    target = folder / f"{run.label}-{run.key}"
    target.mkdir(parents=True)
    means = {}
    if ranks is not None:
        values = metrics.of_one_item(np.asarray(ranks, float))
        means = {f"{name}-full": float(value.mean()) for name, value in values.items()}
        frame = pd.DataFrame({"rank": ranks, "rank-full": ranks}).astype("float32")
        frame.to_parquet(target / "per_user-002.parquet", index=False)
    contents = {
        "description": run.description,
        "metrics": [{"epoch": epoch, "H@5": 0.5, "H@5-validation": 0.5} for epoch in (1, 2)],
        "history": [{"epoch": place, "loss": 1.0, "seconds": value} for place, value in enumerate(seconds, 1)],
        "chosen": {"epoch": 2, "H@5": 0.5, "N@10": 0.5} | means | chosen,
        "environment": {"python": "3", "versions": {"torch": "2"}, "machine": "", "device": device, "threads": 1, "commit": "",
                        "finished": "", "seconds": 3.0, "resumed": 0},
    } | ({"agreement": agreement} if agreement else {})
    for name, content in contents.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    return Record(target)


def test_every_method_has_as_many_trials_and_they_differ_in_the_weight_alone() -> None:
    for profile in PROFILES.values():
        for c in profile.one_protocol:
            assert one_protocol.roles(c) == METHODS
            assert len({len(tried) for tried in c.trials().values()}) == 1
            for role, tried in c.trials().items():
                assert len({run.key for run in tried.values()}) == len(tried)
                for weight, run in tried.items():
                    taught = (c.teacher("L", 1), "best") if role != "S" else (None, None)
                    assert (run.stage, run.role, run.seed, run.teacher, run.teacher_epoch) == ("L", role, 1, *taught)
                    like = c.tried(role, weight * 0.7, run.seed)
                    what = "weight_decay" if role == "S" else "weight"
                    assert without(what, run.description) == without(what, like.description) and like.key != run.key


def without(what: str, value):
    if isinstance(value, dict):
        return {name: without(what, part) for name, part in value.items() if name != what}
    return value


def test_the_student_alone_is_tried_with_other_decays_and_taught_with_the_plans_own() -> None:
    for c in PROFILES["paper"].one_protocol:
        decay = c.training.weight_decay
        tried = c.trials()["S"]
        assert {w: run.training.weight_decay / decay for w, run in tried.items()} == pytest.approx({w: w for w in tried})
        assert tried[1] == c.student("L", 1), "so that no run is made twice, and DE-RRD's own table has it too"
        rows = one_protocol.table_runs(c, {"S": 3.0, "RD": 0.1})
        decays = {role: {r.training.weight_decay for r in rows if r.role == role} for role in ("T", "S", "RD")}
        assert decays == {"T": {decay}, "S": {decay}, "RD": {decay}} and len(rows) == 9
        assert one_protocol.decayed(c, {}) == one_protocol.decayed(c, {"S": 1.0}) == []
        assert {r.training.weight_decay for r in one_protocol.decayed(c, {"S": 3.0})} == {float(f"{3 * decay:.3g}")}
        alone = [run for run in one_protocol.table_runs(c, {}) if run.role == "S"]
        assert alone == [c.student("L", seed) for seed in (1, 2, 3)]
        assert study.teachers_of(c.tried("S", 3.0, 2))[0] == c.teacher("L", 2)


def test_unequal_numbers_of_trials_and_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="same number"):
        under_one_protocol(BPR["smoke"], {"RD": (0.1,), "CD": (0.1, 1.0)})
    with pytest.raises(ValueError, match="same number"):
        under_one_protocol(BPR["smoke"], {"RD": (0.1, 0.3), "CD": (0.1, 0.1)})
    with pytest.raises(ValueError, match="no method is called DCD"):
        under_one_protocol(BPR["smoke"], {"DCD": (0.1,)})
    for decays in ({}, {"S": (0.3, 3.0)}):  # the methods have factor 1
        with pytest.raises(ValueError, match="factor 1"):
            under_one_protocol(BPR["smoke"], decays | {"RD": (0.1, 0.3)})


def test_methods_are_what_they_are_called() -> None:
    """The hybrid one has the role RD, so that it is the run of notebook 07."""
    settings = SMALL.methods
    kinds = {role: type(one).__name__ for role, one in settings.items()}
    assert kinds == dict.fromkeys(METHODS[:3], "RDSettings") | {
        "CD": "CDSettings", "RRD": "RRDSettings", "DE": "DESettings", "DE-RRD": "BothSettings",
        **dict.fromkeys(METHODS[7:], "RankDistilSettings"),
    }  # fmt: skip
    weightings = [type(settings[role].weights).__name__ for role in METHODS[:3]]
    assert weightings == ["Hybrid", "Position", "Equal"] and {settings[role].exclude for role in METHODS[:3]} == {"seen"}
    assert [settings[role].form for role in METHODS[7:]] == ["C", "B", "P"]
    de, rrd = SMALL.methods["DE"], SMALL.methods["RRD"]
    both = weighted(SMALL.methods["DE-RRD"], 3.0)
    assert both == BothSettings(first=replace(de, weight=0.3), second=replace(rrd, weight=0.3)), "0.1 times 3 is 0.3"
    assert weighted(SMALL.methods["DE-RRD"], 1.0) == BPR["small"].methods["DE-RRD"]
    known = {run.key for run in derrd.all_runs("small")}
    shared = [role for role, tried in SMALL.trials().items() for run in tried.values() if run.key in known]
    assert {"RD", "CD", "RRD", "DE", "DE-RRD"} <= set(shared)
    assert SMALL.methods["RankDistil-C"] == RankDistilSettings(form="C", m=10, n_orders=1)


def test_weights_are_chosen_by_the_validation_items_among_all_items(tmp_path: Path) -> None:
    tried = SMOKE.trials()
    light, heavy = tried["RD"].values()
    records = [
        made_up(tmp_path, light, **{CHOOSES: 0.4, "N@10-full": 0.1, "H@5-validation": 0.1}),
        made_up(tmp_path, heavy, **{CHOOSES: 0.3, "N@10-full": 0.9, "H@5-validation": 0.9}),
        *(made_up(tmp_path, run, **{CHOOSES: 0.2}) for run in tried["CD"].values()),
        made_up(tmp_path, next(iter(tried["DE"].values())), **{CHOOSES: 0.9}),
        None,
    ]
    assert chosen_weights(SMOKE, records) == {"RD": 0.1, "CD": 0.1}, "the smaller one of equals; DE lacks a trial"
    assert chosen_weights(SMOKE, []) == {}
    table = tables.trial_table(SMOKE, records).set_index(["role", "weight"])
    assert table["chosen"].sum() == 2 and table.loc[("RD", 0.1), "chosen"] and table.loc[("CD", 0.1), "chosen"]
    assert table[CHOOSES].notna().all() and len(table) == 5, "only trials on record"
    wide = under_one_protocol(BPR["smoke"], {"S": (0.1, 1, 3)} | dict.fromkeys(("RD", "CD"), (0.1, 0.3, 1.0)))
    assert at_border(wide, {"RD": 0.3, "CD": 1.0}) == ["CD"]
    rows = one_protocol.table_runs(SMOKE, {"RD": 0.1})
    assert [(run.role, run.seed) for run in rows] == [("T", 1), ("S", 1), ("T", 2), ("S", 2), ("RD", 1), ("RD", 2)]


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Test items that are first or beyond the tenth: S finds them for every third user, T and RD for every second, CD for every
    fourth, each in two seeds."""
    found = []
    for seed in (1, 2):
        runs = {"T": (SMOKE.teacher("L", seed), 2), "S": (SMOKE.student("L", seed), 3)}
        runs |= {"RD": (SMOKE.tried("RD", 0.1, seed), 2), "CD": (SMOKE.tried("CD", 0.1, seed), 4)}
        for role, (run, every) in runs.items():
            agreement = None if role == "T" else {"overlap@10": 0.1 * seed, "kendall@50": 0.2}
            ranks = np.where(USERS % every == 0, 1, 11 + USERS % 3)
            found.append(made_up(tmp_path, run, ranks, (every, seed), agreement))
    return found


def test_the_table_says_what_was_made_up(records) -> None:
    table = tables.table(SMOKE, records).set_index("role")
    assert list(table.index) == ["T", "S", "RD", "CD"]
    assert table["N@10-full"].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 2, 1 / 4], abs=1e-6)
    assert table["H@10-full"].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 2, 1 / 4], abs=1e-6)
    assert table["over S"].drop("S").tolist() == pytest.approx([1 / 6, 1 / 6, -1 / 12], abs=1e-6)
    assert table["over S"].isna()["S"]
    assert table["better than S"].drop("S").tolist() == ["not assessable"] * 3, "two seeds"
    assert table["seconds"].tolist() == [3.5, 4.5, 3.5, 5.5]
    assert (table["epochs"] == 2).all() and (table["seeds"] == 2).all()
    assert table["overlap@10"].drop("T").tolist() == pytest.approx([0.15] * 3) and table["overlap@10"].isna()["T"]
    alone = {role: tables.compared(records, role, "S").p for role in ("RD", "CD")}
    planned = verdicts.holm(dict.fromkeys(one_protocol.roles(SMOKE), np.nan) | alone)
    assert table["p"].dropna().to_dict() == pytest.approx({role: planned[role] for role in alone}), "T is no method"


def test_a_record_of_a_catalogue_too_small_for_a_depth_is_a_row_all_the_same(records, tmp_path: Path) -> None:
    found = {"overlap@10": 0.3, "kendall@41": 0.2}  # as records were named once
    records.append(made_up(tmp_path, SMOKE.tried("RRD", 1e-3, 1), np.ones(len(USERS)), (1, 2), found))
    table = tables.table(SMOKE, records).set_index("role")
    assert table.loc["RRD", "overlap@10"] == 0.3 and np.isnan(table.loc["RRD", "kendall@50"])
    assert table.loc["RD", "kendall@50"] == pytest.approx(0.2)


def test_times_on_another_device_than_the_students_are_left_out(records, tmp_path: Path) -> None:
    records.append(made_up(tmp_path, SMOKE.tried("RRD", 1e-3, 1), np.ones(len(USERS)), (1, 2), device="a GPU"))
    table = tables.table(SMOKE, records).set_index("role")
    assert np.isnan(table.loc["RRD", "seconds"]) and table["seconds"].drop("RRD").notna().all()
    shown = one_protocol_plots.cost_and_agreement(table.reset_index()).axes[0].lines
    assert sum(len(line.get_xdata()) == 1 for line in shown) == 4
    plt.close("all")


def test_methods_are_also_set_against_s_with_the_chosen_decay(records, tmp_path) -> None:
    """The same students as in the table give the same differences; worse ones larger."""
    alone = [record for record in records if record.description["role"] == "S"]
    same = tables.over_the_chosen_decay(SMOKE, records, alone).set_index("role")
    table = tables.table(SMOKE, records).set_index("role")
    assert same["over S, chosen decay"].to_dict() == table["over S"].dropna().to_dict()
    assert list(same.index) == ["T", "RD", "CD"]
    worse = [made_up(tmp_path, SMOKE.tried("S", 3.0, seed), np.full(len(USERS), 30)) for seed in (1, 2)]
    other = tables.over_the_chosen_decay(SMOKE, records, worse).set_index("role")
    assert (other["over S, chosen decay"] > same["over S, chosen decay"]).all()


def test_a_sentence_says_what_another_decay_of_s_does_to_every_difference(records, tmp_path) -> None:
    """S finds a third; with the decay of its trials nothing, then everything."""
    values = study.by_seed(records)
    assert study.over_student(values, "RD") == pytest.approx([1 / 6] * 2, abs=1e-6)
    assert study.over_student(values, "CD") == pytest.approx([-1 / 12] * 2, abs=1e-6)
    assert study.over_student(values, "DE") == []
    for decay, rank, said in ((3.0, 30, "0.3333 larger"), (0.3, 1, "0.6667 smaller")):
        others = [made_up(tmp_path, SMOKE.tried("S", decay, seed), np.full(len(USERS), rank)) for seed in (1, 2)]
        sentence = study.chosen_decay({"citeulike BPR": records}, {"citeulike BPR": others})
        assert f"Over that S, each number under `minus S` is {said} (" in sentence


def test_epochs_of_a_run_are_those_it_was_trained_and_trials_those_of_its_method(tmp_path: Path) -> None:
    plan = replace(SMOKE, grids={**SMOKE.grids, "RD": (0.1, 0.3, 1.0)})
    found = [made_up(tmp_path, SMOKE.student("L", 1), np.ones(len(USERS))),
             made_up(tmp_path, SMOKE.tried("RD", 0.1, 1), np.ones(len(USERS)), epoch=1)]  # fmt: skip
    (found[1].folder / "per_user-002.parquet").rename(found[1].folder / "per_user-001.parquet")
    table = tables.table(SMOKE, found).set_index("role")
    assert found[1].epoch == 1 and table.loc["RD", "epochs"] == 2
    assert tables.long_table(plan, found).groupby("method")["trials"].first().to_dict() == {"S": 2, "RD": 3}


def test_strengths_reach_from_the_smallest_trial_to_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = {0.1: 0.5, 1.0: 0.2}
    trials = {role: {weight: (role, weight) for weight in ratios} for role in ("RD", "CD")}
    plan = SimpleNamespace(methods=trials, grids=trials, trials=lambda: trials)
    monkeypatch.setattr(one_protocol, "those_committed", lambda tried: {w: run for w, run in tried.items() if run[0] == "RD"})
    monkeypatch.setattr(one_protocol, "strength", lambda run: ratios[run[1]])
    assert one_protocol.strengths(plan) == {"RD": (0.2, 0.5)}, "nothing of a role without a trial on record"


def test_the_table_for_programs_has_the_agreed_columns_and_says_the_same(records) -> None:
    table = tables.long_table(SMOKE, records)
    assert list(table.columns) == [
        "dataset", "model", "method", "metric", "mean", "std", "seeds", "trials", "train_seconds"
    ]  # fmt: skip
    assert set(table["dataset"]) == {"synthetic"} and set(table["model"]) == {"BPR"} and set(table["seeds"]) == {2}
    assert table.groupby("method")["trials"].first().to_dict() == {"T": 1, "S": 2, "RD": 2, "CD": 2}
    assert not table["metric"].str.contains("validation|redraw").any()
    one = table.set_index(["method", "metric"]).loc[("RD", "N@10-full")]
    assert one["mean"] == pytest.approx(1 / 2, abs=1e-6) and one["std"] == pytest.approx(0) and one["train_seconds"] == 3.5
    wide = tables.table(SMOKE, records).set_index("role")
    long = table.set_index(["method", "metric"])["mean"]
    for role in ("T", "S", "RD", "CD"):
        assert long[(role, "H@10-full")] == pytest.approx(wide.loc[role, "H@10-full"])


def test_conclusions_hold_fail_or_are_open(records, tmp_path: Path) -> None:
    said = tables.conclusions(SMOKE, records).set_index("conclusion")["here"]
    assert len(said) == len(CONCLUSIONS)
    assert said["RD ranks better than the student alone"] == "not assessable"
    assert (said.drop("RD ranks better than the student alone") == "not run").all()
    for seed in (1, 2):
        ranks = np.where(USERS % 2 == 0, 1, 11)
        records.append(made_up(tmp_path, SMOKE.tried("RRD", 1e-3, seed), np.where(USERS % 6 == 0, 1, 11)))
        records.append(made_up(tmp_path, SMOKE.tried("RD-position", 0.1, seed), np.roll(ranks, 1)))
    said = tables.conclusions(SMOKE, records).set_index("conclusion")["here"]
    assert said["RRD beats RD"] == "not assessable"
    assert said["the hybrid weighting beats position weights"] == "not assessable", "two seeds"


@pytest.mark.parametrize(("one", "other", "common"), [
    ((0.1, 0.2), (0.3, 2.0), False), ((0.1, 0.3), (0.3, 2.0), True), ((0.1, 5.0), (0.3, 2.0), True),
    ((0.2, 0.2), (0.2, 0.2), True),
])  # fmt: skip
def test_strengths_in_common_are_those_that_both_ranges_hold(one, other, common) -> None:
    for found in ({"a": one, "b": other}, {"a": other, "b": one}):
        assert one_protocol.comparable(found, "a", "b") is common
    assert one_protocol.comparable({"a": one}, "a", "S"), "the student alone has no limit"


def test_a_conclusion_about_methods_tried_at_other_strengths_is_not_assessable(tmp_path: Path, monkeypatch) -> None:
    """RRD is good for 7 of 8 users, RD for 3 of 4, in five seeds; only strengths in common make it a verdict."""
    records = [made_up(tmp_path, SMOKE.tried(role, 0.1, seed), np.where((USERS + seed) % one_in == 0, 11, 1))
               for role, one_in in (("RRD", 8), ("RD", 4)) for seed in range(1, 6)]  # fmt: skip
    for strengths, word in (((0.3, 2.0), "not assessable"), ((0.2, 2.0), "confirmed")):
        monkeypatch.setattr(tables, "strengths", lambda plan, rrd=strengths: {"RRD": rrd, "RD": (0.1, 0.2)})
        said = tables.conclusions(SMOKE, records).set_index("conclusion")
        assert said.loc["RRD beats RD", "here"] == word and said.loc["RRD beats RD", "effect"] > 0


def test_the_pictures_show_every_role(records) -> None:
    table = tables.table(SMOKE, records)
    fig = one_protocol_plots.quality({"a": table, "b": table.iloc[:2]})
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["T", "RD (RD, 2018)", "CD (CD, 2019)"]
    assert [text.get_text() for ax in fig.axes for text in ax.texts] == ["not run"] * 2, "of b, which has T and S alone"
    fig = one_protocol_plots.cost_and_agreement(table)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["T", "S", "RD", "CD"]
    costs = {line.get_xdata()[0] for line in fig.axes[0].lines if len(line.get_xdata()) == 1}
    assert sorted(costs) == pytest.approx([3.5 / 4.5, 1.0, 5.5 / 4.5])
    group = {"least": [1, 5], "most": [4, 9], "items": [3, 1], "held_out": [10, 10], "recall": [0.1, 0.5], "n": 10}
    fig = one_protocol_plots.popularity({"S": [group], "RD": [group | {"recall": [0.0, 0.8]}]})
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.100", "0.500", "0.000", "0.800"]
    np.testing.assert_allclose(fig.axes[0].collections[0].get_array().reshape(2, 2), [[0, 0], [-0.1, 0.3]], atol=1e-12)
    plt.close("all")


def test_what_is_clearly_better_is_also_said_after_holms_correction():
    plan = PROFILES["paper"].one_protocol[0]
    rows = [("T", 0.5, 0.6, 0.001), ("S", np.nan, np.nan, np.nan), ("RD", 0.01, 0.02, 0.01), ("CD", 0.001, 0.02, 0.08),
            ("RRD", -0.02, -0.01, 0.02), ("DE", -0.01, 0.01, 0.9)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["role", "low", "high", "p"])
    assert page.better_in_words("CiteULike", plan, frame) == (
        "**CiteULike**: 2 of 4 methods are clearly better than S (RD, CD), RRD worse; better after Holm's correction: RD."
    )
    alone = page.better_in_words("x", plan, frame[frame["role"] == "DE"])
    assert alone.endswith("(none); better after Holm's correction: none.")
