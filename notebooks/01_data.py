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
# **At the end of this notebook you will know** what a recommender is trained and tested on here, how each user's actions are cut into
# training and test, and two details of that cut that a reader of its numbers should know: actions at the same time, and training data
# that is newer than test data.
#
# The data are *sequences*: who acted on what, in which order.
#
# | profile | data set | what for |
# |---|---|---|
# | `smoke` | generated sequences | tests; seconds |
# | `small` | MovieLens-100K | everything on a laptop; minutes; **not** in the paper |
# | `paper` | Gowalla check-ins, the authors' own files | the replication of Ranking Distillation |

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of the draw of users whose timelines are shown
n_shown: int = 8  # how many timelines

# %%
import time

import numpy as np
import pandas as pd

from rdcore import data, datasets
from rdcore.data import Interactions
from rdcore.datasets.catalog import CATALOG
from rdcore.datasets.statistics import statistics, windows
from rdcore.eval import metrics
from studies.common import plots, report, style
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.notebooks import page, pictures

started = time.perf_counter()
style.use_style()
NOTEBOOK = "01_data"
plan = PROFILES[profile].rd[0]
entry = CATALOG[plan.dataset]
page.say(f"**{entry.title}.** Licence: {entry.licence}. Cite: {entry.citation}.")

# %% [markdown]
# ## 1. Fetched and checked
#
# Each file is known by its size and its SHA-256 hash, and it is checked at every use, so it does not matter who delivers it.

# %%
files = datasets.fetch(plan.dataset)
listed = pd.DataFrame({"file": [file.path for file in entry.files], "bytes": [f"{file.size:,}" for file in entry.files],
                       "sha256": [file.sha256[:16] + "..." for file in entry.files]})  # fmt: skip
page.show_or_note(listed if files else None, "generated data have no files")

# %% [markdown]
# ## 2. Interactions
#
# An **interaction** is one user, one item, one time. MovieLens has stars from 1 to 5; the models only see *that* somebody rated a film.
# Users and items get numbers from 0. Everything is kept in three flat arrays: the items of all users, one user after the other and
# oldest first; the place where each user begins; and the times.

# %%
interactions = datasets.load(plan.dataset)
names = page.item_names(interactions)
one = int(interactions.counts().argmin())  # the user with the fewest interactions
rows = slice(int(interactions.offsets[one]), int(interactions.offsets[one]) + 6)
times = interactions.times if interactions.times is not None else np.zeros(len(interactions), int)
page.show(pd.DataFrame({"user": one, "item": interactions.items[rows], "name": names[interactions.items[rows]],
                        "time in seconds": times[rows]}))  # fmt: skip

# %% tags=["nbval-check-output"]
stats = statistics(interactions)
page.say(f"{stats['users']:,} users, {stats['items']:,} items, {stats['interactions']:,} interactions.",
         "They are the catalogue's:", str(interactions.sha256() == datasets.content_hash(plan.dataset)))

# %% [markdown]
# ## 3. Training, validation, test
#
# A recommender should find what a user does *next*. So each user's newest actions are held out. Of a user's $c$ actions
#
# * **test** is the last $\lfloor 0.2\,c \rfloor$,
# * **validation** the $\lfloor 0.3\,c \rfloor - \lfloor 0.2\,c \rfloor$ before them,
# * **train** the rest.

# %%
parts = data.split(interactions)

