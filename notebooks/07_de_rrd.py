# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 DE-RRD: experts, and a relaxed ranking
#
# Ranking Distillation hands the student the teacher's list. DE-RRD (Kang, Hwang, Kweon & Yu, CIKM 2020) says that there is more to be had, in
# two places. **DE** (distillation experts) distils what the teacher *knows*: its vectors of users and items. **RRD** (relaxed ranking
# distillation) distils what it *predicts*: the order of the items at the top, above all the rest, whatever their order. DE-RRD is both.
#
# This notebook takes both apart, then puts them beside RD (notebook 03) and CD (Lee et al., ICDM 2019), with matrix factorisation
# (BPR-MF) as teacher and student, and asks what the paper does not: whether the order of methods survives when items are ranked among
# *all* others, and not among 499 that were drawn.
#
# Profile `small` is MovieLens-100K under the paper's protocol. Profile `paper` (CiteULike) shows the committed records of our paper-size runs and trains
# nothing, unless `recompute` is set; what has no record yet says so.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each
sweeps: bool = True  # Tables 4 and 5 and the student's size too
resamples: int = 0  # of every bootstrap; 0: 10,000, and 1,000 on smoke

# %%
import inspect
import time

import pandas as pd
import torch
from IPython.display import Markdown, display

from rdcore import data, datasets
from rdcore.data.sampling import stream
from rdcore.distill import cd, de, rrd
from rdcore.store import runs
from rdcore.train import loop as training
from studies.common import manifest, matched, plots, report
from studies.common.plan import at_border, chosen_weights, weights_on_file
from studies.common.profiles import PROFILES
from studies.derrd import plan as derrd
from studies.derrd import plots as derrd_plots
from studies.derrd import tables as derrd_report

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "07_de_rrd"
if resamples < 0:
    raise ValueError(f"resamples must be at least 0, got {resamples}")
resamples = resamples or (1_000 if profile == "smoke" else 10_000)
plan, *further_plans = PROFILES[profile].derrd
seed = plan.table_seeds[0]
de_settings, rrd_settings = plan.methods["DE"], plan.methods["RRD"]
sizes = {role: settings.dim for role, settings in plan.models.items()}
print(f"{plan.dataset}: T has vectors of {sizes['T']}, S of {sizes['S']}; seeds {', '.join(map(str, plan.table_seeds))}; at most "
      f"{plan.training.epochs} epochs,\nstopped after {plan.training.patience} without a new best on the validation items")
print(f"DE: M = {de_settings.M} experts, weight {de_settings.weight:g}. RRD: K = {rrd_settings.K}, L = {rrd_settings.L}, T = {rrd_settings.T:g}, "
      f"list of {rrd_settings.depth}, weight {rrd_settings.weight:g}")


def show(table):
    display(Markdown(report.markdown(matched.as_text(table))))


# %% [markdown]
# ## The protocol
#
# Of every user one item is held out for validation and one for test (CiteULike: the authors' own split; MovieLens: the last two in time). Each is ranked
# among itself and 499 items that the user does not have, the same 499 for every run. With its rank $p$ among them,
#
# $$\mathrm{H@}N = [p \le N], \qquad \mathrm{M@}N = [p \le N]\,\frac1p, \qquad \mathrm{N@}N = [p \le N]\,\frac{1}{\log_2(p + 1)},$$
#
# averaged over users. One run serves choice and result. Under **`validation`**, the protocol that counts here, the epoch with the best H@5 of the validation items is
# the one at which all metrics of the test items are read. Under **`code`**, as in the released code, each $N$ has an epoch of its own, the best by H@$N$.
#
# What is not in the run store yet is trained now (on profile `paper` the committed records are shown). RD and CD have a weight that the paper does
# not state: each is tried with some, and the trial with the best H@5 on the *validation* items of the first seed is its row. DE and RRD keep the
# weights of the released code (of this profile's plan), so that on this table RD and CD are tuned and they are not; notebook 09 tunes all alike.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True, "optional": True}
wanted = [*derrd.runs_of(plan, {}), derrd.popularity(plan), *(derrd.sweep_runs(plan) if sweeps else [])]
given = {run.key: record for run, record in zip(wanted, runs.records(wanted, **options), strict=True) if record}


