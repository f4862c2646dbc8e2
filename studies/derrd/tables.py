"""Records of stage L to the tables of DE-RRD (Kang et al., CIKM 2020), and to what the paper does not ask.

Which epoch of a run enters is the protocol: `validation`, the primary one, takes all metrics at the epoch that the
validation items chose by H@5; `code` takes the metrics at N = 5, 10, 20 each at its own best epoch by H@N on the validation
items, as the released code reports them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from rdcore.eval import metrics, significance
from rdcore.eval.significance import Comparison
from rdcore.store.experiment import Experiment, family
from rdcore.store.runs import Record
from rdcore.store.stages import best_epoch
from studies.common import verdicts
from studies.common.plan import Plan
from studies.common.plan import trial_table as all_trials
from studies.common.report import with_reported
from studies.common.reported import reported
from studies.derrd.plan import size_sweep, weight_grid

METRICS = [f"{metric}@{n}" for n in metrics.CUTOFFS_OF_ONE for metric in "HMN"]
LOGGED = [*METRICS, *(f"epoch@{n}" for n in metrics.CUTOFFS_OF_ONE), "epochs", "seconds_per_epoch"]
ROLES = ["T", "S", "RD", "CD", "CD-all", "DE", "RRD", "DE-RRD"]
ORDER = {
    "dataset": ["citeulike", "foursquare"],
    "model": ["BPR", "NeuMF", "POP"],
    "role": [*ROLES[:6], "DE-attention", "DE-large", "DE-small", "RRD", "RRD-full", "RRD-interesting", "RRD-top", "DE-RRD"],
    "metric": LOGGED,
    "protocol": ["validation", "code"],
}


def values(record: Record, protocol: str) -> dict[str, float]:
    """The metrics of the test items under a protocol, and under `code` what only its logs tell."""
    if protocol == "validation":
        return {metric: record.chosen[metric] for metric in METRICS}
    entries = record.metrics.reset_index().to_dict("records")
    best = {n: best_epoch(entries, f"H@{n}-validation") for n in metrics.CUTOFFS_OF_ONE}
    found = {name: float(record.metrics.loc[best[int(name.split("@")[1])], name]) for name in METRICS}
    seconds = record.history["seconds"].median() if len(record.history) else np.nan
    return found | {f"epoch@{n}": e for n, e in best.items()} | {"epochs": record.last_epoch, "seconds_per_epoch": seconds}


def derrd_table2(records: Sequence[Record]) -> pd.DataFrame:
    """Table 2: quality of every run under both protocols, and the paper's number.

    Reported rows without a run are listed under `validation` with an empty ``replicated``; they are left out when all records
    are of data sets that the paper does not have. Raises ValueError where two runs are one seed of one row: of the trials
    of a weight, a table takes the chosen one.
    """
    return _table(records, "derrd_table2", METRICS, ("validation", "code"))


def derrd_logs(records: Sequence[Record]) -> pd.DataFrame:
    """The logs that the authors published (BPR on CiteULike, one seed) and ours, under the protocol that they follow.

    Seconds are those of runs on the device of most runs of S: a CPU's and a GPU's have no mean, and no ratio.
    """
    found = [record for record in records if record.description["role"] not in ("T", "baseline")]
    return _table(found, "derrd_logs", LOGGED, ("code",))


def students_device(records: Sequence[Record]) -> str:
    """Where most runs of S were made, the first by name of equals; empty without S. Seconds of a run elsewhere cannot be set
    against theirs."""
    devices = sorted(record.environment["device"] for record in records if record.description["role"] == "S")
    return max(devices, key=devices.count, default="")


def derrd_table4(records: Sequence[Record]) -> pd.DataFrame:
    """Table 4: DE and RRD with one part replaced. The paper's are of Foursquare."""
    known = set(ORDER["role"]) - {"T", "S", "RD", "CD", "CD-all"}
    found = [record for record in records if record.description["role"] in known]
    return _table(found, "derrd_table4", ["H@5", "N@5", "H@10", "N@10"], ("validation",))


