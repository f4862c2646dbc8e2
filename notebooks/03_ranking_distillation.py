# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 Ranking Distillation
#
# The student of notebook 02 learns only from what users did. But most of what a user would like he never had the chance to
# choose, and the teacher has an opinion about that. Ranking Distillation (Tang & Wang, KDD 2018) lets the student learn from the
# teacher's ranking of *unlabelled* items as well. At the time of a request only the small student works.
#
# This notebook goes through the method piece by piece: the distillation loss, the teacher's list, the weights of its
# positions, the estimate of the student's rank; and then trains a student with each weighting scheme.
#
# Profile `paper` shows the committed records of our paper-size runs and trains nothing, unless `recompute` is set.
# `papermill notebooks/03_ranking_distillation.ipynb out.ipynb -p seed 2` runs it with another seed.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of all runs shown
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each
K: int = 0  # length of the teacher's list; 0: the profile's
lam: float = 1.0  # lambda, how slowly the weights fall with the teacher's position
mu: float = 0.1  # how fast the weight rises with the discrepancy of ranks
example: int = 32500  # the training instance that serves as the example

# %%
import inspect
import time

import numpy as np
import pandas as pd
import torch
from IPython.display import display

from rdcore import data, datasets
from rdcore.data.sampling import stream, unseen_items
from rdcore.distill import Discrepancy, Equal, Hybrid, Position, Reciprocal, rd
from rdcore.distill.lists import exemplary_rankings
from rdcore.eval import full_ranking as evaluation
from rdcore.eval import significance
from rdcore.store import runs
from rdcore.train.loop import training_data
from studies.common import earlier, manifest, plots, report
from studies.common.profiles import PROFILES
from studies.rd import method_plots
from studies.rd import plan as rd_plan

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "03_ranking_distillation"
plan = PROFILES[profile].rd[0]
plan = rd_plan.varied(plan, lam=lam, mu=mu, K=K or rd_plan.values(plan).K)
values = rd_plan.values(plan)
schemes = {role: settings.weights for role, settings in plan.methods.items()}
experiments = {"T": plan.teacher("F", seed), "S": plan.student("F", seed)}
experiments |= {role: plan.distilled("F", seed, role) for role in schemes}
print(f"{plan.dataset}, seed {seed}: K = {values.K}, lambda = {values.lam:g}, mu = {values.mu:g}, "
      f"{values.samples} rank samples, hybrid from epoch {values.start_epoch} of {plan.training.epochs}")

# %% [markdown]
# Teacher and student are those of notebook 02 (trained now, where they are not in the run store). Some pictures need
# their weights and the data; where either is missing, as it may be on profile `paper`, the picture says so.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
planned = list(experiments.values())
found = dict(zip(("T", "S"), earlier.records([experiments["T"], experiments["S"]], table=planned, **options), strict=True))
NOT_HERE = "Not shown: this needs the data and the weights of teacher and student; only their records are here."
try:
    interactions = datasets.load(plan.dataset)
    stage = data.stage(interactions, "F")
    local = {role: runs.stored(experiments[role]) for role in ("T", "S")}
except data.DataError:
    local = {"T": None, "S": None}
at_hand = all(local.values())
if at_hand:
    models = {role: run.model(experiments[role], interactions) for role, run in local.items()}
    instances = training_data(stage.fit, models["S"].window, "cpu")
    print(f"{len(instances.queries):,} training queries; teacher and student are at hand")
else:
    print(NOT_HERE)

# %% [markdown]
# ## The distillation loss
#
# For every query (a user and his last items) the frozen teacher names its $K$ best items $\pi_1, \dots, \pi_K$, best
# first. The student is to score them high, as if the user had chosen them, each with a weight $w_r$:
#
# $$L^D = -\sum_{r=1}^{K} w_r \,\log \sigma(\hat y_{\pi_r}).$$
#
# There is no negative part: what the teacher ranks low is left alone. The paper mixes this with the ranking loss as
# $(1-\alpha) L^R + \alpha L^D$; the released code adds the two with equal weight, which is $\alpha = 1/2$ up to a factor.

# %%
print(inspect.getsource(rd.distillation_loss))

# %% [markdown]
# ## The teacher's exemplary ranking
#
# The lists are made once, before training. The paper speaks of *unlabelled* items; the released code removes only the item that is the
# target of the very query, so that items which the user has elsewhere in training stay in. (Here that is the default, because
# the published numbers came from that code; `RDSettings(exclude="seen")` is the paper's text.)
#
# The list of one training query, with what the user really did with these items, and where the student of notebook 02 ranks them
# among the items that the user has not had:

