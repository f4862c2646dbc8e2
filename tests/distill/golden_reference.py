"""The losses of all methods in slow numpy, independent of rdcore, and the file data/golden/losses.json that they make.

    python tests/distill/golden_reference.py        # writes the file

Each function takes the entry's inputs by name and returns a number. What the entry's ``gradient`` names is differentiated by
central differences in float64.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).resolve().parents[2] / "data" / "golden" / "losses.json"


def softmax(x):
    e = np.exp(np.asarray(x, float) - np.max(x))
    return e / e.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def cosine(a, b):
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


def rd(logits, weights=None, rank=None, scheme="", lam=1.0, mu=0.1, normalise=False):
    """``weights``, or those of a scheme: the teacher's places and the student's ``rank`` of its items, both from 0."""
    if weights is None:
        place = np.exp(-(1 + np.arange(len(logits))) / lam)
        gap = np.tanh([max(mu * (r - k), 0.0) for k, r in enumerate(rank or [])])
        weights = {"position": lambda: place, "discrepancy": lambda: gap, "hybrid": lambda: place / place.sum() * gap}[scheme]()
        weights = weights / weights.sum() if normalise else weights
    return -sum(w * np.log(sigmoid(s)) for w, s in zip(weights, logits, strict=True))


def relaxed(interesting, uninteresting, twice=0.0):
    """RRD, IR-RRD and DCD. ``twice``: the paper's formula as printed counts the last interesting one a second time."""
    total = 0.0
    for k, s in enumerate(interesting):
        left = sum(np.exp(a) for a in interesting[k:]) + sum(np.exp(b) for b in uninteresting)
        total += np.log(left + twice * np.exp(interesting[-1])) - s
    return total


def de(teacher, outputs, alpha, noise, temperature, root=False):
    """Per entity: outputs (M, d_t) of the experts, alpha (M,), Gumbel noise (M,)."""
    total = 0.0
    for t, out, a, g in zip(teacher, outputs, alpha, noise, strict=True):
        share = softmax((np.log(np.asarray(a) + 1e-10) + g) / temperature)
        distance = sum((t[c] - sum(share[m] * out[m][c] for m in range(len(share)))) ** 2 for c in range(len(t)))
        total += np.sqrt(distance) if root else distance
    return total


def cd(logits, teacher, temperature, shift):
    labels = sigmoid((np.asarray(teacher) + shift) / temperature)
    return -sum(q * np.log(sigmoid(s)) + (1 - q) * np.log(1 - sigmoid(s)) for q, s in zip(labels, logits, strict=True))


def positives(logits):
    return -sum(np.log(sigmoid(s)) for s in logits)


def list_mle(logits, k):
    return sum(np.log(sum(np.exp(a) for a in logits[i:])) - logits[i] for i in range(k))


def rankdistil(form, positive, negative, factor, teacher=None):
    """``teacher``: scores that psi matches; without them psi is the order."""
    if form == "C":
        return list_mle([*positive, *negative], len(positive))
    if teacher is None:
        psi = list_mle([*positive, 0.0] if form == "B" else positive, len(positive))
    else:
        psi = sum((a - b) ** 2 for a, b in zip(positive, teacher, strict=True))
    if form == "B":
        return psi + factor * sum(np.log1p(np.exp(n)) for n in negative)
    return psi + factor * sum(np.log1p(np.exp(n - p)) for p in positive for n in negative)


def cross_entropy(teacher, logits, items, temperature):
    t, s = (softmax([each[i] / temperature for i in items]) for each in (teacher, logits))
    return -sum(a * np.log(b) for a, b in zip(t, s, strict=True))


def best(scores, n):
    return sorted(range(len(scores)), key=lambda i: -scores[i])[:n]


def kd_ce(teacher, logits, temperature, K=None):
    items = range(len(teacher)) if K is None else best(teacher, K)
    return cross_entropy(teacher, logits, items, temperature)


def rce_kd(teacher, logits, own, drawn, K, beta, temperature):
    """``own``: the student's first K items; ``drawn``: those drawn from its ranking."""
    top = best(teacher, K)
    both = [*drawn, *(i for i in top if i not in drawn and i not in own)]
    g = np.exp(-beta * sum(i in drawn for i in top) / K)
    parts = [cross_entropy(teacher, logits, items, temperature) for items in (own, both)]
    return (1 - g) * parts[0] + g * parts[1]


cos = cosine  # where an input has that name


