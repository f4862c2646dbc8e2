"""Coverage-guided fuzzing of everything that reads a file from elsewhere, and of the description of a run.

    pip install -e ".[fuzz]"                                  atheris: Linux on x86-64 alone, 130 MB
    python tests/harness/fuzz.py                              12,000 inputs a target: about 15 minutes of one core
    python tests/harness/fuzz.py --targets triples,weights --inputs 100000
    python tests/harness/fuzz.py --out figures/tables/fuzz.csv

Each target is a process of its own. It starts from valid files, changes them, and keeps what reaches new code of rdcore
(bytecode counters of atheris; what is compiled, such as the JSON scanner, safetensors and Arrow, is called but not measured).
Half of the changes are libFuzzer's own, half are the accidents of bad_input.py, which know lines, fields and JSON values.
What a reader has to do with an input is said in bad_input.py and bad_records.py, whose checks the tests run too.

A finding is a check that fails, an input on which the process dies or takes too long, and any call (a shell, a process, code
from text, a connection) that a file of weights, a record or a pickle brings about. The table has one line for each target;
findings are listed below it, and their inputs kept under --keep; seconds are CPU time, without the start of the process.
The exit status is 1 when there is a finding.
"""

from __future__ import annotations

import argparse
import csv
import faulthandler
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

COLUMNS = ["target", "inputs", "distinct", "seconds", "refused", "accepted", "findings"]
# What no reader has a reason to do. `exec` and `import` are left out: libraries load parts of themselves late.
CALLS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "subprocess.Popen", "pty.spawn",
         "socket.connect", "socket.bind", "ctypes.dlopen", "webbrowser.open"}  # fmt: skip
LONGEST = 20  # seconds for one input
MEMORY = 4096  # MB of a target's process


@dataclass(frozen=True)
class Target:
    """check(folder, content) -> taken or not; seeds(folder) -> valid inputs and known traps; accident: what may befall one.
    quiet: no calls are expected while it reads (a training run has some)."""

    check: Callable[[Path, bytes], bool]
    seeds: Callable[[Path], list[bytes]]
    accident: Callable[[bytes, random.Random], bytes]
    quiet: bool = True


