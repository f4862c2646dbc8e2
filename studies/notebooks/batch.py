"""The notebooks in batch: executed with papermill, summed up, written back.

papermill and nbformat are imported where they are needed: a machine that only trains has none of them. What a notebook
is on disk, and what must be true of it, is in pairing.py.
"""

import ast
import math
import os
import re
import signal
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rdcore.checks import plain, short
from rdcore.files import paths, progress
from rdcore.files.disk import writing
from rdcore.store.jobs import end_with_parent
from studies.notebooks.pairing import (
    TYPES,
    declared,
    discover,
    files,
    folder,
    guard,
    is_code,
    normal,
    problems,
    read,
    sync,
    write,
)

__all__ = [
    "PROFILES", "Outcome", "data_sets", "discover", "execute", "files", "guard", "reproduce", "run", "summary", "sync",
    "write_back",
]  # fmt: skip

PROFILES = ("smoke", "small", "paper")  # as in studies/common/profiles.py, which is imported where it is needed: it takes torch
TIMEOUT = 4 * 3600
WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def data_sets(profile: str, recompute: bool = False) -> tuple[str, ...]:
    """Names of the data sets that a profile's notebooks read, and with ``recompute`` also those that they train on then; none
    of an unknown profile."""
    from studies.common.profiles import PROFILES as plans

    if profile not in plans:
        return ()
    return plans[profile].data_sets + (plans[profile].to_recompute if recompute else ())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one notebook."""

    name: str
    ok: bool
    seconds: float
    output: Path
    error: str = ""


def checked(name: str, known: dict[str, dict[str, str]], given: dict[str, Any]) -> dict[str, Any]:
    """`given` as the notebook's own types, refused where it cannot be; values equal to the default are left out.

    A string for another type is read as one, because a command line has only strings; the declared type decides, so that
    "0012" stays a string where one is declared. papermill itself would warn and go on.
    """
    values = {}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{name} has no parameter {short(key)}; it has: {', '.join(known) or 'none'}")
        declared_as, default = known[key]["inferred_type_name"], known[key]["default"]
        if declared_as not in TYPES:
            raise ValueError(f"{name}: parameter {key!r} is declared as {declared_as}; only {', '.join(TYPES)} can be passed")
        typed = _typed(plain(value), TYPES[declared_as])  # papermill would turn a numpy scalar into a string
        if typed is None:
            raise ValueError(f"{name}: parameter {key!r} must be {WORDS[declared_as]} ({declared_as}), got {short(value)}")
        try:
            same = ast.literal_eval(default) == typed
        except (ValueError, SyntaxError):
            same = False
        if not same:
            values[key] = typed
    return values


def _typed(value: Any, wanted: type) -> Any:
    if wanted is bool and isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if not isinstance(value, (wanted, str)) and not (wanted is float and type(value) is int):
        return None
    if wanted is not bool and isinstance(value, bool):
        return None
    try:
        typed = wanted(value)
    except (ValueError, OverflowError):
        return None
    return typed if wanted is not float or math.isfinite(typed) else None


def execute(source: Path, output: Path, parameters: dict[str, Any] | None = None, timeout: int = TIMEOUT) -> Any:
    """Run one notebook in a fresh kernel of this very Python.

    What it prints is written cell by cell into a file whose name ends in .partial.ipynb, which becomes `output` when the
    notebook has come to its end or to an error, and goes when it is interrupted; so `output` is whole, also after a kill.
    timeout: seconds a cell may take. Unknown or ill-typed parameters are a ValueError before a kernel starts.
    """
    notebook = read(source)
    values = checked(source.stem, declared(notebook), parameters or {})
    _require_own_kernel()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    draft, told = progress.draft(output), progress.told(output)
    write(notebook, draft)
    os.environ[progress.FILE] = str(told)
    try:
        with writing(draft):
            done = _papermill(draft, values, timeout)
    except BaseException as error:
        if isinstance(error, Exception):  # it is shown in the notebook
            os.replace(draft, output)
        else:
            draft.unlink(missing_ok=True)
        raise
    finally:
        del os.environ[progress.FILE]
        told.unlink(missing_ok=True)
    os.replace(draft, output)
    skipped = [i for i, cell in enumerate(done.cells) if is_code(cell) and cell.execution_count is None]
    if skipped:  # an exit() in a cell counts as success with papermill
        raise RuntimeError(f"stopped early: cell {skipped[0]} and later ones did not run")
    return done


def _papermill(draft: Path, values: dict[str, Any], timeout: int, more_tries: int = 2) -> Any:
    """Runs the draft in place. A kernel that does not come up is tried again: its ports are chosen before it takes them, and
    another one that starts at the same moment may be faster."""
    import papermill

    # papermill reads the file before it writes there, and takes braces in a path for its own parameters
    path = str(draft).replace("{", "{{").replace("}", "}}")
    try:
        return papermill.execute_notebook(
            path, path, values, kernel_name="python3", cwd=folder(), progress_bar=False,
            start_timeout=180, execution_timeout=timeout,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel's words about its connection; errors are in the notebook
        )  # fmt: skip
    except RuntimeError as error:
        if not more_tries or "died before replying" not in str(error):
            raise
    return _papermill(draft, values, timeout, more_tries - 1)


def _require_own_kernel() -> None:
    """Raises OSError, with the remedy, where the kernel called python3 is another project's: its packages are not ours."""
    from jupyter_client.kernelspec import KernelSpecManager

    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    kernel = KernelSpecManager().get_kernel_spec("python3")
    command = kernel.argv[0]
    # jupyter_client puts the running interpreter in the place of a bare "python"
    if "/" not in command or Path(command).absolute() == Path(sys.executable).absolute():
        return
    remedy = f"run {sys.executable} -m ipykernel install --sys-prefix"
    # Folders of JUPYTER_PATH come before the environment's own, so another kernel there would change nothing.
    for place in filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep)):
        if Path(kernel.resource_dir).absolute().is_relative_to(Path(place).absolute()):
            remedy = f"it lies in {place}, which JUPYTER_PATH names: unset JUPYTER_PATH for this command"
    raise OSError(f"the Jupyter kernel python3 starts {command}, not {sys.executable}: {remedy}")


