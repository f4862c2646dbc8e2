# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 A teacher and a student
#
# **At the end of this notebook you will know** how the recommender Caser turns a user's last items into scores, what it learns from,
# how its quality is measured, and how much quality a small Caser loses against a large one.
#
# A large recommender ranks well but costs memory and time at every request. A small one is cheap and ranks worse. Here both are
# trained in the ordinary way, from what users chose:
#
# * the **teacher T**, a Caser with large vectors,
# * the **student S**, the same Caser with small vectors.
#
# The difference in quality between the two is what distillation (notebook 03) can win back.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of the final runs; the runs that choose settings have a seed of their own
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time

import pandas as pd
import torch
from torch.nn.functional import logsigmoid, softplus

from rdcore import data, datasets
from rdcore.data.sampling import stream, unseen_items
from rdcore.eval import metrics
from rdcore.models import CaserSettings
from rdcore.train.loop import training_data
from studies.common import plots, report, style
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.notebooks import page
from studies.rd import method_plots

started = time.perf_counter()
style.use_style()
NOTEBOOK = "02_teacher_and_student"
plan = PROFILES[profile].rd[0]
choosing = plan.seeds["V"][0]
experiments = {
    "T, validation": plan.teacher("V", choosing),
    "S, validation": plan.student("V", choosing),
    "T": plan.teacher("F", seed),
    "S": plan.student("F", seed),
}
page.say(f"Data: {plan.dataset}. T has vectors of {plan.models['T'].dim} numbers, S of {plan.models['S'].dim}.")

# %% [markdown]
# ## 1. Caser, a model of sequences
#
# Caser (Tang & Wang, WSDM 2018) sees a user's last $L = 5$ items as a picture: their vectors of $d$ numbers, one below the other,
# are an $L \times d$ image. Two kinds of filters look at it.
#
# * A **horizontal** filter covers $h$ successive items in full width. It is moved down along time, and only its largest value is
#   kept: it fires on a pattern such as "airport, then hotel" at any place among the last items.
# * A **vertical** filter is a weighted sum of the $L$ item vectors.
#
# The values of all filters go through one dense layer, which gives the user's short-term interest $z$, a vector of $d$ numbers.
# The user's own vector $P_u$ stands for their long-term taste. The score of item $j$ is a dot product:
#
# $$\hat y_j = W_{2,j} \cdot [z \,;\, P_u] + b_{2,j}, \qquad z = \sigma(W_1 [\text{all filter values}] + b_1).$$
#
# $[z \,;\, P_u]$ is the two vectors one after the other, $W_{2,j}$ and $b_{2,j}$ are the item's own vector and number, $\sigma$ is the logistic function.
#
# This is Caser as Ranking Distillation's code has it. The Caser authors' own release differs: relu, three targets, four vertical
# filters, means instead of sums. It is not offered here.

# %%
fig = method_plots.caser_diagram(plan.models["T"])
style.save(fig, "02_caser", profile, [], NOTEBOOK)

# %% [markdown]
# The same in code, for three users of the data and a student with random numbers:

# %%
walk = page.with_weights(plan)
interactions = datasets.load(walk.dataset)
names = page.item_names(interactions)
stage = data.stage(interactions, "F")  # stage.fit: what the models are trained on; stage.judge: each user's newest 20 %
examples = training_data(stage.fit, 5, "cpu", full_windows=True)
torch.manual_seed(seed)
student = walk.models["S"].build(interactions.n_users, interactions.n_items).eval()  # eval: without dropout


def caser_by_hand(model, user, history):
    """Users (B,) and their last L items (B, L) -> the vectors [z ; P_u] (B, 2 d)."""
    E = model.item(history)  # (B, L, d), the image
    values = [torch.einsum("vl,bld->bvd", model.vertical.weight[:, 0, :, 0], E) + model.vertical.bias[:, None]]
    for filters in model.horizontal:  # one convolution for each height h
        across = filters(E[:, None])[:, :, :, 0]  # (B, 16, L - h + 1)
        values.append(across.amax(2))  # the largest over time, (B, 16)
    z = torch.sigmoid(model.dense(torch.cat([value.flatten(1) for value in values], dim=1)))  # (B, d)
    return torch.cat([z, model.user(user)], dim=1)


