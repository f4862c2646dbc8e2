# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 RankDistil
#
# Ranking Distillation (notebook 03) takes the teacher's first items for positives and leaves everything else alone. RankDistil (Reddi et
# al., AISTATS 2021) asks for more: the student is to keep the *order* of the teacher's top $p$ items, and no item that the teacher ranks
# lower may score high. With very many items the second half is done on a sample of them, so that a step costs the same
# however large the catalogue is.
#
# The paper offers three losses of this kind and compares them on search data. Its text could not be read for this project; what is
# known of it comes from its abstracts, from reading notes, and from a version of one of the losses that its second author put into
# the library TF-Ranking. Where these say nothing, `rdcore/distill/rankdistil.py` chooses and says so, and here every such place is named.
#
# No recommender is trained in this notebook. The student is a list of *free scores*, each of them a parameter: what a loss asks for
# is what it gets, and one can see what it asks for. Profile `paper` does the same with longer lists and more steps.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of teachers, starts and draws
p: int = 10  # the teacher's top items
items: int = 30  # on the short list that is drawn whole
temperature: float = 1.0  # divides the teacher's scores where they are used
judged: int = 10  # places at the top that the sweeps are judged by

# %%
import inspect
import time
from dataclasses import replace

import pandas as pd
from IPython.display import display

from rdcore.distill import rankdistil
from studies.common import manifest, plots
from studies.common.reported import reported
from studies.rankdistil import free_scores

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "08_rankdistil"
size = free_scores.size_of(profile)
losses = {name: replace(loss, p=p) for name, loss in free_scores.LOSSES.items()}
losses = {name: replace(loss, temperature=temperature) if loss.asks_for_scores else loss for name, loss in losses.items()}
for name, value in {"p": p, "judged": judged}.items():
    if not 2 <= value <= min(items, size.items) // 2:
        raise ValueError(f"{name} must be at least 2 and at most half of the lists ({items} and {size.items} items), got {value}")
print(f"short list: {items} items, {size.steps:,} steps; sweeps: {size.lists} lists of {size.items:,} items, {size.budget} steps\n"
      f"p = {p}, temperature {temperature:g}, seed {seed}")

# %% [markdown]
# ## Positives, negatives, and a distribution over orders
#
# For one query let $t$ be the teacher's scores and $s$ the student's. $P$ holds the teacher's $p$ best items, $N$ all others; $m$ of the latter
# are drawn at random (or *mined*: drawn in larger number, of which those are kept that the student scores highest;
# they stand for the fifth of all negatives that he scores highest, not for all).
#
# Two of the three losses speak about orders through the **Plackett-Luce** model. Items are drawn one after the other without
# return, each with probability proportional to $e^{\text{score}}$ among those that are left. The probability that the first $k$ are
# $\pi_1, \dots, \pi_k$ is
#
# $$P_k(\pi \mid s) = \prod_{i=1}^{k} \frac{e^{s_{\pi_i}}}{\sum_{j \ge i} e^{s_{\pi_j}}},$$
#
# where the sum runs over everything not yet drawn, the items behind place $k$ included. So a high score of *any* other item lowers it.

# %%
print(inspect.getsource(rankdistil.plackett_luce))

# %% [markdown]
# ## C, the coupled loss
#
# $$L_C = -\sum_\pi P_k(\pi \mid t) \,\log P_k(\pi \mid s) = \mathbb{E}_{\pi \sim P_k(\cdot \mid t)}\bigl[-\log P_k(\pi \mid s)\bigr]$$
#
# is the cross-entropy between the teacher's distribution over orders and the student's ($k = p$ unless set). There are far too many orders to sum
# over, but they are easily drawn: add Gumbel noise to the teacher's scores and sort. This is TF-Ranking's version, with eight orders a
# query. The variant `orders="exact"` takes only the teacher's own order, as if he had no doubts.
# Positives and negatives share the denominators; that is why the loss is called coupled.

# %%
print(inspect.getsource(rankdistil.sampled_orders))
print(inspect.getsource(rankdistil.coupled_loss))

# %% [markdown]
# ## B, the binary loss, and P, the pairwise one
#
# Both treat the two parts apart: a function $\Psi$ for what is to hold inside $P$, and a decreasing function $\phi$ for the rest.
#
# $$L_B = \Psi(t_P, s_P) + \sum_{n \in N} \phi(-s_n), \qquad
# L_P = \Psi(t_P, s_P) + \sum_{n \in N} \sum_{j \in P} \phi(s_j - s_n).$$
#
# B pushes every negative below a fixed level; P wants every positive above every negative. On $m$ sampled negatives the sums are
# multiplied by $|N| / m$, so that on average they are those over all of $N$. Neither $\Psi$ nor $\phi$ is known from the sources. Here
# $\phi(z) = \log(1 + e^{-z})$. For $\Psi$ there are two readings, as there are two abstracts: one matches the *order* of the teacher's top items (here
# $-\log P_p$ of his order), an earlier one their *scores* (here $\sum_{i \in P} (s_i - t_i)^2$). In B the order needs one thing more: an order
# does not know how high its items stand, so that nothing would hold them above the negatives. An item of score 0 at the
# end of the list, the very level that negatives are pushed below, does.

