"""The live view of notebooks that run: which ones, which cell of how many, under which heading, what is being trained, for
how long.

It is read off files, so that any process may look: papermill marks the cells in the notebook that it writes, and whoever trains
says so by `tell`, in a file of the run's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

FILE = "RDCORE_TOLD"  # the environment variable that names the file of `tell`
FORMAT = "{desc} {bar:16} cell {n_fmt} of {total_fmt} [{elapsed}]{postfix}"
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def tell(text: str) -> None:
    """What this process does now, for the view of the notebook, or the bar, that it works for; nothing where there is none."""
    if file := os.environ.get(FILE):
        with contextlib.suppress(OSError):  # a view is worth no failure
            Path(file).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def behind(bar: tqdm, folder: Path, every: float = 1.0) -> Iterator[None]:
    """While it lasts, what this process and its workers `tell`, by a file in ``folder``, stands behind ``bar``; not where
    the bar is off, or where the view of a notebook reads what is told."""
    if bar.disable or FILE in os.environ:
        yield
        return
    file, ended = folder / f".told-{os.getpid()}", threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            with contextlib.suppress(OSError):  # nothing has been told yet
                bar.set_postfix_str(file.read_text(encoding="utf-8"))

    os.environ[FILE] = str(file)
    thread = threading.Thread(target=watch, daemon=True, name="what is told, behind a bar")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        del os.environ[FILE]
        with contextlib.suppress(OSError):
            file.unlink()


def draft(output: Path) -> Path:
    """The notebook that is written while it runs; at its end it becomes ``output``."""
    return output.with_suffix(".partial.ipynb")


def told(output: Path) -> Path:
    """The file of `tell` of the notebook that becomes ``output``."""
    return output.with_suffix(".partial.txt")


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a notebook is: cell 1..of, the last heading up to it, and what was told last."""

    cell: int
    of: int
    heading: str = ""
    told: str = ""


def step(output: Path) -> Step | None:
    """Where the notebook is that becomes ``output``; None where nothing can be read, also because it is being written."""
    try:
        cells = json.loads(draft(output).read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return None
    begun = [cell for cell in cells if cell["metadata"].get("papermill", {}).get("status", "pending") != "pending"]
    texts = ["".join(cell["source"]) for cell in begun or cells[:1] if cell["cell_type"] == "markdown"]
    headings = [heading for text in texts for heading in HEADING.findall(text)]
    try:
        said = told(output).read_text(encoding="utf-8")
    except OSError:
        said = ""
    return Step(cell=max(len(begun), 1), of=len(cells), heading=headings[-1] if headings else "", told=said)


@dataclass
class View:
    """On a terminal (``live``) a line for every notebook that runs, redrawn as it goes on; elsewhere a line when one starts. A
    line when one ends in both."""

    live: bool
    file: TextIO
    bars: dict[str, tqdm] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)

    def look(self, outputs: Iterable[Path]) -> None:
        """Shows where the notebooks are now."""
        for output in outputs:
            if self.live:
                if at := step(output):
                    self._draw(output.stem, at)
            elif output.stem not in self.started and draft(output).exists():
                self.started.add(output.stem)
                print(f"{output.stem}: started", file=self.file, flush=True)

    def _draw(self, name: str, at: Step) -> None:
        width = shutil.get_terminal_size().columns - 1
        if name not in self.bars:
            self.bars[name] = tqdm(
                desc=name, initial=at.cell, total=at.of, bar_format=FORMAT, file=self.file, leave=False, ncols=width,
                disable=False,  # see `silenced`
            )  # fmt: skip
        bar = self.bars[name]
        bar.n, bar.total, bar.ncols = at.cell, at.of, width
        bar.set_postfix_str(at.told or at.heading, refresh=False)
        bar.refresh()

    def end(self, name: str, how: str) -> None:
        """A notebook is over: what was shown of it goes, and a line with ``how`` it ended stays."""
        if name in self.bars:
            self.bars.pop(name).close()
        tqdm.write(f"{name}: {how}", file=self.file)
        self.file.flush()

    def close(self) -> None:
        """Takes away what is still shown."""
        while self.bars:
            self.bars.popitem()[1].close()


def silenced() -> bool:
    """Whether TQDM_DISABLE asks for no bars; tqdm itself reads it only where ``disable`` is not given, and takes 0 for yes."""
    return os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


def view() -> View:
    """Live where standard output is a terminal and bars are not silenced; to be closed."""
    return View(live=sys.stdout.isatty() and not silenced(), file=sys.stdout)
