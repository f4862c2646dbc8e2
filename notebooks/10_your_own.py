# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 Your own data, model and loss
#
# **At the end of this notebook you will know** how to bring a table of your own, how to write a model and a distillation loss that
# `rdcore` can train, and how to tell whether the loss helps.
#
# Nothing has to be registered. Copy the notebook, put your table into the cell marked *your data*, and run it: it makes a large
# model (the **teacher T**), a small one trained alone (the **student S**), a small one taught by Ranking Distillation (notebook 03), and a
# small one taught by the loss that is written below.

# %% tags=["parameters"]
profile: str = "small"  # small: MovieLens-100K; smoke and paper: a small generated table
seed: int = 1  # of all runs
teacher_dim: int = 64  # size of the teacher's vectors
student_dim: int = 8  # size of the student's vectors
epochs: int = 10  # of every run
K: int = 10  # length of the teacher's list
temperature: float = 2.0  # of the softmax in the new loss

# %%
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from rdcore import data
from rdcore.data.queries import final_queries
from rdcore.distill import Distillation, Position, RDSettings
from rdcore.distill.lists import teacher_lists
from rdcore.eval import metrics, significance
from rdcore.losses import log_loss
from rdcore.models import DotProductModel, PopularitySettings
from rdcore.store import runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common import plots, report, style
from studies.notebooks import page

started = time.perf_counter()
style.use_style()
NOTEBOOK = "10_your_own"
size = "small" if profile == "small" else "smoke"  # nothing here is of paper size

# %% [markdown]
# ## 1. Your data
#
# A table with one row per action: who, what, when. Names of columns and kinds of ids do not matter; further columns are ignored. Here
# it is a table of films that people rated. **Replace this cell**, for instance by `frame = pd.read_csv("clicks.csv")`, and name the
# three columns:

# %% tags=["your-data"]
frame = page.example_frame(size)
USER, ITEM, TIME = "visitor", "film", "when"

# %%
page.show(frame.head(3))

# %% [markdown]
# `from_frame` orders each user's rows by time and numbers users and items. If a user acted on an item several times, the first
# action counts. Times are numbers, such as seconds, or dates. Without a time column, pass `time=None`: the order of the rows
# then counts.

# %%
mine = data.from_frame(frame, user=USER, item=ITEM, time=TIME, name="mine")
first = mine.items[:3]
page.say(f"{mine.n_users:,} users, {mine.n_items:,} items, {len(mine):,} actions.",
         f"The first user is {mine.user_ids[0]}; they began with {', '.join(map(str, mine.item_ids[first]))}.")

# %% [markdown]
# ### When something is wrong with the table
#
# The message names the column, the row, and what to do.


# %%
def attempt(what: str, action, *arguments, **options) -> None:
    """Calls something that must not work, and shows what it says."""
    try:
        action(*arguments, **options)
    except (ValueError, NotImplementedError) as error:
        page.say(f"**{what}**: {error}")


columns = {"user": USER, "item": ITEM, "time": TIME, "name": "mine"}
gap = frame.assign(**{USER: frame[USER].astype(object).mask(np.arange(len(frame)) == 2)})
attempt("a column that is not there", data.from_frame, frame, **columns | {"item": "movie"})
attempt("a missing user", data.from_frame, gap, **columns)
attempt("two actions for each user", data.stage, data.from_frame(frame.groupby(USER).head(2), **columns), "F")

# %% [markdown]
# ## 2. Your model
#
# A model answers *queries*. A query is a user at a point of their sequence: `queries.user` (B,) says who, and `queries.history(n)` (B, n) gives
# the last n items, the newest at the end. A model does four things:
#
# * `encode(queries)`: one vector for each query, (B, D);
# * `score(context, items)`: scores of a few items for these vectors, (B, n);
# * `score_all(context)`: scores of all items, (B, number of items);
# * `base_loss(positive, negative)`: the loss (B,), given the scores of the item that came next and of items drawn at random.
#
# `DotProductModel` has the two scores already, for models whose score is a dot product with an item vector plus an item bias. `window` is
# the number of past items that the model looks at. Here: matrix factorisation with a second vector for the user's last item,
# $\hat y_j = \langle p_u + q_{\text{last}},\, v_j \rangle + b_j$.


# %%
@dataclass(frozen=True, kw_only=True)
class LastItemMFSettings:
    revision: ClassVar[int] = 1  # raise it with every change to the class below
    dim: int  # size of all vectors

    def build(self, n_users, n_items):
        return LastItemMF(n_users, n_items, self.dim)


