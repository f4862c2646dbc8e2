"""Tables from made-up records with known answers; and the committed tables from the committed records."""

import filecmp
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import record

from rdcore.files import paths
from studies.common import report, text
from studies.common.profiles import PROFILES
from studies.common.report import COLUMNS, rd_table2, rd_table4
from studies.common.reported import reported
from studies.common.selection import chosen_epochs
from studies.rd.plan import baselines
from studies.rd.study import paper_records

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
    found = {(j.model, j.role): (j.protocol, j.epoch) for j in report.at_epochs(records)}
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


def test_a_difference_beside_an_interval_is_one_of_metrics() -> None:
    """Beside a reported number it is relative: +7.8 % where a mean rises by .078 would be wrong."""
    beside = text.cells(pd.DataFrame({"seeds": [3.0], "difference": [0.078], "low": [-0.06], "high": [0.0959]}))
    assert beside.loc[0].tolist() == ["3", "+0.0780", "-0.0600", "+0.0959"]
    reported = text.cells(pd.DataFrame({"reported": [0.5], "difference": [-0.0512]}))
    assert reported.loc[0].tolist() == ["0.5000", "-5.1%"]