# %%
for part in (rankdistil.order_loss, rankdistil.score_loss, rankdistil.binary_loss, rankdistil.pairwise_loss):
    print(inspect.getsource(part))

# %% [markdown]
# ## What each loss makes of a list of free scores
#
# The teacher's scores are drawn once and sorted, the student's start at random, and Adam minimises each loss over the whole list: all
# other items are negatives, none is left out. A little L2 keeps the scores finite. The vertical line stands
# behind the teacher's top $p$, the dashed one at the level 0 of B.

# %%
teacher, start = free_scores.teachers(1, items, seed), free_scores.starts(1, items, seed)
learnt = {name: free_scores.learn_whole(loss, teacher, start, size.steps, seed) for name, loss in losses.items()}
shown = {name: {step: scores[0] for step, scores in kept.items()} for name, kept in learnt.items()}
fig = free_scores.score_panels(teacher[0], shown, p)
plots.save(fig, "08_free_scores", profile, [], NOTEBOOK)


# %%
def missed(scores, n: int) -> float:
    """How far the first n scores are from the teacher's over the temperature, whatever their level: root mean square."""
    gap = (scores - teacher / temperature)[0, :n]
    return float((gap - gap.mean()).square().mean().sqrt())


final = {name: kept[size.steps] for name, kept in learnt.items()}
spread = float((teacher / temperature)[0].std(correction=0))
close = [name for name in final if missed(final[name], p) < 0.1 * spread]
print(f"Scores on the teacher's top {p} that are his, up to a constant (missed by less than a tenth of the spread {spread:.2f}):\n"
      f"{'; '.join(close) or 'none'}. On the whole list: "
      f"{'; '.join(name for name in final if missed(final[name], items) < 0.2 * spread) or 'none'} (two tenths).")
widest = max(final, key=lambda name: float(final[name][0].max() - final[name][0].min()))
print(f"Losses that know orders only pull the scores apart as far as L2 and the number of steps let them: {widest} over\n"
      f"{float(final[widest][0].max() - final[widest][0].min()):.0f}, where the teacher's lie within {float(teacher[0].max() - teacher[0].min()):.0f}.")

# %% [markdown]
# The same as ranks. A point on the line has the teacher's rank.

# %%
fig = free_scores.rank_panels({name: scores[0] for name, scores in final.items()}, p)
plots.save(fig, "08_free_ranks", profile, [], NOTEBOOK)

# %%
top = pd.concat({name: free_scores.agreement(scores, teacher, p) for name, scores in final.items()}).droplevel(1)
rest = {name: free_scores.agreement(scores[:, p:], teacher[:, p:], items - p)["order"].item() for name, scores in final.items()}
display(pd.DataFrame({
    f"overlap of the top {p}": top["overlap"], "order of the top (Kendall's tau)": top["order"],
    "others above its worst": top["above"], "order of the rest (tau)": rest,
}).round(3).rename_axis("loss"))  # fmt: skip

# %% tags=["nbval-check-output"]
kept_top = [name for name in final if top.loc[name, "overlap"] == 1]
in_order = [name for name in kept_top if top.loc[name, "order"] > 0.8]
knows_rest = [name for name in final if rest[name] > 0.6]
print(f"{len(kept_top)} of {len(final)} losses bring the teacher's top {p} to the top, {len(in_order)} of them in his order "
      f"(tau above 0.8).\nThe order of the rest is learnt (tau above 0.6) by: {'; '.join(knows_rest) or 'none'}.")

# %% [markdown]
# That is what the paper's abstract promises: the order is kept at the top, and low items are kept low. What it does not promise is an order
# behind place $p$. Only sampled orders carry some of it, because an item from further down is now and then drawn into the
# first $k$. This is also where the temperature acts: the lower it is, the rarer such draws, and the closer C with sampled orders comes to C with the exact one.
#
# ## What sampling the negatives does: m
#
# B and P are sums over $N$, and a sample gives them without bias. C is a logarithm of sums: what is missing from a sample is missing from every
# denominator. The left picture compares the mean over many samples with the loss on all negatives. The right one looks at what training sees,
# the gradient: how far that of one sample is from the whole one, and (dotted) how far their mean is, which for B and P is nothing but the noise
# that is left after so many draws. The scores are half way between a random start and the teacher's; orders are exact, so that nothing else is random.

