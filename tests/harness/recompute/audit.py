"""Notebook 13: what of its numbers rests on records. The other ones are counted in public files, which are not committed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .derrd import every
from .rd import WEIGHTINGS, rows
from .tables import table

OF_FILES = ("CiteULike by item id", "Gowalla", "Counts as items", "Pairs of UnKD", "The future")


@table("protocol_audit", "point", "quantity", rest={"point": OF_FILES})
def protocol_audit(name: str) -> Iterator[dict]:
    found = {role: group for (_, role), group in every().items() if role != "baseline"}
    common = set.intersection(*({run.seed for run in group} for group in found.values()))
    ratios = []
    for group in found.values():  # hits among 499 and among all, from the users' ranks
        both = [np.mean([np.nanmean(run.chosen_users("H@10", ranked)) for run in group if run.seed in common])
                for ranked in ("", "-full")]  # fmt: skip
        ratios.append(float(both[0] / both[1]))
    ends = {("Sampled ranking", "smallest ratio of H@10 among 499 and among all, CiteULike"): min(ratios),
            ("Sampled ranking", "largest ratio"): max(ratios)}  # fmt: skip
    ratios = []
    for model in ("Caser", "Fossil", "POP", "ItemCF", "BPR"):
        for role in ("T", "S", "baseline", *WEIGHTINGS):
            of = rows(model, role, "fixed50").values()
            means = [np.mean([run.at(epoch)[metric] for run, epoch in of]) for metric in ("nDCG@10-standard", "nDCG@10") if of]
            ratios += [float(means[0] / means[1])] if means else []
    ends |= {("nDCG of rank_distill", f"{which} usual over released nDCG@10, Gowalla, 50 epochs"): end
             for which, end in (("smallest", min(ratios)), ("largest", max(ratios)))}  # fmt: skip
    gains = []
    for group in found.values():
        by_validation, by_test = [], []
        for run in group:
            curve = run.read("metrics")
            by_validation.append(curve[int(np.argmax([entry["H@5-validation"] for entry in curve]))]["H@5"])
            by_test.append(max(entry["H@5"] for entry in curve))
        gains.append(sum(by_test) / sum(by_validation) - 1)
    ends |= {("Chosen by the test", f"{which} gain in H@5 by the choice of the epoch alone"): end
             for which, end in (("smallest", min(gains)), ("largest", max(gains)))}  # fmt: skip
    for (point, quantity), value in ends.items():
        yield {"point": point, "quantity": quantity, "value": value}
