"""DE-RRD as a sum of two: losses, logs, what is trained and kept, and what is refused."""

import io
import json
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from rdcore.data import Interactions
from rdcore.data.sampling import stream
from rdcore.datasets import synthetic
from rdcore.distill import Batch, Both, BothSettings, DESettings, Distillation, Equal, RDSettings
from rdcore.distill.rrd import RRDSettings
from rdcore.models import BPRMF, BPRMFSettings, Popularity
from rdcore.settings import Settings
from rdcore.store.description import describe
from rdcore.store.experiment import Experiment
from rdcore.store.list_cache import ListCache
from rdcore.train.loop import Training, make_optimizer, train, training_data

N_USERS, N_ITEMS = 12, 40
DE, RRD = DESettings(M=3, weight=0.2, anneal_epochs=4), RRDSettings(K=3, L=4, depth=6, weight=0.5)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Interactions:
    return synthetic.generate(n_users=N_USERS, n_items=N_ITEMS, min_length=8, max_length=14)


def bpr(dim: int, seed: int = 0) -> BPRMF:
    torch.manual_seed(seed)
    model = BPRMFSettings(dim=dim).build(N_USERS, N_ITEMS)
    for table in (model.user, model.item_factors):
        nn.init.normal_(table.weight)
    return model


def prepared(settings, student, data, cache=None):
    torch.manual_seed(5)
    teacher = bpr(8, 1)
    distillation = settings.build(student, teacher)
    instances = training_data(data, 0, "cpu")
    distillation.prepare(teacher, instances, cache=cache)
    return distillation, instances


def step(distillation, student, instances, rng: torch.Generator, epoch: int = 3):
    """One step of an epoch: the loss and the student's gradients."""
    index = torch.arange(0, len(instances.target), 3)
    negatives = torch.arange(len(index))[:, None] % N_ITEMS
    batch = Batch(index, instances.queries[index], instances.target[index], negatives)
    distillation.begin_epoch(student, epoch, 1, rng)
    loss = distillation.loss(student, batch, 0, student.encode(batch.queries))
    return loss.detach(), torch.autograd.grad(loss, list(student.parameters()))


def test_loss_gradients_and_log_are_those_of_both(data, tmp_path):
    """Selection by attention draws nothing, so that the one alone and the two together draw the same."""
    student, first = bpr(3), DESettings(M=3, weight=0.2, anneal_epochs=4, selection="attention")
    alone = []
    for settings in (first, RRD):
        distillation, instances = prepared(settings, student, data)
        alone.append((*step(distillation, student, instances, stream(1, "distillation")), distillation.log()))
    for order in ((first, RRD), (RRD, first)):
        both, _ = prepared(BothSettings(first=order[0], second=order[1]), student, data, ListCache(tmp_path))
        loss, gradients = step(both, student, instances, stream(1, "distillation"))
        torch.testing.assert_close(loss, alone[0][0] + alone[1][0])
        for got, one, other in zip(gradients, alone[0][1], alone[1][1], strict=True):
            torch.testing.assert_close(got, one + other)
            assert one.abs().max() > 0 and other.abs().max() > 0
        assert both.reduction == "sum" and isinstance(both, Both)
    assert list(tmp_path.iterdir())  # the teacher's lists went to the cache
    log = both.log()
    assert log == {f"DE_{key}": value for key, value in alone[0][2].items()} | {
        f"RRD_{key}": value for key, value in alone[1][2].items()
    }
    assert log["DE_temperature"] == pytest.approx(1e-10**0.25)  # epoch 3 of a schedule of 4: both were told the epoch


class Told(Distillation):
    """Keeps what it is told; gives ``negatives`` and draws one number an epoch."""

    def __init__(self, negatives: torch.Tensor | None, n_short: int, graphable: bool):
        super().__init__()
        self.given, self.short, self.graphable, self.said = negatives, n_short, graphable, []

    def prepare(self, teacher, data, *, cache=None, progress=False):
        self.n_short = self.short
        self.said.append(("prepare", teacher, data, cache, progress))

    def begin_epoch(self, student, epoch, n_batches, rng):
        self.said.append(("begin_epoch", student, epoch, n_batches, torch.rand((), generator=rng).item()))

    def negatives(self, batch):
        return self.given

    def loss(self, student, batch, step, context):
        self.said.append(("loss", student, batch, step, context))
        return torch.ones(())


def test_each_is_told_what_the_loop_tells():
    """The order of draws is that of the names; one list too short in both is one."""
    some, others = torch.tensor([[1]]), torch.tensor([[2]])
    first, second = Told(None, 5, True), Told(some, 2, False)
    both = Both({"A": first, "B": second})
    both.prepare("teacher", "data", cache="cache", progress=True)
    both.begin_epoch("student", 3, 7, stream(1, "distillation"))
    assert both.loss("student", "batch", 4, "context") == 2
    rng = stream(1, "distillation")
    for part in (first, second):
        drawn = torch.rand((), generator=rng).item()
        assert part.said == [("prepare", "teacher", "data", "cache", True), ("begin_epoch", "student", 3, 7, drawn),
                             ("loss", "student", "batch", 4, "context")]  # fmt: skip
    assert both.n_short == 5 and not both.graphable
    assert both.negatives("batch") is some and Both({"A": first}).negatives("batch") is None
    assert Both({"A": Told(others, 0, True), "B": second}).negatives("batch") is others, "those of the first that has some"


