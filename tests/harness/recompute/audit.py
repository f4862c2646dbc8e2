"""Notebook 13: what of its numbers rests on records, what follows from a formula, and what is counted in CiteULike's file of
libraries where that has been fetched. Models that are computed from data files are not computed again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from . import records
from .derrd import every
from .rd import WEIGHTINGS, rows
from .tables import Near, table

OF_FILES = ("CiteULike by item id", "Gowalla", "Counts as items", "The future", "Splits of CiteULike")


@table("protocol_audit", "point", "quantity", rest={"point": OF_FILES})
def protocol_audit(name: str) -> Iterator[dict]:
    file = records.ROOT / "data" / "raw" / "citeulike" / "users.dat"
    ends = of_records() | of_unkd() | (of_libraries(file.read_text()) if file.exists() else {})
    for (point, quantity), value in ends.items():
        yield {"point": point, "quantity": quantity, "value": value}


def of_unkd() -> dict[tuple[str, str], Near]:
    """Two different places, drawn independently, are in the wrong order in half of the pairs. The table drew 100,000 pairs with
    weights exp(-place / 20), of which those of two different places count: 1 minus the sum of the squared shares."""
    weights = np.exp(-np.arange(1, 1001) / 20)
    different = 1 - ((weights / weights.sum()) ** 2).sum()
    return {("Pairs of UnKD", "share of pairs with equal members"): Near(0.5, 5 * 0.5 / math.sqrt(100_000 * different))}


def cut(items: list[str]) -> tuple[list[str], list[str]]:
    """The training and the test items of a line: the first eight tenths, and what is behind nine."""
    return items[: max(len(items) * 8 // 10, 1)], items[len(items) * 9 // 10 :]


def findable(lists: list[list[str]]) -> tuple[float, float]:
    """The share of test items that nobody has in training, and the recall of a list of all others."""
    known = {item for items in lists for item in cut(items)[0]}
    found = [[item in known for item in cut(items)[1]] for items in lists]
    return 1 - sum(map(sum, found)) / sum(map(len, found)), float(np.mean([np.mean(row) for row in found]))


def recall_of_popularity(lists: list[list[str]]) -> float:
    """R@10: a test item is found if at most nine other items that the user does not have in training are as frequent there."""
    counts = Counter(item for items in lists for item in cut(items)[0])
    every_item = {item for items in lists for item in items}
    order = np.sort([counts[item] for item in every_item])
    found = []
    for items in lists:
        trained, test = cut(items)
        own, of_test = np.array([counts[item] for item in trained]), [counts[item] for item in test]
        ranks = [len(order) - np.searchsorted(order, count) - (own >= count).sum() for count in of_test]
        found.append(np.mean([rank <= 10 for rank in ranks]))
    return float(np.mean(found))


def of_libraries(text: str) -> dict[tuple[str, str], object]:
    """Of users.dat, a line for each user: a count, and so many items."""
    lines = [line.split() for line in text.splitlines()]
    lists = [items for _, *items in lines if len(items) >= 5]
    frequent = lists
    while True:
        counts = Counter(item for items in frequent for item in items)
        kept = [[item for item in items if counts[item] >= 5] for items in frequent]
        kept = [items for items in kept if len(items) >= 5]
        if kept == frequent:
            break
        frequent = kept
    rng = np.random.default_rng(12)
    share, ceiling = findable(lists)
    random = findable([rng.permutation(items).tolist() for items in lists])[0]
    n = sum(len(cut(items)[1]) for items in lists)
    point, new = "CiteULike by item id", "share of test pairs whose item is not in training"
    return {
        (point, new): share, (point, "highest possible recall"): ceiling,
        (point, f"{new}, rare items removed"): findable(frequent)[0],
        (point, f"{new}, random split"): Near(random, 5 * math.sqrt(2 * random * (1 - random) / n)),
        (point, "popularity, R@10, by item id"): recall_of_popularity(lists),
        ("Counts as items", "pairs in the file as read by BD"): sum(map(len, lines)),
        ("Counts as items", "of these, counts"): len(lines),
    }  # fmt: skip


def of_records() -> dict[tuple[str, str], float]:
    """Hits among 499 items and among all, both kinds of nDCG, and what the choice of an epoch gives."""
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
    return ends
