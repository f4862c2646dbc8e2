# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 What came after: fifteen methods, one screen each
#
# **At the end of this notebook you will know** the idea, the equation and the few lines of code of methods that came after
# Ranking Distillation and DE-RRD or are compared with them, what each needs from the teacher, and what it costs.
#
# Every section has the same form: the idea in two sentences, the loss $L$, and plain code that computes it on one batch of real
# data. An assertion says that the library gives the same number. Each method's card says how the code differs from the paper, and
# has the published numbers.
#
# Symbols, the same everywhere: $t_{ui}$ and $s_{ui}$ are the scores that teacher **T** and student **S** give to item $i$ for user $u$; bold
# $\mathbf t_u$, $\mathbf s_u$ are their vectors; $\sigma$ is the logistic function; $\operatorname{R}(a; b)$ is the relaxed list loss of RRD (notebook 07): the scores
# $a$ should be drawn first and in order, the scores $b$ come last in any order,
#
# $$\operatorname{R}(a; b) = \sum_k \Bigl[ \log\Bigl( \sum_{i \ge k} e^{a_i} + \sum_l e^{b_l} \Bigr) - a_k \Bigr] .$$
#
# Each loss is multiplied by a weight $\lambda$ and added to the student's own (BPR) loss. *Rows* are the batch's training pairs $(u, i)$, $top_u$ is the teacher's first $K$ items,
# $\operatorname{CE}$ is cross-entropy between the two softmaxes. $\tau$ is a temperature; $\beta$, $\gamma$, $\epsilon$, $\alpha$ and $a_1, a_2, a_3$ are settings.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time
from dataclasses import replace

import pandas as pd
import torch
from torch import softmax
from torch.nn.functional import logsigmoid, normalize, softplus

from rdcore import data, datasets
from rdcore.data.sampling import stream, unseen_items
from rdcore.distill import BDSettings, DESettings
from rdcore.distill.base import Batch
from rdcore.distill.de import gumbel_softmax
from rdcore.distill.followups.cd import weighted_places
from rdcore.store import runs
from rdcore.train.loop import training_data
from studies.common import report, style
from studies.followups import walk
from studies.notebooks import page, pictures

started = time.perf_counter()
style.use_style()
NOTEBOOK = "12_followups"
plan = walk.PLANS["small" if profile == "small" else "smoke"]
seed = plan.table_seeds[0]
page.say("*On profile `paper` this notebook shows the code alone, on two very small models.*", when=profile == "paper")

# %% [markdown]
# ## 1. A teacher, a student, a batch
#
# Both are matrix factorisations, $s_{ui} = \langle \mathbf s_u, \mathbf s_i \rangle$. The batch has 256 training pairs (user, item) and one negative for each.

# %%
experiments = {"T": plan.teacher("L", seed), "S": plan.student("L", seed)}
interactions = datasets.load(plan.dataset)
found = runs.load_or_train_all(list(experiments.values()), jobs=jobs, progress=True)
trained = dict(zip(experiments, found, strict=True))
T, S = (trained[role].model(experiments[role], interactions) for role in ("T", "S"))
examples = training_data(data.leave_one_out(interactions).fit, 0, "cpu")
part = torch.randperm(len(examples.queries), generator=stream(seed, "shown batch"))[:256]
queries, target = examples.queries[part], examples.target[part]
negatives = unseen_items(queries.user, 1, examples.seen, stream(seed, "shown negatives"))
batch = Batch(part, queries, target, negatives)
user, users = queries.user, queries.user.unique()  # of each row, and the different ones
context = S.encode(queries)
everything = torch.arange(T.n_items)
s_user, t_user = S.user.weight.detach(), T.user.weight.detach()
s_item, t_item = S.item_hint(everything).detach(), T.item_hint(everything).detach()
s, t = s_user @ s_item.T, t_user @ t_item.T  # all scores, (users, items)
values = {}


def ready(settings):
    """The method, prepared with the teacher and at the beginning of its first epoch."""
    torch.manual_seed(seed)  # of experts and projectors
    method = settings.build(S, T)
    method.prepare(T, examples)
    method.begin_epoch(S, 1, 1, stream(seed, "shown draws"))
    return method


