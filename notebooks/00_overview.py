# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 Overview
#
# A large recommender (the **teacher T**) ranks better than a small one (the **student S**), and costs more at every request.
# *Ranking Distillation* (J. Tang and K. Wang, KDD 2018) trains the small model on the data **and** on the top of the teacher's
# rankings. The paper's claim: the distilled student (**RD**) ranks as well as the teacher, at the student's size. Two later papers
# distil rankings in other ways: *DE-RRD* (S. Kang and others, CIKM 2020; notebook 07) and *RankDistil* (S. Reddi and others, AISTATS
# 2021; notebook 08). Notebook 09 compares all methods under one protocol.
#
# This project trains the models again on the papers' own splits of Gowalla and CiteULike, with the settings of the released codes
# where there are any, and asks of their main claims whether they hold. This notebook is the summary. It trains nothing: everything below is computed from the committed
# records of our paper-size runs (`data/replicated`) and the papers' numbers (`data/reported`), **on every profile**. Only
# profile `paper` also writes the tables and pictures into `figures/`. What no run has answered yet says so.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper; shows the same, `paper` also writes figures and tables
resamples: int = 10_000  # of the bootstrap behind every interval

# %%
import time

from IPython.display import Markdown, display

from rdcore import datasets
from rdcore.store import runs
from studies import overview
from studies.common import manifest, plots, report
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.common.selection import chosen_epochs, read_selection
from studies.plans import all_runs
from studies.rd.ablations import control_records
from studies.rd.plan import open_choices, paper_records
from studies.scorecard import scorecard

started = time.perf_counter()
NOTEBOOK = "00_overview"
if profile not in PROFILES or resamples < 100:
    raise ValueError(f"profile must be one of {', '.join(PROFILES)} and resamples at least 100")
plots.use_style()
records, chosen = paper_records(), chosen_epochs()

# %% [markdown]
# ## What to read where

# %%
display(Markdown(overview.reading_guide()))

# %% [markdown]
# ## Scorecard
#
# The papers' main claims, the paper's effect (a difference of means) and ours with its 95 % interval, from a bootstrap over users and seeds.
#
# * **replicates**: the interval excludes 0 and all seeds agree, with at least five; **indication**: the same with fewer seeds;
# * **no**: anything else, a clear opposite included;
# * the last rows ("no paper") are our own questions: controls of RD, and RankDistil's losses on data of this field, where nothing can replicate;
# * for "no worse than the teacher" the lower bound must lie above minus a margin fixed beforehand, half the paper's gap between T and S;
# * *not testable*: the data or the formulas are missing, or our own runs leave nothing to test; *not run yet*: just that.
#
# With thousands of users a gap of no importance has a tiny p: read effect and interval first. Effect size is the mean of the
# users' differences over their standard deviation.

# %%
card = scorecard([*records, *control_records()], chosen, resamples=resamples)
display(Markdown(report.markdown(overview.scorecard_text(card))))

# %% tags=["nbval-check-output"]
print(card["verdict"].value_counts().sort_index().to_string(header=False))

# %% [markdown]
# ## Table 2: quality
#
# The paper's numbers with ours beneath. Protocol `fixed50` uses every model as it is after 50 epochs, with nothing chosen;
# `validation` uses the epochs chosen on validation data (below). `RD` is the hybrid weighting as released; `-standard` is the
# textbook's nDCG, which the official code does not compute.

# %%
table2 = report.rd_table2(records, chosen)
display(Markdown(report.markdown(report.wide(table2))))

# %%
compared = [run for run in report.judged(records, chosen) if run.role in ("T", "S", "RD-hybrid")]
fig = overview.beside_the_paper(compared, ["T", "S", "RD-hybrid"], "gowalla", ["MAP", "nDCG@10"])
if profile == "paper":
    plots.save(fig, "00_beside_the_paper", profile, [run.record for run in compared], NOTEBOOK)

# %% [markdown]
# ## Table 4: the weightings

# %%
table4 = report.rd_table4(records, chosen)
display(Markdown(report.markdown(report.wide(table4))))

# %% tags=["nbval-check-output"]
paper = reported("rd_table4").query("dataset == 'gowalla' and metric == 'MAP'").sort_values("value", ascending=False)
print("The paper's order of the weightings by MAP:", " > ".join(paper["role"]))
ours = table4.query("dataset == 'gowalla' and metric == 'MAP' and protocol == 'fixed50'").dropna(subset="replicated")
ours = ours.sort_values("replicated", ascending=False)
told = " > ".join(f"{role} ({seeds} seed{'s' if seeds > 1 else ''})" for role, seeds in zip(ours["role"], ours["seeds"], strict=True))
print("Ours, as far as they have run, by means over different seeds:", told or "none")

# %% [markdown]
# ## The chosen epochs
#
# Choices are made on stage V (trained on `train`, judged on `validation`) and written to `data/replicated/selection.json`; no
# choice sees a test item. An epoch at the end of its grid (a hollow mark) is not final: the grid is extended first, and until
# then protocol `validation` has no such row.

# %%
choices = read_selection()
for role, choice in choices.items():
    border = f" ({choice.border})" if choice.border else ""
    name = role if role.startswith("Fossil") else f"Caser {role}"
    print(f"{name}: epoch {choice.epoch} of {min(choice.means)}..{choice.last_epoch}{border}; V runs {', '.join(choice.keys)}")
for sentence in open_choices(choices):
    print("open:", sentence)
if choices:
    fig = overview.choice_curves(choices)
    if profile == "paper":
        seen = [record for record in records if any(record.key in choice.keys for choice in choices.values())]
        plots.save(fig, "00_choices", profile, seen, NOTEBOOK)

# %% [markdown]
# ## What has run

# %%
missing = [run for run in all_runs("paper") if not runs.is_committed(run)]
on_record = len(all_runs("paper")) - len(missing)
print(f"{on_record} of {on_record + len(missing)} planned paper-size runs are on record; `rdcore train --list` names the others:")
display(Markdown(report.markdown(overview.not_run(missing).astype(str))))

# %% [markdown]
# Where the paper's text, the released code and this project differ is listed in [DEVIATIONS.md](../DEVIATIONS.md).

# %%
if profile == "paper":
    used = [run.record for run in report.judged(records, chosen)]
    for name, table in {"rd_table2": table2, "rd_table4": table4, "scorecard": card}.items():
        report.write_table(table, name, profile, used, NOTEBOOK)
else:
    print("Shown only: `rdcore reproduce --profile paper --notebooks 00` writes these tables and pictures into figures/.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(records, datasets.content_hash("gowalla"), 0, started))
