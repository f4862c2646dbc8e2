"""What 100 million users and 10 million items would take, worked out from rdcore's own models and arrays.

    python benchmarks/scale.py            # prints the tables of docs/scale.md
    python benchmarks/scale.py --write    # puts them there

Nothing is measured but the size of things: models are built without memory (torch's meta device), arrays are made for a
small data set and their bytes counted an interaction, a window, a user. Times are the work divided by stated rates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from rdcore.data import stage
from rdcore.data.interactions import Interactions
from rdcore.datasets import synthetic
from rdcore.eval.topk import block_rows
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings
from rdcore.train.loop import training_data

USERS, ITEMS, ACTIONS = 100_000_000, 10_000_000, 50  # actions a user
WINDOW, BATCH, NEGATIVES, K = 5, 512, 3, 10  # rdcore's defaults
ROWS = block_rows(ITEMS, 512)  # queries that are ranked at a time
MODELS = {
    "Caser, d = 100 (T)": CaserSettings(dim=100), "Caser, d = 50 (S)": CaserSettings(dim=50),
    "Fossil, d = 50 (T)": FossilSettings(dim=50), "Fossil, d = 20 (S)": FossilSettings(dim=20),
    "BPR, d = 200 (T)": BPRMFSettings(dim=200), "BPR, d = 20 (S)": BPRMFSettings(dim=20),
}  # fmt: skip
# What a number is held against; round, and assumed.
GPU, MACHINE = 80e9, 1e12  # bytes
RATES = {"two CPU cores": (80e9, 50e9), "one GPU": (50e12, 2e12)}  # products (FLOP/s), memory (bytes/s)
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- worked out: begin -->", "<!-- worked out: end -->"


def parameters(settings, users: int = USERS, items: int = ITEMS) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in settings.build(users, items).parameters())


def held(data: Interactions) -> dict[str, tuple[int, int]]:
    """What a training process holds of ``data`` besides the model: name -> (bytes, of how many)."""
    instances = training_data(data, WINDOW, "cpu", full_windows=True)
    queries, seen = instances.queries, instances.seen
    return {
        "sequences (items, in order)": (queries.items.nbytes, len(data)),
        "seen items: sorted keys, and items by user": (seen.keys.nbytes + seen.sorted_items.nbytes, len(data)),
        "windows: user, end, target": (queries.user.nbytes + queries.end.nbytes + instances.target.nbytes, len(queries)),
        "offsets": (queries.offsets.nbytes, data.n_users),
    }


def small_data() -> Interactions:
    return stage(synthetic.generate(), "F").fit


def fits(size: float) -> str:
    return "one GPU" if size <= GPU else "one machine" if size <= MACHINE else "neither"


def model_table() -> pd.DataFrame:
    """Weights, what training adds (dense gradients and Adam's two moments), the whole of it, and a checkpoint."""
    rows = []
    for name, settings in MODELS.items():
        weights = 4 * parameters(settings)
        rows.append([name, gb(weights), gb(3 * weights), gb(4 * weights), fits(4 * weights), gb(3 * weights), fits(weights)])
    return pd.DataFrame(rows, columns=["model", "weights", "gradients + Adam", "in training", "training fits",
                                       "checkpoint", "serving fits"])  # fmt: skip


def data_table() -> pd.DataFrame:
    actions = USERS * ACTIONS
    windows = USERS * (ACTIONS - WINDOW)
    counts = {"sequences (items, in order)": actions, "seen items: sorted keys, and items by user": actions,
              "windows: user, end, target": windows, "offsets": USERS}  # fmt: skip
    each = {name: size // n for name, (size, n) in held(small_data()).items()}
    rows = [[name, f"{size} x {counts[name]:,}", size * counts[name]] for name, size in each.items()]
    rows += [
        ["order of an epoch", f"8 x {windows:,}", 8 * windows],
        ["negatives of an epoch", f"8 x {NEGATIVES} x {windows:,}", 8 * NEGATIVES * windows],
        ["teacher's lists, one a window", f"4 x {K} x {windows:,}", 4 * K * windows],
        ["teacher's lists, one a user", f"4 x {K} x {USERS:,}", 4 * K * USERS],
        [f"scores of a block of {ROWS} queries", f"4 x {ROWS} x {ITEMS:,}", 4 * ROWS * ITEMS],
    ]
    frame = pd.DataFrame(rows, columns=["what", "bytes", "size"])
    frame["fits"] = frame["size"].map(fits)
    frame["size"] = frame["size"].map(gb)
    return frame


def work_table() -> pd.DataFrame:
    """FLOP and bytes of the stages, and their time at the stated rates, whichever of the two takes longer."""
    windows = USERS * (ACTIONS - WINDOW)
    weights = {name: 4 * parameters(settings) for name, settings in MODELS.items()}
    steps = windows // BATCH

    def ranked(queries: int, context: int) -> tuple[int, int]:
        """Every item against every query: a product, for which the item table is read once a block, and its scores."""
        return 2 * ITEMS * context * queries, queries // ROWS * 4 * ITEMS * (context + 2 * ROWS)

    stages = {
        "Adam, a step, Caser d = 50": (0, 7 * weights["Caser, d = 50 (S)"]),
        f"Adam, an epoch of {steps:,} steps, Caser d = 50": (0, 7 * weights["Caser, d = 50 (S)"] * steps),
        f"Adam, an epoch of {steps:,} steps, Fossil d = 20": (0, 7 * weights["Fossil, d = 20 (S)"] * steps),
        "Caser d = 100's lists, one a window": ranked(windows, 200),
        "BPR d = 200's lists, one a user": ranked(USERS, 200),
        "ranks of all users among all items, Caser d = 50": ranked(USERS, 100),
        "ranks of 100,000 users among all items, Caser d = 50": ranked(100_000, 100),
    }
    rows = []
    for name, (flop, size) in stages.items():
        times = {where: duration(max(flop / products, size / memory)) for where, (products, memory) in RATES.items()}
        rows.append([name, f"{flop:.1e}" if flop else "", f"{size:.1e}" if size else "", *times.values()])
    return pd.DataFrame(rows, columns=["stage", "FLOP", "bytes moved", *RATES])


def reach_table() -> pd.DataFrame:
    """How many users, with a tenth as many items, can be trained in a memory: model, gradients, Adam, and the data."""
    a_user = {name: 4 * 4 * (parameters(settings, 11_000_000, 1_100_000) - parameters(settings, 1_000_000, 100_000)) / 1e7
              for name, settings in MODELS.items()}  # fmt: skip
    data = sum(size / n * {"offsets": 1, "windows: user, end, target": ACTIONS - WINDOW}.get(name, ACTIONS)
               for name, (size, n) in held(small_data()).items())  # fmt: skip
    data += (8 + 8 * NEGATIVES + 4 * K) * (ACTIONS - WINDOW)  # order, negatives, lists
    rows = [[name, f"{size:,.0f}", f"{data:,.0f}", millions(GPU / (size + data)), millions(MACHINE / (size + data))]
            for name, size in a_user.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "bytes a user, model", "bytes a user, data", "users in 80 GB", "users in 1 TB"])


def gb(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size < 1e10 else f"{size / 1e9:,.0f} GB"


def millions(count: float) -> str:
    return f"{count / 1e6:,.1f} million"


def duration(seconds: float) -> str:
    for unit, length in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def text() -> str:
    parts = {
        "Models": model_table(), "Data, lists and blocks": data_table(), "Work": work_table(),
        "How far one process goes": reach_table(),
    }  # fmt: skip
    tables = {title: frame.to_markdown(index=False, disable_numparse=True) for title, frame in parts.items()}
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in tables.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    if not parser.parse_args().write:
        print(text())
        return
    page = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(f"{page.split(BEGIN)[0]}{BEGIN}\n{text()}\n{END}{page.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