c = interactions.counts()[interactions.users()]  # the user's number of actions, for each row
from_the_end = c - interactions.positions()  # 1: the user's newest action
assert np.array_equal(interactions.items[from_the_end <= 2 * c // 10], parts.test.items)  # the library's cut is the same
assert np.array_equal(interactions.items[from_the_end > 3 * c // 10], parts.train.items)

users = np.random.default_rng(seed).choice(interactions.n_users, size=min(n_shown, interactions.n_users), replace=False)
fig = plots.timelines(parts, np.sort(users))
style.save(fig, "01_timelines", profile, [], NOTEBOOK)

# %% [markdown]
# Two **stages** use the three parts. Stage **V** is for choosing settings: models learn from train and are measured on validation. Stage
# **F** gives the final numbers: models learn from train and validation, and are measured on test. An item that occurs for the first time
# in the held-out part is *cold*; no model of this kind can find it. `windows` are training examples: five items in a row and the next.

# %%
counts = {}
for name in ("V", "F"):
    stage = data.stage(interactions, name)
    counts[name] = {"learnt from": len(stage.fit), "windows": windows(stage.fit), "held out": len(stage.judge),
                    "users without held-out items": stage.n_unjudged, "cold held-out items": stage.n_cold}  # fmt: skip
page.show(pd.DataFrame(counts).rename_axis("stage").reset_index())

# %% [markdown]
# ## 4. What happens at the same second
#
# People rate a whole page of films at once, so many rows of a user have the same time. Which of them is "later", and so becomes a
# test row? If ties were broken by the number of the item, the test would prefer items with high numbers. In MovieLens those are
# the rarer films, so the numbers of a method would depend on how much it likes popular films. Here ties are broken by a hash of
# user, item and time, which favours nobody. The next table breaks them in three ways and measures *popularity*, which shows
# everybody the most popular items.

# %%
same_user = np.diff(interactions.users()) == 0
tied = same_user & (np.diff(times) == 0)
last_fitted = interactions.offsets[1:] - 2 * interactions.counts() // 10 - 1  # each user's last row before the test rows
inside = tied[np.minimum(last_fitted, len(tied) - 1)]


def tied_by(key: np.ndarray) -> Interactions:
    """The same rows, with ties in time broken by a key."""
    order = np.lexsort((key, times, interactions.users()))
    return Interactions(interactions.name, interactions.items[order], interactions.offsets, interactions.n_items)


def popularity(version: Interactions) -> float:
    """MAP (mean average precision, notebook 02) of showing everybody the most popular items."""
    return metrics.mean(metrics.popularity(data.stage(version, "F")))["MAP"]


has_times = interactions.times is not None  # without times the source's order is used, and nothing is tied
ties = pd.DataFrame({
    "ties broken by": ["a hash, as here", "item number, ascending", "item number, descending"],
    "MAP of popularity": [popularity(version) for version in (
        interactions, tied_by(interactions.items), tied_by(-interactions.items))],
})  # fmt: skip
page.show_or_note(ties if has_times else None, f"{plan.dataset} has an order but no times")

# %%
page.say(f"{tied.sum() / len(interactions):.0%} of the rows have the time of the row before.",
         f"For {inside.mean():.0%} of the users the cut between training and test falls inside such a tie.", when=has_times)

# %% [markdown]
# ## 5. What a cut for each user leaks
#
# The cut is made user by user. So a model may learn from what one user did in March and be tested on what another did in January:
# it may know about a film before it came out. The papers do it this way, and so does the replication; a cut by one date for all
# users would be stricter. How much this adds to the numbers is not measured here.

# %%
newer = np.searchsorted(np.sort(times[from_the_end <= 2 * c // 10]), times[from_the_end > 3 * c // 10]).mean()
newer = newer / len(parts.test)
fig = pictures.calendar({name: part.times for name, part in (("train", parts.train), ("test", parts.test))}) if has_times else None
page.save_if(fig, "01_calendar", profile, NOTEBOOK)

# %% tags=["nbval-check-output"]
page.say(f"Take a training row and a test row at random: in {newer:.0%} of the cases the training row is the newer one.", when=has_times)

# %% [markdown]
# ## 6. Next to the paper's Table 1
#
# The paper prints rounded figures. MovieLens is not in the paper; its figures are shown for orientation.

# %%
table1 = reported("rd_table1").pivot(index="metric", columns="dataset", values="value")
quantities = {"users": "users", "items": "items", "actions_per_user": "actions_per_user",
              "training_instances": "windows", "sparsity": "sparsity"}  # fmt: skip
compared = pd.DataFrame({
    "quantity": list(quantities),
    "gowalla, paper": [f"{table1.loc[quantity, 'gowalla']:.6g}" for quantity in quantities],
    f"{plan.dataset}, here": [f"{stats[name]:.6g}" for name in quantities.values()],
})  # fmt: skip
report.write_table(compared, "01_table1", profile, [], NOTEBOOK)
page.show(compared)

# %% [markdown]
# ## 7. Few are active, few are popular
#
# Each point of the next picture says which share of the users (or items) has at least that many interactions. Both axes are
# logarithmic. The few popular items on the right are the reason why showing everybody the most popular items finds so much, and
# why every model has to be compared with that.

# %%
fig = plots.distributions(interactions)
style.save(fig, "01_distributions", profile, [], NOTEBOOK)

# %% tags=["nbval-check-output"]
popular = np.sort(interactions.item_counts())[::-1]
page.say(f"The most popular tenth of the items has {popular[: len(popular) // 10].sum() / popular.sum():.0%} of all interactions.")

# %%
favourites = np.argsort(-interactions.item_counts())[:5]
page.say("The most popular items: " + "; ".join(names[favourites]) + ".")

# %% [markdown]
# ## 8. The paper's second data set
#
# The paper also has Foursquare check-ins, whose files could not be found. `foursquare-nyc` is a **stand-in**: check-ins in New
# York (Yang et al., 2015) with times. Its numbers cannot be compared with the paper's. It is prepared in three steps: a user's
# first check-in at a place counts; users and places with fewer than five are removed, again and again until all have five; users
# and places are numbered again.

# %%
steps = page.preparation("foursquare-nyc", download=profile != "smoke")
page.show_or_note(steps, "`rdcore fetch foursquare-nyc` brings the files")

# %% [markdown]
# ## What you have seen
#
# * Each user's newest fifth is the test, and settings are chosen on the tenth before it.
# * In MovieLens rows with equal times are common; a rule that follows the item's number changes the result of popularity.
# * A cut for each user lets a model learn from the future of other users; the papers accept that.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
page.provenance([], interactions.sha256(), seed, started)
