"""The scorecard: every claim's verdict, numbers and seeds, from records and from what the papers report."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import flexibility, notes, one_protocol
from .ablations import of_the_tables
from .layout import compare, critical, holm, seeds_needed, share_of, with_seeds, word
from .rd import against, efficiency, paper_ratio, ratios, rows, stacked
from .records import Run, kept, paper, printed, reported
from .significance import effect
from .tables import table

WEIGHTINGS = {"1/K": "RD-equal", "position importance": "RD-position", "ranking discrepancy": "RD-discrepancy"}
CONTROLS = {"the lists of another student": "student", "lists of popular items": "popular", "lists of random items": "random"}
NEGATIVES = {"S with K further uniform negatives": "S-negatives",
             "S with K further negatives that S itself ranks high": "S-guided"}  # fmt: skip
NAN = math.nan


HYBRID = "the released form, whose weights are not divided by their sum; which form gave the paper's numbers is not known"


class Claim(NamedTuple):
    """What records say of a claim; nothing where it has not run."""

    reported: float = NAN
    comparison: dict | None = None
    family: str = ""
    verdict: str = ""
    """Instead of that of the comparison."""
    needs: float | None = None
    """The effect for which seeds are counted, where it is not the reported one."""
    ours: dict | None = None
    """Values of a claim that is no difference of two methods."""
    note: str = ""
    """What it says beside the numbers of its comparison, where that has numbers too."""


def table4(role: str, dataset: str = "gowalla") -> float:
    return paper("rd_table4", dataset=dataset, metric="MAP", role=role)


def table2(model: str, **where: str) -> float:
    return paper("rd_table2", dataset="gowalla", metric="MAP", model=model, **where)


def baseline(name: str, model: str, protocol: str) -> Claim:
    d = round(table2(model, role="RD") - table2(name), 4)
    ours, theirs = rows(model, "RD-hybrid", protocol), rows(name, "baseline", "fixed50")
    if ours and theirs and name != "BPR":  # counted: the same in every seed
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    both = stacked([ours, theirs], "AP") if ours and theirs else []
    return Claim(d, compare(*both) if both else None, "baselines")


def no_worse(model: str, protocol: str, role: str, d: float) -> Claim:
    """RD no worse than T by more than a margin: half of the smaller of the paper's gap T - S and the lower end of ours. Nothing
    can be said where our own T does not clearly beat S, or by less than half of what the paper reports."""
    c, gap = against(model, protocol, role, "T", among=("S",)), against(model, protocol, "T", "S", among=(role,))
    if c is None:
        return Claim(d)
    theirs = effect(model, "T", "S")
    margin = min(theirs, gap["low"]) / 2 if gap["low"] > 0 else NAN
    needs, sensitive = (0.0 if math.isnan(d) else d) + margin, word(gap, theirs).endswith("confirmed")
    three = stacked([rows(model, one, protocol) for one in (role, "S", "T")], "AP")
    rd, student, teacher = (x[:, ~np.isnan(three[0]).any(0)] for x in three)
    note = notes.of_the_gap(gap, theirs, share_of(rd - student, teacher - student), margin, sensitive)
    if not sensitive:
        needs = NAN if c["seeds"] > 2 else needs
        return Claim(d, c, verdict=with_seeds("not assessable", c["seeds"]), needs=needs, note=note)
    said = "confirmed" if c["low"] > -margin else "contradicted" if c["high"] < -margin else "inconclusive"
    if c["high"] < 0 and said != "contradicted" and c["seeds"] > 2:
        note = f"RD does rank worse: the interval lies below 0; {note}"
    return Claim(d, c, verdict=with_seeds(said, c["seeds"]), needs=needs, note=note)


def half_the_time(model: str, device: str) -> Claim:
    """The median of the rounds' ratios; its interval by the order of the rounds: the median lies between the k-th and the k-th
    last of n, except with a probability of 5 % at most. "About half" goes up to the largest ratio that the paper itself has."""
    found, d = ratios(model, device, "lists_seconds"), paper_ratio("gowalla", model, device)
    if found is None:
        return Claim(d)
    n, order = len(found), np.sort(found)
    below = np.cumsum([math.comb(n, k) for k in range(n + 1)]) / 2**n
    k = max(int(np.argmax(below >= 0.025)), 1)
    value, low, high = float(np.median(found)), float(order[k - 1]), float(order[-k])
    limit = max(paper_ratio(data, one, device) for data in ("gowalla", "foursquare") for one in ("Caser", "Fossil"))
    load, threads = efficiency()["load_average"], efficiency()["environment"]["threads"]
    quiet = len(load) == 2 and load[0] <= 0.5 and load[1] <= threads + 0.5
    lies = "at or below" if high <= limit else "above" if low > limit else "around"
    note = f"one {device.upper()}, our code for both, not the authors'; the interval is over repeated rounds; the paper's own"
    note += f" ratios on a {device.upper()} go up to {limit:.2f}, ours lies {lies} it"
    note += "; measured on a busy machine" * (not quiet)
    return Claim(d, verdict="not assessable", ours={"ours": value, "low": low, "high": high}, note=note)


def size(model: str) -> Claim:
    """An identity: it follows from the dimensions."""
    found = [[run.read("size")["parameters"] for run, _ in rows(model, role, "fixed50").values()] for role in ("S", "T")]
    ours = {"ours": found[0][0] / found[1][0]} if all(found) else {}
    note = "an identity: it follows from the dimensions" + (f"; {found[0][0]:,} of {found[1][0]:,}" if ours else "")
    theirs = paper("rd_table3", dataset="gowalla", model=model, quantity="parameter_ratio")
    return Claim(theirs, verdict="not assessable", ours=ours, note=note)


def overfits(model: str) -> Claim:
    """What T has lost of its best MAP by its last epoch, minus what RD has, under the protocol with most seeds of both."""
    found = [[rows(model, role, protocol) for role in ("T", "RD-hybrid", "S")] for protocol in ("fixed50", "validation")]
    three = max(found, key=lambda of: len(set(of[0]) & set(of[1])))
    seeds = sorted(set(three[0]) & set(three[1]))
    if not seeds:
        return Claim()
    curves = [[[entry["MAP"] for entry in of[seed][0].read("metrics")] for seed in seeds if seed in of] for of in three]
    lost = [np.array([max(curve) - curve[-1] for curve in of]) for of in curves]
    gain, n = lost[0] - lost[1], len(seeds)
    note = ", ".join(f"{role} {x.mean():.4f}" for role, x in zip(("T", "RD", "S"), lost, strict=True) if len(x))
    note = f"the figure's model is not known; lost: {note}; the interval is over seeds alone"
    note += "; no numbers can be read from the figure"
    if n < 2:
        return Claim(verdict="provisional", ours={"ours": float(gain[0]), "seeds": n}, note=note)
    reach = [critical(n - 1) * float(x.std(ddof=1)) / math.sqrt(n) for x in (gain, lost[0], lost[1])]
    low, high = float(gain.mean()) - reach[0], float(gain.mean()) + reach[0]
    if lost[0].mean() <= reach[1]:
        note = f"the teacher itself does not clearly overfit here; {note}"
    elif lost[1].mean() > reach[2]:
        note = f"RD does not stay flat either; {note}"
    ours = {"ours": float(gain.mean()), "low": low, "high": high, "seeds": n}
    return Claim(verdict="not assessable", ours=ours, note=note)


def balance() -> Claim:
    """Equal weights of both losses minus the better of either alone, Caser on validation."""
    found: dict[tuple[str, int, int], float] = {}  # role, seed, size
    for run in of_the_tables("gowalla", "V", "Caser"):
        found[run.role, run.seed, run.dim] = run.read("metrics")[-1]["MAP"]
    alone = sorted((seed, dim) for role, seed, dim in found if role == "RD-position-alone")
    gains = [found["RD-position", *where] - max(found["S", *where], found["RD-position-alone", *where])
             for where in alone if {("RD-position", *where), ("S", *where)} <= found.keys()]  # fmt: skip
    n, figure = len(gains), "no numbers can be read from the figure"
    if not n:
        return Claim(note=figure)
    note = f"equal weights minus the better of S and distillation alone; validation, position weights; {figure}"
    mean = sum(gains) / n
    if n < 2:
        ours = {"ours": mean, "seeds": n}
        return Claim(verdict="provisional", ours=ours, note=f"one seed: no interval; {note}")
    reach = critical(n - 1) * float(np.std(gains, ddof=1)) / math.sqrt(n)
    said = "confirmed" if mean - reach > 0 else "contradicted" if mean + reach < 0 else "inconclusive"
    ours = {"ours": mean, "low": mean - reach, "high": mean + reach, "seeds": n}
    return Claim(verdict=with_seeds(said, n), ours=ours, note=f"the interval is over seeds alone; {note}")


def whatever_the_models() -> Claim:
    """Counts of gains with position weights: the sentence has no number that they could confirm."""
    said, on_gowalla = [], False
    for data, title in (("ml-100k", "MovieLens-100K"), ("gowalla", "Gowalla")):
        gains = [row for row in flexibility.flexibility("") if (row["dataset"], row["method"], row["metric"])
                 == (data, "RD-position", "MAP")]  # fmt: skip
        if gains:
            above, below = sum(row["low"] > 0 for row in gains), sum(row["high"] < 0 for row in gains)
            pairs = f"{len(gains)} pair{'s' * (len(gains) != 1)}"
            said.append(f"{title}, position weights: of {pairs} the interval of {above} lies above 0, of {below} below 0, "
                        "before Holm's correction")  # fmt: skip
            on_gowalla |= data == "gowalla"
    return Claim(verdict="not assessable" if on_gowalla else "not run", note="; ".join(said))


def of_the_teacher(dim: int) -> Claim:
    """H@5 of a DE-RRD student over its teacher's, with Fieller's interval, which is held against the printed ratio."""
    theirs = [float(row["value"]) for row in reported("derrd_table3") if (row["dataset"], row["model"], row["quantity"])
              == ("citeulike", "BPR", "H@5_ratio") and float(row["phi"]) == dim / 200][0]  # fmt: skip
    both = [one_protocol.rows("citeulike", role, "derrd") for role in ("DE-RRD", "T")]
    seeds = sorted(set(both[0]) & set(both[1]))
    if dim != 20 or not seeds:
        return Claim(theirs)
    student, teacher = (np.stack([of[seed].chosen_users("H@5") for seed in seeds]) for of in both)
    there = ~np.isnan(student + teacher).any(0)
    share, low, high = share_of(student[:, there], teacher[:, there])
    said = "contradicted" if high < theirs else "confirmed" if low >= theirs else "inconclusive"
    ours = {"ours": share, "low": low, "high": high, "seeds": len(seeds)}
    of_t = np.nanmean(teacher) / paper("derrd_table2", dataset="citeulike", model="BPR", metric="H@5", role="T")
    note = (f"the interval of our ratio is held against the printed one; our own teacher has {of_t:.1%} of the paper's H@5; "
            "DE-RRD over S is another row")  # fmt: skip
    return Claim(theirs, verdict=with_seeds(said, len(seeds)), ours=ours, note=note)


def of_derrd(a: str, b: str) -> Claim:
    """By H@5 on CiteULike. Our CD is not CD as published, so nothing is said of claims about that; of RD it is said how
    strongly it was taught."""
    both = [paper("derrd_table2", dataset="citeulike", model="BPR", metric="H@5", role=role) for role in (a, b)]
    c = one_protocol.against("citeulike", a, b, "derrd", "H@5")
    other = {"verdict": "not assessable", "needs": NAN} if b == "CD" and c else {}
    if b == "RD" and c:
        strong = np.mean([taught(run) for run in one_protocol.rows("citeulike", "RD", "derrd").values()])
        other["note"] = (f"at the chosen epoch RD's distillation loss was {strong:.2g} of the base loss: its hybrid weights "
                         "have faded by then")  # fmt: skip
    return Claim(round(both[0] - both[1], 4), c, "DE-RRD", **other)


def taught(run: Run) -> float:
    """Distillation loss over base loss in the epoch that a run chose."""
    at = next(entry for entry in run.read("history") if entry["epoch"] == run.read("chosen")["epoch"])
    return at["distillation_loss"] / at["loss"]


@kept
def strength(data: str, role: str) -> tuple[float, float]:
    """The smallest and the largest distillation loss over base loss of a method's trials, in the epoch they chose."""
    found = list(map(taught, one_protocol.trials(data, role, "one").values()))
    return min(found), max(found)


