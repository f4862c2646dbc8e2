# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 One protocol for all methods
#
# **At the end of this notebook you will know** what ten ways to distil gain over the student alone when all have the same teachers, the
# same students and the same number of trials, why that is no ranking of methods, and what each method costs.
#
# No paper compares all these methods under one protocol, and each paper tuned the older methods that it beats. Here every method
# teaches the same small model (the student **S**) by the same large one (the teacher **T**):
#
# * **RD** (Ranking Distillation, 2018) with three weightings: hybrid (`RD`), `RD-position`, `RD-equal`; notebook 03;
# * **CD** (Collaborative Distillation, 2019): the teacher's opinion of items drawn from the top of the student's list (as published: from all of it);
#   notebook 07;
# * **RRD**, **DE** and both, **DE-RRD** (2020); notebook 07;
# * **RankDistil** (2021) in its forms C, B and P, parts of which are our choice; notebook 08.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time

import pandas as pd

from studies.common import item_groups, report, style
from studies.common.plan import chosen_weights
from studies.common.profiles import PROFILES
from studies.notebooks import page
from studies.one_protocol import plan as protocol
from studies.one_protocol import plots as protocol_plots
from studies.one_protocol import tables as protocol_tables

started = time.perf_counter()
NOTEBOOK = "09_one_protocol"
style.use_style()
own = PROFILES[profile].one_protocol
papers = {plan.label: plan for plan in PROFILES["paper"].one_protocol}
shown = {"P": "{:.3f}", **dict.fromkeys(["over S", "low", "high", "effect"], "{:+.4f}")}

# %% [markdown]
# ## 1. The rules
#
# * One item of every user is the **test item** and one the **validation item**: the last two, and on CiteULike those of the published split.
#   The test item is ranked among all items that the user does not have. With its rank $p$, `N@10` (nDCG@10) is $1/\log_2(p+1)$ if
#   $p \le 10$, else 0.
# * Training stops when the ranks of the validation items among 499 drawn ones no longer improve, and the epoch with the best H@5 there counts, as
#   in DE-RRD's code (notebook 07).
# * Each method has one weight (DE-RRD one factor of its two), tried at the same number of values. The best one by `N@10` of the *validation* items
#   of the first seed is used for all seeds.
# * S alone has no weight to try. It gets as many trials of its weight decay; otherwise the methods would be tuned and the baseline not.
#
# The code that chooses is short. On made-up values of three trials:

# %%
trials = {0.1: 0.052, 0.3: 0.055, 1.0: 0.055}  # weight -> nDCG@10 on the validation items
best = min(trials, key=lambda weight: (-trials[weight], weight))  # the smaller one of equals
page.say(f"Chosen: {best}.")

# %% [markdown]
# ## 2. The result at the paper's size
#
# Committed records, on every profile. `over S` is the difference to the student alone in `N@10-full` (the metric of section 1) with its 95 % interval over
# users and seeds; `p` is corrected for the number of methods (notebook 05).
# *Clearly better* means that the interval lies above 0, before this correction. The last lines also name the methods that are left after it.

# %%
rows = protocol.committed_comparisons()
tables = {label: protocol_tables.table(papers[label], records) for label, records in rows.items()}
fig = protocol_plots.quality(tables)
style.save(fig, "09_quality", profile, [record for records in rows.values() for record in records], NOTEBOOK)

# %%
columns = ["role", "seeds", "H@10-full", "N@10-full", "over S", "low", "high", "p", "better than S"]
for label, table in tables.items():
    page.say(f"**{label}**")
    page.show(table[columns], **{"p": "{:.3f}", **shown})

# %%
page.say_lines(page.better_in_words(label, papers[label], table) for label, table in tables.items())

# %% [markdown]
# ## 3. Which methods can be compared with each other?
#
# As many trials do not mean as much distillation. The *strength* of a trial is its distillation loss over its base loss. Two methods
# whose trials have no strength in common differ in strength and in kind: which of the two makes the difference cannot be said, and the
# table calls them *not assessable*. It lists what two of the papers conclude about methods that are here, and what our runs say. Among so many
# conclusions one may hold by chance.

# %%
page.say_lines(f"**{label}**, strength of the trials: {protocol_tables.strengths_in_words(papers[label])}." for label in rows)
said = {label: protocol_tables.conclusions(papers[label], records) for label, records in rows.items()}
for label, table in said.items():
    page.say(f"**{label}**")
    page.show(table.drop(columns="runs"), **shown)