class LastItemMF(DotProductModel):
    def __init__(self, n_users, n_items, dim):
        super().__init__()
        self.n_items, self.window = n_items, 1
        self.user = nn.Embedding(n_users, dim)
        self.last = nn.Embedding(n_items + 1, dim)  # one more, for "nothing yet"
        self.item_factors = nn.Embedding(n_items, dim)
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.user, self.last, self.item_factors):
            nn.init.normal_(table.weight, std=0.1)

    def encode(self, queries):
        return self.user(queries.user) + self.last(queries.history(1)[:, 0])

    def base_loss(self, positive, negative):
        return log_loss(positive, negative)


# %% [markdown]
# The settings describe the model and make it. Finished runs are stored under their settings: class name, `revision`, fields. The code is
# **not** looked at: if you change it and leave the revision, you get the old run back.
#
# A check before training: do both ways of computing a score agree?

# %% tags=["nbval-check-output"]
stage = data.stage(mine, "F")  # fit: the oldest 80 % of each user's actions; judge: the newest 20 %
model = LastItemMFSettings(dim=4).build(mine.n_users, mine.n_items)
context = model.encode(final_queries(stage.fit)[:3])
items = torch.tensor([[0, 1], [1, 2], [2, 0]])
scores = model.score(context, items)
torch.testing.assert_close(scores, model.score_all(context).gather(1, items))
page.say(f"context {tuple(context.shape)}, scores {tuple(scores.shape)},",
         f"loss {tuple(model.base_loss(scores[:, :1], scores[:, 1:]).shape)}")

# %% [markdown]
# ## 3. Your loss
#
# The idea: the student should give a few items the same probabilities as the teacher does. The items of a query are the teacher's
# first $K$ and the negatives that are drawn for it anyway. Both models turn their scores $t$ and $s$ of these items into a
# softmax at temperature $\tau$, and
#
# $$L = \tau^2 \, \mathrm{KL}\bigl(\mathrm{softmax}(t / \tau) \,\|\, \mathrm{softmax}(s / \tau)\bigr)$$
#
# is added to the model's own loss. The factor $\tau^2$ keeps the size of the gradient about the same at all temperatures (Hinton et al., 2015).
#
# A distillation has three methods. `prepare` runs once and takes from the teacher what can be computed before training.
# `begin_epoch` is for schedules and samples; this loss needs none. `loss` runs in each step: it gets the vectors that the student
# has just computed for the batch, and returns the mean over the batch.


# %%
@dataclass(frozen=True, kw_only=True)
class SoftListSettings:
    revision: ClassVar[int] = 1  # raise it with every change to the class below
    K: int  # length of the teacher's list
    temperature: float
    weight: float = 1.0

    def build(self, student, teacher):
        return SoftList(self)


class SoftList(Distillation):
    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def prepare(self, teacher, data, *, cache=None, progress=False):
        self.freeze(teacher)  # self.teacher answers, but is neither trained nor saved with the student
        self.lists = teacher_lists(teacher, data, self.settings.K, "target", cache=cache)

    def loss(self, student, batch, step, context):
        tau = self.settings.temperature
        items = torch.cat([self.lists.of(batch), batch.negatives], dim=1)  # (B, K + n)
        wanted = self.teacher.score(batch.queries, items)  # without gradient
        own = student.score(context, items)
        divergence = F.kl_div(
            (own / tau).log_softmax(1), (wanted / tau).log_softmax(1), log_target=True, reduction="batchmean"
        )
        return self.settings.weight * tau**2 * divergence


# %% [markdown]
# ## 4. The runs
#
# An `Experiment` says everything that a run depends on. Stage `V` is for trying things out: models are fitted on the oldest 70 %
# of each user's actions and measured on the next 10 %. Stage `F` comes last: fitted on 80 %, measured on the newest 20 %.
# Learning rate, batch size and weight decay were chosen on `V` for teacher and student alone; each of the two losses was then
# tried there with three or four weights and temperatures. The student alone had no such trials of its own, so the numbers below
# are only an example of how to compare.
#
# `load_or_train` trains a run that is not stored yet; one that was interrupted goes on where it stopped.

