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
# RD teaches a small model (the student **S**) the top $K$ items of a large one (the teacher **T**), each item with a weight. Nine settings are
# varied, one at a time around the values of our tables. Most are varied around **RD-position**, whose weights depend on the teacher's position
# alone and stay the same: the weights of **RD-hybrid** fade after some epochs, and with them the influence of everything else. RD-hybrid is varied
# where a setting exists for it alone.
#
# | setting | meaning | varied around |
# |---|---|---|
# | $K$ | length of the teacher's list | RD-position |
# | $\lambda$ | how slowly the weights fall with the teacher's position | RD-position |
# | loss weight $w$ | the loss is $L^R + w L^D$: 0 is the users' choices alone; *alone* is $L^D$ without $L^R$. The paper has $(1-\alpha) L^R + \alpha L^D$, so $\alpha = w / (1 + w)$ | RD-position |
# | student size | length of the student's vectors | RD-position |
# | share of data | the part of the training examples that T, S and RD see | RD-position |
# | left out | what the lists leave out: the *target* of the example, or all items *seen* by the user | RD-position |
# | $\mu$ | how soon a difference between the student's and the teacher's rank counts fully | RD-hybrid |
# | rank samples | how many random items estimate the student's rank | RD-hybrid |
# | start epoch | the first epoch with hybrid weights; before it they are those of RD-position | RD-hybrid |
#
# Each value is measured on **validation** data. No model has learnt from them, and they are not the test data: looking at the
# test data for every value and reporting the best one would be fitting to the test. The model is Fossil, the faster of the
# paper's two (on profile `paper` it is Caser, whose sweeps are planned first).

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
model: str = ""  # Fossil or Caser; empty: Fossil, on profile paper Caser
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
from studies.common.reported import reported
from studies.notebooks import page, pictures
from studies.rd import ablation_report as reports
from studies.rd import ablation_results, ablations, sweep_plots

started = time.perf_counter()
style.use_style()
NOTEBOOK = "04_ablations"
standard = "Caser" if profile == "paper" else "Fossil"
model = model or standard
plan = dict(zip(("Caser", "Fossil"), PROFILES[profile].rd, strict=True))[model]
suffix = "" if model == standard else f"_{model.lower()}"
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
seeds = [seed + 100 + more for more in range(len(plan.seeds["V"][: ablations.SEEDS]))]
by_seed = [ablations.sweeps(plan, "V", each) for each in seeds]
sweeps = by_seed[0]
page.say(f"Data: {plan.dataset}, {model}. T has vectors of {plan.models['T'].dim} numbers, S of {plan.models['S'].dim}; "
         f"{plan.training.epochs} epochs.")

# %% [markdown]
# ## 1. How a setting is varied
#
# A run is described by its settings, and one value is one changed description. For example $K$:

# %%
base = plan.distilled("V", seeds[0], "RD-position")  # as in the tables
changed = {K: replace(base, distillation=replace(base.distillation, K=K)) for K in plan.sweeps["K"]}
for K, run in changed.items():
    planned = sweeps["K"][str(K)]["RD-position"]
    assert run.distillation == planned.distillation and run.training == planned.training  # the plan has the same run
page.show(reports.plan(sweeps))

# %%
tables = [ablations.of_tables(plan, "V", each) for each in seeds]
again = ablation_results.weightings(plan) if profile == "paper" else [plan.student("F", s) for s in (seed, seed + 1)]
wanted = [*(run for each in tables for run in each.values()), *again, *(run for each in by_seed for run in ablations.points(each))]
faster = replace(tables[0]["S"], role="S-faster", training=replace(plan.training, learning_rate=2 * plan.training.learning_rate))
wanted += [faster] * (profile != "paper")  # S alone at a rate of its own, for section 3
by_key = page.have({run.key: run for run in wanted}, folded=True, **options)
shown = reports.shown(by_seed, by_key)
table = reports.table(shown, by_key)
_ = report.write_table(reports.long(shown, by_key), f"ablations{suffix}", profile, list(by_key.values()), NOTEBOOK)