# %% [markdown]
# ## 4. Cost, and closeness to the teacher
#
# Points on the left of the time axis are cheap. Time is the whole training of a distilled student, as a multiple of the training
# of S; the teacher's training is not counted. A method that ran on another kind of device than S has no point there. `overlap` is the share of common items in the lists of ten of student and teacher.
# A student that agrees more with the teacher need not rank better.

# %%
for label, table in tables.items():
    page.say(f"**{label}**")
    page.picture(lambda of=table: protocol_plots.cost_and_agreement(of), f"09_cost_{label.replace(' ', '_')}", profile, rows[label],
                 NOTEBOOK)  # fmt: skip

# %% [markdown]
# ## 5. Who pays?
#
# Distillation is said to help popular items at the expense of rare ones. Items are in groups with equal shares of the training interactions, rare
# ones on the left. Numbers are shares of test items among the first ten; the colour is the difference to the student.

# %%
for label, records in rows.items():
    page.say(f"**{label}**")
    of_role = page.by_role(records, ["T", "S", *protocol.roles(papers[label])], item_groups.recorded)
    page.picture(lambda found=of_role: protocol_plots.popularity(found), f"09_popularity_{label.replace(' ', '_')}", profile,
                 records * ("S" in of_role), NOTEBOOK)  # fmt: skip

# %% [markdown]
# ## 6. The same in small
#
# The runs of this profile, trained now where they are missing. One small data set cannot rank the methods of four papers. It shows the protocol at work.
# What is chosen is the weight of a method, and of S a factor of its weight decay.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
found = []  # for each data set of the profile: its plan, its trials, the weights that they choose
for plan in own:
    named = {f"{role} {weight:g}": run for role, tried in plan.trials().items() for weight, run in tried.items()}
    tried = page.have(named, **options)
    found.append((plan, tried, chosen_weights(plan, tried.values())))
table = pd.concat([protocol_tables.trial_table(p, t.values()) for p, t, _ in found], ignore_index=True)
report.write_table(table, "09_trials", profile, [record for _, t, _ in found for record in t.values()], NOTEBOOK)
plan, tried, chosen = found[0]
page.folded_table("All trials", table)
page.say("Chosen:", ", ".join(f"{role} {weight:g}" for role, weight in chosen.items()) + ".", when=bool(chosen))

# %%
wanted = [{f"{run.role}, seed {run.seed}": run for run in protocol.table_runs(p, weights)} for p, _, weights in found]
of_plans = [list(page.have(each, **options).values()) for each in wanted]
pairs = [(p, each) for (p, _, _), each in zip(found, of_plans, strict=True)]
used, records = [record for each in of_plans for record in each], of_plans[0]
every = pd.concat([protocol_tables.table(p, each) for p, each in pairs], ignore_index=True)
report.write_table(every, "09_methods", profile, used, NOTEBOOK)
every = pd.concat([protocol_tables.long_table(p, each) for p, each in pairs], ignore_index=True)
report.write_table(every, "one_protocol", profile, used, NOTEBOOK)
table = protocol_tables.table(plan, records)
page.show(table[columns], **{"p": "{:.3f}", **shown})

# %% tags=["nbval-check-output"]
quality = table.set_index("role")["N@10-full"]
page.say("Is the teacher better than the student?", "Yes." if quality["T"] > quality["S"] else "No.",
         f"{len(chosen)} of {len(plan.grids)} rows have a chosen weight.")  # fmt: skip

# %%
methods = table[~table["role"].isin(["T", "S"])].set_index("role")
above, clearly = (list(methods.index[methods[column] > 0]) for column in ("over S", "low"))
page.say(f"{len(above)} of {len(methods)} methods have a higher mean than the student alone over {int(table['seeds'].max())} seeds.",
         f"For {len(clearly)} of them the 95 % interval excludes 0, so they clearly rank better: {', '.join(clearly) or 'none'}.")

# %% [markdown]
# ## What you have seen
#
# * What a method gains over the student alone differs between data sets.
# * Equal numbers of trials are not equal strength: this is no ranking of methods.
# * The student alone must be tuned as well, or every method looks better than it is.
# * Agreement with the teacher is not quality.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
every = [*(record for records in rows.values() for record in records), *tried.values(), *records]
page.provenance(every, plan.teacher("L", plan.table_seeds[0]).data_hash, plan.table_seeds[0], started)
