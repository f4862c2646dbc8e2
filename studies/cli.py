"""The command line: `rdcore COMMAND`, also `python -m studies COMMAND`. It parses, calls, and prints; logic is elsewhere.

argparse of the standard library, and imports inside the commands: a machine that only trains may lack everything else.
A command is one function `add_NAME(commands)` that declares it and one `NAME(arguments) -> exit status`.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from rdcore import __version__, datasets
from studies.distil.command import add_distil, add_teach


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: it ran and something failed; 2: it could not be run as asked, said without a traceback."""
    if argv is None and not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # a bar redrawn in a file is noise
    arguments = parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()  # here, where what goes wrong can still be said
        return status
    # The errors of our own code for bad input (DataError is a ValueError), and a training that diverged.
    except (ValueError, OSError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_closed():
            return 141  # as of any program that SIGPIPE ended
        if os.environ.get("RDCORE_TRACEBACK") == "1":
            raise
        first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        print(f"rdcore {arguments.command}: {first}", *(f"  {line}" for line in rest), sep="\n", file=sys.stderr)
        return 1 if isinstance(error, FloatingPointError) else 2
    except KeyboardInterrupt as error:  # of a training it says what is kept
        kept = "; what is trained so far is kept" if arguments.command in ("reproduce", "train", "distil") else ""
        print(f"rdcore {arguments.command}: {str(error) or f'interrupted{kept}'}", file=sys.stderr)
        return 130


def _stdout_is_closed() -> bool:
    """Whether nobody reads any more (`rdcore runs list | head -1`): that is no error, and there is nothing more to say."""
    try:
        from select import poll

        output = sys.stdout.fileno()
    except (ImportError, OSError):  # Windows, or no file (a notebook)
        return False
    watch = poll()
    watch.register(output, 0)
    if closed := bool(watch.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # for what Python still flushes at its end
    return closed


def parser() -> argparse.ArgumentParser:
    """The whole grammar; tests and `--help` read it."""
    top = argparse.ArgumentParser(
        prog="rdcore", description="Ranking Distillation, replicated.",
        epilog="RDCORE_TRACEBACK=1 in the environment shows where an error came from.",
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"rdcore {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_fetch, add_reproduce, add_notebooks, add_train, add_publish, add_select, add_readme, add_runs,
                add_export, add_distil, add_teach):  # fmt: skip
        add(commands)
    return top


# ------------------------------------------------------------------------------------------------------------------- fetch


def add_fetch(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("fetch", help="bring data sets and verify them")
    command.add_argument("names", nargs="+", metavar="NAME", help="data set of the catalog, such as ml-100k or gowalla")
    command.set_defaults(run=fetch)


def fetch(arguments: argparse.Namespace) -> int:

    for name in arguments.names:
        files = datasets.fetch(name)
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
    from studies.notebooks import batch as notebooks

    _bring(arguments.profile, arguments.recompute)
    given = dict(arguments.parameter)
    return notebooks.reproduce(arguments.profile, arguments.notebooks, arguments.jobs, arguments.recompute, given)


def _bring(profile: str, recompute: bool = False) -> None:
    """The profile's data sets (`notebooks.data_sets`), before anything starts. One that cannot be had stops nothing here:
    notebooks that render committed records do without, and the others say what they miss."""
    from rdcore import data
    from studies.notebooks import batch as notebooks

    for name in notebooks.data_sets(profile, recompute):
        try:
            datasets.fetch(name)
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
    from studies.notebooks import batch as notebooks

    for path in notebooks.sync(arguments.notebooks):
        print(f"written: {path.name}")
    return 0


def notebooks_execute(arguments: argparse.Namespace) -> int:
    from studies.notebooks import batch as notebooks

    _bring("small")
    return notebooks.write_back("small", arguments.notebooks, arguments.jobs)


def notebooks_guard(arguments: argparse.Namespace) -> int:
    from studies.notebooks import batch as notebooks

    findings = [(path.stem, problem) for path in notebooks.files() for problem in notebooks.guard(path)]
    for name, problem in findings:
        print(f"{name}: {problem}")
    return 1 if findings else 0


# ------------------------------------------------------------------------------------------------- train, publish, select


def add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("train", help="train the runs of a profile, most wanted first")
    profiles = "smoke, small or paper (default: paper; without --only all its planned runs, which take days)"
    command.add_argument("--profile", default="paper", help=profiles)
    _add_only(command)
    where = command.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time on this machine, one thread each")
    where.add_argument(
        "--cluster", dest="jobs", metavar="ADDRESS", help="on all workers of a Dask cluster, such as tcp://host:8786"
    )
    command.add_argument("--device", default="cpu", help="cpu or cuda; small models fill a GPU by several --jobs")
    command.add_argument("--publish", action="store_true", help="copy the finished records into data/replicated (paper only)")
    command.add_argument(
        "--list", action="store_true", help="say what is done, on record or to do, and its cost in core-hours; train nothing"
    )
    command.set_defaults(run=train)


def _add_only(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--only", default="", metavar="PATTERN,...", help="runs whose label or key contains one of these, such as F-RD or seed2"
    )


def train(arguments: argparse.Namespace) -> int:
    from rdcore.store import runs
    from rdcore.store.estimate import Estimate
    from studies import plans
    from studies.rd import plan as rd

    if isinstance(arguments.jobs, int):  # else a cluster, whose workers have devices of their own
        if arguments.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, not {arguments.jobs}")
        runs.check_device(arguments.device)
    if arguments.publish and arguments.profile != "paper":
        raise ValueError(f"--publish keeps paper-size records; those of profile {arguments.profile} stay in the run store")
    wanted = plans.matching(arguments.profile, arguments.only)
    to_do = _list(wanted, estimated=arguments.list)
    for sentence in rd.open_choices(rd.choices_of("paper")) if arguments.profile == "paper" else ():
        print(f"left out for now: {sentence}", flush=True)
    if arguments.list:
        print(*to_do, sep="\n", flush=True)
        return 0
    if arguments.jobs == 1:  # one by one, so that each record is copied as soon as it is there
        estimate = Estimate([experiment for experiment in wanted if not runs.stored(experiment)])
        for experiment in wanted:
            trained = not runs.stored(experiment)
            runs.load_or_train(experiment, device=arguments.device, progress=True)
            if trained:
                print(f"finished {experiment.label}: {estimate.after(experiment)}", flush=True)
            if arguments.publish:
                _publish([experiment])
        return 0
    try:
        runs.load_or_train_all(wanted, jobs=arguments.jobs, device=arguments.device, progress=True)
    finally:
        if arguments.publish:
            _publish(wanted)
    return 0


def _list(wanted: list, estimated: bool) -> list[str]:
    """Prints a line for each run; ``estimated``, also about how long those take that are to do. Returns the sums of that."""
    from studies import plans
    from studies.common import cost

    known = cost.on_file() if estimated else []
    to_do = []
    for experiment in wanted:
        status, end = _status(experiment), ""
        if estimated and status == "to do":
            to_do.append((experiment, cost.core_hours(experiment, known)))
            end = f"  ({cost.in_words(to_do[-1][1])})"
        print(f"{status:11}{plans.title(experiment)}{end}", flush=True)
    return [*cost.sums(to_do), cost.RESTS_ON] if to_do else []


def _status(experiment) -> str:
    """'done' (in the run store, with its weights), 'on record' (committed) or 'to do'."""
    from rdcore.store import runs

    if runs.stored(experiment):
        return "done"
    return "on record" if runs.is_committed(experiment) else "to do"


def _publish(experiments: list, replace: bool = False) -> int:
    from rdcore.store import runs
    from studies import plans
    from studies.rd import plan as rd

    kept = [] if replace else [experiment for experiment in experiments if runs.other_numbers(experiment)]
    wanted = [experiment for experiment in experiments if experiment not in kept]
    folders = plans.publish(wanted, rd.choices_of("paper"), replace=replace)
    for folder in folders:
        print(f"published: {folder.name}", flush=True)
    for experiment in kept:
        print(
            f"left as it is: {experiment.label}-{experiment.key}, published with other numbers than this machine's "
            f"(`rdcore publish --only {experiment.key} --replace` puts these in their place)",
            flush=True,
        )
    return len(folders) + len(kept)


def add_publish(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("publish", help="copy finished paper-size records into data/replicated")
    _add_only(command)
    command.add_argument("--replace", action="store_true", help="also records that are published with other numbers")
    command.set_defaults(run=publish)


def publish(arguments: argparse.Namespace) -> int:
    from rdcore.store import runs
    from studies import plans

    wanted = plans.matching("paper", arguments.only)
    count = _publish(wanted, arguments.replace)
    for experiment in wanted:
        if not runs.stored(experiment):
            print(f"not finished here: {plans.title(experiment)}")
    if not count:
        raise ValueError("nothing to publish: none of these runs is finished in the run store")
    return 0


def add_select(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("select", help="choose the epochs of protocol `validation` from the V runs")
    command.set_defaults(run=select)


def select(arguments: argparse.Namespace) -> int:
    from studies.common import selection
    from studies.rd import plan as rd

    choices = rd.choose()
    if not choices:
        raise ValueError("no V run is finished or committed: train them with `rdcore train --only gowalla-V`")
    print(f"written: {selection.write_selection(choices).name}")
    for role, choice in choices.items():
        grid, border = f"{min(choice.means)}..{choice.last_epoch}", f"; {choice.border}" if choice.border else ""
        print(f"{role}: epoch {choice.epoch} of {grid}, MAP {choice.means[choice.epoch]:.5f}{border}")
    for sentence in rd.open_choices(choices):
        print(f"still open: {sentence}")
    return 0


def add_readme(commands: argparse._SubParsersAction) -> None:
    words = "write docs/results.md, docs/open.md, README's results and tables that no notebook writes"
    command = commands.add_parser("readme", help=words)
    command.set_defaults(run=write_readme)


def write_readme(arguments: argparse.Namespace) -> int:
    from studies import readme, rooms

    tables = [file for study in rooms() for file in study.write_tables()]
    for file in [*tables, *readme.write(readme.card_on_file())]:
        print(f"written: {file.name}")
    return 0


# -------------------------------------------------------------------------------------------------------------------- runs


def add_runs(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("runs", help="look into the store of runs, and delete from it")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line for each run")
    _add_only(listing)
    listing.set_defaults(run=runs_list)
    key = "the run's key, or its first characters"
    show = actions.add_parser("show", help="all that is on record of one run")
    show.add_argument("key", metavar="KEY", help=key)
    show.set_defaults(run=runs_show)
    compare = actions.add_parser("compare", help="two runs side by side: settings, metrics, users")
    compare.add_argument("a", metavar="A", help=f"{key}; of the store or of a committed record")
    compare.add_argument("b", metavar="B", help="the other run")
    compare.set_defaults(run=runs_compare)
    delete = actions.add_parser("delete", help="say what deleting runs would free; with --yes do it")
    delete.add_argument("keys", nargs="+", metavar="KEY", help=key)
    delete.add_argument("--with-students", action="store_true", help="also the runs that these taught")
    delete.add_argument("--yes", action="store_true", help="delete; without it nothing is")
    delete.set_defaults(run=runs_delete)


def runs_list(arguments: argparse.Namespace) -> int:
    from rdcore.store import run_tables

    print(run_tables.listing(arguments.only, shutil.get_terminal_size((120, 24)).columns))
    return 0


def runs_show(arguments: argparse.Namespace) -> int:
    from rdcore.store import run_tables

    print(run_tables.show(arguments.key))
    return 0


def runs_compare(arguments: argparse.Namespace) -> int:
    from rdcore.store import run_tables

    print(run_tables.compare(arguments.a, arguments.b))
    return 0


def runs_delete(arguments: argparse.Namespace) -> int:
    from rdcore.store import deletion

    runs = deletion.to_delete(arguments.keys, with_students=arguments.with_students)
    print(deletion.deletion_table(runs))
    if arguments.yes:
        deletion.delete(runs)
    print("deleted" if arguments.yes else "nothing is deleted yet: the same with --yes does it")
    return 0


# ------------------------------------------------------------------------------------------------------------------ export


def add_export(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("export", help="write a finished run's model as ONNX, to be served without torch and rdcore")
    command.add_argument("run_name", metavar="KEY|FOLDER", help="the run's key, or its first characters, or its folder")
    command.add_argument("path", metavar="FILE.onnx", help="its weights go to FILE.onnx.data, who has what to FILE.npz")
    command.add_argument("-n", type=int, default=10, metavar="N", help="length of the lists")
    command.add_argument("--epoch", type=int, metavar="N", help="an evaluated epoch; by default the last or chosen one")
    command.set_defaults(run=export)


def export(arguments: argparse.Namespace) -> int:
    from rdcore import serve as serving

    run = serving.find(arguments.run_name)
    files, difference = serving.export_run(run, arguments.path, n=arguments.n, epoch=arguments.epoch)
    for file in files:
        print(f"written: {file} ({file.stat().st_size / 1e6:.2f} MB)")
    print(f"checked: the lists of {serving.CHECKED} users are rdcore's own; scores differ by {difference:.0e} of the largest")
    return 0
