"""The later methods as a study (studies/common/study.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rdcore.files import paths
from rdcore.store.experiment import Experiment
from rdcore.store.runs import Record, committed, is_committed
from studies.common import manifest, text
from studies.common import plan as plans
from studies.common.reported import reported
from studies.common.study import Result
from studies.followups.bidirectional import ALONE, TOGETHER
from studies.followups.plan import BATCHES, INSTANCES, PLANS, runs
from studies.followups.proofs import PROTOCOLS

__all__ = ["findings", "headline", "results", "runs", "tables", "teachers_of", "write_tables"]

COLUMNS = ["study", "dataset", "model", "method", "student_dim", "epoch", "metric", "mean", "std", "seeds"]
KEYS = COLUMNS[:7]
LAST = 4  # evaluations at the end of a curve, where it is nearly flat
NAMES = {"R@": "Recall@", "N@": "NDCG@"}
"""As UnKD's paper calls its metrics."""
DATASETS = {"bd": "ml-100k"}
OWN = {
    "td": ("Topology Distillation on its own fold of CiteULike", ("R@50", "N@50")),
    "irrrd": ("IR-RRD on DE-RRD's fold of CiteULike", ("H@5", "N@5", "H@10", "N@10")),
    "unkd": ("UnKD on its split of CiteULike", ("Recall@10", "NDCG@10", "Recall@10-popular", "Recall@10-unpopular")),
    "bd": ("BD on MovieLens-100K, 20 epochs after 60 alone", ("R@10", "N@10")),
    "rcekd": ("RCE-KD on its split of CiteULike by item id", ("R@10", "N@10", "R@20", "N@20")),
}
"""Study -> its title, and the metrics that docs/results.md shows."""
OURS = {
    "td": "HTD is the released form. HTD-prototypes relates groups to groups, which the released code can do too; "
    "HTD-released is that with the code's cut gradient ([card](methods/htd.md)).",
    "unkd": "UnKD and its T and S: learning rate and decay are the defaults of the released code, groups and pairs those of "
    "its README's example; which gave the paper's tables is not certain, and the paper's split may be another draw. "
    "UnKD-released repeats the sampler's pairs of an item with itself. CD, HTD, RD and RRD have the forms and default "
    "weights of this project, not those of UnKD's code ([card](methods/unkd.md)). Notes on the paper say that RRD is "
    "hardly better than S there. No weight was searched for, and it is one seed. Recall of a popularity group "
    "(two of equal total popularity) is over the users who have such a held-out item; the released code divides by "
    "all users.",
    "bd": "BD's losses and weights are the authors', the training is not: T and S have {alone} epochs alone instead of "
    "1,000, then {together} more, alone or together, instead of 101, in batches of {batch} instead of 128; S has "
    "decay while alone, the authors' has none. BD-released also ranks and draws training items. BD-paper is "
    "direction='paper' with uniform negatives, a combination of ours ([card](methods/bd.md)). With 943 test items and"
    " so few seeds, differences below .02 say nothing. (T) is the teacher that has learned from the student.",
    "rcekd": "T, S, HetComp, KD-CE, RCE-KD and RRD have the configurations of RCE-KD's code. CD draws from all unseen items by"
    " the linear law (there: a tournament over the first 3,000). DCD is that of its authors' code with settings of "
    "ours; RCE-KD's code has another DCD. In its authors' figure, of five seeds, RCE-KD is first in every cell; here,"
    " with one, it is not. One seed cannot tell chance from a difference, and no weight was searched for here.",
}
"""Study -> what in its runs is not the authors', and what its table can say."""


class Proof(NamedTuple):
    """A run of `studies.followups.proofs` on record."""

    key: str
    """Name of its file."""
    content: dict[str, Any]


def teachers_of(student: Experiment) -> list[Experiment]:
    """The teachers of its seed."""
    return plans.teachers_of(student, [plan for group in PLANS.values() for plan in group])


def table_runs() -> list[tuple[str, Experiment]]:
    """The planned runs that are on record, each with the name of its study."""
    planned = []
    for study, group in PLANS.items():
        for plan in group:
            for seed in plan.table_seeds:
                trained = [plan.teacher("L", seed), plan.student("L", seed)]
                trained += [plan.distilled("L", seed, role) for role in plan.methods]
                planned += [(study, run) for run in trained]
    return [(study, run) for study, run in planned if is_committed(run)]


