"""Every stage and what this machine could do at best: `python -m benchmarks`.

Seconds on one machine say nothing about another, so each is divided by the stage's floor (workloads.py) at the rates that
were measured just before it. On a CPU every stage runs in a process of its own, so that its peak of memory is its own; on a
GPU, where that would cost more than the stage, they follow each other and the peak is that of the GPU's memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from benchmarks import workloads
from benchmarks.limits import GIB, alone, device_name, rates
from rdcore.files.whole import check_csv, write_whole

COLUMNS = ["stage", "device", "seconds", "floor_seconds", "ratio", "target"]


@dataclass(frozen=True)
class Stage:
    """work(quick, device, steps). target: on a CPU, conditions with '; ' between: '2 x floor', '12 s', '1.3 x <stage>'.
    on_gpu: there. steps: timed on a CPU (None: the whole stage); a GPU does the whole stage."""

    name: str
    work: Callable[..., workloads.Measured]
    target: str
    on_gpu: str = ""
    steps: int | None = None


TEACHER, STUDENT, BPR = "teacher epoch, d=100", "student epoch, d=50", "BPR student epoch, d=20"
STAGES = (
    Stage(TEACHER, partial(workloads.caser_epoch, dim=100), "2 x floor; 12 s", steps=100),
    Stage(STUDENT, partial(workloads.caser_epoch, dim=50), "2 x floor; 6 s", steps=100),
    Stage("RD epoch, d=50, K=10, 100 rank samples", partial(workloads.caser_epoch, dim=50, K=10),
          f"2 x floor; 1.3 x {STUDENT}", "2.5 x floor", steps=100),
    Stage("evaluation, d=100, all users", partial(workloads.caser_evaluation, dim=100), "2 x floor; 3 s"),
    Stage("teacher lists, d=100, all windows", partial(workloads.caser_lists, dim=100), "1.5 x floor", steps=20),
    Stage("BPR teacher epoch, d=200", partial(workloads.bpr_epoch, dim=200), "2 x floor", steps=40),
    Stage(BPR, partial(workloads.bpr_epoch, dim=20), "2 x floor; 0.25 s"),
    Stage("RRD epoch, d=20, K=40, L=40", partial(workloads.bpr_epoch, dim=20, method="RRD"), f"2 x floor; 2.5 x {BPR}"),
    Stage("DE epoch, d=20, 30 experts", partial(workloads.bpr_epoch, dim=20, method="DE"), "1.5 x floor", steps=6),
    Stage("BPR sampled evaluation, d=200, all users", partial(workloads.sampled_evaluation, dim=200), "2 x floor; 0.3 s"),
    Stage("BPR full evaluation, d=200, all users", partial(workloads.full_evaluation, dim=200, model="BPR"), "2 x floor; 3 s"),
    Stage("NeuMF full evaluation, d=250, all users", partial(workloads.full_evaluation, dim=250, model="NeuMF"),
          "2 x floor; 60 s"),
)  # fmt: skip


def chosen(only: str = "") -> list[Stage]:
    """The stages whose name contains one of the words that ``only`` lists, with commas between; all of them for none."""
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    found = [each for each in STAGES if not words or any(word in each.name.lower() for word in words)]
    if not found:
        raise ValueError(f"no stage's name contains {only!r}; they are: {'; '.join(each.name for each in STAGES)}")
    return found


def measure(
    device: str, *, only: str = "", quick: bool = False, threads: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(table with COLUMNS, table of the parts: rates, peak of memory and the share of the time by kind of work).

    ``quick``: small data, few steps, one process: whether everything works; its numbers say nothing.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no device 'cuda' here: use 'cpu', or a machine where a CUDA build of torch sees a GPU")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        rows, parts = [], []
        for each in chosen(only):
            print(f"measuring: {each.name}", file=sys.stderr, flush=True)
            first = rates(device, quick=quick)
            steps = 2 if quick else each.steps if device == "cpu" else None
            given = (each.work, quick, device, steps, torch.get_num_threads())
            found = alone(_run, *given) if device == "cpu" and not quick else _run(*given)
            rate = rates(device, found.working_set, quick=quick)
            flops = max(first.flops, rate.flops)
            least = found.flops / flops + found.moved / rate.bytes
            target = each.target if device == "cpu" else each.on_gpu
            rows.append([each.name, device_name(device), found.seconds, least, found.seconds / least, target])
            parts.append({
                "stage": each.name, "device": device_name(device), "gflops": flops / 1e9, "gb_per_second": rate.bytes / 1e9,
                "peak_gib": found.peak / GIB, **found.parts,
            })  # fmt: skip
    finally:
        torch.set_num_threads(before)
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(parts)


def _run(work: Callable, quick: bool, device: str, steps: int | None, threads: int) -> workloads.Measured:
    torch.set_num_threads(threads)
    return work(quick, device, steps)


def judged(table: pd.DataFrame) -> list[tuple[int, str, float, bool]]:
    """(row, condition, seconds over its unit, whether it holds) of every target's conditions. One on a stage that was not
    measured on the same device is left out."""
    found = []
    for row in table.itertuples():
        beside = table[table["device"] == row.device].set_index("stage")["seconds"]
        for condition in filter(None, row.target.split("; ")):
            number, _, of = condition.removesuffix(" s").partition(" x ")
            unit = row.floor_seconds if of == "floor" else beside.get(of) if of else 1
            if unit:
                found.append((row.Index, condition, row.seconds / unit, row.seconds <= float(number) * unit))
    return found


def missed(table: pd.DataFrame) -> list[str]:
    """Conditions of targets that do not hold, as sentences."""
    return [
        f"{table.loc[row, 'stage']} ({table.loc[row, 'device']}): {ratio:.3g} instead of at most {condition}"
        for row, condition, ratio, holds in judged(table)
        if not holds
    ]


def markdown(table: pd.DataFrame, parts: pd.DataFrame) -> str:
    """Both as one table for people: seconds, floor, their ratio, every target and what became of it, the peak of memory, and
    the two kinds of work that take most of the time."""
    lines, targets, shares = [], judged(table), parts.set_index(["stage", "device"])
    for row in table.itertuples():
        said = [condition + ("" if holds else f" (missed: {ratio:.3g})")
                for at, condition, ratio, holds in targets if at == row.Index]  # fmt: skip
        part = shares.loc[(row.stage, row.device)]
        most = part[[name for name in parts.columns if name in workloads.KINDS or name == "rest"]].astype(float).nlargest(2)
        lines.append({
            "stage": row.stage, "device": row.device, "seconds": f"{row.seconds:.3g}", "floor, s": f"{row.floor_seconds:.3g}",
            "ratio": f"{row.ratio:.2f}", "targets": "; ".join(said), "peak, GiB": f"{part['peak_gib']:.2f}",
            "most of the time": "; ".join(f"{name} {share:.0%}" for name, share in most.items()),
        })  # fmt: skip
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True) + "\n"


def merged(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """``table`` with the rows that ``file`` has of other stages and other devices."""
    if not file.exists():
        return table
    check_csv(file, ("stage", "device"), "delete the file, or measure with --out into another one")
    old = pd.read_csv(file, keep_default_na=False)
    measured = set(zip(table["stage"], table["device"], strict=True))
    kept = [key not in measured for key in zip(old["stage"], old["device"], strict=True)]
    whole = pd.concat([old[kept], table])
    place = {each.name: number for number, each in enumerate(STAGES)}
    return whole.sort_values(["device", "stage"], key=lambda c: c.map(place) if c.name == "stage" else c, kind="stable")


def write(table: pd.DataFrame, parts: pd.DataFrame, file: Path) -> list[Path]:
    """Writes ``file`` and the parts next to it, both as Markdown; rows that are there of other stages and devices stay."""
    file.parent.mkdir(parents=True, exist_ok=True)
    files = [file, file.with_name(f"{file.stem}_parts{file.suffix}")]
    for path, frame in zip(files, (table, parts), strict=True):
        whole = merged(frame, path)
        write_whole(path, lambda draft, whole=whole: whole.to_csv(draft, index=False, float_format="%.4g", lineterminator="\n"))
    whole, its_parts = (pd.read_csv(path, keep_default_na=False) for path in files)
    text = file.with_suffix(".md")
    write_whole(text, lambda draft: draft.write_text(markdown(whole, its_parts), encoding="utf-8"))
    return [*files, text]


def shown(table: pd.DataFrame, parts: pd.DataFrame) -> str:
    """Both tables and the missed targets, for people."""
    share = [column for column in parts.columns if column in workloads.KINDS or column == "rest"]
    percent = dict.fromkeys(share, "{:.0%}".format)
    return "\n\n".join([
        table.to_string(index=False, float_format="{:.3g}".format),
        parts.to_string(index=False, float_format="{:.3g}".format, formatters=percent),
        "\n".join(["targets missed:", *missed(table)]) if missed(table) else "no target missed",
    ])  # fmt: skip
