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
# **At the end of this notebook you will know** how two recommenders are compared fairly, how sure a difference is when both users and
# training runs are random, how "no worse than" can be tested at all, and what our runs say about the two claims of Ranking Distillation
# (RD, notebook 03):
#
# 1. the distilled student (**RD**) ranks better than the same student alone (**S**);
# 2. it ranks no worse than the teacher (**T**).
#
# The authors' poster says that RD is significantly better than S and has no significant degradation against T. Which test they used is not
# known. To find no significant difference is less than to be no worse: section 6 asks the stricter question.
#
# Everything is shown twice: for the committed runs at the paper's size (Gowalla), and for small runs with three seeds.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seeds: int = 3  # of the profile's own runs, 1 to this; paper has its own five
recompute: bool = False  # profile paper: train too, instead of showing the committed records alone
jobs: int = 2  # runs trained at a time, one thread each
draws: int = 0  # of the simulation in section 4; 0: 1,000, and 200 on smoke
n_groups: int = 5  # of users and of items, in the last two pictures

# %%
import time

import numpy as np
import pandas as pd
from scipy import stats

from rdcore.eval import significance
from studies.common import activity, coverage, item_groups, matched, report, style, verdicts
from studies.common.matched import PAIRS, ROLES
from studies.common.profiles import PROFILES
from studies.common.selection import chosen_epochs
from studies.notebooks import page, pictures
from studies.rd import result_plots
from studies.rd.study import paper_records

started = time.perf_counter()
style.use_style()
NOTEBOOK = "05_significance"
plan = PROFILES[profile].rd[0]
draws = draws or (200 if profile == "smoke" else 1_000)
own_seeds = plan.seeds["F"] if profile == "paper" else range(1, seeds + 1)
experiments = [make("F", seed) for seed in own_seeds for make in (plan.teacher, plan.student, plan.distilled)]
papers = matched.matched(paper_records(), chosen_epochs())
own_records = page.trained_here(experiments, profile, recompute=recompute, jobs=jobs, progress=True)
mine = matched.matched(own_records, dataset=plan.dataset)
shown = {found.label: found for found in [*papers.values(), *mine.values()]}
records = list({record.key: record for found in shown.values() for record in found.records}.values())
page.show(pd.DataFrame([{"runs": label, **{role: len(found.seeds(role)) for role in ROLES}} for label, found in shown.items()]))

# %% [markdown]
# The table counts seeds. `fixed50` means that every model is used as it is after 50 epochs; `validation` that the number of epochs was chosen
# on validation data. `RD-hybrid` is RD with the weights of the released code (notebook 03).
#
# ## 1. The same users, several seeds
#
# Some users are easy and some are hopeless, whatever the method. So both methods are measured **on the same users**, and only the
# difference counts for each user: $\Delta_u$ is the user's average precision (AP) with one method minus that with the other.
# Training depends on chance too: other random numbers give another model. So each method is trained **with several seeds**, and
# $\Delta_{su}$ is the difference of user $u$ in seed $s$.

# %%
example = page.most_seeds(shown, "RD-hybrid", "S")  # the runs that the next cells compute with
a, b = example.arrays("RD-hybrid", "S")  # average precision, (seeds, users)
there = ~np.isnan(a).any(0) & ~np.isnan(b).any(0)  # users with a test item
delta = a[:, there].astype(float) - b[:, there]  # records hold 32-bit numbers, too few digits for sums of squares
S, U = delta.shape
correlation = np.corrcoef(a[:, there].mean(0), b[:, there].mean(0))[0, 1]
page.say(f"Runs: {example.label}, {S} seeds and {U:,} users. The users' AP with the two methods correlates at {correlation:.2f}.",
         "The higher the correlation, the more the pairing helps.")

# %% [markdown]
# ## 2. Two kinds of chance
#
# The difference of user $u$ in seed $s$ has four parts: the true difference, what this seed adds for all users, what this user adds in all seeds,
# and the rest:
#
# $$\Delta_{su} = \mu + a_s + b_u + e_{su}.$$
#
# *Mean squares* say how large each part is. They also give the variance of the mean over $S$ seeds and $U$ users, as the sum of a
# part of the seeds and a part of the users:
#
# $$V = \frac{\mathrm{MS}_\text{seed}}{S\,U} + \frac{\mathrm{MS}_\text{user} - \mathrm{MS}_\text{rest}}{S\,U}
# \;\approx\; \left(\frac{\sigma^2_\text{seed}}{S} + \frac{\sigma^2_\text{rest}}{S\,U}\right) + \frac{\sigma^2_\text{user}}{U}.$$
#
# More users do not reduce the seeds' part, and more seeds do not reduce the users' part. The variance itself is only estimated:
# from $S$ seeds with $S - 1$ *degrees of freedom*, from $U$ users with $U - 1$. With three seeds alone, a t test needs an
# interval of $\pm 4.3$ standard errors; with thousands of users alone, $\pm 1.96$. Here both kinds of chance are present. So the
# interval takes the mean of these two numbers, each weighted by its part's share of $V$ (Cochran and Cox).

