"""Further negatives that the student ranks high: which they are, what they change, and that nothing else does."""

from dataclasses import replace

import pytest
import torch

from rdcore.data.sampling import stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch
from rdcore.distill.base import Distillation
from rdcore.models import CaserSettings, FossilSettings
from rdcore.store.experiment import Experiment
from rdcore.store.runs import load_or_train
from rdcore.train.loop import Training, batch_loss, make_optimizer, seeded, train, training_data
from studies.rd.guided import GuidedNegativesSettings, hardest

DATA = training_data(synthetic.generate(n_users=12, n_items=40, min_length=8, max_length=14), 5, "cpu", full_windows=True)


def model(settings=None):
    with seeded(3, "cpu"):
        return (settings or CaserSettings(dim=4)).build(12, 40)


def prepared(student, **settings) -> Distillation:
    guided = GuidedNegativesSettings(**settings).build(student, None)
    guided.prepare(None, DATA)
    guided.begin_epoch(student, 1, 1, stream(1, "distillation", 1))
    return guided


def batch(*rows: int) -> Batch:
    index = torch.tensor(rows)
    return Batch(index, DATA.queries[index], DATA.target[index], torch.zeros((len(rows), 3), dtype=torch.long))


@pytest.mark.parametrize("settings", [CaserSettings(dim=4), FossilSettings(dim=4)], ids=["Caser", "Fossil"])
def test_they_are_the_students_best_of_a_sample_of_unseen_items(settings):
    student = model(settings)
    student.train()
    given, guided = batch(0, 5, 9), prepared(student, K=4, samples=4000)
    found = guided.negatives(given)
    assert student.training, "as it was"
    assert found[:, :3].equal(given.negatives) and found.shape == (3, 7) and not found.requires_grad
    student.eval()
    scores = student.score_all(student.encode(given.queries))
    row, item = DATA.seen.of(given.queries.user)
    scores[row, item] = -torch.inf  # of 4,000 draws among 40 items each unseen one is among them
    best = scores.argmax(1)
    assert all(best[i] in found[i, 3:] for i in range(3)) and not DATA.seen.contains(given.queries.user, found[:, 3:]).any()


def test_the_best_are_taken_by_score():
    scores, items = torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]]), torch.tensor([[4, 5, 6], [7, 8, 9]])
    assert hardest(scores, items, 2).tolist() == [[5, 6], [9, 7]]


def test_the_loss_is_the_base_loss_with_more_negatives_and_has_no_parameters():
    student, given = model(), batch(0, 5, 9)
    student.eval()
    guided = prepared(student, K=2, samples=10)
    base, added = batch_loss(student, guided, given, 0, "mean")
    more = prepared(student, K=2, samples=10).negatives(given)
    alone, _ = batch_loss(student, None, Batch(given.index, given.queries, given.target, more), 0, "mean")
    torch.testing.assert_close(base, alone)
    assert added == 0 and list(guided.parameters()) == []


def test_a_run_of_it_has_no_teacher(tmp_path, monkeypatch):
    """Its record says so, and no teacher is trained for it."""
    monkeypatch.setenv("RDCORE_RUNS", str(tmp_path))
    data = synthetic.generate(n_users=12, n_items=40, min_length=8, max_length=14)
    plain = Experiment(dataset="mine", data_hash=data.sha256(), stage="V", role="S", model=CaserSettings(dim=4),
                       training=Training(epochs=2, batch_size=32), evaluate_every=2)  # fmt: skip
    guided = replace(plain, role="S-guided", distillation=GuidedNegativesSettings(K=2, samples=10))
    run, alone = load_or_train(guided, data), load_or_train(plain, data)
    assert run.description["teacher"] is None and run.agreement is None and len(list(tmp_path.glob("*/DONE"))) == 2
    assert run.history["loss"].tolist() != alone.history["loss"].tolist() and not run.history["distillation_loss"].any()
    assert torch.isfinite(run.model(guided, data).item_factors.weight).all()
    with pytest.raises(ValueError, match="GuidedNegativesSettings asks no teacher: leave teacher and teacher_epoch out"):
        replace(guided, teacher=plain, teacher_epoch=2)


def test_a_student_trains_with_them():
    student = model()
    settings = Training(epochs=3, batch_size=32, learning_rate=1e-2)
    guided = GuidedNegativesSettings(K=2, samples=10).build(student, None)
    guided.prepare(None, DATA)
    losses = []
    train(student, DATA, make_optimizer(student, guided, settings), settings, seed=1, distillation=guided,
          after_epoch=lambda epoch, log: losses.append((log["loss"], log["distillation_loss"])))  # fmt: skip
    assert losses[-1][0] < losses[0][0] and {added for _, added in losses} == {0}


@pytest.mark.parametrize("bad", [{"K": 0}, {"samples": 0}, {"K": 11, "samples": 10}], ids=str)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GuidedNegativesSettings(**bad)
