"""What a student saves where it is served: time of one query, file and memory, against its teacher's.

    python -m benchmarks.serving [--threads N] [--rounds 20] [--queries 20] [--items 14009 1000000] [--trial]

Timed is the way from a user to their ten best unseen items: by ONNX Runtime from the exported file (rdcore/serve.py), and by
torch as in studies/rd/timing.py. Teacher and student, exported and not, take turns in every round, each with its median of some
queries; a ratio is the median of the rounds' own ratios student / teacher, a spread the distance between the quartiles of the
rounds. `load` is how many processes wanted a core meanwhile, this one included: above the number of threads the times are
those of a busy machine, and the ratios too near to 1. Memory is the peak of a process that loads the file, answers the
queries and does nothing else, mapped pages included (Linux; `memory_empty_bytes`: before it loads anything). Weights and
pasts are random, which no time depends on; users are as many as in Gowalla, and so are items or there are a million.

Writes figures/tables/serving.csv, .md and .tex and figures/serving.png and .pdf; with --trial (seconds) into figures/smoke/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pandas as pd
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from rdcore import serve as serving
from rdcore.data.interactions import Interactions
from rdcore.data.queries import final_queries
from rdcore.data.sampling import SeenItems
from rdcore.files import paths
from rdcore.models import BPRMFSettings, CaserSettings
from rdcore.models.base import Model
from studies.common import report, style
from studies.rd import efficiency, timing

USERS, ACTIONS = 13_149, 33  # Gowalla's, and what a user has there on average in both training files
PAIRS = {
    "Caser": {"T": CaserSettings(dim=100), "S": CaserSettings(dim=50)},
    "BPR-MF": {"T": BPRMFSettings(dim=200), "S": BPRMFSettings(dim=20)},
}
COLUMNS = ["model", "role", "dim", "n_items", "weights", "engine", "device", "load", "quantity", "value", "spread", "repeats",
           "ratio"]  # fmt: skip
SOURCE = "benchmarks/serving.py"
WARMUP = 3

# Each alone in a process: file, users' file, queries, threads, and for torch the settings.
MEMORY = """
import sys
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
file, known, queries, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
import numpy as np
"""
ANSWER = {
    "onnxruntime": """
import onnxruntime
empty = peak()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.add_session_config_entry("session.disable_prepacking", "1")
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
known = np.load(known)
items, offsets = known["items"], known["offsets"]
for user in range(queries):
    session.run(None, {"user": np.array([user]), "past": items[offsets[user] : offsets[user + 1]][None]})
print(empty, peak())
""",
    "torch": """
import torch
from rdcore import models
from studies.rd import timing
from rdcore.data.interactions import Interactions
from rdcore.data.queries import final_queries
from rdcore.store.runs import read_weights
from rdcore.data.sampling import SeenItems
from rdcore.files import paths
torch.set_num_threads(threads)
empty = peak()
known = np.load(known)
fit = Interactions("", known["items"], known["offsets"], len(known["item_ids"]))
model = eval("models." + sys.argv[5]).build(fit.n_users, fit.n_items)
model.load_state_dict(read_weights(file))
asked = final_queries(fit)
seen = SeenItems(asked.items, asked.offsets, fit.n_items)
for user in range(queries):
    timing.top_lists(model.eval(), asked[user : user + 1], seen)
print(empty, peak())
""",
}


def interactions(n_items: int, users: int) -> Interactions:
    items = np.random.default_rng(0).integers(n_items, size=users * ACTIONS)
    return Interactions("random", items, np.arange(users + 1) * ACTIONS, n_items)


def built(settings, fit: Interactions) -> Model:
    torch.manual_seed(0)
    model = settings.build(fit.n_users, fit.n_items).requires_grad_(False).eval()
    if model.item_bias is not None:
        model.item_bias.normal_()  # one of zeros would be left out of the exported graph
    return model


def by_file(session, fit: Interactions) -> Callable[[int], object]:
    def answer(user: int) -> object:
        past = fit.items[fit.offsets[user] : fit.offsets[user + 1]]
        return session.run(None, {"user": np.array([user]), "past": past[None]})

    return answer


def by_torch(model: Model, fit: Interactions) -> Callable[[int], object]:
    queries = final_queries(fit)
    seen = SeenItems(queries.items, queries.offsets, fit.n_items)
    return lambda user: timing.top_lists(model, queries[user : user + 1], seen)


def latency(ways: dict, users: list[int], rounds: int, label: str) -> dict:
    """(role, engine) -> the rounds' medians in milliseconds."""
    found = {way: [] for way in ways}
    for count in tqdm(range(WARMUP + rounds), desc=label, unit="round", mininterval=5):
        for way, answer in ways.items():
            taken = []
            for user in users:
                begun = time.perf_counter()
                answer(user)
                taken.append(1000 * (time.perf_counter() - begun))
            if count >= WARMUP:
                found[way].append(float(np.median(taken)))
    return found


