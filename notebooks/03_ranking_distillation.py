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
# **At the end of this notebook you will know** how the ranking of a large recommender becomes training data for a small one, how
# the three weights of Ranking Distillation are computed, what one training step looks like in code, and how much better the
# small recommender gets.
#
# A recommender learns from what users chose. But users never had the chance to choose most of what they would like, and a large
# model has an opinion about that. **Ranking Distillation** (RD; J. Tang and K. Wang, KDD 2018) passes this opinion on. Three
# models take part:
#
# * the **teacher T**, a large model that is trained first and then frozen,
# * the **student S**, a small model trained on the users' choices alone,
# * the student **RD**, the same small model trained on the users' choices *and* on the top of the teacher's rankings.
#
# Only the small model is needed when recommendations are served.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of all runs shown
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each
K: int = 0  # length of the teacher's list; 0: the profile's
alpha: float = 0.0  # weight of the distillation loss; 0: the profile's
example: int = 5500  # the training example that is shown

# %%
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import logsigmoid

from rdcore import data, datasets
from rdcore.data.sampling import stream, unseen_items
from rdcore.distill import Equal, Position, RDSettings, Reciprocal
from rdcore.distill.base import Batch, TrainingData
from rdcore.distill.lists import exemplary_rankings
from rdcore.eval import significance
from rdcore.store import runs
from rdcore.train.loop import batch_loss, training_data
from studies.common import plots, report, style
from studies.common.profiles import PROFILES
from studies.notebooks import page
from studies.rd import method_plots

started = time.perf_counter()
style.use_style()
NOTEBOOK = "03_ranking_distillation"
plan = PROFILES[profile].rd[0]
methods = {role: replace(rd, K=K or rd.K, weight=alpha or rd.weight) for role, rd in plan.methods.items()}
plan = replace(plan, methods=methods)
experiments = {"T": plan.teacher("F", seed), "S": plan.student("F", seed)}
experiments |= {role: plan.distilled("F", seed, role) for role in methods}
page.say(f"Data: {plan.dataset}. The teacher's vectors have {plan.models['T'].dim} numbers, the student's {plan.models['S'].dim}.",
         f"All are trained for {plan.training.epochs} epochs in batches of {plan.training.batch_size}.")

# %% [markdown]
# The first half of the notebook takes the method apart with two trained models, T and S. (On profile `paper`, whose trained
# weights are not in the repository, it uses two very small models on generated data.)

# %%
walk = page.with_weights(plan)
hybrid_of = walk.methods["RD-hybrid"].weights
K, lam, mu = walk.methods["RD-hybrid"].K, hybrid_of.position.lam, hybrid_of.discrepancy.mu
samples = hybrid_of.discrepancy.samples  # for the estimate of a rank
walk_runs = {"T": walk.teacher("F", seed), "S": walk.student("F", seed)}
trained = dict(zip(walk_runs, runs.load_or_train_all(list(walk_runs.values()), jobs=jobs, progress=True), strict=True))
interactions = datasets.load(walk.dataset)
names = page.item_names(interactions)
stage = data.stage(interactions, "F")  # stage.fit: what the models are trained on; stage.judge: each user's newest 20 %
T, S = (trained[role].model(walk_runs[role], interactions) for role in ("T", "S"))
examples = training_data(stage.fit, S.window, "cpu", full_windows=True)
page.say(f"There are {len(examples.queries):,} training examples. Each is a *query*, a user with their last {S.window} items,",
         "and a *target*, the item that came next.")

# %% [markdown]
# ## 1. The teacher's list
#
# For each query the teacher scores all items, and its $K$ best become the **list** $\pi_1, \dots, \pi_K$, best first. The target
# itself is taken out. Here is one query and its list, in three lines of code:

# %%
index = torch.tensor([example % len(examples.queries)])
query, target = examples.queries[index], examples.target[index]
with torch.no_grad():
    scores = T.score_all(T.encode(query))  # (1, number of items)
    scores[0, target] = -torch.inf  # the target is learnt anyway
    pi = scores.topk(K).indices  # (1, K), the teacher's list

assert torch.equal(pi, exemplary_rankings(T, query, K, target=target).long())  # the library's list is the same

user = int(query.user)
held_out = set(stage.judge.items[stage.judge.offsets[user] : stage.judge.offsets[user + 1]].tolist())
in_training = set(stage.fit.items[stage.fit.offsets[user] : stage.fit.offsets[user + 1]].tolist())
page.say(f"The user last had: {', '.join(names[query.history(S.window)[0].tolist()])}. Next came: {names[int(target)]}.")

