"""`python -m benchmarks [stages|growth]`: how fast this machine runs each part of the project."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes tables. 0: done; 2: it could not be run as asked, with one line that says why."""
    arguments = parser().parse_args(argv)
    try:
        return {"stages": stages, "growth": growth}[arguments.what](arguments)
    except (ValueError, OSError) as error:
        print(f"benchmarks {arguments.what}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(prog="benchmarks", description="Time every stage against this machine's limits.")
    top.add_argument(
        "what", nargs="?", default="stages", choices=["stages", "growth"],
        help="stages (default); growth: time and memory over the size of the data",
    )  # fmt: skip
    top.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cpu or cuda")
    top.add_argument("--threads", type=int, metavar="N", help="of a CPU; by default all that torch takes")
    top.add_argument("--only", default="", metavar="STAGE,...", help="stages whose name contains one of these")
    top.add_argument("--quick", action="store_true", help="small data, few steps: does it work? writes no file by itself")
    top.add_argument("--out", metavar="FILE.csv", help="by default figures/tables/benchmark.csv; other stages' rows stay")
    return top


def stages(arguments: argparse.Namespace) -> int:
    from benchmarks import stages as measured
    from rdcore.files import paths

    table, parts = measured.measure(
        arguments.device, only=arguments.only, quick=arguments.quick, threads=arguments.threads
    )
    print(measured.shown(table, parts))
    out = arguments.out or (None if arguments.quick else paths.figures() / "tables" / "benchmark.csv")
    for path in measured.write(table, parts, Path(out)) if out else ():
        print(f"written: {path}")
    return 0


def growth(arguments: argparse.Namespace) -> int:
    from benchmarks import growth as measured

    if arguments.only or arguments.out or arguments.device != "cpu":
        raise ValueError("growth is measured as a whole, on a CPU, into figures: leave out --only, --out and --device")
    table = measured.measure(quick=arguments.quick, threads=arguments.threads)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    print(measured.slopes(table).to_string(index=False, float_format="{:.2f}".format))
    for sentence in measured.unbounded(table):
        print(f"not bounded: {sentence}")
    for path in () if arguments.quick else measured.write(table):
        print(f"written: {path}")
    return 0


if __name__ == "__main__":  # processes started by this one import it again, under another name
    sys.exit(main())
