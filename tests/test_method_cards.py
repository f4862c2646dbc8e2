"""The cards are what their facts and the settings say."""

import importlib.util
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
    import tomllib

    from rdcore import distill

    facts = tomllib.loads((SCRIPT.parent / "facts.toml").read_text(encoding="utf-8"))
    for name, each in facts.items():
        said = cards.fields(getattr(distill, each["settings"]))
        assert name == "CD" or all(text for _, _, text in said), name
