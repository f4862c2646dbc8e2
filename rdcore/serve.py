"""A model without torch and without rdcore: exported to ONNX, it answers a user and their past with their top-n list.

    export(model, "student.onnx")          any model, also one's own
    export_run(run, "student.onnx")        a stored run, checked, and student.npz: who has what

The exported graph, of any number of queries B and any length M of the pasts:

    user (B,) int64, past (B, M) int64  ->  items (B, n) int64, scores (B, n) float32, best first

``past`` holds all items that a user has, most recent last, padded on the left with n_items (rows of one length need none).
They are what the model looks at (Caser: the last L of them, Fossil: all, BPR-MF and NeuMF: none) and what is left out of the
list. An id that is no item's stands for none, so that items younger than the model may stay in; a user that the model does
not know is an error of the runtime. A list that runs out of unseen items ends in n_items with the score -inf, as
`metrics.top_items` does it.

n is fixed when the model is exported (n_items gives all scores). Memory of one answer: B n_items scores; NeuMF, whose scores
are no dot products, needs B n_items d. Weights are in a second file (student.onnx.data) and can be mapped from there into
memory, so that a session starts at once and several share them; together the two files are moved and renamed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rdcore import __version__, datasets, models
from rdcore.checks import integer, interactions, of_its_users, short
from rdcore.data import Interactions, Stage
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.eval import metrics
from rdcore.files.whole import write_whole
from rdcore.models import NeuMF
from rdcore.models.base import Model, built, check_model, evaluating
from rdcore.store import contract, listing
from rdcore.store.names import label
from rdcore.store.records import Record, Run

OPSET = 20
# Of the largest score of a user's list: float32 sums in another order. Items whose scores are closer may change places.
TOLERANCE = 1e-5
CHECKED = 200  # users, in export_run


@dataclass(frozen=True)
class PaddedQueries:
    """Queries that bring their past with them instead of a place in a table of all sequences: what a served model is asked.
    They answer what `Queries` does, all in operations whose shapes follow from those of the inputs (so that they can be
    exported), but for ``past()``, which has no fixed shape.

    user: (B,). items: (B, M) the past, most recent last, padded on the left with ``padding``.
    """

    user: Tensor
    items: Tensor
    padding: int

    def past_sum(self, table: Tensor, everything: bool = False) -> tuple[Tensor, Tensor]:
        """As `Queries.past_sum`, where the row of the padding id in ``table`` is zero. Nothing lies behind these queries, so
        that ``everything`` is their past."""
        return table[self.items].sum(1), (self.items != self.padding).sum(1)

    def history(self, length: int) -> Tensor:
        return F.pad(self.items, (length, 0), value=self.padding)[:, -length:]


class Served(nn.Module):
    """What is exported: the way from a user and their past to their list."""

    def __init__(self, model: Model, n: int):
        super().__init__()
        self.model, self.n = model, n

    def forward(self, user: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        model, n_items = self.model, self.model.n_items
        known = (past >= 0) & (past < n_items)
        # A negative id would count from the end of a table, without a word; too large a one is refused.
        user = torch.where(user < 0, 2**62, user)
        context = model.encode(PaddedQueries(user, torch.where(known, past, n_items), n_items))
        # NeuMF.score_all picks columns by the sign of weights: shapes that depend on values cannot be exported.
        everything = model.score(context, torch.arange(n_items)) if isinstance(model, NeuMF) else model.score_all(context)
        left_out = torch.where(known, -torch.inf, 0.0).to(everything.dtype)
        scores, items = everything.scatter_add(1, torch.where(known, past, 0), left_out).topk(self.n)
        return torch.where(scores == -torch.inf, n_items, items), scores


def export(model: Model, path: Path | str, *, n: int = 10, about: Mapping[str, str] | None = None) -> list[Path]:
    """Writes ``path`` (.onnx) and ``path``.data, and returns them; each is whole or absent.

    n: length of the lists. about: kept in the file for whoever asks where it comes from (n and n_items always are).
    Raises ValueError without the packages of the extra `serve`, for a model on a GPU, and for one whose ``encode`` or
    ``score_all`` is more than tensor operations on ``queries.user``, ``queries.history(length)`` and
    ``queries.past_sum(table)``, such as ItemCF's.
    """
    path = Path(path)
    integer("n", n)
    check_model(model, getattr(model, "n_items", 0))
    if n > model.n_items:
        raise ValueError(f"n must be at most the number of items, {model.n_items}, got {n}")
    if path.suffix != ".onnx":
        raise ValueError(f"the exported file must end in .onnx, got {str(path)!r}")
    if path.is_dir() or path.with_name(f"{path.name}.data").is_dir():
        raise ValueError(f"{path} or its .data is a folder: give another name")
    for table in chain(model.parameters(), model.buffers()):
        if table.device.type != "cpu":
            raise ValueError("a model is exported from the CPU: give model.cpu()")
        if table.is_floating_point() and table.dtype != torch.float32:
            raise ValueError(f"a model is exported in torch.float32, and this one has {table.dtype}: give model.float()")
    program = _program(model.served(), n)
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with paths of this machine
    facts = {"rdcore": __version__, "n": str(n), "n_items": str(model.n_items)}
    program.model.metadata_props.update(facts | dict(about or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        program.save(Path(folder) / path.name, external_data=True)
        names = sorted((file.name for file in Path(folder).iterdir()), reverse=True)  # the weights before the graph
        for name in names:
            os.replace(Path(folder) / name, path.parent / name)
    return [path.parent / name for name in reversed(names)]


def _program(model: Model, n: int):
    try:
        import onnx  # noqa: F401  (torch.onnx needs both, and asks late)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"exporting needs the extra `serve` ({error}): pip install -e '.[serve]' in the project's folder"
        ) from error
    queries, length = torch.export.Dim("queries"), torch.export.Dim("length")
    example = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64)
    try:
        with evaluating(model), _quiet():
            # strict: a model's len(queries.user) is then a size that may vary, as .shape[0] is.
            traced = torch.export.export(
                Served(model, n).eval(), example, dynamic_shapes=({0: queries}, {0: queries, 1: length}), strict=True
            )
            return torch.onnx.export(
                traced, dynamo=True, opset_version=OPSET, verbose=False, input_names=["user", "past"],
                output_names=["items", "scores"], dynamic_shapes=({0: "queries"}, {1: "length"}),
            )  # fmt: skip
    except Exception as error:  # torch's two exporters raise nearly any of them
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"{type(model).__name__} cannot be exported ({said}): its encode and score_all must be tensor operations on "
            "queries.user, queries.history(length) and queries.past_sum(table)"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch 2.13 says of itself at every export: that torchvision is missing, and how its own pytree is called."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# -------------------------------------------------------------------------------------------------------------------- pasts


def padded_pasts(fit: Interactions, users: Sequence[int]) -> np.ndarray:
    """All items of some users, as an exported model is asked: (len(users), longest) int64."""
    users = np.asarray(users, dtype=None if len(users) else np.int64)
    if users.dtype.kind not in "iu" or ((users < 0) | (users >= fit.n_users)).any():
        raise ValueError(f"users must be integers in 0..{fit.n_users - 1}, got {short(users)}: places of labels in user_ids")
    rows = [fit.items[fit.offsets[user] : fit.offsets[user + 1]] for user in users]
    pasts = np.full((len(rows), max(map(len, rows), default=0)), fit.n_items)
    for past, row in zip(pasts, rows, strict=True):
        past[len(past) - len(row) :] = row
    return pasts


def write_users(fit: Interactions, path: Path | str) -> Path:
    """Who has what, for a script without rdcore (numpy's .npz): items and offsets as in `Interactions`, and the labels that
    users and items have in the data set, user_ids and item_ids. Nothing in it is a pickle.

    fit: what the model was fitted to, such as ``stage(mine, "F").fit``. With all interactions the lists would leave out the
    held-out items, too; that is right once a model is served and wrong where its lists are compared with its evaluation.
    """

    interactions(fit)

    def plain(labels: np.ndarray) -> np.ndarray:
        return labels.astype(str) if labels.dtype == object else labels

    arrays = {"items": fit.items, "offsets": fit.offsets, "user_ids": plain(fit.user_ids), "item_ids": plain(fit.item_ids)}

    def write(draft: Path) -> None:
        with draft.open("wb") as file:  # numpy would add .npz to a name
            np.savez(file, **arrays)

    write_whole(Path(path), write)
    return Path(path)


def session(path: Path | str, threads: int = 0):
    """ONNX Runtime's session of an exported file, on the CPU. threads: 0 is one a core.

    Weights stay in their file, mapped into memory; a copy in another layout ("prepacking") doubles the memory and pays for
    large batches only.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of its own
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} cannot be served ({said}): it and {path}.data lie in one folder; export it again") from error


