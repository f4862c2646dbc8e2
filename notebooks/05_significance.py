# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 Is it better, and could it be chance?
#
# The paper claims two things: the distilled student **RD** ranks better than the same student alone (**S**), and no worse
# than the teacher (**T**). Its tables show one number a method. This notebook asks how sure such a number is: how to compare
# fairly, what a test can say and what it cannot, and then where a difference comes from.
#
# Two kinds of runs are shown: those of the profile (on `small`: MovieLens-100K, three seeds, trained now where the run store
# does not have them), and, **on every profile**, the committed records of our paper-size runs on Gowalla. What has no record
# yet says so. The rules were written down before the final runs. Notebook 00 gives its verdicts by the same rules and takes
# its numbers from the same functions.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seeds: int = 3  # of the profile's own runs, 1 to this; paper has its own five
recompute: bool = False  # profile paper: train too, instead of showing the committed records alone
jobs: int = 2  # runs trained at a time, one thread each
draws: int = 0  # of the simulation of coverage; 0: 1,000, and 200 on smoke
n_groups: int = 5  # of users and of items, in the last two pictures

# %%
import inspect
import time

import numpy as np
from IPython.display import Markdown, display

from rdcore import data, datasets
from rdcore.eval import groups, significance
from rdcore.store import runs
from studies.common import coverage, item_groups, manifest, matched, plots, report, verdicts
from studies.common.matched import MODELS, PAIRS, ROLES
from studies.common.profiles import PROFILES
from studies.common.selection import chosen_epochs
from studies.overview import scorecard_text
from studies.rd import result_plots
from studies.rd.plan import paper_records
from studies.scorecard import scorecard_of

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "05_significance"
if seeds < 1 or n_groups < 1 or draws < 0:
    raise ValueError("seeds and n_groups must be at least 1, draws at least 0")
plan = PROFILES[profile].rd[0]
draws = draws or (200 if profile == "smoke" else 1_000)
train = profile != "paper" or recompute
own_seeds = plan.seeds["F"] if profile == "paper" else range(1, seeds + 1)
experiments = [make("F", seed) for seed in own_seeds for make in (plan.teacher, plan.student, plan.distilled)]


def show(table):
    display(Markdown(report.markdown(matched.as_text(table))))


# %%
own = runs.records(experiments, profile=profile, recompute=recompute, jobs=jobs, progress=True) if train else []
mine = matched.matched(own, dataset=plan.dataset)
papers = matched.matched(paper_records(), chosen_epochs())
shown = {found.label + ", trained here" * (profile == "paper"): found for found in mine.values()}
shown |= {found.label: found for found in papers.values()}
records = list({record.key: record for found in shown.values() for record in found.records}.values())
for label, found in shown.items():
    print(f"{label}: seeds of " + ", ".join(f"{role}: {len(found.seeds(role))}" for role in ROLES))
unknown = [f"{model}, gowalla" for model in MODELS if not any(found.model == model for found in papers.values())]
print(f"no paper-size record yet: {'; '.join(unknown)}") if unknown else print("both models have paper-size records")

# %% [markdown]
# ## What a fair comparison is
#
# Some users are easy and some are hopeless, whatever the method. So both methods are judged **on the same users**, and only
# each user's difference counts, $\Delta_u = \mathrm{AP}_u(a) - \mathrm{AP}_u(b)$: what the user is like cancels. And training
# is a lottery: another seed gives another model. So every method is trained **with several seeds**; run $s$ of one method
# draws the same random numbers as run $s$ of the other, as far as they need the same (and ran on the same kind of device), and
# $\Delta_{su}$ is the difference of user $u$ in seed $s$.
#
# What pairing is worth, on T against S:

# %%
for label, found in shown.items():
    worth = found.pairing("T", "S")
    if worth is None:
        print(f"{label}: no seed has both T and S")
    else:
        print(f"{label}: the users' AP with T and with S correlates at {worth.correlation:.2f}. Standard error of the\n"
              f"  difference: {worth.paired:.5f} paired, {worth.unpaired:.5f} unpaired. Without pairing it would take "
              f"{(worth.unpaired / worth.paired) ** 2:.1f} times as many users.")

# %% [markdown]
# ## Users and seeds are both a sample
#
# A t-test over users divides the mean difference by its standard error over users. But the runs are a sample too: with other
# seeds, other models would have been trained. So the difference of user $u$ in seed $s$ has four parts,
#
# $$\Delta_{su} = \mu + a_s + b_u + e_{su},$$
#
# the true difference, what this seed adds for all users, what this user adds in all seeds, and the rest. This is a **two-way
# random layout**: an analysis of variance with one value a cell. Its mean squares say how large each part is,
#
# $$\mathrm{MS}_\text{seed} = U \cdot \mathrm{var}(\bar\Delta_{s\cdot}), \qquad
# \mathrm{MS}_\text{user} = S \cdot \mathrm{var}(\bar\Delta_{\cdot u}), \qquad
# \mathrm{MS}_\text{noise} = \text{what is left},$$
#
# and the variance of the mean over $S$ seeds and $U$ users is
#
# $$V = \frac{\mathrm{MS}_\text{seed} + \mathrm{MS}_\text{user} - \mathrm{MS}_\text{noise}}{S\,U}
# \;\approx\; \frac{\sigma^2_\text{seed}}{S} + \frac{\sigma^2_\text{user}}{U} + \frac{\sigma^2_\text{noise}}{S\,U}.$$
#
# Read the right side: more users do not help against the first part, more seeds not against the second. If all of $V$ comes from
# users this is the paired t over users; if all of it comes from seeds it is the paired t over the seeds' means. In between the
# degrees of freedom are Satterthwaite's. With one seed the first part is unknown, and nothing is tested.

