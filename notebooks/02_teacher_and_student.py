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
# A large recommender ranks well, but costs memory and time at every request. A small one is cheap and ranks worse.
# Ranking Distillation (notebook 03) teaches the small one what the large one knows; here we train the two without any such help:
#
# * the **teacher T**, a Caser model with large vectors,
# * the **student S**, the same model with small ones.
#
# The gap between them is what there is to win. Profile `paper` shows the committed records of our paper-size runs and trains
# nothing, unless `recompute` is set; the other profiles train what is not in the run store yet.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of the final runs (stage F); the runs of stage V have a seed of their own
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import inspect
import time

import pandas as pd
from IPython.display import display

from rdcore import data, datasets, losses
from rdcore.eval import full_ranking as evaluation
from rdcore.eval import metrics
from rdcore.models import Caser, CaserSettings
from studies.common import earlier, manifest, plots, report
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.rd import method_plots

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "02_teacher_and_student"
plan = PROFILES[profile].rd[0]
choices = plan.seeds["V"][0]
experiments = {
    ("V", "T"): plan.teacher("V", choices),
    ("V", "S"): plan.student("V", choices),
    ("F", "T"): plan.teacher("F", seed),
    ("F", "S"): plan.student("F", seed),
}
for (stage, role), experiment in experiments.items():
    print(f"stage {stage}, {role}: d = {experiment.model.dim}, seed {experiment.seed}, run {experiment.key}")

# %% [markdown]
# ## Caser
#
# Caser (Tang & Wang, WSDM 2018) sees a user's last $L$ items as a picture: their vectors, one below the other, form an
# $L \times d$ image $E$. Two kinds of filters look at it.
#
# * A **horizontal** filter covers $h$ successive items in their full width and slides down in time. It fires on a pattern such as
#   "airport, then hotel", wherever in the last $L$ items that happened; of its values only the largest is kept.
# * A **vertical** filter is one column wide and as high as the image: a weighted sum of the last $L$ item vectors.
#
# Their outputs go through dropout and one dense layer, which gives the short-term interest $z \in \mathbb{R}^d$. The user's own
# vector $P_u$ adds his long-term taste, and the score (a logit) of item $j$ is a dot product:
#
# $$\hat y_j = W_{2,j} \cdot [z \,;\, P_u] + b_{2,j}, \qquad z = \sigma(W_1 [\text{filters of } E] + b_1).$$

# %%
fig = method_plots.caser_diagram(plan.teacher("F", seed).model)
plots.save(fig, "02_caser", profile, [], NOTEBOOK)

# %% [markdown]
# In code (all horizontal filters of all heights are one matrix product, then a maximum for each height):

# %%
print(inspect.getsource(Caser.encode_history))

# %% [markdown]
# ## The loss
#
# Every position in a user's sequence is a training instance: five items, and the one that came next, $d^+$. Three items
# $d^-$ that the user never had are drawn at random anew in each epoch. The ranking loss is point-wise,
#
# $$L^R = -\log\sigma(\hat y_{d^+}) - \sum_{d^-} \log\bigl(1 - \sigma(\hat y_{d^-})\bigr),$$
#
# averaged over a batch and minimised by Adam with a little L2. The logarithm of a sigmoid is computed as a softplus, so that large
# logits do not overflow.

# %%
print(inspect.getsource(losses.log_loss))

# %% [markdown]
# ## How large are the two?
#
# Nearly all parameters are vectors of users and items, so that the size grows linearly with $d$. On Gowalla's 13,149
# users and 14,009 items the paper prints 5.58M for the teacher and 2.79M for the student. The official code gives the padding id
# a row in every table, even a score; here padding is a zero row of the input table that is not trained, and cannot be
# ranked. That makes $3d + 1$ parameters fewer to train, and the two counts explain each other:

# %%
GOWALLA = {"n_users": 13_149, "n_items": 14_009}
table3 = reported("rd_table3").query("dataset == 'gowalla' and model == 'Caser' and quantity == 'parameters'")
printed = table3.set_index("role")["value"]
sizes = {}
for role, printed_as, dim in (("T", "T", 100), ("S", "RD", 50)):
    model = CaserSettings(dim=dim).build(**GOWALLA)
    stored = sum(p.numel() for p in model.parameters())
    sizes[f"{role}, d = {dim}"] = {
        "stored here": stored,
        "trained here": stored - dim,
        "official code": stored + 2 * dim + 1,
        "printed in Table 3": printed[printed_as],
    }
display(pd.DataFrame(sizes).T.astype(int).map("{:,}".format))

# %% tags=["nbval-check-output"]
official = [size["official code"] for size in sizes.values()]
agree = all(f"{size['official code'] / 1e6:.2f}" == f"{size['printed in Table 3'] / 1e6:.2f}" for size in sizes.values())
print(f"With a trained padding row the models have {official[0]:,} and {official[1]:,} parameters, "
      f"{'as printed' if agree else 'NOT as printed'}; the student is {official[1] / official[0]:.1%} of the teacher.")

