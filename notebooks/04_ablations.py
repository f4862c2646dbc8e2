# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 Ablations
#
# Ranking Distillation (notebook 03) has seven settings, and its paper (Tang & Wang, KDD 2018) varies three of them in pictures. Here each
# one is varied alone, around the settings of our tables. Then come the differences between the paper's text and its released code, one
# by one; and last the question that a reader of the paper is left with: is it the *teacher* who helps, or would any ten
# additional items do?
#
# All sweeps train on the training part and are judged on **validation** (stage V), because looking at test for every value and reporting the
# best would be a way of fitting to it. The controls at the end are judged on **test**, once, and nothing is chosen by them.
#
# The model is Fossil, the faster of the two that the paper distils; `-p model Caser` runs the same plan with the latter.
# Every value is a run of its own with a key, so that a sweep that was stopped goes on where it was, and a run that two sweeps share is
# trained once. Profile `paper` shows the committed records and trains nothing, unless `recompute` is set; a value without a record is
# listed as not run, and no line is drawn across it. So far the records of paper size are those of the tables and of Caser's controls: no
# sweep has run there. And a limit of the plan: sweeps take the last epoch, taught by T's last one. On Gowalla Fossil is past its best by
# then (it overfits from epoch 10 on), so that there `-p model Caser` is the one to run.

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
model: str = "Fossil"  # Fossil or Caser
seed: int = 1  # of the controls on F; the sweeps on V take 100 more
only: str = ""  # the sweeps to run, such as "K,mu,controls"; empty: all
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import inspect
import time

import pandas as pd
from IPython.display import Markdown, display

from rdcore import data, datasets, distill
from studies.common import earlier, manifest, plots, report
from studies.common.plan import unique
from studies.common.profiles import PROFILES
from studies.common.reported import reported
from studies.rd import ablation_report as reports
from studies.rd import ablations, sweep_plots
from studies.rd import plan as rd

started = time.perf_counter()
plots.use_style()
NOTEBOOK = "04_ablations"
caser, fossil = PROFILES[profile].rd
models = {"Fossil": fossil, "Caser": caser}
if model not in models:
    raise ValueError(f"no plan for model {model!r}; there are: {', '.join(models)}")
plan, values = models[model], rd.values(models[model])
suffixes = {"Fossil": "", "Caser": "_caser"}  # so that one model's pictures do not replace the other's
suffix = suffixes[model]

sweeps = ablations.sweeps(plan, "V", seed + 100)
names = ablations.chosen([*sweeps, "controls"], only)
sweeps = {name: points for name, points in sweeps.items() if name in names}
# Of the committed records both models' controls are shown.
controls = {name: ablations.controls(models[name], "F", seed) for name in (models if profile == "paper" else [model])}
controls = controls if "controls" in names else {}
controlled = [run for runs_of_model in controls.values() for run in runs_of_model.values()]
# T, S and RD as in the tables are the lines that every sweep is compared with.
reference = {"RD": plan.distilled("V", seed + 100), "S": plan.student("V", seed + 100), "T": plan.teacher("V", seed + 100)}
two_seeds = [plan.student("F", seed), plan.student("F", seed + 1)]
wanted = unique([*reference.values(), *ablations.points(sweeps), *controlled, *two_seeds])

print(f"{plan.dataset}, {model}, T d = {plan.models['T'].dim}, S d = {plan.models['S'].dim}; {plan.training.epochs} epochs, "
      f"evaluated every {plan.evaluate_every}\nK = {values.K}, lambda = {values.lam:g}, mu = {values.mu:g}, {values.samples} rank "
      f"samples, hybrid from epoch {values.start_epoch}")
with pd.option_context("display.max_colwidth", None):
    display(reports.plan(sweeps).set_index("sweep"))
print(f"{len(wanted)} different runs, {len(controlled)} controls among them")

# %% [markdown]
# The next cell trains what is missing, `jobs` runs at a time, teachers first.

# %%
given = earlier.records(wanted, profile=profile, recompute=recompute, jobs=jobs, progress=True, optional=True)
found = {run.key: record for run, record in zip(wanted, given, strict=True) if record is not None}
table = reports.table(sweeps, found)
report.write_table(table, f"ablations{suffix}", profile, list(found.values()), NOTEBOOK)
missing = reports.not_run(table)
print(f"{len(found)} of {len(wanted)} runs are on record")
if missing:
    print("not run (`rdcore train --only KEY --publish` with a key of the table adds one):", *missing, sep="\n  ")