def of_one_protocol(data: str, role: str) -> Claim:
    """Two methods are compared only where they were tried at strengths that overlap."""
    c = one_protocol.against(data, role, "RD", "one", "N@10", "-full")
    if c is None:
        return Claim(family="one protocol")
    (low, high), (lower, higher) = strength(data, role), strength(data, "RD")
    if high >= lower and higher >= low:
        return Claim(NAN, c, "one protocol")
    note = notes.of_strengths({role: (low, high), "RD": (lower, higher)})
    return Claim(NAN, c, "one protocol", verdict="not assessable", note=note)


def weighting(protocol: str, theirs: float, a: str, b: str, family: str, also: str = "") -> Claim:
    """Weights w^b alone have a form that was guessed: no verdict. also: what is noted besides."""
    c = against("Caser", protocol, a, b)
    if not c or "RD-discrepancy" not in (a, b):
        return Claim(theirs, c, family, note=also)
    sums = [sum(run.read("history")[0]["weights"]) for run, _ in rows("Caser", "RD-discrepancy", protocol).values()]
    note = ("how the paper scales w^b, and from which epoch it counts, is not known; ours counts from epoch 1 and is not "
            f"divided by its sum, {sum(sums) / len(sums):.1f} in epoch 1 (mean of {len(sums)} seeds)")  # fmt: skip
    return Claim(theirs, c, family, verdict="not assessable", note="; ".join(filter(None, [note, also])))


