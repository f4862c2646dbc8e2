# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 RankDistil: what three losses ask for
#
# **At the end of this notebook you will know** what the three losses of RankDistil want from a student's scores, how to compute each of them
# in a few lines, and what changes if only a sample of the items is looked at.
#
# The distillation loss of Ranking Distillation (notebook 03) takes the first items of the large model (the **teacher**) for positives
# and leaves everything else alone. RankDistil (Reddi et al., AISTATS 2021) asks for more: the small model (the **student**) should keep the
# *order* of the teacher's top $p$ items, and no other item may score high. With very many items, the loss looks at a sample of
# these others.
#
# No recommender is trained here. The student is a list of *free scores*, each one a parameter: it gives a loss exactly what the loss asks for, so one can see
# what that is. (The paper's text was not available to us. Where abstracts, notes and a library by one of its authors say nothing, `rdcore/distill/rankdistil.py` chooses, and
# says so.)

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper; longer lists and more steps on paper
seed: int = 1  # of teachers, starts and draws
p: int = 10  # the teacher's top items
items: int = 30  # on the short list, all of which the pictures show
temperature: float = 1.0  # divides the teacher's scores where they are used
judged: int = 10  # places at the top that the sweeps look at

# %%
import time
from dataclasses import replace

import pandas as pd
import torch
from torch.nn.functional import softplus

from rdcore.distill import rankdistil
from studies.common import style
from studies.common.reported import reported
from studies.notebooks import page
from studies.rankdistil import free_scores

started = time.perf_counter()
style.use_style()
NOTEBOOK = "08_rankdistil"
size = free_scores.size_of(profile)
losses = {name: replace(loss, p=p) for name, loss in free_scores.LOSSES.items()}
losses = {name: replace(loss, temperature=temperature) if loss.asks_for_scores else loss for name, loss in losses.items()}
page.say(f"Pictures of single items show a short list of {items} items; sweeps use {size.lists} lists of {size.items:,} items and {size.budget} steps.")

# %% [markdown]
# ## 1. A distribution over orders
#
# For one query, let $t$ be the teacher's scores and $s$ the student's. In the **Plackett-Luce** model items are drawn one after
# the other, each with a probability proportional to $e^{\text{score}}$ among those that are left. The first $k$ draws are
# $\pi_1, \dots, \pi_k$ with probability
#
# $$P_k(\pi \mid s) = \prod_{i=1}^{k} \frac{e^{s_{\pi_i}}}{\sum_{j \ge i} e^{s_{\pi_j}}},$$
#
# where the sum runs over everything not yet drawn, also the items after place $k$. So a high score of *any* other item lowers it.
# (TF-Ranking, the library, calls it $k$-Plackett and divides it by $(n-k)!$, the number of orders of the other items: a constant, which no
# gradient depends on.)


# %%
def log_P(s, order):
    """log P_k of the first k items in order, for scores s (n,)."""
    left = torch.ones_like(s, dtype=torch.bool)
    total = 0
    for i in order:
        total = total + s[i] - s[left].logsumexp(0)
        left[i] = False
    return total


s = torch.tensor([2.0, 1.0, 0.0, 0.5])
order = torch.tensor([0, 1])
torch.testing.assert_close(log_P(s, order), rankdistil.plackett_luce(s[None], order[None, None])[0, 0])  # as the library
page.show(pd.DataFrame({
    "first two items": ["1, 2 (as the scores say)", "2, 1", "3, 4"],
    "probability": [float(log_P(s, torch.tensor(pair)).exp()) for pair in ([0, 1], [1, 0], [2, 3])],
}), probability="{:.3f}")  # fmt: skip

# %% [markdown]
# ## 2. Three losses
#
# $P$ is the set of the teacher's $p$ best items, $N$ all others.
#
# * **C**, coupled: $L_C = \mathbb{E}_{\pi \sim P_k(\cdot \mid t)}[-\log P_k(\pi \mid s)]$. Orders are drawn from the teacher's distribution, and the student should
#   find them likely. To draw one, add random (Gumbel) noise to the teacher's scores and sort. Our variant *exact order* takes only the teacher's own order.
# * **B**, binary: $L_B = \Psi + \sum_{n \in N} \phi(-s_n)$ pushes every other item below a fixed level.
# * **P**, pairwise: $L_P = \Psi + \sum_{n \in N} \sum_{j \in P} \phi(s_j - s_n)$ wants every item of $P$ above every other one.
#
# $\phi(z) = \log(1 + e^{-z})$ falls with $z$. $\Psi$ is what should hold inside $P$: the teacher's *order* ($-\log P_p$), or its *scores* ($\sum (s_i - t_i)^2$). In B an
# item of score 0 is put at the end of the order, so the order also says how high the items of $P$ should be.
#
# **What of this is the paper's?** C is the loss that the paper's second author wrote for TF-Ranking. The sum of P is in reading notes, and that of B is what a
# summary suggests. $\Psi$, $\phi$, the level 0 and the equal weight of $\Psi$ and the sum are our choice.

# %%
s = torch.tensor([2.0, 1.0, 0.0, 0.5])  # the student's scores; the teacher's order is 1, 2, 3, 4
top, rest = s[:2], s[2:]  # p = 2
L_C = -log_P(s, torch.tensor([0, 1]))  # exact order
with_level = torch.cat([top, torch.zeros(1)])
L_B = -log_P(with_level, torch.tensor([0, 1])) + softplus(rest).sum()  # phi(-s) = softplus(s)
L_P = -log_P(top, torch.tensor([0, 1])) + softplus(rest[None] - top[:, None]).sum()