def ftd(teacher, student):
    n = range(len(teacher))
    return sum((cosine(teacher[i], teacher[j]) - cosine(student[i], student[j])) ** 2 for i in n for j in n)


def htd(teacher, student, group, level, own_members, positive_only, prototypes=None):
    """``prototypes``: the student's of every group in ascending order, where no gradient goes through them."""
    E, n = 0.0, range(len(group))
    for i in n:
        for j in n:
            told = cosine(teacher[i], teacher[j])
            if group[i] == group[j] and (told > 0 or not positive_only):
                E += (told - cosine(student[i], student[j])) ** 2
    names = sorted(set(group))
    P_t, P_s = ([np.mean([each[i] for i in n if group[i] == k], 0) for k in names] for each in (teacher, student))
    P_s = P_s if prototypes is None else prototypes
    G = 0.0
    for place, k in enumerate(names):
        if level == "prototypes":
            G += sum((cosine(P_t[place], P_t[o]) - cosine(P_s[place], P_s[o])) ** 2 for o in range(len(names)))
        else:
            others = [j for j in n if own_members or group[j] != k]
            G += sum((cosine(P_t[place], teacher[j]) - cosine(P_s[place], student[j])) ** 2 for j in others)
    return E + G


def unkd(better, worse, over_pairs):
    costs = [np.log1p(np.exp(w - b)) for b, w in zip(better, worse, strict=True)]
    return sum(costs) if over_pairs == "sum" else sum(costs) / len(costs)


def pckd(form, after, before, tau=None):
    """Scores of one user's items behind the experts, and the student's own, which are constants."""
    if form == "both":
        return pckd("pair", after, before) + pckd("list", after, before, tau)
    if form == "pair":
        return np.log1p(np.exp(-(after[0] - after[1]) * (before[0] - before[1])))
    return cross_entropy(before, after, range(len(after)), tau)


def freqd(filter, teacher, projected, cosine):
    """``filter``: H, dense; the student's vectors are projected already."""
    T, S = np.asarray(filter) @ np.asarray(teacher), np.asarray(filter) @ np.asarray(projected)
    return sum(1 - cos(t, s) if cosine else float((t - s) @ (t - s)) for t, s in zip(T, S, strict=True))


