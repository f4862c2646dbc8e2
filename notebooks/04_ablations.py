# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 Ablations: which setting matters, and is it the teacher?
#
# **At the end of this notebook you will know** how each setting of Ranking Distillation (RD, notebook 03) is varied alone, when a
# difference between two values means something, and how much of RD's gain really comes from the teacher.
#
# RD teaches a small model (the student **S**) the top $K$ items of a large one (the teacher **T**), each item with a weight. Seven settings are
# varied, one at a time around the values of our tables:
#
# | setting | meaning |
# |---|---|
# | $K$ | length of the teacher's list |
# | $\lambda$ | how slowly the weights fall with the teacher's position |
# | $\mu$ | how soon a difference between the student's and the teacher's rank counts fully |
# | rank samples | how many random items estimate the student's rank |
# | loss weight $\alpha$ | 0: the users' choices alone; 1: the teacher's lists alone; here $(1-\alpha) L^R + \alpha L^D$ |
# | student size | length of the student's vectors |
# | share of data | the part of the training examples that T, S and RD see |
#
# Each value is measured on **validation** data. No model has learnt from them, and they are not the test data: looking at the
# test data for every value and reporting the best one would be fitting to the test. The model is Fossil, the faster of the
# paper's two.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
model: str = "Fossil"  # Fossil or Caser
seed: int = 1  # of the controls; the sweeps take 100 more
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time
from dataclasses import replace

import numpy as np
import pandas as pd

from studies.common import report, style
from studies.common.profiles import PROFILES
from studies.notebooks import page, pictures
from studies.rd import ablation_report as reports
from studies.rd import ablations, sweep_plots

started = time.perf_counter()
style.use_style()
NOTEBOOK = "04_ablations"
plan = dict(zip(("Caser", "Fossil"), PROFILES[profile].rd, strict=True))[model]
suffix = {"Fossil": "", "Caser": "_caser"}[model]
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
sweeps = ablations.sweeps(plan, "V", seed + 100)
page.say(f"Data: {plan.dataset}, {model}. T has vectors of {plan.models['T'].dim} numbers, S of {plan.models['S'].dim}; "
         f"{plan.training.epochs} epochs.")

# %% [markdown]
# ## 1. How a setting is varied
#
# A run is described by its settings, and one value is one changed description. For example $K$:

# %%
base = plan.distilled("V", seed + 100)  # RD as in the tables
changed = {K: replace(base, distillation=replace(base.distillation, K=K)) for K in plan.sweeps["K"]}
for K, run in changed.items():
    planned = sweeps["K"][str(K)]["RD"]
    assert run.distillation == planned.distillation and run.training == planned.training  # the plan has the same run
page.show(reports.plan(sweeps))

# %%
reference = {"RD": base, "S": plan.student("V", seed + 100), "T": plan.teacher("V", seed + 100)}
again = {f"S, seed {s}": plan.student("F", s) for s in (seed, seed + 1)}
points = {f"{sweep}: {value} ({role})": run for sweep, values in sweeps.items() for value, roles in values.items()
          for role, run in roles.items()}  # fmt: skip
found = page.have(reference | again | points, folded=True, **options)
by_key = {record.key: record for record in found.values()}
table = reports.table(sweeps, by_key)
_ = report.write_table(table, f"ablations{suffix}", profile, list(by_key.values()), NOTEBOOK)

# %% [markdown]
# ## 2. What counts as a difference?
#
# There is one run for each value, and two runs differ by chance too. The **noise** is guessed in two ways: how much RD - S still
# moves over the later half of the epochs, and how far two students with different seeds are apart. The larger of the two counts.
# The best and the worst of several values are further apart than two runs are. Take six values that differ by chance alone: in
# one sweep of twenty, the best and the worst are at least 3.5 times as far apart as two runs typically are.

# %%
level = {role: reports.last(found.get(role)) for role in ("RD", "S", "T")}
guesses = reports.noise(found.get("RD"), found.get("S"), [found.get(name) for name in again])
noise = max(guesses.values(), default=np.nan)
page.say_lines([
    "MAP on validation: " + ", ".join(f"{role} {value:.4f}" for role, value in level.items() if not np.isnan(value)) + ".",
    "Noise: " + ", ".join(f"{value:.4f} by {what}" for what, value in guesses.items()) + ".",
])  # fmt: skip