# %% [markdown]
# ## 2. What counts as a difference?
#
# There are one or two runs for each value, and two runs differ by chance too. The **noise** of one run is guessed in two ways: how
# much RD-position - S still moves over the later half of the epochs, and how far two students with different seeds are apart. The
# larger of the two counts. The best and the worst of several values are further apart than two runs are. Take six values that
# differ by chance alone: in one sweep of twenty, the best and the worst are at least 3.5 times as far apart as two runs typically
# are.

# %%
level = reports.levels(tables[: len(shown)], by_key)
first = {role: by_key.get(run.key) for role, run in tables[0].items()}
noise = reports.noise(first["RD-position"], first["S"], [by_key[run.key] for run in again if run.key in by_key])
page.say_lines([
    "MAP on validation: " + ", ".join(f"{role} {value:.4f}" for role, value in level.items() if not np.isnan(value))
    + f" (seeds: {len(shown)}).",
    f"Noise: {noise.said}.",
])  # fmt: skip

# %% [markdown]
# ## 3. All sweeps in one picture
#
# Each panel is one setting. The horizontal lines are RD, S and T with the settings of the tables, on validation; the shaded band is the noise
# around RD's line. Where a curve stays in the band, no difference can be told from noise. A panel's colour says whether its setting belongs to
# RD-position or to RD-hybrid, as in the legend. An arrow points to a value below the panels.

# %%
labels = {sweep: name for sweep, (name, _) in ablation_results.SETTINGS.items()}
page.picture(lambda: sweep_plots.panels(table, reference=level, floor=noise.size), f"04_sweeps{suffix}", profile, list(by_key.values()), NOTEBOOK)

# %%
spread = [{"setting": label, **reports.spread(table, sweep, noise)} for sweep, label in labels.items()]
page.show_or_note(pd.DataFrame(spread) if by_key else None, "no sweep is on record", **{"best - worst": "{:.4f}"})
page.say(reports.beyond_chance(spread), when=bool(by_key))
page.say_lines(f"{sweep.capitalize()}: {reports.gains(table, sweep, noise)}" for sweep in ("student size", "share of data"))
page.say(reports.at_another_rate(reports.last(by_key.get(faster.key)), level, 2))

# %% [markdown]
# `beyond chance` compares the distance between the best and the worst value with the distance that the same number of values
# reaches by chance. Student size and share of data change S and T too, so two more lines say where RD-position is better than the S
# of the same size or data, and where it is worse. The last line gives S a learning rate of its own.
#
# * $\mu$ has no influence as soon as *one* sampled item that beats the teacher's item makes the weight nearly 1. With $N$ items
#   and $\epsilon$ samples an estimated rank is a multiple of $N/\epsilon$, so this happens for every $\mu$ above $2.65\, \epsilon/N$.
# * The paper's Figure 6 varies the balance $\alpha$ of the two losses. $\alpha = 0$ is the student alone; with $\alpha = 1$,
#   distillation *alone*, no negative item is seen.

# %%
figure6 = reported("rd_figure6").groupby("quantity", sort=False)["value"].agg(list)
page.say("Figure 6, as readers noted it: bad at α = " + " and ".join(f"{alpha:g}" for alpha in figure6["bad_alpha"])
         + f", best between {figure6['best_alpha_from'][0]:g} and {figure6['best_alpha_to'][0]:g}. "
         "The sweep over w with the paper's α:")  # fmt: skip

# %%
page.show(reports.balance(table), **{"the paper's alpha": "{:.2f}"})

# %% [markdown]
# ## 4. The same at the paper's size
#
# These are committed records, shown on every profile: Caser on Gowalla, one seed. Here the noise is measured, not guessed, because six
# weightings have run with the same five seeds (notebook 00). Runs of one seed share their start and their negatives, as the runs of a
# sweep do. What remains of MAP when the means of the weightings and of the seeds are taken off is chance. `MAP by value` has the value
# of the tables in bold.