def hetcomp(phase, logits, positives, top, unobserved):
    """Sums of exponentials of all unobserved items, minus those of the list."""
    e = np.exp(np.asarray(logits, float))
    everything = e[unobserved].sum()
    if phase == "early":
        E = everything - e[top].sum()
        return sum(np.log(e[i] + E) - logits[i] for i in [*positives, *top])

    def R(listed, rest):
        return sum(np.log(e[listed[k:]].sum() + rest) - logits[listed[k]] for k in range(len(listed)))

    half, tenth = top[: len(top) // 2], top[: len(top) // 10]
    rest_2, rest_10 = everything - e[half].sum(), everything - e[tenth].sum()
    return R(positives, rest_2) + (R(half, rest_2) + R(tenth, rest_10)) / 2


def features(teacher, projected, centred=False, unit=False):
    """Fit and VkD."""
    T, S = np.asarray(teacher, float), np.asarray(projected, float)
    T = T - T.mean(0) if centred else T
    if unit:
        T, S = (each / np.sqrt((each**2).sum(1, keepdims=True)) for each in (T, S))
    return sum(float((t - s) @ (t - s)) for t, s in zip(T, S, strict=True))


def listed_weights(distance, agrees, shares):
    """``shares`` of the place, of the confidence and of the agreement."""
    p = np.exp(-np.arange(len(distance), dtype=float))
    f = np.exp(-np.asarray(distance, float)) + 1e-8
    w = shares[0] * p / p.sum() + shares[1] * f / f.sum() + shares[2] * (np.asarray(agrees, float) + 1e-8)
    return w / w.sum()


def dllm2rec(logits, negative, distance, agrees, shares, form):
    w = listed_weights(distance, agrees, shares)
    below = sigmoid(1 - negative) if form == "released" else 1 - sigmoid(negative)
    return -sum(each * (np.log(sigmoid(s)) + np.log(below)) for each, s in zip(w, logits, strict=True))


def dllm2rec_weights(distance, agrees, shares):
    return summary(listed_weights(distance, agrees, shares))


def bd(positive, logits, other, temperature, weight):
    """Both models' losses are this one, with the roles exchanged."""
    label, p = sigmoid(np.asarray(other, float) / temperature), sigmoid(logits)
    follow = -label * np.log(p) - (1 - label) * np.log(1 - p)
    return float(np.sum(np.log1p(np.exp(np.asarray(logits, float) - positive)) + weight * follow))


def summary(weights):
    """The mean of a weight times 1, 2, 3, ...: one number for a whole row of weights."""
    return float(np.dot(weights, 1 + np.arange(len(weights))) / len(weights))


def cd_weights(sampling, places, gamma=None):
    """Of the places of a ranking, over their sum."""
    part = np.arange(places) / places
    law = {"linear": 1 - part, "uniform": np.ones(places), "tournament": 1 - part - 0.5 / places}
    w = np.exp(-gamma * part) if sampling == "exponential" else law[sampling]
    return summary(w / w.sum())


def rce_kd_weights(ranking, top, T, draw):
    """Of the places of the student's ranking, beside the teacher's list."""
    behind = [sum(item in top for item in ranking[place:]) for place in range(len(ranking))]
    return summary([np.exp((min(c, 50) + 1) / T if draw == "teacher" else -(r + 1) / T) for r, c in enumerate(behind)])


def dcd_weights(student, sharpness, which):
    """``student``: its scores of the teacher's list, in the teacher's order."""
    wrong = np.argsort(np.argsort(-np.asarray(student, float))) - np.arange(len(student))
    return summary(np.tanh(sharpness * np.maximum(wrong if which == "under" else -wrong, 0)))


def agreement(ranking, wanted):
    """HetComp's NDCG: a hit earns by the student's place."""
    gain = [(2 ** np.exp(-q / 10) - 1) / np.log2(q + 2) for q in range(len(ranking))]
    return sum(g for g, item in zip(gain, ranking, strict=True) if item in wanted) / sum(gain)


def bd_weights(student, teacher, sharpness, mildness, direction, which):
    rank = [1 + np.argsort(np.argsort(-np.asarray(each, float))) for each in (student, teacher)]
    d = (rank[0] - rank[1]) * (1 if direction == "paper" else -1)
    w = np.tanh(np.maximum(sharpness * d, 0)) if which == "student" else np.exp(-mildness * d)
    return summary(w)


FUNCTIONS = {
    "RD": rd, "RRD": relaxed, "IR-RRD": relaxed, "DCD": relaxed, "DE": de, "CD": cd, "CD-positives": positives,
    "RankDistil": rankdistil, "KD-CE": kd_ce, "RCE-KD": rce_kd, "FTD": ftd, "HTD": htd, "UnKD": unkd,
    "PCKD": pckd, "FreqD": freqd, "HetComp": hetcomp, "Fit": features, "VkD": features,
    "DLLM2Rec": dllm2rec, "BD": bd, "BD-weights": bd_weights, "CD-weights": cd_weights, "RCE-KD-weights": rce_kd_weights,
    "DCD-weights": dcd_weights, "DLLM2Rec-weights": dllm2rec_weights, "HetComp-agreement": agreement,
}  # fmt: skip


def gradient(function, inputs: dict, name: str, h: float = 1e-6) -> list:
    """Central differences of the input ``name``."""
    at = np.asarray(inputs[name], float)
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        sides = []
        for sign in (1, -1):
            moved = at.copy()
            moved[place] += sign * h
            sides.append(function(**inputs | {name: moved.tolist()}))
        found[place] = (sides[0] - sides[1]) / (2 * h)
    return np.round(found, 7).tolist()


OURS = "slow reference (tests/distill/golden_reference.py)"
AUTHORS = "the authors' functions gave the same value"
PLAIN = "plain Python after the authors' code"
TRIO = {"teacher": [[1, 0], [0, 1], [1, 1]], "student": [[1, 0], [1, 1], [0, 1]]}
FOUR = {
    "teacher": [[1, 0], [1, 1], [0, 1], [-1, 1]], "student": [[1, 0], [0, 1], [1, 1], [1, -1]], "group": [0, 0, 3, 4],
    "level": "entities", "own_members": True, "positive_only": True,
}  # fmt: skip
MEANS = {"prototypes": [[0.5, 0.5], [1, 1], [1, -1]]}
EIGHT = {"teacher": [2, 1, 0.5, 0, -0.5, 1.5, -1, 0.2], "logits": [0.1, 0.9, 0.3, 1.2, -0.2, 0, 0.6, -0.4]}
DE_ROWS = {
    "teacher": [[1, 2], [0, -1]], "outputs": [[[0.5, 1.5], [2, 0]], [[1, 1], [0, -0.5]]],
    "alpha": [[0.75, 0.25], [0.4, 0.6]], "noise": [[0.3, -0.2], [-0.5, 1.0]], "temperature": 0.5,
}  # fmt: skip
PATH = {
    "filter": [[0.5, 0.125**0.5, 0], [0.125**0.5, 0.5, 0.125**0.5], [0, 0.125**0.5, 0.5]],
    "teacher": [[1, 0], [0, 1], [1, 1]], "projected": [[0.5, 0], [0, 0.5], [1, 0]],
}  # fmt: skip
THIRTEEN = {
    "logits": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2], "positives": [12],
    "top": [3, 1, 4, 0, 5, 9, 2, 6, 8, 7], "unobserved": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
}  # fmt: skip
LISTED = {
    "logits": [1, 0.2, -0.5], "negative": 0.3, "distance": [0.5, 1, 2], "agrees": [1, 0, 0], "shares": [0.3, 0.5, 0.1],
}  # fmt: skip
HAND = "worked out by hand"
RANKING = {"ranking": [3, 1, 6, 2], "top": [0, 5, 1], "T": 10}
WRONG = {"student": [0.1, 0.9, -0.2, 0.7, 0.5], "sharpness": 0.5}
RANKED = {"student": [-1, 0.2, 1.5, 0.4, 0.1], "teacher": [2, 1, 0.5, -0.3, -1], "sharpness": 0.5, "mildness": 0.1}
FIVE = {"positive": [1.5, 0.2, -0.4], "negative": [0.3, -1.0], "factor": 2.5}