def _table(records: Sequence[Record], name: str, shown: Sequence[str], protocols: Sequence[str]) -> pd.DataFrame:
    rows, known = [], {}
    device = students_device(records) if "seconds_per_epoch" in shown else ""
    for record in records:
        d = record.description
        measured = [m for m in shown if m != "seconds_per_epoch" or device in ("", record.environment["device"])]
        row = {"dataset": d["dataset"], "model": family(d), "role": d["role"]}
        other = known.setdefault((*row.values(), d["seed"]), record)
        if other is not record:
            raise ValueError(
                f"runs {other.key} and {record.key} are both seed {d['seed']} of {d['role']} on {d['dataset']}: a table takes "
                "one of them"
            )
        for protocol in protocols:
            found = values(record, protocol)
            rows += [{**row, "metric": metric, "protocol": protocol, "replicated": found[metric]} for metric in measured]
    return with_reported(rows, reported(name), protocols[0], ORDER, ORDER["dataset"])


def parameters(experiment: Experiment, n_users: int, n_items: int) -> int:
    """Of the model that is kept when training is over, without anything being allocated."""
    with torch.device("meta"):
        return sum(table.numel() for table in experiment.model.build(n_users, n_items).parameters())


def derrd_table3(
    plan: Plan, records: Mapping[int, Record], teacher: Record | None, shape: tuple[int, int] | None
) -> pd.DataFrame:
    """Table 3: what each size of the DE-RRD student costs and is worth, by the first seed.

    The paper prints seconds whose meaning the sources do not tell; ours are ``seconds_per_epoch``, the median of a training
    epoch: another quantity with a row of its own.

    Args:
        records: student's size -> its DE-RRD run, as far as there are any.
        shape: (users, items) of the data; without it parameters are those that a committed record has counted.
    """
    theirs = reported("derrd_table3").query("dataset == @plan.dataset")
    model = family(plan.teacher("L", 0).description)
    theirs = theirs[theirs["model"] == model].set_index(["phi", "quantity"])["value"]
    rows = []
    for size, pair in size_sweep(plan).items():
        phi, record = size / plan.models["T"].dim, records.get(size)
        ours = {"parameters": parameters(pair["DE-RRD"], *shape) if shape else _counted(record)}
        if record is not None:
            ours["seconds_per_epoch"] = record.history["seconds"].median()
            if teacher is not None:
                ours["H@5_ratio"] = record.chosen["H@5"] / teacher.chosen["H@5"]
        for quantity in ("parameters", "seconds", "seconds_per_epoch", "H@5_ratio"):
            paper, own = theirs.get((phi, quantity), np.nan), ours.get(quantity, np.nan)
            seeds = np.nan if quantity == "parameters" or np.isnan(own) else 1
            rows.append([plan.dataset, model, "DE-RRD", phi, quantity, paper, own, own / paper - 1, seeds])
    columns = ["dataset", "model", "role", "phi", "quantity", "reported", "replicated", "difference", "seeds"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[5:], float))


def _counted(record: Record | None) -> float:
    return np.nan if record is None or record.parameters is None else record.parameters


def derrd_table5(plan: Plan, records: Mapping[tuple[float, float], Record]) -> pd.DataFrame:
    """Table 5: H@5 of DE-RRD for every pair of weights. records: (lambda_DE, lambda_RRD) -> run, as far as there are any.

    ``H@5-validation`` is what a weight would be chosen by.
    """
    model = family(plan.teacher("L", 0).description)
    theirs = reported("derrd_table5").query("dataset == @plan.dataset and model == @model")
    theirs = theirs.set_index(["lambda_de", "lambda_rrd"])["value"]
    rows = []
    for pair in weight_grid(plan):
        own = records[pair].chosen if pair in records else {}
        own = [own.get(metric, np.nan) for metric in ("H@5", "H@5-validation")]
        rows.append([plan.dataset, model, *pair, theirs.get(pair, np.nan), *own])
    return pd.DataFrame(rows, columns=["dataset", "model", "lambda_de", "lambda_rrd", "reported", "H@5", "H@5-validation"])