factor = torch.ones(1)  # of the sum over the other items: all are there
torch.testing.assert_close(L_C, rankdistil.coupled_loss(s[None], order[None, None])[0])  # the library's are the same
torch.testing.assert_close(L_B, rankdistil.binary_loss(top[None], rest[None], factor)[0])
torch.testing.assert_close(L_P, rankdistil.pairwise_loss(top[None], rest[None], factor)[0])
page.say(f"C {L_C:.3f}, B {L_B:.3f}, P {L_P:.3f}.")

# %% [markdown]
# ## 3. What each loss makes of free scores
#
# The teacher's scores are drawn once and sorted; the student's start at random; the optimiser Adam minimises each loss over the whole list. A little L2 is added,
# because an order becomes more likely without end as the gaps between scores grow. Each panel has its own scale.

# %%
teacher, start = free_scores.teachers(1, items, seed), free_scores.starts(1, items, seed)
learnt = {name: free_scores.learn_whole(loss, teacher, start, size.steps, seed) for name, loss in losses.items()}
shown = {name: {step: scores[0] for step, scores in kept.items()} for name, kept in learnt.items()}
fig = free_scores.score_panels(teacher[0], shown, p)
style.save(fig, "08_free_scores", profile, [], NOTEBOOK)

# %% [markdown]
# The same picture with ranks. A point on the line has the teacher's rank.

# %%
final = {name: kept[size.steps] for name, kept in learnt.items()}
fig = free_scores.rank_panels({name: scores[0] for name, scores in final.items()}, p)
style.save(fig, "08_free_ranks", profile, [], NOTEBOOK)

# %%
top = pd.concat({name: free_scores.agreement(scores, teacher, p) for name, scores in final.items()}).droplevel(1)
rest = {name: free_scores.agreement(scores[:, p:], teacher[:, p:], items - p)["order"].item() for name, scores in final.items()}
page.show(pd.DataFrame({
    f"share of the teacher's top {p} found": top["overlap"], "order of the top (Kendall's τ)": top["order"], "order of the rest (τ)": rest,
}).rename_axis("loss"), index=True)  # fmt: skip

# %% tags=["nbval-check-output"]
kept_top = [name for name in final if top.loc[name, "overlap"] == 1]
in_order = [name for name in kept_top if top.loc[name, "order"] > 0.8]
page.say(f"{len(kept_top)} of {len(final)} losses bring the teacher's top {p} to the top, {len(in_order)} of them in its order.")

# %% [markdown]
# That is what the paper asks for: the order is kept at the top, and other items are kept low. (Notes call such a loss *$p$-focused*.) An order after place $p$ is
# no part of it. C with sampled orders gives one all the same, because an item from further down is drawn into the first $k$ now and then. That loss is
# least where the student's scores are the teacher's plus a constant, for any $k$.
#
# ## 4. Only a sample of the other items: $m$
#
# With $m$ sampled negatives, B and P here multiply their sums by $|N| / m$ and are right on average. C is a logarithm of sums: an item
# that is missing from the sample is missing from every denominator, so the loss is too small. Left: the mean over many samples
# relative to the loss on all items. Right: how far the gradient on one sample is from the gradient on all items, and (dotted) how
# far the mean over samples is. For C the dotted line is bias: only a larger $m$ lowers it.
# For B and P it is chance, and a mean over more samples would lower it, too.

# %%
sampled = free_scores.of_samples(["C, exact order", "B, order", "P, order"], size, p, seed)
fig = free_scores.sample_curves(sampled)
style.save(fig, "08_samples", profile, [], NOTEBOOK)

# %% [markdown]
# Does it matter in training? Every step draws $m$ new negatives. There are only a few steps, and Adam moves a score by about the learning rate in each, so no score gets far. For *mined* negatives more items
# are drawn, and those with the student's highest scores are kept. The pictures show which share of the teacher's first ten is
# among the student's, and whether they are in order.

# %%
table_m = free_scores.sweep(free_scores.over_m(size, p), size, judged, seed)
fig = free_scores.sweep_curves(table_m, "m", judged)
style.save(fig, "08_over_m", profile, [], NOTEBOOK)

# %%
uniform = table_m[table_m["negatives"] == "uniform"]
best = uniform.loc[uniform.groupby("loss")["overlap"].idxmax()].set_index("loss")
page.say_lines(f"{name}: overlap {row['overlap']:.2f}, order {row['order']:.2f} at m = {row['m']:.0f}, where its overlap is largest." for name, row in best.iterrows())

# %% [markdown]
# In B only $\Psi$ moves the positives. In P every positive has a term with each negative, so separating comes first and ordering
# later; with another weight of $\Psi$ it may not. In C both happen at once.
#
# ## 5. How much of the teacher's top: $p$
#
# With a $p$ below the length that counts, good items become negatives. With one far above it, the loss is spent on places that nobody looks at.

# %%
table_p = free_scores.sweep(free_scores.over_p(size, size.m), size, judged, seed)
fig = free_scores.sweep_curves(table_p, "p", judged)
style.save(fig, "08_over_p", profile, [], NOTEBOOK)

# %% [markdown]
# ## 6. The paper's own numbers
#
# Three rows are known from reading notes, none of them of a teacher, of a student alone or of another method: they do not say what RankDistil gains.
# None can be tested here: the data sets hold documents for search queries, without users.

# %%
rows = reported("rankdistil")
page.show(rows.pivot(index=["dataset", "role"], columns="metric", values="value")[["NDCG@1", "NDCG@5", "NDCG@10"]].reset_index())

# %% [markdown]
# ## What you have seen
#
# * Losses that know the teacher's order keep the order at the top; losses that know its scores keep the scores.
# * Sums over other items can be sampled without bias, the coupled loss cannot.
# * A student of few dimensions has to compromise between lists; notebook 09 measures the result.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance([], "generated", seed, started)
