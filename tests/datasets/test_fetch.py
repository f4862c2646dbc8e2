import errno
import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rdcore.data import DataError
from rdcore.datasets import catalog, fetch, load
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.catalog import CATALOG
from rdcore.files import disk, paths

fetching = sys.modules["rdcore.datasets.fetch"]  # the module; `rdcore.datasets.fetch` is the function
CONTENT = b"1 2 1\n1 3 1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://data.example/part/file.txt"


def never(*arguments, **options):
    raise AssertionError("this source must not be asked")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A root and a mirror of our own, and one data set `tiny` with the file part/file.txt from one URL."""
    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("RDCORE_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "_download_url", never)
    monkeypatch.setattr(fetching, "_download_wheel", never)
    register(monkeypatch, Source(url=URL))
    return tmp_path / "root/data/raw/tiny/part/file.txt"


def register(monkeypatch, *sources):
    file = File("part/file.txt", len(CONTENT), SHA256, sources)
    monkeypatch.setitem(CATALOG, "tiny", DataSet("tiny", "t", "none", "none", files=(file,)))


def mirror(tmp_path, monkeypatch, content):
    path = tmp_path / "mirror/tiny/part/file.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setenv("RDCORE_MIRROR", str(tmp_path / "mirror"))
    return path


def offer(monkeypatch, content):
    """The network answers with `content`, or raises it."""

    def download(source, label, work):
        if isinstance(content, Exception):
            raise content
        (work / "download").write_bytes(content)
        return work / "download"

    monkeypatch.setattr(fetching, "_download_url", download)


def left_behind(target):
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def test_download_is_placed_and_not_asked_for_again(place, monkeypatch):
    offer(monkeypatch, CONTENT)
    assert fetch("tiny") == [place] and place.read_bytes() == CONTENT
    assert left_behind(place) == ["file.txt"]
    monkeypatch.setattr(fetching, "_download_url", never)
    assert fetch("tiny") == [place]
    assert fetch("tiny", download=False) == [place]


def test_mirror_comes_first(place, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, CONTENT)
    assert fetch("tiny") == [place] and place.read_bytes() == CONTENT


def test_a_corrupted_mirror_is_refused_and_the_next_source_tried(place, tmp_path, monkeypatch):
    path = mirror(tmp_path, monkeypatch, CONTENT.replace(b"3", b"4"))
    offer(monkeypatch, CONTENT)
    fetch("tiny")
    assert place.read_bytes() == CONTENT
    place.unlink()
    offer(monkeypatch, OSError("name or service not known"))
    with pytest.raises(DataError) as caught:
        fetch("tiny")
    message = str(caught.value)
    assert f"{path}: file.txt has the wrong sha256: expected {SHA256}, found " in message
    assert f"{URL}: name or service not known" in message
    assert left_behind(place) == []


def test_no_network_and_no_mirror(place, monkeypatch):
    offer(monkeypatch, OSError("no route to host"))
    with pytest.raises(DataError) as caught:
        fetch("tiny")
    for part in (
        "tiny: no source could provide part/file.txt",
        "mirror: RDCORE_MIRROR is not set",
        f"{URL}: no route to host",
        "set RDCORE_MIRROR to a folder that holds tiny/part/file.txt",
    ):
        assert part in str(caught.value)
    assert left_behind(place) == []


def test_of_an_error_that_wraps_another_the_cause_is_said():
    cause = OSError("HTTPSConnection(host='a.org', port=443): Failed to resolve 'a.org'")
    wrapped = RuntimeError("HTTPSConnectionPool(host='a.org', port=443): Max retries exceeded with url: /x")
    wrapped.reason = cause
    assert fetching._cause(ConnectionError(wrapped)) == "Failed to resolve 'a.org'"
    assert fetching._cause(OSError("HTTP 404")) == "HTTP 404" and fetching._cause(TimeoutError()) == "TimeoutError"


def test_a_mirror_without_the_file_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setenv("RDCORE_MIRROR", str(tmp_path / "elsewhere"))
    offer(monkeypatch, OSError("no route to host"))
    with pytest.raises(DataError, match="elsewhere/tiny/part/file.txt: No such file or directory"):
        fetch("tiny")


@pytest.mark.parametrize(
    "content, message",
    [
        (CONTENT[:-3], f"is truncated: expected {len(CONTENT)} bytes, found {len(CONTENT) - 3}"),
        (CONTENT + b"1 4 1\n", f"has the wrong sha256: expected {SHA256}, found "),
        (b"", "is truncated: expected"),
    ],
)
def test_a_damaged_download_leaves_nothing(place, monkeypatch, content, message):
    offer(monkeypatch, content)
    with pytest.raises(DataError, match=message):
        fetch("tiny")
    assert left_behind(place) == []


def test_a_download_that_is_interrupted_leaves_nothing(place, monkeypatch):
    def interrupted(source, label, work):
        (work / "download").write_bytes(CONTENT[:4])
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_download_url", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny")
    assert left_behind(place) == []


def test_what_a_killed_process_left_is_removed_and_a_lock_that_it_held_is_free(place, monkeypatch):
    (place.parent / ".fetch-abc").mkdir(parents=True)
    (place.parent / ".fetch-abc" / "download").write_bytes(CONTENT[:4])
    (place.parents[2] / "tiny.lock").touch()
    offer(monkeypatch, CONTENT)
    assert fetch("tiny") == [place] and left_behind(place) == ["file.txt"]


def test_two_that_want_the_same_fetch_it_once(place, monkeypatch, capsys):
    asked, begun, go_on = [], threading.Event(), threading.Event()

    def download(source, label, work):
        asked.append(source)
        begun.set()
        assert go_on.wait(10)
        (work / "download").write_bytes(CONTENT)
        return work / "download"

    monkeypatch.setattr(fetching, "_download_url", download)
    monkeypatch.setattr(disk.tqdm, "write", lambda text: go_on.set() if "another process is fetching tiny" in text else None)
    found = []
    first = threading.Thread(target=lambda: found.append(fetch("tiny")))
    first.start()
    assert begun.wait(10)
    found.append(fetch("tiny"))  # says that it waits, and only then the first goes on
    first.join()
    assert found == [[place], [place]] and len(asked) == 1


def test_a_wrong_file_in_place_is_named_and_kept(place, monkeypatch):
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT.replace(b"3", b"4"))
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        fetch("tiny")
    assert f"expected {SHA256}, found {found}: delete {place} and fetch tiny again" in str(caught.value)
    assert place.exists()


@pytest.mark.parametrize(
    "number, message",
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EROFS, "the file system is read-only: set RDCORE_ROOT"),
        (errno.EACCES, "no permission to write there: set RDCORE_ROOT"),
        (errno.EIO, "Input/output error: check the folder"),
    ],
)
def test_a_disk_that_cannot_be_written(place, tmp_path, monkeypatch, number, message):
    mirror(tmp_path, monkeypatch, CONTENT)

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "replace", fail)
        with pytest.raises(DataError, match=f"cannot write .*file.txt: {message}"):
            fetch("tiny")
    assert left_behind(place) == []
    with monkeypatch.context() as patch:
        patch.setattr(fetching.Path, "mkdir", fail)
        with pytest.raises(DataError, match=f"cannot write .*tiny.*: {message}"):
            fetch("tiny")


def test_a_full_disk_ends_the_attempts(place, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, CONTENT)  # and _download_url is `never`

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching.Path, "write_bytes", full)
        with pytest.raises(DataError, match="the disk is full"):
            fetch("tiny")
    assert left_behind(place) == []


def test_a_folder_that_cannot_be_written(place, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, CONTENT)
    (tmp_path / "root").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cannot write"):
        fetch("tiny")


def test_download_not_allowed(place):
    with pytest.raises(DataError, match="file.txt does not exist, and downloading was not allowed: run `rdcore fetch tiny`"):
        fetch("tiny", download=False)


def test_unknown_name():
    with pytest.raises(
        DataError, match="unknown data set 'gowala': the catalog has gowalla, ml-100k, foursquare-nyc, citeulike, foursquare"
    ):
        load("gowala")


def test_generated_data_has_no_files():
    assert fetch("synthetic") == []


def archive(monkeypatch, member=b"head\n" + CONTENT, **change):
    def download(source, work):
        with zipfile.ZipFile(work / "a.whl", "w") as file:
            file.writestr(zipfile.ZipInfo("a/b.inter"), member)
        return work / "a.whl"

    monkeypatch.setattr(fetching, "_download_wheel", download)
    folder = paths.root()
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256(download(None, folder).read_bytes()).hexdigest()
    source = {"requirement": "a==1", "archive": sha256, "member": "a/b.inter", "skip_lines": 1}
    register(monkeypatch, Source(**{**source, **change}))


def test_member_of_an_archive_without_its_header(place, monkeypatch):
    archive(monkeypatch)
    assert fetch("tiny")[0].read_bytes() == CONTENT and left_behind(place) == ["file.txt"]


def test_archive_with_the_wrong_hash(place, monkeypatch):
    archive(monkeypatch, archive="0" * 64)
    with pytest.raises(DataError, match="pip download a==1: the archive has the wrong sha256: expected 0000"):
        fetch("tiny")
    assert left_behind(place) == []


@pytest.mark.parametrize(
    "outcome, message",
    [
        (
            subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution\n"),
            r"pip download a==1: pip failed \(ERROR: No matching distribution\)",
        ),
        (subprocess.CompletedProcess([], 0, "", ""), r"pip failed \(no wheel was brought\)"),
        (subprocess.TimeoutExpired("pip", 1), "pip did not finish within"),
    ],
)
def test_pip_that_fails(place, monkeypatch, outcome, message):
    def run(*arguments, **options):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.undo()
    monkeypatch.setenv("RDCORE_ROOT", str(place.parents[4]))
    monkeypatch.delenv("RDCORE_MIRROR", raising=False)
    register(monkeypatch, Source(requirement="a==1", member="m"))
    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(DataError, match=message):
        fetch("tiny")
    assert left_behind(place) == []


def test_a_url_is_downloaded_by_pooch(tmp_path, monkeypatch):
    """A real download, from a server of our own: whole, missing, and cut off in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.path == "/missing" else 200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:5] if self.path == "/cut" else CONTENT)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("RDCORE_ROOT", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("RDCORE_MIRROR", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for path, message in (("missing", "404"), ("cut", "(IncompleteRead|truncated|ended prematurely)")):
            register(monkeypatch, Source(url=f"{address}/{path}"))
            with pytest.raises(DataError, match=message):
                fetch("tiny")
            assert left_behind(tmp_path / "data/raw/tiny/part/file.txt") == []
        register(monkeypatch, Source(url=f"{address}/whole"))
        assert fetch("tiny")[0].read_bytes() == CONTENT
        server.shutdown()


def test_import_and_reading_need_no_pooch(tmp_path):
    """With pooch impossible to import, data that is there (or generated) loads, and a download says what is missing."""
    code = (
        "import sys; sys.modules['pooch'] = None\n"
        "from rdcore import data, datasets\n"
        "assert datasets.load('synthetic').n_users == 200\n"
        "try: datasets.fetch('gowalla')\n"
        "except data.DataError as error: print(error)\n"
    )
    environment = {**os.environ, "RDCORE_ROOT": str(tmp_path), "PYTHONPATH": str(Path(catalog.__file__).parents[2])}
    environment.pop("RDCORE_MIRROR", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pooch is not installed: pip install pooch" in done.stdout
    assert importlib.util.find_spec("pooch")


@pytest.mark.parametrize("dataset", CATALOG.values(), ids=lambda dataset: dataset.name)
def test_the_catalog_is_complete(dataset):
    assert dataset.title and dataset.licence and dataset.citation
    for file in dataset.files:
        assert len(file.sha256) == 64 and file.size > 0 and file.sources
        for source in file.sources:
            assert bool(source.url) != bool(source.requirement)
            assert bool(source.member) == bool(source.archive) and len(source.archive) in (0, 64)