# %%
print(inspect.getsource(significance.mean_squares))
print(inspect.getsource(significance.of_the_mean))

# %% [markdown]
# ## The words
#
# First the difference with its interval, then a word for it. $d$ is the effect that the paper reports. *provisional* stands before
# the word with fewer than five seeds.

# %%
print(inspect.getsource(verdicts.verdict))

# %% [markdown]
# ### Seed by seed
#
# MAP on test and the differences.

# %%
table = matched.per_seed(shown)
report.write_table(table, "05_per_seed", profile, records, NOTEBOOK)
show(table)

# %% [markdown]
# ### The tests
#
# The spread (sd) of seeds, users and noise is that of single seeds, users and cells: divide by the root of their number. `seeds
# needed`: as many find the paper's effect in 80 of 100 studies of these users. Nothing is corrected for the number of tests yet.
# A pair without runs is not listed.

# %%
table = matched.all_tests(shown)
report.write_table(table, "05_tests", profile, records, NOTEBOOK)
show(table)

# %% [markdown]
# ### What older rules would have said
#
# Before, this project drew users and seeds with replacement (a bootstrap) and tested with a paired t over users. The bootstrap
# takes three or five seeds for all seeds there are: its interval is too narrow where seeds matter, and too wide where noise does.
# The paired t over users does not know of seeds at all.

# %%
fixed = {label: found for label, found in shown.items() if found.protocol != "validation"}
several = {f"{label}: {matched.named(a, b)}": found.arrays(a, b) for label, found in shown.items() for a, b in PAIRS
           if len(found.seeds(a, b)) > 1}  # fmt: skip
if several:
    table = coverage.older_rules(several, np.random.default_rng(0))
    report.write_table(table, "05_older_rules", profile, records, NOTEBOOK)
    show(table)
    said = table.pivot(index="comparison", columns="rule", values="excludes 0")
    for rule in coverage.RULES[1:]:
        print(f"{rule}: another answer than the two-way layout in {(said[rule] != said[coverage.TWO_WAY]).sum()} of {len(said)}.")

# %% [markdown]
# ### Which rule is right?
#
# That can be tried. Data are drawn with just the spread of seeds, users and noise that was measured in each comparison, around a
# known difference. A rule for a 95 % interval is right when 95 of 100 intervals hold that difference.

# %%
made = {f"{label}: {matched.named(a, b)}": found.compare(a, b) for label, found in shown.items() for a, b in PAIRS
        if len(found.seeds(a, b)) > 1}  # fmt: skip
if made:
    table = coverage.coverage(made, np.random.default_rng(0), draws=draws)
    report.write_table(table, "05_coverage", profile, records, NOTEBOOK)
    fig = coverage.picture(table)
    plots.save(fig, "05_coverage", profile, records, NOTEBOOK)
    for n, part in table.groupby("seeds"):
        for rule in coverage.RULES:
            print(f"{n} seeds, {rule}: {part[rule].min():.3f} to {part[rule].max():.3f}")

# %% [markdown]
# ## Rule 5: many tests
#
# Twenty tests of nothing at 5 % find one "effect" on average. Tests that answer one question form a family, and Holm's method
# corrects within it: the smallest of $m$ p-values times $m$, the next times $m - 1$, and so on, never falling. $m$ counts the
# tests that are planned, also those that have not run, so that a study does not get surer by leaving runs out. "No worse than
# the teacher" is judged by its interval and has no p. These are the paper-size runs.

# %%
card = scorecard_of(papers, paper_records())
families = card[card["notebook"] == NOTEBOOK]
tested = paper_records()
report.write_table(families.drop(columns="notebook"), "05_families", profile, tested, NOTEBOOK)
display(Markdown(report.markdown(scorecard_text(families).drop(columns=["source", "notebook"]))))

# %% [markdown]
# ## Rule 6: no worse than the teacher
#
# A test that finds no difference does not show that there is none: with few users nothing is ever found. "No worse" needs a
# **margin**: the most that one is ready to lose. Ours is the smaller of half the paper's gap between T and S in MAP and half the
# lower end of our own gap's interval. RD is no worse when the lower end of the 95 % interval of RD - T (a 97.5 % bound) lies above
# minus the margin. Where our own T - S may be 0, or is clearly smaller than the paper's, being as good as T says nothing about the
# paper's claim: not assessable. Beside it stands the share of the gap that is recovered, $(\mathrm{RD} - \mathrm{S}) /
# (\mathrm{T} - \mathrm{S})$, with Fieller's interval.

