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
# The paper's second data set, Foursquare, could not be found. A section below prepares other Foursquare check-ins in its
# place, and says why the paper's numbers do not apply to them.
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

from rdcore import data, datasets
from rdcore.data import splits as arrays
from rdcore.datasets.catalog import CATALOG
from rdcore.eval.full_ranking import popularity
from studies.common import manifest, plots, report
from studies.common.profiles import PROFILES
from studies.common.reported import reported

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "01_data"
plan = PROFILES[profile].rd[0]
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
files = datasets.fetch(plan.dataset)
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
# * **Equal times are ordered by chance, not by name.** Times are whole seconds, and many people rate a whole page of films at
#   once. A hash of user, item and time decides which of them comes first. It depends on no label and not on the order of the
#   file. Ordering by item id would look as harmless, but puts the older films of a page into training and the newer ones into
#   the test. The table below shows what that does to the simplest recommender. (The authors' Gowalla files have no times; they
#   are in order already and stay so.)

# %%
interactions = datasets.load(plan.dataset)
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
    final = data.stage(interactions, "F")
    print(f"{interactions.tied():.1%} of the rows carry the time of their user's row before. For {final.n_tied} of "
          f"{stats['users']} users the cut before the test rows lies inside such a tie.")
    rows = pd.DataFrame({"user": interactions.users(), "item": interactions.items, "time": interactions.times})
    orders = {"a hash (the rule here)": interactions, "another hash": data.from_frame(rows, seed=1),
              "item id": data.from_frame(rows.sort_values("item"), ties="file")}
    found = {order: np.nanmean(popularity(data.stage(made, "F"))["AP"]) for order, made in orders.items()}
    display(pd.DataFrame({"MAP of POP, equal times ordered by": found}).round(4))

# %% tags=["nbval-check-output"]
print(f"{plan.dataset}: {stats['users']} users, {stats['items']} items, {stats['interactions']} interactions")
print("content as described in the catalog:", interactions.sha256() == datasets.content_hash(plan.dataset))

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
# Some consequences have to be handled rather than hoped away. A user with few actions has nothing held out: they are left
# out of the means and counted. An item may occur for the first time in the held-out part: it is *cold*. It keeps its own number,
# is ranked like any other, and counts as missed when it is not found; it is never merged with another item.
# `windows` are the training instances: five items in a row and the one that came next.
#
# A split per user also leaks: everybody's newest rows are held out, but not at one date. So a model is trained on what other
# users did after the moment at which it is asked. The papers' splits are like this, and so are the tables here. For a cut at
# one date there is `data.stage_by_date`.

# %%
rows, leaks = {}, {}
for name in ("V", "F"):
    stage = data.stage(interactions, name)
    leaks[name] = stage.leak
    rows[name] = {
        "fitted rows": len(stage.fit), "windows": stage.fit.windows(), "held-out rows": len(stage.judge),
        "users judged": stage.judge.n_users - stage.n_unjudged, "users left out": stage.n_unjudged,
        "cold held-out rows": stage.n_cold,
        "cold items": int(((stage.fit.item_counts() == 0) & (stage.judge.item_counts() > 0)).sum()),
    }
counts = pd.DataFrame(rows).rename_axis(columns="stage")
display(counts)
if interactions.times is not None:
    print(f"Of the training rows of stage F, {leaks['F']:.0%} are later than a test row (mean over test rows).")

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
# ## A second check-in data set
#
# The paper's Foursquare files are not in the authors' repository and were not found elsewhere. `foursquare-nyc` is a
# **stand-in**: check-ins in New York (Yang et al., 2015), as another repository publishes them, with times. The method can
# be tried on it, as on a second set of check-ins; no number of the paper can be replicated. Four steps:
#
# 1. The repository cuts every user's history in two. Its cut is not used: both parts are **put together again**, ordered by
#    time (equal times by the number of the place), and later split like all other data.
# 2. **Re-visits are merged**: a user's first check-in at a place counts, as in the paper's Gowalla files, where no
#    user has an item twice.
# 3. Users with fewer than 5 places and places with fewer than 5 users are **removed, again and again** until nobody is left
#    to remove, because one removal may cause the next. Gowalla's authors kept 15 and more on both sides. What they kept on
#    Foursquare is not known (10, it seems); the last row below shows what 10 would leave of the smaller New York.
#    5 actions are the fewest that always leave a user something to be judged by.
# 4. The numbering starts anew, so that places that are gone are neither drawn nor ranked.
#
# `merge_revisits` and `min_actions` of `datasets.load` change steps 2 and 3. Profile `smoke` shows this section only when the
# files are in place.