# %% [markdown]
# The list may hold items that the user has elsewhere in training. The paper speaks of items without any label; the released code
# removes only the target. The table below also shows what the user did later, which no model has seen.
#
# ## 2. Where does the student rank these items?
#
# The **student's rank** $\hat r$ of an item is the number of items that the student scores higher, among those that the user has
# not had. In equations and code ranks count from 0, in tables and pictures from 1. Several items of the list can have the same
# rank, because items that the user has had do not count.

# %%
with torch.no_grad():
    all_scores = S.score_all(S.encode(query))  # (1, number of items)
    new = torch.ones_like(all_scores, dtype=torch.bool)
    new[0, sorted(in_training)] = False  # items that the user has had do not count
    own = all_scores.gather(1, pi)  # the student's scores of the teacher's list, (1, K)
    rank = ((all_scores[:, None, :] > own[:, :, None]) & new[:, None, :]).sum(2)  # (1, K)

# %% [markdown]
# ## 3. Three weights
#
# The student learns to score the items of the list high, each with a weight $w_r$:
#
# * **position**: $w^a_r = e^{-r/\lambda}$, divided by its sum. The teacher is most often right at the top of its list, and the top
#   is what users see. The smaller $\lambda$, the fewer items count.
# * **discrepancy**: $w^b_r = \tanh(\max(\mu\,(\hat r_{\pi_r} - r), 0))$. An item that the student already ranks as high as the teacher
#   has nothing more to teach; one that it ranks far lower counts fully. $\mu$ says how many ranks are far.
# * **hybrid**: $w^a_r w^b_r$. In the first epochs, when the student's ranks are noise, it is $w^a_r$ alone. The paper divides the product
#   by its sum; the released code does not, so that its weights shrink while the student learns.

# %%
r = torch.arange(K)  # positions from 0; the common factor exp(-1 / lambda) cancels in the division
w_a = torch.exp(-r / lam) / torch.exp(-r / lam).sum()  # (K,)
w_b = torch.tanh((mu * (rank - r)).clamp(min=0))  # (1, K)
hybrid = w_a * w_b  # (1, K)

torch.testing.assert_close(w_a, Position(lam)(K, None, 1))  # the library's weights are the same
torch.testing.assert_close(w_b, hybrid_of.discrepancy(K, rank, 1))
torch.testing.assert_close(hybrid, replace(hybrid_of, start_epoch=1)(K, rank, 1))

had = ["in training" if item in in_training else "later" if item in held_out else "" for item in pi[0].tolist()]
page.show(pd.DataFrame({
    "teacher's list": names[pi[0].numpy()], "the user had it": had, "student's rank": (rank[0] + 1).tolist(),
    "position": w_a.numpy(), "discrepancy": w_b[0].numpy(), "hybrid": hybrid[0].numpy(),
}, index=pd.RangeIndex(1, K + 1, name="r")), index=True)  # fmt: skip

# %%
shapes = {
    "equal, $1/K$": Equal(),
    "$1/r$, divided by its sum": Reciprocal(),
    f"position, $\\lambda$ = {lam:g}": Position(lam),
    f"position, $\\lambda$ = {10 * lam:g}": Position(10 * lam),
}
fig = method_plots.static_weights(shapes, K)
style.save(fig, "03_static_weights", profile, [], NOTEBOOK)

# %% tags=["nbval-check-output"]
first_three = w_a[:3].sum()
page.say(f"With λ = {lam:g} the first three of {K} items carry {first_three:.0%} of the position weight.")

# %% [markdown]
# The next picture shows the discrepancy weights on the left and the hybrid weights in the middle (dark means no weight), and on
# the right the hybrid weights of the query above.

# %%
fig = method_plots.rank_weights(hybrid_of, K, rank[0])
style.save(fig, "03_rank_weights", walk.name, list(trained.values()), NOTEBOOK)

# %% [markdown]
# ## 4. The rank is estimated
#
# An exact rank needs the scores of all $N$ items in every step. The released code draws $\epsilon$ items that the user does not have in
# training and counts how many of them, $n$, the student scores higher: $\hat r = \lfloor n N / \epsilon \rfloor$, from 0. (By notes on the
# paper, its formula counts from 1 and has the number of items without a label in place of $N$.) The estimate is a multiple of $N/\epsilon$, and
# it is often 0 for an item with a good rank.

# %%
some = torch.randperm(len(examples.queries), generator=stream(seed, "shown queries"))[:200]
asked = examples.queries[some]
with torch.no_grad():
    lists = exemplary_rankings(T, asked, K, target=examples.target[some]).long()  # (200, K)
    drawn = unseen_items(asked.user, samples, examples.seen, stream(seed, "shown samples"))  # (200, S)
    context = S.encode(asked)
    own, sample = S.score(context, lists), S.score(context, drawn)
    n = (sample[:, None, :] > own[:, :, None]).sum(2)  # (200, K): samples above each item
    estimate = n * interactions.n_items // samples
    everything = S.score_all(context)
    new = torch.ones_like(everything, dtype=torch.bool)
    new[examples.seen.of(asked.user)] = False
    exact = torch.stack([((everything > own[:, k, None]) & new).sum(1) for k in range(K)], dim=1)

