import shutil
from pathlib import Path

from rdcore.files import paths


def test_one_variable_moves_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    places = [paths.raw(), paths.reported(), paths.replicated(), paths.runs(), paths.figures(), paths.build()]
    assert [place.relative_to(tmp_path).as_posix() for place in places] == [
        "data/raw",
        "data/reported",
        "data/replicated",
        "runs",
        "figures",
        "build",
    ]
    assert paths.figures("small") == tmp_path / "figures" / "small"
    assert not any(tmp_path.iterdir())  # asking creates nothing


def test_the_checkout_around_the_working_directory_is_the_root(tmp_path, monkeypatch):
    monkeypatch.delenv("RDCORE_ROOT", raising=False)
    (tmp_path / "rdcore").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert paths.root() == Path(paths.__file__).resolve().parents[2]  # no pyproject.toml: not a checkout
    (tmp_path / "pyproject.toml").touch()
    assert paths.root() == tmp_path.resolve()
    shutil.rmtree(tmp_path / "rdcore")
    assert paths.root() == Path(paths.__file__).resolve().parents[2]
