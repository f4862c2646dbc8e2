# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 DE-RRD: the teacher's knowledge, and a relaxed ranking
#
# **At the end of this notebook you will know** the two parts of DE-RRD, what each computes on a batch, how it compares with Ranking
# Distillation (RD, notebook 03) and with Collaborative Distillation (CD), and why it matters what an item is ranked among.
#
# RD gives the small model (the student **S**) the list of the large one (the teacher **T**). DE-RRD (Kang, Hwang, Kweon & Yu, CIKM 2020) says that the
# teacher has more to give:
#
# * **DE**, distillation experts, passes on what the teacher *knows*: its vectors of users and items;
# * **RRD**, relaxed ranking distillation, passes on what it *predicts*: the order of its top items, which come before all others; these may have any order;
# * **DE-RRD** is both.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import logsigmoid

from rdcore import data, datasets
from rdcore.data.sampling import stream, unseen_items
from rdcore.distill import de, rrd
from rdcore.distill.followups import cd
from rdcore.eval import metrics
from rdcore.store import runs
from rdcore.train.loop import training_data
from studies.common import report, style
from studies.common.plan import chosen_weights
from studies.common.profiles import PROFILES
from studies.derrd import plan as derrd
from studies.derrd import plots as derrd_plots
from studies.derrd import tables as derrd_tables
from studies.notebooks import page

started = time.perf_counter()
style.use_style()
NOTEBOOK = "07_de_rrd"
plan = PROFILES[profile].derrd[0]
seed = plan.table_seeds[0]
size = {role: settings.dim for role, settings in plan.models.items()}
page.say(f"Data: {plan.dataset}. Teacher and student are matrix factorisations (BPR-MF) with vectors of {size['T']} and {size['S']} numbers.")

# %% [markdown]
# ## 1. How quality is measured here
#
# Of each user's items one is held out for validation and one for test. The test item is ranked among itself and 499 items that the user does
# not have. With its rank $p$ (1 is best), `H@N` is 1 if $p \le N$, `M@N` is $1/p$ and `N@N` $1/\log_2(p + 1)$ if $p \le N$, else all are 0; they are averaged
# over users. A model is measured as it was after the epoch with the best H@5 on the validation items; training ends when none of H@5, H@10 and
# H@20 on these has risen for some epochs.

# %%
ranks = np.array([1, 3, 8, 40])  # of four users
h5, n10 = (ranks <= 5).mean(), np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean()
by_library = {name: values.mean() for name, values in metrics.of_one_item(ranks).items()}
assert np.isclose(h5, by_library["H@5"]) and np.isclose(n10, by_library["N@10"])

# %% [markdown]
# The method is taken apart on two trained models. (Profile `paper` uses two very small ones, because its trained weights are not
# in the repository.)

# %%
walk = page.with_weights(plan, "derrd")
walk_runs = {"T": walk.teacher("L", seed), "S": walk.student("L", seed)}
trained = dict(zip(walk_runs, runs.load_or_train_all(list(walk_runs.values()), jobs=jobs, progress=True), strict=True))
interactions = datasets.load(walk.dataset)
T, S = (trained[role].model(walk_runs[role], interactions) for role in ("T", "S"))
fit = data.leave_one_out(interactions).fit
examples = training_data(fit, 0, "cpu")
part = torch.randperm(len(examples.queries), generator=stream(seed, "shown batch"))[:256]
users = examples.queries[part].user.unique()  # the batch's different users

# %% [markdown]
# ## 2. DE: from the student's vector to the teacher's
#
# A student cannot hold the teacher's vectors, but its own vector should *determine* them. An **expert** $E_m$ is a small network from the
# student's vector to the teacher's. There are $M$ experts, and every user gets a mixture of them. A selection network looks at the teacher's vector and
# gives each expert a share $\alpha_m$; then random (Gumbel) noise $g$ and a temperature $\tau$ make the shares harder:
#
# $$s_m = \operatorname{softmax}_m\!\left(\frac{\log \alpha_m + g_m}{\tau}\right), \qquad
# D(u) = \Bigl\| h_T(u) - \sum_{m=1}^{M} s_m\, E_m(h_S(u)) \Bigr\|^2 .$$
#
# $h_T(u)$ and $h_S(u)$ are the vectors of user $u$. The loss is the sum of $D$ over the batch's users, each counted once, plus half of the same
# over its items, which have experts and a selection network of their own. (The paper prints the distance; the released code has its square.)
# The temperature falls from epoch to epoch. After training the experts are thrown away.


