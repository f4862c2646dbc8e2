"""README's result tables are what the committed records say."""

import pytest

from rdcore import derrd, paths, plans, readme


def _between_marks() -> str:
    text = (paths.root() / "README.md").read_text(encoding="utf-8")
    return text.split(readme.BEGIN)[1].split(readme.END)[0].strip()


def test_the_committed_tables_are_those_of_the_records():
    assert _between_marks() == readme.text(plans.paper_records(), derrd.committed_rows()), "run `rdcore readme`"


def test_the_papers_numbers_stand_beside_ours():
    rows, of_one = (
        {row.split("|")[1].split(":")[0].strip(): row for row in part.splitlines() if "|" in row}
        for part in _between_marks().split("BPR on CiteULike")
    )
    # DE-RRD's Table 2, CiteULike, BPR, H@5
    assert "0.5135" in of_one["T"] and "0.4441" in of_one["S"] and "0.4843" in of_one["DE-RRD"]
    assert "0.0958" in rows["T"] and "0.0919" in rows["S"] and "0.0969" in rows["RD"]  # Table 2, Gowalla, Caser, MAP


def test_without_records_every_row_says_so():
    rows = readme.results([]).splitlines()[2:]
    assert len(rows) == len(readme.ROWS)
    assert all("not run" in row for row in rows)
    rows = readme.de_rrd([]).splitlines()[2:]
    assert len(rows) == len(readme.METHODS) and all("not run" in row for row in rows)


def test_a_missing_mark_is_named(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("no marks")
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="results: begin"):
        readme.write([], [])
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