# %%
common = {
    "dataset": mine.name, "data_hash": mine.sha256(), "stage": "F", "seed": seed, "evaluate_every": epochs,
    "training": Training(epochs=epochs, batch_size=2048 if size == "small" else 128, learning_rate=1e-2, weight_decay=1e-4),
}  # fmt: skip
teacher = Experiment(role="T", model=LastItemMFSettings(dim=teacher_dim), **common)
student = replace(teacher, role="S", model=LastItemMFSettings(dim=student_dim))
taught = {"teacher": teacher, "teacher_epoch": epochs}
rd = RDSettings(K=K, weights=Position(lam=2.0), weight=0.1)
own = SoftListSettings(K=K, temperature=temperature)
counted = {"model": PopularitySettings(), "training": Training(epochs=1), "evaluate_every": 1}
experiments = {
    "popularity": replace(teacher, role="popularity", **counted),
    "T": teacher,
    "S": student,
    "RD-position": replace(student, role="RD-position", distillation=rd, **taught),
    "own": replace(student, role="own", distillation=own, **taught),
}
trained = {role: runs.load_or_train(experiment, mine) for role, experiment in experiments.items()}

# %% [markdown]
# Descriptions that make no sense are refused before anything is trained:

# %%
attempt("a distillation without a teacher", replace, student, distillation=own)
attempt("an epoch that the teacher does not have", replace, experiments["own"], teacher_epoch=epochs + 1)

# %% [markdown]
# ## 5. Does it help?
#
# All items that a user has not had are ranked for them. `MAP` is the mean over users of the average precision of their list. `MAP - S` is the
# difference to the student alone with its 95 % interval over users, and `overlap with T` the share of common items in the lists of ten of
# student and teacher.

# %%
ap = {role: run.per_user()["AP"].to_numpy()[None] for role, run in trained.items()}  # (1, users)
compared = {role: significance.compare(ap[role], ap["S"]) for role in ap if role != "S"}
rows = []
for role, run in trained.items():
    row = {"role": role, **run.metrics[["MAP", "nDCG@10", "P@10"]].iloc[-1]}
    if role in compared:
        row |= {"MAP - S": compared[role].difference, "low": compared[role].low, "high": compared[role].high}
    rows.append(row | {"overlap with T": (run.agreement or {}).get("overlap@10", np.nan)})
table = pd.DataFrame(rows)
report.write_table(table, "10_your_own", size, list(trained.values()), NOTEBOOK)
page.show(table, **dict.fromkeys(["MAP - S", "low", "high"], "{:+.4f}"), **{"overlap with T": "{:.2f}"})

# %% [markdown]
# Left: the difference of each method to the student alone. Right: the same for each user, for the new loss.

# %%
shown = {role: compared[role] for role in ("T", "RD-position", "own")}
of_own = (ap["own"] - ap["S"])[0]
fig = plots.differences(shown, of_own[~np.isnan(of_own)], metric="AP", first="own")
style.save(fig, "10_differences", size, list(trained.values()), NOTEBOOK)

# %%
page.say_lines(page.in_words(c, role, "the student alone") for role, c in shown.items())

# %% tags=["nbval-check-output"]
page.say("Is the teacher better than popularity?",
         "Yes." if significance.compare(ap["T"], ap["popularity"]).low > 0 else "No.")

# %% [markdown]
# With this seed RD makes the student worse: the interval lies below 0. The teacher is only a little better than the student
# alone. The setting was not chosen for these data, so the result is shown as it is: try others on stage `V`, $\lambda$, the
# weight and what the lists leave out.
#
# This compares two settings on one data set with one seed. To compare two *methods*, give each the same number of trials on stage `V`, and then
# run stage `F` with five seeds, one row of `ap` for each seed.
#
# ## 6. The trained student recommends
#
# A run gives its model back, and the data give the labels.

# %%
best = trained["own"].model(experiments["own"], mine)
queries = final_queries(stage.fit)[:3]
had = stage.fit.users() < 3  # what is not recommended again
seen = torch.from_numpy(stage.fit.users()[had]), torch.from_numpy(stage.fit.items[had])
with torch.no_grad():
    top = metrics.top_items(best.score_all(best.encode(queries)), seen, 4)
page.show(pd.DataFrame({
    "user": [str(user) for user in mine.user_ids[:3]],
    "last had": [str(mine.item_ids[item]) for item in queries.history(1)[:, 0].tolist()],
    "recommended": ["; ".join(map(str, mine.item_ids[listed])) for listed in top.tolist()],
}))  # fmt: skip

# %% [markdown]
# ## What you have seen
#
# * A table with three columns is all that `rdcore` needs to know of your data.
# * A model is four methods, a distillation three; their settings name the stored runs.
# * Compare user by user, with an interval, and with several seeds before you believe a difference.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance(list(trained.values()), mine.sha256(), seed, started)