# %%
def shares_by_hand(alpha, tau, rng):
    """Shares (n, M) of the experts for n users: (log alpha + noise) / tau, through a softmax."""
    g = -torch.empty_like(alpha).exponential_(generator=rng).log()  # Gumbel noise
    return torch.softmax((alpha.log() + g) / tau, dim=1)


def mixture_by_hand(x, s, experts):
    """x (n, d_S) through all experts, two layers each, weighted by s (n, M): (n, d_T)."""
    hidden = torch.relu(torch.einsum("nd,mdh->nmh", x, experts.w1) + experts.b1)  # (n, M, h)
    out = torch.einsum("nmh,mht->nmt", hidden, experts.w2) + experts.b2  # (n, M, d_T)
    return (s[:, :, None] * out).sum(1)


torch.manual_seed(seed)
experts = walk.methods["DE"].build(S, T).users
with torch.no_grad():
    h_S, h_T = (model.user.weight[users] for model in (S, T))
    alpha = torch.softmax(experts.select(h_T), dim=1)  # (n, M)
    s = shares_by_hand(alpha, 0.5, stream(seed, "noise"))
    D = (h_T - mixture_by_hand(h_S, s, experts)).square().sum(1)  # (n,)

torch.testing.assert_close(s, de.gumbel_softmax(alpha, 0.5, stream(seed, "noise")))  # the library's are the same
torch.testing.assert_close(mixture_by_hand(h_S, s, experts), experts(h_S, s))
page.say(f"Untrained experts miss the teacher's vectors of these {len(users)} users by {D.mean():.2f} on average (squared).")

# %% [markdown]
# The lower the temperature, the nearer a mixture is to *one* expert. The picture shows made-up shares of 48 users (one column each): $\alpha$ itself,
# and what becomes of it at three temperatures $\tau$.

# %%
shares = torch.softmax(1.5 * torch.randn(48, plan.methods["DE"].M, generator=stream(1, "shown alpha")), dim=1)
temperatures = (1.0, 0.1, 0.001)
fig = derrd_plots.selections(shares, temperatures, 1)
style.save(fig, "07_selection", profile, [], NOTEBOOK)

# %% [markdown]
# ## 3. RRD: the top in order, above the rest
#
# The teacher's list has the items that it ranks highest among those that the user does not have. In each epoch $K$ **interesting** items are drawn
# from it (the item of rank $k$ with a probability proportional to $e^{-k/T}$; here $T$ is a temperature, not the teacher) and put into the
# teacher's order $\pi$. $L$ **uninteresting** items $\nu$ are drawn from what the user does not have either and is not on the list. The student,
# with scores $y$, should make it likely that the interesting items are drawn first, and in order:
#
# $$L_{RRD} = -\sum_{k=1}^{K} \log \frac{e^{y_{\pi_k}}}{\sum_{i \ge k} e^{y_{\pi_i}} + \sum_l e^{y_{\nu_l}}} .$$


# %%
def relaxed_by_hand(interesting, uninteresting):
    """Scores (n, K) in the teacher's order and (n, L) -> the loss of each user (n,)."""
    rest = uninteresting.exp().sum(1)  # (n,)
    loss = 0
    for k in range(interesting.shape[1]):
        left = interesting[:, k:].exp().sum(1) + rest  # what is not drawn before the k-th
        loss = loss - (interesting[:, k] - left.log())
    return loss


K = walk.methods["RRD"].K
with torch.no_grad():
    everybody = examples.queries[part]
    # In short: items that the user has are not left out here.
    by_teacher = T.score_all(T.encode(everybody)).argsort(dim=1, descending=True)  # (256, number of items)
    context = S.encode(everybody)
    top, others = S.score(context, by_teacher[:, :K]), S.score(context, by_teacher[:, -K:])
    loss = relaxed_by_hand(top, others)
torch.testing.assert_close(loss, rrd.relaxed_loss(top, others), rtol=1e-4, atol=1e-4)  # the library's is the same