def found(experiments):
    """The records of a dictionary of runs, as far as there are any."""
    return {name: given[run.key] for name, run in experiments.items() if run.key in given}


tried = {role: list(found(trials).values()) for role, trials in plan.trials().items()}
complete = [record for role, records in tried.items() if len(records) == len(plan.grids[role]) for record in records]
chosen = chosen_weights(plan, complete)
rows_of = derrd.table_runs(plan, chosen)
given |= {run.key: record for run, record in zip(rows_of, runs.records(rows_of, **options), strict=True) if record}
records = [given[run.key] for run in rows_of if run.key in given]
first = {r.description["role"]: r for r in records if r.description["seed"] == seed}
popularity = given.get(derrd.popularity(plan).key)
missing = [f"{run.role} seed {run.seed}" for run in rows_of if run.key not in given]
missing += [f"{role}, whose weight is not chosen" for role in plan.grids if role not in chosen]
print(f"{len(given)} runs. Not run yet: {', '.join(missing)}." if missing else f"{len(given)} runs; none of Table 2 is missing.")

# %%
if complete:
    table = derrd_report.trial_table(plan, complete)
    report.write_table(table, "07_trials", profile, complete, NOTEBOOK)
    show(table.assign(chosen=table["chosen"].map({True: "yes", False: ""}), weight=table["weight"].map("{:g}".format)))
    border = at_border(plan, chosen)
    print(f"At the border of the grid, so that a better weight may lie beyond: {', '.join(border)}." if border
          else "No chosen weight lies at the border of the grid.")
else:
    print("No trial of RD or CD is on record: their weights are not chosen yet.")

# %% tags=["nbval-check-output"]
if popularity and {"T", "S"} <= set(first):
    for role in ("T", "S"):
        better = first[role].chosen["H@5-validation"] > popularity.chosen["H@5-validation"]
        print(f"{role} {'beats' if better else 'does NOT beat'} popularity on the validation items (H@5).")
else:
    print("T, S or popularity: not run yet.")

# %%
if {"T", "S"} <= set(first):
    gap = first["T"].chosen["H@5-validation"] - first["S"].chosen["H@5-validation"]
    print(f"T - S on the validation items: {gap:+.4f} in H@5. " + ("There is something to distil." if gap > 0 else
          "T is NOT better: what follows says nothing about distillation."))

# %% [markdown]
# ## DE: what the teacher knows
#
# A small student cannot hold the teacher's vectors. But a good student vector should *determine* them: from $h_s(u)$ one should be able to compute $h_t(u)$. That
# is what an expert does, a small network $E_m$ from the student's size to the teacher's. One network for all users would have to be right for all of
# them, so there are $M$, and each user gets his own mixture. Who gets what is decided by a selection network that looks at the *teacher's* vector,
#
# $$\alpha^u = \mathrm{softmax}(S(h_t(u))), \qquad
# s^u_m = \frac{\exp\bigl((\log \alpha^u_m + g_m) / T\bigr)}{\sum_i \exp\bigl((\log \alpha^u_i + g_i) / T\bigr)}, \qquad g_m \sim \mathrm{Gumbel}(0, 1),$$
#
# and the loss is a squared distance. It is summed over the different users of a batch, and with half the weight over its positive and its negative items, which have experts of their own:
#
# $$L_{DE} = \sum_{u} D(u) + \tfrac12\Bigl(\sum_{i} D(i) + \sum_{j} D(j)\Bigr), \qquad D(e) = \Bigl\| h_t(e) - \sum_{m=1}^{M} s^e_m\, E_m(h_s(e)) \Bigr\|^2 .$$
#
# (The paper prints the distance, the released code has its square.) After training, experts and selection are thrown away: the student is as small as before.

# %%
print(inspect.getsource(de.gumbel_softmax))
print(inspect.getsource(de.mixture))

# %% [markdown]
# ### Selection, at several temperatures
#
# Made-up shares $\alpha$ of some users, and what is drawn from them, with the same noise in each row. At $T = 1$ every expert has a say. The lower $T$, the nearer
# the mixture is to a draw of *one* expert, with probability $\alpha_m$; most draws name the strongest, but not all.

