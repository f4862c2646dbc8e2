"""Runs side by side: the seeds and users that two roles share, the verdicts in words, the tables of notebook 05."""

from pathlib import Path

import numpy as np
import pytest
from fabricated import USERS, record

from rdcore.eval import significance
from studies.common.matched import MARGINS, Matched, all_tests, answers, as_text, matched, no_worse, per_seed, says_little
from studies.common.profiles import PROFILES
from studies.common.reported import reported

PAPER = PROFILES["paper"].rd[0]


def made(folder: Path, gains: dict[str, float], seeds: dict[str, list[int]], spread: float = 0.0005) -> Matched:
    """Caser's runs on Gowalla: role -> what every user has more than with S, and the seeds of each role."""
    make = {"T": PAPER.teacher, "S": PAPER.student, "RD-hybrid": PAPER.distilled}
    records = []
    for role, gain in gains.items():
        for seed in seeds[role]:
            rng = np.random.default_rng([seed, len(role)])
            ap = np.linspace(0.1, 0.9, USERS) + gain + spread * rng.standard_normal(USERS)
            ap[5] = np.nan
            records.append(record(folder, make[role]("F", seed), {50: float(np.nanmean(ap))}, ap))
    return matched(records, resamples=300)["Caser", "fixed50"]


def every(n: int) -> dict[str, list[int]]:
    return dict.fromkeys(("T", "S", "RD-hybrid"), list(range(1, n + 1)))


def test_the_margins_are_half_the_papers_gaps() -> None:
    table = reported("rd_table2").query("dataset == 'gowalla' and metric == 'MAP'").set_index(["model", "role"])["value"]
    for model, margin in MARGINS.items():
        assert margin == pytest.approx((table[model, "T"] - table[model, "S"]) / 2, abs=5.1e-5), "to the digits of the paper"


def test_only_seeds_of_both_roles_are_compared(tmp_path: Path) -> None:
    found = made(tmp_path, {"T": 0.01, "S": 0.0, "RD-hybrid": 0.02}, {"T": [1, 3, 4], "S": [1, 2, 3], "RD-hybrid": [3]})
    assert found.seeds("T", "S") == [1, 3] and found.seeds("T") == [1, 3, 4]
    t, s = found.arrays("T", "S")
    for row, seed in enumerate((1, 3)):
        for array, role in ((t, "T"), (s, "S")):
            np.testing.assert_array_equal(array[row], found.by_role[role][seed].record.per_user(50)["AP"])
    assert found.compare("T", "S").n_seeds == 2
    assert found.compare("T", "S", among=["RD-hybrid"]).n_seeds == 1, "those of the third role alone"
    assert found.compare("RD-hybrid", "RD-equal") is None and found.arrays("RD-equal") is None


def test_a_comparison_is_the_one_of_significance_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(tmp_path, {"T": 0.01, "S": 0.0}, every(2))
    c = found.compare("T", "S")
    assert c == significance.compare(*found.arrays("T", "S"), rng=np.random.default_rng(0), resamples=300)
    monkeypatch.setattr(significance, "compare", None)
    assert found.compare("T", "S") is c


def test_pairing_by_hand() -> None:
    class Two(Matched):
        def arrays(self, *roles, **_):
            return [np.array([[1.0, 2.0, 6.0, np.nan]]), np.array([[0.0, 2.0, 4.0, np.nan]])]

    worth = Two("d", "Caser", "p").pairing("a", "b")
    assert worth.paired == pytest.approx(np.std([1, 0, 2], ddof=1) / np.sqrt(3))
    assert worth.unpaired == pytest.approx(np.sqrt((7 + 4) / 3))
    assert worth.correlation == pytest.approx(np.corrcoef([1, 2, 6], [0, 2, 4])[0, 1])


# gains of T and RD over S, seeds -> what is said of "beats S", of "no worse than T", and of the gap
WORDS = {
    "both": (0.010, 0.0095, 5, "Yes: RD - S = +0.0", "Yes: RD - T = -0.0", "recovers 9"),
    "few seeds": (0.010, 0.0095, 3, "An indication: RD - S", "An indication: RD - T", "recovers 9"),
    "beyond the margin": (0.010, 0.007, 5, "Yes: RD - S", "No: RD - T", "recovers 7"),
    "opposite": (0.010, -0.005, 5, "No, the opposite holds: RD - S = -0.00", "No: RD - T", "recovers -"),
    "opposite, few seeds": (0.010, -0.005, 3, "No, indication of the opposite: RD - S", "No: RD - T", "recovers -"),
    "no gap": (0.0, 0.0, 5, "No: RD - S", "Cannot be said: RD - T", "do not differ"),
    "T worse than S": (-0.010, -0.009, 5, "No, the opposite holds: RD - S", "Cannot be said: RD - T", "T itself is worse"),
}