fig = method_plots.rank_estimates(exact, estimate, hybrid_of.discrepancy, interactions.n_items)
style.save(fig, "03_rank_estimates", walk.name, list(trained.values()), NOTEBOOK)

# %%
weight = hybrid_of.discrepancy
extreme = [float(((w < 0.05) | (w > 0.9)).float().mean()) for w in (weight(K, estimate, 1), weight(K, exact, 1))]
page.say(f"With {samples} samples {extreme[0]:.0%} of the discrepancy weights are nearly 0 or nearly 1; with exact ranks {extreme[1]:.0%}.",
         "In effect the estimate asks whether a single sample beats the item.")

# %% [markdown]
# ## 5. One training step
#
# The **ranking loss** $L^R$ asks for a high score of the target and low scores of three random items. The **distillation loss**
# $L^D$ asks for high scores of the items on the teacher's list, each with its weight. It pushes no item down:
#
# $$L^R = -\log\sigma(\hat y_{\text{target}}) - \sum_{\text{negatives}} \log(1 - \sigma(\hat y_i)), \qquad
# L^D = -\sum_{r=1}^{K} w_r \log\sigma(\hat y_{\pi_r}), \qquad L = L^R + \alpha L^D,$$
#
# where $\hat y$ is the student's score and $\sigma$ the logistic function. (The paper writes $(1-\alpha) L^R + \alpha L^D$. The
# released code adds the two with weights 1 and $\alpha$.) On a real batch, with the position weights:


# %%
def loss_by_hand(student, batch, lists, w, alpha):
    """The loss of one batch of B queries, as in the equations above."""
    context = student.encode(batch.queries)  # (B, D)
    target = student.score(context, batch.target[:, None])  # (B, 1)
    negatives = student.score(context, batch.negatives)  # (B, 3)
    of_list = student.score(context, lists)  # (B, K)
    L_R = -logsigmoid(target).sum(1) - logsigmoid(-negatives).sum(1)  # (B,); 1 - sigmoid(y) is sigmoid(-y)
    L_D = -(w * logsigmoid(of_list)).sum(1)  # (B,)
    return (L_R + alpha * L_D).mean()


B, alpha = 64, walk.methods["RD-position"].weight
part = torch.arange(B)
negatives = unseen_items(examples.queries[part].user, 3, examples.seen, stream(seed, "shown negatives"))
batch = Batch(part, examples.queries[part], examples.target[part], negatives)
lists = exemplary_rankings(T, batch.queries, K, target=batch.target).long()
loss = loss_by_hand(S, batch, lists, w_a, alpha)

rd = RDSettings(K=K, weights=Position(lam), weight=alpha).build(S, T)
rd.prepare(T, TrainingData(batch.queries, batch.target, examples.seen))
rd.begin_epoch(S, 1, 1, stream(seed, "shown epoch"))
L_R, L_D = batch_loss(S, rd, batch, 0, "mean")
torch.testing.assert_close(loss, L_R.mean() + L_D)  # the library's loss is the same

optimizer = torch.optim.Adam(S.parameters(), lr=walk.training.learning_rate)
optimizer.zero_grad()
loss.backward()
optimizer.step()
after = loss_by_hand(S, batch, lists, w_a, alpha).detach()
page.say(f"One step takes the loss of this batch from {loss.detach():.3f} to {after:.3f}.")