# %%
if at_hand:
    index = torch.tensor([example % len(instances.queries)])
    query, target = instances.queries[index], instances.target[index]
    lists = exemplary_rankings(models["T"], query, values.K, target=target).long()
    user = int(query.user)
    mine = {
        name: set(part.items[part.offsets[user] : part.offsets[user + 1]].tolist())
        for name, part in (("in training", stage.fit), ("in test", stage.judge))
    }
    where = [next((name for name, had in mine.items() if item in had), "nowhere") for item in lists[0].tolist()]
    context = models["S"].encode(query)
    unseen = torch.ones((1, interactions.n_items), dtype=torch.bool)
    unseen[instances.seen.of(query.user)] = False
    with torch.no_grad():
        student_ranks = rd.exact_rank(lists, models["S"].score_all(context), unseen)[0]
        confidence = torch.sigmoid(models["T"].score(models["T"].encode(query), lists))[0]
    table = pd.DataFrame({
        "item": lists[0],
        "teacher's score (sigmoid)": confidence.numpy().round(3),
        "this user has it": where,
        "student's rank": student_ranks + 1,
        "$w^a$": schemes["RD-position"](values.K, None, 1).numpy().round(4),
        "$w^b$": schemes["RD-discrepancy"](values.K, student_ranks[None], 1)[0].numpy().round(4),
        "hybrid": schemes["RD-hybrid"](values.K, student_ranks[None], values.start_epoch)[0].numpy().round(4),
    }, index=pd.RangeIndex(1, values.K + 1, name="r"))
    print(f"user {user}; last items {query.history(models['S'].window)[0].tolist()}; next came {int(target)}")
    display(table)
else:
    print(NOT_HERE)

# %%
if at_hand:
    chosen = torch.randperm(len(instances.queries), generator=stream(seed, "shown queries"))[:2000]
    asked = instances.queries[chosen]
    many = exemplary_rankings(models["T"], asked, values.K, target=instances.target[chosen]).long()
    known = instances.seen.contains(asked.user, many).numpy()
    in_test = stage.judge.users() * interactions.n_items + stage.judge.items
    hits = np.isin((asked.user[:, None] * interactions.n_items + many).numpy(), in_test)[~known].mean()
    chance = len(stage.judge) / (interactions.n_users * interactions.n_items - len(stage.fit))
    print(f"Of the items in {len(chosen)} such lists the users have {known.mean():.0%} elsewhere in training. Of the others\n"
          f"{hits:.1%} are in their test set, which no model has seen; of items drawn at random it would be {chance:.1%}.\n"
          f"On new items the teacher is {hits / chance:.0f} times as good as chance.")
else:
    print(NOT_HERE)

# %% [markdown]
# ## Weights that depend on the position alone
#
# Equal weights $w_r = 1/K$ trust the last item of the list as much as the first; $w_r = 1/r$ does not. The paper's **position importance**
# falls exponentially,
#
# $$w^a_r \propto e^{-r/\lambda}, \qquad r = 1, \dots, K,$$
#
# and is divided by its sum. The smaller $\lambda$, the fewer positions count.

# %%
print(inspect.getsource(Position.__call__))

# %%
shapes = {
    "equal, $1/K$": Equal(),
    "reciprocal, normalised": Reciprocal(),
    "reciprocal, raw": Reciprocal(normalise=False),
    f"position, $\\lambda$ = {values.lam:g}": Position(values.lam),
    f"position, $\\lambda$ = {10 * values.lam:g}": Position(10 * values.lam),
}
fig = method_plots.static_weights(shapes, values.K)
plots.save(fig, "03_static_weights", profile, [], NOTEBOOK)

# %% tags=["nbval-check-output"]
by_position = Position(values.lam)(values.K, None, 1)
print("position importance:", " ".join(f"{weight:.4f}" for weight in by_position.tolist()))
print(f"With lambda = {values.lam:g} the first three of {values.K} positions carry {by_position[:3].sum():.0%} of the weight.")

# %% [markdown]
# ## Weights that look at the student
#
# An item that the student already ranks where the teacher does has nothing more to teach. The **ranking discrepancy** gives weight to what
# the student ranks lower than the teacher, and none to the rest:
#
# $$w^b_r = \tanh\bigl(\max(\mu\,(\hat r_{\pi_r} - r),\, 0)\bigr),$$
#
# where $\hat r_{\pi_r}$ is the student's rank of the teacher's $r$-th item. The **hybrid** multiplies the two,
#
# $$w_r = \frac{w^a_r\, w^b_r}{\sum_i w^a_i\, w^b_i}.$$
#
# The released code leaves out the division, so that its weights grow smaller as the student learns; both variants are
# below (`RD-hybrid` is the released one). In the first epochs the student's ranks are noise: until then $w^a$ is used alone.

# %%
print(inspect.getsource(Discrepancy.__call__))
print(inspect.getsource(Hybrid.__call__))

