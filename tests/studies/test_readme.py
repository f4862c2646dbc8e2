"""README's result tables are what the committed records say."""

import json
import re

import pytest

from rdcore.files import paths
from rdcore.store.runs import Record
from studies import plans, readme
from studies.common.profiles import PROFILES
from studies.derrd import plan as derrd
from studies.one_protocol import plan as one_protocol
from studies.rd import plan as rd


def _between_marks() -> str:
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    return text.split(readme.BEGIN)[1].split(readme.END)[0].strip()


def test_the_committed_tables_are_those_of_the_records():
    compared, alone = one_protocol.committed_comparisons(), one_protocol.students_with_the_plans_decay()
    found = readme.text(rd.paper_records(), derrd.committed_rows(), compared, alone, readme.card_on_file())
    assert _between_marks() == found, "run `rdcore readme`"


def test_the_papers_numbers_stand_beside_ours():
    tables = _between_marks().split("### The papers' tables")[1]
    rows, fossil, of_one, compared = (
        {row.split("|")[1].split(":")[0].strip(): row for row in part.splitlines() if "|" in row}
        for part in re.split("Fossil on Gowalla|BPR on CiteULike|### All methods", tables)
    )
    assert "0.0866" in fossil["T"] and "0.0874" in fossil["RD"]  # Table 2, Gowalla, Fossil, MAP
    # DE-RRD's Table 2, CiteULike, BPR, H@5
    assert "0.5135" in of_one["T"] and "0.4441" in of_one["S"] and "0.4843" in of_one["DE-RRD"]
    assert compared["S"].count(" 3 ") == 2, "S of both data sets, three seeds each"
    assert "0.0958" in rows["T"] and "0.0919" in rows["S"] and "0.0969" in rows["RD"]  # Table 2, Gowalla, Caser, MAP


def test_a_pattern_trains_its_row_and_nothing_else():
    patterns = re.findall(r"`((?:gowalla|citeulike)-[FL]-[^`.]*)`", _between_marks())
    assert len(patterns) == len(set(patterns)) + 1, "one stands in a sentence besides"
    everything = plans.all_runs("paper")
    for pattern in patterns:
        found = [run for run in everything if pattern in run.label]
        alike = {(run.dataset, run.stage, run.role, type(run.model), run.model.dim) for run in found}
        assert found and len(alike) == 1, f"{pattern} trains {alike}"


def test_the_claims_are_counted_and_those_with_runs_are_shown():
    card = readme.card_on_file()
    said = readme.verdicts(card)
    rows = [line for line in said.splitlines() if line.startswith("|") and not line.startswith(("|:", "| claim", "| question"))]
    assert len(rows) == card["ours"].notna().sum() > 15
    assert sum(int(n) for n in re.findall(r"(\d+) \*", said)) == len(card) == sum(int(n) for n in re.findall(r"Of (\d+)", said))
    one = card.assign(ours=[0.5] + [float("nan")] * (len(card) - 1), low=0.25, high=0.75, note="why", verdict="no")
    said = readme.verdicts(one)
    ours = (card["source"] == "no paper: our question").sum()
    assert f"Of {len(card) - ours} claims of the papers: {len(card) - ours} *no*" in said and f"{ours} *no*" in said
    assert "0.500 (0.250 to 0.750)" in said and said.count("why") == 1


def test_without_records_every_row_says_so():
    rows = readme.results([]).splitlines()[2:]
    assert len(rows) == len(readme.ROWS["Caser"])
    assert all("not run" in row for row in rows)
    rows = readme.de_rrd([]).splitlines()[2:]
    assert len(rows) == len(readme.METHODS_OF_ONE) and all("not run" in row for row in rows)
    rows = readme.one_protocol({"some data": []}).splitlines()[2:]
    assert len(rows) == 2 + len(readme.METHODS) and all("not run" in row for row in rows)


def test_what_a_role_has_over_the_student_is_paired_by_seed(tmp_path):
    """RD has seed 1 alone, of which S is .25 and not .35, its mean."""
    plan, records = PROFILES["smoke"].one_protocol[0], []
    values = {("S", 1): 0.25, ("S", 2): 0.45, ("RD", 1): 0.35}
    for (role, seed), value in values.items():
        run = plan.student("L", seed) if role == "S" else plan.distilled("L", seed, role)
        folder = tmp_path / f"{run.label}-{run.key}"
        folder.mkdir()
        means = {"H@5": 0.5, "H@5-validation": 0.5}
        chosen = {"epoch": 1, one_protocol.METRIC: value} | means
        for name, content in {"description": run.description, "metrics": [{"epoch": 1} | means], "chosen": chosen}.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        records.append(Record(folder))
    rows = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:5]]
            for row in readme.one_protocol({"some data": records}).splitlines()}  # fmt: skip
    assert rows["S"] == ["0.3500", "", "2"] and rows["RD"] == ["0.3500", "+0.1000", "1"]
    assert rows["CD"] == ["", "", "not run"]
    said = readme.with_the_plans_decay({"some data": records}, {"some data": records[:1]})
    assert "S has 0.2500 with the plan's decay" in said and "is -0.1000 less" in said, "S of the table has .35"


def test_a_missing_mark_is_named(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("no marks")
    card = readme.card_on_file()
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="results: begin"):
        readme.write([], [], {}, {}, card)
    assert (tmp_path / "README.md").read_text() == "no marks"


def test_the_example_with_own_data_runs(tmp_path, monkeypatch, capsys):
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    rows = ["who,what,when"] + [f"u{u},i{(u * 7 + t * t) % 40},{t}" for u in range(12) for t in range(12)]
    (tmp_path / "clicks.csv").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "MAP" in printed and "nDCG@10" in printed
    assert len(list((tmp_path / "runs").glob("*/DONE"))) == 2  # teacher and student