LIST = {"logits": [1.5, -0.3, 0.8, -1.2]}
PLACE = {**LIST, "scheme": "position", "lam": 2.0}
GAP = {**LIST, "scheme": "discrepancy", "rank": [4, 0, 30, 12], "mu": 0.1}
HYBRID = {**GAP, "scheme": "hybrid", "lam": 2.0}

# (id, method, form, inputs, what is differentiated, published value or None, origin)
ENTRIES = [
    ("rd-position", "RD", "both", {"logits": [1.5, -0.3, 0.8], "weights": [0.6652, 0.2447, 0.0900]}, "logits", None, OURS),
    *((f"rd-{name}-{'normalised' if over_sum else 'raw'}", "RD", form, {**of, "normalise": over_sum}, "logits", None, OURS)
      for name, of, over_sum, form in (
          ("position", PLACE, True, "position weights, both"), ("position", PLACE, False, "position weights, not divided"),
          ("discrepancy", GAP, False, "discrepancy weights"), ("discrepancy", GAP, True, "discrepancy weights over their sum"),
          ("hybrid", HYBRID, False, "hybrid weights, released"), ("hybrid", HYBRID, True, "hybrid weights, paper"))),
    ("rrd-released", "RRD", "released", {"interesting": [1, 0.5], "uninteresting": [0, -1]}, "interesting", None, OURS),
    ("rrd-as-printed", "RRD", "paper", {"interesting": [1, 0.5], "uninteresting": [0, -1], "twice": 1.0}, "interesting",
     None, OURS),
    ("rrd-equal-scores", "RRD", "both", {"interesting": [0] * 40, "uninteresting": [0] * 40}, None, 163.352485,
     "ln(80! / 40!)"),
    ("de-released", "DE", "released", DE_ROWS, "outputs", None, OURS),
    ("de-paper", "DE", "paper", DE_ROWS | {"root": True}, "outputs", None, OURS),
    ("de-cold", "DE", "released", {"teacher": [[1, 2]], "outputs": [[[0.5, 1.5], [9, 9]]], "alpha": [[1, 0]], "noise": [[0, 0]],
     "temperature": 0.1}, None, 0.5, "worked out by hand"),
    ("cd", "CD", "third party", {"logits": [0.2, 0.4], "teacher": [1, -1], "temperature": 2, "shift": 0}, "logits", 1.435646,
     "worked out by hand"),
    ("cd-base-of-positives", "CD-positives", "paper", {"logits": [2, -0.5]}, "logits", 1.101005, "worked out by hand"),
    ("cd-weights-linear", "CD-weights", "paper, places from 0", {"sampling": "linear", "places": 4}, None, 0.5, HAND),
    ("cd-weights-exponential", "CD-weights", "paper", {"sampling": "exponential", "places": 4, "gamma": 2}, None, None, OURS),
    ("cd-weights-uniform", "CD-weights", "paper, CD-Base", {"sampling": "uniform", "places": 4}, None, 0.625, HAND),
    ("cd-weights-tournament", "CD-weights", "third party", {"sampling": "tournament", "places": 4}, None, 0.46875, HAND),
    ("rankdistil-c", "RankDistil", "C, exact order", {"form": "C", **FIVE}, "positive", None, OURS),
    ("rankdistil-b", "RankDistil", "B, order", {"form": "B", **FIVE}, "positive", None, OURS),
    ("rankdistil-p", "RankDistil", "P, order", {"form": "P", **FIVE}, "positive", None, OURS),
    ("rankdistil-p-scores", "RankDistil", "P, scores", {"form": "P", **FIVE, "teacher": [2, 1, 0.5]}, "positive", None, OURS),
    ("kd-ce-top", "KD-CE", "both", {**EIGHT, "temperature": 1, "K": 3}, "logits", 1.30002962, PLAIN),
    ("kd-ce-all", "KD-CE", "both", {**EIGHT, "temperature": 2}, "logits", None, OURS),
    ("rce-kd", "RCE-KD", "both", {**EIGHT, "own": [3, 1, 6], "drawn": [1, 6], "K": 3, "beta": 3, "temperature": 1}, "logits",
     1.28230602, PLAIN),
    ("rce-kd-own-list", "RCE-KD", "beta to infinity", {**EIGHT, "own": [3, 1, 6], "drawn": [1, 6], "K": 3, "beta": 1e9,
     "temperature": 1}, "logits", 1.0819808, PLAIN),
    ("rce-kd-union", "RCE-KD", "beta 0", {**EIGHT, "own": [3, 1, 6], "drawn": [1, 6], "K": 3, "beta": 0, "temperature": 1},
     "logits", 1.6265212, PLAIN),
    ("rce-kd-weights", "RCE-KD-weights", "released", {**RANKING, "draw": "teacher"}, None, 2.85010118, PLAIN),
    ("rce-kd-weights-by-rank", "RCE-KD-weights", "released, its other switch", {**RANKING, "draw": "rank"}, None, None, OURS),
    ("ftd", "FTD", "both", TRIO, "student", 2.0, AUTHORS),
    ("htd-released", "HTD", "released", FOUR | MEANS, "student", 5.499021, AUTHORS),
    ("htd-other-groups", "HTD", "paper", FOUR | MEANS | {"own_members": False, "positive_only": False}, "student", 5.405573,
     AUTHORS),
    ("htd-prototypes", "HTD", "released", FOUR | {"level": "prototypes"}, None, 2.811146, AUTHORS),
    ("htd-apart-paper", "HTD", "paper, entity level alone", {"teacher": [[1, 0], [-1, 0.5]], "student": [[1, 0], [1, 1]],
     "group": [0, 0], "level": "entities", "own_members": False, "positive_only": False}, "student", 5.129822, AUTHORS),
    ("htd-apart-released", "HTD", "released, entity level alone", {"teacher": [[1, 0], [-1, 0.5]], "student": [[1, 0], [1, 1]],
     "group": [0, 0], "level": "entities", "own_members": False, "positive_only": True}, "student", 0.0, AUTHORS),
    ("ir-rrd-item", "IR-RRD", "both", {"interesting": [1, 0.5], "uninteresting": [0, -1]}, "interesting", 1.350698,
     "worked out by hand"),
    ("ir-rrd-equal-scores", "IR-RRD", "both", {"interesting": [0] * 20, "uninteresting": [0] * 20}, None, 67.985023,
     "ln(40! / 20!)"),
    ("unkd-mean", "UnKD", "released, without the void pairs", {"better": [0.5, -1], "worse": [0, 0], "over_pairs": "mean"},
     "better", 0.893669, "worked out by hand"),
    ("unkd-void-pair", "UnKD", "as released, one pair void", {"better": [0.5, 0], "worse": [0, 0], "over_pairs": "mean"}, None,
     0.583612, "worked out by hand"),
    ("unkd-sum", "UnKD", "paper", {"better": [0.5, -1], "worse": [0, 0], "over_pairs": "sum"}, "better", None, OURS),
    ("dcd", "DCD", "released", {"interesting": [0.1, -0.2], "uninteresting": [0.9, 0.7]}, "interesting", 3.622082,
     "worked out by hand"),
    ("dcd-other-order", "DCD", "released", {"interesting": [-0.2, 0.1], "uninteresting": [0.9, 0.7]}, "interesting", 3.674794,
     "worked out by hand"),
    ("dcd-one", "DCD", "released", {"interesting": [0.1], "uninteresting": [0.9]}, "interesting", 1.171101, "softplus(.8)"),
    ("dcd-weights-under", "DCD-weights", "released", {**WRONG, "which": "under"}, None, None, OURS),
    ("dcd-weights-over", "DCD-weights", "released", {**WRONG, "which": "over"}, None, None, OURS),
    ("pckd-list", "PCKD", "both", {"form": "list", "after": [1, 0.4, 0.6], "before": [0.2, -0.1, 0.05], "tau": 0.1},
     "after", 0.95641815, PLAIN),
    ("pckd-pair", "PCKD", "both", {"form": "pair", "after": [1, 0.4], "before": [0.2, -0.1]}, "after", 0.60719172, PLAIN),
    ("pckd-both", "PCKD", "both, the sum", {"form": "both", "after": [1, 0.4, 0.6], "before": [0.2, -0.1, 0.05], "tau": 0.1},
     "after", None, OURS),
    ("freqd-squared", "FreqD", "released, norm off", {**PATH, "cosine": False}, "projected", 0.94730339, PLAIN),
    ("freqd-cosine", "FreqD", "released", {**PATH, "cosine": True}, "projected", 0.33042809, PLAIN),
    ("freqd-no-graph", "FreqD", "alpha 0", {**PATH, "filter": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "cosine": False}, "projected",
     1.5, PLAIN),
    ("hetcomp-early", "HetComp", "released, early phase", {"phase": "early", **THIRTEEN}, "logits", 16.43765211, PLAIN),
    ("hetcomp-list", "HetComp", "released, list phase", {"phase": "list", **THIRTEEN}, "logits", 9.8983366, PLAIN),
    ("hetcomp-agreement", "HetComp-agreement", "released", {"ranking": [7, 1, 8, 2, 3], "wanted": [8, 7, 20, 21, 22]}, None,
     0.56401956, PLAIN),
    ("fit", "Fit", "released", {"teacher": [[1, 2], [3, 0]], "projected": [[0.5, 1.5], [3, 0]]}, "projected", 0.5,
     "worked out by hand"),
    ("fit-unit", "Fit", "released, norm on", {"teacher": [[1, 2], [3, 1]], "projected": [[0.5, 1.5], [3, 0.5]], "unit": True},
     "projected", None, OURS),
    ("vkd", "VkD", "released", {"teacher": [[1, 2], [3, 0]], "projected": [[0.5, 1.5], [3, 0]], "centred": True}, "projected",
     7.5, "worked out by hand"),
    ("dllm2rec-released", "DLLM2Rec", "released", {**LISTED, "form": "released"}, "logits", 0.85675368, PLAIN),
    ("dllm2rec-weights", "DLLM2Rec-weights", "both", {name: LISTED[name] for name in ("distance", "agrees", "shares")}, None,
     None, OURS),
    ("bd", "BD", "both", {"positive": [1.2], "logits": [0.5], "other": [2], "temperature": 5, "weight": 0.5}, "logits",
     0.740553, "worked out by hand"),
    ("bd-follow-alone", "BD", "both, label of 2 / 5", {"positive": [1e3], "logits": [0.4], "other": [2], "temperature": 5,
     "weight": 1}, "logits", 0.673540, "worked out by hand"),
    *((f"bd-weights-{who}-{way}", "BD-weights", way, {**RANKED, "direction": way, "which": who}, None, None, OURS)
      for way in ("released", "paper") for who in ("student", "teacher")),
    ("dllm2rec-paper", "DLLM2Rec", "paper", {**LISTED, "form": "paper"}, "logits", 1.30792287, PLAIN),
]  # fmt: skip


def entries() -> list[dict]:
    """What the file holds. A published value is kept as it was printed; the reference has to agree to its last digit."""
    found = []
    for name, method, form, inputs, of, published, origin in ENTRIES:
        value = float(FUNCTIONS[method](**inputs))
        if published is not None:
            assert abs(value - published) < 2e-6, (name, value, published)
        expected = {"loss": round(value, 9) if published is None else published}
        if of:
            expected["gradient"] = gradient(FUNCTIONS[method], inputs, of)
        entry = {"id": name, "method": method, "form": form, "inputs": inputs, "expected": expected, "origin": origin}
        found.append(entry | ({"gradient_of": of} if of else {}))
    return found


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(entry) for entry in entries())
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{FILE.name}: {len(ENTRIES)} entries")
