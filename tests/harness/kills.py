"""Kill anything: SIGKILL at random moments, call again, and compare with what an undisturbed call leaves, bit by bit.

    python tests/harness/kill.py              # the long form: 6 kills of each kind that land in the middle, minutes
    python tests/harness/kill.py --kills 2 --only fetch,training

Moments are drawn between the first thing that an undisturbed call writes and its end. A kill lands in the middle when the
process had begun to write and had not finished. After every kill each file under a final name must hold what the
undisturbed one holds, and no process of the killed one may live on; the call that follows must complete and leave the same
files with the same bits, and nothing half-written.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import forkserver
from pathlib import Path

import pandas as pd
import psutil
import torch
from harness import victims
from stores import contents, leftover

ROOT = Path(__file__).resolve().parents[2]
MARK = "RDCORE_KILLS"  # in the environment of every process that a call starts
WAIT_SECONDS = 1200  # for a call, on a machine that may be busy
ORPHAN_SECONDS = 10
EVOLVING = ("checkpoint.pt", "MANIFEST.json", ".ipynb")  # under their final name they change until the call is done
# Processes are forked from a server that has imported torch once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["rdcore.store.runs", "studies.common.plots", "pytest", "papermill", "distributed", "torch._dynamo"]
)


@dataclass(frozen=True)
class Kind:
    """What is killed. ``call(folder, services)`` does its work below ``folder`` and is safe to repeat.

    victim: 'caller', 'cluster' for one of its workers, or a word in the command line of a process that the caller started.
    survives: the call itself completes, with a process fewer; else it is called again.
    together: how many processes make the call at once.
    """

    call: Callable[[Path, dict[str, str]], None]
    victim: str = "caller"
    survives: bool = False
    together: int = 1


KINDS = {
    "fetch": Kind(victims.fetch),
    "training": Kind(victims.train),
    "one of two that want the same run": Kind(victims.train, survives=True, together=2),
    "sweep on 2 processes": Kind(victims.sweep),
    "a worker of such a sweep": Kind(victims.sweep, victim="popen_loky", survives=True),
    "a worker of a Dask cluster": Kind(victims.sweep_on_cluster, victim="cluster", survives=True),
    "the caller of a Dask cluster": Kind(victims.sweep_on_cluster),
    "notebook execution": Kind(victims.notebook),
    "two notebooks at a time": Kind(victims.two_notebooks),
    "the kernel of a notebook": Kind(victims.notebook, victim="ipykernel"),
    "tables and figures": Kind(victims.tables),
}


@dataclass
class Count:
    """What became of the kills of one kind."""

    what: str
    kills: int = 0
    in_the_middle: int = 0
    calls: int = 0  # that followed kills, or went on after them
    completed: int = 0
    equal: int = 0
    orphans: int = 0
    problems: list[str] = field(default_factory=list)  # files that are not what they should be

    @property
    def good(self) -> bool:
        return self.calls == self.completed == self.equal and not self.orphans and not self.problems


def count_kills(what: str, wanted: int, seed: int, folder: Path, services: dict[str, str]) -> Count:
    """Kills until ``wanted`` kills landed in the middle, in rounds of one to three kills before a call may complete."""
    kind, rng, count = KINDS[what], random.Random(f"{seed} {what}"), Count(what)
    target = _laid_out(folder / "undisturbed")
    begun, callers, _ = _start(kind, target, services)
    while not _wrote(target) and any(caller.is_alive() for caller in callers):
        time.sleep(0.005)
    first = time.time() - begun  # a call that trains imports torch first, which takes longer than all the rest
    _join(callers)
    duration = time.time() - begun
    _require(all(caller.exitcode == 0 for caller in callers), target, "the undisturbed call failed")
    trained = _trained(target)
    _require(len(trained) == len(set(trained)), target, "two processes trained one run twice")
    undisturbed = contents(target)
    number = 0
    while count.in_the_middle < wanted and count.kills < 5 * wanted:
        number += 1
        target, kills = _laid_out(folder / f"round{number}"), count.kills
        most = 1 if kind.survives else rng.randint(1, 3)
        completed = False
        while not completed and count.kills - kills < most:
            completed = _kill_once(kind, target, services, rng.uniform(first, duration), rng, undisturbed, count)
        if count.kills == kills:  # it was over before the moment had come
            shutil.rmtree(target)
            continue
        count.calls += 1
        if not completed and not kind.survives:
            _, callers, _ = _start(kind, target, services)
            _join(callers)
            completed = all(caller.exitcode == 0 for caller in callers)
        count.completed += completed
        left = [str(file.relative_to(target)) for file in target.rglob("*") if _half_written(file)]
        same = contents(target) == undisturbed and not left
        trained = _trained(target)
        twice = [key for key in set(trained) if trained.count(key) > 1 + count.kills - kills]
        count.equal += same and not twice
        if not (completed and same and not twice):
            print(f"{what}: see {target} and {target.with_suffix('.log')}", left, twice, flush=True)
        else:
            shutil.rmtree(target)
    return count


def _kill_once(kind: Kind, target: Path, services, moment: float, rng, undisturbed: dict, count: Count) -> bool:
    """One call, killed ``moment`` seconds after it began; whether the call completed nevertheless."""
    begun, callers, mark = _start(kind, target, services)
    workers = _cluster_pids(services) if kind.victim == "cluster" else []
    victim = None
    while any(caller.is_alive() for caller in callers):
        if time.time() - begun >= moment:
            if kind.victim == "caller":
                victim = psutil.Process(rng.choice([caller for caller in callers if caller.is_alive()]).pid)
            elif kind.victim == "cluster":
                victim = psutil.Process(rng.choice(workers))
            else:
                found = [one for one in _marked(mark) if kind.victim in " ".join(_command(one))]
                victim = rng.choice(found) if found else None
            if victim is not None:
                break
        time.sleep(0.002)
    if victim is None:
        _join(callers)
        return all(caller.exitcode == 0 for caller in callers)
    # Of a call that goes on what it had done before; of one that ends with the kill what it has done, exactly.
    before = contents(target) if kind.survives or kind.victim != "caller" else None
    wrote = _wrote(target)
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    count.kills += 1
    _join(callers)
    after = contents(target)
    count.in_the_middle += wrote and (after if before is None else before) != undisturbed
    count.problems += [f"{target.name}: {name}" for name, content in after.items() if _wrong(name, content, undisturbed)]
    count.orphans += _orphans(mark)
    survivors = [caller for caller in callers if caller.pid != victim.pid]
    return bool(survivors) and all(caller.exitcode == 0 for caller in survivors)


# --------------------------------------------------------------------------------------------------------- one call of many


def _start(kind: Kind, target: Path, services: dict[str, str]) -> tuple[float, list, str]:
    """Begins the call in as many processes as the kind wants: when it began, the processes, and their mark."""
    mark, signs = uuid.uuid4().hex, [target.with_suffix(f".begun{place}") for place in range(kind.together)]
    callers = [PROCESSES.Process(target=_call, args=(kind.call, target, services, mark, sign)) for sign in signs]
    for caller in callers:
        caller.start()
    deadline = time.time() + WAIT_SECONDS
    while not all(sign.exists() for sign in signs):
        _require(time.time() < deadline, target, "the call did not begin")
        time.sleep(0.001)
    for sign in signs:
        sign.unlink()
    return time.time(), callers, mark


def _call(call: Callable, target: Path, services: dict[str, str], mark: str, sign: Path) -> None:
    """What a caller does. All that it says goes into a file beside the folder."""
    for name in ("RDCORE_MIRROR", "RDCORE_RUNS"):
        os.environ.pop(name, None)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    os.environ |= {MARK: mark, "RDCORE_ROOT": str(target), "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
                   "PYTHONPATH": paths, "no_proxy": "127.0.0.1"}  # fmt: skip
    torch.set_num_threads(1)
    log = os.open(target.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sign.touch()
    status = 1
    try:
        call(target, services)
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a forked process would wait for joblib's idle workers, which a program does not


def _join(callers: list) -> None:
    for caller in callers:
        caller.join(WAIT_SECONDS)
        if caller.is_alive():
            caller.kill()
            raise TimeoutError(f"a call did not end within {WAIT_SECONDS} s")


def _require(true: bool, target: Path, otherwise: str) -> None:
    if not true:
        raise RuntimeError(f"{otherwise}: see {target.with_suffix('.log')}")


def _laid_out(target: Path) -> Path:
    target.mkdir(parents=True)
    victims.lay_out(target)
    return target


def _wrote(target: Path) -> bool:
    """Whether a call has begun to write; its locks do not count."""
    return any(file.suffix != ".lock" and file.is_file() and file.parent.name != "notebooks" for file in target.rglob("*"))


def _trained(target: Path) -> list[str]:
    """The keys of the runs that were begun to be trained, once a begin."""
    file = target.with_suffix(".trained")
    return file.read_text().split() if file.exists() else []


def _half_written(file: Path) -> bool:
    return leftover(file.name) and file.suffix != ".lock"


def _wrong(name: str, content: object, undisturbed: dict) -> bool:
    """Whether a file under a final name holds something else than the undisturbed one does."""
    return not name.endswith(EVOLVING) and undisturbed.get(name) != content


# --------------------------------------------------------------------------------------------------------------- processes


def _marked(mark: str) -> list[psutil.Process]:
    """The living processes that a call started, directly or not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _orphans(mark: str) -> int:
    """How many processes of a call still live ORPHAN_SECONDS after it ended; they are ended here."""
    deadline = time.time() + ORPHAN_SECONDS
    while (left := _marked(mark)) and time.time() < deadline:
        time.sleep(0.1)
    for process in left:
        print(f"orphan: {' '.join(_command(process))}", file=sys.stderr)
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(left)


