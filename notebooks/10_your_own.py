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
# Nothing in `rdcore` has to be registered. This notebook brings three things from outside: a pandas data frame, a model and a
# distillation loss, the latter two written here. The training loop, the evaluation, the run store and the statistics are those of all other
# notebooks. At the end stands a table: the teacher, the student alone, the student taught by Ranking Distillation (notebook 03), and
# the student taught by the new loss.
#
# Copy the notebook and replace the parts. On profile `small` the frame is made from MovieLens-100K, on `smoke` from generated data.
# Nothing here is of paper size, so profile `paper` does what `smoke` does: it needs no download and takes seconds.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of all runs
teacher_dim: int = 64  # size of the teacher's vectors
student_dim: int = 8  # size of the student's vectors
epochs: int = 6  # of every run
K: int = 10  # length of the teacher's list, for both distillations
temperature: float = 2.0  # of the softmax, in the new loss

# %%
import textwrap
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from rdcore import data, datasets
from rdcore.data.queries import final_queries
from rdcore.distill import Distillation, Position, RDSettings
from rdcore.distill.lists import teacher_lists
from rdcore.distill.scores import teacher_scores
from rdcore.eval import metrics, significance
from rdcore.losses import log_loss
from rdcore.models import DotProductModel, PopularitySettings
from rdcore.store import runs
from rdcore.store.experiment import Experiment
from rdcore.train.loop import Training
from studies.common import manifest, plots, report

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "10_your_own"
size = "small" if profile == "small" else "smoke"

# %% [markdown]
# ## The data: a frame with one row an action
#
# Three columns are needed: who, what, and when. Their names do not matter, other columns are ignored. Here ratings become actions:
# that somebody saw a film counts, not how many stars he gave it.

# %%
if size == "small":
    columns = ["visitor", "film", "stars", "when"]
    frame = pd.read_csv(datasets.fetch("ml-100k")[0], sep="\t", names=columns)
else:
    made = datasets.load("synthetic")
    frame = pd.DataFrame({"visitor": made.users(), "film": made.items, "when": made.times})
frame["visitor"] = "visitor-" + frame["visitor"].astype(str)
frame["film"] = "film-" + frame["film"].astype(str)
display(frame.head(3))

# %% [markdown]
# `from_frame` puts each user's rows in the order of time and gives users and items whole numbers, from 0, in the order of their labels. The
# labels are kept. Of several actions of a user on the same item the first one counts. `min_actions=5` would remove users and items
# with fewer than five actions.

# %%
mine = data.from_frame(frame, user="visitor", item="film", time="when", name="films")
print(f"{mine.n_users:,} users, {mine.n_items:,} items, {len(mine):,} actions; hash {mine.sha256()[:16]}")
print(f"user 0 is {mine.user_ids[0]}; their first items: {', '.join(mine.item_ids[mine.items[:3]])}")

# %% [markdown]
# ### When something is wrong with the frame
#
# The message names the column, the row where there is one, and the remedy. Ids may be of any type that can be sorted. But a
# missing id in a column of whole numbers makes pandas turn all of them into floats, which cannot hold large numbers: read ids as
# text, or as `Int64`. Times may be numbers, `datetime64` or ISO text; without a zone they count as UTC. Where there are no times,
# say `time=None`: the order of the rows is then the order of events.


# %% tags=["nbval-check-output"]
def attempt(what: str, action, *arguments, **options) -> None:
    """Calls something that should not work, and prints what it says."""
    try:
        action(*arguments, **options)
    except (ValueError, NotImplementedError) as error:
        print(f"{what}:\n{textwrap.indent(textwrap.fill(str(error), 100), '    ')}")


names = {"user": "visitor", "item": "film", "time": "when", "name": "films"}
third = frame.index == 2
numbers = frame["visitor"].str.removeprefix("visitor-").astype(int)
short = data.from_frame(frame.groupby("visitor").head(2), **names)
attempt("no such column", data.from_frame, frame, **names | {"item": "movie"})
attempt("no time column named", data.from_frame, frame, **names | {"time": "time"})
attempt("a missing time", data.from_frame, frame.assign(when=frame["when"].mask(third)), **names)
attempt("a missing id", data.from_frame, frame.assign(visitor=numbers.mask(third)), **names)
attempt("ids that were rounded", data.from_frame, frame.assign(visitor=numbers + 0.5), **names)
dates = pd.to_datetime(frame["when"], unit="s").dt.strftime("%d.%m.%Y")
attempt("dates in a form of their own", data.from_frame, frame.assign(when=dates), **names)
attempt("two actions a user", data.stage, short, "F")

