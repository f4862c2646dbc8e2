"""`rdcore teach` on what `rdcore distil` has trained: data of one's own."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rdcore.data import stage
from rdcore.datasets import synthetic
from rdcore.models import BPRMFSettings
from rdcore.models.base import built
from rdcore.store.lists import read_lists
from rdcore.store.records import Run
from rdcore.store.steady import steady_lists
from studies import cli
from studies.distil.tables import read_clicks

TABLE = ["--user", "who", "--item", "what", "--time", "when"]
QUICK = "--teacher bpr --epochs 1 --dim 2 --teacher-dim 3 --weights 0.1 --seeds 1 --jobs 1".split()


def test_teach_writes_the_lists_of_a_teacher_that_distil_trained(tmp_path, capsys):
    clicks, lists = tmp_path / "clicks.csv", tmp_path / "lists.parquet"
    made = synthetic.generate(n_users=40, n_items=30, min_length=8, max_length=15, seed=1)
    rows = zip(np.repeat(np.arange(40), made.counts()), made.items, made.positions(), strict=True)
    clicks.write_text("who,what,when\n" + "".join(f"u{who},{what},{when}\n" for who, what, when in rows))
    assert cli.main(["distil", str(clicks), *TABLE, "--out", str(tmp_path / "shop"), *QUICK]) == 0
    capsys.readouterr()

    assert cli.main(["teach", str(tmp_path / "shop"), str(lists)]) == 2  # several runs: it names them
    runs = dict(line.split()[::-1] for line in capsys.readouterr().err.splitlines() if line.startswith("  "))
    assert {label.split("-")[1] for label in runs} == {"V", "F"} and len(runs) == 6
    teacher = runs["clicks-F-BPR-T-d3-seed1"]

    for words, said in [
        ([], "give their table with --clicks"),
        (["--clicks", str(clicks), *TABLE, "--min-actions", "9"], "read in this way, is not what run"),
    ]:
        assert cli.main(["teach", teacher, str(lists), *words]) == 2 and said in capsys.readouterr().err
        assert not lists.exists()

    assert cli.main(["teach", teacher, str(lists), "--clicks", str(clicks), *TABLE, "-k", "4", "--licence", "ours"]) == 0
    assert json.loads(pq.read_schema(lists).metadata[b"rdcore"])["licence"] == "ours"
    fit = stage(read_clicks(clicks, "who", "what", "when").clicks, "F").fit
    model = Run(Path(teacher)).restore(built(BPRMFSettings(dim=3), fit))
    assert (read_lists(lists, fit).items == steady_lists(model, fit, 4)).all()