def same(role, method, by_hand):
    """Checks that the library's loss of the batch is the one computed by hand."""
    with torch.no_grad():
        by_library = method.loss(S, batch, 0, context)
    torch.testing.assert_close(by_hand.double(), by_library.double(), rtol=2e-4, atol=1e-5)
    values[role] = float(by_library)
    page.say(f"{role}: the loss of this batch, with its weight, is {values[role]:.4g}; by hand the same.")


def R(a, b):
    """The relaxed list loss of each row: a (n, K) in order, b (n, L) -> (n,)."""
    rest = b.exp().sum(1)
    return sum((a[:, k:].exp().sum(1) + rest).log() - a[:, k] for k in range(a.shape[1]))


page.say(
    f"Data: {plan.dataset}. T has vectors of {t_user.shape[1]} numbers, S of {s_user.shape[1]}.",
    f"The batch has {len(users)} different users.",
)

# %% [markdown]
# ## Scores
#
# ### 2. KD-CE: the softmax of the teacher
#
# The oldest form (Hinton et al., 2015): both models' scores over some items $J$ become probabilities, and the student copies the teacher's. $J$ is all items, the
# teacher's first $K$, or the student's. [Card](../docs/methods/kd_ce.md)
#
# $$L = -\lambda \sum_{rows} \sum_{i \in J_u} \operatorname{softmax}(t_u / \tau)_i \, \log \operatorname{softmax}(s_u / \tau)_i$$

# %%
method = ready(settings := plan.methods["KD-CE"])
J = method.lists.of(batch)  # (256, K): the teacher's first K
p, q = (softmax(x[user].gather(1, J) / settings.temperature, 1) for x in (t, s))
same("KD-CE", method, settings.weight * -(p * q.log()).sum())

# %% [markdown]
# ### 3. CD: the teacher's opinion of drawn items
#
# CD (Lee et al., ICDM 2019) draws unseen items by their rank on the student's list; the teacher's score of each becomes a label
# $q$ between 0 and 1. Items that rank high are drawn more often. [Card](../docs/methods/cd.md)
#
# $$L = -\lambda \sum_u \sum_i \bigl[ q_{ui} \log \sigma(s_{ui}) + (1 - q_{ui}) \log(1 - \sigma(s_{ui})) \bigr], \qquad q_{ui} = \sigma(t_{ui} / \tau)$$

# %%
method = ready(settings := plan.methods["CD"])
drawn = method.sample[0][users].long()  # (users, samples)
q = torch.sigmoid(t[users].gather(1, drawn) / settings.temperature)
y = s[users].gather(1, drawn)
same("CD", method, settings.weight * -(q * logsigmoid(y) + (1 - q) * logsigmoid(-y)).sum())

# %% [markdown]
# ### 4. RCE-KD: close the set of items
#
# The authors of RCE-KD (Zhu & Zhang, 2025) show that cross-entropy over a set $J$ bounds the student's NDCG only if $J$ also
# holds all items that the student ranks above those in it. So they take two sets. $S_u$ is the student's own first $K$. $J_u$ has
# items $A_u$ drawn from the student's top, and those of the teacher's top that are neither in $S_u$ nor in $A_u$. The more of the
# teacher's top is in $A_u$, the more $S_u$ counts. [Card](../docs/methods/rce_kd.md)
#
# $$L = \lambda \sum_{rows} \bigl[ (1 - g_u) \operatorname{CE}_{S_u} + g_u \operatorname{CE}_{J_u} \bigr], \qquad g_u = e^{-\beta \, |top_u \cap A_u| / K}$$

# %%
method = ready(settings := plan.methods["RCE-KD"])


def ce(u, items):
    p, q = (softmax(x[u, items] / settings.temperature, 0) for x in (t, s))
    return -(p * q.log()).sum()


total, K, L = 0, settings.K, settings.L
for u in user.tolist():
    own, A, top = method.items[u].long().split([K, L, K])
    g = torch.exp(-settings.beta * torch.isin(top, A).double().mean())
    J = torch.cat([A, top[~torch.isin(top, torch.cat([own, A]))]])
    total += (1 - g) * ce(u, own) + g * ce(u, J)
same("RCE-KD", method, settings.weight * total)

