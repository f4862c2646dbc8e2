"""Is distillation worth it? Quality against size and time, of teacher, student alone and distilled student.

    pip install 'rdcore[serve,index]'
    python -m benchmarks.cost            # some minutes of one core; --trial: seconds, small numbers

Quality: BPR-MF on MovieLens-100K, stage F, all items ranked, textbook nDCG of ten. The teacher has 64 numbers a vector, the
students 4, 8, 16 and 32; the distilled ones learn from it by RD with position weights. Three seeds of each student, one of
the teacher. All sizes have the settings of README's example: nothing is tuned. Runs are kept in the run store.

Time: from a user to the ten best new items, in one thread, for one user and for 512 at once; ONNX Runtime with the exported
file (`exact`), or faiss with inverted lists of the item vectors (`ivf`: a sixteenth of the lists is visited, and more items are
asked for than wanted, because known ones are left out). It is the CPU time of the thread, the median of some calls: on a
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
from matplotlib.ticker import NullFormatter

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
    teacher: int = 64
    students: tuple[int, ...] = (4, 8, 16, 32)
    seeds: int = 3
    items: int = 1_000_000
    users: int = 13_149
    calls: tuple[int, int] = (30, 2)
    """For one user and for a batch."""
    batch: int = 512
    epochs: int = HOW.epochs


TRIAL = Size("synthetic", 6, (2, 3), 2, 3_000, 300, (3, 2), 8, 1)


def experiments(size: Size) -> dict[tuple[str, int], list[runs.Experiment]]:
    """(role, dim) -> the runs, a seed each."""
    how = Training(**{**vars(HOW), "epochs": size.epochs})
    common = {"dataset": size.dataset, "data_hash": datasets.content_hash(size.dataset), "stage": "F", "training": how,
              "evaluate_every": size.epochs}  # fmt: skip
    teacher = runs.Experiment(role="T", model=BPRMFSettings(dim=size.teacher), **common)
    found = {("T", size.teacher): [teacher]}
    for dim in size.students:
        for role, given in (("S", {}), (TAUGHT, {"distillation": METHOD, "teacher": teacher, "teacher_epoch": size.epochs})):
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
        index = inverted_lists(model.item_factors.weight.detach().numpy())
    except ImportError:
        print("faiss is missing: pip install 'rdcore[index]'")
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
    data = datasets.load(size.dataset)
    part: Stage = stage(data, "F")
    everyone, rows = np.arange(part.fit.n_users), []
    for (role, dim), asked in experiments(size).items():
        quality: dict[str, list[float]] = {}
        for experiment in asked:
            model = runs.load_or_train(experiment, data).model(experiment, data)
            with tempfile.TemporaryDirectory() as folder:
                found = ways(model, part.fit, Path(folder))
                for name, (answer, _) in found.items():
                    quality.setdefault(name, []).append(ndcg(answer(everyone), part.judge))
                if experiment is asked[-1]:
                    for name, way in found.items():
                        about = {"dataset": size.dataset, "role": role, "model": "BPR-MF", "dim": dim, "index": name}
                        judged = {"quality_metric": "nDCG@10-standard", "quality": float(np.mean(quality[name]))}
                        rows += [about | judged | row for row in timed(way, part.fit.n_users, size)]
        print(f"{role}, {dim}: " + ", ".join(f"{name} {np.mean(values):.4f}" for name, values in quality.items()), flush=True)
    return rows


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


def picture(frame: pd.DataFrame) -> plt.Figure:
    """Quality over bytes and over time on real data, and time over size with many items."""
    style.use_style()
    real = frame[frame["quality_metric"] != "overlap@10"]
    many = frame[frame["quality_metric"] == "overlap@10"]
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6))
    one = real[real["batch"] == 1]
    shown = ("bytes", "size of the file, MB"), ("latency_ms", "one user's list, ms of CPU time")
    for ax, (column, label) in zip(axes, shown, strict=False):
        for role, rows in one[one["index"] == "exact"].groupby("role", sort=False):
            x = rows[column] / (1e6 if column == "bytes" else 1)
            name = {"T": "teacher", "S": "student alone", TAUGHT: "distilled student"}[role]
            look = style.ROLES[role]
            ax.plot(x, rows["quality"], color=look.colour, linestyle=look.dash if column == "bytes" else "", marker=look.marker,
                    label=name)  # fmt: skip
            for place, quality, dim in zip(x, rows["quality"], rows["dim"], strict=True):
                if column == "bytes" and role != "S":
                    ax.annotate(dim, (place, quality), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)
        ax.set_xlabel(label)
    axes[0].set_ylabel(f"nDCG@10, {real['dataset'].iloc[0]}")
    for (name, batch), rows in many.groupby(["index", "batch"], sort=False):
        rows = rows.sort_values("dim")
        axes[2].plot(rows["dim"], rows["latency_ms"] / batch, marker="o", linestyle="-" if name == "exact" else ":",
                     label=f"{name}, {batch} at once")  # fmt: skip
    axes[2].set(xscale="log", yscale="log", xlabel="numbers in a vector", ylabel=f"ms a user, {many['dataset'].iloc[0]}")
    axes[2].set_xticks(sorted(many["dim"].unique()), sorted(many["dim"].unique()))
    axes[2].xaxis.set_minor_formatter(NullFormatter())
    for ax in axes[:2]:
        ax.set_xlim(left=0)
    for ax, size in ((axes[0], 9), (axes[2], 8)):
        ax.legend(frameon=False, fontsize=size)
    return fig


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trial", action="store_true", help="small numbers, to see that it works")
    parser.add_argument("--draw", action="store_true", help="only draw the picture again, from the table that is there")
    arguments = parser.parse_args(argv)
    size, profile = (TRIAL, "smoke") if arguments.trial else (Size(), "paper")
    torch.set_num_threads(1)
    if arguments.draw:
        frame = pd.read_csv(paths.figures(profile) / "tables" / "cost.csv")
    else:
        frame = pd.DataFrame(trained(size) + made_up(size), columns=COLUMNS)
    print(frame.to_string(index=False, float_format="{:.4g}".format))
    print(f"written: {report.write_table(frame, 'cost', profile, [], SOURCE)}")
    style.save(picture(frame), "cost", profile, [], SOURCE)


if __name__ == "__main__":
    main()
