"""docs/results.md and README's results are what the committed records say."""

import ast
import inspect
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import studies
from rdcore.eval import significance
from rdcore.files import paths
from rdcore.store.runs import Record
from studies import plans, readme
from studies.common import study
from studies.common.profiles import PROFILES
from studies.distil import distil
from studies.one_protocol import study as one_protocol
from studies.one_protocol.plan import METRIC
from studies.rd import study as rd

WITHOUT_A_NOTEBOOK = {"derrd_logs", "derrd_table3", "derrd_table5", "followups", "rd_released"}


def committed_summary() -> str:
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    return text.split(readme.BEGIN)[1].split(readme.END)[0].strip()


def committed_page() -> str:
    return (paths.root() / "docs" / "results.md").read_text(encoding="utf-8")


def test_the_committed_results_are_those_of_the_records():
    assert committed_page() == readme.page(readme.card_on_file()), "run `rdcore readme`"
    assert committed_summary() == readme.summary(), "run `rdcore readme`"


@pytest.mark.parametrize("room", studies.STUDIES)
def test_the_committed_tables_have_the_numbers_of_the_records(room: str):
    (study,) = (each for each in studies.rooms() if each.__name__ == f"studies.{room}.study")
    for name, frame in study.tables().items():
        if frame.empty:  # no run of it is on record
            continue
        committed = pd.read_csv(paths.figures() / "tables" / f"{name}.csv")
        if "model" in frame:  # the notebook's table has further models and data sets
            keys = [column for column in frame.columns if not pd.api.types.is_float_dtype(frame[column]) and column != "seeds"]
            committed = frame[keys].astype(str).merge(committed.astype(dict.fromkeys(keys, str)), on=keys, how="left")
            frame = frame.astype(dict.fromkeys(keys, str))  # an epoch is a number or the word "chosen"
        if "seeds" in frame:
            frame = frame.astype({"seeds": float})  # empty where there is no run
        pd.testing.assert_frame_equal(
            frame.reset_index(drop=True), committed[frame.columns], rtol=1e-5, check_dtype=False, obj=name
        )


def test_the_tables_that_no_notebook_writes_are_the_committed_ones(tmp_path, monkeypatch):
    """What `rdcore readme` writes, byte for byte, from the committed records alone."""
    root = paths.root()
    (tmp_path / "data").mkdir()
    for folder in ("reported", "replicated"):
        (tmp_path / "data" / folder).symlink_to(root / "data" / folder)
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "none"))
    written = [file for study in studies.rooms() for file in study.write_tables()]
    assert {file.stem for file in written} == WITHOUT_A_NOTEBOOK
    for table in written:
        files = sorted(table.parent.glob(f"{table.stem}.*"))
        assert len(files) > 1
        for file in files:
            committed = root / "figures" / "tables" / file.name
            assert committed.read_bytes() == file.read_bytes(), f"{file.name} is out of date: `rdcore readme`"


def test_readmes_part_fits_a_page():
    lines = committed_summary().splitlines()
    assert max(map(len, lines)) <= 110
    rows = [line for line in lines if line.startswith("|")]
    assert all(line.count("|") == 6 for line in rows) and len(rows) > 10, "five columns"


def test_the_papers_numbers_are_in_their_rows():
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in committed_summary().splitlines() if "|" in line]
    for what, role, paper in (
        ("Caser, Gowalla: MAP", "T", "0.0958"), ("Caser, Gowalla: MAP", "S", "0.0919"), ("Caser, Gowalla: MAP", "RD", "0.0969"),
        ("Fossil, Gowalla: MAP", "T", "0.0866"), ("Fossil, Gowalla: MAP", "RD", "0.0874"),  # Table 2
        ("BPR-MF, CiteULike: H@5", "T", "0.5135"), ("BPR-MF, CiteULike: H@5", "DE-RRD", "0.4843"),  # DE-RRD's Table 2
    ):  # fmt: skip
        assert [what, role, paper] in rows


def test_a_pattern_trains_its_row_and_nothing_else():
    patterns = re.findall(r"`((?:gowalla|citeulike)-[FL]-[^`.]*)`", committed_page())
    assert len(patterns) == len(set(patterns)) > 10
    everything = plans.all_runs("paper")
    for pattern in patterns:
        found = [run for run in everything if pattern in run.label]
        alike = {(run.dataset, run.stage, run.role, type(run.model), run.model.dim) for run in found}
        assert found and (len(alike) == 1 or "seed" in pattern), f"{pattern} trains {alike}"


