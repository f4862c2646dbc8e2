"""Every distillation with every model as student, teachers with and without memory: what must hold whatever the method.

Two kinds of data. Generated sequences with a planted order, where student and teacher begin untrained: here the mechanics are
judged. And a checkerboard, where the right answer is known: users and items have one of two colours, a user takes items of
his colour alone, and some items of each colour nobody takes. What these cold items are, no student can know from the data, to
which they are negatives of everybody alike; the teacher, made by hand, knows.
"""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from rdcore.data import Interactions, Stage, stage
from rdcore.data.queries import final_queries
from rdcore.datasets import synthetic
from rdcore.distill import (
    BothSettings,
    CDSettings,
    DESettings,
    Discrepancy,
    Hybrid,
    Position,
    RankDistilSettings,
    RDSettings,
    RRDSettings,
)
from rdcore.models import BPRMF, BPRMFSettings, CaserSettings, Fossil, FossilSettings, Model, NeuMFSettings
from rdcore.store.agreement import agreement
from rdcore.train.loop import Training, make_optimizer, train, training_data

pytestmark = pytest.mark.usefixtures("one_thread")

DE = DESettings(M=2, anneal_epochs=50, weight=0.1)
RRD = RRDSettings(K=3, L=4, depth=6, T=4.0, weight=0.1)
METHODS = {
    "RD-hybrid": RDSettings(K=4, exclude="seen", weights=Hybrid(discrepancy=Discrepancy(samples=12), start_epoch=2)),
    "RD-position": RDSettings(K=4, exclude="seen", weights=Position(lam=4.0)),
    "CD-student": CDSettings(samples=6, depth=12, weight=0.2),
    "CD-teacher": CDSettings(samples=6, depth=12, weight=0.2, mode="teacher"),
    "RRD": RRD,
    "DE": DE,
    "DE-RRD": BothSettings(first=DE, second=RRD),
    "RankDistil-C": RankDistilSettings(form="C", p=4, m=6),
    "RankDistil-B": RankDistilSettings(form="B", p=4, m=6, weight=0.3),
    "RankDistil-P": RankDistilSettings(form="P", p=4, m=6, weight=0.1),
}
STUDENTS = {
    "BPR": BPRMFSettings(dim=4),
    "NeuMF": NeuMFSettings(dim=4),
    "Caser": CaserSettings(dim=4, window=3, horizontal=2, dropout=0.2),
    "Fossil": FossilSettings(dim=4, order=2),
}
LARGER = {
    "BPR": BPRMFSettings(dim=7),
    "NeuMF": NeuMFSettings(dim=7),
    "Caser": CaserSettings(dim=7, window=4, horizontal=3),
    "Fossil": FossilSettings(dim=7, order=3),
}
# Whose teacher a student has beside its own: one with a memory for those without, and the other way round.
MIXED = {"BPR": "Caser", "NeuMF": "Fossil", "Caser": "NeuMF", "Fossil": "BPR"}
PAIRS = [(student, teacher) for student, other in MIXED.items() for teacher in (student, other)]

N_USERS, N_WARM, N_COLD = 20, 10, 5  # items of each colour


def fitted(
    data: Interactions, student: str, teacher: Model, settings, *, epochs: int, rate: float, stopped: int = 0, **training
):
    """A student after its training, the distillation, and the log of each epoch. ``stopped``: after that epoch all is built
    and prepared anew, and only goes on with what a checkpoint holds."""
    logs, saved = [], None
    for first, last in ((1, stopped), (stopped + 1, epochs)) if stopped else ((1, epochs),):
        torch.manual_seed(3)
        model = STUDENTS[student].build(data.n_users, data.n_items)
        distillation = settings.build(model, teacher) if settings else None
        instances = training_data(data, model.window, "cpu", full_windows=model.full_windows)
        if distillation:
            distillation.prepare(teacher, instances)
        plan = Training(epochs=last, batch_size=64, learning_rate=rate, **training)
        optimizer = make_optimizer(model, distillation, plan)
        parts = [part for part in (model, optimizer, distillation) if part is not None]
        for part, state in zip(parts, saved or [], strict=False):
            part.load_state_dict(state)
        train(model, instances, optimizer, plan, seed=1, distillation=distillation, first_epoch=first,
              after_epoch=lambda epoch, log: logs.append(log))  # fmt: skip
        saved = [copy.deepcopy(part.state_dict()) for part in parts]
    return model, distillation, logs


# ------------------------------------------------------------------------------------------------ mechanics, on sequences


@pytest.fixture(scope="module")
def sequences() -> Interactions:
    return synthetic.generate(n_users=14, n_items=40, min_length=8, max_length=14, seed=2)


@pytest.fixture(scope="module")
def teachers(sequences: Interactions) -> dict[str, Model]:
    """Untrained, but with opinions: the scores of small initial vectors differ by less than their rounding."""
    torch.manual_seed(1)
    built = {name: settings.build(sequences.n_users, sequences.n_items) for name, settings in LARGER.items()}
    for model in built.values():
        for part in model.modules():
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight[: sequences.n_items], std=0.5)
    return built