# %% [markdown]
# ### 5. BD: both ways
#
# A student is better than its teacher for some items. In BD (Kweon et al., WWW 2021) two trained models continue to train
# together. Each follows the other's softened score of one drawn item: $a$ for the student, $c$ for the teacher. Items are drawn
# where the two rankings disagree, and they are also the negatives of the models' own losses. Which of them the student is
# taught, those that it ranks higher or those that the teacher does, is a question of its own: [card](../docs/methods/bd.md).
#
# $$\begin{aligned} L &= \sum_{rows} \bigl[ \lambda \operatorname{H}(t_{ua}, s_{ua}) + \lambda \operatorname{H}(s_{uc}, t_{uc}) - \log \sigma(t_{ui} - t_{uc}) \bigr], \\
# \operatorname{H}(o, y) &= -q \log \sigma(y) - (1 - q) \log(1 - \sigma(y)), \quad q = \sigma(o / \tau) \end{aligned}$$

# %%
method = ready(settings := BDSettings())
a, c = (column[:, None] for column in method.wants(batch).T)  # (256, 1) each


def H(other, own):
    q = torch.sigmoid(other / settings.temperature)
    return -(q * logsigmoid(own) + (1 - q) * logsigmoid(-own))


s_a, t_a, s_c, t_c = (x[user].gather(1, i)[:, 0] for x, i in ((s, a), (t, a), (s, c), (t, c)))
of_teacher = softplus(t_c - t[user, target])
lesson = method.lesson[user]  # users for whom the two rankings differ
total = settings.weight * (lesson * H(t_a, s_a) + H(s_c, t_c)) + of_teacher
same("BD", method, total.sum())

# %% [markdown]
# ## Orders
#
# ### 6. DCD: what the student gets wrong
#
# RRD draws by the teacher's rank alone. DCD (Lee & Kim, CIKM 2021) draws two groups from the teacher's list: items that the
# student ranks too low, and items that it ranks too high. The larger the error, the likelier the draw. The first group should
# come before the second. The same is done for the users of an item (left out here). [Card](../docs/methods/dcd.md)
#
# $$L = \lambda \sum_u \operatorname{R}(s_{under}; s_{over}), \qquad w_{under} = \tanh \max(\epsilon (r_S - r_T), 0), \quad w_{over} = \tanh \max(\epsilon (r_T - r_S), 0)$$
#
# $r_T$ is the place in the teacher's list, $r_S$ the place of the same item when the list is sorted by the student.

# %%
released = type(plan.methods["DCD"])()
settings = replace(plan.methods["DCD"], item_weight=0.0, item_depth=released.item_depth)  # users alone
method = ready(settings)
lists = method.lists.items[users].long()  # (users, depth)
r_S = s[users].gather(1, lists).argsort(1, descending=True).argsort(1)
wrong = settings.sharpness * (r_S - torch.arange(settings.depth)).double()
rng, total = stream(seed, "shown errors"), 0
drawn = [weighted_places(w.clamp(min=0).tanh().log(), settings.samples, rng) for w in (wrong, -wrong)]
for row, u in enumerate(users):
    under, over = (lists[row, places[row][there[row]].sort().values] for places, there in drawn)
    total += R(s[u, under][None], s[u, over][None])[0]
method.rng = stream(seed, "shown errors")  # the library draws the same
same("DCD", method, settings.weight * total)

# %% [markdown]
# ### 7. IR-RRD: the order of users for an item
#
# A small student that gets each user's list right may wreck the order of the *users* of an item. IR-RRD (Kang et al., 2021) adds
# the list loss for every item $i$ on the step's user lists. It puts drawn users in order: $v$ from the teacher's top before $w$,
# some others. [Card](../docs/methods/ir_rrd.md)
#
# $$L = L_{RRD} + \lambda_I \sum_i \operatorname{R}(s_{v_1 i}, \dots, s_{v_K i}; \; s_{w_1 i}, \dots, s_{w_L i})$$

# %%
method = ready(settings := plan.methods["IR-RRD"])
of_users = method.users.sample[0][users].long()  # (users, K + L) items
of_users_loss = R(*s[users].gather(1, of_users).split([settings.users.K, settings.users.L], 1)).sum()
items = of_users.unique()
items = items[method.row[items] >= 0]  # those that have a list of users
drawn_users = method.drawn[method.row[items]].long()  # (items, K + L)
of_items_loss = R(*s.T[items].gather(1, drawn_users).split([settings.K, settings.L], 1)).sum()
total = settings.users.weight * of_users_loss + settings.weight * of_items_loss
same("IR-RRD", method, total)