# %%
entities = 48
alpha = torch.softmax(1.5 * torch.randn(entities, de_settings.M, generator=stream(1, "shown alpha")), dim=1)
temperatures = (1.0, 0.1, 0.001)
fig = derrd_plots.selections(alpha, temperatures, 1)
plots.save(fig, "07_selection", profile, [], NOTEBOOK)

# %%
for temperature in temperatures:
    share = de.gumbel_softmax(alpha, temperature, stream(1, "shown noise"))
    same = (share.argmax(1) == alpha.argmax(1)).float().mean()
    print(f"T = {temperature:g}: an entity's strongest expert has {share.amax(1).mean():.0%} of the mixture on average; for {same:.0%} "
          "of the entities it is\nthe one with the largest alpha.")

# %% [markdown]
# ### The temperature falls
#
# $T$ falls geometrically. The schedule is planned for a fixed number of epochs, whatever the early stop makes of it. The right picture
# is from the run itself: how large the strongest expert's share is on average.

# %%
trained = [first["DE"]] if "DE" in first else []
fig = derrd_plots.schedule(de_settings, trained, temperatures)
plots.save(fig, "07_temperature", profile, trained, NOTEBOOK)

# %%
if trained:
    log = first["DE"].history
    hard = log.index[log["user_strongest"] > 0.9]
    print(f"DE ends after {first['DE'].last_epoch} epochs with T = {log['temperature'].iloc[-1]:.2g}; " + (
        f"from epoch {hard[0]} on a user's strongest expert has more than 90% of the mixture." if len(hard)
        else f"a user's strongest expert then has {log['user_strongest'].iloc[-1]:.0%} of the mixture: experts are still mixed."))
else:
    print("DE: not run yet.")

# %% [markdown]
# ## RRD: what the teacher predicts
#
# From the teacher's list of unseen items $K$ **interesting** ones are drawn for every user, anew in every epoch, the item of rank $k$ with probability proportional
# to $e^{-k/T}$, and put into the teacher's order. $L$ **uninteresting** ones are drawn uniformly from what is not on the list. The student is to make this order likely: the
# interesting items first and in order, the uninteresting behind them in any order, which relaxes what ListMLE asks:
#
# $$L_{RRD} = -\sum_u \sum_{k=1}^{K} \log \frac{\exp(r_{\pi_k})}{\sum_{i=k}^{K} \exp(r_{\pi_i}) + \sum_{l=1}^{L} \exp(r_{\nu_l})},$$
#
# with $r$ the student's scores, $\pi$ the interesting and $\nu$ the uninteresting items. The authors said in 2023 that drawing is not needed: the first
# $K$ of the list do better (`RRD-top` below).

# %%
print(inspect.getsource(rrd.relaxed_loss))
print(inspect.getsource(rrd.sampled_places))

# %%
fig = derrd_plots.sampled_lists(rrd_settings, (rrd_settings.T / 5, rrd_settings.T, 4 * rrd_settings.T), 4000, 1)
plots.save(fig, "07_sampled_lists", profile, [], NOTEBOOK)

# %%
places = -torch.arange(rrd_settings.depth, dtype=torch.float64) / rrd_settings.T
drawn = rrd.sampled_places(places, 4000, rrd_settings.K, stream(1, "shown lists"))
print(f"With T = {rrd_settings.T:g} and K = {rrd_settings.K} of {rrd_settings.depth}, {(drawn < rrd_settings.K).float().mean():.0%} of the interesting items "
      f"are among the teacher's first {rrd_settings.K}; half of the draws go no deeper than rank {int(drawn.amax(1).median()) + 1}.")

# %% [markdown]
# Two small lists show what the loss sees. Turning two interesting items round costs something; turning two uninteresting ones round costs nothing.

# %% tags=["nbval-check-output"]
interesting, uninteresting = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.0, -1.0]])
for said, pair in {
    "in the teacher's order": (interesting, uninteresting),
    "two interesting turned": (interesting[:, [1, 0, 2]], uninteresting),
    "two uninteresting turned": (interesting, uninteresting[:, [1, 0]]),
    "no uninteresting (ListMLE)": (interesting, uninteresting[:, :0]),
}.items():
    print(f"{said:28} {float(rrd.relaxed_loss(*pair)):.3f}")

