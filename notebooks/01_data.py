# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 The data
#
# Ranking Distillation recommends from *sequences*: who acted on what, and in which order. This notebook brings the data set
# of a profile, checks that it is the published one, cuts it as the paper does, and puts its figures beside the paper's
# Table 1.
#
# | profile | data set | what for |
# |---|---|---|
# | `smoke` | generated sequences | tests, seconds |
# | `small` | MovieLens-100K | everything on a laptop, minutes; **not** in the paper |
# | `paper` | Gowalla check-ins, the authors' own files | the replication |
#
# Change the parameters below and run all cells, or
# `papermill notebooks/01_data.ipynb out.ipynb -p profile paper`.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of the draw of users whose timelines are shown
n_shown: int = 8  # how many timelines

# %%
import inspect
import time

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from rdcore import data, manifest, plots, report
from rdcore.data import interactions as arrays
from rdcore.data.catalog import CATALOG
from rdcore.plans import PROFILES
from rdcore.reported import reported

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "01_data"
plan = PROFILES[profile]
entry = CATALOG[plan.dataset]
print(f"profile {profile}: {entry.title}")

# %% [markdown]
# ## What is fetched, and how we know that it is the right thing
#
# The catalog names every file with its size and sha256, and for Gowalla also the id that git gave to the file in the
# authors' repository. Sources are tried in order (a mirror folder first, if the environment variable `RDCORE_MIRROR` names
# one). None of them is trusted: a file gets its name only after its content was verified, and it is verified again at
# every use.

# %%
files = data.fetch(plan.dataset)
table = pd.DataFrame([
    {
        "file": file.path,
        "bytes": f"{file.size:,}",
        "sha256": file.sha256[:16] + "...",
        "git blob": file.git_blob[:10] or "-",
        "sources": "; ".join(map(str, file.sources)),
    }
    for file in entry.files
])
display(Markdown(table.to_markdown(index=False)) if len(table) else "generated, nothing to fetch")
print("files in place and verified:", len(files))
display(Markdown(f"**Licence.** {entry.licence}\n\n**Cite.** {entry.citation}\n\n**Home.** {entry.homepage or '-'}"))

# %% [markdown]
# ## Interactions
#
# Everything later works on three flat arrays: the items of all users, one user behind the other and oldest first; where
# each user begins; and the times. Items are numbered 0 to n-1. The number n stands for "nothing there" (padding) and is never
# ranked or recommended.
#
# Two decisions are made here, and they are the same for every model:
#
# * **Every rating is an interaction.** MovieLens has stars from 1 to 5; the models only see *that* somebody rated, not how.
# * **Equal times are ordered by item id.** Times are whole seconds, and many people rate a whole page of films at once.
#   Leaving such rows in the order of the file would make the split depend on the file. (The authors' Gowalla files have no
#   times; they are in order already and stay so.)

# %%
interactions = data.load(plan.dataset)
stats = interactions.statistics()
some = slice(int(interactions.offsets[1]), int(interactions.offsets[1]) + 6)
first = {"user": interactions.users(), "position": interactions.positions(), "item": interactions.items}
if interactions.times is not None:
    first["time"] = interactions.times
display(pd.DataFrame({name: column[some] for name, column in first.items()}))

# %%
if interactions.times is None:
    print("The source gives an order, but no times.")
else:
    same_user = np.diff(interactions.users()) == 0
    tied = same_user & (np.diff(interactions.times) == 0)
    print(f"{tied.sum() / same_user.sum():.1%} of successive interactions of a user carry the same time: "
          f"{'the order by item id matters' if tied.sum() > 0.01 * same_user.sum() else 'the rule hardly matters'}.")

# %% tags=["nbval-check-output"]
print(f"{plan.dataset}: {stats['users']} users, {stats['items']} items, {stats['interactions']} interactions")
print("content as described in the catalog:", interactions.sha256() == data.content_hash(plan.dataset))

# %% [markdown]
# ## The split
#
# A recommender is judged by what a user did *next*, so the newest actions are held out, user by user. Of a user's $c$ actions
#
# $$\text{test} = \text{the last } \lfloor 0.2\,c \rfloor, \qquad
#   \text{validation} = \text{the } \lfloor 0.3\,c \rfloor - \lfloor 0.2\,c \rfloor \text{ before them}, \qquad
#   \text{train} = \text{the rest}.$$
#
# Two *stages* use the three parts, and no run ever mixes them. Stage **V** (for choices) fits train and is judged on
# validation. Stage **F** (final) fits train and validation together and is judged on test. In code it is one comparison:

