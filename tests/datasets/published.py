"""The published data sets, for tests: fetched into the project's own data/raw, as `rdcore fetch` would do."""

import pytest

from rdcore.data import DataError, Interactions
from rdcore.datasets import load


def load_or_skip(name: str) -> Interactions:
    """Skips only where no source can be reached: a file that is there and wrong is a failure."""
    try:
        return load(name)
    except DataError as reason:
        if "no source could provide" not in str(reason):
            raise
        pytest.skip(f"{name} cannot be fetched here, and RDCORE_MIRROR does not hold it")