def claim(text: str) -> Claim | None:
    """By its words; None for a claim that no record speaks about."""
    if m := re.fullmatch(r"RD ranks better than the student alone: (\S+) \((\w+), Gowalla, (\w+)\)", text):
        c = against(m[2], m[3], "RD-hybrid", "S", {"MAP": "AP"}.get(m[1], m[1]))
        return Claim(effect(m[2], "RD-hybrid", "S", m[1]), c, "A" if m[1] == "MAP" else "B")
    if m := re.fullmatch(r"RD ranks no worse than the teacher: MAP \((\w+), Gowalla, (\w+)\)", text):
        return no_worse(m[1], m[2], "RD-hybrid", effect(m[1], "RD-hybrid", "T"))
    if m := re.fullmatch(r"RD with (\w+) weights ranks no worse than the teacher: MAP \((\w+), Gowalla, (\w+)\)", text):
        return no_worse(m[2], m[3], f"RD-{m[1]}", NAN)
    if m := re.fullmatch(r"(The hybrid weighting|Weighting by .*) beats (.*): MAP \((\w+)\)", text):
        a = "RD-hybrid" if m[1].startswith("The") else WEIGHTINGS[m[1].removeprefix("Weighting by ")]
        b = WEIGHTINGS[m[2]]
        other = table4(a, "foursquare") - table4(b, "foursquare")
        also = f"on Foursquare the paper's own MAP has the opposite order ({other:+.4f})" * (other < 0)
        also = HYBRID if a == "RD-hybrid" else also
        return weighting(m[3], round(table4(a) - table4(b), 4), a, b, "C", also)
    if m := re.fullmatch(r"Weighting by (.*) ranks better than the student alone: MAP \((\w+)\)", text):
        role = WEIGHTINGS[m[1]]
        d = round(table4(role) - table2("Caser", role="S"), 4)
        return weighting(m[2], d, role, "S", "D", "the paper's numbers are of two tables, 4 and 2")
    if m := re.fullmatch(r"RD ranks better than (POP|ItemCF|BPR): MAP \((\w+), Gowalla, (\w+)\)", text):
        return baseline(*m.groups())
    if m := re.fullmatch(r"RD with (\w+) weights ranks better than (.*): MAP \((\w+), Gowalla, (\w+)\)", text):
        scheme, other = f"RD-{m[1]}", m[2].removeprefix("with ")
        role = NEGATIVES.get(other) or f"{scheme}-{CONTROLS[other]}"
        return Claim(NAN, against(m[3], m[4], scheme, role), "controls")
    if m := re.match(r"The distilled (\w+) has .* parameters", text):
        return size(m[1])
    if m := re.match(r"A distilled (\w+) makes its lists in about half the time( on a GPU)?", text):
        return half_the_time(m[1], "gpu" if m[2] else "cpu")
    if m := re.match(r"The teacher overfits more than RD: .*; (\w+), Gowalla\)", text):
        return overfits(m[1])
    if text.startswith("A balance of both losses is best"):
        return balance()
    if m := re.match(r"A DE-RRD student of (\d+) dimensions", text):
        return of_the_teacher(int(m[1]))
    if m := re.fullmatch(r"(\S+) ranks better than (the student alone|\S+): H@5 \(BPR, CiteULike\)", text):
        return of_derrd(m[1], {"the student alone": "S"}.get(m[2], m[2]))
    if m := re.fullmatch(r"(\S+) ranks better than RD: nDCG@10 among all items \(BPR, (\w+)\)", text):
        return of_one_protocol(m[2].lower(), m[1])
    return whatever_the_models() if text.startswith("RD can be used with any ranking models") else None


