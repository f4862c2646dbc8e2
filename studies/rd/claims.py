"""The claims of Ranking Distillation (Tang & Wang 2018), and our controls of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from rdcore.eval import significance
from rdcore.eval.significance import Comparison
from rdcore.store.experiment import trained
from rdcore.store.runs import Record
from studies.common import text, verdicts
from studies.common.claims import OURS, Claim
from studies.common.matched import MODELS, Matched, no_worse
from studies.common.report import RunAtEpoch, at_epochs
from studies.common.reported import reported
from studies.rd import ablation_results, efficiency

RD = "Tang & Wang 2018"
TESTS, SCHEMES, SWEEPS, SIZES, TIMES = (
    "05_significance", "03_ranking_distillation", "04_ablations", "02_teacher_and_student", "06_efficiency",
)  # fmt: skip
WEIGHTINGS = {"RD-equal": "1/K", "RD-position": "position importance", "RD-discrepancy": "ranking discrepancy"}
CONTROLS = {  # end of the role -> the control in words
    "student": "the lists of another student", "popular": "lists of popular items", "random": "lists of random items",
}  # fmt: skip
NO_NUMBERS = "no numbers can be read from the figure"


def claims(found: Mapping[tuple[str, str], Matched], records: Sequence[Record] = ()) -> list[Claim]:
    """Every claim, run or not. found: `matched`, under both protocols. records: also those of the baselines."""
    fixed = next((protocol for _, protocol in found if protocol != "validation"), "fixed50")
    every = [found.get((model, protocol), Matched("gowalla", model, protocol))
             for protocol in (fixed, "validation") for model in MODELS]  # fmt: skip
    caser = every[0]
    listed = [claim for runs in every for claim in (_beats_student(runs, "AP", "A"), _no_worse(runs))]
    listed += [_beats_student(runs, metric, "B") for runs in every for metric in ("P@10", "nDCG@10")]
    listed += _weightings(caser)
    listed += _baselines(every, records)
    listed += [_size(runs) for runs in every[: len(MODELS)]]
    listed += [_half_the_time(model, device) for device in efficiency.DEVICES.values() for model in MODELS]
    listed += [_stays_flat(runs) for runs in _longest(every)]
    swept = ablation_results.at_size()
    listed += [
        balance(swept),
        holds(swept, "student size", "The gain holds over sizes of the model", "Figure 5a"),
        Claim(claim="The same on Foursquare (Caser, Fossil)", source=RD, verdict=verdicts.NOT_ASSESSABLE,
              note="neither the data nor the way they were prepared could be found"),
    ]  # fmt: skip
    data = holds(swept, "share of data", "RD's gain holds over amounts of training data")
    return [*listed, _no_worse(caser, "RD-position"), data, *_controls(caser)]


def where(runs: Matched) -> str:
    return f"{runs.model}, Gowalla, {runs.protocol}"


def claimed(runs: Matched, a: str, b: str) -> str:
    """The claim that one role has a higher MAP than another, in words; a weighting's are of Caser alone."""
    if (a, b) == ("RD-hybrid", "S"):
        return f"RD ranks better than the student alone: MAP ({where(runs)})"
    name = f"Weighting by {WEIGHTINGS[a]}" if a in WEIGHTINGS else "The hybrid weighting"
    other = "ranks better than the student alone" if b == "S" else f"beats {WEIGHTINGS[b]}"
    return f"{name} {other}: MAP ({runs.protocol})"


def _beats_student(runs: Matched, metric: str, family: str) -> Claim:
    """metric: as in the records; the mean of AP is MAP."""
    name = {"AP": "MAP"}.get(metric, metric)
    return Claim(
        claim=f"RD ranks better than the student alone: {name} ({where(runs)})", source=RD, notebook=TESTS,
        reported=_paper(runs, "RD-hybrid", "S", name), comparison=runs.compare("RD-hybrid", "S", metric), family=family,
    )  # fmt: skip


def _paper(runs: Matched, a: str, b: str, name: str = "MAP") -> float:
    """Of the paper's Gowalla, whichever data set stands in for it in a test."""
    return Matched("gowalla", runs.model, runs.protocol).reported(a, b, name)