# %%
page.to_figures(profile)
size = ablation_results.at_size()
page.say("MAP on validation: " + ", ".join(f"{role} {value:.4f}" for role, value in size.level.items()) + f". Noise: {size.noise.said}.")
if (profile, model) != ("paper", "Caser"):  # that is the picture above
    page.picture(lambda: sweep_plots.panels(size.table, reference=size.level, floor=size.noise.size), "04_sweeps_at_size", profile,
                 size.records, NOTEBOOK)  # fmt: skip
page.show(ablation_results.by_setting(size))
page.say(ablation_results.in_words(size))

# %% [markdown]
# ## 5. Paper and released code
#
# The released code differs from the paper's text; which of the two made the published numbers is not known. Each difference that can change a number is tried alone, then all together; all of it with
# hybrid weights, which both describe.

# %%
page.picture(lambda: sweep_plots.dots(table, "paper and code", reference=level, floor=noise.size), f"04_paper_and_code{suffix}", profile,
             page.records_of(shown, "paper and code", by_key), NOTEBOOK)  # fmt: skip
page.folded_table("All values of all sweeps", table.drop(columns="key").round(4))

# %% [markdown]
# ## 6. Is it the teacher?
#
# RD gives every query $K$ further positives. Perhaps any plausible ones would do? Controls with the same $K$ and weights:
#
# * lists of *random* items that the user does not have in training,
# * lists of *popular* items,
# * lists of *another student* (same size, other seed),
# * no lists, but $K$ further negatives for S: *uniform* ones, or of 100 random items the $K$ that S itself scores highest at that moment.
#
# They are measured on **test**, once, and nothing is chosen by them. First the controls at the paper's size (committed records, Caser on Gowalla): with the weights
# of RD-position where such controls are on record, else with those of RD-hybrid. A control with weights that fade says little about what the lists are worth.
# And with random lists the hybrid weights do not fade: the student never ranks those items high. That control is taught more strongly than RD
# and says nothing about the teacher's lists.

# %%
weighting, at_size = ablations.controls_on_record()
paper = page.have({run.key: run for each in at_size for run in each.values()}, folded=True, profile="paper")
verdicts, compared = reports.controls(at_size, paper)
page.write(verdicts, "controls_caser", list(paper.values()), NOTEBOOK, reports.controls_in_words(verdicts))
page.say(f"Weights of **{weighting}**:")
page.show(reports.controls_in_words(verdicts))
over = "users and seeds" if max(verdicts["seeds"]) > 1 else "users"
fig = pictures.rows_of(compared, f"difference to S in MAP, 95 % interval over {over}", weighting)
style.save(fig, "04_controls_caser", profile, list(paper.values()), NOTEBOOK)

# %%
page.say(reports.attribution(verdicts))

# %% [markdown]
# The same with runs of this profile: the model of sections 1 to 3 and the weights of RD-position. (Notebook 03 trains Caser. Where the model
# is Fossil here, its gains are others.)

# %%
controls = ablations.controls(plan, "F", seed)
own = page.have({run.key: run for run in controls.values()}, folded=True, **options)
verdicts, compared = reports.controls([controls], own)
if (profile, model) != ("paper", "Caser"):  # that is the table above
    report.write_table(verdicts, f"controls{suffix}", profile, list(own.values()), NOTEBOOK, reports.controls_in_words(verdicts))
page.show(reports.controls_in_words(verdicts))
page.say(reports.attribution(verdicts))

# %% tags=["nbval-check-output"]
page.say("Is the teacher better than the student on validation?", {True: "Yes.", False: "No."}.get(level["T"] > level["S"]), when=bool(by_key))

# %% [markdown]
# ## What you have seen
#
# * Vary one setting at a time, on validation data, and know the noise before you believe a curve.
# * A setting whose curve stays in the band gives no reason to tune it; the tables of sections 3 and 4 say for which settings the values differ
#   beyond chance, and by how much.
# * A gain belongs to its training: section 3 also asks at which sizes and shares of data RD is better, and what S reaches alone.
# * Controls show which part of a gain needs the teacher's ranking.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance([*by_key.values(), *own.values(), *paper.values()], base.data_hash, seed, started)