# %%
by_seed, by_user = delta.mean(1), delta.mean(0)  # (S,), (U,)
rest = delta - by_seed[:, None] - by_user + delta.mean()  # (S, U)
MS_seed = U * by_seed.var(ddof=1)
MS_user = S * by_user.var(ddof=1)
MS_rest = (rest**2).sum() / ((S - 1) * (U - 1))
parts = np.array([MS_seed, max(MS_user - MS_rest, 0)]) / (S * U)  # of the variance: seeds, users
critical = parts @ stats.t.isf(0.025, [S - 1, U - 1]) / parts.sum()
reach = critical * np.sqrt(parts.sum())

c = significance.compare(a, b)
np.testing.assert_allclose([delta.mean() - reach, delta.mean() + reach], [c.low, c.high])  # the library's interval is the same
page.say(page.in_words(c, "RD", "S"),
         f"The seeds' part is {parts[0] / parts.sum():.0%} of the variance, so the interval reaches {critical:.2f} standard errors.")

# %% [markdown]
# ## 3. All differences
#
# The table shows every difference with its interval; one folded table has a number for each seed, another one all columns: there
# `effect size` is the mean difference over its standard deviation between users (0.2 is called small), and the `sd` columns are the
# spread of single seeds, of single users and of the rest (`noise`). The words of `better`: *confirmed* if the interval excludes 0 on the claimed side, *confirmed, smaller* if it also excludes the paper's effect, of which ours is less than half;
# *inconclusive* if it contains both, *reported size excluded, sign open* if it contains 0 alone; *contradicted* if it excludes 0 on the other side.
# *Provisional* comes before the word with fewer than five seeds; with two there is none. The p-values of this table are not corrected (section 5).
#
# *Power* is the share of studies like ours, with as many users and seeds, that would find the paper's effect if it were true. Where the
# power is low, an *inconclusive* says little about the claim. `seeds needed` is how many seeds give a power of 80 %, the usual aim.
# Both are computed from the spread of few seeds, so they are rough. They are empty where the paper has no number.
#
# The runs of ml-100k train S and RD at the same learning rate. At a larger rate of its own, S alone reaches the best RD (notebook 03,
# section 6). So a gain there is one at equal training.

# %%
table = matched.per_seed(shown)
report.write_table(table, "05_per_seed", profile, records, NOTEBOOK)
page.folded_table("MAP of every seed", matched.as_text(table))
tests = matched.all_tests(shown)
report.write_table(tests, "05_tests", profile, records, NOTEBOOK)
first = ["runs", "what", "seeds", "difference", "low", "high", "p", "better", "power", "seeds needed"]
page.show(matched.as_text(tests[first]))
page.folded_table("All columns", matched.as_text(tests))
effect = example.reported("RD-hybrid", "S")
found, half, quarter = (100 * verdicts.power(c, part * effect) for part in (1, 0.5, 0.25))
page.say(f"An example, RD - S of {example.label}: the paper's effect is {effect:+.4f}. Of 100 studies with {S} seeds, {found:.0f}",
         f"would find it. If half of it were true, {half:.0f} would find that, and {quarter:.0f} if a quarter were.",
         when=not np.isnan(effect))  # fmt: skip

# %%
compared = {f"{matched.named(*pair)}\n{label}": found.compare(*pair) for label, found in shown.items() for pair in PAIRS}
compared = {name: c for name, c in compared.items() if c is not None}
fig = pictures.intervals(compared)
style.save(fig, "05_intervals", profile, records, NOTEBOOK)

# %% [markdown]
# ## 4. Is 95 % really 95 %?
#
# An interval is right if 95 of 100 such intervals hold the truth. This can be tested: draw data around a known difference, with
# the spread of seeds, users and rest that was measured above. Other rules are tested too: *Satterthwaite's* degrees of freedom,
# the usual choice for such a layout, which are too many with three seeds; the *bootstrap*, which draws users and seeds with
# replacement, as if the seeds at hand were all that exist; and the *paired t over users*, which ignores seeds. The axis of the
# picture is the share of $\sigma^2_\text{seed} / S$ alone; the seeds' part in section 2 has $\sigma^2_\text{rest} / (S\,U)$ in it, too.

# %%
several = {name.replace("\n", ", "): c for name, c in compared.items() if c.n_seeds > 1}
table = coverage.coverage(several, np.random.default_rng(0), draws=draws)
report.write_table(table, "05_coverage", profile, records, NOTEBOOK)
fig = coverage.picture(table)
style.save(fig, "05_coverage", profile, records, NOTEBOOK)

# %% [markdown]
# The next table shows what the other rules say about the comparison above. A narrower interval is not a better one: the picture
# shows which rules keep their promise.