# %% [markdown]
# ## 3. All sweeps in one picture
#
# Each panel is one setting. The shaded band is the noise around RD as in the tables; the horizontal lines are RD, S and T of the
# tables. Where a curve stays in the band, the setting does not matter here.

# %%
labels = {"K": "K", "lambda": "λ", "mu": "μ", "rank samples": "rank samples", "loss weight": "loss weight α",
          "student size": "student size", "share of data": "share of data"}  # fmt: skip
page.picture(lambda: sweep_plots.panels(table, reference=level, floor=noise), f"04_sweeps{suffix}", profile, list(by_key.values()), NOTEBOOK)

# %%
spread = [{"setting": label, **page.spread(table, sweep, noise)} for sweep, label in labels.items() if sweep not in ("student size", "share of data")]
page.show_or_note(pd.DataFrame(spread) if by_key else None, "no sweep is on record", **{"best - worst": "{:.4f}"})

# %% [markdown]
# `beyond chance` compares the distance between the best and the worst value with the distance that the same number of values
# reaches by chance.
#
# * $\mu$ has no influence as soon as *one* sampled item that beats the teacher's item makes the weight nearly 1. With $N$ items
#   and $S$ samples an estimated rank is a multiple of $N/S$, so this happens for every $\mu$ above $2.65\, S/N$.
# * The paper's Figure 6 shows that both ends of $\alpha$ are bad. Distillation alone ($\alpha = 1$) never sees a negative item.
#
# ## 4. Paper and released code
#
# The published numbers come from code that differs from the text. Each difference that can change a number is tried alone, then all together.

# %%
page.picture(lambda: sweep_plots.dots(table, "paper and code", reference=level, floor=noise), f"04_paper_and_code{suffix}", profile,
             page.records_of(sweeps, "paper and code", by_key), NOTEBOOK)  # fmt: skip
page.folded_table("All values of all sweeps", table.drop(columns="key").round(4))

# %% [markdown]
# ## 5. Is it the teacher?
#
# RD gives every query $K$ further positives. Perhaps any plausible ones would do? Controls with the same $K$ and weights:
#
# * lists of *random* items that the user has not had,
# * lists of *popular* items,
# * lists of *another student* (same size, other seed),
# * no lists, but $K$ further negatives for S.
#
# They are measured on **test**, once, and nothing is chosen by them. First the controls at the paper's size (committed records, Caser on Gowalla).

# %%
at_size = page.as_recorded(ablations.controls(PROFILES["paper"].rd[0], "F", 1))
paper = page.have(at_size, profile="paper")
paper_keys = {record.key: record for record in paper.values()}
verdicts, compared = reports.controls(at_size, paper_keys)
signed = dict.fromkeys(["MAP - S", "low", "high"], "{:+.4f}") | dict.fromkeys(["share of RD - S", "share low", "share high"], "{:.0%}")
page.show(verdicts.drop(columns=["key", "role"]), **signed)
fig = pictures.rows_of(compared, "difference to S in MAP, 95 % interval over users")
style.save(fig, "04_controls_caser", profile, list(paper.values()), NOTEBOOK)

# %%
page.say(reports.attribution(verdicts))

# %% [markdown]
# The same in small:

# %%
controls = ablations.controls(plan, "F", seed)
own = page.have(controls, **options)
own_keys = {record.key: record for record in own.values()}
verdicts, compared = reports.controls(controls, own_keys)
report.write_table(verdicts, f"controls{suffix}", profile, list(own.values()), NOTEBOOK)
page.show(verdicts.drop(columns=["key", "role"]), **signed)
page.say(reports.attribution(verdicts))

# %% tags=["nbval-check-output"]
page.say("Is the teacher better than the student on validation?", {True: "Yes.", False: "No."}.get(level["T"] > level["S"]), when=bool(by_key))

# %% [markdown]
# ## What you have seen
#
# * Vary one setting at a time, on validation data, and know the noise before you believe a curve.
# * A setting whose curve stays in the band needs no tuning here; the size of the student and the share of data matter most.
# * Controls show which part of a gain needs the teacher's ranking.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance([*by_key.values(), *own.values(), *paper.values()], reference["T"].data_hash, seed, started)