three = examples.queries[torch.tensor([0, 1000, 2000]) % len(examples.queries)]
vectors = caser_by_hand(student, three.user, three.history(5))
torch.testing.assert_close(vectors, student.encode(three))  # the library's vectors are the same
scores = vectors @ student.item_factors.weight.T + student.item_bias  # (3, number of items)
torch.testing.assert_close(scores, student.score_all(vectors))

# %% [markdown]
# ## 2. What it learns from
#
# Every item of a user's training sequence from the sixth on is a **target**; the five items before it are the input. Three **negatives** are drawn
# at random in each epoch, from the items that the user does not have in training; a test item can be among them, as in the released code. The loss asks for a high score of the target $t$ and low
# scores of the negatives $i$:
#
# $$L^R = -\log\sigma(\hat y_t) - \sum_i \log(1 - \sigma(\hat y_i)).$$

# %%
part = torch.arange(4)
history = examples.queries[part].history(5)
negatives = unseen_items(examples.queries[part].user, 3, examples.seen, stream(seed, "shown negatives"))
page.show(pd.DataFrame({
    "the last two of five items": [", ".join(names[row[-2:].tolist()]) for row in history],
    "target": names[examples.target[part].numpy()],
    "negatives": [", ".join(names[row.tolist()]) for row in negatives],
}))  # fmt: skip

# %%
vectors = student.encode(examples.queries[part])
target, drawn = student.score(vectors, examples.target[part, None]), student.score(vectors, negatives)  # (4, 1), (4, 3)
loss = -logsigmoid(target).sum(1) - logsigmoid(-drawn).sum(1)  # (4,); 1 - sigmoid(y) is sigmoid(-y)
torch.testing.assert_close(loss, student.base_loss(target, drawn))  # the library's loss is the same
torch.testing.assert_close(-logsigmoid(drawn), softplus(-drawn))  # it writes the logarithm this way: nothing overflows
page.say(f"An untrained model has a loss near 4 log 2 = 2.77 for each example; these four have {loss.mean():.2f}.")

# %% [markdown]
# ## 3. How large are the two?
#
# Nearly all parameters are vectors of users and items, so the size grows in proportion to $d$. A check: the paper's Table 3 prints
# the parameters of its teacher ($d = 100$) and its student ($d = 50$) for Gowalla, its data set (13,149 users, 14,009 items).
# The official code also stores a row of numbers for the empty place before a user's first item, and even ranks it; here that row
# is zero.

# %%
printed = reported("rd_table3").query("dataset == 'gowalla' and model == 'Caser' and quantity == 'parameters'")
printed = printed.set_index("role")["value"]
sizes = []
for role, in_table, dim in (("T", "T", 100), ("S", "RD", 50)):
    model = CaserSettings(dim=dim).build(n_users=13_149, n_items=14_009)
    numbers = sum(p.numel() for p in model.parameters())
    sizes.append({"": f"{role}, d = {dim}", "numbers stored here": f"{numbers:,}",
                  "with the official code's extra row": f"{numbers + 2 * dim + 1:,}", "printed in Table 3": f"{int(printed[in_table]):,}"})
page.show(pd.DataFrame(sizes))

# %% [markdown]
# ## 4. Training
#
# Each user's interactions are cut in time: the oldest 70 % are **train**, the next 10 % **validation**, the newest 20 % **test**. Settings
# are chosen with models that see train alone and are measured on validation. The final models see train and validation, and are
# measured on test once. So four models are trained, T and S for each of the two purposes. A model that was trained before is read from disk.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
records = page.have(experiments, **options)
training = plan.training
page.say(f"{training.epochs} epochs, batches of {training.batch_size}, learning rate {training.learning_rate:g}.")

