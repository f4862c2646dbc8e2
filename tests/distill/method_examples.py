"""The `EXAMPLES` of all methods' and later models' tests: name -> small settings. Golden runs, contract and checks of bad
values take them."""

import sys
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parents[1]


def examples(folder: str = "distill") -> dict[str, object]:
    """Of every test_*.py in that folder of tests that has them, in the order of the files."""
    files = [file for file in sorted((TESTS / folder).glob("test_*.py")) if "\nEXAMPLES = " in file.read_text()]
    sys.path.append(str(TESTS / folder))
    given = [import_module(file.stem).EXAMPLES for file in files]
    sys.path.pop()
    found = {name: settings for each in given for name, settings in each.items()}
    assert len(found) == sum(map(len, given)), "two tests' examples have one name"
    return found
