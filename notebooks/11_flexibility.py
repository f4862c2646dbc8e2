# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 Any teacher, any student?
#
# **At the end of this notebook you will know** whether distillation works with any pair of models, how much a student gains from
# each of six teachers, whether better teachers give larger gains, and how much of this a single seed can show.
#
# Ranking Distillation "is flexible because it is orthogonal to the choice of ranking models for teacher and student", says its abstract. The
# paper then pairs each model with itself: a large Caser teaches a small Caser, a large Fossil a small Fossil. Here every large model (a teacher **T**)
# teaches every small one (a student **S**). Caser and SASRec are both, so six of the 54 cells pair a model with a smaller one of its kind.
#
# * **Teachers.** *EASE* and *ItemCF* are computed from the data in one step. *LightGCN* smooths vectors over the graph of users and items.
#   *SASRec*, *Fossil* and *Caser* look at the order of a user's last items.
# * **Students.** *BPR-MF*, one vector for each user and item; *Caser*; *SASRec*.
# * **Methods.** *RD-position* (Ranking Distillation with position weights, notebook 03), *RRD* (notebook 07), *RankDistil-C* (notebook 08).

# %% tags=["parameters"]
profile: str = "small"  # smoke, small or paper
recompute: bool = False  # profile paper: train instead of showing the committed records
jobs: int = 2  # runs trained at a time, one thread each

# %%
import time

import pandas as pd
import torch
from torch.nn.functional import logsigmoid

from rdcore import data, datasets
from rdcore.distill import rankdistil, rd, rrd
from rdcore.store import runs
from rdcore.store.agreement import agreement
from rdcore.store.steady import lists_hash, steady_lists
from studies.common import report, style
from studies.flexibility import matrices, plots, results, tables
from studies.notebooks import page

started = time.perf_counter()
NOTEBOOK = "11_flexibility"
style.use_style()
walk = matrices.MATRICES[profile][0]
interactions = datasets.load(walk.dataset)
page.say(f"Data of the walk-through: {walk.dataset}. Teachers: {', '.join(walk.teachers)}. Students: {', '.join(walk.students)}.")

# %% [markdown]
# ## 1. What a method sees of a teacher
#
# The three methods ask a teacher for one thing: a **list** of the items that it ranks highest for a user, best first, without those that the user
# has. *EASE*, *ItemCF* and *LightGCN* give each user one list, made from all items of the user's training data. *SASRec*, *Fossil* and *Caser*
# have a memory: they look at the last items before a moment, and their list changes from moment to moment. A student with a memory learns from the list
# before each training row. BPR-MF cannot tell moments apart; it learns from the list behind the user's last training item. Section 4 shows what
# happens otherwise. Let $y_1, y_2, \dots$ be the *student's* scores of the list's items in the teacher's order, and $\nu$ the student's scores of some items that are not
# on the list. $K$ is the length of the list and $\lambda$ says how fast the weight of a place falls.
#
# $$L_{RD} = -\sum_{k=1}^{K} w_k \log \sigma(y_k), \quad w_k \propto e^{-k/\lambda}, \qquad
# L_{RRD} = -\sum_{k=1}^{K} \log \frac{e^{y_k}}{\sum_{i \ge k} e^{y_i} + \sum_l e^{\nu_l}} .$$
#
# RRD draws its $K$ items from a longer list. RankDistil-C takes the first $K$. It usually draws orders from the teacher's scores; here it
# has the teacher's own order, and its loss has the same form. None of them uses the teacher's vectors, its scores or its size. So the *code* works with any pair of models. Whether the
# student gains is another question.


# %%
def rd_by_hand(y, lam):
    """Student's scores (n, K) in the teacher's order -> the loss of each user (n,)."""
    w = torch.exp(-torch.arange(1, y.shape[1] + 1) / lam)
    return -(w / w.sum() * logsigmoid(y)).sum(1)


def list_by_hand(y, nu):
    """Scores (n, K) in the teacher's order and (n, L) of other items -> the loss of each user (n,): RRD and RankDistil-C."""
    below = [torch.logsumexp(torch.cat([y[:, k:], nu], dim=1), dim=1) for k in range(y.shape[1])]
    return sum(rest - y[:, k] for k, rest in enumerate(below))