# %%
if at_hand:
    shown_ranks = student_ranks
else:
    shown_ranks = torch.tensor([0, 4, 155])
    print("The right picture shows the worked example of the paper's poster, because the models are not at hand.")
fig = method_plots.rank_weights(schemes["RD-hybrid"], len(shown_ranks), shown_ranks)
plots.save(fig, "03_rank_weights", profile, [local["T"], local["S"]] if at_hand else [], NOTEBOOK)

# %%
raw = schemes["RD-hybrid"](len(shown_ranks), shown_ranks[None], values.start_epoch)[0]
if raw.sum() > 0:
    print(f"On this query the raw hybrid weights sum to {raw.sum():.3f}: divided by the sum, the query counts\n"
          f"{1 / raw.sum():.1f} times as much. The largest weight is at the teacher's position {int(raw.argmax()) + 1}.")
else:
    print("On this query the student ranks every item of the list as high as the teacher: all hybrid weights are 0.")

# %% [markdown]
# ## The student's rank is estimated
#
# An exact rank would need the scores of all items in every step. The paper draws a few items that the user has not had and counts
# how many of them, $n$ of $S$, the student puts above the one in question; with $N$ items
#
# $$\hat r_{\pi_r} = \left\lfloor \frac{n\,N}{S} \right\rfloor$$
#
# (ranks from 0 on both sides; the paper counts from 1 on both, which cancels). The estimate can only be a multiple of $N/S$.

# %%
print(inspect.getsource(rd.sampled_rank))

# %%
if at_hand:
    asked, part = instances.queries[chosen[:200]], many[:200]
    with torch.no_grad():
        context = models["S"].encode(asked)
        logits = models["S"].score(context, part)
        drawn = unseen_items(asked.user, values.samples, instances.seen, stream(seed, "shown samples"))
        estimate = rd.sampled_rank(logits, models["S"].score(context, drawn), None, interactions.n_items)
        unseen = torch.ones((len(asked), interactions.n_items), dtype=torch.bool)
        unseen[instances.seen.of(asked.user)] = False
        exact = rd.exact_rank(part, models["S"].score_all(context), unseen)
    fig = method_plots.rank_estimates(exact, estimate, schemes["RD-discrepancy"], interactions.n_items)
    plots.save(fig, "03_rank_estimates", profile, [local["T"], local["S"]], NOTEBOOK)
else:
    print(NOT_HERE)

# %%
if at_hand:
    weight = schemes["RD-discrepancy"]
    estimated, true = weight(values.K, estimate, 1), weight(values.K, exact, 1)
    ends, true_ends = (float(((w < 0.05) | (w > 0.9)).float().mean()) for w in (estimated, true))
    print(f"With {values.samples} samples of {interactions.n_items:,} items a rank is estimated in steps of "
          f"{interactions.n_items / values.samples:.3g}.\n{ends:.0%} of the estimated weights lie below 0.05 or above 0.9 "
          f"({true_ends:.0%} of those from exact ranks):\n"
          f"{'in effect w^b asks whether one sample beats the item.' if ends > 0.75 else 'w^b still grades the items.'}")
else:
    print(NOT_HERE)

# %% [markdown]
# ## A student for each scheme
#
# All start from the same initial weights and see the same instances and negatives in the same order as S; only the added loss
# differs.

# %%
given = earlier.records([experiments[role] for role in schemes], table=planned, optional=True, **options)
found |= {role: record for role, record in zip(schemes, given, strict=True) if record is not None}
missing = [role for role in schemes if role not in found]
distilled = [role for role in schemes if role in found]
print("not run:", ", ".join(missing)) if missing else print("all schemes are on record")

# %%
shown = ["P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10", "MAP"]
on_test = pd.DataFrame({role: record.metrics[shown].iloc[-1] for role, record in found.items()}).T
on_test["MAP - S"] = on_test["MAP"] - on_test.loc["S", "MAP"]
on_test["in %"] = (100 * on_test["MAP - S"] / on_test.loc["S", "MAP"]).map("{:+.1f}".format)
report.write_table(on_test.reset_index(names="role"), "03_schemes", profile, list(found.values()), NOTEBOOK)
display(on_test.rename_axis("on test").round(4))

# %%
# The same in the columns of the paper's Tables 2 and 4; the paper-size ones are written by notebook 00.
if profile != "paper":
    rows = list(found.values())
    report.write_table(report.rd_table2(rows), "rd_table2", profile, rows, NOTEBOOK)
    report.write_table(report.rd_table4(rows), "rd_table4", profile, rows, NOTEBOOK)

# %% [markdown]
# The curves below are measured on test. Nothing is chosen by them: the model of the last epoch counts, as in the official code.

# %%
fig = plots.learning_curves(list(found.values()), judged="test")
plots.save(fig, "03_learning_curves", profile, list(found.values()), NOTEBOOK)