def targets() -> dict[str, Target]:
    """Imported here, so that a target's process can be watched from its first line on."""
    import bad_input as data
    import bad_records as made
    from bad_input import accident, json_accident

    def fixed(*seeds: bytes) -> Callable[[Path], list[bytes]]:
        return lambda folder: list(seeds)

    def traps(folder: Path) -> list[bytes]:
        """Pickles that would write a file, if anything in them were run."""
        return list(data.payloads(folder / "victim").values())

    def as_json(*values: object) -> Callable[[Path], list[bytes]]:
        return fixed(*(json.dumps(value).encode() for value in values))

    def weights(folder: Path) -> list[bytes]:
        return [content.partition(data.SEPARATOR)[2] for content in made.record_seeds(folder / "store", ".safetensors")]

    fields = [[place, getattr(one, name)] for place, (one, name) in enumerate(made.FIELDS)]
    plain = [[place, value if isinstance(value, str | int | float | None) else 1] for place, value in fields]
    described = [{}, {"seed": 3, "evaluate_every": 1}, {"stage": "L", "teacher": "alone", "teacher_epoch": "best"},
                 {"model": "CaserSettings", "training": "Training", "role": "S", "dataset": "x", "data_hash": "0" * 64},
                 {"teacher": None, "teacher_epoch": None, "distillation": None}]  # fmt: skip
    parameters = [{"profile": "smoke", "seed": 2, "rate": 1.5, "on": True}, {"seed": "7", "rate": "1e-3", "on": "true"}]
    return {
        "triples": Target(data.check_triples, fixed(data.TRIPLES), accident),
        "udata": Target(data.check_udata, fixed(data.UDATA), accident),
        "tables": Target(data.check_frame, fixed(data.TABLE, data.NUMBERS_TABLE), accident),
        "item lists": Target(data.check_item_lists, fixed(data.ITEM_LISTS), accident),
        "histories": Target(data.check_histories, fixed(data.ITEMS + data.SEPARATOR + data.TIMES), accident),
        "pickles": Target(data.check_pickle, lambda folder: [*data.PICKLED, *traps(folder)], accident),
        "published split": Target(
            data.check_split,
            lambda folder: [*(data.split_content(data.SPLIT, p) for p in (0, 2, 4)),
                            *(data.split_content(data.SPLIT) + trap for trap in traps(folder))],
            accident,
        ),
        "fetch": Target(data.check_fetch, fixed(data.PUBLISHED), accident),
        "records": Target(made.check_record, lambda folder: made.record_seeds(folder / "store", ".json"), json_accident),
        "metrics of users": Target(made.check_users, lambda folder: made.record_seeds(folder / "store", ".parquet"), accident),
        "rdcore runs": Target(made.check_commands, lambda folder: made.record_seeds(folder / "store", ".json"), json_accident),
        "weights": Target(made.check_weights, lambda folder: [*weights(folder)[:1], *traps(folder)], accident),
        "checkpoints": Target(
            made.check_checkpoint, lambda folder: [made.checkpoint(folder / "stopped"), *traps(folder)], accident, quiet=False
        ),
        "teacher's lists": Target(
            made.check_lists, lambda folder: [made.list_file(folder / "lists").read_bytes(), *traps(folder)], accident
        ),
        "selection": Target(made.check_selection, as_json(made.CHOICES), json_accident),
        "measurement": Target(made.check_measurement, fixed(made.measurement()), json_accident),
        "manifest": Target(made.check_manifest, as_json(made.MANIFEST), json_accident),
        "reported tables": Target(made.check_reported, fixed(made.table_of_the_paper()), accident),
        "settings": Target(made.check_settings, as_json(*plain), json_accident),
        "experiments": Target(made.check_experiment, as_json(*described), json_accident),
        "parameters": Target(made.check_parameters, as_json(*parameters), json_accident),
    }


# ------------------------------------------------------------------------------------------------------ in a target's process


