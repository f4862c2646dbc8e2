"""The claims of DE-RRD (Kang et al., CIKM 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdcore.store.runs import Record
from studies.common import verdicts
from studies.common.claims import Claim
from studies.common.gap import gap_recovered
from studies.common.plan import strength
from studies.common.reported import reported
from studies.derrd import tables

DE_RRD = "DE-RRD, CIKM 2020"
NOTEBOOK = "07_de_rrd"
PAIRS = [
    *((a, "S") for a in ("DE", "RRD", "DE-RRD")),
    *((a, b) for a in ("RRD", "DE") for b in ("RD", "CD")),
    *(("DE-RRD", b) for b in ("RD", "CD", "DE", "RRD")),
]
# Of another competitor than the paper's, no number says anything for or against the claim.
OTHER_CD = ("CD here draws inside the student's first 500, and its base loss is BPR's, which is not CD as published: ours says "
            "nothing of the paper's claim")  # fmt: skip


def claims(records: Sequence[Record]) -> list[Claim]:
    """Every claim, run or not. records: the rows of Table 2, BPR on CiteULike."""
    listed = [_better(records, a, b) for a, b in PAIRS]
    listed.append(_of_the_teacher(records, "0.1", 20))
    listed += [_of_the_teacher([], phi, dim) for phi, dim in (("0.5", 100), ("1.0", 200))]
    names = {
        "Each part of DE and of RRD is needed (Table 4; here on CiteULike)": "",
        "DE-RRD needs both weights at their right size (Table 5; here on CiteULike)": "",
        "DE-RRD's claims with NeuMF on CiteULike (Tables 2 and 3)": "",
        "The gains hold over sizes of the student, numbers of experts and weights (Figures 4 to 7)":
            "no numbers can be read from the figures",
    }
    listed += [Claim(claim=claim, source=DE_RRD, note=note, notebook=NOTEBOOK) for claim, note in names.items()]
    listed.append(Claim(claim="Smaller DE-RRD students have fewer parameters and take less time (Table 3)", source=DE_RRD,
                        verdict=verdicts.NOT_ASSESSABLE, notebook=NOTEBOOK,
                        note="parameters: an identity; time: the sources do not say what was timed"))  # fmt: skip
    unpublished = "neither the data nor the way they were prepared could be found"
    listed.append(Claim(claim="DE-RRD's claims on Foursquare (Tables 2 to 5)", source=DE_RRD, note=unpublished,
                        verdict=verdicts.NOT_ASSESSABLE))  # fmt: skip
    return listed


def claimed(a: str, b: str) -> str:
    """The claim that one method ranks better than another, in words."""
    return f"{a} ranks better than {'the student alone' if b == 'S' else b}: H@5 (BPR, CiteULike)"


def _better(records: Sequence[Record], a: str, b: str) -> Claim:
    """By H@5 of the test items among 499 others, at the epoch that validation chose."""
    comparison = tables.compared(records, a, b, "H@5")
    other = b == "CD" and comparison is not None
    note = OTHER_CD if other else _strength(records) if b == "RD" and comparison is not None else ""
    return Claim(
        claim=claimed(a, b), source=DE_RRD, family="DE-RRD", notebook=NOTEBOOK,
        reported=round(_paper(a) - _paper(b), 4), comparison=comparison, note=note,
        **({"verdict": verdicts.NOT_ASSESSABLE, "needs": float("nan")} if other else {}),
    )  # fmt: skip


def _strength(records: Sequence[Record]) -> str:
    """How strongly RD was taught at last, in words: with hybrid weights it is less than at first."""
    runs = [record for record in records if record.description["role"] == "RD"]
    taught = [strength(record) for record in runs if "distillation_loss" in record.history]
    if not taught:
        return ""
    return (f"at the chosen epoch RD's distillation loss was {np.mean(taught):.2g} of the base loss: its hybrid weights have "
            "faded by then")  # fmt: skip


def _paper(role: str) -> float:
    rows = reported("derrd_table2").query("dataset == 'citeulike' and model == 'BPR' and metric == 'H@5' and role == @role")
    return float(rows["value"].iloc[0])


def _of_the_teacher(records: Sequence[Record], phi: str, dim: int) -> Claim:
    """Table 3: H@5 of the DE-RRD student over the teacher's. It has no difference, so the verdict is whether the interval of
    the ratio reaches the printed one."""
    rows = reported("derrd_table3")
    rows = rows[(rows["dataset"] == "citeulike") & (rows["model"] == "BPR") & (rows["quantity"] == "H@5_ratio")]
    paper = float(rows.loc[rows["phi"] == float(phi), "value"].iloc[0])
    claim = f"A DE-RRD student of {dim} dimensions has at least {paper:.0%} of its teacher's H@5 (Table 3; BPR, CiteULike)"
    by_role = {role: {r.description["seed"]: r for r in records if r.description["role"] == role} for role in ("T", "DE-RRD")}
    seeds = sorted(set(by_role["T"]) & set(by_role["DE-RRD"]))
    if not seeds:
        return Claim(claim=claim, source=DE_RRD, reported=paper, notebook=NOTEBOOK)
    teacher, student = (np.stack([tables.per_user(by_role[role][seed], "H@5") for seed in seeds]) for role in ("T", "DE-RRD"))
    ratio = gap_recovered(teacher, 0 * teacher, student)
    word = verdicts.CONTRADICTED if ratio.high < paper else verdicts.CONFIRMED if ratio.low >= paper else verdicts.INCONCLUSIVE
    return Claim(claim=claim, source=DE_RRD, reported=paper, verdict=verdicts.with_seeds(word, len(seeds)), ours=ratio.share,
                 low=ratio.low, high=ratio.high, seeds=len(seeds), notebook=NOTEBOOK,
                 note="the interval of our ratio is held against the printed one; our own teacher has "
                 f"{np.nanmean(teacher) / _paper('T'):.1%} of the paper's H@5; DE-RRD over S is another row")  # fmt: skip