torch.manual_seed(1)
y, nu = torch.randn(4, 5), torch.randn(4, 8)
weights = walk.methods["RD-position"].weights
torch.testing.assert_close(rd_by_hand(y, weights.lam), rd.distillation_loss(weights(5, None, 1), y))  # the library's are the same
torch.testing.assert_close(list_by_hand(y, nu), rrd.relaxed_loss(y, nu))
in_order = rankdistil.in_order(5, "cpu")
torch.testing.assert_close(list_by_hand(y, nu), rankdistil.coupled_loss(torch.cat([y, nu], dim=1), in_order))

# %% [markdown]
# EASE and ItemCF are computed, not trained. The same data give the same lists on every machine, so a short hash can identify
# them.

# %% tags=["nbval-check-output"]
fit = data.stage(interactions, "F").fit
computed = {name: teacher.model for name, teacher in walk.teachers.items() if teacher.computed}
hashes = {name: [lists_hash(steady_lists(model.fit(fit), fit, 10))[:12] for _ in range(2)] for name, model in computed.items()}
page.say_lines(f"{name}: lists {first}, computed again {second}" for name, (first, second) in hashes.items())

# %% [markdown]
# How alike are the teachers' lists? Each teacher is trained or computed once. Profile `paper` does it too, because
# weights are not part of the repository (five minutes of one core). The picture shows which share of the first ten items two
# teachers have in common, mean over users; 1 is the same list.

# %%
seed = walk.seeds()[0]
described = {name: walk.teacher(name, "F", seed) for name in walk.teachers}
trained = runs.load_or_train_all(list(described.values()), jobs=jobs, progress=True)
models = {name: run.model(described[name], interactions) for name, run in zip(described, trained, strict=True)}
part = data.stage(interactions, "F")
overlap = pd.DataFrame({a: {b: agreement(models[b], models[a], part)["overlap@10"] for b in models} for a in models})
fig = plots.alike(overlap)
style.save(fig, "11_teachers_alike", profile, trained, NOTEBOOK)

# %% [markdown]
# ## 2. The rules
#
# * Every **cell** is a teacher, a student and a method. Its **gain** is the MAP of the taught student minus that of the student
#   alone, on test items, ranked among all items that the user does not have. Both have the same size, training and epochs, but for the
#   weight decay: the student alone takes the better of two, a taught one has always the same.
# * The epochs are few, so that the whole matrix can be trained in hours; section 3 says how much the students alone still change at the end.
#   Longer training may shrink the gains: in RD's own setting (Caser on Gowalla) that by position weights halves between epoch 10 and epoch 50
#   ([DEVIATIONS](../DEVIATIONS.md#whole-trainings-with-the-released-code)).
# * A method has one weight: the factor of its loss, which is added to the student's own. Each cell tries two weights on
#   *validation* items; the final runs use the better one. The student alone tries two weight decays, so that it has as many
#   chances.
# * Two weights are few: one better than both may lie beyond them. On MovieLens-100K those of BPR-MF were found with EASE and Fossil as
#   teachers, those of Caser with Fossil; those of SASRec, and all of Gowalla, were not looked at before.
# * Teachers did not get equally many trials. On Gowalla Caser has the released code's settings; Fossil the best of seven trials, and the best epoch;
#   EASE and ItemCF their defaults; LightGCN its authors' settings, but batches and rate four times as large and a tenth of the epochs; SASRec the rate and epochs that
#   suit a student of half its size. So the name of a teacher stands for one model with one training. The large SASRec shows it: on test items it
#   is worse than the small one alone.
# * Intervals (95 %) treat users and seeds as random (notebook 05). A trained teacher is trained again for each seed. With one
#   seed, the interval counts only the spread of users and is too narrow.
# * With many cells some intervals exclude 0 by chance: of 54 cells about one on each side of 0. So the tables also count the intervals
#   that remain after Holm's correction (notebook 05).
#
# ## 3. The whole matrix
#
# This section shows committed records, on every profile. First, how many cells of each student are on record: with all their
# trials, with at least one seed, with three.
#
# Then, for each data set, how good the teachers and the students alone are. A teacher may be worse than the student that it
# teaches: compare both halves of the table. A computed teacher is the same with every seed and counts as one. The last column has MAP on
# *validation* items, of one seed. There the models can have another order: a user's validation items are the next tenth of all, the test
# items the fifth after it.
#
# In the picture each panel is a method and a student, each line a teacher. A bar that does not touch 0 is a gain or a loss. Every
# row of panels has its own scale. A filled mark has several seeds, a hollow one a single seed: its interval is over users alone, although another
# seed would give another student.