# %% [markdown]
# Two small lists show what the loss sees: swapping two interesting items costs something, swapping two uninteresting ones costs
# nothing.

# %% tags=["nbval-check-output"]
first, rest = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.0, -1.0]])
page.show(pd.DataFrame({
    "student's scores": ["in the teacher's order", "two interesting items swapped", "two uninteresting items swapped"],
    "loss": [float(relaxed_by_hand(*pair)) for pair in (
        (first, rest), (first[:, [1, 0, 2]], rest), (first, rest[:, [1, 0]]))],
}), loss="{:.3f}")  # fmt: skip

# %%
settings = plan.methods["RRD"]
fig = derrd_plots.sampled_lists(settings, (settings.T / 5, settings.T, 4 * settings.T), 4000, 1)
style.save(fig, "07_sampled_lists", profile, [], NOTEBOOK)

# %% [markdown]
# ## 4. CD, the competitor
#
# Collaborative Distillation (Lee et al., ICDM 2019) draws items by their rank on the *student's* list and takes the teacher's opinion of each as a label
# between 0 and 1, $q_i = \sigma(t_i / T)$ with the teacher's score $t_i$ and a temperature $T$: $L_{CD} = -\sum_i \bigl(q_i \log \sigma(y_i) + (1 - q_i) \log(1 - \sigma(y_i))\bigr)$.
# As published it draws from all items that the user does not have, and what it is added to is a loss of the user's own items alone; the runs
# below draw from the first places of the student's list, and add it to BPR's loss. (The cell draws without regard to ranks, with $T = 1$.)

# %%
with torch.no_grad():
    drawn = unseen_items(everybody.user, 10, examples.seen, stream(seed, "shown items"))  # (256, 10)
    q = torch.sigmoid(T.score(T.encode(everybody), drawn))
    y = S.score(context, drawn)
    by_hand = -(q * logsigmoid(y) + (1 - q) * logsigmoid(-y)).sum(1)
torch.testing.assert_close(by_hand, cd.soft_label_loss(q, y))  # the library's is the same

# %% [markdown]
# Each method is added to the student's own loss, with a weight: $L = L_{BPR} + \lambda_{DE} L_{DE} + \lambda_{RRD} L_{RRD}$ for
# DE-RRD. The released code has the weights of DE and RRD, each alone: DE-RRD takes both as they are. It does not have those of RD and CD, so
# several are tried for each of these, and the validation items of the first seed choose one. At the paper's size RD and CD are thus
# tuned, and the paper's own methods are not.
#
# ## 5. The result at the paper's size
#
# These are committed records of CiteULike (5,220 users, 25,182 items), on every profile. First the paper's numbers with ours below them.
# The row of CD is of our form (section 4): it says nothing about the paper's CD. Where rows have different numbers of seeds, the picture below
# the table says so: each difference there is over the seeds that both have.

# %%
paper = derrd.committed_rows()
paper_table = derrd_tables.derrd_table2(paper).query("dataset == 'citeulike' and model == 'BPR' and protocol == 'validation'")
page.show(report.wide(paper_table).drop(columns=["dataset", "model", "protocol"]))

# %%
differences, of_role = derrd_tables.against_student(paper)
fig = derrd_plots.differences(of_role, "H@5")
style.save(fig, "07_against_student", profile, paper, NOTEBOOK)

# %%
page.say_lines(page.in_words(c, role, "S", "H@5", seeds=True) for role, c in of_role.items() if role != "T")

# %% [markdown]
# ## 6. The same in small
#
# Now the runs of this profile. With one seed, as on `small`, the intervals are over users alone and too narrow: notebook 09, section 6, has
# three seeds and a tuned S on the same data, and fewer clear gains.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
trials = {f"{role}, weight {weight:g}": run for role, tried in plan.trials().items() for weight, run in tried.items()}
tried = page.have(trials, **options)
chosen = chosen_weights(plan, tried.values())
rows = {f"{run.role}, seed {run.seed}": run for run in derrd.table_runs(plan, chosen)}
records = page.have(rows | {"popularity": derrd.popularity(plan)}, **options)
popularity = records.pop("popularity", None)
first_seed = {record.description["role"]: record for record in records.values() if record.description["seed"] == seed}
page.say("Chosen weights:", ", ".join(f"{role} {weight:g}" for role, weight in chosen.items()) + ".", when=bool(chosen))
_ = report.write_table(derrd_tables.trial_table(plan, tried.values()), "07_trials", profile, list(tried.values()), NOTEBOOK)