def trial_table(plan: Plan, records: Iterable[Record]) -> pd.DataFrame:
    """The trials from which RD's and CD's weights are chosen, one in a row; only those on record."""
    return all_trials(plan, records).drop(columns="runs").dropna(subset="epoch").astype({"epoch": int})


# ------------------------------------------------------------------------------------------------ sampled and full ranking

RANKINGS = {"sampled": "", "drawn again": "-redraw", "all items": "-full"}


def common_seeds(records: Sequence[Record]) -> set[int]:
    """The seeds that all roles have; where there is none, those that any has."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        seeds.setdefault(record.description["role"], set()).add(record.description["seed"])
    return set.intersection(*seeds.values()) or set.union(*seeds.values())


def rankings(records: Sequence[Record], metric: str) -> pd.DataFrame:
    """A metric of every role (index), mean over its `common_seeds`, when the test items are ranked among the pinned 499, among
    499 others, and among all items; and the role's place under each."""
    common = common_seeds(records)
    runs = pd.DataFrame([
        {"role": record.description["role"]} | {name: record.chosen[metric + kind] for name, kind in RANKINGS.items()}
        for record in records
        if record.description["seed"] in common
    ])  # fmt: skip
    table = runs.groupby("role", sort=False).mean()
    places = table.rank(ascending=False, method="min").astype(int)
    return table.join(places.add_prefix("place, "))


def order_changes(table: pd.DataFrame) -> pd.DataFrame:
    """Does the order of roles depend on what their items are ranked among? Each ranking of `rankings` against the pinned one:
    Kendall's tau of the values, the pairs of roles in the other order, and the largest change of a value."""
    rows = []
    for name in list(RANKINGS)[1:]:
        one, other = table["sampled"], table[name]
        pairs = [(a, b) for i, a in enumerate(table.index) for b in table.index[i + 1 :]]
        turned = [f"{a} and {b}" for a, b in pairs if (one[a] - one[b]) * (other[a] - other[b]) < 0]
        tau = stats.kendalltau(one, other).statistic if len(table) > 1 else np.nan
        rows.append(["sampled", name, tau, len(turned), "; ".join(turned), (one - other).abs().max()])
    return pd.DataFrame(rows, columns=["ranking", "compared with", "tau", "turned", "pairs turned", "largest change"])


# ------------------------------------------------------------------------------------------------------------ significance


def per_user(record: Record, metric: str, kind: str = "") -> np.ndarray:
    """A metric of every user (n_users,) from the rank of their test item, among what ``kind`` says (a suffix of `RANKINGS`)."""
    return metrics.of_one_item(record.per_user()[f"rank{kind}"].to_numpy())[metric]


def compared(
    records: Sequence[Record], a: str, b: str, metric: str = "N@10", kind: str = ""
) -> Comparison | None:
    """Role a - role b over the seeds that both have; None where there is none."""
    by_role = {role: {r.description["seed"]: r for r in records if r.description["role"] == role} for role in (a, b)}
    seeds = sorted(set(by_role[a]) & set(by_role[b]))
    if not seeds:
        return None
    arrays = [np.stack([per_user(by_role[role][seed], metric, kind) for seed in seeds]) for role in (a, b)]
    return significance.compare(*arrays)


def against_student(records: Sequence[Record]) -> tuple[pd.DataFrame, dict[str, Comparison]]:
    """Every role against S, on sampled H@5 (the paper's) and N@10, and N@10 among all items: rows, and role -> the first."""
    rows, first = [], {}
    for role in (role for role in ROLES if role != "S"):
        for metric, ranking in (("H@5", "sampled"), ("N@10", "sampled"), ("N@10", "all items")):
            c = compared(records, role, "S", metric, RANKINGS[ranking])
            if c is not None:
                first.setdefault(role, c)
                rows.append([f"{role} - S", metric, ranking, c.n_seeds, c.n_users, c.difference, c.low, c.high, c.effect_size,
                             c.p, verdicts.verdict(c)])  # fmt: skip
    columns = ["what", "metric", "ranked among", "seeds", "users", "difference", "low", "high", "effect_size", "p",
               "better"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns), first