# %%
recorded = [results.on_record(matrix) for matrix in matrices.MATRICES["paper"]]
page.show(results.progress(recorded))
shown = [found for found in recorded if found.final]

# %%
for found in shown:
    page.say(f"**{found.title}**")
    page.show(tables.quality_alone(found.matrix, found.final, found.teaching, found.tried))
    page.say(results.still_rising(found))
    gains = tables.gains(found.matrix, found.final)
    page.picture(lambda gains=gains: plots.matrix(gains), f"11_matrix_{found.matrix.dataset}", profile, found.records, NOTEBOOK)
    page.folded_table("The same in numbers: gain in %, with its interval", tables.wide(gains))

# %%
for found in shown:
    page.say(f"**{found.title}**")
    page.show(tables.counts(tables.gains(found.matrix, found.final)))
    page.say_lines(results.in_words(found))

# %% [markdown]
# ## 4. When is the teacher asked?
#
# A teacher with a memory can be asked at any moment of a user. BPR-MF has one vector for each user. Were it taught by the lists of every training row,
# all of these lists, also the oldest, would pull at that one vector, and none of them says what comes next now. So the matrix asks once for each user,
# behind the last training item. The table has both ways, from committed records: the gain of BPR-MF in % of its MAP alone, with its interval.
# Each way chose its weight in trials of its own.
#
# Students with a memory are not in the table: with the last list alone they would see what came after their row.

# %%
both = results.by_moment(recorded)
moments = tables.together([tables.moments(every.matrix, last.final, every.final) for last, every in both])
report.write_table(moments, "11_moments", profile, [run for pair in both for found in pair for run in found.records], NOTEBOOK)
for last, every in both:
    page.say(f"**{last.title}**")
    page.show(tables.moments_wide(every.matrix, last.final, every.final))

# %% [markdown]
# ## 5. The same in small
#
# The runs of this profile, trained now where they are missing: on `small` one student, BPR-MF, with one seed. On profile `paper` nothing is trained here.

# %%
here = [results.trained(matrix, jobs=jobs, progress=True) for matrix in results.to_train(profile, recompute)]
own = here or recorded
used = [record for found in own for record in found.records]
gains = tables.together([tables.flexibility(found.matrix, found.final) for found in own])
report.write_table(gains, "flexibility", profile, used, NOTEBOOK)
tried = tables.together([tables.trial_table(found.matrix, found.tried) for found in own])
report.write_table(tried, "11_trials", profile, used, NOTEBOOK)
page.folded_table("All trials", tried)

# %%
for found in here:
    gains = tables.gains(found.matrix, found.final)
    page.picture(lambda gains=gains: plots.matrix(gains), "11_matrix_here", profile, found.records, NOTEBOOK)
    page.show(tables.counts(gains))

# %% tags=["nbval-check-output"]
cells = tables.together([tables.points(found.matrix, found.final, found.teaching) for found in own])
page.say(f"{len(cells)} cells are on record for this profile, from {cells['teacher'].nunique()} teachers.")

# %% [markdown]
# How much does a seed alone change, without any teacher?

# %%
for found in here:
    page.say_lines(results.by_chance(found, jobs=jobs))

# %% [markdown]
# What would one seed have said about the cells that have several? In the table, *better* is an interval above 0, *worse* one
# below 0, and *open* one that contains 0.

