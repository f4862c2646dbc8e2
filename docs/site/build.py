"""Builds the documentation site out of the committed notebooks and pages: `make docs`, or python docs/site/build.py.

Sphinx wants all its sources in one folder. They are gathered in build/docs, each at the place that it has in the repository,
so that links between them are right in both; the site is written to build/site. No notebook is run, and nothing fetched.
"""

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGES = (
    "README.md", "DEVIATIONS.md", "data/*/README.md", "figures/README.md", "docs/*.md", "docs/methods/*.md",
    "notebooks/*.ipynb",
    "figures/tables/*.md",
)  # fmt: skip
HOME = {"README.md": "index.md"}  # the first page; all others keep their place
LINK = re.compile(r"(\]\()([^)\s#:\\]+)([)#])")  # to a file: an address on the net has a colon
# The internals, in the order in which they are best read. A module belongs to the longest of these names that it begins with.
ROOMS = {
    "rdcore": "Shared by all",
    "rdcore.data": "Interactions, splits, queries, samples",
    "rdcore.models": "Models",
    "rdcore.distill": "Distillation",
    "rdcore.train": "Training",
    "rdcore.eval": "Evaluation",
    "rdcore.files": "Files",
    "rdcore.datasets": "Data sets",
    "rdcore.store": "The store of runs",
    "studies": "Papers, results page, command line",
}


def pages(root: Path) -> list[str]:
    """Every file that becomes a page, from the repository's top."""
    return [file.relative_to(root).as_posix() for pattern in PAGES for file in sorted(root.glob(pattern))]


def gather(root: Path, target: Path) -> None:
    """Write the sources of the site to ``target``, a new folder: pages, what they link to, navigation and reference."""
    found = pages(root)
    made_by = json.loads((root / "figures" / "MANIFEST.json").read_text(encoding="utf-8"))
    tables = {name: _origin(root, name, made_by) for name in found if name.startswith("figures/tables/")}
    for name in found:
        text = (root / name).read_text(encoding="utf-8")
        if name in tables:
            text = f"# {Path(name).stem}\n\n{tables[name]}\n\n{text}"
        text = LINK.sub(lambda link, page=name: _linked(link, page, found, root, target), text)
        if name == "README.md":
            text += (HERE / "navigation.md").read_text(encoding="utf-8")
        _write(target / HOME.get(name, name), text)
    _write(target / "tables.md", _table_of_tables(tables))
    names = modules(root)
    for module in names:
        _write(target / "api" / f"{module}.rst", f"{module}\n{'=' * len(module)}\n\n.. automodule:: {module}\n")
    reference = (HERE / "api.md").read_text(encoding="utf-8") + _public_names(root) + _internals(root, names)
    _write(target / "api.md", reference + _toctree(f"api/{module}" for module in names))


def modules(root: Path) -> list[str]:
    """Every public module of the packages that are installed, by room."""
    files = [file for package in ("rdcore", "studies") for file in (root / package).rglob("*.py")]
    parts = [file.relative_to(root).with_suffix("").parts for file in files]
    names = {".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts if part[-1] != "__main__"}
    public = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
    return sorted(set(public) - {"rdcore"}, key=lambda name: (list(ROOMS).index(_room(name)), name))


def _room(module: str) -> str:
    """The room that a module belongs to."""
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


def _public_names(root: Path) -> str:
    """A table of the names that `rdcore` itself offers, each with a link to the page of its module."""
    file = root / "rdcore" / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "PUBLIC"]
    if not values:
        return ""
    public = ast.literal_eval(values[0])
    rows = "".join(f"| `{name}` | [{module}](api/{module}.rst) |\n" for name, module in public.items())
    return f"\n| name | from |\n|---|---|\n{rows}"


def _internals(root: Path, names: list[str]) -> str:
    """A section for each room: its modules, with the first sentence of each."""
    text = "\n## Internals\n"
    for room, title in ROOMS.items():
        inside = [name for name in names if _room(name) == room]
        lines = "".join(f"- [{name}](api/{name}.rst): {_first_sentence(root, name)}\n" for name in inside)
        text += f"\n### {title}\n\n{lines}" if inside else ""
    return text


def _linked(link: re.Match, page: str, found: list[str], root: Path, target: Path) -> str:
    """The link as it is, but for HOME. A file that is no page comes along, to be shown or downloaded; a link to nowhere is left
    to Sphinx, which says where it stands."""
    file = (root / page).parent.joinpath(unquote(link[2])).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        return link[0]
    name = file.relative_to(root).as_posix()
    if name in HOME:
        return link[1] + link[2].removesuffix(name) + HOME[name] + link[3]
    if name not in found:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target / name)
    return link[0]


def _origin(root: Path, table: str, made_by: dict) -> str:
    source = made_by.get(table.removeprefix("figures/"), {}).get("source", "")
    if (root / "notebooks" / f"{source}.ipynb").is_file():
        return f"Written by [{source}](/notebooks/{source}.ipynb)."
    return f"Written by {source}." if source else ""


def _table_of_tables(tables: dict[str, str]) -> str:
    rows = "\n".join(f"| [{Path(name).stem}](/{name}) | {origin} |" for name, origin in tables.items())
    return (
        "# Tables\n\nThe tables of paper size that the notebooks write from the committed records; the same as CSV and LaTeX"
        f" stand in `figures/tables`.\n\n| table | |\n|---|---|\n{rows}\n"
    ) + _toctree(name.removesuffix(".md") for name in tables)


def _first_sentence(root: Path, module: str) -> str:
    """Of the module's docstring."""
    file = root.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    paragraph = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.) ", paragraph)[0]


def _toctree(entries: Iterable[str]) -> str:
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(entries) + "\n```\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def main() -> int:
    """Sphinx's exit status. Only a site without a warning takes the place of the last one."""
    from sphinx.cmd.build import main as sphinx

    sources, new, site = (ROOT / "build" / name for name in ("docs", "site.new", "site"))
    for folder in (sources, new):
        shutil.rmtree(folder, ignore_errors=True)
    gather(ROOT, sources)
    failed = sphinx(["-b", "html", "-c", str(HERE), "-d", str(ROOT / "build" / "doctrees"), "-E", "-q", "-W", "--keep-going",
                     str(sources), str(new)])  # fmt: skip
    if not failed:
        shutil.rmtree(site, ignore_errors=True)
        new.rename(site)
        print(f"{site / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