# %% [markdown]
# ## Training
#
# Four runs: T and S, on stage V (fit train, judged on validation) and on stage F (fit train and validation, judged on
# test). A run is described by everything that its numbers depend on; the hash of the description is its key, under which it is
# kept. So a second call returns at once, and an interrupted one goes on where it stopped.

# %%
options = {"profile": profile, "recompute": recompute, "jobs": jobs, "progress": True}
found = dict(zip(experiments, earlier.records(list(experiments.values()), **options), strict=True))
settings = experiments["V", "T"].training
print(f"{settings.epochs} epochs, batches of {settings.batch_size}, learning rate {settings.learning_rate:g}")

# %% [markdown]
# The opponent is **popularity**: everybody is shown the items that most people had. A model that does not beat it has
# learnt nothing about anybody in particular.

# %%
try:
    interactions = datasets.load(plan.dataset)
    popular = {stage: metrics.mean(evaluation.popularity(data.stage(interactions, stage))) for stage in ("V", "F")}
except data.DataError:
    popular = {}
    print(f"{plan.dataset} is not on this machine and could not be fetched: no popularity below.")

# %%
on_validation = [found["V", role] for role in ("T", "S")]
fig = plots.learning_curves(on_validation, popular.get("V", {}).get("MAP"), judged="validation")
plots.save(fig, "02_learning_curves", profile, on_validation, NOTEBOOK)

# %%
for role, record in zip(("T", "S"), on_validation, strict=True):
    final, best = record.metrics["MAP"].iloc[-1], record.metrics["MAP"].idxmax()
    gain = record.late_gain()
    state = "still rising" if gain > 0.05 else "past its best" if gain < -0.05 else "flat"
    against = f", {final / popular['V']['MAP']:.1f} times popularity's" if popular else ""
    print(f"{role}: MAP {final:.4f} on validation{against}; best at epoch {best}.\n"
          f"   Over the last quarter of the epochs it changed by {gain:+.1%} of its final value: {state}.")

# %% tags=["nbval-check-output"]
if popular:
    beaten = all(record.metrics["MAP"].iloc[-1] > popular["V"]["MAP"] for record in on_validation)
    print("T and S", "both beat" if beaten else "do NOT both beat", "popularity on validation.")

# %% [markdown]
# ## On test
#
# Each user gets a ranking of all items that he has not had; metrics are computed user by user and averaged afterwards. `P@n` is
# the share of hits among the first n. `nDCG@n` also asks how high the hits stand. The official code cuts it at the number of
# held-out items where that is below n; the usual definition does not, and stands beside it as `-standard`. MAP looks at the whole
# list.

# %%
shown = ["P@3", "P@5", "P@10", "nDCG@3", "nDCG@5", "nDCG@10", "nDCG@10-standard", "MAP"]
on_test = pd.DataFrame({role: found["F", role].metrics[shown].iloc[-1] for role in ("T", "S")})
if popular:
    on_test["popularity"] = pd.Series(popular["F"])[shown]
on_test["S / T"] = on_test["S"] / on_test["T"]
final = {role: found["F", role] for role in ("T", "S")}
report.write_table(on_test.reset_index(names="metric"), "02_test_metrics", profile, list(final.values()), NOTEBOOK)
display(on_test.rename_axis("on test").round(4))

# %%
if plan.dataset == "gowalla":
    table2 = reported("rd_table2").query("dataset == 'gowalla' and model == 'Caser'")
    table2 = table2.pivot(index="metric", columns="role", values="value")
    beside = pd.concat({"reported": table2[["T", "S"]], "ours": on_test[["T", "S"]]}, axis=1).dropna()
    display(beside.round(4))
else:
    print("The paper has no numbers for this data set: notebook 00 has its tables beside our paper-size runs.")

# %%
if popular:
    built = {role: experiments["F", role].model.build(interactions.n_users, interactions.n_items) for role in final}
    size = {role: sum(p.numel() for p in model.parameters()) for role, model in built.items()}
    print(f"On {plan.dataset} the teacher stores {size['T']:,} numbers ({4 * size['T'] / 1e6:.1f} MB), "
          f"the student {size['S']:,} ({4 * size['S'] / 1e6:.1f} MB): {size['S'] / size['T']:.0%}.")
lost = 1 - on_test.loc["MAP", "S / T"]
if lost > 0:
    print(f"For its smaller size the student gives up {lost:.1%} of the teacher's MAP on test.")
else:
    print(f"The student's MAP on test is no worse than the teacher's ({-lost:+.1%}): there is nothing to distil.")

# %% tags=["nbval-check-output"]
print("The better one on test by MAP:", on_test.loc["MAP", ["T", "S"]].idxmax())

# %% [markdown]
# Whether distillation closes the gap is the question of notebook 03.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(list(found.values()), plan.teacher("F", seed).data_hash, seed, started))
