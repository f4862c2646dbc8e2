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
resamples: int = 0  # of every bootstrap; 0: 10,000, and 1,000 on smoke
n_groups: int = 5  # of users and of items, in the last two pictures

# %%
import inspect
import time

import numpy as np
from IPython.display import Markdown, display

from rdcore import data, datasets
from rdcore.eval import groups, significance
from rdcore.store import runs
from studies.common import item_groups, manifest, matched, plots, report
from studies.common.matched import MARGINS, PAIRS, ROLES
from studies.common.profiles import PROFILES
from studies.common.selection import chosen_epochs
from studies.overview import scorecard_text
from studies.rd import result_plots
from studies.rd.plan import paper_records
from studies.scorecard import scorecard_of

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "05_significance"
if seeds < 1 or n_groups < 1 or resamples < 0:
    raise ValueError("seeds and n_groups must be at least 1, resamples at least 0")
plan = PROFILES[profile].rd[0]
resamples = resamples or (1_000 if profile == "smoke" else 10_000)
train = profile != "paper" or recompute
own_seeds = plan.seeds["F"] if profile == "paper" else range(1, seeds + 1)
experiments = [make("F", seed) for seed in own_seeds for make in (plan.teacher, plan.student, plan.distilled)]


def show(table):
    display(Markdown(report.markdown(matched.as_text(table))))


# %%
own = runs.records(experiments, profile=profile, recompute=recompute, jobs=jobs, progress=True) if train else []
mine = matched.matched(own, dataset=plan.dataset, resamples=resamples)
papers = matched.matched(paper_records(), chosen_epochs(), resamples=resamples)
shown = {found.label + ", trained here" * (profile == "paper"): found for found in mine.values()}
shown |= {found.label: found for found in papers.values()}
records = list({record.key: record for found in shown.values() for record in found.records}.values())
for label, found in shown.items():
    print(f"{label}: seeds of " + ", ".join(f"{role}: {len(found.seeds(role))}" for role in ROLES))
unknown = [f"{model}, gowalla" for model in MARGINS if not any(found.model == model for found in papers.values())]
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
# ## Why a p-value alone misleads
#
# The paired t-test divides the mean difference by its standard error. With $n$ users,
#
# $$t = \frac{\bar\Delta}{s_\Delta / \sqrt n} = \sqrt n \; d_z, \qquad d_z = \frac{\bar\Delta}{s_\Delta}.$$
#
# $d_z$ is the **effect size**: how large the difference is beside its spread over users. $p$ follows from $t$, so with enough
# users any difference at all becomes "significant". How large it is, and whether anyone would notice, is not in $p$:

# %%
for label, found in shown.items():
    if (c := found.compare("T", "S")) is not None and c.effect_size:
        enough = significance.smallest_significant(c, p=0.001)
        print(f"{label}: with {c.n_users:,} users a difference of {enough:.4f} has p = .001 already. That is\n"
              f"  {enough / c.mean_b:.1%} of the MAP of S, an effect size of {abs(enough / c.difference * c.effect_size):.3f}.")

# %% [markdown]
# So it is read the other way round here: first the difference with its interval and the effect size, then $p$.
#
# ## Rule 4: how two methods are compared
#
# * **Difference**: AP of every user averaged over seeds, $\bar\Delta_u$; then the mean over users.
# * **Primary test**: paired t over users. **Sensitivity**: Wilcoxon's signed ranks on the same $\bar\Delta_u$, for which a few
#   very large differences count no more than large ones. Users are the sample in both, so both are silent about other seeds.
# * **Seeds**: a paired t over the seeds' means $\bar\Delta_s$. With three to five seeds it has little power, but it asks what
#   one wants to know of a method that will be trained again.
# * **Interval**: a bootstrap, 10,000 times. Users are drawn with replacement, seeds too, and crossed: every seed of a resample
#   is seen on the same users.

# %%
print(inspect.getsource(significance._paired_t))
print(inspect.getsource(significance._draws))
print(inspect.getsource(significance._bootstrap))

