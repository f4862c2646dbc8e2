"""Old module names still import, and are the very modules under their new names."""

import importlib
import subprocess
import sys

import pytest

from rdcore import _moved


@pytest.mark.parametrize("old", _moved.MOVED)
def test_an_old_name_is_the_new_module(old):
    new = importlib.import_module(_moved.MOVED[old])
    spec = new.__spec__
    assert importlib.import_module(old) is new
    assert new.__spec__ is spec and new.__name__ == _moved.MOVED[old]


def test_old_names_work_in_every_spelling_of_an_import():
    code = (
        "from rdcore import evaluation, runs\n"
        "from rdcore.sampling import stream\n"
        "import rdcore.training\n"
        "from rdcore.data.sampling import stream as new\n"
        "assert stream is new and rdcore.training.train and runs.load_or_train and evaluation.evaluate\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_still_an_error():
    with pytest.raises(ModuleNotFoundError, match="rdcore.nothing"):
        importlib.import_module("rdcore.nothing")