def check(path: Path | str, model: Model, fit: Interactions, users: Sequence[int], *, block: int = 32) -> float:
    """Asks the exported file and ``model`` for the lists of some users of ``fit``: the largest difference of two scores at the
    same place, as a share of the largest score in the list.

    Raises ValueError where lists differ by more than an order of items whose scores are equal within TOLERANCE. Memory:
    ``block`` x n_items scores, a few times.
    """
    if fit.n_items != model.n_items:
        raise ValueError(
            f"the model knows {model.n_items} items and the interactions have {fit.n_items}: give those it was fitted to, "
            "such as stage(mine, 'F').fit"
        )
    of_its_users(model, fit)
    asked, worst = session(path), 0.0
    with evaluating(model), torch.no_grad():
        for start in range(0, len(users), block):
            part = np.asarray(users[start : start + block])
            pasts = padded_pasts(fit, part)
            try:
                answer = asked.run(None, {"user": part, "past": pasts})
            except Exception as error:  # of classes of its own
                raise ValueError(
                    f"{path} does not answer for the users {part.min()} to {part.max()} ({str(error).splitlines()[0][:200]}): "
                    "was it made from other data? give the interactions that the model was fitted to"
                ) from error
            worst = max(worst, _difference(path, model, fit, part, *map(torch.from_numpy, answer)))
    return worst


