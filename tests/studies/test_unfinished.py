"""docs/open.md is what plans and records say; what a missing run would cost is said from its relatives."""

import sys

import pytest

from rdcore.files import paths
from studies import unfinished
from studies.followups import missing, proofs


def test_the_page_is_up_to_date():
    assert (paths.root() / "docs" / "open.md").read_text(encoding="utf-8") == unfinished.page(), "run `rdcore readme`"


def test_every_command_is_understood(monkeypatch, capsys):
    """Each names a run that is not on record."""
    made = []
    monkeypatch.setattr(proofs, "run", lambda study, role, **given: made.append((study, role, given["dim"])) or {"chosen": {}})
    wanted = [one for one in missing.planned() if one.content is None]
    for one in wanted:
        monkeypatch.setattr(sys, "argv", one.command.split()[2:])
        proofs.main()
    assert [(study, role, dim or proofs.PROTOCOLS[study].dims[1]) for study, role, dim in made] == [
        (one.study, one.role, one.dim) for one in wanted
    ]


def record(study: str, role: str, dim: int, seconds: float, rest: float = 0) -> missing.Proof:
    content = {"environment": {"seconds": seconds}, "history": [{"seconds": (seconds - rest) / 2}] * 2}
    return missing.Proof(study, role, dim, "", content)


@pytest.mark.parametrize(
    ("role", "there", "said"),
    [
        ("FTD", [("FTD", 10, 100), ("FTD", 20, 130), ("S", 10, 5)], "100 to 130 (its other runs)"),
        ("HTD", [("FTD", 10, 100), ("S", 10, 5)], "1,000 (by its steps)"),
        ("HTD", [("S", 10, 5), ("T", 200, 7)], "500 (by its steps)"),
        ("HTD", [("S", 10, 5, 2)], "302 (by its steps)"),
        ("DCD", [("S", 10, 5), ("FTD", 10, 100)], "more than S: 5"),
        ("DCD", [("T", 200, 7)], "unknown"),
        ("UnKD-released", [("UnKD", 10, 40)], "40 (its other runs)"),
    ],
)
def test_what_a_missing_run_costs(monkeypatch, role, there, said):
    monkeypatch.setattr(missing, "step_costs", lambda: {"BPR": 1.0, "FTD": 10.0, "HTD": 100.0})
    every = [record("td", *each) for each in there] + [record("unkd", "DCD", 10, 999)]
    assert missing.cost(missing.Proof("td", role, 10, "", None), every) == said