def _no_worse(runs: Matched, role: str = "RD-hybrid") -> Claim:
    """Non-inferiority against the teacher, with the share of the gap in the note. The paper claims it of the hybrid alone."""
    if role == "RD-hybrid":
        claim = Claim(claim=f"RD ranks no worse than the teacher: MAP ({where(runs)})", source=RD, notebook=TESTS,
                      reported=_paper(runs, role, "T"))  # fmt: skip
    else:
        name = f"RD with {role.removeprefix('RD-')} weights"
        claim = Claim(claim=f"{name} ranks no worse than the teacher: MAP ({where(runs)})", source=OURS, notebook=TESTS)
    judgement = no_worse(runs, role)
    if judgement is None:
        return claim
    gap, margin = judgement.gap, judgement.margin
    if np.isnan(margin):
        note = "our own teacher is worse than the student" if gap.gap_high < 0 else "the interval of our own T - S includes 0"
        needs = float("nan")
    else:
        note = ""
        if judgement.verdict.endswith(verdicts.NOT_ASSESSABLE) and judgement.comparison.n_seeds >= verdicts.FEWEST_SEEDS:
            theirs = _paper(runs, "T", "S")
            note = f"no assay sensitivity: our own T - S is {gap.gap / theirs:.0%} of the paper's {theirs:.4f}; "
        note += "RD does rank worse: the interval lies below 0; " * judgement.below
        note += f"margin {margin:.4f}; {gap.share:.0%} of the gap T - S recovered ({gap.low:.0%} to {gap.high:.0%})"
        needs = float("nan") if note.startswith("no assay") else np.nan_to_num(claim.reported) + margin
    return Claim(**(_fields(claim) | {"comparison": judgement.comparison, "verdict": judgement.verdict, "note": note,
                                      "needs": needs}))  # fmt: skip


def _fields(claim: Claim) -> dict:
    return {name: getattr(claim, name) for name in claim.__dataclass_fields__}


def _weightings(caser: Matched) -> list[Claim]:
    """Table 4: the hybrid against each other weighting, both of its parts against equal weights, and the others against S."""
    pairs = [("RD-hybrid", role) for role in WEIGHTINGS] + [(role, "RD-equal") for role in ("RD-position", "RD-discrepancy")]
    return [
        Claim(
            claim=claimed(caser, a, b), source=RD, family="C",
            reported=round(_paper4(a) - _paper4(b), 4), comparison=caser.compare(a, b),
            notebook=TESTS if a == "RD-hybrid" else SCHEMES, **_guessed(caser, a, b, _known(a, b)),
        )
        for a, b in pairs
    ] + [
        Claim(
            claim=claimed(caser, role, "S"), source=RD, family="D",
            reported=round(_paper4(role) - _table2("Caser", "S"), 4), comparison=caser.compare(role, "S"), notebook=TESTS,
            **_guessed(caser, role, "S", "the paper's numbers are of two tables, 4 and 2"),
        )
        for role in WEIGHTINGS
    ]  # fmt: skip


def _guessed(caser: Matched, a: str, b: str, note: str) -> dict:
    """The note of a comparison of weightings, and its verdict where one of them is w^b alone: its form here is a guess."""
    if "RD-discrepancy" not in (a, b) or caser.compare(a, b) is None:
        return {"note": note}
    runs = caser.by_role["RD-discrepancy"].values()
    total = np.mean([sum(run.record.history["weights"].iloc[0]) for run in runs])
    guess = ("how the paper scales w^b, and from which epoch it counts, is not known; ours counts from epoch 1 and is not "
             f"divided by its sum, {total:.1f} in epoch 1 (mean of {text.count(len(runs), 'seed')})")
    return {"verdict": verdicts.NOT_ASSESSABLE, "note": "; ".join(filter(None, [guess, note]))}


def _known(a: str, b: str) -> str:
    """A note on the hybrid's form, and where the paper's own numbers of the other data set have the opposite order."""
    if a == "RD-hybrid":
        return "the released form, whose weights are not divided by their sum; which form gave the paper's numbers is not known"
    theirs = _paper4(a, "foursquare") - _paper4(b, "foursquare")
    return f"on Foursquare the paper's own MAP has the opposite order ({theirs:+.4f})" * (theirs < 0)


def _paper4(role: str, dataset: str = "gowalla") -> float:
    """MAP in Table 4."""
    rows = reported("rd_table4")
    return float(rows.loc[(rows["dataset"] == dataset) & (rows["metric"] == "MAP") & (rows["role"] == role), "value"].iloc[0])


def _baselines(every: Sequence[Matched], records: Sequence[Record]) -> list[Claim]:
    """RD against POP, ItemCF and BPR: of every model under the first protocol that has its RD."""
    counted: dict[str, dict[int, RunAtEpoch]] = {}  # name -> seed -> run
    for run in at_epochs(records):
        if run.role == "baseline" and run.dataset == "gowalla":
            counted.setdefault(run.model, {})[run.seed] = run
    listed = []
    for model in MODELS:
        of_model = [runs for runs in every if runs.model == model]
        runs = next((one for one in of_model if one.seeds("RD-hybrid")), of_model[0])
        for name in ("POP", "ItemCF", "BPR"):
            listed.append(Claim(
                claim=f"RD ranks better than {name}: MAP ({where(runs)})", source=RD, family="baselines", notebook=TESTS,
                reported=round(_table2(model, "RD") - _table2(name, ""), 4),
                comparison=_against(runs, counted.get(name)),
                note="" if name == "BPR" else f"{name} has no seed: the same for every seed of RD" * (name in counted),
            ))  # fmt: skip
    return listed


