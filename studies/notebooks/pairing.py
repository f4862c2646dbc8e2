"""A notebook as a pair of files: how the pair is kept together (jupytext), and what must be true of it (guard).

notebooks/NN_name.py (py:percent) is the source; NN_name.ipynb has the same cells with the outputs of profile
`small`, committed. Everything here goes from .py to .ipynb, never back, so that a checkout's file times decide nothing.

jupytext, nbformat and papermill are imported where they are needed: a machine that only trains has none of them.
"""

import ast
import re
from pathlib import Path
from typing import Any

from rdcore.files import paths
from rdcore.files.whole import write_whole

TYPES = {"str": str, "int": int, "float": float, "bool": bool}
LIMIT_KB = 1500
ABSOLUTE = re.compile(r"(?<![\w./:-])/(?:home|work|tmp|root|Users)(?:/|\b)|\b[A-Z]:\\(?=[A-Z])")


def folder() -> Path:
    """Where the notebooks are, and the working directory that Jupyter, nbval and papermill here give them."""
    return paths.root() / "notebooks"


def discover(chosen: str | list[str] | None = None) -> list[Path]:
    """The notebooks' sources in order; `chosen`: numbers or names, "02,03" or ["02", "03_ranking_distillation"]."""
    found = sorted(folder().glob("[0-9][0-9]_*.py"))
    if not chosen:
        return found
    wanted = [w for w in (chosen.replace(",", " ").split() if isinstance(chosen, str) else chosen) if w]
    unknown = [w for w in wanted if not any(w in (p.stem, p.stem[:2]) for p in found)]
    if unknown:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are: {', '.join(p.stem for p in found) or 'none'}")
    return [p for p in found if p.stem in wanted or p.stem[:2] in wanted]


def files() -> list[Path]:
    """One path for every pair, also for a pair whose .py is missing: what the guard looks at."""
    return sorted({p.with_suffix(".py") for p in folder().glob("[0-9][0-9]_*") if p.suffix in (".py", ".ipynb")})


def read(source: Path) -> Any:
    """The notebook of a .py, with ids and outputs of its .ipynb where cells are the same."""
    import jupytext
    import nbformat
    from jupytext.combine import combine_inputs_with_outputs

    notebook = jupytext.read(source)
    pair = source.with_suffix(".ipynb")
    if pair.exists():
        notebook = combine_inputs_with_outputs(notebook, nbformat.read(pair, as_version=4), fmt="py:percent")
    return notebook


def normal(notebook: Any) -> Any:
    """The form that is committed: the cells and their outputs, and nothing that differs from one execution to the next."""
    import nbformat

    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _joined(_without_widgets(cell.outputs))
    spec = notebook.metadata.get("kernelspec", {})
    kernel = {"display_name": spec.get("display_name", "Python 3"), "language": "python", "name": spec.get("name", "python3")}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _without_widgets(outputs: list) -> list:
    """A progress bar leaves a view of a widget whose state nobody keeps; it would show as an empty box."""
    return [o for o in outputs if "application/vnd.jupyter.widget-view+json" not in o.get("data", {})]


def _joined(outputs: list) -> list:
    """Text that arrived in pieces as one output: where it was cut depends on the machine's speed."""
    joined: list = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def write(notebook: Any, path: Path) -> None:
    """Write by rename: a reader, or a Jupyter that has the file open, never sees half of it."""
    import nbformat

    write_whole(path, lambda draft: nbformat.write(notebook, draft))


def sync(chosen: str | list[str] | None = None) -> list[Path]:
    """Bring the cells of every .ipynb up to its .py; outputs and ids of unchanged cells stay. Returns what was written."""
    import nbformat

    written = []
    for source in discover(chosen):
        notebook, pair = normal(read(source)), source.with_suffix(".ipynb")
        if not pair.exists() or nbformat.writes(notebook) != nbformat.writes(nbformat.read(pair, as_version=4)):
            write(notebook, pair)
            written.append(pair)
    return written


def declared(notebook: Any) -> dict[str, dict[str, str]]:
    """The parameters that a notebook declares: name -> inferred_type_name, default, help."""
    from papermill import inspect_notebook

    return inspect_notebook(notebook)


def guard(path: Path) -> list[str]:
    """What is wrong with one committed notebook (either file of its pair), each as a sentence; empty when all is well."""
    import nbformat

    source, pair = path.with_suffix(".py"), path.with_suffix(".ipynb")
    missing = [p.name for p in (source, pair) if not p.exists()]
    if missing:
        return [f"unpaired: {missing[0]} is missing"]
    found = problems(nbformat.read(pair, as_version=4), source)
    if pair.stat().st_size > LIMIT_KB * 1000:
        found.append(f"{pair.stat().st_size // 1000} kB, more than {LIMIT_KB}")
    return found


def problems(notebook: Any, source: Path) -> list[str]:
    """The guard's findings on the content of a notebook."""
    import jupytext

    found, tags = [], [set(cell.metadata.get("tags", [])) for cell in notebook.cells]
    for i, (cell, tagged) in enumerate(zip(notebook.cells, tags, strict=True)):
        if "injected-parameters" in tagged:
            found.append(f"cell {i} was injected by papermill")
        if is_code(cell) and cell.execution_count is None:
            found.append(f"cell {i} was not executed")
        if ABSOLUTE.search(cell.source):
            found.append(f"cell {i} names an absolute path: {ABSOLUTE.search(cell.source).group()}")
        for output in cell.get("outputs", []):
            text = _text(output)
            if output.output_type == "error":
                found.append(f"cell {i} ended in an error: {output.ename}")
            if output.get("name") == "stderr" and "warning" in text.lower():
                found.append(f"cell {i} printed a warning: {text.strip().splitlines()[0][:100]}")
            if ABSOLUTE.search(text):
                found.append(f"cell {i} printed an absolute path: {ABSOLUTE.search(text).group()}")
    if not any("nbval-check-output" in tagged for tagged in tags):
        found.append("no cell is tagged nbval-check-output: validation would compare nothing")
    found += _parameter_problems(notebook)
    if _inputs(notebook) != _inputs(jupytext.read(source)):
        found.append(f"its cells differ from {source.name}: run `rdcore notebooks execute`")
    return found


def _parameter_problems(notebook: Any) -> list[str]:
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        return [f"{len(cells)} cells are tagged parameters, not one"]
    known = declared(notebook)
    found = [] if "profile" in known else ["no parameter `profile`"]
    for statement in ast.parse(cells[0].source).body:
        line = ast.unparse(statement)
        if not isinstance(statement, ast.AnnAssign) or ast.unparse(statement.annotation) not in TYPES:
            found.append(f"the parameters cell has more than typed scalars: {line}")
        elif ast.unparse(statement.target) not in known:  # papermill reads by line and gives up on a second "="
            found.append(f"papermill cannot read the parameter: {line}")
    return found


def is_code(cell: Any) -> bool:
    """Whether a cell is one that a kernel has something to do for."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def _text(output: Any) -> str:
    """What a reader can read of an output; pictures are base64, in which any path may occur by chance."""
    data = [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return "\n".join([output.get("text", ""), *output.get("traceback", []), *data])


def _inputs(notebook: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(c.cell_type, c.source, tuple(sorted(c.metadata.get("tags", [])))) for c in notebook.cells]
