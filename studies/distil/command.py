"""The commands `rdcore distil` and `rdcore teach`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rdcore.files.disk import DiskError

# Arguments of `studies.distil.distil` in its messages, which are options here.
ARGUMENT = re.compile(
    r"^(?:dim|epochs|seeds|jobs|method|teacher|student|weight)(?= must be)"
    r"|(?<![\w/'.-])(?:min_actions|teacher_dim|batch_size|learning_rate)(?![\w/'.-])"
)

STORE = "set RDCORE_ROOT (RDCORE_RUNS, for the run store alone) to a folder"
"""What `rdcore.files.disk` says of a disk that cannot be written: here the runs are in the folder of --out."""

EXAMPLES = """examples:
  rdcore distil ratings.csv --out shop                      columns have usual names: userId, movieId, timestamp
  rdcore distil clicks.csv --user who --item what --time when --out shop
  rdcore distil checkins.txt.gz --user 1 --item 5 --time 2 --out shop             no header line: numbers of columns
  rdcore distil clicks.csv --only-split --out shop                                what a teacher of your own may see, and
  rdcore distil clicks.csv --teacher lists.parquet --out shop                     the student that learns from its lists
  rdcore distil clicks.csv --teacher sasrec --student sasrec --dim 16 --out shop
  rdcore distil clicks.csv --teacher bpr --method kd-ce --out shop                another way to learn