# %%
older = coverage.older_rules({f"RD - S, {example.label}": (a, b)}, np.random.default_rng(0))
report.write_table(older, "05_older_rules", profile, example.records, NOTEBOOK)
page.show(matched.as_text(older))

# %%
page.say_lines(f"{rule}: covers {table[rule].min():.0%} to {table[rule].max():.0%}." for rule in coverage.RULES)

# %% [markdown]
# ## 5. Many tests
#
# Where there is no effect at all, twenty tests at 5 % still find one "effect" on average. **Holm's method** corrects the p-values
# of tests that answer one question: the smallest of $m$ is multiplied by $m$, the next one by $m - 1$, and so on, and none may be
# below the one before.


# %%
def holm_by_hand(p):
    """Corrected p-values of one family of tests."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * (len(p) - np.arange(len(p))))
    return dict(zip(order.tolist(), np.minimum(stepped, 1), strict=True))


p = dict(enumerate([0.01, 0.04, 0.03]))
by_hand, by_library = holm_by_hand(list(p.values())), verdicts.holm(p)
assert all(np.isclose(by_hand[k], by_library[k]) for k in p)
page.say(f"The p-values .01, .04 and .03 become {by_hand[0]:.2f}, {by_hand[1]:.2f} and {by_hand[2]:.2f}.",
         "The corrected values of all claims are in notebook 00.")

# %% [markdown]
# ## 6. No worse than the teacher
#
# A test that finds no difference does not show that there is none: with few users nothing is ever found. "No worse" needs a **margin**, the most
# that one is ready to lose. Here it is the smaller of two: half the paper's gap between T and S, and half the lower end of the interval of
# our own gap. RD is no worse if the whole interval of RD - T lies above minus the margin; if it contains minus the margin, the answer is open, even
# where RD does rank worse than T. A data set without a reported gap has no margin. And if T does not clearly beat S, or by less than half of the
# paper's gap, being near T says little: *not assessable*. Notebook 00 has the verdicts on all claims.

# %%
judged = {label: matched.no_worse(found) for label, found in shown.items()}
rows = {}
for label, found in shown.items():
    margin = judged[label].margin if judged[label] else np.nan
    rows.setdefault(found.dataset, {})[label] = (
        found.compare("RD-hybrid", "T"), found.compare("S", "T"), None if np.isnan(margin) else margin
    )  # fmt: skip
fig = result_plots.margins(rows)
style.save(fig, "05_margins", profile, records, NOTEBOOK)

# %%
print("\n".join(matched.answers(found) for found in shown.values()))

# %% [markdown]
# ## 7. Who gains?
#
# Users are grouped by the number of their training items, in groups of about equal size. This is a picture, not a test: the intervals are not
# corrected for the number of groups.

# %%
fixed = {label: found for label, found in shown.items() if found.protocol != "validation"}
stages = {found.dataset: page.stage_of(found.dataset, "F", download=found.dataset == plan.dataset) for found in fixed.values()}
panels = {
    label: {role: activity.by_activity(*found.arrays(role, "S"), stages[found.dataset].fit.counts(), n_groups=n_groups)
            for role in ("T", "RD-hybrid") if found.seeds(role, "S")}
    for label, found in fixed.items() if stages[found.dataset] is not None
}  # fmt: skip
page.picture(lambda: result_plots.by_activity(panels), "05_by_activity", profile, records * bool(panels), NOTEBOOK)
_ = report.write_table(matched.by_activity(panels), "05_by_activity", profile, records, NOTEBOOK)

# %% [markdown]
# The same for items, from rare to popular: which share of each group's test items is among the first ten?

# %%
described = {experiment.key: experiment for experiment in experiments}
measured = {label: item_groups.collect(found, ROLES, page.popularity_groups(described, n_groups)) for label, found in fixed.items()}
measured = {label: roles for label, roles in measured.items() if roles}
page.picture(lambda: result_plots.by_popularity(measured), "05_by_popularity", profile, records * bool(measured), NOTEBOOK)
_ = report.write_table(item_groups.popularity_table(measured), "05_by_popularity", profile, records, NOTEBOOK)

# %% tags=["nbval-check-output"]
page.say_lines(f"{found.dataset}: T is better than S with {found.compare('T', 'S').n_seeds} seeds: "
               + ("yes" if found.compare("T", "S").low > 0 else "no") for found in mine.values())

# %% [markdown]
# ## What you have seen

# %%
page.say_lines([
    "Users and seeds are both random; an interval that forgets the seeds is too narrow.",
    page.in_words(example.compare("RD-hybrid", "S"), "RD", "S") + f" ({example.label})",
    "Whether RD is no worse than T needs a margin, and a teacher that is clearly better than the student.",
])  # fmt: skip

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(records, experiments[0].data_hash, own_seeds[0], started)