# %% [markdown]
# "a is better than b" **replicates** when the interval lies above 0 and all seeds agree, with at least five of them; with fewer
# it is an **indication**.

# %%
print(inspect.getsource(significance.verdict))

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
# `p users`: paired t over users; `p Wilcoxon`: the sensitivity check; `p seeds`: paired t over seeds, empty for a single one.
# Nothing is corrected for the number of tests yet. A pair without runs is not listed.

# %%
table = matched.all_tests(shown)
report.write_table(table, "05_tests", profile, records, NOTEBOOK)
show(table)

# %% [markdown]
# ### The bootstrap
#
# Each bar counts resamples. Where the triangles (single seeds) lie as far apart as the bars reach, seeds make as much of the
# uncertainty as users. With one seed the bootstrap knows of users alone.

# %%
fixed = {label: found for label, found in shown.items() if found.protocol != "validation"}
means, compared = {}, {}
for label, found in fixed.items():
    pair = next((pair for pair in PAIRS if found.seeds(*pair)), None)
    if pair:
        name = f"{matched.named(*pair)}\n{label}"
        compared[name] = found.compare(*pair)
        means[name] = significance.resampled(*found.arrays(*pair), rng=np.random.default_rng(0), resamples=resamples)
if means:
    fig = result_plots.resampled_means(means, compared)
    plots.save(fig, "05_bootstrap", profile, records, NOTEBOOK)

# %% [markdown]
# ## Rule 5: many tests
#
# Twenty tests of nothing at 5 % find one "effect" on average. Tests that answer one question form a family, and Holm's method
# corrects within it: the smallest of $m$ p-values times $m$, the next times $m - 1$, and so on, never falling. **A**: RD
# against S on MAP, Caser and Fossil. **B**: the same on P@10 and nDCG@10. **C**: the hybrid weighting against the others on
# MAP, Caser. "No worse than the teacher" is judged by its interval and has no p. These are the paper-size runs; a test
# without runs does not count.

# %%
card = scorecard_of(papers)
families = card[card["notebook"] == NOTEBOOK]
tested = [record for found in papers.values() for record in found.records]
report.write_table(families.drop(columns="notebook"), "05_families", profile, tested, NOTEBOOK)
display(Markdown(report.markdown(scorecard_text(families).drop(columns=["source", "notebook"]))))

# %% [markdown]
# ## Rule 6: no worse than the teacher
#
# A test that finds no difference does not show that there is none: with few users nothing is ever found. "No worse" needs a
# **margin**, fixed before looking: the most that one is ready to lose. Ours is half the paper's own gap between T and S in
# MAP, for each model. RD is no worse when the lower end of the 95 % interval of RD - T (a 97.5 % bound) lies above minus the
# margin. Beside it stands the share of the gap that is recovered, $(\mathrm{RD} - \mathrm{S}) / (\mathrm{T} - \mathrm{S})$.
# Where our own T is not clearly better than S there is nothing to be as good as, and no verdict.

# %%
print(inspect.getsource(significance.non_inferior))

# %%
# The margins are differences in MAP on Gowalla; no other data set has one.
margin_of = {label: MARGINS[found.model] if found.dataset == "gowalla" else None for label, found in shown.items()}
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
# is compared by itself, with the bootstrap from above. This is a picture, not a test: nothing is corrected.

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
                *found.arrays(role, "S"), stage.fit.counts(), rng=np.random.default_rng(0), n_groups=n_groups,
                resamples=resamples,
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
for label, found in shown.items():
    print(matched.answers(found, margin_of[label]))
for name in unknown:
    print(f"{name}:\n  Not known: no paper-size record yet.")
if profile != "paper":
    print(f"\n{plan.dataset} is none of the paper's data sets: what it says neither supports nor contradicts the paper.")

# %% tags=["nbval-check-output"]
for found in mine.values():
    c = found.compare("T", "S")
    print(f"{found.dataset}, {c.n_seeds} seeds, T better than S: {significance.verdict(c)}")
print("margins:", ", ".join(f"{model} {margin:.4f}" for model, margin in MARGINS.items()))

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(records, experiments[0].data_hash, own_seeds[0], started))