# %% [markdown]
# ## What counts as a difference?
#
# There is one seed for each value. Two runs that differ in a setting also differ by chance, and with one seed that
# part cannot be averaged away, only guessed at. Two guesses are at hand. One looks at RD - S on validation over the later half of
# training, where the rise that both share cancels: what still moves is chance. The other is the gap between two students that differ
# in nothing but the seed. The larger of the two is called **the noise** below. The best and the worst of several values
# lie further apart than any two: six values that differ by chance alone spread by more than 3.5 times their typical distance in one sweep of
# twenty. Only a sweep that spans more than that is said to show something.
#
# Even that is a hint: the noise itself is guessed from two differences. And it is that of the training, not of the
# users: another data set may answer otherwise. What a sweep shows should be tried with more seeds before it is believed.

# %%
shown = {role: found.get(run.key) for role, run in reference.items()}
level = {role: reports.last(record) for role, record in shown.items()}
guesses = reports.noise(shown["RD"], shown["S"], [found.get(run.key) for run in two_seeds])
noise = max(guesses.values(), default=float("nan"))
print("MAP on validation:", ", ".join(f"{role} {level[role]:.4f}" for role in shown if shown[role]) or "not run")
print("noise:", ", ".join(f"by {what} {value:.4f}" for what, value in guesses.items()) or "not known without these runs")


def records_of(sweep: str) -> list:
    """The records behind a sweep's picture, its level lines included."""
    keys = [*table.loc[table["sweep"] == sweep, "key"], *(run.key for run in reference.values())]
    return [found[key] for key in dict.fromkeys(keys) if key in found]


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Four decimals, and nothing where there is no record."""
    return frame.map(lambda cell: cell if isinstance(cell, str) else "" if pd.isna(cell) else f"{cell:.4f}")


def show(sweep: str, draw=sweep_plots.curve, base: str | None = None, lines: tuple = ("RD", "S"), **look) -> None:
    """A sweep's picture, its table, and a sentence on it."""
    if sweep not in sweeps:
        print("Left out by the parameter `only`.")
        return
    fig = draw(table, sweep, reference={role: level[role] for role in lines}, floor=noise, **look)
    if fig:
        plots.save(fig, f"04_{sweep.replace(' ', '_')}{suffix}", profile, records_of(sweep), NOTEBOOK)
    values = reports.wide(table, sweep)
    display(filled(values).rename_axis(columns=None))
    if list(values) == ["RD"]:
        print(f"{sweep}: {reports.verdict(values['RD'], noise, base)}")
    else:
        print(f"{sweep}: {reports.gains(table, sweep, noise)}")


# %% tags=["nbval-check-output"]
print("runs planned:", len(wanted))
if shown["T"] and shown["S"]:
    print("On validation the teacher is", "better than" if level["T"] > level["S"] else "not better than", "the student.")

# %% [markdown]
# ## K, the length of the teacher's list
#
# The student takes the teacher's first $K$ items for positives. A longer list carries more of the teacher's opinion, but its later items
# are less and less likely to be right, and every item costs time in each step. With weights that fall as fast as the position weights
# do at $\lambda = 1$, whatever stands behind the fifth place hardly counts, so that one expects little from a longer list. No
# figure over $K$ is known to us from the paper (its full text was not at hand); its code has 10.

# %%
show("K", base=str(values.K), xlabel="K, length of the teacher's list")

# %% [markdown]
# ## Lambda: how far down the list the weight reaches
#
# The position weight is $w^a_r \propto e^{-r/\lambda}$, divided by its sum. A small $\lambda$ puts all weight on the teacher's first item, a
# large one spreads it almost evenly over all $K$. So this sweep goes from "trust the first item only" to the paper's naive scheme of
# equal weights. The paper argues that the top of a list is what users see and what the teacher is most often right about. No
# figure over $\lambda$ is known to us either.

# %%
show("lambda", base=f"{values.lam:g}", xlabel=r"$\lambda$")

# %% [markdown]
# ## Mu: how soon a discrepancy of ranks counts
#
# The second weight is $w^b_r = \tanh(\max(\mu(\hat r - r), 0))$: the lower the student ranks an item than the teacher, the more there is to
# learn about it. $\mu$ says how many ranks are a lot. But the student's rank is an estimate from $S$ sampled items, and can only be a
# multiple of $N/S$ for a catalogue of $N$ items. If already *one* step makes the tanh as good as 1, an item has either no weight or the full one:
# $w^b$ then asks whether any sample beats the item, and $\mu$ has no further influence. For $\tanh \geq 0.99$ that is the case
# from $\mu = 2.65 \cdot S/N$ on. A very small $\mu$ goes the other way: hardly any weight is left once the hybrid has begun, and what remains of
# RD are its first epochs with position weights.

# %%
print(inspect.getsource(distill.Discrepancy.__call__))

