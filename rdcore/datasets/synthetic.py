"""Generated sequences with a planted structure: no files, for tests and for profile `smoke`."""

from pathlib import Path

from rdcore.data import Interactions
from rdcore.data.synthetic import generate
from rdcore.datasets.base import DataSet


def read(files: list[Path], name: str, **options) -> Interactions:
    """``options``: those of `rdcore.data.synthetic.generate`."""
    return generate(**options)


DATASET = DataSet(
    name="synthetic",
    title="generated sequences with a planted structure (rdcore.data.synthetic)",
    licence="none needed",
    citation="none needed",
    read=read,
)
