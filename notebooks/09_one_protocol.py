# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 One protocol for all
#
# The three papers never met on common ground. *Ranking Distillation* ranks sequences with Caser among all items, *DE-RRD* ranks users
# with BPR among 499 drawn items, *RankDistil* ranks documents. Each compares itself with predecessors that it tuned itself. Here every
# method distils the same teachers into the same students, on the same data, with the same training, the same number of trials for its
# weight and the same judgement.
#
# * **RD** (2018) with three weightings: the hybrid one (`RD`), by position, equal. Notebook 03.
# * **CD** (collaborative distillation, 2019): the teacher's opinion of items drawn from the student's list. Notebook 07.
# * **RRD**, **DE** and both, **DE-RRD** (2020). Notebook 07.
# * **RankDistil** (2021) in its forms C, B and P. Notebook 08.
#
# **The protocol.** Of every user the last item but one is the validation item and the last one the test item (CiteULike: those that
# were published as such). A run is trained until its validation items have not been ranked better among 499 sampled negatives (H@5, H@10
# and H@20) for some epochs, and is judged as it was at the epoch with the best H@5 there: DE-RRD's way. The weight of a method is chosen by nDCG@10 of the **validation** items among all items, with the first seed, from
# as many weights for each method. The student alone, **S**, has nothing to weigh; it gets as many trials of its weight decay, or the methods
# would have been tuned and their rival not. The **test** items are then ranked among all items that the user does not have, for all seeds. Training is
# DE-RRD's as released; on Gowalla, which has four times as many interactions, with batches, rate and decay four times as large.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
resamples: int = 10_000  # of the bootstrap behind every interval
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time

import pandas as pd
from IPython.display import Markdown, display

from rdcore.store import runs
from studies.common import item_groups, manifest, plots, report
from studies.common.plan import at_border, chosen_weights
from studies.common.profiles import PROFILES
from studies.one_protocol import plan as one_protocol
from studies.one_protocol import plots as one_protocol_plots
from studies.one_protocol import tables as one_protocol_tables

started = time.perf_counter()
NOTEBOOK = "09_one_protocol"
if profile not in PROFILES or resamples < 100:
    raise ValueError(f"profile must be one of {', '.join(PROFILES)} and resamples at least 100")
plots.use_style()
comparables = {plan.label: plan for plan in PROFILES[profile].one_protocol}


def show(frame, **formats):
    """A table for people: numbers with so many digits, nothing where there is no number."""
    texts = frame.copy()
    for column in texts.select_dtypes("number").columns:
        form = formats.get(column, "{:.4f}")
        texts[column] = texts[column].map(lambda value, form=form: "" if pd.isna(value) else form.format(value))
    display(Markdown(report.markdown(texts.fillna(""))))


# %% tags=["nbval-check-output"]
for c in comparables.values():
    sizes = {role: settings.dim for role, settings in c.models.items()}
    print(f"{c.label}: T d = {sizes['T']}, S d = {sizes['S']}, seeds {', '.join(map(str, c.table_seeds))}; {len(one_protocol.roles(c))} methods and S, "
          f"{len(c.grids['S'])} trials each")

# %% [markdown]
# ## The weights
#
# What a weight multiplies differs from method to method (a mean over ten items, a sum over all items behind a list), so each has a grid
# of its own scale, with as many values. For DE-RRD it is a factor on both of its weights at once; for S it is one on the weight decay, of
# which the methods keep the plan's own (factor 1). A value at the border of its grid may have a better one beyond.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True, "optional": True}
tried = {name: runs.records([run for of_role in c.trials().values() for run in of_role.values()], **options)
         for name, c in comparables.items()}
not_run = [name for name, records in tried.items() if not any(records)]
if not_run:
    print(f"Not run, and left out below: {', '.join(not_run)}.")
    comparables = {name: c for name, c in comparables.items() if name not in not_run}
    tried = {name: tried[name] for name in comparables}
chosen = {name: chosen_weights(c, tried[name]) for name, c in comparables.items()}
trials = pd.concat([one_protocol_tables.trial_table(c, tried[name]) for name, c in comparables.items()], ignore_index=True)
seen = [record for records in tried.values() for record in records if record is not None]
trials["weight"] = trials["weight"].map("{:g}".format)
report.write_table(trials, "09_trials", profile, seen, NOTEBOOK)
for name, part in trials.groupby("runs", sort=False):
    display(Markdown(f"**{name}**, nDCG@10 of the validation items"))
    lines = part.assign(chosen=part["chosen"].map({True: "yes", False: ""}))
    show(lines.drop(columns="runs"))
    at_border = at_border(comparables[name], chosen[name])
    print(f"{name}: {len(chosen[name])} of {len(comparables[name].grids)} have a weight"
          + (f"; at the border of their grid: {', '.join(at_border)}." if at_border else "."))

