"""What the tests share: a tiny project with notebooks of its own, and one run store for the real notebooks."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

hypothesis.settings.register_profile("project", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("project")

# A test that opens a window waits for ever on a machine without a screen.
os.environ.setdefault("MPLBACKEND", "agg")


class ByFile(LoadFileScheduling):
    """A file's tests stay together, except the runs of real notebooks: each takes seconds, so both processes share them."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "::test_notebook_" in nodeid else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)  # also with -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> LoadFileScheduling | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---"""

CELLS = [
    "# %% [markdown]\n# # A small notebook",
    '# %% tags=["parameters"]\nprofile: str = "small"  # smoke, small or paper\nrecompute: bool = False  # train again\n'
    'seed: int = 1  # of everything\nrate: float = 0.5  # of learning\ntag: str = "a"  # a word',
    "# %%\nimport os\n\nprint(profile, seed, rate, tag, recompute)",
    '# %% tags=["nbval-check-output"]\nseed + 1',
]


@pytest.fixture
def one_thread():
    """Torch on one thread: what these tests compare bit by bit must not depend on the number of cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder that `rdcore.files.paths` takes for the real one."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    for name in ("TQDM_DISABLE", "OMP_NUM_THREADS", "JUPYTER_PREFER_ENV_PATH"):  # the runner sets them; undo it afterwards
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    return tmp_path


@pytest.fixture
def add_notebook(project: Path) -> Callable[..., Path]:
    """Write a notebook's source into the project: the usual cells and `extra` ones, or `cells` alone."""

    def add(name: str, *extra: str, cells: list[str] | None = None) -> Path:
        source = project / "notebooks" / f"{name}.py"
        source.write_text("\n\n".join([HEADER, *(CELLS if cells is None else cells), *extra]) + "\n")
        return source

    return add


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of runs that the real notebooks share, as they do for a user: what one trained, the next one reads. Test
    processes share it too: their folders lie in one folder."""
    folder = tmp_path_factory.getbasetemp()
    store = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "runs-of-notebooks"
    store.mkdir(exist_ok=True)
    return store