Afterwards open shop/report.html, and try python shop/serve.py USER.
Interrupted, or the machine went down? Give the same command again: it goes on where it was.
A run with other options into the same folder replaces the page and keeps what is trained.
"""


LEARNING = """Leave it out, and the student learns by rd-position: it suits every teacher and every student.
From the top of the teacher's lists, with any teacher:
  rd-position    the first ten items count as liked, the first one most
  rd-hybrid      and those most that the student ranks too low (the paper's Ranking Distillation)
  rrd            the order of drawn items of the list, all of them above other items
  rankdistil-b, rankdistil-p
                 the order of the first ten; the other items are pushed down, or below these ten
  dcd            the order of items of the list that the student ranks too high or too low
  unkd           pairs of equally popular items, so that the teacher's love of popular ones is not learnt
From the teacher's scores of single items, with the teacher bpr, caser, fossil, sasrec, lightgcn or ials, or a file with
scores; not if all scores lie within about one unit (ials), for then they hardly tell items apart:
  cd             how likely the teacher thinks drawn items are
  rankdistil-c   orders drawn by the scores
  kd-ce          the shares of the first 50 items (cross-entropy, the classic way)
  rce-kd         the same, also for what the student ranks high
  dllm2rec       as rd-position, and those most that the teacher is sure of
From the teacher's vectors, with the teacher bpr, caser, fossil, sasrec, lightgcn or ials; slow: the steps of a bpr student
take about 10 (ftd), 100 (de, htd) or 400 (freqd) times as long as alone (measured once, by hand; not on record):
  fit, vkd       the vectors themselves
  de, de-rrd     the same, with several experts; and with rrd
  pckd           de that keeps the student's order
  ftd, htd       the angles between vectors; and inside groups
  freqd          vectors smoothed over alike users and items (teacher and student bpr or lightgcn; teacher also ials)"""


class _Format(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and keeps the lines of the examples."""


def add_distil(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "distil", help="from a table of clicks to a small recommender that learnt from a large one", epilog=EXAMPLES,
        formatter_class=_Format,
        description="Makes a small, fast recommender from a table of what people clicked, bought or rated.\n\n"
        "It trains a large model (the teacher), a small one (the student alone), and the small one again\n"
        "with the teacher's help (the distilled student). It compares the three on the newest rows of\n"
        "each user, which none of them has seen, and writes a page with the result and the distilled\n"
        "student, ready to be served. Only FILE and --out are needed.",
    )  # fmt: skip
    command.add_argument("clicks", metavar="FILE", help="your table, one row for each action: CSV, TSV, Parquet, RecBole's "
                         ".inter, or other text with a separator; also compressed as .gz")  # fmt: skip
    command.add_argument("--out", required=True, metavar="FOLDER", help="the folder to write to, made where it is missing",
                         default=argparse.SUPPRESS)  # fmt: skip
    _add_table(command)
    option = command.add_argument_group("what is trained").add_argument
    option("--teacher", default="ease", metavar="MODEL|FILE",
           help="who teaches. Computed in one step: ease (strong, for up to some 30,000 users or items), gfcf (about as "
           "strong, with less memory), itemcf, or pop (the most popular items: a control); ials is computed too, in "
           "minutes for 10,000 users and items. Trained here: bpr, caser, fossil, sasrec or lightgcn (see --student). Or "
           "a file with the lists of any other recommender: columns user, item and rank or score, as Parquet, CSV, "
           "TSV or a TREC run; it must not have seen the test rows (--only-split)")
    option("--only-split", action="store_true", default=argparse.SUPPRESS,
           help="for a teacher of your own: write FOLDER/split.csv and stop. It has every row that counts, oldest first, with "
           "its part: let your recommender learn from the part train, write some 100 items for each user, and give them with "
           "--teacher")  # fmt: skip
    option("--teacher-dim", type=int, default=256, metavar="N",
           help="numbers in each of the teacher's vectors, if it is one of those that are trained, or ials")
    option("--student", default="bpr", metavar="MODEL",
           help="the small model: bpr (no memory of the order, smallest and fastest), caser and fossil (look at the last 5 "
           "items), sasrec (at the last 10) or lightgcn. An epoch of caser, fossil or lightgcn takes about five times as long "
           "as one of bpr, of sasrec twenty times: begin with --epochs 5")  # fmt: skip
    option("--dim", type=int, default=32, metavar="N",
           help="numbers in each of the student's vectors: half of it takes half the memory to serve")
    option = command.add_argument_group("how the student learns", LEARNING).add_argument
    option("--method", default="rd-position", metavar="NAME", help="one of those above")
    option("--weights", type=_numbers, default=argparse.SUPPRESS, metavar="W,W,...",
           help="how much the teacher counts, compared with the clicks. Each is tried, and the one with the best lists for "
           "held-back rows (validation data) is taken; left out: three that suit the method")  # fmt: skip
    option = command.add_argument_group("how long, and how thoroughly").add_argument
    option("--epochs", type=int, default=20, metavar="N",
           help="most passes over the data; training is measured as it goes, and the best pass counts")
    option("--seeds", type=int, default=2, metavar="N",
           help="how often the final students are trained, each time from other random numbers; 5 for a firm comparison")
    option("--batch-size", type=int, default=512, metavar="N", help="rows of one training step")
    option("--learning-rate", type=float, default=5e-3, metavar="X", help="size of a training step")
    option("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N",
           help="trainings at a time, on a core each; the result does not depend on it")
    option("--device", default="cpu", metavar="NAME",
           help="where models are trained: cpu, or cuda for an NVIDIA GPU; small models fill a GPU by several --jobs")
    command.set_defaults(run=partial(with_option_names, distil))


def _add_table(command: argparse.ArgumentParser) -> None:
    """How a table of clicks is read."""
    option = command.add_argument_group(
        "your table", "The name of a column, or its number (the first is 1) if the file has no header line. Left out:\n"
        "the column with a usual name, such as user_id, movieId or timestamp. Every row counts as liked,\n"
        "whatever its rating: leave out low ratings with --min-rating."
    ).add_argument  # fmt: skip
    for role, what in (
        ("user", "who acted"), ("item", "what they acted on"),
        ("time", "when it happened, as a number or a date; the word none if there are no times and the rows are in the order "
         "in which things happened"),
    ):  # fmt: skip
        option(f"--{role}", metavar="COLUMN", help=f"the column that says {what}", default=argparse.SUPPRESS)
    option("--time-format", metavar="FORM", default=argparse.SUPPRESS,
           help="how dates are written, if not like 2020-01-31 12:00:00: %%d is the day, %%m month, %%Y year, %%H hour, %%M "
           "minute, %%S second, so '%%d.%%m.%%Y %%H:%%M:%%S' is 31.01.2020 12:00:00")  # fmt: skip
    option("--sep", metavar="CHARACTER", default=argparse.SUPPRESS,
           help="what stands between the fields of a line, such as ';' or the word tab; left out: seen from the first lines")
    option("--min-rating", type=float, metavar="X", default=argparse.SUPPRESS,
           help="leave out rows with a rating below X; 4 is usual if there are 1 to 5 stars")  # fmt: skip
    option("--rating", metavar="COLUMN", help="the column with the ratings, for --min-rating", default=argparse.SUPPRESS)
    option("--min-actions", type=int, default=5, metavar="N",
           help="leave out users and items with fewer than N rows; nothing can be learnt about them")  # fmt: skip


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between, such as 0.1,0.3,1, not {text!r}") from None
    return numbers


def as_typed(arguments: argparse.Namespace) -> str:
    """The command with all that was given and all that was left at its default."""
    words = ["rdcore", arguments.command, arguments.clicks]
    for name, value in vars(arguments).items():
        if name in ("command", "run", "clicks") or value is None or value is False:
            continue
        option, text = f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [option] if value is True else [f"{option}={text}"] if text.startswith("-") else [option, text]
    return shlex.join(words)


def option_names(message: str) -> str:
    """A message of `studies.distil.distil` with the names of the command line.

    >>> option_names("dim must be an integer >= 1, got 0"), option_names("no items are left: lower min_actions")
    ('--dim must be an integer >= 1, got 0', 'no items are left: lower --min-actions')
    """
    message = message.replace(STORE, "give --out a folder")
    return ARGUMENT.sub(lambda found: {"weight": "--weights"}.get(found[0], f"--{found[0].replace('_', '-')}"), message)


def with_option_names(work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """``work(arguments)``, with `option_names` in the errors that it raises."""
    try:
        return work(arguments)
    except (ValueError, DiskError) as error:
        if (message := option_names(str(error))) == str(error):
            raise
        raise (DiskError if isinstance(error, DiskError) else ValueError)(message) from error


def _columns(given: dict) -> dict:
    """Taken out of what was given: how `read_clicks` reads a table."""
    return {role: given.pop(role, None) for role in ("user", "item", "time", "rating", "min_rating", "sep", "time_format")}


def distil(arguments: argparse.Namespace) -> int:
    from studies.distil.report import Source
    from studies.distil.tables import read_clicks
    from studies.distil.teachers import file_hash
    from studies.distil.whole import distil as make
    from studies.distil.whole import needs_no_data, write_split

    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "run", "clicks")}
    columns = _columns(given)
    if not (only_split := given.pop("only_split", False)):
        needs_no_data(**given)
    clicks, rows, notes = read_clicks(arguments.clicks, **columns, min_actions=arguments.min_actions)
    print(f"{clicks.name}: {rows:,} rows; used: {len(clicks):,} rows, of {clicks.n_users:,} users and {clicks.n_items:,} items")
    if len(clicks) < rows:
        rated = "ratings that are too low; " * (columns["min_rating"] is not None)
        print(f"left out, {rows - len(clicks):,} rows: {rated}repeated rows of a user and an item; users with fewer than "
              f"{arguments.min_actions} items, and items with as few users (--min-actions)")  # fmt: skip
    for line in notes:
        print(f"note: {line}")
    if only_split:
        path = write_split(clicks, arguments.out)
        print(f"written: {path}; let your recommender learn from its part train, and give its lists with --teacher")
        return 0
    rated = columns["min_rating"] is not None
    source = Source(Path(arguments.clicks), file_hash(arguments.clicks), as_typed(arguments), rated)
    done = make(
        clicks, **given, rows=rows, notes=notes, source=source, progress=True, tell=lambda text: print(text, flush=True)
    )
    shown = done.table[["model", "runs", *(name for name in done.table if name in ("nDCG@10", "P@10", "MAP", "bytes"))]]
    shown = shown.rename(columns={"bytes": "MB"}).assign(MB=shown["bytes"] / 1e6)
    print(shown.to_string(index=False, float_format="{:.4f}".format, na_rep="-", formatters={"MB": "{:.2f}".format}))
    print(done.conclusion)
    for line in done.warnings[len(notes):]:  # these are printed above
        print(f"note: {line}")
    for name, file in done.files.items():
        if name != "runs":
            print(f"written: {file}")
    return 0