# %% [markdown]
# ### 8. UnKD: orders among equally popular items
#
# A teacher's scores mix taste with popularity, and a student that copies them makes popular items more popular. UnKD (Chen et
# al., WSDM 2023) sorts items by popularity, cuts them into groups of equal total popularity, and teaches, inside each group, to
# rank the better placed item $i$ of a drawn pair above the other item $j$. [Card](../docs/methods/unkd.md)
#
# $$L = \lambda \operatorname{mean}_{rows} \operatorname{mean}_{pairs} -\log \sigma(s_{ui} - s_{uj})$$

# %%
method = ready(settings := plan.methods["UnKD"])
better, worse, real = (each[user] for each in (method.better.long(), method.worse.long(), method.real))
loss = -logsigmoid(s[user].gather(1, better) - s[user].gather(1, worse)) * real
same("UnKD", method, settings.weight * (loss.sum(1) / real.sum(1)).mean())

# %% [markdown]
# ### 9. HetComp: from easy lists to hard ones
#
# HetComp (Kang et al., WWW 2023) teaches the lists of several teachers of different kinds. It begins with those of their first
# checkpoints, which are easier, and moves to harder ones for each user as the student catches up. At the end the order inside the
# lists is taught too. Here is this last phase, with one teacher: $P$ are some training items of the user, $h$ and $d$ the first
# half and the first tenth of the list, and "rest" all other items that the user does not have. [Card](../docs/methods/hetcomp.md)
#
# $$L = \lambda \sum_{rows} \Bigl[ \operatorname{R}(s_P; s_{rest \setminus h}) + \tfrac12 \bigl( \operatorname{R}(s_h; s_{rest \setminus h}) + \operatorname{R}(s_d; s_{rest \setminus d}) \bigr) \Bigr]$$

