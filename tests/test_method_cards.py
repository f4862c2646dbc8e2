"""The cards are what their facts and the settings say."""

import csv
import importlib.util
import tomllib
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "methods" / "cards.py"
spec = importlib.util.spec_from_file_location("cards", SCRIPT)
cards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cards)
WRITTEN = cards.cards()


@pytest.mark.parametrize("file", sorted(WRITTEN), ids=lambda file: file.stem)
def test_a_card_is_up_to_date(file):
    assert file.read_text(encoding="utf-8") == WRITTEN[file], "python docs/methods/cards.py writes it"


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
    rows = [line for line in (root / "DEVIATIONS.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    compared = csv.DictReader((root / "figures" / "tables" / "parity.csv").open(encoding="utf-8"))
    for name, repository, commit in sorted({(row["method"], row["repository"], row["commit"]) for row in compared}):
        short = repository.split(",")[0].split("/")[1]
        if name not in facts:  # a method of the first papers
            continue
        assert f"{short} {commit}" in facts[name]["paper"], name
        for source in (row.split("|")[2] for row in rows if row.startswith(f"| {name} |")):
            assert commit in source or "the same" in source, name  # as in the row above
