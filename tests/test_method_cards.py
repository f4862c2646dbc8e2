"""The cards are what their facts and the settings say."""

import csv
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import rdcore
from studies.followups import study

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "methods" / "cards.py"
spec = importlib.util.spec_from_file_location("cards", SCRIPT)
cards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cards)
WRITTEN = cards.cards()


@pytest.mark.parametrize("file", sorted(WRITTEN), ids=lambda file: file.stem)
def test_a_card_is_up_to_date(file):
    assert file.read_text(encoding="utf-8") == WRITTEN[file], "python docs/methods/cards.py writes it"


FACTS = tomllib.loads((SCRIPT.parent / "facts.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FACTS)
def test_the_code_of_a_card_runs(name, capsys):
    """On synthetic data, which have too few items for the depth of some lists: these get shorter ones."""
    shorter = {"IR-RRD": "depth=100, users=rdcore.RRDSettings(depth=100)", "DCD": "depth=100, item_depth=100"}
    if getattr(getattr(rdcore, FACTS[name]["settings"])(), "depth", 0) > 100:
        shorter.setdefault(name, "depth=100")
    facts = FACTS[name] | ({"arguments": shorter[name]} if name in shorter else {})
    exec(cards.code(facts).replace("ml-100k", "synthetic"), {})
    assert re.search(r"^T +0\.\d+.*\nstudent +0\.\d+", capsys.readouterr().out, re.M)


def test_every_later_method_has_a_card():
    folder = SCRIPT.parents[2] / "rdcore" / "distill" / "followups"
    with_settings = {file.stem for file in folder.glob("*.py") if "Settings(Settings):" in file.read_text(encoding="utf-8")}
    assert {file.stem for file in WRITTEN} >= with_settings


def test_no_card_has_a_field_without_a_docstring():
    from rdcore import distill

    facts = tomllib.loads((SCRIPT.parent / "facts.toml").read_text(encoding="utf-8"))
    for name, each in facts.items():
        said = cards.fields(getattr(distill, each["settings"]))
        assert name == "CD" or all(text for _, _, text in said), name


def test_a_card_names_the_code_that_its_method_was_compared_with():
    """By repository and commit; DEVIATIONS.md names the commit in the method's row."""
    root = SCRIPT.parents[2]
    facts = tomllib.loads((SCRIPT.parent / "facts.toml").read_text(encoding="utf-8"))
    section = (root / "DEVIATIONS.md").read_text(encoding="utf-8").split("\n## Later methods and models")[1].split("\n## ")[0]
    sources, above = {}, ""
    for names, source in (row.split("|")[1:3] for row in section.splitlines() if row.startswith("| ")):
        above = source if source.strip() != "the same" else above
        sources |= {name: above for name in names.strip().split(", ") if name not in sources}
    compared = csv.DictReader((root / "figures" / "tables" / "parity.csv").open(encoding="utf-8"))
    for name, repository, commit in sorted({(row["method"], row["repository"], row["commit"]) for row in compared}):
        short = repository.split(",")[0].split("/")[1]
        if name not in facts:  # a method of the first papers
            continue
        assert f"{short} {commit}" in facts[name]["paper"], name
        assert commit in sources[name], name


def test_a_card_explains_the_greek_letters_of_its_equation():
    facts = tomllib.loads((SCRIPT.parent / "facts.toml").read_text(encoding="utf-8"))
    letters = re.compile(r"\\(?:lambda|tau|alpha|beta|gamma|epsilon|sigma|pi)(?:_\w)?(?![a-zA-Z])")
    for name, each in facts.items():
        explained = set(letters.findall(" ".join(symbol for symbol, _ in each["symbols"])))
        assert set(letters.findall(each["equation"])) <= explained, name


def test_a_card_says_what_stands_in_brackets():
    told = [line for text in WRITTEN.values() for line in text.splitlines() if line.startswith("- Here: ") and " (0." in line]
    assert told and all("(in brackets: the authors' log)" in line for line in told)


@pytest.mark.parametrize("name", FACTS)
def test_a_card_says_where_its_defaults_and_its_words_on_the_paper_come_from(name):
    text = WRITTEN[SCRIPT.parent / f"{name.lower().replace('-', '_')}.md"]
    settings = getattr(rdcore.distill, FACTS[name]["settings"])
    assert " ".join(settings.__doc__.replace("``", "`").split()) in text
    assert re.search("The defaults? |Chosen here|are\\s+ours", settings.__doc__), "whose values the defaults are"
    assert "What is called the paper's on this page rests on: " + FACTS[name]["basis"] in text
    assert re.search("[Nn]otes|abstract|[Ss]ummaries|code|woriazzc/KDs", FACTS[name]["basis"]), "the source"


def test_what_cards_say_of_rce_kds_split_is_as_in_its_runs():
    """Under "When to use it" of RCE-KD, KD-CE and DCD."""
    table = study.tables()["followups"].query("study == 'rcekd' and epoch == 'chosen' and student_dim == 20")
    at_10, at_20 = (table[table["metric"] == metric].set_index("method")["mean"] for metric in ("R@10", "R@20"))
    assert at_10["RCE-KD"] < min(at_10["KD-CE"], at_10["HetComp"]) and at_20["RCE-KD"] == at_20.max()
    assert abs(at_10["DCD"] - at_10["RRD"]) < 0.001 and at_10["DCD"] > at_10["S"] + 0.005


def test_unkd_and_rare_items_are_as_in_its_runs():
    """What UnKD's card says under "When to use it"."""
    table = study.tables()["followups"].query("study == 'unkd' and metric == 'Recall@10-unpopular' and epoch == 'chosen'")
    found = table[table["student_dim"] == 10].set_index("method")["mean"]
    assert found["S"] < found["UnKD"] < min(found["RRD"], found["CD"])