# %%
method = ready(settings := plan.methods["HetComp"])
total = 0
for u in user.tolist():
    rest = torch.ones(T.n_items, dtype=torch.bool)
    rest[examples.seen.of(torch.tensor([u]))[1]] = False
    first, top = method.positives[u], method.top[u]
    half, tenth = top[: settings.K // 2], top[: settings.K // 10]
    others_h, others_d = (s[u, rest & ~torch.isin(everything, own)][None] for own in (half, tenth))
    ordered = R(s[u, half][None], others_h) + R(s[u, tenth][None], others_d)
    total += R(s[u, first][None], others_h) + ordered / 2
same("HetComp", method, settings.weight * total[0])

# %% [markdown]
# ### 10. DLLM2Rec: a list with confidences
#
# The teacher of DLLM2Rec (Cui et al., RecSys 2024) is a language model, which is often wrong. So each place $k$ of its list gets a weight from its place, from
# the teacher's confidence and from whether the student agrees. Any list can be taught this way; here it is T's. [Card](../docs/methods/dllm2rec.md)
#
# $$L = \lambda \operatorname{mean}_{rows} -\sum_k w_k \bigl[ \log \sigma(s_{u i_k}) + \log(1 - \sigma(s_{uj})) \bigr], \qquad w_k \propto a_1 \, p_k + a_2 \, f_k + a_3 \, [i_k \in top_S]$$
#
# $p$ and $f$ are $e^{-k}$ and $e^{-distance}$, each divided by its sum; $j$ is the batch's negative.

# %%
method = ready(settings := plan.methods["DLLM2Rec"])
listed, K = method.lists.of(batch), settings.K
score = t[user].gather(1, listed)
p, f = softmax(-torch.arange(K).float(), 0), softmax(score - score[:, :1], 1)
agrees = (listed[:, :, None] == s[user].topk(K).indices[:, None, :]).any(2)
w = settings.position * p + settings.confidence * f + settings.agreement * agrees
w = w / w.sum(1, keepdim=True)
negative = s[user].gather(1, batch.negatives)
each = logsigmoid(s[user].gather(1, listed)) + logsigmoid(-negative)
same("DLLM2Rec", method, settings.weight * -(w * each).sum(1).mean())

# %% [markdown]
# ## Relations among vectors
#
# ### 11. FTD: all of them
#
# DE copies each vector by itself. Topology Distillation (Kang et al., KDD 2021) keeps the *relations*. FTD keeps all cosines
# among the users and items $e$ of a batch. The student's vectors may have any size. [Card](../docs/methods/ftd.md)
#
# $$L = \lambda \sum_{e, e'} \bigl( \cos(\mathbf t_e, \mathbf t_{e'}) - \cos(\mathbf s_e, \mathbf s_{e'}) \bigr)^2$$

# %%
method = ready(settings := plan.methods["FTD"])
items = torch.cat([target, batch.negatives.flatten()]).unique()
V_T = torch.cat([t_user[users], t_item[items]])  # vectors of all entities of the batch
V_S = torch.cat([s_user[users], s_item[items]])
E_T, E_S = normalize(V_T), normalize(V_S)
same("FTD", method, settings.weight * (E_T @ E_T.T - E_S @ E_S.T).square().sum())

# %% [markdown]
# ### 12. HTD: coarse between groups, fine inside
#
# A small student cannot keep all relations. HTD keeps those of pairs inside a group ($E$) and those of each group's mean to
# everything ($G$). The groups come from a selection network that is trained together with the student to map its vectors to the
# teacher's ($GA$, which is DE's loss). [Card](../docs/methods/htd.md)
#
# $$L = \lambda \bigl( \gamma (E + G) + (1 - \gamma) \, GA \bigr)$$

# %%
method = ready(settings := plan.methods["HTD"])
rng, GA, group = stream(seed, "shown noise"), 0, []
with torch.no_grad():
    sides = (method.users, t_user[users], s_user[users]), (method.items, t_item[items], s_item[items])
    for experts, h_T, h_S in sides:
        alpha = softmax(experts.select(h_T), 1)
        z = gumbel_softmax(alpha, method.temperature, rng)
        GA = GA + (h_T - experts(h_S, z)).square().sum()
        group.append(alpha.argmax(1))
g = torch.cat([group[0], group[1] + settings.K])  # users and items never share a group
cosines = E_T @ E_T.T
E = ((cosines - E_S @ E_S.T).square() * (g[:, None] == g) * (cosines > 0)).sum()
mean = torch.stack([(g == k) / (g == k).sum() for k in g.unique()]).float()  # (groups, entities)
G = (normalize(mean @ V_T) @ E_T.T - normalize(mean @ V_S) @ E_S.T).square().sum()
method.rng = stream(seed, "shown noise")
same("HTD", method, settings.weight * (settings.gamma * (E + G) + (1 - settings.gamma) * GA))

# %% [markdown]
# ## Vectors
#
# ### 13. PCKD: a projector that may not change preferences
#
# A projector $E$ from the student's space to the teacher's can make vectors agree and still turn the student's order around. PCKD
# (Zhu & Zhang, TKDE 2025) adds a term to DE: over a few items $i$, the order *after* the projector should be the student's own
# order. Only the projector learns from this term. The example has one expert, so there is no noise.
# [Card](../docs/methods/pckd.md)
#
# $$L = L_{DE} + \lambda \alpha \sum_{rows} \operatorname{CE}\bigl( \operatorname{softmax}(\langle \mathbf s_u, \mathbf s_i \rangle / \tau); \; \langle E(\mathbf s_u), E(\mathbf s_i) \rangle / \tau \bigr)$$

# %%
settings = plan.methods["PCKD"]
settings = replace(settings, experts=DESettings(M=1, weight=settings.experts.weight))
method = ready(settings)
with torch.no_grad():
    P_user = method.features.users(s_user, torch.ones(len(s_user), 1))
    P_item = method.features.items(s_item, torch.ones(len(s_item), 1))
distance = {"u": (t_user - P_user).square().sum(1), "i": (t_item - P_item).square().sum(1)}
positive, negative = target.unique(), batch.negatives.flatten().unique()
DE = distance["u"][users].sum() + (distance["i"][positive].sum() + distance["i"][negative].sum()) / 2
some = method.items[user].long()  # (256, Q)
before, after = s[user].gather(1, some), (P_user[user][:, None] * P_item[some]).sum(2)
kept = -(softmax(before / settings.tau, 1) * torch.log_softmax(after / settings.tau, 1)).sum()
same("PCKD", method, settings.experts.weight * (DE + settings.alpha * kept))

# %% [markdown]
# ### 14. FreqD: smoothed vectors
#
# In a graph that joins items with common users, vectors have a part that changes slowly from neighbour to neighbour. FreqD (Zhu
# & Zhang, KDD 2025) smooths both models' vectors over the graph before it compares them, so that this part counts more, because
# plain matching overlooks what is important, say its authors. The example leaves out the random dropping of edges. [Card](../docs/methods/freqd.md)
#
# $$L = \lambda \sum_e 1 - \cos\bigl( (H \mathbf T)_e, (H \, p(\mathbf S))_e \bigr), \qquad H = (1 - \alpha) I + \alpha \hat A$$
#
# $\hat A$ joins each node with the $n$ neighbours that share most users (or items) with it. It is symmetric and divided by the
# roots of the degrees. Items count half.

# %%
method = ready(settings := replace(plan.methods["FreqD"], keep=1.0, dropout=0.0))
chosen = torch.zeros(s.shape, dtype=torch.double)
chosen[examples.queries.user, examples.target] = 1


def smoother(rows):
    common = rows @ rows.T
    common.fill_diagonal_(0)
    nearest = common.argsort(dim=1, descending=True, stable=True)[:, : settings.neighbours]
    A = torch.zeros_like(common).scatter_(1, nearest, 1.0) * (common > 0)
    A = (A + A.T) / 2
    root = A.sum(1).clamp(min=1e-12).sqrt()
    return ((1 - settings.alpha) * torch.eye(len(A)) + settings.alpha * A / root[:, None] / root).float()


def unlike(smooth, shown, projected):
    """1 - cosine of every row, after smoothing."""
    return 1 - (normalize(smooth @ shown) * normalize(smooth @ projected)).sum(1)


with torch.no_grad():
    of_users = unlike(smoother(chosen), t_user, method.users(s_user))
    of_items = unlike(smoother(chosen.T), t_item, method.items(s_item))
total = of_users[users].sum() + (of_items[positive].sum() + of_items[negative].sum()) / 2
same("FreqD", method, settings.weight * total)

# %% [markdown]
# ### 15. Fit and VkD: two controls
#
# **Fit** draws users and items uniformly (they need not be in the batch) and maps the student's vectors of them to the teacher's
# by a small network. A method that copies vectors, such as DE, should beat it. **VkD** (Miles et al., CVPR 2024) does the same with an orthogonal matrix $Q$, after
# subtracting the mean of the teacher's vectors. Cards: [Fit](../docs/methods/fit.md), [VkD](../docs/methods/vkd.md)
#
# $$L_{Fit} = \lambda \sum_e \| \mathbf t_e - p(\mathbf s_e) \|^2, \qquad L_{VkD} = \lambda \sum_e \| \mathbf t_e - \bar{\mathbf t} - Q \mathbf s_e \|^2, \quad Q^\top Q = I$$

# %%
for role, changed in (("Fit", {"dropout": 0.0}), ("VkD", {})):
    method = ready(settings := replace(plan.methods[role], **changed))
    rng, total = stream(seed, "shown vectors"), 0
    with torch.no_grad():
        sides = (t_user, s_user, method.users), (t_item, s_item, method.items)
        for h_T, h_S, p in sides:
            e = torch.randperm(len(h_T), generator=rng)[: len(part)]
            shown = h_T[e] - (h_T[e].mean(0) if role == "VkD" else 0)
            total += (shown - p(h_S[e])).square().sum()
    method.rng = stream(seed, "shown vectors")
    same(role, method, settings.weight * total)
Q = method.users.weight.detach()
torch.testing.assert_close(Q.T @ Q, torch.eye(Q.shape[1]), rtol=0, atol=1e-5)

# %% tags=["nbval-check-output"]
page.say(f"Losses computed by hand and by the library, with the same result: {len(values)} of {len(plan.methods) + 1}.")

# %% [markdown]
# ## What they do to the student
#
# Each method trains the student of notebook 07 once, on the same data, in the same order, with the same negatives. (BD is no such
# run: it goes on from two trained models.) Released weights belong to other data, and a sum over pairs has another size than a
# mean over users. So all weights follow **one rule**: on the batch above, the gradient of the method's loss is as long as the
# gradient of the student's own loss (rounded to one digit). No weight is tuned. The column `as released` has the defaults of the
# settings; those of CD and DCD are ours, because no released weight is known.


# %%
def pull(loss):
    """The norm of the loss's gradient at the student."""
    found = torch.autograd.grad(loss, list(S.parameters()), allow_unused=True)
    return torch.cat([part.flatten() for part in found if part is not None]).norm()


S.requires_grad_(True)
pair = S.score(S.encode(queries), torch.cat([target[:, None], batch.negatives], dim=1))
own_pull = pull(softplus(pair[:, 1] - pair[:, 0]).sum())
taught = {}
for role, settings in plan.methods.items():
    method = ready(settings)
    loss = method.loss(S, batch, 0, S.encode(queries)) * (len(user) if method.reduction == "mean" else 1)
    taught[role] = walk.scaled(settings, float(own_pull / pull(loss)))
page.show(pd.DataFrame([
    {"method": role, "as released": f"{walk.weight(settings):g}", "here": f"{walk.weight(taught[role]):g}"}
    for role, settings in plan.methods.items()
]))  # fmt: skip

# %%
methods = {role: plan.distilled("L", seed, role, settings) for role, settings in taught.items()}
alone = {f"S, seed {other}": plan.student("L", other) for other in walk.OTHER_SEEDS}
given = experiments | methods | alone
train = profile != "paper"
if train:
    found = runs.load_or_train_all(list(given.values()), jobs=jobs, progress=True)
records = dict(zip(given, found, strict=True)) if train else {}

# %%
reached = {name: record.chosen["N@10-full"] for name, record in records.items()}
behind = list(records.values())
page.picture(
    lambda: pictures.around_the_student(reached, list(methods)), "12_methods", profile, behind, NOTEBOOK
)

# %%
by_seed = [value for name, value in reached.items() if name.startswith("S")]
above = [role for role in methods if train and reached[role] > max(by_seed)]
if train:
    page.say(
        f"The student alone reaches {min(by_seed):.4f} to {max(by_seed):.4f} with {len(by_seed)} seeds,",
        f"the teacher {reached['T']:.4f}. {len(above)} of {len(methods)} methods are above all of these",
        f"students: {', '.join(above) or 'none'}.",
    )

# %% [markdown]
# **What such a short run can show**: that each method trains, and that some move a student of this size more than a seed does.
# **What it cannot show**: which one is best. It is one seed, one small data set, one student of four numbers, one weight and
# fourteen epochs. Notebook 09 compares methods with the same number of trials for each.
#
# ## What they cost
#
# The table shows two costs of each method: the time of an epoch, relative to the student's own, and the parameters that are
# trained too and thrown away afterwards. The time is the median of all epochs on a machine that was busy with other work, so a
# difference below a factor of two means little.


# %% tags=["nbval-ignore-output"]
def middle(record):
    return record.history["seconds"].median()


needs = dict.fromkeys(("KD-CE", "CD", "RCE-KD"), "scores") | {"DLLM2Rec": "scores"}
needs |= dict.fromkeys(("DCD", "IR-RRD", "UnKD", "HetComp"), "order")
needs |= dict.fromkeys(("FTD", "HTD", "PCKD", "FreqD", "Fit", "VkD"), "vectors")
cost = pd.DataFrame([
    {"method": role, "needs from T": needs[role],
     "numbers trained along": f"{sum(p.numel() for p in settings.build(S, T).parameters()):,}"}
    | ({"time of an epoch, S = 1": middle(records[role]) / middle(records["S"])} if train else {})
    for role, settings in plan.methods.items()
])  # fmt: skip
report.write_table(cost, "12_cost", profile, behind, NOTEBOOK)
page.show(cost, **{"time of an epoch, S = 1": "{:.1f}"})

# %% [markdown]
# ## What you have seen
#
# * The methods differ in what they take from the teacher (scores, an order, relations, vectors) and in which items or users they look at; most losses are ten lines.
# * Those that need an order alone can be taught by anything that makes lists; those that need vectors ask for a teacher of the same kind.
# * All leave the student as small as it was; a short run shows that they work, not which one to choose.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(behind or list(trained.values()), experiments["T"].data_hash, seed, started)
