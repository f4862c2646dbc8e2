"""pyproject.toml, requirements.lock and environment.yml say the same, and nothing in them ties the project to a machine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rdcore

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
PINNED = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LOCK}
DIRECT = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["test"],
    *PROJECT["build-system"]["requires"],  # make installs without build isolation, so the lock brings it
]


@pytest.mark.parametrize("dependency", DIRECT)
def test_lock_satisfies_pyproject(dependency: str) -> None:
    wanted = Requirement(dependency)
    pin = PINNED.get(canonicalize_name(wanted.name))
    assert pin is not None, f"{wanted.name} is not in requirements.lock: make lock"
    assert wanted.specifier.contains(_version(pin)), f"the lock has {pin}, pyproject wants {wanted}: make lock"


@pytest.mark.parametrize("line", LOCK)
def test_every_lock_line_is_an_exact_public_version(line: str) -> None:
    requirement = Requirement(line)
    assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(requirement.specifier)), "exact, and without a local version such as +cpu"
    assert requirement.url is None
    assert not re.match(r"nvidia|cuda|triton", requirement.name), "pip brings these where that build of torch needs them"


def test_lock_lists_a_package_once_and_has_no_pip_options() -> None:
    assert len(PINNED) == len(LOCK)
    assert not [line for line in LOCK if line.startswith("-") or "://" in line]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_no_lock_line_leaves_out_a_dependency_on_a_supported_python(python: str) -> None:
    linux = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    direct = {canonicalize_name(Requirement(d).name) for d in DIRECT}
    missing = [n for n in direct if PINNED[n].marker is not None and not PINNED[n].marker.evaluate(linux)]
    assert not missing


def test_what_is_installed_is_what_is_locked() -> None:
    """Only where `make` made the environment; elsewhere versions are the user's own choice."""
    if not Path(sys.prefix, ".ready").exists():
        pytest.skip("not the environment that make sets up")
    from importlib.metadata import version

    for name in {canonicalize_name(Requirement(d).name) for d in DIRECT}:
        assert version(name).split("+")[0] == _version(PINNED[name])


def test_torch_is_exact_where_make_and_conda_install_it() -> None:
    """As a library rdcore takes a range; the lock has the one version whose numbers are tested."""
    torch = next(Requirement(d) for d in PROJECT["project"]["dependencies"] if d.startswith("torch"))
    assert "==" not in str(torch.specifier) and "==2.13.0" == str(PINNED["torch"].specifier)
    assert "torch==" in (ROOT / "Makefile").read_text(), "`make lock` must not move torch by itself"


def test_environment_yml_installs_the_lock_on_the_same_pythons() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    assert by_pip == ["-r requirements.lock", "-e ."]
    plain = [entry for entry in entries if isinstance(entry, str)]
    assert [entry.split()[0] for entry in plain] == ["python", "pip"], "a version belongs into the lock"
    assert SpecifierSet(plain[0].split()[1]) == SpecifierSet(PROJECT["project"]["requires-python"])


def test_what_serves_is_tested_in_the_same_versions() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras["serve"]) <= set(extras["test"])


def test_version_is_said_once() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == rdcore.__version__


def test_training_imports_without_the_notebook_tools() -> None:
    """The core must import where nothing is installed for notebooks, downloads, pictures and serving."""
    code = (
        "import sys\n"
        "for name in ('pooch', 'papermill', 'jupytext', 'nbformat', 'seaborn', 'matplotlib', 'tabulate', 'yaml',\n"
        "             'onnx', 'onnxscript', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "import rdcore, rdcore.data, studies.notebooks.batch, studies.cli\n"
        "import importlib\n"
        "for part in ('models', 'losses', 'data.sampling', 'train.loop', 'eval.metrics', 'distill', 'store.runs', 'serve'):\n"
        "    importlib.import_module('rdcore.' + part)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_makefile_help_lists_the_commands() -> None:
    done = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=ROOT)
    for target in ("reproduce", "test", "test-fast", "notebooks", "clean"):
        assert f"make {target} " in done.stdout


def _version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    return specifier.version