def proofs(names: str = "*") -> list[Proof]:
    """The runs in data/replicated/followups whose names are such, in their order."""
    files = sorted((paths.replicated() / "followups").glob(f"{names}.json"))
    return [Proof(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in files]


def cut_short(run: Mapping[str, Any]) -> int:
    """The epoch in which the run of a proof was ended by hand; 0 where it ended as its protocol says, after its last epoch
    or after as many evaluations without a better value as the patience."""
    protocol = PROTOCOLS.get(run["study"])
    if protocol is None or not protocol.patience:
        return 0
    last = run["curve"][-1]["epoch"]
    return 0 if protocol.stalled(run["curve"]) or last == run["training"]["epochs"] else last


def ended_by_hand(study: str, methods: Collection[str]) -> str:
    """A sentence on the runs of some methods that were ended by hand; "" without one."""
    words = "{} was ended by hand after epoch {}, for time: its validation metric still rose."
    found = [(role, cut_short(proof.content)) for role in sorted(methods) for proof in proofs(f"{study}-{role}-d*")]
    return " ".join(words.format(role, epoch) for role, epoch in found if epoch)


def rows_of_proof(proof: Proof) -> list[dict]:
    """Rows of followups.csv without means: Topology Distillation's whole curve, of the others the chosen
    epoch. Epochs count from 0, as the authors' do."""
    run = proof.content
    known = {"study": run["study"], "dataset": DATASETS.get(run["study"], f"citeulike-{run['study']}"), "model": "BPR",
             "method": run["role"], "student_dim": run["dim"]}  # fmt: skip
    if run["study"] == "td":
        judged = [(row["epoch"] - 1, row) for row in run["curve"]]
    else:
        judged = [("chosen", run["chosen"])]
    rename = NAMES if run["study"] == "unkd" else {}
    found = []
    for epoch, metrics in judged:
        for name, value in metrics.items():
            if name != "epoch":
                shown = rename.get(name[:2], name[:2]) + name[2:]
                found.append(known | {"epoch": epoch, "metric": shown, "value": value})
    return found


def rows_of_run(study: str, run: Experiment) -> list[dict]:
    """Rows of a planned run: its metrics at the chosen epoch; for IR-RRD also the mean loss of a batch of
    epoch 0, and H@5 of the validation and the test items in every tenth epoch."""
    record: Record = committed(run)
    known = {"study": study, "dataset": run.dataset, "model": "BPR", "method": run.role, "student_dim": run.model.dim}
    found = [known | {"epoch": "chosen", "metric": name, "value": value}
             for name, value in record.chosen.items() if "@" in name]  # fmt: skip
    if study == "irrrd":
        first = record.history.iloc[0]
        loss = (first["loss"] + first.get("distillation_loss", 0.0)) * INSTANCES / BATCHES
        found.append(known | {"epoch": 0, "metric": "train_loss", "value": loss})
        for name in ("H@5", "H@5-validation"):
            of_epoch = record.metrics[name] if name in record.metrics else pd.Series(dtype=float)
            found += [known | {"epoch": epoch - 1, "metric": name, "value": value}
                      for epoch, value in of_epoch.items() if epoch % 10 == 1]  # fmt: skip
    return found


def tables() -> Mapping[str, pd.DataFrame]:
    """followups.csv: metrics of the runs on record, mean over seeds; without a record it has no rows."""
    rows = [row for study, run in table_runs() for row in rows_of_run(study, run)]
    rows += [row for proof in proofs() for row in rows_of_proof(proof)]
    if not rows:
        return {"followups": pd.DataFrame(columns=COLUMNS)}
    grouped = pd.DataFrame(rows).groupby(KEYS, sort=False)["value"]
    return {"followups": grouped.agg(mean="mean", std="std", seeds="size").reset_index()[COLUMNS]}


def write_tables() -> list[Path]:
    """figures/tables/followups.csv, and for people followups.md: the last or chosen epochs alone, a table of each study."""
    table, target = tables()["followups"], paths.figures() / "tables" / "followups.csv"
    records = [*(run for _, run in table_runs()), *proofs()]
    about = "Last or chosen epochs; in brackets the authors' own log, of one seed. Curves and all metrics: followups.csv."
    studies = filter(None, (of_study(table, study) for study in OWN))
    parts = [about, *(part.removeprefix("#") for part in studies)]  # no section of a page here: one level higher
    contents = {
        target: table.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        target.with_suffix(".md"): ("\n\n".join(parts) + "\n").replace("](methods/", "](../../docs/methods/")
        .replace("](../figures/tables/", "]("),
    }
    for file, content in contents.items():
        manifest.write(file, partial(Path.write_text, data=content, encoding="utf-8", newline="\n"), records, "rdcore readme")
    return [target]


def headline() -> list[Result]:
    """None: README's table has the three papers."""
    return []


def published() -> dict[tuple, float]:
    """(study, method, size, metric) -> the authors' own number."""
    logs = reported("td_logs")
    found = {("td", r.role, r.dim, r.metric): r.value for r in logs[logs["epoch"] == 100].itertuples()}
    logs = reported("derrd_logs")
    sizes = {"T": 200}
    found |= {("irrrd", r.role, sizes.get(r.role, 20), r.metric): r.value for r in logs.itertuples()}
    return found


def final(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of a study that its table on docs/results.md has: at the chosen epoch, or the last one."""
    own = table[(table["study"] == study) & table["metric"].isin(OWN[study][1])]
    return own[own["epoch"].isin([100, "chosen"])] if study == "td" else own[own["epoch"] == "chosen"]


def of_study(table: pd.DataFrame, study: str) -> str:
    """The part of a study in the section of docs/results.md; "" without a run of its own (IR-RRD's T, S and RRD are
    DE-RRD's)."""
    own, known = final(table, study), published()
    if own.empty or (study == "irrrd" and "IR-RRD" not in set(own["method"])):
        return ""
    rows = []
    for (method, size), group in own.groupby(["method", "student_dim"], sort=False):
        row = {"": method, "d": str(size)}
        for metric in OWN[study][1]:
            for r in group[group["metric"] == metric].itertuples():
                paper = known.get((study, method, size, metric))
                row[metric] = text.spread(r.mean, r.std) + (f" ({paper:.4f})" if paper is not None else "")
        rows.append(row | {"seeds": str(int(group["seeds"].max()))})
    order = {name: k for k, name in enumerate(("T", "S"))}
    rows.sort(key=lambda row: (order.get(row[""], 2), int(row["d"])))
    title, _ = OWN[study]
    said = "\n\n".join([*about(study, own), *remarks(study, set(own["method"]))])
    return f"### {title}\n\n" + text.markdown(pd.DataFrame(rows).fillna("")) + same_as_teacher(own) + f"\n\n{said}".rstrip()


def about(study: str, own: pd.DataFrame) -> list[str]:
    """The paragraphs under a study's table on what is not as its authors have it, and how far it is from their log."""
    if study == "irrrd":
        return []
    training = {"alone": ALONE.epochs, "together": TOGETHER.epochs, "batch": ALONE.batch_size}
    said = [OURS[study].format_map(training)]
    return [*said, beside_the_log(own)] if study == "td" and {"S", "FTD", "HTD"} <= set(own["method"]) else said


def beside_the_log(own: pd.DataFrame) -> str:
    """How Topology Distillation's runs and gains over S lie to those of the authors' log, R@50."""
    log = {place[1:3]: value for place, value in published().items() if (place[0], place[3]) == ("td", "R@50")}
    here = own[own["metric"] == "R@50"].set_index(["method", "student_dim"])["mean"].to_dict()
    both = sorted(log.keys() & here.keys())
    off = [here[place] / log[place] - 1 for place in both]
    gains = []
    for name in ("FTD", "HTD"):
        sizes = [size for method, size in both if method == name and {("S", size)} <= here.keys() & log.keys()]
        pairs = (f"{each[name, size] - each['S', size]:+.4f}" for size in sizes for each in (here, log))
        gains.append(f"{name} " + ", ".join(f"{next(pairs)} ({next(pairs)}) at {size}" for size in sizes))
    same = abs(log["S", 200] - log["T", 200])
    below = sum(value < 0 for value in off)
    less = {place: log[place] - here[place] for place in both if place[0] == "FTD"}
    shares = [lost / log[place] for place, lost in less.items()]
    more = f" FTD is below it by {min(shares):.1%} to {max(shares):.1%} at every size: more than that. {one_seed()}"
    more += "We do not know why."
    return (
        f"Of {len(both)} numbers with a log {below} are below it, by {-min(off):.1%} at most. Gains in R@50 over S of the same "
        f"size, in brackets those of the log: {'; '.join(gains)}. Each is one run on either side, from other random numbers; "
        "given the same ones, the released code and ours take the same steps ([parity.md](../figures/tables/parity.md)). In "
        f"the log T and S of 200 numbers, two trainings of one model, differ by {same:.4f}: so much is chance."
    ) + more * (min(less.values()) > same)


def one_seed() -> str:
    """How far from the log the runs of Topology Distillation with one seed are over their last evaluations together; "" without
    the whole curves."""
    log = reported("td_logs").pivot(index="epoch", columns=["role", "dim"], values="value")
    curves = {(run["role"], run["dim"]): {row["epoch"] - 1: row["R@50"] for row in run["curve"]}
              for run in (proof.content for proof in proofs("td-*-seed1"))}  # fmt: skip
    here = pd.DataFrame(curves).reindex(log.index)
    both = log.columns.intersection(here.columns).drop(("S", 200), errors="ignore")  # that is T again
    if here[both].isna().any(axis=None) or ("T", 200) not in both:
        return ""
    below = 1 - here[both].tail(LAST).mean() / log[both].tail(LAST).mean()
    return (
        "All our runs have one seed, so the order and the negatives of an epoch are the same in them, and chance may move them "
        f"together. As means of the last {LAST} evaluations FTD is below the log by "
        + ", ".join(f"{below['FTD', d]:.1%} at {d}" for d in sorted(below["FTD"].index))
        + f", its teacher T by {below['T', 200]:.1%}. "
    )


def remarks(study: str, methods: Collection[str]) -> list[str]:
    """What to know of the runs of some methods, beside their numbers."""
    return [said for said in (ended_by_hand(study, methods), one_list(study, methods)) if said]


def one_list(study: str, methods: Collection[str]) -> str:
    """A line on a HetComp that had no earlier checkpoint of its teacher: its record says that no epoch was an early one."""
    of_hetcomp = proofs(f"{study}-HetComp-*") if "HetComp" in methods else []
    if not of_hetcomp or any(proof.content["history"][0]["early"] for proof in of_hetcomp):
        return ""
    teacher = proofs(f"{study}-T-*-seed{of_hetcomp[0].content['seed']}")[0].content
    return ("HetComp had its teacher's last list from the first epoch on: the teacher is best in epoch "
            f"{teacher['chosen']['epoch']}, before its first checkpoint in epoch {PROTOCOLS[study].checkpoints[0]}. So the row "
            "does not test the way from easy to hard lists, which is HetComp's idea.")  # fmt: skip


def same_as_teacher(own: pd.DataFrame) -> str:
    """A line on a student of the teacher's size with the teacher's numbers; "" where there is none."""
    values = {name: part.set_index(["student_dim", "metric"])["mean"] for name, part in own.groupby("method")}
    for size in sorted(set(own.loc[own["method"] == "T", "student_dim"])):
        if "S" in values and size in values["S"].index.get_level_values(0) and values["S"][size].equals(values["T"][size]):
            return f"\n\nS of {size} numbers is T itself: the same model, trained alike from the same seed."
    return ""


def of_method(method: str, table: pd.DataFrame | None = None) -> str:
    """What a method's card says of its runs on record: the first metric of each study, in each size, with
    the student alone, the method's other forms and the teacher; in brackets the authors' own numbers, if
    there are any. "" without a run. table: followups.csv, where `tables` has made it already."""
    table = tables()["followups"] if table is None else table
    known, parts = published(), []
    for study, (title, (metric, *_)) in OWN.items():
        own = final(table, study)
        own = own[own["metric"] == metric].set_index(["method", "student_dim"]).sort_index()["mean"]
        if method not in own:
            continue
        papers = {place: known[study, *place, metric] for place in own.index if (study, *place, metric) in known}
        said = {place: f"{mean:.4f}" + (f" ({papers[place]:.4f})" if place in papers else "") for place, mean in own.items()}
        sizes = own[method].index
        listed = [f"d={d} {said[method, d]}" + (f", S {said['S', d]}" if ("S", d) in said else "") for d in sizes]
        forms = [(name, d) for name, d in own.index if name.startswith(f"{method}-") and not name.endswith("(T)")]
        listed += [f"{name} (d={d}) {said[name, d]}" for name, d in forms]
        listed += [f"T (d={d}) {said[place]}" for place in own.index if place[0] == "T" for d in place[1:]]
        brackets = " (in brackets: the authors' log)" * any(place[0] in (method, "S", "T") for place in papers)
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        parts.append(f"[{title}](../results.md#{anchor}), {metric}{brackets}: {'; '.join(listed)}.")
        parts += remarks(study, {method})
        begun = table[(table["study"] == study) & (table["metric"] == "train_loss") & (table["epoch"].astype(str) == "0")]
        if losses := {row.method: f"{row.mean:.1f}" for row in begun.itertuples() if row.method in (method, "S")}:
            parts.append(f"Mean train loss of a batch in the first epoch: {losses[method]} (S {losses['S']}).")
    return " ".join(parts)


def findings() -> list[str]:
    """None yet."""
    return []


def results() -> str:
    """The section on the later methods: a table of each study that has a run on record, the authors' own
    numbers in brackets."""
    table = tables()["followups"]
    head = "## The later methods\n\n"
    parts = [part for study in OWN if (part := of_study(table, study))]
    if not parts:
        return head + "No run of them is on record yet: `python -m studies.followups.proofs td HTD` trains one.\n"
    said = (
        "The split and the metrics are those of the method that a table is named after, and so are its settings, as far as\n"
        "they are known; below each table is what is ours. BD has other data, because the released reader takes the number of\n"
        "a user's items for an item. A number in brackets is from the authors' own log, of one seed. Do not compare numbers\n"
        "of two of these tables: the splits differ, and so do the items that are ranked.\n"
        "All metrics and curves: [followups.csv](../figures/tables/followups.csv). What has not run, and why: "
        "[open.md](open.md).\n\n"
    )
    return head + said + "\n\n".join(parts) + "\n"