# %% [markdown]
# The baseline is **popularity**: everybody is shown the items that most people had. A model that does not beat it has learnt nothing
# about single users. A curve is called *flat* where it gains or loses less than 5 % in the last quarter of the epochs. (On profile `paper` popularity is counted if the data are on this machine.)

# %%
popular = {stage: page.popularity(plan.dataset, stage) for stage in ("V", "F")}  # V: on validation, F: on test
on_validation = [records["T, validation"], records["S, validation"]]
fig = plots.learning_curves(on_validation, popular["V"].get("MAP"), measured_on="validation")
style.save(fig, "02_learning_curves", profile, on_validation, NOTEBOOK)

# %%
page.say_lines(
    f"{role}: {'flat' if abs(record.late_gain()) < 0.05 else 'rising' if record.late_gain() > 0 else 'falling'} at the end "
    f"({record.late_gain():+.1%} over the last quarter of the epochs)."
    for role, record in zip(("T", "S"), on_validation, strict=True)
)

# %% tags=["nbval-check-output"]
last = [record.metrics["MAP"].iloc[-1] for record in on_validation]
page.say("Do both beat popularity on validation?", "Yes." if min(last) > popular["V"].get("MAP", 0) else "No.")

# %% [markdown]
# ## 5. How good are they?
#
# For each user all items that they have not had are ranked. Each metric is computed for each user and then averaged:
#
# * `P@n` is the share of test items among the first $n$;
# * `nDCG@n` also asks how high they are: a hit in place $i$ counts $1/\log_2(i + 1)$, relative to the best possible list. The official code
#   cuts the list at the number of test items where that is below $n$; `-standard` is the usual definition, which does not;
# * `MAP` looks at the whole list. The *average precision* of a user is the mean, over their test items, of the precision at each one's place:

# %%
ranks = torch.tensor([1, 4, 5])  # an example: a user's three test items are in places 1, 4 and 5
average_precision = (torch.arange(1, 4) / ranks).mean()  # (1/1 + 2/4 + 3/5) / 3
by_library = metrics.per_user(ranks, [0, 3])["AP"].item()
page.say(f"By hand {average_precision:.3f}, by the library {by_library:.3f}.")

# %%
shown = ["P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10", "nDCG@10-standard", "MAP"]
on_test = pd.DataFrame({role: records[role].metrics[shown].iloc[-1] for role in ("T", "S")})
on_test["popularity"] = pd.Series(popular["F"], dtype=float).reindex(shown)
on_test["S / T"] = on_test["S"] / on_test["T"]
table = on_test.rename_axis("metric").reset_index()
report.write_table(table, "02_test_metrics", profile, [records["T"], records["S"]], NOTEBOOK)
page.show(table, **{"S / T": "{:.2f}"})

# %% [markdown]
# The paper's numbers, where it has this data set:

# %%
table2 = reported("rd_table2").query("dataset == @plan.dataset and model == 'Caser' and role in ['T', 'S']")
paper = table2.pivot(index="metric", columns="role", values="value").add_prefix("paper ")
page.show_or_note(paper.join(on_test[["T", "S"]], how="inner").reset_index() if len(paper) else None,
                  f"the paper has no numbers for {plan.dataset}: notebook 00 compares the paper-size runs with its tables")  # fmt: skip

# %% tags=["nbval-check-output"]
page.say("The better one on test by MAP:", on_test.loc["MAP", ["T", "S"]].idxmax())

# %% [markdown]
# ## What you have seen

# %%
lost = 1 - on_test.loc["MAP", "S / T"]
page.say_lines([
    "Caser reads a user's last five items as an image and adds the user's long-term taste; it learns to score the next item above random ones.",
    f"The student stores about {plan.models['S'].dim / plan.models['T'].dim:.0%} of the teacher's numbers.",
    f"It loses {lost:.0%} of the teacher's MAP on test; notebook 03 asks how much of that can be won back.",
    "Both are trained with the same settings. On profile `small`, S alone comes closer at a larger learning rate of its own: "
    "notebook 03, section 6, says what that means for a gain.",
])  # fmt: skip

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(list(records.values()), experiments["T"].data_hash, seed, started)