# %% [markdown]
# ## The table
#
# `N@10-full` is nDCG@10 of the test items among all items, `N@10` that among 499 drawn ones, as DE-RRD has it. `over S` is the difference to
# the student alone, with a 95 % interval from a bootstrap over users and seeds, and `p` is corrected by Holm's method over the methods of
# a table. *indication*: the interval lies above 0 and all seeds agree, with fewer than five of them; *replicates*: with five.

# %%
wanted = {name: one_protocol.table_runs(c, chosen[name]) for name, c in comparables.items()}
rows = {name: [record for record in runs.records(planned, **options) if record] for name, planned in wanted.items()}
tables = {name: one_protocol_tables.table(c, rows[name], resamples) for name, c in comparables.items()}
tables = {name: table for name, table in tables.items() if len(table)}
used = [record for records in rows.values() for record in records]
if tables:
    everything = pd.concat(tables.values(), ignore_index=True)
    report.write_table(everything, "09_methods", profile, used, NOTEBOOK)
    for_programs = pd.concat([one_protocol_tables.long_table(c, rows[name]) for name, c in comparables.items()], ignore_index=True)
    report.write_table(for_programs, "one_protocol", profile, used, NOTEBOOK)
for name, table in tables.items():
    display(Markdown(f"**{name}**"))
    show(table.drop(columns=["runs", "epochs", "seconds"]), seeds="{:.0f}", p="{:.3f}", effect_size="{:+.3f}",
         **{"over S": "{:+.4f}"}, low="{:+.4f}", high="{:+.4f}")  # fmt: skip
for name, planned in wanted.items():
    lacking = len(planned) - len(rows[name])
    without = [role for role in comparables[name].grids if role not in chosen[name]]
    if lacking or without:
        print(f"{name}: {lacking} of {len(planned)} runs are not on record" + (
            f"; without a weight, because a trial is not run: {', '.join(without)}." if without else "."))

# %% [markdown]
# Where S's trials chose another weight decay than the plan's, its rows above have that one, while the methods' students have the plan's. A
# choice on the validation items of one seed is a noisy one and need not be better on the test items. So here is what the methods have over S
# with the plan's decay.

# %%
for name, c in comparables.items():
    if chosen[name].get("S", 1) == 1:
        print(f"{name}: S keeps the plan's decay.")
        continue
    alone = [record for record in runs.records([c.student("L", seed) for seed in c.table_seeds], **options) if record]
    over = one_protocol_tables.over_the_plans_own(c, rows[name], alone, resamples)
    report.write_table(over, f"09_plans_decay_{name.replace(' ', '_')}", profile, [*rows[name], *alone], NOTEBOOK)
    mean = {what: sum(record.chosen[one_protocol.METRIC] for record in found) / len(found)
            for what, found in (("own", alone), ("chosen", [r for r in rows[name] if r.description["role"] == "S"]))}
    display(Markdown(f"**{name}**: S has {mean['own']:.4f} with the plan's decay, {mean['chosen']:.4f} with the chosen one"))
    show(over.drop(columns="runs"), **{"over S, plan's decay": "{:+.4f}"}, low="{:+.4f}", high="{:+.4f}")

# %%
judged = {name: table for name, table in tables.items() if {"S"} <= set(table["role"]) and len(table) > 1}
if judged:
    fig = one_protocol_plots.quality(judged)
    plots.save(fig, "09_quality", profile, used, NOTEBOOK)

# %% [markdown]
# ## Which conclusions survive?
#
# Conclusions that the papers draw about methods met here. *indication* and *replicates* as above; *indication of the opposite*: the interval of
# the difference in nDCG@10 lies below 0 and all seeds agree; *open*: neither. With eleven conclusions for each data set, and no correction over
# them, one may hold by chance.

# %%
said = pd.concat([one_protocol_tables.conclusions(c, rows[name], resamples) for name, c in comparables.items()], ignore_index=True)
report.write_table(said, "09_conclusions", profile, used, NOTEBOOK)
for name, part in said.groupby("runs", sort=False):
    display(Markdown(f"**{name}**"))
    show(part.drop(columns="runs"), effect="{:+.4f}", low="{:+.4f}", high="{:+.4f}")

