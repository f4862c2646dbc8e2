# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 Overview: what we asked and what came out
#
# **At the end of this notebook you will know** what Ranking Distillation promises, which of the promises hold in our runs at the paper's
# size, and which notebook explains what.
#
# A large recommender (the **teacher T**) ranks better than a small one (the **student S**), and costs more at every request. *Ranking
# Distillation* (J. Tang and K. Wang, KDD 2018) trains the small model on the data **and** on the top of the teacher's rankings. Its claim: the
# distilled student (**RD**) ranks as well as the teacher, at the student's size. Two later papers distil rankings in other ways: *DE-RRD*
# (S. Kang and others, CIKM 2020) and *RankDistil* (S. Reddi and others, AISTATS 2021).
#
# This project trains the models again and asks of each claim whether it holds. The notebook trains nothing: everything is computed from the
# committed records of our paper-size runs and from the papers' printed numbers, and it is the same on every profile.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper; all show the same, `paper` also writes figures and tables

# %%
import time

from rdcore import datasets
from rdcore.store import runs
from studies import overview
from studies.common import report, style, text
from studies.common.matched import matched
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.common.selection import chosen_epochs, read_selection
from studies.notebooks import page
from studies.plans import all_runs
from studies.rd.ablations import control_records
from studies.rd.plan import open_choices
from studies.rd.study import paper_records
from studies.scorecard import scorecard

started = time.perf_counter()
NOTEBOOK = "00_overview"
PROFILES[profile]  # an unknown profile is refused here
style.use_style()
records, chosen = paper_records(), chosen_epochs()
page.to_figures(profile)  # only `paper` writes files

# %% [markdown]
# ## 1. The first claim, in one picture
#
# Quality on Gowalla: **MAP** is the mean over users of the average precision of their ranking; `nDCG@10` looks at the first ten items (notebook
# 02 explains both). Black lines are the paper's numbers. A mark is one of our training runs. Filled marks: every model after 50
# epochs (`fixed50`). Hollow marks: the number of epochs was chosen on validation data.

# %%
plotted = [run for run in report.at_epochs(records, chosen) if run.role in ("T", "S", "RD-hybrid")]
fig = overview.against_the_paper(plotted, {"T": "T", "S": "S", "RD-hybrid": "RD"}, "gowalla", ["MAP", "nDCG@10"])
page.save(fig, "00_with_the_paper", [run.record for run in plotted], NOTEBOOK)

# %%
both = matched(records, chosen)
theirs = reported("rd_table2").query("dataset == 'gowalla' and metric == 'MAP'").set_index(["model", "role"])["value"]
page.say_lines(
    page.in_words(c, "RD", "S") + f" The paper: {theirs[found.model, 'RD'] - theirs[found.model, 'S']:+.4f}. "
    f"({found.model}, {found.protocol}, "
    f"{text.count(c.n_seeds, 'seed')})"
    for found in both.values() if (c := found.compare("RD-hybrid", "S")) is not None
)  # fmt: skip

# %% [markdown]
# ## 2. All claims that have runs
#
# A row is one claim: the paper's effect (a difference of means), ours with its 95 % interval over users and seeds (notebook 05), and a word:
#
# * **confirmed**: the interval excludes 0 on the claimed side; **confirmed, smaller**: it lies below the paper's effect, too, and ours is less than half of that;
# * **reported size excluded, sign open**: it contains 0 but not the paper's effect; **inconclusive**: it contains both;
# * **contradicted**: it excludes 0 on the other side; **provisional** before a word: fewer than five seeds; alone: one seed, so no verdict;
# * of *no worse than the teacher*, a margin takes the place of 0 (notebook 05): **inconclusive**: the interval contains minus the margin. It may
#   then lie below 0: the student ranks worse, and the question is whether by more than the margin;
# * *not assessable*: these runs cannot decide it, the note says why; *not run*: nobody has trained it yet.
#
# The last rows, from *RD with position weights ranks no worse* on, are questions of ours, which no paper asks. Section 4 explains the weightings
# (hybrid, position importance, 1/K). Notebook 04, section 6, explains the rows with other lists or further negatives. POP (popularity), ItemCF (neighbouring
# items) and BPR (matrix factorisation) are the paper's baselines.
#
# With thousands of users even an unimportant difference has a tiny p-value. Read effect and interval first.

# %%
card = scorecard([*records, *control_records()], chosen)
open_rows = card["verdict"].str.contains("not ")
columns = ["claim", "verdict", "paper", "ours (95 % interval)", "seeds", "notebook"]
page.show(overview.scorecard_text(card[~open_rows])[columns])

# %%
page.folded_table(f"{open_rows.sum()} claims without an answer, and why",
                  overview.scorecard_text(card[open_rows])[["claim", "verdict", "note", "source"]])  # fmt: skip