def fuzz(name: str, inputs: int, seconds: float, seed: int, keep: Path, report: Path) -> None:
    """Feeds one target and writes what came of it; does not return."""
    import atheris

    with atheris.instrument_imports(include=["rdcore", "pickletools"], enable_loader_override=False):
        target = targets()[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    corpus, known = folder / "corpus", target.seeds(folder)
    corpus.mkdir()
    for number, content in enumerate(known):
        (corpus / f"{number:03d}").write_bytes(content)
    seen: set[int] = set()
    counts = dict.fromkeys(("inputs", "refused", "accepted"), 0)
    findings: dict[str, dict] = {}
    called: list[str] = []
    armed = False
    begun = time.process_time()

    def watch(event: str, arguments: tuple) -> None:
        if armed and event in CALLS:
            called.append(f"{event} {str(arguments)[:200]}")

    if target.quiet:
        sys.addaudithook(watch)

    def found(what: str, content: bytes, said: str) -> None:
        if what not in findings:
            keep.mkdir(parents=True, exist_ok=True)
            file = keep / f"{name.replace(' ', '-')}-{len(findings):02d}"
            file.write_bytes(content)
            findings[what] = {"count": 0, "file": str(file), "said": said}
        findings[what]["count"] += 1

    def finish() -> None:
        result = {"target": name, **counts, "distinct": len(seen), "seconds": round(time.process_time() - begun, 1)}
        report.write_text(json.dumps(result | {"findings": findings}))

    def one(content: bytes) -> None:
        nonlocal armed
        counts["inputs"] += 1
        seen.add(hash(content))
        armed = True
        faulthandler.dump_traceback_later(LONGEST, exit=True)  # libFuzzer's own alarm waits for compiled code to come back
        try:
            taken = target.check(folder, content)
            counts["accepted" if taken else "refused"] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)
            spot = next((f for f in reversed(last) if "/rdcore/" in f.filename), last[-1])
            where = f"{Path(spot.filename).name}:{spot.lineno}"
            found(f"{type(error).__name__} at {where}, {last[-1].name}", content, str(error)[:300])
        finally:
            armed = False
            faulthandler.cancel_dump_traceback_later()
        if called:
            found(f"called {called[0].partition(' ')[0]}", content, called[0])
            called.clear()
        if (folder / "victim").exists():
            (folder / "victim").unlink()
            found("something of it was run", content, "")
        if counts["inputs"] % 500 == 0 or counts["inputs"] >= inputs:
            finish()
            if counts["inputs"] >= inputs or time.process_time() - begun > seconds:
                shutil.rmtree(folder)
                os._exit(0)

    def change(content: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        draw = rng.random()
        if draw < 0.1:  # back to a valid one
            return target.accident(rng.choice(known), rng)[:most]
        return target.accident(content, rng)[:most] if draw < 0.55 else atheris.Mutate(content, most)

    most = max(4096, *(2 * len(content) for content in known))
    options = [f"-seed={seed}", f"-timeout={10 * LONGEST}", f"-rss_limit_mb={MEMORY}", f"-max_len={most}", "-verbosity=0",
               "-print_final_stats=0", "-len_control=0", f"-artifact_prefix={keep}/{name.replace(' ', '-')}-"]  # fmt: skip
    keep.mkdir(parents=True, exist_ok=True)
    atheris.Setup(["fuzz", *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


# ---------------------------------------------------------------------------------------------------------------- all of them


def run(name: str, arguments: argparse.Namespace) -> dict:
    """One target in a process of its own, whose death is a finding too."""
    report = arguments.keep / f"{name.replace(' ', '-')}.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    for old in report.parent.glob(f"{report.stem}*"):
        old.unlink()
    command = [sys.executable, __file__, "--one", name, "--inputs", str(arguments.inputs), "--seconds", str(arguments.seconds),
               "--seed", str(arguments.seed), "--keep", str(arguments.keep)]  # fmt: skip
    quietly = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quietly)
    empty = {"target": name, "inputs": 0, "distinct": 0, "seconds": 0.0, "refused": 0, "accepted": 0, "findings": {}}
    result = json.loads(report.read_text()) if report.exists() else empty
    if done.returncode:
        said = "\n    ".join(done.stderr.strip().splitlines()[-40:])
        death = {"count": 1, "file": str(arguments.keep), "said": said}
        result["findings"][f"the process died with {done.returncode}"] = death
    return result


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", default="", metavar="NAME,...", help="some targets only")
    parser.add_argument("--inputs", type=int, default=12_000, metavar="N", help="for each target")
    parser.add_argument("--seconds", type=float, default=120, help="of CPU time at most, for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="where inputs of findings are kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        report = arguments.keep / f"{arguments.one.replace(' ', '-')}.json"
        fuzz(arguments.one, arguments.inputs, arguments.seconds, arguments.seed, arguments.keep, report)
    names = [name.strip() for name in arguments.targets.split(",") if name.strip()] or list(targets())
    rows = []
    print("".join(f"{column:>{18 if column == 'target' else 10}}" for column in COLUMNS))
    for name in names:
        result = run(name, arguments)
        row = result | {"findings": len(result["findings"])}
        rows.append(result)
        print("".join(f"{row[column]:>{18 if column == 'target' else 10}}" for column in COLUMNS), flush=True)
    total = {column: round(sum(row[column] for row in rows), 1) for column in COLUMNS[1:-1]}
    total |= {"target": "all", "findings": sum(len(row["findings"]) for row in rows)}
    print("".join(f"{total[column]:>{18 if column == 'target' else 10}}" for column in COLUMNS))
    for row in rows:
        for what, one in row["findings"].items():
            print(f"\n{row['target']}: {what} ({one['count']} times), {one['file']}\n    {one['said']}")
    if arguments.out:
        import pandas as pd  # here, so that a target's process does not wait for it

        with arguments.out.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows([*(row | {"findings": len(row["findings"])} for row in rows), total])
        text = pd.read_csv(arguments.out).to_markdown(index=False, intfmt=",") + "\n"
        arguments.out.with_suffix(".md").write_text(text)
    return 1 if total["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