# %%
print(inspect.getsource(verdicts.margin))
print(inspect.getsource(verdicts.no_worse))

# %%
# The paper's gap is one in MAP on Gowalla; for another data set there is no margin.
judged = {label: matched.no_worse(found) for label, found in shown.items()}
margin_of = {label: one.margin if one and not np.isnan(one.margin) else None for label, one in judged.items()}
rows = {}
for label, found in shown.items():
    row = (found.compare("RD-hybrid", "T"), found.compare("S", "T"), margin_of[label])
    if row[0] or row[1]:
        rows.setdefault(found.dataset, {})[label] = row
if rows:
    fig = result_plots.margins(rows)
    plots.save(fig, "05_margins", profile, records, NOTEBOOK)

# %%
for label, found in shown.items():
    gap = found.gap()
    if gap is None:
        print(f"{label}: no seed has all of T, S and RD-hybrid")
    elif np.isnan(gap.share):
        print(f"{label}: no gap to recover, T - S lies between {gap.gap_low:+.4f} and {gap.gap_high:+.4f}")
    else:
        print(f"{label}: RD recovers {gap.share:.0%} of the gap T - S ({gap.low:.0%} to {gap.high:.0%})")

# %% [markdown]
# ## Who gains? Users by activity
#
# Groups of about equally many users by the number of their training items; users with as many items stay together. Every group
# is compared by itself, by the same layout. This is a picture, not a test: nothing is corrected.

# %%
def stage_of(dataset):
    try:
        return data.stage(datasets.load(dataset, download=dataset == plan.dataset), "F")
    except data.DataError:
        print(f"{dataset}: not fetched here (`rdcore fetch {dataset}`), so its users cannot be grouped")


stages = {dataset: stage_of(dataset) for dataset in dict.fromkeys(found.dataset for found in fixed.values())}
panels = {}
for label, found in fixed.items():
    stage = stages[found.dataset]
    for role in ("T", "RD-hybrid"):
        if stage is not None and found.seeds(role, "S"):
            panels.setdefault(label, {})[role] = groups.by_activity(
                *found.arrays(role, "S"), stage.fit.counts(), n_groups=n_groups
            )  # fmt: skip
if panels:
    fig = result_plots.by_activity(panels)
    plots.save(fig, "05_by_activity", profile, records, NOTEBOOK)

# %%
if panels:
    table = matched.by_activity(panels)
    report.write_table(table, "05_by_activity", profile, records, NOTEBOOK)
    for (label, what), part in table.groupby(["runs", "what"], sort=False):
        best = part.loc[part["difference"].idxmax()]
        print(f"{label}, {what}: the interval lies above 0 in {(part['low'] > 0).sum()} of {len(part)} groups; the largest\n"
              f"  difference is {best['difference']:+.4f}, of users with {best['training items']} training items.")

# %% [markdown]
# ## Which items? Items by popularity
#
# Does a method find what everybody chooses, or also what few do? The groups hold about equal shares of the training
# interactions: many rare items in the first, few popular ones in the last. How many of each group's held-out items, of all
# users, are among the first ten new items that their user is shown? A record keeps no lists, so this is counted with the
# model: here from the weights of the runs at hand, for paper-size runs when a run ends (`groups.json` of its record).

# %%
described = {experiment.key: experiment for experiment in experiments}
interactions = datasets.load(plan.dataset) if train else None


def from_weights(run):
    model = run.model(described[run.key], interactions)
    return groups.by_item_popularity(model, stages[plan.dataset], n_groups=n_groups)


measured = {}
for label, found in fixed.items():
    here = any(found is one for one in mine.values())
    measured[label] = item_groups.collect(found, ROLES, from_weights if here else item_groups.recorded)
    if not measured[label]:
        print(f"{label}: no record has groups.json yet")
measured = {label: roles for label, roles in measured.items() if roles}
if measured:
    fig = result_plots.by_popularity(measured)
    plots.save(fig, "05_by_popularity", profile, records, NOTEBOOK)

# %%
if measured:
    table = item_groups.popularity_table(measured)
    report.write_table(table, "05_by_popularity", profile, records, NOTEBOOK)
    show(table)

# %% [markdown]
# ## The answer

# %%
for found in shown.values():
    print(matched.answers(found))
for name in unknown:
    print(f"{name}:\n  Not known: no paper-size record yet.")
if profile != "paper":
    print(f"\n{plan.dataset} is none of the paper's data sets: what it says neither supports nor contradicts the paper.")

# %% tags=["nbval-check-output"]
for found in mine.values():
    c = found.compare("T", "S")
    print(f"{found.dataset}, {c.n_seeds} seeds, T better than S: {verdicts.verdict(c)}")
gaps = {model: matched.Matched("gowalla", model, "").reported("T", "S") for model in MODELS}
print("half the paper's T - S:", ", ".join(f"{model} {gap / 2:.4f}" for model, gap in gaps.items()))

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(records, experiments[0].data_hash, own_seeds[0], started))
