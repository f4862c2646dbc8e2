"""Plans of runs on processes and on a Dask cluster: what is lost with a worker is done again, and the numbers stay."""

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import dask
import distributed
import pytest
import workers
from kill import kill_when
from stores import differences

from rdcore.models.fossil import Fossil
from rdcore.store import cluster as cluster_jobs
from rdcore.store import jobs as sweeps
from rdcore.store import runs
from rdcore.train.loop import Training
from studies import cli
from studies.common.profiles import PROFILES
from studies.rd.plan import varied

# Workers and parents are forked from a server that has imported torch once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["rdcore.store.runs", "studies.rd.plan", "pytest", "distributed", "torch._dynamo"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(ready, seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not ready():
        assert time.time() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------------- here and on processes


def test_here_one_task_after_another_in_their_order(tmp_path: Path):
    tasks = [(tmp_path, name) for name in "cab"]
    assert list(sweeps.each(workers.note, tasks)) == tasks
    assert all(workers.attempts(*task) == [os.getpid()] for task in tasks)
    with pytest.raises(FloatingPointError, match="the loss of c is not finite"):
        list(sweeps.each(workers.fail, tasks))


@pytest.mark.parametrize("where", [0, -1, True, 2.0, None])
def test_a_number_of_processes_that_is_none_is_refused(where):
    with pytest.raises(ValueError, match="jobs must be an integer >= 1"):
        list(sweeps.each(workers.note, [], where))


def test_a_killed_process_loses_its_task_alone_and_another_does_it(tmp_path: Path, capsys):
    tasks = [(tmp_path, name) for name in ("one", "dies", "two", "three")]
    assert sorted(sweeps.each(workers.die_once, tasks, 2)) == sorted(tasks)
    first, second = workers.attempts(tmp_path, "dies")
    assert first != second and os.getpid() not in (first, second)
    assert "a worker process was killed" in capsys.readouterr().out


def test_where_workers_die_again_and_again_it_ends_with_a_word(tmp_path: Path):
    with pytest.raises(ChildProcessError, match="3 times a worker process was killed before any run was finished"):
        list(sweeps.each(workers.always_die, [(tmp_path, "one"), (tmp_path, "two")], 2))
    assert 3 <= len(workers.attempts(tmp_path, "one") + workers.attempts(tmp_path, "two")) <= 6


def test_what_a_task_raises_on_a_process_is_raised_here(tmp_path: Path):
    with pytest.raises(FloatingPointError, match="is not finite"):
        list(sweeps.each(workers.fail, [(tmp_path, "one"), (tmp_path, "two")], 2))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process is alive is read from /proc")
def test_worker_processes_do_not_outlive_the_process_that_started_them(tmp_path: Path):
    process = PROCESSES.Process(target=workers.parent, args=(tmp_path,))
    process.start()
    kill_when(process, lambda: all(workers.attempts(tmp_path, name) for name in ("one", "two")))
    pids = [pid for name in ("one", "two") for pid in workers.attempts(tmp_path, name)]
    wait_until(lambda: not any(map(alive, pids)), 10)


# ---------------------------------------------------------------------------------------------------------------- cluster


def plan() -> list:
    """S of three seeds, RD and its teacher: five runs of a second in all."""
    settings = Training(epochs=3, batch_size=512)
    profile = replace(varied(PROFILES["smoke"].rd[1], start_epoch=2), training=settings, evaluate_every=1)
    return [*(profile.student("V", seed) for seed in (1, 2, 3)), profile.distilled("V", 1)]


