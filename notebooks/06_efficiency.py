# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 What a small model saves
#
# Distillation costs time once, in training. What it is for comes afterwards: a model with half the numbers to keep in memory and
# to multiply at every request. Table 3 of Ranking Distillation (Tang & Wang, KDD 2018) reports both, the number of parameters and
# the seconds to make a recommendation list for every user. The student needs half of the parameters, and on
# the authors' CPU about half of the time (.48 to .61; .57 to .81 on their GPU).
#
# Here both are measured again, for the paper's two models at the paper's sizes: Caser with $d = 100$ and $50$, Fossil with $d = 50$
# and $20$. What a model has learnt plays no part in how long it takes, so these are fresh models with random numbers, built from a
# seed; T stands for the teacher's size, RD for the student's.
#
# Profile `paper` shows the committed measurement at Gowalla's size and times nothing, unless `recompute` is set, which
# replaces it; the other profiles measure on this machine.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
seed: int = 1  # of the random numbers in the models
repeats: int = 20  # rounds that count
warmup: int = 3  # rounds before them, which do not
queries: int = 50  # single queries timed in a round
recompute: bool = False  # profile paper: measure anew and replace the committed measurement
note: str = ""  # kept with the measurement, for instance that the machine was busy

# %%
import inspect
import time

import pandas as pd
from IPython.display import Markdown, display

from studies.common import manifest, plots, report
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.rd import efficiency, result_plots, timing

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "06_efficiency"
plan = PROFILES[profile].rd[0]
for model, pair in efficiency.PAIRS.items():
    print(f"{model}: d = {pair['T'].dim} (T) and {pair['RD'].dim} (RD)")

# %% [markdown]
# ## Memory
#
# Nearly all parameters are vectors of users and items, so that a model's size grows linearly with $d$. The official code gives the
# padding id a row in every table, even a score; here it has a row of zeros in the input table and none elsewhere. That row
# and its score explain the whole difference to the printed counts:

# %%
GOWALLA = {"n_users": 13_149, "n_items": 14_009}
table3 = reported("rd_table3").query("dataset == 'gowalla'")
printed = table3.query("quantity == 'parameters'").set_index(["model", "role"])["value"]
printed_ratio = table3.query("quantity == 'parameter_ratio'").set_index("model")["value"]
sizes = {}
for name, pair in efficiency.PAIRS.items():
    for role, settings in pair.items():
        model = settings.build(**GOWALLA)
        sizes[name, role] = {
            "stored here": timing.parameters(model),
            "with the padding row": timing.parameters_with_padding(model),
            "printed in Table 3": printed[name, role],
            "bytes here": timing.stored_bytes(model),
        }
sizes = pd.DataFrame(sizes).T.astype(int)
display(sizes.rename_axis(["on Gowalla", "role"]).map("{:,}".format))

# %% tags=["nbval-check-output"]
for name in efficiency.PAIRS:
    teacher, student = (sizes.loc[(name, role), "with the padding row"] for role in ("T", "RD"))
    here = sizes.loc[(name, "RD"), "stored here"] / sizes.loc[(name, "T"), "stored here"]
    agree = f"{student / teacher:.1%}" == f"{printed_ratio[name]:.1%}"
    print(f"{name}: {student:,} / {teacher:,} = {student / teacher:.1%}, {'as printed' if agree else 'NOT as printed'}; "
          f"without the padding row {here:.1%}.")

# %% [markdown]
# ## Time
#
# A printed time can mean many things: with or without the exclusion of seen items, with a list of ten items or a sorted catalogue,
# vectorised or user by user. So, in one sentence:

# %%
display(Markdown(timing.TIMED))

# %%
print(inspect.getsource(timing.top_lists))

# %% [markdown]
# The paper's seconds come from another machine and other code; only the ratio student / teacher can be compared. Teacher and
# student take turns: in every round each answers the same single queries, then the two make the lists of all users,
# block by block in turn. So whatever else the machine does in the meantime hits both. The first rounds warm up and are dropped, all others are kept; each
# round gives one ratio, of which the median counts. Its 95 % interval follows from the order of the rounds alone.

# %%
if profile == "paper" and not recompute:
    record = efficiency.committed()
else:
    measure = efficiency.measure_and_record if profile == "paper" else efficiency.measure_pairs
    record = measure(plan.dataset, repeats=repeats, warmup=warmup, queries=queries, seed=seed, note=note, progress=True)
print(record.summary())

# %% [markdown]
# `latency_ms` is one query's time, `lists_seconds` that of the lists of all users: medians over the rounds, with their standard
# deviation in the file. Ratios are medians of the rounds' own ratios.

# %%
table = efficiency.rd_table3(record)
report.write_table(table, "rd_table3", profile, [record], NOTEBOOK)
display(efficiency.side_by_side(table))

# %% [markdown]
# ## Student beside teacher
#
# Left: the ratios, every round a tick. Right: where the seconds go. To *encode* a query means to make its vector from the user's
# last items; to *score* is one matrix product with all items; to *select* leaves out the seen items and picks the ten best. The first two
# shrink with $d$, the last does not.

# %%
fig = result_plots.efficiency(record.ratios(), record.parts())
plots.save(fig, "06_efficiency", profile, [record], NOTEBOOK)

# %% [markdown]
# ## About half?
#
# "About half" needs an end before it can be tested. We let it end at the largest ratio that the paper itself reports on the same
# kind of device, over both models and both data sets: the claim *holds* when our whole interval lies at or below that, it *does not hold*
# when the interval lies above, and is *open* in between.
#
# Taking turns cancels what slows both models in proportion, but not what a busy machine adds to either of them, such as caches that
# have to be filled again. That moves the ratio towards 1. So a measurement from a busy machine can confirm the claim and cannot
# refute it: where it would, the claim stays open.

# %%
for device in record.devices:
    print(f"\"About half\" ends at {efficiency.largest_reported(device):.2f} on {device}.")
    for model in record.models:
        print(efficiency.verdict(record, model, device))

# %%
if profile == "paper":
    print("This is the measurement that counts for the claim, taken on a", "quiet machine." if record.quiet else "busy machine.")
elif efficiency.is_committed():
    print(f"The measurement above was taken on a {'quiet' if record.quiet else 'busy'} machine.")
    print(f"{record.dataset} has few items, so that what does not depend on d weighs more than at the paper's size.\n"
          "The committed measurement at Gowalla's size says:")
    at_size = efficiency.committed()
    for device in at_size.devices:
        for model in at_size.models:
            print(efficiency.verdict(at_size, model, device))

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance([], record.content["data_hash"], seed, started))
print(record.summary())
