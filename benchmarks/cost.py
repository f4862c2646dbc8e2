"""Is distillation worth it? Quality against size and time, of teacher, student alone and distilled student.

    pip install -e '.[serve,index]'
    python -m benchmarks.cost                  # a quarter of an hour of one quiet core; --trial: seconds, small numbers
    python -m benchmarks.cost --only gowalla   # or ml-100k, made-up: the other rows of the table stay

Quality: BPR-MF, stage F, all items ranked, textbook nDCG of ten. The students are trained alone, and taught by a larger
teacher by RD with position weights. Three seeds of each student, one of the teacher. No size is tuned for itself.
- MovieLens-100K: a teacher with 64 numbers a vector, students with 4, 8, 16 and 32; settings of README's example.
- Gowalla: a teacher with 128, students with 4, 8, 16 and 32. Position weights, distillation weight and weight decay are
  those of the one-protocol comparison there (its decay of .004 weighs against a sum over 4096 rows), but epochs are
  fewer, for time: 20, with batches of 2048 and a rate of .005.
Runs are kept in the run store.

Time: from a user to the ten best new items, in one thread, for one user and for 512 at once; ONNX Runtime with the exported
file (`exact`), or faiss with inverted lists of the item vectors (`ivf`: a sixteenth of the lists is visited, and more items are
asked for than wanted, because known ones are left out). It is the CPU time of the thread, the median of many calls: on a
busy machine it is steadier than a clock, on a quiet one the same. bytes: the exported file, with `ivf` the index as well.

A million items: random vectors in a thousand clusters. What is given there in place of quality is the share of the ten exact
items that the index finds (overlap@10).

Writes figures/tables/cost.csv, .md and .tex and figures/cost.png and .pdf; with --trial into figures/smoke/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import NullLocator

from rdcore import datasets, serve
from rdcore.data import Interactions, Stage, stage
from rdcore.distill import Position, RDSettings
from rdcore.files import paths
from rdcore.models import BPRMF, BPRMFSettings
from rdcore.store import runs
from rdcore.train.loop import Training
from studies.common import report, style

SOURCE = "benchmarks/cost.py"
COLUMNS = ["dataset", "role", "model", "dim", "quality_metric", "quality", "bytes", "latency_ms", "batch", "index"]
HOW = Training(epochs=20, batch_size=512, learning_rate=5e-3, weight_decay=1e-5, negatives=1)
METHOD = RDSettings(exclude="seen", weights=Position(lam=10), weight=0.1)
TAUGHT = "RD-position"
N, BLOCK = 10, 32  # length of the lists; users whose scores of all items are in memory at a time

@dataclass(frozen=True)
class Size:
    """How much is measured."""

    dataset: str = "ml-100k"
    how: Training = HOW
    method: RDSettings = METHOD
    teacher: int = 64
    students: tuple[int, ...] = (4, 8, 16, 32)
    seeds: int = 3
    items: int = 1_000_000
    users: int = 13_149
    calls: tuple[int, int] = (500, 4)
    """For one user and for a batch."""
    batch: int = 512


GOWALLA = Size(
    "gowalla", Training(epochs=20, batch_size=2048, learning_rate=5e-3, weight_decay=1e-6, negatives=1),
    RDSettings(exclude="seen", weights=Position(lam=1), weight=0.3), 128,
)  # fmt: skip
TRIAL = Size("synthetic", Training(**{**vars(HOW), "epochs": 1}), METHOD, 6, (2, 3), 2, 3_000, 300, (3, 2), 8)


def experiments(size: Size) -> dict[tuple[str, int], list[runs.Experiment]]:
    """(role, dim) -> the runs, a seed each."""
    common = {"dataset": size.dataset, "data_hash": datasets.content_hash(size.dataset), "stage": "F", "training": size.how,
              "evaluate_every": size.how.epochs}  # fmt: skip
    teacher = runs.Experiment(role="T", model=BPRMFSettings(dim=size.teacher), **common)
    found = {("T", size.teacher): [teacher]}
    for dim in size.students:
        learns = {"distillation": size.method, "teacher": teacher, "teacher_epoch": size.how.epochs}
        for role, given in (("S", {}), (TAUGHT, learns)):
            found[role, dim] = [
                runs.Experiment(role=role, model=BPRMFSettings(dim=dim), seed=seed, **given, **common)
                for seed in range(1, size.seeds + 1)
            ]
    return found


# ---------------------------------------------------------------------------------------------------------- two ways to ask


def pasts(fit: Interactions, users: np.ndarray) -> np.ndarray:
    """What the users have, (B, M), padded on the left with n_items."""
    own = [fit.items[fit.offsets[user] : fit.offsets[user + 1]] for user in users]
    longest = max(map(len, own))
    return np.stack([np.concatenate([np.full(longest - len(items), fit.n_items), items]) for items in own])


def by_file(session, fit: Interactions) -> Callable[[np.ndarray], np.ndarray]:
    """Users (B,) -> their lists (B, N), by the exported file."""

    def answer(users: np.ndarray) -> np.ndarray:
        blocks = (users[start : start + BLOCK] for start in range(0, len(users), BLOCK))
        return np.concatenate([session.run(None, {"user": block, "past": pasts(fit, block)})[0] for block in blocks])

    return answer


def inverted_lists(vectors: np.ndarray):
    """faiss's index of item vectors (n, d) by inner product: sqrt(n) lists, a sixteenth of them visited."""
    import faiss

    faiss.omp_set_num_threads(1)
    n, dim = vectors.shape
    lists = max(4, int(n**0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(0).permutation(n)[: 40 * lists]
    index.train(vectors[sample])
    index.add(vectors)
    index.nprobe = max(2, lists // 16)
    return index


def index_bytes(index) -> int:
    """How large the index is as a file."""
    import faiss

    return len(faiss.serialize_index(index))


def by_index(index, model: BPRMF, fit: Interactions) -> Callable[[np.ndarray], np.ndarray]:
    """Users (B,) -> their lists (B, N), by the index; -1 where it finds fewer."""
    vectors = model.user.weight.detach().numpy()

    def answer(users: np.ndarray) -> np.ndarray:
        own = pasts(fit, users)
        found = index.search(np.ascontiguousarray(vectors[users]), min(N + own.shape[1], fit.n_items))[1]  # (B, N + M)
        lists = np.full((len(users), N), -1)
        for row, (items, known) in enumerate(zip(found, own, strict=True)):
            new = items[~np.isin(items, known) & (items >= 0)][:N]
            lists[row, : len(new)] = new
        return lists

    return answer


# --------------------------------------------------------------------------------------------------------- what is measured


def milliseconds(answer: Callable, n_users: int, batch: int, calls: int) -> float:
    """CPU time of a call, the median of ``calls`` with other users each; one more before them does not count."""
    rng, taken = np.random.default_rng(1), []
    for _ in range(1 + calls):
        users = rng.integers(n_users, size=batch)
        begun = time.thread_time()
        answer(users)
        taken.append(1000 * (time.thread_time() - begun))
    return float(np.median(taken[1:]))


def ndcg(lists: np.ndarray, judge: Interactions) -> float:
    """Textbook nDCG of lists (n_users, N), mean over users with a held-out item."""
    gains, ideal = 1 / np.log2(np.arange(N) + 2), np.cumsum(1 / np.log2(np.arange(N) + 2))
    found = []
    for user, items in enumerate(lists):
        held = judge.items[judge.offsets[user] : judge.offsets[user + 1]]
        if len(held):
            found.append(gains[np.isin(items, held)].sum() / ideal[min(len(held), N) - 1])
    return float(np.mean(found))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the items of lists a (B, N) that are in b (B, N)."""
    return float(np.mean([np.isin(x, y).mean() for x, y in zip(a, b, strict=True)]))


def ways(model: BPRMF, fit: Interactions, folder: Path) -> dict[str, tuple[Callable, int]]:
    """Name of the index -> how it answers, and its bytes; without faiss only `exact`."""
    files = serve.export(model, folder / "model.onnx", n=N)
    size = sum(file.stat().st_size for file in files)
    found = {"exact": (by_file(serve.session(files[0], 1), fit), size)}
    try:
        index = inverted_lists(_items(model))
    except ImportError:
        print("faiss is missing: pip install -e '.[index]' in the project's folder")
        return found
    return found | {"ivf": (by_index(index, model, fit), size + index_bytes(index))}


def timed(way: tuple[Callable, int], n_users: int, size: Size) -> list[dict]:
    """A row for one user and one for a batch."""
    return [
        {"bytes": way[1], "latency_ms": milliseconds(way[0], n_users, batch, calls), "batch": batch}
        for batch, calls in zip((1, size.batch), size.calls, strict=True)
    ]


def trained(size: Size) -> list[dict]:
    """Rows of the models on real data."""
    return [row for (role, dim), asked in experiments(size).items() for row in measured(size, role, dim, asked)]


def measured(size: Size, role: str, dim: int, asked: list[runs.Experiment]) -> list[dict]:
    """Rows of one role and size: quality is the mean over runs, the exact one as their records have it; bytes and times are
    those of the last run."""
    data = datasets.load(size.dataset)
    part: Stage = stage(data, "F")
    done = [runs.load_or_train(experiment, data) for experiment in asked]
    models = [run.model(experiment, data) for run, experiment in zip(done, asked, strict=True)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, way in ways(models[-1], part.fit, Path(folder)).items():
            if name == "exact":
                quality = [run.metrics["nDCG@10-standard"].iloc[-1] for run in done]
            else:
                answers = [by_index(inverted_lists(_items(model)), model, part.fit) for model in models]
                quality = [ndcg(answer(np.arange(part.fit.n_users)), part.judge) for answer in answers]
            about = {"dataset": size.dataset, "role": role, "model": "BPR-MF", "dim": dim, "index": name}
            judged = {"quality_metric": "nDCG@10-standard", "quality": float(np.mean(quality))}
            rows += [about | judged | row for row in timed(way, part.fit.n_users, size)]
            print(f"{role}, {dim}, {name}: {np.mean(quality):.4f}", flush=True)
    return rows


def _items(model: BPRMF) -> np.ndarray:
    """The item vectors."""
    return model.item_factors.weight.detach().numpy()


def made_up(size: Size) -> list[dict]:
    """Rows of models over random vectors in clusters."""
    rng, rows = np.random.default_rng(0), []
    items = rng.integers(size.items, size=size.users * 33)
    fit = Interactions("random", items, np.arange(size.users + 1) * 33, size.items)
    for dim in (*size.students, size.teacher):
        model = BPRMFSettings(dim=dim).build(size.users, size.items).requires_grad_(False).eval()
        centres = torch.from_numpy(rng.standard_normal((1000, dim), dtype=np.float32))
        for table in (model.user, model.item_factors):
            n = len(table.weight)
            table.weight.copy_(centres[rng.integers(1000, size=n)])
            table.weight.add_(torch.from_numpy(rng.standard_normal((n, dim), dtype=np.float32)), alpha=0.5)
        with tempfile.TemporaryDirectory() as folder:
            found = ways(model, fit, Path(folder))
            asked = np.arange(64) % size.users
            exact = found["exact"][0](asked)
            for name, way in found.items():
                about = {"dataset": f"{size.items:,} made-up items", "role": "T" if dim == size.teacher else "S",
                         "model": "BPR-MF", "dim": dim, "index": name}  # fmt: skip
                judged = {"quality_metric": "overlap@10", "quality": overlap(exact, way[0](asked))}
                rows += [about | judged | row for row in timed(way, size.users, size)]
        print(f"{size.items:,} items, {dim}: {rows[-1]}", flush=True)
    return rows


NAMES = {"T": "teacher", "S": "student alone", TAUGHT: "distilled student", "ml-100k": "MovieLens-100K", "gowalla": "Gowalla"}
WAYS = {"exact": "all items scored", "ivf": "index (inverted lists)"}


def picture(frame: pd.DataFrame) -> plt.Figure:
    """Quality over bytes for each data set, over time for the last one, and time over size with many items."""
    style.use_style()
    real = frame[frame["quality_metric"] != "overlap@10"]
    many = frame[frame["quality_metric"] == "overlap@10"]
    sets = list(real["dataset"].unique())
    fig, axes = plt.subplots(2, 2, figsize=(9, 7))
    axes = axes.ravel()
    for ax, name in zip(axes, sets, strict=False):
        _quality(ax, real[real["dataset"] == name], "bytes", ("exact",))
        ax.set(title=NAMES.get(name, name), xlabel="size of the file, MB", ylabel="nDCG@10", xlim=(0, None))
    axes[0].legend(frameon=False, fontsize=9)
    _quality(axes[2], real[real["dataset"] == sets[-1]], "latency_ms", ("exact", "ivf"))
    axes[2].set(title=f"{NAMES.get(sets[-1], sets[-1])}; hollow: with the index", xlabel="one user's list, ms of CPU time",
                ylabel="nDCG@10", xlim=(0, None))  # fmt: skip
    for (name, batch), rows in many.groupby(["index", "batch"], sort=False):
        rows = rows.sort_values("dim")
        dash, colour = "-" if name == "exact" else ":", style.BLACK if batch == 1 else style.GREY
        axes[3].plot(rows["dim"], rows["latency_ms"] / batch, marker=".", markersize=8, linestyle=dash, color=colour,
                     label=f"{WAYS[name]}, {_at_once(batch)}")  # fmt: skip
    axes[3].set(title=many["dataset"].iloc[0], xscale="log", yscale="log", xlabel="numbers in a vector",
                ylabel="ms of CPU time for a user")
    axes[3].set_xticks(sorted(many["dim"].unique()), sorted(many["dim"].unique()))
    axes[3].xaxis.set_minor_locator(NullLocator())
    style.log_ticks(axes[3].yaxis)
    axes[3].set_ylim(top=10 * (many["latency_ms"] / many["batch"]).max())  # room for the legend
    axes[3].legend(frameon=False, fontsize=9, loc="upper left", ncols=1)
    axes[1].set_visible(len(sets) > 1)
    return fig


def _at_once(batch: int) -> str:
    return "one user" if batch == 1 else f"{batch} users at once"


def _quality(ax: plt.Axes, rows: pd.DataFrame, column: str, indexes: tuple[str, ...]) -> None:
    """Quality of one user's lists over a column, a point for each model and index, with its numbers a vector."""
    rows = rows[rows["batch"] == 1]
    for role, group in rows.groupby("role", sort=False):
        look = style.ROLES[role]
        for index in indexes:
            chosen = group[group["index"] == index]
            x = chosen[column] / (1e6 if column == "bytes" else 1)
            dash, face = look.dash if column == "bytes" else "", None if index == "exact" else "none"
            ax.plot(x, chosen["quality"], color=look.colour, linestyle=dash, marker=look.marker, markerfacecolor=face,
                    label=NAMES[role])  # fmt: skip
            if role != "S":
                for place, quality, dim in zip(x, chosen["quality"], chosen["dim"], strict=True):
                    ax.annotate(dim, (place, quality), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)


def together(old: pd.DataFrame | None, new: pd.DataFrame) -> pd.DataFrame:
    """The new rows, and old ones of other data sets; made-up items last."""
    if old is not None:
        new = pd.concat([old[~old["dataset"].isin(new["dataset"])], new])
    order = new["dataset"].map(lambda name: {"ml-100k": 0, "gowalla": 1}.get(name, 2))
    return new.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trial", action="store_true", help="small numbers, to see that it works")
    parser.add_argument("--draw", action="store_true", help="only draw the picture again, from the table that is there")
    parser.add_argument("--only", choices=["ml-100k", "gowalla", "made-up"], help="measure these rows, and leave the others")
    arguments = parser.parse_args(argv)
    sizes, profile = ([TRIAL], "smoke") if arguments.trial else ([Size(), GOWALLA], "paper")
    torch.set_num_threads(1)
    file = paths.figures(profile) / "tables" / "cost.csv"
    frame = pd.read_csv(file) if arguments.draw or arguments.only else None
    if not arguments.draw:
        rows = [row for size in sizes if arguments.only in (None, size.dataset) for row in trained(size)]
        rows += made_up(sizes[0]) if arguments.only in (None, "made-up") else []
        frame = together(frame, pd.DataFrame(rows, columns=COLUMNS))
    print(frame.to_string(index=False, float_format="{:.4g}".format))
    print(f"written: {report.write_table(frame, 'cost', profile, [], SOURCE)}")
    style.save(picture(frame), "cost", profile, [], SOURCE)


if __name__ == "__main__":
    main()