def slow_down() -> None:
    """Makes every step of training take long enough to be killed in it."""
    encode = Fossil.encode

    def slow_encode(self, queries):
        time.sleep(0.05 * self.training)
        return encode(self, queries)

    Fossil.encode = slow_encode


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two worker processes, which are started anew when they die."""
    forkserver.ensure_running()  # with what this file preloads, or a file before it
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "memory_limit": 0, "dashboard_address": ":0"}
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        with distributed.LocalCluster(processes=True, **options) as made:
            yield made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_bits_as_one_process(cluster, store, tmp_path, monkeypatch):
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.run(slow_down)
        pids = list(client.run(os.getpid).values())

    def kill_one() -> None:
        """One of the two workers, when both are in the middle of a run."""
        wait_until(lambda: sum(not (at.parent / "DONE").exists() for at in store.glob("*/checkpoint.pt")) == 2)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = runs.load_or_train_all(plan(), jobs=cluster.scheduler_address)
    killer.join()
    assert [run.key for run in found] == [e.key for e in plan()]
    assert not alive(pids[0])
    teacher = runs.Run(store / plan()[-1].teacher.key)
    resumed = [run.environment["resumed"] for run in [*found, teacher]]
    assert sorted(resumed) == [0, 0, 0, 0, 1], "the run of the killed worker went on from its checkpoint, no other was touched"
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path / "serial"))
    runs.load_or_train_all(plan())
    assert differences(store, tmp_path / "serial") == []
    assert not list(store.glob(".cluster-*"))


@pytest.mark.slow
def test_one_worker_is_a_cluster(store, tmp_path: Path):
    """As after the loss of all others: what is asked of the cluster is done there, not in this process."""
    where = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": 0, "host": "127.0.0.1", "dashboard_address": ":0"}
    forkserver.ensure_running()
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        with distributed.LocalCluster(processes=True, **where) as one:
            tasks = [(tmp_path, "a"), (tmp_path, "b")]
            assert sorted(sweeps.each(workers.note, tasks, one.scheduler_address)) == tasks
    (pid,) = {pid for _, name in tasks for pid in workers.attempts(tmp_path, name)}
    assert pid != os.getpid()


def test_a_cluster_with_which_it_cannot_work_is_refused_before_anything_is_trained(store, monkeypatch):
    monkeypatch.setattr(cluster_jobs, "WAIT_SECONDS", 0.3)
    where = {"n_workers": 1, "processes": False, "host": "127.0.0.1", "protocol": "tcp", "dashboard_address": ":0"}
    with distributed.LocalCluster(threads_per_worker=2, **where) as made:
        with pytest.raises(ValueError, match="worker tcp://.* has 2 threads, .*: start it with --nthreads 1 --nworkers 2"):
            runs.load_or_train_all(plan(), jobs=made.scheduler_address)
    with distributed.LocalCluster(**where | {"n_workers": 0}) as made:
        with pytest.raises(ValueError, match="the Dask cluster tcp://.* has no worker: start one"):
            runs.load_or_train_all(plan(), jobs=made.scheduler_address)
    for address in (made.scheduler_address, "nonsense"):
        with pytest.raises(ValueError, match=f"no Dask scheduler answers at '{address}'"):
            runs.load_or_train_all(plan(), jobs=address)
    assert not list(store.glob("*"))


def test_a_client_that_failed_is_not_collected_while_the_next_one_starts(monkeypatch):
    """It would stop its event loop under a lock that the start holds, and both would wait for ever (seen once)."""
    starting, collected = [False], []

    class Leftover:
        def __init__(self):
            self.itself = self

        def __del__(self):
            collected.append(starting[0])

    def start(*arguments, **options):
        starting[0] = True
        Leftover()
        for _ in range(10_000):  # enough to have garbage collected
            cycle = []
            cycle.append(cycle)
        starting[0] = False
        raise OSError("nobody is there")

    monkeypatch.setattr(distributed, "Client", start)
    Leftover()
    with pytest.raises(ValueError, match="no Dask scheduler answers"):
        list(sweeps.each(print, [1], "tcp://127.0.0.1:1"))
    gc.collect()
    assert collected == [False, False] and gc.isenabled()


def test_a_cluster_that_does_not_share_the_store_is_refused(cluster, store, monkeypatch):
    @contextlib.contextmanager
    def elsewhere():
        yield store / ".cluster-of-another-machine"

    monkeypatch.setattr(cluster_jobs, "_sign", elsewhere)
    said = f"worker tcp://.* does not see the run store {store} of this machine: name a folder .* (and 1 more workers)"
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        runs.load_or_train_all(plan(), jobs=cluster.scheduler_address)
    assert not store.exists()


def test_a_worker_says_what_keeps_it_from_the_runs(store):
    here = tuple(map(cluster_jobs._version, cluster_jobs.VERSIONS))

    def asked(versions=here, threads=1):
        return cluster_jobs._unfit((sign, *versions), SimpleNamespace(state=SimpleNamespace(nthreads=threads)))

    store.mkdir()
    (store / ".cluster-of-a-killed-process.lock").touch()
    with cluster_jobs._sign() as sign:
        assert [file.name for file in store.iterdir()] == [f"{sign.name}.lock"]
        assert asked() == ""
        assert asked(threads=4).startswith("has 4 threads")
        assert asked(versions=("0.0.1", "2.13")).startswith(f"has rdcore {cluster_jobs._version('rdcore')}, not 0.0.1 as here")
    assert asked().startswith("does not see the run store")
    Path(f"{sign}.lock").touch()  # as where locks do not reach: the file is there, and its lock can be had
    assert "file locks must work on the shared file system" in asked()


def test_a_worker_without_rdcore_is_named_by_the_remedy():
    def run(*_):
        raise Exception("ModuleNotFoundError(\"No module named 'rdcore'\")")  # as Dask raises it here

    client = SimpleNamespace(run=run, wait_for_workers=lambda *_, **__: None)
    with pytest.raises(ValueError, match="a worker of tcp://a:1 cannot import rdcore .*: install the same version there"):
        cluster_jobs._check(client, "tcp://a:1", ())


def test_a_worker_with_another_revision_trains_nothing(store, monkeypatch):
    experiment = plan()[0]
    assert experiment.key
    monkeypatch.setattr(type(experiment), "revision", 0)
    with pytest.raises(ValueError, match="the worker's rdcore describes it otherwise"):
        runs.load_or_train_all([experiment])
    assert not store.exists()


# ---------------------------------------------------------------------------------------------------------- command line


def test_the_command_line_takes_processes_or_a_cluster(monkeypatch, store, capsys):
    asked, only = [], ["train", "--profile", "small", "--only", "ml-100k-V-T-d100"]
    with monkeypatch.context() as patch:
        patch.setattr(runs, "load_or_train_all", lambda wanted, *, jobs, **rest: asked.append(jobs))
        assert cli.main([*only, "--jobs", "2"]) == cli.main([*only, "--cluster", "tcp://host:8786"]) == 0
    assert asked == [2, "tcp://host:8786"]
    with pytest.raises(SystemExit):
        cli.main([*only, "--jobs", "2", "--cluster", "tcp://host:8786"])
    assert "--cluster: not allowed with argument --jobs" in capsys.readouterr().err
    monkeypatch.setattr(cluster_jobs, "WAIT_SECONDS", 0.3)
    assert cli.main([*only, "--cluster", "tcp://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("rdcore train: no Dask scheduler answers at 'tcp://127.0.0.1:1'")