# %%
SECOND = "foursquare-nyc"
try:
    datasets.fetch(SECOND, download=profile != "smoke")
    at_hand = True
except data.DataError:
    at_hand = False
    print(f"{SECOND} is not at hand, so its figures are left out (`rdcore fetch {SECOND}` brings it, or says what is missing).")

# %%
least = datasets.FOURSQUARE_MIN_ACTIONS
if at_hand:
    steps = {
        "check-ins, both parts together": datasets.load(SECOND, merge_revisits=False, min_actions=1),
        "re-visits merged": datasets.load(SECOND, min_actions=1),
        f"{least} actions at least: what is used": datasets.load(SECOND),
        "(10 at least: not used)": datasets.load(SECOND, min_actions=10),
    }
    found = {step: loaded.statistics() for step, loaded in steps.items()}
    display(pd.DataFrame([
        {
            "step": step, "rows": f"{s['interactions']:,}", "users": f"{s['users']:,}", "places": f"{s['items']:,}",
            "rows a user": f"{s['actions_per_user']:.1f}", "fewest of a user": s["min_actions_per_user"],
            "fewest of a place": s["min_actions_per_item"],
            "sparsity": "" if step.startswith("check-ins") else f"{s['sparsity']:.2%}",  # of pairs, not of visits
        }
        for step, s in found.items()
    ]).set_index("step"))
    raw, pairs, used, _ = steps.values()
    print("from {:%d %B %Y} to {:%d %B %Y}".format(*pd.to_datetime([raw.times.min(), raw.times.max()], unit="s")))
    print(f"Merging removes {len(raw) - len(pairs):,} rows ({1 - len(pairs) / len(raw):.0%}), the minimum of {least} another "
          f"{len(pairs) - len(used):,} ({1 - len(used) / len(pairs):.0%}), with {pairs.n_users - used.n_users} users and "
          f"{pairs.n_items - used.n_items:,} places.")
    repeated = (np.diff(raw.users()) == 0) & (np.diff(raw.times) == 0) & (np.diff(raw.items) == 0)
    print(f"{repeated.sum()} check-ins repeat another in user, place and second: merging removes them too.")
    second = {name: data.stage(used, name) for name in ("V", "F")}
    print("cold held-out rows: " + ", ".join(f"{s.n_cold / len(s.judge):.1%} on {n}" for n, s in second.items())
          + "; users left out: " + ", ".join(f"{s.n_unjudged} on {n}" for n, s in second.items()))

# %% [markdown]
# **With re-visits kept, nobody is judged.** The task here is to find places that are *new* to the user: his own are not
# ranked, so a re-visit could never be found. `data.stage` therefore refuses such data before anything is trained. The option
# is for statistics, and for models and protocols of your own.

# %%
if at_hand:
    try:
        data.stage(raw, "F")
    except data.DataError as reason:
        print(reason)

# %% [markdown]
# ### NOT comparable: the reported Foursquare
#
# On the left Table 1 as reported, on the right the stand-in: other users, other places, another selection, so there is no
# column of differences. Below it the paper's results on its Foursquare, **as reported**; none of them can be checked here.

# %%
aside = table1["foursquare"].rename("foursquare, reported (RD)").loc[list(quantities)].to_frame()
if at_hand:
    own = used.statistics()
    aside["foursquare-nyc, ours: NOT COMPARABLE"] = [own[name] for name in quantities.values()]
display(aside.map(lambda value: f"{value:.6g}"))

# %%
table2 = reported("rd_table2").query("dataset == 'foursquare'")
claims = table2.pivot(index=["model", "role"], columns="metric", values="value")[list(dict.fromkeys(table2.metric))]
print("RD, Table 2, Foursquare, as reported: not replicated, and not comparable with anything measured on foursquare-nyc")
display(claims.map(lambda value: "" if pd.isna(value) else f"{value:.4f}"))

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