@table("scorecard", "claim", words=("source", "notebook"))
def scorecard(name: str) -> Iterator[dict]:
    """Every claim. One that no record speaks about has no number, and is not run or not assessable."""
    shown, said = ({row["claim"]: row[column] for row in printed(name)} for column in ("verdict", "note"))
    made = {text: claim(text) for text in shown}
    families: dict[str, dict[str, float]] = {}
    for text, one in made.items():
        if one and one.family:
            c = one.comparison
            tested = c and c["seeds"] > 2 and not one.verdict.endswith("not assessable") and not c["equal"]
            families.setdefault(one.family, {})[text] = c["p"] if tested else NAN
    p = {text: value for family in families.values() for text, value in holm(family).items()}
    for text, one in made.items():
        row = {"claim": text, "p": p.get(text, NAN)}
        if one is None:
            row["verdict"] = shown[text] if shown[text] in ("not run", "not assessable") else "not run"
            yield row | {"note": notes.whole([], "", said[text])}
            continue
        row |= {"reported": one.reported, "verdict": one.verdict or "not run"} | (one.ours or {})
        if c := one.comparison:
            row |= {"ours": c["difference"], "low": c["low"], "high": c["high"], "seeds": c["seeds"]}
            wanted = one.reported if one.needs is None else one.needs
            row |= {"verdict": one.verdict or word(c, one.reported), "seeds_needed": seeds_needed(c, wanted)}
        about = [row["verdict"], one.reported, wanted, row["p"], len(families.get(one.family, ()))] if c else []
        parts = notes.of_comparison(c, *about) if c else []
        yield row | {"note": notes.whole(parts, one.note, said[text])}
