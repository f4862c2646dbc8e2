"""Trains Ranking Distillation's released code as a whole, on Gowalla, and keeps its metrics for a column beside ours.

    RDCORE_OFFICIAL=~/checkouts python tests/parity/train_released.py T S RD-position RD-hybrid [--epochs 50] [--folder F]

Models, losses and training loop are theirs, with the settings of distill_caser.py; the loop is called for one epoch after
the other, so that a run can stop and go on. Not theirs are: the draws of negatives and rank samples, made for a whole epoch
at once from the same distribution; the teacher's lists, by one matrix product for each block (without the padding id, which
stands in 2 of 100,000 of their lists); Adam in PyTorch's fused form, which differs by rounding; and the full ranking that
evaluates. Every student is taught by the released teacher of its seed. RD-position is theirs with the switch to hybrid
weights after the last epoch; it asks for one rank sample instead of 100, because nothing looks at them then.

What is finished stands in data/replicated/released.json; what is begun in build/released/<role>-seed<seed>.pt (--folder: in
another place). The same command goes on where it was stopped. One thread needs some 30 minutes of a quiet core for T, 15 for
S, 17 for RD-position and 39 for RD-hybrid.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parity import official, rd  # noqa: E402

from rdcore.data import stage  # noqa: E402
from rdcore.data.sampling import stream, stream_seed, unseen_items  # noqa: E402
from rdcore.datasets import load  # noqa: E402
from rdcore.distill.lists import teacher_lists  # noqa: E402
from rdcore.eval import metrics  # noqa: E402
from rdcore.eval.metrics import evaluate  # noqa: E402
from rdcore.files import paths  # noqa: E402
from rdcore.files.whole import write_json, write_whole  # noqa: E402
from rdcore.train.loop import Training, training_data  # noqa: E402

TEACHER, STUDENT, K, EVALUATED = 100, 50, 10, 10
SAMPLES = {"RD-hybrid": 100, "RD-position": 1}
SWITCH = {"RD-hybrid": 10, "RD-position": 10**6}  # hybrid weights in the epochs above


class Job:
    """One run of the released code: a role and a seed."""

    def __init__(self, role: str, seed: int, data, final, threads: int, folder: Path):
        self.role, self.seed, self.data, self.final = role, seed, data, final
        self.dim, self.threads = TEACHER if role == "T" else STUDENT, threads
        self.folder = folder
        self.file = self.folder / f"{role}-seed{seed}.pt"
        self.state = {"epoch": 0, "history": [], "metrics": [], "seconds": 0.0}

    def lists(self) -> np.ndarray:
        """The lists of the released teacher after its last epoch, kept beside the run."""
        file = self.folder / f"lists-seed{self.seed}.npy"
        if not file.exists():
            of_teacher = self.folder / f"T-seed{self.seed}.pt"
            if not of_teacher.exists():
                raise SystemExit(f"{of_teacher} is missing: train T first")
            teacher = self.as_ours(torch.load(of_teacher, weights_only=True)["model"], TEACHER)
            made = teacher_lists(teacher, self.data, K, "target").items.numpy().astype(np.int64)
            write_whole(file, lambda draft: np.save(draft, made))
        return np.load(file)

    def as_ours(self, weights: dict, dim: int):
        """Our Caser with the weights of theirs, whose tables have a row for the padding id in front."""
        model = rd.build(dim, self.data)
        with torch.no_grad():
            for name, own in rd.views(model).items():
                given = weights[name]
                own.copy_(given[1:].reshape(own.shape) if name.split(".")[0] in rd.PADDED else given)
        return model.eval()

    def train(self, epochs: int) -> None:
        """To ``epochs``, from where an earlier call stopped."""
        training = Training(epochs=1)
        given = None
        if self.role in SAMPLES:
            given = dict(lists=self.lists(), lam=1.0, mu=0.1, alpha=1.0, samples=SAMPLES[self.role], start=0, normalise=False)
        with official.modules(rd.NAME, "train_caser", "distill_caser") as (train_caser, distill_caser):
            kind = distill_caser.DistilledRecommender if given else train_caser.Recommender
            job = self

            class Vectorised(kind):
                def _generate_negative_samples(self, users, interactions, n):
                    drawn = unseen_items(torch.from_numpy(users.ravel()), n, job.data.seen, job.stream(f"draws of {n}"))
                    return drawn.numpy() + 1

            torch.manual_seed(stream_seed(self.seed, "released, initialisation"))
            trainer, train = rd.released(Vectorised, self.data, training, self.dim, self.folder, given, dropout=0.5)
            rates = {name: trainer._optimizer.defaults[name] for name in ("lr", "weight_decay")}
            trainer._optimizer = torch.optim.Adam(rd.network(trainer).parameters(), fused=True, **rates)
            self.resume(trainer)
            while self.state["epoch"] < epochs:
                self.step(trainer, train)

    def stream(self, name: str) -> torch.Generator:
        return stream(self.seed, f"released, {name}", self.state["epoch"] + 1)

    def resume(self, trainer) -> None:
        if self.file.exists():
            saved = torch.load(self.file, weights_only=True)
            self.state = saved["state"]
            rd.network(trainer).load_state_dict(saved["model"])
            trainer._optimizer.load_state_dict(saved["optimizer"])

    def step(self, trainer, train) -> None:
        """One epoch of theirs, evaluated after every tenth, and kept."""
        epoch = self.state["epoch"] + 1
        np.random.seed(stream_seed(self.seed, "released, order", epoch) % 2**32)
        torch.manual_seed(stream_seed(self.seed, "released, dropout", epoch))
        if self.role in SWITCH:
            trainer._dynamic_start_epoch = SWITCH[self.role] - (epoch - 1)  # theirs counts this call's epochs, from 1
        begun = time.process_time()
        loss = rd.losses_of(rd.fitted(trainer, train, self.folder))[0]
        seconds = time.process_time() - begun
        self.state["history"].append({"epoch": epoch, "loss": loss if math.isfinite(loss) else None})
        self.state["seconds"] += seconds
        if epoch % EVALUATED == 0:
            self.state["metrics"].append({"epoch": epoch, **self.measured(rd.network(trainer).state_dict())})
        self.state["epoch"] = epoch
        print(f"{self.role} epoch {epoch}: loss {loss:.4f}, {seconds:.0f} processor seconds", flush=True)
        saved = {"model": rd.network(trainer).state_dict(), "optimizer": trainer._optimizer.state_dict(), "state": self.state}
        write_whole(self.file, lambda draft: torch.save(saved, draft))

    def measured(self, weights: dict) -> dict:
        """Means over users; nothing once the weights are no numbers, as after the overflow of the released loss."""
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            return {"MAP": None}
        found = metrics.mean(evaluate(self.as_ours(weights, self.dim), self.final))
        print("  " + ", ".join(f"{name} {found[name]:.4f}" for name in ("MAP", "P@10", "nDCG@10")), flush=True)
        return found

    def record(self) -> dict:
        """What is kept of it for good."""
        return {
            "role": self.role, "seed": self.seed, "dataset": "gowalla", "model": "Caser", "stage": "F", "dim": self.dim,
            "repository": rd.REPOSITORY, "commit": official.commit(rd.NAME), "epochs": self.state["epoch"],
            "torch": torch.__version__, "threads": self.threads, "processor_seconds": round(self.state["seconds"]),
            "history": self.state["history"], "metrics": self.state["metrics"],
        }  # fmt: skip


def keep(record: dict) -> Path:
    """Puts it into data/replicated/released.json, in the place of the same role and seed."""
    file = paths.replicated() / "released.json"
    kept = json.loads(file.read_text()) if file.exists() else []
    kept = [other for other in kept if (other["role"], other["seed"]) != (record["role"], record["seed"])]
    kept = sorted([*kept, record], key=lambda run: (run["role"], run["seed"]))
    write_json(file, kept)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("roles", nargs="+", choices=["T", "S", *SAMPLES])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=paths.build() / "released", help="for what is begun")
    arguments = parser.parse_args()
    if reason := official.missing(rd.NAME):
        raise SystemExit(reason)
    torch.set_num_threads(arguments.threads)
    final = stage(load("gowalla"), "F")
    data = training_data(final.fit, 5, "cpu", full_windows=True)
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for role in arguments.roles:
        job = Job(role, arguments.seed, data, final, arguments.threads, folder)
        job.train(arguments.epochs)
        if job.state["metrics"]:
            print(f"kept: {keep(job.record())}", flush=True)


if __name__ == "__main__":
    main()