# %% [markdown]
# ## The model
#
# A model answers *queries*. A query is a user at a point of his sequence: `queries.user` (B,) says who, and `queries.history(n)` (B, n) gives the
# last n items before that point, the most recent one last. Where there are fewer, the id `n_items` fills the gap.
#
# A model has to do four things:
#
# * `encode(queries)`: what the model knows of each query, as one vector, (B, D);
# * `score(context, items)`: the logits of a few items for these vectors, (B, n);
# * `score_all(context)`: the logits of all items, (B, n_items);
# * `base_loss(positive, negative)`: the loss of each query (B,), given the logits of what was chosen and of items drawn at random.
#
# Where the score is a dot product with an item vector plus a bias of the item, `DotProductModel` has the two scores already. `window` is
# the number of past items that the model looks at, 0 for a model that knows the user alone.
#
# Here: matrix factorisation, with a second vector for the item that the user had last,
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
# The settings describe the model, and make it. Their class name, their `revision` and their fields are what the run store knows a run by; it
# does **not** look at the code. If you change the code and leave the revision, you get the old run back. For the same reason two classes of
# one name must not mean two things; the names of `rdcore.models` are taken.
#
# A look before training: the shapes, and whether both ways to a score agree.

# %% tags=["nbval-check-output"]
stage = data.stage(mine, "F")
tried = LastItemMFSettings(dim=4).build(mine.n_users, mine.n_items)
context = tried.encode(final_queries(stage.fit)[:3])
items = torch.tensor([[0, 1], [2, 3], [4, 5]])
scores = tried.score(context, items)
torch.testing.assert_close(scores, tried.score_all(context).gather(1, items))
print(f"context {tuple(context.shape)}, scores {tuple(scores.shape)}; "
      f"one loss a query: {tried.base_loss(scores[:, :1], scores[:, 1:]).shape == (3,)}")


class Unfinished(DotProductModel):
    pass


attempt("a model without encode", Unfinished().encode, None)
attempt("a model without base_loss", Unfinished().base_loss, scores, scores)

# %% [markdown]
# ## The loss
#
# The idea to be tried: on a few items the student is to have the teacher's probabilities. The items of a query are the teacher's first $K$ and the
# negatives that the training loop has drawn for it anyway. Both models turn their scores of these items into a softmax at temperature $\tau$, and
#
# $$L = \frac{\tau^2}{B} \sum_{q} \mathrm{KL}\bigl(\mathrm{softmax}(t_q / \tau) \,\|\, \mathrm{softmax}(s_q / \tau)\bigr)$$
#
# is added to the model's own loss, with a weight. The factor $\tau^2$ keeps the gradient's size roughly the same at all temperatures (Hinton et al., 2015).
#
# A distillation has three moments. `prepare` is called once and takes from the teacher what can be had before training; `teacher_lists` makes his
# lists (without the `"target"` of each query, as Ranking Distillation does) and keeps them on disk for the next student. `begin_epoch` is there for schedules and samples; we need none. `loss` is called in each step
# with the vectors that the student has just made of the batch, and returns the mean over it (a class that returns the sum says
# `reduction = "sum"`). The teacher must not be trained or saved with the student, therefore the tuple.


# %%
@dataclass(frozen=True, kw_only=True)
class SoftListSettings:
    revision: ClassVar[int] = 1  # raise it with every change to the class below
    K: int  # the teacher's first items
    temperature: float
    weight: float = 1.0

    def build(self, student, teacher):
        return SoftList(self)


class SoftList(Distillation):
    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def prepare(self, teacher, data, *, cache=None, progress=False):
        self.teacher = (teacher,)  # in a tuple, so that it is no part of this module
        self.lists = teacher_lists(teacher, data, self.settings.K, "target", cache=cache)

    def loss(self, student, batch, step, context):
        tau = self.settings.temperature
        items = torch.cat([self.lists.of(batch), batch.negatives], dim=1)  # (B, K + n)
        wanted = teacher_scores(*self.teacher, batch.queries, items)  # without gradient
        own = student.score(context, items)
        divergence = F.kl_div(
            (own / tau).log_softmax(1), (wanted / tau).log_softmax(1),
            log_target=True, reduction="batchmean",
        )  # fmt: skip
        return self.settings.weight * tau**2 * divergence


# %% [markdown]
# ## The runs
#
# An `Experiment` says everything that a run depends on; the hash of the data is part of it. Stage `V` fits on the oldest 70 % of each user's
# actions and judges by the following 10 %: there one tries things out. Stage `F` fits on both and judges by the newest 20 %: one goes there once,
# at the end, with settings that were chosen before. Learning rate, batch size and weight decay
# were picked on `V` with teacher and student alone. Temperature and weights of the two distillations are first guesses; K and the
# number of epochs were made smaller for time alone, after runs on `F` had been seen: a reason to read the numbers below as
# an example and no more.
#
# `load_or_train` takes the runs one after the other and makes a missing teacher first. (`load_or_train_all`, which trains several at a
# time, loads its data by name from the catalog, and so does not know a frame of yours.)