# %%
print(inspect.getsource(arrays._newest))

# %%
parts = data.split(interactions)
rng = np.random.default_rng(seed)
shown = np.sort(rng.choice(interactions.n_users, size=min(n_shown, interactions.n_users), replace=False))
fig = plots.timelines(parts, shown)
plots.save(fig, "01_timelines", profile, [], NOTEBOOK)

# %% [markdown]
# Some consequences have to be handled rather than hoped away. A user with few actions has nothing held out: he is left
# out of the means and counted. An item may occur for the first time in the held-out part: it is *cold*. It keeps its own number,
# is ranked like any other, and counts as missed when it is not found; it is never merged with another item.
# `windows` are the training instances: five items in a row and the one that came next.

# %%
rows = {}
for name in ("V", "F"):
    stage = data.stage(interactions, name)
    rows[name] = {
        "fitted rows": len(stage.fit), "windows": stage.fit.windows(), "held-out rows": len(stage.judge),
        "users judged": stage.judge.n_users - stage.n_unjudged, "users left out": stage.n_unjudged,
        "cold held-out rows": stage.n_cold,
        "cold items": int(((stage.fit.item_counts() == 0) & (stage.judge.item_counts() > 0)).sum()),
    }
counts = pd.DataFrame(rows).rename_axis(columns="stage")
display(counts)

# %%
final = rows["F"]
cold = final["cold held-out rows"] / final["held-out rows"]
print(f"On test, {final['users left out']} of {stats['users']} users are left out, and {cold:.2%} of the held-out rows\n"
      "are items that nobody had in training.")

# %% [markdown]
# ## Beside the paper's Table 1
#
# The paper prints rounded figures. Where the profile's data set is one of the paper's, the difference stands beside them;
# MovieLens is not, so that its figures stand next to Gowalla's for orientation only.

# %%
table1 = reported("rd_table1").pivot(index="metric", columns="dataset", values="value")
quantities = {"users": "users", "items": "items", "actions_per_user": "actions_per_user",
              "training_instances": "windows", "sparsity": "sparsity"}
ours = pd.Series({metric: stats[name] for metric, name in quantities.items()}, name=f"{plan.dataset}, ours")
beside = pd.concat([table1["gowalla"].rename("gowalla, reported").loc[list(quantities)], ours], axis=1)
if plan.dataset in table1:
    difference = ours / table1.loc[list(quantities), plan.dataset] - 1
    beside["ours / reported - 1"] = difference.map("{:+.2%}".format)
beside = beside.map(lambda value: f"{value:.6g}" if isinstance(value, float) else value)
report.write_table(beside.reset_index(names="quantity"), "01_table1", profile, [], NOTEBOOK)
display(beside)

# %%
if plan.dataset in table1:
    worst = difference.abs()
    print(f"The largest difference to Table 1 is {worst.max():.2%} ({worst.idxmax()}), which is "
          f"{'the rounding of the printed figures' if worst.max() < 0.005 else 'MORE THAN ROUNDING'}.")
else:
    print(f"{entry.title}: {ours['users'] / table1.loc['users', 'gowalla']:.1%} of Gowalla's users and "
          f"{ours['actions_per_user'] / table1.loc['actions_per_user', 'gowalla']:.1f} times as many actions each. "
          "What is measured on it says nothing about the paper's numbers.")

# %% [markdown]
# ## Activity and popularity
#
# Both axes are logarithmic: a point says which share of users (items) have at least that many interactions. The long tail on the
# right is why a recommender that always shows the most popular items is an opponent to be beaten, not a joke.

# %%
fig = plots.distributions(interactions)
plots.save(fig, "01_distributions", profile, [], NOTEBOOK)

# %% tags=["nbval-check-output"]
popular = np.sort(interactions.item_counts())[::-1]
top = popular[: len(popular) // 10].sum() / popular.sum()
print(f"The most popular tenth of the items takes {top:.0%} of all interactions.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance([], interactions.sha256(), seed, started))
