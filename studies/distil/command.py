"""The commands `rdcore distil` and `rdcore teach`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys


def add_distil(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "distil", help="from a table of clicks to a small recommender that learnt from a large one",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Trains a large model (teacher), a small one (student) and the small one with the large one's help "
        "(distilled student) on your table, compares them on each user's newest rows, and writes a page with the "
        "result and the distilled student, ready to be served.",
        epilog="Interrupted? The same command goes on where it was.",
    )  # fmt: skip
    option = command.add_argument
    option("clicks", metavar="FILE", help="your table, one row for each action: CSV, TSV, Parquet or RecBole's .inter")
    for role, what in (("user", "who acted"), ("item", "what on"), ("time", "when; none: rows are in time order")):
        option(f"--{role}", metavar="COLUMN", help=f"column that says {what}. Its number (1 is the first) where the file "
               "has no header; left out: a usual name", default=argparse.SUPPRESS)  # fmt: skip
    option("--out", required=True, metavar="FOLDER", help="where everything is written", default=argparse.SUPPRESS)
    option("--teacher", default="ease", metavar="MODEL|FILE",
           help="who teaches: ease (computed at once, strong; for up to some 30,000 users or items), itemcf, bpr, caser, "
           "fossil, sasrec or lightgcn, trained here; or a file with the lists of any recommender (columns "
           "user, item and rank or score; Parquet, CSV, TSV or a TREC run)")  # fmt: skip
    option("--teacher-dim", type=int, default=256, metavar="N",
           help="size of the teacher's vectors (not of ease, itemcf or lists)")
    option("--student", default="bpr", metavar="MODEL", help="the small model: bpr, caser, fossil, sasrec or lightgcn")
    option("--dim", type=int, default=32, metavar="N", help="size of the student's vectors; smaller is cheaper to serve")
    option("--method", default="rd-position", metavar="NAME",
           help="how the student learns from the teacher: rd-position, rd-hybrid (the paper's Ranking Distillation), rrd, "
           "cd, rankdistil-c, or de (needs a teacher that is trained here)")  # fmt: skip
    option("--weights", type=_numbers, default=argparse.SUPPRESS, metavar="W,W,...",
           help="how strongly the teacher counts; all are tried, the best on validation data is taken. Left out: three "
           "usual ones")  # fmt: skip
    option("--seeds", type=int, default=2, metavar="N", help="final runs of the student; five make a firm comparison")
    option("--epochs", type=int, default=20, metavar="N",
           help="most passes over the data; the best one is found on validation data")
    option("--batch-size", type=int, default=512, metavar="N", help="rows of one training step")
    option("--learning-rate", type=float, default=5e-3, metavar="X", help="step size of the training")
    option("--min-actions", type=int, default=5, metavar="N", help="leave out users and items with fewer rows")
    option("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="runs at a time, a core each")
    command.set_defaults(run=distil)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between, such as 0.1,0.3,1, not {text!r}") from None
    return numbers


def distil(arguments: argparse.Namespace) -> int:
    from rdcore.checks import whole
    from studies.distil.tables import read_clicks
    from studies.distil.whole import distil as make

    whole("jobs", arguments.jobs)
    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "run", "clicks")}
    columns = {role: given.pop(role, None) for role in ("user", "item", "time")}
    clicks, rows = read_clicks(arguments.clicks, **columns, min_actions=arguments.min_actions)
    print(f"{clicks.name}: {rows:,} rows; used: {len(clicks):,} of {clicks.n_users:,} users and {clicks.n_items:,} items")
    done = make(clicks, **given, rows=rows, progress=True, tell=lambda text: print(text, flush=True))
    shown = done.table[["model", "runs", *(name for name in done.table if name in ("nDCG@10", "P@10", "MAP", "bytes"))]]
    print(shown.to_string(index=False, float_format="{:.4f}".format))
    print(done.conclusion)
    for line in done.warnings:
        print(f"note: {line}")
    for name in ("report", "table", "student", "serve"):
        print(f"written: {done.files[name]}")
    return 0


def add_teach(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("teach", help="write a run's lists as Parquet, for `rdcore distil --teacher` and others")
    command.add_argument("run_name", metavar="KEY|FOLDER", help="the run's key, or its first characters, or its folder")
    command.add_argument("path", metavar="FILE.parquet", help="columns user, item, rank, score; hash and terms as metadata")
    command.add_argument("-k", type=int, default=100, metavar="N", help="items of each user's list; 100 if left out")
    command.add_argument("--epoch", type=int, metavar="N", help="an evaluated epoch; by default the last or chosen one")
    command.set_defaults(run=teach)


def teach(arguments: argparse.Namespace) -> int:
    from rdcore import datasets, serve
    from rdcore.models.base import built
    from rdcore.store import contract
    from rdcore.store.lists import write_lists

    run = serve.find(arguments.run_name)
    asked = run.description
    name = asked["dataset"]
    if not serve.of_catalog(run):
        raise ValueError(
            f"run {run.key} was trained on {name!r}, data of your own: hand them over, in Python, to "
            "rdcore.store.lists.write_lists(path, model, fit, licence=..., command=...)"
        )
    fit = contract.fitted_part(datasets.load(name), asked["stage"])
    settings = serve.settings_of(asked["model"], run.folder)
    model = settings.fit(fit) if hasattr(settings, "fit") else run.restore(built(settings, fit), arguments.epoch)
    command = shlex.join(["rdcore", *sys.argv[1:]])
    digest = write_lists(
        arguments.path, model, fit, k=arguments.k, licence=datasets.CATALOG[name].licence, command=command
    )
    print(f"written: {arguments.path}, lists of {fit.n_users:,} users, hash {digest}")
    print(f"terms of {name}: {datasets.CATALOG[name].licence}")
    return 0