# %%
mus = list(plan.sweeps["mu"])
gowalla = int(reported("rd_table1").query("dataset == 'gowalla' and metric == 'items'")["value"].iloc[0])
steps = {f"{gowalla:,} items (Gowalla, rounded as in Table 1)": gowalla / values.samples}
try:
    if plan.dataset != "gowalla":
        items = datasets.load(plan.dataset).n_items
        steps = {f"{items:,} items ({plan.dataset})": items / values.samples} | steps
except data.DataError:
    print("The data set is not here; its steps are left out.")
fig = sweep_plots.saturation(steps, mus)
plots.save(fig, f"04_mu_steps{suffix}", profile, [], NOTEBOOK)
for name, step in steps.items():
    edge = reports.SATURATED / step
    same = [f"{mu:g}" for mu in mus if mu >= edge]
    print(f"{name}, {values.samples} samples: ranks in steps of {step:.3g}; every mu from {edge:.2g} on is one method; "
          f"of this sweep: {', '.join(same) or 'none'}")
display(pd.concat({name: reports.first_steps(mus, step) for name, step in steps.items()}).round(3))

# %%
show("mu", base=f"{values.mu:g}", xlabel=r"$\mu$")
if "mu" in sweeps:
    left = reports.last_weight_sums({value: roles["RD"] for value, roles in sweeps["mu"].items()}, found)
    print("sum of the weights in the last epoch:", "; ".join(f"{mu}: {total:.4f}" for mu, total in left.items() if total == total))

# %% [markdown]
# ## How many samples for a rank?
#
# Ten samples tell little more than whether the student likes an item better than most; a hundred is what the code has; the exact rank needs
# all scores in every step, which for a model whose score is a dot product is one matrix product. More samples make smaller steps, so that
# this sweep also changes from which $\mu$ on the tanh is saturated. If ten do as well as the exact rank, the fine grading of $w^b$ is
# not what matters about it.

# %%
show("rank samples", base=str(values.samples), xlabel="items sampled for the student's rank")

# %% [markdown]
# ## When the hybrid begins
#
# An untrained student ranks at random, and its ranks say nothing. So the first epochs use the position weights alone; the released code
# switches after a fifth of the epochs, the paper "after some iterations". Starting at epoch 1 tests whether that patience is needed, a late start
# how much the hybrid part does at all: the later it begins, the more this is the scheme `RD-position`.

# %%
show("start epoch", base=str(values.start_epoch), xlabel="first epoch with hybrid weights")

# %% [markdown]
# ## The balance of the two losses (the paper's Fig. 6)
#
# The paper minimises $(1-\alpha) L^R + \alpha L^D$: $\alpha = 0$ is the student alone, $\alpha = 1$ only imitates the teacher's lists and never sees a
# negative item, since $L^D$ has none. Figure 6 shows both ends to be bad and the best between about 0.3 and 0.5, as others describe it. The released code adds the two with
# weight 1, which is $\alpha = 0.5$ times two; Adam is nearly indifferent to that factor, so that this point and the tables' RD should
# come close to each other.

# %%
show("loss weight", lines=("RD", "S", "T"), numeric=True, xlabel=r"$\alpha$ (0: ranking loss alone, 1: distillation alone)")
if "loss weight" in sweeps:
    balance = reports.wide(table, "loss weight")["RD"].dropna()
    if {"0", "1"} <= set(balance.index) and len(balance) > 2:
        inside = balance.drop(["0", "1"])
        print(f"The best alpha inside is {inside.idxmax()} ({inside.max():.4f}): {inside.max() - balance['0']:+.4f} beside the "
              f"student alone, {inside.max() - balance['1']:+.4f} beside distillation alone.")

# %% [markdown]
# ## The size of the student (Figs. 4 and 5a)
#
# A larger model ranks better and costs more; that is why one distils at all. The paper's Figures 4 and 5a draw MAP
# over the student's size, alone and distilled. One expects the help to be largest where the student is small but can still follow. T, the teacher of all of them, keeps its size.

# %%
show("student size", lines=("T",), xlabel="d, size of the student's vectors")

# %% [markdown]
# ## The share of the training data (Fig. 4)
#
# With fewer observations a model knows less, and the teacher's opinion might fill the gap: the paper's Figure 4 varies the share. Here a random part
# of the training instances is used, the same for T, S and RD, and a smaller part lies within the larger ones. The teacher has
# to live with the same part: a teacher that had seen more would be helping with data, not with size.

# %%
show("share of data", lines=(), numeric=True, xlabel="share of the training instances")

# %% [markdown]
# ## Over the epochs (Fig. 5b)
#
# The paper's Figure 5b has, as others describe it, a teacher that passes its best after a while and falls, and a distilled student that stays flat, as if the soft
# labels kept it from overfitting. To see that, training must be long enough for the teacher to pass its best; where the best epoch is the
# last one, the picture has nothing to say about it.

