"""DEVIATIONS.md: its tables of numbers of ours have what the committed tables have."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rdcore.files import paths
from rdcore.store.records import Record
from studies.common.matched import matched
from studies.common.selection import chosen_epochs
from studies.rd.study import paper_records

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "DEVIATIONS.md").read_text(encoding="utf-8")


def shown(heading: str) -> dict[str, list[str]]:
    """Name of the line -> cells of the first table below a heading that begins so."""
    lines = PAGE.split(f"\n### {heading}")[1].split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return {name: cells for name, *cells in rows}


def numbers(table: str, query: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / "tables" / f"{table}.csv").query(query).drop_duplicates("role").set_index("role")


def short(value: float, digits: int = 4) -> str:
    """.0943, without the 0 in front, as the page has numbers; nothing where there is none."""
    return "" if pd.isna(value) else f"{value:.{digits}f}".replace("0.", ".", 1)


CASER = ("rd_table4", "dataset == 'gowalla' and model == 'Caser' and metric == 'MAP' and protocol == 'fixed50'")
FOSSIL = ("rd_table2", "dataset == 'gowalla' and model == 'Fossil' and metric == 'MAP' and protocol == 'validation'")
DERRD = ("derrd_table2", "dataset == 'citeulike' and model == 'BPR' and metric == 'H@5' and protocol == 'validation'")


@pytest.mark.parametrize(("heading", "source", "roles"), [
    ("RD with Caser", CASER, ["T", "S", "RD-hybrid", "RD-hybrid-normalised", "RD-position", "RD-reciprocal", "RD-equal",
                              "RD-discrepancy"]),
    ("RD with Fossil", FOSSIL, ["T", "S", "RD"]),
    ("DE-RRD on CiteULike", DERRD, ["T", "S", "RD", "CD", "DE", "RRD", "DE-RRD"]),
], ids=["Caser", "Fossil", "DE-RRD"])  # fmt: skip
def test_tables_are_those_of_the_records(heading, source, roles) -> None:
    found, rows = numbers(*source), shown(heading)
    if heading == "RD with Caser":  # T and S are in Table 2
        found = pd.concat([found, numbers("rd_table2", source[1]).loc[["T", "S"]]])
    found = found.loc[roles]
    assert rows["paper"][: len(roles)] == [short(value) for value in found["reported"]]
    assert rows["here"][: len(roles)] == [short(value) for value in found["replicated"]]
    if "seeds" in rows:
        assert rows["seeds"] == [f"{seeds:g}" for seeds in found["seeds"]]
    else:
        (seeds,) = set(found["seeds"])
        assert f"{ {3: 'three', 5: 'five'}[int(seeds)]} seeds" in PAGE.split(f"\n### {heading}")[1].split("|---")[0]


def test_differences_to_s_are_those_of_the_same_seeds() -> None:
    ours = matched(paper_records(), chosen_epochs())["Caser", "fixed50"]
    roles = ["RD-hybrid", "RD-hybrid-normalised", "RD-position", "RD-reciprocal", "RD-equal", "RD-discrepancy"]
    apart = [f"{ours.compare(role, 'S').difference:+.4f}".replace("0.", ".", 1) for role in roles]
    assert shown("RD with Caser")["minus S of the same seeds"] == ["", "", *apart]


def test_the_whole_trainings_are_those_of_the_released_code() -> None:
    rows = shown("Whole trainings with the released code")
    names = {"T": "T", "S": "S", "RD-position": "position weights", "RD-hybrid": "hybrid"}
    for run in json.loads((ROOT / "data" / "replicated" / "released.json").read_text(encoding="utf-8")):
        assert rows[f"{names[run['role']]}, released code"] == [short(entry["MAP"]) for entry in run["metrics"]], run["role"]


def test_differences_of_fossil_are_those_of_the_scorecard() -> None:
    card = pd.read_csv(ROOT / "figures" / "tables" / "scorecard.csv").set_index("claim")
    rows = shown("RD with Fossil")
    for place, words in ((3, "RD ranks better than the student alone"), (4, "RD ranks no worse than the teacher")):
        claim = card.loc[f"{words}: MAP (Fossil, Gowalla, validation)"]
        assert rows["here"][place] == f"{claim['ours']:+.4f}".replace("0.", ".", 1)


def test_times_of_the_lists_are_those_of_table_3() -> None:
    lists = "dataset == 'gowalla' and role == 'RD' and device == 'cpu' and quantity == 'lists_seconds'"
    table = pd.read_csv(ROOT / "figures" / "tables" / "rd_table3.csv").query(lists).set_index("model")
    ours, papers = table["ratio_replicated"], table["ratio_reported"]
    said = " ".join(PAGE.split("### Time of the lists")[1].split("###")[0].split())
    assert f"{short(ours['Caser'], 2)} for Caser and {short(ours['Fossil'], 2)} for Fossil; the paper has" in said
    assert f"the paper has {short(papers['Caser'], 2)} and {short(papers['Fossil'], 2)}" in said


CASERS_OTHER_TEACHERS = {  # weightings of seeds 1 and 2, and controls of seed 1
    *((role, seed) for role in ("RD-equal", "RD-reciprocal", "RD-discrepancy", "RD-hybrid-normalised") for seed in (1, 2)),
    *((f"RD-hybrid-{lists}", 1) for lists in ("random", "popular", "student")),
}


def test_the_runs_that_a_lost_teacher_taught_are_named() -> None:
    """By the hashes of weights in the records of Caser."""
    committed = [Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    records = {record.key: record for record in committed}
    told, other = 0, set()
    for record in records.values():
        d = record.description
        taught = record.environment.get("teacher_weights")
        if d["dataset"] == "gowalla" and d["stage"] == "F" and d["model"]["type"] == "CaserSettings" and taught:
            told += 1
            if taught != records[d["teacher"]].environment["weights"][f"{d['teacher_epoch']:03d}"]:
                other.add((d["role"], d["seed"]))
    assert told > 30
    assert other == CASERS_OTHER_TEACHERS, "DEVIATIONS.md, Devices, says which runs had another teacher than the one on record"


def test_differences_of_weightings_with_one_teacher_are_those_of_the_records() -> None:
    ours = matched(paper_records(), chosen_epochs())["Caser", "fixed50"]
    page = PAGE.split("### Devices")[1].split("###")[0]
    for one, other in (("hybrid", "equal"), ("hybrid", "discrepancy"), ("position", "equal"), ("discrepancy", "equal")):
        by_seed = ours.compare(f"RD-{one}", f"RD-{other}").seed_differences
        cells = [f"{sum(part) / len(part):+.4f}".replace("0.", ".", 1) for part in (by_seed[2:], by_seed)]
        assert f"| {one} - {other} | {cells[0]} | {cells[1]} |" in page
