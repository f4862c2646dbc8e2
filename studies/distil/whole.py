"""The whole way: data, runs, table, page, exported student."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor

from rdcore import serve
from rdcore.checks import integer, interactions
from rdcore.data import Interactions, Stage, from_frame
from rdcore.datasets import synthetic
from rdcore.files.disk import locked, remove_partials
from rdcore.files.whole import write_whole
from rdcore.models import PopularitySettings
from rdcore.store.contract import check_device
from rdcore.train.loop import Training
from studies.distil import plan as plans
from studies.distil import report, results, teachers
from studies.distil.tables import about_ratings

SERVE = '''"""Lists of some users from the distilled student: python serve.py USER ...

It needs numpy and onnxruntime. Users and items have the labels of your data.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).resolve().parent
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.disable_prepacking", "1")  # weights stay in their file
session = onnxruntime.InferenceSession(str(here / "student.onnx"), options, providers=["CPUExecutionProvider"])
known = np.load(here / "student.npz")
items, offsets, user_ids, item_ids = (known[name] for name in ("items", "offsets", "user_ids", "item_ids"))
if len(sys.argv) < 2:
    sys.exit(f"usage: python serve.py USER ...   (such as {str(user_ids[0])!r})")
for label in sys.argv[1:]:
    place = np.flatnonzero(user_ids.astype(str) == label)
    if not len(place):
        sys.exit(f"there is no user {label!r}: take a label of your data, such as {str(user_ids[0])!r}; users with too "
                 "few rows are left out")
    past = items[offsets[place[0]] : offsets[place[0] + 1]]
    best, scores = session.run(None, {"user": place, "past": past[None]})
    for item, score in zip(best[0], scores[0], strict=True):
        if score > -np.inf:  # else the user has everything else already
            print(label, item_ids[item], f"{score:.6f}", sep="\\t")