# %%
sampled = free_scores.of_samples(["C, exact order", "B, order", "P, order"], size, p, seed)
fig = free_scores.sample_curves(sampled)
plots.save(fig, "08_samples", profile, [], NOTEBOOK)

# %%
for name, part in sampled.groupby("loss", sort=False):
    few, many = part.iloc[0], part.iloc[-1]
    distance = (part["share"] - 1).abs() / part["share error"]
    verdict = "no bias to be seen" if distance.max() < 4 else f"biased, at m = {many['m']} by {many['share'] - 1:+.0%}"
    print(f"{name}: with m = {few['m']} a sample has on average {few['share']:.0%} of the loss on all negatives, with m = {many['m']} "
          f"{many['share']:.0%}: {verdict}.\n    One sample's gradient misses the whole one by {few['gradient']:.1f} and "
          f"{many['gradient']:.1f} times its length; the mean over the draws by {few['bias']:.2f} and {many['bias']:.2f}.")

# %% [markdown]
# ### Does it matter?
#
# Now as in training: in every step $m$ new negatives a list, and only a few steps, far too few to settle. The lists are longer
# than the one above, and there are many of them. Judged is what a user would see of the result: how many of the teacher's first ten (`judged`)
# are among the student's first ten, and whether they stand in his order. Mined negatives are drawn from five times as many.

# %%
table_m = free_scores.sweep(free_scores.over_m(size, p), size, judged, seed)
fig = free_scores.sweep_curves(table_m, "m", judged)
plots.save(fig, "08_over_m", profile, [], NOTEBOOK)

# %%
for name in free_scores.SWEPT:
    uniform, mined = (table_m[table_m["loss"] == label].set_index("m")["overlap"] for label in (name, f"{name}, mined"))
    gap = (mined - uniform).round(2) + 0
    print(f"{name}: overlap {uniform.iloc[0]:.2f} with m = {uniform.index[0]:.0f}, {uniform.iloc[-1]:.2f} with m = "
          f"{uniform.index[-1]:.0f}; mining adds between {gap.min():+.2f} and {gap.max():+.2f}.")
order = table_m[table_m["negatives"] == "uniform"].groupby("loss")["order"].mean()
print(f"The order inside the top (mean tau over m, uniform negatives): "
      f"{'; '.join(f'{name} {tau:.2f}' for name, tau in order.sort_values(ascending=False).items())}.")

# %% [markdown]
# The forms differ in what moves the positives. In B that is $\Psi$ alone, the sum over $N$ does not touch them. In P every positive has a
# term with each of the $|N|$ negatives, beside which the few of $\Psi$ weigh little: separating comes first, ordering later. In C both are
# one, but the order that is learnt is drawn, and only on average the teacher's. $\Psi$ might be weighed against the sum; the
# formulas that are known have no such weight.
#
# ## How much of the teacher's top: p
#
# The same few steps, with a fixed number of negatives. Judged are the first ten whatever $p$ is: with a smaller $p$ some of them are
# negatives, with a larger one they are positives among others.

# %%
table_p = free_scores.sweep(free_scores.over_p(size, size.m), size, judged, seed)
fig = free_scores.sweep_curves(table_p, "p", judged)
plots.save(fig, "08_over_p", profile, [], NOTEBOOK)

# %%
for name in free_scores.SWEPT:
    part = table_p[table_p["loss"] == name].set_index("p")
    best, ordered = part["overlap"].idxmax(), part["order"].idxmax()
    last = part.index[-1]
    print(f"{name}: overlap is best with p = {best:.0f} ({part.loc[best, 'overlap']:.2f}), order with p = {ordered:.0f} "
          f"({part.loc[ordered, 'order']:.2f}); with p = {last:.0f} they are {part.loc[last, 'overlap']:.2f} and {part.loc[last, 'order']:.2f}.")

# %% [markdown]
# A $p$ below the length that counts declares good items negatives; one far above it spends the loss on places that nobody looks at. All of this is
# said of free scores. A student of few dimensions cannot give every list what it asks for, and which compromise is best for users is
# a question for experiments on recommendations: notebook 09, where RankDistil stands beside the other methods under one protocol.
#
# ## The paper's own numbers
#
# Only three rows are known, each the best form on its data set as reading notes give it. (NDCG is that of the paper, with graded relevance.)

# %%
rows = reported("rankdistil")
wide = rows.pivot(index=["dataset", "role"], columns="metric", values="value")[["NDCG@1", "NDCG@5", "NDCG@10"]]
display(wide.assign(**{"tested here": "no"}).reset_index())
print(f"{len(wide)} reported rows ({', '.join(sorted(set(rows['trust'])))}), none of them testable here: these data sets hold documents\n"
      "with feature vectors and graded labels for search queries, no users and no items that a recommender could learn\n"
      "vectors of; and teacher, student, p, m and learning rate behind the rows are not known.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance([], "generated", seed, started))
