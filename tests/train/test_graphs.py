"""Steps in shapes that do not change, and their recording as a CUDA graph."""

import pytest
import torch

from rdcore import data, datasets
from rdcore.data.sampling import stream
from rdcore.distill import (
    BothSettings,
    CDSettings,
    DESettings,
    Discrepancy,
    Equal,
    Hybrid,
    RankDistilSettings,
    RDSettings,
    RRDSettings,
)
from rdcore.distill.base import Batch, distinct
from rdcore.models import BPRMFSettings, CaserSettings, FossilSettings, NeuMFSettings
from rdcore.train.loop import Training, make_optimizer, seeded, train, training_data

GPU = torch.cuda.is_available()
MODELS = {
    "Caser": CaserSettings(dim=6), "Fossil": FossilSettings(dim=6), "BPR": BPRMFSettings(dim=6), "NeuMF": NeuMFSettings(dim=6)
}  # fmt: skip
RRD = RRDSettings(K=5, L=5, depth=20, weight=0.01)
DE = DESettings(M=3, weight=0.01, anneal_epochs=20)
METHODS = {
    "none": None,
    "RD": RDSettings(K=5, exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=20), start_epoch=2)),
    "RD-equal": RDSettings(K=5, weights=Equal()),
    "RD-instance": RDSettings(K=5, weights=Discrepancy(samples=20, estimate="instance")),
    "CD": CDSettings(samples=5, depth=20), "RRD": RRD, "DE": DE, "DE-RRD": BothSettings(first=DE, second=RRD),
    "C": RankDistilSettings(p=5, m=5), "B": RankDistilSettings(form="B", p=5, m=5, negatives="mined", weight=1e-3),
    "P": RankDistilSettings(form="P", p=5, m=5, psi="scores", weight=1e-3),
}  # fmt: skip


def test_distinct_in_shape_gives_the_same_sums():
    rng = stream(1, "ids")
    for n in (1, 2, 30):
        ids, values = torch.randint(9, (n,), generator=rng), torch.rand(9, generator=rng)
        place, once = distinct(ids)
        assert ids[place].tolist() == sorted(set(ids.tolist())) and bool((once == 1).all())
        assert all(int(p) == ids.tolist().index(int(ids[p])) for p in place)
        everywhere, first = distinct(ids, in_shape=True)
        assert everywhere == slice(None) and set(first.tolist()) <= {0.0, 1.0}
        kept = torch.arange(n)[first == 1]
        assert sorted(kept.tolist()) == sorted(place.tolist())
        assert (first * values[ids[everywhere]]).sum().item() == pytest.approx((once * values[ids[place]]).sum().item())


def trained(model: str, method: str, *, device: str, graphs: bool, epochs: int = 3) -> tuple[dict, list]:
    """Weights and losses of a student after some epochs beside an untrained teacher."""
    fit = data.stage(datasets.load("synthetic"), "V").fit
    with seeded(5, "cpu"):
        teacher = MODELS[model].build(fit.n_users, fit.n_items).to(device).eval()
        student = MODELS[model].build(fit.n_users, fit.n_items).to(device)
        settings = METHODS[method]
        distillation = settings.build(student, teacher).to(device) if settings else None
    instances = training_data(fit, student.window, device, full_windows=student.full_windows)
    if distillation:
        distillation.prepare(teacher, instances)
    training = Training(epochs=epochs, batch_size=100, reduction="sum" if model in ("BPR", "NeuMF") else "mean", negatives=1)
    logs = []
    optimizer = make_optimizer(student, distillation, training)
    train(student, instances, optimizer, training, seed=1, distillation=distillation, graphs=graphs,
          after_epoch=lambda epoch, log: logs.append(log))  # fmt: skip
    return {name: value.cpu() for name, value in student.state_dict().items()}, logs


@pytest.mark.parametrize("method", ["CD", "RRD"])
def test_a_loss_in_shape_is_the_same_loss(method, monkeypatch):
    """On the CPU, where both ways can be gone: nothing random depends on the shape in these methods."""
    import rdcore.distill.base as base

    expected, logs = trained("BPR", method, device="cpu", graphs=False)
    monkeypatch.setattr(base, "distinct", lambda ids: distinct(ids, in_shape=True))
    got, others = trained("BPR", method, device="cpu", graphs=False)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-6)
    assert others[-1]["distillation_loss"] == pytest.approx(logs[-1]["distillation_loss"], rel=1e-5)
    assert logs[-1]["distillation_loss"] > 0