# %% [markdown]
# ## DE-RRD, and its competitors
#
# $$L = L_{base} + \lambda_{DE}\, L_{DE} + \lambda_{RRD}\, L_{RRD},$$
#
# where $L_{base}$ is BPR's $-\sum \log \sigma(r_i - r_j)$ over a batch. **RD** is notebook 03's, with lists that hold no training item of the user. **CD** draws items by their
# rank on the *student's* list and takes the teacher's opinion $q_i = \sigma(t_i / T)$ of each as a soft label:
# $L_{CD} = -\sum_i \bigl(q_i \log \sigma(r_i) + (1 - q_i) \log(1 - \sigma(r_i))\bigr)$.

# %%
print(inspect.getsource(cd.soft_label_loss))
print(inspect.getsource(training.batch_loss))

# %% [markdown]
# ## Learning curves

# %%
alone = [first[role] for role in derrd_report.ROLES if role in first]
if alone:
    fig = derrd_plots.curves(alone, popularity.chosen["H@5-validation"] if popularity else None)
    plots.save(fig, "07_learning_curves", profile, alone, NOTEBOOK)
    late = [r.description["role"] for r in alone if r.epoch == plan.training.epochs]
    print("Chosen epochs: " + ", ".join(f"{r.description['role']} {r.epoch}" for r in alone) + ". " + (
        f"Still rising at the end: {', '.join(late)}." if late else "No role's best epoch is the last one possible."))
else:
    print("No run is on record yet.")

# %% [markdown]
# ## Table 2: quality
#
# Both protocols beside the paper's numbers, where the data are the paper's.

# %%
others = [record for further in further_plans if profile == "paper"
          for run in derrd.table_runs(further, weights_on_file(further))
          for record in runs.records([run], profile=profile, optional=True) if record]  # fmt: skip
shown = [*records, *([popularity] if popularity else []), *others]
table2 = derrd_report.derrd_table2(shown)
report.write_table(table2, "derrd_table2", profile, shown, NOTEBOOK)
display(Markdown(report.markdown(report.wide(table2).query("dataset == @plan.dataset"))))

# %%
own = table2[(table2["dataset"] == plan.dataset) & table2["model"].isin(["BPR"])]
if alone:
    fig = derrd_plots.beside_paper(own, [role for role in derrd_report.ROLES if role in first], ["H@5", "N@10"])
    plots.save(fig, "07_table2", profile, records, NOTEBOOK)

# %%
value = own[(own["protocol"] == "validation") & (own["metric"] == "H@5")].set_index("role")["replicated"].dropna()
methods = [role for role in derrd_report.ROLES if role in value.index and role not in ("T", "S")]
if "S" in value.index and methods:
    above = [role for role in methods if value[role] > value["S"]]
    print(f"H@5 on test: {', '.join(above) or 'none'} of {len(methods)} methods lie above S ({value['S']:.4f}); best is "
          f"{value[methods].idxmax()} with {value[methods].max():.4f}"
          + (f"; T has {value['T']:.4f}." if "T" in value.index else "."))
    gap = own.pivot_table(index=["role", "metric"], columns="protocol", values="replicated")
    largest = (gap["code"] - gap["validation"]).abs().max()
    print(f"`code`, which chooses an epoch for every N, differs from `validation` by at most {largest:.4f}.")
else:
    print("S or the methods: not run yet.")

# %% [markdown]
# ### The authors' logs
#
# The repository has the logs of four runs on CiteULike (BPR, one seed). They differ from the paper's table by up to .008 in H@5, so they stand by themselves,
# beside ours under the protocol that they follow. Seconds are of other machines.

# %%
logs = derrd_report.derrd_logs(records)
report.write_table(logs, "derrd_logs", profile, records, NOTEBOOK)
compared = logs.dropna(subset=["reported", "replicated"])
if len(compared):
    display(Markdown(report.markdown(report.wide(logs[logs["reported"].notna()]))))
    h5 = compared[compared["metric"] == "H@5"]
    for row in h5.itertuples():
        print(f"{row.role}: H@5 {row.replicated:.4f}, in the log {row.reported:.4f} ({row.replicated - row.reported:+.4f}).")
