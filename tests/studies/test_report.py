"""Tables and scorecard from made-up records with known answers; and the committed tables from the committed records."""

import filecmp
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fabricated import USERS, record

from rdcore.files import paths
from studies.common import report
from studies.common.profiles import PROFILES
from studies.common.report import COLUMNS, rd_table2, rd_table4
from studies.common.reported import reported
from studies.common.selection import chosen_epochs
from studies.derrd import plan as derrd
from studies.one_protocol import plan as one_protocol
from studies.rd import ablations, efficiency
from studies.rd.plan import baselines, paper_records
from studies.scorecard import scorecard

PAPER, FOSSIL = PROFILES["paper"].rd
COMMITTED = sorted(paths.replicated().glob("*-F-*/description.json"))


def line(table: pd.DataFrame, *key: str) -> pd.Series:
    """The one row of a model, role, metric and protocol on Gowalla."""
    names = ["dataset", "model", "role", "metric", "protocol"]
    found = table[(table[names] == ["gowalla", *key]).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_mean_spread_and_difference_by_hand(tmp_path: Path) -> None:
    values = {1: 0.090, 2: 0.096, 3: 0.099}
    records = [record(tmp_path, PAPER.teacher("F", seed), {45: 0.5, 50: value}) for seed, value in values.items()]
    records.append(record(tmp_path, PAPER.teacher("V", 101), {50: 0.9}))  # never in a table
    table = rd_table2(records)
    assert list(table.columns) == COLUMNS
    row = line(table, "Caser", "T", "MAP", "fixed50")
    assert (row["reported"], row["seeds"]) == (0.0958, 3)
    assert row["replicated"] == pytest.approx(0.095)
    assert row["std"] == pytest.approx(np.sqrt((0.005**2 + 0.001**2 + 0.004**2) / 2)), "ddof = 1"
    assert row["difference"] == pytest.approx(0.095 / 0.0958 - 1)


def test_what_one_side_does_not_have_is_empty(tmp_path: Path) -> None:
    table = rd_table2([record(tmp_path, PAPER.teacher("F", 1), {50: 0.09})])
    alone = line(table, "Caser", "T", "MAP", "fixed50")
    assert pd.isna(alone["std"]) and alone["seeds"] == 1, "one seed has no spread"
    standard = line(table, "Caser", "T", "nDCG@10-standard", "fixed50")
    assert pd.isna(standard["reported"]) and pd.isna(standard["difference"]) and standard["replicated"] == 0.09
    fossil = line(table, "Fossil", "RD", "MAP", "fixed50")
    assert fossil["reported"] == 0.0874 and fossil[["replicated", "std", "seeds", "difference"]].isna().all()
    assert set(table["dataset"]) == {"gowalla", "foursquare"}
    assert table["reported"].notna().sum() == len(reported("rd_table2")), "every number of the paper, once"


def test_the_hybrid_is_called_rd_in_table_2_alone(tmp_path: Path) -> None:
    schemes = ("RD-hybrid", "RD-position", "RD-hybrid-normalised")
    records = [record(tmp_path, PAPER.distilled("F", 1, scheme), {50: 0.09}) for scheme in schemes]
    records.append(record(tmp_path, PAPER.teacher("F", 1), {50: 0.09}))
    second, fourth = rd_table2(records), rd_table4(records)
    assert line(second, "Caser", "RD", "MAP", "fixed50")["reported"] == 0.0969
    assert set(second["role"]) == {"T", "RD", "S", "baseline", "RD-position", "RD-hybrid-normalised"}
    assert line(fourth, "Caser", "RD-hybrid", "MAP", "fixed50")["difference"] == pytest.approx(0.09 / 0.0969 - 1)
    assert line(fourth, "Caser", "RD-position", "nDCG@10", "fixed50")["reported"] == 0.1230
    assert pd.isna(line(fourth, "Caser", "RD-hybrid-normalised", "P@10", "fixed50")["reported"])
    assert set(fourth["metric"]) == {"P@10", "nDCG@10", "MAP"} and "T" not in set(fourth["role"])


def test_protocols_take_their_own_epochs_and_teachers(tmp_path: Path) -> None:
    records = [
        record(tmp_path, PAPER.teacher("F", 1), {40: 0.40, 50: 0.50}),
        record(tmp_path, PAPER.distilled("F", 1), {45: 0.45, 50: 0.55}),
        record(tmp_path, PAPER.distilled("F", 1, teacher_epoch=40), {45: 0.46, 50: 0.56}),
    ]
    table = rd_table2(records, {"T": 40, "RD-hybrid": 45})
    found = {
        (role, p): line(table, "Caser", role, "MAP", p)["replicated"] for role in ("T", "RD") for p in ("fixed50", "validation")
    }
    assert found == {("T", "fixed50"): 0.50, ("T", "validation"): 0.40, ("RD", "fixed50"): 0.55, ("RD", "validation"): 0.46}
    assert line(table, "Caser", "T", "MAP", "validation")["reported"] == 0.0958
    assert set(rd_table2(records)["protocol"]) == {"fixed50"}, "without choices nothing is chosen"


def test_one_run_serves_both_protocols_when_the_last_epoch_is_chosen(tmp_path: Path) -> None:
    table = rd_table2([record(tmp_path, PAPER.distilled("F", 1), {45: 0.45, 50: 0.55})], {"T": 50, "RD-hybrid": 45})
    assert line(table, "Caser", "RD", "MAP", "fixed50")["replicated"] == 0.55
    assert line(table, "Caser", "RD", "MAP", "validation")["replicated"] == 0.45


def test_a_longer_run_serves_validation_alone(tmp_path: Path) -> None:
    longer = PAPER.lengthened(80)
    records = [
        record(tmp_path, longer.teacher("F", 1), {50: 0.5, 60: 0.6, 80: 0.8}),
        record(tmp_path, PAPER.teacher("F", 1), {50: 0.5}),
    ]
    table = rd_table2(records, {"T": 60})
    assert line(table, "Caser", "T", "MAP", "fixed50")["seeds"] == 1
    assert line(table, "Caser", "T", "MAP", "validation")["replicated"] == 0.6


def test_models_of_different_lengths_have_fixed_protocols_of_their_own(tmp_path: Path) -> None:
    """Made shorter or longer than another model, no run is lost; what is counted stands beside the shortest."""
    ten, six = (replace(p, training=replace(p.training, epochs=n)) for p, n in ((PAPER, 10), (FOSSIL, 6)))
    runs = [(ten.teacher, 10, 0.5), (ten.distilled, 10, 0.4), (six.teacher, 6, 0.3), (six.distilled, 6, 0.2)]
    records = [record(tmp_path, make("F", 1), {epochs: value}) for make, epochs, value in runs]
    records.append(record(tmp_path, baselines(PAPER, "F", 1)["POP"], {1: 0.1}))
    found = {(j.model, j.role): (j.protocol, j.epoch) for j in report.judged(records)}
    assert found == {
        ("Caser", "T"): ("fixed10", 10), ("Caser", "RD-hybrid"): ("fixed10", 10), ("Fossil", "T"): ("fixed6", 6),
        ("Fossil", "RD-hybrid"): ("fixed6", 6), ("POP", "baseline"): ("fixed6", 1),
    }  # fmt: skip
    table = rd_table2(records)
    assert line(table, "Caser", "RD", "MAP", "fixed10")["replicated"] == 0.4
    assert line(table, "Fossil", "RD", "MAP", "fixed6")["replicated"] == 0.2


def test_two_settings_under_one_role_are_not_averaged(tmp_path: Path) -> None:
    usual = PAPER.distilled("F", 1)
    other = replace(usual, distillation=replace(usual.distillation, K=20))
    with pytest.raises(ValueError, match=f"{usual.key}|{other.key}.*both seed 1 of RD-hybrid"):
        rd_table2([record(tmp_path, usual, {50: 0.1}), record(tmp_path, other, {50: 0.2})])


def test_another_data_set_has_no_reported_rows(tmp_path: Path) -> None:
    small = PROFILES["small"].rd[0].teacher("F", 1)
    last = small.training.epochs
    table = rd_table2([record(tmp_path, small, {last: 0.2})])
    assert set(table["dataset"]) == {"ml-100k"} and set(table["protocol"]) == {f"fixed{last}"}
    assert table["reported"].isna().all()


# ----------------------------------------------------------------------------------------------------------------- writing


@pytest.fixture
def with_reported(project: Path) -> Path:
    """The empty project with the papers' numbers in it."""
    real = Path(report.__file__).parents[2] / "data" / "reported"
    shutil.copytree(real, project / "data" / "reported")
    return project


def test_files_have_the_numbers_and_the_same_bytes_again(with_reported: Path) -> None:
    records = [record(with_reported / "data" / "replicated", PAPER.teacher("F", 1), {50: 0.0912345678})]
    table = rd_table2(records)
    file = report.write_table(table, "rd_table2", "paper", records, "00_overview")
    assert file == with_reported / "figures/tables/rd_table2.csv"
    assert "gowalla,Caser,T,MAP,fixed50,0.0958,0.0912346,,1,-0.0476559\n" in file.read_text()
    first = [path.read_bytes() for path in sorted(file.parent.iterdir())]
    report.write_table(rd_table2(records), "rd_table2", "paper", records, "00_overview")
    assert [path.read_bytes() for path in sorted(file.parent.iterdir())] == first and len(first) == 3
    markdown = file.with_suffix(".md").read_text()
    assert "| ours, 1 seed " in markdown and "| 0.0912 " in markdown and "| -4.8% " in markdown
    assert records[0].key in (with_reported / "figures/MANIFEST.json").read_text()


def test_latex_escapes_what_latex_would_read(tmp_path: Path) -> None:
    text = report.latex(pd.DataFrame({"a_b": ["50 % & $x$ #1", "{y}~^\\z"], "P@10": ["0.1", "-4.8%"]}))
    body = text.split("\n", 1)[1]
    assert r"a\_b & P@10 \\" in body and r"50 \% \& \$x\$ \#1 & 0.1 \\" in body and r"-4.8\% \\" in body
    assert r"\{y\}\textasciitilde \textasciicircum \textbackslash z" in body
    assert body.count(r"\toprule") == body.count(r"\midrule") == body.count(r"\bottomrule") == 1
    assert r"\begin{tabular}{lr}" in body and body.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    table = report.latex(report.wide(rd_table2([])))
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\tiny\n" + table + "\\end{document}\n"
    (tmp_path / "table.tex").write_text(document)
    subprocess.run(["pdflatex", "-halt-on-error", "table.tex"], cwd=tmp_path, check=True, capture_output=True)


# --------------------------------------------------------------------------------------------------------------- scorecard


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorecard speaks of the runs that it is given alone, not of committed ones of stage L."""
    monkeypatch.setattr(derrd, "committed_rows", lambda: [])
    monkeypatch.setattr(one_protocol, "committed_rows", lambda comparable: [])


def runs_with(folder: Path, gains: dict[str, float], seeds: int, paper=PAPER) -> list:
    """Runs whose users differ from the student's by a gain (and a little noise, the same in every run of a seed)."""
    roles = {"T": paper.teacher, "S": paper.student} | {
        scheme: lambda stage, seed, scheme=scheme: paper.distilled(stage, seed, scheme) for scheme in paper.methods
    }
    records = []
    for seed in range(1, seeds + 1):
        rng = np.random.default_rng(seed)
        base = rng.random(USERS)
        base[3] = np.nan  # a user without a test item
        for role, gain in gains.items():
            ap = base + gain + 0.0005 * rng.standard_normal(USERS)
            size = {"parameters": 1000 if role == "T" else 500}
            records.append(record(folder, roles[role]("F", seed), {50: float(np.nanmean(ap))}, ap, size=size))
    return records


def verdicts(card: pd.DataFrame) -> dict[str, str]:
    return dict(zip(card["claim"], card["verdict"], strict=True))


@pytest.mark.parametrize(("seeds", "holds"), [(5, "replicates"), (3, "indication")])
def test_verdicts_come_from_the_numbers(tmp_path: Path, seeds: int, holds: str) -> None:
    gains = {"T": 0.010, "S": 0.0, "RD-hybrid": 0.0095, "RD-equal": 0.008, "RD-position": 0.006}
    card = scorecard(runs_with(tmp_path, gains, seeds), resamples=200)
    said = verdicts(card)
    assert said["RD ranks better than the student alone: MAP (Caser, Gowalla, fixed50)"] == holds
    assert said["RD ranks no worse than the teacher: MAP (Caser, Gowalla, fixed50)"] == holds, "within the margin"
    assert said["The hybrid weighting beats 1/K: MAP (fixed50)"] == holds
    assert said["Weighting by position importance beats 1/K: MAP (fixed50)"] == "no", "here the opposite is true"
    assert said["The hybrid weighting beats ranking discrepancy: MAP (fixed50)"] == "not run yet"
    assert said["RD ranks better than the student alone: MAP (Fossil, Gowalla, fixed50)"] == "not run yet"
    assert said["The distilled Caser has half the teacher's parameters (ratio, Gowalla)"] == "replicates"
    first = card.iloc[0]
    assert first["ours"] == pytest.approx(0.0095, abs=3e-4) and first["low"] < first["ours"] < first["high"]
    assert first["paper"] == pytest.approx(0.0969 - 0.0919) and first["seeds"] == seeds
    opposite = card.set_index("claim").loc["Weighting by position importance beats 1/K: MAP (fixed50)"]
    assert opposite["note"] == {5: "the opposite holds", 3: "indication of the opposite"}[seeds] and np.isnan(opposite["p"])


def test_a_margin_crossed_is_no_and_a_missing_gap_is_not_testable(tmp_path: Path) -> None:
    claim = "RD ranks no worse than the teacher: MAP (Caser, Gowalla, fixed50)"
    worse = scorecard(runs_with(tmp_path / "a", {"T": 0.010, "S": 0.0, "RD-hybrid": 0.007}, 3), resamples=200)
    assert verdicts(worse)[claim] == "no" and "70% of the gap" in worse.set_index("claim").loc[claim, "note"]
    equal = scorecard(runs_with(tmp_path / "b", {"T": 0.0, "S": 0.0, "RD-hybrid": 0.0}, 3), resamples=200)
    assert verdicts(equal)[claim] == "not testable"


def test_holm_counts_the_tests_of_a_family_that_were_run(tmp_path: Path) -> None:
    records = runs_with(tmp_path, {"RD-hybrid": 0.0002, "RD-equal": 0.0, "RD-position": 0.0001}, 1)
    claims = {"RD-equal": "The hybrid weighting beats 1/K: MAP (fixed50)",
              "RD-position": "The hybrid weighting beats position importance: MAP (fixed50)"}  # fmt: skip

    def p(*roles: str) -> dict[str, float]:
        runs = [r for r in records if r.description["role"] in ("RD-hybrid", *roles)]
        card = scorecard(runs, resamples=100).set_index("claim")["p"]
        return {role: card[claims[role]] for role in roles}

    raw, adjusted = p("RD-equal") | p("RD-position"), p("RD-equal", "RD-position")
    low, high = sorted(raw, key=raw.get)
    assert 2 * raw[low] < 1
    assert adjusted[low] == pytest.approx(2 * raw[low]) and adjusted[high] == pytest.approx(max(raw[high], 2 * raw[low]))


def test_fossil_is_judged_by_its_own_numbers_and_margin(tmp_path: Path) -> None:
    """The same runs of both models: .003 below the teacher is too much for Caser and within Fossil's margin."""
    gains = {"T": 0.010, "S": 0.0, "RD-hybrid": 0.007}
    records = runs_with(tmp_path, gains, 5) + runs_with(tmp_path, gains, 3, FOSSIL)
    card = scorecard(records, resamples=200).set_index("claim")
    better, no_worse = "RD ranks better than the student alone: MAP", "RD ranks no worse than the teacher: MAP"
    assert card.loc[f"{better} (Caser, Gowalla, fixed50)", "verdict"] == "replicates"
    fossil = card.loc[f"{better} (Fossil, Gowalla, fixed50)"]
    assert fossil["verdict"] == "indication" and fossil["seeds"] == 3
    assert fossil["paper"] == pytest.approx(0.0874 - 0.0792) and fossil["ours"] == pytest.approx(0.007, abs=3e-4)
    assert card.loc[f"{no_worse} (Caser, Gowalla, fixed50)", "verdict"] == "no"
    within = card.loc[f"{no_worse} (Fossil, Gowalla, fixed50)"]
    assert within["verdict"] == "indication" and "margin 0.0037" in within["note"] and np.isnan(within["p"])
    assert within["paper"] == pytest.approx(0.0874 - 0.0866)
    for metric, gap in (("P@10", 0.0808 - 0.0739), ("nDCG@10", 0.1172 - 0.1060)):
        row = card.loc[f"RD ranks better than the student alone: {metric} (Fossil, Gowalla, fixed50)"]
        assert row["paper"] == pytest.approx(gap) and row["verdict"] == "indication"
    assert not card.index.duplicated().any()


@pytest.mark.parametrize("metric", ["MAP", "P@10"])
def test_holm_runs_over_both_models_within_each_family(tmp_path: Path, metric: str) -> None:
    """Made-up records have the same numbers in every metric, so B is P@10 and nDCG@10 of two models: four tests, two equal
    pairs. A is two."""
    caser = runs_with(tmp_path, {"S": 0.0, "RD-hybrid": 0.00005}, 1)
    fossil = runs_with(tmp_path, {"S": 0.0, "RD-hybrid": 0.0003}, 2, FOSSIL)
    claims = {m: f"RD ranks better than the student alone: {metric} ({m}, Gowalla, fixed50)" for m in ("Caser", "Fossil")}

    def p(records: list) -> pd.Series:
        return scorecard(records, resamples=100).set_index("claim")["p"]

    alone = 1 if metric == "MAP" else 2  # tests of the family with one model
    raw = {"Caser": p(caser)[claims["Caser"]] / alone, "Fossil": p(fossil)[claims["Fossil"]] / alone}
    low, high = sorted(raw, key=raw.get)
    assert 4 * raw[low] < 1 and 2 * raw[high] < 1 and raw[low] != raw[high]
    both = p(caser + fossil)
    assert both[claims[low]] == pytest.approx(2 * alone * raw[low])
    assert both[claims[high]] == pytest.approx(max(alone * raw[high], 2 * alone * raw[low]))


def test_both_protocols_are_one_family_and_validation_takes_its_chosen_epochs(tmp_path: Path) -> None:
    noise = 0.001 * np.random.default_rng(0).standard_normal(USERS)
    base = np.linspace(0.1, 0.9, USERS)
    records = [
        record(tmp_path, FOSSIL.student("F", 1), {45: 0.1, 50: 0.1}, base),
        record(tmp_path, FOSSIL.distilled("F", 1, teacher_epoch=45), {45: 0.2, 50: 0.2}, base + noise + 0.01),
    ]
    card = scorecard(records, {"Fossil T": 45, "Fossil S": 50, "Fossil RD-hybrid": 45}, resamples=100).set_index("claim")
    claim = "RD ranks better than the student alone: MAP"
    assert card.loc[f"{claim} (Fossil, Gowalla, validation)", "verdict"] == "indication"
    assert card.loc[f"{claim} (Fossil, Gowalla, fixed50)", "verdict"] == "not run yet", "another teacher's epoch"
    assert f"{claim} (Caser, Gowalla, validation)" not in card.index

    caser = runs_with(tmp_path / "caser", {"S": 0.0, "RD-hybrid": 0.00005}, 1)
    raw = {"validation": card.loc[f"{claim} (Fossil, Gowalla, validation)", "p"]}
    raw["fixed50"] = scorecard(caser, resamples=100).set_index("claim").loc[f"{claim} (Caser, Gowalla, fixed50)", "p"]
    chosen = {"Fossil T": 45, "Fossil S": 50, "Fossil RD-hybrid": 45}
    both = scorecard(records + caser, chosen, resamples=100).set_index("claim")["p"]
    low, high = sorted(raw.values())
    assert 0 < low < high
    found = [both[f"{claim} (Fossil, Gowalla, validation)"], both[f"{claim} (Caser, Gowalla, fixed50)"]]
    assert sorted(found) == pytest.approx([2 * low, max(2 * low, high)])


def test_a_gain_without_a_verdict_says_what_is_against_it(tmp_path: Path) -> None:
    base, noise = np.linspace(0.1, 0.9, USERS), 0.001 * np.random.default_rng(0).standard_normal(USERS)
    claim = "RD ranks better than the student alone: MAP (Caser, Gowalla, fixed50)"

    def note(gains: list[float]) -> str:
        made = [record(tmp_path / str(gains), PAPER.student("F", s), {50: 0.1}, base) for s in range(1, 1 + len(gains))]
        made += [record(tmp_path / str(gains), PAPER.distilled("F", s), {50: 0.1}, base + noise + gain)
                 for s, gain in enumerate(gains, 1)]  # fmt: skip
        return scorecard(made, resamples=200).set_index("claim").loc[claim, "note"]

    assert note([0.05, 0.05, 0.05, 0.05, -0.001]) == "1 of 5 seeds disagree"
    assert note([-0.05, -0.05, -0.05, -0.05, 0.001]) == "the interval lies below 0, but 1 of 5 seeds disagree"
    assert note([0.0]) == "the interval includes 0" and note([0.05, 0.05]) == ""


def test_the_controls_ask_whether_it_is_the_teacher(tmp_path: Path) -> None:
    base = np.linspace(0.1, 0.9, USERS)
    taught = {run.role: run for run in ablations.controls(PAPER, "F", 1).values()}
    values = {"RD-hybrid": 0.02, "RD-hybrid-student": 0.0201, "RD-hybrid-popular": 0.01}
    noise = 0.001 * np.random.default_rng(0).standard_normal(USERS)
    made = [record(tmp_path, taught[role], {50: 0.1}, base + gain + noise * (role != "RD-hybrid"))
            for role, gain in values.items()]  # fmt: skip
    card = scorecard(made, resamples=200)
    card = card[card["source"].str.startswith("no paper") & card["notebook"].eq("04_ablations")]
    assert list(card["verdict"]) == ["no", "indication", "not run yet"]
    assert card["paper"].isna().all() and card["p"].isna().all()


LIMIT = efficiency.largest_reported()
# value, low, high, whether the machine was quiet -> verdict and the end of the note
RATIOS = [
    ((LIMIT - 0.10, LIMIT - 0.15, LIMIT - 0.05, False), "replicates", f"{LIMIT:.2f}"),
    ((LIMIT + 0.10, LIMIT + 0.05, LIMIT + 0.15, True), "no", f"{LIMIT:.2f}"),
    ((LIMIT, LIMIT - 0.1, LIMIT + 0.1, True), "no", "; open"),
    ((LIMIT + 0.10, LIMIT + 0.05, LIMIT + 0.15, False), "not testable", "; measured on a busy machine"),
]


@pytest.mark.parametrize(("measured", "said", "note"), RATIOS)
def test_the_time_of_lists_is_that_of_the_measurement(measured, said: str, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = SimpleNamespace(**dict(zip(("value", "low", "high", "quiet"), measured, strict=True)), reported=0.4829)
    monkeypatch.setattr(efficiency, "committed_ratio", lambda model: ratio if model == "Caser" else None)
    card = scorecard([]).set_index("claim")
    row = card.loc["A distilled Caser makes its lists in about half the time (Table 3)"]
    assert card.loc["A distilled Fossil makes its lists in about half the time (Table 3)", "verdict"] == "not run yet"
    assert (row["verdict"], row["ours"], row["low"], row["high"], row["paper"]) == (said, *measured[:3], 0.4829)
    assert row["note"].endswith(note) and pd.isna(row["seeds"])


def test_without_records_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "committed_ratio", lambda model: None)
    card = scorecard([])
    assert set(card["verdict"]) == {"not run yet", "not testable"}
    assert card[["ours", "low", "high", "p", "effect_size"]].isna().all(axis=None) and card["seeds"].isna().all()


# --------------------------------------------------------------------------------------------------------------- committed


@pytest.mark.skipif(not COMMITTED, reason="no final run is committed in data/replicated yet")
@pytest.mark.parametrize("name", ["rd_table2", "rd_table4"])
def test_the_committed_tables_come_from_the_committed_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From data/reported and data/replicated alone: no network, no data set, no run store."""
    root = paths.root()
    for folder in ("reported", "replicated"):
        shutil.copytree(root / "data" / folder, tmp_path / "data" / folder)
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "none"))
    records = paper_records()
    table = getattr(report, name)(records, chosen_epochs())
    written = report.write_table(table, name, "paper", records, "00_overview")
    for ending in ("csv", "md", "tex"):
        committed = root / "figures" / "tables" / f"{name}.{ending}"
        assert committed.exists(), f"{committed.name} is missing: `rdcore reproduce --profile paper --notebooks 00`"
        assert filecmp.cmp(committed, written.with_suffix(f".{ending}"), shallow=False), f"{committed.name} is out of date"