def _table2(model: str, role: str) -> float:
    rows = reported("rd_table2").query("dataset == 'gowalla' and metric == 'MAP' and model == @model")
    rows = rows[rows["role"] == role] if role else rows
    return float(rows["value"].iloc[0])


def _against(runs: Matched, baseline: Mapping[int, RunAtEpoch] | None) -> Comparison | None:
    """RD minus a baseline: seed by seed, or minus the same numbers in every seed where the baseline is counted and has none."""
    distilled = runs.by_role.get("RD-hybrid")
    if not distilled or not baseline:
        return None
    if not trained(next(iter(baseline.values())).record.description):
        baseline = dict.fromkeys(distilled, next(iter(baseline.values())))
    seeds = sorted(distilled.keys() & baseline.keys())
    if not seeds:
        return None
    both = ([of[seed].record.per_user(of[seed].epoch)["AP"].to_numpy() for seed in seeds] for of in (distilled, baseline))
    return significance.compare(*map(np.stack, both))


def _size(runs: Matched) -> Claim:
    """A count of parameters follows from the sizes chosen: an identity, which no run can contradict."""
    values = reported("rd_table3").query("dataset == 'gowalla' and model == @runs.model and quantity == 'parameter_ratio'")
    words = {"Caser": "half", "Fossil": "43 % of"}[runs.model]
    sizes = [[run.record.parameters for run in runs.by_role.get(role, {}).values()][:1] for role in ("T", "S")]
    ours, note = float("nan"), "an identity: it follows from the dimensions"
    if all(sizes) and None not in (sizes[0][0], sizes[1][0]):
        ours = sizes[1][0] / sizes[0][0]
        note += f"; {sizes[1][0]:,} of {sizes[0][0]:,}"
    return Claim(
        claim=f"The distilled {runs.model} has {words} the teacher's parameters (ratio, Gowalla)", source=RD,
        reported=float(values["value"].iloc[0]), verdict=verdicts.NOT_ASSESSABLE, ours=ours, note=note, notebook=SIZES,
    )  # fmt: skip


def _half_the_time(model: str, device: str) -> Claim:
    """Table 3, from the measurement on record. A time is no metric of users: its interval comes from repeated rounds."""
    where = {"cpu": ""}.get(device, f" on a {device.upper()}")
    claim = f"A distilled {model} makes its lists in about half the time{where} (Table 3)"
    ratio, limit = efficiency.committed_ratio(model, device=device), efficiency.largest_reported(device)
    if ratio is None:
        return Claim(claim=claim, source=RD, reported=efficiency.reported_ratio(model, device), notebook=TIMES)
    # Other code with another ratio says nothing of theirs, whichever way.
    lies = "at or below" if ratio.high <= limit else "above" if ratio.low > limit else "around"
    note = (
        f"one {device.upper()}, our code for both, not the authors'; the interval is over repeated rounds; the paper's own"
        f" ratios on a {device.upper()} go up to {limit:.2f}, ours lies {lies} it"
    ) + "; measured on a busy machine" * (not ratio.quiet)
    return Claim(claim=claim, source=RD, reported=ratio.reported, verdict=verdicts.NOT_ASSESSABLE, ours=ratio.value,
                 low=ratio.low, high=ratio.high, note=note, notebook=TIMES)  # fmt: skip


def balance(swept: ablation_results.OnRecord) -> Claim:
    """Figure 6: equal weights of both losses against either alone."""
    gains = ablation_results.balance_gains(swept)
    return _swept("A balance of both losses is best; either alone is worse", "Figure 6", gains,
                  "equal weights minus the better of S and distillation alone")  # fmt: skip


def holds(swept: ablation_results.OnRecord, sweep: str, claim: str, figure: str = "") -> Claim:
    """RD gains at every value of a sweep: by the value at which it gains least. Without the paper's figure: our question."""
    gains = ablation_results.gains_at(swept, sweep)
    least = min(gains, key=lambda value: np.mean(gains[value]), default="")
    return _swept(claim, figure, gains.get(least, []), f"RD - S at {least}, the least of the gains at {', '.join(gains)}")