def _difference(path, model: Model, fit: Interactions, users: np.ndarray, items: Tensor, scores: Tensor) -> float:
    queries = final_queries(fit)[torch.from_numpy(users)]
    seen = SeenItems(torch.from_numpy(fit.items), torch.from_numpy(fit.offsets), fit.n_items).of(queries.user)
    ours = model.score_all(model.encode(queries))
    best = metrics.top_items(ours, seen, items.shape[1])
    ours[seen] = -torch.inf
    ours = torch.cat([ours, ours.new_full((len(users), 1), -torch.inf)], dim=1)  # the padding id's
    wanted = ours.gather(1, best)
    largest = wanted.abs().where(best < fit.n_items, 0).amax(1, keepdim=True).clamp(min=torch.finfo(wanted.dtype).tiny)
    at_end = (best == fit.n_items) & (items == fit.n_items)
    # What the file says of its items, and what the model says of them, against the best that there are.
    for given in (scores, ours.gather(1, items)):
        difference = ((given - wanted).abs() / largest).where(~at_end, 0).nan_to_num(nan=torch.inf)
        if not difference.max() <= TOLERANCE:
            row, place = divmod(int(difference.argmax()), items.shape[1])
            raise ValueError(
                f"{path} does not give the model's lists: user {users[row]} gets item {items[row, place]} with score "
                f"{scores[row, place]:g} at place {place + 1}, where the model has item {best[row, place]} with "
                f"{wanted[row, place]:g}"
            )
    return float(((scores - wanted).abs() / largest).where(~at_end, 0).max())