# %% [markdown]
# Training repeats this step. `rdcore.distill.rd` is the method, `rdcore.train.loop` the loop:
#
# ```text
# train the teacher, freeze it, make its list for every query
# for each epoch:
#     draw new negatives, and new samples for the ranks
#     for each batch:
#         scores  = student(targets, negatives, lists)
#         weights = position weights; later times tanh of the difference of ranks
#         loss    = ranking loss + alpha * weighted loss of the lists
#         one step of Adam
# ```
#
# ## 6. Does it help?
#
# Now T, S and one student for each weighting are trained and tested. Each user's newest fifth of items is the test set, all items
# that the user has not had are ranked, and quality is **MAP**: the mean over users of the *average precision* of their list, 1 if all
# test items come first. `P@10` is the share of test items among the first ten, `nDCG@10` also asks how high they are.
#
# How the settings of profile `small` were chosen: T, S and RD share one training, with a learning rate and a number of epochs at
# which T is best. RD and S were each tried twelve times on **validation** data, with another seed: RD with other weightings, loss
# weights, list lengths and rates, S with other rates and weight decays. The hybrid with flat position weights ($\lambda = 10$)
# was the best RD at this rate. With a larger rate of its own, S catches up with the best RD. So the gain below is one at equal
# training. It does not compare each method at its best.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
records = page.have(experiments, **options)
shown = ["P@10", "nDCG@10", "MAP"]
on_test = pd.DataFrame({role: record.metrics[shown].iloc[-1] for role, record in records.items()}).T
on_test["MAP - S"] = on_test["MAP"] - on_test.loc["S", "MAP"]
on_test["share of the gap"] = on_test["MAP - S"] / (on_test.loc["T", "MAP"] - on_test.loc["S", "MAP"])
table = on_test.rename_axis("role").reset_index()
report.write_table(table.assign(seed=seed), "03_schemes", profile, list(records.values()), NOTEBOOK)
page.show(table, **{"MAP - S": "{:+.4f}", "share of the gap": "{:.0%}"})

# %% [markdown]
# `share of the gap` is how much of the teacher's lead over the student is recovered: 0 % is the student alone, 100 % the teacher.
# `RD-equal` weighs all items alike, `RD-position` by $w^a$, `RD-discrepancy` by $w^b$, `RD-hybrid` by their
# product, and `RD-hybrid-normalised` by the product divided by its sum. (Profile `paper` also has `RD-reciprocal`, by $1/r$.)

# %%
fig = plots.learning_curves(list(records.values()), measured_on="test")
style.save(fig, "03_learning_curves", profile, list(records.values()), NOTEBOOK)

# %% [markdown]
# The hybrid starts with the position weights and then fades: the more the student agrees with the teacher, the smaller its weights.
# Those of `RD-hybrid-normalised` are divided by their sum for each query. But where the student ranks every item of a list at least as
# high as the teacher does, all are 0 and stay 0. So the mean over queries falls below 1 here, too.

# %%
weighted = [records[role] for role in ("RD-hybrid", "RD-hybrid-normalised", "RD-position") if role in records]
page.picture(lambda: method_plots.weight_curves(weighted), "03_weight_curves", profile, weighted, NOTEBOOK)

# %% [markdown]
# Does a distilled student also *rank like* its teacher? `overlap@10` is the share of common items in the two lists of ten;
# `kendall@50` is Kendall's $\tau$ of the student's scores on the teacher's 50 best items (1: the same order, 0: unrelated).

# %%
agreement = {role: record.agreement for role, record in records.items() if record.agreement}
page.picture(lambda: plots.agreements(agreement), "03_agreement", profile, list(records.values()) * bool(agreement), NOTEBOOK)

# %% [markdown]
# ## 7. Could the difference be chance?
#
# Two methods are compared user by user, on the same test items. The 95 % interval treats the users as random and the seed as
# fixed. One seed says nothing about other seeds: notebook 05 repeats T, S and RD with three.

# %%
ap = {role: record.per_user()["AP"].to_numpy()[None] for role, record in records.items()}  # (1, users)
compared = {role: significance.compare(ap[role], ap["S"]) for role in ap if role != "S"}
rows = pd.DataFrame([
    {"role": role, "MAP - S": c.difference, "low": c.low, "high": c.high} for role, c in compared.items()
])  # fmt: skip
report.write_table(rows.assign(seed=seed), "03_against_student", profile, list(records.values()), NOTEBOOK)
page.show(rows, **dict.fromkeys(["MAP - S", "low", "high"], "{:+.4f}"))

# %%
taught = {role: c for role, c in compared.items() if role != "T"}
best = max(taught, key=lambda role: taught[role].difference)
of_best = (ap[best] - ap["S"])[0]
fig = plots.differences(compared, of_best[~np.isnan(of_best)], metric="AP", first=best)
style.save(fig, "03_differences", profile, list(records.values()), NOTEBOOK)

# %% tags=["nbval-check-output"]
popular = page.popularity(plan.dataset, "F").get("MAP", 0)  # the MAP of showing everybody the most popular items
page.say("Do T, S and every distilled student beat popularity?", "Yes." if on_test["MAP"].min() > popular else "No.")
page.say("Is the teacher better than the student alone?", "Yes." if compared["T"].low > 0 else "No.")

# %% [markdown]
# ## What you have seen

# %%
page.say_lines([
    "The teacher's top items join the student's training data as weighted positives; nothing else changes.",
    "Weights look at the teacher's position, at the student's own rank, or at both.",
    page.in_words(compared[best], best, "the student alone"),
])  # fmt: skip

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(list(records.values()), experiments["T"].data_hash, seed, started)