TEACH = """examples:
  rdcore runs list                                          the runs of the store, each with its key
  rdcore teach 3f2a91 lists.parquet                         one of them, on data that rdcore brings
  rdcore teach shop lists.parquet                           names the runs that rdcore distil left in the folder shop
  rdcore teach shop/runs/3f2a91c04d5e6f70 lists.parquet --clicks clicks.csv --user who --item what --time when
                                                            one of those: the same options of your table as distil had

rdcore distil --teacher lists.parquet takes such a file, and so does any other program that reads Parquet.
"""


def add_teach(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "teach", help="write a run's lists as Parquet, for `rdcore distil --teacher` and others", epilog=TEACH,
        formatter_class=_Format,
        description="Writes the items that a trained model ranks highest for each user, without those that the user\n"
        "has in the rows it learnt from. A run is a training that is kept in a folder, with its weights.",
    )  # fmt: skip
    command.add_argument("run_name", metavar="KEY|FOLDER", help="the run's key, or its first characters, or its folder")
    command.add_argument("path", metavar="FILE.parquet", help="columns user, item, rank, score; hash and terms as metadata")
    command.add_argument("-k", type=int, default=100, metavar="N", help="items of each user's list")
    command.add_argument("--epoch", type=int, metavar="N", help="an evaluated epoch; left out: the last or chosen one",
                         default=argparse.SUPPRESS)  # fmt: skip
    command.add_argument("--clicks", metavar="FILE", help="the table that the run was trained on, if it is your own",
                         default=argparse.SUPPRESS)  # fmt: skip
    command.add_argument("--licence", metavar="TEXT", default="data of one's own: ask who has them",
                         help="a note in the file: the terms of your own data")  # fmt: skip
    _add_table(command)
    command.set_defaults(run=partial(with_option_names, teach))