# %%
parts = [tables.first_seed_and_all(found.final, tables.gains(found.matrix, found.final)) for found in [*here, *recorded]]
seeds = tables.together(parts)
page.folded_table("One seed and all seeds, cell by cell", seeds)
page.say(results.one_seed_in_words(seeds))

# %% [markdown]
# ## 6. What explains the gains?
#
# Two things may matter:
#
# * the teacher's **lead**: how far its MAP is above that of the student alone, on test items and, in one column, on validation items (one seed, and
#   of both trials of each student the better one);
# * its **difference** from the student: 1 minus the correlation of the two models' average precision over users. It is 0 where
#   both succeed for the same users.
#
# A third thing we noticed only in the results: the teacher's **kind**. SASRec, Fossil and Caser look at the order of a user's
# last items, the other three do not. The table's last columns have the mean gain by teachers of each kind.

# %%
for found in shown or own:
    page.say(f"**{found.title}**")
    cells = tables.points(found.matrix, found.final, found.teaching)
    page.picture(lambda cells=cells: plots.scatter(cells), f"11_explained_{found.matrix.dataset}", profile, found.records, NOTEBOOK)
    validation = tables.validation_points(found.matrix, found.tried)
    page.show(tables.explained(cells, validation), **dict.fromkeys(tables.EXPLAINED, "{:+.2f}"))
    page.say(results.by_quality(found))

# %% [markdown]
# Each row of the table has as many points as there are teachers. Such a correlation describes these few teachers; it is not a
# test. Lead and kind also go together: on MovieLens-100K the three teachers that look at the order are the best three.
#
# The weights set a limit to all of this. Where a student clearly loses, it mostly lost on validation items already, with either weight. A weaker weight
# might not lose; the matrix cannot tell that from a teacher that does not suit its student. The exceptions are students of SASRec, Fossil and ItemCF on
# Gowalla: BPR-MF gained from them on validation items and loses on test items with the same weight. What suits a user's next items need not suit the
# later ones.
#
# ## What you have seen
#
# * A method that needs lists alone works, as code, with every teacher and every student. Whether the student gains depends on
#   the pair.
# * Ask a teacher with a memory behind the user's last item, if the student has none. On MovieLens-100K this gives BPR-MF its largest gains, 10 % to 24 % with
#   RRD and RankDistil-C; asked at every training row, the same teachers give -4 % to +9 %. On Gowalla it halves what BPR-MF loses by SASRec and Fossil; by
#   Caser, position weights give more and RRD less.
# * The gains follow the teacher's lead on the items that count. On Gowalla's test items EASE, LightGCN and the large Caser are ahead of BPR-MF and of
#   Caser, and both gain from them. With RRD and RankDistil-C both lose from the teachers behind them: ItemCF, SASRec and
#   Fossil. On validation items SASRec and Fossil are ahead of BPR-MF, and there it gains from them, too.
# * SASRec is the weakest of the students alone on Gowalla's test items, and the strongest on validation items. With RRD and RankDistil-C it gains 15 % to 25 % from
#   EASE, LightGCN and Caser, and 8 % to 11 % from Fossil, which is hardly ahead of it; with position weights it gains nothing or loses a little. Section 3 counts what is left of all gains and losses after Holm's correction.
# * On MovieLens-100K few single gains are certain: the tables count those left after Holm's correction. With RRD and RankDistil-C, BPR-MF and Caser have
#   larger gains from the three teachers that use the order; with RankDistil-C, Caser becomes worse with the three that ignore it. We saw
#   this pattern after the runs; SASRec, which also uses the order, shows little of it.
# * EASE is computed in a minute, and on Gowalla's test items it is ahead of Caser, the teacher of the paper; so is LightGCN. A small Caser gains
#   about as much from EASE as from a large Caser, and more from LightGCN.
# * One seed finds more gains than three, because its interval leaves out how much seeds differ.
#
# ## Provenance

# %% tags=["nbval-ignore-output"]
every = [*trained, *used, *(record for found in shown for record in found.records)]
page.provenance(every, walk.teacher("EASE", "F", 1).data_hash, seed, started)
