"""What must hold for every follow-up, whatever it teaches: a few epochs on generated sequences, stopped and not stopped."""

import copy
import math

import torch
from torch import nn

from rdcore.data import Interactions
from rdcore.datasets import synthetic
from rdcore.models import BPRMFSettings, CaserSettings, Model, NeuMFSettings
from rdcore.train.loop import Training, make_optimizer, train, training_data

DATA = synthetic.generate(n_users=24, n_items=40, min_length=6, max_length=10, seed=2)
STUDENTS = {
    "BPR": BPRMFSettings(dim=4),
    "NeuMF": NeuMFSettings(dim=4),
    "Caser": CaserSettings(dim=4, window=3, horizontal=2, dropout=0.2),
}
TEACHERS = {
    "BPR": BPRMFSettings(dim=7),
    "NeuMF": NeuMFSettings(dim=7),
    "Caser": CaserSettings(dim=7, window=4, horizontal=3),
}


def with_opinions(name: str, seed: int = 1, data: Interactions = DATA) -> Model:
    """An untrained teacher whose scores differ by more than rounding."""
    torch.manual_seed(seed)
    model = TEACHERS[name].build(data.n_users, data.n_items)
    for part in model.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight[: data.n_items], std=0.5)
    return model


def fitted(settings, student: str, teacher: Model, epochs: int = 4, stopped: int = 0, data: Interactions = DATA, **training):
    """A student after its training, its distillation, and the log of each epoch. ``stopped``: after that epoch everything is
    built and prepared again, and goes on with what a checkpoint holds."""
    logs, saved = [], None
    for first, last in ((1, stopped), (stopped + 1, epochs)) if stopped else ((1, epochs),):
        torch.manual_seed(3)
        model = STUDENTS[student].build(data.n_users, data.n_items)
        distillation = settings.build(model, teacher) if settings else None
        instances = training_data(data, model.window, "cpu", full_windows=model.full_windows)
        if distillation:
            distillation.prepare(teacher, instances)
        plan = Training(**({"epochs": last, "batch_size": 64, "learning_rate": 0.02, "weight_decay": 0.0} | training))
        optimizer = make_optimizer(model, distillation, plan)
        parts = [part for part in (model, optimizer, distillation) if part is not None]
        for part, state in zip(parts, saved or [], strict=False):
            part.load_state_dict(state)
        train(model, instances, optimizer, plan, seed=1, distillation=distillation, first_epoch=first,
              after_epoch=lambda epoch, log: logs.append(log))  # fmt: skip
        saved = [copy.deepcopy(part.state_dict()) for part in parts]
    return model, distillation, logs


def holds(settings, student: str, teacher: str, *, experts: bool | None = False, epochs: int = 3, stopped: int = 2) -> None:
    """Asserts: losses are finite and positive, only the student (and own experts) learns, the teacher stays as it was, a
    stopped training ends in the same bits, and another teacher makes another student. ``experts``: whether the method has
    parameters of its own; None: it may."""
    taught_by = with_opinions(teacher).train()
    before = copy.deepcopy(taught_by.state_dict())
    model, distillation, logs = fitted(settings, student, taught_by, epochs)
    again, _, logs_again = fitted(settings, student, taught_by, epochs, stopped)
    assert all(math.isfinite(log["loss"] + log["distillation_loss"]) for log in logs)
    assert min(log["distillation_loss"] for log in logs) > 0
    for name, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.any(), name
    after = taught_by.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert taught_by.training and not any(value.grad is not None for value in taught_by.parameters())
    teachers_own = {value.data_ptr() for value in taught_by.state_dict().values()}
    assert not teachers_own & {value.data_ptr() for value in distillation.state_dict().values()}
    assert experts in (None, bool(list(distillation.parameters())))
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [log["distillation_loss"] for log in logs] == [log["distillation_loss"] for log in logs_again]
    other = fitted(settings, student, with_opinions(teacher, seed=9), epochs)[0]
    assert any(not torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
