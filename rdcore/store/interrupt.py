"""Ctrl-C in Python: one line that says what is kept, in the place of a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


class Interrupted(KeyboardInterrupt):
    """An interrupt whose text says what is kept."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show."""
        return [str(self)]


@contextlib.contextmanager
def explained(kept: Callable[[], str]) -> Iterator[None]:
    """Raises Interrupted with the text of ``kept()`` for an interrupt inside. Where nobody catches
    it, Python prints this text alone; RDCORE_TRACEBACK=1 in the environment shows the traceback as
    well."""
    try:
        yield
    except Interrupted:  # of a run inside a sweep: it knows more
        raise
    except KeyboardInterrupt as error:
        _print_one_line()
        raise Interrupted(kept()) from error


def _print_one_line() -> None:
    """From now on ``sys.excepthook`` prints the text of Interrupted alone."""
    before = sys.excepthook
    if getattr(before, "of_rdcore", False) or os.environ.get("RDCORE_TRACEBACK") == "1":
        return

    def hook(kind, error, traceback) -> None:
        if isinstance(error, Interrupted):
            print(error, file=sys.stderr)
        else:
            before(kind, error, traceback)

    hook.of_rdcore = True
    sys.excepthook = hook