# %%
in_order = [first_seed[role] for role in derrd_tables.ROLES if role in first_seed]
fig = derrd_plots.curves(in_order, popularity.chosen["H@5-validation"] if popularity else None)
style.save(fig, "07_learning_curves", profile, in_order, NOTEBOOK)

# %% tags=["nbval-check-output"]
values = {role: record.chosen["H@5-validation"] for role, record in first_seed.items()}
page.say("Do teacher and student beat popularity on the validation items?",
         "Yes." if min(values["T"], values["S"]) > (popularity.chosen["H@5-validation"] if popularity else 0) else "No.")

# %%
own = list(records.values())
table2 = derrd_tables.derrd_table2(own + ([popularity] if popularity else []))
report.write_table(table2, "derrd_table2", profile, own + ([popularity] if popularity else []), NOTEBOOK)
quality = table2.query("protocol == 'validation' and dataset == @plan.dataset and model == 'BPR'")
quality = quality.pivot(index="role", columns="metric", values="replicated")
quality = quality.reindex([role for role in derrd_tables.ROLES if role in quality.index])[["H@5", "H@10", "N@10"]]
full = {role: first_seed[role].chosen["N@10-full"] for role in quality.index if role in first_seed}
page.show(quality.assign(**{"N@10 among all items": pd.Series(full)}), index=True)

# %%
small_differences, small_of_role = derrd_tables.against_student(own)
report.write_table(small_differences, "07_against_student", profile, own, NOTEBOOK)
page.say_lines(page.in_words(c, role, "S", "H@5") for role, c in small_of_role.items())

# %% [markdown]
# ## 7. Ranked among 499 items, or among all?
#
# Among 499 drawn items a test item meets few of its strong rivals. Metrics on such a sample can even order methods differently (Krichene & Rendle, KDD
# 2020). The picture compares three rankings at the paper's size: among the 499, among another 499 (hollow marks),
# and among all items. In the table, `tau` is Kendall's τ of the two orders (1: the same), `turned` counts the pairs that change places, and `largest change`
# is that of the metric. It does not say whether the two of a pair differ by more than chance.

# %%
tables = {metric: derrd_tables.rankings(paper, metric) for metric in ("H@10", "N@10")}
fig = derrd_plots.sampled_and_full(tables)
style.save(fig, "07_sampled_full", profile, paper, NOTEBOOK)
changes = pd.concat({metric: derrd_tables.order_changes(table) for metric, table in tables.items()}, names=["metric"])
page.show(changes.reset_index("metric").reset_index(drop=True))
page.say(f"Means over the {len(derrd_tables.common_seeds(paper))} seeds that all of these models have.")

# %% [markdown]
# ## 8. Other forms of DE and RRD
#
# Each row changes one part: DE with *attention* (shares without noise and temperature), with one *large* expert (as many parameters as all experts together)
# and with one *small* one; RRD with the teacher's order of *all* items that are drawn (full), with the *interesting* ones alone,
# and with the *top* of the list instead of a draw. On `small` a row is one training: that shows that each form works, not which
# is better.

# %%
designs = page.have(derrd.all_designs(plan), **options)
seeds = {record.description["seed"] for record in designs.values()}
base = [record for record in own if record.description["role"] in ("DE", "RRD") and record.description["seed"] in seeds]
table4 = derrd_tables.derrd_table4([*base, *designs.values()])
report.write_table(table4, "derrd_table4", profile, [*base, *designs.values()], NOTEBOOK)
parts = table4.dropna(subset=["replicated"]).query("metric in ['H@5', 'N@10']")
page.show(parts.pivot(index="role", columns="metric", values="replicated"), index=True)

# %% [markdown]
# ## What you have seen
#
# * DE makes the student's vectors determine the teacher's, RRD makes the student order the teacher's top and keep it above the rest.
# * Both are added to the student's own loss, and both leave the student as small as it was.
# * What a method gains depends on the data and on what items are ranked among; notebook 09 gives every method the same number of trials.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance([*paper, *own, *tried.values(), *designs.values()], plan.teacher("L", seed).data_hash, seed, started)
