"""The command line: `rdcore COMMAND`, also `python -m rdcore COMMAND`. It parses, calls, and prints; logic is elsewhere.

argparse of the standard library, and imports inside the commands: a machine that only trains may lack everything else.
A command is one function `add_NAME(commands)` that declares it and one `NAME(arguments) -> exit status`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from . import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: it ran and something failed; 2: it could not be run as asked, said in one line."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:  # the errors of our own code for bad input; DataError is a ValueError
        if os.environ.get("RDCORE_TRACEBACK") == "1":
            raise
        print(f"rdcore {arguments.command}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"rdcore {arguments.command}: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The whole grammar; tests and `--help` read it."""
    top = argparse.ArgumentParser(prog="rdcore", description="Ranking Distillation, replicated.")
    top.add_argument("--version", action="version", version=f"rdcore {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_fetch, add_reproduce, add_notebooks, add_runs):
        add(commands)
    return top


# ------------------------------------------------------------------------------------------------------------------- fetch


def add_fetch(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("fetch", help="bring data sets and verify them")
    command.add_argument("names", nargs="+", metavar="NAME", help="data set of the catalog, such as ml-100k or gowalla")
    command.set_defaults(run=fetch)


def fetch(arguments: argparse.Namespace) -> int:
    from . import data

    for name in arguments.names:
        files = data.fetch(name)
        print(f"{name}: {len(files)} files, verified" + (f", in {files[0].parent}" if files else ""))
    return 0


# --------------------------------------------------------------------------------------------------------------- reproduce


def add_reproduce(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("reproduce", help="run the notebooks and write figures and tables")
    command.add_argument("--profile", default="small", help="smoke (seconds, made-up data), small (minutes), paper")
    command.add_argument("--recompute", action="store_true", help="train again what is on record")
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a notebook parameter"
    )
    _add_selection(command)
    command.set_defaults(run=reproduce)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--notebooks", default="", metavar="NN,NN", help="some notebooks only, by number or name")
    command.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at a time, one thread each")


def reproduce(arguments: argparse.Namespace) -> int:
    from . import notebooks

    _bring(arguments.profile)
    given = dict(arguments.parameter)
    return notebooks.reproduce(arguments.profile, arguments.notebooks, arguments.jobs, arguments.recompute, given)


def _bring(profile: str) -> None:
    """The profile's data sets, before anything starts. One that cannot be had stops nothing here: notebooks that render
    committed records do without, and the others say what they miss."""
    from . import data, notebooks

    for name in notebooks.PROFILES.get(profile, ()):
        try:
            data.fetch(name)
        except data.DataError as error:
            print(f"rdcore: going on without {name}: {error}", file=sys.stderr)


# --------------------------------------------------------------------------------------------------------------- notebooks


def add_notebooks(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("notebooks", help="keep the committed notebooks in order")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    sync = actions.add_parser("sync", help="bring the cells of every .ipynb up to its .py, keeping outputs")
    sync.add_argument("--notebooks", default="", metavar="NN,NN", help="some notebooks only, by number or name")
    sync.set_defaults(run=notebooks_sync)
    execute = actions.add_parser("execute", help="run on `small` and write the results into notebooks/")
    _add_selection(execute)
    execute.set_defaults(run=notebooks_execute)
    guard = actions.add_parser("guard", help="say what is wrong with the committed notebooks")
    guard.set_defaults(run=notebooks_guard)


def notebooks_sync(arguments: argparse.Namespace) -> int:
    from . import notebooks

    for path in notebooks.sync(arguments.notebooks):
        print(f"written: {path.name}")
    return 0


def notebooks_execute(arguments: argparse.Namespace) -> int:
    from . import notebooks

    _bring("small")
    return notebooks.write_back("small", arguments.notebooks, arguments.jobs)


def notebooks_guard(arguments: argparse.Namespace) -> int:
    from . import notebooks

    findings = [(path.stem, problem) for path in notebooks.files() for problem in notebooks.guard(path)]
    for name, problem in findings:
        print(f"{name}: {problem}")
    return 1 if findings else 0


# -------------------------------------------------------------------------------------------------------------------- runs


def add_runs(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("runs", help="look into the store of runs")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line a run")
    listing.set_defaults(run=runs_list)
    show = actions.add_parser("show", help="one run's record")
    show.add_argument("key", help="the run's key, or its first characters")
    show.set_defaults(run=runs_show)


def runs_list(arguments: argparse.Namespace) -> int:
    from . import runs

    for record in runs.list_runs():
        print("  ".join(str(value) for value in record.values() if not isinstance(value, (dict, list))))
    return 0


def runs_show(arguments: argparse.Namespace) -> int:
    from . import runs

    found = [record for record in runs.list_runs() if str(record["key"]).startswith(arguments.key)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} runs have a key that begins with {arguments.key!r}; `rdcore runs list` shows all")
    print(json.dumps(found[0], indent=2, default=str))
    return 0