# --------------------------------------------------------------------------------------------------------------------- runs


def find(name: str) -> Run:
    """The finished run with its weights that lies in the folder ``name``, or whose key begins so.

    Raises ValueError that names the way to get one where it is committed without weights, or not finished, and the runs in a
    folder that is none itself.
    """
    if inside := [Run(file.parent) for part in ("*", "runs/*") for file in sorted(Path(name).glob(f"{part}/DONE")) if name]:
        rows = "\n".join(f"  {run.folder}  {label(run.description)}" for run in inside)
        raise ValueError(f"{name} is no run, but a folder with runs: name one of\n{rows}")
    run: Record = Run(Path(name)) if (Path(name) / "description.json").exists() else listing.find(name)
    title = f"run {run.key} ({label(run.description)})"
    if not isinstance(run, Run):
        raise ValueError(f"{title} is a committed record, which has no weights: `rdcore train --only {run.key}` makes them")
    if not run.finished:
        again = "the call that began it, runs.load_or_train(experiment, data), goes on with it"
        if of_catalog(run):
            again = f"`rdcore train --only {run.key}` goes on with it if it belongs to a profile; if it is your own, {again}"
        raise ValueError(f"{title} is not finished: {again}")
    return run


def of_catalog(run: Record) -> bool:
    """Whether the run's data set is one that `datasets.load` brings."""
    name = run.description["dataset"]
    return name in datasets.CATALOG and datasets.content_hash(name) == run.description["data_hash"]


def export_run(
    run: Run, path: Path | str, *, n: int = 10, epoch: int | None = None, data: Interactions | Stage | None = None
) -> tuple[list[Path], float]:
    """Writes the model of a finished run at an evaluated epoch (by default the last or chosen one) and, as .npz, what the users
    had when it was fitted; asks the file for the lists of CHECKED users. Returns the files and `check`'s difference.

    data: the interactions that the run was trained on; by default its data set of the catalog. Your own model class needs
    `export` and `write_users` instead. Raises ValueError, before anything is written, for other data than the run's.
    """
    asked = run.description
    contract.check_dtype()
    settings = settings_of(asked["model"], run.folder)
    if data is None:
        if not of_catalog(run):
            raise ValueError(
                f"run {run.key} ({label(asked)}) was trained on data of your own: hand them over, in Python: "
                f"from rdcore import serve; serve.export_run(serve.find({run.key!r}), {str(path)!r}, data=...)"
            )
        data = datasets.load(asked["dataset"])
    contract.check_hash(asked["dataset"], asked["data_hash"], data)
    contract.check_stage(asked["data_hash"], data, run.folder)
    fit = contract.fitted_part(data, asked["stage"])
    about = {"run": run.key, "label": label(asked), "data_hash": data.sha256()}
    if hasattr(settings, "fit"):
        model = settings.fit(fit)
    else:
        epoch = run.epoch if epoch is None else epoch
        model, about["epoch"] = run.restore(built(settings, fit), epoch), str(epoch)
    files = export(model, path, n=n, about=about)
    files.append(write_users(fit, Path(path).with_suffix(".npz")))
    users = np.unique(np.linspace(0, fit.n_users - 1, CHECKED).astype(int))
    return files, check(path, model, fit, users)


def settings_of(described: Mapping, folder: Path):
    """The model's settings from their description in a record."""
    fields = dict(described)
    name, revision = fields.pop("type"), fields.pop("revision", None)
    if name not in models.__all__ or not name.endswith("Settings"):
        raise ValueError(
            f"{folder} is a run of {name!r}, no model of rdcore's: export it by rdcore.serve.export(model, path)"
        )
    kind = getattr(models, name)
    if revision != kind.revision:
        raise ValueError(f"{folder} has revision {revision} of {name}, which is at {kind.revision} by now: train the run again")
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'description.json'} describes no {name}: {error}") from None
