"""What a room's module `study` has: everything that loops over all papers asks for these four."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pandas as pd

from rdcore.store.experiment import Experiment


class Study(Protocol):
    """One paper, or one question of our own."""

    def runs(self, profile: str) -> list[Experiment]:
        """Every run of a profile, in training order."""

    def teachers_of(self, student: Experiment) -> list[Experiment]:
        """The teachers with which a student trained alone is compared."""

    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Name of a file in figures/tables -> that table, computed from the committed records."""

    def results(self) -> str:
        """Its section of docs/results.md, in Markdown, written from the committed records."""
