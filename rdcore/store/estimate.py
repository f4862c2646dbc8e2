"""How far a sweep is, and about how long the rest of it will take."""

from __future__ import annotations

import time

from rdcore.store.experiment import Experiment


class Estimate:
    """Counts the runs of a sweep, and predicts the time of those that are left from the epochs that
    were trained so far."""

    def __init__(self, missing: list[Experiment]):
        self.total = len(missing)
        self.left = {e.key: 0 if e.counted else e.training.epochs for e in missing}
        self.epochs = sum(self.left.values())
        self.begun = time.monotonic()

    def after(self, run: Experiment) -> str:
        """Where the sweep is when ``run`` has ended, such as '3 of 12 runs, about 14 min left'."""
        self.left.pop(run.key, None)
        where = f"{self.total - len(self.left)} of {self.total} runs"
        left = sum(self.left.values())
        trained = self.epochs - left
        if not left or not trained:
            return where
        return f"{where}, about {_for_people((time.monotonic() - self.begun) / trained * left)} left"

    def kept(self) -> str:
        """What an interrupt leaves."""
        return (
            f"interrupted: {self.total - len(self.left)} of {self.total} runs are finished, the others are kept up to their "
            "last checkpoint, and the same call goes on from there"
        )


def _for_people(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
