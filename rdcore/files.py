"""Files that are whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rdcore.disk import error_number, probe, writing


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make the file in a folder of its own beside ``path`` and moves it there: under its name a file is
    whole or absent. The parent folder is made where it is missing.

    A failure leaves nothing behind; a process killed in the middle leaves a ``*.partial`` and the old file as it was.
    Raises DiskError when the disk cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, because some libraries make a temporary file of their own beside the one they are asked for.
        partial = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent))
        try:
            write(partial / path.name)
            os.replace(partial / path.name, path)
        except Exception as error:
            if error_number(error) is None:  # torch says only that it is not where in the file it expected to be
                probe(partial / "probe")
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
