"""BD on MovieLens-100K: two trained models, alone and together.

    python -m studies.followups.bidirectional --seed 1

writes data/replicated/followups/bd-ROLE-dSIZE-seedN.json. T and S are trained alone first. Then every form goes on from
these weights; what S and T reach alone in as many epochs is what it is compared with. The authors' notebook reads the
number of a user's items as an item, and its metrics are off by one (docs/methods/bd.md), so it is not their protocol;
the epochs are far fewer than theirs, too. Nothing is chosen, and the last epoch is evaluated, the test item among all
items that the user does not have.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace

import torch

from rdcore import datasets
from rdcore.data.sampling import stream_seed
from rdcore.distill import BDSettings
from rdcore.eval.leave_one_out import Judge
from rdcore.files import paths
from rdcore.files.whole import write_json
from rdcore.models import BPRMFSettings
from rdcore.store.description import describe
from rdcore.store.environment import environment
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data
from studies.followups.proofs import judged

ALONE = Training(epochs=60, batch_size=256, learning_rate=1e-3, weight_decay=1e-3, negatives=1, reduction="sum")
TOGETHER = replace(ALONE, epochs=20, weight_decay=0.0)
DIMS = {"T": 50, "S": 5}
FORMS = {
    "BD": BDSettings(),
    "BD-released": BDSettings(as_released=True),
    "BD-paper": BDSettings(direction="paper", negatives="uniform"),
    "BD-one-way": BDSettings(teacher_learns=False),
}


def run(seed: int, alone: Training = ALONE, together: Training = TOGETHER, name: str = "ml-100k") -> dict[str, dict]:
    """Role -> record, written as well: T, S, each form's student, and the form's teacher as "FORM (T)"."""
    started, judge = time.perf_counter(), Judge(datasets.load(name))
    data = training_data(judge.fit, 0, "cpu")
    models, found = {}, {}

    def keep(role: str, model, training: Training, method: BDSettings | None) -> None:
        row = {"epoch": training.epochs, **judged(model, judge.test, [], False)}
        state = {"seconds": time.perf_counter() - started, "resumed": 0}
        found[role] = {
            "study": "bd", "role": role, "dim": DIMS["T" if role.endswith("T)") or role == "T" else "S"], "seed": seed,
            "training": describe(training), "method": None if method is None else describe(method),
            "environment": environment("cpu", state), "judged": "test", "chosen": row, "curve": [row],
        }  # fmt: skip
        print(json.dumps({"role": role, **row}), flush=True)

    for role, dim in DIMS.items():
        with seeded(stream_seed(seed, "initialisation"), "cpu"):
            models[role] = BPRMFSettings(dim=dim).build(judge.fit.n_users, judge.fit.n_items)
        train(models[role], data, make_optimizer(models[role], None, alone), alone, seed=seed)
        model = copy.deepcopy(models[role])
        train(model, data, make_optimizer(model, None, together), together, seed=seed + 100)
        keep(role, model, together, None)
    for role, settings in FORMS.items():
        model = copy.deepcopy(models["S"])
        method = settings.build(model, models["T"])
        method.prepare(models["T"], data)
        train(model, data, make_optimizer(model, method, together), together, seed=seed + 100, distillation=method)
        keep(role, model, together, settings)
        if settings.teacher_learns:
            keep(f"{role} (T)", method.partner, together, settings)
    for role, record in found.items():
        file = paths.replicated() / "followups" / f"bd-{role.replace(' ', '')}-d{record['dim']}-seed{seed}.json"
        write_json(file, record)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m studies.followups.bidirectional", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    torch.set_num_threads(1)
    run(parser.parse_args().seed)