def teach(arguments: argparse.Namespace) -> int:
    from rdcore import datasets, serve
    from rdcore.models.base import built
    from rdcore.store import contract
    from rdcore.store.lists import write_lists
    from studies.distil.tables import read_clicks

    given = vars(arguments)
    run = serve.find(arguments.run_name)
    asked = run.description
    name, terms = asked["dataset"], arguments.licence
    if "clicks" in given:
        data = read_clicks(arguments.clicks, **_columns(given), min_actions=arguments.min_actions).clicks
        if data.sha256() != asked["data_hash"]:
            raise ValueError(f"{arguments.clicks}, read in this way, is not what run {run.key} was trained on: give the file "
                             "and the options of your table that it had then, such as --min-actions")  # fmt: skip
    elif serve.of_catalog(run):
        data, terms = datasets.load(name), datasets.CATALOG[name].licence
    else:
        raise ValueError(f"run {run.key} was trained on {name!r}, data of your own: give their table with --clicks FILE and "
                         "the options that it had then, or hand them over, in Python, to "
                         "rdcore.store.lists.write_lists(path, model, fit, licence=..., command=...)")  # fmt: skip
    fit = contract.fitted_part(data, asked["stage"])
    settings = serve.settings_of(asked["model"], run.folder)
    model = settings.fit(fit) if hasattr(settings, "fit") else run.restore(built(settings, fit), given.get("epoch"))
    command = shlex.join(["rdcore", *sys.argv[1:]])
    digest = write_lists(arguments.path, model, fit, k=arguments.k, licence=terms, command=command)
    print(f"written: {arguments.path}, lists of {fit.n_users:,} users, hash {digest}")
    print(f"terms of {name}: {terms}")
    return 0