# %%
for name, table in judged.items():
    methods = [role for role in one_protocol.roles(comparables[name]) if role in set(table["role"])]
    against = one_protocol_tables.against_each_other(rows[name], methods, resamples)
    if not against:
        continue
    by_role = table.set_index("role")
    best = by_role.loc[methods, one_protocol.METRIC].idxmax()
    better = [role for role in methods if by_role.loc[role, "better than S"] != "no"]
    worse = [role for role in methods if by_role.loc[role, "high"] < 0]
    beaten = [role for role, c in against.items() if c.low > 0]
    open_ = [role for role in against if role not in beaten]
    # The best is picked by the same test items on which it is then compared: that flatters it.
    print(f"{name}. Better than the student alone: {', '.join(better) or 'none'}"
          + (f"; worse: {', '.join(worse)}" if worse else "") + f" (of {len(methods)} methods).\nThe highest mean has {best}; "
          + f"it is clearly above {', '.join(beaten) or 'none of the others'}"
          + (f", and not to be told from {', '.join(open_)}" if open_ else "") + " (picked and compared on the same items).")

# %% [markdown]
# ## Cost, and closeness to the teacher
#
# Time is that of the whole training of a run, teacher's lists included and the teacher's own training not, as a multiple of the
# student's own. Several runs were trained at a time, so that it is a coarse number, and a method whose runs were not trained on the
# student's device has none. Overlap is the share of the student's first ten items that are among the teacher's first ten. A student
# that agrees more with the teacher need not rank better.

# %%
for name, table in judged.items():
    fig = one_protocol_plots.cost_and_agreement(table)
    plots.save(fig, f"09_cost_{name.replace(' ', '_')}", profile, rows[name], NOTEBOOK)
    distilled = table[~table["role"].isin(["T", "S"])].dropna(subset=["overlap@10"])
    if len(distilled) > 2:
        rank = distilled["overlap@10"].corr(distilled[one_protocol.METRIC], method="spearman")
        cost = distilled.set_index("role")["seconds"] / table.set_index("role").loc["S", "seconds"]
        print(f"{name}: over {len(distilled)} methods, Spearman's correlation of overlap and nDCG@10 is {rank:+.2f}. "
              f"Training takes {cost.min():.1f} ({cost.idxmin()}) to {cost.max():.1f} ({cost.idxmax()}) times the student's time."
              + (f" No time, for want of the same device: {', '.join(cost.index[cost.isna()])}." if cost.isna().any() else ""))

# %% [markdown]
# ## Who pays? Accuracy by the popularity of items
#
# Distillation is reported to help popular items at the expense of the others. Items stand in groups of about equal shares of the
# training interactions. Numbers are the share of held-out items found among the first ten; the colour is the difference to the student.

# %%
for name in judged:
    c = comparables[name]
    measured = {role: [item_groups.recorded(record) for record in rows[name] if record.description["role"] == role]
                for role in ("T", "S", *one_protocol.roles(c))}  # fmt: skip
    measured = {role: found for role, found in measured.items() if found and None not in found}
    if "S" in measured:
        fig = one_protocol_plots.popularity(measured)
        plots.save(fig, f"09_popularity_{name.replace(' ', '_')}", profile, rows[name], NOTEBOOK)
        mean = {role: pd.DataFrame([item_groups.recall(one) for one in found]).mean() for role, found in measured.items()}
        methods = [role for role in one_protocol.roles(c) if role in mean]
        down = [role for role in methods if mean[role].iloc[0] < mean["S"].iloc[0]]
        up = [role for role in methods if mean[role].iloc[-1] > mean["S"].iloc[-1]]
        print(f"{name}: on the least popular items {len(down)} of {len(methods)} methods find fewer than S"
              f"{' (' + ', '.join(down) + ')' if down else ''};\non the most popular ones {len(up)} find more.")

# %% [markdown]
# ## What it says
#
# Whatever stands above is about these data sets, these sizes and this protocol.

# %%
if profile == "paper":
    complete = [name for name, planned in wanted.items()
                if len(planned) == len(rows[name]) and len(chosen[name]) == len(comparables[name].grids)]
    print(f"Complete: {', '.join(complete) or 'none of the comparisons yet'}. Not complete: "
          + (", ".join([*(name for name in comparables if name not in complete), *not_run]) or "none") + ".")
else:
    print("One small data set and small models: enough to see the machinery work, not to rank the methods of three papers.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
every = list({record.key: record for record in [*seen, *used]}.values())
first = next(iter(comparables.values()))
print(manifest.provenance(every, first.teacher("L", 1).data_hash, first.table_seeds[0], started))
