"""The `EXAMPLES` of all methods' tests: name -> small settings. Golden runs, contract and checks of bad values take them."""

from importlib import import_module
from pathlib import Path


def examples() -> dict[str, object]:
    """Of every tests/distill/test_*.py that has them, in the order of the files."""
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    given = [getattr(import_module(file.stem), "EXAMPLES", {}) for file in files if "\nEXAMPLES = " in file.read_text()]
    found = {name: settings for each in given for name, settings in each.items()}
    assert len(found) == sum(map(len, given)), "two methods' examples have one name"
    return found