else:
    print("The logs are of CiteULike: nothing here to put beside them" + (" yet." if profile == "paper" else "."))

# %% [markdown]
# ## Better than the student alone?
#
# As in notebook 05: each user's metric with one method less that with S, an interval by resampling users (and seeds), the effect size before $p$. Ranked among all items as well.

# %%
differences, first_of = derrd_report.against_student(records, resamples)
if first_of:
    report.write_table(differences, "07_against_student", profile, records, NOTEBOOK)
    show(differences)
    fig = derrd_plots.differences(first_of, "H@5")
    plots.save(fig, "07_against_student", profile, records, NOTEBOOK)
    clear = [role for role, c in first_of.items() if c.low > 0]
    worse = [role for role, c in first_of.items() if c.high < 0]
    print(f"H@5: the interval lies above 0 for {', '.join(clear) or 'none'}" + (f", below for {', '.join(worse)}" if worse else "")
          + f"; it reaches {max(c.high - c.difference for c in first_of.values()):.3f} to either side at most, with "
          f"{next(iter(first_of.values())).n_users:,} users.")
else:
    print("No method has a seed in common with S yet.")

# %% [markdown]
# ## Sampled or among all items?
#
# Among 499 drawn items a test item meets few of its strong rivals. Sampled metrics measure something else than the same metrics over all items, and can even order methods
# otherwise (Krichene & Rendle, KDD 2020). Here the ranks of one run are known under both, and under another draw of 499, which shows what the draw alone is worth.

# %%
tables = {metric: derrd_report.rankings(records, metric) for metric in ("H@10", "N@10")} if len(records) > 1 else {}
if tables:
    fig = derrd_plots.sampled_and_full(tables)
    plots.save(fig, "07_sampled_full", profile, records, NOTEBOOK)
    report.write_table(pd.concat(tables, names=["metric"]).reset_index(), "07_rankings", profile, records, NOTEBOOK)
    changes = pd.concat({metric: derrd_report.order_changes(table) for metric, table in tables.items()}, names=["metric"])
    changes = changes.reset_index("metric").reset_index(drop=True)
    report.write_table(changes, "07_order_changes", profile, records, NOTEBOOK)
    show(tables["N@10"].reset_index())
    show(changes)

# %%
if tables:
    for metric, part in changes.groupby("metric"):
        again, full = (part[part["beside"] == name].iloc[0] for name in ("drawn anew", "all items"))
        pairs_in_all = len(tables[metric]) * (len(tables[metric]) - 1) // 2
        print(f"{metric}: another draw of 499 moves a value by up to {again['largest change']:.4f}. Of {pairs_in_all} pairs of roles it puts "
              f"{again['turned']} into the other order,\n    ranking all items {full['turned']} (tau {full['tau']:.2f}): the order of "
              + (f"methods CHANGES ({full['pairs turned']})." if full["turned"] else "methods stays."))
else:
    print("Fewer than two roles are on record: there is no order yet.")

# %% [markdown]
# ## Table 3: what a student costs
#
# Parameters are those of the kept student, to the digit. The paper prints a time in seconds (56 to 59 on CiteULike with BPR) which our sources do not explain; ours are
# the median of a training epoch, so the two are not compared. The ratio is DE-RRD's H@5 over its teacher's.

# %%
by_size = {size: found(pair) for size, pair in derrd.size_sweep(plan).items()} if sweeps else {}
students = {size: pair["DE-RRD"] for size, pair in by_size.items() if "DE-RRD" in pair}
try:
    interactions = datasets.load(plan.dataset, download=profile != "paper")
    shape = (interactions.n_users, interactions.n_items)
except data.DataError:
    shape = None
table3 = derrd_report.derrd_table3(plan, students, first.get("T"), shape)
costs = [*students.values(), *([first["T"]] if "T" in first else [])]
report.write_table(table3, "derrd_table3", profile, costs, NOTEBOOK)
display(Markdown(report.markdown(derrd_report.table3_text(table3))))