def _swept(claim: str, figure: str, gains: Sequence[float], what: str) -> Claim:
    """A claim about Caser's sweeps, on validation data, where nothing is chosen. One seed is provisional; two, all that the
    sweeps have, give an interval and no verdict.

    Args:
        gains: MAP, one for each seed.
        what: they are, in words.
    """
    place, unread = (f"{figure}; ", NO_NUMBERS) if figure else ("", "")
    fields = {"claim": f"{claim} ({place}Caser, Gowalla)", "source": RD if figure else OURS, "notebook": SWEEPS}
    if not gains:
        return Claim(**fields, note=unread)
    note = "; ".join(filter(None, [what, "validation, position weights", unread]))
    fields |= {"seeds": len(gains), "ours": float(np.mean(gains)), "verdict": verdicts.with_seeds("", len(gains))}
    if len(gains) < 2:
        return Claim(**fields, note=f"one seed: no interval; {note}")
    low, high = _over_seeds(np.array(gains))
    return Claim(**fields, low=low, high=high, note=f"two seeds: no verdict; the interval is over seeds alone; {note}")


def _longest(every: Sequence[Matched]) -> list[Matched]:
    """Of each model the protocol under which most seeds have T and RD."""
    return [max((runs for runs in every if runs.model == model), key=lambda runs: len(runs.seeds("T", "RD-hybrid")))
            for model in MODELS]  # fmt: skip


def _stays_flat(runs: Matched) -> Claim:
    """Figure 5b, from the curves of the F runs: what T has lost of its best MAP by its last epoch, minus what RD has. Notes on
    the figure say that T overfits and RD stays flat, and not which model it shows: no verdict."""
    claim = f"The teacher overfits more than RD: MAP lost after the best epoch, T - RD (Figure 5b; {runs.model}, Gowalla)"
    seeds = runs.seeds("T", "RD-hybrid")
    if not seeds:
        return Claim(claim=claim, source=RD, notebook=SWEEPS)
    lost = {role: np.array([_lost(runs.by_role[role][seed].record) for seed in runs.seeds("T", "RD-hybrid", role)])
            for role in ("T", "RD-hybrid", "S")}  # fmt: skip
    gain = lost["T"] - lost["RD-hybrid"]
    said = ", ".join(f"{role.removesuffix('-hybrid')} {loss.mean():.4f}" for role, loss in lost.items() if len(loss))
    note = f"the figure's model is not known; lost: {said}; the interval is over seeds alone; {NO_NUMBERS}"
    fields = {"claim": claim, "source": RD, "seeds": len(seeds), "notebook": SWEEPS}
    if len(seeds) < 2:
        return Claim(**fields, verdict=verdicts.PROVISIONAL, ours=float(gain[0]), note=note)
    (low, high), (teachers, _), (rds, _) = (_over_seeds(loss) for loss in (gain, lost["T"], lost["RD-hybrid"]))
    if teachers <= 0:
        note = f"the teacher itself does not clearly overfit here; {note}"
    elif rds > 0:
        note = f"RD does not stay flat either; {note}"
    return Claim(**fields, verdict=verdicts.NOT_ASSESSABLE, ours=float(gain.mean()), low=low, high=high, note=note)


def _over_seeds(values: np.ndarray) -> tuple[float, float]:
    """The 95 % t interval of a mean over seeds."""
    reach = stats.t.isf((1 - significance.LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def _lost(record: Record) -> float:
    """Of a run's best MAP over its evaluated epochs, by its last one."""
    return float(record.metrics["MAP"].max() - record.metrics["MAP"].iloc[-1])


def _controls(caser: Matched) -> list[Claim]:
    """Is it the teacher's ranking? RD with its lists against the same with others', and against S with as many further
    positives or negatives. A control counts with weights that stay on; those of the hybrid fade."""
    faded = "hybrid weights, which fade: the control that counts has position weights"
    stays = "hybrid weights, which fade with the teacher's lists and stay on with random ones: not comparable"
    listed = []
    for scheme in ("RD-position", "RD-hybrid"):
        name = scheme.removeprefix("RD-")
        others = {f"{scheme}-{end}": f"with {words}" for end, words in CONTROLS.items()}
        others |= {"S-negatives": "S with K further uniform negatives",
                   "S-guided": "S with K further negatives that S itself ranks high"}  # fmt: skip
        for role, words in others.items():
            listed.append(Claim(
                claim=f"RD with {name} weights ranks better than {words}: MAP ({where(caser)})", source=OURS, family="controls",
                comparison=caser.compare(scheme, role), notebook=SWEEPS,
                note="" if scheme == "RD-position" else stays if role.endswith("random") else faded,
            ))  # fmt: skip
    return listed