'''


MARK = ".distil"
"""In a folder of runs: it was made here, and the files beside it may be replaced."""


@dataclass(frozen=True)
class Distilled:
    """What `distil` returns."""

    table: pd.DataFrame
    """A row for POP, T, S and D (the distilled student): metrics with intervals, bytes, ms."""
    conclusion: str
    """Whether the teacher helped, in sentences."""
    warnings: list[str]
    """What to know before believing it."""
    files: dict[str, Path]
    """report, table, student, weights, labels, serve, runs."""


NO_ARGUMENTS = ("clicks", "progress", "tell", "rows", "notes", "source")
"""What a call of `distil` has and its page does not repeat: it changes no result."""


def distil(
    clicks: pd.DataFrame | Interactions, user: str = "user", item: str = "item", time: str | None = "time", *,
    out: Path | str, teacher: str | Path = "ease", teacher_dim: int = 256, student: str = "bpr", dim: int = 32,
    method: str = "rd-position", weights: tuple[float, ...] = (), seeds: int = 2, epochs: int = 20,
    batch_size: int = 512, learning_rate: float = 5e-3, min_actions: int = 5, jobs: int = 1,
    device: str = "cpu", progress: bool = False, tell: Callable[[str], object] = lambda text: None, rows: int | None = None,
    notes: Sequence[str] = (), source: report.Source | None = None,
) -> Distilled:  # fmt: skip
    """Trains teacher, student and distilled student, and writes the page, table and served student.

    clicks: a table with the columns ``user``, ``item`` and ``time`` (None: rows are in order), or
    interactions. out: the folder to write to; runs are kept in out/runs, and the same call goes on
    with them after an interrupt. teacher: a name of `teachers.MODELS`, or the path of a file with
    its lists. method: a name of `plan.METHODS`. weights: the distillation weights to try, by
    default three of the method; the student alone tries as many weight decays. jobs: runs at a
    time. device: where they are trained, 'cpu' or 'cuda'; the student is served by a CPU. rows: how
    many rows the source had, for the page. notes: what the page says first of the data. source: the clicks' file.

    Raises ValueError, before anything is trained, for what does not fit together.
    """
    arguments = {name: value for name, value in locals().items() if name not in NO_ARGUMENTS}
    asked = needs_no_data(
        out=out, teacher=teacher, teacher_dim=teacher_dim, student=student, dim=dim, method=method, weights=weights,
        seeds=seeds, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, min_actions=min_actions, jobs=jobs,
        device=device,
    )  # fmt: skip
    out = Path(out)
    if isinstance(clicks, pd.DataFrame):
        rows, names = len(clicks), list(map(str, clicks.columns))
        notes = [*notes, *filter(None, [about_ratings(clicks, names, [*map(str, (user, item, time))])])]
        clicks = from_frame(clicks, user, item, time, name="clicks", min_actions=min_actions)
    interactions(clicks)
    teachers.check_size(str(teacher), teacher_dim, clicks)
    plan = replace(asked, data=clicks)
    made = report.how_made(plan, arguments, source)
    _, part = results.stages(clicks)
    if (judged := clicks.n_users - part.n_unjudged) < 2:
        raise ValueError(f"the models are compared over users with test rows, and {clicks.name} has {judged}: bring the rows "
                         f"of more users{', or lower min_actions' * (min_actions > 1)}")  # fmt: skip
    if isinstance(plan.teacher, teachers.ListsSettings):
        tell(f"lists of {teacher}: {plan.teacher.read(clicks)}")
    needs_folder(out)
    needs_folder(out / "runs")
    (out / "runs" / MARK).touch()
    with run_store(out / "runs", workers=jobs > 1):
        done = plans.carry_out(plan, jobs=jobs, device=device, progress=progress, tell=tell)
        with locked(out / "runs" / "page", f"another process is writing {out}, waiting for it"):
            remove_leftovers(out)
            return write(done, out, rows, made, notes, source)


def needs_no_data(
    *, out: Path | str, teacher: str | Path, teacher_dim: int, student: str, dim: int, method: str, seeds: int,
    epochs: int, batch_size: int, learning_rate: float, min_actions: int, jobs: int, device: str,
    weights: tuple[float, ...] = (),
) -> plans.Plan:  # fmt: skip
    """The plan of these options of `distil`, with made-up data in the place of those to come.

    Raises ValueError for what is wrong whatever the data are, before a large file is read, and for files of others in ``out``.
    """
    out = folder_of(out)
    for name, known in (("teacher", teachers.MODELS), ("student", teachers.STUDENTS)):
        value = {"teacher": teacher, "student": student}[name]
        if value not in known and not (name == "teacher" and Path(value).is_file()):
            lists = ", or the path of a file with lists" if name == "teacher" else ""
            none = ", which is no file" if name == "teacher" else ""
            raise ValueError(f"{name} must be one of {', '.join(known)}{lists}, got {str(value)!r}{none}")
    for name, value in (("dim", dim), ("teacher_dim", teacher_dim), ("jobs", jobs)):
        integer(name, value)
    integer("min_actions", min_actions, least=0)
    check_device(device)
    needs_export()
    refuse_strangers(files_of(out))
    training = Training(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, negatives=1, weight_decay=1e-5
    )
    return plans.Plan(
        data=synthetic.generate(n_users=4, n_items=50, min_length=8, max_length=10, seed=1),
        teacher=teachers.model(teacher, teacher_dim) if teacher in teachers.MODELS else teachers.given(teacher),
        student=teachers.model(student, dim), method=method, training=training, weights=tuple(weights), seeds=seeds,
    )  # fmt: skip


def remove_leftovers(out: Path) -> None:
    """Removes what a call left in ``out`` that was killed while it wrote there."""
    remove_partials(out)
    for folder in out.glob(".student.onnx.*"):
        shutil.rmtree(folder)


def write(
    done: plans.Done, out: Path, rows: int | None, made: list[tuple[str, str]], notes: Sequence[str],
    source: report.Source | None,
) -> Distilled:  # fmt: skip
    """Everything but the runs, each file whole or absent; the page last."""
    data = done.plan.data
    earlier, part = results.stages(data)
    users = results.per_user(done, part)
    models = {role: done.runs[role][0].model(done.experiments[role][0], data) for role in ("T", "S", "D")}
    popular = PopularitySettings().fit(part.fit)
    cost = {role: results.cost(model, part) for role, model in {"POP": popular, **models}.items()}
    if isinstance(done.plan.teacher, teachers.ListsSettings):
        cost["T"] = results.unknown_of_lists()
    table = results.table(users, cost)
    said, warned = results.conclusion(users), [*notes, *results.warnings(done, users, part, models["T"])]
    files = files_of(out)
    n = min(10, data.n_items)
    serve.export(models["D"], files["student"], n=n, about={"data_hash": data.sha256(), "run": done.runs["D"][0].key})
    sample = np.unique(np.linspace(0, data.n_users - 1, serve.CHECKED).astype(int))
    serve.check(files["student"], models["D"], part.fit, sample)
    serve.write_users(data, files["labels"])
    write_whole(files["serve"], lambda file: file.write_text(SERVE, encoding="utf-8"))
    write_whole(files["table"], lambda file: table.to_csv(file, index_label="role"))
    report.write_report(
        files["report"], done, table, results.gains(users), said, warned,
        facts(data, earlier, part, rows, rated=bool(source and source.rated)), results.TIMED,
        source.path.name if source else data.name, made,
    )
    return Distilled(table, " ".join(said), warned, files)


def write_split(data: Interactions, out: str | Path) -> Path:
    """Writes all rows that count as split.csv in the folder, each user's oldest first: user, item, and the part they are in.

    Raises ValueError where another split.csv is there, because a teacher may have learnt from it.
    """
    out = folder_of(out)
    earlier, part = results.stages(data)
    tables = [
        pd.DataFrame({"user": data.user_ids[rows.users()], "item": data.item_ids[rows.items], "part": name})
        for name, rows in (("train", earlier.fit), ("validation", earlier.judge), ("test", part.judge))
    ]
    needs_folder(out)
    path, made = out / "split.csv", pd.concat(tables).to_csv(index=False, lineterminator="\n").encode()
    if path.is_dir() or (path.exists() and path.read_bytes() != made):
        raise taken(path)
    write_whole(path, lambda file: file.write_bytes(made))
    return path


def facts(data: Interactions, earlier: Stage, part: Stage, rows: int | None, *, rated: bool) -> list[tuple[str, str]]:
    """Lines about data and split. rated: rows with low ratings were left out."""
    lines = [] if rows is None else [("rows of the file", rows)]
    lines += [
        (f"rows used (left out: repeated rows, {'too low ratings, ' * rated}users or items with too few)", len(data)),
        ("users", data.n_users), ("items", data.n_items), ("rows to learn from, for trials", len(earlier.fit)),
        ("validation rows", len(earlier.judge)), ("rows to learn from, for final runs", len(part.fit)),
        ("test rows", len(part.judge)),
        ("users without a test row", part.n_unjudged), ("test rows of items that nobody had before", part.n_cold),
    ]  # fmt: skip
    return [(name, f"{count:,}") for name, count in lines]


def files_of(out: Path) -> dict[str, Path]:
    """What is written in the folder, by name."""
    return {
        "report": out / "report.html", "table": out / "table.csv", "student": out / "student.onnx",
        "weights": out / "student.onnx.data", "labels": out / "student.npz", "serve": out / "serve.py", "runs": out / "runs",
    }  # fmt: skip


def refuse_strangers(files: dict[str, Path]) -> None:
    """Raises ValueError for a file that would be replaced, or a folder of runs, that no call has made; and for a folder in the
    place of a file. A call marks its folder of runs; before there was a mark, a run in it told whose it is."""
    runs = files["runs"]
    described = (run.parent.name for run in runs.glob("*/description.json"))
    ours = (runs / MARK).exists() or any(re.fullmatch("[0-9a-f]{16}", name) for name in described)
    for name, file in files.items():
        if name != "runs" and (file.is_dir() or (file.exists() and not ours)):
            raise taken(file)
    if not ours and runs.is_dir() and any(runs.iterdir()):
        raise ValueError(f"{runs} is there already, and holds no runs of rdcore distil: give another folder with --out")


def taken(path: Path) -> ValueError:
    """The error of a file that would be replaced."""
    return ValueError(f"{path} is there already, and would be replaced: move it, or give another folder with --out")


def folder_of(out: str | Path) -> Path:
    """The folder to write to. Raises ValueError for an empty name, which would be the current one."""
    if not str(out):
        raise ValueError("--out is empty: name the folder to write to")
    return Path(out)


def needs_folder(out: Path) -> None:
    """Makes the folder to write to. Raises ValueError where it cannot be made or written to, before hours of training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to the folder {out} ({error.strerror}): give another one with --out") from None


def needs_export() -> None:
    """Raises ValueError where the packages that export are missing, before hours of training."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the student is exported to ONNX, which needs the extra `serve` ({error}): "
                         "pip install -e '.[serve]' in the project's folder") from error  # fmt: skip


@contextlib.contextmanager
def run_store(folder: Path, *, workers: bool = False) -> Iterator[None]:
    """Inside, runs are kept in ``folder``. workers: processes are started that must know it, too,
    and are ended afterwards, because joblib would keep them for the next caller."""
    before = os.environ.get("RDCORE_RUNS")
    os.environ["RDCORE_RUNS"] = str(folder)
    if workers:
        get_reusable_executor().shutdown(wait=True)
    try:
        yield
    finally:
        if workers:
            get_reusable_executor().shutdown(wait=True)
        if before is None:
            del os.environ["RDCORE_RUNS"]
        else:
            os.environ["RDCORE_RUNS"] = before