def memory(engine: str, *given: object) -> tuple[int, int]:
    """Peak of an otherwise idle process before and after it loaded the file and answered."""
    code = MEMORY + ANSWER[engine]
    done = subprocess.run([sys.executable, "-c", code, *map(str, given)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {engine} failed:\n{done.stderr}")
    empty, peak = map(int, done.stdout.split())
    return empty, peak


def measure(name: str, n_items: int, users: int, arguments: argparse.Namespace, folder: Path) -> list[dict]:
    """Rows of a pair at a number of items, each with the numbers that were measured as ``values``."""
    fit = interactions(n_items, users)
    known = serving.write_users(fit, folder / "users.npz")
    asked = np.linspace(0, users - 1, arguments.queries).astype(int).tolist()
    timed_on = f"cpu, {arguments.threads} thread{'s' * (arguments.threads > 1)}"
    rows, ways = [], {}

    def put(role: str, engine: str, quantity: str, *values: float, device: str = "", load: float = np.nan) -> None:
        rows.append({
            "model": name, "role": role, "dim": PAIRS[name][role].dim, "n_items": n_items, "weights": "random",
            "engine": engine, "device": device, "load": load, "quantity": quantity, "values": np.array(values, dtype=float),
        })  # fmt: skip

    for role, settings in PAIRS[name].items():
        model = built(settings, fit)
        files = serving.export(model, folder / f"{role}.onnx")
        safetensors = folder / f"{role}.safetensors"
        save_file(model.state_dict(), safetensors)
        difference = serving.check(files[0], model, fit, asked, block=4)
        print(f"{name} {role}, {n_items:,} items: the file's lists are torch's, scores differ by {difference:.0e}", flush=True)
        put(role, "", "parameters", timing.parameters(model))
        put(role, "onnxruntime", "file_bytes", sum(file.stat().st_size for file in files))
        put(role, "torch", "file_bytes", safetensors.stat().st_size)
        ways[role, "onnxruntime"] = by_file(serving.session(files[0], arguments.threads), fit)
        ways[role, "torch"] = by_torch(model, fit)
        if Path("/proc/self/status").exists():
            for engine, given in {"onnxruntime": [files[0]], "torch": [safetensors]}.items():
                empty, peak = memory(engine, *given, known, arguments.queries, arguments.threads, settings)
                put(role, engine, "memory_empty_bytes", empty)
                put(role, engine, "memory_bytes", peak)
    for (role, engine), values in latency(ways, asked, arguments.rounds, f"{name}, {n_items:,} items").items():
        put(role, engine, "latency_ms", *values, device=timed_on, load=round(os.getloadavg()[0], 1))
    return rows


def table(rows: list[dict]) -> pd.DataFrame:
    """Medians, spreads and, with the student, ratios."""
    of_teacher = {(r["model"], r["n_items"], r["engine"], r["quantity"]): r["values"] for r in rows if r["role"] == "T"}
    lines = []
    for row in rows:
        values, several = row["values"], len(row["values"]) > 1
        line = {name: row[name] for name in COLUMNS if name in row} | {"value": float(np.median(values)), "ratio": np.nan}
        line["spread"] = float(np.subtract(*np.percentile(values, [75, 25]))) if several else np.nan
        line["repeats"] = len(values) if row["quantity"] == "latency_ms" else pd.NA
        if row["role"] == "S" and row["quantity"] != "memory_empty_bytes":
            teacher = of_teacher[row["model"], row["n_items"], row["engine"], row["quantity"]]
            line["ratio"] = float(np.median(values / teacher))
        lines.append(line)
    frame = pd.DataFrame(lines, columns=COLUMNS).astype({"repeats": "Int64"})
    return frame.sort_values(["n_items", "model", "quantity", "engine", "role"], ascending=[True, False, True, True, False],
                             kind="stable").reset_index(drop=True)  # fmt: skip


def picture(frame: pd.DataFrame) -> plt.Figure:
    """Teacher and student joined by a line, with the ratio of the two; log axes."""
    style.use_style()
    shown = {"latency_ms": ("time of one query, ms", 1), "memory_bytes": ("peak memory of a process, MB", 1e6),
             "file_bytes": ("file, MB", 1e6)}  # fmt: skip
    kinds = frame[["n_items", "model", "engine"]][frame["engine"] != ""].drop_duplicates().itertuples(index=False)
    kinds = sorted(kinds, key=lambda kind: (kind.n_items, kind.engine, kind.model))
    fig, axes = plt.subplots(1, len(shown), figsize=(10, 1.4 + 0.4 * len(kinds)), sharey=True)
    for ax, (quantity, (label, unit)) in zip(axes, shown.items(), strict=True):
        part = frame[frame["quantity"] == quantity].set_index(["n_items", "model", "engine", "role"])
        for row, kind in enumerate(kinds):
            if (*kind, "T") not in part.index:
                continue
            teacher, student = part.loc[(*kind, "T")], part.loc[(*kind, "S")]
            ends = [teacher["value"] / unit, student["value"] / unit]
            ax.plot(ends, [row, row], color=style.GREY, linewidth=2, zorder=1)
            for value, spread, colour, marker, who in (
                (ends[0], teacher["spread"], style.BLUE, "o", "teacher"),
                (ends[1], student["spread"], style.ORANGE, "s", "student"),
            ):
                error = None if np.isnan(spread) else spread / unit / 2
                ax.errorbar(value, row, xerr=error, fmt=marker, color=colour, capsize=3, zorder=2,
                            label=who if row == 0 else None)  # fmt: skip
            edge = max(ends) + np.nan_to_num(max(teacher["spread"], student["spread"])) / unit / 2
            ax.annotate(f"{student['ratio']:.2f}", (edge, row), xytext=(9, 0), textcoords="offset points", va="center",
                        fontsize=10)  # fmt: skip
        ax.set(xscale="log", xlabel=label)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.margins(x=0.16)
        ax.grid(axis="y", visible=False)
    names = {"onnxruntime": "ONNX Runtime", "torch": "torch"}
    axes[0].set_yticks(range(len(kinds)), [f"{k.model}, {k.n_items:,} items, {names[k.engine]}" for k in kinds])
    axes[0].set_ylim(len(kinds) - 0.5, -0.5)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2,
               title="on the right: student / teacher")  # fmt: skip
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--queries", type=int, default=20, help="in each round, of each model and engine")
    parser.add_argument("--items", type=int, nargs="+", default=[14_009, 1_000_000])
    parser.add_argument("--trial", action="store_true", help="small numbers, to see that it works")
    parser.add_argument("--draw", action="store_true", help="only draw the picture again, from the table that is there")
    arguments = parser.parse_args()
    users, profile = USERS, "paper"
    if arguments.trial:
        users, profile = 500, "smoke"
        arguments.items, arguments.rounds, arguments.queries = [1_000, 20_000], 3, 5
    if arguments.draw:
        frame = pd.read_csv(paths.figures(profile) / "tables" / "serving.csv").fillna({"engine": ""})
        style.save(picture(frame), "serving", profile, [], SOURCE)
        return
    torch.set_num_threads(arguments.threads)
    rows = []
    for n_items in arguments.items:
        for name in PAIRS:
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(name, n_items, users, arguments, Path(folder))
    frame = table(rows)
    print(frame.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    print(f"{efficiency.cpu_name()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    print(f"written: {report.write_table(frame, 'serving', profile, [], SOURCE)}")
    style.save(picture(frame), "serving", profile, [], SOURCE)


if __name__ == "__main__":
    main()
