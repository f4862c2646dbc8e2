"""Old module names, so that scripts and notebooks written for 0.1 keep working.

`rdcore.runs` is now `rdcore.store.runs`, `rdcore.evaluation` is `rdcore.eval.metrics`, and so on. An old name
imports the very same module object under its new name. A function that went to another module since, such as
`agreement`, is there alone: CHANGELOG.md names them. New code uses the new names.
"""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "rdcore.paths": "rdcore.files.paths",
    "rdcore.disk": "rdcore.files.disk",
    "rdcore.progress": "rdcore.files.progress",
    "rdcore.data.catalog": "rdcore.datasets.catalog",
    "rdcore.data.fetch": "rdcore.datasets.fetch",
    "rdcore.data.formats": "rdcore.datasets.formats",
    "rdcore.data.frames": "rdcore.datasets.frames",
    "rdcore.data.pickles": "rdcore.datasets.pickles",
    "rdcore.data.synthetic": "rdcore.datasets.synthetic",
    "rdcore.data.ties": "rdcore.datasets.ties",
    "rdcore.data.times": "rdcore.datasets.times",
    "rdcore.queries": "rdcore.data.queries",
    "rdcore.sampling": "rdcore.data.sampling",
    "rdcore.ranking": "rdcore.eval.topk",
    "rdcore.metrics": "rdcore.eval.metrics",
    "rdcore.evaluation": "rdcore.eval.metrics",
    "rdcore.eval.full_ranking": "rdcore.eval.metrics",
    "rdcore.models.item_cf": "rdcore.models.more.item_cf",
    "rdcore.leave_one_out": "rdcore.eval.leave_one_out",
    "rdcore.eval.steady": "rdcore.store.steady",
    "rdcore.significance": "rdcore.eval.significance",
    "rdcore.groups": "rdcore.store.groups",
    "rdcore.eval.groups": "rdcore.store.groups",
    "rdcore.distill.ranking_distillation": "rdcore.distill.rd",
    "rdcore.distill.cd": "rdcore.distill.followups.cd",
    "rdcore.distill.weights": "rdcore.distill.rd",
    "rdcore.distill.rd_weights": "rdcore.distill.rd",
    "rdcore.training": "rdcore.train.loop",
    "rdcore.experiment": "rdcore.store.experiment",
    "rdcore.runs": "rdcore.store.runs",
    "rdcore.sweeps": "rdcore.store.jobs",
    "rdcore.serving": "rdcore.serve",
    "rdcore.notebooks": "studies.notebooks.batch",
    "rdcore.cli": "studies.cli",
}


class MovedModules(MetaPathFinder, Loader):
    """Finds an old name by importing the module that took its place."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        self.own_spec = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own_spec


def install() -> None:
    """Makes the old names importable. Twice does no harm."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