@pytest.mark.parametrize(("student", "teacher"), PAIRS, ids=lambda name: name)
@pytest.mark.parametrize("method", METHODS)
def test_it_trains_the_student_alone_and_the_same_way_where_it_is_stopped(sequences, teachers, method, student, teacher):
    taught_by = teachers[teacher].train()
    before = copy.deepcopy(taught_by.state_dict())
    runs = [fitted(sequences, student, taught_by, METHODS[method], epochs=4, rate=0.02, stopped=stopped, weight_decay=0.0)
            for stopped in (0, 2)]  # fmt: skip
    model, distillation, logs = runs[0]
    total = [log["loss"] + log["distillation_loss"] for log in logs]
    assert all(map(math.isfinite, total)) and min(log["distillation_loss"] for log in logs) > 0
    if method != "RD-hybrid":  # whose weights follow the student: it minimises another sum every epoch
        assert total[-1] < total[0]
    for name, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), name
        assert value.grad.any(), name
    after = taught_by.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert taught_by.training and not any(value.grad is not None for value in taught_by.parameters())
    teachers_own = {value.data_ptr() for value in taught_by.state_dict().values()}
    assert not teachers_own & {value.data_ptr() for value in distillation.state_dict().values()}
    assert not teachers_own & {value.data_ptr() for value in distillation.parameters()}
    assert bool(list(distillation.parameters())) == ("DE" in method)  # experts alone are its own
    for one, other in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        assert torch.equal(one, other)
    assert [log["distillation_loss"] for log in logs] == [log["distillation_loss"] for log in runs[1][2]]


@pytest.mark.parametrize("method", METHODS)
def test_another_teacher_makes_another_student(sequences, teachers, method):
    """Or it would be something else that teaches."""
    settings = METHODS[method]
    one, other = (fitted(sequences, "BPR", teachers[name], settings, epochs=1, rate=0.02)[0] for name in ("BPR", "NeuMF"))
    assert not torch.equal(one.item_factors.weight, other.item_factors.weight)


# ------------------------------------------------------------------------------------------- knowledge, on a checkerboard


def colours() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """+1 or -1 of users and of items, and which items are cold: the last ones."""
    user = 1 - 2 * (torch.arange(N_USERS) % 2)
    item = 1 - 2 * (torch.arange(2 * (N_WARM + N_COLD)) % 2)
    return user, item, torch.arange(len(item)) >= 2 * N_WARM


@pytest.fixture(scope="module")
def board() -> Interactions:
    """Every user takes 7 of the 10 warm items of his colour, in an order of his own."""
    rng = np.random.default_rng(0)
    rows = [2 * rng.permutation(N_WARM)[:7] + user % 2 for user in range(N_USERS)]
    return Interactions("checkerboard", np.concatenate(rows), 7 * np.arange(N_USERS + 1), 2 * (N_WARM + N_COLD))


@pytest.fixture(scope="module")
def knowing(board: Interactions) -> dict[str, Model]:
    """Two that know all colours: one by users' vectors, one by their last items. Beside the colour a taste, by which lists
    differ between users."""
    user, item, _ = colours()
    torch.manual_seed(2)

    def vectors(colour):
        return torch.cat([2.0 * colour[:, None], 0.6 * torch.randn(len(colour), 3)], dim=1)

    memoryless = BPRMF(N_USERS, len(item), BPRMFSettings(dim=4))
    sequential = Fossil(N_USERS, len(item), FossilSettings(dim=4, order=2, alpha=1.0))
    with torch.no_grad():
        memoryless.user.weight[:] = vectors(user)
        memoryless.item_factors.weight[:] = vectors(item)
        sequential.item.weight[:-1] = vectors(item)
        sequential.item_factors.weight[:] = vectors(item)
        sequential.user_markov.weight[:] = 0
    return {"memoryless": memoryless, "sequential": sequential}


@torch.no_grad()
def sorted_users(model: Model, board: Interactions) -> float:
    """The share of users for whom nine of ten pairs of a cold item of their colour and one of the other stand right."""
    user, item, cold = colours()
    scores = model.eval().score_all(model.encode(final_queries(board)))
    own, other = scores[:, cold & (item == 1)], scores[:, cold & (item == -1)]
    right = (own.unsqueeze(2) - other.unsqueeze(1)) * user[:, None, None] > 0
    return float((right.float().mean((1, 2)) >= 0.9).float().mean())


# -------------------------------------------------------------------------------------------------------------- re-visits


@pytest.fixture(scope="module")
def revisited(sequences: Interactions) -> Stage:
    """As `sequences`, but user 0 begins with 45 further visits to his first item."""
    once = stage(sequences, "F")
    items = np.concatenate([np.full(45, once.fit.items[0]), once.fit.items])
    fit = Interactions("re-visits", items, np.concatenate([[0], once.fit.offsets[1:] + 45]), sequences.n_items)
    return Stage("F", fit, once.judge)


@pytest.mark.parametrize("student", ["BPR", "Caser"])
@pytest.mark.parametrize("method", METHODS)
def test_who_comes_back_to_an_item_has_seen_it_once(revisited, teachers, method, student):
    """He has more rows than there are items, and still most of the items are left for lists, draws and judgement."""
    assert revisited.fit.counts().max() > revisited.fit.n_items
    teacher = teachers[student]
    model, _, logs = fitted(revisited.fit, student, teacher, METHODS[method], epochs=1, rate=0.02)
    assert math.isfinite(logs[0]["loss"] + logs[0]["distillation_loss"])
    assert 0 <= agreement(model, teacher, revisited)["overlap@10"] <= 1


@pytest.mark.parametrize("method", METHODS)
def test_who_has_every_item_is_named_before_anything_is_drawn(teachers, method):
    data = Interactions("all", np.concatenate([np.arange(3), np.arange(40)]), np.array([0, 3, 43]), 40)
    with pytest.raises(ValueError, match="user 1 has every one of the 40 items, .* leave them out"):
        fitted(data, "BPR", teachers["BPR"], METHODS[method], epochs=1, rate=0.02)