# ---------------------------------------------------------------------------------------------------------------- services


@contextlib.contextmanager
def services(kinds: list[str]) -> Iterator[dict[str, str]]:
    """A slow server of files, and a Dask cluster of two workers that are started again when they die, where they are needed."""
    with contextlib.ExitStack() as stack:
        found = {}
        if any(KINDS[kind].call is victims.fetch for kind in kinds):
            found["server"] = stack.enter_context(_server())
        if any(KINDS[kind].call is victims.sweep_on_cluster for kind in kinds):
            found["cluster"] = stack.enter_context(_cluster())
        yield found


@contextlib.contextmanager
def _server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = victims.part(int(self.path[1:]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked was killed
                for start in range(0, len(content), 1 << 16):
                    self.wfile.write(content[start : start + (1 << 16)])
                    time.sleep(0.01)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
    import dask
    import distributed

    forkserver.ensure_running()
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "memory_limit": 0, "dashboard_address": ":0"}
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        with distributed.LocalCluster(processes=True, silence_logs="CRITICAL", **options) as made:
            yield made.scheduler_address


def _cluster_pids(services: dict[str, str]) -> list[int]:
    import distributed

    with distributed.Client(services["cluster"], set_as_default=False) as client:
        client.wait_for_workers(2, timeout=WAIT_SECONDS)
        return list(client.run(os.getpid).values())


# ------------------------------------------------------------------------------------------------------------ command line


def table(counts: list[Count]) -> pd.DataFrame:
    rows = [[c.what, c.kills, c.in_the_middle, c.calls, c.completed, c.equal, c.orphans, len(c.problems)] for c in counts]
    rows.append(["all", *map(sum, zip(*(row[1:] for row in rows), strict=True))])
    return pd.DataFrame(rows, columns="what kills in_the_middle calls completed equal orphans corrupt_files".split())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=6, help="of each kind, that land in the middle")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", help="kinds, comma-separated: " + ", ".join(KINDS))
    parser.add_argument("--out", type=Path, help="write the table there as CSV")
    arguments = parser.parse_args(argv)
    wanted = [kind.strip() for kind in arguments.only.split(",") if kind.strip()] or list(KINDS)
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        parser.error(f"no kind {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    folder, counts = Path(tempfile.mkdtemp(prefix="kills-")), []
    with services(wanted) as running:
        for place, kind in enumerate(wanted):
            begun = time.time()
            counts.append(count_kills(kind, arguments.kills, arguments.seed, folder / str(place), running))
            print(f"{kind}: {counts[-1].kills} kills, {time.time() - begun:.0f} s", *counts[-1].problems, flush=True)
    found = table(counts)
    print(found.to_markdown(index=False))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(arguments.out, index=False, lineterminator="\n")
        arguments.out.with_suffix(".md").write_text(found.to_markdown(index=False) + "\n")
    good = all(count.good for count in counts)
    if good:
        shutil.rmtree(folder)
    print("every call completed, with the same bits" if good else f"NOT GOOD: see {folder}")
    return 0 if good else 1