# %% [markdown]
# ### The student's size

# %%
if "T" in first and any(by_size.values()):
    fig = derrd_plots.size_sweep(by_size, first["T"], sizes["T"])
    seen = [record for pair in by_size.values() for record in pair.values()]
    plots.save(fig, "07_sizes", profile, [*seen, first["T"]], NOTEBOOK)
for size, pair in by_size.items():
    if {"S", "DE-RRD"} <= set(pair):
        gain = pair["DE-RRD"].chosen["H@5"] - pair["S"].chosen["H@5"]
        print(f"phi = {size / sizes['T']:.3g}: DE-RRD - S = {gain:+.4f} in H@5.")
    else:
        print(f"phi = {size / sizes['T']:.3g}: not run yet.")

# %% [markdown]
# ## Table 4: which part does it?
#
# DE with **attention** (the softmax alone, no noise, no temperature), with **one large** expert (as many parameters as all together) and with **one small**; RRD with the teacher's order of *all*
# $K + L$ items (**full**), on the **interesting** ones alone ($L = 0$: ListMLE), and on the **top** of the list without drawing. The paper's numbers are of Foursquare, whose split is not published.

# %%
designs = found(derrd.designs(plan)) if sweeps else {}
base = [first[role] for role in ("DE", "RRD") if role in first]
table4 = derrd_report.derrd_table4([*base, *designs.values()])
report.write_table(table4, "derrd_table4", profile, [*base, *designs.values()], NOTEBOOK)
part = table4.dropna(subset=["replicated"])
if len(part):
    display(Markdown(report.markdown(report.wide(part))))
h5 = part[part["metric"] == "H@5"].set_index("role")["replicated"]
for name in ("DE", "RRD"):
    variants = {role: h5[role] for role in h5.index if role.startswith(f"{name}-") and role != "DE-RRD"}
    if name in h5.index and variants:
        better = [role for role, value in variants.items() if value > h5[name]]
        print(f"H@5: {name} has {h5[name]:.4f}; above it, of {len(variants)} variants: {', '.join(better) or 'none'}.")
    else:
        print(f"{name} and its variants: not run yet.")

# %% [markdown]
# ## Table 5: the two weights

# %%
pairs = found(derrd.weight_grid(plan)) if sweeps else {}
table5 = derrd_report.derrd_table5(plan, pairs)
report.write_table(table5, "derrd_table5", profile, list(pairs.values()), NOTEBOOK)
if len(pairs) == len(table5):
    fig = derrd_plots.weight_grid(table5)
    plots.save(fig, "07_weights", profile, list(pairs.values()), NOTEBOOK)
    best = table5.loc[table5["H@5-validation"].idxmax()]
    print(f"On the validation items DE weighs best at {best['lambda_de']:g} and RRD at {best['lambda_rrd']:g}; over the grid H@5 on test goes from "
          f"{table5['H@5'].min():.4f} to {table5['H@5'].max():.4f}.")
else:
    print(f"{len(pairs)} of {len(table5)} pairs of weights are run.")

# %% [markdown]
# ## What it says
#
# Whatever stands above is about the data set and the sizes of this profile.

# %%
if profile == "paper":
    verdicts = differences[(differences["metric"] == "H@5") & (differences["ranked among"] == "sampled")]
    for row in verdicts.itertuples():
        print(f"{row.what} on {plan.dataset}, H@5: {row.difference:+.4f}, better: {row.better}.")
    beside = sorted({f"{derrd_report.family(r.description)} on {r.description['dataset']}" for r in others})
    print(f"Beside BPR on {plan.dataset} there {'are' if beside else 'is'}: {', '.join(beside) or 'nothing yet'}.")
else:
    print(f"{plan.dataset} is none of the paper's data sets and these runs are small: whatever the tables say,\n"
          "it neither supports nor contradicts the paper. NeuMF, more seeds and the paper's data belong to profile paper.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
every = list({record.key: record for record in [*given.values(), *others]}.values())
print(manifest.provenance(every, plan.teacher("L", seed).data_hash, seed, started))
