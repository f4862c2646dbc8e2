"""The list of papers is what its CSV and its script say."""

import csv
import importlib.util
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
spec = importlib.util.spec_from_file_location("papers", DOCS / "papers.py")
papers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(papers)


def test_the_page_is_up_to_date():
    assert papers.PAGE.read_text(encoding="utf-8") == papers.page(), "python docs/papers.py writes it"


def test_every_card_belongs_to_a_work_and_every_work_that_has_one_is_built():
    listed = {card for work in papers.rows() for card in work["card"].split(", ") if card}
    assert listed == {file.stem for file in (DOCS / "methods").glob("*.md")}
    assert all(work["status"].startswith("built") for work in papers.rows() if work["card"])


def test_a_method_is_called_matched_where_the_table_of_parity_has_it():
    with open(DOCS.parent / "figures" / "tables" / "parity.csv", newline="", encoding="utf-8") as file:
        matched = {row["method"] for row in csv.DictReader(file)}
    facts = tomllib.loads((DOCS / "methods" / "facts.toml").read_text(encoding="utf-8"))
    method = {Path(fact["file"]).name: name for name, fact in facts.items()}
    for work in papers.rows():
        for card in filter(None, work["card"].split(", ")):
            assert (work["status"] == "built and matched") == (method[card] in matched), card


def test_an_idea_that_we_did_not_read_for_ourselves_carries_its_source():
    work = dict.fromkeys(papers.COLUMNS, "") | {"title": "A", "status": "not read yet", "idea": "B.", "idea_source": "abstract"}
    assert papers.line(work) == "|  | A | B. *(abstract)* |  | not read yet |"
    assert papers.line(work | {"idea_source": "reading"}) == "|  | A | B. |  | not read yet |"
    wrong = [work | {"idea_source": ""}, work | {"idea": ""}, work | {"idea_source": "hearsay"}]
    assert all("an idea needs an idea_source" in papers._problems(each, set())[0] for each in wrong)


def test_the_page_counts_the_works_without_an_idea():
    none = sum(not work["idea"] for work in papers.rows())
    assert f"\n{none} works have no idea: no text of them could be read" in papers.page()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("status", "perhaps", "status must be one of"),
        ("distilled", "soup", "distilled must be one of"),
        ("link", "ftp://x", "link must begin with https://"),
        ("year", "soon", "year must be a number"),
        ("title", "", "every work needs a title of its own"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(tmp_path, monkeypatch, column, value, said):
    good = {"title": "A", "status": "built", "year": "2020", "link": "https://doi.org/1"}
    lines = [",".join(papers.COLUMNS)]
    lines += [",".join({**good, "title": title, **changed}.get(name, "") for name in papers.COLUMNS)
              for title, changed in (("B", {}), ("A", {column: value}))]  # fmt: skip
    file = tmp_path / "papers.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(papers, "SOURCE", file)
    with pytest.raises(ValueError, match=rf"papers.csv, line 3 .*{said}"):
        papers.rows()


def test_out_of_scope_needs_a_reason_and_a_title_stands_once():
    work = dict.fromkeys(papers.COLUMNS, "") | {"title": "A", "status": "out of scope"}
    assert papers._problems(work, {"A"}) == ["every work needs a title of its own", "out of scope needs a reason (because)"]


def test_an_empty_cell_stays_empty():
    work = dict.fromkeys(papers.COLUMNS, "") | {"title": "A|B", "status": "not read yet", "to": "x"}
    assert papers.line(work) == r"|  | A\|B |  | ? → x | not read yet |"


def test_code_and_origin_stand_behind_the_title():
    work = dict.fromkeys(papers.COLUMNS, "") | {"title": "A", "status": "built", "year": "2020", "code": "https://x.org/a/b"}
    assert papers.line(work) == "|  | A. 2020. [Code](https://x.org/a/b) |  |  | **built** |"
    later = papers.line(work | {"venue": "KDD 2021", "code": "", "link": "https://doi.org/1", "authors": "B et al."})
    assert later == "|  | [A](https://doi.org/1). B et al., KDD 2021 |  |  | **built** |"
