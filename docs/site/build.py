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
    "README.md", "DEVIATIONS.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/*/README.md", "figures/README.md",
    "docs/*.md", "docs/methods/*.md", "notebooks/*.ipynb", "figures/tables/*.md",
)  # fmt: skip
LINK = re.compile(r"\[([^\][]*)\]\(([^)\s#:\\]+)(?=[)#])(\)?)")  # to a file: an address on the net has a colon
# The public names by the room that `rdcore` takes them from.
GROUPS = {
    "Data": ("datasets", "data"),
    "Train and compare": ("api", "train", "store"),
    "Models": ("models",),
    "Methods, and the weights of RD": ("distill",),
}
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
        _write(target / name, text)
    home = (HERE / "home.md").read_text(encoding="utf-8") + (HERE / "navigation.md").read_text(encoding="utf-8")
    _write(target / "index.md", LINK.sub(lambda link: _linked(link, "index.md", found, root, target), home))
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
    """Documentation of every name that `rdcore` itself offers, in the groups of `GROUPS`."""
    public = _public(root)
    text = ""
    for group, homes in GROUPS.items():
        entries = [_directive(root, name, home) for name, home in public.items() if home.split(".")[1] in homes]
        text += f"\n### {group}\n\n```{{eval-rst}}\n{''.join(entries)}```\n" if entries else ""
    return text


def _public(root: Path) -> dict[str, str]:
    """Name and module of `rdcore.PUBLIC`, read without importing it; empty where there is none."""
    file = root / "rdcore" / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "PUBLIC"]
    return ast.literal_eval(values[0]) if values else {}


def _directive(root: Path, name: str, module: str) -> str:
    """Autodoc's directive for a name that can be imported from ``module``: at the file that defines it."""
    place = root.joinpath(*module.split("."))
    for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                parts = file.relative_to(root).with_suffix("").parts
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                options = "   :no-index:\n" + "   :no-members:\n   :no-show-inheritance:\n" * (kind == "class")
                return f".. auto{kind}:: {'.'.join(part for part in parts if part != '__init__')}.{name}\n{options}\n"
    raise SystemExit(f"rdcore.PUBLIC names {name}, which no file of {module} defines")


def _internals(root: Path, names: list[str]) -> str:
    """A section for each room: its modules, with the first sentence of each."""
    text = "\n## Internals\n"
    for room, title in ROOMS.items():
        inside = [name for name in names if _room(name) == room]
        lines = "".join(f"- [{name}](api/{name}.rst): {_first_sentence(root, name)}\n" for name in inside)
        text += f"\n### {title}\n\n{lines}" if inside else ""
    return text


def _linked(link: re.Match, page: str, found: list[str], root: Path, target: Path) -> str:
    """The link as it is. A file that is no page is copied, to be shown or downloaded. Of a link to a folder its text is left. A
    link to nowhere is left to Sphinx, which names the page and the line."""
    file = (root / page).parent.joinpath(unquote(link[2])).resolve()
    if file.is_relative_to(root) and file.is_dir() and link[3]:
        return link[1]
    if not file.is_relative_to(root) or not file.is_file():
        return link[0]
    name = file.relative_to(root).as_posix()
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
        f" are in `figures/tables`.\n\n| table | |\n|---|---|\n{rows}\n"
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