def test_negatives_drawn_ahead_are_those_of_the_instance():
    fit = data.stage(datasets.load("synthetic"), "V").fit
    settings = RankDistilSettings(p=5, m=7)
    teacher, student = (MODELS["BPR"].build(fit.n_users, fit.n_items) for _ in range(2))
    method, instances = settings.build(student, teacher), training_data(fit, 0, "cpu")
    method.prepare(teacher, instances)
    method.begin_epoch(student, 1, 3, stream(1, "distillation", 1))
    assert method.ahead is None and not method.graphable  # on a CPU they are drawn in their step
    index = torch.tensor([3, 40, 41])
    everything = method._drawn_for(torch.arange(len(instances.target)))
    assert everything.shape == (len(instances.target), 7)
    users = instances.queries.user
    assert not method.seen.contains(users, everything.long()).any()
    assert not (everything[:, :, None] == method.lists.items[users][:, None, :]).any()
    method.ahead = everything
    assert method.graphable
    batch = Batch(index, instances.queries[index], instances.target[index], everything[index])
    top = method.lists.of(batch)
    assert method.below(student, users[index], index, student.encode(batch.queries), top).equal(everything[index].long())
    # Fossil is asked for scores in form C with sampled orders, and its shapes change; for its list alone it is not asked.
    for form, recorded in (("C", False), ("B", True)):
        method = RankDistilSettings(form=form, p=5, m=7).build(student, MODELS["Fossil"].build(fit.n_users, fit.n_items))
        method.freeze(MODELS["Fossil"].build(fit.n_users, fit.n_items))
        method.ahead = everything
        assert method.graphable is recorded


RECORDED = {  # method, student and teacher -> whether the steps of epochs 1 and 2 may be recorded
    ("RD", "BPR", "BPR"): (True, True), ("RD-equal", "BPR", "BPR"): (True, True), ("RD-instance", "BPR", "BPR"): (False, False),
    ("RD-instance-2", "BPR", "BPR"): (True, False), ("CD", "BPR", "BPR"): (True, True), ("CD", "Caser", "BPR"): (False, False),
    ("RRD", "BPR", "BPR"): (True, True), ("RRD", "BPR", "Caser"): (False, False), ("DE", "BPR", "BPR"): (True, True),
    ("DE", "Caser", "Caser"): (True, True), ("DE", "Caser", "Fossil"): (False, False), ("DE-RRD", "BPR", "BPR"): (True, True),
    ("DE-RRD", "Caser", "Caser"): (False, False),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDED, ids="-".join)
def test_what_may_be_recorded_gives_the_same_loss_for_a_step_that_is_a_tensor(case):
    """A step whose number is a tensor draws what the same number draws. What may not be recorded is one of the flags alone."""
    method, student, teacher = case
    fit = data.stage(datasets.load("synthetic"), "V").fit
    late = RDSettings(K=5, weights=Hybrid(discrepancy=Discrepancy(samples=20, estimate="instance"), start_epoch=2))
    with seeded(5, "cpu"):
        student, teacher = (MODELS[name].build(fit.n_users, fit.n_items).eval() for name in (student, teacher))
        distillation = {**METHODS, "RD-instance-2": late}[method].build(student, teacher)
    instances = training_data(fit, student.window, "cpu", full_windows=student.full_windows)
    distillation.prepare(teacher, instances)
    index = torch.arange(7)
    batch = Batch(index, instances.queries[index], instances.target[index], torch.tensor([[1]] * 7))
    context = student.encode(batch.queries)
    for epoch, recorded in enumerate(RECORDED[case], start=1):
        losses = []
        for step in (2, torch.tensor(2), 1) if recorded else ():
            distillation.begin_epoch(student, epoch, 3, stream(1, "distillation", epoch))
            losses.append(distillation.loss(student, batch, step, context).item())
        distillation.begin_epoch(student, epoch, 3, stream(1, "distillation", epoch))
        assert distillation.graphable is recorded
        assert not recorded or losses[0] == losses[1]
        assert method != "RD" or (losses[2] != losses[0]) == (epoch == 2), "each step has a sample of its own"


@pytest.mark.skipif(not GPU, reason="no GPU here: CUDA graphs need one")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_a_recorded_epoch_gives_the_numbers_of_one_that_is_not(model, method):
    """Fossil and per-instance samples are not recorded; the others have to be."""
    plain, logs = trained(model, method, device="cuda", graphs=False)
    got, others = trained(model, method, device="cuda", graphs=True)
    for name, value in plain.items():
        torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-5)
    assert others[-1]["loss"] == pytest.approx(logs[-1]["loss"], rel=1e-5)