page.folded_table("All columns of the answered claims", overview.scorecard_text(card[~open_rows]))

# %% tags=["nbval-check-output"]
page.show(card["verdict"].value_counts().rename_axis("verdict").rename("claims").reset_index().sort_values(["claims", "verdict"]))

# %% [markdown]
# ## 3. Quality, next to the paper's Table 2
#
# Numbers for T, RD and S of both models, after 50 epochs (`fixed50`) and with the number of epochs chosen (`validation`). `difference` is ours relative to the
# paper's.

# %%
table2 = report.rd_table2(records, chosen)
shown = ["P@10", "nDCG@10", "MAP"]
main = table2[table2["metric"].isin(shown) & table2["role"].isin(["T", "RD", "S"]) & table2["replicated"].notna()]
page.show(report.wide(main).drop(columns="dataset"))
page.folded_table("Table 2 in full, with the rows that have not run", report.wide(table2))

# %% [markdown]
# ## 4. Which weights are best? The paper's Table 4
#
# RD can weigh the items of the teacher's list in several ways (notebook 03): all alike (`RD-equal`, 1/K), by the teacher's position (`RD-position`,
# and `RD-reciprocal` with 1/r, r: the place), by the discrepancy of the two ranks (`RD-discrepancy`), or by the product of both (`RD-hybrid`). In the
# picture a black line is the paper's number, and a mark is one of our seeds. The paper has no number for 1/r. For the product it has one: its text
# divides the product by its sum (*normalised*), the released code does not, and the line stands at the released form.
#
# As long as some weightings have fewer seeds than others, the order of their means below is no result, because seeds differ as much as weightings do:
# the claims of section 2 compare two weightings within the same seeds.

# %%
weightings = {"S": "S", "RD-equal": "1/K", "RD-reciprocal": "1/r", "RD-position": "position", "RD-discrepancy": "discre-\npancy",
              "RD-hybrid": "hybrid", "RD-hybrid-normalised": "norma-\nlised", "T": "T"}  # fmt: skip
weighed = [run for run in report.at_epochs(records, chosen)
           if run.role in weightings and (run.model, run.protocol) == ("Caser", "fixed50")]  # fmt: skip
fig = overview.against_the_paper(weighed, weightings, "gowalla", ["MAP", "nDCG@10"])
page.save(fig, "00_weightings", [run.record for run in weighed], NOTEBOOK)

# %%
table4 = report.rd_table4(records, chosen)
page.show(report.wide(table4[table4["replicated"].notna()]).drop(columns="dataset"))

# %% tags=["nbval-check-output"]
paper = reported("rd_table4").query("dataset == 'gowalla' and metric == 'MAP'").sort_values("value", ascending=False)
ours = table4.query("dataset == 'gowalla' and metric == 'MAP' and protocol == 'fixed50'").dropna(subset="replicated")
ours = ours.sort_values("replicated", ascending=False)
page.say_lines([
    "The paper's order by MAP: " + ", ".join(paper["role"]) + ".",
    "Ours: " + ", ".join(f"{row.role} ({text.count(row.seeds, 'seed')})" for row in ours.itertuples()) + ".",
])  # fmt: skip

# %% [markdown]
# ## 5. How the number of epochs is chosen
#
# Models that see only training data are measured on validation data after every few epochs (thick mark: the best). No choice sees a test
# item. Here a hollow mark means that the best epoch is the last one: a longer run may be better, so the choice is not final.

# %%
choices = read_selection()
fig = overview.choice_curves(choices)
page.save(fig, "00_choices", [r for choice in choices.values() for r in choice.records()], NOTEBOOK)
page.say_lines(open_choices(choices))

# %% [markdown]
# ## 6. What has run

# %%
missing = [run for run in all_runs("paper") if not runs.is_committed(run)]
total = len(all_runs("paper"))
page.say(f"{total - len(missing)} of {total} planned runs of paper size are on record.")
page.folded_table("Runs that are missing", overview.not_run(missing).astype(str))

# %% [markdown]
# ## 7. What to read where

# %%
page.say(overview.reading_guide())

# %% [markdown]
# Where the papers, the released codes and this project differ is listed in [DEVIATIONS.md](../DEVIATIONS.md).

# %%
used = [run.record for run in report.at_epochs(records, chosen)]
for name, table in {"rd_table2": table2, "rd_table4": table4, "scorecard": card}.items():
    page.write(table, name, used, NOTEBOOK)

# %% [markdown]
# ## What you have seen
#
# * Whether a small model ranks better when it also learns the top of a large one's rankings: section 2 says for which, by how much, and how sure that is.
# * Each claim has an interval over users and seeds, and a word that follows from it by a fixed rule.
# * A claim whose runs are missing is listed as *not run*; it counts neither for the paper nor against it.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(records, datasets.content_hash("gowalla"), 0, started)