# %%
judged = {role: shown[role] for role in ("T", "S", "RD") if shown[role] is not None}
if judged:
    fig = plots.learning_curves(list(judged.values()), judged="validation")
    plots.save(fig, f"04_over_epochs{suffix}", profile, list(judged.values()), NOTEBOOK)
    peaks = reports.over_epochs(judged)
    display(peaks.round(4))
    for role, peak in peaks.iterrows():
        if peak["best epoch"] == peak["last epoch"]:
            print(f"{role} is best at its last epoch: within {peak['last epoch']:.0f} epochs there is no overfitting to be seen.")
        else:
            print(f"{role} is best at epoch {peak['best epoch']:.0f} and loses {peak['lost']:.4f} by epoch {peak['last epoch']:.0f}.")
else:
    print("not run")

# %% [markdown]
# ## The weighting schemes, raw and normalised (Table 4)
#
# The schemes differ in shape, and unless each is divided by its sum, also in size: raw reciprocal weights sum to several times 1,
# raw hybrid ones to a fraction of 1 that shrinks as the student learns. A raw scheme with a large sum thus has a larger $\alpha$ in disguise.
# Comparing the two forms of one scheme separates shape from size; the right column of the picture is the sum of the weights in the
# last epoch. Table 4 of the paper, which is about Caser and test, stands beside our numbers in notebook 00.

# %%
if "weighting" in sweeps:
    sums = reports.last_weight_sums({value: roles["RD"] for value, roles in sweeps["weighting"].items()}, found)
    notes = {value: f"sum {total:.2f}" for value, total in sums.items() if total == total}
    show("weighting", sweep_plots.dots, base="hybrid, raw", lines=("RD", "S", "T"), notes=notes)
    quality = pd.concat({metric: reports.wide(table, "weighting", metric)["RD"] for metric in reports.QUALITY}, axis=1)
    display(filled(quality.assign(**{"sum of weights, last epoch": pd.Series(sums)})))
else:
    print("Left out by the parameter `only`.")

# %% [markdown]
# ## Where paper and code differ
#
# The published numbers come from code that is not quite what the text says (DEVIATIONS.md lists all of it). Each difference that can change
# a number is tried alone, and then all of the paper's ways at once. A row with the same MAP as the released code is one that a reader
# need not worry about; another would mean that the text alone does not suffice to get the published numbers.

# %%
show("paper and code", sweep_plots.dots, base="as released", lines=("RD", "S", "T"))

# %% [markdown]
# ## Is it the teacher?
#
# Every distilled student gets $K$ further positives for each query. Perhaps any plausible ones would do: popular items would teach it what
# is popular, random ones would only calm it down, and the lists of *another student* (same size, other seed) would be an average of two
# opinions without any larger model. And perhaps what helps is just to see more items in a step: hence a student with $K$ further
# negatives. Each of these differs from RD, or from S, in that one thing, with one exception: random lists are drawn, once, from what a user
# has not had at all, while the others leave out the target alone.
#
# This is judged on **test**, once, and nothing is chosen by it. Differences to S are those of the same users; their 95 % intervals come from
# a bootstrap over users and say nothing about other seeds. The share of RD - S that a control has too is what does
# not need the teacher; it is only computed where the interval of RD - S lies above 0. No p-values: this is not one of the tests of the replication.

# %%
for name, planned in controls.items():
    on_record = [found[run.key] for run in planned.values() if run.key in found]
    verdicts, compared = reports.controls(planned, found)
    report.write_table(verdicts, f"controls{suffixes[name]}", profile, on_record, NOTEBOOK)
    display(Markdown(f"**{name}**"), filled(verdicts.drop(columns="key").set_index("control")))
    absent = [control for control, run in planned.items() if run.key not in found]
    print(f"{name}. {reports.attribution(verdicts)}" + (f" Not run: {'; '.join(absent)}." if absent else ""))
    if ablations.TAUGHT in compared:
        users = [found[planned[control].key].per_user()["AP"] for control in (ablations.TAUGHT, "S")]
        fig = plots.differences(compared, (users[0] - users[1]).dropna().to_numpy(), metric="AP", first="RD")
        plots.save(fig, f"04_controls{suffixes[name]}", profile, on_record, NOTEBOOK)
if not controls:
    print("Left out by the parameter `only`.")

# %%
if plan.dataset == "gowalla":
    print("Paper-size runs, one seed for each value.")
else:
    print(f"{plan.dataset} is not one of the paper's data sets, and {plan.training.epochs} epochs are few: these sweeps show how\n"
          "the settings are varied and read, and neither support nor contradict the paper.")

# %% [markdown]
# ## Provenance

# %% tags=["nbval-ignore-output"]
print(manifest.provenance(list(found.values()), reference["T"].data_hash, seed, started))