@pytest.mark.parametrize("case", WORDS)
def test_the_answer_in_words(tmp_path: Path, case: str) -> None:
    teacher, distilled, seeds, beats, no_worse_than, gap = WORDS[case]
    found = made(tmp_path, {"T": teacher, "S": 0.0, "RD-hybrid": distilled}, every(seeds))
    first, second, third, fourth = answers(found, 0.0020).splitlines()
    assert first == "Caser, gowalla, fixed50:"
    assert second.startswith(f"  Does RD beat S? {beats}") and f"{seeds} seeds" in second and "effect size" in second
    assert third.startswith(f"  Is RD no worse than T? {no_worse_than}") and "margin 0.0020" in third
    assert gap in fourth and "says little" not in third


@pytest.mark.parametrize("distilled", [0.0014, 0.0])
def test_a_margin_wider_than_our_own_gap_says_little(tmp_path: Path, distilled: float) -> None:
    """Within it the student that nobody taught would pass too."""
    found = made(tmp_path, {"T": 0.0015, "S": 0.0, "RD-hybrid": distilled}, every(5))
    said, _, gap = no_worse(found, 0.0020)
    assert said == "replicates" and gap.gap == pytest.approx(found.compare("T", "S").difference)
    wider = f"the margin is wider than our own gap T - S = {gap.gap:+.4f}, so that this says little"
    assert says_little(gap, 0.0020) == wider and wider in answers(found, 0.0020)
    assert says_little(gap, gap.gap) == "", "as wide is not wider"
    assert no_worse(found, 0.0010)[0] == ("replicates" if distilled else "no")
    assert "says little" not in answers(found, 0.0010)


def test_the_answer_names_what_is_missing(tmp_path: Path) -> None:
    said = answers(made(tmp_path / "a", {"T": 0.01, "S": 0.0}, every(1)), 0.0020)
    assert said.count("Not known: no record of RD-hybrid yet") == 2 and "recovers" not in said
    apart = {"T": [1], "S": [2], "RD-hybrid": [3]}
    said = answers(made(tmp_path / "b", {"T": 0.01, "S": 0.0, "RD-hybrid": 0.01}, apart), 0.0020)
    assert said.count("Not known: no seed has all of RD-hybrid, S and T") == 2
    said = answers(made(tmp_path / "c", {"T": 0.01, "S": 0.0, "RD-hybrid": 0.01}, every(1)), None)
    assert "No margin was fixed for this data set: RD - T" in said and "1 seed\n" in said.replace("1 seed.", "1 seed")


def test_a_bound_at_the_margin_is_not_above_it(tmp_path: Path) -> None:
    found = made(tmp_path, {"T": 0.010, "S": 0.0, "RD-hybrid": 0.007}, every(5))
    bound = -found.compare("RD-hybrid", "T").low
    assert no_worse(found, bound)[0] == "no" and no_worse(found, bound + 1e-9)[0] == "replicates"


def test_tables_have_a_row_for_what_has_run(tmp_path: Path) -> None:
    found = made(tmp_path, {"T": 0.01, "S": 0.0, "RD-hybrid": 0.005}, {"T": [1, 2], "S": [1, 2], "RD-hybrid": [2]})
    seeds = per_seed({"x": found}).set_index("seed")
    means = {role: found.by_role[role][2].record.metrics.loc[50, "MAP"] for role in ("T", "S", "RD-hybrid")}
    assert seeds.loc[2, "RD - S"] == pytest.approx(means["RD-hybrid"] - means["S"])
    assert seeds.loc[2, "RD - T"] == pytest.approx(means["RD-hybrid"] - means["T"])
    assert np.isnan(seeds.loc[1, "RD - S"]) and seeds.loc[1, "T - S"] == pytest.approx(0.01, abs=5e-4)
    rows = all_tests({"x": found}).set_index("what")
    assert list(rows.index) == ["RD - S", "T - S", "RD - T"] and list(rows["seeds"]) == [1, 2, 1]
    c = found.compare("T", "S")
    assert rows.loc["T - S", "p users"] == c.p_users and rows.loc["T - S", "p seeds"] == c.p_seeds
    assert rows.loc["T - S", "relative"] == pytest.approx(c.difference / c.mean_b)
    text = as_text(rows.reset_index())
    assert text["p seeds"].iloc[0] == "" and text["difference"].iloc[1] == f"{c.difference:+.4f}"
    assert per_seed({}).empty and all_tests({}).empty