# %% [markdown]
# ### What the weights do during training
#
# Means over all queries of an epoch. The hybrid schemes follow $w^a$ until their start epoch. From then on the raw ones are smaller the better
# the student already agrees with the teacher; the normalised ones keep their sum, unless no item of a list has any weight left.

# %%
drawn = [found[role] for role in ("RD-hybrid", "RD-hybrid-normalised", "RD-position", "RD-discrepancy") if role in found]
if drawn:
    fig = method_plots.weight_curves(drawn)
    plots.save(fig, "03_weight_curves", profile, drawn, NOTEBOOK)

# %%
if "RD-hybrid" in found:
    sums = found["RD-hybrid"].history["weights"].map(sum)
    print(f"The hybrid's weights sum to {sums.iloc[0]:.2f} in the first epoch and to {sums.iloc[-1]:.2f} in the last:\n"
          f"{1 - sums.iloc[-1] / sums.iloc[0]:.0%} of the distillation's pull is gone by then.")

# %% [markdown]
# ### Does the student rank like its teacher?
#
# Two measures, averaged over users: the share of common items in the two top-10 lists, and Kendall's $\tau$ of the student's scores
# on the teacher's 50 best items (1: the same order, 0: unrelated).

# %%
agreement = {role: record.agreement for role, record in found.items() if role != "T" and record.agreement}
if "S" not in agreement and at_hand:
    agreement = {"S": evaluation.agreement(models["S"], models["T"], stage)} | agreement
fig = plots.agreements(agreement)
plots.save(fig, "03_agreement", profile, list(found.values()), NOTEBOOK)

# %%
for measure, alone in agreement.get("S", {}).items():
    closer = sum(values[measure] > alone for role, values in agreement.items() if role != "S")
    print(f"{measure}: S {alone:.3f}; {closer} of {len(agreement) - 1} distilled students agree more with the teacher.")

# %% [markdown]
# ### Is it better than the student alone?
#
# Two methods are compared on the same users: a user's average precision with one minus that with the other. The interval comes from
# a bootstrap over users; the effect size $d_z$ is the mean difference over its standard deviation. One seed says nothing
# about other seeds, so the most that this notebook can find is an *indication*; 00 has the runs of several seeds.

# %%
ap = {role: record.per_user()["AP"].to_numpy()[None] for role, record in found.items()}
compared = {role: significance.compare(ap[role], ap["S"], rng=np.random.default_rng(0)) for role in ("T", *distilled)}
rows = pd.DataFrame({role: vars(c) for role, c in compared.items()}).T.rename(columns={"difference": "MAP - S"})
rows = rows[["MAP - S", "low", "high", "effect_size"]].astype(float).round(5)
rows["better than S"] = [significance.verdict(c) for c in compared.values()]
report.write_table(rows.reset_index(names="role"), "03_against_student", profile, list(found.values()), NOTEBOOK)
display(rows)

# %%
if "RD-hybrid" in compared:
    own = (ap["RD-hybrid"] - ap["S"])[0]
    fig = plots.differences(compared, own[~np.isnan(own)], metric="AP", first="RD-hybrid")
    plots.save(fig, "03_differences", profile, list(found.values()), NOTEBOOK)

# %%
if "RD-hybrid" in compared:
    c = compared["RD-hybrid"]
    words = {
        "replicates": "better than the student alone",
        "indication": "an indication that it is better than the student alone",
        "no": "worse than the student alone" if c.high < 0 else "no evidence that it is better than the student alone",
    }
    gap = significance.gap_recovered(ap["T"], ap["S"], ap["RD-hybrid"], rng=np.random.default_rng(0))
    print(f"RD-hybrid - S in MAP: {c.difference:+.4f} ({c.difference / c.mean_b:+.1%}), 95 % interval {c.low:+.4f} to "
          f"{c.high:+.4f}, effect size {c.effect_size:+.3f}:\n{words[significance.verdict(c)]}.")
    if np.isnan(gap.share):
        print("The teacher is not clearly better than the student: there is no gap to recover.")
    else:
        print(f"It recovers {gap.share:.0%} of the gap between teacher and student "
              f"(95 % interval {gap.low:.0%} to {gap.high:.0%}).")

# %% tags=["nbval-check-output"]
print("The teacher is better than the student alone:", significance.verdict(compared["T"]))

# %%
if plan.dataset == "gowalla":
    print("These are paper-size runs of one seed. Notebook 00 puts all seeds beside the paper's tables.")
else:
    print(f"{plan.dataset} is not one of the paper's data sets and these runs are small: whatever the table says,\n"
          "it neither supports nor contradicts the paper. Notebook 00 has the paper-size records.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(list(found.values()), experiments["T"].data_hash, seed, started))
