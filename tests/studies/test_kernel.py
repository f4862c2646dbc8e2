"""A Jupyter kernel of another project is found before a notebook starts, with the remedy that helps."""

import json
from pathlib import Path

import pytest

from studies.notebooks import batch


def kernel(folder: Path, python: str) -> None:
    place = folder / "kernels/python3"
    place.mkdir(parents=True)
    command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "Theirs", "language": "python"}))


def test_a_kernel_under_jupyter_path_is_answered_by_unsetting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(tmp_path / "shared", "/opt/company/bin/python3")
    monkeypatch.setenv("JUPYTER_PATH", f"{tmp_path / 'nothing'}:{tmp_path / 'shared'}")
    with pytest.raises(OSError, match="starts /opt/company/bin/python3, not .*: it lies in .*/shared, .* unset") as caught:
        batch._require_own_kernel()
    assert "--sys-prefix" not in str(caught.value), "that kernel would still come second"


def test_a_kernel_elsewhere_is_answered_by_registering_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(tmp_path / "home/.local/share/jupyter", "/opt/company/bin/python3")
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "home/.local/share/jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    with pytest.raises(OSError, match="-m ipykernel install --sys-prefix"):
        batch._require_own_kernel()
