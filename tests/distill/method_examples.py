"""The `EXAMPLES` of all methods' and later models' tests: name -> small settings. Golden runs, contract and checks of bad
values take them. A method's test names in `DRAW_NOTHING` the examples whose training draws no random number."""

import sys
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parents[1]


def tests_with_examples(folder: str) -> list:
    """The modules test_*.py in that folder of tests that have some, in the order of the files."""
    files = [file for file in sorted((TESTS / folder).glob("test_*.py")) if "\nEXAMPLES = " in file.read_text()]
    sys.path.append(str(TESTS / folder))
    modules = [import_module(file.stem) for file in files]
    sys.path.pop()
    return modules


def examples(folder: str = "distill") -> dict[str, object]:
    given = [module.EXAMPLES for module in tests_with_examples(folder)]
    found = {name: settings for each in given for name, settings in each.items()}
    assert len(found) == sum(map(len, given)), "two tests' examples have one name"
    return found


def draw_nothing() -> set[str]:
    return set().union(*(getattr(module, "DRAW_NOTHING", ()) for module in tests_with_examples("distill")))