# %%
common = {
    "dataset": mine.name, "data_hash": mine.sha256(), "stage": "F", "seed": seed, "evaluate_every": epochs,
    "training": Training(
        epochs=epochs, batch_size=2048 if size == "small" else 128, learning_rate=1e-2, weight_decay=1e-4
    ),
}  # fmt: skip
teacher = Experiment(role="T", model=LastItemMFSettings(dim=teacher_dim), **common)
student = replace(teacher, role="S", model=LastItemMFSettings(dim=student_dim))
taught = {"teacher": teacher, "teacher_epoch": epochs}
rd = RDSettings(K=K, weights=Position(lam=2.0))
own = SoftListSettings(K=K, temperature=temperature)
counted = {"model": PopularitySettings(), "training": Training(epochs=1), "evaluate_every": 1}
experiments = {
    "POP": replace(teacher, role="POP", **counted),
    "T": teacher,
    "S": student,
    "RD-position": replace(student, role="RD-position", distillation=rd, **taught),
    "own": replace(student, role="own", distillation=own, **taught),
}
found = {}
for role, experiment in tqdm(experiments.items(), desc="runs"):
    found[role] = runs.load_or_train(experiment, mine)

# %% [markdown]
# Each run is trained once and then read from the store (`runs/`); one that was interrupted goes on where it stopped. `.venv/bin/rdcore runs list`
# shows them. Descriptions that make no sense are refused before anything is trained:

# %% tags=["nbval-check-output"]
other = data.from_frame(frame.iloc[::2], **names)
attempt("a distillation without a teacher", replace, student, distillation=own)
attempt("an epoch that the teacher does not have", replace, experiments["own"], teacher_epoch=epochs + 1)
attempt("a stage that does not exist", replace, student, stage="test")
attempt("other data than described", runs.load_or_train, replace(student, seed=seed + 1000), other)

# %% [markdown]
# ## The table
#
# All metrics rank all items that the user has not had. `MAP - S` is the mean over users of a user's average precision minus that of the
# student alone. The interval comes from a bootstrap over users, and the effect size is the mean difference over its standard deviation. The overlap
# is the share of common items in the top-10 lists of student and teacher. With one seed the most that can be found is an *indication*.

# %%
def against(a: str, b: str) -> significance.Comparison:
    return significance.compare(ap[a], ap[b], rng=np.random.default_rng(0))


records = list(found.values())
ap = {role: run.per_user()["AP"].to_numpy()[None] for role, run in found.items()}  # (seeds, users)
compared = {role: against(role, "S") for role in ("T", "RD-position", "own")}
rows = []
for role, run in found.items():
    row = {"role": role, **run.metrics[["MAP", "nDCG@10", "P@10"]].iloc[-1]}
    if role in compared:
        c = compared[role]
        row |= {"MAP - S": c.difference, "low": c.low, "high": c.high, "effect size": c.effect_size}
        row |= {"better than S": significance.verdict(c)}
    if run.agreement:
        row["overlap with T"] = run.agreement["overlap@10"]
    rows.append(row)
table = pd.DataFrame(rows)
report.write_table(table, "10_your_own", size, records, NOTEBOOK)
display(table.set_index("role").round(4).astype(object).fillna("").rename_axis("on test"))

# %%
of_own = (ap["own"] - ap["S"])[0]
fig = plots.differences(compared, of_own[~np.isnan(of_own)], metric="AP", first="own")
plots.save(fig, "10_differences", size, records, NOTEBOOK)

# %% [markdown]
# Left: the difference of each method to the student alone. Right: the same user by user, for the new loss.

# %%
for a, b in (("T", "S"), ("RD-position", "S"), ("own", "S"), ("own", "RD-position")):
    c = against(a, b)
    said = "higher" if c.low > 0 else "lower" if c.high < 0 else "not clearly different"
    print(f"MAP of {a} - {b}: {c.difference:+.4f} ({c.low:+.4f} to {c.high:+.4f}), {said}")
gap = significance.gap_recovered(ap["T"], ap["S"], ap["own"], rng=np.random.default_rng(0))
if np.isnan(gap.share):
    print("The teacher is not clearly better than the student: there is no gap to recover.")
else:
    print(f"The new loss recovers {gap.share:.0%} of the gap between T and S "
          f"(95 % interval {gap.low:.0%} to {gap.high:.0%}).")

# %% tags=["nbval-check-output"]
for role in ("POP", "T", "own"):
    c = against(role, "S")
    said = "better" if c.low > 0 else "worse" if c.high < 0 else "no clear difference"
    print(f"{role} beside the student alone: {said}")

# %% [markdown]
# This compares two settings on one data set with one seed, and says nothing about the papers. For a statement about two *methods* give each the
# same number of trials on stage `V`, then run stage `F` with five seeds, one row of `ap` a seed.
#
# ## The trained student
#
# A run gives its model back, and the data give the labels.

# %%
best = found["own"].model(experiments["own"], mine)
queries = final_queries(stage.fit)[:3]
had = stage.fit.users() < 3  # what is not recommended again
seen = torch.from_numpy(stage.fit.users()[had]), torch.from_numpy(stage.fit.items[had])
with torch.no_grad():
    top = metrics.top_items(best.score_all(best.encode(queries)), seen, 4)
for user, listed in enumerate(top.tolist()):
    print(f"{mine.user_ids[user]}: {', '.join(mine.item_ids[listed])}")
large = found["T"].model(experiments["T"], mine)
parameters = [sum(table.numel() for table in model.parameters()) for model in (large, best)]
print(f"parameters: teacher {parameters[0]:,}, student {parameters[1]:,}")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(records, mine.sha256(), seed, started))
