"""The papers, a room each: plans of runs, tables, pictures, claims."""

from importlib import import_module
from types import ModuleType

STUDIES = ("rd", "derrd", "rankdistil", "one_protocol", "followups", "flexibility")  # a paper adds its room and its name here


def rooms() -> tuple[ModuleType, ...]:
    """The module `study` of every room, with the functions that studies/common/study.py lists. They are
    imported here and not above, so that the command line starts without torch."""
    return tuple(import_module(f"studies.{name}.study") for name in STUDIES)
