"""The documentation site: nothing is forgotten in its navigation, links survive, docstrings become reStructuredText.

Whether the site builds and works in a browser is `make docs-check` (tests/site/check.py), which needs Sphinx and Chromium.
"""

import dataclasses
import fnmatch
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import rdcore

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build, docstrings = _load("build"), _load("docstrings")


def _entries(text: str) -> list[str]:
    """What the toctrees of a page list."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    return [line.rpartition("<")[2].removesuffix(">") for line in lines]  # a title may come before the page


def test_reference_has_every_public_module_by_room() -> None:
    names = build.modules(ROOT)
    assert len(set(names)) == len(names) and {"rdcore.api", "rdcore.distill.rd", "rdcore.store", "studies.cli"} <= set(names)
    assert not [name for name in names if name.split(".")[-1].startswith("_")] and "rdcore" not in names
    in_order = ["rdcore.data", "rdcore.distill.rd", "rdcore.store", "studies.cli"]
    assert sorted(in_order, key=names.index) == in_order


def test_public_names_come_before_the_internals() -> None:
    text = build._public_names(ROOT)
    assert ".. autofunction:: rdcore.api.fit\n" in text and ".. autoclass:: rdcore.distill.rd.RDSettings\n" in text
    assert len(re.findall(r"^\.\. auto", text, re.MULTILINE)) == len(rdcore.PUBLIC)


@pytest.mark.parametrize("page", [page for page in build.pages(ROOT) if not page.startswith("figures/")])
def test_navigation_has_every_notebook_and_page(page: str) -> None:
    wanted = page.rpartition(".")[0]
    entries = _entries((SITE / "navigation.md").read_text())  # a star of Sphinx matches no slash
    found = [each for each in entries if each.count("/") == wanted.count("/") and fnmatch.fnmatchcase(wanted, each)]
    assert len(found) == 1, f"docs/site/navigation.md lists {page} once"


def test_every_notebook_is_a_page() -> None:
    notebooks = {source.with_suffix(".ipynb").relative_to(ROOT).as_posix() for source in (ROOT / "notebooks").glob("[0-9]*.py")}
    assert notebooks <= set(build.pages(ROOT))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with links of every kind."""
    files = {
        "README.md": "[guide](docs/guide.md#there) [free](LICENSE) [net](https://example.org/a.md) [gone](no.md) [in](docs)\n",
        "LICENSE": "free",
        "docs/guide.md": "[home](../README.md) [top](../README.md#home) ![curve](../figures/curve.png)\n",
        "notebooks/00_a.ipynb": json.dumps({"cells": [{"source": ["[home](../README.md)\n", "[code](../rdcore/x.py)"]}]}),
        "figures/curve.png": "picture",
        "figures/MANIFEST.json": json.dumps({"tables/one.md": {"runs": [], "source": "00_a"}}),
        "figures/tables/one.md": "| a |\n|---|\n| 1 |\n",
        "rdcore/x.py": '"""One\nsentence (x.py). Another.\n\nMore.\n"""\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_gathered_links_lead_somewhere(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machinery = tmp_path / "machinery"
    machinery.mkdir()
    (machinery / "navigation.md").write_text("NAVIGATION")
    (machinery / "home.md").write_text("# Home\n\n[read](README.md)\n")
    (machinery / "api.md").write_text("# API\n")
    monkeypatch.setattr(build, "HERE", machinery)
    target = tmp_path / "build" / "docs"
    build.gather(repository, target)

    assert (target / "index.md").read_text() == "# Home\n\n[read](README.md)\nNAVIGATION"
    # A link to nowhere is not changed, and Sphinx names its file and line. A folder is no page: the text is left.
    readme = (target / "README.md").read_text()
    assert readme == "[guide](docs/guide.md#there) [free](LICENSE) [net](https://example.org/a.md) [gone](no.md) in\n"
    guide = (target / "docs/guide.md").read_text()
    assert guide == "[home](../README.md) [top](../README.md#home) ![curve](../figures/curve.png)\n"
    assert (target / "LICENSE").read_text() == "free" and (target / "figures/curve.png").read_text() == "picture"
    notebook = json.loads((target / "notebooks/00_a.ipynb").read_text())
    assert notebook["cells"][0]["source"] == ["[home](../README.md)\n", "[code](../rdcore/x.py)"]
    assert (target / "rdcore/x.py").exists()
    assert (target / "figures/tables/one.md").read_text().startswith("# one\n\nWritten by [00_a](/notebooks/00_a.ipynb).\n")
    assert "- [rdcore.x](api/rdcore.x.rst): One sentence (x.py).\n" in (target / "api.md").read_text()
    assert _entries((target / "api.md").read_text()) == ["api/rdcore.x"]
    assert _entries((target / "tables.md").read_text()) == ["figures/tables/one"]
    assert ".. automodule:: rdcore.x" in (target / "api/rdcore.x.rst").read_text()
    assert sorted(file.name for file in target.rglob("*")) == sorted(
        ["index.md", "README.md", "docs", "guide.md", "LICENSE", "notebooks", "00_a.ipynb", "figures", "curve.png", "tables",
         "one.md", "tables.md", "api.md", "api", "rdcore.x.rst", "rdcore", "x.py"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Uses `rank` and `f(x, y)`.", "Uses :py:obj:`rank` and ``f(x, y)``."),
        ("``n * m`` of `a`s, n_users * n_items, x_ |T_u|, *seen*.",
         "``n * m`` of :py:obj:`a`\\ s, n_users \\* n_items, x\\_ \\|T_u\\|, *seen*."),
        ("As\n\n    a * b_\n\nsays.", "As\n\n::\n\n    a * b_\n\nsays."),
        ("Tree:\n\n    one\n\n      two\n", "Tree:\n\n::\n\n    one\n\n      two"),
        ("Args:\n    a: first\n\n    b: *second", "Args:\n    a: first\n\n    b: \\*second"),
        ("- one\n\n  still one", "- one\n\n  still one"),
        ("a: first\nstill first\nb, c: both", "- :py:obj:`a`: first\n  still first\n- ``b, c``: both"),
        ("note: one line is prose\nand goes on.", "note: one line is prose\nand goes on."),
    ],
)  # fmt: skip
def test_docstring_as_restructured_text(docstring: str, expected: str) -> None:
    assert "\n".join(docstrings.restructured(docstring.split("\n"))).rstrip("\n") == expected


def test_fields_of_settings_have_an_entry_each() -> None:
    pytest.importorskip("sphinx", reason="of the extra docs")
    from rdcore.distill import RDSettings

    lines = ["Settings of RD."]
    docstrings.process(None, "class", "rdcore.distill.rd.RDSettings", RDSettings, None, lines)
    entries = [line.rpartition(" ")[2] for line in lines if line.startswith(".. attribute::")]
    assert entries == [field.name for field in dataclasses.fields(RDSettings)]
    place = lines.index(".. attribute:: K")
    assert lines[place + 1 : place + 4] == ["   :no-index:", "   :type: int", "   :value: 10"]
    assert lines[place + 5] == "   Length of the teacher's list."


def test_package_says_what_can_be_imported_from_it() -> None:
    import rdcore.distill

    lines = ["Methods."]
    docstrings.process(None, "module", "rdcore.distill", rdcore.distill, None, lines)
    assert lines[0] == "Methods."
    assert ":py:obj:`~rdcore.distill.rd.Hybrid`" in "\n".join(lines)
    lines = ["A class."]
    docstrings.process(None, "class", "rdcore.distill.Both", rdcore.distill.Both, None, lines)
    assert lines == ["A class.", ""]


def test_first_line_of_a_property_is_no_type() -> None:
    lines = ["Means: MAP, P@3."]
    docstrings.process(None, "property", "rdcore.store.runs.Record.metrics", None, None, lines)
    assert lines == ["..", "", "Means: MAP, P@3.", ""]


def test_every_picture_is_in_the_list_of_pictures() -> None:
    text = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.png\) \| \S.* \| \[", text, re.MULTILINE)
    assert listed == sorted(file.stem for file in (ROOT / "figures").glob("*.png"))


@pytest.mark.parametrize(("name", "form"), [("kills", {}), ("fuzz", {"intfmt": ","})])
def test_counts_for_people_are_those_of_the_long_form(name: str, form: dict) -> None:
    file = ROOT / "figures" / "tables" / f"{name}.csv"
    assert file.with_suffix(".md").read_text() == pd.read_csv(file).to_markdown(index=False, **form) + "\n"