Task = tuple[Path, Path, dict[str, Any]]  # source, output, parameters


def _attempt(task: Task) -> Outcome:
    source, output, parameters = task
    start, error = time.perf_counter(), ""
    try:
        execute(source, output, parameters)
    except Exception as problem:  # whatever happens in one notebook, the others still run
        error = ANSI.sub("", str(problem)).strip() or type(problem).__name__
    except SystemExit:  # of _stop: kernel and draft are put away, and this process must not take another notebook
        os._exit(1)
    return Outcome(name=source.stem, ok=not error, seconds=time.perf_counter() - start, output=output, error=error)


def _begin_worker(jobs: int, parent: int) -> None:
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of the terminal: the parent passes it on
    signal.signal(signal.SIGTERM, _stop)
    # A progress bar redrawn in a file is noise; the notebooks print what matters.
    os.environ.setdefault("TQDM_DISABLE", "1")
    if jobs > 1:  # several kernels that use every core slow each other down
        os.environ["OMP_NUM_THREADS"] = "1"


def _stop(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise SystemExit


def run(
    profile: str,
    notebooks: str | list[str] | None = None,
    jobs: int = 1,
    recompute: bool = False,
    parameters: dict[str, Any] | None = None,
) -> list[Outcome]:
    """Execute notebooks into build/notebooks/<profile>/, `jobs` at a time, and show where they are (progress.py). Every
    parameter is checked before any starts."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    parameters = parameters or {}
    if "profile" in parameters:
        raise ValueError("the profile is no parameter here: it is given by --profile, and chooses the folders too")
    known = {source: declared(read(source)) for source in discover(notebooks)}
    if not known:
        raise ValueError(f"no notebooks in {folder()}: this is no checkout of the project")
    for name in parameters:
        having = [source.stem[:2] for source, declares in known.items() if name in declares]
        if 0 < len(having) < len(known):
            raise ValueError(f"not every notebook has a parameter {name!r}: choose among --notebooks {','.join(having)}")
        if not having and len(known) > 1:
            there = dict.fromkeys(parameter for declares in known.values() for parameter in declares)
            raise ValueError(f"no notebook has a parameter {short(name)}; there are: {', '.join(there)}")
    tasks = []
    for source, declares in known.items():
        given = {"profile": profile, **parameters}
        if recompute and "recompute" in declares:  # a notebook that never trains has nothing to recompute
            given["recompute"] = True
        checked(source.stem, declares, given)
        tasks.append((source, paths.build() / "notebooks" / profile / f"{source.stem}.ipynb", given))
    print(f"profile {profile}: {len(tasks)} notebook{'s' * (len(tasks) > 1)}" + f", {jobs} at a time" * (jobs > 1), flush=True)
    with closing(progress.view()) as view:
        outcomes = _all(tasks, jobs, view)
    return [outcomes[source.stem] for source, _, _ in tasks]


def _all(tasks: list[Task], jobs: int, view: progress.View) -> dict[str, Outcome]:
    """What became of each, by name. In processes, because papermill changes the working directory, and an interrupt or a
    killed notebook must not leave this one in the middle of something; spawned, because a forked torch may hang."""
    outcomes: dict[str, Outcome] = {}
    for file in (path(output) for _, output, _ in tasks for path in (progress.draft, progress.told)):
        with writing(file):
            file.unlink(missing_ok=True)  # of one that was killed: whoever has a draft runs
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin_worker, initargs=(jobs, os.getpid()))
    with pool:
        try:
            waiting = {pool.submit(_attempt, task): task for task in tasks}
            while waiting:
                over, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                view.look(output for _, output, _ in waiting.values())
                for future in over:
                    source, output, _ = waiting.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:  # which takes the others with it
                        lost = "a process that ran notebooks was killed (memory?): run this one again, or fewer at a time"
                        outcome = Outcome(name=source.stem, ok=False, seconds=0, output=output, error=lost)
                    outcomes[outcome.name] = outcome
                    word = "done" if outcome.ok else "FAILED"
                    view.end(outcome.name, f"{word} after {outcome.seconds:.0f} s ({len(outcomes)} of {len(tasks)})")
        except BaseException:  # an interrupt
            for worker in list(pool._processes.values()):  # Python 3.14 has a method for it
                worker.terminate()
            raise
    return outcomes


def summary(outcomes: list[Outcome]) -> str:
    """The closing table: notebook, status, seconds, where to look; below it the last lines of every error."""
    width = max(len(o.name) for o in outcomes)
    lines = [f"{'notebook':{width}}  status  seconds  where to look"]
    for o in outcomes:
        lines.append(f"{o.name:{width}}  {'ok' if o.ok else 'FAILED':6}  {o.seconds:7.1f}  {_short(o.output)}")
    for o in outcomes:
        if not o.ok:
            lines += ["", f"{o.name} failed:", *(f"    {line}" for line in o.error.splitlines()[-8:])]
    return "\n".join(lines)


def _short(path: Path) -> str:
    return str(path.relative_to(paths.root())) if path.is_relative_to(paths.root()) else str(path)


def reproduce(
    profile: str,
    notebooks: str | list[str] | None = None,
    jobs: int = 1,
    recompute: bool = False,
    parameters: dict[str, Any] | None = None,
) -> int:
    """Run the notebooks, show where they are, and print a summary; the exit status: 1 when one failed.

    recompute: begin with an empty run store (the old one is renamed), which all notebooks of this call share.
    """
    if recompute:
        from rdcore.store import runs  # torch: not for those who only list notebooks

        if aside := runs.set_aside():
            print(f"earlier runs are kept in {_short(aside)}/", flush=True)
    outcomes = run(profile, notebooks, jobs, recompute, parameters)
    print(f"\n{summary(outcomes)}", flush=True)
    if all(o.ok for o in outcomes):
        print(f"\nfigures and tables: {_short(paths.figures(profile))}/", flush=True)
    return 0 if all(o.ok for o in outcomes) else 1


def write_back(profile: str = "small", notebooks: str | list[str] | None = None, jobs: int = 1) -> int:
    """Run the notebooks and put the results, in normal form, in the place of the committed .ipynb; a notebook that failed
    or that the guard would refuse leaves its committed file as it was."""
    import nbformat

    outcomes = run(profile, notebooks, jobs)
    print(f"\n{summary(outcomes)}", flush=True)
    refused = 0
    for outcome in (o for o in outcomes if o.ok):
        source = folder() / f"{outcome.name}.py"
        notebook = normal(nbformat.read(outcome.output, as_version=4))
        found = problems(notebook, source)
        for problem in found:
            print(f"{outcome.name}: not written back: {problem}", file=sys.stderr)
        refused += bool(found)
        if not found:
            write(notebook, source.with_suffix(".ipynb"))
    return 1 if refused or not all(o.ok for o in outcomes) else 0
