"""DEVIATIONS.md: its tables of numbers of ours have what the committed tables have."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from rdcore.files import paths
from rdcore.store.records import Record
from rdcore.store.runs import committed, is_committed
from studies.common.matched import matched
from studies.common.plan import strength, those_committed
from studies.common.profiles import PROFILES
from studies.common.selection import chosen_epochs
from studies.derrd import plan as derrd
from studies.flexibility import results, tables
from studies.flexibility.matrices import GOWALLA
from studies.rd.plan import trials
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


def test_fossils_trials_are_those_of_the_records() -> None:
    said = PAGE.split("**Fossil's training.**")[1].split("**The stand-in")[0]
    tried = trials(*PROFILES["paper"].rd)["Fossil"]
    best = [committed(run).metrics["MAP"].max() for run in tried if is_committed(run)]
    assert f"{len(tried)} trials on V" in said and f"; {len(best)} are on record" in said
    assert set(re.findall(r"\.\d{4}", said)) == set(map(short, best))
    gain = max(best) / max(best[:7]) - 1
    assert f"T gains {100 * gain:.0f} % on V" in said


def signed(value: float) -> str:
    """+.0230, as the page has differences."""
    return f"{value:+.4f}".replace("0.", ".", 1)


def test_words_on_de_rrd_are_those_of_the_scorecard() -> None:
    said = PAGE.split("\n### DE-RRD on CiteULike")[1].split("\n### ")[0]
    card = pd.read_csv(ROOT / "figures" / "tables" / "scorecard.csv").set_index("claim")
    claim = {(a, b): card.loc[f"{a} ranks better than {b}: H@5 (BPR, CiteULike)"]
             for a, b in (("RRD", "RD"), ("DE-RRD", "DE"), ("DE-RRD", "RD"), ("DE", "the student alone"),
                          ("DE-RRD", "the student alone"))}  # fmt: skip
    between = {pair: f"{signed(one['ours'])}, interval {signed(one['low'])} to {signed(one['high'])}"
               for pair, one in claim.items()}  # fmt: skip
    assert f"RRD - RD {between['RRD', 'RD']}); the paper has RD {short(claim['RRD', 'RD']['reported'])} below" in said
    assert claim["RRD", "RD"]["low"] < 0 < claim["RRD", "RD"]["high"], "they do not clearly differ"
    assert f"not clearly above DE ({between['DE-RRD', 'DE']})" in said and claim["DE-RRD", "DE"]["low"] < 0
    over_rd = claim["DE-RRD", "RD"]
    assert f"over RD it gains {signed(over_rd['ours'])}; paper {signed(over_rd['reported'])}" in said
    both = pd.DataFrame([claim[role, "the student alone"] for role in ("DE", "DE-RRD")])
    ours, paper = (" and ".join(map(signed, both[column])) for column in ("ours", "reported"))
    assert f"{ours}; paper {paper}" in said and (both["ours"] < both["reported"]).all(), "they gain less"


def test_words_on_the_baselines_are_those_of_the_tables() -> None:
    said = " ".join(PAGE.split("\n### Baselines of RD's Table 2")[1].split("\n### ")[0].split())
    rows = pd.read_csv(ROOT / "figures" / "tables" / "rd_table2.csv").query("dataset == 'gowalla' and metric == 'MAP'")
    bpr = rows[rows["model"] == "BPR"].iloc[0]
    assert f"MAP of {short(bpr['replicated'])} here (one seed), {short(bpr['reported'])} in the paper" in said
    assert bpr["seeds"] == 1
    card = pd.read_csv(ROOT / "figures" / "tables" / "scorecard.csv").set_index("claim")
    caser, fossil = (card.loc[f"RD ranks better than BPR: MAP ({where})"] for where in ("Caser, Gowalla, fixed50",
                                                                                       "Fossil, Gowalla, validation"))
    assert f"(RD - BPR-MF {signed(caser['ours'])}; paper {signed(caser['reported'])})" in said
    assert caser["low"] < 0 < caser["high"] and fossil["high"] < 0, "as good as, and better than"
    found = results.on_record(GOWALLA)
    quality = tables.quality_alone(found.matrix, found.final, found.teaching, found.tried).set_index(["role", "model"])
    validated, quality = quality.loc["teacher", tables.VALIDATION], quality.loc["teacher", "MAP"]
    assert f"EASE ({short(quality['EASE'])}) and LightGCN ({short(quality['LightGCN'])}) are ahead" in said
    assert quality[["EASE", "LightGCN"]].min() > quality["Caser"]
    assert f"on validation items (one seed) Caser is ({short(validated['Caser'])})" in said and validated.idxmax() == "Caser"


def test_the_strengths_of_the_rows_on_citeulike_are_those_of_the_records() -> None:
    rows = [record for record in derrd.committed_rows() if record.description["role"] not in ("T", "S")]
    by_role = pd.Series(map(strength, rows)).groupby([record.description["role"] for record in rows]).mean()
    said = ", ".join(f"{role} {float(f'{by_role[role]:.2g}'):g}" for role in ("RD", "DE", "RRD", "DE-RRD", "CD"))
    assert f"at the chosen epoch, is {said.replace(' 0.', ' .')} |" in PAGE
    trials = those_committed(PROFILES["paper"].derrd[0].trials()["RD"])
    assert len(trials) == 4 and max(map(strength, trials.values())) < 0.01


def test_the_comparison_with_the_logs_is_that_of_the_records() -> None:
    said = PAGE.split("**Compared with the authors' logs.**")[1].split("**On a GPU**")[0]
    logs = numbers("derrd_logs", "metric == 'H@5' and role in ['S', 'DE', 'RRD']").loc[["S", "DE", "RRD"]]
    for name, cells in (("here, mean", map(short, logs["replicated"])), ("seeds", map("{:.0f}".format, logs["seeds"])),
                        ("log", map(short, logs["reported"]))):  # fmt: skip
        assert f"| {name} | {' | '.join(cells)} |" in said
    runs = [record for record in derrd.committed_rows() if record.description["role"] == "DE"]
    epochs, hits = ([one(record) for record in runs] for one in (lambda r: r.last_epoch, lambda r: r.chosen["H@5"]))
    stopped = f"stopped after {min(epochs)} to {max(epochs)} epochs and have {short(min(hits))} to {short(max(hits))}"
    assert stopped in " ".join(said.split())


def test_devices_of_the_rows_on_citeulike_are_named() -> None:
    """Of seeds 1 to 3 as the table of devices has them; later seeds that a CPU trained have to be in it."""
    line = next(line for line in PAGE.split("### Devices")[1].splitlines() if line.startswith("| CiteULike: seed 1 of RD"))
    where = {(r.description["role"], r.description["seed"]): r.environment["device"] for r in derrd.committed_rows()}
    on_cpu = {run for run, device in where.items() if device == "cpu"}
    assert {run for run in on_cpu if run[1] <= 3} == {("RD", 1), ("CD", 1), ("S", 1), *(("RRD", seed) for seed in (1, 2, 3))}
    assert "seeds 4 and 5" in line or max(seed for _, seed in on_cpu) <= 3, "the table of devices must name seeds 4 and 5"


def test_numbers_of_the_later_methods_are_those_of_their_table() -> None:
    """All are at the chosen or last epoch; distances to the log are tested with docs/results.md (test_followups)."""
    table = pd.read_csv(ROOT / "figures" / "tables" / "followups.csv")

    def of(study: str, metric: str, size: int) -> dict[str, str]:
        own = table.query("study == @study and metric == @metric and student_dim == @size and epoch == 'chosen'")
        return {name: short(value) for name, value in zip(own["method"], own["mean"], strict=True)}

    rows = {name: cells[0] for name, cells in shown("The later methods").items()}
    unkd, at_10, at_20 = of("unkd", "Recall@10", 10), of("rcekd", "R@10", 20), of("rcekd", "R@20", 20)
    said = ("UnKD", "S", "CD", "RRD", "HTD")
    assert rows["UnKD"] == "Recall@10 {}, S {}, but CD {}, RRD {} and HTD {}".format(*(unkd[name] for name in said))
    assert at_10["KD-CE"] == at_10["HetComp"] and max(at_20.values()) == at_20["RCE-KD"]
    told = f"R@10 {at_10['RCE-KD']}; KD-CE and HetComp have {at_10['KD-CE']}; in R@20 it is first ({at_20['RCE-KD']})"
    assert rows["RCE-KD"] == told
    small, large = of("bd", "R@10", 5), of("bd", "R@10", 50)
    assert f"({small['BD']}) is not above S ({small['S']})" in rows["BD"]
    assert f"({large['BD (T)']}) is above T ({large['T']})" in rows["BD"]
    log = pd.read_csv(ROOT / "data" / "reported" / "td_logs.csv").query("epoch == 100").set_index(["role", "dim"])["value"]
    here = table.query("study == 'td' and metric == 'R@50' and epoch == '100'").set_index(["method", "student_dim"])["mean"]
    off = (here[log.index] / log - 1).to_numpy()
    assert f"in {(off < 0).sum()} of {len(off)} numbers, by up to {-100 * off.min():.1f} %" in rows["FTD, HTD"]
    ftd = here["FTD"] / log["FTD"] - 1
    assert f"and FTD's at every size by {-100 * ftd.max():.1f} % or more" in rows["FTD, HTD"]
    gain = {(name, d): [own[name, d] - own["S", d] for own in (here, log)] for name in ("FTD", "HTD") for d in (100, 200)}
    assert [place for place, (own, theirs) in gain.items() if own > theirs / 2] == [("HTD", 100)]
    assert "({}; log {})".format(*map(short, gain["HTD", 100])) in rows["FTD, HTD"]


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
OTHER_TEACHERS = {  # any teacher to any student, all methods and seeds: the student's model -> teachers
    "BPRMFSettings": {"Caser", "SASRec"}, "CaserSettings": {"Caser", "SASRec", "LightGCN"},
    "SASRecSettings": {"Caser", "SASRec", "LightGCN"},
}  # fmt: skip


def test_the_runs_that_a_lost_teacher_taught_are_named() -> None:
    """By the hashes of weights in the records."""
    committed = [Record(file.parent) for file in paths.replicated().glob("*/description.json")]
    records = {record.key: record for record in committed}
    told, other, expected = 0, set(), {("CaserSettings", *run) for run in CASERS_OTHER_TEACHERS}
    for model, teachers in OTHER_TEACHERS.items():
        expected |= {(model, f"{method}-{name}", seed) for method in GOWALLA.methods for name in teachers for seed in (1, 2, 3)}
    for record in records.values():
        d = record.description
        taught = record.environment.get("teacher_weights")
        if d["dataset"] == "gowalla" and d["stage"] == "F" and taught:
            told += 1
            kept = records[d["teacher"]].environment.get("weights")  # None: a record of before, of a computed teacher
            if kept and taught != kept[f"{d['teacher_epoch']:03d}"]:
                other.add((d["model"]["type"], d["role"], d["seed"]))
    assert told > 130
    assert other == expected, "DEVIATIONS.md, Devices, says which runs had another teacher than the one on record"


def test_differences_of_weightings_with_one_teacher_are_those_of_the_records() -> None:
    ours = matched(paper_records(), chosen_epochs())["Caser", "fixed50"]
    page = PAGE.split("### Devices")[1].split("###")[0]
    for one, other in (("hybrid", "equal"), ("hybrid", "discrepancy"), ("position", "equal"), ("discrepancy", "equal")):
        by_seed = ours.compare(f"RD-{one}", f"RD-{other}").seed_differences
        cells = [f"{sum(part) / len(part):+.4f}".replace("0.", ".", 1) for part in (by_seed[2:], by_seed)]
        assert f"| {one} - {other} | {cells[0]} | {cells[1]} |" in page
