"""The house: who may import whom, and how large the method may grow."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A room may import itself and the rooms named here. `checks` and `losses` are files; everybody may use them.
CORE = ("data", "models", "eval", "distill", "train")
MAY_IMPORT = {
    "rdcore.data": set(),
    "rdcore.models": {"rdcore.data"},
    "rdcore.eval": {"rdcore.data", "rdcore.models"},
    "rdcore.distill": {"rdcore.data", "rdcore.models", "rdcore.eval"},
    "rdcore.train": {"rdcore.data", "rdcore.models", "rdcore.eval", "rdcore.distill"},
    "rdcore.files": set(),
    "rdcore.datasets": {"rdcore.data", "rdcore.files"},
    "rdcore.store": {f"rdcore.{room}" for room in (*CORE, "files", "datasets")},
    "studies.common": {"rdcore"},
    "studies.rd": {"rdcore", "studies.common"},
    "studies.derrd": {"rdcore", "studies.common"},
    "studies.rankdistil": {"rdcore", "studies.common"},
    "studies.one_protocol": {"rdcore", "studies.common", "studies.rd", "studies.derrd"},
    "studies.followups": {"rdcore", "studies.common"},
    "studies.distil": {"rdcore", "studies.common"},
    "studies.flexibility": {"rdcore", "studies.common"},
}
SHARED = {"rdcore.checks", "rdcore.losses", "rdcore.settings", "rdcore.fast"}


def imports(path: Path) -> set[str]:
    """Full names of the project's modules and names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("rdcore", "studies", "benchmarks")}


def breaches(room: str) -> set[tuple[str, str]]:
    """Pairs of a file of the room and what it must not import."""
    allowed = MAY_IMPORT[room] | {room} | SHARED
    found = set()
    for path in sorted((ROOT / room.replace(".", "/")).rglob("*.py")):
        for name in imports(path):
            if not any(name == other or name.startswith(f"{other}.") for other in allowed):
                found.add((path.relative_to(ROOT).as_posix(), name))
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
    assert breaches(room) == set()


def test_rdcore_never_imports_studies_or_benchmarks():
    for path in (ROOT / "rdcore").rglob("*.py"):
        assert {name for name in imports(path) if not name.startswith("rdcore")} == set(), path


def test_studies_never_import_benchmarks():
    for path in (ROOT / "studies").rglob("*.py"):
        assert not {name for name in imports(path) if name.startswith("benchmarks")}, path


def test_the_method_stays_small():
    files = [path for room in CORE for path in (ROOT / "rdcore" / room).rglob("*.py")]
    files += [path for name in ("losses", "settings", "fast") if (path := ROOT / "rdcore" / f"{name}.py").exists()]
    lines = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in files}
    assert {name: count for name, count in lines.items() if count > LONGEST.get(name, 300)} == {}
    later = ("rdcore/distill/followups/", "rdcore/models/more/")  # what the three papers do not have: long files alone count
    assert sum(count for name, count in lines.items() if not name.startswith(later)) <= MOST_LINES


def test_no_two_test_files_share_a_name():
    """Without packages pytest can collect only one of them."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def walk() -> list[tuple[str, list[str]]]:
    """The way from RD's equation to its number in README: file, and the names to look at there."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. `([\w/]+\.py)`, (.*(?:\n   .*)*)", text, flags=re.M)
    return [(file, re.findall(r"`(\w+)`", words)) for file, words in steps]


def test_the_walk_from_the_equation_to_readme_is_there():
    """Every name is defined where CONTRIBUTING.md says, and the way grows no longer."""
    steps = walk()
    assert 8 <= len(steps) <= 9
    for file, names in steps:
        defined = re.findall(r"^(?:def|class) (\w+)", (ROOT / file).read_text(encoding="utf-8"), flags=re.M)
        assert names and set(names) <= set(defined), file


MOST_LINES = 4_000
LONGEST = {}  # files that may be longer than 300 lines