def test_without_records_every_row_says_so(project):
    (project / "data").mkdir()
    (project / "data" / "reported").symlink_to(paths.__file__.replace("rdcore/files/paths.py", "data/reported"))
    assert {row.ours for study in studies.rooms() for row in study.headline()} == {None}
    assert [sentence for study in studies.rooms() for sentence in study.findings()] == []
    rows = [row for row in readme.summary().splitlines() if row.startswith("| ")][1:]
    assert len(rows) == 11 and all("not run" in row for row in rows)
    assert rd.results().count("not run") == len(rd.METRICS) * sum(map(len, rd.ROWS.values()))
    rows = one_protocol.table({"citeulike BPR": []}).splitlines()[2:]
    assert len(rows) == 2 + len(one_protocol.METHODS) and all("not run" in row for row in rows)


def test_what_a_role_has_over_the_student_is_paired_by_seed(tmp_path):
    """RD has seed 1 alone, of which S is .25 and not .35, its mean."""
    plan, records = PROFILES["smoke"].one_protocol[0], []
    values = {("S", 1): 0.25, ("S", 2): 0.45, ("RD", 1): 0.35}
    for (role, seed), value in values.items():
        run = plan.student("L", seed) if role == "S" else plan.distilled("L", seed, role)
        folder = tmp_path / f"{run.label}-{run.key}"
        folder.mkdir()
        means = {"H@5": 0.5, "H@5-validation": 0.5}
        chosen = {"epoch": 1, METRIC: value} | means
        for name, content in {"description": run.description, "metrics": [{"epoch": 1} | means], "chosen": chosen}.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        records.append(Record(folder))
    rows = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:5]]
            for row in one_protocol.table({"some data": records}).splitlines()}  # fmt: skip
    assert rows["S"] == ["0.3500", "", "2"] and rows["RD"] == ["0.3500", "+0.1000", "1"]
    assert rows["CD"] == ["", "", "not run"]
    said = one_protocol.chosen_decay({"some data": records}, {"some data": records[:1]})
    assert "S has 0.2500 with the weight decay" in said and "is 0.1000 larger" in said, "S of the table has .35"


DIVIDED = " Divided by their sum, as in the paper's formula: 0.3000, S 0.2000."


@pytest.mark.parametrize(("n_seeds", "said"), [(5, DIVIDED), (2, "")])
def test_the_hybrid_in_the_papers_form_is_beside_the_released_one(n_seeds, said):
    c = significance.compare(0.3 + np.eye(n_seeds, 9) - 1 / 9, 0.2 + 0 * np.eye(n_seeds, 9))
    asked = []
    caser = SimpleNamespace(compare=lambda *pair: asked.append(pair) or c)
    assert rd._divided(caser) == said and asked == [("RD-hybrid-normalised", "S")]
    assert rd._divided(SimpleNamespace(compare=lambda *pair: None)) == ""


def test_a_section_says_where_its_runs_were_made():
    def made(device: str, kind: str, revision: int):
        return SimpleNamespace(environment={"device": device}, description={"model": {"type": kind, "revision": revision}})

    assert study.made_on([]) == ""
    assert study.made_on([made("cpu", "BPRMFSettings", 1)]) == "Made on a CPU (1 run)."
    caser = [made("NVIDIA H200", "CaserSettings", 1), *[made("cpu", "CaserSettings", 2)] * 2]
    several = [*caser, made("cpu", "FossilSettings", 7)]
    assert study.made_on(several) == "Made on a CPU (3 runs), NVIDIA H200 (1 run); Caser is at revision 1 and 2."


def test_the_claims_are_counted_and_those_with_runs_are_shown():
    card = readme.card_on_file()
    said = readme.verdicts(card)
    rows = [line for line in said.splitlines() if line.startswith("|") and not line.startswith(("|:", "| claim", "| question"))]
    assert len(rows) == len(card) > 60, "every claim, also those not run"


def test_a_missing_mark_is_named(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("no marks")
    card = readme.card_on_file()
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="<!-- results -->"):
        readme.write(card)
    assert (tmp_path / "README.md").read_text() == "no marks" and not (tmp_path / "docs").exists()


@pytest.mark.slow
def test_the_example_prints_what_readme_shows(capsys):
    """To .01: another processor or version rounds otherwise, and a small model feels it."""
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    code, after = text.split("```python\n")[1].split("```\n", 1)
    shown = pd.read_csv(io.StringIO(after.split("```text\n")[1].split("```")[0]), sep=r"\s+")
    exec(compile(code, "README.md", "exec"), {})
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out), sep=r"\s+")
    assert list(printed.index) == ["T", "S", "RD-position", "CD"]
    pd.testing.assert_frame_equal(printed, shown, atol=0.01, rtol=0)


def test_the_call_from_clicks_to_a_served_student_is_one():
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    block = text.split("```python\n")[2].split("```")[0]
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if getattr(node.func, "id", "") == "distil"]
    inspect.signature(distil).bind(*call.args, **{word.arg: word.value for word in call.keywords})


def test_readme_fits_a_page():
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    prose = "".join(text.split("```")[::2])
    assert text.count("\n") <= 150 and max(map(len, prose.splitlines())) <= 110
