"""How many queries are ranked at a time."""

from __future__ import annotations

BLOCK_BYTES = 2**28


def block_rows(n_items: int, most: int, copies: int = 1) -> int:
    """How many queries are ranked at a time, so that memory does not grow with the number of items: ``most``, or fewer where
    their float32 scores of all items, ``copies`` times, would take more than a quarter of a GiB.

    >>> block_rows(n_items=1_000_000, most=512)
    67
    """
    return max(1, min(most, BLOCK_BYTES // (4 * n_items * copies)))