def test_only_the_experts_are_trained_and_kept(data):
    student = bpr(3)
    both, _ = prepared(BothSettings(first=DE, second=RRD), student, data)
    alone, _ = prepared(DE, student, data)
    names = {name.removeprefix("parts.DE.") for name in both.state_dict()}
    assert names == set(alone.state_dict()) and all(name.startswith("parts.DE.") for name in both.state_dict())
    for name, value in alone.state_dict().items():  # initialised as alone
        assert torch.equal(value, both.state_dict()[f"parts.DE.{name}"])
    assert sum(p.numel() for p in both.parameters()) == sum(p.numel() for p in alone.parameters())


def test_a_run_stopped_after_an_epoch_goes_on_as_if_undisturbed(data):
    def run(first_epoch: int, saved: list[bytes]) -> tuple[list[bytes], dict, list[torch.Tensor]]:
        """What is kept after epoch 1, and the log and all numbers after epoch 2."""
        settings = Training(epochs=2, batch_size=32, learning_rate=0.01, negatives=1, reduction="sum")
        student = bpr(3)
        both, instances = prepared(BothSettings(first=DE, second=RRD), student, data)
        parts = [student, both, make_optimizer(student, both, settings)]
        for part, state in zip(parts, saved, strict=False):
            part.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        kept, logs = [], []

        def keep(epoch: int, log: dict) -> None:
            logs.append({name: value for name, value in log.items() if name != "seconds"})
            if epoch == 1:
                for part in parts:
                    torch.save(part.state_dict(), file := io.BytesIO())
                    kept.append(file.getvalue())

        train(student, instances, parts[2], settings, seed=3, distillation=both, first_epoch=first_epoch, after_epoch=keep)
        return kept, logs[-1], [*student.state_dict().values(), *both.state_dict().values()]

    saved, log, numbers = run(1, [])
    _, log_resumed, resumed = run(2, saved)
    assert log == log_resumed and math.isfinite(log["distillation_loss"]) and "DE_item_strongest" in log
    assert len(numbers) > 10 and all(torch.equal(a, b) for a, b in zip(numbers, resumed, strict=True))


# Settings -------------------------------------------------------------------------------------------------------------


def test_two_reductions_are_refused():
    with pytest.raises(ValueError, match="one reduction, got {'DE': 'sum', 'RD': 'mean'}"):
        BothSettings(first=DE, second=RDSettings(weights=Equal())).build(bpr(3), bpr(8))


@dataclass(frozen=True, kw_only=True)
class NothingSettings(Settings):
    revision = 1

    def build(self, student, teacher):
        return None


def test_settings_that_build_no_distillation_are_refused():
    with pytest.raises(ValueError, match="the settings of Nothing must build a Distillation, got None"):
        BothSettings(first=DE, second=NothingSettings()).build(bpr(3), bpr(8))


def test_what_one_of_them_refuses_is_refused():
    with pytest.raises(ValueError, match=r"the teacher \(Popularity\) shows none"):
        BothSettings(first=RRD, second=DE).build(bpr(3), Popularity(torch.ones(N_ITEMS)))


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("bad", [None, "DE", BPRMF, BothSettings(first=DE, second=RRD)], ids=str)
def test_no_settings_of_one_distillation_are_refused_by_name(name, bad):
    with pytest.raises(ValueError, match=f"{name} must be the settings of one distillation"):
        BothSettings(**({"first": DE, "second": RRD} | {name: bad}))


def test_a_method_twice_is_refused():
    with pytest.raises(ValueError, match="first and second must be two methods, got DE twice"):
        BothSettings(first=DE, second=DESettings(M=5))


def test_a_run_is_described_with_the_settings_of_both():
    method = BothSettings(first=DE, second=RRD)
    described = describe(method)
    assert described["type"] == "BothSettings" and json.loads(json.dumps(described)) == described
    assert described["first"] == describe(DE) and described["second"] == describe(RRD)
    assert described["first"]["weight"] == 0.2 and described["second"]["type"] == "RRDSettings"

    def key(distillation) -> str:
        teacher = Experiment(dataset="d", data_hash="0" * 64, stage="V", role="T", model=BPRMFSettings(dim=8))
        return Experiment(
            dataset="d", data_hash="0" * 64, stage="V", role="DE-RRD", model=BPRMFSettings(dim=2), teacher=teacher,
            teacher_epoch=5, distillation=distillation,
        ).key  # fmt: skip

    others = [DE, BothSettings(first=DESettings(M=4), second=RRD), BothSettings(first=RRD, second=DE)]
    keys = [key(method), *map(key, others)]
    assert len(set(keys)) == 4 and keys[0] == key(BothSettings(first=DE, second=RRD))
