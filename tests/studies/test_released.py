"""The released code's own runs beside the paper and ours, from made-up ones."""

import json

import pandas as pd
import pytest

from rdcore.files import paths
from studies.common.report import COLUMNS
from studies.rd import released, study

TABLE2 = pd.DataFrame(
    [["gowalla", "Caser", "RD", "MAP", protocol, 0.0969, ours, 0.0007, 3, 0.0] for protocol, ours in
     (("fixed50", 0.0943), ("validation", 0.5))], columns=COLUMNS,
)  # fmt: skip


def run(role: str, seed: int, means: dict[int, float | None]) -> dict:
    entries = [{"epoch": epoch} | ({"MAP": None} if value is None else dict.fromkeys(released.METRICS, value))
               for epoch, value in means.items()]  # fmt: skip
    return {"role": role, "seed": seed, "dataset": "gowalla", "model": "Caser", "commit": "4fb5237", "epochs": 50,
            "metrics": entries}  # fmt: skip


@pytest.fixture
def keep(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "replicated", lambda: tmp_path)
    return lambda *made: (tmp_path / "released.json").write_text(json.dumps(made))


def test_without_a_run_there_is_nothing(keep):
    assert released.runs() == [] and released.table(TABLE2).empty and released.results(TABLE2) == ""


def test_it_stands_beside_the_paper_and_us_at_the_last_epoch_with_numbers(keep):
    """The hybrid's weights are no numbers at epoch 50 of seed 2; the paper has position weights in Table 4."""
    hybrid = run("RD-hybrid", 1, {30: 0.09, 40: 0.093, 50: 0.99}), run("RD-hybrid", 2, {30: 0.09, 40: 0.095, 50: None})
    keep(*hybrid, run("RD-position", 1, {50: 0.097}), run("S", 1, {30: 0.09}))  # S ended early; nothing overflowed
    table = released.table(TABLE2).set_index(["role", "metric"])
    row = table.loc["RD", "MAP"]
    assert (row["epoch"], row["released_seeds"], row["reported"], row["replicated"], row["seeds"]) == (40, 2, 0.0969, 0.0943, 3)
    assert row["released"] == pytest.approx(0.094)
    assert tuple(table.loc[("RD-position", "MAP"), ["released", "reported"]]) == (0.097, 0.0945)
    shown = released.results(TABLE2)
    assert "0.0940" in shown and "seeds, released" in shown and "0.5000" not in shown
    assert shown.count("has no numbers after") == 1 and "RD has no numbers after epoch 40: the released loss overflows" in shown


def test_both_weights_are_compared_at_the_same_epoch_alone(keep, monkeypatch):
    monkeypatch.setattr(study, "rd_table2", lambda records, chosen: TABLE2)
    keep(run("RD-hybrid", 1, {40: 0.0931, 50: 0.0943}), run("RD-position", 1, {40: 0.0975, 50: 0.0961}))
    assert study._theirs() == " Authors' code: MAP 0.0943, with position weights 0.0961 (1 seed)."
    keep(run("RD-hybrid", 1, {40: 0.0931, 50: None}), run("RD-position", 1, {40: 0.0975, 50: 0.0961}))
    assert study._theirs() == ""
    keep(run("RD-position", 1, {50: 0.0961}))
    assert study._theirs() == ""


def test_a_damaged_file_is_named(keep):
    keep({"role": "T"})
    with pytest.raises(ValueError, match="released.json has no .*restore the file"):
        released.runs()
