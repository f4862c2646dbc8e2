"""docs/open.md: what was planned and is not done, and why; written from the plans and the committed records."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import pandas as pd

from rdcore.files import paths
from rdcore.store.experiment import Experiment
from rdcore.store.publish import is_committed
from studies import plans
from studies.common import cost, text
from studies.common.profiles import PROFILES
from studies.derrd.plan import all_runs as derrd_runs
from studies.distil.whole import run_store
from studies.flexibility.matrices import GOWALLA
from studies.flexibility.results import on_record, progress
from studies.flexibility.study import runs as matrix_runs
from studies.followups import missing
from studies.followups.plan import runs as later_runs
from studies.one_protocol.plan import all_runs as one_protocol_runs
from studies.rd import released
from studies.rd.ablations import control_runs, sweep_runs
from studies.rd.plan import baselines, choices_of, fixed_runs, runs_of, trials, tuned_fossil
from studies.rd.recipes import recipe_runs

HEAD = """# Not complete

What was planned and is not done, and why. `rdcore readme` writes this page from the plans and the committed records, and a
test compares it. Where no other reason is given, it is time: a run takes minutes to hours of one core. Most
records were made on two cores, some on a GPU.

What does not replicate is in [DEVIATIONS.md](../DEVIATIONS.md#what-does-not-replicate-or-not-yet), every claim with its
verdict in [results.md](results.md).
"""
PROOFS = """## Proofs of the later methods

Published curves and tables, on the authors' splits and with their settings as far as they are known ([cards](methods/ftd.md),
[numbers](results.md#the-later-methods)). {there} of {planned} runs of a, c and d are on record, each with one seed. A run's
seconds are its own, on a CPU that was not quiet. Of a missing run they are estimated: from another run of the method in the
study, or *by its steps*: those of a relative times the ratio of both methods' steps in
[parity.md](../figures/tables/parity.md), and the rest of its time, as if both took equally many epochs. The same
command goes on after an interrupt. It trains the teacher first where the weights are gone. BD's forms (two seeds each) are
complete.
"""
PARTS = """## Parts that are missing

| what | state, and why | command |
|---|---|---|
{rows}
"""
RUNS = """## Runs of the store

`rdcore train --list --only PATTERN` names them one by one, with a pattern such as `gowalla-F-RD-position`;
`rdcore train --only PATTERN --publish` trains them, and goes on after an interrupt. A run that several lines need is counted
in the first. Caser's records of revision 1, which tables read until those of revision 2 are there, do not count.
"""
ENDS = "What depends on a choice that is not made yet is not counted."
TOO_LOW = "The estimate of a method without a record is too low where its steps cost more than those of the records."


def groups() -> dict[str, Sequence[Experiment]]:
    """What is asked -> its runs of paper size."""
    caser, fossil = PROFILES["paper"].rd
    choices, tried = choices_of("paper"), trials(caser, fossil)
    return {
        "1. RD, Caser, 50 epochs: T, S and six weightings, five seeds": fixed_runs(caser),
        "2. other recipes of RD: before the release, later switches": recipe_runs(caser),
        "3. RD, Caser, protocol `validation`": runs_of(caser, choices),
        "4. ablations of RD, Caser": sweep_runs(caser),
        "5. controls of RD, Caser": control_runs(caser),
        "6. Fossil: trials, tables": [*tried["Fossil"], *tuned_fossil(caser, fossil), *runs_of(fossil, choices)],
        "7. DE-RRD": derrd_runs("paper"),
        "8. BPR-MF, ItemCF and POP of RD's Table 2": [*tried["BPR"], *baselines(caser, "F", caser.seeds["F"][0]).values()],
        "9. all methods under one protocol": one_protocol_runs("paper"),
        "10. the later methods (IR-RRD; FTD and HTD with three seeds)": later_runs("paper"),
        "11. any teacher, any student": matrix_runs("paper"),
        "12. ablations and controls of RD, Fossil": [*sweep_runs(fossil), *control_runs(fossil)],
    }


def runs_left() -> pd.DataFrame:
    """A row for each group: its runs, how many are on record and left, and an estimate of those."""
    known, seen, rows = cost.on_file(), set(), []
    for name, runs in [*groups().items(), ("13. others", plans.all_runs("paper"))]:
        own = {run.key: run for run in runs if run.key not in seen}
        seen |= own.keys()
        if not own:
            continue
        left = [run for run in own.values() if not is_committed(run)]
        hours = [cost.core_hours(run, known) for run in left]
        said = f"{sum(one or 0 for one in hours):.1f}" if any(hours) else "unknown"
        if any(hours) and None in hours:
            said += f", without {hours.count(None)} of which nothing is known"
        rows.append({"runs": name, "planned": str(len(own)), "on record": str(len(own) - len(left)), "left": str(len(left)),
                     "core-hours left": said if left else ""})  # fmt: skip
    return pd.DataFrame(rows)


def parts() -> list[tuple[str, str, str]]:
    """What is missing as a whole: what, state and reason, command. Lines of what has been done since are left out."""
    tables = paths.figures() / "tables"
    published = pd.read_csv(tables / "published.csv")
    found = []
    minutes = {"SASRec-gbce": 35, "SASRec-ce": 105}
    if left := [model for model in minutes if model not in set(published["model"])]:
        found.append((
            f"{' and '.join(left)} on Amazon Beauty, full ranking",
            f"not trained; about {sum(minutes[model] for model in left)} minutes of one core. "
            "Golden values and the model's form are tested",
            f"`python -m benchmarks.published {' '.join(left)}`",
        ))  # fmt: skip
    if (complete := progress([on_record(GOWALLA)])["with three seeds"].sum()) < len(GOWALLA.cells):
        found.append((
            "the matrix of teachers and students on Gowalla",
            f"runs with all seeds are on record for {complete} of {len(GOWALLA.cells)} cells; see 11 below",
            "`rdcore train --list --only gowalla`",
        ))  # fmt: skip
    minutes = {"T": 30, "S": 15, "RD-position": 17, "RD-hybrid": 39}
    trained = {run["role"] for run in released.runs()}
    if left := [role for role in minutes if role not in trained]:
        again = "T" not in left and left != ["S"]
        wanted = ["T", *left] if again else left
        found.append((
            f"the released code of RD as a whole: {', '.join(left)}",
            f"no record; about {sum(minutes[role] for role in wanted)} minutes of a quiet core"
            f"{', with T again, whose weights are not kept' if again else ''}, and a checkout of that code. [What is "
            "known](../DEVIATIONS.md#whole-trainings-with-the-released-code) comes from an earlier run by hand",
            f"`python tests/parity/train_released.py {' '.join(wanted)}`",
        ))  # fmt: skip
    return [
        *found,
        ("DLLM2Rec, Fit, FreqD, PCKD, VkD", "no run of paper size is planned ([notebook 12](../notebooks/12_followups.ipynb) "
         "trains them small), so that the effect of DLLM2Rec's `as_released` is not measured. Its published tables rest on "
         "early stopping by the test items; of the others no number could be read as text", ""),
        ("GRU4Rec", "not built: optional. Its authors train sessions side by side and carry the hidden "
         "state from step to step; here a training row is a prefix by itself, so it needs a loop of its own", ""),
        ("PHR", "not built: no code of the authors was found, and a network writes the map of every user and item: some 32 "
         "TFLOP an epoch on CiteULike, too much without a GPU", ""),
        ("CCD", "not built: data come in blocks, and the student teaches back. It needs a loop over blocks that the run store "
         "cannot describe. The loss of its first stage is IR-RRD's with `interesting=\"top\"` ([card](methods/ir_rrd.md))", ""),
    ]  # fmt: skip


def page() -> str:
    """docs/open.md. Runs that are finished here and not committed make no difference."""
    there, planned = missing.counts()
    rows = "\n".join(f"| {' | '.join(row)} |" for row in parts())
    proofs = PROOFS.format(there=there, planned=planned) + "\n" + missing.section() + "\n"
    with tempfile.TemporaryDirectory() as empty, run_store(Path(empty)):
        table = text.markdown(runs_left())
    ends = fill(f"{ENDS} {cost.RESTS_ON} {TOO_LOW}", 126)
    return "\n".join([HEAD, proofs, PARTS.format(rows=rows), RUNS, f"{table}\n", f"{ends}\n"])
